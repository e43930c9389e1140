/* double_math.c - plain series with argument reduction; see double_math.h. Chosen to be checked by
 * eye, not for speed. */
#include "kernels/reference/double_math.h"

#include <stdbool.h>
#include <stdint.h>

#include "kernels/trig_reduce.h"

#define LN2_HIGH 6.93147180369123816490e-01 /* 32 bits of ln 2, so that n * LN2_HIGH is exact */
#define LN2_LOW  1.90821492927058770002e-10
#define HALF_PI  1.57079632679489661923

typedef union {
  double f;
  uint64_t u;
} double_bits;

static double two_to(int n) {
  return (double_bits){.u = (uint64_t)(n + 1023) << 52}.f;
}

double weft_double_exp(double x) {
  if (x != x) return x;
  if (x > 709.0) return __builtin_inf();
  if (x < -700.0) return 0;
  int n = (int)(x * 1.44269504088896340736 + (x < 0 ? -0.5 : 0.5));
  double r = x - n * LN2_HIGH - n * LN2_LOW, sum = 1;
  for (int k = 14; k >= 1; k--) sum = 1 + sum * r / k;
  return sum * two_to(n);
}

/* 2 atanh(s) = log((1 + s) / (1 - s)), |s| <= 1/3 */
static double twice_atanh(double s) {
  double sum = 0;
  for (int k = 35; k >= 1; k -= 2) sum = sum * s * s + 1.0 / k;
  return 2 * s * sum;
}

double weft_double_log(double x) {
  if (x < 0) return __builtin_nan("");
  if (x == 0) return -__builtin_inf();
  if (!(x < __builtin_inf())) return x;
  double_bits bits = {.f = x};
  int e = (int)(bits.u >> 52) - 1023;
  bits.u = (bits.u & 0xFFFFFFFFFFFFF) | (uint64_t)1023 << 52;
  if (bits.f > 1.41421356237309504880) bits.f *= 0.5, e++;
  return e * LN2_HIGH + (e * LN2_LOW + twice_atanh((bits.f - 1) / (bits.f + 1)));
}

double weft_double_log1p(double x) {
  return x > -0.5 && x < 0.5 ? twice_atanh(x / (2 + x)) : weft_double_log(1 + x);
}

/* exp(-x^2) 2/sqrt(pi) times the sum of 2^k x^(2k+1) / (1 3 5 ... (2k+1)): all terms have one sign.
 */
double weft_double_erf(double x) {
  if (x != x) return x;
  if (x > 6) return 1;
  if (x < -6) return -1;
  double term = x, sum = x;
  for (int k = 1; k < 200; k++) sum += term *= 2 * x * x / (2 * k + 1);
  return 1.12837916709551257390 * weft_double_exp(-x * x) * sum;
}

/* Above 2 the continued fraction exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...
 * )))). */
double weft_double_erfc(double x) {
  if (!(x > 2)) return 1 - weft_double_erf(x);
  if (x > 26) return 0;
  double tail = x;
  for (int k = 120; k >= 1; k--) tail = x + 0.5 * k / tail;
  return 0.56418958354775628695 * weft_double_exp(-x * x) / tail;
}

/* sin(r) and cos(r) for |r| <= pi/4 are the series that starts with k = 1 (term r) or k = 0 (term
 * 1) */
static double sine_series(double r, int k) {
  double term = k ? r : 1, sum = term;
  for (int i = k + 1; i < 24; i += 2) sum += term *= -r * r / (i * (i + 1));
  return sum;
}

static double sine(double x, unsigned quarter_turns) {
  if (!(x - x == 0)) return __builtin_nan("");
  unsigned quadrant = 0;
  double r = x > -0.7 && x < 0.7 ? x : weft_reduce_half_pi((float)x, &quadrant);
  quadrant = (quadrant + quarter_turns) & 3;
  double s = sine_series(r, quadrant % 2 ? 0 : 1);
  return quadrant & 2 ? -s : s;
}

double weft_double_sin(double x) {
  return sine(x, 0);
}
double weft_double_cos(double x) {
  return sine(x, 1);
}

double weft_double_atan(double x) {
  if (x < 0) return -weft_double_atan(-x);
  if (x > 1) return HALF_PI - weft_double_atan(1 / x);
  double base = 0, t = x;
  if (x > 0.41421356237309504880) base = HALF_PI / 2, t = (x - 1) / (x + 1);
  double sum = 0;
  for (int k = 43; k >= 1; k -= 2) sum = 1.0 / k - sum * t * t;
  return base + t * sum;
}

double weft_double_sinh(double x) {
  if (!(x > -1 && x < 1)) return (weft_double_exp(x) - weft_double_exp(-x)) / 2;
  double term = x, sum = x;
  for (int k = 2; k < 24; k += 2) sum += term *= x * x / (k * (k + 1));
  return sum;
}

double weft_double_cosh(double x) {
  return (weft_double_exp(x) + weft_double_exp(-x)) / 2;
}

double weft_double_tanh(double x) {
  if (x > 20) return 1;
  if (x < -20) return -1;
  return weft_double_sinh(x) / weft_double_cosh(x);
}

/* As pow of C17 F.10.4.4. */
double weft_double_pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (x != x || y != y) return x + y;
  double size = x < 0 ? -x : x, y_size = y < 0 ? -y : y;
  bool whole = y_size >= 9007199254740992.0 || (double)(int64_t)y == y;
  bool odd = whole && y_size < 9007199254740992.0 && ((int64_t)y & 1);
  double r = size == 1 ? 1 : weft_double_exp(y * weft_double_log(size));
  if (!__builtin_signbit(x)) return r;
  if (x < 0 && size < __builtin_inf() && !whole) return __builtin_nan("");
  return odd ? -r : r;
}
