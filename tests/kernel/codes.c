/* codes.c - as families.c, for weights of few bits. Panels and rows have a layout of the target's
 * own, so that what packing and quantising make is judged by what comes out of it: through
 * unpack_codes, and through products with weights that pick single codes. */
#include "base/memory.h"
#include "tests/kernel/check.h"

enum { X, CODES, PANELS, ROWS, C, EXPECTED, REFERENCE_PANELS, REFERENCE_ROWS }; /* slots */

/* C [m][n] = X [m][k] x W [k][n], W of the format. */
typedef struct product {
  weft_code_format format;
  size_t m, k, n;
  float *x;                /* [m][k] */
  uint8_t *codes;          /* [n][k] */
  float *scales, *offsets; /* [n][blocks] */
  void *panels, *rows;     /* the target's */
  size_t panel_bytes;
} product;

enum { SCALES = 1 << 16 };
static float scales_of_all[SCALES], offsets_of_all[SCALES];

static size_t blocks_of(const product *p) {
  return (p->k + p->format.block - 1) / p->format.block;
}
static uint8_t largest_code(weft_code_format format) {
  return format.narrow ? WEFT_NARROW_CODE : (uint8_t)((1u << format.bits) - 1);
}
/* Codes of a narrow format are as far from the zero as four codes of a half step may be, or as
 * eight of a step may be for its sum to be one: each 64 of k the one or the other, by bits of this.
 */
static uint32_t reaches;

/* How far code k is from the zero at most. */
static int reach_at(size_t k) {
  bool whole = reaches >> k / 64 % 32 & 1;
  return whole ? 32 + (k % 16 < 4) : 64 + (k % 8 < 4);
}
/* The code of the format that is nearest to zero + distance. */
static uint8_t code_near(weft_code_format format, int distance) {
  int code = (int)format.zero + distance, largest = largest_code(format);
  return (uint8_t)(code < 0 ? 0 : code > largest ? largest : code);
}
static uint8_t any_code(weft_code_format format, size_t k) {
  if (!format.narrow) return (uint8_t)(random_u32() & largest_code(format));
  int reach = reach_at(k);
  return code_near(format, (int)(random_u32() % (2 * (unsigned)reach + 1)) - reach);
}
/* The largest and the lowest code number k of a column. */
static uint8_t top_code(weft_code_format format, size_t k) {
  return format.narrow ? code_near(format, reach_at(k)) : largest_code(format);
}
static uint8_t low_code(weft_code_format format, size_t k) {
  return format.narrow ? code_near(format, -reach_at(k)) : 0;
}

static product make_product(weft_code_format format, size_t m, size_t k, size_t n) {
  product p = {.format = format, .m = m, .k = k, .n = n};
  p.x = slot_place(X, m * k * sizeof(float), 4);
  p.codes = slot_place(CODES, n * k, 1);
  p.scales = scales_of_all;
  p.offsets = format.has_offsets ? offsets_of_all : NULL;
  fill_floats(FILL_SMALL, m * k, p.x);
  reaches = random_u32();
  for (size_t i = 0; i < n * k; i++) p.codes[i] = any_code(format, i % k);
  for (size_t i = 0; i < n * blocks_of(&p); i++) {
    p.scales[i] = random_range(-0.1f, 0.1f);
    offsets_of_all[i] = random_range(-1, 1);
  }
  return p;
}

static void pack(const weft_kernels *target, unsigned slot, product *p) {
  size_t columns = target->gemm_columns, blocks = blocks_of(p);
  p->panel_bytes = target->codes_panel_bytes(p->format, p->k);
  p->panels = slot_place(slot, (p->n + columns - 1) / columns * p->panel_bytes, 64);
  for (size_t j = 0; j < p->n; j += columns)
    target->pack_codes(
        &(weft_pack_codes_args){.format = p->format,
                                .k = p->k,
                                .columns = p->n - j < columns ? p->n - j : columns,
                                .codes = p->codes + j * p->k,
                                .codes_stride = p->k,
                                .scales = p->scales + j * blocks,
                                .offsets = p->offsets ? p->offsets + j * blocks : NULL,
                                .scales_stride = blocks,
                                .to = (char *)p->panels + j / columns * p->panel_bytes});
}

