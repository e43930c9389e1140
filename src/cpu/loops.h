/* loops.h - elementwise loops in plain C for what is not an f32 kernel: 64-bit integers, doubles,
 * bools. See convert.h for why these types are enough. */
#ifndef WEFT_CPU_LOOPS_H
#define WEFT_CPU_LOOPS_H

#include "cpu/convert.h"
#include "graph/expr.h"

/* Bounds of a narrow integer type, for the two loops that bring results back into its range. */
typedef struct weft_range {
  int64_t low;
  uint64_t high;
  unsigned bits;
} weft_range;

/* y = f(x[0], x[1], x[2]); false: an integer was divided by zero. y may be one of x if elements
 * have the same size. */
typedef bool weft_loop_fn(size_t n, const void *const *x, void *y, const weft_range *range);

/* The loop for an instruction on operands held as `held`; NULL when there is none. */
weft_loop_fn *weft_loop_of(weft_expr_op op, weft_class held);

/* Result of integer arithmetic -> the type's range by wrapping; result of a cast from floats -> by
 * saturation. */
weft_loop_fn weft_loop_wrap_signed, weft_loop_wrap_unsigned, weft_loop_clamp_signed,
    weft_loop_clamp_unsigned;

#endif
