/* attention_few.c - attention of few rows, as when tokens are generated one by one: then the keys
 * and values of a long past are read once and hardly computed with, so that memory is what counts.
 *
 * Both are read in place, in the order of memory. A score is a dot product along the row of a key,
 * summed across lanes at its end, four keys at a time; weights lie dense by row. */
#include "kernels/attention.h"
#include "kernels/tile.h"

enum {
  KEYS = 256, /* between two looks at the largest score */
  GROUP = 4,  /* keys whose dot products are summed across lanes together */
  STEP = 16,  /* keys whose values are added up before the next ones are read */
};

/* The scratch, and where the work stands. */
typedef struct block {
  const weft_attention_f32_args *args;
  size_t rows, size, width; /* head_size and value_size rounded up to vectors */
  float *query;             /* [rows][size], times attention_factor */
  float *scores;            /* [rows][KEYS]: scores, then weights, of the block of keys */
  float *sums;              /* [rows][width]: weights x V, relative to `largest` */
  float *largest;           /* [rows]: of the scores so far */
  float *total;             /* [rows]: of the weights so far */
  size_t from, keys;        /* the block of keys */
} block;

static size_t whole_vectors(size_t n) {
  return (n + WEFT_LANES - 1) / WEFT_LANES * WEFT_LANES;
}

size_t WEFT_KERNEL_NAME(attention_few_scratch)(const weft_attention_f32_args *args) {
  return args->heads * args->queries *
         (whole_vectors(args->head_size) + KEYS + whole_vectors(args->value_size) + 2);
}

/* ---- scores ---------------------------------------------------------------------------------- */

typedef float f32x4 __attribute__((vector_size(16)));
typedef f32x4 f32x4_in_memory __attribute__((aligned(4), may_alias));

VEC_INLINE f32x4 fold(f32v v) {
#if WEFT_LANES == 8
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return (f32x4)v;
#endif
}

/* The sums across lanes of four vectors. */
VEC_INLINE f32x4 sums_across(const f32v v[GROUP]) {
  f32x4 a = fold(v[0]), b = fold(v[1]), c = fold(v[2]), d = fold(v[3]);
  f32x4 ab = __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
  f32x4 cd = __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
}

/* acc[r][j] += q[r] * k[j] of one vector's length, of which k has `left` elements. */
VEC_INLINE void multiply(const int rows, const float *q, size_t size, const float *const k[GROUP],
                         size_t left, f32v *acc) {
  f32v keys[GROUP];
  VEC_FOR(j, GROUP) keys[j] = f32v_load_upto(k[j], left);
  VEC_FOR(r, rows) {
    f32v s = f32v_load(q + (size_t)r * size);
    VEC_FOR(j, GROUP) acc[r * GROUP + j] = f32v_fma(s, keys[j], acc[r * GROUP + j]);
  }
}

/* The scores of rows `row` ... for GROUP keys; past the last key its own again. */
#define DOTS(rows)                                                                                 \
  static void dots_##rows(const block *b, size_t row, size_t key) {                                \
    const weft_attention_f32_args *args = b->args;                                                 \
    const float *q = b->query + row * b->size, *k[GROUP];                                          \
    VEC_FOR(j, GROUP) {                                                                            \
      size_t t = key + (size_t)j < b->keys ? key + (size_t)j : b->keys - 1;                        \
      k[j] = args->k + (b->from + t) * args->k_stride;                                             \
      VEC_HIDE(k[j]);                                                                              \
    }                                                                                              \
    f32v acc[rows * GROUP] = {{0}};                                                                \
    size_t left = args->head_size;                                                                 \
    VEC_LOOP for (; left >= WEFT_LANES; left -= WEFT_LANES, q += WEFT_LANES) {                     \
      multiply(rows, q, b->size, k, WEFT_LANES, acc);                                              \
      VEC_FOR(j, GROUP) k[j] += WEFT_LANES;                                                        \
    }                                                                                              \
    if (left > 0) multiply(rows, q, b->size, k, left, acc);                                        \
    VEC_FOR(r, rows)                                                                               \
    *(f32x4_in_memory *)(b->scores + (row + (size_t)r) * KEYS + key) =                             \
        sums_across(acc + r * GROUP);                                                              \
  }
