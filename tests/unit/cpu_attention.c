/* Tests of the op attention against its definition in double: grouped heads, lengths, positions,
 * windows, caps, sinks, masks, strides, in every combination; the same bits on any number of
 * threads; lengths that cannot be. */
#include "tests/unit/cpu_step.h"

/* exp in double without libm: the kernels are tested elsewhere, so a series is enough. */
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
static double tanh_of(double x) {
  double e = exp_of(-2 * (x < 0 ? -x : x)), t = (1 - e) / (1 + e);
  return x < 0 ? -t : t;
}

typedef struct attention {
  const weft_array *q, *k, *v, *mask, *lengths, *sink; /* mask: [.., T], or [.., 1] */
  weft_attributes attributes;
} attention;

/* ---- the definition ------------------------------------------------------------------------- */

/* Mask element of [b, h, s, t], broadcast. */
static double mask_at(const bench *b, const weft_array *mask, const int64_t *at) {
  uint64_t linear = 0;
  if (mask == NULL) return 0;
  for (int32_t i = 0; i < mask->rank; i++)
    linear = linear * (uint64_t)mask->dims[i] +
             (uint64_t)(mask->dims[i] == 1 ? 0 : at[4 - mask->rank + i]);
  return (double)bench_f32(b, mask, linear);
}

static int64_t length_of(const bench *b, const attention *a, int64_t batch) {
  if (a->lengths == NULL) return a->k->dims[2];
  return bench_int(b, a->lengths, a->lengths->elements > 1 ? (uint64_t)batch : 0);
}

static bool sees(const bench *b, const attention *a, const int64_t *at) {
  int64_t queries = a->q->dims[2], keys = a->k->dims[2], length = length_of(b, a, at[0]);
  int64_t position = at[2] + (queries == keys ? 0 : length - queries);
  int64_t window = a->attributes.attention.window;
  return at[3] < length && (!a->attributes.attention.causal || at[3] <= position) &&
         (window == 0 || at[3] > position - window);
}

/* Score of [b, h, s, t]. */
static double score_of(const bench *b, const attention *a, const int64_t *at) {
  int64_t heads = a->q->dims[1], groups = a->k->dims[1], size = a->q->dims[3];
  uint64_t q = (uint64_t)(((at[0] * heads + at[1]) * a->q->dims[2] + at[2]) * size);
  int64_t group = at[1] / (heads / groups);
  uint64_t k = (uint64_t)(((at[0] * groups + group) * a->k->dims[2] + at[3]) * size);
  double dot = 0, cap = (double)a->attributes.attention.softcap;
  if (!sees(b, a, at)) return -__builtin_inf();
  for (uint64_t i = 0; i < (uint64_t)size; i++)
    dot += (double)bench_f32(b, a->q, q + i) * (double)bench_f32(b, a->k, k + i);
  dot *= (double)a->attributes.attention.scale;
  if (cap > 0) dot = cap * tanh_of(dot / cap);
  return dot + mask_at(b, a->mask, at);
}

/* One query's row of the output. */
static void attend(const bench *b, const attention *a, const int64_t *query, double *out) {
  int64_t keys = a->k->dims[2], groups = a->k->dims[1], values = a->v->dims[3];
  int64_t group = query[1] / (a->q->dims[1] / groups);
  double *weights = calloc((size_t)keys + 1, sizeof *weights), sum = 0;
  double sink = a->sink ? (double)bench_f32(b, a->sink, (uint64_t)query[1]) : -__builtin_inf();
  double maximum = sink;
  for (int64_t t = 0; t < keys; t++) {
    weights[t] = score_of(b, a, (int64_t[]){query[0], query[1], query[2], t});
    if (weights[t] > maximum) maximum = weights[t];
  }
  if (maximum > -__builtin_inf()) sum = exp_of(sink - maximum);
  for (int64_t t = 0; t < keys; t++)
    sum += weights[t] = maximum == -__builtin_inf() ? 0 : exp_of(weights[t] - maximum);
  for (int64_t e = 0; e < values; e++) {
    out[e] = 0;
    for (int64_t t = 0; t < keys && sum > 0; t++) {
      uint64_t v = (uint64_t)(((query[0] * groups + group) * keys + t) * values + e);
      if (weights[t] > 0) out[e] += weights[t] / sum * (double)bench_f32(b, a->v, v);
    }
  }
  free(weights);
}

