/* pack_weights.c - constant right sides of matmuls into the layout of the device's kernel, one
 * weight at a time: each one's dense bytes go as soon as it is packed. */
#include "opt/opt.h"

typedef struct packing {
  weft_graph *graph;
  const weft_opt_context *context;
  weft_arena arena;
  weft_users users;
  weft_value_id *packed; /* by value: its packed twin, where it has dense users too; else NONE */
  uint64_t done, total;
  weft_error *error;
} packing;

static bool is_packable(const weft_graph *graph, const weft_node *node) {
  if (node->removed || node->op != WEFT_OP_MATMUL) return false;
  const weft_value *weight = &graph->values[node->inputs[1]];
  return weight->kind == WEFT_VALUE_CONSTANT && weight->layout == WEFT_LAYOUT_DENSE && weight->data;
}

/* Every use of the value is as the right side of a matmul. */
static bool only_right_sides(const packing *pack, weft_value_id value) {
  for (uint32_t u = pack->users.first[value]; u < pack->users.first[value + 1]; u++) {
    weft_node_id user = pack->users.nodes[u];
    if (user == WEFT_NODE_NONE) return false;
    const weft_node *node = &pack->graph->nodes[user];
    if (node->op != WEFT_OP_MATMUL) return false;
    for (uint32_t i = 0; i < node->input_count; i++) {
      if (node->inputs[i] == value && i != 1) return false;
    }
  }
  return true;
}

/* Puts packed bytes where the weight's were, or beside them where others still need those. */
static weft_status install(packing *pack, weft_node *node, weft_buffer *buffer,
                           weft_layout layout) {
  weft_value_id id = node->inputs[1], twin = id;
  if (only_right_sides(pack, id)) {
    weft_buffer_release(&pack->graph->values[id].data);
    pack->graph->values[id].data = buffer;
  } else {
    const weft_value *value = &pack->graph->values[id];
    weft_shape shape = value->shape;
    weft_str name =
        weft_arena_format(&pack->graph->arena, "%.*s/packed", WEFT_STR_ARGS(value->name));
    WEFT_TRY(weft_graph_add_constant(pack->graph, name, value->dtype, &shape, buffer, &twin,
                                     pack->error));
    pack->packed[id] = twin;
    node->inputs[1] = twin;
  }
  pack->graph->values[twin].layout = layout;
  return WEFT_OK;
}

static weft_status pack_node(packing *pack, weft_node *node) {
  weft_value_id id = node->inputs[1];
  if (pack->packed[id] != WEFT_VALUE_NONE) {
    node->inputs[1] = pack->packed[id];
    return WEFT_OK;
  }
  const weft_opt_context *context = pack->context;
  weft_buffer *buffer = NULL;
  weft_layout layout = WEFT_LAYOUT_DENSE;
  uint64_t bytes = pack->graph->values[id].data->bytes;
  WEFT_TRY(context->pack(context->user, pack->graph, node, 1, &buffer, &layout, pack->error));
  if (buffer) WEFT_TRY(install(pack, node, buffer, layout));
  pack->done += bytes;
  if (context->progress && !context->progress(context->user, pack->done, pack->total)) {
    return weft_fail(pack->error, WEFT_CANCELLED, "cancelled while weights were packed");
  }
  return WEFT_OK;
}

static weft_status pack_all(packing *pack) {
  weft_graph *graph = pack->graph;
  WEFT_TRY(weft_graph_users(graph, &pack->arena, &pack->users, pack->error));
  pack->packed = WEFT_ARENA_ARRAY(&pack->arena, weft_value_id, graph->value_count + 1);
  if (!pack->packed) return weft_arena_fail(&pack->arena, "a rewrite", pack->error);
  for (uint32_t i = 0; i < graph->value_count; i++) pack->packed[i] = WEFT_VALUE_NONE;
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const weft_node *node = &graph->nodes[n];
    if (is_packable(graph, node)) pack->total += graph->values[node->inputs[1]].data->bytes;
  }
  uint32_t count = graph->node_count;
  for (uint32_t n = 0; n < count; n++) {
    if (is_packable(graph, &graph->nodes[n])) WEFT_TRY(pack_node(pack, &graph->nodes[n]));
  }
  return WEFT_OK;
}

weft_status weft_pass_pack_weights(weft_graph *graph, const weft_opt_context *context,
                                   weft_error *error) {
  packing pack = {.graph = graph, .context = context, .error = error};
  weft_arena_init(&pack.arena, context->heap);
  weft_status status = pack_all(&pack);
  weft_arena_release(&pack.arena);
  return status;
}
