/* driver_null.c - a driver that executes nothing and checks everything: for tests, and to measure
 * what the host's side costs. Buffers are host memory: what is written and copied is there, what
 * kernels would write is not. */
#include "base/memory.h"
#include "gpu/driver.h"
#include "gpu/slots.h"

typedef struct null_buffer {
  weft_slot slot;
  uint8_t *bytes;
  uint64_t size;
} null_buffer;

typedef struct null_pipeline {
  weft_slot slot;
  weft_gpu_pipeline described; /* without its texts */
  char label[128];
  uint32_t pending; /* how often it still answers so */
} null_pipeline;

typedef struct null_group {
  weft_slot slot;
  weft_gpu_id pipeline;
  weft_gpu_id buffers[WEFT_GPU_BINDINGS_MAX];
} null_group;

typedef struct null_read {
  weft_slot slot;
  uint8_t *bytes; /* as they were when the read began */
  uint64_t size;
  void *to;
  uint32_t pending;
} null_read;

typedef struct null_driver {
  weft_gpu_driver driver; /* first: the two are cast into one another */
  weft_heap *heap;
  weft_gpu_null_counts *counts, own_counts;
  weft_slots buffers, pipelines, groups, reads;
  uint64_t times[WEFT_GPU_TIMES], clock;
  bool lost;
} null_driver;

static null_driver *null_of(weft_gpu_driver *driver) {
  return (null_driver *)(void *)driver;
}

/* Each call that has a status begins so. */
static weft_status enter(null_driver *gpu, weft_error *error) {
  weft_gpu_null_counts *counts = gpu->counts;
  counts->calls++;
  if (gpu->lost) return weft_fail(error, WEFT_DEVICE_LOST, "the GPU device is lost");
  if (counts->calls != counts->fail_call) return WEFT_OK;
  gpu->lost = counts->fail_status == WEFT_DEVICE_LOST;
  return weft_fail(error, counts->fail_status, "the null GPU fails call %llu",
                   (unsigned long long)counts->calls);
}

/* What WebGPU would refuse. */
#define REFUSE(error, ...) weft_fail(error, WEFT_INTERNAL, "null GPU: " __VA_ARGS__)

static unsigned long long ull(uint64_t value) {
  return value;
}

/* ---- buffers --------------------------------------------------------------------------------- */

static weft_status find_range(const null_driver *gpu, weft_gpu_id id, uint64_t offset,
                              uint64_t length, null_buffer **out, weft_error *error) {
  null_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  *out = buffer;
  if (!buffer) return REFUSE(error, "no open buffer %u", id);
  if (offset % 4 || length % 4)
    return REFUSE(error, "%llu bytes at %llu are no multiples of 4", ull(length), ull(offset));
  if (offset > buffer->size || length > buffer->size - offset)
    return REFUSE(error, "%llu bytes at %llu of a buffer of %llu", ull(length), ull(offset),
                  ull(buffer->size));
  return WEFT_OK;
}

static weft_status null_buffer_open(weft_gpu_driver *driver, uint64_t bytes, weft_gpu_id *out,
                                    weft_error *error) {
  null_driver *gpu = null_of(driver);
  *out = 0;
  WEFT_TRY(enter(gpu, error));
  if (bytes == 0 || bytes % 16) return REFUSE(error, "a buffer of %llu bytes", ull(bytes));
  if (bytes > driver->facts.buffer_bytes)
    return REFUSE(error, "a buffer of %llu bytes, more than %llu", ull(bytes),
                  ull(driver->facts.buffer_bytes));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->buffers, &item, error));
  null_buffer *buffer = item;
  buffer->size = bytes;
  buffer->bytes = weft_heap_allocate_zeroed(gpu->heap, bytes);
  if (!buffer->bytes) {
    weft_slots_give(&gpu->buffers, buffer);
    return weft_heap_fail(gpu->heap, bytes, "a GPU buffer", error);
  }
  gpu->counts->buffers++;
  gpu->counts->buffer_bytes += bytes;
  *out = buffer->slot.id;
  return WEFT_OK;
}

