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

static double score(const weft_attention_f32_args *args, size_t row, size_t key) {
  if (args->causal && key > args->causal_offset + row) return -__builtin_inf();
  double sum = 0;
  for (size_t i = 0; i < args->head_size; i++)
    sum += (double)args->q[row * args->q_stride + i] * args->k[key * args->k_stride + i];
  return sum * args->scale + (args->mask ? args->mask[row * args->mask_stride + key] : 0.0f);
}

static void attention_row(const weft_attention_f32_args *args, size_t row, double *weight) {
  double largest = -__builtin_inf(), total = 0;
  for (size_t t = 0; t < args->keys; t++) {
    weight[t] = score(args, row, t);
    if (weight[t] > largest) largest = weight[t];
  }
  bool nothing = largest == -__builtin_inf();
  for (size_t t = 0; t < args->keys; t++)
    total += weight[t] = weft_double_exp(weight[t] - (nothing ? 0 : largest));
  for (size_t i = 0; i < args->value_size; i++) {
    double sum = 0;
    for (size_t t = 0; t < args->keys; t++) sum += weight[t] * args->v[t * args->v_stride + i];
    args->out[row * args->out_stride + i] = total == 0 ? 0 : (float)(sum / total);
  }
}

void WEFT_KERNEL_NAME(attention_f32)(const weft_attention_f32_args *args) {
  for (size_t row = 0; row < args->rows; row++) attention_row(args, row, (double *)args->scratch);
}
