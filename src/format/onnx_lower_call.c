/* onnx_lower_call.c - the service side of onnx_lower_call.h: attributes, facts and node builders
 * with a sticky error. Used by every handler in onnx_ops_*.c; calls the builders of graph.c. */
#include "base/text.h"
#include "format/onnx_lower_internal.h"

void weft_call_fail(weft_call *call, weft_status status, const char *format, ...) {
  if (call->status != WEFT_OK) return;
  char cause[400];
  weft_text text = {.buffer = cause, .size = sizeof cause};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
  call->status = weft_fail(call->lowering->error, status, "node '%.*s' (%.*s): %s",
                           WEFT_STR_ARGS(call->name), WEFT_STR_ARGS(call->node->op_type), cause);
}

/* ---- attributes ------------------------------------------------------------------------------ */

enum { FLOAT = 1, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS };

static const char *type_name(int32_t type) {
  static const char *const names[] = {"undefined", "a float", "an int", "a string", "a tensor",
                                      "a graph",   "floats",  "ints",   "strings"};
  return type >= 0 && type <= STRINGS ? names[type] : "of another type";
}

static weft_argument *find_argument(weft_call *call, const char *name) {
  for (uint32_t i = 0; i < call->argument_count; ++i)
    if (weft_str_is(call->arguments[i].name, name)) return &call->arguments[i];
  return NULL;
}

bool weft_call_has(weft_call *call, const char *name) {
  return find_argument(call, name) != NULL;
}

void weft_call_ignore(weft_call *call, const char *name) {
  weft_argument *argument = find_argument(call, name);
  if (argument) argument->read = true;
}

/* NULL when absent, or (with a failure) of another type. */
static const weft_onnx_attribute *attribute(weft_call *call, const char *name, int32_t type) {
  weft_argument *argument = find_argument(call, name);
  if (!argument) return NULL;
  argument->read = true;
  if (argument->value->type == type) return argument->value;
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' must be %s, not %s", name,
                 type_name(type), type_name(argument->value->type));
  return NULL;
}

int64_t weft_call_int(weft_call *call, const char *name, int64_t otherwise) {
  const weft_onnx_attribute *a = attribute(call, name, INT);
  return a ? a->i : otherwise;
}

bool weft_call_flag(weft_call *call, const char *name, bool otherwise) {
  return weft_call_int(call, name, otherwise) != 0;
}

double weft_call_float(weft_call *call, const char *name, double otherwise) {
  const weft_onnx_attribute *a = attribute(call, name, FLOAT);
  return a ? (double)a->f : otherwise;
}

weft_str weft_call_string(weft_call *call, const char *name, const char *otherwise) {
  const weft_onnx_attribute *a = attribute(call, name, STRING);
  if (!a) return weft_str_of(otherwise);
  return a->s.data ? a->s : WEFT_STR(""); /* the file may leave an empty string out */
}

const weft_onnx_tensor *weft_call_tensor(weft_call *call, const char *name) {
  const weft_onnx_attribute *a = attribute(call, name, TENSOR);
  return a ? a->t : NULL;
}

const int64_t *weft_call_ints(weft_call *call, const char *name, uint32_t *count) {
  static const int64_t none[1];
  const weft_onnx_attribute *a = attribute(call, name, INTS);
  *count = a ? a->int_count : 0;
  return !a ? NULL : a->ints ? a->ints : none;
}

const float *weft_call_floats(weft_call *call, const char *name, uint32_t *count) {
  static const float none[1];
  const weft_onnx_attribute *a = attribute(call, name, FLOATS);
  *count = a ? a->float_count : 0;
  return !a ? NULL : a->floats ? a->floats : none;
}

const weft_onnx_graph *weft_call_graph(weft_call *call, const char *name) {
  const weft_onnx_attribute *a = attribute(call, name, GRAPH);
  if (a && a->g) return a->g;
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' is missing", name);
  return NULL;
}

static bool fits_axis(weft_call *call, const char *name, int64_t axis) {
  if (axis >= -WEFT_RANK_MAX && axis <= WEFT_RANK_MAX) return true;
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' is %lld, no axis of a tensor", name,
                 (long long)axis);
  return false;
}

