/* infer_view.c - shapes of views: reshape, transpose, slice, expand, squeeze, unsqueeze, flatten,
 * split. Their strides are in views.c, with the same reading of the operands. */
#include "graph/infer.h"

/* ---- axes ------------------------------------------------------------------------------------ */

weft_status weft_infer_axes(const weft_infer *infer, const weft_axes *attribute, uint32_t input,
                            int32_t rank, uint32_t none, uint32_t *mask, bool *known) {
  int64_t count = attribute->count;
  bool from_input = weft_input_has(infer, input);
  if (from_input && count > 0)
    return weft_infer_fail(infer, "its axes are given twice, as an attribute and as an input");
  if (from_input) WEFT_TRY(weft_input_length(infer, input, &count));
  *mask = count == 0 ? none : 0;
  *known = count == 0 || !from_input || weft_input_elements(infer, input);
  for (int64_t i = 0; i < count && *known; i++) {
    int64_t axis = from_input ? weft_input_element(infer, input, i) : attribute->axes[i];
    *known = !WEFT_DIM_IS_SYMBOL(axis);
    if (!*known) break;
    int32_t normal;
    WEFT_TRY(weft_infer_axis(infer, axis, rank, &normal));
    *mask |= 1u << normal;
  }
  return WEFT_OK;
}

/* Removes (or adds, as 1) the masked axes. */
static weft_shape without_axes(const weft_shape *shape, uint32_t mask) {
  weft_shape out = {0};
  for (int32_t i = 0; i < shape->rank; i++) {
    if (!(mask >> i & 1u)) out.dims[out.rank++] = shape->dims[i];
  }
  return out;
}

static weft_shape unknown_shape(int64_t rank) {
  weft_shape out = {.rank = rank < 0 ? -1 : (int32_t)rank};
  for (int32_t i = 0; i < out.rank; i++) out.dims[i] = WEFT_DIM_UNKNOWN;
  return out;
}

static weft_status check_rank(const weft_infer *infer, int64_t rank) {
  if (rank <= WEFT_RANK_MAX) return WEFT_OK;
  return weft_infer_fail(infer, "its output would have rank %lld, more than %d", (long long)rank,
                         WEFT_RANK_MAX);
}

/* ---- reshape --------------------------------------------------------------------------------- */

/* Both sides of a reshape with what stands on both of them taken away: products of extents and the
 * symbols that are left. */
typedef struct reshape_side {
  weft_dim dims[WEFT_RANK_MAX];
  bool taken[WEFT_RANK_MAX];
  int32_t rank;
} reshape_side;

static void cancel_symbols(reshape_side *from, reshape_side *to) {
  for (int32_t i = 0; i < to->rank; i++) {
    for (int32_t k = 0; k < from->rank && !to->taken[i]; k++) {
      bool same =
          !from->taken[k] && WEFT_DIM_IS_SYMBOL(to->dims[i]) && from->dims[k] == to->dims[i];
      if (same) from->taken[k] = to->taken[i] = true;
    }
  }
}

static weft_status rest_of(const weft_infer *infer, const reshape_side *side, weft_dim *extents,
                           weft_dim *symbols) {
  *extents = *symbols = 1;
  for (int32_t i = 0; i < side->rank; i++) {
    if (side->taken[i]) continue;
    weft_dim *product = WEFT_DIM_IS_SYMBOL(side->dims[i]) ? symbols : extents;
    WEFT_TRY(weft_dim_multiply(infer, *product, side->dims[i], product));
  }
  return WEFT_OK;
}

static bool is_empty(const weft_shape *shape) {
  for (int32_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] == 0) return true;
  }
  return false;
}

static weft_status fail_reshape(const weft_infer *infer, const weft_shape *to) {
  return weft_infer_fail(infer, "cannot reshape %s to %s",
                         WEFT_SHAPE_TEXT(infer, weft_input_shape(infer, 0)),
                         WEFT_SHAPE_TEXT(infer, to));
}

/* Gives the one dimension of `out` that is open (or none: -1) what the others leave of the input;
 * checks the number of elements as far as it is known. copied: dims taken over by a 0. */
