/* vec_math.h - elementary functions on whole vectors, within a few ulp over all
 * floats. Polynomials are near-minimax fits, rationals fits of the relative
 * error; the error that is named is the approximation's own, before rounding.
 */
#ifndef WEFT_KERNELS_VEC_MATH_H
#define WEFT_KERNELS_VEC_MATH_H

#include "kernels/trig_reduce.h"
#include "kernels/vec.h"

#define VEC_LN2      0.693147180559945f
#define VEC_LN2_HIGH 0.693359375f /* 9 bits: times a small integer exact */
#define VEC_LN2_LOW  -2.12194440054690583e-4f
#define VEC_HALF_PI  1.57079632679489662f
#define VEC_INF      __builtin_inff()

/* c[0] + c[1] x + ... + c[n-1] x^(n-1) */
#define VEC_POLY(x, ...)                                                                           \
  __extension__({                                                                                  \
    static const float poly_[] = {__VA_ARGS__};                                                    \
    vec_poly(x, poly_, (int)(sizeof poly_ / sizeof *poly_));                                       \
  })
VEC_INLINE f32v vec_poly(f32v x, const float *c, int n) {
  f32v sum = F32V_CONST(c[n - 1]);
  VEC_FOR(i, n - 1) sum = f32v_fma(sum, x, F32V_CONST(c[n - 2 - i]));
  return sum;
}

/* x within [low, high]; NaN stays */
VEC_INLINE f32v vec_within(f32v x, float low, float high) {
  return f32v_quick_min(F32V_CONST(high), f32v_quick_max(F32V_CONST(low), x));
}

/* ---- exponentials ---------------------------------------------------------------------------- */

/* Adding it rounds to an integer, which then stands in the low bits. */
#define VEC_ROUNDER 0x1.8p23f

/* x = n ln 2 + r: returns e^r, and n in the low 23 bits of *n (4e-9). |x| <
 * 2^20. */
VEC_INLINE f32v vec_exp_parts(f32v x, i32v *n) {
  f32v rounder = F32V_CONST(VEC_ROUNDER);
  f32v t = f32v_fma(x, F32V_CONST(1.44269504088896341f), rounder), whole = t - rounder;
  *n = (i32v)t;
  f32v r = f32v_fnma(whole, F32V_CONST(VEC_LN2_HIGH), x);
  r = f32v_fnma(whole, F32V_CONST(VEC_LN2_LOW), r);
  f32v p = VEC_POLY(r, 0.5f, 0.1666657667f, 0.04166655421f, 0.008363232884f, 0.001392625083f);
  return f32v_fma(p * r, r, r) + F32V_CONST(1);
}

/* x 2^n for |n| < 250, also where 2^n alone is no normal float */
VEC_INLINE f32v vec_scale(f32v x, i32v n) {
  i32v half = n >> 1, one = (i32v)F32V_CONST(1);
  return x * (f32v)((half << 23) + one) * (f32v)(((n - half) << 23) + one);
}

/* e^x 2^shift */
VEC_INLINE f32v vec_exp_shifted(f32v x, i32v shift) {
  i32v n;
  f32v e = vec_exp_parts(vec_within(x, -110, 100), &n);
  return vec_scale(e, n - (i32v)F32V_CONST(VEC_ROUNDER) + shift);
}
VEC_INLINE f32v vec_exp(f32v x) {
  return vec_exp_shifted(x, i32v_splat(0));
}

/* e^x 2^(shift / 2^23) where that is a normal float; 0 and infinity a little beyond, as far as an
 * exponent has bits. */
VEC_INLINE f32v vec_exp_near(f32v x, i32v shift) {
  i32v n;
  f32v e = vec_exp_parts(x, &n);
  return e * (f32v)((n << 23) + shift + (i32v)F32V_CONST(1));
}

/* e^x for x <= 0, and 0 where it is below the normal floats, that is for x <
 * -126 ln 2 */
VEC_INLINE f32v vec_exp_weight(f32v x) {
  i32v n;
  f32v e = vec_exp_parts(x, &n);
  return f32v_drop(x < F32V_CONST(-87.33654f), (f32v)((i32v)e + (n << 23)));
}

/* (e^x - e^-x) / 2 */
VEC_INLINE f32v vec_sinh(f32v x) {
  f32v a = f32v_abs(x), z = x * x, e = vec_exp_shifted(a, i32v_splat(-1));
  f32v p = VEC_POLY(z, 0.1666666665f, 0.008333339676f, 0.0001983810197f, 2.806280258e-6f);
  return f32v_select(a < 1, f32v_fma(x * z, p, x), f32v_copysign(e - 0.25f / e, x));
}
VEC_INLINE f32v vec_cosh(f32v x) {
  f32v e = vec_exp_shifted(f32v_abs(x), i32v_splat(-1));
  return e + 0.25f / e;
}

