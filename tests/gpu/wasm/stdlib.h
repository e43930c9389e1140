/* stdlib.h - what the GPU's tests use of it, where there is no C library. Memory is the module's
 * heap; a test that gets none traps. */
#ifndef WEFT_TESTS_GPU_WASM_STDLIB_H
#define WEFT_TESTS_GPU_WASM_STDLIB_H

#include <stddef.h>

void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes); /* up to 64 */
void free(void *memory);
/* Decimal numbers alone; `end` is NULL. */
long long strtoll(const char *text, char **end, int base);
float strtof(const char *text, char **end);
/* There is none. */
char *getenv(const char *name);

#endif
