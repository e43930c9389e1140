/* memory.c - memcpy and friends for the wasm build, which has no libc. The builtins become the wasm
 * instructions memory.copy and memory.fill, not calls of these functions. Compiled with
 * -fno-builtin, so that the loops do not become calls of themselves either. */
#include "base/memory.h"

#ifdef __wasm__

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  return __builtin_memcpy(to, from, bytes);
}

void *memmove(void *to, const void *from, size_t bytes) {
  return __builtin_memmove(to, from, bytes);
}

void *memset(void *to, int value, size_t bytes) {
  return __builtin_memset(to, value, bytes);
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < bytes; i++)
    if (x[i] != y[i]) return x[i] - y[i];
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

int strcmp(const char *a, const char *b) {
  while (*a != 0 && *a == *b) a++, b++;
  return (unsigned char)*a - (unsigned char)*b;
}

#else
typedef int weft_memory_is_libc; /* a file must declare something */
#endif
