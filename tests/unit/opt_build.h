/* opt_build.h - for the tests of src/opt: small graphs written in C, each run before and after a
 * rewrite. A test builds a graph with the op_ functions, names its outputs, and calls apply, which
 * checks that the rewrite changed the graph to the one expected and the results not at all. */
#ifndef WEFT_TESTS_OPT_BUILD_H
#define WEFT_TESTS_OPT_BUILD_H

#include "base/checked.h"
#include "cpu/cpu.h"
#include "opt/opt.h"
#include "run/evaluate.h"
#include "tests/unit/graph_build.h"

#define NONE        WEFT_VALUE_NONE
#define OUTPUTS_MAX 64

/* Whether the graphs of a case become f16 throughout, before the rewrite. */
static bool in_f16;

/* ---- building: each adds a node, infers it and answers its output ---------------------------- */

static inline weft_value_id finish(fixture *f, const weft_node *node) {
  weft_value_id output = node->outputs[0];
  weft_inference facts = weft_inference_at_load(&f->graph);
  CHECK_OK(weft_infer_node(&facts, (weft_node_id)(node - f->graph.nodes), &f->error), &f->error);
  return output;
}

static inline weft_value_id op_add_node(fixture *f, weft_op op, const weft_value_id *inputs,
                                        uint32_t count, const weft_attributes *attributes) {
  return finish(f, add_node(f, 0, op, inputs, count, attributes));
}

/* An elementwise node of one instruction; inputs that are left out are NONE. */
static inline weft_value_id op_map3(fixture *f, weft_expr_op op, weft_value_id a, weft_value_id b,
                                    weft_value_id c) {
  weft_value_id inputs[] = {a, b, c};
  uint32_t count = weft_expr_operand_count(op);
  weft_dtype dtypes[3] = {0};
  for (uint32_t i = 0; i < count; i++) dtypes[i] = f->graph.values[inputs[i]].dtype;
  weft_attributes attributes = {0};
  CHECK_OK(weft_graph_simple_expr(&f->graph, op, dtypes, count, dtypes[count - 1],
                                  &attributes.map.expr, &f->error),
           &f->error);
  return op_add_node(f, WEFT_OP_MAP, inputs, count, &attributes);
}
#define op_unary(f, op, a)     op_map3((f), WEFT_EXPR_##op, (a), NONE, NONE)
#define op_binary(f, op, a, b) op_map3((f), WEFT_EXPR_##op, (a), (b), NONE)

static inline weft_value_id op_cast(fixture *f, weft_value_id a, weft_dtype to) {
  weft_dtype from = f->graph.values[a].dtype;
  weft_attributes attributes = {0};
  CHECK_OK(weft_graph_simple_expr(&f->graph, WEFT_EXPR_CAST, &from, 1, to, &attributes.map.expr,
                                  &f->error),
           &f->error);
  return op_add_node(f, WEFT_OP_MAP, &a, 1, &attributes);
}

static inline weft_value_id op_matmul(fixture *f, weft_value_id a, weft_value_id b) {
  return op_add_node(f, WEFT_OP_MATMUL, IDS(a, b), NULL);
}

/* Axes as digits: "021". */
static inline weft_axes axes_of(const char *digits) {
  weft_axes axes = {.count = (uint8_t)strlen(digits)};
  for (int i = 0; i < axes.count; i++) axes.axes[i] = (int8_t)(digits[i] - '0');
  return axes;
}

static inline weft_value_id op_transpose(fixture *f, weft_value_id a, const char *permutation) {
  weft_attributes attributes = {
      .view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = axes_of(permutation)}};
  return op_add_node(f, WEFT_OP_VIEW, &a, 1, &attributes);
}

static inline weft_value_id integers(fixture *f, uint32_t count, const int64_t *list) {
  weft_value_id id = NONE;
  CHECK_OK(weft_graph_add_integers(&f->graph, WEFT_STR(""), list, (int32_t)count, &id, &f->error),
           &f->error);
  return id;
}
#define INTEGERS(f, ...)                                                                           \
  integers((f), COUNT_OF(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__})

/* A view with a second input: reshape, expand. */
static inline weft_value_id op_view(fixture *f, weft_view_kind kind, weft_value_id a,
                                    weft_value_id b) {
  weft_attributes attributes = {.view = {.kind = kind}};
  return op_add_node(f, WEFT_OP_VIEW, IDS(a, b), &attributes);
}

/* [start, end) of one axis, with a step. */
static inline weft_value_id op_slice(fixture *f, weft_value_id a, int64_t axis, int64_t start,
                                     int64_t end, int64_t step) {
  weft_attributes attributes = {.view = {.kind = WEFT_VIEW_SLICE}};
  return op_add_node(
      f, WEFT_OP_VIEW,
      IDS(a, INTEGERS(f, start), INTEGERS(f, end), INTEGERS(f, axis), INTEGERS(f, step)),
      &attributes);
}

