/* tuner.c - measures variants; the table of choices is in tuner_table.c.
 *
 * Classes of steps have their turns, the costliest first. The variants of a class are compiled side
 * by side, apart from all measuring. Then they run in rounds: in each, every variant that is left
 * has one submit, with so many repetitions that the clock's steps (65 us and more in browsers) and
 * the cost of the submit vanish in it. A variant's time is its least, so that what else the machine
 * did at some moment does not count, and those that are clearly behind drop out after each round.
 * A call of weft_tuner_run does what can be done without waiting. */
#include "gpu/commands.h"
#include "gpu/tuner_table.h"

typedef enum tuner_phase { NEXT_CLASS, COMPILE, SUBMIT, WAIT } tuner_phase;

/* The least time of a submit that counts: in the first round that does, and later. Without
 * timestamps the clock on the wall sees the submit's own cost too; a CPU does other things. */
static const double short_ns = 1e6, long_ns = 3e6, rough_factor = 3;
enum { REPEATS_MAX = 4096 };

/* Round 0 warms up: what a driver does at first use is done then, and no time of it counts. */
enum { ROUNDS_FAST = 6, ROUNDS_FULL = 12 };

/* So many times the best one's time a variant may take after each later round; the last for all
 * others. */
static const double left_behind[] = {4, 3, 2, 1.5, 1.3, 1.2, 1.1};
enum { CUTS = sizeof left_behind / sizeof *left_behind };

/* The guess is only given up for what is clearly faster: in several rounds, or in the first. */
static const double clearly_by_rounds = 0.98, clearly_at_once = 0.9;

/* Steps of the plan that share a choice. */
typedef struct tuner_class {
  uint32_t entry, step; /* one of them */
  double cost;          /* of all, roughly; 0: done */
} tuner_class;

typedef struct tuner_variant {
  uint32_t number; /* of the entry's */
  bool out, compiled;
  uint32_t repeats;
  double ns; /* the least; 0: none yet */
  weft_arena arena;
  weft_step step;
} tuner_variant;

typedef struct weft_tuner_job {
  const weft_gpu_device *owner; /* other sessions of the GPU leave it alone */
  tuner_phase phase;
  uint64_t started_ns;
  tuner_class *classes, *class; /* by the room of as many as there are steps; the current one */
  uint32_t class_count;

  tuner_variant *variants; /* of the current class */
  uint32_t count, round, at;
  weft_memory scratch, marker; /* marker: read back to learn that a submit is done */
  weft_memory *memories;       /* by slot; after them the scratch */
  uint64_t *lent;              /* by slot: bytes of a memory that is lent; 0: it is the plan's */
  uint32_t slots, steps;

  weft_gpu_id read; /* 0: none pending */
  uint64_t times[2], submitted_ns;
  uint32_t mark;
} job;

/* Kernels take as much longer on a CPU, and so do their compilers. */
enum { SOFTWARE_FACTOR = 10, FAST_CANDIDATES = 8 };

weft_tune_options weft_tuner_options(const weft_gpu_facts *facts, bool full) {
  if (full) return (weft_tune_options){.rounds = ROUNDS_FULL};
  uint64_t second = 1000000000ull * (facts->is_software ? SOFTWARE_FACTOR : 1);
  return (weft_tune_options){.gpu_ns = second * 3 / 4,
                             .wall_ns = 3 * second,
                             .candidates = FAST_CANDIDATES,
                             .rounds = ROUNDS_FAST};
}

/* ---- budget ---------------------------------------------------------------------------------- */

static bool is_spent(const weft_gpu_device *gpu, const job *j, const weft_tune_options *options) {
  const weft_tuner *tuner = gpu->gpu->tuner;
  uint64_t wall = tuner->wall_ns + weft_now_ns(gpu->device.runtime) - j->started_ns;
  return (options->gpu_ns && tuner->gpu_ns >= options->gpu_ns) ||
         (options->wall_ns && wall >= options->wall_ns);
}

/* ---- classes --------------------------------------------------------------------------------- */

/* Prepares step `number` of the plan anew, by the choices that hold at this moment. */
static weft_status prepare(weft_gpu_device *gpu, weft_arena *arena, const weft_execution *execution,
                           uint32_t number, weft_step *out) {
  *out = execution->plan->steps[number];
  return gpu->device.prepare(&gpu->device, out, arena, NULL);
}

