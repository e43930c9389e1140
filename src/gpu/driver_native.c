/* driver_native.c - the driver for native programs, over webgpu.h: wgpu-native, or Dawn. The only
 * file of the GPU device that uses the C library and the system.
 *
 * The library is linked, not loaded by name at run time: who configures Weft with WEFT_WEBGPU has
 * chosen one and says where it lies, a program's package manager sees what it needs, and calls need
 * no table of some fifty functions. A build without it has driver_none.c in this one's place.
 *
 * Callbacks run only in wgpuInstanceProcessEvents or inside the call that caused them, on the
 * calling thread. They get the object's number, not its address: it may be gone by then. */
#define _POSIX_C_SOURCE 200809L
#include <time.h>

#include <webgpu.h>
#if __has_include(<wgpu.h>)
#include <wgpu.h>
#endif

#include "base/checked.h"
#include "base/memory.h"
#include "gpu/driver.h"
#include "gpu/slots.h"

/* Bytes of parameters that one submit to the queue may have; a table with more takes several. */
#define ARENA_BYTES (256u << 10)
/* Staging buffers up to this size are kept for the next read. */
#define STAGING_KEPT_BYTES (1u << 20)
/* Bytes written that the queue may hold back; more are sent off without waiting for a submit. */
#define WRITES_HELD_BYTES (32u << 20)
/* The longest that poll waits, and that opening a device may take. */
#define WAIT_NS 1000000000u
#define OPEN_NS 10000000000u

typedef struct native_buffer {
  weft_slot slot;
  WGPUBuffer buffer;
  uint64_t bytes;
} native_buffer;

typedef struct native_pipeline {
  weft_slot slot;
  WGPUComputePipeline pipeline;
  WGPUBindGroupLayout layout;
  uint32_t binding_count, param_words;
  bool immediates;
  bool done;           /* the compiler has answered */
  weft_error *failure; /* what it said; NULL: it has succeeded */
} native_pipeline;

typedef struct native_group {
  weft_slot slot;
  WGPUBindGroup group;
} native_group;

typedef enum read_state { READ_PENDING, READ_MAPPED, READ_FAILED } read_state;

typedef struct native_read {
  weft_slot slot;
  WGPUBuffer staging;
  uint64_t staging_bytes, bytes;
  void *to;
  bool is_times;
  read_state state;
} native_read;

typedef struct native_driver {
  weft_gpu_driver driver; /* first: the two are cast into one another */
  weft_heap *heap;
  WGPUInstance instance;
  WGPUAdapter adapter;
  WGPUDevice device;
  WGPUQueue queue;
  weft_slots buffers, pipelines, groups, reads;
  WGPUBuffer spare; /* a staging buffer that no read uses */
  uint64_t spare_bytes;
  WGPUQuerySet times;
  WGPUBuffer times_buffer;
  WGPUBuffer arena; /* parameters as uniforms: made for the first pipeline that has some */
  unsigned char *arena_bytes;
  uint32_t arena_alignment;
  float period; /* nanoseconds of one tick of a timestamp */
  uint64_t written;
  uint64_t events;  /* callbacks so far */
  uint32_t waiting; /* reads and pipelines that wait for a callback */
  bool lost;
  weft_error kept; /* for the next call that has a status; status WEFT_OK: none */
} native_driver;

