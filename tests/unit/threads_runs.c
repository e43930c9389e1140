/* Many runs on random numbers of threads, some cancelled at a random moment from another thread,
 * some out of time: each ends, either with the bits that one thread computes or with the reason why
 * not, and nothing is left. Worth most under TSan. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "tests/check.h"
#include "tests/model_build.h"

enum { RUNS = 10000, RUNS_PER_ROUND = 50, SESSIONS = 3, THREADS_MAX = 8, SHAPES = 4, WIDTH = 8 };

/* Batches and tokens: from a run that one thread does alone to one that keeps all of them busy. */
static const int64_t shapes[SHAPES][2] = {{1, 3}, {4, 40}, {16, 64}, {3, 300}};

typedef struct world {
  _Atomic int64_t blocks;
  weft_runtime *runtime;
  weft_model *model;
  weft_session *sessions[SESSIONS];
  weft_tensor *inputs[SHAPES];
  weft_error error;
  uint64_t random;
  unsigned done, cancelled, late;
} world;

static void *count_allocate(void *user, size_t bytes, size_t alignment) {
  ++*(_Atomic int64_t *)user;
  return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
static void count_release(void *user, void *memory, size_t bytes) {
  (void)bytes;
  --*(_Atomic int64_t *)user;
  free(memory);
}

static uint32_t any_of(world *w, uint32_t count) {
  return (uint32_t)(check_random(&w->random) % count);
}

static void open_input(world *w, int shape) {
  int64_t dims[] = {shapes[shape][0], shapes[shape][1], WIDTH};
  CHECK_OK(weft_tensor_open(w->runtime, WEFT_F32, dims, 3, &w->inputs[shape], &w->error),
           &w->error);
  float *data = weft_tensor_data(w->inputs[shape]);
  for (int64_t i = 0; i < dims[0] * dims[1] * WIDTH; i++) data[i] = sinf((float)i * 0.7f);
}

static void open_world(world *w, const proto *file, uint32_t threads) {
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){count_allocate, count_release, &w->blocks};
  options.thread_count = threads;
  CHECK_OK(weft_runtime_open(&options, &w->runtime, &w->error), &w->error);
  weft_source source = {.size = file->length, .bytes = file->bytes};
  CHECK_OK(weft_model_open(w->runtime, &source, NULL, &w->model, &w->error), &w->error);
  for (int i = 0; i < SESSIONS; i++) {
    weft_session_options session = {.thread_count = any_of(w, THREADS_MAX + 1)};
    CHECK_OK(weft_session_open(w->model, &session, &w->sessions[i], &w->error), &w->error);
  }
  for (int i = 0; i < SHAPES; i++) open_input(w, i);
}

static void close_world(world *w) {
  for (int i = 0; i < SHAPES; i++) weft_tensor_close(&w->inputs[i]);
  for (int i = 0; i < SESSIONS; i++) weft_session_close(&w->sessions[i]);
  weft_model_close(&w->model);
  weft_runtime_close(&w->runtime);
  CHECK_INT(w->blocks, 0);
}

/* What one thread computes, by shape. */
static float *expected[SHAPES];

static weft_status run(world *w, int session, int shape, uint64_t limit_ns, weft_tensor **out) {
  weft_binding x = {"x", w->inputs[shape]}, y = {"y", NULL};
  weft_run_options options = {.time_limit_ns = limit_ns};
  weft_status status = weft_session_run(w->sessions[session], &options, &x, 1, &y, 1, &w->error);
  *out = y.tensor;
  return status;
}

static void make_expected(const proto *file) {
  world w = {.random = 1};
  open_world(&w, file, 1);
  for (int shape = 0; shape < SHAPES; shape++) {
    weft_tensor *y;
    if (!CHECK_OK(run(&w, 0, shape, 0, &y), &w.error)) continue;
    expected[shape] = malloc(weft_tensor_bytes(y));
    memcpy(expected[shape], weft_tensor_data(y), weft_tensor_bytes(y));
  }
  close_world(&w);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

typedef struct canceller {
  world *on;
  uint64_t random;
  atomic_bool stop;
} canceller;

static void *cancel_often(void *user) {
  canceller *self = user;
  while (!atomic_load(&self->stop)) {
    struct timespec pause = {.tv_nsec = (long)(check_random(&self->random) % 500000)};
    nanosleep(&pause, NULL);
    weft_session_cancel(self->on->sessions[check_random(&self->random) % SESSIONS]);
  }
  return NULL;
}

static void check_run(world *w) {
  int session = (int)any_of(w, SESSIONS), shape = (int)any_of(w, SHAPES);
  uint64_t limit_ns = any_of(w, 4) == 0 ? any_of(w, 600000) + 1 : 0;
  weft_tensor *y;
  weft_status status = run(w, session, shape, limit_ns, &y);
  if (status == WEFT_OK) {
    w->done++;
    CHECK_INT(memcmp(weft_tensor_data(y), expected[shape], weft_tensor_bytes(y)), 0);
  } else if (status == WEFT_TIMED_OUT && limit_ns != 0) {
    w->late++;
  } else if (CHECK_INT(status, WEFT_CANCELLED)) {
    w->cancelled++;
  }
}

static void test_random_runs(void) {
  proto file = build_encoder();
  make_expected(&file);
  world w = {.random = 7};
  for (int round = 0; round * RUNS_PER_ROUND < RUNS; round++) {
    open_world(&w, &file, 1 + any_of(&w, THREADS_MAX));
    canceller by = {.on = &w, .random = check_random(&w.random)};
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, cancel_often, &by), 0);
    for (int i = 0; i < RUNS_PER_ROUND; i++) check_run(&w);
    atomic_store(&by.stop, true);
    pthread_join(thread, NULL);
    close_world(&w);
  }
  check_print("%u done, %u cancelled, %u out of time\n", w.done, w.cancelled, w.late);
  CHECK(w.done > 0 && w.cancelled > 0 && w.late > 0);
  for (int i = 0; i < SHAPES; i++) free(expected[i]);
  proto_free(&file);
}

int main(void) {
  CHECK_RUN(test_random_runs);
  return check_result();
}
