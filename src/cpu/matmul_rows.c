/* matmul_rows.c - the left side of a matrix product made ready before it starts, by all threads:
 * 16-bit floats as f32; rows rounded to codes, where B is codes and the model allows it. */
#include "cpu/matmul.h"

#define NS_PER_ELEMENT 0.25 /* of one thread, roughly */

/* The context of the work: what weft_matmul_run has, and where the rows go. */
typedef struct rows_run {
  const weft_matmul_run *run;
  uint8_t *to;
} rows_run;

/* Rows of the array as they lie, which is dense: a product may read one in several batches. */
static weft_status convert_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                                weft_error *error) {
  (void)scratch, (void)error;
  const rows_run *job = context;
  const weft_matmul *matmul = job->run->matmul;
  size_t size = weft_dtype_size(matmul->a_array->dtype);
  matmul->rows.load((size_t)((end - begin) * matmul->k), job->run->a + begin * matmul->k * size,
                    job->to + begin * matmul->rows.row_bytes);
  return WEFT_OK;
}

/* Rows as the product counts them. */
static weft_status round_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)error;
  const rows_run *job = context;
  const weft_matmul *matmul = job->run->matmul;
  int64_t size = (int64_t)weft_dtype_size(matmul->a_array->dtype);
  weft_quantize_rows_args args = {.format = matmul->packed->format, .m = 1, .k = (size_t)matmul->k};
  for (uint64_t row = begin; row < end; row++) {
    int64_t offsets[WEFT_NEST_ARRAYS];
    weft_nest_locate(&matmul->batch, row / matmul->m, offsets, NULL);
    const uint8_t *from =
        job->run->a + (offsets[0] + (int64_t)(row % matmul->m) * matmul->a_row) * size;
    if (matmul->rows.load != NULL) matmul->rows.load((size_t)matmul->k, from, scratch);
    args.x = (const float *)(const void *)(matmul->rows.load != NULL ? scratch : from);
    args.to = job->to + row * matmul->rows.row_bytes;
    matmul->kernels->quantize_rows(&args);
  }
  return WEFT_OK;
}

void weft_matmul_rows_prepare(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step) {
  weft_matmul_rows *rows = &matmul->rows;
  rows->load = weft_class_loader(cpu->kernels, matmul->a_array->dtype);
  rows->needed = matmul->rounded || rows->load != NULL;
  if (!rows->needed || matmul->k == 0) {
    rows->needed = false;
    return;
  }
  uint64_t row_floats = matmul->k * sizeof(float);
  uint64_t count =
      matmul->rounded ? matmul->batches * matmul->m : matmul->a_array->elements / matmul->k;
  rows->row_bytes = row_floats;
  if (matmul->rounded)
    rows->row_bytes = matmul->kernels->codes_row_bytes(matmul->packed->format, (size_t)matmul->k);
  rows->scratch = weft_cpu_scratch(step, count * rows->row_bytes);
  bool stages = matmul->rounded && rows->load != NULL;
  weft_work_prepare(&rows->work, cpu, step, matmul->rounded ? round_rows : convert_rows, count,
                    (double)matmul->k * NS_PER_ELEMENT, stages ? row_floats : 0);
}

weft_status weft_matmul_rows_run(weft_matmul_run *run, const weft_step *step,
                                 const weft_execution *execution, weft_error *error) {
  const weft_matmul_rows *rows = &run->matmul->rows;
  if (!rows->needed) return WEFT_OK;
  rows_run job = {run, weft_step_scratch(execution, step) + rows->scratch};
  WEFT_TRY(weft_work_run(&rows->work, step, execution, &job, error));
  run->a = job.to;
  return WEFT_OK;
}
