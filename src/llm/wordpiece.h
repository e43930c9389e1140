/* wordpiece.h - words to tokens: cuts normalized characters into words (BertPreTokenizer) and each
 * word into the longest pieces that the vocabulary has (WordPiece). */
#ifndef WEFT_LLM_WORDPIECE_H
#define WEFT_LLM_WORDPIECE_H

#include "llm/normalize.h"
#include "llm/vocab.h"

typedef struct weft_wordpiece {
  const weft_trie *trie;
  uint32_t continuation; /* node of the prefix "##" of pieces inside a word, or WEFT_TRIE_NONE */
  uint32_t unknown_id;   /* of [UNK], or WEFT_TRIE_NONE */
  uint32_t max_chars;    /* a longer word is unknown */
} weft_wordpiece;

typedef struct weft_token {
  uint32_t id;
  uint32_t start, end; /* bytes of the text */
} weft_token;

/* A list that grows on the heap up to the end of the word that reaches `limit` tokens. */
typedef struct weft_token_list {
  weft_heap *heap;
  weft_token *items;
  size_t count, capacity, limit;
} weft_token_list;

void weft_token_list_release(weft_token_list *list);
/* False when there is no memory. */
bool weft_token_list_add(weft_token_list *list, weft_token token);

/* Where words are put together. Memory comes with `open`; `list` gets the tokens. */
typedef struct weft_word_builder {
  const weft_wordpiece *model;
  weft_token_list *list;
  uint8_t *text;           /* [4 * max_chars] the word in UTF-8 */
  uint32_t *starts, *ends; /* for each byte of it, where its character came from */
  uint32_t bytes, chars;   /* chars > max_chars: the rest is not kept */
  uint32_t start, end;
  weft_status status;
} weft_word_builder;

weft_status weft_word_builder_open(weft_word_builder *builder, const weft_wordpiece *model,
                                   weft_token_list *list, weft_error *error);
void weft_word_builder_close(weft_word_builder *builder);
/* A character sink: false at the list's limit and on failure, see `status`. */
bool weft_word_builder_put(void *builder, weft_char c);
/* Ends the word: at the end of a piece of text. */
bool weft_word_builder_flush(weft_word_builder *builder);

#endif
