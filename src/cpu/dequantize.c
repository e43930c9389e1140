/* dequantize.c - the op `dequantize`: codes to numbers, y = (code - zero) * scale, tile by tile.
 * Weights of matrix products do not come here but for layouts that their kernels cannot take (see
 * pack_codes.c). */
#include "cpu/operand.h"

#define TILE           512
#define NS_PER_ELEMENT 1.5 /* of one thread, roughly */

/* Which element of scales or zeros belongs to column `at` of a row: base + at / period. */
typedef struct place {
  uint64_t base, period;
} place;

/* Scales, or zeros. */
typedef struct parameter {
  const weft_array *array; /* NULL: none */
  bool single;
  weft_operand floats;      /* scales, and zeros that are numbers */
  uint64_t last, row_bytes; /* codes: along the last axis; bytes of that */
  uint32_t bits;
} parameter;

typedef struct dequantize {
  const weft_array *codes, *output;
  parameter scales, zeros;
  bool float_zeros;
  float zero; /* without zeros */
  uint32_t bits;
  uint64_t columns, row_bytes;   /* of a row along the last axis: numbers; bytes of their codes */
  uint64_t extent, inner, block; /* along the axis; numbers per step of it; 0: no blocks */
  bool axis_last;
  weft_convert_fn *store; /* NULL: f32 */
  weft_work work;
} dequantize;

typedef struct dequantize_run {
  const dequantize *op;
  const uint8_t *codes, *zeros;
  const float *scales, *float_zeros;
  uint8_t *output;
} dequantize_run;

/* ---- codes ---------------------------------------------------------------------------------- */

/* Codes [column, column + n) of a row. */
static void read_codes(weft_dtype dtype, uint32_t bits, const uint8_t *row, uint64_t column,
                       size_t n, double *out) {
  if (bits < 8) {
    uint32_t mask = (1u << bits) - 1;
    for (size_t i = 0; i < n; i++) {
      uint64_t bit = (column + i) * bits;
      out[i] = (row[bit / 8] >> (bit % 8)) & mask;
    }
  } else if (dtype == WEFT_U8) {
    for (size_t i = 0; i < n; i++) out[i] = row[column + i];
  } else if (dtype == WEFT_I8) {
    for (size_t i = 0; i < n; i++) out[i] = (int8_t)row[column + i];
  } else {
    const int32_t *codes = (const int32_t *)(const void *)row;
    for (size_t i = 0; i < n; i++) out[i] = codes[column + i];
  }
}

/* ---- scales and zeros ----------------------------------------------------------------------- */

static place place_of(const dequantize *op, const parameter *p, uint64_t row) {
  if (p->single) return (place){0, UINT64_MAX};
  uint64_t blocks = op->block > 0 ? (op->extent + op->block - 1) / op->block : op->extent;
  if (op->axis_last)
    return (place){op->block > 0 ? row * blocks : 0, op->block > 0 ? op->block : 1};
  uint64_t rows = op->inner / op->columns; /* per step of the axis */
  uint64_t at = row / rows % op->extent, outer = row / rows / op->extent;
  if (op->block == 0) return (place){at, UINT64_MAX};
  return (place){(outer * blocks + at / op->block) * op->inner + row % rows * op->columns, 1};
}

/* Ends the run of columns, from `column` on, that share an element. */
static size_t run_of(const place *at, uint64_t column, size_t n) {
  uint64_t left = at->period - column % at->period;
  return left < n ? (size_t)left : n;
}

static void spread_floats(const place *at, const float *from, uint64_t column, size_t n,
                          float *out) {
  for (size_t i = 0, end; i < n; i = end) {
    end = i + run_of(at, column + i, n - i);
    float value = from[at->base + (column + i) / at->period];
    for (size_t k = i; k < end; k++) out[k] = value;
  }
}

/* Codes `zero` from the codes. */
static void subtract_zeros(const dequantize_run *run, const place *at, uint64_t column, size_t n,
                           double *codes) {
  const parameter *p = &run->op->zeros;
  for (size_t i = 0, end; i < n; i = end) {
    end = i + run_of(at, column + i, n - i);
    uint64_t index = at->base + (column + i) / at->period;
    double zero = 0;
    read_codes(p->array->dtype, p->bits, run->zeros + index / p->last * p->row_bytes,
               index % p->last, 1, &zero);
    for (size_t k = i; k < end; k++) codes[k] -= zero;
  }
}

/* ---- running -------------------------------------------------------------------------------- */

static void run_tile(const dequantize_run *run, const place places[2], uint64_t row,
                     uint64_t column, size_t n) {
  const dequantize *op = run->op;
  double codes[TILE];
  float numbers[TILE], parameters[TILE];
  read_codes(op->codes->dtype, op->bits, run->codes + row * op->row_bytes, column, n, codes);
  if (op->float_zeros) {
    spread_floats(&places[1], run->float_zeros, column, n, parameters);
    for (size_t i = 0; i < n; i++) codes[i] -= (double)parameters[i];
  } else if (op->zeros.array != NULL) {
    subtract_zeros(run, &places[1], column, n, codes);
  } else {
    for (size_t i = 0; i < n; i++) codes[i] -= (double)op->zero;
  }
  spread_floats(&places[0], run->scales, column, n, parameters);
  uint8_t *to = run->output + (row * op->columns + column) * weft_dtype_size(op->output->dtype);
  float *y = op->store == NULL ? (float *)(void *)to : numbers;
  for (size_t i = 0; i < n; i++) y[i] = (float)codes[i] * parameters[i];
  if (op->store != NULL) op->store(n, y, to);
}

