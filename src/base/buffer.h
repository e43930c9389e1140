/* buffer.h - the bytes of a weight: in memory (own or borrowed), or still in their source. Shared
 * by reference count, so that a weight goes as soon as its last user (the model, a packed copy's
 * maker) lets go. */
#ifndef WEFT_BASE_BUFFER_H
#define WEFT_BASE_BUFFER_H

#include "base/heap.h"

/* The number of a piece of a device's own memory (a GPU buffer); 0: none, host memory. */
typedef uint32_t weft_memory;

typedef struct weft_buffer {
  _Atomic uint32_t references;
  weft_heap *heap; /* of this struct and of owned data */
  uint64_t bytes;
  uint8_t *data;      /* NULL: deferred */
  bool owned;         /* data is the heap's */
  weft_source source; /* deferred: where it lies (nowhere: its bytes will be fed) ... */
  uint64_t offset;    /* ... and from which byte */
  weft_memory memory; /* not 0: the bytes lie there (too, where data is not NULL) */
  void (*close_memory)(void *user, weft_memory memory); /* called when the buffer goes */
  void *close_user;
} weft_buffer;

/* One reference is the caller's; NULL when there is no memory. */
weft_buffer *weft_buffer_new(weft_heap *heap, uint64_t bytes); /* own memory, uninitialised */
weft_buffer *weft_buffer_borrow(weft_heap *heap, const void *data, uint64_t bytes); /* not copied */
weft_buffer *weft_buffer_defer(weft_heap *heap, const weft_source *source, uint64_t offset,
                               uint64_t bytes);
/* Of `bytes` in a device's memory, which it takes over. */
weft_buffer *weft_buffer_on_device(weft_heap *heap, uint64_t bytes, weft_memory memory,
                                   void (*close_memory)(void *user, weft_memory memory),
                                   void *user);
weft_buffer *weft_buffer_retain(weft_buffer *buffer);
void weft_buffer_release(weft_buffer **buffer);

/* Copies a range into `to`, from memory or source; the range must lie inside (checked).
 * WEFT_PENDING: the bytes are still to be fed. */
weft_status weft_buffer_read(const weft_buffer *buffer, uint64_t offset, uint64_t bytes, void *to,
                             weft_error *error);
/* Brings a deferred buffer into memory of its own. */
weft_status weft_buffer_load(weft_buffer *buffer, weft_error *error);

#endif
