/* fold_constants.c - nodes whose inputs are all constant become constants; so do values that shape
 * inference knows whole. Weights of few bits stay what they are: they get larger as numbers. */
#include "base/checked.h"
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/weight.h"

/* A folded result may be this much larger than what it was made from: a broadcast of a number is
 * cheaper to compute than to hold. */
#define FOLD_BYTES_MAX (1u << 20)
/* What all results of a graph may be larger than what they were made from, and the bytes that may
 * be read and written for them, products counted with each multiplication. A short file can ask for
 * any amount; what is left is done by the run, which has limits of its own. */
#define FOLD_GROWTH_MAX (64u << 20)
#define FOLD_WORK_MAX   (1ull << 36)

typedef struct folding {
  weft_graph *graph;
  const weft_opt_context *context;
  weft_arena arena;
  uint32_t *uses;         /* by value: weights nobody needs any more are let go at once */
  weft_value_id *weights; /* by node: the right side of a matmul that it helps to make, or NONE */
  uint64_t growth, work;  /* bytes, so far */
  weft_error *error;
} folding;

static weft_status count_uses(folding *fold) {
  const weft_graph *graph = fold->graph;
  weft_users users;
  WEFT_TRY(weft_graph_users(graph, &fold->arena, &users, fold->error));
  fold->uses = WEFT_ARENA_ARRAY(&fold->arena, uint32_t, graph->value_count + 1);
  if (!fold->uses) return weft_arena_fail(&fold->arena, "a rewrite", fold->error);
  for (uint32_t i = 0; i < graph->value_count; i++) fold->uses[i] = weft_use_count(&users, i);
  return WEFT_OK;
}

/* Notes the nodes that make right sides: a transpose, and what is transposed. */
static weft_status find_weights(folding *fold) {
  const weft_graph *graph = fold->graph;
  fold->weights = WEFT_ARENA_ARRAY(&fold->arena, weft_value_id, graph->node_count + 1);
  if (!fold->weights) return weft_arena_fail(&fold->arena, "a rewrite", fold->error);
  for (uint32_t i = 0; i < graph->node_count; i++) fold->weights[i] = WEFT_VALUE_NONE;
  for (uint32_t i = 0; i < graph->node_count; i++) {
    const weft_node *node = &graph->nodes[i];
    if (node->removed || node->op != WEFT_OP_MATMUL) continue;
    const weft_node *maker = weft_match_producer(graph, node->inputs[1]);
    for (int depth = 0; maker && depth < 2; depth++) {
      fold->weights[maker - graph->nodes] = node->inputs[1];
      maker = weft_match_producer(graph, maker->inputs[0]);
    }
  }
  return WEFT_OK;
}

static bool makes_weight(const folding *fold, weft_node_id id) {
  weft_weight_list list;
  return fold->weights[id] != WEFT_VALUE_NONE &&
         weft_weight_find(fold->graph, fold->weights[id], &list);
}

static bool is_constant(const weft_value *value) {
  return value->kind == WEFT_VALUE_CONSTANT && value->layout == WEFT_LAYOUT_DENSE && value->data;
}

/* Bytes of a fixed shape; false when not fixed or not held in memory. */
static bool value_bytes(const weft_value *value, uint64_t *out) {
  uint64_t elements;
  if (!weft_shape_is_fixed(&value->shape)) return false;
  if (weft_shape_elements(&value->shape, &elements, NULL) != WEFT_OK) return false;
  *out = elements * weft_dtype_size(value->dtype);
  return weft_dtype_size(value->dtype) != 0;
}

static bool is_known(const weft_value *value) {
  return weft_elements_are_fixed(&value->shape, value->elements);
}

/* Multiplications for each element of the result. */
static uint64_t depth_of(const weft_graph *graph, const weft_node *node) {
  const weft_shape *shape = &graph->values[node->inputs[0]].shape;
  return node->op == WEFT_OP_MATMUL && shape->rank > 0 ? 1 + (uint64_t)shape->dims[shape->rank - 1]
                                                       : 1;
}

static bool fits_budget(folding *fold, const weft_node *node, uint64_t in, uint64_t out) {
  uint64_t growth = out > in ? out - in : 0, work;
  if (growth > FOLD_BYTES_MAX) return false;
  if (!weft_mul_u64(in + out, depth_of(fold->graph, node), &work)) return false;
  if (growth > FOLD_GROWTH_MAX - fold->growth || work > FOLD_WORK_MAX - fold->work) return false;
  fold->growth += growth;
  fold->work += work;
  return true;
}

