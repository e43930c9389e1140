/* rows.c - the ops `softmax` and `norm`: a row to a team of lanes (kernels/wgsl/team.wgsl). */
#include "gpu/rows.h"

#include "cpu/internal.h"
#include "gpu/map.h"

const char *weft_gpu_runs_rows(const weft_gpu_device *gpu, const weft_graph *graph,
                               const weft_node *node) {
  (void)gpu;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == WEFT_VALUE_NONE) continue;
    weft_dtype dtype = graph->values[node->inputs[i]].dtype;
    if (dtype != WEFT_F32 && dtype != WEFT_F16) return "a type other than f32 and f16";
  }
  return NULL;
}

weft_gpu_team weft_gpu_team_for(const weft_gpu_device *gpu, uint64_t rows, uint64_t units) {
  uint32_t lanes = weft_gpu_cpu_lanes(gpu->gpu->facts); /* one kernel serves all sizes */
  if (lanes)
    return (weft_gpu_team){.lanes = lanes, .workgroup = lanes, .subgroups = true, .groups = rows};
  /* With many rows, four units to a lane; with few, all lanes that there is work for. */
  uint64_t each = rows >= FEW_ROWS ? 4 : 1;
  weft_gpu_team team = {.lanes = 8};
  while (team.lanes < 256 && team.lanes * each < units) team.lanes *= 2;
  team.workgroup = team.lanes < 64 ? 64 : team.lanes;
  uint64_t per = (units + team.lanes - 1) / team.lanes;
  team.per = per <= KEPT_UNITS ? (uint32_t)per : 0;
  team.subgroups = gpu->gpu->facts->subgroups && team.lanes == team.workgroup;
  team.groups = (rows * team.lanes + team.workgroup - 1) / team.workgroup;
  return team;
}

void weft_gpu_set_team(weft_gpu_build *build, const weft_gpu_team *team, uint32_t slots,
                       bool quads) {
  weft_shader_set(&build->shader, "TEAM", team->lanes);
  weft_shader_set(&build->shader, "WORKGROUP", team->workgroup);
  weft_shader_set(&build->shader, "BIG", team->lanes > 16);
  weft_shader_set(&build->shader, "SUBGROUPS", team->subgroups);
  weft_shader_set(&build->shader, "PER", team->per);
  weft_shader_set(&build->shader, "SLOTS", slots);
  weft_shader_set(&build->shader, "VEC", quads);
  build->shader.subgroups = team->subgroups;
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* x as [outer, n, inner] */
typedef struct softmax_shape {
  uint64_t outer, n, inner;
} softmax_shape;

static weft_status add_rows(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                            const softmax_shape *shape, weft_error *error) {
  const weft_array *y = step->outputs[0];
  weft_gpu_operand from = weft_gpu_operand_of(step->inputs[0]), to = weft_gpu_operand_of(y);
  bool quads = shape->n % 4 == 0 && from.first % 4 == 0 && to.first % 4 == 0;
  uint32_t unit = quads ? 4 : 1;
  if (!quads) weft_gpu_start_result(step, y, &to);
  uint64_t width, height;
  weft_gpu_team team = weft_gpu_team_for(gpu, shape->outer, shape->n / unit);
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "softmax", error));
  weft_gpu_bind_operand(&build, "x", &from, quads, false);
  weft_gpu_bind_operand(&build, "y", &to, quads, true);
  weft_gpu_set_team(&build, &team, 2, quads);
  weft_shader_set(&build.shader, "LOG", step->node->attributes.softmax.log);
  weft_gpu_param(&build, (uint32_t)shape->outer);
  weft_gpu_param(&build, (uint32_t)shape->n / unit);
  weft_gpu_param(&build, from.first / unit);
  weft_gpu_param(&build, to.first / unit);
  weft_gpu_spread(gpu, team.groups, &width, &height);
  WEFT_TRY(weft_gpu_build_finish(&build, width, height, 1, error));
  return weft_gpu_finish_result(gpu, step, arena, y, &to, error);
}

