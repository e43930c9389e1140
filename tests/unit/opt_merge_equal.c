/* Tests of opt/merge_equal.c: what is computed twice is computed once; what differs in anything
 * stays. */
#include "tests/unit/opt_build.h"

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,2,3]");
}

static void test_equal_chains(void) {
  fixture f;
  weft_value_id x = start(&f);
  weft_value_id a = op_unary(&f, TANH, op_binary(&f, MUL, x, scalar(&f, 2, 0)));
  weft_value_id b = op_unary(&f, TANH, op_binary(&f, MUL, x, scalar(&f, 2, 0)));
  APPLY(&f, merge_equal, op_binary(&f, ADD, a, b), "mul(x0, x1); tanh(x0); add(x0, x1); ");
}

static void test_constants_that_differ(void) {
  fixture f; /* in contents; in rank */
  weft_value_id x = start(&f), a = op_binary(&f, MUL, x, scalar(&f, 2, 0));
  weft_value_id b = op_binary(&f, MUL, x, scalar(&f, 3, 0));
  weft_value_id c = op_binary(&f, MUL, x, scalar(&f, 2, 1));
  APPLY(&f, merge_equal, op_binary(&f, ADD, op_binary(&f, ADD, a, b), c),
        "mul(x0, x1); mul(x0, x1); mul(x0, x1); add(x0, x1); add(x0, x1); ");
}

static void test_instructions_that_differ(void) {
  fixture f;
  weft_value_id x = start(&f), y = tensor(&f, "f32[batch,2,3]");
  weft_value_id a = op_binary(&f, SUB, x, y), b = op_binary(&f, SUB, y, x);
  weft_value_id c = op_binary(&f, DIV, x, y);
  APPLY(&f, merge_equal, op_binary(&f, ADD, op_binary(&f, ADD, a, b), c),
        "sub(x0, x1); sub(x0, x1); div(x0, x1); add(x0, x1); add(x0, x1); ");
}

static void test_attributes(void) {
  fixture f;
  weft_value_id x = start(&f), a = op_mean(&f, x, "1"), b = op_mean(&f, x, "1");
  weft_value_id c = op_mean(&f, x, "2");
  APPLY(&f, merge_equal, op_binary(&f, ADD, op_binary(&f, ADD, a, b), c),
        "reduce; reduce; add(x0, x1); add(x0, x1); ");
}

static weft_value_id extent(fixture *f, weft_value_id x, int32_t axis) {
  weft_attributes a = {.shape = {.start = axis, .end = axis + 1, .has_end = true}};
  return op_add_node(f, WEFT_OP_SHAPE, &x, 1, &a);
}

static void test_equal_extents(void) {
  fixture f; /* of different tensors, but of one symbol */
  weft_value_id x = start(&f), y = tensor(&f, "f32[batch,5]"), z = tensor(&f, "f32[other,5]");
  weft_value_id a = extent(&f, x, 0), b = extent(&f, y, 0), c = extent(&f, z, 0);
  APPLY(&f, merge_equal, op_binary(&f, MUL, op_binary(&f, MUL, a, b), c),
        "shape; shape; mul(x0, x1); mul(x0, x1); ");
}

static void test_equal_outputs_of_the_graph(void) {
  fixture f;
  weft_value_id x = start(&f), a = op_unary(&f, TANH, x);
  mark_output(&f, 0, a);
  APPLY(&f, merge_equal, op_unary(&f, TANH, x), "tanh(x0); ");
}

static void test_caches_stay_apart(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id past = tensor(&f, "f32[1,2,past,4]"), added = tensor(&f, "f32[1,2,3,4]");
  weft_value_id a = op_add_node(&f, WEFT_OP_APPEND, IDS(past, added), NULL);
  mark_output(&f, 0, a);
  weft_value_id b = op_add_node(&f, WEFT_OP_APPEND, IDS(past, added), NULL);
  APPLY(&f, merge_equal, b, "append; append; ");
}

int main(void) {
  CHECK_RUN(test_equal_chains);
  CHECK_RUN(test_constants_that_differ);
  CHECK_RUN(test_instructions_that_differ);
  CHECK_RUN(test_attributes);
  CHECK_RUN(test_equal_extents);
  CHECK_RUN(test_equal_outputs_of_the_graph);
  CHECK_RUN(test_caches_stay_apart);
  return check_result();
}