static bool can_evaluate(folding *fold, const weft_node *node) {
  const weft_graph *graph = fold->graph;
  uint64_t in = 0, out = 0, bytes;
  if (node->op == WEFT_OP_IF || node->op == WEFT_OP_ATTENTION) return false;
  for (uint32_t i = 0; i < node->input_count; i++) {
    if (node->inputs[i] == WEFT_VALUE_NONE) continue;
    const weft_value *value = &graph->values[node->inputs[i]];
    if (!is_constant(value) && !is_known(value)) return false;
    if (value_bytes(value, &bytes)) in += bytes;
  }
  for (uint32_t i = 0; i < node->output_count; i++) {
    if (!value_bytes(&graph->values[node->outputs[i]], &bytes)) return false;
    out += bytes;
  }
  return fits_budget(fold, node, in, out);
}

/* Known elements that stay elements cost no step either. */
static bool can_hold(folding *fold, const weft_value *value) {
  uint64_t bytes;
  if (!value_bytes(value, &bytes) || bytes > FOLD_GROWTH_MAX - fold->growth) return false;
  fold->growth += bytes;
  return true;
}

/* Known elements as bytes. */
static weft_status known_buffer(folding *fold, const weft_value *value, weft_buffer **out) {
  size_t size = weft_dtype_size(value->dtype);
  uint64_t count = value->shape.rank == 0 ? 1 : (uint64_t)value->shape.dims[0];
  *out = weft_buffer_new(fold->context->heap, count * size);
  if (!*out) return weft_heap_fail(fold->context->heap, count * size, "a constant", fold->error);
  for (uint64_t i = 0; i < count; i++) memcpy((*out)->data + i * size, &value->elements[i], size);
  return WEFT_OK;
}

static void drop_uses(folding *fold, const weft_node *node) {
  for (uint32_t i = 0; i < node->input_count; i++) {
    weft_value_id id = node->inputs[i];
    if (id == WEFT_VALUE_NONE || --fold->uses[id] > 0) continue;
    weft_value *value = &fold->graph->values[id];
    if (value->kind == WEFT_VALUE_CONSTANT && value->data) weft_buffer_release(&value->data);
  }
}

static weft_status become_constants(folding *fold, weft_node_id id, weft_buffer **buffers) {
  const weft_node *node = &fold->graph->nodes[id];
  weft_status status = WEFT_OK;
  weft_graph_remove_node(fold->graph, id);
  for (uint32_t i = 0; i < node->output_count; i++) {
    weft_status made =
        weft_graph_make_constant(fold->graph, node->outputs[i], buffers[i], fold->error);
    if (made != WEFT_OK) status = made;
  }
  drop_uses(fold, node);
  return status;
}

static weft_status fold_node(folding *fold, weft_node_id id) {
  weft_graph *graph = fold->graph;
  const weft_node *node = &graph->nodes[id];
  bool known = node->output_count == 1 && is_known(&graph->values[node->outputs[0]]);
  if (known ? !can_hold(fold, &graph->values[node->outputs[0]]) : !can_evaluate(fold, node))
    return WEFT_OK;
  if (makes_weight(fold, id)) return WEFT_OK;
  weft_buffer **buffers = WEFT_ARENA_ARRAY(&fold->arena, weft_buffer *, node->output_count);
  if (!buffers) return weft_arena_fail(&fold->arena, "a rewrite", fold->error);
  weft_status status =
      known ? known_buffer(fold, &graph->values[node->outputs[0]], &buffers[0])
            : fold->context->evaluate(fold->context->user, graph, id, buffers, fold->error);
  /* What the device cannot compute, or what fails on these values, is left for the run to report.
   */
  if (status == WEFT_UNSUPPORTED || status == WEFT_INVALID_DATA) return WEFT_OK;
  return status == WEFT_OK ? become_constants(fold, id, buffers) : status;
}

weft_status weft_pass_fold_constants(weft_graph *graph, const weft_opt_context *context,
                                     weft_error *error) {
  folding fold = {.graph = graph, .context = context, .error = error};
  weft_arena_init(&fold.arena, context->heap);
  weft_status status = count_uses(&fold);
  if (status == WEFT_OK) status = find_weights(&fold);
  weft_walk walk;
  weft_walk_start(&walk, graph);
  while (status == WEFT_OK) {
    weft_walk_event event = weft_walk_next(&walk);
    if (event == WEFT_WALK_END || event == WEFT_WALK_TOO_DEEP) break;
    if (event == WEFT_WALK_NODE && !graph->nodes[walk.node].removed)
      status = fold_node(&fold, walk.node);
  }
  weft_arena_release(&fold.arena);
  return status;
}
