/* infer_decoder.c - shapes of the ops that language models and quantised models add: rotary,
 * append, dequantize, quantize_dynamic, matmul_integer. Types are in check.c. */
#include "graph/infer.h"

/* ---- rotary ---------------------------------------------------------------------------------- */

enum { ROTARY_X, ROTARY_COSINES, ROTARY_SINES, ROTARY_POSITIONS };

/* The last dimension of x against that of the cosines, which is half of what is turned. */
static bool fits_turned(weft_dim size, weft_dim half) {
  return WEFT_DIM_IS_SYMBOL(size) || WEFT_DIM_IS_SYMBOL(half) || (half > 0 && half <= size / 2);
}

weft_status weft_infer_rotary(weft_infer *infer) {
  weft_shape x = *weft_input_shape(infer, ROTARY_X);
  weft_shape cosines = *weft_input_shape(infer, ROTARY_COSINES);
  const weft_shape *sines = weft_input_shape(infer, ROTARY_SINES);
  if (x.rank < 0 || cosines.rank < 0 || sines->rank < 0) return weft_infer_output(infer, &x);
  bool by_position = weft_input_has(infer, ROTARY_POSITIONS);
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
  if (by_position) {
    WEFT_TRY(weft_infer_fits(infer, ROTARY_POSITIONS, &rows));
  } else {
    WEFT_TRY(weft_infer_fits(infer, ROTARY_COSINES, &angles));
  }
  return weft_infer_output(infer, &x);
}

/* ---- append ---------------------------------------------------------------------------------- */

enum { APPEND_PAST, APPEND_NEW, APPEND_TOTAL, APPEND_LENGTHS };

/* How long the cache is afterwards: past and new, or a total unless the past has room for more. */
static weft_status appended(const weft_infer *infer, weft_dim past, weft_dim added, weft_dim *out) {
  if (!weft_input_has(infer, APPEND_TOTAL)) return weft_dim_add(infer, past, added, out);
  int64_t count;
  WEFT_TRY(weft_input_length(infer, APPEND_TOTAL, &count));
  if (count >= 0 && count != 1) return weft_infer_fail(infer, "needs one total length");
  weft_dim total = weft_input_element(infer, APPEND_TOTAL, 0);
  if (WEFT_DIM_IS_SYMBOL(total) || WEFT_DIM_IS_SYMBOL(past))
    return weft_dim_derive(infer, '^', past, total, out);
  *out = past > total ? past : total;
  if (WEFT_DIM_IS_SYMBOL(added) || added <= total) return WEFT_OK;
  return weft_infer_fail(infer, "a cache of %lld cannot take %lld", (long long)total,
                         (long long)added);
}

weft_status weft_infer_append(weft_infer *infer) {
  weft_shape past = *weft_input_shape(infer, APPEND_PAST);
  weft_shape out = *weft_input_shape(infer, APPEND_NEW);
  if (past.rank < 0 || out.rank < 0) return weft_infer_output(infer, &(weft_shape){.rank = -1});
  bool good = past.rank == 4 && out.rank == 4;
  for (int32_t i = 0; good && i < 4; i++)
    if (i != 2) good = weft_dim_meet(&out.dims[i], past.dims[i]);
  if (!good) {
    return weft_infer_fail(infer, "cannot append %s to a cache %s",
                           WEFT_SHAPE_TEXT(infer, weft_input_shape(infer, APPEND_NEW)),
                           WEFT_SHAPE_TEXT(infer, &past));
  }
  weft_shape batch = {.rank = 1, .dims = {out.dims[0]}};
  WEFT_TRY(weft_infer_fits(infer, APPEND_LENGTHS, &batch));
  WEFT_TRY(appended(infer, past.dims[2], out.dims[2], &out.dims[2]));
  return weft_infer_output(infer, &out);
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
