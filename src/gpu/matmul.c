/* matmul.c - the op `matmul` on the GPU: one dispatch of matmul.wgsl or gemv.wgsl; one of
 * matmul_finish.wgsl after it where k is shared out or the kernel cannot store the result itself;
 * and where rows may be rounded to 8 bits and the GPU multiplies those, one of matmul_rows.wgsl
 * before. */
#include "gpu/matmul.h"

#include "cpu/nest.h"
#include "gpu/tuner.h"

/* ---- what runs here -------------------------------------------------------------------------- */

/* matmul_finish binds the product, y, and the expression's other inputs. */
#define EXTRAS_MAX 6u
_Static_assert(EXTRAS_MAX + 2 <= WEFT_GPU_BINDINGS_MAX, "they fit");
_Static_assert(EXTRAS_MAX + 2 <= WEFT_NEST_ARRAYS, "they fit");

static bool is_float(const weft_graph *graph, weft_value_id id) {
  weft_dtype dtype = graph->values[id].dtype;
  return dtype == WEFT_F32 || dtype == WEFT_F16;
}

const char *weft_gpu_runs_matmul(const weft_gpu_device *gpu, const weft_graph *graph,
                                 const weft_node *node) {
  const weft_value *b = &graph->values[node->inputs[1]];
  const weft_expr *expr = &node->attributes.matmul.expr;
  uint64_t bytes, most = gpu->gpu->facts->binding_bytes;
  if (gpu->gpu->facts->buffer_bytes < most) most = gpu->gpu->facts->buffer_bytes;
  if (!is_float(graph, node->inputs[0])) return "a product of numbers that are no f32 or f16";
  if (!is_float(graph, node->outputs[0]))
    return "a product that is made another type than f32 or f16";
  if (b->layout == WEFT_LAYOUT_PANELS || b->layout == WEFT_LAYOUT_CODES)
    return "its weight is packed for the host";
  if (weft_gpu_packs(graph, node, &bytes)) {
    if (bytes > most) return "its weight is larger than the GPU binds";
  } else if (!is_float(graph, node->inputs[1])) {
    return "a product of numbers that are no f32 or f16";
  }
  if (expr->input_count > EXTRAS_MAX + 1) return "too many inputs after the product";
  return weft_shader_has_expr(expr) ? NULL : "an expression after the product";
}

static bool is_step_one(const weft_array *array, int32_t axis) {
  return axis < 0 || array->dims[axis] == 1 || array->strides[axis] == 1;
}

bool weft_gpu_takes_matmul(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  if (input >= 2) return true;
  int32_t last = array->rank - 1;
  for (int32_t i = 0; i <= last; i++)
    if (array->dims[i] > 1 && array->strides[i] < 0) return false;
  return is_step_one(array, last) || (input == 1 && is_step_one(array, last - 1));
}

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct matmul {
  const weft_gpu_device *gpu;
  weft_step *step;
  weft_arena *arena;
  const weft_array *a, *b, *y;
  const weft_array *a_from; /* what lies like A, and is bound: where it runs a norm, its input */
  /* Steps whose work this one does (matmul_merge.c), or NULL. */
  const weft_step *norm, *pair;
  uint32_t paired;       /* the extra that `pair` makes */
  const weft_expr *expr; /* NULL: the plain product */
  uint32_t extras;       /* further inputs of it */
  bool packed;
  weft_gpu_format format;
  weft_gpu_places places;
  uint64_t m, n, k, batches;
  int64_t a_row;
  /* Batches and rows: of A, B and the extras, in elements (a packed B in quads). */
  weft_nest nest;
  int32_t batch_rank; /* dimensions of it that are batches; the next, if any, are rows */
  int64_t b_row;      /* of a computed B: from row to row, or where transposed to column */
  bool transposed;
  int64_t columns[EXTRAS_MAX]; /* strides of the extras along n */
  bool a_vec4, b_vec4, y_vec4;
  weft_matmul_variant variant;
  bool finishes; /* the product goes to scratch */
  weft_rounding rounding;
  bool rounded, rounds_before; /* by a kernel of its own, into words of the scratch: */
  uint32_t codes, scales;
  uint32_t part; /* where in the scratch, in words */
} matmul;