static void quantize(const weft_kernels *target, unsigned slot, product *p) {
  p->rows = slot_place(slot, p->m * target->codes_row_bytes(p->format, p->k), 16);
  target->quantize_rows(&(weft_quantize_rows_args){
      .format = p->format, .m = p->m, .k = p->k, .x = p->x, .ldx = p->k, .to = p->rows});
}

/* Rows [row, row + m) and columns [column, column + n) of C; `column` is a multiple of a panel. */
static void multiply(const weft_kernels *target, const product *p, size_t row, size_t m,
                     size_t column, size_t n, bool accumulate, float *c, size_t ldc) {
  target->gemm_codes(&(weft_gemm_codes_args){
      .format = p->format,
      .m = m,
      .n = n,
      .k = p->k,
      .a = (char *)p->rows + row * target->codes_row_bytes(p->format, p->k),
      .b = (char *)p->panels + column / target->gemm_columns * p->panel_bytes,
      .b_panel = p->panel_bytes,
      .c = c + row * ldc + column,
      .ldc = ldc,
      .accumulate = accumulate});
}

/* All of C by the target, into slot C. */
static float *product_of(const weft_kernels *target, product *p) {
  pack(target, PANELS, p), quantize(target, ROWS, p);
  float *c = slot_place(C, p->m * p->n * sizeof(float), 4);
  for (size_t row = 0; row < p->m; row += target->codes_rows) {
    size_t rows = p->m - row < target->codes_rows ? p->m - row : target->codes_rows;
    multiply(target, p, row, rows, 0, p->n, false, c, p->n);
  }
  return c;
}

static void expect_guards(const weft_kernels *target, const char *kernel, const product *p) {
  expect(slot_intact(PANELS) && slot_intact(ROWS) && slot_intact(C), target->target, kernel,
         "wrote outside, k, n:", (double)p->k, (double)p->n);
}

/* ---- formats --------------------------------------------------------------------------------- */

enum { FORMATS = 4 * 7 * 2 * 3 };
/* Each format in turn: bits, blocks, with offsets or not, zero 0, in the middle, the largest. */
static weft_code_format format_at(size_t i) {
  static const uint32_t bits_of[] = {2, 4, 8, 8}, blocks[] = {16, 32, 48, 64, 128, 256, 1024};
  weft_code_format format = {.bits = bits_of[i % 4], .block = blocks[i / 4 % 7]};
  format.narrow = i % 4 == 3;
  format.has_offsets = i / 28 % 2;
  uint32_t zeros[] = {(largest_code(format) + 1u) / 2, 0, largest_code(format)};
  format.zero = zeros[i / 56 % 3];
  return format;
}

/* ---- packing --------------------------------------------------------------------------------- */

static void check_unpack(const weft_kernels *target, const char *kernel, double tolerance,
                         product *p, size_t first, size_t count) {
  size_t columns = target->gemm_columns, blocks = blocks_of(p);
  float *to = slot_place(C, count * columns * sizeof(float), 4);
  for (size_t panel = 0; panel * columns < p->n; panel++) {
    target->unpack_codes(
        &(weft_unpack_codes_args){.format = p->format,
                                  .first = first,
                                  .count = count,
                                  .panel = (char *)p->panels + panel * p->panel_bytes,
                                  .to = to});
    double worst = 0;
    for (size_t i = 0; i < count; i++)
      for (size_t j = 0; j < columns && panel * columns + j < p->n; j++) {
        size_t k = first + i, column = panel * columns + j,
               at = column * blocks + k / p->format.block;
        double value =
            (double)p->scales[at] * ((int)p->codes[column * p->k + k] - (int)p->format.zero);
        double offset = p->offsets ? (double)p->offsets[at] : 0;
        double size = __builtin_fabs(value) + __builtin_fabs(offset);
        double error = error_ulp(to[i * columns + j], (float)(value + offset), size);
        if (!(error <= worst)) worst = error;
      }
    if (worst > largest_error) largest_error = worst;
    expect(worst <= tolerance, target->target, kernel, "bits, k:", p->format.bits, (double)p->k);
  }
  expect_guards(target, kernel, p);
}

