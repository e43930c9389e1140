/* gpu_tuner.c - does the tuner find what is fastest? For the shapes of MiniLM-L6 and of the decoder
 * of the speed goals it compiles every candidate, then times each by itself, in many rounds, so
 * that the best is known; and compares the guess, and what the tuner takes in its modes `fast` and
 * `full`, with that. It says how long compiling, tuning and a start from kept text take.
 *
 *     build/native/tests/bench_gpu_tuner [ADAPTER]                                    natively
 *     build/lavapipe/node tests/gpu/run-wasm.mjs build/wasm-b/tests/bench_gpu_tuner.wasm   on Dawn
 *
 * WEFT_GPU_SHAPES=HEAD takes only shapes whose names begin so. Where the GPU is a CPU, the
 * figures want a quiet machine. */
#include "base/text.h"
#include "gpu/matmul.h"
#include "gpu/tuner_table.h"
#include "tests/gpu/gpu_variant.h"

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef enum epilogue { BIAS, BIAS_GELU, BIAS_RESIDUAL, PLAIN, RESIDUAL } epilogue;

/* A product by a packed weight, or (heads > 0) attention of m queries on k keys. */
typedef struct shape {
  const char *name;
  int64_t m, k, n;
  uint32_t bits; /* 32: floats; 4: codes in blocks of 32, f16 scales, rows may be rounded */
  epilogue epilogue;
  int64_t groups, heads, d; /* attention: of keys and values; queries for each; size */
} shape;

static const shape shapes[] = {
    {"minilm-16-qkv", 16, 384, 1152, 32, BIAS, 0, 0, 0},
    {"minilm-16-out", 16, 384, 384, 32, BIAS_RESIDUAL, 0, 0, 0},
    {"minilm-16-up", 16, 384, 1536, 32, BIAS_GELU, 0, 0, 0},
    {"minilm-16-down", 16, 1536, 384, 32, BIAS_RESIDUAL, 0, 0, 0},
    {"minilm-16-attention", 16, 16, 0, 0, PLAIN, 12, 1, 32},
    {"minilm-128-qkv", 128, 384, 1152, 32, BIAS, 0, 0, 0},
    {"minilm-128-out", 128, 384, 384, 32, BIAS_RESIDUAL, 0, 0, 0},
    {"minilm-128-up", 128, 384, 1536, 32, BIAS_GELU, 0, 0, 0},
    {"minilm-128-down", 128, 1536, 384, 32, BIAS_RESIDUAL, 0, 0, 0},
    {"minilm-128-attention", 128, 128, 0, 0, PLAIN, 12, 1, 32},
    {"decoder-1-qkv", 1, 768, 1280, 4, PLAIN, 0, 0, 0},
    {"decoder-1-out", 1, 768, 768, 4, RESIDUAL, 0, 0, 0},
    {"decoder-1-up", 1, 768, 4096, 4, PLAIN, 0, 0, 0},
    {"decoder-1-down", 1, 2048, 768, 4, RESIDUAL, 0, 0, 0},
    {"decoder-1-head", 1, 768, 32000, 4, PLAIN, 0, 0, 0},
    {"decoder-1-attention", 1, 256, 0, 0, PLAIN, 4, 3, 64},
    {"decoder-128-qkv", 128, 768, 1280, 4, PLAIN, 0, 0, 0},
    {"decoder-128-up", 128, 768, 4096, 4, PLAIN, 0, 0, 0},
    {"decoder-128-down", 128, 2048, 768, 4, RESIDUAL, 0, 0, 0},
    {"decoder-128-attention", 128, 128, 0, 0, PLAIN, 4, 3, 64},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, CANDIDATES_MAX = 48 };

static bool is_wanted(const shape *s) {
  const char *head = getenv("WEFT_GPU_SHAPES");
  for (uint32_t i = 0; head && head[i]; i++)
    if (s->name[i] != head[i]) return false;
  return true;
}

static weft_instruction bias_code[] = {
    {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {0, 1}},
    {.op = WEFT_EXPR_GELU_ERF, .dtype = WEFT_F32, .operands = {2}}};
static weft_instruction residual_code[] = {
    {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {0, 1}},
    {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {3, 2}}};

