/* placing.h - a rewrite that adds nodes in front of others. They are made at the ends of their
 * regions, and all moved to where they belong at the end, in one walk. */
#ifndef WEFT_OPT_PLACING_H
#define WEFT_OPT_PLACING_H

#include "graph/graph.h"

typedef struct weft_placing {
  weft_graph *graph;
  weft_arena arena;     /* of the rewrite */
  weft_node_id first;   /* of the nodes that are added; before it are those that were there */
  weft_node_id *before; /* by node from `first` on: where it belongs */
  uint32_t count;
  weft_error *error;
} weft_placing;

void weft_placing_start(weft_placing *placing, weft_graph *graph, weft_heap *heap,
                        weft_error *error);
/* Adds a node with one output, *out, before `anchor`: in its region, with its name and origin. */
weft_status weft_placing_add(weft_placing *placing, weft_node_id anchor, weft_op op,
                             const weft_value_id *inputs, uint32_t input_count,
                             const weft_attributes *attributes, weft_value_id *out);
/* Moves the nodes, unless the rewrite has failed, and releases the arena. */
weft_status weft_placing_end(weft_placing *placing, weft_status status);

#endif
