/* attention.c - attention of a block of query rows over all keys, block of keys by block, with the
 * softmax kept up online.
 *
 * The scores are computed transposed, S^T[key][query] = K x Q^T: then K is read in place as the
 * left operand of gemm_f32, only Q (once per call) is transposed, and the softmax over keys runs
 * down columns, one query per lane, with nothing to do across lanes. P x V takes the weights from
 * where they are, as a left operand stored by columns. */
#include <float.h>

#include "kernels/target.h"
#include "kernels/tile.h"
#include "kernels/vec_math.h"

enum { COLUMNS = WEFT_GEMM_COLUMNS, KEYS = 128 };

/* The scratch, and where the work stands. `padded`: rows rounded up to panels. */
typedef struct block {
  const weft_attention_f32_args *args;
  size_t padded;
  float *query;   /* [padded / COLUMNS][head_size][COLUMNS]: Q^T in panels, times scale log2(e) */
  float *scores;  /* [KEYS][padded]: scores, then weights, of the block of keys */
  float *values;  /* [value_size / COLUMNS, rounded up][keys][COLUMNS]: V in panels */
  float *bias;    /* [KEYS]: a mask that all rows share, times log2(e) */
  float *largest; /* [padded]: of the scores so far */
  float *total;   /* [padded]: of the weights so far, relative to `largest` */
  float *factor;  /* [padded]: what a new `largest` multiplies earlier sums by */
  size_t from, keys; /* the block of keys */
} block;

static size_t whole_panels(size_t n) {
  return (n + COLUMNS - 1) / COLUMNS * COLUMNS;
}

size_t WEFT_KERNEL_NAME(attention_scratch)(const weft_attention_f32_args *args) {
  return whole_panels(args->rows) * (args->head_size + KEYS + 3) +
         KEYS * (whole_panels(args->value_size) + 1);
}

/* ---- scores ---------------------------------------------------------------------------------- */

#define LOG2_E 1.44269504088896341f

static void pack_query(block *b) {
  const weft_attention_f32_args *args = b->args;
  size_t n = b->padded * args->head_size;
  WEFT_KERNEL_NAME(gemm_pack_f32)
  (args->head_size, args->rows, args->q, 1, (ptrdiff_t)args->q_stride, b->query);
  float factor = args->scale * LOG2_E;
  for (size_t i = 0; i < n; i += WEFT_LANES)
    f32v_store(b->query + i, f32v_load(b->query + i) * factor);
}

/* K x Q^T, in tiles of nearly equal numbers of keys. */
static void compute_scores(block *b) {
  const weft_attention_f32_args *args = b->args;
  size_t tiles = (b->keys + WEFT_GEMM_ROWS - 1) / WEFT_GEMM_ROWS;
  for (size_t i = 0, key = 0, next; i < tiles; i++, key = next) {
    next = b->keys * (i + 1) / tiles;
    WEFT_KERNEL_NAME(gemm_f32)
    (&(weft_gemm_f32_args){.m = next - key,
                           .n = b->padded,
                           .k = args->head_size,
                           .a = args->k + (b->from + key) * args->k_stride,
                           .lda = args->k_stride,
                           .b = b->query,
                           .b_panel = args->head_size * COLUMNS,
                           .c = b->scores + key * b->padded,
                           .ldc = b->padded});
  }
}

/* A mask times log2(e). What masks by the lowest finite number stays finite:
 * where all keys are masked so, all weigh the same. */
VEC_INLINE f32v scale_mask(f32v mask) {
  f32v scaled = mask * LOG2_E, lowest = f32v_splat(-FLT_MAX);
  return f32v_select((scaled < lowest) & (mask >= lowest), lowest, scaled);
}

/* Adds a mask [rows][keys] to the transposed scores: by squares as far as they
 * fit. */
static void add_mask_rows(block *b) {
  const weft_attention_f32_args *args = b->args;
  const size_t stride = args->mask_stride, rows = args->rows / WEFT_LANES * WEFT_LANES;
  const size_t keys = b->keys / WEFT_LANES * WEFT_LANES;
  const float *mask = args->mask + b->from;
  for (size_t r = 0; r < rows; r += WEFT_LANES)
    for (size_t t = 0; t < keys; t += WEFT_LANES) {
      f32v square[WEFT_LANES];
      VEC_FOR(i, WEFT_LANES)
      square[i] = f32v_load(mask + (r + (size_t)i) * stride + t);
      f32v_transpose(square);
      VEC_FOR(i, WEFT_LANES) {
        float *at = b->scores + (t + (size_t)i) * b->padded + r;
        f32v_store(at, f32v_load(at) + scale_mask(square[i]));
      }
    }
  for (size_t r = 0; r < args->rows; r++)
    for (size_t t = r < rows ? keys : 0; t < b->keys; t++)
      b->scores[t * b->padded + r] += scale_mask(f32v_splat(mask[r * stride + t]))[0];
}

