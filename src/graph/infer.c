/* infer.c - shape inference: the walk over the graph, the dispatch by op, and the merging of what
 * is inferred with what was known. The ops are in infer_view.c, infer_math.c and infer_data.c, the
 * contents of small integer tensors in host_value.c. */
#include "graph/infer.h"

/* ---- facts ----------------------------------------------------------------------------------- */

weft_shape *weft_facts_shape(const weft_inference *at, weft_value_id value) {
  return at->shapes ? &at->shapes[value] : &at->graph->values[value].shape;
}

weft_dim **weft_facts_elements(const weft_inference *at, weft_value_id value) {
  return at->elements ? &at->elements[value] : &at->graph->values[value].elements;
}

weft_dtype *weft_facts_dtype(const weft_inference *at, weft_value_id value) {
  return at->dtypes ? &at->dtypes[value] : &at->graph->values[value].dtype;
}

bool weft_input_has(const weft_infer *infer, uint32_t input) {
  return input < infer->node->input_count && infer->node->inputs[input] != WEFT_VALUE_NONE;
}

const weft_shape *weft_input_shape(const weft_infer *infer, uint32_t input) {
  static const weft_shape unknown = {.rank = -1};
  if (!weft_input_has(infer, input)) return &unknown;
  return weft_facts_shape(infer->at, infer->node->inputs[input]);
}

const weft_dim *weft_input_elements(const weft_infer *infer, uint32_t input) {
  if (!weft_input_has(infer, input)) return NULL;
  return *weft_facts_elements(infer->at, infer->node->inputs[input]);
}

weft_dim weft_input_element(const weft_infer *infer, uint32_t input, int64_t index) {
  const weft_dim *elements = weft_input_elements(infer, input);
  return elements ? elements[index] : WEFT_DIM_UNKNOWN;
}

weft_status weft_input_length(const weft_infer *infer, uint32_t input, int64_t *out) {
  const weft_shape *shape = weft_input_shape(infer, input);
  if (shape->rank > 1) {
    return weft_infer_fail(infer, "input %u is %s, but a list is needed", input,
                           WEFT_SHAPE_TEXT(infer, shape));
  }
  weft_dim length = shape->rank == 1 ? shape->dims[0] : shape->rank == 0 ? 1 : -1;
  *out = WEFT_DIM_IS_SYMBOL(length) ? -1 : length;
  return WEFT_OK;
}

/* ---- failures -------------------------------------------------------------------------------- */

weft_shape_text weft_infer_shape_text(const weft_infer *infer, const weft_shape *shape) {
  weft_shape_text out;
  weft_text text = {.buffer = out.text, .size = sizeof out.text};
  weft_shape_print(infer->at->graph, shape, &text);
  return out;
}

weft_status weft_infer_fail(const weft_infer *infer, const char *format, ...) {
  weft_status status = infer->at->fixed ? WEFT_INVALID_ARGUMENT : WEFT_INVALID_MODEL;
  va_list list;
  va_start(list, format);
  weft_node_fail_list(infer->node, infer->error, status, format, list);
  va_end(list);
  return status;
}

weft_status weft_infer_fail_unknown(const weft_infer *infer) {
  return weft_node_fail(infer->node, infer->error, WEFT_UNSUPPORTED,
                        "its shape depends on values computed at run time, which is not supported");
}

