/* unicode.h - the character properties that BERT tokenization needs, for any code point; exactly
 * those of the `tokenizers` package (tools/unicode_tables.py). Used by normalize.c and added.c. */
#ifndef WEFT_LLM_UNICODE_H
#define WEFT_LLM_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

/* The bits of a character's class. */
enum {
  WEFT_CHAR_SPACE = 1 << 0,
  WEFT_CHAR_REMOVED = 1 << 1, /* by cleaning: control, format, private use, U+0000, U+FFFD */
  WEFT_CHAR_PUNCTUATION = 1 << 2,
  WEFT_CHAR_MARK = 1 << 3,       /* stripped with the accents: nothing is left of its NFD */
  WEFT_CHAR_NONSTARTER = 1 << 4, /* canonical ordering may move it */
  WEFT_CHAR_MAPPED = 1 << 5,     /* stripping accents or lower case changes it */
  WEFT_CHAR_WORD = 1 << 6,       /* \w of regular expressions */
  WEFT_CHAR_CHINESE = 1 << 7,    /* an ideograph that stands alone */
};

uint8_t weft_unicode_class(uint32_t code);
/* The canonical decomposition without nonspacing marks, of a character that is not a mark itself:
 * writes its 1 to 3 characters and returns how many. */
uint32_t weft_unicode_strip(uint32_t code, uint32_t out[3]);
/* The lower case: 1 or 2 characters. */
uint32_t weft_unicode_lower(uint32_t code, uint32_t out[2]);
/* The canonical combining class of a nonstarter that is not a mark. */
uint32_t weft_unicode_combining(uint32_t code);

#endif
