/* Tests of the rewrites that join elementwise work: opt/fuse_maps.c, opt/fuse_epilogues.c and the
 * composer behind both. */
#include "tests/unit/opt_build.h"

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,6]");
}

/* ---- maps ------------------------------------------------------------------------------------ */

static void test_chain_with_constants(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_binary(&f, ADD, op_unary(&f, TANH, x), scalar(&f, 0.5f, 1));
  APPLY(&f, fuse_maps, op_unary(&f, RELU, y), "relu(add(tanh(x0), 0.5)); ");
}

static void test_constant_of_higher_rank(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_binary(&f, ADD, x, scalar(&f, 0.5f, 3));
  APPLY(&f, fuse_maps, op_unary(&f, RELU, y), "relu(add(x0, x1)); ");
}

static void test_value_with_two_users(void) {
  fixture f;
  weft_value_id x = start(&f), t = op_unary(&f, TANH, x);
  mark_output(&f, 0, op_unary(&f, RELU, t));
  APPLY(&f, fuse_maps, op_unary(&f, ABS, t), "tanh(x0); relu(x0); abs(x0); ");
  x = start(&f), t = op_unary(&f, TANH, x);
  mark_output(&f, 0, t); /* an output is a user too */
  APPLY(&f, fuse_maps, op_unary(&f, ABS, t), "tanh(x0); abs(x0); ");
}

/* One value that a node has twice is computed once. */
static void test_square(void) {
  fixture f;
  weft_value_id x = start(&f), t = op_unary(&f, TANH, x);
  APPLY(&f, fuse_maps, op_binary(&f, MUL, t, t), "t0 = tanh(x0); mul(t0, t0); ");
}

/* Both users of a value become one node, which then takes it in. */
static void test_diamond(void) {
  fixture f;
  weft_value_id x = start(&f), t = op_unary(&f, TANH, x);
  weft_value_id y = op_binary(&f, MUL, op_unary(&f, RELU, t), op_unary(&f, ABS, t));
  APPLY(&f, fuse_maps, y, "t0 = tanh(x0); mul(relu(t0), abs(t0)); ");
}

static void test_broadcast_producer(void) {
  fixture f; /* tanh of [6] would be computed for each row */
  weft_value_id x = start(&f), t = op_unary(&f, TANH, tensor(&f, "f32[6]"));
  APPLY(&f, fuse_maps, op_binary(&f, ADD, x, t), "tanh(x0); add(x0, x1); ");
}

/* [1,6] + [rows,6]: the one may have to be repeated. */
static void test_symbol_against_one(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id t = op_unary(&f, TANH, tensor(&f, "f32[1,6]"));
  weft_value_id y = op_binary(&f, ADD, t, tensor(&f, "f32[rows,6]"));
  APPLY(&f, fuse_maps, y, "tanh(x0); add(x0, x1); ");
}

static void test_casts(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = op_cast(&f, tensor(&f, "i64[batch,6]"), WEFT_F32);
  weft_value_id y = op_binary(&f, MUL, op_binary(&f, SUB, scalar(&f, 1, 0), x), scalar(&f, -3, 0));
  APPLY(&f, fuse_maps, y, "mul(sub(1, f32(x0)), -3); ");
}

static void test_shape_arithmetic_stays(void) {
  fixture f;
  weft_value_id x = start(&f);
  weft_value_id shape = op_add_node(&f, WEFT_OP_SHAPE, &x, 1, NULL);
  weft_value_id doubled = op_binary(&f, ADD, op_binary(&f, ADD, shape, shape), shape);
  weft_attributes zero = {.fill = {.dtype = WEFT_F32}};
  APPLY(&f, fuse_maps, op_add_node(&f, WEFT_OP_FILL, &doubled, 1, &zero),
        "shape; add(x0, x0); add(x0, x1); fill; ");
}

/* A chain longer than an expression may be is cut; sums of more inputs than one may have, too. */
static void test_limits(void) {
  fixture f;
  weft_value_id x = start(&f), y = x;
  for (int i = 0; i < 100; i++) y = i % 2 ? op_unary(&f, ABS, y) : op_unary(&f, NEG, y);
  mark_output(&f, 0, y);
  y = x;
  for (int i = 0; i < 20; i++) y = op_binary(&f, ADD, y, tensor(&f, "f32[batch,6]"));
  mark_output(&f, 0, y);
  machine m;
  run_result before, after;
  machine_open(&m, &f, NULL);
  run_graph(&m, &f.graph, &before);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_opt_run(&f.graph, &context, NULL, &f.error), &f.error);
  run_graph(&m, &f.graph, &after);
  CHECK(same_result(&before, &after));
  uint32_t left = 0;
  for (uint32_t i = 0; i < f.graph.node_count; i++) left += !f.graph.nodes[i].removed;
  CHECK_INT(left, 3 + 3); /* 48 + 48 + 4 instructions; 7 + 7 + 6 additions */
  release_result(&before);
  release_result(&after);
  machine_close(&m);
  fixture_close(&f);
}

