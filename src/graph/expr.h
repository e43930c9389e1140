/* expr.h - elementwise expressions: straight-line code over broadcast inputs, one output. `map` is
 * one, and every matmul ends in one. Formats make them of a single instruction; opt/ joins them
 * into chains; devices run or generate code from them. */
#ifndef WEFT_GRAPH_EXPR_H
#define WEFT_GRAPH_EXPR_H

#include "base/arena.h"

#define WEFT_EXPR_INPUTS_MAX 8u
#define WEFT_EXPR_CODE_MAX   48u

typedef enum weft_expr_op {
#define WEFT_EXPR(id, name, operands) WEFT_EXPR_##id,
#include "graph/expr.inc"
#undef WEFT_EXPR
  WEFT_EXPR_OP_COUNT
} weft_expr_op;

/* One instruction. An operand below input_count is that input; else the result of instruction
 * (operand - input_count), an earlier one. Operands of one instruction have one type (SELECT: bool,
 * then two alike), which CAST alone changes. */
typedef struct weft_instruction {
  uint8_t op;    /* weft_expr_op */
  uint8_t dtype; /* of the result */
  uint8_t operands[3];
  union {
    double f;  /* CONSTANT of a float type */
    int64_t i; /* CONSTANT of another type; bool: 0 or 1 */
  } immediate;
} weft_instruction;

/* The value is that of the last instruction; without instructions (an identity) that of input 0. */
typedef struct weft_expr {
  uint8_t input_count, code_count;
  uint8_t input_dtypes[WEFT_EXPR_INPUTS_MAX];
  weft_instruction *code; /* in the graph's arena */
} weft_expr;

const char *weft_expr_op_name(weft_expr_op op);
uint32_t weft_expr_operand_count(weft_expr_op op);
/* Type of what operand number `operand` (an index as in weft_instruction) holds. */
weft_dtype weft_expr_dtype(const weft_expr *expr, uint32_t operand);
weft_dtype weft_expr_result_dtype(const weft_expr *expr);

/* Checks every rule above; the message says which instruction breaks which. */
weft_status weft_expr_verify(const weft_expr *expr, weft_error *error);

/* One value: 64-bit integers for the integer types and bool, double for floats. */
typedef union weft_scalar {
  double f;
  int64_t i;
} weft_scalar;
/* Evaluates integer and bool expressions on scalars (shape arithmetic). WEFT_UNSUPPORTED when a
 * float type is met, WEFT_INVALID_DATA on a division by zero or an overflow. */
weft_status weft_expr_evaluate(const weft_expr *expr, const int64_t *inputs, int64_t *out,
                               weft_error *error);

/* "add(x0, mul(x1, 2))"-like text for dumps. */
struct weft_text;
void weft_expr_print(const weft_expr *expr, struct weft_text *text);

#endif
