/* arg_reduce.c - the op `arg_reduce`: where along an axis the largest or smallest element is. A NaN
 * beats every number, as in numpy. */
#include "cpu/operand.h"

/* x as [outer, n, inner]; items are output elements. */
typedef struct arg_state {
  weft_operand input;
  uint64_t n, inner;
  bool max, select_last;
  weft_work work;
} arg_state;

typedef struct arg_run {
  const arg_state *state;
  const uint8_t *x;
  int64_t *y;
} arg_run;

#define FIND(name, type)                                                                           \
  static int64_t name(const arg_state *state, const void *from) {                                  \
    const type *x = from;                                                                          \
    type best = x[0];                                                                              \
    uint64_t found = 0;                                                                            \
    for (uint64_t i = 1; i < state->n; i++) {                                                      \
      type v = x[i * state->inner];                                                                \
      bool nan = v != v, best_nan = best != best;                                                  \
      bool wins = !best_nan && (nan || (state->max ? v > best : v < best));                        \
      bool ties = v == best || (nan && best_nan);                                                  \
      if (!wins && !(ties && state->select_last)) continue;                                        \
      best = v;                                                                                    \
      found = i;                                                                                   \
    }                                                                                              \
    return (int64_t)found;                                                                         \
  }
FIND(find_f32, float)
FIND(find_f64, double)
FIND(find_i64, int64_t)
FIND(find_u64, uint64_t)

static weft_status find_all(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                            weft_error *error) {
  (void)scratch, (void)error;
  const arg_run *run = context;
  const arg_state *state = run->state;
  static int64_t (*const finders[WEFT_CLASS_COUNT])(const arg_state *, const void *) = {
      [WEFT_CLASS_F32] = find_f32,
      [WEFT_CLASS_F64] = find_f64,
      [WEFT_CLASS_I64] = find_i64,
      [WEFT_CLASS_U64] = find_u64,
  };
  size_t size = weft_class_size(state->input.held);
  for (uint64_t item = begin; item < end; item++) {
    uint64_t at = item / state->inner * state->n * state->inner + item % state->inner;
    run->y[item] = finders[state->input.held](state, run->x + at * size);
  }
  return WEFT_OK;
}

static weft_status run_arg_reduce(const weft_step *step, const weft_execution *execution,
                                  weft_error *error) {
  const arg_state *state = step->state;
  arg_run run = {.state = state,
                 .x = weft_operand_data(&state->input, step, execution),
                 .y = (int64_t *)(void *)weft_array_data(execution, step->outputs[0])};
  return weft_work_run(&state->work, step, execution, &run, error);
}

weft_status weft_cpu_prepare_arg_reduce(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                        weft_error *error) {
  arg_state *state = WEFT_ARENA_NEW(arena, arg_state);
  if (state == NULL) return weft_arena_fail(arena, "an arg-reduction", error);
  const weft_array *x = step->inputs[0];
  int32_t axis = weft_axis(step->node->attributes.arg_reduce.axis, x->rank);
  state->max = step->node->attributes.arg_reduce.max;
  state->select_last = step->node->attributes.arg_reduce.select_last;
  state->n = x->rank > 0 ? (uint64_t)x->dims[axis] : 1;
  state->inner = x->rank > 0 ? weft_extent(x->dims, axis + 1, x->rank) : 1;
  if (state->n == 0)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "axis %d has no elements to choose from", axis);
  WEFT_TRY(weft_operand_prepare(&state->input, cpu, step, x, 0, NULL, error));
  weft_work_prepare(&state->work, cpu, step, find_all, step->outputs[0]->elements,
                    1.0 * (double)state->n + 10.0, 0);
  step->state = state;
  step->run = run_arg_reduce;
  step->kernel = "arg-reduce";
  return WEFT_OK;
}
