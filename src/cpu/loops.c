/* loops.c - see loops.h. One line per operation and type. Integer arithmetic wraps, so it is done
 * on unsigned types. */
#include "cpu/loops.h"

/* Unary operations have their operand twice, so that one macro serves. */
#define LOOP(name, type, result, expression)                                                       \
  static bool name(size_t n, const void *const *x, void *y, const weft_range *range) {             \
    (void)range;                                                                                   \
    const type *as = x[0], *bs = x[1];                                                             \
    result *to = y;                                                                                \
    for (size_t i = 0; i < n; i++) {                                                               \
      type a = as[i], b = bs[i];                                                                   \
      (void)a, (void)b;                                                                            \
      to[i] = (result)(expression);                                                                \
    }                                                                                              \
    return true;                                                                                   \
  }

/* Division answers false when a divisor is zero. */
#define LOOP_DIVIDE(name, type, expression)                                                        \
  static bool name(size_t n, const void *const *x, void *y, const weft_range *range) {             \
    (void)range;                                                                                   \
    const type *as = x[0], *bs = x[1];                                                             \
    type *to = y;                                                                                  \
    for (size_t i = 0; i < n; i++) {                                                               \
      type a = as[i], b = bs[i];                                                                   \
      if (b == 0) return false;                                                                    \
      to[i] = (expression);                                                                        \
    }                                                                                              \
    return true;                                                                                   \
  }

#define LOOP_SELECT(name, type)                                                                    \
  static bool name(size_t n, const void *const *x, void *y, const weft_range *range) {             \
    (void)range;                                                                                   \
    const uint8_t *condition = x[0];                                                               \
    const type *as = x[1], *bs = x[2];                                                             \
    type *to = y;                                                                                  \
    for (size_t i = 0; i < n; i++) to[i] = condition[i] ? as[i] : bs[i];                           \
    return true;                                                                                   \
  }

/* ---- 64-bit integers ------------------------------------------------------------------------- */

/* INT64_MIN / -1 traps on some processors; it wraps to INT64_MIN here. */
static int64_t divide(int64_t a, int64_t b) {
  return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}
