/* internal.h - what the files of the GPU device share: the device, its steps as dispatches, the
 * prepare functions.
 *
 * A core op has one file (or a part of one) with weft_gpu_prepare_<op>, which describes the step as
 * dispatches, and a rule weft_gpu_runs_<op>: by operator, attributes and types alone, may it run
 * here? What may not runs on the host (the CPU device), and the planner puts copies between.
 *
 * Data flow: ops (map.c, matmul.c, ...) -> work (work.c: dispatches of a step) -> encode.c (table
 * of commands; bind groups) -> driver. */
#ifndef WEFT_GPU_INTERNAL_H
#define WEFT_GPU_INTERNAL_H

#include "base/checked.h"
#include "base/memory.h"
#include "gpu/gpu.h"
#include "gpu/shader.h"
#include "plan/device.h"

/* A GPU that sessions share. */
struct weft_gpu {
  weft_heap *heap;
  weft_gpu_driver *driver;
  const weft_gpu_facts *facts; /* the driver's */
  weft_kernel_cache *kernels;
  struct weft_group_cache *groups;
  struct weft_tuner *tuner;
  _Atomic uint32_t holders;
  bool lost;
  char description[400]; /* by weft_gpu_describe */
};
void weft_gpu_describe(weft_gpu *gpu);

/* A session's device. */
typedef struct weft_gpu_device {
  weft_device device; /* first: the two are cast into one another */
  weft_gpu *gpu;
  weft_device *host; /* the CPU, for steps that run there */
  weft_activations activations;
  weft_tune tune;
  weft_heap *heap;
  /* Of the running run: */
  struct weft_commands *commands;
  struct weft_gpu_read *reads; /* not yet done */
  uint32_t read_count, read_room;
  /* Of the step that a profiled run waits for: */
  bool is_timing;
  uint64_t started_ns, times[2];
} weft_gpu_device;

/* ---- a step as dispatches (work.c) ----------------------------------------------------------- */

typedef struct weft_gpu_dispatch {
  const weft_gpu_kernel *kernel;
  uint32_t binding_count, param_words;
  bool skip; /* not this time (see `before`) */
  /* By binding; NULL: the step's scratch. Whole memory objects are bound: where an array starts in
   * its own goes into the parameters (weft_gpu_offset). */
  const weft_array *bindings[WEFT_GPU_BINDINGS_MAX];
  uint32_t groups[3]; /* workgroups in x, y, z; one of them 0: nothing is dispatched */
  uint32_t params[WEFT_GPU_PARAMS_MAX];
} weft_gpu_dispatch;

#define WEFT_GPU_DISPATCHES_MAX 4u

/* The state of a step that runs on the GPU. */
typedef struct weft_gpu_work weft_gpu_work;
struct weft_gpu_work {
  uint32_t count;
  weft_gpu_dispatch
      dispatches[WEFT_GPU_DISPATCHES_MAX]; /* in order, each sees the former's results */
  /* Called in each run before the dispatches are encoded; NULL: nothing to do. The place to read
   * parameters that only a run knows (host inputs, by weft_array_data), to find that two arrays lie
   * in the same memory (weft_gpu_memory_of), and to change groups, params and skip accordingly. */
  weft_status (*before)(const weft_step *step, const weft_execution *execution, weft_gpu_work *work,
                        weft_error *error);
  struct weft_commands *commands; /* for `before`, where it has some of its own; else NULL */
};
static inline weft_memory weft_gpu_memory_of(const weft_execution *execution,
                                             const weft_array *array) {
  return array->memory ? array->memory : execution->memories[array->slot];
}

/* One dispatch while it is described: shader, arrays and parameters side by side. */
typedef struct weft_gpu_build {
  const weft_gpu_device *gpu;
  weft_step *step;
  weft_gpu_work *work;
  weft_shader shader;
  weft_gpu_dispatch dispatch;
} weft_gpu_build;

/* Makes the step's state in the arena on the first call for a step, and starts a dispatch. */
weft_status weft_gpu_build_start(weft_gpu_build *build, const weft_gpu_device *gpu, weft_step *step,
                                 weft_arena *arena, const char *file, weft_error *error);
/* Binds an array (NULL: the scratch, as words) under a name; its type as the array's. */
void weft_gpu_bind(weft_gpu_build *build, const char *name, const weft_array *array,
                   weft_shader_raw raw, bool writes);
void weft_gpu_param(weft_gpu_build *build, uint32_t value);
void weft_gpu_param_float(weft_gpu_build *build, float value);
/* Finds the kernel and adds the dispatch: x, y, z workgroups, each within the limit (see
 * weft_gpu_spread). Sets step->run and, for the first, step->kernel. */
weft_status weft_gpu_build_finish(weft_gpu_build *build, uint64_t x, uint64_t y, uint64_t z,
                                  weft_error *error);
/* `items` workgroups as x and y within the limits of a dimension: a kernel takes workgroup
 * id.y * num_workgroups.x + id.x and returns when that is past its end. */
