/* Random graphs. Hostile: operands and attributes of every kind and size go through inference,
 * which must refuse or leave a graph that the verifier accepts. Honest: what load finds out with
 * symbols must hold at bind, whatever extents the symbols get. */
#include "tests/unit/graph_build.h"

static uint64_t state = 7;

static int64_t pick(int64_t below) {
  return (int64_t)(check_random(&state) % (uint64_t)below);
}

static weft_value_id pick_value(const fixture *f) {
  for (int tries = 0; tries < 4; tries++) { /* rather one that has a type */
    weft_value_id id = (weft_value_id)pick(f->graph.value_count);
    if (f->graph.values[id].dtype != WEFT_DTYPE_NONE) return id;
  }
  return 0;
}

/* ---- hostile --------------------------------------------------------------------------------- */

static const char *const hostile_tensors[] = {
    "f32[b,4]",
    "f32[2,3,4]",
    "f32[...]",
    "f32[]",
    "f32[0,3]",
    "f32[1048576,1048576]",
    "bool[]",
    "f32[1099511627776]",
    "i64[b]",
    "i64[3]",
    "i64[n]",
    "i64{0,-1}",
    "i64{b,-1,s}",
    "i64{?,2}",
    "i64{9223372036854775807}",
    "i64{-9223372036854775808,1}",
    "i64{4611686018427387904,4}",
    "i64 0",
    "i64 1",
    "i64 -1",
    "i64 2",
    "i64 s",
    "i64 -9223372036854775808",
    "i64{1,1}",
    "i64{2}",
    "i64{0}",
    "i32{1,0}",
    "bool 1",
    "f32=0.1",
    "f32=nan",
    "f32=-1e30",
    "f32[1,1,1,1,1,1,1,1]",
};

static int8_t hostile_axis(void) {
  return (int8_t)(pick(8) ? pick(6) - 3 : pick(256) - 128);
}

static weft_axes hostile_axes(void) {
  weft_axes axes = {.count = (uint8_t)(pick(16) ? pick(4) : pick(20))};
  for (int i = 0; i < WEFT_RANK_MAX; i++) axes.axes[i] = hostile_axis();
  return axes;
}

/* One instruction, over the inputs' types (from `first` on) or not. */
static weft_expr hostile_expr(fixture *f, const weft_node *node, uint32_t first) {
  weft_dtype dtypes[WEFT_EXPR_INPUTS_MAX] = {WEFT_F32};
  for (uint32_t i = 0; i + first < node->input_count; i++) {
    weft_value_id input = node->inputs[i + first];
    dtypes[i] = input == WEFT_VALUE_NONE ? WEFT_I64 : f->graph.values[input].dtype;
  }
  weft_expr_op op = (weft_expr_op)pick(pick(4) ? WEFT_EXPR_IS_NAN : WEFT_EXPR_OP_COUNT);
  weft_dtype results[] = {dtypes[0], dtypes[0], WEFT_BOOL, WEFT_I64};
  weft_expr expr;
  CHECK_OK(weft_graph_simple_expr(&f->graph, op, dtypes, weft_expr_operand_count(op),
                                  results[pick(4)], &expr, &f->error),
           &f->error);
  return expr;
}

static void hostile_attributes(fixture *f, weft_node *node) {
  weft_attributes *a = &node->attributes;
  switch (node->op) {
  case WEFT_OP_MAP:
    a->map.expr = hostile_expr(f, node, 0);
    break;
  case WEFT_OP_MATMUL:
    if (pick(2)) a->matmul.expr = hostile_expr(f, node, 1);
    break;
  case WEFT_OP_VIEW:
    a->view.kind = (weft_view_kind)pick(9);
    a->view.axes = hostile_axes();
    a->view.allow_zero = pick(2);
    a->view.index = (uint32_t)pick(4);
    a->view.count = pick(9) ? (uint32_t)pick(5) : UINT32_MAX;
    break;
  case WEFT_OP_REDUCE:
    a->reduce.kind = (weft_reduce_kind)pick(11);
    a->reduce.axes = hostile_axes();
    a->reduce.keep_dims = pick(2);
    a->reduce.none_means_none = pick(2);
    break;
  case WEFT_OP_SHAPE:
    a->shape.start = (int32_t)(pick(4) ? pick(9) - 4 : INT32_MIN + pick(3));
    a->shape.end = (int32_t)(pick(4) ? pick(9) - 4 : INT32_MAX - pick(3));
    a->shape.has_end = pick(2);
    break;
  case WEFT_OP_FILL:
    a->fill.dtype = (weft_dtype)pick(18);
    break;
  case WEFT_OP_ARG_REDUCE:
    a->arg_reduce.axis = hostile_axis();
    break;
  case WEFT_OP_NORM:
    a->norm.axis = hostile_axis();
    break;
  case WEFT_OP_PAD:
    a->pad.mode = (weft_pad_mode)pick(5);
    break;
  case WEFT_OP_CUMSUM:
    a->cumsum.reverse = pick(2);
    break;
  default:
    a->axis.axis = pick(9) ? hostile_axis() : INT32_MIN;
    break;
  }
}

