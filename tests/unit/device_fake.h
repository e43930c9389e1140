/* device_fake.h - a device with memory of its own, for tests: pieces of the heap behind numbers.
 * Its steps are the CPU's, on these pieces. As a GPU would, it writes uploads at once, runs its own
 * steps only when something is read back or at the end, brings what is read back to the host late,
 * and answers WEFT_PENDING until then. It refuses the nodes that a seed says. */
#ifndef WEFT_TESTS_DEVICE_FAKE_H
#define WEFT_TESTS_DEVICE_FAKE_H

#include <stdlib.h>

#include "base/checked.h"
#include "plan/device.h"
#include "tests/check.h"

enum { FAKE_MEMORIES = 4096, FAKE_SLOTS = 4096, FAKE_READS = 256, FAKE_STEPS = 4096 };

typedef struct fake_read {
  bool open;
  uint8_t *bytes, *to; /* as they were when the read was started */
  uint64_t length;
  uint32_t pending;
} fake_read;

typedef struct fake_memory {
  uint8_t *data;
  uint64_t bytes;
} fake_memory;

typedef struct fake fake;
struct fake {
  weft_device device; /* first */
  weft_device *host;
  fake *store;                         /* whose memory it has: its own, or that of another one */
  fake_memory memories[FAKE_MEMORIES]; /* by number */
  uint32_t memory_count;               /* open now */
  uint64_t memory_bytes;

  uint64_t seed;    /* of what it refuses */
  uint32_t refuses; /* so many of eight nodes; 0: none */
  weft_op refused;  /* this op, too; WEFT_OP_COUNT: none */
  bool dense_only;
  uint32_t pending; /* how often reads, and `ready`, answer WEFT_PENDING first */
  uint64_t uploads, downloads, dispatches, prepared; /* so far */
  uint64_t calls, fail_call; /* of memory_open, _write, _copy and read; 0: none fails */
  weft_status fail_status;

  const weft_step *waiting[FAKE_STEPS]; /* steps of the running run, to be submitted */
  uint32_t waiting_count, ready_pending;
  fake_read reads[FAKE_READS]; /* by number, from 1 */
};

static inline fake *fake_of(const weft_device *device) {
  return (fake *)(uintptr_t)device;
}

