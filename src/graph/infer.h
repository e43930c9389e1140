/* infer.h - inside of src/graph: what infer*.c, host_value.c, check.c and verify.c share. */
#ifndef WEFT_GRAPH_INFER_H
#define WEFT_GRAPH_INFER_H

#include <stdarg.h>

#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"
#include "graph/views.h"

weft_status weft_node_fail_list(const weft_node *node, weft_error *error, weft_status status,
                                const char *format, va_list list);

/* Whether inference follows the contents of such a tensor, and how many elements they are. */
bool weft_holds_elements(weft_dtype dtype, const weft_shape *shape, uint32_t *count);

/* One little-endian integer or bool; one that could be taken for a symbol is not known. */
weft_dim weft_decode_element(weft_dtype dtype, const uint8_t *bytes);

/* One integer instruction on plain integers; `from`: type of its last operand. As
 * weft_expr_evaluate. */
weft_status weft_instruction_evaluate(const weft_instruction *instruction, weft_dtype from,
                                      const int64_t operands[3], int64_t *out, weft_error *error);

/* ---- check.c: the rules for one node, which inference and verifier both ask for -------------- */

/* Op, arity, ids in range, attributes in range. */
weft_status weft_check_node(const weft_graph *graph, const weft_node *node, weft_error *error);
/* Element types of the inputs; gives that of output 0 (of an `if`: WEFT_DTYPE_NONE). */
weft_status weft_check_types(const weft_inference *at, const weft_node *node, weft_dtype *out,
                             weft_error *error);

/* ---- infer.c: the inference of one node ------------------------------------------------------ */

/* What the function of an op works on: it reads inputs and sets outputs. In shapes that are being
 * made, WEFT_DIM_UNKNOWN is a dimension that only a run can tell; it becomes a symbol, or fails
 * when everything has to be fixed. */
typedef struct weft_infer {
  const weft_inference *at;
  const weft_node *node; /* NULL: not about a node */
  weft_error *error;
  weft_dtype dtype; /* of output 0 */
} weft_infer;

#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes)                         \
  weft_status weft_infer_##name(weft_infer *infer);
#include "graph/ops.inc"
#undef WEFT_OP

/* Facts by value id. */
weft_shape *weft_facts_shape(const weft_inference *at, weft_value_id value);
weft_dim **weft_facts_elements(const weft_inference *at, weft_value_id value);
weft_dtype *weft_facts_dtype(const weft_inference *at, weft_value_id value);

/* Output 0 of attention of q, input 0, over these keys and values; inputs 3 to 5 are checked. */
weft_status weft_infer_attended(weft_infer *infer, const weft_shape *k, const weft_shape *v);

/* Inputs by position. Of one that is left out: unknown rank, NULL. */
bool weft_input_has(const weft_infer *infer, uint32_t input);
const weft_shape *weft_input_shape(const weft_infer *infer, uint32_t input);
const weft_dim *weft_input_elements(const weft_infer *infer, uint32_t input);
/* Element `index` of a list or scalar, WEFT_DIM_UNKNOWN where not known. */
weft_dim weft_input_element(const weft_infer *infer, uint32_t input, int64_t index);
/* Length of a list (a tensor of rank 1, or a scalar for a list of one): -1 when not known; fails
 * for other ranks. */
weft_status weft_input_length(const weft_infer *infer, uint32_t input, int64_t *out);

/* Sets output 0, with the contents that host_value.c computes for it. */
weft_status weft_infer_output(weft_infer *infer, const weft_shape *shape);
/* Sets any output. elements: NULL, or as many as the shape has. */
weft_status weft_infer_output_at(weft_infer *infer, uint32_t output, weft_dtype dtype,
                                 const weft_shape *shape, const weft_dim *elements);

/* Fails with the node in front: WEFT_INVALID_MODEL or, when fixed, WEFT_INVALID_ARGUMENT. */
__attribute__((format(printf, 2, 3))) weft_status weft_infer_fail(const weft_infer *infer,
                                                                  const char *format, ...);
