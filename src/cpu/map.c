/* map.c - the op `map`: an elementwise expression over broadcast inputs, as a program over chunks
 * of the output. */
#include "cpu/program.h"

#define CHUNK 8192 /* elements: some 32 KiB per array */

typedef struct map_state {
  weft_program program;
  weft_work work;
  uint64_t elements;
} map_state;

typedef struct map_run {
  const map_state *state;
  const uint8_t *sources[WEFT_EXPR_INPUTS_MAX];
  uint8_t *output;
} map_run;

static weft_status run_chunks(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                              weft_error *error) {
  const map_run *run = context;
  const weft_program *program = &run->state->program;
  uint64_t first = begin * CHUNK, count = weft_min_u64(end * CHUNK, run->state->elements) - first;
  uint8_t *y = run->output + first * program->stored_size;
  if (program->plain) return weft_program_run_plain(program, run->sources, first, count, y, error);
  weft_tiles tiles;
  weft_tiles_init(&tiles, program, run->sources, scratch);
  return weft_tiles_run(&tiles, first, count, NULL, y, error);
}

static weft_status run_map(const weft_step *step, const weft_execution *execution,
                           weft_error *error) {
  map_run run = {.state = step->state};
  for (uint32_t i = 0; i < step->input_count; i++)
    run.sources[i] = weft_array_data(execution, step->inputs[i]);
  run.output = weft_array_data(execution, step->outputs[0]);
  return weft_work_run(&run.state->work, step, execution, &run, error);
}

/* Nanoseconds for one element, roughly: enough to decide on threads. */
static double cost_of(const weft_expr *expr, bool gathers) {
  double cost = 0.2 * (1 + expr->input_count) + (gathers ? 1.0 : 0.0);
  for (uint32_t i = 0; i < expr->code_count; i++)
    cost += expr->code[i].op >= WEFT_EXPR_EXP ? 1.0 : 0.2;
  return cost;
}

weft_status weft_cpu_prepare_map(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                 weft_error *error) {
  const weft_array *output = step->outputs[0];
  const weft_expr *expr = &step->node->attributes.map.expr;
  map_state *state = WEFT_ARENA_NEW(arena, map_state);
  if (state == NULL) return weft_arena_fail(arena, "a map", error);
  weft_nest nest;
  weft_nest_init(&nest, output->rank, output->dims);
  for (uint32_t i = 0; i < step->input_count; i++)
    weft_nest_add(&nest, step->inputs[i]->rank, step->inputs[i]->dims, step->inputs[i]->strides);
  weft_nest_collapse(&nest);
  WEFT_TRY(weft_program_make(&state->program, cpu->kernels, expr, output->dtype, &nest, false,
                             arena, error));
  state->elements = output->elements;
  weft_work_prepare(&state->work, cpu, step, run_chunks, (state->elements + CHUNK - 1) / CHUNK,
                    cost_of(expr, state->program.has_rows) *
                        (double)weft_min_u64(CHUNK, state->elements),
                    state->program.scratch_bytes);
  step->state = state;
  step->run = run_map;
  step->kernel = state->program.has_rows ? "map-broadcast" : "map";
  return WEFT_OK;
}
