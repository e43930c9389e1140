/* merge_matmuls.c - matmuls of one input with several constant weights (query, key and value)
 * become one matmul with the weights side by side; each old one becomes a part of its result, which
 * is a view. Weights of few bits are laid side by side by a concat, which the device packs through.
 */
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/placing.h"
#include "opt/weight.h"

#define GROUP_MAX   16u
#define PIECE_BYTES (1u << 20)
#define LOOK_MAX    64u /* users of the input, from a group's first on: there may be any number */

typedef struct merge {
  weft_graph *graph;
  weft_placing placing;
  const weft_opt_context *context;
  weft_users users;
  uint32_t *position; /* by node: in its region's order */
  weft_error *error;
  weft_node_id group[GROUP_MAX];
  uint32_t count;
} merge;

static const weft_value *weight_of(const weft_graph *graph, const weft_node *node) {
  return &graph->values[node->inputs[1]];
}

/* A constant dense vector with one number per column of the weight. */
static bool is_column_vector(const weft_graph *graph, weft_value_id id, weft_dim columns) {
  const weft_value *value = &graph->values[id];
  return value->kind == WEFT_VALUE_CONSTANT && value->data && weft_match_is_float(value->dtype) &&
         value->shape.rank == 1 && value->shape.dims[0] == columns;
}

static bool is_f32_weight(const weft_value *weight) {
  return weight->kind == WEFT_VALUE_CONSTANT && weight->data && weight->dtype == WEFT_F32 &&
         weight->layout == WEFT_LAYOUT_DENSE && weight->shape.rank == 2 && weight->data->bytes != 0;
}

/* A weight of few bits that is one part. */
static bool find_weight(const merge *m, const weft_node *node, weft_weight *out) {
  weft_weight_list list;
  if (!weft_weight_find(m->graph, node->inputs[1], &list) || list.count != 1) return false;
  *out = list.parts[0];
  return !out->dequantize || weft_use_count(&m->users, out->dequantize->outputs[0]) == 1;
}

/* x [..., K] times a constant [K, N] of its own, with nothing but constant vectors [N] in the
 * epilogue. A weight that others use too would be there twice. */
