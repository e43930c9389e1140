/* device.c - the GPU as a weft_device: what runs where, memory, and the run of a plan.
 *
 * A run walks the steps in order. Steps of the host run at once; uploads are written at once, to
 * memory that no earlier step of the plan touches; steps of the GPU become commands, which are
 * submitted when something is to be read back, or at the end. Nothing blocks: a run that waits for
 * the GPU answers WEFT_PENDING. */
#include "gpu/commands.h"
#include "gpu/internal.h"
#include "gpu/kernel_cache.h"
#include "gpu/tuner.h"

static const weft_gpu_device *gpu_of(const weft_device *device) {
  return (const weft_gpu_device *)(const void *)device;
}

/* A copy to the host that is under way. Copies are of whole words: the bytes of an array that ends
 * between two come by way of `staging`, which stays for the next one in this place. */
struct weft_gpu_read {
  weft_gpu_id id;
  uint8_t *to, *staging;
  uint64_t bytes, staging_bytes;
  bool staged;
};

/* ---- the GPU that sessions share ------------------------------------------------------------- */

static void close_gpu(weft_gpu *gpu) {
  weft_kernel_cache_close(gpu->kernels);
  weft_group_cache_close(gpu->groups);
  weft_tuner_close(gpu->tuner);
  gpu->driver->close(gpu->driver);
  weft_heap_release(gpu->heap, gpu, sizeof *gpu);
}

weft_status weft_gpu_open_driver(weft_heap *heap, weft_gpu_driver *driver, weft_gpu **out,
                                 weft_error *error) {
  *out = NULL;
  weft_gpu *gpu = weft_heap_allocate_zeroed(heap, sizeof *gpu);
  if (!gpu) {
    driver->close(driver);
    return weft_heap_fail(heap, sizeof *gpu, "the GPU", error);
  }
  *gpu = (weft_gpu){.heap = heap, .driver = driver, .facts = &driver->facts};
  atomic_init(&gpu->holders, 1);
  weft_gpu_describe(gpu);
  weft_status status = weft_kernel_cache_open(heap, driver, &gpu->kernels, error);
  if (status == WEFT_OK) status = weft_group_cache_open(heap, driver, &gpu->groups, error);
  if (status == WEFT_OK) status = weft_tuner_open(heap, &gpu->tuner, error);
  if (status != WEFT_OK)
    close_gpu(gpu);
  else
    *out = gpu;
  return status;
}

weft_gpu *weft_gpu_retain(weft_gpu *gpu) {
  atomic_fetch_add_explicit(&gpu->holders, 1, memory_order_relaxed);
  return gpu;
}

void weft_gpu_release(weft_gpu **out) {
  weft_gpu *gpu = *out;
  *out = NULL;
  if (gpu && atomic_fetch_sub_explicit(&gpu->holders, 1, memory_order_acq_rel) == 1) close_gpu(gpu);
}

const weft_gpu_facts *weft_gpu_facts_of(const weft_gpu *gpu) {
  return gpu->facts;
}

/* What a call answered: nothing works any more once it was that the device is lost. */
static weft_status noted(const weft_device *device, weft_status status) {
  if (status == WEFT_DEVICE_LOST) gpu_of(device)->gpu->lost = true;
  return status;
}

static bool gpu_is_lost(const weft_device *device) {
  return gpu_of(device)->gpu->lost;
}

/* ---- what runs here -------------------------------------------------------------------------- */

static bool is_known_type(weft_dtype dtype) {
  return weft_dtype_size(dtype) > 0 && dtype != WEFT_F64 && dtype != WEFT_BF16 &&
         dtype != WEFT_U64 && dtype != WEFT_I16 && dtype != WEFT_U16;
}

/* Bytes that a kernel may bind in one piece. */
static uint64_t piece_bytes_max(const weft_gpu *gpu) {
  const weft_gpu_facts *facts = gpu->facts;
  return facts->binding_bytes < facts->buffer_bytes ? facts->binding_bytes : facts->buffer_bytes;
}

