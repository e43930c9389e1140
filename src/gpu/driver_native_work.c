/* driver_native_work.c - the native driver's objects and commands: see driver_native.h. */
#include "base/checked.h"
#include "base/text.h"
#include "gpu/driver_native.h"

/* Staging buffers up to this size are kept for the next read. */
#define STAGING_KEPT_BYTES (1u << 20)
/* Bytes written that the queue may hold back; more are sent off without waiting for a submit. */
#define WRITES_HELD_BYTES (32u << 20)

static weft_status no_object(weft_error *error, const char *what, weft_gpu_id id) {
  return weft_fail(error, WEFT_INTERNAL, "the GPU has no open %s %u", what, id);
}

/* ---- buffers --------------------------------------------------------------------------------- */

WGPUBuffer weft_native_buffer(const native_driver *gpu, uint64_t bytes, WGPUBufferUsage usage) {
  WGPUBufferDescriptor descriptor = WGPU_BUFFER_DESCRIPTOR_INIT;
  descriptor.size = bytes;
  descriptor.usage = usage;
  return wgpuDeviceCreateBuffer(gpu->device, &descriptor);
}

/* Not destroyed: a bind group that still has it would make a submit fail (see submit_encoder). */
void weft_native_drop_buffer(WGPUBuffer *buffer) {
  if (*buffer) wgpuBufferRelease(*buffer);
  *buffer = NULL;
}

static uint64_t native_buffer_close(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  uint64_t bytes = buffer ? buffer->bytes : 0;
  if (buffer) weft_native_drop_buffer(&buffer->buffer);
  weft_slots_give(&gpu->buffers, buffer);
  return bytes;
}

static weft_status native_buffer_open(weft_gpu_driver *driver, uint64_t bytes, weft_gpu_id *out,
                                      weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(weft_native_kept(gpu, error));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->buffers, &item, error));
  native_buffer *buffer = item;
  buffer->bytes = bytes;
  buffer->buffer = weft_native_buffer(
      gpu, bytes, WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst);
  weft_error cause;
  weft_status status = weft_native_kept(gpu, &cause);
  if (status == WEFT_OK) {
    *out = buffer->slot.id;
    return WEFT_OK;
  }
  native_buffer_close(driver, buffer->slot.id);
  return weft_fail(error, status, "a buffer of %llu bytes on the GPU: %s",
                   (unsigned long long)bytes, cause.message);
}

/* wgpu keeps a copy of what is written until the next submit: weights would be in memory twice. */
static void limit_writes(native_driver *gpu, uint64_t length) {
  gpu->written += length;
  if (gpu->written < WRITES_HELD_BYTES || gpu->kept.status != WEFT_OK) return;
  gpu->written = 0;
  wgpuQueueSubmit(gpu->queue, 0, NULL);
  wgpuInstanceProcessEvents(gpu->instance);
}

static weft_status native_write(weft_gpu_driver *driver, weft_gpu_id id, uint64_t offset,
                                const void *bytes, uint64_t length, weft_error *error) {
  native_driver *gpu = native_of(driver);
  WEFT_TRY(weft_native_kept(gpu, error));
  const native_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  if (!buffer) return no_object(error, "buffer", id);
  if (length == 0) return WEFT_OK;
  /* In pieces: the copy that WebGPU makes of each is not larger. */
  const unsigned char *from = bytes;
  for (uint64_t done = 0, piece; done < length; done += piece) {
    piece = length - done < WRITES_HELD_BYTES ? length - done : WRITES_HELD_BYTES;
    wgpuQueueWriteBuffer(gpu->queue, buffer->buffer, offset + done, from + done, (size_t)piece);
    limit_writes(gpu, piece);
  }
  return weft_native_kept(gpu, error);
}

/* ---- reads ----------------------------------------------------------------------------------- */

/* The bytes go with the device, and wgpu-native ends the program that asks for them then: any call
 * tells before. */