/* What was packed comes back, whole and in parts. */
static void check_packing(const weft_kernels *target, const char *kernel, double tolerance) {
  static const size_t depths[] = {1, 15, 16, 17, 32, 95, 256, 300};
  for (size_t i = 0; i < FORMATS; i++)
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
      weft_code_format format = format_at(i);
      size_t k = depths[d], n = 1 + random_u32() % (3 * target->gemm_columns);
      product p = make_product(format, 1, k, n);
      pack(target, PANELS, &p), quantize(target, ROWS, &p);
      check_unpack(target, kernel, tolerance, &p, 0, k);
      size_t first = k / format.block / 2 * format.block;
      check_unpack(target, kernel, tolerance, &p, first, (k - first + 1) / 2);
    }
}

void check_pack_codes(const weft_kernels *target, const char *kernel, weft_pack_codes_fn *f,
                      weft_pack_codes_fn *reference, double tolerance) {
  (void)f, (void)reference, (void)tolerance;
  check_packing(target, kernel, 1);
}

void check_unpack_codes(const weft_kernels *target, const char *kernel, weft_unpack_codes_fn *f,
                        weft_unpack_codes_fn *reference, double tolerance) {
  (void)f, (void)reference;
  check_packing(target, kernel, tolerance);
}

/* ---- quantising ------------------------------------------------------------------------------ */

/* C by target and reference must have the same bits. */
static void expect_same(const weft_kernels *target, const char *kernel, const char *detail,
                        product *p) {
  product r = *p;
  const weft_kernels *reference = weft_kernels_find("reference", 0);
  pack(reference, REFERENCE_PANELS, &r), quantize(reference, REFERENCE_ROWS, &r);
  float *expected = slot_place(EXPECTED, p->m * p->n * sizeof(float), 4);
  for (size_t i = 0; i < p->m; i++) multiply(reference, &r, i, 1, 0, p->n, false, expected, p->n);
  float *c = product_of(target, p);
  bool ok = true;
  for (size_t i = 0; i < p->m * p->n; i++)
    ok &= c[i] == expected[i] || same_bits(c[i], expected[i]);
  expect(ok, target->target, kernel, detail, p->format.bits, (double)p->k);
  expect_guards(target, kernel, p);
}

/* Numbers of which some lie halfway between codes, some are tiny, huge or not finite. */
static void fill_rows(size_t round, product *p) {
  fill_floats((fill)(round % FILL_KINDS), p->m * p->k, p->x);
  for (size_t i = 0; i < p->m * p->k; i++) /* scale times sum must be a float */
    if (__builtin_fabsf(p->x[i]) > 0x1p100f && p->x[i] - p->x[i] == 0) p->x[i] = 0x1p100f;
  for (size_t i = 0; i < p->m; i++) {
    float *x = p->x + i * p->k, unit = (float[]){1, 0x1p-100f, 0x1p100f, 0x1p-126f}[i % 4];
    if (random_u32() % 2) continue;
    for (size_t k = 0; k < p->k; k++) x[k] = ((float)(random_u32() % 254) - 126.5f) * unit;
    x[random_u32() % p->k] = 127 * unit;
  }
}

/* A column with the scale 1 and a single code of 1 gives scale times code of one number of X; one
 * whose codes are the zero, with an offset of 1, scale times the sum of the codes. Either is one
 * rounding of what must be equal. */