/* Why an input keeps the node from the GPU. A matmul's weights are packed: it looks itself. */
static const char *refuses_input(const weft_gpu *gpu, const weft_node *node,
                                 const weft_value *value) {
  if (!is_known_type(value->dtype)) return "an input's type";
  bool is_constant = value->kind == WEFT_VALUE_CONSTANT && value->data;
  return is_constant && node->op != WEFT_OP_MATMUL && value->data->bytes > piece_bytes_max(gpu)
             ? "a constant that is larger than the GPU binds"
             : NULL;
}

static const char *gpu_refuses(const weft_device *device, const weft_graph *graph,
                               const weft_node *node) {
  const weft_gpu_op *op = &weft_gpu_ops[node->op];
  if (!op->prepare) return "the op runs on the host only";
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == WEFT_VALUE_NONE || (op->host_inputs >> i & 1)) continue;
    const char *why = refuses_input(gpu_of(device)->gpu, node, &graph->values[node->inputs[i]]);
    if (why) return why;
  }
  for (uint32_t i = 0; i < node->output_count; i++)
    if (!is_known_type(graph->values[node->outputs[i]].dtype)) return "the output's type";
  return op->runs ? op->runs(gpu_of(device), graph, node) : NULL;
}

static bool gpu_is_parameter(const weft_device *device, const weft_node *node, uint32_t input) {
  (void)device;
  return weft_gpu_ops[node->op].host_inputs >> input & 1;
}

static bool gpu_takes(const weft_device *device, const weft_node *node, uint32_t input,
                      const weft_array *array) {
  if (!array->on_device) {
    const weft_device *host = gpu_of(device)->host;
    return host->takes(host, node, input, array);
  }
  if (array->layout != WEFT_LAYOUT_DENSE || weft_array_is_dense(array)) return true;
  weft_gpu_takes_fn *takes = weft_gpu_ops[node->op].takes;
  return takes && takes(node, input, array);
}

static bool gpu_merges(const weft_device *device, const weft_step *step, const weft_step *into,
                       uint32_t input) {
  return into->node->op == WEFT_OP_MATMUL &&
         weft_gpu_merges_matmul(gpu_of(device), step, into, input);
}

/* ---- preparing ------------------------------------------------------------------------------- */

static bool crosses(const weft_step *step) {
  return step->is_copy && step->inputs[0]->on_device != step->outputs[0]->on_device;
}

static weft_status blame(const weft_node *node, bool is_copy, weft_status status,
                         weft_error *error) {
  if (!error || !node) return status;
  weft_error cause = *error;
  return weft_fail(error, status, "node '%.*s' (%s, on the GPU): %s", WEFT_STR_ARGS(node->name),
                   is_copy ? "copy" : weft_op_facts_of(node->op)->name, cause.message);
}

static weft_status check_array(const weft_array *array, weft_error *error) {
  if (array && array->elements > INT32_MAX)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "an array of %llu elements is too large",
                     (unsigned long long)array->elements);
  return WEFT_OK;
}

static weft_status prepare_step(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                weft_error *error) {
  bool empty = true;
  for (uint32_t i = 0; i < step->input_count; i++) WEFT_TRY(check_array(step->inputs[i], error));
  for (uint32_t i = 0; i < step->output_count; i++) {
    WEFT_TRY(check_array(step->outputs[i], error));
    empty = empty && step->outputs[i]->elements == 0;
  }
  if (empty) {
    step->kernel = "nothing";
    return WEFT_OK;
  }
  weft_gpu_prepare_fn *prepare =
      step->is_copy ? weft_gpu_prepare_copy : weft_gpu_ops[step->node->op].prepare;
  return prepare(gpu, step, arena, error);
}

