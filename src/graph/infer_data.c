/* infer_data.c - shapes of the ops that move or make data: gather, concat, pad, shape, range, fill,
 * and `if`. */
#include "graph/infer.h"

/* ---- gathering and joining ------------------------------------------------------------------- */

static const weft_shape unknown_rank = {.rank = -1};

weft_status weft_infer_gather(weft_infer *infer) {
  const weft_shape *data = weft_input_shape(infer, 0), *indices = weft_input_shape(infer, 1);
  if (data->rank < 0 || indices->rank < 0) return weft_infer_output(infer, &unknown_rank);
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.axis.axis, data->rank, &axis));
  if (data->rank - 1 + indices->rank > WEFT_RANK_MAX) {
    return weft_infer_fail(infer, "its output would have rank %d, more than %d",
                           data->rank - 1 + indices->rank, WEFT_RANK_MAX);
  }
  weft_shape out = {0};
  for (int32_t i = 0; i < axis; i++) out.dims[out.rank++] = data->dims[i];
  for (int32_t i = 0; i < indices->rank; i++) out.dims[out.rank++] = indices->dims[i];
  for (int32_t i = axis + 1; i < data->rank; i++) out.dims[out.rank++] = data->dims[i];
  return weft_infer_output(infer, &out);
}

weft_status weft_infer_gather_elements(weft_infer *infer) {
  const weft_shape *data = weft_input_shape(infer, 0), *indices = weft_input_shape(infer, 1);
  if (data->rank < 0 || indices->rank < 0) return weft_infer_output(infer, indices);
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.axis.axis, data->rank, &axis));
  bool good = data->rank == indices->rank;
  for (int32_t i = 0; good && i < data->rank; i++) {
    bool symbolic = WEFT_DIM_IS_SYMBOL(data->dims[i]) || WEFT_DIM_IS_SYMBOL(indices->dims[i]);
    good = i == axis || symbolic || indices->dims[i] <= data->dims[i];
  }
  if (good) return weft_infer_output(infer, indices);
  return weft_infer_fail(infer, "indices %s do not fit data %s", WEFT_SHAPE_TEXT(infer, indices),
                         WEFT_SHAPE_TEXT(infer, data));
}

/* Joins one more input to `out`. */
static weft_status append(const weft_infer *infer, uint32_t input, weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, input);
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.axis.axis, out->rank, &axis));
  weft_shape before = *out;
  bool good = shape->rank == out->rank;
  for (int32_t i = 0; good && i < out->rank; i++) {
    if (i != axis) good = weft_dim_meet(&out->dims[i], shape->dims[i]);
  }
  if (!good) {
    return weft_infer_fail(infer, "cannot concatenate %s and input %u %s at axis %d",
                           WEFT_SHAPE_TEXT(infer, &before), input, WEFT_SHAPE_TEXT(infer, shape),
                           axis);
  }
  return weft_dim_add(infer, before.dims[axis], shape->dims[axis], &out->dims[axis]);
}

weft_status weft_infer_concat(weft_infer *infer) {
  weft_shape out = *weft_input_shape(infer, 0);
  for (uint32_t i = 0; i < infer->node->input_count; i++) {
    if (weft_input_shape(infer, i)->rank < 0) return weft_infer_output(infer, &unknown_rank);
  }
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.axis.axis, out.rank, &axis));
  for (uint32_t i = 1; i < infer->node->input_count; i++) WEFT_TRY(append(infer, i, &out));
  return weft_infer_output(infer, &out);
}

/* ---- pad ------------------------------------------------------------------------------------- */

enum { PAD_AMOUNTS = 1, PAD_AXES = 3 };

static weft_status pad_dim(const weft_infer *infer, weft_dim before, weft_dim after,
                           weft_dim *dim) {
  if (before == 0 && after == 0) return WEFT_OK;
  bool known = !WEFT_DIM_IS_SYMBOL(before) && !WEFT_DIM_IS_SYMBOL(after);
  weft_dim extent = *dim, added = 0;
  if (known && !weft_add_i64(before, after, &added)) {
    return weft_infer_fail(infer, "a dimension overflows");
  }
  if (!known || WEFT_DIM_IS_SYMBOL(extent)) {
    bool grows = known && before >= 0 && after >= 0;
    *dim = WEFT_DIM_UNKNOWN;
    return grows ? weft_dim_add(infer, extent, added, dim) : WEFT_OK;
  }
  bool good = weft_add_i64(extent, added, dim) && *dim >= 0;
  weft_dim largest = before > after ? before : after;
  weft_pad_mode mode = infer->node->attributes.pad.mode;
  if (mode == WEFT_PAD_REFLECT) good &= largest < extent || largest <= 0;
  if (mode != WEFT_PAD_CONSTANT) good &= extent > 0 || largest <= 0;
  if (good) return WEFT_OK;
  return weft_infer_fail(infer, "cannot pad a dimension of %lld by %lld and %lld",
                         (long long)extent, (long long)before, (long long)after);
}

