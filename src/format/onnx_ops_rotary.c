/* onnx_ops_rotary.c - RotaryEmbedding: pairs of elements turned by an angle that depends on the
 * position. Row in onnx_ops.inc.
 *
 * x [B,H,S,D] or [B,S,H D]; caches of cosines and sines [positions,R/2] with position ids [B,S], or
 * [B,S,R/2] without. The first R of the D elements of a head are turned. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

/* x[..., start:end:step] along the last axis. */
static weft_value_id slice_last(weft_call *call, weft_value_id x, int64_t start, int64_t end,
                                int64_t step) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  weft_value_id from = WEFT_CALL_INTEGERS(call, start), to = WEFT_CALL_INTEGERS(call, end);
  weft_value_id last = WEFT_CALL_INTEGERS(call, -1), by = WEFT_CALL_INTEGERS(call, step);
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, from, to, last, by);
}

static weft_value_id half(weft_call *call, weft_value_id x, uint32_t index) {
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_SPLIT, .axes = weft_axes_one(-1), .index = index, .count = 2}};
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x);
}

/* a * c - b * s, or a * c + b * s */
static weft_value_id turned(weft_call *call, weft_expr_op op, weft_value_id a, weft_value_id c,
                            weft_value_id b, weft_value_id s) {
  weft_formula f = WEFT_FORMULA(call, a, c, b, s);
  uint32_t first = F2(MUL, 0, 1);
  weft_formula_op(&f, op, first, F2(MUL, 2, 3), 0);
  return weft_formula_end(&f);
}

/* The cosines or sines with an axis of 1 for the heads. */
static weft_value_id angles(weft_call *call, weft_value_id cache, uint32_t head_axis) {
  weft_value_id ids = weft_call_input(call, 3);
  if (ids != NONE) cache = weft_call_gather(call, 0, cache, ids);
  return weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(head_axis), cache);
}

/* Two halves side by side, or element by element. */
static weft_value_id paired(weft_call *call, weft_value_id a, weft_value_id b, bool interleaved) {
  if (!interleaved) return weft_call_concat(call, -1, (const weft_value_id[]){a, b}, 2);
  a = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(-1), a);
  b = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(-1), b);
  weft_value_id pairs = weft_call_concat(call, -1, (const weft_value_id[]){a, b}, 2);
  return weft_call_reshape(call, pairs, WEFT_CALL_INTEGERS(call, 0, 0, 0, -1));
}

static weft_value_id rotate(weft_call *call, weft_value_id x, uint32_t head_axis,
                            bool interleaved) {
  weft_value_id c = angles(call, weft_call_input(call, 1), head_axis);
  weft_value_id s = angles(call, weft_call_input(call, 2), head_axis);
  weft_value_id a = interleaved ? slice_last(call, x, 0, INT64_MAX, 2) : half(call, x, 0);
  weft_value_id b = interleaved ? slice_last(call, x, 1, INT64_MAX, 2) : half(call, x, 1);
  weft_value_id real = turned(call, WEFT_EXPR_SUB, a, c, b, s);
  weft_value_id imaginary = turned(call, WEFT_EXPR_ADD, a, s, b, c);
  return paired(call, real, imaginary, interleaved);
}

void weft_onnx_rotary_embedding(weft_call *call) {
  int64_t heads = weft_call_int(call, "num_heads", 0);
  int64_t part = weft_call_int(call, "rotary_embedding_dim", 0);
  bool interleaved = weft_call_flag(call, "interleaved", false);
  weft_value_id x = weft_call_input(call, 0), rest = NONE;
  bool heads_last = weft_call_rank(call, x) == 3;
  if (heads_last && heads < 1)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'num_heads' is missing");
  if (heads_last) x = weft_call_reshape(call, x, WEFT_CALL_INTEGERS(call, 0, 0, heads, -1));
  if (part > 0) rest = slice_last(call, x, part, INT64_MAX, 1);
  if (part > 0) x = slice_last(call, x, 0, part, 1);
  weft_value_id y = rotate(call, x, heads_last ? 2 : 1, interleaved);
  if (rest != NONE) y = weft_call_concat(call, -1, (const weft_value_id[]){y, rest}, 2);
  if (heads_last) y = weft_call_reshape(call, y, WEFT_CALL_INTEGERS(call, 0, 0, -1));
  weft_call_output(call, 0, y);
}
