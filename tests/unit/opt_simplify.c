/* Tests of opt/simplify.c and opt/remove_dead.c: what changes nothing goes, what changes a bit
 * stays. */
#include "tests/unit/opt_build.h"

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,2,3]");
}

/* ---- views ----------------------------------------------------------------------------------- */

static void test_idle_views(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_transpose(&f, x, "012");
  y = op_view(&f, WEFT_VIEW_RESHAPE, y, INTEGERS(&f, 0, 2, 3));
  y = op_view(&f, WEFT_VIEW_EXPAND, y, INTEGERS(&f, 2, 1));
  APPLY(&f, simplify, op_unary(&f, TANH, y), "tanh(x0); ");
}

static void test_idle_up_to_the_output(void) {
  fixture f;
  weft_value_id x = start(&f);
  APPLY(&f, simplify, op_transpose(&f, x, "012"), "");
}

static void test_views_that_do_something(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_slice(&f, x, 2, -1, -4, -1); /* reversed: of equal shape */
  y = op_view(&f, WEFT_VIEW_RESHAPE, y, INTEGERS(&f, 0, 3, 2));
  APPLY(&f, simplify, op_transpose(&f, y, "102"), "slice; reshape; transpose; ");
}

static void test_square_transpose(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[3,3]");
  APPLY(&f, simplify, op_transpose(&f, x, "10"), "transpose; ");
}

static void test_transposes_that_cancel(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_transpose(&f, op_transpose(&f, x, "120"), "201");
  APPLY(&f, simplify, op_unary(&f, TANH, y), "tanh(x0); ");
}

static void test_transposes_that_join(void) {
  fixture f;
  weft_value_id x = start(&f), t = op_transpose(&f, x, "120");
  mark_output(&f, 0, t); /* stays for its own sake */
  APPLY(&f, simplify, op_transpose(&f, t, "102"), "transpose; transpose; ");
}

static void test_negative_axes(void) {
  fixture f;
  weft_value_id x = start(&f);
  weft_attributes a = {
      .view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {.count = 3, .axes = {-1, -3, -2}}}};
  weft_value_id t = op_add_node(&f, WEFT_OP_VIEW, &x, 1, &a);
  APPLY(&f, simplify, op_add_node(&f, WEFT_OP_VIEW, &t, 1, &a), "transpose; ");
}

/* ---- maps ------------------------------------------------------------------------------------ */

static void test_neutral_elements(void) {
  fixture f;
  weft_value_id x = start(&f), one = scalar(&f, 1, 0), zero = scalar(&f, 0, 1);
  weft_value_id y = op_binary(&f, MUL, one, op_binary(&f, MUL, x, one));
  y = op_binary(&f, POW, op_binary(&f, DIV, op_binary(&f, SUB, y, zero), one), one);
  APPLY(&f, simplify, op_unary(&f, TANH, op_cast(&f, y, WEFT_F32)), "tanh(x0); ");
}

static void test_what_is_not_neutral(void) {
  fixture f; /* x + 0 turns -0 into 0; 1 / x and 0 - x are other things */
  weft_value_id x = start(&f), one = scalar(&f, 1, 0), zero = scalar(&f, 0, 0);
  weft_value_id y = op_binary(&f, ADD, x, zero);
  y = op_binary(&f, SUB, zero, op_binary(&f, DIV, one, y));
  APPLY(&f, simplify, op_binary(&f, MUL, y, zero),
        "add(x0, x1); div(x0, x1); sub(x0, x1); mul(x0, x1); ");
}

static void test_neutral_that_widens(void) {
  fixture f;
  weft_value_id x = start(&f);
  APPLY(&f, simplify, op_binary(&f, MUL, x, scalar(&f, 1, 4)), "mul(x0, x1); ");
}

static void test_cast_to_another_type(void) {
  fixture f;
  weft_value_id x = start(&f), y = op_cast(&f, op_cast(&f, x, WEFT_I32), WEFT_F32);
  APPLY(&f, simplify, y, "i32(x0); f32(x0); ");
}

/* ---- dead nodes ------------------------------------------------------------------------------ */

static weft_value_id in_region(fixture *f, uint32_t region, weft_value_id x) {
  weft_dtype dtype = WEFT_F32;
  weft_node *node = add_node(f, region, WEFT_OP_MAP, &x, 1, NULL);
  CHECK_OK(weft_graph_simple_expr(&f->graph, WEFT_EXPR_TANH, &dtype, 1, WEFT_F32,
                                  &node->attributes.map.expr, &f->error),
           &f->error);
  return finish(f, node);
}

/* An `if` whose branches each apply tanh to `x`. */
static weft_value_id add_if(fixture *f, weft_value_id condition, weft_value_id x) {
  weft_attributes a = {0};
  uint32_t *regions[] = {&a.branches.then_region, &a.branches.else_region};
  for (int i = 0; i < 2; i++) {
    CHECK_OK(weft_graph_add_region(&f->graph, 0, regions[i], &f->error), &f->error);
    mark_output(f, *regions[i], in_region(f, *regions[i], x));
  }
  return op_add_node(f, WEFT_OP_IF, &condition, 1, &a);
}

static weft_value_id truth(fixture *f, bool value) {
  weft_shape shape = {0};
  weft_buffer *data = weft_buffer_new(&f->heap, 1);
  data->data[0] = value;
  weft_value_id id = NONE;
  CHECK_OK(
      weft_graph_add_constant(&f->graph, WEFT_STR(""), WEFT_BOOL, &shape, data, &id, &f->error),
      &f->error);
  return id;
}

static void test_dead_chain(void) {
  fixture f;
  weft_value_id x = start(&f), dead = x;
  for (int i = 0; i < 1000; i++) dead = op_unary(&f, TANH, dead);
  APPLY(&f, remove_dead, op_unary(&f, ABS, x), "abs(x0); ");
}

static void test_dead_branches(void) {
  fixture f;
  weft_value_id x = start(&f), outer = op_unary(&f, NEG, x);
  add_if(&f, truth(&f, true), outer); /* nobody wants it, so nobody wants `outer` */
  APPLY(&f, remove_dead, op_unary(&f, ABS, x), "abs(x0); ");
}

static void test_live_branches(void) {
  fixture f;
  weft_value_id x = start(&f), outer = op_unary(&f, NEG, x);
  APPLY(&f, remove_dead, add_if(&f, truth(&f, false), outer),
        "neg(x0); < tanh(x0); > < tanh(x0); > if; ");
}

int main(void) {
  CHECK_RUN(test_idle_views);
  CHECK_RUN(test_idle_up_to_the_output);
  CHECK_RUN(test_views_that_do_something);
  CHECK_RUN(test_square_transpose);
  CHECK_RUN(test_transposes_that_cancel);
  CHECK_RUN(test_transposes_that_join);
  CHECK_RUN(test_negative_axes);
  CHECK_RUN(test_neutral_elements);
  CHECK_RUN(test_what_is_not_neutral);
  CHECK_RUN(test_neutral_that_widens);
  CHECK_RUN(test_cast_to_another_type);
  CHECK_RUN(test_dead_chain);
  CHECK_RUN(test_dead_branches);
  CHECK_RUN(test_live_branches);
  return check_result();
}
