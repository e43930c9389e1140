/* Tests of the op `matmul`: shapes, numpy's broadcasting, strides, packed weights, epilogues,
 * types, against three loops in double. */
#include "base/buffer.h"
#include "tests/unit/cpu_step.h"

static const weft_attributes plain;

/* ---- the naive product
 * --------------------------------------------------------------------------- */

/* Matrices [batch..., rows, columns]; vectors as numpy does. */
typedef struct product {
  weft_array *a, *b, *out;
  int64_t m, n, k;
  int32_t batch_rank;
  int64_t batch[WEFT_RANK_MAX];
} product;

static int64_t batch_dim(const weft_array *array, int32_t rank, int32_t i) {
  int32_t from = i - rank + (array->rank - 2);
  return array->rank > 2 && from >= 0 ? array->dims[from] : 1;
}

static void shape_of(product *p) {
  const weft_array *a = p->a, *b = p->b;
  p->k = a->dims[a->rank - 1];
  p->m = a->rank > 1 ? a->dims[a->rank - 2] : 1;
  p->n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
  int32_t ra = a->rank > 2 ? a->rank - 2 : 0, rb = b->rank > 2 ? b->rank - 2 : 0;
  p->batch_rank = ra > rb ? ra : rb;
  for (int32_t i = 0; i < p->batch_rank; i++) {
    int64_t x = batch_dim(a, p->batch_rank, i), y = batch_dim(b, p->batch_rank, i);
    p->batch[i] = x == 1 ? y : x;
  }
}

static void make_output(bench *b, product *p, weft_dtype dtype) {
  int64_t dims[WEFT_RANK_MAX];
  shape_of(p);
  int32_t rank = p->batch_rank;
  memcpy(dims, p->batch, sizeof dims);
  if (p->a->rank > 1) dims[rank++] = p->m;
  if (p->b->rank > 1) dims[rank++] = p->n;
  p->out = bench_array(b, dtype, rank, dims, BENCH_DENSE);
}

/* Number of the matrix of `array` that belongs to batch `linear`. */
static uint64_t matrix_of(const product *p, const weft_array *array, uint64_t linear) {
  uint64_t found = 0, step = 1;
  for (int32_t i = p->batch_rank - 1; i >= 0; i--) {
    uint64_t at = linear % (uint64_t)p->batch[i],
             extent = (uint64_t)batch_dim(array, p->batch_rank, i);
    linear /= (uint64_t)p->batch[i];
    found += (extent == 1 ? 0 : at) * step;
    step *= extent;
  }
  return found;
}

static double element(const bench *b, const weft_array *array, uint64_t linear) {
  return array->dtype == WEFT_F32 ? (double)bench_f32(b, array, linear)
                                  : (double)bench_int(b, array, linear);
}

static double *dense_doubles(const bench *b, const weft_array *array) {
  double *out = malloc((size_t)(array->elements + 1) * sizeof *out);
  for (uint64_t i = 0; i < array->elements; i++) out[i] = element(b, array, i);
  return out;
}

/* The product in double; the caller frees it. */
static double *expected_product(const bench *bench, const product *p) {
  uint64_t n = (uint64_t)p->n, m = (uint64_t)p->m, k = (uint64_t)p->k;
  double *a = dense_doubles(bench, p->a), *b = dense_doubles(bench, p->b);
  double *out = calloc((size_t)p->out->elements + 1, sizeof *out);
  for (uint64_t row = 0; n > 0 && row < p->out->elements / n; row++) {
    const double *x = a + (matrix_of(p, p->a, row / m) * m + row % m) * k;
    const double *y = b + matrix_of(p, p->b, row / m) * k * n;
    for (uint64_t i = 0; i < k; i++)
      for (uint64_t j = 0; j < n; j++) out[row * n + j] += x[i] * y[i * n + j];
  }
  free(a);
  free(b);
  return out;
}

