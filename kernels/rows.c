/* rows.c - one row at a time: reductions, softmax, normalisations, rotary embedding. Sums are kept
 * in several vectors: more of them are in flight, and each adds up fewer elements, which keeps
 * rounding errors small. */
#include "kernels/target.h"
#include "kernels/vec_math.h"

/* ---- reductions
 * ---------------------------------------------------------------------------------- */

/* Sums longer than this are added up in double, block by block. */
enum { SUM_BLOCK = 4096 };

/* sum of (x - center)^power, power 1 or 2 */
VEC_INLINE float sum_block(size_t n, const float *x, float center, int power) {
  f32v sums[4] = {{0}}, tail = {0};
  size_t i = 0;
  for (; i + 4 * WEFT_LANES <= n; i += 4 * WEFT_LANES) VEC_FOR(j, 4) {
      f32v v = f32v_load(x + i + j * WEFT_LANES) - center;
      sums[j] = power == 2 ? f32v_fma(v, v, sums[j]) : sums[j] + v;
    }
  for (; i < n; i += WEFT_LANES) {
    f32v v = f32v_load_upto(x + i, n - i) - center;
    if (n - i < WEFT_LANES) v = f32v_keep(i32v_iota() < (int32_t)(n - i), v);
    tail += power == 2 ? v * v : v;
  }
  return f32v_sum((sums[0] + sums[1]) + (sums[2] + sums[3]) + tail);
}

VEC_INLINE double sum_power(size_t n, const float *x, float center, int power) {
  double total = 0;
  for (size_t i = 0; i < n; i += SUM_BLOCK)
    total += sum_block(n - i < SUM_BLOCK ? n - i : SUM_BLOCK, x + i, center, power);
  return total;
}

static double sum(size_t n, const float *x) {
  return sum_power(n, x, 0, 1);
}
static double sum_square(size_t n, const float *x, float center) {
  return sum_power(n, x, center, 2);
}

float WEFT_KERNEL_NAME(sum_f32)(size_t n, const float *x) {
  return (float)sum(n, x);
}
float WEFT_KERNEL_NAME(sum_square_f32)(size_t n, const float *x) {
  return (float)sum_square(n, x, 0);
}

/* Starting from x[0] in every lane; a tail shorter than a vector is compared against x[0] too. */
#define EXTREME(name, combine)                                                                     \
  float WEFT_KERNEL_NAME(name)(size_t n, const float *x) {                                         \
    f32v first = f32v_splat(x[0]), best[4] = {first, first, first, first};                         \
    size_t i = 0;                                                                                  \
    for (; i + 4 * WEFT_LANES <= n; i += 4 * WEFT_LANES)                                           \
      VEC_FOR(j, 4) best[j] = combine(best[j], f32v_load(x + i + j * WEFT_LANES));                 \
    for (; i < n; i += WEFT_LANES) {                                                               \
      f32v v = f32v_load_upto(x + i, n - i);                                                       \
      if (n - i < WEFT_LANES) v = f32v_select(i32v_iota() < (int32_t)(n - i), v, first);           \
      best[0] = combine(best[0], v);                                                               \
    }                                                                                              \
    f32v all = combine(combine(best[0], best[1]), combine(best[2], best[3]));                      \
    f32v one = f32v_splat(all[0]);                                                                 \
    VEC_FOR(j, WEFT_LANES) one = combine(one, f32v_splat(all[j]));                                 \
    return one[0];                                                                                 \
  }
EXTREME(maximum_f32, f32v_max)
EXTREME(minimum_f32, f32v_min)

/* ---- softmax
 * ------------------------------------------------------------------------------------- */

/* y = e^(x - largest), when y is not NULL; returns their sum */
VEC_INLINE float exp_and_sum(size_t n, const float *x, float largest, float *y) {
  f32v sum = {0};
  VEC_EACH(i, left, n, {
    f32v e = vec_exp_weight(f32v_load_upto(x + i, left) - largest);
    if (left < WEFT_LANES) e = f32v_keep(i32v_iota() < (int32_t)left, e);
    if (y) f32v_store_upto(y + i, e, left);
    sum += e;
  });
  return f32v_sum(sum);
}

