/* lower_build.h - ONNX models as structs, built in a few words, for tests of the lowering
 * (src/format/onnx_lower.c), and checks of what it makes of them. */
#ifndef WEFT_TESTS_LOWER_BUILD_H
#define WEFT_TESTS_LOWER_BUILD_H

#include "base/host.h"
#include "format/onnx_lower.h"
#include "tests/check.h"

enum { FLOAT = 1, INT, STRING, TENSOR, GRAPH, FLOATS, INTS }; /* AttributeProto.AttributeType */

/* One model at a time; `build_begin` starts anew. */
static struct {
  weft_allocator allocator;
  weft_heap heap;
  weft_arena arena;
  weft_onnx_model model;
  weft_onnx_graph graph;
  weft_buffer **buffers;
  uint32_t buffer_count;
} built;

static inline void import(weft_onnx_operator_set **opsets, uint32_t *count, const char *domain,
                          int64_t version) {
  *WEFT_ARENA_PUSH(&built.arena, *opsets, *count) =
      (weft_onnx_operator_set){weft_str_of(domain), version};
}

static inline void build_begin(int64_t opset) {
  memset(&built, 0, sizeof built);
  built.allocator = weft_host_allocator();
  weft_heap_init(&built.heap, &built.allocator, NULL, 0);
  weft_arena_init(&built.arena, &built.heap);
  built.graph.name = WEFT_STR("main");
  built.model.ir_version = 10;
  built.model.graph = &built.graph;
  import(&built.model.opsets, &built.model.opset_count, "", opset);
}

static inline void build_end(void) {
  for (uint32_t i = 0; i < built.buffer_count; ++i) weft_buffer_release(&built.buffers[i]);
  weft_arena_release(&built.arena);
  CHECK_INT(weft_heap_use(&built.heap).bytes, 0);
}

/* The next piece of *text up to `separator`; false at its end. "a,,b" has three pieces, "" none. */
static inline bool next_piece(const char **text, char separator, weft_str *piece) {
  if (!*text || !**text) return false;
  const char *at = *text;
  while (*at && *at != separator) ++at;
  *piece = (weft_str){*text, (uint32_t)(at - *text)};
  *text = *at ? at + 1 : at;
  return true;
}

static inline weft_str *words(const char *text, uint32_t *count) {
  weft_str *list = NULL, piece;
  *count = 0;
  while (next_piece(&text, ',', &piece))
    *WEFT_ARENA_PUSH(&built.arena, list, *count) = weft_arena_copy(&built.arena, piece);
  return list;
}

static inline int64_t number(weft_str text) {
  bool negative = text.length > 0 && text.data[0] == '-';
  int64_t value = 0;
  for (uint32_t i = negative; i < text.length; ++i) value = value * 10 + (text.data[i] - '0');
  return negative ? -value : value;
}

static inline bool is_number(weft_str text) {
  return text.length > 0 && (text.data[0] == '-' || (text.data[0] >= '0' && text.data[0] <= '9'));
}

/* ---- values ---------------------------------------------------------------------------------- */

/* "batch,3": names and extents; NULL: no shape. */
static inline weft_onnx_value_info info(const char *name, weft_dtype dtype, const char *dims) {
  weft_onnx_value_info out = {.name = weft_str_of(name),
                              .element_type = (int32_t)dtype,
                              .is_tensor = true,
                              .has_shape = dims != NULL};
  uint32_t count;
  weft_str *texts = words(dims, &count);
  for (uint32_t i = 0; i < count; ++i) {
    weft_onnx_dimension *dim = WEFT_ARENA_PUSH(&built.arena, out.dims, out.dim_count);
    dim->has_value = is_number(texts[i]);
    if (dim->has_value) dim->value = number(texts[i]);
    if (!dim->has_value) dim->parameter = texts[i];
  }
  return out;
}

static inline void input(const char *name, weft_dtype dtype, const char *dims) {
  *WEFT_ARENA_PUSH(&built.arena, built.graph.inputs, built.graph.input_count) =
      info(name, dtype, dims);
}

static inline void output_of(weft_onnx_graph *graph, const char *name) {
  weft_onnx_value_info *slot = WEFT_ARENA_PUSH(&built.arena, graph->outputs, graph->output_count);
  slot->name = weft_str_of(name);
}

static inline weft_onnx_tensor tensor(const char *name, weft_dtype dtype, const char *dims,
                                      const void *data, uint64_t bytes) {
  weft_onnx_tensor out = {.name = weft_str_of(name), .data_type = (int32_t)dtype};
  weft_str piece;
  while (next_piece(&dims, ',', &piece))
    *WEFT_ARENA_PUSH(&built.arena, out.dims, out.dim_count) = number(piece);
  out.data = weft_buffer_borrow(&built.heap, data, bytes);
  *WEFT_ARENA_PUSH(&built.arena, built.buffers, built.buffer_count) = out.data;
  return out;
}

static inline void initializer(weft_onnx_graph *graph, weft_onnx_tensor made) {
  *WEFT_ARENA_PUSH(&built.arena, graph->initializers, graph->initializer_count) = made;
}

