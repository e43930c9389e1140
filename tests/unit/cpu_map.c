/* Tests of the op `map`: every instruction on the types it is for, casts, broadcasting by strides,
 * chains, failures. */
#include "tests/unit/cpu_step.h"

static weft_status run_map(bench *b, const weft_expr *expr, const weft_array *const *inputs,
                           const weft_array *output) {
  weft_attributes attributes = {.map.expr = *expr};
  return bench_run(b, WEFT_OP_MAP, &attributes, inputs, expr->input_count, output);
}

static weft_status run_one(bench *b, weft_expr_op op, weft_dtype dtype,
                           const weft_array *const *inputs, uint32_t count,
                           const weft_array *output) {
  weft_instruction code = {.op = (uint8_t)op, .dtype = (uint8_t)dtype, .operands = {0, 1, 2}};
  weft_expr expr = {.input_count = (uint8_t)count, .code_count = 1, .code = &code};
  for (uint32_t i = 0; i < count; i++) expr.input_dtypes[i] = (uint8_t)inputs[i]->dtype;
  return run_map(b, &expr, inputs, output);
}

/* ---- f32 instructions, against values from tables
 * ------------------------------------------------ */

#define N ((double)__builtin_nanf(""))
#define I ((double)__builtin_inff())

static const struct {
  weft_expr_op op;
  double a, b, expected;
} f32_cases[] = {
    {WEFT_EXPR_ADD, 1.5, 2, 3.5},
    {WEFT_EXPR_SUB, 1.5, 2, -0.5},
    {WEFT_EXPR_MUL, 1.5, 2, 3},
    {WEFT_EXPR_DIV, 1.5, 2, 0.75},
    {WEFT_EXPR_DIV, 1, 0, I},
    {WEFT_EXPR_MOD, 5.5, 2, 1.5},
    {WEFT_EXPR_MOD, -5.5, 2, 0.5},
    {WEFT_EXPR_MOD, 5.5, -2, -0.5},
    {WEFT_EXPR_MOD, 1, 0, N},
    {WEFT_EXPR_FMOD, -5.5, 2, -1.5},
    {WEFT_EXPR_FMOD, 5.5, -2, 1.5},
    {WEFT_EXPR_FMOD, 0x1.93e594p99, 7, 1}, /* 1000000015047466219876688855040 mod 7 */
    {WEFT_EXPR_FMOD, 3, I, 3},
    {WEFT_EXPR_FMOD, 71362 * 0x1p-149, 3 * 0x1p-149, 0x1p-149}, /* subnormal */
    {WEFT_EXPR_POW, 2, 10, 1024},
    {WEFT_EXPR_MIN, 1, 2, 1},
    {WEFT_EXPR_MIN, N, 2, N},
    {WEFT_EXPR_MAX, 1, 2, 2},
    {WEFT_EXPR_MAX, 1, N, N},
    {WEFT_EXPR_ABS, -2, 0, 2},
    {WEFT_EXPR_NEG, 2, 0, -2},
    {WEFT_EXPR_SIGN, -3, 0, -1},
    {WEFT_EXPR_RELU, -3, 0, 0},
    {WEFT_EXPR_RELU, 3, 0, 3},
    {WEFT_EXPR_SQRT, 9, 0, 3},
    {WEFT_EXPR_RSQRT, 4, 0, 0.5},
    {WEFT_EXPR_RECIPROCAL, 4, 0, 0.25},
    {WEFT_EXPR_FLOOR, -1.5, 0, -2},
    {WEFT_EXPR_CEIL, -1.5, 0, -1},
    {WEFT_EXPR_ROUND, 2.5, 0, 2},
    {WEFT_EXPR_TRUNC, -1.5, 0, -1},
    {WEFT_EXPR_EXP, 1, 0, 2.718281828},
    {WEFT_EXPR_LOG, 10, 0, 2.302585093},
    {WEFT_EXPR_ERF, 0.5, 0, 0.520499878},
    {WEFT_EXPR_TANH, 0.5, 0, 0.462117157},
    {WEFT_EXPR_SIGMOID, 1, 0, 0.731058579},
    {WEFT_EXPR_SILU, 1, 0, 0.731058579},
    {WEFT_EXPR_SOFTPLUS, 1, 0, 1.313261688},
    {WEFT_EXPR_GELU_ERF, 1, 0, 0.841344746},
    {WEFT_EXPR_GELU_TANH, 1, 0, 0.841191991},
    {WEFT_EXPR_SIN, 1, 0, 0.841470985},
    {WEFT_EXPR_COS, 1, 0, 0.540302306},
    {WEFT_EXPR_TAN, 1, 0, 1.557407725},
    {WEFT_EXPR_ASIN, 0.5, 0, 0.523598776},
    {WEFT_EXPR_ACOS, 0.5, 0, 1.047197551},
    {WEFT_EXPR_ATAN, 1, 0, 0.785398163},
    {WEFT_EXPR_SINH, 1, 0, 1.175201194},
    {WEFT_EXPR_COSH, 1, 0, 1.543080635},
    {WEFT_EXPR_ASINH, 1, 0, 0.881373587},
    {WEFT_EXPR_ACOSH, 2, 0, 1.316957897},
    {WEFT_EXPR_ATANH, 0.5, 0, 0.549306144},
};