int32_t weft_call_axis(weft_call *call, const char *name, int32_t otherwise) {
  int64_t axis = weft_call_int(call, name, otherwise);
  return fits_axis(call, name, axis) ? (int32_t)axis : 0;
}

bool weft_call_axes(weft_call *call, const char *name, weft_axes *out) {
  uint32_t count;
  const int64_t *axes = weft_call_ints(call, name, &count);
  *out = (weft_axes){0};
  if (count > WEFT_RANK_MAX)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' has %u axes; at most %d make sense",
                   name, count, WEFT_RANK_MAX);
  for (uint32_t i = 0; i < count && call->status == WEFT_OK; ++i)
    if (fits_axis(call, name, axes[i])) out->axes[out->count++] = (int8_t)axes[i];
  return axes != NULL;
}

void weft_call_read(weft_call *call, const weft_buffer *data, uint64_t bytes, void *out) {
  if (call->status == WEFT_OK)
    call->status = weft_buffer_read(data, 0, bytes, out, call->lowering->error);
}

weft_dtype weft_call_type(weft_call *call, const char *name, weft_dtype otherwise) {
  int64_t type = weft_call_int(call, name, otherwise);
  if (type > 0 && type < 64 && weft_dtype_size((weft_dtype)type) > 0) return (weft_dtype)type;
  weft_call_fail(call, WEFT_UNSUPPORTED, "attribute '%s': ONNX type %lld is not supported", name,
                 (long long)type);
  return WEFT_F32;
}

/* ---- inputs, outputs, facts ------------------------------------------------------------------ */

weft_value_id weft_call_input(const weft_call *call, uint32_t index) {
  return index < call->input_count ? call->inputs[index] : WEFT_VALUE_NONE;
}

void weft_call_output(weft_call *call, uint32_t index, weft_value_id value) {
  if (index < call->output_count) call->outputs[index] = value;
}

bool weft_call_wants(const weft_call *call, uint32_t index) {
  return index < call->output_count && call->node->outputs[index].length > 0;
}

static const weft_value *value_of(const weft_call *call, weft_value_id value) {
  static const weft_value none = {.shape = {.rank = -1}};
  const weft_graph *graph = call->lowering->graph;
  return value < graph->value_count ? &graph->values[value] : &none;
}

weft_dtype weft_call_dtype(const weft_call *call, weft_value_id value) {
  return value_of(call, value)->dtype;
}

const weft_shape *weft_call_shape(const weft_call *call, weft_value_id value) {
  return &value_of(call, value)->shape;
}

uint32_t weft_call_rank(weft_call *call, weft_value_id value) {
  int32_t rank = weft_call_shape(call, value)->rank;
  if (rank >= 0) return (uint32_t)rank;
  if (call->status == WEFT_OK)
    weft_call_fail(call, WEFT_UNSUPPORTED, "the rank of '%.*s' is not known at load",
                   WEFT_STR_ARGS(call->lowering->graph->values[value].name));
  return 0;
}

uint32_t weft_call_positive_axis(weft_call *call, int64_t axis, uint32_t rank) {
  int64_t positive = axis < 0 ? axis + (int64_t)rank : axis;
  if (positive >= 0 && positive < (int64_t)rank) return (uint32_t)positive;
  weft_call_fail(call, WEFT_INVALID_MODEL, "there is no axis %lld in a tensor of rank %u",
                 (long long)axis, rank);
  return 0;
}

bool weft_call_is_nibbles(const weft_call *call, weft_value_id x, bool *has_sign) {
  const weft_nibbles *nibbles = weft_lowering_nibbles(call->lowering, x);
  *has_sign = nibbles && nibbles->has_sign;
  return nibbles != NULL;
}

