/* buffer.c - bytes of weights, shared by count. */
#include "base/buffer.h"

#include "base/memory.h"

static weft_buffer *make(weft_heap *heap, weft_buffer contents) {
  weft_buffer *buffer = weft_heap_allocate(heap, sizeof *buffer);
  if (buffer == NULL) return NULL;
  *buffer = contents;
  buffer->heap = heap;
  atomic_init(&buffer->references, 1);
  return buffer;
}

weft_buffer *weft_buffer_new(weft_heap *heap, uint64_t bytes) {
  uint8_t *data = weft_heap_allocate(heap, bytes);
  if (data == NULL) return NULL;
  weft_buffer *buffer = make(heap, (weft_buffer){.bytes = bytes, .data = data, .owned = true});
  if (buffer == NULL) weft_heap_release(heap, data, bytes);
  return buffer;
}

weft_buffer *weft_buffer_borrow(weft_heap *heap, const void *data, uint64_t bytes) {
  /* Borrowed bytes are never written: only the making of an owned buffer hands out a way to. */
  return make(heap, (weft_buffer){.bytes = bytes, .data = (uint8_t *)(uintptr_t)data});
}

weft_buffer *weft_buffer_defer(weft_heap *heap, const weft_source *source, uint64_t offset,
                               uint64_t bytes) {
  return make(heap, (weft_buffer){.bytes = bytes, .source = *source, .offset = offset});
}

weft_buffer *weft_buffer_on_device(weft_heap *heap, uint64_t bytes, weft_memory memory,
                                   void (*close_memory)(void *user, weft_memory memory),
                                   void *user) {
  weft_buffer *buffer =
      make(heap,
           (weft_buffer){
               .bytes = bytes, .memory = memory, .close_memory = close_memory, .close_user = user});
  if (buffer == NULL) close_memory(user, memory);
  return buffer;
}

weft_buffer *weft_buffer_retain(weft_buffer *buffer) {
  atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
  return buffer;
}

void weft_buffer_release(weft_buffer **buffer) {
  weft_buffer *last = *buffer;
  *buffer = NULL;
  if (last == NULL || atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) > 1)
    return;
  if (last->memory != 0) last->close_memory(last->close_user, last->memory);
  if (last->owned) weft_heap_release(last->heap, last->data, last->bytes);
  weft_heap_release(last->heap, last, sizeof *last);
}

static weft_status read_source(const weft_buffer *buffer, uint64_t offset, uint64_t bytes, void *to,
                               weft_error *error) {
  const weft_source *source = &buffer->source;
  if (source->bytes == NULL && source->read == NULL)
    return weft_fail(error, WEFT_PENDING, "the bytes of a weight have not come yet");
  uint64_t start = buffer->offset + offset;
  if (buffer->offset > source->size || buffer->bytes > source->size - buffer->offset)
    return weft_fail(error, WEFT_INVALID_MODEL,
                     "bytes %llu to %llu lie outside a source of %llu bytes",
                     (unsigned long long)start, (unsigned long long)(start + bytes),
                     (unsigned long long)source->size);
  if (source->bytes != NULL) {
    memcpy(to, (const uint8_t *)source->bytes + start, (size_t)bytes);
    return WEFT_OK;
  }
  weft_status status = source->read(source->user, start, (size_t)bytes, to);
  if (status == WEFT_OK) return WEFT_OK;
  return weft_fail(error, status < 0 ? status : WEFT_IO_ERROR,
                   "the reader failed on bytes %llu to %llu: %s", (unsigned long long)start,
                   (unsigned long long)(start + bytes), weft_status_name(status));
}

weft_status weft_buffer_read(const weft_buffer *buffer, uint64_t offset, uint64_t bytes, void *to,
                             weft_error *error) {
  if (offset > buffer->bytes || bytes > buffer->bytes - offset)
    return weft_fail(error, WEFT_INTERNAL, "read of %llu bytes at %llu in a buffer of %llu bytes",
                     (unsigned long long)bytes, (unsigned long long)offset,
                     (unsigned long long)buffer->bytes);
  if (bytes == 0) return WEFT_OK;
  if (buffer->data == NULL) return read_source(buffer, offset, bytes, to, error);
  memcpy(to, buffer->data + offset, (size_t)bytes);
  return WEFT_OK;
}

weft_status weft_buffer_load(weft_buffer *buffer, weft_error *error) {
  if (buffer->data != NULL) return WEFT_OK;
  uint8_t *data = weft_heap_allocate(buffer->heap, buffer->bytes);
  if (data == NULL) return weft_heap_fail(buffer->heap, buffer->bytes, "a weight", error);
  weft_status status = weft_buffer_read(buffer, 0, buffer->bytes, data, error);
  if (status != WEFT_OK) {
    weft_heap_release(buffer->heap, data, buffer->bytes);
    return status;
  }
  buffer->data = data;
  buffer->owned = true;
  return WEFT_OK;
}
