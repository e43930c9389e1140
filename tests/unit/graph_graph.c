/* Tests of building, copying, rewriting, walking and dumping graphs. */
#include "tests/unit/graph_build.h"

static const char *dump(const weft_graph *graph) {
  static char buffer[8000];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  buffer[0] = 0;
  weft_graph_dump(graph, &text);
  return buffer;
}

static weft_value_id add_map(fixture *f, uint32_t region, weft_expr_op op,
                             const weft_value_id *inputs, uint32_t count) {
  weft_attributes a = {0};
  weft_dtype dtypes[] = {WEFT_F32, WEFT_F32, WEFT_F32};
  CHECK_OK(weft_graph_simple_expr(&f->graph, op, dtypes, count, WEFT_F32, &a.map.expr, &f->error),
           &f->error);
  return add_node(f, region, WEFT_OP_MAP, inputs, count, &a)->outputs[0];
}

/* Reshape by its own shape, a norm, an attention, an `if`, a removed node and what else a dump can
 * show. */
static void build(fixture *f) {
  fixture_open(f);
  weft_graph *g = &f->graph;
  weft_value_id x = tensor(f, "f32[batch,s,8]"), c = tensor(f, "bool[]"), list, w;
  weft_buffer *data = weft_buffer_new(&f->heap, 32);
  memset(data->data, 0, 32);
  CHECK_OK(weft_graph_add_constant(g, WEFT_STR("scale"), WEFT_F32, &(weft_shape){1, {8}}, data, &w,
                                   &f->error),
           &f->error);
  CHECK_OK(weft_graph_add_integers(g, WEFT_STR("list"), (int64_t[]){2, -1}, 2, &list, &f->error),
           &f->error);
  weft_attributes shape = {.shape = {.end = 2, .has_end = true}}, concat = {.axis = {0}},
                  reshape = {.view = {.kind = WEFT_VIEW_RESHAPE}},
                  transpose = {.view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {4, {0, 2, 1, 3}}}},
                  norm = {.norm = {WEFT_NORM_LAYER, -1, 1e-5f}},
                  attention = {.attention = {.scale = 0.5f, .causal = true, .heads_last = true}};
  weft_value_id lengths = add_node(f, 0, WEFT_OP_SHAPE, IDS(x), &shape)->outputs[0];
  weft_value_id wanted = add_node(f, 0, WEFT_OP_CONCAT, IDS(lengths, list), &concat)->outputs[0];
  weft_value_id normed =
      add_node(f, 0, WEFT_OP_NORM, IDS(x, w, WEFT_VALUE_NONE), &norm)->outputs[0];
  weft_value_id heads = add_node(f, 0, WEFT_OP_VIEW, IDS(normed, wanted), &reshape)->outputs[0];
  weft_value_id q = add_node(f, 0, WEFT_OP_VIEW, IDS(heads), &transpose)->outputs[0];
  weft_value_id dead = add_map(f, 0, WEFT_EXPR_TANH, IDS(q));
  weft_value_id y = add_node(f, 0, WEFT_OP_ATTENTION, IDS(q, q, q), &attention)->outputs[0];
  weft_graph_remove_node(g, g->values[dead].producer);
  weft_value_id chosen = add_node(f, 0, WEFT_OP_IF, IDS(c), NULL)->outputs[0];
  weft_node_id choice = g->node_count - 1;
  uint32_t branches[2];
  for (int i = 0; i < 2; i++) {
    CHECK_OK(weft_graph_add_region(g, 0, &branches[i], &f->error), &f->error);
  }
  g->nodes[choice].attributes.branches.then_region = branches[0];
  g->nodes[choice].attributes.branches.else_region = branches[1];
  mark_output(f, branches[0], y);
  mark_output(f, branches[1], add_map(f, branches[1], WEFT_EXPR_ADD, IDS(y, y)));
  mark_output(f, 0, chosen);
  mark_output(f, 0, lengths);
  CHECK_OK(weft_infer_graph(g, &f->error), &f->error);
  CHECK_OK(weft_graph_verify(g, &f->error), &f->error);
}