/* Bytes of a memory up to the array's last element, and the group of four it lies in. */
static uint64_t bytes_to(const weft_array *array) {
  uint64_t last = 0;
  for (int32_t i = 0; i < array->rank; i++)
    if (array->dims[i] > 1 && array->strides[i] > 0)
      last += (uint64_t)(array->dims[i] - 1) * (uint64_t)array->strides[i];
  return weft_align_up(array->offset + (last + 4) * weft_dtype_size(array->dtype), 16);
}

/* Inputs, outputs and caches have no memory before a run: they are lent some. */
static bool lend_memory(weft_gpu_device *gpu, job *j, const weft_array *array) {
  if (!array || !array->on_device || array->memory) return true;
  weft_memory *memory = &j->memories[array->slot];
  uint64_t *lent = &j->lent[array->slot], bytes = bytes_to(array);
  if (*memory && (*lent == 0 || *lent >= bytes)) return true;
  gpu->device.memory_close(&gpu->device, *memory);
  *memory = 0;
  *lent = bytes;
  return gpu->device.memory_open(&gpu->device, bytes, memory, NULL) == WEFT_OK;
}

static bool lend_inputs(weft_gpu_device *gpu, job *j, const weft_step *step) {
  bool can = true;
  for (uint32_t i = 0; can && i < step->input_count; i++)
    can = lend_memory(gpu, j, step->inputs[i]);
  return can;
}

/* What waits for something that only a run knows cannot be tried before it. */
static bool can_run(weft_gpu_device *gpu, job *j, const weft_step *step) {
  const weft_gpu_work *work = step->state;
  bool can = work && work->count > 0 && !work->before && lend_inputs(gpu, j, step);
  for (uint32_t i = 0; can && i < step->part_count; i++)
    can = lend_inputs(gpu, j, step->parts[i].step);
  for (uint32_t i = 0; can && i < step->output_count; i++)
    can = lend_memory(gpu, j, step->outputs[i]);
  return can;
}

static void add_to_class(job *j, uint32_t entry, uint32_t number, const weft_step *step) {
  uint32_t i = 0;
  while (i < j->class_count && j->classes[i].entry != entry) i++;
  if (i == j->class_count) j->classes[j->class_count++] = (tuner_class){entry, number, 1};
  j->classes[i].cost += step->flops + step->bytes;
}

static void find_classes(weft_gpu_device *gpu, job *j, const weft_execution *execution) {
  weft_tuner *tuner = gpu->gpu->tuner;
  weft_arena arena;
  weft_arena_init(&arena, gpu->heap);
  for (uint32_t i = 0; i < j->steps; i++) {
    const weft_step *step = &execution->plan->steps[i];
    weft_step prepared;
    tuner->asked = WEFT_TUNE_NONE;
    if (!step->on_device || step->is_copy) continue;
    if (prepare(gpu, &arena, execution, i, &prepared) != WEFT_OK) continue;
    if (tuner->asked == WEFT_TUNE_NONE) continue;
    const weft_tune_entry *entry = &tuner->entries[tuner->asked];
    if (entry->measured || entry->candidates < 2 || !can_run(gpu, j, &prepared)) continue;
    add_to_class(j, tuner->asked, i, &prepared);
  }
  weft_arena_release(&arena);
}

/* ---- variants -------------------------------------------------------------------------------- */

static void close_variants(weft_gpu_device *gpu, job *j) {
  for (uint32_t i = 0; i < j->count; i++) weft_arena_release(&j->variants[i].arena);
  weft_heap_release(gpu->heap, j->variants, j->count * sizeof *j->variants);
  gpu->device.memory_close(&gpu->device, j->scratch);
  j->variants = NULL;
  j->count = 0;
  j->scratch = 0;
}

/* The guess has the first turn, then the others follow in their order. */
static uint32_t variant_of(uint32_t turn, uint32_t guess) {
  if (turn == 0) return guess;
  return turn - 1 < guess ? turn - 1 : turn;
}

/* Variants differ in the scratch that they take; they share the largest. */
static void take_scratch(weft_gpu_device *gpu, job *j) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < j->count; i++) {
    weft_step *step = &j->variants[i].step;
    step->scratch_slot = j->slots;
    if (!j->variants[i].out && step->scratch_bytes > bytes) bytes = step->scratch_bytes;
  }
  if (bytes && gpu->device.memory_open(&gpu->device, bytes, &j->scratch, NULL) != WEFT_OK)
    for (uint32_t i = 0; i < j->count; i++)
      if (j->variants[i].step.scratch_bytes) j->variants[i].out = true;
  j->memories[j->slots] = j->scratch;
}

