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

#include "base/text.h"
#include "gpu/driver_native.h"

/* The longest that poll waits, and that opening a device may take. */
#define WAIT_NS 1000000000u
#define OPEN_NS 10000000000u

/* ---- errors ---------------------------------------------------------------------------------- */

static size_t length_of(WGPUStringView text) {
  if (!text.data) return 0;
  return text.length == WGPU_STRLEN ? strlen(text.data) : text.length;
}

/* What stands behind the first `part`; NULL: it is not there. */
static const char *behind(WGPUStringView text, const char *part) {
  size_t length = length_of(text), part_length = strlen(part);
  for (size_t i = 0; i + part_length <= length; i++)
    if (memcmp(text.data + i, part, part_length) == 0) return text.data + i + part_length;
  return NULL;
}

bool weft_native_says_lost(WGPUStringView message) {
  return behind(message, "device is lost") != NULL;
}

static void skip_to(WGPUStringView *text, const char *at) {
  text->length -= (size_t)(at - text->data);
  text->data = at;
}

/* In one line: spaces for every run of white space. */
static void add_words(weft_text *out, WGPUStringView text) {
  bool starts = true, space = false;
  for (size_t i = 0; i < text.length; i++) {
    bool is_space = text.data[i] == ' ' || text.data[i] == '\n';
    if (!is_space) weft_text_add(out, "%s%c", space && !starts ? " " : "", text.data[i]);
    starts = starts && is_space;
    space = is_space;
  }
}

/* wgpu's messages have lines before what matters, which say that it is an error and of which call,
 * and behind it a frame with the lines of the shader, of which only the place is kept. */
weft_status weft_native_fail(weft_error *error, weft_status status, const char *what,
                             WGPUStringView message) {
  char buffer[sizeof error->message];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  WGPUStringView left = {message.data, length_of(message)};
  const char *call = behind(left, "Caused by:\n  In "), *parsed = behind(left, "parsing error: ");
  if (call) skip_to(&left, call);
  if (call && behind(left, "\n")) skip_to(&left, behind(left, "\n"));
  if (parsed) skip_to(&left, parsed);
  const char *frame = behind(left, "\u250c\u2500"), *place = behind(left, "\u250c\u2500 wgsl:");
  WGPUStringView words = {left.data, frame ? (size_t)(frame - left.data) - 6 : left.length};
  add_words(&text, words);
  if (place) {
    skip_to(&left, place);
    const char *end = behind(left, "\n");
    int length = (int)(end ? end - 1 - place : 0);
    weft_text_add(&text, " (%.*s)", length, place);
  }
  return weft_fail(error, status, "%s: %s", what, text.length ? buffer : "no reason is given");
}

void weft_native_keep(native_driver *gpu, weft_status status, const char *what,
                      WGPUStringView message) {
  gpu->events++;
  if (weft_native_says_lost(message)) status = WEFT_DEVICE_LOST;
  if (gpu->lost || (gpu->kept.status != WEFT_OK && status != WEFT_DEVICE_LOST)) return;
  gpu->lost = status == WEFT_DEVICE_LOST;
  weft_native_fail(&gpu->kept, status, gpu->lost ? "the GPU device is lost" : what, message);
}

weft_status weft_native_kept(native_driver *gpu, weft_error *error) {
  weft_status status = gpu->kept.status;
  if (status == WEFT_OK) return WEFT_OK;
  weft_fail(error, status, "%s", gpu->kept.message);
  if (!gpu->lost) gpu->kept.status = WEFT_OK;
  return status;
}

static void on_lost(WGPUDevice const *device, WGPUDeviceLostReason reason, WGPUStringView message,
                    void *user, void *unused) {
  (void)device, (void)reason, (void)unused;
  weft_native_keep(user, WEFT_DEVICE_LOST, "", message);
}

