/* concat.c - the ops `concat` and `pad`: outputs put together from runs of inputs, whatever their
 * strides. */
#include "cpu/internal.h"
#include "cpu/nest.h"

/* ---- concat --------------------------------------------------------------------------------- */

/* Output [outer, axis x inner]: of each input a run of run[i] elements per outer. Items: outer. */
typedef struct concat_state {
  size_t size;
  uint64_t row; /* elements of an output row */
  uint64_t *runs;
  weft_nest *nests;
  weft_work work;
} concat_state;

typedef struct concat_run {
  const concat_state *state;
  const weft_step *step;
  const weft_execution *execution;
} concat_run;

static weft_status concat_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                               weft_error *error) {
  (void)scratch, (void)error;
  const concat_run *run = context;
  const concat_state *state = run->state;
  uint8_t *to = weft_array_data(run->execution, run->step->outputs[0]);
  for (uint32_t i = 0; i < run->step->input_count; i++) {
    const uint8_t *from = weft_array_data(run->execution, run->step->inputs[i]);
    uint64_t count = state->runs[i];
    for (uint64_t row = begin; row < end && count > 0; row++)
      weft_nest_gather(&state->nests[i], 0, state->size, from, row * count, count,
                       to + row * state->row * state->size);
    to += count * state->size;
  }
  return WEFT_OK;
}

static weft_status run_concat(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  concat_run run = {step->state, step, execution};
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

weft_status weft_cpu_prepare_concat(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *output = step->outputs[0];
  int32_t axis = weft_axis(step->node->attributes.axis.axis, output->rank);
  concat_state *state = WEFT_ARENA_NEW(arena, concat_state);
  if (state != NULL) {
    state->runs = WEFT_ARENA_ARRAY(arena, uint64_t, step->input_count);
    state->nests = WEFT_ARENA_ARRAY(arena, weft_nest, step->input_count);
  }
  if (state == NULL || state->runs == NULL || state->nests == NULL)
    return weft_arena_fail(arena, "a concatenation", error);
  state->size = weft_dtype_size(output->dtype);
  if (state->size == 0) return weft_fail(error, WEFT_UNSUPPORTED, "strings are not supported");
  state->row = weft_extent(output->dims, axis, output->rank);
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    state->runs[i] = weft_extent(input->dims, axis, input->rank);
    weft_nest_init(&state->nests[i], input->rank, input->dims);
    weft_nest_add(&state->nests[i], input->rank, input->dims, input->strides);
    weft_nest_collapse(&state->nests[i]);
  }
  weft_work_prepare(&state->work, cpu, step, concat_rows, output->elements / state->row,
                    0.2 * (double)state->row + 20.0 * step->input_count, 0);
  step->state = state;
  step->run = run_concat;
  step->kernel = "concat";
  return WEFT_OK;
}

/* ---- pad ------------------------------------------------------------------------------------ */

/* Items: rows of the output's last dimension. */
typedef struct pad_state {
  weft_pad_mode mode;
  size_t size;
  int32_t rank; /* >= 1 */
  int64_t before[WEFT_RANK_MAX], from_dims[WEFT_RANK_MAX], from_strides[WEFT_RANK_MAX];
  int64_t to_dims[WEFT_RANK_MAX];
  weft_work work;
} pad_state;

typedef struct pad_run {
  const pad_state *state;
  const uint8_t *from, *value;
  uint8_t *to;
} pad_run;

/* Where output coordinate `at` reads along a dimension; -1: the constant. */
static int64_t source_of(const pad_state *state, int32_t dim, int64_t at) {
  int64_t extent = state->from_dims[dim], from = at - state->before[dim];
  if (from >= 0 && from < extent) return from;
  if (extent == 0 || state->mode == WEFT_PAD_CONSTANT) return -1;
  if (state->mode == WEFT_PAD_EDGE) return from < 0 ? 0 : extent - 1;
  int64_t period = state->mode == WEFT_PAD_WRAP ? extent : extent > 1 ? 2 * (extent - 1) : 1;
  from %= period;
  if (from < 0) from += period;
  return from < extent ? from : period - from;
}

