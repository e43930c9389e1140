/* onnx_ops_quantized.c - operators on quantised tensors: codes, with scales and zero points for the
 * whole tensor, along an axis, or for blocks along an axis. Weights of few bits are dequantized in
 * front of a plain product; opt/ and the device turn that into a product on codes. Rows in
 * onnx_ops.inc. */
#include "format/onnx_lower_call.h"

#define NONE WEFT_VALUE_NONE

/* ---- blocks of few bits (com.microsoft) ------------------------------------------------------ */

static int64_t up(int64_t x, int64_t by) {
  return x / by + (x % by != 0);
}

/* A positive size, bounded so that products of a few do not overflow. */
static int64_t size_attribute(weft_call *call, const char *name, int64_t otherwise) {
  int64_t size = weft_call_int(call, name, otherwise);
  if (size > 0 && size <= INT32_MAX) return size;
  weft_call_fail(call, WEFT_INVALID_MODEL, "attribute '%s' is %lld, no size", name,
                 (long long)size);
  return 1;
}

static int64_t bits_attribute(weft_call *call) {
  int64_t bits = weft_call_int(call, "bits", 4);
  if (bits == 2 || bits == 4 || bits == 8) return bits;
  weft_call_fail(call, WEFT_UNSUPPORTED, "codes of %lld bits are not supported", (long long)bits);
  return 8;
}

/* The size of a block; blocks of codes fill bytes. */
static int64_t block_attribute(weft_call *call, int64_t bits, int64_t otherwise) {
  int64_t block = size_attribute(call, "block_size", otherwise);
  if (block * bits % 8 != 0)
    weft_call_fail(call, WEFT_INVALID_MODEL, "a block of %lld codes does not fill bytes",
                   (long long)block);
  return block;
}

/* Zero points as floats are one for each scale; as codes they are packed like these. */
static weft_value_id block_zeros(weft_call *call, weft_value_id zeros, int64_t rows, int64_t blocks,
                                 int64_t bits) {
  if (zeros == NONE) return NONE;
  bool floats = weft_dtype_is_float(weft_call_dtype(call, zeros));
  weft_shape shape = {.rank = 2, .dims = {rows, floats ? blocks : up(blocks * bits, 8)}};
  return weft_call_in_shape(call, zeros, "zero points", &shape);
}

static void check_float(weft_call *call, weft_value_id x, const char *input) {
  weft_dtype dtype = weft_call_dtype(call, x);
  if (call->status == WEFT_OK && !weft_dtype_is_float(dtype))
    weft_call_fail(call, WEFT_INVALID_MODEL, "its %s are %s, but a float is needed", input,
                   weft_dtype_name(dtype));
}

static weft_value_id dequantize(weft_call *call, const weft_attributes *attributes,
                                weft_value_id codes, weft_value_id scales, weft_value_id zeros) {
  return WEFT_CALL_NODE(call, WEFT_OP_DEQUANTIZE, attributes, codes, scales, zeros);
}

/* B of MatMulNBits, [N,K]: codes [N, blocks, bytes of a block], scales [N, blocks]. */
static weft_value_id block_weight(weft_call *call, int64_t k, int64_t n) {
  int64_t bits = bits_attribute(call), block = block_attribute(call, bits, 0);
  int64_t blocks = up(k, block), row = blocks * (block * bits / 8);
  weft_dtype dtype = weft_call_dtype(call, weft_call_input(call, 0));
  check_float(call, weft_call_input(call, 0), "rows");
  check_float(call, weft_call_input(call, 2), "scales");
  weft_attributes attributes = {.dequantize = {.dtype = dtype,
                                               .bits = (uint32_t)bits,
                                               .axis = 1,
                                               .zero = 1 << (bits - 1),
                                               .block = block,
                                               .extent = k}};
  weft_shape codes_shape = {.rank = 2, .dims = {n, row}};
  weft_shape scales_shape = {.rank = 2, .dims = {n, blocks}};
  weft_value_id codes = weft_call_in_shape(call, weft_call_input(call, 1), "codes", &codes_shape);
  if (bits == 8 && row != k) codes = weft_call_slice(call, codes, 1, 0, k, 1);
  weft_value_id scales =
      weft_call_in_shape(call, weft_call_input(call, 2), "scales", &scales_shape);
  weft_value_id zeros = block_zeros(call, weft_call_input(call, 3), n, blocks, bits);
  return dequantize(call, &attributes, codes, weft_call_cast(call, scales, dtype), zeros);
}