weft_status weft_infer_axis(const weft_infer *infer, int64_t axis, int32_t rank, int32_t *out) {
  if (axis < -rank || axis >= rank) {
    return weft_infer_fail(infer, "axis %lld is out of range for rank %d", (long long)axis, rank);
  }
  *out = (int32_t)(axis < 0 ? axis + rank : axis);
  return WEFT_OK;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Names may be long: a message has to keep room for the rest. */
static int shown_bytes(weft_str name) {
  return name.length < 100 ? (int)name.length : 100;
}

static weft_status fail_contradiction(const weft_infer *infer, weft_value_id value,
                                      const weft_shape *before, const weft_shape *now) {
  weft_str name = infer->at->graph->values[value].name;
  return weft_infer_fail(infer, "its output '%.*s' is %s, but %s is expected", shown_bytes(name),
                         name.data, WEFT_SHAPE_TEXT(infer, now), WEFT_SHAPE_TEXT(infer, before));
}

static bool is_anonymous(const weft_graph *graph, weft_dim dim) {
  return WEFT_DIM_IS_SYMBOL(dim) && graph->symbols[WEFT_DIM_SYMBOL_INDEX(dim)].length == 0;
}

/* At load. An inferred extent or name stands; a dimension without one takes what was there. */
static weft_status merge_dim(const weft_infer *infer, weft_dim before, weft_dim *dim, bool *good) {
  const weft_graph *graph = infer->at->graph;
  bool was_known = before != WEFT_DIM_UNKNOWN;
  if (*dim == WEFT_DIM_UNKNOWN) {
    if (!was_known) return weft_graph_symbol(infer->at->graph, WEFT_STR(""), dim, infer->error);
    *dim = before;
  } else if (was_known && is_anonymous(graph, *dim) && !is_anonymous(graph, before)) {
    *dim = before;
  }
  *good &= !was_known || WEFT_DIM_IS_SYMBOL(before) || WEFT_DIM_IS_SYMBOL(*dim) || before == *dim;
  return WEFT_OK;
}

static weft_status merge_at_load(const weft_infer *infer, weft_value_id value, weft_shape *shape) {
  const weft_shape *before = weft_facts_shape(infer->at, value);
  if (shape->rank < 0) {
    *shape = *before;
    return WEFT_OK;
  }
  if (before->rank >= 0 && before->rank != shape->rank) {
    return fail_contradiction(infer, value, before, shape);
  }
  bool good = true;
  for (int32_t i = 0; i < shape->rank; i++) {
    weft_dim was = before->rank < 0 ? WEFT_DIM_UNKNOWN : before->dims[i];
    WEFT_TRY(merge_dim(infer, was, &shape->dims[i], &good));
  }
  return good ? WEFT_OK : fail_contradiction(infer, value, before, shape);
}

/* A symbol stands for one extent in all of a run. */
static bool follow_symbol(const weft_inference *at, weft_dim symbol, weft_dim extent) {
  if (!at->symbols) return true;
  int64_t *bound = &at->symbols[WEFT_DIM_SYMBOL_INDEX(symbol)];
  if (*bound < 0) *bound = extent;
  return *bound == extent;
}

static weft_status fail_symbol(const weft_infer *infer, const weft_value *value,
                               const weft_shape *now, weft_dim symbol) {
  char name[80];
  weft_text text = {.buffer = name, .size = sizeof name};
  weft_dim_print(infer->at->graph, symbol, &text);
  return weft_infer_fail(infer, "its output '%.*s' is %s, but %s is expected, with %s = %lld",
                         shown_bytes(value->name), value->name.data, WEFT_SHAPE_TEXT(infer, now),
                         WEFT_SHAPE_TEXT(infer, &value->shape), name,
                         (long long)infer->at->symbols[WEFT_DIM_SYMBOL_INDEX(symbol)]);
}

/* At bind. Rewrites were built upon what was found at load, so the run must not contradict it. */
static weft_status merge_at_bind(const weft_infer *infer, weft_value_id value,
                                 const weft_shape *shape) {
  const weft_value *before = &infer->at->graph->values[value];
  for (int32_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] == WEFT_DIM_UNKNOWN) return weft_infer_fail_unknown(infer);
  }
  if (shape->rank < 0) return weft_infer_fail_unknown(infer);
  if (before->shape.rank < 0) return WEFT_OK;
  bool good = before->shape.rank == shape->rank;
  for (int32_t i = 0; good && i < shape->rank; i++) {
    weft_dim dim = before->shape.dims[i];
    good = WEFT_DIM_IS_SYMBOL(dim) || dim == shape->dims[i];
    if (WEFT_DIM_IS_SYMBOL(dim) && !follow_symbol(infer->at, dim, shape->dims[i])) {
      return fail_symbol(infer, before, shape, dim);
    }
  }
  return good ? WEFT_OK : fail_contradiction(infer, value, &before->shape, shape);
}

static weft_status check_size(const weft_infer *infer, const weft_shape *shape) {
  uint64_t elements;
  weft_error inner;
  weft_status status = weft_shape_elements(shape, &elements, &inner);
  if (status == WEFT_OK) return WEFT_OK;
  return weft_node_fail(infer->node, infer->error, status, "its output %s is %s",
                        WEFT_SHAPE_TEXT(infer, shape), inner.message);
}

/* Where `count` known elements of a value are to lie. */
static weft_dim *room_for_elements(const weft_inference *at, weft_value_id value, uint32_t count) {
  if (!at->stores) return WEFT_ARENA_ARRAY(at->arena, weft_dim, count);
  weft_element_store *store = &at->stores[value];
  if (store->elements && count <= store->room) return store->elements;
  store->elements = WEFT_ARENA_ARRAY(at->arena, weft_dim, count);
  store->room = count;
  return store->elements;
}

/* Keeps a copy of known elements, unless all are unknown or kept already. */
static weft_status keep_elements(const weft_infer *infer, weft_value_id value,
                                 const weft_dim *elements, uint32_t count) {
  weft_dim **slot = weft_facts_elements(infer->at, value);
  bool any = count == 0;
  for (uint32_t i = 0; i < count; i++) any |= elements[i] != WEFT_DIM_UNKNOWN;
  if (!any) {
    *slot = NULL;
    return WEFT_OK;
  }
  if (*slot && memcmp(*slot, elements, count * sizeof *elements) == 0) return WEFT_OK;
  weft_dim *kept = room_for_elements(infer->at, value, count);
  if (!kept) return weft_arena_fail(infer->at->arena, "shape arithmetic", infer->error);
  memcpy(kept, elements, count * sizeof *elements);
  *slot = kept;
  if (infer->at->changed) infer->at->changed[value] = true;
  return WEFT_OK;
}

