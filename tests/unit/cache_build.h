/* cache_build.h - for the tests of KV caches: a decoder of a few layers, built by hand, with a
 * reference in plain C that keeps the whole history, and a session on it.
 *
 *   inputs   x f32[batch,step,H*D], mask i64[batch,total], past0 .. f32[batch,H,past,D]
 *   outputs  y f32[batch,step,H*D], present0 .. f32[batch,H,past + step,D]
 *
 * Layer l has keys (past 2 l) and values (past 2 l + 1). q = x (1 + l / 8), k = x / 2, v = 1 - x,
 * x = x + attention(q, k, v): each row sees those before it and its own whose mask is 1. */
#ifndef WEFT_TESTS_CACHE_BUILD_H
#define WEFT_TESTS_CACHE_BUILD_H

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "run/session.h"
#include "tests/unit/opt_build.h"

#include "tests/unit/device_fake.h"

enum { LAYERS_MAX = 12, CACHES_MAX = 2 * LAYERS_MAX, ROWS_MAX = 700 };

/* An allocator that counts, fails on request, and knows what is out. */
typedef struct counter {
  _Atomic int64_t blocks, calls;
  int64_t fails_at; /* the call that fails; 0: none */
} counter;

static void *count_allocate(void *user, size_t bytes, size_t alignment) {
  counter *c = user;
  if (++c->calls == c->fails_at) return NULL;
  c->blocks++;
  return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + alignment);
}
static void count_release(void *user, void *memory, size_t bytes) {
  counter *c = user;
  (void)bytes;
  c->blocks--;
  free(memory);
}

typedef struct decoder_options {
  int64_t layers, heads, size;
  bool lengths; /* one more input, i64[batch], where each batch entry's rows end */
  bool total;   /* append is told the total, by shape arithmetic */
} decoder_options;

/* Not 0: sessions are opened on a fake device, split by this seed. */
static uint64_t fake_seed;

/* A device on whose GPU the next one is too; NULL: it has its own. */
static fake *fake_store;
/* The call of the next device that fails; 0: none. */
static uint64_t fake_fail_call;

/* Whether some nodes run on the host that could run on the device. */
static inline bool fake_splits(uint64_t seed) {
  return seed > 0 && seed % 3 == 0;
}

/* A device of many: it refuses some nodes or none, and answers soon or late. */
static inline weft_status open_fake(void *user, weft_device *host,
                                    const weft_session_options *options, weft_heap *heap,
                                    weft_device **out, weft_error *error) {
  (void)options, (void)heap, (void)error;
  fake *f = *(fake **)user = fake_open(host);
  f->seed = fake_seed;
  f->fail_call = fake_fail_call;
  if (fake_store) f->store = fake_store;
  f->device.space = f->store;
  f->refuses = fake_splits(fake_seed) ? (uint32_t)(fake_seed % 7) : 0;
  f->pending = fake_seed % 4;
  f->dense_only = fake_seed % 5 == 1;
  f->device.small_bytes = fake_seed % 2 ? 0 : 256;
  *out = &f->device;
  return WEFT_OK;
}

typedef struct decoder {
  counter memory;
  weft_runtime *runtime;
  fixture f;
  weft_model *model;
  weft_session *session;
  fake *device; /* the session's; NULL: the CPU */
  weft_error error;
  decoder_options options;
  char names[2 * CACHES_MAX][16];
} decoder;

static inline weft_value_id name_value(decoder *d, weft_value_id id, const char *name) {
  d->f.graph.values[id].name = (weft_str){name, (uint32_t)strlen(name)};
  return id;
}

/* [batch,step,H*D] -> [batch,H,step,D] */
static inline weft_value_id split_heads(decoder *d, weft_value_id x) {
  fixture *f = &d->f;
  x = op_view(f, WEFT_VIEW_RESHAPE, x, INTEGERS(f, 0, 0, d->options.heads, d->options.size));
  return op_transpose(f, x, "0213");
}

