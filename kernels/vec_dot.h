/* vec_dot.h - vectors of bytes and of 16-bit numbers, four and two to a 32-bit lane, and their dot
 * products. Forms, of which a target has what its instructions do best:
 *
 *   whole  i32 += 4 products of bytes, one instruction: VNNI, NEON's and wasm's relaxed dot product
 *   pairs  i16 += 2 products of bytes, two instructions, widened now and then: AVX2, and wasm where
 *          the engine makes the whole form of five instructions
 *   words  i32 += 2 products of 16-bit numbers, two instructions: exact for all that fits them
 *   short  as pairs, but widened after every second group: for codes of 8 bits that allow it */
#ifndef WEFT_KERNELS_VEC_DOT_H
#define WEFT_KERNELS_VEC_DOT_H

#include "kernels/vec.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef enum dot_form { DOT_WHOLE, DOT_PAIRS, DOT_WORDS, DOT_SHORT } dot_form;

/* The form for unsigned bytes of at most 7 bits. */
#if defined(WEFT_TARGET_AVX2_VNNI) || defined(WEFT_TARGET_NEON_DOT) ||                             \
    defined(WEFT_TARGET_RELAXED_DOT)
#define WEFT_DOT_FORM DOT_WHOLE
#elif defined(WEFT_TARGET_AVX2) || defined(WEFT_TARGET_NEON) || defined(WEFT_TARGET_RELAXED)
#define WEFT_DOT_FORM DOT_PAIRS
#else
#define WEFT_DOT_FORM DOT_WORDS
#endif

typedef int8_t i8v __attribute__((vector_size(WEFT_LANES * 4)));
typedef int16_t i16v __attribute__((vector_size(WEFT_LANES * 4)));
typedef uint16_t u16v __attribute__((vector_size(WEFT_LANES * 4)));
typedef i8v i8v_in_memory __attribute__((aligned(1), may_alias));

VEC_INLINE i8v i8v_load(const void *p) {
  return *(const i8v_in_memory *)p;
}

/* the four bytes at p in every lane of 32 bits */
VEC_INLINE i8v i8v_load_splat(const void *p) {
#if defined(__wasm_simd128__)
  return (i8v)wasm_v128_load32_splat(p);
#else
  int32_t s;
  __builtin_memcpy(&s, p, sizeof s);
  return (i8v)i32v_splat(s);
#endif
}

/* acc + the sum of a * b over the two numbers of each lane */
VEC_INLINE i32v i32v_dot_i16(i32v acc, i16v a, i16v b) {
#if defined(WEFT_TARGET_AVX2)
  return acc + (i32v)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(WEFT_TARGET_NEON)
  return acc + (i32v)vpaddq_s32(vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b)),
                                vmull_high_s16((int16x8_t)a, (int16x8_t)b));
#elif defined(__wasm_simd128__)
  return acc + (i32v)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
#elif defined(__SSE2__)
  return acc + (i32v)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  return acc + ((i32v)a << 16 >> 16) * ((i32v)b << 16 >> 16) + ((i32v)a >> 16) * ((i32v)b >> 16);
#endif
}

/* acc + the sum of a * b over the four bytes of each lane: a signed; b of 7 bits, or of 8 where the
 * engine takes them (vec_dot_probe). */
VEC_INLINE i32v i32v_dot_i8(i32v acc, i8v a, i8v b) {
#if defined(WEFT_TARGET_AVX2_VNNI)
  return (i32v)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)b, (__m256i)a);
#elif defined(WEFT_TARGET_NEON_DOT)
  return (i32v)vdotq_s32((int32x4_t)acc, (int8x16_t)a, (int8x16_t)b);
#elif defined(__wasm_relaxed_simd__)
  return (i32v)__builtin_wasm_relaxed_dot_i8x16_i7x16_add_s_i32x4((__i8x16)a, (__i8x16)b,
                                                                  (__i32x4)acc);
#else
  i16v a_even = (i16v)a << 8 >> 8, a_odd = (i16v)a >> 8;
  i16v b_even = (i16v)b << 8 >> 8, b_odd = (i16v)b >> 8;
  return i32v_dot_i16(i32v_dot_i16(acc, a_even, b_even), a_odd, b_odd);
#endif
}

typedef enum dot_bytes { DOT_SIGNED, DOT_UNSIGNED, DOT_SEVEN_BITS } dot_bytes;

/* How i32v_dot_i8 takes b: as signed bytes, as unsigned ones, or neither for certain. Wasm leaves
 * that to the engine, which does the same all along; what it does also tells of which instructions:
 * signed are ARM's, unsigned are VNNI's, anything else is a chain of several. */
