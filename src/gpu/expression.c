/* expression.c - see expression.h. An instruction is one `let`, by a template from a table; what is
 * more than an operator of WGSL is a function of kernels/wgsl/functions.wgsl. */
#include "gpu/expression.h"

#include "base/memory.h"
#include "base/text.h"
#include "gpu/shader.h"

/* ---- types ----------------------------------------------------------------------------------- */

typedef enum wgsl_type { NONE, FLOAT, SIGNED, UNSIGNED, BOOLEAN } wgsl_type;

static const char *const type_names[] = {"", "f32", "i32", "u32", "bool"};

/* What a type is computed with. Accessors read i64 as its low word: only casts may take it. */
static wgsl_type type_of(weft_dtype dtype) {
  switch (dtype) {
  case WEFT_F32:
  case WEFT_F16:
    return FLOAT;
  case WEFT_I32:
  case WEFT_I8:
  case WEFT_I64:
    return SIGNED;
  case WEFT_U32:
  case WEFT_U8:
    return UNSIGNED;
  case WEFT_BOOL:
    return BOOLEAN;
  default:
    return NONE;
  }
}

/* Arithmetic would leave the range of these. */
static bool is_narrow(weft_dtype dtype) {
  return dtype == WEFT_I8 || dtype == WEFT_U8;
}

/* ---- instructions ---------------------------------------------------------------------------- */

#define ON(type)    (1u << (type))
#define ON_INTEGERS (ON(SIGNED) | ON(UNSIGNED))
#define ON_NUMBERS  (ON(FLOAT) | ON_INTEGERS)
#define ON_ALL      (ON_NUMBERS | ON(BOOLEAN))

/* By operator and type of the operands. In a template, a, b and c behind a $ are the operands. */
typedef struct wgsl_row {
  uint8_t op, types;
  bool narrow; /* results of 8-bit operands stay in range */
  const char *text;
} wgsl_row;

#define CALL1(op, name) {WEFT_EXPR_##op, ON(FLOAT), false, "expr_" name "($a)"}

