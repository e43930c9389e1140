/* planner.h - the state that the parts of the planner share while one plan is built: plan_facts.c
 * (which nodes, which shapes) -> plan_steps.c (arrays and steps) -> plan_memory.c (where blocks
 * lie). plan.c calls them in this order. */
#ifndef WEFT_PLAN_PLANNER_H
#define WEFT_PLAN_PLANNER_H

#include "base/checked.h"
#include "plan/device.h"

#define WEFT_BLOCK_NONE UINT32_MAX

/* Memory of an activation, alive from the step that writes it to the last one that reads it. */
typedef struct weft_block {
  uint64_t bytes, offset; /* of the elements; in the arena rounded up to WEFT_ALIGNMENT */
  uint32_t first, last;
  uint32_t slot;   /* the arena's, or an output's: then it lies in the caller's tensor */
  uint32_t merged; /* the block whose memory it takes over (in-place steps), or WEFT_BLOCK_NONE */
} weft_block;

/* An array with the block that it lies in (WEFT_BLOCK_NONE: a constant or an input). */
typedef struct weft_planned {
  weft_array array; /* first: a weft_array of a plan is a weft_planned */
  uint32_t block;
  struct weft_planned *next; /* all of the plan's, newest first */
} weft_planned;

static inline uint32_t weft_block_of(const weft_array *array) {
  return ((const weft_planned *)(const void *)array)->block;
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
  weft_node_id *order;  /* nodes to run; WEFT_NODE_NONE: not needed */
  uint32_t order_count;

  weft_array **arrays; /* by value; NULL: not made yet */
  weft_array **dense;  /* by value: its dense copy, once one was needed */
  weft_planned *planned;
  weft_block *blocks;
  uint32_t block_count;
} weft_planner;

weft_value_id weft_planner_resolve(const weft_planner *planner, weft_value_id value);
/* Every element of the value was computed by inference. */
bool weft_planner_is_host_value(const weft_planner *planner, weft_value_id value);

weft_status weft_plan_facts(weft_planner *planner);
weft_status weft_plan_steps(weft_planner *planner);
weft_status weft_plan_memory(weft_planner *planner);

/* The failure when the plan's or the planner's arena has no memory left. */
weft_status weft_planner_no_memory(const weft_planner *planner);

#endif
