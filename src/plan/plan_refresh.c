/* plan_refresh.c - brings a plan up to date when some extents have changed: a cache that is a row
 * longer, the mask that goes with it.
 *
 * A change spreads from the inputs in the order of execution. A node that it reaches is inferred
 * again; where its result came out as it stood (attention's, whatever the number of keys), the
 * change ends there. Steps that were reached get their arrays and the device's preparation anew.
 * Structure stays: which nodes run, what is copied, what shares memory. Where it would have to
 * change, or something does not fit in the memory that was laid out, the refresh fails, and its
 * caller plans from the start. Nodes that were not finished then stay marked. */
#include "graph/views.h"
#include "plan/planner.h"

/* ---- what is kept ---------------------------------------------------------------------------- */

weft_status weft_refresh_open(weft_planner *planner) {
  const weft_graph *graph = planner->graph;
  weft_arena *arena = &planner->scratch;
  uint32_t nodes = graph->node_count, values = graph->value_count;
  uint32_t outputs = graph->regions[0].output_count;
  weft_refresh *r = WEFT_ARENA_NEW(arena, weft_refresh);
  planner->refresh = r;
  planner->plan->planner = WEFT_ARENA_NEW(&planner->plan->arena, weft_planner);
  if (!r || !planner->plan->planner) return weft_planner_no_memory(planner);
  weft_arena_init(&r->states, planner->scratch.heap);
  r->place = WEFT_ARENA_ARRAY(arena, uint32_t, nodes);
  r->step_of = WEFT_ARENA_ARRAY(arena, uint32_t, nodes);
  r->dirty = WEFT_ARENA_ARRAY(arena, uint64_t, (uint64_t)nodes / 64 + 1);
  uint32_t sides = planner->device->host ? 2 : 1;
  for (uint32_t side = 0; side < sides; side++) {
    r->copy_of[side] = WEFT_ARENA_ARRAY(arena, uint32_t, values);
    if (!r->copy_of[side]) return weft_planner_no_memory(planner);
  }
  r->crossing_of = WEFT_ARENA_ARRAY(arena, uint32_t, values);
  r->host = WEFT_ARENA_ARRAY(arena, bool, values);
  r->branch_output = WEFT_ARENA_ARRAY(arena, bool, values);
  r->output_of = WEFT_ARENA_ARRAY(arena, uint32_t, outputs);
  r->cache_rows = WEFT_ARENA_ARRAY(arena, int64_t, outputs);
  r->is_past = WEFT_ARENA_ARRAY(arena, bool, graph->regions[0].input_count);
  planner->facts.stores = WEFT_ARENA_ARRAY(arena, weft_element_store, values);
  planner->facts.changed = WEFT_ARENA_ARRAY(arena, bool, values);
  if (!r->place || !r->step_of || !r->dirty || !r->crossing_of || !r->host || !r->branch_output ||
      !r->output_of || !r->cache_rows || !r->is_past || !planner->facts.stores ||
      !planner->facts.changed) {
    return weft_planner_no_memory(planner);
  }
  memset(r->crossing_of, 0xff, values * sizeof *r->crossing_of);
  memset(r->output_of, 0xff, outputs * sizeof *r->output_of);
  return WEFT_OK;
}

static void note_pasts(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  for (uint32_t o = 0; o < region->output_count; o++) {
    if (!weft_planner_is_cache(planner, o)) continue;
    weft_value_id past = weft_cache_past(planner->graph, region->outputs[o]);
    for (uint32_t i = 0; i < region->input_count; i++)
      if (region->inputs[i] == past) planner->refresh->is_past[i] = true;
  }
}

static void note_places(weft_planner *planner) {
  weft_refresh *r = planner->refresh;
  const weft_graph *graph = planner->graph;
  for (uint32_t n = 0; n < graph->node_count; n++)
    r->place[n] = graph->nodes[n].op == WEFT_OP_IF ? WEFT_PLACE_BRANCH : WEFT_PLACE_NONE;
  for (uint32_t i = 0; i < planner->order_count; i++) r->place[planner->order[i]] = i;
  for (uint32_t v = 0; v < graph->value_count; v++) {
    r->host[v] = weft_planner_is_host_value(planner, v);
    if (planner->alias[v] != WEFT_VALUE_NONE) r->branch_output[planner->alias[v]] = true;
  }
}

