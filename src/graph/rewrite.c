/* rewrite.c - what passes (opt/) do to a graph, and the walk over its nodes. */
#include "graph/infer.h"

static void replace_in(weft_value_id *values, uint32_t count, weft_value_id from,
                       weft_value_id to) {
  for (uint32_t i = 0; i < count; i++) {
    if (values[i] == from) values[i] = to;
  }
}

void weft_graph_replace_value(weft_graph *graph, weft_value_id from, weft_value_id to) {
  for (uint32_t i = 0; i < graph->node_count; i++) {
    weft_node *node = &graph->nodes[i];
    if (!node->removed) replace_in(node->inputs, node->input_count, from, to);
  }
  for (uint32_t i = 0; i < graph->region_count; i++) {
    replace_in(graph->regions[i].outputs, graph->regions[i].output_count, from, to);
  }
}

void weft_graph_remove_node(weft_graph *graph, weft_node_id id) {
  weft_node *node = &graph->nodes[id];
  node->removed = true;
  for (uint32_t i = 0; i < node->output_count; i++) {
    graph->values[node->outputs[i]].producer = WEFT_NODE_NONE;
  }
}

static uint32_t position_of(const weft_region *region, weft_node_id node) {
  uint32_t i = 0;
  while (i < region->node_count && region->nodes[i] != node) i++;
  return i;
}

void weft_graph_move_before(weft_graph *graph, weft_node_id node, weft_node_id anchor) {
  weft_region *region = &graph->regions[graph->nodes[node].region];
  uint32_t from = position_of(region, node), to = position_of(region, anchor);
  weft_node_id *nodes = region->nodes;
  if (from < to) {
    to--;
    memmove(&nodes[from], &nodes[from + 1], (to - from) * sizeof *nodes);
  } else {
    memmove(&nodes[to + 1], &nodes[to], (from - to) * sizeof *nodes);
  }
  nodes[to] = node;
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
