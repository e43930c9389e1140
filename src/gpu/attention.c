/* attention.c - the op `attention` on the GPU, in two forms. Many rows (a prompt): attention.wgsl,
 * a workgroup for a block of rows. Few rows (a token): attention_decode.wgsl, a workgroup for rows
 * of a group of heads and one part of the keys; parts are joined by attention_join.wgsl.
 *
 * Both forms have variants, of which the tuner may choose. None depends on the number of keys, so
 * that a longer past compiles nothing. Lengths past the keys count as all of them: the host would
 * refuse them. */
#include "gpu/attention.h"
#include "gpu/tuner.h"

enum { Q, K, V, MASK, LENGTHS, SINK };

typedef weft_attention_problem problem;

bool weft_gpu_takes_attention(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  if (input == MASK) return true;
  return input < MASK && (array->dims[3] == 1 || array->strides[3] == 1);
}

static const weft_array *input_of(const weft_step *step, uint32_t input) {
  return input < step->input_count ? step->inputs[input] : NULL;
}

static bool is_aligned(const weft_array *array) {
  for (int32_t i = 0; i < 3; i++)
    if (array->dims[i] > 1 && array->strides[i] % 4 != 0) return false;
  return array->dims[3] % 4 == 0 && weft_gpu_offset(array) % 4 == 0;
}

weft_attention_problem weft_attention_problem_of(const weft_gpu_device *gpu, weft_step *step,
                                                 weft_arena *arena, const weft_array *k,
                                                 const weft_array *v) {
  const weft_array *q = step->inputs[Q];
  problem p = {.gpu = gpu, .facts = gpu->gpu->facts, .step = step, .arena = arena, .k = k, .v = v};
  p.mask = input_of(step, MASK);
  p.lengths = input_of(step, LENGTHS);
  p.sink = input_of(step, SINK);
  p.batches = (uint32_t)q->dims[0];
  p.groups = (uint32_t)k->dims[1];
  p.heads = (uint32_t)q->dims[1] / p.groups;
  p.queries = (uint32_t)q->dims[2];
  p.keys = (uint32_t)k->dims[2];
  p.rows = p.heads * p.queries;
  p.d = (uint32_t)q->dims[3];
  p.e = (uint32_t)v->dims[3];
  p.d4 = (p.d + 3) / 4;
  p.e4 = (p.e + 3) / 4;
  p.aligned = is_aligned(k) && is_aligned(v) && weft_gpu_offset(step->outputs[0]) % 4 == 0;
  for (uint32_t i = Q; i <= V; i++) p.aligned = p.aligned && is_aligned(step->inputs[i]);
  p.native = q->dtype == WEFT_F16 && p.facts->f16;
  return p;
}

/* ---- bindings and parameters ----------------------------------------------------------------- */

static weft_shader_raw raw_of(const problem *p) {
  if (!p->aligned || (p->step->inputs[Q]->dtype == WEFT_F16 && !p->native)) return WEFT_RAW_WORDS;
  return p->native ? WEFT_RAW_VEC4_F16 : WEFT_RAW_VEC4;
}

static void bind_angles(const problem *p, weft_gpu_build *build) {
  weft_shader_set(&build->shader, "ROTARY", p->cosines != NULL);
  if (!p->cosines) return;
  weft_gpu_bind(build, "cosines", p->cosines, WEFT_RAW_WORDS, false);
  weft_gpu_bind(build, "sines", p->sines, WEFT_RAW_WORDS, false);
  if (p->positions) weft_gpu_bind(build, "positions", p->positions, WEFT_RAW_WORDS, false);
  weft_shader_set(&build->shader, "R", 2 * (uint32_t)p->cosines->dims[p->cosines->rank - 1]);
  weft_shader_set(&build->shader, "POSITIONS", p->positions != NULL);
  weft_shader_set(&build->shader, "INTERLEAVED", p->step->node->attributes.attention.interleaved);
}

