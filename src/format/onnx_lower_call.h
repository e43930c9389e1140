/* onnx_lower_call.h - what the lowering of one operator (onnx_ops_*.c) sees: the call with its
 * inputs and attributes, and functions that add core nodes.
 *
 * Errors stick: the first failure is kept in call->status, and from then on every function here
 * does nothing and answers a harmless value. So handlers read like formulas, and the driver
 * (onnx_lower.c) checks once, after the handler.
 *
 * C does not say in which order arguments are computed: at most one argument of a call may add a
 * node, or compilers would number values differently.
 *
 * Every node is inferred as soon as it is added, so that types, ranks and known elements of all
 * inputs can be asked for. */
#ifndef WEFT_FORMAT_ONNX_LOWER_CALL_H
#define WEFT_FORMAT_ONNX_LOWER_CALL_H

#include "format/onnx_proto.h"
#include "graph/graph.h"

/* The newest default-domain opset of the `onnx` package that the conformance tests are pinned to
 * (1.23). */
#define WEFT_ONNX_OLDEST 7
#define WEFT_ONNX_NEWEST 28

/* An attribute of the call, references to those of an enclosing function resolved. */
typedef struct weft_argument {
  weft_str name;
  const weft_onnx_attribute *value;
  bool read; /* asked for by the handler; one that stays false is not known */
} weft_argument;

typedef struct weft_call {
  struct weft_lowering *lowering;
  const weft_onnx_node *node;
  weft_str name;               /* the node's, made up where the file has none */
  int64_t version;             /* of the operator set that the node is of */
  uint32_t region, parameter;  /* parameter: of the row in onnx_ops.inc */
  const weft_value_id *inputs; /* WEFT_VALUE_NONE: left out */
  weft_value_id *outputs;      /* set by the handler; WEFT_VALUE_NONE: not computed */
  weft_argument *arguments;
  uint32_t input_count, output_count, argument_count;
  uint32_t first_value; /* values from this number on are made by this call */
  weft_status status;
} weft_call;

/* Fails with "node 'name' (Operator): ...". */
__attribute__((format(printf, 3, 4))) void weft_call_fail(weft_call *call, weft_status status,
                                                          const char *format, ...);

/* ---- attributes: the default where the node has none ----------------------------------------- */

bool weft_call_has(weft_call *call, const char *name);
int64_t weft_call_int(weft_call *call, const char *name, int64_t otherwise);
bool weft_call_flag(weft_call *call, const char *name, bool otherwise);
double weft_call_float(weft_call *call, const char *name, double otherwise);
weft_str weft_call_string(weft_call *call, const char *name, const char *otherwise);
const weft_onnx_tensor *weft_call_tensor(weft_call *call, const char *name);       /* or NULL */
const int64_t *weft_call_ints(weft_call *call, const char *name, uint32_t *count); /* or NULL */
const float *weft_call_floats(weft_call *call, const char *name, uint32_t *count); /* or NULL */
const weft_onnx_graph *weft_call_graph(weft_call *call, const char *name); /* fails without */
/* The first `bytes` of a tensor attribute's data. */
void weft_call_read(weft_call *call, const weft_buffer *data, uint64_t bytes, void *out);
/* An axis or another number in [-WEFT_RANK_MAX, WEFT_RANK_MAX]. */
int32_t weft_call_axis(weft_call *call, const char *name, int32_t otherwise);
/* False when there is no such attribute. */
bool weft_call_axes(weft_call *call, const char *name, weft_axes *out);
weft_dtype weft_call_type(weft_call *call, const char *name, weft_dtype otherwise);
/* Names an attribute that has no meaning for inference on this runtime. */
void weft_call_ignore(weft_call *call, const char *name);

/* ---- inputs and outputs ---------------------------------------------------------------------- */

/* WEFT_VALUE_NONE where the input is left out. */
weft_value_id weft_call_input(const weft_call *call, uint32_t index);
void weft_call_output(weft_call *call, uint32_t index, weft_value_id value);
/* Whether the model names that output. */
bool weft_call_wants(const weft_call *call, uint32_t index);

