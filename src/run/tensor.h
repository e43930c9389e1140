/* tensor.h - the tensor object's inside. */
#ifndef WEFT_RUN_TENSOR_H
#define WEFT_RUN_TENSOR_H

#include "run/storage.h"

struct weft_tensor {
  weft_heap *heap; /* of this struct; NULL: it lies in another object */
  weft_dtype dtype;
  uint32_t rank;
  int64_t dims[WEFT_RANK_MAX];
  bool is_view;          /* on the rows of a cache: not dense, and moved when that grows */
  uint8_t *data;         /* dense elements; NULL: a view, or in a device's memory */
  uint64_t bytes;        /* of the elements */
  weft_storage *storage; /* NULL: the memory is the caller's */
  weft_storage *dense;   /* of these two: a dense copy on the host, once one was asked for */
  uint32_t reading;      /* the device's read that fills `dense`; 0: none does */
};

/* Of a view: what weft_storage_read_rows and weft_storage_grow want to know. */
static inline uint64_t weft_tensor_heads(const weft_tensor *tensor) {
  return (uint64_t)tensor->dims[0] * (uint64_t)tensor->dims[1];
}
static inline uint64_t weft_tensor_row_bytes(const weft_tensor *tensor) {
  return (uint64_t)tensor->dims[3] * weft_dtype_size(tensor->dtype);
}

/* As weft_tensor_open, on a heap of the caller's choice, for a session or NULL. */
weft_status weft_tensor_create(weft_heap *heap, struct weft_session *session, weft_dtype dtype,
                               const int64_t *dims, size_t rank, weft_tensor **out,
                               weft_error *error);
/* The same in the memory of the session's device. */
weft_status weft_tensor_create_there(struct weft_session *session, weft_dtype dtype,
                                     const int64_t *dims, size_t rank, weft_tensor **out,
                                     weft_error *error);
/* The device in whose memory the elements lie; NULL: the host's. */
static inline const struct weft_device *weft_tensor_device(const weft_tensor *tensor) {
  return tensor->storage ? tensor->storage->device : NULL;
}
/* What was brought to the host is no longer what lies in the device's memory. */
void weft_tensor_forget(weft_tensor *tensor);
/* Gives a tensor other extents, and other memory where somebody shares it or it is too small. */
weft_status weft_tensor_renew(weft_tensor *tensor, const int64_t *dims, weft_error *error);
/* As weft_tensor_wrap, into a struct that is the caller's and needs no close. */
weft_status weft_tensor_point(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                              size_t rank, void *data, size_t bytes, weft_error *error);
/* Makes a struct of the caller's a view on a cache, or on nothing again. Takes over a reference. */
void weft_tensor_view(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                      weft_storage *storage);
void weft_tensor_clear(weft_tensor *tensor);

#endif
