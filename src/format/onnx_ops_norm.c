/* onnx_ops_norm.c - softmax, normalisations and reductions. What no core op says is put together
 * from reductions and maps, which fusion sees like an exporter's. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

/* ---- reductions ------------------------------------------------------------------------------ */

/* The axes are an attribute in older opsets, the second input in newer ones. The largest and
 * smallest of bools are those of bytes. */
void weft_onnx_reduce(weft_call *call) {
  weft_attributes attributes = {.reduce = {.kind = (weft_reduce_kind)call->parameter}};
  weft_call_axes(call, "axes", &attributes.reduce.axes);
  attributes.reduce.keep_dims = weft_call_flag(call, "keepdims", true);
  attributes.reduce.none_means_none = weft_call_flag(call, "noop_with_empty_axes", false);
  weft_value_id x = weft_call_input(call, 0);
  bool is_bool = weft_call_dtype(call, x) == WEFT_BOOL &&
                 (call->parameter == WEFT_REDUCE_MAX || call->parameter == WEFT_REDUCE_MIN);
  if (is_bool) x = weft_call_cast(call, x, WEFT_U8);
  weft_value_id y = WEFT_CALL_NODE(call, WEFT_OP_REDUCE, &attributes, x, weft_call_input(call, 1));
  weft_call_output(call, 0, is_bool ? weft_call_cast(call, y, WEFT_BOOL) : y);
}

/* The parameter: whether the largest is looked for. */
void weft_onnx_arg_reduce(weft_call *call) {
  weft_attributes attributes = {
      .arg_reduce = {.max = call->parameter != 0,
                     .keep_dims = weft_call_flag(call, "keepdims", true),
                     .select_last = weft_call_flag(call, "select_last_index", false),
                     .axis = weft_call_axis(call, "axis", 0)}};
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_ARG_REDUCE, &attributes, call->inputs, 1));
}

/* Over everything behind batch and channel. */
void weft_onnx_global_pool(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0);
  weft_axes axes = weft_axes_range(2, weft_call_rank(call, x));
  weft_call_output(call, 0,
                   weft_call_reduce(call, (weft_reduce_kind)call->parameter, axes, true, x));
}

void weft_onnx_global_lp_pool(weft_call *call) {
  int64_t p = weft_call_int(call, "p", 2);
  weft_value_id x = weft_call_input(call, 0);
  if (p != 1 && p != 2) weft_call_fail(call, WEFT_UNSUPPORTED, "p = %lld", (long long)p);
  weft_axes axes = weft_axes_range(2, weft_call_rank(call, x));
  weft_reduce_kind kind = p == 1 ? WEFT_REDUCE_L1 : WEFT_REDUCE_L2;
  weft_call_output(call, 0, weft_call_reduce(call, kind, axes, true, x));
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* Before opset 13 everything from the axis on was taken as one. */
void weft_onnx_softmax(weft_call *call) {
  bool to_end = call->version < 13;
  weft_attributes attributes = {.softmax = {.axis = weft_call_axis(call, "axis", to_end ? 1 : -1),
                                            .log = call->parameter != 0,
                                            .to_end = to_end}};
  weft_call_output(call, 0, weft_call_node(call, WEFT_OP_SOFTMAX, &attributes, call->inputs, 1));
}

/* One where the first maximum is: positions along the axis compared with its index. */
static weft_value_id hardmax_along(weft_call *call, weft_value_id x, uint32_t axis) {
  uint32_t rank = weft_call_rank(call, x);
  weft_attributes attributes = {
      .arg_reduce = {.max = true, .keep_dims = true, .axis = (int32_t)axis}};
  weft_value_id best = WEFT_CALL_NODE(call, WEFT_OP_ARG_REDUCE, &attributes, x);
  weft_value_id extent = weft_call_view(call, WEFT_VIEW_SQUEEZE, weft_axes_one(0),
                                        weft_call_dims(call, x, axis, axis + 1));
  weft_value_id positions = weft_call_count_up(call, extent);
  if (rank > axis + 1)
    positions =
        weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, rank - axis), positions);
  weft_formula f = WEFT_FORMULA(call, positions, best);
  weft_formula_cast(&f, F2(EQUAL, 0, 1), weft_call_dtype(call, x));
  return weft_formula_end(&f);
}