enum { NEST_A, NEST_B, NEST_EXTRAS };

/* A packed B's strides over batches, in quads. */
static void packed_strides(const matmul *job, weft_array *b) {
  int64_t step = (int64_t)(job->places.matrix / 16);
  for (int32_t i = b->rank - 3; i >= 0; step *= b->dims[i--]) b->strides[i] = step;
}

/* The expression's further inputs: strides over batches and rows into the nest, those along the
 * columns apart. */
static void add_extras(matmul *job, bool has_columns) {
  int32_t rank = job->y->rank;
  for (uint32_t j = 0; j < job->extras; j++) {
    int64_t strides[WEFT_RANK_MAX + 1] = {0};
    weft_broadcast_strides(job->step->inputs[2 + j], rank, strides);
    job->columns[j] = has_columns ? strides[rank - 1] : 0;
    if (has_columns) strides[rank - 1] = 0; /* where A is a vector, its one row */
    weft_nest_add(&job->nest, job->nest.rank, job->nest.dims, strides);
  }
}

/* After the nest has been collapsed: its last dimension is rows where B is the same for all. */
static void count_rows(matmul *job) {
  weft_nest *nest = &job->nest;
  int32_t last = nest->rank - 1;
  bool rows = nest->strides[NEST_B][last] == 0;
  job->batch_rank = rows ? last : nest->rank;
  job->m = rows ? (uint64_t)nest->dims[last] : 1;
  job->a_row = rows ? nest->strides[NEST_A][last] : 0;
  job->batches = 1;
  for (int32_t i = 0; i < job->batch_rank; i++) job->batches *= (uint64_t)nest->dims[i];
}

static void set_b(matmul *job, weft_array *b) {
  int32_t last = b->rank - 1;
  job->k = (uint64_t)job->a->dims[job->a->rank - 1];
  job->n = last > 0 ? (uint64_t)b->dims[last] : 1;
  if (job->packed) {
    job->places = weft_gpu_places_of(&job->format, 1, job->k, job->n);
    packed_strides(job, b);
    return;
  }
  int64_t column = last > 0 ? b->strides[last] : 1;
  job->b_row = last > 0 ? b->strides[last - 1] : b->strides[0];
  job->transposed = job->n > 1 && column != 1;
  if (job->transposed) job->b_row = column;
}

static void set_shapes(matmul *job) {
  const weft_array *a = job->a, *y = job->y;
  weft_array b = *job->b;
  set_b(job, &b);
  /* y is [batches][rows, where A is a matrix][columns, where B is one]. */
  bool columns = b.rank > 1;
  int64_t dims[WEFT_RANK_MAX + 1];
  int32_t rank = y->rank - columns;
  for (int32_t i = 0; i < rank; i++) dims[i] = y->dims[i];
  if (a->rank == 1) dims[rank++] = 1;
  weft_nest_init(&job->nest, rank, dims);
  weft_nest_add(&job->nest, a->rank - 1, a->dims, a->strides);
  if (columns) b.dims[b.rank - 2] = 1;
  weft_nest_add(&job->nest, b.rank - 1, b.dims, b.strides);
  add_extras(job, columns);
  weft_nest_collapse(&job->nest);
  count_rows(job);
}

/* Whether `first` and the array's steps over batches and rows are multiples of 4. */
static bool is_in_fours(const matmul *job, uint32_t array, uint32_t first) {
  if (first % 4 != 0) return false;
  for (int32_t i = 0; i < job->nest.rank; i++)
    if (job->nest.strides[array][i] % 4 != 0) return false;
  return true;
}