static bool is_alive(const native_driver *gpu) {
  wgpuCommandEncoderRelease(wgpuDeviceCreateCommandEncoder(gpu->device, NULL));
  return !gpu->lost;
}

static void take_mapped(const native_driver *gpu, const native_read *read) {
  memcpy(read->to, wgpuBufferGetConstMappedRange(read->staging, 0, (size_t)read->bytes),
         (size_t)read->bytes);
  if (!read->is_times || gpu->period == 1) return;
  uint64_t *times = read->to;
  for (uint64_t i = 0; i < read->bytes / 8; i++)
    times[i] = (uint64_t)((double)times[i] * (double)gpu->period);
}

static void on_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void *user, void *id) {
  native_driver *gpu = user;
  native_read *read = weft_slots_find(&gpu->reads, (weft_gpu_id)(uintptr_t)id);
  gpu->events++;
  if (!read) return;
  gpu->waiting--;
  bool mapped = status == WGPUMapAsyncStatus_Success && is_alive(gpu);
  read->state = mapped ? READ_MAPPED : READ_FAILED;
  if (read->state == READ_MAPPED)
    take_mapped(gpu, read);
  else
    weft_native_keep(gpu, WEFT_INTERNAL, "WebGPU could not read back", message);
}

/* Takes the spare staging buffer, or makes one. */
static void take_staging(native_driver *gpu, native_read *read) {
  if (gpu->spare && gpu->spare_bytes >= read->bytes) {
    read->staging = gpu->spare;
    read->staging_bytes = gpu->spare_bytes;
    gpu->spare = NULL;
    return;
  }
  read->staging_bytes = read->bytes < 4096 ? 4096 : read->bytes;
  read->staging = weft_native_buffer(gpu, read->staging_bytes,
                                     WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
}

static void close_read(native_driver *gpu, native_read *read) {
  weft_gpu_id id = read->slot.id;
  WGPUBuffer staging = read->staging;
  uint64_t bytes = read->staging_bytes;
  bool reusable = read->state == READ_MAPPED && bytes <= STAGING_KEPT_BYTES &&
                  (!gpu->spare || gpu->spare_bytes < bytes);
  if (read->state == READ_PENDING) gpu->waiting--;
  weft_slots_give(&gpu->reads, weft_slots_find(&gpu->reads, id));
  if (!staging) return;
  wgpuBufferUnmap(staging);
  if (reusable) {
    weft_native_drop_buffer(&gpu->spare);
    gpu->spare = staging;
    gpu->spare_bytes = bytes;
  } else {
    weft_native_drop_buffer(&staging);
  }
}

/* wgpu-native ends the program when a submit fails, so nothing that is known to be wrong may get so
 * far: a faulty command and a lost device are reported by what is called before. */
static weft_status submit_encoder(native_driver *gpu, WGPUCommandEncoder encoder,
                                  weft_error *error) {
  WGPUCommandBuffer commands = wgpuCommandEncoderFinish(encoder, NULL);
  wgpuCommandEncoderRelease(encoder);
  weft_status status = weft_native_kept(gpu, error);
  if (status == WEFT_OK) wgpuQueueSubmit(gpu->queue, 1, &commands);
  wgpuCommandBufferRelease(commands);
  return status == WEFT_OK ? weft_native_kept(gpu, error) : status;
}

/* Copies a range to a staging buffer, and asks for that one to be mapped. */
static weft_status start_read(native_driver *gpu, WGPUBuffer from, uint64_t offset, uint64_t length,
                              void *to, weft_gpu_id *out, weft_error *error) {
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->reads, &item, error));
  native_read *read = item;
  weft_gpu_id id = read->slot.id;
  read->bytes = length;
  read->to = to;
  read->is_times = from == gpu->times_buffer;
  gpu->waiting++;
  take_staging(gpu, read);
  weft_status status = weft_native_kept(gpu, error);
  if (status == WEFT_OK) {
    WGPUCommandEncoder encoder = wgpuDeviceCreateCommandEncoder(gpu->device, NULL);
    if (read->is_times)
      wgpuCommandEncoderResolveQuerySet(encoder, gpu->times, 0, (uint32_t)(length / 8), from, 0);
    wgpuCommandEncoderCopyBufferToBuffer(encoder, from, offset, read->staging, 0, length);
    status = submit_encoder(gpu, encoder, error);
  }
  if (status == WEFT_OK) {
    WGPUBufferMapCallbackInfo info = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                      .callback = on_mapped,
                                      .userdata1 = gpu,
                                      .userdata2 = (void *)(uintptr_t)id};
    wgpuBufferMapAsync(read->staging, WGPUMapMode_Read, 0, (size_t)length, info);
    status = weft_native_kept(gpu, error);
  }
  read = weft_slots_find(&gpu->reads, id);
  if (status != WEFT_OK)
    close_read(gpu, read);
  else
    *out = id;
  return status;
}

