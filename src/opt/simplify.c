/* simplify.c - nodes that give back what they got are taken out, and transposes of transposes
 * become one. */
#include "opt/match.h"
#include "opt/opt.h"

/* A view whose output has the input's shape and order. */
static bool is_idle_view(const weft_graph *graph, const weft_node *node) {
  const weft_shape *from = &graph->values[node->inputs[0]].shape,
                   *to = &graph->values[node->outputs[0]].shape;
  const weft_axes *axes = &node->attributes.view.axes;
  switch (node->attributes.view.kind) {
  case WEFT_VIEW_TRANSPOSE:
    for (uint32_t i = 0; i < axes->count; i++) {
      if (axes->axes[i] != (int8_t)i) return false;
    }
    return axes->count > 0 || (from->rank >= 0 && from->rank <= 1);
  case WEFT_VIEW_SLICE:
    return false; /* equal shapes do not rule out a reversed axis */
  default:
    return weft_shape_equal(from, to) && from->rank >= 0;
  }
}

static bool is_scalar(const weft_graph *graph, const weft_node *node, uint32_t operand,
                      double expected) {
  double number;
  return weft_match_scalar(graph, node->inputs[operand], &number) && number == expected;
}

/* A map that is one of its inputs: *from. x * 0 is not 0 for NaN, so only neutral elements count.
 */
static bool is_idle_map(const weft_graph *graph, const weft_node *node, weft_value_id *from) {
  const weft_expr *expr = &node->attributes.map.expr;
  *from = node->inputs[0];
  if (expr->code_count == 0) return true;
  if (expr->code_count != 1) return false;
  const weft_instruction *code = &expr->code[0];
  uint32_t a = code->operands[0], b = code->operands[1];
  *from = a < node->input_count ? node->inputs[a] : WEFT_VALUE_NONE;
  switch ((weft_expr_op)code->op) {
  case WEFT_EXPR_CAST:
    return *from != WEFT_VALUE_NONE && code->dtype == expr->input_dtypes[a];
  case WEFT_EXPR_SUB:
    return is_scalar(graph, node, b, 0);
  case WEFT_EXPR_DIV:
  case WEFT_EXPR_POW:
    return is_scalar(graph, node, b, 1);
  case WEFT_EXPR_MUL:
    if (is_scalar(graph, node, b, 1)) return true;
    *from = node->inputs[b];
    return is_scalar(graph, node, a, 1);
  default:
    return false;
  }
}

/* A transpose of a transpose reads from the first one's input. */
static void join_transposes(weft_graph *graph, weft_node *node) {
  const weft_node *inner = weft_match_producer(graph, node->inputs[0]);
  weft_axes *axes = &node->attributes.view.axes;
  bool both = inner && inner->op == WEFT_OP_VIEW &&
              inner->attributes.view.kind == WEFT_VIEW_TRANSPOSE &&
              node->attributes.view.kind == WEFT_VIEW_TRANSPOSE && axes->count > 0 &&
              inner->attributes.view.axes.count == axes->count;
  if (!both) return;
  for (uint32_t i = 0; i < axes->count; i++) {
    int32_t axis = axes->axes[i] < 0 ? axes->axes[i] + axes->count : axes->axes[i];
    axes->axes[i] = inner->attributes.view.axes.axes[axis];
  }
  node->inputs[0] = inner->inputs[0];
}

/* What a node gives back, or NONE when it does something. */
static weft_value_id idle_source(const weft_graph *graph, const weft_node *node) {
  weft_value_id from = node->inputs[0];
  bool idle = (node->op == WEFT_OP_VIEW && is_idle_view(graph, node)) ||
              (node->op == WEFT_OP_MAP && is_idle_map(graph, node, &from));
  if (!idle) return WEFT_VALUE_NONE;
  const weft_value *to = &graph->values[node->outputs[0]], *value = &graph->values[from];
  bool same = value->dtype == to->dtype && weft_shape_equal(&value->shape, &to->shape);
  return same ? from : WEFT_VALUE_NONE;
}

/* Values stand for others through `forward` (NONE: themselves), so that the graph is walked once
 * however many nodes go. */
static void simplify_node(weft_graph *graph, weft_node_id id, weft_value_id *forward) {
  weft_node *node = &graph->nodes[id];
  for (uint32_t i = 0; i < node->input_count; i++) {
    weft_value_id input = node->inputs[i];
    if (input != WEFT_VALUE_NONE && forward[input] != WEFT_VALUE_NONE)
      node->inputs[i] = forward[input];
  }
  if (node->op == WEFT_OP_VIEW) join_transposes(graph, node);
  if (node->op == WEFT_OP_IF) return;
  forward[node->outputs[0]] = idle_source(graph, node);
}

static void forward_outputs(weft_graph *graph, const weft_value_id *forward) {
  for (uint32_t r = 0; r < graph->region_count; r++) {
    weft_region *region = &graph->regions[r];
    for (uint32_t i = 0; i < region->output_count; i++) {
      weft_value_id to = forward[region->outputs[i]];
      if (to != WEFT_VALUE_NONE) region->outputs[i] = to;
    }
  }
}

weft_status weft_pass_simplify(weft_graph *graph, const weft_opt_context *context,
                               weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  weft_value_id *forward = WEFT_ARENA_ARRAY(&arena, weft_value_id, graph->value_count + 1);
  weft_status status = forward ? WEFT_OK : weft_arena_fail(&arena, "a rewrite", error);
  for (uint32_t i = 0; i < graph->value_count && forward; i++) forward[i] = WEFT_VALUE_NONE;
  weft_walk walk;
  weft_walk_start(&walk, graph);
  while (status == WEFT_OK) {
    weft_walk_event event = weft_walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event == WEFT_WALK_NODE && !graph->nodes[walk.node].removed)
      simplify_node(graph, walk.node, forward);
  }
  if (status == WEFT_OK) forward_outputs(graph, forward);
  weft_arena_release(&arena);
  return status;
}
