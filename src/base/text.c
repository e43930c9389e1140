/* text.c - a small printf without libc, for messages, dumps and the text that the CLI and wasm
 * show. */
#include "base/text.h"

#include "base/memory.h"

static void put(weft_text *text, const char *bytes, size_t count) {
  if (text->write != NULL) {
    if (count > 0) text->write(text->user, bytes, count);
    text->length += count;
    return;
  }
  if (text->size == 0) return;
  size_t room = text->size - 1 - text->length;
  size_t kept = count < room ? count : room;
  if (kept > 0) memcpy(text->buffer + text->length, bytes, kept);
  text->length += kept;
  text->buffer[text->length] = 0;
}

static void put_unsigned(weft_text *text, uint64_t value, unsigned base) {
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  put(text, digits + at, sizeof digits - at);
}

static void put_signed(weft_text *text, int64_t value) {
  if (value < 0) put(text, "-", 1);
  put_unsigned(text, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

/* value > 0, finite: returns it scaled into [1, 10) and its decimal exponent. */
static double normalise(double value, int *exponent) {
  static const double powers[] = {1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256};
  *exponent = 0;
  for (int i = 8; i >= 0; i--) {
    if (value >= powers[i]) {
      value /= powers[i];
      *exponent += 1 << i;
    } else if (value < 1 && value * powers[i] < 10) {
      value *= powers[i];
      *exponent -= 1 << i;
    }
  }
  return value;
}

/* `count` digits without their trailing zeros; a point after the first `whole` ones. */
static void put_digits(weft_text *text, const char *digits, int count, int whole) {
  while (count > whole && digits[count - 1] == '0') count--;
  put(text, digits, (size_t)whole);
  if (count == whole) return;
  put(text, ".", 1);
  put(text, digits + whole, (size_t)(count - whole));
}

/* As %g of C: `precision` significant digits, trailing zeros dropped. */
static void put_double(weft_text *text, double value, int precision) {
  if (value != value) return put(text, "nan", 3);
  if (__builtin_signbit(value)) put(text, "-", 1);
  value = __builtin_fabs(value);
  if (value > 1.7976931348623157e308) return put(text, "inf", 3);
  if (value == 0) return put(text, "0", 1);

  int exponent;
  double scaled = normalise(value, &exponent);
  uint64_t limit = 1;
  for (int i = 0; i < precision; i++) limit *= 10;
  uint64_t unit = limit / 10; /* one digit before the point becomes `precision` digits */
  uint64_t number = (uint64_t)(scaled * (double)unit + 0.5);
  if (number >= limit) { /* 9.99... rounded up */
    number /= 10;
    exponent++;
  }
  char digits[12];
  for (int i = precision; i-- > 0; number /= 10) digits[i] = (char)('0' + number % 10);

  if (exponent < -4 || exponent >= precision) {
    put_digits(text, digits, precision, 1);
    put(text, exponent < 0 ? "e-" : "e+", 2);
    unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    if (size < 10) put(text, "0", 1);
    put_unsigned(text, size, 10);
  } else if (exponent < 0) {
    put(text, "0.000", (size_t)(1 - exponent));
    while (precision > 1 && digits[precision - 1] == '0') precision--;
    put(text, digits, (size_t)precision);
  } else {
    put_digits(text, digits, precision, exponent + 1);
  }
}

/* What stands between '%' and the verb. */
typedef struct {
  int precision;  /* -1: none */
  unsigned longs; /* bytes of the integer */
} modifiers;

/* The one place that reads arguments, because a va_list passed on by value is lost to its owner. */
#define WEFT_TEXT_INTEGER(kind)                                                                    \
  (how.longs > sizeof(int)                                                                         \
       ? (how.longs == sizeof(long) ? va_arg(list, kind long) : va_arg(list, kind long long))      \
       : va_arg(list, kind int))

static const char *read_modifiers(const char *at, modifiers *out) {
  *out = (modifiers){.precision = -1, .longs = sizeof(int)};
  if (*at == '.') {
    at++;
    out->precision = 0;
    while (*at >= '0' && *at <= '9') out->precision = out->precision * 10 + (*at++ - '0');
  }
  if (*at == 'z') {
    out->longs = sizeof(size_t);
    at++;
  }
  if (*at == 'l') {
    out->longs = at[1] == 'l' ? sizeof(long long) : sizeof(long);
    at += at[1] == 'l' ? 2 : 1;
  }
  return at;
}

static size_t bounded_length(const char *string, int limit) {
  size_t length = 0;
  while ((limit < 0 || length < (size_t)limit) && string[length] != 0) length++;
  return length;
}

void weft_text_add_list(weft_text *text, const char *format, va_list list) {
  put(text, "", 0);
  while (*format != 0) {
    const char *start = format;
    while (*format != 0 && *format != '%') format++;
    put(text, start, (size_t)(format - start));
    if (*format == 0) return;
    modifiers how;
    format = read_modifiers(format + 1, &how);
    if (*format == '*') {
      how.precision = va_arg(list, int);
      format++;
    }
    switch (*format) {
    case 's': {
      const char *string = va_arg(list, const char *);
      if (string == NULL) string = "(null)";
      put(text, string, bounded_length(string, how.precision));
      break;
    }
    case 'c':
      put(text, (char[]){(char)va_arg(list, int)}, 1);
      break;
    case 'd':
    case 'i':
      put_signed(text, WEFT_TEXT_INTEGER(signed));
      break;
    case 'u':
      put_unsigned(text, WEFT_TEXT_INTEGER(unsigned), 10);
      break;
    case 'x':
      put_unsigned(text, WEFT_TEXT_INTEGER(unsigned), 16);
      break;
    case 'g':
      put_double(text, va_arg(list, double),
                 how.precision < 0    ? 6
                 : how.precision > 9  ? 9
                 : how.precision == 0 ? 1
                                      : how.precision);
      break;
    case '%':
      put(text, "%", 1);
      break;
    default:
      return; /* a mistake in the format: the compiler's format check rules it out */
    }
    format++;
  }
}

void weft_text_add(weft_text *text, const char *format, ...) {
  va_list list;
  va_start(list, format);
  weft_text_add_list(text, format, list);
  va_end(list);
}