static void check_product(bench *b, const product *p,
                          double (*then)(double, const product *, uint64_t)) {
  uint64_t wrong = 0;
  double *expected = expected_product(b, p);
  for (uint64_t i = 0; i < p->out->elements; i++) {
    double value = then != NULL ? then(expected[i], p, i) : expected[i];
    wrong += !bench_close_to((float)element(b, p->out, i), value, 1e-5 + 4e-6 * (double)p->k);
  }
  free(expected);
  if (!CHECK_INT(wrong, 0))
    check_print("  m %lld n %lld k %lld ranks %d %d\n", (long long)p->m, (long long)p->n,
                (long long)p->k, p->a->rank, p->b->rank);
}

static void multiply(bench *b, product *p) {
  make_output(b, p, WEFT_F32);
  const weft_array *inputs[] = {p->a, p->b};
  CHECK_OK(bench_run(b, WEFT_OP_MATMUL, &plain, inputs, 2, p->out), &b->error);
  check_product(b, p, NULL);
}

/* ---- f32
 * ----------------------------------------------------------------------------------------- */

static void all_shapes(const char *kernels) {
  bench b;
  bench_open(&b, kernels, 1);
  for (int64_t m = 1; m <= 40; m += m < 14 ? 1 : 5)
    for (int64_t n = 1; n <= 40; n += n < 18 ? 1 : 7)
      for (int64_t k = 1; k <= 40; k += 13) {
        product p = {.a = bench_random(&b, WEFT_F32, 2, (int64_t[]){m, k}, BENCH_ROWS),
                     .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){k, n}, BENCH_RANDOM)};
        multiply(&b, &p);
        bench_clear(&b);
      }
  bench_close(&b);
}

static void test_shapes_reference(void) {
  all_shapes("reference");
}
static void test_shapes_best(void) {
  all_shapes(NULL);
}

/* Extents past every block size, on several threads. */
static void test_large(void) {
  static const int64_t sizes[][3] = {
      {300, 520, 70}, {7, 1200, 300}, {1, 700, 600}, {200, 2500, 40}};
  bench b;
  bench_open(&b, NULL, 3);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int64_t m = sizes[i][0], k = sizes[i][1], n = sizes[i][2];
    product p = {.a = bench_random(&b, WEFT_F32, 2, (int64_t[]){m, k}, BENCH_DENSE),
                 .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){k, n}, BENCH_DENSE)};
    multiply(&b, &p);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Random batch dimensions, each present, missing or 1 on either side; vectors on either side. */
static void test_broadcasts(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 400; round++) {
    int64_t batch[3], a[5], c[5], m = 1 + (int64_t)bench_below(&b, 20);
    int64_t n = 1 + (int64_t)bench_below(&b, 20), k = 1 + (int64_t)bench_below(&b, 20);
    int32_t ra = (int32_t)bench_below(&b, 4), rb = (int32_t)bench_below(&b, 4),
            full = ra > rb ? ra : rb;
    for (int32_t i = 0; i < full; i++) batch[i] = 1 + (int64_t)bench_below(&b, 4);
    for (int32_t i = 0; i < ra; i++) a[i] = bench_below(&b, 3) == 0 ? 1 : batch[full - ra + i];
    for (int32_t i = 0; i < rb; i++) c[i] = bench_below(&b, 3) == 0 ? 1 : batch[full - rb + i];
    bool vector_a = ra == 0 && bench_below(&b, 3) == 0,
         vector_b = rb == 0 && bench_below(&b, 3) == 0;
    if (!vector_a) a[ra++] = m;
    a[ra++] = k;
    c[rb++] = k;
    if (!vector_b) c[rb++] = n;
    bench_strides form = (bench_strides)bench_below(&b, 3);
    product p = {.a = bench_random(&b, WEFT_F32, ra, a, form),
                 .b = bench_random(&b, WEFT_F32, rb, c, form)};
    multiply(&b, &p);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_empty(void) {
  bench b;
  bench_open(&b, NULL, 1);
  product p = {.a = bench_random(&b, WEFT_F32, 2, (int64_t[]){3, 0}, BENCH_DENSE),
               .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){0, 40}, BENCH_DENSE)};
  multiply(&b, &p); /* sums of nothing */
  bench_clear(&b);
  product none = {.a = bench_random(&b, WEFT_F32, 3, (int64_t[]){0, 3, 4}, BENCH_DENSE),
                  .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){4, 5}, BENCH_DENSE)};
  multiply(&b, &none);
  bench_close(&b);
}

