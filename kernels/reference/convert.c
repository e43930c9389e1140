/* convert.c (reference) - conversions between storage types, from the definition of the formats. */
#include "base/memory.h"
#include "kernels/target.h"

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

/* binary16: sign, 5 bits of exponent (bias 15), 10 bits of fraction; exponent 0: fraction * 2^-24
 */
static float f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
  float size = from_bits((exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
  if (exponent == 0) size = (float)fraction * 0x1p-24f;
  return from_bits(to_bits(size) | sign);
}

/* to nearest, ties to even */
static uint16_t f32_to_f16(float f) {
  uint32_t bits = to_bits(f), sign = bits >> 16 & 0x8000, size = bits & 0x7FFFFFFF;
  if (size > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (size >> 13 & 0x3FF));
  if (size >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* 65520 and more */
  uint32_t dropped = size >= 0x38800000 ? 13 : size >> 23 < 102 ? 25 : 126 - (size >> 23);
  uint32_t full = size >= 0x38800000 ? size - 0x38000000 : (size & 0x7FFFFF) | 0x800000;
  uint32_t kept = full >> dropped, rest = full & ((1u << dropped) - 1), half = 1u << (dropped - 1);
  return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));
}

static float bf16_to_f32(uint16_t h) {
  return from_bits((uint32_t)h << 16);
}

#define CONVERT(name, from, to, f)                                                                 \
  void WEFT_KERNEL_NAME(name)(size_t n, const void *x, void *y) {                                  \
    for (size_t i = 0; i < n; i++) {                                                               \
      from element;                                                                                \
      memcpy(&element, (const char *)x + i * sizeof(from), sizeof element);                        \
      to result = f(element);                                                                      \
      memcpy((char *)y + i * sizeof(to), &result, sizeof result);                                  \
    }                                                                                              \
  }
CONVERT(f16_to_f32, uint16_t, float, f16_to_f32)
CONVERT(f32_to_f16, float, uint16_t, f32_to_f16)
CONVERT(bf16_to_f32, uint16_t, float, bf16_to_f32)
CONVERT(i64_to_f32, int64_t, float, (float))
CONVERT(i32_to_f32, int32_t, float, (float))
CONVERT(u8_to_f32, uint8_t, float, (float))