static uint64_t null_buffer_close(weft_gpu_driver *driver, weft_gpu_id id) {
  null_driver *gpu = null_of(driver);
  null_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  if (!buffer) return 0;
  uint64_t bytes = buffer->size;
  weft_heap_release(gpu->heap, buffer->bytes, bytes);
  weft_slots_give(&gpu->buffers, buffer);
  gpu->counts->buffers--;
  gpu->counts->buffer_bytes -= bytes;
  return bytes;
}

static weft_status null_write(weft_gpu_driver *driver, weft_gpu_id id, uint64_t offset,
                              const void *bytes, uint64_t length, weft_error *error) {
  null_driver *gpu = null_of(driver);
  WEFT_TRY(enter(gpu, error));
  null_buffer *buffer;
  WEFT_TRY(find_range(gpu, id, offset, length, &buffer, error));
  if (length) memcpy(buffer->bytes + offset, bytes, (size_t)length);
  gpu->counts->bytes_written += length;
  return WEFT_OK;
}

/* ---- reads ----------------------------------------------------------------------------------- */

static weft_status start_read(null_driver *gpu, const void *from, uint64_t length, void *to,
                              weft_gpu_id *out, weft_error *error) {
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->reads, &item, error));
  null_read *read = item;
  read->size = length;
  read->to = to;
  read->pending = gpu->counts->pending;
  read->bytes = weft_heap_allocate(gpu->heap, length);
  if (!read->bytes) {
    weft_slots_give(&gpu->reads, read);
    return weft_heap_fail(gpu->heap, length, "a read of a GPU buffer", error);
  }
  memcpy(read->bytes, from, (size_t)length);
  gpu->counts->reads++;
  *out = read->slot.id;
  return WEFT_OK;
}

static weft_status null_read_open(weft_gpu_driver *driver, weft_gpu_id id, uint64_t offset,
                                  uint64_t length, void *to, weft_gpu_id *out, weft_error *error) {
  null_driver *gpu = null_of(driver);
  *out = 0;
  WEFT_TRY(enter(gpu, error));
  null_buffer *buffer;
  WEFT_TRY(find_range(gpu, id, offset, length, &buffer, error));
  return start_read(gpu, buffer->bytes + offset, length, to, out, error);
}

static weft_status null_read_times(weft_gpu_driver *driver, uint32_t count, uint64_t *to,
                                   weft_gpu_id *out, weft_error *error) {
  null_driver *gpu = null_of(driver);
  *out = 0;
  WEFT_TRY(enter(gpu, error));
  if (!driver->facts.timestamps || count == 0 || count > WEFT_GPU_TIMES)
    return REFUSE(error, "no %u timestamps", count);
  return start_read(gpu, gpu->times, 8 * (uint64_t)count, to, out, error);
}

static void null_read_drop(weft_gpu_driver *driver, weft_gpu_id id) {
  null_driver *gpu = null_of(driver);
  null_read *read = weft_slots_find(&gpu->reads, id);
  if (!read) return;
  weft_heap_release(gpu->heap, read->bytes, read->size);
  weft_slots_give(&gpu->reads, read);
  gpu->counts->reads--;
}

static weft_status null_read_state(weft_gpu_driver *driver, weft_gpu_id id, weft_error *error) {
  null_driver *gpu = null_of(driver);
  null_read *read = weft_slots_find(&gpu->reads, id);
  weft_status status = enter(gpu, error);
  if (!read) return status != WEFT_OK ? status : REFUSE(error, "no open read %u", id);
  if (status == WEFT_OK && read->pending) {
    read->pending--;
    return WEFT_PENDING;
  }
  if (status == WEFT_OK) {
    memcpy(read->to, read->bytes, (size_t)read->size);
    gpu->counts->bytes_read += read->size;
  }
  null_read_drop(driver, id);
  return status;
}

