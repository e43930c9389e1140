/* onnx_ops_attention.c - Attention (opset 23 on): to the core op, with a mask made of those causal,
 * window and padding rules that the core op does not have; written out as products and a softmax
 * where scores are asked for. Row in onnx_ops.inc.
 *
 * Shapes: q [B,H,S,D], k [B,G,L,D], v [B,G,L,E] (G divides H), past k [B,G,P,D], past v [B,G,P,E];
 * T = P + L. With rank 3 the heads are in the last axis: [B,S,H D]. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

typedef struct attention {
  weft_call *call;
  weft_value_id q, k, v, past_k, mask, lengths; /* lengths [B]: of each sequence, without padding */
  weft_dtype dtype;
  bool causal, heads_last, keeps_scores; /* the scores are an output too */
  bool aligned;                          /* the last query stands at the last key */
  double scale, softcap;
  int64_t left, right, mode;
} attention;

static weft_value_id split_heads(weft_call *call, weft_value_id x, const char *heads_name) {
  int64_t heads = weft_call_int(call, heads_name, 0);
  if (weft_call_rank(call, x) != 3) return x;
  if (heads < 1) weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' is missing", heads_name);
  return weft_call_split_heads(call, x, heads);
}

static weft_dim fixed_dim(weft_call *call, weft_value_id x, uint32_t axis) {
  const weft_shape *shape = weft_call_shape(call, x);
  if (shape->rank == 4 && shape->dims[axis] >= 0) return shape->dims[axis];
  weft_call_fail(call, WEFT_UNSUPPORTED, "its heads and their size must be known at load");
  return 1;
}

/* Each of the G heads stands for H / G neighbours: [B,G,T,D] -> [B,H,T,D]. */
static weft_value_id repeat_heads(weft_call *call, weft_value_id x, weft_dim heads) {
  weft_dim groups = fixed_dim(call, x, 1);
  if (groups == heads || call->status != WEFT_OK) return x;
  if (groups == 0 || heads % groups != 0) {
    weft_call_fail(call, WEFT_INVALID_MODEL, "%lld heads cannot share %lld", (long long)heads,
                   (long long)groups);
    return x;
  }
  weft_value_id size = weft_call_dims(call, x, 3, 4);
  weft_value_id y = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(2), x);
  y = weft_call_expand(call, y, WEFT_CALL_INTEGERS(call, 1, 1, heads / groups, 1, 1));
  const weft_value_id shape[] = {WEFT_CALL_INTEGERS(call, 0, heads, -1), size};
  return weft_call_reshape(call, y, weft_call_concat(call, 0, shape, 2));
}

static weft_value_id append(weft_call *call, weft_value_id past, weft_value_id x) {
  return past == NONE ? x : WEFT_CALL_NODE(call, WEFT_OP_APPEND, NULL, past, x);
}

/* [B] -> [B,1,1,1] */
static weft_value_id per_sequence(weft_call *call, weft_value_id lengths) {
  if (lengths == NONE) return NONE;
  weft_value_id wide = weft_call_cast(call, lengths, WEFT_I64);
  return weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, 4), wide);
}

/* ---- the additive mask ----------------------------------------------------------------------- */

/* Position of each query among the keys: its row plus what comes before, [S,1] or [B,1,S,1]. */
static weft_value_id query_positions(attention *a, weft_value_id lengths) {
  weft_call *call = a->call;
  weft_value_id queries = weft_call_extent(call, a->q, 2);
  weft_value_id rows = weft_call_count_up(call, queries);
  rows = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(1), rows);
  if (a->past_k != NONE)
    return weft_call_map2(call, WEFT_EXPR_ADD, rows, weft_call_extent(call, a->past_k, 2));
  if (lengths == NONE) return rows;
  weft_value_id before = weft_call_map2(call, WEFT_EXPR_SUB, lengths, queries);
  return weft_call_map2(call, WEFT_EXPR_ADD, rows, before);
}

/* Joins a rule to those before it; NONE: there are none yet. */
static void require(weft_formula *formula, uint32_t *seen, uint32_t rule) {
  *seen = *seen == NONE ? rule : weft_formula_op(formula, WEFT_EXPR_AND, *seen, rule, 0);
}

