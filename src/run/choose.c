/* choose.c - whether the CPU or a GPU runs a model faster, found out by running it on both: on
 * sessions that pack a part of the weights only, so that nothing is taken from the model and little
 * memory is needed for long.
 *
 * What is timed: a run at a length of 128; for decoders, whose caches show what they are, also that
 * of one token, of which 128 are to follow. */
#include "base/memory.h"
#include "base/text.h"
#include "gpu/gpu.h"
#include "run/session.h"

/* More than the caches of most machines, so that weights come from memory as they will. */
#define SAMPLE_BYTES (64ull << 20)
#define TOKENS       128u
/* Of a run; and of all runs at one length, but that one is always made. */
#define LIMIT_NS  500000000ull
#define BUDGET_NS 200000000ull
enum { RUNS_MAX = 5 };

enum { ON_CPU, ON_GPU, SIDES };
enum { LONG, TOKEN, LENGTHS };
static const int64_t lengths[LENGTHS] = {WEFT_LONG_EXTENT, 1};
static const char *const names[SIDES] = {"CPU", "GPU"};

typedef struct trial {
  bool failed;
  weft_error error;
  uint64_t ns[LENGTHS]; /* of the fastest run */
} trial;

struct weft_chooser {
  weft_model *model;
  weft_session_options options;
  trial trials[SIDES];
  uint32_t side;
  bool decodes; /* the model has caches */

  /* Of the side that is tried: */
  weft_session *session; /* NULL: not yet open */
  uint32_t length, runs; /* which of `lengths`; how many runs were made of it */
  bool prepared, running;
  uint64_t started, spent; /* when the run began; ns of those before */
  weft_arena arena;        /* of the bindings of a length */
  weft_binding *inputs, *outputs;
  uint32_t input_count, output_count;
};

weft_status weft_chooser_open(weft_model *model, const weft_session_options *options,
                              weft_chooser **out, weft_error *error) {
  *out = NULL;
  if (!options || !options->gpu)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no GPU to choose");
  weft_heap *heap = &model->runtime->heap;
  weft_chooser *chooser = weft_heap_allocate_zeroed(heap, sizeof *chooser);
  if (!chooser) return weft_heap_fail(heap, sizeof *chooser, "a choice", error);
  chooser->model = weft_model_retain(model);
  chooser->options = *options;
  chooser->options.consume_model = false;
  chooser->options.profile = false;
  chooser->options.tune = WEFT_TUNE_OFF;
  chooser->options.progress = NULL;
  weft_arena_init(&chooser->arena, heap);
  *out = chooser;
  return WEFT_OK;
}

/* ---- one length ------------------------------------------------------------------------------ */

/* Ones, which are good indices, lengths and masks; floats of an eighth. */
static void fill(weft_tensor *tensor) {
  static const uint8_t ones[8] = {1};
  static const uint8_t f16[2] = {0, 0x30}, bf16[2] = {0, 0x3e}, f32[4] = {0, 0, 0, 0x3e};
  static const uint8_t f64[8] = {0, 0, 0, 0, 0, 0, 0xc0, 0x3f};
  const uint8_t *element = tensor->dtype == WEFT_F16    ? f16
                           : tensor->dtype == WEFT_BF16 ? bf16
                           : tensor->dtype == WEFT_F32  ? f32
                           : tensor->dtype == WEFT_F64  ? f64
                                                        : ones;
  size_t size = weft_dtype_size(tensor->dtype);
  for (uint64_t at = 0; at < tensor->bytes; at += size) memcpy(tensor->data + at, element, size);
}

static void release_bindings(weft_chooser *c) {
  for (uint32_t i = 0; i < c->input_count; i++) weft_tensor_close(&c->inputs[i].tensor);
  c->input_count = 0;
  weft_arena_reset(&c->arena);
}

static weft_status make_bindings(weft_chooser *c, weft_error *error) {
  weft_session *session = c->session;
  const weft_graph *graph = &session->graph;
  const weft_region *region = &graph->regions[0];
  weft_value_info info;
  if (!weft_session_guess(session, lengths[c->length], &c->arena))
    return weft_fail(error, WEFT_UNSUPPORTED, "its inputs' shapes cannot be guessed");
  c->inputs = WEFT_ARENA_ARRAY(&c->arena, weft_binding, (uint64_t)region->input_count + 1);
  c->outputs = WEFT_ARENA_ARRAY(&c->arena, weft_binding, (uint64_t)region->output_count + 1);
  if (!c->inputs || !c->outputs) return weft_arena_fail(&c->arena, "a choice", error);
  for (uint32_t i = 0; i < region->input_count; i++) {
    weft_binding *input = &c->inputs[i];
    WEFT_TRY(weft_model_input(c->model, i, &info));
    WEFT_TRY(weft_tensor_open(session->runtime, info.dtype, session->dims[i], session->ranks[i],
                              &input->tensor, error));
    input->name = info.name;
    c->input_count = i + 1;
    fill(input->tensor);
  }
  for (c->output_count = 0; c->output_count < region->output_count; c->output_count++)
    c->outputs[c->output_count].name = weft_session_output_name(session, c->output_count);
  return WEFT_OK;
}

