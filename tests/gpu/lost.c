/* Losses of a GPU, one after the other: each time the call that is under way answers within a
 * second, what is opened anew gives the results of before to the bit, and nothing piles up, neither
 * on the heap nor in the process. Five times; a hundred times in the full tests.
 *
 *   test_gpu_lost [ADAPTER]     "null": a driver that executes nothing */
#define _POSIX_C_SOURCE 200809L
#include <time.h>
#include <unistd.h>

#include "tests/gpu/gpu_session.h"

static proto file;
static const char *adapter;
static const int64_t ids[] = {3, 1, 4, 1, 5};
enum { STEPS = 3, MOMENTS = 6, WARM_UP = 4 };
static const int64_t tokens[STEPS] = {5, 1, 1};

/* A rig, and how its GPU is lost. */
typedef struct losing {
  gpu_rig rig;
  weft_gpu_null_counts counts;
} losing;

static bool is_null(void) {
  return adapter && strcmp(adapter, "null") == 0;
}

static void open_all(losing *l) {
  gpu_rig *rig = &l->rig;
  weft_gpu_driver *driver = NULL;
  weft_session_options options = {0};
  memset(l, 0, sizeof *l);
  l->counts.pending = 1;
  CHECK_OK(rig_open_runtime(rig), &rig->error);
  weft_heap *heap = &rig->runtime->heap;
  weft_status status = is_null() ? weft_gpu_null_open(heap, NULL, &l->counts, &driver, &rig->error)
                                 : weft_gpu_native_open(heap, adapter, &driver, &rig->error);
  if (!CHECK_OK(status, &rig->error)) exit(1);
  CHECK_OK(weft_gpu_open_driver(heap, driver, &rig->gpu, &rig->error), &rig->error);
  CHECK_OK(rig_open_session(rig, &file, &options), &rig->error);
}

static void lose(losing *l) {
  if (!is_null()) return weft_gpu_native_lose(l->rig.gpu->driver);
  l->counts.fail_call = l->counts.calls + 1;
  l->counts.fail_status = WEFT_DEVICE_LOST;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Pages of this process in memory. */
static long resident_pages(void) {
  long size = 0, resident = 0;
  FILE *from = fopen("/proc/self/statm", "r");
  if (from && fscanf(from, "%ld %ld", &size, &resident) != 2) resident = 0;
  if (from) fclose(from);
  return resident;
}

/* All steps, and what they give. */
static void run_all(losing *l, rig_results *results) {
  memset(results, 0, STEPS * sizeof *results);
  for (int s = 0; s < STEPS; s++)
    CHECK_OK(rig_step(&l->rig, ids, tokens[s], &results[s]), &l->rig.error);
}

/* The call that meets the loss, at one of several moments. */
static weft_status meet(losing *l, int moment) {
  gpu_rig *rig = &l->rig;
  rig_results results;
  weft_status status;
  switch (moment) {
  case 1: /* a run is under way */
    status = rig_start(rig, ids, 1);
    lose(l);
    return rig_finish(rig, status);
  case 2: /* a fetch is */
    status = weft_tensor_fetch(rig->past[0], &rig->error);
    lose(l);
    return status == WEFT_PENDING ? rig_fetch(rig, rig->past[0]) : status;
  case 3:
    lose(l);
    return rig_prepare(rig);
  case 4: /* somebody waits */
    lose(l);
    return weft_session_poll(rig->session, true, &rig->error);
  default: /* nothing is under way; at moment 0 nothing was compiled either */
    lose(l);
    return rig_step(rig, ids, 1, &results);
  }
}

static void check_closed(losing *l) {
  rig_close(&l->rig);
  CHECK_INT(l->rig.blocks, 0);
  CHECK_INT(l->counts.buffers + l->counts.pipelines + l->counts.groups + l->counts.reads, 0);
}

/* What runs before must be as expected. */
static void lose_once(int moment, const rig_results *expected) {
  static rig_results results[STEPS];
  losing l;
  open_all(&l);
  if (moment > 0) run_all(&l, results);
  if (moment > 0) CHECK_INT(memcmp(results, expected, sizeof results), 0);
  double start = seconds();
  weft_status status = meet(&l, moment);
  CHECK(seconds() - start < 1);
  /* What was under way may have been done in time. */
  if (status == WEFT_OK) status = rig_step(&l.rig, ids, 1, &results[0]);
  if (!CHECK_INT(status, WEFT_DEVICE_LOST)) check_print("  at moment %d\n", moment);
  if (!is_null()) CHECK(strstr(l.rig.error.message, "lost") != NULL);
  check_closed(&l);
}

/* The same after each: in the end once more without. */
static void test_losses(void) {
  static rig_results expected[STEPS], results[STEPS];
  int losses = getenv("WEFT_GPU_FULL") ? 100 : MOMENTS;
  long before = 0;
  losing l;
  open_all(&l);
  run_all(&l, expected);
  check_closed(&l);
  if (!is_null()) CHECK(expected[0].floats[0][0] != 0);
  for (int i = 0; i < losses; i++) {
    lose_once(i % MOMENTS, expected);
    if (i == WARM_UP) before = resident_pages();
  }
  long bytes = (resident_pages() - before) * sysconf(_SC_PAGESIZE);
  check_print("%d losses, %ld KiB more in the process\n", losses, bytes / 1024);
  CHECK(bytes < 16 << 20);
  open_all(&l);
  run_all(&l, results);
  CHECK_INT(memcmp(results, expected, sizeof results), 0);
  check_closed(&l);
}

int main(int argc, char **argv) {
  adapter = argc > 1 ? argv[1] : getenv("WEFT_GPU_ADAPTER");
  file = build_decoder_file();
  CHECK_RUN(test_losses);
  proto_free(&file);
  return check_result();
}