/* ---- packed weights
 * ------------------------------------------------------------------------------ */

static weft_status read_source(void *user, uint64_t offset, size_t length, void *destination) {
  memcpy(destination, (const uint8_t *)user + offset, length);
  return WEFT_OK;
}

static void pack(bench *b, weft_array *array, bool deferred, weft_buffer **out) {
  weft_value value = {
      .kind = WEFT_VALUE_CONSTANT, .dtype = WEFT_F32, .shape = {.rank = array->rank}};
  memcpy(value.shape.dims, array->dims, sizeof array->dims);
  weft_source source = {
      .size = array->elements * 4, .read = read_source, .user = b->bases[array->slot]};
  value.data = deferred ? weft_buffer_defer(&b->heap, &source, 0, source.size)
                        : weft_buffer_borrow(&b->heap, b->bases[array->slot], source.size);
  weft_graph graph = {.values = &value, .value_count = 1};
  weft_value_id ids[2] = {0, 0};
  weft_node node = {
      .op = WEFT_OP_MATMUL, .input_count = 2, .inputs = ids, .name = WEFT_STR("packs")};
  weft_layout layout = WEFT_LAYOUT_DENSE;
  CHECK_OK(b->device->pack(b->device, &graph, &node, 1, &b->heap, out, &layout, &b->error),
           &b->error);
  if (CHECK(*out != NULL)) CHECK_INT(layout, WEFT_LAYOUT_PANELS);
  weft_buffer_release(&value.data);
}

static void test_packed(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 60; round++) {
    int64_t m = 1 + (int64_t)bench_below(&b, 30), k = 1 + (int64_t)bench_below(&b, 900);
    int64_t n = 8 + (int64_t)bench_below(&b, 700), batch = 1 + (int64_t)bench_below(&b, 3);
    product p = {
        .a = bench_random(&b, WEFT_F32, 3, (int64_t[]){batch, m, k}, BENCH_ROWS),
        .b = bench_random(&b, WEFT_F32, 3, (int64_t[]){round % 2 ? 1 : batch, k, n}, BENCH_DENSE)};
    make_output(&b, &p, WEFT_F32);
    weft_buffer *packed = NULL;
    pack(&b, p.b, round % 4 < 2, &packed);
    weft_array panels = *p.b;
    panels.constant = packed->data;
    panels.layout = WEFT_LAYOUT_PANELS;
    const weft_array *inputs[] = {p.a, &panels};
    CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &plain, inputs, 2, p.out), &b.error);
    CHECK_TEXT(b.kernel, "gemm-panels");
    check_product(&b, &p, NULL);
    weft_buffer_release(&packed);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- epilogues
 * ----------------------------------------------------------------------------------- */

static const bench *epilogue_bench;
static const weft_array *epilogue_bias, *epilogue_residual;

static double bias_relu_residual(double sum, const product *p, uint64_t i) {
  double v = sum + (double)bench_f32(epilogue_bench, epilogue_bias, i % (uint64_t)p->n);
  return (v > 0 ? v : 0) + (double)bench_f32(epilogue_bench, epilogue_residual, i);
}

