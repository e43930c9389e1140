/* attention.c - attention of a block of query rows over all keys that they see, block of keys by
 * block, with the softmax kept up online. Few rows are attention_few.c's.
 *
 * The scores are computed transposed, S^T[key][query] = K x Q^T: then K is read in place as the
 * left operand of the product, only Q (once per call) is transposed, and the softmax over keys runs
 * down columns, one query per lane, with nothing to do across lanes. P x V takes the weights from
 * where they are, as a left operand stored by columns. What no query of a panel sees is left out:
 * at the edges of what is seen, only tiles on the edge are computed for nothing. */
#include "kernels/attention.h"
#include "kernels/tile.h"

enum { COLUMNS = WEFT_GEMM_COLUMNS, KEYS = 128, PANELS_MAX = WEFT_ATTENTION_ROWS / COLUMNS };

/* The scratch, and where the work stands. */
typedef struct block {
  const weft_attention_f32_args *args;
  size_t rows, padded; /* rounded up to panels */
  size_t width;        /* value_size rounded up to panels */
  float *query;   /* [padded / COLUMNS][head_size][COLUMNS]: Q^T in panels, by attention_factor */
  float *scores;  /* [KEYS][padded]: scores, then weights, of the block of keys */
  float *values;  /* [width / COLUMNS][keys][COLUMNS]: V in panels */
  float *sums;    /* [rows][width]: weights x V, relative to `largest` */
  float *bias;    /* [KEYS]: a mask that all rows share, times log2(e) */
  float *largest; /* [padded]: of the scores so far */
  float *total;   /* [padded]: of the weights so far, relative to `largest` */
  float *factor;  /* [padded]: what a new `largest` multiplies earlier sums by */
  size_t from, keys;                /* the block of keys */
  bool first;                       /* no block was before */
  attention_range seen[PANELS_MAX]; /* the part of the block that any row of a panel sees */
} block;

static size_t whole_panels(size_t n) {
  return (n + COLUMNS - 1) / COLUMNS * COLUMNS;
}

static size_t many_scratch(const weft_attention_f32_args *args) {
  size_t rows = args->heads * args->queries, width = whole_panels(args->value_size);
  return whole_panels(rows) * (args->head_size + KEYS + 3) + rows * width + KEYS * (width + 1);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Q^T of the rows from `row` on: a panel, by squares as far as they fit. */
static void pack_panel(const block *b, size_t row, float *to) {
  const weft_attention_f32_args *args = b->args;
  const float *from[COLUMNS], factor = attention_factor(args);
  size_t size = args->head_size, n = b->rows - row < COLUMNS ? b->rows - row : COLUMNS, i = 0;
  for (size_t j = 0; j < COLUMNS; j++) from[j] = attention_query(args, row + (j < n ? j : 0));
  for (; i + WEFT_LANES <= size; i += WEFT_LANES)
    for (size_t half = 0; half < COLUMNS; half += WEFT_LANES) {
      f32v square[WEFT_LANES];
      VEC_FOR(j, WEFT_LANES) square[j] = f32v_load(from[half + (size_t)j] + i) * factor;
      f32v_transpose(square);
      VEC_FOR(j, WEFT_LANES) f32v_store(to + (i + (size_t)j) * COLUMNS + half, square[j]);
    }
  for (; i < size; i++)
    for (size_t j = 0; j < COLUMNS; j++) to[i * COLUMNS + j] = from[j][i] * factor;
}

/* What each panel sees of the block. */
static void find_seen(block *b) {
  for (size_t row = 0; row < b->padded; row += COLUMNS) {
    attention_range all = {SIZE_MAX, 0};
    for (size_t r = row; r < b->rows && r < row + COLUMNS; r++) {
      attention_range seen = attention_seen(b->args, r);
      if (seen.from < all.from) all.from = seen.from;
      if (seen.to > all.to) all.to = seen.to;
    }
    b->seen[row / COLUMNS] = attention_part(all, b->from, b->keys);
  }
}

/* K x Q^T for a few keys from `key` on, panel by panel. */
#define SCORES(keys_)                                                                              \
  static void scores_##keys_(const block *b, size_t key) {                                         \
    const weft_attention_f32_args *args = b->args;                                                 \
    tile_a keys = {.at = args->k + (b->from + key) * args->k_stride, .row = args->k_stride};       \
    for (size_t row = 0; row < b->padded; row += COLUMNS) {                                        \
      attention_range seen = b->seen[row / COLUMNS];                                               \
      if (seen.from >= key + keys_ || seen.to <= key) continue;                                    \
      f32v acc[keys_ * 2] = {{0}};                                                                 \
      tile_b query = {b->query + row * args->head_size, COLUMNS, 0};                               \
      float *to = b->scores + key * b->padded + row;                                               \
      tile_product(keys_, 2, true, args->head_size, keys, query, acc);                             \
      VEC_FOR(i, keys_ * 2)                                                                        \
      f32v_store(to + (size_t)(i / 2) * b->padded + (size_t)(i % 2 * WEFT_LANES), acc[i]);         \
    }                                                                                              \
  }
