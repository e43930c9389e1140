/* dump.c - a graph as text, for `weft inspect --graph` and golden tests. One line per input,
 * constant, node and output:
 *
 *   input %0 f32[batch,4] x
 *   const %1 i64[2] {-1,2} shape
 *   %2 f32[batch*2,2] = view.reshape(%0, %1)  # node (Reshape)
 *   output %2
 */
#include "graph/infer.h"

static void print_id(weft_value_id id, weft_text *text) {
  if (id == WEFT_VALUE_NONE) {
    weft_text_add(text, "none");
  } else {
    weft_text_add(text, "%%%u", id);
  }
}

/* "%2 f32[2,3]" and known elements, the first few of them. */
static void print_value(const weft_graph *graph, weft_value_id id, weft_text *text) {
  enum { SHOWN = 16 };
  const weft_value *value = &graph->values[id];
  print_id(id, text);
  weft_text_add(text, " %s", weft_dtype_name(value->dtype));
  weft_shape_print(graph, &value->shape, text);
  uint32_t count;
  if (!value->elements || !weft_holds_elements(value->dtype, &value->shape, &count)) return;
  weft_text_add(text, " {");
  for (uint32_t i = 0; i < count && i < SHOWN; i++) {
    if (i) weft_text_add(text, ",");
    weft_dim_print(graph, value->elements[i], text);
  }
  weft_text_add(text, count > SHOWN ? ",...}" : "}");
}