/* ---- epilogues ------------------------------------------------------------------------------- */

static void test_bias_activation_residual(void) {
  fixture f;
  weft_value_id x = start(&f), w = weight(&f, "[6,6]", 1), b = weight(&f, "[6]", 2);
  weft_value_id y = op_unary(&f, RELU, op_binary(&f, ADD, b, op_matmul(&f, x, w)));
  APPLY(&f, fuse_epilogues, op_binary(&f, ADD, y, x), "matmul{add(relu(add(x1, x0)), x2)}; ");
}

static void test_product_with_two_users(void) {
  fixture f;
  weft_value_id x = start(&f), p = op_matmul(&f, x, weight(&f, "[6,6]", 1));
  mark_output(&f, 0, op_unary(&f, ABS, p));
  APPLY(&f, fuse_epilogues, op_unary(&f, RELU, p), "matmul; abs(x0); relu(x0); ");
}

static void test_product_used_twice_by_one(void) {
  fixture f;
  weft_value_id x = start(&f), p = op_matmul(&f, x, weight(&f, "[6,6]", 1));
  APPLY(&f, fuse_epilogues, op_binary(&f, MUL, p, p), "matmul{mul(x0, x0)}; ");
}

static void test_product_that_is_broadcast(void) {
  fixture f;
  weft_value_id x = tensor((fixture_open(&f), &f), "f32[1,6]");
  weft_value_id p = op_matmul(&f, x, weight(&f, "[6,6]", 1));
  APPLY(&f, fuse_epilogues, op_binary(&f, ADD, p, tensor(&f, "f32[batch,6]")),
        "matmul; add(x0, x1); ");
}

static void test_product_of_another_type(void) {
  fixture f;
  weft_value_id x = start(&f), p = op_matmul(&f, x, weight(&f, "[6,6]", 1));
  APPLY(&f, fuse_epilogues, op_cast(&f, p, WEFT_I32), "matmul; i32(x0); ");
}

/* Two products in one sum: one of them takes it. */
static void test_two_products(void) {
  fixture f;
  weft_value_id x = start(&f), p = op_matmul(&f, x, weight(&f, "[6,6]", 1));
  weft_value_id q = op_matmul(&f, x, weight(&f, "[6,6]", 2));
  APPLY(&f, fuse_epilogues, op_binary(&f, SUB, p, q), "matmul; matmul{sub(x0, x1)}; ");
}

static void test_casts_of_products(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id p = op_matmul(&f, tensor(&f, "f16[batch,6]"), weight_f16(&f, "[6,6]", 1));
  weft_value_id shares = op_softmax(&f, op_cast(&f, p, WEFT_F32), 1);
  APPLY(&f, fuse_epilogues, op_cast(&f, shares, WEFT_F16), "matmul{f32(x0)}; softmax; f16(x0); ");
  p = op_matmul(&f, start(&f), weight(&f, "[6,6]", 1));
  APPLY(&f, fuse_epilogues, op_cast(&f, p, WEFT_F16), "matmul{f16(x0)}; ");
}

int main(void) {
  for (int half = 0; half < 2; half++) {
    in_f16 = half;
    CHECK_RUN(test_chain_with_constants);
    CHECK_RUN(test_constant_of_higher_rank);
    CHECK_RUN(test_bias_activation_residual);
    CHECK_RUN(test_product_with_two_users);
    CHECK_RUN(test_product_used_twice_by_one);
    CHECK_RUN(test_product_that_is_broadcast);
    CHECK_RUN(test_product_of_another_type);
    CHECK_RUN(test_two_products);
  }
  in_f16 = false;
  CHECK_RUN(test_value_with_two_users);
  CHECK_RUN(test_square);
  CHECK_RUN(test_diamond);
  CHECK_RUN(test_broadcast_producer);
  CHECK_RUN(test_symbol_against_one);
  CHECK_RUN(test_casts);
  CHECK_RUN(test_shape_arithmetic_stays);
  CHECK_RUN(test_limits);
  CHECK_RUN(test_casts_of_products);
  return check_result();
}
