/* plan_dump.c - a plan as text: one line per step, with kernel, shapes and places, and where the
 * device has memory of its own with the side that it runs on. Stable enough for golden tests. */
#include "base/text.h"
#include "plan/plan.h"

static void dump_place(const weft_plan *plan, const weft_array *array, weft_text *text) {
  uint32_t slot = array->slot, outputs = 1 + plan->input_count;
  weft_text_add(text, array->on_device ? "@device:" : "@");
  if (array->constant || array->memory)
    weft_text_add(text, "constant");
  else if (slot == WEFT_SLOT_ARENA)
    weft_text_add(text, "%llu", (unsigned long long)array->offset);
  else if (slot < outputs)
    weft_text_add(text, "input%u", slot - 1);
  else if (slot < outputs + plan->output_count)
    weft_text_add(text, "output%u", slot - outputs);
  else
    weft_text_add(text, "%u", slot - outputs - plan->output_count);
}

static void dump_array(const weft_plan *plan, const weft_array *array, weft_text *text) {
  if (!array) {
    weft_text_add(text, " -");
    return;
  }
  weft_text_add(text, " %s[", weft_dtype_name(array->dtype));
  for (int32_t i = 0; i < array->rank; i++) {
    weft_text_add(text, i ? ",%lld" : "%lld", (long long)array->dims[i]);
  }
  weft_text_add(text, "]");
  if (array->layout == WEFT_LAYOUT_PANELS)
    weft_text_add(text, " panels");
  else if (array->layout >= WEFT_LAYOUT_GPU)
    weft_text_add(text, " words");
  else if (!weft_array_is_dense(array))
    weft_text_add(text, " strided");
  dump_place(plan, array, text);
}

/* Where a step runs. */
static const char *side_of(const weft_plan *plan, const weft_step *step) {
  if (plan->pool_count == 0 && !step->on_device && !step->why_host) return "";
  if (weft_step_crosses(step)) return step->outputs[0]->on_device ? "upload " : "download ";
  return step->on_device ? "device " : "host ";
}

static void dump_step(const weft_plan *plan, const weft_step *step, weft_text *text) {
  weft_str name = step->node ? step->node->name : WEFT_STR("output");
  weft_text_add(text, "  %s%s '%.*s' %s:", side_of(plan, step),
                step->is_copy ? "copy" : weft_op_facts_of(step->node->op)->name,
                WEFT_STR_ARGS(name), step->kernel ? step->kernel : "?");
  for (uint32_t i = 0; i < step->input_count; i++) dump_array(plan, step->inputs[i], text);
  weft_text_add(text, " ->");
  for (uint32_t i = 0; i < step->output_count; i++) dump_array(plan, step->outputs[i], text);
  if (step->scratch_bytes)
    weft_text_add(text, " scratch %llu", (unsigned long long)step->scratch_bytes);
  if (step->why_host) weft_text_add(text, " (%s)", step->why_host);
  weft_text_add(text, "\n");
}

static void dump_pool(const weft_plan *plan, weft_text *text) {
  uint64_t bytes = 0;
  for (uint32_t p = 0; p < plan->pool_count; p++) bytes += plan->pool_bytes[p];
  weft_text_add(text, "pool of the device: %llu bytes in %u pieces\n", (unsigned long long)bytes,
                plan->pool_count);
}

void weft_plan_dump(const weft_graph *graph, const weft_plan *plan, weft_text *text) {
  const weft_region *region = &graph->regions[0];
  for (uint32_t i = 0; i < plan->input_count; i++) {
    weft_text_add(text, "input %u '%.*s':", i,
                  WEFT_STR_ARGS(graph->values[region->inputs[i]].name));
    dump_array(plan, plan->inputs[i], text);
    weft_text_add(text, "\n");
  }
  for (uint32_t i = 0; i < plan->output_count; i++) {
    weft_text_add(text, "output %u '%.*s':", i,
                  WEFT_STR_ARGS(graph->values[region->outputs[i]].name));
    dump_array(plan, plan->outputs[i], text);
    weft_text_add(text, "\n");
  }
  weft_text_add(text, "arena %llu bytes (%llu live at once), %u steps\n",
                (unsigned long long)plan->arena_bytes, (unsigned long long)plan->arena_bytes_live,
                plan->step_count);
  if (plan->pool_count > 0) dump_pool(plan, text);
  for (uint32_t i = 0; i < plan->step_count; i++) dump_step(plan, &plan->steps[i], text);
}
