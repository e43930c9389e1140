/* tile.h - the innermost loop of matrix products: a tile of C that stays in registers while k runs.
 * gemm.c and attention.c instantiate it with constant sizes. */
#ifndef WEFT_KERNELS_TILE_H
#define WEFT_KERNELS_TILE_H

#include "kernels/vec.h"

/* Where an operand's elements are, in floats. */
typedef struct tile_a {
  const float *at; /* a[i][k] = at[i * row + k], or by columns at[i + k * column] */
  size_t row, column;
} tile_a;
typedef struct tile_b { /* vector j of b[k] = at[j / 2 * panel + j % 2 * WEFT_LANES + k * row] */
  const float *at;
  size_t row, panel;
} tile_b;

/* acc[i * vectors + j] += sum over `depth` steps of k of a[i][k] * b[k][j], for rows x vectors
 * accumulators; a stored by rows or by columns. Every element is summed in the order of k whatever
 * the tile is, so that a row's result does not depend on the rows around it. By rows there is a
 * pointer for each, hidden, because clang for wasm would compute each from the one before; by
 * columns one is hidden at each step, because only then offsets from it become part of the loads.
 */
VEC_INLINE void tile_product(const int rows, const int vectors, const bool by_rows, size_t depth,
                             tile_a a, tile_b b, f32v *acc) {
  const float *row[8];
  VEC_FOR(i, rows) {
    row[i] = a.at + (size_t)i * a.row;
    VEC_HIDE(row[i]);
  }
  VEC_LOOP for (; depth > 0; depth--, a.at += a.column, b.at += b.row) {
    f32v bs[8];
    const float *column = a.at;
    VEC_HIDE(column);
    VEC_FOR(j, vectors)
    bs[j] = f32v_load(b.at + (size_t)(j / 2) * b.panel + (size_t)(j % 2 * WEFT_LANES));
    VEC_FOR(i, rows) {
      f32v s = f32v_load_splat(by_rows ? row[i] : column + i);
      VEC_FOR(j, vectors) acc[i * vectors + j] = f32v_fma(s, bs[j], acc[i * vectors + j]);
    }
    VEC_FOR(i, rows) row[i]++;
  }
}

#endif