static weft_status gpu_prepare(const weft_device *device, weft_step *step, weft_arena *arena,
                               weft_error *error) {
  const weft_gpu_device *gpu = gpu_of(device);
  if (!step->on_device && !crosses(step)) return gpu->host->prepare(gpu->host, step, arena, error);
  step->scratch_bytes = 0;
  step->flops = step->bytes = 0;
  step->state = NULL;
  step->run = NULL;
  if (step->into) {
    step->kernel = "merged";
    return WEFT_OK;
  }
  if (crosses(step)) {
    step->kernel = step->outputs[0]->on_device ? "upload" : "download";
    return WEFT_OK;
  }
  weft_status status = prepare_step(gpu, step, arena, error);
  return status == WEFT_OK ? status : blame(step->node, step->is_copy, status, error);
}

/* ---- commands -------------------------------------------------------------------------------- */

static weft_status find_group(const weft_gpu_device *gpu, const weft_execution *execution,
                              const weft_step *step, const weft_gpu_dispatch *dispatch,
                              weft_gpu_id *out, weft_error *error) {
  weft_gpu_id buffers[WEFT_GPU_BINDINGS_MAX];
  for (uint32_t i = 0; i < dispatch->binding_count; i++) {
    const weft_array *array = dispatch->bindings[i];
    buffers[i] =
        array ? weft_gpu_memory_of(execution, array) : execution->memories[step->scratch_slot];
  }
  return weft_group_find(gpu->gpu->groups, dispatch->kernel->pipeline, buffers,
                         dispatch->binding_count, out, error);
}

static weft_status encode_dispatch(const weft_gpu_device *gpu, const weft_execution *execution,
                                   const weft_step *step, const weft_gpu_dispatch *dispatch,
                                   weft_error *error) {
  const uint32_t *groups = dispatch->groups;
  if (dispatch->skip || groups[0] == 0 || groups[1] == 0 || groups[2] == 0) return WEFT_OK;
  weft_gpu_id group;
  WEFT_TRY(find_group(gpu, execution, step, dispatch, &group, error));
  uint32_t *command =
      weft_commands_add(gpu->commands, WEFT_GPU_DISPATCH, 6 + dispatch->param_words, error);
  if (!command) return WEFT_OUT_OF_MEMORY;
  command[1] = dispatch->kernel->pipeline;
  command[2] = group;
  memcpy(command + 3, groups, 3 * sizeof *groups);
  memcpy(command + 6, dispatch->params, dispatch->param_words * sizeof *command);
  return WEFT_OK;
}

weft_status weft_gpu_encode_step(const weft_gpu_device *gpu, const weft_execution *execution,
                                 const weft_step *step, weft_error *error) {
  weft_gpu_work *work = step->state;
  if (!work) return WEFT_OK; /* nothing to write */
  if (work->before) WEFT_TRY(work->before(step, execution, work, error));
  for (uint32_t i = 0; i < work->count; i++)
    WEFT_TRY(encode_dispatch(gpu, execution, step, &work->dispatches[i], error));
  return WEFT_OK;
}

weft_status weft_gpu_submit(const weft_gpu_device *gpu, weft_error *error) {
  weft_commands *commands = gpu->commands;
  if (commands->words == 0) return WEFT_OK;
  uint64_t words = commands->words;
  commands->words = 0;
  return gpu->gpu->driver->submit(gpu->gpu->driver, commands->table, words, error);
}

/* ---- copies between host and GPU ------------------------------------------------------------- */

/* The last bytes of an array may be no whole word: those are written as one padded with zeros. */
static weft_status write_bytes(weft_gpu_driver *driver, weft_memory memory, uint64_t offset,
                               const uint8_t *bytes, uint64_t length, weft_error *error) {
  uint64_t whole = length & ~(uint64_t)3;
  if (whole > 0) WEFT_TRY(driver->write(driver, memory, offset, bytes, whole, error));
  if (whole == length) return WEFT_OK;
  uint8_t last[4] = {0};
  memcpy(last, bytes + whole, (size_t)(length - whole));
  return driver->write(driver, memory, offset + whole, last, sizeof last, error);
}

