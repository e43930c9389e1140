/* check.c - the rules for a single node: arity, attributes, element types. Inference asks before it
 * works on a node, and the verifier (verify.c) after every rewrite. */
#include "graph/infer.h"

/* ---- arity and attributes -------------------------------------------------------------------- */

static weft_status fail(const weft_node *node, weft_error *error, const char *what) {
  return weft_node_fail(node, error, WEFT_INVALID_MODEL, "%s", what);
}

static weft_status check_ids(const weft_graph *graph, const weft_node *node, weft_error *error) {
  const weft_op_facts *facts = weft_op_facts_of(node->op);
  bool variadic =
      node->op == WEFT_OP_MAP || node->op == WEFT_OP_MATMUL || node->op == WEFT_OP_CONCAT;
  for (uint32_t i = 0; i < node->input_count; i++) {
    bool optional = i >= facts->inputs_min && !variadic;
    if (node->inputs[i] == WEFT_VALUE_NONE && optional) continue;
    if (node->inputs[i] >= graph->value_count) {
      return weft_node_fail(node, error, WEFT_INVALID_MODEL, "input %u is missing", i);
    }
  }
  for (uint32_t i = 0; i < node->output_count; i++) {
    if (node->outputs[i] >= graph->value_count) {
      return weft_node_fail(node, error, WEFT_INVALID_MODEL, "output %u is missing", i);
    }
  }
  return WEFT_OK;
}

static weft_status check_counts(const weft_node *node, uint32_t min, uint32_t max,
                                weft_error *error) {
  if (node->input_count < min || node->input_count > max) {
    return weft_node_fail(node, error, WEFT_INVALID_MODEL, "has %u inputs, not %u to %u",
                          node->input_count, min, max);
  }
  uint32_t outputs_max = weft_op_facts_of(node->op)->outputs_max;
  if (node->output_count < 1 || node->output_count > outputs_max) {
    return weft_node_fail(node, error, WEFT_INVALID_MODEL, "has %u outputs, not 1 to %u",
                          node->output_count, outputs_max);
  }
  return WEFT_OK;
}

static weft_status check_view(const weft_node *node, weft_error *error) {
  static const uint8_t inputs[][2] = {
      [WEFT_VIEW_RESHAPE] = {2, 2}, [WEFT_VIEW_TRANSPOSE] = {1, 1}, [WEFT_VIEW_SLICE] = {3, 5},
      [WEFT_VIEW_EXPAND] = {2, 2},  [WEFT_VIEW_SQUEEZE] = {1, 2},   [WEFT_VIEW_UNSQUEEZE] = {1, 2},
      [WEFT_VIEW_FLATTEN] = {1, 1}, [WEFT_VIEW_SPLIT] = {1, 2},
  };
  uint32_t kind = (uint32_t)node->attributes.view.kind;
  if (kind > WEFT_VIEW_SPLIT) return fail(node, error, "is a view of no known kind");
  WEFT_TRY(check_counts(node, inputs[kind][0], inputs[kind][1], error));
  for (uint32_t i = 1; i < inputs[kind][0]; i++) {
    if (node->inputs[i] == WEFT_VALUE_NONE) return fail(node, error, "lacks an input");
  }
  uint32_t axes = node->attributes.view.axes.count;
  if (axes > WEFT_RANK_MAX) return fail(node, error, "names more than 8 axes");
  if ((kind == WEFT_VIEW_FLATTEN || kind == WEFT_VIEW_SPLIT) && axes != 1) {
    return fail(node, error, "needs one axis");
  }
  bool has_axes = node->input_count == 2 && node->inputs[1] != WEFT_VALUE_NONE;
  if (kind == WEFT_VIEW_UNSQUEEZE && !axes && !has_axes) return fail(node, error, "needs axes");
  if (kind == WEFT_VIEW_SPLIT && node->attributes.view.index >= node->attributes.view.count) {
    return fail(node, error, "is a part of a split that has fewer parts");
  }
  if (kind == WEFT_VIEW_SPLIT && node->attributes.view.count > WEFT_MAX_NODE_INPUTS) {
    return fail(node, error, "is a part of a split into too many parts");
  }
  return WEFT_OK;
}

/* The expression behind `first` inputs of its own: the product in a matmul stands for two. */
static weft_status check_expr(const weft_node *node, const weft_expr *expr, uint32_t inputs,
                              weft_error *error) {
  if (expr->input_count != inputs) {
    return weft_node_fail(node, error, WEFT_INVALID_MODEL,
                          "its expression takes %u inputs, the node gives %u", expr->input_count,
                          inputs);
  }
  weft_error inner;
  weft_status status = weft_expr_verify(expr, &inner);
  return status == WEFT_OK ? WEFT_OK : weft_node_fail(node, error, status, "%s", inner.message);
}