void weft_onnx_hardmax(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0);
  int32_t axis = weft_call_axis(call, "axis", call->version < 13 ? 1 : -1);
  if (call->version >= 13) {
    uint32_t positive = weft_call_positive_axis(call, axis, weft_call_rank(call, x));
    weft_call_output(call, 0, hardmax_along(call, x, positive));
    return;
  }
  weft_value_id flat = weft_call_view(call, WEFT_VIEW_FLATTEN, weft_axes_one(axis), x);
  weft_value_id y = hardmax_along(call, flat, 1);
  weft_value_id shape = weft_call_dims(call, x, 0, weft_call_rank(call, x));
  weft_call_output(call, 0, weft_call_reshape(call, y, shape));
}

/* ---- layer and RMS normalisation ------------------------------------------------------------- */

static weft_value_id norm(weft_call *call, weft_norm_kind kind, int32_t axis, double epsilon,
                          weft_value_id x, weft_value_id scale, weft_value_id bias) {
  weft_attributes attributes = {.norm = {.kind = kind, .axis = axis, .epsilon = (float)epsilon}};
  return WEFT_CALL_NODE(call, WEFT_OP_NORM, &attributes, x, scale, bias);
}

/* Mean and 1 / standard deviation as outputs of their own, where the model names them. */
static void statistics(weft_call *call, weft_value_id x, int32_t axis, double epsilon) {
  if (!weft_call_wants(call, 1) && !weft_call_wants(call, 2)) return;
  uint32_t rank = weft_call_rank(call, x);
  weft_axes axes = weft_axes_range(weft_call_positive_axis(call, axis, rank), rank);
  weft_value_id mean, inverse;
  weft_call_standardize(call, x, axes, epsilon, &mean, &inverse);
  weft_call_output(call, 1, mean);
  weft_call_output(call, 2, inverse);
}

/* LayerNormalization, RMSNormalization and SimplifiedLayerNormalization; the parameter is the
 * weft_norm_kind. */
void weft_onnx_norm(weft_call *call) {
  weft_norm_kind kind = (weft_norm_kind)call->parameter;
  int32_t axis = weft_call_axis(call, "axis", -1);
  double epsilon = weft_call_float(call, "epsilon", 1e-5f);
  weft_call_ignore(call, "stash_type");
  weft_value_id x = weft_call_input(call, 0);
  weft_call_output(
      call, 0,
      norm(call, kind, axis, epsilon, x, weft_call_input(call, 1), weft_call_input(call, 2)));
  if (kind == WEFT_NORM_LAYER) statistics(call, x, axis, epsilon);
}

/* com.microsoft SkipLayerNormalization: x, skip, scale, offset, bias; without the offset when
 * simplified (RMS). The last output is the sum that was normalised. */
void weft_onnx_skip_norm(weft_call *call) {
  weft_norm_kind kind = (weft_norm_kind)call->parameter;
  bool layer = kind == WEFT_NORM_LAYER;
  double epsilon = weft_call_float(call, "epsilon", 1e-12f);
  weft_value_id offset = layer ? weft_call_input(call, 3) : WEFT_VALUE_NONE;
  weft_value_id bias = weft_call_input(call, layer ? 4 : 3);
  weft_value_id sum =
      weft_call_map2(call, WEFT_EXPR_ADD, weft_call_input(call, 0), weft_call_input(call, 1));
  if (bias != WEFT_VALUE_NONE) sum = weft_call_map2(call, WEFT_EXPR_ADD, sum, bias);
  weft_call_output(call, 0, norm(call, kind, -1, epsilon, sum, weft_call_input(call, 2), offset));
  if (layer) statistics(call, sum, -1, epsilon);
  weft_call_output(call, 3, sum);
}

/* ---- normalisations over channels ------------------------------------------------------------ */

/* [C] -> [C,1,...], to stand against [N,C,...] of that rank. */
static weft_value_id per_channel(weft_call *call, weft_value_id x, uint32_t rank) {
  return rank > 2 ? weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, rank - 1), x) : x;
}

/* x * a + b, with a and b per channel of x, which has that rank. */
static weft_value_id scale_and_shift(weft_call *call, weft_value_id x, uint32_t rank,
                                     weft_value_id a, weft_value_id b) {
  a = per_channel(call, a, rank);
  b = per_channel(call, b, rank);
  weft_formula f = WEFT_FORMULA(call, x, a, b);
  F2(ADD, F2(MUL, 0, 1), 2);
  return weft_formula_end(&f);
}

/* y = x * a + b with a = scale / sqrt(variance + epsilon), b = bias - mean * a: small tensors,
 * which fold. */