static weft_status add_columns(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                               const softmax_shape *shape, weft_error *error) {
  enum { WORKGROUP = 64 };
  weft_gpu_operand from = weft_gpu_operand_of(step->inputs[0]), to;
  weft_gpu_start_result(step, step->outputs[0], &to);
  uint64_t columns = shape->outer * shape->inner, width, height;
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "softmax_columns", error));
  weft_gpu_bind_operand(&build, "x", &from, false, false);
  weft_gpu_bind_operand(&build, "y", &to, false, true);
  weft_shader_set(&build.shader, "WORKGROUP", WORKGROUP);
  weft_shader_set(&build.shader, "LOG", step->node->attributes.softmax.log);
  weft_gpu_param(&build, (uint32_t)columns);
  weft_gpu_param(&build, (uint32_t)shape->n);
  weft_gpu_param(&build, (uint32_t)shape->inner);
  weft_gpu_param(&build, from.first);
  weft_gpu_param(&build, to.first);
  weft_gpu_spread(gpu, (columns + WORKGROUP - 1) / WORKGROUP, &width, &height);
  WEFT_TRY(weft_gpu_build_finish(&build, width, height, 1, error));
  return weft_gpu_finish_result(gpu, step, arena, step->outputs[0], &to, error);
}

weft_status weft_gpu_prepare_softmax(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                     weft_error *error) {
  const weft_array *x = step->inputs[0];
  int32_t axis = weft_axis(step->node->attributes.softmax.axis, x->rank);
  int32_t end = step->node->attributes.softmax.to_end ? x->rank : axis + 1;
  softmax_shape shape = {weft_extent(x->dims, 0, axis), weft_extent(x->dims, axis, end),
                         weft_extent(x->dims, end, x->rank)};
  return (shape.inner == 1 ? add_rows : add_columns)(gpu, step, arena, &shape, error);
}

/* ---- norm ------------------------------------------------------------------------------------ */

/* Where the rows of x begin: one or two strides. False: more, or the rows are not dense. */
static bool find_rows(const weft_array *x, int32_t axis, weft_nest *rows) {
  int64_t stride = 1;
  for (int32_t i = x->rank - 1; i >= axis; i--) {
    if (x->dims[i] != 1 && x->strides[i] != stride) return false;
    stride *= x->dims[i];
  }
  weft_nest_init(rows, axis, x->dims);
  weft_nest_add(rows, axis, x->dims, x->strides);
  weft_nest_collapse(rows);
  return rows->rank <= 2;
}

bool weft_gpu_takes_norm(const weft_node *node, uint32_t input, const weft_array *array) {
  weft_nest rows;
  return input == 0 && find_rows(array, weft_axis(node->attributes.norm.axis, array->rank), &rows);
}

/* Scale and bias have an element for each of a row; where they repeat, they are spread out. */
static weft_status dense_weight(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                const weft_array *weight, int32_t axis, weft_gpu_operand *out,
                                weft_error *error) {
  static const weft_expr as_it_is = {.input_count = 1, .input_dtypes = {WEFT_F32}};
  const weft_array *x = step->inputs[0];
  uint64_t n = weft_extent(x->dims, axis, x->rank);
  *out = weft_gpu_operand_of(weight);
  if (weight->elements == n) return WEFT_OK;
  weft_nest nest;
  weft_nest_init(&nest, x->rank - axis, x->dims + axis);
  weft_nest_add(&nest, weight->rank, weight->dims, weight->strides);
  weft_nest_collapse(&nest);
  weft_gpu_operand from = *out;
  *out = (weft_gpu_operand){.dtype = WEFT_F32};
  out->first = weft_gpu_scratch(step, 4 * weft_align_up(n, 4));
  return weft_gpu_add_map(gpu, step, arena, &as_it_is, &nest, &from, out, error);
}

/* One norm: x, scale, bias (dtype 0: none), y. */
typedef struct norm_operands {
  weft_gpu_operand x, scale, bias, y;
  bool has_bias, quads;
  weft_nest rows;
  uint64_t row_count, n;
} norm_operands;