static const wgsl_row rows[] = {
    {WEFT_EXPR_ADD, ON_NUMBERS, false, "$a + $b"},
    {WEFT_EXPR_SUB, ON_NUMBERS, false, "$a - $b"},
    {WEFT_EXPR_MUL, ON_NUMBERS, false, "$a * $b"},
    {WEFT_EXPR_DIV, ON_NUMBERS, false, "$a / $b"},
    {WEFT_EXPR_MOD, ON(FLOAT), false, "expr_mod($a, $b)"},
    {WEFT_EXPR_MOD, ON(SIGNED), true, "expr_mod_i32($a, $b)"},
    {WEFT_EXPR_MOD, ON(UNSIGNED), true, "$a % $b"},
    {WEFT_EXPR_FMOD, ON(FLOAT), false, "expr_fmod($a, $b)"},
    {WEFT_EXPR_FMOD, ON_INTEGERS, true, "$a % $b"},
    {WEFT_EXPR_POW, ON(FLOAT), false, "expr_pow($a, $b)"},
    {WEFT_EXPR_POW, ON(SIGNED), false, "expr_pow_i32($a, $b)"},
    {WEFT_EXPR_POW, ON(UNSIGNED), false, "expr_pow_u32($a, $b)"},
    {WEFT_EXPR_MIN, ON(FLOAT), false, "expr_min($a, $b)"},
    {WEFT_EXPR_MIN, ON_INTEGERS, true, "min($a, $b)"},
    {WEFT_EXPR_MAX, ON(FLOAT), false, "expr_max($a, $b)"},
    {WEFT_EXPR_MAX, ON_INTEGERS, true, "max($a, $b)"},
    {WEFT_EXPR_EQUAL, ON_ALL, true, "$a == $b"},
    {WEFT_EXPR_LESS, ON_NUMBERS, true, "$a < $b"},
    {WEFT_EXPR_LESS_EQUAL, ON_NUMBERS, true, "$a <= $b"},
    {WEFT_EXPR_AND, ON_INTEGERS, true, "$a & $b"},
    {WEFT_EXPR_AND, ON(BOOLEAN), true, "$a && $b"},
    {WEFT_EXPR_OR, ON_INTEGERS, true, "$a | $b"},
    {WEFT_EXPR_OR, ON(BOOLEAN), true, "$a || $b"},
    {WEFT_EXPR_XOR, ON_INTEGERS, true, "$a ^ $b"},
    {WEFT_EXPR_XOR, ON(BOOLEAN), true, "$a != $b"},
    {WEFT_EXPR_NOT, ON_INTEGERS, false, "~$a"},
    {WEFT_EXPR_NOT, ON(BOOLEAN), true, "!$a"},
    {WEFT_EXPR_SHIFT_LEFT, ON(SIGNED), false, "select(0, $a << (u32($b) & 31u), u32($b) < 32u)"},
    {WEFT_EXPR_SHIFT_LEFT, ON(UNSIGNED), false, "select(0u, $a << ($b & 31u), $b < 32u)"},
    {WEFT_EXPR_SHIFT_RIGHT, ON(SIGNED), true, "$a >> min(u32($b), 31u)"},
    {WEFT_EXPR_SHIFT_RIGHT, ON(UNSIGNED), true, "select(0u, $a >> ($b & 31u), $b < 32u)"},
    {WEFT_EXPR_SELECT, ON_ALL, true, "select($c, $b, $a)"},
    {WEFT_EXPR_ABS, ON(FLOAT) | ON(SIGNED), false, "abs($a)"},
    {WEFT_EXPR_ABS, ON(UNSIGNED), true, "$a"},
    {WEFT_EXPR_NEG, ON(FLOAT) | ON(SIGNED), false, "-$a"},
    {WEFT_EXPR_NEG, ON(UNSIGNED), false, "0u - $a"},
    CALL1(SIGN, "sign"),
    {WEFT_EXPR_SIGN, ON(SIGNED), true, "sign($a)"},
    {WEFT_EXPR_SIGN, ON(UNSIGNED), true, "min($a, 1u)"},
    {WEFT_EXPR_RELU, ON(FLOAT), false, "select($a, 0.0, $a < 0.0)"},
    {WEFT_EXPR_RELU, ON(SIGNED), true, "max($a, 0)"},
    {WEFT_EXPR_RELU, ON(UNSIGNED), true, "$a"},
    {WEFT_EXPR_SQRT, ON(FLOAT), false, "sqrt($a)"},
    {WEFT_EXPR_RSQRT, ON(FLOAT), false, "inverseSqrt($a)"},
    {WEFT_EXPR_RECIPROCAL, ON(FLOAT), false, "1.0 / $a"},
    {WEFT_EXPR_FLOOR, ON(FLOAT), false, "floor($a)"},
    {WEFT_EXPR_CEIL, ON(FLOAT), false, "ceil($a)"},
    {WEFT_EXPR_ROUND, ON(FLOAT), false, "round($a)"},
    {WEFT_EXPR_TRUNC, ON(FLOAT), false, "trunc($a)"},
    CALL1(IS_NAN, "is_nan"),
    CALL1(IS_INF, "is_inf"),
    CALL1(EXP, "exp"),
    CALL1(LOG, "log"),
    CALL1(ERF, "erf"),
    CALL1(TANH, "tanh"),
    CALL1(SIGMOID, "sigmoid"),
    CALL1(SILU, "silu"),
    CALL1(SOFTPLUS, "softplus"),
    CALL1(GELU_ERF, "gelu_erf"),
    CALL1(GELU_TANH, "gelu_tanh"),
    CALL1(SIN, "sin"),
    CALL1(COS, "cos"),
    CALL1(TAN, "tan"),
    CALL1(ASIN, "asin"),
    CALL1(ACOS, "acos"),
    CALL1(ATAN, "atan"),
    CALL1(SINH, "sinh"),
    CALL1(COSH, "cosh"),
    CALL1(ASINH, "asinh"),
    CALL1(ACOSH, "acosh"),
    CALL1(ATANH, "atanh"),
};

/* Casts by the types computed with; 8-bit results are brought into range on top. From floats they
 * go to the nearest, from integers they wrap. */
static const char *cast_template(wgsl_type from, weft_dtype dtype) {
  wgsl_type to = type_of(dtype);
  if (to == BOOLEAN)
    return from == FLOAT      ? "(bitcast<u32>($a) << 1u) != 0u"
           : from == SIGNED   ? "$a != 0"
           : from == UNSIGNED ? "$a != 0u"
                              : "$a";
  if (dtype == WEFT_F16) return from == FLOAT ? "expr_to_f16($a)" : "expr_to_f16(f32($a))";
  if (to == FLOAT) return "f32($a)";
  if (dtype == WEFT_I8)
    return from == FLOAT ? "clamp(expr_to_i32($a), -128, 127)" : "extractBits(i32($a), 0u, 8u)";
  if (dtype == WEFT_U8) return from == FLOAT ? "min(expr_to_u32($a), 255u)" : "u32($a) & 255u";
  if (to == SIGNED) return from == FLOAT ? "expr_to_i32($a)" : "i32($a)";
  return from == FLOAT ? "expr_to_u32($a)" : "u32($a)";
}