static inline weft_status fake_call(fake *f, weft_error *error) {
  if (++f->calls != f->fail_call) return WEFT_OK;
  return weft_fail(error, f->fail_status, "a call of the device failed, as the test wants it");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static inline weft_status fake_memory_open(const weft_device *device, uint64_t bytes,
                                           weft_memory *out, weft_error *error) {
  fake *f = fake_of(device);
  WEFT_TRY(fake_call(f, error));
  uint32_t id = 1;
  while (f->store->memories[id].data) id++;
  f->store->memories[id].bytes = weft_align_up(bytes + 1, 16);
  f->store->memories[id].data = calloc(1, f->store->memories[id].bytes);
  f->store->memory_count++;
  f->store->memory_bytes += f->store->memories[id].bytes;
  *out = id;
  return WEFT_OK;
}

static inline void fake_memory_close(const weft_device *device, weft_memory memory) {
  fake *f = fake_of(device);
  if (!memory || !CHECK(f->store->memories[memory].data != NULL)) return;
  free(f->store->memories[memory].data);
  f->store->memories[memory].data = NULL;
  f->store->memory_count--;
  f->store->memory_bytes -= f->store->memories[memory].bytes;
}

static inline bool fake_range_is_good(const fake *f, weft_memory memory, uint64_t offset,
                                      uint64_t length) {
  return CHECK(memory && f->store->memories[memory].data) && CHECK(offset % 4 == 0) &&
         CHECK(offset + length <= f->store->memories[memory].bytes);
}

static inline weft_status fake_memory_write(const weft_device *device, weft_memory memory,
                                            uint64_t offset, const void *bytes, uint64_t length,
                                            weft_error *error) {
  fake *f = fake_of(device);
  WEFT_TRY(fake_call(f, error));
  if (fake_range_is_good(f, memory, offset, length))
    memcpy(f->store->memories[memory].data + offset, bytes, length);
  return WEFT_OK;
}

static inline weft_status fake_memory_copy(const weft_device *device, weft_memory from,
                                           uint64_t from_stride, weft_memory to, uint64_t to_stride,
                                           uint64_t count, uint64_t length, weft_error *error) {
  fake *f = fake_of(device);
  WEFT_TRY(fake_call(f, error));
  CHECK(length % 4 == 0 && from != to);
  for (uint64_t i = 0; i < count; i++)
    if (fake_range_is_good(f, from, i * from_stride, length) &&
        fake_range_is_good(f, to, i * to_stride, length))
      memcpy(f->store->memories[to].data + i * to_stride,
             f->store->memories[from].data + i * from_stride, length);
  return WEFT_OK;
}

static inline weft_status fake_start_read(const weft_device *device, weft_memory memory,
                                          uint64_t offset, uint64_t length, void *to, uint32_t *out,
                                          weft_error *error) {
  fake *f = fake_of(device);
  WEFT_TRY(fake_call(f, error));
  uint32_t id = 1;
  while (f->reads[id].open) id++;
  f->reads[id] = (fake_read){.open = true, .to = to, .length = length, .pending = f->pending};
  f->reads[id].bytes = malloc(length + 1);
  if (fake_range_is_good(f, memory, offset, length))
    memcpy(f->reads[id].bytes, f->store->memories[memory].data + offset, length);
  *out = id;
  return WEFT_OK;
}

static inline void fake_read_drop(const weft_device *device, uint32_t id) {
  fake_read *read = &fake_of(device)->reads[id];
  if (!CHECK(read->open)) return;
  free(read->bytes);
  read->open = false;
}

static inline weft_status fake_read_state(const weft_device *device, uint32_t id,
                                          weft_error *error) {
  fake_read *read = &fake_of(device)->reads[id];
  (void)error;
  if (!CHECK(read->open)) return WEFT_OK;
  if (read->pending > 0) return read->pending--, WEFT_PENDING;
  memcpy(read->to, read->bytes, read->length);
  fake_read_drop(device, id);
  return WEFT_OK;
}

static inline void fake_close_weight(void *user, weft_memory memory) {
  fake_memory_close(user, memory);
}

static inline weft_status fake_upload(const weft_device *device, const weft_value *value,
                                      weft_heap *heap, weft_buffer **out, weft_error *error) {
  weft_memory memory;
  *out = NULL;
  WEFT_TRY(fake_memory_open(device, value->data->bytes, &memory, error));
  weft_status status = fake_call(fake_of(device), error);
  if (status == WEFT_OK)
    status = weft_buffer_read(value->data, 0, value->data->bytes,
                              fake_of(device)->store->memories[memory].data, error);
  if (status != WEFT_OK) {
    fake_memory_close(device, memory);
    return status;
  }
  *out = weft_buffer_on_device(heap, value->data->bytes, memory, fake_close_weight,
                               (void *)(uintptr_t)device);
  return *out ? WEFT_OK : weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a weight");
}

/* ---- preparing ------------------------------------------------------------------------------- */

static inline uint64_t fake_hash(const fake *f, uint64_t number) {
  uint64_t state = f->seed * 0x9e3779b97f4a7c15u + number * 0xbf58476d1ce4e5b9u + 1;
  check_random(&state);
  return check_random(&state) >> 20;
}

static inline const char *fake_refuses(const weft_device *device, const weft_graph *graph,
                                       const weft_node *node) {
  const fake *f = fake_of(device);
  if (node->op == WEFT_OP_IF || node->op == WEFT_OP_SHAPE || node->op == WEFT_OP_RANGE ||
      node->op == WEFT_OP_CACHED_ATTENTION) /* of graph->nodes or not: a rewrite asks for it */
    return "never";
  if (node->op == f->refused) return "this op";
  return fake_hash(f, (uint64_t)(node - graph->nodes)) % 8 < f->refuses ? "by its number" : NULL;
}

/* What is a number for each, or the like. */
static inline bool fake_is_parameter(const weft_device *device, const weft_node *node,
                                     uint32_t input) {
  (void)device;
  return (node->op == WEFT_OP_APPEND && input >= 2) ||
         (input >= 1 && (node->op == WEFT_OP_REDUCE || node->op == WEFT_OP_PAD ||
                         node->op == WEFT_OP_CUMSUM || node->op == WEFT_OP_TRIANGLE)) ||
         node->op == WEFT_OP_FILL;
}

static inline bool fake_takes(const weft_device *device, const weft_node *node, uint32_t input,
                              const weft_array *array) {
  const fake *f = fake_of(device);
  if (array->layout != WEFT_LAYOUT_DENSE || weft_array_is_dense(array)) return true;
  bool caches = node->op == WEFT_OP_ATTENTION || node->op == WEFT_OP_APPEND; /* as they lie */
  return array->on_device && (!f->dense_only || caches) &&
         f->host->takes(f->host, node, input, array);
}

/* A step of the device as one of the CPU's: arrays whose places it finds when it runs. */
typedef struct fake_state {
  weft_step inner;
  weft_array **arrays; /* inputs, then outputs */
  const weft_array **originals;
  uint8_t *host_bytes[WEFT_EXPR_INPUTS_MAX + 2]; /* of inputs on the host, while it waits */
} fake_state;

static inline void fake_translate(const fake *f, const weft_array *from, weft_array *to) {
  *to = *from;
  if (from->memory) to->constant = f->store->memories[from->memory].data + from->offset;
}

static inline weft_status fake_prepare(const weft_device *device, weft_step *step,
                                       weft_arena *arena, weft_error *error) {
  fake *f = fake_of(device);
  step->scratch_bytes = 0;
  if (!CHECK(step->on_device)) return WEFT_INTERNAL;
  if (weft_step_crosses(step)) {
    step->kernel = step->outputs[0]->on_device ? "upload" : "download";
    CHECK(weft_array_is_dense(step->inputs[0]) && weft_array_is_dense(step->outputs[0]));
    return WEFT_OK;
  }
  uint32_t count = step->input_count + step->output_count;
  f->prepared++;
  fake_state *state = WEFT_ARENA_NEW(arena, fake_state);
  if (!state) return weft_arena_fail(arena, "a step", error);
  state->arrays = WEFT_ARENA_ARRAY(arena, weft_array *, count);
  state->originals = WEFT_ARENA_ARRAY(arena, const weft_array *, count);
  weft_array *arrays = WEFT_ARENA_ARRAY(arena, weft_array, count);
  if (!state->arrays || !state->originals || !arrays)
    return weft_arena_fail(arena, "a step", error);
  for (uint32_t i = 0; i < count; i++) {
    bool is_input = i < step->input_count;
    state->originals[i] = is_input ? step->inputs[i] : step->outputs[i - step->input_count];
    if (!state->originals[i]) continue;
    bool parameter = is_input && !step->is_copy && fake_is_parameter(device, step->node, i);
    CHECK_INT(state->originals[i]->on_device, !parameter);
    state->arrays[i] = &arrays[i];
    fake_translate(f, state->originals[i], &arrays[i]);
  }
  state->inner = *step;
  state->inner.inputs = (const weft_array **)(void *)state->arrays;
  state->inner.outputs = state->inner.inputs + step->input_count;
  WEFT_TRY(f->host->prepare(f->host, &state->inner, arena, error));
  step->scratch_bytes = state->inner.scratch_bytes;
  step->kernel = state->inner.kernel;
  step->state = state;
  return WEFT_OK;
}

static inline weft_status fake_pack(const weft_device *device, const weft_graph *graph,
                                    const weft_node *node, uint32_t input, weft_heap *heap,
                                    weft_buffer **out, weft_layout *layout, weft_error *error) {
  const weft_device *host = fake_of(device)->host;
  WEFT_TRY(host->pack(host, graph, node, input, heap, out, layout, error));
  if (!*out || fake_refuses(device, graph, node)) return WEFT_OK;
  weft_buffer *packed = *out;
  weft_status status = fake_upload(device, &(weft_value){.data = packed}, heap, out, error);
  weft_buffer_release(&packed);
  return status;
}

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct fake_run {
  fake *f;
  const weft_execution *execution;
  uint8_t *bases[FAKE_SLOTS];
} fake_run;

static inline weft_status fake_detach(void *user, uint32_t slot, weft_error *error) {
  fake_run *run = user;
  WEFT_TRY(run->execution->detach(run->execution->detach_user, slot, error));
  run->bases[slot] = run->f->store->memories[run->execution->memories[slot]].data;
  return WEFT_OK;
}

static inline weft_memory fake_memory_of(const weft_execution *execution, const weft_array *array) {
  return array->memory ? array->memory : execution->memories[array->slot];
}

/* Nothing is bound to be read and written at once, but a cache that grows in place. */
static inline void fake_check_bindings(const weft_execution *execution, const weft_step *step) {
  if (step->outputs[0]->elements == 0) return;
  weft_memory to = execution->memories[step->outputs[0]->slot];
  bool appends = !step->is_copy && step->node->op == WEFT_OP_APPEND;
  CHECK(to != 0);
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    if (!input || !input->on_device || input->elements == 0) continue;
    CHECK(fake_memory_of(execution, input) != 0);
    CHECK(fake_memory_of(execution, input) != to || (appends && i == 0));
  }
}

