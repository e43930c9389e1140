/* plan_steps.c - second part of the planner: gives every value that a step touches an array,
 * resolves views to strides, and lists the steps, with a copy wherever a device does not take the
 * strides that came out. */
#include "base/text.h"
#include "graph/views.h"
#include "plan/planner.h"

/* ---- arrays ---------------------------------------------------------------------------------- */

static weft_array *new_array(weft_planner *planner, weft_dtype dtype, const weft_shape *shape) {
  weft_planned *planned = WEFT_ARENA_NEW(&planner->plan->arena, weft_planned);
  if (!planned) return NULL;
  planned->block = WEFT_BLOCK_NONE;
  planned->next = planner->planned;
  planner->planned = planned;
  weft_array *array = &planned->array;
  array->dtype = dtype;
  array->rank = shape->rank;
  array->elements = 1;
  for (int32_t i = 0; i < shape->rank; i++) {
    array->dims[i] = shape->dims[i];
    array->elements *= (uint64_t)shape->dims[i]; /* inference checked the product */
  }
  weft_array_set_dense(array);
  return array;
}

/* A dense array in a block of its own, which the next step writes. */
static weft_array *new_block_array(weft_planner *planner, weft_dtype dtype,
                                   const weft_shape *shape) {
  weft_array *array = new_array(planner, dtype, shape);
  if (!array) return NULL;
  weft_block *block = WEFT_ARENA_PUSH(&planner->scratch, planner->blocks, planner->block_count);
  if (!block) return NULL;
  *block = (weft_block){
      .bytes = array->elements * weft_dtype_size(dtype),
      .first = planner->plan->step_count,
      .last = planner->plan->step_count,
      .slot = WEFT_SLOT_ARENA,
      .merged = WEFT_BLOCK_NONE,
      .array = array,
  };
  ((weft_planned *)(void *)array)->block = planner->block_count - 1;
  return array;
}

/* Writes known elements as the bytes of an array, in the plan's memory. */
static weft_status host_array(weft_planner *planner, weft_value_id value, weft_array **out) {
  weft_array *array =
      new_array(planner, planner->facts.dtypes[value], &planner->facts.shapes[value]);
  size_t size = weft_dtype_size(planner->facts.dtypes[value]);
  uint8_t *bytes =
      array ? weft_arena_array(&planner->plan->arena, array->elements + 1, size) : NULL;
  if (!bytes) return weft_planner_no_memory(planner);
  for (uint64_t i = 0; i < array->elements; i++) {
    int64_t element = planner->facts.elements[value][i];
    memcpy(bytes + i * size, &element, size); /* little-endian: the low bytes come first */
  }
  array->constant = bytes;
  ((weft_planned *)(void *)array)->room = array->elements;
  *out = array;
  return WEFT_OK;
}

static weft_status constant_array(weft_planner *planner, weft_value_id id, weft_array **out) {
  const weft_value *value = &planner->graph->values[id];
  weft_array *array = new_array(planner, value->dtype, &value->shape);
  if (!array) return weft_planner_no_memory(planner);
  array->constant = value->data->data;
  array->layout = value->layout;
  *out = array;
  return WEFT_OK;
}

/* The array of a value that no step makes, or that a step made before. */
static weft_status array_of(weft_planner *planner, weft_value_id value, weft_array **out) {
  weft_array **array = &planner->arrays[value];
  if (!*array && planner->graph->values[value].kind == WEFT_VALUE_CONSTANT) {
    WEFT_TRY(constant_array(planner, value, array));
  } else if (!*array && weft_planner_is_host_value(planner, value)) {
    WEFT_TRY(host_array(planner, value, array));
  }
  if (!*array) {
    return weft_fail(planner->error, WEFT_INTERNAL, "value '%.*s' is used before it is made",
                     WEFT_STR_ARGS(planner->graph->values[value].name));
  }
  *out = *array;
  return WEFT_OK;
}

static weft_status input_arrays(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) {
    weft_value_id id = region->inputs[i];
    if (!planner->needed[id]) continue;
    weft_array *array = new_array(planner, planner->facts.dtypes[id], &planner->facts.shapes[id]);
    if (!array) return weft_planner_no_memory(planner);
    array->slot = 1 + i;
    planner->arrays[id] = array;
    planner->plan->inputs[i] = array;
  }
  return WEFT_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Notes that the step about to be added reads the array. */
static void read_array(weft_planner *planner, const weft_array *array) {
  uint32_t block = weft_block_of(array);
  if (block != WEFT_BLOCK_NONE) planner->blocks[block].last = planner->plan->step_count;
}

