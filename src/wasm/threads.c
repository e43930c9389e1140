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

/* A trial is about 400 microseconds of one thread's arithmetic, which threads share as they share a
 * step of a model. */
enum { TRIALS = 8, CHUNKS = 24, CHUNK_STEPS = 9000, VECTORS = 4 };

typedef struct trial {
  _Atomic uint32_t next; /* chunk */
  float results[CHUNKS]; /* so that a compiler cannot leave the work out */
} trial;

static void do_chunks(void *arg, size_t i) {
  (void)i;
  typedef float vector __attribute__((vector_size(16)));
  trial *on = arg;
  for (uint32_t chunk; (chunk = atomic_fetch_add(&on->next, 1)) < CHUNKS;) {
    vector sums[VECTORS] = {{0}}, by = (vector){0.5f, 0.5f, 0.5f, 0.5f} / (float)(chunk + 1);
    for (int step = 0; step < CHUNK_STEPS; step++)
      for (int v = 0; v < VECTORS; v++) sums[v] = sums[v] * by + by;
    on->results[chunk] = (sums[0] + sums[1] + sums[2] + sums[3])[0];
  }
}

/* Nanoseconds of the best of some trials, one right after the other: the first ones may have to
 * wake a thread, or to wait for a processor. */
static double best_trial(web_context *context, uint32_t threads) {
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < TRIALS; i++) {
    trial on = {0};
    uint64_t start = weft_now_ns(context->runtime);
    weft_parallel(context->runtime, threads, do_chunks, &on);
    uint64_t time = weft_now_ns(context->runtime) - start;
    if (time < best) best = time;
  }
  return (double)best;
}

/* Of up to `threads`, how many finish sooner than fewer do: each has to bring at least a third of
 * what it would on a processor of its own. */
EXPORT(web_threads_worth) uint32_t web_threads_worth(web_context *context, uint32_t threads) {
  uint32_t worth = 1;
  double best = best_trial(context, 1);
  for (uint32_t t = 2; t <= threads; t++) {
    double time = best_trial(context, t), gain = 1 + (double)(t - worth) / worth / 3;
    if (time * gain > best) continue;
    worth = t;
    best = time;
  }
  return worth;
}
