/* gpu_step.h - for tests of the GPU device: a step runs on the CPU's reference kernels and on the
 * GPU, and the results are compared. Arrays are those of cpu_step.h, in g->cpu.
 *
 *   static void test_softmax(gpu_bench *g) {
 *     weft_array *x = bench_random(&g->cpu, WEFT_F32, 2, dims, BENCH_RANDOM), *y = ...;
 *     gpu_check(g, WEFT_OP_SOFTMAX, &attributes, inputs, 1, y, (gpu_tolerance){1e-7, 1e-6});
 *     bench_clear(&g->cpu);
 *   }
 *   int main(int argc, char **argv) {
 *     static const gpu_test tests[] = {GPU_TEST(test_softmax)};
 *     return gpu_main(argc, argv, tests, 1);
 *   }
 *
 * Tests that compile many kernels, which takes minutes where the GPU is a CPU, are GPU_SLOW_TEST:
 * they run where the environment has WEFT_GPU_FULL (./dev test-full), and on the null driver.
 *
 * Every test runs once for each of gpu_variants: with none of WebGPU's optional features, and with
 * all that the adapter has. The adapter is named by the first argument or WEFT_GPU_ADAPTER; "null"
 * takes the null driver, which checks what it is given and computes nothing. */
#ifndef WEFT_TESTS_GPU_STEP_H
#define WEFT_TESTS_GPU_STEP_H

#include "gpu/internal.h"
#include "tests/unit/cpu_step.h"

typedef struct gpu_bench {
  bench cpu;
  weft_gpu *gpu;
  weft_device *device;
  bool executes;      /* false: the null driver */
  const char *kernel; /* of the last step */
} gpu_bench;

/* ---- devices --------------------------------------------------------------------------------- */

typedef struct gpu_variant {
  const char *name;
  void (*mask)(weft_gpu_facts *facts); /* takes features away */
} gpu_variant;

static inline void gpu_mask_all(weft_gpu_facts *facts) {
  facts->is_software = false;
  facts->f16 = facts->subgroups = facts->subgroup_size = facts->dot8 = false;
  facts->matrix_syntax = WEFT_GPU_MATRIX_NONE;
  facts->matrix_count = 0;
  facts->immediate_bytes = 0;
  facts->workgroup_storage = 16384;
  facts->workgroup_invocations = 256;
  facts->workgroup_size[0] = facts->workgroup_size[1] = 256;
  facts->workgroup_size[2] = 64;
  facts->storage_buffers = 8;
}
static inline void gpu_mask_software(weft_gpu_facts *facts) {
  facts->is_software = false;
}
static inline void gpu_mask_none(weft_gpu_facts *facts) {
  (void)facts;
}

static inline const char *gpu_adapter(int argc, char **argv) {
  return argc > 1 ? argv[1] : getenv("WEFT_GPU_ADAPTER");
}

static inline bool gpu_open(gpu_bench *g, const char *adapter, const gpu_variant *variant) {
  memset(g, 0, sizeof *g);
  bench_open(&g->cpu, "reference", 1);
  g->executes = adapter == NULL || strcmp(adapter, "null") != 0;
  weft_heap *heap = &g->cpu.heap;
  weft_error *error = &g->cpu.error;
  weft_gpu_driver *driver = NULL;
  weft_status status = g->executes ? weft_gpu_native_open(heap, adapter, &driver, error)
                                   : weft_gpu_null_open(heap, NULL, NULL, &driver, error);
  if (!CHECK_OK(status, error)) return false;
  variant->mask(&driver->facts);
  if (!CHECK_OK(weft_gpu_open_driver(heap, driver, &g->gpu, error), error)) return false;
  weft_session_options options = {.kernels = "reference"};
  weft_device *host;
  CHECK_OK(weft_cpu_open(g->cpu.runtime, &options, heap, &host, error), error);
  return CHECK_OK(weft_gpu_device_open(g->gpu, host, &options, heap, &g->device, error), error);
}

