/* Tests of sessions through the public interface alone, on a small encoder: bindings and their
 * errors, plans by shape, warm runs without a heap call, rewrites off and on, limits, cancelling,
 * profiles, threads. */
#include "tests/check.h"

#include <math.h>
#include <stdatomic.h>

#include "tests/model_build.h"

/* ---- a runtime whose memory is counted ------------------------------------------------------- */

typedef struct counter {
  _Atomic int64_t blocks, calls;
} counter;

static void *count_allocate(void *user, size_t bytes, size_t alignment) {
  counter *c = user;
  c->calls++;
  c->blocks++;
  return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + alignment);
}
static void count_release(void *user, void *memory, size_t bytes) {
  counter *c = user;
  (void)bytes;
  c->blocks--;
  free(memory);
}

typedef struct fixture {
  counter memory;
  weft_runtime *runtime;
  proto file;
  weft_model *model;
  weft_session *session;
  weft_error error;
} fixture;

static void open_model(fixture *f, uint32_t threads) {
  *f = (fixture){0};
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){count_allocate, count_release, &f->memory};
  options.thread_count = threads;
  CHECK_OK(weft_runtime_open(&options, &f->runtime, &f->error), &f->error);
  f->file = build_encoder();
  weft_source source = {.size = f->file.length, .bytes = f->file.bytes};
  CHECK_OK(weft_model_open(f->runtime, &source, NULL, &f->model, &f->error), &f->error);
}

static void open_session(fixture *f, const weft_session_options *options) {
  CHECK_OK(weft_session_open(f->model, options, &f->session, &f->error), &f->error);
}

static void close_all(fixture *f) {
  weft_session_close(&f->session);
  weft_model_close(&f->model);
  weft_runtime_close(&f->runtime);
  proto_free(&f->file);
  CHECK_INT(f->memory.blocks, 0);
}

static weft_tensor *make_input(fixture *f, int64_t batch, int64_t tokens) {
  int64_t dims[] = {batch, tokens, 8};
  weft_tensor *tensor;
  CHECK_OK(weft_tensor_open(f->runtime, WEFT_F32, dims, 3, &tensor, &f->error), &f->error);
  float *data = weft_tensor_data(tensor);
  for (int64_t i = 0; i < batch * tokens * 8; i++) data[i] = sinf((float)i * 0.7f);
  return tensor;
}

static weft_status run(fixture *f, weft_tensor *x, weft_binding *outputs, size_t count) {
  weft_binding input = {"x", x};
  return weft_session_run(f->session, NULL, &input, 1, outputs, count, &f->error);
}

