/* Tests of opt/fuse_norm.c: layer and RMS norms in every spelling that exporters have, and what
 * only looks like one. */
#include "tests/unit/opt_build.h"

/* x [batch,8] -> (x - mean) / sqrt(mean((x - mean)^2) + epsilon), in parts that tests vary. */
typedef struct spelling {
  bool square_as_mul, quotient_as_mul, reciprocal, difference_twice, rms;
  float epsilon, power;
  int32_t epsilon_rank;
  const char *mean_axes, *variance_axes;
} spelling;

static const spelling plain = {
    .epsilon = 1e-5f, .power = 2, .mean_axes = "1", .variance_axes = "1"};

static weft_value_id square(fixture *f, const spelling *s, weft_value_id d) {
  return s->square_as_mul ? op_binary(f, MUL, d, d) : op_binary(f, POW, d, scalar(f, s->power, 0));
}

static weft_value_id quotient(fixture *f, const spelling *s, weft_value_id d, weft_value_id root) {
  if (!s->quotient_as_mul) return op_binary(f, DIV, d, root);
  weft_value_id inverse =
      s->reciprocal ? op_unary(f, RECIPROCAL, root) : op_binary(f, DIV, scalar(f, 1, 0), root);
  return op_binary(f, MUL, inverse, d);
}

static weft_value_id normalised(fixture *f, const spelling *s, weft_value_id x) {
  weft_value_id d = s->rms ? x : op_binary(f, SUB, x, op_mean(f, x, s->mean_axes)), again = d;
  if (s->difference_twice) again = op_binary(f, SUB, x, op_mean(f, x, s->mean_axes));
  weft_value_id variance = op_mean(f, square(f, s, d), s->variance_axes);
  weft_value_id epsilon = scalar(f, s->epsilon, s->epsilon_rank);
  return quotient(f, s, again, op_unary(f, SQRT, op_binary(f, ADD, variance, epsilon)));
}

static weft_value_id start(fixture *f, const spelling *s) {
  fixture_open(f);
  return normalised(f, s, tensor(f, "f32[batch,8]"));
}

static void expect(const spelling *s, const char *nodes) {
  fixture f;
  weft_value_id y = op_binary(&f, MUL, start(&f, s), weight(&f, "[8]", 1));
  if (!s->rms) y = op_binary(&f, ADD, weight(&f, "[8]", 2), y);
  APPLY(&f, fuse_norm, y, nodes);
}

static void test_spellings(void) {
  for (int bits = 0; bits < 16; bits++) {
    spelling s = plain;
    s.square_as_mul = bits & 1;
    s.quotient_as_mul = bits & 2;
    s.reciprocal = bits & 4;
    s.difference_twice = bits & 8;
    expect(&s, "norm.layer; ");
    s.rms = true;
    s.difference_twice = false;
    expect(&s, "norm.rms; ");
  }
}

static void test_without_bias(void) {
  fixture f;
  weft_value_id normal = start(&f, &plain), y = op_binary(&f, MUL, weight(&f, "[8]", 1), normal);
  APPLY(&f, fuse_norm, y, "norm.layer; ");
}

static void test_inner_values_with_other_users(void) {
  fixture f;
  weft_value_id normal = start(&f, &plain), y = op_binary(&f, MUL, normal, weight(&f, "[8]", 1));
  mark_output(&f, 0, normal); /* is computed as before, and the norm beside it */
  APPLY(&f, fuse_norm, y,
        "reduce; sub(x0, x1); pow(x0, x1); reduce; add(x0, x1); sqrt(x0); div(x0, x1); "
        "norm.layer; ");
}

#define LEFT                                                                                       \
  "reduce; sub(x0, x1); pow(x0, x1); reduce; add(x0, x1); sqrt(x0); div(x0, x1); mul(x0, x1); "

static void test_what_is_no_norm(void) {
  spelling s = plain;
  s.power = 3;
  expect(&s, LEFT "add(x0, x1); ");
  s = plain;
  s.mean_axes = "0"; /* no layer norm, but an RMS norm of the difference */
  expect(&s, "reduce; sub(x0, x1); norm.rms; ");
  s.variance_axes = "0"; /* both over the first axis */
  expect(&s, LEFT "add(x0, x1); ");
  s = plain;
  s.epsilon_rank = 3; /* the result has rank 3 */
  expect(&s, LEFT "add(x0, x1); ");
}

static void test_scales_that_do_not_fit(void) {
  static const char *const shapes[] = {"[1]", "[1,8]", "[2,8]"};
  for (int i = 0; i < 3; i++) {
    fixture f;
    weft_value_id normal = start(&f, &plain), scale = weight(&f, shapes[i], 1);
    if (i == 2) scale = op_view(&f, WEFT_VIEW_RESHAPE, scale, INTEGERS(&f, 2, 1, 8));
    weft_value_id y = op_binary(&f, MUL, normal, scale);
    APPLY(&f, fuse_norm, y,
          i == 2 ? "reduce; sub(x0, x1); pow(x0, x1); reduce; add(x0, x1); sqrt(x0); div(x0, x1); "
                   "reshape; mul(x0, x1); "
                 : LEFT);
  }
}

static void test_scale_that_is_computed(void) {
  fixture f;
  weft_value_id normal = start(&f, &plain);
  APPLY(&f, fuse_norm, op_binary(&f, MUL, normal, tensor(&f, "f32[8]")), LEFT);
}

static void test_two_axes(void) {
  fixture f;
  fixture_open(&f);
  spelling s = plain;
  s.mean_axes = "12";
  s.variance_axes = "21";
  weft_value_id normal = normalised(&f, &s, tensor(&f, "f32[batch,3,4]"));
  APPLY(&f, fuse_norm, op_binary(&f, MUL, normal, weight(&f, "[3,4]", 1)), "norm.layer; ");
}

/* Of f16 in f32, but for the scale; and of f32 that is cast before the scale. */
static void test_casts(void) {
  fixture f;
  spelling s = plain;
  s.rms = true;
  fixture_open(&f);
  weft_value_id x = op_cast(&f, tensor(&f, "f16[batch,8]"), WEFT_F32);
  weft_value_id y = op_cast(&f, normalised(&f, &s, x), WEFT_F16);
  APPLY(&f, fuse_norm, op_binary(&f, MUL, weight_f16(&f, "[8]", 1), y), "norm.rms; ");
  fixture_open(&f);
  y = op_cast(&f, normalised(&f, &s, tensor(&f, "f32[batch,8]")), WEFT_F16);
  APPLY(&f, fuse_norm, op_binary(&f, MUL, y, weight_f16(&f, "[8]", 1)),
        "pow(x0, x1); reduce; add(x0, x1); sqrt(x0); div(x0, x1); f16(x0); mul(x0, x1); ");
}

int main(void) {
  for (int half = 0; half < 2; half++) {
    in_f16 = half;
    CHECK_RUN(test_spellings);
    CHECK_RUN(test_without_bias);
    CHECK_RUN(test_inner_values_with_other_users);
    CHECK_RUN(test_what_is_no_norm);
    CHECK_RUN(test_scales_that_do_not_fit);
    CHECK_RUN(test_scale_that_is_computed);
    CHECK_RUN(test_two_axes);
  }
  in_f16 = false;
  CHECK_RUN(test_casts);
  return check_result();
}
