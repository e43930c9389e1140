/* plan_memory.c - last part of the planner: lays blocks and scratch out in one arena by their
 * lifetimes.
 *
 * A linear scan in execution order: each block takes the smallest free gap that holds it, and gives
 * its bytes back after its last reader. Steps that may write over an input that dies with them
 * share its block first. */
#include "plan/planner.h"

typedef struct gap {
  uint64_t offset, bytes;
} gap;

/* The free bytes of the arena below `end`, by offset, never touching each other. */
typedef struct gap_list {
  weft_arena *arena;
  gap *gaps;
  uint32_t count;
  uint64_t end;
} gap_list;

static void remove_gap(gap_list *list, uint32_t index) {
  list->count--;
  memmove(list->gaps + index, list->gaps + index + 1, (list->count - index) * sizeof(gap));
}

static weft_status take(gap_list *list, uint64_t bytes, uint64_t *offset) {
  uint32_t best = UINT32_MAX;
  if (bytes == 0) return WEFT_OK;
  for (uint32_t i = 0; i < list->count; i++) {
    if (list->gaps[i].bytes < bytes) continue;
    if (best == UINT32_MAX || list->gaps[i].bytes < list->gaps[best].bytes) best = i;
  }
  if (best != UINT32_MAX) {
    *offset = list->gaps[best].offset;
    list->gaps[best].offset += bytes;
    list->gaps[best].bytes -= bytes;
    if (list->gaps[best].bytes == 0) remove_gap(list, best);
    return WEFT_OK;
  }
  /* Grow, from the last gap if that one reaches the end. */
  *offset = list->end;
  if (list->count > 0) {
    gap last = list->gaps[list->count - 1];
    if (last.offset + last.bytes == list->end) {
      *offset = last.offset;
      list->count--;
    }
  }
  return weft_add_u64(*offset, bytes, &list->end) ? WEFT_OK : WEFT_LIMIT_EXCEEDED;
}

static weft_status give_back(gap_list *list, uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return WEFT_OK;
  uint32_t low = 0, high = list->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (list->gaps[middle].offset < offset)
      low = middle + 1;
    else
      high = middle;
  }
  gap *before = low > 0 ? &list->gaps[low - 1] : NULL;
  gap *after = low < list->count ? &list->gaps[low] : NULL;
  bool joins_before = before && before->offset + before->bytes == offset;
  bool joins_after = after && offset + bytes == after->offset;
  if (joins_before) {
    before->bytes += bytes + (joins_after ? after->bytes : 0);
    if (joins_after) remove_gap(list, low);
  } else if (joins_after) {
    after->offset = offset;
    after->bytes += bytes;
  } else {
    const gap *added = WEFT_ARENA_PUSH(list->arena, list->gaps, list->count);
    if (!added) return WEFT_OUT_OF_MEMORY;
    memmove(list->gaps + low + 1, list->gaps + low, (list->count - 1 - low) * sizeof(gap));
    list->gaps[low] = (gap){offset, bytes};
  }
  return WEFT_OK;
}

/* ---- in-place steps -------------------------------------------------------------------------- */

static bool same_layout(const weft_array *a, const weft_array *b) {
  return a->elements == b->elements && weft_dtype_size(a->dtype) == weft_dtype_size(b->dtype) &&
         a->offset == 0 && weft_array_is_dense(a) && weft_array_is_dense(b);
}

/* May the step's output take over the block of its input number `index`? Only a map reads each
 * element before it writes it, and only if nobody else reads the block any more, nor this step in
 * another order. */
static bool may_overwrite(const weft_planner *planner, const weft_step *step, uint32_t number,
                          uint32_t index) {
  const weft_array *input = step->inputs[index], *output = step->outputs[0];
  if (!input || weft_block_of(input) == WEFT_BLOCK_NONE || !same_layout(input, output))
    return false;
  uint32_t id = weft_block_of(input);
  const weft_block *block = &planner->blocks[id];
  if (block->slot != WEFT_SLOT_ARENA || block->last != number) return false;
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *other = step->inputs[i];
    if (other && other != input && weft_block_of(other) == id && !same_layout(other, output))
      return false;
  }
  return true;
}

