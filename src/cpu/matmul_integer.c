/* matmul_integer.c - the op `matmul_integer`: the exact product (A - zero of A) x (B - zero of B)
 * of 8-bit codes in i32. Where exporters scale the result, opt/fuse_quantized makes it a matmul
 * with packed codes; this one is for what is left, and says what that means. */
#include "cpu/internal.h"
#include "cpu/nest.h"

#define NS_PER_PRODUCT 0.4 /* of one thread, roughly */

enum { A, B, ZERO_A, ZERO_B };

typedef struct matmul_integer {
  const weft_array *inputs[4];
  uint64_t m, n, k;
  weft_nest batch; /* offsets of A's and B's matrices */
  weft_work work;
} matmul_integer;

typedef struct matmul_integer_run {
  const matmul_integer *op;
  const uint8_t *data[4];
  int32_t *output;
} matmul_integer_run;

static int32_t code_at(const weft_array *array, const uint8_t *data, uint64_t index) {
  int32_t wide;
  if (array->dtype == WEFT_U8) return data[index];
  if (array->dtype == WEFT_I8) return (int8_t)data[index];
  memcpy(&wide, data + index * sizeof wide, sizeof wide);
  return wide;
}

/* The zero point of row or column `index`. */
static int32_t zero_at(const matmul_integer_run *run, uint32_t input, uint64_t index) {
  const weft_array *array = run->op->inputs[input];
  if (array == NULL) return 0;
  return code_at(array, run->data[input], array->elements > 1 ? index : 0);
}

/* c[j] += a * b[j]. Sums wrap, as they do in the definition by 32-bit numbers. */
static void add_row(const weft_array *array, uint64_t n, uint32_t a, const uint8_t *b,
                    uint32_t *c) {
  if (array->dtype == WEFT_U8)
    for (uint64_t j = 0; j < n; j++) c[j] += a * b[j];
  else
    for (uint64_t j = 0; j < n; j++) {
      int32_t code = (int8_t)b[j];
      c[j] += a * (uint32_t)code;
    }
}

static weft_status run_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                            weft_error *error) {
  (void)scratch, (void)error;
  const matmul_integer_run *run = context;
  const matmul_integer *op = run->op;
  for (uint64_t row = begin; row < end; row++) {
    int64_t offsets[WEFT_NEST_ARRAYS];
    weft_nest_locate(&op->batch, row / op->m, offsets, NULL);
    uint64_t a = (uint64_t)offsets[A] + row % op->m * op->k;
    uint32_t *c = (uint32_t *)(void *)run->output + row * op->n, sum = 0;
    memset(c, 0, (size_t)op->n * sizeof *c);
    for (uint64_t p = 0; p < op->k; p++) {
      uint32_t code = (uint32_t)code_at(op->inputs[A], run->data[A], a + p) -
                      (uint32_t)zero_at(run, ZERO_A, row % op->m);
      add_row(op->inputs[B], op->n, code, run->data[B] + offsets[B] + p * op->n, c);
      sum += code;
    }
    for (uint64_t j = 0; j < op->n; j++) c[j] -= sum * (uint32_t)zero_at(run, ZERO_B, j);
  }
  return WEFT_OK;
}

static weft_status run_product(const weft_step *step, const weft_execution *execution,
                               weft_error *error) {
  const matmul_integer *op = step->state;
  matmul_integer_run run = {
      .op = op, .output = (int32_t *)(void *)weft_array_data(execution, step->outputs[0])};
  for (uint32_t i = 0; i < 4; i++)
    if (op->inputs[i] != NULL) run.data[i] = weft_array_data(execution, op->inputs[i]);
  return weft_work_run(&op->work, step, execution, &run, error);
}

static void set_shapes(matmul_integer *op, const weft_array *output) {
  const weft_array *a = op->inputs[A], *b = op->inputs[B];
  bool rows = a->rank > 1, columns = b->rank > 1;
  op->k = (uint64_t)a->dims[a->rank - 1];
  op->m = rows ? (uint64_t)a->dims[a->rank - 2] : 1;
  op->n = columns ? (uint64_t)b->dims[b->rank - 1] : 1;
  weft_nest_init(&op->batch, output->rank - rows - columns, output->dims);
  weft_nest_add(&op->batch, rows ? a->rank - 2 : 0, a->dims, a->strides);
  weft_nest_add(&op->batch, columns ? b->rank - 2 : 0, b->dims, b->strides);
  weft_nest_collapse(&op->batch);
}

weft_status weft_cpu_prepare_matmul_integer(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                            weft_error *error) {
  matmul_integer *op = WEFT_ARENA_NEW(arena, matmul_integer);
  if (op == NULL) return weft_arena_fail(arena, "an integer product", error);
  for (uint32_t i = 0; i < 4; i++) op->inputs[i] = weft_step_input(step, i);
  for (uint32_t i = A; i <= B; i++)
    if (weft_dtype_size(op->inputs[i]->dtype) != 1)
      return weft_fail(error, WEFT_UNSUPPORTED, "codes of type %s are not supported",
                       weft_dtype_name(op->inputs[i]->dtype));
  set_shapes(op, step->outputs[0]);
  step->flops = 2.0 * (double)op->k * (double)step->outputs[0]->elements;
  weft_work_prepare(&op->work, cpu, step, run_rows, step->outputs[0]->elements / op->n,
                    (double)op->n * (double)op->k * NS_PER_PRODUCT, 0);
  step->run = run_product;
  step->state = op;
  step->kernel = "matmul-integer";
  return WEFT_OK;
}
