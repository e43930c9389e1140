/* remove_dead.c - drops nodes whose results nobody needs, last ones first, so that one walk is
 * enough; and the bytes of constants that only they needed. */
#include "opt/opt.h"
#include "opt/removal.h"

static void count_outputs(const weft_graph *graph, uint32_t region, uint32_t *uses) {
  const weft_region *r = &graph->regions[region];
  for (uint32_t i = 0; i < r->output_count; i++) uses[r->outputs[i]]++;
}

/* Uses by nodes that stay, and by the outputs of the main region and of their branches: those of an
 * `if` that went need nothing. */
static uint32_t *count_uses(const weft_graph *graph, weft_arena *arena) {
  uint32_t *uses = WEFT_ARENA_ARRAY(arena, uint32_t, graph->value_count + 1);
  if (!uses) return NULL;
  count_outputs(graph, 0, uses);
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const weft_node *node = &graph->nodes[n];
    if (node->removed) continue;
    for (uint32_t i = 0; i < node->input_count; i++) {
      if (node->inputs[i] != WEFT_VALUE_NONE) uses[node->inputs[i]]++;
    }
    if (node->op != WEFT_OP_IF) continue;
    count_outputs(graph, node->attributes.branches.then_region, uses);
    count_outputs(graph, node->attributes.branches.else_region, uses);
  }
  return uses;
}

static bool is_used(const weft_node *node, const uint32_t *uses) {
  for (uint32_t i = 0; i < node->output_count; i++) {
    if (uses[node->outputs[i]]) return true;
  }
  return false;
}

static void drop_one(weft_removal *r, weft_value_id value) {
  if (value == WEFT_VALUE_NONE || --r->uses[value] > 0) return;
  weft_value *dropped = &r->graph->values[value];
  if (dropped->kind == WEFT_VALUE_CONSTANT) weft_buffer_release(&dropped->data);
  weft_node_id producer = dropped->producer;
  if (producer == WEFT_NODE_NONE || is_used(&r->graph->nodes[producer], r->uses)) return;
  r->stack[r->depth++] = producer;
}

static void drop_outputs(weft_removal *r, uint32_t region) {
  const weft_region *branch = &r->graph->regions[region];
  for (uint32_t i = 0; i < branch->output_count; i++) drop_one(r, branch->outputs[i]);
}

static void drop_node(weft_removal *r, weft_node_id id) {
  const weft_node *node = &r->graph->nodes[id];
  weft_graph_remove_node(r->graph, id);
  for (uint32_t i = 0; i < node->input_count; i++) drop_one(r, node->inputs[i]);
  if (node->op != WEFT_OP_IF) return;
  drop_outputs(r, node->attributes.branches.then_region);
  drop_outputs(r, node->attributes.branches.else_region);
}

static void drop_stack(weft_removal *r) {
  while (r->depth > 0) drop_node(r, r->stack[--r->depth]);
}

weft_status weft_removal_start(weft_removal *r, weft_graph *graph, weft_arena *arena,
                               weft_error *error) {
  *r = (weft_removal){.graph = graph,
                      .uses = count_uses(graph, arena),
                      .stack = WEFT_ARENA_ARRAY(arena, weft_node_id, graph->node_count + 1)};
  return r->uses && r->stack ? WEFT_OK : weft_arena_fail(arena, "a rewrite", error);
}

void weft_removal_drop(weft_removal *r, weft_value_id value) {
  drop_one(r, value);
  drop_stack(r);
}

weft_status weft_pass_remove_dead(weft_graph *graph, const weft_opt_context *context,
                                  weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  weft_removal r;
  weft_status status = weft_removal_start(&r, graph, &arena, error);
  for (uint32_t n = 0; n < graph->node_count && status == WEFT_OK; n++) {
    if (graph->nodes[n].removed || is_used(&graph->nodes[n], r.uses)) continue;
    drop_node(&r, n);
    drop_stack(&r);
  }
  weft_arena_release(&arena);
  return status;
}
