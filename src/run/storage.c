/* storage.c - see storage.h. */
#include "run/storage.h"

#include "base/checked.h"
#include "base/memory.h"
#include "run/session.h"

weft_storage *weft_storage_new(weft_heap *heap, struct weft_session *session, uint64_t bytes) {
  weft_storage *storage = weft_heap_allocate_zeroed(heap, sizeof *storage);
  uint8_t *data = storage ? weft_heap_allocate(heap, bytes) : NULL;
  if (!data) {
    weft_heap_release(heap, storage, sizeof *storage);
    return NULL;
  }
  storage->heap = heap;
  storage->session = session;
  storage->data = data;
  storage->bytes = bytes;
  atomic_init(&storage->references, 1);
  if (session) weft_session_hold(session);
  return storage;
}

weft_status weft_storage_on_device(weft_session *session, uint64_t bytes, weft_memory borrowed,
                                   weft_storage **out, weft_error *error) {
  weft_storage *storage = weft_heap_allocate_zeroed(&session->heap, sizeof *storage);
  *out = NULL;
  if (!storage) return weft_heap_fail(&session->heap, sizeof *storage, "a tensor", error);
  storage->memory = borrowed;
  weft_status status = WEFT_OK;
  if (!borrowed)
    status = session->device->memory_open(session->device, bytes, &storage->memory, error);
  if (status != WEFT_OK) {
    weft_heap_release(&session->heap, storage, sizeof *storage);
    return status;
  }
  storage->heap = &session->heap;
  storage->session = session;
  storage->device = session->device;
  storage->borrowed = borrowed != 0;
  storage->bytes = bytes;
  atomic_init(&storage->references, 1);
  weft_session_hold(session);
  *out = storage;
  return WEFT_OK;
}

weft_storage *weft_storage_retain(weft_storage *storage) {
  atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
  return storage;
}

void weft_storage_release(weft_storage **storage) {
  weft_storage *last = *storage;
  *storage = NULL;
  if (!last || atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) > 1) return;
  struct weft_session *session = last->session;
  if (last->device && !last->borrowed) last->device->memory_close(last->device, last->memory);
  weft_heap_release(last->heap, last->data, last->bytes);
  weft_heap_release(last->heap, last, sizeof *last);
  if (session) weft_session_let_go(session);
}

/* Held for a copy at most; a session and the reader of a shared view may meet here. */
static void lock(weft_storage *storage) {
  while (atomic_exchange_explicit(&storage->locked, true, memory_order_acquire)) {
  }
}
static void unlock(weft_storage *storage) {
  atomic_store_explicit(&storage->locked, false, memory_order_release);
}

static void copy_heads(uint8_t *to, uint64_t to_stride, const uint8_t *from, uint64_t from_stride,
                       uint64_t heads, uint64_t bytes) {
  for (uint64_t h = 0; h < heads; h++)
    memcpy(to + h * to_stride, from + h * from_stride, (size_t)bytes);
}

void weft_storage_read_rows(weft_storage *storage, uint64_t heads, int64_t rows, uint64_t bytes,
                            uint8_t *to) {
  uint64_t length = (uint64_t)rows * bytes;
  lock(storage);
  copy_heads(to, length, storage->data, (uint64_t)storage->capacity * bytes, heads, length);
  unlock(storage);
}

/* The same in a device's memory. Capacities are such that heads start at whole words; the last word
 * of a head's rows may be half its own. */
static weft_status copy_heads_there(const weft_device *device, weft_memory to, uint64_t to_stride,
                                    weft_memory from, uint64_t from_stride, uint64_t heads,
                                    uint64_t bytes, weft_error *error) {
  if (bytes == 0) return WEFT_OK;
  return device->memory_copy(device, from, from_stride, to, to_stride, heads,
                             weft_align_up(bytes, 4), error);
}

weft_status weft_storage_copy_rows(const weft_storage *storage, uint64_t heads, int64_t rows,
                                   uint64_t bytes, const weft_storage *to, weft_error *error) {
  uint64_t length = (uint64_t)rows * bytes;
  return copy_heads_there(storage->device, to->memory, length, storage->memory,
                          (uint64_t)storage->capacity * bytes, heads, length, error);
}

static weft_status grow_there(weft_storage *storage, uint64_t heads, int64_t rows, uint64_t bytes,
                              uint64_t stride, weft_error *error) {
  const weft_device *device = storage->device;
  weft_memory memory;
  WEFT_TRY(device->memory_open(device, heads * stride, &memory, error));
  weft_status status =
      copy_heads_there(device, memory, stride, storage->memory, (uint64_t)storage->capacity * bytes,
                       heads, (uint64_t)rows * bytes, error);
  device->memory_close(device, status == WEFT_OK ? storage->memory : memory);
  if (status == WEFT_OK) storage->memory = memory;
  return status;
}

weft_status weft_storage_grow(weft_storage *storage, uint64_t heads, int64_t rows, uint64_t bytes,
                              int64_t capacity, weft_error *error) {
  uint64_t stride, size, before = storage->bytes;
  if (!weft_mul_u64((uint64_t)capacity, bytes, &stride) || !weft_mul_u64(stride, heads, &size))
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "a cache of %lld rows is too large",
                     (long long)capacity);
  if (storage->device) {
    WEFT_TRY(grow_there(storage, heads, rows, bytes, stride, error));
    storage->bytes = size;
    storage->capacity = capacity;
    return WEFT_OK;
  }
  uint8_t *data = weft_heap_allocate(storage->heap, size), *old = storage->data;
  if (!data) return weft_heap_fail(storage->heap, size, "a cache", error);
  copy_heads(data, stride, old, (uint64_t)storage->capacity * bytes, heads, (uint64_t)rows * bytes);
  lock(storage);
  storage->data = data;
  storage->bytes = size;
  storage->capacity = capacity;
  unlock(storage);
  weft_heap_release(storage->heap, old, before);
  return WEFT_OK;
}
