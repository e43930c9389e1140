/* infer_math.c - shapes of the ops that compute: map, matmul, attention, norm, softmax, reductions,
 * cumsum, triangle. Types are in check.c. */
#include "graph/infer.h"

weft_status weft_infer_map(weft_infer *infer) {
  weft_shape shape = *weft_input_shape(infer, 0);
  for (uint32_t i = 1; i < infer->node->input_count; i++) {
    WEFT_TRY(weft_infer_join(infer, &shape, weft_input_shape(infer, i), &shape));
  }
  return weft_infer_output(infer, &shape);
}

/* ---- matmul ---------------------------------------------------------------------------------- */

/* [..., M, K] x [..., K, N]; a list is a row on the left and a column on the right, and that
 * dimension is not there in the result. */
static weft_status infer_product(weft_infer *infer, weft_shape *out) {
  weft_shape a = *weft_input_shape(infer, 0), b = *weft_input_shape(infer, 1);
  *out = (weft_shape){.rank = -1};
  if (a.rank < 0 || b.rank < 0) return WEFT_OK;
  if (a.rank == 0 || b.rank == 0) return weft_infer_fail(infer, "multiplies a scalar as a matrix");
  weft_dim inner = a.dims[a.rank - 1];
  if (!weft_dim_meet(&inner, b.dims[b.rank > 1 ? b.rank - 2 : 0])) {
    return weft_infer_fail(infer, "cannot multiply %s with %s", WEFT_SHAPE_TEXT(infer, &a),
                           WEFT_SHAPE_TEXT(infer, &b));
  }
  bool has_rows = a.rank > 1, has_columns = b.rank > 1;
  weft_dim rows = has_rows ? a.dims[a.rank - 2] : 0, columns = b.dims[b.rank - 1];
  a.rank = has_rows ? a.rank - 2 : 0;
  b.rank = has_columns ? b.rank - 2 : 0;
  WEFT_TRY(weft_infer_join(infer, &a, &b, out));
  if (has_rows) out->dims[out->rank++] = rows;
  if (has_columns) out->dims[out->rank++] = columns;
  return WEFT_OK;
}

weft_status weft_infer_matmul(weft_infer *infer) {
  weft_shape shape;
  WEFT_TRY(infer_product(infer, &shape));
  for (uint32_t i = 2; i < infer->node->input_count; i++) {
    WEFT_TRY(weft_infer_fits(infer, i, &shape));
  }
  return weft_infer_output(infer, &shape);
}

/* Zero points: one, or one for each row of A or column of B. */
static weft_status check_zero(const weft_infer *infer, uint32_t input, uint32_t of, int32_t back) {
  const weft_shape *zero = weft_input_shape(infer, input), *matrix = weft_input_shape(infer, of);
  if (zero->rank <= 0 || matrix->rank < back) return WEFT_OK;
  weft_dim length = zero->dims[0];
  if (zero->rank == 1 && (length == 1 || weft_dim_meet(&length, matrix->dims[matrix->rank - back])))
    return WEFT_OK;
  return weft_infer_fail(infer, "zero points %s do not fit %s", WEFT_SHAPE_TEXT(infer, zero),
                         WEFT_SHAPE_TEXT(infer, matrix));
}

weft_status weft_infer_matmul_integer(weft_infer *infer) {
  weft_shape shape;
  WEFT_TRY(infer_product(infer, &shape));
  WEFT_TRY(check_zero(infer, 2, 0, 2));
  WEFT_TRY(check_zero(infer, 3, 1, 1));
  return weft_infer_output(infer, &shape);
}

/* ---- attention ------------------------------------------------------------------------------- */

enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_MASK, ATTENTION_LENGTHS, ATTENTION_SINK };

static weft_status fail_attention(const weft_infer *infer, const weft_shape *k,
                                  const weft_shape *v) {
  return weft_infer_fail(infer, "q %s, k %s and v %s do not fit together",
                         WEFT_SHAPE_TEXT(infer, weft_input_shape(infer, ATTENTION_Q)),
                         WEFT_SHAPE_TEXT(infer, k), WEFT_SHAPE_TEXT(infer, v));
}

/* Whether `groups` heads of keys can serve `heads` heads of queries. */
static bool can_share(weft_dim heads, weft_dim groups) {
  if (WEFT_DIM_IS_SYMBOL(heads) || WEFT_DIM_IS_SYMBOL(groups)) return true;
  return groups > 0 ? heads % groups == 0 : heads == 0;
}

/* Checks mask, lengths and sink against the scores [B,H,S,T]. */
static weft_status check_extras(const weft_infer *infer, const weft_shape *scores) {
  weft_shape batch = {.rank = 1, .dims = {scores->dims[0]}};
  weft_shape heads = {.rank = 1, .dims = {scores->dims[1]}};
  WEFT_TRY(weft_infer_fits(infer, ATTENTION_MASK, scores));
  WEFT_TRY(weft_infer_fits(infer, ATTENTION_LENGTHS, &batch));
  return weft_infer_fits(infer, ATTENTION_SINK, &heads);
}