static void print_values(const weft_value_id *values, uint32_t count, weft_text *text) {
  for (uint32_t i = 0; i < count; i++) {
    if (i) weft_text_add(text, ", ");
    print_id(values[i], text);
  }
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void print_axes(const weft_axes *axes, weft_text *text) {
  if (axes->count == 0) return;
  weft_text_add(text, " axes=");
  for (uint32_t i = 0; i < axes->count; i++) {
    weft_text_add(text, i ? ",%d" : "%d", axes->axes[i]);
  }
}

static void print_flag(bool set, const char *name, weft_text *text) {
  if (set) weft_text_add(text, " %s", name);
}

static const char *kind_of(const weft_node *node) {
  static const char *const views[] = {
      [WEFT_VIEW_RESHAPE] = ".reshape", [WEFT_VIEW_TRANSPOSE] = ".transpose",
      [WEFT_VIEW_SLICE] = ".slice",     [WEFT_VIEW_EXPAND] = ".expand",
      [WEFT_VIEW_SQUEEZE] = ".squeeze", [WEFT_VIEW_UNSQUEEZE] = ".unsqueeze",
      [WEFT_VIEW_FLATTEN] = ".flatten", [WEFT_VIEW_SPLIT] = ".split",
  };
  static const char *const reductions[] = {
      [WEFT_REDUCE_SUM] = ".sum",         [WEFT_REDUCE_MEAN] = ".mean",
      [WEFT_REDUCE_MAX] = ".max",         [WEFT_REDUCE_MIN] = ".min",
      [WEFT_REDUCE_PROD] = ".prod",       [WEFT_REDUCE_SUM_SQUARE] = ".sum_square",
      [WEFT_REDUCE_L1] = ".l1",           [WEFT_REDUCE_L2] = ".l2",
      [WEFT_REDUCE_LOG_SUM] = ".log_sum", [WEFT_REDUCE_LOG_SUM_EXP] = ".log_sum_exp",
  };
  static const char *const pads[] = {".constant", ".reflect", ".edge", ".wrap"};
  static const char *const norms[] = {".layer", ".rms"};
  const weft_attributes *a = &node->attributes;
  switch (node->op) {
  case WEFT_OP_VIEW:
    return views[a->view.kind];
  case WEFT_OP_REDUCE:
    return reductions[a->reduce.kind];
  case WEFT_OP_PAD:
    return pads[a->pad.mode];
  case WEFT_OP_NORM:
    return norms[a->norm.kind];
  case WEFT_OP_ARG_REDUCE:
    return a->arg_reduce.max ? ".max" : ".min";
  case WEFT_OP_TRIANGLE:
    return a->triangle.upper ? ".upper" : ".lower";
  default:
    return "";
  }
}

static void print_fill(const weft_node *node, weft_text *text) {
  weft_dtype dtype = node->attributes.fill.dtype;
  const uint8_t *bytes = node->attributes.fill.value;
  weft_text_add(text, " %s", weft_dtype_name(dtype));
  if (dtype == WEFT_F32) {
    float value;
    memcpy(&value, bytes, sizeof value);
    weft_text_add(text, " %.9g", (double)value);
  } else if (!weft_dtype_is_float(dtype)) {
    weft_text_add(text, " %lld", (long long)weft_decode_element(dtype, bytes));
  } else {
    for (size_t i = weft_dtype_size(dtype); i-- > 0;) weft_text_add(text, " %x", bytes[i]);
  }
}

static void print_view(const weft_node *node, weft_text *text) {
  const weft_attributes *a = &node->attributes;
  print_axes(&a->view.axes, text);
  print_flag(a->view.allow_zero, "allow_zero", text);
  if (a->view.kind == WEFT_VIEW_SPLIT) {
    weft_text_add(text, " part=%u/%u", a->view.index, a->view.count);
  }
}

static void print_expr(const weft_expr *expr, weft_text *text) {
  if (expr->code_count == 0) return;
  weft_text_add(text, " {");
  weft_expr_print(expr, text);
  weft_text_add(text, "}");
}

static void print_dequantize(const weft_node *node, weft_text *text) {
  const weft_attributes *a = &node->attributes;
  weft_text_add(text, " bits=%u axis=%d", a->dequantize.bits, a->dequantize.axis);
  if (a->dequantize.block) weft_text_add(text, " block=%lld", (long long)a->dequantize.block);
  if (a->dequantize.extent) weft_text_add(text, " extent=%lld", (long long)a->dequantize.extent);
  if (a->dequantize.zero) weft_text_add(text, " zero=%d", a->dequantize.zero);
}

static void print_attributes(const weft_node *node, weft_text *text) {
  const weft_attributes *a = &node->attributes;
  switch (node->op) {
  case WEFT_OP_MAP:
    print_expr(&a->map.expr, text);
    break;
  case WEFT_OP_MATMUL:
    print_flag(a->matmul.int8_rows, "int8_rows", text);
    print_expr(&a->matmul.expr, text);
    break;
  case WEFT_OP_VIEW:
    print_view(node, text);
    break;
  case WEFT_OP_ATTENTION:
  case WEFT_OP_CACHED_ATTENTION:
    weft_text_add(text, " scale=%.9g", (double)a->attention.scale);
    if (a->attention.softcap != 0)
      weft_text_add(text, " softcap=%.9g", (double)a->attention.softcap);
    if (a->attention.window) weft_text_add(text, " window=%lld", (long long)a->attention.window);
    print_flag(a->attention.causal, "causal", text);
    print_flag(a->attention.heads_last, "heads_last", text);
    print_flag(a->attention.interleaved, "interleaved", text);
    break;
  case WEFT_OP_ROTARY:
    print_flag(a->rotary.interleaved, "interleaved", text);
    break;
  case WEFT_OP_DEQUANTIZE:
    print_dequantize(node, text);
    break;
  case WEFT_OP_NORM:
    weft_text_add(text, " axis=%d epsilon=%.9g", a->norm.axis, (double)a->norm.epsilon);
    break;
  case WEFT_OP_SOFTMAX:
    weft_text_add(text, " axis=%d", a->softmax.axis);
    print_flag(a->softmax.log, "log", text);
    print_flag(a->softmax.to_end, "to_end", text);
    break;
  case WEFT_OP_REDUCE:
    print_axes(&a->reduce.axes, text);
    print_flag(a->reduce.keep_dims, "keep_dims", text);
    print_flag(a->reduce.none_means_none, "none_means_none", text);
    break;
  case WEFT_OP_ARG_REDUCE:
    weft_text_add(text, " axis=%d", a->arg_reduce.axis);
    print_flag(a->arg_reduce.keep_dims, "keep_dims", text);
    print_flag(a->arg_reduce.select_last, "select_last", text);
    break;
  case WEFT_OP_GATHER:
  case WEFT_OP_GATHER_ELEMENTS:
  case WEFT_OP_CONCAT:
    weft_text_add(text, " axis=%d", a->axis.axis);
    break;
  case WEFT_OP_CUMSUM:
    print_flag(a->cumsum.exclusive, "exclusive", text);
    print_flag(a->cumsum.reverse, "reverse", text);
    break;
  case WEFT_OP_SHAPE:
    if (a->shape.start) weft_text_add(text, " start=%d", a->shape.start);
    if (a->shape.has_end) weft_text_add(text, " end=%d", a->shape.end);
    break;
  case WEFT_OP_FILL:
    print_fill(node, text);
    break;
  case WEFT_OP_IF:
    weft_text_add(text, " then=%u else=%u", a->branches.then_region, a->branches.else_region);
    break;
  default:
    break;
  }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void print_node(const weft_graph *graph, const weft_node *node, weft_text *text) {
  for (uint32_t i = 0; i < node->output_count; i++) {
    if (i) weft_text_add(text, ", ");
    print_value(graph, node->outputs[i], text);
  }
  weft_text_add(text, " = %s%s(", weft_op_facts_of(node->op)->name, kind_of(node));
  print_values(node->inputs, node->input_count, text);
  weft_text_add(text, ")");
  print_attributes(node, text);
  weft_text_add(text, "  # %.*s (%.*s)\n", WEFT_STR_ARGS(node->name), WEFT_STR_ARGS(node->origin));
}

static void print_region(const weft_graph *graph, uint32_t id, weft_text *text) {
  const weft_region *region = &graph->regions[id];
  if (id) weft_text_add(text, "region %u in %u\n", id, region->parent);
  for (uint32_t i = 0; i < region->node_count; i++) {
    const weft_node *node = &graph->nodes[region->nodes[i]];
    if (!node->removed) print_node(graph, node, text);
  }
  weft_text_add(text, "output ");
  print_values(region->outputs, region->output_count, text);
  weft_text_add(text, "\n");
}

void weft_graph_dump(const weft_graph *graph, weft_text *text) {
  for (weft_value_id i = 0; i < graph->value_count; i++) {
    const weft_value *value = &graph->values[i];
    if (value->kind == WEFT_VALUE_COMPUTED) continue;
    weft_text_add(text, value->kind == WEFT_VALUE_INPUT ? "input " : "const ");
    print_value(graph, i, text);
    print_flag(value->layout == WEFT_LAYOUT_PANELS, "panels", text);
    print_flag(value->layout == WEFT_LAYOUT_CODES, "codes", text);
    print_flag(value->layout >= WEFT_LAYOUT_GPU, "words", text);
    weft_text_add(text, " %.*s\n", WEFT_STR_ARGS(value->name));
  }
  for (uint32_t i = 0; i < graph->region_count; i++) print_region(graph, i, text);
}
