/* Tests of shape arithmetic: contents of small integer tensors through the ops, with symbols. */
#include "tests/unit/graph_build.h"

/* Infers one node at load and compares its output. */
static void check_node(fixture *f, weft_op op, const weft_value_id *inputs, uint32_t count,
                       const weft_attributes *attributes, const char *expected) {
  weft_node *node = add_node(f, 0, op, inputs, count, attributes);
  weft_value_id output = node->outputs[0];
  weft_inference at = weft_inference_at_load(&f->graph);
  weft_status status = weft_infer_node(&at, f->graph.node_count - 1, &f->error);
  char actual[400];
  if (expected[0] == '!') {
    CHECK_INT(status, WEFT_INVALID_MODEL);
    if (!CHECK(contains(f->error.message, expected + 1))) check_print("  %s\n", f->error.message);
  } else if (CHECK_OK(status, &f->error)) {
    CHECK_TEXT(describe(&at, output, actual, sizeof actual), expected);
  }
}

static void check_op(weft_op op, const char *a, const char *b, weft_attributes attributes,
                     const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id inputs[] = {tensor(&f, a), tensor(&f, b)};
  check_node(&f, op, inputs, b ? 2 : 1, &attributes, expected);
  fixture_close(&f);
}

static void test_gather(void) {
  check_op(WEFT_OP_GATHER, "i64{b,s,8}", "i64 1", (weft_attributes){0}, "i64[] {s}");
  check_op(WEFT_OP_GATHER, "i64{b,s,8}", "i64{-1,0}", (weft_attributes){0}, "i64[2] {8,b}");
  check_op(WEFT_OP_GATHER, "i64{b,s,8}", "i64{?,0}", (weft_attributes){0}, "i64[2] {?,b}");
  check_op(WEFT_OP_GATHER, "i64{b,s,8}", "i64[2]", (weft_attributes){0}, "i64[2]");
  check_op(WEFT_OP_GATHER, "i64[3]", "i64{0}", (weft_attributes){0}, "i64[1]");
  check_op(WEFT_OP_GATHER, "i64{b,s,8}", "i64[2,1]", (weft_attributes){0}, "i64[2,1]");
  check_op(WEFT_OP_GATHER, "i64{1,2}", "i64 2", (weft_attributes){0},
           "!index 2 is out of range for 2 elements");
  check_op(WEFT_OP_GATHER, "i64{1,2}", "i64 -3", (weft_attributes){0}, "!index -3 is out of range");
}

static void test_views(void) {
#define VIEW(name, ...) ((weft_attributes){.view = {.kind = WEFT_VIEW_##name, ##__VA_ARGS__}})
  check_op(WEFT_OP_VIEW, "i64{s}", "i64[0]", VIEW(RESHAPE), "i64[] {s}");
  check_op(WEFT_OP_VIEW, "i64 s", "i64{-1}", VIEW(RESHAPE), "i64[1] {s}");
  check_op(WEFT_OP_VIEW, "i64{1,2,3,4}", "i64{2,2}", VIEW(RESHAPE), "i64[2,2]");
  check_op(WEFT_OP_VIEW, "i64{s}", NULL, VIEW(SQUEEZE), "i64[] {s}");
  check_op(WEFT_OP_VIEW, "i64 s", "i64{0}", VIEW(UNSQUEEZE), "i64[1] {s}");
  check_op(WEFT_OP_VIEW, "i64 s", "i64{3}", VIEW(EXPAND), "i64[3] {s,s,s}");
  check_op(WEFT_OP_VIEW, "i64{1,s}", NULL, VIEW(TRANSPOSE), "i64[2] {1,s}");
  check_op(WEFT_OP_VIEW, "i64{1,2,3,4,5}", NULL,
           VIEW(SPLIT, .axes = {1, {0}}, .index = 1, .count = 2), "i64[2] {4,5}");
  check_op(WEFT_OP_VIEW, "i64{1,2,3}", "i64{1,2}",
           VIEW(SPLIT, .axes = {1, {0}}, .index = 1, .count = 2), "i64[2] {2,3}");
  check_op(WEFT_OP_VIEW, "f32[3]", "i64{3}", VIEW(EXPAND), "f32[3]");
}

