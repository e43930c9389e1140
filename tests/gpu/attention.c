/* Tests of attention on the GPU against the CPU's reference kernels: grouped heads, lengths,
 * positions, windows, caps, sinks, masks, strides and types at random; every candidate of both
 * forms; parts of long pasts; rows that see nothing. */
#include "gpu/tuner_table.h"
#include "tests/gpu/gpu_step.h"

/* Sums of up to 1000 products in another order; exp of the GPU (WGSL: 3 + 2 |x| units). */
static const gpu_tolerance close_enough = {2e-5, 2e-5};

enum { Q, K, V, MASK, LENGTHS, SINK, INPUTS };

typedef struct shape {
  int64_t batches, groups, heads, queries, keys, d, e; /* heads: of a group */
  weft_dtype dtype;
} shape;

static const uint32_t minus_infinity = 0xff800000, lowest = 0xff7fffff, no_number = 0x7fc00000;
/* Overwrites an element of a float array by -infinity, or else (f32's bits) what is no number. */
static void set_bits(const bench *b, const weft_array *array, uint64_t i, uint32_t bits) {
  uint16_t half = bits == minus_infinity ? 0xfc00 : 0x7e00;
  if (array->dtype == WEFT_F16)
    memcpy(bench_at(b, array, i), &half, sizeof half);
  else
    memcpy(bench_at(b, array, i), &bits, sizeof bits);
}
static int64_t pick(bench *b, const int64_t *from, uint64_t count) {
  return from[bench_below(b, count)];
}
#define PICK(b, ...)                                                                               \
  pick(b, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- arrays ---------------------------------------------------------------------------------- */

static const weft_array *random_mask(bench *b, const shape *s) {
  int64_t dims[4] = {s->batches, s->groups * s->heads, s->queries, s->keys};
  for (int i = 0; i < 4; i++)
    if (bench_below(b, 3) == 0) dims[i] = 1;
  int32_t drop = (int32_t)bench_below(b, 4);
  weft_array *mask = bench_random(b, s->dtype, 4 - drop, dims + drop, BENCH_RANDOM);
  for (uint64_t i = 0; i < mask->elements; i++) {
    if (bench_below(b, 4) == 0) set_bits(b, mask, i, minus_infinity);
    /* The lowest f16 is not low enough to leave nothing of the score behind. */
    if (s->dtype == WEFT_F32 && bench_below(b, 8) == 0) set_bits(b, mask, i, lowest);
  }
  return mask;
}

/* Keys and values past the lengths are no numbers: nobody may compute with them. */
static const weft_array *random_lengths(bench *b, const shape *s, const weft_array *k,
                                        const weft_array *v) {
  weft_array *lengths =
      bench_array(b, bench_below(b, 2) ? WEFT_I64 : WEFT_I32, 1, &s->batches, BENCH_DENSE);
  for (int64_t n = 0; n < s->batches; n++) {
    int64_t length = (int64_t)bench_below(b, (uint64_t)s->keys + 1);
    bench_set_int(b, lengths, (uint64_t)n, length);
    for (int64_t row = 0; row < s->groups * s->keys; row++) {
      if (row % s->keys < length) continue;
      uint64_t at = (uint64_t)(n * s->groups * s->keys + row);
      for (int64_t i = 0; i < s->d; i++)
        set_bits(b, k, at * (uint64_t)s->d + (uint64_t)i, no_number);
      for (int64_t i = 0; i < s->e; i++)
        set_bits(b, v, at * (uint64_t)s->e + (uint64_t)i, no_number);
    }
  }
  return lengths;
}

static bench_strides random_form(bench *b) {
  return (bench_strides)bench_below(b, 3);
}

typedef struct attention {
  const weft_array *inputs[INPUTS];
  weft_attributes attributes;
  weft_array *out;
} attention;

static attention plain(bench *b, const shape *s) {
  int64_t heads = s->groups * s->heads;
  attention a = {.attributes = {.attention = {.scale = 0.25f}}};
  a.inputs[Q] = bench_random(b, s->dtype, 4, (int64_t[]){s->batches, heads, s->queries, s->d},
                             random_form(b));
  a.inputs[K] = bench_random(b, s->dtype, 4, (int64_t[]){s->batches, s->groups, s->keys, s->d},
                             random_form(b));
  a.inputs[V] = bench_random(b, s->dtype, 4, (int64_t[]){s->batches, s->groups, s->keys, s->e},
                             random_form(b));
  a.attributes.attention.heads_last = bench_below(b, 2);
  bool last = a.attributes.attention.heads_last;
  a.out = bench_array(
      b, s->dtype, 4,
      (int64_t[]){s->batches, last ? s->queries : heads, last ? heads : s->queries, s->e},
      BENCH_DENSE);
  return a;
}

static attention random_attention(bench *b, const shape *s) {
  attention a = plain(b, s);
  a.attributes.attention.causal = bench_below(b, 2);
  a.attributes.attention.window = bench_below(b, 3) ? 0 : 1 + (int64_t)bench_below(b, 100);
  a.attributes.attention.softcap = bench_below(b, 3) ? 0 : 3;
  if (bench_below(b, 2)) a.inputs[MASK] = random_mask(b, s);
  if (bench_below(b, 2)) a.inputs[LENGTHS] = random_lengths(b, s, a.inputs[K], a.inputs[V]);
  if (bench_below(b, 3) == 0)
    a.inputs[SINK] = bench_random(b, s->dtype, 1, (int64_t[]){s->groups * s->heads}, BENCH_DENSE);
  return a;
}

static bool attend(gpu_bench *g, const attention *a) {
  unsigned before = check_failures;
  gpu_check(g, WEFT_OP_ATTENTION, &a->attributes, a->inputs, INPUTS, a->out, close_enough);
  return check_failures == before;
}

/* As it is chosen, and then each other candidate. */
static void attend_in_all_ways(gpu_bench *g, const attention *a) {
  const weft_array *out = a->out;
  weft_node node = {
      .op = WEFT_OP_ATTENTION, .name = WEFT_STR("tested"), .attributes = a->attributes};
  if (!attend(g, a)) return;
  weft_tuner *tuner = g->gpu->tuner;
  weft_tune_entry *entry = &tuner->entries[tuner->asked];
  CHECK(entry->candidates > 1);
  for (uint32_t i = 0; i < entry->candidates; i++) {
    entry->choice = i;
    entry->measured = true;
    CHECK_OK(gpu_run_step(g, &node, a->inputs, INPUTS, &out, 1, close_enough), &g->cpu.error);
  }
  entry->choice = entry->prior;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_random(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int i = 0; i < 8; i++) {
    shape s = {.batches = PICK(b, 1, 1, 2, 3),
               .groups = PICK(b, 1, 2, 3),
               .heads = PICK(b, 1, 1, 2, 3, 8, 9),
               .queries = PICK(b, 1, 1, 2, 5, 16, 31, 70),
               .keys = PICK(b, 1, 2, 31, 64, 65, 130, 300),
               .d = PICK(b, 1, 6, 16, 32, 64),
               .e = PICK(b, 2, 16, 32, 42, 64),
               .dtype = bench_below(b, 3) ? WEFT_F32 : WEFT_F16};
    attention a = random_attention(b, &s);
    if (!attend(g, &a))
      check_print("  case %d: [%lld,%lld x %lld,%lld,%lld] on [%lld,%lld] mask %d lengths %d sink "
                  "%d causal %d window %lld cap %g\n",
                  i, (long long)s.batches, (long long)s.groups, (long long)s.heads,
                  (long long)s.queries, (long long)s.d, (long long)s.keys, (long long)s.e,
                  a.inputs[MASK] != NULL, a.inputs[LENGTHS] != NULL, a.inputs[SINK] != NULL,
                  a.attributes.attention.causal, (long long)a.attributes.attention.window,
                  (double)a.attributes.attention.softcap);
    bench_clear(b);
  }
}

static void test_candidates(gpu_bench *g) {
  static const shape shapes[] = {
      {1, 2, 2, 40, 75, 64, 64, WEFT_F32},
      {1, 1, 1, 20, 40, 256, 256, WEFT_F16},
      {2, 2, 3, 1, 150, 64, 100, WEFT_F32},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    attention a = random_attention(&g->cpu, &shapes[i]);
    attend_in_all_ways(g, &a);
    bench_clear(&g->cpu);
  }
}

/* One query on pasts of several parts; the step says whether they were joined. */
static void test_long_pasts(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int i = 0; i < 4; i++) {
    shape s = {.batches = PICK(b, 1, 2),
               .groups = PICK(b, 1, 2),
               .heads = PICK(b, 1, 4, 11),
               .queries = PICK(b, 1, 3),
               .keys = 700 + (int64_t)bench_below(b, 301),
               .d = PICK(b, 32, 64),
               .e = 64,
               .dtype = i % 2 ? WEFT_F32 : WEFT_F16};
    attention a = random_attention(b, &s);
    attend(g, &a);
    bench_clear(b);
  }
}

