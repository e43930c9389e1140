/* fuse_norm.c - normalisation written out by exporters becomes one node:
 *
 *   d = x - mean(x);  y = d / sqrt(mean(d^2) + epsilon) * scale + bias      layer norm
 *   y = x / sqrt(mean(x^2) + epsilon) * scale                               RMS norm
 *
 * with d^2 as Pow or Mul, the division as Div, or Mul by Reciprocal or by a division of 1, and
 * operands in either order. In f16 what comes before the scale may be cast to f32 and back. */
#include "opt/match.h"
#include "opt/opt.h"

typedef struct norm_match {
  weft_norm_kind kind;
  weft_value_id x, scale, bias;
  int32_t axis;
  double epsilon;
} norm_match;

/* value = numerator / root, in one of the spellings. */
static bool match_quotient(const weft_graph *graph, weft_value_id value, weft_value_id *numerator,
                           weft_value_id *root) {
  weft_value_id operands[3], inverse[3];
  if (weft_match_map(graph, value, WEFT_EXPR_DIV, operands)) {
    *numerator = operands[0];
    *root = operands[1];
    return true;
  }
  if (!weft_match_map(graph, value, WEFT_EXPR_MUL, operands)) return false;
  for (int i = 0; i < 2; i++) {
    double one;
    *numerator = operands[1 - i];
    if (weft_match_map(graph, operands[i], WEFT_EXPR_RECIPROCAL, inverse)) {
      *root = inverse[0];
      return true;
    }
    if (weft_match_map(graph, operands[i], WEFT_EXPR_DIV, inverse) &&
        weft_match_scalar(graph, inverse[0], &one) && one == 1) {
      *root = inverse[1];
      return true;
    }
  }
  return false;
}

/* value = base^2 */
static bool match_square(const weft_graph *graph, weft_value_id value, weft_value_id *base) {
  weft_value_id operands[3];
  double two;
  if (weft_match_with_scalar(graph, value, WEFT_EXPR_POW, base, &two)) return two == 2;
  if (!weft_match_map(graph, value, WEFT_EXPR_MUL, operands) || operands[0] != operands[1])
    return false;
  *base = operands[0];
  return true;
}

/* root = sqrt(mean(base^2) + epsilon) */
static bool match_root(const weft_graph *graph, weft_value_id root, norm_match *match,
                       weft_value_id *base) {
  weft_value_id operands[3], variance;
  if (!weft_match_map(graph, root, WEFT_EXPR_SQRT, operands)) return false;
  if (!weft_match_with_scalar(graph, operands[0], WEFT_EXPR_ADD, &variance, &match->epsilon))
    return false;
  const weft_node *mean = weft_match_reduce_last(graph, variance, WEFT_REDUCE_MEAN, &match->axis);
  return mean && match_square(graph, mean->inputs[0], base);
}

/* value = x - mean(x) over the same axes */
static bool match_centred(const weft_graph *graph, weft_value_id value, int32_t axis,
                          weft_value_id *x) {
  weft_value_id operands[3];
  int32_t mean_axis;
  if (!weft_match_map(graph, value, WEFT_EXPR_SUB, operands)) return false;
  const weft_node *mean = weft_match_reduce_last(graph, operands[1], WEFT_REDUCE_MEAN, &mean_axis);
  *x = operands[0];
  return mean && mean->inputs[0] == operands[0] && mean_axis == axis;
}

/* The normalised value before scale and bias. Some exporters compute x - mean(x) twice. */
static bool match_normalised(const weft_graph *graph, weft_value_id value, norm_match *match) {
  weft_value_id numerator, root, base, other;
  if (!match_quotient(graph, value, &numerator, &root) || !match_root(graph, root, match, &base))
    return false;
  if (match_centred(graph, base, match->axis, &match->x)) {
    match->kind = WEFT_NORM_LAYER;
    return numerator == base ||
           (match_centred(graph, numerator, match->axis, &other) && other == match->x);
  }
  match->kind = WEFT_NORM_RMS;
  match->x = base;
  return numerator == base;
}

/* Scale and bias must be constants of just the normalised dimensions. */
static bool is_parameter(const weft_graph *graph, const norm_match *match, weft_value_id id) {
  const weft_value *value = &graph->values[id];
  const weft_shape *x = &graph->values[match->x].shape;
  if (value->kind != WEFT_VALUE_CONSTANT || value->shape.rank != x->rank - match->axis)
    return false;
  for (int32_t i = 0; i < value->shape.rank; i++) {
    if (value->shape.dims[i] != x->dims[match->axis + i]) return false;
  }
  return true;
}

/* value = normalised * scale */
static bool match_scaled(const weft_graph *graph, weft_value_id value, norm_match *match) {
  weft_value_id operands[3];
  if (!weft_match_map(graph, value, WEFT_EXPR_MUL, operands)) return false;
  for (int i = 0; i < 2; i++) {
    match->scale = operands[1 - i];
    weft_value_id normalised = weft_match_uncast(graph, operands[i]);
    if (match_normalised(graph, normalised, match) && is_parameter(graph, match, match->scale))
      return true;
  }
  return false;
}

/* value = normalised * scale + bias */
static bool match_norm(const weft_graph *graph, weft_value_id value, norm_match *match) {
  weft_value_id operands[3];
  match->bias = WEFT_VALUE_NONE;
  if (match_scaled(graph, value, match)) return true;
  if (!weft_match_map(graph, value, WEFT_EXPR_ADD, operands)) return false;
  for (int i = 0; i < 2; i++) {
    match->bias = operands[1 - i];
    if (match_scaled(graph, operands[i], match) && is_parameter(graph, match, match->bias))
      return true;
  }
  return false;
}

weft_status weft_pass_fuse_norm(weft_graph *graph, const weft_opt_context *context,
                                weft_error *error) {
  (void)context;
  /* Last nodes first: a scaled value is the inside of a biased one. */
  for (uint32_t n = graph->node_count; n-- > 0;) {
    weft_node *node = &graph->nodes[n];
    norm_match match;
    weft_dtype dtype = graph->values[node->outputs[0]].dtype;
    if (node->removed || node->op != WEFT_OP_MAP || !weft_match_is_float(dtype)) continue;
    if (!match_norm(graph, node->outputs[0], &match)) continue;
    if (graph->values[match.x].dtype != dtype) match.x = weft_match_uncast(graph, match.x);
    if (graph->values[match.x].dtype != dtype) continue;
    /* A constant of higher rank than x, as epsilon for instance, would change the shape. */
    if (!weft_shape_equal(&graph->values[match.x].shape, &graph->values[node->outputs[0]].shape))
      continue;
    weft_value_id inputs[] = {match.x, match.scale, match.bias};
    uint32_t count = match.bias == WEFT_VALUE_NONE ? 2 : 3;
    WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_NORM, inputs, count, error));
    node->attributes.norm.kind = match.kind;
    node->attributes.norm.axis = match.axis;
    node->attributes.norm.epsilon = (float)match.epsilon;
  }
  return WEFT_OK;
}