static uint64_t array_bytes(const weft_array *array) {
  return array->elements * weft_dtype_size(array->dtype);
}

static weft_status upload(const weft_gpu_device *gpu, const weft_execution *execution,
                          const weft_step *step, weft_error *error) {
  const weft_array *from = step->inputs[0], *to = step->outputs[0];
  return write_bytes(gpu->gpu->driver, execution->memories[to->slot], to->offset,
                     weft_array_data(execution, from), array_bytes(from), error);
}

static weft_status ensure_staging(const weft_gpu_device *gpu, struct weft_gpu_read *read,
                                  uint64_t bytes, weft_error *error) {
  if (bytes <= read->staging_bytes) return WEFT_OK;
  weft_heap_release(gpu->heap, read->staging, read->staging_bytes);
  read->staging = weft_heap_allocate(gpu->heap, bytes);
  read->staging_bytes = read->staging ? bytes : 0;
  return read->staging ? WEFT_OK : weft_heap_fail(gpu->heap, bytes, "a read-back", error);
}

static weft_status start_read(weft_gpu_device *gpu, weft_memory memory, uint64_t offset,
                              uint8_t *to, uint64_t bytes, weft_error *error) {
  if (gpu->read_count == gpu->read_room)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "more than %u read-backs at once", gpu->read_room);
  struct weft_gpu_read *read = &gpu->reads[gpu->read_count];
  uint64_t length = weft_align_up(bytes, 4);
  read->to = to;
  read->bytes = bytes;
  read->staged = length != bytes;
  if (read->staged) WEFT_TRY(ensure_staging(gpu, read, length, error));
  weft_gpu_driver *driver = gpu->gpu->driver;
  WEFT_TRY(driver->read(driver, memory, offset, length, read->staged ? read->staging : to,
                        &read->id, error));
  gpu->read_count++;
  return WEFT_OK;
}

static weft_status download(weft_gpu_device *gpu, const weft_execution *execution,
                            const weft_step *step, weft_error *error) {
  const weft_array *from = step->inputs[0], *to = step->outputs[0];
  WEFT_TRY(weft_gpu_submit(gpu, error));
  if (from->elements == 0) return WEFT_OK;
  return start_read(gpu, weft_gpu_memory_of(execution, from), from->offset,
                    weft_array_data(execution, to), array_bytes(from), error);
}

static void drop_reads(weft_gpu_device *gpu) {
  for (; gpu->read_count > 0; gpu->read_count--) {
    struct weft_gpu_read *read = &gpu->reads[gpu->read_count - 1];
    gpu->gpu->driver->read_drop(gpu->gpu->driver, read->id);
  }
}

/* Reads that are done leave the list from its end, so that the others stay in order. */
static weft_status finish_reads(weft_gpu_device *gpu, weft_error *error) {
  while (gpu->read_count > 0) {
    struct weft_gpu_read *read = &gpu->reads[gpu->read_count - 1];
    weft_status status = gpu->gpu->driver->read_state(gpu->gpu->driver, read->id, error);
    if (status == WEFT_PENDING) return status;
    gpu->read_count--;
    if (status != WEFT_OK) return status;
    if (read->staged) memcpy(read->to, read->staging, (size_t)read->bytes);
  }
  return WEFT_OK;
}

/* ---- the run --------------------------------------------------------------------------------- */

static weft_status interrupted(const weft_execution *execution, weft_error *error) {
  if (execution->cancel && atomic_load_explicit(execution->cancel, memory_order_relaxed))
    return weft_fail(error, WEFT_CANCELLED, "the run was cancelled");
  if (execution->deadline_ns && weft_now_ns(execution->runtime) >= execution->deadline_ns)
    return weft_fail(error, WEFT_TIMED_OUT, "the run's time limit has passed");
  return WEFT_OK;
}

/* Something that the host has in memory of the plan's: it may still be on its way. */
static bool reads_host(const weft_step *step) {
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    if (input && !input->on_device && !input->constant) return true;
  }
  return false;
}

