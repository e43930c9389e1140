/* onnx_ops_shape.c - operators that move elements without computing: views, concat, split, gather,
 * pad, tile, depth to space. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

/* Shape-like attributes of old opsets become constants: from then on they are what newer opsets
 * have as inputs. */
static weft_value_id ints_constant(weft_call *call, const char *name) {
  uint32_t count;
  const int64_t *ints = weft_call_ints(call, name, &count);
  return ints ? weft_call_integers(call, ints, (int32_t)count) : NONE;
}

void weft_onnx_reshape(weft_call *call) {
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_RESHAPE, .allow_zero = weft_call_flag(call, "allowzero", false)}};
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_VIEW, &attributes, call->inputs, 2));
}

void weft_onnx_flatten(weft_call *call) {
  weft_axes axis = weft_axes_one(weft_call_axis(call, "axis", 1));
  weft_call_output(call, 0,
                   weft_call_view(call, WEFT_VIEW_FLATTEN, axis, weft_call_input(call, 0)));
}

void weft_onnx_transpose(weft_call *call) {
  weft_axes permutation;
  weft_call_axes(call, "perm", &permutation);
  weft_call_output(
      call, 0, weft_call_view(call, WEFT_VIEW_TRANSPOSE, permutation, weft_call_input(call, 0)));
}

/* Squeeze and Unsqueeze: axes as an attribute or as the second input. The parameter is the
 * weft_view_kind. */
void weft_onnx_squeeze(weft_call *call) {
  weft_attributes attributes = {.view = {.kind = (weft_view_kind)call->parameter}};
  bool given = weft_call_axes(call, "axes", &attributes.view.axes);
  if (!given && call->parameter == WEFT_VIEW_UNSQUEEZE && weft_call_input(call, 1) == NONE)
    weft_call_fail(call, WEFT_INVALID_MODEL, "its axes are missing");
  weft_call_output(
      call, 0,
      weft_call_node(call, WEFT_OP_VIEW, &attributes, call->inputs, given ? 1 : call->input_count));
}

void weft_onnx_expand(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_expand(call, weft_call_input(call, 0), weft_call_input(call, 1)));
}

void weft_onnx_slice_attributes(weft_call *call) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  weft_value_id starts = ints_constant(call, "starts"), ends = ints_constant(call, "ends");
  weft_value_id axes = ints_constant(call, "axes");
  if (starts == NONE || ends == NONE)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'starts' or 'ends' is missing");
  weft_call_output(call, 0,
                   WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, weft_call_input(call, 0), starts,
                                  ends, axes));
}

void weft_onnx_slice(weft_call *call) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  weft_call_output(
      call, 0, weft_call_node(call, WEFT_OP_VIEW, &attributes, call->inputs, call->input_count));
}

/* The lengths: an attribute before opset 13, then an input; without them even parts. */
void weft_onnx_split(weft_call *call) {
  int32_t axis = weft_call_axis(call, "axis", 0);
  int64_t parts = weft_call_int(call, "num_outputs", call->output_count);
  weft_value_id lengths = ints_constant(call, "split");
  if (lengths == NONE) lengths = weft_call_input(call, 1);
  if (parts != call->output_count)
    weft_call_fail(call, WEFT_INVALID_MODEL, "num_outputs is %lld, but it has %u outputs",
                   (long long)parts, call->output_count);
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_SPLIT, .axes = weft_axes_one(axis), .count = call->output_count}};
  for (uint32_t i = 0; i < call->output_count; ++i) {
    attributes.view.index = i;
    weft_call_output(
        call, i,
        WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, weft_call_input(call, 0), lengths));
  }
}

void weft_onnx_concat(weft_call *call) {
  if (!weft_call_has(call, "axis"))
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'axis' is missing");
  int32_t axis = weft_call_axis(call, "axis", 0);
  weft_call_output(call, 0, weft_call_concat(call, axis, call->inputs, call->input_count));
}

