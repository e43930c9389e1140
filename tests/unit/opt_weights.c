/* Tests of the rewrites that make new constants: opt/fold_constants.c, opt/merge_matmuls.c and
 * opt/pack_weights.c; and of opt/opt.c, which runs them all. */
#include "tests/unit/opt_build.h"

static weft_value_id start(fixture *f) {
  fixture_open(f);
  return tensor(f, "f32[batch,6]");
}

/* ---- folding --------------------------------------------------------------------------------- */

static void test_fold(void) {
  fixture f;
  weft_value_id x = start(&f), w = op_transpose(&f, weight(&f, "[4,6]", 1), "10");
  weft_value_id b = op_binary(&f, MUL, weight(&f, "[4]", 2), scalar(&f, 2, 0));
  APPLY(&f, fold_constants, op_binary(&f, ADD, op_matmul(&f, x, w), b), "matmul; add(x0, x1); ");
}

/* A list that comes out of floats is known to the inference at bind. */
static void test_folded_lists_are_known(void) {
  fixture f;
  weft_value_id x = start(&f), three = scalar(&f, 3, 1), two = scalar(&f, 2, 1);
  weft_attributes first = {.axis = {0}};
  weft_value_id shape = op_add_node(
      &f, WEFT_OP_CONCAT,
      IDS(INTEGERS(&f, 0), op_cast(&f, three, WEFT_I64), op_cast(&f, two, WEFT_I64)), &first);
  weft_value_id y = op_view(&f, WEFT_VIEW_RESHAPE, x, shape);
  mark_output(&f, 0, y);
  machine m;
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_fold_constants(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  CHECK(weft_elements_are_fixed(&f.graph.values[shape].shape, f.graph.values[shape].elements));
  run_result result;
  run_graph(&m, &f.graph, &result);
  CHECK_INT(result.bytes[0], 2 * 6 * 4);
  release_result(&result);
  machine_close(&m);
  fixture_close(&f);
}

/* Results that would be much larger than what they are made from are left to the run. */
static void test_fold_keeps_broadcasts(void) {
  fixture f;
  weft_value_id x = start(&f);
  weft_value_id big = op_view(&f, WEFT_VIEW_EXPAND, scalar(&f, 1, 2), INTEGERS(&f, 60000, 6));
  weft_value_id y = op_binary(&f, ADD, big, op_slice(&f, x, 0, 0, 1, 1));
  APPLY(&f, fold_constants, y, "expand; slice; add(x0, x1); ");
}

/* Many of them together may not grow without end, nor take time without end. */
static void test_fold_has_a_budget(void) {
  fixture f;
  fixture_open(&f);
  machine m;
  machine_open(&m, &f, NULL);
  for (int i = 0; i < 200; i++)
    mark_output(&f, 0, op_view(&f, WEFT_VIEW_EXPAND, scalar(&f, 1, 2), INTEGERS(&f, 500, 500)));
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_fold_constants(&f.graph, &context, &f.error), &f.error);
  CHECK(weft_heap_use(&f.heap).bytes < 80u << 20);
  uint32_t folded = 0;
  for (uint32_t i = 0; i < f.graph.node_count; i++) folded += f.graph.nodes[i].removed;
  CHECK_INT(folded, 67); /* of 1 MB each: 64 MiB */
  machine_close(&m);
  fixture_close(&f);
}

/* A division by zero is the run's to report. */
static void test_fold_leaves_failures(void) {
  fixture f;
  fixture_open(&f);
  machine m;
  machine_open(&m, &f, NULL);
  static const int64_t shape[] = {2, 2};
  weft_value_id a =
      op_view(&f, WEFT_VIEW_RESHAPE, INTEGERS(&f, 1, 2, 3, 4), integers(&f, 2, shape));
  weft_value_id b =
      op_view(&f, WEFT_VIEW_RESHAPE, INTEGERS(&f, 1, 0, 3, 4), integers(&f, 2, shape));
  mark_output(&f, 0, op_binary(&f, DIV, a, b));
  weft_opt_context context = machine_context(&m);
  char nodes[100];
  CHECK_OK(weft_pass_fold_constants(&f.graph, &context, &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, nodes, sizeof nodes), "div(x0, x1); ");
  int64_t dims[8];
  weft_plan plan;
  run_result result;
  CHECK_OK(plan_graph(&m, &f.graph, dims, &plan), &m.error);
  CHECK_INT(run_plan(&m, &plan, &result), WEFT_INVALID_DATA);
  release_result(&result);
  weft_plan_release(&plan);
  machine_close(&m);
  fixture_close(&f);
}