static void check_slice(const char *start, const char *end, const char *step,
                        const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id inputs[] = {tensor(&f, "i64{0,b,-2,s,4}"), tensor(&f, start), tensor(&f, end),
                            tensor(&f, "i64{0}"), tensor(&f, step)};
  check_node(&f, WEFT_OP_VIEW, inputs, 5, &VIEW(SLICE), expected);
  fixture_close(&f);
}

static void test_slices(void) {
  check_slice("i64{1}", "i64{3}", "i64{1}", "i64[2] {b,-2}");
  check_slice("i64{-2}", "i64{9223372036854775807}", "i64{1}", "i64[2] {s,4}");
  check_slice("i64{-1}", "i64{-9223372036854775807}", "i64{-1}", "i64[5] {4,s,-2,b,0}");
  check_slice("i64{0}", "i64{5}", "i64{2}", "i64[3] {0,-2,4}");
  check_slice("i64{3}", "i64{3}", "i64{1}", "i64[0] {}");
  check_slice("i64{x}", "i64{5}", "i64{1}", "i64[?3]");
}

static void test_lists(void) {
  fixture f;
  fixture_open(&f);
  weft_attributes none = {0};
  weft_value_id b = tensor(&f, "i64{b}"), two = tensor(&f, "i64{12,-1}"),
                unknown = tensor(&f, "i64[1]"), open = tensor(&f, "i64[n]");
  check_node(&f, WEFT_OP_CONCAT, IDS(b, two), &none, "i64[3] {b,12,-1}");
  check_node(&f, WEFT_OP_CONCAT, IDS(b, unknown, two), &none, "i64[4] {b,?,12,-1}");
  check_node(&f, WEFT_OP_CONCAT, IDS(unknown, unknown), &none, "i64[2]");
  check_node(&f, WEFT_OP_CONCAT, IDS(b, open), &none, "i64[n+1]");
  fixture_close(&f);
}

static void test_reductions(void) {
#define REDUCE(name, ...) ((weft_attributes){.reduce = {.kind = WEFT_REDUCE_##name, ##__VA_ARGS__}})
  check_op(WEFT_OP_REDUCE, "i64{2,3,4}", NULL, REDUCE(PROD), "i64[] {24}");
  check_op(WEFT_OP_REDUCE, "i64{b,3,4}", NULL, REDUCE(PROD, .keep_dims = true), "i64[1] {(b*3)*4}");
  check_op(WEFT_OP_REDUCE, "i64{-2,3}", NULL, REDUCE(SUM, .axes = {1, {-1}}), "i64[] {1}");
  check_op(WEFT_OP_REDUCE, "i64{b,3}", "i64{0}", REDUCE(SUM), "i64[] {b+3}");
  check_op(WEFT_OP_REDUCE, "i64{7,9,-1}", NULL, REDUCE(MAX), "i64[] {9}");
  check_op(WEFT_OP_REDUCE, "i64{7,9,-1}", NULL, REDUCE(MIN), "i64[] {-1}");
  check_op(WEFT_OP_REDUCE, "i64{7,?}", NULL, REDUCE(MIN), "i64[]");
  check_op(WEFT_OP_REDUCE, "i64{4,9}", NULL, REDUCE(MEAN), "i64[]");
  check_op(WEFT_OP_REDUCE, "i64{4}", NULL, REDUCE(SUM, .none_means_none = true), "i64[1]");
  check_op(WEFT_OP_REDUCE, "i64[0]", NULL, REDUCE(SUM), "i64[]");
  check_op(WEFT_OP_REDUCE, "i64{4611686018427387904,2}", NULL, REDUCE(PROD), "i64[]");
}