weft_dtype weft_call_dtype(const weft_call *call, weft_value_id value);
const weft_shape *weft_call_shape(const weft_call *call, weft_value_id value);
/* Fails with WEFT_UNSUPPORTED when the rank is not known at load. 0 after a failure. */
uint32_t weft_call_rank(weft_call *call, weft_value_id value);
/* `axis` as one in [0, rank); fails when it is none. */
uint32_t weft_call_positive_axis(weft_call *call, int64_t axis, uint32_t rank);
/* Whether x is a constant of 4-bit integers, and signed ones. Two lie in a byte: [..., N] is seen
 * as u8 [..., N/2]. */
bool weft_call_is_nibbles(const weft_call *call, weft_value_id x, bool *has_sign);
/* The contents of an integer or bool tensor when inference knows all of them at load; else NULL. */
const int64_t *weft_call_elements(const weft_call *call, weft_value_id value, uint32_t *count);

/* ---- nodes: each answers its output ---------------------------------------------------------- */

weft_value_id weft_call_node(weft_call *call, weft_op op, const weft_attributes *attributes,
                             const weft_value_id *inputs, uint32_t input_count);
/* One with several outputs, into out[0..output_count). */
void weft_call_node_outputs(weft_call *call, weft_op op, const weft_attributes *attributes,
                            const weft_value_id *inputs, uint32_t input_count,
                            weft_value_id *outputs, uint32_t output_count);
#define WEFT_CALL_NODE(call, op, attributes, ...)                                                  \
  weft_call_node((call), (op), (attributes), (const weft_value_id[]){__VA_ARGS__},                 \
                 sizeof((const weft_value_id[]){__VA_ARGS__}) / sizeof(weft_value_id))

