/* infer_dims.c - arithmetic on dimensions, which may be symbols: sums, products, broadcasting. A
 * dimension computed from symbols gets a symbol of its own that is found again by its name, so that
 * "batch*12" is one dimension wherever it comes up. */
#include "graph/infer.h"

static bool is_compound(weft_str name) {
  for (uint32_t i = 0; i < name.length; i++) {
    char c = name.data[i];
    if (c == '+' || c == '-' || c == '*' || c == '/' || c == '|' || c == '^') return true;
  }
  return false;
}

static void print_operand(const weft_graph *graph, weft_dim dim, weft_text *text) {
  bool compound =
      WEFT_DIM_IS_SYMBOL(dim) && is_compound(graph->symbols[WEFT_DIM_SYMBOL_INDEX(dim)]);
  if (compound) weft_text_add(text, "(");
  weft_dim_print(graph, dim, text);
  if (compound) weft_text_add(text, ")");
}

weft_status weft_dim_derive(const weft_infer *infer, char operation, weft_dim a, weft_dim b,
                            weft_dim *out) {
  weft_graph *graph = infer->at->graph;
  *out = WEFT_DIM_UNKNOWN;
  if (infer->at->fixed || a == WEFT_DIM_UNKNOWN || b == WEFT_DIM_UNKNOWN) return WEFT_OK;
  bool commutes = operation == '+' || operation == '*' || operation == '|' || operation == '^';
  bool swap = !WEFT_DIM_IS_SYMBOL(a) || (WEFT_DIM_IS_SYMBOL(b) && b < a);
  char name[100];
  weft_text text = {.buffer = name, .size = sizeof name};
  print_operand(graph, commutes && swap ? b : a, &text);
  weft_text_add(&text, "%c", operation);
  print_operand(graph, commutes && swap ? a : b, &text);
  if (text.length + 1 >= sizeof name) return WEFT_OK; /* cut: not a name to be found by */
  return weft_graph_symbol(graph, (weft_str){name, (uint32_t)text.length}, out, infer->error);
}

weft_status weft_dim_add(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out) {
  if (a == 0 || b == 0) {
    *out = a == 0 ? b : a;
    return WEFT_OK;
  }
  if (WEFT_DIM_IS_SYMBOL(a) || WEFT_DIM_IS_SYMBOL(b)) return weft_dim_derive(infer, '+', a, b, out);
  if (!weft_add_i64(a, b, out)) return weft_infer_fail(infer, "a dimension overflows");
  return WEFT_OK;
}

/* What is left of the sum `name` without one of its two symbols: an operand, as print_operand
 * writes it; empty where `name` is no such sum. */
static weft_str other_operand(weft_str name, weft_str operand) {
  uint32_t length = operand.length;
  weft_str rest = {name.data, 0};
  if (name.length < length + 2) return rest;
  const char *after = name.data + name.length - length - 1;
  if (memcmp(name.data, operand.data, length) == 0 && name.data[length] == '+')
    rest = (weft_str){name.data + length + 1, name.length - length - 1};
  else if (*after == '+' && memcmp(after + 1, operand.data, length) == 0)
    rest.length = name.length - length - 1;
  bool compound = is_compound(rest);
  if (compound && rest.data[0] == '(' && rest.data[rest.length - 1] == ')')
    return (weft_str){rest.data + 1, rest.length - 2};
  bool number = rest.length > 0 && rest.data[0] >= '0' && rest.data[0] <= '9';
  if (compound || number) rest.length = 0;
  return rest;
}

weft_status weft_dim_subtract(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out) {
  weft_graph *graph = infer->at->graph;
  bool known = a != WEFT_DIM_UNKNOWN && b != WEFT_DIM_UNKNOWN;
  if (!infer->at->fixed && known && WEFT_DIM_IS_SYMBOL(a) && WEFT_DIM_IS_SYMBOL(b)) {
    char name[100];
    weft_text text = {.buffer = name, .size = sizeof name};
    print_operand(graph, b, &text);
    weft_str operand = {name, (uint32_t)text.length};
    weft_str rest = {0};
    if (text.length + 1 < sizeof name)
      rest = other_operand(graph->symbols[WEFT_DIM_SYMBOL_INDEX(a)], operand);
    if (rest.length > 0) return weft_graph_symbol(graph, rest, out, infer->error);
  }
  return weft_dim_derive(infer, '-', a, b, out);
}