/* min(x P(x^2) / Q(x^2), 1), which is 1 from `limit` on; the sign comes back at
 * the end. */
#define VEC_SATURATING(x, limit, p, q)                                                             \
  f32v a = f32v_quick_min(F32V_CONST(limit), f32v_abs(x));                                         \
  f32v z = a * a, below = q, above = a * p;                                                        \
  return f32v_copysign(f32v_quick_min(below, above) / below, x)

/* (2e-8) */
VEC_INLINE f32v vec_tanh(f32v x) {
  VEC_SATURATING(x, 10,
                 VEC_POLY(z, 0.9999999790155285f, 0.1337971938225545f, 0.0034940362176671454f,
                          2.0583506265880193e-05f, 1.3319102152093449e-08f),
                 VEC_POLY(z, 1.0f, 0.46713034624246785f, 0.025871079649899067f,
                          0.0003283095453359558f, 7.762032752486429e-07f));
}
/* erf as p(z) x / q(z) with z = x^2 (2e-8), for |x| <= VEC_ERF_LIMIT, where it is 1 in f32 */
#define VEC_ERF_LIMIT 4.2f
#define VEC_ERF_P(z)                                                                               \
  VEC_POLY(z, 1.1283791453639591f, 0.1907843705849487f, 0.05279035019404881f,                      \
           0.003779628895945894f, 0.00028480840038858356f, 2.0419588921947092e-06f)
#define VEC_ERF_Q(z)                                                                               \
  VEC_POLY(z, 1.0f, 0.5024109658994134f, 0.11425773817256901f, 0.014997479402260804f,              \
           0.001165216166119799f, 3.800393983311406e-05f)
VEC_INLINE f32v vec_erf(f32v x) {
  VEC_SATURATING(x, VEC_ERF_LIMIT, VEC_ERF_P(z), VEC_ERF_Q(z));
}

VEC_INLINE f32v vec_sigmoid(f32v x) {
  f32v e = vec_exp_near(-vec_within(x, -89, 88), i32v_splat(0));
  return F32V_CONST(1) / (F32V_CONST(1) + e);
}
/* x / (1 + e^-x), both times 2^-8 far left, so that e^-x stays finite while the quotient is normal
 */
VEC_INLINE f32v vec_silu(f32v x) {
  i32v shift = (x < F32V_CONST(-1)) & I32V_CONST(-(8 << 23));
  f32v one = (f32v)((i32v)F32V_CONST(1) + shift);
  return x * one / (one + vec_exp_near(-vec_within(x, -94.3f, 88), shift));
}
/* Small x need no care as in erf alone: an error of erf counts against x / 2. */
VEC_INLINE f32v vec_gelu_erf(f32v x) {
  f32v t = vec_within(x * F32V_CONST(0.707106781186547524f), -VEC_ERF_LIMIT, VEC_ERF_LIMIT);
  f32v z = t * t, half = x * F32V_CONST(0.5f);
  return f32v_fma(half, vec_within(VEC_ERF_P(z) * t / VEC_ERF_Q(z), -1, 1), half);
}
VEC_INLINE f32v vec_gelu_tanh(f32v x) { /* 1/2 (1 + tanh u) = 1 / (1 + e^-2u) */
  f32v u2 = x * f32v_fma(x * x, F32V_CONST(-0.0713548162726f), F32V_CONST(-1.59576912160573f));
  return x / (F32V_CONST(1) + vec_exp_near(vec_within(u2, -88, 89), i32v_splat(0)));
}

/* ---- logarithms ------------------------------------------------------------------------------ */

/* x = 2^e m with sqrt(1/2) <= m < sqrt(2), for x > 0 */
VEC_INLINE f32v vec_log_parts(f32v x, f32v *e) {
  i32v tiny = x < 0x1p-126f;
  i32v bits = (i32v)f32v_select(tiny, x * 0x1p23f, x);
  i32v n = (bits - 0x3F3504F3) >> 23;
  *e = f32v_from_i32(n) - f32v_keep(tiny, f32v_splat(23));
  return (f32v)(bits - (n << 23));
}

/* (5e-9) */
VEC_INLINE f32v vec_log(f32v x) {
  f32v e, f = vec_log_parts(x, &e) - 1;
  f32v p = VEC_POLY(f, 0.3333333118f, -0.2499999696f, 0.2000071575f, -0.1666780232f, 0.1424905765f,
                    -0.1242568733f, 0.1168541992f, -0.1147973385f, 0.06971611471f);
  f32v z = f * f;
  f32v low = f32v_fma(e, f32v_splat(VEC_LN2_LOW), p * z * f) - z * 0.5f;
  f32v r = f32v_fma(e, f32v_splat(VEC_LN2_HIGH), low + f);
  r = f32v_select(x == VEC_INF, x, r);
  f32v special = f32v_select(x == 0, f32v_splat(-VEC_INF), f32v_splat(__builtin_nanf("")));
  return f32v_select(x > 0, r, special);
}