static weft_status native_read_open(weft_gpu_driver *driver, weft_gpu_id id, uint64_t offset,
                                    uint64_t length, void *to, weft_gpu_id *out,
                                    weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(weft_native_kept(gpu, error));
  const native_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  if (!buffer) return no_object(error, "buffer", id);
  return start_read(gpu, buffer->buffer, offset, length, to, out, error);
}

static weft_status native_read_times(weft_gpu_driver *driver, uint32_t count, uint64_t *to,
                                     weft_gpu_id *out, weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(weft_native_kept(gpu, error));
  if (!gpu->times || count == 0 || count > WEFT_GPU_TIMES)
    return weft_fail(error, WEFT_INTERNAL, "the GPU has no %u timestamps", count);
  return start_read(gpu, gpu->times_buffer, 0, 8 * count, to, out, error);
}

static weft_status native_read_state(weft_gpu_driver *driver, weft_gpu_id id, weft_error *error) {
  native_driver *gpu = native_of(driver);
  native_read *read = weft_slots_find(&gpu->reads, id);
  if (!read) return no_object(error, "read", id);
  weft_status status = weft_native_kept(gpu, error);
  if (status == WEFT_OK && read->state == READ_PENDING) return WEFT_PENDING;
  if (status == WEFT_OK && read->state == READ_FAILED)
    status = weft_fail(error, WEFT_INTERNAL, "WebGPU could not read back");
  close_read(gpu, read);
  return status;
}

static void native_read_drop(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_read *read = weft_slots_find(&gpu->reads, id);
  if (read) close_read(gpu, read);
}

/* ---- pipelines ------------------------------------------------------------------------------- */

/* Errors on the way to a pipeline are its own. */
static void on_compiled(WGPUPopErrorScopeStatus status, WGPUErrorType type, WGPUStringView message,
                        void *user, void *id) {
  native_driver *gpu = user;
  native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, (weft_gpu_id)(uintptr_t)id);
  gpu->events++;
  if (!pipeline) return;
  gpu->waiting--;
  pipeline->done = true;
  if (status == WGPUPopErrorScopeStatus_Success && type == WGPUErrorType_NoError) return;
  char what[sizeof pipeline->label + 32];
  weft_text text = {.buffer = what, .size = sizeof what};
  weft_text_add(&text, "the GPU's compiler refuses %s", pipeline->label);
  if (!weft_native_says_lost(message))
    pipeline->failure = weft_heap_allocate(gpu->heap, sizeof *pipeline->failure);
  if (pipeline->failure)
    weft_native_fail(pipeline->failure, WEFT_INTERNAL, what, message);
  else
    weft_native_keep(gpu, WEFT_INTERNAL, what, message);
}