static void test_f32(void) {
  bench b;
  bench_open(&b, NULL, 1);
  const int64_t dims[1] = {3};
  for (size_t i = 0; i < sizeof f32_cases / sizeof *f32_cases; i++) {
    weft_array *x = bench_array(&b, WEFT_F32, 1, dims, BENCH_DENSE);
    weft_array *y = bench_array(&b, WEFT_F32, 1, dims, BENCH_DENSE);
    weft_array *out = bench_array(&b, WEFT_F32, 1, dims, BENCH_DENSE);
    for (uint64_t k = 0; k < 3; k++) {
      bench_set_f32(&b, x, k, (float)f32_cases[i].a);
      bench_set_f32(&b, y, k, (float)f32_cases[i].b);
    }
    const weft_array *inputs[] = {x, y};
    uint32_t count = weft_expr_operand_count(f32_cases[i].op);
    CHECK_OK(run_one(&b, f32_cases[i].op, WEFT_F32, inputs, count, out), &b.error);
    double expected = f32_cases[i].expected;
    double tolerance = 1e-6 * (expected < 0 ? -expected : expected);
    if (!CHECK(bench_close_to(bench_f32(&b, out, 2), expected, tolerance)))
      check_print("  %s(%g, %g) = %g\n", weft_expr_op_name(f32_cases[i].op), f32_cases[i].a,
                  f32_cases[i].b, (double)bench_f32(&b, out, 2));
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Compare and classify: bool from f32. */
static void test_f32_to_bool(void) {
  static const struct {
    weft_expr_op op;
    double a, b;
    bool expected;
  } cases[] = {
      {WEFT_EXPR_EQUAL, 1, 1, true},      {WEFT_EXPR_EQUAL, N, N, false},
      {WEFT_EXPR_LESS, 1, 2, true},       {WEFT_EXPR_LESS, 2, 2, false},
      {WEFT_EXPR_LESS_EQUAL, 2, 2, true}, {WEFT_EXPR_LESS_EQUAL, N, 2, false},
      {WEFT_EXPR_IS_NAN, N, 0, true},     {WEFT_EXPR_IS_NAN, I, 0, false},
      {WEFT_EXPR_IS_INF, -I, 0, true},    {WEFT_EXPR_IS_INF, N, 0, false},
  };
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_array *x = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
    weft_array *y = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
    weft_array *out = bench_array(&b, WEFT_BOOL, 0, NULL, BENCH_DENSE);
    bench_set_f32(&b, x, 0, (float)cases[i].a);
    bench_set_f32(&b, y, 0, (float)cases[i].b);
    const weft_array *inputs[] = {x, y};
    CHECK_OK(run_one(&b, cases[i].op, WEFT_BOOL, inputs, weft_expr_operand_count(cases[i].op), out),
             &b.error);
    CHECK_INT(bench_int(&b, out, 0), cases[i].expected);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- integers, against 128-bit arithmetic
 * -------------------------------------------------------- */

static const weft_dtype integer_types[] = {WEFT_I8,  WEFT_U8,  WEFT_I16, WEFT_U16,
                                           WEFT_I32, WEFT_U32, WEFT_I64, WEFT_U64};
typedef __int128 wide;

static bool is_signed_type(weft_dtype dtype) {
  return dtype == WEFT_I8 || dtype == WEFT_I16 || dtype == WEFT_I32 || dtype == WEFT_I64;
}

/* Bits of a `dtype` element -> its value. */
static wide value_of(weft_dtype dtype, uint64_t bits) {
  unsigned shift = (unsigned)(64 - 8 * weft_dtype_size(dtype));
  return is_signed_type(dtype) ? (wide)((int64_t)(bits << shift) >> shift)
                               : (wide)(bits << shift >> shift);
}

static wide power(wide a, wide n, weft_dtype dtype) {
  if (n < 0) return a == 1 ? 1 : a == -1 ? (n & 1 ? -1 : 1) : 0;
  wide product = 1;
  for (; n > 0; n--) product = value_of(dtype, (uint64_t)product * (uint64_t)a);
  return product;
}

static wide integer_result(weft_expr_op op, wide a, wide b, weft_dtype dtype) {
  unsigned bits = (unsigned)(8 * weft_dtype_size(dtype));
  switch (op) {
  case WEFT_EXPR_ADD:
    return a + b;
  case WEFT_EXPR_SUB:
    return a - b;
  case WEFT_EXPR_MUL:
    return (wide)((unsigned __int128)a * (unsigned __int128)b);
  case WEFT_EXPR_DIV:
    return a / b;
  case WEFT_EXPR_MOD:
    return ((a % b) + b) % b;
  case WEFT_EXPR_FMOD:
    return a % b;
  case WEFT_EXPR_POW:
    return power(a, b, dtype);
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
    return ~a;
  case WEFT_EXPR_SHIFT_LEFT:
    return b < 0 || b >= bits ? 0 : (wide)((unsigned __int128)a << b);
  case WEFT_EXPR_SHIFT_RIGHT:
    return b < 0 || b >= 64 ? (a < 0 ? -1 : 0) : a >> b;
  case WEFT_EXPR_ABS:
    return a < 0 ? -a : a;
  case WEFT_EXPR_NEG:
    return -a;
  case WEFT_EXPR_SIGN:
    return (a > 0) - (a < 0);
  default:
    return a > 0 ? a : 0; /* RELU */
  }
}

static const weft_expr_op integer_ops[] = {
    WEFT_EXPR_ADD,        WEFT_EXPR_SUB,         WEFT_EXPR_MUL, WEFT_EXPR_DIV, WEFT_EXPR_MOD,
    WEFT_EXPR_FMOD,       WEFT_EXPR_POW,         WEFT_EXPR_MIN, WEFT_EXPR_MAX, WEFT_EXPR_EQUAL,
    WEFT_EXPR_LESS,       WEFT_EXPR_LESS_EQUAL,  WEFT_EXPR_AND, WEFT_EXPR_OR,  WEFT_EXPR_XOR,
    WEFT_EXPR_SHIFT_LEFT, WEFT_EXPR_SHIFT_RIGHT, WEFT_EXPR_NOT, WEFT_EXPR_ABS, WEFT_EXPR_NEG,
    WEFT_EXPR_SIGN,       WEFT_EXPR_RELU,
};

/* Small numbers, the ends of the range, and anything. */
static int64_t integer_operand(bench *b, weft_dtype dtype) {
  uint64_t top = 1ull << (8 * weft_dtype_size(dtype) - 1);
  switch (bench_below(b, 5)) {
  case 0:
    return (int64_t)(top - bench_below(b, 2));
  case 1:
    return -(int64_t)bench_below(b, 3);
  case 2:
    return (int64_t)check_random(&b->random);
  default:
    return (int64_t)bench_below(b, 12);
  }
}

static void integer_op(bench *b, weft_expr_op op, weft_dtype dtype) {
  const int64_t dims[1] = {700}; /* more than a tile */
  bool divides = op == WEFT_EXPR_DIV || op == WEFT_EXPR_MOD || op == WEFT_EXPR_FMOD;
  bool compares = op == WEFT_EXPR_EQUAL || op == WEFT_EXPR_LESS || op == WEFT_EXPR_LESS_EQUAL;
  weft_dtype out_type = compares ? WEFT_BOOL : dtype;
  weft_array *x = bench_array(b, dtype, 1, dims, BENCH_RANDOM);
  weft_array *y = bench_array(b, dtype, 1, dims, BENCH_RANDOM);
  weft_array *out = bench_array(b, out_type, 1, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < x->elements; i++) {
    int64_t second =
        op == WEFT_EXPR_POW || op == WEFT_EXPR_SHIFT_RIGHT || op == WEFT_EXPR_SHIFT_LEFT
            ? (int64_t)bench_below(b, 66)
            : integer_operand(b, dtype);
    bench_set_int(b, x, i, integer_operand(b, dtype));
    bench_set_int(b, y, i, second);
    if (divides && bench_int(b, y, i) == 0) bench_set_int(b, y, i, 3);
  }
  const weft_array *inputs[] = {x, y};
  if (!CHECK_OK(run_one(b, op, out_type, inputs, weft_expr_operand_count(op), out), &b->error))
    return;
  uint64_t wrong = 0, mask = UINT64_MAX >> (64 - 8 * weft_dtype_size(out_type));
  for (uint64_t i = 0; i < x->elements; i++) {
    wide p = value_of(dtype, (uint64_t)bench_int(b, x, i));
    wide q = value_of(dtype, (uint64_t)bench_int(b, y, i));
    uint64_t expected = (uint64_t)integer_result(op, p, q, dtype) & mask;
    wrong += ((uint64_t)bench_int(b, out, i) & mask) != expected;
  }
  if (!CHECK_INT(wrong, 0))
    check_print("  %s on %s\n", weft_expr_op_name(op), weft_dtype_name(dtype));
}

static void test_integers(void) {
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t t = 0; t < sizeof integer_types / sizeof *integer_types; t++)
    for (size_t i = 0; i < sizeof integer_ops / sizeof *integer_ops; i++) {
      integer_op(&b, integer_ops[i], integer_types[t]);
      bench_clear(&b);
    }
  bench_close(&b);
}

static void test_division_by_zero(void) {
  static const weft_expr_op ops[] = {WEFT_EXPR_DIV, WEFT_EXPR_MOD, WEFT_EXPR_FMOD};
  bench b;
  bench_open(&b, NULL, 3);
  const int64_t dims[1] = {100000}; /* several threads */
  for (size_t i = 0; i < 6; i++) {
    weft_dtype dtype = i < 3 ? WEFT_I32 : WEFT_U64;
    weft_array *x = bench_random(&b, dtype, 1, dims, BENCH_DENSE);
    weft_array *y = bench_array(&b, dtype, 1, dims, BENCH_DENSE);
    weft_array *out = bench_array(&b, dtype, 1, dims, BENCH_DENSE);
    for (uint64_t k = 0; k < y->elements; k++) bench_set_int(&b, y, k, k != 77777);
    const weft_array *inputs[] = {x, y};
    CHECK_INT(run_one(&b, ops[i % 3], dtype, inputs, 2, out), WEFT_INVALID_DATA);
    CHECK_TEXT(b.error.message, "node 'tested' (map): integer division by zero");
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- bool
 * ---------------------------------------------------------------------------------------- */

static void test_bool(void) {
  static const weft_expr_op ops[] = {WEFT_EXPR_AND, WEFT_EXPR_OR, WEFT_EXPR_XOR, WEFT_EXPR_EQUAL,
                                     WEFT_EXPR_NOT};
  static const uint8_t expected[5][4] = {
      {0, 0, 0, 1}, {0, 1, 1, 1}, {0, 1, 1, 0}, {1, 0, 0, 1}, {1, 1, 0, 0}};
  bench b;
  bench_open(&b, NULL, 1);
  const int64_t dims[1] = {4};
  weft_array *x = bench_array(&b, WEFT_BOOL, 1, dims, BENCH_DENSE);
  weft_array *y = bench_array(&b, WEFT_BOOL, 1, dims, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_BOOL, 1, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < 4; i++) {
    bench_set_int(&b, x, i, i >> 1);
    bench_set_int(&b, y, i, i & 1);
  }
  const weft_array *inputs[] = {x, y};
  for (size_t i = 0; i < 5; i++) {
    CHECK_OK(run_one(&b, ops[i], WEFT_BOOL, inputs, weft_expr_operand_count(ops[i]), out),
             &b.error);
    CHECK(memcmp(b.bases[out->slot], expected[i], 4) == 0);
  }
  bench_close(&b);
}

/* Every type can be selected from; its bits come through. */
static void test_select(void) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F64,  WEFT_I8, WEFT_U16,
                                     WEFT_I64, WEFT_BOOL, WEFT_F16};
  bench b;
  bench_open(&b, NULL, 1);
  const int64_t dims[2] = {9, 70};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    weft_array *c = bench_random(&b, WEFT_BOOL, 2, dims, BENCH_RANDOM);
    weft_array *x = bench_random(&b, types[t], 2, dims, BENCH_RANDOM);
    weft_array *y = bench_random(&b, types[t], 2, dims, BENCH_RANDOM);
    weft_array *out = bench_array(&b, types[t], 2, dims, BENCH_DENSE);
    if (types[t] == WEFT_F64 || types[t] == WEFT_F16) /* numbers, so that NaN bits play no part */
      for (uint64_t i = 0; i < x->elements; i++) {
        bench_set_int(&b, x, i, 0x3c00);
        bench_set_int(&b, y, i, 0x4000);
      }
    const weft_array *inputs[] = {c, x, y};
    CHECK_OK(run_one(&b, WEFT_EXPR_SELECT, types[t], inputs, 3, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < out->elements; i++)
      wrong += memcmp(bench_at(&b, out, i), bench_at(&b, bench_int(&b, c, i) ? x : y, i),
                      weft_dtype_size(types[t])) != 0;
    if (!CHECK_INT(wrong, 0)) check_print("  %s\n", weft_dtype_name(types[t]));
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- f64 and half
 * -------------------------------------------------------------------------------- */

static void test_f64(void) {
  static const struct {
    weft_expr_op op;
    double a, b, expected;
  } cases[] = {
      {WEFT_EXPR_ADD, 1, 1e-15, 1 + 1e-15},
      {WEFT_EXPR_SUB, 1, 1e-15, 1 - 1e-15},
      {WEFT_EXPR_MUL, 3, 1.1, 3 * 1.1},
      {WEFT_EXPR_DIV, 1, 3, 1.0 / 3},
      {WEFT_EXPR_MOD, -7.25, 2, 0.75},
      {WEFT_EXPR_FMOD, -7.25, 2, -1.25},
      {WEFT_EXPR_MIN, 1, 2, 1},
      {WEFT_EXPR_MAX, 1, 2, 2},
      {WEFT_EXPR_ABS, -1.1, 0, 1.1},
      {WEFT_EXPR_NEG, 1.1, 0, -1.1},
      {WEFT_EXPR_SIGN, -1.1, 0, -1},
      {WEFT_EXPR_RELU, -1.1, 0, 0},
      {WEFT_EXPR_SQRT, 2, 0, 1.4142135623730951},
      {WEFT_EXPR_RSQRT, 4, 0, 0.5},
      {WEFT_EXPR_RECIPROCAL, 3, 0, 1.0 / 3},
      {WEFT_EXPR_FLOOR, -1.5, 0, -2},
      {WEFT_EXPR_CEIL, -1.5, 0, -1},
      {WEFT_EXPR_ROUND, 3.5, 0, 4},
      {WEFT_EXPR_ROUND, -0.5, 0, 0},
      {WEFT_EXPR_TRUNC, -1.5, 0, -1},
      {WEFT_EXPR_FLOOR, 4503599627370497.0, 0, 4503599627370497.0},
  };
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_array *x = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
    weft_array *y = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
    weft_array *out = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
    memcpy(b.bases[x->slot], &cases[i].a, 8);
    memcpy(b.bases[y->slot], &cases[i].b, 8);
    const weft_array *inputs[] = {x, y};
    CHECK_OK(run_one(&b, cases[i].op, WEFT_F64, inputs, weft_expr_operand_count(cases[i].op), out),
             &b.error);
    double got;
    memcpy(&got, b.bases[out->slot], 8);
    if (!CHECK(got == cases[i].expected))
      check_print("  %s gives %.9g\n", weft_expr_op_name(cases[i].op), got);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_unsupported(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
  const weft_array *inputs[] = {x};
  CHECK_INT(run_one(&b, WEFT_EXPR_ERF, WEFT_F64, inputs, 1, out), WEFT_UNSUPPORTED);
  CHECK_TEXT(b.error.message, "node 'tested' (map): erf on f64 is not supported");
  bench_close(&b);
}

/* f16 and bf16 are computed as f32 and rounded when stored. */
static void test_half(void) {
  static const struct {
    weft_dtype dtype;
    int64_t a, b, sum;
  } cases[] = {
      {WEFT_F16, 0x3c00, 0x4000, 0x4200},  /* 1 + 2 */
      {WEFT_F16, 0x6800, 0x3c00, 0x6800},  /* 2048 + 1: a tie, to even */
      {WEFT_F16, 0x7bff, 0x7bff, 0x7c00},  /* overflow */
      {WEFT_BF16, 0x3f80, 0x4000, 0x4040}, /* 1 + 2 */
      {WEFT_BF16, 0x4380, 0x3f80, 0x4380}, /* 256 + 1: a tie, to even */
      {WEFT_BF16, 0x7f80, 0xff80, 0x7fc0}, /* inf - inf */
  };
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weft_array *x = bench_array(&b, cases[i].dtype, 0, NULL, BENCH_DENSE);
    weft_array *y = bench_array(&b, cases[i].dtype, 0, NULL, BENCH_DENSE);
    weft_array *out = bench_array(&b, cases[i].dtype, 0, NULL, BENCH_DENSE);
    bench_set_int(&b, x, 0, cases[i].a);
    bench_set_int(&b, y, 0, cases[i].b);
    const weft_array *inputs[] = {x, y};
    CHECK_OK(run_one(&b, WEFT_EXPR_ADD, cases[i].dtype, inputs, 2, out), &b.error);
    int64_t got = bench_int(&b, out, 0);
    CHECK_INT(cases[i].sum == 0x7fc0 ? got & 0x7fff : got, cases[i].sum);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- casts
 * --------------------------------------------------------------------------------------- */

static void cast(bench *b, const weft_array *from, const weft_array *to) {
  const weft_array *inputs[] = {from};
  CHECK_OK(run_one(b, WEFT_EXPR_CAST, to->dtype, inputs, 1, to), &b->error);
}

/* Integers of every type to every other: the low bits. */
static void test_cast_integers(void) {
  bench b;
  bench_open(&b, NULL, 1);
  const int64_t dims[1] = {600};
  for (size_t i = 0; i < 8; i++)
    for (size_t k = 0; k < 8; k++) {
      weft_array *x = bench_array(&b, integer_types[i], 1, dims, BENCH_DENSE);
      weft_array *out = bench_array(&b, integer_types[k], 1, dims, BENCH_DENSE);
      for (uint64_t e = 0; e < x->elements; e++)
        bench_set_int(&b, x, e, integer_operand(&b, integer_types[i]));
      cast(&b, x, out);
      uint64_t wrong = 0, mask = UINT64_MAX >> (64 - 8 * weft_dtype_size(out->dtype));
      for (uint64_t e = 0; e < x->elements; e++)
        wrong += (((uint64_t)bench_int(&b, x, e) ^ (uint64_t)bench_int(&b, out, e)) & mask) != 0;
      if (!CHECK_INT(wrong, 0))
        check_print("  %s to %s\n", weft_dtype_name(x->dtype), weft_dtype_name(out->dtype));
      bench_clear(&b);
    }
  bench_close(&b);
}

static void test_cast_from_floats(void) {
  static const struct {
    double from;
    weft_dtype to;
    int64_t expected;
  } cases[] = {
      {1.9, WEFT_I32, 1},          {-1.9, WEFT_I32, -1},    {3e9, WEFT_I32, INT32_MAX},
      {-3e9, WEFT_I32, INT32_MIN}, {N, WEFT_I32, 0},        {I, WEFT_I64, INT64_MAX},
      {-I, WEFT_I64, INT64_MIN},   {N, WEFT_I64, 0},        {-1, WEFT_U8, 0},
      {300, WEFT_U8, 255},         {200.5, WEFT_U8, 200},   {-200, WEFT_I8, -128},
      {1e20, WEFT_U64, -1},        {-1, WEFT_U64, 0},       {5e9, WEFT_U32, 4294967295},
      {0, WEFT_BOOL, 0},           {-0.25, WEFT_BOOL, 1},   {N, WEFT_BOOL, 1},
      {1, WEFT_F16, 0x3c00},       {1e6, WEFT_F16, 0x7c00}, {1, WEFT_BF16, 0x3f80},
  };
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
    bool doubles = i % 2 == 1;
    weft_array *x = bench_array(&b, doubles ? WEFT_F64 : WEFT_F32, 0, NULL, BENCH_DENSE);
    weft_array *out = bench_array(&b, cases[i / 2].to, 0, NULL, BENCH_DENSE);
    float single = (float)cases[i / 2].from;
    if (doubles)
      memcpy(b.bases[x->slot], &cases[i / 2].from, 8);
    else
      memcpy(b.bases[x->slot], &single, 4);
    cast(&b, x, out);
    if (!CHECK_INT(bench_int(&b, out, 0), cases[i / 2].expected))
      check_print("  %g to %s\n", cases[i / 2].from, weft_dtype_name(cases[i / 2].to));
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_cast_to_floats(void) {
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t i = 0; i < 9; i++) {
    weft_dtype dtype = i < 8 ? integer_types[i] : WEFT_BOOL;
    for (int64_t v = i < 8 && is_signed_type(dtype) ? -1 : 1; v >= -1; v -= 4) {
      weft_array *x = bench_array(&b, dtype, 0, NULL, BENCH_DENSE);
      weft_array *f = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
      weft_array *d = bench_array(&b, WEFT_F64, 0, NULL, BENCH_DENSE);
      bench_set_int(&b, x, 0, v);
      cast(&b, x, f);
      cast(&b, x, d);
      double got;
      memcpy(&got, b.bases[d->slot], 8);
      CHECK(bench_f32(&b, f, 0) == (float)v);
      CHECK(got == (double)v);
      bench_clear(&b);
    }
  }
  bench_close(&b);
}

/* A cast to half and back in one chain rounds, though both are held as f32. */
static void test_cast_rounds_on_the_way(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_F32, 0, NULL, BENCH_DENSE);
  bench_set_f32(&b, x, 0, 1.0001f);
  weft_instruction code[] = {{.op = WEFT_EXPR_CAST, .dtype = WEFT_F16, .operands = {0}},
                             {.op = WEFT_EXPR_CAST, .dtype = WEFT_F32, .operands = {1}}};
  weft_expr expr = {.input_count = 1, .code_count = 2, .input_dtypes = {WEFT_F32}, .code = code};
  const weft_array *inputs[] = {x};
  CHECK_OK(run_map(&b, &expr, inputs, out), &b.error);
  CHECK(bench_f32(&b, out, 0) == 1.0f);
  bench_close(&b);
}

/* ---- shapes
 * -------------------------------------------------------------------------------------- */

/* (x0 + x1) * 0.5 - x2 where x0 < x1, else x2; inputs broadcast and strided at random. */
static void test_chains(void) {
  bench b;
  bench_open(&b, NULL, 3);
  weft_instruction code[] = {
      {.op = WEFT_EXPR_ADD, .dtype = WEFT_F32, .operands = {0, 1}},
      {.op = WEFT_EXPR_CONSTANT, .dtype = WEFT_F32, .immediate.f = 0.5},
      {.op = WEFT_EXPR_MUL, .dtype = WEFT_F32, .operands = {3, 4}},
      {.op = WEFT_EXPR_LESS, .dtype = WEFT_BOOL, .operands = {0, 1}},
      {.op = WEFT_EXPR_SUB, .dtype = WEFT_F32, .operands = {5, 2}},
      {.op = WEFT_EXPR_SELECT, .dtype = WEFT_F32, .operands = {6, 7, 2}},
  };
  weft_expr expr = {.input_count = 3,
                    .code_count = 6,
                    .input_dtypes = {WEFT_F32, WEFT_F32, WEFT_F32},
                    .code = code};
  for (int round = 0; round < 500; round++) {
    int64_t dims[5];
    int32_t rank = (int32_t)bench_below(&b, 6);
    bool large = round % 50 == 0 && rank > 0;
    for (int32_t i = 0; i < rank; i++) dims[i] = (int64_t)bench_below(&b, 20) / 3;
    if (rank > 0) dims[rank - 1] = 1 + (int64_t)bench_below(&b, large ? 3000 : 200);
    if (large) dims[0] = 40;
    const weft_array *inputs[3];
    uint64_t places[3][5];
    for (int k = 0; k < 3; k++) {
      int64_t own[5];
      int32_t skip = (int32_t)bench_below(&b, (uint64_t)rank + 1),
              missing = bench_below(&b, 2) ? 0 : skip;
      for (int32_t i = missing; i < rank; i++) {
        own[i - missing] = bench_below(&b, 3) == 0 ? 1 : dims[i];
        places[k][i] = own[i - missing] == 1 ? 0 : 1;
      }
      for (int32_t i = 0; i < missing; i++) places[k][i] = 0;
      inputs[k] =
          bench_random(&b, WEFT_F32, rank - missing, own, (bench_strides)bench_below(&b, 3));
    }
    weft_array *out = bench_array(&b, WEFT_F32, rank, dims, BENCH_DENSE);
    CHECK_OK(run_map(&b, &expr, inputs, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t e = 0; e < out->elements; e++) {
      float v[3];
      for (int k = 0; k < 3; k++) {
        uint64_t rest = e, linear = 0, step = 1;
        for (int32_t i = rank - 1; i >= 0; i--) {
          uint64_t at = rest % (uint64_t)dims[i];
          rest /= (uint64_t)dims[i];
          if (places[k][i]) linear += at * step, step *= (uint64_t)dims[i];
        }
        v[k] = bench_f32(&b, inputs[k], linear);
      }
      float expected = v[0] < v[1] ? (v[0] + v[1]) * 0.5f - v[2] : v[2];
      wrong += bench_f32(&b, out, e) != expected;
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Without instructions a map copies and broadcasts. */
static void test_identity(void) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_I8, WEFT_F16, WEFT_I64, WEFT_BOOL};
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    weft_array *x = bench_random(&b, types[t], 2, (int64_t[]){3, 1}, BENCH_RANDOM);
    if (types[t] == WEFT_F16)
      for (uint64_t i = 0; i < 3; i++) bench_set_int(&b, x, i, 0x3c00 + (int64_t)i);
    weft_array *out = bench_array(&b, types[t], 3, (int64_t[]){2, 3, 600}, BENCH_DENSE);
    weft_expr expr = {.input_count = 1, .input_dtypes = {(uint8_t)types[t]}};
    const weft_array *inputs[] = {x};
    CHECK_OK(run_map(&b, &expr, inputs, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < out->elements; i++)
      wrong += bench_int(&b, out, i) != bench_int(&b, x, i / 600 % 3);
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* The output may lie on an input of the same layout: the planner reuses memory so. */
static void test_in_place(void) {
  bench b;
  bench_open(&b, NULL, 1);
  const int64_t dims[2] = {5, 600};
  weft_array *x = bench_random(&b, WEFT_F32, 2, dims, BENCH_DENSE);
  weft_array *y = bench_random(&b, WEFT_F32, 2, (int64_t[]){5, 1}, BENCH_DENSE);
  float *before = malloc(5 * 600 * sizeof *before);
  memcpy(before, b.bases[x->slot], 5 * 600 * sizeof *before);
  const weft_array *inputs[] = {x, y};
  CHECK_OK(run_one(&b, WEFT_EXPR_SUB, WEFT_F32, inputs, 2, x), &b.error);
  uint64_t wrong = 0;
  for (uint64_t i = 0; i < 3000; i++)
    wrong += bench_f32(&b, x, i) != before[i] - bench_f32(&b, y, i / 600);
  CHECK_INT(wrong, 0);
  free(before);
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_f32);
  CHECK_RUN(test_f32_to_bool);
  CHECK_RUN(test_integers);
  CHECK_RUN(test_division_by_zero);
  CHECK_RUN(test_bool);
  CHECK_RUN(test_select);
  CHECK_RUN(test_f64);
  CHECK_RUN(test_unsupported);
  CHECK_RUN(test_half);
  CHECK_RUN(test_cast_integers);
  CHECK_RUN(test_cast_from_floats);
  CHECK_RUN(test_cast_to_floats);
  CHECK_RUN(test_cast_rounds_on_the_way);
  CHECK_RUN(test_chains);
  CHECK_RUN(test_identity);
  CHECK_RUN(test_in_place);
  return check_result();
}