/* Pads are [begin of each axis..., end of each axis...]. */
static weft_status pad_axes(const weft_infer *infer, int64_t count, weft_shape *out) {
  uint32_t seen = 0;
  for (int64_t i = 0; i < count; i++) {
    weft_dim named = weft_input_has(infer, PAD_AXES) ? weft_input_element(infer, PAD_AXES, i) : i;
    int32_t axis;
    WEFT_TRY(weft_infer_axis(infer, named, out->rank, &axis));
    if (seen >> axis & 1u) return weft_infer_fail(infer, "pads axis %d twice", axis);
    seen |= 1u << axis;
    WEFT_TRY(pad_dim(infer, weft_input_element(infer, PAD_AMOUNTS, i),
                     weft_input_element(infer, PAD_AMOUNTS, count + i), &out->dims[axis]));
  }
  return WEFT_OK;
}

static bool list_is_known(const weft_infer *infer, uint32_t input, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    if (WEFT_DIM_IS_SYMBOL(weft_input_element(infer, input, i))) return false;
  }
  return count >= 0;
}

weft_status weft_infer_pad(weft_infer *infer) {
  weft_shape out = *weft_input_shape(infer, 0);
  if (out.rank < 0) return weft_infer_output(infer, &out);
  int64_t amounts, axes = out.rank;
  WEFT_TRY(weft_input_length(infer, PAD_AMOUNTS, &amounts));
  bool named = weft_input_has(infer, PAD_AXES);
  if (named) WEFT_TRY(weft_input_length(infer, PAD_AXES, &axes));
  if (amounts >= 0 && axes >= 0 && amounts != 2 * axes) {
    return weft_infer_fail(infer, "%lld pads for %lld axes", (long long)amounts, (long long)axes);
  }
  if (amounts >= 0 && (!named || list_is_known(infer, PAD_AXES, axes))) {
    WEFT_TRY(pad_axes(infer, axes, &out));
  } else {
    for (int32_t i = 0; i < out.rank; i++) out.dims[i] = WEFT_DIM_UNKNOWN;
  }
  return weft_infer_output(infer, &out);
}

/* ---- made from shapes ------------------------------------------------------------------------ */

void weft_shape_bounds(const weft_infer *infer, int32_t *start, int32_t *end) {
  const weft_attributes *a = &infer->node->attributes;
  int32_t rank = weft_input_shape(infer, 0)->rank;
  int32_t bounds[] = {a->shape.start, a->shape.has_end ? a->shape.end : rank};
  for (int i = 0; i < 2; i++) {
    if (bounds[i] < 0) bounds[i] += rank;
    if (bounds[i] < 0) bounds[i] = 0;
    if (bounds[i] > rank) bounds[i] = rank;
  }
  *start = bounds[0];
  *end = bounds[1] < bounds[0] ? bounds[0] : bounds[1];
}

weft_status weft_infer_shape(weft_infer *infer) {
  weft_shape out = {.rank = 1, .dims = {WEFT_DIM_UNKNOWN}};
  if (weft_input_shape(infer, 0)->rank >= 0) {
    int32_t start, end;
    weft_shape_bounds(infer, &start, &end);
    out.dims[0] = end - start;
  }
  return weft_infer_output(infer, &out);
}

weft_status weft_infer_fill(weft_infer *infer) {
  int64_t rank;
  WEFT_TRY(weft_input_length(infer, 0, &rank));
  if (rank > WEFT_RANK_MAX) {
    return weft_infer_fail(infer, "its output would have rank %lld, more than %d", (long long)rank,
                           WEFT_RANK_MAX);
  }
  weft_shape out = {.rank = rank < 0 ? -1 : (int32_t)rank};
  for (int32_t i = 0; i < out.rank; i++) {
    out.dims[i] = weft_input_element(infer, 0, i);
    if (out.dims[i] < 0 && !WEFT_DIM_IS_SYMBOL(out.dims[i])) {
      return weft_infer_fail(infer, "the shape has a dimension of %lld", (long long)out.dims[i]);
    }
  }
  return weft_infer_output(infer, &out);
}

/* ---- range ----------------------------------------------------------------------------------- */

enum { RANGE_START, RANGE_LIMIT, RANGE_DELTA };

/* The value of a constant float scalar; *known is false for anything else. */
static weft_status read_float(const weft_infer *infer, uint32_t input, double *out, bool *known) {
  const weft_value *value = &infer->at->graph->values[infer->node->inputs[input]];
  bool single = value->dtype == WEFT_F32;
  *known = value->kind == WEFT_VALUE_CONSTANT && value->layout == WEFT_LAYOUT_DENSE &&
           (single || value->dtype == WEFT_F64) &&
           value->data->bytes == weft_dtype_size(value->dtype);
  if (!*known) return WEFT_OK;
  float f;
  void *to = single ? (void *)&f : (void *)out;
  WEFT_TRY(weft_buffer_read(value->data, 0, value->data->bytes, to, infer->error));
  if (single) *out = (double)f;
  return WEFT_OK;
}

