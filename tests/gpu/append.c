/* Tests of append on the GPU against the CPU: rows behind a past, at a total, at lengths; types,
 * strides; a present that lies in the past's own memory, with rows behind it that nobody
 * may touch; lengths that do not fit. */
#include "tests/gpu/gpu_step.h"

static const gpu_tolerance equal = {0, 0};

enum { PAST, ADDED, TOTAL, LENGTHS, INPUTS };

typedef struct append {
  const weft_array *inputs[INPUTS];
  const weft_array *present;
  weft_node node;
} append;

/* Lengths: none, as a number for all, or one for each batch entry. */
static append random_append(bench *b, weft_dtype dtype, int64_t capacity) {
  int64_t batches = 1 + (int64_t)bench_below(b, 6), heads = 1 + (int64_t)bench_below(b, 3);
  int64_t past = (int64_t)bench_below(b, 20), added = 1 + (int64_t)bench_below(b, 5), d = 8;
  int64_t rows = past + added;
  append a = {.node = {.op = WEFT_OP_APPEND, .name = WEFT_STR("tested")}};
  bench_strides form = (bench_strides)bench_below(b, 2);
  if (capacity) { /* [B,H,capacity,D]: as a cache lies, but wider */
    weft_array *whole =
        bench_random(b, dtype, 4, (int64_t[]){batches, heads, capacity, d}, BENCH_DENSE);
    whole->dims[2] = past;
    whole->elements = (uint64_t)(batches * heads * past * d);
    a.inputs[PAST] = whole;
  } else {
    a.inputs[PAST] = bench_random(b, dtype, 4, (int64_t[]){batches, heads, past, d}, form);
  }
  a.inputs[ADDED] = bench_random(b, dtype, 4, (int64_t[]){batches, heads, added, d}, form);
  uint64_t kind = bench_below(b, 3);
  if (kind > 0) {
    int64_t total = added + (int64_t)bench_below(b, 20);
    rows = total > past ? total : past;
    a.inputs[TOTAL] = bench_host(b, &total, 1);
  }
  if (kind > 1) {
    int64_t lengths[8];
    for (int64_t n = 0; n < batches; n++)
      lengths[n] = added + (int64_t)bench_below(b, (uint64_t)(rows - added + 1));
    a.inputs[LENGTHS] = bench_host(b, lengths, (int32_t)batches);
  }
  a.present = bench_array(b, dtype, 4, (int64_t[]){batches, heads, rows, d}, BENCH_DENSE);
  return a;
}

static const weft_dtype dtypes[] = {WEFT_F32, WEFT_F16, WEFT_I64};

static void test_copied(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int i = 0; i < 40; i++) {
    append a = random_append(b, dtypes[i % 3], 0);
    if (!CHECK_OK(gpu_expect(g, &a.node, a.inputs, INPUTS, &a.present, 1), &b->error)) break;
    CHECK_OK(gpu_run_step(g, &a.node, a.inputs, INPUTS, &a.present, 1, equal), &b->error);
    bench_clear(b);
  }
}

/* ---- in place -------------------------------------------------------------------------------- */

enum { CAPACITY = 64 };

/* Every byte of the buffer, which was `before`: rows of the present are expected, the others as
 * they were. */
static void check_buffer(const gpu_bench *g, const append *a, const uint8_t *before,
                         const uint8_t *after) {
  const weft_array *present = a->present;
  uint64_t row = (uint64_t)present->dims[3] * weft_dtype_size(present->dtype);
  uint64_t rows = (uint64_t)present->dims[2],
           lines = (uint64_t)present->dims[0] * (uint64_t)present->dims[1] * CAPACITY;
  for (uint64_t line = 0; g->executes && line < lines; line++) {
    uint64_t t = line % CAPACITY, head = line / CAPACITY;
    const uint8_t *expected =
        t < rows ? g->cpu.bases[present->slot] + (head * rows + t) * row : before + line * row;
    if (!CHECK(memcmp(after + line * row, expected, (size_t)row) == 0)) return;
  }
}

