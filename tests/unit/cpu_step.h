/* cpu_step.h - for tests of the CPU device: strided arrays with random contents, and single steps
 * run as a plan would. Scratch has exactly the size asked for, so that a sanitizer sees what goes
 * past it. */
#ifndef WEFT_TESTS_CPU_STEP_H
#define WEFT_TESTS_CPU_STEP_H

#include <stdlib.h>

#include "base/runtime.h"
#include "cpu/cpu.h"
#include "tests/check.h"

#define BENCH_ARRAYS 24

typedef struct bench {
  weft_runtime *runtime;
  weft_heap heap;
  weft_device *device;
  weft_arena arena;
  weft_array arrays[BENCH_ARRAYS];
  uint8_t *bases[1 + BENCH_ARRAYS]; /* slot 1 + i: array i's memory */
  size_t sizes[1 + BENCH_ARRAYS];   /* of it, in bytes */
  uint32_t count;
  uint64_t random;
  weft_error error;
  const char *kernel; /* of the last step */
} bench;

static inline void bench_open(bench *b, const char *kernels, uint32_t threads) {
  memset(b, 0, sizeof *b);
  b->random = 0x1234567;
  weft_runtime_options options = weft_runtime_options_default();
  options.thread_count = threads;
  CHECK_OK(weft_runtime_open(&options, &b->runtime, &b->error), &b->error);
  weft_heap_init(&b->heap, NULL, &b->runtime->heap, 0);
  weft_arena_init(&b->arena, &b->heap);
  weft_session_options session = {.kernels = kernels};
  CHECK_OK(weft_cpu_open(b->runtime, &session, &b->heap, &b->device, &b->error), &b->error);
}

/* Forgets all arrays. */
static inline void bench_clear(bench *b) {
  for (uint32_t i = 0; i < b->count; i++) free(b->bases[1 + i]);
  memset(b->bases, 0, sizeof b->bases);
  b->count = 0;
  weft_arena_release(&b->arena);
  weft_arena_init(&b->arena, &b->heap);
}

static inline void bench_close(bench *b) {
  bench_clear(b);
  b->device->close(b->device);
  weft_runtime_close(&b->runtime);
}

static inline uint64_t bench_below(bench *b, uint64_t limit) {
  return (check_random(&b->random) >> 20) % limit;
}

/* ---- arrays --------------------------------------------------------------------------------- */

/* How an array lies in its memory. */
typedef enum bench_strides {
  BENCH_DENSE,
  BENCH_ROWS,   /* last dimension dense, gaps between rows */
  BENCH_RANDOM, /* permuted dimensions, gaps, some of them backwards */
} bench_strides;

static inline weft_array *bench_array(bench *b, weft_dtype dtype, int32_t rank, const int64_t *dims,
                                      bench_strides form) {
  weft_array *array = &b->arrays[b->count];
  memset(array, 0, sizeof *array);
  array->dtype = dtype;
  array->rank = rank;
  array->elements = 1;
  for (int32_t i = 0; i < rank; i++) {
    array->dims[i] = dims[i];
    array->elements *= (uint64_t)dims[i];
  }
  int32_t order[WEFT_RANK_MAX];
  for (int32_t i = 0; i < rank; i++) order[i] = i;
  if (form == BENCH_RANDOM)
    for (int32_t i = rank - 1; i > 0; i--) {
      int32_t k = (int32_t)bench_below(b, (uint64_t)i + 1), swapped = order[i];
      order[i] = order[k];
      order[k] = swapped;
    }
  int64_t step = 1, first = 0;
  for (int32_t i = rank - 1; i >= 0; i--) {
    int64_t extent = dims[order[i]], gap = 0;
    if (form == BENCH_RANDOM && bench_below(b, 3) == 0) step *= 2; /* every second element */
    if (form != BENCH_DENSE && i > 0) gap = (int64_t)bench_below(b, 3);
    bool backwards = form == BENCH_RANDOM && extent > 0 && bench_below(b, 4) == 0;
    array->strides[order[i]] = backwards ? -step : step;
    if (backwards) first += step * (extent - 1);
    step *= extent + gap;
  }
  size_t size = weft_dtype_size(dtype), bytes = (size_t)(step > 0 ? step : 1) * size;
  array->offset = (uint64_t)first * size;
  array->slot = 1 + b->count;
  b->bases[array->slot] = malloc(bytes);
  b->sizes[array->slot] = bytes;
  memset(b->bases[array->slot], 0xa5, bytes);
  b->count++;
  return array;
}

/* Byte address of element `linear` in row-major order. */
static inline uint8_t *bench_at(const bench *b, const weft_array *array, uint64_t linear) {
  int64_t offset = 0;
  for (int32_t i = array->rank - 1; i >= 0; i--) {
    offset += (int64_t)(linear % (uint64_t)array->dims[i]) * array->strides[i];
    linear /= (uint64_t)array->dims[i];
  }
  int64_t size = (int64_t)weft_dtype_size(array->dtype);
  if (array->constant != NULL) return (uint8_t *)(uintptr_t)array->constant + offset * size;
  return b->bases[array->slot] + (int64_t)array->offset + offset * size;
}

