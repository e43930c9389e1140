/* Property test of refreshes: random graphs with one extent that a run may choose, t. A plan made
 * for one t and refreshed for another computes just what a new plan for it does, or the refresh
 * fails; and after a failure the next one is as good as ever. On the CPU, and split between a
 * device with memory of its own and its host. */
#include "tests/unit/plan_check.h"

#include "tests/unit/device_run.h"

enum { VALUES = 24, T_MAX = 40 };

typedef struct generator {
  fixture f;
  uint64_t random;
  weft_value_id values[VALUES];
  uint32_t count;
} generator;

static uint64_t below(generator *g, uint64_t limit) {
  return (check_random(&g->random) >> 20) % limit;
}
static const weft_shape *shape_of(const generator *g, weft_value_id id) {
  return &g->f.graph.values[id].shape;
}

/* ---- one more value: each function answers NONE where it cannot make one of `x` ---------------
 */

static weft_value_id make_unary(generator *g, weft_value_id x) {
  return below(g, 2) ? op_unary(&g->f, TANH, x) : op_unary(&g->f, NEG, x);
}

static weft_value_id make_binary(generator *g, weft_value_id x) {
  for (int i = 0; i < 8; i++) {
    weft_value_id y = g->values[below(g, g->count)];
    if (weft_shape_equal(shape_of(g, y), shape_of(g, x))) return op_binary(&g->f, SUB, x, y);
  }
  return op_binary(&g->f, MUL, x, scalar(&g->f, 0.5f, 0));
}

/* With four numbers: t is 4 then, or 1. */
static weft_value_id make_with_four(generator *g, weft_value_id x) {
  const weft_shape *shape = shape_of(g, x);
  bool small = below(g, 8) == 0 && WEFT_DIM_IS_SYMBOL(shape->dims[shape->rank - 1]);
  return small ? op_binary(&g->f, ADD, x, weight(&g->f, "[4]", g->random)) : NONE;
}

static weft_value_id make_mean(generator *g, weft_value_id x) {
  weft_attributes mean = {.reduce = {.kind = WEFT_REDUCE_MEAN, .keep_dims = true}};
  mean.reduce.axes = (weft_axes){.count = 1, .axes = {(int8_t)(below(g, 2) ? -1 : 0)}};
  weft_value_id y = op_add_node(&g->f, WEFT_OP_REDUCE, &x, 1, &mean);
  return below(g, 2) ? y : op_binary(&g->f, ADD, y, x);
}

static weft_value_id make_transpose(generator *g, weft_value_id x) {
  return shape_of(g, x)->rank == 2 ? op_transpose(&g->f, x, "10") : NONE;
}

static weft_value_id make_slice(generator *g, weft_value_id x) {
  int64_t axis = (int64_t)below(g, (uint64_t)shape_of(g, x)->rank);
  switch (below(g, 4)) {
  case 0:
    return op_slice(&g->f, x, axis, 0, 5, 1); /* the same from t = 5 on */
  case 1:
    return op_slice(&g->f, x, axis, -4, INT64_MAX, 1); /* the last ones */
  case 2:
    return op_slice(&g->f, x, axis, 0, INT64_MAX, 2);
  default:
    return op_slice(&g->f, x, axis, -1, INT64_MIN, -1); /* reversed */
  }
}

static weft_value_id make_flat(generator *g, weft_value_id x) {
  return op_view(&g->f, WEFT_VIEW_RESHAPE, x, INTEGERS(&g->f, -1));
}

static weft_value_id make_gram(generator *g, weft_value_id x) {
  if (shape_of(g, x)->rank != 2) return NONE;
  return op_matmul(&g->f, x, op_transpose(&g->f, x, "10"));
}

static weft_value_id make_concat(generator *g, weft_value_id x) {
  weft_attributes a = {.axis = {(int32_t)below(g, (uint64_t)shape_of(g, x)->rank)}};
  return op_add_node(&g->f, WEFT_OP_CONCAT, IDS(x, make_unary(g, x)), &a);
}

static weft_value_id make_softmax(generator *g, weft_value_id x) {
  return op_softmax(&g->f, x, (int32_t)below(g, (uint64_t)shape_of(g, x)->rank));
}

