/* convert.c - see convert.h. Loops of plain C; the hot float conversions are kernels. */
#include "cpu/convert.h"

#include "base/memory.h"

#define CONVERT(name, from_type, to_type, expression)                                              \
  static void name(size_t n, const void *x, void *y) {                                             \
    const from_type *from = x;                                                                     \
    to_type *to = y;                                                                               \
    for (size_t i = 0; i < n; i++) {                                                               \
      from_type v = from[i];                                                                       \
      to[i] = (to_type)(expression);                                                               \
    }                                                                                              \
  }

CONVERT(load_i8, int8_t, int64_t, v)
CONVERT(load_i16, int16_t, int64_t, v)
CONVERT(load_i32, int32_t, int64_t, v)
CONVERT(load_u8, uint8_t, uint64_t, v)
CONVERT(load_u16, uint16_t, uint64_t, v)
CONVERT(load_u32, uint32_t, uint64_t, v)
CONVERT(store_8, uint64_t, uint8_t, v)
CONVERT(store_16, uint64_t, uint16_t, v)
CONVERT(store_32, uint64_t, uint32_t, v)

/* Round to nearest even; a NaN stays one. */
static uint16_t bf16_of(uint32_t bits) {
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)((bits >> 16) | 0x40);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
CONVERT(f32_to_bf16, uint32_t, uint16_t, bf16_of(v))

/* C leaves conversions out of range undefined. */
static int64_t i64_of(double v) {
  if (!(v > -0x1p63)) return v <= -0x1p63 ? INT64_MIN : 0;
  return v >= 0x1p63 ? INT64_MAX : (int64_t)v;
}
static uint64_t u64_of(double v) {
  if (!(v > 0)) return 0;
  return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}
CONVERT(f32_to_i64, float, int64_t, i64_of((double)v))
CONVERT(f64_to_i64, double, int64_t, i64_of(v))
CONVERT(f32_to_u64, float, uint64_t, u64_of((double)v))
CONVERT(f64_to_u64, double, uint64_t, u64_of(v))
CONVERT(f32_to_f64, float, double, v)
CONVERT(f64_to_f32, double, float, v)
CONVERT(i64_to_f64, int64_t, double, v)
CONVERT(u64_to_f64, uint64_t, double, v)
CONVERT(u64_to_f32, uint64_t, float, v)
CONVERT(bool_to_f64, uint8_t, double, v != 0)
CONVERT(bool_to_u64, uint8_t, uint64_t, v != 0)
CONVERT(f32_to_bool, float, uint8_t, v != 0)
CONVERT(f64_to_bool, double, uint8_t, v != 0)
CONVERT(u64_to_bool, uint64_t, uint8_t, v != 0)

weft_class weft_class_of(weft_dtype dtype) {
  static const uint8_t classes[] = {
      [WEFT_F32] = WEFT_CLASS_F32,   [WEFT_F16] = WEFT_CLASS_F32, [WEFT_BF16] = WEFT_CLASS_F32,
      [WEFT_F64] = WEFT_CLASS_F64,   [WEFT_I8] = WEFT_CLASS_I64,  [WEFT_I16] = WEFT_CLASS_I64,
      [WEFT_I32] = WEFT_CLASS_I64,   [WEFT_I64] = WEFT_CLASS_I64, [WEFT_U8] = WEFT_CLASS_U64,
      [WEFT_U16] = WEFT_CLASS_U64,   [WEFT_U32] = WEFT_CLASS_U64, [WEFT_U64] = WEFT_CLASS_U64,
      [WEFT_BOOL] = WEFT_CLASS_BOOL,
  };
  return (size_t)dtype < sizeof classes ? (weft_class)classes[dtype] : WEFT_CLASS_NONE;
}

size_t weft_class_size(weft_class held) {
  static const uint8_t sizes[WEFT_CLASS_COUNT] = {0, 4, 8, 8, 8, 1};
  return sizes[held];
}

unsigned weft_dtype_bits(weft_dtype dtype) {
  return (unsigned)(8 * weft_dtype_size(dtype));
}

weft_convert_fn *weft_class_loader(const weft_kernels *kernels, weft_dtype dtype) {
  switch (dtype) {
  case WEFT_F16:
    return kernels->f16_to_f32;
  case WEFT_BF16:
    return kernels->bf16_to_f32;
  case WEFT_I8:
    return load_i8;
  case WEFT_I16:
    return load_i16;
  case WEFT_I32:
    return load_i32;
  case WEFT_U8:
    return load_u8;
  case WEFT_U16:
    return load_u16;
  case WEFT_U32:
    return load_u32;
  default:
    return NULL;
  }
}

weft_convert_fn *weft_class_storer(const weft_kernels *kernels, weft_dtype dtype) {
  switch (dtype) {
  case WEFT_F16:
    return kernels->f32_to_f16;
  case WEFT_BF16:
    return f32_to_bf16;
  case WEFT_I8:
  case WEFT_U8:
    return store_8;
  case WEFT_I16:
  case WEFT_U16:
    return store_16;
  case WEFT_I32:
  case WEFT_U32:
    return store_32;
  default:
    return NULL;
  }
}

weft_convert_fn *weft_class_caster(const weft_kernels *kernels, weft_class from, weft_class to) {
  weft_convert_fn *const casters[WEFT_CLASS_COUNT][WEFT_CLASS_COUNT] = {
      [WEFT_CLASS_F32] = {[WEFT_CLASS_F64] = f32_to_f64,
                          [WEFT_CLASS_I64] = f32_to_i64,
                          [WEFT_CLASS_U64] = f32_to_u64,
                          [WEFT_CLASS_BOOL] = f32_to_bool},
      [WEFT_CLASS_F64] = {[WEFT_CLASS_F32] = f64_to_f32,
                          [WEFT_CLASS_I64] = f64_to_i64,
                          [WEFT_CLASS_U64] = f64_to_u64,
                          [WEFT_CLASS_BOOL] = f64_to_bool},
      [WEFT_CLASS_I64] = {[WEFT_CLASS_F32] = kernels->i64_to_f32,
                          [WEFT_CLASS_F64] = i64_to_f64,
                          [WEFT_CLASS_BOOL] = u64_to_bool},
      [WEFT_CLASS_U64] = {[WEFT_CLASS_F32] = u64_to_f32,
                          [WEFT_CLASS_F64] = u64_to_f64,
                          [WEFT_CLASS_BOOL] = u64_to_bool},
      [WEFT_CLASS_BOOL] = {[WEFT_CLASS_F32] = kernels->u8_to_f32,
                           [WEFT_CLASS_F64] = bool_to_f64,
                           [WEFT_CLASS_I64] = bool_to_u64,
                           [WEFT_CLASS_U64] = bool_to_u64},
  };
  return casters[from][to];
}
