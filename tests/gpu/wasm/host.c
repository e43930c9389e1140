/* host.c - under the GPU's tests when they are a wasm module: their `main`, which run-wasm.mjs
 * calls, the driver by JavaScript where the tests ask for the native one, and stdlib.h. */
#include <stdlib.h>

#include "base/host.h"
#include "base/memory.h"
#include "gpu/driver.h"

/* A number for weft_gpu_web_open. */
__attribute__((import_module("test"), import_name("open_gpu"))) uint32_t test_open_gpu(void);

weft_status weft_gpu_native_open(weft_heap *heap, const char *adapter, weft_gpu_driver **out,
                                 weft_error *error) {
  (void)adapter;
  return weft_gpu_web_open(heap, test_open_gpu(), out, error);
}

int main(int argc, char **argv);
__attribute__((export_name("run"))) int run(void) {
  char name[] = "test", *argv[] = {name, NULL};
  return main(1, argv);
}

/* Blocks begin with their size. */
enum { SIZE_BYTES = 64 };

void *malloc(size_t bytes) {
  weft_allocator allocator = weft_host_allocator();
  size_t *block = allocator.allocate(allocator.user, bytes + SIZE_BYTES, SIZE_BYTES);
  if (block == NULL) __builtin_trap();
  *block = bytes + SIZE_BYTES;
  return (char *)block + SIZE_BYTES;
}
void *calloc(size_t count, size_t bytes) {
  return memset(malloc(count * bytes), 0, count * bytes);
}
void free(void *memory) {
  weft_allocator allocator = weft_host_allocator();
  size_t *block = memory ? (size_t *)(void *)((char *)memory - SIZE_BYTES) : NULL;
  if (block) allocator.release(allocator.user, block, *block);
}

char *getenv(const char *name) {
  (void)name;
  return NULL;
}
