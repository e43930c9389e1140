/* matmul.h - what a matrix product knows when it runs: matmul.c works it out, gemm.c does f32,
 * gemm_packed.c what differs where B is packed in few bits, matmul_plain.c the other types. */
#ifndef WEFT_CPU_MATMUL_H
#define WEFT_CPU_MATMUL_H

#include "cpu/codes.h"
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
  uint64_t row_bytes;       /* of A, in a block of K */
} weft_blocking;

/* Rows of A brought into the form that the product reads, before it starts: 16-bit floats as f32,
 * or rounded to codes. */
typedef struct weft_matmul_rows {
  bool needed;
  weft_convert_fn *load;       /* NULL: f32 */
  uint64_t scratch, row_bytes; /* where they lie in the step's scratch */
  weft_work work;
} weft_matmul_rows;

typedef struct weft_matmul {
  const weft_kernels *kernels;
  uint64_t m, n, k, batches;
  const weft_array *a_array, *b_array;
  weft_operand a, b; /* where types must be converted */
  bool a_converted, b_converted;
  weft_matmul_rows rows;
  int64_t a_row, b_row, b_column; /* strides in elements; A's columns are dense */
  weft_nest batch;                /* offsets of A's and B's matrices */
  bool panels;                    /* B is packed as f32 ... */
  const weft_packed *packed;      /* ... or in few bits; NULL: not */
  bool rounded;                   /* A's rows are codes too */
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

/* An item of work of a gemm: rows of tiles [tile, tile_end) and panels [panel, panel_end) of one
 * batch. */
typedef struct weft_item {
  uint64_t batch, tile, tile_end, panel, panel_end;
  uint64_t row, column, columns; /* of the product: the first of each; how many */
  const float *a, *b;            /* of the batch */
  float *c;                      /* of the item: row 0 is `row` */
  uint64_t ldc;
} weft_item;

static inline uint64_t weft_tile_start(const weft_blocking *blocking, uint64_t tile) {
  return tile * blocking->tile_rows + weft_min_u64(tile, blocking->tiles_longer);
}
static inline uint64_t weft_tile_rows(const weft_blocking *blocking, uint64_t tile) {
  return blocking->tile_rows + (tile < blocking->tiles_longer);
}

void weft_gemm_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step);
/* Rows [k, k + k_count) of panels [panel, panel_end), which lie at b and `step` floats apart,
 * against tiles [tile, tile_end). */
void weft_gemm_panels(const weft_matmul *matmul, const weft_item *at, uint64_t tile,
                      uint64_t tile_end, uint64_t panel, uint64_t panel_end, const float *b,
                      uint64_t step, uint64_t k, uint64_t k_count);

/* The product of tiles [tile, tile_end) with the item's panels of few bits. `scratch`: of
 * weft_packed_scratch bytes. */
void weft_packed_multiply(const weft_matmul_run *run, const weft_item *at, uint64_t tile,
                          uint64_t tile_end, float *scratch);
/* Sets what depends on the packing: tiles of the kernel, blocks of K, panels per call. */
void weft_packed_blocking(weft_matmul *matmul);
uint64_t weft_packed_scratch(const weft_matmul *matmul);
const char *weft_packed_kernel(const weft_matmul *matmul);

/* Prepares and runs what has to be done to A's rows, if anything. */
void weft_matmul_rows_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step);
weft_status weft_matmul_rows_run(weft_matmul_run *run, const weft_step *step,
                                 const weft_execution *execution, weft_error *error);

void weft_plain_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step);

#endif