static native_driver *native_of(weft_gpu_driver *driver) {
  return (native_driver *)(void *)driver;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static bool contains(WGPUStringView text, const char *part) {
  size_t length = text.length == WGPU_STRLEN ? (text.data ? strlen(text.data) : 0) : text.length;
  size_t part_length = strlen(part);
  for (size_t i = 0; i + part_length <= length; i++)
    if (memcmp(text.data + i, part, part_length) == 0) return true;
  return false;
}

/* The message without wgpu's first lines, which say no more than that it is one, as far as there
 * is room. */
static weft_status fail_view(weft_error *error, weft_status status, const char *what,
                             WGPUStringView text) {
  static const char head[] = "Validation Error\n\nCaused by:\n";
  size_t length = text.length == WGPU_STRLEN ? (text.data ? strlen(text.data) : 0) : text.length;
  const char *data = text.data ? text.data : "";
  if (length >= sizeof head - 1 && memcmp(data, head, sizeof head - 1) == 0) {
    data += sizeof head - 1;
    length -= sizeof head - 1;
  }
  while (length && (*data == ' ' || *data == '\n')) data++, length--;
  while (length && (data[length - 1] == ' ' || data[length - 1] == '\n')) length--;
  return weft_fail(error, status, "%s: %.*s", what, (int)(length < 480 ? length : 480), data);
}

static void keep_lost(native_driver *gpu, WGPUStringView message) {
  gpu->events++;
  if (gpu->lost) return;
  gpu->lost = true;
  fail_view(&gpu->kept, WEFT_DEVICE_LOST, "the GPU device is lost", message);
}

static void on_lost(WGPUDevice const *device, WGPUDeviceLostReason reason, WGPUStringView message,
                    void *user, void *unused) {
  (void)device, (void)reason, (void)unused;
  keep_lost(user, message);
}

static void on_error(WGPUDevice const *device, WGPUErrorType type, WGPUStringView message,
                     void *user, void *unused) {
  (void)device, (void)unused;
  native_driver *gpu = user;
  /* wgpu says of a device that was destroyed nothing but this. */
  if (contains(message, "device is lost")) {
    keep_lost(gpu, message);
    return;
  }
  gpu->events++;
  if (gpu->kept.status != WEFT_OK) return;
  bool memory = type == WGPUErrorType_OutOfMemory;
  fail_view(&gpu->kept, memory ? WEFT_OUT_OF_MEMORY : WEFT_INTERNAL, "WebGPU", message);
}

/* The failure that was kept, once; a lost device's always. */
static weft_status kept(native_driver *gpu, weft_error *error) {
  weft_status status = gpu->kept.status;
  if (status == WEFT_OK) return WEFT_OK;
  weft_fail(error, status, "%s", gpu->kept.message);
  if (!gpu->lost) gpu->kept.status = WEFT_OK;
  return status;
}

static weft_status no_object(weft_error *error, const char *what, weft_gpu_id id) {
  return weft_fail(error, WEFT_INTERNAL, "the GPU has no open %s %u", what, id);
}

/* ---- buffers --------------------------------------------------------------------------------- */

static WGPUBuffer make_buffer(const native_driver *gpu, uint64_t bytes, WGPUBufferUsage usage) {
  WGPUBufferDescriptor descriptor = WGPU_BUFFER_DESCRIPTOR_INIT;
  descriptor.size = bytes;
  descriptor.usage = usage;
  return wgpuDeviceCreateBuffer(gpu->device, &descriptor);
}

static void drop_buffer(WGPUBuffer *buffer) {
  if (*buffer) {
    wgpuBufferDestroy(*buffer);
    wgpuBufferRelease(*buffer);
  }
  *buffer = NULL;
}

static void native_buffer_close(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  if (buffer) drop_buffer(&buffer->buffer);
  weft_slots_give(&gpu->buffers, buffer);
}

static weft_status native_buffer_open(weft_gpu_driver *driver, uint64_t bytes, weft_gpu_id *out,
                                      weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(kept(gpu, error));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->buffers, &item, error));
  native_buffer *buffer = item;
  buffer->bytes = bytes;
  buffer->buffer = make_buffer(
      gpu, bytes, WGPUBufferUsage_Storage | WGPUBufferUsage_CopySrc | WGPUBufferUsage_CopyDst);
  weft_status status = kept(gpu, error);
  if (status != WEFT_OK)
    native_buffer_close(driver, buffer->slot.id);
  else
    *out = buffer->slot.id;
  return status;
}