DOTS(1)
DOTS(2)

static void compute_scores(const block *b) {
  for (size_t key = 0; key < b->keys; key += GROUP) {
    size_t row = 0;
    for (; row + 2 <= b->rows; row += 2) dots_2(b, row, key);
    if (row < b->rows) dots_1(b, row, key);
  }
}

/* ---- softmax --------------------------------------------------------------------------------- */

static void hide(float *scores, size_t from, size_t to) {
  for (; from < to; from++) scores[from] = -VEC_INF;
}

/* Caps, masks, hides; up to a whole vector nothing is seen past the last key. */
static void mask_scores(const block *b, size_t row, float *scores) {
  const weft_attention_f32_args *args = b->args;
  if (args->softcap > 0) {
    f32v cap = f32v_splat(args->softcap * LOG2_E);
    for (size_t t = 0; t < b->keys; t += WEFT_LANES)
      f32v_store(scores + t, vec_tanh(f32v_load(scores + t)) * cap);
  }
  if (args->mask) {
    const float *mask = attention_mask(args, row) + b->from;
    VEC_EACH(t, left, b->keys, {
      f32v add = attention_scaled_mask(f32v_load_upto(mask + t, left));
      f32v_store(scores + t, f32v_load(scores + t) + add);
    });
  }
  attention_range seen = attention_part(attention_seen(args, row), b->from, b->keys);
  hide(scores, 0, seen.from);
  hide(scores, seen.to, whole_vectors(b->keys));
}

VEC_INLINE float largest_of(const float *x, size_t n, float largest) {
  f32v best[2] = {f32v_splat(largest), f32v_splat(largest)};
  size_t i = 0;
  for (; i + 2 * WEFT_LANES <= n; i += 2 * WEFT_LANES)
    VEC_FOR(j, 2) best[j] = f32v_quick_max(best[j], f32v_load(x + i + j * WEFT_LANES));
  if (i < n) best[0] = f32v_quick_max(best[0], f32v_load(x + i));
  best[0] = f32v_quick_max(best[0], best[1]);
  VEC_FOR(j, WEFT_LANES) largest = best[0][j] > largest ? best[0][j] : largest;
  return largest;
}

/* Scores to weights. What was added up before becomes relative to the new largest score. */
static void weigh(block *b, size_t row) {
  float *scores = b->scores + row * KEYS, *sums = b->sums + row * b->width;
  size_t n = whole_vectors(b->keys);
  f32v largest = f32v_splat(largest_of(scores, n, b->largest[row]));
  f32v minus = attention_minus(largest), total = {0};
  for (size_t t = 0; t < n; t += WEFT_LANES) {
    f32v w = attention_weight(f32v_load(scores + t) - minus);
    f32v_store(scores + t, w);
    total += w;
  }
  f32v factor = attention_weight(b->largest[row] - minus);
  for (size_t i = 0; i < b->width; i += WEFT_LANES)
    f32v_store(sums + i, f32v_load(sums + i) * factor);
  b->total[row] = b->total[row] * factor[0] + f32v_sum(total);
  b->largest[row] = largest[0];
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A few keys' values: `from` in V, or a copy of some columns of it. */
typedef struct values {
  const float *from;
  size_t stride;
  size_t key, keys; /* in the block */
} values;

/* sums[row ...][column ...] += weights x values */
#define SUMS(rows, vectors)                                                                        \
  static void sums_##rows##x##vectors(const block *b, const values *v, size_t row,                 \
                                      size_t column) {                                             \
    float *sums = b->sums + row * b->width + column;                                               \
    f32v acc[rows * vectors];                                                                      \
    VEC_FOR(i, rows)                                                                               \
    VEC_FOR(j, vectors)                                                                            \
    acc[i * vectors + j] = f32v_load(sums + (size_t)i * b->width + (size_t)(j * WEFT_LANES));      \
    tile_a weights = {.at = b->scores + row * KEYS + v->key, .row = KEYS};                         \
    tile_b right = {v->from, v->stride, 2 * WEFT_LANES};                                           \
    tile_product(rows, vectors, true, v->keys, weights, right, acc);                               \
    VEC_FOR(i, rows)                                                                               \
    VEC_FOR(j, vectors)                                                                            \
    f32v_store(sums + (size_t)i * b->width + (size_t)(j * WEFT_LANES), acc[i * vectors + j]);      \
  }
