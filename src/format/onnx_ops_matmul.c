/* onnx_ops_matmul.c - MatMul, Gemm and FusedMatMul: transposes, a matmul, then what is scaled and
 * added. Rows in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

void weft_onnx_matmul(weft_call *call) {
  weft_call_output(call, 0,
                   weft_call_matmul(call, weft_call_input(call, 0), weft_call_input(call, 1)));
}

static weft_value_id scaled(weft_call *call, weft_value_id x, double factor) {
  if (factor == 1) return x;
  weft_formula f = WEFT_FORMULA(call, x);
  F2(MUL, 0, NUMBER(factor));
  return weft_formula_end(&f);
}

/* A (or its transpose) as the attribute says. */
static weft_value_id operand(weft_call *call, uint32_t index, const char *transposed) {
  weft_value_id x = weft_call_input(call, index);
  return weft_call_flag(call, transposed, false) ? weft_call_swap_last(call, x) : x;
}

/* alpha A B + beta C */
void weft_onnx_gemm(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1), beta = weft_call_float(call, "beta", 1);
  for (uint32_t i = 0; i < 2; ++i)
    if (weft_call_rank(call, weft_call_input(call, i)) != 2)
      weft_call_fail(call, WEFT_INVALID_MODEL, "input %u must be a matrix", i);
  weft_value_id a = operand(call, 0, "transA"), b = operand(call, 1, "transB");
  weft_value_id y = scaled(call, weft_call_matmul(call, a, b), alpha);
  weft_value_id c = weft_call_input(call, 2);
  if (c != WEFT_VALUE_NONE && beta != 0)
    y = weft_call_map2(call, WEFT_EXPR_ADD, y, scaled(call, c, beta));
  weft_call_output(call, 0, y);
}

/* com.microsoft: alpha A B, with the last two axes of each swapped on demand. */
void weft_onnx_fused_matmul(weft_call *call) {
  double alpha = weft_call_float(call, "alpha", 1);
  if (weft_call_flag(call, "transBatchA", false) || weft_call_flag(call, "transBatchB", false))
    weft_call_fail(call, WEFT_UNSUPPORTED, "transposed batch axes are not supported");
  weft_value_id a = operand(call, 0, "transA"), b = operand(call, 1, "transB");
  weft_call_output(call, 0, scaled(call, weft_call_matmul(call, a, b), alpha));
}