/* wgpu keeps a copy of what is written until the next submit: weights would be in memory twice. */
static void limit_writes(native_driver *gpu, uint64_t length) {
  gpu->written += length;
  if (gpu->written < WRITES_HELD_BYTES) return;
  gpu->written = 0;
  wgpuQueueSubmit(gpu->queue, 0, NULL);
  wgpuInstanceProcessEvents(gpu->instance);
}

static weft_status native_write(weft_gpu_driver *driver, weft_gpu_id id, uint64_t offset,
                                const void *bytes, uint64_t length, weft_error *error) {
  native_driver *gpu = native_of(driver);
  WEFT_TRY(kept(gpu, error));
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
  return kept(gpu, error);
}

/* ---- reads ----------------------------------------------------------------------------------- */

static void on_mapped(WGPUMapAsyncStatus status, WGPUStringView message, void *user, void *id) {
  native_driver *gpu = user;
  native_read *read = weft_slots_find(&gpu->reads, (weft_gpu_id)(uintptr_t)id);
  gpu->events++;
  if (!read) return;
  gpu->waiting--;
  read->state = status == WGPUMapAsyncStatus_Success ? READ_MAPPED : READ_FAILED;
  if (read->state == READ_FAILED && gpu->kept.status == WEFT_OK)
    fail_view(&gpu->kept, WEFT_INTERNAL, "WebGPU could not read back", message);
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
  read->staging =
      make_buffer(gpu, read->staging_bytes, WGPUBufferUsage_MapRead | WGPUBufferUsage_CopyDst);
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
    drop_buffer(&gpu->spare);
    gpu->spare = staging;
    gpu->spare_bytes = bytes;
  } else {
    drop_buffer(&staging);
  }
}

static void submit_encoder(const native_driver *gpu, WGPUCommandEncoder encoder) {
  WGPUCommandBuffer commands = wgpuCommandEncoderFinish(encoder, NULL);
  wgpuCommandEncoderRelease(encoder);
  wgpuQueueSubmit(gpu->queue, 1, &commands);
  wgpuCommandBufferRelease(commands);
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
  gpu->waiting++;
  take_staging(gpu, read);
  weft_status status = kept(gpu, error);
  if (status == WEFT_OK) {
    WGPUCommandEncoder encoder = wgpuDeviceCreateCommandEncoder(gpu->device, NULL);
    if (from == gpu->times_buffer)
      wgpuCommandEncoderResolveQuerySet(encoder, gpu->times, 0, (uint32_t)(length / 8), from, 0);
    wgpuCommandEncoderCopyBufferToBuffer(encoder, from, offset, read->staging, 0, length);
    submit_encoder(gpu, encoder);
    status = kept(gpu, error);
  }
  if (status == WEFT_OK) {
    WGPUBufferMapCallbackInfo info = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                      .callback = on_mapped,
                                      .userdata1 = gpu,
                                      .userdata2 = (void *)(uintptr_t)id};
    wgpuBufferMapAsync(read->staging, WGPUMapMode_Read, 0, (size_t)length, info);
    status = kept(gpu, error);
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
  WEFT_TRY(kept(gpu, error));
  const native_buffer *buffer = weft_slots_find(&gpu->buffers, id);
  if (!buffer) return no_object(error, "buffer", id);
  return start_read(gpu, buffer->buffer, offset, length, to, out, error);
}

static weft_status native_read_times(weft_gpu_driver *driver, uint32_t count, uint64_t *to,
                                     weft_gpu_id *out, weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(kept(gpu, error));
  if (!gpu->times || count == 0 || count > WEFT_GPU_TIMES)
    return weft_fail(error, WEFT_INTERNAL, "the GPU has no %u timestamps", count);
  WEFT_TRY(start_read(gpu, gpu->times_buffer, 0, 8 * count, to, out, error));
  native_read *read = weft_slots_find(&gpu->reads, *out);
  read->is_times = true;
  return WEFT_OK;
}

