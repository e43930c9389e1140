/* onnx_lower_names.c - names and order: scopes, made-up names, and the stable sort of node lists
 * that are not in topological order. Called by the driver in onnx_lower.c. */
#include "format/onnx_lower_internal.h"

/* Names of inlined functions are cut here, so that a small file with long names cannot fill the
 * memory. */
#define PREFIXED_NAME_MAX 256u

weft_scope *weft_lowering_scope(weft_lowering *l, weft_scope *parent) {
  weft_scope *scope = WEFT_ARENA_NEW(&l->scratch, weft_scope);
  if (!scope) return NULL;
  weft_map_init(&scope->names, &l->scratch);
  scope->parent = parent;
  return scope;
}

uint32_t weft_scope_find(const weft_scope *scope, weft_str name) {
  for (; scope; scope = scope->parent) {
    uint32_t number = weft_map_find(&scope->names, name);
    if (number != WEFT_MAP_NONE) return number;
  }
  return WEFT_MAP_NONE;
}

weft_status weft_lowering_define(weft_lowering *l, weft_scope *scope, weft_str name,
                                 uint32_t number) {
  if (weft_map_find(&scope->names, name) != WEFT_MAP_NONE)
    return weft_fail(l->error, WEFT_INVALID_MODEL, "value '%.*s' is defined more than once",
                     WEFT_STR_ARGS(name));
  return weft_map_set(&scope->names, name, number) ? WEFT_OK : weft_lowering_no_memory(l);
}

weft_status weft_lowering_define_missing(weft_lowering *l, weft_scope *scope, weft_str name,
                                         weft_str reason) {
  uint32_t index = l->missing_count;
  weft_str *slot = WEFT_ARENA_PUSH(&l->scratch, l->missing, l->missing_count);
  if (!slot) return weft_lowering_no_memory(l);
  *slot = reason;
  return weft_lowering_define(l, scope, name, WEFT_NAME_MISSING + index);
}

const weft_onnx_node *weft_frame_node(const weft_frame *frame) {
  return &frame->nodes[frame->order ? frame->order[frame->position] : frame->position];
}

weft_str weft_lowering_name(weft_lowering *l, const weft_frame *frame, weft_str name) {
  uint32_t prefix = frame->prefix.length;
  if (prefix == 0) return name;
  uint32_t room = PREFIXED_NAME_MAX > prefix ? PREFIXED_NAME_MAX - prefix : 1;
  if (name.length > room) name.length = room;
  return weft_arena_format(&l->scratch, "%.*s%.*s", WEFT_STR_ARGS(frame->prefix),
                           WEFT_STR_ARGS(name));
}

weft_str weft_lowering_node_name(weft_lowering *l, const weft_frame *frame) {
  const weft_onnx_node *node = weft_frame_node(frame);
  weft_str name = node->name;
  if (name.length == 0)
    name = weft_arena_format(&l->scratch, "%.*s_%u", WEFT_STR_ARGS(node->op_type),
                             (uint32_t)(node - frame->nodes));
  return weft_lowering_name(l, frame, name);
}

/* ---- what a node uses ------------------------------------------------------------------------ */

typedef struct name_list {
  weft_str *names;
  uint32_t count;
} name_list;

typedef struct nested_graph {
  const weft_onnx_graph *graph;
  uint32_t depth;
} nested_graph;

typedef struct nested_list {
  nested_graph *items;
  uint32_t count;
} nested_list;

/* Subgraphs are looked through once for each graph around them and phase of their If; far more
 * looks come from functions that are called again and again. */
#define SCANNED_MAX (64u * WEFT_MAX_NODES)

static weft_status add_nested(weft_lowering *l, const weft_onnx_node *node, uint32_t depth,
                              nested_list *list) {
  for (uint32_t i = 0; i < node->attribute_count; ++i) {
    if (!node->attributes[i].g) continue;
    if (depth > WEFT_MAX_SUBGRAPH_DEPTH)
      return weft_fail(l->error, WEFT_LIMIT_EXCEEDED,
                       "node '%.*s': subgraphs are nested more than %u deep",
                       WEFT_STR_ARGS(node->name), WEFT_MAX_SUBGRAPH_DEPTH);
    nested_graph *item = WEFT_ARENA_PUSH(&l->scratch, list->items, list->count);
    if (!item) return weft_lowering_no_memory(l);
    *item = (nested_graph){node->attributes[i].g, depth};
    l->nodes_scanned += item->graph->node_count;
    if (l->nodes_scanned > SCANNED_MAX)
      return weft_fail(l->error, WEFT_LIMIT_EXCEEDED,
                       "subgraphs of called functions have more than %u nodes", SCANNED_MAX);
  }
  return WEFT_OK;
}

