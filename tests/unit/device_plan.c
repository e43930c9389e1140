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

/* ---- known graphs ---------------------------------------------------------------------------- */

typedef struct known {
  fixture f;
  machine m;
  fake *fake;
  weft_plan plan;
  sides on;
} known;

static void start(known *k) {
  memset(k, 0, sizeof *k);
  fixture_open(&k->f);
  machine_open(&k->m, &k->f, "reference");
  k->fake = machine_fake(&k->m);
}

/* As one letter each: u(pload), d(ownload), c(opy on the device), g(the device), h(ost). */
static void expect_steps(known *k, const char *expected) {
  char steps[64] = {0};
  run_result result = {0}, cpu = {0};
  if (!CHECK_OK(plan_for(&k->m, &k->f.graph, &k->on, &k->plan), &k->m.error)) return;
  for (uint32_t i = 0; i < k->plan.step_count; i++) {
    const weft_step *step = &k->plan.steps[i];
    steps[i] = weft_step_crosses(step) ? (step->outputs[0]->on_device ? 'u' : 'd')
               : !step->on_device      ? 'h'
                                       : (step->is_copy ? 'c' : 'g');
  }
  CHECK_TEXT(steps, expected);
  CHECK_OK(run_fake_plan(&k->m, &k->plan, &result), &k->m.error);
  machine on_cpu = k->m;
  on_cpu.device = k->fake->host;
  run_graph(&on_cpu, &k->f.graph, &cpu);
  CHECK(same_result(&result, &cpu));
  release_result(&result);
  release_result(&cpu);
}

static void finish_known(known *k) {
  weft_plan_release(&k->plan);
  weft_graph_release(&k->f.graph);
  machine_close(&k->m);
  CHECK_INT(weft_heap_use(&k->f.heap).bytes, 0);
}

static void test_all_of_it_on_the_device(void) {
  known k;
  start(&k);
  weft_value_id x = tensor(&k.f, "f32[4,4]"), y = op_matmul(&k.f, x, weight(&k.f, "[4,4]", 1));
  mark_output(&k.f, 0, op_softmax(&k.f, op_binary(&k.f, SUB, y, x), 1));
  weft_value *w = &k.f.graph.values[k.f.graph.nodes[0].inputs[1]];
  weft_buffer *there = NULL;
  CHECK_OK(fake_upload(&k.fake->device, w, &k.f.heap, &there, NULL), NULL);
  there->data = weft_heap_allocate(&k.f.heap, there->bytes); /* for the CPU's run */
  memcpy(there->data, w->data->data, there->bytes);
  there->owned = true;
  weft_buffer_release(&w->data);
  w->data = there;
  expect_steps(&k, "ugggd");
  finish_known(&k);
}

static void test_one_upload_for_many_users(void) {
  known k;
  start(&k);
  weft_value_id x = tensor(&k.f, "f32[4,4]"), t = op_transpose(&k.f, x, "10");
  weft_value_id sum = op_binary(&k.f, ADD, op_unary(&k.f, NEG, x), op_unary(&k.f, TANH, t));
  weft_value_id flat = op_view(&k.f, WEFT_VIEW_RESHAPE, x, INTEGERS(&k.f, 16));
  mark_output(&k.f, 0, sum);
  mark_output(&k.f, 0, op_unary(&k.f, ABS, flat));
  expect_steps(&k, "uggggdd"); /* views are looked at there */
  finish_known(&k);
}

static void test_a_part_crosses_alone(void) {
  known k;
  start(&k);
  k.fake->refused = WEFT_OP_SOFTMAX;
  weft_value_id x = op_unary(&k.f, NEG, tensor(&k.f, "f32[64,8]"));
  weft_value_id last = op_slice(&k.f, x, 0, 63, 64, 1);
  mark_output(&k.f, 0, op_softmax(&k.f, last, 1));
  mark_output(&k.f, 0, op_unary(&k.f, ABS, last));
  expect_steps(&k, "ugdhgd");
  CHECK_INT(k.plan.steps[2].outputs[0]->elements, 8);
  finish_known(&k);
}

static void test_an_expansion_crosses_before(void) {
  known k;
  start(&k);
  weft_value_id x = tensor(&k.f, "f32[1,8]");
  x = op_view(&k.f, WEFT_VIEW_EXPAND, x, INTEGERS(&k.f, 32, 8));
  mark_output(&k.f, 0, op_unary(&k.f, NEG, x));
  expect_steps(&k, "ugd");
  CHECK_INT(k.plan.steps[0].outputs[0]->elements, 8);
  finish_known(&k);
}

