/* weight.c - see weight.h. */
#include "opt/weight.h"

#include "opt/match.h"

enum { CODES, SCALES, ZEROS };

static const weft_value *constant_of(const weft_graph *graph, weft_value_id id) {
  const weft_value *value = id == WEFT_VALUE_NONE ? NULL : &graph->values[id];
  bool good = value && value->kind == WEFT_VALUE_CONSTANT && value->data &&
              value->layout == WEFT_LAYOUT_DENSE;
  return good ? value : NULL;
}

static bool is_good_size(const weft_weight *weight) {
  return weight->k > 0 && weight->n > 0 && weight->k <= WEFT_WEIGHT_K_MAX;
}

static weft_value_id zeros_of(const weft_node *node) {
  return node->input_count > ZEROS ? node->inputs[ZEROS] : WEFT_VALUE_NONE;
}

/* ---- codes ----------------------------------------------------------------------------------- */

bool weft_weight_is_single(const weft_graph *graph, const weft_weight *weight, uint32_t input) {
  const weft_node *node = weight->dequantize;
  const weft_value *value = &graph->values[node->inputs[input]];
  bool one = value->shape.rank == 0 || (value->shape.rank == 1 && value->shape.dims[0] == 1);
  if (!one || input == SCALES || weft_dtype_is_float(value->dtype)) return one;
  /* Several packed zeros may share that byte. */
  uint32_t bits = node->attributes.dequantize.bits;
  return bits == 8 || weft_weight_is_single(graph, weight, SCALES) || weight->n * bits > 8;
}

/* One number for all, one for each column, or one for each block of a column. */
static bool is_good_parameter(const weft_graph *graph, uint32_t input, weft_weight *weight) {
  const weft_attributes *a = &weight->dequantize->attributes;
  const weft_value *value = constant_of(graph, weight->dequantize->inputs[input]);
  if (!value || value->dtype == WEFT_F64 || weft_dtype_size(value->dtype) > sizeof(float))
    return false;
  if (!weft_dtype_is_float(value->dtype) && value->dtype != weight->data->dtype) return false;
  if (weft_weight_is_single(graph, weight, input)) return true;
  int32_t axis = a->dequantize.axis < 0 ? a->dequantize.axis + 2 : a->dequantize.axis;
  bool along_k = axis == (weight->transposed ? 1 : 0);
  if (a->dequantize.block == 0) return !along_k;
  weight->block = (uint64_t)a->dequantize.block;
  bool fits = weight->block % WEFT_WEIGHT_BLOCK_STEP == 0 && weight->block <= WEFT_WEIGHT_BLOCK_MAX;
  if (weight->block < weight->k) return along_k && fits;
  weight->block = 0;
  return along_k;
}

static bool find_codes(const weft_graph *graph, const weft_node *node, weft_weight *out) {
  out->dequantize = node;
  out->data = constant_of(graph, node->inputs[CODES]);
  const weft_shape *shape = &graph->values[node->outputs[0]].shape;
  if (!out->data || shape->rank != 2 || !weft_shape_is_fixed(shape)) return false;
  bool bytes = out->data->dtype == WEFT_U8 ||
               (out->data->dtype == WEFT_I8 && node->attributes.dequantize.bits == 8);
  out->k = (uint64_t)shape->dims[out->transposed ? 1 : 0];
  out->n = (uint64_t)shape->dims[out->transposed ? 0 : 1];
  return bytes && is_good_size(out) && is_good_parameter(graph, SCALES, out) &&
         (zeros_of(node) == WEFT_VALUE_NONE || is_good_parameter(graph, ZEROS, out));
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool swaps_rows(const weft_node *node) {
  if (node->op != WEFT_OP_VIEW || node->attributes.view.kind != WEFT_VIEW_TRANSPOSE) return false;
  const weft_axes *axes = &node->attributes.view.axes;
  return axes->count == 0 || (axes->axes[0] + axes->count) % axes->count == 1;
}

static bool find_floats(const weft_graph *graph, weft_value_id id, weft_weight *out) {
  weft_value_id operands[3];
  bool casts = graph->values[id].kind == WEFT_VALUE_COMPUTED &&
               graph->values[id].dtype == WEFT_F32 &&
               weft_match_map(graph, id, WEFT_EXPR_CAST, operands);
  out->data = constant_of(graph, casts ? operands[0] : id);
  bool half = out->data && (out->data->dtype == WEFT_F16 || out->data->dtype == WEFT_BF16);
  if (!half || out->data->shape.rank != 2) return false;
  out->k = (uint64_t)out->data->shape.dims[0];
  out->n = (uint64_t)out->data->shape.dims[1];
  return is_good_size(out);
}

static const weft_node *maker_of(const weft_graph *graph, weft_value_id id) {
  return graph->values[id].kind == WEFT_VALUE_COMPUTED ? weft_match_producer(graph, id) : NULL;
}

static bool find_part(const weft_graph *graph, weft_value_id id, weft_weight *out) {
  *out = (weft_weight){0};
  const weft_node *node = maker_of(graph, id);
  if (node && swaps_rows(node) && graph->values[id].shape.rank == 2) {
    const weft_node *inner = maker_of(graph, node->inputs[0]);
    out->transposed = true;
    return inner && inner->op == WEFT_OP_DEQUANTIZE && find_codes(graph, inner, out);
  }
  if (node && node->op == WEFT_OP_DEQUANTIZE) return find_codes(graph, node, out);
  return find_floats(graph, id, out);
}

bool weft_weight_is_alike(const weft_weight *a, const weft_weight *b) {
  if (a->k != b->k || a->block != b->block || !a->dequantize != !b->dequantize) return false;
  if (!a->dequantize) return a->data->dtype == b->data->dtype;
  return a->dequantize->attributes.dequantize.bits == b->dequantize->attributes.dequantize.bits;
}

bool weft_weight_find(const weft_graph *graph, weft_value_id value, weft_weight_list *out) {
  const weft_node *concat = maker_of(graph, value);
  const weft_value_id *ids = &value;
  *out = (weft_weight_list){.count = 1};
  if (concat && concat->op == WEFT_OP_CONCAT) {
    int32_t axis = concat->attributes.axis.axis;
    bool columns = graph->values[value].shape.rank == 2 && (axis == 1 || axis == -1);
    if (!columns || concat->input_count > WEFT_WEIGHT_PARTS_MAX) return false;
    ids = concat->inputs;
    out->count = concat->input_count;
  }
  for (uint32_t i = 0; i < out->count; i++) {
    weft_weight *part = &out->parts[i];
    if (!find_part(graph, ids[i], part) || !weft_weight_is_alike(part, &out->parts[0]))
      return false;
    out->n += part->n;
  }
  out->k = out->parts[0].k;
  return true;
}

uint64_t weft_weight_bytes(const weft_graph *graph, const weft_weight_list *list) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < list->count; i++) {
    const weft_node *node = list->parts[i].dequantize;
    if (!node) bytes += list->parts[i].data->data->bytes;
    for (uint32_t k = 0; node && k < node->input_count; k++)
      if (node->inputs[k] != WEFT_VALUE_NONE) bytes += graph->values[node->inputs[k]].data->bytes;
  }
  return bytes;
}