static inline void gpu_close(gpu_bench *g) {
  if (g->device) g->device->close(g->device);
  weft_gpu_release(&g->gpu);
  bench_close(&g->cpu);
}

/* The last: kernels for GPUs that are CPUs. */
static const gpu_variant gpu_variants[] = {
    {"baseline", gpu_mask_all}, {"features", gpu_mask_software}, {"as a CPU", gpu_mask_none}};
enum { GPU_VARIANTS = sizeof gpu_variants / sizeof *gpu_variants };

static inline bool gpu_differs(const gpu_bench *g, const gpu_variant *variant) {
  return variant->mask != gpu_mask_none || weft_gpu_cpu_lanes(g->gpu->facts) != 0;
}

typedef struct gpu_test {
  const char *name;
  void (*run)(gpu_bench *g);
  bool slow;
} gpu_test;
#define GPU_TEST(test)      {#test, test, false}
#define GPU_SLOW_TEST(test) {#test, test, true}

static inline void gpu_run_tests(const char *adapter, const gpu_variant *variants,
                                 size_t variant_count, const gpu_test *tests, size_t test_count) {
  for (size_t v = 0; v < variant_count; v++) {
    gpu_bench g;
    bool opened = gpu_open(&g, adapter, &variants[v]);
    for (size_t i = 0; opened && i < test_count && gpu_differs(&g, &variants[v]); i++) {
      if (tests[i].slow && g.executes && !getenv("WEFT_GPU_FULL")) continue;
      unsigned before = check_failures;
      tests[i].run(&g);
      bench_clear(&g.cpu);
      check_print("%s %s (%s)\n", check_failures == before ? "pass" : "FAIL", tests[i].name,
                  variants[v].name);
    }
    gpu_close(&g);
  }
}

static inline int gpu_main(int argc, char **argv, const gpu_test *tests, size_t count) {
  gpu_run_tests(gpu_adapter(argc, argv), gpu_variants, GPU_VARIANTS, tests, count);
  return check_result();
}

/* ---- a plan of a few steps ------------------------------------------------------------------- */

#define GPU_ARRAYS 64
#define GPU_STEPS  (2 * WEFT_EXPR_INPUTS_MAX + 16)
#define GPU_GUARD  64 /* bytes behind an output that nobody may write, past its last 16 */

/* Array i has slot 1 + i, in memory of its own. */
typedef struct gpu_run {
  gpu_bench *g;
  weft_array arrays[GPU_ARRAYS];
  weft_memory memories[1 + GPU_ARRAYS];
  uint8_t *bases[1 + GPU_ARRAYS];
  uint64_t sizes[1 + GPU_ARRAYS];
  weft_step steps[GPU_STEPS];
  const weft_array *places[GPU_STEPS][BENCH_ARRAYS]; /* inputs, then outputs */
  uint32_t array_count, step_count;
} gpu_run;

static inline weft_array *gpu_new_array(gpu_run *run, const weft_array *like) {
  weft_array *array = &run->arrays[run->array_count++];
  *array = *like;
  array->constant = NULL;
  array->slot = run->array_count;
  return array;
}

/* `bytes` as a buffer of the device for the array, whose element 0 is `first` bytes behind. */
static inline weft_array *gpu_place(gpu_run *run, const weft_array *like, const uint8_t *bytes,
                                    uint64_t size, uint64_t first) {
  const weft_device *device = run->g->device;
  weft_error *error = &run->g->cpu.error;
  weft_array *array = gpu_new_array(run, like);
  array->on_device = true;
  array->offset = first;
  run->sizes[array->slot] = size;
  CHECK_OK(device->memory_open(device, size, &run->memories[array->slot], error), error);
  CHECK_OK(device->memory_write(device, run->memories[array->slot], 0, bytes, size, error), error);
  return array;
}

/* The bytes of a host array. Now and then they do not start at the start of the buffer, as in a
 * view. */