/* A mask of integers is made on the host, and what is made of it there if that is small. */
static void test_counts_stay_on_the_host(void) {
  for (int small = 0; small < 2; small++) {
    known k;
    start(&k);
    k.fake->device.small_bytes = small ? 64 : 0;
    weft_value_id mask = tensor(&k.f, "i64[1,8]"), x = tensor(&k.f, "f32[4,8]");
    mask = op_cast(&k.f, op_binary(&k.f, MUL, mask, mask), WEFT_F32);
    mark_output(&k.f, 0, op_binary(&k.f, ADD, x, mask));
    expect_steps(&k, small ? "hhuugd" : "hugugd");
    CHECK_TEXT(k.plan.steps[0].why_host, "counts of what is on the host");
    if (small) CHECK_TEXT(k.plan.steps[1].why_host, "small, of what is on the host");
    finish_known(&k);
  }
}

static void test_refused_in_the_middle(void) {
  known k;
  start(&k);
  k.fake->refused = WEFT_OP_SOFTMAX;
  weft_value_id x = op_unary(&k.f, NEG, tensor(&k.f, "f32[8,8]"));
  weft_value_id y = op_softmax(&k.f, op_transpose(&k.f, x, "10"), 1);
  mark_output(&k.f, 0, op_binary(&k.f, SUB, y, x));
  mark_output(&k.f, 0, x); /* what was downloaded for the host: it lies in the output */
  k.on.inputs[0] = true;
  expect_steps(&k, "gdhhugd"); /* of the host's: a dense copy, the softmax */
  finish_known(&k);
}

static void test_both_sides_of_an_output(void) {
  known k;
  start(&k);
  weft_value_id x = op_unary(&k.f, NEG, tensor(&k.f, "f32[8]"));
  mark_output(&k.f, 0, x);
  mark_output(&k.f, 0, x);
  mark_output(&k.f, 0, tensor(&k.f, "f32[3]"));
  k.on.outputs[0] = k.on.outputs[2] = true;
  expect_steps(&k, "ugdu");
  /* the upload and scratch: what the step writes is an output's */
  CHECK_INT(k.plan.pool_count, k.plan.steps[1].scratch_bytes ? 2 : 1);
  finish_known(&k);
}

static void test_pieces_are_used_again(void) {
  known k;
  start(&k);
  weft_value_id x = tensor(&k.f, "f32[16,16]");
  for (int i = 0; i < 20; i++) x = op_unary(&k.f, NEG, x);
  mark_output(&k.f, 0, x);
  k.on.inputs[0] = true;
  expect_steps(&k, "ggggggggggggggggggggd");
  uint64_t scratch = k.plan.steps[0].scratch_bytes;
  CHECK_INT(k.plan.pool_count, scratch ? 3 : 2);
  finish_known(&k);
}

static void test_the_dump_says_where(void) {
  char buffer[2048];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  known k;
  start(&k);
  k.fake->refused = WEFT_OP_SOFTMAX;
  weft_value_id x = op_softmax(&k.f, tensor(&k.f, "f32[2,8]"), 1);
  mark_output(&k.f, 0, op_mean(&k.f, x, "1"));
  expect_steps(&k, "hugd");
  weft_plan_dump(&k.f.graph, &k.plan, &text);
  static const char *const lines[] = {
      "pool of the device: ",
      "  host softmax 'n' softmax-rows: f32[2,8]@input0 -> f32[2,8]@0 (this op)\n",
      "  upload copy 'n' upload: f32[2,8]@0 -> f32[2,8]@device:",
      "  device reduce 'n' reduce-rows: f32[2,8]@device:",
      "  download copy 'n' download: f32[2,1]@device:",
      " -> f32[2,1]@output0\n",
  };
  for (uint32_t i = 0; i < COUNT_OF(lines); i++)
    if (!CHECK(contains(buffer, lines[i]))) check_print("%s in:\n%s", lines[i], buffer);
  finish_known(&k);
}

int main(void) {
  CHECK_RUN(test_all_of_it_on_the_device);
  CHECK_RUN(test_one_upload_for_many_users);
  CHECK_RUN(test_a_part_crosses_alone);
  CHECK_RUN(test_an_expansion_crosses_before);
  CHECK_RUN(test_counts_stay_on_the_host);
  CHECK_RUN(test_refused_in_the_middle);
  CHECK_RUN(test_both_sides_of_an_output);
  CHECK_RUN(test_pieces_are_used_again);
  CHECK_RUN(test_the_dump_says_where);
  CHECK_RUN(test_random_splits);
  return check_result();
}