weft_status weft_infer_attended(weft_infer *infer, const weft_shape *k, const weft_shape *v) {
  weft_shape q = *weft_input_shape(infer, ATTENTION_Q), out = {.rank = -1};
  if (q.rank < 0 || k->rank < 0 || v->rank < 0) return weft_infer_output(infer, &out);
  if (q.rank != 4 || k->rank != 4 || v->rank != 4) return fail_attention(infer, k, v);
  weft_dim batch = q.dims[0], heads = q.dims[1], queries = q.dims[2], keys = k->dims[2],
           depth = q.dims[3], groups = k->dims[1];
  bool good = weft_dim_meet(&batch, k->dims[0]) && weft_dim_meet(&batch, v->dims[0]) &&
              weft_dim_meet(&groups, v->dims[1]) && can_share(heads, groups) &&
              weft_dim_meet(&keys, v->dims[2]) && weft_dim_meet(&depth, k->dims[3]);
  if (!good) return fail_attention(infer, k, v);
  weft_shape scores = {.rank = 4, .dims = {batch, heads, queries, keys}};
  WEFT_TRY(check_extras(infer, &scores));
  bool heads_last = infer->node->attributes.attention.heads_last;
  out = (weft_shape){
      .rank = 4,
      .dims = {batch, heads_last ? queries : heads, heads_last ? heads : queries, v->dims[3]}};
  return weft_infer_output(infer, &out);
}

weft_status weft_infer_attention(weft_infer *infer) {
  return weft_infer_attended(infer, weft_input_shape(infer, ATTENTION_K),
                             weft_input_shape(infer, ATTENTION_V));
}

/* ---- along axes ------------------------------------------------------------------------------ */

weft_status weft_infer_norm(weft_infer *infer) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  if (shape->rank < 0) return weft_infer_output(infer, shape);
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.norm.axis, shape->rank, &axis));
  weft_shape normed = {.rank = shape->rank - axis};
  for (int32_t i = 0; i < normed.rank; i++) normed.dims[i] = shape->dims[axis + i];
  WEFT_TRY(weft_infer_fits(infer, 1, &normed));
  WEFT_TRY(weft_infer_fits(infer, 2, &normed));
  return weft_infer_output(infer, shape);
}

/* Checks the axis of an op that keeps the shape of its input 0. */
static weft_status infer_along(weft_infer *infer, int64_t axis) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  int32_t normal;
  if (shape->rank >= 0) WEFT_TRY(weft_infer_axis(infer, axis, shape->rank, &normal));
  return weft_infer_output(infer, shape);
}

weft_status weft_infer_softmax(weft_infer *infer) {
  return infer_along(infer, infer->node->attributes.softmax.axis);
}

weft_status weft_infer_cumsum(weft_infer *infer) {
  int64_t length;
  WEFT_TRY(weft_input_length(infer, 1, &length));
  if (length >= 0 && length != 1) return weft_infer_fail(infer, "needs one axis");
  weft_dim axis = weft_input_element(infer, 1, 0);
  if (WEFT_DIM_IS_SYMBOL(axis)) return weft_infer_output(infer, weft_input_shape(infer, 0));
  return infer_along(infer, axis);
}

weft_status weft_infer_triangle(weft_infer *infer) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  if (shape->rank >= 0 && shape->rank < 2) {
    return weft_infer_fail(infer, "needs a matrix, but input 0 is %s",
                           WEFT_SHAPE_TEXT(infer, shape));
  }
  return weft_infer_output(infer, shape);
}

/* ---- reductions ------------------------------------------------------------------------------ */

static weft_shape reduced(const weft_shape *shape, uint32_t mask, bool keep_dims) {
  weft_shape out = {0};
  for (int32_t i = 0; i < shape->rank; i++) {
    bool gone = mask >> i & 1u;
    if (!gone || keep_dims) out.dims[out.rank++] = gone ? 1 : shape->dims[i];
  }
  return out;
}

/* Of axes that only a run can tell, and which may name one axis twice. */
static weft_status reduced_somehow(const weft_infer *infer, const weft_shape *shape, bool keep_dims,
                                   weft_shape *out) {
  int64_t count;
  WEFT_TRY(weft_input_length(infer, 1, &count));
  *out = (weft_shape){.rank = keep_dims ? shape->rank : count == 1 ? shape->rank - 1 : -1};
  for (int32_t i = 0; i < out->rank; i++) out->dims[i] = WEFT_DIM_UNKNOWN;
  return WEFT_OK;
}

weft_status weft_infer_reduce(weft_infer *infer) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  const weft_attributes *a = &infer->node->attributes;
  if (shape->rank < 0) return weft_infer_output(infer, shape);
  uint32_t none = a->reduce.none_means_none ? 0 : weft_all_axes(shape->rank), mask;
  bool known;
  WEFT_TRY(weft_infer_axes(infer, &a->reduce.axes, 1, shape->rank, none, &mask, &known));
  weft_shape out;
  if (known) {
    out = reduced(shape, mask, a->reduce.keep_dims);
  } else {
    WEFT_TRY(reduced_somehow(infer, shape, a->reduce.keep_dims, &out));
  }
  return weft_infer_output(infer, &out);
}

weft_status weft_infer_arg_reduce(weft_infer *infer) {
  const weft_shape *shape = weft_input_shape(infer, 0);
  if (shape->rank < 0) return weft_infer_output(infer, shape);
  int32_t axis;
  WEFT_TRY(weft_infer_axis(infer, infer->node->attributes.arg_reduce.axis, shape->rank, &axis));
  if (shape->dims[axis] == 0) return weft_infer_fail(infer, "axis %d is empty", axis);
  weft_shape out = reduced(shape, 1u << axis, infer->node->attributes.arg_reduce.keep_dims);
  return weft_infer_output(infer, &out);
}