const int64_t *weft_call_elements(const weft_call *call, weft_value_id value, uint32_t *count) {
  const weft_value *v = value_of(call, value);
  *count = 0;
  if (!v->elements || !weft_elements_are_fixed(&v->shape, v->elements)) return NULL;
  *count = v->shape.rank == 0 ? 1 : (uint32_t)v->shape.dims[0];
  return v->elements;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

void weft_call_node_outputs(weft_call *call, weft_op op, const weft_attributes *attributes,
                            const weft_value_id *inputs, uint32_t input_count,
                            weft_value_id *outputs, uint32_t output_count) {
  for (uint32_t i = 0; i < output_count; ++i) outputs[i] = WEFT_VALUE_NONE;
  if (call->status != WEFT_OK) return;
  while (input_count > 0 && inputs[input_count - 1] == WEFT_VALUE_NONE) --input_count;
  weft_lowering *l = call->lowering;
  weft_node *node;
  call->status = weft_graph_add_node(l->graph, call->region, op, call->name, call->node->op_type,
                                     inputs, input_count, output_count, &node, l->error);
  if (call->status != WEFT_OK) return;
  if (attributes) node->attributes = *attributes;
  memcpy(outputs, node->outputs, output_count * sizeof *outputs);
  call->status = weft_infer_node(&l->inference, (weft_node_id)(node - l->graph->nodes), l->error);
}

weft_value_id weft_call_node(weft_call *call, weft_op op, const weft_attributes *attributes,
                             const weft_value_id *inputs, uint32_t input_count) {
  weft_value_id output;
  weft_call_node_outputs(call, op, attributes, inputs, input_count, &output, 1);
  return output;
}

static weft_str constant_name(weft_call *call) {
  weft_lowering *l = call->lowering;
  return weft_arena_format(&l->scratch, "%.*s#%u", WEFT_STR_ARGS(call->name),
                           l->graph->value_count - call->first_value);
}

weft_value_id weft_call_integers(weft_call *call, const int64_t *integers, int32_t count) {
  weft_value_id value = WEFT_VALUE_NONE;
  if (call->status == WEFT_OK)
    call->status = weft_graph_add_integers(call->lowering->graph, constant_name(call), integers,
                                           count, &value, call->lowering->error);
  return value;
}

weft_value_id weft_call_constant(weft_call *call, weft_dtype dtype, const weft_shape *shape,
                                 const void *data) {
  weft_value_id value = WEFT_VALUE_NONE;
  if (call->status != WEFT_OK) return value;
  weft_lowering *l = call->lowering;
  uint64_t bytes = weft_dtype_size(dtype);
  for (int32_t i = 0; i < shape->rank; ++i) bytes *= (uint64_t)shape->dims[i];
  weft_buffer *buffer = weft_buffer_new(l->heap, bytes);
  if (!buffer) {
    call->status = weft_heap_fail(l->heap, bytes, "a constant", l->error);
    return value;
  }
  memcpy(buffer->data, data, (size_t)bytes);
  call->status = weft_graph_add_constant(l->graph, constant_name(call), dtype, shape, buffer,
                                         &value, l->error);
  return value;
}

/* The scalar as f32, converted by the graph where another type is wanted: opt/ folds it. */
weft_value_id weft_call_scalar(weft_call *call, weft_dtype dtype, double value) {
  float single = (float)value;
  weft_value_id scalar = weft_call_constant(call, WEFT_F32, &(weft_shape){0}, &single);
  return weft_call_cast(call, scalar, dtype);
}

weft_value_id weft_call_tensor_constant(weft_call *call, const weft_onnx_tensor *tensor) {
  weft_value_id value = WEFT_VALUE_NONE;
  weft_str reason = {0};
  if (call->status != WEFT_OK) return value;
  call->status = weft_lowering_tensor(call->lowering, tensor, constant_name(call), &value, &reason);
  if (reason.length > 0)
    weft_call_fail(call, WEFT_UNSUPPORTED, "%.*s, which is not supported", WEFT_STR_ARGS(reason));
  return value;
}

/* ---- the usual nodes ------------------------------------------------------------------------- */

weft_axes weft_axes_range(uint32_t first, uint32_t end) {
  weft_axes axes = {0};
  for (uint32_t i = first; i < end; ++i) axes.axes[axes.count++] = (int8_t)i;
  return axes;
}

weft_axes weft_axes_one(int64_t axis) {
  return (weft_axes){.count = 1, .axes = {(int8_t)axis}};
}

weft_value_id weft_call_view(weft_call *call, weft_view_kind kind, weft_axes axes,
                             weft_value_id x) {
  weft_attributes attributes = {.view = {.kind = kind, .axes = axes}};
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x);
}

