/* Tests of the rewrites of quantised graphs: opt/fuse_quantized.c, opt/gather_codes.c; and of what
 * opt/fold_constants.c, opt/fuse_epilogues.c, opt/merge_matmuls.c and opt/pack_weights.c do with
 * weights of few bits. */
#include "tests/unit/opt_build.h"

/* ---- building -------------------------------------------------------------------------------- */

/* A constant of bytes. */
static weft_value_id codes(fixture *f, weft_dtype dtype, const char *shape_text, uint64_t seed) {
  weft_shape shape = parse_shape(f, shape_text);
  uint64_t elements = 0, state = seed * 31 + 7;
  CHECK_OK(weft_shape_elements(&shape, &elements, &f->error), &f->error);
  weft_buffer *data = weft_buffer_new(&f->heap, elements);
  for (uint64_t i = 0; i < elements; i++) data->data[i] = (uint8_t)(check_random(&state) >> 30);
  weft_value_id id = NONE;
  CHECK_OK(weft_graph_add_constant(&f->graph, WEFT_STR(""), dtype, &shape, data, &id, &f->error),
           &f->error);
  return id;
}

static weft_value_id op_dequantize(fixture *f, weft_value_id code, weft_value_id scale,
                                   weft_value_id zero, uint32_t bits, int32_t axis, int64_t block,
                                   int64_t extent) {
  weft_attributes attributes = {.dequantize = {.dtype = WEFT_F32,
                                               .bits = bits,
                                               .axis = axis,
                                               .block = block,
                                               .zero = 1 << (bits - 1),
                                               .extent = extent}};
  weft_value_id inputs[] = {code, scale, zero};
  return op_add_node(f, WEFT_OP_DEQUANTIZE, inputs, zero == NONE ? 2 : 3, &attributes);
}

/* [64,n] of 4 bits in blocks of 32, as MatMulNBits has it. */
static weft_value_id nbits_weight(fixture *f, const char *codes_shape, const char *scales_shape,
                                  uint64_t seed) {
  weft_value_id w = op_dequantize(f, codes(f, WEFT_U8, codes_shape, seed),
                                  weight(f, scales_shape, seed), NONE, 4, 1, 32, 64);
  return op_transpose(f, w, "10");
}

/* quantize_dynamic(x): codes, scale, zero. */
static void op_quantize(fixture *f, weft_value_id x, weft_value_id out[3]) {
  weft_node *node = NULL;
  CHECK_OK(weft_graph_add_node(&f->graph, 0, WEFT_OP_QUANTIZE_DYNAMIC, WEFT_STR("q"),
                               WEFT_STR("DynamicQuantizeLinear"), &x, 1, 3, &node, &f->error),
           &f->error);
  memcpy(out, node->outputs, 3 * sizeof *out);
  finish(f, node);
}

static weft_value_id op_integer(fixture *f, const weft_value_id q[3], weft_value_id w,
                                weft_value_id zero) {
  weft_value_id inputs[] = {q[0], w, q[2], zero};
  return op_cast(f, op_add_node(f, WEFT_OP_MATMUL_INTEGER, inputs, zero == NONE ? 3 : 4, NULL),
                 WEFT_F32);
}

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,64]");
}

/* ---- applying -------------------------------------------------------------------------------- */

static float largest_difference(const run_result *a, const run_result *b, float *scale) {
  float largest = 0;
  *scale = 0;
  for (uint64_t k = 0; k + 4 <= a->bytes[0]; k += 4) {
    float x, y;
    memcpy(&x, a->data[0] + k, 4);
    memcpy(&y, b->data[0] + k, 4);
    float difference = x < y ? y - x : x - y, size = x < 0 ? -x : x;
    if (!(difference <= largest)) largest = difference;
    if (size > *scale) *scale = size;
  }
  return largest;
}

/* As apply_at, but rows may be rounded to 8 bits in another way: results within 2 % of the largest.
 */
