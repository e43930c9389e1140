/* graph.c - building a graph: values, nodes, regions, symbols, and releasing it with its weights.
 * Formats build, infer*.c fills in shapes and types, rewrite.c changes. */
#include "graph/infer.h"

static weft_status no_memory(const weft_graph *graph, weft_error *error) {
  return weft_arena_fail(&graph->arena, "the graph", error);
}

static weft_status too_many(weft_error *error, const char *what, uint32_t limit) {
  return weft_fail(error, WEFT_LIMIT_EXCEEDED, "more than %u %s", limit, what);
}

weft_status weft_graph_init(weft_graph *graph, weft_heap *heap, weft_error *error) {
  *graph = (weft_graph){0};
  weft_arena_init(&graph->arena, heap);
  weft_map_init(&graph->symbol_index, &graph->arena);
  uint32_t main_region;
  return weft_graph_add_region(graph, 0, &main_region, error);
}

void weft_graph_release(weft_graph *graph) {
  for (uint32_t i = 0; i < graph->value_count; i++) weft_buffer_release(&graph->values[i].data);
  weft_arena_release(&graph->arena);
  *graph = (weft_graph){0};
}

/* A copy of `name`, or one made of `prefix` and a number. .data is NULL without memory. */
static weft_str keep_name(weft_graph *graph, weft_str name, const char *prefix, uint32_t number) {
  if (name.length) return weft_arena_copy(&graph->arena, name);
  weft_str made = weft_arena_format(&graph->arena, "%s%u", prefix, number);
  return made.length ? made : (weft_str){NULL, 0};
}

weft_status weft_graph_add_value(weft_graph *graph, weft_str name, weft_value_kind kind,
                                 weft_dtype dtype, const weft_shape *shape, weft_value_id *out,
                                 weft_error *error) {
  if (graph->value_count >= WEFT_MAX_VALUES) return too_many(error, "values", WEFT_MAX_VALUES);
  weft_str kept = keep_name(graph, name, "value_", graph->value_count);
  if (!kept.data) return no_memory(graph, error);
  weft_value *value = WEFT_ARENA_PUSH(&graph->arena, graph->values, graph->value_count);
  if (!value) return no_memory(graph, error);
  *value = (weft_value){.name = kept, .kind = kind, .dtype = dtype, .producer = WEFT_NODE_NONE};
  value->shape = shape ? *shape : (weft_shape){.rank = -1};
  *out = graph->value_count - 1;
  return WEFT_OK;
}

/* ---- constants ------------------------------------------------------------------------------- */

weft_dim weft_decode_element(weft_dtype dtype, const uint8_t *bytes) {
  size_t size = weft_dtype_size(dtype);
  uint64_t bits = 0;
  for (size_t i = 0; i < size; i++) bits |= (uint64_t)bytes[i] << (8 * i);
  if (dtype == WEFT_U64 && bits > INT64_MAX) return WEFT_DIM_UNKNOWN;
  bool is_signed = dtype == WEFT_I8 || dtype == WEFT_I16 || dtype == WEFT_I32;
  if (is_signed && bits >> (8 * size - 1)) bits |= ~UINT64_C(0) << (8 * size);
  weft_dim element = (weft_dim)bits;
  return WEFT_DIM_IS_SYMBOL(element) ? WEFT_DIM_UNKNOWN : element;
}

bool weft_holds_elements(weft_dtype dtype, const weft_shape *shape, uint32_t *count) {
  if (dtype != WEFT_BOOL && !weft_dtype_is_integer(dtype)) return false;
  if (shape->rank != 0 && shape->rank != 1) return false;
  weft_dim elements = shape->rank ? shape->dims[0] : 1;
  if (elements < 0 || elements > WEFT_MAX_HOST_ELEMENTS) return false;
  *count = (uint32_t)elements;
  return true;
}

/* Small integer constants are known to shape arithmetic. A buffer of the wrong size is left to the
 * verifier. */
static weft_status decode_elements(weft_graph *graph, weft_value *value, weft_error *error) {
  uint32_t count;
  if (!weft_holds_elements(value->dtype, &value->shape, &count)) return WEFT_OK;
  uint64_t size = weft_dtype_size(value->dtype);
  if (value->data->bytes != count * size) return WEFT_OK;
  uint8_t bytes[WEFT_MAX_HOST_ELEMENTS * 8];
  WEFT_TRY(weft_buffer_read(value->data, 0, count * size, bytes, error));
  weft_dim *elements = WEFT_ARENA_ARRAY(&graph->arena, weft_dim, count);
  if (!elements) return no_memory(graph, error);
  for (uint32_t i = 0; i < count; i++)
    elements[i] = weft_decode_element(value->dtype, bytes + i * size);
  value->elements = elements;
  return WEFT_OK;
}

weft_status weft_graph_add_constant(weft_graph *graph, weft_str name, weft_dtype dtype,
                                    const weft_shape *shape, weft_buffer *data, weft_value_id *out,
                                    weft_error *error) {
  weft_status status =
      weft_graph_add_value(graph, name, WEFT_VALUE_CONSTANT, dtype, shape, out, error);
  if (status != WEFT_OK) {
    weft_buffer_release(&data);
    return status;
  }
  weft_value *value = &graph->values[*out];
  value->data = data;
  return decode_elements(graph, value, error);
}

weft_status weft_graph_make_constant(weft_graph *graph, weft_value_id id, weft_buffer *data,
                                     weft_error *error) {
  weft_value *value = &graph->values[id];
  value->kind = WEFT_VALUE_CONSTANT;
  value->producer = WEFT_NODE_NONE;
  value->data = data;
  return decode_elements(graph, value, error);
}

