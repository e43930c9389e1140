/* tensor.c - tensors: dense row-major arrays that callers feed and receive. */
#include "run/tensor.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/runtime.h"

/* Fills everything but data; the extents come from outside. */
static weft_status describe(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims, size_t rank,
                            weft_error *error) {
  size_t size = weft_dtype_size(dtype);
  if (size == 0) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "tensor: elements of type %d cannot be held",
                     (int)dtype);
  }
  if (rank > WEFT_RANK_MAX || (rank > 0 && !dims)) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "tensor: rank %zu is not in 0..%d", rank,
                     WEFT_RANK_MAX);
  }
  uint64_t elements = 1;
  tensor->dtype = dtype;
  tensor->rank = (uint32_t)rank;
  for (size_t i = 0; i < rank; i++) {
    if (dims[i] < 0) {
      return weft_fail(error, WEFT_INVALID_ARGUMENT, "tensor: dimension %zu is %lld", i,
                       (long long)dims[i]);
    }
    tensor->dims[i] = dims[i];
    if (!weft_mul_u64(elements, (uint64_t)dims[i], &elements) || elements > WEFT_MAX_ELEMENTS) {
      return weft_fail(error, WEFT_LIMIT_EXCEEDED, "tensor: more than %llu elements",
                       (unsigned long long)WEFT_MAX_ELEMENTS);
    }
  }
  tensor->bytes = elements * size;
  return WEFT_OK;
}

/* An empty tensor object described by dtype and dims. */
static weft_status new_tensor(weft_heap *heap, weft_dtype dtype, const int64_t *dims, size_t rank,
                              weft_tensor **out, weft_error *error) {
  weft_tensor described = {.heap = heap};
  WEFT_TRY(describe(&described, dtype, dims, rank, error));
  weft_tensor *tensor = weft_heap_allocate(heap, sizeof *tensor);
  if (!tensor) return weft_heap_fail(heap, sizeof *tensor, "a tensor", error);
  *tensor = described;
  *out = tensor;
  return WEFT_OK;
}

weft_status weft_tensor_create(weft_heap *heap, weft_dtype dtype, const int64_t *dims, size_t rank,
                               weft_tensor **out, weft_error *error) {
  *out = NULL;
  weft_tensor *tensor;
  WEFT_TRY(new_tensor(heap, dtype, dims, rank, &tensor, error));
  tensor->owned = true;
  tensor->data = weft_heap_allocate_zeroed(heap, tensor->bytes);
  if (!tensor->data) {
    weft_status status = weft_heap_fail(heap, tensor->bytes, "a tensor", error);
    weft_tensor_close(&tensor);
    return status;
  }
  *out = tensor;
  return WEFT_OK;
}

weft_status weft_tensor_open(weft_runtime *runtime, weft_dtype dtype, const int64_t *dims,
                             size_t rank, weft_tensor **out, weft_error *error) {
  return weft_tensor_create(&runtime->heap, dtype, dims, rank, out, error);
}

weft_status weft_tensor_point(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                              size_t rank, void *data, size_t bytes, weft_error *error) {
  WEFT_TRY(describe(tensor, dtype, dims, rank, error));
  if (bytes < tensor->bytes || (!data && tensor->bytes)) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "tensor: %zu bytes given, %llu needed", bytes,
                     (unsigned long long)tensor->bytes);
  }
  if ((uintptr_t)data % weft_dtype_size(dtype) != 0) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "tensor: data is not aligned to its elements of %zu bytes",
                     weft_dtype_size(dtype));
  }
  tensor->data = data;
  return WEFT_OK;
}

weft_status weft_tensor_wrap(weft_runtime *runtime, weft_dtype dtype, const int64_t *dims,
                             size_t rank, void *data, size_t bytes, weft_tensor **out,
                             weft_error *error) {
  *out = NULL;
  weft_tensor *tensor;
  WEFT_TRY(new_tensor(&runtime->heap, dtype, dims, rank, &tensor, error));
  weft_status status = weft_tensor_point(tensor, dtype, dims, rank, data, bytes, error);
  if (status != WEFT_OK) weft_tensor_close(&tensor);
  *out = tensor;
  return status;
}

void weft_tensor_close(weft_tensor **tensor) {
  if (!tensor || !*tensor) return;
  weft_heap *heap = (*tensor)->heap;
  if ((*tensor)->owned) weft_heap_release(heap, (*tensor)->data, (*tensor)->bytes);
  weft_heap_release(heap, *tensor, sizeof **tensor);
  *tensor = NULL;
}

weft_dtype weft_tensor_dtype(const weft_tensor *tensor) {
  return tensor->dtype;
}
size_t weft_tensor_rank(const weft_tensor *tensor) {
  return tensor->rank;
}
const int64_t *weft_tensor_dims(const weft_tensor *tensor) {
  return tensor->dims;
}
void *weft_tensor_data(const weft_tensor *tensor) {
  return tensor->data;
}
size_t weft_tensor_bytes(const weft_tensor *tensor) {
  return (size_t)tensor->bytes;
}
