/* tuner.c - measures variants; the table of choices is in tuner_table.c.
 *
 * One variant after the other goes through the phases below; a call of weft_tuner_run does what can
 * be done without waiting. A time is that of so many repetitions in one submit that the clock's
 * steps (65 us and more in browsers) and the cost of the submit vanish in it. */
#include "gpu/commands.h"
#include "gpu/tuner_table.h"

typedef enum tuner_phase { NEXT_STEP, NEXT_VARIANT, COMPILE, SUBMIT, WAIT } tuner_phase;

enum { REPEATS_MAX = 256, TIME_ENOUGH_NS = 3000000 };

/* The guess is only given up for what is clearly faster. */
static const double clearly = 0.97;

typedef struct weft_tuner_job {
  const weft_gpu_device *owner; /* other sessions of the GPU leave it alone */
  tuner_phase phase;
  uint64_t started_ns; /* of all */
  uint32_t step;       /* of the plan */
  uint32_t turn, turns;
  double best_ns; /* 0: none yet */
  uint32_t best;

  weft_arena arena; /* of the variant's state */
  weft_step variant;
  weft_memory scratch, marker; /* marker: read back to learn that a submit is done */
  weft_memory *memories;       /* by slot; after them the scratch */
  uint32_t slots;

  bool warm; /* it ran before: what a driver does at first use is done */
  uint32_t repeats;
  weft_gpu_id read; /* 0: none pending */
  uint64_t times[2], submitted_ns;
  uint32_t mark;
} job;

/* ---- a variant ------------------------------------------------------------------------------- */

/* Prepares the plan's step anew, by the choices that hold at this moment. */
static weft_status prepare(weft_gpu_device *gpu, job *j, const weft_execution *execution) {
  weft_arena_release(&j->arena);
  weft_arena_init(&j->arena, gpu->heap);
  j->variant = execution->plan->steps[j->step];
  return gpu->device.prepare(&gpu->device, &j->variant, &j->arena, NULL);
}

/* Variants differ in the scratch that they take, so the plan's own may be too small. */
static weft_status take_scratch(weft_gpu_device *gpu, job *j) {
  gpu->device.memory_close(&gpu->device, j->scratch);
  j->scratch = 0;
  j->variant.scratch_slot = j->slots;
  if (j->variant.scratch_bytes)
    WEFT_TRY(gpu->device.memory_open(&gpu->device, j->variant.scratch_bytes, &j->scratch, NULL));
  j->memories[j->slots] = j->scratch;
  return WEFT_OK;
}

static bool has_memory(const job *j, const weft_array *array) {
  return !array || !array->on_device || array->memory || j->memories[array->slot];
}

/* What waits for a run's inputs, or for what only a run knows, cannot be tried before it. */
static bool can_run(const job *j) {
  const weft_step *step = &j->variant;
  const weft_gpu_work *work = step->state;
  bool can = work && work->count > 0 && !work->before;
  for (uint32_t i = 0; i < step->input_count; i++) can = can && has_memory(j, step->inputs[i]);
  for (uint32_t i = 0; i < step->output_count; i++) can = can && has_memory(j, step->outputs[i]);
  return can;
}

/* ---- time ------------------------------------------------------------------------------------ */

static weft_status add_time(const weft_gpu_device *gpu, uint32_t index, weft_error *error) {
  if (!gpu->gpu->facts->timestamps) return WEFT_OK;
  uint32_t *command = weft_commands_add(gpu->commands, WEFT_GPU_TIME, 2);
  if (!command) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for the GPU's commands");
  command[1] = index;
  return WEFT_OK;
}

static weft_status submit(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                          weft_error *error) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  weft_execution trial = *execution;
  trial.memories = j->memories;
  WEFT_TRY(add_time(gpu, 0, error));
  for (uint32_t i = 0; i < j->repeats; i++)
    WEFT_TRY(weft_gpu_encode_step(gpu, &trial, &j->variant, error));
  WEFT_TRY(add_time(gpu, 1, error));
  j->submitted_ns = weft_now_ns(gpu->device.runtime);
  WEFT_TRY(weft_gpu_submit(gpu, error));
  if (gpu->gpu->facts->timestamps) return driver->read_times(driver, 2, j->times, &j->read, error);
  return driver->read(driver, j->marker, 0, sizeof j->mark, &j->mark, &j->read, error);
}

