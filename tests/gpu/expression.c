/* Every instruction of elementwise expressions, as WGSL, against the CPU's reference kernels; and
 * what expressions the GPU has no code for. */
#include "gpu/internal.h"
#include "tests/gpu/gpu_step.h"

#define NONE     ((double)__builtin_nanf(""))
#define INFINITE ((double)__builtin_inff())

static const double specials[] = {
    0.0,  -0.0,     1.0,       -1.0,      0.5,   -0.5,   2.0,        -2.0,  3.0,  -3.0,  1.5,
    -1.5, 2.5,      -2.5,      3.5,       1e-30, 1e30,   -1e30,      88.0,  89.0, -88.0, -104.0,
    20.0, -20.0,    1e-5,      16777216,  100.0, -100.0, 2147483648, -3e9,  5e9,  255.5, -7.25,
    NONE, INFINITE, -INFINITE, 0.9999999, 4.2,   1.0001, 1e-3,       65535, 70000};
enum { SPECIALS = sizeof specials / sizeof *specials };

static void run_one(gpu_bench *g, weft_expr_op op, weft_dtype dtype,
                    const weft_array *const *inputs, const weft_array *output,
                    gpu_tolerance tolerance) {
  weft_instruction code = {.op = (uint8_t)op, .dtype = (uint8_t)dtype, .operands = {0, 1, 2}};
  weft_expr expr = {
      .input_count = (uint8_t)weft_expr_operand_count(op), .code_count = 1, .code = &code};
  for (uint32_t i = 0; i < expr.input_count; i++) expr.input_dtypes[i] = (uint8_t)inputs[i]->dtype;
  weft_attributes attributes = {.map.expr = expr};
  unsigned before = check_failures;
  gpu_check(g, WEFT_OP_MAP, &attributes, inputs, expr.input_count, output, tolerance);
  if (check_failures > before)
    check_print("  %s on %s\n", weft_expr_op_name(op),
                weft_dtype_name(inputs[expr.input_count - 1]->dtype));
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* Relative and absolute, in units of 2^-23, beside what is exact. Divisions and square roots may be
 * 2.5 units off in WGSL, exp 3 + 2 |x|. */
static const struct {
  weft_expr_op op;
  double low, high; /* where values are drawn from, besides the special ones */
  double relative, absolute;
} floats[] = {
    {WEFT_EXPR_ABS, -9, 9, 0, 0},        {WEFT_EXPR_NEG, -9, 9, 0, 0},
    {WEFT_EXPR_SIGN, -9, 9, 0, 0},       {WEFT_EXPR_RELU, -9, 9, 0, 0},
    {WEFT_EXPR_SQRT, 0, 99, 3, 0},       {WEFT_EXPR_RSQRT, 0, 99, 3, 0},
    {WEFT_EXPR_RECIPROCAL, -9, 9, 3, 0}, {WEFT_EXPR_FLOOR, -9, 9, 0, 0},
    {WEFT_EXPR_CEIL, -9, 9, 0, 0},       {WEFT_EXPR_ROUND, -9, 9, 0, 0},
    {WEFT_EXPR_TRUNC, -9, 9, 0, 0},      {WEFT_EXPR_EXP, -20, 20, 64, 0},
    {WEFT_EXPR_LOG, 0, 99, 4, 1},        {WEFT_EXPR_ERF, -5, 5, 6, 0},
    {WEFT_EXPR_TANH, -12, 12, 6, 0},     {WEFT_EXPR_SIGMOID, -20, 20, 64, 0},
    {WEFT_EXPR_SILU, -20, 20, 64, 0},    {WEFT_EXPR_SOFTPLUS, -20, 20, 64, 1e-3},
    {WEFT_EXPR_GELU_ERF, -8, 8, 8, 8},   {WEFT_EXPR_GELU_TANH, -8, 8, 64, 4},
    {WEFT_EXPR_SIN, -1e4, 1e4, 4, 4},    {WEFT_EXPR_COS, -1e4, 1e4, 4, 4},
    {WEFT_EXPR_TAN, -1.5, 1.5, 8, 4},    {WEFT_EXPR_ASIN, -1, 1, 8, 1},
    {WEFT_EXPR_ACOS, -1, 1, 8, 4},       {WEFT_EXPR_ATAN, -9, 9, 8, 0},
    {WEFT_EXPR_SINH, -20, 20, 64, 0},    {WEFT_EXPR_COSH, -20, 20, 64, 0},
    {WEFT_EXPR_ASINH, -99, 99, 8, 0},    {WEFT_EXPR_ACOSH, 1, 99, 8, 2},
    {WEFT_EXPR_ATANH, -1, 1, 8, 0},
};

/* Where a function has its own say beyond the numbers above. */
static bool leaves_out(weft_expr_op op, double x) {
  double size = x < 0 ? -x : x;
  bool turns = op == WEFT_EXPR_SIN || op == WEFT_EXPR_COS || op == WEFT_EXPR_TAN;
  if (turns && size > 1e5 && size < INFINITE) return true; /* docs: up to 10^5 */
  if (op == WEFT_EXPR_SILU && (x < -87 || size == INFINITE)) return true;
  if (op == WEFT_EXPR_GELU_TANH && x < -9) return true;
  if (op == WEFT_EXPR_GELU_ERF && (x < -5 || size == INFINITE)) return true;
  /* Results below the normal numbers, which a GPU may make 0. */
  if ((op == WEFT_EXPR_EXP || op == WEFT_EXPR_SIGMOID || op == WEFT_EXPR_SOFTPLUS) && x < -87)
    return true;
  return (op == WEFT_EXPR_SINH || op == WEFT_EXPR_COSH || op == WEFT_EXPR_EXP) && size > 88 &&
         size < 90;
}

static void test_floats(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[1] = {1003};
  for (size_t k = 0; k < sizeof floats / sizeof *floats; k++) {
    weft_array *x = bench_array(b, WEFT_F32, 1, dims, BENCH_DENSE);
    weft_array *y = bench_array(b, WEFT_F32, 1, dims, BENCH_DENSE);
    for (uint64_t i = 0; i < x->elements; i++) {
      double at = (double)bench_below(b, 1 << 24) * 0x1p-24;
      double v = floats[k].low + at * (floats[k].high - floats[k].low);
      if (i < SPECIALS && !leaves_out(floats[k].op, specials[i])) v = specials[i];
      bench_set_f32(b, x, i, (float)v);
    }
    const weft_array *inputs[] = {x};
    run_one(g, floats[k].op, WEFT_F32, inputs, y,
            (gpu_tolerance){floats[k].absolute * 0x1p-23, floats[k].relative * 0x1p-23});
    bench_clear(b);
  }
}

static void test_classes(gpu_bench *g) {
  bench *b = &g->cpu;
  static const weft_expr_op ops[] = {WEFT_EXPR_IS_NAN, WEFT_EXPR_IS_INF};
  const int64_t dims[1] = {SPECIALS};
  for (size_t k = 0; k < 2; k++) {
    weft_array *x = bench_array(b, WEFT_F32, 1, dims, BENCH_DENSE);
    weft_array *y = bench_array(b, WEFT_BOOL, 1, dims, BENCH_DENSE);
    for (uint64_t i = 0; i < SPECIALS; i++) bench_set_f32(b, x, i, (float)specials[i]);
    const weft_array *inputs[] = {x};
    run_one(g, ops[k], WEFT_BOOL, inputs, y, (gpu_tolerance){0, 0});
    bench_clear(b);
  }
}

/* All pairs of special values. */
static void test_pairs(gpu_bench *g) {
  static const struct {
    weft_expr_op op;
    double units;
  } ops[] = {{WEFT_EXPR_ADD, 0},   {WEFT_EXPR_SUB, 0},  {WEFT_EXPR_MUL, 0},
             {WEFT_EXPR_DIV, 3},   {WEFT_EXPR_MIN, 0},  {WEFT_EXPR_MAX, 0},
             {WEFT_EXPR_MOD, 0},   {WEFT_EXPR_FMOD, 0}, {WEFT_EXPR_POW, 2000},
             {WEFT_EXPR_EQUAL, 0}, {WEFT_EXPR_LESS, 0}, {WEFT_EXPR_LESS_EQUAL, 0}};
  bench *b = &g->cpu;
  for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
    const int64_t rows[2] = {SPECIALS, 1}, columns[1] = {SPECIALS}, dims[2] = {SPECIALS, SPECIALS};
    weft_dtype dtype =
        ops[k].op >= WEFT_EXPR_EQUAL && ops[k].op <= WEFT_EXPR_LESS_EQUAL ? WEFT_BOOL : WEFT_F32;
    weft_array *x = bench_array(b, WEFT_F32, 2, rows, BENCH_DENSE);
    weft_array *y = bench_array(b, WEFT_F32, 1, columns, BENCH_DENSE);
    weft_array *z = bench_array(b, dtype, 2, dims, BENCH_DENSE);
    for (uint64_t i = 0; i < SPECIALS; i++) {
      bench_set_f32(b, x, i, (float)specials[i]);
      bench_set_f32(b, y, i, (float)specials[i]);
    }
    const weft_array *inputs[] = {x, y};
    run_one(g, ops[k].op, dtype, inputs, z, (gpu_tolerance){1e-37, ops[k].units * 0x1p-23});
    bench_clear(b);
  }
}

