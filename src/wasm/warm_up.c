/* warm_up.c - lets the engine optimise the hottest loops before the first run. V8 compiles a
 * function for the first time in one pass, and again, optimised, on a thread of its own after about
 * 50,000 rounds of its loop; what runs meanwhile takes four times as long. So the tiles of the
 * matrix product go through these rounds on a few zeros while the core is made, which takes about
 * 3 ms, and the engine compiles them while weights are read. docs/notes/2026-11-21-start-up.md has
 * the figures. */
#include "kernels/kernels.h"
#include "wasm/context.h"

enum { DEPTH = 512, CALLS = 110, PANELS = 4 };

/* Tiles by rows: products of many rows are cut into the largest two, those of one row take several
 * panels at once. */
void weft_warm_up(weft_runtime *runtime) {
  const weft_kernels *kernels = weft_kernels_find(NULL, weft_host_cpu_features());
  const size_t rows[] = {kernels->gemm_rows, kernels->gemm_rows - 1, 1};
  size_t panel = DEPTH * kernels->gemm_columns, columns = PANELS * kernels->gemm_columns;
  uint64_t bytes = (kernels->gemm_rows * (DEPTH + columns) + PANELS * panel) * sizeof(float);
  float *b = weft_heap_allocate_zeroed(&runtime->heap, bytes);
  if (b == NULL) return; /* the first run is slower then */
  float *a = b + PANELS * panel, *c = a + kernels->gemm_rows * DEPTH;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    weft_gemm_f32_args args = {.m = rows[i],
                               .n = rows[i] == 1 ? columns : kernels->gemm_columns,
                               .k = DEPTH,
                               .a = a,
                               .lda = DEPTH,
                               .b = b,
                               .b_panel = panel,
                               .c = c,
                               .ldc = columns};
    for (int call = 0; call < CALLS; call++) kernels->gemm_f32(&args);
  }
  weft_heap_release(&runtime->heap, b, bytes);
}