static inline weft_status fake_run_step(fake *f, const weft_execution *execution,
                                        const weft_step *step, weft_error *error) {
  static fake_run run; /* large */
  fake_state *state = step->state;
  fake_check_bindings(execution, step);
  run = (fake_run){.f = f, .execution = execution};
  for (uint32_t i = 0; i < step->input_count + step->output_count; i++) {
    const weft_array *from = state->originals[i];
    if (!from) continue;
    fake_translate(f, from, state->arrays[i]);
    if (!from->on_device && !from->constant) state->arrays[i]->constant = state->host_bytes[i];
    if (from->on_device && !from->memory)
      run.bases[from->slot] = f->store->memories[execution->memories[from->slot]].data;
  }
  uint8_t none;
  run.bases[WEFT_SLOT_ARENA] = &none;
  if (step->scratch_bytes > 0)
    run.bases[WEFT_SLOT_ARENA] = f->store->memories[execution->memories[step->scratch_slot]].data;
  weft_execution inner = {.runtime = execution->runtime, .bases = run.bases, .detach_user = &run};
  if (execution->detach) inner.detach = fake_detach;
  return state->inner.run(&state->inner, &inner, error);
}

/* What the step reads on the host is read now, as by a GPU whose parameters are encoded. */
static inline void fake_encode(fake *f, const weft_execution *execution, const weft_step *step) {
  fake_state *state = step->state;
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    if (!input || input->on_device || input->constant) continue;
    uint64_t bytes = input->elements * weft_dtype_size(input->dtype);
    state->host_bytes[i] = malloc(bytes + 1);
    memcpy(state->host_bytes[i], weft_array_data(execution, input), bytes);
  }
  f->dispatches++;
  f->waiting[f->waiting_count++] = step;
}

