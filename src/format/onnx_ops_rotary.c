/* onnx_ops_rotary.c - RotaryEmbedding, of ONNX and of com.microsoft: pairs of elements turned by an
 * angle that depends on the position. Rows in onnx_ops.inc.
 *
 * x [B,H,S,D] or [B,S,H D]; caches of cosines and sines [positions,R/2] with position ids [B,S], or
 * [B,S,R/2] without. The first R of the D elements of a head are turned. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

weft_value_id weft_call_rotary(weft_call *call, weft_value_id x, weft_value_id cosines,
                               weft_value_id sines, weft_value_id positions, bool interleaved) {
  weft_attributes attributes = {.rotary = {.interleaved = interleaved}};
  return WEFT_CALL_NODE(call, WEFT_OP_ROTARY, &attributes, x, cosines, sines, positions);
}

/* The attribute rotary_embedding_dim only says again how wide the caches are. */
static void check_part(weft_call *call, weft_value_id cosines) {
  int64_t part = weft_call_int(call, "rotary_embedding_dim", 0);
  uint32_t rank = weft_call_rank(call, cosines);
  if (call->status != WEFT_OK || part == 0 || rank == 0) return;
  weft_dim half = weft_call_shape(call, cosines)->dims[rank - 1];
  if (!WEFT_DIM_IS_SYMBOL(half) && part != 2 * half)
    weft_call_fail(call, WEFT_INVALID_MODEL,
                   "attribute 'rotary_embedding_dim' is %lld, but the cosines are for %lld",
                   (long long)part, (long long)(2 * half));
}

/* x turned, in the layout that it has. heads: of x of rank 3. */
static void turn(weft_call *call, int64_t heads, weft_value_id cosines, weft_value_id sines,
                 weft_value_id positions) {
  weft_value_id x = weft_call_input(call, 0);
  bool interleaved = weft_call_flag(call, "interleaved", false);
  bool heads_last = weft_call_rank(call, x) == 3;
  if (heads_last && heads < 1)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'num_heads' is missing");
  check_part(call, cosines);
  if (heads_last) x = weft_call_split_heads(call, x, heads);
  weft_value_id y = weft_call_rotary(call, x, cosines, sines, positions, interleaved);
  weft_call_output(call, 0, heads_last ? weft_call_join_heads(call, y) : y);
}

void weft_onnx_rotary_embedding(weft_call *call) {
  turn(call, weft_call_int(call, "num_heads", 0), weft_call_input(call, 1),
       weft_call_input(call, 2), weft_call_input(call, 3));
}

/* Position ids [B,S], or where the first one stands, [1] -> [1,S]. */
static weft_value_id positions_from(weft_call *call, weft_value_id ids) {
  weft_value_id x = weft_call_input(call, 0);
  if (weft_call_rank(call, ids) != 1) return ids;
  weft_value_id length = weft_call_extent(call, x, weft_call_rank(call, x) == 3 ? 1 : 2);
  weft_value_id rows = weft_call_count_up(call, length);
  rows = weft_call_map2(call, WEFT_EXPR_ADD, rows, weft_call_cast(call, ids, WEFT_I64));
  return weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(0), rows);
}

/* How many heads [B,S,H D] has: the attribute, or as many as the cosines turn whole. */
static int64_t heads_by_cosines(weft_call *call, weft_value_id cosines) {
  int64_t heads = weft_call_int(call, "num_heads", 0);
  weft_value_id x = weft_call_input(call, 0);
  const weft_shape *shape = weft_call_shape(call, x), *half = weft_call_shape(call, cosines);
  if (heads > 0 || shape->rank != 3 || half->rank != 2) return heads;
  if (WEFT_DIM_IS_SYMBOL(shape->dims[2]) || WEFT_DIM_IS_SYMBOL(half->dims[1]) || half->dims[1] == 0)
    return 0;
  return shape->dims[2] / (2 * half->dims[1]);
}

/* com.microsoft: x, position ids, cosines, sines. */
void weft_onnx_rotary_embedding_microsoft(weft_call *call) {
  weft_value_id cosines = weft_call_input(call, 2), sines = weft_call_input(call, 3);
  if (weft_call_flag(call, "is_packed_batching", false))
    weft_call_fail(call, WEFT_UNSUPPORTED, "packed batches are not supported");
  if (weft_call_float(call, "scale", 1) != 1)
    weft_call_fail(call, WEFT_UNSUPPORTED, "a scale of positions is not supported");
  weft_value_id positions = positions_from(call, weft_call_input(call, 1));
  turn(call, heads_by_cosines(call, cosines), cosines, sines, positions);
}
