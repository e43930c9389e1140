/* merge_matmuls.c - matmuls of one input with several constant weights (query, key and value)
 * become one matmul with the weights side by side; each old one becomes a part of its result, which
 * is a view. */
#include "opt/match.h"
#include "opt/opt.h"

#define GROUP_MAX 16u

typedef struct merge {
  weft_graph *graph;
  const weft_opt_context *context;
  weft_arena arena;
  weft_users users;
  weft_error *error;
  weft_node_id group[GROUP_MAX]; /* in execution order */
  uint32_t count;
} merge;

static const weft_value *weight_of(const weft_graph *graph, const weft_node *node) {
  return &graph->values[node->inputs[1]];
}

/* A constant dense vector with one number per column of the weight. */
static bool is_column_vector(const weft_graph *graph, weft_value_id id, weft_dim columns) {
  const weft_value *value = &graph->values[id];
  return value->kind == WEFT_VALUE_CONSTANT && value->data && value->dtype == WEFT_F32 &&
         value->shape.rank == 1 && value->shape.dims[0] == columns;
}

/* x [..., K] times a constant [K, N], with nothing but constant vectors [N] in the epilogue. */
static bool is_candidate(const weft_graph *graph, const weft_node *node) {
  if (node->removed || node->op != WEFT_OP_MATMUL) return false;
  const weft_value *weight = weight_of(graph, node);
  if (weight->kind != WEFT_VALUE_CONSTANT || !weight->data || weight->dtype != WEFT_F32 ||
      weight->layout != WEFT_LAYOUT_DENSE || weight->shape.rank != 2) {
    return false;
  }
  if (graph->values[node->inputs[0]].shape.rank < 2) return false;
  for (uint32_t i = 2; i < node->input_count; i++) {
    if (!is_column_vector(graph, node->inputs[i], weight->shape.dims[1])) return false;
  }
  return true;
}

static bool same_instruction(const weft_instruction *a, const weft_instruction *b) {
  return a->op == b->op && a->dtype == b->dtype &&
         memcmp(a->operands, b->operands, sizeof a->operands) == 0 &&
         a->immediate.i == b->immediate.i;
}

static bool same_work(const weft_graph *graph, const weft_node *a, const weft_node *b) {
  const weft_expr *x = &a->attributes.matmul.expr, *y = &b->attributes.matmul.expr;
  if (a->region != b->region || a->input_count != b->input_count || x->code_count != y->code_count)
    return false;
  if (weight_of(graph, a)->shape.dims[0] != weight_of(graph, b)->shape.dims[0]) return false;
  for (uint32_t i = 0; i < x->code_count; i++) {
    if (!same_instruction(&x->code[i], &y->code[i])) return false;
  }
  return true;
}

/* Collects the matmuls that share the first one's input and work. Users are listed in the order of
 * nodes' numbers; the group must be in the order of execution, which can differ after moves, so the
 * first one's place is found by a scan of the region. */
static void collect(merge *m, weft_node_id first) {
  const weft_graph *graph = m->graph;
  weft_value_id input = graph->nodes[first].inputs[0];
  m->count = 0;
  for (uint32_t u = m->users.first[input]; u < m->users.first[input + 1] && m->count < GROUP_MAX;
       u++) {
    weft_node_id id = m->users.nodes[u];
    if (id == WEFT_NODE_NONE || (m->count > 0 && m->group[m->count - 1] == id)) continue;
    const weft_node *node = &graph->nodes[id];
    if (node->inputs[0] == input && is_candidate(graph, node) &&
        same_work(graph, &graph->nodes[first], node)) {
      m->group[m->count++] = id;
    }
  }
}

/* The member of the group that runs first. */
static weft_node_id find_anchor(const merge *m) {
  const weft_region *region = &m->graph->regions[m->graph->nodes[m->group[0]].region];
  for (uint32_t i = 0; i < region->node_count; i++) {
    for (uint32_t g = 0; g < m->count; g++) {
      if (region->nodes[i] == m->group[g]) return m->group[g];
    }
  }
  return m->group[0];
}

/* Lays the group's constants number `input` side by side: rows x (sum of columns). */
static weft_status concatenate(merge *m, uint32_t input, uint64_t rows, uint64_t columns,
                               weft_buffer **out) {
  weft_heap *heap = m->context->heap;
  *out = weft_buffer_new(heap, rows * columns * sizeof(float));
  if (!*out) return weft_heap_fail(heap, rows * columns * sizeof(float), "a weight", m->error);
  uint64_t at = 0;
  weft_status status = WEFT_OK;
  for (uint32_t g = 0; g < m->count && status == WEFT_OK; g++) {
    const weft_buffer *part = m->graph->values[m->graph->nodes[m->group[g]].inputs[input]].data;
    uint64_t width = part->bytes / rows;
    for (uint64_t r = 0; r < rows && status == WEFT_OK; r++) {
      uint8_t *to = (*out)->data + r * columns * sizeof(float) + at;
      status = weft_buffer_read(part, r * width, width, to, m->error);
    }
    at += width;
  }
  if (status != WEFT_OK) weft_buffer_release(out);
  return status;
}

