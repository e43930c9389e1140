/* text.h - formatted text without libc: messages and dumps. */
#ifndef WEFT_BASE_TEXT_H
#define WEFT_BASE_TEXT_H

#include <stdarg.h>
#include <stddef.h>

#include "weft/weft.h"

/* A growing or fixed place to write text. With `write` set, text is passed on in pieces; else it
 * goes to buffer[0..size), cut at the end, always with a final NUL. */
typedef struct weft_text {
  char *buffer;
  size_t size, length;
  weft_write_fn write;
  void *user;
} weft_text;

/* Verbs: %s %.*s %c %d %i %u %x with l, ll, z; %g and %.Ng (N <= 9; up to 6 significant digits by
 * default); %%. No widths. */
__attribute__((format(printf, 2, 3))) void weft_text_add(weft_text *text, const char *format, ...);
void weft_text_add_list(weft_text *text, const char *format, va_list list);

#endif