static int64_t remainder_c(int64_t a, int64_t b) {
  return b == -1 ? 0 : a % b;
}
static int64_t remainder_python(int64_t a, int64_t b) {
  int64_t r = remainder_c(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static uint64_t power(uint64_t base, uint64_t exponent) {
  uint64_t product = 1;
  for (; exponent != 0; exponent >>= 1, base *= base)
    if (exponent & 1) product *= base;
  return product;
}
/* 1 / base^|exponent| truncated, where the exponent is negative. */
static uint64_t power_signed(int64_t base, int64_t exponent) {
  if (exponent >= 0) return power((uint64_t)base, (uint64_t)exponent);
  if (base == -1) return exponent & 1 ? UINT64_MAX : 1;
  return base == 1;
}
static uint64_t magnitude(int64_t a) {
  return a < 0 ? 0 - (uint64_t)a : (uint64_t)a;
}

LOOP(add_u64, uint64_t, uint64_t, a + b)
LOOP(sub_u64, uint64_t, uint64_t, a - b)
LOOP(mul_u64, uint64_t, uint64_t, a *b)
LOOP(and_u64, uint64_t, uint64_t, a &b)
LOOP(or_u64, uint64_t, uint64_t, a | b)
LOOP(xor_u64, uint64_t, uint64_t, a ^ b)
LOOP(not_u64, uint64_t, uint64_t, ~a)
LOOP(neg_u64, uint64_t, uint64_t, 0 - a)
LOOP(same_u64, uint64_t, uint64_t, a)
LOOP(shift_left_u64, uint64_t, uint64_t, b < 64 ? a << b : 0)
LOOP(shift_right_u64, uint64_t, uint64_t, b < 64 ? a >> b : 0)
LOOP(shift_right_i64, int64_t, int64_t, a >> ((uint64_t)b < 64 ? b : 63))
LOOP(equal_u64, uint64_t, uint8_t, a == b)
LOOP(less_i64, int64_t, uint8_t, a < b)
LOOP(less_u64, uint64_t, uint8_t, a < b)
LOOP(less_equal_i64, int64_t, uint8_t, a <= b)
LOOP(less_equal_u64, uint64_t, uint8_t, a <= b)
LOOP(min_i64, int64_t, int64_t, a < b ? a : b)
LOOP(min_u64, uint64_t, uint64_t, a < b ? a : b)
LOOP(max_i64, int64_t, int64_t, a > b ? a : b)
LOOP(max_u64, uint64_t, uint64_t, a > b ? a : b)
LOOP(abs_i64, int64_t, uint64_t, magnitude(a))
LOOP(sign_i64, int64_t, int64_t, (a > 0) - (a < 0))
LOOP(sign_u64, uint64_t, uint64_t, a > 0)
LOOP(relu_i64, int64_t, int64_t, a > 0 ? a : 0)
LOOP(pow_i64, int64_t, uint64_t, power_signed(a, b))
LOOP(pow_u64, uint64_t, uint64_t, power(a, b))
LOOP_DIVIDE(div_i64, int64_t, divide(a, b))
LOOP_DIVIDE(div_u64, uint64_t, a / b)
LOOP_DIVIDE(mod_i64, int64_t, remainder_python(a, b))
LOOP_DIVIDE(mod_u64, uint64_t, a % b)
LOOP_DIVIDE(fmod_i64, int64_t, remainder_c(a, b))
typedef uint64_t __attribute__((may_alias)) bits_64; /* doubles are selected as integers */
LOOP_SELECT(select_64, bits_64)

/* ---- bool ------------------------------------------------------------------------------------ */

LOOP(and_bool, uint8_t, uint8_t, a &&b)
LOOP(or_bool, uint8_t, uint8_t, a || b)
LOOP(xor_bool, uint8_t, uint8_t, !a != !b)
LOOP(not_bool, uint8_t, uint8_t, !a)
LOOP(equal_bool, uint8_t, uint8_t, !a == !b)
LOOP_SELECT(select_8, uint8_t)

/* ---- floats ---------------------------------------------------------------------------------- */

/* Exact in either type: x - y * trunc(x / y) without rounding, by long division of the
 * significands. */
static double fmod_f64(double x, double y) {
  uint64_t a, b;
  __builtin_memcpy(&a, &x, sizeof a);
  __builtin_memcpy(&b, &y, sizeof b);
  const uint64_t sign = a & (1ull << 63), one = 1ull << 52, infinite = 0x7ffull << 52;
  a &= ~(1ull << 63), b &= ~(1ull << 63);
  if (b == 0 || b > infinite || a >= infinite) return __builtin_nan("");
  if (a < b) return x;
  int64_t ea = (int64_t)(a >> 52), eb = (int64_t)(b >> 52);
  a = ea > 0 ? (a & (one - 1)) | one : a;
  b = eb > 0 ? (b & (one - 1)) | one : b;
  ea += ea == 0, eb += eb == 0;
  a %= b;
  while (ea > eb) { /* 11 bits at a time: a < 2^53 */
    int64_t step = ea - eb < 11 ? ea - eb : 11;
    a = (a << step) % b;
    ea -= step;
  }
  for (; a != 0 && a < one && ea > 1; ea--) a <<= 1;
  a = a < one ? a : (a & (one - 1)) | (uint64_t)ea << 52;
  a |= sign;
  __builtin_memcpy(&x, &a, sizeof x);
  return x;
}
static double mod_f64(double x, double y) {
  double r = fmod_f64(x, y);
  if (r == 0) return __builtin_copysign(0.0, y);
  return (r < 0) != (y < 0) ? r + y : r;
}
/* Half to even: adding and taking away 2^52 leaves no bits for a fraction. */
static double round_f64(double x) {
  double size = __builtin_fabs(x);
  if (!(size < 0x1p52)) return x;
  return __builtin_copysign(size + 0x1p52 - 0x1p52, x);
}
static double floor_f64(double x) {
  double r = round_f64(x);
  return r > x ? r - 1 : r;
}
static double trunc_f64(double x) {
  return __builtin_copysign(floor_f64(__builtin_fabs(x)), x);
}
static double min_of(double a, double b) {
  return a != a || a < b ? a : b;
}
static double max_of(double a, double b) {
  return a != a || a > b ? a : b;
}

LOOP(mod_floats, float, float, mod_f64((double)a, (double)b))
LOOP(fmod_floats, float, float, fmod_f64((double)a, (double)b))
LOOP(is_nan_f32, float, uint8_t, a != a)
LOOP(is_inf_f32, float, uint8_t, __builtin_fabsf(a) == __builtin_inff())

LOOP(add_f64, double, double, a + b)
LOOP(sub_f64, double, double, a - b)
LOOP(mul_f64, double, double, a *b)
LOOP(div_f64, double, double, a / b)
LOOP(mod_doubles, double, double, mod_f64(a, b))
LOOP(fmod_doubles, double, double, fmod_f64(a, b))
LOOP(min_f64, double, double, min_of(a, b))
LOOP(max_f64, double, double, max_of(a, b))
LOOP(equal_f64, double, uint8_t, a == b)
LOOP(less_f64, double, uint8_t, a < b)
LOOP(less_equal_f64, double, uint8_t, a <= b)
LOOP(abs_f64, double, double, __builtin_fabs(a))
LOOP(neg_f64, double, double, -a)
LOOP(sign_f64, double, double, a != a ? a : (a > 0) - (a < 0))
LOOP(relu_f64, double, double, a < 0 ? 0 : a)
LOOP(sqrt_f64, double, double, __builtin_sqrt(a))
LOOP(rsqrt_f64, double, double, 1 / __builtin_sqrt(a))
LOOP(reciprocal_f64, double, double, 1 / a)
LOOP(floor_doubles, double, double, floor_f64(a))
LOOP(ceil_doubles, double, double, -floor_f64(-a))
LOOP(round_doubles, double, double, round_f64(a))
LOOP(trunc_doubles, double, double, trunc_f64(a))
LOOP(is_nan_f64, double, uint8_t, a != a)
LOOP(is_inf_f64, double, uint8_t, __builtin_fabs(a) == __builtin_inf())

/* ---- back into range ------------------------------------------------------------------------- */

bool weft_loop_wrap_signed(size_t n, const void *const *x, void *y, const weft_range *range) {
  const uint64_t *from = x[0];
  int64_t *to = y;
  for (size_t i = 0; i < n; i++)
    to[i] = (int64_t)(from[i] << (64 - range->bits)) >> (64 - range->bits);
  return true;
}
bool weft_loop_wrap_unsigned(size_t n, const void *const *x, void *y, const weft_range *range) {
  const uint64_t *from = x[0];
  uint64_t *to = y;
  for (size_t i = 0; i < n; i++) to[i] = from[i] & range->high;
  return true;
}
bool weft_loop_clamp_signed(size_t n, const void *const *x, void *y, const weft_range *range) {
  const int64_t *from = x[0], high = (int64_t)range->high;
  int64_t *to = y;
  for (size_t i = 0; i < n; i++) {
    int64_t v = from[i];
    to[i] = v < range->low ? range->low : v > high ? high : v;
  }
  return true;
}
bool weft_loop_clamp_unsigned(size_t n, const void *const *x, void *y, const weft_range *range) {
  const uint64_t *from = x[0];
  uint64_t *to = y;
  for (size_t i = 0; i < n; i++) to[i] = from[i] < range->high ? from[i] : range->high;
  return true;
}

/* ---- table ----------------------------------------------------------------------------------- */

#define ON_F32  (1u << WEFT_CLASS_F32)
#define ON_F64  (1u << WEFT_CLASS_F64)
#define ON_I64  (1u << WEFT_CLASS_I64)
#define ON_U64  (1u << WEFT_CLASS_U64)
#define ON_INT  (ON_I64 | ON_U64)
#define ON_BOOL (1u << WEFT_CLASS_BOOL)

static const struct {
  uint8_t op, classes;
  weft_loop_fn *loop;
} loops[] = {
    {WEFT_EXPR_ADD, ON_INT, add_u64},
    {WEFT_EXPR_SUB, ON_INT, sub_u64},
    {WEFT_EXPR_MUL, ON_INT, mul_u64},
    {WEFT_EXPR_DIV, ON_I64, div_i64},
    {WEFT_EXPR_DIV, ON_U64, div_u64},
    {WEFT_EXPR_MOD, ON_I64, mod_i64},
    {WEFT_EXPR_MOD, ON_U64, mod_u64},
    {WEFT_EXPR_FMOD, ON_I64, fmod_i64},
    {WEFT_EXPR_FMOD, ON_U64, mod_u64},
    {WEFT_EXPR_POW, ON_I64, pow_i64},
    {WEFT_EXPR_POW, ON_U64, pow_u64},
    {WEFT_EXPR_MIN, ON_I64, min_i64},
    {WEFT_EXPR_MIN, ON_U64, min_u64},
    {WEFT_EXPR_MAX, ON_I64, max_i64},
    {WEFT_EXPR_MAX, ON_U64, max_u64},
    {WEFT_EXPR_EQUAL, ON_INT, equal_u64},
    {WEFT_EXPR_LESS, ON_I64, less_i64},
    {WEFT_EXPR_LESS, ON_U64, less_u64},
    {WEFT_EXPR_LESS_EQUAL, ON_I64, less_equal_i64},
    {WEFT_EXPR_LESS_EQUAL, ON_U64, less_equal_u64},
    {WEFT_EXPR_AND, ON_INT, and_u64},
    {WEFT_EXPR_OR, ON_INT, or_u64},
    {WEFT_EXPR_XOR, ON_INT, xor_u64},
    {WEFT_EXPR_NOT, ON_INT, not_u64},
    {WEFT_EXPR_SHIFT_LEFT, ON_INT, shift_left_u64},
    {WEFT_EXPR_SHIFT_RIGHT, ON_I64, shift_right_i64},
    {WEFT_EXPR_SHIFT_RIGHT, ON_U64, shift_right_u64},
    {WEFT_EXPR_SELECT, ON_INT | ON_F64, select_64},
    {WEFT_EXPR_ABS, ON_I64, abs_i64},
    {WEFT_EXPR_ABS, ON_U64, same_u64},
    {WEFT_EXPR_NEG, ON_INT, neg_u64},
    {WEFT_EXPR_SIGN, ON_I64, sign_i64},
    {WEFT_EXPR_SIGN, ON_U64, sign_u64},
    {WEFT_EXPR_RELU, ON_I64, relu_i64},
    {WEFT_EXPR_RELU, ON_U64, same_u64},
    {WEFT_EXPR_AND, ON_BOOL, and_bool},
    {WEFT_EXPR_OR, ON_BOOL, or_bool},
    {WEFT_EXPR_XOR, ON_BOOL, xor_bool},
    {WEFT_EXPR_NOT, ON_BOOL, not_bool},
    {WEFT_EXPR_EQUAL, ON_BOOL, equal_bool},
    {WEFT_EXPR_SELECT, ON_BOOL, select_8},
    {WEFT_EXPR_MOD, ON_F32, mod_floats},
    {WEFT_EXPR_FMOD, ON_F32, fmod_floats},
    {WEFT_EXPR_IS_NAN, ON_F32, is_nan_f32},
    {WEFT_EXPR_IS_INF, ON_F32, is_inf_f32},
    {WEFT_EXPR_ADD, ON_F64, add_f64},
    {WEFT_EXPR_SUB, ON_F64, sub_f64},
    {WEFT_EXPR_MUL, ON_F64, mul_f64},
    {WEFT_EXPR_DIV, ON_F64, div_f64},
    {WEFT_EXPR_MOD, ON_F64, mod_doubles},
    {WEFT_EXPR_FMOD, ON_F64, fmod_doubles},
    {WEFT_EXPR_MIN, ON_F64, min_f64},
    {WEFT_EXPR_MAX, ON_F64, max_f64},
    {WEFT_EXPR_EQUAL, ON_F64, equal_f64},
    {WEFT_EXPR_LESS, ON_F64, less_f64},
    {WEFT_EXPR_LESS_EQUAL, ON_F64, less_equal_f64},
    {WEFT_EXPR_ABS, ON_F64, abs_f64},
    {WEFT_EXPR_NEG, ON_F64, neg_f64},
    {WEFT_EXPR_SIGN, ON_F64, sign_f64},
    {WEFT_EXPR_RELU, ON_F64, relu_f64},
    {WEFT_EXPR_SQRT, ON_F64, sqrt_f64},
    {WEFT_EXPR_RSQRT, ON_F64, rsqrt_f64},
    {WEFT_EXPR_RECIPROCAL, ON_F64, reciprocal_f64},
    {WEFT_EXPR_FLOOR, ON_F64, floor_doubles},
    {WEFT_EXPR_CEIL, ON_F64, ceil_doubles},
    {WEFT_EXPR_ROUND, ON_F64, round_doubles},
    {WEFT_EXPR_TRUNC, ON_F64, trunc_doubles},
    {WEFT_EXPR_IS_NAN, ON_F64, is_nan_f64},
    {WEFT_EXPR_IS_INF, ON_F64, is_inf_f64},
};

weft_loop_fn *weft_loop_of(weft_expr_op op, weft_class held) {
  for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++)
    if (loops[i].op == op && (loops[i].classes >> held & 1)) return loops[i].loop;
  return NULL;
}
