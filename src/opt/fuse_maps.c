/* fuse_maps.c - elementwise nodes that feed only one other are computed there, and constants of one
 * element become immediates, so that a chain is one walk over memory. */
#include "opt/compose.h"
#include "opt/match.h"
#include "opt/opt.h"

typedef struct fusion {
  weft_graph *graph;
  uint32_t *uses; /* by value: nodes and region outputs that use it */
  weft_composer composer;
  const weft_node *producers[WEFT_EXPR_INPUTS_MAX]; /* computed in the node */
  uint32_t producer_count;
} fusion;

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

/* The operand that stands for an input of `node`: what its producer computes, if that may be
 * computed here. */
static uint32_t compose_input(fusion *fuse, const weft_node *node, weft_value_id value) {
  const weft_graph *graph = fuse->graph;
  const weft_node *producer = find_producer(graph, fuse->uses, node, value);
  if (!producer)
    return weft_compose_value(&fuse->composer, value, rank_without_scalars(graph, node));
  int32_t rank = rank_without_scalars(graph, producer);
  uint32_t inner[WEFT_EXPR_INPUTS_MAX];
  for (uint32_t i = 0; i < producer->input_count; i++) {
    inner[i] = weft_compose_value(&fuse->composer, producer->inputs[i], rank);
  }
  weft_compose_append(&fuse->composer, &producer->attributes.map.expr, inner);
  fuse->producers[fuse->producer_count++] = producer;
  return fuse->composer.result;
}

/* Whether input number `index` is one of the earlier inputs too, and which. */
static bool find_repeated(const weft_node *node, uint32_t index, uint32_t *first) {
  for (*first = 0; *first < index; (*first)++) {
    if (node->inputs[*first] == node->inputs[index]) return true;
  }
  return false;
}

/* node's expression with the producers of its inputs in place. */
static void compose(fusion *fuse, const weft_node *node) {
  uint32_t operands[WEFT_EXPR_INPUTS_MAX], first;
  weft_compose_start(&fuse->composer, fuse->graph);
  fuse->producer_count = 0;
  for (uint32_t i = 0; i < node->input_count; i++) {
    operands[i] = find_repeated(node, i, &first) ? operands[first]
                                                 : compose_input(fuse, node, node->inputs[i]);
  }
  weft_compose_append(&fuse->composer, &node->attributes.map.expr, operands);
}

/* Each node counts once as a user, however often it has the value. */
static void drop_uses(fusion *fuse, const weft_node *node) {
  uint32_t first;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (!find_repeated(node, i, &first)) fuse->uses[node->inputs[i]]--;
  }
}

/* Computes producers in the node, if all of it fits; producer_count says how many. */
static weft_status fuse_node(fusion *fuse, weft_node_id id, weft_error *error) {
  weft_node *node = &fuse->graph->nodes[id];
  const weft_composer *composer = &fuse->composer;
  compose(fuse, node);
  if (composer->full || composer->input_count == 0) {
    fuse->producer_count = 0;
    return WEFT_OK;
  }
  drop_uses(fuse, node);
  for (uint32_t i = 0; i < fuse->producer_count; i++) drop_uses(fuse, fuse->producers[i]);
  weft_expr expr;
  WEFT_TRY(weft_compose_finish(composer, fuse->graph, &expr, error));
  WEFT_TRY(weft_match_rewrite(fuse->graph, node, WEFT_OP_MAP, composer->inputs,
                              composer->input_count, error));
  node->attributes.map.expr = expr;
  for (uint32_t i = 0; i < composer->input_count; i++) fuse->uses[composer->inputs[i]]++;
  return WEFT_OK;
}

weft_status weft_pass_fuse_maps(weft_graph *graph, const weft_opt_context *context,
                                weft_error *error) {
  fusion fuse = {.graph = graph};
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  weft_status status = weft_count_user_nodes(graph, &arena, &fuse.uses, error);
  weft_walk walk;
  weft_walk_start(&walk, graph); /* in execution order: producers are fused before their users */
  while (status == WEFT_OK) {
    weft_walk_event event = weft_walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    const weft_node *node = &graph->nodes[walk.node];
    if (event != WEFT_WALK_NODE || node->removed || node->op != WEFT_OP_MAP) continue;
    /* What two producers shared has one user less, and may be next. */
    do status = fuse_node(&fuse, walk.node, error);
    while (status == WEFT_OK && fuse.producer_count > 0);
  }
  weft_arena_release(&arena);
  return status;
}