static bool rewrites(const bench *b, const append *a) {
  const weft_array *past = a->inputs[PAST], *added = a->inputs[ADDED];
  if (added->dims[2] == a->present->dims[2]) return past->dims[2] > 0;
  for (int64_t n = 0; a->inputs[LENGTHS] && n < past->dims[0]; n++)
    if (bench_int(b, a->inputs[LENGTHS], (uint64_t)n) - added->dims[2] < past->dims[2]) return true;
  return !a->inputs[LENGTHS] && a->inputs[TOTAL] &&
         bench_int(b, a->inputs[TOTAL], 0) - added->dims[2] < past->dims[2];
}

static void append_in_place(gpu_bench *g, const append *a) {
  bench *b = &g->cpu;
  gpu_run *run = calloc(1, sizeof *run);
  run->g = g;
  const weft_array *past = a->inputs[PAST];
  const uint8_t *before = b->bases[past->slot];
  weft_array *there = gpu_place(run, past, before, b->sizes[past->slot], 0);
  weft_array *present = gpu_new_array(run, a->present);
  present->on_device = true;
  for (int i = 0; i < 3; i++) present->strides[i] = there->strides[i];
  run->memories[present->slot] = run->memories[there->slot];
  run->sizes[present->slot] = run->sizes[there->slot];
  const weft_array *inputs[INPUTS] = {there, gpu_take(run, &a->node, ADDED, a->inputs[ADDED]),
                                      a->inputs[TOTAL], a->inputs[LENGTHS]};
  const weft_array *outputs[] = {present};
  gpu_add_step(run, &a->node, inputs, INPUTS, outputs, 1);
  uint32_t slot = gpu_download(run, present);
  int detached = 0;
  CHECK_OK(gpu_prepare_steps(run), &b->error);
  if (CHECK_OK(gpu_execute_detaching(run, &detached), &b->error))
    check_buffer(g, a, before, run->bases[slot]);
  CHECK_INT(detached, rewrites(b, a));
  run->memories[present->slot] = 0;
  gpu_end(run);
}

static void test_in_place(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int i = 0; i < 40; i++) {
    append a = random_append(b, dtypes[i % 3], CAPACITY);
    if (CHECK_OK(gpu_expect(g, &a.node, a.inputs, INPUTS, &a.present, 1), &b->error))
      append_in_place(g, &a);
    bench_clear(b);
  }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void check_refused(gpu_bench *g, const append *a, weft_status status, const char *message) {
  CHECK_INT(gpu_run_step(g, &a->node, a->inputs, INPUTS, &a->present, 1, equal), status);
  CHECK_TEXT(g->cpu.error.message, message);
  bench_clear(&g->cpu);
}

static append simple_append(bench *b, weft_dtype dtype, int64_t batches, int64_t d) {
  append a = {.node = {.op = WEFT_OP_APPEND, .name = WEFT_STR("tested")}};
  a.inputs[PAST] = bench_random(b, dtype, 4, (int64_t[]){batches, 1, 2, d}, BENCH_DENSE);
  a.inputs[ADDED] = bench_random(b, dtype, 4, (int64_t[]){batches, 1, 1, d}, BENCH_DENSE);
  a.present = bench_array(b, dtype, 4, (int64_t[]){batches, 1, 3, d}, BENCH_DENSE);
  return a;
}

static void test_refused(gpu_bench *g) {
  bench *b = &g->cpu;
  append a = simple_append(b, WEFT_F16, 1, 3);
  check_refused(g, &a, WEFT_UNSUPPORTED,
                "node 'tested' (append, on the GPU): rows of 6 bytes, which are no whole words");
  a = simple_append(b, WEFT_F32, 1, 4);
  a.inputs[LENGTHS] = bench_host(b, (int64_t[]){4}, 1);
  check_refused(
      g, &a, WEFT_INVALID_DATA,
      "node 'tested' (append, on the GPU): 1 rows that end at length 4 of batch entry 0 do "
      "not lie in a cache of 3");
  a = simple_append(b, WEFT_F32, 45, 4);
  int64_t lengths[45] = {0};
  a.inputs[LENGTHS] = bench_host(b, lengths, 45);
  check_refused(
      g, &a, WEFT_UNSUPPORTED,
      "node 'tested' (append, on the GPU): 45 sequences of different lengths, where 44 go");
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_copied), GPU_TEST(test_in_place),
                                   GPU_TEST(test_refused)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