static void set_vectors(matmul *job) {
  bool y_half = job->y->dtype == WEFT_F16;
  job->a_vec4 = job->k % 4 == 0 && is_in_fours(job, NEST_A, weft_gpu_offset(job->a_from));
  job->b_vec4 = !job->packed && (job->transposed ? job->k : job->n) % 4 == 0 &&
                job->b_row % 4 == 0 && is_in_fours(job, NEST_B, weft_gpu_offset(job->b));
  job->y_vec4 = job->n % 4 == 0 && weft_gpu_offset(job->y) % 4 == 0;
  uint32_t bindings = weft_matmul_bindings(job->packed ? &job->format : NULL, job->extras,
                                           job->norm != NULL, job->pair != NULL);
  job->finishes = (y_half && !job->y_vec4) || bindings > WEFT_GPU_BINDINGS_MAX || job->k == 0;
}

/* ---- variants -------------------------------------------------------------------------------- */

static uint64_t class_extent(uint64_t extent) {
  return extent <= 4 ? extent : 1ull << weft_tune_class(extent);
}

/* Whether tiles may hold f16: all is f16, or codes are made numbers, which are rounded where rows
 * might be too. */
static bool may_be_f16(const matmul *job) {
  if (job->a->dtype != WEFT_F16) return false;
  if (!job->packed) return job->b->dtype == WEFT_F16;
  if (job->format.bits < 16) return job->gpu->activations != WEFT_ACTIVATIONS_F32;
  return job->format.bits == 16 && !job->format.bfloat;
}

/* Constant right sides keep their shape; what differs from run to run counts by its class. */
static void choose(matmul *job) {
  weft_matmul_shape shape = {.m = class_extent(job->m), .batches = class_extent(job->batches)};
  shape.n = job->packed ? job->n : class_extent(job->n);
  shape.k = job->packed ? job->k : class_extent(job->k);
  shape.bits = job->packed ? job->format.bits : 0;
  shape.block = job->packed ? job->format.block : 0;
  shape.rounded = job->rounded;
  shape.row_bytes = job->rounding.row_bytes;
  shape.norm = job->norm != NULL;
  if (shape.norm && !job->rounded)
    shape.row_bytes = (uint32_t)(job->m * job->k * sizeof(float)); /* staged */
  shape.paired = job->pair != NULL;
  shape.f16 = may_be_f16(job);
  weft_matmul_variant variants[WEFT_MATMUL_VARIANTS_MAX];
  uint32_t count = weft_matmul_variants(job->gpu->gpu->facts, &shape, variants);
  weft_tune_key key = {
      .family = "matmul",
      .words = {(uint32_t)shape.m, (uint32_t)shape.n, (uint32_t)shape.k, (uint32_t)shape.batches,
                shape.bits | (uint32_t)shape.rounded << 8 | (uint32_t)shape.norm << 9 |
                    (uint32_t)shape.paired << 10 | (uint32_t)shape.f16 << 11,
                shape.block, (uint32_t)job->a->dtype, (uint32_t)job->transposed}};
  job->variant = variants[weft_tune_choice(job->gpu, &key, count, 0)];
  job->finishes |= job->variant.splits > 1;
}

/* ---- dispatches ------------------------------------------------------------------------------ */

static const char *const extra_names[] = {"e0", "e1", "e2", "e3", "e4", "e5"};
static const char *const paired_names[] = {"PAIRED0", "PAIRED1", "PAIRED2",
                                           "PAIRED3", "PAIRED4", "PAIRED5"};

static void bind_as(weft_gpu_build *build, const char *name, const weft_array *array,
                    weft_dtype dtype, weft_shader_raw raw, bool writes) {
  weft_gpu_bind(build, name, array, raw, writes);
  build->shader.bindings[build->shader.binding_count - 1].dtype = dtype;
}

