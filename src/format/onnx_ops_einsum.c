/* onnx_ops_einsum.c - Einsum: repeated labels are taken to diagonals, labels that nobody needs are
 * summed away, then terms are joined from left to right, by matmul where labels are summed over and
 * by a broadcast product elsewhere. Row in onnx_ops.inc. */
#include "format/onnx_lower_call.h"

/* A label is a letter; the axes of an ellipsis, counted from its end, are 1, 2, ... */
typedef struct term {
  weft_value_id value;
  uint32_t rank;
  uint8_t labels[2 * WEFT_RANK_MAX];
} term;

typedef struct einsum {
  weft_call *call;
  term *terms;
  uint32_t count;
  term output; /* labels only */
} einsum;

typedef struct label_list {
  uint32_t count;
  uint8_t labels[2 * WEFT_RANK_MAX];
} label_list;

static bool has(const term *t, uint8_t label) {
  for (uint32_t i = 0; i < t->rank; ++i)
    if (t->labels[i] == label) return true;
  return false;
}

static void put(label_list *list, uint8_t label) {
  list->labels[list->count++] = label;
}

static void put_all(label_list *list, const label_list *more) {
  for (uint32_t i = 0; i < more->count; ++i) put(list, more->labels[i]);
}

/* ---- the equation ---------------------------------------------------------------------------- */

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool push_label(term *t, uint8_t label) {
  if (t->rank == WEFT_RANK_MAX) return false;
  t->labels[t->rank++] = label;
  return true;
}

/* One term's labels out of `text`; `ellipsis` axes stand where the dots are. */
static bool parse_term(weft_str text, uint32_t ellipsis, term *t) {
  t->rank = 0;
  for (uint32_t i = 0; i < text.length; ++i) {
    if (text.data[i] == ' ') continue;
    if (text.data[i] == '.') {
      if (text.length - i < 3 || text.data[i + 1] != '.' || text.data[i + 2] != '.') return false;
      i += 2;
      for (uint32_t axis = ellipsis; axis > 0; --axis)
        if (!push_label(t, (uint8_t)axis)) return false;
    } else if (!is_letter(text.data[i]) || !push_label(t, (uint8_t)text.data[i])) {
      return false;
    }
  }
  return true;
}

/* How many axes the ellipsis of a term stands for, given the term's rank. */
static uint32_t ellipsis_axes(weft_str text, uint32_t rank) {
  uint32_t letters = 0, dots = 0;
  for (uint32_t i = 0; i < text.length; ++i) {
    letters += is_letter(text.data[i]);
    dots += text.data[i] == '.';
  }
  return dots > 0 && rank > letters ? rank - letters : 0;
}

/* The part of *rest up to a comma. */
static weft_str next_term(weft_str *rest) {
  uint32_t length = 0;
  while (length < rest->length && rest->data[length] != ',') ++length;
  weft_str term_text = {rest->data, length};
  uint32_t used = length < rest->length ? length + 1 : length;
  *rest = (weft_str){rest->data + used, rest->length - used};
  return term_text;
}

static uint32_t uses(const einsum *e, uint8_t label) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < e->count; ++i)
    for (uint32_t k = 0; k < e->terms[i].rank; ++k) count += e->terms[i].labels[k] == label;
  return count;
}

/* Without an arrow: the ellipsis, then every letter that is used once, in order. */
static void implicit_output(einsum *e, uint32_t ellipsis) {
  for (uint32_t axis = ellipsis; axis > 0; --axis) push_label(&e->output, (uint8_t)axis);
  for (uint32_t label = 'A'; label <= 'z'; ++label)
    if (uses(e, (uint8_t)label) == 1 && !push_label(&e->output, (uint8_t)label))
      weft_call_fail(e->call, WEFT_UNSUPPORTED, "its output has more than %d axes", WEFT_RANK_MAX);
}

static void fail_equation(weft_call *call) {
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'equation' does not fit its inputs");
}

static void check_output(const einsum *e) {
  for (uint32_t i = 0; i < e->output.rank; ++i) {
    uint8_t label = e->output.labels[i];
    uint32_t found = 0;
    for (uint32_t k = 0; k < e->output.rank; ++k) found += e->output.labels[k] == label;
    if (found != 1 || uses(e, label) == 0) fail_equation(e->call);
  }
}