static void apply_rounded(fixture *f, weft_pass_fn *pass, weft_value_id y, const char *expected) {
  char nodes[1024];
  run_result before, after;
  machine m;
  mark_output(f, 0, y);
  machine_open(&m, f, "reference");
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_graph_verify(&f->graph, &f->error), &f->error);
  run_graph(&m, &f->graph, &before);
  CHECK_OK(pass(&f->graph, &context, &f->error), &f->error);
  CHECK_OK(weft_pass_remove_dead(&f->graph, &context, &f->error), &f->error);
  CHECK_OK(weft_graph_verify(&f->graph, &f->error), &f->error);
  CHECK_TEXT(list_nodes(&f->graph, nodes, sizeof nodes), expected);
  run_graph(&m, &f->graph, &after);
  float scale, difference = largest_difference(&before, &after, &scale);
  CHECK(difference <= 0.02f * scale && scale > 0);
  release_result(&before);
  release_result(&after);
  machine_close(&m);
  fixture_close(f);
}

static weft_status fuse_and_pack(weft_graph *graph, const weft_opt_context *context,
                                 weft_error *error) {
  return weft_opt_run(graph, context, NULL, error);
}

/* ---- integer graphs -------------------------------------------------------------------------- */

static const char fused[] = "dequantize; matmul; ";

/* u8 and i8, with and without a zero, for the tensor and for each column. */
static void test_dynamic(void) {
  for (int variant = 0; variant < 12; variant++) {
    fixture f;
    weft_value_id x = start(&f), q[3];
    weft_dtype dtype = variant % 2 ? WEFT_I8 : WEFT_U8;
    const char *shape = variant % 4 < 2 ? "[]" : "[24]";
    op_quantize(&f, x, q);
    weft_value_id zero = variant < 4 ? NONE : codes(&f, dtype, variant < 8 ? "[]" : shape, 5);
    weft_value_id product = op_integer(&f, q, codes(&f, dtype, "[64,24]", 1), zero);
    weft_value_id scale = op_binary(&f, MUL, q[1], weight(&f, shape, 3));
    apply_rounded(&f, weft_pass_fuse_quantized, op_binary(&f, MUL, product, scale), fused);
  }
}

/* The same factors, grouped and shaped in other ways. */
static void test_spellings(void) {
  fixture f;
  weft_value_id x = start(&f), q[3];
  op_quantize(&f, x, q);
  weft_value_id product = op_integer(&f, q, codes(&f, WEFT_U8, "[64,24]", 1), NONE);
  weft_value_id y = op_binary(&f, MUL, q[1], op_binary(&f, MUL, weight(&f, "[24]", 2), product));
  apply_rounded(&f, weft_pass_fuse_quantized, y, fused);
  x = start(&f);
  op_quantize(&f, x, q);
  product = op_integer(&f, q, codes(&f, WEFT_U8, "[64,24]", 1), NONE);
  weft_attributes unsqueeze = {.view = {.kind = WEFT_VIEW_UNSQUEEZE, .axes = axes_of("0")}};
  weft_value_id scale = op_binary(&f, MUL, q[1], weight(&f, "[24]", 2));
  scale = op_add_node(&f, WEFT_OP_VIEW, &scale, 1, &unsqueeze);
  apply_rounded(&f, weft_pass_fuse_quantized, op_binary(&f, MUL, scale, product), fused);
  x = start(&f);
  op_quantize(&f, x, q);
  product = op_integer(&f, q, codes(&f, WEFT_U8, "[64,24]", 1), NONE);
  scale = op_binary(&f, MUL, weight(&f, "[1,24]", 2), q[1]);
  apply_rounded(&f, weft_pass_fuse_quantized, op_binary(&f, MUL, scale, product), fused);
}

