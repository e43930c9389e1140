/* fuse_rotary.c - rotary embedding written out by exporters becomes one node:
 *
 *   x * c + concat(-x[..., D/2:], x[..., :D/2]) * s       x [B,H,S,D], c and s [B or 1,1,S,D]
 *
 * where both halves of c are the same, and of s. */
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/placing.h"

typedef struct fusion {
  weft_graph *graph;
  weft_placing placing;
  weft_value_id *halves; /* by value that was there: its first half, which layers share */
  weft_error *error;
} fusion;

typedef struct rotary_match {
  weft_value_id x, cosines, sines; /* [B,H,S,D]; [B or 1,S,D] */
} rotary_match;

/* ---- the pattern ----------------------------------------------------------------------------- */

/* The only element of a list that is known. */
static bool is_element(const weft_graph *graph, weft_value_id id, int64_t expected, int64_t other) {
  const weft_value *value = &graph->values[id];
  bool known = value->shape.rank == 1 && value->shape.dims[0] == 1 && value->elements;
  return known && (value->elements[0] == expected || value->elements[0] == other);
}

static bool starts_at(const weft_graph *graph, const weft_node *view, int64_t start,
                      int64_t extent) {
  if (view->input_count < 4) return false;
  bool has_step = view->input_count > 4 && view->inputs[4] != WEFT_VALUE_NONE;
  return is_element(graph, view->inputs[1], start, start - extent) &&
         view->inputs[3] != WEFT_VALUE_NONE && is_element(graph, view->inputs[3], 3, -1) &&
         (!has_step || is_element(graph, view->inputs[4], 1, 1));
}

/* value is the first or second half of x, along the last axis. */
static bool is_half(const weft_graph *graph, weft_value_id value, weft_value_id x, uint32_t index) {
  const weft_node *view = weft_match_producer(graph, value);
  const weft_shape *whole = &graph->values[x].shape, *part = &graph->values[value].shape;
  if (!view || view->op != WEFT_OP_VIEW || view->inputs[0] != x || part->rank != 4) return false;
  int64_t extent = whole->dims[3];
  if (WEFT_DIM_IS_SYMBOL(extent) || extent % 2 != 0 || part->dims[3] != extent / 2) return false;
  if (view->attributes.view.kind == WEFT_VIEW_SLICE)
    return starts_at(graph, view, index ? extent / 2 : 0, extent);
  int8_t axis = view->attributes.view.axes.axes[0];
  return view->attributes.view.kind == WEFT_VIEW_SPLIT && view->attributes.view.count == 2 &&
         view->attributes.view.index == index && (axis == 3 || axis == -1);
}

/* value = concat(-second half of x, first half of x) */
static bool is_turned(const weft_graph *graph, weft_value_id value, weft_value_id x) {
  const weft_node *concat = weft_match_producer(graph, value);
  weft_value_id operands[3];
  if (!concat || concat->op != WEFT_OP_CONCAT || concat->input_count != 2) return false;
  int32_t axis = concat->attributes.axis.axis;
  return (axis == 3 || axis == -1) &&
         weft_match_map(graph, concat->inputs[0], WEFT_EXPR_NEG, operands) &&
         is_half(graph, operands[0], x, 1) && is_half(graph, concat->inputs[1], x, 0);
}

/* Made element by element, with numbers, from halves that are one value. */
static bool has_equal_halves(const weft_graph *graph, weft_value_id value) {
  for (uint32_t looks = 0; looks < WEFT_MATCH_LOOKS_MAX; looks++) {
    const weft_node *node = weft_match_producer(graph, value);
    if (!node) return false;
    if (node->op == WEFT_OP_CONCAT) {
      int32_t axis = node->attributes.axis.axis, rank = graph->values[value].shape.rank;
      return node->input_count == 2 && node->inputs[0] == node->inputs[1] &&
             (axis == -1 || axis == rank - 1);
    }
    if (node->op != WEFT_OP_MAP) return false;
    double number;
    if (node->input_count == 2 && !weft_match_scalar(graph, node->inputs[1], &number)) return false;
    if (node->input_count > 2) return false;
    value = node->inputs[0];
  }
  return false;
}

/* value [b,1,S,D] = [b,S,D] with an axis for heads; gives the latter. */
static bool match_angles(const weft_graph *graph, weft_value_id value, const weft_shape *x,
                         weft_value_id *out) {
  const weft_node *view = weft_match_producer(graph, value);
  const weft_shape *wide = &graph->values[value].shape;
  if (!view || view->op != WEFT_OP_VIEW || view->attributes.view.kind != WEFT_VIEW_UNSQUEEZE)
    return false;
  const weft_shape *shape = &graph->values[view->inputs[0]].shape;
  *out = view->inputs[0];
  return wide->rank == 4 && shape->rank == 3 && wide->dims[1] == 1 &&
         (wide->dims[0] == 1 || wide->dims[0] == x->dims[0]) && wide->dims[2] == x->dims[2] &&
         wide->dims[3] == x->dims[3] && wide->dims[2] == shape->dims[1] &&
         has_equal_halves(graph, *out);
}