static inline const weft_array *gpu_upload(gpu_run *run, const weft_array *from) {
  bench *b = &run->g->cpu;
  uint64_t element = weft_dtype_size(from->dtype), shift = 0;
  if (bench_below(b, 3) == 0) shift = bench_below(b, 8) * element;
  uint64_t bytes = b->sizes[from->slot], size = (shift + bytes + 15) / 16 * 16;
  uint8_t *copy = malloc((size_t)size);
  memset(copy, 0xa5, (size_t)size);
  memcpy(copy + shift, b->bases[from->slot], (size_t)bytes);
  weft_array *array = gpu_place(run, from, copy, size, shift + from->offset);
  free(copy);
  return array;
}

static inline weft_step *gpu_add_step(gpu_run *run, const weft_node *node,
                                      const weft_array *const *inputs, uint32_t input_count,
                                      const weft_array *const *outputs, uint32_t output_count) {
  const weft_array **places = run->places[run->step_count];
  weft_step *step = &run->steps[run->step_count++];
  memcpy(places, inputs, input_count * sizeof *inputs);
  memcpy(places + input_count, outputs, output_count * sizeof *outputs);
  *step = (weft_step){.node = node,
                      .is_copy = node == NULL,
                      .on_device = true,
                      .inputs = places,
                      .input_count = input_count,
                      .outputs = places + input_count,
                      .output_count = output_count};
  return step;
}

/* Where a dense result goes: not at the start of its buffer, which is full of 0xa5. */
static inline const weft_array *gpu_result(gpu_run *run, const weft_array *like) {
  uint64_t bytes = like->elements * weft_dtype_size(like->dtype), first = 256;
  uint64_t size = first + (bytes + 15) / 16 * 16 + GPU_GUARD;
  uint8_t *fill = malloc((size_t)size);
  memset(fill, 0xa5, (size_t)size);
  weft_array *array = gpu_place(run, like, fill, size, first);
  free(fill);
  weft_array_set_dense(array);
  return array;
}

/* Adds a step that makes the input dense where the op does not take it as it lies. */
static inline const weft_array *gpu_take(gpu_run *run, const weft_node *node, uint32_t input,
                                         const weft_array *from) {
  const weft_device *device = run->g->device;
  if (from == NULL || (node && device->is_parameter(device, node, input))) return from;
  const weft_array *array = from->on_device ? from : gpu_upload(run, from);
  if (!node || device->takes(device, node, input, array)) return array;
  const weft_array *dense = gpu_result(run, array);
  gpu_add_step(run, NULL, &array, 1, &dense, 1);
  return dense;
}

/* The whole buffer of a result to the host, guard included; the bytes are in run->bases. */
static inline uint32_t gpu_download(gpu_run *run, const weft_array *result) {
  weft_array words = *result;
  words.dtype = WEFT_U32;
  words.rank = 1;
  words.offset = 0;
  words.elements = run->sizes[result->slot] / 4;
  words.dims[0] = (int64_t)words.elements;
  words.strides[0] = 1;
  weft_array *from = &run->arrays[run->array_count++];
  *from = words;
  weft_array *to = gpu_new_array(run, &words);
  to->on_device = false;
  run->bases[to->slot] = malloc((size_t)words.elements * 4);
  const weft_array *inputs[] = {from}, *outputs[] = {to};
  gpu_add_step(run, NULL, inputs, 1, outputs, 1)->on_device = false;
  return to->slot;
}

static inline weft_status gpu_prepare_steps(gpu_run *run) {
  const weft_device *device = run->g->device;
  bench *b = &run->g->cpu;
  for (uint32_t i = 0; i < run->step_count; i++) {
    weft_step *step = &run->steps[i];
    weft_status status = device->prepare(device, step, &b->arena, &b->error);
    if (status != WEFT_OK) return status;
    if (step->on_device) run->g->kernel = step->kernel;
    if (step->scratch_bytes == 0) continue;
    step->scratch_slot = ++run->array_count;
    status = device->memory_open(device, step->scratch_bytes, &run->memories[step->scratch_slot],
                                 &b->error);
    if (status != WEFT_OK) return status;
  }
  return WEFT_OK;
}

