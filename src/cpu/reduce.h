/* reduce.h - what a reduction knows when it runs: reduce.c works it out and does f32,
 * reduce_plain.c the other types. */
#ifndef WEFT_CPU_REDUCE_H
#define WEFT_CPU_REDUCE_H

#include "cpu/operand.h"

typedef struct weft_reduction {
  const weft_kernels *kernels;
  weft_reduce_kind kind;
  weft_operand input;
  weft_result result;
  weft_nest kept, reduced;         /* the input's dimensions that stay, and those that are folded */
  uint64_t count;                  /* elements folded into one */
  uint64_t columns, column_groups; /* vertical: kept.dims[last], cut into chunks */
  int64_t low;                     /* of an integer type: where max starts ... */
  uint64_t high;                   /* ... and min */
  weft_work work;
} weft_reduction;

typedef struct weft_reduction_run {
  const weft_reduction *reduction;
  const uint8_t *x;
  uint8_t *y;
} weft_reduction_run;

/* The work function for 64-bit integers and doubles; NULL where the kind has none. Items are output
 * elements. */
weft_work_fn *weft_reduce_plain(const weft_reduction *reduction);

#endif
