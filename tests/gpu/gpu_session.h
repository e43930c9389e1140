/* gpu_session.h - for tests of whole sessions on a GPU: a small decoder with a KV cache, and its
 * runs one after the other.
 *
 *   ids i64[batch,tokens], past_k, past_v f32[batch,2,past,4]
 *   -> y, hidden f32[batch,tokens,8], probabilities f32[batch,tokens,8], present_k, present_v
 *
 * A gather of embeddings, products with and without an epilogue, norm, softmax, attention and
 * append. */
#ifndef WEFT_TESTS_GPU_SESSION_H
#define WEFT_TESTS_GPU_SESSION_H

#include "gpu/internal.h"
#include "tests/check.h"
#include "tests/model_build.h"

enum { TOKENS_MAX = 8, SESSION_OUTPUTS = 5, WIDTH = 8, VOCABULARY = 16 };

static inline void build_cached(proto *g, const char *name) {
  char present[16], pair[32];
  snprintf(present, sizeof present, "present_%s", name);
  snprintf(pair, sizeof pair, "past_%s t%s", name, name);
  proto attribute = {0}, axis = {0};
  proto_text(&attribute, 1, "axis");
  proto_varint(&attribute, 3, 2);
  proto_varint(&attribute, 20, 2);
  proto_add(&axis, 5, &attribute);
  build_node(g, "Concat", pair, present, &axis);
}

/* x -> residual, over the rows of the caches and its own. */
static inline void build_cached_attention(proto *g) {
  static const int64_t heads_first[] = {0, 2, 1, 3}, keys[] = {0, 1, 3, 2}, square[] = {8, 8};
  static const int64_t split[] = {0, 0, 2, 4}, join[] = {0, 0, 8}, four[] = {4}, three[] = {3};
  build_initializer(g, "split", WEFT_I64, 1, four, split, sizeof split);
  build_initializer(g, "join", WEFT_I64, 1, three, join, sizeof join);
  build_projection(g, "q", heads_first);
  build_projection(g, "k", heads_first);
  build_projection(g, "v", heads_first);
  build_cached(g, "k");
  build_cached(g, "v");
  proto turn = build_ints("perm", 4, keys), back = build_ints("perm", 4, heads_first);
  build_node(g, "Transpose", "present_k", "keys", &turn);
  build_scalar(g, "root", 2);
  build_node(g, "MatMul", "tq keys", "product", NULL);
  build_node(g, "Div", "product root", "scores", NULL);
  build_node(g, "Softmax", "scores", "weights", NULL);
  build_node(g, "MatMul", "weights present_v", "context", NULL);
  build_node(g, "Transpose", "context", "context_t", &back);
  build_node(g, "Reshape", "context_t join", "context_r", NULL);
  build_weight(g, "wo", 2, square);
  build_node(g, "MatMul", "context_r wo", "attended", NULL);
  build_node(g, "Add", "attended x", "residual", NULL);
}

static inline proto build_decoder_file(void) {
  static const int64_t table[] = {VOCABULARY, WIDTH};
  proto g = {0};
  build_weight(&g, "table", 2, table);
  build_node(&g, "Gather", "table ids", "x", NULL);
  build_cached_attention(&g);
  build_feed_forward(&g);
  build_layer_norm(&g);
  build_node(&g, "Softmax", "y", "probabilities", NULL);
  build_value_of(&g, 11, "ids", WEFT_I64, "batch,tokens");
  build_value(&g, 11, "past_k", "batch,2,past,4");
  build_value(&g, 11, "past_v", "batch,2,past,4");
  build_value(&g, 12, "y", "batch,tokens,8");
  build_value(&g, 12, "hidden", "batch,tokens,8");
  build_value(&g, 12, "probabilities", "batch,tokens,8");
  build_value(&g, 12, "present_k", "batch,2,total,4");
  build_value(&g, 12, "present_v", "batch,2,total,4");
  return build_model(&g);
}

/* A runtime with an allocator that counts and fails on demand, a GPU, a model and a session on
 * both, as far as they could be opened. */
typedef struct gpu_rig {
  int64_t blocks, calls, fails_at; /* fails_at: the call of the allocator that fails; 0: none */
  weft_runtime *runtime;
  weft_gpu *gpu;
  weft_model *model;
  weft_session *session;
  weft_tensor *past[2]; /* what the next run is fed: shares of caches, or empty */
  weft_tensor *fed;     /* on ids */
  int64_t ids[TOKENS_MAX];
  weft_binding outputs[SESSION_OUTPUTS];
  weft_run_options options;
  uint64_t polls;     /* of the latest run */
  uint64_t cancel_at; /* runs are cancelled after so many; 0: never */
  weft_error error;
} gpu_rig;

static inline void *rig_allocate(void *user, size_t bytes, size_t alignment) {
  gpu_rig *rig = user;
  if (++rig->calls == rig->fails_at) return NULL;
  rig->blocks++;
  return aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
}
static inline void rig_release(void *user, void *memory, size_t bytes) {
  (void)bytes;
  ((gpu_rig *)user)->blocks--;
  free(memory);
}