/* A step of the GPU in a submit of its own, and a read that tells its end. */
static weft_status run_alone(weft_gpu_device *gpu, const weft_execution *execution,
                             const weft_step *step, weft_error *error) {
  bool timestamps = gpu->gpu->facts->timestamps;
  if (timestamps) WEFT_TRY(weft_commands_add_time(gpu->commands, 0, error));
  uint64_t before = gpu->commands->words;
  WEFT_TRY(weft_gpu_encode_step(gpu, execution, step, error));
  if (gpu->commands->words == before) gpu->commands->words = 0;
  if (gpu->commands->words == 0) return WEFT_OK; /* nothing to do */
  if (timestamps) WEFT_TRY(weft_commands_add_time(gpu->commands, 1, error));
  WEFT_TRY(weft_gpu_submit(gpu, error));
  struct weft_gpu_read *read = &gpu->reads[gpu->read_count];
  weft_gpu_driver *driver = gpu->gpu->driver;
  weft_memory memory = weft_gpu_memory_of(execution, step->outputs[0]);
  read->staged = false;
  WEFT_TRY(timestamps ? driver->read_times(driver, 2, gpu->times, &read->id, error)
                      : driver->read(driver, memory, 0, 4, gpu->times, &read->id, error));
  gpu->read_count++;
  return WEFT_OK;
}

static weft_status run_step(weft_gpu_device *gpu, const weft_execution *execution,
                            const weft_step *step, weft_error *error) {
  WEFT_TRY(interrupted(execution, error));
  if (crosses(step))
    return step->outputs[0]->on_device ? upload(gpu, execution, step, error)
                                       : download(gpu, execution, step, error);
  if (reads_host(step)) WEFT_TRY(finish_reads(gpu, error));
  if (!step->on_device) return step->run(step, execution, error);
  return execution->profile ? run_alone(gpu, execution, step, error)
                            : weft_gpu_encode_step(gpu, execution, step, error);
}

/* A step by itself: the next one waits for its end. What the GPU's timestamps do not say is seen by
 * the clock on the wall. */
static weft_status profile_step(weft_gpu_device *gpu, const weft_execution *execution,
                                const weft_step *step, weft_error *error) {
  weft_step_profile *profile = &execution->profile[execution->next_step];
  if (!gpu->is_timing) {
    gpu->started_ns = weft_now_ns(execution->runtime);
    gpu->times[0] = gpu->times[1] = 0;
    WEFT_TRY(run_step(gpu, execution, step, error));
    gpu->is_timing = true;
  }
  WEFT_TRY(finish_reads(gpu, error));
  gpu->is_timing = false;
  profile->calls++;
  if (gpu->times[1] == 0)
    profile->total_ns += weft_now_ns(execution->runtime) - gpu->started_ns;
  else if (gpu->times[1] > gpu->times[0]) /* they may run backwards */
    profile->total_ns += gpu->times[1] - gpu->times[0];
  return WEFT_OK;
}

static weft_status run_steps(weft_gpu_device *gpu, weft_execution *execution, weft_error *error) {
  const weft_plan *plan = execution->plan;
  for (; execution->next_step < plan->step_count; execution->next_step++) {
    const weft_step *step = &plan->steps[execution->next_step];
    weft_status status = execution->profile ? profile_step(gpu, execution, step, error)
                                            : run_step(gpu, execution, step, error);
    if (status == WEFT_PENDING) return status;
    if (status != WEFT_OK) return blame(step->node, step->is_copy, status, error);
  }
  WEFT_TRY(weft_gpu_submit(gpu, error));
  WEFT_TRY(interrupted(execution, error));
  return finish_reads(gpu, error);
}