/* Asks for the kernels of all variants. One that this step or GPU cannot have is out. */
static weft_status open_variants(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                                 const weft_tune_options *options, weft_error *error) {
  weft_tuner *tuner = gpu->gpu->tuner;
  const weft_tune_entry *entry = &tuner->entries[j->class->entry];
  uint32_t count = entry->candidates, guess = entry->prior;
  if (options->candidates && options->candidates < count) count = options->candidates;
  j->variants = weft_heap_allocate_zeroed(gpu->heap, count * sizeof *j->variants);
  if (!j->variants) return weft_heap_fail(gpu->heap, count * sizeof *j->variants, "tuning", error);
  j->count = count;
  tuner->trying = j->class->entry;
  for (uint32_t i = 0; i < count; i++) {
    tuner_variant *v = &j->variants[i];
    tuner->trial = v->number = variant_of(i, guess);
    v->repeats = 1;
    weft_arena_init(&v->arena, gpu->heap);
    v->out = prepare(gpu, &v->arena, execution, j->class->step, &v->step) != WEFT_OK;
  }
  tuner->trying = WEFT_TUNE_NONE;
  take_scratch(gpu, j);
  return WEFT_OK;
}

/* WEFT_PENDING, or a failure of its own. */
static weft_status variant_state(weft_gpu_device *gpu, const tuner_variant *v) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  const weft_gpu_work *work = v->step.state;
  weft_status result = WEFT_OK;
  for (uint32_t i = 0; i < work->count && result >= 0; i++) {
    weft_status status = driver->pipeline_state(driver, work->dispatches[i].kernel->pipeline, NULL);
    if (status != WEFT_OK) result = status;
  }
  return result;
}

/* What is still compiled when the time is over is out. */
static weft_status compile(weft_gpu_device *gpu, job *j, const weft_tune_options *options) {
  bool late = is_spent(gpu, j, options);
  weft_status result = WEFT_OK;
  for (uint32_t i = 0; i < j->count; i++) {
    tuner_variant *v = &j->variants[i];
    if (v->out || v->compiled) continue;
    weft_status status = variant_state(gpu, v);
    v->compiled = status == WEFT_OK;
    v->out = status < 0 || (late && !v->compiled);
    if (status == WEFT_DEVICE_LOST) return status;
    if (!v->compiled && !v->out) result = WEFT_PENDING;
  }
  if (result == WEFT_OK) j->phase = SUBMIT;
  return result;
}

/* ---- time ------------------------------------------------------------------------------------ */

static weft_status add_time(const weft_gpu_device *gpu, uint32_t index, weft_error *error) {
  if (!gpu->gpu->facts->timestamps) return WEFT_OK;
  return weft_commands_add_time(gpu->commands, index, error);
}

static weft_status submit(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                          weft_error *error) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  const tuner_variant *v = &j->variants[j->at];
  weft_execution trial = *execution;
  trial.memories = j->memories;
  WEFT_TRY(add_time(gpu, 0, error));
  for (uint32_t i = 0; i < v->repeats; i++)
    WEFT_TRY(weft_gpu_encode_step(gpu, &trial, &v->step, error));
  WEFT_TRY(add_time(gpu, 1, error));
  j->submitted_ns = weft_now_ns(gpu->device.runtime);
  WEFT_TRY(weft_gpu_submit(gpu, error));
  if (gpu->gpu->facts->timestamps) return driver->read_times(driver, 2, j->times, &j->read, error);
  return driver->read(driver, j->marker, 0, sizeof j->mark, &j->mark, &j->read, error);
}

/* Of the submit that has ended; timestamps may run backwards. */
static double time_of(const weft_gpu_device *gpu, const job *j) {
  if (!gpu->gpu->facts->timestamps)
    return (double)(weft_now_ns(gpu->device.runtime) - j->submitted_ns);
  return j->times[1] > j->times[0] ? (double)(j->times[1] - j->times[0]) : 0;
}

/* How many repetitions take `wanted`, going by a submit that was too short. */
static uint32_t more_repeats(uint32_t repeats, double ns, double wanted) {
  double factor = ns > wanted / 16 ? 1.2 * wanted / ns : 16, more = repeats * factor + 1;
  return more < (double)REPEATS_MAX ? (uint32_t)more : REPEATS_MAX;
}