weft_value_id weft_call_integers(weft_call *call, const int64_t *integers, int32_t count);
#define WEFT_CALL_INTEGERS(call, ...)                                                              \
  weft_call_integers((call), (const int64_t[]){__VA_ARGS__},                                       \
                     sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
/* A constant of rank 0. */
weft_value_id weft_call_scalar(weft_call *call, weft_dtype dtype, double value);
weft_value_id weft_call_constant(weft_call *call, weft_dtype dtype, const weft_shape *shape,
                                 const void *data);
weft_value_id weft_call_tensor_constant(weft_call *call, const weft_onnx_tensor *tensor);

weft_axes weft_axes_range(uint32_t first, uint32_t end); /* first, first + 1, ..., end - 1 */
weft_axes weft_axes_one(int64_t axis);
weft_value_id weft_call_view(weft_call *call, weft_view_kind kind, weft_axes axes, weft_value_id x);
#define WEFT_CALL_TRANSPOSE(call, x, ...)                                                          \
  weft_call_view((call), WEFT_VIEW_TRANSPOSE,                                                      \
                 (weft_axes){sizeof((const int8_t[]){__VA_ARGS__}), {__VA_ARGS__}}, (x))
weft_value_id weft_call_reshape(weft_call *call, weft_value_id x, weft_value_id shape);
weft_value_id weft_call_expand(weft_call *call, weft_value_id x, weft_value_id shape);
/* x in another fixed shape. A constant shares its bytes with x and needs no node. Fails, naming the
 * input ("scales"), when x has another number of elements. */
weft_value_id weft_call_in_shape(weft_call *call, weft_value_id x, const char *input,
                                 const weft_shape *shape);
/* x[start:end:step] along an axis; the first with numbers, the second with a list of one as end. */
weft_value_id weft_call_slice(weft_call *call, weft_value_id x, int64_t axis, int64_t start,
                              int64_t end, int64_t step);
weft_value_id weft_call_slice_to(weft_call *call, weft_value_id x, int64_t axis, weft_value_id end);
/* The dimensions [start, end) of x as integers; one of them as a scalar. */
weft_value_id weft_call_dims(weft_call *call, weft_value_id x, uint32_t start, uint32_t end);
weft_value_id weft_call_extent(weft_call *call, weft_value_id x, uint32_t axis);
weft_value_id weft_call_concat(weft_call *call, int32_t axis, const weft_value_id *inputs,
                               uint32_t count);
weft_value_id weft_call_gather(weft_call *call, int32_t axis, weft_value_id data,
                               weft_value_id indices);
weft_value_id weft_call_reduce(weft_call *call, weft_reduce_kind kind, weft_axes axes,
                               bool keep_dims, weft_value_id x);
/* 0, 1, ..., count - 1; count: an i64 scalar. */
weft_value_id weft_call_count_up(weft_call *call, weft_value_id count);
weft_value_id weft_call_matmul(weft_call *call, weft_value_id a, weft_value_id b);
/* [B,S,H D] -> [B,H,S,D] and back. */
weft_value_id weft_call_split_heads(weft_call *call, weft_value_id x, int64_t heads);
weft_value_id weft_call_join_heads(weft_call *call, weft_value_id x);
/* x [B,H,S,D] turned; positions may be NONE. See graph.h. In onnx_ops_rotary.c. */
weft_value_id weft_call_rotary(weft_call *call, weft_value_id x, weft_value_id cosines,
                               weft_value_id sines, weft_value_id positions, bool interleaved);
/* x with its last two axes swapped. */
weft_value_id weft_call_swap_last(weft_call *call, weft_value_id x);
weft_value_id weft_call_cast(weft_call *call, weft_value_id x, weft_dtype dtype);
/* (x - mean) / sqrt(variance + epsilon) over `axes`; mean and the reciprocal too where the pointers
 * are not NULL. */
weft_value_id weft_call_standardize(weft_call *call, weft_value_id x, weft_axes axes,
                                    double epsilon, weft_value_id *mean, weft_value_id *inverse);

/* ---- elementwise: a formula over inputs becomes one map -------------------------------------- */

typedef struct weft_formula {
  weft_call *call;
  weft_value_id inputs[WEFT_EXPR_INPUTS_MAX];
  weft_expr expr; /* its code is set when the formula is finished */
  weft_instruction code[WEFT_EXPR_CODE_MAX];
} weft_formula;

/* Operand i is inputs[i]. */
weft_formula weft_formula_begin(weft_call *call, const weft_value_id *inputs, uint32_t count);
#define WEFT_FORMULA(call, ...)                                                                    \
  weft_formula_begin((call), (const weft_value_id[]){__VA_ARGS__},                                 \
                     sizeof((const weft_value_id[]){__VA_ARGS__}) / sizeof(weft_value_id))
/* An instruction; answers its operand number. Fails when operands that must be of one type are not.
 */
uint32_t weft_formula_op(weft_formula *formula, weft_expr_op op, uint32_t a, uint32_t b,
                         uint32_t c);
uint32_t weft_formula_constant(weft_formula *formula, weft_dtype dtype, double value);
uint32_t weft_formula_cast(weft_formula *formula, uint32_t a, weft_dtype dtype);
weft_dtype weft_formula_dtype(const weft_formula *formula, uint32_t operand);
/* The map node; its value is that of the last instruction. */
weft_value_id weft_formula_end(weft_formula *formula);

/* Short for a formula named f. NUMBER has the type of its input 0. */
#define F1(op, a)       weft_formula_op(&f, WEFT_EXPR_##op, (a), 0, 0)
#define F2(op, a, b)    weft_formula_op(&f, WEFT_EXPR_##op, (a), (b), 0)
#define F3(op, a, b, c) weft_formula_op(&f, WEFT_EXPR_##op, (a), (b), (c))
#define NUMBER(value)   weft_formula_constant(&f, weft_formula_dtype(&f, 0), (value))

/* One instruction over values. */
weft_value_id weft_call_map1(weft_call *call, weft_expr_op op, weft_value_id a);
weft_value_id weft_call_map2(weft_call *call, weft_expr_op op, weft_value_id a, weft_value_id b);
weft_value_id weft_call_map3(weft_call *call, weft_expr_op op, weft_value_id a, weft_value_id b,
                             weft_value_id c);

#endif
