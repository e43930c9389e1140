/* facts.c - small questions about ops, types and shapes, and how they are printed in messages. */
#include "graph/infer.h"

static const weft_op_facts facts[WEFT_OP_COUNT] = {
#define WEFT_OP(id, op_name, min, max, outputs, attributes)                                        \
  [WEFT_OP_##id] = {                                                                               \
      .name = #op_name, .inputs_min = (min), .inputs_max = (max), .outputs_max = (outputs)},
#include "graph/ops.inc"
#undef WEFT_OP
};

const weft_op_facts *weft_op_facts_of(weft_op op) {
  return &facts[op];
}

weft_value_id weft_cache_past(const weft_graph *graph, weft_value_id present) {
  const weft_value *value = &graph->values[present];
  if (value->kind != WEFT_VALUE_COMPUTED || value->producer == WEFT_NODE_NONE)
    return WEFT_VALUE_NONE;
  const weft_node *node = &graph->nodes[value->producer];
  if (node->op == WEFT_OP_APPEND) return node->inputs[0];
  if (node->op != WEFT_OP_CACHED_ATTENTION) return WEFT_VALUE_NONE;
  if (present == node->outputs[1]) return node->inputs[WEFT_CACHED_PAST_K];
  return present == node->outputs[2] ? node->inputs[WEFT_CACHED_PAST_V] : WEFT_VALUE_NONE;
}

bool weft_dtype_is_float(weft_dtype dtype) {
  return dtype == WEFT_F32 || dtype == WEFT_F16 || dtype == WEFT_BF16 || dtype == WEFT_F64;
}

bool weft_dtype_is_integer(weft_dtype dtype) {
  const uint32_t integers = 1u << WEFT_U8 | 1u << WEFT_I8 | 1u << WEFT_U16 | 1u << WEFT_I16 |
                            1u << WEFT_I32 | 1u << WEFT_I64 | 1u << WEFT_U32 | 1u << WEFT_U64;
  return dtype >= 0 && dtype < 32 && (integers >> dtype & 1u);
}

float weft_float_at(weft_dtype dtype, const void *from) {
  uint32_t bits;
  uint16_t half;
  float value;
  if (dtype == WEFT_F32) {
    memcpy(&value, from, sizeof value);
    return value;
  }
  memcpy(&half, from, sizeof half);
  bits = (uint32_t)half << 16;
  if (dtype == WEFT_F16) { /* the exponent moves by 112, by a product that subnormals survive */
    bits = (half & 0x8000u) << 16 | (half & 0x7fffu) << 13;
    if ((half & 0x7c00u) == 0x7c00u) bits |= 0x7f800000u;
  }
  memcpy(&value, &bits, sizeof value);
  return dtype == WEFT_F16 && (half & 0x7c00u) != 0x7c00u ? value * 0x1p112f : value;
}

bool weft_shape_is_fixed(const weft_shape *shape) {
  for (int32_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] < 0) return false;
  }
  return shape->rank >= 0;
}

/* Symbols count as 1, and so do zeros within the limit, so that strides of empty tensors fit too.
 */
weft_status weft_shape_elements(const weft_shape *shape, uint64_t *out, weft_error *error) {
  uint64_t product = 1;
  bool empty = false;
  for (int32_t i = 0; i < shape->rank; i++) {
    if (shape->dims[i] == 0) empty = true;
    if (shape->dims[i] <= 0) continue;
    if (!weft_mul_u64(product, (uint64_t)shape->dims[i], &product) || product > WEFT_MAX_ELEMENTS) {
      return weft_fail(error, WEFT_LIMIT_EXCEEDED, "a tensor of more than %llu elements",
                       (unsigned long long)WEFT_MAX_ELEMENTS);
    }
  }
  *out = empty ? 0 : product;
  return WEFT_OK;
}

bool weft_shape_equal(const weft_shape *a, const weft_shape *b) {
  if (a->rank != b->rank) return false;
  for (int32_t i = 0; i < a->rank; i++) {
    if (a->dims[i] != b->dims[i]) return false;
  }
  return true;
}

bool weft_elements_are_fixed(const weft_shape *shape, const weft_dim *elements) {
  if (!elements || shape->rank < 0 || shape->rank > 1) return false;
  weft_dim count = shape->rank == 1 ? shape->dims[0] : 1;
  for (weft_dim i = 0; i < count; i++) {
    if (WEFT_DIM_IS_SYMBOL(elements[i])) return false;
  }
  return true;
}

void weft_dim_print(const weft_graph *graph, weft_dim dim, weft_text *text) {
  if (!WEFT_DIM_IS_SYMBOL(dim)) {
    weft_text_add(text, "%lld", (long long)dim);
    return;
  }
  uint32_t index = WEFT_DIM_SYMBOL_INDEX(dim);
  if (index >= graph->symbol_count) {
    weft_text_add(text, "?");
  } else if (graph->symbols[index].length == 0) {
    weft_text_add(text, "?%u", index);
  } else {
    weft_text_add(text, "%.*s", WEFT_STR_ARGS(graph->symbols[index]));
  }
}

void weft_shape_print(const weft_graph *graph, const weft_shape *shape, weft_text *text) {
  if (shape->rank < 0) {
    weft_text_add(text, "[...]");
    return;
  }
  weft_text_add(text, "[");
  for (int32_t i = 0; i < shape->rank; i++) {
    if (i) weft_text_add(text, ",");
    weft_dim_print(graph, shape->dims[i], text);
  }
  weft_text_add(text, "]");
}

/* Names may be as long as the file likes: a message has to keep room for the cause. */
enum { NAME_BYTES_IN_MESSAGES = 120 };

static int name_bytes(weft_str name) {
  return name.length < NAME_BYTES_IN_MESSAGES ? (int)name.length : NAME_BYTES_IN_MESSAGES;
}

weft_status weft_node_fail_list(const weft_node *node, weft_error *error, weft_status status,
                                const char *format, va_list list) {
  if (!error) return status;
  weft_text text = {.buffer = error->message, .size = sizeof error->message};
  if (node)
    weft_text_add(&text, "node '%.*s' (%.*s): ", name_bytes(node->name), node->name.data,
                  name_bytes(node->origin), node->origin.data ? node->origin.data : "");
  weft_text_add_list(&text, format, list);
  error->status = status;
  return status;
}

weft_status weft_node_fail(const weft_node *node, weft_error *error, weft_status status,
                           const char *format, ...) {
  va_list list;
  va_start(list, format);
  weft_node_fail_list(node, error, status, format, list);
  va_end(list);
  return status;
}