/* ---- integers and bools ---------------------------------------------------------------------- */

static void fill_integers(bench *b, const weft_array *x, weft_expr_op op, bool second) {
  bool shifts = op == WEFT_EXPR_SHIFT_LEFT || op == WEFT_EXPR_SHIFT_RIGHT || op == WEFT_EXPR_POW;
  bool divides = op == WEFT_EXPR_DIV || op == WEFT_EXPR_MOD || op == WEFT_EXPR_FMOD;
  for (uint64_t i = 0; i < x->elements; i++) {
    int64_t v =
        bench_below(b, 2) ? (int64_t)check_random(&b->random) : (int64_t)bench_below(b, 40) - 20;
    if (second && shifts) v = (int64_t)bench_below(b, 40);
    if (second && divides && v == 0) v = 7;
    bench_set_int(b, x, i, v);
    if (second && divides && bench_int(b, x, i) == 0) bench_set_int(b, x, i, 7);
  }
}

static void test_integers(gpu_bench *g) {
  static const weft_expr_op ops[] = {
      WEFT_EXPR_ADD,  WEFT_EXPR_SUB,        WEFT_EXPR_MUL,         WEFT_EXPR_DIV, WEFT_EXPR_MOD,
      WEFT_EXPR_FMOD, WEFT_EXPR_POW,        WEFT_EXPR_MIN,         WEFT_EXPR_MAX, WEFT_EXPR_EQUAL,
      WEFT_EXPR_LESS, WEFT_EXPR_LESS_EQUAL, WEFT_EXPR_AND,         WEFT_EXPR_OR,  WEFT_EXPR_XOR,
      WEFT_EXPR_NOT,  WEFT_EXPR_SHIFT_LEFT, WEFT_EXPR_SHIFT_RIGHT, WEFT_EXPR_ABS, WEFT_EXPR_NEG,
      WEFT_EXPR_SIGN, WEFT_EXPR_RELU};
  static const weft_dtype types[] = {WEFT_I32, WEFT_U32};
  bench *b = &g->cpu;
  const int64_t dims[1] = {501};
  for (size_t k = 0; k < 2 * sizeof ops / sizeof *ops; k++) {
    weft_expr_op op = ops[k / 2];
    bool compares = op == WEFT_EXPR_EQUAL || op == WEFT_EXPR_LESS || op == WEFT_EXPR_LESS_EQUAL;
    weft_dtype dtype = types[k % 2], to = compares ? WEFT_BOOL : dtype;
    weft_array *x = bench_array(b, dtype, 1, dims, BENCH_DENSE);
    weft_array *y = bench_array(b, dtype, 1, dims, BENCH_DENSE);
    weft_array *z = bench_array(b, to, 1, dims, BENCH_DENSE);
    fill_integers(b, x, op, false);
    fill_integers(b, y, op, true);
    const weft_array *inputs[] = {x, y};
    run_one(g, op, to, inputs, z, (gpu_tolerance){0, 0});
    bench_clear(b);
  }
}

