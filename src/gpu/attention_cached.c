/* attention_cached.c - the op `cached_attention` on the GPU: q and k are turned as they are read,
 * new rows are written to the caches, and attended to with the others.
 *
 * Caches come in place where they can. Where a past lies elsewhere, its rows are copied to the
 * present first, and all goes on as if it had been there. Few rows take one dispatch, or two where
 * keys are cut into parts: the workgroup that has a new row's part writes it. Where arrays are too
 * many for that, or rows are, new rows get a dispatch of their own. */
#include "cpu/internal.h"
#include "gpu/attention.h"
#include "gpu/commands.h"

enum { CACHES = 2 };

static const weft_array *input_of(const weft_step *step, uint32_t input) {
  return input < step->input_count ? step->inputs[input] : NULL;
}

/* ---- which nodes ----------------------------------------------------------------------------- */

/* A size of rows that goes by fours. */
static bool is_in_fours(weft_dim size, int64_t fours) {
  return !WEFT_DIM_IS_SYMBOL(size) && size > 0 && size % (4 * fours) == 0;
}

static bool has_input(const weft_node *node, uint32_t input) {
  return input < node->input_count && node->inputs[input] != WEFT_VALUE_NONE;
}

static uint32_t count_bindings(const weft_node *node) {
  static const uint32_t extras[] = {WEFT_CACHED_MASK,  WEFT_CACHED_LENGTHS,
                                    WEFT_CACHED_SINK,  WEFT_CACHED_COSINES,
                                    WEFT_CACHED_SINES, WEFT_CACHED_POSITIONS};
  uint32_t count = 4; /* q, k, v, the result */
  for (uint32_t i = 0; i < sizeof extras / sizeof *extras; i++) count += has_input(node, extras[i]);
  return count;
}

const char *weft_gpu_runs_cached_attention(const weft_gpu_device *gpu, const weft_graph *graph,
                                           const weft_node *node) {
  const weft_value *q = &graph->values[node->inputs[WEFT_CACHED_Q]];
  const weft_value *v = &graph->values[node->inputs[WEFT_CACHED_V]];
  if (q->dtype != WEFT_F32 && q->dtype != WEFT_F16) return "the type of its caches";
  if (q->shape.rank != 4 || v->shape.rank != 4 || !is_in_fours(q->shape.dims[3], 1) ||
      !is_in_fours(v->shape.dims[3], 1))
    return "heads that are not counted in fours";
  if (count_bindings(node) > weft_attention_bindings(gpu->gpu->facts)) return "too many arrays";
  if (!has_input(node, WEFT_CACHED_COSINES)) return NULL;
  const weft_shape *angles = &graph->values[node->inputs[WEFT_CACHED_COSINES]].shape;
  bool interleaved = node->attributes.attention.interleaved;
  bool good = angles->rank > 0 && !WEFT_DIM_IS_SYMBOL(angles->dims[angles->rank - 1]) &&
              is_in_fours(2 * angles->dims[angles->rank - 1], interleaved ? 1 : 2);
  return good ? NULL : "a rotary embedding that is not counted in fours";
}

/* A past may be copied head by head. */
static bool has_dense_heads(const weft_array *array) {
  return (array->dims[3] == 1 || array->strides[3] == 1) &&
         (array->dims[2] <= 1 || array->strides[2] == array->dims[3]);
}

bool weft_gpu_takes_cached_attention(const weft_node *node, uint32_t input,
                                     const weft_array *array) {
  if (input == WEFT_CACHED_PAST_K || input == WEFT_CACHED_PAST_V) return has_dense_heads(array);
  return weft_gpu_takes_attention(node, input, array);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Keys that are attended to: without lengths, where the new rows end. */
static int64_t keys_of(const weft_step *step) {
  const weft_array *total = input_of(step, WEFT_CACHED_TOTAL);
  return total ? weft_host_integer(total, 0) : step->outputs[1]->dims[2];
}

static weft_status check_start(const weft_step *step, int64_t start, uint64_t batch,
                               weft_error *error) {
  int64_t rows = step->outputs[1]->dims[2], added = step->inputs[WEFT_CACHED_K]->dims[2];
  if (start >= 0 && start <= rows - added) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_DATA,
                   "%lld rows that end at length %lld of batch entry %llu do not lie in a cache of "
                   "%lld",
                   (long long)added, (long long)(start + added), (unsigned long long)batch,
                   (long long)rows);
}