static inline weft_status fake_submit(fake *f, const weft_execution *execution, bool run,
                                      weft_error *error) {
  weft_status status = WEFT_OK;
  for (uint32_t i = 0; i < f->waiting_count; i++) {
    const weft_step *step = f->waiting[i];
    fake_state *state = step->state;
    if (run && status == WEFT_OK) status = fake_run_step(f, execution, step, error);
    for (uint32_t k = 0;
         k < step->input_count && k < sizeof state->host_bytes / sizeof *state->host_bytes; k++) {
      free(state->host_bytes[k]);
      state->host_bytes[k] = NULL;
    }
  }
  f->waiting_count = 0;
  return status;
}

static inline weft_status fake_finish_reads(fake *f, bool drop, weft_error *error) {
  for (uint32_t i = 1; i < FAKE_READS; i++) {
    if (!f->reads[i].open) continue;
    if (drop)
      fake_read_drop(&f->device, i);
    else
      WEFT_TRY(fake_read_state(&f->device, i, error));
  }
  return WEFT_OK;
}

static inline weft_status fake_cross(fake *f, const weft_execution *execution,
                                     const weft_step *step, weft_error *error) {
  const weft_array *from = step->inputs[0], *to = step->outputs[0];
  uint64_t bytes = from->elements * weft_dtype_size(from->dtype);
  uint32_t read;
  CHECK_INT(to->elements, from->elements);
  CHECK(weft_array_is_dense(from) && weft_array_is_dense(to));
  if (to->on_device) {
    f->uploads++;
    return fake_memory_write(&f->device, execution->memories[to->slot], to->offset,
                             weft_array_data(execution, from), bytes, error);
  }
  f->downloads++;
  WEFT_TRY(fake_submit(f, execution, true, error));
  if (bytes == 0) return WEFT_OK;
  return fake_start_read(&f->device, fake_memory_of(execution, from), from->offset, bytes,
                         weft_array_data(execution, to), &read, error);
}