static uint64_t count_wrong(const bench *b, const attention *a, const weft_array *out) {
  int64_t heads = a->q->dims[1], queries = a->q->dims[2], values = a->v->dims[3];
  bool heads_last = a->attributes.attention.heads_last;
  double row[64];
  uint64_t wrong = 0;
  for (int64_t i = 0; i < a->q->dims[0] * heads * queries; i++) {
    int64_t at[3] = {i / queries / heads, i / queries % heads, i % queries};
    attend(b, a, at, row);
    int64_t to = heads_last ? (at[0] * queries + at[2]) * heads + at[1] : i;
    for (int64_t e = 0; e < values; e++)
      wrong += !bench_close_to(bench_f32(b, out, (uint64_t)(to * values + e)), row[e], 2e-5);
  }
  return wrong;
}

/* ---- cases ---------------------------------------------------------------------------------- */

static weft_array *place_out(bench *b, const attention *a) {
  const int64_t *q = a->q->dims;
  bool heads_last = a->attributes.attention.heads_last;
  int64_t dims[4] = {q[0], heads_last ? q[2] : q[1], heads_last ? q[1] : q[2], a->v->dims[3]};
  return bench_array(b, WEFT_F32, 4, dims, BENCH_DENSE);
}

static weft_status run(bench *b, const attention *a, const weft_array *out) {
  const weft_array *inputs[] = {a->q, a->k, a->v, a->mask, a->lengths, a->sink};
  return bench_run(b, WEFT_OP_ATTENTION, &a->attributes, inputs, 6, out);
}

static const weft_array *random_mask(bench *b, const attention *a, bench_strides form) {
  int64_t dims[4] = {a->q->dims[0], a->q->dims[1], a->q->dims[2], a->k->dims[2]};
  int32_t rank = (int32_t)bench_below(b, 5);
  for (int i = 0; i < 4; i++)
    if (bench_below(b, 3) == 0) dims[i] = 1;
  weft_array *mask = bench_random(b, WEFT_F32, rank, dims + 4 - rank, form);
  for (uint64_t i = 0; i < mask->elements; i++)
    if (bench_below(b, 4) == 0) bench_set_f32(b, mask, i, -__builtin_inff());
  return mask;
}

static const weft_array *random_lengths(bench *b, const attention *a) {
  weft_dtype dtype = bench_below(b, 2) ? WEFT_I64 : WEFT_I32;
  int64_t count = bench_below(b, 3) ? a->q->dims[0] : 1;
  weft_array *lengths = bench_array(b, dtype, 1, &count, BENCH_DENSE);
  for (uint64_t i = 0; i < lengths->elements; i++)
    bench_set_int(b, lengths, i, (int64_t)bench_below(b, (uint64_t)a->k->dims[2] + 1));
  return lengths;
}

/* Past the length a cache may hold anything. */
static void spoil_unused(bench *b, const attention *a) {
  const weft_array *const caches[] = {a->k, a->v};
  for (int i = 0; i < 2; i++)
    for (uint64_t e = 0; e < caches[i]->elements; e++) {
      int64_t row = (int64_t)(e / (uint64_t)caches[i]->dims[3]), keys = caches[i]->dims[2];
      if (row % keys >= length_of(b, a, row / keys / caches[i]->dims[1]))
        bench_set_f32(b, caches[i], e, __builtin_nanf(""));
    }
}

typedef struct sizes {
  int64_t batch, groups, shared, queries, keys;
} sizes;

static attention random_case(bench *b, const sizes *s) {
  int64_t size = 1 + (int64_t)bench_below(b, 40), values = 1 + (int64_t)bench_below(b, 40);
  bench_strides form = (bench_strides)bench_below(b, 3);
  attention a = {.attributes.attention = {
                     .scale = 0.3f, .causal = bench_below(b, 2), .heads_last = bench_below(b, 2)}};
  if (bench_below(b, 3) == 0) a.attributes.attention.softcap = 2.5f;
  if (bench_below(b, 3) == 0)
    a.attributes.attention.window = 1 + (int64_t)bench_below(b, (uint64_t)s->keys + 20);
  a.q = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups * s->shared, s->queries, size},
                     form);
  a.k = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups, s->keys, size}, form);
  a.v = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups, s->keys, values}, form);
  if (bench_below(b, 2)) a.mask = random_mask(b, &a, form);
  if (bench_below(b, 2)) a.lengths = random_lengths(b, &a);
  int64_t heads = s->groups * s->shared;
  if (bench_below(b, 3) == 0) a.sink = bench_random(b, WEFT_F32, 1, &heads, BENCH_DENSE);
  spoil_unused(b, &a);
  return a;
}

