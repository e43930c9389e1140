/* infer_decoder.c - shapes of the ops that language models and quantised models add: rotary,
 * append, cached_attention, dequantize, quantize_dynamic, matmul_integer. Types are in check.c. */
#include "graph/infer.h"

/* ---- rotary ---------------------------------------------------------------------------------- */

enum { ROTARY_X, ROTARY_COSINES };

/* The last dimension of x against that of the cosines, which is half of what is turned. */
static bool fits_turned(weft_dim size, weft_dim half) {
  return WEFT_DIM_IS_SYMBOL(size) || WEFT_DIM_IS_SYMBOL(half) || (half > 0 && half <= size / 2);
}

/* Checks x against the cosines, sines and positions from input number `first` on. */
static weft_status check_rotary(const weft_infer *infer, uint32_t x_input, uint32_t first) {
  weft_shape x = *weft_input_shape(infer, x_input);
  weft_shape cosines = *weft_input_shape(infer, first);
  const weft_shape *sines = weft_input_shape(infer, first + 1);
  if (x.rank < 0 || cosines.rank < 0 || sines->rank < 0) return WEFT_OK;
  bool by_position = weft_input_has(infer, first + 2);
  bool good = x.rank == 4 && cosines.rank == (by_position ? 2 : 3) && sines->rank == cosines.rank;
  for (int32_t i = 0; good && i < cosines.rank; i++)
    good = weft_dim_meet(&cosines.dims[i], sines->dims[i]);
  if (!good || !fits_turned(x.dims[3], cosines.dims[cosines.rank - 1])) {
    return weft_infer_fail(infer, "cosines %s and sines %s do not fit %s",
                           WEFT_SHAPE_TEXT(infer, &cosines), WEFT_SHAPE_TEXT(infer, sines),
                           WEFT_SHAPE_TEXT(infer, &x));
  }
  weft_shape rows = {.rank = 2, .dims = {x.dims[0], x.dims[2]}};
  weft_shape angles = {.rank = 3, .dims = {x.dims[0], x.dims[2], cosines.dims[2]}};
  return by_position ? weft_infer_fits(infer, first + 2, &rows)
                     : weft_infer_fits(infer, first, &angles);
}

weft_status weft_infer_rotary(weft_infer *infer) {
  WEFT_TRY(check_rotary(infer, ROTARY_X, ROTARY_COSINES));
  return weft_infer_output(infer, weft_input_shape(infer, ROTARY_X));
}

/* ---- append ---------------------------------------------------------------------------------- */

/* Numbers of inputs. */
typedef struct append_inputs {
  uint32_t past, added, total, lengths;
} append_inputs;

/* How long the cache is afterwards: past and new, or a total unless the past has room for more. */
static weft_status appended(const weft_infer *infer, uint32_t total_input, weft_dim past,
                            weft_dim added, weft_dim *out) {
  if (!weft_input_has(infer, total_input)) return weft_dim_add(infer, past, added, out);
  int64_t count;
  WEFT_TRY(weft_input_length(infer, total_input, &count));
  if (count >= 0 && count != 1) return weft_infer_fail(infer, "needs one total length");
  weft_dim total = weft_input_element(infer, total_input, 0);
  if (WEFT_DIM_IS_SYMBOL(total) || WEFT_DIM_IS_SYMBOL(past))
    return weft_dim_derive(infer, '^', past, total, out);
  *out = past > total ? past : total;
  if (WEFT_DIM_IS_SYMBOL(added) || added <= total) return WEFT_OK;
  return weft_infer_fail(infer, "a cache of %lld cannot take %lld", (long long)total,
                         (long long)added);
}

/* The shape of the cache afterwards. */
static weft_status append_to(const weft_infer *infer, append_inputs in, weft_shape *out) {
  weft_shape past = *weft_input_shape(infer, in.past);
  *out = *weft_input_shape(infer, in.added);
  if (past.rank < 0 || out->rank < 0) return *out = (weft_shape){.rank = -1}, WEFT_OK;
  bool good = past.rank == 4 && out->rank == 4;
  for (int32_t i = 0; good && i < 4; i++)
    if (i != 2) good = weft_dim_meet(&out->dims[i], past.dims[i]);
  if (!good) {
    return weft_infer_fail(infer, "cannot append %s to a cache %s",
                           WEFT_SHAPE_TEXT(infer, weft_input_shape(infer, in.added)),
                           WEFT_SHAPE_TEXT(infer, &past));
  }
  weft_shape batch = {.rank = 1, .dims = {out->dims[0]}};
  WEFT_TRY(weft_infer_fits(infer, in.lengths, &batch));
  return appended(infer, in.total, past.dims[2], out->dims[2], &out->dims[2]);
}

weft_status weft_infer_append(weft_infer *infer) {
  weft_shape out;
  WEFT_TRY(
      append_to(infer, (append_inputs){.past = 0, .added = 1, .total = 2, .lengths = 3}, &out));
  return weft_infer_output(infer, &out);
}

/* ---- cached_attention ------------------------------------------------------------------------ */

/* One of the caches, an output; gives what is attended to. */
static weft_status infer_cache(weft_infer *infer, uint32_t output, weft_shape *out) {
  append_inputs in = {.past = WEFT_CACHED_PAST_K + output - 1,
                      .added = WEFT_CACHED_K + output - 1,
                      .total = WEFT_CACHED_TOTAL,
                      .lengths = WEFT_CACHED_ENDS};
  WEFT_TRY(append_to(infer, in, out));
  WEFT_TRY(weft_infer_output_at(infer, output, infer->dtype, out, NULL));
  *out = *weft_facts_shape(infer->at, infer->node->outputs[output]);
  if (out->rank == 4 && weft_input_has(infer, WEFT_CACHED_TOTAL))
    out->dims[2] = weft_input_element(infer, WEFT_CACHED_TOTAL, 0);
  return WEFT_OK;
}

