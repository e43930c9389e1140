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

enum { NO_MASK, ONE_ROW, ONE_HEAD, ROWS, MASKS };

typedef struct attention_case {
  size_t heads, queries, keys, head_size, value_size, window;
  ptrdiff_t position;
  unsigned mask;
  bool causal, sink, log_sum;
  float softcap;
} attention_case;

static float *place_matrix(unsigned slot, size_t rows, size_t stride, size_t columns, fill kind) {
  size_t n = rows ? (rows - 1) * stride + columns : 0;
  float *x = slot_place(slot, n * sizeof(float), 4);
  fill_floats(kind, n, x);
  return x;
}

/* Some masked here and there, and all keys of one row. */
static void place_mask(const attention_case *c, weft_attention_f32_args *args) {
  size_t rows = 1;
  if (c->mask != ONE_ROW) args->mask_stride = c->keys + 2, rows = c->queries;
  if (c->mask == ROWS) args->mask_head_stride = c->queries * (c->keys + 2), rows *= c->heads;
  float *mask = place_matrix(3, rows, args->mask_stride, c->keys, FILL_SMALL);
  for (size_t r = 0; r < rows; r++)
    for (size_t t = 0; t < c->keys; t++)
      if (random_u32() % 4 == 0 || (rows > 1 && r == 1))
        mask[r * args->mask_stride + t] = -__builtin_inff();
  args->mask = mask;
}

/* Heads lie side by side, as in the product that made them. */
static weft_attention_f32_args place_case(const attention_case *c, size_t *out_floats) {
  size_t wide = (c->heads + 2) * c->head_size + 1, v_stride = c->value_size + 5;
  size_t out_stride = c->heads * c->value_size + 1;
  weft_attention_f32_args args = {.heads = c->heads,
                                  .queries = c->queries,
                                  .keys = c->keys,
                                  .head_size = c->head_size,
                                  .value_size = c->value_size,
                                  .q_head_stride = c->head_size,
                                  .q_stride = wide,
                                  .k_stride = wide,
                                  .v_stride = v_stride,
                                  .causal = c->causal,
                                  .window = c->window,
                                  .position = c->position,
                                  .scale = 0.25f,
                                  .softcap = c->softcap,
                                  .out_head_stride = c->value_size,
                                  .out_stride = out_stride};
  args.q = place_matrix(0, c->queries, wide, c->heads * c->head_size, FILL_WIDE);
  args.k = place_matrix(1, c->keys, wide, c->head_size, FILL_SMALL);
  args.v = place_matrix(2, c->keys, v_stride, c->value_size, FILL_SMALL);
  if (c->mask != NO_MASK) place_mask(c, &args);
  *out_floats = (c->queries - 1) * out_stride + c->heads * c->value_size;
  return args;
}

/* A score is off by units of the products it adds up, of the sink, and by those of tanh times the
 * cap; a weight, its exponential, by as many of itself; |v| is below 1, and so is what is in `out`
 * elsewhere. */
static double worst_error(size_t n, const float *got, const float *expected,
                          const attention_case *c) {
  double score_size = 0.25 * 20 * 0.5 * (double)c->head_size, worst = 0;
  score_size += (c->sink ? 20 : 0) + 4 * (double)c->softcap;
  for (size_t i = 0; i < n; i++) {
    double error = error_ulp(got[i], expected[i], 0.5 + score_size / 2);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

static void check_attention(const weft_kernels *target, const char *kernel,
                            weft_attention_f32_fn *f, weft_attention_f32_fn *reference,
                            double tolerance, const attention_case *c) {
  static float sink[64], log_sums[2][64];
  size_t n, rows = c->heads * c->queries;
  weft_attention_f32_args args = place_case(c, &n);
  fill_floats(FILL_WIDE, c->heads, sink);
  if (c->sink) args.sink = sink;
  float *expected = args.out = slot_place(4, n * sizeof(float), 4);
  args.scratch = slot_place(5, reference_target()->attention_scratch(&args) * sizeof(float), 64);
  fill_floats(FILL_SMALL, n, expected);
  float *got = slot_place(6, n * sizeof(float), 4);
  memcpy(got, expected, n * sizeof(float));
  if (c->log_sum) args.log_sum = log_sums[0];
  reference(&args);
  args.out = got;
  args.scratch = slot_place(7, target->attention_scratch(&args) * sizeof(float), 64);
  if (c->log_sum) args.log_sum = log_sums[1];
  f(&args);
  double worst = worst_error(n, got, expected, c);
  double worst_log = c->log_sum ? worst_error(rows, log_sums[1], log_sums[0], c) : 0;
  if (!(worst_log <= worst)) worst = worst_log;
  if (worst > largest_error) largest_error = worst;
  expect(worst <= tolerance, target->target, kernel, "rows, keys:", (double)rows, (double)c->keys);
  expect(slot_intact(6) && slot_intact(7), target->target, kernel,
         "wrote outside, rows, keys:", (double)rows, (double)c->keys);
}

static size_t one_of(const size_t *numbers, size_t count) {
  return numbers[random_u32() % count];
}
#define ONE_OF(...)                                                                                \
  one_of((const size_t[]){__VA_ARGS__}, sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t))

void check_attention_f32(const weft_kernels *target, const char *kernel, weft_attention_f32_fn *f,
                         weft_attention_f32_fn *reference, double tolerance) {
  for (size_t i = 0; i < 1500; i++) {
    attention_case c = {.heads = ONE_OF(1, 1, 2, 3, 7, 8, 20),
                        .queries = ONE_OF(1, 1, 2, 3, 5, 6, 8, 9, 16, 17, 33, 64),
                        .keys = ONE_OF(0, 1, 2, 7, 95, 97, 200, 256, 257, 512),
                        .head_size = ONE_OF(1, 3, 8, 32, 33, 64, 80),
                        .value_size = ONE_OF(1, 3, 8, 32, 33, 64, 80),
                        .window = ONE_OF(0, 0, 1, 2, 20, 130, 1000),
                        .mask = random_u32() % MASKS,
                        .causal = random_u32() % 2,
                        .sink = random_u32() % 3 == 0,
                        .log_sum = random_u32() % 2,
                        .softcap = random_u32() % 4 ? 0 : 5};
    while (c.heads * c.queries > target->attention_rows) c.heads = c.heads > 1 ? c.heads / 2 : 1;
    ptrdiff_t positions[] = {0, (ptrdiff_t)c.keys - (ptrdiff_t)c.queries, (ptrdiff_t)c.keys, -20};
    c.position = positions[random_u32() % 4];
    check_attention(target, kernel, f, reference, tolerance, &c);
  }
}
