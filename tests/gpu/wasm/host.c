/* host.c - under the GPU's tests when they are a wasm module: their `main`, which run-wasm.mjs
 * calls, the driver by JavaScript where the tests ask for the native one, and stdlib.h. */
#include <stdlib.h>

#include "base/host.h"
#include "base/memory.h"
#include "gpu/driver.h"

/* A number for weft_gpu_web_open. */
__attribute__((import_module("test"), import_name("open_gpu"))) uint32_t test_open_gpu(void);
/* Destroys the device; the next driver gets another. */
__attribute__((import_module("test"), import_name("lose_gpu"))) void test_lose_gpu(void);
/* Writes a variable of the environment and a NUL to `to`; answers 0 where it is not set or too
 * long.
 */
__attribute__((import_module("test"), import_name("getenv"))) int
test_getenv(const char *name, size_t length, char *to, size_t size);

weft_status weft_gpu_native_open(weft_heap *heap, const char *adapter, weft_gpu_driver **out,
                                 weft_error *error) {
  (void)adapter;
  return weft_gpu_web_open(heap, test_open_gpu(), out, error);
}

void weft_gpu_native_lose(weft_gpu_driver *driver) {
  (void)driver;
  test_lose_gpu();
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
void *aligned_alloc(size_t alignment, size_t bytes) {
  return alignment <= SIZE_BYTES ? malloc(bytes) : NULL;
}
void free(void *memory) {
  weft_allocator allocator = weft_host_allocator();
  size_t *block = memory ? (size_t *)(void *)((char *)memory - SIZE_BYTES) : NULL;
  if (block) allocator.release(allocator.user, block, *block);
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
long long strtoll(const char *text, char **end, int base) {
  (void)end, (void)base;
  long long value = 0;
  for (const char *c = text + (*text == '-'); is_digit(*c); c++) value = 10 * value + (*c - '0');
  return *text == '-' ? -value : value;
}
float strtof(const char *text, char **end) {
  (void)end;
  const char *c = text + (*text == '-');
  double digits = 0, scale = 1;
  for (; is_digit(*c); c++) digits = 10 * digits + (*c - '0');
  for (c += *c == '.'; is_digit(*c); c++, scale *= 10) digits = 10 * digits + (*c - '0');
  long long exponent = *c == 'e' ? strtoll(c + 1, NULL, 10) : 0;
  for (; exponent < 0; exponent++) scale *= 10;
  for (; exponent > 0; exponent--) digits *= 10;
  return (float)(*text == '-' ? -digits / scale : digits / scale);
}

char *getenv(const char *name) {
  static char value[64];
  return test_getenv(name, strlen(name), value, sizeof value) ? value : NULL;
}
