/* slots.c - see slots.h. */
#include "gpu/slots.h"

#include "base/memory.h"

/* Bits of a number that hold place + 1; those above hold how often the place was taken. */
#define PLACE_BITS 20u
#define PLACE_MASK ((1u << PLACE_BITS) - 1)

static weft_slot *at(const weft_slots *slots, uint32_t place) {
  return (weft_slot *)(void *)(slots->items + (size_t)place * slots->item_size);
}

void weft_slots_release(weft_slots *slots) {
  weft_heap_release(slots->heap, slots->items, (uint64_t)slots->room * slots->item_size);
  weft_slots_init(slots, slots->heap, slots->what, slots->item_size);
}

static weft_status grow(weft_slots *slots, weft_error *error) {
  uint32_t room = slots->room ? 2 * slots->room : 32;
  if (room > PLACE_MASK)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "too many %s on the GPU", slots->what);
  uint64_t bytes = (uint64_t)room * slots->item_size;
  unsigned char *items = weft_heap_allocate_zeroed(slots->heap, bytes);
  if (!items) return weft_heap_fail(slots->heap, bytes, slots->what, error);
  uint64_t old_bytes = (uint64_t)slots->room * slots->item_size;
  if (slots->items) memcpy(items, slots->items, (size_t)old_bytes);
  weft_heap_release(slots->heap, slots->items, old_bytes);
  slots->items = items;
  for (uint32_t place = room; place-- > slots->room;) {
    at(slots, place)->next = slots->free;
    slots->free = place + 1;
  }
  slots->room = room;
  return WEFT_OK;
}

weft_status weft_slots_take(weft_slots *slots, void **out, weft_error *error) {
  *out = NULL;
  if (!slots->free) WEFT_TRY(grow(slots, error));
  uint32_t place = slots->free - 1;
  weft_slot *slot = at(slots, place), fresh = {.taken = slot->taken + 1};
  fresh.id = slot->taken << PLACE_BITS | (place + 1);
  slots->free = slot->next;
  slots->open++;
  memset(slot, 0, slots->item_size);
  *slot = fresh;
  *out = slot;
  return WEFT_OK;
}

void weft_slots_give(weft_slots *slots, void *item) {
  weft_slot *slot = item;
  if (!slot) return;
  uint32_t place = (slot->id & PLACE_MASK) - 1;
  slot->id = 0;
  slot->next = slots->free;
  slots->free = place + 1;
  slots->open--;
}

void *weft_slots_find(const weft_slots *slots, weft_gpu_id id) {
  uint32_t place = (id & PLACE_MASK) - 1; /* of 0: past every end */
  if (place >= slots->room || at(slots, place)->id != id) return NULL;
  return at(slots, place);
}

void *weft_slots_next(const weft_slots *slots, uint32_t *i) {
  while (*i < slots->room) {
    weft_slot *slot = at(slots, (*i)++);
    if (slot->id) return slot;
  }
  return NULL;
}
