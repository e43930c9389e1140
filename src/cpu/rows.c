/* rows.c - the ops that a row kernel does: `softmax` and `norm`. */
#include "cpu/operand.h"

/* ---- softmax -------------------------------------------------------------------------------- */

#define COLUMNS 16 /* gathered at a time when the axis is not the last: a cache line of floats */

/* x as [outer, n, inner]. Items: rows where inner is 1, else (outer, group of COLUMNS columns). */
typedef struct softmax_state {
  weft_row_f32_fn *kernel;
  weft_operand input;
  weft_result result;
  uint64_t n, inner, groups;
  weft_work work;
} softmax_state;

typedef struct softmax_run {
  const softmax_state *state;
  const float *x;
  float *y;
} softmax_run;

static weft_status softmax_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                                weft_error *error) {
  (void)scratch, (void)error;
  const softmax_run *run = context;
  uint64_t n = run->state->n;
  for (uint64_t row = begin; row < end; row++)
    run->state->kernel((size_t)n, run->x + row * n, run->y + row * n);
  return WEFT_OK;
}

static weft_status softmax_columns(const void *context, uint64_t begin, uint64_t end,
                                   uint8_t *scratch, weft_error *error) {
  (void)error;
  const softmax_run *run = context;
  const softmax_state *state = run->state;
  float *rows = (float *)(void *)scratch; /* [COLUMNS][n] */
  for (uint64_t item = begin; item < end; item++) {
    uint64_t column = item % state->groups * COLUMNS;
    uint64_t count = weft_min_u64(COLUMNS, state->inner - column);
    uint64_t start = item / state->groups * state->n * state->inner + column;
    for (uint64_t i = 0; i < state->n; i++)
      for (uint64_t c = 0; c < count; c++)
        rows[c * state->n + i] = run->x[start + i * state->inner + c];
    for (uint64_t c = 0; c < count; c++)
      state->kernel((size_t)state->n, rows + c * state->n, rows + c * state->n);
    for (uint64_t i = 0; i < state->n; i++)
      for (uint64_t c = 0; c < count; c++)
        run->y[start + i * state->inner + c] = rows[c * state->n + i];
  }
  return WEFT_OK;
}

static weft_status run_softmax(const weft_step *step, const weft_execution *execution,
                               weft_error *error) {
  const softmax_state *state = step->state;
  softmax_run run = {.state = state,
                     .x = weft_operand_data(&state->input, step, execution),
                     .y = weft_result_data(&state->result, step, execution)};
  WEFT_TRY(weft_work_run(&state->work, step, execution, &run, error));
  weft_result_finish(&state->result, step, execution);
  return WEFT_OK;
}

weft_status weft_cpu_prepare_softmax(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                     weft_error *error) {
  softmax_state *state = WEFT_ARENA_NEW(arena, softmax_state);
  if (state == NULL) return weft_arena_fail(arena, "a softmax", error);
  const weft_array *x = step->inputs[0];
  int32_t axis = weft_axis(step->node->attributes.softmax.axis, x->rank);
  bool to_end = step->node->attributes.softmax.to_end;
  int32_t axis_end = to_end ? x->rank : axis + 1;
  state->kernel = step->node->attributes.softmax.log ? cpu->kernels->log_softmax_f32
                                                     : cpu->kernels->softmax_f32;
  WEFT_TRY(weft_operand_prepare(&state->input, cpu, step, x, 0, NULL, error));
  WEFT_TRY(weft_operand_require_f32(&state->input, error));
  WEFT_TRY(weft_result_prepare(&state->result, cpu, step, error));
  state->n = weft_extent(x->dims, axis, axis_end);
  state->inner = weft_extent(x->dims, axis_end, x->rank);
  state->groups = (state->inner + COLUMNS - 1) / COLUMNS;
  uint64_t outer = weft_extent(x->dims, 0, axis);
  bool rows = state->inner == 1;
  weft_work_prepare(&state->work, cpu, step, rows ? softmax_rows : softmax_columns,
                    rows ? outer : outer * state->groups,
                    (double)state->n * (rows ? 2.0 : 2.0 * COLUMNS) + 20.0,
                    rows ? 0 : state->n * COLUMNS * sizeof(float));
  step->state = state;
  step->run = run_softmax;
  step->kernel = rows ? "softmax-rows" : "softmax-columns";
  return WEFT_OK;
}

/* ---- norm ----------------------------------------------------------------------------------- */