static WGPUBindGroupLayout make_layout(const native_driver *gpu,
                                       const weft_gpu_pipeline *pipeline) {
  WGPUBindGroupLayoutEntry entries[WEFT_GPU_BINDINGS_MAX + 1];
  uint32_t count = 0;
  for (; count < pipeline->binding_count; count++) {
    entries[count] = (WGPUBindGroupLayoutEntry)WGPU_BIND_GROUP_LAYOUT_ENTRY_INIT;
    entries[count].binding = count;
    entries[count].visibility = WGPUShaderStage_Compute;
    entries[count].buffer.type = pipeline->writes >> count & 1
                                     ? WGPUBufferBindingType_Storage
                                     : WGPUBufferBindingType_ReadOnlyStorage;
  }
  if (pipeline->param_words && !pipeline->immediates) {
    entries[count] = (WGPUBindGroupLayoutEntry)WGPU_BIND_GROUP_LAYOUT_ENTRY_INIT;
    entries[count].binding = count;
    entries[count].visibility = WGPUShaderStage_Compute;
    entries[count].buffer.type = WGPUBufferBindingType_Uniform;
    entries[count].buffer.hasDynamicOffset = true;
    count++;
  }
  WGPUBindGroupLayoutDescriptor descriptor = WGPU_BIND_GROUP_LAYOUT_DESCRIPTOR_INIT;
  descriptor.entryCount = count;
  descriptor.entries = entries;
  return wgpuDeviceCreateBindGroupLayout(gpu->device, &descriptor);
}

static WGPUComputePipeline make_pipeline(const native_driver *gpu,
                                         const weft_gpu_pipeline *pipeline,
                                         WGPUBindGroupLayout group_layout) {
  WGPUShaderSourceWGSL source = WGPU_SHADER_SOURCE_WGSL_INIT;
  source.code = (WGPUStringView){pipeline->wgsl, pipeline->wgsl_length};
  WGPUShaderModuleDescriptor module_descriptor = WGPU_SHADER_MODULE_DESCRIPTOR_INIT;
  module_descriptor.nextInChain = &source.chain;
  module_descriptor.label = (WGPUStringView){pipeline->label, WGPU_STRLEN};
  WGPUShaderModule module = wgpuDeviceCreateShaderModule(gpu->device, &module_descriptor);

  WGPUPipelineLayoutDescriptor layout_descriptor = WGPU_PIPELINE_LAYOUT_DESCRIPTOR_INIT;
  layout_descriptor.bindGroupLayoutCount = 1;
  layout_descriptor.bindGroupLayouts = &group_layout;
  if (pipeline->immediates) layout_descriptor.immediateSize = 4 * pipeline->param_words;
  WGPUPipelineLayout layout = wgpuDeviceCreatePipelineLayout(gpu->device, &layout_descriptor);

  WGPUComputePipelineDescriptor descriptor = WGPU_COMPUTE_PIPELINE_DESCRIPTOR_INIT;
  descriptor.label = module_descriptor.label;
  descriptor.layout = layout;
  descriptor.compute.module = module;
  descriptor.compute.entryPoint = (WGPUStringView){"main", WGPU_STRLEN};
  /* Not the asynchronous call: wgpu-native has none. */
  WGPUComputePipeline made = wgpuDeviceCreateComputePipeline(gpu->device, &descriptor);
  wgpuPipelineLayoutRelease(layout);
  wgpuShaderModuleRelease(module);
  return made;
}

static void native_pipeline_close(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, id);
  if (!pipeline) return;
  if (pipeline->pipeline) wgpuComputePipelineRelease(pipeline->pipeline);
  if (pipeline->layout) wgpuBindGroupLayoutRelease(pipeline->layout);
  if (!pipeline->done) gpu->waiting--;
  weft_heap_release(gpu->heap, pipeline->failure, sizeof *pipeline->failure);
  weft_slots_give(&gpu->pipelines, pipeline);
}

static weft_status open_arena(native_driver *gpu, weft_error *error) {
  if (gpu->arena) return WEFT_OK;
  if (!gpu->arena_bytes) gpu->arena_bytes = weft_heap_allocate(gpu->heap, WEFT_NATIVE_ARENA);
  if (!gpu->arena_bytes)
    return weft_heap_fail(gpu->heap, WEFT_NATIVE_ARENA, "parameters of shaders", error);
  gpu->arena =
      weft_native_buffer(gpu, WEFT_NATIVE_ARENA, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst);
  return weft_native_kept(gpu, error);
}