/* ---- merging --------------------------------------------------------------------------------- */

static weft_value_id linear(fixture *f, weft_value_id x, weft_value_id w, weft_value_id b) {
  weft_value_id product = op_matmul(f, x, w);
  return b == NONE ? product : op_binary(f, ADD, product, b);
}

/* Biases go into the products first. */
static weft_status epilogues_and_merge(weft_graph *graph, const weft_opt_context *context,
                                       weft_error *error) {
  weft_status status = weft_pass_fuse_epilogues(graph, context, error);
  if (status == WEFT_OK) status = weft_pass_remove_dead(graph, context, error);
  return status == WEFT_OK ? weft_pass_merge_matmuls(graph, context, error) : status;
}
#define weft_pass_merge weft_pass_merge_matmuls
#define weft_pass_both  epilogues_and_merge

static void merge_query_key_value(const char *expected) {
  fixture f;
  weft_value_id x = start(&f), b = weight(&f, "[4]", 4);
  mark_output(&f, 0, linear(&f, x, weight(&f, "[6,4]", 1), b));
  mark_output(&f, 0, linear(&f, x, weight(&f, "[6,3]", 2), weight(&f, "[3]", 5)));
  APPLY(&f, both, linear(&f, x, weight(&f, "[6,4]", 3), b), expected);
}

static void test_merge_query_key_value(void) {
  merge_query_key_value("matmul{add(x0, x1)}; split; split; split; ");
}

/* As weights of few bits, through a concat; their biases side by side. */
static void test_merge_f16(void) {
  in_f16 = true;
  merge_query_key_value("concat; matmul{add(x0, x1)}; split; split; split; ");
  in_f16 = false;
}

static void test_merge_many(void) {
  fixture f; /* groups of 16 */
  weft_value_id x = start(&f), sum = linear(&f, x, weight(&f, "[6,2]", 0), NONE);
  for (uint64_t i = 1; i < 20; i++)
    sum = op_binary(&f, ADD, sum, linear(&f, x, weight(&f, "[6,2]", i), NONE));
  machine m;
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_merge_matmuls(&f.graph, &context, &f.error), &f.error);
  uint32_t products = 0;
  for (uint32_t i = 0; i < f.graph.node_count; i++)
    products += f.graph.nodes[i].op == WEFT_OP_MATMUL;
  CHECK_INT(products, 2);
  machine_close(&m);
  fixture_close(&f);
}

static void test_what_is_not_merged(void) {
  fixture f; /* a weight that is used twice, another input, another rank, a computed weight */
  weft_value_id x = start(&f), shared = weight(&f, "[6,4]", 1), z = tensor(&f, "f32[batch,6]");
  weft_value_id y = op_binary(&f, ADD, op_matmul(&f, x, shared), op_matmul(&f, z, shared));
  y = op_binary(&f, ADD, y, op_matmul(&f, x, weight(&f, "[1,6,4]", 2)));
  y = op_binary(&f, ADD, y, op_matmul(&f, x, tensor(&f, "f32[6,4]")));
  y = op_binary(&f, ADD, y, op_matmul(&f, z, weight(&f, "[6,4]", 3)));
  APPLY(&f, merge, y,
        "matmul; matmul; add(x0, x1); matmul; add(x0, x1); matmul; add(x0, x1); matmul; "
        "add(x0, x1); ");
}

static void test_different_work_is_not_merged(void) {
  fixture f;
  weft_value_id x = start(&f);
  mark_output(&f, 0, op_unary(&f, TANH, op_matmul(&f, x, weight(&f, "[6,4]", 1))));
  APPLY(&f, both, op_unary(&f, RELU, op_matmul(&f, x, weight(&f, "[6,4]", 2))),
        "matmul{tanh(x0)}; matmul{relu(x0)}; ");
}

/* One constant in different places of the members. */
static void test_constants_that_change_places(void) {
  fixture f;
  weft_value_id x = start(&f), b = weight(&f, "[4]", 4), c = weight(&f, "[4]", 5);
  weft_value_id p = op_binary(&f, ADD, op_matmul(&f, x, weight(&f, "[6,4]", 1)), b);
  weft_value_id q = op_binary(&f, ADD, op_matmul(&f, x, weight(&f, "[6,4]", 2)), c);
  mark_output(&f, 0, op_binary(&f, MUL, p, c));
  APPLY(&f, both, op_binary(&f, MUL, q, b), "matmul{mul(add(x0, x1), x2)}; split; split; ");
}

