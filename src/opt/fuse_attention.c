/* fuse_attention.c - attention written out by exporters becomes one node:
 *
 *   softmax(q k^T * scale + mask) v        q [B,H,S,D], k^T [B,H,D,T], v [B,H,T,E]
 *
 * with the scale as a multiplication or division of the product or of q or k^T, and the mask
 * optional, or as Where(allowed, scores, lowest); in f16 the softmax may be in f32, between casts.
 * A transpose of the result to [B,S,H,E] is taken in too, and heads of k and v that were repeated
 * for several of q are taken once. */
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/placing.h"

typedef struct fusion {
  weft_graph *graph;
  weft_placing placing;
  weft_users users; /* of the values before any rewrite: the added ones have one user each */
  weft_error *error;
} fusion;

typedef struct attention_match {
  weft_value_id product;                     /* q k^T */
  weft_value_id q, k_transposed, k, v, mask; /* k: NONE where it has to be transposed back */
  weft_value_id allowed;                     /* bool; NONE where there is no Where */
  double scale, lowest;
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

/* So low that any score added to it is lost: then Where can be said by adding. */
#define LOWEST_MAX (-1e30)

/* value = Where(allowed, scores, lowest) */
static bool match_where(const weft_graph *graph, weft_value_id value, attention_match *match) {
  weft_value_id operands[3];
  if (!weft_match_map(graph, value, WEFT_EXPR_SELECT, operands) ||
      !weft_match_scalar(graph, operands[2], &match->lowest) || match->lowest > LOWEST_MAX)
    return false;
  match->allowed = operands[0];
  return match_scores(graph, operands[1], match);
}

/* value = scores, or scores + mask, or Where(allowed, scores, lowest) */
static bool match_masked(const weft_graph *graph, weft_value_id value, attention_match *match) {
  weft_value_id operands[3];
  match->mask = match->allowed = WEFT_VALUE_NONE;
  if (match_scores(graph, value, match)) return true;
  if (match_where(graph, value, match)) return true;
  match->allowed = WEFT_VALUE_NONE;
  if (!weft_match_map(graph, value, WEFT_EXPR_ADD, operands)) return false;
  for (int i = 0; i < 2; i++) {
    match->mask = operands[1 - i];
    if (match_scores(graph, operands[i], match)) return true;
  }
  return false;
}

static bool is_rank_4(const weft_graph *graph, weft_value_id value, weft_dtype dtype) {
  return graph->values[value].shape.rank == 4 && graph->values[value].dtype == dtype;
}

/* Each dimension of the mask but the last is 1 or the scores'. The last is one or the other at
 * every run that gets beyond the product with v (see same_keys). */
static bool mask_fits(const weft_graph *graph, weft_value_id mask, weft_dtype dtype,
                      const weft_shape *scores) {
  if (mask == WEFT_VALUE_NONE) return true;
  const weft_value *value = &graph->values[mask];
  if (value->dtype != dtype || value->shape.rank < 0 || value->shape.rank > 4) return false;
  for (int32_t i = 1; i < value->shape.rank; i++) {
    weft_dim dim = value->shape.dims[value->shape.rank - 1 - i];
    if (dim != 1 && dim != scores->dims[3 - i]) return false;
  }
  return true;
}

static const weft_node *match_view(const weft_graph *graph, weft_value_id value,
                                   weft_view_kind kind) {
  const weft_node *node = weft_match_producer(graph, value);
  bool same = node && node->op == WEFT_OP_VIEW && node->attributes.view.kind == kind;
  return same ? node : NULL;
}

/* The view whose result is `value` with its axes in this order. */
static bool is_transpose(const weft_node *node, const int8_t order[4]) {
  const weft_axes *axes = &node->attributes.view.axes;
  return node->op == WEFT_OP_VIEW && node->attributes.view.kind == WEFT_VIEW_TRANSPOSE &&
         axes->count == 4 && memcmp(axes->axes, order, 4) == 0;
}

/* k, if k^T is made of it by a transpose alone. */
static void find_k(const weft_graph *graph, attention_match *match) {
  const weft_node *node = weft_match_producer(graph, match->k_transposed);
  bool plain = node && is_transpose(node, (const int8_t[]){0, 1, 3, 2});
  match->k = plain ? strip_scale(graph, node->inputs[0], &match->scale) : WEFT_VALUE_NONE;
}

/* [B,G,T,D] when value is each of its heads several times: [B,G,1,T,D] -> [B,G,R,T,D] -> [B,G
 * R,T,D]; else the value. A view that only puts in or joins axes keeps the order of elements, so
 * that shapes tell what it does. */
static weft_value_id strip_repeat(const weft_graph *graph, weft_value_id value) {
  const weft_node *join = match_view(graph, value, WEFT_VIEW_RESHAPE);
  const weft_node *expand = join ? match_view(graph, join->inputs[0], WEFT_VIEW_EXPAND) : NULL;
  const weft_node *split =
      expand ? match_view(graph, expand->inputs[0], WEFT_VIEW_UNSQUEEZE) : NULL;
  if (!split) return value;
  const weft_shape *to = &graph->values[value].shape, *wide = &graph->values[join->inputs[0]].shape;
  const weft_shape *one = &graph->values[expand->inputs[0]].shape;
  const weft_shape *from = &graph->values[split->inputs[0]].shape;
  if (to->rank != 4 || wide->rank != 5 || one->rank != 5 || from->rank != 4) return value;
  const weft_dim *f = from->dims, *w = wide->dims;
  weft_shape expected = {.rank = 5, .dims = {f[0], f[1], 1, f[2], f[3]}};
  bool good = weft_shape_equal(one, &expected) && !WEFT_DIM_IS_SYMBOL(f[1]) &&
              !WEFT_DIM_IS_SYMBOL(w[2]) && w[0] == f[0] && w[1] == f[1] && w[3] == f[2] &&
              w[4] == f[3] && to->dims[0] == f[0] && to->dims[1] == f[1] * w[2] &&
              to->dims[2] == f[2] && to->dims[3] == f[3];
  return good ? split->inputs[0] : value;
}

/* Of k and v both, or of neither. */
static void share_heads(const weft_graph *graph, attention_match *match) {
  if (match->k == WEFT_VALUE_NONE) return;
  weft_value_id k = strip_repeat(graph, match->k), v = strip_repeat(graph, match->v);
  if (graph->values[k].shape.dims[1] != graph->values[v].shape.dims[1]) return;
  match->k = k;
  match->v = v;
}

/* q, k and v must agree in batch and heads: the core op does not broadcast them. */
static bool same_heads(const weft_graph *graph, const attention_match *match) {
  const weft_dim *q = graph->values[match->q].shape.dims;
  const weft_dim *k = graph->values[match->k_transposed].shape.dims;
  const weft_dim *v = graph->values[match->v].shape.dims;
  return q[0] == k[0] && q[0] == v[0] && q[1] == k[1] && q[1] == v[1];
}

/* The masked scores have the product's shape. Where only a run tells whether the mask is as long as
 * the scores, it is if v has as many rows as k: what is multiplied with v is of that length. */
static bool same_keys(const weft_graph *graph, const attention_match *match,
                      const weft_shape *masked) {
  weft_shape scores = graph->values[match->product].shape;
  const weft_shape *v = &graph->values[match->v].shape;
  if (scores.rank != 4 || v->rank != 4) return false;
  if (scores.dims[3] != WEFT_DIM_UNKNOWN && scores.dims[3] == v->dims[2])
    scores.dims[3] = masked->dims[3];
  return weft_shape_equal(&scores, masked);
}

/* Others' use of the weights of the softmax would have it computed twice. */
static bool match_attention(const fusion *fuse, const weft_node *node, attention_match *match) {
  const weft_graph *graph = fuse->graph;
  if (node->removed || !match_product(graph, node->outputs[0])) return false;
  weft_dtype dtype = graph->values[node->outputs[0]].dtype;
  weft_value_id shares = weft_match_uncast(graph, node->inputs[0]);
  const weft_node *softmax = weft_match_producer(graph, shares);
  if (!softmax || softmax->op != WEFT_OP_SOFTMAX || softmax->attributes.softmax.log) return false;
  if (weft_use_count(&fuse->users, shares) != 1 ||
      weft_use_count(&fuse->users, node->inputs[0]) != 1)
    return false;
  const weft_shape *scores = &graph->values[softmax->inputs[0]].shape;
  int32_t axis = softmax->attributes.softmax.axis;
  if (scores->rank != 4 || (axis != -1 && axis != 3)) return false;
  match->v = node->inputs[1];
  if (!match_masked(graph, weft_match_uncast(graph, softmax->inputs[0]), match)) return false;
  bool good = same_keys(graph, match, scores) && weft_match_is_float(dtype) &&
              is_rank_4(graph, match->q, dtype) && is_rank_4(graph, match->k_transposed, dtype) &&
              is_rank_4(graph, match->v, dtype) && same_heads(graph, match) &&
              mask_fits(graph, match->mask, dtype, scores) &&
              mask_fits(graph, match->allowed, WEFT_BOOL, scores);
  if (!good) return false;
  find_k(graph, match);
  share_heads(graph, match);
  return true;
}

/* A view of k^T [B,H,D,T] as k [B,H,T,D]. */
static weft_status add_transpose(fusion *fuse, weft_value_id k_transposed, weft_node_id anchor,
                                 weft_value_id *out) {
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {.count = 4, .axes = {0, 1, 3, 2}}}};
  return weft_placing_add(&fuse->placing, anchor, WEFT_OP_VIEW, &k_transposed, 1, &attributes, out);
}