/* Whatever is not that pattern keeps its exact meaning. */
static void test_what_stays_integer(void) {
  fixture f; /* another scale than the activation's own */
  weft_value_id x = start(&f), q[3], r[3];
  op_quantize(&f, x, q);
  op_quantize(&f, op_unary(&f, ABS, x), r);
  weft_value_id product = op_integer(&f, q, codes(&f, WEFT_U8, "[64,24]", 1), NONE);
  weft_value_id scale = op_binary(&f, MUL, r[1], weight(&f, "[24]", 2));
  APPLY(&f, fuse_quantized, op_binary(&f, MUL, product, scale),
        "quantize_dynamic; abs(x0); quantize_dynamic; matmul_integer; f32(x0); mul(x0, x1); "
        "mul(x0, x1); ");
  x = start(&f); /* a weight that is computed */
  op_quantize(&f, x, q);
  op_quantize(&f, tensor(&f, "f32[64,24]"), r);
  product = op_integer(&f, q, r[0], NONE);
  APPLY(&f, fuse_quantized, op_binary(&f, MUL, product, op_binary(&f, MUL, q[1], scalar(&f, 2, 0))),
        "quantize_dynamic; quantize_dynamic; matmul_integer; f32(x0); mul(x0, x1); "
        "mul(x0, x1); ");
  x = start(&f); /* no scale of the weight */
  op_quantize(&f, x, q);
  product = op_integer(&f, q, codes(&f, WEFT_U8, "[64,24]", 1), NONE);
  APPLY(&f, fuse_quantized, op_binary(&f, MUL, product, q[1]),
        "quantize_dynamic; matmul_integer; f32(x0); mul(x0, x1); ");
}

/* All rewrites: bias goes into the product, and products of one input become one. */
static void test_dynamic_whole(void) {
  fixture f;
  weft_value_id x = start(&f), q[3], last = NONE;
  op_quantize(&f, x, q);
  for (uint64_t i = 0; i < 3; i++) {
    weft_dtype dtype = i == 1 ? WEFT_I8 : WEFT_U8;
    weft_value_id product =
        op_integer(&f, q, codes(&f, dtype, "[64,24]", i), codes(&f, dtype, "[]", 9 + i));
    weft_value_id scale = op_binary(&f, MUL, q[1], weight(&f, i == 2 ? "[24]" : "[]", i));
    weft_value_id y =
        op_binary(&f, ADD, op_binary(&f, MUL, product, scale), weight(&f, "[24]", 20 + i));
    if (i < 2) mark_output(&f, 0, y);
    last = y;
  }
  apply_rounded(&f, fuse_and_pack, last, "matmul{add(x0, x1)}; split; split; split; ");
}

