/* tensor.c - tensors: what callers feed and receive. Dense row-major arrays, or views on caches, in
 * the host's memory or a device's. */
#include "run/tensor.h"

#include "base/checked.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/runtime.h"
#include "plan/device.h"
#include "run/session.h"

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

/* Zeroed memory of the tensor's size. */
static weft_status take_storage(weft_tensor *tensor, weft_heap *heap, struct weft_session *session,
                                uint64_t bytes, weft_error *error) {
  weft_storage *storage = weft_storage_new(heap, session, bytes);
  if (!storage) return weft_heap_fail(heap, bytes, "a tensor", error);
  weft_storage_release(&tensor->storage);
  tensor->storage = storage;
  tensor->data = memset(storage->data, 0, (size_t)bytes);
  return WEFT_OK;
}

static weft_status take_memory(weft_tensor *tensor, uint64_t bytes, weft_error *error) {
  weft_storage *storage;
  WEFT_TRY(weft_storage_on_device(tensor->storage->session, bytes, 0, &storage, error));
  weft_storage_release(&tensor->storage);
  tensor->storage = storage;
  return WEFT_OK;
}

weft_status weft_tensor_create(weft_heap *heap, struct weft_session *session, weft_dtype dtype,
                               const int64_t *dims, size_t rank, weft_tensor **out,
                               weft_error *error) {
  *out = NULL;
  weft_tensor *tensor;
  WEFT_TRY(new_tensor(heap, dtype, dims, rank, &tensor, error));
  weft_status status = take_storage(tensor, heap, session, tensor->bytes, error);
  if (status != WEFT_OK) weft_tensor_close(&tensor);
  *out = tensor;
  return status;
}

/* A tensor over memory of the device, new or the caller's; on a heap that lives as long as it. */
static weft_status create_there(weft_heap *heap, weft_session *session, weft_dtype dtype,
                                const int64_t *dims, size_t rank, weft_memory borrowed,
                                weft_tensor **out, weft_error *error) {
  *out = NULL;
  weft_tensor *tensor;
  WEFT_TRY(new_tensor(heap, dtype, dims, rank, &tensor, error));
  weft_status status =
      weft_storage_on_device(session, tensor->bytes, borrowed, &tensor->storage, error);
  if (status != WEFT_OK) weft_tensor_close(&tensor);
  *out = tensor;
  return status;
}

weft_status weft_tensor_create_there(weft_session *session, weft_dtype dtype, const int64_t *dims,
                                     size_t rank, weft_tensor **out, weft_error *error) {
  return create_there(&session->heap, session, dtype, dims, rank, 0, out, error);
}

weft_status weft_tensor_renew(weft_tensor *tensor, const int64_t *dims, weft_error *error) {
  size_t length = tensor->rank * sizeof *dims;
  weft_storage *storage = tensor->storage;
  weft_tensor_forget(tensor);
  bool shared = atomic_load_explicit(&storage->references, memory_order_acquire) > 1;
  if (!shared && memcmp(dims, tensor->dims, length) == 0) return WEFT_OK;
  weft_tensor described = {0};
  WEFT_TRY(describe(&described, tensor->dtype, dims, tensor->rank, error));
  uint64_t bytes = described.bytes;
  bool grows = bytes > storage->bytes;
  if (grows) bytes += bytes / 2; /* it is likely to do so again */
  if (grows || shared)
    WEFT_TRY(storage->device ? take_memory(tensor, bytes, error)
                             : take_storage(tensor, storage->heap, storage->session, bytes, error));
  memcpy(tensor->dims, dims, length);
  tensor->bytes = described.bytes;
  return WEFT_OK;
}

weft_status weft_tensor_open(weft_runtime *runtime, weft_dtype dtype, const int64_t *dims,
                             size_t rank, weft_tensor **out, weft_error *error) {
  return weft_tensor_create(&runtime->heap, NULL, dtype, dims, rank, out, error);
}

weft_status weft_tensor_point(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                              size_t rank, void *data, size_t bytes, weft_error *error) {
  *tensor = (weft_tensor){0};
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
  tensor->heap = &runtime->heap;
  if (status != WEFT_OK) weft_tensor_close(&tensor);
  *out = tensor;
  return status;
}

void weft_tensor_view(weft_tensor *tensor, weft_dtype dtype, const int64_t *dims,
                      weft_storage *storage) {
  *tensor = (weft_tensor){.dtype = dtype, .rank = 4, .is_view = true, .storage = storage};
  memcpy(tensor->dims, dims, 4 * sizeof *dims);
  tensor->bytes = weft_tensor_heads(tensor) * (uint64_t)dims[2] * weft_tensor_row_bytes(tensor);
}

void weft_tensor_forget(weft_tensor *tensor) {
  const weft_device *device = weft_tensor_device(tensor);
  if (!device) return;
  if (tensor->reading) device->read_drop(device, tensor->reading);
  tensor->reading = 0;
  weft_storage_release(&tensor->dense);
}