static bool is_candidate(const merge *m, const weft_node *node) {
  const weft_graph *graph = m->graph;
  weft_weight few_bits;
  if (node->removed || node->op != WEFT_OP_MATMUL) return false;
  if (weft_use_count(&m->users, node->inputs[1]) != 1) return false;
  const weft_value *weight = weight_of(graph, node);
  if (!is_f32_weight(weight) && !find_weight(m, node, &few_bits)) return false;
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

/* Both f32, or of few bits that may lie side by side. */
static bool same_storage(const merge *m, const weft_node *a, const weft_node *b) {
  weft_weight x, y;
  bool few_bits = find_weight(m, a, &x);
  if (few_bits != find_weight(m, b, &y)) return false;
  return !few_bits || (weft_weight_is_alike(&x, &y) &&
                       a->attributes.matmul.int8_rows == b->attributes.matmul.int8_rows);
}

static bool same_work(const merge *m, const weft_node *a, const weft_node *b) {
  const weft_graph *graph = m->graph;
  const weft_expr *x = &a->attributes.matmul.expr, *y = &b->attributes.matmul.expr;
  if (a->region != b->region || a->input_count != b->input_count ||
      x->code_count != y->code_count ||
      memcmp(x->input_dtypes, y->input_dtypes, x->input_count) != 0)
    return false;
  if (weight_of(graph, a)->shape.dims[0] != weight_of(graph, b)->shape.dims[0]) return false;
  for (uint32_t i = 0; i < x->code_count; i++) {
    if (!same_instruction(&x->code[i], &y->code[i])) return false;
  }
  return same_storage(m, a, b);
}

/* Collects the matmuls that share the input and the work of user number `first` of `input`. */
static void collect(merge *m, weft_value_id input, uint32_t first) {
  const weft_graph *graph = m->graph;
  uint32_t end = m->users.first[input + 1];
  m->count = 0;
  for (uint32_t u = first; u < end && u - first < LOOK_MAX && m->count < GROUP_MAX; u++) {
    weft_node_id id = m->users.nodes[u];
    if (id == WEFT_NODE_NONE || (m->count > 0 && m->group[m->count - 1] == id)) continue;
    const weft_node *node = &graph->nodes[id];
    if (node->inputs[0] == input && is_candidate(m, node) &&
        same_work(m, &graph->nodes[m->users.nodes[first]], node)) {
      m->group[m->count++] = id;
    }
  }
}

/* The member of the group that runs first. Users are listed by their nodes' numbers, which need not
 * be the order of execution. */
static weft_node_id find_anchor(const merge *m) {
  weft_node_id anchor = m->group[0];
  for (uint32_t g = 1; g < m->count; g++) {
    if (m->position[m->group[g]] < m->position[anchor]) anchor = m->group[g];
  }
  return anchor;
}

/* Copies rows to where they lie `stride` bytes apart; from a source in pieces, since each read may
 * be a call to the outside. */
static weft_status copy_part(merge *m, const weft_buffer *part, uint64_t rows, uint64_t stride,
                             uint8_t *to) {
  uint64_t width = part->bytes / rows, count = part->data ? rows : 1 + PIECE_BYTES / width;
  if (count > rows) count = rows;
  uint64_t piece_bytes = part->data ? 0 : count * width;
  weft_heap *heap = m->context->heap;
  uint8_t *piece = part->data ? NULL : weft_heap_allocate(heap, piece_bytes);
  if (!part->data && !piece) return weft_heap_fail(heap, piece_bytes, "a weight", m->error);
  weft_status status = WEFT_OK;
  for (uint64_t row = 0; row < rows && status == WEFT_OK; row += count) {
    if (count > rows - row) count = rows - row;
    if (piece) status = weft_buffer_read(part, row * width, count * width, piece, m->error);
    const uint8_t *from = piece ? piece : part->data;
    for (uint64_t r = 0; r < count && status == WEFT_OK; r++)
      memcpy(to + (row + r) * stride, from + r * width, (size_t)width);
  }
  weft_heap_release(heap, piece, piece_bytes);
  return status;
}

/* Lays the group's constants number `input` side by side: rows x (sum of columns). */
static weft_status concatenate(merge *m, uint32_t input, uint64_t rows, uint64_t row_bytes,
                               weft_buffer **out) {
  weft_heap *heap = m->context->heap;
  *out = weft_buffer_new(heap, rows * row_bytes);
  if (!*out) return weft_heap_fail(heap, rows * row_bytes, "a weight", m->error);
  uint8_t *to = (*out)->data;
  weft_status status = WEFT_OK;
  for (uint32_t g = 0; g < m->count && status == WEFT_OK; g++) {
    const weft_buffer *part = m->graph->values[m->graph->nodes[m->group[g]].inputs[input]].data;
    status = copy_part(m, part, rows, row_bytes, to);
    to += part->bytes / rows;
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
  const weft_value *first = &m->graph->values[m->graph->nodes[m->group[0]].inputs[input]];
  weft_dtype dtype = first->dtype;
  weft_buffer *data;
  WEFT_TRY(concatenate(m, input, rows, columns * weft_dtype_size(dtype), &data));
  weft_str name = weft_arena_format(&m->graph->arena, "%.*s/merged", WEFT_STR_ARGS(first->name));
  return weft_graph_add_constant(m->graph, name, dtype, shape, data, out, m->error);
}

/* Adds a node before the group. */
static weft_status add_node(merge *m, weft_op op, const weft_value_id *inputs, uint32_t input_count,
                            const weft_attributes *attributes, weft_value_id *out) {
  return weft_placing_add(&m->placing, find_anchor(m), op, inputs, input_count, attributes, out);
}

/* A node once more, over `*value` in place of its first input; *value becomes its output. */
static weft_status copy_node(merge *m, const weft_node *from, weft_value_id *value) {
  weft_value_id inputs[WEFT_RANK_MAX];
  memcpy(inputs, from->inputs, from->input_count * sizeof *inputs);
  inputs[0] = *value;
  return add_node(m, from->op, inputs, from->input_count, &from->attributes, value);
}

/* A member's weight of few bits, made before the group: its own nodes may come later. */
static weft_status copy_weight(merge *m, weft_value_id weight, weft_value_id *out) {
  const weft_node *last = weft_match_producer(m->graph, weight);
  *out = weight;
  if (!last) return WEFT_OK;
  weft_node_id last_id = (weft_node_id)(last - m->graph->nodes);
  *out = last->inputs[0];
  const weft_node *first = weft_match_producer(m->graph, last->inputs[0]);
  if (first) {
    *out = first->inputs[0];
    WEFT_TRY(copy_node(m, first, out));
  }
  return copy_node(m, &m->graph->nodes[last_id], out);
}

static weft_status add_concat(merge *m, weft_value_id *out) {
  weft_value_id parts[GROUP_MAX];
  for (uint32_t g = 0; g < m->count; g++)
    WEFT_TRY(copy_weight(m, m->graph->nodes[m->group[g]].inputs[1], &parts[g]));
  return add_node(m, WEFT_OP_CONCAT, parts, m->count, &(weft_attributes){.axis = {.axis = 1}}, out);
}

/* The merged inputs from `first` on. The group's own go when all are made: one may stand in two
 * places. */
static weft_status add_constants(merge *m, uint32_t first, int64_t columns, weft_value_id *out) {
  const weft_graph *graph = m->graph;
  uint32_t input_count = graph->nodes[m->group[0]].input_count;
  for (uint32_t i = first; i < input_count; i++) {
    weft_shape shape = graph->values[graph->nodes[m->group[0]].inputs[i]].shape;
    shape.dims[shape.rank - 1] = columns;
    WEFT_TRY(add_constant(m, i, &shape, &out[i]));
  }
  for (uint32_t g = 0; g < m->count; g++) {
    for (uint32_t i = first; i < input_count; i++)
      drop_constant(m, graph->nodes[m->group[g]].inputs[i]);
  }
  return WEFT_OK;
}

/* The one matmul, placed before the group; its result is *out. */
static weft_status add_matmul(merge *m, int64_t columns, weft_value_id *out) {
  weft_graph *graph = m->graph;
  weft_node_id id = m->group[0];
  weft_value_id inputs[2 + WEFT_EXPR_INPUTS_MAX] = {graph->nodes[id].inputs[0]};
  bool few_bits = !is_f32_weight(weight_of(graph, &graph->nodes[id]));
  if (few_bits) WEFT_TRY(add_concat(m, &inputs[1]));
  WEFT_TRY(add_constants(m, few_bits ? 2 : 1, columns, inputs));
  const weft_node *first = &graph->nodes[id];
  return add_node(m, WEFT_OP_MATMUL, inputs, first->input_count, &first->attributes, out);
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

static weft_status list_positions(merge *m) {
  m->position = WEFT_ARENA_ARRAY(&m->placing.arena, uint32_t, m->graph->node_count + 1);
  if (!m->position) return weft_arena_fail(&m->placing.arena, "a rewrite", m->error);
  for (uint32_t r = 0; r < m->graph->region_count; r++) {
    const weft_region *region = &m->graph->regions[r];
    for (uint32_t i = 0; i < region->node_count; i++) m->position[region->nodes[i]] = i;
  }
  return WEFT_OK;
}

/* Members of a group are no candidates any more. */
static weft_status merge_users(merge *m, weft_value_id input) {
  for (uint32_t u = m->users.first[input]; u < m->users.first[input + 1]; u++) {
    weft_node_id id = m->users.nodes[u];
    if (id == WEFT_NODE_NONE || !is_candidate(m, &m->graph->nodes[id])) continue;
    collect(m, input, u);
    if (m->count > 1) WEFT_TRY(merge_group(m));
  }
  return WEFT_OK;
}

static weft_status merge_all(merge *m) {
  weft_graph *graph = m->graph;
  uint32_t values = graph->value_count;
  WEFT_TRY(weft_graph_users(graph, &m->placing.arena, &m->users, m->error));
  WEFT_TRY(list_positions(m));
  for (uint32_t i = 0; i < values; i++) WEFT_TRY(merge_users(m, i));
  return WEFT_OK;
}

weft_status weft_pass_merge_matmuls(weft_graph *graph, const weft_opt_context *context,
                                    weft_error *error) {
  merge m = {.graph = graph, .context = context, .error = error};
  weft_placing_start(&m.placing, graph, context->heap, error);
  return weft_placing_end(&m.placing, merge_all(&m));
}
