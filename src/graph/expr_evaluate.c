/* expr_evaluate.c - integer expressions on single numbers, for shape arithmetic (host_value.c).
 * Results that do not fit into the type are errors rather than wrapped: an exact shape or none. */
#include "graph/infer.h"

/* In bits; a bool counts as u64 here, its values are 0 and 1. */
static uint32_t width_of(weft_dtype dtype) {
  return dtype == WEFT_BOOL ? 64u : 8u * (uint32_t)weft_dtype_size(dtype);
}

static bool is_signed(weft_dtype dtype) {
  return dtype == WEFT_I8 || dtype == WEFT_I16 || dtype == WEFT_I32 || dtype == WEFT_I64;
}

/* The low bits of `value` as a number of that type, as a cast does. u64 above INT64_MAX turns
 * negative, which fits() refuses. */
static int64_t truncate_to(weft_dtype dtype, int64_t value) {
  uint32_t unused = 64 - width_of(dtype);
  if (is_signed(dtype)) return (int64_t)((uint64_t)value << unused) >> unused;
  return (int64_t)((uint64_t)value << unused >> unused);
}

static bool fits(weft_dtype dtype, int64_t value) {
  return truncate_to(dtype, value) == value && (is_signed(dtype) || value >= 0);
}

static bool divide(weft_expr_op op, int64_t a, int64_t b, int64_t *out) {
  if (b == 0 || (a == INT64_MIN && b == -1)) return false;
  int64_t remainder = a % b;
  *out = op == WEFT_EXPR_DIV                                              ? a / b
         : op == WEFT_EXPR_MOD && remainder && (remainder < 0) != (b < 0) ? remainder + b
                                                                          : remainder;
  return true;
}

static bool power(int64_t base, int64_t exponent, int64_t *out) {
  if (exponent < 0) return false;
  int64_t result = 1;
  for (;; exponent >>= 1) {
    if ((exponent & 1) && !weft_mul_i64(result, base, &result)) return false;
    if (exponent <= 1) break;
    if (!weft_mul_i64(base, base, &base)) return false;
  }
  *out = result;
  return true;
}

static int64_t shift(weft_expr_op op, weft_dtype dtype, int64_t a, int64_t count) {
  bool all = count < 0 || count >= (int64_t)width_of(dtype);
  if (op == WEFT_EXPR_SHIFT_RIGHT) return all ? (a < 0 ? -1 : 0) : a >> count;
  return all ? 0 : truncate_to(dtype, (int64_t)((uint64_t)a << count));
}

/* Instructions that always have a result. */
static int64_t compute_plain(const weft_instruction *instruction, const int64_t x[3]) {
  weft_expr_op op = (weft_expr_op)instruction->op;
  weft_dtype dtype = (weft_dtype)instruction->dtype;
  int64_t a = x[0], b = x[1];
  switch (op) {
  case WEFT_EXPR_CONSTANT:
    return instruction->immediate.i;
  case WEFT_EXPR_CAST:
    return dtype == WEFT_BOOL ? a != 0 : truncate_to(dtype, a);
  case WEFT_EXPR_MIN:
    return a < b ? a : b;
  case WEFT_EXPR_MAX:
    return a > b ? a : b;
  case WEFT_EXPR_EQUAL:
    return a == b;
  case WEFT_EXPR_LESS:
    return a < b;
  case WEFT_EXPR_LESS_EQUAL:
    return a <= b;
  case WEFT_EXPR_AND:
    return a & b;
  case WEFT_EXPR_OR:
    return a | b;
  case WEFT_EXPR_XOR:
    return a ^ b;
  case WEFT_EXPR_NOT:
    return dtype == WEFT_BOOL ? !a : truncate_to(dtype, ~a);
  case WEFT_EXPR_SHIFT_LEFT:
  case WEFT_EXPR_SHIFT_RIGHT:
    return shift(op, dtype, a, b);
  case WEFT_EXPR_SELECT:
    return a ? b : x[2];
  case WEFT_EXPR_SIGN:
    return (a > 0) - (a < 0);
  default: /* relu: the others are for floats or in compute() */
    return a > 0 ? a : 0;
  }
}

/* False: a division by zero or an overflow. */
static bool compute(const weft_instruction *instruction, const int64_t x[3], int64_t *out) {
  weft_expr_op op = (weft_expr_op)instruction->op;
  switch (op) {
  case WEFT_EXPR_ADD:
    return weft_add_i64(x[0], x[1], out);
  case WEFT_EXPR_SUB:
    return weft_sub_i64(x[0], x[1], out);
  case WEFT_EXPR_MUL:
    return weft_mul_i64(x[0], x[1], out);
  case WEFT_EXPR_DIV:
  case WEFT_EXPR_MOD:
  case WEFT_EXPR_FMOD:
    return divide(op, x[0], x[1], out);
  case WEFT_EXPR_POW:
    return power(x[0], x[1], out);
  case WEFT_EXPR_ABS:
    *out = x[0];
    return x[0] >= 0 || weft_sub_i64(0, x[0], out);
  case WEFT_EXPR_NEG:
    return weft_sub_i64(0, x[0], out);
  default:
    *out = compute_plain(instruction, x);
    return true;
  }
}

weft_status weft_instruction_evaluate(const weft_instruction *instruction, weft_dtype from,
                                      const int64_t operands[3], int64_t *out, weft_error *error) {
  weft_dtype dtype = (weft_dtype)instruction->dtype;
  const char *name = weft_expr_op_name((weft_expr_op)instruction->op);
  if (weft_dtype_is_float(from) || weft_dtype_is_float(dtype)) {
    return weft_fail(error, WEFT_UNSUPPORTED, "%s of floats in shape arithmetic", name);
  }
  if (!compute(instruction, operands, out) || !fits(dtype, *out)) {
    return weft_fail(error, WEFT_INVALID_DATA, "%s of %lld and %lld has no result in %s", name,
                     (long long)operands[0], (long long)operands[1], weft_dtype_name(dtype));
  }
  return WEFT_OK;
}

weft_status weft_expr_evaluate(const weft_expr *expr, const int64_t *inputs, int64_t *out,
                               weft_error *error) {
  int64_t values[WEFT_EXPR_INPUTS_MAX + WEFT_EXPR_CODE_MAX];
  for (uint32_t i = 0; i < expr->input_count; i++) values[i] = inputs[i];
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *instruction = &expr->code[i];
    uint32_t count = weft_expr_operand_count((weft_expr_op)instruction->op);
    int64_t operands[3] = {0};
    for (uint32_t k = 0; k < count; k++) operands[k] = values[instruction->operands[k]];
    weft_dtype from = count ? weft_expr_dtype(expr, instruction->operands[count - 1])
                            : (weft_dtype)instruction->dtype;
    WEFT_TRY(weft_instruction_evaluate(instruction, from, operands, &values[expr->input_count + i],
                                       error));
  }
  *out = values[expr->code_count ? expr->input_count + expr->code_count - 1u : 0];
  return WEFT_OK;
}
