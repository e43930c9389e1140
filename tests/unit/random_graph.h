/* random_graph.h - graphs of maps, products, reductions, and views upon views, each made from a
 * seed, for the tests of rewrites and of the planner. */
#ifndef WEFT_TESTS_RANDOM_GRAPH_H
#define WEFT_TESTS_RANDOM_GRAPH_H

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

/* A constant beside a value: scalars, neutral ones too, and vectors. */
static weft_value_id random_constant(generator *g, weft_value_id x) {
  static const float numbers[] = {0, 1, 0.5f, -2};
  int64_t width = shape_of(g, x)->dims[shape_of(g, x)->rank - 1];
  char shape[32];
  snprintf(shape, sizeof shape, "[%d]", (int)width);
  weft_value_id c = below(g, 3) ? scalar(&g->f, numbers[below(g, 4)], (int32_t)below(g, 3))
                                : weight(&g->f, shape, g->random);
  switch (below(g, 4)) {
  case 0:
    return op_binary(&g->f, ADD, x, c);
  case 1:
    return op_binary(&g->f, SUB, x, c);
  default:
    return below(g, 2) ? op_binary(&g->f, MUL, x, c) : op_binary(&g->f, MUL, c, x);
  }
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
static make_fn *const makers[] = {random_unary,    random_unary,   random_binary,  random_binary,
                                  random_slice,    random_expand,  random_reshape, random_transpose,
                                  random_matmul,   random_matmul,  random_concat,  random_softmax,
                                  random_constant, random_constant};

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

/* Has other outputs than before, some of them twice: chosen[i] is the number of output i's value.
 * Answers how many. */
static uint32_t choose_outputs(generator *g, uint32_t chosen[5]) {
  uint32_t count = 1 + (uint32_t)below(g, 5);
  g->f.graph.regions[0].output_count = 0;
  for (uint32_t i = 0; i < count; i++) { /* the last ones more often */
    chosen[i] = below(g, 2) ? g->count - 1 - (uint32_t)below(g, 3) : (uint32_t)below(g, g->count);
    mark_output(&g->f, 0, g->values[chosen[i]]);
  }
  return count;
}

/* What all values are: every one is an output, in memory of its own. */
static void run_all(generator *g, machine *m, run_result *out) {
  for (uint32_t i = 0; i < g->count; i++) mark_output(&g->f, 0, g->values[i]);
  run_graph(m, &g->f.graph, out);
}

#endif
