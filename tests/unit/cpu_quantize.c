/* Tests of the ops `dequantize`, `quantize_dynamic` and `matmul_integer`, against their definitions
 * element by element. */
#include "tests/unit/cpu_step.h"

/* ---- dequantize ----------------------------------------------------------------------------- */

typedef enum form { SINGLE, VECTOR, BLOCKS } form;

/* y [a][b][c], quantized along `axis`. */
typedef struct grid {
  int64_t dims[3];
  int32_t axis;
  form form;
  int64_t block;
  uint32_t bits;
} grid;

static int64_t up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/* The shape of scales or zeros; answers the rank. */
static int32_t shape_of(const grid *g, int64_t dims[3]) {
  if (g->form == SINGLE) return 0;
  memcpy(dims, g->dims, sizeof g->dims);
  if (g->form == BLOCKS) {
    dims[g->axis] = up(g->dims[g->axis], g->block);
    return 3;
  }
  dims[0] = g->dims[g->axis];
  return 1;
}

/* Which scale or zero belongs to y[i][j][k]. */
static uint64_t index_of(const grid *g, const int64_t at[3]) {
  int64_t dims[3], here[3] = {at[0], at[1], at[2]};
  if (g->form == SINGLE) return 0;
  if (g->form == VECTOR) return (uint64_t)at[g->axis];
  shape_of(g, dims);
  here[g->axis] /= g->block;
  return (uint64_t)((here[0] * dims[1] + here[1]) * dims[2] + here[2]);
}

/* Random bytes; codes of few bits share them along the last axis. */
static weft_array *codes_array(bench *b, weft_dtype dtype, int32_t rank, const int64_t *dims,
                               uint32_t bits) {
  int64_t packed[3];
  for (int32_t i = 0; i < rank; i++) packed[i] = dims[i];
  if (rank > 0) packed[rank - 1] = up(packed[rank - 1] * bits, 8);
  weft_array *array = bench_array(b, dtype, rank, packed, BENCH_DENSE);
  for (uint64_t i = 0; i < array->elements; i++) {
    int64_t wide = dtype == WEFT_I32 ? (int64_t)bench_below(b, 1u << 30) - (1 << 29)
                                     : (int64_t)bench_below(b, 256);
    bench_set_int(b, array, i, wide);
  }
  return array;
}

/* Code number `index` of a table whose last axis has `last` codes. */
static int64_t code_at(const bench *b, const weft_array *array, uint64_t index, int64_t last,
                       uint32_t bits) {
  if (bits == 8) return bench_int(b, array, index);
  uint64_t bytes = (uint64_t)up(last * bits, 8), bit = index % (uint64_t)last * bits;
  int64_t byte = bench_int(b, array, index / (uint64_t)last * bytes + bit / 8);
  return (byte >> (bit % 8)) & ((1 << bits) - 1);
}

static void check_dequantize(bench *b, const grid *g, weft_dtype dtype, int zeros_kind) {
  int64_t dims[3] = {1, 1, 1};
  int32_t rank = shape_of(g, dims);
  const weft_array *codes = codes_array(b, dtype, 3, g->dims, g->bits);
  const weft_array *scales = bench_random(b, WEFT_F32, rank, dims, BENCH_DENSE), *zeros = NULL;
  int64_t zeros_last = rank > 0 ? dims[rank - 1] : 1;
  if (zeros_kind == 1) zeros = codes_array(b, dtype, rank, dims, g->bits);
  if (zeros_kind == 2) zeros = bench_random(b, WEFT_F32, rank, dims, BENCH_DENSE);
  const weft_array *y = bench_array(b, WEFT_F32, 3, g->dims, BENCH_DENSE);
  weft_attributes attributes = {.dequantize = {.dtype = WEFT_F32,
                                               .bits = g->bits,
                                               .axis = g->axis - 3 * (int32_t)bench_below(b, 2),
                                               .zero = 3,
                                               .block = g->form == BLOCKS ? g->block : 0,
                                               .extent = g->dims[2]}};
  const weft_array *inputs[] = {codes, scales, zeros};
  CHECK_OK(bench_run(b, WEFT_OP_DEQUANTIZE, &attributes, inputs, zeros ? 3 : 2, y), &b->error);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < y->elements; i++) {
    int64_t at[3] = {(int64_t)i / g->dims[2] / g->dims[1], (int64_t)i / g->dims[2] % g->dims[1],
                     (int64_t)i % g->dims[2]};
    uint64_t p = index_of(g, at);
    double code = (double)code_at(b, codes, i, g->dims[2], g->bits), zero = 3;
    if (zeros_kind == 1) zero = (double)code_at(b, zeros, p, zeros_last, g->bits);
    if (zeros_kind == 2) zero = (double)bench_f32(b, zeros, p);
    wrong += bench_f32(b, y, i) != (float)(code - zero) * bench_f32(b, scales, p);
  }
  if (!CHECK_INT(wrong, 0))
    check_print("  axis %d form %d bits %u zeros %d\n", g->axis, (int)g->form, g->bits, zeros_kind);
  bench_clear(b);
}

