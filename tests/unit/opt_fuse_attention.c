/* Tests of opt/fuse_attention.c: where the scale and the mask may stand, the transpose that is
 * taken in, and shapes that the core op has no room for. */
#include "tests/unit/opt_build.h"

typedef enum scale_place { ON_SCORES, DIVIDES_SCORES, ON_Q, ON_K, ON_BOTH, NOWHERE } scale_place;

typedef struct form {
  const char *q, *k, *v, *mask; /* k: [B,H,D,T] */
  scale_place scale;
  bool mask_first, softmax_shared, log, heads_last;
  int32_t axis;
} form;

static const form plain = {.q = "f32[batch,2,tokens,4]",
                           .k = "f32[batch,2,4,tokens]",
                           .v = "f32[batch,2,tokens,5]",
                           .axis = -1};

static weft_value_id scaled(fixture *f, weft_value_id x, float by, bool here) {
  return here ? op_binary(f, MUL, x, scalar(f, by, 0)) : x;
}

static weft_value_id scores(fixture *f, const form *a) {
  weft_value_id q = tensor(f, a->q), k = tensor(f, a->k);
  q = scaled(f, q, a->scale == ON_BOTH ? 0.7f : 0.5f, a->scale == ON_Q || a->scale == ON_BOTH);
  k = scaled(f, k, a->scale == ON_BOTH ? 0.7f : 0.5f, a->scale == ON_K || a->scale == ON_BOTH);
  weft_value_id s = scaled(f, op_matmul(f, q, k), 0.5f, a->scale == ON_SCORES);
  if (a->scale == DIVIDES_SCORES) s = op_binary(f, DIV, s, scalar(f, 2, 0));
  if (!a->mask) return s;
  weft_value_id mask = tensor(f, a->mask);
  return a->mask_first ? op_binary(f, ADD, mask, s) : op_binary(f, ADD, s, mask);
}

static void expect(const form *a, const char *nodes) {
  fixture f;
  fixture_open(&f);
  weft_value_id s = scores(&f, a);
  weft_attributes softmax = {.softmax = {.axis = a->axis, .log = a->log}};
  weft_value_id w = op_add_node(&f, WEFT_OP_SOFTMAX, &s, 1, &softmax);
  if (a->softmax_shared) mark_output(&f, 0, w);
  weft_value_id y = op_matmul(&f, w, tensor(&f, a->v));
  if (a->heads_last) y = op_transpose(&f, y, "0213");
  APPLY(&f, fuse_attention, y, nodes);
}

static void test_scales(void) {
  for (scale_place place = ON_SCORES; place <= NOWHERE; place++) {
    form a = plain;
    a.scale = place;
    expect(&a, "transpose; attention; ");
    a.heads_last = true;
    expect(&a, "transpose; attention.heads_last; ");
  }
}

static void test_masks(void) {
  static const char *const masks[] = {"f32[batch,1,1,tokens]", "f32[batch,2,tokens,tokens]",
                                      "f32[tokens,tokens]", "f32[1,1,1,tokens]", "f32[tokens]"};
  for (int i = 0; i < 10; i++) {
    form a = plain;
    a.mask = masks[i / 2];
    a.mask_first = i % 2;
    expect(&a, "transpose; attention; ");
  }
}

#define LEFT "matmul; mul(x0, x1); "

static void test_masks_that_do_not_fit(void) {
  form a = plain;
  a.mask = "f32[2,1,1,1,tokens]"; /* scores of rank 5 */
  expect(&a, LEFT "add(x0, x1); softmax; matmul; ");
}

static void test_what_is_no_attention(void) {
  form a = plain;
  a.log = true;
  expect(&a, LEFT "softmax; matmul; ");
  a = plain;
  a.axis = 2;
  expect(&a, LEFT "softmax; matmul; ");
  a = plain;
  a.softmax_shared = true; /* the weights are an output too */
  expect(&a, LEFT "softmax; matmul; ");
}

static void test_heads_that_are_broadcast(void) {
  form a = plain;
  a.k = "f32[batch,1,4,tokens]";
  expect(&a, LEFT "softmax; matmul; ");
  a = plain;
  a.v = "f32[1,2,tokens,5]";
  expect(&a, LEFT "softmax; matmul; ");
}

