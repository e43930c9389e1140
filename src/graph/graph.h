/* graph.h - the graph: what formats produce, opt/ rewrites and plan/ lays out.
 *
 * Values are numbers into one table for the whole model; nodes live in regions (region 0 is the
 * main one, others are branches of `if`). A region sees its own values and those of the regions
 * around it. Nodes of a region stand in an order in which every value is made before it is used.
 * Everything lies in the graph's arena, except weights (weft_buffer).
 *
 * Dimensions may be symbols: a weft_dim >= 0 is an extent, others name a symbol ("batch"; anonymous
 * where only a run can tell). The same inference functions serve at load, where symbols stay, and
 * at bind, where they are replaced by extents first. */
#ifndef WEFT_GRAPH_GRAPH_H
#define WEFT_GRAPH_GRAPH_H

#include "base/buffer.h"
#include "base/limits.h"
#include "base/map.h"
#include "graph/expr.h"

typedef int64_t weft_dim;
/* Symbols live in a far corner of the negative numbers, because known elements of shape arithmetic
 * (weft_value.elements) hold ordinary negative integers too (-1 in a Reshape, INT64_MIN in a
 * Slice). A constant that falls into the corner counts as not known. Use the macros: a negative
 * weft_dim is not a symbol as such. */
#define WEFT_DIM_SYMBOL_BASE (-0x7A00000000000000ll)
#define WEFT_DIM_IS_SYMBOL(dim)                                                                    \
  ((uint64_t)(dim) - (uint64_t)WEFT_DIM_SYMBOL_BASE < (uint64_t)WEFT_MAX_SYMBOLS)
#define WEFT_DIM_SYMBOL(index)     (WEFT_DIM_SYMBOL_BASE + (weft_dim)(index))
#define WEFT_DIM_SYMBOL_INDEX(dim) ((uint32_t)((dim) - WEFT_DIM_SYMBOL_BASE))
/* In known elements only: one that is not known, and may be negative. Counts as a symbol too. */
#define WEFT_DIM_UNKNOWN WEFT_DIM_SYMBOL(WEFT_MAX_SYMBOLS - 1)

typedef struct weft_shape {
  int32_t rank; /* -1: not known */
  weft_dim dims[WEFT_RANK_MAX];
} weft_shape;

typedef uint32_t weft_value_id;
#define WEFT_VALUE_NONE UINT32_MAX /* an optional input that is left out */
typedef uint32_t weft_node_id;
#define WEFT_NODE_NONE UINT32_MAX

typedef enum weft_value_kind {
  WEFT_VALUE_INPUT,    /* fed by the caller */
  WEFT_VALUE_CONSTANT, /* has data */
  WEFT_VALUE_COMPUTED, /* an output of a node */
} weft_value_kind;

/* How the bytes of a constant lie. Anything but DENSE is for one device's kernels and is made by
 * opt/pack_weights. */
typedef enum weft_layout {
  WEFT_LAYOUT_DENSE,  /* row-major */
  WEFT_LAYOUT_PANELS, /* matmul's B packed for the CPU's gemm: see cpu/ */
  WEFT_LAYOUT_CODES,  /* the same for weights of few bits or 16-bit floats; says itself how */
  /* Words for the GPU's matmul. The bits below say how: see gpu/matmul.h */
  WEFT_LAYOUT_GPU = 1 << 30,
} weft_layout;

typedef struct weft_value {
  weft_str name; /* of the model, or made up; never empty */
  weft_value_kind kind;
  weft_dtype dtype;
  weft_shape shape;
  weft_node_id producer; /* COMPUTED: the node, else WEFT_NODE_NONE */
  weft_buffer *data;     /* CONSTANT: the bytes, little-endian; one reference held here */
  weft_layout layout;
  /* Contents of a small integer or bool tensor of rank <= 1 (at most WEFT_MAX_HOST_ELEMENTS), as
   * far as they are known by inference: shape arithmetic. One weft_dim per element: an integer, a
   * symbol (a dimension not yet bound) or WEFT_DIM_UNKNOWN. NULL when nothing is known; else the
   * shape is fixed. Rank 0: one element. */
  weft_dim *elements;
} weft_value;

typedef enum weft_op {
#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes) WEFT_OP_##id,
#include "graph/ops.inc"
#undef WEFT_OP
  WEFT_OP_COUNT
} weft_op;

