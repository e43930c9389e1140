/* matrix.c (reference) - matrix product over packed panels and attention, in double, straight from
 * their definitions. */
#include "kernels/reference/double_math.h"
#include "kernels/target.h"

enum { COLUMNS = WEFT_GEMM_COLUMNS };

void WEFT_KERNEL_NAME(gemm_pack_f32)(size_t k, size_t n, const float *b, ptrdiff_t row_stride,
                                     ptrdiff_t column_stride, float *to) {
  for (size_t panel = 0; panel < n; panel += COLUMNS)
    for (size_t row = 0; row < k; row++)
      for (size_t j = panel; j < panel + COLUMNS; j++)
        *to++ = j < n ? b[(ptrdiff_t)row * row_stride + (ptrdiff_t)j * column_stride] : 0;
}

void WEFT_KERNEL_NAME(gemm_f32)(const weft_gemm_f32_args *args) {
  for (size_t i = 0; i < args->m; i++)
    for (size_t j = 0; j < args->n; j++) {
      const float *b = args->b + j / COLUMNS * args->b_panel + j % COLUMNS;
      float *c = &args->c[i * args->ldc + j];
      double sum = args->accumulate ? *c : 0;
      for (size_t k = 0; k < args->k; k++)
        sum += (double)args->a[i * args->lda + k] * b[k * COLUMNS];
      *c = (float)sum;
    }
}

size_t WEFT_KERNEL_NAME(attention_scratch)(const weft_attention_f32_args *args) {
  return 2 * args->keys; /* one double per key */
}

static bool sees(const weft_attention_f32_args *args, size_t query, size_t key) {
  ptrdiff_t position = args->position + (ptrdiff_t)query, t = (ptrdiff_t)key;
  return (!args->causal || t <= position) &&
         (args->window == 0 || t > position - (ptrdiff_t)args->window);
}

static double score(const weft_attention_f32_args *args, size_t head, size_t query, size_t key) {
  const float *q = args->q + head * args->q_head_stride + query * args->q_stride;
  double sum = 0;
  if (!sees(args, query, key)) return -__builtin_inf();
  for (size_t i = 0; i < args->head_size; i++)
    sum += (double)q[i] * args->k[key * args->k_stride + i];
  sum *= args->scale;
  if (args->softcap > 0) sum = args->softcap * weft_double_tanh(sum / args->softcap);
  if (args->mask)
    sum += args->mask[head * args->mask_head_stride + query * args->mask_stride + key];
  return sum;
}

static void attention_row(const weft_attention_f32_args *args, size_t head, size_t query,
                          double *weight) {
  double sink = args->sink ? args->sink[head] : -__builtin_inf(), largest = sink;
  for (size_t t = 0; t < args->keys; t++) {
    weight[t] = score(args, head, query, t);
    if (weight[t] > largest) largest = weight[t];
  }
  double minus = largest == -__builtin_inf() ? 0 : largest, total = weft_double_exp(sink - minus);
  for (size_t t = 0; t < args->keys; t++) total += weight[t] = weft_double_exp(weight[t] - minus);
  for (size_t i = 0; i < args->value_size; i++) {
    double sum = 0;
    for (size_t t = 0; t < args->keys; t++) sum += weight[t] * args->v[t * args->v_stride + i];
    args->out[head * args->out_head_stride + query * args->out_stride + i] =
        total == 0 ? 0 : (float)(sum / total);
  }
  if (args->log_sum)
    args->log_sum[head * args->queries + query] = (float)(minus + weft_double_log(total));
}

void WEFT_KERNEL_NAME(attention_f32)(const weft_attention_f32_args *args) {
  for (size_t head = 0; head < args->heads; head++)
    for (size_t query = 0; query < args->queries; query++)
      attention_row(args, head, query, (double *)args->scratch);
}