static void check_case(bench *b, const sizes *s, int round) {
  attention a = random_case(b, s);
  weft_array *out = place_out(b, &a);
  CHECK_OK(run(b, &a, out), &b->error);
  if (!CHECK_INT(count_wrong(b, &a, out), 0))
    check_print("  round %d: B %lld G %lld H/G %lld S %lld T %lld%s%s%s%s window %lld cap %d\n",
                round, (long long)s->batch, (long long)s->groups, (long long)s->shared,
                (long long)s->queries, (long long)s->keys, a.mask ? " mask" : "",
                a.lengths ? " lengths" : "", a.sink ? " sink" : "",
                a.attributes.attention.causal ? " causal" : "",
                (long long)a.attributes.attention.window, a.attributes.attention.softcap > 0);
  bench_clear(b);
}

static void test_attention(void) {
  bench b;
  bench_open(&b, NULL, 3);
  for (int round = 0; round < 600; round++) {
    sizes s = {1 + (int64_t)bench_below(&b, 3), 1 + (int64_t)bench_below(&b, 3),
               1 + (int64_t)bench_below(&b, 5), 1 + (int64_t)bench_below(&b, 40),
               (int64_t)bench_below(&b, 80)};
    if (bench_below(&b, 3) == 0) s.queries = 1;
    if (bench_below(&b, 3) == 0) s.keys = s.queries;
    check_case(&b, &s, round);
  }
  bench_close(&b);
}

/* More rows than a call of the kernel takes; keys cut into parts. */
static void test_large(void) {
  static const sizes cases[] = {{1, 1, 2, 150, 150}, {1, 2, 3, 70, 300},  {1, 1, 40, 2, 90},
                                {1, 2, 1, 1, 1100},  {2, 1, 4, 3, 1537},  {1, 1, 8, 8, 600},
                                {1, 1, 65, 1, 520},  {1, 1, 1, 1, 40000}, {2, 1, 1, 1, 513}};
  bench b;
  bench_open(&b, NULL, 3);
  for (size_t i = 0; i < 5 * sizeof cases / sizeof *cases; i++)
    check_case(&b, &cases[i % (sizeof cases / sizeof *cases)], (int)i);
  bench_close(&b);
}

static void test_threads(void) {
  static const sizes cases[] = {{1, 2, 4, 1, 3000}, {2, 3, 2, 130, 130}, {1, 1, 3, 9, 700}};
  static const uint32_t threads[] = {1, 2, 3, 8};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float *first = NULL;
    for (size_t t = 0; t < 4; t++) {
      bench b;
      bench_open(&b, NULL, threads[t]);
      attention a = random_case(&b, &cases[i]);
      weft_array *out = place_out(&b, &a);
      CHECK_OK(run(&b, &a, out), &b.error);
      size_t bytes = (size_t)out->elements * sizeof(float);
      if (first == NULL)
        memcpy(first = malloc(bytes), b.bases[out->slot], bytes);
      else
        CHECK(memcmp(first, b.bases[out->slot], bytes) == 0);
      bench_close(&b);
    }
    free(first);
  }
}

/* ---- edges ---------------------------------------------------------------------------------- */

/* A case without anything but sizes. */
static attention plain_case(bench *b, const sizes *s) {
  attention a = {.attributes.attention = {.scale = 0.5f}};
  a.q = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups * s->shared, s->queries, 8},
                     BENCH_DENSE);
  a.k = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups, s->keys, 8}, BENCH_DENSE);
  a.v = bench_random(b, WEFT_F32, 4, (int64_t[]){s->batch, s->groups, s->keys, 8}, BENCH_DENSE);
  return a;
}

static uint64_t count_other_than(const bench *b, const weft_array *out, uint64_t from, uint64_t to,
                                 float expected) {
  uint64_t count = 0;
  for (uint64_t i = from; i < to; i++) count += bench_f32(b, out, i) != expected;
  return count;
}

/* Zeros for queries that see no key: no keys at all, a length of 0, a mask of -inf, positions
 * before the first key; with a sink, next to nothing. */
