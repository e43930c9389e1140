/* Tests of expressions: verification, integer evaluation, text. */
#include "tests/unit/graph_build.h"

#define CODE(expr_, ...)                                                                           \
  do {                                                                                             \
    static weft_instruction code_[] = {__VA_ARGS__};                                               \
    (expr_).code = code_;                                                                          \
    (expr_).code_count = COUNT_OF(code_);                                                          \
  } while (0)
#define I(op_, dtype_, ...)                                                                        \
  {                                                                                                \
    .op = WEFT_EXPR_##op_, .dtype = dtype_, .operands = { __VA_ARGS__ }                            \
  }
#define FLOAT(value)                                                                               \
  {                                                                                                \
    .op = WEFT_EXPR_CONSTANT, .dtype = WEFT_F32, .immediate = {.f = value }                        \
  }
#define INTEGER(dtype_, v)                                                                         \
  {                                                                                                \
    .op = WEFT_EXPR_CONSTANT, .dtype = dtype_, .immediate = {.i = v }                              \
  }

static const char *print(const weft_expr *expr) {
  static char buffer[2000];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  weft_expr_print(expr, &text);
  return buffer;
}

static void check_refused(const weft_expr *expr, const char *message) {
  weft_error error;
  CHECK_INT(weft_expr_verify(expr, &error), WEFT_INVALID_MODEL);
  CHECK_TEXT(error.message, message);
}

static void test_print(void) {
  weft_error error;
  weft_expr e = {.input_count = 2, .input_dtypes = {WEFT_F32, WEFT_F32}};
  CHECK_TEXT(print(&e), "x0");
  CHECK_INT(weft_expr_result_dtype(&e), WEFT_F32);
  CODE(e, FLOAT(0.5), I(MUL, WEFT_F32, 1, 2), I(ADD, WEFT_F32, 0, 3), I(TANH, WEFT_F32, 4));
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  CHECK_TEXT(print(&e), "tanh(add(x0, mul(x1, 0.5)))");
  CODE(e, I(EXP, WEFT_F32, 0), FLOAT(1), I(ADD, WEFT_F32, 2, 3), I(DIV, WEFT_F32, 2, 4),
       I(SUB, WEFT_F32, 5, 3));
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  CHECK_TEXT(print(&e), "t0 = exp(x0); sub(div(t0, add(t0, 1)), 1)");
  CODE(e, I(LESS, WEFT_BOOL, 0, 1), I(CAST, WEFT_I64, 2));
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  CHECK_TEXT(print(&e), "i64(less(x0, x1))");
  CHECK_INT(weft_expr_result_dtype(&e), WEFT_I64);
  CHECK_INT(weft_expr_dtype(&e, 2), WEFT_BOOL);
}

/* x + x, again and again: a tree of 2^48 leaves, but a short text. */
static void test_print_doubling(void) {
  weft_instruction code[WEFT_EXPR_CODE_MAX];
  weft_expr e = {
      .input_count = 1, .code_count = WEFT_EXPR_CODE_MAX, .input_dtypes = {WEFT_I64}, .code = code};
  for (uint8_t i = 0; i < WEFT_EXPR_CODE_MAX; i++) {
    code[i] = (weft_instruction)I(ADD, WEFT_I64, i, i);
  }
  weft_error error;
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  CHECK(strlen(print(&e)) < 1200);
  int64_t one = 1, out;
  CHECK_OK(weft_expr_evaluate(&e, &one, &out, &error), &error);
  CHECK_INT(out, (int64_t)1 << 48);
}

static void test_names(void) {
  CHECK_TEXT(weft_expr_op_name(WEFT_EXPR_CONSTANT), "constant");
  CHECK_TEXT(weft_expr_op_name(WEFT_EXPR_ATANH), "atanh");
  CHECK_INT(weft_expr_operand_count(WEFT_EXPR_SELECT), 3);
  for (int op = 0; op < WEFT_EXPR_OP_COUNT; op++) {
    CHECK(weft_expr_op_name((weft_expr_op)op) != NULL);
    CHECK(weft_expr_operand_count((weft_expr_op)op) <= 3);
  }
}