/* ---- pipelines and groups -------------------------------------------------------------------- */

static weft_status check_pipeline(const weft_gpu_facts *facts, const weft_gpu_pipeline *pipeline,
                                  weft_error *error) {
  if (!pipeline->label || !pipeline->wgsl || pipeline->wgsl_length == 0)
    return REFUSE(error, "a pipeline without a label or text");
  if (pipeline->binding_count > facts->storage_buffers ||
      pipeline->binding_count > WEFT_GPU_BINDINGS_MAX)
    return REFUSE(error, "%s: %u bindings", pipeline->label, pipeline->binding_count);
  if (pipeline->writes >> pipeline->binding_count)
    return REFUSE(error, "%s: it writes bindings that it has not", pipeline->label);
  if (pipeline->param_words > WEFT_GPU_PARAMS_MAX ||
      (pipeline->immediates && 4 * pipeline->param_words > facts->immediate_bytes))
    return REFUSE(error, "%s: %u words of parameters", pipeline->label, pipeline->param_words);
  return WEFT_OK;
}

static weft_status null_pipeline_open(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                                      weft_gpu_id *out, weft_error *error) {
  null_driver *gpu = null_of(driver);
  *out = 0;
  WEFT_TRY(enter(gpu, error));
  WEFT_TRY(check_pipeline(&driver->facts, pipeline, error));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->pipelines, &item, error));
  null_pipeline *made = item;
  made->described = *pipeline;
  made->described.label = made->described.wgsl = NULL;
  for (size_t i = 0; i + 1 < sizeof made->label && pipeline->label[i]; i++)
    made->label[i] = pipeline->label[i];
  made->pending = gpu->counts->pending;
  gpu->counts->pipelines++;
  *out = made->slot.id;
  return WEFT_OK;
}

static weft_status null_pipeline_state(weft_gpu_driver *driver, weft_gpu_id id, weft_error *error) {
  null_driver *gpu = null_of(driver);
  WEFT_TRY(enter(gpu, error));
  null_pipeline *pipeline = weft_slots_find(&gpu->pipelines, id);
  if (!pipeline) return REFUSE(error, "no open pipeline %u", id);
  if (pipeline->pending == 0) return WEFT_OK;
  pipeline->pending--;
  return WEFT_PENDING;
}

static void null_pipeline_close(weft_gpu_driver *driver, weft_gpu_id id) {
  null_driver *gpu = null_of(driver);
  null_pipeline *pipeline = weft_slots_find(&gpu->pipelines, id);
  if (!pipeline) return;
  weft_slots_give(&gpu->pipelines, pipeline);
  gpu->counts->pipelines--;
}

static weft_status null_group_open(weft_gpu_driver *driver, weft_gpu_id pipeline_id,
                                   const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                                   weft_error *error) {
  null_driver *gpu = null_of(driver);
  *out = 0;
  WEFT_TRY(enter(gpu, error));
  const null_pipeline *pipeline = weft_slots_find(&gpu->pipelines, pipeline_id);
  if (!pipeline) return REFUSE(error, "no open pipeline %u", pipeline_id);
  if (pipeline->pending) return REFUSE(error, "%s is not compiled yet", pipeline->label);
  if (count != pipeline->described.binding_count)
    return REFUSE(error, "%s: %u buffers for %u bindings", pipeline->label, count,
                  pipeline->described.binding_count);
  for (uint32_t i = 0; i < count; i++) {
    const null_buffer *buffer = weft_slots_find(&gpu->buffers, buffers[i]);
    if (!buffer) return REFUSE(error, "%s: no open buffer %u", pipeline->label, buffers[i]);
    if (buffer->size > driver->facts.binding_bytes)
      return REFUSE(error, "%s: a binding of %llu bytes", pipeline->label, ull(buffer->size));
  }
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->groups, &item, error));
  null_group *group = item;
  group->pipeline = pipeline_id;
  if (count) memcpy(group->buffers, buffers, count * sizeof *buffers);
  gpu->counts->groups++;
  *out = group->slot.id;
  return WEFT_OK;
}

