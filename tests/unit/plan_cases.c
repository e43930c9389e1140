/* Tests of the planner case by case: what shares memory, what an output may lie in, what is copied,
 * what is not run, and how input shapes are refused. */
#include "tests/unit/plan_check.h"

typedef struct planned {
  fixture f;
  machine m;
  weft_plan plan;
  int64_t dims[64 * 8];
} planned;

static weft_value_id start(planned *p, const char *input) {
  fixture_open(&p->f);
  machine_open(&p->m, &p->f, "reference");
  return tensor(&p->f, input);
}

static void build(planned *p) {
  if (CHECK_OK(plan_graph(&p->m, &p->f.graph, p->dims, &p->plan), &p->m.error))
    CHECK(plan_is_sound(&p->plan));
}

static void finish_case(planned *p) {
  weft_plan_release(&p->plan);
  machine_close(&p->m);
  fixture_close(&p->f);
}

/* Runs the plan and looks at one float of each output. */
static void check_floats(planned *p, uint64_t index, const float *expected, uint32_t count) {
  run_result result = {0};
  CHECK_OK(run_plan(&p->m, &p->plan, &result), &p->m.error);
  for (uint32_t i = 0; i < count; i++) {
    float value;
    memcpy(&value, result.data[i] + index * sizeof value, sizeof value);
    CHECK(value == expected[i]);
  }
  release_result(&result);
}

