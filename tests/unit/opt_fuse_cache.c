/* Tests of opt/fuse_cache.c: which concats are caches. */
#include "tests/unit/opt_build.h"

typedef struct form {
  const char *past, *added;
  int32_t axis;
  bool kept, computed, wrapped; /* an output; past is not fed; past goes through a concat of one */
} form;

static const form plain = {
    .past = "f32[b,2,p,4]", .added = "f32[b,2,s,4]", .axis = 2, .kept = true};

static void expect(const form *a, const char *nodes) {
  fixture f;
  fixture_open(&f);
  weft_attributes axis = {.axis = {a->axis}};
  weft_value_id past = tensor(&f, a->past), added = tensor(&f, a->added);
  if (a->computed) past = op_unary(&f, NEG, past);
  if (a->wrapped) past = op_add_node(&f, WEFT_OP_CONCAT, &past, 1, &axis);
  weft_value_id present = op_add_node(&f, WEFT_OP_CONCAT, IDS(past, added), &axis);
  if (a->kept) mark_output(&f, 0, present);
  APPLY(&f, fuse_cache, op_unary(&f, RELU, present), nodes);
}

static void test_cache(void) {
  form a = plain;
  expect(&a, "append; relu(x0); ");
  a.axis = -2;
  a.wrapped = true;
  expect(&a, "append; relu(x0); ");
}

static void test_what_is_none(void) {
  form a = plain;
  a.kept = false;
  expect(&a, "concat; relu(x0); ");
  a = plain;
  a.computed = true;
  expect(&a, "neg(x0); concat; relu(x0); ");
  a = plain;
  a.past = "f32[b,p,2,4]";
  a.added = "f32[b,s,2,4]";
  a.axis = 1;
  expect(&a, "concat; relu(x0); ");
  a = plain;
  a.past = "f32[b,2,p]";
  a.added = "f32[b,2,s]";
  expect(&a, "concat; relu(x0); ");
}

int main(void) {
  CHECK_RUN(test_cache);
  CHECK_RUN(test_what_is_none);
  return check_result();
}
