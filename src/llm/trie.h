/* trie.h - a read-only map from byte strings to numbers that is walked one byte at a time: the
 * longest vocabulary entry at a place of the text takes one walk. Its size and the time to build it
 * depend only on the bytes of its keys, so that no hostile vocabulary makes it slow. */
#ifndef WEFT_LLM_TRIE_H
#define WEFT_LLM_TRIE_H

#include "base/arena.h"

#define WEFT_TRIE_NONE UINT32_MAX

/* Nodes in breadth-first order, node 0 the root; the children of a node lie together, sorted by
 * label: those of node i are [first_child[i], first_child[i + 1]). */
typedef struct weft_trie {
  const uint32_t *first_child; /* [count + 1] */
  const uint32_t *value;       /* [count]: of the key that ends here, or WEFT_TRIE_NONE */
  const uint8_t *label;        /* [count]: the last byte of the way to here */
  uint32_t count;
} weft_trie;

/* Builds `trie` in `arena`. Of equal keys the last one counts; the values of the others are set to
 * WEFT_TRIE_NONE. At most 2^31 bytes of keys. */
weft_status weft_trie_build(weft_trie *trie, weft_arena *arena, const weft_str *keys,
                            uint32_t *values, uint32_t count, weft_error *error);

/* The child of `node` by `byte`, or 0. */
static inline uint32_t weft_trie_step(const weft_trie *trie, uint32_t node, uint8_t byte) {
  uint32_t low = trie->first_child[node], count = trie->first_child[node + 1] - low;
  if (count == 0) return 0;
  while (count > 1) {
    uint32_t half = count / 2;
    low += trie->label[low + half] <= byte ? half : 0;
    count -= half;
  }
  return trie->label[low] == byte ? low : 0;
}

/* The node at the end of `text`, or WEFT_TRIE_NONE. */
uint32_t weft_trie_walk(const weft_trie *trie, weft_str text);

#endif
