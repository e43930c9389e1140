/* Tests of the JSON reader and of UTF-8: what is read, what is refused and where. */
#include "tests/check.h"

#include "base/json.h"
#include "base/utf8.h"

static weft_error failure;

/* Reads the whole text as one value; answers the message of the failure, or "ok". */
static const char *skim(const char *text, size_t length) {
  weft_json json = weft_json_open("file", text, length);
  weft_status status = weft_json_skip(&json, &failure);
  if (status == WEFT_OK) status = weft_json_end(&json, &failure);
  return status == WEFT_OK ? "ok" : failure.message;
}

static void test_valid(void) {
  static const char *const texts[] = {"null",
                                      " true ",
                                      "false",
                                      "0",
                                      "-0",
                                      "12.5e-3",
                                      "-1E+9",
                                      "\"\"",
                                      "[]",
                                      "{}",
                                      "[[],{}]",
                                      "\t[1 , 2,\n{\"a\":[null],\r\"b\":{}}]",
                                      "\"\\u0000\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
                                      "\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\x7f\"",
                                      "{\"a\":1,\"a\":2}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    CHECK_TEXT(skim(texts[i], strlen(texts[i])), "ok");
}

static void test_refused(void) {
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"", "file: byte 0: the file ends early"},
      {"[1", "file: byte 2: ',' or ']' is expected"},
      {"[1,]", "file: byte 3: a value is expected"},
      {"[,1]", "file: byte 1: a value is expected"},
      {"[1 2]", "file: byte 3: ',' or ']' is expected"},
      {"{\"a\"}", "file: byte 4, key \"a\": ':' is expected"},
      {"{\"a\":1,}", "file: byte 7, key \"a\": a string is expected"},
      {"{1:2}", "file: byte 1: a string is expected"},
      {"[}", "file: byte 1: a value is expected"},
      {"01", "file: byte 1: more after the JSON value"},
      {"-", "file: byte 1: a value is expected"},
      {"1.", "file: byte 2: a value is expected"},
      {"1e+", "file: byte 3: a value is expected"},
      {"+1", "file: byte 0: a value is expected"},
      {"tru", "file: byte 0: true or false is expected"},
      {"nul", "file: byte 0: a value is expected"},
      {"\"a", "file: byte 2: the file ends in a string"},
      {"\"a\nb\"", "file: byte 2: a control character in a string"},
      {"\"\\x\"", "file: byte 1: an invalid escape or a lone surrogate in a string"},
      {"\"\\u12g4\"", "file: byte 1: an invalid escape or a lone surrogate in a string"},
      {"\"\\ud800\"", "file: byte 1: an invalid escape or a lone surrogate in a string"},
      {"\"\\ud800\\u0041\"", "file: byte 1: an invalid escape or a lone surrogate in a string"},
      {"\"\\udc00\"", "file: byte 1: an invalid escape or a lone surrogate in a string"},
      {"\"ab\xff\"", "file: byte 3: invalid UTF-8 in a string"},
      {"\"\xed\xa0\x80\"", "file: byte 1: invalid UTF-8 in a string"},
      {"\"\xc0\xaf\"", "file: byte 1: invalid UTF-8 in a string"},
      {"1 1", "file: byte 2: more after the JSON value"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    CHECK_TEXT(skim(cases[i].text, strlen(cases[i].text)), cases[i].message);
  CHECK_TEXT(skim("[1]\0", 4), "file: byte 3: more after the JSON value");
}

static void test_depth(void) {
  char text[2 * 65];
  memset(text, '[', 65);
  memset(text + 65, ']', 65);
  CHECK_TEXT(skim(text + 1, 128), "ok");
  CHECK_TEXT(skim(text, 130), "file: byte 65: values are nested more than 64 deep");
  CHECK_INT(failure.status, WEFT_LIMIT_EXCEEDED);
}

static void test_strings(void) {
  static const char text[] = "\"a\\u00e9\\ud83d\\ude00\\n\xe4\xb8\xad\"";
  weft_json json = weft_json_open("file", text, sizeof text - 1);
  weft_json_string string;
  char out[64];
  CHECK_OK(weft_json_read_string(&json, &string, &failure), &failure);
  size_t length = weft_json_unescape(string, out);
  CHECK(length <= string.length);
  out[length] = 0;
  CHECK_TEXT(out, "a\xc3\xa9\xf0\x9f\x98\x80\n\xe4\xb8\xad");
  CHECK(weft_json_is(string, out));
  CHECK(!weft_json_is(string, "a"));
  CHECK(!weft_json_is(string, "a\xc3\xa9\xf0\x9f\x98\x80\n\xe4\xb8\xad."));
}

static weft_status read_number(const char *text, uint64_t limit, uint64_t *out) {
  weft_json json = weft_json_open("file", text, strlen(text));
  return weft_json_read_unsigned(&json, limit, out, &failure);
}

static void test_integers(void) {
  uint64_t value = 0;
  CHECK_INT(read_number("18446744073709551615", UINT64_MAX, &value), WEFT_OK);
  CHECK(value == UINT64_MAX);
  CHECK_INT(read_number("18446744073709551616", UINT64_MAX, &value), WEFT_LIMIT_EXCEEDED);
  CHECK_INT(read_number("7", 7, &value), WEFT_OK);
  CHECK_INT(read_number("8", 7, &value), WEFT_LIMIT_EXCEEDED);
  CHECK_INT(read_number("10", 7, &value), WEFT_LIMIT_EXCEEDED);
  CHECK_INT(read_number("-1", 7, &value), WEFT_INVALID_MODEL);
  CHECK_INT(read_number("1.0", 7, &value), WEFT_INVALID_MODEL);
  CHECK_INT(read_number("1e1", 70, &value), WEFT_INVALID_MODEL);
  CHECK_INT(read_number("01", 70, &value), WEFT_INVALID_MODEL);
}

/* Every code point survives; what is not one is replaced by its maximal parts. */
static void test_utf8(void) {
  unsigned wrong = 0;
  for (uint32_t code = 0; code < 0x110000; code++) {
    uint8_t bytes[4];
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    uint32_t length = weft_utf8_encode(code, bytes);
    weft_utf8_char found = weft_utf8_decode(bytes, bytes + length);
    weft_utf8_char last = weft_utf8_decode_last(bytes, bytes + length);
    wrong += !found.valid || found.code != code || found.length != length;
    wrong += !last.valid || last.code != code || last.length != length;
    for (uint32_t cut = 1; cut < length; cut++) {
      weft_utf8_char part = weft_utf8_decode(bytes, bytes + cut);
      wrong += part.valid || part.length != cut;
      wrong += weft_utf8_decode_last(bytes, bytes + cut).valid;
    }
  }
  CHECK_INT(wrong, 0);
}

int main(void) {
  CHECK_RUN(test_valid);
  CHECK_RUN(test_refused);
  CHECK_RUN(test_depth);
  CHECK_RUN(test_strings);
  CHECK_RUN(test_integers);
  CHECK_RUN(test_utf8);
  return check_result();
}
