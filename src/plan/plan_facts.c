/* plan_facts.c - first part of the planner: binds the input shapes, infers every other shape and
 * all shape arithmetic in execution order, and finds out which nodes have to run at all. */
#include "plan/planner.h"

weft_value_id weft_planner_resolve(const weft_planner *planner, weft_value_id value) {
  while (planner->alias[value] != WEFT_VALUE_NONE) value = planner->alias[value];
  return value;
}

/* Binds a declared dimension to an extent; a symbol means the same extent wherever it stands. */
static weft_status bind_dimension(weft_planner *planner, weft_str input, int32_t axis,
                                  weft_dim declared, int64_t extent) {
  if (extent < 0) {
    return weft_fail(planner->error, WEFT_INVALID_ARGUMENT,
                     "input '%.*s': dimension %d is negative", WEFT_STR_ARGS(input), (int)axis);
  }
  int64_t expected = declared;
  if (WEFT_DIM_IS_SYMBOL(declared)) {
    int64_t *bound = &planner->facts.symbols[WEFT_DIM_SYMBOL_INDEX(declared)];
    if (*bound < 0) *bound = extent;
    expected = *bound;
  }
  if (expected == extent) return WEFT_OK;
  weft_str symbol = WEFT_DIM_IS_SYMBOL(declared)
                        ? planner->graph->symbols[WEFT_DIM_SYMBOL_INDEX(declared)]
                        : WEFT_STR("");
  return weft_fail(planner->error, WEFT_INVALID_ARGUMENT,
                   "input '%.*s': dimension %d is %lld, but %.*s%s%lld is expected",
                   WEFT_STR_ARGS(input), (int)axis, (long long)extent, WEFT_STR_ARGS(symbol),
                   symbol.length ? " = " : "", (long long)expected);
}

static weft_status bind_input(weft_planner *planner, uint32_t index) {
  weft_value_id id = planner->graph->regions[0].inputs[index];
  const weft_value *value = &planner->graph->values[id];
  uint32_t rank = planner->request->ranks[index];
  if (value->shape.rank >= 0 && (uint32_t)value->shape.rank != rank) {
    return weft_fail(planner->error, WEFT_INVALID_ARGUMENT,
                     "input '%.*s': rank is %u, but %d is expected", WEFT_STR_ARGS(value->name),
                     rank, (int)value->shape.rank);
  }
  weft_shape *shape = &planner->facts.shapes[id];
  shape->rank = (int32_t)rank;
  for (int32_t i = 0; i < shape->rank; i++) {
    int64_t extent = planner->request->dims[index][i];
    weft_dim declared = value->shape.rank >= 0 ? value->shape.dims[i] : extent;
    WEFT_TRY(bind_dimension(planner, value->name, i, declared, extent));
    shape->dims[i] = extent;
  }
  uint64_t elements;
  return weft_shape_elements(shape, &elements, planner->error);
}

/* Facts start as those of inputs and constants; the rest is inferred in order. */
static weft_status init_facts(weft_planner *planner) {
  const weft_graph *graph = planner->graph;
  weft_arena *scratch = &planner->scratch;
  uint32_t count = graph->value_count;
  planner->facts = (weft_inference){
      .graph = (weft_graph *)(uintptr_t)graph, /* fixed inference only reads it */
      .arena = scratch,
      .shapes = WEFT_ARENA_ARRAY(scratch, weft_shape, count),
      .elements = WEFT_ARENA_ARRAY(scratch, weft_dim *, count),
      .dtypes = WEFT_ARENA_ARRAY(scratch, weft_dtype, count),
      .symbols = WEFT_ARENA_ARRAY(scratch, int64_t, graph->symbol_count),
      .fixed = true,
  };
  planner->alias = WEFT_ARENA_ARRAY(scratch, weft_value_id, count);
  planner->needed = WEFT_ARENA_ARRAY(scratch, bool, count);
  if (!planner->facts.shapes || !planner->facts.elements || !planner->facts.dtypes ||
      !planner->alias || !planner->needed || !planner->facts.symbols) {
    return weft_planner_no_memory(planner);
  }
  for (uint32_t i = 0; i < graph->symbol_count; i++) planner->facts.symbols[i] = -1;
  for (uint32_t i = 0; i < count; i++) {
    const weft_value *value = &graph->values[i];
    planner->alias[i] = WEFT_VALUE_NONE;
    planner->facts.shapes[i] = value->shape;
    planner->facts.dtypes[i] = value->dtype;
    if (value->kind == WEFT_VALUE_CONSTANT) planner->facts.elements[i] = value->elements;
  }
  if (planner->request->cache_rows) WEFT_TRY(weft_refresh_open(planner));
  for (uint32_t i = 0; i < graph->regions[0].input_count; i++) WEFT_TRY(bind_input(planner, i));
  return WEFT_OK;
}