static inline weft_status gpu_count_detached(void *user, uint32_t slot, weft_error *error) {
  (void)slot, (void)error;
  ++*(int *)user;
  return WEFT_OK;
}

/* `detached`: counts caches that somebody else may still look at; NULL: there are none. */
static inline weft_status gpu_execute_detaching(gpu_run *run, int *detached) {
  const weft_device *device = run->g->device;
  bench *b = &run->g->cpu;
  weft_plan plan = {.steps = run->steps, .step_count = run->step_count};
  weft_execution execution = {.runtime = b->runtime,
                              .plan = &plan,
                              .bases = run->bases,
                              .memories = run->memories,
                              .detach = detached ? gpu_count_detached : NULL,
                              .detach_user = detached};
  for (;;) {
    weft_status status = device->execute(device, &execution, &b->error);
    if (status != WEFT_PENDING) return status;
    status = device->poll(device, true, &b->error);
    if (status != WEFT_OK && status != WEFT_PENDING) return status;
  }
}

static inline weft_status gpu_execute_steps(gpu_run *run) {
  return gpu_execute_detaching(run, NULL);
}

static inline void gpu_end(gpu_run *run) {
  const weft_device *device = run->g->device;
  for (uint32_t i = 0; i <= GPU_ARRAYS; i++) {
    if (run->memories[i]) device->memory_close(device, run->memories[i]);
    free(run->bases[i]);
  }
  free(run);
}

/* ---- results --------------------------------------------------------------------------------- */

/* |actual - expected| <= absolute + relative |expected|; results of type f16 may differ by one unit
 * in the last place on top. Other types must be equal. */
typedef struct gpu_tolerance {
  double absolute, relative;
} gpu_tolerance;

static inline double gpu_f16(uint16_t bits) {
  uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  double size = exponent == 31  ? fraction ? (double)__builtin_nanf("") : (double)__builtin_inff()
                 : exponent == 0 ? fraction * 0x1p-24
                                : (double)(1024 + fraction) * (double)(1u << exponent) * 0x1p-25;
  return bits >> 15 ? -size : size;
}

static inline double gpu_number(weft_dtype dtype, const uint8_t *at) {
  float single;
  uint16_t half;
  if (dtype == WEFT_F32) return memcpy(&single, at, sizeof single), (double)single;
  if (dtype == WEFT_F16) return memcpy(&half, at, sizeof half), gpu_f16(half);
  return 0;
}

static inline bool gpu_matches(weft_dtype dtype, const uint8_t *actual, const uint8_t *expected,
                               gpu_tolerance tolerance) {
  if (dtype != WEFT_F32 && dtype != WEFT_F16)
    return memcmp(actual, expected, weft_dtype_size(dtype)) == 0;
  double a = gpu_number(dtype, actual), e = gpu_number(dtype, expected);
  double difference = a < e ? e - a : a - e, size = e < 0 ? -e : e;
  if (e != e || a != a) return e != e && a != a;
  if (a == e || __builtin_isinf(e)) return a == e; /* infinities */
  if (dtype == WEFT_F16) tolerance.relative += 0x1p-10, tolerance.absolute += 0x1p-24;
  return difference <= tolerance.absolute + tolerance.relative * size;
}

