/* onnx_ops_decoder.c - the attention operators of com.microsoft, with their caches:
 * GroupQueryAttention and MultiHeadAttention. Rows in onnx_ops.inc; the operator of ONNX itself is
 * in onnx_ops_attention.c. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

/* What both have in common. Shapes: q [B,H,S,D], k [B,G,L,D], v [B,G,L,E] (G divides H). */
typedef struct heads {
  weft_call *call;
  int64_t heads, groups; /* H, G */
  weft_value_id q, k, v, mask, lengths, sink;
} heads;

static int64_t count_attribute(weft_call *call, const char *name) {
  int64_t count = weft_call_int(call, name, 0);
  if (count > 0 && count <= INT32_MAX) return count;
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' is %lld, no number of heads", name,
                 (long long)count);
  return 1;
}

/* The size of a head where `count` of them lie in the last axis of x. */
static int64_t head_size(weft_call *call, weft_value_id x, uint32_t rank, int64_t count) {
  const weft_shape *shape = weft_call_shape(call, x);
  if (weft_call_rank(call, x) != rank)
    weft_call_fail(call, WEFT_INVALID_MODEL, "its query has rank %d, not %u", shape->rank, rank);
  if (call->status != WEFT_OK) return 1;
  weft_dim width = shape->dims[rank - 1];
  if (WEFT_DIM_IS_SYMBOL(width))
    weft_call_fail(call, WEFT_UNSUPPORTED, "the width of its query must be known at load");
  else if (width == 0 || width % count != 0)
    weft_call_fail(call, WEFT_INVALID_MODEL, "a width of %lld is not that of %lld heads",
                   (long long)width, (long long)count);
  return call->status == WEFT_OK ? width / count : 1;
}

/* Attention over keys and values, and its result as [B,S,H E]. Needs a->q of a known head size. */
static void attend(heads *a, weft_attributes attributes, int64_t size, weft_value_id k,
                   weft_value_id v) {
  weft_call *call = a->call;
  double scale = weft_call_float(call, "scale", 0);
  attributes.attention.scale = (float)(scale == 0 ? 1 / __builtin_sqrt((double)size) : scale);
  attributes.attention.heads_last = true;
  weft_value_id y = WEFT_CALL_NODE(call, WEFT_OP_ATTENTION, &attributes, a->q, k, v, a->mask,
                                   a->lengths, a->sink);
  weft_call_output(call, 0, weft_call_reshape(call, y, WEFT_CALL_INTEGERS(call, 0, 0, -1)));
}

static void refuse_input(weft_call *call, uint32_t index, const char *what) {
  if (weft_call_input(call, index) != NONE)
    weft_call_fail(call, WEFT_UNSUPPORTED, "%s is not supported", what);
}

/* ---- GroupQueryAttention --------------------------------------------------------------------- */

enum {
  GQA_Q,
  GQA_K,
  GQA_V,
  GQA_PAST_K,
  GQA_PAST_V,
  GQA_LAST,  /* of each sequence, its length with the new ones - 1, [B] */
  GQA_TOTAL, /* the largest of these lengths: one number */
  GQA_COSINES,
  GQA_SINES,
  GQA_POSITIONS,
  GQA_BIAS,
  GQA_SINK,
  GQA_K_SCALE,
  GQA_V_SCALE,
  GQA_Q_NORM,
  GQA_K_NORM,
};

static void check_cache_type(weft_call *call, const char *name) {
  if (!weft_str_is(weft_call_string(call, name, "NONE"), "NONE"))
    weft_call_fail(call, WEFT_UNSUPPORTED, "a quantised cache is not supported");
}

static void refuse_gqa(weft_call *call) {
  check_cache_type(call, "k_quant_type");
  check_cache_type(call, "v_quant_type");
  weft_call_ignore(call, "kv_cache_bit_width");
  refuse_input(call, GQA_K_SCALE, "a quantised cache");
  refuse_input(call, GQA_V_SCALE, "a quantised cache");
  if (weft_call_int(call, "sliding_window_cache", 0) != 0)
    weft_call_fail(call, WEFT_UNSUPPORTED,
                   "a cache that drops what has left the window is not supported");
  weft_call_ignore(call, "qk_output"); /* without it output 3 is missing, which names the cause */
  if ((weft_call_input(call, GQA_K) == NONE) != (weft_call_input(call, GQA_V) == NONE) ||
      (weft_call_input(call, GQA_PAST_K) == NONE) != (weft_call_input(call, GQA_PAST_V) == NONE))
    weft_call_fail(call, WEFT_INVALID_MODEL, "of key and value one is missing");
}