static void bind_inputs(const problem *p, weft_gpu_build *build) {
  weft_shader *shader = &build->shader;
  if (!p->rows_only || p->joint) weft_gpu_bind(build, "q", p->step->inputs[Q], raw_of(p), false);
  if (p->appends && !p->joint) {
    weft_gpu_bind(build, "added_k", p->step->inputs[K], raw_of(p), false);
    weft_gpu_bind(build, "added_v", p->step->inputs[V], raw_of(p), false);
  }
  weft_gpu_bind(build, "k", p->k, raw_of(p), p->appends);
  weft_gpu_bind(build, "v", p->v, raw_of(p), p->appends);
  bind_angles(p, build);
  if (p->mask && !p->rows_only) weft_gpu_bind(build, "mask", p->mask, WEFT_RAW_WORDS, false);
  if (p->lengths) weft_gpu_bind(build, "lengths", p->lengths, WEFT_RAW_WORDS, false);
  weft_shader_set(shader, "MASK", p->mask != NULL);
  weft_shader_set(shader, "LENGTHS", p->lengths != NULL);
  weft_shader_set(shader, "APPEND", p->appends);
  weft_shader_set(shader, "JOINT", p->joint);
  weft_shader_set(shader, "SOFTCAP", p->step->node->attributes.attention.softcap > 0);
}

static void bind_output(const problem *p, weft_gpu_build *build) {
  weft_shader *shader = &build->shader;
  if (p->sink) weft_gpu_bind(build, "sink", p->sink, WEFT_RAW_WORDS, false);
  weft_gpu_bind(build, "out", p->step->outputs[0], raw_of(p), true);
  weft_shader_set(shader, "SINK", p->sink != NULL);
  weft_shader_set(shader, "F16", p->step->inputs[Q]->dtype == WEFT_F16);
}

static void set_sizes(const problem *p, weft_gpu_build *build, uint32_t rows) {
  weft_shader *shader = &build->shader;
  weft_shader_set(shader, "D", p->d);
  weft_shader_set(shader, "E", p->e);
  weft_shader_set(shader, "ROWS", rows);
  weft_shader_set(shader, "ALIGNED", p->aligned);
  shader->f16 = p->native && p->aligned;
}

static void add_strides(weft_gpu_build *build, const weft_array *array) {
  weft_gpu_param(build, weft_gpu_offset(array));
  for (int32_t i = 0; i < 3; i++)
    weft_gpu_param(build, array->dims[i] > 1 ? (uint32_t)array->strides[i] : 0);
}

/* [B,H,S,E], or [B,S,H,E]. */
static void add_output_strides(const problem *p, weft_gpu_build *build) {
  uint32_t heads = p->groups * p->heads;
  bool last = p->step->node->attributes.attention.heads_last;
  weft_gpu_param(build, weft_gpu_offset(p->step->outputs[0]));
  weft_gpu_param(build, heads * p->queries * p->e);
  weft_gpu_param(build, last ? p->e : p->queries * p->e);
  weft_gpu_param(build, last ? heads * p->e : p->e);
}

/* Against [B,H,S,T]: 0 where the mask repeats. */
static void add_mask_strides(const problem *p, weft_gpu_build *build) {
  weft_gpu_param(build, p->mask ? weft_gpu_offset(p->mask) : 0);
  for (int32_t i = 0; i < 4; i++) {
    int32_t axis = p->mask ? i - 4 + p->mask->rank : -1;
    bool repeats = axis < 0 || p->mask->dims[axis] == 1;
    weft_gpu_param(build, repeats ? 0 : (uint32_t)p->mask->strides[axis]);
  }
}

/* One number for each of something, or for all. */
static void add_numbers(weft_gpu_build *build, const weft_array *array) {
  weft_gpu_param(build, array ? weft_gpu_offset(array) : 0);
  weft_gpu_param(build, array && array->elements > 1);
}

/* How the rows and keys are cut up. */
typedef struct cut {
  uint32_t row_blocks; /* of a group */
  uint32_t parts, part_keys;
} cut;

/* Rows of a head that an append writes: new ones, and where lengths say how far a cache goes, those
 * behind the past. */
static uint32_t slots_of(const problem *p) {
  uint32_t rows = (uint32_t)p->k->dims[2];
  bool follow = p->past_rows + p->queries == rows && !p->lengths;
  return follow ? p->queries : p->queries + rows - p->past_rows;
}

static void add_append(const problem *p, weft_gpu_build *build) {
  uint32_t rows = (uint32_t)p->k->dims[2];
  add_strides(build, p->step->inputs[K]);
  add_strides(build, p->step->inputs[V]);
  weft_gpu_param(build, p->past_rows);
  weft_gpu_param(build, rows);
  weft_gpu_param(build, slots_of(p));
  weft_gpu_param(build, p->queries == rows);
}