static void on_error(WGPUDevice const *device, WGPUErrorType type, WGPUStringView message,
                     void *user, void *unused) {
  (void)device, (void)unused;
  bool memory = type == WGPUErrorType_OutOfMemory;
  weft_native_keep(user, memory ? WEFT_OUT_OF_MEMORY : WEFT_INTERNAL, "WebGPU", message);
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
    if (gpu->events != events || now_ns() - start >= limit) return;
    nanosleep(&pause, NULL);
    if (pause.tv_nsec < 500000) pause.tv_nsec += pause.tv_nsec / 4;
  }
}

static weft_status native_poll(weft_gpu_driver *driver, bool wait, weft_error *error) {
  native_driver *gpu = native_of(driver);
  wait_for_event(gpu, wait && gpu->waiting ? WAIT_NS : 0);
  return weft_native_kept(gpu, error);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void native_close(weft_gpu_driver *driver) {
  native_driver *gpu = native_of(driver);
  weft_native_drop_work(gpu);
  weft_native_drop_buffer(&gpu->spare);
  weft_native_drop_buffer(&gpu->times_buffer);
  weft_native_drop_buffer(&gpu->arena);
  if (gpu->times) wgpuQuerySetRelease(gpu->times);
  if (gpu->queue) wgpuQueueRelease(gpu->queue);
  if (gpu->device) wgpuDeviceRelease(gpu->device);
  if (gpu->adapter) wgpuAdapterRelease(gpu->adapter);
  if (gpu->instance) {
    wgpuInstanceProcessEvents(gpu->instance);
    wgpuInstanceRelease(gpu->instance);
  }
  weft_heap_release(gpu->heap, gpu->arena_bytes, WEFT_NATIVE_ARENA);
  weft_heap_release(gpu->heap, gpu, sizeof *gpu);
}

static void on_adapter(WGPURequestAdapterStatus status, WGPUAdapter adapter, WGPUStringView message,
                       void *user, void *unused) {
  (void)status, (void)unused;
  native_driver *gpu = user;
  gpu->adapter = adapter;
  gpu->events++;
  if (!adapter) weft_native_keep(gpu, WEFT_UNSUPPORTED, "WebGPU finds no adapter", message);
}

static void on_device(WGPURequestDeviceStatus status, WGPUDevice device, WGPUStringView message,
                      void *user, void *unused) {
  (void)status, (void)unused;
  native_driver *gpu = user;
  gpu->device = device;
  gpu->events++;
  if (!device) weft_native_keep(gpu, WEFT_UNSUPPORTED, "WebGPU opens no device", message);
}

static void copy_view(char *to, size_t size, WGPUStringView text) {
  size_t length = length_of(text);
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
  WEFT_TRY(weft_native_kept(gpu, error));
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
  WEFT_TRY(weft_native_kept(gpu, error));
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
  if (gpu->driver.pipeline_open(&gpu->driver, &pipeline, &id, NULL) != WEFT_OK) return false;
  weft_status status;
  while ((status = gpu->driver.pipeline_state(&gpu->driver, id, NULL)) == WEFT_PENDING)
    wait_for_event(gpu, WAIT_NS);
  gpu->driver.pipeline_close(&gpu->driver, id);
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
  gpu->times_buffer = weft_native_buffer(gpu, 8 * WEFT_GPU_TIMES,
                                         WGPUBufferUsage_QueryResolve | WGPUBufferUsage_CopySrc);
  return weft_native_kept(gpu, error);
}

static weft_status open_parts(native_driver *gpu, const char *adapter, weft_error *error) {
  WGPUInstanceDescriptor descriptor = WGPU_INSTANCE_DESCRIPTOR_INIT;
#ifdef WGPU_H_
  /* Not OpenGL: it is for old machines, does not grant all of WebGPU, and takes as long to open as
   * the others together. */
  WGPUInstanceExtras extras = {.chain.sType = (WGPUSType)WGPUSType_InstanceExtras,
                               .backends = WGPUInstanceBackend_Primary};
  descriptor.nextInChain = &extras.chain;
#endif
  gpu->instance = wgpuCreateInstance(&descriptor);
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
  gpu->driver = weft_native_work;
  gpu->driver.poll = native_poll;
  gpu->driver.close = native_close;
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
