/* Tests of what a warm run on a GPU costs the host, on the null driver: no allocation, no object of
 * WebGPU, and one submit. */
#include "tests/gpu/gpu_session.h"

static const int64_t ids[TOKENS_MAX] = {3, 1, 4, 1, 5, 9, 2, 6};

typedef struct warm_rig {
  gpu_rig rig;
  weft_gpu_null_counts counts;
  weft_runtime *apart; /* whose memory the driver takes: it keeps what is read */
  proto file;
  weft_tensor *fed; /* ids, or x */
} warm_rig;

/* Takes over the file. */
static void open_all(warm_rig *w, proto file) {
  gpu_rig *rig = &w->rig;
  weft_gpu_driver *driver;
  *w = (warm_rig){.file = file};
  weft_session_options options = weft_session_options_default();
  CHECK_OK(weft_runtime_open(NULL, &w->apart, &rig->error), &rig->error);
  CHECK_OK(rig_open_runtime(rig), &rig->error);
  CHECK_OK(weft_gpu_null_open(&w->apart->heap, NULL, &w->counts, &driver, &rig->error),
           &rig->error);
  CHECK_OK(weft_gpu_open_driver(&rig->runtime->heap, driver, &rig->gpu, &rig->error), &rig->error);
  CHECK_OK(rig_open_session(rig, &w->file, &options), &rig->error);
}

static void close_all(warm_rig *w) {
  weft_tensor_close(&w->fed);
  rig_close(&w->rig);
  CHECK_INT(w->rig.blocks, 0);
  weft_runtime_close(&w->apart);
  proto_free(&w->file);
}

static void give_ids(warm_rig *w, int64_t tokens) {
  int64_t dims[] = {1, tokens};
  weft_tensor_close(&w->fed);
  CHECK_OK(weft_tensor_wrap(w->rig.runtime, WEFT_I64, dims, 2, (void *)(uintptr_t)ids, sizeof ids,
                            &w->fed, &w->rig.error),
           &w->rig.error);
}

typedef struct cost {
  int64_t calls;
  uint64_t objects, submits;
} cost;

static cost cost_of(const warm_rig *w) {
  const weft_gpu_null_counts *c = &w->counts;
  return (cost){w->rig.calls, c->buffers + c->pipelines + c->groups + c->reads, c->submits};
}

/* What a run costs. */
static cost run(warm_rig *w, const weft_binding *inputs, size_t input_count, weft_binding *outputs,
                size_t output_count) {
  gpu_rig *rig = &w->rig;
  cost before = cost_of(w);
  weft_status status =
      weft_session_run(rig->session, NULL, inputs, input_count, outputs, output_count, &rig->error);
  CHECK_OK(rig_finish(rig, status), &rig->error);
  cost after = cost_of(w);
  return (cost){after.calls - before.calls, after.objects - before.objects,
                after.submits - before.submits};
}

/* The decoder's, on past tensors; *past become those that it hands out. */
static cost run_decoder(warm_rig *w, weft_tensor *past[2], const char *output) {
  weft_binding inputs[] = {{"ids", w->fed}, {"past_k", past[0]}, {"past_v", past[1]}};
  weft_binding outputs[] = {{output, NULL}, {"present_k", NULL}, {"present_v", NULL}};
  cost cost = run(w, inputs, 3, outputs, 3);
  for (int i = 0; i < 2; i++) past[i] = outputs[1 + i].tensor;
  return cost;
}

static void check_warm(cost cost, const char *what, int64_t rows) {
  if (!CHECK_INT(cost.calls, 0) || !CHECK_INT(cost.objects, 0) || !CHECK_INT(cost.submits, 1))
    check_print("  %s, %lld rows\n", what, (long long)rows);
}

static bool fills(int64_t rows) {
  return weft_cache_capacity(0, rows) == rows;
}

/* Each token appends to caches that the run before has handed out. */
static void test_decoding(void) {
  warm_rig w;
  open_all(&w, build_decoder_file());
  CHECK_OK(rig_empty_past(&w.rig), &w.rig.error);
  weft_tensor *past[2] = {w.rig.past[0], w.rig.past[1]};
  give_ids(&w, 5);
  run_decoder(&w, past, "y");
  give_ids(&w, 1);
  int64_t warm = 0;
  for (int64_t rows = 5; rows < 300; rows++) {
    cost cost = run_decoder(&w, past, "y");
    /* The token before has filled the buffers, or this one does: then they grow, or the plan. */
    bool grows = rows < 5 + 2 || fills(rows) || fills(rows - 1);
    if (!grows) check_warm(cost, "token", rows);
    warm += !grows;
  }
  CHECK(warm > 280);
  close_all(&w);
}

/* Two shapes take turns, as batches of texts do. */
static void test_again(void) {
  warm_rig w;
  open_all(&w, build_decoder_file());
  CHECK_OK(rig_empty_past(&w.rig), &w.rig.error);
  for (int64_t i = 0; i < 12; i++) {
    weft_tensor *past[2] = {w.rig.past[0], w.rig.past[1]};
    give_ids(&w, i % 2 ? 3 : 7);
    cost cost = run_decoder(&w, past, i % 4 < 2 ? "y" : "hidden");
    if (i >= 4 + 4) check_warm(cost, "run", i);
  }
  close_all(&w);
}

/* Numbers of 2 bytes, an odd count of them: what is read back ends between two words. */
static void test_odd_bytes(void) {
  warm_rig w;
  proto g = {0}, to = {0}, attributes = {0};
  proto_text(&to, 1, "to");
  proto_varint(&to, 3, WEFT_F16);
  proto_varint(&to, 20, 2);
  proto_add(&attributes, 5, &to);
  build_node(&g, "Cast", "x", "y", &attributes);
  build_value(&g, 11, "x", "n");
  build_value_of(&g, 12, "y", WEFT_F16, "n");
  open_all(&w, build_model(&g));
  static float data[4097];
  static const int64_t dims[] = {4097};
  CHECK_OK(
      weft_tensor_wrap(w.rig.runtime, WEFT_F32, dims, 1, data, sizeof data, &w.fed, &w.rig.error),
      &w.rig.error);
  for (int64_t i = 0; i < 6; i++) {
    weft_binding input = {"x", w.fed}, output = {"y", NULL};
    cost cost = run(&w, &input, 1, &output, 1);
    if (i >= 2) check_warm(cost, "odd bytes", i);
  }
  close_all(&w);
}

int main(void) {
  CHECK_RUN(test_decoding);
  CHECK_RUN(test_again);
  CHECK_RUN(test_odd_bytes);
  return check_result();
}
