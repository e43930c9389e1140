/* append.c - the op `append` on the GPU: rows added to a cache of keys or values.
 *
 * Whether the present lies in place, in the past's own memory, only a run can tell. So a step has
 * two dispatches, of which a run takes one: all rows, from the past and the new ones; or the new
 * rows alone, where the memory that past and present share is bound once. */
#include "cpu/internal.h"
#include "gpu/internal.h"

enum { PAST, ADDED, TOTAL, LENGTHS };
enum { ALL_ROWS, IN_PLACE }; /* the dispatches */
enum { START_PARAM = 19, STARTS_PARAM = 20, STARTS_MAX = WEFT_GPU_PARAMS_MAX - STARTS_PARAM };

const char *weft_gpu_runs_append(const weft_gpu_device *gpu, const weft_graph *graph,
                                 const weft_node *node) {
  (void)gpu;
  weft_dtype dtype = graph->values[node->inputs[PAST]].dtype;
  return dtype != WEFT_F16 && weft_dtype_size(dtype) < 4 ? "a cache of small integers" : NULL;
}

bool weft_gpu_takes_append(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  return input <= ADDED && (array->dims[3] == 1 || array->strides[3] == 1);
}

/* ---- running --------------------------------------------------------------------------------- */

static const weft_array *input_of(const weft_step *step, uint32_t input) {
  return input < step->input_count ? step->inputs[input] : NULL;
}

/* Where a batch entry takes its new rows. Lengths may be one for all. */
static int64_t start_of(const weft_step *step, const weft_execution *execution, uint64_t batch) {
  const weft_array *total = input_of(step, TOTAL), *lengths = input_of(step, LENGTHS);
  int64_t rows = step->inputs[ADDED]->dims[2];
  if (rows == step->outputs[0]->dims[2]) return 0;
  if (lengths && lengths->elements == 1) batch = 0;
  if (lengths) return weft_integer_at(lengths, weft_array_data(execution, lengths), batch) - rows;
  return total ? weft_host_integer(total, 0) - rows : step->inputs[PAST]->dims[2];
}

/* Writes the starts to the parameters. Lengths that do not fit fail; *rewrites: new rows go where
 * the past has some. */
static weft_status set_starts(const weft_step *step, const weft_execution *execution,
                              weft_gpu_work *work, bool *rewrites, weft_error *error) {
  const weft_array *output = step->outputs[0], *lengths = input_of(step, LENGTHS);
  int64_t rows = output->dims[2], added = step->inputs[ADDED]->dims[2];
  uint64_t count = lengths ? (uint64_t)output->dims[0] : 1;
  *rewrites = false;
  for (uint64_t b = 0; b < count; b++) {
    int64_t start = start_of(step, execution, b);
    if (start < 0 || start > rows - added)
      return weft_fail(error, WEFT_INVALID_DATA,
                       "%lld rows that end at length %lld of batch entry %llu do not lie in a "
                       "cache of %lld",
                       (long long)added, (long long)(start + added), (unsigned long long)b,
                       (long long)rows);
    *rewrites |= start < step->inputs[PAST]->dims[2];
    for (uint32_t i = 0; i < work->count; i++)
      work->dispatches[i].params[lengths ? STARTS_PARAM + b : START_PARAM] = (uint32_t)start;
  }
  return WEFT_OK;
}

static bool lies_in_place(const weft_step *step, const weft_execution *execution) {
  const weft_array *past = step->inputs[PAST], *output = step->outputs[0];
  return weft_gpu_memory_of(execution, past) == weft_gpu_memory_of(execution, output);
}

static weft_status before_append(const weft_step *step, const weft_execution *execution,
                                 weft_gpu_work *work, weft_error *error) {
  bool rewrites, in_place = lies_in_place(step, execution);
  WEFT_TRY(set_starts(step, execution, work, &rewrites, error));
  if (rewrites && in_place && execution->detach) {
    WEFT_TRY(execution->detach(execution->detach_user, step->outputs[0]->slot, error));
    in_place = lies_in_place(step, execution);
  }
  work->dispatches[ALL_ROWS].skip = in_place;
  work->dispatches[IN_PLACE].skip = !in_place;
  return WEFT_OK;
}

/* ---- preparation ----------------------------------------------------------------------------- */

