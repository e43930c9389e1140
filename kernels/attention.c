/* attention.c - attention of a block of query rows over all keys, block of keys by block, with the
 * softmax kept up online.
 *
 * The scores are computed transposed, S^T[key][query] = K x Q^T: then K is read in place as the
 * left operand of gemm_f32, only Q (once per call) is packed, and the softmax over keys runs down
 * columns, one query per lane, with nothing to do across lanes. P x V takes the weights from where
 * they are, as a left operand stored by columns, and V in place, but for columns that do not fill a
 * panel. */
#include <float.h>

#include "kernels/target.h"
#include "kernels/tile.h"
#include "kernels/vec_math.h"

enum { COLUMNS = WEFT_GEMM_COLUMNS, KEYS = 96 };

/* The scratch, and where the work stands. `padded`: rows rounded up to panels. */
typedef struct block {
  const weft_attention_f32_args *args;
  size_t padded;
  float *query;   /* [padded / COLUMNS][head_size][COLUMNS]: Q^T in panels, times scale log2(e) */
  float *scores;  /* [KEYS][padded]: scores, then weights, of the block of keys */
  float *bias;    /* [KEYS]: a mask that all rows share, times log2(e) */
  float *largest; /* [padded]: of the scores so far */
  float *total;   /* [padded]: of the weights so far, relative to `largest` */
  float *factor;  /* [padded]: what a new `largest` multiplies earlier sums by */
  float *values;  /* [KEYS][COLUMNS]: the last columns of V, padded with zeros */
  size_t from, keys; /* the block of keys */
} block;

static size_t padded_rows(const weft_attention_f32_args *args) {
  return (args->rows + COLUMNS - 1) / COLUMNS * COLUMNS;
}

size_t WEFT_KERNEL_NAME(attention_scratch)(const weft_attention_f32_args *args) {
  return padded_rows(args) * (args->head_size + KEYS + 3) + KEYS + KEYS * COLUMNS;
}

/* ---- scores
 * -------------------------------------------------------------------------------------- */

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
                           .c = b->scores + key * b->padded,
                           .ldc = b->padded});
  }
}

/* A mask's value times log2(e). What masks by the lowest finite number stays finite: where all keys
 * are masked so, all weigh the same. */
static float scale_mask(float mask) {
  float scaled = mask * LOG2_E;
  return scaled < -FLT_MAX && mask >= -FLT_MAX ? -FLT_MAX : scaled;
}

/* A mask of one row goes to b->bias, for the softmax to add; one of many rows is added here. */
static void add_mask(block *b) {
  const weft_attention_f32_args *args = b->args;
  for (size_t t = 0; t < b->keys; t++) {
    const float *mask = args->mask + b->from + t;
    float *scores = b->scores + t * b->padded;
    if (args->mask_stride == 0)
      b->bias[t] = scale_mask(*mask);
    else
      for (size_t r = 0; r < args->rows; r++, mask += args->mask_stride)
        scores[r] += scale_mask(*mask);
  }
}

static void hide_future(block *b) {
  const weft_attention_f32_args *args = b->args;
  for (size_t t = 0; t < b->keys; t++) {
    float *scores = b->scores + t * b->padded;
    for (size_t r = 0; r < args->rows && args->causal_offset + r < b->from + t; r++)
      scores[r] = -VEC_INF;
  }
}

/* ---- softmax
 * ------------------------------------------------------------------------------------- */

/* 2^x for x <= 0. Weights below 2^-100 cannot be seen in a sum that has 1 in it, and are 0; so no
 * product with them is denormal, which processors are slow at. (1e-7) */
VEC_INLINE f32v weight(f32v x) {
  f32v t = x + 0x1.8p23f, f = x - (t - 0x1.8p23f);
  f32v p = VEC_POLY(f, 1.0f, 0.6931471806f, 0.2402234904f, 0.05550381014f, 0.009666368515f,
                    0.001338130254f);
  return f32v_drop(x < -100, (f32v)((i32v)p + ((i32v)t << 23)));
}

