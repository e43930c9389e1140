/* Ops on rows on the GPU: softmax and norm, against the CPU's reference. */
#include "tests/gpu/gpu_step.h"

/* Lengths of rows around the sizes of teams and of what a lane keeps. */
static const int64_t lengths[] = {1,   3,   4,    7,    8,    31,   32,   60,   64,   127,   128,
                                  130, 384, 1000, 1024, 1028, 2048, 4097, 8192, 8200, 12000, 1536};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static weft_dtype float_type(int round) {
  return round % 3 == 2 ? WEFT_F16 : WEFT_F32;
}

/* ---- softmax --------------------------------------------------------------------------------- */

static void check_softmax(gpu_bench *g, const weft_array *x, int32_t axis, bool to_end, bool log) {
  weft_array *y = bench_array(&g->cpu, x->dtype, x->rank, x->dims, BENCH_DENSE);
  weft_attributes attributes = {.softmax = {.axis = axis, .log = log, .to_end = to_end}};
  gpu_check(g, WEFT_OP_SOFTMAX, &attributes, &x, 1, y, (gpu_tolerance){log ? 4e-6 : 1e-9, 8e-6});
}

static void test_softmax(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int k = 0; k < 2 * LENGTHS; k++) {
    int64_t n = lengths[k / 2], rows = k % 2 ? 1 + (int64_t)bench_below(b, 5) : 80;
    if (n > 2000 && rows > 5) rows = 65;
    const int64_t dims[2] = {rows, n};
    check_softmax(g, bench_random(b, float_type(k), 2, dims, BENCH_DENSE), 1, false, k % 4 == 3);
    bench_clear(b);
  }
}

/* Along other axes than the last. */
static void test_softmax_axes(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 30; round++) {
    int64_t dims[4];
    for (int i = 0; i < 4; i++) dims[i] = 1 + (int64_t)bench_below(b, 9);
    weft_array *x = bench_random(b, float_type(round), 4, dims, BENCH_RANDOM);
    check_softmax(g, x, (int32_t)bench_below(b, 4) - (round % 2 ? 4 : 0), round % 5 == 0,
                  round % 4 == 1);
    bench_clear(b);
  }
}

/* Masked elements, rows that are all masked, and numbers that are none. */
static void test_softmax_special(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[2] = {8, 132};
  weft_array *x = bench_random(b, WEFT_F32, 2, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < 132; i++) {
    bench_set_f32(b, x, 132 + i, -__builtin_inff());             /* NaN everywhere */
    bench_set_f32(b, x, 264 + i, i % 3 ? -__builtin_inff() : 1); /* a third each */
    bench_set_f32(b, x, 396 + i, -3.0e38f);
    bench_set_f32(b, x, 528 + i, 3.0e38f);
    bench_set_f32(b, x, 660 + i, i == 5 ? __builtin_nanf("") : 1);
    bench_set_f32(b, x, 792 + i, (float)i * 1000);
  }
  check_softmax(g, x, 1, false, false);
  check_softmax(g, x, 0, false, false);
}

/* A million short rows: workgroups in two dimensions. */
static void test_softmax_many(gpu_bench *g) {
  const int64_t dims[2] = {8 * 65535 + 9, 4};
  check_softmax(g, bench_random(&g->cpu, WEFT_F32, 2, dims, BENCH_DENSE), 1, false, false);
}

/* ---- norm ------------------------------------------------------------------------------------ */

static void check_norm(gpu_bench *g, const weft_array *const *inputs, uint32_t count, int32_t axis,
                       weft_norm_kind kind) {
  const weft_array *x = inputs[0];
  weft_array *y = bench_array(&g->cpu, x->dtype, x->rank, x->dims, BENCH_DENSE);
  weft_attributes attributes = {.norm = {.kind = kind, .axis = axis, .epsilon = 1e-5f}};
  gpu_check(g, WEFT_OP_NORM, &attributes, inputs, count, y, (gpu_tolerance){4e-6, 4e-6});
}

static void test_norm(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int k = 0; k < 4 * LENGTHS; k++) {
    int64_t n = lengths[k / 4], rows = k % 2 ? 1 + (int64_t)bench_below(b, 5) : 80;
    if (n > 2000 && rows > 5) rows = 65;
    const int64_t dims[2] = {rows, n};
    weft_dtype dtype = float_type(k);
    const weft_array *inputs[] = {bench_random(b, dtype, 2, dims, (bench_strides)(k / 4 % 2)),
                                  bench_random(b, dtype, 1, &n, BENCH_DENSE),
                                  bench_random(b, dtype, 1, &n, BENCH_DENSE)};
    check_norm(g, inputs, k % 8 < 4 ? 2 : 3, -1, k % 4 < 2 ? WEFT_NORM_LAYER : WEFT_NORM_RMS);
    bench_clear(b);
  }
}

/* Rows over several dimensions, strided ones, scales that repeat. */
static void test_norm_shapes(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 40; round++) {
    int64_t dims[4] = {1 + (int64_t)bench_below(b, 4), 1 + (int64_t)bench_below(b, 4),
                       1 + (int64_t)bench_below(b, 9), 4 * (1 + (int64_t)bench_below(b, 9))};
    int32_t axis = 2 + (int32_t)bench_below(b, 2);
    weft_array *x = bench_random(b, WEFT_F32, 4, dims, BENCH_DENSE), turned = *x;
    if (round % 2) { /* heads first, as a view */
      turned.dims[0] = dims[1], turned.dims[1] = dims[0];
      turned.strides[0] = x->strides[1], turned.strides[1] = x->strides[0];
    }
    bool repeats = round % 4 == 3;
    const weft_array *inputs[] = {&turned, bench_random(b, WEFT_F32, repeats ? 1 : 4 - axis,
                                                        dims + (repeats ? 3 : axis), BENCH_DENSE)};
    check_norm(g, inputs, 2, axis, round % 3 ? WEFT_NORM_RMS : WEFT_NORM_LAYER);
    bench_clear(b);
  }
}

/* Large means do not cancel; a NaN stays in its row. */
static void test_norm_special(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[2] = {3, 256};
  weft_array *x = bench_random(b, WEFT_F32, 2, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < 256; i++) bench_set_f32(b, x, 256 + i, 1000.0f + (float)(i % 7));
  bench_set_f32(b, x, 3, __builtin_nanf(""));
  const weft_array *inputs[] = {x, bench_random(b, WEFT_F32, 1, dims + 1, BENCH_DENSE)};
  check_norm(g, inputs, 2, 1, WEFT_NORM_LAYER);
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {
      GPU_TEST(test_softmax),      GPU_TEST(test_softmax_axes), GPU_TEST(test_softmax_special),
      GPU_TEST(test_softmax_many), GPU_TEST(test_norm),         GPU_TEST(test_norm_shapes),
      GPU_TEST(test_norm_special)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
