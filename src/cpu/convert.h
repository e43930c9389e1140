/* convert.h - how elements are held while they are computed with: f16 and bf16 as f32, every
 * integer as a 64-bit one (so that one loop per operation serves eight types), bool as a byte of 0
 * or 1. */
#ifndef WEFT_CPU_CONVERT_H
#define WEFT_CPU_CONVERT_H

#include "kernels/kernels.h"
#include "weft/weft.h"

typedef enum weft_class {
  WEFT_CLASS_NONE, /* strings */
  WEFT_CLASS_F32,
  WEFT_CLASS_F64,
  WEFT_CLASS_I64,
  WEFT_CLASS_U64,
  WEFT_CLASS_BOOL,
  WEFT_CLASS_COUNT
} weft_class;

weft_class weft_class_of(weft_dtype dtype);
size_t weft_class_size(weft_class held);

/* From storage to what it is held as, and back; NULL where the two are the same. */
weft_convert_fn *weft_class_loader(const weft_kernels *kernels, weft_dtype dtype);
weft_convert_fn *weft_class_storer(const weft_kernels *kernels, weft_dtype dtype);
/* Between classes; NULL where the bits stay. Floats saturate, NaN gives 0. */
weft_convert_fn *weft_class_caster(const weft_kernels *kernels, weft_class from, weft_class to);

/* Integers of fewer than 64 bits. */
unsigned weft_dtype_bits(weft_dtype dtype);

#endif