/* Scores to weights for the panel of queries at `scores` [keys][stride]; bias NULL: none. */
VEC_INLINE void softmax_panel(block *b, size_t row, const float *bias) {
  float *scores = b->scores + row;
  const size_t stride = b->padded, keys = b->keys;
  f32v before[2], largest[2], sum[2] = {{0}};
  VEC_FOR(j, 2) largest[j] = before[j] = f32v_load(b->largest + row + j * WEFT_LANES);
  for (size_t t = 0; t < keys; t++) VEC_FOR(j, 2) {
      f32v s = f32v_load(scores + t * stride + j * WEFT_LANES);
      if (bias) s += f32v_load_splat(bias + t);
      largest[j] = f32v_quick_max(largest[j], s);
    }
  f32v minus[2]; /* nothing seen yet: any finite number will do */
  VEC_FOR(j, 2) minus[j] = f32v_drop(largest[j] == -VEC_INF, largest[j]);
  for (size_t t = 0; t < keys; t++) VEC_FOR(j, 2) {
      float *at = scores + t * stride + j * WEFT_LANES;
      f32v s = f32v_load(at);
      if (bias) s += f32v_load_splat(bias + t);
      f32v w = weight(s - minus[j]);
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
  if (args->mask) add_mask(b);
  if (args->causal) hide_future(b);
  bool bias = args->mask && args->mask_stride == 0;
  for (size_t row = 0; row < b->padded; row += COLUMNS)
    (bias ? softmax_with_bias : softmax_plain)(b, row);
}

/* ---- values
 * -------------------------------------------------------------------------------------- */

/* out[row ...][column ... column + n) = what was there times factor, plus weights x V. */
#define TILE(rows, panels)                                                                         \
  static void tile_##rows##x##panels(block *b, size_t row, size_t column, tile_b v, size_t n) {    \
    f32v acc[rows * 2 * panels];                                                                   \
    float *out = b->args->out + row * b->args->out_stride + column;                                \
    VEC_FOR(i, rows)                                                                               \
    load_row(b, 2 * panels, acc + i * 2 * panels, out + (size_t)i * b->args->out_stride,           \
             row + (size_t)i, n);                                                                  \
    tile_a weights = {b->scores + row, 1, b->padded};                                              \
    tile_product(rows, 2 * panels, b->keys, weights, v, acc);                                      \
    VEC_FOR(i, rows)                                                                               \
    store_row(2 * panels, acc + i * 2 * panels, out + (size_t)i * b->args->out_stride, n);         \
  }

VEC_INLINE void load_row(const block *b, int vectors, f32v *acc, const float *out, size_t row,
                         size_t n) {
  f32v factor = f32v_load_splat(b->factor + row);
  VEC_FOR(j, vectors) {
    size_t from = (size_t)(j * WEFT_LANES);
    acc[j] = f32v_splat(0);
    if (b->from > 0 && from < n) acc[j] = f32v_load_upto(out + from, n - from) * factor;
  }
}

VEC_INLINE void store_row(int vectors, const f32v *acc, float *out, size_t n) {
  VEC_FOR(j, vectors) {
    size_t from = (size_t)(j * WEFT_LANES);
    if (from < n) f32v_store_upto(out + from, acc[j], n - from);
  }
}

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(1, 4)

typedef void tile_fn(block *b, size_t row, size_t column, tile_b v, size_t n);

/* n columns from `column` on, of all rows */
static void add_values_panel(block *b, size_t column, tile_b v, size_t n) {
  static tile_fn *const tiles[] = {NULL,     tile_1x1, tile_2x1, tile_3x1,
                                   tile_4x1, tile_5x1, tile_6x1};
  const size_t rows = b->args->rows, count = (rows + WEFT_GEMM_ROWS - 1) / WEFT_GEMM_ROWS;
  for (size_t i = 0, row = 0, next; i < count; i++, row = next) {
    next = rows * (i + 1) / count;
    tiles[next - row](b, row, column, v, n);
  }
}

/* The last columns of V, n < COLUMNS, as a panel. */
static tile_b pack_values(block *b, size_t column, size_t n) {
  const weft_attention_f32_args *args = b->args;
  WEFT_KERNEL_NAME(gemm_pack_f32)
  (b->keys, n, args->v + b->from * args->v_stride + column, (ptrdiff_t)args->v_stride, 1,
   b->values);
  return (tile_b){b->values, COLUMNS, COLUMNS};
}

static void add_values(block *b) {
  const weft_attention_f32_args *args = b->args;
  const float *v = args->v + b->from * args->v_stride;
  size_t n = args->value_size, column = 0;
  if (args->rows == 1)
    for (; n - column >= 4 * COLUMNS; column += 4 * COLUMNS)
      tile_1x4(b, 0, column, (tile_b){v + column, args->v_stride, COLUMNS}, 4 * COLUMNS);
  for (; n - column >= COLUMNS; column += COLUMNS)
    add_values_panel(b, column, (tile_b){v + column, args->v_stride, COLUMNS}, COLUMNS);
  if (column < n) add_values_panel(b, column, pack_values(b, column, n - column), n - column);
}

/* ---- the kernel
 * ---------------------------------------------------------------------------------- */

static block open_block(const weft_attention_f32_args *args) {
  size_t padded = padded_rows(args);
  block b = {.args = args, .padded = padded, .query = args->scratch};
  b.scores = b.query + padded * args->head_size;
  b.values = b.scores + padded * KEYS;
  b.bias = b.values + KEYS * COLUMNS;
  b.largest = b.bias + KEYS;
  b.total = b.largest + padded;
  b.factor = b.total + padded;
  for (size_t i = 0; i < padded; i++) b.largest[i] = -VEC_INF, b.total[i] = 0;
  return b;
}

/* Divides by the totals. */
static void finish(const block *b) {
  const weft_attention_f32_args *args = b->args;
  for (size_t r = 0; r < args->rows; r++) {
    float *out = args->out + r * args->out_stride, factor = 1 / b->total[r];
    bool nothing = args->keys == 0 || b->total[r] == 0;
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
  for (; b.from < keys; b.from += KEYS) {
    b.keys = keys - b.from < KEYS ? keys - b.from : KEYS;
    compute_scores(&b);
    compute_weights(&b);
    add_values(&b);
  }
  finish(&b);
}