static weft_status add_step(weft_planner *planner, const weft_node *node, uint32_t input_count,
                            uint32_t output_count, weft_step **out) {
  weft_arena *arena = &planner->plan->arena;
  const weft_array **inputs =
      WEFT_ARENA_ARRAY(arena, const weft_array *, input_count + output_count + 1);
  weft_step *step =
      inputs ? WEFT_ARENA_PUSH(arena, planner->plan->steps, planner->plan->step_count) : NULL;
  if (!step) return weft_planner_no_memory(planner);
  *step = (weft_step){.node = node,
                      .input_count = input_count,
                      .output_count = output_count,
                      .inputs = inputs,
                      .outputs = inputs + input_count};
  *out = step;
  return WEFT_OK;
}

static weft_status add_copy(weft_planner *planner, const weft_node *node, const weft_array *from,
                            weft_array *to) {
  read_array(planner, from);
  weft_step *step;
  WEFT_TRY(add_step(planner, node, 1, 1, &step));
  step->is_copy = true;
  step->inputs[0] = from;
  step->outputs[0] = to;
  return WEFT_OK;
}

/* A dense copy of a value's array, made once however many need it. */
static weft_status dense_of(weft_planner *planner, const weft_node *node, weft_value_id value,
                            weft_array **out) {
  if (!planner->dense[value]) {
    const weft_array *from = planner->arrays[value];
    weft_shape shape = {.rank = from->rank};
    memcpy(shape.dims, from->dims, sizeof shape.dims);
    weft_array *to = new_block_array(planner, from->dtype, &shape);
    if (!to) return weft_planner_no_memory(planner);
    if (planner->refresh) planner->refresh->copy_of[value] = planner->plan->step_count;
    WEFT_TRY(add_copy(planner, node, from, to));
    planner->dense[value] = to;
  }
  *out = planner->dense[value];
  return WEFT_OK;
}

/* A view becomes strides over its source; where none can say it, over a dense copy. */
static weft_status plan_view(weft_planner *planner, const weft_node *node) {
  weft_value_id source = weft_planner_resolve(planner, node->inputs[0]), output = node->outputs[0];
  weft_array *from;
  WEFT_TRY(array_of(planner, source, &from));
  weft_view_layout layout;
  WEFT_TRY(weft_view_resolve(&planner->facts, node, from->strides, &layout, planner->error));
  if (layout.copy_needed) {
    WEFT_TRY(dense_of(planner, node, source, &from));
    WEFT_TRY(weft_view_resolve(&planner->facts, node, from->strides, &layout, planner->error));
  }
  weft_array *array = new_array(planner, from->dtype, &planner->facts.shapes[output]);
  if (!array) return weft_planner_no_memory(planner);
  memcpy(array->strides, layout.strides, sizeof array->strides);
  int64_t offset = layout.offset * (int64_t)weft_dtype_size(from->dtype);
  if (from->constant) array->constant = from->constant + offset;
  array->slot = from->slot;
  array->offset = from->offset + (uint64_t)offset;
  ((weft_planned *)(void *)array)->block = weft_block_of(from);
  planner->arrays[output] = array;
  return WEFT_OK;
}

/* The array to hand to a step as its input number `index`, dense if the device asks for it. */
static weft_status step_input(weft_planner *planner, const weft_node *node, uint32_t index,
                              const weft_array **out) {
  weft_value_id value = weft_planner_resolve(planner, node->inputs[index]);
  weft_array *array;
  WEFT_TRY(array_of(planner, value, &array));
  if (!planner->device->takes(planner->device, node, index, array)) {
    WEFT_TRY(dense_of(planner, node, value, &array));
  }
  *out = array;
  return WEFT_OK;
}

/* The output that the value is, where that is a cache. */
static bool find_cache(const weft_planner *planner, weft_value_id value, uint32_t *out) {
  const weft_region *region = &planner->graph->regions[0];
  for (uint32_t i = 0; i < region->output_count; i++) {
    *out = i;
    if (region->outputs[i] == value && weft_planner_is_cache(planner, i)) return true;
  }
  return false;
}

static void set_cache_strides(weft_array *array, int64_t capacity) {
  array->strides[3] = 1;
  array->strides[2] = array->dims[3];
  array->strides[1] = capacity * array->dims[3];
  array->strides[0] = array->strides[1] * array->dims[1];
}

