/* threads.c - threads of the wasm module: the life of one, and how many are worth having.
 * web/src/threads.ts starts them, each with web/src/thread.ts, an instance of this module on the
 * same memory. */
#include "kernels/kernels.h"
#include "wasm/context.h"

/* Ops are a few calls deep, and no frame is larger than cmake/wasm.cmake says. */
#define STACK_BYTES (256u << 10)

/* The end of a stack for one more thread, from which it grows down; NULL: no memory. It stays: a
 * page has few threads, and nobody knows when one has ended. */
EXPORT(web_thread_stack) void *web_thread_stack(web_context *context) {
  uint8_t *stack = weft_heap_allocate(&context->runtime->heap, STACK_BYTES);
  return stack != NULL ? stack + STACK_BYTES : NULL;
}

EXPORT(web_thread_work) void web_thread_work(web_context *context) {
  weft_host_pool_work(context->runtime->pool);
}
EXPORT(web_thread_break) void web_thread_break(web_context *context) {
  weft_host_pool_break(context->runtime->pool);
}

/* For a thread that shares the memory: a run takes the one that called it. */
EXPORT(web_session_cancel) void web_session_cancel(weft_session *session) {
  weft_session_cancel(session);
}

/* ---- how many help ------------------------------------------------------------------------- */

/* A trial takes about 100 microseconds of each thread. */
enum { TRIALS = 8, TRIAL_STEPS = 25000, VECTORS = 4, THREADS_MOST = 64 };

static void trial(void *arg, size_t i) {
  typedef float vector __attribute__((vector_size(16)));
  vector sums[VECTORS] = {{0}};
  volatile float factor = 0.5f;
  vector by = {factor, factor, factor, factor};
  for (int step = 0; step < TRIAL_STEPS; step++)
    for (int v = 0; v < VECTORS; v++) sums[v] = sums[v] * by + by;
  float *out = arg;
  out[i] = (sums[0] + sums[1] + sums[2] + sums[3])[0];
}

static uint64_t time_trial(web_context *context, uint32_t threads) {
  float results[THREADS_MOST];
  uint64_t start = weft_now_ns(context->runtime);
  weft_parallel(context->runtime, threads, trial, results);
  return weft_now_ns(context->runtime) - start;
}

/* Of up to `threads`, how many get more arithmetic done than fewer do: each has to bring at least a
 * third of what it would on a processor of its own. */
EXPORT(web_threads_worth) uint32_t web_threads_worth(web_context *context, uint32_t threads) {
  uint64_t best[THREADS_MOST + 1];
  if (threads > THREADS_MOST) threads = THREADS_MOST;
  for (uint32_t t = 1; t <= threads; t++) best[t] = UINT64_MAX;
  for (int i = 0; i < TRIALS; i++) {
    for (uint32_t t = 1; t <= threads; t++) {
      uint64_t time = time_trial(context, t);
      if (time < best[t]) best[t] = time;
    }
  }
  uint32_t worth = 1;
  for (uint32_t t = 2; t <= threads; t++) {
    double fair = 1 + (double)(t - worth) / worth / 3;
    if ((double)t / (double)best[t] >= fair * worth / (double)best[worth]) worth = t;
  }
  return worth;
}
