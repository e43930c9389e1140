/* json.c - the JSON reader: scanning of values, checking of strings and numbers, nesting. */
#include "base/json.h"

#include "base/memory.h"
#include "base/utf8.h"

enum { SHOWN_KEY_BYTES = 60, HEX_DIGITS = 4 };

weft_json weft_json_open(const char *what, const void *bytes, size_t length) {
  return (weft_json){.what = what, .bytes = bytes, .length = length};
}

weft_status weft_json_fail(const weft_json *json, weft_status status, const char *message,
                           weft_error *error) {
  unsigned long long at = json->at;
  if (json->key.length == 0)
    return weft_fail(error, status, "%s: byte %llu: %s", json->what, at, message);
  bool cut = json->key.length > SHOWN_KEY_BYTES;
  return weft_fail(error, status, "%s: byte %llu, key \"%.*s%s\": %s", json->what, at,
                   cut ? (int)SHOWN_KEY_BYTES : (int)json->key.length, (const char *)json->key.data,
                   cut ? "..." : "", message);
}

static weft_status malformed(const weft_json *json, const char *message, weft_error *error) {
  return weft_json_fail(json, WEFT_INVALID_MODEL, message, error);
}

/* The next byte, 0 at the end (which is no valid byte in any place where this is asked). */
static uint8_t current(const weft_json *json) {
  return json->at < json->length ? json->bytes[json->at] : 0;
}

static uint8_t skip_space(weft_json *json) {
  while (current(json) == ' ' || current(json) == '\n' || current(json) == '\r' ||
         current(json) == '\t')
    json->at++;
  return current(json);
}

static bool take(weft_json *json, uint8_t byte) {
  if (skip_space(json) != byte || json->at == json->length) return false;
  json->at++;
  return true;
}

weft_status weft_json_end(weft_json *json, weft_error *error) {
  skip_space(json);
  return json->at == json->length ? WEFT_OK : malformed(json, "more after the JSON value", error);
}

weft_status weft_json_peek(weft_json *json, weft_json_kind *out, weft_error *error) {
  static const struct {
    char byte;
    uint8_t kind;
  } starts[] = {{'{', WEFT_JSON_OBJECT}, {'[', WEFT_JSON_ARRAY}, {'"', WEFT_JSON_STRING},
                {'-', WEFT_JSON_NUMBER}, {'t', WEFT_JSON_TRUE},  {'f', WEFT_JSON_FALSE},
                {'n', WEFT_JSON_NULL}};
  uint8_t byte = skip_space(json);
  *out = WEFT_JSON_NUMBER;
  if (byte >= '0' && byte <= '9') return WEFT_OK;
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    *out = (weft_json_kind)starts[i].kind;
    if (byte == (uint8_t)starts[i].byte) return WEFT_OK;
  }
  return malformed(json, json->at == json->length ? "the file ends early" : "a value is expected",
                   error);
}

/* ---- nesting ---- */

static weft_status begin(weft_json *json, bool array, weft_error *error) {
  if (!take(json, array ? '[' : '{'))
    return malformed(json, array ? "an array is expected" : "an object is expected", error);
  if (json->depth == WEFT_MAX_JSON_DEPTH)
    return weft_json_fail(json, WEFT_LIMIT_EXCEEDED, "values are nested more than 64 deep", error);
  uint64_t bit = 1ull << json->depth++;
  json->arrays = array ? json->arrays | bit : json->arrays & ~bit;
  json->first = true;
  return WEFT_OK;
}

weft_status weft_json_begin_object(weft_json *json, weft_error *error) {
  return begin(json, false, error);
}

weft_status weft_json_begin_array(weft_json *json, weft_error *error) {
  return begin(json, true, error);
}

/* Ends the innermost value or passes the comma to its next part. */
static weft_status advance(weft_json *json, uint8_t close, bool *more, weft_error *error) {
  *more = !take(json, close);
  if (!*more) {
    json->depth--;
    json->first = false;
    return WEFT_OK;
  }
  if (!json->first && !take(json, ','))
    return malformed(json, close == ']' ? "',' or ']' is expected" : "',' or '}' is expected",
                     error);
  json->first = false;
  return WEFT_OK;
}

