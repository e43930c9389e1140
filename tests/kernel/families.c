/* families.c - per family of kernels: the shapes, the inputs, the comparison with the reference,
 * the guards. Called by main.c for every kernel and target. */
#include "base/memory.h"
#include "tests/kernel/check.h"

static const size_t lengths[] = {0,  1,  2,  3,  4,  5,  6,   7,   8,   9,    15,  16,
                                 17, 31, 32, 33, 63, 65, 255, 256, 257, 1000, 4097};
enum { LENGTHS = sizeof lengths / sizeof *lengths, LONGEST = 4097 };

typedef struct subject { /* what is being checked, for messages */
  const char *target, *kernel;
  double tolerance;
} subject;

/* Zeros of either sign are equal to kernels that choose one of two numbers. */
static bool chooses(const char *kernel) {
  return kernel[0] == 'm' && kernel[1] != 'u';
}

/* Cancellation: 1 + erf and 1 + tanh are off by a unit of 1, so gelu is by a unit of x / 2. */
static double magnitude_of(const char *kernel, float x) {
  return memcmp(kernel, "gelu", 4) == 0 && x - x == 0 ? __builtin_fabs((double)x) / 2 : 0;
}

/* Reports the first element that is off by more than the tolerance. `input` is only printed. */
static void compare(const subject *s, const char *detail, size_t n, const float *got,
                    const float *want, const double *magnitude, const float *input) {
  for (size_t i = 0; i < n; i++) {
    double error = error_ulp(got[i], want[i], magnitude ? magnitude[i] : 0);
    if (error > largest_error) largest_error = error;
    bool ok = s->tolerance > 0 || (chooses(s->kernel) && got[i] == want[i])
                  ? error <= s->tolerance
                  : same_bits(got[i], want[i]);
    if (ok) continue;
    expect(false, s->target, s->kernel, detail, (double)n, input ? (double)input[i] : (double)i);
    expect(false, s->target, s->kernel, "  got, want:", (double)got[i], (double)want[i]);
    return;
  }
  passed++;
}

static void expect_intact(const subject *s, unsigned slot, size_t n) {
  expect(slot_intact(slot), s->target, s->kernel, "wrote outside, n:", (double)n, 0);
}

static float want[LONGEST];
static double magnitude[LONGEST];

/* ---- elementwise
 * --------------------------------------------------------------------------------- */

static void check_unary(const subject *s, weft_unary_f32_fn *f, weft_unary_f32_fn *reference,
                        size_t n, fill kind) {
  float *x = slot_place(0, n * sizeof(float), 4), *y = slot_place(1, n * sizeof(float), 4);
  fill_floats(kind, n, x);
  reference(n, x, want);
  for (size_t i = 0; i < n; i++) magnitude[i] = magnitude_of(s->kernel, x[i]);
  f(n, x, y);
  compare(s, "n, x:", n, y, want, magnitude, x);
  expect_intact(s, 1, n);
  f(n, x, x);
  compare(s, "in place, n, result:", n, x, want, magnitude, x);
  expect_intact(s, 0, n);
}

void check_unary_f32(const weft_kernels *target, const char *kernel, weft_unary_f32_fn *f,
                     weft_unary_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS; i++)
    for (int kind = 0; kind < FILL_KINDS; kind++)
      check_unary(&s, f, reference, lengths[i], (fill)kind);
  for (int round = 0; round < 40; round++)
    check_unary(&s, f, reference, LONGEST, (fill)(round % FILL_KINDS));
}

void check_binary_f32(const weft_kernels *target, const char *kernel, weft_binary_f32_fn *f,
                      weft_binary_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS * FILL_KINDS * FILL_KINDS; i++) {
    size_t n = lengths[i % LENGTHS], bytes = n * sizeof(float);
    float *a = slot_place(0, bytes, 4), *b = slot_place(1, bytes, 4), *y = slot_place(2, bytes, 4);
    fill_floats((fill)(i / LENGTHS % FILL_KINDS), n, a);
    fill_floats((fill)(i / LENGTHS / FILL_KINDS), n, b);
    reference(n, a, b, want);
    f(n, a, b, y);
    compare(&s, "n, a:", n, y, want, NULL, a);
    memcpy(y, a, bytes);
    f(n, y, b, y);
    compare(&s, "in place of a, n, b:", n, y, want, NULL, b);
    memcpy(y, b, bytes);
    f(n, a, y, y);
    compare(&s, "in place of b, n, a:", n, y, want, NULL, a);
    expect_intact(&s, 2, n);
  }
}

void check_compare_f32(const weft_kernels *target, const char *kernel, weft_compare_f32_fn *f,
                       weft_compare_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  static uint8_t expected[LONGEST];
  for (size_t i = 0; i < LENGTHS * FILL_KINDS; i++) {
    size_t n = lengths[i % LENGTHS];
    float *a = slot_place(0, n * sizeof(float), 4), *b = slot_place(1, n * sizeof(float), 4);
    uint8_t *y = slot_place(2, n, 1);
    fill_floats((fill)(i / LENGTHS), n, a);
    fill_floats((fill)(i / LENGTHS), n, b);
    for (size_t j = 0; j < n; j += 3) b[j] = a[j];
    reference(n, a, b, expected);
    f(n, a, b, y);
    expect(memcmp(y, expected, n) == 0, s.target, s.kernel, "n:", (double)n, 0);
    expect_intact(&s, 2, n);
  }
}