static void test_cumsum(void) {
#define CUMSUM(...) ((weft_attributes){.cumsum = {__VA_ARGS__}})
  check_op(WEFT_OP_CUMSUM, "i64{1,2,3}", "i64 0", CUMSUM(0), "i64[3] {1,3,6}");
  check_op(WEFT_OP_CUMSUM, "i64{1,2,3}", "i64 0", CUMSUM(.exclusive = true), "i64[3] {0,1,3}");
  check_op(WEFT_OP_CUMSUM, "i64{1,2,3}", "i64 0", CUMSUM(.reverse = true), "i64[3] {6,5,3}");
  check_op(WEFT_OP_CUMSUM, "i64{1,s,3}", "i64 0", CUMSUM(0), "i64[3] {1,s+1,(s+1)+3}");
}

/* ---- map ------------------------------------------------------------------------------------- */

/* One instruction over up to three inputs. */
static void check_map(weft_expr_op op, weft_dtype dtype, const char *a, const char *b,
                      const char *c, const char *expected) {
  fixture f;
  fixture_open(&f);
  const char *texts[] = {a, b, c};
  weft_value_id inputs[3];
  weft_dtype dtypes[3];
  uint32_t count = weft_expr_operand_count(op);
  for (uint32_t i = 0; i < count; i++) {
    inputs[i] = tensor(&f, texts[i]);
    dtypes[i] = f.graph.values[inputs[i]].dtype;
  }
  weft_attributes attributes = {0};
  CHECK_OK(
      weft_graph_simple_expr(&f.graph, op, dtypes, count, dtype, &attributes.map.expr, &f.error),
      &f.error);
  check_node(&f, WEFT_OP_MAP, inputs, count, &attributes, expected);
  fixture_close(&f);
}

static void check_binary(weft_expr_op op, const char *a, const char *b, const char *expected) {
  bool compares = op == WEFT_EXPR_EQUAL || op == WEFT_EXPR_LESS || op == WEFT_EXPR_LESS_EQUAL;
  check_map(op, compares ? WEFT_BOOL : WEFT_I64, a, b, NULL, expected);
}

static void test_map_arithmetic(void) {
  check_binary(WEFT_EXPR_ADD, "i64{1,2}", "i64 3", "i64[2] {4,5}");
  check_binary(WEFT_EXPR_ADD, "i64{1,2}", "i64{3}", "i64[2] {4,5}");
  check_binary(WEFT_EXPR_ADD, "i64 p", "i64 s", "i64[] {p+s}");
  check_binary(WEFT_EXPR_ADD, "i64 s", "i64 0", "i64[] {s}");
  check_binary(WEFT_EXPR_ADD, "i64{s,2}", "i64 -1", "i64[2] {?,1}");
  check_binary(WEFT_EXPR_ADD, "i64{?,2}", "i64 1", "i64[2] {?,3}");
  check_binary(WEFT_EXPR_ADD, "i64{1,2}", "i64[2]", "i64[2]");
  check_binary(WEFT_EXPR_SUB, "i64{s,s,5}", "i64{s,0,7}", "i64[3] {0,s,-2}");
  check_binary(WEFT_EXPR_SUB, "i64{s,?,9}", "i64{1,?,1}", "i64[3] {?,?,8}");
  check_binary(WEFT_EXPR_MUL, "i64{s,s,s,b}", "i64{1,0,12,s}", "i64[4] {s,0,s*12,s*b}");
  check_binary(WEFT_EXPR_MUL, "i64{s,?,3}", "i64{-1,0,-1}", "i64[3] {?,?,-3}");
  check_binary(WEFT_EXPR_DIV, "i64{s,s,7,-7}", "i64{1,2,2,2}", "i64[4] {s,s/2,3,-3}");
  check_binary(WEFT_EXPR_DIV, "i64{1,8}", "i64{0,2}", "i64[2] {?,4}");
  check_binary(WEFT_EXPR_DIV, "i64{s,8}", "i64{0,2}", "i64[2] {?,4}");
  check_binary(WEFT_EXPR_MOD, "i64{-7,7,s}", "i64{3,-3,2}", "i64[3] {2,-2,?}");
  check_binary(WEFT_EXPR_ADD, "i64{9223372036854775807,1}", "i64 1", "i64[2] {?,2}");
  check_binary(WEFT_EXPR_MAX, "i64{s,s,3,s,0}", "i64{0,1,4,s,s}", "i64[5] {s,?,4,s,s}");
  check_binary(WEFT_EXPR_MIN, "i64{s,s,3,-1}", "i64{-2,1,4,s}", "i64[4] {-2,?,3,-1}");
  check_map(WEFT_EXPR_RELU, WEFT_I64, "i64{s,-3,3}", NULL, NULL, "i64[3] {s,0,3}");
  check_map(WEFT_EXPR_NEG, WEFT_I64, "i64{s,-3,3}", NULL, NULL, "i64[3] {?,3,-3}");
}