SUMS(1, 1)
SUMS(1, 4)
SUMS(2, 1)
SUMS(2, 4)

/* All rows, for the columns from `column` on. */
static void add_columns(const block *b, const values *v, size_t column, bool wide) {
  size_t row = 0;
  for (; row + 2 <= b->rows; row += 2) (wide ? sums_2x4 : sums_2x1)(b, v, row, column);
  if (row < b->rows) (wide ? sums_1x4 : sums_1x1)(b, v, row, column);
}

/* The columns that do not fill a vector, with zeros. */
static void add_last_columns(const block *b, const values *v, size_t column, size_t n) {
  float copy[STEP * WEFT_LANES];
  for (size_t t = 0; t < v->keys; t++)
    f32v_store(copy + t * WEFT_LANES, f32v_load_part(v->from + t * v->stride, n));
  add_columns(b, &(values){copy, WEFT_LANES, v->key, v->keys}, column, false);
}

static void add_values(const block *b) {
  const weft_attention_f32_args *args = b->args;
  enum { WIDE = 4 * WEFT_LANES };
  for (size_t key = 0; key < b->keys; key += STEP) {
    const float *from = args->v + (b->from + key) * args->v_stride;
    values v = {from, args->v_stride, key, b->keys - key < STEP ? b->keys - key : STEP};
    size_t n = args->value_size, column = 0;
    for (; column + WIDE <= n; column += WIDE, v.from += WIDE) add_columns(b, &v, column, true);
    for (; column + WEFT_LANES <= n; column += WEFT_LANES, v.from += WEFT_LANES)
      add_columns(b, &v, column, false);
    if (column < n) add_last_columns(b, &v, column, n - column);
  }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void load_query(const block *b, size_t row) {
  const weft_attention_f32_args *args = b->args;
  const float *from = attention_query(args, row);
  float *to = b->query + row * b->size, factor = attention_factor(args);
  VEC_EACH(i, left, args->head_size, f32v_store(to + i, f32v_load_upto(from + i, left) * factor));
}

static block open_block(const weft_attention_f32_args *args) {
  size_t rows = args->heads * args->queries;
  block b = {.args = args, .rows = rows, .query = args->scratch};
  b.size = whole_vectors(args->head_size);
  b.width = whole_vectors(args->value_size);
  b.scores = b.query + rows * b.size;
  b.sums = b.scores + rows * KEYS;
  b.largest = b.sums + rows * b.width;
  b.total = b.largest + rows;
  for (size_t i = 0; i < rows * b.width; i += WEFT_LANES) f32v_store(b.sums + i, f32v_splat(0));
  for (size_t row = 0; row < rows; row++) {
    load_query(&b, row);
    attention_begin_row(args, row, b.largest + row, b.total + row);
  }
  return b;
}

void WEFT_KERNEL_NAME(attention_few)(const weft_attention_f32_args *args) {
  block b = open_block(args);
  attention_range seen = attention_seen_by_any(args);
  for (b.from = seen.from; b.from < seen.to; b.from += b.keys) {
    b.keys = seen.to - b.from < KEYS ? seen.to - b.from : KEYS;
    compute_scores(&b);
    for (size_t row = 0; row < b.rows; row++) {
      mask_scores(&b, row, b.scores + row * KEYS);
      weigh(&b, row);
    }
    add_values(&b);
  }
  for (size_t row = 0; row < b.rows; row++)
    attention_finish_row(args, row, b.sums + row * b.width, b.largest[row], b.total[row]);
}
