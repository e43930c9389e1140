/* Ops on rows on the GPU: softmax and norm, against the CPU's reference. */
#include "tests/gpu/gpu_step.h"

/* Lengths of rows around the sizes of teams and of what a lane keeps. Each is a few shaders, so
 * that what else varies takes turns. */
static const int64_t lengths[] = {1,   3,    4,    7,    32,   60,   64,   130,
                                  384, 1000, 1028, 2048, 4097, 8192, 8200, 12000};
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
  for (int k = 0; k < 4; k++) check_softmax(g, x, k / 2, false, k % 2);
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
  for (int k = 0; k < 2 * LENGTHS; k++) {
    int64_t n = lengths[k / 2], rows = k % 2 ? 1 + (int64_t)bench_below(b, 5) : 80;
    if (n > 2000 && rows > 5) rows = 65;
    const int64_t dims[2] = {rows, n};
    weft_dtype dtype = float_type(k);
    const weft_array *inputs[] = {bench_random(b, dtype, 2, dims, (bench_strides)(k / 2 % 2)),
                                  bench_random(b, dtype, 1, &n, BENCH_DENSE),
                                  bench_random(b, dtype, 1, &n, BENCH_DENSE)};
    check_norm(g, inputs, k % 8 < 4 ? 2 : 3, -1, k % 3 ? WEFT_NORM_LAYER : WEFT_NORM_RMS);
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

/* Large means do not cancel; a NaN and an infinity stay in their rows. */
static void test_norm_special(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[2] = {4, 256};
  weft_array *x = bench_random(b, WEFT_F32, 2, dims, BENCH_DENSE);
  bench_set_f32(b, x, 800, -__builtin_inff());
  for (uint64_t i = 0; i < 256; i++) bench_set_f32(b, x, 256 + i, 1000.0f + (float)(i % 7));
  bench_set_f32(b, x, 3, __builtin_nanf(""));
  const weft_array *inputs[] = {x, bench_random(b, WEFT_F32, 1, dims + 1, BENCH_DENSE)};
  check_norm(g, inputs, 2, 1, WEFT_NORM_LAYER);
  check_norm(g, inputs, 2, 1, WEFT_NORM_RMS);
}

/* ---- reduce ---------------------------------------------------------------------------------- */

static const weft_array *kept_array(bench *b, weft_dtype dtype, const weft_array *x,
                                    const bool *folded, bool keep_dims) {
  int64_t dims[WEFT_RANK_MAX];
  int32_t rank = 0;
  for (int32_t i = 0; i < x->rank; i++)
    if (!folded[i] || keep_dims) dims[rank++] = folded[i] ? 1 : x->dims[i];
  return bench_array(b, dtype, rank, dims, BENCH_DENSE);
}

static void check_reduce(gpu_bench *g, const weft_array *x, weft_reduce_kind kind,
                         const bool *folded) {
  bench *b = &g->cpu;
  int64_t axes[WEFT_RANK_MAX];
  int32_t count = 0;
  for (int32_t i = 0; i < x->rank; i++)
    if (folded[i]) axes[count++] = bench_below(b, 2) ? i : i - x->rank;
  bool keep_dims = bench_below(b, 2);
  weft_attributes attributes = {
      .reduce = {.kind = kind, .keep_dims = keep_dims, .none_means_none = true}};
  const weft_array *inputs[] = {x, bench_host(b, axes, count)};
  /* Sums of n numbers of size 2: rounding grows with the root of n, and cancels nowhere else. */
  double size = 4e-7 * __builtin_sqrt((double)x->elements);
  gpu_check(g, WEFT_OP_REDUCE, &attributes, inputs, 2,
            kept_array(b, x->dtype, x, folded, keep_dims), (gpu_tolerance){size, 1e-5});
}

/* So that no sum is near 0. */
static void make_positive(bench *b, weft_array *x) {
  for (uint64_t i = 0; i < x->elements; i++)
    bench_set_int(b, x, i, bench_int(b, x, i) & (x->dtype == WEFT_F16 ? 0x7fff : 0x7fffffff));
}

static void test_reduce(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 90; round++) {
    int64_t dims[5];
    bool folded[5];
    weft_reduce_kind kind = (weft_reduce_kind)(round % 10);
    int32_t rank = (int32_t)bench_below(b, 5);
    for (int32_t i = 0; i < rank; i++) {
      dims[i] = 1 + (int64_t)bench_below(b, kind == WEFT_REDUCE_PROD ? 3 : 14);
      folded[i] = bench_below(b, 2);
      if (bench_below(b, 40) == 0) dims[i] = 0;
    }
    if (rank > 0 && round % 3 == 0) dims[rank - 1] *= 4;
    weft_array *x = bench_random(b, float_type(round / 10), rank, dims, (bench_strides)(round % 3));
    if (kind == WEFT_REDUCE_LOG_SUM) make_positive(b, x);
    check_reduce(g, x, kind, folded);
    bench_clear(b);
  }
}

