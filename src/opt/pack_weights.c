/* pack_weights.c - constant right sides of matmuls into the layout of the device's kernel, one
 * weight at a time: the bytes that each is made of go as soon as it is packed, where nobody else
 * needs them. */
#include "opt/opt.h"
#include "opt/removal.h"
#include "opt/weight.h"

typedef struct packing {
  weft_graph *graph;
  const weft_opt_context *context;
  weft_arena arena;
  weft_removal removal;
  weft_value_id *packed[2]; /* by side and value: its packed twin, where it has one; else NONE */
  uint64_t done, total;
  weft_error *error;
} packing;

/* Bytes that a right side is made of; 0 when there is nothing to pack. */
static uint64_t source_bytes(const weft_graph *graph, const weft_node *node) {
  if (node->removed || node->op != WEFT_OP_MATMUL) return 0;
  const weft_value *weight = &graph->values[node->inputs[1]];
  weft_weight_list list;
  if (weft_weight_find(graph, node->inputs[1], &list)) return weft_weight_bytes(graph, &list);
  bool dense = weight->kind == WEFT_VALUE_CONSTANT && weight->layout == WEFT_LAYOUT_DENSE;
  return dense && weight->data ? weight->data->bytes : 0;
}

/* Nodes on a device and on its host do not share what is packed for them. */
static weft_value_id *packed_for(const packing *pack, const weft_node *node) {
  const weft_opt_context *context = pack->context;
  bool on_device =
      context->runs_on_device && context->runs_on_device(context->user, pack->graph, node);
  return &pack->packed[on_device][node->inputs[1]];
}

/* Puts packed bytes where the weight's were, or beside them where others still need those. */
static weft_status install(packing *pack, weft_value_id id, weft_buffer *buffer, weft_layout layout,
                           weft_value_id *packed) {
  weft_value *value = &pack->graph->values[id];
  weft_value_id twin = id;
  if (value->kind == WEFT_VALUE_CONSTANT && pack->removal.uses[id] == 1) {
    weft_buffer_release(&value->data);
    value->data = buffer;
  } else {
    weft_shape shape = value->shape;
    weft_str name =
        weft_arena_format(&pack->graph->arena, "%.*s/packed", WEFT_STR_ARGS(value->name));
    WEFT_TRY(weft_graph_add_constant(pack->graph, name, value->dtype, &shape, buffer, &twin,
                                     pack->error));
    *packed = twin;
  }
  pack->graph->values[twin].layout = layout;
  return WEFT_OK;
}

static void use_twin(packing *pack, weft_node *node, weft_value_id twin) {
  weft_value_id id = node->inputs[1];
  if (twin == WEFT_VALUE_NONE) return;
  node->inputs[1] = twin;
  weft_removal_drop(&pack->removal, id);
}

static weft_status pack_node(packing *pack, weft_node *node, uint64_t bytes) {
  weft_value_id id = node->inputs[1], *packed = packed_for(pack, node);
  const weft_opt_context *context = pack->context;
  weft_buffer *buffer = NULL;
  weft_layout layout = WEFT_LAYOUT_DENSE;
  if (*packed == WEFT_VALUE_NONE) {
    WEFT_TRY(context->pack(context->user, pack->graph, node, 1, &buffer, &layout, pack->error));
    if (buffer) WEFT_TRY(install(pack, id, buffer, layout, packed));
  }
  use_twin(pack, node, *packed);
  pack->done += bytes;
  if (context->progress && !context->progress(context->user, pack->done, pack->total)) {
    return weft_fail(pack->error, WEFT_CANCELLED, "cancelled while weights were packed");
  }
  return WEFT_OK;
}

static weft_status pack_all(packing *pack) {
  weft_graph *graph = pack->graph;
  WEFT_TRY(weft_removal_start(&pack->removal, graph, &pack->arena, pack->error));
  uint32_t values = graph->value_count;
  for (uint32_t side = 0; side < 2; side++) {
    pack->packed[side] = WEFT_ARENA_ARRAY(&pack->arena, weft_value_id, values + 1);
    if (!pack->packed[side]) return weft_arena_fail(&pack->arena, "a rewrite", pack->error);
    for (uint32_t i = 0; i < values; i++) pack->packed[side][i] = WEFT_VALUE_NONE;
  }
  for (uint32_t n = 0; n < graph->node_count; n++)
    pack->total += source_bytes(graph, &graph->nodes[n]);
  for (uint32_t n = 0; n < graph->node_count; n++) {
    uint64_t bytes = source_bytes(graph, &graph->nodes[n]);
    if (bytes > 0) WEFT_TRY(pack_node(pack, &graph->nodes[n], bytes));
  }
  return WEFT_OK;
}

weft_status weft_pass_pack_weights(weft_graph *graph, const weft_opt_context *context,
                                   weft_error *error) {
  if (!context->pack) return WEFT_OK;
  packing pack = {.graph = graph, .context = context, .error = error};
  weft_arena_init(&pack.arena, context->heap);
  weft_status status = pack_all(&pack);
  weft_arena_release(&pack.arena);
  return status;
}