/* Lets go of a constant that only the group used. */
static void drop_constant(merge *m, weft_value_id id) {
  for (uint32_t u = m->users.first[id]; u < m->users.first[id + 1]; u++) {
    weft_node_id user = m->users.nodes[u];
    bool ours = false;
    for (uint32_t g = 0; g < m->count; g++) ours |= user == m->group[g];
    if (!ours) return;
  }
  weft_buffer_release(&m->graph->values[id].data);
}

static weft_status add_constant(merge *m, uint32_t input, const weft_shape *shape,
                                weft_value_id *out) {
  uint64_t columns = (uint64_t)shape->dims[shape->rank - 1];
  uint64_t rows = shape->rank == 2 ? (uint64_t)shape->dims[0] : 1;
  weft_buffer *data;
  WEFT_TRY(concatenate(m, input, rows, columns, &data));
  const weft_value *first = &m->graph->values[m->graph->nodes[m->group[0]].inputs[input]];
  weft_str name = weft_arena_format(&m->graph->arena, "%.*s/merged", WEFT_STR_ARGS(first->name));
  WEFT_TRY(weft_graph_add_constant(m->graph, name, WEFT_F32, shape, data, out, m->error));
  for (uint32_t g = 0; g < m->count; g++)
    drop_constant(m, m->graph->nodes[m->group[g]].inputs[input]);
  return WEFT_OK;
}

/* The one matmul, placed before the group; its result is *out. */
static weft_status add_matmul(merge *m, int64_t columns, weft_value_id *out) {
  weft_graph *graph = m->graph;
  weft_node_id anchor = find_anchor(m);
  const weft_node *first = &graph->nodes[m->group[0]];
  uint32_t input_count = first->input_count;
  weft_value_id inputs[2 + WEFT_EXPR_INPUTS_MAX] = {first->inputs[0]};
  for (uint32_t i = 1; i < input_count; i++) {
    weft_shape shape = graph->values[graph->nodes[m->group[0]].inputs[i]].shape;
    shape.dims[shape.rank - 1] = columns;
    WEFT_TRY(add_constant(m, i, &shape, &inputs[i]));
  }
  first = &graph->nodes[m->group[0]];
  weft_expr expr = first->attributes.matmul.expr;
  weft_node *node;
  WEFT_TRY(weft_graph_add_node(graph, first->region, WEFT_OP_MATMUL, first->name, first->origin,
                               inputs, input_count, 1, &node, m->error));
  node->attributes.matmul.expr = expr;
  *out = node->outputs[0];
  weft_node_id id = (weft_node_id)(node - graph->nodes);
  weft_graph_move_before(graph, id, anchor);
  weft_inference facts = weft_inference_at_load(graph);
  return weft_infer_node(&facts, id, m->error);
}

static weft_status merge_group(merge *m) {
  weft_graph *graph = m->graph;
  int64_t lengths[GROUP_MAX], columns = 0;
  for (uint32_t g = 0; g < m->count; g++) {
    lengths[g] = weight_of(graph, &graph->nodes[m->group[g]])->shape.dims[1];
    columns += lengths[g];
  }
  weft_value_id merged, split;
  WEFT_TRY(add_matmul(m, columns, &merged));
  weft_str name =
      weft_arena_format(&graph->arena, "%.*s/parts", WEFT_STR_ARGS(graph->values[merged].name));
  WEFT_TRY(weft_graph_add_integers(graph, name, lengths, (int32_t)m->count, &split, m->error));
  for (uint32_t g = 0; g < m->count; g++) {
    weft_value_id inputs[] = {merged, split};
    weft_node *node = &graph->nodes[m->group[g]];
    WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_VIEW, inputs, 2, m->error));
    node->attributes.view.kind = WEFT_VIEW_SPLIT;
    node->attributes.view.axes = (weft_axes){.count = 1, .axes = {-1}};
    node->attributes.view.index = g;
    node->attributes.view.count = m->count;
  }
  return WEFT_OK;
}

weft_status weft_pass_merge_matmuls(weft_graph *graph, const weft_opt_context *context,
                                    weft_error *error) {
  merge m = {.graph = graph, .context = context, .error = error};
  weft_arena_init(&m.arena, context->heap);
  weft_status status = weft_graph_users(graph, &m.arena, &m.users, error);
  uint32_t count = graph->node_count;
  for (uint32_t n = 0; n < count && status == WEFT_OK; n++) {
    if (!is_candidate(graph, &graph->nodes[n])) continue;
    collect(&m, n);
    if (m.count > 1) status = merge_group(&m);
  }
  weft_arena_release(&m.arena);
  return status;
}