static weft_status native_pipeline_open(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                                        weft_gpu_id *out, weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(weft_native_kept(gpu, error));
  if (pipeline->param_words && !pipeline->immediates) WEFT_TRY(open_arena(gpu, error));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->pipelines, &item, error));
  native_pipeline *made = item;
  weft_gpu_id id = made->slot.id;
  made->binding_count = pipeline->binding_count;
  made->param_words = pipeline->param_words;
  made->immediates = pipeline->immediates;
  weft_text label = {.buffer = made->label, .size = sizeof made->label};
  weft_text_add(&label, "%s", pipeline->label);
  gpu->waiting++;
  wgpuDevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
  made->layout = make_layout(gpu, pipeline);
  made->pipeline = make_pipeline(gpu, pipeline, made->layout);
  WGPUPopErrorScopeCallbackInfo info = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                        .callback = on_compiled,
                                        .userdata1 = gpu,
                                        .userdata2 = (void *)(uintptr_t)id};
  wgpuDevicePopErrorScope(gpu->device, info);
  weft_status status = weft_native_kept(gpu, error);
  if (status != WEFT_OK)
    native_pipeline_close(driver, id);
  else
    *out = id;
  return status;
}

static weft_status native_pipeline_state(weft_gpu_driver *driver, weft_gpu_id id,
                                         weft_error *error) {
  native_driver *gpu = native_of(driver);
  WEFT_TRY(weft_native_kept(gpu, error));
  const native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, id);
  if (!pipeline) return no_object(error, "pipeline", id);
  if (!pipeline->done) return WEFT_PENDING;
  if (!pipeline->failure) return WEFT_OK;
  return weft_fail(error, pipeline->failure->status, "%s", pipeline->failure->message);
}

/* ---- bind groups ----------------------------------------------------------------------------- */

static void native_group_close(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_group *group = weft_slots_find(&gpu->groups, id);
  if (group && group->group) wgpuBindGroupRelease(group->group);
  weft_slots_give(&gpu->groups, group);
}

static WGPUBindGroup make_group(const native_driver *gpu, const native_pipeline *pipeline,
                                WGPUBindGroupEntry *entries, uint32_t count) {
  if (pipeline->param_words && !pipeline->immediates) {
    entries[count] = (WGPUBindGroupEntry)WGPU_BIND_GROUP_ENTRY_INIT;
    entries[count].binding = count;
    entries[count].buffer = gpu->arena;
    entries[count].size = weft_align_up(4 * pipeline->param_words, 16);
    count++;
  }
  WGPUBindGroupDescriptor descriptor = WGPU_BIND_GROUP_DESCRIPTOR_INIT;
  descriptor.label = (WGPUStringView){pipeline->label, WGPU_STRLEN};
  descriptor.layout = pipeline->layout;
  descriptor.entryCount = count;
  descriptor.entries = entries;
  return wgpuDeviceCreateBindGroup(gpu->device, &descriptor);
}

static weft_status native_group_open(weft_gpu_driver *driver, weft_gpu_id pipeline_id,
                                     const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                                     weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(native_pipeline_state(driver, pipeline_id, error));
  const native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, pipeline_id);
  if (count != pipeline->binding_count)
    return weft_fail(error, WEFT_INTERNAL, "%u buffers for %u bindings", count,
                     pipeline->binding_count);
  WGPUBindGroupEntry entries[WEFT_GPU_BINDINGS_MAX + 1];
  for (uint32_t i = 0; i < count; i++) {
    const native_buffer *buffer = weft_slots_find(&gpu->buffers, buffers[i]);
    if (!buffer) return no_object(error, "buffer", buffers[i]);
    entries[i] = (WGPUBindGroupEntry)WGPU_BIND_GROUP_ENTRY_INIT;
    entries[i].binding = i;
    entries[i].buffer = buffer->buffer;
    entries[i].size = buffer->bytes;
  }
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->groups, &item, error));
  native_group *group = item;
  group->group = make_group(gpu, pipeline, entries, count);
  weft_status status = weft_native_kept(gpu, error);
  if (status != WEFT_OK)
    native_group_close(driver, group->slot.id);
  else
    *out = group->slot.id;
  return status;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* One trip to the queue while it is encoded. */