/* log(1 + u), u > -1: what the rounding of 1 + u lost comes back as a
 * first-order term */
VEC_INLINE f32v vec_log1p(f32v u) {
  f32v w = 1 + u, lost = (u - (w - 1)) / w;
  return vec_log(w) + f32v_keep(u < 0x1p30f, lost);
}

VEC_INLINE f32v vec_softplus(f32v x) {
  return f32v_keep(x > 0, x) + vec_log1p(vec_exp(-f32v_abs(x)));
}

/* Above 2^28 the square would overflow, and the result is log(2 a) to the last
 * bit. */
VEC_INLINE f32v vec_asinh(f32v x) {
  f32v a = f32v_abs(x), z = a * a;
  i32v big = a > 0x1p28f;
  f32v u = f32v_select(big, a, a + z / (1 + f32v_sqrt(z + 1)));
  return f32v_copysign(vec_log1p(u) + f32v_keep(big, f32v_splat(VEC_LN2)), x);
}
VEC_INLINE f32v vec_acosh(f32v x) {
  f32v t = x - 1;
  i32v big = t > 0x1p28f;
  f32v u = f32v_select(big, t, t + f32v_sqrt(t * (t + 2)));
  f32v r = vec_log1p(u) + f32v_keep(big, f32v_splat(VEC_LN2));
  return f32v_select(x >= 1, r, f32v_splat(__builtin_nanf("")));
}
VEC_INLINE f32v vec_atanh(f32v x) {
  f32v a = f32v_abs(x);
  return f32v_copysign(0.5f * vec_log1p(2 * a / (1 - a)), x);
}

/* ---- trigonometry ---------------------------------------------------------------------------- */

typedef double f64v __attribute__((vector_size(WEFT_LANES * 8)));
typedef int64_t i64v __attribute__((vector_size(WEFT_LANES * 8)));

/* x = (quadrant + 4 j) pi/2 + r, |r| <= pi/4: in double up to 2^20, beyond lane
 * by lane */
VEC_INLINE f32v vec_reduce_half_pi(f32v x, i32v *quadrant) {
  const double magic = 0x1.8p52;
  f64v wide = __builtin_convertvector(x, f64v), t = wide * 0.63661977236758134308 + magic;
  f64v n = t - magic;
  /* pi/2 in 33 and 53 bits */
  f64v rest = wide - n * 1.57079632673412561417 - n * 6.07710050650619224932e-11;
  f32v r = __builtin_convertvector(rest, f32v);
  *quadrant = __builtin_convertvector((i64v)t, i32v);
  i32v large = ~(f32v_abs(x) <= 0x1p20f);
  if (!i32v_any(large)) return r;
  for (int i = 0; i < WEFT_LANES; i++) {
    unsigned lane_quadrant;
    if (!large[i]) continue;
    r[i] = x[i] - x[i] == 0 ? (float)weft_reduce_half_pi(x[i], &lane_quadrant) : x[i] - x[i];
    (*quadrant)[i] = x[i] - x[i] == 0 ? (int32_t)lane_quadrant : 0;
  }
  return r;
}

/* sin and cos of r, |r| <= pi/4 (2e-9) */
VEC_INLINE f32v vec_sin_reduced(f32v r) {
  f32v z = r * r;
  return f32v_fma(z * r, VEC_POLY(z, -0.1666666466f, 0.008332747105f, -0.000195876391f), r);
}
VEC_INLINE f32v vec_cos_reduced(f32v r) {
  f32v z = r * r, p = VEC_POLY(z, 0.04166666465f, -0.001388830187f, 2.454768977e-5f);
  return f32v_fma(z * z, p, 1 - z * 0.5f);
}

/* the sine of x and `quarters` quarter turns more */
VEC_INLINE f32v vec_sine(f32v x, int32_t quarters) {
  i32v quadrant;
  f32v r = vec_reduce_half_pi(x, &quadrant);
  quadrant += quarters;
  f32v s = f32v_select(-(quadrant & 1), vec_cos_reduced(r), vec_sin_reduced(r));
  return (f32v)((i32v)s ^ (quadrant >> 1) << 31);
}
VEC_INLINE f32v vec_sin(f32v x) {
  return vec_sine(x, 0);
}
VEC_INLINE f32v vec_cos(f32v x) {
  return vec_sine(x, 1);
}
VEC_INLINE f32v vec_tan(f32v x) {
  i32v quadrant;
  f32v r = vec_reduce_half_pi(x, &quadrant), s = vec_sin_reduced(r), c = vec_cos_reduced(r);
  i32v odd = -(quadrant & 1);
  return f32v_select(odd, -c, s) / f32v_select(odd, s, c);
}