/* A B^T + bias. Without an accuracy level the runtime may choose how A is held, as with level 4. */
void weft_onnx_matmul_nbits(weft_call *call) {
  int64_t k = size_attribute(call, "K", 0), n = size_attribute(call, "N", 0);
  int64_t level = weft_call_int(call, "accuracy_level", 0);
  if (weft_call_int(call, "weight_prepacked", 0) != 0)
    weft_call_fail(call, WEFT_UNSUPPORTED, "its weight is packed for another device");
  if (weft_call_input(call, 4) != NONE)
    weft_call_fail(call, WEFT_UNSUPPORTED, "rows in groups of their own (g_idx) are not supported");
  weft_value_id b = weft_call_swap_last(call, block_weight(call, k, n));
  weft_attributes attributes = {.matmul = {.int8_rows = level == 0 || level == 4}};
  weft_value_id y = WEFT_CALL_NODE(call, WEFT_OP_MATMUL, &attributes, weft_call_input(call, 0), b);
  weft_value_id bias = weft_call_input(call, 5);
  weft_call_output(call, 0, bias == NONE ? y : weft_call_map2(call, WEFT_EXPR_ADD, y, bias));
}

/* The rows asked for are gathered as codes, and only they become numbers. */
void weft_onnx_gather_block_quantized(weft_call *call) {
  int64_t bits = bits_attribute(call), block = block_attribute(call, bits, 128);
  weft_value_id data = weft_call_input(call, 0), scales = weft_call_input(call, 2);
  weft_value_id indices = weft_call_input(call, 1), zeros = weft_call_input(call, 3);
  check_float(call, scales, "scales");
  uint32_t rank = weft_call_rank(call, data);
  int32_t gathered = weft_call_axis(call, "gather_axis", 0);
  int32_t quantized = weft_call_axis(call, "quantize_axis", 1);
  if (weft_call_positive_axis(call, gathered, rank) != 0 ||
      weft_call_positive_axis(call, quantized, rank) != rank - 1 || rank < 2)
    weft_call_fail(call, WEFT_UNSUPPORTED,
                   "only rows, quantized along the last axis, are gathered");
  if (weft_call_dtype(call, data) != WEFT_U8)
    weft_call_fail(call, WEFT_UNSUPPORTED, "codes of type %s are not supported",
                   weft_dtype_name(weft_call_dtype(call, data)));
  if (call->status != WEFT_OK) return;
  weft_dim bytes = weft_call_shape(call, data)->dims[rank - 1];
  if (WEFT_DIM_IS_SYMBOL(bytes))
    weft_call_fail(call, WEFT_UNSUPPORTED, "the length of its rows must be known at load");
  weft_attributes attributes = {.dequantize = {.dtype = weft_call_dtype(call, scales),
                                               .bits = (uint32_t)bits,
                                               .axis = -1,
                                               .zero = 1 << (bits - 1),
                                               .block = block,
                                               .extent = bytes * (8 / bits)}};
  weft_value_id codes = weft_call_gather(call, 0, data, indices);
  scales = weft_call_gather(call, 0, scales, indices);
  if (zeros != NONE) zeros = weft_call_gather(call, 0, zeros, indices);
  weft_call_output(call, 0, dequantize(call, &attributes, codes, scales, zeros));
}

/* ---- scales of the standard operators -------------------------------------------------------- */

/* How scales and zero points lie along x: one for all, along an axis, or for blocks of it. */
typedef struct grid {
  weft_value_id x;
  uint32_t rank, axis; /* of x */
  int64_t block;       /* 0: none */
  bool single;
} grid;

static bool is_single(weft_call *call, weft_value_id x) {
  const weft_shape *shape = weft_call_shape(call, x);
  return shape->rank == 0 || (shape->rank == 1 && shape->dims[0] == 1);
}

static grid read_grid(weft_call *call, weft_value_id x, weft_value_id scales) {
  grid g = {.x = x, .single = is_single(call, scales)};
  int32_t axis = weft_call_axis(call, "axis", 1);
  g.block = weft_call_int(call, "block_size", 0);
  if (g.block < 0 || g.block > INT32_MAX)
    weft_call_fail(call, WEFT_INVALID_MODEL, "attribute 'block_size' is %lld, no size",
                   (long long)g.block);
  weft_call_rank(call, scales); /* must be known */
  g.rank = weft_call_rank(call, x);
  if (!g.single) g.axis = weft_call_positive_axis(call, axis, g.rank);
  return g;
}

