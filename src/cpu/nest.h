/* nest.h - loops over the elements of several strided arrays of one shape, with as few dimensions
 * as their strides allow. Elements are counted in row-major order of that shape. */
#ifndef WEFT_CPU_NEST_H
#define WEFT_CPU_NEST_H

#include "plan/plan.h"

#define WEFT_NEST_ARRAYS WEFT_EXPR_INPUTS_MAX

typedef struct weft_nest {
  int32_t rank; /* >= 1 */
  uint32_t array_count;
  int64_t dims[WEFT_RANK_MAX];
  int64_t strides[WEFT_NEST_ARRAYS][WEFT_RANK_MAX]; /* in elements */
} weft_nest;

void weft_nest_init(weft_nest *nest, int32_t rank, const int64_t *dims);
/* Adds an array that broadcasts to the nest's shape: dimensions of 1 and missing leading ones
 * repeat. */
void weft_nest_add(weft_nest *nest, int32_t rank, const int64_t *dims, const int64_t *strides);
/* Drops dimensions of 1 and joins neighbours that every array walks as one. */
void weft_nest_collapse(weft_nest *nest);

/* Strides of an array that broadcasts to `rank` dimensions: 0 where it repeats. */
void weft_broadcast_strides(const weft_array *array, int32_t rank, int64_t *strides);

/* Offsets (in elements) of every array at element `linear`; `index`, if not NULL, receives the
 * coordinates. */
void weft_nest_locate(const weft_nest *nest, uint64_t linear, int64_t *offsets, int64_t *index);
/* Copies elements [start, start + count) of one array, `size` (1, 2, 4, 8) bytes each, to dense
 * `to`. */
void weft_nest_gather(const weft_nest *nest, uint32_t array, size_t size, const uint8_t *from,
                      uint64_t start, uint64_t count, uint8_t *to);

/* `count` elements, `stride` elements apart, to dense `to`. A stride of 0 repeats. */
void weft_copy_strided(size_t size, const uint8_t *from, int64_t stride, size_t count, uint8_t *to);
/* memcpy that is quick for short runs too. */
void weft_copy_run(uint8_t *to, const uint8_t *from, size_t bytes);

#endif
