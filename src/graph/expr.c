/* expr.c - what the instructions of an expression are called and may work on, and their text. The
 * integer arithmetic is in expr_evaluate.c. */
#include "graph/infer.h"

typedef struct expr_facts {
  const char *name;
  uint32_t operands;
} expr_facts;

static const expr_facts facts[WEFT_EXPR_OP_COUNT] = {
#define WEFT_EXPR(id, op_name, operand_count) [WEFT_EXPR_##id] = {#op_name, (operand_count)},
#include "graph/expr.inc"
#undef WEFT_EXPR
};

/* Classes of the operands, '>', the result: f float, n numeric, i integer, l bool or integer,
 * b bool, a any; T: the type of the operands, which is one (b in `select` aside). What is not
 * listed takes and gives floats. */
static const char *const signatures[WEFT_EXPR_OP_COUNT] = {
    [WEFT_EXPR_CONSTANT] = ">a",     [WEFT_EXPR_CAST] = "a>a",         [WEFT_EXPR_ADD] = "nn>T",
    [WEFT_EXPR_SUB] = "nn>T",        [WEFT_EXPR_MUL] = "nn>T",         [WEFT_EXPR_DIV] = "nn>T",
    [WEFT_EXPR_MOD] = "nn>T",        [WEFT_EXPR_FMOD] = "nn>T",        [WEFT_EXPR_POW] = "nn>T",
    [WEFT_EXPR_MIN] = "nn>T",        [WEFT_EXPR_MAX] = "nn>T",         [WEFT_EXPR_EQUAL] = "aa>b",
    [WEFT_EXPR_LESS] = "nn>b",       [WEFT_EXPR_LESS_EQUAL] = "nn>b",  [WEFT_EXPR_AND] = "ll>T",
    [WEFT_EXPR_OR] = "ll>T",         [WEFT_EXPR_XOR] = "ll>T",         [WEFT_EXPR_NOT] = "l>T",
    [WEFT_EXPR_SHIFT_LEFT] = "ii>T", [WEFT_EXPR_SHIFT_RIGHT] = "ii>T", [WEFT_EXPR_SELECT] = "baa>T",
    [WEFT_EXPR_ABS] = "n>T",         [WEFT_EXPR_NEG] = "n>T",          [WEFT_EXPR_SIGN] = "n>T",
    [WEFT_EXPR_RELU] = "n>T",        [WEFT_EXPR_IS_NAN] = "f>b",       [WEFT_EXPR_IS_INF] = "f>b",
};

static const char *signature_of(weft_expr_op op) {
  return signatures[op] ? signatures[op] : "f>T";
}

const char *weft_expr_op_name(weft_expr_op op) {
  return facts[op].name;
}

uint32_t weft_expr_operand_count(weft_expr_op op) {
  return facts[op].operands;
}

weft_dtype weft_expr_dtype(const weft_expr *expr, uint32_t operand) {
  return operand < expr->input_count ? (weft_dtype)expr->input_dtypes[operand]
                                     : (weft_dtype)expr->code[operand - expr->input_count].dtype;
}

weft_dtype weft_expr_result_dtype(const weft_expr *expr) {
  if (expr->code_count) return (weft_dtype)expr->code[expr->code_count - 1].dtype;
  return (weft_dtype)expr->input_dtypes[0];
}

/* ---- verification ---------------------------------------------------------------------------- */

static bool is_of_class(weft_dtype dtype, char class_letter) {
  bool is_float = weft_dtype_is_float(dtype), is_integer = weft_dtype_is_integer(dtype);
  switch (class_letter) {
  case 'f':
    return is_float;
  case 'n':
    return is_float || is_integer;
  case 'i':
    return is_integer;
  case 'l':
    return is_integer || dtype == WEFT_BOOL;
  case 'b':
    return dtype == WEFT_BOOL;
  default:
    return is_float || is_integer || dtype == WEFT_BOOL;
  }
}

static weft_status fail_at(uint32_t index, const weft_instruction *instruction, weft_error *error,
                           const char *what) {
  return weft_fail(error, WEFT_INVALID_MODEL, "instruction %u (%s) %s", index,
                   weft_expr_op_name((weft_expr_op)instruction->op), what);
}

static weft_status verify_operands(const weft_expr *expr, uint32_t index, weft_error *error) {
  const weft_instruction *instruction = &expr->code[index];
  const char *signature = signature_of((weft_expr_op)instruction->op);
  uint32_t count = weft_expr_operand_count((weft_expr_op)instruction->op);
  weft_dtype type = (weft_dtype)instruction->dtype, common = WEFT_DTYPE_NONE;
  for (uint32_t i = 0; i < count; i++) {
    if (instruction->operands[i] >= expr->input_count + index) {
      return fail_at(index, instruction, error, "takes an operand that is not computed before");
    }
    weft_dtype operand = weft_expr_dtype(expr, instruction->operands[i]);
    if (!is_of_class(operand, signature[i])) {
      return weft_fail(error, WEFT_INVALID_MODEL, "instruction %u (%s) does not take %s", index,
                       weft_expr_op_name((weft_expr_op)instruction->op), weft_dtype_name(operand));
    }
    if (signature[i] == 'b') continue;
    if (common != WEFT_DTYPE_NONE && common != operand) {
      return weft_fail(error, WEFT_INVALID_MODEL, "instruction %u (%s) takes both %s and %s", index,
                       weft_expr_op_name((weft_expr_op)instruction->op), weft_dtype_name(common),
                       weft_dtype_name(operand));
    }
    common = operand;
  }
  char result = signature[count + 1];
  bool good = result == 'T' ? type == common : is_of_class(type, result);
  return good ? WEFT_OK : fail_at(index, instruction, error, "has a result of the wrong type");
}