/* Both sides of codes: the map of the activation stays, rows may be rounded. */
static void test_qdq(void) {
  fixture f;
  weft_value_id x = start(&f);
  weft_value_id left = op_dequantize(&f, op_cast(&f, op_unary(&f, ROUND, x), WEFT_I8),
                                     scalar(&f, 1, 0), codes(&f, WEFT_I8, "[]", 3), 8, 0, 0, 0);
  weft_value_id w =
      op_dequantize(&f, codes(&f, WEFT_I8, "[64,24]", 1), weight(&f, "[24]", 2), NONE, 8, 1, 0, 0);
  weft_value_id y = op_matmul(&f, left, w);
  weft_node_id node = f.graph.values[y].producer;
  machine m;
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  mark_output(&f, 0, y);
  CHECK_OK(weft_pass_fuse_quantized(&f.graph, &context, &f.error), &f.error);
  CHECK(f.graph.nodes[node].attributes.matmul.int8_rows);
  machine_close(&m);
  fixture_close(&f);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void test_gather(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id rows = tensor(&f, "i64[batch,2]");
  weft_value_id table = op_dequantize(&f, codes(&f, WEFT_U8, "[50,16]", 1), scalar(&f, 0.5f, 0),
                                      codes(&f, WEFT_U8, "[]", 2), 8, 0, 0, 0);
  APPLY(&f, gather_codes, op_add_node(&f, WEFT_OP_GATHER, IDS(table, rows), NULL),
        "gather; dequantize; ");
  fixture_open(&f);
  rows = tensor(&f, "i64[batch,2]");
  table = op_dequantize(&f, codes(&f, WEFT_U8, "[50,32]", 1), weight(&f, "[50,2]", 2),
                        codes(&f, WEFT_U8, "[50,1]", 3), 4, 1, 32, 64);
  APPLY(&f, gather_codes, op_add_node(&f, WEFT_OP_GATHER, IDS(table, rows), NULL),
        "gather; gather; gather; dequantize; ");
}

static void test_what_is_not_gathered(void) {
  fixture f; /* a scale for each row */
  fixture_open(&f);
  weft_value_id rows = tensor(&f, "i64[batch,2]");
  weft_value_id table =
      op_dequantize(&f, codes(&f, WEFT_U8, "[50,16]", 1), weight(&f, "[50]", 2), NONE, 8, 0, 0, 0);
  APPLY(&f, gather_codes, op_add_node(&f, WEFT_OP_GATHER, IDS(table, rows), NULL),
        "dequantize; gather; ");
}

/* ---- weights of few bits in the other rewrites ----------------------------------------------- */

/* Codes stay codes where a matmul reads them; elsewhere small ones are folded. */
static void test_fold_keeps_codes(void) {
  fixture f;
  weft_value_id x = start(&f), w = nbits_weight(&f, "[24,32]", "[24,2]", 1);
  weft_value_id bias =
      op_dequantize(&f, codes(&f, WEFT_I8, "[24]", 2), scalar(&f, 0.1f, 0), NONE, 8, 0, 0, 0);
  APPLY(&f, fold_constants, op_binary(&f, ADD, op_matmul(&f, x, w), bias),
        "dequantize; transpose; matmul; add(x0, x1); ");
}

#define weft_pass_merge weft_pass_merge_matmuls

static void test_merge(void) {
  fixture f;
  weft_value_id x = start(&f);
  mark_output(&f, 0, op_matmul(&f, x, nbits_weight(&f, "[24,32]", "[24,2]", 1)));
  mark_output(&f, 0, op_matmul(&f, x, nbits_weight(&f, "[5,32]", "[5,2]", 2)));
  APPLY(&f, merge, op_matmul(&f, x, nbits_weight(&f, "[16,32]", "[16,2]", 3)),
        "dequantize; transpose; dequantize; transpose; dequantize; transpose; concat; matmul; "
        "split; split; split; ");
}

/* Other bits, another permission to round, a weight that others read. */
static void test_what_is_not_merged(void) {
  fixture f;
  weft_value_id x = start(&f), shared = nbits_weight(&f, "[24,32]", "[24,2]", 1);
  weft_attributes rounds = {.matmul = {.int8_rows = true}};
  weft_value_id y = op_matmul(&f, x, shared);
  weft_value_id wide =
      op_dequantize(&f, codes(&f, WEFT_U8, "[64,24]", 1), scalar(&f, 0.1f, 0), NONE, 8, 1, 0, 0);
  y = op_binary(&f, ADD, y, op_matmul(&f, x, wide));
  y = op_binary(&f, ADD, y, op_matmul(&f, op_unary(&f, ABS, x), shared));
  weft_value_id inputs[] = {x, nbits_weight(&f, "[24,32]", "[24,2]", 5)};
  y = op_binary(&f, ADD, y, op_add_node(&f, WEFT_OP_MATMUL, inputs, 2, &rounds));
  machine m;
  char before[1024], after[1024];
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  mark_output(&f, 0, y);
  list_nodes(&f.graph, before, sizeof before);
  CHECK_OK(weft_pass_merge_matmuls(&f.graph, &context, &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, after, sizeof after), before);
  machine_close(&m);
  fixture_close(&f);
}

/* A table that is read by rows and as a product's right side: the codes stay, with packed ones
 * beside them; where only products read them, they go. */
static void test_pack(void) {
  fixture f;
  weft_value_id x = start(&f), rows = tensor(&f, "i64[batch]");
  weft_value_id table = codes(&f, WEFT_U8, "[24,32]", 1), scales = weight(&f, "[24,2]", 2);
  weft_value_id own = codes(&f, WEFT_U8, "[24,32]", 3);
  weft_value_id tied = op_dequantize(&f, table, scales, NONE, 4, 1, 32, 64);
  weft_value_id w = op_dequantize(&f, own, weight(&f, "[24,2]", 4), NONE, 4, 1, 32, 64);
  weft_value_id t = op_transpose(&f, w, "10");
  mark_output(&f, 0, op_add_node(&f, WEFT_OP_GATHER, IDS(tied, rows), NULL));
  mark_output(&f, 0, op_matmul(&f, x, t));
  mark_output(&f, 0, op_matmul(&f, op_unary(&f, ABS, x), t));
  weft_value_id y = op_matmul(&f, x, op_transpose(&f, tied, "10"));
  machine m;
  char nodes[1024];
  run_result before, after;
  mark_output(&f, 0, y);
  machine_open(&m, &f, "reference");
  weft_opt_context context = machine_context(&m);
  run_graph(&m, &f.graph, &before);
  CHECK_OK(weft_pass_gather_codes(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_pass_pack_weights(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, nodes, sizeof nodes),
             "gather; gather; dequantize; matmul; abs(x0); matmul; matmul; ");
  CHECK(f.graph.values[table].data != NULL);
  CHECK(f.graph.values[own].data == NULL);
  run_graph(&m, &f.graph, &after);
  CHECK(same_result(&before, &after));
  release_result(&before);
  release_result(&after);
  machine_close(&m);
  fixture_close(&f);
}

/* A constant of f16, numbers from 0.5 to 1 and from -1 to -0.5. */
static weft_value_id half_weight(fixture *f, int64_t rows, int64_t columns) {
  weft_shape shape = {.rank = 2, .dims = {rows, columns}};
  uint64_t state = 99, elements = (uint64_t)(rows * columns);
  weft_buffer *data = weft_buffer_new(&f->heap, elements * 2);
  for (uint64_t i = 0; i < elements; i++) {
    uint16_t bits = (uint16_t)((check_random(&state) >> 30 & 0x83ff) | 0x3800);
    memcpy(data->data + i * 2, &bits, 2);
  }
  weft_value_id id = NONE;
  CHECK_OK(weft_graph_add_constant(&f->graph, WEFT_STR(""), WEFT_F16, &shape, data, &id, &f->error),
           &f->error);
  return id;
}

/* Weights that are stored as f16 and used as f32 are packed as f16. */
static void test_cast_weight(void) {
  fixture f;
  weft_value_id x = start(&f);
  APPLY(&f, fold_constants, op_matmul(&f, x, op_cast(&f, half_weight(&f, 64, 40), WEFT_F32)),
        "f32(x0); matmul; ");
  x = start(&f);
  APPLY(&f, pack_weights, op_matmul(&f, x, op_cast(&f, half_weight(&f, 64, 40), WEFT_F32)),
        "matmul; ");
}

/* After all rewrites a 4-bit weight is held once, as codes. */
static void test_memory(void) {
  fixture f;
  weft_value_id x = start(&f);
  enum { N = 20000, SOURCE = N * 32 + N * 2 * 4 };
  mark_output(&f, 0, op_matmul(&f, x, nbits_weight(&f, "[20000,32]", "[20000,2]", 1)));
  machine m;
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  uint64_t before = weft_heap_use(&f.heap).bytes;
  CHECK_OK(weft_opt_run(&f.graph, &context, NULL, &f.error), &f.error);
  const weft_node *node = NULL;
  for (uint32_t i = 0; i < f.graph.node_count; i++)
    if (!f.graph.nodes[i].removed) node = &f.graph.nodes[i];
  uint64_t packed = f.graph.values[node->inputs[1]].data->bytes;
  CHECK_INT(f.graph.values[node->inputs[1]].layout, WEFT_LAYOUT_CODES);
  uint64_t held = weft_heap_use(&f.heap).bytes;
  CHECK(held <= before - SOURCE + packed + 65536);
  CHECK(weft_heap_use(&f.heap).bytes_peak <= before + packed + 65536);
  machine_close(&m);
  fixture_close(&f);
}

int main(void) {
  CHECK_RUN(test_dynamic);
  CHECK_RUN(test_spellings);
  CHECK_RUN(test_what_stays_integer);
  CHECK_RUN(test_dynamic_whole);
  CHECK_RUN(test_qdq);
  CHECK_RUN(test_gather);
  CHECK_RUN(test_what_is_not_gathered);
  CHECK_RUN(test_fold_keeps_codes);
  CHECK_RUN(test_merge);
  CHECK_RUN(test_what_is_not_merged);
  CHECK_RUN(test_pack);
  CHECK_RUN(test_cast_weight);
  CHECK_RUN(test_memory);
  return check_result();
}
