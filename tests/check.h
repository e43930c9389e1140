/* check.h - the test harness of C tests. A test program is one file: functions that CHECK, and
 *
 *   int main(void) {
 *     CHECK_RUN(test_this);
 *     CHECK_RUN(test_that);
 *     return check_result();
 *   }
 *
 * A failed check prints where and what, and the program goes on and answers 1 at its end. A program
 * of tests/wasm exports `run` in place of main, for its host tests/wasm/run.mjs. */
#ifndef WEFT_TESTS_CHECK_H
#define WEFT_TESTS_CHECK_H

#include "base/memory.h"
#include "base/text.h"

static unsigned check_count, check_failures;

#ifdef __wasm__
__attribute__((import_module("test"), import_name("print"))) void check_host_print(const char *text,
                                                                                   size_t length);
static inline void check_write(void *user, const char *text, size_t length) {
  (void)user;
  check_host_print(text, length);
}
#else
#include <stdio.h>
static inline void check_write(void *user, const char *text, size_t length) {
  (void)user;
  fwrite(text, 1, length, stdout);
}
#endif

/* The verbs are those of base/text.h. */
__attribute__((format(printf, 1, 2))) static inline void check_print(const char *format, ...) {
  weft_text text = {.write = check_write};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
}

static inline bool check_that(bool good, const char *file, int line, const char *what) {
  check_count++;
  if (good) return true;
  check_failures++;
  check_print("%s:%d: failed: %s\n", file, line, what);
  return false;
}

/* Each answers whether the check held, for a test that cannot go on without. */
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)

static inline bool check_int(int64_t a, int64_t b, const char *file, int line, const char *what) {
  if (check_that(a == b, file, line, what)) return true;
  check_print("  it is %lld, not %lld\n", (long long)a, (long long)b);
  return false;
}
#define CHECK_INT(actual, expected)                                                                \
  check_int((int64_t)(actual), (int64_t)(expected), __FILE__, __LINE__, #actual " == " #expected)

static inline bool check_text(const char *a, const char *b, const char *file, int line,
                              const char *what) {
  if (check_that(a != NULL && strcmp(a, b) == 0, file, line, what)) return true;
  check_print("  it is \"%s\", not \"%s\"\n", a, b);
  return false;
}
#define CHECK_TEXT(actual, expected)                                                               \
  check_text((actual), (expected), __FILE__, __LINE__, #actual " is " #expected)

/* For a call that fills `error`. */
static inline bool check_ok(weft_status status, const weft_error *error, const char *file, int line,
                            const char *what) {
  if (check_that(status == WEFT_OK, file, line, what)) return true;
  check_print("  %s: %s\n", weft_status_name(status), error->message);
  return false;
}
#define CHECK_OK(call, error) check_ok((call), (error), __FILE__, __LINE__, #call)

#define CHECK_RUN(test)                                                                            \
  do {                                                                                             \
    unsigned failures_before_ = check_failures;                                                    \
    test();                                                                                        \
    check_print("%s %s\n", check_failures == failures_before_ ? "pass" : "FAIL", #test);           \
  } while (0)

static inline int check_result(void) {
  check_print("%u checks, %u failed\n", check_count, check_failures);
  return check_failures == 0 ? 0 : 1;
}

/* The nearest f16. NaN becomes infinity. */
static inline uint16_t check_f16(float value) {
  float scaled = value * 0x1p-112f; /* the difference of the exponents */
  uint32_t bits;
  memcpy(&bits, &scaled, sizeof bits);
  uint32_t size = bits & 0x7fffffffu;
  size = (size + 0xfffu + (size >> 13 & 1u)) >> 13;
  return (uint16_t)((bits >> 16 & 0x8000u) | (size < 0x7c00u ? size : 0x7c00u));
}

/* Numbers that look random and are the same on every machine (xorshift64*). `state` is not 0. */
static inline uint64_t check_random(uint64_t *state) {
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 0x2545f4914f6cdd1d;
}

#endif