static weft_status check_branches(const weft_graph *graph, const weft_node *node,
                                  weft_error *error) {
  uint32_t branches[] = {node->attributes.branches.then_region,
                         node->attributes.branches.else_region};
  for (uint32_t i = 0; i < 2; i++) {
    if (branches[i] == 0 || branches[i] >= graph->region_count) {
      return fail(node, error, "has a branch that is not there");
    }
    uint32_t outputs = graph->regions[branches[i]].output_count;
    if (outputs != node->output_count) {
      return weft_node_fail(node, error, WEFT_INVALID_MODEL, "has %u outputs, but a branch with %u",
                            node->output_count, outputs);
    }
  }
  return WEFT_OK;
}

static bool is_finite(float value) {
  return value - value == 0;
}

static weft_status check_attributes(const weft_graph *graph, const weft_node *node,
                                    weft_error *error) {
  const weft_attributes *a = &node->attributes;
  bool good = true;
  switch (node->op) {
  case WEFT_OP_MAP:
    return check_expr(node, &a->map.expr, node->input_count, error);
  case WEFT_OP_MATMUL:
    if (node->input_count == 2 && a->matmul.expr.code_count == 0) return WEFT_OK;
    return check_expr(node, &a->matmul.expr, node->input_count - 1, error);
  case WEFT_OP_VIEW:
    return check_view(node, error);
  case WEFT_OP_IF:
    return check_branches(graph, node, error);
  case WEFT_OP_ATTENTION:
  case WEFT_OP_CACHED_ATTENTION:
    good = is_finite(a->attention.scale) && is_finite(a->attention.softcap) &&
           a->attention.softcap >= 0 && a->attention.window >= 0;
    break;
  case WEFT_OP_DEQUANTIZE:
    good = (a->dequantize.bits == 2 || a->dequantize.bits == 4 || a->dequantize.bits == 8) &&
           weft_dtype_is_float(a->dequantize.dtype) && a->dequantize.block >= 0 &&
           a->dequantize.extent >= 0;
    break;
  case WEFT_OP_NORM:
    good = (uint32_t)a->norm.kind <= WEFT_NORM_RMS && is_finite(a->norm.epsilon);
    break;
  case WEFT_OP_REDUCE:
    good = (uint32_t)a->reduce.kind <= WEFT_REDUCE_LOG_SUM_EXP &&
           a->reduce.axes.count <= WEFT_RANK_MAX;
    break;
  case WEFT_OP_PAD:
    good = (uint32_t)a->pad.mode <= WEFT_PAD_WRAP;
    break;
  case WEFT_OP_FILL:
    good = weft_dtype_size(a->fill.dtype) != 0;
    break;
  default:
    break;
  }
  return good ? WEFT_OK : fail(node, error, "has an attribute out of range");
}

weft_status weft_check_node(const weft_graph *graph, const weft_node *node, weft_error *error) {
  if ((uint32_t)node->op >= WEFT_OP_COUNT) return fail(node, error, "is no core op");
  const weft_op_facts *facts = weft_op_facts_of(node->op);
  WEFT_TRY(check_counts(node, facts->inputs_min, facts->inputs_max, error));
  WEFT_TRY(check_ids(graph, node, error));
  return check_attributes(graph, node, error);
}

/* ---- types ----------------------------------------------------------------------------------- */

/* Inputs, the last letter for all further ones: * any, n numeric, f float, x index (i32 or i64),
 * b bool, c codes (u8, i8 or i32), q codes of a byte, T and U the types of inputs 0 and 1, z either
 * of T or a float, s f32, e what the expression takes. Output: T, l i64, i i32, u u8, e the
 * expression's, a the attribute's, - each branch's own. */
static const struct {
  const char *inputs;
  char output;
} rules[WEFT_OP_COUNT] = {
    [WEFT_OP_MAP] = {"e", 'e'},
    [WEFT_OP_VIEW] = {"*x", 'T'},
    [WEFT_OP_MATMUL] = {"nTe", 'e'},
    [WEFT_OP_ATTENTION] = {"fTTTxT", 'T'},
    [WEFT_OP_CACHED_ATTENTION] = {"fTTTxTTTxxTTx", 'T'},
    [WEFT_OP_NORM] = {"fT", 'T'},
    [WEFT_OP_SOFTMAX] = {"f", 'T'},
    [WEFT_OP_REDUCE] = {"nx", 'T'},
    [WEFT_OP_ARG_REDUCE] = {"n", 'l'},
    [WEFT_OP_GATHER] = {"*x", 'T'},
    [WEFT_OP_GATHER_ELEMENTS] = {"*x", 'T'},
    [WEFT_OP_CONCAT] = {"*T", 'T'},
    [WEFT_OP_PAD] = {"*xTx", 'T'},
    [WEFT_OP_CUMSUM] = {"nx", 'T'},
    [WEFT_OP_TRIANGLE] = {"*x", 'T'},
    [WEFT_OP_SHAPE] = {"*", 'l'},
    [WEFT_OP_RANGE] = {"nT", 'T'},
    [WEFT_OP_FILL] = {"x", 'a'},
    [WEFT_OP_IF] = {"b", '-'},
    [WEFT_OP_ROTARY] = {"fTTx", 'T'},
    [WEFT_OP_APPEND] = {"*Tx", 'T'},
    [WEFT_OP_DEQUANTIZE] = {"cfz", 'a'},
    [WEFT_OP_QUANTIZE_DYNAMIC] = {"s", 'u'},
    [WEFT_OP_MATMUL_INTEGER] = {"qqTU", 'i'},
};