typedef struct encoding {
  native_driver *gpu;
  WGPUCommandEncoder encoder;
  WGPUComputePassEncoder pass; /* NULL: none is open */
  weft_gpu_id pipeline;        /* set in the pass; 0: none */
  uint32_t arena_used;
} encoding;

static void end_pass(encoding *state) {
  if (!state->pass) return;
  wgpuComputePassEncoderEnd(state->pass);
  wgpuComputePassEncoderRelease(state->pass);
  state->pass = NULL;
  state->pipeline = 0;
}

static void start_encoding(encoding *state) {
  state->encoder = wgpuDeviceCreateCommandEncoder(state->gpu->device, NULL);
  state->arena_used = 0;
}

static weft_status finish_encoding(encoding *state, weft_error *error) {
  native_driver *gpu = state->gpu;
  end_pass(state);
  if (state->arena_used)
    wgpuQueueWriteBuffer(gpu->queue, gpu->arena, 0, gpu->arena_bytes, state->arena_used);
  WGPUCommandEncoder encoder = state->encoder;
  state->encoder = NULL;
  return submit_encoder(gpu, encoder, error);
}

/* Parameters as immediates, or in the arena; sets the bind group. */
static void set_params(encoding *state, const native_pipeline *pipeline, WGPUBindGroup group,
                       const uint32_t *params) {
  size_t bytes = 4 * pipeline->param_words;
  if (bytes == 0 || pipeline->immediates) {
    wgpuComputePassEncoderSetBindGroup(state->pass, 0, group, 0, NULL);
    if (bytes) wgpuComputePassEncoderSetImmediates(state->pass, 0, params, bytes);
    return;
  }
  memcpy(state->gpu->arena_bytes + state->arena_used, params, bytes);
  wgpuComputePassEncoderSetBindGroup(state->pass, 0, group, 1, &state->arena_used);
  state->arena_used += (uint32_t)weft_align_up(bytes, state->gpu->arena_alignment);
}

static weft_status dispatch(encoding *state, const uint32_t *words, uint32_t count,
                            weft_error *error) {
  native_driver *gpu = state->gpu;
  const native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, words[1]);
  const native_group *group = weft_slots_find(&gpu->groups, words[2]);
  if (!pipeline) return no_object(error, "pipeline", words[1]);
  if (!group) return no_object(error, "bind group", words[2]);
  if (count != 6 + pipeline->param_words)
    return weft_fail(error, WEFT_INTERNAL, "a dispatch with %u parameters instead of %u", count - 6,
                     pipeline->param_words);
  if (state->arena_used > WEFT_NATIVE_ARENA - 4 * WEFT_GPU_PARAMS_MAX) {
    WEFT_TRY(finish_encoding(state, error));
    start_encoding(state);
  }
  if (!state->pass) state->pass = wgpuCommandEncoderBeginComputePass(state->encoder, NULL);
  if (state->pipeline != words[1])
    wgpuComputePassEncoderSetPipeline(state->pass, pipeline->pipeline);
  state->pipeline = words[1];
  set_params(state, pipeline, group->group, words + 6);
  wgpuComputePassEncoderDispatchWorkgroups(state->pass, words[3], words[4], words[5]);
  return WEFT_OK;
}