static weft_status resolve_reshape(const weft_infer *infer, uint32_t copied, int32_t open,
                                   weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  reshape_side from = {.rank = shape->rank}, to = {.rank = out->rank};
  for (int32_t i = 0; i < from.rank; i++) from.dims[i] = shape->dims[i];
  for (int32_t i = 0; i < to.rank; i++) {
    to.dims[i] = out->dims[i];
    to.taken[i] = i == open || (copied >> i & 1u);
    if (copied >> i & 1u) from.taken[i] = true;
  }
  cancel_symbols(&from, &to);
  weft_dim have, symbols, need, more;
  WEFT_TRY(rest_of(infer, &from, &have, &symbols));
  WEFT_TRY(rest_of(infer, &to, &need, &more));
  if (more != 1) return WEFT_OK; /* symbols on the right: a run tells */
  if (open < 0 && is_empty(shape) && is_empty(out)) return WEFT_OK;
  if (open < 0) return symbols == 1 && have != need ? fail_reshape(infer, out) : WEFT_OK;
  if (symbols == 1 && (need == 0 || have % need != 0)) return fail_reshape(infer, out);
  if (need == 0 || have % need != 0) return WEFT_OK;
  return weft_dim_multiply(infer, symbols, have / need, &out->dims[open]);
}

/* One element of the wanted shape. A symbol is taken to be no 0, which would copy; bind checks. */
static weft_status reshape_dim(const weft_infer *infer, weft_dim wanted, int32_t i, weft_dim *out,
                               uint32_t *copied) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  *out = wanted;
  if (wanted == -1) {
    *out = WEFT_DIM_UNKNOWN;
  } else if (wanted == 0 && !infer->node->attributes.view.allow_zero) {
    if (shape->rank >= 0 && i >= shape->rank) {
      return weft_infer_fail(infer, "the shape's 0 at %d has no dimension to copy", i);
    }
    *out = shape->rank >= 0 ? shape->dims[i] : WEFT_DIM_UNKNOWN;
    *copied |= 1u << i;
  } else if (wanted < 0 && !WEFT_DIM_IS_SYMBOL(wanted)) {
    return weft_infer_fail(infer, "the shape has a dimension of %lld", (long long)wanted);
  }
  return WEFT_OK;
}

static weft_status infer_reshape(weft_infer *infer, weft_shape *out) {
  int64_t count;
  WEFT_TRY(weft_input_length(infer, 1, &count));
  WEFT_TRY(check_rank(infer, count));
  *out = unknown_shape(count);
  uint32_t copied = 0, inferred = 0, open_count = 0;
  int32_t open = -1;
  for (int32_t i = 0; i < out->rank; i++) {
    weft_dim wanted = weft_input_element(infer, 1, i);
    WEFT_TRY(reshape_dim(infer, wanted, i, &out->dims[i], &copied));
    inferred += wanted == -1;
    if (out->dims[i] != WEFT_DIM_UNKNOWN) continue;
    open = i;
    open_count++;
  }
  if (inferred > 1) return weft_infer_fail(infer, "the shape has more than one -1");
  if (out->rank < 0 || open_count > 1 || weft_input_shape(infer, 0)->rank < 0) return WEFT_OK;
  return resolve_reshape(infer, copied, open, out);
}

/* ---- the others ------------------------------------------------------------------------------ */

static weft_status infer_transpose(weft_infer *infer, weft_shape *out) {
  const weft_axes *axes = &infer->node->attributes.view.axes;
  const weft_shape *shape = weft_input_shape(infer, 0);
  *out = unknown_shape(shape->rank < 0 && axes->count ? axes->count : shape->rank);
  uint32_t seen = 0;
  for (int32_t i = 0; i < out->rank; i++) {
    int32_t axis = out->rank - 1 - i;
    if (axes->count) {
      int64_t named = i < axes->count ? axes->axes[i] : 0;
      WEFT_TRY(weft_infer_axis(infer, named, out->rank, &axis));
    }
    seen |= 1u << axis;
    if (shape->rank >= 0) out->dims[i] = shape->dims[axis];
  }
  bool good = out->rank < 0 ||
              (seen == weft_all_axes(out->rank) && (axes->count == 0 || axes->count == out->rank));
  return good ? WEFT_OK
              : weft_infer_fail(infer, "its axes are no permutation of rank %d", out->rank);
}