/* The GPU's bytes (a whole buffer, as in gpu_result) against the host array. */
static inline bool gpu_compare(const gpu_bench *g, const weft_array *expected, const uint8_t *bytes,
                               gpu_tolerance tolerance) {
  uint64_t size = weft_dtype_size(expected->dtype), end = 256 + expected->elements * size,
           wrong = 0;
  if (!g->executes) return true;
  const uint8_t *actual = bytes + 256;
  for (uint64_t i = 0; i < expected->elements; i++) {
    const uint8_t *e = bench_at(&g->cpu, expected, i);
    if (gpu_matches(expected->dtype, actual + i * size, e, tolerance)) continue;
    if (wrong++ == 0)
      check_print("  %s: element %llu of %llu is %.9g (%x), not %.9g (%x)\n", g->kernel,
                  (unsigned long long)i, (unsigned long long)expected->elements,
                  gpu_number(expected->dtype, actual + i * size), actual[i * size],
                  gpu_number(expected->dtype, e), *e);
  }
  bool good = CHECK_INT(wrong, 0);
  for (uint64_t i = (end + 15) / 16 * 16; i < (end + 15) / 16 * 16 + GPU_GUARD; i++)
    good = good && CHECK(bytes[i] == 0xa5); /* written past the end */
  for (uint64_t i = 0; i < 256; i++) good = good && CHECK(bytes[i] == 0xa5);
  return good;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The step on the reference kernels: the outputs are then what is expected. Without a node: a copy
 * of strided to dense. */
static inline weft_status gpu_expect(gpu_bench *g, const weft_node *node,
                                     const weft_array *const *inputs, uint32_t input_count,
                                     const weft_array *const *outputs, uint32_t output_count) {
  bench *b = &g->cpu;
  const weft_array *taken[BENCH_ARRAYS], *to[BENCH_ARRAYS];
  for (uint32_t i = 0; i < input_count; i++)
    taken[i] = !node || !inputs[i] || b->device->takes(b->device, node, i, inputs[i])
                   ? inputs[i]
                   : bench_dense_copy(b, node, inputs[i]);
  memcpy(to, outputs, output_count * sizeof *to);
  weft_step step = {.node = node,
                    .is_copy = node == NULL,
                    .input_count = input_count,
                    .output_count = output_count,
                    .inputs = taken,
                    .outputs = to};
  return bench_run_plan(b, &step);
}

/* The step on the GPU, compared with the outputs as they stand. Inputs may be on the device already
 * (packed weights). */
static inline weft_status gpu_run_step(gpu_bench *g, const weft_node *node,
                                       const weft_array *const *inputs, uint32_t input_count,
                                       const weft_array *const *outputs, uint32_t output_count,
                                       gpu_tolerance tolerance) {
  gpu_run *run = calloc(1, sizeof *run);
  run->g = g;
  const weft_array *taken[BENCH_ARRAYS], *results[BENCH_ARRAYS];
  uint32_t slots[BENCH_ARRAYS];
  for (uint32_t i = 0; i < input_count; i++) taken[i] = gpu_take(run, node, i, inputs[i]);
  for (uint32_t i = 0; i < output_count; i++) results[i] = gpu_result(run, outputs[i]);
  gpu_add_step(run, node, taken, input_count, results, output_count);
  for (uint32_t i = 0; i < output_count; i++) slots[i] = gpu_download(run, results[i]);
  weft_status status = gpu_prepare_steps(run);
  if (status == WEFT_OK) status = gpu_execute_steps(run);
  for (uint32_t i = 0; i < output_count && status == WEFT_OK; i++)
    gpu_compare(g, outputs[i], run->bases[slots[i]], tolerance);
  gpu_end(run);
  return status;
}

/* The step on both, with one output. */
static inline void gpu_check(gpu_bench *g, weft_op op, const weft_attributes *attributes,
                             const weft_array *const *inputs, uint32_t input_count,
                             const weft_array *output, gpu_tolerance tolerance) {
  weft_node node = {.op = op, .name = WEFT_STR("tested"), .attributes = *attributes};
  if (CHECK_OK(gpu_expect(g, &node, inputs, input_count, &output, 1), &g->cpu.error))
    CHECK_OK(gpu_run_step(g, &node, inputs, input_count, &output, 1, tolerance), &g->cpu.error);
}

#endif