static void test_rank_3(void) {
  form a = plain;
  a.q = "f32[batch,tokens,4]";
  a.k = "f32[batch,4,tokens]";
  a.v = "f32[batch,tokens,5]";
  expect(&a, LEFT "softmax; matmul; ");
}

static void test_scale_that_is_computed(void) {
  fixture f;
  fixture_open(&f);
  form a = plain;
  a.scale = NOWHERE;
  weft_value_id s = op_binary(&f, MUL, scores(&f, &a), tensor(&f, "f32[1]"));
  weft_value_id y = op_matmul(&f, op_softmax(&f, s, 3), tensor(&f, a.v));
  APPLY(&f, fuse_attention, y, LEFT "softmax; matmul; ");
}

/* Two transposes of the result: each wants it as it is. */
static void test_result_with_two_users(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id w = op_softmax(&f, scores(&f, &plain), 3);
  weft_value_id y = op_matmul(&f, w, tensor(&f, plain.v));
  mark_output(&f, 0, op_transpose(&f, y, "0213"));
  APPLY(&f, fuse_attention, op_transpose(&f, y, "0213"),
        "transpose; attention; transpose; transpose; ");
}

/* softmax(Where(allowed, scores, lowest)); none of the rows is all hidden. */
static void expect_where(const char *allowed, float lowest, const char *nodes) {
  fixture f;
  fixture_open(&f);
  form a = plain;
  a.scale = ON_SCORES;
  weft_value_id s = scores(&f, &a);
  s = op_map3(&f, WEFT_EXPR_SELECT, tensor(&f, allowed), s, scalar(&f, lowest, 0));
  weft_value_id y = op_matmul(&f, op_softmax(&f, s, 3), tensor(&f, a.v));
  APPLY(&f, fuse_attention, y, nodes);
}

static void test_where(void) {
  expect_where("bool[tokens,tokens]", -3.4e38f,
               "transpose; select(x0, 0, -3.39999995e+38); attention; ");
  expect_where("bool[batch,1,1,tokens]", -1e30f,
               "transpose; select(x0, 0, -1.00000002e+30); attention; ");
  expect_where("bool[tokens]", -1e4f, LEFT "select(x0, x1, x2); softmax; matmul; ");
  expect_where("bool[2,1,1,1,tokens]", -3e38f, LEFT "select(x0, x1, x2); softmax; matmul; ");
}

/* Nothing in f16 is so low that a score added to it is lost. */
static void test_where_in_f16(void) {
  in_f16 = true;
  expect_where("bool[tokens,tokens]", -65504, LEFT "select(x0, x1, x2); softmax; matmul; ");
  in_f16 = false;
}

static void expect_casts(bool shared, const char *nodes) {
  fixture f;
  fixture_open(&f);
  weft_value_id q = tensor(&f, "f16[batch,2,tokens,4]"), k = tensor(&f, "f16[batch,2,4,tokens]");
  weft_value_id s = op_binary(&f, ADD, op_matmul(&f, q, k), tensor(&f, "f16[tokens,tokens]"));
  weft_value_id w = op_softmax(&f, op_cast(&f, s, WEFT_F32), 3);
  if (shared) mark_output(&f, 0, w);
  weft_value_id y = op_matmul(&f, op_cast(&f, w, WEFT_F16), tensor(&f, "f16[batch,2,tokens,5]"));
  APPLY(&f, fuse_attention, y, nodes);
}

static void test_softmax_between_casts(void) {
  expect_casts(false, "transpose; attention; ");
  expect_casts(true, "matmul; add(x0, x1); f32(x0); softmax; f16(x0); matmul; ");
}

/* [B,G,T,D] -> [B,G R,T,D], each head `times`; scaled after it if need be. */
static weft_value_id repeat_heads(fixture *f, const char *text, int64_t times) {
  weft_value_id x = tensor(f, text);
  const weft_dim *dims = f->graph.values[x].shape.dims;
  weft_attributes axis = {.view = {.kind = WEFT_VIEW_UNSQUEEZE, .axes = axes_of("2")}};
  weft_value_id y = op_add_node(f, WEFT_OP_VIEW, &x, 1, &axis);
  y = op_view(f, WEFT_VIEW_EXPAND, y, INTEGERS(f, dims[0], dims[1], times, dims[2], dims[3]));
  return op_view(f, WEFT_VIEW_RESHAPE, y, INTEGERS(f, dims[0], dims[1] * times, dims[2], dims[3]));
}

