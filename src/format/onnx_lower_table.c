/* onnx_lower_table.c - the table of operators, made from onnx_ops.inc: the driver (onnx_lower.c)
 * looks up which handler lowers a node. */
#include "format/onnx_lower_internal.h"

#define NEWEST INT32_MAX
#define WEFT_ONNX_OP(domain, name, first, last, min, max, handler, parameter)                      \
  void weft_onnx_##handler(weft_call *call);
#include "format/onnx_ops.inc"
#undef WEFT_ONNX_OP

static const weft_onnx_row rows[] = {
#define WEFT_ONNX_OP(domain, name, first, last, min, max, handler, parameter)                      \
  {domain, #name, first, last, min, max, weft_onnx_##handler, parameter},
#include "format/onnx_ops.inc"
#undef WEFT_ONNX_OP
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

static bool same_operator(const weft_onnx_row *a, const weft_onnx_row *b) {
  return strcmp(a->name, b->name) == 0 && strcmp(a->domain, b->domain) == 0;
}

/* Rows of one operator stand together: the index names the first of them. */
bool weft_onnx_index_rows(weft_map *index, weft_arena *arena) {
  weft_map_init(index, arena);
  for (uint32_t i = 0; i < ROW_COUNT; ++i) {
    if (i > 0 && same_operator(&rows[i], &rows[i - 1])) continue;
    weft_str key = weft_arena_format(arena, "%s::%s", rows[i].domain, rows[i].name);
    if (key.length == 0 || !weft_map_set(index, key, i)) return false;
  }
  return true;
}

bool weft_onnx_find_row(const weft_map *index, weft_arena *arena, weft_str domain, weft_str name,
                        int64_t version, const weft_onnx_row **out) {
  weft_str key = weft_arena_format(arena, "%.*s::%.*s", WEFT_STR_ARGS(domain), WEFT_STR_ARGS(name));
  uint32_t first = weft_map_find(index, key);
  *out = NULL;
  if (first == WEFT_MAP_NONE) return key.length > 0;
  for (uint32_t i = first; i < ROW_COUNT && same_operator(&rows[i], &rows[first]); ++i)
    if (version >= rows[i].first && version <= rows[i].last) *out = &rows[i];
  return true;
}
