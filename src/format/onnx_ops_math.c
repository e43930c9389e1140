/* onnx_ops_math.c - elementwise arithmetic, logic, comparison and types: each ONNX operator becomes
 * one map. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

void weft_onnx_identity(weft_call *call) {
  weft_call_output(call, 0, weft_call_input(call, 0));
}

void weft_onnx_unary(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_map1(call, (weft_expr_op)call->parameter, weft_call_input(call, 0)));
}

void weft_onnx_binary(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_map2(call, (weft_expr_op)call->parameter, weft_call_input(call, 0),
                                  weft_call_input(call, 1)));
}

/* a > b is b < a. */
void weft_onnx_binary_swapped(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_map2(call, (weft_expr_op)call->parameter, weft_call_input(call, 1),
                                  weft_call_input(call, 0)));
}

static weft_value_id fold_inputs(weft_call *call, weft_expr_op op) {
  weft_value_id sum = weft_call_input(call, 0);
  for (uint32_t i = 1; i < call->input_count; ++i)
    sum = weft_call_map2(call, op, sum, weft_call_input(call, i));
  return sum;
}

void weft_onnx_variadic(weft_call *call) {
  weft_call_output(call, 0, fold_inputs(call, (weft_expr_op)call->parameter));
}

void weft_onnx_mean(weft_call *call) {
  weft_value_id sum = fold_inputs(call, WEFT_EXPR_ADD);
  weft_formula f = WEFT_FORMULA(call, sum);
  F2(DIV, 0, NUMBER(call->input_count));
  weft_call_output(call, 0, weft_formula_end(&f));
}

void weft_onnx_mod(weft_call *call) {
  bool truncate = weft_call_flag(call, "fmod", false);
  weft_call_output(call, 0,
                   weft_call_map2(call, truncate ? WEFT_EXPR_FMOD : WEFT_EXPR_MOD,
                                  weft_call_input(call, 0), weft_call_input(call, 1)));
}

/* The exponent may be of another type. The power is taken in the one of the two that holds both,
 * and has the type of the base. */
void weft_onnx_pow(weft_call *call) {
  weft_formula f = weft_formula_begin(call, call->inputs, 2);
  weft_dtype base = weft_formula_dtype(&f, 0), exponent = weft_formula_dtype(&f, 1);
  if (base == exponent) {
    F2(POW, 0, 1);
  } else if (!weft_dtype_is_float(base) && weft_dtype_is_float(exponent)) {
    weft_formula_cast(&f, F2(POW, weft_formula_cast(&f, 0, exponent), 1), base);
  } else {
    F2(POW, 0, weft_formula_cast(&f, 1, base));
  }
  weft_call_output(call, 0, weft_formula_end(&f));
}

void weft_onnx_bit_shift(weft_call *call) {
  weft_str direction = weft_call_string(call, "direction", "");
  bool left = weft_str_is(direction, "LEFT");
  if (!left && !weft_str_is(direction, "RIGHT"))
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'direction' must be LEFT or RIGHT");
  weft_call_output(call, 0,
                   weft_call_map2(call, left ? WEFT_EXPR_SHIFT_LEFT : WEFT_EXPR_SHIFT_RIGHT,
                                  weft_call_input(call, 0), weft_call_input(call, 1)));
}

void weft_onnx_where(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_map3(call, WEFT_EXPR_SELECT, weft_call_input(call, 0),
                                  weft_call_input(call, 1), weft_call_input(call, 2)));
}

void weft_onnx_is_inf(weft_call *call) {
  bool negative = weft_call_flag(call, "detect_negative", true);
  bool positive = weft_call_flag(call, "detect_positive", true);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  if (negative && positive)
    F1(IS_INF, 0);
  else if (negative || positive)
    F2(EQUAL, 0, NUMBER(positive ? __builtin_inf() : -__builtin_inf()));
  else
    weft_formula_constant(&f, WEFT_BOOL, 0);
  weft_call_output(call, 0, weft_formula_end(&f));
}

void weft_onnx_cast(weft_call *call) {
  weft_dtype to = weft_call_type(call, "to", WEFT_DTYPE_NONE);
  weft_call_ignore(call, "saturate"); /* 8-bit floats only, as is round_mode */
  weft_call_ignore(call, "round_mode");
  weft_call_output(call, 0, weft_call_cast(call, weft_call_input(call, 0), to));
}

void weft_onnx_cast_like(weft_call *call) {
  weft_call_ignore(call, "saturate");
  weft_call_ignore(call, "round_mode");
  weft_dtype to = weft_call_dtype(call, weft_call_input(call, 1));
  weft_call_output(call, 0, weft_call_cast(call, weft_call_input(call, 0), to));
}

/* ---- Clip ------------------------------------------------------------------------------------ */

void weft_onnx_clip_attributes(weft_call *call) {
  const double most = 3.4028234663852886e38;
  double low = weft_call_float(call, "min", -most), high = weft_call_float(call, "max", most);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F2(MIN, F2(MAX, 0, NUMBER(low)), NUMBER(high));
  weft_call_output(call, 0, weft_formula_end(&f));
}

void weft_onnx_clip(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0);
  weft_value_id low = weft_call_input(call, 1), high = weft_call_input(call, 2);
  if (low != WEFT_VALUE_NONE) x = weft_call_map2(call, WEFT_EXPR_MAX, x, low);
  if (high != WEFT_VALUE_NONE) x = weft_call_map2(call, WEFT_EXPR_MIN, x, high);
  weft_call_output(call, 0, x);
}

/* Inference keeps all. The mask, where it is wanted, is all true. */
void weft_onnx_dropout(weft_call *call) {
  weft_call_ignore(call, "ratio");
  weft_call_ignore(call, "seed");
  weft_value_id x = weft_call_input(call, 0), training = weft_call_input(call, 2);
  uint32_t count;
  const int64_t *trains = weft_call_elements(call, training, &count);
  if (training != WEFT_VALUE_NONE && (!trains || count != 1 || trains[0] != 0))
    weft_call_fail(call, WEFT_UNSUPPORTED, "training mode is not supported");
  weft_call_output(call, 0, x);
  if (!weft_call_wants(call, 1)) return;
  weft_formula f = WEFT_FORMULA(call, x);
  weft_formula_constant(&f, WEFT_BOOL, 1);
  weft_call_output(call, 1, weft_formula_end(&f));
}
