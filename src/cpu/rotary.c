/* rotary.c - the op `rotary`: rows as items, each one call of the kernel with the cosines and sines
 * of its position. */
#include "cpu/operand.h"

enum { X, COSINES, SINES, POSITIONS };

typedef struct rotary_state {
  weft_rotary_f32_fn *kernel;
  weft_operand x, cosines, sines; /* x staged where it is not f32 */
  const weft_array *positions;    /* NULL: cosines and sines are by token */
  weft_result result;
  uint64_t heads, tokens, size, turned;
  uint64_t table;           /* rows of cosines and sines, when there are positions */
  int64_t strides[3];       /* of x: batch, head, token */
  int64_t token_strides[3]; /* of positions, or of cosines and sines: batch, token, angle */
  weft_work work;
} rotary_state;

typedef struct rotary_run {
  const rotary_state *state;
  const float *x, *cosines, *sines;
  const uint8_t *positions;
  float *y;
} rotary_run;

bool weft_cpu_takes_rotary(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node;
  return input == X && array->dtype == WEFT_F32 && (array->dims[3] == 1 || array->strides[3] == 1);
}

/* Where the cosines and sines of a token begin. */
static weft_status find_angles(const rotary_run *run, uint64_t batch, uint64_t token, uint64_t *out,
                               weft_error *error) {
  const rotary_state *state = run->state;
  *out = batch * (uint64_t)state->token_strides[0] + token * (uint64_t)state->token_strides[1];
  if (state->positions == NULL) return WEFT_OK;
  int64_t position = ((const int64_t *)(const void *)run->positions)[*out];
  *out = (uint64_t)position * (state->turned / 2);
  if ((uint64_t)position < state->table) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_DATA,
                   "position %lld of token %llu in sequence %llu: there are angles for %llu",
                   (long long)position, (unsigned long long)token, (unsigned long long)batch,
                   (unsigned long long)state->table);
}

static weft_status turn_rows(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                             weft_error *error) {
  (void)scratch;
  const rotary_run *run = context;
  const rotary_state *state = run->state;
  uint64_t half = state->turned / 2, rest = (state->size - state->turned) * sizeof(float);
  for (uint64_t row = begin; row < end; row++) {
    uint64_t token = row % state->tokens, head = row / state->tokens % state->heads, angles = 0;
    uint64_t batch = row / state->tokens / state->heads;
    WEFT_TRY(find_angles(run, batch, token, &angles, error));
    const float *x = run->x + (int64_t)batch * state->strides[0] +
                     (int64_t)head * state->strides[1] + (int64_t)token * state->strides[2];
    float *y = run->y + row * state->size;
    state->kernel((size_t)half, x, run->cosines + angles, run->sines + angles, y);
    if (rest > 0)
      weft_copy_run((uint8_t *)(y + state->turned), (const uint8_t *)(x + state->turned),
                    (size_t)rest);
  }
  return WEFT_OK;
}

static weft_status run_rotary(const weft_step *step, const weft_execution *execution,
                              weft_error *error) {
  const rotary_state *state = step->state;
  rotary_run run = {.state = state,
                    .x = weft_operand_data(&state->x, step, execution),
                    .cosines = weft_operand_data(&state->cosines, step, execution),
                    .sines = weft_operand_data(&state->sines, step, execution),
                    .y = weft_result_data(&state->result, step, execution)};
  if (state->positions != NULL) run.positions = weft_array_data(execution, state->positions);
  WEFT_TRY(weft_work_run(&state->work, step, execution, &run, error));
  weft_result_finish(&state->result, step, execution);
  return WEFT_OK;
}

/* Dense they are. */
static void prepare_tokens(rotary_state *state, const weft_step *step) {
  weft_array angles = *step->inputs[COSINES];
  state->table = (uint64_t)angles.dims[0];
  state->positions = weft_step_input(step, POSITIONS);
  weft_array_set_dense(&angles);
  if (state->positions != NULL)
    weft_broadcast_strides(state->positions, 2, state->token_strides);
  else
    weft_broadcast_strides(&angles, 3, state->token_strides);
}

static weft_status prepare_f32(weft_operand *operand, const weft_cpu *cpu, weft_step *step,
                               uint32_t input, weft_error *error) {
  WEFT_TRY(weft_operand_prepare(operand, cpu, step, step->inputs[input], 0, NULL, error));
  return weft_operand_require_f32(operand, error);
}

/* x is read in place by strides where it is f32. */
static weft_status prepare_x(rotary_state *state, const weft_cpu *cpu, weft_step *step,
                             weft_error *error) {
  weft_array read = *step->inputs[X];
  state->x.array = step->inputs[X];
  if (read.dtype != WEFT_F32) {
    WEFT_TRY(prepare_f32(&state->x, cpu, step, X, error));
    weft_array_set_dense(&read);
  }
  for (int i = 0; i < 3; i++) state->strides[i] = read.strides[i];
  return WEFT_OK;
}

weft_status weft_cpu_prepare_rotary(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  rotary_state *state = WEFT_ARENA_NEW(arena, rotary_state);
  if (state == NULL) return weft_arena_fail(arena, "a rotary embedding", error);
  const weft_array *x = step->inputs[X], *cosines = step->inputs[COSINES];
  bool interleaved = step->node->attributes.rotary.interleaved;
  state->kernel =
      interleaved ? cpu->kernels->rotary_interleaved_f32 : cpu->kernels->rotary_halves_f32;
  state->heads = (uint64_t)x->dims[1];
  state->tokens = (uint64_t)x->dims[2];
  state->size = (uint64_t)x->dims[3];
  state->turned = 2 * (uint64_t)cosines->dims[cosines->rank - 1];
  prepare_tokens(state, step);
  WEFT_TRY(prepare_x(state, cpu, step, error));
  WEFT_TRY(prepare_f32(&state->cosines, cpu, step, COSINES, error));
  WEFT_TRY(prepare_f32(&state->sines, cpu, step, SINES, error));
  WEFT_TRY(weft_result_prepare(&state->result, cpu, step, error));
  weft_work_prepare(&state->work, cpu, step, turn_rows, weft_extent(x->dims, 0, 3),
                    0.3 * (double)state->size + 10.0, 0);
  step->state = state;
  step->run = run_rotary;
  step->kernel = interleaved ? "rotary-interleaved" : "rotary-halves";
  return WEFT_OK;
}
