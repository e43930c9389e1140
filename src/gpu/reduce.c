/* reduce.c - the ops `reduce` and `arg_reduce`. A few long rows are folded in parts first, and the
 * parts then. */
#include "cpu/internal.h"
#include "gpu/map.h"
#include "gpu/rows.h"

/* What keeps a GPU busy, and what a lane should at least have to do. */
enum { LANES_WANTED = 16384, LANE_UNITS = 8, COLUMN_WORKGROUP = 64 };

/* Into how many parts an output's `units` are cut. */
static uint32_t parts_for(uint64_t outputs, uint64_t units, uint32_t lanes) {
  uint64_t wanted = LANES_WANTED / (outputs * lanes + 1) + 1, most = units / (lanes * LANE_UNITS);
  uint64_t parts = wanted < most ? wanted : most;
  return parts > 1 ? (uint32_t)parts : 1;
}

/* ---- reduce ---------------------------------------------------------------------------------- */

const char *weft_gpu_runs_reduce(const weft_gpu_device *gpu, const weft_graph *graph,
                                 const weft_node *node) {
  (void)gpu;
  weft_dtype dtype = graph->values[node->inputs[0]].dtype;
  return dtype == WEFT_F32 || dtype == WEFT_F16 ? NULL : "a type other than f32 and f16";
}

bool weft_gpu_takes_reduce(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node, (void)array;
  return input == 0;
}

enum { SUM, MAX, MIN, PRODUCT };                        /* of team.wgsl */
enum { AS_IT_IS, SQUARE, ABSOLUTE, EXP };               /* MAPPING and ... */
enum { NOTHING, OVER_COUNT, ROOT, LOG, LOG_AND_SHIFT }; /* ... FINISH of reduce.wgsl */

static const struct {
  uint8_t fold, mapping, finish;
} forms[] = {
    [WEFT_REDUCE_SUM] = {SUM, AS_IT_IS, NOTHING},
    [WEFT_REDUCE_MEAN] = {SUM, AS_IT_IS, OVER_COUNT},
    [WEFT_REDUCE_MAX] = {MAX, AS_IT_IS, NOTHING},
    [WEFT_REDUCE_MIN] = {MIN, AS_IT_IS, NOTHING},
    [WEFT_REDUCE_PROD] = {PRODUCT, AS_IT_IS, NOTHING},
    [WEFT_REDUCE_SUM_SQUARE] = {SUM, SQUARE, NOTHING},
    [WEFT_REDUCE_L1] = {SUM, ABSOLUTE, NOTHING},
    [WEFT_REDUCE_L2] = {SUM, SQUARE, ROOT},
    [WEFT_REDUCE_LOG_SUM] = {SUM, AS_IT_IS, LOG},
    [WEFT_REDUCE_LOG_SUM_EXP] = {SUM, EXP, LOG_AND_SHIFT},
};

/* One dispatch: `outputs` rows, of which `kept` and `folded` say where the elements lie in x. */
typedef struct fold_pass {
  weft_gpu_operand x, y;
  weft_nest kept, folded;
  uint64_t outputs, count, elements; /* count: folded here; elements: in all */
  uint32_t parts;
  uint8_t fold, mapping, finish;
  bool quads; /* x is read four at a time */
  bool out4;  /* a lane does four outputs, so that they may be of any type */
} fold_pass;

static bool is_row(const fold_pass *pass) {
  return pass->folded.strides[0][pass->folded.rank - 1] == 1;
}

static bool fits_quads(const fold_pass *pass) {
  bool fits = is_row(pass) && pass->folded.rank == 1 && pass->count % 4 == 0 &&
              pass->x.first % 4 == 0 && pass->mapping != EXP;
  for (int32_t i = 0; i < pass->kept.rank; i++) fits = fits && pass->kept.strides[0][i] % 4 == 0;
  return fits;
}