/* Numbers that inference knows: 0, 1, ... up to an extent, as rows to gather or as values. */
static weft_value_id make_range(generator *g, weft_value_id x) {
  weft_attributes first = {.shape = {.start = 0, .end = 1, .has_end = true}}, rows = {0};
  weft_value_id extent = op_add_node(&g->f, WEFT_OP_SHAPE, &x, 1, &first);
  weft_attributes squeeze = {.view = {.kind = WEFT_VIEW_SQUEEZE}};
  extent = op_add_node(&g->f, WEFT_OP_VIEW, &extent, 1, &squeeze);
  static const int64_t numbers[] = {0, 1};
  weft_value_id zero = integers(&g->f, UINT32_MAX, numbers); /* scalars */
  weft_value_id one = integers(&g->f, UINT32_MAX, numbers + 1);
  weft_value_id range = op_add_node(&g->f, WEFT_OP_RANGE, IDS(zero, extent, one), NULL);
  if (below(g, 2)) return op_cast(&g->f, range, WEFT_F32);
  return op_add_node(&g->f, WEFT_OP_GATHER, IDS(x, range), &rows);
}

typedef weft_value_id make_fn(generator *g, weft_value_id x);
static make_fn *const makers[] = {
    make_unary, make_binary, make_binary, make_with_four, make_mean,    make_transpose, make_slice,
    make_slice, make_flat,   make_gram,   make_concat,    make_softmax, make_range};

static void generate(generator *g, uint64_t seed) {
  static const char *const inputs[] = {"f32[3,t]", "f32[t,3]", "f32[t]", "f32[t,t]", "f32[4]"};
  memset(g, 0, sizeof *g);
  g->random = seed * 0x9e3779b97f4a7c15u + 1;
  fixture_open(&g->f);
  for (int i = 0; i < 3; i++)
    g->values[g->count++] = tensor(&g->f, inputs[below(g, COUNT_OF(inputs))]);
  uint32_t wanted = 6 + (uint32_t)below(g, VALUES - 6);
  while (g->count < wanted) {
    weft_value_id x = g->values[below(g, g->count)];
    weft_value_id y = makers[below(g, COUNT_OF(makers))](g, x);
    if (y != NONE && shape_of(g, y)->rank > 0) g->values[g->count++] = y;
  }
  for (uint32_t i = 0, count = 1 + (uint32_t)below(g, 4); i < count; i++)
    mark_output(&g->f, 0, g->values[g->count - 1 - below(g, i == 0 ? 1 : g->count)]);
}

/* ---- plans ----------------------------------------------------------------------------------- */

typedef struct request {
  int64_t dims[64][8];
  const int64_t *lists[64];
  uint32_t ranks[64];
  bool wanted[8];
  int64_t cache_rows[8];
} request;

static weft_plan_request make_request(const generator *g, request *r, int64_t t) {
  const weft_region *region = &g->f.graph.regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) {
    const weft_shape *shape = shape_of(g, region->inputs[i]);
    r->lists[i] = r->dims[i];
    r->ranks[i] = (uint32_t)shape->rank;
    for (int32_t k = 0; k < shape->rank; k++)
      r->dims[i][k] = WEFT_DIM_IS_SYMBOL(shape->dims[k]) ? t : shape->dims[k];
  }
  for (int i = 0; i < 8; i++) r->wanted[i] = true, r->cache_rows[i] = WEFT_NO_CACHE;
  return (weft_plan_request){
      .dims = r->lists, .ranks = r->ranks, .wanted = r->wanted, .cache_rows = r->cache_rows};
}

static weft_status run(machine *m, const weft_plan *plan, run_result *out) {
  return m->device->host ? run_fake_plan(m, plan, out) : run_plan(m, plan, out);
}

/* What a new plan for t computes. False: there is none. */
static bool run_fresh(generator *g, machine *m, int64_t t, run_result *out) {
  request r;
  weft_plan_request fresh = make_request(g, &r, t);
  fresh.cache_rows = NULL;
  weft_plan plan;
  *out = (run_result){0};
  if (weft_plan_build(&g->f.graph, m->device, &fresh, m->heap, &plan, &m->error) != WEFT_OK)
    return false;
  CHECK_OK(run(m, &plan, out), &m->error);
  weft_plan_release(&plan);
  return true;
}

