/* plan.h - a graph bound to one set of input shapes: which steps run in which order, and where
 * every tensor lies.
 *
 * Shape arithmetic is evaluated while planning and leaves no steps; views leave none where strides
 * can say it. Activations share one arena by their lifetimes. A plan is made once for each input
 * signature and kept by the session. Comes after opt/; run/ executes plans on a device. */
#ifndef WEFT_PLAN_PLAN_H
#define WEFT_PLAN_PLAN_H

#include "graph/graph.h"

struct weft_device;
struct weft_execution;
struct weft_planner;
struct weft_step;

/* Where an array that is not constant lies: an index into weft_execution.bases. 0 is the activation
 * arena; 1 + i: input i; 1 + inputs + i: output i; after them the pieces of the pool. */
#define WEFT_SLOT_ARENA 0u

/* A strided array, its place fixed. Element 0 is at constant, or at bases[slot] + offset. */
typedef struct weft_array {
  weft_dtype dtype;
  int32_t rank;
  int64_t dims[WEFT_RANK_MAX];
  int64_t strides[WEFT_RANK_MAX]; /* in elements; 0 repeats; dimensions of 1 may have any */
  uint64_t elements;              /* product of dims */
  const uint8_t
      *constant;      /* weights, and host values computed while planning; NULL for the others */
  weft_layout layout; /* of a constant */
  uint32_t slot;
  /* Arrays with the same number, not 0, lie in the same memory, wherever that will be: known before
   * slots are. */
  uint32_t block;
  uint64_t offset; /* bytes */
  /* The elements lie in the device's own memory: `memory` (constants), else that of the slot. */
  bool on_device;
  weft_memory memory;
} weft_array;

typedef weft_status weft_step_fn(const struct weft_step *step,
                                 const struct weft_execution *execution, weft_error *error);

/* A step whose work another one does, which reads its result as input number `input`. */
typedef struct weft_part {
  const struct weft_step *step;
  uint32_t input;
} weft_part;
#define WEFT_STEP_PARTS 2u

/* One piece of work for a device. A copy step makes inputs[0] dense in outputs[0] (equal element
 * counts, row-major order); its node is the one that needed it, NULL where an input or constant is
 * an output. Where one of the two is in the device's memory and the other is not, both are dense:
 * an upload or a download, which the device does. */
typedef struct weft_step {
  const weft_node *node;
  bool is_copy;
  bool on_device;       /* runs on the device itself; false: on the host, with host arrays alone */
  const char *why_host; /* the reason, as a clause; NULL: there is no other place, or it follows */
  uint32_t input_count, output_count;
  const weft_array **inputs;  /* NULL: optional input left out */
  const weft_array **outputs; /* dense */
  /* Set by the planner where the device merges steps: the one that does this one's work, whose
   * outputs are then nowhere; and those whose work this one does. */
  const struct weft_step *into;
  weft_part parts[WEFT_STEP_PARTS];
  uint32_t part_count;
  /* Set by the device's prepare: */
  weft_step_fn *run;
  const char *kernel; /* name for profiles and dumps */
  void *state;        /* what prepare computed once, in the plan's arena */
  double flops;       /* 0: not counted */
  double bytes;       /* of weights and caches read; 0: not counted */
  uint64_t scratch_bytes;
  /* Set by the planner: where the scratch lies in the activation arena, or (on_device) the slot of
   * the memory that is all scratch. */
  uint64_t scratch_offset;
  uint32_t scratch_slot;
} weft_step;

typedef struct weft_plan {
  weft_arena arena; /* of everything here */
  int64_t *signature;
  uint32_t signature_length;
  weft_step *steps;
  uint32_t step_count;
  uint32_t input_count, output_count;
  const weft_array **inputs;  /* by graph input; NULL: not used */
  const weft_array **outputs; /* by graph output: shape and type; NULL: not asked for */
  uint64_t arena_bytes;       /* activations and scratch */
  /* Pieces of the device's memory for activations and scratch, shared by their lifetimes: piece p
   * has slot 1 + inputs + outputs + p. What is uploaded has a piece that no earlier step touches,
   * so that uploads need not wait for steps. */
  uint64_t *pool_bytes;
  uint32_t pool_count;
  uint64_t arena_bytes_live; /* the most that is live at once: what a perfect packing would need */
  struct weft_planner *planner; /* what a refresh needs; NULL: the plan is for one request only */
  bool *moving;   /* by place in the signature: the extents that grow together; NULL: none do */
  int64_t room;   /* by how much they may still grow in the memory that was laid out */
  bool inelastic; /* a plan for growing extents was tried and did not come out */
} weft_plan;

