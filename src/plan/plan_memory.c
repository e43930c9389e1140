/* plan_memory.c - last part of the planner: lays blocks and scratch out by their lifetimes, those
 * of the host in one arena, those of a device in pieces of a pool.
 *
 * A linear scan in execution order: each block takes the smallest free gap or piece that holds it,
 * and gives it back after its last reader. Steps of the host that may write over an input that dies
 * with them share its block first. */
#include "base/sort.h"
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

/* ---- the pool -------------------------------------------------------------------------------- */

/* Pieces that nobody uses at the moment, by size. */
typedef struct piece_list {
  weft_planner *planner;
  uint32_t *pieces;
  uint32_t count;
} piece_list;

/* The first free piece of at least so many bytes. */
static uint32_t find_piece(const piece_list *list, uint64_t bytes) {
  uint32_t low = 0, high = list->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (list->planner->plan->pool_bytes[list->pieces[middle]] < bytes)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static weft_status new_piece(const piece_list *list, uint64_t bytes, uint32_t *piece) {
  weft_plan *plan = list->planner->plan;
  uint64_t *added = WEFT_ARENA_PUSH(&plan->arena, plan->pool_bytes, plan->pool_count);
  if (!added) return WEFT_OUT_OF_MEMORY;
  *added = bytes;
  *piece = plan->pool_count - 1;
  return WEFT_OK;
}

/* What is written by the host is written at once, before the steps that were listed: nobody may
 * have had its piece. Where no free piece is large enough, the largest one grows. */
static weft_status take_piece(piece_list *list, uint64_t bytes, bool uploaded, uint32_t *piece) {
  if (uploaded || list->count == 0) return new_piece(list, bytes, piece);
  uint32_t place = find_piece(list, bytes);
  if (place == list->count) place--;
  *piece = list->pieces[place];
  list->count--;
  memmove(list->pieces + place, list->pieces + place + 1,
          (list->count - place) * sizeof *list->pieces);
  uint64_t *room = &list->planner->plan->pool_bytes[*piece];
  if (*room < bytes) *room = bytes;
  return WEFT_OK;
}

static weft_status give_piece_back(piece_list *list, uint32_t piece) {
  uint32_t place = find_piece(list, list->planner->plan->pool_bytes[piece]);
  const uint32_t *added = WEFT_ARENA_PUSH(&list->planner->scratch, list->pieces, list->count);
  if (!added) return WEFT_OUT_OF_MEMORY;
  memmove(list->pieces + place + 1, list->pieces + place,
          (list->count - 1 - place) * sizeof *list->pieces);
  list->pieces[place] = piece;
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
  if (block->slot != WEFT_SLOT_ARENA || block->last != number || block->on_device) return false;
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
    if (step->is_copy || step->on_device || step->node->op != WEFT_OP_MAP) continue;
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

/* Whether the block takes room of its own in the arena or the pool. */
static bool has_room(const weft_block *block) {
  return block->slot == WEFT_SLOT_ARENA && block->merged == WEFT_BLOCK_NONE && !block->unused;
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
    if (!has_room(block)) continue;
    out->next[b] = out->heads[block->last];
    out->heads[block->last] = b;
  }
  return WEFT_OK;
}

static uint64_t arena_bytes(const weft_block *block) {
  return weft_align_up(block->bytes, WEFT_ALIGNMENT);
}

typedef struct scan {
  weft_planner *planner;
  endings ends;
  gap_list gaps;
  piece_list pieces;
  uint32_t next_block;
  uint64_t live; /* bytes of the arena */
} scan;

static weft_status take_block(scan *s, weft_block *block) {
  if (block->on_device) return take_piece(&s->pieces, block->bytes, block->uploaded, &block->piece);
  s->live += arena_bytes(block);
  return take(&s->gaps, arena_bytes(block), &block->offset);
}

static weft_status give_block_back(scan *s, const weft_block *block) {
  if (block->on_device) return give_piece_back(&s->pieces, block->piece);
  s->live -= arena_bytes(block);
  return give_back(&s->gaps, block->offset, arena_bytes(block));
}

static weft_status lay_scratch(scan *s, weft_step *step) {
  weft_plan *plan = s->planner->plan;
  uint64_t bytes = step->on_device ? 0 : weft_align_up(step->scratch_bytes, WEFT_ALIGNMENT);
  if (s->live + bytes > plan->arena_bytes_live) plan->arena_bytes_live = s->live + bytes;
  if (step->on_device && step->scratch_bytes > 0) {
    WEFT_TRY(take_piece(&s->pieces, step->scratch_bytes, false, &step->scratch_slot));
    return give_piece_back(&s->pieces, step->scratch_slot);
  }
  WEFT_TRY(take(&s->gaps, bytes, &step->scratch_offset));
  return give_back(&s->gaps, step->scratch_offset, bytes);
}

static weft_status scan_step(scan *s, uint32_t number) {
  weft_planner *planner = s->planner;
  for (; s->next_block < planner->block_count && planner->blocks[s->next_block].first == number;
       s->next_block++) {
    weft_block *block = &planner->blocks[s->next_block];
    if (!has_room(block)) continue;
    WEFT_TRY(take_block(s, block));
  }
  WEFT_TRY(lay_scratch(s, &planner->plan->steps[number]));
  for (uint32_t b = s->ends.heads[number]; b != UINT32_MAX; b = s->ends.next[b])
    WEFT_TRY(give_block_back(s, &planner->blocks[b]));
  return WEFT_OK;
}

static bool is_larger(const void *user, uint32_t a, uint32_t b) {
  const uint64_t *bytes = user;
  return bytes[a] > bytes[b];
}

/* Gives pieces their slots: the largest first, so that the plans of a session share a pool well. */
static weft_status number_pieces(weft_planner *planner) {
  weft_plan *plan = planner->plan;
  uint32_t count = plan->pool_count, first = 1 + plan->input_count + plan->output_count;
  uint64_t *bytes = WEFT_ARENA_ARRAY(&planner->scratch, uint64_t, count);
  uint32_t *order = WEFT_ARENA_ARRAY(&planner->scratch, uint32_t, count);
  uint32_t *slots = WEFT_ARENA_ARRAY(&planner->scratch, uint32_t, count);
  if (!bytes || !order || !slots) return weft_planner_no_memory(planner);
  memcpy(bytes, plan->pool_bytes, count * sizeof *bytes);
  weft_sort_indices(order, slots, count, is_larger, bytes);
  for (uint32_t i = 0; i < count; i++) {
    slots[order[i]] = first + i;
    plan->pool_bytes[i] = bytes[order[i]];
  }
  for (uint32_t b = 0; b < planner->block_count; b++) {
    weft_block *block = &planner->blocks[b];
    if (block->on_device && block->slot == WEFT_SLOT_ARENA) block->slot = slots[block->piece];
  }
  for (uint32_t s = 0; s < plan->step_count; s++) {
    weft_step *step = &plan->steps[s];
    if (step->on_device && step->scratch_bytes > 0) step->scratch_slot = slots[step->scratch_slot];
  }
  return WEFT_OK;
}

weft_status weft_plan_memory(weft_planner *planner) {
  weft_plan *plan = planner->plan;
  merge_in_place(planner);
  for (uint32_t i = 0; i < plan->step_count; i++) {
    weft_step *step = &plan->steps[i];
    const weft_device *device = weft_planner_device(planner, step->on_device);
    WEFT_TRY(device->prepare(device, step, &plan->arena, planner->error));
  }
  scan s = {.planner = planner, .gaps = {.arena = &planner->scratch}, .pieces = {planner, NULL, 0}};
  WEFT_TRY(list_endings(planner, &s.ends));
  for (uint32_t i = 0; i < plan->step_count; i++) {
    weft_status status = scan_step(&s, i);
    if (status != WEFT_OK)
      return weft_fail(planner->error, status, "the activations are too large to be laid out");
  }
  plan->arena_bytes = s.gaps.end;
  if (plan->pool_count > 0) WEFT_TRY(number_pieces(planner));
  for (weft_planned *planned = planner->planned; planned; planned = planned->next) {
    uint32_t id = weft_block_of(&planned->array);
    if (id == WEFT_BLOCK_NONE) continue;
    const weft_block *block = &planner->blocks[weft_root_block(planner, id)];
    planned->array.slot = block->slot;
    planned->array.offset += block->offset;
  }
  return WEFT_OK;
}
