/* fuse_gelu.c - activations written out by exporters become one instruction:
 *
 *   0.5 x (1 + erf(x / sqrt 2))                                  gelu_erf
 *   0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))              gelu_tanh
 *   x sigmoid(x)                                                 silu
 *
 * Products may be grouped and ordered in any way, and constants may multiply or divide. */
#include "opt/match.h"
#include "opt/opt.h"

/* `actual` equals `expected` but for rounding in the type of x. */
static bool is_near(const weft_graph *graph, weft_value_id x, double actual, double expected) {
  return weft_match_near(actual, expected, graph->values[x].dtype);
}

/* value = 0.044715 x^power, as a product of x and of powers of it */
static bool is_cubic_term(const weft_graph *graph, weft_value_id value, weft_value_id x,
                          uint32_t power) {
  weft_match_product product;
  if (!weft_match_factors(graph, value, &product) || !is_near(graph, x, product.scale, 0.044715))
    return false;
  double seen = 0;
  for (uint32_t i = 0; i < product.count; i++) {
    weft_value_id base = product.factors[i];
    double exponent = 1;
    if (base != x &&
        !weft_match_with_scalar(graph, product.factors[i], WEFT_EXPR_POW, &base, &exponent))
      return false;
    bool whole = exponent == 1 || exponent == 2 || exponent == 3; /* else not for every x */
    if (base != x || !whole) return false;
    seen += exponent;
  }
  return seen == power;
}

/* value = x + 0.044715 x^3, or 1 + 0.044715 x^2 where `x` is multiplied in elsewhere */
static bool is_inner_sum(const weft_graph *graph, weft_value_id value, weft_value_id x,
                         bool divided) {
  weft_value_id operands[3];
  double one;
  if (divided) {
    return weft_match_with_scalar(graph, value, WEFT_EXPR_ADD, &operands[0], &one) && one == 1 &&
           is_cubic_term(graph, operands[0], x, 2);
  }
  if (!weft_match_map(graph, value, WEFT_EXPR_ADD, operands)) return false;
  return (operands[0] == x && is_cubic_term(graph, operands[1], x, 3)) ||
         (operands[1] == x && is_cubic_term(graph, operands[0], x, 3));
}

/* value = sqrt(2/pi) (x + 0.044715 x^3) */
static bool is_tanh_argument(const weft_graph *graph, weft_value_id value, weft_value_id x) {
  weft_match_product product;
  if (!weft_match_factors(graph, value, &product) ||
      !is_near(graph, x, product.scale, 0.7978845608))
    return false;
  if (product.count == 1) return is_inner_sum(graph, product.factors[0], x, false);
  if (product.count != 2) return false;
  for (int i = 0; i < 2; i++) {
    if (product.factors[i] == x && is_inner_sum(graph, product.factors[1 - i], x, true))
      return true;
  }
  return false;
}

/* value = x / sqrt 2 */
static bool is_erf_argument(const weft_graph *graph, weft_value_id value, weft_value_id x) {
  weft_match_product product;
  return weft_match_factors(graph, value, &product) && product.count == 1 &&
         product.factors[0] == x && is_near(graph, x, product.scale, 0.7071067812);
}

/* x * gate * scale as an activation of x, or OP_COUNT. */
static weft_expr_op match_gate(const weft_graph *graph, weft_value_id x, weft_value_id gate,
                               double scale) {
  weft_value_id operands[3], inner;
  double one;
  if (scale == 1 && weft_match_map(graph, gate, WEFT_EXPR_SIGMOID, operands) && operands[0] == x) {
    return WEFT_EXPR_SILU;
  }
  if (!is_near(graph, x, scale, 0.5) ||
      !weft_match_with_scalar(graph, gate, WEFT_EXPR_ADD, &inner, &one) || one != 1) {
    return WEFT_EXPR_OP_COUNT;
  }
  if (weft_match_map(graph, inner, WEFT_EXPR_ERF, operands) &&
      is_erf_argument(graph, operands[0], x)) {
    return WEFT_EXPR_GELU_ERF;
  }
  if (weft_match_map(graph, inner, WEFT_EXPR_TANH, operands) &&
      is_tanh_argument(graph, operands[0], x)) {
    return WEFT_EXPR_GELU_TANH;
  }
  return WEFT_EXPR_OP_COUNT;
}

static weft_expr_op match_activation(const weft_graph *graph, weft_value_id value,
                                     weft_value_id *x) {
  weft_match_product product;
  if (!weft_match_factors(graph, value, &product) || product.count != 2) return WEFT_EXPR_OP_COUNT;
  for (int i = 0; i < 2; i++) {
    *x = product.factors[i];
    weft_expr_op op = match_gate(graph, *x, product.factors[1 - i], product.scale);
    if (op != WEFT_EXPR_OP_COUNT) return op;
  }
  return WEFT_EXPR_OP_COUNT;
}

weft_status weft_pass_fuse_gelu(weft_graph *graph, const weft_opt_context *context,
                                weft_error *error) {
  (void)context;
  for (uint32_t n = graph->node_count; n-- > 0;) {
    weft_node *node = &graph->nodes[n];
    weft_value_id x;
    weft_dtype dtype = graph->values[node->outputs[0]].dtype;
    if (node->removed || node->op != WEFT_OP_MAP || !weft_match_is_float(dtype)) continue;
    weft_expr_op op = match_activation(graph, node->outputs[0], &x);
    if (op == WEFT_EXPR_OP_COUNT) continue;
    /* Constant factors of higher rank than x would change the shape. */
    if (!weft_shape_equal(&graph->values[x].shape, &graph->values[node->outputs[0]].shape))
      continue;
    WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_MAP, &x, 1, error));
    WEFT_TRY(
        weft_graph_simple_expr(graph, op, &dtype, 1, dtype, &node->attributes.map.expr, error));
  }
  return WEFT_OK;
}
