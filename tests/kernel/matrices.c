/* matrices.c - as families.c, for packing, matrix products and attention. The expected values are
 * the reference target's, whose panels are packed by itself. */
#include "base/memory.h"
#include "tests/kernel/check.h"

static const weft_kernels *reference_target(void) {
  return weft_kernels_find("reference", 0);
}

static size_t packed_floats(const weft_kernels *target, size_t k, size_t n) {
  return (n + target->gemm_columns - 1) / target->gemm_columns * target->gemm_columns * k;
}

/* ---- packing
 * ------------------------------------------------------------------------------------- */

static void check_pack(const weft_kernels *target, const char *kernel, weft_gemm_pack_f32_fn *f,
                       size_t k, size_t n, bool transposed, size_t gap) {
  size_t columns = target->gemm_columns, stride = (transposed ? k : n) + gap;
  float *b = slot_place(0, stride * ((transposed ? n : k) - 1) * 4 + (transposed ? k : n) * 4, 4);
  float *to = slot_place(1, packed_floats(target, k, n) * sizeof(float), 64);
  size_t row_stride = transposed ? 1 : stride, column_stride = transposed ? stride : 1;
  for (size_t i = 0; i < k; i++)
    for (size_t j = 0; j < n; j++) b[i * row_stride + j * column_stride] = random_range(-1, 1);
  f(k, n, b, (ptrdiff_t)row_stride, (ptrdiff_t)column_stride, to);
  bool ok = true;
  for (size_t j = 0; j < packed_floats(target, 1, n); j++)
    for (size_t i = 0; i < k; i++) {
      float got = to[j / columns * columns * k + i * columns + j % columns];
      ok &= got == (j < n ? b[i * row_stride + j * column_stride] : 0);
    }
  expect(ok, target->target, kernel, transposed ? "transposed, k, n:" : "k, n:", (double)k,
         (double)n);
  expect(slot_intact(1), target->target, kernel, "wrote outside, k, n:", (double)k, (double)n);
}

void check_gemm_pack_f32(const weft_kernels *target, const char *kernel, weft_gemm_pack_f32_fn *f,
                         weft_gemm_pack_f32_fn *reference, double tolerance) {
  (void)reference, (void)tolerance; /* targets differ in layout: checked against its definition */
  static const size_t depths[] = {1, 2, 3, 4, 5, 7, 8, 9, 31, 32};
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
    for (size_t n = 1; n < 3 * target->gemm_columns; n++)
      for (unsigned variant = 0; variant < 4; variant++)
        check_pack(target, kernel, f, depths[i], n, variant & 1, variant & 2 ? 3 : 0);
}

/* ---- matrix product
 * ------------------------------------------------------------------------------ */

static void check_product(const weft_kernels *target, const char *kernel, weft_gemm_f32_fn *f,
                          weft_gemm_f32_fn *reference, double tolerance, size_t m, size_t n,
                          size_t k, bool accumulate) {
  size_t lda = k + random_u32() % 3, ldc = n + random_u32() % 3;
  float *a = slot_place(0, ((m - 1) * lda + k) * sizeof(float), 4);
  float *b = slot_place(1, k * n * sizeof(float), 4);
  float *panels = slot_place(2, packed_floats(target, k, n) * sizeof(float), 64);
  float *reference_panels =
      slot_place(3, packed_floats(reference_target(), k, n) * sizeof(float), 64);
  size_t c_bytes = ((m - 1) * ldc + n) * sizeof(float);
  float *c = slot_place(4, c_bytes, 4), *expected = slot_place(5, c_bytes, 4);
  fill_floats(FILL_SMALL, (m - 1) * lda + k, a);
  fill_floats(FILL_SMALL, k * n, b);
  fill_floats(FILL_SMALL, (m - 1) * ldc + n, c);
  memcpy(expected, c, c_bytes);
  target->gemm_pack_f32(k, n, b, (ptrdiff_t)n, 1, panels);
  reference_target()->gemm_pack_f32(k, n, b, (ptrdiff_t)n, 1, reference_panels);
  weft_gemm_f32_args args = {m, n, k, a, lda, panels, k * target->gemm_columns, c, ldc, accumulate};
  f(&args);
  args.b = reference_panels, args.b_panel = k * reference_target()->gemm_columns;
  args.c = expected;
  reference(&args);
  double worst = 0;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      double size = accumulate;
      for (size_t p = 0; p < k; p++)
        size += __builtin_fabs((double)a[i * lda + p] * (double)b[p * n + j]);
      double error = error_ulp(c[i * ldc + j], expected[i * ldc + j], size);
      if (!(error <= worst)) worst = error;
      c[i * ldc + j] = expected[i * ldc + j];
    }
  if (worst > largest_error) largest_error = worst;
  expect(worst <= tolerance, target->target, kernel, "m, n:", (double)m, (double)n);
  expect(memcmp(c, expected, c_bytes) == 0, target->target, kernel,
         "wrote between rows, m, n:", (double)m, (double)n);
  expect(slot_intact(4), target->target, kernel, "wrote outside, m, n:", (double)m, (double)n);
}