/* The mask to add for what Where allows. */
static weft_status add_mask(fusion *fuse, const attention_match *match, weft_node_id anchor,
                            weft_value_id *out) {
  weft_arena *arena = &fuse->graph->arena;
  weft_instruction *code = WEFT_ARENA_ARRAY(arena, weft_instruction, 3);
  if (!code) return weft_arena_fail(arena, "a rewrite", fuse->error);
  weft_dtype dtype = fuse->graph->values[match->q].dtype;
  code[0] = (weft_instruction){.op = WEFT_EXPR_CONSTANT, .dtype = (uint8_t)dtype};
  code[1] = code[0];
  code[1].immediate.f = match->lowest;
  code[2] =
      (weft_instruction){.op = WEFT_EXPR_SELECT, .dtype = (uint8_t)dtype, .operands = {0, 1, 2}};
  weft_attributes attributes = {
      .map = {
          .expr = {.input_count = 1, .code_count = 3, .input_dtypes = {WEFT_BOOL}, .code = code}}};
  return weft_placing_add(&fuse->placing, anchor, WEFT_OP_MAP, &match->allowed, 1, &attributes,
                          out);
}

/* The node that transposes the result to [B,S,H,E], if it is the only user. */
static weft_node *find_heads_last(const fusion *fuse, weft_value_id result) {
  if (weft_use_count(&fuse->users, result) != 1) return NULL;
  weft_node_id user = fuse->users.nodes[fuse->users.first[result]];
  if (user == WEFT_NODE_NONE) return NULL;
  weft_node *node = &fuse->graph->nodes[user];
  return is_transpose(node, (const int8_t[]){0, 2, 1, 3}) ? node : NULL;
}