static void parse(einsum *e, weft_str equation) {
  weft_str left = equation, right = {0};
  bool arrow = false;
  for (uint32_t i = 0; i + 1 < equation.length && !arrow; ++i) {
    arrow = equation.data[i] == '-' && equation.data[i + 1] == '>';
    if (!arrow) continue;
    left.length = i;
    right = (weft_str){equation.data + i + 2, equation.length - i - 2};
  }
  uint32_t ellipsis = 0;
  bool good = true;
  for (uint32_t i = 0; i < e->count; ++i) {
    weft_str text = next_term(&left);
    uint32_t rank = weft_call_rank(e->call, e->terms[i].value);
    uint32_t axes = ellipsis_axes(text, rank);
    if (axes > ellipsis) ellipsis = axes;
    good = good && parse_term(text, axes, &e->terms[i]) && e->terms[i].rank == rank;
  }
  if (!good || left.length > 0 || !parse_term(right, ellipsis, &e->output))
    fail_equation(e->call);
  else if (!arrow)
    implicit_output(e, ellipsis);
  check_output(e);
}

/* ---- one term -------------------------------------------------------------------------------- */

static void sum_axis(weft_call *call, term *t, uint32_t axis) {
  t->value = weft_call_reduce(call, WEFT_REDUCE_SUM, weft_axes_one(axis), false, t->value);
  memmove(t->labels + axis, t->labels + axis + 1, t->rank - axis - 1);
  --t->rank;
}

static weft_value_id positions(weft_call *call, weft_value_id x, uint32_t axis, uint32_t rank) {
  weft_value_id dim = weft_call_dims(call, x, axis, axis + 1);
  weft_value_id extent = weft_call_view(call, WEFT_VIEW_SQUEEZE, weft_axes_one(0), dim);
  weft_value_id numbers = weft_call_count_up(call, extent);
  if (axis + 1 == rank) return numbers;
  return weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, rank - axis), numbers);
}

/* Of two axes with one label the diagonal is kept: all else is zero, and the second summed away. */
static void take_diagonals(weft_call *call, term *t) {
  for (uint32_t i = 0; i < t->rank; ++i)
    for (uint32_t k = t->rank - 1; k > i; --k) {
      if (t->labels[k] != t->labels[i]) continue;
      weft_value_id rows = positions(call, t->value, i, t->rank);
      weft_value_id columns = positions(call, t->value, k, t->rank);
      weft_formula f = WEFT_FORMULA(call, t->value, rows, columns);
      F3(SELECT, F2(EQUAL, 1, 2), 0, NUMBER(0));
      t->value = weft_formula_end(&f);
      sum_axis(call, t, k);
    }
}

/* Whether the output or a term from `first` on has the label. */
static bool is_needed(const einsum *e, uint32_t first, uint8_t label) {
  for (uint32_t i = first; i < e->count; ++i)
    if (has(&e->terms[i], label)) return true;
  return has(&e->output, label);
}

static void permute(weft_call *call, term *t, const label_list *order) {
  weft_axes axes = {.count = (uint8_t)t->rank};
  bool moved = false;
  for (uint32_t i = 0; i < t->rank; ++i)
    for (uint32_t k = 0; k < t->rank; ++k)
      if (t->labels[k] == order->labels[i]) {
        axes.axes[i] = (int8_t)k;
        moved |= i != k;
      }
  if (moved) t->value = weft_call_view(call, WEFT_VIEW_TRANSPOSE, axes, t->value);
  memcpy(t->labels, order->labels, t->rank);
}

/* ---- two terms ------------------------------------------------------------------------------- */

/* Labels of a pair: in both and needed, in both and not, in one alone. */
typedef struct pair {
  label_list batch, summed, left, right;
} pair;

static pair classify(const einsum *e, uint32_t rest, const term *a, const term *b) {
  pair p = {0};
  for (uint32_t i = 0; i < a->rank; ++i) {
    uint8_t label = a->labels[i];
    put(!has(b, label) ? &p.left : is_needed(e, rest, label) ? &p.batch : &p.summed, label);
  }
  for (uint32_t i = 0; i < b->rank; ++i)
    if (!has(a, b->labels[i])) put(&p.right, b->labels[i]);
  return p;
}

static label_list joined(const label_list *a, const label_list *b, const label_list *c) {
  label_list out = *a;
  put_all(&out, b);
  put_all(&out, c);
  return out;
}

/* Extent of the axes [first, end) taken as one. */
static weft_value_id merged_extent(weft_call *call, weft_value_id x, uint32_t first, uint32_t end) {
  if (first == end) return WEFT_CALL_INTEGERS(call, 1);
  weft_value_id dims = weft_call_dims(call, x, first, end);
  if (end - first == 1) return dims;
  return weft_call_reduce(call, WEFT_REDUCE_PROD, weft_axes_one(0), true, dims);
}

/* [batch..., m..., n...] -> [batch..., M, N] */
static weft_value_id as_matrices(weft_call *call, weft_value_id x, uint32_t batch, uint32_t m,
                                 uint32_t n) {
  if (m == 1 && n == 1) return x;
  weft_value_id shape[3];
  uint32_t parts = 0;
  if (batch > 0) shape[parts++] = weft_call_dims(call, x, 0, batch);
  shape[parts++] = merged_extent(call, x, batch, batch + m);
  shape[parts++] = merged_extent(call, x, batch + m, batch + m + n);
  return weft_call_reshape(call, x, weft_call_concat(call, 0, shape, parts));
}