static void finish_read(native_driver *gpu, const native_read *read) {
  memcpy(read->to, wgpuBufferGetConstMappedRange(read->staging, 0, (size_t)read->bytes),
         (size_t)read->bytes);
  if (!read->is_times || gpu->period == 1) return;
  uint64_t *times = read->to;
  for (uint64_t i = 0; i < read->bytes / 8; i++)
    times[i] = (uint64_t)((double)times[i] * (double)gpu->period);
}

static weft_status native_read_state(weft_gpu_driver *driver, weft_gpu_id id, weft_error *error) {
  native_driver *gpu = native_of(driver);
  native_read *read = weft_slots_find(&gpu->reads, id);
  if (!read) return no_object(error, "read", id);
  weft_status status = kept(gpu, error);
  if (status == WEFT_OK && read->state == READ_PENDING) return WEFT_PENDING;
  if (status == WEFT_OK && read->state == READ_FAILED)
    status = weft_fail(error, WEFT_INTERNAL, "WebGPU could not read back");
  if (status == WEFT_OK) finish_read(gpu, read);
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
  if (contains(message, "device is lost")) keep_lost(gpu, message);
  pipeline->failure = weft_heap_allocate(gpu->heap, sizeof *pipeline->failure);
  if (pipeline->failure)
    fail_view(pipeline->failure, WEFT_INTERNAL, "the shader does not compile", message);
  else if (gpu->kept.status == WEFT_OK)
    weft_heap_fail(gpu->heap, sizeof *pipeline->failure, "a message", &gpu->kept);
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

static void close_pipeline(native_driver *gpu, native_pipeline *pipeline) {
  if (pipeline->pipeline) wgpuComputePipelineRelease(pipeline->pipeline);
  if (pipeline->layout) wgpuBindGroupLayoutRelease(pipeline->layout);
  if (!pipeline->done) gpu->waiting--;
  weft_heap_release(gpu->heap, pipeline->failure, sizeof *pipeline->failure);
  weft_slots_give(&gpu->pipelines, pipeline);
}

static void native_pipeline_close(weft_gpu_driver *driver, weft_gpu_id id) {
  native_driver *gpu = native_of(driver);
  native_pipeline *pipeline = weft_slots_find(&gpu->pipelines, id);
  if (pipeline) close_pipeline(gpu, pipeline);
}

static weft_status open_arena(native_driver *gpu, weft_error *error) {
  if (gpu->arena) return WEFT_OK;
  if (!gpu->arena_bytes) gpu->arena_bytes = weft_heap_allocate(gpu->heap, ARENA_BYTES);
  if (!gpu->arena_bytes)
    return weft_heap_fail(gpu->heap, ARENA_BYTES, "parameters of shaders", error);
  gpu->arena = make_buffer(gpu, ARENA_BYTES, WGPUBufferUsage_Uniform | WGPUBufferUsage_CopyDst);
  return kept(gpu, error);
}

static weft_status native_pipeline_open(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                                        weft_gpu_id *out, weft_error *error) {
  native_driver *gpu = native_of(driver);
  *out = 0;
  WEFT_TRY(kept(gpu, error));
  if (pipeline->param_words && !pipeline->immediates) WEFT_TRY(open_arena(gpu, error));
  void *item;
  WEFT_TRY(weft_slots_take(&gpu->pipelines, &item, error));
  native_pipeline *made = item;
  weft_gpu_id id = made->slot.id;
  made->binding_count = pipeline->binding_count;
  made->param_words = pipeline->param_words;
  made->immediates = pipeline->immediates;
  gpu->waiting++;
  wgpuDevicePushErrorScope(gpu->device, WGPUErrorFilter_Validation);
  made->layout = make_layout(gpu, pipeline);
  made->pipeline = make_pipeline(gpu, pipeline, made->layout);
  WGPUPopErrorScopeCallbackInfo info = {.mode = WGPUCallbackMode_AllowProcessEvents,
                                        .callback = on_compiled,
                                        .userdata1 = gpu,
                                        .userdata2 = (void *)(uintptr_t)id};
  wgpuDevicePopErrorScope(gpu->device, info);
  weft_status status = kept(gpu, error);
  if (status != WEFT_OK)
    native_pipeline_close(driver, id);
  else
    *out = id;
  return status;
}

static weft_status native_pipeline_state(weft_gpu_driver *driver, weft_gpu_id id,
                                         weft_error *error) {
  native_driver *gpu = native_of(driver);
  WEFT_TRY(kept(gpu, error));
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
  weft_status status = kept(gpu, error);
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

static void finish_encoding(encoding *state) {
  native_driver *gpu = state->gpu;
  end_pass(state);
  if (state->arena_used)
    wgpuQueueWriteBuffer(gpu->queue, gpu->arena, 0, gpu->arena_bytes, state->arena_used);
  submit_encoder(gpu, state->encoder);
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
  if (state->arena_used > ARENA_BYTES - 4 * WEFT_GPU_PARAMS_MAX) {
    finish_encoding(state);
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
  WEFT_TRY(kept(gpu, error));
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
      wgpuCommandEncoderRelease(state.encoder);
      return status;
    }
    i += count;
  }
  finish_encoding(&state);
  gpu->written = 0;
  return kept(gpu, error);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Lets callbacks run until there was one, for at most `limit` ns. webgpu.h has no wait that both
 * libraries support; short sleeps cost a waiting thread little, and find a lost device too. */
static void wait_for_event(native_driver *gpu, uint64_t limit) {
  uint64_t events = gpu->events, start = now_ns();
  struct timespec pause = {.tv_nsec = 20000};
  for (;;) {
    wgpuInstanceProcessEvents(gpu->instance);
    if (gpu->events != events || now_ns() - start > limit) return;
    nanosleep(&pause, NULL);
    if (pause.tv_nsec < 500000) pause.tv_nsec += pause.tv_nsec / 4;
  }
}

static weft_status native_poll(weft_gpu_driver *driver, bool wait, weft_error *error) {
  native_driver *gpu = native_of(driver);
  wait_for_event(gpu, wait && gpu->waiting ? WAIT_NS : 0);
  return kept(gpu, error);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void native_close(weft_gpu_driver *driver) {
  native_driver *gpu = native_of(driver);
  void *item;
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->reads, &i)) != NULL;) close_read(gpu, item);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->groups, &i)) != NULL;)
    native_group_close(driver, ((native_group *)item)->slot.id);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->pipelines, &i)) != NULL;)
    close_pipeline(gpu, item);
  for (uint32_t i = 0; (item = weft_slots_next(&gpu->buffers, &i)) != NULL;)
    native_buffer_close(driver, ((native_buffer *)item)->slot.id);
  drop_buffer(&gpu->spare);
  drop_buffer(&gpu->times_buffer);
  drop_buffer(&gpu->arena);
  if (gpu->times) wgpuQuerySetRelease(gpu->times);
  if (gpu->queue) wgpuQueueRelease(gpu->queue);
  if (gpu->device) wgpuDeviceRelease(gpu->device);
  if (gpu->adapter) wgpuAdapterRelease(gpu->adapter);
  if (gpu->instance) {
    wgpuInstanceProcessEvents(gpu->instance);
    wgpuInstanceRelease(gpu->instance);
  }
  weft_slots_release(&gpu->reads);
  weft_slots_release(&gpu->groups);
  weft_slots_release(&gpu->pipelines);
  weft_slots_release(&gpu->buffers);
  weft_heap_release(gpu->heap, gpu->arena_bytes, ARENA_BYTES);
  weft_heap_release(gpu->heap, gpu, sizeof *gpu);
}

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *user, void *unused) {
  (void)status, (void)unused;
  native_driver *gpu = user;
  gpu->adapter = adapter;
  gpu->events++;
  if (!adapter) fail_view(&gpu->kept, WEFT_UNSUPPORTED, "WebGPU finds no adapter", message);
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message,
                      void *user, void *unused) {
  (void)status, (void)unused;
  native_driver *gpu = user;
  gpu->device = device;
  gpu->events++;
  if (!device) fail_view(&gpu->kept, WEFT_UNSUPPORTED, "WebGPU opens no device", message);
}

