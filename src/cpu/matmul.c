/* matmul.c - the op `matmul`: shapes and strides of numpy's matrix product, and its epilogue. */
#include "cpu/matmul.h"

bool weft_cpu_takes_matmul(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  if (input >= 2) return true; /* of the epilogue */
  if (array->dtype != WEFT_F32) return false;
  if (input == 1) return true; /* packed by strides */
  for (int32_t i = 0; i < array->rank; i++)
    if (array->dims[i] > 1 && array->strides[i] < 0) return false;
  return array->rank == 0 || array->dims[array->rank - 1] == 1 ||
         array->strides[array->rank - 1] == 1;
}

/* ---- shapes --------------------------------------------------------------------------------- */

/* Strides as the product reads them: the array's own, or those of its converted copy. */
static void read_strides(const weft_array *array, bool converted, weft_array *out) {
  *out = *array;
  if (converted) weft_array_set_dense(out);
}

/* A matrix in panels has its own size. */
static void panel_strides(const weft_kernels *kernels, weft_array *b) {
  int64_t step = (int64_t)weft_cpu_panel_elements(kernels, (uint64_t)b->dims[b->rank - 2],
                                                  (uint64_t)b->dims[b->rank - 1]);
  for (int32_t i = b->rank - 3; i >= 0; step *= b->dims[i--]) b->strides[i] = step;
}

static int32_t batch_rank(const weft_array *array) {
  return array->rank > 2 ? array->rank - 2 : 0;
}

/* Rows of A that follow each other over batches with one B are rows of one product. */
static void fold_batches(weft_matmul *matmul) {
  weft_nest *batch = &matmul->batch;
  for (;;) {
    int32_t last = batch->rank - 1;
    int64_t stride = batch->strides[0][last];
    if (batch->dims[last] == 1 || batch->strides[1][last] != 0) return;
    if (matmul->m == 1) matmul->a_row = stride;
    if (stride != (int64_t)matmul->m * matmul->a_row) return;
    matmul->m *= (uint64_t)batch->dims[last];
    batch->dims[last] = 1;
    batch->strides[0][last] = 0;
    if (last > 0) batch->rank--;
  }
}

static void set_shapes(weft_matmul *matmul, const weft_array *output) {
  weft_array a, b;
  read_strides(matmul->a_array, matmul->a_converted, &a);
  read_strides(matmul->b_array, matmul->b_converted, &b);
  int32_t last_a = a.rank - 1, last_b = b.rank - 1;
  matmul->k = (uint64_t)a.dims[last_a];
  matmul->m = a.rank > 1 ? (uint64_t)a.dims[last_a - 1] : 1;
  matmul->n = b.rank > 1 ? (uint64_t)b.dims[last_b] : 1;
  matmul->a_row = a.rank > 1 ? a.strides[last_a - 1] : 0;
  matmul->b_row = b.rank > 1 ? b.strides[last_b - 1] : b.strides[0];
  matmul->b_column = b.rank > 1 ? b.strides[last_b] : 0;
  if (matmul->panels) panel_strides(matmul->kernels, &b);
  if (matmul->packed != NULL) matmul->b_row = matmul->b_column = 0;
  int32_t rank = output->rank - (a.rank > 1) - (b.rank > 1);
  weft_nest_init(&matmul->batch, rank, output->dims);
  weft_nest_add(&matmul->batch, batch_rank(&a), a.dims, a.strides);
  weft_nest_add(&matmul->batch, batch_rank(&b), b.dims, b.strides);
  weft_nest_collapse(&matmul->batch);
  fold_batches(matmul);
  matmul->batches = weft_extent(matmul->batch.dims, 0, matmul->batch.rank);
}

/* ---- epilogue ------------------------------------------------------------------------------- */

/* A product that is only stored in another type. */
static weft_status make_identity(weft_arena *arena, weft_dtype dtype, const weft_expr **out,
                                 weft_error *error) {
  weft_expr *identity = WEFT_ARENA_NEW(arena, weft_expr);
  if (identity == NULL) return weft_arena_fail(arena, "a matrix product", error);
  identity->input_count = 1;
  identity->input_dtypes[0] = (uint8_t)dtype;
  *out = identity;
  return WEFT_OK;
}