static void bind_quads(weft_gpu_build *build, const char *name, const weft_array *array, bool vec4,
                       bool writes) {
  bool wide = vec4 && array->dtype == WEFT_F32;
  weft_gpu_bind(build, name, array, wide ? WEFT_RAW_VEC4 : WEFT_RAW_WORDS, writes);
}

/* The first parameters, which all kernels have. */
static void add_shape(weft_gpu_build *build, const matmul *job, uint64_t items, uint32_t a_start,
                      uint32_t a_row, uint32_t y_start) {
  weft_gpu_param(build, (uint32_t)job->m);
  weft_gpu_param(build, (uint32_t)job->n);
  weft_gpu_param(build, (uint32_t)job->k);
  weft_gpu_param(build, (uint32_t)items);
  weft_gpu_param(build, a_start);
  weft_gpu_param(build, a_row);
  weft_gpu_param(build, y_start);
}

/* The last ones: of the extras and the batches. */
static weft_status add_places(weft_gpu_build *build, const matmul *job, uint32_t extras,
                              weft_error *error) {
  const weft_nest *nest = &job->nest;
  uint32_t batches = (uint32_t)job->batch_rank;
  if (build->dispatch.param_words + 3 * extras + batches * (3 + extras) > WEFT_GPU_PARAMS_MAX)
    return weft_fail(error, WEFT_UNSUPPORTED, "%u inputs that are broadcast in %u dimensions",
                     extras, batches);
  for (uint32_t j = 0; j < extras; j++) {
    int64_t row = job->batch_rank < nest->rank ? nest->strides[NEST_EXTRAS + j][nest->rank - 1] : 0;
    weft_gpu_param(build, weft_gpu_offset(job->step->inputs[2 + j]));
    weft_gpu_param(build, (uint32_t)row);
    weft_gpu_param(build, (uint32_t)job->columns[j]);
  }
  for (int32_t i = job->batch_rank - 1; i >= 0; i--) {
    weft_gpu_param(build, (uint32_t)nest->dims[i]);
    for (uint32_t k = 0; k < NEST_EXTRAS + extras; k++)
      weft_gpu_param(build, (uint32_t)nest->strides[k][i]);
  }
  weft_shader_set(&build->shader, "EXTRAS", extras);
  weft_shader_set(&build->shader, "BATCHES", batches);
  return WEFT_OK;
}

/* The expression, its further inputs, and y. */
static void bind_result(weft_gpu_build *build, const matmul *job, bool vec4) {
  for (uint32_t j = 0; j < job->extras; j++)
    if (job->pair && j == job->paired)
      weft_shader_set(&build->shader, paired_names[j], 1);
    else
      weft_gpu_bind(build, extra_names[j], job->step->inputs[2 + j], WEFT_RAW_WORDS, false);
  bind_quads(build, "y", job->y, vec4, true);
  build->shader.expr = job->expr;
  weft_shader_set(&build->shader, "EXPRESSION", job->expr != NULL);
}

/* A packed weight, and behind its codes scales and zeros, under these names. */
static void bind_words(weft_gpu_build *build, const weft_gpu_format *format,
                       const weft_array *weight, const char *const names[3]) {
  bool half = format->f16_scales;
  bind_as(build, names[0], weight, WEFT_U32, WEFT_RAW_VEC4, false);
  if (format->bits >= 16) return;
  bind_as(build, names[1], weight, half ? WEFT_F16 : WEFT_F32,
          half ? WEFT_RAW_WORDS : WEFT_RAW_VEC4, false);
  if (format->float_zeros) bind_as(build, names[2], weight, WEFT_F32, WEFT_RAW_VEC4, false);
  if (format->byte_zeros) bind_as(build, names[2], weight, WEFT_U8, WEFT_RAW_WORDS, false);
}

