/* views.c - strides of views at bind, for plan/ and for shape arithmetic. */
#include "graph/views.h"
#include "graph/infer.h"

void weft_dense_strides(const weft_shape *shape, int64_t *strides) {
  int64_t stride = 1; /* inference bounds the product, zeros left out */
  for (int32_t i = shape->rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape->dims[i] ? shape->dims[i] : 1;
  }
}

/* Numpy's rule: a run of dimensions that is laid out as one can be split in any other way. Goes
 * through both shapes in groups of equal products. */
static bool reshape_strides(const weft_shape *from, const int64_t *strides, const weft_shape *to,
                            int64_t *out) {
  weft_shape old = {0}; /* without dimensions of 1, whose strides mean nothing */
  int64_t old_strides[WEFT_RANK_MAX];
  for (int32_t i = 0; i < from->rank; i++) {
    if (from->dims[i] == 0) return weft_dense_strides(to, out), true;
    if (from->dims[i] == 1) continue;
    old_strides[old.rank] = strides[i];
    old.dims[old.rank++] = from->dims[i];
  }
  int32_t a = 0, b = 0;
  int64_t last = 1;
  while (a < old.rank && b < to->rank) {
    int32_t a_end = a + 1, b_end = b + 1;
    int64_t product_a = old.dims[a], product_b = to->dims[b];
    while (product_a != product_b) {
      if (product_a < product_b) {
        product_a *= old.dims[a_end++];
      } else {
        product_b *= to->dims[b_end++];
      }
    }
    for (int32_t i = a; i + 1 < a_end; i++) {
      if (old_strides[i] != old.dims[i + 1] * old_strides[i + 1]) return false;
    }
    last = old_strides[a_end - 1];
    for (int32_t i = b_end - 1; i >= b; i--) {
      out[i] = last;
      last *= to->dims[i];
    }
    last = old_strides[a_end - 1];
    a = a_end;
    b = b_end;
  }
  for (; b < to->rank; b++) out[b] = last; /* dimensions of 1 are left */
  return true;
}

typedef struct view_shapes {
  const weft_shape *from, *to;
  const int64_t *strides;
} view_shapes;

static weft_status lay_transpose(const weft_infer *infer, const view_shapes *v,
                                 weft_view_layout *out) {
  const weft_axes *axes = &infer->node->attributes.view.axes;
  for (int32_t i = 0; i < v->from->rank; i++) {
    int32_t axis = v->from->rank - 1 - i;
    if (axes->count) WEFT_TRY(weft_infer_axis(infer, axes->axes[i], v->from->rank, &axis));
    out->strides[i] = v->strides[axis];
  }
  return WEFT_OK;
}

static void lay_expand(const view_shapes *v, weft_view_layout *out) {
  int32_t added = v->to->rank - v->from->rank;
  for (int32_t i = 0; i < v->to->rank; i++) {
    bool repeated = i < added || v->from->dims[i - added] != v->to->dims[i];
    out->strides[i] = repeated ? 0 : v->strides[i - added];
  }
}

static weft_status lay_slice(const weft_infer *infer, const view_shapes *v, weft_view_layout *out,
                             bool *known) {
  weft_slice_range ranges[WEFT_RANK_MAX];
  WEFT_TRY(weft_infer_slice(infer, ranges, known));
  for (int32_t i = 0; i < v->from->rank && *known; i++) {
    out->offset += ranges[i].start * v->strides[i];
    out->strides[i] = ranges[i].step * v->strides[i];
  }
  return WEFT_OK;
}

static weft_status lay_split(const weft_infer *infer, const view_shapes *v, weft_view_layout *out,
                             bool *known) {
  int32_t axis;
  weft_dim start, length;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.view.axes.axes[0], v->from->rank, &axis));
  WEFT_TRY(weft_infer_split(infer, v->from->dims[axis], &start, &length));
  *known = !WEFT_DIM_IS_SYMBOL(start);
  if (!*known) return WEFT_OK;
  for (int32_t i = 0; i < v->from->rank; i++) out->strides[i] = v->strides[i];
  out->offset = start * v->strides[axis];
  return WEFT_OK;
}

weft_status weft_view_layout_of(const weft_infer *infer, const weft_shape *from,
                                const int64_t *strides, const weft_shape *to, weft_view_layout *out,
                                bool *known) {
  view_shapes v = {from, to, strides};
  *out = (weft_view_layout){0};
  *known = true;
  switch (infer->node->attributes.view.kind) {
  case WEFT_VIEW_TRANSPOSE:
    return lay_transpose(infer, &v, out);
  case WEFT_VIEW_EXPAND:
    lay_expand(&v, out);
    return WEFT_OK;
  case WEFT_VIEW_SLICE:
    return lay_slice(infer, &v, out, known);
  case WEFT_VIEW_SPLIT:
    return lay_split(infer, &v, out, known);
  default:
    break;
  }
  out->copy_needed = !reshape_strides(from, strides, to, out->strides);
  if (out->copy_needed) weft_dense_strides(to, out->strides);
  return WEFT_OK;
}

weft_status weft_view_resolve(const weft_inference *facts, const weft_node *node,
                              const int64_t *in_strides, weft_view_layout *out, weft_error *error) {
  weft_infer infer = {.at = facts, .node = node, .error = error};
  bool known;
  WEFT_TRY(weft_view_layout_of(&infer, weft_facts_shape(facts, node->inputs[0]), in_strides,
                               weft_facts_shape(facts, node->outputs[0]), out, &known));
  return known ? WEFT_OK : weft_infer_fail_unknown(&infer);
}

weft_status weft_node_axes(const weft_inference *facts, const weft_node *node, weft_axes *out,
                           weft_error *error) {
  weft_infer infer = {.at = facts, .node = node, .error = error};
  bool adds = node->op == WEFT_OP_VIEW && node->attributes.view.kind == WEFT_VIEW_UNSQUEEZE;
  const weft_shape *shape = weft_facts_shape(facts, adds ? node->outputs[0] : node->inputs[0]);
  if (shape->rank < 0) return weft_infer_fail_unknown(&infer);
  const weft_axes *attribute = &node->attributes.view.axes;
  uint32_t none = 0, mask;
  if (node->op == WEFT_OP_REDUCE) {
    attribute = &node->attributes.reduce.axes;
    none = node->attributes.reduce.none_means_none ? 0 : weft_all_axes(shape->rank);
  } else {
    for (int32_t i = 0; i < shape->rank; i++) none |= (uint32_t)(shape->dims[i] == 1) << i;
  }
  bool known;
  WEFT_TRY(weft_infer_axes(&infer, attribute, 1, shape->rank, none, &mask, &known));
  if (!known) return weft_infer_fail_unknown(&infer);
  *out = (weft_axes){0};
  for (int32_t i = 0; i < shape->rank; i++) {
    if (mask >> i & 1u) out->axes[out->count++] = (int8_t)i;
  }
  return WEFT_OK;
}
