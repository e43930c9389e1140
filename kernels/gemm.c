/* gemm.c - C = A x B, A in place, B in packed panels. */
#include "kernels/target.h"
#include "kernels/tile.h"

_Static_assert(WEFT_GEMM_COLUMNS == 2 * WEFT_LANES, "a panel is two vectors wide");
enum { COLUMNS = WEFT_GEMM_COLUMNS };

/* A row of a tile: with `accumulate` what c holds, so that a sum over k can be cut anywhere and is
 * still added up in the order of k. */
VEC_INLINE void load_row(int vectors, f32v *row, const float *c, bool accumulate) {
  VEC_FOR(j, vectors) row[j] = accumulate ? f32v_load(c + j * WEFT_LANES) : f32v_splat(0);
}
VEC_INLINE void store_row(int vectors, const f32v *row, float *c) {
  VEC_FOR(j, vectors) f32v_store(c + j * WEFT_LANES, row[j]);
}

static void copy_rows(size_t rows, size_t n, const float *from, size_t from_stride, float *to,
                      size_t to_stride) {
  for (; rows > 0; rows--, from += from_stride, to += to_stride)
    for (size_t j = 0; j < n; j++) to[j] = from[j];
}

/* The product of all rows of `args` and the panels at b, into the first n columns of c; where c has
 * fewer than the panels, by way of `part`. */
#define TILE(rows, panels)                                                                         \
  static void tile_##rows##x##panels(const weft_gemm_f32_args *args, const float *b, float *c,     \
                                     size_t n) {                                                   \
    enum { VECTORS = 2 * panels, WIDTH = panels * COLUMNS };                                       \
    float part[rows * WIDTH], *to = n < WIDTH ? part : c;                                          \
    size_t stride = n < WIDTH ? WIDTH : args->ldc;                                                 \
    if (n < WIDTH && args->accumulate) copy_rows(rows, n, c, args->ldc, part, WIDTH);              \
    f32v acc[rows * VECTORS];                                                                      \
    VEC_FOR(i, rows)                                                                               \
    load_row(VECTORS, acc + i * VECTORS, to + (size_t)i * stride, args->accumulate);               \
    tile_a left = {.at = args->a, .row = args->lda};                                               \
    tile_b right = {b, COLUMNS, args->b_panel};                                                    \
    tile_product(rows, VECTORS, true, args->k, left, right, acc);                                  \
    VEC_FOR(i, rows) store_row(VECTORS, acc + i * VECTORS, to + (size_t)i * stride);               \
    if (n < WIDTH) copy_rows(rows, n, part, WIDTH, c, args->ldc);                                  \
  }

TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
/* Few rows: accumulators of several panels hide the latency of the additions.
 */
TILE(1, 4)
TILE(2, 2)

typedef void tile_fn(const weft_gemm_f32_args *args, const float *b, float *c, size_t n);

void WEFT_KERNEL_NAME(gemm_f32)(const weft_gemm_f32_args *args) {
  static tile_fn *const one[] = {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1};
  static tile_fn *const several[] = {NULL, tile_1x4, tile_2x2};
  const float *b = args->b;
  size_t n = args->n, done = 0, m = args->m;
  if (m <= 2)
    for (size_t columns = m == 1 ? 4 * COLUMNS : 2 * COLUMNS; n - done >= columns; done += columns)
      several[m](args, b + done / COLUMNS * args->b_panel, args->c + done, columns);
  for (; done < n; done += COLUMNS)
    one[m](args, b + done / COLUMNS * args->b_panel, args->c + done,
           n - done < COLUMNS ? n - done : COLUMNS);
}

/* A panel of `width` columns whose rows lie dense: copied row by row. */
static void pack_rows(size_t k, size_t width, const float *b, ptrdiff_t row_stride, float *to) {
  size_t rest = width > WEFT_LANES ? width - WEFT_LANES : 0;
  for (; k > 0; k--, b += row_stride, to += COLUMNS) {
    f32v_store(to, f32v_load_upto(b, width));
    f32v_store(to + WEFT_LANES, rest ? f32v_load_upto(b + WEFT_LANES, rest) : f32v_splat(0));
  }
}

/* One whose columns lie dense: transposed by squares. Returns how many rows it
 * has done. */
static size_t pack_squares(size_t k, size_t width, const float *b, ptrdiff_t column_stride,
                           float *to) {
  size_t row = 0;
  for (; row + WEFT_LANES <= k; row += WEFT_LANES)
    for (size_t half = 0; half < COLUMNS; half += WEFT_LANES) {
      f32v square[WEFT_LANES];
      VEC_FOR(j, WEFT_LANES) {
        size_t column = half + (size_t)j;
        square[j] = f32v_splat(0);
        if (column < width) square[j] = f32v_load(b + (ptrdiff_t)column * column_stride + row);
      }
      f32v_transpose(square);
      VEC_FOR(j, WEFT_LANES)
      f32v_store(to + (row + (size_t)j) * COLUMNS + half, square[j]);
    }
  return row;
}

static void pack_any(size_t k, size_t width, const float *b, ptrdiff_t row_stride,
                     ptrdiff_t column_stride, float *to) {
  for (; k > 0; k--, b += row_stride, to += COLUMNS)
    for (size_t j = 0; j < COLUMNS; j++) to[j] = j < width ? b[(ptrdiff_t)j * column_stride] : 0;
}

void WEFT_KERNEL_NAME(gemm_pack_f32)(size_t k, size_t n, const float *b, ptrdiff_t row_stride,
                                     ptrdiff_t column_stride, float *to) {
  for (size_t done = 0; done < n; done += COLUMNS, to += k * COLUMNS) {
    size_t width = n - done < COLUMNS ? n - done : COLUMNS, rows = 0;
    const float *from = b + (ptrdiff_t)done * column_stride;
    if (column_stride == 1) {
      pack_rows(k, width, from, row_stride, to);
      continue;
    }
    if (row_stride == 1) rows = pack_squares(k, width, from, column_stride, to);
    pack_any(k - rows, width, from + (ptrdiff_t)rows * row_stride, row_stride, column_stride,
             to + rows * COLUMNS);
  }
}
