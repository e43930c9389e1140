/* onnx_parser.c - an ONNX file from its first byte to a graph: decoder (onnx_wire.c), external data
 * (onnx_external.c, onnx_feed.c), lowering (onnx_lower.c). model.c feeds it. */
#include "base/checked.h"
#include "format/onnx_data.h"
#include "format/onnx_lower.h"

/* Fed tensors up to this size must be there before the graph is made: shape arithmetic reads them.
 * Larger ones come when the graph is known to be good. */
enum { EARLY_BYTES = 64 << 10 };

struct weft_onnx_parser {
  weft_arena arena; /* of the structs; gone when the graph is made */
  weft_onnx_data data;
  weft_onnx_model model;
  weft_model_options options;
  weft_wire wire;
  bool resolved, lowered;
  uint64_t wanted_most; /* size of the largest fed tensor that is waited for */
};

weft_status weft_onnx_parser_open(weft_heap *heap, weft_payload_mode mode,
                                  const weft_source *source, const weft_model_options *options,
                                  weft_onnx_parser **out, weft_error *error) {
  weft_onnx_parser *parser = *out = weft_heap_allocate_zeroed(heap, sizeof *parser);
  if (!parser) return weft_heap_fail(heap, sizeof *parser, "the ONNX parser", error);
  weft_arena_init(&parser->arena, heap);
  bool size_known = mode != WEFT_PAYLOAD_COPY || source->size > 0;
  parser->options = *options;
  parser->wanted_most = EARLY_BYTES;
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

uint64_t weft_onnx_parser_weight_bytes(const weft_onnx_parser *parser) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < parser->data.buffer_count; i++)
    if (!weft_add_u64(bytes, parser->data.buffers[i]->bytes, &bytes)) return UINT64_MAX;
  return bytes;
}

static weft_status resolve(weft_onnx_parser *parser, weft_error *error) {
  if (parser->wire.offset == 0) return weft_fail(error, WEFT_INVALID_MODEL, "the file is empty");
  WEFT_TRY(weft_wire_finish(&parser->wire, error));
  return weft_onnx_external_resolve(&parser->data, &parser->options, error);
}

bool weft_onnx_parser_wanted(const weft_onnx_parser *parser, weft_wanted *out) {
  return weft_onnx_feed_wanted(&parser->data, parser->wanted_most, out);
}

weft_status weft_onnx_parser_feed_external(weft_onnx_parser *parser, uint32_t file, uint64_t offset,
                                           const uint8_t *bytes, size_t length, weft_error *error) {
  return weft_onnx_feed_bytes(&parser->data, file, offset, bytes, length, error);
}

void weft_onnx_parser_fed(const weft_onnx_parser *parser, uint64_t *done, uint64_t *total) {
  *done = parser->data.feed.done;
  *total = parser->data.feed.total;
}

/* The lowering itself answers WEFT_PENDING where it reads a large fed tensor (a sparse one's
 * indices); it starts over when all have come. */
static weft_status lower(weft_onnx_parser *parser, weft_file *out, weft_error *error) {
  weft_status status = weft_onnx_lower(&parser->model, parser->data.heap, out, error);
  if (status < 0) return status;
  parser->wanted_most = UINT64_MAX;
  parser->lowered = status == WEFT_OK;
  return status;
}

weft_status weft_onnx_parser_finish(weft_onnx_parser *parser, weft_file *out, weft_error *error) {
  weft_wanted wanted;
  if (!parser->resolved) WEFT_TRY(resolve(parser, error));
  parser->resolved = true;
  if (weft_onnx_parser_wanted(parser, &wanted)) return WEFT_PENDING;
  if (!parser->lowered) WEFT_TRY(lower(parser, out, error));
  return weft_onnx_parser_wanted(parser, &wanted) ? WEFT_PENDING : WEFT_OK;
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
