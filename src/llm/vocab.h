/* vocab.h - the tokens of a model: text to id by a trie, id to text. Filled by tokenizer_json.c or
 * vocab_txt.c, used by wordpiece.c and decode.c. */
#ifndef WEFT_LLM_VOCAB_H
#define WEFT_LLM_VOCAB_H

#include "base/limits.h"
#include "llm/trie.h"

typedef struct weft_vocab {
  char *texts;      /* one after the other, each with a final NUL */
  uint32_t *starts; /* [count + 1]: token i is texts[starts[i] .. starts[i + 1] - 1) */
  uint32_t *ids;    /* [count]; WEFT_TRIE_NONE: a later token has the same text */
  uint32_t *by_id;  /* [count]: tokens sorted by id */
  uint32_t count;
  uint32_t distinct; /* without those that a later one replaces */
  uint32_t id_end;   /* all ids are below */
  weft_trie trie;
} weft_vocab;

/* Room for `count` tokens of `bytes` bytes in total. */
weft_status weft_vocab_reserve(weft_vocab *vocab, weft_arena *arena, uint32_t count, uint64_t bytes,
                               weft_error *error);
/* Where the text of the next token goes; then says how long it is. */
static inline char *weft_vocab_next(weft_vocab *vocab) {
  return vocab->texts + vocab->starts[vocab->count];
}
void weft_vocab_add(weft_vocab *vocab, uint32_t length, uint32_t id);
/* Builds the look-ups when all tokens are in. */
weft_status weft_vocab_finish(weft_vocab *vocab, weft_arena *arena, weft_error *error);

/* The id of a text, or WEFT_TRIE_NONE. */
uint32_t weft_vocab_find(const weft_vocab *vocab, weft_str text);
/* The text of an id; .data is NULL when there is none. */
weft_str weft_vocab_text(const weft_vocab *vocab, uint32_t id);

#endif
