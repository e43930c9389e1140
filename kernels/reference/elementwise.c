/* elementwise.c (reference) - one element at a time, computed in double and rounded once: the
 * meaning of every elementwise kernel, and what the other targets are tested against. */
#include "kernels/reference/double_math.h"
#include "kernels/target.h"

#define exp_  weft_double_exp
#define erf_  weft_double_erf
#define tanh_ weft_double_tanh

static double keep(double x) {
  return x;
}
static double truncate(double x) {
  if (!(x > -4503599627370496.0 && x < 4503599627370496.0)) return x;
  return __builtin_copysign((double)(int64_t)x, x);
}
static double floor_(double x) {
  return truncate(x) > x ? truncate(x) - 1 : truncate(x);
}
static double ceil_(double x) {
  return -floor_(-x);
}

/* to nearest, ties to even */
static double round_(double x) {
  double whole = truncate(x), rest = __builtin_fabs(x - whole);
  bool up = rest > 0.5 || (rest == 0.5 && truncate(whole / 2) * 2 != whole);
  return up ? whole + __builtin_copysign(1, x) : whole;
}

static double relu(double x) {
  return x < 0 ? 0 : x;
}
static double sign(double x) {
  return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x;
}
static double sqrt_(double x) {
  return __builtin_sqrt(x);
}
static double sigmoid(double x) {
  return 1 / (1 + exp_(-x));
}
static double silu(double x) {
  return x / (1 + exp_(-x));
}
static double softplus(double x) {
  return relu(x) + weft_double_log1p(exp_(-__builtin_fabs(x)));
}
static double gelu_erf(double x) {
  return 0.5 * x * weft_double_erfc(x * -0.70710678118654752440);
}
static double gelu_tanh(double x) {
  return x * sigmoid(2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x));
}

static double atan_quotient(double a, double b) {
  return weft_double_atan(a / b);
}
static double asin_(double x) {
  return atan_quotient(x, sqrt_((1 - x) * (1 + x)));
}
static double acos_(double x) {
  return 2 * atan_quotient(sqrt_(1 - x), sqrt_(1 + x));
}
static double tan_(double x) {
  return weft_double_sin(x) / weft_double_cos(x);
}

/* log(a + sqrt(a^2 + 1)), for small a without cancellation */
static double asinh_(double x) {
  double a = __builtin_fabs(x), root = sqrt_(a * a + 1);
  double r = a < 1 ? weft_double_log1p(a + a * a / (1 + root)) : weft_double_log(a + root);
  return __builtin_copysign(r, x);
}
static double acosh_(double x) {
  double t = x - 1;
  return x < 1 ? __builtin_nan("") : weft_double_log1p(t + sqrt_(t * (t + 2)));
}
static double atanh_(double x) {
  double a = __builtin_fabs(x);
  return __builtin_copysign(0.5 * weft_double_log1p(2 * a / (1 - a)), x);
}

/* ---- the kernels
 * -------------------------------------------------------------------------------------------------
 */

#define UNARY(name, f)                                                                             \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *x, float *y) {                                \
    for (size_t i = 0; i < n; i++) y[i] = (float)(f(x[i]));                                        \
  }
UNARY(abs_f32, __builtin_fabs)
UNARY(neg_f32, -keep)
UNARY(relu_f32, relu)
UNARY(sqrt_f32, sqrt_)
UNARY(rsqrt_f32, 1 / sqrt_)
UNARY(reciprocal_f32, 1.0 / keep)
UNARY(floor_f32, floor_)
UNARY(ceil_f32, ceil_)
UNARY(round_f32, round_)
UNARY(trunc_f32, truncate)
UNARY(sign_f32, sign)
UNARY(exp_f32, exp_)
UNARY(log_f32, weft_double_log)
UNARY(erf_f32, erf_)
UNARY(tanh_f32, tanh_)
UNARY(sigmoid_f32, sigmoid)
UNARY(silu_f32, silu)
UNARY(softplus_f32, softplus)
UNARY(gelu_erf_f32, gelu_erf)
UNARY(gelu_tanh_f32, gelu_tanh)
UNARY(sin_f32, weft_double_sin)
UNARY(cos_f32, weft_double_cos)
UNARY(tan_f32, tan_)
UNARY(asin_f32, asin_)
UNARY(acos_f32, acos_)
UNARY(atan_f32, weft_double_atan)
UNARY(sinh_f32, weft_double_sinh)
UNARY(cosh_f32, weft_double_cosh)
UNARY(asinh_f32, asinh_)
UNARY(acosh_f32, acosh_)
UNARY(atanh_f32, atanh_)

#define BINARY(name, type, result)                                                                 \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *as, const float *bs, type *y) {               \
    for (size_t i = 0; i < n; i++) {                                                               \
      float a = as[i], b = bs[i];                                                                  \
      y[i] = (type)(result);                                                                       \
    }                                                                                              \
  }
BINARY(add_f32, float, a + b)
BINARY(sub_f32, float, a - b)
BINARY(mul_f32, float, (a * b))
BINARY(div_f32, float, a / b)
BINARY(min_f32, float, a < b || a != a ? a : b)
BINARY(max_f32, float, a > b || a != a ? a : b)
BINARY(pow_f32, float, weft_double_pow(a, b))
BINARY(equal_f32, uint8_t, a == b)
BINARY(less_f32, uint8_t, a < b)
BINARY(less_equal_f32, uint8_t, a <= b)

void WEFT_KERNEL_NAME(select_f32)(size_t n, const uint8_t *c, const float *a, const float *b,
                                  float *y) {
  for (size_t i = 0; i < n; i++) y[i] = c[i] ? a[i] : b[i];
}