/* [d0, blocks, d2] -> [d0, blocks * block, d2], cut where the last block is not full. */
static weft_value_id repeat_blocks(weft_call *call, const grid *g, weft_value_id parameter) {
  int64_t times[WEFT_RANK_MAX + 1], joined[WEFT_RANK_MAX] = {0};
  for (uint32_t i = 0; i <= g->rank; ++i) times[i] = i == g->axis + 1 ? g->block : 1;
  joined[g->axis] = -1;
  if (g->rank == WEFT_RANK_MAX) {
    weft_call_fail(call, WEFT_UNSUPPORTED, "blocks of a tensor of rank %u are not supported",
                   g->rank);
    return NONE;
  }
  weft_value_id y =
      weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_one(g->axis + 1), parameter);
  y = weft_call_expand(call, y, weft_call_integers(call, times, (int32_t)g->rank + 1));
  weft_value_id front = weft_call_integers(call, joined, (int32_t)g->axis + 1);
  const weft_value_id shape[] = {front, weft_call_dims(call, parameter, g->axis + 1, g->rank)};
  y = weft_call_reshape(call, y, weft_call_concat(call, 0, shape, 2));
  return weft_call_slice_to(call, y, g->axis, weft_call_dims(call, g->x, g->axis, g->axis + 1));
}

/* Scales or zero points in a shape that broadcasts to x. */
static weft_value_id spread(weft_call *call, const grid *g, weft_value_id parameter) {
  if (parameter == NONE || g->single) return parameter;
  if (g->block > 0) return repeat_blocks(call, g, parameter);
  if (g->axis + 1 >= g->rank) return parameter;
  return weft_call_view(call, WEFT_VIEW_UNSQUEEZE, weft_axes_range(1, g->rank - g->axis),
                        parameter);
}

/* ---- QuantizeLinear, DequantizeLinear -------------------------------------------------------- */

static bool is_code(weft_dtype dtype) {
  return dtype == WEFT_U8 || dtype == WEFT_I8 || dtype == WEFT_U16 || dtype == WEFT_I16;
}

/* round(x / scale) + zero, to the nearest code; a tie goes to the even one. Scale and zero
 * broadcast to x; the division is of type `precision`. */
static weft_value_id quantize(weft_call *call, weft_value_id x, weft_value_id scale,
                              weft_value_id zero, weft_dtype dtype, weft_dtype precision) {
  if (!is_code(dtype)) {
    weft_call_fail(call, WEFT_UNSUPPORTED, "codes of type %s are not supported",
                   weft_dtype_name(dtype));
    return NONE;
  }
  x = weft_call_cast(call, x, precision);
  scale = weft_call_cast(call, scale, precision);
  const weft_value_id inputs[] = {x, scale, zero};
  weft_formula f = weft_formula_begin(call, inputs, zero == NONE ? 2 : 3);
  uint32_t y = F2(DIV, 0, 1);
  if (precision != WEFT_F32) y = weft_formula_cast(&f, y, WEFT_F32);
  y = F1(ROUND, y);
  if (zero != NONE) y = F2(ADD, y, weft_formula_cast(&f, 2, WEFT_F32));
  bool has_sign = dtype == WEFT_I8 || dtype == WEFT_I16;
  double count = weft_dtype_size(dtype) == 1 ? 256 : 65536, low = has_sign ? -count / 2 : 0;
  y = F2(MAX, y, weft_formula_constant(&f, WEFT_F32, low));
  y = F2(MIN, y, weft_formula_constant(&f, WEFT_F32, low + count - 1));
  weft_formula_cast(&f, y, dtype);
  return weft_formula_end(&f);
}

void weft_onnx_quantize_linear(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0), scale = weft_call_input(call, 1);
  weft_value_id zero = weft_call_input(call, 2);
  weft_dtype dtype = weft_call_int(call, "output_dtype", 0) == 0
                         ? WEFT_U8
                         : weft_call_type(call, "output_dtype", WEFT_U8);
  if (zero != NONE) dtype = weft_call_dtype(call, zero);
  weft_dtype precision = weft_call_int(call, "precision", 0) == 0
                             ? weft_call_dtype(call, scale)
                             : weft_call_type(call, "precision", WEFT_F32);
  weft_call_ignore(call, "saturate"); /* of 8-bit floats */
  grid g = read_grid(call, x, scale);
  scale = spread(call, &g, scale);
  zero = spread(call, &g, zero);
  weft_call_output(call, 0, quantize(call, x, scale, zero, dtype, precision));
}