static void test_bools(gpu_bench *g) {
  static const weft_expr_op ops[] = {WEFT_EXPR_AND, WEFT_EXPR_OR, WEFT_EXPR_XOR, WEFT_EXPR_EQUAL,
                                     WEFT_EXPR_NOT};
  bench *b = &g->cpu;
  const int64_t dims[2] = {7, 9};
  for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
    const weft_array *inputs[] = {bench_random(b, WEFT_BOOL, 2, dims, BENCH_RANDOM),
                                  bench_random(b, WEFT_BOOL, 2, dims, BENCH_DENSE)};
    run_one(g, ops[k], WEFT_BOOL, inputs, bench_array(b, WEFT_BOOL, 2, dims, BENCH_DENSE),
            (gpu_tolerance){0, 0});
    bench_clear(b);
  }
}

static void test_select(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F16, WEFT_I32, WEFT_U32,
                                     WEFT_U8,  WEFT_I8,  WEFT_BOOL};
  bench *b = &g->cpu;
  const int64_t dims[2] = {5, 18};
  for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
    const weft_array *inputs[] = {bench_random(b, WEFT_BOOL, 2, dims, BENCH_RANDOM),
                                  bench_random(b, types[k], 2, dims, BENCH_RANDOM),
                                  bench_random(b, types[k], 2, dims, BENCH_DENSE)};
    run_one(g, WEFT_EXPR_SELECT, types[k], inputs, bench_array(b, types[k], 2, dims, BENCH_DENSE),
            (gpu_tolerance){0, 0});
    bench_clear(b);
  }
}