static inline weft_value_id op_mean(fixture *f, weft_value_id a, const char *axes) {
  weft_attributes attributes = {
      .reduce = {.kind = WEFT_REDUCE_MEAN, .axes = axes_of(axes), .keep_dims = true}};
  return op_add_node(f, WEFT_OP_REDUCE, &a, 1, &attributes);
}

static inline weft_value_id op_softmax(fixture *f, weft_value_id a, int32_t axis) {
  weft_attributes attributes = {.softmax = {.axis = axis}};
  return op_add_node(f, WEFT_OP_SOFTMAX, &a, 1, &attributes);
}

/* A constant of f32 with contents that depend on `seed`: "[3,2]". */
static inline weft_value_id weight(fixture *f, const char *shape_text, uint64_t seed) {
  weft_shape shape = parse_shape(f, shape_text);
  uint64_t elements = 0, state = seed * 77 + 1;
  CHECK_OK(weft_shape_elements(&shape, &elements, &f->error), &f->error);
  weft_buffer *data = weft_buffer_new(&f->heap, elements * sizeof(float));
  for (uint64_t i = 0; i < elements; i++) {
    float value = (float)(check_random(&state) >> 40) / (float)(1 << 23) - 1;
    memcpy(data->data + i * sizeof value, &value, sizeof value);
  }
  weft_value_id id = NONE;
  CHECK_OK(weft_graph_add_constant(&f->graph, WEFT_STR(""), WEFT_F32, &shape, data, &id, &f->error),
           &f->error);
  return id;
}

/* A constant of one element, of a rank. */
static inline weft_value_id scalar(fixture *f, float value, int32_t rank) {
  weft_shape shape = {.rank = rank, .dims = {1, 1, 1, 1, 1, 1, 1, 1}};
  weft_buffer *data = weft_buffer_new(&f->heap, sizeof value);
  memcpy(data->data, &value, sizeof value);
  weft_value_id id = NONE;
  CHECK_OK(weft_graph_add_constant(&f->graph, WEFT_STR(""), WEFT_F32, &shape, data, &id, &f->error),
           &f->error);
  return id;
}

static inline void constant_to_f16(fixture *f, weft_value *value) {
  weft_buffer *from = value->data;
  weft_buffer *to = weft_buffer_new(&f->heap, from->bytes / 2);
  for (uint64_t i = 0; i < from->bytes / 4; i++) {
    uint16_t half = check_f16(weft_float_at(WEFT_F32, from->data + 4 * i));
    memcpy(to->data + 2 * i, &half, 2);
  }
  weft_buffer_release(&value->data);
  value->data = to;
}

static inline void set_f16(uint8_t *dtype) {
  if (*dtype == WEFT_F32) *dtype = WEFT_F16;
}

/* A constant of f16. */
static inline weft_value_id weight_f16(fixture *f, const char *shape, uint64_t seed) {
  weft_value_id id = weight(f, shape, seed);
  f->graph.values[id].dtype = WEFT_F16;
  constant_to_f16(f, &f->graph.values[id]);
  return id;
}

/* All that is f32. */
static inline void graph_to_f16(fixture *f) {
  for (uint32_t i = 0; i < f->graph.value_count; i++) {
    weft_value *value = &f->graph.values[i];
    if (value->dtype != WEFT_F32) continue;
    value->dtype = WEFT_F16;
    if (value->kind == WEFT_VALUE_CONSTANT) constant_to_f16(f, value);
  }
  for (uint32_t i = 0; i < f->graph.node_count; i++) {
    weft_node *node = &f->graph.nodes[i];
    if (node->op != WEFT_OP_MAP) continue;
    weft_expr *expr = &node->attributes.map.expr;
    for (uint32_t k = 0; k < expr->input_count; k++) set_f16(&expr->input_dtypes[k]);
    for (uint32_t k = 0; k < expr->code_count; k++) set_f16(&expr->code[k].dtype);
  }
}

/* ---- running --------------------------------------------------------------------------------- */

/* A device, and what a rewrite calls back with. */
typedef struct machine {
  weft_runtime *runtime;
  weft_device *device;
  weft_heap *heap;
  weft_error error;
} machine;

static inline void machine_open(machine *m, fixture *f, const char *kernels) {
  m->heap = &f->heap;
  CHECK_OK(weft_runtime_open(NULL, &m->runtime, &m->error), &m->error);
  weft_session_options options = {.kernels = kernels};
  CHECK_OK(weft_cpu_open(m->runtime, &options, m->heap, &m->device, &m->error), &m->error);
}
static inline void machine_close(machine *m) {
  m->device->close(m->device);
  weft_runtime_close(&m->runtime);
}