typedef enum weft_view_kind {
  WEFT_VIEW_RESHAPE, /* inputs[1]: the shape, i64; 0 copies (unless allow_zero), one -1 is inferred
                      */
  WEFT_VIEW_TRANSPOSE, /* axes: the permutation; axes_count 0 reverses */
  WEFT_VIEW_SLICE,     /* inputs[1..4]: starts, ends [, axes [, steps]], i64 or i32 */
  WEFT_VIEW_EXPAND,    /* inputs[1]: the shape to broadcast with */
  WEFT_VIEW_SQUEEZE,   /* axes, or inputs[1]; without either every dimension of 1 */
  WEFT_VIEW_UNSQUEEZE, /* axes, or inputs[1]: where in the output */
  WEFT_VIEW_FLATTEN,   /* to 2-D at axes[0] */
  WEFT_VIEW_SPLIT,     /* part `index` of `count` along axes[0]: inputs[1] lengths, or even parts
                          (the last may be smaller) */
} weft_view_kind;

typedef enum weft_reduce_kind {
  WEFT_REDUCE_SUM,
  WEFT_REDUCE_MEAN,
  WEFT_REDUCE_MAX,
  WEFT_REDUCE_MIN,
  WEFT_REDUCE_PROD,
  WEFT_REDUCE_SUM_SQUARE,
  WEFT_REDUCE_L1,
  WEFT_REDUCE_L2,
  WEFT_REDUCE_LOG_SUM,
  WEFT_REDUCE_LOG_SUM_EXP,
} weft_reduce_kind;

typedef enum weft_pad_mode {
  WEFT_PAD_CONSTANT,
  WEFT_PAD_REFLECT,
  WEFT_PAD_EDGE,
  WEFT_PAD_WRAP
} weft_pad_mode;
typedef enum weft_norm_kind { WEFT_NORM_LAYER, WEFT_NORM_RMS } weft_norm_kind;

/* A list of axes, possibly negative as in the file; inference normalises and checks. */
typedef struct weft_axes {
  uint8_t count;
  int8_t axes[WEFT_RANK_MAX];
} weft_axes;

typedef union weft_attributes {
  struct {
    weft_expr expr;
  } map; /* inputs in the node's order */
  struct {
    weft_view_kind kind;
    weft_axes axes;
    bool allow_zero;
    uint32_t index, count;
  } view;
  /* ONNX MatMul's shapes (numpy). expr: input 0 is the product, input i the node's input 1 + i
   * (broadcast to the product's shape); no code: the plain product. int8_rows: where B is made by
   * dequantize, A's rows may be rounded to 8 bits, with a scale for each block of K. */
  struct {
    weft_expr expr;
    bool int8_rows;
  } matmul;
  /* q [B,H,S,D], k [B,G,T,D], v [B,G,T,E], where G divides H (head h reads h / (H / G)); mask
   * broadcastable to [B,H,S,T]; lengths [B] (i32 or i64): batch b has L = lengths[b] <= T keys,
   * else L = T; sink [H]: one more score in each head's softmax, without a value. softmax(cap(scale
   * q k^T) + mask) v, cap(x) = softcap tanh(x / softcap), 0: none. Output [B,H,S,E], or [B,S,H,E]
   * when heads_last. Query s stands at position p = s + (S == T ? 0 : L - S). It sees keys t < L;
   * when causal t <= p; with a window > 0 t > p - window. Without any: zeros. */
  struct {
    float scale, softcap;
    int64_t window;
    bool causal, heads_last;
    /* Of cached_attention, which is rotary of q and k, append of k and v and attention as one node
     * for devices that have it (opt/fuse_cached.c); inputs as weft_cached_input says, outputs the
     * result and both caches. It sees the first `total` rows of these. */
    bool interleaved;
  } attention;
  /* x [B,H,S,D] with cosines and sines [M,R/2] and positions [B,S] or [1,S] (i64), or without
   * positions cosines and sines [B,S,R/2] ([1,S,R/2]); R <= D even. The first R elements are turned
   * in pairs (i, i + R/2), interleaved: (2i, 2i + 1); the others stay. */
  struct {
    bool interleaved;
  } rotary;
  /* y = (code - zero) * scale, of type dtype, as the scales. codes: u8, i8 or i32; of bits 2 or 4:
   * u8, along the last axis 8 / bits unsigned codes in a byte, the lowest bits first, `extent`
   * codes in all (a row may have more bytes, which nobody reads). scales: one number; [C] along
   * `axis`; or of the codes' rank with ceil(C / block) along axis (block > 0). zeros: as scales, of
   * the codes' type (bits 2 and 4: packed likewise along their last axis) or a float; without them
   * `zero`. */
  struct {
    weft_dtype dtype;
    uint32_t bits;
    int32_t axis, zero;
    int64_t block, extent;
  } dequantize;
  struct {
    weft_norm_kind kind;
    int32_t axis;
    float epsilon;
  } norm; /* over [axis, rank) */
  struct {
    int32_t axis;
    bool log, to_end;
  } softmax; /* to_end: over [axis, rank) taken as one */
  struct {
    weft_reduce_kind kind;
    weft_axes axes;
    bool keep_dims, none_means_none;
  } reduce; /* no axes: all, or none */
  struct {
    bool max, keep_dims, select_last;
    int32_t axis;
  } arg_reduce;
  struct {
    int32_t axis;
  } axis;
  struct {
    weft_pad_mode mode;
  } pad;
  struct {
    bool exclusive, reverse;
  } cumsum;
  struct {
    bool upper;
  } triangle;
  struct {
    int32_t start, end;
    bool has_end;
  } shape;
  struct {
    weft_dtype dtype;
    uint8_t value[8];
  } fill; /* one element's bytes */
  struct {
    uint32_t then_region, else_region;
  } branches;
} weft_attributes;