void check_select_f32(const weft_kernels *target, const char *kernel, weft_select_f32_fn *f,
                      weft_select_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS * FILL_KINDS; i++) {
    size_t n = lengths[i % LENGTHS], bytes = n * sizeof(float);
    float *a = slot_place(0, bytes, 4), *b = slot_place(1, bytes, 4), *y = slot_place(2, bytes, 4);
    uint8_t *c = slot_place(3, n, 1);
    fill_floats((fill)(i / LENGTHS), n, a);
    fill_floats((fill)(i / LENGTHS), n, b);
    for (size_t j = 0; j < n; j++) c[j] = (uint8_t)(random_u32() % 3);
    reference(n, c, a, b, want);
    f(n, c, a, b, y);
    compare(&s, "n, i:", n, y, want, NULL, NULL);
    memcpy(y, b, bytes);
    f(n, c, a, y, y);
    compare(&s, "in place of b, n, i:", n, y, want, NULL, NULL);
    expect_intact(&s, 2, n);
  }
}

/* ---- conversions
 * --------------------------------------------------------------------------------- */

static size_t bytes_of(const char *type) {
  static const struct {
    const char *name;
    size_t bytes;
  } types[] = {{"f16", 2}, {"bf16", 2}, {"f32", 4}, {"i64", 8}, {"i32", 4}, {"u8", 1}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (memcmp(type, types[i].name, strlen(types[i].name)) == 0) return types[i].bytes;
  return 0;
}

static bool same_half(uint16_t a, uint16_t b) {
  return a == b || ((a & 0x7FFF) > 0x7C00 && (b & 0x7FFF) > 0x7C00);
}

static void check_conversion(const subject *s, weft_convert_fn *f, weft_convert_fn *reference,
                             size_t n, unsigned round) {
  size_t in = bytes_of(s->kernel), out = s->kernel[0] == 'f' && s->kernel[1] == '3' ? 2 : 4;
  unsigned char *x = slot_place(0, n * in, 1), *y = slot_place(1, n * out, 1);
  if (out == 2)
    fill_floats((fill)(round % FILL_KINDS), n, slot_place(0, n * in, 4));
  else if (in == 2) /* every half, one after the other */
    for (size_t i = 0; i < n; i++) ((uint16_t *)(void *)x)[i] = (uint16_t)(round * LONGEST + i);
  else
    for (size_t i = 0; i < n * in; i++) x[i] = (unsigned char)random_u32();
  reference(n, x, want);
  f(n, x, y);
  bool ok = true;
  for (size_t i = 0; i < n; i++)
    ok &= out == 4 ? same_bits(((float *)(void *)y)[i], want[i])
                   : same_half(((uint16_t *)(void *)y)[i], ((uint16_t *)(void *)want)[i]);
  expect(ok, s->target, s->kernel, "n, round:", (double)n, round);
  expect_intact(s, 1, n);
}

void check_convert(const weft_kernels *target, const char *kernel, weft_convert_fn *f,
                   weft_convert_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS; i++) check_conversion(&s, f, reference, lengths[i], (unsigned)i);
  for (unsigned round = 0; round < 17; round++) check_conversion(&s, f, reference, LONGEST, round);
}

/* ---- rows
 * ---------------------------------------------------------------------------------------- */

/* Sums: off by units of the sum of the sizes. */
static double reduce_magnitude(const char *kernel, size_t n, const float *x) {
  double total = 0;
  for (size_t i = 0; i < n; i++)
    total += chooses(kernel)      ? 0
             : strlen(kernel) > 8 ? (double)x[i] * (double)x[i]
                                  : __builtin_fabs((double)x[i]);
  return total - total == 0 ? total : 0;
}

void check_reduce_f32(const weft_kernels *target, const char *kernel, weft_reduce_f32_fn *f,
                      weft_reduce_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS * 40; i++) {
    size_t n = lengths[i % LENGTHS];
    if (n == 0) continue;
    float *x = slot_place(0, n * sizeof(float), 4);
    fill_floats((i / LENGTHS) % 2 ? FILL_SMALL : FILL_WIDE, n, x);
    if (i / LENGTHS > 20) fill_floats(FILL_SPECIAL, 1, x + random_u32() % n);
    for (size_t j = 0; j < n && !chooses(kernel); j++) /* huge: sums overflow at another point */
      if (x[j] - x[j] == 0 && x[j] * x[j] > 1e30f) x[j] = 1;
    double size = reduce_magnitude(kernel, n, x);
    float got = f(n, x), expected = reference(n, x);
    compare(&s, "n, x[0]:", 1, &got, &expected, &size, x);
  }
}

static float reference_maximum(size_t n, const float *x) {
  return weft_kernels_find("reference", 0)->maximum_f32(n, x);
}