static weft_status infer_expand(weft_infer *infer, weft_shape *out) {
  int64_t count;
  WEFT_TRY(weft_input_length(infer, 1, &count));
  WEFT_TRY(check_rank(infer, count));
  weft_shape wanted = unknown_shape(count);
  for (int32_t i = 0; i < wanted.rank; i++) {
    wanted.dims[i] = weft_input_element(infer, 1, i);
    if (wanted.dims[i] < 0 && !WEFT_DIM_IS_SYMBOL(wanted.dims[i])) {
      return weft_infer_fail(infer, "the shape has a dimension of %lld", (long long)wanted.dims[i]);
    }
  }
  return weft_infer_join(infer, weft_input_shape(infer, 0), &wanted, out);
}

static weft_status infer_squeeze(weft_infer *infer, weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  *out = unknown_shape(-1);
  if (shape->rank < 0) return WEFT_OK;
  uint32_t ones = 0, symbols = 0, mask;
  for (int32_t i = 0; i < shape->rank; i++) {
    ones |= (uint32_t)(shape->dims[i] == 1) << i;
    symbols |= (uint32_t)WEFT_DIM_IS_SYMBOL(shape->dims[i]) << i;
  }
  bool known;
  const uint32_t none = UINT32_MAX; /* no axes given: every dimension of 1 */
  WEFT_TRY(weft_infer_axes(infer, &infer->node->attributes.view.axes, 1, shape->rank, none, &mask,
                           &known));
  if (!known || (mask == none && symbols)) return WEFT_OK;
  if (mask == none) mask = ones;
  if (mask & ~(ones | symbols)) {
    return weft_infer_fail(infer, "cannot squeeze a dimension other than 1 of %s",
                           WEFT_SHAPE_TEXT(infer, shape));
  }
  *out = without_axes(shape, mask);
  return WEFT_OK;
}

static weft_status infer_unsqueeze(weft_infer *infer, weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  const weft_axes *axes = &infer->node->attributes.view.axes;
  int64_t count = axes->count;
  if (count == 0) WEFT_TRY(weft_input_length(infer, 1, &count));
  *out = unknown_shape(-1);
  if (shape->rank < 0 || count < 0) return WEFT_OK;
  WEFT_TRY(check_rank(infer, shape->rank + count));
  *out = unknown_shape(shape->rank + count);
  uint32_t mask;
  bool known;
  WEFT_TRY(weft_infer_axes(infer, axes, 1, out->rank, 0, &mask, &known));
  if (!known) return WEFT_OK;
  if (__builtin_popcount(mask) != count) return weft_infer_fail(infer, "an axis is named twice");
  for (int32_t i = 0, from = 0; i < out->rank; i++) {
    out->dims[i] = mask >> i & 1u ? 1 : shape->dims[from++];
  }
  return WEFT_OK;
}

static weft_status infer_flatten(weft_infer *infer, weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  *out = unknown_shape(2);
  if (shape->rank < 0) return WEFT_OK;
  int64_t axis = infer->node->attributes.view.axes.axes[0];
  int32_t normal = shape->rank;
  if (axis != shape->rank) WEFT_TRY(weft_infer_axis(infer, axis, shape->rank, &normal));
  WEFT_TRY(weft_dim_product(infer, shape, 0, normal, &out->dims[0]));
  return weft_dim_product(infer, shape, normal, shape->rank, &out->dims[1]);
}

/* ---- split ----------------------------------------------------------------------------------- */

static weft_status split_by_lengths(const weft_infer *infer, weft_dim extent, weft_dim *start,
                                    weft_dim *length) {
  uint32_t index = infer->node->attributes.view.index, count = infer->node->attributes.view.count;
  int64_t lengths;
  WEFT_TRY(weft_input_length(infer, 1, &lengths));
  if (lengths >= 0 && lengths != count) {
    return weft_infer_fail(infer, "%lld lengths for %u outputs", (long long)lengths, count);
  }
  weft_dim sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    weft_dim part = weft_input_element(infer, 1, i);
    if (part < 0 && !WEFT_DIM_IS_SYMBOL(part)) {
      return weft_infer_fail(infer, "a part of length %lld", (long long)part);
    }
    if (i == index) {
      *start = sum;
      *length = part;
    }
    WEFT_TRY(weft_dim_add(infer, sum, part, &sum));
  }
  if (WEFT_DIM_IS_SYMBOL(sum) || WEFT_DIM_IS_SYMBOL(extent) || sum == extent) return WEFT_OK;
  return weft_infer_fail(infer, "parts of %lld together, but the dimension is %lld", (long long)sum,
                         (long long)extent);
}