/* The failure of a fixed inference that meets an unknown dimension. */
weft_status weft_infer_fail_unknown(const weft_infer *infer);
/* The text of a shape for a message: WEFT_SHAPE_TEXT(infer, shape) is a string. */
typedef struct weft_shape_text {
  char text[160];
} weft_shape_text;
weft_shape_text weft_infer_shape_text(const weft_infer *infer, const weft_shape *shape);
#define WEFT_SHAPE_TEXT(infer, shape) weft_infer_shape_text(infer, shape).text

/* Makes an axis >= 0 and checks it against [0, rank). */
weft_status weft_infer_axis(const weft_infer *infer, int64_t axis, int32_t rank, int32_t *out);

/* ---- infer_dims.c: arithmetic on dimensions -------------------------------------------------- */

/* The symbol for "a operation b" (extents or symbols, at least one of them a symbol): the same each
 * time, and named so ("batch*12"). WEFT_DIM_UNKNOWN where there is none. */
weft_status weft_dim_derive(const weft_infer *infer, char operation, weft_dim a, weft_dim b,
                            weft_dim *out);
weft_status weft_dim_add(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out);
/* a - b, where b is at most a. */
weft_status weft_dim_subtract(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out);
weft_status weft_dim_multiply(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out);
/* Product of dims [begin, end). */
weft_status weft_dim_product(const weft_infer *infer, const weft_shape *shape, int32_t begin,
                             int32_t end, weft_dim *out);
/* Makes *dim the more specific of two that are the same in every run; false: they contradict. */
bool weft_dim_meet(weft_dim *dim, weft_dim other);
/* Broadcast of two shapes. */
weft_status weft_infer_join(const weft_infer *infer, const weft_shape *a, const weft_shape *b,
                            weft_shape *out);
/* Checks that input number `input` can be broadcast to `to` without enlarging it. */
weft_status weft_infer_fits(const weft_infer *infer, uint32_t input, const weft_shape *to);

/* ---- infer_view.c, views.c ------------------------------------------------------------------- */

/* Axes of a list in an attribute or, where that is empty, an input, as the bits of *mask; neither
 * there: `none`. *known is false when a run has to tell. */
weft_status weft_infer_axes(const weft_infer *infer, const weft_axes *attribute, uint32_t input,
                            int32_t rank, uint32_t none, uint32_t *mask, bool *known);
static inline uint32_t weft_all_axes(int32_t rank) {
  return (1u << rank) - 1u;
}

/* What a slice does to one axis of a fixed extent. */
typedef struct weft_slice_range {
  int64_t start, step, extent;
} weft_slice_range;
/* By axis of the input, which is fixed; *known is false when an operand is not. */
weft_status weft_infer_slice(const weft_infer *infer, weft_slice_range *ranges, bool *known);
/* Where the part of a split begins and how long it is; WEFT_DIM_UNKNOWN or a symbol when it is not
 * known. */
weft_status weft_infer_split(const weft_infer *infer, weft_dim extent, weft_dim *start,
                             weft_dim *length);
/* weft_view_resolve on shapes that are not in the facts; *known as in weft_infer_slice. */
weft_status weft_view_layout_of(const weft_infer *infer, const weft_shape *from,
                                const int64_t *strides, const weft_shape *to, weft_view_layout *out,
                                bool *known);

/* ---- infer_data.c ---------------------------------------------------------------------------- */

/* Which dimensions a `shape` node gives. Its input's rank is known. */
void weft_shape_bounds(const weft_infer *infer, int32_t *start, int32_t *end);

/* ---- host_value.c ---------------------------------------------------------------------------- */

/* Contents of output 0 of the given shape from those of the inputs. elements: room for all;
 * *known is false when nothing is known. */
weft_status weft_host_elements(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements, bool *known);

#endif