/* A longer past asks for no other kernels. */
static void test_nothing_compiled(gpu_bench *g) {
  bench *b = &g->cpu;
  shape s = {1, 2, 2, 1, 60, 64, 64, WEFT_F32};
  const weft_gpu_kernel *first[3];
  for (int i = 0; i < 3; i++, s.keys *= 6) {
    attention a = plain(b, &s);
    weft_node node = {.op = WEFT_OP_ATTENTION, .attributes = a.attributes};
    weft_array arrays[3];
    const weft_array *inputs[3], *outputs[] = {a.out};
    for (int n = 0; n < 3; n++) {
      arrays[n] = *a.inputs[n];
      arrays[n].on_device = true;
      weft_array_set_dense(&arrays[n]);
      arrays[n].offset = 0;
      inputs[n] = &arrays[n];
    }
    weft_step step = {.node = &node,
                      .on_device = true,
                      .inputs = inputs,
                      .input_count = 3,
                      .outputs = outputs,
                      .output_count = 1};
    CHECK_OK(g->device->prepare(g->device, &step, &b->arena, &b->error), &b->error);
    const weft_gpu_work *work = step.state;
    bool cut = !weft_gpu_cpu_lanes(g->gpu->facts); /* a CPU has no use for parts of the keys */
    CHECK_INT(work->count, cut ? 3 : 1);
    CHECK_INT(work->dispatches[0].skip, cut && s.keys > 256);
    for (uint32_t n = 0; n < work->count; n++) {
      if (i == 0) first[n] = work->dispatches[n].kernel;
      CHECK(first[n] == work->dispatches[n].kernel);
    }
    bench_clear(b);
  }
}

