/* lower_cases.h - tables of single operators and what they are lowered to. */
#ifndef WEFT_TESTS_LOWER_CASES_H
#define WEFT_TESTS_LOWER_CASES_H

#include "tests/unit/lower_build.h"

/* Inputs x0, x1, ... of these types ("f32[2,n] - i64[]", x1 is left out), outputs y0, y1, ... of
 * the node. The nodes are those of the dump, without names. */
typedef struct operator_case {
  int64_t opset;
  const char *op, *inputs, *attributes;
  uint32_t outputs;
  const char *nodes;
} operator_case;

static inline weft_dtype dtype_of(weft_str name) {
  for (uint32_t dtype = WEFT_F32; dtype <= WEFT_BF16; ++dtype)
    if (weft_str_is(name, weft_dtype_name((weft_dtype)dtype))) return (weft_dtype)dtype;
  return WEFT_DTYPE_NONE;
}

static inline weft_str numbered(char letter, uint32_t i) {
  return weft_arena_format(&built.arena, "%c%u", letter, i);
}

/* "f32[2,n]" */
static inline void add_typed_input(weft_str text, weft_str name) {
  uint32_t bracket = 0;
  while (text.data[bracket] != '[') ++bracket;
  weft_str dims = {text.data + bracket + 1, text.length - bracket - 2};
  input(name.data, dtype_of((weft_str){text.data, bracket}),
        weft_arena_copy(&built.arena, dims).data);
}

static inline void add_case_node(const operator_case *c, const char *domain) {
  weft_onnx_node *node = add(c->op, "", "");
  const char *rest = c->inputs;
  weft_str piece;
  node->domain = weft_str_of(domain);
  while (next_piece(&rest, ' ', &piece)) {
    weft_str name = weft_str_is(piece, "-") ? WEFT_STR("") : numbered('x', node->input_count);
    if (name.length > 0) add_typed_input(piece, name);
    *WEFT_ARENA_PUSH(&built.arena, node->inputs, node->input_count) = name;
  }
  for (uint32_t i = 0; i < c->outputs; ++i) {
    weft_str name = numbered('y', i);
    *WEFT_ARENA_PUSH(&built.arena, node->outputs, node->output_count) = name;
    output_of(&built.graph, name.data);
  }
  attributes(node, c->attributes);
}

/* Leaves the lines of nodes, up to their names. */
static inline void keep_nodes(char *dump) {
  char *to = dump;
  for (char *line = dump; *line;) {
    char *end = line, *next;
    while (*end != '\n') ++end;
    next = end + 1;
    for (char *at = line; at < end && line[0] == '%'; ++at)
      if (memcmp(at, "  #", 3) == 0) end = at;
    if (line[0] == '%') {
      memmove(to, line, (size_t)(end - line));
      to += end - line;
      *to++ = '\n';
    }
    line = next;
  }
  *to = 0;
}

static inline void check_cases(const operator_case *cases, uint32_t count, const char *domain) {
  for (uint32_t i = 0; i < count; ++i) {
    lowered made;
    build_begin(domain[0] ? 17 : cases[i].opset);
    import(&built.model.opsets, &built.model.opset_count, "com.microsoft", 1);
    add_case_node(&cases[i], domain);
    lower_model(&made);
    if (!CHECK_OK(made.status, &made.error)) check_print("  case: %s\n", cases[i].op);
    keep_nodes(made.dump);
    CHECK_TEXT(made.dump, cases[i].nodes);
    weft_graph_release(&made.file.graph);
    build_end();
  }
}
#define CHECK_CASES(cases, domain) check_cases((cases), sizeof(cases) / sizeof *(cases), (domain))

#endif
