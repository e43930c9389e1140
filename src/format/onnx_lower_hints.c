/* onnx_lower_hints.c - what the file declares about a value whose rank inference cannot tell: the
 * rank alone is taken from it. Extents and names of dimensions are not, because files that were
 * edited after export are often wrong about them. */
#include "format/onnx_lower_internal.h"

static bool index_hints(weft_map *hints, weft_arena *arena, const weft_onnx_graph *graph) {
  weft_map_init(hints, arena);
  bool ok = true;
  for (uint32_t i = 0; i < graph->value_info_count; ++i)
    ok &= weft_map_set(hints, graph->value_infos[i].name, i);
  for (uint32_t i = 0; i < graph->output_count; ++i)
    ok &= weft_map_set(hints, graph->outputs[i].name, graph->value_info_count + i);
  return ok;
}

weft_status weft_lowering_hint(weft_lowering *l, weft_frame *frame, weft_str name,
                               weft_value_id value) {
  const weft_onnx_graph *graph = frame->graph;
  if (!graph || l->graph->values[value].shape.rank >= 0) return WEFT_OK;
  if (!frame->hints.arena && !index_hints(&frame->hints, &l->scratch, graph))
    return weft_lowering_no_memory(l);
  uint32_t index = weft_map_find(&frame->hints, name);
  if (index == WEFT_MAP_NONE) return WEFT_OK;
  const weft_onnx_value_info *info = index < graph->value_info_count
                                         ? &graph->value_infos[index]
                                         : &graph->outputs[index - graph->value_info_count];
  weft_shape shape = {.rank = info->has_shape ? (int32_t)info->dim_count : -1};
  if (shape.rank < 0 || shape.rank > WEFT_RANK_MAX) return WEFT_OK;
  for (int32_t i = 0; i < shape.rank; ++i)
    WEFT_TRY(weft_graph_symbol(l->graph, (weft_str){0}, &shape.dims[i], l->error));
  l->graph->values[value].shape = shape;
  return WEFT_OK;
}
