/* gemm.c - the blocked f32 matrix product over the kernel gemm_f32: order of the loops, packing of
 * B, and the epilogue on each block while it is in the cache. See matmul.h for how the product is
 * cut. Every sum is added up in the order of k, so that results depend neither on how the product
 * is cut nor on threads. */
#include "cpu/matmul.h"

#define PANEL_BYTES      32768  /* of a panel's K block, in an L1 cache of 48 KiB beside A's tile */
#define A_BLOCK_BYTES    196608 /* of A in an L2 cache */
#define ITEM_COLUMNS     512    /* epilogues run on as many columns at once */
#define FEW_ROWS         2 /* the kernel takes several panels at once, to hide additions' latency */
#define LINE_BYTES       64 /* of the cache: panels are taken together that share lines of C */
#define FIRST_TILES      4  /* see multiply_block */
#define FIRST_PANEL_ROWS 128
#define FLOPS_PER_NS     40.0 /* of one thread, roughly */
#define CODE_OPS_PER_NS  80.0
#define BYTES_PER_NS     10.0 /* of weights */

/* For several threads items are made smaller: so many, that it matters little which thread has the
 * last one, but none so short that handing it out shows. */
#define ITEMS_PER_THREAD 6
#define ITEM_NS_MIN      4000.0
#define ITEM_COLUMNS_MIN 64
#define ITEM_TILES_MIN   8

/* ---- running -------------------------------------------------------------------------------- */

void weft_gemm_panels(const weft_matmul *matmul, const weft_item *at, uint64_t tile,
                      uint64_t tile_end, uint64_t panel, uint64_t panel_end, const float *b,
                      uint64_t step, uint64_t k, uint64_t k_count) {
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t column = panel * matmul->kernels->gemm_columns;
  uint64_t column_end = weft_min_u64(panel_end * matmul->kernels->gemm_columns, matmul->n);
  weft_gemm_f32_args args = {.n = (size_t)(column_end - column),
                             .k = (size_t)k_count,
                             .lda = (size_t)matmul->a_row,
                             .b = b,
                             .b_panel = (size_t)step,
                             .ldc = (size_t)at->ldc,
                             .accumulate = k > 0};
  uint64_t row = weft_tile_start(blocking, tile);
  for (; tile < tile_end; tile++, row += args.m) {
    args.m = (size_t)weft_tile_rows(blocking, tile);
    args.a = at->a + row * args.lda + k;
    args.c = at->c + (row - at->row) * at->ldc + (column - at->column);
    matmul->kernels->gemm_f32(&args);
  }
}

/* A K block of all of the item's panels, `step` floats apart, against tiles [tile, tile_end). The
 * first few tiles take the panel in turn, some rows of it at a time: it may come from afar, and the
 * processor fetches ahead while the later tiles run. */
static void multiply_block(const weft_matmul *matmul, const weft_item *at, uint64_t tile,
                           uint64_t tile_end, const float *panels, uint64_t step, uint64_t k,
                           uint64_t k_count) {
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t first = weft_min_u64(tile + FIRST_TILES, tile_end);
  uint64_t rows = tile + 1 == first ? k_count : FIRST_PANEL_ROWS;
  for (uint64_t p = at->panel, end; p < at->panel_end; p = end) {
    end = weft_min_u64(p + blocking->panels_per_call, at->panel_end);
    const float *b = panels + (p - at->panel) * step;
    for (uint64_t done = 0; done < k_count; done += rows)
      weft_gemm_panels(matmul, at, tile, first, p, end, b + done * matmul->kernels->gemm_columns,
                       step, k + done, weft_min_u64(rows, k_count - done));
    weft_gemm_panels(matmul, at, first, tile_end, p, end, b, step, k, k_count);
  }
}

static weft_status finish_rows(const weft_matmul_run *run, const weft_item *at, uint64_t row,
                               uint64_t row_end, weft_tiles *tiles, weft_error *error) {
  const weft_matmul *matmul = run->matmul;
  uint64_t count = at->columns, step = 1;
  if (count == matmul->n && at->ldc == matmul->n) /* whole rows: as one range */
    step = row_end - row, count *= step;
  for (; row < row_end; row += step) {
    uint64_t start = (at->batch * matmul->m + row) * matmul->n + at->column;
    const float *block = at->c + (row - at->row) * at->ldc;
    WEFT_TRY(weft_tiles_run(tiles, start, count, (const uint8_t *)block,
                            run->output + start * matmul->epilogue.stored_size, error));
  }
  return WEFT_OK;
}

/* An empty sum. */
static void clear_rows(const weft_matmul *matmul, const weft_item *at) {
  uint64_t rows = weft_tile_start(&matmul->blocking, at->tile_end) - at->row;
  for (uint64_t row = 0; row < rows; row++)
    memset(at->c + row * at->ldc, 0, (size_t)at->columns * sizeof(float));
}

