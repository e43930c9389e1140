/* planner.h - the state that the parts of the planner share while one plan is built: plan_facts.c
 * (which nodes, which shapes) -> plan_place.c (which nodes run on the device, which on its host) ->
 * plan_steps.c (arrays and steps) -> plan_merge.c (steps that become parts of others) ->
 * plan_memory.c (where blocks lie). plan.c calls them in this order. The state of a graph with
 * caches is kept with the plan, so that plan_refresh.c can bring it up to date. */
#ifndef WEFT_PLAN_PLANNER_H
#define WEFT_PLAN_PLANNER_H

#include "base/checked.h"
#include "plan/device.h"

#define WEFT_BLOCK_NONE UINT32_MAX

/* Values may have an array on each side: in the host's memory, and in the device's where it has its
 * own. */
enum { WEFT_HOST, WEFT_DEVICE, WEFT_SIDES };

/* Memory of an activation, alive from the step that writes it to the last one that reads it. */
typedef struct weft_block {
  uint64_t bytes, offset; /* of the elements; in the arena rounded up to WEFT_ALIGNMENT */
  uint32_t first, last;
  /* The arena's; a piece of the pool's, once memory is laid out; or an output's: then it lies in
   * the caller's tensor. */
  uint32_t slot;
  bool on_device, uploaded; /* uploaded: by a copy from the host */
  bool unused;              /* of a step that was merged into another */
  uint32_t piece;           /* of the pool */
  uint32_t merged; /* the block whose memory it takes over (in-place steps), or WEFT_BLOCK_NONE */
  const weft_array *array; /* the dense array that it was made for */
} weft_block;

typedef struct weft_planned {
  weft_array array;          /* first: a weft_array of a plan is a weft_planned */
  uint64_t room;             /* elements that there is memory for, where they are known */
  struct weft_planned *next; /* all of the plan's, newest first */
} weft_planned;

/* The block that an array lies in; WEFT_BLOCK_NONE: a constant or an input. */
static inline uint32_t weft_block_of(const weft_array *array) {
  return array->block - 1;
}

typedef struct weft_planner {
  const weft_graph *graph;
  const weft_device *device;
  const weft_plan_request *request;
  weft_plan *plan;
  weft_error *error;
  weft_arena scratch; /* of everything that only planning needs */

  weft_inference facts;
  weft_value_id *alias; /* by value: outputs of a taken branch stand for those of its `if` */
  bool *needed;         /* by value */
  weft_node_id *order;  /* nodes in execution order */
  bool *runs;           /* by place in it: needed, and not computed by inference */
  uint32_t order_count;
  bool *on_device;       /* by place: runs there */
  const char **why_host; /* by place: why it does not; NULL: no device with memory of its own */
  uint8_t *home;         /* by value: the side on which it is made */

  /* By side and value. The arrays of the device's side are NULL where there is no such. */
  weft_array **arrays[WEFT_SIDES]; /* NULL: not made yet */
  weft_array **dense[WEFT_SIDES];  /* its dense copy, once one was needed */
  weft_planned *planned;
  weft_block *blocks;
  uint32_t block_count;

  struct weft_refresh *refresh; /* NULL: the state is not kept */
} weft_planner;

#define WEFT_PLACE_NONE   UINT32_MAX       /* not in the order */
#define WEFT_PLACE_BRANCH (UINT32_MAX - 1) /* an `if`: what it depends on must stay */

/* What finds the parts of a plan that depend on a value. */
typedef struct weft_refresh {
  weft_users users;
  uint32_t *place;               /* by node: in the order */
  uint32_t *step_of;             /* by node: its step */
  uint32_t *copy_of[WEFT_SIDES]; /* by value: the step that makes its dense copy */
  uint32_t *crossing_of; /* by value: the step that brings it to the other side; UINT32_MAX: none */
  uint32_t *output_of;   /* by graph output: the step that copies it there; UINT32_MAX: none */
  bool *host;            /* by value: known by inference, which must stay so */
  bool *branch_output;   /* by value: stands for an output of an `if` */
  uint64_t *dirty;       /* by place, a bit: to be looked at. Stays set when a refresh fails */
  bool *late;            /* by step: one that a refresh has prepared */
  uint32_t *late_steps;  /* their numbers */
  uint32_t late_count;
  uint64_t *scratch_room; /* by step: bytes that its scratch may have where it lies */
  uint64_t arena_end;     /* of the activation arena as it was laid out */
  weft_arena states;      /* of late steps, filled anew by each refresh */
  int64_t *cache_rows;    /* by graph output: of the request that the plan is for */
  bool *is_past;          /* by graph input: a cache appends to it */
  bool stale;             /* a refresh failed */
} weft_refresh;