/* (x - zero) scale for codes of 16 bits, which the core op does not have. */
static weft_value_id dequantize_wide(weft_call *call, const grid *g, weft_value_id scale,
                                     weft_value_id zero) {
  weft_dtype dtype = weft_call_dtype(call, scale);
  zero = spread(call, g, zero);
  const weft_value_id inputs[] = {g->x, spread(call, g, scale), zero};
  weft_formula f = weft_formula_begin(call, inputs, zero == NONE ? 2 : 3);
  uint32_t y = weft_formula_cast(&f, 0, WEFT_F32);
  if (zero != NONE) y = F2(SUB, y, weft_formula_cast(&f, 2, WEFT_F32));
  F2(MUL, weft_formula_cast(&f, y, dtype), 1);
  return weft_formula_end(&f);
}

static weft_value_id dequantize_grid(weft_call *call, const grid *g, weft_value_id scale,
                                     weft_value_id zero) {
  weft_dtype codes = weft_call_dtype(call, g->x);
  if (codes == WEFT_U16 || codes == WEFT_I16) return dequantize_wide(call, g, scale, zero);
  if (codes != WEFT_I32 && !is_code(codes))
    weft_call_fail(call, WEFT_UNSUPPORTED, "codes of type %s are not supported",
                   weft_dtype_name(codes));
  weft_attributes attributes = {.dequantize = {.dtype = weft_call_dtype(call, scale),
                                               .bits = 8,
                                               .axis = (int32_t)g->axis,
                                               .block = g->single ? 0 : g->block}};
  return dequantize(call, &attributes, g->x, scale, zero);
}

/* Signed codes of 4 bits as unsigned ones, 8 more; opt/ folds it. */
static weft_value_id without_sign(weft_call *call, weft_value_id nibbles) {
  if (nibbles == NONE) return NONE;
  weft_formula f = WEFT_FORMULA(call, nibbles);
  F2(XOR, 0, NUMBER(0x88));
  return weft_formula_end(&f);
}

/* Codes of 4 bits; g is that of the codes as bytes. */
static weft_value_id dequantize_nibbles(weft_call *call, const grid *g, bool has_sign,
                                        weft_value_id scale, weft_value_id zero) {
  bool zero_sign;
  if (zero != NONE && (!weft_call_is_nibbles(call, zero, &zero_sign) || zero_sign != has_sign))
    weft_call_fail(call, WEFT_INVALID_MODEL, "its codes and zero points are of different types");
  if (g->rank < 2) /* a list may end in half a byte */
    weft_call_fail(call, WEFT_UNSUPPORTED, "codes of 4 bits of rank %u are not supported", g->rank);
  if (call->status != WEFT_OK) return NONE;
  weft_attributes attributes = {
      .dequantize = {.dtype = weft_call_dtype(call, scale),
                     .bits = 4,
                     .axis = (int32_t)g->axis,
                     .zero = has_sign ? 8 : 0,
                     .block = g->single ? 0 : g->block,
                     .extent = 2 * weft_call_shape(call, g->x)->dims[g->rank - 1]}};
  weft_value_id codes = has_sign ? without_sign(call, g->x) : g->x;
  if (has_sign) zero = without_sign(call, zero);
  return dequantize(call, &attributes, codes, scale, zero);
}

void weft_onnx_dequantize_linear(weft_call *call) {
  weft_value_id x = weft_call_input(call, 0), scale = weft_call_input(call, 1);
  weft_dtype dtype = weft_call_int(call, "output_dtype", 0) == 0
                         ? weft_call_dtype(call, scale)
                         : weft_call_type(call, "output_dtype", WEFT_F32);
  grid g = read_grid(call, x, scale);
  weft_value_id zero = weft_call_input(call, 2);
  bool has_sign;
  weft_value_id y = weft_call_is_nibbles(call, x, &has_sign)
                        ? dequantize_nibbles(call, &g, has_sign, scale, zero)
                        : dequantize_grid(call, &g, scale, zero);
  weft_call_output(call, 0, weft_call_cast(call, y, dtype));
}

/* ---- products -------------------------------------------------------------------------------- */