/* The panels of this item for K block [k, k + k_count); `step` is the distance of two panels. */
static const float *find_panels(const weft_matmul *matmul, const weft_item *at, uint64_t k,
                                uint64_t k_count, float *packed, uint64_t *step) {
  uint64_t columns = matmul->kernels->gemm_columns;
  if (matmul->panels) {
    *step = matmul->k * columns;
    return at->b + at->panel * *step + k * columns;
  }
  *step = k_count * columns;
  matmul->kernels->gemm_pack_f32((size_t)k_count, (size_t)at->columns,
                                 at->b + (int64_t)k * matmul->b_row +
                                     (int64_t)at->column * matmul->b_column,
                                 (ptrdiff_t)matmul->b_row, (ptrdiff_t)matmul->b_column, packed);
  return packed;
}

/* B in few bits: all of K at once. */
static weft_status run_packed_item(const weft_matmul_run *run, const weft_item *at, float *scratch,
                                   weft_tiles *tiles, weft_error *error) {
  const weft_blocking *blocking = &run->matmul->blocking;
  for (uint64_t tile = at->tile, end; tile < at->tile_end; tile = end) {
    end = weft_min_u64(tile + blocking->tiles_per_block, at->tile_end);
    weft_packed_multiply(run, at, tile, end, scratch);
    if (run->matmul->has_epilogue)
      WEFT_TRY(finish_rows(run, at, weft_tile_start(blocking, tile), weft_tile_start(blocking, end),
                           tiles, error));
  }
  return WEFT_OK;
}

static weft_status run_item(const weft_matmul_run *run, const weft_item *at, float *packed,
                            weft_tiles *tiles, weft_error *error) {
  const weft_matmul *matmul = run->matmul;
  const weft_blocking *blocking = &matmul->blocking;
  if (matmul->packed != NULL) return run_packed_item(run, at, packed, tiles, error);
  if (matmul->k == 0) clear_rows(matmul, at);
  for (uint64_t k = 0; k < matmul->k || k == 0; k += blocking->k_block) {
    uint64_t k_count = weft_min_u64(blocking->k_block, matmul->k - k), step = 0;
    const float *panels = k_count > 0 ? find_panels(matmul, at, k, k_count, packed, &step) : packed;
    for (uint64_t tile = at->tile, end; tile < at->tile_end; tile = end) {
      end = weft_min_u64(tile + blocking->tiles_per_block, at->tile_end);
      multiply_block(matmul, at, tile, end, panels, step, k, k_count);
      if (matmul->has_epilogue && k + k_count == matmul->k)
        WEFT_TRY(finish_rows(run, at, weft_tile_start(blocking, tile),
                             weft_tile_start(blocking, end), tiles, error));
    }
  }
  return WEFT_OK;
}

static void locate_item(const weft_matmul_run *run, uint64_t index, float *block, weft_item *at) {
  const weft_matmul *matmul = run->matmul;
  const weft_blocking *blocking = &matmul->blocking;
  uint64_t column_group = index % blocking->column_groups, rest = index / blocking->column_groups;
  uint64_t row_group = rest % blocking->row_groups, columns = matmul->kernels->gemm_columns;
  int64_t offsets[WEFT_NEST_ARRAYS];
  at->batch = rest / blocking->row_groups;
  weft_nest_locate(&matmul->batch, at->batch, offsets, NULL);
  at->a = (const float *)(const void *)run->a + offsets[0];
  at->b = (const float *)(const void *)run->b + offsets[1];
  at->tile = row_group * blocking->tiles_per_item;
  at->tile_end = weft_min_u64(at->tile + blocking->tiles_per_item, blocking->tiles);
  at->panel = column_group * blocking->panels_per_item;
  at->panel_end = weft_min_u64(at->panel + blocking->panels_per_item, blocking->panels);
  at->row = weft_tile_start(blocking, at->tile);
  at->column = at->panel * columns;
  at->columns = weft_min_u64(at->panel_end * columns, matmul->n) - at->column;
  at->ldc = matmul->direct ? matmul->n : blocking->panels_per_item * columns;
  at->c = block;
  if (matmul->direct)
    at->c =
        (float *)(void *)run->output + (at->batch * matmul->m + at->row) * matmul->n + at->column;
}

static weft_status run_items(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                             weft_error *error) {
  const weft_matmul_run *run = context;
  const weft_matmul *matmul = run->matmul;
  weft_tiles tiles;
  float *block = (float *)(void *)scratch;
  scratch += matmul->product_bytes;
  if (matmul->has_epilogue) {
    weft_tiles_init(&tiles, &matmul->epilogue, run->sources, scratch);
    scratch += weft_align_up(matmul->epilogue.scratch_bytes, WEFT_ALIGNMENT);
  }
  for (uint64_t index = begin; index < end; index++) {
    weft_item at;
    locate_item(run, index, block, &at);
    WEFT_TRY(run_item(run, &at, (float *)(void *)scratch, &tiles, error));
  }
  return WEFT_OK;
}

/* ---- preparation ---------------------------------------------------------------------------- */

static uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}
/* The largest part when `total` is cut into as many parts as `most` asks for, all of nearly one
 * size. */
