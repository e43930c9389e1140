/* rewrite.c - what passes (opt/) do to a graph, and the walk over its nodes. */
#include "graph/infer.h"

void weft_graph_remove_node(weft_graph *graph, weft_node_id id) {
  weft_node *node = &graph->nodes[id];
  node->removed = true;
  for (uint32_t i = 0; i < node->output_count; i++) {
    graph->values[node->outputs[i]].producer = WEFT_NODE_NONE;
  }
}

/* Added nodes by the one that they belong before: last[anchor], then previous[node - first]. */
typedef struct placement {
  weft_node_id first;
  weft_node_id *last, *previous;
} placement;

/* From the back: the list is filled from its end while its older nodes are read, which the added
 * ones keep ahead of. */
static void place_in_region(weft_region *region, const placement *place) {
  uint32_t to = region->node_count, from = to;
  while (from > 0 && region->nodes[from - 1] >= place->first) from--;
  while (from < to) {
    weft_node_id node = region->nodes[--from];
    region->nodes[--to] = node;
    for (weft_node_id n = place->last[node]; n != WEFT_NODE_NONE;
         n = place->previous[n - place->first]) {
      region->nodes[--to] = n;
    }
  }
}

weft_status weft_graph_place(weft_graph *graph, weft_node_id first, const weft_node_id *before,
                             weft_arena *arena, weft_error *error) {
  uint32_t added = graph->node_count - first;
  if (added == 0) return WEFT_OK;
  placement place = {first, WEFT_ARENA_ARRAY(arena, weft_node_id, first),
                     WEFT_ARENA_ARRAY(arena, weft_node_id, added)};
  if (!place.last || !place.previous) return weft_arena_fail(arena, "a rewrite", error);
  for (uint32_t i = 0; i < first; i++) place.last[i] = WEFT_NODE_NONE;
  for (uint32_t i = 0; i < added; i++) {
    place.previous[i] = place.last[before[i]];
    place.last[before[i]] = first + i;
  }
  for (uint32_t r = 0; r < graph->region_count; r++) place_in_region(&graph->regions[r], &place);
  return WEFT_OK;
}

/* ---- users ----------------------------------------------------------------------------------- */

/* Counts a use or, on the second pass, writes it down: counts become positions in between. */
static void add_use(weft_users *users, weft_value_id value, weft_node_id user, bool write) {
  if (value == WEFT_VALUE_NONE) return;
  if (write) {
    users->nodes[users->first[value + 1]++] = user;
  } else {
    users->first[value + 1]++;
  }
}

static void add_uses(const weft_graph *graph, weft_users *users, bool write) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    const weft_node *node = &graph->nodes[i];
    for (uint32_t k = 0; k < node->input_count && !node->removed; k++) {
      add_use(users, node->inputs[k], i, write);
    }
  }
  for (uint32_t i = 0; i < graph->region_count; i++) {
    const weft_region *region = &graph->regions[i];
    for (uint32_t k = 0; k < region->output_count; k++) {
      add_use(users, region->outputs[k], WEFT_NODE_NONE, write);
    }
  }
}

weft_status weft_graph_users(const weft_graph *graph, weft_arena *arena, weft_users *out,
                             weft_error *error) {
  out->first = WEFT_ARENA_ARRAY(arena, uint32_t, (uint64_t)graph->value_count + 1);
  if (!out->first) return weft_arena_fail(arena, "the users of values", error);
  add_uses(graph, out, false);
  uint32_t total = 0;
  for (uint32_t i = 1; i <= graph->value_count; i++) {
    uint32_t count = out->first[i];
    out->first[i] = total; /* where value i - 1 begins; the second pass moves it to its end */
    total += count;
  }
  out->nodes = WEFT_ARENA_ARRAY(arena, weft_node_id, total);
  if (!out->nodes) return weft_arena_fail(arena, "the users of values", error);
  add_uses(graph, out, true);
  return WEFT_OK;
}

/* ---- the walk -------------------------------------------------------------------------------- */

void weft_walk_start(weft_walk *walk, const weft_graph *graph) {
  *walk = (weft_walk){.graph = graph, .node = WEFT_NODE_NONE, .depth = 1};
}

static weft_walk_event enter_branch(weft_walk *walk, const weft_node *node, uint32_t branch) {
  if (walk->depth > WEFT_MAX_SUBGRAPH_DEPTH) return WEFT_WALK_TOO_DEEP;
  walk->region =
      branch == 0 ? node->attributes.branches.then_region : node->attributes.branches.else_region;
  walk->frames[walk->depth].region = walk->region;
  walk->frames[walk->depth].next = walk->frames[walk->depth].branches = 0;
  walk->depth++;
  return WEFT_WALK_ENTER;
}

weft_walk_event weft_walk_next(weft_walk *walk) {
  if (walk->depth == 0) return WEFT_WALK_END;
  uint32_t top = walk->depth - 1;
  const weft_region *region = &walk->graph->regions[walk->frames[top].region];
  walk->region = walk->frames[top].region;
  while (walk->frames[top].next < region->node_count) {
    walk->node = region->nodes[walk->frames[top].next];
    const weft_node *node = &walk->graph->nodes[walk->node];
    if (!node->removed && node->op == WEFT_OP_IF && walk->frames[top].branches < 2) {
      return enter_branch(walk, node, walk->frames[top].branches++);
    }
    walk->frames[top].next++;
    walk->frames[top].branches = 0;
    if (!node->removed) return WEFT_WALK_NODE;
  }
  walk->depth--;
  return walk->depth ? WEFT_WALK_LEAVE : WEFT_WALK_END;
}

void weft_walk_skip(weft_walk *walk) {
  walk->depth--;
}