static weft_status go_on(weft_chooser *c, weft_error *error) {
  if (c->running) return weft_session_resume(c->session, error);
  if (!c->input_count) WEFT_TRY(make_bindings(c, error));
  for (uint32_t o = 0; o < c->output_count; o++) c->outputs[o].tensor = NULL;
  weft_run_options limited = {.time_limit_ns = LIMIT_NS};
  c->started = weft_now_ns(c->session->runtime);
  return weft_session_run(c->session, &limited, c->inputs, c->input_count, c->outputs,
                          c->output_count, error);
}

/* The fastest of some runs; one that takes too long counts as long as that. */
static weft_status time_length(weft_chooser *c, weft_error *error) {
  uint64_t *best = &c->trials[c->side].ns[c->length];
  while (c->runs < RUNS_MAX && (c->runs == 0 || c->spent < BUDGET_NS)) {
    weft_status status = go_on(c, error);
    c->running = status == WEFT_PENDING;
    if (status != WEFT_OK && status != WEFT_TIMED_OUT) return status;
    uint64_t ns = weft_now_ns(c->session->runtime) - c->started;
    if (c->runs++ == 0 || ns < *best) *best = ns;
    c->spent += ns;
  }
  release_bindings(c);
  c->runs = 0;
  c->spent = 0;
  return WEFT_OK;
}

/* ---- one side -------------------------------------------------------------------------------- */

static weft_status try_side(weft_chooser *c, weft_error *error) {
  weft_session_options options = c->options;
  if (c->side == ON_CPU) options.gpu = NULL;
  if (!c->session) {
    WEFT_TRY(weft_session_open_sample(c->model, &options, SAMPLE_BYTES, &c->session, error));
    c->decodes = c->session->cache_count > 0;
  }
  if (!c->prepared) WEFT_TRY(weft_session_prepare(c->session, error));
  c->prepared = true;
  for (; c->length < (c->decodes ? LENGTHS : TOKEN); c->length++) WEFT_TRY(time_length(c, error));
  return WEFT_OK;
}

static void end_side(weft_chooser *c) {
  weft_session_close(&c->session);
  release_bindings(c);
  c->prepared = c->running = false;
  c->length = c->runs = 0;
  c->spent = 0;
}

/* ---- the choice ------------------------------------------------------------------------------ */

static uint64_t cost_of(const weft_chooser *c, uint32_t side) {
  const trial *t = &c->trials[side];
  return t->ns[LONG] + (c->decodes ? TOKENS * t->ns[TOKEN] : 0);
}

static double ms_of(uint64_t ns) {
  return (double)ns * 1e-6;
}

/* "GPU: 3.1 ms against 8.4 ms on the CPU at a length of 128, and 1.2 ms against 9 ms for a token"
 */
static void explain(const weft_chooser *c, uint32_t best, weft_text *text) {
  const trial *won = &c->trials[best], *lost = &c->trials[1 - best];
  if (lost->failed) {
    weft_text_add(text, "%s: the %s fails: %s", names[best], names[1 - best], lost->error.message);
    return;
  }
  weft_text_add(text, "%s: %.3g ms against %.3g ms on the %s at a length of %d", names[best],
                ms_of(won->ns[LONG]), ms_of(lost->ns[LONG]), names[1 - best], WEFT_LONG_EXTENT);
  if (c->decodes)
    weft_text_add(text, ", and %.3g ms against %.3g ms for a token", ms_of(won->ns[TOKEN]),
                  ms_of(lost->ns[TOKEN]));
}

static void decide(const weft_chooser *c, weft_choice *out) {
  weft_text text = {.buffer = out->why, .size = sizeof out->why};
  const trial *cpu = &c->trials[ON_CPU], *gpu = &c->trials[ON_GPU];
  out->on_gpu = !gpu->failed && (cpu->failed || cost_of(c, ON_GPU) < cost_of(c, ON_CPU));
  if (weft_gpu_facts_of(c->options.gpu)->is_software)
    weft_text_add(&text, "CPU: the GPU is one, too: %s", weft_gpu_description(c->options.gpu));
  else
    explain(c, out->on_gpu ? ON_GPU : ON_CPU, &text);
}

weft_status weft_chooser_run(weft_chooser *c, weft_choice *out) {
  *out = (weft_choice){0};
  c->trials[ON_GPU].failed |= weft_gpu_facts_of(c->options.gpu)->is_software;
  for (; c->side < SIDES; c->side++) {
    trial *t = &c->trials[c->side];
    if (c->trials[ON_GPU].failed) break;
    weft_status status = try_side(c, &t->error);
    if (status == WEFT_PENDING) return status;
    t->failed = status != WEFT_OK;
    end_side(c);
  }
  decide(c, out);
  return WEFT_OK;
}

weft_status weft_chooser_poll(weft_chooser *c, bool wait, weft_error *error) {
  return c->session ? weft_session_poll(c->session, wait, error) : WEFT_OK;
}

void weft_chooser_close(weft_chooser **out) {
  if (!out || !*out) return;
  weft_chooser *c = *out;
  weft_heap *heap = &c->model->runtime->heap;
  end_side(c);
  weft_arena_release(&c->arena);
  weft_model_release(c->model);
  weft_heap_release(heap, c, sizeof *c);
  *out = NULL;
}