/* The operands of two products that are added, in each of their orders. */
static bool match_products(const weft_graph *graph, const weft_value_id a[3],
                           const weft_value_id b[3], rotary_match *match) {
  for (int i = 0; i < 4; i++) {
    weft_value_id x = a[i & 1], turned = b[i >> 1];
    const weft_shape *shape = &graph->values[x].shape;
    if (shape->rank != 4 || !is_turned(graph, turned, x)) continue;
    match->x = x;
    return match_angles(graph, a[1 - (i & 1)], shape, &match->cosines) &&
           match_angles(graph, b[1 - (i >> 1)], shape, &match->sines);
  }
  return false;
}

static bool match_rotary(const weft_graph *graph, const weft_node *node, rotary_match *match) {
  weft_value_id sum[3], a[3], b[3];
  if (node->removed || node->op != WEFT_OP_MAP ||
      !weft_match_is_float(graph->values[node->outputs[0]].dtype) ||
      !weft_match_map(graph, node->outputs[0], WEFT_EXPR_ADD, sum) ||
      !weft_match_map(graph, sum[0], WEFT_EXPR_MUL, a) ||
      !weft_match_map(graph, sum[1], WEFT_EXPR_MUL, b))
    return false;
  return match_products(graph, a, b, match) || match_products(graph, b, a, match);
}

/* ---- the rewrite ----------------------------------------------------------------------------- */

/* The first half of [B,S,D] along the last axis, a view placed before `anchor`. */
static weft_status add_half(fusion *fuse, weft_value_id whole, weft_node_id anchor,
                            weft_value_id *out) {
  weft_graph *graph = fuse->graph;
  weft_value_id inputs[4] = {whole};
  const int64_t bounds[] = {0, graph->values[whole].shape.dims[2] / 2, 2};
  for (int i = 0; i < 3; i++)
    WEFT_TRY(weft_graph_add_integers(graph, graph->nodes[anchor].name, &bounds[i], 1,
                                     &inputs[1 + i], fuse->error));
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  return weft_placing_add(&fuse->placing, anchor, WEFT_OP_VIEW, inputs, 4, &attributes, out);
}

static weft_status half_of(fusion *fuse, weft_value_id whole, weft_node_id anchor,
                           weft_value_id *out) {
  const weft_graph *graph = fuse->graph;
  weft_value_id *kept = &fuse->halves[whole];
  const weft_node *made = weft_match_producer(graph, *kept);
  if (!made || made->region != graph->nodes[anchor].region)
    WEFT_TRY(add_half(fuse, whole, anchor, kept));
  *out = *kept;
  return WEFT_OK;
}

static weft_status rewrite(fusion *fuse, weft_node_id id, const rotary_match *match) {
  weft_value_id inputs[3] = {match->x};
  WEFT_TRY(half_of(fuse, match->cosines, id, &inputs[1]));
  WEFT_TRY(half_of(fuse, match->sines, id, &inputs[2]));
  return weft_match_rewrite(fuse->graph, &fuse->graph->nodes[id], WEFT_OP_ROTARY, inputs, 3,
                            fuse->error);
}

/* In the order of execution, so that a half stands before all that share it. */
static weft_status fuse_all(fusion *fuse) {
  weft_graph *graph = fuse->graph;
  uint32_t values = graph->value_count;
  fuse->halves = WEFT_ARENA_ARRAY(&fuse->placing.arena, weft_value_id, values + 1);
  if (!fuse->halves) return weft_arena_fail(&fuse->placing.arena, "a rewrite", fuse->error);
  for (uint32_t i = 0; i < values; i++) fuse->halves[i] = WEFT_VALUE_NONE;
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (;;) {
    weft_walk_event event = weft_walk_next(&walk);
    rotary_match match;
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event == WEFT_WALK_NODE && walk.node < fuse->placing.first &&
        match_rotary(graph, &graph->nodes[walk.node], &match))
      WEFT_TRY(rewrite(fuse, walk.node, &match));
  }
  return WEFT_OK;
}

weft_status weft_pass_fuse_rotary(weft_graph *graph, const weft_opt_context *context,
                                  weft_error *error) {
  fusion fuse = {.graph = graph, .error = error};
  weft_placing_start(&fuse.placing, graph, context->heap, error);
  return weft_placing_end(&fuse.placing, fuse_all(&fuse));
}