weft_status weft_infer_split(const weft_infer *infer, weft_dim extent, weft_dim *start,
                             weft_dim *length) {
  if (weft_input_has(infer, 1)) return split_by_lengths(infer, extent, start, length);
  int64_t index = infer->node->attributes.view.index, count = infer->node->attributes.view.count;
  *start = *length = WEFT_DIM_UNKNOWN;
  if (WEFT_DIM_IS_SYMBOL(extent)) return WEFT_OK;
  int64_t part = extent / count + (extent % count != 0);
  *start = index * part < extent ? index * part : extent;
  *length = extent - *start < part ? extent - *start : part;
  return WEFT_OK;
}

static weft_status infer_split(weft_infer *infer, weft_shape *out) {
  *out = *weft_input_shape(infer, 0);
  if (out->rank < 0) return WEFT_OK;
  int32_t axis;
  weft_dim start;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.view.axes.axes[0], out->rank, &axis));
  return weft_infer_split(infer, out->dims[axis], &start, &out->dims[axis]);
}

/* ---- slice ----------------------------------------------------------------------------------- */

enum { SLICE_STARTS = 1, SLICE_ENDS, SLICE_AXES, SLICE_STEPS };

/* The operands by axis of the input; axes that are not named take all. */
typedef struct slice_operands {
  weft_dim start[WEFT_RANK_MAX], end[WEFT_RANK_MAX], step[WEFT_RANK_MAX];
  bool axes_known;
} slice_operands;

/* Number of sliced axes, -1 when not known: lists must be equally long. */
static weft_status slice_count(const weft_infer *infer, int64_t *out) {
  *out = -1;
  for (uint32_t input = SLICE_STARTS; input <= SLICE_STEPS; input++) {
    if (!weft_input_has(infer, input)) continue;
    int64_t length;
    WEFT_TRY(weft_input_length(infer, input, &length));
    if (length >= 0 && *out >= 0 && length != *out) {
      return weft_infer_fail(infer, "lists of %lld and %lld in one slice", (long long)*out,
                             (long long)length);
    }
    if (length >= 0) *out = length;
  }
  return WEFT_OK;
}