/* Arguments above tan(pi/8) are turned by pi/4 or pi/2 (5e-9). */
VEC_INLINE f32v vec_atan(f32v x) {
  f32v a = f32v_abs(x), one = f32v_splat(1);
  i32v middle = a > 0.414213562f, far = a > 2.41421356f;
  f32v above = f32v_select(far, -one, f32v_select(middle, a - 1, a));
  f32v below = f32v_select(far, a, f32v_select(middle, a + 1, one));
  f32v base =
      f32v_keep(middle, f32v_select(far, f32v_splat(VEC_HALF_PI), f32v_splat(VEC_HALF_PI / 2)));
  f32v t = above / below, z = t * t;
  f32v p =
      VEC_POLY(z, -0.3333333175f, 0.1999953879f, -0.1426389711f, 0.1074309967f, -0.06449835225f);
  return f32v_copysign(base + f32v_fma(z * t, p, t), x);
}

/* asin(a) for a <= 1/2, and half of acos(a) above, where acos(a) = 2
 * asin(sqrt((1 - a) / 2)) (3e-9)
 */
VEC_INLINE f32v vec_asin_parts(f32v a, i32v high) {
  f32v z = f32v_select(high, (1 - a) * 0.5f, a * a), s = f32v_select(high, f32v_sqrt(z), a);
  f32v p = VEC_POLY(z, 0.1666666634f, 0.07500094543f, 0.04459940153f, 0.03110066274f,
                    0.01714923836f, 0.0336908472f);
  return f32v_fma(z * s, p, s);
}
VEC_INLINE f32v vec_asin(f32v x) {
  f32v a = f32v_abs(x);
  i32v high = a > 0.5f;
  f32v p = vec_asin_parts(a, high);
  return f32v_copysign(f32v_select(high, VEC_HALF_PI - 2 * p, p), x);
}
VEC_INLINE f32v vec_acos(f32v x) {
  f32v a = f32v_abs(x);
  i32v high = a > 0.5f;
  f32v p = f32v_copysign(vec_asin_parts(a, high), x);
  f32v turned = f32v_select(x < 0, 2 * VEC_HALF_PI + 2 * p, 2 * p);
  return f32v_select(high, turned, VEC_HALF_PI - p);
}

/* ---- powers ---------------------------------------------------------------------------------- */

/* y log2(x) in double, so that the integer part of the exponent costs no
 * accuracy (log2: 1e-13, 2^f: 1e-9); special cases as pow of C17 F.10.4.4. */
VEC_INLINE f32v vec_pow(f32v x, f32v y) {
  f32v e, a = f32v_abs(x), m = vec_log_parts(a, &e);
  e = f32v_select(a == 0, f32v_splat(-VEC_INF), f32v_select(a < VEC_INF, e, a));
  f64v wide = __builtin_convertvector(m, f64v), s = (wide - 1) / (wide + 1), q = s * s;
  f64v log2 = 0.31990537392276171 + q * 0.28290661659068111;
  log2 =
      2.8853900817778502 +
      q * (0.96179669411321272 + q * (0.57707794235945908 + q * (0.41220925678615497 + q * log2)));
  f64v z = __builtin_convertvector(y, f64v) * (__builtin_convertvector(e, f64v) + s * log2);
  f64v t = z + 0x1.8p52, rest = z - (t - 0x1.8p52);
  f32v f = __builtin_convertvector(rest, f32v), size = __builtin_convertvector(z, f32v);
  f32v p = VEC_POLY(f, 0.693147188f, 0.2402265076f, 0.05550357114f, 0.009618082557f,
                    0.001339086336f, 0.0001545316295f);
  f32v r = vec_scale(f32v_fma(p, f, f32v_splat(1)), __builtin_convertvector((i64v)t, i32v));
  r = f32v_select(size > 129, f32v_splat(VEC_INF), f32v_drop(size < -151, r));
  /* negative x: the parity of y decides */
  i32v whole = f32v_trunc(y) == y;
  i32v odd = whole & (f32v_abs(y) < 0x1p24f) &
             -(f32v_to_i32(f32v_clamp(y, f32v_splat(-0x1p24f), f32v_splat(0x1p24f))) & 1);
  f32v nan = f32v_splat(__builtin_nanf(""));
  r = f32v_select((x < 0) & (a < VEC_INF) & ~whole, nan, r);
  r = (f32v)((i32v)r ^ ((i32v)x & odd & INT32_MIN));
  /* without the double product: 1^y, x^0, and (-1)^(+-inf) */
  r = f32v_select((a == 1) & (f32v_abs(y) == VEC_INF), f32v_splat(1), r);
  return f32v_select((x == 1) | (y == 0), f32v_splat(1), r);
}

#endif