/* Takes in the time of a submit; false: it was too short, and has to be repeated for longer. */
static bool take_time(const weft_gpu_device *gpu, const job *j, tuner_variant *v, double ns) {
  double wanted = j->round < 2 ? short_ns : long_ns;
  if (!gpu->gpu->facts->timestamps || gpu->gpu->facts->is_software) wanted *= rough_factor;
  if (j->round == 0) return true;
  if (ns < wanted && v->repeats < REPEATS_MAX) {
    v->repeats = more_repeats(v->repeats, ns, wanted);
    return false;
  }
  ns /= v->repeats;
  if (v->ns == 0 || ns < v->ns) v->ns = ns;
  return true;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static tuner_variant *best_of(const job *j) {
  tuner_variant *best = NULL;
  for (uint32_t i = 0; i < j->count; i++) {
    tuner_variant *v = &j->variants[i];
    if (!v->out && v->ns > 0 && (!best || v->ns < best->ns)) best = v;
  }
  return best;
}

/* Drops those that are left behind; answers how many there still are. */
static uint32_t cut(job *j) {
  const tuner_variant *best = best_of(j);
  double most = best ? left_behind[j->round < CUTS ? j->round - 1 : CUTS - 1] * best->ns : 0;
  uint32_t left = 0;
  for (uint32_t i = 0; i < j->count; i++) {
    tuner_variant *v = &j->variants[i];
    if (v->ns > most) v->out = true;
    left += !v->out;
  }
  return left;
}

/* Warming up tells nothing. */
static void finish(weft_gpu_device *gpu, job *j) {
  weft_tune_entry *entry = &gpu->gpu->tuner->entries[j->class->entry];
  const tuner_variant *best = j->round > 0 ? best_of(j) : NULL, *guess = &j->variants[0];
  double clearly = j->round > 1 ? clearly_by_rounds : clearly_at_once;
  if (best && !guess->out && guess->ns > 0 && best->ns > clearly * guess->ns) best = guess;
  if (best) {
    entry->choice = best->number;
    entry->ns = (uint64_t)best->ns;
    entry->measured = true;
  }
  close_variants(gpu, j);
  j->phase = NEXT_CLASS;
}

/* To the next variant, round or class. */
static void turn(weft_gpu_device *gpu, job *j, const weft_tune_options *options) {
  while (++j->at < j->count && j->variants[j->at].out) continue;
  bool ends = is_spent(gpu, j, options);
  if (!ends && j->at < j->count) return;
  if (!ends) {
    uint32_t left = cut(j), least = j->round > 0 ? 2 : 1;
    ends = left < least || j->round + 1 == options->rounds;
  }
  if (ends) {
    finish(gpu, j);
    return;
  }
  j->round++;
  j->at = 0;
  while (j->variants[j->at].out) j->at++;
}

/* ---- phases: each answers WEFT_OK where another may follow at once --------------------------- */

static weft_status next_class(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                              const weft_tune_options *options, weft_error *error) {
  j->class = NULL;
  for (uint32_t i = 0; i < j->class_count; i++) {
    tuner_class *c = &j->classes[i];
    if (c->cost > 0 && (!j->class || c->cost > j->class->cost)) j->class = c;
  }
  if (!j->class || is_spent(gpu, j, options)) {
    j->class_count = 0;
    return WEFT_OK;
  }
  j->class->cost = 0;
  j->round = 0;
  j->at = UINT32_MAX;
  j->phase = COMPILE;
  return open_variants(gpu, j, execution, options, error);
}

static weft_status wait(weft_gpu_device *gpu, job *j, const weft_tune_options *options,
                        weft_error *error) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  weft_status status = driver->read_state(driver, j->read, error);
  if (status == WEFT_PENDING) return status;
  j->read = 0;
  WEFT_TRY(status);
  double ns = time_of(gpu, j);
  gpu->gpu->tuner->gpu_ns += (uint64_t)ns;
  j->phase = SUBMIT;
  if (take_time(gpu, j, &j->variants[j->at], ns)) turn(gpu, j, options);
  return WEFT_OK;
}

static weft_status go_on(weft_gpu_device *gpu, job *j, const weft_execution *execution,
                         const weft_tune_options *options, weft_error *error) {
  switch (j->phase) {
  case NEXT_CLASS:
    return next_class(gpu, j, execution, options, error);
  case COMPILE:
    WEFT_TRY(compile(gpu, j, options));
    turn(gpu, j, options); /* to the first that is not out */
    return WEFT_OK;
  case SUBMIT:
    j->phase = WAIT;
    return submit(gpu, j, execution, error);
  case WAIT:
    return wait(gpu, j, options, error);
  }
  return WEFT_OK;
}