weft_status weft_infer_cached_attention(weft_infer *infer) {
  weft_shape k, v;
  if (infer->node->output_count != 3 || !weft_input_has(infer, WEFT_CACHED_PAST_K) ||
      !weft_input_has(infer, WEFT_CACHED_PAST_V))
    return weft_infer_fail(infer, "needs two pasts and three outputs");
  WEFT_TRY(infer_cache(infer, 1, &k));
  WEFT_TRY(infer_cache(infer, 2, &v));
  WEFT_TRY(weft_infer_attended(infer, &k, &v));
  if (!weft_input_has(infer, WEFT_CACHED_COSINES)) return WEFT_OK;
  WEFT_TRY(check_rotary(infer, WEFT_CACHED_Q, WEFT_CACHED_COSINES));
  return check_rotary(infer, WEFT_CACHED_K, WEFT_CACHED_COSINES);
}

/* ---- codes ----------------------------------------------------------------------------------- */

enum { DEQUANTIZE_CODES, DEQUANTIZE_SCALES, DEQUANTIZE_ZEROS };

static weft_dim divide_up(weft_dim dim, int64_t by) {
  return WEFT_DIM_IS_SYMBOL(dim) ? WEFT_DIM_UNKNOWN : dim / by + (dim % by != 0);
}

/* Checks scales or zeros of values of shape `out` against the three forms they may have; `packed`:
 * so many of them share a byte. */
static weft_status check_parameter(const weft_infer *infer, uint32_t input, const weft_shape *out,
                                   int32_t axis, int64_t packed) {
  const weft_shape *shape = weft_input_shape(infer, input);
  int64_t block = infer->node->attributes.dequantize.block;
  if (shape->rank < 0) return WEFT_OK;
  if (shape->rank == 0 || (shape->rank == 1 && shape->dims[0] == 1)) return WEFT_OK;
  weft_shape expected = {.rank = 1, .dims = {out->dims[axis]}};
  if (block > 0) {
    expected = *out;
    expected.dims[axis] = divide_up(out->dims[axis], block);
  }
  weft_dim *last = &expected.dims[expected.rank - 1];
  *last = divide_up(*last, packed);
  bool good = shape->rank == expected.rank;
  for (int32_t i = 0; good && i < shape->rank; i++)
    good = weft_dim_meet(&(weft_dim){expected.dims[i]}, shape->dims[i]);
  return good ? WEFT_OK
              : weft_infer_fail(infer, "input %u is %s, but %s is needed", input,
                                WEFT_SHAPE_TEXT(infer, shape), WEFT_SHAPE_TEXT(infer, &expected));
}

/* The shape of the codes, each counted. Behind them a row may have bytes that nobody reads. */
static weft_status count_codes(const weft_infer *infer, int64_t packed, weft_shape *out) {
  int64_t extent = infer->node->attributes.dequantize.extent;
  if (packed == 1) return WEFT_OK;
  if (out->rank == 0) return weft_infer_fail(infer, "packed codes are a scalar");
  weft_dim bytes = out->dims[out->rank - 1];
  if (!WEFT_DIM_IS_SYMBOL(bytes) && bytes < divide_up(extent, packed))
    return weft_infer_fail(infer, "%lld codes do not lie in %lld bytes", (long long)extent,
                           (long long)bytes);
  out->dims[out->rank - 1] = extent;
  return WEFT_OK;
}

weft_status weft_infer_dequantize(weft_infer *infer) {
  const weft_attributes *a = &infer->node->attributes;
  weft_shape out = *weft_input_shape(infer, DEQUANTIZE_CODES);
  if (out.rank < 0) return weft_infer_output(infer, &out);
  int64_t packed = 8 / (int64_t)a->dequantize.bits;
  WEFT_TRY(count_codes(infer, packed, &out));
  int32_t axis = 0;
  if (out.rank > 0) WEFT_TRY(weft_infer_axis(infer, a->dequantize.axis, out.rank, &axis));
  WEFT_TRY(check_parameter(infer, DEQUANTIZE_SCALES, &out, axis, 1));
  if (weft_input_has(infer, DEQUANTIZE_ZEROS)) {
    weft_dtype zeros = *weft_facts_dtype(infer->at, infer->node->inputs[DEQUANTIZE_ZEROS]);
    bool floats = weft_dtype_is_float(zeros);
    WEFT_TRY(check_parameter(infer, DEQUANTIZE_ZEROS, &out, axis, floats ? 1 : packed));
  }
  return weft_infer_output(infer, &out);
}

weft_status weft_infer_quantize_dynamic(weft_infer *infer) {
  static const weft_shape scalar = {0};
  WEFT_TRY(weft_infer_output(infer, weft_input_shape(infer, 0)));
  if (infer->node->output_count > 1)
    WEFT_TRY(weft_infer_output_at(infer, 1, WEFT_F32, &scalar, NULL));
  if (infer->node->output_count > 2)
    WEFT_TRY(weft_infer_output_at(infer, 2, WEFT_U8, &scalar, NULL));
  return WEFT_OK;
}