static weft_status copy(encoding *state, const uint32_t *words, weft_error *error) {
  const native_buffer *from = weft_slots_find(&state->gpu->buffers, words[1]);
  const native_buffer *to = weft_slots_find(&state->gpu->buffers, words[4]);
  if (!from) return no_object(error, "buffer", words[1]);
  if (!to) return no_object(error, "buffer", words[4]);
  end_pass(state);
  wgpuCommandEncoderCopyBufferToBuffer(
      state->encoder, from->buffer, words[2] | (uint64_t)words[3] << 32, to->buffer,
      words[5] | (uint64_t)words[6] << 32, words[7] | (uint64_t)words[8] << 32);
  return WEFT_OK;
}

/* The end of a pass that does nothing: when all before has ended. */
static weft_status take_time(encoding *state, uint32_t n, weft_error *error) {
  if (!state->gpu->times || n >= WEFT_GPU_TIMES)
    return weft_fail(error, WEFT_INTERNAL, "the GPU has no timestamp %u", n);
  end_pass(state);
  WGPUPassTimestampWrites writes = WGPU_PASS_TIMESTAMP_WRITES_INIT;
  writes.querySet = state->gpu->times;
  writes.endOfPassWriteIndex = n;
  WGPUComputePassDescriptor descriptor = WGPU_COMPUTE_PASS_DESCRIPTOR_INIT;
  descriptor.timestampWrites = &writes;
  state->pass = wgpuCommandEncoderBeginComputePass(state->encoder, &descriptor);
  end_pass(state);
  return WEFT_OK;
}

static weft_status encode(encoding *state, const uint32_t *words, uint32_t count,
                          weft_error *error) {
  switch ((weft_gpu_command)(words[0] & 0xff)) {
  case WEFT_GPU_DISPATCH:
    if (count >= 6) return dispatch(state, words, count, error);
    break;
  case WEFT_GPU_COPY:
    if (count == 9) return copy(state, words, error);
    break;
  case WEFT_GPU_TIME:
    if (count == 2) return take_time(state, words[1], error);
    break;
  }
  return weft_fail(error, WEFT_INTERNAL, "the GPU has no command %x", words[0]);
}

static weft_status native_submit(weft_gpu_driver *driver, const uint32_t *table, uint64_t words,
                                 weft_error *error) {
  native_driver *gpu = native_of(driver);
  WEFT_TRY(weft_native_kept(gpu, error));
  encoding state = {.gpu = gpu};
  start_encoding(&state);
  for (uint64_t i = 0; i < words;) {
    uint32_t count = table[i] >> 8;
    weft_status status = WEFT_OK;
    if (count == 0 || count > words - i)
      status = weft_fail(error, WEFT_INTERNAL, "a table of commands breaks off");
    else
      status = encode(&state, table + i, count, error);
    if (status != WEFT_OK) {
      end_pass(&state);
      if (state.encoder) wgpuCommandEncoderRelease(state.encoder);
      return status;
    }
    i += count;
  }
  gpu->written = 0;
  return finish_encoding(&state, error);
}

/* ---- all of it ------------------------------------------------------------------------------- */

void weft_native_drop_work(native_driver *gpu) {
  weft_slot *item;
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->reads, &i)) != NULL;)
    native_read_drop(&gpu->driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->groups, &i)) != NULL;)
    native_group_close(&gpu->driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->pipelines, &i)) != NULL;)
    native_pipeline_close(&gpu->driver, item->id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->buffers, &i)) != NULL;)
    native_buffer_close(&gpu->driver, item->id);
  weft_slots_release(&gpu->reads);
  weft_slots_release(&gpu->groups);
  weft_slots_release(&gpu->pipelines);
  weft_slots_release(&gpu->buffers);
}

const weft_gpu_driver weft_native_work = {
    .buffer_open = native_buffer_open,
    .buffer_close = native_buffer_close,
    .write = native_write,
    .read = native_read_open,
    .read_state = native_read_state,
    .read_drop = native_read_drop,
    .pipeline_open = native_pipeline_open,
    .pipeline_state = native_pipeline_state,
    .pipeline_close = native_pipeline_close,
    .group_open = native_group_open,
    .group_close = native_group_close,
    .submit = native_submit,
    .read_times = native_read_times,
};