/* Of this plan: others may be compiled in the meantime. */
static weft_status kernels_ready(const weft_gpu_device *gpu, const weft_plan *plan,
                                 weft_error *error) {
  weft_status status = weft_kernels_ready(gpu->gpu->kernels, error);
  for (uint32_t s = 0; s < plan->step_count && status == WEFT_PENDING; s++) {
    const weft_step *step = &plan->steps[s];
    const weft_gpu_work *work = step->on_device && !crosses(step) ? step->state : NULL;
    for (uint32_t d = 0; work && d < work->count; d++)
      if (!work->dispatches[d].kernel->compiled) return status;
  }
  return status == WEFT_PENDING ? WEFT_OK : status;
}

static weft_status gpu_poll(const weft_device *device, bool wait, weft_error *error) {
  weft_gpu_driver *driver = gpu_of(device)->gpu->driver;
  return noted(device, driver->poll(driver, wait, error));
}

static weft_status gpu_execute(const weft_device *device, weft_execution *execution,
                               weft_error *error) {
  /* Runs of one session do not overlap, so that what belongs to the run may lie in the device. */
  weft_gpu_device *gpu = (weft_gpu_device *)(uintptr_t)device;
  weft_status status = gpu->gpu->lost ? gpu_poll(device, false, error) /* says why */
                                      : interrupted(execution, error);
  if (status == WEFT_OK) status = kernels_ready(gpu, execution->plan, error);
  if (status == WEFT_OK) status = run_steps(gpu, execution, error);
  if (status == WEFT_PENDING || status == WEFT_OK) return status;
  gpu->commands->words = 0;
  gpu->is_timing = false;
  drop_reads(gpu);
  return noted(device, status);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void count_memory(const weft_device *device, uint64_t more) {
  weft_device *counts = (weft_device *)(uintptr_t)device;
  counts->memory_bytes += more;
  if (counts->memory_bytes > counts->memory_bytes_peak)
    counts->memory_bytes_peak = counts->memory_bytes;
}

static weft_status gpu_memory_open(const weft_device *device, uint64_t bytes, weft_memory *out,
                                   weft_error *error) {
  weft_gpu *gpu = gpu_of(device)->gpu;
  uint64_t room = weft_align_up(bytes ? bytes : 1, 16), most = piece_bytes_max(gpu);
  if (bytes > most)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                     "%llu bytes in one piece, where the GPU takes %llu", (unsigned long long)bytes,
                     (unsigned long long)most);
  WEFT_TRY(gpu->driver->buffer_open(gpu->driver, room, out, error));
  count_memory(device, room);
  return WEFT_OK;
}

static void gpu_memory_close(const weft_device *device, weft_memory memory) {
  weft_gpu *gpu = gpu_of(device)->gpu;
  if (!memory) return;
  weft_group_forget(gpu->groups, memory);
  count_memory(device, 0 - gpu->driver->buffer_close(gpu->driver, memory));
}

static void close_weight(void *user, weft_memory memory) {
  gpu_memory_close(user, memory);
}

static weft_status gpu_memory_write(const weft_device *device, weft_memory memory, uint64_t offset,
                                    const void *bytes, uint64_t length, weft_error *error) {
  return write_bytes(gpu_of(device)->gpu->driver, memory, offset, bytes, length, error);
}

/* Of one submit: the heads of a cache, which may be some hundred, take a few. */
enum { COPIES_MAX = 32 };

static weft_status gpu_memory_copy(const weft_device *device, weft_memory from,
                                   uint64_t from_stride, weft_memory to, uint64_t to_stride,
                                   uint64_t count, uint64_t length, weft_error *error) {
  weft_gpu_driver *driver = gpu_of(device)->gpu->driver;
  uint32_t table[COPIES_MAX * WEFT_GPU_COPY_WORDS], words = 0;
  for (uint64_t i = 0; i < count; i++) {
    weft_command_copy(table + words, from, i * from_stride, to, i * to_stride, length);
    words += WEFT_GPU_COPY_WORDS;
    if (i + 1 < count && words < sizeof table / sizeof *table) continue;
    WEFT_TRY(driver->submit(driver, table, words, error));
    words = 0;
  }
  return WEFT_OK;
}