weft_value_id weft_call_reshape(weft_call *call, weft_value_id x, weft_value_id shape) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_RESHAPE}};
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, shape);
}

weft_value_id weft_call_expand(weft_call *call, weft_value_id x, weft_value_id shape) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_EXPAND}};
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, shape);
}

weft_value_id weft_call_dims(weft_call *call, weft_value_id x, uint32_t start, uint32_t end) {
  weft_attributes attributes = {
      .shape = {.start = (int32_t)start, .end = (int32_t)end, .has_end = true}};
  return WEFT_CALL_NODE(call, WEFT_OP_SHAPE, &attributes, x);
}

weft_value_id weft_call_extent(weft_call *call, weft_value_id x, uint32_t axis) {
  weft_value_id dim = weft_call_dims(call, x, axis, axis + 1);
  return weft_call_view(call, WEFT_VIEW_SQUEEZE, weft_axes_one(0), dim);
}

static weft_value_id constant_in_shape(weft_call *call, weft_value_id x, const weft_shape *shape) {
  const weft_value *value = value_of(call, x);
  weft_value_id out = WEFT_VALUE_NONE;
  call->status =
      weft_graph_add_constant(call->lowering->graph, constant_name(call), value->dtype, shape,
                              weft_buffer_retain(value->data), &out, call->lowering->error);
  return out;
}

weft_value_id weft_call_in_shape(weft_call *call, weft_value_id x, const char *input,
                                 const weft_shape *shape) {
  const weft_value *value = value_of(call, x);
  uint64_t have, need;
  if (call->status != WEFT_OK || weft_shape_equal(&value->shape, shape)) return x;
  bool fixed = weft_shape_is_fixed(&value->shape) &&
               weft_shape_elements(&value->shape, &have, NULL) == WEFT_OK;
  if (weft_shape_elements(shape, &need, NULL) != WEFT_OK || (fixed && have != need)) {
    char text[2][160];
    const weft_shape *const shapes[] = {&value->shape, shape};
    for (int i = 0; i < 2; ++i) {
      weft_text to = {.buffer = text[i], .size = sizeof text[i]};
      weft_shape_print(call->lowering->graph, shapes[i], &to);
    }
    weft_call_fail(call, WEFT_INVALID_MODEL, "its %s are %s, but %s is needed", input, text[0],
                   text[1]);
    return WEFT_VALUE_NONE;
  }
  if (value->kind == WEFT_VALUE_CONSTANT && value->data) return constant_in_shape(call, x, shape);
  return weft_call_reshape(call, x, weft_call_integers(call, shape->dims, shape->rank));
}

weft_value_id weft_call_slice(weft_call *call, weft_value_id x, int64_t axis, int64_t start,
                              int64_t end, int64_t step) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  weft_value_id from = WEFT_CALL_INTEGERS(call, start), to = WEFT_CALL_INTEGERS(call, end);
  weft_value_id along = WEFT_CALL_INTEGERS(call, axis), by = WEFT_CALL_INTEGERS(call, step);
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, from, to, along, by);
}

weft_value_id weft_call_slice_to(weft_call *call, weft_value_id x, int64_t axis,
                                 weft_value_id end) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  weft_value_id from = WEFT_CALL_INTEGERS(call, 0), along = WEFT_CALL_INTEGERS(call, axis);
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, from, end, along);
}

weft_value_id weft_call_concat(weft_call *call, int32_t axis, const weft_value_id *inputs,
                               uint32_t count) {
  weft_attributes attributes = {.axis = {.axis = axis}};
  return weft_call_node(call, WEFT_OP_CONCAT, &attributes, inputs, count);
}

weft_value_id weft_call_gather(weft_call *call, int32_t axis, weft_value_id data,
                               weft_value_id indices) {
  weft_attributes attributes = {.axis = {.axis = axis}};
  return WEFT_CALL_NODE(call, WEFT_OP_GATHER, &attributes, data, indices);
}

weft_value_id weft_call_reduce(weft_call *call, weft_reduce_kind kind, weft_axes axes,
                               bool keep_dims, weft_value_id x) {
  weft_attributes attributes = {
      .reduce = {
          .kind = kind, .axes = axes, .keep_dims = keep_dims, .none_means_none = axes.count == 0}};
  return WEFT_CALL_NODE(call, WEFT_OP_REDUCE, &attributes, x);
}