weft_status weft_json_next_element(weft_json *json, bool *more, weft_error *error) {
  return advance(json, ']', more, error);
}

weft_status weft_json_next_member(weft_json *json, bool *more, weft_json_string *key,
                                  weft_error *error) {
  WEFT_TRY(advance(json, '}', more, error));
  if (!*more) return WEFT_OK;
  WEFT_TRY(weft_json_read_string(json, key, error));
  json->key = *key;
  return take(json, ':') ? WEFT_OK : malformed(json, "':' is expected", error);
}

/* ---- strings ---- */

/* The four hexadecimal digits at `at`, or -1. */
static int32_t read_hex(const uint8_t *at, const uint8_t *end) {
  int32_t value = 0;
  if (end - at < HEX_DIGITS) return -1;
  for (int i = 0; i < HEX_DIGITS; i++) {
    uint8_t byte = at[i], lower = byte | 0x20;
    bool letter = lower >= 'a' && lower <= 'f';
    if (!letter && (byte < '0' || byte > '9')) return -1;
    value = value << 4 | (letter ? lower - 'a' + 10 : byte - '0');
  }
  return value;
}

/* Reads the escape behind the backslash at *at: 0 when it is malformed, else a character; moves on
 * behind it. U+0000 is told from malformed by *at having moved. */
static uint32_t read_escape(const uint8_t **at, const uint8_t *end) {
  static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  const uint8_t *p = *at + 1;
  for (size_t i = 0; p < end && letters[i] != 0; i++) {
    if (*p != (uint8_t)letters[i]) continue;
    *at = p + 1;
    return (uint8_t)meanings[i];
  }
  int32_t unit = p < end && *p == 'u' ? read_hex(p + 1, end) : -1;
  if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF)) return 0;
  p += 1 + HEX_DIGITS;
  if (unit < 0xD800 || unit > 0xDFFF) {
    *at = p;
    return (uint32_t)unit;
  }
  int32_t low = end - p > 2 && p[0] == '\\' && p[1] == 'u' ? read_hex(p + 2, end) : -1;
  if (low < 0xDC00 || low > 0xDFFF) return 0;
  *at = p + 2 + HEX_DIGITS;
  return 0x10000u + ((uint32_t)(unit - 0xD800) << 10 | (uint32_t)(low - 0xDC00));
}

/* Passes one character of a string other than its closing quote. */
static weft_status pass_char(weft_json *json, bool *escaped, weft_error *error) {
  const uint8_t *start = json->bytes + json->at, *at = start, *end = json->bytes + json->length;
  if (*start < 0x20) return malformed(json, "a control character in a string", error);
  if (*start == '\\') {
    *escaped = true;
    read_escape(&at, end);
    if (at == start)
      return malformed(json, "an invalid escape or a lone surrogate in a string", error);
  } else {
    weft_utf8_char found = weft_utf8_decode(start, end);
    if (!found.valid) return malformed(json, "invalid UTF-8 in a string", error);
    at += found.length;
  }
  json->at += (size_t)(at - start);
  return WEFT_OK;
}

weft_status weft_json_read_string(weft_json *json, weft_json_string *out, weft_error *error) {
  if (!take(json, '"')) return malformed(json, "a string is expected", error);
  size_t start = json->at;
  bool escaped = false;
  while (json->at < json->length && json->bytes[json->at] != '"')
    WEFT_TRY(pass_char(json, &escaped, error));
  if (json->at == json->length) return malformed(json, "the file ends in a string", error);
  *out = (weft_json_string){json->bytes + start, json->at++ - start, escaped};
  return WEFT_OK;
}

size_t weft_json_unescape(weft_json_string string, char *to) {
  const uint8_t *at = string.data, *end = at + string.length;
  char *start = to;
  while (at < end) {
    if (*at != '\\')
      *to++ = (char)*at++;
    else
      to += weft_utf8_encode(read_escape(&at, end), (uint8_t *)to);
  }
  return (size_t)(to - start);
}