static void test_nothing_seen(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int with_sink = 0; with_sink < 2; with_sink++) {
    int64_t heads = 2;
    const weft_array *sink = with_sink ? bench_random(&b, WEFT_F32, 1, &heads, BENCH_DENSE) : NULL;
    attention none = plain_case(&b, &(sizes){2, 1, 2, 3, 0});
    none.sink = sink;
    weft_array *out = place_out(&b, &none);
    CHECK_OK(run(&b, &none, out), &b.error);
    CHECK_INT(count_other_than(&b, out, 0, out->elements, 0), 0);

    attention a = plain_case(&b, &(sizes){2, 2, 1, 5, 5});
    weft_array *lengths = bench_array(&b, WEFT_I64, 1, (int64_t[]){2}, BENCH_DENSE);
    bench_set_int(&b, lengths, 0, 0), bench_set_int(&b, lengths, 1, 3);
    a.lengths = lengths, a.sink = sink;
    out = place_out(&b, &a);
    CHECK_OK(run(&b, &a, out), &b.error);
    CHECK_INT(count_other_than(&b, out, 0, out->elements / 2, 0), 0);
    CHECK_INT(count_wrong(&b, &a, out), 0);

    attention masked = plain_case(&b, &(sizes){1, 1, 2, 4, 6});
    weft_array *mask = bench_random(&b, WEFT_F32, 2, (int64_t[]){4, 6}, BENCH_DENSE);
    for (uint64_t t = 0; t < 6; t++) bench_set_f32(&b, mask, 6 + t, -__builtin_inff());
    masked.mask = mask, masked.sink = sink;
    out = place_out(&b, &masked);
    CHECK_OK(run(&b, &masked, out), &b.error);
    if (!with_sink) CHECK_INT(count_other_than(&b, out, 8, 16, 0), 0);
    CHECK_INT(count_wrong(&b, &masked, out), 0);

    attention before = plain_case(&b, &(sizes){1, 1, 2, 6, 4}); /* positions -2 ... 3 */
    before.attributes.attention.causal = true, before.sink = sink;
    out = place_out(&b, &before);
    CHECK_OK(run(&b, &before, out), &b.error);
    if (!with_sink) CHECK_INT(count_other_than(&b, out, 0, 16, 0), 0);
    CHECK_INT(count_wrong(&b, &before, out), 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* A causal window of 1: each query gets the value at its own position. */
static void test_window_of_one(void) {
  bench b;
  bench_open(&b, NULL, 2);
  attention a = plain_case(&b, &(sizes){1, 1, 1, 100, 100});
  a.attributes.attention.causal = true, a.attributes.attention.window = 1;
  weft_array *out = place_out(&b, &a);
  CHECK_OK(run(&b, &a, out), &b.error);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < out->elements; i++)
    wrong += !bench_close_to(bench_f32(&b, out, i), (double)bench_f32(&b, a.v, i), 1e-7);
  CHECK_INT(wrong, 0);
  bench_close(&b);
}

/* All keys masked by the lowest finite number: they weigh the same. */
static void test_lowest_mask(void) {
  bench b;
  bench_open(&b, NULL, 1);
  for (int64_t queries = 1; queries < 40; queries += 38) {
    attention a = plain_case(&b, &(sizes){1, 1, 1, queries, 10});
    weft_array *mask = bench_array(&b, WEFT_F32, 1, (int64_t[]){10}, BENCH_DENSE);
    for (uint64_t t = 0; t < 10; t++) bench_set_f32(&b, mask, t, -3.402823466e38f);
    a.mask = mask;
    weft_array *out = place_out(&b, &a);
    CHECK_OK(run(&b, &a, out), &b.error);
    for (uint64_t e = 0; e < 8; e++) {
      double mean = 0;
      for (uint64_t t = 0; t < 10; t++) mean += (double)bench_f32(&b, a.v, t * 8 + e) / 10;
      CHECK(bench_close_to(bench_f32(&b, out, e), mean, 1e-6));
    }
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_bad_lengths(void) {
  static const int64_t bad[] = {6, -1, INT64_MIN};
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    attention a = plain_case(&b, &(sizes){2, 1, 1, 1, 5});
    weft_array *lengths = bench_array(&b, WEFT_I64, 1, (int64_t[]){2}, BENCH_DENSE);
    bench_set_int(&b, lengths, 0, 5), bench_set_int(&b, lengths, 1, bad[i]);
    a.lengths = lengths;
    CHECK_INT(run(&b, &a, place_out(&b, &a)), WEFT_INVALID_DATA);
    char expected[160];
    weft_text text = {.buffer = expected, .size = sizeof expected};
    weft_text_add(&text, "node 'tested' (attention): length %lld of sequence 1: there are 5 keys",
                  (long long)bad[i]);
    CHECK_TEXT(b.error.message, expected);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* A cache with room to grow, and heads side by side in one product, are read where they lie. */
static void test_no_copy(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *cache = bench_array(&b, WEFT_F32, 4, (int64_t[]){2, 3, 40, 8}, BENCH_DENSE);
  cache->dims[2] = 33;
  weft_node node = {.op = WEFT_OP_ATTENTION};
  for (uint32_t input = 0; input < 3; input++)
    CHECK(b.device->takes(b.device, &node, input, cache));
  cache->strides[3] = 2;
  CHECK(!b.device->takes(b.device, &node, 1, cache));
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_attention);
  CHECK_RUN(test_large);
  CHECK_RUN(test_threads);
  CHECK_RUN(test_nothing_seen);
  CHECK_RUN(test_window_of_one);
  CHECK_RUN(test_lowest_mask);
  CHECK_RUN(test_bad_lengths);
  CHECK_RUN(test_no_copy);
  return check_result();
}