/* The struct Params of attention_common.wgsl. */
static void add_params(const problem *p, weft_gpu_build *build, cut c, uint64_t items) {
  const weft_attributes *a = &p->step->node->attributes;
  int64_t window = a->attention.window;
  if (window >= (int64_t)p->queries + p->keys) window = 0; /* hides nothing */
  add_strides(build, p->step->inputs[Q]);
  add_strides(build, p->k);
  add_strides(build, p->v);
  add_output_strides(p, build);
  add_mask_strides(p, build);
  add_numbers(build, p->lengths);
  weft_gpu_param(build, p->sink ? weft_gpu_offset(p->sink) : 0);
  weft_gpu_param(build, p->queries);
  weft_gpu_param(build, p->keys);
  weft_gpu_param(build, p->groups);
  weft_gpu_param(build, p->heads);
  weft_gpu_param_float(build, a->attention.scale);
  weft_gpu_param_float(build, a->attention.softcap);
  weft_gpu_param(build, (uint32_t)window);
  weft_gpu_param(build, a->attention.causal);
  weft_gpu_param(build, (uint32_t)items);
  weft_gpu_param(build, c.row_blocks);
  weft_gpu_param(build, c.parts);
  weft_gpu_param(build, c.part_keys);
  weft_gpu_param(build, p->sink && p->sink->elements > 1);
  if (p->cosines) weft_gpu_add_angles(build, p->cosines, p->sines, p->positions);
  if (p->appends) add_append(p, build);
}

static weft_status finish(const problem *p, weft_gpu_build *build, cut c, uint64_t items,
                          uint64_t of_a_workgroup, weft_error *error) {
  uint64_t x, y;
  if (items > UINT32_MAX)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "%llu rows", (unsigned long long)items);
  add_params(p, build, c, items);
  weft_gpu_spread(p->gpu, (items + of_a_workgroup - 1) / of_a_workgroup, &x, &y);
  return weft_gpu_build_finish(build, x, y, 1, error);
}

/* ---- variants -------------------------------------------------------------------------------- */

enum { CANDIDATES_MAX = 32 };

/* Can subgroups exchange among `across` neighbours? */
static bool can_exchange(const weft_gpu_facts *facts, uint32_t across) {
  return facts->subgroups && across > 1 && across <= facts->subgroup_min;
}

/* Exchanges instead of workgroup memory first: they pay on Intel, and cost on NVIDIA and Apple. */
static bool prefers_exchange(const weft_gpu_facts *facts) {
  return strcmp(facts->vendor, "intel") == 0;
}

/* Which of `count` candidates; the first where nothing was measured. */
static uint32_t choose(const problem *p, const char *family, uint32_t count) {
  uint32_t flags = p->aligned | (uint32_t)(p->mask != NULL) << 1;
  weft_tune_key key = {.family = family,
                       .words = {(uint32_t)p->step->inputs[Q]->dtype, p->d, p->e, flags,
                                 weft_tune_class(p->rows), weft_tune_class(p->keys),
                                 weft_tune_class((uint64_t)p->batches * p->groups)}};
  return weft_tune_choice(p->gpu, &key, count, 0);
}

/* ---- many rows ------------------------------------------------------------------------------- */

/* Rows and keys of a workgroup at a time, multiples of 16 and powers of two; the rest follows. */
typedef struct tile {
  uint32_t rows, keys;
  bool exchange;
  uint32_t threads, sums;      /* sums: tiles of results of a thread */
  uint32_t chunk4, value_keys; /* of D, and of the keys' values, at once */
  uint32_t lanes;              /* not 0: attention_lanes.wgsl; sums: of a row */
} tile;

static const tile tiles[] = {{.rows = 32, .keys = 32}, {.rows = 32, .keys = 64},
                             {.rows = 16, .keys = 64}, {.rows = 64, .keys = 32},
                             {.rows = 16, .keys = 32}, {.rows = 64, .keys = 64},
                             {.rows = 16, .keys = 16}};
enum { TILES = sizeof tiles / sizeof *tiles, SUMS_MAX = 4 };

