/* match.c - see match.h. */
#include "opt/match.h"

#include "graph/views.h"

const weft_node *weft_match_producer(const weft_graph *graph, weft_value_id value) {
  if (value == WEFT_VALUE_NONE || graph->values[value].producer == WEFT_NODE_NONE) return NULL;
  return &graph->nodes[graph->values[value].producer];
}

const weft_node *weft_match_map(const weft_graph *graph, weft_value_id value, weft_expr_op op,
                                weft_value_id operands[3]) {
  const weft_node *node = weft_match_producer(graph, value);
  if (!node || node->op != WEFT_OP_MAP || node->attributes.map.expr.code_count != 1) return NULL;
  const weft_instruction *code = node->attributes.map.expr.code;
  if (code->op != op) return NULL;
  for (uint32_t i = 0; i < weft_expr_operand_count(op); i++)
    operands[i] = node->inputs[code->operands[i]];
  return node;
}

bool weft_match_is_float(weft_dtype dtype) {
  return dtype == WEFT_F32 || dtype == WEFT_F16;
}

weft_value_id weft_match_uncast(const weft_graph *graph, weft_value_id value) {
  weft_value_id operands[3];
  bool casts = weft_match_is_float(graph->values[value].dtype) &&
               weft_match_map(graph, value, WEFT_EXPR_CAST, operands) &&
               weft_match_is_float(graph->values[operands[0]].dtype);
  return casts ? operands[0] : value;
}

bool weft_match_scalar(const weft_graph *graph, weft_value_id id, double *out) {
  if (id == WEFT_VALUE_NONE) return false;
  const weft_value *value = &graph->values[id];
  uint32_t number;
  if (value->kind != WEFT_VALUE_CONSTANT || !weft_match_is_float(value->dtype) || !value->data)
    return false;
  size_t size = weft_dtype_size(value->dtype);
  if (value->data->bytes != size) return false;
  if (weft_buffer_read(value->data, 0, size, &number, NULL) != WEFT_OK) return false;
  *out = (double)weft_float_at(value->dtype, &number);
  return true;
}

bool weft_match_near(double actual, double expected, weft_dtype dtype) {
  double difference = actual - expected, size = expected < 0 ? -expected : expected;
  size *= dtype == WEFT_F16 ? 1e-3 : 1e-4;
  return difference <= size && -difference <= size;
}

bool weft_match_with_scalar(const weft_graph *graph, weft_value_id value, weft_expr_op op,
                            weft_value_id *other, double *scalar) {
  weft_value_id operands[3];
  if (!weft_match_map(graph, value, op, operands)) return false;
  bool commutes = op == WEFT_EXPR_MUL || op == WEFT_EXPR_ADD;
  if (weft_match_scalar(graph, operands[1], scalar)) {
    *other = operands[0];
    return true;
  }
  if (!commutes || !weft_match_scalar(graph, operands[0], scalar)) return false;
  *other = operands[1];
  return true;
}

bool weft_match_factors(const weft_graph *graph, weft_value_id value, weft_match_product *out) {
  weft_value_id operands[3];
  *out = (weft_match_product){.factors = {value}, .count = 1, .scale = 1};
  uint32_t looks = 0;
  for (uint32_t i = 0; i < out->count;) {
    double number;
    if (looks++ == WEFT_MATCH_LOOKS_MAX) return false;
    if (weft_match_scalar(graph, out->factors[i], &number)) {
      out->scale *= number;
      out->factors[i] = out->factors[--out->count];
    } else if (weft_match_with_scalar(graph, out->factors[i], WEFT_EXPR_DIV, &operands[0],
                                      &number)) {
      out->scale /= number;
      out->factors[i] = operands[0];
    } else if (weft_match_map(graph, out->factors[i], WEFT_EXPR_MUL, operands)) {
      if (out->count == WEFT_MATCH_FACTORS_MAX) return false;
      out->factors[i] = operands[0];
      out->factors[out->count++] = operands[1];
    } else {
      i++;
    }
  }
  return out->count != 1 || out->factors[0] != value;
}

const weft_node *weft_match_reduce_last(const weft_graph *graph, weft_value_id value,
                                        weft_reduce_kind kind, int32_t *axis) {
  const weft_node *node = weft_match_producer(graph, value);
  if (!node || node->op != WEFT_OP_REDUCE || node->attributes.reduce.kind != kind ||
      !node->attributes.reduce.keep_dims) {
    return NULL;
  }
  int32_t rank = graph->values[node->inputs[0]].shape.rank;
  weft_inference facts =
      weft_inference_at_load((weft_graph *)(uintptr_t)graph); /* only read here */
  weft_axes axes;
  if (weft_node_axes(&facts, node, &axes, NULL) != WEFT_OK || axes.count == 0) return NULL;
  *axis = rank - axes.count;
  /* They ascend, so they are the last ones if the first is where the last ones begin. */
  return axes.axes[0] == *axis ? node : NULL;
}

weft_status weft_match_rewrite(weft_graph *graph, weft_node *node, weft_op op,
                               const weft_value_id *inputs, uint32_t input_count,
                               weft_error *error) {
  weft_value_id *copy = WEFT_ARENA_ARRAY(&graph->arena, weft_value_id, input_count + 1);
  if (!copy) return weft_arena_fail(&graph->arena, "a rewrite", error);
  memcpy(copy, inputs, input_count * sizeof *inputs);
  node->op = op;
  node->inputs = copy;
  node->input_count = input_count;
  node->attributes = (weft_attributes){0};
  return WEFT_OK;
}
