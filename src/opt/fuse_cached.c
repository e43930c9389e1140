/* fuse_cached.c - attention to two caches, with what is appended to them and the rotary embedding
 * of queries and new keys, becomes one node, for a device that has such:
 *
 *   attention(rotary(q), append(past, rotary(k)), append(past, v))
 *
 * Attention may see the first `total` rows of the caches, a slice of them. */
#include "opt/match.h"
#include "opt/opt.h"

enum { APPEND_PAST, APPEND_NEW, APPEND_TOTAL, APPEND_LENGTHS };
enum { ATTENTION_Q, ATTENTION_K, ATTENTION_LENGTHS = 4, ATTENTION_INPUTS = 6 };

typedef struct cache_match {
  weft_value_id present, slice; /* slice: NONE where all of the cache is seen */
  weft_value_id past, added, total, lengths;
} cache_match;

typedef struct rotary_match {
  weft_value_id x, cosines, sines, positions;
  bool interleaved;
} rotary_match;

static weft_value_id input_of(const weft_node *node, uint32_t input) {
  return input < node->input_count ? node->inputs[input] : WEFT_VALUE_NONE;
}

/* ---- caches ---------------------------------------------------------------------------------- */

/* The only element of a list or scalar; WEFT_DIM_UNKNOWN where it is not known. */
static weft_dim element_of(const weft_graph *graph, weft_value_id id) {
  if (id == WEFT_VALUE_NONE) return WEFT_DIM_UNKNOWN;
  const weft_value *value = &graph->values[id];
  bool one = value->shape.rank == 0 || (value->shape.rank == 1 && value->shape.dims[0] == 1);
  return one && value->elements ? value->elements[0] : WEFT_DIM_UNKNOWN;
}

/* node: x[:, :, 0:total] */
static bool is_slice_to(const weft_graph *graph, const weft_node *node, weft_dim total) {
  const weft_value_id *inputs = node->inputs;
  return node->op == WEFT_OP_VIEW && node->attributes.view.kind == WEFT_VIEW_SLICE &&
         total != WEFT_DIM_UNKNOWN && element_of(graph, inputs[1]) == 0 &&
         element_of(graph, inputs[2]) == total && element_of(graph, input_of(node, 3)) == 2 &&
         (input_of(node, 4) == WEFT_VALUE_NONE || element_of(graph, inputs[4]) == 1);
}

/* Nobody but `user` and the graph's outputs. */
static bool only_used_by(const weft_users *users, weft_value_id value, weft_node_id user) {
  for (uint32_t u = users->first[value]; u < users->first[value + 1]; u++)
    if (users->nodes[u] != user && users->nodes[u] != WEFT_NODE_NONE) return false;
  return true;
}

static bool match_append(const weft_graph *graph, weft_value_id present, cache_match *match) {
  const weft_node *append = weft_match_producer(graph, present);
  if (!append || append->op != WEFT_OP_APPEND || append->region != 0) return false;
  match->present = present;
  match->past = append->inputs[APPEND_PAST];
  if (graph->values[match->past].kind != WEFT_VALUE_INPUT) return false; /* it lies as it was fed */
  match->added = append->inputs[APPEND_NEW];
  match->total = input_of(append, APPEND_TOTAL);
  match->lengths = input_of(append, APPEND_LENGTHS);
  return true;
}

/* `seen`, an input of node `attention`, is a cache, or as much of it as the total says. */
static bool match_cache(const weft_graph *graph, const weft_users *users, weft_node_id attention,
                        weft_value_id seen, cache_match *match) {
  match->slice = WEFT_VALUE_NONE;
  if (match_append(graph, seen, match)) {
    bool all = match->total == WEFT_VALUE_NONE ||
               element_of(graph, match->total) == graph->values[seen].shape.dims[2];
    return all && only_used_by(users, seen, attention);
  }
  const weft_node *slice = weft_match_producer(graph, seen);
  if (!slice || slice->op != WEFT_OP_VIEW || !match_append(graph, slice->inputs[0], match) ||
      !is_slice_to(graph, slice, element_of(graph, match->total)))
    return false;
  match->slice = seen;
  return weft_use_count(users, seen) == 1 &&
         only_used_by(users, match->present, graph->values[seen].producer);
}

/* ---- rotary ---------------------------------------------------------------------------------- */

static bool match_rotary(const weft_graph *graph, const weft_users *users, weft_value_id value,
                         rotary_match *match) {
  const weft_node *node = weft_match_producer(graph, value);
  if (!node || node->op != WEFT_OP_ROTARY || weft_use_count(users, value) != 1) return false;
  *match = (rotary_match){node->inputs[0], node->inputs[1], node->inputs[2], input_of(node, 3),
                          node->attributes.rotary.interleaved};
  return true;
}

/* Where both are turned by the same angles, the inputs become what they were before; answers
 * whether in neighbouring pairs. */
