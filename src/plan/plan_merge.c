/* plan_merge.c - between the steps and their memory: steps whose result is read by one other step
 * alone, which the device can do together, become parts of that (a norm, of the product that reads
 * it). They stay in the list, and do nothing. */
#include "plan/planner.h"

/* How many steps behind a step its reader may be: so that looking for readers takes no time that
 * grows with the graph. */
#define REACH 8u

/* The step that does the work of `reader`. */
static const weft_step *whole_of(const weft_step *reader) {
  return reader->into ? reader->into : reader;
}

/* How many inputs lie in the block, and which is the last. */
static uint32_t count_reads(const weft_step *step, uint32_t block, uint32_t *input) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < step->input_count; i++) {
    if (!step->inputs[i] || weft_block_of(step->inputs[i]) != block) continue;
    *input = i;
    count++;
  }
  return count;
}

/* The one step that does the work of all that read the result of step number `number`, and can do
 * that one's as well; NULL: there is none. */
static weft_step *find_whole(const weft_planner *planner, uint32_t number, uint32_t *input) {
  weft_step *steps = planner->plan->steps, *step = &steps[number];
  if (!step->on_device || step->is_copy || step->output_count != 1 || step->part_count > 0)
    return NULL;
  uint32_t id = weft_block_of(step->outputs[0]);
  if (id == WEFT_BLOCK_NONE) return NULL;
  const weft_block *block = &planner->blocks[id];
  if (block->slot != WEFT_SLOT_ARENA || block->last <= number || block->last - number > REACH)
    return NULL;
  weft_step *whole = &steps[block->last]; /* parts stand before it */
  if (whole->part_count == WEFT_STEP_PARTS) return NULL;
  for (uint32_t i = number + 1; i <= block->last; i++) {
    const weft_step *reader = &steps[i];
    uint32_t reads = count_reads(reader, id, input);
    if (reads == 0) continue;
    bool fits = reads == 1 && reader->on_device && !reader->is_copy && whole_of(reader) == whole;
    if (!fits || !planner->device->merges(planner->device, step, reader, *input)) return NULL;
  }
  return whole;
}

/* What the part reads lives until the whole has run. */
static void merge(weft_planner *planner, weft_step *step, weft_step *whole, uint32_t input) {
  uint32_t number = (uint32_t)(whole - planner->plan->steps);
  step->into = whole;
  whole->parts[whole->part_count++] = (weft_part){step, input};
  planner->blocks[weft_block_of(step->outputs[0])].unused = true;
  for (uint32_t i = 0; i < step->input_count; i++) {
    uint32_t id = step->inputs[i] ? weft_block_of(step->inputs[i]) : WEFT_BLOCK_NONE;
    if (id != WEFT_BLOCK_NONE && planner->blocks[id].last < number)
      planner->blocks[id].last = number;
  }
}

/* From the last step to the first, so that what reads a step is settled before it. */
void weft_plan_merge(weft_planner *planner) {
  if (!planner->device->merges) return;
  for (uint32_t i = planner->plan->step_count; i-- > 0;) {
    uint32_t input;
    weft_step *whole = find_whole(planner, i, &input);
    if (whole) merge(planner, &planner->plan->steps[i], whole, input);
  }
}