static weft_status gpu_read(const weft_device *device, weft_memory memory, uint64_t offset,
                            uint64_t length, void *to, uint32_t *out, weft_error *error) {
  weft_gpu_driver *driver = gpu_of(device)->gpu->driver;
  return driver->read(driver, memory, offset, length, to, out, error);
}

static weft_status gpu_read_state(const weft_device *device, uint32_t read, weft_error *error) {
  weft_gpu_driver *driver = gpu_of(device)->gpu->driver;
  return driver->read_state(driver, read, error);
}

static void gpu_read_drop(const weft_device *device, uint32_t read) {
  weft_gpu_driver *driver = gpu_of(device)->gpu->driver;
  driver->read_drop(driver, read);
}

enum { PIECE_BYTES = 1 << 20 };

static weft_status upload_pieces(const weft_gpu_device *gpu, const weft_buffer *buffer,
                                 weft_memory memory, weft_error *error) {
  weft_gpu_driver *driver = gpu->gpu->driver;
  if (buffer->data) return write_bytes(driver, memory, 0, buffer->data, buffer->bytes, error);
  uint8_t *piece = weft_heap_allocate(gpu->heap, PIECE_BYTES);
  if (!piece) return weft_heap_fail(gpu->heap, PIECE_BYTES, "a piece of a weight", error);
  weft_status status = WEFT_OK;
  for (uint64_t at = 0; at < buffer->bytes && status == WEFT_OK; at += PIECE_BYTES) {
    uint64_t left = buffer->bytes - at, bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
    status = weft_buffer_read(buffer, at, bytes, piece, error);
    if (status == WEFT_OK) status = write_bytes(driver, memory, at, piece, bytes, error);
  }
  weft_heap_release(gpu->heap, piece, PIECE_BYTES);
  return status;
}

static weft_status gpu_upload(const weft_device *device, const weft_value *value, weft_heap *heap,
                              weft_buffer **out, weft_error *error) {
  uint64_t bytes = value->data->bytes;
  weft_memory memory;
  weft_status status = gpu_memory_open(device, bytes, &memory, error);
  *out = NULL;
  if (status == WEFT_OK) {
    status = upload_pieces(gpu_of(device), value->data, memory, error);
    if (status == WEFT_OK)
      *out = weft_buffer_on_device(heap, bytes, memory, close_weight, (void *)(uintptr_t)device);
    if (status == WEFT_OK && !*out) status = weft_heap_fail(heap, sizeof **out, "a weight", error);
    if (status != WEFT_OK) gpu_memory_close(device, memory);
  }
  if (status == WEFT_OK || !error) return status;
  weft_error cause = *error;
  return weft_fail(error, status, "weight '%.*s', to the GPU: %s", WEFT_STR_ARGS(value->name),
                   cause.message);
}

/* Nodes that stay on the host get weights packed for it. */
static weft_status gpu_pack(const weft_device *device, const weft_graph *graph,
                            const weft_node *node, uint32_t input, weft_heap *heap,
                            weft_buffer **out, weft_layout *layout, weft_error *error) {
  const weft_device *host = gpu_of(device)->host;
  if (gpu_refuses(device, graph, node))
    return host->pack(host, graph, node, input, heap, out, layout, error);
  weft_status status = weft_gpu_pack(device, graph, node, input, heap, out, layout, error);
  return status == WEFT_OK ? status : blame(node, false, status, error);
}

/* ---- the device ------------------------------------------------------------------------------ */

static weft_status gpu_ready(const weft_device *device, weft_error *error) {
  WEFT_TRY(gpu_poll(device, false, error)); /* a loss shows where nothing is compiled, too */
  return noted(device, weft_kernels_ready(gpu_of(device)->gpu->kernels, error));
}

