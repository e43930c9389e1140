/* attention.h - what the two forms of attention share: attention.c for many rows, attention_few.c
 * for few. Scores are kept in units of log 2, so that weights are powers of 2. */
#ifndef WEFT_KERNELS_ATTENTION_H
#define WEFT_KERNELS_ATTENTION_H

#include <float.h>

#include "kernels/target.h"
#include "kernels/vec_math.h"

#define LOG2_E 1.44269504088896341f

void WEFT_KERNEL_NAME(attention_few)(const weft_attention_f32_args *args);
size_t WEFT_KERNEL_NAME(attention_few_scratch)(const weft_attention_f32_args *args);

/* ---- rows ------------------------------------------------------------------------------------ */

/* Row `row` of q, of the mask, of out. */
VEC_INLINE size_t attention_offset(const weft_attention_f32_args *args, size_t row,
                                   size_t head_stride, size_t stride) {
  size_t head = row < args->queries ? 0 : row / args->queries;
  return head * head_stride + (row - head * args->queries) * stride;
}
VEC_INLINE const float *attention_query(const weft_attention_f32_args *args, size_t row) {
  return args->q + attention_offset(args, row, args->q_head_stride, args->q_stride);
}
VEC_INLINE const float *attention_mask(const weft_attention_f32_args *args, size_t row) {
  return args->mask + attention_offset(args, row, args->mask_head_stride, args->mask_stride);
}
VEC_INLINE float *attention_out(const weft_attention_f32_args *args, size_t row) {
  return args->out + attention_offset(args, row, args->out_head_stride, args->out_stride);
}

/* Keys [from, to). */
typedef struct attention_range {
  size_t from, to;
} attention_range;

/* The part of it that lies in [from, from + keys), counted from there. */
VEC_INLINE attention_range attention_part(attention_range range, size_t from, size_t keys) {
  size_t to = range.to > from ? range.to - from : 0;
  range.from = range.from > from ? range.from - from : 0;
  range.to = to < keys ? to : keys;
  if (range.from > range.to) range.from = range.to;
  return range;
}

/* What a row sees. */
VEC_INLINE attention_range attention_seen(const weft_attention_f32_args *args, size_t row) {
  ptrdiff_t position =
      args->position + (ptrdiff_t)(row < args->queries ? row : row % args->queries);
  ptrdiff_t window = (ptrdiff_t)args->window;
  attention_range range = {0, args->keys};
  if (args->window > 0 && position >= window) range.from = (size_t)(position - window + 1);
  if (args->causal) range.to = position < 0 ? 0 : (size_t)position + 1;
  return attention_part(range, 0, args->keys);
}

/* What is seen by any row: positions grow with the query. */
VEC_INLINE attention_range attention_seen_by_any(const weft_attention_f32_args *args) {
  return (attention_range){attention_seen(args, 0).from,
                           attention_seen(args, args->queries - 1).to};
}

/* ---- scores and weights ---------------------------------------------------------------------- */

/* What a query is multiplied by: scores come out in units of log 2, or as what tanh is taken of. */
VEC_INLINE float attention_factor(const weft_attention_f32_args *args) {
  return args->softcap > 0 ? args->scale / args->softcap : args->scale * LOG2_E;
}

/* A mask in units of log 2. What masks by the lowest finite number stays finite: where all keys are
 * masked so, all weigh the same. */
VEC_INLINE f32v attention_scaled_mask(f32v mask) {
  f32v scaled = mask * LOG2_E, lowest = f32v_splat(-FLT_MAX);
  return f32v_select((scaled < lowest) & (mask >= lowest), lowest, scaled);
}

/* 2^x for x <= 0 (1e-7), but at least 2^-100: that cannot be seen in a sum that has 1 in it, and no
 * product with it is denormal, which processors are slow at. */
VEC_INLINE f32v attention_weight(f32v x) {
  f32v rounder = F32V_CONST(VEC_ROUNDER);
  x = f32v_quick_max(F32V_CONST(-100), x);
  f32v t = x + rounder, f = x - (t - rounder);
  f32v p = VEC_POLY(f, 1.0f, 0.6931471806f, 0.2402234904f, 0.05550381014f, 0.009666368515f,
                    0.001338130254f);
  return (f32v)((i32v)p + ((i32v)t << 23));
}

/* What is subtracted from scores whose largest is `largest`: where all are -inf any finite number
 * will do. */
VEC_INLINE f32v attention_minus(f32v largest) {
  return f32v_drop(largest == -VEC_INF, largest);
}

/* Largest score and sum of weights of a row before the first key. */
VEC_INLINE void attention_begin_row(const weft_attention_f32_args *args, size_t row, float *largest,
                                    float *total) {
  *largest = args->sink ? args->sink[attention_offset(args, row, 1, 0)] * LOG2_E : -VEC_INF;
  *total = args->sink ? 1 : 0;
}

/* Writes a row's sums [value_size] over its total; zeros for one that sees nothing. */
VEC_INLINE void attention_finish_row(const weft_attention_f32_args *args, size_t row,
                                     const float *sums, float largest, float total) {
  float *out = attention_out(args, row), factor = 1 / total;
  bool nothing = largest == -VEC_INF;
  VEC_EACH(i, left, args->value_size, {
    f32v sum = f32v_load_upto(sums + i, left) * factor;
    f32v_store_upto(out + i, nothing ? f32v_splat(0) : sum, left);
  });
  if (args->log_sum)
    args->log_sum[row] =
        nothing ? -VEC_INF : largest * (float)VEC_LN2 + vec_log(f32v_splat(total))[0];
}

#endif