/* A row's result has the same bits whatever rows are computed with it. */
static void check_rows_alone(const weft_kernels *target, const char *kernel, weft_gemm_f32_fn *f) {
  size_t m = target->gemm_rows, k = 77, n = 5 * target->gemm_columns - 3;
  float *a = slot_place(0, m * k * sizeof(float), 4), *b = slot_place(1, k * n * sizeof(float), 4);
  float *panels = slot_place(2, packed_floats(target, k, n) * sizeof(float), 64);
  float *c = slot_place(3, m * n * sizeof(float), 4),
        *one = slot_place(4, m * n * sizeof(float), 4);
  fill_floats(FILL_SMALL, m * k, a), fill_floats(FILL_SMALL, k * n, b);
  target->gemm_pack_f32(k, n, b, (ptrdiff_t)n, 1, panels);
  f(&(weft_gemm_f32_args){m, n, k, a, k, panels, k * target->gemm_columns, c, n, false});
  for (size_t group = 1; group < m; group++) {
    for (size_t i = 0; i < m; i += group)
      f(&(weft_gemm_f32_args){m - i < group ? m - i : group, n, k, a + i * k, k, panels,
                              k * target->gemm_columns, one + i * n, n, false});
    expect(memcmp(c, one, m * n * sizeof(float)) == 0, target->target, kernel,
           "rows alone differ, group:", (double)group, 0);
  }
}

void check_gemm_f32(const weft_kernels *target, const char *kernel, weft_gemm_f32_fn *f,
                    weft_gemm_f32_fn *reference, double tolerance) {
  static const size_t depths[] = {1, 2, 3, 4, 5, 7, 8, 9, 33, 384, 1000};
  for (size_t i = 0; i < sizeof depths / sizeof *depths; i++)
    for (size_t m = 1; m <= target->gemm_rows; m++) {
      size_t columns = target->gemm_columns;
      const size_t widths[] = {
          1,           2,       3,           columns / 2 - 1, columns / 2, columns / 2 + 1,
          columns - 1, columns, columns + 1, 2 * columns,     4 * columns, 5 * columns + 3};
      for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
        check_product(target, kernel, f, reference, tolerance, m, widths[j], depths[i],
                      (i + j) % 2);
    }
  check_rows_alone(target, kernel, f);
}

/* ---- attention
 * ----------------------------------------------------------------------------------- */

enum { NO_MASK, ONE_ROW, ROWS, MASKS };

typedef struct attention_case {
  size_t rows, keys, head_size, value_size;
  unsigned mask;
  bool causal;
} attention_case;

static float *place_matrix(unsigned slot, size_t rows, size_t stride, size_t columns, fill kind) {
  size_t n = rows ? (rows - 1) * stride + columns : 0;
  float *x = slot_place(slot, n * sizeof(float), 4);
  fill_floats(kind, n, x);
  return x;
}