SCORES(1)
SCORES(2)
SCORES(3)
SCORES(4)
SCORES(5)
SCORES(6)

typedef void scores_fn(const block *b, size_t key);

/* In tiles of nearly equal numbers of keys. */
static void compute_scores(const block *b) {
  static scores_fn *const tiles[] = {NULL,     scores_1, scores_2, scores_3,
                                     scores_4, scores_5, scores_6};
  size_t count = (b->keys + WEFT_GEMM_ROWS - 1) / WEFT_GEMM_ROWS;
  for (size_t i = 0, key = 0, next; i < count; i++, key = next) {
    next = b->keys * (i + 1) / count;
    tiles[next - key](b, key);
  }
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* Adds a mask [rows][keys] to the transposed scores: by squares as far as they fit. */
static void add_mask_rows(block *b) {
  const weft_attention_f32_args *args = b->args;
  const size_t keys = b->keys / WEFT_LANES * WEFT_LANES;
  size_t row = 0;
  for (const float *mask[WEFT_LANES]; row + WEFT_LANES <= b->rows; row += WEFT_LANES) {
    VEC_FOR(i, WEFT_LANES) mask[i] = attention_mask(args, row + (size_t)i) + b->from;
    for (size_t t = 0; t < keys; t += WEFT_LANES) {
      f32v square[WEFT_LANES];
      VEC_FOR(i, WEFT_LANES) square[i] = f32v_load(mask[i] + t);
      f32v_transpose(square);
      VEC_FOR(i, WEFT_LANES) {
        float *at = b->scores + (t + (size_t)i) * b->padded + row;
        f32v_store(at, f32v_load(at) + attention_scaled_mask(square[i]));
      }
    }
  }
  for (size_t r = 0; r < b->rows; r++) {
    const float *mask = attention_mask(args, r) + b->from;
    for (size_t t = r < row ? keys : 0; t < b->keys; t++)
      b->scores[t * b->padded + r] += attention_scaled_mask(f32v_splat(mask[t]))[0];
  }
}

static bool one_mask_for_all(const weft_attention_f32_args *args) {
  return args->mask && args->mask_stride == 0 && (args->heads == 1 || args->mask_head_stride == 0);
}

/* A mask that all rows share, for the softmax to add. Answers whether it masks anything. */
static bool scale_bias(block *b) {
  const float *mask = b->args->mask + b->from;
  i32v any = {0};
  VEC_EACH(t, left, b->keys, {
    f32v bias = attention_scaled_mask(f32v_load_upto(mask + t, left));
    any |= bias != 0;
    f32v_store_upto(b->bias + t, bias, left);
  });
  return i32v_any(any);
}

static void cap_scores(block *b) {
  f32v cap = f32v_splat(b->args->softcap * LOG2_E);
  for (size_t i = 0; i < b->keys * b->padded; i += WEFT_LANES)
    f32v_store(b->scores + i, vec_tanh(f32v_load(b->scores + i)) * cap);
}

/* What a row does not see of its panel's part. */
static void hide_unseen(block *b) {
  for (size_t row = 0; row < b->rows; row++) {
    attention_range panel = b->seen[row / COLUMNS];
    attention_range seen = attention_part(attention_seen(b->args, row), b->from, b->keys);
    for (size_t t = panel.from; t < seen.from && t < panel.to; t++)
      b->scores[t * b->padded + row] = -VEC_INF;
    for (size_t t = seen.to > panel.from ? seen.to : panel.from; t < panel.to; t++)
      b->scores[t * b->padded + row] = -VEC_INF;
  }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* The score of key t for the queries at `scores`, with what the mask adds. */
VEC_INLINE f32v masked_score(const float *scores, const float *bias, size_t t) {
  f32v s = f32v_load(scores);
  return bias ? s + f32v_load_splat(bias + t) : s;
}

/* The largest score of each query of a panel, and of those seen before; more of them in flight than
 * a panel has vectors. */
VEC_INLINE void find_largest(const float *scores, size_t stride, const float *bias, size_t keys,
                             f32v largest[2]) {
  f32v other[2] = {largest[0], largest[1]};
  size_t t = 0;
  for (; t + 2 <= keys; t += 2, scores += 2 * stride) VEC_FOR(j, 2) {
      const float *at = scores + j * WEFT_LANES;
      largest[j] = f32v_quick_max(largest[j], masked_score(at, bias, t));
      other[j] = f32v_quick_max(other[j], masked_score(at + stride, bias, t + 1));
    }
  VEC_FOR(j, 2) {
    if (t < keys)
      other[j] = f32v_quick_max(other[j], masked_score(scores + j * WEFT_LANES, bias, t));
    largest[j] = f32v_quick_max(largest[j], other[j]);
  }
}

/* Scores to weights for the panel of queries from `row` on; bias NULL: none. */
VEC_INLINE void softmax_panel(block *b, size_t row, const float *bias) {
  const attention_range seen = b->seen[row / COLUMNS];
  const size_t stride = b->padded, keys = seen.to - seen.from;
  float *scores = b->scores + seen.from * stride + row;
  f32v before[2], largest[2], sum[2] = {{0}}, minus[2];
  VEC_FOR(j, 2) largest[j] = before[j] = f32v_load(b->largest + row + j * WEFT_LANES);
  if (bias) bias += seen.from;
  find_largest(scores, stride, bias, keys, largest);
  VEC_FOR(j, 2) minus[j] = attention_minus(largest[j]);
  for (size_t t = 0; t < keys; t++) VEC_FOR(j, 2) {
      float *at = scores + t * stride + j * WEFT_LANES;
      f32v w = attention_weight(masked_score(at, bias, t) - minus[j]);
      f32v_store(at, w);
      sum[j] += w;
    }
  VEC_FOR(j, 2) {
    size_t i = row + (size_t)(j * WEFT_LANES);
    f32v factor = attention_weight(before[j] - minus[j]);
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

/* Weights of 0 for what a panel does not see, since tiles of rows may reach from panel to panel. */
static void clear_unseen(block *b, size_t row) {
  attention_range seen = b->seen[row / COLUMNS];
  for (size_t t = 0; t < b->keys; t = t + 1 == seen.from ? seen.to : t + 1)
    if (t < seen.from || t >= seen.to) VEC_FOR(j, 2)
  f32v_store(b->scores + t * b->padded + row + j * WEFT_LANES, f32v_splat(0));
}

static void compute_weights(block *b) {
  const weft_attention_f32_args *args = b->args;
  bool shared = one_mask_for_all(args), bias = shared && scale_bias(b);
  if (args->softcap > 0) cap_scores(b);
  if (args->mask && !shared) add_mask_rows(b);
  if (args->causal || args->window > 0) hide_unseen(b);
  for (size_t row = 0; row < b->padded; row += COLUMNS) {
    (bias ? softmax_with_bias : softmax_plain)(b, row);
    clear_unseen(b, row);
  }
}

/* ---- values ---------------------------------------------------------------------------------- */

/* sums[row ...][column ... column + COLUMNS) = what was there times factor, plus weights x V of the
 * keys `seen`. */
#define TILE(rows)                                                                                 \
  static void tile_##rows(const block *b, size_t row, size_t column, attention_range seen) {       \
    float *sums = b->sums + row * b->width + column;                                               \
    f32v acc[rows * 2];                                                                            \
    VEC_FOR(i, rows) load_row(b, row + (size_t)i, sums + (size_t)i * b->width, acc + i * 2);       \
    tile_a weights = {.at = b->scores + seen.from * b->padded + row, .column = b->padded};         \
    tile_b values = {b->values + column * b->keys + seen.from * COLUMNS, COLUMNS, 0};              \
    tile_product(rows, 2, false, seen.to - seen.from, weights, values, acc);                       \
    VEC_FOR(i, rows * 2)                                                                           \
    f32v_store(sums + (size_t)(i / 2) * b->width + (size_t)(i % 2 * WEFT_LANES), acc[i]);          \
  }

VEC_INLINE void load_row(const block *b, size_t row, const float *sums, f32v acc[2]) {
  f32v factor = f32v_load_splat(b->factor + row);
  VEC_FOR(j, 2)
  acc[j] = b->first ? f32v_splat(0) : f32v_load(sums + j * WEFT_LANES) * factor;
}

TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void tile_fn(const block *b, size_t row, size_t column, attention_range seen);

/* What any of rows [row, next) sees: at most two panels, as a tile is no wider. */
static attention_range seen_by_rows(const block *b, size_t row, size_t next) {
  attention_range a = b->seen[row / COLUMNS], c = b->seen[(next - 1) / COLUMNS];
  return (attention_range){a.from < c.from ? a.from : c.from, a.to > c.to ? a.to : c.to};
}

/* V is packed as the right operand of a product: its rows may lie so far apart that a block of them
 * shares few sets of the cache and touches a page each. */
static void add_values(block *b) {
  static tile_fn *const tiles[] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
  const weft_attention_f32_args *args = b->args;
  const size_t count = (b->rows + WEFT_GEMM_ROWS - 1) / WEFT_GEMM_ROWS;
  WEFT_KERNEL_NAME(gemm_pack_f32)
  (b->keys, args->value_size, args->v + b->from * args->v_stride, (ptrdiff_t)args->v_stride, 1,
   b->values);
  for (size_t i = 0, row = 0, next; i < count; i++, row = next) {
    next = b->rows * (i + 1) / count;
    attention_range seen = seen_by_rows(b, row, next);
    for (size_t column = 0; column < b->width; column += COLUMNS)
      tiles[next - row](b, row, column, seen);
  }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static block open_block(const weft_attention_f32_args *args) {
  size_t rows = args->heads * args->queries, padded = whole_panels(rows);
  block b = {.args = args, .rows = rows, .padded = padded, .query = args->scratch, .first = true};
  b.width = whole_panels(args->value_size);
  b.scores = b.query + padded * args->head_size;
  b.values = b.scores + padded * KEYS;
  b.sums = b.values + KEYS * b.width;
  b.bias = b.sums + rows * b.width;
  b.largest = b.bias + KEYS;
  b.total = b.largest + padded;
  b.factor = b.total + padded;
  for (size_t row = 0; row < padded; row++)
    attention_begin_row(args, row < rows ? row : 0, b.largest + row, b.total + row);
  for (size_t row = 0; row < padded; row += COLUMNS)
    pack_panel(&b, row, b.query + row * args->head_size);
  return b;
}

static void attention_many(const weft_attention_f32_args *args) {
  block b = open_block(args);
  attention_range seen = attention_seen_by_any(args);
  size_t keys = seen.to - seen.from, blocks = (keys + KEYS - 1) / KEYS;
  for (size_t i = 0; i < blocks; i++, b.first = false) {
    b.from = seen.from + keys * i / blocks;
    b.keys = seen.from + keys * (i + 1) / blocks - b.from;
    find_seen(&b);
    compute_scores(&b);
    compute_weights(&b);
    add_values(&b);
  }
  for (size_t i = 0; i < b.rows * b.width && blocks == 0; i++) b.sums[i] = 0;
  for (size_t row = 0; row < b.rows; row++)
    attention_finish_row(args, row, b.sums + row * b.width, b.largest[row], b.total[row]);
}

/* ---- both forms ------------------------------------------------------------------------------ */

/* With fewer rows, panels of them would be filled with nothing. */
static bool are_few(const weft_attention_f32_args *args) {
  return args->heads * args->queries <= COLUMNS;
}

size_t WEFT_KERNEL_NAME(attention_scratch)(const weft_attention_f32_args *args) {
  return are_few(args) ? WEFT_KERNEL_NAME(attention_few_scratch)(args) : many_scratch(args);
}

void WEFT_KERNEL_NAME(attention_f32)(const weft_attention_f32_args *args) {
  if (are_few(args))
    WEFT_KERNEL_NAME(attention_few)(args);
  else
    attention_many(args);
}
