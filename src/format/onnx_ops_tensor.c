/* onnx_ops_tensor.c - operators that make tensors: constants, shapes, ranges, fills, one-hot,
 * triangles and running sums. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

/* ---- Constant -------------------------------------------------------------------------------- */

static weft_value_id floats_constant(weft_call *call, const float *floats, int32_t rank,
                                     uint32_t count) {
  return weft_call_constant(call, WEFT_F32, &(weft_shape){.rank = rank, .dims = {count}}, floats);
}

/* Exactly one of the attributes is there. */
void weft_onnx_constant(weft_call *call) {
  uint32_t count;
  weft_value_id value = WEFT_VALUE_NONE;
  const weft_onnx_tensor *tensor = weft_call_tensor(call, "value");
  const float *floats = weft_call_floats(call, "value_floats", &count);
  if (tensor) value = weft_call_tensor_constant(call, tensor);
  if (floats) value = floats_constant(call, floats, 1, count);
  const int64_t *ints = weft_call_ints(call, "value_ints", &count);
  if (ints) value = weft_call_integers(call, ints, (int32_t)count);
  if (weft_call_has(call, "value_int"))
    value = weft_call_integers(call, (const int64_t[]){weft_call_int(call, "value_int", 0)}, -1);
  if (weft_call_has(call, "value_float"))
    value = floats_constant(call, (const float[]){(float)weft_call_float(call, "value_float", 0)},
                            0, 0);
  weft_call_output(call, 0, value);
  if (value == WEFT_VALUE_NONE && call->argument_count == 0)
    weft_call_fail(call, WEFT_INVALID_MODEL, "it has no value");
}

/* ---- shapes ---------------------------------------------------------------------------------- */

void weft_onnx_shape(weft_call *call) {
  weft_attributes attributes = {.shape = {.has_end = weft_call_has(call, "end")}};
  int64_t start = weft_call_int(call, "start", 0), end = weft_call_int(call, "end", 0);
  const int64_t most =
      2 * WEFT_RANK_MAX; /* out of range is cut, so that any larger number says the same */
  attributes.shape.start = (int32_t)(start < -most ? -most : start > most ? most : start);
  attributes.shape.end = (int32_t)(end < -most ? -most : end > most ? most : end);
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_SHAPE, &attributes, call->inputs, 1));
}

void weft_onnx_size(weft_call *call) {
  weft_attributes attributes = {0};
  weft_value_id dims = weft_call_node(call, WEFT_OP_SHAPE, &attributes, call->inputs, 1);
  weft_call_output(call, 0,
                   weft_call_reduce(call, WEFT_REDUCE_PROD, weft_axes_one(0), false, dims));
}

void weft_onnx_range(weft_call *call) {
  weft_call_ignore(call, "stash_type"); /* the type of sums in f16: ours are multiples in f32 */
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_RANGE, NULL, call->inputs, 3));
}

void weft_onnx_constant_of_shape(weft_call *call) {
  weft_attributes attributes = {.fill = {.dtype = WEFT_F32}};
  const weft_onnx_tensor *value = weft_call_tensor(call, "value");
  if (value) {
    attributes.fill.dtype = (weft_dtype)value->data_type;
    size_t size = weft_dtype_size(attributes.fill.dtype);
    if (size == 0)
      weft_call_fail(call, WEFT_UNSUPPORTED, "ONNX type %d is not supported", value->data_type);
    else if (!value->data || value->data->bytes != size)
      weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'value' must have one element");
    else
      weft_call_read(call, value->data, size, attributes.fill.value);
  }
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_FILL, &attributes, call->inputs, 1));
}

/* ---- by comparing positions ------------------------------------------------------------------ */

/* 1 where row + k equals column. */
void weft_onnx_eye_like(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0);
  weft_dtype dtype = weft_call_type(call, "dtype", weft_call_dtype(call, x));
  int64_t k = weft_call_int(call, "k", 0);
  if (weft_call_rank(call, x) != 2)
    weft_call_fail(call, WEFT_INVALID_MODEL, "its input must be a matrix");
  weft_value_id rows = weft_call_count_up(call, weft_call_extent(call, x, 0));
  weft_value_id columns = weft_call_count_up(call, weft_call_extent(call, x, 1));
  rows = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(1), rows);
  weft_formula f = WEFT_FORMULA(call, rows, columns);
  weft_formula_cast(&f, F2(EQUAL, F2(ADD, 0, NUMBER((double)k)), 1), dtype);
  weft_call_output(call, 0, weft_formula_end(&f));
}

/* A scalar out of a tensor with one element. */
static weft_value_id as_scalar(weft_call *call, weft_value_id x, weft_dtype dtype) {
  weft_value_id scalar = weft_call_reshape(call, x, weft_call_integers(call, NULL, 0));
  return weft_call_cast(call, scalar, dtype);
}

/* on where an index, counted from the end when negative, equals the position along the new axis. */
void weft_onnx_one_hot(weft_call *call) {
  weft_value_id indices = weft_call_input(call, 0), values = weft_call_input(call, 2);
  uint32_t rank = weft_call_rank(call, indices);
  uint32_t axis = weft_call_positive_axis(call, weft_call_axis(call, "axis", -1), rank + 1);
  weft_value_id depth = as_scalar(call, weft_call_input(call, 1), WEFT_I64);
  weft_value_id positions = weft_call_count_up(call, depth);
  if (axis < rank)
    positions =
        weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, rank - axis + 1), positions);
  indices = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(axis), indices);
  weft_value_id off =
      weft_call_gather(call, 0, values, weft_call_integers(call, (int64_t[]){0}, -1));
  weft_value_id on =
      weft_call_gather(call, 0, values, weft_call_integers(call, (int64_t[]){1}, -1));
  weft_formula f = WEFT_FORMULA(call, indices, positions, depth, on, off);
  uint32_t index = weft_formula_dtype(&f, 0) == WEFT_I64 ? 0 : weft_formula_cast(&f, 0, WEFT_I64);
  uint32_t zero = weft_formula_constant(&f, WEFT_I64, 0);
  uint32_t positive = F3(SELECT, F2(LESS, index, zero), F2(ADD, index, 2), index);
  F3(SELECT, F2(EQUAL, positive, 1), 3, 4);
  weft_call_output(call, 0, weft_formula_end(&f));
}

/* ---- the rest -------------------------------------------------------------------------------- */

void weft_onnx_trilu(weft_call *call) {
  weft_attributes attributes = {.triangle = {.upper = weft_call_flag(call, "upper", true)}};
  weft_call_output(
      call, 0,
      weft_call_node(call, WEFT_OP_TRIANGLE, &attributes, call->inputs, call->input_count));
}

void weft_onnx_cumsum(weft_call *call) {
  weft_attributes attributes = {.cumsum = {.exclusive = weft_call_flag(call, "exclusive", false),
                                           .reverse = weft_call_flag(call, "reverse", false)}};
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_CUMSUM, &attributes, call->inputs, 2));
}
