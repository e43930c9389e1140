/* json.h - a pull reader for JSON (RFC 8259) from untrusted bytes: no recursion, no allocation.
 * The caller asks for the value that it expects next, so the reader keeps only the nesting.
 *
 *   begin_object, then while next_member says so: read or skip the value of that key
 *   begin_array, then while next_element says so: read or skip the value
 *
 * Every failure is WEFT_INVALID_MODEL with the byte offset and the key, or WEFT_LIMIT_EXCEEDED. */
#ifndef WEFT_BASE_JSON_H
#define WEFT_BASE_JSON_H

#include "base/limits.h"
#include "base/status.h"

typedef enum weft_json_kind {
  WEFT_JSON_OBJECT,
  WEFT_JSON_ARRAY,
  WEFT_JSON_STRING,
  WEFT_JSON_NUMBER,
  WEFT_JSON_TRUE,
  WEFT_JSON_FALSE,
  WEFT_JSON_NULL,
} weft_json_kind;

/* A string as it stands between its quotes: checked, escapes not yet replaced. */
typedef struct weft_json_string {
  const uint8_t *data;
  size_t length; /* the unescaped text is never longer */
  bool escaped;
} weft_json_string;

typedef struct weft_json {
  const char *what; /* the file's name in messages */
  const uint8_t *bytes;
  size_t length, at;
  weft_json_string key; /* of the member read last */
  uint64_t arrays;      /* bit d: the value open at depth d is an array, not an object */
  uint32_t depth;
  bool first; /* nothing was read yet in the innermost value */
} weft_json;

weft_json weft_json_open(const char *what, const void *bytes, size_t length);
/* Checks that only white space is left. */
weft_status weft_json_end(weft_json *json, weft_error *error);

/* The kind of the value that comes next, by its first byte. */
weft_status weft_json_peek(weft_json *json, weft_json_kind *out, weft_error *error);

weft_status weft_json_begin_object(weft_json *json, weft_error *error);
weft_status weft_json_begin_array(weft_json *json, weft_error *error);
/* `more` false: the object has ended. */
weft_status weft_json_next_member(weft_json *json, bool *more, weft_json_string *key,
                                  weft_error *error);
weft_status weft_json_next_element(weft_json *json, bool *more, weft_error *error);

weft_status weft_json_read_string(weft_json *json, weft_json_string *out, weft_error *error);
weft_status weft_json_read_bool(weft_json *json, bool *out, weft_error *error);
/* An integer in [0, limit]. */
weft_status weft_json_read_unsigned(weft_json *json, uint64_t limit, uint64_t *out,
                                    weft_error *error);
/* Any value, with all that is in it. */
weft_status weft_json_skip(weft_json *json, weft_error *error);

/* Writes the text of `string` to `to` (string.length bytes suffice); returns its length. */
size_t weft_json_unescape(weft_json_string string, char *to);
bool weft_json_is(weft_json_string string, const char *text);

/* A failure at the place where the reader stands. */
weft_status weft_json_fail(const weft_json *json, weft_status status, const char *message,
                           weft_error *error);

#endif