/* The request is met as the plan stands. */
static void settle(weft_planner *planner) {
  weft_refresh *r = planner->refresh;
  weft_plan *plan = planner->plan;
  weft_plan_write_signature(planner->request, plan);
  memcpy(r->cache_rows, planner->request->cache_rows, plan->output_count * sizeof *r->cache_rows);
  memset(planner->facts.changed, 0, planner->graph->value_count);
  r->stale = false;
}

weft_status weft_refresh_finish(weft_planner *planner) {
  weft_refresh *r = planner->refresh;
  weft_plan *plan = planner->plan;
  weft_arena *arena = &planner->scratch;
  r->late = WEFT_ARENA_ARRAY(arena, bool, plan->step_count);
  r->late_steps = WEFT_ARENA_ARRAY(arena, uint32_t, plan->step_count);
  r->scratch_room = WEFT_ARENA_ARRAY(arena, uint64_t, plan->step_count);
  if (!r->late || !r->late_steps || !r->scratch_room) return weft_planner_no_memory(planner);
  WEFT_TRY(weft_graph_users(planner->graph, arena, &r->users, planner->error));
  for (uint32_t s = 0; s < plan->step_count; s++) r->scratch_room[s] = plan->steps[s].scratch_bytes;
  r->arena_end = plan->arena_bytes;
  note_places(planner);
  note_pasts(planner);
  settle(planner);
  planner->facts.symbols = NULL; /* two plans with other extents have shown that they agree */
  return WEFT_OK;
}

void weft_planner_release(weft_planner *planner) {
  if (planner->refresh) weft_arena_release(&planner->refresh->states);
  weft_arena_release(&planner->scratch);
}

/* ---- spreading ------------------------------------------------------------------------------- */

static void mark_node(weft_refresh *r, uint32_t place) {
  r->dirty[place / 64] |= 1ull << place % 64;
}

static void mark_step(weft_refresh *r, uint32_t step) {
  if (r->late[step]) return;
  r->late[step] = true;
  r->late_steps[r->late_count++] = step;
}

/* Gives an array another shape, and dense strides; false: not the same rank. */
static bool set_shape(weft_array *array, const weft_shape *shape) {
  if (array->rank != shape->rank) return false;
  array->elements = 1;
  for (int32_t i = 0; i < shape->rank; i++) {
    array->dims[i] = shape->dims[i];
    array->elements *= (uint64_t)shape->dims[i]; /* inference checked the product */
  }
  weft_array_set_dense(array);
  return true;
}

static bool same_array(const weft_array *a, const weft_array *b) {
  size_t length = (size_t)a->rank * sizeof a->dims[0];
  return a->offset == b->offset && a->constant == b->constant && a->rank == b->rank &&
         memcmp(a->dims, b->dims, length) == 0 && memcmp(a->strides, b->strides, length) == 0;
}

/* The first slot of the pool, whose pieces are followed by nothing. */
static uint32_t first_piece(const weft_plan *plan) {
  return 1 + plan->input_count + plan->output_count;
}

/* Whether the dense array still fits in its block, or in all of that block's piece. Outputs'
 * tensors are as large as it takes. */
static bool fits_block(const weft_planner *planner, const weft_array *array) {
  const weft_plan *plan = planner->plan;
  const weft_block *block = &planner->blocks[weft_block_of(array)];
  uint64_t bytes = array->elements * weft_dtype_size(array->dtype);
  if (block->slot == WEFT_SLOT_ARENA) return bytes <= block->bytes;
  return block->slot < first_piece(plan) ||
         bytes <= plan->pool_bytes[block->slot - first_piece(plan)];
}

/* Brings a copy of a value, dense or on the other side, to the value's shape. */
static weft_status reshape_copy(weft_planner *planner, weft_value_id value, uint32_t step) {
  weft_array *to = (weft_array *)(uintptr_t)planner->plan->steps[step].outputs[0]; /* the plan's */
  if (!set_shape(to, &planner->facts.shapes[value]) || !fits_block(planner, to))
    return WEFT_UNSUPPORTED;
  mark_step(planner->refresh, step);
  return WEFT_OK;
}