static inline weft_value_id build_append(decoder *d, int64_t number, weft_value_id added,
                                         weft_value_id total, weft_value_id lengths) {
  fixture *f = &d->f;
  char text[64];
  snprintf(text, sizeof text, "f32[batch,%d,past,%d]", (int)d->options.heads, (int)d->options.size);
  snprintf(d->names[2 * number], 16, "past%d", (int)number);
  snprintf(d->names[2 * number + 1], 16, "present%d", (int)number);
  weft_value_id past = name_value(d, tensor(f, text), d->names[2 * number]);
  weft_value_id present = op_add_node(f, WEFT_OP_APPEND, IDS(past, added, total, lengths), NULL);
  name_value(d, present, d->names[2 * number + 1]);
  mark_output(f, 0, present);
  return present;
}

static inline weft_value_id build_layer(decoder *d, int64_t l, weft_value_id x, weft_value_id mask,
                                        weft_value_id total, weft_value_id lengths) {
  fixture *f = &d->f;
  weft_value_id q = op_binary(f, MUL, x, scalar(f, 1 + (float)l / 8, 0));
  weft_value_id k = op_binary(f, MUL, x, scalar(f, 0.5f, 0));
  weft_value_id v = op_binary(f, SUB, scalar(f, 1, 0), x);
  k = build_append(d, 2 * l, split_heads(d, k), total, lengths);
  v = build_append(d, 2 * l + 1, split_heads(d, v), total, lengths);
  weft_attributes attributes = {.attention = {.scale = 0.5f, .causal = true, .heads_last = true}};
  weft_value_id y =
      op_add_node(f, WEFT_OP_ATTENTION, IDS(split_heads(d, q), k, v, mask), &attributes);
  y = op_view(f, WEFT_VIEW_RESHAPE, y, INTEGERS(f, 0, 0, -1));
  return op_binary(f, ADD, x, y);
}

static inline void build_decoder(decoder *d) {
  fixture *f = &d->f;
  char text[64];
  snprintf(text, sizeof text, "f32[batch,step,%d]", (int)(d->options.heads * d->options.size));
  weft_value_id x = name_value(d, tensor(f, text), "x");
  weft_value_id ids = name_value(d, tensor(f, "i64[batch,total]"), "mask"), total = NONE;
  weft_value_id lengths =
      d->options.lengths ? name_value(d, tensor(f, "i64[batch]"), "lengths") : NONE;
  weft_value_id mask = op_binary(f, SUB, op_cast(f, ids, WEFT_F32), scalar(f, 1, 0));
  mask = op_binary(f, MUL, mask, scalar(f, 10000, 0));
  mask = op_view(f, WEFT_VIEW_RESHAPE, mask, INTEGERS(f, 0, 1, 1, -1));
  if (d->options.total) {
    weft_attributes second = {.shape = {.start = 1, .end = 2, .has_end = true}};
    total = op_add_node(f, WEFT_OP_SHAPE, IDS(ids), &second);
  }
  uint32_t place = f->graph.regions[0].output_count;
  mark_output(f, 0, x);
  for (int64_t l = 0; l < d->options.layers; l++) x = build_layer(d, l, x, mask, total, lengths);
  f->graph.regions[0].outputs[place] = name_value(d, x, "y");
}

static inline void decoder_open(decoder *d, decoder_options options, uint64_t memory_limit) {
  memset(d, 0, sizeof *d);
  d->options = options;
  weft_runtime_options runtime = weft_runtime_options_default();
  runtime.allocator = (weft_allocator){count_allocate, count_release, &d->memory};
  CHECK_OK(weft_runtime_open(&runtime, &d->runtime, &d->error), &d->error);
  weft_heap_init(&d->f.heap, NULL, &d->runtime->heap, 0);
  CHECK_OK(weft_graph_init(&d->f.graph, &d->f.heap, &d->error), &d->error);
  build_decoder(d);
  CHECK_OK(weft_graph_verify(&d->f.graph, &d->error), &d->error);
  d->model = weft_heap_allocate_zeroed(&d->runtime->heap, sizeof *d->model);
  d->model->runtime = d->runtime;
  d->model->references = 1;
  weft_heap_init(&d->model->heap, NULL, &d->runtime->heap, 0);
  d->model->file.graph = d->f.graph;
  weft_session_options session = {.memory_limit = memory_limit};
  CHECK_OK(weft_session_open_device(d->model, &session, fake_seed ? open_fake : NULL, &d->device,
                                    &d->session, &d->error),
           &d->error);
}

