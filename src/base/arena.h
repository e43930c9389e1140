/* arena.h - memory that is released as a whole: models, graphs and plans are built in one. */
#ifndef WEFT_BASE_ARENA_H
#define WEFT_BASE_ARENA_H

#include "base/heap.h"
#include "base/str.h"

typedef struct weft_arena {
  weft_heap *heap;
  struct weft_arena_block *blocks; /* newest first */
} weft_arena;

void weft_arena_init(weft_arena *arena, weft_heap *heap);
void weft_arena_release(weft_arena *arena);
/* Forgets what lies in it and keeps the memory, as one block: an arena that is filled alike after
 * each reset asks the heap for nothing from the second one on. */
void weft_arena_reset(weft_arena *arena);

/* `bytes` zeroed bytes at 16-byte alignment, or NULL. */
void *weft_arena_allocate(weft_arena *arena, uint64_t bytes);
/* An array of `count` zeroed elements, or NULL (also when count * size overflows). */
void *weft_arena_array(weft_arena *arena, uint64_t count, uint64_t size);
/* A copy that ends with NUL; .data is NULL when there is no memory. */
weft_str weft_arena_copy(weft_arena *arena, weft_str text);
/* Formatted text, as weft_text_add; "" when there is no memory. */
__attribute__((format(printf, 2, 3))) weft_str weft_arena_format(weft_arena *arena,
                                                                 const char *format, ...);

/* Typed forms. */
#define WEFT_ARENA_NEW(arena, type) ((type *)weft_arena_allocate((arena), sizeof(type)))
#define WEFT_ARENA_ARRAY(arena, type, count)                                                       \
  ((type *)weft_arena_array((arena), (count), sizeof(type)))

/* Makes room for one more element in an arena array that doubles: `items` (of `size` bytes each)
 * holds `count`, its capacity is the next power of two. Answers false when there is no memory. Use
 * by WEFT_ARENA_PUSH. */
bool weft_arena_grow(weft_arena *arena, void **items, uint32_t count, uint64_t size);
/* Appends a zeroed element to `items` (a typed pointer lvalue) and yields its address, or NULL. */
#define WEFT_ARENA_PUSH(arena, items, count)                                                       \
  (weft_arena_grow((arena), (void **)&(items), (count), sizeof *(items)) ? &(items)[(count)++]     \
                                                                         : NULL)

weft_status weft_arena_fail(const weft_arena *arena, const char *what, weft_error *error);

#endif