static void add_dims(weft_gpu_build *build, const weft_nest *nest, bool quads) {
  int64_t unit = quads ? 4 : 1;
  for (int32_t i = nest->rank - 1; i >= 0; i--) {
    bool is_units = quads && nest->strides[0][i] == 1;
    weft_gpu_param(build, (uint32_t)(is_units ? nest->dims[i] / unit : nest->dims[i]));
    weft_gpu_param(build, (uint32_t)(is_units ? 1 : nest->strides[0][i] / unit));
  }
}

static void add_fold_params(weft_gpu_build *build, const fold_pass *pass) {
  uint32_t unit = pass->quads ? 4 : 1, units = (uint32_t)pass->count / unit;
  weft_gpu_param(build, (uint32_t)pass->outputs);
  weft_gpu_param(build, pass->parts);
  weft_gpu_param(build, units);
  weft_gpu_param(build, (units + pass->parts - 1) / pass->parts);
  weft_gpu_param(build, pass->x.first / unit);
  weft_gpu_param(build, pass->y.first);
  weft_gpu_param_float(build, (float)pass->elements);
  add_dims(build, &pass->kept, pass->quads);
  add_dims(build, &pass->folded, pass->quads);
}

static const weft_gpu_team columns_team = {.lanes = 1, .workgroup = COLUMN_WORKGROUP};

static weft_gpu_team fold_team(const weft_gpu_device *gpu, const fold_pass *pass) {
  if (is_row(pass))
    return weft_gpu_team_for(gpu, pass->outputs, pass->count / (pass->quads ? 4 : 1));
  return columns_team;
}

static weft_status add_fold(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                            const fold_pass *pass, const weft_gpu_team *team, weft_error *error) {
  uint64_t width, height, rows_each = team->workgroup / team->lanes * (pass->out4 ? 4 : 1);
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "reduce", error));
  weft_gpu_bind_operand(&build, "x", &pass->x, pass->quads, false);
  weft_gpu_bind_operand(&build, "y", &pass->y, pass->out4, true);
  weft_gpu_set_team(&build, team, 2, pass->quads);
  weft_shader_set(&build.shader, "OUT4", pass->out4);
  weft_shader_set(&build.shader, "SPREAD", pass->fold == MAX || pass->fold == MIN);
  weft_shader_set(&build.shader, "FOLD", pass->fold);
  weft_shader_set(&build.shader, "MAPPING", pass->mapping);
  weft_shader_set(&build.shader, "FINISH", pass->finish);
  weft_shader_set(&build.shader, "KEPT", (uint32_t)pass->kept.rank);
  weft_shader_set(&build.shader, "KEPT_OUTER", (uint32_t)pass->kept.rank - 1);
  weft_shader_set(&build.shader, "FOLDED", (uint32_t)pass->folded.rank);
  weft_shader_set(&build.shader, "FOLDED_OUTER", (uint32_t)pass->folded.rank - 1);
  add_fold_params(&build, pass);
  weft_gpu_spread(gpu, (pass->outputs * pass->parts + rows_each - 1) / rows_each, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}

/* Folds the parts [parts, outputs] that a pass has left in scratch. */
static weft_status add_second(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                              const fold_pass *first, uint8_t finish, weft_error *error) {
  const int64_t outputs = (int64_t)first->outputs, parts = first->parts, one = 1;
  fold_pass pass = *first;
  pass.x = first->y;
  pass.y = weft_gpu_operand_of(step->outputs[0]);
  pass.mapping = AS_IT_IS;
  pass.finish = finish;
  pass.count = first->parts;
  pass.parts = 1;
  pass.quads = false;
  pass.out4 = weft_dtype_size(pass.y.dtype) < 4;
  weft_nest_init(&pass.kept, 1, &outputs);
  weft_nest_add(&pass.kept, 1, &outputs, &one);
  weft_nest_init(&pass.folded, 1, &parts);
  weft_nest_add(&pass.folded, 1, &parts, &outputs);
  return add_fold(gpu, step, arena, &pass, &columns_team, error);
}