static void test_map_casts(void) {
  check_map(WEFT_EXPR_CAST, WEFT_I32, "i64{s,-3,4294967298}", NULL, NULL, "i32[3] {s,-3,2}");
  check_map(WEFT_EXPR_CAST, WEFT_I64, "i32{s,-3}", NULL, NULL, "i64[2] {s,-3}");
  check_map(WEFT_EXPR_CAST, WEFT_BOOL, "i64{s,-3,0}", NULL, NULL, "bool[3] {?,1,0}");
  check_map(WEFT_EXPR_CAST, WEFT_I64, "bool{1,0}", NULL, NULL, "i64[2] {1,0}");
  check_map(WEFT_EXPR_CAST, WEFT_U8, "i64{s,257}", NULL, NULL, "u8[2] {?,1}");
  check_map(WEFT_EXPR_CAST, WEFT_F32, "i64{1,2}", NULL, NULL, "f32[2]");
  check_map(WEFT_EXPR_CAST, WEFT_I64, "f32[2]", NULL, NULL, "i64[2]");
}

static void test_map_logic(void) {
  check_binary(WEFT_EXPR_EQUAL, "i64{b,s,5,s,0}", "i64{-1,s,5,1,s}", "bool[5] {0,1,1,?,?}");
  check_binary(WEFT_EXPR_LESS, "i64{s,s,-1,0,s,2,s}", "i64{0,-1,s,s,s,3,5}",
               "bool[7] {0,0,1,?,0,1,?}");
  check_binary(WEFT_EXPR_LESS_EQUAL, "i64{s,s,0,-1,s}", "i64{-1,0,s,s,s}", "bool[5] {0,?,1,1,1}");
  check_map(WEFT_EXPR_SELECT, WEFT_I64, "bool{1,0,?,?}", "i64{b,7,s,1}", "i64{1,s,s,2}",
            "i64[4] {b,s,s,?}");
}

/* Expand as exporters write it: where(shape == -1, ones, shape). */
static void test_exported_expand(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id shape = tensor(&f, "i64{b,-1,s}"), minus = tensor(&f, "i64{-1,-1,-1}"),
                ones = tensor(&f, "i64{1,1,1}");
  weft_dtype integers[] = {WEFT_I64, WEFT_I64}, mixed[] = {WEFT_BOOL, WEFT_I64, WEFT_I64};
  weft_attributes equal = {0}, select = {0};
  CHECK_OK(weft_graph_simple_expr(&f.graph, WEFT_EXPR_EQUAL, integers, 2, WEFT_BOOL,
                                  &equal.map.expr, &f.error),
           &f.error);
  CHECK_OK(weft_graph_simple_expr(&f.graph, WEFT_EXPR_SELECT, mixed, 3, WEFT_I64, &select.map.expr,
                                  &f.error),
           &f.error);
  check_node(&f, WEFT_OP_MAP, IDS(shape, minus), &equal, "bool[3] {0,1,0}");
  weft_value_id condition = f.graph.nodes[0].outputs[0];
  check_node(&f, WEFT_OP_MAP, IDS(condition, ones, shape), &select, "i64[3] {b,1,s}");
  fixture_close(&f);
}

