/* removal.h - drops what a rewrite has made useless, as soon as it is: nodes, and the bytes of
 * constants. In remove_dead.c. */
#ifndef WEFT_OPT_REMOVAL_H
#define WEFT_OPT_REMOVAL_H

#include "graph/graph.h"

typedef struct weft_removal {
  weft_graph *graph;
  uint32_t *uses;      /* by value, of those that were there at the start */
  weft_node_id *stack; /* nodes to drop: each gets there once, when its last use goes */
  uint32_t depth;
} weft_removal;

weft_status weft_removal_start(weft_removal *removal, weft_graph *graph, weft_arena *arena,
                               weft_error *error);
/* One use less of a value that was there at the start. */
void weft_removal_drop(weft_removal *removal, weft_value_id value);

#endif