static void test_epilogue(void) {
  bench b;
  bench_open(&b, NULL, 3);
  weft_instruction code[] = {
      {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {0, 1}},
      {.op = WEFT_EXPR_RELU, .dtype = WEFT_F32, .operands = {3}},
      {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {4, 2}},
  };
  weft_attributes attributes = {.matmul.expr = {.input_count = 3,
                                                .code_count = 3,
                                                .input_dtypes = {WEFT_F32, WEFT_F32, WEFT_F32},
                                                .code = code}};
  for (int round = 0; round < 200; round++) {
    int64_t m = 1 + (int64_t)bench_below(&b, 60),
            n = 1 + (int64_t)bench_below(&b, round % 5 ? 70 : 900);
    int64_t k = 1 + (int64_t)bench_below(&b, 30), batch = 1 + (int64_t)bench_below(&b, 4);
    product p = {.a = bench_random(&b, WEFT_F32, 3, (int64_t[]){batch, m, k}, BENCH_DENSE),
                 .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){k, n}, BENCH_DENSE)};
    make_output(&b, &p, WEFT_F32);
    epilogue_bench = &b;
    epilogue_bias = bench_random(&b, WEFT_F32, 1, &n, BENCH_RANDOM);
    epilogue_residual =
        bench_random(&b, WEFT_F32, 3, (int64_t[]){batch, m, n}, (bench_strides)(round % 3));
    const weft_array *inputs[] = {p.a, p.b, epilogue_bias, epilogue_residual};
    CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &attributes, inputs, 4, p.out), &b.error);
    check_product(&b, &p, bias_relu_residual);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* The product is computed in one type and stored in another. */
static void test_epilogue_changes_type(void) {
  bench b;
  bench_open(&b, NULL, 2);
  weft_instruction code[] = {{.op = WEFT_EXPR_CONSTANT, .dtype = WEFT_F32, .immediate.f = 0.5},
                             {.op = WEFT_EXPR_LESS, .dtype = WEFT_BOOL, .operands = {1, 0}}};
  weft_attributes attributes = {
      .matmul.expr = {.input_count = 1, .code_count = 2, .input_dtypes = {WEFT_F32}, .code = code}};
  for (int64_t m = 1; m < 300; m += 97) {
    product p = {.a = bench_random(&b, WEFT_F32, 2, (int64_t[]){m, 9}, BENCH_DENSE),
                 .b = bench_random(&b, WEFT_F32, 2, (int64_t[]){9, 333}, BENCH_DENSE)};
    make_output(&b, &p, WEFT_BOOL);
    const weft_array *inputs[] = {p.a, p.b};
    CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &attributes, inputs, 2, p.out), &b.error);
    uint64_t wrong = 0;
    double *expected = expected_product(&b, &p);
    for (uint64_t i = 0; i < p.out->elements; i++) {
      if (expected[i] > 0.49999 && expected[i] < 0.50001) continue; /* rounding decides */
      wrong += bench_int(&b, p.out, i) != (expected[i] > 0.5);
    }
    free(expected);
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- other types
 * --------------------------------------------------------------------------------- */

static void test_integers(void) {
  static const weft_dtype types[] = {WEFT_I32, WEFT_I64, WEFT_U32, WEFT_U64, WEFT_U8};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 60; round++) {
    weft_dtype dtype = types[round % 5];
    int64_t m = 1 + (int64_t)bench_below(&b, 9), n = 1 + (int64_t)bench_below(&b, 9),
            k = (int64_t)bench_below(&b, 9);
    product p = {.a = bench_random(&b, dtype, 3, (int64_t[]){3, m, k}, BENCH_RANDOM),
                 .b = bench_random(&b, dtype, 2, (int64_t[]){k, n}, BENCH_RANDOM)};
    make_output(&b, &p, dtype);
    const weft_array *inputs[] = {p.a, p.b};
    CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &plain, inputs, 2, p.out), &b.error);
    uint64_t wrong = 0, mask = dtype == WEFT_U8 ? 0xff : UINT64_MAX;
    double *expected = expected_product(&b, &p);
    for (uint64_t i = 0; i < p.out->elements; i++)
      wrong += (uint64_t)bench_int(&b, p.out, i) != ((uint64_t)(int64_t)expected[i] & mask);
    free(expected);
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_doubles(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F64, 2, (int64_t[]){2, 3}, BENCH_DENSE);
  weft_array *y = bench_array(&b, WEFT_F64, 2, (int64_t[]){3, 1}, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_F64, 2, (int64_t[]){2, 1}, BENCH_DENSE);
  double a[] = {1, 1e-12, 2, 3, 4, 5}, c[] = {1, 1, -1};
  memcpy(b.bases[x->slot], a, sizeof a);
  memcpy(b.bases[y->slot], c, sizeof c);
  const weft_array *inputs[] = {x, y};
  CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &plain, inputs, 2, out), &b.error);
  const double *got = (const double *)(const void *)b.bases[out->slot];
  CHECK(got[0] == 1.0 + 1e-12 - 2.0);
  CHECK(got[1] == 2.0);
  bench_close(&b);
}