/* 0 where a query (position x0) may see a key (x1; x2: how many there are), -inf elsewhere. */
static weft_value_id rule_mask(attention *a) {
  weft_call *call = a->call;
  weft_value_id lengths = per_sequence(call, a->lengths);
  weft_value_id positions = query_positions(a, lengths);
  weft_value_id keys = weft_call_count_up(call, weft_call_extent(call, a->k, 2));
  bool padded = lengths != NONE;
  const weft_value_id inputs[] = {positions, keys, lengths};
  weft_formula f = weft_formula_begin(call, inputs, padded ? 3 : 2);
  uint32_t seen = NONE;
  if (padded) require(&f, &seen, F2(LESS, 1, 2));
  if (a->causal) require(&f, &seen, F2(LESS_EQUAL, 1, 0));
  if (a->left >= 0) require(&f, &seen, F2(LESS_EQUAL, F2(SUB, 0, NUMBER((double)a->left)), 1));
  if (a->right >= 0) require(&f, &seen, F2(LESS_EQUAL, 1, F2(ADD, 0, NUMBER((double)a->right))));
  uint32_t nothing = weft_formula_constant(&f, a->dtype, 0);
  F3(SELECT, seen, nothing, weft_formula_constant(&f, a->dtype, -__builtin_inf()));
  return weft_formula_end(&f);
}

/* A mask may be shorter than the keys: what it does not name is hidden. */
static weft_value_id pad_mask(attention *a, weft_value_id mask) {
  weft_call *call = a->call;
  const weft_shape *shape = weft_call_shape(call, mask), *keys = weft_call_shape(call, a->k);
  if (shape->rank < 1 || keys->rank != 4) return mask;
  weft_dim length = shape->dims[shape->rank - 1], wanted = keys->dims[2];
  if (length < 0 || wanted < 0 || length >= wanted || length == 1) return mask;
  weft_attributes attributes = {.pad = {.mode = WEFT_PAD_CONSTANT}};
  weft_value_id filler = weft_call_scalar(call, a->dtype, -__builtin_inf());
  weft_value_id pads = WEFT_CALL_INTEGERS(call, 0, wanted - length);
  weft_value_id last = WEFT_CALL_INTEGERS(call, -1);
  return WEFT_CALL_NODE(call, WEFT_OP_PAD, &attributes, mask, pads, filler, last);
}

/* The mask that the model gives, as numbers to add. */
static weft_value_id additive_mask(attention *a) {
  if (a->mask == NONE || weft_call_dtype(a->call, a->mask) != WEFT_BOOL) return a->mask;
  weft_formula f = WEFT_FORMULA(a->call, a->mask);
  uint32_t nothing = weft_formula_constant(&f, a->dtype, 0);
  F3(SELECT, 0, nothing, weft_formula_constant(&f, a->dtype, -__builtin_inf()));
  return weft_formula_end(&f);
}

/* The mask for the rules that are still in `a`. */
static weft_value_id whole_mask(attention *a) {
  weft_value_id mask = additive_mask(a);
  if (mask != NONE) mask = pad_mask(a, mask);
  if (!a->causal && a->left < 0 && a->right < 0 && a->lengths == NONE) return mask;
  weft_value_id rules = rule_mask(a);
  return mask == NONE ? rules : weft_call_map2(a->call, WEFT_EXPR_ADD, mask, rules);
}

/* ---- the two forms --------------------------------------------------------------------------- */

/* A query that sees no key has a row of zeros. */
static weft_value_id guarded_softmax(attention *a, weft_value_id scores, weft_value_id mask) {
  weft_attributes attributes = {.softmax = {.axis = -1}};
  weft_value_id y = WEFT_CALL_NODE(a->call, WEFT_OP_SOFTMAX, &attributes, scores);
  if (mask == NONE) return y;
  weft_value_id most = weft_call_reduce(a->call, WEFT_REDUCE_MAX, weft_axes_one(-1), true, mask);
  weft_formula f = WEFT_FORMULA(a->call, y, most);
  F3(SELECT, F2(EQUAL, 1, NUMBER(-__builtin_inf())), NUMBER(0), 0);
  return weft_formula_end(&f);
}

/* scale q k^T [-> cap] [+ mask] -> softmax -> v, giving the scores of one stage as an output too.
 */