static const weft_expr *expr_of(const weft_node *node) {
  return node->op == WEFT_OP_MAP ? &node->attributes.map.expr : &node->attributes.matmul.expr;
}

static weft_dtype input_dtype(const weft_inference *at, const weft_node *node, uint32_t input) {
  return *weft_facts_dtype(at, node->inputs[input]);
}

static bool is_good(const weft_inference *at, const weft_node *node, uint32_t input, char rule) {
  weft_dtype dtype = input_dtype(at, node, input);
  switch (rule) {
  case 'n':
    return weft_dtype_is_float(dtype) || weft_dtype_is_integer(dtype);
  case 'f':
    return weft_dtype_is_float(dtype);
  case 'x':
    return dtype == WEFT_I32 || dtype == WEFT_I64;
  case 'b':
    return dtype == WEFT_BOOL;
  case 'c':
    return dtype == WEFT_U8 || dtype == WEFT_I8 || dtype == WEFT_I32;
  case 'q':
    return dtype == WEFT_U8 || dtype == WEFT_I8;
  case 's':
    return dtype == WEFT_F32;
  case 'T':
    return dtype == input_dtype(at, node, 0);
  case 'U':
    return dtype == input_dtype(at, node, 1);
  case 'z':
    return dtype == input_dtype(at, node, 0) || weft_dtype_is_float(dtype);
  case 'e':
    return dtype == (weft_dtype)expr_of(node)->input_dtypes[input - (node->op == WEFT_OP_MATMUL)];
  default:
    return dtype != WEFT_DTYPE_NONE;
  }
}

static const char *expected(const weft_inference *at, const weft_node *node, uint32_t input,
                            char rule) {
  switch (rule) {
  case 'n':
    return "a number";
  case 'f':
    return "a float";
  case 'x':
    return "i32 or i64";
  case 'b':
    return "bool";
  case 'c':
    return "u8, i8 or i32";
  case 'q':
    return "u8 or i8";
  case 's':
    return "f32";
  case 'U':
    return weft_dtype_name(input_dtype(at, node, 1));
  case 'z':
  case 'T':
    return weft_dtype_name(input_dtype(at, node, 0));
  case 'e':
    return weft_dtype_name(
        (weft_dtype)expr_of(node)->input_dtypes[input - (node->op == WEFT_OP_MATMUL)]);
  default:
    return "a known type";
  }
}

static weft_dtype output_dtype(const weft_inference *at, const weft_node *node) {
  switch (rules[node->op].output) {
  case 'T':
    return input_dtype(at, node, 0);
  case 'l':
    return WEFT_I64;
  case 'i':
    return WEFT_I32;
  case 'u':
    return WEFT_U8;
  case 'a':
    return node->op == WEFT_OP_DEQUANTIZE ? node->attributes.dequantize.dtype
                                          : node->attributes.fill.dtype;
  case 'e':
    return expr_of(node)->code_count || node->op == WEFT_OP_MAP
               ? weft_expr_result_dtype(expr_of(node))
               : input_dtype(at, node, 0);
  default:
    return WEFT_DTYPE_NONE;
  }
}

weft_status weft_check_types(const weft_inference *at, const weft_node *node, weft_dtype *out,
                             weft_error *error) {
  const char *rule = rules[node->op].inputs;
  for (uint32_t i = 0; i < node->input_count; i++, rule += rule[1] != 0) {
    if (node->inputs[i] == WEFT_VALUE_NONE || is_good(at, node, i, *rule)) continue;
    return weft_node_fail(node, error, WEFT_INVALID_MODEL, "input %u is %s, but %s is needed", i,
                          weft_dtype_name(input_dtype(at, node, i)), expected(at, node, i, *rule));
  }
  bool has_product = node->op == WEFT_OP_MATMUL && expr_of(node)->code_count;
  if (has_product && expr_of(node)->input_dtypes[0] != input_dtype(at, node, 0)) {
    return fail(node, error, "its expression is for another type of product");
  }
  *out = output_dtype(at, node);
  return WEFT_OK;
}