static void test_empty_products(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[batch,0]");
  mark_output(&f, 0, op_matmul(&f, x, weight(&f, "[0,4]", 1)));
  APPLY(&f, merge, op_matmul(&f, x, weight(&f, "[0,4]", 2)), "matmul; matmul; ");
}

/* ---- packing --------------------------------------------------------------------------------- */

static weft_layout layout_of(const fixture *f, weft_value_id product) {
  const weft_node *node = &f->graph.nodes[f->graph.values[product].producer];
  return f->graph.values[node->inputs[1]].layout;
}

static void test_pack(void) {
  fixture f; /* `both` is read as it is too, `twice` by two products */
  weft_value_id x = start(&f), both = weight(&f, "[6,16]", 1), twice = weight(&f, "[6,16]", 2);
  weft_value_id p = op_matmul(&f, x, both), q = op_matmul(&f, x, twice),
                r = op_matmul(&f, x, twice);
  mark_output(&f, 0, op_unary(&f, TANH, both));
  mark_output(&f, 0, q);
  mark_output(&f, 0, r);
  mark_output(&f, 0, p);
  machine m;
  run_result before, after;
  machine_open(&m, &f, NULL);
  run_graph(&m, &f.graph, &before);
  weft_opt_context context = machine_context(&m);
  CHECK_OK(weft_pass_pack_weights(&f.graph, &context, &f.error), &f.error);
  CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  run_graph(&m, &f.graph, &after);
  CHECK(same_result(&before, &after));
  CHECK_INT(layout_of(&f, p), WEFT_LAYOUT_PANELS);
  CHECK_INT(layout_of(&f, q), WEFT_LAYOUT_PANELS);
  CHECK_INT(layout_of(&f, r), WEFT_LAYOUT_PANELS);
  CHECK_INT(f.graph.values[both].layout, WEFT_LAYOUT_DENSE);
  CHECK(f.graph.values[both].data != NULL);
  CHECK(f.graph.values[twice].data == NULL); /* one copy only */
  release_result(&before);
  release_result(&after);
  machine_close(&m);
  fixture_close(&f);
}

static bool stop(void *user, uint64_t done, uint64_t total) {
  (void)user;
  return done < total;
}

static void test_cancel(void) {
  fixture f;
  weft_value_id x = start(&f);
  mark_output(&f, 0, op_matmul(&f, x, weight(&f, "[6,16]", 1)));
  machine m;
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  context.progress = stop;
  CHECK_INT(weft_pass_pack_weights(&f.graph, &context, &f.error), WEFT_CANCELLED);
  machine_close(&m);
  fixture_close(&f);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_names(void) {
  fixture f;
  weft_value_id x = start(&f);
  mark_output(&f, 0, op_unary(&f, TANH, op_unary(&f, ABS, x)));
  machine m;
  char nodes[100];
  machine_open(&m, &f, NULL);
  weft_opt_context context = machine_context(&m);
  CHECK_INT(weft_opt_run(&f.graph, &context, "fuse_norm,no_pass", &f.error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "there is no rewrite 'no_pass' to switch off");
  CHECK_OK(weft_opt_run(&f.graph, &context, "fuse_norm,fuse_maps", &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, nodes, sizeof nodes), "abs(x0); tanh(x0); ");
  CHECK_OK(weft_opt_run(&f.graph, &context, "all", &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, nodes, sizeof nodes), "abs(x0); tanh(x0); ");
  CHECK_OK(weft_opt_run(&f.graph, &context, "", &f.error), &f.error);
  CHECK_TEXT(list_nodes(&f.graph, nodes, sizeof nodes), "tanh(abs(x0)); ");
  machine_close(&m);
  fixture_close(&f);
}

int main(void) {
  CHECK_RUN(test_fold);
  CHECK_RUN(test_folded_lists_are_known);
  CHECK_RUN(test_fold_keeps_broadcasts);
  CHECK_RUN(test_fold_has_a_budget);
  CHECK_RUN(test_fold_leaves_failures);
  CHECK_RUN(test_merge_query_key_value);
  CHECK_RUN(test_merge_f16);
  CHECK_RUN(test_merge_many);
  CHECK_RUN(test_what_is_not_merged);
  CHECK_RUN(test_different_work_is_not_merged);
  CHECK_RUN(test_constants_that_change_places);
  CHECK_RUN(test_empty_products);
  CHECK_RUN(test_pack);
  CHECK_RUN(test_cancel);
  CHECK_RUN(test_names);
  return check_result();
}