/* Infinities and NaN are errors in WGSL's constant expressions: they come out of a function. */
static bool is_special(const weft_instruction *in) {
  return type_of((weft_dtype)in->dtype) == FLOAT &&
         !((float)in->immediate.f - (float)in->immediate.f == 0);
}

/* NULL: there is no code for it. */
static const char *template_of(const weft_expr *expr, const weft_instruction *in) {
  weft_dtype to = (weft_dtype)in->dtype;
  uint32_t typed = in->op == WEFT_EXPR_SELECT ? 1 : 0;
  if (type_of(to) == NONE || to == WEFT_I64) return NULL;
  if (in->op == WEFT_EXPR_CONSTANT) return is_special(in) ? "expr_bits" : "";
  weft_dtype from = weft_expr_dtype(expr, in->operands[typed]);
  wgsl_type type = type_of(from);
  if (type == NONE) return NULL;
  if (in->op == WEFT_EXPR_CAST) {
    /* Of an i64 the low word is known. */
    bool wraps = type_of(to) == SIGNED || type_of(to) == UNSIGNED;
    return from == WEFT_I64 && !wraps ? NULL : cast_template(type, to);
  }
  if (from == WEFT_I64) return NULL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].op == in->op && (rows[i].types >> type & 1))
      return rows[i].narrow || !is_narrow(from) ? rows[i].text : NULL;
  return NULL;
}

static weft_status check(const weft_expr *expr, weft_error *error) {
  for (uint32_t i = 0; i < expr->input_count; i++)
    if (type_of((weft_dtype)expr->input_dtypes[i]) == NONE)
      return weft_fail(error, WEFT_UNSUPPORTED, "%s on the GPU",
                       weft_dtype_name((weft_dtype)expr->input_dtypes[i]));
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *in = &expr->code[i];
    if (template_of(expr, in)) continue;
    weft_dtype dtype = (weft_dtype)in->dtype;
    if (weft_expr_operand_count(in->op) > 0 && type_of(dtype) != NONE && dtype != WEFT_I64)
      dtype = weft_expr_dtype(expr, in->operands[in->op == WEFT_EXPR_SELECT ? 1 : 0]);
    return weft_fail(error, WEFT_UNSUPPORTED, "%s on %s on the GPU", weft_expr_op_name(in->op),
                     weft_dtype_name(dtype));
  }
  return WEFT_OK;
}

bool weft_shader_has_expr(const weft_expr *expr) {
  return check(expr, NULL) == WEFT_OK;
}

/* ---- functions ------------------------------------------------------------------------------- */

/* A function of functions.wgsl: from "fn " to its closing brace. */
typedef struct wgsl_function {
  weft_str name, text;
} wgsl_function;
enum { FUNCTIONS_MAX = 64 }; /* a set of them is a uint64_t */

typedef struct library {
  wgsl_function functions[FUNCTIONS_MAX];
  uint32_t count;
} library;

static bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void read_library(library *out) {
  size_t length = 0;
  const char *text = weft_wgsl_find("functions", &length), *end = text + length;
  out->count = 0;
  while (text < end && out->count < FUNCTIONS_MAX) {
    if (end - text < 3 || memcmp(text, "fn ", 3) != 0) {
      text++;
      continue;
    }
    wgsl_function *function = &out->functions[out->count++];
    function->name = (weft_str){text + 3, 0};
    while (is_name(text[3 + function->name.length])) function->name.length++;
    function->text = (weft_str){text, 0};
    for (int depth = 0, entered = 0; text < end && (depth > 0 || !entered); text++) {
      depth += (*text == '{') - (*text == '}');
      entered |= *text == '{';
    }
    function->text.length = (uint32_t)(text - function->text.data);
  }
}

/* The functions whose names stand in the text, as a set. */
static uint64_t functions_in(const library *lib, weft_str text) {
  uint64_t found = 0;
  for (size_t at = 0; at < text.length;) {
    if (!is_name(text.data[at])) {
      at++;
      continue;
    }
    weft_str word = {text.data + at, 0};
    while (at < text.length && is_name(text.data[at])) at++, word.length++;
    for (uint32_t i = 0; i < lib->count; i++)
      if (weft_str_equal(word, lib->functions[i].name)) found |= 1ull << i;
  }
  return found;
}