static inline bool fake_reads_host(const weft_step *step) {
  for (uint32_t i = 0; i < step->input_count; i++)
    if (step->inputs[i] && !step->inputs[i]->on_device && !step->inputs[i]->constant) return true;
  return false;
}

static inline weft_status fake_interrupted(const weft_execution *execution, weft_error *error) {
  if (execution->cancel && atomic_load(execution->cancel))
    return weft_fail(error, WEFT_CANCELLED, "the run was cancelled");
  if (execution->deadline_ns && weft_now_ns(execution->runtime) >= execution->deadline_ns)
    return weft_fail(error, WEFT_TIMED_OUT, "the run's time limit has passed");
  return WEFT_OK;
}

static inline weft_status fake_steps(fake *f, weft_execution *execution, weft_error *error) {
  for (; execution->next_step < execution->plan->step_count; execution->next_step++) {
    const weft_step *step = &execution->plan->steps[execution->next_step];
    WEFT_TRY(fake_interrupted(execution, error));
    if (weft_step_crosses(step)) {
      WEFT_TRY(fake_cross(f, execution, step, error));
      continue;
    }
    if (fake_reads_host(step)) WEFT_TRY(fake_finish_reads(f, false, error));
    if (step->on_device)
      fake_encode(f, execution, step);
    else
      WEFT_TRY(step->run(step, execution, error));
  }
  WEFT_TRY(fake_submit(f, execution, true, error));
  WEFT_TRY(fake_interrupted(execution, error));
  return fake_finish_reads(f, false, error);
}

static inline weft_status fake_execute(const weft_device *device, weft_execution *execution,
                                       weft_error *error) {
  fake *f = fake_of(device);
  weft_status status = fake_steps(f, execution, error);
  if (status == WEFT_OK || status == WEFT_PENDING) return status;
  fake_submit(f, execution, false, NULL);
  fake_finish_reads(f, true, NULL);
  return status;
}

static inline weft_status fake_ready(const weft_device *device, weft_error *error) {
  fake *f = fake_of(device);
  (void)error;
  return f->ready_pending > 0 ? f->ready_pending--, WEFT_PENDING : WEFT_OK;
}

static inline weft_status fake_poll(const weft_device *device, bool wait, weft_error *error) {
  (void)device, (void)wait, (void)error;
  return WEFT_OK;
}

static inline void fake_close(weft_device *device) {
  fake *f = fake_of(device);
  CHECK_INT(f->memory_count, 0);
  fake_submit(f, NULL, false, NULL);
  fake_finish_reads(f, true, NULL);
  f->host->close(f->host);
  free(f);
}

/* Takes over the host. */
static inline fake *fake_open(weft_device *host) {
  fake *f = calloc(1, sizeof *f);
  f->host = host;
  f->store = f;
  f->refused = WEFT_OP_COUNT;
  f->fail_status = WEFT_OUT_OF_MEMORY;
  f->device = (weft_device){
      .name = "fake",
      .runtime = host->runtime,
      .takes = fake_takes,
      .prepare = fake_prepare,
      .pack = fake_pack,
      .execute = fake_execute,
      .close = fake_close,
      .host = host,
      .refuses = fake_refuses,
      .is_parameter = fake_is_parameter,
      .memory_open = fake_memory_open,
      .memory_close = fake_memory_close,
      .memory_write = fake_memory_write,
      .memory_copy = fake_memory_copy,
      .read = fake_start_read,
      .read_state = fake_read_state,
      .read_drop = fake_read_drop,
      .upload = fake_upload,
      .ready = fake_ready,
      .poll = fake_poll,
  };
  return f;
}

#endif