/* max(ceil((limit - start) / delta), 0); the difference in the type itself, as in ONNX Runtime. */
static weft_status count_floats(const weft_infer *infer, weft_dim *out) {
  double x[3];
  bool known = true;
  for (uint32_t i = 0; i < 3; i++) {
    bool one;
    WEFT_TRY(read_float(infer, i, &x[i], &one));
    known &= one;
  }
  if (!known) return WEFT_OK;
  double span = x[RANGE_LIMIT] - x[RANGE_START];
  if (infer->dtype == WEFT_F32) span = (double)(float)span;
  double quotient = span / x[RANGE_DELTA];
  if (x[RANGE_DELTA] == 0 || !(quotient <= (double)WEFT_MAX_ELEMENTS)) {
    return weft_infer_fail(infer, "a range from %g to %g by %g", x[RANGE_START], x[RANGE_LIMIT],
                           x[RANGE_DELTA]);
  }
  if (quotient <= 0) {
    *out = 0;
  } else {
    *out = (weft_dim)quotient;
    *out += (double)*out < quotient;
  }
  return WEFT_OK;
}

static weft_status count_integers(const weft_infer *infer, weft_dim *out) {
  weft_dim start = weft_input_element(infer, RANGE_START, 0),
           limit = weft_input_element(infer, RANGE_LIMIT, 0),
           delta = weft_input_element(infer, RANGE_DELTA, 0);
  if (delta == 0) return weft_infer_fail(infer, "a range with a step of 0");
  if (WEFT_DIM_IS_SYMBOL(start) || WEFT_DIM_IS_SYMBOL(limit) || WEFT_DIM_IS_SYMBOL(delta)) {
    if (delta != 1 || (start < 0 && !WEFT_DIM_IS_SYMBOL(start))) return WEFT_OK;
    if (start == 0) *out = limit;
    return start == 0 ? WEFT_OK : weft_dim_subtract(infer, limit, start, out);
  }
  bool up = delta > 0;
  uint64_t step = up ? (uint64_t)delta : 0 - (uint64_t)delta;
  uint64_t span = up ? (uint64_t)limit - (uint64_t)start : (uint64_t)start - (uint64_t)limit;
  if (up ? limit <= start : limit >= start) span = 0;
  uint64_t count = span ? 1 + (span - 1) / step : 0;
  *out = count > INT64_MAX ? INT64_MAX : (weft_dim)count;
  return WEFT_OK;
}

weft_status weft_infer_range(weft_infer *infer) {
  for (uint32_t i = 0; i < 3; i++) {
    int64_t length;
    WEFT_TRY(weft_input_length(infer, i, &length));
    if (length >= 0 && length != 1) return weft_infer_fail(infer, "input %u is no scalar", i);
  }
  weft_shape out = {.rank = 1, .dims = {WEFT_DIM_UNKNOWN}};
  WEFT_TRY(weft_dtype_is_float(infer->dtype) ? count_floats(infer, &out.dims[0])
                                             : count_integers(infer, &out.dims[0]));
  return weft_infer_output(infer, &out);
}

/* ---- if -------------------------------------------------------------------------------------- */

/* Shape that both branches' outputs have. */
static weft_shape either_shape(const weft_shape *a, const weft_shape *b) {
  weft_shape out = {.rank = a->rank == b->rank ? a->rank : -1};
  for (int32_t i = 0; i < out.rank; i++) {
    out.dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : WEFT_DIM_UNKNOWN;
  }
  return out;
}

weft_status weft_infer_if(weft_infer *infer) {
  const weft_inference *at = infer->at;
  const weft_attributes *a = &infer->node->attributes;
  const weft_region *then_region = &at->graph->regions[a->branches.then_region],
                    *else_region = &at->graph->regions[a->branches.else_region];
  weft_dim condition = weft_input_element(infer, 0, 0);
  for (uint32_t i = 0; i < infer->node->output_count; i++) {
    weft_value_id x = then_region->outputs[i], y = else_region->outputs[i];
    if (!WEFT_DIM_IS_SYMBOL(condition)) x = y = condition ? x : y;
    weft_dtype dtype = *weft_facts_dtype(at, x);
    if (dtype != *weft_facts_dtype(at, y)) {
      return weft_infer_fail(infer, "output %u is %s or %s, by branch", i, weft_dtype_name(dtype),
                             weft_dtype_name(*weft_facts_dtype(at, y)));
    }
    weft_shape shape = either_shape(weft_facts_shape(at, x), weft_facts_shape(at, y));
    const weft_dim *elements = x == y ? *weft_facts_elements(at, x) : NULL;
    WEFT_TRY(weft_infer_output_at(infer, i, dtype, &shape, elements));
  }
  return WEFT_OK;
}
