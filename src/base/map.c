/* map.c - a hash trie: each node has four children, picked by two bits of the key's hash per level.
 * The hash is SipHash-1-3 because keys come from files: finding many keys that collide in it is not
 * feasible, so a hostile model cannot make a look-up slow. */
#include "base/map.h"

struct weft_map_node {
  struct weft_map_node *children[4];
  weft_str key;
  uint32_t value;
};

static uint64_t rotate(uint64_t x, unsigned bits) {
  return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4]) {
  v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
  v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
  v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
  v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static uint64_t hash(weft_str key) {
  uint64_t v[4] = {0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573};
  uint32_t at = 0;
  for (; key.length - at >= 8; at += 8) {
    uint64_t word;
    memcpy(&word, key.data + at, 8);
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
  }
  uint64_t last = (uint64_t)key.length << 56;
  for (uint32_t i = at; i < key.length; i++) last |= (uint64_t)(uint8_t)key.data[i] << 8 * (i - at);
  v[3] ^= last;
  mix(v);
  v[0] ^= last;
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) mix(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Where `key` is, or where it would be added. */
static struct weft_map_node **locate(struct weft_map_node **at, weft_str key) {
  for (uint64_t bits = hash(key); *at != NULL && !weft_str_equal((*at)->key, key); bits <<= 2)
    at = &(*at)->children[bits >> 62];
  return at;
}

void weft_map_init(weft_map *map, weft_arena *arena) {
  *map = (weft_map){.arena = arena};
}

uint32_t weft_map_find(const weft_map *map, weft_str key) {
  struct weft_map_node *root = map->root;
  const struct weft_map_node *node = *locate(&root, key);
  return node != NULL ? node->value : WEFT_MAP_NONE;
}

bool weft_map_set(weft_map *map, weft_str key, uint32_t value) {
  struct weft_map_node **at = locate(&map->root, key);
  if (*at == NULL) {
    *at = WEFT_ARENA_NEW(map->arena, struct weft_map_node);
    if (*at == NULL) return false;
    (*at)->key = key;
    map->count++;
  }
  (*at)->value = value;
  return true;
}
