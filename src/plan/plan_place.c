/* plan_place.c - where a graph's nodes run when the device has memory of its own: there, or on its
 * host. Also, before there is a plan, where constants will be read.
 *
 * What the device can do runs there, but for what is made of values on the host and comes to
 * little: masks, lengths, positions. That costs no read-back, and what the device wants of it is
 * uploaded once. Views are strides: they go with what they look at. */
#include "plan/planner.h"

/* Constants up to this size do not call integers that are made with them to the device (a table of
 * positions). */
#define TABLE_BYTES_MAX 65536u

/* Numbers of 8 and 16 bits are quantised ones rather. */
static bool counts(weft_dtype dtype) {
  return (weft_dtype_is_integer(dtype) && weft_dtype_size(dtype) >= 4) || dtype == WEFT_BOOL;
}

static bool makes_counts(const weft_graph *graph, const weft_node *node) {
  for (uint32_t i = 0; i < node->output_count; i++)
    if (!counts(graph->values[node->outputs[i]].dtype)) return false;
  return true;
}

/* ---- nodes of a plan ------------------------------------------------------------------------- */

static bool is_on_host(const weft_planner *planner, weft_value_id id, uint64_t constant_bytes_max) {
  const weft_value *value = &planner->graph->values[id];
  if (value->kind == WEFT_VALUE_CONSTANT)
    return value->data && value->data->data && value->data->bytes <= constant_bytes_max;
  return planner->home[id] == WEFT_HOST || weft_planner_is_host_value(planner, id);
}

static bool reads_host(const weft_planner *planner, const weft_node *node,
                       uint64_t constant_bytes_max) {
  const weft_device *device = planner->device;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == WEFT_VALUE_NONE || device->is_parameter(device, node, i)) continue;
    if (!is_on_host(planner, weft_planner_resolve(planner, node->inputs[i]), constant_bytes_max))
      return false;
  }
  return true;
}

static bool is_small(const weft_planner *planner, const weft_node *node) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < node->output_count; i++) {
    uint64_t elements;
    if (weft_shape_elements(&planner->facts.shapes[node->outputs[i]], &elements, NULL) != WEFT_OK)
      return false;
    bytes += elements * weft_dtype_size(planner->facts.dtypes[node->outputs[i]]);
  }
  return bytes <= planner->device->small_bytes;
}

/* Whether the node writes a cache, which is where the request says; *why: as why_host. */
static bool writes_cache(const weft_planner *planner, const weft_node *node, const char **why) {
  for (uint32_t i = 0; i < node->output_count; i++) {
    uint32_t output;
    if (!weft_planner_find_cache(planner, node->outputs[i], &output)) continue;
    *why = weft_plan_wants_device(planner->request, output) ? NULL : "the cache is on the host";
    return true;
  }
  return false;
}

/* The reason why a node does not run on the device; NULL: it does. */
static const char *why_host(const weft_planner *planner, const weft_node *node) {
  const weft_device *device = planner->device;
  const char *why = device->refuses(device, planner->graph, node);
  if (why || node->op == WEFT_OP_CACHED_ATTENTION) return why; /* the host does not have that op */
  if (writes_cache(planner, node, &why)) return why;
  if (makes_counts(planner->graph, node) && reads_host(planner, node, TABLE_BYTES_MAX))
    return "counts of what is on the host";
  if (is_small(planner, node) && reads_host(planner, node, device->small_bytes))
    return "small, of what is on the host";
  return NULL;
}

static weft_status init_sides(weft_planner *planner) {
  weft_arena *scratch = &planner->scratch;
  uint32_t count = planner->graph->value_count;
  uint32_t sides = planner->device->host ? 2 : 1;
  planner->home = WEFT_ARENA_ARRAY(scratch, uint8_t, count);
  planner->on_device = WEFT_ARENA_ARRAY(scratch, bool, planner->order_count);
  planner->why_host = WEFT_ARENA_ARRAY(scratch, const char *, planner->order_count);
  if (!planner->home || !planner->on_device || !planner->why_host)
    return weft_planner_no_memory(planner);
  for (uint32_t side = 0; side < sides; side++) {
    planner->arrays[side] = WEFT_ARENA_ARRAY(scratch, weft_array *, count);
    planner->dense[side] = WEFT_ARENA_ARRAY(scratch, weft_array *, count);
    if (!planner->arrays[side] || !planner->dense[side]) return weft_planner_no_memory(planner);
  }
  return WEFT_OK;
}

