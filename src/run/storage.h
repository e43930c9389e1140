/* storage.h - the memory behind tensors, of the host or of a device, counted by the tensors on it,
 * and what makes a cache of it: a buffer [B,H,capacity,D] that grows, on which tensors [B,H,T,D]
 * are views. */
#ifndef WEFT_RUN_STORAGE_H
#define WEFT_RUN_STORAGE_H

#include "base/buffer.h"

struct weft_device;
struct weft_session;

typedef struct weft_storage {
  _Atomic uint32_t references;
  weft_heap *heap;              /* of this struct and the data */
  struct weft_session *session; /* whose heap it is, kept for that long; NULL: the runtime's */
  uint8_t *data;                /* NULL: it is a device's */
  uint64_t bytes;
  const struct weft_device *device; /* of the session, which keeps it open; NULL: the host's */
  weft_memory memory;               /* there */
  bool borrowed;                    /* memory is the caller's */

  /* Caches. Rows are only ever added behind those that a view may see, so views stay right while
   * the buffer grows under them. */
  int64_t capacity;    /* rows from head to head; 0: not a cache */
  int64_t rows;        /* views may see rows below this one */
  bool claimed;        /* a run appends to it */
  _Atomic bool locked; /* data and capacity are read or changed */
} weft_storage;

/* NULL when there is no memory. */
weft_storage *weft_storage_new(weft_heap *heap, struct weft_session *session, uint64_t bytes);
/* Zeroed memory of the session's device; or over memory there that is the caller's (not 0). */
weft_status weft_storage_on_device(struct weft_session *session, uint64_t bytes,
                                   weft_memory borrowed, weft_storage **out, weft_error *error);
weft_storage *weft_storage_retain(weft_storage *storage);
void weft_storage_release(weft_storage **storage);

/* Rows of `bytes` each, of `heads` heads. Out of the cache, dense, to memory of the same side: */
void weft_storage_read_rows(weft_storage *storage, uint64_t heads, int64_t rows, uint64_t bytes,
                            uint8_t *to);
weft_status weft_storage_copy_rows(const weft_storage *storage, uint64_t heads, int64_t rows,
                                   uint64_t bytes, const weft_storage *to, weft_error *error);
/* Makes the capacity larger, and keeps `rows`. A failure leaves everything as it is. */
weft_status weft_storage_grow(weft_storage *storage, uint64_t heads, int64_t rows, uint64_t bytes,
                              int64_t capacity, weft_error *error);

#endif