/* A node that inference refuses goes again; its outputs stay without a type, which no op takes. */
static bool try_node(fixture *f, weft_inference *at) {
  weft_value_id inputs[5];
  weft_op op = (weft_op)(pick(2) ? pick(WEFT_OP_IF) : pick(2) ? WEFT_OP_VIEW : WEFT_OP_MAP);
  const weft_op_facts *facts = weft_op_facts_of(op);
  uint32_t most = facts->inputs_max < 3 ? facts->inputs_max : 3;
  uint32_t count = pick(16) ? facts->inputs_min : 1;
  while (count < most && pick(2)) count++;
  for (uint32_t i = 0; i < count; i++) {
    inputs[i] = i && pick(16) == 0 ? WEFT_VALUE_NONE : pick_value(f);
  }
  weft_node *node = add_node(f, 0, op, inputs, count, NULL);
  hostile_attributes(f, node);
  weft_node_id id = f->graph.node_count - 1;
  weft_status status = weft_infer_node(at, id, &f->error);
  if (status == WEFT_OK) return true;
  weft_graph_remove_node(&f->graph, id);
  return false;
}

static void test_hostile(void) {
  uint32_t accepted = 0, refused = 0;
  for (int round = 0; round < 300; round++) {
    fixture f;
    fixture_open(&f);
    for (uint32_t i = 0; i < COUNT_OF(hostile_tensors); i++) tensor(&f, hostile_tensors[i]);
    weft_inference at = weft_inference_at_load(&f.graph);
    for (int i = 0; i < 150; i++) {
      bool good = try_node(&f, &at);
      accepted += good;
      refused += !good;
    }
    CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
    fixture_close(&f);
  }
  CHECK(accepted > 1000 && refused > 1000);
}

/* ---- honest ---------------------------------------------------------------------------------- */

static const char *const honest_tensors[] = {
    "f32[b,s,12]", "f32[b,s]",  "f32[s,4]",  "f32[t]",     "f32[1,64,12]", "f32[12,12]",
    "f32[b,1,s]",  "f32[]",     "i64[b,s]",  "i64{b,s}",   "i64{b,-1,s}",  "i64{0,0,3,4}",
    "i64{?,12}",   "i64{-1}",   "i64{1}",    "i64{0}",     "i64{s}",       "i64 s",
    "i64 b",       "i64 0",     "i64 1",     "i64 2",      "i64 -1",       "i64{2,6}",
    "i64{1,2}",    "i64{b,12}", "i64{-1,s}", "i64{100,2}", "i64{1,0,1}",   "bool{1,0}",
};

static weft_dim bind(const int64_t *symbols, weft_dim dim) {
  if (dim == WEFT_DIM_UNKNOWN) return pick(6) - 1;
  return WEFT_DIM_IS_SYMBOL(dim) ? symbols[WEFT_DIM_SYMBOL_INDEX(dim)] : dim;
}