weft_status weft_expr_verify(const weft_expr *expr, weft_error *error) {
  if (expr->input_count > WEFT_EXPR_INPUTS_MAX || expr->code_count > WEFT_EXPR_CODE_MAX) {
    return weft_fail(error, WEFT_INVALID_MODEL, "an expression of %u inputs and %u instructions",
                     expr->input_count, expr->code_count);
  }
  if (expr->input_count + expr->code_count == 0 || (expr->code_count && !expr->code)) {
    return weft_fail(error, WEFT_INVALID_MODEL, "an empty expression");
  }
  for (uint32_t i = 0; i < expr->input_count; i++) {
    if (!is_of_class((weft_dtype)expr->input_dtypes[i], 'a')) {
      return weft_fail(error, WEFT_INVALID_MODEL, "an expression cannot take %s (input %u)",
                       weft_dtype_name((weft_dtype)expr->input_dtypes[i]), i);
    }
  }
  for (uint32_t i = 0; i < expr->code_count; i++) {
    if (expr->code[i].op >= WEFT_EXPR_OP_COUNT) {
      return weft_fail(error, WEFT_INVALID_MODEL, "instruction %u is none", i);
    }
    WEFT_TRY(verify_operands(expr, i, error));
  }
  return WEFT_OK;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_constant(const weft_instruction *instruction, weft_text *text) {
  if (weft_dtype_is_float((weft_dtype)instruction->dtype)) {
    weft_text_add(text, "%.9g", instruction->immediate.f);
  } else {
    weft_text_add(text, "%lld", (long long)instruction->immediate.i);
  }
}

/* Opens instruction `index`: "add(", or the whole of a constant. */
static void print_head(const weft_instruction *instruction, weft_text *text) {
  if (instruction->op == WEFT_EXPR_CONSTANT) {
    print_constant(instruction, text);
  } else if (instruction->op == WEFT_EXPR_CAST) {
    weft_text_add(text, "%s(", weft_dtype_name((weft_dtype)instruction->dtype));
  } else {
    weft_text_add(text, "%s(", weft_expr_op_name((weft_expr_op)instruction->op));
  }
}

/* Prints instruction `root` with those used only by it inside, depth first by a stack of its own;
 * `shared` ones appear by name. */
static void print_tree(const weft_expr *expr, uint32_t root, const bool *shared, weft_text *text) {
  struct {
    uint32_t index, next;
  } stack[WEFT_EXPR_CODE_MAX] = {{root, 0}};
  print_head(&expr->code[root], text);
  for (uint32_t depth = 1; depth > 0;) {
    const weft_instruction *instruction = &expr->code[stack[depth - 1].index];
    uint32_t count = weft_expr_operand_count((weft_expr_op)instruction->op);
    uint32_t next = stack[depth - 1].next++;
    if (next >= count) {
      if (count) weft_text_add(text, ")");
      depth--;
      continue;
    }
    uint32_t operand = instruction->operands[next], inner = operand - expr->input_count;
    if (next) weft_text_add(text, ", ");
    if (operand < expr->input_count) {
      weft_text_add(text, "x%u", operand);
    } else if (shared[inner]) {
      weft_text_add(text, "t%u", inner);
    } else {
      print_head(&expr->code[inner], text);
      stack[depth].index = inner;
      stack[depth++].next = 0;
    }
  }
}

/* Constants are repeated; other results that are used several times get a name: "t1 = exp(x0);
 * div(t1, add(t1, 1))". */
void weft_expr_print(const weft_expr *expr, weft_text *text) {
  uint32_t uses[WEFT_EXPR_CODE_MAX] = {0};
  bool shared[WEFT_EXPR_CODE_MAX] = {false};
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *instruction = &expr->code[i];
    for (uint32_t k = 0; k < weft_expr_operand_count((weft_expr_op)instruction->op); k++) {
      if (instruction->operands[k] < expr->input_count) continue;
      uint32_t used = instruction->operands[k] - expr->input_count;
      shared[used] = ++uses[used] > 1 && expr->code[used].op != WEFT_EXPR_CONSTANT;
    }
  }
  if (expr->code_count == 0) {
    weft_text_add(text, "x0");
    return;
  }
  for (uint32_t i = 0; i + 1 < expr->code_count; i++) {
    if (!shared[i]) continue;
    weft_text_add(text, "t%u = ", i);
    print_tree(expr, i, shared, text);
    weft_text_add(text, "; ");
  }
  print_tree(expr, expr->code_count - 1u, shared, text);
}
