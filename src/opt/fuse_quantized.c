/* fuse_quantized.c - integer products as exporters write them become products with weights of few
 * bits:
 *
 *   xq, xs, xz = quantize_dynamic(x)
 *   cast(matmul_integer(xq, W, xz, wz)) * (xs * ws)   ->   matmul(x, dequantize(W, ws, wz))
 *
 * where the device may round x to codes again, as it does best; and a matmul between a quantized
 * activation and a quantized weight (QDQ) may round its rows too, which lie on a grid of 8 bits. */
#include "opt/match.h"
#include "opt/opt.h"
#include "opt/placing.h"
#include "opt/weight.h"

#define LOOKS_MAX   16
#define FACTORS_MAX 4

typedef struct integer_match {
  const weft_node *quantize, *product;
  weft_value_id scale; /* of W: one number, or one for each column, in any shape */
} integer_match;

/* ---- scaled integer products ----------------------------------------------------------------- */

/* A few numbers in another shape. */
static bool is_reshaped(const weft_graph *graph, const weft_node *node) {
  if (!node || node->op != WEFT_OP_VIEW) return false;
  weft_view_kind kind = node->attributes.view.kind;
  return (kind == WEFT_VIEW_RESHAPE || kind == WEFT_VIEW_UNSQUEEZE || kind == WEFT_VIEW_SQUEEZE ||
          kind == WEFT_VIEW_FLATTEN) &&
         weft_shape_is_fixed(&graph->values[node->outputs[0]].shape);
}

/* The factors of a product written in any order and grouping, views of scales left out; 0: too
 * many. */
static uint32_t find_factors(const weft_graph *graph, weft_value_id value,
                             weft_value_id factors[FACTORS_MAX]) {
  uint32_t count = 1;
  weft_value_id operands[3];
  factors[0] = value;
  for (uint32_t i = 0, looks = 0; i < count; looks++) {
    const weft_node *maker = weft_match_producer(graph, factors[i]);
    if (looks == LOOKS_MAX) return 0;
    if (weft_match_map(graph, factors[i], WEFT_EXPR_MUL, operands)) {
      if (count == FACTORS_MAX) return 0;
      factors[i] = operands[0];
      factors[count++] = operands[1];
    } else if (is_reshaped(graph, maker)) {
      factors[i] = maker->inputs[0];
    } else {
      i++;
    }
  }
  return count;
}

static bool is_constant(const weft_graph *graph, weft_value_id id) {
  const weft_value *value = &graph->values[id];
  return value->kind == WEFT_VALUE_CONSTANT && value->data && value->layout == WEFT_LAYOUT_DENSE;
}

static uint64_t elements_of(const weft_graph *graph, weft_value_id id) {
  uint64_t elements = 0;
  if (!weft_shape_is_fixed(&graph->values[id].shape)) return 0;
  return weft_shape_elements(&graph->values[id].shape, &elements, NULL) == WEFT_OK ? elements : 0;
}

/* cast(matmul_integer(...)) */
static const weft_node *integer_product(const weft_graph *graph, weft_value_id id) {
  weft_value_id operands[3];
  if (!weft_match_map(graph, id, WEFT_EXPR_CAST, operands)) return NULL;
  const weft_node *node = weft_match_producer(graph, operands[0]);
  return node && node->op == WEFT_OP_MATMUL_INTEGER ? node : NULL;
}

/* Which factor is which. */
static bool sort_factors(const weft_graph *graph, const weft_value_id *factors, uint32_t count,
                         integer_match *out) {
  *out = (integer_match){.scale = WEFT_VALUE_NONE};
  for (uint32_t i = 0; i < count; i++) {
    const weft_node *maker = weft_match_producer(graph, factors[i]);
    const weft_node *product = integer_product(graph, factors[i]);
    if (product)
      out->product = product;
    else if (maker && maker->op == WEFT_OP_QUANTIZE_DYNAMIC && maker->output_count == 3 &&
             maker->outputs[1] == factors[i])
      out->quantize = maker;
    else if (is_constant(graph, factors[i]) && graph->values[factors[i]].dtype == WEFT_F32)
      out->scale = factors[i];
  }
  return count == 3 && out->product && out->quantize && out->scale != WEFT_VALUE_NONE;
}

/* One number, or one for each column; as codes of W's type where `zero`. */
static bool fits_columns(const weft_graph *graph, weft_value_id id, weft_dim columns) {
  uint64_t elements = elements_of(graph, id);
  const weft_shape *shape = &graph->values[id].shape;
  return elements == 1 || (elements == (uint64_t)columns && shape->rank > 0 &&
                           shape->dims[shape->rank - 1] == columns);
}

static weft_value_id input_of(const weft_node *node, uint32_t input) {
  return input < node->input_count ? node->inputs[input] : WEFT_VALUE_NONE;
}

