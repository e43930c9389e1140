/* onnx_ops_activation.c - activation functions as formulas, with the attributes as constants in
 * them. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

#define X 0u

static void finish(weft_formula *f) {
  weft_call_output(f->call, 0, weft_formula_end(f));
}

void weft_onnx_leaky_relu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 0.01f);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F3(SELECT, F2(LESS, X, NUMBER(0)), F2(MUL, NUMBER(alpha), X), X);
  finish(&f);
}

void weft_onnx_prelu(weft_call *call) {
  weft_formula f = weft_formula_begin(call, call->inputs, 2);
  F3(SELECT, F2(LESS, X, NUMBER(0)), F2(MUL, 1, X), X);
  finish(&f);
}

void weft_onnx_elu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  uint32_t below = F2(MUL, NUMBER(alpha), F2(SUB, F1(EXP, X), NUMBER(1)));
  F3(SELECT, F2(LESS, X, NUMBER(0)), below, X);
  finish(&f);
}

void weft_onnx_selu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1.67326319217681884765625);
  double gamma = weft_call_float(call, "gamma", 1.05070102214813232421875);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  uint32_t below = F2(MUL, NUMBER(alpha), F2(SUB, F1(EXP, X), NUMBER(1)));
  F2(MUL, NUMBER(gamma), F3(SELECT, F2(LESS, NUMBER(0), X), X, below));
  finish(&f);
}

void weft_onnx_celu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  uint32_t grown = F2(SUB, F1(EXP, F2(DIV, X, NUMBER(alpha))), NUMBER(1));
  uint32_t below = F2(MIN, NUMBER(0), F2(MUL, NUMBER(alpha), grown));
  F2(ADD, F2(MAX, NUMBER(0), X), below);
  finish(&f);
}

static uint32_t clamp01(weft_formula *formula, uint32_t x) {
  weft_dtype dtype = weft_formula_dtype(formula, x);
  uint32_t one = weft_formula_constant(formula, dtype, 1);
  uint32_t zero = weft_formula_constant(formula, dtype, 0);
  uint32_t low = weft_formula_op(formula, WEFT_EXPR_MIN, x, one, 0);
  return weft_formula_op(formula, WEFT_EXPR_MAX, low, zero, 0);
}

void weft_onnx_hard_sigmoid(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 0.2f), beta = weft_call_float(call, "beta", 0.5);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  clamp01(&f, F2(ADD, F2(MUL, NUMBER(alpha), X), NUMBER(beta)));
  finish(&f);
}

void weft_onnx_hard_swish(weft_call *call) {
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F2(MUL, X, clamp01(&f, F2(ADD, F2(MUL, X, NUMBER(1.0f / 6)), NUMBER(0.5))));
  finish(&f);
}

void weft_onnx_thresholded_relu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F3(SELECT, F2(LESS, NUMBER(alpha), X), X, NUMBER(0));
  finish(&f);
}

void weft_onnx_softsign(weft_call *call) {
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F2(DIV, X, F2(ADD, NUMBER(1), F1(ABS, X)));
  finish(&f);
}

void weft_onnx_mish(weft_call *call) {
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  F2(MUL, X, F1(TANH, F1(SOFTPLUS, X)));
  finish(&f);
}

/* x is moved towards zero by bias outside of [-lambd, lambd], and is zero inside. */
void weft_onnx_shrink(weft_call *call) {
  double bias = weft_call_float(call, "bias", 0), lambda = weft_call_float(call, "lambd", 0.5);
  weft_dtype dtype = weft_call_dtype(call, weft_call_input(call, 0));
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  bool is_float = weft_dtype_is_float(dtype);
  /* Integers are compared and moved as floats, because the attributes are. */
  weft_dtype wide = is_float ? dtype : WEFT_F32;
  uint32_t x = is_float ? X : weft_formula_cast(&f, X, wide);
  uint32_t zero = weft_formula_constant(&f, wide, 0), b = weft_formula_constant(&f, wide, bias);
  uint32_t low = weft_formula_constant(&f, wide, -lambda);
  uint32_t high = weft_formula_constant(&f, wide, lambda);
  uint32_t above = F3(SELECT, F2(LESS, high, x), F2(SUB, x, b), zero);
  uint32_t y = F3(SELECT, F2(LESS, x, low), F2(ADD, x, b), above);
  if (!is_float) weft_formula_cast(&f, y, dtype);
  finish(&f);
}

static uint32_t swish(weft_formula *formula, double alpha) {
  if (alpha == 1) return weft_formula_op(formula, WEFT_EXPR_SILU, X, 0, 0);
  weft_dtype dtype = weft_formula_dtype(formula, X);
  uint32_t scale = weft_formula_constant(formula, dtype, alpha);
  uint32_t scaled = weft_formula_op(formula, WEFT_EXPR_MUL, X, scale, 0);
  uint32_t gate = weft_formula_op(formula, WEFT_EXPR_SIGMOID, scaled, 0, 0);
  return weft_formula_op(formula, WEFT_EXPR_MUL, X, gate, 0);
}

/* QuickGelu (com.microsoft) is Swish with another default; the parameter holds it in thousandths.
 */
void weft_onnx_swish(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", (float)call->parameter / 1000.0f);
  weft_formula f = weft_formula_begin(call, call->inputs, 1);
  swish(&f, alpha);
  finish(&f);
}

void weft_onnx_swiglu(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1);
  weft_formula f = weft_formula_begin(call, call->inputs, 2);
  F2(MUL, swish(&f, alpha), 1);
  finish(&f);
}

void weft_onnx_gelu(weft_call *call) {
  weft_str approximate = weft_call_string(call, "approximate", "none");
  bool tanh = weft_str_is(approximate, "tanh");
  if (!tanh && !weft_str_is(approximate, "none"))
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'approximate' must be none or tanh");
  weft_call_output(call, 0,
                   weft_call_map1(call, tanh ? WEFT_EXPR_GELU_TANH : WEFT_EXPR_GELU_ERF,
                                  weft_call_input(call, 0)));
}

/* BiasGelu and FastGelu of com.microsoft: x [, bias]; the parameter is the GELU. */
void weft_onnx_bias_gelu(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0), bias = weft_call_input(call, 1);
  if (bias != WEFT_VALUE_NONE) x = weft_call_map2(call, WEFT_EXPR_ADD, x, bias);
  weft_call_output(call, 0, weft_call_map1(call, (weft_expr_op)call->parameter, x));
}
