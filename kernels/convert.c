/* convert.c - conversions between storage types. x and y need no alignment. */
#include "base/memory.h"
#include "kernels/target.h"
#include "kernels/vec.h"

static float from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}
static uint32_t to_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* Branch-free, so that the loops below vectorise. The multiplication rebases the exponent,
 * denormals included; infinity and NaN get the largest exponent afterwards. */
static inline float f16_to_f32(uint16_t h) {
  uint32_t size = (uint32_t)(h & 0x7FFF) << 13;
  uint32_t bits = to_bits(from_bits(size) * 0x1p112f) | (size >= 0x0F800000 ? 0x7F800000 : 0);
  return from_bits(bits | (uint32_t)(h & 0x8000) << 16);
}

/* To nearest, ties to even. Adding 1/2 leaves a denormal half's fraction in the low bits. */
static inline uint16_t f32_to_f16(float f) {
  uint32_t bits = to_bits(f), size = bits & 0x7FFFFFFF;
  uint32_t normal = ((size + 0xFFF + (size >> 13 & 1)) >> 13) - (112 << 10);
  uint32_t small = to_bits(from_bits(size) + 0.5f) - 0x3F000000;
  uint32_t nan = 0x7E00 | (size >> 13 & 0x3FF);
  uint32_t half = size < 0x38800000 ? small : normal;
  half = size >= 0x477FF000 ? 0x7C00 : half; /* 65520 and more */
  half = size > 0x7F800000 ? nan : half;
  return (uint16_t)(half | (bits >> 16 & 0x8000));
}

static inline float bf16_to_f32(uint16_t h) {
  return from_bits((uint32_t)h << 16);
}

/* The types that stored elements have at any address. */
typedef uint8_t stored_u8;
typedef uint16_t stored_u16 __attribute__((aligned(1), may_alias));
typedef int32_t stored_i32 __attribute__((aligned(1), may_alias));
typedef int64_t stored_i64 __attribute__((aligned(1), may_alias));
typedef float stored_f32 __attribute__((aligned(1), may_alias));

#define CONVERT(name, from, to, f)                                                                 \
  void WEFT_KERNEL_NAME(name)(size_t n, const void *x, void *y) {                                  \
    const from *restrict in = x;                                                                   \
    to *restrict out = y;                                                                          \
    for (size_t i = 0; i < n; i++) out[i] = f(in[i]);                                              \
  }
#ifndef WEFT_TARGET_AVX2
CONVERT(f16_to_f32, stored_u16, stored_f32, f16_to_f32)
CONVERT(f32_to_f16, stored_f32, stored_u16, f32_to_f16)
#endif
CONVERT(bf16_to_f32, stored_u16, stored_f32, bf16_to_f32)
CONVERT(i64_to_f32, stored_i64, stored_f32, (float))
CONVERT(i32_to_f32, stored_i32, stored_f32, (float))
CONVERT(u8_to_f32, stored_u8, stored_f32, (float))

#ifdef WEFT_TARGET_AVX2
/* F16C has instructions for both; the scalar functions do the rest of fewer than 8. */
void WEFT_KERNEL_NAME(f16_to_f32)(size_t n, const void *x, void *y) {
  const stored_u16 *in = x;
  stored_f32 *out = y;
  for (; n >= 8; n -= 8, in += 8, out += 8)
    _mm256_storeu_ps((float *)out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)in)));
  for (size_t i = 0; i < n; i++) out[i] = f16_to_f32(in[i]);
}
void WEFT_KERNEL_NAME(f32_to_f16)(size_t n, const void *x, void *y) {
  const stored_f32 *in = x;
  stored_u16 *out = y;
  for (; n >= 8; n -= 8, in += 8, out += 8)
    _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(_mm256_loadu_ps((const float *)in), 0));
  for (size_t i = 0; i < n; i++) out[i] = f32_to_f16(in[i]);
}
#endif
