/* fuse_epilogues.c - elementwise work on a matmul's result (bias, activation, residual) moves into
 * the matmul, which does it on each tile while that is in cache. The map node becomes the matmul,
 * so that everything it reads is there. */
#include "opt/compose.h"
#include "opt/match.h"
#include "opt/opt.h"

/* The matmul that makes input `value` of the map `node`, if all its work may move there. */
static const weft_node *find_matmul(const weft_graph *graph, const uint32_t *uses,
                                    const weft_node *node, weft_value_id value) {
  const weft_node *matmul = weft_match_producer(graph, value);
  if (!matmul || matmul->op != WEFT_OP_MATMUL || matmul->region != node->region) return NULL;
  const weft_value *product = &graph->values[value], *output = &graph->values[node->outputs[0]];
  bool fits = uses[value] == 1 && weft_match_is_float(product->dtype) &&
              weft_match_is_float(output->dtype) &&
              weft_shape_equal(&product->shape, &output->shape);
  return fits ? matmul : NULL;
}

/* The matmul's expression, then the map's with the matmul's value at `value`. Input 0 is the
 * product. */
static void compose(weft_composer *composer, const weft_node *matmul, const weft_node *node,
                    weft_value_id value) {
  uint32_t operands[WEFT_EXPR_INPUTS_MAX] = {0};
  const weft_value *values = composer->graph->values;
  weft_compose_input(composer, WEFT_VALUE_NONE, values[matmul->inputs[0]].dtype);
  for (uint32_t i = 2; i < matmul->input_count; i++) {
    operands[i - 1] =
        weft_compose_input(composer, matmul->inputs[i], values[matmul->inputs[i]].dtype);
  }
  weft_compose_append(composer, &matmul->attributes.matmul.expr, operands);
  uint32_t product = composer->result;
  int32_t rank = values[value].shape.rank;
  for (uint32_t i = 0; i < node->input_count; i++) {
    operands[i] =
        node->inputs[i] == value ? product : weft_compose_value(composer, node->inputs[i], rank);
  }
  weft_compose_append(composer, &node->attributes.map.expr, operands);
}

static weft_status fuse(weft_graph *graph, weft_node *node, const weft_node *matmul,
                        weft_value_id value, bool *done, weft_error *error) {
  weft_composer composer;
  weft_compose_start(&composer, graph);
  compose(&composer, matmul, node, value);
  *done = !composer.full;
  if (composer.full) return WEFT_OK;
  weft_expr expr;
  WEFT_TRY(weft_compose_finish(&composer, graph, &expr, error));
  weft_value_id inputs[2 + WEFT_EXPR_INPUTS_MAX] = {matmul->inputs[0], matmul->inputs[1]};
  memcpy(inputs + 2, composer.inputs + 1, (composer.input_count - 1) * sizeof inputs[0]);
  weft_node_id dead = (weft_node_id)(matmul - graph->nodes);
  bool int8_rows = matmul->attributes.matmul.int8_rows;
  WEFT_TRY(
      weft_match_rewrite(graph, node, WEFT_OP_MATMUL, inputs, 1 + composer.input_count, error));
  node->attributes.matmul.expr = expr;
  node->attributes.matmul.int8_rows = int8_rows;
  weft_str name = matmul->name; /* profiles and messages speak of the matmul */
  graph->nodes[dead].name = node->name;
  node->name = name;
  weft_graph_remove_node(graph, dead);
  return WEFT_OK;
}

weft_status weft_pass_fuse_epilogues(weft_graph *graph, const weft_opt_context *context,
                                     weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  uint32_t *uses;
  weft_status status = weft_count_user_nodes(graph, &arena, &uses, error);
  weft_walk walk;
  weft_walk_start(&walk, graph);
  while (status == WEFT_OK) {
    weft_walk_event event = weft_walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event != WEFT_WALK_NODE) continue;
    weft_node *node = &graph->nodes[walk.node];
    bool done = false;
    if (node->removed || node->op != WEFT_OP_MAP) continue;
    for (uint32_t i = 0; i < node->input_count && !done && status == WEFT_OK; i++) {
      weft_value_id value = node->inputs[i];
      const weft_node *matmul = find_matmul(graph, uses, node, value);
      if (matmul) status = fuse(graph, node, matmul, value, &done, error);
    }
  }
  weft_arena_release(&arena);
  return status;
}
