/* rows.c (reference) - reductions, softmax, normalisations and rotary embedding of one row, in
 * double. */
#include "kernels/reference/double_math.h"
#include "kernels/target.h"

static double sum(size_t n, const float *x) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += x[i];
  return total;
}

/* sum of (x - center)^2 */
static double sum_square(size_t n, const float *x, double center) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += (x[i] - center) * (x[i] - center);
  return total;
}

float WEFT_KERNEL_NAME(sum_f32)(size_t n, const float *x) {
  return (float)sum(n, x);
}
float WEFT_KERNEL_NAME(sum_square_f32)(size_t n, const float *x) {
  return (float)sum_square(n, x, 0);
}

float WEFT_KERNEL_NAME(maximum_f32)(size_t n, const float *x) {
  float best = x[0];
  for (size_t i = 1; i < n; i++) best = best != best || best > x[i] ? best : x[i];
  return best;
}

float WEFT_KERNEL_NAME(minimum_f32)(size_t n, const float *x) {
  float best = x[0];
  for (size_t i = 1; i < n; i++) best = best != best || best < x[i] ? best : x[i];
  return best;
}

static double sum_exp(size_t n, const float *x, double minus) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += weft_double_exp(x[i] - minus);
  return total;
}

void WEFT_KERNEL_NAME(softmax_f32)(size_t n, const float *x, float *y) {
  if (n == 0) return;
  double largest = WEFT_KERNEL_NAME(maximum_f32)(n, x), total = sum_exp(n, x, largest);
  for (size_t i = 0; i < n; i++) y[i] = (float)(weft_double_exp(x[i] - largest) / total);
}

void WEFT_KERNEL_NAME(log_softmax_f32)(size_t n, const float *x, float *y) {
  if (n == 0) return;
  double largest = WEFT_KERNEL_NAME(maximum_f32)(n, x);
  double log_total = weft_double_log(sum_exp(n, x, largest));
  for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] - largest - log_total);
}

static void normalise(size_t n, const float *x, double mean, const float *scale, const float *bias,
                      double epsilon, float *y) {
  double factor = 1 / __builtin_sqrt(sum_square(n, x, mean) / (double)n + epsilon);
  for (size_t i = 0; i < n; i++)
    y[i] = (float)((x[i] - mean) * factor * scale[i] + (bias ? (double)bias[i] : 0));
}

void WEFT_KERNEL_NAME(layer_norm_f32)(size_t n, const float *x, const float *scale,
                                      const float *bias, float epsilon, float *y) {
  normalise(n, x, sum(n, x) / (double)n, scale, bias, (double)epsilon, y);
}

void WEFT_KERNEL_NAME(rms_norm_f32)(size_t n, const float *x, const float *scale, const float *bias,
                                    float epsilon, float *y) {
  normalise(n, x, 0, scale, bias, (double)epsilon, y);
}

static void turn(double c, double s, float *a, float *b) {
  double real = *a * c - *b * s, imaginary = *a * s + *b * c;
  *a = (float)real, *b = (float)imaginary;
}

void WEFT_KERNEL_NAME(rotary_halves_f32)(size_t n, const float *x, const float *cosines,
                                         const float *sines, float *y) {
  for (size_t i = 0; i < 2 * n; i++) y[i] = x[i];
  for (size_t i = 0; i < n; i++) turn(cosines[i], sines[i], &y[i], &y[n + i]);
}

void WEFT_KERNEL_NAME(rotary_interleaved_f32)(size_t n, const float *x, const float *cosines,
                                              const float *sines, float *y) {
  for (size_t i = 0; i < 2 * n; i++) y[i] = x[i];
  for (size_t i = 0; i < n; i++) turn(cosines[i], sines[i], &y[2 * i], &y[2 * i + 1]);
}