void weft_onnx_batch_norm(weft_call *call) {
  double epsilon = weft_call_float(call, "epsilon", 1e-5f);
  weft_call_ignore(call, "momentum");
  if (weft_call_flag(call, "training_mode", false))
    weft_call_fail(call, WEFT_UNSUPPORTED, "training mode is not supported");
  if (!weft_call_flag(call, "spatial", true))
    weft_call_fail(call, WEFT_UNSUPPORTED, "spatial = 0 is not supported");
  uint32_t rank = weft_call_rank(call, weft_call_input(call, 0));
  weft_formula f = WEFT_FORMULA(call, weft_call_input(call, 1), weft_call_input(call, 4));
  F2(DIV, 0, F1(SQRT, F2(ADD, 1, NUMBER(epsilon))));
  weft_value_id a = weft_formula_end(&f);
  f = WEFT_FORMULA(call, weft_call_input(call, 2), weft_call_input(call, 3), a);
  F2(SUB, 0, F2(MUL, 1, 2));
  weft_value_id b = weft_formula_end(&f);
  weft_call_output(call, 0, scale_and_shift(call, weft_call_input(call, 0), rank, a, b));
}

void weft_onnx_instance_norm(weft_call *call) {
  double epsilon = weft_call_float(call, "epsilon", 1e-5f);
  weft_value_id x = weft_call_input(call, 0);
  uint32_t rank = weft_call_rank(call, x);
  weft_value_id y = weft_call_standardize(call, x, weft_axes_range(2, rank), epsilon, NULL, NULL);
  weft_call_output(
      call, 0, scale_and_shift(call, y, rank, weft_call_input(call, 1), weft_call_input(call, 2)));
}

/* [N,C,...] is seen as [N,G,rest]. Scale and bias are per group in opset 18, per channel from 21
 * on. */
void weft_onnx_group_norm(weft_call *call) {
  double epsilon = weft_call_float(call, "epsilon", 1e-5f);
  int64_t groups = weft_call_int(call, "num_groups", 0);
  weft_call_ignore(call, "stash_type");
  if (groups < 1) weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'num_groups' is missing");
  bool per_group = call->version < 21;
  weft_value_id x = weft_call_input(call, 0), scale = weft_call_input(call, 1);
  weft_value_id bias = weft_call_input(call, 2);
  uint32_t rank = weft_call_rank(call, x);
  weft_value_id grouped = weft_call_reshape(call, x, WEFT_CALL_INTEGERS(call, 0, groups, -1));
  weft_value_id y = weft_call_standardize(call, grouped, weft_axes_one(2), epsilon, NULL, NULL);
  if (per_group) y = scale_and_shift(call, y, 3, scale, bias);
  y = weft_call_reshape(call, y, weft_call_dims(call, x, 0, rank));
  if (!per_group) y = scale_and_shift(call, y, rank, scale, bias);
  weft_call_output(call, 0, y);
}

/* (x - mean) / (standard deviation + 1e-9), as in the operator's function body. */
void weft_onnx_mean_variance_norm(weft_call *call) {
  weft_axes axes;
  if (!weft_call_axes(call, "axes", &axes)) axes = (weft_axes){.count = 3, .axes = {0, 2, 3}};
  weft_value_id x = weft_call_input(call, 0);
  weft_value_id mean = weft_call_reduce(call, WEFT_REDUCE_MEAN, axes, true, x);
  weft_value_id centred = weft_call_map2(call, WEFT_EXPR_SUB, x, mean);
  weft_value_id square = weft_call_map2(call, WEFT_EXPR_MUL, centred, centred);
  weft_value_id variance = weft_call_reduce(call, WEFT_REDUCE_MEAN, axes, true, square);
  weft_formula f = WEFT_FORMULA(call, centred, variance);
  F2(DIV, 0, F2(ADD, F1(SQRT, 1), NUMBER(1e-9)));
  weft_call_output(call, 0, weft_formula_end(&f));
}

/* x / norm; a norm of zero leaves the zeros as they are. */
void weft_onnx_lp_norm(weft_call *call) {
  int64_t p = weft_call_int(call, "p", 2);
  weft_axes axis = weft_axes_one(weft_call_axis(call, "axis", -1));
  if (p != 1 && p != 2)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'p' must be 1 or 2, not %lld",
                   (long long)p);
  weft_value_id x = weft_call_input(call, 0);
  weft_value_id length =
      weft_call_reduce(call, p == 1 ? WEFT_REDUCE_L1 : WEFT_REDUCE_L2, axis, true, x);
  weft_formula f = WEFT_FORMULA(call, x, length);
  F2(DIV, 0, F3(SELECT, F2(EQUAL, 1, NUMBER(0)), NUMBER(1), 1));
  weft_call_output(call, 0, weft_formula_end(&f));
}