static weft_inference open_bind(fixture *f, int64_t *symbols) {
  uint32_t count = f->graph.value_count;
  weft_arena *arena = &f->graph.arena;
  weft_inference at = {.graph = &f->graph,
                       .arena = arena,
                       .shapes = WEFT_ARENA_ARRAY(arena, weft_shape, count),
                       .elements = WEFT_ARENA_ARRAY(arena, weft_dim *, count),
                       .dtypes = WEFT_ARENA_ARRAY(arena, weft_dtype, count),
                       .fixed = true,
                       .symbols = symbols};
  for (uint32_t i = 0; i < COUNT_OF(honest_tensors); i++) {
    const weft_value *value = &f->graph.values[i];
    at.dtypes[i] = value->dtype;
    at.shapes[i] = value->shape;
    for (int32_t k = 0; k < value->shape.rank; k++) {
      at.shapes[i].dims[k] = bind(symbols, value->shape.dims[k]);
    }
    if (!value->elements) continue;
    int64_t length = value->shape.rank ? value->shape.dims[0] : 1;
    at.elements[i] = WEFT_ARENA_ARRAY(arena, weft_dim, (uint64_t)length);
    for (int64_t k = 0; k < length; k++) at.elements[i][k] = bind(symbols, value->elements[k]);
  }
  return at;
}

/* Elements known at load are the same at bind. */
static bool elements_hold(const weft_inference *at, weft_value_id id) {
  const weft_value *value = &at->graph->values[id];
  int64_t length = value->shape.rank == 1 ? value->shape.dims[0] : 1;
  if (!value->elements) return true;
  for (int64_t i = 0; i < length; i++) {
    weft_dim then = value->elements[i],
             now = at->elements[id] ? at->elements[id][i] : WEFT_DIM_UNKNOWN;
    if (then == WEFT_DIM_UNKNOWN) continue;
    int64_t bound = WEFT_DIM_IS_SYMBOL(then) ? at->symbols[WEFT_DIM_SYMBOL_INDEX(then)] : then;
    if (WEFT_DIM_IS_SYMBOL(then) && bound < 0) continue; /* no dimension has told yet */
    if (bound != now) return false;
  }
  return true;
}

static bool any_zero(const fixture *f, const int64_t *symbols) {
  for (uint32_t i = 0; i < f->graph.symbol_count; i++) {
    if (symbols[i] == 0) return true;
  }
  return false;
}

/* Infers all again with extents. Only two views may contradict load: a slice, which takes for
 * granted that what it cuts off is there, and a reshape to a dimension that turns out as 0. */
static uint32_t run_bind(fixture *f, int64_t *symbols) {
  weft_inference at = open_bind(f, symbols);
  uint32_t good = 0;
  for (weft_node_id id = 0; id < f->graph.node_count; id++) {
    const weft_node *node = &f->graph.nodes[id];
    if (node->removed) continue;
    weft_value_id output = node->outputs[0];
    weft_status status = weft_infer_node(&at, id, &f->error);
    bool views = node->op == WEFT_OP_VIEW;
    bool allowed =
        views && (node->attributes.view.kind == WEFT_VIEW_SLICE ||
                  (node->attributes.view.kind == WEFT_VIEW_RESHAPE && any_zero(f, symbols)));
    bool contradicts = status != WEFT_OK && contains(f->error.message, "is expected");
    bool sound = CHECK(allowed || !contradicts);
    if (!sound) check_print("  %s\n", f->error.message);
    if (contradicts) return good; /* symbols are not to be trusted any more */
    if (status != WEFT_OK) continue;
    good++;
    if (!CHECK(elements_hold(&at, output))) {
      char then[300], now[300];
      weft_inference load = weft_inference_at_load(&f->graph);
      check_print("  %s then, now %s\n", describe(&load, output, then, sizeof then),
                  describe(&at, output, now, sizeof now));
    }
  }
  return good;
}

static void test_honest(void) {
  uint32_t good = 0;
  for (int round = 0; round < 200; round++) {
    fixture f;
    fixture_open(&f);
    for (uint32_t i = 0; i < COUNT_OF(honest_tensors); i++) tensor(&f, honest_tensors[i]);
    weft_inference at = weft_inference_at_load(&f.graph);
    for (int i = 0; i < 300; i++) try_node(&f, &at);
    for (int k = 0; k < 4; k++) {
      int64_t *symbols = WEFT_ARENA_ARRAY(&f.graph.arena, int64_t, f.graph.symbol_count);
      for (uint32_t i = 0; i < f.graph.symbol_count; i++) symbols[i] = -1;
      for (uint32_t i = 0; i < 3; i++) symbols[i] = 1 + pick(5); /* b, s, t */
      good += run_bind(&f, symbols);
    }
    fixture_close(&f);
  }
  CHECK(good > 10000);
}

int main(void) {
  CHECK_RUN(test_hostile);
  CHECK_RUN(test_honest);
  return check_result();
}
