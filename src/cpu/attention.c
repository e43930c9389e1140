/* attention.c - the op `attention`: blocks of rows as items, each one call of the kernel. A block
 * has queries of one head, or all queries of several heads that share keys and values, so that
 * those are read once. Where few rows meet many keys, as when tokens are generated one by one, the
 * keys are cut into parts for the threads, and the parts' results are joined. */
#include "cpu/operand.h"

enum { Q, K, V, MASK, LENGTHS, SINK };

/* Parts follow from the number of keys alone, so that results do not depend on the threads. */
enum { PART_KEYS = 512, PARTS_MAX = 64 };

typedef struct attention_state {
  const weft_kernels *kernels;
  weft_operand q, k, v, mask, sink; /* staged where their type is not f32; the mask also where its
                                       rows are not dense */
  const weft_array *lengths;        /* NULL: all keys */
  weft_result result;
  weft_attention_f32_args args;                    /* what is the same for all items */
  uint64_t batches, groups, shared, queries, keys; /* shared: heads of a group */
  uint64_t head_blocks, query_blocks;              /* of a group; of a head */
  uint64_t parts, part_keys;
  int64_t strides[3][2], out_strides[2]; /* of q, k, v, out: batch, head */
  int64_t mask_strides[2];               /* batch, head */
  uint64_t partial, log_sums;            /* in scratch: [parts][rows][value_size], [parts][rows] */
  weft_work work, join;
} attention_state;

typedef struct attention_run {
  const attention_state *state;
  const float *q, *k, *v, *mask, *sink;
  const uint8_t *lengths;
  float *out, *partial, *log_sums;
} attention_run;

bool weft_cpu_takes_attention(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  if (array->dtype != WEFT_F32 || input > MASK) return false;
  if (input == MASK) return true; /* staged if need be */
  for (int32_t i = 0; i < 4; i++)
    if (array->dims[i] > 1 && array->strides[i] < 0) return false;
  return array->dims[3] == 1 || array->strides[3] == 1;
}

/* ---- running -------------------------------------------------------------------------------- */

/* Keys of a batch. */
static uint64_t length_of(const attention_run *run, uint64_t batch) {
  const attention_state *state = run->state;
  if (state->lengths == NULL) return state->keys;
  uint64_t at = state->lengths->elements > 1 ? batch : 0;
  return (uint64_t)weft_integer_at(state->lengths, run->lengths, at);
}

static weft_status check_lengths(const attention_run *run, weft_error *error) {
  for (uint64_t b = 0; b < run->state->batches; b++) {
    uint64_t length = length_of(run, b);
    if (length > run->state->keys)
      return weft_fail(error, WEFT_INVALID_DATA,
                       "length %lld of sequence %llu: there are %llu keys", (long long)length,
                       (unsigned long long)b, (unsigned long long)run->state->keys);
  }
  return WEFT_OK;
}

static uint64_t rows_of(const attention_state *state) {
  return state->batches * state->groups * state->shared * state->queries;
}

/* Where a block of rows stands. */
typedef struct place {
  uint64_t batch, group, head, query; /* head: of all */
  uint64_t heads, queries;
} place;

static place place_of(const attention_state *state, uint64_t index) {
  uint64_t query_block = index % state->query_blocks, rest = index / state->query_blocks;
  uint64_t head_block = rest % state->head_blocks;
  rest /= state->head_blocks;
  place at = {.batch = rest / state->groups, .group = rest % state->groups};
  uint64_t head = head_block * state->shared / state->head_blocks;
  at.heads = (head_block + 1) * state->shared / state->head_blocks - head;
  at.head = at.group * state->shared + head;
  at.query = query_block * state->queries / state->query_blocks;
  at.queries = (query_block + 1) * state->queries / state->query_blocks - at.query;
  return at;
}

static void set_inputs(const attention_run *run, const place *at, weft_attention_f32_args *args) {
  const attention_state *state = run->state;
  int64_t batch = (int64_t)at->batch, head = (int64_t)at->head, group = (int64_t)at->group;
  args->heads = (size_t)at->heads;
  args->queries = (size_t)at->queries;
  args->q = run->q + batch * state->strides[Q][0] + head * state->strides[Q][1] +
            at->query * args->q_stride;
  args->k = run->k + batch * state->strides[K][0] + group * state->strides[K][1];
  args->v = run->v + batch * state->strides[V][0] + group * state->strides[V][1];
  if (run->mask != NULL)
    args->mask = run->mask + batch * state->mask_strides[0] + head * state->mask_strides[1] +
                 at->query * args->mask_stride;
  if (run->sink != NULL) args->sink = run->sink + head;
  args->out = run->out + batch * state->out_strides[0] + head * state->out_strides[1] +
              at->query * args->out_stride;
  uint64_t length = length_of(run, at->batch);
  ptrdiff_t before =
      state->queries == state->keys ? 0 : (ptrdiff_t)length - (ptrdiff_t)state->queries;
  args->keys = (size_t)length;
  args->position = before + (ptrdiff_t)at->query;
}

