/* memory.c - memcpy and friends for the wasm build, which has no libc. The builtins become the wasm
 * instructions memory.copy and memory.fill, not calls of these functions. The build is
 * freestanding, so that the loops do not become calls of themselves either. */
#include "base/memory.h"

#include <stdint.h>

__int128 __multi3(__int128 a, __int128 b);

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

/* What checked multiplications of 64-bit numbers compile to on wasm: the product of two 128-bit
 * numbers, modulo 2^128, from 32-bit halves. */
__int128 __multi3(__int128 a, __int128 b) {
  uint64_t a_low = (uint64_t)a, b_low = (uint64_t)b;
  uint64_t x0 = a_low & UINT32_MAX, x1 = a_low >> 32, y0 = b_low & UINT32_MAX, y1 = b_low >> 32;
  uint64_t low = x0 * y0, middle = x1 * y0 + (low >> 32), carry = x0 * y1 + (middle & UINT32_MAX);
  uint64_t high = x1 * y1 + (middle >> 32) + (carry >> 32);
  high += (uint64_t)((unsigned __int128)a >> 64) * b_low +
          a_low * (uint64_t)((unsigned __int128)b >> 64);
  return (__int128)((unsigned __int128)high << 64 | (carry << 32 | (low & UINT32_MAX)));
}