static weft_status run_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                            weft_error *error) {
  (void)scratch, (void)error;
  const dequantize_run *run = context;
  const dequantize *op = run->op;
  for (uint64_t row = begin; row < end; row++) {
    place places[2] = {place_of(op, &op->scales, row), place_of(op, &op->zeros, row)};
    for (uint64_t column = 0, n; column < op->columns; column += n) {
      n = weft_min_u64(TILE, op->columns - column);
      run_tile(run, places, row, column, (size_t)n);
    }
  }
  return WEFT_OK;
}

static weft_status run_dequantize(const weft_step *step, const weft_execution *execution,
                                  weft_error *error) {
  const dequantize *op = step->state;
  dequantize_run run = {.op = op,
                        .codes = weft_array_data(execution, op->codes),
                        .scales = weft_operand_data(&op->scales.floats, step, execution),
                        .output = weft_array_data(execution, op->output)};
  if (op->float_zeros)
    run.float_zeros = weft_operand_data(&op->zeros.floats, step, execution);
  else if (op->zeros.array != NULL)
    run.zeros = weft_array_data(execution, op->zeros.array);
  return weft_work_run(&op->work, step, execution, &run, error);
}

/* ---- preparation ---------------------------------------------------------------------------- */

static weft_status prepare_parameter(parameter *p, const dequantize *op, const weft_cpu *cpu,
                                     weft_step *step, const weft_array *array, weft_error *error) {
  p->array = array;
  p->single = array->elements == 1;
  if (op->bits < 8 && weft_dtype_is_integer(array->dtype)) /* several may share that byte */
    p->single &= array->rank < 2 && (op->scales.single || op->extent * op->bits > 8);
  if (weft_dtype_is_float(array->dtype)) {
    WEFT_TRY(weft_operand_prepare(&p->floats, cpu, step, array, 0, NULL, error));
    return weft_operand_require_f32(&p->floats, error);
  }
  int32_t rank = op->output->rank;
  p->bits = op->bits;
  p->row_bytes = array->rank > 0 ? (uint64_t)array->dims[array->rank - 1] : 1;
  p->last = p->row_bytes;
  if (op->bits < 8) { /* packed along their last axis; a vector lies along the codes' axis */
    bool along = op->axis_last || op->block == 0;
    uint64_t last = along ? op->extent : (uint64_t)op->output->dims[rank - 1];
    p->last = along && op->block > 0 ? (last + op->block - 1) / op->block : last;
    if (p->single) p->last = 1;
  }
  p->row_bytes *= weft_dtype_size(array->dtype);
  return WEFT_OK;
}

static void set_shape(dequantize *op, const weft_attributes *a) {
  const weft_array *y = op->output;
  int32_t rank = y->rank, axis = rank > 0 ? weft_axis(a->dequantize.axis, rank) : 0;
  op->columns = rank > 0 ? (uint64_t)y->dims[rank - 1] : 1;
  op->row_bytes =
      rank > 0 ? (uint64_t)op->codes->dims[rank - 1] * weft_dtype_size(op->codes->dtype) : 0;
  op->axis_last = axis >= rank - 1;
  op->extent = rank > 0 ? (uint64_t)y->dims[axis] : 1;
  op->inner = weft_extent(y->dims, axis + 1, rank);
  op->block = (uint64_t)a->dequantize.block;
  op->bits = a->dequantize.bits;
  op->zero = (float)a->dequantize.zero;
}

weft_status weft_cpu_prepare_dequantize(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                        weft_error *error) {
  dequantize *op = WEFT_ARENA_NEW(arena, dequantize);
  if (op == NULL) return weft_arena_fail(arena, "dequantize", error);
  const weft_array *zeros = weft_step_input(step, 2);
  op->codes = step->inputs[0];
  op->output = step->outputs[0];
  set_shape(op, &step->node->attributes);
  if (op->output->dtype == WEFT_F64)
    return weft_fail(error, WEFT_UNSUPPORTED, "numbers of type f64 are not supported");
  op->store = weft_class_storer(cpu->kernels, op->output->dtype);
  op->float_zeros = zeros != NULL && weft_dtype_is_float(zeros->dtype);
  WEFT_TRY(prepare_parameter(&op->scales, op, cpu, step, step->inputs[1], error));
  if (zeros != NULL) WEFT_TRY(prepare_parameter(&op->zeros, op, cpu, step, zeros, error));
  weft_work_prepare(&op->work, cpu, step, run_rows, op->output->elements / op->columns,
                    (double)op->columns * NS_PER_ELEMENT, 0);
  step->run = run_dequantize;
  step->state = op;
  step->kernel = "dequantize";
  return WEFT_OK;
}
