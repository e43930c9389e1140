/* host_value.c - shape arithmetic: contents of small integer tensors, followed through the ops that
 * exporters build shapes with (Shape -> Gather -> Mul -> Concat -> Reshape). Elements may be
 * symbols at load; at bind the same functions see integers only. */
#include "graph/infer.h"

/* ---- single elements ------------------------------------------------------------------------- */

static bool is_symbol(weft_dim x) {
  return WEFT_DIM_IS_SYMBOL(x);
}

/* A number that is known not to be negative: an extent or a dimension's symbol. */
static bool is_extent(weft_dim x) {
  return x >= 0 || (is_symbol(x) && x != WEFT_DIM_UNKNOWN);
}

/* Comparisons of which a symbol's being >= 0 tells the result. */
static weft_dim compare(weft_expr_op op, weft_dim a, weft_dim b) {
  if (a == WEFT_DIM_UNKNOWN || b == WEFT_DIM_UNKNOWN) return WEFT_DIM_UNKNOWN;
  if (a == b) return op != WEFT_EXPR_LESS;
  weft_dim other = is_symbol(a) ? b : a;
  if (is_symbol(other) || other > 0) return WEFT_DIM_UNKNOWN;
  if (op == WEFT_EXPR_EQUAL) return other < 0 ? 0 : WEFT_DIM_UNKNOWN;
  bool symbol_first = is_symbol(a);
  if (other < 0) return !symbol_first;
  /* a symbol and 0 */
  if (op == WEFT_EXPR_LESS) return symbol_first ? 0 : WEFT_DIM_UNKNOWN;
  return symbol_first ? WEFT_DIM_UNKNOWN : 1;
}

/* Arithmetic with at least one symbol or unknown; anything that is not plain stays unknown. */
static weft_status symbolic(const weft_infer *infer, const weft_instruction *instruction,
                            const weft_dim x[3], weft_dim *out) {
  weft_expr_op op = (weft_expr_op)instruction->op;
  weft_dim a = x[0], b = x[1];
  *out = WEFT_DIM_UNKNOWN;
  switch (op) {
  case WEFT_EXPR_CAST: /* a dimension fits into 32 bits unless it is absurd */
    if (weft_dtype_size((weft_dtype)instruction->dtype) >= 4) *out = a;
    return WEFT_OK;
  case WEFT_EXPR_ABS:
  case WEFT_EXPR_RELU:
    *out = a;
    return WEFT_OK;
  case WEFT_EXPR_SELECT:
    *out = !is_symbol(a) ? (a ? b : x[2]) : b == x[2] ? b : *out;
    return WEFT_OK;
  case WEFT_EXPR_EQUAL:
  case WEFT_EXPR_LESS:
  case WEFT_EXPR_LESS_EQUAL:
    *out = compare(op, a, b);
    return WEFT_OK;
  case WEFT_EXPR_ADD:
    return is_extent(a) && is_extent(b) ? weft_dim_add(infer, a, b, out) : WEFT_OK;
  case WEFT_EXPR_MUL:
    return is_extent(a) && is_extent(b) ? weft_dim_multiply(infer, a, b, out) : WEFT_OK;
  case WEFT_EXPR_SUB:
    if (b == 0) *out = a;
    if (a == b && a != WEFT_DIM_UNKNOWN) *out = 0;
    return WEFT_OK;
  case WEFT_EXPR_DIV:
    if (b == 1) *out = a;
    return is_extent(a) && b > 1 ? weft_dim_derive(infer, '/', a, b, out) : WEFT_OK;
  case WEFT_EXPR_MIN:
  case WEFT_EXPR_MAX:
    if (a == b) *out = a;
    if (is_extent(a) && b <= 0 && !is_symbol(b)) *out = op == WEFT_EXPR_MAX ? a : b;
    if (is_extent(b) && a <= 0 && !is_symbol(a)) *out = op == WEFT_EXPR_MAX ? b : a;
    return WEFT_OK;
  default:
    return WEFT_OK;
  }
}

