/* matmul_plain.c - matrix products of integers and doubles, row by row in plain C: rare in models,
 * so short rather than fast. */
#include "cpu/matmul.h"

/* One row of the product: c[j] = sum over p of a[p] * b[p][j]. Integers wrap. */
#define ROW(name, type)                                                                            \
  static void name(const weft_matmul *matmul, const type *a, const type *b, type *c) {             \
    for (uint64_t j = 0; j < matmul->n; j++) c[j] = 0;                                             \
    for (uint64_t p = 0; p < matmul->k; p++)                                                       \
      for (uint64_t j = 0; j < matmul->n; j++) c[j] += a[p] * b[p * matmul->n + j];                \
  }
ROW(row_u64, uint64_t)
ROW(row_f64, double)

static weft_status run_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                            weft_error *error) {
  const weft_matmul_run *run = context;
  const weft_matmul *matmul = run->matmul;
  weft_tiles tiles;
  weft_tiles_init(&tiles, &matmul->epilogue, run->sources, scratch + matmul->product_bytes);
  for (uint64_t row = begin; row < end; row++) {
    int64_t offsets[WEFT_NEST_ARRAYS];
    weft_nest_locate(&matmul->batch, row / matmul->m, offsets, NULL);
    const uint8_t *a = run->a + (offsets[0] + (int64_t)(row % matmul->m) * matmul->a_row) * 8;
    const uint8_t *b = run->b + offsets[1] * 8;
    if (matmul->a.held == WEFT_CLASS_F64)
      row_f64(matmul, (const void *)a, (const void *)b, (void *)scratch);
    else
      row_u64(matmul, (const void *)a, (const void *)b, (void *)scratch);
    WEFT_TRY(weft_tiles_run(&tiles, row * matmul->n, matmul->n, scratch,
                            run->output + row * matmul->n * matmul->epilogue.stored_size, error));
  }
  return WEFT_OK;
}

void weft_plain_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step) {
  matmul->product_bytes = weft_align_up(matmul->n * 8, WEFT_ALIGNMENT);
  weft_work_prepare(&matmul->work, cpu, step, run_rows, matmul->batches * matmul->m,
                    (double)(matmul->n * matmul->k),
                    matmul->product_bytes + matmul->epilogue.scratch_bytes);
  step->kernel = "matmul-plain";
}
