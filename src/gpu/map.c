/* map.c - the op `map`, and elementwise dispatches of other steps (map.h). */
#include "gpu/map.h"

enum { WORKGROUP = 128 };

weft_gpu_operand weft_gpu_operand_as_words(const weft_array *array, uint32_t *parts) {
  uint64_t size = weft_dtype_size(array->dtype), word = size < 4 ? size : 4;
  *parts = (uint32_t)(size / word);
  return (weft_gpu_operand){.array = array,
                            .dtype = size == 1   ? WEFT_U8
                                     : size == 2 ? WEFT_U16
                                                 : WEFT_U32,
                            .first = (uint32_t)(array->offset / word)};
}

weft_status weft_gpu_nest_of_words(weft_nest *nest, uint32_t parts, weft_error *error) {
  if (parts == 1) return WEFT_OK;
  if (nest->rank == WEFT_RANK_MAX)
    return weft_fail(error, WEFT_UNSUPPORTED, "8-byte elements strided in %d dimensions",
                     nest->rank);
  for (uint32_t k = 0; k < nest->array_count; k++) {
    for (int32_t i = 0; i < nest->rank; i++) nest->strides[k][i] *= parts;
    nest->strides[k][nest->rank] = 1;
  }
  nest->dims[nest->rank++] = parts;
  return WEFT_OK;
}

void weft_gpu_bind_operand(weft_gpu_build *build, const char *name, const weft_gpu_operand *operand,
                           bool quads, bool writes) {
  weft_shader_raw raw = WEFT_RAW_WORDS;
  if (quads && (operand->dtype == WEFT_F32 || operand->dtype == WEFT_U32)) raw = WEFT_RAW_VEC4;
  if (operand->dtype == WEFT_F16 && build->gpu->gpu->facts->f16) {
    raw = quads ? WEFT_RAW_VEC4_F16 : WEFT_RAW_F16;
    build->shader.f16 = true;
  }
  weft_gpu_bind(build, name, operand->array, raw, writes);
  build->shader.bindings[build->shader.binding_count - 1].dtype = operand->dtype;
}

/* Whether four neighbours of y are four of array k that stand together, at a multiple of 4. */
static bool is_quads(const weft_nest *nest, uint32_t k, uint32_t first) {
  int32_t last = nest->rank - 1;
  if (nest->strides[k][last] != 1 || first % 4 != 0) return false;
  for (int32_t i = 0; i < last; i++)
    if (nest->strides[k][i] % 4 != 0) return false;
  return true;
}

static void add_params(weft_gpu_build *build, const weft_nest *nest, uint64_t groups,
                       uint32_t inputs, const weft_gpu_operand *x, const weft_gpu_operand *y) {
  weft_gpu_param(build, (uint32_t)groups);
  weft_gpu_param(build, y->first / 4);
  for (int32_t i = nest->rank - 1; i > 0; i--) weft_gpu_param(build, (uint32_t)nest->dims[i]);
  for (uint32_t k = 0; k < inputs; k++) {
    weft_gpu_param(build, x[k].first);
    for (int32_t i = nest->rank - 1; i >= 0; i--)
      weft_gpu_param(build, (uint32_t)nest->strides[k][i]);
  }
}

