/* fuse_attention.c - attention written out by exporters becomes one node:
 *
 *   softmax(q k^T * scale + mask) v        q [B,H,S,D], k^T [B,H,D,T], v [B,H,T,E]
 *
 * with the scale as a multiplication or division of the product or of q or k^T, and the mask
 * optional. A transpose of the result to [B,S,H,E] is taken in too. */
#include "opt/match.h"
#include "opt/opt.h"

typedef struct fusion {
  weft_graph *graph;
  weft_arena arena;
  weft_users users;     /* of the values before any rewrite: the added ones have one user each */
  weft_node_id *before; /* by node that was added: where it belongs */
  uint32_t added;
  weft_error *error;
} fusion;

typedef struct attention_match {
  weft_value_id product; /* q k^T */
  weft_value_id q, k_transposed, v, mask;
  double scale;
} attention_match;

/* A matmul that ends in nothing. */
static const weft_node *match_product(const weft_graph *graph, weft_value_id value) {
  const weft_node *node = weft_match_producer(graph, value);
  bool plain = node && node->op == WEFT_OP_MATMUL && node->attributes.matmul.expr.code_count == 0;
  return plain ? node : NULL;
}

/* Strips multiplications and divisions by constants off a value. */
static weft_value_id strip_scale(const weft_graph *graph, weft_value_id value, double *scale) {
  weft_match_product product;
  if (!weft_match_factors(graph, value, &product) || product.count != 1) return value;
  *scale *= product.scale;
  return product.factors[0];
}

/* scores = q k^T, scaled */
static bool match_scores(const weft_graph *graph, weft_value_id value, attention_match *match) {
  match->scale = 1;
  const weft_node *product = match_product(graph, strip_scale(graph, value, &match->scale));
  if (!product) return false;
  match->product = product->outputs[0];
  match->q = strip_scale(graph, product->inputs[0], &match->scale);
  match->k_transposed = strip_scale(graph, product->inputs[1], &match->scale);
  return true;
}

/* value = scores, or scores + mask */
static bool match_masked(const weft_graph *graph, weft_value_id value, attention_match *match) {
  weft_value_id operands[3];
  match->mask = WEFT_VALUE_NONE;
  if (match_scores(graph, value, match)) return true;
  if (!weft_match_map(graph, value, WEFT_EXPR_ADD, operands)) return false;
  for (int i = 0; i < 2; i++) {
    match->mask = operands[1 - i];
    if (match_scores(graph, operands[i], match)) return true;
  }
  return false;
}

static bool is_rank_4_f32(const weft_graph *graph, weft_value_id value) {
  return graph->values[value].shape.rank == 4 && graph->values[value].dtype == WEFT_F32;
}

/* Each dimension of the mask is 1 or the scores'. */
static bool mask_fits(const weft_graph *graph, weft_value_id mask, const weft_shape *scores) {
  if (mask == WEFT_VALUE_NONE) return true;
  const weft_value *value = &graph->values[mask];
  if (value->dtype != WEFT_F32 || value->shape.rank < 0 || value->shape.rank > 4) return false;
  for (int32_t i = 0; i < value->shape.rank; i++) {
    weft_dim dim = value->shape.dims[value->shape.rank - 1 - i];
    if (dim != 1 && dim != scores->dims[3 - i]) return false;
  }
  return true;
}

/* q, k and v must agree in batch and heads: the core op does not broadcast them. */
static bool same_heads(const weft_graph *graph, const attention_match *match) {
  const weft_dim *q = graph->values[match->q].shape.dims;
  const weft_dim *k = graph->values[match->k_transposed].shape.dims;
  const weft_dim *v = graph->values[match->v].shape.dims;
  return q[0] == k[0] && q[0] == v[0] && q[1] == k[1] && q[1] == v[1];
}

/* Others' use of the weights of the softmax would have it computed twice. */
static bool match_attention(const fusion *fuse, const weft_node *node, attention_match *match) {
  const weft_graph *graph = fuse->graph;
  if (node->removed || !match_product(graph, node->outputs[0])) return false;
  const weft_node *softmax = weft_match_producer(graph, node->inputs[0]);
  if (!softmax || softmax->op != WEFT_OP_SOFTMAX || softmax->attributes.softmax.log) return false;
  if (weft_use_count(&fuse->users, softmax->outputs[0]) != 1) return false;
  const weft_shape *scores = &graph->values[softmax->inputs[0]].shape;
  int32_t axis = softmax->attributes.softmax.axis;
  if (scores->rank != 4 || (axis != -1 && axis != 3)) return false;
  match->v = node->inputs[1];
  if (!match_masked(graph, softmax->inputs[0], match)) return false;
  return weft_shape_equal(&graph->values[match->product].shape, scores) &&
         is_rank_4_f32(graph, match->q) && is_rank_4_f32(graph, match->k_transposed) &&
         is_rank_4_f32(graph, match->v) && same_heads(graph, match) &&
         mask_fits(graph, match->mask, scores);
}