bool weft_planner_is_host_value(const weft_planner *planner, weft_value_id value) {
  return weft_elements_are_fixed(&planner->facts.shapes[value], planner->facts.elements[value]);
}

/* Which branch an `if` takes must be known now. */
static weft_status choose_branch(weft_planner *planner, const weft_node *node, uint32_t *region) {
  weft_value_id condition = weft_planner_resolve(planner, node->inputs[0]);
  if (!weft_planner_is_host_value(planner, condition)) {
    return weft_fail(
        planner->error, WEFT_UNSUPPORTED,
        "node '%.*s' (%.*s): its condition '%.*s' depends on values computed at run time, which is "
        "not supported yet",
        WEFT_STR_ARGS(node->name), WEFT_STR_ARGS(node->origin),
        WEFT_STR_ARGS(planner->graph->values[condition].name));
  }
  bool taken = planner->facts.elements[condition][0] != 0;
  *region = taken ? node->attributes.branches.then_region : node->attributes.branches.else_region;
  return WEFT_OK;
}

typedef struct region_cursor {
  uint32_t region, next;
  const weft_node *branch; /* the `if` that led here; NULL for the main region */
} region_cursor;

/* The outputs of a finished branch stand for those of its `if`. */
static void finish_branch(weft_planner *planner, const region_cursor *cursor) {
  const weft_region *region = &planner->graph->regions[cursor->region];
  for (uint32_t i = 0; i < region->output_count; i++) {
    weft_value_id to = weft_planner_resolve(planner, region->outputs[i]),
                  from = cursor->branch->outputs[i];
    planner->alias[from] = to;
    planner->facts.shapes[from] = planner->facts.shapes[to];
    planner->facts.dtypes[from] = planner->facts.dtypes[to];
    planner->facts.elements[from] = planner->facts.elements[to];
  }
}

/* Infers node by node in execution order, following the branches that are taken, and lists the
 * nodes met. */
static weft_status order_nodes(weft_planner *planner) {
  const weft_graph *graph = planner->graph;
  planner->order = WEFT_ARENA_ARRAY(&planner->scratch, weft_node_id, graph->node_count);
  planner->runs = WEFT_ARENA_ARRAY(&planner->scratch, bool, graph->node_count);
  if (!planner->order || !planner->runs) return weft_planner_no_memory(planner);
  region_cursor stack[WEFT_MAX_SUBGRAPH_DEPTH + 1] = {{0, 0, NULL}};
  uint32_t depth = 1;
  while (depth > 0) {
    region_cursor *cursor = &stack[depth - 1];
    const weft_region *region = &graph->regions[cursor->region];
    if (cursor->next == region->node_count) {
      if (cursor->branch) finish_branch(planner, cursor);
      depth--;
      continue;
    }
    weft_node_id id = region->nodes[cursor->next++];
    const weft_node *node = &graph->nodes[id];
    if (node->removed) continue;
    if (node->op == WEFT_OP_IF) {
      if (depth > WEFT_MAX_SUBGRAPH_DEPTH) {
        return weft_fail(planner->error, WEFT_LIMIT_EXCEEDED, "branches are nested deeper than %u",
                         WEFT_MAX_SUBGRAPH_DEPTH);
      }
      region_cursor next = {.branch = node};
      WEFT_TRY(choose_branch(planner, node, &next.region));
      stack[depth++] = next;
      continue;
    }
    WEFT_TRY(weft_infer_node(&planner->facts, id, planner->error));
    planner->order[planner->order_count++] = id;
  }
  return WEFT_OK;
}

/* Backwards from the wanted outputs; values that inference computed need no producer. */
static void mark_needed(weft_planner *planner) {
  const weft_region *main = &planner->graph->regions[0];
  for (uint32_t i = 0; i < main->output_count; i++) {
    if (planner->request->wanted[i])
      planner->needed[weft_planner_resolve(planner, main->outputs[i])] = true;
  }
  for (uint32_t i = planner->order_count; i-- > 0;) {
    const weft_node *node = &planner->graph->nodes[planner->order[i]];
    bool needed = false;
    for (uint32_t o = 0; o < node->output_count; o++) {
      weft_value_id output = node->outputs[o];
      needed |= planner->needed[output] && !weft_planner_is_host_value(planner, output);
    }
    planner->runs[i] = needed;
    for (uint32_t k = 0; needed && k < node->input_count; k++) {
      if (node->inputs[k] != WEFT_VALUE_NONE)
        planner->needed[weft_planner_resolve(planner, node->inputs[k])] = true;
    }
  }
}

weft_status weft_plan_facts(weft_planner *planner) {
  WEFT_TRY(init_facts(planner));
  WEFT_TRY(order_nodes(planner));
  mark_needed(planner);
  return WEFT_OK;
}
