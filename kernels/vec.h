/* vec.h - the vectors that kernels are written over: GNU vector types, whose +
 * - * / and comparisons are operators, and inline functions for the rest, with
 * an instruction where the target has one.
 *
 * f32v has WEFT_LANES floats, i32v and u32v as many 32-bit integers. A
 * comparison gives an i32v of 0 and -1 (a mask). Loads and stores take any
 * address that a float may have. */
#ifndef WEFT_KERNELS_VEC_H
#define WEFT_KERNELS_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(WEFT_TARGET_AVX2)
#include <immintrin.h>
#define WEFT_LANES 8
#elif defined(WEFT_TARGET_NEON)
#include <arm_neon.h>
#define WEFT_LANES 4
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define WEFT_LANES 4
#else
#define WEFT_LANES 4
#endif

#define VEC_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 16")
#endif
/* Before an innermost loop that is worth unrolling. Not for wasm: there clang
 * regroups the unrolled steps by accumulator, with more vectors alive than
 * there are registers, and engines unroll too.
 */
#if defined(__wasm__)
#define VEC_LOOP _Pragma("clang loop unroll(disable)")
#elif defined(__clang__)
#define VEC_LOOP _Pragma("clang loop unroll_count(4)")
#else
#define VEC_LOOP _Pragma("GCC unroll 4")
#endif
#define VEC_FOR(i, n) VEC_UNROLL for (int i = 0; i < (n); i++)

typedef float f32v __attribute__((vector_size(WEFT_LANES * 4)));
typedef int32_t i32v __attribute__((vector_size(WEFT_LANES * 4)));
typedef uint32_t u32v __attribute__((vector_size(WEFT_LANES * 4)));
typedef f32v f32v_in_memory __attribute__((aligned(4), may_alias));

/* ---- memory ---------------------------------------------------------------------------------- */

VEC_INLINE f32v f32v_load(const float *p) {
  return *(const f32v_in_memory *)p;
}
VEC_INLINE void f32v_store(float *p, f32v v) {
  *(f32v_in_memory *)p = v;
}
VEC_INLINE f32v f32v_splat(float s) {
  return s - (f32v){0};
}
VEC_INLINE i32v i32v_splat(int32_t s) {
  return s - (i32v){0};
}

/* every lane *p */
VEC_INLINE f32v f32v_load_splat(const float *p) {
#if defined(__wasm_simd128__)
  return (f32v)wasm_v128_load32_splat(p);
#else
  return f32v_splat(*p);
#endif
}

/* Every lane `value`, a constant. In wasm a constant vector takes an engine three instructions,
 * each time round a loop: so that it is made before the loop, the compiler must not see that it is
 * one.
 */
#if defined(__wasm__)
#define VEC_HIDE(pointer) __asm__("" : "+r"(pointer))
/* Ends a basic block, within which clang gathers all that is added to an accumulator, by which more
 * vectors are alive than there are registers. `number` is never 0, which clang must not know;
 * engines drop repeated tests of it. The accumulators have to be used at `label`. */
#define VEC_CUT(number, which, label)                                                              \
  do {                                                                                             \
    size_t cut_ = (number);                                                                        \
    __asm__("" : "+r"(cut_) : "r"(which));                                                         \
    if (cut_ == 0) goto label;                                                                     \
  } while (0)
#define VEC_CONST(element, vector, value)                                                          \
  __extension__({                                                                                  \
    element const_ = (element)(value);                                                             \
    __asm__("" : "+r"(const_));                                                                    \
    const_ - (vector){0};                                                                          \
  })
#else
#define VEC_HIDE(pointer) (void)(pointer)
#define VEC_CUT(number, which, label)                                                              \
  if (false) goto label
#define VEC_CONST(element, vector, value) ((element)(value) - (vector){0})
#endif
/* Computes a vector here and now: what VEC_CUT is for in wasm, without the jump. */
#if defined(__x86_64__)
#define VEC_PIN(vector) __asm__("" : "+x"(vector))
#elif defined(__aarch64__)
#define VEC_PIN(vector) __asm__("" : "+w"(vector))
#else
#define VEC_PIN(vector) (void)(vector)
#endif
#define F32V_CONST(value) VEC_CONST(float, f32v, value)
#define I32V_CONST(value) VEC_CONST(int32_t, i32v, value)

/* The first n lanes, n < WEFT_LANES, the others 0; nothing past them is
 * touched. */
VEC_INLINE f32v f32v_load_part(const float *p, size_t n) {
  float lanes[WEFT_LANES] = {0};
  for (size_t i = 0; i < n && i < WEFT_LANES; i++) lanes[i] = p[i];
  return f32v_load(lanes);
}
VEC_INLINE void f32v_store_part(float *p, f32v v, size_t n) {
  float lanes[WEFT_LANES];
  f32v_store(lanes, v);
  for (size_t i = 0; i < n && i < WEFT_LANES; i++) p[i] = lanes[i];
}

