/* convert.c - conversions between storage types. x and y need no alignment. memcpy in a loop is the
 * compiler's own: in a freestanding build the plain one is a call. */
#include "base/memory.h"
#include "kernels/target.h"
#include "kernels/vec.h"

/* The types that stored elements have at any address. */
typedef uint8_t stored_u8;
typedef uint16_t stored_u16 __attribute__((aligned(1), may_alias));
typedef int32_t stored_i32 __attribute__((aligned(1), may_alias));
typedef int64_t stored_i64 __attribute__((aligned(1), may_alias));
typedef float stored_f32 __attribute__((aligned(1), may_alias));

static inline float bf16_to_f32(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}

/* Loops that compilers vectorise as well as we would. */
#define CONVERT(name, from, to, f)                                                                 \
  void WEFT_KERNEL_NAME(name)(size_t n, const void *x, void *y) {                                  \
    const from *restrict in = x;                                                                   \
    to *restrict out = y;                                                                          \
    for (size_t i = 0; i < n; i++) out[i] = f(in[i]);                                              \
  }
CONVERT(bf16_to_f32, stored_u16, stored_f32, bf16_to_f32)
CONVERT(i64_to_f32, stored_i64, stored_f32, (float))
CONVERT(i32_to_f32, stored_i32, stored_f32, (float))
CONVERT(u8_to_f32, stored_u8, stored_f32, (float))

/* ---- binary16 -------------------------------------------------------------------------------- */

typedef uint16_t f16v __attribute__((vector_size(WEFT_LANES * sizeof(uint16_t))));

#ifdef WEFT_TARGET_AVX2
VEC_INLINE f32v f32v_from_f16(f16v h) {
  return (f32v)_mm256_cvtph_ps((__m128i)h);
}
VEC_INLINE f16v f32v_to_f16(f32v x) {
  return (f16v)_mm256_cvtps_ph((__m256)x, 0);
}
#else
VEC_INLINE i32v i32v_select(i32v mask, i32v a, i32v b) {
  return (i32v)f32v_select(mask, (f32v)a, (f32v)b);
}

/* Adding to the exponent rebases it. A denormal becomes 2^-14 plus what it is, whence 2^-14 is
 * taken away: no operation on denormal floats, which processors are slow at. */
VEC_INLINE f32v f32v_from_f16(f16v h) {
  i32v wide = __builtin_convertvector(h, i32v), size = (wide & I32V_CONST(0x7FFF)) << 13;
  f32v denormal = (f32v)(size + I32V_CONST(113 << 23)) - F32V_CONST(0x1p-14f);
  i32v bits = i32v_select(size < I32V_CONST(1 << 23), (i32v)denormal, size + I32V_CONST(112 << 23));
  bits |= (size >= I32V_CONST(31 << 23)) & I32V_CONST(255 << 23); /* infinity, NaN */
  return (f32v)(bits | (wide & I32V_CONST(0x8000)) << 16);
}

/* To nearest, ties to even. Adding 1/2 leaves a denormal half's fraction in the low bits. */
VEC_INLINE f16v f32v_to_f16(f32v x) {
  i32v bits = (i32v)x, size = bits & I32V_CONST(0x7FFFFFFF), one = I32V_CONST(1);
  i32v rebased = size - I32V_CONST(112 << 23);
  i32v normal = (rebased + I32V_CONST(0xFFF) + (size >> 13 & one)) >> 13;
  i32v half = (i32v)F32V_CONST(0.5f), denormal = (i32v)((f32v)size + (f32v)half) - half;
  i32v nan = I32V_CONST(0x7E00) | (size >> 13 & I32V_CONST(0x3FF));
  i32v r = i32v_select(size < I32V_CONST(113 << 23), denormal, normal);
  r = i32v_select(size >= I32V_CONST(0x477FF000), I32V_CONST(0x7C00), r); /* 65520 and more */
  r = i32v_select(size > I32V_CONST(255 << 23), nan, r);
  r |= bits >> 16 & I32V_CONST(0x8000);
  return __builtin_convertvector(r, f16v);
}
#endif

#define CONVERT_VECTORS(name, from_v, to_v, f)                                                     \
  void WEFT_KERNEL_NAME(name)(size_t n, const void *x, void *y) {                                  \
    const char *from = x;                                                                          \
    char *to = y;                                                                                  \
    from_v in = {0};                                                                               \
    to_v out;                                                                                      \
    for (; n >= WEFT_LANES; n -= WEFT_LANES, from += sizeof in, to += sizeof out) {                \
      __builtin_memcpy(&in, from, sizeof in);                                                      \
      out = f(in);                                                                                 \
      __builtin_memcpy(to, &out, sizeof out);                                                      \
    }                                                                                              \
    memcpy(&in, from, n * (sizeof in / WEFT_LANES));                                               \
    out = f(in);                                                                                   \
    memcpy(to, &out, n * (sizeof out / WEFT_LANES));                                               \
  }
CONVERT_VECTORS(f16_to_f32, f16v, f32v, f32v_from_f16)
CONVERT_VECTORS(f32_to_f16, f32v, f16v, f32v_to_f16)
