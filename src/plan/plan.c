/* plan.c - makes and releases plans; the work is in plan_facts.c, plan_place.c, plan_steps.c,
 * plan_merge.c and plan_memory.c, in this order. */
#include "plan/plan.h"

#include "plan/planner.h"

bool weft_array_is_dense(const weft_array *array) {
  int64_t stride = 1;
  if (array->elements == 0) return true;
  for (int32_t i = array->rank - 1; i >= 0; i--) {
    if (array->dims[i] != 1 && array->strides[i] != stride) return false;
    stride *= array->dims[i];
  }
  return true;
}

void weft_array_set_dense(weft_array *array) {
  int64_t stride = 1;
  for (int32_t i = array->rank - 1; i >= 0; i--) {
    array->strides[i] = stride;
    stride *= array->dims[i] > 0 ? array->dims[i] : 1;
  }
}

weft_status weft_planner_no_memory(const weft_planner *planner) {
  return weft_arena_fail(&planner->plan->arena, "a plan", planner->error);
}

/* What tells requests apart: ranks, extents and wanted outputs as one list of integers. */
static uint32_t signature_length(const weft_plan_request *request, uint32_t inputs,
                                 uint32_t outputs) {
  uint32_t length = outputs;
  for (uint32_t i = 0; i < inputs; i++) length += 1 + request->ranks[i];
  return length;
}

void weft_plan_write_signature(const weft_plan_request *request, weft_plan *plan) {
  int64_t *out = plan->signature;
  for (uint32_t i = 0; i < plan->input_count; i++) {
    *out++ = weft_plan_input_kind(request, i);
    for (uint32_t d = 0; d < request->ranks[i]; d++) *out++ = request->dims[i][d];
  }
  for (uint32_t i = 0; i < plan->output_count; i++) *out++ = weft_plan_output_kind(request, i);
}

static weft_status init_plan(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  weft_plan *plan = planner->plan;
  plan->input_count = region->input_count;
  plan->output_count = region->output_count;
  plan->signature_length =
      signature_length(planner->request, plan->input_count, plan->output_count);
  plan->inputs = WEFT_ARENA_ARRAY(&plan->arena, const weft_array *, plan->input_count + 1);
  plan->outputs = WEFT_ARENA_ARRAY(&plan->arena, const weft_array *, plan->output_count + 1);
  plan->signature = WEFT_ARENA_ARRAY(&plan->arena, int64_t, plan->signature_length + 1);
  if (!plan->inputs || !plan->outputs || !plan->signature) return weft_planner_no_memory(planner);
  weft_plan_write_signature(planner->request, plan);
  return WEFT_OK;
}

static weft_status build(weft_planner *planner) {
  WEFT_TRY(init_plan(planner));
  WEFT_TRY(weft_plan_facts(planner));
  WEFT_TRY(weft_plan_place(planner));
  WEFT_TRY(weft_plan_steps(planner));
  weft_plan_merge(planner);
  WEFT_TRY(weft_plan_memory(planner));
  return planner->refresh ? weft_refresh_finish(planner) : WEFT_OK;
}

weft_status weft_plan_build(const weft_graph *graph, const weft_device *device,
                            const weft_plan_request *request, weft_heap *heap, weft_plan *out,
                            weft_error *error) {
  *out = (weft_plan){0};
  weft_arena_init(&out->arena, heap);
  weft_planner planner = {
      .graph = graph, .device = device, .request = request, .plan = out, .error = error};
  weft_arena_init(&planner.scratch, heap);
  weft_status status = build(&planner);
  if (out->planner) {
    *out->planner = planner;
    out->planner->facts.arena = &out->planner->scratch;
  } else {
    weft_arena_release(&planner.scratch);
  }
  if (status != WEFT_OK) weft_plan_release(out);
  return status;
}

void weft_plan_release(weft_plan *plan) {
  if (plan->planner) weft_planner_release(plan->planner);
  weft_arena_release(&plan->arena);
  *plan = (weft_plan){0};
}
