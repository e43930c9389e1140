/* evaluate.h - one node on constants, outside of any plan: what constant folding needs. */
#ifndef WEFT_RUN_EVALUATE_H
#define WEFT_RUN_EVALUATE_H

#include "plan/device.h"

/* Computes every output of `node`, whose inputs are all constants or known elements and whose
 * outputs' shapes are fixed. One new buffer on `heap` for each output, a reference to which is the
 * caller's. */
weft_status weft_evaluate_node(const weft_device *device, const weft_graph *graph,
                               weft_node_id node, weft_heap *heap, weft_buffer **outputs,
                               weft_error *error);

#endif