/* Answers whether the refresh came out. */
static bool check_refresh(generator *g, machine *m, weft_plan *plan, int64_t t) {
  request r;
  weft_plan_request again = make_request(g, &r, t);
  run_result fresh, refreshed = {0};
  bool possible = run_fresh(g, m, t, &fresh), good = weft_plan_refresh(plan, &again) == WEFT_OK;
  if (good && CHECK(possible)) {
    CHECK(weft_plan_compare(plan, &again) == WEFT_PLAN_SAME);
    CHECK(m->device->host || plan_is_sound(plan));
    CHECK_OK(run(m, plan, &refreshed), &m->error);
    CHECK_INT(refreshed.count, fresh.count);
    for (uint32_t i = 0; i < fresh.count; i++) {
      CHECK_INT(refreshed.bytes[i], fresh.bytes[i]);
      CHECK(memcmp(refreshed.data[i], fresh.data[i], fresh.bytes[i]) == 0);
    }
  } else {
    CHECK(weft_plan_compare(plan, &again) != WEFT_PLAN_SAME);
  }
  release_result(&refreshed);
  release_result(&fresh);
  return good;
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Plans at `first`, and answers whether a refresh for `second` comes out; right if so. */
static bool refreshes(generator *g, int64_t first, int64_t second) {
  machine m;
  request r;
  weft_plan plan;
  machine_open(&m, &g->f, "reference");
  weft_plan_request at_first = make_request(g, &r, first);
  CHECK_OK(weft_plan_build(&g->f.graph, m.device, &at_first, m.heap, &plan, &m.error), &m.error);
  bool good = check_refresh(g, &m, &plan, second);
  weft_plan_release(&plan);
  machine_close(&m);
  return good;
}

/* A view that is all of what a step writes lies in the output's tensor only while it is so. */
static void test_an_output_that_is_a_part(void) {
  generator g = {0};
  fixture_open(&g.f);
  weft_value_id x = op_unary(&g.f, NEG, tensor(&g.f, "f32[t]"));
  mark_output(&g.f, 0, op_slice(&g.f, x, 0, 0, 5, 1));
  CHECK(refreshes(&g, 5, 4));
  CHECK(!refreshes(&g, 5, 6));
  CHECK(refreshes(&g, 6, 5));
  fixture_close(&g.f);
}

/* A number for each is written over its operand only while that has as many. */
static void test_a_broadcast_in_place(void) {
  generator g = {0};
  fixture_open(&g.f);
  weft_value_id x = op_unary(&g.f, NEG, tensor(&g.f, "f32[t]"));
  x = op_binary(&g.f, SUB, x, weight(&g.f, "[4]", 1));
  mark_output(&g.f, 0, op_softmax(&g.f, x, 0));
  CHECK(!refreshes(&g, 4, 1));
  fixture_close(&g.f);
}

/* Where the device refuses nothing, all plans are for it alone; else they are split. */
static void split(generator *g, machine *m, uint64_t seed) {
  fake *f = machine_fake(m);
  f->seed = seed;
  f->refuses = (uint32_t)below(g, 6);
  f->dense_only = below(g, 3) == 0;
  f->device.small_bytes = below(g, 2) ? 0 : 32;
  fake_spread_constants(f, &g->f.graph, &g->f.heap);
}

static void check_random_graphs(bool on_device) {
  uint32_t came_out = 0, failed = 0;
  for (uint64_t seed = 0; seed < 1500; seed++) {
    generator g;
    machine m;
    request r;
    weft_plan plan;
    unsigned failures = check_failures;
    generate(&g, seed);
    machine_open(&m, &g.f, seed % 2 ? "reference" : NULL);
    if (on_device) split(&g, &m, seed);
    int64_t first = 1 + (int64_t)below(&g, below(&g, 2) ? 8 : T_MAX);
    weft_plan_request at_first = make_request(&g, &r, first);
    if (weft_plan_build(&g.f.graph, m.device, &at_first, m.heap, &plan, &m.error) == WEFT_OK) {
      CHECK(weft_plan_compare(&plan, &at_first) == WEFT_PLAN_SAME);
      for (int i = 0; i < 8; i++) {
        bool good = check_refresh(&g, &m, &plan, (int64_t)below(&g, (uint64_t)first + 4));
        *(good ? &came_out : &failed) += 1;
      }
      if (!CHECK(check_refresh(&g, &m, &plan, first))) check_print("  back at its own extent\n");
      weft_plan_release(&plan);
    }
    weft_graph_release(&g.f.graph); /* before the device that its constants may lie on */
    machine_close(&m);
    CHECK_INT(weft_heap_use(&g.f.heap).bytes, 0);
    if (check_failures == failures) continue;
    check_print("  in the graph of seed %llu\n", (unsigned long long)seed);
    break;
  }
  CHECK(came_out > 5000);
  check_print("%u refreshes came out, %u did not\n", came_out, failed);
}

static void test_random_graphs(void) {
  check_random_graphs(false);
}
static void test_random_graphs_on_a_device(void) {
  check_random_graphs(true);
}

int main(void) {
  CHECK_RUN(test_an_output_that_is_a_part);
  CHECK_RUN(test_a_broadcast_in_place);
  CHECK_RUN(test_random_graphs);
  CHECK_RUN(test_random_graphs_on_a_device);
  return check_result();
}
