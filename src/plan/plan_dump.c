/* plan_dump.c - a plan as text: one line per step, with kernel, shapes and places. Stable enough
 * for golden tests. */
#include "base/text.h"
#include "plan/plan.h"

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
  else if (!weft_array_is_dense(array))
    weft_text_add(text, " strided");
  if (array->constant)
    weft_text_add(text, "@constant");
  else if (array->slot == WEFT_SLOT_ARENA)
    weft_text_add(text, "@%llu", (unsigned long long)array->offset);
  else if (array->slot <= plan->input_count)
    weft_text_add(text, "@input%u", array->slot - 1);
  else
    weft_text_add(text, "@output%u", array->slot - 1 - plan->input_count);
}

static void dump_step(const weft_plan *plan, const weft_step *step, weft_text *text) {
  weft_str name = step->node ? step->node->name : WEFT_STR("output");
  weft_text_add(text,
                "  %s '%.*s' %s:", step->is_copy ? "copy" : weft_op_facts_of(step->node->op)->name,
                WEFT_STR_ARGS(name), step->kernel ? step->kernel : "?");
  for (uint32_t i = 0; i < step->input_count; i++) dump_array(plan, step->inputs[i], text);
  weft_text_add(text, " ->");
  for (uint32_t i = 0; i < step->output_count; i++) dump_array(plan, step->outputs[i], text);
  if (step->scratch_bytes)
    weft_text_add(text, " scratch %llu", (unsigned long long)step->scratch_bytes);
  weft_text_add(text, "\n");
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
  for (uint32_t i = 0; i < plan->step_count; i++) dump_step(plan, &plan->steps[i], text);
}