static const char golden[] =
    "input %0 f32[batch,s,8] value_0\n"
    "input %1 bool[] value_1\n"
    "const %2 f32[8] scale\n"
    "const %3 i64[2] {2,-1} list\n"
    "%4 i64[2] {batch,s} = shape(%0) end=2  # n (Op)\n"
    "%5 i64[4] {batch,s,2,-1} = concat(%4, %3) axis=0  # n (Op)\n"
    "%6 f32[batch,s,8] = norm.layer(%0, %2, none) axis=-1 epsilon=9.99999975e-06  # n (Op)\n"
    "%7 f32[batch,s,2,4] = view.reshape(%6, %5)  # n (Op)\n"
    "%8 f32[batch,2,s,4] = view.transpose(%7) axes=0,2,1,3  # n (Op)\n"
    "%10 f32[batch,s,2,4] = attention(%8, %8, %8) scale=0.5 causal heads_last  # n (Op)\n"
    "%11 f32[batch,s,2,4] = if(%1) then=1 else=2  # n (Op)\n"
    "output %11, %4\n"
    "region 1 in 0\n"
    "output %10\n"
    "region 2 in 0\n"
    "%12 f32[batch,s,2,4] = map(%10, %10) {add(x0, x1)}  # n (Op)\n"
    "output %12\n";

static void test_dump(void) {
  fixture f;
  build(&f);
  CHECK_TEXT(dump(&f.graph), golden);
  fixture_close(&f);
}

/* Every other attribute of a dump. The nodes need not make sense together. */
static void check_line(weft_op op, weft_attributes attributes, uint32_t inputs,
                       const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[2]"), ids[] = {x, x, x};
  add_node(&f, 0, op, ids, inputs, &attributes);
  const char *text = dump(&f.graph);
  if (!CHECK(contains(text, expected))) check_print("  %s  lacks %s\n", text, expected);
  fixture_close(&f);
}

static void test_dump_attributes(void) {
#define A(...) ((weft_attributes){__VA_ARGS__})
  check_line(WEFT_OP_VIEW, A(.view = {WEFT_VIEW_SPLIT, {1, {0}}, false, 1, 3}), 1,
             "?[...] = view.split(%0) axes=0 part=1/3  #");
  check_line(WEFT_OP_VIEW, A(.view = {.kind = WEFT_VIEW_RESHAPE, .allow_zero = true}), 2,
             "= view.reshape(%0, %0) allow_zero  #");
  check_line(WEFT_OP_NORM, A(.norm = {WEFT_NORM_RMS, 1, 0.5f}), 2, "norm.rms(%0, %0) axis=1 ep");
  check_line(WEFT_OP_SOFTMAX, A(.softmax = {-1, true, true}), 1, "(%0) axis=-1 log to_end  #");
  check_line(WEFT_OP_REDUCE, A(.reduce = {WEFT_REDUCE_LOG_SUM_EXP, {1, {-1}}, true, true}), 1,
             "reduce.log_sum_exp(%0) axes=-1 keep_dims none_means_none  #");
  check_line(WEFT_OP_ARG_REDUCE, A(.arg_reduce = {true, true, true, 2}), 1,
             "arg_reduce.max(%0) axis=2 keep_dims select_last  #");
  check_line(WEFT_OP_GATHER, A(.axis = {3}), 2, "gather(%0, %0) axis=3  #");
  check_line(WEFT_OP_PAD, A(.pad = {WEFT_PAD_EDGE}), 2, "pad.edge(%0, %0)  #");
  check_line(WEFT_OP_CUMSUM, A(.cumsum = {true, true}), 2, "cumsum(%0, %0) exclusive reverse  #");
  check_line(WEFT_OP_TRIANGLE, A(.triangle = {true}), 1, "triangle.upper(%0)  #");
  check_line(WEFT_OP_SHAPE, A(.shape = {1, 0, false}), 1, "shape(%0) start=1  #");
  check_line(WEFT_OP_RANGE, A(0), 3, "range(%0, %0, %0)  #");
  check_line(WEFT_OP_FILL, A(.fill = {WEFT_F32, {0, 0, 0xc0, 0x3f}}), 1, "fill(%0) f32 1.5  #");
  check_line(WEFT_OP_FILL, A(.fill = {WEFT_I8, {0xfe}}), 1, "fill(%0) i8 -2  #");
  check_line(WEFT_OP_FILL, A(.fill = {WEFT_F16, {0, 0x3c}}), 1, "fill(%0) f16 3c 0  #");
}

/* ---- copies ---------------------------------------------------------------------------------- */