/* A view of k^T [B,H,D,T] as k [B,H,T,D], placed before `anchor`. */
static weft_status add_transpose(fusion *fuse, weft_value_id k_transposed, weft_node_id anchor,
                                 weft_value_id *out) {
  static const weft_axes swap = {.count = 4, .axes = {0, 1, 3, 2}};
  weft_graph *graph = fuse->graph;
  weft_str name = graph->nodes[anchor].name, origin = graph->nodes[anchor].origin;
  weft_node *view;
  WEFT_TRY(weft_graph_add_node(graph, graph->nodes[anchor].region, WEFT_OP_VIEW, name, origin,
                               &k_transposed, 1, 1, &view, fuse->error));
  view->attributes.view.kind = WEFT_VIEW_TRANSPOSE;
  view->attributes.view.axes = swap;
  *out = view->outputs[0];
  weft_node_id *before = WEFT_ARENA_PUSH(&fuse->arena, fuse->before, fuse->added);
  if (!before) return weft_arena_fail(&fuse->arena, "a rewrite", fuse->error);
  *before = anchor;
  weft_inference facts = weft_inference_at_load(graph);
  return weft_infer_node(&facts, (weft_node_id)(view - graph->nodes), fuse->error);
}

/* The node that transposes the result to [B,S,H,E], if it is the only user. */
static weft_node *find_heads_last(const fusion *fuse, weft_value_id result) {
  if (weft_use_count(&fuse->users, result) != 1) return NULL;
  weft_node_id user = fuse->users.nodes[fuse->users.first[result]];
  if (user == WEFT_NODE_NONE) return NULL;
  weft_node *node = &fuse->graph->nodes[user];
  const weft_axes *axes = &node->attributes.view.axes;
  bool swaps = node->op == WEFT_OP_VIEW && node->attributes.view.kind == WEFT_VIEW_TRANSPOSE &&
               axes->count == 4 && axes->axes[0] == 0 && axes->axes[1] == 2 && axes->axes[2] == 1 &&
               axes->axes[3] == 3;
  return swaps ? node : NULL;
}

static weft_status rewrite(fusion *fuse, weft_node_id id, const attention_match *match) {
  weft_graph *graph = fuse->graph;
  weft_value_id k;
  weft_value_id result = graph->nodes[id].outputs[0];
  WEFT_TRY(add_transpose(fuse, match->k_transposed, id, &k));
  weft_node *transpose = find_heads_last(fuse, result);
  weft_node *node = transpose ? transpose : &graph->nodes[id];
  weft_value_id inputs[] = {match->q, k, match->v, match->mask};
  uint32_t count = match->mask == WEFT_VALUE_NONE ? 3 : 4;
  WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_ATTENTION, inputs, count, fuse->error));
  node->attributes.attention.scale = (float)match->scale;
  node->attributes.attention.heads_last = transpose != NULL;
  return WEFT_OK;
}

static weft_status fuse_all(fusion *fuse) {
  weft_graph *graph = fuse->graph;
  uint32_t count = graph->node_count;
  WEFT_TRY(weft_graph_users(graph, &fuse->arena, &fuse->users, fuse->error));
  for (uint32_t n = 0; n < count; n++) {
    attention_match match;
    if (match_attention(fuse, &graph->nodes[n], &match)) WEFT_TRY(rewrite(fuse, n, &match));
  }
  return weft_graph_place(graph, count, fuse->before, &fuse->arena, fuse->error);
}

weft_status weft_pass_fuse_attention(weft_graph *graph, const weft_opt_context *context,
                                     weft_error *error) {
  fusion fuse = {.graph = graph, .error = error};
  weft_arena_init(&fuse.arena, context->heap);
  weft_status status = fuse_all(&fuse);
  weft_arena_release(&fuse.arena);
  return status;
}
