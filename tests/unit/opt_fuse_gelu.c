/* Tests of opt/fuse_gelu.c: GELU (erf and tanh) and SiLU in every order and grouping, and products
 * that only look like them. */
#include "tests/unit/opt_build.h"

/* x / sqrt 2 */
static weft_value_id erf_argument(fixture *f, weft_value_id x, int form, float root) {
  if (form == 0) return op_binary(f, DIV, x, scalar(f, root, 0));
  if (form == 1) return op_binary(f, MUL, x, scalar(f, 1 / root, 0));
  return op_binary(f, MUL, scalar(f, 1 / root, 1), x);
}

/* sqrt(2/pi) (x + 0.044715 x^3) */
static weft_value_id tanh_argument(fixture *f, weft_value_id x, int form, float cubic) {
  weft_value_id third, sum, c = scalar(f, cubic, 0), root = scalar(f, 0.7978845608f, 0);
  if (form == 2) { /* x (1 + 0.044715 x^2) */
    weft_value_id two = op_binary(f, MUL, op_binary(f, MUL, c, x), x);
    return op_binary(f, MUL, op_binary(f, MUL, x, root), op_binary(f, ADD, scalar(f, 1, 0), two));
  }
  third = form == 0 ? op_binary(f, POW, x, scalar(f, 3, 0))
                    : op_binary(f, MUL, op_binary(f, MUL, x, x), x);
  sum = op_binary(f, ADD, op_binary(f, MUL, third, c), x);
  return op_binary(f, MUL, sum, root);
}

/* x, 0.5 and (1 + inner) multiplied in one of the orders. */
static weft_value_id gate(fixture *f, weft_value_id x, weft_value_id inner, int order, float half) {
  weft_value_id one = scalar(f, 1, 0), h = scalar(f, half, 0);
  weft_value_id sum = order & 1 ? op_binary(f, ADD, one, inner) : op_binary(f, ADD, inner, one);
  switch (order >> 1) {
  case 0:
    return op_binary(f, MUL, op_binary(f, MUL, x, sum), h);
  case 1:
    return op_binary(f, MUL, op_binary(f, MUL, h, x), sum);
  case 2:
    return op_binary(f, MUL, x, op_binary(f, MUL, sum, h));
  default:
    return op_binary(f, DIV, op_binary(f, MUL, sum, x), scalar(f, 1 / half, 0));
  }
}

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,6]");
}

static void test_erf(void) {
  for (int form = 0; form < 3; form++) {
    for (int order = 0; order < 8; order++) {
      fixture f;
      weft_value_id x = start(&f);
      weft_value_id inner = op_unary(&f, ERF, erf_argument(&f, x, form, 1.41421356f));
      APPLY(&f, fuse_gelu, gate(&f, x, inner, order, 0.5f), "gelu_erf(x0); ");
    }
  }
}

static void test_tanh(void) {
  for (int form = 0; form < 3; form++) {
    for (int order = 0; order < 8; order++) {
      fixture f;
      weft_value_id x = start(&f);
      weft_value_id inner = op_unary(&f, TANH, tanh_argument(&f, x, form, 0.044715f));
      APPLY(&f, fuse_gelu, gate(&f, x, inner, order, 0.5f), "gelu_tanh(x0); ");
    }
  }
}

static void test_silu(void) {
  for (int order = 0; order < 2; order++) {
    fixture f;
    weft_value_id x = start(&f), s = op_unary(&f, SIGMOID, x);
    weft_value_id y = order ? op_binary(&f, MUL, x, s) : op_binary(&f, MUL, s, x);
    APPLY(&f, fuse_gelu, y, "silu(x0); ");
  }
}

static void test_gated(void) {
  fixture f; /* gelu(x) * z: the product goes on */
  weft_value_id x = start(&f), z = tensor(&f, "f32[batch,6]");
  weft_value_id inner = op_unary(&f, ERF, erf_argument(&f, x, 0, 1.41421356f));
  weft_value_id y = op_binary(&f, MUL, gate(&f, x, inner, 0, 0.5f), z);
  APPLY(&f, fuse_gelu, y, "gelu_erf(x0); mul(x0, x1); ");
}

#define ERF_LEFT "div(x0, x1); erf(x0); add(x0, x1); mul(x0, x1); mul(x0, x1); "

