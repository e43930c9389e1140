/* merge_equal.c - nodes that compute the same from the same become one. Exporters and lowering
 * write what all layers of a model share (lengths, positions, masks) once for each.
 *
 * Two nodes are the same when their keys are: region, op, attributes and inputs as bytes. Small
 * constants of equal contents stand for one another; so do results of shape arithmetic that are
 * known, as symbols, to be equal in every run. */
#include "base/memory.h"
#include "opt/opt.h"

#define CONSTANT_BYTES_MAX 256u /* of a constant whose contents are compared */

typedef struct merging {
  weft_graph *graph;
  weft_arena arena;
  weft_map seen;          /* key -> node */
  weft_map constants;     /* key -> value */
  weft_map elements;      /* key -> value */
  weft_value_id *forward; /* by value: the one that stands for it */
  weft_error *error;
} merging;

/* Bytes that are being written down. */
typedef struct key {
  uint8_t *at;
  uint32_t length;
} key;

static void put(key *k, const void *bytes, size_t count) {
  memcpy(k->at + k->length, bytes, count);
  k->length += (uint32_t)count;
}
#define PUT(k, value) put((k), &(value), sizeof(value))

/* ---- constants ------------------------------------------------------------------------------- */

static bool is_small_constant(const weft_value *value) {
  return value->kind == WEFT_VALUE_CONSTANT && value->layout == WEFT_LAYOUT_DENSE && value->data &&
         value->data->data && value->data->bytes <= CONSTANT_BYTES_MAX && value->shape.rank >= 0;
}

static weft_status merge_constant(merging *m, weft_value_id id) {
  const weft_value *value = &m->graph->values[id];
  if (!is_small_constant(value)) return WEFT_OK;
  key k = {weft_arena_allocate(&m->arena, sizeof *value + value->data->bytes), 0};
  if (!k.at) return weft_arena_fail(&m->arena, "a rewrite", m->error);
  PUT(&k, value->dtype);
  PUT(&k, value->shape.rank);
  put(&k, value->shape.dims, (size_t)value->shape.rank * sizeof value->shape.dims[0]);
  put(&k, value->data->data, (size_t)value->data->bytes);
  weft_str text = {(const char *)k.at, k.length};
  uint32_t found = weft_map_find(&m->constants, text);
  if (found != WEFT_MAP_NONE) {
    m->forward[id] = found;
  } else if (!weft_map_set(&m->constants, text, id)) {
    return weft_arena_fail(&m->arena, "a rewrite", m->error);
  }
  return WEFT_OK;
}

/* ---- shape arithmetic ------------------------------------------------------------------------ */

static bool is_known(const weft_value *value, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (value->elements[i] == WEFT_DIM_UNKNOWN) return false;
  return true;
}

