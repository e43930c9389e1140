/* gather.c - the ops `gather` and `gather_elements`. Elements are moved as unsigned integers. */
#include "cpu/internal.h"
#include "gpu/map.h"

enum { WORKGROUP = 64 };

const char *weft_gpu_runs_gather(const weft_gpu_device *gpu, const weft_graph *graph,
                                 const weft_node *node) {
  (void)gpu;
  weft_dtype dtype = graph->values[node->inputs[1]].dtype;
  return dtype == WEFT_I64 || dtype == WEFT_I32 ? NULL : "indices other than i64 and i32";
}

typedef struct gather_pass {
  weft_gpu_build build;
  weft_gpu_operand data, indices, y;
  uint64_t extent, inner, groups; /* inner: data's elements behind the axis, in words */
  uint32_t parts;                 /* words of an element */
} gather_pass;

static weft_status start(gather_pass *pass, const weft_gpu_device *gpu, weft_step *step,
                         weft_arena *arena, weft_error *error) {
  const weft_array *data = step->inputs[0], *y = step->outputs[0];
  int32_t axis = weft_axis(step->node->attributes.axis.axis, data->rank);
  pass->data = weft_gpu_operand_as_words(data, &pass->parts);
  pass->y = weft_gpu_operand_as_words(y, &pass->parts);
  pass->indices = weft_gpu_operand_of(step->inputs[1]);
  pass->extent = (uint64_t)data->dims[axis];
  pass->inner = weft_extent(data->dims, axis + 1, data->rank) * pass->parts;
  pass->groups = (y->elements * pass->parts + 3) / 4;
  if (pass->y.first % 4 != 0)
    return weft_fail(error, WEFT_INTERNAL, "an output does not start at a group of four");
  return weft_gpu_build_start(&pass->build, gpu, step, arena, "gather", error);
}

static void bind(gather_pass *pass, bool quads, bool elements) {
  uint32_t unit = quads ? 4 : 1;
  weft_gpu_bind_operand(&pass->build, "data", &pass->data, quads, false);
  weft_gpu_bind_operand(&pass->build, "indices", &pass->indices, false, false);
  weft_gpu_bind_operand(&pass->build, "y", &pass->y, true, true);
  weft_shader_set(&pass->build.shader, "WORKGROUP", WORKGROUP);
  weft_shader_set(&pass->build.shader, "VEC", quads);
  weft_shader_set(&pass->build.shader, "ELEMENTS", elements);
  weft_gpu_param(&pass->build, (uint32_t)pass->groups);
  weft_gpu_param(&pass->build, (uint32_t)pass->extent);
  weft_gpu_param(&pass->build, pass->data.first / unit);
  weft_gpu_param(&pass->build, pass->indices.first);
  weft_gpu_param(&pass->build, pass->y.first / 4);
}

static weft_status finish(gather_pass *pass, const weft_gpu_device *gpu, weft_error *error) {
  uint64_t width, height;
  weft_gpu_spread(gpu, (pass->groups + WORKGROUP - 1) / WORKGROUP, &width, &height);
  return weft_gpu_build_finish(&pass->build, width, height, 1, error);
}

weft_status weft_gpu_prepare_gather(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  gather_pass pass;
  WEFT_TRY(start(&pass, gpu, step, arena, error));
  bool quads = pass.inner % 4 == 0 && pass.data.first % 4 == 0;
  bind(&pass, quads, false);
  weft_gpu_param(&pass.build, (uint32_t)step->inputs[1]->elements);
  weft_gpu_param(&pass.build, (uint32_t)pass.inner / (quads ? 4 : 1));
  return finish(&pass, gpu, error);
}

weft_status weft_gpu_prepare_gather_elements(const weft_gpu_device *gpu, weft_step *step,
                                             weft_arena *arena, weft_error *error) {
  gather_pass pass;
  WEFT_TRY(start(&pass, gpu, step, arena, error));
  weft_array data = *step->inputs[0];
  const weft_array *indices = step->inputs[1];
  data.strides[weft_axis(step->node->attributes.axis.axis, data.rank)] = 0;
  weft_nest nest;
  weft_nest_init(&nest, indices->rank, indices->dims);
  weft_nest_add(&nest, data.rank, data.dims, data.strides);
  weft_nest_collapse(&nest);
  WEFT_TRY(weft_gpu_nest_of_words(&nest, pass.parts, error));
  bind(&pass, false, true);
  weft_shader_set(&pass.build.shader, "RANK", (uint32_t)nest.rank);
  weft_shader_set(&pass.build.shader, "OUTER", (uint32_t)nest.rank - 1);
  weft_shader_set(&pass.build.shader, "PARTS", pass.parts);
  weft_gpu_param(&pass.build, (uint32_t)pass.inner);
  for (int32_t i = nest.rank - 1; i > 0; i--) weft_gpu_param(&pass.build, (uint32_t)nest.dims[i]);
  for (int32_t i = nest.rank - 1; i >= 0; i--)
    weft_gpu_param(&pass.build, (uint32_t)nest.strides[0][i]);
  return finish(&pass, gpu, error);
}