static void test_copy(void) {
  fixture f;
  build(&f);
  weft_graph copy;
  CHECK_OK(weft_graph_copy(&f.graph, &f.heap, &copy, &f.error), &f.error);
  CHECK_INT(f.graph.values[2].data->references, 2);
  fixture original = f;
  weft_graph_release(&original.graph); /* the copy must not need it */
  f.graph = copy;
  f.graph.symbol_index.arena = &f.graph.arena;
  CHECK_INT(f.graph.values[2].data->references, 1);
  CHECK_TEXT(dump(&f.graph), golden);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  weft_dim s;
  CHECK_OK(weft_graph_symbol(&f.graph, WEFT_STR("s"), &s, &f.error), &f.error);
  CHECK_INT(s, WEFT_DIM_SYMBOL(1));
  for (int i = 0; i < 40; i++) add_map(&f, 0, WEFT_EXPR_TANH, IDS(0)); /* arrays grow on */
  CHECK_OK(weft_infer_graph(&f.graph, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  fixture_close(&f);
}

/* Memory runs out at each allocation in turn: an error, and nothing is lost. */
static void test_no_memory(void) {
  fixture f;
  build(&f);
  uint64_t used = weft_heap_use(&f.heap).bytes;
  weft_status status = WEFT_OUT_OF_MEMORY;
  for (uint64_t limit = 0; limit < 1 << 20 && status != WEFT_OK; limit += 1000) {
    weft_graph copy;
    f.heap.limit = used + limit;
    status = weft_graph_copy(&f.graph, &f.heap, &copy, &f.error);
    f.heap.limit = 0;
    if (status == WEFT_OK) {
      weft_graph_release(&copy);
    } else {
      CHECK(status == WEFT_OUT_OF_MEMORY || status == WEFT_LIMIT_EXCEEDED);
    }
    CHECK_INT(weft_heap_use(&f.heap).bytes, used);
    CHECK_INT(f.graph.values[2].data->references, 1);
  }
  CHECK_INT(status, WEFT_OK);
  fixture_close(&f);
}

/* ---- limits and names ------------------------------------------------------------------------ */

static void test_symbols(void) {
  fixture f;
  fixture_open(&f);
  weft_dim a, b, c;
  CHECK_OK(weft_graph_symbol(&f.graph, WEFT_STR("a"), &a, &f.error), &f.error);
  CHECK_OK(weft_graph_symbol(&f.graph, WEFT_STR(""), &b, &f.error), &f.error);
  CHECK_OK(weft_graph_symbol(&f.graph, WEFT_STR("a"), &c, &f.error), &f.error);
  CHECK(a == c && a != b && WEFT_DIM_IS_SYMBOL(a) && WEFT_DIM_IS_SYMBOL(b));
  CHECK_INT(WEFT_DIM_SYMBOL_INDEX(b), 1);
  static const weft_dim integers[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT32_MIN, -INT64_MAX};
  for (uint32_t i = 0; i < COUNT_OF(integers); i++) CHECK(!WEFT_DIM_IS_SYMBOL(integers[i]));
  weft_status status = WEFT_OK;
  uint32_t made = f.graph.symbol_count;
  for (; status == WEFT_OK && made <= WEFT_MAX_SYMBOLS; made++) {
    status = weft_graph_symbol(&f.graph, WEFT_STR(""), &b, &f.error);
  }
  CHECK_INT(status, WEFT_LIMIT_EXCEEDED);
  CHECK_INT(f.graph.symbol_count, WEFT_MAX_SYMBOLS - 1);
  fixture_close(&f);
}

static void test_names(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[2]");
  weft_node *node;
  CHECK_OK(weft_graph_add_node(&f.graph, 0, WEFT_OP_SOFTMAX, WEFT_STR(""), WEFT_STR(""), &x, 1, 1,
                               &node, &f.error),
           &f.error);
  CHECK_TEXT(node->name.data, "softmax0");
  CHECK_TEXT(f.graph.values[node->outputs[0]].name.data, "value_1");
  char name[WEFT_MAX_NAME_BYTES];
  memset(name, 'n', sizeof name);
  CHECK_OK(weft_graph_add_node(&f.graph, 0, WEFT_OP_SOFTMAX, (weft_str){name, sizeof name},
                               (weft_str){name, sizeof name}, &x, 1, 1, &node, &f.error),
           &f.error);
  weft_node_fail(node, &f.error, WEFT_INTERNAL, "the cause");
  CHECK(contains(f.error.message, "the cause")); /* long names leave room */
  fixture_close(&f);
}

static void test_facts(void) {
  CHECK_TEXT(weft_op_facts_of(WEFT_OP_GATHER_ELEMENTS)->name, "gather_elements");
  CHECK_INT(weft_op_facts_of(WEFT_OP_VIEW)->inputs_max, 5);
  uint64_t elements;
  weft_error error;
  CHECK_OK(weft_shape_elements(&(weft_shape){2, {3, 4}}, &elements, &error), &error);
  CHECK_INT(elements, 12);
  CHECK_OK(weft_shape_elements(&(weft_shape){0}, &elements, &error), &error);
  CHECK_INT(elements, 1);
  CHECK_OK(weft_shape_elements(&(weft_shape){2, {3, 0}}, &elements, &error), &error);
  CHECK_INT(elements, 0);
  CHECK_INT(weft_shape_elements(&(weft_shape){3, {0, 1 << 30, 1 << 30}}, &elements, &error),
            WEFT_LIMIT_EXCEEDED);
  CHECK(weft_shape_is_fixed(&(weft_shape){1, {3}}));
  CHECK(!weft_shape_is_fixed(&(weft_shape){1, {WEFT_DIM_SYMBOL(0)}}));
  CHECK(!weft_shape_is_fixed(&(weft_shape){.rank = -1}));
  weft_dim list[] = {1, -5, WEFT_DIM_UNKNOWN};
  CHECK(weft_elements_are_fixed(&(weft_shape){1, {2}}, list));
  CHECK(!weft_elements_are_fixed(&(weft_shape){1, {3}}, list));
  CHECK(!weft_elements_are_fixed(&(weft_shape){1, {3}}, NULL));
  CHECK(weft_dtype_is_float(WEFT_BF16) && !weft_dtype_is_float(WEFT_I32));
  CHECK(weft_dtype_is_integer(WEFT_U64) && !weft_dtype_is_integer(WEFT_BOOL));
  CHECK(!weft_dtype_is_integer(WEFT_STRING) && !weft_dtype_is_integer(WEFT_DTYPE_NONE));
}

/* ---- rewriting ------------------------------------------------------------------------------- */

static void test_users(void) {
  fixture f;
  build(&f);
  weft_users users;
  CHECK_OK(weft_graph_users(&f.graph, &f.graph.arena, &users, &f.error), &f.error);
  CHECK_INT(weft_use_count(&users, 0), 2);
  CHECK_INT(users.nodes[users.first[0]], 0);
  CHECK_INT(users.nodes[users.first[0] + 1], 2);
  CHECK_INT(weft_use_count(&users, 8), 3); /* three times by one node, not by the removed one */
  CHECK_INT(users.nodes[users.first[8] + 2], 6);
  CHECK_INT(weft_use_count(&users, 4), 2); /* a node and the region */
  CHECK_INT(users.nodes[users.first[4] + 1], WEFT_NODE_NONE);
  CHECK_INT(weft_use_count(&users, 10), 3);
  CHECK_INT(weft_use_count(&users, 9), 0);
  CHECK_INT(weft_use_count(&users, 12), 1);
  fixture_close(&f);
}

static void test_place(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[2]");
  for (int i = 0; i < 7; i++) add_map(&f, 0, WEFT_EXPR_TANH, IDS(x));
  static const weft_node_id before[] = {2, 0, 2, 1};
  CHECK_OK(weft_graph_place(&f.graph, 3, before, &f.graph.arena, &f.error), &f.error);
  static const weft_node_id expected[] = {4, 0, 6, 1, 3, 5, 2};
  for (int i = 0; i < 7; i++) CHECK_INT(f.graph.regions[0].nodes[i], expected[i]);
  CHECK_OK(weft_graph_place(&f.graph, 7, NULL, &f.graph.arena, &f.error), &f.error);
  CHECK_INT(f.graph.regions[0].nodes[0], 4);
  fixture_close(&f);
}

static void trace(const weft_graph *graph, uint32_t skipped, weft_text *text) {
  static const char names[] = {
      [WEFT_WALK_NODE] = 'n', [WEFT_WALK_ENTER] = '<', [WEFT_WALK_LEAVE] = '>'};
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (weft_walk_event event; (event = weft_walk_next(&walk)) != WEFT_WALK_END;) {
    if (event == WEFT_WALK_ENTER && walk.region == skipped) {
      weft_walk_skip(&walk);
      continue;
    }
    weft_text_add(text, "%c%u ", names[event], event == WEFT_WALK_NODE ? walk.node : walk.region);
  }
}

static void test_walk(void) {
  fixture f;
  build(&f);
  char buffer[200] = "";
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  trace(&f.graph, 0, &text);
  CHECK_TEXT(buffer, "n0 n1 n2 n3 n4 n6 <1 >1 <2 n8 >2 n7 ");
  text.length = 0;
  trace(&f.graph, 2, &text);
  CHECK_TEXT(buffer, "n0 n1 n2 n3 n4 n6 <1 >1 n7 ");
  fixture_close(&f);
}

int main(void) {
  CHECK_RUN(test_dump);
  CHECK_RUN(test_dump_attributes);
  CHECK_RUN(test_copy);
  CHECK_RUN(test_no_memory);
  CHECK_RUN(test_symbols);
  CHECK_RUN(test_names);
  CHECK_RUN(test_facts);
  CHECK_RUN(test_users);
  CHECK_RUN(test_place);
  CHECK_RUN(test_walk);
  return check_result();
}