/* What strides look at: a constant lies where its bytes are. */
static uint8_t home_of(const weft_planner *planner, weft_value_id id) {
  const weft_value *value = &planner->graph->values[id];
  if (value->kind != WEFT_VALUE_CONSTANT) return planner->home[id];
  return value->data->data ? WEFT_HOST : WEFT_DEVICE;
}

weft_status weft_plan_place(weft_planner *planner) {
  const weft_region *region = &planner->graph->regions[0];
  WEFT_TRY(init_sides(planner));
  if (!planner->device->host) return WEFT_OK;
  for (uint32_t i = 0; i < region->input_count; i++)
    planner->home[region->inputs[i]] = weft_plan_feeds_device(planner->request, i);
  for (uint32_t i = 0; i < planner->order_count; i++) {
    const weft_node *node = &planner->graph->nodes[planner->order[i]];
    if (!planner->runs[i]) continue;
    if (node->op == WEFT_OP_VIEW) {
      planner->home[node->outputs[0]] =
          home_of(planner, weft_planner_resolve(planner, node->inputs[0]));
      continue;
    }
    planner->why_host[i] = why_host(planner, node);
    planner->on_device[i] = planner->why_host[i] == NULL;
    for (uint32_t o = 0; o < node->output_count; o++)
      planner->home[node->outputs[o]] = planner->on_device[i];
  }
  return WEFT_OK;
}

/* ---- constants, before there is a plan ------------------------------------------------------- */

/* Where a constant that is an input of the node is read. */
static uint8_t sides_of_input(const weft_graph *graph, const weft_device *device,
                              const weft_node *node, uint32_t input, const uint8_t *sides) {
  const weft_value *value = &graph->values[node->inputs[input]];
  if (node->op == WEFT_OP_VIEW && input == 0) return sides[node->outputs[0]];
  if (node->op == WEFT_OP_VIEW || node->op == WEFT_OP_IF) return WEFT_READ_ON_HOST;
  if (device->refuses(device, graph, node) || device->is_parameter(device, node, input))
    return WEFT_READ_ON_HOST;
  uint64_t bytes = value->data ? value->data->bytes : 0;
  uint64_t most = makes_counts(graph, node) ? TABLE_BYTES_MAX : device->small_bytes;
  return WEFT_READ_ON_DEVICE | (bytes <= most ? WEFT_READ_ON_HOST : 0);
}

static void read_inputs(const weft_graph *graph, const weft_device *device, const weft_node *node,
                        uint8_t *sides) {
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] != WEFT_VALUE_NONE)
      sides[node->inputs[i]] |= sides_of_input(graph, device, node, i, sides);
  }
  if (node->op != WEFT_OP_IF) return;
  uint32_t regions[] = {node->attributes.branches.then_region,
                        node->attributes.branches.else_region};
  for (uint32_t r = 0; r < 2; r++)
    for (uint32_t o = 0; o < node->output_count; o++)
      sides[graph->regions[regions[r]].outputs[o]] |= sides[node->outputs[o]];
}

weft_status weft_plan_constant_sides(const weft_graph *graph, const weft_device *device,
                                     weft_arena *arena, uint8_t **out, weft_error *error) {
  uint8_t *sides = *out = WEFT_ARENA_ARRAY(arena, uint8_t, graph->value_count + 1);
  weft_node_id *order = WEFT_ARENA_ARRAY(arena, weft_node_id, graph->node_count + 1);
  if (!sides || !order) return weft_arena_fail(arena, "a session", error);
  for (uint32_t i = 0; i < graph->regions[0].output_count; i++)
    sides[graph->regions[0].outputs[i]] = WEFT_READ_ON_HOST;
  uint32_t count = 0;
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (weft_walk_event event;
       (event = weft_walk_next(&walk)) != WEFT_WALK_END && event != WEFT_WALK_TOO_DEEP;)
    if (event == WEFT_WALK_NODE && !graph->nodes[walk.node].removed) order[count++] = walk.node;
  while (count > 0) read_inputs(graph, device, &graph->nodes[order[--count]], sides);
  return WEFT_OK;
}