#define INTEGERS(name, dims, ...)                                                                  \
  tensor((name), WEFT_I64, (dims), (const int64_t[]){__VA_ARGS__},                                 \
         sizeof((const int64_t[]){__VA_ARGS__}))

/* ---- nodes ----------------------------------------------------------------------------------- */

static inline weft_onnx_node *add_node(weft_onnx_node **nodes, uint32_t *count, const char *op,
                                       const char *inputs, const char *outputs) {
  weft_onnx_node *node = WEFT_ARENA_PUSH(&built.arena, *nodes, *count);
  node->op_type = weft_str_of(op);
  node->inputs = words(inputs, &node->input_count);
  node->outputs = words(outputs, &node->output_count);
  return node;
}

/* In the main graph. The pointer holds until the next node. */
static inline weft_onnx_node *add(const char *op, const char *inputs, const char *outputs) {
  return add_node(&built.graph.nodes, &built.graph.node_count, op, inputs, outputs);
}

static inline weft_onnx_node *add_to(weft_onnx_graph *graph, const char *op, const char *inputs,
                                     const char *outputs) {
  return add_node(&graph->nodes, &graph->node_count, op, inputs, outputs);
}

static inline weft_onnx_attribute *attribute(weft_onnx_node *node, weft_str name, int32_t type) {
  weft_onnx_attribute *a = WEFT_ARENA_PUSH(&built.arena, node->attributes, node->attribute_count);
  a->name = name;
  a->type = type;
  return a;
}

static inline void attribute_graph(weft_onnx_node *node, const char *name, weft_onnx_graph *graph) {
  attribute(node, weft_str_of(name), GRAPH)->g = graph;
}

/* Tenths are enough for floats in tests. */
static inline float decimal(weft_str text, uint32_t point) {
  int64_t whole = number((weft_str){text.data, point});
  int64_t tenths = number((weft_str){text.data + point + 1, text.length - point - 1});
  bool negative = text.data[0] == '-';
  return (float)whole + (negative ? -0.1f : 0.1f) * (float)tenths;
}

static inline void set_value(weft_onnx_attribute *a, weft_str text) {
  for (uint32_t i = 0; i < text.length; ++i)
    if (text.data[i] == '.') {
      a->type = FLOAT;
      a->f = decimal(text, i);
      return;
    }
  a->type = is_number(text) ? INT : STRING;
  if (a->type == INT) a->i = number(text);
  if (a->type == STRING) a->s = weft_arena_copy(&built.arena, text);
}

static inline void set_list(weft_onnx_attribute *a, weft_str text) {
  const char *rest = weft_arena_copy(&built.arena, text).data;
  weft_str piece;
  a->type = INTS;
  while (next_piece(&rest, ',', &piece))
    *WEFT_ARENA_PUSH(&built.arena, a->ints, a->int_count) = number(piece);
}

/* "axis=1 alpha=0.5 mode=edge perm=[0,2,1]": ints, floats (with a point), strings, lists of ints.
 */
static inline void attributes(weft_onnx_node *node, const char *text) {
  weft_str piece;
  while (next_piece(&text, ' ', &piece)) {
    uint32_t equals = 0;
    while (piece.data[equals] != '=') ++equals;
    weft_str name = weft_arena_copy(&built.arena, (weft_str){piece.data, equals});
    weft_str value = {piece.data + equals + 1, piece.length - equals - 1};
    weft_onnx_attribute *a = attribute(node, name, 0);
    if (value.data[0] == '[')
      set_list(a, (weft_str){value.data + 1, value.length - 2});
    else
      set_value(a, value);
  }
}

/* ---- checks ---------------------------------------------------------------------------------- */

typedef struct lowered {
  weft_file file;
  weft_error error;
  weft_status status;
  char dump[8192];
} lowered;

static inline void lower_model(lowered *out) {
  out->error.message[0] = 0;
  out->status = weft_onnx_lower(&built.model, &built.heap, &out->file, &out->error);
  weft_text text = {.buffer = out->dump, .size = sizeof out->dump};
  weft_text_add(&text, "%s", "");
  if (out->status == WEFT_OK) weft_graph_dump(&out->file.graph, &text);
}

/* Ends the model: its graph must read like this. */
#define CHECK_GRAPH(expected)                                                                      \
  do {                                                                                             \
    lowered made_;                                                                                 \
    lower_model(&made_);                                                                           \
    CHECK_OK(made_.status, &made_.error);                                                          \
    CHECK_TEXT(made_.dump, (expected));                                                            \
    weft_graph_release(&made_.file.graph);                                                         \
    build_end();                                                                                   \
  } while (0)

/* Ends the model: it must be refused like this. */
#define CHECK_REFUSED(why, message_)                                                               \
  do {                                                                                             \
    lowered made_;                                                                                 \
    lower_model(&made_);                                                                           \
    CHECK_INT(made_.status, (why));                                                                \
    CHECK_TEXT(made_.error.message, (message_));                                                   \
    if (made_.status == WEFT_OK) weft_graph_release(&made_.file.graph);                            \
    build_end();                                                                                   \
  } while (0)

#endif
