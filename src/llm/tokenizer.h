/* tokenizer.h - the tokenizer's inside. The way of a text:
 *
 *   bytes -> added.c -> normalize.c -> [added.c] -> wordpiece.c -> truncation, template -> ids
 *
 * tokenizer_json.c and vocab_txt.c fill it, tokenizer.c opens it, encode.c and decode.c use it. */
#ifndef WEFT_LLM_TOKENIZER_H
#define WEFT_LLM_TOKENIZER_H

#include "llm/added.h"
#include "llm/wordpiece.h"
#include "weft/weft_llm.h"

typedef enum weft_template_kind {
  WEFT_TEMPLATE_SPECIAL = 0,
  WEFT_TEMPLATE_FIRST = 1, /* the text */
  WEFT_TEMPLATE_PAIR = 2,  /* the second text */
} weft_template_kind;

typedef struct weft_template_piece {
  weft_template_kind kind;
  uint32_t id; /* of a special token */
  uint32_t type_id;
} weft_template_piece;

/* What a row is put together from. Each text stands in it at most once. */
typedef struct weft_template {
  weft_template_piece pieces[WEFT_MAX_TEMPLATE_PIECES];
  uint32_t count, specials;
} weft_template;

/* False when it is full. */
bool weft_template_add(weft_template *to, weft_template_kind kind, uint32_t id, uint32_t type_id);
/* [CLS] text [SEP], and [CLS] text [SEP] pair [SEP]. */
void weft_tokenizer_use_bert_template(struct weft_tokenizer *tokenizer, uint32_t cls, uint32_t sep);

typedef enum weft_truncation_strategy {
  WEFT_TRUNCATE_LONGEST_FIRST = 0,
  WEFT_TRUNCATE_ONLY_FIRST = 1,
  WEFT_TRUNCATE_ONLY_SECOND = 2,
} weft_truncation_strategy;

typedef struct weft_truncation {
  size_t max_length; /* WEFT_NO_TRUNCATION */
  weft_truncation_strategy strategy;
  bool left; /* cuts at the start */
} weft_truncation;

typedef struct weft_padding_rule {
  size_t length, multiple; /* 0: none */
  uint32_t id, type_id;
  bool left;
} weft_padding_rule;

typedef struct weft_decoder {
  bool present;    /* without one, tokens are joined by blanks */
  bool cleanup;    /* no blank before punctuation and such */
  weft_str prefix; /* of a token that joins the one before it */
} weft_decoder;

struct weft_tokenizer {
  weft_heap heap;
  weft_arena arena;
  weft_vocab vocab;
  weft_added added;
  weft_normalizer normalizer;
  weft_wordpiece wordpiece;
  weft_str unknown, prefix; /* texts of wordpiece.unknown_id and .continuation */
  weft_template single, pair;
  weft_truncation truncation;
  weft_padding_rule padding;
  bool has_padding; /* the rule is the file's */
  weft_decoder decoder;
};

/* Fill all but the look-ups from a file. */
weft_status weft_tokenizer_read_json(weft_tokenizer *tokenizer, const void *bytes, size_t length,
                                     weft_error *error);
weft_status weft_tokenizer_read_vocab_txt(weft_tokenizer *tokenizer, const void *bytes,
                                          size_t length, const weft_tokenizer_options *options,
                                          weft_error *error);

#endif