weft_status weft_dim_multiply(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out) {
  if (a == 0 || b == 1) {
    *out = a;
    return WEFT_OK;
  }
  if (b == 0 || a == 1) {
    *out = b;
    return WEFT_OK;
  }
  if (WEFT_DIM_IS_SYMBOL(a) || WEFT_DIM_IS_SYMBOL(b)) return weft_dim_derive(infer, '*', a, b, out);
  if (!weft_mul_i64(a, b, out)) return weft_infer_fail(infer, "a dimension overflows");
  return WEFT_OK;
}

/* Extents and symbols apart, so that the order of dimensions does not show in the name. */
weft_status weft_dim_product(const weft_infer *infer, const weft_shape *shape, int32_t begin,
                             int32_t end, weft_dim *out) {
  weft_dim extents = 1, symbols = 1;
  for (int32_t i = begin; i < end; i++) {
    weft_dim *product = WEFT_DIM_IS_SYMBOL(shape->dims[i]) ? &symbols : &extents;
    WEFT_TRY(weft_dim_multiply(infer, *product, shape->dims[i], product));
  }
  return weft_dim_multiply(infer, symbols, extents, out);
}

bool weft_dim_meet(weft_dim *dim, weft_dim other) {
  if (*dim == WEFT_DIM_UNKNOWN || (WEFT_DIM_IS_SYMBOL(*dim) && !WEFT_DIM_IS_SYMBOL(other))) {
    *dim = other;
  }
  return WEFT_DIM_IS_SYMBOL(other) || WEFT_DIM_IS_SYMBOL(*dim) || *dim == other;
}

/* ---- broadcasting ---------------------------------------------------------------------------- */

static weft_status join_dim(const weft_infer *infer, weft_dim a, weft_dim b, weft_dim *out,
                            bool *good) {
  if (a == b || b == 1) {
    *out = a;
  } else if (a == 1) {
    *out = b;
  } else if (!WEFT_DIM_IS_SYMBOL(a)) { /* the other is this or 1 */
    *good &= WEFT_DIM_IS_SYMBOL(b);
    *out = a;
  } else if (!WEFT_DIM_IS_SYMBOL(b)) {
    *out = b;
  } else {
    return weft_dim_derive(infer, '|', a, b, out);
  }
  return WEFT_OK;
}

weft_status weft_infer_join(const weft_infer *infer, const weft_shape *a, const weft_shape *b,
                            weft_shape *out) {
  weft_shape joined = {.rank = a->rank > b->rank ? a->rank : b->rank};
  if (a->rank < 0 || b->rank < 0) joined.rank = -1;
  bool good = true;
  for (int32_t i = 0; i < joined.rank; i++) {
    int32_t i_a = i - (joined.rank - a->rank), i_b = i - (joined.rank - b->rank);
    WEFT_TRY(join_dim(infer, i_a < 0 ? 1 : a->dims[i_a], i_b < 0 ? 1 : b->dims[i_b],
                      &joined.dims[i], &good));
  }
  if (!good) {
    return weft_infer_fail(infer, "cannot broadcast %s with %s", WEFT_SHAPE_TEXT(infer, a),
                           WEFT_SHAPE_TEXT(infer, b));
  }
  *out = joined;
  return WEFT_OK;
}

weft_status weft_infer_fits(const weft_infer *infer, uint32_t input, const weft_shape *to) {
  const weft_shape *from = weft_input_shape(infer, input);
  if (from->rank < 0 || to->rank < 0) return WEFT_OK;
  bool good = from->rank <= to->rank;
  for (int32_t i = 1; good && i <= from->rank; i++) {
    weft_dim a = from->dims[from->rank - i], b = to->dims[to->rank - i];
    good = a == 1 || WEFT_DIM_IS_SYMBOL(a) || WEFT_DIM_IS_SYMBOL(b) || a == b;
  }
  if (good) return WEFT_OK;
  return weft_infer_fail(infer, "input %u is %s, which cannot be broadcast to %s", input,
                         WEFT_SHAPE_TEXT(infer, from), WEFT_SHAPE_TEXT(infer, to));
}
