/* verify.c - the one verifier of graphs: every rule on structure that inference, planner and
 * devices rely on. The rules for single nodes are in check.c. */
#include "graph/infer.h"

typedef struct verifier {
  const weft_graph *graph;
  weft_error *error;
  weft_arena scratch;
  bool *listed;    /* by node: it stands in a region */
  bool *executed;  /* by node: the walk has passed it */
  bool *entered;   /* by region: some `if` has it as a branch */
  bool *open;      /* by region: the walk is inside */
  uint32_t *owner; /* by value: the region that it is an input of, or NO_REGION */
} verifier;

enum { NO_REGION = UINT32_MAX };

static weft_status fail_value(const verifier *v, const weft_value *value, const char *what) {
  int shown = value->name.length < 120 ? (int)value->name.length : 120;
  return weft_fail(v->error, WEFT_INVALID_MODEL, "value '%.*s' %s", shown,
                   value->name.data ? value->name.data : "", what);
}

static weft_status fail_node(const verifier *v, const weft_node *node, const char *what) {
  return weft_node_fail(node, v->error, WEFT_INVALID_MODEL, "%s", what);
}

static weft_status fail_region(const verifier *v, uint32_t region, const char *what) {
  return weft_fail(v->error, WEFT_INVALID_MODEL, "region %u %s", region, what);
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool is_dim(const weft_graph *graph, weft_dim dim) {
  if (!WEFT_DIM_IS_SYMBOL(dim)) return dim >= 0;
  return WEFT_DIM_SYMBOL_INDEX(dim) < graph->symbol_count;
}

static weft_status verify_shape(const verifier *v, const weft_value *value) {
  if (value->shape.rank < -1 || value->shape.rank > WEFT_RANK_MAX) {
    return fail_value(v, value, "has a rank above 8");
  }
  for (int32_t i = 0; i < value->shape.rank; i++) {
    if (!is_dim(v->graph, value->shape.dims[i])) {
      return fail_value(v, value, "has a dimension that is neither an extent nor a symbol");
    }
  }
  uint64_t elements;
  if (weft_shape_elements(&value->shape, &elements, NULL) == WEFT_OK) return WEFT_OK;
  return fail_value(v, value, "has more elements than the limit");
}

static weft_status verify_elements(const verifier *v, const weft_value *value) {
  uint32_t count;
  if (!value->elements) return WEFT_OK;
  if (!weft_holds_elements(value->dtype, &value->shape, &count)) {
    return fail_value(v, value, "has known elements, but is no small list of integers");
  }
  for (uint32_t i = 0; i < count; i++) {
    weft_dim element = value->elements[i];
    if (WEFT_DIM_IS_SYMBOL(element) && element != WEFT_DIM_UNKNOWN && !is_dim(v->graph, element)) {
      return fail_value(v, value, "has an element that is no symbol of the graph");
    }
  }
  return WEFT_OK;
}

/* A constant without data was let go by a rewrite; nobody may use it. The bytes of a packed one are
 * its device's affair. */
static weft_status verify_constant(const verifier *v, const weft_value *value) {
  if (!value->data) return WEFT_OK;
  if (!weft_shape_is_fixed(&value->shape)) {
    return fail_value(v, value, "is a constant whose shape is not fixed");
  }
  if (value->layout != WEFT_LAYOUT_DENSE) return WEFT_OK;
  uint64_t elements, bytes, size = weft_dtype_size(value->dtype);
  WEFT_TRY(weft_shape_elements(&value->shape, &elements, v->error));
  if (size && weft_mul_u64(elements, size, &bytes) && bytes == value->data->bytes) return WEFT_OK;
  return fail_value(v, value, "is a constant with another number of bytes than its shape says");
}

/* A computed value without a producer is what a rewrite left behind; nobody may use it. */
static weft_status verify_producer(const verifier *v, weft_value_id id) {
  const weft_value *value = &v->graph->values[id];
  if (value->producer == WEFT_NODE_NONE) return WEFT_OK;
  if (value->producer >= v->graph->node_count) return fail_value(v, value, "has no producer");
  const weft_node *node = &v->graph->nodes[value->producer];
  for (uint32_t i = 0; i < node->output_count && !node->removed; i++) {
    if (node->outputs[i] == id) return WEFT_OK;
  }
  return fail_value(v, value, "is no output of the node that it names as its producer");
}

static weft_status verify_value(const verifier *v, weft_value_id id) {
  const weft_value *value = &v->graph->values[id];
  if (value->name.length == 0) return fail_value(v, value, "has no name");
  bool computed = value->kind == WEFT_VALUE_COMPUTED, constant = value->kind == WEFT_VALUE_CONSTANT;
  if (!computed && !constant && value->kind != WEFT_VALUE_INPUT) {
    return fail_value(v, value, "is of no known kind");
  }
  if (!computed && value->dtype == WEFT_DTYPE_NONE) return fail_value(v, value, "has no type");
  if (!constant && value->data) return fail_value(v, value, "has data, but is no constant");
  if (!computed && value->producer != WEFT_NODE_NONE) {
    return fail_value(v, value, "has a producer, but is not computed");
  }
  WEFT_TRY(verify_shape(v, value));
  WEFT_TRY(verify_elements(v, value));
  return constant ? verify_constant(v, value) : verify_producer(v, id);
}

/* ---- regions --------------------------------------------------------------------------------- */

static weft_status verify_list(verifier *v, uint32_t id) {
  const weft_region *region = &v->graph->regions[id];
  for (uint32_t i = 0; i < region->node_count; i++) {
    weft_node_id node = region->nodes[i];
    if (node >= v->graph->node_count) return fail_region(v, id, "lists a node that is not there");
    if (v->graph->nodes[node].region != id) {
      return fail_node(v, &v->graph->nodes[node], "stands in a region that is not its own");
    }
    if (v->listed[node]) return fail_node(v, &v->graph->nodes[node], "stands in its region twice");
    v->listed[node] = true;
  }
  return WEFT_OK;
}

static weft_status verify_region(verifier *v, uint32_t id) {
  const weft_graph *graph = v->graph;
  const weft_region *region = &graph->regions[id];
  if (region->parent >= graph->region_count || (region->parent == id) != (id == 0)) {
    return fail_region(v, id, "lies in no other region");
  }
  for (uint32_t i = 0; i < region->input_count; i++) {
    weft_value_id input = region->inputs[i];
    if (input >= graph->value_count || graph->values[input].kind != WEFT_VALUE_INPUT) {
      return fail_region(v, id, "has an input that is none");
    }
    if (v->owner[input] != NO_REGION) {
      return fail_value(v, &graph->values[input], "is an input twice");
    }
    v->owner[input] = id;
  }
  for (uint32_t i = 0; i < region->output_count; i++) {
    if (region->outputs[i] >= graph->value_count) {
      return fail_region(v, id, "has an output that is not there");
    }
  }
  return verify_list(v, id);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* Every output has this node as its producer, and is one output only. */
static weft_status verify_outputs(const verifier *v, weft_node_id id) {
  const weft_node *node = &v->graph->nodes[id];
  for (uint32_t i = 0; i < node->output_count; i++) {
    const weft_value *value = &v->graph->values[node->outputs[i]];
    if (value->kind != WEFT_VALUE_COMPUTED || value->producer != id) {
      return fail_node(v, node, "has an output that is made elsewhere");
    }
    for (uint32_t k = 0; k < i; k++) {
      if (node->outputs[k] == node->outputs[i]) return fail_node(v, node, "has an output twice");
    }
  }
  return WEFT_OK;
}

static weft_status verify_branch(verifier *v, const weft_node *node, uint32_t region) {
  if (v->entered[region]) return fail_node(v, node, "has a branch that is another one too");
  if (v->graph->regions[region].parent != node->region) {
    return fail_node(v, node, "has a branch that lies in another region");
  }
  v->entered[region] = true;
  return WEFT_OK;
}

static weft_status verify_node(verifier *v, weft_node_id id) {
  const weft_node *node = &v->graph->nodes[id];
  if (node->removed) return WEFT_OK;
  if (node->name.length == 0) return fail_node(v, node, "has no name");
  if (!v->listed[id]) return fail_node(v, node, "stands in no region");
  WEFT_TRY(weft_check_node(v->graph, node, v->error));
  WEFT_TRY(verify_outputs(v, id));
  if (node->op != WEFT_OP_IF) return WEFT_OK;
  WEFT_TRY(verify_branch(v, node, node->attributes.branches.then_region));
  return verify_branch(v, node, node->attributes.branches.else_region);
}

/* ---- order and types ------------------------------------------------------------------------- */

/* The value is there at this point of the walk. */
static bool is_visible(const verifier *v, weft_value_id id) {
  const weft_value *value = &v->graph->values[id];
  if (value->kind == WEFT_VALUE_CONSTANT) return value->data != NULL;
  if (value->kind == WEFT_VALUE_INPUT) {
    return v->owner[id] != NO_REGION && v->open[v->owner[id]];
  }
  return value->producer != WEFT_NODE_NONE && v->executed[value->producer] &&
         v->open[v->graph->nodes[value->producer].region];
}

/* Types are compared where both sides are known: branches that are never taken stay untyped. */
static weft_status verify_types(const verifier *v, const weft_node *node) {
  weft_inference at = {.graph = (weft_graph *)(uintptr_t)v->graph}; /* only read */
  weft_dtype dtype, given = v->graph->values[node->outputs[0]].dtype;
  if (given == WEFT_DTYPE_NONE) return WEFT_OK;
  WEFT_TRY(weft_check_types(&at, node, &dtype, v->error));
  if (node->op == WEFT_OP_IF || dtype == given) return WEFT_OK;
  return weft_node_fail(node, v->error, WEFT_INVALID_MODEL, "its output is marked as %s, not %s",
                        weft_dtype_name(given), weft_dtype_name(dtype));
}

static weft_status execute(verifier *v, weft_node_id id) {
  const weft_node *node = &v->graph->nodes[id];
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] != WEFT_VALUE_NONE && !is_visible(v, node->inputs[i])) {
      return weft_node_fail(node, v->error, WEFT_INVALID_MODEL,
                            "input %u is not made before it is used", i);
    }
  }
  v->executed[id] = true;
  return verify_types(v, node);
}