/* What has no result (a division by zero, say) is not known here; the run reports it. */
static weft_status evaluate(const weft_infer *infer, const weft_instruction *instruction,
                            weft_dtype from, const weft_dim x[3], weft_dim *out) {
  bool plain = true;
  for (uint32_t i = 0; i < weft_expr_operand_count((weft_expr_op)instruction->op); i++) {
    plain &= !is_symbol(x[i]);
  }
  if (weft_dtype_is_float(from) || weft_dtype_is_float((weft_dtype)instruction->dtype)) {
    *out = WEFT_DIM_UNKNOWN;
    return WEFT_OK;
  }
  if (!plain) return symbolic(infer, instruction, x, out);
  weft_status status = weft_instruction_evaluate(instruction, from, x, out, NULL);
  if (status != WEFT_OK || is_symbol(*out)) *out = WEFT_DIM_UNKNOWN;
  return WEFT_OK;
}

static weft_status evaluate_binary(const weft_infer *infer, weft_expr_op op, weft_dim a, weft_dim b,
                                   weft_dim *out) {
  weft_instruction instruction = {.op = (uint8_t)op, .dtype = (uint8_t)infer->dtype};
  return evaluate(infer, &instruction, infer->dtype, (weft_dim[3]){a, b}, out);
}

static weft_status evaluate_expr(const weft_infer *infer, const weft_expr *expr,
                                 const weft_dim *inputs, weft_dim *out) {
  weft_dim values[WEFT_EXPR_INPUTS_MAX + WEFT_EXPR_CODE_MAX];
  memcpy(values, inputs, expr->input_count * sizeof *inputs);
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *instruction = &expr->code[i];
    uint32_t count = weft_expr_operand_count((weft_expr_op)instruction->op);
    weft_dim x[3] = {0};
    weft_dtype from = (weft_dtype)instruction->dtype;
    for (uint32_t k = 0; k < count; k++) {
      x[k] = values[instruction->operands[k]];
      from = weft_expr_dtype(expr, instruction->operands[k]);
    }
    WEFT_TRY(evaluate(infer, instruction, from, x, &values[expr->input_count + i]));
  }
  *out = values[expr->code_count ? expr->input_count + expr->code_count - 1u : 0];
  return WEFT_OK;
}

/* ---- ops ------------------------------------------------------------------------------------- */

/* Each fills elements[0..count), the contents of an output of `shape` (rank 0 or 1). */
typedef weft_status host_fn(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                            weft_dim *elements);

static weft_status host_map(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                            weft_dim *elements) {
  (void)shape;
  const weft_expr *expr = &infer->node->attributes.map.expr;
  for (uint32_t i = 0; i < count; i++) {
    weft_dim inputs[WEFT_EXPR_INPUTS_MAX];
    for (uint32_t k = 0; k < expr->input_count; k++) {
      const weft_shape *from = weft_input_shape(infer, k);
      bool repeated = from->rank == 0 || (from->rank == 1 && from->dims[0] == 1);
      inputs[k] = weft_input_element(infer, k, repeated ? 0 : i);
    }
    WEFT_TRY(evaluate_expr(infer, expr, inputs, &elements[i]));
  }
  return WEFT_OK;
}

static weft_status host_view(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                             weft_dim *elements) {
  const weft_shape *from = weft_input_shape(infer, 0);
  weft_view_layout layout;
  bool known;
  int64_t one = 1;
  WEFT_TRY(weft_view_layout_of(infer, from, &one, shape, &layout, &known));
  for (uint32_t i = 0; i < count && known; i++) {
    elements[i] =
        weft_input_element(infer, 0, layout.offset + i * (shape->rank ? layout.strides[0] : 0));
  }
  return WEFT_OK;
}

static weft_status host_gather(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements) {
  (void)shape;
  int64_t length = weft_input_shape(infer, 0)->dims[0];
  for (uint32_t i = 0; i < count; i++) {
    weft_dim index = weft_input_element(infer, 1, i);
    if (is_symbol(index)) continue;
    if (index < -length || index >= length) {
      return weft_infer_fail(infer, "index %lld is out of range for %lld elements",
                             (long long)index, (long long)length);
    }
    elements[i] = weft_input_element(infer, 0, index < 0 ? index + length : index);
  }
  return WEFT_OK;
}

static weft_status host_concat(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements) {
  (void)shape;
  uint32_t at = 0;
  for (uint32_t i = 0; i < infer->node->input_count; i++) {
    int64_t length = weft_input_shape(infer, i)->dims[0];
    for (int64_t k = 0; k < length && at < count; k++) {
      elements[at++] = weft_input_element(infer, i, k);
    }
  }
  return WEFT_OK;
}

