/* Tests of the thread pool behind weft_parallel. Worth most under TSan. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/runtime.h"
#include "tests/check.h"

enum { TASKS_MAX = 300 };

typedef struct {
  const weft_runtime *runtime;
  unsigned plain[TASKS_MAX]; /* each written by one task only: a race here is the pool's fault */
  _Atomic unsigned calls;
} job;

static void count_task(void *arg, size_t i) {
  job *on = arg;
  on->plain[i]++;
  atomic_fetch_add(&on->calls, 1);
}

static weft_runtime *open_runtime(uint32_t threads) {
  weft_runtime_options options = weft_runtime_options_default();
  options.thread_count = threads;
  weft_runtime *runtime;
  weft_error error;
  CHECK_OK(weft_runtime_open(&options, &runtime, &error), &error);
  return runtime;
}

static void run_job(const weft_runtime *runtime, size_t tasks) {
  job on = {.runtime = runtime};
  weft_parallel(runtime, tasks, count_task, &on);
  CHECK_INT(atomic_load(&on.calls), tasks);
  for (size_t i = 0; i < tasks; i++) CHECK_INT(on.plain[i], 1);
}

static void test_each_task_once(void) {
  for (uint32_t threads = 1; threads <= 5; threads++) {
    weft_runtime *runtime = open_runtime(threads);
    for (size_t repeat = 0; repeat < 2000; repeat++) run_job(runtime, repeat % 7);
    run_job(runtime, TASKS_MAX);
    weft_runtime_close(&runtime);
  }
}

/* Workers that sleep between jobs are woken again. */
static void test_after_sleep(void) {
  weft_runtime *runtime = open_runtime(3);
  for (int repeat = 0; repeat < 20; repeat++) {
    uint64_t until = weft_now_ns(runtime) + 2000000;
    while (weft_now_ns(runtime) < until) {
    }
    run_job(runtime, 5);
  }
  weft_runtime_close(&runtime);
}

static void nested_task(void *arg, size_t i) {
  (void)i;
  job *on = arg;
  job inner = {.runtime = on->runtime};
  weft_parallel(on->runtime, 10, count_task, &inner);
  atomic_fetch_add(&on->calls, atomic_load(&inner.calls));
}

static void test_nested(void) {
  weft_runtime *runtime = open_runtime(4);
  job on = {.runtime = runtime};
  weft_parallel(runtime, 20, nested_task, &on);
  CHECK_INT(atomic_load(&on.calls), 200);
  weft_runtime_close(&runtime);
}

static void *caller(void *arg) {
  const weft_runtime *runtime = arg;
  uintptr_t bad = 0;
  for (int repeat = 0; repeat < 500; repeat++) {
    job on = {.runtime = runtime};
    weft_parallel(runtime, 9, count_task, &on);
    for (size_t i = 0; i < 9; i++) bad += on.plain[i] != 1;
  }
  return (void *)bad;
}

static void test_callers_at_the_same_time(void) {
  weft_runtime *runtime = open_runtime(3);
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) CHECK_INT(pthread_create(&threads[i], NULL, caller, runtime), 0);
  for (int i = 0; i < 3; i++) {
    void *bad;
    pthread_join(threads[i], &bad);
    CHECK_INT((uintptr_t)bad, 0);
  }
  weft_runtime_close(&runtime);
}

int main(void) {
  CHECK_RUN(test_each_task_once);
  CHECK_RUN(test_after_sleep);
  CHECK_RUN(test_nested);
  CHECK_RUN(test_callers_at_the_same_time);
  return check_result();
}