static weft_status leave(verifier *v, uint32_t id) {
  const weft_region *region = &v->graph->regions[id];
  for (uint32_t i = 0; i < region->output_count; i++) {
    if (!is_visible(v, region->outputs[i])) {
      return fail_value(v, &v->graph->values[region->outputs[i]],
                        "is an output, but is not made in its region");
    }
  }
  v->open[id] = false;
  return WEFT_OK;
}

static weft_status verify_order(verifier *v) {
  weft_walk walk;
  weft_walk_start(&walk, v->graph);
  v->open[0] = true;
  for (;;) {
    switch (weft_walk_next(&walk)) {
    case WEFT_WALK_END:
      return leave(v, 0);
    case WEFT_WALK_NODE:
      WEFT_TRY(execute(v, walk.node));
      break;
    case WEFT_WALK_ENTER:
      v->open[walk.region] = true;
      break;
    case WEFT_WALK_LEAVE:
      WEFT_TRY(leave(v, walk.region));
      break;
    case WEFT_WALK_TOO_DEEP:
      return fail_node(v, &v->graph->nodes[walk.node], "has branches nested too deep");
    }
  }
}

/* ---- all ------------------------------------------------------------------------------------- */

static weft_status verify(verifier *v) {
  const weft_graph *graph = v->graph;
  v->listed = WEFT_ARENA_ARRAY(&v->scratch, bool, graph->node_count);
  v->executed = WEFT_ARENA_ARRAY(&v->scratch, bool, graph->node_count);
  v->entered = WEFT_ARENA_ARRAY(&v->scratch, bool, graph->region_count);
  v->open = WEFT_ARENA_ARRAY(&v->scratch, bool, graph->region_count);
  v->owner = WEFT_ARENA_ARRAY(&v->scratch, uint32_t, graph->value_count);
  if (!v->listed || !v->executed || !v->entered || !v->open || !v->owner) {
    return weft_arena_fail(&v->scratch, "the verifier", v->error);
  }
  for (uint32_t i = 0; i < graph->value_count; i++) v->owner[i] = NO_REGION;
  for (uint32_t i = 0; i < graph->value_count; i++) WEFT_TRY(verify_value(v, i));
  for (uint32_t i = 0; i < graph->region_count; i++) WEFT_TRY(verify_region(v, i));
  for (uint32_t i = 0; i < graph->node_count; i++) WEFT_TRY(verify_node(v, i));
  return verify_order(v);
}

weft_status weft_graph_verify(const weft_graph *graph, weft_error *error) {
  verifier v = {.graph = graph, .error = error};
  weft_arena_init(&v.scratch, graph->arena.heap);
  weft_status status = verify(&v);
  weft_arena_release(&v.scratch);
  return status;
}
