/* fuse_maps.c - elementwise nodes that feed only one other are computed there, and constants of one
 * element become immediates, so that a chain is one walk over memory. */
#include "opt/compose.h"
#include "opt/match.h"
#include "opt/opt.h"

static bool uses_value(const weft_node *node, weft_value_id value) {
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == value) return true;
  }
  return false;
}

/* The map that makes `value` may be computed inside `node`: nobody else needs it, nothing is
 * computed more often than before (equal shapes), and it is not shape arithmetic, which inference
 * evaluates node by node. */
static const weft_node *find_producer(const weft_graph *graph, const uint32_t *uses,
                                      const weft_node *node, weft_value_id value) {
  const weft_node *producer = weft_match_producer(graph, value);
  if (!producer || producer->op != WEFT_OP_MAP || producer->region != node->region) return NULL;
  const weft_value *made = &graph->values[value], *output = &graph->values[node->outputs[0]];
  bool fits = uses[value] == 1 && !made->elements && weft_shape_equal(&made->shape, &output->shape);
  return fits ? producer : NULL;
}

/* The largest rank among inputs that stay inputs: constants up to it may become immediates without
 * changing the shape. */
static int32_t rank_without_scalars(const weft_graph *graph, const weft_node *node) {
  int32_t rank = -1;
  for (uint32_t i = 0; i < node->input_count; i++) {
    const weft_value *value = &graph->values[node->inputs[i]];
    if (value->kind != WEFT_VALUE_CONSTANT && value->shape.rank > rank) rank = value->shape.rank;
  }
  return rank;
}

/* node's expression with the producers of its inputs in place. */
static void compose(weft_composer *composer, const uint32_t *uses, const weft_node *node) {
  const weft_graph *graph = composer->graph;
  uint32_t operands[WEFT_EXPR_INPUTS_MAX];
  for (uint32_t i = 0; i < node->input_count; i++) {
    const weft_node *producer = find_producer(graph, uses, node, node->inputs[i]);
    const weft_node *from = producer ? producer : node;
    int32_t rank = rank_without_scalars(graph, from);
    if (!producer) {
      operands[i] = weft_compose_value(composer, node->inputs[i], rank);
      continue;
    }
    uint32_t inner[WEFT_EXPR_INPUTS_MAX];
    for (uint32_t k = 0; k < producer->input_count; k++) {
      inner[k] = weft_compose_value(composer, producer->inputs[k], rank);
    }
    weft_compose_append(composer, &producer->attributes.map.expr, inner);
    operands[i] = composer->result;
  }
  weft_compose_append(composer, &node->attributes.map.expr, operands);
}

/* A value that producer and consumer both used has one user less; the producers are gone. */
static void update_uses(weft_graph *graph, uint32_t *uses, const weft_node *node) {
  for (uint32_t i = 0; i < node->input_count; i++) {
    weft_value_id value = node->inputs[i];
    const weft_node *producer = find_producer(graph, uses, node, value);
    if (!producer) continue;
    uses[value] = 0;
    for (uint32_t k = 0; k < producer->input_count; k++) {
      bool again = false;
      for (uint32_t j = 0; j < k; j++) again |= producer->inputs[j] == producer->inputs[k];
      if (!again && uses_value(node, producer->inputs[k])) uses[producer->inputs[k]]--;
    }
  }
}

static weft_status fuse(weft_graph *graph, uint32_t *uses, weft_node_id id, weft_error *error) {
  weft_node *node = &graph->nodes[id];
  weft_composer composer;
  weft_compose_start(&composer, graph);
  compose(&composer, uses, node);
  if (composer.full || composer.input_count == 0) return WEFT_OK;
  update_uses(graph, uses, node);
  weft_expr expr;
  WEFT_TRY(weft_compose_finish(&composer, graph, &expr, error));
  WEFT_TRY(
      weft_match_rewrite(graph, node, WEFT_OP_MAP, composer.inputs, composer.input_count, error));
  node->attributes.map.expr = expr;
  return WEFT_OK;
}

weft_status weft_pass_fuse_maps(weft_graph *graph, const weft_opt_context *context,
                                weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  uint32_t *uses;
  weft_status status = weft_count_user_nodes(graph, &arena, &uses, error);
  weft_walk walk;
  weft_walk_start(&walk, graph); /* in execution order: producers are fused before their users */
  while (status == WEFT_OK) {
    weft_walk_event event = weft_walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event != WEFT_WALK_NODE) continue;
    const weft_node *node = &graph->nodes[walk.node];
    if (!node->removed && node->op == WEFT_OP_MAP) status = fuse(graph, uses, walk.node, error);
  }
  weft_arena_release(&arena);
  return status;
}