/* min(n, WEFT_LANES) lanes */
VEC_INLINE f32v f32v_load_upto(const float *p, size_t n) {
  return n >= WEFT_LANES ? f32v_load(p) : f32v_load_part(p, n);
}
VEC_INLINE void f32v_store_upto(float *p, f32v v, size_t n) {
  if (n >= WEFT_LANES)
    f32v_store(p, v);
  else
    f32v_store_part(p, v, n);
}

/* Runs `body` for the vectors of n elements: i is where one starts, `left` how many elements are
 * left for the ..._upto functions: a constant for all but the last, which costs them nothing. For
 * bodies that are short, as they are there twice. */
#define VEC_EACH(i, left, n, body)                                                                 \
  do {                                                                                             \
    size_t i = 0;                                                                                  \
    for (; i + WEFT_LANES <= (n); i += WEFT_LANES) {                                               \
      const size_t left = WEFT_LANES;                                                              \
      body;                                                                                        \
    }                                                                                              \
    const size_t left = (n) - i;                                                                   \
    if (left > 0) body;                                                                            \
  } while (0)

/* 0, 1, 2 ... */
VEC_INLINE i32v i32v_iota(void) {
#if WEFT_LANES == 8
  return (i32v){0, 1, 2, 3, 4, 5, 6, 7};
#else
  return (i32v){0, 1, 2, 3};
#endif
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* a * b + c; fused where the target is fast at it, so results differ between
 * targets in the last bit */
VEC_INLINE f32v f32v_fma(f32v a, f32v b, f32v c) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(WEFT_TARGET_NEON)
  return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(WEFT_TARGET_RELAXED)
  return (f32v)__builtin_wasm_relaxed_madd_f32x4(a, b, c);
#else
  return a * b + c;
#endif
}

/* c - a * b */
VEC_INLINE f32v f32v_fnma(f32v a, f32v b, f32v c) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(WEFT_TARGET_NEON)
  return (f32v)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif defined(WEFT_TARGET_RELAXED)
  return (f32v)__builtin_wasm_relaxed_nmadd_f32x4(a, b, c);
#else
  return c - a * b;
#endif
}

/* mask ? a : b, lane by lane; mask of 0 and -1 */
VEC_INLINE f32v f32v_select(i32v mask, f32v a, f32v b) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_v128_bitselect((v128_t)a, (v128_t)b, (v128_t)mask);
#else
  return (f32v)(((i32v)a & mask) | ((i32v)b & ~mask));
#endif
}

/* mask ? a : 0 */
VEC_INLINE f32v f32v_keep(i32v mask, f32v a) {
  return (f32v)((i32v)a & mask);
}
VEC_INLINE f32v f32v_drop(i32v mask, f32v a) {
  return (f32v)((i32v)a & ~mask);
}

/* One instruction where the target has one: NaN in b stays, NaN in a may be
 * lost. */
VEC_INLINE f32v f32v_quick_max(f32v a, f32v b) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(WEFT_TARGET_NEON)
  return (f32v)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  return f32v_select(a > b, a, b);
#endif
}

VEC_INLINE f32v f32v_quick_min(f32v a, f32v b) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(WEFT_TARGET_NEON)
  return (f32v)vminq_f32((float32x4_t)a, (float32x4_t)b);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  return f32v_select(a < b, a, b);
#endif
}

/* NaN where either is NaN */
VEC_INLINE f32v f32v_max(f32v a, f32v b) {
  return f32v_select(a != a, a, f32v_select(a > b, a, b));
}
VEC_INLINE f32v f32v_min(f32v a, f32v b) {
  return f32v_select(a != a, a, f32v_select(a < b, a, b));
}

/* x within [low, high]; NaN stays */
VEC_INLINE f32v f32v_clamp(f32v x, f32v low, f32v high) {
  x = f32v_select(x < low, low, x);
  return f32v_select(x > high, high, x);
}

VEC_INLINE f32v f32v_abs(f32v x) {
  return (f32v)((i32v)x & 0x7FFFFFFF);
}
VEC_INLINE f32v f32v_negate(f32v x) {
  return -x;
}
VEC_INLINE f32v f32v_copysign(f32v size, f32v sign) {
  return (f32v)(((i32v)size & INT32_MAX) | ((i32v)sign & INT32_MIN));
}

VEC_INLINE f32v f32v_sqrt(f32v x) {
#if defined(WEFT_TARGET_AVX2)
  return (f32v)_mm256_sqrt_ps((__m256)x);
#elif defined(WEFT_TARGET_NEON)
  return (f32v)vsqrtq_f32((float32x4_t)x);
#elif defined(__wasm_simd128__)
  return (f32v)wasm_f32x4_sqrt((v128_t)x);
#else
  VEC_FOR(i, WEFT_LANES) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/* ---- integers -------------------------------------------------------------------------------- */

VEC_INLINE f32v f32v_from_i32(i32v x) {
  return __builtin_convertvector(x, f32v);
}
/* toward zero, for |x| < 2^31 */
VEC_INLINE i32v f32v_to_i32(f32v x) {
  return __builtin_convertvector(x, i32v);
}

#if defined(WEFT_TARGET_AVX2)
#define VEC_ROUND(name, x86, neon, wasm)                                                           \
  VEC_INLINE f32v f32v_##name(f32v x) {                                                            \
    return (f32v)_mm256_round_ps((__m256)x, x86);                                                  \
  }