static void bind_weight(weft_gpu_build *build, const matmul *job) {
  static const char *const names[] = {"b", "scales", "zeros"};
  static const char *const pair_names[] = {"c", "c_scales", "c_zeros"};
  const weft_gpu_format *format = &job->format;
  bind_words(build, format, job->b, names);
  if (job->pair) bind_words(build, format, job->pair->inputs[1], pair_names);
  weft_shader_set(&build->shader, "BITS", format->bits);
  weft_gpu_param(build, (uint32_t)job->places.words);
  if (format->bits >= 16) {
    weft_shader_set(&build->shader, "BFLOAT", format->bfloat);
    return;
  }
  bool zeros = format->float_zeros || format->byte_zeros;
  weft_shader_set(&build->shader, "CODES", 1);
  weft_shader_set(&build->shader, "FIELDS", 8 / format->bits);
  weft_shader_set(&build->shader, "CODE_MASK", 0x01010101u * ((1u << format->bits) - 1));
  weft_shader_set(&build->shader, "BLOCK", format->block);
  weft_shader_set(&build->shader, "ZEROS", zeros);
  weft_shader_set(&build->shader, "ZERO", format->zero);
  weft_gpu_param(build, (uint32_t)job->places.blocks);
  weft_gpu_param(build, (uint32_t)(job->places.scales / (format->f16_scales ? 8 : 16)));
  if (zeros) weft_gpu_param(build, (uint32_t)(job->places.zeros / (format->float_zeros ? 16 : 4)));
}

/* The weight of the norm that the kernel does. */
static void bind_norm(weft_gpu_build *build, const matmul *job) {
  const weft_array *scale = job->norm->inputs[1];
  bind_quads(build, "norm", scale, true, false);
  weft_shader_set(&build->shader, "NORM", 1);
  weft_shader_set(&build->shader, "STAGED", job->rounded ? 0 : (uint32_t)job->k / 4);
  weft_gpu_param(build, weft_gpu_offset(scale) / 4);
  weft_gpu_param_float(build, job->norm->node->attributes.norm.epsilon);
}

enum { ROUNDED_BEFORE = 1, ROUNDED_INSIDE };

static void bind_a(weft_gpu_build *build, const matmul *job) {
  bool vec4 = job->a_vec4 && job->variant.kind != WEFT_MATMUL_LANES;
  weft_shader_set(&build->shader, "A_VEC4", vec4);
  if (job->norm) bind_norm(build, job);
  if (job->rounded) {
    weft_shader_set(&build->shader, "ROUNDED",
                    job->rounds_before ? ROUNDED_BEFORE : ROUNDED_INSIDE);
    weft_shader_set(&build->shader, "ROUND_BLOCK", job->rounding.block);
  }
  if (!job->rounds_before) {
    bind_quads(build, "a", job->a_from, vec4, false);
    weft_shader_set(&build->shader, "ROUND_BLOCKS", job->rounding.blocks);
    return;
  }
  if (!job->finishes) weft_gpu_bind(build, "a", NULL, WEFT_RAW_WORDS, false);
  weft_gpu_param(build, job->scales);
  weft_gpu_param(build, job->rounding.blocks);
}

static void bind_sides(weft_gpu_build *build, const matmul *job) {
  bind_a(build, job);
  if (job->packed) {
    bind_weight(build, job);
    return;
  }
  bind_quads(build, "b", job->b, job->b_vec4, false);
  weft_shader_set(&build->shader, "B_VEC4", job->b_vec4);
  weft_shader_set(&build->shader, "TRANSPOSED", job->transposed);
  weft_gpu_param(build, weft_gpu_offset(job->b));
  weft_gpu_param(build, (uint32_t)job->b_row);
}

static uint64_t divide_up(uint64_t a, uint64_t b) {
  return (a + b - 1) / b;
}