static void write_functions(const weft_expr *expr, weft_text *text) {
  library lib;
  read_library(&lib);
  uint64_t wanted = 0, known = 0;
  for (uint32_t i = 0; i < expr->code_count; i++)
    wanted |= functions_in(&lib, weft_str_of(template_of(expr, &expr->code[i])));
  while (wanted != known) {
    uint64_t added = wanted & ~known;
    known = wanted;
    for (uint32_t i = 0; i < lib.count; i++)
      if (added >> i & 1) wanted |= functions_in(&lib, lib.functions[i].text);
  }
  for (uint32_t i = 0; i < lib.count; i++)
    if (wanted >> i & 1) weft_text_add(text, "%.*s\n", WEFT_STR_ARGS(lib.functions[i].text));
}

/* ---- the expression -------------------------------------------------------------------------- */

static void write_operand(const weft_expr *expr, uint32_t operand, weft_text *text) {
  if (operand < expr->input_count)
    weft_text_add(text, "x%u", operand);
  else
    weft_text_add(text, "t%u", operand - expr->input_count);
}

/* Constants in the bits of their type, which no decimal can change. */
static void write_constant(const weft_instruction *in, weft_text *text) {
  float value = (float)in->immediate.f;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  switch (type_of((weft_dtype)in->dtype)) {
  case FLOAT:
    weft_text_add(text, is_special(in) ? "(%uu)" : "bitcast<f32>(%uu)", bits);
    break;
  case BOOLEAN:
    weft_text_add(text, "%s", in->immediate.i ? "true" : "false");
    break;
  case SIGNED:
    weft_text_add(text, "bitcast<i32>(%uu)", (uint32_t)in->immediate.i);
    break;
  default:
    weft_text_add(text, "%uu", (uint32_t)in->immediate.i);
  }
}

static void write_instruction(const weft_expr *expr, uint32_t index, weft_text *text) {
  const weft_instruction *in = &expr->code[index];
  weft_text_add(text, "let t%u: %s = ", index, type_names[type_of((weft_dtype)in->dtype)]);
  for (const char *c = template_of(expr, in); *c; c++)
    if (*c == '$')
      write_operand(expr, in->operands[*++c - 'a'], text);
    else
      weft_text_add(text, "%c", *c);
  if (in->op == WEFT_EXPR_CONSTANT) write_constant(in, text);
  weft_text_add(text, ";\n");
}

/* Four elements as accessors give and take them: bools are u32. */
static void write_expression4(const weft_expr *expr, weft_text *text) {
  wgsl_type result = type_of(weft_expr_result_dtype(expr));
  const char *held = type_names[result == BOOLEAN ? UNSIGNED : result];
  weft_text_add(text, "fn expression4(");
  for (uint32_t i = 0; i < expr->input_count; i++) {
    wgsl_type type = type_of((weft_dtype)expr->input_dtypes[i]);
    weft_text_add(text, "%sx%u: vec4<%s>", i > 0 ? ", " : "", i,
                  type_names[type == BOOLEAN ? UNSIGNED : type]);
  }
  weft_text_add(text, ") -> vec4<%s> {\nreturn vec4<%s>(", held, held);
  for (uint32_t k = 0; k < 4; k++) {
    weft_text_add(text, "%s%s(expression(", k > 0 ? ", " : "", held);
    for (uint32_t i = 0; i < expr->input_count; i++)
      weft_text_add(text, "%sx%u.%c%s", i > 0 ? ", " : "", i, "xyzw"[k],
                    expr -> input_dtypes[i] == WEFT_BOOL ? " != 0u" : "");
    weft_text_add(text, "))");
  }
  weft_text_add(text, ");\n}\n");
}

weft_status weft_wgsl_expression(const weft_expr *expr, weft_text *text, weft_error *error) {
  WEFT_TRY(check(expr, error));
  write_functions(expr, text);
  weft_text_add(text, "fn expression(");
  for (uint32_t i = 0; i < expr->input_count; i++)
    weft_text_add(text, "%sx%u: %s", i > 0 ? ", " : "", i,
                  type_names[type_of((weft_dtype)expr->input_dtypes[i])]);
  weft_text_add(text, ") -> %s {\n", type_names[type_of(weft_expr_result_dtype(expr))]);
  for (uint32_t i = 0; i < expr->code_count; i++) write_instruction(expr, i, text);
  weft_text_add(text, "return ");
  write_operand(expr, expr->code_count ? expr->input_count + expr->code_count - 1u : 0, text);
  weft_text_add(text, ";\n}\n");
  write_expression4(expr, text);
  return WEFT_OK;
}
