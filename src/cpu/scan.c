/* scan.c - the ops `cumsum` and `triangle`. */
#include "cpu/operand.h"

/* ---- cumsum --------------------------------------------------------------------------------- */

/* x as [outer, n, inner], by the axis: known at preparation, or an input. Items: outer. */
typedef struct cumsum_state {
  weft_operand input;
  weft_result result;
  uint64_t n, inner;
  bool exclusive, reverse;
  weft_work work;
} cumsum_state;

typedef struct cumsum_run {
  const cumsum_state *state;
  const uint8_t *x;
  uint8_t *y;
} cumsum_run;

/* Each row is the sum of the row before it and of an input row: its own, or the one before
 * (exclusive). */
#define SUM(name, type)                                                                            \
  static void name(const cumsum_state *state, const void *from, void *to) {                        \
    const type *x = from;                                                                          \
    type *y = to;                                                                                  \
    for (uint64_t i = 0; i < state->n; i++) {                                                      \
      uint64_t row = state->reverse ? state->n - 1 - i : i;                                        \
      uint64_t before = state->reverse ? row + 1 : row - 1;                                        \
      uint64_t added = state->exclusive ? before : row;                                            \
      for (uint64_t j = 0; j < state->inner; j++) {                                                \
        type v = i > 0 || !state->exclusive ? x[added * state->inner + j] : 0;                     \
        y[row * state->inner + j] = i > 0 ? y[before * state->inner + j] + v : v;                  \
      }                                                                                            \
    }                                                                                              \
  }
SUM(sum_f32, float)
SUM(sum_f64, double)
SUM(sum_u64, uint64_t)

static weft_status cumsum_items(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                                weft_error *error) {
  (void)scratch, (void)error;
  const cumsum_run *run = context;
  const cumsum_state *state = run->state;
  weft_class held = state->input.held;
  uint64_t bytes = state->n * state->inner * weft_class_size(held);
  for (uint64_t item = begin; item < end; item++) {
    const uint8_t *x = run->x + item * bytes;
    uint8_t *y = run->y + item * bytes;
    if (held == WEFT_CLASS_F32)
      sum_f32(state, x, y);
    else if (held == WEFT_CLASS_F64)
      sum_f64(state, x, y);
    else
      sum_u64(state, x, y);
  }
  return WEFT_OK;
}

static void set_axis(cumsum_state *state, const weft_array *x, int32_t axis) {
  state->n = weft_extent(x->dims, axis, axis + 1);
  state->inner = weft_extent(x->dims, axis + 1, x->rank);
  state->work.items = weft_extent(x->dims, 0, axis);
}

static weft_status read_axis(cumsum_state *state, const weft_step *step,
                             const weft_execution *execution, weft_error *error) {
  const weft_array *x = step->inputs[0], *axis = step->inputs[1];
  int64_t value = weft_integer_at(axis, weft_array_data(execution, axis), 0);
  if (value < -x->rank || value >= x->rank)
    return weft_fail(error, WEFT_INVALID_DATA, "axis %lld is out of range for rank %d",
                     (long long)value, (int)x->rank);
  set_axis(state, x, weft_axis(value, x->rank));
  return WEFT_OK;
}

static weft_status run_cumsum(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  cumsum_state state = *(const cumsum_state *)step->state;
  if (step->inputs[1]->constant == NULL) WEFT_TRY(read_axis(&state, step, execution, error));
  cumsum_run run = {.state = &state,
                    .x = weft_operand_data(&state.input, step, execution),
                    .y = weft_result_data(&state.result, step, execution)};
  WEFT_TRY(weft_work_run(&state.work, step, execution, &run, error));
  weft_result_finish(&state.result, step, execution);
  return WEFT_OK;
}

weft_status weft_cpu_prepare_cumsum(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *x = step->inputs[0], *axis = step->inputs[1];
  cumsum_state *state = WEFT_ARENA_NEW(arena, cumsum_state);
  if (state == NULL) return weft_arena_fail(arena, "a cumulative sum", error);
  state->exclusive = step->node->attributes.cumsum.exclusive;
  state->reverse = step->node->attributes.cumsum.reverse;
  if (axis->constant != NULL) set_axis(state, x, weft_axis(weft_host_integer(axis, 0), x->rank));
  WEFT_TRY(weft_operand_prepare(&state->input, cpu, step, x, 0, NULL, error));
  WEFT_TRY(weft_result_prepare(&state->result, cpu, step, error));
  weft_work_prepare(&state->work, cpu, step, cumsum_items, state->work.items,
                    1.0 * (double)(state->n * state->inner), 0);
  step->state = state;
  step->run = run_cumsum;
  step->kernel = "cumsum";
  return WEFT_OK;
}

/* ---- triangle ------------------------------------------------------------------------------- */

/* x as [matrices x rows, columns]; items are rows. Upper keeps columns >= row + k, lower columns <=
 * row + k. */
typedef struct triangle_state {
  size_t size;
  uint64_t rows, columns;
  bool upper;
  weft_work work;
} triangle_state;

typedef struct triangle_run {
  const triangle_state *state;
  int64_t k;
  const uint8_t *x;
  uint8_t *y;
} triangle_run;

static weft_status triangle_rows(const void *context, uint64_t begin, uint64_t end,
                                 uint8_t *scratch, weft_error *error) {
  (void)scratch, (void)error;
  const triangle_run *run = context;
  const triangle_state *state = run->state;
  size_t bytes = (size_t)state->columns * state->size;
  for (uint64_t item = begin; item < end; item++) {
    int64_t columns = (int64_t)state->columns, split; /* the first column of the upper part */
    if (__builtin_add_overflow((int64_t)(item % state->rows) + !state->upper, run->k, &split))
      split = run->k < 0 ? 0 : columns;
    split = split < 0 ? 0 : split > columns ? columns : split;
    size_t at = (size_t)split * state->size;
    uint8_t *y = run->y + item * bytes;
    memmove(y, run->x + item * bytes, bytes);
    memset(state->upper ? y : y + at, 0, state->upper ? at : bytes - at);
  }
  return WEFT_OK;
}

static weft_status run_triangle(const weft_step *step, const weft_execution *execution,
                                weft_error *error) {
  triangle_run run = {.state = step->state,
                      .x = weft_array_data(execution, step->inputs[0]),
                      .y = weft_array_data(execution, step->outputs[0])};
  const weft_array *k = weft_step_input(step, 1);
  if (k != NULL) run.k = weft_integer_at(k, weft_array_data(execution, k), 0);
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

weft_status weft_cpu_prepare_triangle(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                      weft_error *error) {
  const weft_array *x = step->inputs[0];
  triangle_state *state = WEFT_ARENA_NEW(arena, triangle_state);
  if (state == NULL) return weft_arena_fail(arena, "a triangle", error);
  state->size = weft_dtype_size(x->dtype);
  if (state->size == 0) return weft_fail(error, WEFT_UNSUPPORTED, "strings are not supported");
  state->rows = (uint64_t)x->dims[x->rank - 2];
  state->columns = (uint64_t)x->dims[x->rank - 1];
  state->upper = step->node->attributes.triangle.upper;
  weft_work_prepare(&state->work, cpu, step, triangle_rows, weft_extent(x->dims, 0, x->rank - 1),
                    20.0 + 0.1 * (double)state->columns, 0);
  step->state = state;
  step->run = run_triangle;
  step->kernel = "triangle";
  return WEFT_OK;
}