weft_value_id weft_call_count_up(weft_call *call, weft_value_id count) {
  weft_value_id zero = weft_call_integers(call, (const int64_t[]){0}, -1);
  weft_value_id one = weft_call_integers(call, (const int64_t[]){1}, -1);
  return WEFT_CALL_NODE(call, WEFT_OP_RANGE, NULL, zero, count, one);
}

weft_value_id weft_call_matmul(weft_call *call, weft_value_id a, weft_value_id b) {
  return WEFT_CALL_NODE(call, WEFT_OP_MATMUL, NULL, a, b);
}

weft_value_id weft_call_split_heads(weft_call *call, weft_value_id x, int64_t heads) {
  weft_value_id y = weft_call_reshape(call, x, WEFT_CALL_INTEGERS(call, 0, 0, heads, -1));
  return WEFT_CALL_TRANSPOSE(call, y, 0, 2, 1, 3);
}

weft_value_id weft_call_join_heads(weft_call *call, weft_value_id x) {
  weft_value_id y = WEFT_CALL_TRANSPOSE(call, x, 0, 2, 1, 3);
  return weft_call_reshape(call, y, WEFT_CALL_INTEGERS(call, 0, 0, -1));
}

weft_value_id weft_call_swap_last(weft_call *call, weft_value_id x) {
  uint32_t rank = weft_call_rank(call, x);
  if (rank < 2) {
    weft_call_fail(call, WEFT_INVALID_MODEL, "a tensor of rank %u has no last two axes", rank);
    return WEFT_VALUE_NONE;
  }
  weft_axes axes = weft_axes_range(0, rank);
  axes.axes[rank - 2] = (int8_t)(rank - 1);
  axes.axes[rank - 1] = (int8_t)(rank - 2);
  return weft_call_view(call, WEFT_VIEW_TRANSPOSE, axes, x);
}

weft_value_id weft_call_standardize(weft_call *call, weft_value_id x, weft_axes axes,
                                    double epsilon, weft_value_id *mean, weft_value_id *inverse) {
  weft_value_id average = weft_call_reduce(call, WEFT_REDUCE_MEAN, axes, true, x);
  weft_value_id centred = weft_call_map2(call, WEFT_EXPR_SUB, x, average);
  weft_value_id square = weft_call_map2(call, WEFT_EXPR_MUL, centred, centred);
  weft_value_id variance = weft_call_reduce(call, WEFT_REDUCE_MEAN, axes, true, square);
  weft_formula f = WEFT_FORMULA(call, variance);
  F1(RSQRT, F2(ADD, 0, NUMBER(epsilon)));
  weft_value_id scale = weft_formula_end(&f);
  if (mean) *mean = average;
  if (inverse) *inverse = scale;
  return weft_call_map2(call, WEFT_EXPR_MUL, centred, scale);
}

/* ---- formulas -------------------------------------------------------------------------------- */

weft_formula weft_formula_begin(weft_call *call, const weft_value_id *inputs, uint32_t count) {
  weft_formula f = {.call = call};
  f.expr.input_count = (uint8_t)count;
  for (uint32_t i = 0; i < count; ++i) {
    f.inputs[i] = inputs[i];
    f.expr.input_dtypes[i] = (uint8_t)weft_call_dtype(call, inputs[i]);
  }
  return f;
}

weft_dtype weft_formula_dtype(const weft_formula *f, uint32_t operand) {
  uint32_t inputs = f->expr.input_count;
  return (weft_dtype)(operand < inputs ? f->expr.input_dtypes[operand]
                                       : f->code[operand - inputs].dtype);
}

static uint32_t append(weft_formula *f, weft_instruction instruction) {
  if (f->expr.code_count == WEFT_EXPR_CODE_MAX) {
    weft_call_fail(f->call, WEFT_INTERNAL, "its formula has too many instructions");
    return 0;
  }
  f->code[f->expr.code_count] = instruction;
  return (uint32_t)f->expr.input_count + f->expr.code_count++;
}