/* ---- casts ----------------------------------------------------------------------------------- */

static void test_casts(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F16, WEFT_I32,  WEFT_U32,
                                     WEFT_I8,  WEFT_U8,  WEFT_BOOL, WEFT_I64};
  enum { TYPES = sizeof types / sizeof *types };
  bench *b = &g->cpu;
  const int64_t dims[1] = {SPECIALS};
  for (size_t k = 0; k < TYPES * TYPES; k++) {
    weft_dtype from = types[k / TYPES], to = types[k % TYPES];
    bool keeps_low = to == WEFT_I32 || to == WEFT_U32 || to == WEFT_I8 || to == WEFT_U8;
    if (to == WEFT_I64 || (from == WEFT_I64 && !keeps_low)) continue;
    weft_array *x = bench_random(b, from, 1, dims, BENCH_DENSE);
    if (from == WEFT_I32 || from == WEFT_U32 || from == WEFT_I64)
      fill_integers(b, x, WEFT_EXPR_CAST, false);
    for (uint64_t i = 0; i < SPECIALS && from == WEFT_F32; i++)
      bench_set_f32(b, x, i, (float)specials[i]);
    /* f32 of large integers is rounded, which WGSL lets be to either side. */
    double units = to == WEFT_F32 || to == WEFT_F16 ? 1 : 0;
    if (to == WEFT_F16 && (from == WEFT_I32 || from == WEFT_U32))
      for (uint64_t i = 0; i < SPECIALS; i++)
        bench_set_int(b, x, i, (int64_t)bench_below(b, 60000));
    const weft_array *inputs[] = {x};
    run_one(g, WEFT_EXPR_CAST, to, inputs, bench_array(b, to, 1, dims, BENCH_DENSE),
            (gpu_tolerance){0, units * 0x1p-23});
    bench_clear(b);
  }
}