static weft_expr expr_of(epilogue epilogue) {
  static const uint8_t inputs[] = {2, 2, 3, 0, 2}, counts[] = {1, 2, 2, 0, 1};
  return (weft_expr){.input_count = inputs[epilogue],
                     .code_count = counts[epilogue],
                     .input_dtypes = {WEFT_F32, WEFT_F32, WEFT_F32},
                     .code = epilogue == BIAS_RESIDUAL ? residual_code : bias_code};
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* A shape's step, prepared for one candidate after the other. */
typedef struct work {
  gpu_run run;
  weft_node node;
  weft_step *step;
  const weft_array *result;
} work;

static weft_array like(weft_dtype dtype, int32_t rank, const int64_t *dims) {
  weft_array array = {.dtype = dtype, .rank = rank, .elements = 1};
  for (int32_t i = 0; i < rank; i++) array.dims[i] = dims[i], array.elements *= (uint64_t)dims[i];
  weft_array_set_dense(&array);
  return array;
}

/* `words` words of random f32 in [1, 2), or random codes, then of `scale`. */
static weft_array *place_words(work *w, weft_array array, uint64_t words, uint64_t codes,
                               bool floats, uint32_t scale) {
  uint32_t *fill = malloc((size_t)words * 4);
  for (uint64_t i = 0; i < words; i++) {
    uint32_t random = (uint32_t)(check_random(&w->run.g->cpu.random) >> 20);
    fill[i] = i >= codes ? scale : floats ? 0x3f800000u | random >> 9 : random;
  }
  weft_array *placed = gpu_place(&w->run, &array, (const uint8_t *)fill, words * 4, 0);
  free(fill);
  return placed;
}

static const weft_array *floats(work *w, int32_t rank, const int64_t *dims) {
  weft_array array = like(WEFT_F32, rank, dims);
  uint64_t words = (array.elements + 3) / 4 * 4;
  return place_words(w, array, words, words, true, 0);
}

static const weft_array *weight(work *w, const shape *s) {
  weft_gpu_format format = {.bits = s->bits};
  if (s->bits < 16)
    format = (weft_gpu_format){.bits = s->bits, .block = 32, .f16_scales = true, .zero = 8};
  weft_gpu_places places = weft_gpu_places_of(&format, 1, (uint64_t)s->k, (uint64_t)s->n);
  weft_array array = like(WEFT_F32, 2, (int64_t[]){s->k, s->n});
  uint64_t codes = s->bits < 16 ? places.scales : places.bytes;
  weft_array *placed =
      place_words(w, array, places.bytes / 4, codes / 4, s->bits == 32, 0x24002400 /* 2^-6 */);
  placed->layout = weft_gpu_layout(&format);
  placed->memory = w->run.memories[placed->slot];
  return placed;
}

static void add_product(work *w, const shape *s) {
  const weft_array *inputs[5] = {floats(w, 2, (int64_t[]){s->m, s->k}), weight(w, s)};
  w->node.attributes.matmul.expr = expr_of(s->epilogue);
  w->node.attributes.matmul.int8_rows = s->bits < 16;
  uint32_t count = 2;
  if (s->epilogue == BIAS || s->epilogue == BIAS_GELU || s->epilogue == BIAS_RESIDUAL)
    inputs[count++] = floats(w, 1, (int64_t[]){s->n});
  if (s->epilogue == BIAS_RESIDUAL || s->epilogue == RESIDUAL)
    inputs[count++] = floats(w, 2, (int64_t[]){s->m, s->n});
  weft_array y = like(WEFT_F32, 2, (int64_t[]){s->m, s->n});
  w->node.op = WEFT_OP_MATMUL;
  w->result = gpu_result(&w->run, &y);
  w->step = gpu_add_step(&w->run, &w->node, inputs, count, &w->result, 1);
}

static void add_attention(work *w, const shape *s) {
  const weft_array *inputs[6] = {floats(w, 4, (int64_t[]){1, s->groups * s->heads, s->m, s->d}),
                                 floats(w, 4, (int64_t[]){1, s->groups, s->k, s->d}),
                                 floats(w, 4, (int64_t[]){1, s->groups, s->k, s->d})};
  weft_array y = like(WEFT_F32, 4, (int64_t[]){1, s->groups * s->heads, s->m, s->d});
  w->node.op = WEFT_OP_ATTENTION;
  w->node.attributes.attention.scale = 0.125f;
  w->node.attributes.attention.causal = s->groups == 4;
  w->result = gpu_result(&w->run, &y);
  w->step = gpu_add_step(&w->run, &w->node, inputs, 6, &w->result, 1);
}

static work *work_open(gpu_bench *g, const shape *s) {
  work *w = calloc(1, sizeof *w);
  w->run.g = g;
  w->node.name = WEFT_STR("tuned");
  if (s->groups)
    add_attention(w, s);
  else
    add_product(w, s);
  gpu_download(&w->run, w->result);
  return w;
}

/* ---- candidates ------------------------------------------------------------------------------ */

enum { COPIES_MAX = 256, ROUND_NS = 5000000, ROUNDS = 16 };

typedef struct candidate {
  weft_step step;
  uint32_t copies; /* in one submit; 0: it does not run here */
  uint64_t compile_ns, best_ns;
} candidate;

typedef struct tested {
  const shape *shape;
  work *work;
  uint32_t entry, count;
  candidate list[CANDIDATES_MAX];
  uint64_t best_ns;
} tested;

static weft_tune_entry *entry_of(const tested *t) {
  return &t->work->run.g->gpu->tuner->entries[t->entry];
}

static bool wait_for_kernels(gpu_bench *g) {
  const weft_device *device = g->device;
  weft_error *error = &g->cpu.error;
  weft_status status = device->ready(device, error);
  while (status == WEFT_PENDING) {
    device->poll(device, true, error);
    status = device->ready(device, error);
  }
  return CHECK_OK(status, error);
}

/* The step by the choices that hold now, in scratch memory of its own, compiled. */
static bool prepare_candidate(work *w, candidate *c) {
  gpu_bench *g = w->run.g;
  const weft_device *device = g->device;
  weft_error *error = &g->cpu.error;
  c->step = *w->step;
  uint64_t started = weft_now_ns(g->cpu.runtime);
  if (device->prepare(device, &c->step, &g->cpu.arena, error) != WEFT_OK) return false;
  if (!wait_for_kernels(g)) return false;
  c->compile_ns = weft_now_ns(g->cpu.runtime) - started;
  c->copies = 1;
  if (c->step.scratch_bytes == 0) return true;
  c->step.scratch_slot = ++w->run.array_count;
  weft_memory *scratch = &w->run.memories[c->step.scratch_slot];
  return CHECK_OK(device->memory_open(device, c->step.scratch_bytes, scratch, error), error);
}

/* Compiles every candidate by itself; answers the time of all. */
static uint64_t compile_all(gpu_bench *g, const shape *s, tested *t) {
  weft_tuner *tuner = g->gpu->tuner;
  uint64_t sum = 0;
  tuner->asked = WEFT_TUNE_NONE;
  *t = (tested){.shape = s, .work = work_open(g, s), .count = 1};
  prepare_candidate(t->work, &t->list[0]);
  if (!CHECK(tuner->asked != WEFT_TUNE_NONE)) return 0;
  t->entry = tuner->asked;
  t->count = entry_of(t)->candidates;
  check_print("%s: %u candidates\n", s->name, t->count);
  for (uint32_t i = 0; i < t->count; i++) {
    entry_of(t)->choice = i;
    if (i > 0) prepare_candidate(t->work, &t->list[i]);
    sum += t->list[i].compile_ns;
    check_print("  %u: compiled in %u ms", i, (unsigned)(t->list[i].compile_ns / 1000000));
    gpu_print_variant(g, entry_of(t), i);
    check_print("\n");
  }
  entry_of(t)->choice = entry_of(t)->prior;
  return sum;
}

static uint64_t time_candidate(work *w, const candidate *c) {
  static weft_step steps[COPIES_MAX + 1];
  gpu_bench *g = w->run.g;
  for (uint32_t i = 0; i < c->copies; i++) steps[i] = c->step;
  steps[c->copies] = w->run.steps[1]; /* the read-back */
  weft_plan plan = {.steps = steps, .step_count = c->copies + 1};
  weft_execution execution = {
      .runtime = g->cpu.runtime, .plan = &plan, .bases = w->run.bases, .memories = w->run.memories};
  uint64_t started = weft_now_ns(g->cpu.runtime);
  weft_status status = g->device->execute(g->device, &execution, &g->cpu.error);
  while (status == WEFT_PENDING) {
    g->device->poll(g->device, true, &g->cpu.error);
    status = g->device->execute(g->device, &execution, &g->cpu.error);
  }
  CHECK_OK(status, &g->cpu.error);
  return (weft_now_ns(g->cpu.runtime) - started) / c->copies;
}

/* All candidates' times: the least of many rounds, each of which takes every one. Those that are
 * far behind have fewer. */
static void time_all(tested *t) {
  uint64_t best = UINT64_MAX;
  for (uint32_t round = 0; round < ROUNDS; round++)
    for (uint32_t i = 0; i < t->count; i++) {
      candidate *c = &t->list[i];
      if (!c->copies || (round > 2 && c->best_ns > best + best / 2)) continue;
      uint64_t ns = time_candidate(t->work, c);
      if (round < 2 || ns < c->best_ns) c->best_ns = ns; /* at first it warms up */
      if (round > 0 && ns < best) best = ns;
      if (ns * c->copies < ROUND_NS && c->copies < COPIES_MAX) c->copies *= 2;
    }
  t->best_ns = best;
  check_print("%s:\n", t->shape->name);
  for (uint32_t i = 0; i < t->count; i++)
    check_print("  %u: %u us\n", i, (unsigned)(t->list[i].best_ns / 1000));
}

/* ---- the tuner ------------------------------------------------------------------------------- */

/* Its choices are made anew, as in a session of its own; the kernels are compiled already. Answers
 * the chosen one's time against the best. */
static double tune(const tested *t, weft_tune mode, const char *name) {
  work *w = t->work;
  gpu_bench *g = w->run.g;
  weft_gpu_device *gpu = (weft_gpu_device *)(void *)g->device;
  weft_tuner *tuner = g->gpu->tuner;
  weft_tune_entry *entry = entry_of(t);
  entry->measured = false;
  gpu->tune = mode;
  tuner->spender = NULL;
  weft_plan plan = {.steps = w->run.steps, .step_count = 1, .pool_count = GPU_ARRAYS};
  weft_execution execution = {
      .runtime = g->cpu.runtime, .plan = &plan, .bases = w->run.bases, .memories = w->run.memories};
  weft_status status = g->device->tune(g->device, &execution, &g->cpu.error);
  while (status == WEFT_PENDING) {
    g->device->poll(g->device, true, &g->cpu.error);
    status = g->device->tune(g->device, &execution, &g->cpu.error);
  }
  CHECK_OK(status, &g->cpu.error);
  double ratio = (double)t->list[entry->choice].best_ns / (double)t->best_ns;
  check_print(", %s %u: %.3g in %u ms (%u on the GPU)", name, entry->choice, ratio,
              (unsigned)(tuner->wall_ns / 1000000), (unsigned)(tuner->gpu_ns / 1000000));
  return ratio;
}

/* ---- report ---------------------------------------------------------------------------------- */

enum { BEST, GUESS, FAST, FULL, SUMS };

static void compare(tested *t, double sums[SUMS], double worst[SUMS]) {
  const weft_tuner *tuner = t->work->run.g->gpu->tuner;
  static uint64_t took[SUMS];
  double ratios[SUMS] = {1, 0, 0, 0}, best = (double)t->best_ns;
  time_all(t);
  best = (double)t->best_ns;
  ratios[GUESS] = (double)t->list[entry_of(t)->prior].best_ns / best;
  check_print("  guess %.3g", ratios[GUESS]);
  ratios[FAST] = tune(t, WEFT_TUNE_FAST, "fast");
  took[FAST] += tuner->gpu_ns;
  ratios[FULL] = tune(t, WEFT_TUNE_FULL, "full");
  took[FULL] += tuner->gpu_ns;
  check_print("; so far fast %u ms, full %u ms\n", (unsigned)(took[FAST] / 1000000),
              (unsigned)(took[FULL] / 1000000));
  for (uint32_t i = 0; i < SUMS; i++) {
    sums[i] += ratios[i] * best;
    if (ratios[i] > worst[i]) worst[i] = ratios[i];
  }
}

/* Reading what was kept, and preparing all steps by it. */
static void start_again(gpu_bench *g, const tested *list, uint32_t count) {
  static char lines[1 << 16];
  weft_text text = {.buffer = lines, .size = sizeof lines};
  weft_tuner_write(g->gpu, &text);
  g->gpu->tuner->count = 0;
  uint64_t started = weft_now_ns(g->cpu.runtime);
  CHECK_OK(weft_tuner_read(g->gpu, lines, text.length, &g->cpu.error), &g->cpu.error);
  uint64_t read = weft_now_ns(g->cpu.runtime);
  for (uint32_t i = 0; i < count; i++) {
    weft_step step = *list[i].work->step;
    CHECK_OK(g->device->prepare(g->device, &step, &g->cpu.arena, &g->cpu.error), &g->cpu.error);
  }
  check_print("start from what was kept: %u bytes read in %u us, all steps prepared in %u us\n",
              (unsigned)text.length, (unsigned)((read - started) / 1000),
              (unsigned)((weft_now_ns(g->cpu.runtime) - read) / 1000));
}

int main(int argc, char **argv) {
  gpu_bench *g = calloc(1, sizeof *g);
  tested *list = calloc(SHAPES, sizeof *list);
  uint32_t count = 0;
  uint64_t compiled = 0;
  double sums[SUMS] = {0}, worst[SUMS] = {0};
  if (!gpu_open(g, gpu_adapter(argc, argv), &gpu_variants[GPU_VARIANTS - 1])) return check_result();
  for (uint32_t i = 0; i < SHAPES; i++)
    if (is_wanted(&shapes[i])) compiled += compile_all(g, &shapes[i], &list[count++]);
  check_print("compiled in %u ms; measuring\n", (unsigned)(compiled / 1000000));
  for (uint32_t i = 0; i < count; i++) compare(&list[i], sums, worst);
  check_print("all: guess %.3g of the best, fast %.3g (at worst %.3g), full %.3g (at worst %.3g)\n",
              sums[GUESS] / sums[BEST], sums[FAST] / sums[BEST], worst[FAST],
              sums[FULL] / sums[BEST], worst[FULL]);
  start_again(g, list, count);
  for (uint32_t i = 0; i < count; i++) gpu_end(&list[i].work->run);
  gpu_close(g);
  free(list);
  free(g);
  return check_result();
}