/* Inputs of cached_attention; the first six are attention's, k and v the new rows alone. Lengths
 * stand there twice: for attention, and for append, which a device reads on the host. */
typedef enum weft_cached_input {
  WEFT_CACHED_Q,
  WEFT_CACHED_K,
  WEFT_CACHED_V,
  WEFT_CACHED_MASK,
  WEFT_CACHED_LENGTHS,
  WEFT_CACHED_SINK,
  WEFT_CACHED_PAST_K,
  WEFT_CACHED_PAST_V,
  WEFT_CACHED_TOTAL,
  WEFT_CACHED_ENDS,
  WEFT_CACHED_COSINES,
  WEFT_CACHED_SINES,
  WEFT_CACHED_POSITIONS,
  WEFT_CACHED_INPUTS
} weft_cached_input;

typedef struct weft_node {
  weft_op op;
  uint32_t region;
  uint32_t input_count, output_count;
  weft_value_id *inputs, *outputs;
  weft_str name;   /* of the model's node, for messages and profiles; may be made up; never empty */
  weft_str origin; /* operator of the model, "LayerNormalization" */
  weft_attributes attributes;
  bool removed; /* dropped by a rewrite; skipped everywhere */
} weft_node;

typedef struct weft_region {
  weft_node_id *nodes; /* in execution order */
  uint32_t node_count;
  weft_value_id *inputs, *outputs;
  uint32_t input_count, output_count;
  uint32_t parent; /* the region around; region 0: itself */
} weft_region;

typedef struct weft_graph {
  weft_arena arena;
  weft_value *values;
  weft_node *nodes;
  weft_region *regions; /* [0] is the main one */
  weft_str *symbols;    /* names of symbolic dimensions; .length 0: anonymous */
  uint32_t value_count, node_count, region_count, symbol_count;
  weft_map symbol_index; /* name -> index */
} weft_graph;

/* ---- building (graph.c). All fail with WEFT_OUT_OF_MEMORY or WEFT_LIMIT_EXCEEDED only. ------- */

weft_status weft_graph_init(weft_graph *graph, weft_heap *heap,
                            weft_error *error); /* with an empty region 0 */
/* Releases the arena and every weight reference. */
void weft_graph_release(weft_graph *graph);
/* A copy of everything but weight bytes, which are shared by reference. */
weft_status weft_graph_copy(const weft_graph *from, weft_heap *heap, weft_graph *out,
                            weft_error *error);

weft_status weft_graph_add_value(weft_graph *graph, weft_str name, weft_value_kind kind,
                                 weft_dtype dtype, const weft_shape *shape, weft_value_id *out,
                                 weft_error *error);
/* Takes over one reference to `data` (also on failure). */
weft_status weft_graph_add_constant(weft_graph *graph, weft_str name, weft_dtype dtype,
                                    const weft_shape *shape, weft_buffer *data, weft_value_id *out,
                                    weft_error *error);