VEC_INLINE dot_bytes vec_dot_probe(void) {
#if defined(__wasm_relaxed_simd__)
  static const int8_t low[4] = {-127, -127, -127, -127}, high[4] = {-1, -1, -1, -1};
  const int8_t *a = low, *b = high;
  VEC_HIDE(a);
  VEC_HIDE(b);
  int32_t dot = i32v_dot_i8((i32v){0}, i8v_load_splat(a), i8v_load_splat(b))[0];
  return dot == 4 * 127 ? DOT_SIGNED : dot == 4 * -127 * 255 ? DOT_UNSIGNED : DOT_SEVEN_BITS;
#elif defined(WEFT_TARGET_AVX2_VNNI)
  return DOT_UNSIGNED;
#else
  return DOT_SIGNED;
#endif
}

/* the sums of a * b over pairs of bytes, a signed, b of 7 bits; saturating */
VEC_INLINE i16v i16v_dot_i8(i8v a, i8v b) {
#if defined(WEFT_TARGET_AVX2)
  return (i16v)_mm256_maddubs_epi16((__m256i)b, (__m256i)a);
#elif defined(WEFT_TARGET_NEON)
  return (i16v)vpaddq_s16(vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b)),
                          vmull_high_s8((int8x16_t)a, (int8x16_t)b));
#elif defined(__wasm_relaxed_simd__)
  return (i16v)__builtin_wasm_relaxed_dot_i8x16_i7x16_s_i16x8((__i8x16)a, (__i8x16)b);
#else
  i16v sums = {0};
  VEC_FOR(i, WEFT_LANES * 4) sums[i / 2] = (int16_t)(sums[i / 2] + a[i] * b[i]);
  return sums;
#endif
}

/* Whether i16v_dot_i8 takes b of 8 bits as unsigned: x86 does, also where wasm leaves it open. */
VEC_INLINE bool vec_pairs_probe(void) {
#if defined(WEFT_TARGET_AVX2)
  return true;
#elif defined(WEFT_TARGET_RELAXED)
  static const int8_t low[4] = {127, 127, 127, 127}, high[4] = {-127, -127, -127, -127}; /* 129 */
  const int8_t *a = low, *b = high;
  VEC_HIDE(a);
  VEC_HIDE(b);
  return i16v_dot_i8(i8v_load_splat(a), i8v_load_splat(b))[0] == 2 * 127 * 129;
#else
  return false;
#endif
}

/* the sum of the two numbers of each lane */
VEC_INLINE i32v i32v_of_pairs(i16v x) {
#if defined(WEFT_TARGET_NEON)
  return (i32v)vpaddlq_s16((int16x8_t)x);
#else
  return i32v_dot_i16(i32v_splat(0), x, (i16v)I32V_CONST(0x00010001));
#endif
}

/* ---- narrowing ------------------------------------------------------------------------------- */

VEC_INLINE i32v i32v_max(i32v a, i32v b) {
#if defined(WEFT_TARGET_AVX2)
  return (i32v)_mm256_max_epi32((__m256i)a, (__m256i)b);
#elif defined(WEFT_TARGET_NEON)
  return (i32v)vmaxq_s32((int32x4_t)a, (int32x4_t)b);
#elif defined(__wasm_simd128__)
  return (i32v)wasm_i32x4_max((v128_t)a, (v128_t)b);
#else
  return (a & (a > b)) | (b & ~(a > b));
#endif
}

/* of each four lanes the order 0, 2, 1, 3 */
VEC_INLINE i32v i32v_swap_middle(i32v x) {
#if WEFT_LANES == 8
  return __builtin_shufflevector(x, x, 0, 2, 1, 3, 4, 6, 5, 7);
#else
  return __builtin_shufflevector(x, x, 0, 2, 1, 3);
#endif
}

/* the numbers of a, then those of b, which all fit 16 bits */
VEC_INLINE i16v i16v_narrow(i32v a, i32v b) {
#if defined(__wasm_simd128__)
  return (i16v)wasm_i16x8_narrow_i32x4((v128_t)a, (v128_t)b);
#elif WEFT_LANES == 8
  return __builtin_shufflevector((i16v)a, (i16v)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24,
                                 26, 28, 30);
#else
  return __builtin_shufflevector((i16v)a, (i16v)b, 0, 2, 4, 6, 8, 10, 12, 14);
#endif
}

/* stores numbers that fit 8 bits as bytes */
VEC_INLINE void i16v_store_bytes(i16v x, void *to) {
#if defined(__wasm_simd128__)
  wasm_v128_store64_lane(to, wasm_i8x16_narrow_i16x8((v128_t)x, (v128_t)x), 0);
#else
  typedef int8_t bytes __attribute__((vector_size(WEFT_LANES * 2)));
  bytes narrow = __builtin_convertvector(x, bytes);
  __builtin_memcpy(to, &narrow, sizeof narrow);
#endif
}

#endif