/* Runs to the end. */
static inline weft_status run_session(weft_session *session, const weft_run_options *options,
                                      const weft_binding *inputs, size_t input_count,
                                      weft_binding *outputs, size_t output_count,
                                      weft_error *error) {
  weft_status status =
      weft_session_run(session, options, inputs, input_count, outputs, output_count, error);
  while (status == WEFT_PENDING) {
    CHECK_OK(weft_session_poll(session, true, error), error);
    status = weft_session_resume(session, error);
  }
  return status;
}

/* The elements, fetched where they are on the device. */
static inline void *data_of(weft_tensor *tensor) {
  weft_status status;
  while ((status = weft_tensor_fetch(tensor, NULL)) == WEFT_PENDING)
    CHECK(weft_tensor_data(tensor) == NULL);
  return status == WEFT_OK ? weft_tensor_data(tensor) : NULL;
}

static inline void decoder_close(decoder *d) {
  weft_session_close(&d->session);
  weft_model_close(&d->model);
  weft_runtime_close(&d->runtime);
  CHECK_INT(d->memory.blocks, 0);
}

/* ---- the reference --------------------------------------------------------------------------- */

/* x of each layer at each position of one sequence, [layer][row][H*D]. */
typedef struct history {
  const decoder *d;
  int64_t rows;
  float x[LAYERS_MAX + 1][ROWS_MAX][32];
} history;

static inline float key_of(const history *h, int64_t layer, int64_t row, int64_t i) {
  return h->x[layer][row][i] * 0.5f;
}
static inline float value_of(const history *h, int64_t layer, int64_t row, int64_t i) {
  return 1 - h->x[layer][row][i];
}

static inline void attend(history *h, int64_t layer, int64_t row, int64_t head) {
  int64_t size = h->d->options.size, first = head * size;
  double scores[ROWS_MAX], sum = 0;
  for (int64_t t = 0; t <= row; t++) {
    double dot = 0;
    for (int64_t i = first; i < first + size; i++)
      dot += (double)h->x[layer][row][i] * (1 + (double)layer / 8) * key_of(h, layer, t, i);
    sum += scores[t] = exp(0.5 * dot);
  }
  for (int64_t i = first; i < first + size; i++) {
    double y = 0;
    for (int64_t t = 0; t <= row; t++) y += scores[t] / sum * value_of(h, layer, t, i);
    h->x[layer + 1][row][i] = (float)(h->x[layer][row][i] + y);
  }
}

/* The input at a position, that depends on `seed`: what a token is to a model. */
static inline float input_at(int64_t seed, int64_t row, int64_t i) {
  return sinf((float)(seed * 13 + row * 7 + i) * 0.61f);
}

/* Adds a position. */
static inline void history_add(history *h, int64_t seed) {
  int64_t row = h->rows++, width = h->d->options.heads * h->d->options.size;
  for (int64_t i = 0; i < width; i++) h->x[0][row][i] = input_at(seed, row, i);
  for (int64_t l = 0; l < h->d->options.layers; l++)
    for (int64_t head = 0; head < h->d->options.heads; head++) attend(h, l, row, head);
}

static inline bool is_near(float a, float b) {
  return fabsf(a - b) <= 1e-4f * (1 + fabsf(b));
}

