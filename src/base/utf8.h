/* utf8.h - decoding and encoding of UTF-8. What is not valid becomes U+FFFD, one for each maximal
 * part that begins a valid sequence (Unicode 3.9, "substitution of maximal subparts"), as Rust,
 * Python and browsers do. */
#ifndef WEFT_BASE_UTF8_H
#define WEFT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEFT_UTF8_REPLACEMENT 0xFFFDu

typedef struct weft_utf8_char {
  uint32_t code;
  uint8_t length; /* bytes taken, at least 1 */
  bool valid;     /* false: `code` is the replacement */
} weft_utf8_char;

/* Decodes the character at `at`, which lies before `end`. */
static inline weft_utf8_char weft_utf8_decode(const uint8_t *at, const uint8_t *end) {
  uint32_t lead = at[0];
  if (lead < 0x80) return (weft_utf8_char){lead, 1, true};
  uint8_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  /* The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF. */
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (lead < 0xC2 || lead > 0xF4) return (weft_utf8_char){WEFT_UTF8_REPLACEMENT, 1, false};
  uint32_t code = lead & (0x7Fu >> length);
  for (uint8_t i = 1; i < length; i++) {
    if (at + i == end || at[i] < low || at[i] > high)
      return (weft_utf8_char){WEFT_UTF8_REPLACEMENT, i, false};
    code = code << 6 | (at[i] & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return (weft_utf8_char){code, length, true};
}

/* The character that ends at `end`, which lies behind `begin`. */
static inline weft_utf8_char weft_utf8_decode_last(const uint8_t *begin, const uint8_t *end) {
  for (uint8_t back = 1; back <= 4 && back <= end - begin; back++) {
    weft_utf8_char found = weft_utf8_decode(end - back, end);
    if (found.valid && found.length == back) return found;
    if ((end[-back] & 0xC0) != 0x80) break;
  }
  return (weft_utf8_char){WEFT_UTF8_REPLACEMENT, 1, false};
}

/* Writes `code` to `to` and returns how many of its 4 bytes were used. */
static inline uint32_t weft_utf8_encode(uint32_t code, uint8_t *to) {
  if (code < 0x80) {
    to[0] = (uint8_t)code;
    return 1;
  }
  uint32_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (uint32_t i = length - 1; i > 0; i--, code >>= 6) to[i] = (uint8_t)(0x80 | (code & 0x3F));
  to[0] = (uint8_t)(0xF00u >> length | code);
  return length;
}

#endif
