/* views.h - view nodes at bind: what strides the output has over the input's memory. plan/ asks, opt/ folds with it. */
#ifndef WEFT_GRAPH_VIEWS_H
#define WEFT_GRAPH_VIEWS_H

#include "graph/graph.h"

/* A view node's output as strides (in elements) over its input's memory. */
typedef struct weft_view_layout {
  int64_t strides[WEFT_RANK_MAX];
  int64_t offset; /* elements from the input's element 0 to the output's */
  bool
      copy_needed; /* a reshape that no strides can say: make the input dense, then the output is dense too */
} weft_view_layout;

/* `facts` are fixed (every dimension known) and hold the node's input and output shapes. in_strides: of the input's dims. */
weft_status weft_view_resolve(const weft_inference *facts, const weft_node *node,
                              const int64_t *in_strides, weft_view_layout *out, weft_error *error);

#endif
