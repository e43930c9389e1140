/* Tests of opt/fuse_rotary.c: rotary embedding as exporters write it, and what looks like it. */
#include "tests/unit/opt_build.h"

typedef struct form {
  bool turned_first, angles_first, by_split, halves_differ, swapped_halves;
  int64_t heads_axis;
} form;

static const form plain = {.heads_axis = 1};

/* cos or sin of [b,s,6]: angles of 3 pairs, twice. */
static weft_value_id angles(fixture *f, const form *a, weft_expr_op op, weft_value_id x) {
  weft_attributes last = {.axis = {-1}};
  weft_value_id other = a->halves_differ ? op_unary(f, NEG, x) : x;
  weft_value_id both = op_add_node(f, WEFT_OP_CONCAT, IDS(x, other), &last);
  return op_map3(f, op, both, NONE, NONE);
}

static weft_value_id with_heads(fixture *f, const form *a, weft_value_id x) {
  weft_attributes axis = {
      .view = {.kind = WEFT_VIEW_UNSQUEEZE, .axes = {.count = 1, .axes = {(int8_t)a->heads_axis}}}};
  return op_add_node(f, WEFT_OP_VIEW, &x, 1, &axis);
}

static weft_value_id half(fixture *f, const form *a, weft_value_id x, uint32_t index) {
  weft_attributes part = {
      .view = {.kind = WEFT_VIEW_SPLIT, .axes = axes_of("3"), .index = index, .count = 2}};
  if (a->swapped_halves) index = 1 - index;
  if (a->by_split) return op_add_node(f, WEFT_OP_VIEW, &x, 1, &part);
  return index ? op_slice(f, x, -1, 3, INT64_MAX, 1) : op_slice(f, x, 3, 0, 3, 1);
}

static weft_value_id product(fixture *f, const form *a, weft_value_id x, weft_value_id by) {
  return a->angles_first ? op_binary(f, MUL, by, x) : op_binary(f, MUL, x, by);
}

static weft_value_id rotate(fixture *f, const form *a, weft_value_id x, weft_value_id cosines,
                            weft_value_id sines) {
  weft_attributes last = {.axis = {3}};
  weft_value_id second = op_unary(f, NEG, half(f, a, x, 1));
  weft_value_id turned = op_add_node(f, WEFT_OP_CONCAT, IDS(second, half(f, a, x, 0)), &last);
  weft_value_id one = product(f, a, x, with_heads(f, a, cosines));
  weft_value_id other = product(f, a, turned, with_heads(f, a, sines));
  return a->turned_first ? op_binary(f, ADD, other, one) : op_binary(f, ADD, one, other);
}

static void expect(const form *a, const char *x, const char *nodes) {
  fixture f;
  fixture_open(&f);
  weft_value_id frequencies = tensor(&f, "f32[b,s,3]");
  weft_value_id cosines = angles(&f, a, WEFT_EXPR_COS, frequencies);
  weft_value_id sines = angles(&f, a, WEFT_EXPR_SIN, frequencies);
  APPLY(&f, fuse_rotary, rotate(&f, a, tensor(&f, x), cosines, sines), nodes);
}

#define FUSED "concat; cos(x0); concat; sin(x0); slice; slice; rotary; "

static void test_spellings(void) {
  for (int i = 0; i < 8; i++) {
    form a = plain;
    a.turned_first = i & 1;
    a.angles_first = i & 2;
    a.by_split = i & 4;
    expect(&a, "f32[b,2,s,6]", FUSED);
  }
}

static bool is_fused(const form *a, const char *x) {
  fixture f;
  fixture_open(&f);
  weft_value_id frequencies = tensor(&f, "f32[2,5,3]");
  weft_value_id cosines = angles(&f, a, WEFT_EXPR_COS, frequencies);
  weft_value_id sines = angles(&f, a, WEFT_EXPR_SIN, frequencies);
  mark_output(&f, 0, rotate(&f, a, tensor(&f, x), cosines, sines));
  weft_opt_context context = {.heap = &f.heap};
  CHECK_OK(weft_pass_fuse_rotary(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  weft_value_id y = f.graph.regions[0].outputs[0];
  bool fused = f.graph.nodes[f.graph.values[y].producer].op == WEFT_OP_ROTARY;
  fixture_close(&f);
  return fused;
}

static void test_what_is_none(void) {
  form a = plain;
  CHECK(is_fused(&a, "f32[2,4,5,6]"));
  a.halves_differ = true;
  CHECK(!is_fused(&a, "f32[2,4,5,6]"));
  a = plain;
  a.swapped_halves = true;
  CHECK(!is_fused(&a, "f32[2,4,5,6]"));
  a = plain;
  a.heads_axis = 2; /* [B,S,H,D] */
  CHECK(!is_fused(&a, "f32[2,5,4,6]"));
}

/* Layers share the halves of one table. */
static void test_two_layers(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id frequencies = tensor(&f, "f32[b,s,3]");
  weft_value_id cosines = angles(&f, &plain, WEFT_EXPR_COS, frequencies);
  weft_value_id sines = angles(&f, &plain, WEFT_EXPR_SIN, frequencies);
  weft_value_id y = rotate(&f, &plain, tensor(&f, "f32[b,2,s,6]"), cosines, sines);
  APPLY(&f, fuse_rotary, rotate(&f, &plain, y, cosines, sines), FUSED "rotary; ");
}

int main(void) {
  for (int half = 0; half < 2; half++) {
    in_f16 = half;
    CHECK_RUN(test_spellings);
    CHECK_RUN(test_two_layers);
  }
  in_f16 = false;
  CHECK_RUN(test_what_is_none);
  return check_result();
}
