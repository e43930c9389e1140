/* elementwise.c - y[i] = f(x[i]), f(a[i], b[i]): loops over the functions of vec.h and vec_math.h.
 */
#include "kernels/target.h"
#include "kernels/vec_math.h"

VEC_INLINE f32v relu(f32v x) {
  return f32v_drop(x < 0, x);
}
VEC_INLINE f32v sign(f32v x) {
  f32v one = f32v_splat(1);
  return f32v_select(x != x, x, f32v_keep(x > 0, one) - f32v_keep(x < 0, one));
}
VEC_INLINE f32v rsqrt(f32v x) {
  return 1 / f32v_sqrt(x);
}
VEC_INLINE f32v reciprocal(f32v x) {
  return 1 / x;
}

/* SHORT: a vector takes a few instructions, so that the loop is worth writing for whole vectors. */
#define UNARY_SHORT(name, f)                                                                       \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *x, float *y) {                                \
    VEC_EACH(i, left, n, f32v_store_upto(y + i, f(f32v_load_upto(x + i, left)), left));            \
  }
#define UNARY(name, f)                                                                             \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *x, float *y) {                                \
    for (size_t i = 0; i < n; i += WEFT_LANES)                                                     \
      f32v_store_upto(y + i, f(f32v_load_upto(x + i, n - i)), n - i);                              \
  }
UNARY_SHORT(abs_f32, f32v_abs)
UNARY_SHORT(neg_f32, -)
UNARY_SHORT(relu_f32, relu)
UNARY_SHORT(sqrt_f32, f32v_sqrt)
UNARY_SHORT(rsqrt_f32, rsqrt)
UNARY_SHORT(reciprocal_f32, reciprocal)
UNARY_SHORT(floor_f32, f32v_floor)
UNARY_SHORT(ceil_f32, f32v_ceil)
UNARY_SHORT(round_f32, f32v_round)
UNARY_SHORT(trunc_f32, f32v_trunc)
UNARY_SHORT(sign_f32, sign)
UNARY(exp_f32, vec_exp)
UNARY(log_f32, vec_log)
UNARY(erf_f32, vec_erf)
UNARY(tanh_f32, vec_tanh)
UNARY(sigmoid_f32, vec_sigmoid)
UNARY(silu_f32, vec_silu)
UNARY(softplus_f32, vec_softplus)
UNARY(gelu_erf_f32, vec_gelu_erf)
UNARY(gelu_tanh_f32, vec_gelu_tanh)
UNARY(sin_f32, vec_sin)
UNARY(cos_f32, vec_cos)
UNARY(tan_f32, vec_tan)
UNARY(asin_f32, vec_asin)
UNARY(acos_f32, vec_acos)
UNARY(atan_f32, vec_atan)
UNARY(sinh_f32, vec_sinh)
UNARY(cosh_f32, vec_cosh)
UNARY(asinh_f32, vec_asinh)
UNARY(acosh_f32, vec_acosh)
UNARY(atanh_f32, vec_atanh)

#define BINARY_SHORT(name, f)                                                                      \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *a, const float *b, float *y) {                \
    VEC_EACH(i, left, n, {                                                                         \
      f32v r = f(f32v_load_upto(a + i, left), f32v_load_upto(b + i, left));                        \
      f32v_store_upto(y + i, r, left);                                                             \
    });                                                                                            \
  }
#define ADD(a, b)      (a) + (b)
#define SUBTRACT(a, b) (a) - (b)
#define MULTIPLY(a, b) (a) * (b)
#define DIVIDE(a, b)   (a) / (b)
BINARY_SHORT(add_f32, ADD)
BINARY_SHORT(sub_f32, SUBTRACT)
BINARY_SHORT(mul_f32, MULTIPLY)
BINARY_SHORT(div_f32, DIVIDE)
BINARY_SHORT(min_f32, f32v_min)
BINARY_SHORT(max_f32, f32v_max)

void WEFT_KERNEL_NAME(pow_f32)(size_t n, const float *a, const float *b, float *y) {
  for (size_t i = 0; i < n; i += WEFT_LANES) {
    f32v r = vec_pow(f32v_load_upto(a + i, n - i), f32v_load_upto(b + i, n - i));
    f32v_store_upto(y + i, r, n - i);
  }
}

/* Plain loops, which compilers vectorise, bytes and floats mixed, as well as we would. */
#define COMPARE(name, operator)                                                                    \
  void WEFT_KERNEL_NAME(name)(size_t n, const float *a, const float *b, uint8_t *y) {              \
    for (size_t i = 0; i < n; i++) y[i] = a[i] operator b[i];                                      \
  }
COMPARE(equal_f32, ==)
COMPARE(less_f32, <)
COMPARE(less_equal_f32, <=)

void WEFT_KERNEL_NAME(select_f32)(size_t n, const uint8_t *c, const float *a, const float *b,
                                  float *y) {
  for (size_t i = 0; i < n; i++) {
    float yes = a[i], no = b[i]; /* both read: no branch */
    y[i] = c[i] ? yes : no;
  }
}