/* A cache's first `rows` rows of batch 0 are those of the history. */
static inline bool cache_is(const history *h, int64_t number, weft_tensor *cache, int64_t rows) {
  const float *data = data_of(cache);
  const int64_t *dims = weft_tensor_dims(cache);
  if (!CHECK_INT(dims[2], rows) || !CHECK(data != NULL || rows == 0)) return false;
  for (int64_t head = 0; head < dims[1]; head++)
    for (int64_t row = 0; row < rows; row++)
      for (int64_t i = 0; i < dims[3]; i++) {
        int64_t at = head * dims[3] + i;
        float expected =
            number % 2 ? value_of(h, number / 2, row, at) : key_of(h, number / 2, row, at);
        if (!is_near(data[(head * rows + row) * dims[3] + i], expected)) return false;
      }
  return true;
}

/* ---- running --------------------------------------------------------------------------------- */

/* The caches between two runs, by number. */
typedef struct caches {
  weft_tensor *at[CACHES_MAX];
} caches;

static inline int64_t cache_count(const decoder *d) {
  return 2 * d->options.layers;
}

static inline weft_tensor *new_tensor(decoder *d, weft_dtype dtype, int64_t rank,
                                      const int64_t *dims) {
  weft_tensor *out = NULL;
  CHECK_OK(weft_tensor_open(d->runtime, dtype, dims, (size_t)rank, &out, &d->error), &d->error);
  return out;
}

static inline caches empty_caches(decoder *d) {
  caches out = {0};
  int64_t dims[] = {1, d->options.heads, 0, d->options.size};
  for (int64_t c = 0; c < cache_count(d); c++) out.at[c] = new_tensor(d, WEFT_F32, 4, dims);
  return out;
}

static inline void close_caches(caches *c) {
  for (int i = 0; i < CACHES_MAX; i++) weft_tensor_close(&c->at[i]);
}

static inline caches share_caches(decoder *d, const caches *from) {
  caches out = {0};
  for (int64_t c = 0; c < cache_count(d); c++)
    CHECK_OK(weft_tensor_share(from->at[c], &out.at[c], &d->error), &d->error);
  return out;
}

/* Room for a run's inputs, so that a warm step allocates nothing. */
typedef struct step_inputs {
  float x[64 * 32];
  int64_t mask[ROWS_MAX];
} step_inputs;

/* Runs positions [past, past + step) of one sequence; `h` has seen them, and y is checked. The
 * session's caches come in *out. */
static inline weft_status run_step(decoder *d, weft_session *session, const history *h,
                                   const weft_run_options *options, int64_t past, int64_t step,
                                   const caches *from, caches *out) {
  static step_inputs in;
  int64_t width = d->options.heads * d->options.size, total = past + step;
  int64_t x_dims[] = {1, step, width}, mask_dims[] = {1, total};
  weft_tensor x, mask;
  for (int64_t s = 0; s < step; s++)
    memcpy(in.x + s * width, h->x[0][past + s], (size_t)width * sizeof(float));
  for (int64_t t = 0; t < total; t++) in.mask[t] = 1;
  weft_tensor_point(&x, WEFT_F32, x_dims, 3, in.x, sizeof in.x, NULL);
  weft_tensor_point(&mask, WEFT_I64, mask_dims, 2, in.mask, sizeof in.mask, NULL);
  weft_binding inputs[2 + CACHES_MAX] = {{"x", &x}, {"mask", &mask}};
  weft_binding outputs[1 + CACHES_MAX] = {{"y", NULL}};
  int64_t count = cache_count(d);
  for (int64_t c = 0; c < count; c++) {
    inputs[2 + c] = (weft_binding){d->names[2 * c], from->at[c]};
    outputs[1 + c] = (weft_binding){d->names[2 * c + 1], NULL};
  }
  weft_status status = run_session(session, options, inputs, (size_t)(2 + count), outputs,
                                   (size_t)(1 + count), &d->error);
  if (status != WEFT_OK) return status;
  const float *y = weft_tensor_data(outputs[0].tensor);
  for (int64_t i = 0; i < step * width; i++)
    if (!CHECK(is_near(y[i], h->x[d->options.layers][past + i / width][i % width]))) break;
  for (int64_t c = 0; c < count; c++) out->at[c] = outputs[1 + c].tensor;
  return status;
}

#endif