static inline weft_status machine_evaluate(void *user, const weft_graph *graph, weft_node_id node,
                                           weft_buffer **outputs, weft_error *error) {
  machine *m = user;
  return weft_evaluate_node(m->device, graph, node, m->heap, outputs, error);
}
static inline weft_status machine_pack(void *user, const weft_graph *graph, const weft_node *node,
                                       uint32_t input, weft_buffer **out, weft_layout *layout,
                                       weft_error *error) {
  machine *m = user;
  return m->device->pack(m->device, graph, node, input, m->heap, out, layout, error);
}
static inline weft_opt_context machine_context(machine *m) {
  return (weft_opt_context){
      .heap = m->heap, .evaluate = machine_evaluate, .pack = machine_pack, .user = m};
}

/* Extents by symbol: 2, 3, 4, ... */
static inline int64_t extent_of(weft_dim dim) {
  return WEFT_DIM_IS_SYMBOL(dim) ? 2 + (int64_t)WEFT_DIM_SYMBOL_INDEX(dim) : dim;
}

/* Numbers that are the same each time: small integers, or floats in [-2, 2). */
static inline void fill_random(uint8_t *data, weft_dtype dtype, uint64_t elements, uint64_t seed) {
  uint64_t state = seed + 1;
  size_t size = weft_dtype_size(dtype);
  memset(data, 0, elements * size);
  for (uint64_t i = 0; i < elements; i++) {
    uint64_t bits = check_random(&state) >> 40;
    float value = (float)bits / (float)(1 << 22) - 2;
    uint16_t half = check_f16(value);
    if (dtype == WEFT_F32)
      memcpy(data + i * size, &value, size);
    else if (dtype == WEFT_F16)
      memcpy(data + i * size, &half, size);
    else
      data[i * size] = (uint8_t)(bits & 1);
  }
}

typedef struct run_result {
  uint8_t *data[OUTPUTS_MAX];
  uint64_t bytes[OUTPUTS_MAX];
  weft_dtype dtypes[OUTPUTS_MAX];
  uint32_t count;
} run_result;

/* Plans the graph for its inputs' extents, all outputs wanted. `dims` holds 8 for each input. */
static inline weft_status plan_graph(machine *m, const weft_graph *graph, int64_t *dims,
                                     weft_plan *plan) {
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
  weft_plan_request request = {.dims = lists, .ranks = ranks, .wanted = wanted};
  return weft_plan_build(graph, m->device, &request, m->heap, plan, &m->error);
}

/* Runs a plan on random inputs; each output gets memory of just its size. */
static inline weft_status run_plan(machine *m, const weft_plan *plan, run_result *out) {
  uint8_t *bases[130] = {0};
  uint32_t count = plan->input_count + plan->output_count;
  bases[0] = aligned_alloc(64, (size_t)weft_align_up(plan->arena_bytes + 1, 64));
  out->count = plan->output_count;
  for (uint32_t i = 0; i < count; i++) {
    bool is_input = i < plan->input_count;
    const weft_array *array = is_input ? plan->inputs[i] : plan->outputs[i - plan->input_count];
    uint64_t elements = array ? array->elements : 0;
    uint64_t bytes = array ? elements * weft_dtype_size(array->dtype) : 0;
    bases[1 + i] = malloc(bytes + 1);
    if (is_input && array) fill_random(bases[1 + i], array->dtype, elements, i);
    if (is_input) continue;
    free(bases[1 + i]);
    bases[1 + i] = malloc(bytes ? bytes : 1);
    out->data[i - plan->input_count] = bases[1 + i];
    out->bytes[i - plan->input_count] = bytes;
    out->dtypes[i - plan->input_count] = array ? array->dtype : WEFT_F32;
  }
  weft_execution execution = {.runtime = m->runtime, .plan = plan, .bases = bases};
  weft_status status = m->device->execute(m->device, &execution, &m->error);
  for (uint32_t i = 0; i <= plan->input_count; i++) free(bases[i]);
  return status;
}

static inline void run_graph(machine *m, const weft_graph *graph, run_result *out) {
  int64_t dims[64 * 8];
  weft_plan plan;
  *out = (run_result){0};
  if (!CHECK_OK(plan_graph(m, graph, dims, &plan), &m->error)) return;
  CHECK_OK(run_plan(m, &plan, out), &m->error);
  weft_plan_release(&plan);
}

