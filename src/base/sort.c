/* sort.c - merge sort from the bottom up. */
#include "base/sort.h"

#include "base/memory.h"

void weft_sort_indices(uint32_t *out, uint32_t *scratch, uint32_t count, weft_less_fn less,
                       const void *user) {
  for (uint32_t i = 0; i < count; i++) out[i] = i;
  for (uint64_t width = 1; width < count; width *= 2) {
    for (uint64_t begin = 0; begin < count; begin += 2 * width) {
      uint64_t middle = begin + width < count ? begin + width : count;
      uint64_t end = middle + width < count ? middle + width : count;
      uint64_t left = begin, right = middle;
      for (uint64_t to = begin; to < end; to++) {
        bool take_right = left == middle || (right < end && less(user, out[right], out[left]));
        scratch[to] = out[take_right ? right++ : left++];
      }
    }
    memcpy(out, scratch, (size_t)count * sizeof *out);
  }
}
