/* append.c - the op `append`: rows added to a cache of keys or values.
 *
 * Where the cache's buffer is the past's own (the session has seen to it that nobody else looks at
 * what is written), only the new rows are written. Else the past's rows are copied first. */
#include "cpu/internal.h"
#include "cpu/nest.h"

enum { APPEND_PAST, APPEND_NEW, APPEND_TOTAL, APPEND_LENGTHS };

/* Strides in bytes: batch, head, row. */
typedef struct append_state {
  uint64_t heads;
  size_t row; /* bytes of a row */
  int64_t past_rows, new_rows, rows;
  int64_t start; /* of the new rows; below 0: by the lengths */
  int64_t past[3], added[3], present[3];
  weft_work work;
} append_state;

typedef struct append_run {
  const append_state *state;
  const weft_array *lengths;
  const uint8_t *past, *added, *length_data;
  uint8_t *present;
} append_run;

bool weft_cpu_takes_append(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  return input <= APPEND_NEW && (array->dims[3] == 1 || array->strides[3] == 1);
}

/* Where batch `batch` takes its new rows. */
static int64_t start_of(const append_run *run, uint64_t batch) {
  const append_state *state = run->state;
  if (state->start >= 0) return state->start;
  return weft_integer_at(run->lengths, run->length_data, batch) - state->new_rows;
}

static void copy_rows(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride,
                      int64_t rows, size_t bytes) {
  if (rows <= 0) return;
  if (to_stride == (int64_t)bytes && from_stride == (int64_t)bytes) {
    weft_copy_run(to, from, (size_t)rows * bytes);
    return;
  }
  for (int64_t i = 0; i < rows; i++)
    weft_copy_run(to + i * to_stride, from + i * from_stride, bytes);
}

/* Items: heads of batches. */
static weft_status append_heads(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                                weft_error *error) {
  (void)scratch, (void)error;
  const append_run *run = context;
  const append_state *s = run->state;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t batch = item / s->heads;
    int64_t b = (int64_t)batch, h = (int64_t)(item % s->heads), start = start_of(run, batch);
    uint8_t *to = run->present + b * s->present[0] + h * s->present[1];
    if (run->past != run->present)
      copy_rows(to, s->present[2], run->past + b * s->past[0] + h * s->past[1], s->past[2],
                s->past_rows, s->row);
    /* Rows that nobody wrote are zeros, whatever the buffer held. */
    int64_t after = start + s->new_rows;
    for (int64_t i = s->past_rows; i < s->rows; i++)
      if (i < start || i >= after) memset(to + i * s->present[2], 0, s->row);
    copy_rows(to + start * s->present[2], s->present[2],
              run->added + b * s->added[0] + h * s->added[1], s->added[2], s->new_rows, s->row);
  }
  return WEFT_OK;
}

/* Lengths that do not fit fail; *rewrites: new rows go where the past has some. */
static weft_status check_starts(const append_run *run, uint64_t batches, bool *rewrites,
                                weft_error *error) {
  const append_state *state = run->state;
  *rewrites = false;
  for (uint64_t b = 0; b < batches; b++) {
    int64_t start = start_of(run, b);
    if (start < 0 || start > state->rows - state->new_rows)
      return weft_fail(error, WEFT_INVALID_DATA,
                       "%lld rows that end at length %lld of batch entry %llu do not lie in a "
                       "cache of %lld",
                       (long long)state->new_rows, (long long)(start + state->new_rows),
                       (unsigned long long)b, (long long)state->rows);
    *rewrites |= start < state->past_rows;
  }
  return WEFT_OK;
}

static weft_status run_append(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  const append_state *state = step->state;
  const weft_array *output = step->outputs[0];
  append_run run = {.state = state,
                    .lengths = weft_step_input(step, APPEND_LENGTHS),
                    .past = weft_array_data(execution, step->inputs[APPEND_PAST]),
                    .added = weft_array_data(execution, step->inputs[APPEND_NEW]),
                    .present = weft_array_data(execution, output)};
  if (run.lengths) run.length_data = weft_array_data(execution, run.lengths);
  bool rewrites;
  WEFT_TRY(check_starts(&run, (uint64_t)output->dims[0], &rewrites, error));
  if (rewrites && run.past == run.present && execution->detach) {
    WEFT_TRY(execution->detach(execution->detach_user, output->slot, error));
    run.present = weft_array_data(execution, output);
  }
  return weft_work_run(&state->work, step, execution, &run, error);
}

static void byte_strides(const weft_array *array, int64_t *out) {
  for (int32_t i = 0; i < 3; i++)
    out[i] = array->strides[i] * (int64_t)weft_dtype_size(array->dtype);
}

weft_status weft_cpu_prepare_append(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  append_state *state = WEFT_ARENA_NEW(arena, append_state);
  if (state == NULL) return weft_arena_fail(arena, "append", error);
  const weft_array *past = step->inputs[APPEND_PAST], *added = step->inputs[APPEND_NEW];
  const weft_array *output = step->outputs[0], *total = weft_step_input(step, APPEND_TOTAL);
  size_t size = weft_dtype_size(output->dtype);
  if (size == 0) return weft_fail(error, WEFT_UNSUPPORTED, "strings are not supported");
  state->heads = (uint64_t)output->dims[1];
  state->row = (size_t)output->dims[3] * size;
  state->past_rows = past->dims[2];
  state->new_rows = added->dims[2];
  state->rows = output->dims[2];
  state->start = past->dims[2];
  if (state->new_rows == state->rows)
    state->start = 0;
  else if (weft_step_input(step, APPEND_LENGTHS))
    state->start = -1;
  else if (total)
    state->start = weft_host_integer(total, 0) - state->new_rows;
  byte_strides(past, state->past);
  byte_strides(added, state->added);
  byte_strides(output, state->present);
  uint64_t items = (uint64_t)output->dims[0] * state->heads;
  step->bytes = (double)items * (double)state->new_rows * (double)state->row;
  bool in_place = output->slot != WEFT_SLOT_ARENA && past->strides[1] == output->strides[1];
  double moved = (double)state->row * (double)(in_place ? state->new_rows : state->rows);
  weft_work_prepare(&state->work, cpu, step, append_heads, items, 10.0 + 0.1 * moved, 0);
  step->state = state;
  step->run = run_append;
  step->kernel = "append";
  return WEFT_OK;
}
