/* heap.h - the allocator hook with a count, a peak and a limit on top. Every object that owns
 * memory has a heap. */
#ifndef WEFT_BASE_HEAP_H
#define WEFT_BASE_HEAP_H

#include <stdatomic.h>

#include "base/status.h"

/* Alignment of every block: a cache line, and enough for any vector. */
#define WEFT_ALIGNMENT 64

typedef struct weft_heap {
  weft_allocator allocator;
  struct weft_heap *parent; /* counts along (the runtime's heap under a session's); may be NULL */
  uint64_t limit;           /* 0 = none */
  _Atomic uint64_t bytes, bytes_peak, calls;
} weft_heap;

/* A heap on `allocator`; or, with a parent, one that takes its memory from the parent's allocator
 * and counts there too. */
void weft_heap_init(weft_heap *heap, const weft_allocator *allocator, weft_heap *parent,
                    uint64_t limit);

/* Uninitialised memory at WEFT_ALIGNMENT; NULL when the allocator or the limit refuses. 0 bytes
 * give a valid pointer too. */
void *weft_heap_allocate(weft_heap *heap, uint64_t bytes);
/* The same, zeroed. */
void *weft_heap_allocate_zeroed(weft_heap *heap, uint64_t bytes);
/* A block `bytes` long (the size it was asked with); NULL is accepted. */
void weft_heap_release(weft_heap *heap, void *memory, uint64_t bytes);
weft_memory_use weft_heap_use(const weft_heap *heap);

/* The failure to report when weft_heap_allocate gave NULL: says what was asked for and which limit
 * stands. */
weft_status weft_heap_fail(const weft_heap *heap, uint64_t bytes, const char *what,
                           weft_error *error);

#endif
