/* fuse_cache.c - a cache that grows by Concat becomes `append`, which a device may do in place:
 *
 *   present = Concat(past, new) along axis 2 of [B,G,T,D], past an input of the graph and present
 * an output of a region */
#include "opt/match.h"
#include "opt/opt.h"

/* A concat of one is what it is given. */
static weft_value_id strip_concat(const weft_graph *graph, weft_value_id value) {
  const weft_node *node = weft_match_producer(graph, value);
  return node && node->op == WEFT_OP_CONCAT && node->input_count == 1 ? node->inputs[0] : value;
}

static bool is_cache(const weft_graph *graph, const weft_node *node) {
  if (node->removed || node->op != WEFT_OP_CONCAT || node->input_count != 2) return false;
  int32_t axis = node->attributes.axis.axis;
  return graph->values[node->outputs[0]].shape.rank == 4 && (axis == 2 || axis == -2);
}

static bool is_output(const weft_users *users, weft_value_id value) {
  for (uint32_t i = users->first[value]; i < users->first[value + 1]; i++)
    if (users->nodes[i] == WEFT_NODE_NONE) return true;
  return false;
}

static weft_status fuse_all(weft_graph *graph, weft_arena *arena, weft_error *error) {
  weft_users users;
  WEFT_TRY(weft_graph_users(graph, arena, &users, error));
  for (uint32_t n = 0; n < graph->node_count; n++) {
    weft_node *node = &graph->nodes[n];
    if (!is_cache(graph, node) || !is_output(&users, node->outputs[0])) continue;
    weft_value_id inputs[] = {strip_concat(graph, node->inputs[0]), node->inputs[1]};
    if (graph->values[inputs[0]].kind != WEFT_VALUE_INPUT) continue;
    WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_APPEND, inputs, 2, error));
  }
  return WEFT_OK;
}

weft_status weft_pass_fuse_cache(weft_graph *graph, const weft_opt_context *context,
                                 weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  weft_status status = fuse_all(graph, &arena, error);
  weft_arena_release(&arena);
  return status;
}
