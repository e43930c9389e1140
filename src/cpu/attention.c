/* attention.c - the op `attention`: blocks of query rows of every head as items, each one call of
 * the kernel. */
#include "cpu/operand.h"

typedef struct attention_state {
  const weft_kernels *kernels;
  weft_operand q, k, v,
      mask; /* staged where their type is not f32; the mask also where its rows are not dense */
  weft_result result;
  weft_attention_f32_args args; /* what is the same for all items */
  uint64_t heads, queries, blocks;
  int64_t strides[3][2], out_strides[2]; /* of q, k, v: batch, head */
  int64_t mask_strides[3];               /* batch, head, query */
  weft_work work;
} attention_state;

typedef struct attention_run {
  const attention_state *state;
  const float *q, *k, *v, *mask;
  float *out;
} attention_run;

bool weft_cpu_takes_attention(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  if (array->dtype != WEFT_F32) return false;
  if (input == 3) return true; /* the mask is staged if need be */
  for (int32_t i = 0; i < 4; i++)
    if (array->dims[i] > 1 && array->strides[i] < 0) return false;
  return array->dims[3] == 1 || array->strides[3] == 1;
}

/* ---- running -------------------------------------------------------------------------------- */

static weft_status run_blocks(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  (void)error;
  const attention_run *run = context;
  const attention_state *state = run->state;
  weft_attention_f32_args args = state->args;
  args.scratch = (float *)(void *)scratch;
  for (uint64_t item = begin; item < end; item++) {
    uint64_t block = item % state->blocks, rest = item / state->blocks;
    int64_t head = (int64_t)(rest % state->heads), batch = (int64_t)(rest / state->heads);
    uint64_t row = block * state->queries / state->blocks;
    args.rows = (size_t)((block + 1) * state->queries / state->blocks - row);
    args.q =
        run->q + batch * state->strides[0][0] + head * state->strides[0][1] + row * args.q_stride;
    args.k = run->k + batch * state->strides[1][0] + head * state->strides[1][1];
    args.v = run->v + batch * state->strides[2][0] + head * state->strides[2][1];
    if (run->mask != NULL)
      args.mask = run->mask + batch * state->mask_strides[0] + head * state->mask_strides[1] +
                  (int64_t)row * state->mask_strides[2];
    args.causal_offset = state->args.causal_offset + (size_t)row;
    args.out = run->out + batch * state->out_strides[0] + head * state->out_strides[1] +
               row * args.out_stride;
    state->kernels->attention_f32(&args);
  }
  return WEFT_OK;
}

static weft_status run_attention(const weft_step *step, const weft_execution *execution,
                                 weft_error *error) {
  const attention_state *state = step->state;
  attention_run run = {.state = state};
  run.q = weft_operand_data(&state->q, step, execution);
  run.k = weft_operand_data(&state->k, step, execution);
  run.v = weft_operand_data(&state->v, step, execution);
  if (state->mask.array != NULL) run.mask = weft_operand_data(&state->mask, step, execution);
  run.out = weft_result_data(&state->result, step, execution);
  WEFT_TRY(weft_work_run(&state->work, step, execution, &run, error));
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
  *row_stride = (size_t)read.strides[2];
  return WEFT_OK;
}

/* Strides of the mask against [batch, head, query, key]; it is staged where a row is not dense over
 * the keys. */