/* No keys at all, or none that is seen: zeros, whatever lies there. */
static void test_nothing_seen(gpu_bench *g) {
  bench *b = &g->cpu;
  static const shape shapes[] = {{1, 1, 2, 1, 3, 8, 8, WEFT_F32}, {1, 1, 2, 20, 3, 8, 8, WEFT_F32}};
  for (int i = 0; i < 2; i++)
    for (int form = 0; form < 3; form++) {
      attention a = plain(b, &shapes[i]);
      a.attributes.attention.causal = true;
      if (form == 0) {
        weft_array *lengths = bench_array(b, WEFT_I32, 1, (int64_t[]){1}, BENCH_DENSE);
        bench_set_int(b, lengths, 0, 0);
        a.inputs[LENGTHS] = lengths;
      } else if (form == 1) {
        weft_array *mask = bench_array(b, WEFT_F32, 1, (int64_t[]){3}, BENCH_DENSE);
        for (uint64_t n = 0; n < 3; n++) set_bits(b, mask, n, minus_infinity);
        a.inputs[MASK] = mask;
      }
      attend(g, &a);
      bench_clear(b);
    }
}

static void test_refused(gpu_bench *g) {
  bench *b = &g->cpu;
  shape s = {1, 1, 1, 5, 5, 8, 7, WEFT_F16};
  attention a = plain(b, &s);
  const weft_array *out = a.out;
  weft_node node = {
      .op = WEFT_OP_ATTENTION, .name = WEFT_STR("tested"), .attributes = a.attributes};
  CHECK_INT(gpu_run_step(g, &node, a.inputs, INPUTS, &out, 1, close_enough), WEFT_UNSUPPORTED);
  CHECK_TEXT(b->error.message,
             "node 'tested' (attention, on the GPU): values of 7 numbers of 16 bits");
}

/* ---- variants -------------------------------------------------------------------------------- */

/* Exchanges in subgroups first, where there are some. */
static void as_intel(weft_gpu_facts *facts) {
  facts->is_software = false;
  memcpy(facts->vendor, "intel", sizeof "intel");
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_random),       GPU_SLOW_TEST(test_candidates),
                                   GPU_TEST(test_long_pasts),   GPU_TEST(test_nothing_compiled),
                                   GPU_TEST(test_nothing_seen), GPU_TEST(test_refused)};
  static const gpu_variant exchange = {"exchange", as_intel};
  const char *adapter = gpu_adapter(argc, argv);
  gpu_run_tests(adapter, gpu_variants, GPU_VARIANTS, tests, sizeof tests / sizeof *tests);
  gpu_run_tests(adapter, &exchange, 1, tests, 1);
  return check_result();
}
