/* rotary.c - the op `rotary` on the GPU: an invocation for each element, or word of two. Positions
 * past the table take its last row: the host would refuse them. */
#include "gpu/internal.h"

enum { X, COSINES, SINES, POSITIONS };

/* Any strides. */
bool weft_gpu_takes_rotary(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node, (void)array;
  return input == X;
}

static uint32_t stride_of(const weft_array *array, int32_t axis) {
  return array->dims[axis] > 1 ? (uint32_t)array->strides[axis] : 0;
}

/* Of positions [B,S], or of the rows of angles [B,S,R/2]: the first dimension may be 1. */
void weft_gpu_add_angles(weft_gpu_build *build, const weft_array *angles, const weft_array *sines,
                         const weft_array *positions) {
  weft_gpu_param(build, weft_gpu_offset(angles));
  weft_gpu_param(build, weft_gpu_offset(sines));
  weft_gpu_param(build, positions ? weft_gpu_offset(positions) : 0);
  if (positions) {
    weft_gpu_param(build, stride_of(positions, 0));
    weft_gpu_param(build, stride_of(positions, 1));
  } else {
    weft_gpu_param(build, angles->dims[0] > 1 ? (uint32_t)angles->dims[1] : 0);
    weft_gpu_param(build, angles->dims[1] > 1);
  }
  weft_gpu_param(build, (uint32_t)angles->dims[0]);
}

weft_status weft_gpu_prepare_rotary(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *x = step->inputs[X], *cosines = step->inputs[COSINES];
  const weft_array *sines = step->inputs[SINES], *output = step->outputs[0];
  const weft_array *positions = step->input_count > POSITIONS ? step->inputs[POSITIONS] : NULL;
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "rotary", error));
  weft_gpu_bind(&build, "x", x, WEFT_RAW_WORDS, false);
  weft_gpu_bind(&build, "cosines", cosines, WEFT_RAW_WORDS, false);
  weft_gpu_bind(&build, "sines", sines, WEFT_RAW_WORDS, false);
  if (positions) weft_gpu_bind(&build, "positions", positions, WEFT_RAW_WORDS, false);
  weft_gpu_bind(&build, "y", output, WEFT_RAW_WORDS, true);
  bool halves = output->dtype == WEFT_F16;
  weft_shader_set(&build.shader, "D", (uint32_t)x->dims[3]);
  weft_shader_set(&build.shader, "R", 2 * (uint32_t)cosines->dims[cosines->rank - 1]);
  weft_shader_set(&build.shader, "POSITIONS", positions != NULL);
  weft_shader_set(&build.shader, "INTERLEAVED", step->node->attributes.rotary.interleaved);
  weft_shader_set(&build.shader, "F16", halves);
  weft_gpu_param(&build, weft_gpu_offset(x));
  for (int32_t i = 0; i < 4; i++) weft_gpu_param(&build, stride_of(x, i));
  weft_gpu_add_angles(&build, cosines, sines, positions);
  uint64_t items = halves ? (output->elements + 1) / 2 : output->elements, groups_x, groups_y;
  weft_gpu_param(&build, (uint32_t)x->dims[1]);
  weft_gpu_param(&build, (uint32_t)x->dims[2]);
  weft_gpu_param(&build, weft_gpu_offset(output));
  weft_gpu_param(&build, (uint32_t)output->elements);
  weft_gpu_param(&build, (uint32_t)items);
  weft_gpu_spread(gpu, (items + 63) / 64, &groups_x, &groups_y);
  return weft_gpu_build_finish(&build, groups_x, groups_y, 1, error);
}