static weft_status prepare_mask(attention_state *state, const weft_cpu *cpu, weft_step *step,
                                uint64_t keys, weft_error *error) {
  const weft_array *mask = weft_step_input(step, 3);
  if (mask == NULL) return WEFT_OK;
  weft_array read = *mask;
  state->mask.array = mask;
  int32_t last = mask->rank - 1;
  bool rows_dense = mask->rank > 0 && (uint64_t)mask->dims[last] == keys &&
                    (keys == 1 || mask->strides[last] == 1);
  for (int32_t i = 0; i < last; i++) rows_dense = rows_dense && mask->strides[i] >= 0;
  if (mask->dtype != WEFT_F32 || !rows_dense) {
    if (mask->rank == 0) read.rank = 1, last = 0;
    read.dims[last] = (int64_t)keys;
    WEFT_TRY(weft_operand_prepare(&state->mask, cpu, step, mask, read.rank, read.dims, error));
    WEFT_TRY(weft_operand_require_f32(&state->mask, error));
    weft_array_set_dense(&read);
  }
  for (int32_t i = 0; i < 3; i++) {
    int32_t from = i - 4 + read.rank;
    state->mask_strides[i] = from >= 0 && read.dims[from] != 1 ? read.strides[from] : 0;
  }
  state->args.mask_stride = (size_t)state->mask_strides[2];
  return WEFT_OK;
}

static weft_status prepare_sides(attention_state *state, const weft_cpu *cpu, weft_step *step,
                                 weft_error *error) {
  weft_attention_f32_args *args = &state->args;
  WEFT_TRY(prepare_side(&state->q, cpu, step, 0, state->strides[0], &args->q_stride, error));
  WEFT_TRY(prepare_side(&state->k, cpu, step, 1, state->strides[1], &args->k_stride, error));
  WEFT_TRY(prepare_side(&state->v, cpu, step, 2, state->strides[2], &args->v_stride, error));
  WEFT_TRY(prepare_mask(state, cpu, step, (uint64_t)step->inputs[1]->dims[2], error));
  return weft_result_prepare(&state->result, cpu, step, error);
}

/* Output [B,H,S,E], or [B,S,H,E]. */
static void set_output_strides(attention_state *state, bool heads_last) {
  int64_t heads = (int64_t)state->heads, queries = (int64_t)state->queries;
  int64_t size = (int64_t)state->args.value_size;
  state->out_strides[0] = heads * queries * size;
  state->out_strides[1] = heads_last ? size : queries * size;
  state->args.out_stride = (size_t)(heads_last ? heads * size : size);
}

weft_status weft_cpu_prepare_attention(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                       weft_error *error) {
  attention_state *state = WEFT_ARENA_NEW(arena, attention_state);
  if (state == NULL) return weft_arena_fail(arena, "attention", error);
  const weft_array *q = step->inputs[0], *k = step->inputs[1], *v = step->inputs[2];
  uint64_t keys = (uint64_t)k->dims[2];
  state->kernels = cpu->kernels;
  state->heads = (uint64_t)q->dims[1];
  state->queries = (uint64_t)q->dims[2];
  state->args.keys = (size_t)keys;
  state->args.head_size = (size_t)q->dims[3];
  state->args.value_size = (size_t)v->dims[3];
  state->args.scale = step->node->attributes.attention.scale;
  state->args.causal = step->node->attributes.attention.causal;
  /* Its first queries would see no key, which the kernel's causal_offset cannot say. */
  if (state->args.causal && state->queries > keys)
    return weft_fail(error, WEFT_UNSUPPORTED, "causal attention with more queries than keys");
  state->args.causal_offset = state->args.causal ? (size_t)(keys - state->queries) : 0;
  WEFT_TRY(prepare_sides(state, cpu, step, error));
  set_output_strides(state, step->node->attributes.attention.heads_last);
  uint64_t most = cpu->kernels->attention_rows;
  state->blocks = (state->queries + most - 1) / most;
  state->args.rows = (size_t)weft_min_u64(most, state->queries);
  double pairs = (double)state->queries * (double)keys * (state->args.causal ? 0.5 : 1.0);
  uint64_t heads = (uint64_t)q->dims[0] * state->heads, items = heads * state->blocks;
  step->flops =
      2.0 * pairs * (double)heads * (double)(state->args.head_size + state->args.value_size);
  weft_work_prepare(&state->work, cpu, step, run_blocks, items,
                    step->flops / (double)items / 20.0 + 100.0,
                    cpu->kernels->attention_scratch(&state->args) * sizeof(float));
  step->state = state;
  step->run = run_attention;
  step->kernel = "attention";
  return WEFT_OK;
}
