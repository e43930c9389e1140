/* Tests of plans for a device with memory of its own. Random graphs, split between it and its host
 * in many ways, compute just what the CPU does; on small graphs the copies between are as few as
 * they can be. */
#include "tests/unit/random_graph.h"

#include "tests/unit/device_run.h"

/* ---- random graphs --------------------------------------------------------------------------- */

typedef struct sides {
  bool inputs[64], outputs[64];
} sides;

static weft_status plan_for(machine *m, const weft_graph *graph, const sides *on, weft_plan *plan) {
  static int64_t dims[64 * 8];
  const weft_region *region = &graph->regions[0];
  const int64_t *lists[64];
  uint32_t ranks[64];
  bool wanted[64];
  for (uint32_t i = 0; i < region->input_count; i++) {
    const weft_shape *shape = &graph->values[region->inputs[i]].shape;
    lists[i] = dims + 8 * i;
    ranks[i] = (uint32_t)shape->rank;
    for (int32_t k = 0; k < shape->rank; k++) dims[8 * i + (uint32_t)k] = extent_of(shape->dims[k]);
  }
  for (uint32_t i = 0; i < region->output_count; i++) wanted[i] = true;
  weft_plan_request request = {.dims = lists,
                               .ranks = ranks,
                               .wanted = wanted,
                               .inputs_on_device = on->inputs,
                               .outputs_on_device = on->outputs};
  return weft_plan_build(graph, m->device, &request, m->heap, plan, &m->error);
}

static void check_split(generator *g, machine *m, const run_result *all) {
  uint32_t chosen[5], count = choose_outputs(g, chosen);
  weft_plan plan;
  run_result some = {0};
  sides on;
  for (int i = 0; i < 64; i++) on.inputs[i] = below(g, 3) == 0, on.outputs[i] = below(g, 3) == 0;
  if (!CHECK_OK(plan_for(m, &g->f.graph, &on, &plan), &m->error)) return;
  CHECK_OK(run_fake_plan(m, &plan, &some), &m->error);
  for (uint32_t i = 0; i < count; i++) {
    CHECK_INT(plan.outputs[i]->on_device, on.outputs[i]);
    CHECK_INT(some.bytes[i], all->bytes[chosen[i]]);
    CHECK(memcmp(some.data[i], all->data[chosen[i]], some.bytes[i]) == 0);
  }
  release_result(&some);
  weft_plan_release(&plan);
}

static void test_random_splits(void) {
  uint64_t uploads = 0, downloads = 0, dispatches = 0;
  for (uint64_t seed = 0; seed < 1500; seed++) {
    generator g;
    machine m;
    run_result all;
    unsigned failures = check_failures;
    generate(&g, seed);
    machine_open(&m, &g.f, "reference");
    run_all(&g, &m, &all);
    fake *f = machine_fake(&m);
    f->seed = seed;
    f->refuses = (uint32_t)below(&g, 9);
    f->dense_only = below(&g, 3) == 0;
    f->pending = (uint32_t)below(&g, 3);
    f->device.small_bytes = below(&g, 2) ? 0 : 64 * below(&g, 4);
    fake_spread_constants(f, &g.f.graph, &g.f.heap);
    for (int i = 0; i < 3; i++) check_split(&g, &m, &all);
    uploads += f->uploads, downloads += f->downloads, dispatches += f->dispatches;
    release_result(&all);
    weft_graph_release(&g.f.graph); /* before the device that its constants lie on */
    machine_close(&m);
    CHECK_INT(weft_heap_use(&g.f.heap).bytes, 0);
    if (check_failures == failures) continue;
    check_print("  in the graph of seed %llu\n", (unsigned long long)seed);
    break;
  }
  check_print("%llu uploads, %llu downloads, %llu steps of the device\n",
              (unsigned long long)uploads, (unsigned long long)downloads,
              (unsigned long long)dispatches);
  CHECK(uploads > 2000 && downloads > 2000 && dispatches > 5000);
}

int main(void) {
  CHECK_RUN(test_random_splits);
  return check_result();
}