static inline void release_result(run_result *result) {
  for (uint32_t i = 0; i < result->count; i++) free(result->data[i]);
}

/* Equal but for rounding: to f16 after each node, or less often. */
static inline bool same_numbers(float x, float y, weft_dtype dtype) {
  float difference = x - y, size = x < 0 ? 1 - x : 1 + x;
  size *= dtype == WEFT_F16 ? 1e-2f : 1e-4f;
  return memcmp(&x, &y, sizeof x) == 0 || (difference < size && -difference < size);
}

static inline bool same_result(const run_result *a, const run_result *b) {
  for (uint32_t i = 0; i < a->count; i++) {
    if (a->bytes[i] != b->bytes[i] || a->dtypes[i] != b->dtypes[i]) return false;
    weft_dtype dtype = a->dtypes[i] == WEFT_F16 ? WEFT_F16 : WEFT_F32; /* others by their bits */
    uint64_t size = weft_dtype_size(dtype);
    for (uint64_t k = 0; k + size <= a->bytes[i]; k += size) {
      float x = weft_float_at(dtype, a->data[i] + k), y = weft_float_at(dtype, b->data[i] + k);
      if (!same_numbers(x, y, dtype)) return false;
    }
  }
  return a->count == b->count;
}

/* ---- rewriting ------------------------------------------------------------------------------- */

/* The nodes in order: a map as its expression, others by name, with attributes that matter. */
static inline const char *list_nodes(const weft_graph *graph, char *buffer, size_t size) {
  static const char *const views[] = {"reshape", "transpose", "slice",   "expand",
                                      "squeeze", "unsqueeze", "flatten", "split"};
  weft_text text = {.buffer = buffer, .size = size};
  buffer[0] = 0;
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (weft_walk_event event; (event = weft_walk_next(&walk)) != WEFT_WALK_END;) {
    if (event == WEFT_WALK_ENTER) weft_text_add(&text, "< ");
    if (event == WEFT_WALK_LEAVE) weft_text_add(&text, "> ");
    if (event != WEFT_WALK_NODE) continue;
    const weft_node *node = &graph->nodes[walk.node];
    const weft_attributes *a = &node->attributes;
    if (node->op == WEFT_OP_VIEW)
      weft_text_add(&text, "%s", views[a->view.kind]);
    else if (node->op == WEFT_OP_NORM)
      weft_text_add(&text, a->norm.kind == WEFT_NORM_RMS ? "norm.rms" : "norm.layer");
    else if (node->op == WEFT_OP_MAP)
      weft_expr_print(&a->map.expr, &text);
    else
      weft_text_add(&text, "%s", weft_op_facts_of(node->op)->name);
    if (node->op == WEFT_OP_ATTENTION && a->attention.heads_last)
      weft_text_add(&text, ".heads_last");
    if (node->op == WEFT_OP_MATMUL && a->matmul.expr.code_count) {
      weft_text_add(&text, "{");
      weft_expr_print(&a->matmul.expr, &text);
      weft_text_add(&text, "}");
    }
    weft_text_add(&text, "; ");
  }
  return buffer;
}

/* Runs the pass and drops dead nodes. Checks the nodes that are left, the verifier's rules, and
 * that results stay. `line` names the case. */
static inline void apply_at(fixture *f, weft_pass_fn *pass, const char *expected, int line) {
  char nodes[1024];
  run_result before, after;
  machine m;
  unsigned failures = check_failures;
  machine_open(&m, f, "reference");
  weft_opt_context context = machine_context(&m);
  if (in_f16) graph_to_f16(f);
  CHECK_OK(weft_graph_verify(&f->graph, &f->error), &f->error);
  run_graph(&m, &f->graph, &before);
  CHECK_OK(pass(&f->graph, &context, &f->error), &f->error);
  CHECK_OK(weft_graph_verify(&f->graph, &f->error), &f->error);
  CHECK_OK(weft_pass_remove_dead(&f->graph, &context, &f->error), &f->error);
  CHECK_OK(weft_graph_verify(&f->graph, &f->error), &f->error);
  CHECK_TEXT(list_nodes(&f->graph, nodes, sizeof nodes), expected);
  run_graph(&m, &f->graph, &after);
  CHECK(same_result(&before, &after));
  release_result(&before);
  release_result(&after);
  machine_close(&m);
  if (check_failures != failures) check_print("  in the case at line %d\n", line);
}
/* The last step of a case: `y` is the graph's output. */
#define APPLY(f, pass, y, expected)                                                                \
  do {                                                                                             \
    mark_output((f), 0, (y));                                                                      \
    apply_at((f), weft_pass_##pass, (expected), __LINE__);                                         \
    fixture_close(f);                                                                              \
  } while (0)

#endif
