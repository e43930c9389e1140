/* added.h - added tokens: texts such as [MASK] that are one token wherever they stand in the text.
 * Those that are not `normalized` are looked for in the text as it is, the others in the normalized
 * text between them. */
#ifndef WEFT_LLM_ADDED_H
#define WEFT_LLM_ADDED_H

#include "llm/normalize.h"
#include "llm/vocab.h"

typedef struct weft_added_token {
  weft_str content, pattern; /* the pattern is the content, normalized where that is asked for */
  uint32_t id;
  bool single_word;    /* only between characters that are not \w */
  bool lstrip, rstrip; /* takes the white space before, behind it along */
  bool normalized, special;
} weft_added_token;

/* The patterns that are looked for in one pass. */
typedef struct weft_added_set {
  weft_trie trie; /* values are indices of weft_added.tokens */
  bool empty;
  bool first[256]; /* a pattern begins with this byte */
} weft_added_set;

typedef struct weft_added {
  weft_added_token *tokens;
  uint32_t *by_id; /* their indices, sorted by id */
  uint32_t count;
  weft_added_set raw, normalized;
} weft_added;

/* Gives ids (that of the vocabulary, else the next free one, as `tokenizers` does), drops empty and
 * repeated tokens, and builds the sets. Texts live in `arena`. */
weft_status weft_added_finish(weft_added *added, weft_arena *arena, weft_vocab *vocab,
                              const weft_normalizer *normalizer, weft_error *error);

/* The token with this content or id, or NULL. */
const weft_added_token *weft_added_find(const weft_added *added, weft_str content);
const weft_added_token *weft_added_by_id(const weft_added *added, uint32_t id);

/* A part of a text: an added token, or what lies between two (token NULL). */
typedef struct weft_piece {
  size_t start, end;
  const weft_added_token *token;
} weft_piece;

typedef struct weft_added_scan {
  const weft_added *added;
  const weft_added_set *set;
  const uint8_t *text;
  size_t length;
  size_t at;        /* where to look on */
  size_t done;      /* end of the last part */
  size_t space_end; /* end of the run of white space that was last looked at */
  weft_piece waiting;
} weft_added_scan;

weft_added_scan weft_added_open(const weft_added *added, const weft_added_set *set,
                                const uint8_t *text, size_t length);
/* The next part from left to right; false at the end. */
bool weft_added_next(weft_added_scan *scan, weft_piece *out);

#endif