static inline void bench_set_f32(const bench *b, const weft_array *array, uint64_t linear,
                                 float v) {
  memcpy(bench_at(b, array, linear), &v, sizeof v);
}
static inline float bench_f32(const bench *b, const weft_array *array, uint64_t linear) {
  float v;
  memcpy(&v, bench_at(b, array, linear), sizeof v);
  return v;
}
/* Integers and bool, sign- or zero-extended. */
static inline void bench_set_int(const bench *b, const weft_array *array, uint64_t linear,
                                 int64_t v) {
  memcpy(bench_at(b, array, linear), &v, weft_dtype_size(array->dtype));
}
static inline int64_t bench_int(const bench *b, const weft_array *array, uint64_t linear) {
  size_t size = weft_dtype_size(array->dtype);
  uint64_t v = 0;
  memcpy(&v, bench_at(b, array, linear), size);
  bool is_signed = array->dtype == WEFT_I8 || array->dtype == WEFT_I16 ||
                   array->dtype == WEFT_I32 || array->dtype == WEFT_I64;
  unsigned shift = (unsigned)(64 - 8 * size);
  return is_signed ? (int64_t)(v << shift) >> shift : (int64_t)v;
}

/* Normal numbers, cut to f16's precision. */
static inline void bench_set_f16(const bench *b, const weft_array *array, uint64_t linear,
                                 float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  uint32_t size = bits & 0x7fffffff;
  size = size < 0x38800000 ? 0 : (size - 0x38000000) >> 13;
  bench_set_int(b, array, linear, (int64_t)(size | (bits >> 31) << 15));
}

static inline float bench_random_f32(bench *b) {
  return (float)bench_below(b, 2001) / 500.0f - 2.0f;
}
/* Float arrays: numbers in [-2, 2]; integers: in [-9, 9], [0, 18] where unsigned; bool. */
static inline weft_array *bench_random(bench *b, weft_dtype dtype, int32_t rank,
                                       const int64_t *dims, bench_strides form) {
  weft_array *array = bench_array(b, dtype, rank, dims, form);
  bool is_unsigned =
      dtype == WEFT_U8 || dtype == WEFT_U16 || dtype == WEFT_U32 || dtype == WEFT_U64;
  for (uint64_t i = 0; i < array->elements; i++) {
    if (dtype == WEFT_F32)
      bench_set_f32(b, array, i, bench_random_f32(b));
    else if (dtype == WEFT_F16)
      bench_set_f16(b, array, i, bench_random_f32(b));
    else if (dtype == WEFT_BOOL)
      bench_set_int(b, array, i, (int64_t)bench_below(b, 2));
    else
      bench_set_int(b, array, i, (int64_t)bench_below(b, 19) - (is_unsigned ? 0 : 9));
  }
  return array;
}

/* An i64 host parameter of rank 1 (count < 0: rank 0). */
static inline weft_array *bench_host(bench *b, const int64_t *values, int32_t count) {
  int64_t dims[1] = {count};
  weft_array *array = bench_array(b, WEFT_I64, count < 0 ? 0 : 1, dims, BENCH_DENSE);
  memcpy(b->bases[array->slot], values, (size_t)array->elements * sizeof *values);
  array->constant = b->bases[array->slot];
  return array;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static inline weft_status bench_run_plan(bench *b, weft_step *step) {
  weft_status status = b->device->prepare(b->device, step, &b->arena, &b->error);
  if (status != WEFT_OK) return status;
  b->kernel = step->kernel;
  b->bases[0] = aligned_alloc(64, (size_t)(step->scratch_bytes + 63) / 64 * 64 + 64);
  weft_plan plan = {.steps = step, .step_count = 1};
  weft_execution execution = {.runtime = b->runtime, .plan = &plan, .bases = b->bases};
  status = b->device->execute(b->device, &execution, &b->error);
  free(b->bases[0]);
  b->bases[0] = NULL;
  return status;
}

/* What the planner does with an input that an op cannot read as it lies. */
static inline const weft_array *bench_dense_copy(bench *b, const weft_node *node,
                                                 const weft_array *from) {
  weft_array *to = bench_array(b, from->dtype, from->rank, from->dims, BENCH_DENSE);
  const weft_array *inputs[] = {from}, *outputs[] = {to};
  weft_step step = {.node = node,
                    .is_copy = true,
                    .input_count = 1,
                    .output_count = 1,
                    .inputs = inputs,
                    .outputs = outputs};
  CHECK_OK(bench_run_plan(b, &step), &b->error);
  return to;
}

static inline weft_status bench_run(bench *b, weft_op op, const weft_attributes *attributes,
                                    const weft_array *const *inputs, uint32_t input_count,
                                    const weft_array *output) {
  weft_node node = {.op = op, .name = WEFT_STR("tested"), .attributes = *attributes};
  const weft_array *taken[BENCH_ARRAYS], *outputs[] = {output};
  for (uint32_t i = 0; i < input_count; i++) {
    taken[i] = inputs[i];
    if (inputs[i] != NULL && !b->device->takes(b->device, &node, i, inputs[i]))
      taken[i] = bench_dense_copy(b, &node, inputs[i]);
  }
  weft_step step = {.node = &node,
                    .input_count = input_count,
                    .output_count = 1,
                    .inputs = taken,
                    .outputs = outputs};
  return bench_run_plan(b, &step);
}

static inline bool bench_close_to(float actual, double expected, double tolerance) {
  double difference = (double)actual - expected;
  if (expected != expected) return actual != actual;
  if (expected == (double)actual) return true; /* infinities */
  return difference <= tolerance && difference >= -tolerance;
}

#endif
