/* remove_dead.c - drops nodes whose results nobody needs, last ones first, so that one walk is
 * enough. */
#include "opt/opt.h"

/* Uses by nodes that stay and by outputs of regions. */
static uint32_t *count_uses(const weft_graph *graph, weft_arena *arena) {
  uint32_t *uses = WEFT_ARENA_ARRAY(arena, uint32_t, graph->value_count + 1);
  if (!uses) return NULL;
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const weft_node *node = &graph->nodes[n];
    for (uint32_t i = 0; i < node->input_count && !node->removed; i++) {
      if (node->inputs[i] != WEFT_VALUE_NONE) uses[node->inputs[i]]++;
    }
  }
  for (uint32_t r = 0; r < graph->region_count; r++) {
    for (uint32_t i = 0; i < graph->regions[r].output_count; i++)
      uses[graph->regions[r].outputs[i]]++;
  }
  return uses;
}

static bool is_used(const weft_node *node, const uint32_t *uses) {
  for (uint32_t i = 0; i < node->output_count; i++) {
    if (uses[node->outputs[i]]) return true;
  }
  return false;
}

/* Nodes that became unused push the makers of their inputs. */
weft_status weft_pass_remove_dead(weft_graph *graph, const weft_opt_context *context,
                                  weft_error *error) {
  weft_arena arena;
  weft_arena_init(&arena, context->heap);
  uint32_t *uses = count_uses(graph, &arena);
  weft_node_id *stack = WEFT_ARENA_ARRAY(&arena, weft_node_id, graph->node_count + 1);
  weft_status status = uses && stack ? WEFT_OK : weft_arena_fail(&arena, "a rewrite", error);
  for (uint32_t n = 0; n < graph->node_count && status == WEFT_OK; n++) {
    uint32_t depth = 0;
    if (!graph->nodes[n].removed && !is_used(&graph->nodes[n], uses)) stack[depth++] = n;
    while (depth > 0) {
      weft_node *node = &graph->nodes[stack[--depth]];
      weft_graph_remove_node(graph, (weft_node_id)(node - graph->nodes));
      for (uint32_t i = 0; i < node->input_count; i++) {
        weft_value_id input = node->inputs[i];
        if (input == WEFT_VALUE_NONE || --uses[input] > 0) continue;
        weft_node_id producer = graph->values[input].producer;
        bool dead = producer != WEFT_NODE_NONE && !graph->nodes[producer].removed &&
                    !is_used(&graph->nodes[producer], uses);
        if (dead) stack[depth++] = producer;
      }
    }
  }
  weft_arena_release(&arena);
  return status;
}