/* Only the keys of one part, with the result in `partial`. */
static void set_part(const attention_run *run, const place *at, uint64_t part,
                     weft_attention_f32_args *args) {
  const attention_state *state = run->state;
  uint64_t from = part * state->part_keys, size = args->value_size;
  uint64_t row = (at->batch * state->groups * state->shared + at->head) * state->queries;
  args->keys = (size_t)(weft_min_u64(from + state->part_keys, args->keys) - from);
  args->k += from * args->k_stride;
  args->v += from * args->v_stride;
  if (args->mask != NULL) args->mask += from;
  if (part > 0) args->sink = NULL; /* counts once */
  args->position -= (ptrdiff_t)from;
  args->out = run->partial + (part * rows_of(state) + row) * size;
  args->out_stride = (size_t)size;
  args->out_head_stride = (size_t)(state->queries * size);
  args->log_sum = run->log_sums + part * rows_of(state) + row;
}

static weft_status run_blocks(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)error;
  const attention_run *run = context;
  const attention_state *state = run->state;
  weft_attention_f32_args args = state->args;
  args.scratch = (float *)(void *)scratch;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t part = item % state->parts;
    place at = place_of(state, item / state->parts);
    set_inputs(run, &at, &args);
    if (part > 0 && part * state->part_keys >= args.keys) continue;
    if (state->parts > 1) set_part(run, &at, part, &args);
    state->kernels->attention_f32(&args);
  }
  return WEFT_OK;
}

/* A row's parts, weighed by what their softmax would have been divided by. */
static void join_row(const attention_run *run, uint64_t row, uint64_t parts, float *out) {
  const attention_state *state = run->state;
  uint64_t rows = rows_of(state), size = state->args.value_size;
  float weights[PARTS_MAX];
  for (uint64_t p = 0; p < parts; p++) weights[p] = run->log_sums[p * rows + row];
  bool nothing = state->kernels->maximum_f32((size_t)parts, weights) == -__builtin_inff();
  if (!nothing) state->kernels->softmax_f32((size_t)parts, weights, weights);
  for (uint64_t i = 0; i < size; i++) out[i] = 0;
  for (uint64_t p = 0; p < parts && !nothing; p++) {
    const float *part = run->partial + (p * rows + row) * size;
    for (uint64_t i = 0; i < size; i++) out[i] += weights[p] * part[i];
  }
}

static weft_status join_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                             weft_error *error) {
  (void)scratch, (void)error;
  const attention_run *run = context;
  const attention_state *state = run->state;
  uint64_t heads = state->groups * state->shared;
  for (uint64_t row = begin; row < end; row++) {
    uint64_t query = row % state->queries, head = row / state->queries % heads;
    uint64_t batch = row / state->queries / heads;
    uint64_t parts = (length_of(run, batch) + state->part_keys - 1) / state->part_keys;
    float *out = run->out + (int64_t)batch * state->out_strides[0] +
                 (int64_t)head * state->out_strides[1] + query * state->args.out_stride;
    join_row(run, row, parts > 0 ? parts : 1, out);
  }
  return WEFT_OK;
}

static weft_status run_attention(const weft_step *step, const weft_execution *execution,
                                 weft_error *error) {
  const attention_state *state = step->state;
  attention_run run = {.state = state};
  if (state->lengths != NULL) {
    run.lengths = weft_array_data(execution, state->lengths);
    WEFT_TRY(check_lengths(&run, error));
  }
  run.q = weft_operand_data(&state->q, step, execution);
  run.k = weft_operand_data(&state->k, step, execution);
  run.v = weft_operand_data(&state->v, step, execution);
  if (state->mask.array != NULL) run.mask = weft_operand_data(&state->mask, step, execution);
  if (state->sink.array != NULL) run.sink = weft_operand_data(&state->sink, step, execution);
  run.out = weft_result_data(&state->result, step, execution);
  run.partial = (float *)(void *)(weft_step_scratch(execution, step) + state->partial);
  run.log_sums = (float *)(void *)(weft_step_scratch(execution, step) + state->log_sums);
  WEFT_TRY(weft_work_run(&state->work, step, execution, &run, error));
  if (state->parts > 1) WEFT_TRY(weft_work_run(&state->join, step, execution, &run, error));
  weft_result_finish(&state->result, step, execution);
  return WEFT_OK;
}