/* Part `index` of heads [B,H+2G,S,D]. */
static weft_value_id packed_part(heads *a, weft_value_id x, uint32_t index) {
  weft_call *call = a->call;
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_SPLIT, .axes = weft_axes_one(1), .index = index, .count = 3}};
  weft_value_id lengths = WEFT_CALL_INTEGERS(call, a->heads, a->groups, a->groups);
  return WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x, lengths);
}

/* Sets q, k and v; answers the size of a head. */
static int64_t read_gqa(heads *a) {
  weft_call *call = a->call;
  weft_value_id q = weft_call_input(call, GQA_Q), k = weft_call_input(call, GQA_K);
  bool packed = k == NONE;
  int64_t count = packed ? a->heads + 2 * a->groups : a->heads;
  int64_t size = head_size(call, q, 3, count);
  q = weft_call_split_heads(call, q, count);
  a->q = packed ? packed_part(a, q, 0) : q;
  a->k = packed ? packed_part(a, q, 1) : weft_call_split_heads(call, k, a->groups);
  a->v = packed ? packed_part(a, q, 2)
                : weft_call_split_heads(call, weft_call_input(call, GQA_V), a->groups);
  return size;
}

/* Each head by the root of its mean square, times a weight [D]. */
static weft_value_id norm_heads(heads *a, weft_value_id x, uint32_t weight) {
  weft_call *call = a->call;
  double epsilon = weft_call_float(call, "qk_norm_epsilon", 1e-6f);
  weft_attributes attributes = {
      .norm = {.kind = WEFT_NORM_RMS, .axis = -1, .epsilon = (float)epsilon}};
  if (weft_call_input(call, weight) == NONE) return x;
  return WEFT_CALL_NODE(call, WEFT_OP_NORM, &attributes, x, weft_call_input(call, weight));
}

/* Where the new tokens stand: right behind the old ones of their sequence, [B,S]. In a prompt whose
 * shorter sequences are padded on the right, from 0 on. */
static weft_value_id gqa_positions(heads *a) {
  weft_call *call = a->call;
  weft_value_id given = weft_call_input(call, GQA_POSITIONS);
  if (given != NONE) return given;
  weft_value_id count = weft_call_extent(call, a->q, 2);
  weft_value_id rows = weft_call_count_up(call, count);
  weft_value_id lengths = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(1), a->lengths);
  weft_formula f = WEFT_FORMULA(call, rows, lengths, count);
  uint32_t before = F2(SUB, 1, 2);
  F2(ADD, 0, F2(MAX, before, NUMBER(0)));
  return weft_formula_end(&f);
}

static void turn_gqa(heads *a) {
  weft_call *call = a->call;
  bool interleaved = weft_call_flag(call, "rotary_interleaved", false);
  if (!weft_call_flag(call, "do_rotary", false)) return;
  weft_value_id c = weft_call_input(call, GQA_COSINES), s = weft_call_input(call, GQA_SINES);
  if (c == NONE || s == NONE) {
    weft_call_fail(call, WEFT_INVALID_MODEL, "its cosines or sines are missing");
    return;
  }
  weft_value_id positions = gqa_positions(a);
  a->q = weft_call_rotary(call, a->q, c, s, positions, interleaved);
  a->k = weft_call_rotary(call, a->k, c, s, positions, interleaved);
}

/* The cache with the new tokens, an output, and of it what may be looked at: a cache may have room
 * for more than the total. */
static weft_value_id cache_gqa(heads *a, uint32_t past_input, uint32_t output, weft_value_id x) {
  weft_call *call = a->call;
  weft_value_id past = weft_call_input(call, past_input);
  weft_value_id total = weft_call_input(call, GQA_TOTAL);
  weft_value_id present =
      past == NONE ? x : WEFT_CALL_NODE(call, WEFT_OP_APPEND, NULL, past, x, total, a->lengths);
  weft_call_output(call, output, present);
  if (past == NONE) return x;
  return weft_call_slice_to(call, present, 2,
                            weft_call_reshape(call, total, WEFT_CALL_INTEGERS(call, 1)));
}