/* The dimensions with folded == which. */
static void select_dims(weft_nest *nest, const weft_array *x, const bool *folded, bool which) {
  int64_t dims[WEFT_RANK_MAX], strides[WEFT_RANK_MAX];
  int32_t rank = 0;
  for (int32_t i = 0; i < x->rank; i++) {
    if (folded[i] != which) continue;
    dims[rank] = x->dims[i];
    strides[rank++] = x->strides[i];
  }
  weft_nest_init(nest, rank, dims);
  weft_nest_add(nest, rank, dims, strides);
  weft_nest_collapse(nest);
}

/* Which axes are folded, from the attribute or the host parameter. */
static void mark_axes(const weft_step *step, bool *folded) {
  const weft_axes *axes = &step->node->attributes.reduce.axes;
  const weft_array *x = step->inputs[0], *host = weft_step_input(step, 1);
  uint64_t count = host ? host->elements : axes->count;
  bool all = count == 0 && !step->node->attributes.reduce.none_means_none;
  for (int32_t i = 0; i < x->rank; i++) folded[i] = all;
  for (uint64_t i = 0; i < count; i++)
    folded[weft_axis(host ? weft_host_integer(host, i) : axes->axes[i], x->rank)] = true;
}

static void describe(const weft_step *step, fold_pass *pass) {
  bool folded[WEFT_RANK_MAX];
  const weft_array *x = step->inputs[0];
  weft_reduce_kind kind = step->node->attributes.reduce.kind;
  mark_axes(step, folded);
  select_dims(&pass->kept, x, folded, false);
  select_dims(&pass->folded, x, folded, true);
  pass->x = weft_gpu_operand_of(x);
  pass->y = weft_gpu_operand_of(step->outputs[0]);
  pass->outputs = step->outputs[0]->elements;
  pass->count = pass->elements = weft_extent(pass->folded.dims, 0, pass->folded.rank);
  pass->fold = forms[kind].fold;
  pass->mapping = forms[kind].mapping;
  pass->finish = forms[kind].finish;
  pass->parts = 1;
  pass->quads = fits_quads(pass);
}

weft_status weft_gpu_prepare_reduce(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_array *y = step->outputs[0];
  fold_pass pass = {.out4 = false};
  describe(step, &pass);
  weft_gpu_team team = fold_team(gpu, &pass);
  if (pass.mapping != EXP)
    pass.parts = parts_for(pass.outputs, pass.count / (pass.quads ? 4 : 1), team.lanes);
  if (pass.parts > 1) {
    uint8_t finish = pass.finish;
    pass.finish = NOTHING;
    pass.y = (weft_gpu_operand){.dtype = WEFT_F32};
    pass.y.first = weft_gpu_scratch(step, 4 * pass.outputs * pass.parts);
    WEFT_TRY(add_fold(gpu, step, arena, &pass, &team, error));
    return add_second(gpu, step, arena, &pass, finish, error);
  }
  pass.out4 = weft_dtype_size(y->dtype) < 4 && team.lanes == 1;
  if (!pass.out4) weft_gpu_start_result(step, y, &pass.y);
  WEFT_TRY(add_fold(gpu, step, arena, &pass, &team, error));
  return weft_gpu_finish_result(gpu, step, arena, y, &pass.y, error);
}

/* ---- arg_reduce ------------------------------------------------------------------------------ */

const char *weft_gpu_runs_arg_reduce(const weft_gpu_device *gpu, const weft_graph *graph,
                                     const weft_node *node) {
  (void)gpu;
  weft_dtype dtype = graph->values[node->inputs[0]].dtype;
  bool known = dtype == WEFT_F32 || dtype == WEFT_F16 || dtype == WEFT_I32 || dtype == WEFT_U32 ||
               dtype == WEFT_I8 || dtype == WEFT_U8;
  return known ? NULL : "a type of 64 bits";
}