/* Adds the graphs below a node, in breadth-first order. */
static weft_status nested_graphs(weft_lowering *l, const weft_onnx_node *node, nested_list *list) {
  uint32_t first = list->count;
  WEFT_TRY(add_nested(l, node, 1, list));
  for (uint32_t i = first; i < list->count; ++i) {
    nested_graph at = list->items[i];
    for (uint32_t n = 0; n < at.graph->node_count; ++n)
      WEFT_TRY(add_nested(l, &at.graph->nodes[n], at.depth + 1, list));
  }
  return WEFT_OK;
}

weft_status weft_lowering_count_nodes(weft_lowering *l, uint64_t *count) {
  const weft_onnx_graph *graph = l->model->graph;
  nested_list nested = {0};
  *count = graph->node_count;
  for (uint32_t n = 0; n < graph->node_count; ++n)
    WEFT_TRY(nested_graphs(l, &graph->nodes[n], &nested));
  for (uint32_t i = 0; i < nested.count; ++i) *count += nested.items[i].graph->node_count;
  return WEFT_OK;
}

static bool define_all(weft_map *map, const weft_onnx_graph *graph) {
  bool ok = true;
  for (uint32_t i = 0; i < graph->input_count; ++i)
    ok &= weft_map_set(map, graph->inputs[i].name, 0);
  for (uint32_t i = 0; i < graph->initializer_count; ++i)
    ok &= weft_map_set(map, graph->initializers[i].name, 0);
  for (uint32_t i = 0; i < graph->sparse_initializer_count; ++i)
    if (graph->sparse_initializers[i].values)
      ok &= weft_map_set(map, graph->sparse_initializers[i].values->name, 0);
  for (uint32_t n = 0; n < graph->node_count; ++n)
    for (uint32_t i = 0; i < graph->nodes[n].output_count; ++i)
      ok &= weft_map_set(map, graph->nodes[n].outputs[i], 0);
  return ok;
}

static weft_status add_use(weft_lowering *l, const weft_map *defined, weft_str name,
                           name_list *uses) {
  if (weft_map_find(defined, name) != WEFT_MAP_NONE) return WEFT_OK;
  weft_str *slot = WEFT_ARENA_PUSH(&l->scratch, uses->names, uses->count);
  if (!slot) return weft_lowering_no_memory(l);
  *slot = name;
  return WEFT_OK;
}

static weft_status add_captures(weft_lowering *l, const weft_onnx_graph *graph,
                                const weft_map *defined, name_list *uses) {
  for (uint32_t n = 0; n < graph->node_count; ++n)
    for (uint32_t i = 0; i < graph->nodes[n].input_count; ++i)
      WEFT_TRY(add_use(l, defined, graph->nodes[n].inputs[i], uses));
  for (uint32_t i = 0; i < graph->output_count; ++i)
    WEFT_TRY(add_use(l, defined, graph->outputs[i].name, uses));
  return WEFT_OK;
}

/* The names that a node reads: its inputs, and what its subgraphs take from outside. */
static weft_status node_uses(weft_lowering *l, const weft_onnx_node *node, name_list *out) {
  nested_list nested = {0};
  WEFT_TRY(nested_graphs(l, node, &nested));
  *out = (name_list){node->inputs, node->input_count};
  if (nested.count == 0) return WEFT_OK;
  weft_map defined;
  weft_map_init(&defined, &l->scratch);
  *out = (name_list){0};
  for (uint32_t i = 0; i < node->input_count; ++i)
    WEFT_TRY(add_use(l, &defined, node->inputs[i], out));
  for (uint32_t i = 0; i < nested.count; ++i)
    if (!define_all(&defined, nested.items[i].graph)) return weft_lowering_no_memory(l);
  for (uint32_t i = 0; i < nested.count; ++i)
    WEFT_TRY(add_captures(l, nested.items[i].graph, &defined, out));
  return WEFT_OK;
}

/* ---- order ----------------------------------------------------------------------------------- */

typedef struct visit {
  uint32_t node, next; /* next: of the uses to look at */
  name_list uses;
} visit;