static weft_status prepare_epilogue(weft_matmul *matmul, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *output = step->outputs[0];
  const weft_expr *expr = &step->node->attributes.matmul.expr;
  weft_dtype product = matmul->a_array->dtype;
  matmul->direct = output->dtype == WEFT_F32 && weft_class_of(product) == WEFT_CLASS_F32;
  matmul->has_epilogue = expr->code_count > 0 || !matmul->direct;
  if (!matmul->has_epilogue) return WEFT_OK;
  if (expr->code_count == 0) WEFT_TRY(make_identity(arena, product, &expr, error));
  weft_nest nest;
  weft_nest_init(&nest, output->rank, output->dims);
  weft_nest_add(&nest, output->rank, output->dims, output->strides);
  for (uint32_t i = 1; i < expr->input_count; i++) {
    const weft_array *input = step->inputs[1 + i];
    weft_nest_add(&nest, input->rank, input->dims, input->strides);
  }
  weft_nest_collapse(&nest);
  return weft_program_make(&matmul->epilogue, matmul->kernels, expr, output->dtype, &nest, true,
                           arena, error);
}

/* ---- preparation ---------------------------------------------------------------------------- */

static weft_status run_matmul(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  const weft_matmul *matmul = step->state;
  weft_matmul_run run = {.matmul = matmul};
  run.a = matmul->a_converted ? weft_operand_data(&matmul->a, step, execution)
                              : weft_array_data(execution, matmul->a_array);
  WEFT_TRY(weft_matmul_rows_run(&run, step, execution, error));
  run.b = matmul->b_converted ? weft_operand_data(&matmul->b, step, execution)
                              : weft_array_data(execution, matmul->b_array);
  for (uint32_t i = 2; i < step->input_count; i++)
    run.sources[i - 1] = weft_array_data(execution, step->inputs[i]);
  run.output = weft_array_data(execution, step->outputs[0]);
  return weft_work_run(&matmul->work, step, execution, &run, error);
}

/* f32 is read in place, by strides, and 16-bit floats on the left are made f32 by all threads;
 * other types are read as 64-bit integers, doubles, or converted to f32. */
static weft_status prepare_sides(weft_matmul *matmul, const weft_cpu *cpu, weft_step *step,
                                 weft_error *error) {
  const weft_array *a = matmul->a_array, *b = matmul->b_array;
  matmul->a_converted = weft_class_of(a->dtype) != WEFT_CLASS_F32;
  matmul->b_converted = b->dtype != WEFT_F32 && b->layout == WEFT_LAYOUT_DENSE;
  matmul->panels = b->layout == WEFT_LAYOUT_PANELS;
  if (b->layout == WEFT_LAYOUT_CODES) {
    matmul->packed = (const weft_packed *)(const void *)b->constant;
    bool allowed = cpu->activations == WEFT_ACTIVATIONS_AUTO
                       ? step->node->attributes.matmul.int8_rows
                       : cpu->activations == WEFT_ACTIVATIONS_INT8;
    matmul->rounded = allowed && matmul->packed->kind == WEFT_PACKED_CODES;
  }
  if (matmul->a_converted) WEFT_TRY(weft_operand_prepare(&matmul->a, cpu, step, a, 0, NULL, error));
  if (matmul->b_converted) WEFT_TRY(weft_operand_prepare(&matmul->b, cpu, step, b, 0, NULL, error));
  return WEFT_OK;
}

/* Bytes of a constant B, in whichever layout. */
static double weight_bytes(const weft_matmul *matmul) {
  const weft_array *b = matmul->b_array;
  if (b->constant == NULL) return 0;
  if (matmul->packed != NULL)
    return (double)matmul->packed->panels * (double)matmul->packed->panel_bytes;
  return (double)b->elements * (double)weft_dtype_size(b->dtype);
}

weft_status weft_cpu_prepare_matmul(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  weft_matmul *matmul = WEFT_ARENA_NEW(arena, weft_matmul);
  if (matmul == NULL) return weft_arena_fail(arena, "a matrix product", error);
  matmul->kernels = cpu->kernels;
  matmul->a_array = step->inputs[0];
  matmul->b_array = step->inputs[1];
  WEFT_TRY(prepare_sides(matmul, cpu, step, error));
  set_shapes(matmul, step->outputs[0]);
  WEFT_TRY(prepare_epilogue(matmul, step, arena, error));
  step->state = matmul;
  step->run = run_matmul;
  step->flops = 2.0 * (double)matmul->k * (double)step->outputs[0]->elements;
  step->bytes = weight_bytes(matmul);
  if (!matmul->a_converted) {
    weft_matmul_rows_prepare(matmul, cpu, step);
    weft_gemm_prepare(matmul, cpu, step);
  } else {
    weft_plain_prepare(matmul, cpu, step);
  }
  return WEFT_OK;
}