void WEFT_KERNEL_NAME(softmax_f32)(size_t n, const float *x, float *y) {
  if (n == 0) return;
  float factor = 1 / exp_and_sum(n, x, WEFT_KERNEL_NAME(maximum_f32)(n, x), y);
  VEC_EACH(i, left, n, f32v_store_upto(y + i, f32v_load_upto(y + i, left) * factor, left));
}

void WEFT_KERNEL_NAME(log_softmax_f32)(size_t n, const float *x, float *y) {
  if (n == 0) return;
  float largest = WEFT_KERNEL_NAME(maximum_f32)(n, x);
  float log_total = vec_log(f32v_splat(exp_and_sum(n, x, largest, NULL)))[0];
  VEC_EACH(i, left, n,
           { f32v_store_upto(y + i, f32v_load_upto(x + i, left) - largest - log_total, left); });
}

/* ---- normalisations
 * ------------------------------------------------------------------------------ */

static void normalise(size_t n, const float *x, float mean, const float *scale, const float *bias,
                      float epsilon, float *y) {
  float factor = (float)(1 / __builtin_sqrt(sum_square(n, x, mean) / (double)n + (double)epsilon));
  VEC_EACH(i, left, n, {
    f32v v = (f32v_load_upto(x + i, left) - mean) * factor * f32v_load_upto(scale + i, left);
    if (bias) v += f32v_load_upto(bias + i, left);
    f32v_store_upto(y + i, v, left);
  });
}

void WEFT_KERNEL_NAME(layer_norm_f32)(size_t n, const float *x, const float *scale,
                                      const float *bias, float epsilon, float *y) {
  normalise(n, x, (float)(sum(n, x) / (double)n), scale, bias, epsilon, y);
}

void WEFT_KERNEL_NAME(rms_norm_f32)(size_t n, const float *x, const float *scale, const float *bias,
                                    float epsilon, float *y) {
  normalise(n, x, 0, scale, bias, epsilon, y);
}

/* ---- rotary embedding
 * ------------------------------------------------------------------------------ */

/* A vector of pairs. */
VEC_INLINE void turn(f32v a, f32v b, f32v c, f32v s, f32v *real, f32v *imaginary) {
  *real = f32v_fnma(b, s, a * c);
  *imaginary = f32v_fma(a, s, b * c);
}

void WEFT_KERNEL_NAME(rotary_halves_f32)(size_t n, const float *x, const float *cosines,
                                         const float *sines, float *y) {
  VEC_EACH(i, left, n, {
    f32v c = f32v_load_upto(cosines + i, left);
    f32v s = f32v_load_upto(sines + i, left);
    f32v real;
    f32v other;
    turn(f32v_load_upto(x + i, left), f32v_load_upto(x + n + i, left), c, s, &real, &other);
    f32v_store_upto(y + i, real, left);
    f32v_store_upto(y + n + i, other, left);
  });
}

void WEFT_KERNEL_NAME(rotary_interleaved_f32)(size_t n, const float *x, const float *cosines,
                                              const float *sines, float *y) {
  VEC_EACH(i, left, n, {
    const size_t low = left < WEFT_LANES / 2 ? 2 * left : WEFT_LANES;
    const size_t high = 2 * left - low;
    f32v a = f32v_load_upto(x + 2 * i, low);
    f32v b = high ? f32v_load_upto(x + 2 * i + low, high) : f32v_splat(0);
    f32v c = f32v_load_upto(cosines + i, left);
    f32v s = f32v_load_upto(sines + i, left);
    f32v real;
    f32v other;
    turn(f32v_evens(a, b), f32v_odds(a, b), c, s, &real, &other);
    f32v_store_upto(y + 2 * i, f32v_zip_low(real, other), low);
    if (high) f32v_store_upto(y + 2 * i + low, f32v_zip_high(real, other), high);
  });
}