typedef struct sorting {
  weft_lowering *l;
  const weft_frame *frame;
  weft_map producers; /* name -> node, of the nodes that are left */
  uint8_t *state;     /* by node: 0 not seen, 1 on the stack, 2 placed */
  visit *stack;
  uint32_t depth, placed, *order;
} sorting;

static weft_status begin_visit(sorting *s, uint32_t node) {
  const weft_onnx_node *at = &s->frame->nodes[node];
  if (s->state[node] == 1)
    return weft_fail(s->l->error, WEFT_INVALID_MODEL,
                     "node '%.*s' (%.*s, node %u of its graph) depends on its own output",
                     WEFT_STR_ARGS(at->name), WEFT_STR_ARGS(at->op_type), node);
  if (s->state[node] == 2) return WEFT_OK;
  s->state[node] = 1;
  s->stack[s->depth] = (visit){.node = node};
  return node_uses(s->l, at, &s->stack[s->depth++].uses);
}

/* Depth first: a node's producers are placed before it, and otherwise the file's order stays. */
static weft_status place(sorting *s, uint32_t root) {
  WEFT_TRY(begin_visit(s, root));
  while (s->depth > 0) {
    visit *top = &s->stack[s->depth - 1];
    if (top->next < top->uses.count) {
      uint32_t producer = weft_map_find(&s->producers, top->uses.names[top->next++]);
      if (producer != WEFT_MAP_NONE) WEFT_TRY(begin_visit(s, producer));
      continue;
    }
    s->state[top->node] = 2;
    s->order[s->placed++] = top->node;
    --s->depth;
  }
  return WEFT_OK;
}

static bool index_producers(sorting *s) {
  bool ok = true;
  for (uint32_t n = s->frame->position; n < s->frame->node_count; ++n) {
    const weft_onnx_node *node = &s->frame->nodes[n];
    for (uint32_t i = 0; i < node->output_count; ++i)
      if (node->outputs[i].length > 0) ok &= weft_map_set(&s->producers, node->outputs[i], n);
  }
  return ok;
}

static weft_status sort_rest(weft_lowering *l, weft_frame *frame) {
  uint32_t count = frame->node_count;
  sorting s = {.l = l, .frame = frame};
  weft_map_init(&s.producers, &l->scratch);
  s.state = WEFT_ARENA_ARRAY(&l->scratch, uint8_t, count);
  s.stack = WEFT_ARENA_ARRAY(&l->scratch, visit, count);
  s.order = WEFT_ARENA_ARRAY(&l->scratch, uint32_t, count);
  if (!s.state || !s.stack || !s.order || !index_producers(&s)) return weft_lowering_no_memory(l);
  for (uint32_t n = 0; n < frame->position; ++n) s.order[s.placed++] = n;
  for (uint32_t n = frame->position; n < count; ++n) WEFT_TRY(place(&s, n));
  frame->order = s.order;
  return WEFT_OK;
}

/* WEFT_MAP_NONE-like answer in *unknown: the first name used by the next node that nothing defines
 * so far. */
static weft_status find_unknown(weft_lowering *l, const weft_frame *frame, weft_str *unknown) {
  name_list uses;
  *unknown = (weft_str){0};
  WEFT_TRY(node_uses(l, weft_frame_node(frame), &uses));
  for (uint32_t i = 0; i < uses.count && unknown->length == 0; ++i)
    if (uses.names[i].length > 0 && weft_scope_find(frame->scope, uses.names[i]) == WEFT_MAP_NONE)
      *unknown = uses.names[i];
  return WEFT_OK;
}

weft_status weft_lowering_make_ready(weft_lowering *l, weft_frame *frame) {
  weft_str unknown;
  WEFT_TRY(find_unknown(l, frame, &unknown));
  if (unknown.length > 0 && !frame->order) {
    WEFT_TRY(sort_rest(l, frame));
    WEFT_TRY(find_unknown(l, frame, &unknown));
  }
  if (unknown.length == 0) return WEFT_OK;
  weft_str name = weft_lowering_node_name(l, frame);
  return weft_fail(l->error, WEFT_INVALID_MODEL, "node '%.*s' (%.*s): nothing defines '%.*s'",
                   WEFT_STR_ARGS(name), WEFT_STR_ARGS(weft_frame_node(frame)->op_type),
                   WEFT_STR_ARGS(unknown));
}
