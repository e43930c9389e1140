/* generate.c - the ops that make data from little: `shape`, `range`, `fill`. Where shapes are known
 * the planner has mostly done their work already, so they run on one thread. */
#include "cpu/convert.h"
#include "cpu/internal.h"
#include "cpu/nest.h"

/* ---- shape ---------------------------------------------------------------------------------- */

static weft_status run_shape(const weft_step *step, const weft_execution *execution,
                             weft_error *error) {
  (void)error;
  const weft_array *x = step->inputs[0];
  uint64_t count = step->outputs[0]->elements;
  int32_t start = weft_axis(step->node->attributes.shape.start, x->rank);
  if (start < 0) start = 0;
  memcpy(weft_array_data(execution, step->outputs[0]), x->dims + start,
         (size_t)count * sizeof(int64_t));
  return WEFT_OK;
}

weft_status weft_cpu_prepare_shape(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                   weft_error *error) {
  (void)cpu, (void)arena, (void)error;
  step->run = run_shape;
  step->kernel = "shape";
  return WEFT_OK;
}

/* ---- range ---------------------------------------------------------------------------------- */

/* One element of an input, as the class that it is held as. */
typedef union scalar {
  float f32;
  double f64;
  uint64_t u64;
} scalar;

typedef struct range_state {
  weft_convert_fn *load, *store; /* NULL: held as stored */
  weft_class held;
} range_state;

static scalar read_scalar(const range_state *state, const weft_array *array,
                          const weft_execution *execution) {
  scalar value;
  const uint8_t *from = weft_array_data(execution, array);
  if (state->load != NULL)
    state->load(1, from, &value);
  else
    memcpy(&value, from, weft_class_size(state->held));
  return value;
}

static weft_status run_range(const weft_step *step, const weft_execution *execution,
                             weft_error *error) {
  (void)error;
  const range_state *state = step->state;
  scalar start = read_scalar(state, step->inputs[0], execution);
  scalar delta = read_scalar(state, step->inputs[2], execution);
  uint8_t *to = weft_array_data(execution, step->outputs[0]);
  size_t size = weft_dtype_size(step->outputs[0]->dtype);
  for (uint64_t i = 0; i < step->outputs[0]->elements; i++, to += size) {
    scalar value;
    if (state->held == WEFT_CLASS_F32)
      value.f32 = start.f32 + (float)i * delta.f32;
    else if (state->held == WEFT_CLASS_F64)
      value.f64 = start.f64 + (double)i * delta.f64;
    else
      value.u64 = start.u64 + i * delta.u64;
    if (state->store != NULL)
      state->store(1, &value, to);
    else
      memcpy(to, &value, size);
  }
  return WEFT_OK;
}

weft_status weft_cpu_prepare_range(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                   weft_error *error) {
  weft_dtype dtype = step->outputs[0]->dtype;
  range_state *state = WEFT_ARENA_NEW(arena, range_state);
  if (state == NULL) return weft_arena_fail(arena, "a range", error);
  state->held = weft_class_of(dtype);
  if (state->held == WEFT_CLASS_NONE || state->held == WEFT_CLASS_BOOL)
    return weft_fail(error, WEFT_UNSUPPORTED, "elements of type %s are not supported",
                     weft_dtype_name(dtype));
  state->load = weft_class_loader(cpu->kernels, dtype);
  state->store = weft_class_storer(cpu->kernels, dtype);
  step->state = state;
  step->run = run_range;
  step->kernel = "range";
  return WEFT_OK;
}

/* ---- fill ----------------------------------------------------------------------------------- */

static weft_status run_fill(const weft_step *step, const weft_execution *execution,
                            weft_error *error) {
  (void)error;
  const weft_array *output = step->outputs[0];
  uint64_t value; /* aligned for every type */
  memcpy(&value, step->node->attributes.fill.value, sizeof value);
  weft_copy_strided(weft_dtype_size(output->dtype), (const uint8_t *)&value, 0,
                    (size_t)output->elements, weft_array_data(execution, output));
  return WEFT_OK;
}

weft_status weft_cpu_prepare_fill(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  (void)cpu, (void)arena;
  if (weft_dtype_size(step->outputs[0]->dtype) == 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "strings are not supported");
  step->run = run_fill;
  step->kernel = "fill";
  return WEFT_OK;
}
