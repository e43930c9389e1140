/* vocab.c - see vocab.h. */
#include "llm/vocab.h"

#include "base/checked.h"
#include "base/sort.h"

weft_status weft_vocab_reserve(weft_vocab *vocab, weft_arena *arena, uint32_t count, uint64_t bytes,
                               weft_error *error) {
  if (bytes + count > INT32_MAX)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "the vocabulary is larger than 2 GiB");
  *vocab = (weft_vocab){
      .texts = WEFT_ARENA_ARRAY(arena, char, bytes + count),
      .starts = WEFT_ARENA_ARRAY(arena, uint32_t, (uint64_t)count + 1),
      .ids = WEFT_ARENA_ARRAY(arena, uint32_t, count),
      .by_id = WEFT_ARENA_ARRAY(arena, uint32_t, count),
  };
  if (vocab->texts == NULL || vocab->starts == NULL || vocab->ids == NULL || vocab->by_id == NULL)
    return weft_arena_fail(arena, "a vocabulary", error);
  return WEFT_OK;
}

void weft_vocab_add(weft_vocab *vocab, uint32_t length, uint32_t id) {
  uint32_t end = vocab->starts[vocab->count] + length;
  vocab->texts[end] = 0;
  vocab->ids[vocab->count++] = id;
  vocab->starts[vocab->count] = end + 1;
}

static weft_str text_at(const weft_vocab *vocab, uint32_t token) {
  uint32_t start = vocab->starts[token];
  return (weft_str){vocab->texts + start, vocab->starts[token + 1] - start - 1};
}

static bool id_less(const void *user, uint32_t a, uint32_t b) {
  const uint32_t *ids = user;
  return ids[a] < ids[b];
}

static weft_status build(weft_vocab *vocab, weft_arena *arena, weft_arena *scratch,
                         weft_error *error) {
  weft_str *keys = WEFT_ARENA_ARRAY(scratch, weft_str, vocab->count);
  uint32_t *spare = WEFT_ARENA_ARRAY(scratch, uint32_t, vocab->count);
  if (keys == NULL || spare == NULL) return weft_arena_fail(scratch, "a vocabulary", error);
  for (uint32_t i = 0; i < vocab->count; i++) keys[i] = text_at(vocab, i);
  WEFT_TRY(weft_trie_build(&vocab->trie, arena, keys, vocab->ids, vocab->count, error));
  weft_sort_indices(vocab->by_id, spare, vocab->count, id_less, vocab->ids);
  for (uint32_t i = 0; i < vocab->count; i++) {
    if (vocab->ids[i] == WEFT_TRIE_NONE) continue;
    vocab->distinct++;
    if (vocab->ids[i] >= vocab->id_end) vocab->id_end = vocab->ids[i] + 1;
  }
  return WEFT_OK;
}

weft_status weft_vocab_finish(weft_vocab *vocab, weft_arena *arena, weft_error *error) {
  weft_arena scratch;
  weft_arena_init(&scratch, arena->heap);
  weft_status status = build(vocab, arena, &scratch, error);
  weft_arena_release(&scratch);
  return status;
}

uint32_t weft_vocab_find(const weft_vocab *vocab, weft_str text) {
  uint32_t node = weft_trie_walk(&vocab->trie, text);
  return node == WEFT_TRIE_NONE ? WEFT_TRIE_NONE : vocab->trie.value[node];
}

weft_str weft_vocab_text(const weft_vocab *vocab, uint32_t id) {
  uint32_t low = 0, count = vocab->count;
  while (count > 1) {
    uint32_t half = count / 2;
    if (vocab->ids[vocab->by_id[low + half]] <= id) low += half;
    count -= half;
  }
  if (count == 0 || id == WEFT_TRIE_NONE || vocab->ids[vocab->by_id[low]] != id)
    return (weft_str){0};
  return text_at(vocab, vocab->by_id[low]);
}