/* The value that stands for `id`, by their elements; *found NONE: there is none yet. */
static weft_status find_elements(merging *m, uint32_t region, weft_value_id id,
                                 weft_value_id *found) {
  const weft_value *value = &m->graph->values[id];
  *found = WEFT_VALUE_NONE;
  if (!value->elements) return WEFT_OK;
  uint32_t count = value->shape.rank == 0 ? 1 : (uint32_t)value->shape.dims[0];
  if (!is_known(value, count)) return WEFT_OK;
  key k = {weft_arena_allocate(&m->arena, sizeof *value + count * sizeof value->elements[0]), 0};
  if (!k.at) return weft_arena_fail(&m->arena, "a rewrite", m->error);
  PUT(&k, region);
  PUT(&k, value->dtype);
  PUT(&k, value->shape.rank);
  put(&k, value->elements, count * sizeof value->elements[0]);
  weft_str text = {(const char *)k.at, k.length};
  *found = weft_map_find(&m->elements, text);
  if (*found != WEFT_MAP_NONE || weft_map_set(&m->elements, text, id)) return WEFT_OK;
  return weft_arena_fail(&m->arena, "a rewrite", m->error);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* An `if` has regions of its own; a cache is written in place, each one for itself. */
static bool is_mergeable(const weft_node *node) {
  return node->op != WEFT_OP_IF && node->op != WEFT_OP_APPEND &&
         node->op != WEFT_OP_CACHED_ATTENTION;
}

static const weft_expr *expr_of(const weft_node *node) {
  if (node->op == WEFT_OP_MAP) return &node->attributes.map.expr;
  return node->op == WEFT_OP_MATMUL ? &node->attributes.matmul.expr : NULL;
}

static void put_expr(key *k, const weft_expr *expr) {
  PUT(k, expr->input_count);
  put(k, expr->input_dtypes, expr->input_count);
  for (uint32_t i = 0; i < expr->code_count; i++) {
    const weft_instruction *code = &expr->code[i];
    PUT(k, code->op);
    PUT(k, code->dtype);
    PUT(k, code->operands);
    PUT(k, code->immediate.i);
  }
}

/* Attributes whose unused bytes differ make two keys of equal nodes; that costs a merge, no more.
 */
static weft_status write_key(merging *m, const weft_node *node, weft_str *out) {
  const weft_expr *expr = expr_of(node);
  uint64_t room = sizeof *node + node->input_count * sizeof node->inputs[0] +
                  (expr ? sizeof *expr + expr->code_count * sizeof expr->code[0] : 0);
  key k = {weft_arena_allocate(&m->arena, room), 0};
  if (!k.at) return weft_arena_fail(&m->arena, "a rewrite", m->error);
  PUT(&k, node->op);
  PUT(&k, node->region);
  PUT(&k, node->input_count);
  PUT(&k, node->output_count);
  put(&k, node->inputs, node->input_count * sizeof node->inputs[0]);
  if (node->op == WEFT_OP_MATMUL) PUT(&k, node->attributes.matmul.int8_rows);
  if (expr)
    put_expr(&k, expr);
  else
    PUT(&k, node->attributes);
  *out = (weft_str){(const char *)k.at, k.length};
  return WEFT_OK;
}

static void forward_inputs(const merging *m, weft_node *node) {
  for (uint32_t i = 0; i < node->input_count; i++)
    if (node->inputs[i] != WEFT_VALUE_NONE) node->inputs[i] = m->forward[node->inputs[i]];
}

static weft_status merge_node(merging *m, weft_node_id id) {
  weft_node *node = &m->graph->nodes[id];
  forward_inputs(m, node);
  if (!is_mergeable(node)) return WEFT_OK;
  weft_value_id known;
  WEFT_TRY(find_elements(m, node->region, node->outputs[0], &known));
  if (known != WEFT_VALUE_NONE) {
    m->forward[node->outputs[0]] = known;
    return WEFT_OK;
  }
  weft_str text;
  WEFT_TRY(write_key(m, node, &text));
  uint32_t found = weft_map_find(&m->seen, text);
  if (found == WEFT_MAP_NONE) {
    bool set = weft_map_set(&m->seen, text, id);
    return set ? WEFT_OK : weft_arena_fail(&m->arena, "a rewrite", m->error);
  }
  for (uint32_t i = 0; i < node->output_count; i++)
    m->forward[node->outputs[i]] = m->graph->nodes[found].outputs[i];
  return WEFT_OK;
}

static void forward_outputs(const merging *m) {
  for (uint32_t r = 0; r < m->graph->region_count; r++) {
    weft_region *region = &m->graph->regions[r];
    for (uint32_t i = 0; i < region->output_count; i++)
      region->outputs[i] = m->forward[region->outputs[i]];
  }
}

static weft_status merge_all(merging *m) {
  const weft_graph *graph = m->graph;
  m->forward = WEFT_ARENA_ARRAY(&m->arena, weft_value_id, graph->value_count + 1);
  if (!m->forward) return weft_arena_fail(&m->arena, "a rewrite", m->error);
  weft_map_init(&m->seen, &m->arena);
  weft_map_init(&m->constants, &m->arena);
  weft_map_init(&m->elements, &m->arena);
  for (uint32_t i = 0; i < graph->value_count; i++) {
    m->forward[i] = i;
    WEFT_TRY(merge_constant(m, i));
  }
  weft_walk walk;
  weft_walk_start(&walk, graph);
  for (weft_walk_event event; (event = weft_walk_next(&walk)) != WEFT_WALK_END;) {
    if (event == WEFT_WALK_TOO_DEEP) return WEFT_OK;
    if (event == WEFT_WALK_NODE && !graph->nodes[walk.node].removed)
      WEFT_TRY(merge_node(m, walk.node));
  }
  forward_outputs(m);
  return WEFT_OK;
}

weft_status weft_pass_merge_equal(weft_graph *graph, const weft_opt_context *context,
                                  weft_error *error) {
  merging m = {.graph = graph, .error = error};
  weft_arena_init(&m.arena, context->heap);
  weft_status status = merge_all(&m);
  weft_arena_release(&m.arena);
  return status;
}