/* Are all rows whole words of memory? */
static bool is_aligned(const weft_array *array) {
  int64_t size = (int64_t)weft_dtype_size(array->dtype);
  for (int32_t i = 0; i < 3; i++)
    if (array->dims[i] > 1 && array->strides[i] * size % 4 != 0) return false;
  return array->offset % 4 == 0;
}

/* Where an array [B,H,T,D] starts and its strides, in units of so many bytes. */
static void add_places(weft_gpu_build *build, const weft_array *array, int64_t unit) {
  int64_t size = (int64_t)weft_dtype_size(array->dtype);
  weft_gpu_param(build, (uint32_t)((int64_t)array->offset / unit));
  for (int32_t i = 0; i < 3; i++)
    weft_gpu_param(build, array->dims[i] > 1 ? (uint32_t)(array->strides[i] * size / unit) : 0);
}

/* Rows of a head that are written. */
static int64_t slots_of(const weft_step *step, bool in_place) {
  int64_t past = step->inputs[PAST]->dims[2], added = step->inputs[ADDED]->dims[2];
  int64_t rows = step->outputs[0]->dims[2];
  if (!in_place) return rows;
  bool follow = past + added == rows && !input_of(step, TOTAL) && !input_of(step, LENGTHS);
  return follow ? added : added + rows - past;
}

static weft_status add_dispatch(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                bool in_place, weft_error *error) {
  const weft_array *past = step->inputs[PAST], *added = step->inputs[ADDED];
  const weft_array *output = step->outputs[0];
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "append", error));
  if (!in_place) weft_gpu_bind(&build, "past", past, WEFT_RAW_WORDS, false);
  weft_gpu_bind(&build, "added", added, WEFT_RAW_WORDS, false);
  weft_gpu_bind(&build, "present", output, WEFT_RAW_WORDS, true);
  bool halves = !is_aligned(past) || !is_aligned(added);
  weft_shader_set(&build.shader, "IN_PLACE", in_place);
  weft_shader_set(&build.shader, "HALVES", halves);
  add_places(&build, past, halves ? 2 : 4);
  add_places(&build, added, halves ? 2 : 4);
  add_places(&build, output, 4);
  uint64_t words = (uint64_t)output->dims[3] * weft_dtype_size(output->dtype) / 4;
  uint64_t slots = (uint64_t)slots_of(step, in_place);
  uint64_t items = (uint64_t)output->dims[0] * (uint64_t)output->dims[1] * slots * words, x, y;
  weft_gpu_param(&build, (uint32_t)past->dims[2]);
  weft_gpu_param(&build, (uint32_t)added->dims[2]);
  weft_gpu_param(&build, (uint32_t)output->dims[2]);
  weft_gpu_param(&build, (uint32_t)words);
  weft_gpu_param(&build, (uint32_t)output->dims[1]);
  weft_gpu_param(&build, (uint32_t)slots);
  weft_gpu_param(&build, (uint32_t)items);
  weft_gpu_param(&build, 0);
  uint32_t starts4 = input_of(step, LENGTHS) ? (uint32_t)(output->dims[0] + 3) / 4 : 0;
  weft_shader_set(&build.shader, "STARTS4", starts4);
  for (uint32_t i = 0; i < 4 * starts4; i++) weft_gpu_param(&build, 0);
  weft_gpu_spread(gpu, (items + 63) / 64, &x, &y);
  return weft_gpu_build_finish(&build, x, y, 1, error);
}

weft_status weft_gpu_prepare_append(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *output = step->outputs[0];
  uint64_t row = (uint64_t)output->dims[3] * weft_dtype_size(output->dtype);
  if (row % 4 != 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "rows of %llu bytes, which are no whole words",
                     (unsigned long long)row);
  if (input_of(step, LENGTHS) && output->dims[0] > STARTS_MAX)
    return weft_fail(error, WEFT_UNSUPPORTED, "%lld sequences of different lengths, where %d go",
                     (long long)output->dims[0], STARTS_MAX);
  WEFT_TRY(add_dispatch(gpu, step, arena, false, error));
  WEFT_TRY(add_dispatch(gpu, step, arena, true, error));
  weft_gpu_work *work = step->state;
  work->before = before_append;
  step->bytes = (double)output->dims[0] * (double)output->dims[1] *
                (double)step->inputs[ADDED]->dims[2] * (double)row;
  return WEFT_OK;
}
