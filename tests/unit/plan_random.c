/* Property test of the planner: random graphs of maps, products, reductions and views upon views.
 * The shadow of plan_check.h finds no clash, and what a plan computes in shared memory is what it
 * computes when every value is an output with memory of its own. */
#include "tests/unit/plan_check.h"

#define VALUES_MAX 40

typedef struct generator {
  fixture f;
  uint64_t random;
  weft_value_id values[VALUES_MAX];
  uint32_t count;
} generator;

static uint64_t below(generator *g, uint64_t limit) {
  return (check_random(&g->random) >> 20) % limit;
}
static weft_value_id pick(generator *g) {
  return g->values[below(g, g->count)];
}
static const weft_shape *shape_of(const generator *g, weft_value_id id) {
  return &g->f.graph.values[id].shape;
}

/* ---- one more value: each function answers NONE where it cannot make one of `x` ---------------
 */

static weft_value_id random_unary(generator *g, weft_value_id x) {
  return below(g, 2) ? op_unary(&g->f, TANH, x) : op_unary(&g->f, NEG, x);
}

/* With another value of the same shape, or a vector for the last dimension. */
static weft_value_id random_binary(generator *g, weft_value_id x) {
  const weft_shape *shape = shape_of(g, x);
  for (int i = 0; i < 8; i++) {
    weft_value_id y = pick(g);
    if (weft_shape_equal(shape_of(g, y), shape)) return op_binary(&g->f, SUB, x, y);
  }
  weft_attributes mean = {.reduce = {.kind = WEFT_REDUCE_MEAN, .keep_dims = true}};
  mean.reduce.axes = (weft_axes){.count = 1, .axes = {(int8_t)(below(g, 3) % 2 ? -1 : 0)}};
  return op_binary(&g->f, ADD, op_add_node(&g->f, WEFT_OP_REDUCE, &x, 1, &mean), x);
}

static weft_value_id random_transpose(generator *g, weft_value_id x) {
  weft_attributes a = {.view = {.kind = WEFT_VIEW_TRANSPOSE}};
  a.view.axes.count = (uint8_t)shape_of(g, x)->rank;
  for (int i = 0; i < a.view.axes.count; i++) a.view.axes.axes[i] = (int8_t)i;
  for (int i = a.view.axes.count - 1; i > 0; i--) {
    uint64_t k = below(g, (uint64_t)i + 1);
    int8_t swapped = a.view.axes.axes[i];
    a.view.axes.axes[i] = a.view.axes.axes[k];
    a.view.axes.axes[k] = swapped;
  }
  return op_add_node(&g->f, WEFT_OP_VIEW, &x, 1, &a);
}

/* Two dimensions become one, or a dimension of 1 more. */
static weft_value_id random_reshape(generator *g, weft_value_id x) {
  weft_shape shape = *shape_of(g, x);
  int32_t at = (int32_t)below(g, (uint64_t)shape.rank);
  if (shape.rank >= 4 || (shape.rank >= 3 && below(g, 2))) {
    at = at + 1 < shape.rank ? at : 0;
    shape.dims[at] *= shape.dims[at + 1];
    shape.rank--;
    for (int32_t i = at + 1; i < shape.rank; i++) shape.dims[i] = shape.dims[i + 1];
  } else {
    for (int32_t i = shape.rank++; i > at; i--) shape.dims[i] = shape.dims[i - 1];
    shape.dims[at] = 1;
  }
  return op_view(&g->f, WEFT_VIEW_RESHAPE, x, integers(&g->f, (uint32_t)shape.rank, shape.dims));
}

static weft_value_id random_slice(generator *g, weft_value_id x) {
  const weft_shape *shape = shape_of(g, x);
  int64_t axis = (int64_t)below(g, (uint64_t)shape->rank), extent = shape->dims[axis];
  if (extent < 2) return NONE;
  switch (below(g, 4)) {
  case 0:
    return op_slice(&g->f, x, axis, 0, extent - 1, 1); /* all but the last */
  case 1:
    return op_slice(&g->f, x, axis, 1, extent, 1);
  case 2:
    return op_slice(&g->f, x, axis, 0, extent, 2);
  default:
    return op_slice(&g->f, x, axis, -1, -extent - 1, -1); /* reversed */
  }
}

