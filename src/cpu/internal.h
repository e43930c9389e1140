/* internal.h - what the files of the CPU device share: the device, the prepare functions, scratch
 * and threads.
 *
 * A core op has one file (or a part of one) with weft_cpu_prepare_<op>, which puts a weft_step_fn
 * and its state into the step. device.c calls them; nest.h walks strided arrays; convert.h says how
 * elements are held while they are computed with; program.h runs elementwise expressions; operand.h
 * brings inputs into the form that a kernel reads. */
#ifndef WEFT_CPU_INTERNAL_H
#define WEFT_CPU_INTERNAL_H

#include "base/checked.h"
#include "base/memory.h"
#include "cpu/cpu.h"
#include "kernels/kernels.h"

typedef struct weft_cpu {
  weft_device device; /* first: the two are cast into one another */
  const weft_kernels *kernels;
  weft_activations activations;
  weft_heap *heap;
  uint32_t threads;
} weft_cpu;

typedef weft_status weft_cpu_prepare_fn(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                        weft_error *error);
#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes)                         \
  weft_cpu_prepare_fn weft_cpu_prepare_##name;
#include "graph/ops.inc"
#undef WEFT_OP
weft_cpu_prepare_fn weft_cpu_prepare_copy;

/* May the input come with these strides? Without a rule an op takes dense arrays only. */
typedef bool weft_cpu_takes_fn(const weft_node *node, uint32_t input, const weft_array *array);
weft_cpu_takes_fn weft_cpu_takes_matmul, weft_cpu_takes_attention, weft_cpu_takes_rotary,
    weft_cpu_takes_norm;
weft_cpu_takes_fn weft_cpu_takes_append;

weft_status weft_cpu_pack(const weft_device *device, const weft_graph *graph, const weft_node *node,
                          uint32_t input, weft_heap *heap, weft_buffer **out, weft_layout *layout,
                          weft_error *error);
/* Floats of a k x n matrix in panels. */
uint64_t weft_cpu_panel_elements(const weft_kernels *kernels, uint64_t k, uint64_t n);

/* ---- scratch and threads (parallel.c) ------------------------------------------------------- */

/* Takes 64-byte aligned bytes of the step's scratch: their offset there. */
uint64_t weft_cpu_scratch(weft_step *step, uint64_t bytes);

/* Work on items [begin, end) with one worker's scratch. */
typedef weft_status weft_work_fn(const void *context, uint64_t begin, uint64_t end,
                                 uint8_t *scratch, weft_error *error);

/* Items handed out to the threads `grain` at a time. Which thread does an item must not matter to
 * the result. */
typedef struct weft_work {
  weft_work_fn *run;
  uint64_t items, grain;
  uint32_t workers;
  uint64_t scratch, scratch_each; /* offset in the step's scratch; bytes per worker */
} weft_work;

/* Chooses grain and workers, and takes the scratch. `cost`: of one item, in nanoseconds of one
 * thread, roughly. */
void weft_work_prepare(weft_work *work, const weft_cpu *cpu, weft_step *step, weft_work_fn *run,
                       uint64_t items, double cost, uint64_t scratch_each);
/* Does all items; stops early on failure, cancellation or deadline. */
weft_status weft_work_run(const weft_work *work, const weft_step *step,
                          const weft_execution *execution, const void *context, weft_error *error);

/* ---- small facts
 * --------------------------------------------------------------------------------- */

/* An axis as in the file -> [0, rank). */
static inline int32_t weft_axis(int64_t axis, int32_t rank) {
  return (int32_t)(axis < 0 ? axis + rank : axis);
}
/* Product of dims[from..to). */
static inline uint64_t weft_extent(const int64_t *dims, int32_t from, int32_t to) {
  uint64_t product = 1;
  for (int32_t i = from; i < to; i++) product *= (uint64_t)dims[i];
  return product;
}
/* Element `index` of an i64 or i32 array of rank <= 1 whose element 0 is at `data`. */
static inline int64_t weft_integer_at(const weft_array *array, const uint8_t *data,
                                      uint64_t index) {
  int64_t wide = 0;
  int32_t narrow = 0;
  size_t at = (size_t)index * (array->rank > 0 ? (size_t)array->strides[0] : 1);
  if (array->dtype == WEFT_I32) {
    memcpy(&narrow, data + at * sizeof narrow, sizeof narrow);
    return narrow;
  }
  memcpy(&wide, data + at * sizeof wide, sizeof wide);
  return wide;
}
/* The same for a host parameter, a constant. */
static inline int64_t weft_host_integer(const weft_array *array, uint64_t index) {
  return weft_integer_at(array, array->constant, index);
}
static inline const weft_array *weft_step_input(const weft_step *step, uint32_t index) {
  return index < step->input_count ? step->inputs[index] : NULL;
}
static inline uint64_t weft_min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

#endif
