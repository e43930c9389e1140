/* parallel.c - one step's work over the threads. Each worker begins with a share of its own, so
 * that it finds in its cache what it wrote in the step before; then, chunk by chunk, with what is
 * left of others', so that slow threads do less. Each has its own scratch. */
#include "cpu/internal.h"

#define WORKER_NS_MIN 10000.0 /* below this a second thread costs more than it brings */
#define CHUNK_NS      5000.0  /* a chunk is long enough to hide its bookkeeping */
#define CLOCK_EVERY   8       /* chunks between looks at the clock */
#define WORKERS_MAX   64

uint64_t weft_cpu_scratch(weft_step *step, uint64_t bytes) {
  uint64_t offset = weft_align_up(step->scratch_bytes, WEFT_ALIGNMENT);
  step->scratch_bytes = offset + weft_align_up(bytes, WEFT_ALIGNMENT);
  return offset;
}

void weft_work_prepare(weft_work *work, const weft_cpu *cpu, weft_step *step, weft_work_fn *run,
                       uint64_t items, double cost, uint64_t scratch_each) {
  work->run = run;
  work->items = items;
  work->grain = cost >= CHUNK_NS ? 1 : 1 + (uint64_t)(CHUNK_NS / (cost + 0.01));
  double workers = (double)items * cost / WORKER_NS_MIN;
  uint32_t most = cpu->threads < WORKERS_MAX ? cpu->threads : WORKERS_MAX;
  work->workers = workers < 1 ? 1 : workers < most ? (uint32_t)workers : most;
  uint64_t chunks = (items + work->grain - 1) / work->grain;
  if (work->workers > chunks) work->workers = chunks > 0 ? (uint32_t)chunks : 1;
  work->scratch_each = weft_align_up(scratch_each, WEFT_ALIGNMENT);
  work->scratch = weft_cpu_scratch(step, work->scratch_each * work->workers);
}

/* Items of which a worker takes the first ones first. In a cache line of its own. */
typedef struct share {
  _Alignas(WEFT_ALIGNMENT) _Atomic uint64_t next;
  uint64_t end;
} share;

typedef struct job {
  const weft_work *work;
  const weft_step *step;
  const weft_execution *execution;
  const void *context;
  weft_error *error;
  _Atomic int status; /* the first failure */
  share shares[WORKERS_MAX];
} job;

static weft_status interrupted(const weft_execution *execution, uint32_t chunk, weft_error *error) {
  if (execution->cancel != NULL && atomic_load_explicit(execution->cancel, memory_order_relaxed))
    return weft_fail(error, WEFT_CANCELLED, "the run was cancelled");
  if (execution->deadline_ns != 0 && chunk % CLOCK_EVERY == CLOCK_EVERY - 1 &&
      weft_now_ns(execution->runtime) >= execution->deadline_ns)
    return weft_fail(error, WEFT_TIMED_OUT, "the run's time limit has passed");
  return WEFT_OK;
}

/* Whole chunks, as many for each. */
static void set_shares(job *on) {
  const weft_work *work = on->work;
  uint64_t chunks = (work->items + work->grain - 1) / work->grain;
  for (uint64_t i = 0, next = 0; i < work->workers; i++) {
    uint64_t end =
        chunks / work->workers * (i + 1) + chunks % work->workers * (i + 1) / work->workers;
    atomic_init(&on->shares[i].next, next * work->grain);
    on->shares[i].end = weft_min_u64(end * work->grain, work->items);
    next = end;
  }
}

/* `chunk` counts what the worker has done. */
static weft_status do_share(job *on, share *from, uint32_t *chunk, uint8_t *scratch,
                            weft_error *error) {
  const weft_work *work = on->work;
  for (;; ++*chunk) {
    uint64_t begin = atomic_fetch_add_explicit(&from->next, work->grain, memory_order_relaxed);
    if (begin >= from->end || atomic_load_explicit(&on->status, memory_order_relaxed) != 0)
      return WEFT_OK;
    WEFT_TRY(interrupted(on->execution, *chunk, error));
    uint64_t end = weft_min_u64(begin + work->grain, from->end);
    WEFT_TRY(work->run(on->context, begin, end, scratch, error));
  }
}

/* First the worker's own share, then the others'. */
static weft_status do_shares(job *on, size_t index, weft_error *error) {
  const weft_work *work = on->work;
  uint8_t *scratch =
      weft_step_scratch(on->execution, on->step) + work->scratch + index * work->scratch_each;
  uint32_t chunk = 0;
  for (size_t i = 0; i < work->workers; i++)
    WEFT_TRY(do_share(on, &on->shares[(index + i) % work->workers], &chunk, scratch, error));
  return WEFT_OK;
}

static void worker(void *argument, size_t index) {
  job *on = argument;
  weft_error error;
  weft_status status = do_shares(on, index, &error);
  int none = 0;
  if (status != WEFT_OK && atomic_compare_exchange_strong(&on->status, &none, (int)status) &&
      on->error != NULL)
    *on->error = error;
}

weft_status weft_work_run(const weft_work *work, const weft_step *step,
                          const weft_execution *execution, const void *context, weft_error *error) {
  if (work->items <= work->grain) /* the device has looked whether to go on */
    return work->run(context, 0, work->items, weft_step_scratch(execution, step) + work->scratch,
                     error);
  job on;
  on.work = work, on.step = step, on.execution = execution, on.context = context, on.error = error;
  atomic_init(&on.status, 0);
  set_shares(&on);
  if (work->workers == 1) return do_shares(&on, 0, error);
  weft_parallel(execution->runtime, work->workers, worker, &on);
  return (weft_status)atomic_load_explicit(&on.status, memory_order_relaxed);
}