static void null_group_close(weft_gpu_driver *driver, weft_gpu_id id) {
  null_driver *gpu = null_of(driver);
  null_group *group = weft_slots_find(&gpu->groups, id);
  if (!group) return;
  weft_slots_give(&gpu->groups, group);
  gpu->counts->groups--;
}

/* ---- commands -------------------------------------------------------------------------------- */

static weft_status check_bindings(const null_driver *gpu, const null_pipeline *pipeline,
                                  const null_group *group, weft_error *error) {
  uint32_t writes = pipeline->described.writes;
  for (uint32_t i = 0; i < pipeline->described.binding_count; i++) {
    if (!weft_slots_find(&gpu->buffers, group->buffers[i]))
      return REFUSE(error, "%s: the buffer of binding %u is closed", pipeline->label, i);
    for (uint32_t j = 0; j < i; j++)
      if (group->buffers[i] == group->buffers[j] && ((writes >> i | writes >> j) & 1))
        return REFUSE(error, "%s: bindings %u and %u are one buffer, which is written",
                      pipeline->label, j, i);
  }
  return WEFT_OK;
}

static weft_status dispatch(null_driver *gpu, const uint32_t *words, uint32_t count,
                            weft_error *error) {
  const null_pipeline *pipeline = weft_slots_find(&gpu->pipelines, words[1]);
  if (!pipeline) return REFUSE(error, "no open pipeline %u", words[1]);
  const null_group *group = weft_slots_find(&gpu->groups, words[2]);
  if (!group) return REFUSE(error, "%s: no open bind group %u", pipeline->label, words[2]);
  /* A layout of its own for each pipeline: groups of another one do not fit. */
  if (group->pipeline != words[1])
    return REFUSE(error, "%s: a bind group of another pipeline", pipeline->label);
  if (pipeline->described.param_words != count - 6)
    return REFUSE(error, "%s: %u words of parameters instead of %u", pipeline->label, count - 6,
                  pipeline->described.param_words);
  for (int i = 3; i < 6; i++)
    if (words[i] > gpu->driver.facts.workgroups)
      return REFUSE(error, "%s: %u workgroups", pipeline->label, words[i]);
  gpu->counts->dispatches++;
  return check_bindings(gpu, pipeline, group, error);
}

static weft_status copy(null_driver *gpu, const uint32_t *words, weft_error *error) {
  uint64_t from_offset = words[2] | (uint64_t)words[3] << 32;
  uint64_t to_offset = words[5] | (uint64_t)words[6] << 32;
  uint64_t bytes = words[7] | (uint64_t)words[8] << 32;
  null_buffer *from, *to;
  if (words[1] == words[4]) return REFUSE(error, "a copy within a buffer");
  WEFT_TRY(find_range(gpu, words[1], from_offset, bytes, &from, error));
  WEFT_TRY(find_range(gpu, words[4], to_offset, bytes, &to, error));
  memcpy(to->bytes + to_offset, from->bytes + from_offset, (size_t)bytes);
  gpu->counts->copies++;
  return WEFT_OK;
}

static weft_status run_command(null_driver *gpu, const uint32_t *words, uint32_t count,
                               weft_error *error) {
  switch ((weft_gpu_command)(words[0] & 0xff)) {
  case WEFT_GPU_DISPATCH:
    if (count >= 6) return dispatch(gpu, words, count, error);
    break;
  case WEFT_GPU_COPY:
    if (count == 9) return copy(gpu, words, error);
    break;
  case WEFT_GPU_TIME:
    if (count != 2 || words[1] >= WEFT_GPU_TIMES || !gpu->driver.facts.timestamps) break;
    gpu->times[words[1]] = gpu->clock += 1000;
    return WEFT_OK;
  }
  return REFUSE(error, "no command %x", words[0]);
}