static void test_wrong_constants(void) {
  static const struct {
    float root, half;
  } wrong[] = {{1.5f, 0.5f}, {1.41421356f, 0.51f}, {-1.41421356f, 0.5f}};
  for (int i = 0; i < 3; i++) {
    fixture f;
    weft_value_id x = start(&f);
    weft_value_id inner = op_unary(&f, ERF, erf_argument(&f, x, 0, wrong[i].root));
    APPLY(&f, fuse_gelu, gate(&f, x, inner, 0, wrong[i].half), ERF_LEFT);
  }
  fixture f;
  weft_value_id x = start(&f);
  weft_value_id inner = op_unary(&f, TANH, tanh_argument(&f, x, 0, 0.0448f));
  APPLY(&f, fuse_gelu, gate(&f, x, inner, 0, 0.5f),
        "pow(x0, x1); mul(x0, x1); add(x0, x1); mul(x0, x1); tanh(x0); add(x0, x1); mul(x0, x1); "
        "mul(x0, x1); ");
}

/* x^1.5 x^1.5 is no x^3 below zero. */
static void test_powers_in_parts(void) {
  fixture f;
  weft_value_id x = start(&f), half = op_binary(&f, POW, x, scalar(&f, 1.5f, 0));
  weft_value_id cubic =
      op_binary(&f, MUL, op_binary(&f, MUL, half, half), scalar(&f, 0.044715f, 0));
  weft_value_id inner = op_binary(&f, MUL, op_binary(&f, ADD, x, cubic), scalar(&f, 0.7978846f, 0));
  APPLY(&f, fuse_gelu, gate(&f, x, op_unary(&f, TANH, inner), 0, 0.5f),
        "pow(x0, x1); mul(x0, x1); mul(x0, x1); add(x0, x1); mul(x0, x1); tanh(x0); add(x0, x1); "
        "mul(x0, x1); mul(x0, x1); ");
}

static void test_wrong_values(void) {
  fixture f; /* erf of another value */
  weft_value_id x = start(&f), z = tensor(&f, "f32[batch,6]");
  weft_value_id inner = op_unary(&f, ERF, erf_argument(&f, z, 0, 1.41421356f));
  APPLY(&f, fuse_gelu, gate(&f, x, inner, 0, 0.5f), ERF_LEFT);
  x = start(&f), z = tensor(&f, "f32[batch,6]");
  APPLY(&f, fuse_gelu, op_binary(&f, MUL, x, op_unary(&f, SIGMOID, z)),
        "sigmoid(x0); mul(x0, x1); ");
}

static void test_constant_that_widens(void) {
  fixture f; /* sqrt 2 as [1,1,1] gives a result of rank 3 */
  weft_value_id x = start(&f);
  weft_value_id scaled = op_binary(&f, DIV, x, scalar(&f, 1.41421356f, 3));
  APPLY(&f, fuse_gelu, gate(&f, x, op_unary(&f, ERF, scaled), 0, 0.5f), ERF_LEFT);
}

static void test_inner_values_with_other_users(void) {
  fixture f;
  weft_value_id x = start(&f), s = op_unary(&f, SIGMOID, x);
  mark_output(&f, 0, s);
  APPLY(&f, fuse_gelu, op_binary(&f, MUL, x, s), "sigmoid(x0); silu(x0); ");
}

/* A product of any length is looked through to a bounded depth only. */
static void test_long_products(void) {
  fixture f;
  fixture_open(&f);
  machine m;
  machine_open(&m, &f, NULL);
  weft_value_id x = tensor(&f, "f32[4]"), y = x, two = scalar(&f, 2, 0);
  for (int i = 0; i < 60000; i++) y = op_binary(&f, DIV, y, two);
  mark_output(&f, 0, y);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_fuse_gelu(&f.graph, &context, &f.error), &f.error);
  machine_close(&m);
  fixture_close(&f);
}

int main(void) {
  for (int half = 0; half < 2; half++) {
    in_f16 = half;
    CHECK_RUN(test_erf);
    CHECK_RUN(test_tanh);
    CHECK_RUN(test_silu);
    CHECK_RUN(test_gated);
    CHECK_RUN(test_wrong_constants);
    CHECK_RUN(test_powers_in_parts);
    CHECK_RUN(test_wrong_values);
    CHECK_RUN(test_constant_that_widens);
    CHECK_RUN(test_inner_values_with_other_users);
  }
  in_f16 = false;
  CHECK_RUN(test_long_products);
  return check_result();
}
