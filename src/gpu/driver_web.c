/* driver_web.c - the driver by JavaScript: web/src/gpu.ts is the other side of these imports. An
 * import answers a weft_status, or the number of what it has opened. Offsets and lengths that may
 * exceed 32 bits are doubles: exact to 2^53, and free of BigInts. */
#include "base/memory.h"
#include "gpu/driver.h"

#define IMPORT_OF(type, name)                                                                      \
  __attribute__((import_module("weft_gpu"), import_name(#name))) type web_driver_##name
#define IMPORT(name) IMPORT_OF(int32_t, name)

/* The device's facts as numbers (see `facts_of`), and as C strings: vendor, architecture, device,
 * description. */
IMPORT(facts)(uint32_t handle, double *to, uint32_t count);
IMPORT(text)(uint32_t handle, uint32_t which, char *to, uint32_t room);
/* Of the latest call that failed. */
IMPORT(message)(uint32_t handle, char *to, uint32_t room);
IMPORT(buffer_open)(uint32_t handle, double bytes);
IMPORT_OF(double, buffer_close)(uint32_t handle, uint32_t buffer); /* its bytes */
IMPORT(write)(uint32_t handle, uint32_t buffer, double offset, const void *bytes, double length);
IMPORT(read)(uint32_t handle, uint32_t buffer, double offset, double length, void *to);
IMPORT(read_times)(uint32_t handle, uint32_t count, uint64_t *to);
IMPORT(read_state)(uint32_t handle, uint32_t read);
IMPORT(read_drop)(uint32_t handle, uint32_t read);
IMPORT(pipeline_open)(uint32_t handle, const char *label, size_t label_length, const char *wgsl,
                      size_t wgsl_length, uint32_t binding_count, uint32_t writes,
                      uint32_t param_words, uint32_t immediates);
IMPORT(pipeline_state)(uint32_t handle, uint32_t pipeline);
IMPORT(pipeline_close)(uint32_t handle, uint32_t pipeline);
IMPORT(group_open)(uint32_t handle, uint32_t pipeline, const weft_gpu_id *buffers, uint32_t count);
IMPORT(group_close)(uint32_t handle, uint32_t group);
IMPORT(submit)(uint32_t handle, const uint32_t *table, double words);
IMPORT(poll)(uint32_t handle, uint32_t wait);
IMPORT(close)(uint32_t handle);

typedef struct web_driver {
  weft_gpu_driver driver; /* first: the two are cast into one another */
  weft_heap *heap;
  uint32_t handle; /* JavaScript's number of it */
} web_driver;

static uint32_t handle_of(const weft_gpu_driver *driver) {
  return ((const web_driver *)driver)->handle;
}

/* A status of JavaScript's, with its message. */
static weft_status answer(const weft_gpu_driver *driver, int32_t status, weft_error *error) {
  if (status >= 0) return (weft_status)status;
  weft_error told;
  web_driver_message(handle_of(driver), told.message, sizeof told.message);
  return weft_fail(error, (weft_status)status, "%s", told.message);
}
/* A number, or a status below 0. */
static weft_status opened(const weft_gpu_driver *driver, int32_t number, weft_gpu_id *out,
                          weft_error *error) {
  *out = number > 0 ? (weft_gpu_id)number : 0;
  return number > 0 ? WEFT_OK : answer(driver, number, error);
}

static weft_status open_buffer(weft_gpu_driver *driver, uint64_t bytes, weft_gpu_id *out,
                               weft_error *error) {
  return opened(driver, web_driver_buffer_open(handle_of(driver), (double)bytes), out, error);
}
static uint64_t close_buffer(weft_gpu_driver *driver, weft_gpu_id buffer) {
  double bytes = web_driver_buffer_close(handle_of(driver), buffer);
  return bytes > 0 ? (uint64_t)bytes : 0;
}
static weft_status write_buffer(weft_gpu_driver *driver, weft_gpu_id buffer, uint64_t offset,
                                const void *bytes, uint64_t length, weft_error *error) {
  uint32_t handle = handle_of(driver);
  return answer(driver, web_driver_write(handle, buffer, (double)offset, bytes, (double)length),
                error);
}
static weft_status read_buffer(weft_gpu_driver *driver, weft_gpu_id buffer, uint64_t offset,
                               uint64_t length, void *to, weft_gpu_id *out, weft_error *error) {
  uint32_t handle = handle_of(driver);
  int32_t number = web_driver_read(handle, buffer, (double)offset, (double)length, to);
  return opened(driver, number, out, error);
}
static weft_status read_times(weft_gpu_driver *driver, uint32_t count, uint64_t *to,
                              weft_gpu_id *out, weft_error *error) {
  return opened(driver, web_driver_read_times(handle_of(driver), count, to), out, error);
}
static weft_status read_state(weft_gpu_driver *driver, weft_gpu_id read, weft_error *error) {
  return answer(driver, web_driver_read_state(handle_of(driver), read), error);
}
static void drop_read(weft_gpu_driver *driver, weft_gpu_id read) {
  web_driver_read_drop(handle_of(driver), read);
}

static weft_status open_pipeline(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                                 weft_gpu_id *out, weft_error *error) {
  int32_t number =
      web_driver_pipeline_open(handle_of(driver), pipeline->label, strlen(pipeline->label),
                               pipeline->wgsl, pipeline->wgsl_length, pipeline->binding_count,
                               pipeline->writes, pipeline->param_words, pipeline->immediates);
  return opened(driver, number, out, error);
}
static weft_status pipeline_state(weft_gpu_driver *driver, weft_gpu_id pipeline,
                                  weft_error *error) {
  return answer(driver, web_driver_pipeline_state(handle_of(driver), pipeline), error);
}
static void close_pipeline(weft_gpu_driver *driver, weft_gpu_id pipeline) {
  web_driver_pipeline_close(handle_of(driver), pipeline);
}

static weft_status open_group(weft_gpu_driver *driver, weft_gpu_id pipeline,
                              const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                              weft_error *error) {
  int32_t number = web_driver_group_open(handle_of(driver), pipeline, buffers, count);
  return opened(driver, number, out, error);
}
static void close_group(weft_gpu_driver *driver, weft_gpu_id group) {
  web_driver_group_close(handle_of(driver), group);
}

static weft_status submit(weft_gpu_driver *driver, const uint32_t *table, uint64_t words,
                          weft_error *error) {
  return answer(driver, web_driver_submit(handle_of(driver), table, (double)words), error);
}
static weft_status poll(weft_gpu_driver *driver, bool wait, weft_error *error) {
  return answer(driver, web_driver_poll(handle_of(driver), wait), error);
}

static void close_driver(weft_gpu_driver *driver) {
  web_driver *web = (web_driver *)driver;
  web_driver_close(web->handle);
  weft_heap_release(web->heap, web, sizeof *web);
}

/* In the order of describeDevice in web/src/gpu_device.ts; then 5 for each matrix. */
enum {
  FACT_SOFTWARE,
  FACT_F16,
  FACT_SUBGROUPS,
  FACT_SUBGROUP_SIZE,
  FACT_DOT8,
  FACT_TIMESTAMPS,
  FACT_MATRIX_SYNTAX,
  FACT_SUBGROUP_MIN,
  FACT_SUBGROUP_MAX,
  FACT_IMMEDIATE_BYTES,
  FACT_WORKGROUP_STORAGE,
  FACT_WORKGROUP_INVOCATIONS,
  FACT_WORKGROUP_X,
  FACT_WORKGROUP_Y,
  FACT_WORKGROUP_Z,
  FACT_WORKGROUPS,
  FACT_STORAGE_BUFFERS,
  FACT_BUFFER_BYTES,
  FACT_BINDING_BYTES,
  FACT_SWIZZLE,
  FACT_LINEAR,
  FACT_TILES,
  FACT_MATRIX_COUNT,
  FACT_MATRICES,
  MATRICES_MAX = sizeof((weft_gpu_facts *)0)->matrices / sizeof(weft_gpu_matrix),
  FACTS = FACT_MATRICES + 5 * MATRICES_MAX,
};

static void read_texts(uint32_t handle, weft_gpu_facts *facts) {
  web_driver_text(handle, 0, facts->vendor, sizeof facts->vendor);
  web_driver_text(handle, 1, facts->architecture, sizeof facts->architecture);
  web_driver_text(handle, 2, facts->device, sizeof facts->device);
  web_driver_text(handle, 3, facts->description, sizeof facts->description);
}

static weft_gpu_facts facts_of(uint32_t handle) {
  double values[FACTS] = {0};
  web_driver_facts(handle, values, FACTS);
  weft_gpu_facts facts = {
      .is_software = values[FACT_SOFTWARE] != 0,
      .f16 = values[FACT_F16] != 0,
      .subgroups = values[FACT_SUBGROUPS] != 0,
      .subgroup_size = values[FACT_SUBGROUP_SIZE] != 0,
      .dot8 = values[FACT_DOT8] != 0,
      .timestamps = values[FACT_TIMESTAMPS] != 0,
      .matrix_syntax = (weft_gpu_matrix_syntax)values[FACT_MATRIX_SYNTAX],
      .subgroup_min = (uint32_t)values[FACT_SUBGROUP_MIN],
      .subgroup_max = (uint32_t)values[FACT_SUBGROUP_MAX],
      .immediate_bytes = (uint32_t)values[FACT_IMMEDIATE_BYTES],
      .workgroup_storage = (uint32_t)values[FACT_WORKGROUP_STORAGE],
      .workgroup_invocations = (uint32_t)values[FACT_WORKGROUP_INVOCATIONS],
      .workgroup_size = {(uint32_t)values[FACT_WORKGROUP_X], (uint32_t)values[FACT_WORKGROUP_Y],
                         (uint32_t)values[FACT_WORKGROUP_Z]},
      .workgroups = (uint32_t)values[FACT_WORKGROUPS],
      .storage_buffers = (uint32_t)values[FACT_STORAGE_BUFFERS],
      .buffer_bytes = (uint64_t)values[FACT_BUFFER_BYTES],
      .binding_bytes = (uint64_t)values[FACT_BINDING_BYTES],
      .no_swizzle = values[FACT_SWIZZLE] == 0,
      .no_linear = values[FACT_LINEAR] == 0,
      .no_tiles = values[FACT_TILES] == 0,
      .matrix_count = (uint32_t)values[FACT_MATRIX_COUNT],
  };
  for (uint32_t i = 0; i < facts.matrix_count; i++) {
    const double *matrix = values + FACT_MATRICES + 5 * i;
    facts.matrices[i] =
        (weft_gpu_matrix){(weft_dtype)matrix[0], (weft_dtype)matrix[1], (uint32_t)matrix[2],
                          (uint32_t)matrix[3], (uint32_t)matrix[4]};
  }
  read_texts(handle, &facts);
  return facts;
}

weft_status weft_gpu_web_open(weft_heap *heap, uint32_t handle, weft_gpu_driver **out,
                              weft_error *error) {
  *out = NULL;
  web_driver *web = weft_heap_allocate_zeroed(heap, sizeof *web);
  if (web == NULL) {
    web_driver_close(handle);
    return weft_heap_fail(heap, sizeof *web, "the driver of a GPU", error);
  }
  web->heap = heap;
  web->handle = handle;
  web->driver = (weft_gpu_driver){
      .facts = facts_of(handle),
      .compiles_aside = true,
      .buffer_open = open_buffer,
      .buffer_close = close_buffer,
      .write = write_buffer,
      .read = read_buffer,
      .read_state = read_state,
      .read_drop = drop_read,
      .pipeline_open = open_pipeline,
      .pipeline_state = pipeline_state,
      .pipeline_close = close_pipeline,
      .group_open = open_group,
      .group_close = close_group,
      .submit = submit,
      .read_times = read_times,
      .poll = poll,
      .close = close_driver,
  };
  *out = &web->driver;
  return WEFT_OK;
}