weft_status weft_gpu_add_map(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                             const weft_expr *expr, const weft_nest *nest,
                             const weft_gpu_operand *x, const weft_gpu_operand *y,
                             weft_error *error) {
  static const char *const names[] = {"x0", "x1", "x2", "x3", "x4", "x5", "x6"};
  static const char *const quads[] = {"VEC0", "VEC1", "VEC2", "VEC3", "VEC4", "VEC5", "VEC6"};
  uint32_t inputs = expr->input_count, rank = (uint32_t)nest->rank;
  if (1 + rank + inputs * (1 + rank) > WEFT_GPU_PARAMS_MAX || y->first % 4 != 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "%u inputs that are broadcast in %u dimensions",
                     inputs, rank);
  uint64_t elements = 1, width, height;
  for (uint32_t i = 0; i < rank; i++) elements *= (uint64_t)nest->dims[i];
  bool each = rank > 1 && nest->dims[rank - 1] % 4 != 0;
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "map", error));
  for (uint32_t k = 0; k < inputs; k++) {
    bool together = !each && is_quads(nest, k, x[k].first);
    weft_gpu_bind_operand(&build, names[k], &x[k], together, false);
    weft_shader_set(&build.shader, quads[k], together);
  }
  weft_gpu_bind_operand(&build, "y", y, true, true);
  weft_shader_set(&build.shader, "INPUTS", inputs);
  weft_shader_set(&build.shader, "RANK", rank);
  weft_shader_set(&build.shader, "OUTER", rank - 1);
  weft_shader_set(&build.shader, "EACH", each);
  weft_shader_set(&build.shader, "WORKGROUP", WORKGROUP);
  build.shader.expr = expr;
  uint64_t groups = (elements + 3) / 4;
  add_params(&build, nest, groups, inputs, x, y);
  weft_gpu_spread(gpu, (groups + WORKGROUP - 1) / WORKGROUP, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}

/* ---- results through scratch ----------------------------------------------------------------- */

/* What words of scratch hold the elements of a type as. */
static weft_dtype word_of(weft_dtype dtype) {
  if (dtype == WEFT_F16 || dtype == WEFT_F32) return WEFT_F32;
  return dtype == WEFT_U8 || dtype == WEFT_BOOL || dtype == WEFT_U32 ? WEFT_U32 : WEFT_I32;
}

void weft_gpu_start_result(weft_step *step, const weft_array *y, weft_gpu_operand *out) {
  *out = weft_gpu_operand_of(y);
  if (weft_dtype_size(y->dtype) >= 4) return;
  *out = (weft_gpu_operand){.dtype = word_of(y->dtype)};
  out->first = weft_gpu_scratch(step, 4 * weft_align_up(y->elements, 4));
}

weft_status weft_gpu_finish_result(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                   const weft_array *y, const weft_gpu_operand *from,
                                   weft_error *error) {
  static const weft_expr as_it_is[] = {{.input_count = 1, .input_dtypes = {WEFT_F32}},
                                       {.input_count = 1, .input_dtypes = {WEFT_I32}},
                                       {.input_count = 1, .input_dtypes = {WEFT_U32}}};
  if (from->array) return WEFT_OK;
  int64_t elements = (int64_t)y->elements, one = 1;
  weft_nest nest;
  weft_nest_init(&nest, 1, &elements);
  weft_nest_add(&nest, 1, &elements, &one);
  weft_gpu_operand to = weft_gpu_operand_of(y);
  uint32_t kind = from->dtype == WEFT_F32 ? 0 : from->dtype == WEFT_I32 ? 1 : 2;
  return weft_gpu_add_map(gpu, step, arena, &as_it_is[kind], &nest, from, &to, error);
}

/* ---- the op ---------------------------------------------------------------------------------- */

const char *weft_gpu_runs_map(const weft_gpu_device *gpu, const weft_graph *graph,
                              const weft_node *node) {
  (void)gpu, (void)graph;
  const weft_expr *expr = &node->attributes.map.expr;
  if (expr->input_count > WEFT_GPU_MAP_INPUTS) return "more than 7 inputs";
  return weft_shader_has_expr(expr) ? NULL : "an instruction or type of the expression";
}

bool weft_gpu_takes_map(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node, (void)input, (void)array;
  return true;
}

weft_status weft_gpu_prepare_map(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                 weft_error *error) {
  weft_gpu_operand x[WEFT_GPU_MAP_INPUTS], y = weft_gpu_operand_of(step->outputs[0]);
  weft_nest nest;
  weft_nest_init(&nest, step->outputs[0]->rank, step->outputs[0]->dims);
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    x[i] = weft_gpu_operand_of(input);
    weft_nest_add(&nest, input->rank, input->dims, input->strides);
  }
  weft_nest_collapse(&nest);
  return weft_gpu_add_map(gpu, step, arena, &step->node->attributes.map.expr, &nest, x, &y, error);
}