/* x as [rows, n], the rows dense. */
typedef struct norm_state {
  weft_norm_f32_fn *kernel;
  weft_operand input, scale, bias; /* input staged where it is not f32 */
  weft_result result;
  uint64_t n;
  weft_nest rows; /* where each row of x begins */
  float epsilon;
  weft_work work;
} norm_state;

typedef struct norm_run {
  const norm_state *state;
  const float *x, *scale, *bias;
  float *y;
} norm_run;

bool weft_cpu_takes_norm(const weft_node *node, uint32_t input, const weft_array *array) {
  int64_t stride = 1;
  if (input != 0 || array->dtype != WEFT_F32) return false;
  for (int32_t i = array->rank - 1; i >= weft_axis(node->attributes.norm.axis, array->rank); i--) {
    if (array->dims[i] != 1 && array->strides[i] != stride) return false;
    stride *= array->dims[i];
  }
  return true;
}

static weft_status norm_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                             weft_error *error) {
  (void)scratch, (void)error;
  const norm_run *run = context;
  uint64_t n = run->state->n;
  for (uint64_t row = begin; row < end; row++) {
    int64_t at;
    weft_nest_locate(&run->state->rows, row, &at, NULL);
    run->state->kernel((size_t)n, run->x + at, run->scale, run->bias, run->state->epsilon,
                       run->y + row * n);
  }
  return WEFT_OK;
}

static weft_status run_norm(const weft_step *step, const weft_execution *execution,
                            weft_error *error) {
  const norm_state *state = step->state;
  norm_run run = {.state = state,
                  .x = weft_operand_data(&state->input, step, execution),
                  .scale = weft_operand_data(&state->scale, step, execution),
                  .y = weft_result_data(&state->result, step, execution)};
  if (state->bias.array != NULL) run.bias = weft_operand_data(&state->bias, step, execution);
  WEFT_TRY(weft_work_run(&state->work, step, execution, &run, error));
  weft_result_finish(&state->result, step, execution);
  return WEFT_OK;
}

static weft_status prepare_norm_input(norm_state *state, const weft_cpu *cpu, weft_step *step,
                                      int32_t axis, weft_error *error) {
  weft_array read = *step->inputs[0];
  state->input.array = step->inputs[0];
  if (read.dtype != WEFT_F32) {
    WEFT_TRY(weft_operand_prepare(&state->input, cpu, step, step->inputs[0], 0, NULL, error));
    WEFT_TRY(weft_operand_require_f32(&state->input, error));
    weft_array_set_dense(&read);
  }
  weft_nest_init(&state->rows, axis, read.dims);
  weft_nest_add(&state->rows, axis, read.dims, read.strides);
  weft_nest_collapse(&state->rows);
  return WEFT_OK;
}

weft_status weft_cpu_prepare_norm(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  norm_state *state = WEFT_ARENA_NEW(arena, norm_state);
  if (state == NULL) return weft_arena_fail(arena, "a norm", error);
  const weft_array *x = step->inputs[0], *bias = weft_step_input(step, 2);
  int32_t axis = weft_axis(step->node->attributes.norm.axis, x->rank);
  bool layer = step->node->attributes.norm.kind == WEFT_NORM_LAYER;
  state->kernel = layer ? cpu->kernels->layer_norm_f32 : cpu->kernels->rms_norm_f32;
  state->epsilon = step->node->attributes.norm.epsilon;
  state->n = weft_extent(x->dims, axis, x->rank);
  WEFT_TRY(prepare_norm_input(state, cpu, step, axis, error));
  WEFT_TRY(weft_operand_prepare(&state->scale, cpu, step, step->inputs[1], x->rank - axis,
                                x->dims + axis, error));
  WEFT_TRY(weft_operand_require_f32(&state->scale, error));
  if (bias != NULL) {
    WEFT_TRY(
        weft_operand_prepare(&state->bias, cpu, step, bias, x->rank - axis, x->dims + axis, error));
    WEFT_TRY(weft_operand_require_f32(&state->bias, error));
  }
  WEFT_TRY(weft_result_prepare(&state->result, cpu, step, error));
  weft_work_prepare(&state->work, cpu, step, norm_rows, weft_extent(x->dims, 0, axis),
                    0.5 * (double)state->n + 20.0, 0);
  step->state = state;
  step->run = run_norm;
  step->kernel = layer ? "layer-norm" : "rms-norm";
  return WEFT_OK;
}
