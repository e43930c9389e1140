/* parallel.c - one step's work over the threads: items are taken in chunks from a counter, so that
 * slow threads take fewer; each worker has its own scratch. */
#include "cpu/internal.h"

#define WORKER_NS_MIN 10000.0 /* below this a second thread costs more than it brings */
#define CHUNK_NS      5000.0  /* a chunk is long enough to hide its bookkeeping */
#define CLOCK_EVERY   8       /* chunks between looks at the clock */

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
  work->workers = workers < 1 ? 1 : workers < cpu->threads ? (uint32_t)workers : cpu->threads;
  uint64_t chunks = (items + work->grain - 1) / work->grain;
  if (work->workers > chunks) work->workers = chunks > 0 ? (uint32_t)chunks : 1;
  work->scratch_each = weft_align_up(scratch_each, WEFT_ALIGNMENT);
  work->scratch = weft_cpu_scratch(step, work->scratch_each * work->workers);
}

typedef struct shared {
  const weft_work *work;
  const weft_step *step;
  const weft_execution *execution;
  const void *context;
  weft_error *error;
  _Atomic uint64_t next;
  _Atomic int status; /* the first failure */
} shared;

static weft_status interrupted(const weft_execution *execution, uint32_t chunk, weft_error *error) {
  if (execution->cancel != NULL && atomic_load_explicit(execution->cancel, memory_order_relaxed))
    return weft_fail(error, WEFT_CANCELLED, "the run was cancelled");
  if (execution->deadline_ns != 0 && chunk % CLOCK_EVERY == CLOCK_EVERY - 1 &&
      weft_now_ns(execution->runtime) >= execution->deadline_ns)
    return weft_fail(error, WEFT_TIMED_OUT, "the run's time limit has passed");
  return WEFT_OK;
}

static weft_status do_chunks(shared *job, uint8_t *scratch, weft_error *error) {
  const weft_work *work = job->work;
  for (uint32_t chunk = 0;; chunk++) {
    uint64_t begin = atomic_fetch_add_explicit(&job->next, work->grain, memory_order_relaxed);
    if (begin >= work->items || atomic_load_explicit(&job->status, memory_order_relaxed) != 0)
      return WEFT_OK;
    WEFT_TRY(interrupted(job->execution, chunk, error));
    uint64_t end = weft_min_u64(begin + work->grain, work->items);
    WEFT_TRY(work->run(job->context, begin, end, scratch, error));
    if (end == work->items) return WEFT_OK;
  }
}

static void worker(void *argument, size_t index) {
  shared *job = argument;
  uint8_t *scratch = weft_step_scratch(job->execution, job->step) + job->work->scratch +
                     index * job->work->scratch_each;
  weft_error error;
  weft_status status = do_chunks(job, scratch, &error);
  int none = 0;
  if (status != WEFT_OK && atomic_compare_exchange_strong(&job->status, &none, (int)status) &&
      job->error != NULL)
    *job->error = error;
}

weft_status weft_work_run(const weft_work *work, const weft_step *step,
                          const weft_execution *execution, const void *context, weft_error *error) {
  shared job = {
      .work = work, .step = step, .execution = execution, .context = context, .error = error};
  if (work->items <= work->grain) /* the device has looked whether to go on */
    return work->run(context, 0, work->items, weft_step_scratch(execution, step) + work->scratch,
                     error);
  if (work->workers == 1)
    return do_chunks(&job, weft_step_scratch(execution, step) + work->scratch, error);
  weft_parallel(execution->runtime, work->workers, worker, &job);
  return (weft_status)atomic_load_explicit(&job.status, memory_order_relaxed);
}