static bool take_angles(const weft_graph *graph, const weft_users *users, weft_value_id *inputs) {
  rotary_match q, k;
  if (!match_rotary(graph, users, inputs[WEFT_CACHED_Q], &q) ||
      !match_rotary(graph, users, inputs[WEFT_CACHED_K], &k) || q.cosines != k.cosines ||
      q.sines != k.sines || q.positions != k.positions || q.interleaved != k.interleaved)
    return false;
  inputs[WEFT_CACHED_Q] = q.x;
  inputs[WEFT_CACHED_K] = k.x;
  inputs[WEFT_CACHED_COSINES] = q.cosines;
  inputs[WEFT_CACHED_SINES] = q.sines;
  inputs[WEFT_CACHED_POSITIONS] = q.positions;
  return q.interleaved;
}

/* ---- the rewrite ----------------------------------------------------------------------------- */

static bool match_caches(const weft_graph *graph, const weft_users *users, weft_node_id id,
                         cache_match caches[2]) {
  const weft_node *node = &graph->nodes[id];
  if (node->removed || node->op != WEFT_OP_ATTENTION || node->region != 0) return false;
  for (uint32_t c = 0; c < 2; c++)
    if (!match_cache(graph, users, id, node->inputs[ATTENTION_K + c], &caches[c])) return false;
  weft_value_id lengths = input_of(node, ATTENTION_LENGTHS);
  return caches[0].present != caches[1].present && caches[0].total == caches[1].total &&
         caches[0].lengths == lengths && caches[1].lengths == lengths;
}

/* The inputs of the new node. */
static void set_inputs(const weft_node *attention, const cache_match caches[2],
                       weft_value_id *inputs) {
  for (uint32_t i = 0; i < WEFT_CACHED_INPUTS; i++)
    inputs[i] = i < ATTENTION_INPUTS ? input_of(attention, i) : WEFT_VALUE_NONE;
  for (uint32_t c = 0; c < 2; c++) {
    inputs[WEFT_CACHED_K + c] = caches[c].added;
    inputs[WEFT_CACHED_PAST_K + c] = caches[c].past;
  }
  inputs[WEFT_CACHED_TOTAL] = caches[0].total;
  inputs[WEFT_CACHED_ENDS] = caches[0].lengths;
}

/* The node takes over the outputs of the appends. */
static void take_outputs(weft_graph *graph, weft_node_id id, const cache_match caches[2]) {
  weft_node *node = &graph->nodes[id];
  for (uint32_t c = 0; c < 2; c++) {
    if (caches[c].slice != WEFT_VALUE_NONE)
      weft_graph_remove_node(graph, graph->values[caches[c].slice].producer);
    weft_graph_remove_node(graph, graph->values[caches[c].present].producer);
    graph->values[caches[c].present].producer = id;
    node->outputs[1 + c] = caches[c].present;
  }
  node->output_count = 3;
}

static weft_status fuse_node(weft_graph *graph, const weft_opt_context *context,
                             const weft_users *users, weft_node_id id, weft_error *error) {
  cache_match caches[2];
  weft_value_id inputs[WEFT_CACHED_INPUTS];
  if (!match_caches(graph, users, id, caches)) return WEFT_OK;
  weft_node *node = &graph->nodes[id], fused = *node;
  set_inputs(node, caches, inputs);
  fused.op = WEFT_OP_CACHED_ATTENTION;
  fused.inputs = inputs;
  fused.input_count = WEFT_CACHED_INPUTS;
  fused.attributes.attention.interleaved = take_angles(graph, users, inputs);
  if (!context->runs_on_device(context->user, graph, &fused)) return WEFT_OK;
  weft_value_id *outputs = WEFT_ARENA_ARRAY(&graph->arena, weft_value_id, 3);
  if (!outputs) return weft_arena_fail(&graph->arena, "a rewrite", error);
  outputs[0] = node->outputs[0];
  WEFT_TRY(weft_match_rewrite(graph, node, fused.op, inputs, WEFT_CACHED_INPUTS, error));
  node->attributes = fused.attributes;
  node->outputs = outputs;
  take_outputs(graph, id, caches);
  return WEFT_OK;
}

static weft_status fuse_all(weft_graph *graph, const weft_opt_context *context, weft_arena *arena,
                            weft_error *error) {
  weft_users users;
  WEFT_TRY(weft_graph_users(graph, arena, &users, error));
  for (uint32_t n = 0; n < graph->node_count; n++)
    WEFT_TRY(fuse_node(graph, context, &users, n, error));
  return WEFT_OK;
}

weft_status weft_pass_fuse_cached(weft_graph *graph, const weft_opt_context *context,
                                  weft_error *error) {
  if (!context->runs_on_device) return WEFT_OK;
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  weft_status status = fuse_all(graph, context, &arena, error);
  weft_arena_release(&arena);
  return status;
}