static weft_status gpu_tune(const weft_device *device, const weft_execution *execution,
                            weft_error *error) {
  weft_gpu_device *gpu = (weft_gpu_device *)(uintptr_t)device;
  weft_tune mode = gpu->tune;
  if (mode == WEFT_TUNE_AUTO) mode = gpu->gpu->facts->is_software ? WEFT_TUNE_OFF : WEFT_TUNE_FAST;
  if (!execution) weft_tuner_stop(gpu);
  if (!execution || mode == WEFT_TUNE_OFF) return WEFT_OK;
  weft_tune_options tuning = weft_tuner_options(gpu->gpu->facts, mode == WEFT_TUNE_FULL);
  return weft_tuner_run(gpu, execution, &tuning, error);
}

/* Read-backs at once: outputs of a run. */
enum { READS_MAX = 1024 };
/* Steps on so few bytes of the host's are cheaper there than a dispatch. */
enum { SMALL_BYTES = 4096 };

static void gpu_close(weft_device *device) {
  weft_gpu_device *gpu = (weft_gpu_device *)(void *)device;
  weft_tuner_leave(gpu);
  drop_reads(gpu);
  weft_commands_release(gpu->commands);
  weft_heap_release(gpu->heap, gpu->commands, sizeof *gpu->commands);
  for (uint32_t i = 0; i < gpu->read_room; i++)
    weft_heap_release(gpu->heap, gpu->reads[i].staging, gpu->reads[i].staging_bytes);
  weft_heap_release(gpu->heap, gpu->reads, gpu->read_room * sizeof *gpu->reads);
  gpu->host->close(gpu->host);
  weft_gpu_release(&gpu->gpu);
  weft_heap_release(gpu->heap, gpu, sizeof *gpu);
}

weft_status weft_gpu_device_open(weft_gpu *gpu, weft_device *host,
                                 const weft_session_options *options, weft_heap *heap,
                                 weft_device **out, weft_error *error) {
  *out = NULL;
  weft_gpu_device *device = weft_heap_allocate_zeroed(heap, sizeof *device);
  weft_commands *commands = weft_heap_allocate_zeroed(heap, sizeof *commands);
  struct weft_gpu_read *reads = weft_heap_allocate_zeroed(heap, READS_MAX * sizeof *reads);
  if (!device || !commands || !reads) {
    weft_heap_release(heap, device, sizeof *device);
    weft_heap_release(heap, commands, sizeof *commands);
    weft_heap_release(heap, reads, READS_MAX * sizeof *reads);
    host->close(host);
    return weft_heap_fail(heap, READS_MAX * sizeof *reads, "the GPU device", error);
  }
  commands->heap = heap;
  *device = (weft_gpu_device){.device = {.name = "gpu",
                                         .runtime = host->runtime,
                                         .takes = gpu_takes,
                                         .prepare = gpu_prepare,
                                         .pack = gpu_pack,
                                         .execute = gpu_execute,
                                         .close = gpu_close,
                                         .host = host,
                                         .refuses = gpu_refuses,
                                         .is_parameter = gpu_is_parameter,
                                         .small_bytes = SMALL_BYTES,
                                         .merges = gpu_merges,
                                         .space = gpu,
                                         .memory_open = gpu_memory_open,
                                         .memory_close = gpu_memory_close,
                                         .memory_write = gpu_memory_write,
                                         .memory_copy = gpu_memory_copy,
                                         .read = gpu_read,
                                         .read_state = gpu_read_state,
                                         .read_drop = gpu_read_drop,
                                         .upload = gpu_upload,
                                         .layout = weft_gpu_layout_of,
                                         .compiles_aside = gpu->driver->compiles_aside,
                                         .ready = gpu_ready,
                                         .tune = gpu_tune,
                                         .poll = gpu_poll,
                                         .is_lost = gpu_is_lost},
                              .gpu = weft_gpu_retain(gpu),
                              .host = host,
                              .activations = options->activations,
                              .tune = options->tune,
                              .heap = heap,
                              .commands = commands,
                              .reads = reads,
                              .read_room = READS_MAX};
  *out = &device->device;
  return WEFT_OK;
}