static void expect_grouped(int64_t k_times, int64_t v_times, const char *k, const char *v,
                           const char *nodes) {
  fixture f;
  fixture_open(&f);
  weft_value_id q = tensor(&f, "f32[2,6,3,4]");
  weft_value_id keys = op_binary(&f, MUL, repeat_heads(&f, k, k_times), scalar(&f, 0.5f, 0));
  weft_value_id s = op_matmul(&f, q, op_transpose(&f, keys, "0132"));
  weft_value_id y = op_matmul(&f, op_softmax(&f, s, 3), repeat_heads(&f, v, v_times));
  APPLY(&f, fuse_attention, y, nodes);
}

#define REPEAT "unsqueeze; expand; reshape; "

static void test_grouped_heads(void) {
  expect_grouped(3, 3, "f32[2,2,5,4]", "f32[2,2,5,7]", "attention; ");
  expect_grouped(6, 6, "f32[2,1,5,4]", "f32[2,1,5,4]", "attention; ");
  expect_grouped(3, 2, "f32[2,2,5,4]", "f32[2,3,5,4]", REPEAT REPEAT "attention; ");
}

/* A mask whose length only a run tells: v is as long as k, so that another one could not run. */
static bool is_fused(const form *a) {
  fixture f;
  fixture_open(&f);
  weft_value_id w = op_softmax(&f, scores(&f, a), 3);
  mark_output(&f, 0, op_matmul(&f, w, tensor(&f, a->v)));
  weft_opt_context context = {.heap = &f.heap};
  CHECK_OK(weft_pass_fuse_attention(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  weft_value_id y = f.graph.regions[0].outputs[0];
  bool fused = f.graph.nodes[f.graph.values[y].producer].op == WEFT_OP_ATTENTION;
  fixture_close(&f);
  return fused;
}

static void test_masks_of_unknown_length(void) {
  form a = {.q = "f32[b,2,tokens,4]",
            .k = "f32[b,2,4,past+tokens]",
            .v = "f32[b,2,past+tokens,5]",
            .mask = "f32[b,1,tokens,total]",
            .scale = ON_SCORES};
  CHECK(is_fused(&a));
  a.mask = "f32[b,1,total,past+tokens]"; /* it may repeat the queries */
  CHECK(!is_fused(&a));
  a.mask = "f32[b,1,tokens,total]";
  a.v = "f32[b,2,others,5]";
  CHECK(!is_fused(&a));
  a.v = "f32[b,2,total,5]";
  CHECK(!is_fused(&a));
}

/* Time must not grow with the square of the number of attentions. */
static void test_many(void) {
  fixture f;
  fixture_open(&f);
  machine m;
  machine_open(&m, &f, NULL);
  weft_value_id x = tensor(&f, "f32[1,1,2,2]");
  for (int i = 0; i < 20000; i++) x = op_matmul(&f, op_softmax(&f, op_matmul(&f, x, x), 3), x);
  mark_output(&f, 0, x);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_fuse_attention(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  CHECK_INT(f.graph.node_count, 80000);
  machine_close(&m);
  fixture_close(&f);
}

int main(void) {
  for (int half = 0; half < 2; half++) {
    in_f16 = half;
    CHECK_RUN(test_scales);
    CHECK_RUN(test_masks);
    CHECK_RUN(test_masks_that_do_not_fit);
    CHECK_RUN(test_what_is_no_attention);
    CHECK_RUN(test_heads_that_are_broadcast);
    CHECK_RUN(test_rank_3);
    CHECK_RUN(test_scale_that_is_computed);
    CHECK_RUN(test_result_with_two_users);
    CHECK_RUN(test_grouped_heads);
  }
  in_f16 = false;
  CHECK_RUN(test_where);
  CHECK_RUN(test_masks_of_unknown_length);
  CHECK_RUN(test_many);
  CHECK_RUN(test_softmax_between_casts);
  CHECK_RUN(test_where_in_f16);
  return check_result();
}
