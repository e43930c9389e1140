/* concat.c - the op `concat`: several inputs to a dispatch, as many as it can bind. Elements are
 * moved as unsigned integers. */
#include "cpu/internal.h"
#include "gpu/map.h"

enum { WORKGROUP = 64, INPUTS_MAX = WEFT_GPU_MAP_INPUTS };

const char *weft_gpu_runs_concat(const weft_gpu_device *gpu, const weft_graph *graph,
                                 const weft_node *node) {
  (void)gpu, (void)graph;
  return node->input_count > INPUTS_MAX * WEFT_GPU_DISPATCHES_MAX ? "more than 28 inputs" : NULL;
}

bool weft_gpu_takes_concat(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node, (void)input, (void)array;
  return true;
}

/* Inputs that lie next to one another in y, from `begin` along its axis on. */
typedef struct concat_pass {
  const weft_array *inputs[INPUTS_MAX];
  uint32_t count;
  int64_t begin;
  int32_t axis;
  bool keeps; /* y has other elements too */
} concat_pass;

/* The dimensions of y, with the strides of each input and behind them those of an array that steps
 * along the axis alone, so that the axis is not joined with others. */
static weft_status make_nest(const concat_pass *pass, const weft_array *y, uint32_t parts,
                             weft_nest *nest, weft_error *error) {
  int64_t marks[WEFT_RANK_MAX] = {0};
  marks[pass->axis] = 1;
  weft_nest_init(nest, y->rank, y->dims);
  for (uint32_t k = 0; k < pass->count; k++)
    weft_nest_add(nest, y->rank, pass->inputs[k]->dims, pass->inputs[k]->strides);
  weft_nest_add(nest, y->rank, y->dims, marks);
  weft_nest_collapse(nest);
  return weft_gpu_nest_of_words(nest, parts, error);
}

static weft_status add_pass(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                            const concat_pass *pass, weft_error *error) {
  static const char *const names[INPUTS_MAX] = {"x0", "x1", "x2", "x3", "x4", "x5", "x6"};
  const weft_array *y = step->outputs[0];
  uint32_t parts, count = pass->count;
  weft_gpu_operand to = weft_gpu_operand_as_words(y, &parts);
  weft_nest nest;
  weft_gpu_build build;
  WEFT_TRY(make_nest(pass, y, parts, &nest, error));
  uint32_t rank = (uint32_t)nest.rank;
  if (2 + rank + count * (2 + rank) > WEFT_GPU_PARAMS_MAX || to.first % 4 != 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "%u inputs in %u dimensions", count, rank);
  int32_t axis = 0; /* in the nest; a mark is 1, or 2 where an element is two words */
  while (axis + 1 < nest.rank && nest.strides[count][axis] == 0) axis++;
  uint64_t groups = (y->elements * parts + 3) / 4, width, height;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "concat", error));
  weft_gpu_param(&build, (uint32_t)groups);
  weft_gpu_param(&build, to.first / 4);
  weft_gpu_param(&build, (uint32_t)pass->begin);
  for (int32_t i = nest.rank - 1; i > 0; i--) weft_gpu_param(&build, (uint32_t)nest.dims[i]);
  int64_t at = pass->begin;
  for (uint32_t k = 0; k < count; k++) {
    weft_gpu_operand from = weft_gpu_operand_as_words(pass->inputs[k], &parts);
    weft_gpu_bind_operand(&build, names[k], &from, false, false);
    int64_t first = from.first - at * nest.strides[k][axis];
    at += pass->inputs[k]->dims[pass->axis];
    /* Of a single input's axis the nest may have lost sight: all is its own. */
    weft_gpu_param(&build, count == 1 && !pass->keeps ? UINT32_MAX : (uint32_t)at);
    weft_gpu_param(&build, (uint32_t)first);
    for (int32_t i = nest.rank - 1; i >= 0; i--)
      weft_gpu_param(&build, (uint32_t)nest.strides[k][i]);
  }
  weft_gpu_bind_operand(&build, "y", &to, true, true);
  weft_shader_set(&build.shader, "WORKGROUP", WORKGROUP);
  weft_shader_set(&build.shader, "INPUTS", count);
  weft_shader_set(&build.shader, "RANK", rank);
  weft_shader_set(&build.shader, "OUTER", rank - 1);
  weft_shader_set(&build.shader, "AXIS", rank - 1 - (uint32_t)axis);
  weft_shader_set(&build.shader, "EACH", rank > 1 && nest.dims[rank - 1] % 4 != 0);
  weft_shader_set(&build.shader, "KEEP", pass->keeps);
  weft_gpu_spread(gpu, (groups + WORKGROUP - 1) / WORKGROUP, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}

weft_status weft_gpu_prepare_concat(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *y = step->outputs[0];
  concat_pass pass = {.axis = weft_axis(step->node->attributes.axis.axis, y->rank)};
  uint32_t filled = 0;
  for (uint32_t i = 0; i < step->input_count; i++) filled += step->inputs[i]->elements > 0;
  pass.keeps = filled > INPUTS_MAX;
  int64_t end = 0;
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    if (input->elements == 0) continue;
    if (pass.count == INPUTS_MAX) {
      WEFT_TRY(add_pass(gpu, step, arena, &pass, error));
      pass.count = 0;
      pass.begin = end;
    }
    pass.inputs[pass.count++] = input;
    end += input->dims[pass.axis];
  }
  return add_pass(gpu, step, arena, &pass, error);
}