static void test_half(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F16, 2, (int64_t[]){2, 2}, BENCH_RANDOM);
  weft_array *y = bench_array(&b, WEFT_F16, 2, (int64_t[]){2, 1}, BENCH_RANDOM);
  weft_array *out = bench_array(&b, WEFT_F16, 2, (int64_t[]){2, 1}, BENCH_DENSE);
  int64_t a[] = {0x3c00, 0x4000, 0x4200, 0x4400}, c[] = {0x3800, 0x3400}; /* 1 2 3 4; 0.5 0.25 */
  for (uint64_t i = 0; i < 4; i++) bench_set_int(&b, x, i, a[i]);
  for (uint64_t i = 0; i < 2; i++) bench_set_int(&b, y, i, c[i]);
  const weft_array *inputs[] = {x, y};
  CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &plain, inputs, 2, out), &b.error);
  CHECK_INT(bench_int(&b, out, 0), 0x3c00); /* 1 */
  CHECK_INT(bench_int(&b, out, 1), 0x4100); /* 2.5 */
  bench_close(&b);
}

/* ---- threads
 * ------------------------------------------------------------------------------------- */

static void product_bytes(uint32_t threads, uint8_t *out, size_t bytes) {
  bench b;
  bench_open(&b, NULL, threads);
  product p = {.a = bench_random(&b, WEFT_F32, 3, (int64_t[]){2, 130, 1100}, BENCH_DENSE),
               .b = bench_random(&b, WEFT_F32, 3, (int64_t[]){2, 1100, 90}, BENCH_DENSE)};
  make_output(&b, &p, WEFT_F32);
  const weft_array *inputs[] = {p.a, p.b};
  CHECK_OK(bench_run(&b, WEFT_OP_MATMUL, &plain, inputs, 2, p.out), &b.error);
  memcpy(out, b.bases[p.out->slot], bytes);
  bench_close(&b);
}

static void test_threads_do_not_matter(void) {
  size_t bytes = 2 * 130 * 90 * sizeof(float);
  uint8_t *one = malloc(bytes), *many = malloc(bytes);
  product_bytes(1, one, bytes);
  for (uint32_t threads = 2; threads <= 5; threads++) {
    product_bytes(threads, many, bytes);
    CHECK(memcmp(one, many, bytes) == 0);
  }
  free(one);
  free(many);
}

int main(void) {
  CHECK_RUN(test_shapes_reference);
  CHECK_RUN(test_shapes_best);
  CHECK_RUN(test_large);
  CHECK_RUN(test_broadcasts);
  CHECK_RUN(test_empty);
  CHECK_RUN(test_packed);
  CHECK_RUN(test_epilogue);
  CHECK_RUN(test_epilogue_changes_type);
  CHECK_RUN(test_integers);
  CHECK_RUN(test_doubles);
  CHECK_RUN(test_half);
  CHECK_RUN(test_threads_do_not_matter);
  return check_result();
}
