/* dequantize.c - the op `dequantize` on the GPU: codes to numbers. Weights of matrix products do
 * not come here (pack.c). */
#include "cpu/internal.h"
#include "gpu/internal.h"

enum { ELEMENTS = 64 * 4 }; /* of a workgroup */

typedef enum zeros_kind { NO_ZEROS, CODE_ZEROS, FLOAT_ZEROS } zeros_kind;

static bool is_float(weft_dtype dtype) {
  return dtype == WEFT_F32 || dtype == WEFT_F16;
}

static bool is_code(weft_dtype dtype) {
  return dtype == WEFT_U8 || dtype == WEFT_I8 || dtype == WEFT_I32;
}

const char *weft_gpu_runs_dequantize(const weft_gpu_device *gpu, const weft_graph *graph,
                                     const weft_node *node) {
  (void)gpu;
  if (!is_code(graph->values[node->inputs[0]].dtype)) return "the type of its codes";
  if (!is_float(graph->values[node->inputs[1]].dtype) ||
      !is_float(graph->values[node->outputs[0]].dtype))
    return "numbers that are no f32 or f16";
  return NULL;
}

/* One number for all; but several packed zeros may share a byte. */
static bool is_single(const weft_step *step, const weft_array *array, uint64_t extent) {
  uint32_t bits = step->node->attributes.dequantize.bits;
  if (array->elements != 1 || bits >= 8 || !weft_dtype_is_integer(array->dtype))
    return array->elements == 1;
  return array->rank < 2 && (step->inputs[1]->elements == 1 || extent * bits > 8);
}

/* Zero codes in a row of bytes. */
static uint64_t zeros_in_row(const weft_step *step, const weft_array *zeros, bool single) {
  const weft_attributes *a = &step->node->attributes;
  const weft_array *y = step->outputs[0];
  if (single || y->rank == 0) return 1;
  uint32_t bits = a->dequantize.bits;
  if (bits >= 8) return zeros->rank > 0 ? (uint64_t)zeros->dims[zeros->rank - 1] : 1;
  int32_t axis = weft_axis(a->dequantize.axis, y->rank);
  uint64_t block = (uint64_t)a->dequantize.block;
  if (axis < y->rank - 1 && block > 0) return (uint64_t)y->dims[y->rank - 1];
  uint64_t extent = (uint64_t)y->dims[axis];
  return block > 0 ? (extent + block - 1) / block : extent;
}

static uint32_t start_of(const weft_array *array, bool in_bytes) {
  return in_bytes ? (uint32_t)array->offset : weft_gpu_offset(array);
}

static void bind(weft_gpu_build *build, const weft_step *step, const weft_array *zeros,
                 zeros_kind kind) {
  /* Codes are read as words, which any type of words does. */
  weft_gpu_bind(build, "codes", step->inputs[0], WEFT_RAW_WORDS, false);
  build->shader.bindings[0].dtype = WEFT_U32;
  weft_gpu_bind(build, "scales", step->inputs[1], WEFT_RAW_WORDS, false);
  if (kind != NO_ZEROS) weft_gpu_bind(build, "zeros", zeros, WEFT_RAW_WORDS, false);
  if (kind == CODE_ZEROS) build->shader.bindings[2].dtype = WEFT_U32;
  weft_gpu_bind(build, "y", step->outputs[0], WEFT_RAW_WORDS, true);
}

static void add_params(weft_gpu_build *build, const weft_step *step, const weft_array *zeros,
                       zeros_kind kind, bool single) {
  const weft_attributes *a = &step->node->attributes;
  const weft_array *y = step->outputs[0], *codes = step->inputs[0];
  int32_t rank = y->rank, axis = rank > 0 ? weft_axis(a->dequantize.axis, rank) : 0;
  uint64_t extent = rank > 0 ? (uint64_t)y->dims[axis] : 1, block = (uint64_t)a->dequantize.block;
  uint64_t zero_row = zeros && zeros->rank > 0 ? (uint64_t)zeros->dims[zeros->rank - 1] : 1;
  weft_gpu_param(build, (uint32_t)y->elements);
  weft_gpu_param(build, rank > 0 ? (uint32_t)y->dims[rank - 1] : 1);
  weft_gpu_param(build, rank > 0 ? (uint32_t)codes->dims[rank - 1] : 1);
  weft_gpu_param(build, start_of(codes, true));
  weft_gpu_param(build, (uint32_t)extent);
  weft_gpu_param(build, (uint32_t)weft_extent(y->dims, axis + 1, rank));
  weft_gpu_param(build, (uint32_t)(block > 0 ? (extent + block - 1) / block : extent));
  weft_gpu_param(build, start_of(step->inputs[1], false));
  weft_gpu_param(build, zeros ? start_of(zeros, kind == CODE_ZEROS) : 0);
  weft_gpu_param(build, zeros ? (uint32_t)zeros_in_row(step, zeros, single) : 1);
  weft_gpu_param(build, (uint32_t)zero_row);
  weft_gpu_param(build, (uint32_t)a->dequantize.zero);
  weft_gpu_param(build, weft_gpu_offset(y));
}

weft_status weft_gpu_prepare_dequantize(const weft_gpu_device *gpu, weft_step *step,
                                        weft_arena *arena, weft_error *error) {
  const weft_attributes *a = &step->node->attributes;
  const weft_array *zeros = weft_step_input(step, 2), *y = step->outputs[0];
  weft_dtype dtype = step->inputs[0]->dtype;
  zeros_kind kind = !zeros                              ? NO_ZEROS
                    : weft_dtype_is_float(zeros->dtype) ? FLOAT_ZEROS
                                                        : CODE_ZEROS;
  int32_t rank = y->rank;
  uint64_t extent = rank > 0 ? (uint64_t)y->dims[weft_axis(a->dequantize.axis, rank)] : 1;
  bool single = zeros && is_single(step, zeros, extent);
  weft_gpu_build build;
  uint64_t width, height;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "dequantize", error));
  bind(&build, step, zeros, kind);
  weft_shader_set(&build.shader, "BITS", dtype == WEFT_I32 ? 32 : a->dequantize.bits);
  weft_shader_set(&build.shader, "SIGNED", dtype == WEFT_I8);
  weft_shader_set(&build.shader, "BLOCK", (uint32_t)a->dequantize.block);
  weft_shader_set(&build.shader, "SCALE_SINGLE", step->inputs[1]->elements == 1);
  weft_shader_set(&build.shader, "ZERO_SINGLE", single);
  weft_shader_set(&build.shader, "ZEROS", (uint32_t)kind);
  add_params(&build, step, zeros, kind, single);
  weft_gpu_spread(gpu, (y->elements + ELEMENTS - 1) / ELEMENTS, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}