void check_quantize_rows(const weft_kernels *target, const char *kernel, weft_quantize_rows_fn *f,
                         weft_quantize_rows_fn *reference, double tolerance) {
  (void)f, (void)reference, (void)tolerance;
  static const size_t depths[] = {1, 7, 16, 31, 33, 64, 100};
  for (size_t i = 0; i < FORMATS * 7; i++) {
    weft_code_format format = format_at(i % FORMATS);
    size_t k = depths[i / FORMATS];
    format.zero = format.has_offsets ? format.zero : 0;
    product p = make_product(format, 1 + random_u32() % 6, k, format.has_offsets ? 1 : k);
    fill_rows(i, &p);
    for (size_t j = 0; j < p.n * k; j++)
      p.codes[j] = (uint8_t)(format.has_offsets ? format.zero : j / k == j % k);
    for (size_t j = 0; j < p.n * blocks_of(&p); j++)
      p.scales[j] = 1, offsets_of_all[j] = j + 1 == blocks_of(&p);
    expect_same(target, kernel, format.has_offsets ? "sums, bits, k:" : "codes, bits, k:", &p);
  }
}

/* ---- product --------------------------------------------------------------------------------- */

/* The sum of the sizes of what is added up in C [i][j]. */
static double magnitude_of(const product *p, size_t i, size_t j) {
  double sum = 0;
  for (size_t k = 0; k < p->k; k++) {
    size_t at = j * blocks_of(p) + k / p->format.block;
    double code = (int)p->codes[j * p->k + k] - (int)p->format.zero;
    double size = __builtin_fabs((double)p->scales[at] * code);
    if (p->offsets) size += __builtin_fabs((double)p->offsets[at]);
    sum += size * __builtin_fabs((double)p->x[i * p->k + k]);
  }
  return sum;
}

static void check_product(const weft_kernels *target, const char *kernel, double tolerance,
                          product *p, bool accumulate) {
  const weft_kernels *reference = weft_kernels_find("reference", 0);
  size_t ldc = p->n + random_u32() % 3, floats = (p->m - 1) * ldc + p->n;
  pack(target, PANELS, p), quantize(target, ROWS, p);
  float *c = slot_place(C, floats * sizeof(float), 4);
  float *expected = slot_place(EXPECTED, floats * sizeof(float), 4);
  fill_floats(FILL_SMALL, floats, c);
  memcpy(expected, c, floats * sizeof(float));
  multiply(target, p, 0, p->m, 0, p->n, accumulate, c, ldc);
  expect_guards(target, kernel, p);
  pack(reference, REFERENCE_PANELS, p), quantize(reference, REFERENCE_ROWS, p);
  multiply(reference, p, 0, p->m, 0, p->n, accumulate, expected, ldc);
  double worst = 0;
  for (size_t i = 0; i < p->m; i++)
    for (size_t j = 0; j < p->n; j++) {
      size_t at = i * ldc + j;
      double error = error_ulp(c[at], expected[at], magnitude_of(p, i, j) + accumulate);
      if (!(error <= worst)) worst = error;
      c[at] = expected[at];
    }
  if (worst > largest_error) largest_error = worst;
  expect(worst <= tolerance, target->target, kernel, "bits, block:", p->format.bits,
         p->format.block);
  expect(memcmp(c, expected, floats * sizeof(float)) == 0, target->target, kernel,
         "wrote between rows, m, n:", (double)p->m, (double)p->n);
}

static void check_products(const weft_kernels *target, const char *kernel, double tolerance) {
  static const size_t depths[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 257, 384};
  size_t columns = target->gemm_columns;
  for (size_t i = 0; i < FORMATS; i++)
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
      const size_t widths[] = {1, columns - 1, columns, columns + 1, 3 * columns, 9 * columns + 3};
      size_t m = 1 + random_u32() % target->codes_rows;
      product p = make_product(format_at(i), m, depths[d], widths[random_u32() % 6]);
      check_product(target, kernel, tolerance, &p, random_u32() % 2);
    }
}

/* Codes at the ends of their range, where sums saturate if they can: one block, scales 1, so that C
 * is a whole number and has to be exact. */
