/* plan_check.h - goes through a plan's steps over a shadow of the memory that says who wrote each
 * byte last: every step must find its inputs as they were written. */
#ifndef WEFT_TESTS_PLAN_CHECK_H
#define WEFT_TESTS_PLAN_CHECK_H

#include "plan/planner.h"
#include "tests/unit/opt_build.h"

enum { SHADOW_FREE = -1, SHADOW_SCRATCH = -2 };

/* By slot: who wrote each byte, a block's number or one of the above. */
typedef struct shadow {
  const weft_plan *plan;
  int32_t *bytes[130];
  uint64_t size[130];
  bool good;
} shadow;

static inline void shadow_open(shadow *s, const weft_plan *plan) {
  *s = (shadow){.plan = plan, .good = true};
  for (uint32_t i = 0; i <= plan->input_count + plan->output_count; i++) {
    const weft_array *output =
        i > plan->input_count ? plan->outputs[i - 1 - plan->input_count] : NULL;
    if (i == 0) s->size[i] = plan->arena_bytes;
    if (output) s->size[i] = output->elements * weft_dtype_size(output->dtype);
    s->bytes[i] = malloc((s->size[i] + 1) * sizeof(int32_t));
    for (uint64_t k = 0; k < s->size[i]; k++) s->bytes[i][k] = SHADOW_FREE;
  }
}
static inline void shadow_close(shadow *s) {
  for (int i = 0; i < 130; i++) free(s->bytes[i]);
}

/* Writes `who` over a range, or checks that it stands there. */
static inline void shadow_touch(shadow *s, uint32_t slot, uint64_t at, uint64_t bytes, int32_t who,
                                bool write) {
  if (at > s->size[slot] || bytes > s->size[slot] - at) {
    s->good = false;
    return;
  }
  for (uint64_t i = at; i < at + bytes; i++) {
    if (write) s->bytes[slot][i] = who;
    s->good &= s->bytes[slot][i] == who;
  }
}

static inline void shadow_array(shadow *s, const weft_array *array, bool write) {
  if (!array || array->constant || (array->slot && array->slot <= s->plan->input_count)) return;
  size_t size = weft_dtype_size(array->dtype);
  for (uint64_t i = 0; i < array->elements; i++) {
    uint64_t rest = i, at = array->offset;
    for (int32_t d = array->rank - 1; d >= 0; d--) {
      at += rest % (uint64_t)array->dims[d] * (uint64_t)array->strides[d] * size;
      rest /= (uint64_t)array->dims[d];
    }
    shadow_touch(s, array->slot, at, size, (int32_t)weft_block_of(array), write);
  }
}

/* A step may write over an input only element by element: else what one thread has still to read
 * would go. */
static inline bool lie_apart_or_equal(const weft_array *input, const weft_array *output) {
  int64_t low = 0, high = 0;
  if (input->constant || input->slot != output->slot || !input->elements) return true;
  for (int32_t d = 0; d < input->rank; d++) {
    int64_t reach = (input->dims[d] - 1) * input->strides[d];
    *(reach < 0 ? &low : &high) += reach;
  }
  int64_t size = (int64_t)weft_dtype_size(input->dtype), at = (int64_t)input->offset;
  int64_t begin = (int64_t)output->offset;
  int64_t end = begin + (int64_t)(output->elements * weft_dtype_size(output->dtype));
  if (at + (high + 1) * size <= begin || at + low * size >= end) return true;
  return at == begin && weft_array_is_dense(input) && input->elements == output->elements;
}

static inline void shadow_step(shadow *s, const weft_step *step) {
  for (uint32_t i = 0; i < step->input_count; i++)
    s->good &= !step->inputs[i] || lie_apart_or_equal(step->inputs[i], step->outputs[0]);
  for (uint32_t i = 0; i < step->input_count; i++) shadow_array(s, step->inputs[i], false);
  shadow_touch(s, 0, step->scratch_offset, step->scratch_bytes, SHADOW_SCRATCH, true);
  for (uint32_t i = 0; i < step->input_count; i++) shadow_array(s, step->inputs[i], false);
  for (uint32_t i = 0; i < step->output_count; i++) shadow_array(s, step->outputs[i], true);
  shadow_touch(s, 0, step->scratch_offset, step->scratch_bytes, SHADOW_SCRATCH, false);
}

/* Every step finds what was written for it, inside of the memory there is, and so do the outputs.
 */
static inline bool plan_is_sound(const weft_plan *plan) {
  shadow s;
  shadow_open(&s, plan);
  for (uint32_t i = 0; i < plan->step_count; i++) shadow_step(&s, &plan->steps[i]);
  for (uint32_t i = 0; i < plan->output_count; i++) {
    if (plan->outputs[i]) shadow_array(&s, plan->outputs[i], false);
  }
  shadow_close(&s);
  return s.good && plan->arena_bytes_live <= plan->arena_bytes;
}

#endif