static weft_dtype result_dtype(weft_formula *f, weft_expr_op op, uint32_t a, uint32_t b) {
  switch (op) {
  case WEFT_EXPR_EQUAL:
  case WEFT_EXPR_LESS:
  case WEFT_EXPR_LESS_EQUAL:
  case WEFT_EXPR_IS_NAN:
  case WEFT_EXPR_IS_INF:
    return WEFT_BOOL;
  case WEFT_EXPR_SELECT:
    return weft_formula_dtype(f, b);
  default:
    return weft_formula_dtype(f, a);
  }
}

static void check_same(weft_formula *f, uint32_t a, uint32_t b) {
  weft_dtype one = weft_formula_dtype(f, a), other = weft_formula_dtype(f, b);
  if (one != other)
    weft_call_fail(f->call, WEFT_INVALID_MODEL, "its operands are of different types, %s and %s",
                   weft_dtype_name(one), weft_dtype_name(other));
}

uint32_t weft_formula_op(weft_formula *f, weft_expr_op op, uint32_t a, uint32_t b, uint32_t c) {
  uint32_t operands = weft_expr_operand_count(op);
  if (operands == 2) check_same(f, a, b);
  if (operands == 3) check_same(f, b, c);
  weft_instruction instruction = {.op = (uint8_t)op, .dtype = (uint8_t)result_dtype(f, op, a, b)};
  const uint32_t given[3] = {a, b, c};
  for (uint32_t i = 0; i < operands; ++i) instruction.operands[i] = (uint8_t)given[i];
  return append(f, instruction);
}

uint32_t weft_formula_constant(weft_formula *f, weft_dtype dtype, double value) {
  weft_instruction instruction = {.op = WEFT_EXPR_CONSTANT, .dtype = (uint8_t)dtype};
  if (weft_dtype_is_float(dtype))
    instruction.immediate.f = value;
  else
    instruction.immediate.i = value < -0x1p63  ? INT64_MIN
                              : value < 0x1p63 ? (int64_t)value
                                               : INT64_MAX;
  return append(f, instruction);
}

uint32_t weft_formula_cast(weft_formula *f, uint32_t a, weft_dtype dtype) {
  return append(f, (weft_instruction){
                       .op = WEFT_EXPR_CAST, .dtype = (uint8_t)dtype, .operands = {(uint8_t)a}});
}

weft_value_id weft_formula_end(weft_formula *f) {
  weft_call *call = f->call;
  if (call->status != WEFT_OK) return WEFT_VALUE_NONE;
  weft_attributes attributes = {.map = {.expr = f->expr}};
  if (f->expr.code_count > 0) {
    weft_instruction *code =
        WEFT_ARENA_ARRAY(&call->lowering->graph->arena, weft_instruction, f->expr.code_count);
    if (!code) {
      call->status = weft_lowering_no_memory(call->lowering);
      return WEFT_VALUE_NONE;
    }
    memcpy(code, f->code, f->expr.code_count * sizeof *code);
    attributes.map.expr.code = code;
  }
  return weft_call_node(call, WEFT_OP_MAP, &attributes, f->inputs, f->expr.input_count);
}

weft_value_id weft_call_map1(weft_call *call, weft_expr_op op, weft_value_id a) {
  weft_formula f = WEFT_FORMULA(call, a);
  weft_formula_op(&f, op, 0, 0, 0);
  return weft_formula_end(&f);
}

weft_value_id weft_call_map2(weft_call *call, weft_expr_op op, weft_value_id a, weft_value_id b) {
  weft_formula f = WEFT_FORMULA(call, a, b);
  weft_formula_op(&f, op, 0, 1, 0);
  return weft_formula_end(&f);
}

weft_value_id weft_call_map3(weft_call *call, weft_expr_op op, weft_value_id a, weft_value_id b,
                             weft_value_id c) {
  weft_formula f = WEFT_FORMULA(call, a, b, c);
  weft_formula_op(&f, op, 0, 1, 2);
  return weft_formula_end(&f);
}

weft_value_id weft_call_cast(weft_call *call, weft_value_id x, weft_dtype dtype) {
  if (weft_call_dtype(call, x) == dtype) return x;
  weft_formula f = WEFT_FORMULA(call, x);
  weft_formula_cast(&f, 0, dtype);
  return weft_formula_end(&f);
}