void check_row_f32(const weft_kernels *target, const char *kernel, weft_row_f32_fn *f,
                   weft_row_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  bool logarithm = kernel[0] == 'l';
  for (size_t i = 0; i < LENGTHS * 6; i++) {
    size_t n = lengths[i % LENGTHS], bytes = n * sizeof(float);
    unsigned variant = (unsigned)(i / LENGTHS);
    float *x = slot_place(0, bytes, 4), *y = slot_place(1, bytes, 4);
    fill_floats(variant == 0 ? FILL_SMALL : FILL_WIDE, n, x);
    for (size_t j = 0; j < n; j++) {
      if (variant == 2) x[j] *= 10;                             /* many vanish */
      if (variant == 3 && j % 3 == 1) x[j] = -__builtin_inff(); /* some masked */
      if (variant == 4) x[j] = -__builtin_inff();               /* all masked */
      if (variant == 5 && j == n / 2) x[j] = __builtin_nanf("");
    }
    reference(n, x, want);
    float largest =
        n ? reference_maximum(n, x) : 0; /* x - largest is rounded, then its power taken */
    for (size_t j = 0; j < n; j++)
      magnitude[j] = logarithm ? 8 : (1 + (double)(largest - x[j])) * (double)want[j];
    f(n, x, y);
    compare(&s, "n, x:", n, y, want, magnitude, x);
    expect_intact(&s, 1, n);
    f(n, x, x);
    compare(&s, "in place, n, result:", n, x, want, magnitude, x);
    expect_intact(&s, 0, n);
  }
}

/* Units of what is added and subtracted: (|x| + |mean|) * factor * |scale| + |bias|. */
static void norm_magnitudes(size_t n, const float *x, const float *scale, const float *bias,
                            float epsilon, bool centred) {
  double mean = 0, variance = 0;
  for (size_t i = 0; i < n; i++) mean += centred ? (double)x[i] / (double)n : 0;
  for (size_t i = 0; i < n; i++) variance += ((double)x[i] - mean) * ((double)x[i] - mean);
  double factor = 1 / __builtin_sqrt(variance / (double)n + (double)epsilon);
  for (size_t i = 0; i < n; i++) {
    double size = __builtin_fabs((double)x[i]) + __builtin_fabs(mean);
    magnitude[i] = size * factor * __builtin_fabs((double)scale[i]);
    if (bias) magnitude[i] += __builtin_fabs((double)bias[i]);
  }
}

void check_norm_f32(const weft_kernels *target, const char *kernel, weft_norm_f32_fn *f,
                    weft_norm_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS * 8; i++) {
    size_t n = lengths[i % LENGTHS], bytes = n * sizeof(float);
    unsigned variant = (unsigned)(i / LENGTHS);
    float *x = slot_place(0, bytes, 4), *y = slot_place(1, bytes, 4);
    float *scale = slot_place(2, bytes, 4), *bias = slot_place(3, bytes, 4);
    fill_floats(FILL_SMALL, n, x), fill_floats(FILL_WIDE, n, scale),
        fill_floats(FILL_SMALL, n, bias);
    for (size_t j = 0; j < n; j++) {
      if (variant / 2 == 1) x[j] += 1000;
      if (variant / 2 == 2) x[j] = 3;
      if (variant / 2 == 3 && j == 0) x[j] = __builtin_inff();
    }
    if (variant % 2) bias = NULL;
    norm_magnitudes(n, x, scale, bias, 1e-5f, kernel[0] == 'l');
    reference(n, x, scale, bias, 1e-5f, want);
    f(n, x, scale, bias, 1e-5f, y);
    compare(&s, "n, x:", n, y, want, magnitude, x);
    expect_intact(&s, 1, n);
    f(n, x, scale, bias, 1e-5f, x);
    compare(&s, "in place, n, result:", n, x, want, magnitude, x);
  }
}

void check_rotary_f32(const weft_kernels *target, const char *kernel, weft_rotary_f32_fn *f,
                      weft_rotary_f32_fn *reference, double tolerance) {
  subject s = {target->target, kernel, tolerance};
  for (size_t i = 0; i < LENGTHS * 4; i++) {
    size_t n = lengths[i % LENGTHS] / 2, bytes = n * sizeof(float);
    float *x = slot_place(0, 2 * bytes, 4), *y = slot_place(1, 2 * bytes, 4);
    float *cosines = slot_place(2, bytes, 4), *sines = slot_place(3, bytes, 4);
    fill_floats(i / LENGTHS ? FILL_WIDE : FILL_SMALL, 2 * n, x);
    fill_floats(FILL_SMALL, n, cosines), fill_floats(FILL_SMALL, n, sines);
    for (size_t j = 0; j < 2 * n; j++) magnitude[j] = 2 * (i / LENGTHS ? 20 : 1);
    reference(n, x, cosines, sines, want);
    f(n, x, cosines, sines, y);
    compare(&s, "n, x:", 2 * n, y, want, magnitude, x);
    expect_intact(&s, 1, n);
    f(n, x, cosines, sines, x);
    compare(&s, "in place, n, result:", 2 * n, x, want, magnitude, x);
    expect_intact(&s, 0, n);
  }
}
