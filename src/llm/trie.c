/* trie.c - building: sort the keys, then cut the sorted range into nodes, level by level. */
#include "llm/trie.h"

#include "base/sort.h"

static bool key_less(const void *user, uint32_t a, uint32_t b) {
  weft_str left = ((const weft_str *)user)[a], right = ((const weft_str *)user)[b];
  uint32_t common = left.length < right.length ? left.length : right.length;
  int order = common > 0 ? memcmp(left.data, right.data, common) : 0;
  return order != 0 ? order < 0 : left.length < right.length;
}

/* Keeps the last of each run of equal keys; returns how many are left. */
static uint32_t drop_duplicates(uint32_t *order, uint32_t count, const weft_str *keys,
                                uint32_t *values) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (i + 1 < count && weft_str_equal(keys[order[i]], keys[order[i + 1]]))
      values[order[i]] = WEFT_TRIE_NONE;
    else
      order[kept++] = order[i];
  }
  return kept;
}

/* Each key adds the nodes behind what it has in common with the one before it. */
static uint64_t count_nodes(const uint32_t *order, uint32_t count, const weft_str *keys) {
  uint64_t nodes = 1;
  for (uint32_t i = 0; i < count; i++) {
    weft_str key = keys[order[i]], before = i > 0 ? keys[order[i - 1]] : (weft_str){0};
    uint32_t common = 0;
    while (common < key.length && common < before.length && key.data[common] == before.data[common])
      common++;
    nodes += key.length - common;
  }
  return nodes;
}

/* The range of sorted keys that begin with the way to a node. */
typedef struct {
  uint32_t begin, end;
} key_range;

typedef struct {
  uint32_t *first_child, *value;
  uint8_t *label;
  key_range *ranges;
} node_arrays;

/* Fills node by node; the nodes appended by a level are the next one, which is a byte deeper. */
static void fill_nodes(const node_arrays *nodes, const uint32_t *order, uint32_t count,
                       const weft_str *keys, const uint32_t *values) {
  uint32_t made = 1, level_end = 1, depth = 0;
  nodes->ranges[0] = (key_range){0, count};
  for (uint32_t node = 0; node < made; node++) {
    if (node == level_end) {
      level_end = made;
      depth++;
    }
    key_range range = nodes->ranges[node];
    bool ends = range.begin < range.end && keys[order[range.begin]].length == depth;
    nodes->value[node] = ends ? values[order[range.begin]] : WEFT_TRIE_NONE;
    nodes->first_child[node] = made;
    for (uint32_t key = range.begin + ends; key < range.end; key++) {
      uint8_t byte = (uint8_t)keys[order[key]].data[depth];
      if (made == nodes->first_child[node] || nodes->label[made - 1] != byte) {
        nodes->label[made] = byte;
        nodes->ranges[made++].begin = key;
      }
      nodes->ranges[made - 1].end = key + 1;
    }
  }
  nodes->first_child[made] = made;
}

static weft_status build(weft_trie *trie, weft_arena *arena, weft_arena *scratch,
                         const weft_str *keys, uint32_t *values, uint32_t count,
                         weft_error *error) {
  uint32_t *order = WEFT_ARENA_ARRAY(scratch, uint32_t, count);
  uint32_t *spare = WEFT_ARENA_ARRAY(scratch, uint32_t, count);
  if (order == NULL || spare == NULL) return weft_arena_fail(scratch, "a vocabulary", error);
  weft_sort_indices(order, spare, count, key_less, keys);
  uint32_t kept = drop_duplicates(order, count, keys, values);
  uint64_t total = count_nodes(order, kept, keys);
  if (total >= UINT32_MAX)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "the vocabulary has too many bytes");

  node_arrays nodes = {
      .first_child = WEFT_ARENA_ARRAY(arena, uint32_t, total + 1),
      .value = WEFT_ARENA_ARRAY(arena, uint32_t, total),
      .label = WEFT_ARENA_ARRAY(arena, uint8_t, total),
      .ranges = WEFT_ARENA_ARRAY(scratch, key_range, total),
  };
  if (nodes.first_child == NULL || nodes.value == NULL || nodes.label == NULL ||
      nodes.ranges == NULL)
    return weft_arena_fail(arena, "a vocabulary", error);
  fill_nodes(&nodes, order, kept, keys, values);
  *trie = (weft_trie){nodes.first_child, nodes.value, nodes.label, (uint32_t)total};
  return WEFT_OK;
}

weft_status weft_trie_build(weft_trie *trie, weft_arena *arena, const weft_str *keys,
                            uint32_t *values, uint32_t count, weft_error *error) {
  weft_arena scratch;
  weft_arena_init(&scratch, arena->heap);
  weft_status status = build(trie, arena, &scratch, keys, values, count, error);
  weft_arena_release(&scratch);
  return status;
}

uint32_t weft_trie_walk(const weft_trie *trie, weft_str text) {
  uint32_t node = 0;
  for (uint32_t i = 0; i < text.length; i++) {
    node = weft_trie_step(trie, node, (uint8_t)text.data[i]);
    if (node == 0) return WEFT_TRIE_NONE;
  }
  return node;
}