static void test_dequantize(void) {
  static const weft_dtype types[] = {WEFT_U8, WEFT_I8, WEFT_I32};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 600; round++) {
    grid g = {.dims = {1 + (int64_t)bench_below(&b, 4), 2 + (int64_t)bench_below(&b, 9),
                       3 + (int64_t)bench_below(&b, round % 20 ? 30 : 1200)},
              .axis = (int32_t)bench_below(&b, 3),
              .form = (form)bench_below(&b, 3),
              .block = 1 + (int64_t)bench_below(&b, 7),
              .bits = 2u << bench_below(&b, 3)};
    weft_dtype dtype = g.bits == 8 ? types[bench_below(&b, 3)] : WEFT_U8;
    check_dequantize(&b, &g, dtype, (int)bench_below(&b, 3));
  }
  bench_close(&b);
}

/* Numbers and scales of 16 bits: computed as f32, rounded once. */
static void test_dequantize_half(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *codes = bench_array(&b, WEFT_U8, 1, (int64_t[]){4}, BENCH_DENSE);
  weft_array *scale = bench_array(&b, WEFT_F16, 0, NULL, BENCH_DENSE);
  weft_array *y = bench_array(&b, WEFT_F16, 1, (int64_t[]){4}, BENCH_DENSE);
  for (uint64_t i = 0; i < 4; i++) bench_set_int(&b, codes, i, (int64_t)i);
  bench_set_int(&b, scale, 0, 0x3800); /* 0.5 */
  weft_attributes attributes = {.dequantize = {.dtype = WEFT_F16, .bits = 8, .zero = 1}};
  const weft_array *inputs[] = {codes, scale};
  CHECK_OK(bench_run(&b, WEFT_OP_DEQUANTIZE, &attributes, inputs, 2, y), &b.error);
  static const int64_t expected[] = {0xb800, 0, 0x3800, 0x3c00}; /* -0.5, 0, 0.5, 1 */
  for (uint64_t i = 0; i < 4; i++) CHECK_INT(bench_int(&b, y, i), expected[i]);
  bench_close(&b);
}

/* ---- quantize_dynamic ----------------------------------------------------------------------- */

/* Runs it on `count` numbers; codes, scale and zero are the bench's arrays 1, 2, 3. */
static void quantize(bench *b, const float *numbers, int64_t count) {
  weft_array *x = bench_array(b, WEFT_F32, 1, &count, BENCH_DENSE);
  weft_array *codes = bench_array(b, WEFT_U8, 1, &count, BENCH_DENSE);
  weft_array *scale = bench_array(b, WEFT_F32, 0, NULL, BENCH_DENSE);
  weft_array *zero = bench_array(b, WEFT_U8, 0, NULL, BENCH_DENSE);
  for (int64_t i = 0; i < count; i++) bench_set_f32(b, x, (uint64_t)i, numbers[i]);
  weft_node node = {.op = WEFT_OP_QUANTIZE_DYNAMIC, .name = WEFT_STR("tested")};
  const weft_array *inputs[] = {x}, *outputs[] = {codes, scale, zero};
  weft_step step = {
      .node = &node, .input_count = 1, .output_count = 3, .inputs = inputs, .outputs = outputs};
  CHECK_OK(bench_run_plan(b, &step), &b->error);
}

static void expect_codes(bench *b, float scale, int64_t zero, const uint8_t *codes, int64_t count) {
  CHECK(bench_f32(b, &b->arrays[2], 0) == scale);
  CHECK_INT(bench_int(b, &b->arrays[3], 0), zero);
  for (int64_t i = 0; i < count; i++) CHECK_INT(bench_int(b, &b->arrays[1], (uint64_t)i), codes[i]);
  bench_clear(b);
}