/* A mask that all rows share, for the softmax to add. */
static void scale_bias(block *b) {
  const float *mask = b->args->mask + b->from;
  for (size_t t = 0; t < b->keys; t += WEFT_LANES)
    f32v_store_upto(b->bias + t, scale_mask(f32v_load_upto(mask + t, b->keys - t)), b->keys - t);
}

static void hide_future(block *b) {
  const weft_attention_f32_args *args = b->args;
  for (size_t t = 0; t < b->keys; t++) {
    float *scores = b->scores + t * b->padded;
    for (size_t r = 0; r < args->rows && args->causal_offset + r < b->from + t; r++)
      scores[r] = -VEC_INF;
  }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* 2^x for x <= 0 (1e-7), but at least 2^-100: that cannot be seen in a sum that
 * has 1 in it, and no product with it is denormal, which processors are slow
 * at. */
VEC_INLINE f32v weight(f32v x) {
  f32v rounder = F32V_CONST(VEC_ROUNDER);
  x = f32v_quick_max(F32V_CONST(-100), x);
  f32v t = x + rounder, f = x - (t - rounder);
  f32v p = VEC_POLY(f, 1.0f, 0.6931471806f, 0.2402234904f, 0.05550381014f, 0.009666368515f,
                    0.001338130254f);
  return (f32v)((i32v)p + ((i32v)t << 23));
}

/* The score of key t for the queries at `scores`, with what the mask adds. */
VEC_INLINE f32v masked_score(const float *scores, const float *bias, size_t t) {
  f32v s = f32v_load(scores);
  return bias ? s + f32v_load_splat(bias + t) : s;
}

/* The largest score of each query of a panel, and of those seen before; more of
 * them in flight than a panel has vectors. */
VEC_INLINE void find_largest(const block *b, const float *scores, const float *bias,
                             f32v largest[2]) {
  f32v other[2] = {largest[0], largest[1]};
  size_t t = 0;
  for (; t + 2 <= b->keys; t += 2, scores += 2 * b->padded) VEC_FOR(j, 2) {
      const float *at = scores + j * WEFT_LANES;
      largest[j] = f32v_quick_max(largest[j], masked_score(at, bias, t));
      other[j] = f32v_quick_max(other[j], masked_score(at + b->padded, bias, t + 1));
    }
  VEC_FOR(j, 2) {
    if (t < b->keys)
      other[j] = f32v_quick_max(other[j], masked_score(scores + j * WEFT_LANES, bias, t));
    largest[j] = f32v_quick_max(largest[j], other[j]);
  }
}
/* Scores to weights for the panel of queries at `scores` [keys][stride]; bias
 * NULL: none. */
VEC_INLINE void softmax_panel(block *b, size_t row, const float *bias) {
  float *scores = b->scores + row;
  const size_t stride = b->padded, keys = b->keys;
  f32v before[2], largest[2], sum[2] = {{0}};
  VEC_FOR(j, 2)
  largest[j] = before[j] = f32v_load(b->largest + row + j * WEFT_LANES);
  find_largest(b, scores, bias, largest);
  f32v minus[2]; /* nothing seen yet: any finite number will do */
  VEC_FOR(j, 2) minus[j] = f32v_drop(largest[j] == -VEC_INF, largest[j]);
  for (size_t t = 0; t < keys; t++) VEC_FOR(j, 2) {
      float *at = scores + t * stride + j * WEFT_LANES;
      f32v w = weight(masked_score(at, bias, t) - minus[j]);
      f32v_store(at, w);
      sum[j] += w;
    }
  VEC_FOR(j, 2) {
    size_t i = row + (size_t)(j * WEFT_LANES);
    f32v factor = weight(before[j] - minus[j]);
    f32v_store(b->largest + i, largest[j]);
    f32v_store(b->factor + i, factor);
    f32v_store(b->total + i, f32v_fma(f32v_load(b->total + i), factor, sum[j]));
  }
}
static void softmax_with_bias(block *b, size_t row) {
  softmax_panel(b, row, b->bias);
}
static void softmax_plain(block *b, size_t row) {
  softmax_panel(b, row, NULL);
}

static void compute_weights(block *b) {
  const weft_attention_f32_args *args = b->args;
  bool bias = args->mask && args->mask_stride == 0;
  if (bias)
    scale_bias(b);
  else if (args->mask)
    add_mask_rows(b);
  if (args->causal) hide_future(b);
  for (size_t row = 0; row < b->padded; row += COLUMNS)
    (bias ? softmax_with_bias : softmax_plain)(b, row);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* out[row ...][column ... column + n) = what was there times factor, plus weights x V. */
#define TILE(rows, panels)                                                                         \
  static void tile_##rows##x##panels(block *b, size_t row, size_t column, size_t n) {              \
    enum { VECTORS = 2 * panels };                                                                 \
    const size_t stride = b->args->out_stride;                                                     \
    float *out = b->args->out + row * stride + column;                                             \
    f32v acc[rows * VECTORS] = {{0}};                                                              \
    tile_a weights = {.at = b->scores + row, .column = b->padded};                                 \
    tile_b values = {b->values + column * b->keys, COLUMNS, b->keys * COLUMNS};                    \
    tile_product(rows, VECTORS, false, b->keys, weights, values, acc);                             \
    VEC_FOR(i, rows)                                                                               \
    add_row(b, VECTORS, acc + i * VECTORS, row + (size_t)i, out + (size_t)i * stride, n);          \
  }

/* What was there is nothing when no block of keys was before. */
VEC_INLINE void add_row(const block *b, int vectors, const f32v *acc, size_t row, float *out,
                        size_t n) {
  f32v factor = f32v_load_splat(b->factor + row);
  VEC_FOR(j, vectors) {
    size_t from = (size_t)(j * WEFT_LANES);
    if (n == (size_t)vectors * WEFT_LANES) {
      f32v_store(out + from, b->from ? f32v_fma(f32v_load(out + from), factor, acc[j]) : acc[j]);
    } else if (from < n) {
      f32v before = b->from ? f32v_load_upto(out + from, n - from) : f32v_splat(0);
      f32v_store_upto(out + from, f32v_fma(before, factor, acc[j]), n - from);
    }
  }
}

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(1, 4)

typedef void tile_fn(block *b, size_t row, size_t column, size_t n);

/* n columns from `column` on, of all rows */
static void add_values_panel(block *b, size_t column, size_t n) {
  static tile_fn *const tiles[] = {NULL,     tile_1x1, tile_2x1, tile_3x1,
                                   tile_4x1, tile_5x1, tile_6x1};
  const size_t rows = b->args->rows, count = (rows + WEFT_GEMM_ROWS - 1) / WEFT_GEMM_ROWS;
  for (size_t i = 0, row = 0, next; i < count; i++, row = next) {
    next = rows * (i + 1) / count;
    tiles[next - row](b, row, column, n);
  }
}

/* V is packed as the right operand of a product: its rows may lie so far apart that a block of them
 * shares few sets of the cache and touches a page each. */
static void add_values(block *b) {
  const weft_attention_f32_args *args = b->args;
  const size_t n = args->value_size;
  size_t column = 0;
  WEFT_KERNEL_NAME(gemm_pack_f32)
  (b->keys, n, args->v + b->from * args->v_stride, (ptrdiff_t)args->v_stride, 1, b->values);
  if (args->rows == 1)
    for (; n - column >= 4 * COLUMNS; column += 4 * COLUMNS) tile_1x4(b, 0, column, 4 * COLUMNS);
  for (; column < n; column += COLUMNS)
    add_values_panel(b, column, n - column < COLUMNS ? n - column : COLUMNS);
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static block open_block(const weft_attention_f32_args *args) {
  size_t padded = whole_panels(args->rows);
  block b = {.args = args, .padded = padded, .query = args->scratch};
  b.scores = b.query + padded * args->head_size;
  b.values = b.scores + padded * KEYS;
  b.bias = b.values + KEYS * whole_panels(args->value_size);
  b.largest = b.bias + KEYS;
  b.total = b.largest + padded;
  b.factor = b.total + padded;
  for (size_t i = 0; i < padded; i++) b.largest[i] = -VEC_INF, b.total[i] = 0;
  return b;
}

/* Divides by the totals; zeros for rows that see nothing. */
static void finish(const block *b) {
  const weft_attention_f32_args *args = b->args;
  for (size_t r = 0; r < args->rows; r++) {
    float *out = args->out + r * args->out_stride, factor = 1 / b->total[r];
    bool nothing = b->largest[r] == -VEC_INF;
    for (size_t i = 0, n = args->value_size; i < n; i += WEFT_LANES) {
      f32v sum = nothing ? f32v_splat(0) : f32v_load_upto(out + i, n - i) * factor;
      f32v_store_upto(out + i, sum, n - i);
    }
  }
}

void WEFT_KERNEL_NAME(attention_f32)(const weft_attention_f32_args *args) {
  block b = open_block(args);
  size_t keys = args->keys, visible = args->causal_offset + args->rows;
  if (args->causal && visible < keys) keys = visible;
  pack_query(&b);
  size_t blocks = (keys + KEYS - 1) / KEYS;
  for (size_t i = 0; i < blocks; i++, b.from += b.keys) {
    b.keys = keys * (i + 1) / blocks - b.from;
    compute_scores(&b);
    compute_weights(&b);
    add_values(&b);
  }
  finish(&b);
}