void weft_onnx_dynamic_quantize_linear(weft_call *call) {
  weft_value_id outputs[3];
  weft_call_node_outputs(call, WEFT_OP_QUANTIZE_DYNAMIC, NULL, call->inputs, 1, outputs, 3);
  for (uint32_t i = 0; i < 3; ++i) weft_call_output(call, i, outputs[i]);
}

static weft_value_id matmul_integer(weft_call *call, weft_value_id a, weft_value_id b,
                                    weft_value_id a_zero, weft_value_id b_zero) {
  if (weft_call_shape(call, a_zero)->rank > 1 || weft_call_shape(call, b_zero)->rank > 1)
    weft_call_fail(call, WEFT_UNSUPPORTED, "zero points of more than one axis are not supported");
  return WEFT_CALL_NODE(call, WEFT_OP_MATMUL_INTEGER, NULL, a, b, a_zero, b_zero);
}

void weft_onnx_matmul_integer(weft_call *call) {
  weft_call_output(call, 0,
                   matmul_integer(call, weft_call_input(call, 0), weft_call_input(call, 1),
                                  weft_call_input(call, 2), weft_call_input(call, 3)));
}

/* One operand of QLinearMatMul as numbers: a scale for all, or for each row of A or column of B,
 * which lie `back` axes from the end. */
static weft_value_id linear_operand(weft_call *call, uint32_t first, uint32_t back) {
  weft_value_id x = weft_call_input(call, first), scale = weft_call_input(call, first + 1);
  grid g = {.x = x, .rank = weft_call_rank(call, x), .single = is_single(call, scale)};
  if (weft_call_rank(call, scale) > 1)
    weft_call_fail(call, WEFT_UNSUPPORTED, "scales of more than one axis are not supported");
  g.axis = g.rank < back ? 0 : g.rank - back;
  return dequantize_grid(call, &g, scale, weft_call_input(call, first + 2));
}

enum { LINEAR_A = 0, LINEAR_B = 3, LINEAR_SCALE = 6, LINEAR_ZERO = 7 };

void weft_onnx_qlinear_matmul(weft_call *call) {
  weft_value_id a = linear_operand(call, LINEAR_A, 2), b = linear_operand(call, LINEAR_B, 1);
  weft_value_id y = weft_call_matmul(call, a, b);
  weft_value_id scale = weft_call_input(call, LINEAR_SCALE);
  weft_value_id zero = weft_call_input(call, LINEAR_ZERO);
  if (!is_single(call, scale))
    weft_call_fail(call, WEFT_UNSUPPORTED, "a result with more than one scale is not supported");
  weft_call_output(
      call, 0,
      quantize(call, y, scale, zero, weft_call_dtype(call, zero), weft_call_dtype(call, y)));
}

/* The product of codes as numbers, spelled as exporters do: cast, scaled, with a bias. */
static weft_value_id scaled_product(weft_call *call, weft_value_id product, weft_value_id a_scale,
                                    weft_value_id b_scale, weft_value_id bias) {
  weft_value_id scale = weft_call_map2(call, WEFT_EXPR_MUL, a_scale, b_scale);
  weft_value_id y = weft_call_cast(call, product, WEFT_F32);
  y = weft_call_map2(call, WEFT_EXPR_MUL, y, scale);
  return bias == NONE ? y : weft_call_map2(call, WEFT_EXPR_ADD, y, bias);
}

/* com.microsoft: A, B, scale of B [, zero of B [, bias]], A in numbers. */
void weft_onnx_dynamic_quantize_matmul(weft_call *call) {
  weft_value_id a[3];
  weft_call_node_outputs(call, WEFT_OP_QUANTIZE_DYNAMIC, NULL, call->inputs, 1, a, 3);
  weft_value_id product =
      matmul_integer(call, a[0], weft_call_input(call, 1), a[2], weft_call_input(call, 3));
  weft_call_output(
      call, 0,
      scaled_product(call, product, a[1], weft_call_input(call, 2), weft_call_input(call, 4)));
}

/* com.microsoft: A, B, scale of A, of B [, zero of A [, of B [, bias]]]. */
void weft_onnx_matmul_integer_to_float(weft_call *call) {
  weft_value_id product = matmul_integer(call, weft_call_input(call, 0), weft_call_input(call, 1),
                                         weft_call_input(call, 4), weft_call_input(call, 5));
  weft_call_output(call, 0,
                   scaled_product(call, product, weft_call_input(call, 2), weft_call_input(call, 3),
                                  weft_call_input(call, 6)));
}
