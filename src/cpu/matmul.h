/* matmul.h - what a matrix product knows when it runs: matmul.c works it out, gemm.c does f32,
 * matmul_plain.c the other types. */
#ifndef WEFT_CPU_MATMUL_H
#define WEFT_CPU_MATMUL_H

#include "cpu/operand.h"
#include "cpu/program.h"

/* How an f32 product is cut: rows into tiles of the kernel (of nearly one size), tiles into blocks
 * whose part of A stays in the L2 cache, B into panels of the kernel's columns and K into blocks so
 * that a panel block stays in the L1 cache. An item of work is some tiles x some panels of one
 * batch. */
typedef struct weft_blocking {
  uint64_t tiles, tile_rows, tiles_longer; /* the first tiles_longer have one row more */
  uint64_t tiles_per_block, tiles_per_item, row_groups;
  uint64_t panels, panels_per_item, column_groups;
  uint64_t k_block;
  uint64_t panels_per_call; /* of the kernel */
} weft_blocking;

typedef struct weft_matmul {
  const weft_kernels *kernels;
  uint64_t m, n, k, batches;
  const weft_array *a_array, *b_array;
  weft_operand a, b; /* where types must be converted */
  bool a_converted, b_converted;
  int64_t a_row, b_row, b_column; /* strides in elements; A's columns are dense */
  weft_nest batch;                /* offsets of A's and B's matrices */
  bool panels;                    /* B is packed */
  bool direct;                    /* the product is computed in the output */
  bool has_epilogue;
  weft_program epilogue;
  weft_blocking blocking;
  uint64_t product_bytes; /* of a worker's block, when not direct */
  weft_work work;
} weft_matmul;

/* One run: addresses. */
typedef struct weft_matmul_run {
  const weft_matmul *matmul;
  const uint8_t *a, *b;
  const uint8_t *sources[WEFT_EXPR_INPUTS_MAX]; /* [0]: the product, given block by block */
  uint8_t *output;
} weft_matmul_run;

void weft_gemm_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step);
void weft_plain_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step);

#endif