/* Gather and GatherElements; the parameter is the weft_op. */
void weft_onnx_gather(weft_call *call) {
  weft_attributes attributes = {.axis = {.axis = weft_call_axis(call, "axis", 0)}};
  weft_call_output(call, 0,
                   weft_call_node(call, (weft_op)call->parameter, &attributes, call->inputs, 2));
}

static weft_pad_mode pad_mode(weft_call *call) {
  static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
  weft_str mode = weft_call_string(call, "mode", "constant");
  for (uint32_t i = 0; i < 4; ++i)
    if (weft_str_is(mode, names[i])) return (weft_pad_mode)i;
  weft_call_fail(call, WEFT_INVALID_MODEL, "there is no mode '%.*s'", WEFT_STR_ARGS(mode));
  return WEFT_PAD_CONSTANT;
}

void weft_onnx_pad_attributes(weft_call *call) {
  weft_attributes attributes = {.pad = {.mode = pad_mode(call)}};
  double value = weft_call_float(call, "value", 0);
  weft_value_id x = weft_call_input(call, 0), pads = ints_constant(call, "pads");
  if (pads == NONE) weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'pads' is missing");
  weft_value_id filler = weft_call_scalar(call, weft_call_dtype(call, x), value);
  weft_call_output(call, 0, WEFT_CALL_NODE(call, WEFT_OP_PAD, &attributes, x, pads, filler));
}

void weft_onnx_pad(weft_call *call) {
  weft_attributes attributes = {.pad = {.mode = pad_mode(call)}};
  weft_call_output(call, 0,
                   weft_call_node(call, WEFT_OP_PAD, &attributes, call->inputs, call->input_count));
}

/* ---- Tile ------------------------------------------------------------------------------------ */

/* Where known repeats are 1 nothing is done. Bit i: axis i is repeated. */
static uint32_t repeated_axes(weft_call *call, weft_value_id repeats, uint32_t rank) {
  uint32_t count, axes = 0;
  const int64_t *known = weft_call_elements(call, repeats, &count);
  if (known && count != rank)
    weft_call_fail(call, WEFT_INVALID_MODEL, "there are %u repeats for a tensor of rank %u", count,
                   rank);
  for (uint32_t i = 0; i < rank && call->status == WEFT_OK; ++i)
    if (!known || known[i] != 1) axes |= 1u << i;
  return axes;
}

/* An axis d that is repeated r times: [d] -> [1,d] -> [r,d] -> [r d]. */
void weft_onnx_tile(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0), repeats = weft_call_input(call, 1);
  uint32_t rank = weft_call_rank(call, x), at = 0;
  uint32_t repeated = repeated_axes(call, repeats, rank);
  weft_axes inserted = {0};
  int64_t pick[2 * WEFT_RANK_MAX]; /* of [repeats..., 1], for the shape to expand to */
  if (rank + (uint32_t)__builtin_popcount(repeated) > WEFT_RANK_MAX)
    weft_call_fail(call, WEFT_UNSUPPORTED, "too many axes of a tensor of rank %u are repeated",
                   rank);
  if (repeated == 0 || call->status != WEFT_OK) {
    weft_call_output(call, 0, x);
    return;
  }
  for (uint32_t i = 0; i < rank; ++i) {
    if (repeated >> i & 1) {
      inserted.axes[inserted.count++] = (int8_t)at;
      pick[at++] = i;
    }
    pick[at++] = rank;
  }
  weft_value_id wide = weft_call_cast(call, repeats, WEFT_I64);
  const weft_value_id parts[] = {wide, WEFT_CALL_INTEGERS(call, 1)};
  weft_value_id choices = weft_call_concat(call, 0, parts, 2);
  weft_value_id shape =
      weft_call_gather(call, 0, choices, weft_call_integers(call, pick, (int32_t)at));
  weft_value_id y = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, inserted, x);
  weft_value_id extents =
      weft_call_map2(call, WEFT_EXPR_MUL, weft_call_dims(call, x, 0, rank), wide);
  y = weft_call_expand(call, y, shape);
  weft_call_output(call, 0, weft_call_reshape(call, y, extents));
}

/* ---- depth and space ------------------------------------------------------------------------- */