/* x as [outer, n, inner]; pairs: as a first pass has left them, [n, outputs]. */
typedef struct arg_pass {
  weft_gpu_operand x, y;
  uint64_t outputs, n, inner;
  uint32_t parts, lanes;
  bool pairs;
} arg_pass;

static weft_status add_arg(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                           const arg_pass *pass, weft_error *error) {
  uint32_t workgroup = pass->lanes < COLUMN_WORKGROUP ? COLUMN_WORKGROUP : pass->lanes;
  uint64_t rows_each = workgroup / pass->lanes, width, height;
  weft_dtype dtype = pass->x.dtype;
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, gpu, step, arena, "arg_reduce", error));
  weft_gpu_bind_operand(&build, "x", &pass->x, false, false);
  weft_gpu_bind_operand(&build, "y", &pass->y, false, true);
  weft_shader_set(&build.shader, "TEAM", pass->lanes);
  weft_shader_set(&build.shader, "WORKGROUP", workgroup);
  weft_shader_set(&build.shader, "PAIRS", pass->pairs);
  weft_shader_set(&build.shader, "RESULT", pass->parts == 1);
  weft_shader_set(&build.shader, "MAX", step->node->attributes.arg_reduce.max);
  weft_shader_set(&build.shader, "LAST", step->node->attributes.arg_reduce.select_last);
  weft_shader_set(&build.shader, "FLOAT", dtype == WEFT_F32 || dtype == WEFT_F16);
  weft_shader_set(&build.shader, "SIGNED", dtype == WEFT_I32 || dtype == WEFT_I8);
  weft_gpu_param(&build, (uint32_t)pass->outputs);
  weft_gpu_param(&build, pass->parts);
  weft_gpu_param(&build, (uint32_t)pass->n);
  weft_gpu_param(&build, (uint32_t)((pass->n + pass->parts - 1) / pass->parts));
  weft_gpu_param(&build, (uint32_t)pass->inner);
  weft_gpu_param(&build, pass->x.first);
  weft_gpu_param(&build, pass->y.first);
  weft_gpu_spread(gpu, (pass->outputs * pass->parts + rows_each - 1) / rows_each, &width, &height);
  return weft_gpu_build_finish(&build, width, height, 1, error);
}

weft_status weft_gpu_prepare_arg_reduce(const weft_gpu_device *gpu, weft_step *step,
                                        weft_arena *arena, weft_error *error) {
  const weft_array *x = step->inputs[0], *y = step->outputs[0];
  int32_t axis = weft_axis(step->node->attributes.arg_reduce.axis, x->rank);
  arg_pass pass = {.x = weft_gpu_operand_of(x), .outputs = y->elements};
  pass.n = x->rank > 0 ? (uint64_t)x->dims[axis] : 1;
  pass.inner = x->rank > 0 ? weft_extent(x->dims, axis + 1, x->rank) : 1;
  if (pass.n == 0)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "axis %d has no elements to choose from", axis);
  pass.lanes = pass.inner == 1 ? weft_gpu_team_for(gpu, pass.outputs, pass.n).lanes : 1;
  pass.parts = parts_for(pass.outputs, pass.n, pass.lanes);
  weft_gpu_operand result = weft_gpu_operand_of(y), between = {.dtype = WEFT_U32};
  if (pass.parts > 1) between.first = weft_gpu_scratch(step, 8 * pass.outputs * pass.parts);
  pass.y = pass.parts > 1 ? between : result;
  WEFT_TRY(add_arg(gpu, step, arena, &pass, error));
  if (pass.parts == 1) return WEFT_OK;
  pass = (arg_pass){.x = between,
                    .y = result,
                    .outputs = pass.outputs,
                    .n = pass.parts,
                    .inner = 1,
                    .parts = 1,
                    .lanes = weft_gpu_team_for(gpu, pass.outputs, pass.parts).lanes,
                    .pairs = true};
  return add_arg(gpu, step, arena, &pass, error);
}
