/* onnx_lower_internal.h - the state that the parts of the lowering share: the driver
 * (onnx_lower.c), names and order (onnx_lower_names.c), tensors (onnx_lower_tensor.c) and calls
 * (onnx_lower_call.c). */
#ifndef WEFT_FORMAT_ONNX_LOWER_INTERNAL_H
#define WEFT_FORMAT_ONNX_LOWER_INTERNAL_H

#include "format/onnx_lower.h"
#include "format/onnx_lower_call.h"

/* Names that can be seen from a node: those of its graph and, from inside a branch, of the graphs
 * around. A function starts anew. Numbers are value ids, WEFT_NAME_LEFT_OUT for a function's input
 * that the caller left out, or WEFT_NAME_MISSING + i for a value that Weft does not have, reason
 * l->missing[i]. */
typedef struct weft_scope {
  weft_map names;
  struct weft_scope *parent;
} weft_scope;
#define WEFT_NAME_LEFT_OUT 0x7FFFFFFFu
#define WEFT_NAME_MISSING  0x80000000u

/* A list of nodes being lowered: the main graph, a branch of an If, or the body of a called
 * function. */
typedef struct weft_frame {
  const weft_onnx_node *nodes;
  uint32_t *order; /* NULL: that of the file */
  uint32_t node_count, position;
  weft_scope *scope;
  weft_str prefix; /* of names made here: "call/" of inlined functions */
  uint32_t region, subgraph_depth, function_depth, first_value;
  const weft_onnx_operator_set *opsets;
  weft_argument *arguments; /* of the enclosing function */
  uint32_t opset_count, argument_count;
  const weft_onnx_graph *graph;       /* main or branch; else NULL */
  const weft_onnx_function *function; /* a function's body; else NULL */
  const weft_onnx_node *caller;       /* of a function: the node in the frame below */
  weft_str caller_name;
  weft_map hints; /* name -> index of a declared shape; .arena NULL: not built yet */
  /* An If under way: how many of its branches are lowered, and their regions. */
  uint32_t branches_done, branches[2];
} weft_frame;

/* A constant of 4-bit integers, held as bytes of two: [..., N] as u8 [..., N/2]. */
typedef struct weft_nibbles {
  weft_value_id value;
  bool has_sign;
} weft_nibbles;

#define WEFT_FRAMES_MAX (1u + WEFT_MAX_SUBGRAPH_DEPTH + WEFT_MAX_FUNCTION_DEPTH)

typedef struct weft_lowering {
  const weft_onnx_model *model;
  weft_heap *heap;
  weft_graph *graph;
  weft_file *file;
  weft_arena scratch; /* what is not needed after the lowering */
  weft_error *error;
  weft_map operators, functions; /* "domain::name" -> row, "domain::name:overload" -> index */
  weft_frame frames[WEFT_FRAMES_MAX];
  uint32_t depth; /* frames in use */
  uint32_t nodes_seen;
  uint64_t nodes_scanned; /* in subgraphs, while looking for names */
  weft_str *missing;      /* why a value is missing */
  weft_nibbles *nibbles;  /* in the order of their values */
  uint32_t missing_count, nibble_count;
  weft_inference inference;
} weft_lowering;

/* A row of onnx_ops.inc. */
typedef struct weft_onnx_row {
  const char *domain, *name;
  int32_t first, last; /* opset versions */
  uint32_t inputs_min, inputs_max;
  void (*lower)(weft_call *call);
  uint32_t parameter;
} weft_onnx_row;
/* onnx_lower_table.c. False: no memory. A row that is not found is NULL. */
bool weft_onnx_index_rows(weft_map *index, weft_arena *arena);
bool weft_onnx_find_row(const weft_map *index, weft_arena *arena, weft_str domain, weft_str name,
                        int64_t version, const weft_onnx_row **out);

/* onnx_lower_names.c */
weft_scope *weft_lowering_scope(weft_lowering *l, weft_scope *parent); /* NULL: no memory */
uint32_t weft_scope_find(const weft_scope *scope, weft_str name);      /* or WEFT_MAP_NONE */
weft_status weft_lowering_define(weft_lowering *l, weft_scope *scope, weft_str name,
                                 uint32_t number);
/* Defines a name that cannot be used, and why. */
weft_status weft_lowering_define_missing(weft_lowering *l, weft_scope *scope, weft_str name,
                                         weft_str reason);
/* Makes sure that all which the frame's next node uses is defined, by reordering the nodes that are
 * left. */
weft_status weft_lowering_make_ready(weft_lowering *l, weft_frame *frame);
/* Nodes in the file, those of subgraphs included. */
weft_status weft_lowering_count_nodes(weft_lowering *l, uint64_t *count);
const weft_onnx_node *weft_frame_node(const weft_frame *frame);
/* The frame's prefix and the name; in scratch or the model's memory, as is the next. */
weft_str weft_lowering_name(weft_lowering *l, const weft_frame *frame, weft_str name);
/* The node's name, or a made-up one. */
weft_str weft_lowering_node_name(weft_lowering *l, const weft_frame *frame);

/* onnx_lower_tensor.c */
weft_status weft_lowering_shape(weft_lowering *l, const weft_onnx_value_info *info,
                                weft_shape *out);
/* A constant value; `reason`.data is set instead when it is of a type that Weft does not have. */
weft_status weft_lowering_tensor(weft_lowering *l, const weft_onnx_tensor *tensor, weft_str name,
                                 weft_value_id *out, weft_str *reason);
/* NULL for any other value. */
const weft_nibbles *weft_lowering_nibbles(const weft_lowering *l, weft_value_id value);
weft_status weft_lowering_initializers(weft_lowering *l, const weft_onnx_graph *graph,
                                       weft_frame *frame);

/* onnx_lower_hints.c */
/* Takes the rank from the declared shape when inference could not tell it. */
weft_status weft_lowering_hint(weft_lowering *l, weft_frame *frame, weft_str name,
                               weft_value_id value);

weft_status weft_lowering_no_memory(weft_lowering *l);

#endif
