/* opt.h - rewrites of the graph between load and planning. passes.inc lists them in order; each
 * lives in a file of its name and can be switched off. A pass leaves a graph that weft_graph_verify
 * accepts. */
#ifndef WEFT_OPT_OPT_H
#define WEFT_OPT_OPT_H

#include "graph/graph.h"

/* What passes need from below: the device's arithmetic and its weight layouts. run/ fills it in. */
typedef struct weft_opt_context {
  weft_heap *heap; /* of new weights */
  /* Computes the outputs of a node whose inputs are all constants or known elements, and whose
   * outputs' shapes are fixed. One new buffer for each
   * output, a reference to which is the caller's. */
  weft_status (*evaluate)(void *user, const weft_graph *graph, weft_node_id node,
                          weft_buffer **outputs, weft_error *error);
  /* As weft_device.pack. NULL: weights stay as they are. */
  weft_status (*pack)(void *user, const weft_graph *graph, const weft_node *node, uint32_t input,
                      weft_buffer **out, weft_layout *layout, weft_error *error);
  /* Whether the node runs on a device with memory of its own: its weights are packed for that.
   * NULL: there is none. */
  bool (*runs_on_device)(void *user, const weft_graph *graph, const weft_node *node);
  /* Called as weights are packed; false cancels. May be NULL. */
  bool (*progress)(void *user, uint64_t done, uint64_t total);
  void *user;
} weft_opt_context;

typedef weft_status weft_pass_fn(weft_graph *graph, const weft_opt_context *context,
                                 weft_error *error);
#define WEFT_PASS(name, optional, description) weft_pass_fn weft_pass_##name;
#include "opt/passes.inc"
#undef WEFT_PASS

/* Runs every pass but those named in `disabled` (names separated by commas, "all", or NULL).
 * WEFT_INVALID_ARGUMENT for a name that is no pass. */
weft_status weft_opt_run(weft_graph *graph, const weft_opt_context *context, const char *disabled,
                         weft_error *error);
/* The last of them alone, pack_weights, unless it is disabled: for graphs that went through the
 * others without context->pack. */
weft_status weft_opt_pack(weft_graph *graph, const weft_opt_context *context, const char *disabled,
                          weft_error *error);

#endif