/* What fill_random gives for element `index` of input 0. */
static float input_float(uint64_t index) {
  float data[64];
  fill_random((uint8_t *)data, WEFT_F32, 64, 0);
  return data[index];
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_chain_in_place(void) {
  planned p;
  weft_value_id x = start(&p, "f32[64]");
  for (int i = 0; i < 6; i++) x = op_unary(&p.f, NEG, x);
  mark_output(&p.f, 0, x);
  build(&p);
  CHECK_INT(p.plan.step_count, 6);
  for (uint32_t i = 0; i < 5; i++) CHECK_INT(p.plan.steps[i].outputs[0]->offset, 0);
  CHECK_INT(p.plan.steps[0].inputs[0]->slot, 1); /* the caller's tensor is not written */
  CHECK_INT(p.plan.steps[5].outputs[0]->slot, 2);
  finish_case(&p);
}

static void test_input_that_lives_on(void) {
  planned p;
  weft_value_id x = start(&p, "f32[64]"), t = op_unary(&p.f, NEG, x), u = op_unary(&p.f, ABS, t);
  mark_output(&p.f, 0, op_binary(&p.f, SUB, u, t));
  build(&p);
  CHECK(p.plan.steps[1].outputs[0]->offset != p.plan.steps[0].outputs[0]->offset);
  CHECK_INT(p.plan.arena_bytes_live, 512 + p.plan.steps[1].scratch_bytes);
  finish_case(&p);
}

static void test_other_sizes_and_orders(void) {
  planned p; /* a transposed or smaller input, or one of another element size, is not overwritten */
  weft_value_id x = start(&p, "f32[8,8]"), t = op_unary(&p.f, NEG, x);
  mark_output(&p.f, 0, op_unary(&p.f, ABS, op_unary(&p.f, NEG, op_transpose(&p.f, t, "10"))));
  t = op_slice(&p.f, op_unary(&p.f, ABS, x), 0, 0, 1, 1);
  mark_output(&p.f, 0, op_unary(&p.f, ABS, op_binary(&p.f, ADD, t, x)));
  t = op_cast(&p.f, op_unary(&p.f, TANH, x), WEFT_I64);
  mark_output(&p.f, 0, op_cast(&p.f, op_unary(&p.f, NEG, t), WEFT_I32));
  build(&p);
  for (uint32_t i = 0; i < p.plan.step_count; i++) {
    const weft_array *from = p.plan.steps[i].inputs[0], *to = p.plan.steps[i].outputs[0];
    bool alike = weft_array_is_dense(from) && from->elements == to->elements &&
                 weft_dtype_size(from->dtype) == weft_dtype_size(to->dtype);
    if (!alike) CHECK(lie_apart_or_equal(from, to) && from->offset != to->offset);
  }
  finish_case(&p);
}

static void test_memory_is_used_again(void) {
  planned p;
  weft_value_id x = start(&p, "f32[16,16]");
  for (int i = 0; i < 20; i++) x = op_softmax(&p.f, x, 1); /* never in place */
  mark_output(&p.f, 0, x);
  build(&p);
  CHECK(p.plan.arena_bytes <= 2 * 1024 + 2 * p.plan.steps[0].scratch_bytes);
  CHECK_INT(p.plan.arena_bytes, p.plan.arena_bytes_live);
  finish_case(&p);
}

static void test_long_chain(void) {
  planned p; /* in time that grows with its length */
  weft_value_id x = start(&p, "f32[4]");
  for (int i = 0; i < 100000; i++) x = op_unary(&p.f, NEG, x);
  mark_output(&p.f, 0, x);
  build(&p);
  CHECK_INT(p.plan.step_count, 100000);
  CHECK_INT(p.plan.arena_bytes_live, 64 + p.plan.steps[0].scratch_bytes);
  finish_case(&p);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static void test_output_cut_off_the_end(void) {
  planned p; /* 60 bytes of 64: the producer writes 64 */
  weft_value_id x = start(&p, "f32[16]");
  mark_output(&p.f, 0, op_slice(&p.f, op_unary(&p.f, NEG, x), 0, 0, 15, 1));
  build(&p);
  CHECK_INT(p.plan.step_count, 2);
  CHECK(p.plan.steps[1].is_copy);
  check_floats(&p, 14, (float[]){-input_float(14)}, 1);
  finish_case(&p);
}

static void test_outputs_that_share(void) {
  planned p;
  weft_value_id x = start(&p, "f32[2,8]"), t = op_unary(&p.f, NEG, x);
  weft_value_id flat = op_view(&p.f, WEFT_VIEW_RESHAPE, t, INTEGERS(&p.f, 16));
  mark_output(&p.f, 0, x); /* an input */
  mark_output(&p.f, 0, t);
  mark_output(&p.f, 0, t);    /* the same again */
  mark_output(&p.f, 0, flat); /* a view of it */
  mark_output(&p.f, 0, scalar(&p.f, 7, 1));
  mark_output(&p.f, 0, op_slice(&p.f, x, 1, 1, 8, 1));
  build(&p);
  CHECK_INT(p.plan.step_count, 6); /* one writes in place, five copy */
  check_floats(&p, 0,
               (float[]){input_float(0), -input_float(0), -input_float(0), -input_float(0), 7,
                         input_float(1)},
               6);
  finish_case(&p);
}

static void test_view_is_the_only_output(void) {
  planned p; /* all of a dense value, under another shape: nothing to copy */
  weft_value_id x = start(&p, "f32[2,8]"), t = op_unary(&p.f, NEG, x);
  mark_output(&p.f, 0, op_view(&p.f, WEFT_VIEW_RESHAPE, t, INTEGERS(&p.f, 4, -1)));
  build(&p);
  CHECK_INT(p.plan.step_count, 1);
  CHECK_INT(p.plan.arena_bytes, p.plan.steps[0].scratch_bytes);
  finish_case(&p);
}

static void test_outputs_not_asked_for(void) {
  planned p;
  weft_value_id x = start(&p, "f32[4]"), unused = tensor(&p.f, "f32[5]");
  mark_output(&p.f, 0, op_unary(&p.f, NEG, x));
  mark_output(&p.f, 0, op_unary(&p.f, ABS, unused));
  int64_t four = 4, five = 5;
  weft_plan_request request = {.dims = (const int64_t *[]){&four, &five},
                               .ranks = (uint32_t[]){1, 1},
                               .wanted = (bool[]){true, false}};
  CHECK_OK(weft_plan_build(&p.f.graph, p.m.device, &request, p.m.heap, &p.plan, &p.m.error),
           &p.m.error);
  CHECK_INT(p.plan.step_count, 1);
  CHECK(p.plan.outputs[1] == NULL && p.plan.inputs[1] == NULL);
  CHECK_INT(p.plan.signature_length, 6);
  static const int64_t signature[] = {1, 4, 1, 5, true, false};
  CHECK(memcmp(p.plan.signature, signature, sizeof signature) == 0);
  finish_case(&p);
}

/* ---- views ----------------------------------------------------------------------------------- */

static void test_views_cost_nothing(void) {
  planned p;
  weft_value_id x = start(&p, "f32[4,6]"), v = op_transpose(&p.f, x, "10");
  v = op_slice(&p.f, v, 0, -1, -7, -2); /* rows 5, 3, 1 */
  v = op_transpose(&p.f, op_slice(&p.f, v, 1, 1, 4, 1), "10");
  mark_output(&p.f, 0, op_unary(&p.f, NEG, v)); /* [3,3] */
  build(&p);
  CHECK_INT(p.plan.step_count, 1);
  check_floats(&p, 0, (float[]){-input_float(6 + 5)}, 1);
  finish_case(&p);
}

static void test_copies_are_shared(void) {
  planned p; /* a reshape that strides cannot say; two users of one transposed value */
  weft_value_id x = start(&p, "f32[4,6]"), t = op_transpose(&p.f, x, "10");
  mark_output(&p.f, 0, op_softmax(&p.f, t, 1));
  mark_output(&p.f, 0, op_softmax(&p.f, t, 0));
  weft_value_id flat = op_view(&p.f, WEFT_VIEW_RESHAPE, t, INTEGERS(&p.f, 24));
  mark_output(&p.f, 0, op_unary(&p.f, NEG, flat));
  build(&p);
  uint32_t copies = 0;
  for (uint32_t i = 0; i < p.plan.step_count; i++) copies += p.plan.steps[i].is_copy;
  CHECK_INT(copies, 1);
  CHECK_INT(p.plan.step_count, 4);
  finish_case(&p);
}

static void test_shape_arithmetic_leaves_no_steps(void) {
  planned p;
  weft_value_id x = start(&p, "f32[batch,6]");
  weft_value_id shape = op_add_node(&p.f, WEFT_OP_SHAPE, &x, 1, NULL);
  weft_value_id doubled = op_binary(&p.f, ADD, shape, shape);
  weft_attributes fill = {.fill = {.dtype = WEFT_F32}};
  weft_value_id zeros = op_add_node(&p.f, WEFT_OP_FILL, &doubled, 1, &fill);
  mark_output(&p.f, 0, zeros);
  mark_output(&p.f, 0, doubled);
  build(&p);
  CHECK_INT(p.plan.outputs[0]->dims[0], 4); /* batch is 2 */
  CHECK_INT(p.plan.step_count, 2);          /* the fill, and the list as an output */
  finish_case(&p);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void expect_refusal(planned *p, const int64_t *a, uint32_t rank, const int64_t *b,
                           const char *message) {
  weft_plan_request request = {
      .dims = (const int64_t *[]){a, b}, .ranks = (uint32_t[]){rank, 2}, .wanted = (bool[]){true}};
  weft_status status =
      weft_plan_build(&p->f.graph, p->m.device, &request, p->m.heap, &p->plan, &p->m.error);
  CHECK_INT(status, WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(p->m.error.message, message);
}

static void test_wrong_shapes(void) {
  planned p;
  weft_value_id x = start(&p, "f32[batch,6]"), y = tensor(&p.f, "f32[batch,6]");
  mark_output(&p.f, 0, op_binary(&p.f, ADD, x, y));
  static const int64_t good[] = {2, 6}, other[] = {3, 6}, wide[] = {2, 7}, negative[] = {-1, 6};
  expect_refusal(&p, good, 1, good, "input 'value_0': rank is 1, but 2 is expected");
  expect_refusal(&p, good, 2, other,
                 "input 'value_1': dimension 0 is 3, but batch = 2 is expected");
  expect_refusal(&p, wide, 2, good, "input 'value_0': dimension 1 is 7, but 6 is expected");
  expect_refusal(&p, negative, 2, good, "input 'value_0': dimension 0 is negative");
  finish_case(&p);
}

int main(void) {
  CHECK_RUN(test_chain_in_place);
  CHECK_RUN(test_input_that_lives_on);
  CHECK_RUN(test_other_sizes_and_orders);
  CHECK_RUN(test_memory_is_used_again);
  CHECK_RUN(test_long_chain);
  CHECK_RUN(test_output_cut_off_the_end);
  CHECK_RUN(test_outputs_that_share);
  CHECK_RUN(test_view_is_the_only_output);
  CHECK_RUN(test_outputs_not_asked_for);
  CHECK_RUN(test_views_cost_nothing);
  CHECK_RUN(test_copies_are_shared);
  CHECK_RUN(test_shape_arithmetic_leaves_no_steps);
  CHECK_RUN(test_wrong_shapes);
  return check_result();
}