#elif defined(WEFT_TARGET_NEON)
#define VEC_ROUND(name, x86, neon, wasm)                                                           \
  VEC_INLINE f32v f32v_##name(f32v x) {                                                            \
    return (f32v)neon((float32x4_t)x);                                                             \
  }
#elif defined(__wasm_simd128__)
#define VEC_ROUND(name, x86, neon, wasm)                                                           \
  VEC_INLINE f32v f32v_##name(f32v x) {                                                            \
    return (f32v)wasm((v128_t)x);                                                                  \
  }
#endif

#ifdef VEC_ROUND
VEC_ROUND(floor, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC, vrndmq_f32, wasm_f32x4_floor)
VEC_ROUND(ceil, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC, vrndpq_f32, wasm_f32x4_ceil)
VEC_ROUND(trunc, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC, vrndq_f32, wasm_f32x4_trunc)
VEC_ROUND(round, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC, vrndnq_f32, wasm_f32x4_nearest)
#else
/* Floats of 2^23 and more, and NaN, are whole already. `whole` is right for the
 * others but for -0.
 */
VEC_INLINE f32v vec_if_fraction(f32v x, f32v whole) {
  return f32v_select(f32v_abs(x) < 0x1p23f, f32v_copysign(whole, x), x);
}
VEC_INLINE f32v f32v_trunc(f32v x) {
  return vec_if_fraction(x, f32v_from_i32(f32v_to_i32(f32v_keep(f32v_abs(x) < 0x1p23f, x))));
}
VEC_INLINE f32v f32v_floor(f32v x) {
  f32v t = f32v_trunc(x);
  return vec_if_fraction(x, t - f32v_keep(t > x, f32v_splat(1)));
}
VEC_INLINE f32v f32v_ceil(f32v x) {
  return -f32v_floor(-x);
}
VEC_INLINE f32v f32v_round(f32v x) { /* adding 2^23 drops the fraction, ties to even */
  f32v size = f32v_abs(x);
  return vec_if_fraction(x, size + 0x1p23f - 0x1p23f);
}
#endif

/* ---- across lanes
 * -------------------------------------------------------------------------------- */

/* Transposes a square, in place (Eklundh): step by step, of rows i and i + step, the lanes whose
 * number has bit `step` change places. */
#define VEC_EXCHANGE(step, low, high)                                                              \
  VEC_FOR(i, WEFT_LANES) {                                                                         \
    if (i & (step)) continue;                                                                      \
    f32v a = rows[i], b = rows[i + (step)];                                                        \
    rows[i] = __builtin_shufflevector(a, b, VEC_LIST low);                                         \
    rows[i + (step)] = __builtin_shufflevector(a, b, VEC_LIST high);                               \
  }
#define VEC_LIST(...) __VA_ARGS__

VEC_INLINE void f32v_transpose(f32v rows[WEFT_LANES]){
/* clang-format off */
#if WEFT_LANES == 8
  VEC_EXCHANGE(1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15))
  VEC_EXCHANGE(2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
  VEC_EXCHANGE(4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#else
  VEC_EXCHANGE(1, (0, 4, 2, 6), (1, 5, 3, 7))
  VEC_EXCHANGE(2, (0, 1, 4, 5), (2, 3, 6, 7))
#endif
    /* clang-format on */
}

/* The elements of even, of odd number of `a` followed by `b`; and back: a0 b0 a1 b1 ... */
#if WEFT_LANES == 8
VEC_INLINE f32v f32v_evens(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}
VEC_INLINE f32v f32v_odds(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
VEC_INLINE f32v f32v_zip_low(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
VEC_INLINE f32v f32v_zip_high(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#else
VEC_INLINE f32v f32v_evens(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6);
}
VEC_INLINE f32v f32v_odds(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 1, 3, 5, 7);
}
VEC_INLINE f32v f32v_zip_low(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
VEC_INLINE f32v f32v_zip_high(f32v a, f32v b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}
#endif

VEC_INLINE float f32v_sum(f32v v) {
  float r[WEFT_LANES];
  f32v_store(r, v);
  for (int half = WEFT_LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) r[i] += r[i + half];
  return r[0];
}

VEC_INLINE bool i32v_any(i32v mask) {
#if defined(WEFT_TARGET_AVX2)
  return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__wasm_simd128__)
  return wasm_v128_any_true((v128_t)mask);
#else
  int32_t any = 0;
  VEC_FOR(i, WEFT_LANES) any |= mask[i];
  return any != 0;
#endif
}

#endif
