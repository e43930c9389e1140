/* commands.h - the table of commands of a run, and the bind groups that its dispatches need. */
#ifndef WEFT_GPU_COMMANDS_H
#define WEFT_GPU_COMMANDS_H

#include "base/memory.h"
#include "gpu/driver.h"

/* Bind groups of one GPU, by pipeline and buffers. They stay while their buffers do. */
typedef struct weft_group_cache weft_group_cache;

weft_status weft_group_cache_open(weft_heap *heap, weft_gpu_driver *driver, weft_group_cache **out,
                                  weft_error *error);
void weft_group_cache_close(weft_group_cache *cache);
weft_status weft_group_find(weft_group_cache *cache, weft_gpu_id pipeline,
                            const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                            weft_error *error);
/* Closes the groups that bind the buffer: before it is closed. */
void weft_group_forget(weft_group_cache *cache, weft_gpu_id buffer);

typedef struct weft_commands {
  weft_heap *heap;
  uint32_t *table;
  uint64_t words, room;
} weft_commands;

void weft_commands_release(weft_commands *commands);
/* Room for a command of `words` words, with word 0 written; NULL: no memory, as *error says. Grows
 * to what a run needs, and stays. */
uint32_t *weft_commands_add(weft_commands *commands, weft_gpu_command command, uint32_t words,
                            weft_error *error);

/* Timestamp `index`, where the GPU has them. */
weft_status weft_commands_add_time(weft_commands *commands, uint32_t index, weft_error *error);

/* A copy of bytes between buffers, as a command. */
enum { WEFT_GPU_COPY_WORDS = 9 };
static inline void weft_command_copy(uint32_t command[WEFT_GPU_COPY_WORDS], weft_gpu_id from,
                                     uint64_t from_offset, weft_gpu_id to, uint64_t to_offset,
                                     uint64_t length) {
  command[0] = WEFT_GPU_COPY | (uint32_t)WEFT_GPU_COPY_WORDS << 8;
  command[1] = from;
  memcpy(command + 2, &from_offset, sizeof from_offset);
  command[4] = to;
  memcpy(command + 5, &to_offset, sizeof to_offset);
  memcpy(command + 7, &length, sizeof length);
}

#endif
