/* quantize.c - the op `quantize_dynamic`: numbers to codes, with the scale and the zero that their
 * range asks for (ONNX DynamicQuantizeLinear). The way back is in dequantize.c. */
#include "cpu/operand.h"

#define TILE           4096
#define NS_PER_ELEMENT 0.6 /* of one thread, roughly */

typedef struct quantize {
  weft_operand x;
  const weft_kernels *kernels;
  const weft_array *outputs[3]; /* codes, scale, zero; NULL: not wanted */
  weft_work work;
} quantize;

typedef struct quantize_run {
  const float *x;
  uint8_t *codes;
  uint64_t count;
  float scale, zero;
} quantize_run;

/* To the nearest whole number, ties to the even one, for |x| < 2^22. */
static float whole(float x) {
  return x + 0x1.8p23f - 0x1.8p23f;
}

/* NaN gives `low`. */
static float clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

/* The range that must be held contains 0, so that 0 is exact. */
static void choose_scale(const weft_kernels *kernels, quantize_run *run) {
  float low = 0, high = 0;
  if (run->count > 0) {
    low = kernels->minimum_f32((size_t)run->count, run->x);
    high = kernels->maximum_f32((size_t)run->count, run->x);
  }
  low = low < 0 ? low : 0;
  high = high > 0 ? high : 0;
  run->scale = low < high ? (high - low) / 255 : 1;
  run->zero = whole(clamp(-low / run->scale, 0, 255));
}

static weft_status run_tiles(const void *context, uint64_t begin, uint64_t end, uint8_t *scratch,
                             weft_error *error) {
  (void)scratch, (void)error;
  const quantize_run *run = context;
  uint64_t last = weft_min_u64(end * TILE, run->count);
  for (uint64_t i = begin * TILE; i < last; i++) {
    float code = whole(clamp(run->x[i] / run->scale, -512, 512)) + run->zero;
    run->codes[i] = (uint8_t)clamp(code, 0, 255);
  }
  return WEFT_OK;
}

static weft_status run_quantize(const weft_step *step, const weft_execution *execution,
                                weft_error *error) {
  const quantize *op = step->state;
  quantize_run run = {.x = weft_operand_data(&op->x, step, execution),
                      .codes = weft_array_data(execution, op->outputs[0]),
                      .count = op->x.elements};
  choose_scale(op->kernels, &run);
  uint8_t zero = (uint8_t)run.zero;
  if (op->outputs[1] != NULL)
    memcpy(weft_array_data(execution, op->outputs[1]), &run.scale, sizeof run.scale);
  if (op->outputs[2] != NULL)
    memcpy(weft_array_data(execution, op->outputs[2]), &zero, sizeof zero);
  return weft_work_run(&op->work, step, execution, &run, error);
}

weft_status weft_cpu_prepare_quantize_dynamic(const weft_cpu *cpu, weft_step *step,
                                              weft_arena *arena, weft_error *error) {
  quantize *op = WEFT_ARENA_NEW(arena, quantize);
  if (op == NULL) return weft_arena_fail(arena, "quantize_dynamic", error);
  op->kernels = cpu->kernels;
  WEFT_TRY(weft_operand_prepare(&op->x, cpu, step, step->inputs[0], 0, NULL, error));
  WEFT_TRY(weft_operand_require_f32(&op->x, error));
  for (uint32_t i = 0; i < step->output_count; i++) op->outputs[i] = step->outputs[i];
  weft_work_prepare(&op->work, cpu, step, run_tiles, (op->x.elements + TILE - 1) / TILE,
                    TILE * NS_PER_ELEMENT, 0);
  step->run = run_quantize;
  step->state = op;
  step->kernel = "quantize";
  return WEFT_OK;
}