/* Answers how many workgroups a part of k takes. */
static uint64_t set_matrix(weft_shader *shader, const matmul *job) {
  const weft_matmul_variant *v = &job->variant;
  const weft_gpu_facts *facts = job->gpu->gpu->facts;
  const weft_gpu_matrix *matrix = &facts->matrices[v->matrix];
  uint32_t lanes = weft_gpu_lanes(facts);
  weft_shader_set(shader, "LANES", lanes);
  weft_shader_set(shader, "MATRIX_M", matrix->m);
  weft_shader_set(shader, "MATRIX_N", matrix->n);
  weft_shader_set(shader, "MATRIX_K", matrix->k);
  weft_shader_set(shader, "OLD_SYNTAX", facts->matrix_syntax == WEFT_GPU_MATRIX_OLD);
  weft_shader_set(shader, "TILE_F16", matrix->component == WEFT_F16);
  shader->matrix = true;
  shader->f16 = matrix->component == WEFT_F16;
  weft_gpu_fix_lanes(shader, facts);
  return divide_up(job->m, (uint64_t)v->wy * v->rows * matrix->m) *
         divide_up(job->n, (uint64_t)v->wx * v->quads * matrix->n) * job->batches;
}

static void set_lanes(weft_shader *shader, const matmul *job) {
  const weft_gpu_facts *facts = job->gpu->gpu->facts;
  uint32_t lanes = weft_gpu_lanes(facts), rows = job->variant.rows;
  uint32_t per = lanes < rows ? lanes : rows; /* rows of A that the lanes read at once */
  uint32_t unit = job->transposed ? 4 : 1;
  if (job->packed) unit = weft_gpu_per_word(&job->format);
  weft_shader_set(shader, "UNIT", unit);
  weft_shader_set(shader, "STEPS", job->packed && job->format.bits < 16 ? 1 : unit);
  weft_shader_set(shader, "PER", per);
  weft_shader_set(shader, "GROUPS", rows / per);
  weft_gpu_fix_lanes(shader, facts);
}

/* Whether the expression is so long that a copy of it for each of a lane's results would take long
 * to compile. */
static bool is_long(const matmul *job) {
  return job->expr && job->expr->code_count > 4;
}

/* What makes the variant; how many workgroups a part of k takes. */
static uint64_t set_variant(weft_gpu_build *build, const matmul *job) {
  const weft_matmul_variant *v = &job->variant;
  weft_shader *shader = &build->shader;
  weft_shader_set(shader, "WX", v->wx);
  if (v->kind == WEFT_MATMUL_VECTOR) {
    uint32_t unit = weft_matmul_unit(job->format.bits, job->format.block);
    weft_shader_set(shader, "SLICES", v->wy);
    weft_shader_set(shader, "ROWS", (uint32_t)job->m);
    weft_shader_set(shader, "UNIT", unit);
    weft_shader_set(shader, "UNIT_WORDS", unit / weft_gpu_per_word(&job->format));
    weft_shader_set(shader, "SUBGROUPS", v->subgroups);
    weft_shader_set(shader, "PRODUCTS", job->pair ? 2 : 1);
    weft_shader_set(shader, "PAIR", job->pair != NULL);
    weft_shader_set(shader, "HALF", job->a->dtype == WEFT_F16);
    shader->subgroups = v->subgroups;
    return divide_up(job->n, 4u * v->wx) * job->batches;
  }
  weft_shader_set(shader, "ROWS", v->rows);
  weft_shader_set(shader, "QUADS", v->quads);
  weft_shader_set(shader, "STRIP", v->strip);
  if (v->kind == WEFT_MATMUL_LANES) {
    set_lanes(shader, job);
  } else {
    weft_shader_set(shader, "WY", v->wy);
    weft_shader_set(shader, "TILE_K", v->tile_k);
    if (v->kind == WEFT_MATMUL_MATRIX) return set_matrix(shader, job);
    weft_shader_set(shader, "SWIZZLE", v->swizzle);
    weft_shader_set(shader, "TILE_F16", v->f16);
    shader->f16 = v->f16;
  }
  weft_shader_set(shader, "LOOPED", v->kind == WEFT_MATMUL_LANES || is_long(job));
  return divide_up(job->m, (uint64_t)v->wy * v->rows) *
         divide_up(job->n, 4u * (uint64_t)v->wx * v->quads) * job->batches;
}

