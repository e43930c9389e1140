/* views.h - views and axes made concrete, for plan/ and the devices: which strides a view node gives
 * its output, and which axes a node works on once inference has run. */
#ifndef WEFT_GRAPH_VIEWS_H
#define WEFT_GRAPH_VIEWS_H

#include "graph/graph.h"

/* Element strides of a dense row-major tensor. Dims must be extents. */
void weft_dense_strides(const weft_dim *dims, int rank, int64_t *strides);

/* Strides for reading `to_dims` out of an array of `dims` and `strides` with as many elements, when
 * there are any (numpy's rule for reshape without a copy); else answers false. */
bool weft_reshape_strides(const int64_t *dims, const int64_t *strides, int rank,
                          const int64_t *to_dims, int to_rank, int64_t *to_strides);

/* Element strides of a view node's output over the memory of its input, which lies at `in_strides`:
 * output element [i...] is input memory element *out_offset + sum(i * out_strides). When no strides
 * do (a reshape of a non-contiguous input), *copy_needed is set, and the output's are those of a
 * dense copy at offset 0. Output dims are inference's, which must be fixed and have run for the
 * node. Strides may be 0 (expand) and negative (slice). */
weft_status weft_view_strides(const weft_graph *graph, const weft_node *node,
                              const weft_inference *inference, const int64_t in_dims[],
                              const int64_t in_strides[], int rank,
                              int64_t out_strides[WEFT_RANK_MAX], int64_t *out_offset,
                              bool *copy_needed);

/* The axes of a reduce, squeeze or unsqueeze, from attribute or input: >= 0, ascending, each once
 * (unsqueeze: axes of the output). WEFT_UNSUPPORTED when only a run can tell. */
weft_status weft_node_axes(const weft_inference *inference, const weft_node *node, weft_axes *out,
                           weft_error *error);

#endif
