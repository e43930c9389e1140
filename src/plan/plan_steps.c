/* plan_steps.c - third part of the planner: gives every value that a step touches an array,
 * resolves views to strides, and lists the steps, with a copy wherever a device does not take the
 * strides that came out, or has to read what lies on the other side. */
#include "base/text.h"
#include "graph/views.h"
#include "plan/planner.h"

/* ---- arrays ---------------------------------------------------------------------------------- */

static weft_array *new_array(weft_planner *planner, uint8_t side, weft_dtype dtype,
                             const weft_shape *shape) {
  weft_planned *planned = WEFT_ARENA_NEW(&planner->plan->arena, weft_planned);
  if (!planned) return NULL;
  planned->next = planner->planned;
  planner->planned = planned;
  weft_array *array = &planned->array;
  array->dtype = dtype;
  array->on_device = side == WEFT_DEVICE;
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
static weft_array *new_block_array(weft_planner *planner, uint8_t side, weft_dtype dtype,
                                   const weft_shape *shape) {
  weft_array *array = new_array(planner, side, dtype, shape);
  if (!array) return NULL;
  weft_block *block = WEFT_ARENA_PUSH(&planner->scratch, planner->blocks, planner->block_count);
  if (!block) return NULL;
  *block = (weft_block){
      .bytes = array->elements * weft_dtype_size(dtype),
      .first = planner->plan->step_count,
      .last = planner->plan->step_count,
      .slot = WEFT_SLOT_ARENA,
      .on_device = array->on_device,
      .merged = WEFT_BLOCK_NONE,
      .array = array,
  };
  array->block = planner->block_count; /* 1 + its number */
  return array;
}

/* Writes known elements as the bytes of an array, in the plan's memory. */
static weft_status host_array(weft_planner *planner, weft_value_id value, weft_array **out) {
  weft_array *array =
      new_array(planner, WEFT_HOST, planner->facts.dtypes[value], &planner->facts.shapes[value]);
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

static weft_status constant_array(weft_planner *planner, uint8_t side, weft_value_id id,
                                  weft_array **out) {
  const weft_value *value = &planner->graph->values[id];
  weft_array *array = new_array(planner, side, value->dtype, &value->shape);
  if (!array) return weft_planner_no_memory(planner);
  if (side == WEFT_DEVICE)
    array->memory = value->data->memory;
  else
    array->constant = value->data->data;
  array->layout = value->layout;
  *out = array;
  return WEFT_OK;
}

/* The array on that side of a value that no step makes, or that a step made before; NULL: it is not
 * there. */
static weft_status find_array(weft_planner *planner, uint8_t side, weft_value_id id,
                              weft_array **out) {
  const weft_value *value = &planner->graph->values[id];
  weft_array **array = &planner->arrays[side][id];
  bool is_constant = value->kind == WEFT_VALUE_CONSTANT;
  bool is_there = is_constant && (side == WEFT_DEVICE ? value->data->memory != 0
                                                      : value->data->data || !value->data->memory);
  if (!*array && is_there) {
    WEFT_TRY(constant_array(planner, side, id, array));
  } else if (!*array && !is_constant && side == WEFT_HOST &&
             weft_planner_is_host_value(planner, id)) {
    WEFT_TRY(host_array(planner, id, array));
  }
  *out = *array;
  return WEFT_OK;
}

static weft_status input_arrays(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) {
    weft_value_id id = region->inputs[i];
    if (!planner->needed[id]) continue;
    uint8_t side = planner->home[id];
    weft_array *array =
        new_array(planner, side, planner->facts.dtypes[id], &planner->facts.shapes[id]);
    if (!array) return weft_planner_no_memory(planner);
    array->slot = 1 + i;
    planner->arrays[side][id] = array;
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
  step->on_device = from->on_device || to->on_device;
  step->inputs[0] = from;
  step->outputs[0] = to;
  return WEFT_OK;
}

static weft_array *new_copy_array(weft_planner *planner, uint8_t side, const weft_array *like) {
  weft_shape shape = {.rank = like->rank};
  memcpy(shape.dims, like->dims, sizeof shape.dims);
  return new_block_array(planner, side, like->dtype, &shape);
}

/* A dense copy of a value's array, made once however many need it. */
static weft_status dense_of(weft_planner *planner, const weft_node *node, uint8_t side,
                            weft_value_id value, weft_array **out) {
  weft_array **dense = &planner->dense[side][value];
  if (!*dense) {
    const weft_array *from = planner->arrays[side][value];
    weft_array *to = new_copy_array(planner, side, from);
    if (!to) return weft_planner_no_memory(planner);
    if (planner->refresh) planner->refresh->copy_of[side][value] = planner->plan->step_count;
    WEFT_TRY(add_copy(planner, node, from, to));
    *dense = to;
  }
  *out = *dense;
  return WEFT_OK;
}

/* A view becomes strides over its source's array on a side; where none can say it, over a dense
 * copy. */
static weft_status lay_view(weft_planner *planner, const weft_node *node, uint8_t side,
                            weft_array *from) {
  weft_value_id source = weft_planner_resolve(planner, node->inputs[0]), output = node->outputs[0];
  weft_view_layout layout;
  WEFT_TRY(weft_view_resolve(&planner->facts, node, from->strides, &layout, planner->error));
  if (layout.copy_needed) {
    WEFT_TRY(dense_of(planner, node, side, source, &from));
    WEFT_TRY(weft_view_resolve(&planner->facts, node, from->strides, &layout, planner->error));
  }
  weft_array *array = new_array(planner, side, from->dtype, &planner->facts.shapes[output]);
  if (!array) return weft_planner_no_memory(planner);
  memcpy(array->strides, layout.strides, sizeof array->strides);
  int64_t offset = layout.offset * (int64_t)weft_dtype_size(from->dtype);
  if (from->constant) array->constant = from->constant + offset;
  array->memory = from->memory;
  array->slot = from->slot;
  array->offset = from->offset + (uint64_t)offset;
  array->block = from->block;
  planner->arrays[side][output] = array;
  return WEFT_OK;
}

/* ---- the other side -------------------------------------------------------------------------- */

/* Brings a value from the other side: an upload or a download, made once. */
static weft_status cross(weft_planner *planner, const weft_node *node, uint8_t side,
                         weft_value_id value) {
  weft_array *from;
  WEFT_TRY(find_array(planner, !side, value, &from));
  if (!from) {
    return weft_fail(planner->error, WEFT_INTERNAL, "value '%.*s' is used before it is made",
                     WEFT_STR_ARGS(planner->graph->values[value].name));
  }
  if (!weft_array_may_cross(from)) WEFT_TRY(dense_of(planner, node, !side, value, &from));
  weft_array *to = new_copy_array(planner, side, from);
  if (!to) return weft_planner_no_memory(planner);
  planner->blocks[weft_block_of(to)].uploaded = side == WEFT_DEVICE;
  if (planner->refresh) planner->refresh->crossing_of[value] = planner->plan->step_count;
  WEFT_TRY(add_copy(planner, node, from, to));
  planner->arrays[side][value] = to;
  return WEFT_OK;
}

/* The view that made a value, where what it looks at is on this side too, or is not larger: then
 * that is brought over, which others may need too, and looked at there. */
static weft_status view_to_follow(weft_planner *planner, uint8_t side, weft_value_id id,
                                  const weft_node **out) {
  const weft_value *value = &planner->graph->values[id];
  const weft_array *array = planner->arrays[!side][id];
  *out = NULL;
  if (!array || value->kind != WEFT_VALUE_COMPUTED) return WEFT_OK;
  const weft_node *node = &planner->graph->nodes[value->producer];
  if (node->op != WEFT_OP_VIEW) return WEFT_OK;
  weft_value_id source = weft_planner_resolve(planner, node->inputs[0]);
  const weft_array *from = planner->arrays[!side][source];
  weft_array *here;
  WEFT_TRY(find_array(planner, side, source, &here));
  if (here || (from && from->elements <= array->elements)) *out = node;
  return WEFT_OK;
}

/* How many views upon views are followed. */
enum { VIEWS_MAX = 8 };

/* The array of a value on a side, brought there if need be. */
static weft_status array_on(weft_planner *planner, const weft_node *node, uint8_t side,
                            weft_value_id value, weft_array **out) {
  const weft_node *views[VIEWS_MAX];
  uint32_t count = 0;
  WEFT_TRY(find_array(planner, side, value, out));
  for (weft_value_id at = value; !*out;) {
    const weft_node *view = NULL;
    if (count < VIEWS_MAX) WEFT_TRY(view_to_follow(planner, side, at, &view));
    if (!view) {
      WEFT_TRY(cross(planner, node, side, at));
    } else {
      views[count++] = view;
      at = weft_planner_resolve(planner, view->inputs[0]);
    }
    WEFT_TRY(find_array(planner, side, at, out));
  }
  while (count > 0) {
    const weft_node *view = views[--count];
    WEFT_TRY(lay_view(planner, view, side, *out));
    *out = planner->arrays[side][view->outputs[0]];
  }
  return WEFT_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static weft_status plan_view(weft_planner *planner, const weft_node *node) {
  uint8_t side = planner->home[node->outputs[0]];
  weft_array *from;
  WEFT_TRY(array_on(planner, node, side, weft_planner_resolve(planner, node->inputs[0]), &from));
  return lay_view(planner, node, side, from);
}

/* The array to hand to a step as its input number `index`, dense if the device asks for it. */
static weft_status step_input(weft_planner *planner, const weft_node *node, bool on_device,
                              uint32_t index, const weft_array **out) {
  weft_value_id value = weft_planner_resolve(planner, node->inputs[index]);
  const weft_device *device = weft_planner_device(planner, on_device);
  uint8_t side = on_device && !device->is_parameter(device, node, index) ? WEFT_DEVICE : WEFT_HOST;
  weft_array *array;
  WEFT_TRY(array_on(planner, node, side, value, &array));
  if (!device->takes(device, node, index, array))
    WEFT_TRY(dense_of(planner, node, side, value, &array));
  *out = array;
  return WEFT_OK;
}

bool weft_planner_find_cache(const weft_planner *planner, weft_value_id value, uint32_t *out) {
  const weft_region *region = &planner->graph->regions[0];
  if (weft_cache_past(planner->graph, value) == WEFT_VALUE_NONE) return false;
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

void weft_planner_lay_cache(const weft_planner *planner, weft_value_id value) {
  uint8_t side = planner->home[value];
  weft_array *past = planner->arrays[side][weft_cache_past(planner->graph, value)];
  weft_array *present = planner->arrays[side][value];
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
    bool is_cache = weft_planner_find_cache(planner, value, &cache);
    weft_dtype dtype = planner->facts.dtypes[value];
    const weft_shape *shape = &planner->facts.shapes[value];
    uint8_t side = planner->home[value];
    weft_array *array = is_cache ? new_array(planner, side, dtype, shape)
                                 : new_block_array(planner, side, dtype, shape);
    if (!array) return weft_planner_no_memory(planner);
    planner->arrays[side][value] = array;
    if (!is_cache) continue;
    array->slot = 1 + planner->graph->regions[0].input_count + cache;
    weft_planner_lay_cache(planner, value);
  }
  return WEFT_OK;
}

static weft_status plan_node(weft_planner *planner, uint32_t place) {
  const weft_node *node = &planner->graph->nodes[planner->order[place]];
  bool on_device = planner->on_device[place];
  const weft_array **inputs =
      WEFT_ARENA_ARRAY(&planner->scratch, const weft_array *, node->input_count + 1);
  if (!inputs) return weft_planner_no_memory(planner);
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] != WEFT_VALUE_NONE)
      WEFT_TRY(step_input(planner, node, on_device, i, &inputs[i]));
  }
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (inputs[i]) read_array(planner, inputs[i]);
  }
  WEFT_TRY(output_arrays(planner, node));
  if (planner->refresh)
    planner->refresh->step_of[node - planner->graph->nodes] = planner->plan->step_count;
  weft_step *step;
  WEFT_TRY(add_step(planner, node, node->input_count, node->output_count, &step));
  step->on_device = on_device;
  step->why_host = planner->why_host[place];
  memcpy(step->inputs, inputs, node->input_count * sizeof *inputs);
  for (uint32_t i = 0; i < node->output_count; i++)
    step->outputs[i] = planner->arrays[on_device][node->outputs[i]];
  return WEFT_OK;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* An output lies in the caller's tensor from the start, unless its bytes lie elsewhere too (a view,
 * an input, a constant, a second output): then it is copied there at the end. */
static weft_status plan_output(weft_planner *planner, uint32_t index) {
  const weft_graph *graph = planner->graph;
  uint32_t slot = 1 + graph->regions[0].input_count + index;
  weft_value_id value = weft_planner_resolve(planner, graph->regions[0].outputs[index]);
  const weft_node *node = graph->values[value].producer == WEFT_NODE_NONE
                              ? NULL
                              : &graph->nodes[graph->values[value].producer];
  uint8_t side = weft_plan_wants_device(planner->request, index) ? WEFT_DEVICE : WEFT_HOST;
  weft_array *array;
  WEFT_TRY(array_on(planner, node, side, value, &array));
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
    weft_array *to = new_array(planner, side, array->dtype, &shape);
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
    WEFT_TRY(node->op == WEFT_OP_VIEW ? plan_view(planner, node) : plan_node(planner, i));
  }
  for (uint32_t i = 0; i < planner->plan->output_count; i++) {
    if (planner->request->wanted[i]) WEFT_TRY(plan_output(planner, i));
  }
  return WEFT_OK;
}