/* Parts of k are whole steps of the kernels' loops. */
#define SPLIT_STEP 64

static const char *file_of(const matmul *job) {
  if (job->variant.kind == WEFT_MATMUL_VECTOR) return "gemv";
  if (job->variant.kind == WEFT_MATMUL_LANES) return "matmul_lanes";
  if (job->variant.kind == WEFT_MATMUL_MATRIX) return "matmul_matrix";
  return job->rounded ? "matmul_dot" : "matmul";
}

static weft_status add_product(matmul *job, weft_error *error) {
  weft_gpu_build build;
  uint32_t splits = job->variant.splits, extras = job->finishes ? 0 : job->extras;
  WEFT_TRY(weft_gpu_build_start(&build, job->gpu, job->step, job->arena, file_of(job), error));
  uint64_t items = set_variant(&build, job) * splits, x, y;
  bool before = job->rounds_before;
  add_shape(&build, job, items, before ? job->codes : weft_gpu_offset(job->a_from),
            before ? job->rounding.blocks * job->rounding.block / 4 : (uint32_t)job->a_row,
            job->finishes ? job->part : weft_gpu_offset(job->y));
  if (job->finishes) {
    weft_gpu_param(&build,
                   (uint32_t)(divide_up(divide_up(job->k, splits), SPLIT_STEP) * SPLIT_STEP));
    weft_shader_set(&build.shader, "SPLITS", splits);
  }
  bind_sides(&build, job);
  if (job->finishes) {
    weft_gpu_bind(&build, "part", NULL, WEFT_RAW_WORDS, true);
  } else {
    bind_result(&build, job, job->y_vec4);
    weft_shader_set(&build.shader, "Y_VEC4", job->y_vec4);
  }
  WEFT_TRY(add_places(&build, job, extras, error));
  weft_gpu_spread(job->gpu, items, &x, &y);
  return weft_gpu_build_finish(&build, x, y, 1, error);
}

#define FINISH_GROUP (64 * 4) /* elements of y */

static weft_status add_finish(matmul *job, uint32_t parts, weft_error *error) {
  weft_gpu_build build;
  uint64_t elements = job->y->elements, x, y;
  if (weft_gpu_offset(job->y) % 4 != 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "an output that does not start at a whole vector");
  WEFT_TRY(weft_gpu_build_start(&build, job->gpu, job->step, job->arena, "matmul_finish", error));
  add_shape(&build, job, elements, job->part, 0, weft_gpu_offset(job->y));
  weft_gpu_param(&build, 0); /* the parameters of a computed B, which nobody reads */
  weft_gpu_param(&build, 0);
  weft_shader_set(&build.shader, "PARTS", parts);
  if (parts > 0) weft_gpu_bind(&build, "part", NULL, WEFT_RAW_WORDS, false);
  bind_result(&build, job, true);
  WEFT_TRY(add_places(&build, job, job->extras, error));
  weft_gpu_spread(job->gpu, divide_up(elements, FINISH_GROUP), &x, &y);
  return weft_gpu_build_finish(&build, x, y, 1, error);
}

/* ---- rows of codes ----------------------------------------------------------------------------
 */

#define ROUND_GROUP 64 /* blocks */