static void test_verify(void) {
  weft_expr e = {0};
  check_refused(&e, "an empty expression");
  e = (weft_expr){.input_count = 1, .code_count = 1, .input_dtypes = {WEFT_F32}};
  check_refused(&e, "an empty expression");
  e = (weft_expr){.input_count = 9, .input_dtypes = {WEFT_F32}};
  check_refused(&e, "an expression of 9 inputs and 0 instructions");
  e = (weft_expr){.input_count = 1, .input_dtypes = {WEFT_STRING}};
  check_refused(&e, "an expression cannot take string (input 0)");
  e = (weft_expr){.input_count = 3, .input_dtypes = {WEFT_F32, WEFT_I64, WEFT_BOOL}};
  CODE(e, I(ADD, WEFT_F32, 0, 3));
  check_refused(&e, "instruction 0 (add) takes an operand that is not computed before");
  CODE(e, I(ADD, WEFT_F32, 0, 1));
  check_refused(&e, "instruction 0 (add) takes both f32 and i64");
  CODE(e, I(ADD, WEFT_BOOL, 2, 2));
  check_refused(&e, "instruction 0 (add) does not take bool");
  CODE(e, I(ADD, WEFT_I64, 0, 0));
  check_refused(&e, "instruction 0 (add) has a result of the wrong type");
  CODE(e, I(LESS, WEFT_F32, 0, 0));
  check_refused(&e, "instruction 0 (less) has a result of the wrong type");
  CODE(e, I(EXP, WEFT_I64, 1));
  check_refused(&e, "instruction 0 (exp) does not take i64");
  CODE(e, I(SHIFT_LEFT, WEFT_F32, 0, 0));
  check_refused(&e, "instruction 0 (shift_left) does not take f32");
  CODE(e, I(SELECT, WEFT_F32, 1, 0, 0));
  check_refused(&e, "instruction 0 (select) does not take i64");
  CODE(e, I(SELECT, WEFT_F32, 2, 0, 1));
  check_refused(&e, "instruction 0 (select) takes both f32 and i64");
  CODE(e, I(CAST, WEFT_STRING, 0));
  check_refused(&e, "instruction 0 (cast) has a result of the wrong type");
  CODE(e, I(IS_NAN, WEFT_BOOL, 1));
  check_refused(&e, "instruction 0 (is_nan) does not take i64");
  CODE(e, {.op = WEFT_EXPR_OP_COUNT});
  check_refused(&e, "instruction 0 is none");
  CODE(e, I(EQUAL, WEFT_BOOL, 2, 2), I(AND, WEFT_BOOL, 3, 2), I(SELECT, WEFT_F32, 4, 0, 0));
  weft_error error;
  CHECK_OK(weft_expr_verify(&e, &error), &error);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* One instruction of the given type. `status` other than WEFT_OK: no result. */
static void check_value(weft_expr_op op, weft_dtype dtype, int64_t a, int64_t b, weft_status status,
                        int64_t expected) {
  bool compares = op == WEFT_EXPR_EQUAL || op == WEFT_EXPR_LESS || op == WEFT_EXPR_LESS_EQUAL;
  weft_instruction code = {.op = (uint8_t)op, .operands = {0, 1}};
  code.dtype = (uint8_t)(compares ? WEFT_BOOL : dtype);
  weft_expr e = {.input_count = 2, .code_count = 1, .code = &code};
  e.input_dtypes[0] = e.input_dtypes[1] = (uint8_t)dtype;
  weft_error error;
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  int64_t out = 0;
  CHECK_INT(weft_expr_evaluate(&e, (int64_t[]){a, b}, &out, &error), status);
  if (status == WEFT_OK) CHECK_INT(out, expected);
}

static void test_evaluate(void) {
  static const struct {
    weft_expr_op op;
    weft_dtype dtype;
    int64_t a, b, expected;
  } cases[] = {
      {WEFT_EXPR_ADD, WEFT_I64, 2, -3, -1},
      {WEFT_EXPR_SUB, WEFT_I32, 2, 3, -1},
      {WEFT_EXPR_MUL, WEFT_U8, 15, 17, 255},
      {WEFT_EXPR_DIV, WEFT_I64, -7, 2, -3},
      {WEFT_EXPR_MOD, WEFT_I64, -7, 2, 1},
      {WEFT_EXPR_MOD, WEFT_I64, 7, -2, -1},
      {WEFT_EXPR_MOD, WEFT_I64, -8, 2, 0},
      {WEFT_EXPR_FMOD, WEFT_I64, -7, 2, -1},
      {WEFT_EXPR_POW, WEFT_I64, -3, 3, -27},
      {WEFT_EXPR_POW, WEFT_I64, 7, 0, 1},
      {WEFT_EXPR_POW, WEFT_I64, 2, 62, (int64_t)1 << 62},
      {WEFT_EXPR_MIN, WEFT_I64, 2, -3, -3},
      {WEFT_EXPR_MAX, WEFT_I64, 2, -3, 2},
      {WEFT_EXPR_EQUAL, WEFT_I64, 2, 2, 1},
      {WEFT_EXPR_LESS, WEFT_I64, 2, 2, 0},
      {WEFT_EXPR_LESS_EQUAL, WEFT_I64, 2, 2, 1},
      {WEFT_EXPR_AND, WEFT_I64, 12, 10, 8},
      {WEFT_EXPR_OR, WEFT_I64, 12, 10, 14},
      {WEFT_EXPR_XOR, WEFT_BOOL, 1, 1, 0},
      {WEFT_EXPR_SHIFT_LEFT, WEFT_U8, 129, 1, 2},
      {WEFT_EXPR_SHIFT_LEFT, WEFT_I64, 1, 64, 0},
      {WEFT_EXPR_SHIFT_RIGHT, WEFT_I64, -8, 1, -4},
      {WEFT_EXPR_SHIFT_RIGHT, WEFT_I64, -8, 99, -1},
      {WEFT_EXPR_SHIFT_RIGHT, WEFT_U32, 8, 32, 0},
  };
  for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
    check_value(cases[i].op, cases[i].dtype, cases[i].a, cases[i].b, WEFT_OK, cases[i].expected);
  }
}