static bool fits_quads(const norm_operands *o) {
  return o->n % 4 == 0 && o->x.first % 4 == 0 && o->y.first % 4 == 0 && o->scale.first % 4 == 0 &&
         (!o->has_bias || o->bias.first % 4 == 0) && o->rows.strides[0][0] % 4 == 0 &&
         (o->rows.rank < 2 || o->rows.strides[0][1] % 4 == 0);
}

static void add_norm_params(weft_gpu_build *build, const norm_operands *o, float epsilon) {
  uint32_t unit = o->quads ? 4 : 1;
  int32_t last = o->rows.rank - 1;
  int64_t inner = o->rows.dims[last], stride = o->rows.strides[0][last];
  int64_t outer_stride = last > 0 ? o->rows.strides[0][0] : 0;
  weft_gpu_param(build, (uint32_t)o->row_count);
  weft_gpu_param(build, (uint32_t)o->n / unit);
  weft_gpu_param(build, o->x.first / unit);
  weft_gpu_param(build, (uint32_t)inner);
  weft_gpu_param(build, (uint32_t)(stride / (int64_t)unit));
  weft_gpu_param(build, (uint32_t)(outer_stride / (int64_t)unit));
  weft_gpu_param(build, o->scale.first / unit);
  weft_gpu_param(build, o->bias.first / unit);
  weft_gpu_param(build, o->y.first / unit);
  weft_gpu_param_float(build, (float)o->n);
  weft_gpu_param_float(build, epsilon);
}

static weft_status add_norm(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                            const norm_operands *o, weft_error *error) {
  weft_gpu_team team = weft_gpu_team_for(gpu, o->row_count, o->n / (o->quads ? 4 : 1));
  uint64_t width, height;
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "norm", error));
  weft_gpu_bind_operand(&build, "x", &o->x, o->quads, false);
  weft_gpu_bind_operand(&build, "scale", &o->scale, o->quads, false);
  if (o->has_bias) weft_gpu_bind_operand(&build, "bias", &o->bias, o->quads, false);
  weft_gpu_bind_operand(&build, "y", &o->y, o->quads, true);
  weft_gpu_set_team(&build, &team, 2, o->quads);
  weft_shader_set(&build.shader, "LAYER", step->node->attributes.norm.kind == WEFT_NORM_LAYER);
  weft_shader_set(&build.shader, "BIAS", o->has_bias);
  add_norm_params(&build, o, step->node->attributes.norm.epsilon);
  weft_gpu_spread(gpu, team.groups, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}

weft_status weft_gpu_prepare_norm(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  const weft_array *x = step->inputs[0], *y = step->outputs[0];
  const weft_array *bias = weft_step_input(step, 2);
  int32_t axis = weft_axis(step->node->attributes.norm.axis, x->rank);
  norm_operands o = {.x = weft_gpu_operand_of(x), .y = weft_gpu_operand_of(y)};
  o.has_bias = bias != NULL;
  o.row_count = weft_extent(x->dims, 0, axis);
  o.n = weft_extent(x->dims, axis, x->rank);
  find_rows(x, axis, &o.rows);
  WEFT_TRY(dense_weight(gpu, step, arena, step->inputs[1], axis, &o.scale, error));
  if (bias) WEFT_TRY(dense_weight(gpu, step, arena, bias, axis, &o.bias, error));
  o.quads = fits_quads(&o);
  if (!o.quads) weft_gpu_start_result(step, y, &o.y);
  if (!o.y.array && (!o.scale.array || (bias && !o.bias.array))) /* read and written at once */
    return weft_fail(error, WEFT_UNSUPPORTED, "a scale that is broadcast along rows of %llu f16",
                     (unsigned long long)o.n);
  WEFT_TRY(add_norm(gpu, step, arena, &o, error));
  return weft_gpu_finish_result(gpu, step, arena, y, &o.y, error);
}
