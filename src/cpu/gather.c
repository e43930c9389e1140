/* gather.c - the ops `gather` and `gather_elements`. Indices come with the run's data: each is
 * checked. */
#include "cpu/internal.h"
#include "cpu/nest.h"

/* data as [outer, extent, inner]. gather: output [outer, indices, inner]; gather_elements: output
 * [out_outer, count, out_inner] with the shape of the indices. */
typedef struct gather_state {
  bool wide; /* indices are i64, not i32 */
  size_t size;
  uint64_t extent, inner, count;
  weft_nest places; /* gather_elements: offsets in data of the indices' shape, 0 along the axis */
  weft_work work;
} gather_state;

typedef struct gather_run {
  const gather_state *state;
  const uint8_t *data, *indices;
  uint8_t *to;
} gather_run;

static weft_status read_index(const gather_run *run, uint64_t at, uint64_t *out,
                              weft_error *error) {
  const gather_state *state = run->state;
  int64_t index = state->wide ? ((const int64_t *)(const void *)run->indices)[at]
                              : ((const int32_t *)(const void *)run->indices)[at];
  int64_t extent = (int64_t)state->extent, given = index;
  if (index < 0) index += extent;
  if (index < 0 || index >= extent)
    return weft_fail(
        error, WEFT_INVALID_DATA,
        "index %lld (element %llu of the indices) is outside of an axis of extent %lld",
        (long long)given, (unsigned long long)at, (long long)extent);
  *out = (uint64_t)index;
  return WEFT_OK;
}

/* Items: (outer, index). */
static weft_status gather_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                               weft_error *error) {
  (void)scratch;
  const gather_run *run = context;
  const gather_state *state = run->state;
  uint64_t bytes = state->inner * state->size;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t index = 0;
    WEFT_TRY(read_index(run, item % state->count, &index, error));
    uint64_t row = item / state->count * state->extent + index;
    weft_copy_run(run->to + item * bytes, run->data + row * bytes, (size_t)bytes);
  }
  return WEFT_OK;
}

static weft_status gather_each(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                               weft_error *error) {
  (void)scratch;
  const gather_run *run = context;
  const gather_state *state = run->state;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t index = 0;
    int64_t offset[WEFT_NEST_ARRAYS];
    WEFT_TRY(read_index(run, item, &index, error));
    weft_nest_locate(&state->places, item, offset, NULL);
    uint64_t from = (uint64_t)offset[0] + index * state->inner;
    weft_copy_run(run->to + item * state->size, run->data + from * state->size, state->size);
  }
  return WEFT_OK;
}

static weft_status run_gather(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  gather_run run = {.state = step->state,
                    .data = weft_array_data(execution, step->inputs[0]),
                    .indices = weft_array_data(execution, step->inputs[1]),
                    .to = weft_array_data(execution, step->outputs[0])};
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

static weft_status prepare(weft_step *step, weft_arena *arena, gather_state **out,
                           weft_error *error) {
  const weft_array *data = step->inputs[0], *indices = step->inputs[1];
  int32_t axis = weft_axis(step->node->attributes.axis.axis, data->rank);
  gather_state *state = WEFT_ARENA_NEW(arena, gather_state);
  if (state == NULL) return weft_arena_fail(arena, "a gather", error);
  state->size = weft_dtype_size(data->dtype);
  state->wide = indices->dtype == WEFT_I64;
  if (state->size == 0 || (!state->wide && indices->dtype != WEFT_I32))
    return weft_fail(error, WEFT_UNSUPPORTED, "%s by indices of type %s is not supported",
                     weft_dtype_name(data->dtype), weft_dtype_name(indices->dtype));
  state->extent = (uint64_t)data->dims[axis];
  state->inner = weft_extent(data->dims, axis + 1, data->rank);
  state->count = indices->elements;
  step->state = *out = state;
  step->run = run_gather;
  return WEFT_OK;
}

weft_status weft_cpu_prepare_gather(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  gather_state *state;
  WEFT_TRY(prepare(step, arena, &state, error));
  weft_work_prepare(&state->work, cpu, step, gather_rows, step->outputs[0]->elements / state->inner,
                    5.0 + 0.1 * (double)(state->inner * state->size), 0);
  step->kernel = "gather";
  return WEFT_OK;
}

weft_status weft_cpu_prepare_gather_elements(const weft_cpu *cpu, weft_step *step,
                                             weft_arena *arena, weft_error *error) {
  gather_state *state;
  WEFT_TRY(prepare(step, arena, &state, error));
  weft_array data = *step->inputs[0];
  const weft_array *indices = step->inputs[1];
  data.strides[weft_axis(step->node->attributes.axis.axis, data.rank)] = 0;
  weft_nest_init(&state->places, indices->rank, indices->dims);
  weft_nest_add(&state->places, data.rank, data.dims, data.strides);
  weft_nest_collapse(&state->places);
  weft_work_prepare(&state->work, cpu, step, gather_each, indices->elements, 10.0, 0);
  step->kernel = "gather-elements";
  return WEFT_OK;
}