static uint64_t even_part(uint64_t total, uint64_t most) {
  return most >= total ? total : divide_up(total, divide_up(total, most));
}
static uint64_t at_least_one(uint64_t value) {
  return value > 0 ? value : 1;
}

/* Splits items, rows first: that leaves the epilogue its columns. But B that is packed on the way
 * (`whole`) is best packed once for all rows. */
static bool split_items(weft_blocking *blocking, uint64_t panels_min, bool whole) {
  bool rows = blocking->tiles_per_item >= 2 * ITEM_TILES_MIN;
  bool columns = blocking->panels_per_item > panels_min;
  if (rows && !(whole && columns))
    blocking->tiles_per_item = divide_up(blocking->tiles_per_item, 2);
  else if (columns)
    blocking->panels_per_item = divide_up(blocking->panels_per_item, 2);
  return rows || columns;
}

static uint64_t count_items(const weft_matmul *matmul) {
  return matmul->batches * matmul->blocking.row_groups * matmul->blocking.column_groups;
}

/* Blocks of K, panels in a call, and bytes of A in a row of a block. */
static void set_calls(weft_matmul *matmul) {
  weft_blocking *blocking = &matmul->blocking;
  uint64_t columns = matmul->kernels->gemm_columns;
  bool few_rows = matmul->m <= FEW_ROWS;
  blocking->k_block = at_least_one(
      few_rows ? matmul->k : even_part(matmul->k, PANEL_BYTES / (columns * sizeof(float))));
  blocking->panels_per_call = few_rows ? divide_up(matmul->n, columns)
                                       : at_least_one(LINE_BYTES / (columns * sizeof(float)));
  blocking->row_bytes = blocking->k_block * sizeof(float);
}

static void set_blocking(weft_matmul *matmul, uint64_t items_wanted) {
  weft_blocking *blocking = &matmul->blocking;
  uint64_t columns = matmul->kernels->gemm_columns;
  uint64_t rows = matmul->rounded ? matmul->kernels->codes_rows : matmul->kernels->gemm_rows;
  if (matmul->packed != NULL)
    weft_packed_blocking(matmul);
  else
    set_calls(matmul);
  blocking->tiles = divide_up(matmul->m, rows);
  blocking->tile_rows = matmul->m / blocking->tiles;
  blocking->tiles_longer = matmul->m % blocking->tiles;
  blocking->panels = divide_up(matmul->n, columns);
  uint64_t block_rows = A_BLOCK_BYTES / blocking->row_bytes;
  blocking->tiles_per_block = even_part(blocking->tiles, at_least_one(block_rows / rows));
  bool whole = matmul->direct && !matmul->panels && matmul->packed == NULL;
  blocking->tiles_per_item = whole ? blocking->tiles : blocking->tiles_per_block;
  blocking->panels_per_item = even_part(blocking->panels, at_least_one(ITEM_COLUMNS / columns));
  uint64_t panels_min = at_least_one(ITEM_COLUMNS_MIN / columns);
  do {
    blocking->row_groups = divide_up(blocking->tiles, blocking->tiles_per_item);
    blocking->column_groups = divide_up(blocking->panels, blocking->panels_per_item);
  } while (count_items(matmul) < items_wanted && split_items(blocking, panels_min, whole));
}

static uint64_t items_wanted(const weft_cpu *cpu, double ns) {
  if (cpu->threads == 1) return 1;
  return weft_min_u64((uint64_t)cpu->threads * ITEMS_PER_THREAD, (uint64_t)(ns / ITEM_NS_MIN));
}

void weft_gemm_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step) {
  weft_blocking *blocking = &matmul->blocking;
  double ns = step->flops / (matmul->rounded ? CODE_OPS_PER_NS : FLOPS_PER_NS);
  if (ns < step->bytes / BYTES_PER_NS) ns = step->bytes / BYTES_PER_NS; /* few rows: it is memory */
  set_blocking(matmul, items_wanted(cpu, ns));
  uint64_t item_columns = blocking->panels_per_item * matmul->kernels->gemm_columns;
  uint64_t item_rows = blocking->tiles_per_item * (blocking->tile_rows + 1);
  if (!matmul->direct)
    matmul->product_bytes = weft_align_up(item_rows * item_columns * sizeof(float), WEFT_ALIGNMENT);
  uint64_t packed = matmul->packed != NULL ? weft_packed_scratch(matmul)
                    : matmul->panels       ? 0
                                           : blocking->k_block * item_columns * sizeof(float);
  uint64_t items = count_items(matmul);
  weft_work_prepare(&matmul->work, cpu, step, run_items, items, ns / (double)items + 100.0,
                    matmul->product_bytes + packed +
                        weft_align_up(matmul->epilogue.scratch_bytes, WEFT_ALIGNMENT));
  step->kernel = matmul->packed != NULL ? weft_packed_kernel(matmul)
                 : matmul->panels       ? "gemm-panels"
                                        : "gemm";
}
