/* map.h - from text to a 32-bit number, in an arena: names to values, ops to table rows. */
#ifndef WEFT_BASE_MAP_H
#define WEFT_BASE_MAP_H

#include "base/arena.h"

#define WEFT_MAP_NONE UINT32_MAX

typedef struct weft_map {
  weft_arena *arena;
  struct weft_map_node *root;
  uint32_t count;
} weft_map;

void weft_map_init(weft_map *map, weft_arena *arena);
/* The number under `key`, or WEFT_MAP_NONE. */
uint32_t weft_map_find(const weft_map *map, weft_str key);
/* Sets it (replacing an older one); the key's text must outlive the map. Answers false when there
 * is no memory. */
bool weft_map_set(weft_map *map, weft_str key, uint32_t value);

#endif