static void check_extremes(const weft_kernels *target, const char *kernel) {
  static const size_t depths[] = {16, 32, 64, 256, 4096, 32768};
  for (size_t i = 0; i < 6 * 4 * 3 * 16; i++) {
    size_t k = depths[i % 6], m = target->codes_rows, n = 2 * target->gemm_columns;
    unsigned pattern = (unsigned)(i / 72);
    if (k * n > SLOT_BYTES / 4 || (k > 4096 && pattern % 5)) continue;
    weft_code_format format = {.bits = i / 6 % 4 == 3 ? 8 : 2u << i / 6 % 4, .block = (uint32_t)k};
    format.narrow = i / 6 % 4 == 3;
    const uint32_t zeros[] = {0, largest_code(format) / 2 + !format.narrow, largest_code(format)};
    format.zero = zeros[i / 24 % 3] + (format.narrow && pattern / 4 == 1);
    product p = make_product(format, m, k, n);
    for (size_t j = 0; j < n; j++) p.scales[j] = 1;
    for (size_t j = 0; j < m * k; j++) {
      const float x[] = {127, -127, j % 2 ? 127 : -127, (float)(random_u32() % 255) - 127};
      p.x[j] = j % k ? x[pattern % 4] : 127;
    }
    for (size_t j = 0; j < n * k; j++) {
      uint8_t top = top_code(format, j % k), low = low_code(format, j % k);
      p.codes[j] = (uint8_t[]){top, low, j % 2 ? top : low, any_code(format, j % k)}[pattern / 4];
    }
    expect_same(target, kernel, "extreme, bits, k:", &p);
  }
}

/* Numbers that are not finite spoil their row and no other. */
static void check_not_finite(const weft_kernels *target, const char *kernel) {
  for (size_t i = 0; i < FORMATS; i++) {
    product p = make_product(format_at(i), 3, 100, target->gemm_columns + 1);
    const float bad[] = {__builtin_inff(), -__builtin_inff(), __builtin_nanf("")};
    p.x[p.k + random_u32() % p.k] = bad[i % 3];
    const float *c = product_of(target, &p);
    bool ok = true;
    for (size_t j = 0; j < p.m * p.n; j++) ok &= (c[j] != c[j]) == (j / p.n == 1);
    expect(ok, target->target, kernel, "not finite, bits, block:", p.format.bits, p.format.block);
  }
}

/* An element's bits do not depend on the rows and columns that are computed with it. */
static void check_parts(const weft_kernels *target, const char *kernel, weft_code_format format) {
  size_t m = target->codes_rows, columns = target->gemm_columns, n = 11 * columns - 3;
  product p = make_product(format, m, 2 * format.block + 5, n);
  pack(target, PANELS, &p), quantize(target, ROWS, &p);
  float *c = slot_place(C, m * n * sizeof(float), 4);
  float *parts = slot_place(EXPECTED, m * n * sizeof(float), 4);
  multiply(target, &p, 0, m, 0, n, false, c, n);
  for (size_t rows = 1; rows <= m; rows++)
    for (size_t width = columns; width < n + columns; width += columns) {
      for (size_t i = 0; i < m; i += rows)
        for (size_t j = 0; j < n; j += width)
          multiply(target, &p, i, m - i < rows ? m - i : rows, j, n - j < width ? n - j : width,
                   false, parts, n);
      expect(memcmp(c, parts, m * n * sizeof(float)) == 0, target->target, kernel,
             "parts differ, bits, rows:", format.bits, (double)rows);
    }
}

void check_gemm_codes(const weft_kernels *target, const char *kernel, weft_gemm_codes_fn *f,
                      weft_gemm_codes_fn *reference, double tolerance) {
  (void)f, (void)reference;
  check_products(target, kernel, tolerance);
  check_extremes(target, kernel);
  check_not_finite(target, kernel);
  for (size_t i = 0; i < FORMATS; i++)
    if (format_at(i).block <= 64) check_parts(target, kernel, format_at(i));
}
