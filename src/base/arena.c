/* arena.c - blocks from a heap, filled from the front, released together. */
#include "base/arena.h"

#include "base/checked.h"
#include "base/text.h"

/* Blocks grow from the first to the last size, so that a small model stays small and a large one
 * needs few calls; what is larger than a block gets one of its own. */
enum { ARENA_BLOCK_FIRST = 4 << 10, ARENA_BLOCK_LAST = 1 << 20, ARENA_ALIGNMENT = 16 };

struct weft_arena_block {
  struct weft_arena_block *older;
  uint64_t size, used; /* this header included */
};

void weft_arena_init(weft_arena *arena, weft_heap *heap) {
  *arena = (weft_arena){.heap = heap};
}

void weft_arena_release(weft_arena *arena) {
  while (arena->blocks != NULL) {
    struct weft_arena_block *block = arena->blocks;
    arena->blocks = block->older;
    weft_heap_release(arena->heap, block, block->size);
  }
}

static uint64_t header_bytes(void) {
  return weft_align_up(sizeof(struct weft_arena_block), ARENA_ALIGNMENT);
}

static bool add_block_of(weft_arena *arena, uint64_t size) {
  struct weft_arena_block *block = weft_heap_allocate(arena->heap, size);
  if (block == NULL) return false;
  *block = (struct weft_arena_block){.older = arena->blocks, .size = size, .used = header_bytes()};
  arena->blocks = block;
  return true;
}

void weft_arena_reset(weft_arena *arena) {
  uint64_t size = 0;
  if (arena->blocks == NULL) return;
  if (arena->blocks->older == NULL) {
    arena->blocks->used = header_bytes();
    return;
  }
  for (const struct weft_arena_block *block = arena->blocks; block != NULL; block = block->older)
    size += block->size;
  weft_arena_release(arena);
  add_block_of(arena, size); /* without memory the next allocation fails, or finds some */
}

static bool add_block(weft_arena *arena, uint64_t bytes) {
  uint64_t size = arena->blocks != NULL ? arena->blocks->size * 2 : ARENA_BLOCK_FIRST;
  if (size > ARENA_BLOCK_LAST) size = ARENA_BLOCK_LAST;
  if (size < header_bytes() + bytes) size = header_bytes() + bytes;
  return add_block_of(arena, size);
}

void *weft_arena_allocate(weft_arena *arena, uint64_t bytes) {
  if (bytes > PTRDIFF_MAX / 2) return NULL;
  bytes = weft_align_up(bytes == 0 ? 1 : bytes, ARENA_ALIGNMENT);
  if (arena->blocks == NULL || arena->blocks->size - arena->blocks->used < bytes)
    if (!add_block(arena, bytes)) return NULL;
  void *memory = (char *)arena->blocks + arena->blocks->used;
  arena->blocks->used += bytes;
  return memset(memory, 0, (size_t)bytes);
}

void *weft_arena_array(weft_arena *arena, uint64_t count, uint64_t size) {
  uint64_t bytes;
  return weft_mul_u64(count, size, &bytes) ? weft_arena_allocate(arena, bytes) : NULL;
}

weft_str weft_arena_copy(weft_arena *arena, weft_str text) {
  char *copy = weft_arena_allocate(arena, (uint64_t)text.length + 1);
  if (copy == NULL) return (weft_str){0};
  if (text.length > 0) memcpy(copy, text.data, text.length);
  return (weft_str){copy, text.length};
}

static void count_only(void *user, const char *text, size_t length) {
  (void)user;
  (void)text;
  (void)length;
}

weft_str weft_arena_format(weft_arena *arena, const char *format, ...) {
  weft_text measure = {.write = count_only};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&measure, format, list);
  va_end(list);

  char *buffer = weft_arena_allocate(arena, (uint64_t)measure.length + 1);
  if (buffer == NULL) return WEFT_STR("");
  weft_text text = {.buffer = buffer, .size = measure.length + 1};
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
  return (weft_str){buffer, (uint32_t)text.length};
}

bool weft_arena_grow(weft_arena *arena, void **items, uint32_t count, uint64_t size) {
  enum { FIRST = 4 };
  bool full = count == 0 || (count >= FIRST && (count & (count - 1)) == 0);
  if (!full) return true;
  if (count > UINT32_MAX / 2) return false;
  void *grown = weft_arena_array(arena, count == 0 ? FIRST : 2 * (uint64_t)count, size);
  if (grown == NULL) return false;
  /* `items` points to a pointer of another type: memcpy reads and writes it without an aliasing
   * rule broken. */
  void *old;
  memcpy(&old, items, sizeof old);
  if (count > 0) memcpy(grown, old, (size_t)(count * size));
  memcpy(items, &grown, sizeof grown);
  return true;
}

weft_status weft_arena_fail(const weft_arena *arena, const char *what, weft_error *error) {
  return weft_heap_fail(arena->heap, ARENA_BLOCK_LAST, what, error);
}