/* Runs on [batch, tokens] and copies y to `out`. */
static void run_shape(fixture *f, int64_t batch, int64_t tokens, float *out) {
  weft_tensor *x = make_input(f, batch, tokens);
  weft_binding y = {"y", NULL};
  if (CHECK_OK(run(f, x, &y, 1), &f->error)) {
    CHECK_INT(weft_tensor_bytes(y.tensor), batch * tokens * 8 * 4);
    memcpy(out, weft_tensor_data(y.tensor), weft_tensor_bytes(y.tensor));
  }
  weft_tensor_close(&x);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static double largest_difference(const float *a, const float *b, size_t count) {
  double largest = 0;
  for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
  return largest;
}

static void test_rewrites_keep_results(void) {
  float plain[2 * 5 * 8], other[2 * 5 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, &(weft_session_options){.disabled_passes = "all"});
  run_shape(&f, 2, 5, plain);
  weft_session_close(&f.session);
  const char *name = "";
  for (size_t i = 0; name; name = weft_pass_name(i++)) {
    open_session(&f, &(weft_session_options){.disabled_passes = name});
    run_shape(&f, 2, 5, other);
    CHECK(largest_difference(plain, other, 80) < 1e-5);
    weft_session_close(&f.session);
  }
  close_all(&f);
}

static void test_kernel_targets_agree(void) {
  float reference[3 * 7 * 8], other[3 * 7 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, &(weft_session_options){.kernels = "reference"});
  run_shape(&f, 3, 7, reference);
  weft_session_close(&f.session);
  open_session(&f, NULL);
  run_shape(&f, 3, 7, other);
  CHECK(largest_difference(reference, other, 168) < 1e-5);
  weft_session_close(&f.session);
  CHECK_INT(
      weft_session_open(f.model, &(weft_session_options){.kernels = "z80"}, &f.session, &f.error),
      WEFT_INVALID_ARGUMENT);
  CHECK(f.session == NULL);
  close_all(&f);
}

static void test_warm_runs_allocate_nothing(void) {
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  weft_tensor *x = make_input(&f, 2, 6), *z = make_input(&f, 1, 3);
  weft_binding outputs[] = {{"y", NULL}, {"hidden", NULL}};
  CHECK_OK(run(&f, x, outputs, 2), &f.error);
  outputs[0].tensor = outputs[1].tensor = NULL;
  CHECK_OK(run(&f, z, outputs, 2), &f.error);
  int64_t calls = f.memory.calls;
  for (int i = 0; i < 20; i++) {
    outputs[0].tensor = outputs[1].tensor = NULL;
    CHECK_OK(run(&f, i % 2 ? x : z, outputs, 2), &f.error);
  }
  CHECK_INT(f.memory.calls, calls);
  weft_tensor_close(&x);
  weft_tensor_close(&z);
  close_all(&f);
}

static void test_outputs_in_the_callers_tensors(void) {
  float expected[2 * 3 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  run_shape(&f, 2, 3, expected);
  weft_tensor *x = make_input(&f, 2, 3), *y = make_input(&f, 2, 3), *wrong = make_input(&f, 3, 2);
  weft_binding output = {"y", y};
  CHECK_OK(run(&f, x, &output, 1), &f.error);
  CHECK(output.tensor == y);
  CHECK_INT(memcmp(weft_tensor_data(y), expected, sizeof expected), 0);
  output.tensor = wrong;
  CHECK_INT(run(&f, x, &output, 1), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "output 'y': the tensor given does not have its type (f32) or shape");
  weft_tensor_close(&x);
  weft_tensor_close(&y);
  weft_tensor_close(&wrong);
  close_all(&f);
}

static void test_plans_of_many_shapes(void) {
  static float first[12][3 * 12 * 8], again[3 * 12 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  for (int64_t tokens = 1; tokens <= 12; tokens++) run_shape(&f, 3, tokens, first[tokens - 1]);
  for (int64_t tokens = 12; tokens >= 1; tokens--) {
    run_shape(&f, 3, tokens, again);
    CHECK_INT(memcmp(first[tokens - 1], again, (size_t)tokens * 3 * 8 * 4), 0);
  }
  close_all(&f);
}

static void test_empty_batches(void) {
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  float none[1];
  run_shape(&f, 0, 4, none);
  run_shape(&f, 2, 0, none);
  close_all(&f);
}

static void test_binding_errors(void) {
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  weft_tensor *x = make_input(&f, 1, 2), *flat, *integers;
  int64_t dims[] = {2, 8};
  CHECK_OK(weft_tensor_open(f.runtime, WEFT_F32, dims, 2, &flat, &f.error), &f.error);
  CHECK_OK(weft_tensor_open(f.runtime, WEFT_I64, dims, 2, &integers, &f.error), &f.error);
  weft_binding y = {"y", NULL}, unknown = {"z", NULL};
  struct {
    weft_binding input;
    size_t inputs;
    weft_binding *output;
    const char *message;
  } cases[] = {
      {{"x", x}, 0, &y, "input 'x' is missing"},
      {{"w", x}, 1, &y, "the model has no input 'w'"},
      {{"x", NULL}, 1, &y, "input 'x': no tensor given"},
      {{NULL, x}, 1, &y, "input: a binding has no name"},
      {{"x", integers}, 1, &y, "input 'x': type is i64, but f32 is expected"},
      {{"x", flat}, 1, &y, "input 'x': rank is 2, but 3 is expected"},
      {{"x", x}, 1, &unknown, "the model has no output 'z'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    weft_status status = weft_session_run(f.session, NULL, &cases[i].input, cases[i].inputs,
                                          cases[i].output, 1, &f.error);
    CHECK_INT(status, WEFT_INVALID_ARGUMENT);
    CHECK_TEXT(f.error.message, cases[i].message);
  }
  CHECK_OK(run(&f, x, &y, 1), &f.error); /* none of them spoilt the session */
  weft_tensor_close(&x);
  weft_tensor_close(&flat);
  weft_tensor_close(&integers);
  close_all(&f);
}

static void test_wrong_extent(void) {
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  int64_t dims[] = {1, 2, 9};
  weft_tensor *x;
  CHECK_OK(weft_tensor_open(f.runtime, WEFT_F32, dims, 3, &x, &f.error), &f.error);
  weft_binding y = {"y", NULL};
  CHECK_INT(run(&f, x, &y, 1), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "input 'x': dimension 2 is 9, but 8 is expected");
  weft_tensor_close(&x);
  close_all(&f);
}

static void test_consumed_model(void) {
  float before[2 * 2 * 8], after[2 * 2 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  run_shape(&f, 2, 2, before);
  weft_session *first = f.session;
  open_session(&f, &(weft_session_options){.consume_model = true});
  run_shape(&f, 2, 2, after);
  CHECK_INT(memcmp(before, after, sizeof before), 0);
  weft_session *third;
  CHECK_INT(weft_session_open(f.model, NULL, &third, &f.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "the model's weights were taken by a session that consumed them");
  weft_model_close(&f.model);
  weft_session_close(&f.session);
  f.session = first; /* outlives the model and the other session */
  run_shape(&f, 2, 2, after);
  CHECK_INT(memcmp(before, after, sizeof before), 0);
  close_all(&f);
}

static void test_cancel_and_time_limit(void) {
  float y[2 * 4 * 8];
  fixture f;
  open_model(&f, 1);
  open_session(&f, NULL);
  weft_tensor *x = make_input(&f, 64, 64);
  weft_binding output = {"y", NULL};
  weft_session_cancel(f.session);
  CHECK_INT(run(&f, x, &output, 1), WEFT_CANCELLED);
  weft_binding input = {"x", x};
  weft_run_options limit = {.time_limit_ns = 1};
  CHECK_INT(weft_session_run(f.session, &limit, &input, 1, &output, 1, &f.error), WEFT_TIMED_OUT);
  CHECK_INT(weft_session_resume(f.session, &f.error), WEFT_INVALID_ARGUMENT);
  run_shape(&f, 2, 4, y); /* both end with the run */
  weft_tensor_close(&x);
  close_all(&f);
}

static void test_memory_limit(void) {
  fixture f;
  open_model(&f, 1);
  CHECK_INT(weft_session_open(f.model, &(weft_session_options){.memory_limit = 2000}, &f.session,
                              &f.error),
            WEFT_LIMIT_EXCEEDED);
  open_session(&f, &(weft_session_options){.memory_limit = 1 << 20});
  weft_tensor *x = make_input(&f, 100, 200);
  weft_binding y = {"y", NULL};
  CHECK_INT(run(&f, x, &y, 1), WEFT_LIMIT_EXCEEDED);
  CHECK(weft_session_memory(f.session).bytes_peak <= 1 << 20);
  weft_tensor_close(&x);
  close_all(&f);
}

static void count_text(void *user, const char *text, size_t length) {
  (void)text;
  *(size_t *)user += length;
}

static void test_profile_and_dumps(void) {
  float y[2 * 4 * 8];
  size_t length = 0;
  fixture f;
  open_model(&f, 1);
  open_session(&f, &(weft_session_options){.profile = true});
  CHECK_INT(weft_session_profile_count(f.session), 0);
  CHECK_INT(weft_session_dump(f.session, WEFT_DUMP_PLAN, count_text, &length, &f.error),
            WEFT_INVALID_ARGUMENT);
  run_shape(&f, 2, 4, y);
  run_shape(&f, 2, 4, y);
  /* one matmul for q, k and v; attention; three matmuls; the normalisation */
  CHECK_INT(weft_session_profile_count(f.session), 6);
  weft_profile_entry entry;
  for (size_t i = 0; weft_session_profile_entry(f.session, i, &entry) == WEFT_OK; i++) {
    CHECK_INT(entry.calls, 2);
    CHECK(entry.op && entry.node && entry.kernel);
  }
  CHECK_OK(weft_session_dump(f.session, WEFT_DUMP_PLAN, count_text, &length, &f.error), &f.error);
  CHECK_OK(weft_session_dump(f.session, WEFT_DUMP_GRAPH, count_text, &length, &f.error), &f.error);
  CHECK(length > 1000);
  close_all(&f);
}

static void test_threads_change_nothing(void) {
  static float one[4 * 33 * 8], many[4 * 33 * 8];
  for (uint32_t threads = 1; threads <= 8; threads++) {
    fixture f;
    open_model(&f, threads);
    open_session(&f, NULL);
    run_shape(&f, 4, 33, threads == 1 ? one : many);
    if (threads > 1) CHECK_INT(memcmp(one, many, sizeof one), 0);
    close_all(&f);
  }
}

static void test_passes_are_listed(void) {
  size_t count = 0;
  while (weft_pass_name(count)) CHECK(weft_pass_description(count++) != NULL);
  CHECK(count >= 9);
  CHECK(weft_pass_description(count) == NULL);
  fixture f;
  open_model(&f, 1);
  weft_session_options options = {.disabled_passes = "fuse_norm,fuse_nothing"};
  CHECK_INT(weft_session_open(f.model, &options, &f.session, &f.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "there is no rewrite 'fuse_nothing' to switch off");
  close_all(&f);
}

int main(void) {
  CHECK_RUN(test_rewrites_keep_results);
  CHECK_RUN(test_kernel_targets_agree);
  CHECK_RUN(test_warm_runs_allocate_nothing);
  CHECK_RUN(test_outputs_in_the_callers_tensors);
  CHECK_RUN(test_plans_of_many_shapes);
  CHECK_RUN(test_empty_batches);
  CHECK_RUN(test_binding_errors);
  CHECK_RUN(test_wrong_extent);
  CHECK_RUN(test_consumed_model);
  CHECK_RUN(test_cancel_and_time_limit);
  CHECK_RUN(test_memory_limit);
  CHECK_RUN(test_profile_and_dumps);
  CHECK_RUN(test_threads_change_nothing);
  CHECK_RUN(test_passes_are_listed);
  return check_result();
}
