/* bench.h - what bench.c and bench_codes.c share: a timed call and a line of the report. */
#ifndef WEFT_TESTS_KERNEL_BENCH_H
#define WEFT_TESTS_KERNEL_BENCH_H

#include "tests/kernel/check.h"

/* A kernel with its arguments. */
typedef struct call {
  void (*run)(const struct call *call);
  union {
    weft_unary_f32_fn *unary; /* row_f32 too */
    weft_binary_f32_fn *binary;
    weft_compare_f32_fn *compare;
    weft_select_f32_fn *select;
    weft_reduce_f32_fn *reduce;
    weft_convert_fn *convert;
    weft_norm_f32_fn *norm;
    weft_rotary_f32_fn *rotary;
    weft_gemm_pack_f32_fn *pack;
    weft_gemm_f32_fn *gemm;
    weft_attention_f32_fn *attention;
    float (*peak)(size_t steps, const float *operands);
  } f;
  size_t m, n, k;
  size_t gemm_rows, gemm_columns; /* of the target */
  weft_attention_f32_args attention;
  const weft_kernels *target; /* where `run` calls several of its kernels */
} call;

/* The floats of a slot. */
float *bench_memory(unsigned slot);
/* Seconds of one run: the least over a tenth of a second of batches of 1 ms. */
double best_seconds(const call *c);

#endif