static weft_status host_shape(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                              weft_dim *elements) {
  (void)shape;
  int32_t start, end;
  if (weft_input_shape(infer, 0)->rank < 0) return WEFT_OK;
  weft_shape_bounds(infer, &start, &end);
  memcpy(elements, &weft_input_shape(infer, 0)->dims[start], count * sizeof *elements);
  return WEFT_OK;
}

static weft_status host_range(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                              weft_dim *elements) {
  (void)shape;
  weft_dim next = weft_input_element(infer, 0, 0), delta = weft_input_element(infer, 2, 0);
  for (uint32_t i = 0; i < count; i++) {
    elements[i] = next;
    WEFT_TRY(evaluate_binary(infer, WEFT_EXPR_ADD, next, delta, &next));
  }
  return WEFT_OK;
}

static weft_status host_fill(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                             weft_dim *elements) {
  (void)shape;
  weft_dim value = weft_decode_element(infer->dtype, infer->node->attributes.fill.value);
  for (uint32_t i = 0; i < count; i++) elements[i] = value;
  return WEFT_OK;
}

/* Of a whole list; without axes (none_means_none) each element stays. */
static weft_status host_reduce(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements) {
  (void)shape;
  static const uint8_t folds[] = {
      [WEFT_REDUCE_SUM] = WEFT_EXPR_ADD, [WEFT_REDUCE_PROD] = WEFT_EXPR_MUL,
      [WEFT_REDUCE_MAX] = WEFT_EXPR_MAX, [WEFT_REDUCE_MIN] = WEFT_EXPR_MIN,
      [WEFT_REDUCE_LOG_SUM_EXP] = 0,
  };
  const weft_attributes *a = &infer->node->attributes;
  const weft_shape *from = weft_input_shape(infer, 0);
  weft_expr_op fold = (weft_expr_op)folds[a->reduce.kind];
  uint32_t mask;
  bool known;
  WEFT_TRY(weft_infer_axes(infer, &a->reduce.axes, 1, from->rank,
                           a->reduce.none_means_none ? 0 : weft_all_axes(from->rank), &mask,
                           &known));
  int64_t length = from->rank == 1 ? from->dims[0] : 1;
  if (!fold || !known || (from->rank == 1 && mask == 0) || count != 1 || length == 0)
    return WEFT_OK;
  elements[0] = weft_input_element(infer, 0, 0);
  for (int64_t i = 1; i < length; i++) {
    WEFT_TRY(
        evaluate_binary(infer, fold, elements[0], weft_input_element(infer, 0, i), &elements[0]));
  }
  return WEFT_OK;
}

static weft_status host_cumsum(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements) {
  (void)shape;
  bool exclusive = infer->node->attributes.cumsum.exclusive,
       reverse = infer->node->attributes.cumsum.reverse;
  weft_dim sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t at = reverse ? count - 1 - i : i;
    if (exclusive) elements[at] = sum;
    WEFT_TRY(evaluate_binary(infer, WEFT_EXPR_ADD, sum, weft_input_element(infer, 0, at), &sum));
    if (!exclusive) elements[at] = sum;
  }
  return WEFT_OK;
}

static const struct {
  host_fn *run;
  bool reads_data; /* nothing is known without contents of input 0 */
} functions[WEFT_OP_COUNT] = {
    [WEFT_OP_MAP] = {host_map, false},      [WEFT_OP_VIEW] = {host_view, true},
    [WEFT_OP_GATHER] = {host_gather, true}, [WEFT_OP_CONCAT] = {host_concat, false},
    [WEFT_OP_SHAPE] = {host_shape, false},  [WEFT_OP_RANGE] = {host_range, false},
    [WEFT_OP_FILL] = {host_fill, false},    [WEFT_OP_REDUCE] = {host_reduce, true},
    [WEFT_OP_CUMSUM] = {host_cumsum, true},
};

weft_status weft_host_elements(const weft_infer *infer, const weft_shape *shape, uint32_t count,
                               weft_dim *elements, bool *known) {
  host_fn *run = functions[infer->node->op].run;
  *known = run && (!functions[infer->node->op].reads_data || weft_input_elements(infer, 0));
  for (uint32_t i = 0; i < count; i++) elements[i] = WEFT_DIM_UNKNOWN;
  return *known ? run(infer, shape, count, elements) : WEFT_OK;
}