static bool is_crd(weft_call *call) {
  weft_str mode = weft_call_string(call, "mode", "DCR");
  if (!weft_str_is(mode, "CRD") && !weft_str_is(mode, "DCR"))
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'mode' must be DCR or CRD");
  return weft_str_is(mode, "CRD");
}

static int64_t block_size(weft_call *call) {
  int64_t block = weft_call_int(call, "blocksize", 0);
  if (block < 1 || block > INT32_MAX)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'blocksize' is missing or out of range");
  if (weft_call_rank(call, weft_call_input(call, 0)) != 4)
    weft_call_fail(call, WEFT_INVALID_MODEL, "its input must have rank 4");
  return block;
}

static weft_value_id times(weft_call *call, weft_value_id dims, int64_t factor) {
  return weft_call_map2(call, WEFT_EXPR_MUL, dims, WEFT_CALL_INTEGERS(call, factor));
}

static weft_value_id divided(weft_call *call, weft_value_id dims, int64_t divisor) {
  return weft_call_map2(call, WEFT_EXPR_DIV, dims, WEFT_CALL_INTEGERS(call, divisor));
}

static weft_value_id reshape_to(weft_call *call, weft_value_id x, const weft_value_id *dims,
                                uint32_t count) {
  return weft_call_reshape(call, x, weft_call_concat(call, 0, dims, count));
}
#define RESHAPE_TO(call, x, ...)                                                                   \
  reshape_to((call), (x), (const weft_value_id[]){__VA_ARGS__},                                    \
             sizeof((const weft_value_id[]){__VA_ARGS__}) / sizeof(weft_value_id))

/* [N,C,H,W] -> [N,b,b,C/bb,H,W] (DCR) or [N,C/bb,b,b,H,W] (CRD) -> [N,C/bb,H,b,W,b]
 * -> [N,C/bb,Hb,Wb] */
void weft_onnx_depth_to_space(weft_call *call) {
  bool crd = is_crd(call);
  int64_t b = block_size(call);
  weft_value_id x = weft_call_input(call, 0), block = WEFT_CALL_INTEGERS(call, b, b);
  weft_value_id n = weft_call_dims(call, x, 0, 1), size = weft_call_dims(call, x, 2, 4);
  weft_value_id depth = divided(call, weft_call_dims(call, x, 1, 2), b * b);
  weft_value_id y =
      crd ? RESHAPE_TO(call, x, n, depth, block, size) : RESHAPE_TO(call, x, n, block, depth, size);
  y = crd ? WEFT_CALL_TRANSPOSE(call, y, 0, 1, 4, 2, 5, 3)
          : WEFT_CALL_TRANSPOSE(call, y, 0, 3, 4, 1, 5, 2);
  weft_call_output(call, 0, RESHAPE_TO(call, y, n, depth, times(call, size, b)));
}

/* [N,C,H,W] -> [N,C,H/b,b,W/b,b] -> [N,b,b,C,H/b,W/b] (DCR) or [N,C,b,b,H/b,W/b] (CRD)
 * -> [N,Cbb,H/b,W/b] */
void weft_onnx_space_to_depth(weft_call *call) {
  bool crd = is_crd(call);
  int64_t b = block_size(call);
  weft_value_id x = weft_call_input(call, 0), block = WEFT_CALL_INTEGERS(call, b);
  weft_value_id n = weft_call_dims(call, x, 0, 1), c = weft_call_dims(call, x, 1, 2);
  weft_value_id h = divided(call, weft_call_dims(call, x, 2, 3), b);
  weft_value_id w = divided(call, weft_call_dims(call, x, 3, 4), b);
  weft_value_id y = RESHAPE_TO(call, x, n, c, h, block, w, block);
  y = crd ? WEFT_CALL_TRANSPOSE(call, y, 0, 1, 3, 5, 2, 4)
          : WEFT_CALL_TRANSPOSE(call, y, 0, 3, 5, 1, 2, 4);
  weft_call_output(call, 0, RESHAPE_TO(call, y, n, times(call, c, b * b), h, w));
}