weft_status weft_infer_output_at(weft_infer *infer, uint32_t output, weft_dtype dtype,
                                 const weft_shape *shape, const weft_dim *elements) {
  const weft_inference *at = infer->at;
  weft_value_id value = infer->node->outputs[output];
  weft_dtype before = at->graph->values[value].dtype;
  if (before != WEFT_DTYPE_NONE && before != dtype) {
    return weft_infer_fail(infer, "output %u is %s, but %s is expected", output,
                           weft_dtype_name(dtype), weft_dtype_name(before));
  }
  weft_shape merged = *shape;
  WEFT_TRY(check_size(infer, &merged));
  WEFT_TRY(at->fixed ? merge_at_bind(infer, value, &merged) : merge_at_load(infer, value, &merged));
  weft_dim **slot = weft_facts_elements(at, value);
  uint32_t count;
  bool was_known = *slot != NULL;
  if (!weft_shape_equal(&merged, weft_facts_shape(at, value))) {
    *slot = NULL;
    if (at->changed) at->changed[value] = true;
  }
  *weft_facts_shape(at, value) = merged;
  *weft_facts_dtype(at, value) = dtype;
  if (elements && weft_holds_elements(dtype, &merged, &count))
    WEFT_TRY(keep_elements(infer, value, elements, count));
  else
    *slot = NULL;
  if (at->changed && was_known && !*slot) at->changed[value] = true;
  return WEFT_OK;
}

weft_status weft_infer_output(weft_infer *infer, const weft_shape *shape) {
  uint32_t count;
  bool known = false;
  weft_dim elements[WEFT_MAX_HOST_ELEMENTS];
  if (weft_holds_elements(infer->dtype, shape, &count)) {
    WEFT_TRY(weft_host_elements(infer, shape, count, elements, &known));
  }
  return weft_infer_output_at(infer, 0, infer->dtype, shape, known ? elements : NULL);
}

/* ---- nodes and graphs ------------------------------------------------------------------------ */

static weft_status (*const functions[WEFT_OP_COUNT])(weft_infer *) = {
#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes)                         \
  [WEFT_OP_##id] = weft_infer_##name,
#include "graph/ops.inc"
#undef WEFT_OP
};

weft_status weft_infer_node(weft_inference *inference, weft_node_id id, weft_error *error) {
  const weft_node *node = &inference->graph->nodes[id];
  weft_infer infer = {.at = inference, .node = node, .error = error};
  WEFT_TRY(weft_check_node(inference->graph, node, error));
  WEFT_TRY(weft_check_types(inference, node, &infer.dtype, error));
  return functions[node->op](&infer);
}

/* The branch of an `if` is known not to be taken. */
static bool is_dead_branch(const weft_graph *graph, const weft_node *node, uint32_t region) {
  const weft_value *condition = &graph->values[node->inputs[0]];
  if (!weft_elements_are_fixed(&condition->shape, condition->elements)) return false;
  const weft_attributes *a = &node->attributes;
  return region != (condition->elements[0] ? a->branches.then_region : a->branches.else_region);
}

weft_status weft_infer_graph(weft_graph *graph, weft_error *error) {
  weft_inference inference = weft_inference_at_load(graph);
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (;;) {
    switch (weft_walk_next(&walk)) {
    case WEFT_WALK_END:
      return WEFT_OK;
    case WEFT_WALK_NODE:
      WEFT_TRY(weft_infer_node(&inference, walk.node, error));
      break;
    case WEFT_WALK_ENTER:
      WEFT_TRY(weft_check_node(graph, &graph->nodes[walk.node], error));
      if (is_dead_branch(graph, &graph->nodes[walk.node], walk.region)) weft_walk_skip(&walk);
      break;
    case WEFT_WALK_LEAVE:
      break;
    case WEFT_WALK_TOO_DEEP:
      return weft_node_fail(&graph->nodes[walk.node], error, WEFT_LIMIT_EXCEEDED,
                            "branches are nested deeper than %u", WEFT_MAX_SUBGRAPH_DEPTH);
    }
  }
}

weft_status weft_infer_broadcast(weft_inference *inference, const weft_shape *a,
                                 const weft_shape *b, weft_shape *out, weft_error *error) {
  weft_infer infer = {.at = inference, .error = error};
  WEFT_TRY(weft_infer_join(&infer, a, b, out));
  for (int32_t i = 0; i < out->rank; i++) {
    if (out->dims[i] != WEFT_DIM_UNKNOWN) continue;
    WEFT_TRY(weft_graph_symbol(inference->graph, WEFT_STR(""), &out->dims[i], error));
  }
  return WEFT_OK;
}