void weft_planner_lay_cache(const weft_planner *planner, const weft_node *node) {
  weft_array *past = planner->arrays[node->inputs[0]], *present = planner->arrays[node->outputs[0]];
  uint32_t output = present->slot - 1 - planner->graph->regions[0].input_count;
  int64_t rows = planner->request->cache_rows[output];
  int64_t capacity = weft_cache_capacity(rows, present->dims[2]);
  set_cache_strides(present, capacity);
  set_cache_strides(past, rows > 0 ? capacity : past->dims[2]);
}

/* Arrays for what a node writes: in a block each, but a cache lies in its buffer. */
static weft_status output_arrays(weft_planner *planner, const weft_node *node) {
  for (uint32_t i = 0; i < node->output_count; i++) {
    weft_value_id value = node->outputs[i];
    uint32_t cache;
    bool is_cache = node->op == WEFT_OP_APPEND && find_cache(planner, value, &cache);
    weft_dtype dtype = planner->facts.dtypes[value];
    const weft_shape *shape = &planner->facts.shapes[value];
    weft_array *array =
        is_cache ? new_array(planner, dtype, shape) : new_block_array(planner, dtype, shape);
    if (!array) return weft_planner_no_memory(planner);
    planner->arrays[value] = array;
    if (!is_cache) continue;
    array->slot = 1 + planner->graph->regions[0].input_count + cache;
    weft_planner_lay_cache(planner, node);
  }
  return WEFT_OK;
}

static weft_status plan_node(weft_planner *planner, const weft_node *node) {
  const weft_array **inputs =
      WEFT_ARENA_ARRAY(&planner->scratch, const weft_array *, node->input_count + 1);
  if (!inputs) return weft_planner_no_memory(planner);
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] != WEFT_VALUE_NONE) WEFT_TRY(step_input(planner, node, i, &inputs[i]));
  }
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (inputs[i]) read_array(planner, inputs[i]);
  }
  WEFT_TRY(output_arrays(planner, node));
  if (planner->refresh)
    planner->refresh->step_of[node - planner->graph->nodes] = planner->plan->step_count;
  weft_step *step;
  WEFT_TRY(add_step(planner, node, node->input_count, node->output_count, &step));
  memcpy(step->inputs, inputs, node->input_count * sizeof *inputs);
  for (uint32_t i = 0; i < node->output_count; i++)
    step->outputs[i] = planner->arrays[node->outputs[i]];
  return WEFT_OK;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* An output lies in the caller's tensor from the start, unless its bytes lie elsewhere too (a view,
 * an input, a constant, a second output): then it is copied there at the end. */
static weft_status plan_output(weft_planner *planner, uint32_t index) {
  const weft_graph *graph = planner->graph;
  uint32_t slot = 1 + graph->regions[0].input_count + index;
  weft_value_id value = weft_planner_resolve(planner, graph->regions[0].outputs[index]);
  weft_array *array;
  WEFT_TRY(array_of(planner, value, &array));
  if (weft_planner_is_cache(planner, index)) {
    planner->plan->outputs[index] = array;
    return WEFT_OK;
  }
  uint32_t block = weft_block_of(array);
  bool whole = block != WEFT_BLOCK_NONE && weft_array_is_dense(array) && array->offset == 0 &&
               array->elements * weft_dtype_size(array->dtype) == planner->blocks[block].bytes;
  if (whole && planner->blocks[block].slot == WEFT_SLOT_ARENA) {
    planner->blocks[block].slot = slot;
  } else {
    weft_shape shape = {.rank = array->rank};
    memcpy(shape.dims, array->dims, sizeof shape.dims);
    const weft_node *node = planner->graph->values[value].producer == WEFT_NODE_NONE
                                ? NULL
                                : &graph->nodes[graph->values[value].producer];
    weft_array *to = new_array(planner, array->dtype, &shape);
    if (!to) return weft_planner_no_memory(planner);
    to->slot = slot;
    if (planner->refresh) planner->refresh->output_of[index] = planner->plan->step_count;
    WEFT_TRY(add_copy(planner, node, array, to));
    array = to;
  }
  planner->plan->outputs[index] = array;
  return WEFT_OK;
}

weft_status weft_plan_steps(weft_planner *planner) {
  WEFT_TRY(input_arrays(planner));
  for (uint32_t i = 0; i < planner->order_count; i++) {
    if (!planner->runs[i]) continue;
    const weft_node *node = &planner->graph->nodes[planner->order[i]];
    WEFT_TRY(node->op == WEFT_OP_VIEW ? plan_view(planner, node) : plan_node(planner, node));
  }
  for (uint32_t i = 0; i < planner->plan->output_count; i++) {
    if (planner->request->wanted[i]) WEFT_TRY(plan_output(planner, i));
  }
  return WEFT_OK;
}
