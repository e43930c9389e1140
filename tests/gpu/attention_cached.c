/* Tests of cached_attention on the GPU against the CPU's rotary, append and attention: rows of one
 * product or of three, angles of every form, totals and lengths, masks, sinks, types; caches in
 * place, with rows behind them that nobody may touch, and elsewhere; the number of dispatches. */
#include "gpu/attention.h"
#include "tests/gpu/gpu_step.h"

/* As attention's; at f16 the CPU rounds what it has turned, before it multiplies. */
static gpu_tolerance close_enough(weft_dtype dtype) {
  return (gpu_tolerance){dtype == WEFT_F16 ? 2e-3 : 2e-5, 2e-5};
}

enum { TABLE = 50, CAPACITY = 640, BINDINGS = 8 };

typedef struct cached {
  int64_t batches, groups, heads, queries, past, keys, rows, d, e; /* heads: of a group */
  weft_dtype dtype;
  bool joint, rotary;
  const weft_array *inputs[WEFT_CACHED_INPUTS], *outputs[3];
  weft_array *whole, parts[3]; /* joint: the product, and q, k and v of it */
  weft_node node;
} cached;

static int64_t pick(bench *b, const int64_t *from, uint64_t count) {
  return from[bench_below(b, count)];
}
#define PICK(b, ...)                                                                               \
  pick(b, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- arrays ---------------------------------------------------------------------------------- */

/* q, k and v [B,heads,S,size] as they lie in a product [B,S,all]. */
static void split_product(bench *b, cached *c) {
  int64_t heads[3] = {c->groups * c->heads, c->groups, c->groups}, sizes[3] = {c->d, c->d, c->e};
  int64_t all = 0, at = 0;
  for (int i = 0; i < 3; i++) all += heads[i] * sizes[i];
  c->whole = bench_random(b, c->dtype, 3, (int64_t[]){c->batches, c->queries, all}, BENCH_DENSE);
  for (int i = 0; i < 3; i++) {
    c->parts[i] = *c->whole;
    c->parts[i].rank = 4;
    c->parts[i].offset = (uint64_t)at * weft_dtype_size(c->dtype);
    c->parts[i].elements = (uint64_t)(c->batches * heads[i] * c->queries * sizes[i]);
    memcpy(c->parts[i].dims, (int64_t[]){c->batches, heads[i], c->queries, sizes[i]}, 32);
    memcpy(c->parts[i].strides, (int64_t[]){c->queries * all, sizes[i], all, 1}, 32);
    c->inputs[WEFT_CACHED_Q + i] = &c->parts[i];
    at += heads[i] * sizes[i];
  }
}

static void make_rows(bench *b, cached *c) {
  int64_t heads[3] = {c->groups * c->heads, c->groups, c->groups}, sizes[3] = {c->d, c->d, c->e};
  for (int i = 0; i < 3; i++)
    c->inputs[WEFT_CACHED_Q + i] =
        bench_random(b, c->dtype, 4, (int64_t[]){c->batches, heads[i], c->queries, sizes[i]},
                     (bench_strides)bench_below(b, 3));
}

static void make_angles(bench *b, cached *c) {
  bool interleaved = bench_below(b, 2), by_position = bench_below(b, 2);
  int64_t step = interleaved ? 2 : 4, half = c->d / 2;
  if (bench_below(b, 3) == 0) half = step * (1 + (int64_t)bench_below(b, (uint64_t)(half / step)));
  int64_t table[2] = {TABLE, half};
  int64_t all[3] = {bench_below(b, 2) ? c->batches : 1, c->queries, half};
  c->node.attributes.attention.interleaved = interleaved;
  for (int i = 0; i < 2; i++)
    c->inputs[WEFT_CACHED_COSINES + i] =
        bench_random(b, c->dtype, by_position ? 2 : 3, by_position ? table : all, BENCH_DENSE);
  if (!by_position) return;
  weft_array *positions = bench_array(b, WEFT_I64, 2, all, BENCH_DENSE);
  for (uint64_t i = 0; i < positions->elements; i++)
    bench_set_int(b, positions, i, (int64_t)bench_below(b, TABLE));
  c->inputs[WEFT_CACHED_POSITIONS] = positions;
}

/* Lengths: none, as a total, or one for each batch entry too. */
static void make_lengths(bench *b, cached *c) {
  uint64_t kind = bench_below(b, 3);
  c->rows = c->keys = c->past + c->queries;
  if (kind == 0) return;
  if (bench_below(b, 2)) c->keys = c->queries + (int64_t)bench_below(b, (uint64_t)c->past + 20);
  c->rows = c->keys > c->past ? c->keys : c->past;
  c->inputs[WEFT_CACHED_TOTAL] = bench_host(b, &c->keys, 1);
  if (kind == 1) return;
  int64_t lengths[8];
  for (int64_t n = 0; n < c->batches; n++)
    lengths[n] = c->queries + (int64_t)bench_below(b, (uint64_t)(c->keys - c->queries) + 1);
  c->inputs[WEFT_CACHED_ENDS] = bench_host(b, lengths, (int32_t)c->batches);
  weft_array *there = bench_array(b, WEFT_I64, 1, &c->batches, BENCH_DENSE);
  for (int64_t n = 0; n < c->batches; n++) bench_set_int(b, there, (uint64_t)n, lengths[n]);
  c->inputs[WEFT_CACHED_LENGTHS] = there;
}

static uint32_t count_bindings(const cached *c, uint32_t sources) {
  uint32_t count = sources + 1;
  for (uint32_t i = WEFT_CACHED_MASK; i < WEFT_CACHED_INPUTS; i++) {
    bool bound = i <= WEFT_CACHED_SINK || i >= WEFT_CACHED_COSINES;
    count += bound && c->inputs[i] != NULL;
  }
  return count;
}

/* What a node that is left in peace by the device does not have. */
static void make_extras(bench *b, cached *c) {
  int64_t mask[4] = {bench_below(b, 2) ? c->batches : 1, 1, c->queries, c->keys};
  int64_t heads = c->groups * c->heads;
  weft_attributes *a = &c->node.attributes;
  a->attention.causal = bench_below(b, 2);
  a->attention.window = bench_below(b, 3) ? 0 : 1 + (int64_t)bench_below(b, 100);
  a->attention.heads_last = bench_below(b, 2);
  if (bench_below(b, 3) == 0 && count_bindings(c, 3) < BINDINGS)
    c->inputs[WEFT_CACHED_MASK] = bench_random(b, c->dtype, 4, mask, BENCH_DENSE);
  if (bench_below(b, 3) == 0 && count_bindings(c, 3) < BINDINGS)
    c->inputs[WEFT_CACHED_SINK] = bench_random(b, c->dtype, 1, &heads, BENCH_DENSE);
}

/* With a capacity, pasts are views on [B,G,capacity,size]. */
static void make_caches(bench *b, cached *c, bool in_place) {
  bool last = c->node.attributes.attention.heads_last;
  int64_t heads = c->groups * c->heads;
  c->outputs[0] = bench_array(
      b, c->dtype, 4,
      (int64_t[]){c->batches, last ? c->queries : heads, last ? heads : c->queries, c->e},
      BENCH_DENSE);
  for (int i = 0; i < 2; i++) {
    int64_t dims[4] = {c->batches, c->groups, in_place ? CAPACITY : c->past, i ? c->e : c->d};
    weft_array *past = bench_random(b, c->dtype, 4, dims, BENCH_DENSE);
    past->dims[2] = c->past;
    past->elements = (uint64_t)(dims[0] * dims[1] * c->past * dims[3]);
    dims[2] = c->rows;
    c->inputs[WEFT_CACHED_PAST_K + i] = past;
    c->outputs[1 + i] = bench_array(b, c->dtype, 4, dims, BENCH_DENSE);
  }
}

static cached *random_cached(bench *b, cached *c, bool in_place) {
  *c = (cached){.batches = 1 + (int64_t)bench_below(b, 3),
                .groups = 1 + (int64_t)bench_below(b, 2),
                .heads = 1 + (int64_t)bench_below(b, 3),
                .queries = PICK(b, 1, 1, 1, 2, 4, 20),
                .past = PICK(b, 0, 3, 40, 300, 600),
                .d = PICK(b, 8, 16, 64),
                .e = PICK(b, 4, 16, 64),
                .dtype = bench_below(b, 2) ? WEFT_F32 : WEFT_F16,
                .joint = bench_below(b, 2),
                .rotary = bench_below(b, 4) > 0,
                .node = {.op = WEFT_OP_CACHED_ATTENTION,
                         .name = WEFT_STR("tested"),
                         .attributes = {.attention = {.scale = 0.25f}}}};
  if (c->joint)
    split_product(b, c);
  else
    make_rows(b, c);
  if (c->rotary) make_angles(b, c);
  make_lengths(b, c);
  make_extras(b, c);
  make_caches(b, c, in_place);
  return c;
}

/* ---- on the CPU ------------------------------------------------------------------------------ */

static bool expect(gpu_bench *g, weft_op op, const weft_attributes *attributes,
                   const weft_array *const *inputs, uint32_t count, const weft_array *output) {
  weft_node node = {.op = op, .name = WEFT_STR("expected")};
  if (attributes) node.attributes = *attributes;
  return CHECK_OK(gpu_expect(g, &node, inputs, count, &output, 1), &g->cpu.error);
}

static const weft_array *expect_turned(gpu_bench *g, const cached *c, const weft_array *x) {
  weft_attributes attributes = {
      .rotary = {.interleaved = c->node.attributes.attention.interleaved}};
  const weft_array *inputs[] = {x, c->inputs[WEFT_CACHED_COSINES], c->inputs[WEFT_CACHED_SINES],
                                c->inputs[WEFT_CACHED_POSITIONS]};
  if (!c->rotary) return x;
  const weft_array *y = bench_array(&g->cpu, x->dtype, 4, x->dims, BENCH_DENSE);
  return expect(g, WEFT_OP_ROTARY, &attributes, inputs, 4, y) ? y : NULL;
}

/* The rows of a cache that are attended to. */
static weft_array seen_of(const cached *c, const weft_array *present) {
  weft_array seen = *present;
  seen.dims[2] = c->keys;
  seen.elements = (uint64_t)(c->batches * c->groups * c->keys * seen.dims[3]);
  return seen;
}

static bool expect_all(gpu_bench *g, const cached *c) {
  const weft_array *q = expect_turned(g, c, c->inputs[WEFT_CACHED_Q]);
  const weft_array *k = expect_turned(g, c, c->inputs[WEFT_CACHED_K]);
  const weft_array *added[2] = {k, c->inputs[WEFT_CACHED_V]};
  if (!q || !k) return false;
  for (int i = 0; i < 2; i++) {
    const weft_array *inputs[] = {c->inputs[WEFT_CACHED_PAST_K + i], added[i],
                                  c->inputs[WEFT_CACHED_TOTAL], c->inputs[WEFT_CACHED_ENDS]};
    if (!expect(g, WEFT_OP_APPEND, NULL, inputs, 4, c->outputs[1 + i])) return false;
  }
  weft_array k_seen = seen_of(c, c->outputs[1]), v_seen = seen_of(c, c->outputs[2]);
  const weft_array *inputs[] = {q,
                                &k_seen,
                                &v_seen,
                                c->inputs[WEFT_CACHED_MASK],
                                c->inputs[WEFT_CACHED_LENGTHS],
                                c->inputs[WEFT_CACHED_SINK]};
  return expect(g, WEFT_OP_ATTENTION, &c->node.attributes, inputs, 6, c->outputs[0]);
}

/* ---- on the GPU ------------------------------------------------------------------------------ */

static gpu_run *new_run(gpu_bench *g) {
  gpu_run *run = calloc(1, sizeof *run);
  run->g = g;
  return run;
}

/* Joint rows stay so. */
static void take_rows(gpu_run *run, const cached *c, const weft_array **inputs) {
  const weft_array *whole = c->joint ? gpu_upload(run, c->whole) : NULL;
  for (uint32_t i = 0; i < 3; i++) {
    if (!c->joint) {
      inputs[i] = gpu_take(run, &c->node, i, c->inputs[i]);
      continue;
    }
    weft_array *part = gpu_new_array(run, &c->parts[i]);
    part->on_device = true;
    part->slot = whole->slot;
    part->offset += whole->offset;
    inputs[i] = part;
  }
}

static uint32_t count_dispatches(const weft_step *step) {
  const weft_gpu_work *work = step->state;
  uint32_t count = 0;
  for (uint32_t i = 0; i < work->count; i++) count += !work->dispatches[i].skip;
  return count;
}

/* Few rows take one dispatch where what they bind is little enough, and one more where there are
 * parts; other rows one more for the caches. */
static void check_dispatches(const cached *c, const weft_step *step) {
  uint32_t bound = count_bindings(c, (c->joint ? 1 : 3) + 2);
  int64_t rows = c->heads * c->queries;
  bool split = step->scratch_bytes > 0, one = rows <= 8 && bound <= BINDINGS;
  CHECK_INT(count_dispatches(step), (one ? 1 : 2) + split);
  CHECK(!split || c->keys > 256);
}

/* Every byte of a cache's buffer, which was `before`: rows of the present are expected, the others
 * as they were. */
static bool check_buffer(const gpu_bench *g, const weft_array *present, const uint8_t *before,
                         const uint8_t *after) {
  uint64_t size = weft_dtype_size(present->dtype), row = (uint64_t)present->dims[3];
  uint64_t rows = (uint64_t)present->dims[2],
           lines = (uint64_t)(present->dims[0] * present->dims[1]) * CAPACITY;
  bool good = true;
  for (uint64_t i = 0; good && g->executes && i < lines * row; i++) {
    uint64_t line = i / row, t = line % CAPACITY, head = line / CAPACITY;
    const uint8_t *expected = t < rows
                                  ? bench_at(&g->cpu, present, (head * rows + t) * row + i % row)
                                  : before + i * size;
    good = CHECK(
        gpu_matches(present->dtype, after + i * size, expected, close_enough(present->dtype)));
  }
  return good;
}

static bool rewrites(const bench *b, const cached *c) {
  if (c->queries == c->rows) return c->past > 0;
  if (!c->inputs[WEFT_CACHED_ENDS]) return c->keys - c->queries < c->past;
  for (int64_t n = 0; n < c->batches; n++)
    if (bench_int(b, c->inputs[WEFT_CACHED_ENDS], (uint64_t)n) - c->queries < c->past) return true;
  return false;
}

/* Caches elsewhere than their pasts, or in place. */
static void run_on_gpu(gpu_bench *g, const cached *c, bool in_place) {
  bench *b = &g->cpu;
  gpu_run *run = new_run(g);
  const weft_array *inputs[WEFT_CACHED_INPUTS], *outputs[3] = {gpu_result(run, c->outputs[0])};
  uint32_t slots[3];
  take_rows(run, c, inputs);
  for (uint32_t i = 3; i < WEFT_CACHED_INPUTS; i++) {
    bool is_past = i == WEFT_CACHED_PAST_K || i == WEFT_CACHED_PAST_V;
    const weft_array *from = c->inputs[i];
    inputs[i] = is_past ? gpu_place(run, from, b->bases[from->slot], b->sizes[from->slot], 0)
                        : gpu_take(run, &c->node, i, from);
  }
  for (uint32_t i = 0; i < 2; i++) {
    const weft_array *past = inputs[WEFT_CACHED_PAST_K + i];
    if (!in_place) {
      outputs[1 + i] = gpu_result(run, c->outputs[1 + i]);
      continue;
    }
    weft_array *present = gpu_new_array(run, c->outputs[1 + i]);
    present->on_device = true;
    memcpy(present->strides, past->strides, sizeof present->strides);
    run->memories[present->slot] = run->memories[past->slot];
    run->sizes[present->slot] = run->sizes[past->slot];
    outputs[1 + i] = present;
  }
  weft_step *step = gpu_add_step(run, &c->node, inputs, WEFT_CACHED_INPUTS, outputs, 3);
  for (uint32_t i = 0; i < 3; i++) slots[i] = gpu_download(run, outputs[i]);
  int detached = 0;
  if (CHECK_OK(gpu_prepare_steps(run), &b->error)) check_dispatches(c, step);
  if (CHECK_OK(gpu_execute_detaching(run, &detached), &b->error)) {
    gpu_compare(g, c->outputs[0], run->bases[slots[0]], close_enough(c->dtype));
    for (uint32_t i = 1; i < 3; i++) {
      const uint8_t *before = b->bases[c->inputs[WEFT_CACHED_PAST_K + i - 1]->slot];
      if (in_place)
        check_buffer(g, c->outputs[i], before, run->bases[slots[i]]);
      else
        gpu_compare(g, c->outputs[i], run->bases[slots[i]], close_enough(c->dtype));
    }
  }
  CHECK_INT(detached, in_place && rewrites(b, c) ? 2 : 0);
  for (uint32_t i = 1; in_place && i < 3; i++) run->memories[outputs[i]->slot] = 0;
  gpu_end(run);
}

static void test_random(gpu_bench *g, bool in_place, int count) {
  static cached c; /* large */
  for (int i = 0; i < count; i++) {
    random_cached(&g->cpu, &c, in_place);
    unsigned before = check_failures;
    if (expect_all(g, &c)) run_on_gpu(g, &c, in_place);
    if (check_failures != before)
      check_print("  case %d: B %d G %d H %d S %d past %d keys %d rows %d D %d E %d %s%s%s%s\n", i,
                  (int)c.batches, (int)c.groups, (int)c.heads, (int)c.queries, (int)c.past,
                  (int)c.keys, (int)c.rows, (int)c.d, (int)c.e, weft_dtype_name(c.dtype),
                  c.joint ? " joint" : "", c.rotary ? " rotary" : "",
                  c.inputs[WEFT_CACHED_POSITIONS] ? " positions" : "");
    bench_clear(&g->cpu);
  }
}

static void test_elsewhere(gpu_bench *g) {
  test_random(g, false, 2);
}

static void test_in_place(gpu_bench *g) {
  test_random(g, true, 3);
}

static void test_many(gpu_bench *g) {
  for (int i = 0; i < 10; i++) test_random(g, i % 2 == 0, 12);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_refused(gpu_bench *g) {
  bench *b = &g->cpu;
  cached c = {.batches = 1,
              .groups = 1,
              .heads = 1,
              .queries = 2,
              .past = 2,
              .rows = 4,
              .d = 4,
              .e = 4,
              .dtype = WEFT_F32,
              .node = {.op = WEFT_OP_CACHED_ATTENTION, .name = WEFT_STR("tested")}};
  for (int64_t length = 1; length <= 5; length += 4) {
    split_product(b, &c);
    make_caches(b, &c, false);
    c.inputs[WEFT_CACHED_ENDS] = bench_host(b, &length, 1);
    CHECK_INT(
        gpu_run_step(g, &c.node, c.inputs, WEFT_CACHED_INPUTS, c.outputs, 3, close_enough(c.dtype)),
        WEFT_INVALID_DATA);
    CHECK_TEXT(b->error.message,
               length == 1 ? "node 'tested' (cached_attention, on the GPU): 2 rows that end at "
                             "length 1 of batch entry 0 do not lie in a cache of 4"
                           : "node 'tested' (cached_attention, on the GPU): 2 rows that end at "
                             "length 5 of batch entry 0 do not lie in a cache of 4");
    bench_clear(b);
  }
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_elsewhere), GPU_TEST(test_in_place),
                                   GPU_SLOW_TEST(test_many), GPU_TEST(test_refused)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