weft_value_id weft_planner_resolve(const weft_planner *planner, weft_value_id value);
/* Every element of the value was computed by inference. */
bool weft_planner_is_host_value(const weft_planner *planner, weft_value_id value);

/* The device that runs the steps of a side. */
static inline const weft_device *weft_planner_device(const weft_planner *planner, bool on_device) {
  return on_device || !planner->device->host ? planner->device : planner->device->host;
}
/* Whether a copy between the sides may read the array: whole words in a row. */
static inline bool weft_array_may_cross(const weft_array *array) {
  return weft_array_is_dense(array) && (!array->on_device || array->offset % 4 == 0);
}
/* The output that the value is, where that is a cache. */
bool weft_planner_find_cache(const weft_planner *planner, weft_value_id value, uint32_t *out);

weft_status weft_plan_facts(weft_planner *planner);
weft_status weft_plan_place(weft_planner *planner);
weft_status weft_plan_steps(weft_planner *planner);
void weft_plan_merge(weft_planner *planner);
weft_status weft_plan_memory(weft_planner *planner);

/* What a request feeds and what it wants, as parts of the signature: an input's rank, 0 or 1 or (a
 * cache) 2 of an output, and on which side. */
#define WEFT_KIND_ON_DEVICE 256
static inline bool weft_plan_feeds_device(const weft_plan_request *request, uint32_t input) {
  return request->inputs_on_device && request->inputs_on_device[input];
}
static inline bool weft_plan_wants_device(const weft_plan_request *request, uint32_t output) {
  return request->outputs_on_device && request->outputs_on_device[output];
}
static inline int64_t weft_plan_input_kind(const weft_plan_request *request, uint32_t input) {
  return request->ranks[input] + (weft_plan_feeds_device(request, input) ? WEFT_KIND_ON_DEVICE : 0);
}
static inline bool weft_plan_wants_cache(const weft_plan_request *request, uint32_t output) {
  return request->wanted[output] && request->cache_rows &&
         request->cache_rows[output] != WEFT_NO_CACHE;
}
static inline int64_t weft_plan_output_kind(const weft_plan_request *request, uint32_t output) {
  if (!request->wanted[output]) return 0;
  return (weft_plan_wants_cache(request, output) ? 2 : 1) +
         (weft_plan_wants_device(request, output) ? WEFT_KIND_ON_DEVICE : 0);
}
/* Strides of a cache's output (and of its past, which may lie in place) for the request. */
void weft_planner_lay_cache(const weft_planner *planner, weft_value_id value);
static inline bool weft_planner_is_cache(const weft_planner *planner, uint32_t output) {
  return weft_plan_wants_cache(planner->request, output);
}
/* The block that stands for this one after merging: never one that is merged itself. */
static inline uint32_t weft_root_block(const weft_planner *planner, uint32_t id) {
  uint32_t merged = planner->blocks[id].merged;
  return merged == WEFT_BLOCK_NONE ? id : merged;
}

/* Before the other parts make steps, and after them (plan_refresh.c). */
weft_status weft_refresh_open(weft_planner *planner);
weft_status weft_refresh_finish(weft_planner *planner);
void weft_planner_release(weft_planner *planner);

/* By how much the extents that differ do so. */
int64_t weft_plan_shift(const weft_plan *plan, const weft_plan_request *request);
void weft_plan_write_signature(const weft_plan_request *request, weft_plan *plan);

/* The failure when the plan's or the planner's arena has no memory left. */
weft_status weft_planner_no_memory(const weft_planner *planner);

#endif
