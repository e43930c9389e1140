/* sort.h - stable order of things that are named by numbers. */
#ifndef WEFT_BASE_SORT_H
#define WEFT_BASE_SORT_H

#include <stdbool.h>
#include <stdint.h>

/* Sorts the numbers [0, count) so that less(user, a, b) holds for none before another; equal ones
 * keep their order. `scratch` has room for `count`. */
typedef bool (*weft_less_fn)(const void *user, uint32_t a, uint32_t b);
void weft_sort_indices(uint32_t *out, uint32_t *scratch, uint32_t count, weft_less_fn less,
                       const void *user);

#endif