/* A rank-0 or rank-1 i64 constant (count < 0: a scalar) with its elements known. */
weft_status weft_graph_add_integers(weft_graph *graph, weft_str name, const int64_t *integers,
                                    int32_t count, weft_value_id *out, weft_error *error);
/* Appends a node with `output_count` new computed values of unknown shape and type; ids are in
 * node->outputs. The pointer holds until the next node is added. */
weft_status weft_graph_add_node(weft_graph *graph, uint32_t region, weft_op op, weft_str name,
                                weft_str origin, const weft_value_id *inputs, uint32_t input_count,
                                uint32_t output_count, weft_node **out, weft_error *error);
weft_status weft_graph_add_region(weft_graph *graph, uint32_t parent, uint32_t *out,
                                  weft_error *error);
/* The symbol of that name, made on first sight; an empty name makes a new anonymous one. */
weft_status weft_graph_symbol(weft_graph *graph, weft_str name, weft_dim *out, weft_error *error);
/* A one-instruction expression over inputs of the given types; `dtype` is the result's. */
weft_status weft_graph_simple_expr(weft_graph *graph, weft_expr_op op,
                                   const weft_dtype *input_dtypes, uint32_t input_count,
                                   weft_dtype dtype, weft_expr *out, weft_error *error);

/* ---- rewriting (rewrite.c) ------------------------------------------------------------------- */

/* Drops a node whose outputs nobody uses (any more). Its id stays taken. */
void weft_graph_remove_node(weft_graph *graph, weft_node_id node);
/* Nodes that a pass added stand at the ends of their regions. This moves all from `first` on: node
 * first + i right before the older node before[i] of its region, in the order of their numbers
 * where that is the same one. One walk for all of them, since a file may ask for many. */
weft_status weft_graph_place(weft_graph *graph, weft_node_id first, const weft_node_id *before,
                             weft_arena *arena, weft_error *error);
/* A computed value becomes a constant with known elements, if those can be followed. Takes over one
 * reference to `data` (also on failure). Its producer is to be removed. */
weft_status weft_graph_make_constant(weft_graph *graph, weft_value_id value, weft_buffer *data,
                                     weft_error *error);

/* Who uses each value, as of the call. The uses of value v are nodes[first[v]] up to, not
 * including, nodes[first[v + 1]], a node once per input; WEFT_NODE_NONE stands for a use as the
 * output of a region. */
typedef struct weft_users {
  uint32_t *first; /* [value_count + 1] */
  weft_node_id *nodes;
} weft_users;
weft_status weft_graph_users(const weft_graph *graph, weft_arena *arena, weft_users *out,
                             weft_error *error);
static inline uint32_t weft_use_count(const weft_users *users, weft_value_id value) {
  return users->first[value + 1] - users->first[value];
}

/* A walk in the order of execution, branches included: at an `if`, each branch gives ENTER, its
 * nodes and LEAVE; then comes the node itself. */
typedef enum weft_walk_event {
  WEFT_WALK_END,
  WEFT_WALK_NODE,
  WEFT_WALK_ENTER, /* `node` is the `if`; weft_walk_skip passes over the region, LEAVE too */
  WEFT_WALK_LEAVE,
  WEFT_WALK_TOO_DEEP, /* more than WEFT_MAX_SUBGRAPH_DEPTH regions inside one another */
} weft_walk_event;
typedef struct weft_walk {
  const weft_graph *graph;
  weft_node_id node;
  uint32_t region; /* of the event */
  uint32_t depth;
  struct {
    uint32_t region, next, branches; /* position in the region; branches done of the `if` there */
  } frames[WEFT_MAX_SUBGRAPH_DEPTH + 1];
} weft_walk;
void weft_walk_start(weft_walk *walk, const weft_graph *graph);
weft_walk_event weft_walk_next(weft_walk *walk);
void weft_walk_skip(weft_walk *walk);

/* ---- facts (facts.c) ------------------------------------------------------------------------- */

typedef struct weft_op_facts {
  const char *name;
  uint32_t inputs_min, inputs_max, outputs_max;
} weft_op_facts;
const weft_op_facts *weft_op_facts_of(weft_op op);

/* The past to which rows were added to make `present`; WEFT_VALUE_NONE: it is not made so. */
weft_value_id weft_cache_past(const weft_graph *graph, weft_value_id present);