bool weft_json_is(weft_json_string string, const char *text) {
  const uint8_t *at = string.data, *end = at + string.length;
  while (at < end) {
    uint8_t code[4] = {*at};
    size_t length = 1;
    if (*at != '\\')
      at++;
    else
      length = weft_utf8_encode(read_escape(&at, end), code);
    for (size_t i = 0; i < length; i++, text++)
      if (*text == 0 || (uint8_t)*text != code[i]) return false;
  }
  return *text == 0;
}

/* ---- numbers, words and skipping ---- */

static bool pass_digits(weft_json *json) {
  size_t start = json->at;
  while (current(json) >= '0' && current(json) <= '9') json->at++;
  return json->at > start;
}

static bool pass_number(weft_json *json) {
  if (current(json) == '-') json->at++;
  if (current(json) == '0')
    json->at++;
  else if (!pass_digits(json))
    return false;
  if (current(json) == '.') {
    json->at++;
    if (!pass_digits(json)) return false;
  }
  if (current(json) != 'e' && current(json) != 'E') return true;
  json->at++;
  if (current(json) == '+' || current(json) == '-') json->at++;
  return pass_digits(json);
}

weft_status weft_json_read_unsigned(weft_json *json, uint64_t limit, uint64_t *out,
                                    weft_error *error) {
  skip_space(json);
  size_t start = json->at;
  if (!pass_digits(json)) return malformed(json, "an integer of 0 or more is expected", error);
  uint64_t value = 0;
  for (size_t i = start; i < json->at; i++) {
    uint64_t digit = json->bytes[i] - (uint64_t)'0';
    if (digit > limit || value > (limit - digit) / 10)
      return weft_json_fail(json, WEFT_LIMIT_EXCEEDED, "the number is too large", error);
    value = value * 10 + digit;
  }
  bool leading_zero = json->bytes[start] == '0' && json->at - start > 1;
  if (leading_zero || current(json) == '.' || (current(json) | 0x20) == 'e')
    return malformed(json, "an integer of 0 or more is expected", error);
  *out = value;
  return WEFT_OK;
}

static bool take_word(weft_json *json, const char *word) {
  size_t length = strlen(word);
  if (json->length - json->at < length || memcmp(json->bytes + json->at, word, length) != 0)
    return false;
  json->at += length;
  return true;
}

weft_status weft_json_read_bool(weft_json *json, bool *out, weft_error *error) {
  skip_space(json);
  *out = take_word(json, "true");
  if (*out || take_word(json, "false")) return WEFT_OK;
  return malformed(json, "true or false is expected", error);
}

/* Passes a value without parts, or the opening bracket of one with parts. */
static weft_status pass_start(weft_json *json, weft_error *error) {
  weft_json_kind kind;
  weft_json_string string;
  bool ok = false;
  WEFT_TRY(weft_json_peek(json, &kind, error));
  switch (kind) {
  case WEFT_JSON_OBJECT:
    return weft_json_begin_object(json, error);
  case WEFT_JSON_ARRAY:
    return weft_json_begin_array(json, error);
  case WEFT_JSON_STRING:
    return weft_json_read_string(json, &string, error);
  case WEFT_JSON_NUMBER:
    ok = pass_number(json);
    break;
  case WEFT_JSON_TRUE:
  case WEFT_JSON_FALSE:
    return weft_json_read_bool(json, &ok, error);
  case WEFT_JSON_NULL:
    ok = take_word(json, "null");
  }
  return ok ? WEFT_OK : malformed(json, "a value is expected", error);
}

weft_status weft_json_skip(weft_json *json, weft_error *error) {
  uint32_t depth = json->depth;
  do {
    bool more = true;
    weft_json_string key;
    if (json->depth > depth) {
      bool array = json->arrays >> (json->depth - 1) & 1;
      WEFT_TRY(array ? weft_json_next_element(json, &more, error)
                     : weft_json_next_member(json, &more, &key, error));
    }
    if (more) WEFT_TRY(pass_start(json, error));
  } while (json->depth > depth);
  return WEFT_OK;
}
