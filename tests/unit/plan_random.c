/* Property test of the planner: random graphs of maps, products, reductions and views upon views.
 * The shadow of plan_check.h finds no clash, and what a plan computes in shared memory is what it
 * computes when every value is an output with memory of its own. */
#include "tests/unit/random_graph.h"

/* ---- the properties ---------------------------------------------------------------------------
 */

static bool takes_dense_only(const weft_device *device, const weft_node *node, uint32_t input,
                             const weft_array *array) {
  (void)device, (void)node, (void)input;
  return array->layout != WEFT_LAYOUT_DENSE || weft_array_is_dense(array);
}

static void check_outputs(generator *g, machine *m, const run_result *all) {
  int64_t dims[64 * 8];
  uint32_t chosen[5], count = choose_outputs(g, chosen);
  weft_plan plan;
  run_result some = {0};
  if (!CHECK_OK(plan_graph(m, &g->f.graph, dims, &plan), &m->error)) return;
  CHECK(plan_is_sound(&plan));
  CHECK_OK(run_plan(m, &plan, &some), &m->error);
  for (uint32_t i = 0; i < count; i++) {
    CHECK_INT(some.bytes[i], all->bytes[chosen[i]]);
    CHECK(memcmp(some.data[i], all->data[chosen[i]], some.bytes[i]) == 0);
  }
  release_result(&some);
  weft_plan_release(&plan);
}

static void test_random_graphs(void) {
  for (uint64_t seed = 0; seed < 1500; seed++) {
    generator g;
    machine m;
    run_result all;
    unsigned failures = check_failures;
    generate(&g, seed);
    machine_open(&m, &g.f, seed % 2 ? "reference" : NULL);
    run_all(&g, &m, &all);
    for (int i = 0; i < 3; i++) check_outputs(&g, &m, &all);
    m.device->takes = takes_dense_only;
    check_outputs(&g, &m, &all);
    release_result(&all);
    machine_close(&m);
    fixture_close(&g.f);
    if (check_failures == failures) continue;
    check_print("  in the graph of seed %llu\n", (unsigned long long)seed);
    break;
  }
}

int main(void) {
  CHECK_RUN(test_random_graphs);
  return check_result();
}