/* The output is no cache: it is written dense. */
#define WEFT_NO_CACHE (-1)

/* Input shapes as fed, and which outputs are wanted. An output that is the result of an `append`
 * to an input may be a cache: a view [B,H,T,D] on a buffer [B,H,capacity,D]. */
typedef struct weft_plan_request {
  const int64_t *const *dims; /* by graph input: `rank` extents each */
  const uint32_t *ranks;
  const bool *wanted; /* by graph output */
  /* By graph input and output: fed, or wanted, in the device's memory. NULL: none is. */
  const bool *inputs_on_device, *outputs_on_device;
  /* By graph output, NULL where none is a cache. WEFT_NO_CACHE; 0: a cache in a new buffer, the
   * past comes dense; else the past lies in place in a buffer of that capacity. */
  const int64_t *cache_rows;
} weft_plan_request;

/* The capacity of a cache that has to hold `rows`, given the buffer at hand (0: none). */
int64_t weft_cache_capacity(int64_t at_hand, int64_t rows);

/* Plans region 0 of `graph` for `device`. The graph's constants must be in memory.
 * WEFT_INVALID_ARGUMENT names the input whose shape does not fit; WEFT_UNSUPPORTED the node that
 * the device cannot run. */
weft_status weft_plan_build(const weft_graph *graph, const struct weft_device *device,
                            const weft_plan_request *request, weft_heap *heap, weft_plan *out,
                            weft_error *error);
void weft_plan_release(weft_plan *plan);

/* ---- plans for extents that grow (plan_elastic.c, plan_refresh.c): see docs/ARCHITECTURE.md ----
 */

typedef enum weft_plan_match {
  WEFT_PLAN_DIFFERS,
  WEFT_PLAN_SAME,   /* ready to run */
  WEFT_PLAN_NEARLY, /* weft_plan_refresh may make it so */
  WEFT_PLAN_MOVED,  /* extents of caches differ, and whatever differs does so by the same amount:
                       weft_plan_build_elastic */
} weft_plan_match;
weft_plan_match weft_plan_compare(const weft_plan *plan, const weft_plan_request *request);

/* Brings a plan to a request that it is nearly for: what depends on what changed is inferred, laid
 * and prepared again in the memory that it has. Anything but WEFT_OK: the request needs another
 * plan, and this one must not run before a refresh succeeds. */
weft_status weft_plan_refresh(weft_plan *plan, const weft_plan_request *request);

/* A plan for `request` and those with the extents in which it differs from `other` up to a common
 * capacity. */
weft_status weft_plan_build_elastic(const weft_graph *graph, const struct weft_device *device,
                                    const weft_plan_request *request, const weft_plan *other,
                                    weft_heap *heap, weft_plan *out, weft_error *error);

/* Which constants will be read where, whatever the shapes: by value, a sum of these. */
enum { WEFT_READ_ON_HOST = 1, WEFT_READ_ON_DEVICE = 2 };
weft_status weft_plan_constant_sides(const weft_graph *graph, const struct weft_device *device,
                                     weft_arena *arena, uint8_t **out, weft_error *error);

void weft_plan_dump(const weft_graph *graph, const weft_plan *plan, struct weft_text *text);

/* Facts about arrays that planner and devices share. */
bool weft_array_is_dense(const weft_array *array);            /* row-major without gaps */
void weft_array_set_dense(weft_array *array);                 /* strides from dims */
static inline bool weft_step_crosses(const weft_step *step) { /* an upload or a download */
  return step->is_copy && step->inputs[0]->on_device != step->outputs[0]->on_device;
}

#endif
