/* output.c - see output.h. */
#include "output.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* ---- stderr --------------------------------------------------------------------------------- */

/* The bar as it stands on the terminal; percent -1: none. */
static struct {
  bool disabled;
  int percent;
} bar = {false, -1};

enum { BAR_WIDTH = 30 };

static bool is_control(char c) {
  return (unsigned char)c < 0x20 || c == 0x7f;
}

void progress_disable(void) {
  bar.disabled = true;
}

void progress_clear(void) {
  if (bar.percent >= 0) fprintf(stderr, "\r\033[K");
  bar.percent = -1;
}

void progress_show(const char *work, uint64_t done, uint64_t total) {
  if (bar.disabled || total == 0 || !isatty(STDERR_FILENO)) return;
  if (done >= total) {
    progress_clear();
    return;
  }
  int percent = (int)((double)done / (double)total * 100), filled = percent * BAR_WIDTH / 100;
  if (percent == bar.percent) return;
  bar.percent = percent;
  fprintf(stderr, "\r%s [%.*s%*s] %3d%%", work, filled, "##############################",
          BAR_WIDTH - filled, "", percent);
}

/* Names from a model may hold anything that is UTF-8: no line of it may steer the terminal. */
void complain(const char *format, ...) {
  char line[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  for (char *c = line; *c; c++) {
    if (is_control(*c)) *c = '?';
  }
  progress_clear();
  fprintf(stderr, "weft: %s\n", line);
}

/* ---- names ---------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *name) {
  size_t length = strlen(name);
  return length && strncmp(text, name, length) == 0 && strchr("=,", text[length]);
}

bool check_name(const char *what, const char *text, name_at *names, const void *of) {
  char known[400] = "none";
  size_t used = 0;
  const char *name;
  for (size_t i = 0; (name = names(of, i)); i++) {
    if (begins_with(text, name)) return true;
    if (!*name || used >= sizeof known) continue;
    used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", name);
  }
  complain("%s '%.*s' does not exist; there are: %s", what, (int)strcspn(text, "=,"), text, known);
  return false;
}

/* ---- stdout --------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at `c` (RFC 3629), 0 where there is none. */
static size_t utf8_length(const unsigned char *c) {
  size_t length = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
  if (length == 0 || c[0] > 0xf4) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((c[i] & 0xc0) != 0x80) return 0;
  }
  bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
  bool surrogate = c[0] == 0xed && c[1] > 0x9f, beyond = c[0] == 0xf4 && c[1] > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

static void json_text(const char *text) {
  putchar('"');
  for (size_t length; *text; text += length) {
    length = utf8_length((const unsigned char *)text);
    if (length == 0) {
      printf("\\ufffd");
      length = 1;
    } else if (is_control(*text)) {
      printf("\\u%04x", *text);
    } else {
      printf("%s%.*s", *text == '"' || *text == '\\' ? "\\" : "", (int)length, text);
    }
  }
  putchar('"');
}

void print_text(const char *text, bool json) {
  if (!text) text = "";
  if (json) {
    json_text(text);
    return;
  }
  for (; *text; text++) putchar(is_control(*text) ? '?' : *text);
}

void print_number(const char *format, double value, bool json) {
  if (!json || isfinite(value))
    printf(format, value);
  else
    printf("null");
}

void json_dims(const int64_t *dims, size_t rank) {
  putchar('[');
  for (size_t i = 0; i < rank; i++) printf("%s%lld", i ? "," : "", (long long)dims[i]);
  putchar(']');
}