void weft_gpu_spread(const weft_gpu_device *gpu, uint64_t items, uint64_t *x, uint64_t *y);
/* Lanes of a subgroup, where that is known or can be asked for; else 0. */
uint32_t weft_gpu_lanes(const weft_gpu_facts *facts);
/* The same on a GPU that is a CPU, else 0. Such a one wants kernels with little text, which compile
 * quickly, without workgroup memory and barriers: see matmul_lanes.wgsl. */
uint32_t weft_gpu_cpu_lanes(const weft_gpu_facts *facts);
/* The shader counts on subgroups of weft_gpu_lanes. */
void weft_gpu_fix_lanes(weft_shader *shader, const weft_gpu_facts *facts);
/* Element 0 of a device array in its memory, in elements. */
static inline uint32_t weft_gpu_offset(const weft_array *array) {
  return (uint32_t)(array->offset / weft_dtype_size(array->dtype));
}
/* Takes 256-byte aligned bytes of the step's scratch: their offset there, in words. */
uint32_t weft_gpu_scratch(weft_step *step, uint64_t bytes);
/* All arrays have fewer than 2^31 elements, and memory objects fit a binding: checked by the device
 * before prepare. So u32 arithmetic on element numbers is safe. */

/* ---- a run (device.c) ------------------------------------------------------------------------ */

/* Appends a step's dispatches to the commands; submits the commands. */
weft_status weft_gpu_encode_step(const weft_gpu_device *gpu, const weft_execution *execution,
                                 const weft_step *step, weft_error *error);
weft_status weft_gpu_submit(const weft_gpu_device *gpu, weft_error *error);

/* ---- ops ------------------------------------------------------------------------------------- */

typedef weft_status weft_gpu_prepare_fn(const weft_gpu_device *gpu, weft_step *step,
                                        weft_arena *arena, weft_error *error);
/* The reason why not, or NULL: it may. Must follow from the operator, attributes and types. */
typedef const char *weft_gpu_runs_fn(const weft_gpu_device *gpu, const weft_graph *graph,
                                     const weft_node *node);
/* May the input come with these strides? Without a rule: dense only. */
typedef bool weft_gpu_takes_fn(const weft_node *node, uint32_t input, const weft_array *array);

typedef struct weft_gpu_op {
  weft_gpu_prepare_fn *prepare; /* NULL: the op runs on the host */
  weft_gpu_runs_fn *runs;
  weft_gpu_takes_fn *takes;
  uint32_t host_inputs; /* bit i: input i is a parameter, read on the host while preparing */
} weft_gpu_op;
extern const weft_gpu_op weft_gpu_ops[]; /* ops.c: by weft_op */
weft_gpu_prepare_fn weft_gpu_prepare_map, weft_gpu_prepare_softmax, weft_gpu_prepare_norm,
    weft_gpu_prepare_reduce, weft_gpu_prepare_arg_reduce, weft_gpu_prepare_gather,
    weft_gpu_prepare_gather_elements, weft_gpu_prepare_concat;
weft_gpu_runs_fn weft_gpu_runs_map, weft_gpu_runs_rows, weft_gpu_runs_reduce,
    weft_gpu_runs_arg_reduce, weft_gpu_runs_gather, weft_gpu_runs_concat;
weft_gpu_takes_fn weft_gpu_takes_map, weft_gpu_takes_norm, weft_gpu_takes_reduce,
    weft_gpu_takes_concat;
weft_gpu_prepare_fn weft_gpu_prepare_matmul, weft_gpu_prepare_dequantize;
weft_gpu_runs_fn weft_gpu_runs_matmul, weft_gpu_runs_dequantize;
weft_gpu_takes_fn weft_gpu_takes_matmul;
/* As weft_device.merges, into a matmul. */
bool weft_gpu_merges_matmul(const weft_gpu_device *gpu, const weft_step *step,
                            const weft_step *into, uint32_t input);
weft_gpu_prepare_fn weft_gpu_prepare_attention, weft_gpu_prepare_rotary, weft_gpu_prepare_append;
weft_gpu_runs_fn weft_gpu_runs_append;
weft_gpu_takes_fn weft_gpu_takes_attention, weft_gpu_takes_rotary, weft_gpu_takes_append;
weft_gpu_prepare_fn weft_gpu_prepare_cached_attention;
weft_gpu_runs_fn weft_gpu_runs_cached_attention;
weft_gpu_takes_fn weft_gpu_takes_cached_attention;
/* Six parameters of a rotary embedding, in the order of rotary.wgsl. */
void weft_gpu_add_angles(weft_gpu_build *build, const weft_array *cosines, const weft_array *sines,
                         const weft_array *positions);
/* A strided array made dense, of any type. */
weft_gpu_prepare_fn weft_gpu_prepare_copy;
/* As weft_device.pack, of a node that runs here (pack.c). */
weft_status weft_gpu_pack(const weft_device *device, const weft_graph *graph, const weft_node *node,
                          uint32_t input, weft_heap *heap, weft_buffer **out, weft_layout *layout,
                          weft_error *error);
/* As weft_device.layout (pack.c). */
weft_status weft_gpu_layout_of(const weft_device *device, const weft_graph *graph,
                               const weft_node *node, uint32_t input, weft_heap *heap,
                               weft_layout *out, weft_error *error);

#endif