/* Worked by hand from the definition: the range takes in 0, ties go to the even code. */
static void test_quantize_dynamic(void) {
  bench b;
  bench_open(&b, NULL, 1);
  quantize(&b, (float[]){0, 255, 0.5f, 1.5f, 2.5f, 100}, 6);
  expect_codes(&b, 1, 0, (uint8_t[]){0, 255, 0, 2, 2, 100}, 6);
  quantize(&b, (float[]){10, 255}, 2); /* not from 10 on */
  expect_codes(&b, 1, 0, (uint8_t[]){10, 255}, 2);
  quantize(&b, (float[]){-127.5f, 127.5f, 0}, 3); /* zero 127.5: 128; the largest saturates */
  expect_codes(&b, 1, 128, (uint8_t[]){0, 255, 128}, 3);
  quantize(&b, (float[]){-255, -1}, 2);
  expect_codes(&b, 1, 255, (uint8_t[]){0, 254}, 2);
  quantize(&b, (float[]){0, 0}, 2);
  expect_codes(&b, 1, 0, (uint8_t[]){0, 0}, 2);
  quantize(&b, NULL, 0);
  expect_codes(&b, 1, 0, NULL, 0);
  bench_close(&b);
}

/* Nothing is known of the codes of what is not finite, but that they are made. */
static void test_quantize_what_is_not_finite(void) {
  bench b;
  bench_open(&b, NULL, 1);
  float numbers[] = {__builtin_inff(), -__builtin_inff(), __builtin_nanf(""), 1, 3e38f, -3e38f};
  for (int64_t first = 0; first < 6; first++) {
    quantize(&b, numbers + first, 6 - first);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_quantize_on_threads(void) {
  enum { COUNT = 100000 };
  static float numbers[COUNT];
  static uint8_t codes[COUNT];
  bench b;
  bench_open(&b, NULL, 3);
  for (int i = 0; i < COUNT; i++) {
    codes[i] = (uint8_t)bench_below(&b, 256);
    numbers[i] = (float)(codes[i] - 100) * 0.25f;
  }
  codes[0] = 0, numbers[0] = -25;
  codes[1] = 255, numbers[1] = 38.75f;
  quantize(&b, numbers, COUNT);
  CHECK(memcmp(b.bases[2], codes, COUNT) == 0);
  CHECK_INT(bench_int(&b, &b.arrays[3], 0), 100);
  bench_close(&b);
}

/* ---- matmul_integer ------------------------------------------------------------------------- */

static const weft_array *zero_points(bench *b, weft_dtype dtype, int64_t length) {
  uint64_t kind = bench_below(b, 3); /* none, one, one for each */
  if (kind == 0) return NULL;
  if (kind == 1) length = 1;
  return codes_array(b, dtype, length == 1 && bench_below(b, 2) ? 0 : 1, &length, 8);
}

static int64_t zero_of(const bench *b, const weft_array *zeros, uint64_t index) {
  return zeros == NULL ? 0 : bench_int(b, zeros, zeros->elements > 1 ? index : 0);
}

static void test_matmul_integer(void) {
  static const weft_attributes none;
  static const weft_dtype types[] = {WEFT_U8, WEFT_I8};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 200; round++) {
    int64_t m = 1 + (int64_t)bench_below(&b, 9), n = 1 + (int64_t)bench_below(&b, 40);
    int64_t k = (int64_t)bench_below(&b, round % 10 ? 40 : 900), batch = 1 + round % 3;
    weft_dtype at = types[round % 2], bt = types[round / 2 % 2];
    weft_array *a = codes_array(&b, at, 3, (int64_t[]){batch, m, k}, 8);
    weft_array *w = round % 4 < 2 ? codes_array(&b, bt, 2, (int64_t[]){k, n}, 8)
                                  : codes_array(&b, bt, 3, (int64_t[]){batch, k, n}, 8);
    const weft_array *za = zero_points(&b, at, m), *zb = zero_points(&b, bt, n);
    weft_array *y = bench_array(&b, WEFT_I32, 3, (int64_t[]){batch, m, n}, BENCH_DENSE);
    const weft_array *inputs[] = {a, w, za, zb};
    CHECK_OK(bench_run(&b, WEFT_OP_MATMUL_INTEGER, &none, inputs, 4, y), &b.error);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < y->elements; i++) {
      uint64_t row = i / (uint64_t)n, j = i % (uint64_t)n, r = row % (uint64_t)m;
      uint64_t matrix = w->rank == 3 ? row / (uint64_t)m * (uint64_t)(k * n) : 0;
      int64_t sum = 0;
      for (uint64_t p = 0; p < (uint64_t)k; p++)
        sum += (bench_int(&b, a, row * (uint64_t)k + p) - zero_of(&b, za, r)) *
               (bench_int(&b, w, matrix + p * (uint64_t)n + j) - zero_of(&b, zb, j));
      wrong += bench_int(&b, y, i) != sum;
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_dequantize);
  CHECK_RUN(test_dequantize_half);
  CHECK_RUN(test_quantize_dynamic);
  CHECK_RUN(test_quantize_what_is_not_finite);
  CHECK_RUN(test_quantize_on_threads);
  CHECK_RUN(test_matmul_integer);
  return check_result();
}