static weft_value_id written_out(attention *a) {
  weft_call *call = a->call;
  weft_value_id mask = whole_mask(a);
  weft_dim heads = fixed_dim(call, a->q, 1);
  weft_value_id k = repeat_heads(call, a->k, heads), v = repeat_heads(call, a->v, heads);
  weft_value_id products = weft_call_matmul(call, a->q, weft_call_swap_last(call, k));
  weft_value_id stages[4];
  weft_formula f = WEFT_FORMULA(call, products);
  F2(MUL, 0, NUMBER(a->scale));
  stages[0] = stages[1] = weft_formula_end(&f);
  if (a->softcap != 0) {
    f = WEFT_FORMULA(call, stages[0]);
    F2(MUL, NUMBER(a->softcap), F1(TANH, F2(DIV, 0, NUMBER(a->softcap))));
    stages[1] = weft_formula_end(&f);
  }
  stages[2] = mask == NONE ? stages[1] : weft_call_map2(call, WEFT_EXPR_ADD, stages[1], mask);
  stages[3] = guarded_softmax(a, stages[2], mask);
  if (a->mode < 0 || a->mode > 3)
    weft_call_fail(call, WEFT_INVALID_MODEL, "there is no qk_matmul_output_mode %lld",
                   (long long)a->mode);
  else
    weft_call_output(call, 3, stages[a->mode]);
  weft_value_id y = weft_call_matmul(call, stages[3], v);
  return a->heads_last ? WEFT_CALL_TRANSPOSE(call, y, 0, 2, 1, 3) : y;
}

/* The rules that the core op has go into its attributes, the others into the mask. It counts
 * positions from the last key, so that those of position need `aligned`; of lengths too where no
 * position is asked for. */
static weft_value_id core_attention(attention *a) {
  bool by_position = a->causal || a->left >= 0 || a->right >= 0;
  bool has_rules =
      a->aligned && a->lengths == NONE && (a->causal || a->right < 0) && a->left < INT32_MAX;
  weft_attributes attributes = {.attention = {.scale = (float)a->scale,
                                              .softcap = (float)a->softcap,
                                              .heads_last = a->heads_last}};
  weft_value_id lengths = NONE;
  if (has_rules) {
    attributes.attention.causal = a->causal;
    if (a->left >= 0) attributes.attention.window = a->left + 1;
    a->causal = false;
    a->left = a->right = -1;
  } else if (!by_position) {
    lengths = a->lengths;
    a->lengths = NONE;
  }
  weft_value_id mask = whole_mask(a);
  return WEFT_CALL_NODE(a->call, WEFT_OP_ATTENTION, &attributes, a->q, a->k, a->v, mask, lengths);
}

static void read_attributes(attention *a) {
  weft_call *call = a->call;
  a->causal = weft_call_flag(call, "is_causal", false);
  a->softcap = weft_call_float(call, "softcap", 0);
  a->mode = weft_call_int(call, "qk_matmul_output_mode", 0);
  a->left = weft_call_int(call, "left_window_size", -1);
  a->right = weft_call_int(call, "right_window_size", -1);
  weft_call_ignore(call, "softmax_precision");
  weft_dim size = fixed_dim(call, a->q, 3);
  a->scale = weft_call_float(call, "scale", 1 / __builtin_sqrt((double)size));
}

/* As many queries as new keys: then the last of both are neighbours. */
static bool is_aligned(weft_call *call, weft_value_id q, weft_value_id k) {
  const weft_shape *queries = weft_call_shape(call, q), *keys = weft_call_shape(call, k);
  return queries->rank == 4 && keys->rank == 4 && queries->dims[2] == keys->dims[2];
}

void weft_onnx_attention(weft_call *call) {
  weft_value_id q = weft_call_input(call, 0);
  attention a = {.call = call,
                 .q = split_heads(call, q, "q_num_heads"),
                 .mask = weft_call_input(call, 3),
                 .past_k = weft_call_input(call, 4),
                 .lengths = weft_call_input(call, 6),
                 .dtype = weft_call_dtype(call, q),
                 .heads_last = weft_call_rank(call, q) == 3,
                 .keeps_scores = weft_call_wants(call, 3)};
  weft_value_id k = split_heads(call, weft_call_input(call, 1), "kv_num_heads");
  weft_value_id v = split_heads(call, weft_call_input(call, 2), "kv_num_heads");
  read_attributes(&a);
  a.aligned = is_aligned(call, a.q, k);
  a.k = append(call, a.past_k, k);
  a.v = append(call, weft_call_input(call, 5), v);
  weft_call_output(call, 1, a.k);
  weft_call_output(call, 2, a.v);
  weft_value_id y = a.keeps_scores ? written_out(&a) : core_attention(&a);
  if (a.heads_last) y = weft_call_reshape(call, y, WEFT_CALL_INTEGERS(call, 0, 0, -1));
  weft_call_output(call, 0, y);
}