static weft_status rewrite(fusion *fuse, weft_node_id id, const attention_match *match) {
  weft_graph *graph = fuse->graph;
  weft_value_id k = match->k, mask = match->mask, result = graph->nodes[id].outputs[0];
  if (k == WEFT_VALUE_NONE) WEFT_TRY(add_transpose(fuse, match->k_transposed, id, &k));
  if (match->allowed != WEFT_VALUE_NONE) WEFT_TRY(add_mask(fuse, match, id, &mask));
  weft_node *transpose = find_heads_last(fuse, result);
  weft_node *node = transpose ? transpose : &graph->nodes[id];
  weft_value_id inputs[] = {match->q, k, match->v, mask};
  uint32_t count = mask == WEFT_VALUE_NONE ? 3 : 4;
  WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_ATTENTION, inputs, count, fuse->error));
  node->attributes.attention.scale = (float)match->scale;
  node->attributes.attention.heads_last = transpose != NULL;
  return WEFT_OK;
}

static weft_status fuse_all(fusion *fuse) {
  weft_graph *graph = fuse->graph;
  WEFT_TRY(weft_graph_users(graph, &fuse->placing.arena, &fuse->users, fuse->error));
  for (uint32_t n = 0; n < fuse->placing.first; n++) {
    attention_match match;
    if (match_attention(fuse, &graph->nodes[n], &match)) WEFT_TRY(rewrite(fuse, n, &match));
  }
  return WEFT_OK;
}

weft_status weft_pass_fuse_attention(weft_graph *graph, const weft_opt_context *context,
                                     weft_error *error) {
  fusion fuse = {.graph = graph, .error = error};
  weft_placing_start(&fuse.placing, graph, context->heap, error);
  return weft_placing_end(&fuse.placing, fuse_all(&fuse));
}
