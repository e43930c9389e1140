/* gemm_packed.c - what is different in gemm.c where B is panels of few bits (codes.h). Rows that
 * are codes too go to the kernel of their products, a panel's whole length at a time; against rows
 * of floats a block of a panel is unpacked into the L1 cache, and multiplied as an f32 panel is. */
#include "cpu/matmul.h"

#define UNPACKED_BYTES  32768 /* as PANEL_BYTES of gemm.c */
#define LINE_BYTES      64
#define FEW_ROWS        2
#define FEW_ROWS_PANELS 4 /* together, to hide the latency of additions; narrow codes too */

/* ---- codes by codes ------------------------------------------------------------------------- */

static void multiply_codes(const weft_matmul_run *run, const weft_item *at, uint64_t tile,
                           uint64_t tile_end) {
  const weft_matmul *matmul = run->matmul;
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t columns = matmul->kernels->gemm_columns, first = at->batch * matmul->m;
  weft_gemm_codes_args args = {.format = matmul->packed->format,
                               .k = (size_t)matmul->k,
                               .b_panel = (size_t)matmul->packed->panel_bytes,
                               .ldc = (size_t)at->ldc};
  for (uint64_t p = at->panel, end; p < at->panel_end; p = end) {
    end = weft_min_u64(p + blocking->panels_per_call, at->panel_end);
    uint64_t column = p * columns, row = weft_tile_start(blocking, tile);
    args.n = (size_t)(weft_min_u64(end * columns, matmul->n) - column);
    args.b = weft_packed_panel(matmul->packed, p);
    for (uint64_t t = tile; t < tile_end; t++, row += args.m) {
      args.m = (size_t)weft_tile_rows(blocking, t);
      args.a = run->a + (first + row) * matmul->rows.row_bytes;
      args.c = at->c + (row - at->row) * at->ldc + (column - at->column);
      matmul->kernels->gemm_codes(&args);
    }
  }
}

/* ---- floats by unpacked panels -------------------------------------------------------------- */

/* Rows [k, k + count) of a panel as floats. */
static void unpack_panel(const weft_matmul *matmul, uint64_t panel, uint64_t k, uint64_t count,
                         float *to) {
  const weft_packed *packed = matmul->packed;
  uint64_t columns = matmul->kernels->gemm_columns;
  const uint8_t *from = weft_packed_panel(packed, panel);
  if (packed->kind == WEFT_PACKED_CODES) {
    weft_unpack_codes_args args = {packed->format, (size_t)k, (size_t)count, from, to};
    matmul->kernels->unpack_codes(&args);
    return;
  }
  weft_convert_fn *load =
      packed->kind == WEFT_PACKED_F16 ? matmul->kernels->f16_to_f32 : matmul->kernels->bf16_to_f32;
  load((size_t)(count * columns), from + k * columns * 2, to);
}

/* A block of K of panels [panel, panel_end). */
static void multiply_block(const weft_matmul *matmul, const weft_item *at, uint64_t tile,
                           uint64_t tile_end, uint64_t panel, uint64_t panel_end, uint64_t k,
                           float *unpacked) {
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t count = weft_min_u64(blocking->k_block, matmul->k - k);
  uint64_t step = count * matmul->kernels->gemm_columns;
  for (uint64_t p = panel, end; p < panel_end; p = end) {
    end = weft_min_u64(p + blocking->panels_per_call, panel_end);
    for (uint64_t i = p; i < end; i++) unpack_panel(matmul, i, k, count, unpacked + (i - p) * step);
    weft_gemm_panels(matmul, at, tile, tile_end, p, end, unpacked, step, k, count);
  }
}

/* Blocks of A stay in the cache while all panels pass; few rows do anyway, and then each panel is
 * read from its start to its end. */
static void multiply_floats(const weft_matmul *matmul, const weft_item *at, uint64_t tile,
                            uint64_t tile_end, float *unpacked) {
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t together = matmul->m <= FEW_ROWS ? blocking->panels_per_call : at->panel_end - at->panel;
  for (uint64_t p = at->panel, end; p < at->panel_end; p = end) {
    end = weft_min_u64(p + together, at->panel_end);
    for (uint64_t k = 0; k < matmul->k; k += blocking->k_block)
      multiply_block(matmul, at, tile, tile_end, p, end, k, unpacked);
  }
}

void weft_packed_multiply(const weft_matmul_run *run, const weft_item *at, uint64_t tile,
                          uint64_t tile_end, float *scratch) {
  if (run->matmul->rounded)
    multiply_codes(run, at, tile, tile_end);
  else
    multiply_floats(run->matmul, at, tile, tile_end, scratch);
}

/* ---- preparation ---------------------------------------------------------------------------- */

void weft_packed_blocking(weft_matmul *matmul) {
  weft_blocking *blocking = &matmul->blocking;
  const weft_packed *packed = matmul->packed;
  uint64_t columns = matmul->kernels->gemm_columns, line = LINE_BYTES / (columns * sizeof(float));
  if (line == 0) line = 1;
  if (matmul->rounded) {
    blocking->k_block = matmul->k;
    blocking->row_bytes = matmul->rows.row_bytes;
    blocking->panels_per_call = matmul->m == 1          ? packed->panels
                                : packed->format.narrow ? FEW_ROWS_PANELS
                                                        : line;
    return;
  }
  /* Blocks of K are whole blocks of codes. */
  uint64_t step = packed->kind == WEFT_PACKED_CODES ? packed->format.block : 1;
  blocking->panels_per_call = matmul->m <= FEW_ROWS ? FEW_ROWS_PANELS : line;
  uint64_t fits = UNPACKED_BYTES / (blocking->panels_per_call * columns * sizeof(float));
  blocking->k_block = weft_min_u64(matmul->k, fits < step ? step : fits / step * step);
  blocking->row_bytes = blocking->k_block * sizeof(float);
}

uint64_t weft_packed_scratch(const weft_matmul *matmul) {
  if (matmul->rounded) return 0;
  return matmul->blocking.panels_per_call * matmul->blocking.k_block *
         matmul->kernels->gemm_columns * sizeof(float);
}

const char *weft_packed_kernel(const weft_matmul *matmul) {
  static const char *const codes[3][2][2] = {
      {{"gemm-q2-f32", "gemv-q2-f32"}, {"gemm-q2-int8", "gemv-q2-int8"}},
      {{"gemm-q4-f32", "gemv-q4-f32"}, {"gemm-q4-int8", "gemv-q4-int8"}},
      {{"gemm-q8-f32", "gemv-q8-f32"}, {"gemm-q8-int8", "gemv-q8-int8"}},
  };
  static const char *const floats[2][2] = {{"gemm-f16", "gemv-f16"}, {"gemm-bf16", "gemv-bf16"}};
  const weft_packed *packed = matmul->packed;
  bool one_row = matmul->m == 1;
  if (packed->kind != WEFT_PACKED_CODES) return floats[packed->kind - WEFT_PACKED_F16][one_row];
  uint32_t bits = packed->format.bits;
  return codes[bits == 2 ? 0 : bits == 4 ? 1 : 2][matmul->rounded][one_row];
}