static void copy_view(char *to, size_t size, WGPUStringView text) {
  size_t length = text.length == WGPU_STRLEN ? (text.data ? strlen(text.data) : 0) : text.length;
  if (length > size - 1) length = size - 1;
  if (length) memcpy(to, text.data, length);
  to[length] = 0;
}

static void read_info(native_driver *gpu) {
  weft_gpu_facts *facts = &gpu->driver.facts;
  WGPUAdapterInfo info = WGPU_ADAPTER_INFO_INIT;
  wgpuAdapterGetInfo(gpu->adapter, &info);
  copy_view(facts->vendor, sizeof facts->vendor, info.vendor);
  copy_view(facts->architecture, sizeof facts->architecture, info.architecture);
  copy_view(facts->device, sizeof facts->device, info.device);
  copy_view(facts->description, sizeof facts->description, info.description);
  facts->is_software = info.adapterType == WGPUAdapterType_CPU;
  facts->subgroup_min = info.subgroupMinSize ? info.subgroupMinSize : 4;
  facts->subgroup_max = info.subgroupMaxSize ? info.subgroupMaxSize : 128;
  wgpuAdapterInfoFreeMembers(info);
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool holds(const char *text, const char *part) {
  for (;; text++) {
    size_t i = 0;
    while (part[i] && lower(text[i]) == lower(part[i])) i++;
    if (!part[i]) return true;
    if (!*text) return false;
  }
}

static bool is_named(const weft_gpu_facts *facts, const char *name) {
  return holds(facts->vendor, name) || holds(facts->architecture, name) ||
         holds(facts->device, name) || holds(facts->description, name);
}

/* The adapters that WebGPU lets one ask for: the fast one, the frugal one, the CPU. */
static weft_status open_adapter(native_driver *gpu, const char *name, weft_error *error) {
  for (int i = 0; i < 3; i++) {
    WGPURequestAdapterOptions options = WGPU_REQUEST_ADAPTER_OPTIONS_INIT;
    if (i < 2)
      options.powerPreference =
          i == 0 ? WGPUPowerPreference_HighPerformance : WGPUPowerPreference_LowPower;
    options.forceFallbackAdapter = i == 2;
    WGPURequestAdapterCallbackInfo info = {
        .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_adapter, .userdata1 = gpu};
    wgpuInstanceRequestAdapter(gpu->instance, &options, info);
    if (!gpu->adapter && gpu->kept.status == WEFT_OK) wait_for_event(gpu, OPEN_NS);
    if (gpu->adapter) {
      read_info(gpu);
      if (!name || is_named(&gpu->driver.facts, name)) {
        gpu->kept.status = WEFT_OK;
        return WEFT_OK;
      }
      wgpuAdapterRelease(gpu->adapter);
      gpu->adapter = NULL;
    }
  }
  WEFT_TRY(kept(gpu, error));
  return weft_fail(error, WEFT_UNSUPPORTED, "WebGPU has no adapter named '%s'", name ? name : "");
}

/* A feature, if the adapter has it. */
static bool want(const native_driver *gpu, WGPUFeatureName *wanted, size_t *count, int feature) {
  if (!wgpuAdapterHasFeature(gpu->adapter, (WGPUFeatureName)feature)) return false;
  wanted[(*count)++] = (WGPUFeatureName)feature;
  return true;
}

static size_t choose_features(native_driver *gpu, WGPUFeatureName *wanted) {
  weft_gpu_facts *facts = &gpu->driver.facts;
  size_t count = 0;
  facts->f16 = want(gpu, wanted, &count, WGPUFeatureName_ShaderF16);
  facts->timestamps = want(gpu, wanted, &count, WGPUFeatureName_TimestampQuery);
  facts->subgroups = want(gpu, wanted, &count, WGPUFeatureName_Subgroups);
#ifdef WGPU_H_
  want(gpu, wanted, &count, WGPUNativeFeature_Immediates);
  if (!facts->subgroups) {
    facts->subgroups = want(gpu, wanted, &count, WGPUNativeFeature_Subgroup);
    facts->subgroups_implied = facts->subgroups;
    want(gpu, wanted, &count, WGPUNativeFeature_SubgroupBarrier);
  }
#endif
  return count;
}

static weft_status open_device(native_driver *gpu, weft_error *error) {
  WGPULimits limits = WGPU_LIMITS_INIT;
  wgpuAdapterGetLimits(gpu->adapter, &limits);
  WGPUFeatureName wanted[8];
  WGPUDeviceDescriptor descriptor = WGPU_DEVICE_DESCRIPTOR_INIT;
  descriptor.requiredFeatureCount = choose_features(gpu, wanted);
  descriptor.requiredFeatures = wanted;
  descriptor.requiredLimits = &limits;
  descriptor.deviceLostCallbackInfo = (WGPUDeviceLostCallbackInfo){
      .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_lost, .userdata1 = gpu};
  descriptor.uncapturedErrorCallbackInfo =
      (WGPUUncapturedErrorCallbackInfo){.callback = on_error, .userdata1 = gpu};
  WGPURequestDeviceCallbackInfo info = {
      .mode = WGPUCallbackMode_AllowProcessEvents, .callback = on_device, .userdata1 = gpu};
  wgpuAdapterRequestDevice(gpu->adapter, &descriptor, info);
  if (!gpu->device && gpu->kept.status == WEFT_OK) wait_for_event(gpu, OPEN_NS);
  WEFT_TRY(kept(gpu, error));
  if (!gpu->device) return weft_fail(error, WEFT_UNSUPPORTED, "WebGPU does not answer");
  gpu->queue = wgpuDeviceGetQueue(gpu->device);
  return WEFT_OK;
}

static void read_limits(native_driver *gpu) {
  weft_gpu_facts *facts = &gpu->driver.facts;
  WGPULimits limits = WGPU_LIMITS_INIT;
  wgpuDeviceGetLimits(gpu->device, &limits);
  if (limits.maxImmediateSize != WGPU_LIMIT_U32_UNDEFINED)
    facts->immediate_bytes = limits.maxImmediateSize;
  facts->workgroup_storage = limits.maxComputeWorkgroupStorageSize;
  facts->workgroup_invocations = limits.maxComputeInvocationsPerWorkgroup;
  facts->workgroup_size[0] = limits.maxComputeWorkgroupSizeX;
  facts->workgroup_size[1] = limits.maxComputeWorkgroupSizeY;
  facts->workgroup_size[2] = limits.maxComputeWorkgroupSizeZ;
  facts->workgroups = limits.maxComputeWorkgroupsPerDimension;
  facts->storage_buffers = limits.maxStorageBuffersPerShaderStage;
  facts->buffer_bytes = limits.maxBufferSize & ~(uint64_t)15;
  facts->binding_bytes = limits.maxStorageBufferBindingSize & ~(uint64_t)15;
  gpu->arena_alignment = limits.minUniformBufferOffsetAlignment;
  if (gpu->arena_alignment < 16) gpu->arena_alignment = 16;
}

/* Whether a shader compiles: for what the library answers no question about. */
static bool compiles(native_driver *gpu, const char *body, uint32_t immediate_words) {
  weft_gpu_pipeline pipeline = {.label = "probe",
                                .wgsl = body,
                                .wgsl_length = strlen(body),
                                .param_words = immediate_words,
                                .immediates = immediate_words > 0};
  weft_gpu_id id;
  if (native_pipeline_open(&gpu->driver, &pipeline, &id, NULL) != WEFT_OK) return false;
  weft_status status;
  while ((status = native_pipeline_state(&gpu->driver, id, NULL)) == WEFT_PENDING)
    wait_for_event(gpu, WAIT_NS);
  native_pipeline_close(&gpu->driver, id);
  return status == WEFT_OK;
}

static void probe(native_driver *gpu) {
  weft_gpu_facts *facts = &gpu->driver.facts;
  facts->dot8 = compiles(gpu,
                         "var<workgroup> a: u32;\n"
                         "@compute @workgroup_size(1) fn main() {"
                         " a = u32(dot4I8Packed(a, a)) + dot4U8Packed(a, a); }",
                         0);
  if (facts->immediate_bytes && !compiles(gpu,
                                          "var<immediate> a: u32;\nvar<workgroup> b: u32;\n"
                                          "@compute @workgroup_size(1) fn main() { b = a; }",
                                          1))
    facts->immediate_bytes = 0;
}

static weft_status open_times(native_driver *gpu, weft_error *error) {
  gpu->period = 1;
  if (!gpu->driver.facts.timestamps) return WEFT_OK;
#ifdef WGPU_H_
  gpu->period = wgpuQueueGetTimestampPeriod(gpu->queue); /* wgpu-native gives ticks */
#endif
  WGPUQuerySetDescriptor descriptor = WGPU_QUERY_SET_DESCRIPTOR_INIT;
  descriptor.type = WGPUQueryType_Timestamp;
  descriptor.count = WEFT_GPU_TIMES;
  gpu->times = wgpuDeviceCreateQuerySet(gpu->device, &descriptor);
  gpu->times_buffer =
      make_buffer(gpu, 8 * WEFT_GPU_TIMES, WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc);
  return kept(gpu, error);
}

static const weft_gpu_driver functions = {
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
    .poll = native_poll,
    .close = native_close,
};

static weft_status open_parts(native_driver *gpu, const char *adapter, weft_error *error) {
  gpu->instance = wgpuCreateInstance(NULL);
  if (!gpu->instance) return weft_fail(error, WEFT_UNSUPPORTED, "WebGPU does not start");
  WEFT_TRY(open_adapter(gpu, adapter, error));
  WEFT_TRY(open_device(gpu, error));
  read_limits(gpu);
  probe(gpu);
  return open_times(gpu, error);
}

weft_status weft_gpu_native_open(weft_heap *heap, const char *adapter, weft_gpu_driver **out,
                                 weft_error *error) {
  *out = NULL;
  native_driver *gpu = weft_heap_allocate_zeroed(heap, sizeof *gpu);
  if (!gpu) return weft_heap_fail(heap, sizeof *gpu, "the GPU", error);
  gpu->driver = functions;
  gpu->heap = heap;
  weft_slots_init(&gpu->buffers, heap, "buffers", sizeof(native_buffer));
  weft_slots_init(&gpu->pipelines, heap, "pipelines", sizeof(native_pipeline));
  weft_slots_init(&gpu->groups, heap, "bind groups", sizeof(native_group));
  weft_slots_init(&gpu->reads, heap, "reads", sizeof(native_read));
  weft_status status = open_parts(gpu, adapter, error);
  if (status != WEFT_OK)
    native_close(&gpu->driver);
  else
    *out = &gpu->driver;
  return status;
}

void weft_gpu_native_lose(weft_gpu_driver *driver) {
  wgpuDeviceDestroy(native_of(driver)->device);
}