static weft_value_id contract(weft_call *call, const pair *p, const term *a, const term *b) {
  uint32_t batch = p->batch.count, left = p->left.count, right = p->right.count;
  uint32_t summed = p->summed.count, parts = 0;
  weft_value_id x = as_matrices(call, a->value, batch, left, summed);
  weft_value_id y = as_matrices(call, b->value, batch, summed, right);
  weft_value_id z = weft_call_matmul(call, x, y), shape[3];
  if (left == 1 && right == 1) return z;
  if (batch > 0) shape[parts++] = weft_call_dims(call, z, 0, batch);
  if (left > 0) shape[parts++] = weft_call_dims(call, a->value, batch, batch + left);
  if (right > 0)
    shape[parts++] = weft_call_dims(call, b->value, batch + summed, batch + summed + right);
  weft_value_id whole =
      parts > 0 ? weft_call_concat(call, 0, shape, parts) : weft_call_integers(call, NULL, 0);
  return weft_call_reshape(call, z, whole);
}

/* Nothing is summed over: [batch..., left..., 1...] times [batch..., 1..., right...]. */
static weft_value_id outer(weft_call *call, const pair *p, const term *a, const term *b) {
  uint32_t batch = p->batch.count, left = p->left.count, right = p->right.count;
  weft_value_id x = a->value, y = b->value;
  if (right > 0)
    x = weft_call_view(call, WEFT_VIEW_UNSQUEEZE,
                       weft_axes_range(batch + left, batch + left + right), x);
  if (left > 0 && batch > 0)
    y = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(batch, batch + left), y);
  return weft_call_map2(call, WEFT_EXPR_MUL, x, y);
}

/* Joins term b into a; `rest` is the first of the terms that come after. */
static void join(einsum *e, uint32_t rest, term *a, term *b) {
  pair p = classify(e, rest, a, b);
  label_list order = joined(&p.batch, &p.left, &p.summed);
  label_list result = joined(&p.batch, &p.left, &p.right);
  if (result.count > WEFT_RANK_MAX) {
    weft_call_fail(e->call, WEFT_UNSUPPORTED, "a product in it has more than %d axes",
                   WEFT_RANK_MAX);
    return;
  }
  permute(e->call, a, &order);
  order = joined(&p.batch, &p.summed, &p.right);
  permute(e->call, b, &order);
  a->value = p.summed.count > 0 ? contract(e->call, &p, a, b) : outer(e->call, &p, a, b);
  a->rank = result.count;
  memcpy(a->labels, result.labels, result.count);
}

/* Sums away what neither the output nor a term from `rest` on needs. */
static void reduce_term(const einsum *e, uint32_t rest, term *t) {
  for (uint32_t axis = t->rank; axis-- > 0;)
    if (!is_needed(e, rest, t->labels[axis])) sum_axis(e->call, t, axis);
}

static bool used_elsewhere(const einsum *e, uint32_t index, uint8_t label) {
  for (uint32_t i = 0; i < e->count; ++i)
    if (i != index && has(&e->terms[i], label)) return true;
  return has(&e->output, label);
}

static void simplify(einsum *e, uint32_t index) {
  term *t = &e->terms[index];
  take_diagonals(e->call, t);
  for (uint32_t axis = t->rank; axis-- > 0;)
    if (!used_elsewhere(e, index, t->labels[axis])) sum_axis(e->call, t, axis);
}

void weft_onnx_einsum(weft_call *call) {
  enum { TERMS_MAX = 16 };
  term terms[TERMS_MAX] = {0};
  einsum e = {.call = call, .terms = terms, .count = call->input_count};
  weft_str equation = weft_call_string(call, "equation", "");
  if (e.count > TERMS_MAX)
    weft_call_fail(call, WEFT_UNSUPPORTED, "it has %u inputs; at most %d are supported", e.count,
                   TERMS_MAX);
  if (call->status != WEFT_OK) return;
  for (uint32_t i = 0; i < e.count; ++i) terms[i].value = weft_call_input(call, i);
  parse(&e, equation);
  if (call->status != WEFT_OK) return;
  for (uint32_t i = 0; i < e.count; ++i) simplify(&e, i);
  for (uint32_t i = 1; i < e.count && call->status == WEFT_OK; ++i)
    join(&e, i + 1, &terms[0], &terms[i]);
  if (call->status != WEFT_OK) return;
  reduce_term(&e, e.count, &terms[0]);
  label_list order = {.count = e.output.rank};
  memcpy(order.labels, e.output.labels, e.output.rank);
  permute(call, &terms[0], &order);
  weft_call_output(call, 0, terms[0].value);
}