static inline weft_status rig_open_runtime(gpu_rig *rig) {
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){rig_allocate, rig_release, rig};
  return weft_runtime_open(&options, &rig->runtime, &rig->error);
}

static inline weft_status rig_open_session(gpu_rig *rig, const proto *file,
                                           const weft_session_options *options) {
  weft_session_options with_gpu = *options;
  with_gpu.gpu = rig->gpu;
  weft_source source = {.size = file->length, .bytes = file->bytes};
  WEFT_TRY(weft_model_open(rig->runtime, &source, NULL, &rig->model, &rig->error));
  return weft_session_open(rig->model, &with_gpu, &rig->session, &rig->error);
}

static inline void rig_close(gpu_rig *rig) {
  for (int i = 0; i < 2; i++) weft_tensor_close(&rig->past[i]);
  weft_session_close(&rig->session);
  weft_tensor_close(&rig->fed);
  weft_model_close(&rig->model);
  weft_gpu_close(&rig->gpu);
  weft_runtime_close(&rig->runtime);
}

/* Until the answer is another one than WEFT_PENDING. */
static inline weft_status rig_prepare(gpu_rig *rig) {
  weft_status status;
  while ((status = weft_session_prepare(rig->session, &rig->error)) == WEFT_PENDING)
    WEFT_TRY(weft_session_poll(rig->session, true, &rig->error));
  return status;
}

static inline weft_status rig_fetch(gpu_rig *rig, weft_tensor *tensor) {
  weft_status status;
  while ((status = weft_tensor_fetch(tensor, &rig->error)) == WEFT_PENDING)
    WEFT_TRY(weft_session_poll(rig->session, true, &rig->error));
  return status;
}

/* What a run gave: y, hidden and probabilities; the last one was left on the GPU and fetched. */
typedef struct rig_results {
  float floats[3][TOKENS_MAX * WIDTH];
} rig_results;

static inline weft_status rig_finish(gpu_rig *rig, weft_status status) {
  for (rig->polls = 0; status == WEFT_PENDING; rig->polls++) {
    WEFT_TRY(weft_session_poll(rig->session, true, &rig->error));
    if (rig->polls + 1 == rig->cancel_at) weft_session_cancel(rig->session);
    status = weft_session_resume(rig->session, &rig->error);
  }
  return status;
}

static inline weft_status rig_take(gpu_rig *rig, const weft_binding *outputs, rig_results *out) {
  for (int i = 0; i < 3; i++) {
    weft_tensor *tensor = outputs[i].tensor;
    WEFT_TRY(rig_fetch(rig, tensor));
    if (!CHECK(weft_tensor_data(tensor) != NULL)) continue;
    if (out) memcpy(out->floats[i], weft_tensor_data(tensor), weft_tensor_bytes(tensor));
  }
  weft_tensor *shares[2] = {NULL, NULL};
  weft_status status = weft_tensor_share(outputs[3].tensor, &shares[0], &rig->error);
  if (status == WEFT_OK) status = weft_tensor_share(outputs[4].tensor, &shares[1], &rig->error);
  for (int i = 0; i < 2; i++) {
    weft_tensor **gone = status == WEFT_OK ? &rig->past[i] : &shares[i];
    weft_tensor_close(gone);
    if (status == WEFT_OK) rig->past[i] = shares[i];
  }
  return status;
}

static inline weft_status rig_empty_past(gpu_rig *rig) {
  static const int64_t dims[] = {1, 2, 0, 4};
  for (int i = 0; i < 2; i++)
    if (!rig->past[i])
      WEFT_TRY(weft_tensor_open(rig->runtime, WEFT_F32, dims, 4, &rig->past[i], &rig->error));
  return WEFT_OK;
}

/* Starts on the next `tokens`, on the caches of those before. */
static inline weft_status rig_start(gpu_rig *rig, const int64_t *ids, int64_t tokens) {
  static const char *const names[] = {"y", "hidden", "probabilities", "present_k", "present_v"};
  static const bool on_device[SESSION_OUTPUTS] = {false, false, true, true, true};
  int64_t dims[] = {1, tokens};
  weft_tensor_close(&rig->fed);
  WEFT_TRY(rig_empty_past(rig));
  memcpy(rig->ids, ids, (size_t)tokens * sizeof *ids);
  WEFT_TRY(weft_tensor_wrap(rig->runtime, WEFT_I64, dims, 2, rig->ids, sizeof rig->ids, &rig->fed,
                            &rig->error));
  weft_binding inputs[] = {{"ids", rig->fed}, {"past_k", rig->past[0]}, {"past_v", rig->past[1]}};
  for (int i = 0; i < SESSION_OUTPUTS; i++) rig->outputs[i] = (weft_binding){names[i], NULL};
  rig->options.outputs_on_device = on_device;
  return weft_session_run(rig->session, &rig->options, inputs, 3, rig->outputs, SESSION_OUTPUTS,
                          &rig->error);
}

/* To the end. After a failure it can be called again. */
static inline weft_status rig_step(gpu_rig *rig, const int64_t *ids, int64_t tokens,
                                   rig_results *out) {
  WEFT_TRY(rig_finish(rig, rig_start(rig, ids, tokens)));
  return rig_take(rig, rig->outputs, out);
}

#endif