/* ---- preparation ---------------------------------------------------------------------------- */

/* q, k or v: in place by strides where it is f32. */
static weft_status prepare_side(weft_operand *operand, const weft_cpu *cpu, weft_step *step,
                                uint32_t input, int64_t *strides, size_t *row_stride,
                                weft_error *error) {
  const weft_array *array = step->inputs[input];
  weft_array read = *array;
  operand->array = array;
  if (array->dtype != WEFT_F32) {
    WEFT_TRY(weft_operand_prepare(operand, cpu, step, array, 0, NULL, error));
    WEFT_TRY(weft_operand_require_f32(operand, error));
    weft_array_set_dense(&read);
  }
  strides[0] = read.strides[0];
  strides[1] = read.strides[1];
  *row_stride = read.dims[2] > 1 ? (size_t)read.strides[2] : 0;
  return WEFT_OK;
}

/* Strides of the mask against [batch, head, query, key]; it is staged where a row is not dense over
 * the keys. */
static weft_status prepare_mask(attention_state *state, const weft_cpu *cpu, weft_step *step,
                                weft_error *error) {
  const weft_array *mask = weft_step_input(step, MASK);
  if (mask == NULL) return WEFT_OK;
  weft_array read = *mask;
  state->mask.array = mask;
  int32_t last = mask->rank - 1;
  bool rows_dense = mask->rank > 0 && (uint64_t)mask->dims[last] == state->keys &&
                    (state->keys == 1 || mask->strides[last] == 1);
  for (int32_t i = 0; i < last; i++) rows_dense = rows_dense && mask->strides[i] >= 0;
  if (mask->dtype != WEFT_F32 || !rows_dense) {
    if (mask->rank == 0) read.rank = 1, last = 0;
    read.dims[last] = (int64_t)state->keys;
    WEFT_TRY(weft_operand_prepare(&state->mask, cpu, step, mask, read.rank, read.dims, error));
    WEFT_TRY(weft_operand_require_f32(&state->mask, error));
    weft_array_set_dense(&read);
  }
  int64_t strides[4];
  weft_broadcast_strides(&read, 4, strides);
  state->mask_strides[0] = strides[0];
  state->mask_strides[1] = strides[1];
  state->args.mask_head_stride = (size_t)strides[1];
  state->args.mask_stride = (size_t)strides[2];
  return WEFT_OK;
}

static weft_status prepare_inputs(attention_state *state, const weft_cpu *cpu, weft_step *step,
                                  weft_error *error) {
  weft_attention_f32_args *args = &state->args;
  WEFT_TRY(prepare_side(&state->q, cpu, step, Q, state->strides[Q], &args->q_stride, error));
  WEFT_TRY(prepare_side(&state->k, cpu, step, K, state->strides[K], &args->k_stride, error));
  WEFT_TRY(prepare_side(&state->v, cpu, step, V, state->strides[V], &args->v_stride, error));
  args->q_head_stride = (size_t)state->strides[Q][1];
  WEFT_TRY(prepare_mask(state, cpu, step, error));
  state->lengths = weft_step_input(step, LENGTHS);
  const weft_array *sink = weft_step_input(step, SINK);
  if (sink != NULL) {
    int64_t heads = (int64_t)(state->groups * state->shared);
    WEFT_TRY(weft_operand_prepare(&state->sink, cpu, step, sink, 1, &heads, error));
    WEFT_TRY(weft_operand_require_f32(&state->sink, error));
  }
  return weft_result_prepare(&state->result, cpu, step, error);
}

/* Output [B,H,S,E], or [B,S,H,E]. */
static void set_output_strides(attention_state *state, bool heads_last) {
  int64_t heads = (int64_t)(state->groups * state->shared), queries = (int64_t)state->queries;
  int64_t size = (int64_t)state->args.value_size;
  state->out_strides[0] = heads * queries * size;
  state->out_strides[1] = heads_last ? size : queries * size;
  state->args.out_head_stride = (size_t)state->out_strides[1];
  state->args.out_stride = (size_t)(heads_last ? heads * size : size);
}