static weft_value_id random_expand(generator *g, weft_value_id x) {
  weft_shape shape = *shape_of(g, x);
  for (int32_t i = 0; i < shape.rank; i++) {
    if (shape.dims[i] != 1) continue;
    shape.dims[i] = 3;
    return op_view(&g->f, WEFT_VIEW_EXPAND, x, integers(&g->f, (uint32_t)shape.rank, shape.dims));
  }
  return NONE;
}

static weft_value_id random_matmul(generator *g, weft_value_id x) {
  int64_t k = shape_of(g, x)->dims[shape_of(g, x)->rank - 1];
  char shape[32];
  snprintf(shape, sizeof shape, "[%d,%d]", (int)k, (int)(1 + below(g, 5)));
  return op_matmul(&g->f, x, weight(&g->f, shape, g->random));
}

static weft_value_id random_concat(generator *g, weft_value_id x) {
  weft_attributes a = {.axis = {(int32_t)below(g, (uint64_t)shape_of(g, x)->rank)}};
  return op_add_node(&g->f, WEFT_OP_CONCAT, IDS(x, random_unary(g, x), x), &a);
}

static weft_value_id random_softmax(generator *g, weft_value_id x) {
  return op_softmax(&g->f, x, (int32_t)below(g, (uint64_t)shape_of(g, x)->rank));
}

typedef weft_value_id make_fn(generator *g, weft_value_id x);
static make_fn *const makers[] = {random_unary,  random_unary,  random_binary,  random_binary,
                                  random_slice,  random_expand, random_reshape, random_transpose,
                                  random_matmul, random_concat, random_softmax};

static void generate(generator *g, uint64_t seed) {
  static const char *const inputs[] = {"f32[4,4]", "f32[2,3,4]", "f32[16]", "f32[1,3]", "f32[1,6]"};
  g->random = seed * 0x9e3779b97f4a7c15u + 1;
  g->count = 0;
  fixture_open(&g->f);
  uint32_t input_count = 1 + (uint32_t)below(g, 3), wanted = 6 + (uint32_t)below(g, 25);
  for (uint32_t i = 0; i < input_count; i++)
    g->values[g->count++] = tensor(&g->f, inputs[below(g, COUNT_OF(inputs))]);
  while (g->count < wanted) {
    weft_value_id x = pick(g), y = makers[below(g, COUNT_OF(makers))](g, x);
    uint64_t elements = 0;
    if (y == NONE || weft_shape_elements(shape_of(g, y), &elements, NULL) != WEFT_OK) continue;
    if (elements > 0 && elements < 3000) g->values[g->count++] = y;
  }
}

/* ---- the properties ---------------------------------------------------------------------------
 */

static bool takes_dense_only(const weft_device *device, const weft_node *node, uint32_t input,
                             const weft_array *array) {
  (void)device, (void)node, (void)input;
  return array->layout != WEFT_LAYOUT_DENSE || weft_array_is_dense(array);
}

static void check_outputs(generator *g, machine *m, const run_result *all) {
  int64_t dims[64 * 8];
  uint32_t chosen[5], count = 1 + (uint32_t)below(g, 5);
  weft_region *region = &g->f.graph.regions[0];
  region->output_count = 0;
  for (uint32_t i = 0; i < count; i++) { /* the last ones more often; also the same one twice */
    chosen[i] = below(g, 2) ? g->count - 1 - (uint32_t)below(g, 3) : (uint32_t)below(g, g->count);
    mark_output(&g->f, 0, g->values[chosen[i]]);
  }
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
    machine_open(&m, &g.f, "reference");
    for (uint32_t i = 0; i < g.count; i++) mark_output(&g.f, 0, g.values[i]);
    run_graph(&m, &g.f.graph, &all);
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
