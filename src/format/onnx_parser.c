/* onnx_parser.c - an ONNX file from its first byte to a graph: decoder (onnx_wire.c), external data
 * (onnx_external.c), lowering (onnx_lower.c). model.c feeds it. */
#include "format/onnx_data.h"
#include "format/onnx_lower.h"

struct weft_onnx_parser {
  weft_arena arena; /* of the structs; gone when the graph is made */
  weft_onnx_data data;
  weft_onnx_model model;
  weft_model_options options;
  weft_wire wire;
};

weft_status weft_onnx_parser_open(weft_heap *heap, weft_payload_mode mode,
                                  const weft_source *source, const weft_model_options *options,
                                  weft_onnx_parser **out, weft_error *error) {
  weft_onnx_parser *parser = *out = weft_heap_allocate_zeroed(heap, sizeof *parser);
  if (!parser) return weft_heap_fail(heap, sizeof *parser, "the ONNX parser", error);
  weft_arena_init(&parser->arena, heap);
  bool size_known = mode != WEFT_PAYLOAD_COPY || source->size > 0;
  parser->options = *options;
  parser->data = (weft_onnx_data){.heap = heap,
                                  .arena = &parser->arena,
                                  .mode = mode,
                                  .source = *source,
                                  .size_known = size_known};
  weft_wire_hooks hooks = weft_onnx_data_hooks(&parser->data);
  weft_wire_start(&parser->wire, &parser->arena, &hooks, &weft_onnx_model_message, &parser->model,
                  size_known ? source->size : UINT64_MAX);
  return WEFT_OK;
}

/* Failing at the key of a first field is what pages of errors and other formats do. */
static weft_status explain(const weft_onnx_parser *parser, weft_status status, weft_error *error) {
  bool no_model = parser->wire.depth == 1 && !parser->wire.field && !parser->model.graph;
  if (!error || status != WEFT_INVALID_MODEL || !no_model) return status;
  weft_error cause = *error;
  return weft_fail(error, status, "this is not an ONNX file: %s", cause.message);
}

weft_status weft_onnx_parser_feed(weft_onnx_parser *parser, const uint8_t *bytes, size_t length,
                                  uint64_t *next, weft_error *error) {
  weft_status status = weft_wire_feed(&parser->wire, bytes, length, error);
  if (status != WEFT_OK) return explain(parser, status, error);
  if (parser->data.mode == WEFT_PAYLOAD_DEFER) WEFT_TRY(weft_wire_jump(&parser->wire, error));
  *next = parser->wire.offset;
  return WEFT_OK;
}

weft_status weft_onnx_parser_finish(weft_onnx_parser *parser, weft_file *out, weft_error *error) {
  if (parser->wire.offset == 0) return weft_fail(error, WEFT_INVALID_MODEL, "the file is empty");
  WEFT_TRY(weft_wire_finish(&parser->wire, error));
  WEFT_TRY(weft_onnx_external_resolve(&parser->data, &parser->options, error));
  return weft_onnx_lower(&parser->model, parser->data.heap, out, error);
}

void weft_onnx_parser_close(weft_onnx_parser **out) {
  weft_onnx_parser *parser = *out;
  *out = NULL;
  if (!parser) return;
  weft_heap *heap = parser->data.heap;
  weft_onnx_data_release(&parser->data);
  weft_arena_release(&parser->arena);
  weft_heap_release(heap, parser, sizeof *parser);
}