/* ---- constants ------------------------------------------------------------------------------- */

static void check_constant(weft_dtype dtype, const uint8_t *bytes, uint32_t size, int64_t count,
                           const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_buffer *data = weft_buffer_new(&f.heap, size);
  memcpy(data->data, bytes, size);
  weft_shape shape = {.rank = count < 0 ? 0 : 1, .dims = {count}};
  weft_value_id id;
  CHECK_OK(weft_graph_add_constant(&f.graph, WEFT_STR("c"), dtype, &shape, data, &id, &f.error),
           &f.error);
  char actual[200];
  weft_inference at = weft_inference_at_load(&f.graph);
  CHECK_TEXT(describe(&at, id, actual, sizeof actual), expected);
  fixture_close(&f);
}

static void test_constants(void) {
  static const uint8_t ones[16] = {255, 255, 255, 255, 255, 255, 255, 255, 1};
  check_constant(WEFT_I64, ones, 16, 2, "i64[2] {-1,1}");
  check_constant(WEFT_U64, ones, 16, 2, "u64[2] {?,1}");
  check_constant(WEFT_I32, ones + 4, 8, 2, "i32[2] {-1,1}");
  check_constant(WEFT_U32, ones + 4, 4, -1, "u32[] {4294967295}");
  check_constant(WEFT_I8, ones + 7, 2, 2, "i8[2] {-1,1}");
  check_constant(WEFT_U16, ones + 6, 2, 1, "u16[1] {65535}");
  check_constant(WEFT_BOOL, ones + 8, 2, 2, "bool[2] {1,0}");
  check_constant(WEFT_F32, ones, 4, -1, "f32[]");
  check_constant(WEFT_I64, ones, 8, 2, "i64[2]"); /* the verifier's case */
  uint8_t symbol[8];
  for (int i = 0; i < 8; i++) symbol[i] = (uint8_t)((uint64_t)WEFT_DIM_SYMBOL(3) >> (8 * i));
  check_constant(WEFT_I64, symbol, 8, -1, "i64[] {?}");
}

static void test_long_lists(void) {
  fixture f;
  fixture_open(&f);
  static const int64_t zeros[WEFT_MAX_HOST_ELEMENTS + 1] = {0};
  weft_value_id most, more;
  CHECK_OK(weft_graph_add_integers(&f.graph, WEFT_STR("a"), zeros, WEFT_MAX_HOST_ELEMENTS, &most,
                                   &f.error),
           &f.error);
  CHECK_OK(weft_graph_add_integers(&f.graph, WEFT_STR("b"), zeros, WEFT_MAX_HOST_ELEMENTS + 1,
                                   &more, &f.error),
           &f.error);
  CHECK(f.graph.values[most].elements != NULL);
  CHECK(f.graph.values[more].elements == NULL);
  weft_attributes none = {0};
  check_node(&f, WEFT_OP_CONCAT, IDS(most, most), &none, "i64[2048]");
  fixture_close(&f);
}

int main(void) {
  CHECK_RUN(test_gather);
  CHECK_RUN(test_views);
  CHECK_RUN(test_slices);
  CHECK_RUN(test_lists);
  CHECK_RUN(test_reductions);
  CHECK_RUN(test_cumsum);
  CHECK_RUN(test_map_arithmetic);
  CHECK_RUN(test_map_casts);
  CHECK_RUN(test_map_logic);
  CHECK_RUN(test_exported_expand);
  CHECK_RUN(test_constants);
  CHECK_RUN(test_long_lists);
  return check_result();
}