/* A value has changed: so have its copies, and its users have to look. */
static weft_status spread(weft_planner *planner, weft_value_id value) {
  weft_refresh *r = planner->refresh;
  if (r->branch_output[value]) return WEFT_UNSUPPORTED;
  for (uint32_t side = 0; side < WEFT_SIDES; side++)
    if (planner->dense[side] && planner->dense[side][value])
      WEFT_TRY(reshape_copy(planner, value, r->copy_of[side][value]));
  uint32_t crossing = r->crossing_of[value];
  if (crossing != UINT32_MAX) {
    WEFT_TRY(reshape_copy(planner, value, crossing));
    if (!weft_array_may_cross(planner->plan->steps[crossing].inputs[0])) return WEFT_UNSUPPORTED;
  }
  for (uint32_t u = r->users.first[value]; u < r->users.first[value + 1]; u++) {
    weft_node_id node = r->users.nodes[u];
    uint32_t place = node == WEFT_NODE_NONE ? WEFT_PLACE_NONE : r->place[node];
    if (place == WEFT_PLACE_BRANCH) return WEFT_UNSUPPORTED;
    if (place != WEFT_PLACE_NONE) mark_node(r, place);
  }
  return WEFT_OK;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static weft_status refresh_input(weft_planner *planner, uint32_t index) {
  weft_value_id id = planner->graph->regions[0].inputs[index];
  weft_shape *shape = &planner->facts.shapes[id];
  const int64_t *dims = planner->request->dims[index];
  size_t length = (size_t)shape->rank * sizeof *dims;
  if (memcmp(shape->dims, dims, length) != 0) planner->facts.changed[id] = true;
  if (!planner->facts.changed[id]) return WEFT_OK;
  uint64_t elements;
  memcpy(shape->dims, dims, length);
  WEFT_TRY(weft_shape_elements(shape, &elements, NULL));
  weft_array *array = planner->arrays[planner->home[id]][id];
  if (array) set_shape(array, shape);
  return spread(planner, id);
}

static weft_status refresh_inputs(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  weft_refresh *r = planner->refresh;
  for (uint32_t i = 0; i < region->input_count; i++) WEFT_TRY(refresh_input(planner, i));
  for (uint32_t o = 0; o < region->output_count; o++) {
    if (planner->request->cache_rows[o] == r->cache_rows[o]) continue;
    if (weft_planner_is_cache(planner, o))
      mark_node(r, r->place[planner->graph->values[region->outputs[o]].producer]);
    r->cache_rows[o] = planner->request->cache_rows[o];
  }
  return WEFT_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* The bytes of known elements. */
static weft_status refresh_host(weft_planner *planner, weft_value_id value) {
  weft_array *array = planner->arrays[WEFT_HOST][value];
  if (!set_shape(array, &planner->facts.shapes[value]) ||
      array->elements > ((const weft_planned *)(const void *)array)->room) {
    return WEFT_UNSUPPORTED;
  }
  size_t size = weft_dtype_size(array->dtype);
  uint8_t *bytes = (uint8_t *)(uintptr_t)array->constant; /* the plan's own */
  for (uint64_t i = 0; i < array->elements; i++)
    memcpy(bytes + i * size, &planner->facts.elements[value][i], size);
  return WEFT_OK;
}

static weft_status refresh_view_on(weft_planner *planner, const weft_node *node, uint32_t side) {
  weft_value_id source = weft_planner_resolve(planner, node->inputs[0]), output = node->outputs[0];
  weft_array *array = planner->arrays[side][output], before = *array;
  const weft_array *from = planner->arrays[side][source], *dense = planner->dense[side][source];
  if (dense && weft_block_of(array) == weft_block_of(dense)) from = dense;
  weft_view_layout layout;
  WEFT_TRY(weft_view_resolve(&planner->facts, node, from->strides, &layout, NULL));
  if (layout.copy_needed || !set_shape(array, &planner->facts.shapes[output]))
    return WEFT_UNSUPPORTED;
  memcpy(array->strides, layout.strides, sizeof array->strides);
  int64_t offset = layout.offset * (int64_t)weft_dtype_size(from->dtype);
  if (from->constant) array->constant = from->constant + offset;
  array->offset = from->offset + (uint64_t)offset;
  if (!same_array(array, &before)) planner->facts.changed[output] = true;
  return WEFT_OK;
}

/* The view on each side where it is one. */
static weft_status refresh_view(weft_planner *planner, const weft_node *node) {
  weft_value_id output = node->outputs[0];
  uint32_t crossing = planner->refresh->crossing_of[output];
  for (uint32_t side = 0; side < WEFT_SIDES; side++) {
    const weft_array *array = planner->arrays[side] ? planner->arrays[side][output] : NULL;
    bool crossed = crossing != UINT32_MAX && planner->plan->steps[crossing].outputs[0] == array;
    if (array && !crossed) WEFT_TRY(refresh_view_on(planner, node, side));
  }
  return WEFT_OK;
}

/* A map that writes over one of its inputs has to go on reading each element before. */
static bool stays_in_place(const weft_planner *planner, const weft_step *step) {
  const weft_array *output = step->outputs[0];
  uint32_t block = weft_block_of(output);
  if (block == WEFT_BLOCK_NONE || planner->blocks[block].merged == WEFT_BLOCK_NONE) return true;
  for (uint32_t i = 0; i < step->input_count; i++) {
    const weft_array *input = step->inputs[i];
    if (!input || weft_block_of(input) == WEFT_BLOCK_NONE ||
        weft_root_block(planner, weft_block_of(input)) != weft_root_block(planner, block))
      continue;
    if (input->elements != output->elements || input->offset != output->offset ||
        !weft_array_is_dense(input))
      return false;
  }
  return true;
}

static weft_status refresh_output(weft_planner *planner, weft_value_id value) {
  weft_array *array = planner->arrays[planner->home[value]][value], before = *array;
  if (!set_shape(array, &planner->facts.shapes[value])) return WEFT_UNSUPPORTED;
  if (weft_block_of(array) == WEFT_BLOCK_NONE)
    weft_planner_lay_cache(planner, value);
  else if (!fits_block(planner, array))
    return WEFT_UNSUPPORTED;
  if (!same_array(array, &before)) planner->facts.changed[value] = true;
  return WEFT_OK;
}

static weft_status refresh_step(weft_planner *planner, const weft_node *node) {
  uint32_t number = planner->refresh->step_of[node - planner->graph->nodes];
  const weft_step *step = &planner->plan->steps[number];
  const weft_device *device = weft_planner_device(planner, step->on_device);
  if (step->into || step->part_count > 0) return WEFT_UNSUPPORTED;
  for (uint32_t i = 0; i < node->input_count; i++)
    if (step->inputs[i] && !device->takes(device, node, i, step->inputs[i]))
      return WEFT_UNSUPPORTED;
  for (uint32_t i = 0; i < node->output_count; i++)
    WEFT_TRY(refresh_output(planner, node->outputs[i]));
  if (node->op == WEFT_OP_MAP && !stays_in_place(planner, step)) return WEFT_UNSUPPORTED;
  mark_step(planner->refresh, number);
  return WEFT_OK;
}

static weft_status refresh_node(weft_planner *planner, uint32_t place) {
  weft_node_id id = planner->order[place];
  const weft_node *node = &planner->graph->nodes[id];
  WEFT_TRY(weft_infer_node(&planner->facts, id, NULL));
  for (uint32_t i = 0; i < node->output_count; i++) {
    weft_value_id value = node->outputs[i];
    if (planner->refresh->host[value] && !weft_planner_is_host_value(planner, value))
      return WEFT_UNSUPPORTED;
    if (!planner->runs[place] && planner->arrays[WEFT_HOST][value] && planner->facts.changed[value])
      WEFT_TRY(refresh_host(planner, value));
  }
  if (planner->runs[place])
    WEFT_TRY(node->op == WEFT_OP_VIEW ? refresh_view(planner, node) : refresh_step(planner, node));
  for (uint32_t i = 0; i < node->output_count; i++)
    if (planner->facts.changed[node->outputs[i]]) WEFT_TRY(spread(planner, node->outputs[i]));
  return WEFT_OK;
}

static weft_status refresh_nodes(weft_planner *planner) {
  uint64_t *dirty = planner->refresh->dirty;
  for (uint32_t word = 0; word * 64 < planner->order_count; word++) {
    while (dirty[word]) {
      uint32_t bit = (uint32_t)__builtin_ctzll(dirty[word]);
      WEFT_TRY(refresh_node(planner, word * 64 + bit));
      dirty[word] &= ~(1ull << bit); /* its users come after it */
    }
  }
  return WEFT_OK;
}

/* ---- outputs and steps ----------------------------------------------------------------------- */

/* An output that lies where a step writes it must still be all that is written there, whichever of
 * the two has changed. */
static bool is_whole(const weft_planner *planner, const weft_array *output) {
  const weft_array *written = planner->blocks[weft_block_of(output)].array;
  return output->offset == 0 && output->elements == written->elements &&
         weft_array_is_dense(output);
}

static weft_status refresh_outputs(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  for (uint32_t o = 0; o < region->output_count; o++) {
    weft_array *array = (weft_array *)(uintptr_t)planner->plan->outputs[o]; /* the plan's own */
    if (!array || weft_planner_is_cache(planner, o)) continue;
    if (planner->refresh->output_of[o] == UINT32_MAX) {
      if (!is_whole(planner, array)) return WEFT_UNSUPPORTED;
      continue;
    }
    weft_value_id value = weft_planner_resolve(planner, region->outputs[o]);
    if (!planner->facts.changed[value]) continue;
    if (!set_shape(array, &planner->facts.shapes[value])) return WEFT_UNSUPPORTED;
    mark_step(planner->refresh, planner->refresh->output_of[o]);
  }
  return WEFT_OK;
}

static weft_status grow_scratch(weft_plan *plan, const weft_step *step) {
  if (step->scratch_slot == 0) return WEFT_UNSUPPORTED; /* it had none */
  uint64_t *room = &plan->pool_bytes[step->scratch_slot - first_piece(plan)];
  if (*room < step->scratch_bytes) *room = step->scratch_bytes;
  return WEFT_OK;
}

/* Scratch that has outgrown its place goes behind the others', or its piece grows. */
static weft_status place_scratch(weft_planner *planner, uint32_t number) {
  weft_refresh *r = planner->refresh;
  weft_plan *plan = planner->plan;
  weft_step *step = &plan->steps[number];
  uint64_t end;
  if (step->scratch_bytes <= r->scratch_room[number]) return WEFT_OK;
  if (step->on_device) return grow_scratch(plan, step);
  if (!weft_add_u64(r->arena_end, step->scratch_bytes, &end)) return WEFT_LIMIT_EXCEEDED;
  step->scratch_offset = r->arena_end;
  r->scratch_room[number] = step->scratch_bytes;
  if (plan->arena_bytes < end) plan->arena_bytes = end;
  return WEFT_OK;
}

static weft_status prepare_steps(weft_planner *planner) {
  weft_refresh *r = planner->refresh;
  weft_arena_reset(&r->states);
  for (uint32_t i = 0; i < r->late_count; i++) {
    weft_step *step = &planner->plan->steps[r->late_steps[i]];
    const weft_device *device = weft_planner_device(planner, step->on_device);
    WEFT_TRY(device->prepare(device, step, &r->states, NULL));
    WEFT_TRY(place_scratch(planner, r->late_steps[i]));
  }
  return WEFT_OK;
}

weft_status weft_plan_refresh(weft_plan *plan, const weft_plan_request *request) {
  weft_planner *planner = plan->planner;
  planner->request = request;
  planner->error = NULL;
  planner->plan = plan;
  planner->refresh->stale = true;
  WEFT_TRY(refresh_inputs(planner));
  WEFT_TRY(refresh_nodes(planner));
  WEFT_TRY(refresh_outputs(planner));
  WEFT_TRY(prepare_steps(planner));
  plan->room -= weft_plan_shift(plan, request);
  settle(planner);
  return WEFT_OK;
}
