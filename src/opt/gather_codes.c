/* gather_codes.c - rows of a dequantized table (an embedding): the codes are gathered, and only
 * what was asked for becomes numbers. */
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/placing.h"

enum { CODES, SCALES, ZEROS, FIELDS };

static bool is_single(const weft_graph *graph, weft_value_id id) {
  if (id == WEFT_VALUE_NONE) return true;
  const weft_shape *shape = &graph->values[id].shape;
  return shape->rank == 0 || (shape->rank == 1 && shape->dims[0] == 1);
}

static weft_value_id field_of(const weft_node *dequantize, uint32_t field) {
  return field < dequantize->input_count ? dequantize->inputs[field] : WEFT_VALUE_NONE;
}

/* The dequantize node whose constant codes `node` may gather: with one scale for all, or with
 * blocks within rows. */
static const weft_node *find_table(const weft_graph *graph, const weft_node *node) {
  if (node->removed || node->op != WEFT_OP_GATHER) return NULL;
  const weft_node *table = weft_match_producer(graph, node->inputs[0]);
  if (!table || table->op != WEFT_OP_DEQUANTIZE) return NULL;
  const weft_value *codes = &graph->values[table->inputs[CODES]];
  int32_t rank = codes->shape.rank, axis = table->attributes.dequantize.axis;
  if (codes->kind != WEFT_VALUE_CONSTANT || rank < 2 || node->attributes.axis.axis != 0)
    return NULL;
  bool single = is_single(graph, table->inputs[SCALES]) && is_single(graph, field_of(table, ZEROS));
  bool in_rows = table->attributes.dequantize.block > 0 && (axis == -1 || axis == rank - 1);
  return single || in_rows ? table : NULL;
}

static weft_status rewrite(weft_placing *placing, weft_node_id id, const weft_node *table) {
  weft_graph *graph = placing->graph;
  uint32_t count = table->input_count;
  weft_attributes attributes = table->attributes;
  weft_value_id inputs[FIELDS];
  for (uint32_t i = 0; i < count; i++) inputs[i] = table->inputs[i];
  for (uint32_t i = 0; i < count; i++)
    if (i == CODES || !is_single(graph, inputs[i]))
      WEFT_TRY(weft_placing_add(placing, id, WEFT_OP_GATHER,
                                (weft_value_id[]){inputs[i], graph->nodes[id].inputs[1]}, 2,
                                &graph->nodes[id].attributes, &inputs[i]));
  WEFT_TRY(weft_match_rewrite(graph, &graph->nodes[id], WEFT_OP_DEQUANTIZE, inputs, count,
                              placing->error));
  graph->nodes[id].attributes = attributes;
  graph->nodes[id].attributes.dequantize.axis = -1;
  return WEFT_OK;
}

static weft_status gather_all(weft_placing *placing) {
  weft_graph *graph = placing->graph;
  for (uint32_t n = 0; n < placing->first; n++) {
    const weft_node *table = find_table(graph, &graph->nodes[n]);
    if (table) WEFT_TRY(rewrite(placing, n, table));
  }
  return WEFT_OK;
}

weft_status weft_pass_gather_codes(weft_graph *graph, const weft_opt_context *context,
                                   weft_error *error) {
  weft_placing placing;
  weft_placing_start(&placing, graph, context->heap, error);
  return weft_placing_end(&placing, gather_all(&placing));
}