/* Cuts the rows of a group into blocks and, if they are but one, the keys into parts. */
static void set_blocks(attention_state *state, weft_step *step) {
  uint64_t most = state->kernels->attention_rows, rows = state->shared * state->queries;
  state->query_blocks = (state->queries + most - 1) / most;
  state->head_blocks = state->shared;
  if (state->query_blocks == 1) {
    uint64_t heads = most / state->queries;
    state->head_blocks = (state->shared + heads - 1) / heads;
  }
  state->args.queries = (size_t)weft_min_u64(most, state->queries);
  state->args.heads = (size_t)((state->shared + state->head_blocks - 1) / state->head_blocks);
  state->parts = 1;
  state->part_keys = state->keys > 0 ? state->keys : 1;
  if (rows > most || state->keys <= PART_KEYS) return;
  state->part_keys = (state->keys + PARTS_MAX - 1) / PARTS_MAX;
  if (state->part_keys < PART_KEYS) state->part_keys = PART_KEYS;
  state->parts = (state->keys + state->part_keys - 1) / state->part_keys;
  uint64_t sums = state->parts * rows_of(state) * sizeof(float);
  state->partial = weft_cpu_scratch(step, sums * state->args.value_size);
  state->log_sums = weft_cpu_scratch(step, sums);
}

/* Pairs of a query and a key that it sees, of one head. */
static double count_pairs(const attention_state *state) {
  double queries = (double)state->queries, keys = (double)state->keys;
  double seen = queries * keys, window = (double)state->args.window;
  if (state->args.causal && queries <= keys) seen -= queries * (queries - 1) / 2;
  if (state->args.causal && queries > keys) seen = keys * (keys + 1) / 2;
  return window > 0 && queries * window < seen ? queries * window : seen;
}

static void prepare_work(attention_state *state, const weft_cpu *cpu, weft_step *step) {
  const weft_attention_f32_args *args = &state->args;
  double sizes = (double)(args->head_size + args->value_size);
  uint64_t items = state->batches * state->groups * state->head_blocks * state->query_blocks;
  step->flops =
      2.0 * count_pairs(state) * (double)(state->batches * state->groups * state->shared) * sizes;
  step->bytes =
      (double)(state->batches * state->groups * state->keys) * sizes * (double)sizeof(float);
  items *= state->parts;
  double nanoseconds =
      step->flops / 20.0 > step->bytes / 10.0 ? step->flops / 20.0 : step->bytes / 10.0;
  weft_work_prepare(&state->work, cpu, step, run_blocks, items, nanoseconds / (double)items + 100.0,
                    cpu->kernels->attention_scratch(args) * sizeof(float));
  if (state->parts > 1)
    weft_work_prepare(&state->join, cpu, step, join_rows, rows_of(state),
                      0.2 * (double)(state->parts * args->value_size) + 50.0, 0);
}

weft_status weft_cpu_prepare_attention(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                       weft_error *error) {
  attention_state *state = WEFT_ARENA_NEW(arena, attention_state);
  if (state == NULL) return weft_arena_fail(arena, "attention", error);
  const weft_array *q = step->inputs[Q], *k = step->inputs[K], *v = step->inputs[V];
  const weft_attributes *attributes = &step->node->attributes;
  weft_attention_f32_args *args = &state->args;
  state->kernels = cpu->kernels;
  state->batches = (uint64_t)q->dims[0];
  state->groups = (uint64_t)k->dims[1];
  state->shared = (uint64_t)q->dims[1] / state->groups;
  state->queries = (uint64_t)q->dims[2];
  state->keys = (uint64_t)k->dims[2];
  if (state->queries + state->keys > PTRDIFF_MAX)
    return weft_fail(error, WEFT_UNSUPPORTED, "attention over %lld keys", (long long)k->dims[2]);
  args->keys = (size_t)state->keys;
  args->head_size = (size_t)q->dims[3];
  args->value_size = (size_t)v->dims[3];
  args->scale = attributes->attention.scale;
  args->softcap = attributes->attention.softcap;
  args->causal = attributes->attention.causal;
  if ((uint64_t)attributes->attention.window < state->queries + state->keys)
    args->window = (size_t)attributes->attention.window; /* else it hides nothing */
  WEFT_TRY(prepare_inputs(state, cpu, step, error));
  set_output_strides(state, attributes->attention.heads_last);
  set_blocks(state, step);
  prepare_work(state, cpu, step);
  step->state = state;
  step->run = run_attention;
  step->kernel = "attention";
  return WEFT_OK;
}
