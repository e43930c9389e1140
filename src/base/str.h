/* str.h - text with a length. Strings that the core keeps also end with NUL, so that .data serves
 * as a C string. */
#ifndef WEFT_BASE_STR_H
#define WEFT_BASE_STR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

typedef struct weft_str {
  const char *data;
  uint32_t length;
} weft_str;

#define WEFT_STR(literal) ((weft_str){"" literal, sizeof(literal) - 1})
/* For "%.*s". */
#define WEFT_STR_ARGS(text) (int)(text).length, (text).data ? (text).data : ""

static inline weft_str weft_str_of(const char *text) {
  return (weft_str){text, text ? (uint32_t)strlen(text) : 0};
}
static inline bool weft_str_equal(weft_str a, weft_str b) {
  return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}
static inline bool weft_str_is(weft_str a, const char *b) {
  return weft_str_equal(a, weft_str_of(b));
}

#endif