weft_status weft_graph_add_integers(weft_graph *graph, weft_str name, const int64_t *integers,
                                    int32_t count, weft_value_id *out, weft_error *error) {
  uint64_t length = count < 0 ? 1 : (uint64_t)count;
  weft_shape shape = {.rank = count < 0 ? 0 : 1, .dims = {(weft_dim)length}};
  weft_heap *heap = graph->arena.heap;
  weft_buffer *data = weft_buffer_new(heap, length * 8);
  if (!data) return weft_heap_fail(heap, length * 8, "a constant", error);
  for (uint64_t i = 0; i < length * 8; i++) {
    data->data[i] = (uint8_t)((uint64_t)integers[i / 8] >> (8 * (i % 8)));
  }
  return weft_graph_add_constant(graph, name, WEFT_I64, &shape, data, out, error);
}

/* ---- nodes, regions, symbols ----------------------------------------------------------------- */

static weft_status add_outputs(weft_graph *graph, weft_node_id id, weft_node *node,
                               weft_error *error) {
  weft_value_id value;
  for (uint32_t i = 0; i < node->output_count; i++) {
    WEFT_TRY(weft_graph_add_value(graph, WEFT_STR(""), WEFT_VALUE_COMPUTED, WEFT_DTYPE_NONE, NULL,
                                  &value, error));
    graph->values[value].producer = id;
    node->outputs[i] = value;
  }
  return WEFT_OK;
}

/* In an order in which a failure leaves nothing half made behind: first values, then the node. */
weft_status weft_graph_add_node(weft_graph *graph, uint32_t region, weft_op op, weft_str name,
                                weft_str origin, const weft_value_id *inputs, uint32_t input_count,
                                uint32_t output_count, weft_node **out, weft_error *error) {
  if (graph->node_count >= WEFT_MAX_NODES) return too_many(error, "nodes", WEFT_MAX_NODES);
  if (input_count > WEFT_MAX_NODE_INPUTS || output_count > WEFT_MAX_NODE_INPUTS) {
    return too_many(error, "inputs or outputs of a node", WEFT_MAX_NODE_INPUTS);
  }
  weft_arena *arena = &graph->arena;
  weft_node made = {.op = op,
                    .region = region,
                    .input_count = input_count,
                    .output_count = output_count,
                    .inputs = WEFT_ARENA_ARRAY(arena, weft_value_id, input_count),
                    .outputs = WEFT_ARENA_ARRAY(arena, weft_value_id, output_count),
                    .name = keep_name(graph, name, weft_op_facts_of(op)->name, graph->node_count),
                    .origin = weft_arena_copy(arena, origin)};
  if (!made.inputs || !made.outputs || !made.name.data || !made.origin.data) {
    return no_memory(graph, error);
  }
  if (input_count) memcpy(made.inputs, inputs, input_count * sizeof *inputs);
  WEFT_TRY(add_outputs(graph, graph->node_count, &made, error));
  weft_region *home = &graph->regions[region];
  weft_node *node = WEFT_ARENA_PUSH(arena, graph->nodes, graph->node_count);
  if (!node) return no_memory(graph, error);
  *node = made;
  weft_node_id *slot = WEFT_ARENA_PUSH(arena, home->nodes, home->node_count);
  if (!slot) return no_memory(graph, error);
  *slot = graph->node_count - 1;
  *out = node;
  return WEFT_OK;
}

weft_status weft_graph_add_region(weft_graph *graph, uint32_t parent, uint32_t *out,
                                  weft_error *error) {
  if (graph->region_count >= WEFT_MAX_NODES) return too_many(error, "regions", WEFT_MAX_NODES);
  weft_region *region = WEFT_ARENA_PUSH(&graph->arena, graph->regions, graph->region_count);
  if (!region) return no_memory(graph, error);
  region->parent = parent;
  *out = graph->region_count - 1;
  return WEFT_OK;
}

weft_status weft_graph_symbol(weft_graph *graph, weft_str name, weft_dim *out, weft_error *error) {
  uint32_t index = name.length ? weft_map_find(&graph->symbol_index, name) : WEFT_MAP_NONE;
  if (index != WEFT_MAP_NONE) {
    *out = WEFT_DIM_SYMBOL(index);
    return WEFT_OK;
  }
  if (graph->symbol_count >= WEFT_MAX_SYMBOLS - 1) {
    return too_many(error, "symbolic dimensions", WEFT_MAX_SYMBOLS - 1);
  }
  weft_str kept = weft_arena_copy(&graph->arena, name);
  if (!kept.data) return no_memory(graph, error);
  weft_str *symbol = WEFT_ARENA_PUSH(&graph->arena, graph->symbols, graph->symbol_count);
  if (!symbol) return no_memory(graph, error);
  *symbol = kept;
  index = graph->symbol_count - 1;
  if (name.length && !weft_map_set(&graph->symbol_index, kept, index)) {
    return no_memory(graph, error);
  }
  *out = WEFT_DIM_SYMBOL(index);
  return WEFT_OK;
}

weft_status weft_graph_simple_expr(weft_graph *graph, weft_expr_op op,
                                   const weft_dtype *input_dtypes, uint32_t input_count,
                                   weft_dtype dtype, weft_expr *out, weft_error *error) {
  *out = (weft_expr){.input_count = (uint8_t)input_count, .code_count = 1};
  for (uint32_t i = 0; i < input_count && i < WEFT_EXPR_INPUTS_MAX; i++) {
    out->input_dtypes[i] = (uint8_t)input_dtypes[i];
  }
  out->code = WEFT_ARENA_NEW(&graph->arena, weft_instruction);
  if (!out->code) return no_memory(graph, error);
  out->code[0] =
      (weft_instruction){.op = (uint8_t)op, .dtype = (uint8_t)dtype, .operands = {0, 1, 2}};
  return WEFT_OK;
}
