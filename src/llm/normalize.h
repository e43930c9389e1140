/* normalize.h - BERT's text normalization as a stream: bytes in, characters out, each with the
 * bytes it came from. added.c cuts the text before, words.c cuts the characters into words behind.
 */
#ifndef WEFT_LLM_NORMALIZE_H
#define WEFT_LLM_NORMALIZE_H

#include "base/heap.h"

typedef struct weft_normalizer {
  bool clean_text;    /* drop control characters, make all white space a blank */
  bool split_chinese; /* blanks around each ideograph */
  bool strip_accents; /* canonical decomposition without nonspacing marks */
  bool lowercase;
  struct weft_ascii {
    uint8_t code, properties; /* what it becomes; 0 with clean_text: removed */
  } ascii[128];
} weft_normalizer;

/* Fills the table from the switches. */
void weft_normalizer_init(weft_normalizer *normalizer);

/* A normalized character with its class (unicode.h), and where it came from. */
typedef struct weft_char {
  uint32_t code;
  uint32_t start, end; /* bytes of the text */
  uint8_t properties;
} weft_char;

/* Takes the characters; answers false to stop. */
typedef struct weft_char_sink {
  bool (*put)(void *user, weft_char c);
  void *user;
} weft_char_sink;

/* Normalizes bytes [begin, end) of `text`, by itself. False when the sink stopped it, or when there
 * is no memory to reorder a run of combining characters: then *status says so. */
bool weft_normalize(const weft_normalizer *normalizer, weft_heap *heap, const uint8_t *text,
                    size_t begin, size_t end, weft_char_sink sink, weft_status *status);

#endif
