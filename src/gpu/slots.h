/* slots.h - a driver's objects by number. A number holds a place and how often that place was taken
 * before, so that the number of a closed object finds nothing. */
#ifndef WEFT_GPU_SLOTS_H
#define WEFT_GPU_SLOTS_H

#include "gpu/driver.h"

/* The first member of each object. */
typedef struct weft_slot {
  weft_gpu_id id; /* 0: free */
  uint32_t taken; /* how often, the next time included */
  uint32_t next;  /* place + 1 of the next free one; 0: none */
} weft_slot;

typedef struct weft_slots {
  weft_heap *heap;
  const char *what;   /* "buffers", for messages */
  uint32_t item_size; /* of an object */
  uint32_t room, open;
  uint32_t free; /* place + 1 of the first free one; 0: none */
  unsigned char *items;
} weft_slots;

static inline void weft_slots_init(weft_slots *slots, weft_heap *heap, const char *what,
                                   size_t item_size) {
  *slots = (weft_slots){.heap = heap, .what = what, .item_size = (uint32_t)item_size};
}
/* The objects themselves must be closed before. */
void weft_slots_release(weft_slots *slots);

/* An object with a number, zeroed behind its slot. It moves when more are taken. */
weft_status weft_slots_take(weft_slots *slots, void **out, weft_error *error);
/* Frees the number; NULL is accepted. */
void weft_slots_give(weft_slots *slots, void *item);
/* NULL: no open object has the number. */
void *weft_slots_find(const weft_slots *slots, weft_gpu_id id);
/* The open object at or behind place *i, which moves past it; NULL: no more. */
void *weft_slots_next(const weft_slots *slots, uint32_t *i);

#endif