/* With chunks of so many fours; false: they do not fit in workgroup memory. */
static bool fit_chunk(const problem *p, tile *t, uint32_t chunk4) {
  uint32_t bytes = p->native ? 8 : 16; /* of a four in a tile */
  uint32_t room_k = t->keys * (chunk4 + 1);
  t->chunk4 = chunk4;
  t->value_keys = t->keys;
  while (t->value_keys > 4 && t->value_keys * p->e4 > room_k) t->value_keys /= 2;
  uint32_t room_v = t->value_keys * p->e4, room_q = t->rows * (chunk4 + 1);
  uint32_t used = bytes * (room_q + (room_k > room_v ? room_k : room_v)) + 4 * t->rows * t->keys +
                  24 * t->rows + 16 * t->threads;
  return used <= p->facts->workgroup_storage;
}

/* What follows from rows and keys; false: the GPU cannot run it. */
static bool fit_tile(const problem *p, tile *t) {
  t->threads = t->rows / 4 * (t->keys / 4);
  t->sums = (t->rows / 4 * p->e4 + t->threads - 1) / t->threads;
  if (t->threads > p->facts->workgroup_invocations || t->threads > p->facts->workgroup_size[0])
    return false;
  if (p->d4 <= 8 && fit_chunk(p, t, p->d4)) return true;
  return fit_chunk(p, t, 8) || fit_chunk(p, t, 4) || fit_chunk(p, t, 1);
}

/* Blocks of more rows than there are leave threads idle, many sums spill: those come last. */
static bool is_good_tile(const problem *p, const tile *t) {
  return t->sums <= SUMS_MAX && (t->rows <= 16 || t->rows < 2 * p->rows);
}

/* On a GPU that is a CPU: small, and quick to compile. */
static bool fit_lanes(const problem *p, tile *t) {
  uint32_t lanes = weft_gpu_cpu_lanes(p->facts);
  if (lanes < 4 || lanes > 16) return false;
  uint32_t sums = (p->e4 + lanes - 1) / lanes;
  *t = (tile){.rows = 4, .keys = 4 * lanes, .sums = sums, .lanes = lanes};
  return sums <= 2 * SUMS_MAX;
}

static uint32_t list_tiles(const problem *p, tile *list) {
  uint32_t count = fit_lanes(p, &list[0]) ? 1 : 0;
  for (uint32_t pass = 0; pass < 4; pass++)
    for (uint32_t i = 0; i < TILES; i++) {
      tile t = tiles[i];
      t.exchange = (pass % 2 == 0) == prefers_exchange(p->facts);
      if (t.exchange && !can_exchange(p->facts, t.keys / 4)) continue;
      if (fit_tile(p, &t) && is_good_tile(p, &t) == (pass < 2)) list[count++] = t;
    }
  return count;
}

static void set_tile(const problem *p, const tile *t, weft_shader *shader) {
  weft_shader_set(shader, "KEYS", t->keys);
  weft_shader_set(shader, "CHUNK4", t->chunk4);
  weft_shader_set(shader, "VALUE_KEYS", t->value_keys);
  weft_shader_set(shader, "ONE_CHUNK", t->chunk4 >= p->d4);
  weft_shader_set(shader, "TILE_F16", p->native);
  weft_shader_set(shader, "SUBGROUPS", t->exchange);
  shader->f16 = p->native;
  shader->subgroups = t->exchange;
}

static weft_status prepare_many(const problem *p, weft_error *error) {
  tile list[CANDIDATES_MAX];
  uint32_t count = list_tiles(p, list);
  if (count == 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "heads of %u and %u numbers", p->d, p->e);
  const tile *t = &list[choose(p, "attention", count)];
  weft_gpu_build build;
  const char *file = t->lanes ? "attention_lanes" : "attention";
  WEFT_TRY(weft_gpu_build_start(&build, p->gpu, p->step, p->arena, file, error));
  bind_inputs(p, &build);
  bind_output(p, &build);
  set_sizes(p, &build, t->rows);
  weft_shader_set(&build.shader, "SUMS", t->sums);
  if (t->lanes) {
    weft_shader_set(&build.shader, "LANES", t->lanes);
    weft_shader_set(&build.shader, "ALONE", 1);
    weft_gpu_fix_lanes(&build.shader, p->facts);
  } else {
    set_tile(p, t, &build.shader);
  }
  cut c = {.row_blocks = (p->rows + t->rows - 1) / t->rows, .parts = 1};
  uint64_t items = (uint64_t)p->batches * p->groups * c.row_blocks;
  return finish(p, &build, c, items, 1, error);
}