void weft_tensor_clear(weft_tensor *tensor) {
  weft_tensor_forget(tensor);
  weft_storage_release(&tensor->storage);
  weft_storage_release(&tensor->dense);
}

weft_status weft_tensor_share(const weft_tensor *tensor, weft_tensor **out, weft_error *error) {
  *out = NULL;
  weft_heap *heap = tensor->storage ? tensor->storage->heap : tensor->heap;
  while (heap->parent) heap = heap->parent; /* the runtime's, which the session does not outlive */
  weft_tensor *share = weft_heap_allocate(heap, sizeof *share);
  if (!share) return weft_heap_fail(heap, sizeof *share, "a tensor", error);
  *share = *tensor;
  share->heap = heap;
  if (share->storage) weft_storage_retain(share->storage);
  if (share->reading) share->dense = NULL;
  share->reading = 0;
  if (share->dense) weft_storage_retain(share->dense);
  *out = share;
  return WEFT_OK;
}

void weft_tensor_close(weft_tensor **tensor) {
  if (!tensor || !*tensor) return;
  weft_heap *heap = (*tensor)->heap;
  weft_tensor_clear(*tensor);
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
bool weft_tensor_on_device(const weft_tensor *tensor) {
  return weft_tensor_device(tensor) != NULL;
}
uint32_t weft_tensor_memory(const weft_tensor *tensor) {
  return tensor->storage ? tensor->storage->memory : 0;
}
void *weft_tensor_data(const weft_tensor *view) {
  if (weft_tensor_device(view)) return view->dense && !view->reading ? view->dense->data : NULL;
  if (!view->is_view) return view->data;
  weft_tensor *tensor = (weft_tensor *)(uintptr_t)view; /* a copy changes nothing that shows */
  if (!tensor->dense) {
    tensor->dense =
        weft_storage_new(tensor->storage->heap, tensor->storage->session, tensor->bytes);
    if (!tensor->dense) return NULL;
    weft_storage_read_rows(tensor->storage, weft_tensor_heads(tensor), tensor->dims[2],
                           weft_tensor_row_bytes(tensor), tensor->dense->data);
  }
  return tensor->dense->data;
}
size_t weft_tensor_bytes(const weft_tensor *tensor) {
  return (size_t)tensor->bytes;
}

/* ---- from a device's memory to the host ------------------------------------------------------ */

/* A cache's rows are gathered on the device first, so that they come in one piece. */
static weft_status start_reading(weft_tensor *tensor, weft_error *error) {
  weft_storage *from = tensor->storage, *gathered = NULL;
  const weft_device *device = from->device;
  uint64_t bytes = weft_align_up(tensor->bytes, 4);
  if (bytes == 0) return WEFT_OK;
  if (tensor->is_view) {
    WEFT_TRY(weft_storage_on_device(from->session, bytes, 0, &gathered, error));
    weft_status status = weft_storage_copy_rows(from, weft_tensor_heads(tensor), tensor->dims[2],
                                                weft_tensor_row_bytes(tensor), gathered, error);
    if (status != WEFT_OK) {
      weft_storage_release(&gathered);
      return status;
    }
    from = gathered;
  }
  weft_status status =
      device->read(device, from->memory, 0, bytes, tensor->dense->data, &tensor->reading, error);
  if (gathered) weft_storage_release(&gathered);
  return status;
}

/* A failure that the device reports late may be that of what computed the elements. */
static weft_status go_on_reading(weft_tensor *tensor, weft_error *error) {
  const weft_device *device = weft_tensor_device(tensor);
  weft_status status = device->poll(device, false, error);
  if (status == WEFT_OK)
    status = device->read_state(device, tensor->reading, error);
  else
    device->read_drop(device, tensor->reading);
  if (status != WEFT_PENDING) tensor->reading = 0;
  return status;
}

weft_status weft_tensor_fetch(weft_tensor *tensor, weft_error *error) {
  const weft_device *device = weft_tensor_device(tensor);
  if (!device) return WEFT_OK;
  weft_status status = WEFT_OK;
  if (!tensor->dense) {
    weft_storage *from = tensor->storage;
    tensor->dense = weft_storage_new(from->heap, from->session, weft_align_up(tensor->bytes, 4));
    if (!tensor->dense) return weft_heap_fail(from->heap, tensor->bytes, "a tensor", error);
    status = start_reading(tensor, error);
  }
  if (status == WEFT_OK && tensor->reading) status = go_on_reading(tensor, error);
  if (status < 0) weft_storage_release(&tensor->dense);
  return status;
}

weft_status weft_tensor_wrap_memory(weft_session *session, weft_dtype dtype, const int64_t *dims,
                                    size_t rank, uint32_t memory, weft_tensor **out,
                                    weft_error *error) {
  *out = NULL;
  if (!session->device->host || memory == 0)
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "tensor: there is no memory %u of a device in this session", memory);
  return create_there(&session->runtime->heap, session, dtype, dims, rank, memory, out, error);
}