/* ---- chains and refusals --------------------------------------------------------------------- */

static void test_constants(gpu_bench *g) {
  static const double values[] = {0.1,      -0.0,     1e-38,     3.4028234e38,
                                  16777217, INFINITE, -INFINITE, NONE};
  bench *b = &g->cpu;
  const int64_t dims[1] = {6};
  for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
    weft_instruction code[] = {
        {.op = WEFT_EXPR_CONSTANT, .dtype = WEFT_F32, .immediate.f = values[k]},
        {.op = WEFT_EXPR_CONSTANT, .dtype = WEFT_BOOL, .immediate.i = 1},
        {.op = WEFT_EXPR_SELECT, .dtype = WEFT_F32, .operands = {2, 1, 0}},
        {.op = WEFT_EXPR_CONSTANT, .dtype = WEFT_I32, .immediate.i = INT32_MIN},
        {.op = WEFT_EXPR_CAST, .dtype = WEFT_F32, .operands = {4}},
        {.op = WEFT_EXPR_MIN, .dtype = WEFT_F32, .operands = {3, 5}},
        {.op = WEFT_EXPR_MAX, .dtype = WEFT_F32, .operands = {3, 6}}};
    weft_attributes attributes = {
        .map.expr = {.input_count = 1, .code_count = 7, .input_dtypes = {WEFT_F32}, .code = code}};
    const weft_array *inputs[] = {bench_random(b, WEFT_F32, 1, dims, BENCH_DENSE)};
    gpu_check(g, WEFT_OP_MAP, &attributes, inputs, 1,
              bench_array(b, WEFT_F32, 1, dims, BENCH_DENSE), (gpu_tolerance){0, 0});
    bench_clear(b);
  }
}

static void test_refusals(gpu_bench *g) {
  static const struct {
    weft_expr_op op;
    weft_dtype operand, result;
    const char *message;
  } cases[] = {{WEFT_EXPR_ADD, WEFT_I64, WEFT_I64, "add on i64 on the GPU"},
               {WEFT_EXPR_ADD, WEFT_I8, WEFT_I8, "add on i8 on the GPU"},
               {WEFT_EXPR_ADD, WEFT_F64, WEFT_F64, "f64 on the GPU"},
               {WEFT_EXPR_EQUAL, WEFT_I64, WEFT_BOOL, "equal on i64 on the GPU"},
               {WEFT_EXPR_CAST, WEFT_I64, WEFT_F32, "cast on i64 on the GPU"},
               {WEFT_EXPR_CAST, WEFT_I32, WEFT_I64, "cast on i64 on the GPU"},
               {WEFT_EXPR_EXP, WEFT_BF16, WEFT_BF16, "bf16 on the GPU"}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    weft_instruction code = {
        .op = (uint8_t)cases[k].op, .dtype = (uint8_t)cases[k].result, .operands = {0, 0}};
    weft_expr expr = {.input_count = 1,
                      .code_count = 1,
                      .input_dtypes = {(uint8_t)cases[k].operand},
                      .code = &code};
    weft_shader shader = {.file = "map", .expr = &expr};
    char buffer[64];
    weft_text text = {.buffer = buffer, .size = sizeof buffer};
    weft_error error;
    CHECK(!weft_shader_has_expr(&expr));
    CHECK_INT(weft_shader_write(&shader, weft_gpu_facts_of(g->gpu), &text, &error),
              WEFT_UNSUPPORTED);
    CHECK_TEXT(error.message, cases[k].message);
  }
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {
      GPU_TEST(test_floats),   GPU_TEST(test_classes),   GPU_TEST(test_pairs),
      GPU_TEST(test_integers), GPU_TEST(test_bools),     GPU_TEST(test_select),
      GPU_TEST(test_casts),    GPU_TEST(test_constants), GPU_TEST(test_refusals)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