/* ---- few rows -------------------------------------------------------------------------------- */

typedef struct decode {
  uint32_t threads, keys, slices; /* slices: threads that share a key's score */
} decode;

static const decode decodes[] = {{64, 64, 1},   {64, 128, 1}, {128, 128, 1}, {256, 256, 1},
                                 {64, 64, 4},   {64, 64, 8},  {128, 128, 4}, {128, 128, 8},
                                 {128, 64, 16}, {256, 128, 8}};
enum { DECODES = sizeof decodes / sizeof *decodes, ROWS_MAX = 8, PARTS_MAX = 64, PART_MIN = 256 };

static uint32_t list_decodes(const problem *p, uint32_t rows, decode *list) {
  uint32_t count = 0;
  for (uint32_t pass = 0; pass < 2; pass++)
    for (uint32_t i = 0; i < DECODES; i++) {
      const decode *d = &decodes[i];
      bool exchange = d->slices > 1;
      uint32_t used = 16 * rows * p->d4 + 24 * rows + 4 * rows * d->keys + 20 * d->threads;
      if (exchange != ((pass == 0) == prefers_exchange(p->facts))) continue;
      if (exchange && !can_exchange(p->facts, d->slices)) continue;
      if (d->threads >= p->e4 && d->threads <= p->facts->workgroup_invocations &&
          used <= p->facts->workgroup_storage)
        list[count++] = *d;
    }
  return count;
}

/* Parts of the keys so that there are workgroups for a GPU of some size, which WebGPU does not
 * tell. They follow from shapes alone, and so do the results. */
static cut cut_keys(const problem *p, const decode *d, uint32_t row_blocks) {
  uint64_t wanted = p->facts->is_software ? 16 : 256;
  uint64_t others = (uint64_t)p->batches * p->groups * row_blocks, parts = wanted / others;
  if (parts > PARTS_MAX) parts = PARTS_MAX;
  if (parts < 1) parts = 1;
  uint64_t keys = (p->keys + parts - 1) / parts;
  if (keys < PART_MIN) keys = PART_MIN;
  keys = weft_align_up(keys, d->keys);
  parts = (p->keys + keys - 1) / keys;
  return (cut){row_blocks, parts ? (uint32_t)parts : 1, (uint32_t)keys};
}

static weft_status add_decode(const problem *p, const decode *d, cut c, uint32_t rows, bool split,
                              weft_error *error) {
  weft_gpu_build build;
  WEFT_TRY(weft_gpu_build_start(&build, p->gpu, p->step, p->arena, "attention_decode", error));
  bind_inputs(p, &build);
  if (split)
    weft_gpu_bind(&build, "partial", NULL, WEFT_RAW_VEC4, true);
  else
    bind_output(p, &build);
  set_sizes(p, &build, rows);
  weft_shader_set(&build.shader, "KEYS", d->keys);
  weft_shader_set(&build.shader, "THREADS", d->threads);
  weft_shader_set(&build.shader, "SLICES", d->slices);
  weft_shader_set(&build.shader, "SUBGROUPS", d->slices > 1);
  weft_shader_set(&build.shader, "SPLIT", split);
  build.shader.subgroups = d->slices > 1;
  uint64_t items = (uint64_t)p->batches * p->groups * c.row_blocks * c.parts;
  return finish(p, &build, c, items, 1, error);
}

static weft_status add_join(const problem *p, cut c, weft_error *error) {
  weft_gpu_build build;
  problem of_parts = *p; /* which were turned and appended */
  of_parts.cosines = NULL;
  of_parts.appends = false;
  WEFT_TRY(weft_gpu_build_start(&build, p->gpu, p->step, p->arena, "attention_join", error));
  weft_gpu_bind(&build, "partial", NULL, WEFT_RAW_VEC4, false);
  bind_output(p, &build);
  set_sizes(p, &build, 1);
  uint64_t items = (uint64_t)p->batches * p->groups * p->rows * p->e4;
  return finish(&of_parts, &build, c, items, 64, error);
}