/* A smooth softmax has one more score of 0. */
static weft_value_id gqa_sink(heads *a, weft_dtype dtype) {
  weft_call *call = a->call;
  bool smooth = weft_call_flag(call, "smooth_softmax", false);
  weft_value_id sink = weft_call_input(call, GQA_SINK);
  if (sink != NONE || !smooth) return sink;
  weft_value_id zero = weft_call_scalar(call, dtype, 0);
  return weft_call_expand(call, zero, WEFT_CALL_INTEGERS(call, a->heads));
}

void weft_onnx_group_query_attention(weft_call *call) {
  heads a = {.call = call,
             .heads = count_attribute(call, "num_heads"),
             .groups = count_attribute(call, "kv_num_heads"),
             .mask = weft_call_input(call, GQA_BIAS)};
  int64_t window = weft_call_int(call, "local_window_size", -1);
  refuse_gqa(call);
  weft_value_id last = weft_call_input(call, GQA_LAST);
  if (last == NONE || weft_call_input(call, GQA_TOTAL) == NONE)
    weft_call_fail(call, WEFT_INVALID_MODEL, "the lengths of its sequences are missing");
  else if (!weft_dtype_is_integer(weft_call_dtype(call, last)))
    weft_call_fail(call, WEFT_INVALID_MODEL, "the lengths of its sequences are no integers");
  int64_t size = read_gqa(&a);
  if (call->status != WEFT_OK) return;
  weft_formula f = WEFT_FORMULA(call, last);
  F2(ADD, weft_formula_cast(&f, 0, WEFT_I64), weft_formula_constant(&f, WEFT_I64, 1));
  a.lengths = weft_formula_end(&f);
  a.q = norm_heads(&a, a.q, GQA_Q_NORM);
  a.k = norm_heads(&a, a.k, GQA_K_NORM);
  turn_gqa(&a);
  a.sink = gqa_sink(&a, weft_call_dtype(call, weft_call_input(call, GQA_Q)));
  weft_value_id k = cache_gqa(&a, GQA_PAST_K, 1, a.k), v = cache_gqa(&a, GQA_PAST_V, 2, a.v);
  weft_attributes attributes = {.attention = {.softcap = (float)weft_call_float(call, "softcap", 0),
                                              .window = window > 0 ? window : 0,
                                              .causal = weft_call_flag(call, "causal", true)}};
  attend(&a, attributes, size, k, v);
}

/* ---- MultiHeadAttention ---------------------------------------------------------------------- */

enum {
  MHA_Q,
  MHA_K,
  MHA_V,
  MHA_BIAS, /* of the projections, [H D + H D + H E] */
  MHA_PADDING,
  MHA_SCORE_BIAS,
  MHA_PAST_K,
  MHA_PAST_V,
  MHA_PAST_LENGTH,
  MHA_INDIRECTION,
};

/* x [B,S,H D] plus its part of the bias, in heads; x of rank 4 is in heads already. */
static weft_value_id project(heads *a, weft_value_id x, int64_t begin, int64_t end) {
  weft_call *call = a->call;
  weft_value_id bias = weft_call_input(call, MHA_BIAS);
  if (weft_call_rank(call, x) == 4) return x;
  if (bias != NONE)
    x = weft_call_map2(call, WEFT_EXPR_ADD, x, weft_call_slice(call, bias, 0, begin, end, 1));
  return weft_call_split_heads(call, x, a->heads);
}

static void check_packed(heads *a, weft_value_id x, uint32_t parts) {
  const weft_shape *shape = weft_call_shape(a->call, x);
  if (shape->rank != 5)
    weft_call_fail(a->call, WEFT_INVALID_MODEL, "its key or value is missing");
  else if (shape->dims[2] != a->heads || shape->dims[3] != parts)
    weft_call_fail(a->call, WEFT_INVALID_MODEL, "its packed heads are not %lld in %u parts",
                   (long long)a->heads, parts);
}

/* Part `index` of x [B,S,H,parts,D], as [B,S,H D]. */
static weft_value_id unpack(heads *a, weft_value_id x, uint32_t index, uint32_t parts) {
  weft_call *call = a->call;
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_SPLIT, .axes = weft_axes_one(3), .index = index, .count = parts}};
  weft_value_id part = WEFT_CALL_NODE(call, WEFT_OP_VIEW, &attributes, x);
  return weft_call_reshape(call, part, WEFT_CALL_INTEGERS(call, 0, 0, -1));
}

