/* commands.c - see commands.h. */
#include "gpu/commands.h"

#include "base/checked.h"
#include "base/memory.h"

/* ---- bind groups ----------------------------------------------------------------------------- */

typedef struct group_entry {
  weft_gpu_id group; /* 0: free */
  weft_gpu_id pipeline;
  uint32_t count;
  weft_gpu_id buffers[WEFT_GPU_BINDINGS_MAX];
} group_entry;

struct weft_group_cache {
  weft_heap *heap;
  weft_gpu_driver *driver;
  group_entry *entries;
  uint32_t room, count; /* room: a power of two */
};

static uint32_t hash_of(weft_gpu_id pipeline, const weft_gpu_id *buffers, uint32_t count) {
  uint32_t hash = pipeline * 0x9e3779b9u;
  for (uint32_t i = 0; i < count; i++) {
    hash = (hash ^ buffers[i]) * 0x85ebca6bu;
    hash ^= hash >> 15;
  }
  return hash;
}

static group_entry *place_of(const weft_group_cache *cache, weft_gpu_id pipeline,
                             const weft_gpu_id *buffers, uint32_t count) {
  for (uint32_t i = hash_of(pipeline, buffers, count);; i++) {
    group_entry *entry = &cache->entries[i & (cache->room - 1)];
    if (!entry->group || (entry->pipeline == pipeline && entry->count == count &&
                          memcmp(entry->buffers, buffers, count * sizeof *buffers) == 0))
      return entry;
  }
}

static weft_status resize(weft_group_cache *cache, uint32_t room, weft_error *error) {
  weft_group_cache other = *cache;
  other.room = room;
  other.entries = weft_heap_allocate_zeroed(cache->heap, room * sizeof *other.entries);
  if (!other.entries)
    return weft_heap_fail(cache->heap, room * sizeof *other.entries, "bind groups", error);
  for (uint32_t i = 0; i < cache->room; i++) {
    const group_entry *entry = &cache->entries[i];
    if (entry->group) *place_of(&other, entry->pipeline, entry->buffers, entry->count) = *entry;
  }
  weft_heap_release(cache->heap, cache->entries, cache->room * sizeof *cache->entries);
  *cache = other;
  return WEFT_OK;
}

weft_status weft_group_cache_open(weft_heap *heap, weft_gpu_driver *driver, weft_group_cache **out,
                                  weft_error *error) {
  *out = NULL;
  weft_group_cache *cache = weft_heap_allocate_zeroed(heap, sizeof *cache);
  if (!cache) return weft_heap_fail(heap, sizeof *cache, "bind groups", error);
  *cache = (weft_group_cache){.heap = heap, .driver = driver};
  *out = cache;
  return WEFT_OK;
}

void weft_group_cache_close(weft_group_cache *cache) {
  if (!cache) return;
  for (uint32_t i = 0; i < cache->room; i++)
    if (cache->entries[i].group) cache->driver->group_close(cache->driver, cache->entries[i].group);
  weft_heap_release(cache->heap, cache->entries, cache->room * sizeof *cache->entries);
  weft_heap_release(cache->heap, cache, sizeof *cache);
}

weft_status weft_group_find(weft_group_cache *cache, weft_gpu_id pipeline,
                            const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                            weft_error *error) {
  if (2 * cache->count >= cache->room)
    WEFT_TRY(resize(cache, cache->room ? 2 * cache->room : 64, error));
  group_entry *entry = place_of(cache, pipeline, buffers, count);
  if (!entry->group) {
    group_entry fresh = {.pipeline = pipeline, .count = count};
    memcpy(fresh.buffers, buffers, count * sizeof *buffers);
    WEFT_TRY(
        cache->driver->group_open(cache->driver, pipeline, buffers, count, &fresh.group, error));
    *entry = fresh;
    cache->count++;
  }
  *out = entry->group;
  return WEFT_OK;
}

static bool binds(const group_entry *entry, weft_gpu_id buffer) {
  for (uint32_t i = 0; i < entry->count; i++)
    if (entry->buffers[i] == buffer) return true;
  return false;
}

/* Moves entries that stood behind the freed place back to where a search finds them. */
static void close_gap(weft_group_cache *cache, uint32_t gap) {
  uint32_t mask = cache->room - 1;
  for (uint32_t i = gap + 1; cache->entries[i & mask].group; i++) {
    group_entry moved = cache->entries[i & mask];
    cache->entries[i & mask].group = 0;
    *place_of(cache, moved.pipeline, moved.buffers, moved.count) = moved;
  }
}

void weft_group_forget(weft_group_cache *cache, weft_gpu_id buffer) {
  for (uint32_t i = 0; i < cache->room;) {
    group_entry *entry = &cache->entries[i];
    if (!entry->group || !binds(entry, buffer)) {
      i++;
      continue;
    }
    cache->driver->group_close(cache->driver, entry->group);
    entry->group = 0;
    cache->count--;
    close_gap(cache, i); /* which may put another one here */
  }
}

/* ---- the table ------------------------------------------------------------------------------- */

void weft_commands_release(weft_commands *commands) {
  weft_heap_release(commands->heap, commands->table, commands->room * sizeof *commands->table);
  *commands = (weft_commands){.heap = commands->heap};
}

uint32_t *weft_commands_add(weft_commands *commands, weft_gpu_command command, uint32_t words,
                            weft_error *error) {
  if (commands->room - commands->words < words) {
    uint64_t room = 2 * commands->room + words + 1024;
    uint32_t *table = weft_heap_allocate(commands->heap, room * sizeof *table);
    if (!table) {
      (void)weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the GPU's commands");
      return NULL;
    }
    if (commands->words) memcpy(table, commands->table, (size_t)commands->words * sizeof *table);
    weft_heap_release(commands->heap, commands->table, commands->room * sizeof *table);
    commands->table = table;
    commands->room = room;
  }
  uint32_t *added = commands->table + commands->words;
  commands->words += words;
  added[0] = (uint32_t)command | words << 8;
  return added;
}

weft_status weft_commands_add_time(weft_commands *commands, uint32_t index, weft_error *error) {
  uint32_t *command = weft_commands_add(commands, WEFT_GPU_TIME, 2, error);
  if (!command) return WEFT_OUT_OF_MEMORY;
  command[1] = index;
  return WEFT_OK;
}