/* Lengths that do not fit fail; *rewrites: new rows go where the past has some. */
static weft_status check_starts(const weft_step *step, const weft_execution *execution,
                                bool *rewrites, weft_error *error) {
  const weft_array *ends = input_of(step, WEFT_CACHED_ENDS);
  int64_t added = step->inputs[WEFT_CACHED_K]->dims[2], past;
  past = step->inputs[WEFT_CACHED_PAST_K]->dims[2];
  bool is_all = added == step->outputs[1]->dims[2];
  uint64_t count = ends && !is_all ? (uint64_t)step->outputs[1]->dims[0] : 1;
  *rewrites = false;
  for (uint64_t b = 0; b < count; b++) {
    int64_t start = is_all ? 0 : keys_of(step) - added;
    uint64_t end = ends && ends->elements == 1 ? 0 : b; /* one may be for all */
    if (ends && !is_all)
      start = weft_integer_at(ends, weft_array_data(execution, ends), end) - added;
    WEFT_TRY(check_start(step, start, b, error));
    *rewrites |= start < past && added > 0;
  }
  return WEFT_OK;
}

/* The past's rows to where the present lies: a command for each head. */
static weft_status copy_past(weft_commands *commands, const weft_execution *execution,
                             const weft_array *past, const weft_array *present, weft_error *error) {
  uint64_t size = weft_dtype_size(past->dtype);
  uint64_t length = (uint64_t)(past->dims[2] * past->dims[3]) * size;
  for (int64_t head = 0; length > 0 && head < past->dims[0] * past->dims[1]; head++) {
    int64_t b = head / past->dims[1], h = head % past->dims[1];
    int64_t start = b * past->strides[0] + h * past->strides[1];
    int64_t to = b * present->strides[0] + h * present->strides[1];
    uint32_t *command = weft_commands_add(commands, WEFT_GPU_COPY, WEFT_GPU_COPY_WORDS, error);
    if (!command) return WEFT_OUT_OF_MEMORY;
    weft_command_copy(command, weft_gpu_memory_of(execution, past),
                      past->offset + (uint64_t)start * size, weft_gpu_memory_of(execution, present),
                      present->offset + (uint64_t)to * size, length);
  }
  return WEFT_OK;
}

static weft_status before_cached(const weft_step *step, const weft_execution *execution,
                                 weft_gpu_work *work, weft_error *error) {
  bool rewrites;
  WEFT_TRY(check_starts(step, execution, &rewrites, error));
  for (uint32_t c = 0; c < CACHES; c++) {
    const weft_array *past = step->inputs[WEFT_CACHED_PAST_K + c], *present = step->outputs[1 + c];
    weft_memory from = weft_gpu_memory_of(execution, past);
    if (rewrites && execution->detach && from == weft_gpu_memory_of(execution, present))
      WEFT_TRY(execution->detach(execution->detach_user, present->slot, error));
    if (from != weft_gpu_memory_of(execution, present))
      WEFT_TRY(copy_past(work->commands, execution, past, present, error));
  }
  return WEFT_OK;
}

/* ---- preparation ----------------------------------------------------------------------------- */

static bool share(const weft_array *a, const weft_array *b) {
  return a->block ? a->block == b->block : a->slot != 0 && a->slot == b->slot;
}

static weft_attention_problem problem_of(const weft_gpu_device *gpu, weft_step *step,
                                         weft_arena *arena) {
  const weft_array *q = step->inputs[WEFT_CACHED_Q], *k = step->inputs[WEFT_CACHED_K];
  weft_attention_problem p =
      weft_attention_problem_of(gpu, step, arena, step->outputs[1], step->outputs[2]);
  p.cached = true;
  p.keys = (uint32_t)keys_of(step);
  p.cosines = input_of(step, WEFT_CACHED_COSINES);
  p.sines = input_of(step, WEFT_CACHED_SINES);
  p.positions = input_of(step, WEFT_CACHED_POSITIONS);
  p.past_rows = (uint32_t)step->inputs[WEFT_CACHED_PAST_K]->dims[2];
  p.joint = share(q, k) && share(q, step->inputs[WEFT_CACHED_V]);
  return p;
}

weft_status weft_gpu_prepare_cached_attention(const weft_gpu_device *gpu, weft_step *step,
                                              weft_arena *arena, weft_error *error) {
  weft_gpu_build build; /* makes the state, also where there is nothing to dispatch */
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "attention_rows", error));
  weft_gpu_work *work = step->state;
  weft_attention_problem p = problem_of(gpu, step, arena);
  if (p.rows > 0 && p.batches > 0) WEFT_TRY(weft_attention_prepare(&p, error));
  work->before = before_cached;
  work->commands = gpu->commands;
  return WEFT_OK;
}
