/* unicode.c - look-ups in unicode_tables.inc. */
#include "llm/unicode.h"

#include <stddef.h>

#include "llm/unicode_tables.inc"

enum {
  HANGUL_FIRST = 0xAC00, /* Unicode 3.12: 19 leading x 21 vowel x 28 trailing jamo */
  HANGUL_COUNT = 11172,
  HANGUL_LEADING = 0x1100,
  HANGUL_VOWEL = 0x1161,
  HANGUL_TRAILING = 0x11A7,
  HANGUL_VOWELS = 21,
  HANGUL_TRAILINGS = 28,
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

uint8_t weft_unicode_class(uint32_t code) {
  if (code > 0x10FFFF) return 0;
  uint32_t middle = class_root[code / (LEAF * MIDDLE)] * (uint32_t)MIDDLE + code / LEAF % MIDDLE;
  return class_leaf[class_middle[middle] * (uint32_t)LEAF + code % LEAF];
}

/* The last row of `columns` numbers whose first is <= `key`; the first row when there is none. */
static const uint32_t *find_row(const uint32_t *table, size_t columns, size_t count, uint32_t key) {
  while (count > 1) {
    size_t half = count / 2;
    if (table[half * columns] <= key) table += half * columns;
    count -= half;
  }
  return table;
}

#define FIND_ROW(table, key) find_row((table)[0], COUNT((table)[0]), COUNT(table), (key))

static uint32_t decompose_hangul(uint32_t code, uint32_t out[3]) {
  uint32_t index = code - HANGUL_FIRST, trailing = index % HANGUL_TRAILINGS;
  out[0] = HANGUL_LEADING + index / (HANGUL_VOWELS * HANGUL_TRAILINGS);
  out[1] = HANGUL_VOWEL + index / HANGUL_TRAILINGS % HANGUL_VOWELS;
  out[2] = HANGUL_TRAILING + trailing;
  return trailing == 0 ? 2 : 3;
}

uint32_t weft_unicode_strip(uint32_t code, uint32_t out[3]) {
  if (code - HANGUL_FIRST < HANGUL_COUNT) return decompose_hangul(code, out);
  if (code <= 0xFFFF) {
    uint32_t pair = *find_row(base_small, 1, COUNT(base_small), code << 16 | 0xFFFF);
    out[0] = pair & 0xFFFF;
    if (pair >> 16 == code) return 1;
  }
  const uint32_t *large = FIND_ROW(base_large, code);
  out[0] = large[1];
  if (large[0] == code) return 1;
  const uint32_t *several = FIND_ROW(base_several, code);
  if (several[0] == code) {
    for (uint32_t i = 0; i < 3; i++) out[i] = several[1 + i];
    return several[3] == 0 ? 2 : 3;
  }
  out[0] = code;
  return 1;
}

uint32_t weft_unicode_lower(uint32_t code, uint32_t out[2]) {
  const uint32_t *two = FIND_ROW(lower_double, code);
  if (two[0] == code) {
    out[0] = two[1];
    out[1] = two[2];
    return 2;
  }
  const uint32_t *range = FIND_ROW(lower_ranges, code);
  bool inside = code >= range[0] && code <= range[1] && (code - range[0]) % range[2] == 0;
  out[0] = inside ? code + range[3] : code;
  return 1;
}

uint32_t weft_unicode_combining(uint32_t code) {
  const uint32_t *range = FIND_ROW(combining_ranges, code);
  return code >= range[0] && code <= range[1] ? range[2] : 0;
}
