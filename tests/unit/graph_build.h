/* graph_build.h - for the tests of src/graph: graphs from short texts. A tensor is written as
 *
 *   "f32[batch,2]"    an input; names are symbols, "?" an anonymous one, "[...]" an unknown rank
 *   "i64{1,batch,?}"  a list with known elements ("?": one that is not known)
 *   "i64 5"           a scalar with a known element
 *   "f32=0.5"         a constant scalar
 */
#ifndef WEFT_TESTS_GRAPH_BUILD_H
#define WEFT_TESTS_GRAPH_BUILD_H

#include <stdlib.h>

#include "base/host.h"
#include "graph/graph.h"
#include "tests/check.h"

typedef struct fixture {
  weft_heap heap;
  weft_graph graph;
  weft_error error;
} fixture;

static inline void fixture_open(fixture *f) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap_init(&f->heap, &allocator, NULL, 0);
  f->error.message[0] = 0;
  CHECK_OK(weft_graph_init(&f->graph, &f->heap, &f->error), &f->error);
}

static inline void fixture_close(fixture *f) {
  weft_graph_release(&f->graph);
  CHECK_INT(weft_heap_use(&f->heap).bytes, 0);
}

/* ---- parsing --------------------------------------------------------------------------------- */

static inline weft_dtype parse_dtype(const char **at) {
  for (int dtype = WEFT_F32; dtype <= WEFT_BF16; dtype++) {
    const char *name = weft_dtype_name((weft_dtype)dtype);
    size_t length = strlen(name);
    if (weft_dtype_size((weft_dtype)dtype) == 0 || memcmp(*at, name, length) != 0) continue;
    *at += length;
    return (weft_dtype)dtype;
  }
  return WEFT_DTYPE_NONE;
}

/* A number or a symbol, up to the next ',' or closing bracket. */
static inline weft_dim parse_dim(fixture *f, const char **at, bool is_element) {
  const char *start = *at;
  while (**at && **at != ',' && **at != ']' && **at != '}') (*at)++;
  weft_str name = {start, (uint32_t)(*at - start)};
  if (**at == ',') (*at)++;
  if (*start == '-' || (*start >= '0' && *start <= '9')) return strtoll(start, NULL, 10);
  if (weft_str_is(name, "?") && is_element) return WEFT_DIM_UNKNOWN;
  weft_dim dim = 0;
  if (weft_str_is(name, "?")) name.length = 0;
  CHECK_OK(weft_graph_symbol(&f->graph, name, &dim, &f->error), &f->error);
  return dim;
}

static inline weft_shape parse_shape(fixture *f, const char *text) {
  weft_shape shape = {.rank = -1};
  if (strcmp(text, "[...]") == 0) return shape;
  shape.rank = 0;
  for (text++; *text != ']';) shape.dims[shape.rank++] = parse_dim(f, &text, false);
  return shape;
}

/* ---- building -------------------------------------------------------------------------------- */

static inline void append_id(fixture *f, weft_value_id **list, uint32_t *count, weft_value_id id) {
  weft_value_id *slot = WEFT_ARENA_PUSH(&f->graph.arena, *list, *count);
  if (CHECK(slot != NULL)) *slot = id;
}

static inline void mark_output(fixture *f, uint32_t region, weft_value_id id) {
  weft_region *r = &f->graph.regions[region];
  append_id(f, &r->outputs, &r->output_count, id);
}

static inline weft_value_id float_constant(fixture *f, const char *text) {
  float value = strtof(text, NULL);
  weft_buffer *data = weft_buffer_new(&f->heap, sizeof value);
  memcpy(data->data, &value, sizeof value);
  weft_shape scalar = {0};
  weft_value_id id = WEFT_VALUE_NONE;
  CHECK_OK(
      weft_graph_add_constant(&f->graph, WEFT_STR(""), WEFT_F32, &scalar, data, &id, &f->error),
      &f->error);
  return id;
}

/* An input of the main region; NULL is an input left out. */
static inline weft_value_id tensor(fixture *f, const char *text) {
  if (!text) return WEFT_VALUE_NONE;
  const char *at = text;
  weft_dtype dtype = parse_dtype(&at);
  if (*at == '=') return float_constant(f, at + 1);
  weft_dim elements[WEFT_MAX_HOST_ELEMENTS];
  uint32_t count = 0;
  weft_shape shape = {0};
  if (*at == '[') {
    shape = parse_shape(f, at);
  } else if (*at == '{') {
    for (at++; *at != '}';) elements[count++] = parse_dim(f, &at, true);
    shape = (weft_shape){.rank = 1, .dims = {count}};
  } else {
    at++;
    elements[count++] = parse_dim(f, &at, true);
  }
  weft_value_id id = WEFT_VALUE_NONE;
  CHECK_OK(weft_graph_add_value(&f->graph, WEFT_STR(""), WEFT_VALUE_INPUT, dtype, &shape, &id,
                                &f->error),
           &f->error);
  weft_value *value = &f->graph.values[id];
  if (text[strlen(text) - 1] != ']') {
    value->elements = WEFT_ARENA_ARRAY(&f->graph.arena, weft_dim, count);
    memcpy(value->elements, elements, count * sizeof *elements);
  }
  weft_region *main_region = &f->graph.regions[0];
  append_id(f, &main_region->inputs, &main_region->input_count, id);
  return id;
}

/* Appends a node, not inferred yet. */
static inline weft_node *add_node(fixture *f, uint32_t region, weft_op op,
                                  const weft_value_id *inputs, uint32_t input_count,
                                  const weft_attributes *attributes) {
  weft_node *node = NULL;
  CHECK_OK(weft_graph_add_node(&f->graph, region, op, WEFT_STR("n"), WEFT_STR("Op"), inputs,
                               input_count, 1, &node, &f->error),
           &f->error);
  if (attributes) node->attributes = *attributes;
  return node;
}

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof *(array)))
#define IDS(...)        ((weft_value_id[]){__VA_ARGS__}), COUNT_OF(((weft_value_id[]){__VA_ARGS__}))

/* "f32[batch,2] {1,2}" */
static inline const char *describe(const weft_inference *at, weft_value_id id, char *buffer,
                                   size_t size) {
  const weft_value *value = &at->graph->values[id];
  const weft_shape *shape = at->shapes ? &at->shapes[id] : &value->shape;
  const weft_dim *elements = at->elements ? at->elements[id] : value->elements;
  weft_text text = {.buffer = buffer, .size = size};
  weft_text_add(&text, "%s", weft_dtype_name(at->dtypes ? at->dtypes[id] : value->dtype));
  weft_shape_print(at->graph, shape, &text);
  if (!elements) return buffer;
  weft_dim count = shape->rank == 1 ? shape->dims[0] : 1;
  weft_text_add(&text, " {");
  for (weft_dim i = 0; i < count; i++) {
    if (i) weft_text_add(&text, ",");
    weft_dim_print(at->graph, elements[i], &text);
  }
  weft_text_add(&text, "}");
  return buffer;
}

static inline bool contains(const char *text, const char *part) {
  for (size_t length = strlen(part); strlen(text) >= length; text++) {
    if (memcmp(text, part, length) == 0) return true;
  }
  return false;
}

#endif