static float *place_mask(const attention_case *c, size_t stride) {
  float *mask = place_matrix(3, stride ? c->rows : 1, stride, c->keys, FILL_SMALL);
  for (size_t r = 0; r < (stride ? c->rows : 1); r++)
    for (size_t t = 0; t < c->keys; t++)
      if (random_u32() % 4 == 0 || (stride && r == 1)) mask[r * stride + t] = -__builtin_inff();
  return mask;
}

static void check_attention(const weft_kernels *target, const char *kernel,
                            weft_attention_f32_fn *f, weft_attention_f32_fn *reference,
                            double tolerance, const attention_case *c) {
  size_t wide = 3 * c->head_size + 1, v_stride = c->value_size + 5, out_stride = c->value_size + 1;
  weft_attention_f32_args args = {.rows = c->rows,
                                  .keys = c->keys,
                                  .head_size = c->head_size,
                                  .value_size = c->value_size,
                                  .q = place_matrix(0, c->rows, wide, c->head_size, FILL_WIDE),
                                  .q_stride = wide,
                                  .k = place_matrix(1, c->keys, wide, c->head_size, FILL_SMALL),
                                  .k_stride = wide,
                                  .v =
                                      place_matrix(2, c->keys, v_stride, c->value_size, FILL_SMALL),
                                  .v_stride = v_stride,
                                  .causal = c->causal,
                                  .causal_offset = c->keys > c->rows ? c->keys - c->rows : 0,
                                  .scale = 0.25f,
                                  .out_stride = out_stride};
  if (c->mask != NO_MASK) {
    args.mask_stride = c->mask == ROWS ? c->keys + 2 : 0;
    args.mask = place_mask(c, args.mask_stride);
  }
  size_t out_floats = (c->rows - 1) * out_stride + c->value_size;
  float *expected = args.out = slot_place(4, out_floats * sizeof(float), 4);
  args.scratch = slot_place(5, reference_target()->attention_scratch(&args) * sizeof(float), 64);
  fill_floats(FILL_SMALL, out_floats, expected);
  float *got = slot_place(6, out_floats * sizeof(float), 4);
  memcpy(got, expected, out_floats * sizeof(float));
  reference(&args);
  args.out = got;
  args.scratch = slot_place(7, target->attention_scratch(&args) * sizeof(float), 64);
  f(&args);
  /* A score is off by units of the products it adds up, and a weight, its exponential, by as many
   * of itself; |v| is below 1. */
  double score_size = 0.25 * 20 * 0.5 * (double)c->head_size, worst = 0;
  for (size_t i = 0; i < out_floats; i++) {
    double error = error_ulp(got[i], expected[i], 0.5 + score_size / 2);
    if (!(error <= worst)) worst = error;
  }
  if (worst > largest_error) largest_error = worst;
  expect(worst <= tolerance, target->target, kernel, "rows, keys:", (double)c->rows,
         (double)c->keys);
  expect(slot_intact(6) && slot_intact(7), target->target, kernel,
         "wrote outside, rows, keys:", (double)c->rows, (double)c->keys);
}

void check_attention_f32(const weft_kernels *target, const char *kernel, weft_attention_f32_fn *f,
                         weft_attention_f32_fn *reference, double tolerance) {
  static const size_t rows[] = {1, 2, 3, 5, 6, 7, 8, 9, 16, 17, 33, 64},
                      keys[] = {1, 2, 7, 95, 96, 97, 200, 512};
  static const size_t heads[] = {1, 3, 8, 32, 33, 64, 80};
  for (size_t i = 0; i < 400; i++) {
    attention_case c = {.rows = rows[random_u32() % (sizeof rows / sizeof *rows)],
                        .keys = keys[random_u32() % (sizeof keys / sizeof *keys)],
                        .head_size = heads[random_u32() % (sizeof heads / sizeof *heads)],
                        .value_size = heads[random_u32() % (sizeof heads / sizeof *heads)],
                        .mask = random_u32() % MASKS,
                        .causal = random_u32() % 2};
    check_attention(target, kernel, f, reference, tolerance, &c);
  }
}
