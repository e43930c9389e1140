/* Property test of the rewrites together: on random graphs, whatever outputs are asked for, results
 * stay what they were, and the verifier has nothing to say between the passes. */
#include "tests/unit/random_graph.h"

static weft_pass_fn *const passes[] = {
#define WEFT_PASS(name, optional, description) weft_pass_##name,
#include "opt/passes.inc"
#undef WEFT_PASS
};

static void rewrite(generator *g, machine *m, uint64_t skipped) {
  weft_opt_context context = machine_context(m);
  for (uint32_t i = 0; i < COUNT_OF(passes); i++) {
    if (skipped >> i & 1) continue;
    CHECK_OK(passes[i](&g->f.graph, &context, &g->f.error), &g->f.error);
    CHECK_OK(weft_graph_verify(&g->f.graph, &g->f.error), &g->f.error);
  }
}

static void compare(generator *g, machine *m, const run_result *all, const uint32_t *chosen,
                    uint32_t count) {
  run_result after, before = {.count = count};
  run_graph(m, &g->f.graph, &after);
  for (uint32_t i = 0; i < count; i++) {
    before.data[i] = all->data[chosen[i]];
    before.bytes[i] = all->bytes[chosen[i]];
    before.dtypes[i] = all->dtypes[chosen[i]];
  }
  CHECK(same_result(&before, &after));
  release_result(&after);
}

static void test_random_graphs(void) {
  for (uint64_t seed = 0; seed < 1500; seed++) {
    generator g;
    machine m;
    run_result all;
    uint32_t chosen[5];
    unsigned failures = check_failures;
    generate(&g, seed);
    machine_open(&m, &g.f, seed % 2 ? "reference" : NULL);
    run_all(&g, &m, &all);
    uint32_t count = choose_outputs(&g, chosen);
    rewrite(&g, &m, seed % 3 ? 0 : below(&g, 1024)); /* also with any of them off */
    compare(&g, &m, &all, chosen, count);
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