/* A variant that does not run here: the others go on. */
static weft_status give_up(weft_gpu_device *gpu, job *j, const weft_tune_options *options,
                           weft_status status) {
  gpu->commands->words = 0;
  if (status == WEFT_DEVICE_LOST || !j->variants || j->at >= j->count) return status;
  j->variants[j->at].out = true;
  j->phase = SUBMIT;
  turn(gpu, j, options);
  return WEFT_OK;
}

/* ---- a job ----------------------------------------------------------------------------------- */

void weft_tuner_stop(weft_gpu_device *gpu) {
  weft_tuner *tuner = gpu->gpu->tuner;
  job *j = tuner->job;
  if (!j || j->owner != gpu) return;
  weft_gpu_driver *driver = gpu->gpu->driver;
  if (j->read) driver->read_drop(driver, j->read);
  close_variants(gpu, j);
  gpu->device.memory_close(&gpu->device, j->marker);
  for (uint32_t i = 0; j->lent && i < j->slots; i++)
    if (j->lent[i]) gpu->device.memory_close(&gpu->device, j->memories[i]);
  tuner->wall_ns += weft_now_ns(gpu->device.runtime) - j->started_ns;
  weft_heap_release(gpu->heap, j->classes, (j->steps + 1) * sizeof *j->classes);
  weft_heap_release(gpu->heap, j->memories, (j->slots + 1) * sizeof *j->memories);
  weft_heap_release(gpu->heap, j->lent, (j->slots + 1) * sizeof *j->lent);
  weft_heap_release(gpu->heap, j, sizeof *j);
  tuner->job = NULL;
  gpu->commands->words = 0;
}

void weft_tuner_leave(weft_gpu_device *gpu) {
  weft_tuner *tuner = gpu->gpu->tuner;
  weft_tuner_stop(gpu);
  if (tuner->spender == gpu) tuner->spender = NULL;
}

/* Each session has a budget of its own. */
static void take_budget(weft_gpu_device *gpu) {
  weft_tuner *tuner = gpu->gpu->tuner;
  if (tuner->spender == gpu) return;
  tuner->spender = gpu;
  tuner->gpu_ns = tuner->wall_ns = 0;
}

static weft_status start(weft_gpu_device *gpu, const weft_execution *execution, weft_error *error) {
  const weft_plan *plan = execution->plan;
  job *j = weft_heap_allocate_zeroed(gpu->heap, sizeof *j);
  if (!j) return weft_heap_fail(gpu->heap, sizeof *j, "tuning", error);
  gpu->gpu->tuner->job = j;
  take_budget(gpu);
  j->owner = gpu;
  j->started_ns = weft_now_ns(gpu->device.runtime);
  j->steps = plan->step_count;
  j->slots = 1 + plan->input_count + plan->output_count + plan->pool_count;
  j->classes = weft_heap_allocate_zeroed(gpu->heap, (j->steps + 1) * sizeof *j->classes);
  j->memories = weft_heap_allocate_zeroed(gpu->heap, (j->slots + 1) * sizeof *j->memories);
  j->lent = weft_heap_allocate_zeroed(gpu->heap, (j->slots + 1) * sizeof *j->lent);
  if (!j->classes || !j->memories || !j->lent)
    return weft_heap_fail(gpu->heap, j->slots, "tuning", error);
  memcpy(j->memories, execution->memories, j->slots * sizeof *j->memories);
  find_classes(gpu, j, execution);
  return gpu->device.memory_open(&gpu->device, sizeof j->mark, &j->marker, error);
}

weft_status weft_tuner_run(weft_gpu_device *gpu, const weft_execution *execution,
                           const weft_tune_options *options, weft_error *error) {
  weft_tuner *tuner = gpu->gpu->tuner;
  if (tuner->job && tuner->job->owner != gpu) return WEFT_PENDING; /* one after the other */
  weft_status status = tuner->job ? WEFT_OK : start(gpu, execution, error);
  while (status == WEFT_OK && tuner->job->class_count > 0) {
    status = go_on(gpu, tuner->job, execution, options, error);
    if (status < 0) status = give_up(gpu, tuner->job, options, status);
  }
  if (status != WEFT_PENDING) weft_tuner_stop(gpu);
  return status;
}
