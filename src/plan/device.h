/* device.h - what a backend must offer: facts for the planner, weight packing, execution. cpu/ and
 * gpu/ implement it. */
#ifndef WEFT_PLAN_DEVICE_H
#define WEFT_PLAN_DEVICE_H

#include <stdatomic.h>

#include "base/runtime.h"
#include "plan/plan.h"

typedef struct weft_device weft_device;
struct weft_device {
  const char *name; /* "cpu" */
  const weft_runtime *runtime;

  /* May `node`'s input number `input` come with this array's strides? If not, the planner puts a
   * copy before it. */
  bool (*takes)(const weft_device *device, const weft_node *node, uint32_t input,
                const weft_array *array);

  /* Chooses the kernel for a step (run, kernel, state, flops, scratch_bytes). `state` is taken from
   * `arena`. Arrays' shapes, types and strides are final; constants can be read. WEFT_UNSUPPORTED
   * names node and cause. */
  weft_status (*prepare)(const weft_device *device, weft_step *step, weft_arena *arena,
                         weft_error *error);

  /* Packs constant input number `input` of `node` into the layout that this device reads fastest.
   * *out stays NULL where the dense layout is right. */
  weft_status (*pack)(const weft_device *device, const weft_graph *graph, const weft_node *node,
                      uint32_t input, weft_heap *heap, weft_buffer **out, weft_layout *layout,
                      weft_error *error);

  /* Runs the plan from execution->next_step on. WEFT_PENDING: call again. Once *execution->cancel
   * is set it ends. After any other answer nothing writes to host memory any more. */
  weft_status (*execute)(const weft_device *device, struct weft_execution *execution,
                         weft_error *error);

  void (*close)(weft_device *device);

  /* ---- devices with memory of their own (a GPU); all NULL for one that works in host memory ----
   */

  /* Runs the nodes that this device refuses, and constants while the graph is rewritten. */
  const weft_device *host;
  /* NULL: the node runs on the device. Else why not, as a clause ("i64 arithmetic"). Follows from
   * operator, attributes and types, not from extents. */
  const char *(*refuses)(const weft_device *device, const weft_graph *graph, const weft_node *node);
  /* Input number `input` of a node that runs here is a parameter: it must be known on the host
   * while `prepare` is called (axes, shapes). */
  bool (*is_parameter)(const weft_device *device, const weft_node *node, uint32_t input);
  /* A node whose inputs are on the host and whose outputs have no more bytes runs there too. */
  uint64_t small_bytes;
  /* May `into` do the work of `step`, too, whose one result it reads as input number `input`? It
   * then reads what `step` reads, and what its parts so far read. NULL: never. */
  bool (*merges)(const weft_device *device, const weft_step *step, const weft_step *into,
                 uint32_t input);
  /* Devices of the same space know each other's memory by the same numbers. */
  const void *space;

  /* What is open of this, now and at most. */
  uint64_t memory_bytes, memory_bytes_peak;
  /* Zeroed. Sizes and offsets are multiples of 4; a piece has room for its last 16 bytes. */
  weft_status (*memory_open)(const weft_device *device, uint64_t bytes, weft_memory *out,
                             weft_error *error);
  void (*memory_close)(const weft_device *device, weft_memory memory);
  /* These take effect in the order of the calls, with the runs between them. */
  weft_status (*memory_write)(const weft_device *device, weft_memory memory, uint64_t offset,
                              const void *bytes, uint64_t length, weft_error *error);
  /* `count` pieces of `length` bytes, from the start on, which lie so far apart. */
  weft_status (*memory_copy)(const weft_device *device, weft_memory from, uint64_t from_stride,
                             weft_memory to, uint64_t to_stride, uint64_t count, uint64_t length,
                             weft_error *error);
  /* Starts a copy to host memory, of a multiple of 4 bytes, that stays until read_state answers
   * anything but WEFT_PENDING, or read_drop. */
  weft_status (*read)(const weft_device *device, weft_memory memory, uint64_t offset,
                      uint64_t length, void *to, uint32_t *out, weft_error *error);
  weft_status (*read_state)(const weft_device *device, uint32_t read, weft_error *error);
  void (*read_drop)(const weft_device *device, uint32_t read);
  /* A constant's bytes to device memory, in pieces from wherever they are; *out has one reference.
   */
  weft_status (*upload)(const weft_device *device, const weft_value *value, weft_heap *heap,
                        weft_buffer **out, weft_error *error);
  /* The layout that `pack` will choose for what it packs for the device, without a byte of the
   * weight; WEFT_LAYOUT_DENSE: it will not pack it. */
  weft_status (*layout)(const weft_device *device, const weft_graph *graph, const weft_node *node,
                        uint32_t input, weft_heap *heap, weft_layout *out, weft_error *error);
  /* Kernels that are asked for are compiled while the host goes on. */
  bool compiles_aside;
  /* WEFT_PENDING while kernels that were asked for are being compiled. */
  weft_status (*ready)(const weft_device *device, weft_error *error);
  /* Measures which kernels are fastest for the plan of the execution, which is not run; plans that
   * are prepared afterwards have them. WEFT_PENDING: call again. Without an execution: ends it. */
  weft_status (*tune)(const weft_device *device, const struct weft_execution *execution,
                      weft_error *error);
  /* Lets callbacks run; with `wait`, blocks until something may have changed, where it can. A
   * failure is that of something under way. */
  weft_status (*poll)(const weft_device *device, bool wait, weft_error *error);
  /* Whether its memory is known to be gone, as after WEFT_DEVICE_LOST. */
  bool (*is_lost)(const weft_device *device);
};

/* Whether the node runs on the device, in memory of its own. */
static inline bool weft_device_runs(const weft_device *device, const weft_graph *graph,
                                    const weft_node *node) {
  return device->host && !device->refuses(device, graph, node);
}

typedef struct weft_step_profile {
  uint64_t calls, total_ns;
} weft_step_profile;

/* One run of a plan. */
typedef struct weft_execution {
  const weft_runtime *runtime;
  const weft_plan *plan;
  uint8_t *const *bases;       /* by slot: host memory */
  const weft_memory *memories; /* by slot: the device's; NULL where it has none of its own */
  uint32_t next_step;
  const _Atomic bool *cancel; /* checked between steps */
  uint64_t deadline_ns;       /* by the runtime's clock; 0: none */
  weft_step_profile *profile; /* by step; NULL: off */
  /* Called before an `append` writes over rows of a past that lies in place: where somebody may
   * still look at them, bases[slot] becomes new memory, to which the past is then copied. NULL: it
   * may write. */
  weft_status (*detach)(void *user, uint32_t slot, weft_error *error);
  void *detach_user;
} weft_execution;

/* The address of an array's element 0 during a run. Inputs and constants must not be written. */
static inline uint8_t *weft_array_data(const weft_execution *execution, const weft_array *array) {
  return array->constant ? (uint8_t *)(uintptr_t)array->constant
                         : execution->bases[array->slot] + array->offset;
}
static inline uint8_t *weft_step_scratch(const weft_execution *execution, const weft_step *step) {
  return execution->bases[WEFT_SLOT_ARENA] + step->scratch_offset;
}

#endif