static bool match_integer(const weft_graph *graph, const weft_node *node, integer_match *out) {
  weft_value_id factors[FACTORS_MAX], operands[3];
  if (node->removed || !weft_match_map(graph, node->outputs[0], WEFT_EXPR_MUL, operands))
    return false;
  uint32_t count = find_factors(graph, node->outputs[0], factors);
  if (!sort_factors(graph, factors, count, out)) return false;
  const weft_node *product = out->product;
  weft_value_id zero = input_of(product, 3);
  const weft_value *weight = &graph->values[product->inputs[1]];
  bool own = product->inputs[0] == out->quantize->outputs[0] &&
             input_of(product, 2) == out->quantize->outputs[2] &&
             graph->values[out->quantize->inputs[0]].dtype == WEFT_F32;
  if (!own || !is_constant(graph, product->inputs[1]) || weight->shape.rank != 2) return false;
  if (zero != WEFT_VALUE_NONE && !is_constant(graph, zero)) return false;
  weft_dim columns = weight->shape.dims[1];
  return fits_columns(graph, out->scale, columns) &&
         weft_shape_equal(&graph->values[product->outputs[0]].shape,
                          &graph->values[node->outputs[0]].shape);
}

/* The scale as `dequantize` takes it: a number or a list. */
static weft_status list_scale(weft_placing *placing, weft_value_id *scale) {
  weft_graph *graph = placing->graph;
  const weft_value *value = &graph->values[*scale];
  weft_shape list = {.rank = 1, .dims = {(weft_dim)elements_of(graph, *scale)}};
  if (value->shape.rank < 2) return WEFT_OK;
  return weft_graph_add_constant(graph, value->name, value->dtype, &list,
                                 weft_buffer_retain(value->data), scale, placing->error);
}

/* dequantize(W, ws, wz), placed before `anchor`. */
static weft_status add_weight(weft_placing *placing, const integer_match *match,
                              weft_node_id anchor, weft_value_id *out) {
  weft_value_id inputs[] = {match->product->inputs[1], match->scale, input_of(match->product, 3)};
  WEFT_TRY(list_scale(placing, &inputs[1]));
  weft_attributes attributes = {.dequantize = {.dtype = WEFT_F32, .bits = 8, .axis = 1}};
  return weft_placing_add(placing, anchor, WEFT_OP_DEQUANTIZE, inputs,
                          inputs[2] == WEFT_VALUE_NONE ? 2 : 3, &attributes, out);
}

static weft_status rewrite(weft_placing *placing, weft_node_id id, const integer_match *match) {
  weft_graph *graph = placing->graph;
  weft_node_id product = (weft_node_id)(match->product - graph->nodes);
  weft_value_id inputs[2] = {match->quantize->inputs[0]};
  WEFT_TRY(add_weight(placing, match, id, &inputs[1]));
  weft_node *node = &graph->nodes[id];
  WEFT_TRY(weft_match_rewrite(graph, node, WEFT_OP_MATMUL, inputs, 2, placing->error));
  node->attributes.matmul.int8_rows = true;
  weft_str name = graph->nodes[product].name; /* profiles and messages speak of the product */
  graph->nodes[product].name = node->name;
  node->name = name;
  return WEFT_OK;
}

/* ---- QDQ ------------------------------------------------------------------------------------- */

/* A matmul of a dequantized activation of 8 bits with a weight of codes. */
static bool is_between_codes(const weft_graph *graph, const weft_node *node) {
  weft_weight_list list;
  if (node->removed || node->op != WEFT_OP_MATMUL) return false;
  const weft_node *left = weft_match_producer(graph, node->inputs[0]);
  if (!left || left->op != WEFT_OP_DEQUANTIZE || is_constant(graph, left->inputs[0])) return false;
  return graph->values[left->inputs[0]].dtype != WEFT_I32 &&
         weft_weight_find(graph, node->inputs[1], &list) && list.parts[0].dequantize;
}

static weft_status fuse_all(weft_placing *placing) {
  weft_graph *graph = placing->graph;
  for (uint32_t n = 0; n < placing->first; n++) {
    integer_match match;
    if (match_integer(graph, &graph->nodes[n], &match)) WEFT_TRY(rewrite(placing, n, &match));
    if (is_between_codes(graph, &graph->nodes[n]))
      graph->nodes[n].attributes.matmul.int8_rows = true;
  }
  return WEFT_OK;
}

weft_status weft_pass_fuse_quantized(weft_graph *graph, const weft_opt_context *context,
                                     weft_error *error) {
  weft_placing placing;
  weft_placing_start(&placing, graph, context->heap, error);
  return weft_placing_end(&placing, fuse_all(&placing));
}