/* Of one repetition, in nanoseconds; 0: the submit was too short to tell. */
static double time_of(const weft_gpu_device *gpu, const job *j) {
  uint64_t ns = gpu->gpu->facts->timestamps ? j->times[1] - j->times[0]
                                            : weft_now_ns(gpu->device.runtime) - j->submitted_ns;
  bool runs_backwards = gpu->gpu->facts->timestamps && j->times[1] <= j->times[0];
  if (runs_backwards || (ns < TIME_ENOUGH_NS && j->repeats < REPEATS_MAX)) return 0;
  return (double)ns / j->repeats;
}

/* ---- phases: each answers WEFT_OK where another may follow at once --------------------------- */

static weft_status finish(weft_gpu_device *gpu, job *j) {
  weft_tuner *tuner = gpu->gpu->tuner;
  weft_tune_entry *entry = &tuner->entries[tuner->trying];
  if (j->best_ns > 0) {
    entry->choice = j->best;
    entry->ns = (uint64_t)j->best_ns;
    entry->measured = true;
  }
  tuner->trying = WEFT_TUNE_NONE;
  j->step++;
  j->phase = NEXT_STEP;
  return WEFT_OK;
}

/* Finds the next step of a class that was not measured yet. */
static void next_step(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                      const weft_tune_options *options) {
  weft_tuner *tuner = gpu->gpu->tuner;
  for (; j->step < execution->plan->step_count; j->step++) {
    const weft_step *step = &execution->plan->steps[j->step];
    tuner->asked = WEFT_TUNE_NONE;
    if (!step->on_device || step->is_copy || prepare(gpu, j, execution) != WEFT_OK) continue;
    if (tuner->asked == WEFT_TUNE_NONE || !can_run(j)) continue;
    const weft_tune_entry *entry = &tuner->entries[tuner->asked];
    if (entry->measured || entry->candidates < 2) continue;
    tuner->trying = tuner->asked;
    j->turn = 0;
    j->turns = entry->candidates;
    if (options->candidates && options->candidates < j->turns) j->turns = options->candidates;
    j->best_ns = 0;
    j->phase = NEXT_VARIANT;
    return;
  }
}

/* The guess has the first turn, then the others follow in their order. */
static uint32_t variant_of(uint32_t turn, uint32_t guess) {
  if (turn == 0) return guess;
  return turn - 1 < guess ? turn - 1 : turn;
}

static weft_status next_variant(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                                const weft_tune_options *options) {
  weft_tuner *tuner = gpu->gpu->tuner;
  uint64_t spent = weft_now_ns(gpu->device.runtime) - j->started_ns;
  if (j->turn == j->turns || (options->budget_ns && spent > options->budget_ns))
    return finish(gpu, j);
  tuner->trial = variant_of(j->turn++, tuner->entries[tuner->trying].prior);
  /* A variant that this step or GPU cannot have is passed over. */
  if (prepare(gpu, j, execution) != WEFT_OK || take_scratch(gpu, j) != WEFT_OK) return WEFT_OK;
  j->warm = false;
  j->repeats = 1;
  j->phase = COMPILE;
  return WEFT_OK;
}

static weft_status compile(weft_gpu_device *gpu, job *j, weft_error *error) {
  weft_status status = weft_kernels_ready(gpu->gpu->kernels, error);
  if (status == WEFT_OK) j->phase = SUBMIT;
  return status;
}