/* Sets q, k and v; answers the size of a head of q and k. */
static int64_t read_mha(heads *a) {
  weft_call *call = a->call;
  weft_value_id q = weft_call_input(call, MHA_Q), k = weft_call_input(call, MHA_K);
  weft_value_id v = weft_call_input(call, MHA_V), packed = k == NONE ? q : v == NONE ? k : NONE;
  uint32_t parts = k == NONE ? 3 : 2;
  if (packed != NONE) {
    check_packed(a, packed, parts);
    if (call->status != WEFT_OK) return 1;
    if (parts == 3) q = unpack(a, packed, 0, 3);
    k = unpack(a, packed, parts - 2, parts);
    v = unpack(a, packed, parts - 1, parts);
  }
  int64_t size = head_size(call, q, 3, a->heads), width = size * a->heads;
  a->q = project(a, q, 0, width);
  a->k = project(a, k, width, 2 * width);
  a->v = project(a, v, 2 * width, INT64_MAX);
  return size;
}

/* Numbers to add to the scores for keys that are padding: mask 0, as [B,1,1,T] or [B,1,S,T]. */
static weft_value_id padding_mask(heads *a, weft_value_id padding, weft_dtype dtype) {
  weft_call *call = a->call;
  double filler = weft_call_float(call, "mask_filter_value", -10000);
  uint32_t rank = weft_call_rank(call, padding);
  if (rank != 2 && rank != 3)
    weft_call_fail(call, WEFT_INVALID_MODEL, "its padding mask has rank %u", rank);
  if (call->status != WEFT_OK) return NONE;
  weft_axes axes = rank == 2 ? weft_axes_range(1, 3) : weft_axes_one(1);
  weft_value_id mask = weft_call_view(call, WEFT_VIEW_UNSQUEEZE, axes, padding);
  weft_formula f = WEFT_FORMULA(call, mask);
  uint32_t nothing = weft_formula_constant(&f, dtype, 0);
  F3(SELECT, F2(LESS, NUMBER(0), 0), nothing, weft_formula_constant(&f, dtype, filler));
  return weft_formula_end(&f);
}

/* The padding mask and the bias of scores, together. A list is the lengths of sequences. */
static void read_masks(heads *a) {
  weft_call *call = a->call;
  weft_value_id padding = weft_call_input(call, MHA_PADDING);
  weft_value_id bias = weft_call_input(call, MHA_SCORE_BIAS);
  bool is_list = padding != NONE && weft_call_rank(call, padding) == 1;
  if (is_list) a->lengths = padding;
  if (is_list) weft_call_ignore(call, "mask_filter_value");
  a->mask = bias;
  if (padding == NONE || is_list) return;
  weft_dtype dtype = weft_call_dtype(call, weft_call_input(call, MHA_Q));
  weft_value_id mask = padding_mask(a, padding, dtype);
  a->mask = bias == NONE ? mask : weft_call_map2(call, WEFT_EXPR_ADD, bias, mask);
}

static weft_value_id cache_mha(heads *a, uint32_t past_input, uint32_t output, weft_value_id x) {
  weft_value_id past = weft_call_input(a->call, past_input);
  if (past != NONE) x = WEFT_CALL_NODE(a->call, WEFT_OP_APPEND, NULL, past, x);
  weft_call_output(a->call, output, x);
  return x;
}

void weft_onnx_multi_head_attention(weft_call *call) {
  heads a = {.call = call, .heads = count_attribute(call, "num_heads"), .lengths = NONE};
  a.groups = a.heads;
  a.sink = NONE;
  refuse_input(call, MHA_PAST_LENGTH, "a cache shared by past and present");
  refuse_input(call, MHA_INDIRECTION, "a cache in the order of beams");
  int64_t size = read_mha(&a);
  read_masks(&a);
  weft_value_id k = cache_mha(&a, MHA_PAST_K, 1, a.k), v = cache_mha(&a, MHA_PAST_V, 2, a.v);
  weft_attributes attributes = {
      .attention = {.causal = weft_call_flag(call, "unidirectional", false)}};
  weft_call_ignore(call, "mask_filter_value");
  attend(&a, attributes, size, k, v);
}
