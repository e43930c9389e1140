/* placing.c - see placing.h. */
#include "opt/placing.h"

void weft_placing_start(weft_placing *placing, weft_graph *graph, weft_heap *heap,
                        weft_error *error) {
  *placing = (weft_placing){.graph = graph, .first = graph->node_count, .error = error};
  weft_arena_init(&placing->arena, heap);
}

weft_status weft_placing_add(weft_placing *placing, weft_node_id anchor, weft_op op,
                             const weft_value_id *inputs, uint32_t input_count,
                             const weft_attributes *attributes, weft_value_id *out) {
  weft_graph *graph = placing->graph;
  weft_attributes own = *attributes; /* which may be those of a node, and nodes move */
  const weft_node *at = &graph->nodes[anchor];
  weft_node *node;
  WEFT_TRY(weft_graph_add_node(graph, at->region, op, at->name, at->origin, inputs, input_count, 1,
                               &node, placing->error));
  node->attributes = own;
  *out = node->outputs[0];
  weft_node_id *before = WEFT_ARENA_PUSH(&placing->arena, placing->before, placing->count);
  if (!before) return weft_arena_fail(&placing->arena, "a rewrite", placing->error);
  *before = anchor;
  weft_inference facts = weft_inference_at_load(graph);
  return weft_infer_node(&facts, graph->node_count - 1, placing->error);
}

weft_status weft_placing_end(weft_placing *placing, weft_status status) {
  if (status == WEFT_OK)
    status = weft_graph_place(placing->graph, placing->first, placing->before, &placing->arena,
                              placing->error);
  weft_arena_release(&placing->arena);
  return status;
}