static weft_status wait(weft_gpu_device *gpu, job *j, weft_error *error) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  weft_status status = driver->read_state(driver, j->read, error);
  if (status != WEFT_PENDING) j->read = 0;
  if (status != WEFT_OK) return status;
  double ns = time_of(gpu, j);
  j->phase = SUBMIT;
  if (!j->warm) {
    j->warm = true;
    return WEFT_OK;
  }
  if (ns == 0) {
    j->repeats *= 4;
    return WEFT_OK;
  }
  const weft_tuner *tuner = gpu->gpu->tuner;
  if (j->best_ns == 0 || ns < clearly * j->best_ns) {
    j->best_ns = ns;
    j->best = tuner->trial;
  }
  j->phase = NEXT_VARIANT;
  return WEFT_OK;
}

/* A variant that does not compile or run here: the others go on. */
static weft_status give_up(weft_gpu_device *gpu, job *j) {
  gpu->commands->words = 0;
  j->phase = NEXT_VARIANT;
  return WEFT_OK;
}

static weft_status go_on(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                         const weft_tune_options *options, weft_error *error) {
  switch (j->phase) {
  case NEXT_STEP:
    next_step(gpu, j, execution, options);
    return WEFT_OK;
  case NEXT_VARIANT:
    return next_variant(gpu, j, execution, options);
  case COMPILE:
    return compile(gpu, j, error);
  case SUBMIT:
    j->phase = WAIT;
    return submit(gpu, j, execution, error);
  case WAIT:
    return wait(gpu, j, error);
  }
  return WEFT_OK;
}

/* ---- a job ----------------------------------------------------------------------------------- */

void weft_tuner_stop(weft_gpu_device *gpu) {
  weft_tuner *tuner = gpu->gpu->tuner;
  job *j = tuner->job;
  if (!j || j->owner != gpu) return;
  weft_gpu_driver *driver = gpu->gpu->driver;
  if (j->read) driver->read_drop(driver, j->read);
  gpu->device.memory_close(&gpu->device, j->scratch);
  gpu->device.memory_close(&gpu->device, j->marker);
  weft_arena_release(&j->arena);
  weft_heap_release(gpu->heap, j->memories, (j->slots + 1) * sizeof *j->memories);
  weft_heap_release(gpu->heap, j, sizeof *j);
  tuner->job = NULL;
  tuner->trying = WEFT_TUNE_NONE;
  gpu->commands->words = 0;
}

static weft_status start(weft_gpu_device *gpu, const weft_execution *execution, weft_error *error) {
  const weft_plan *plan = execution->plan;
  job *j = weft_heap_allocate_zeroed(gpu->heap, sizeof *j);
  if (!j) return weft_heap_fail(gpu->heap, sizeof *j, "tuning", error);
  gpu->gpu->tuner->job = j;
  j->owner = gpu;
  j->started_ns = weft_now_ns(gpu->device.runtime);
  weft_arena_init(&j->arena, gpu->heap);
  j->slots = 1 + plan->input_count + plan->output_count + plan->pool_count;
  j->memories = weft_heap_allocate_zeroed(gpu->heap, (j->slots + 1) * sizeof *j->memories);
  if (!j->memories) return weft_heap_fail(gpu->heap, j->slots, "tuning", error);
  memcpy(j->memories, execution->memories, j->slots * sizeof *j->memories);
  return gpu->device.memory_open(&gpu->device, sizeof j->mark, &j->marker, error);
}

weft_status weft_tuner_run(weft_gpu_device *gpu, const weft_execution *execution,
                           const weft_tune_options *options, weft_error *error) {
  weft_tuner *tuner = gpu->gpu->tuner;
  if (tuner->job && tuner->job->owner != gpu) return WEFT_PENDING; /* one after the other */
  weft_status status = tuner->job ? WEFT_OK : start(gpu, execution, error);
  while (status == WEFT_OK && tuner->job->step < execution->plan->step_count) {
    status = go_on(gpu, tuner->job, execution, options, error);
    if (status < 0 && status != WEFT_DEVICE_LOST) status = give_up(gpu, tuner->job);
  }
  if (status != WEFT_PENDING) weft_tuner_stop(gpu);
  return status;
}