/* Rows and columns that are folded in parts. */
static void test_reduce_long(gpu_bench *g) {
  static const int64_t shapes[][2] = {{1, 300000}, {3, 100001}, {7000, 3}, {5000, 64}, {2, 65536}};
  bench *b = &g->cpu;
  for (int k = 0; k < 20; k++) {
    const int64_t *dims = shapes[k % 5];
    weft_array *x = bench_random(b, k % 3 == 2 ? WEFT_F16 : WEFT_F32, 2, dims, BENCH_DENSE);
    static const weft_reduce_kind kinds[] = {WEFT_REDUCE_MEAN, WEFT_REDUCE_MAX, WEFT_REDUCE_L2,
                                             WEFT_REDUCE_LOG_SUM_EXP};
    bool rows = dims[1] > dims[0];
    check_reduce(g, x, kinds[k / 5], (const bool[]){!rows, rows});
    bench_clear(b);
  }
}

static void test_reduce_special(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int k = 0; k < 20; k++) {
    if (k % 10 == WEFT_REDUCE_PROD) continue; /* which overflows */
    weft_array *x = bench_random(b, WEFT_F32, 2, (const int64_t[]){5, 700}, BENCH_DENSE);
    if (k % 10 == WEFT_REDUCE_LOG_SUM) make_positive(b, x);
    for (uint64_t i = 0; i < 700; i++) {
      bench_set_f32(b, x, 700 + i, -__builtin_inff());
      bench_set_f32(b, x, 1400 + i, i ? 1 : __builtin_inff());
    }
    bench_set_f32(b, x, bench_below(b, 700), __builtin_nanf(""));
    check_reduce(g, x, (weft_reduce_kind)(k % 10), (const bool[]){k >= 10, k < 10});
    bench_clear(b);
  }
}

/* ---- arg_reduce ------------------------------------------------------------------------------ */

static void check_arg(gpu_bench *g, const weft_array *x, int32_t axis, bool max, bool last) {
  bool folded[WEFT_RANK_MAX] = {false};
  folded[axis] = true;
  weft_attributes attributes = {
      .arg_reduce = {.max = max, .select_last = last, .axis = axis - x->rank}};
  gpu_check(g, WEFT_OP_ARG_REDUCE, &attributes, &x, 1,
            kept_array(&g->cpu, WEFT_I64, x, folded, false), (gpu_tolerance){0, 0});
}

static void test_arg_reduce(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_I32, WEFT_F16, WEFT_U32, WEFT_U8, WEFT_I8};
  bench *b = &g->cpu;
  for (int round = 0; round < 48; round++) {
    int64_t dims[4];
    int32_t rank = 1 + (int32_t)bench_below(b, 4);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(b, 30);
    weft_array *x = bench_random(b, types[round % 6], rank, dims, BENCH_RANDOM);
    if (round % 12 == 0) {
      bench_set_f32(b, x, bench_below(b, x->elements), __builtin_nanf(""));
      bench_set_f32(b, x, bench_below(b, x->elements), -__builtin_inff());
      bench_set_f32(b, x, bench_below(b, x->elements), -0.0f);
    }
    check_arg(g, x, (int32_t)bench_below(b, (uint64_t)rank), bench_below(b, 2), bench_below(b, 2));
    bench_clear(b);
  }
}

/* As of logits: parts first. */
static void test_arg_reduce_long(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int k = 0; k < 8; k++) {
    weft_array *x = bench_random(b, k % 4 == 3 ? WEFT_F16 : WEFT_F32, 2,
                                 k % 2 ? (const int64_t[]){1, 151937} : (const int64_t[]){40000, 2},
                                 BENCH_DENSE);
    check_arg(g, x, k % 2, k < 4, k % 4 == 2);
    bench_clear(b);
  }
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {
      GPU_TEST(test_softmax),        GPU_TEST(test_softmax_axes), GPU_TEST(test_softmax_special),
      GPU_TEST(test_softmax_many),   GPU_TEST(test_norm),         GPU_TEST(test_norm_shapes),
      GPU_TEST(test_norm_special),   GPU_TEST(test_reduce),       GPU_TEST(test_reduce_long),
      GPU_TEST(test_reduce_special), GPU_TEST(test_arg_reduce),   GPU_TEST(test_arg_reduce_long)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
