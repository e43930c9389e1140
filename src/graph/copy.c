/* copy.c - a copy of a graph: each session optimises its own, weights are shared. */
#include "graph/infer.h"

/* An arena array that WEFT_ARENA_PUSH can go on with (room for a power of two), with a copy of
 * `count` items; NULL without memory. */
static void *copy_array(weft_arena *arena, const void *items, uint32_t count, uint64_t size) {
  uint64_t capacity = 4;
  while (capacity < count) capacity *= 2;
  void *copy = weft_arena_array(arena, capacity, size);
  if (copy && count) memcpy(copy, items, (size_t)(count * size));
  return copy;
}

static bool copy_expr(weft_arena *arena, weft_expr *expr) {
  expr->code = copy_array(arena, expr->code, expr->code_count, sizeof *expr->code);
  return expr->code != NULL;
}

static bool copy_value(weft_arena *arena, weft_value *value) {
  value->name = weft_arena_copy(arena, value->name);
  if (value->data) weft_buffer_retain(value->data);
  if (value->elements) {
    uint32_t count = value->shape.rank == 1 ? (uint32_t)value->shape.dims[0] : 1;
    value->elements = copy_array(arena, value->elements, count, sizeof *value->elements);
    if (!value->elements) return false;
  }
  return value->name.data != NULL;
}

static bool copy_node(weft_arena *arena, weft_node *node) {
  node->inputs = copy_array(arena, node->inputs, node->input_count, sizeof *node->inputs);
  node->outputs = copy_array(arena, node->outputs, node->output_count, sizeof *node->outputs);
  node->name = weft_arena_copy(arena, node->name);
  node->origin = weft_arena_copy(arena, node->origin);
  if (node->op == WEFT_OP_MAP && !copy_expr(arena, &node->attributes.map.expr)) return false;
  if (node->op == WEFT_OP_MATMUL && !copy_expr(arena, &node->attributes.matmul.expr)) return false;
  return node->inputs && node->outputs && node->name.data && node->origin.data;
}

static bool copy_region(weft_arena *arena, weft_region *region) {
  region->nodes = copy_array(arena, region->nodes, region->node_count, sizeof *region->nodes);
  region->inputs = copy_array(arena, region->inputs, region->input_count, sizeof *region->inputs);
  region->outputs =
      copy_array(arena, region->outputs, region->output_count, sizeof *region->outputs);
  return region->nodes && region->inputs && region->outputs;
}

static bool copy_symbols(weft_graph *graph) {
  for (uint32_t i = 0; i < graph->symbol_count; i++) {
    weft_str *name = &graph->symbols[i];
    *name = weft_arena_copy(&graph->arena, *name);
    if (!name->data) return false;
    if (name->length && !weft_map_set(&graph->symbol_index, *name, i)) return false;
  }
  return true;
}

/* Values go first, one by one, so that a graph that fails half-way holds what it has retained and
 * can be released. */
static bool copy_all(const weft_graph *from, weft_graph *out) {
  weft_arena *arena = &out->arena;
  weft_value *values = copy_array(arena, from->values, from->value_count, sizeof *values);
  if (!values) return false;
  out->values = values;
  for (uint32_t i = 0; i < from->value_count; i++) {
    out->value_count = i + 1;
    if (!copy_value(arena, &values[i])) return false;
  }
  out->nodes = copy_array(arena, from->nodes, from->node_count, sizeof *out->nodes);
  out->regions = copy_array(arena, from->regions, from->region_count, sizeof *out->regions);
  out->symbols = copy_array(arena, from->symbols, from->symbol_count, sizeof *out->symbols);
  if (!out->nodes || !out->regions || !out->symbols) return false;
  out->node_count = from->node_count;
  out->region_count = from->region_count;
  out->symbol_count = from->symbol_count;
  for (uint32_t i = 0; i < out->node_count; i++) {
    if (!copy_node(arena, &out->nodes[i])) return false;
  }
  for (uint32_t i = 0; i < out->region_count; i++) {
    if (!copy_region(arena, &out->regions[i])) return false;
  }
  return copy_symbols(out);
}

weft_status weft_graph_copy(const weft_graph *from, weft_heap *heap, weft_graph *out,
                            weft_error *error) {
  *out = (weft_graph){0};
  weft_arena_init(&out->arena, heap);
  weft_map_init(&out->symbol_index, &out->arena);
  if (copy_all(from, out)) return WEFT_OK;
  weft_status status = weft_arena_fail(&out->arena, "a copy of the graph", error);
  weft_graph_release(out);
  return status;
}