bool weft_dtype_is_float(weft_dtype dtype);
bool weft_dtype_is_integer(weft_dtype dtype); /* bool is none */
/* An f32, f16 or bf16 in memory. */
float weft_float_at(weft_dtype dtype, const void *from);

bool weft_shape_is_fixed(const weft_shape *shape); /* rank known, no symbols */
/* Product of fixed dims, checked against WEFT_MAX_ELEMENTS. */
weft_status weft_shape_elements(const weft_shape *shape, uint64_t *out, weft_error *error);
bool weft_shape_equal(const weft_shape *a, const weft_shape *b);
/* "[batch,128,384]"; an anonymous symbol is "?" and its number, a shape of unknown rank "[...]". */
void weft_shape_print(const weft_graph *graph, const weft_shape *shape, struct weft_text *text);
/* One dimension or element. */
void weft_dim_print(const weft_graph *graph, weft_dim dim, struct weft_text *text);
/* Whether all contents of the value are known as integers, so that nothing is left to compute. */
bool weft_elements_are_fixed(const weft_shape *shape, const weft_dim *elements);

/* weft_fail with "node 'NAME' (ORIGIN): " in front. */
__attribute__((format(printf, 4, 5))) weft_status weft_node_fail(const weft_node *node,
                                                                 weft_error *error,
                                                                 weft_status status,
                                                                 const char *format, ...);

/* ---- inference (infer*.c) -------------------------------------------------------------------- */

/* Memory for the known elements of a value, reused where they are inferred again and again. */
typedef struct weft_element_store {
  weft_dim *elements;
  uint32_t room;
} weft_element_store;

/* Where inferred facts go: at load the graph's own values (the arrays are NULL); at bind a copy of
 * shapes and elements, so that the graph stays untouched and several signatures can be held. */
typedef struct weft_inference {
  weft_graph *graph;   /* read for structure; new anonymous symbols at load */
  weft_arena *arena;   /* takes new elements */
  weft_shape *shapes;  /* by value id */
  weft_dim **elements; /* by value id; NULL: not known */
  weft_dtype *dtypes;  /* by value id */
  bool fixed;          /* bind: every dimension must come out as an extent */
  /* Bind, by symbol: its extent, -1 as long as no shape has told; NULL: not followed. What load
   * found out with symbols, and rewrites were built upon, is checked against it. */
  int64_t *symbols;
  /* Bind again and again (plan_refresh.c), by value id; NULL: not asked. Where elements are kept,
   * and whose facts came out other than they stood. */
  weft_element_store *stores;
  bool *changed;
} weft_inference;

/* The inference to use at load. */
static inline weft_inference weft_inference_at_load(weft_graph *graph) {
  return (weft_inference){.graph = graph, .arena = &graph->arena};
}

/* Infers types, shapes and known elements of a node's outputs from those of its inputs; checks what
 * the op demands, naming node and cause: WEFT_INVALID_MODEL at load (WEFT_INVALID_ARGUMENT when
 * fixed, for input shapes that do not fit). When fixed and a shape depends on contents of tensors
 * that are not known: WEFT_UNSUPPORTED. At load, shapes and types that the outputs have already
 * (declared in the file, or of an earlier inference) are merged: a contradiction fails, the more
 * specific one stays. At bind, results that contradict those of load fail. An `if` needs its
 * branches inferred first. */
weft_status weft_infer_node(weft_inference *inference, weft_node_id node, weft_error *error);
/* The whole graph at load: fills values' dtype, shape and elements, region by region. Branches that
 * are known not to be taken are left out. */
weft_status weft_infer_graph(weft_graph *graph, weft_error *error);
/* Numpy broadcast of two shapes; symbols that differ meet as: equal to a fixed extent > 1 if one
 * is; else a new symbol. */
weft_status weft_infer_broadcast(weft_inference *inference, const weft_shape *a,
                                 const weft_shape *b, weft_shape *out, weft_error *error);

/* ---- verifier and dump (verify.c, dump.c) ---------------------------------------------------- */

/* The one place that checks meaning: ids in range, single assignment, order, region nesting, arity,
 * types, attributes, constants' sizes. Run after load, and in debug and test builds after every
 * rewrite. WEFT_INVALID_MODEL names node and rule. */
weft_status weft_graph_verify(const weft_graph *graph, weft_error *error);

/* A text of the graph: one line per input, constant and node, stable enough for golden tests. */
void weft_graph_dump(const weft_graph *graph, struct weft_text *text);

#endif