/* The rows that the caches get, by themselves. */
static weft_status add_rows(const problem *p, weft_error *error) {
  weft_gpu_build build;
  problem rows = *p;
  rows.rows_only = rows.appends = true;
  WEFT_TRY(weft_gpu_build_start(&build, p->gpu, p->step, p->arena, "attention_rows", error));
  bind_inputs(&rows, &build);
  set_sizes(&rows, &build, 1);
  uint64_t items = (uint64_t)p->batches * p->groups * slots_of(p) * (p->d4 + p->e4);
  return finish(&rows, &build, (cut){.row_blocks = 1, .parts = 1}, items, 64, error);
}

/* May attention of few rows write those of the caches too? A workgroup sees what it wrote itself
 * alone, and a GPU binds so many arrays. */
static bool may_append(const problem *p, uint32_t row_blocks) {
  int bound = (p->joint ? 1 : 3) + 2 + (p->cosines ? 2 : 0) + (p->positions != NULL) +
              (p->mask != NULL) + (p->lengths != NULL) + (p->sink != NULL) + 1;
  return row_blocks == 1 && (uint32_t)bound <= weft_attention_bindings(p->facts);
}

/* Keys in one part need no joining. The kernels for both are made at once, so that nothing is left
 * to compile when the keys become more. */
static weft_status prepare_few(const problem *p, const decode *d, uint32_t rows,
                               weft_error *error) {
  cut c = cut_keys(p, d, (p->rows + rows - 1) / rows);
  bool split = c.parts > 1;
  WEFT_TRY(add_decode(p, d, c, rows, false, error));
  WEFT_TRY(add_decode(p, d, c, rows, true, error));
  WEFT_TRY(add_join(p, c, error));
  weft_gpu_work *work = p->step->state;
  weft_gpu_dispatch *forms = &work->dispatches[work->count - 3];
  forms[0].skip = split;
  forms[1].skip = forms[2].skip = !split;
  if (!split) return WEFT_OK;
  uint64_t fours = (uint64_t)p->batches * p->groups * p->rows * c.parts * (p->e4 + 1);
  (void)weft_gpu_scratch(p->step, 16 * fours); /* the only one: at its start */
  return WEFT_OK;
}

/* ---- preparation ----------------------------------------------------------------------------- */

/* Pairs of a query and a key that it sees, of one head, as if all keys were there. */
static double count_pairs(const problem *p) {
  double queries = p->queries, keys = p->keys, seen = queries * keys;
  double window = (double)p->step->node->attributes.attention.window;
  bool causal = p->step->node->attributes.attention.causal;
  if (causal && queries <= keys) seen -= queries * (queries - 1) / 2;
  if (causal && queries > keys) seen = keys * (keys + 1) / 2;
  return window > 0 && queries * window < seen ? queries * window : seen;
}

weft_status weft_attention_prepare(weft_attention_problem *p, weft_error *error) {
  weft_step *step = p->step;
  if (step->inputs[Q]->dtype == WEFT_F16 && p->e % 2 != 0)
    return weft_fail(error, WEFT_UNSUPPORTED, "values of %u numbers of 16 bits", p->e);
  double heads = (double)p->batches * p->groups * p->heads, sizes = (double)p->d + p->e;
  step->flops = 2 * count_pairs(p) * heads * sizes;
  step->bytes = (double)p->batches * p->groups * p->keys * sizes *
                (double)weft_dtype_size(step->inputs[Q]->dtype);
  decode list[CANDIDATES_MAX];
  uint32_t blocks = (p->rows + ROWS_MAX - 1) / ROWS_MAX, rows = (p->rows + blocks - 1) / blocks;
  tile lanes; /* takes few rows as it takes many */
  bool few = (p->rows <= ROWS_MAX || p->queries <= 4) && !fit_lanes(p, &lanes);
  uint32_t count = few ? list_decodes(p, rows, list) : 0;
  p->appends = p->cached && count > 0 && may_append(p, blocks);
  if (p->cached && !p->appends) WEFT_TRY(add_rows(p, error));
  if (count == 0) return prepare_many(p, error);
  return prepare_few(p, &list[choose(p, "attention_decode", count)], rows, error);
}

weft_status weft_gpu_prepare_attention(const weft_gpu_device *gpu, weft_step *step,
                                       weft_arena *arena, weft_error *error) {
  problem p = weft_attention_problem_of(gpu, step, arena, step->inputs[K], step->inputs[V]);
  return weft_attention_prepare(&p, error);
}