static weft_status read_slice(const weft_infer *infer, slice_operands *out) {
  int32_t rank = weft_input_shape(infer, 0)->rank;
  int64_t count;
  WEFT_TRY(slice_count(infer, &count));
  if (count > rank)
    return weft_infer_fail(infer, "slices %lld axes of rank %d", (long long)count, rank);
  bool has_axes = weft_input_has(infer, SLICE_AXES), has_steps = weft_input_has(infer, SLICE_STEPS);
  out->axes_known = count >= 0 && (!has_axes || weft_input_elements(infer, SLICE_AXES));
  for (int32_t i = 0; i < rank; i++) {
    out->start[i] = 0, out->end[i] = INT64_MAX, out->step[i] = 1;
  }
  uint32_t seen = 0;
  for (int64_t i = 0; i < count && out->axes_known; i++) {
    weft_dim named = has_axes ? weft_input_element(infer, SLICE_AXES, i) : i;
    out->axes_known = !WEFT_DIM_IS_SYMBOL(named);
    if (!out->axes_known) break;
    int32_t axis;
    WEFT_TRY(weft_infer_axis(infer, named, rank, &axis));
    if (seen >> axis & 1u) return weft_infer_fail(infer, "slices axis %d twice", axis);
    seen |= 1u << axis;
    out->start[axis] = weft_input_element(infer, SLICE_STARTS, i);
    out->end[axis] = weft_input_element(infer, SLICE_ENDS, i);
    if (has_steps) out->step[axis] = weft_input_element(infer, SLICE_STEPS, i);
    if (out->step[axis] == 0) return weft_infer_fail(infer, "a slice step of 0");
  }
  return WEFT_OK;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

/* As in ONNX: ends are clamped to the extent, negative ones count from the back. */
static weft_slice_range slice_range(int64_t extent, int64_t start, int64_t end, int64_t step) {
  weft_slice_range none = {0, 1, 0};
  if (extent == 0) return none;
  bool back = step < 0;
  start = clamp(start < 0 ? start + extent : start, 0, back ? extent - 1 : extent);
  end = clamp(end < 0 ? end + extent : end, back ? -1 : 0, back ? extent - 1 : extent);
  int64_t span = back ? start - end : end - start;
  if (span <= 0) return none;
  step = clamp(step, -span, span); /* longer steps reach one element all the same */
  return (weft_slice_range){start, step, 1 + (span - 1) / (back ? -step : step)};
}

/* What can be said of a slice with symbols. Two things are taken for granted here, and checked at
 * bind like all that load found out: a symbol is at least 1 where one element is taken from an end,
 * and not above the extent that it cuts off. */
static weft_dim slice_symbolic(weft_dim extent, weft_dim start, weft_dim end, weft_dim step) {
  bool to_end = end == extent || (!WEFT_DIM_IS_SYMBOL(end) && end >= INT32_MAX);
  if (step == 1 && start == 0) {
    if (to_end) return extent;
    if (end == 1 || WEFT_DIM_IS_SYMBOL(end)) return end;
  }
  if (step == 1 && start == -1 && to_end) return 1;
  bool whole_back = start == -1 && !WEFT_DIM_IS_SYMBOL(end) && end <= -(int64_t)INT32_MAX;
  return step == -1 && whole_back ? extent : WEFT_DIM_UNKNOWN;
}

weft_status weft_infer_slice(const weft_infer *infer, weft_slice_range *ranges, bool *known) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  slice_operands operands;
  WEFT_TRY(read_slice(infer, &operands));
  *known = operands.axes_known;
  for (int32_t i = 0; i < shape->rank && *known; i++) {
    weft_dim start = operands.start[i], end = operands.end[i], step = operands.step[i];
    *known = !WEFT_DIM_IS_SYMBOL(start) && !WEFT_DIM_IS_SYMBOL(end) && !WEFT_DIM_IS_SYMBOL(step) &&
             !WEFT_DIM_IS_SYMBOL(shape->dims[i]);
    if (*known) ranges[i] = slice_range(shape->dims[i], start, end, step);
  }
  return WEFT_OK;
}

static weft_status infer_slice(weft_infer *infer, weft_shape *out) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  *out = unknown_shape(shape->rank);
  if (shape->rank < 0) return WEFT_OK;
  slice_operands operands;
  WEFT_TRY(read_slice(infer, &operands));
  for (int32_t i = 0; i < out->rank && operands.axes_known; i++) {
    weft_dim start = operands.start[i], end = operands.end[i], step = operands.step[i];
    bool fixed = !WEFT_DIM_IS_SYMBOL(start) && !WEFT_DIM_IS_SYMBOL(end) &&
                 !WEFT_DIM_IS_SYMBOL(step) && !WEFT_DIM_IS_SYMBOL(shape->dims[i]);
    out->dims[i] = fixed ? slice_range(shape->dims[i], start, end, step).extent
                         : slice_symbolic(shape->dims[i], start, end, step);
  }
  return WEFT_OK;
}

weft_status weft_infer_view(weft_infer *infer) {
  static weft_status (*const functions[])(weft_infer *, weft_shape *) = {
      [WEFT_VIEW_RESHAPE] = infer_reshape, [WEFT_VIEW_TRANSPOSE] = infer_transpose,
      [WEFT_VIEW_SLICE] = infer_slice,     [WEFT_VIEW_EXPAND] = infer_expand,
      [WEFT_VIEW_SQUEEZE] = infer_squeeze, [WEFT_VIEW_UNSQUEEZE] = infer_unsqueeze,
      [WEFT_VIEW_FLATTEN] = infer_flatten, [WEFT_VIEW_SPLIT] = infer_split,
  };
  weft_shape shape;
  WEFT_TRY(functions[infer->node->attributes.view.kind](infer, &shape));
  return weft_infer_output(infer, &shape);
}