static weft_status null_submit(weft_gpu_driver *driver, const uint32_t *table, uint64_t words,
                               weft_error *error) {
  null_driver *gpu = null_of(driver);
  WEFT_TRY(enter(gpu, error));
  for (uint64_t i = 0; i < words; i += table[i] >> 8) {
    uint32_t count = table[i] >> 8;
    if (count == 0 || count > words - i) return REFUSE(error, "a table of commands breaks off");
    WEFT_TRY(run_command(gpu, table + i, count, error));
  }
  gpu->counts->submits++;
  return WEFT_OK;
}

/* Each query of a state brings the work nearer to its end, so there is nothing to wait for. */
static weft_status null_poll(weft_gpu_driver *driver, bool wait, weft_error *error) {
  (void)wait;
  return enter(null_of(driver), error);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void null_close(weft_gpu_driver *driver) {
  null_driver *gpu = null_of(driver);
  weft_slot *item;
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->reads, &i)) != NULL;)
    null_read_drop(driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->groups, &i)) != NULL;)
    null_group_close(driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->pipelines, &i)) != NULL;)
    null_pipeline_close(driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->buffers, &i)) != NULL;)
    null_buffer_close(driver, item->id);
  weft_slots_release(&gpu->reads);
  weft_slots_release(&gpu->groups);
  weft_slots_release(&gpu->pipelines);
  weft_slots_release(&gpu->buffers);
  weft_heap_release(gpu->heap, gpu, sizeof *gpu);
}

/* What WebGPU grants everywhere, and nothing optional. */
static const weft_gpu_facts plain_facts = {
    .vendor = "null",
    .description = "executes nothing",
    .is_software = true,
    .subgroup_min = 4,
    .subgroup_max = 128,
    .workgroup_storage = 16384,
    .workgroup_invocations = 256,
    .workgroup_size = {256, 256, 64},
    .workgroups = 65535,
    .storage_buffers = 8,
    .buffer_bytes = 256u << 20,
    .binding_bytes = 128u << 20,
};

static const weft_gpu_driver functions = {
    .compiles_aside = true,
    .buffer_open = null_buffer_open,
    .buffer_close = null_buffer_close,
    .write = null_write,
    .read = null_read_open,
    .read_state = null_read_state,
    .read_drop = null_read_drop,
    .pipeline_open = null_pipeline_open,
    .pipeline_state = null_pipeline_state,
    .pipeline_close = null_pipeline_close,
    .group_open = null_group_open,
    .group_close = null_group_close,
    .submit = null_submit,
    .read_times = null_read_times,
    .poll = null_poll,
    .close = null_close,
};

weft_status weft_gpu_null_open(weft_heap *heap, const weft_gpu_facts *facts,
                               weft_gpu_null_counts *counts, weft_gpu_driver **out,
                               weft_error *error) {
  *out = NULL;
  null_driver *gpu = weft_heap_allocate_zeroed(heap, sizeof *gpu);
  if (!gpu) return weft_heap_fail(heap, sizeof *gpu, "the null GPU", error);
  gpu->driver = functions;
  gpu->driver.facts = facts ? *facts : plain_facts;
  gpu->heap = heap;
  gpu->counts = counts ? counts : &gpu->own_counts;
  weft_slots_init(&gpu->buffers, heap, "buffers", sizeof(null_buffer));
  weft_slots_init(&gpu->pipelines, heap, "pipelines", sizeof(null_pipeline));
  weft_slots_init(&gpu->groups, heap, "bind groups", sizeof(null_group));
  weft_slots_init(&gpu->reads, heap, "reads", sizeof(null_read));
  *out = &gpu->driver;
  return WEFT_OK;
}
