/* check.c - see check.h. No libc, so that it runs in wasm as well. */
#include "tests/kernel/check.h"

#include "base/memory.h"

/* ---- output
 * -------------------------------------------------------------------------------------- */

void print_text(const char *text) {
  host_write(text, strlen(text));
}

void print_padded(const char *text, unsigned width) {
  print_text(text);
  for (size_t n = strlen(text); n < width; n++) host_write(" ", 1);
}

void print_number(double x, unsigned width, unsigned decimals) {
  char text[64];
  unsigned at = sizeof text, negative = x < 0;
  if (!(x - x == 0)) {
    print_text(x != x ? "  nan" : x < 0 ? " -inf" : "  inf");
    return;
  }
  double scale = 1;
  for (unsigned i = 0; i < decimals; i++) scale *= 10;
  double scaled = (negative ? -x : x) * scale + 0.5;
  uint64_t digits = scaled < 1e18 ? (uint64_t)scaled : 1000000000000000000u;
  for (unsigned i = 0; i <= decimals || digits > 0; i++, digits /= 10) {
    if (i == decimals && i > 0) text[--at] = '.';
    text[--at] = (char)('0' + digits % 10);
  }
  if (negative) text[--at] = '-';
  while (sizeof text - at < width) text[--at] = ' ';
  host_write(text + at, sizeof text - at);
}

/* ---- counts
 * -------------------------------------------------------------------------------------- */

unsigned passed, failed;
double largest_error;

void expect(bool ok, const char *target, const char *kernel, const char *detail, double a,
            double b) {
  if (ok) {
    passed++;
    return;
  }
  if (failed++ > 100) return;
  print_text("FAILED ");
  print_text(target), print_text(" "), print_text(kernel);
  print_text(": "), print_text(detail), print_text(" ");
  print_number(a, 0, 9), print_text(" "), print_number(b, 0, 9), print_text("\n");
}

/* ---- buffers
 * ------------------------------------------------------------------------------------- */

enum { GUARD = 256, GUARD_BYTE = 0xA5 };
static struct {
  unsigned char *from, *to; /* what was placed */
} placed[SLOTS];

void *slot_place(unsigned slot, size_t bytes, size_t alignment) {
  unsigned char *end = host_slot(slot) + SLOT_BYTES, *from = end - bytes;
  from -= (uintptr_t)from % alignment;
  placed[slot].from = from, placed[slot].to = from + bytes;
  memset(from - GUARD, GUARD_BYTE, GUARD);
  memset(from + bytes, GUARD_BYTE, (size_t)(end - (from + bytes)));
  return from;
}

bool slot_intact(unsigned slot) {
  const unsigned char *end = host_slot(slot) + SLOT_BYTES, *from = placed[slot].from;
  for (const unsigned char *p = from - GUARD; p < from; p++)
    if (*p != GUARD_BYTE) return false;
  for (const unsigned char *p = placed[slot].to; p < end; p++)
    if (*p != GUARD_BYTE) return false;
  return true;
}

/* ---- inputs
 * -------------------------------------------------------------------------------------- */

uint32_t random_u32(void) { /* xorshift64* (Vigna) */
  static uint64_t state = 88172645463325252u;
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return (uint32_t)(state * 2685821657736338717u >> 32);
}

float random_range(float low, float high) {
  return low + (high - low) * ((float)(random_u32() >> 8) * 0x1p-24f);
}

static float any_float(void) {
  uint32_t bits = random_u32();
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

void fill_floats(fill kind, size_t n, float *x) {
  static const float special[] = {0.0f,
                                  -0.0f,
                                  __builtin_inff(),
                                  -__builtin_inff(),
                                  __builtin_nanf(""),
                                  1.0f,
                                  -1.0f,
                                  0.5f,
                                  -0.5f,
                                  1.5f,
                                  -1.5f,
                                  2.5f,
                                  -2.5f,
                                  0x1p-149f,
                                  -0x1p-149f,
                                  0x1.fffffcp-127f,
                                  0x1p-126f,
                                  -0x1p-126f,
                                  0x1p23f,
                                  -0x1p23f,
                                  0x1.000002p23f,
                                  0x1p22f,
                                  4194304.5f,
                                  0x1p24f,
                                  0x1p31f,
                                  -0x1p31f,
                                  0x1p32f,
                                  0x1.fffffep127f,
                                  -0x1.fffffep127f,
                                  88.72284f,
                                  -88.72284f,
                                  -87.33655f,
                                  -103.97f,
                                  0x1.fffffep-1f,
                                  -0x1.fffffep-1f,
                                  0x1.000002p0f,
                                  3.1415927f,
                                  1e5f,
                                  1e10f,
                                  65504.0f,
                                  65519.996f,
                                  65520.0f,
                                  0x1p-24f,
                                  0x1p-25f,
                                  0x1.000002p-25f,
                                  0x1p-14f,
                                  0x1.ffcp-15f,
                                  3.0f};
  for (size_t i = 0; i < n; i++)
    x[i] = kind == FILL_SMALL  ? random_range(-1, 1)
           : kind == FILL_WIDE ? random_range(-20, 20)
           : kind == FILL_BITS ? any_float()
                               : special[random_u32() % (sizeof special / sizeof *special)];
}

/* ---- comparison
 * ---------------------------------------------------------------------------------- */

static double finite(float x) {
  if (x - x == 0) return x;
  return x > 0 ? 0x1p128 : -0x1p128;
}

double error_ulp(float got, float want, double magnitude) {
  if (got != got || want != want) return got != got && want != want ? 0 : __builtin_inf();
  double size = __builtin_fabs(finite(want)), error = __builtin_fabs(finite(got) - finite(want));
  if (size < 0x1p-126 && __builtin_fabs(finite(got)) <= 0x1p-126) return 0;
  if (size < magnitude) size = magnitude;
  if (size < 0x1p-126) size = 0x1p-126;
  uint64_t bits;
  memcpy(&bits, &size, sizeof bits);
  bits &= 0x7FF0000000000000u; /* the power of two below */
  double unit;
  memcpy(&unit, &bits, sizeof unit);
  return error / (unit * 0x1p-23);
}

bool same_bits(float a, float b) {
  return (a != a && b != b) || memcmp(&a, &b, sizeof a) == 0;
}