/* Output columns [begin, end) of a row whose input row is at `from` (NULL: outside), one by one. */
static void pad_each(const pad_run *run, const uint8_t *from, int64_t begin, int64_t end,
                     uint8_t *row) {
  const pad_state *state = run->state;
  int32_t last = state->rank - 1;
  int64_t size = (int64_t)state->size;
  for (int64_t at = begin; at < end; at++) {
    int64_t source = from != NULL ? source_of(state, last, at) : -1;
    const uint8_t *element =
        source < 0 ? run->value : from + source * state->from_strides[last] * size;
    weft_copy_run(row + at * size, element, state->size);
  }
}

/* The input row of an output row; NULL: it is all padding. */
static const uint8_t *find_row(const pad_run *run, uint64_t row) {
  const pad_state *state = run->state;
  int64_t offset = 0;
  for (int32_t i = state->rank - 2; i >= 0; i--) {
    uint64_t extent = (uint64_t)state->to_dims[i];
    int64_t source = source_of(state, i, (int64_t)(row % extent));
    if (source < 0) return NULL;
    offset += source * state->from_strides[i];
    row /= extent;
  }
  return run->from + offset * (int64_t)state->size;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

static weft_status pad_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                            weft_error *error) {
  (void)scratch, (void)error;
  const pad_run *run = context;
  const pad_state *state = run->state;
  int32_t last = state->rank - 1;
  int64_t columns = state->to_dims[last], size = (int64_t)state->size;
  int64_t first = clamp(state->before[last], 0, columns);
  int64_t behind = clamp(state->before[last] + state->from_dims[last], first, columns);
  for (uint64_t row = begin; row < end; row++) {
    uint8_t *to = run->to + (int64_t)row * columns * size;
    const uint8_t *from = find_row(run, row);
    if (from == NULL) {
      weft_copy_strided(state->size, run->value, 0, (size_t)columns, to);
      continue;
    }
    pad_each(run, from, 0, first, to);
    if (behind > first)
      weft_copy_strided(state->size,
                        from + (first - state->before[last]) * state->from_strides[last] * size,
                        state->from_strides[last], (size_t)(behind - first), to + first * size);
    pad_each(run, from, behind, columns, to);
  }
  return WEFT_OK;
}

static weft_status run_pad(const weft_step *step, const weft_execution *execution,
                           weft_error *error) {
  static const uint64_t zero = 0;
  const weft_array *value = weft_step_input(step, 2);
  pad_run run = {.state = step->state,
                 .from = weft_array_data(execution, step->inputs[0]),
                 .value = (const uint8_t *)&zero,
                 .to = weft_array_data(execution, step->outputs[0])};
  if (value != NULL) run.value = weft_array_data(execution, value);
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

/* pads: all begins, then all ends, of the given axes. The ends follow from the output's shape. */
static void set_pads(const weft_step *step, pad_state *state) {
  const weft_array *x = step->inputs[0], *pads = step->inputs[1], *axes = weft_step_input(step, 3);
  uint64_t count = pads->elements / 2;
  for (uint64_t i = 0; i < count; i++) {
    int64_t axis = axes != NULL ? weft_host_integer(axes, i) : (int64_t)i;
    state->before[weft_axis(axis, x->rank)] = weft_host_integer(pads, i);
  }
}

weft_status weft_cpu_prepare_pad(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                 weft_error *error) {
  const weft_array *x = step->inputs[0], *output = step->outputs[0];
  pad_state *state = WEFT_ARENA_NEW(arena, pad_state);
  if (state == NULL) return weft_arena_fail(arena, "padding", error);
  state->mode = step->node->attributes.pad.mode;
  state->size = weft_dtype_size(x->dtype);
  if (state->size == 0) return weft_fail(error, WEFT_UNSUPPORTED, "strings are not supported");
  state->rank = x->rank > 0 ? x->rank : 1;
  state->from_dims[0] = state->to_dims[0] = 1;
  for (int32_t i = 0; i < x->rank; i++) {
    state->from_dims[i] = x->dims[i];
    state->from_strides[i] = x->strides[i];
    state->to_dims[i] = output->dims[i];
  }
  set_pads(step, state);
  uint64_t columns = (uint64_t)state->to_dims[state->rank - 1];
  weft_work_prepare(&state->work, cpu, step, pad_rows, output->elements / columns,
                    20.0 + 0.3 * (double)columns, 0);
  step->state = state;
  step->run = run_pad;
  step->kernel = "pad";
  return WEFT_OK;
}
