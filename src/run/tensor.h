/* tensor.h - the tensor object's inside. */
#ifndef WEFT_RUN_TENSOR_H
#define WEFT_RUN_TENSOR_H

#include "base/heap.h"

struct weft_tensor {
  weft_heap *heap; /* of this struct and of its own data */
  weft_dtype dtype;
  uint32_t rank;
  int64_t dims[WEFT_RANK_MAX];
  uint8_t *data;
  uint64_t bytes; /* of the elements */
  bool owned;     /* data is the heap's */
};

/* As weft_tensor_open, on a heap of the caller's choice. */
weft_status weft_tensor_create(weft_heap *heap, weft_dtype dtype, const int64_t *dims, size_t rank,
                               weft_tensor **out, weft_error *error);
/* As weft_tensor_wrap, into a struct that is the caller's and needs no close. */
weft_status weft_tensor_point(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                              size_t rank, void *data, size_t bytes, weft_error *error);

#endif
