/* views.h - views and axes made concrete: which strides a view node gives its output over its
 * input's memory, and which axes a node works on. plan/ asks at bind, opt/ folds with it. */
#ifndef WEFT_GRAPH_VIEWS_H
#define WEFT_GRAPH_VIEWS_H

#include "graph/graph.h"

/* A view node's output as strides (in elements) over its input's memory. Strides may be 0 (expand)
 * and negative (slice). */
typedef struct weft_view_layout {
  int64_t strides[WEFT_RANK_MAX];
  int64_t offset;   /* elements from the input's element 0 to the output's */
  bool copy_needed; /* a reshape that no strides can say: make the input dense, then the output is
                       dense too */
} weft_view_layout;

/* `facts` are fixed (every dimension known) and hold the node's input and output shapes.
 * in_strides: of the input's dims. */
weft_status weft_view_resolve(const weft_inference *facts, const weft_node *node,
                              const int64_t *in_strides, weft_view_layout *out, weft_error *error);

/* Element strides of a dense row-major tensor of a fixed shape. */
void weft_dense_strides(const weft_shape *shape, int64_t *strides);

/* The axes of a reduce, squeeze or unsqueeze, from attribute or input: >= 0, ascending, each once
 * (of unsqueeze: axes of the output). WEFT_UNSUPPORTED when only a run can tell. */
weft_status weft_node_axes(const weft_inference *facts, const weft_node *node, weft_axes *out,
                           weft_error *error);

#endif