static void test_evaluate_fails(void) {
  static const struct {
    weft_expr_op op;
    weft_dtype dtype;
    int64_t a, b;
  } cases[] = {
      {WEFT_EXPR_DIV, WEFT_I64, 1, 0},
      {WEFT_EXPR_MOD, WEFT_I64, 1, 0},
      {WEFT_EXPR_FMOD, WEFT_I64, 1, 0},
      {WEFT_EXPR_DIV, WEFT_I64, INT64_MIN, -1},
      {WEFT_EXPR_ADD, WEFT_I64, INT64_MAX, 1},
      {WEFT_EXPR_SUB, WEFT_U8, 1, 2},
      {WEFT_EXPR_MUL, WEFT_I32, 1 << 16, 1 << 16},
      {WEFT_EXPR_MUL, WEFT_I64, INT64_MAX, 2},
      {WEFT_EXPR_POW, WEFT_I64, 2, -1},
      {WEFT_EXPR_POW, WEFT_I64, 2, 63},
      {WEFT_EXPR_POW, WEFT_I64, 10, INT64_MAX},
  };
  for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
    check_value(cases[i].op, cases[i].dtype, cases[i].a, cases[i].b, WEFT_INVALID_DATA, 0);
  }
  check_value(WEFT_EXPR_ADD, WEFT_F32, 1, 1, WEFT_UNSUPPORTED, 0);
}

static void test_evaluate_unary(void) {
  static const struct {
    weft_expr_op op;
    weft_dtype from, to;
    int64_t a, expected;
  } cases[] = {
      {WEFT_EXPR_ABS, WEFT_I64, WEFT_I64, -4, 4},     {WEFT_EXPR_NEG, WEFT_I64, WEFT_I64, -4, 4},
      {WEFT_EXPR_SIGN, WEFT_I64, WEFT_I64, -4, -1},   {WEFT_EXPR_RELU, WEFT_I64, WEFT_I64, -4, 0},
      {WEFT_EXPR_NOT, WEFT_BOOL, WEFT_BOOL, 1, 0},    {WEFT_EXPR_NOT, WEFT_U8, WEFT_U8, 1, 254},
      {WEFT_EXPR_NOT, WEFT_I8, WEFT_I8, 1, -2},       {WEFT_EXPR_CAST, WEFT_I64, WEFT_I8, 200, -56},
      {WEFT_EXPR_CAST, WEFT_I64, WEFT_U16, 65537, 1}, {WEFT_EXPR_CAST, WEFT_I64, WEFT_BOOL, 200, 1},
  };
  for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
    weft_instruction code = {.op = (uint8_t)cases[i].op, .dtype = (uint8_t)cases[i].to};
    weft_expr e = {.input_count = 1, .code_count = 1, .code = &code};
    e.input_dtypes[0] = (uint8_t)cases[i].from;
    weft_error error;
    int64_t out = 0;
    CHECK_OK(weft_expr_verify(&e, &error), &error);
    CHECK_OK(weft_expr_evaluate(&e, &cases[i].a, &out, &error), &error);
    CHECK_INT(out, cases[i].expected);
  }
}

static void test_evaluate_chain(void) {
  weft_expr e = {.input_count = 2, .input_dtypes = {WEFT_I64, WEFT_I64}};
  CODE(e, INTEGER(WEFT_I64, -1), I(EQUAL, WEFT_BOOL, 0, 2), I(SELECT, WEFT_I64, 3, 1, 0));
  weft_error error;
  int64_t out;
  CHECK_OK(weft_expr_verify(&e, &error), &error);
  CHECK_OK(weft_expr_evaluate(&e, (int64_t[]){-1, 7}, &out, &error), &error);
  CHECK_INT(out, 7);
  CHECK_OK(weft_expr_evaluate(&e, (int64_t[]){3, 7}, &out, &error), &error);
  CHECK_INT(out, 3);
  e.code_count = 0;
  CHECK_OK(weft_expr_evaluate(&e, (int64_t[]){3, 7}, &out, &error), &error);
  CHECK_INT(out, 3);
}

int main(void) {
  CHECK_RUN(test_print);
  CHECK_RUN(test_print_doubling);
  CHECK_RUN(test_names);
  CHECK_RUN(test_verify);
  CHECK_RUN(test_evaluate);
  CHECK_RUN(test_evaluate_fails);
  CHECK_RUN(test_evaluate_unary);
  CHECK_RUN(test_evaluate_chain);
  return check_result();
}
