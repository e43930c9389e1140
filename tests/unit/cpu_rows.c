/* Tests of the ops over rows: softmax, norm, reduce, arg_reduce, against naive loops in
 * double. */
#include "tests/unit/cpu_step.h"

/* exp and log in double without libm: the kernels are tested elsewhere, so a series is enough. */
static double exp_of(double x) {
  double term = 1, sum = 1;
  if (x < -700) return 0;
  if (x < -1 || x > 1) {
    double half = exp_of(x / 2);
    return half * half;
  }
  for (int i = 1; i < 20; i++) sum += term *= x / i;
  return sum;
}
static double log_of(double x) {
  double guess = 0;
  if (!(x > 0)) return x == 0 ? -__builtin_inf() : __builtin_nan("");
  if (x == __builtin_inf()) return x;
  for (; x > 2; x /= 2) guess += 0.69314718055994531;
  for (; x < 1; x *= 2) guess -= 0.69314718055994531;
  double y = (x - 1) / (x + 1), power = y, sum = 0;
  for (int i = 1; i < 60; i += 2, power *= y * y) sum += power / i;
  return guess + 2 * sum;
}

/* ---- softmax
 * ------------------------------------------------------------------------------------- */

static void test_softmax(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 300; round++) {
    int64_t dims[4];
    int32_t rank = 1 + (int32_t)bench_below(&b, 4);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(&b, rank > 2 ? 6 : 40);
    int32_t axis = (int32_t)bench_below(&b, (uint64_t)rank);
    bool log = bench_below(&b, 2), to_end = bench_below(&b, 3) == 0;
    weft_array *x = bench_random(&b, WEFT_F32, rank, dims, BENCH_RANDOM);
    weft_array *out = bench_array(&b, WEFT_F32, rank, dims, BENCH_DENSE);
    weft_attributes attributes = {
        .softmax = {.axis = round % 2 ? axis : axis - rank, .log = log, .to_end = to_end}};
    const weft_array *inputs[] = {x};
    CHECK_OK(bench_run(&b, WEFT_OP_SOFTMAX, &attributes, inputs, 1, out), &b.error);
    uint64_t n = 1, inner = 1, wrong = 0;
    for (int32_t i = axis; i < rank; i++) *(i == axis || to_end ? &n : &inner) *= (uint64_t)dims[i];
    for (uint64_t at = 0; at < x->elements; at++) {
      uint64_t first = at / (n * inner) * n * inner + at % inner;
      double sum = 0, own = (double)bench_f32(&b, x, at);
      for (uint64_t i = 0; i < n; i++) sum += exp_of((double)bench_f32(&b, x, first + i * inner));
      double expected = log ? own - log_of(sum) : exp_of(own) / sum;
      wrong += !bench_close_to(bench_f32(&b, out, at), expected, 1e-5);
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- norm
 * ---------------------------------------------------------------------------------------- */

static double root_of(double x) {
  double guess = x > 1 ? x : 1;
  for (int i = 0; i < 60; i++) guess = (guess + x / guess) / 2;
  return guess;
}

static void test_norm(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 200; round++) {
    int64_t dims[3] = {1 + (int64_t)bench_below(&b, 9), 1 + (int64_t)bench_below(&b, 9),
                       1 + (int64_t)bench_below(&b, 60)};
    int32_t axis = (int32_t)bench_below(&b, 3);
    bool layer = bench_below(&b, 2), has_bias = bench_below(&b, 2), full = bench_below(&b, 2);
    weft_array *x = bench_random(&b, WEFT_F32, 3, dims, (bench_strides)bench_below(&b, 3));
    /* of the normalised shape, or of its last dimension alone */
    int32_t from = full ? axis : 2;
    weft_array *scale = bench_random(&b, WEFT_F32, 3 - from, dims + from, BENCH_RANDOM);
    weft_array *bias = bench_random(&b, WEFT_F32, 3 - from, dims + from, BENCH_DENSE);
    weft_array *out = bench_array(&b, WEFT_F32, 3, dims, BENCH_DENSE);
    weft_attributes attributes = {.norm = {.kind = layer ? WEFT_NORM_LAYER : WEFT_NORM_RMS,
                                           .axis = round % 2 ? axis : axis - 3,
                                           .epsilon = 1e-3f}};
    const weft_array *inputs[] = {x, scale, has_bias ? bias : NULL};
    CHECK_OK(bench_run(&b, WEFT_OP_NORM, &attributes, inputs, 3, out), &b.error);
    uint64_t n = 1, wrong = 0, last = scale->elements;
    for (int32_t i = axis; i < 3; i++) n *= (uint64_t)dims[i];
    for (uint64_t row = 0; row < x->elements / n; row++) {
      double mean = 0, square = 0;
      for (uint64_t i = 0; i < n; i++) mean += (double)bench_f32(&b, x, row * n + i) / (double)n;
      if (!layer) mean = 0;
      for (uint64_t i = 0; i < n; i++) {
        double d = (double)bench_f32(&b, x, row * n + i) - mean;
        square += d * d / (double)n;
      }
      for (uint64_t i = 0; i < n; i++) {
        double expected = ((double)bench_f32(&b, x, row * n + i) - mean) / root_of(square + 1e-3) *
                              (double)bench_f32(&b, scale, i % last) +
                          (has_bias ? (double)bench_f32(&b, bias, i % last) : 0);
        wrong += !bench_close_to(bench_f32(&b, out, row * n + i), expected, 1e-4);
      }
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Heads of a product are normalised where they lie; what is normalised must be dense. */
static void test_norm_takes(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F32, 4, (int64_t[]){2, 3, 4, 8}, BENCH_DENSE);
  const int64_t strides[] = {4 * 40, 8, 40, 1};
  memcpy(x->strides, strides, sizeof strides);
  weft_node node = {.op = WEFT_OP_NORM, .attributes.norm.axis = -1};
  CHECK(b.device->takes(b.device, &node, 0, x));
  node.attributes.norm.axis = 2;
  CHECK(!b.device->takes(b.device, &node, 0, x));
  node.attributes.norm.axis = 3;
  x->strides[3] = 2;
  CHECK(!b.device->takes(b.device, &node, 0, x));
  bench_close(&b);
}

/* ---- reduce
 * -------------------------------------------------------------------------------------- */

typedef struct fold {
  weft_reduce_kind kind;
  double value, count;
} fold;

static void fold_in(fold *f, double v) {
  switch (f->kind) {
  case WEFT_REDUCE_MAX:
    f->value = v > f->value ? v : f->value;
    break;
  case WEFT_REDUCE_MIN:
    f->value = v < f->value ? v : f->value;
    break;
  case WEFT_REDUCE_PROD:
    f->value *= v;
    break;
  case WEFT_REDUCE_SUM_SQUARE:
  case WEFT_REDUCE_L2:
    f->value += v * v;
    break;
  case WEFT_REDUCE_L1:
    f->value += v < 0 ? -v : v;
    break;
  case WEFT_REDUCE_LOG_SUM_EXP:
    f->value += exp_of(v);
    break;
  default:
    f->value += v;
  }
}

static double fold_start(weft_reduce_kind kind, weft_dtype dtype) {
  bool is_float = dtype == WEFT_F32;
  if (kind == WEFT_REDUCE_MAX)
    return is_float ? -__builtin_inf() : dtype == WEFT_I32 ? INT32_MIN : 0;
  if (kind == WEFT_REDUCE_MIN)
    return is_float ? __builtin_inf() : dtype == WEFT_I32 ? INT32_MAX : 255;
  return kind == WEFT_REDUCE_PROD;
}

static double fold_end(const fold *f, weft_dtype dtype) {
  if (f->kind == WEFT_REDUCE_MEAN && (dtype == WEFT_F32 || f->count > 0)) {
    double mean = f->value / f->count;
    return dtype == WEFT_F32 ? mean : (double)(int64_t)mean;
  }
  if (f->kind == WEFT_REDUCE_L2) return root_of(f->value);
  if (f->kind == WEFT_REDUCE_LOG_SUM || f->kind == WEFT_REDUCE_LOG_SUM_EXP) return log_of(f->value);
  return f->value;
}

static double number(const bench *b, const weft_array *array, uint64_t i) {
  return array->dtype == WEFT_F32 ? (double)bench_f32(b, array, i) : (double)bench_int(b, array, i);
}

/* Folds by brute force; axes as flags. Returns how many outputs are wrong. */
static uint64_t reduce_wrong(const bench *b, const weft_array *x, const bool *folded,
                             weft_reduce_kind kind, const weft_array *out) {
  fold *all = calloc((size_t)out->elements + 1, sizeof *all);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < out->elements; i++) all[i] = (fold){kind, fold_start(kind, x->dtype), 0};
  for (uint64_t at = 0; at < x->elements; at++) {
    uint64_t rest = at, to = 0, step = 1;
    for (int32_t i = x->rank - 1; i >= 0; i--) {
      uint64_t place = rest % (uint64_t)x->dims[i];
      rest /= (uint64_t)x->dims[i];
      if (!folded[i]) to += place * step, step *= (uint64_t)x->dims[i];
    }
    fold_in(&all[to], number(b, x, at));
    all[to].count++;
  }
  for (uint64_t i = 0; i < out->elements; i++) {
    double expected = fold_end(&all[i], x->dtype), size = expected < 0 ? -expected : expected;
    double got = number(b, out, i);
    if (kind == WEFT_REDUCE_LOG_SUM && (expected != expected || all[i].value < 0.05)) continue;
    if (x->dtype == WEFT_U8) expected = (double)((int64_t)expected & 255);
    bool same = x->dtype == WEFT_F32
                    ? bench_close_to((float)got, expected, 2e-5 * (1 + size) + 1e-7 * all[i].count)
                    : got == expected;
    wrong += !same;
  }
  free(all);
  return wrong;
}

static void reduce_once(bench *b, weft_dtype dtype, weft_reduce_kind kind, int32_t rank,
                        const int64_t *dims, const bool *folded, bool by_input) {
  int64_t kept[WEFT_RANK_MAX], axes[WEFT_RANK_MAX];
  int32_t kept_rank = 0, count = 0;
  weft_attributes attributes = {.reduce = {.kind = kind, .none_means_none = true}};
  for (int32_t i = 0; i < rank; i++) {
    if (!folded[i]) kept[kept_rank++] = dims[i];
    if (folded[i]) axes[count++] = i % 2 ? i : i - rank;
  }
  if (!by_input)
    for (int32_t i = 0; i < count; i++)
      attributes.reduce.axes.axes[attributes.reduce.axes.count++] = (int8_t)axes[i];
  weft_array *x = bench_random(b, dtype, rank, dims, BENCH_RANDOM);
  weft_array *out = bench_array(b, dtype, kept_rank, kept, BENCH_DENSE);
  const weft_array *inputs[] = {x, by_input ? bench_host(b, axes, count) : NULL};
  if (CHECK_OK(bench_run(b, WEFT_OP_REDUCE, &attributes, inputs, by_input ? 2 : 1, out),
               &b->error) &&
      !CHECK_INT(reduce_wrong(b, x, folded, kind, out), 0))
    check_print("  kind %d on %s, %s\n", (int)kind, weft_dtype_name(dtype), b->kernel);
}

static void test_reduce(void) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F32, WEFT_I32, WEFT_U8};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 1200; round++) {
    int64_t dims[5];
    bool folded[5];
    weft_dtype dtype = types[round % 4];
    weft_reduce_kind kind = (weft_reduce_kind)bench_below(&b, dtype == WEFT_F32 ? 10 : 7);
    int32_t rank = (int32_t)bench_below(&b, 5);
    for (int32_t i = 0; i < rank; i++) {
      dims[i] = 1 + (int64_t)bench_below(&b, kind == WEFT_REDUCE_PROD ? 3 : 12);
      folded[i] = bench_below(&b, 2);
      if (bench_below(&b, 25) == 0) dims[i] = 0;
    }
    reduce_once(&b, dtype, kind, rank, dims, folded, bench_below(&b, 2));
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Rows and columns longer than the pieces they are taken in. */
static void test_reduce_large(void) {
  bench b;
  bench_open(&b, NULL, 3);
  for (int kind = 0; kind < 10; kind++)
    for (int k = 0; k < 2; k++) {
      if (kind == WEFT_REDUCE_PROD) continue;
      const int64_t dims[2] = {k ? 1500 : 40, 1300};
      const bool folded[2] = {k == 1, k == 0};
      reduce_once(&b, WEFT_F32, (weft_reduce_kind)kind, 2, dims, folded, false);
      bench_clear(&b);
    }
  bench_close(&b);
}

/* Large numbers do not overflow in LogSumExp; infinities and NaN come through. */
static void test_log_sum_exp(void) {
  static const struct {
    float a, b;
    double expected;
  } cases[] = {
      {1000, 1000, 1000.693147},
      {-1000, -1000, -999.306853},
      {__builtin_inff(), 0, (double)__builtin_inff()},
      {-__builtin_inff(), -__builtin_inff(), -(double)__builtin_inff()},
      {__builtin_nanf(""), 0, (double)__builtin_nanf("")},
  };
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
    const int64_t rows[2] = {1, 2}, columns[2] = {2, 3};
    bool vertical = i % 2;
    weft_array *x = bench_array(&b, WEFT_F32, 2, vertical ? columns : rows, BENCH_DENSE);
    weft_array *out = bench_array(&b, WEFT_F32, 1, vertical ? columns + 1 : rows, BENCH_DENSE);
    for (uint64_t k = 0; k < x->elements; k++)
      bench_set_f32(&b, x, k, k < x->elements / 2 ? cases[i / 2].a : cases[i / 2].b);
    weft_attributes attributes = {.reduce = {.kind = WEFT_REDUCE_LOG_SUM_EXP}};
    attributes.reduce.axes = (weft_axes){.count = 1, .axes = {vertical ? 0 : 1}};
    const weft_array *inputs[] = {x};
    CHECK_OK(bench_run(&b, WEFT_OP_REDUCE, &attributes, inputs, 1, out), &b.error);
    CHECK(bench_close_to(bench_f32(&b, out, 0), cases[i / 2].expected, 1e-3));
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_reduce_all(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_random(&b, WEFT_I64, 3, (int64_t[]){2, 3, 4}, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_I64, 0, NULL, BENCH_DENSE);
  int64_t sum = 0;
  for (uint64_t i = 0; i < 24; i++) sum += bench_int(&b, x, i);
  weft_attributes attributes = {.reduce = {.kind = WEFT_REDUCE_SUM}};
  const weft_array *inputs[] = {x};
  CHECK_OK(bench_run(&b, WEFT_OP_REDUCE, &attributes, inputs, 1, out), &b.error);
  CHECK_INT(bench_int(&b, out, 0), sum);
  attributes.reduce.kind = WEFT_REDUCE_LOG_SUM;
  CHECK_INT(bench_run(&b, WEFT_OP_REDUCE, &attributes, inputs, 1, out), WEFT_UNSUPPORTED);
  CHECK_TEXT(b.error.message, "node 'tested' (reduce): this reduction is not supported on i64");
  bench_close(&b);
}

/* ---- arg_reduce
 * ---------------------------------------------------------------------------------- */

static void test_arg_reduce(void) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_I32, WEFT_U8, WEFT_I64};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 400; round++) {
    int64_t dims[4], kept[4];
    int32_t rank = 1 + (int32_t)bench_below(&b, 4), kept_rank = 0;
    int32_t axis = (int32_t)bench_below(&b, (uint64_t)rank);
    for (int32_t i = 0; i < rank; i++) {
      dims[i] = 1 + (int64_t)bench_below(&b, 12);
      if (i != axis) kept[kept_rank++] = dims[i];
    }
    bool max = bench_below(&b, 2), last = bench_below(&b, 2);
    weft_array *x = bench_random(&b, types[round % 4], rank, dims, BENCH_RANDOM);
    bool has_nan = round % 8 == 0;
    if (has_nan) bench_set_f32(&b, x, bench_below(&b, x->elements), __builtin_nanf(""));
    weft_array *out = bench_array(&b, WEFT_I64, kept_rank, kept, BENCH_DENSE);
    weft_attributes attributes = {
        .arg_reduce = {.max = max, .select_last = last, .axis = axis - rank}};
    const weft_array *inputs[] = {x};
    CHECK_OK(bench_run(&b, WEFT_OP_ARG_REDUCE, &attributes, inputs, 1, out), &b.error);
    uint64_t n = (uint64_t)dims[axis], inner = 1, wrong = 0;
    for (int32_t i = axis + 1; i < rank; i++) inner *= (uint64_t)dims[i];
    for (uint64_t at = 0; at < out->elements; at++) {
      uint64_t first = at / inner * n * inner + at % inner, found = 0;
      double best = number(&b, x, first);
      for (uint64_t i = 1; i < n && best == best; i++) {
        double v = number(&b, x, first + i * inner);
        if (v != v || (max ? v > best : v < best) || (last && v == best)) best = v, found = i;
      }
      wrong += (uint64_t)bench_int(&b, out, at) != found;
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_softmax);
  CHECK_RUN(test_norm);
  CHECK_RUN(test_norm_takes);
  CHECK_RUN(test_reduce);
  CHECK_RUN(test_reduce_large);
  CHECK_RUN(test_log_sum_exp);
  CHECK_RUN(test_reduce_all);
  CHECK_RUN(test_arg_reduce);
  return check_result();
}