static weft_status add_rows(matmul *job, weft_error *error) {
  weft_gpu_build build;
  const weft_nest *nest = &job->nest;
  uint64_t items = job->m * job->batches * job->rounding.blocks, x, y;
  job->codes = weft_gpu_scratch(job->step, items * job->rounding.block);
  job->scales = weft_gpu_scratch(job->step, items * sizeof(float));
  WEFT_TRY(weft_gpu_build_start(&build, job->gpu, job->step, job->arena, "matmul_rows", error));
  bind_quads(&build, "a", job->a, job->a_vec4, false);
  weft_gpu_bind(&build, "rounded", NULL, WEFT_RAW_WORDS, true);
  weft_shader_set(&build.shader, "A_VEC4", job->a_vec4);
  weft_shader_set(&build.shader, "ROUND_BLOCK", job->rounding.block);
  weft_shader_set(&build.shader, "BATCHES", (uint32_t)job->batch_rank);
  weft_gpu_param(&build, (uint32_t)job->m);
  weft_gpu_param(&build, (uint32_t)job->k);
  weft_gpu_param(&build, (uint32_t)items);
  weft_gpu_param(&build, job->rounding.blocks);
  weft_gpu_param(&build, weft_gpu_offset(job->a));
  weft_gpu_param(&build, (uint32_t)job->a_row);
  weft_gpu_param(&build, job->codes);
  weft_gpu_param(&build, job->scales);
  for (int32_t i = job->batch_rank - 1; i >= 0; i--) {
    weft_gpu_param(&build, (uint32_t)nest->dims[i]);
    weft_gpu_param(&build, (uint32_t)nest->strides[NEST_A][i]);
  }
  weft_gpu_spread(job->gpu, divide_up(items, ROUND_GROUP), &x, &y);
  return weft_gpu_build_finish(&build, x, y, 1, error);
}

static void set_rounding(matmul *job) {
  if (job->packed)
    job->rounding = weft_matmul_rounding(job->gpu, job->step->node, &job->format, job->m, job->k);
  job->rounded = job->rounding.blocks > 0;
  job->rounds_before = job->rounded && job->rounding.row_bytes == 0;
}

/* ---- preparation ----------------------------------------------------------------------------- */

/* Bytes of a constant B. */
static double weight_bytes(const matmul *job) {
  if (job->packed) return (double)job->places.bytes;
  return job->b->memory ? (double)job->b->elements * (double)weft_dtype_size(job->b->dtype) : 0;
}

static void find_parts(matmul *job) {
  job->a_from = job->a;
  for (uint32_t i = 0; i < job->step->part_count; i++) {
    const weft_part *part = &job->step->parts[i];
    if (part->step->node->op == WEFT_OP_NORM) {
      job->norm = part->step;
      job->a_from = part->step->inputs[0];
    } else {
      job->pair = part->step;
      job->paired = part->input - 2;
    }
  }
}

weft_status weft_gpu_prepare_matmul(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  const weft_expr *expr = &step->node->attributes.matmul.expr;
  matmul job = {.gpu = gpu,
                .step = step,
                .arena = arena,
                .a = step->inputs[0],
                .b = step->inputs[1],
                .y = step->outputs[0],
                .expr = expr->code_count > 0 ? expr : NULL,
                .extras = step->input_count - 2};
  job.packed = job.b->layout >= WEFT_LAYOUT_GPU;
  if (job.packed) job.format = weft_gpu_format_of(job.b->layout);
  find_parts(&job);
  set_shapes(&job);
  set_vectors(&job);
  double products = job.pair ? 2 : 1;
  step->flops = products * 2.0 * (double)job.k * (double)job.y->elements;
  step->bytes = products * weight_bytes(&job);
  if (job.k == 0) return add_finish(&job, 0, error);
  set_rounding(&job);
  choose(&job);
  if (job.rounds_before) WEFT_TRY(add_rows(&job, error));
  if (!job.finishes) return add_product(&job, error);
  uint32_t splits = job.variant.splits;
  /* Whole vectors of the last part are read. */
  job.part = weft_gpu_scratch(step, (splits * job.y->elements + 4) * sizeof(float));
  WEFT_TRY(add_product(&job, error));
  return add_finish(&job, splits, error);
}