static void merge_in_place(weft_planner *planner) {
  for (uint32_t s = 0; s < planner->plan->step_count; s++) {
    const weft_step *step = &planner->plan->steps[s];
    if (step->is_copy || step->node->op != WEFT_OP_MAP) continue;
    weft_block *output = &planner->blocks[weft_block_of(step->outputs[0])];
    if (output->slot != WEFT_SLOT_ARENA) continue;
    for (uint32_t i = 0; i < step->input_count; i++) {
      if (!may_overwrite(planner, step, s, i)) continue;
      output->merged = weft_root_block(planner, weft_block_of(step->inputs[i]));
      weft_block *root = &planner->blocks[output->merged];
      if (output->last > root->last) root->last = output->last;
      break;
    }
  }
}

/* ---- the scan -------------------------------------------------------------------------------- */

/* Block numbers by their last step: heads[step] starts a chain through next[]. */
typedef struct endings {
  uint32_t *heads, *next;
} endings;

static weft_status list_endings(weft_planner *planner, endings *out) {
  weft_arena *scratch = &planner->scratch;
  out->heads = WEFT_ARENA_ARRAY(scratch, uint32_t, planner->plan->step_count + 1);
  out->next = WEFT_ARENA_ARRAY(scratch, uint32_t, planner->block_count + 1);
  if (!out->heads || !out->next) return weft_planner_no_memory(planner);
  memset(out->heads, 0xff, (planner->plan->step_count + 1) * sizeof(uint32_t));
  for (uint32_t b = 0; b < planner->block_count; b++) {
    const weft_block *block = &planner->blocks[b];
    if (block->slot != WEFT_SLOT_ARENA || block->merged != WEFT_BLOCK_NONE) continue;
    out->next[b] = out->heads[block->last];
    out->heads[block->last] = b;
  }
  return WEFT_OK;
}

static uint64_t arena_bytes(const weft_block *block) {
  return weft_align_up(block->bytes, WEFT_ALIGNMENT);
}

static weft_status scan_step(weft_planner *planner, gap_list *list, const endings *ends, uint32_t s,
                             uint32_t *next_block, uint64_t *live) {
  weft_step *step = &planner->plan->steps[s];
  uint64_t scratch_bytes = weft_align_up(step->scratch_bytes, WEFT_ALIGNMENT);
  for (; *next_block < planner->block_count && planner->blocks[*next_block].first == s;
       (*next_block)++) {
    weft_block *block = &planner->blocks[*next_block];
    if (block->slot != WEFT_SLOT_ARENA || block->merged != WEFT_BLOCK_NONE) continue;
    WEFT_TRY(take(list, arena_bytes(block), &block->offset));
    *live += arena_bytes(block);
  }
  WEFT_TRY(take(list, scratch_bytes, &step->scratch_offset));
  if (*live + scratch_bytes > planner->plan->arena_bytes_live) {
    planner->plan->arena_bytes_live = *live + scratch_bytes;
  }
  WEFT_TRY(give_back(list, step->scratch_offset, scratch_bytes));
  for (uint32_t b = ends->heads[s]; b != UINT32_MAX; b = ends->next[b]) {
    const weft_block *block = &planner->blocks[b];
    WEFT_TRY(give_back(list, block->offset, arena_bytes(block)));
    *live -= arena_bytes(block);
  }
  return WEFT_OK;
}

weft_status weft_plan_memory(weft_planner *planner) {
  weft_plan *plan = planner->plan;
  merge_in_place(planner);
  for (uint32_t s = 0; s < plan->step_count; s++) {
    WEFT_TRY(
        planner->device->prepare(planner->device, &plan->steps[s], &plan->arena, planner->error));
  }
  endings ends;
  WEFT_TRY(list_endings(planner, &ends));
  gap_list list = {.arena = &planner->scratch};
  uint32_t next_block = 0;
  uint64_t live = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) {
    weft_status status = scan_step(planner, &list, &ends, s, &next_block, &live);
    if (status != WEFT_OK)
      return weft_fail(planner->error, status, "the activations are too large to be laid out");
  }
  plan->arena_bytes = list.end;
  for (weft_planned *planned = planner->planned; planned; planned = planned->next) {
    if (planned->block == WEFT_BLOCK_NONE) continue;
    const weft_block *block = &planner->blocks[weft_root_block(planner, planned->block)];
    planned->array.slot = block->slot;
    planned->array.offset += block->offset;
  }
  return WEFT_OK;
}
