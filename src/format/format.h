/* format.h - untrusted bytes -> graph. What a loader leaves behind: the graph and what a user may
 * ask about the file. */
#ifndef WEFT_FORMAT_FORMAT_H
#define WEFT_FORMAT_FORMAT_H

#include "base/runtime.h"
#include "graph/graph.h"

typedef struct weft_metadata_entry {
  weft_str key, value;
} weft_metadata_entry;

/* A parsed file. Weights are buffers in graph.values; inputs and outputs are region 0's. */
typedef struct weft_file {
  weft_graph graph;
  weft_str producer, producer_version, domain, graph_name, description;
  int64_t ir_version, model_version, opset;
  weft_metadata_entry *metadata; /* in graph.arena */
  uint32_t metadata_count;
  uint64_t weight_bytes, node_count;
} weft_file;

/* How weights come: BORROW leaves them in the caller's memory, COPY gives each memory of its own,
 * DEFER remembers where in `source` they lie. */
typedef enum weft_payload_mode {
  WEFT_PAYLOAD_BORROW,
  WEFT_PAYLOAD_COPY,
  WEFT_PAYLOAD_DEFER
} weft_payload_mode;

/* The incremental ONNX parser. Feed bytes in order; it keeps what it has not understood yet. */
typedef struct weft_onnx_parser weft_onnx_parser;
weft_status weft_onnx_parser_open(weft_heap *heap, weft_payload_mode mode,
                                  const weft_source *source, const weft_model_options *options,
                                  weft_onnx_parser **out, weft_error *error);
/* In DEFER mode the parser may skip: *next is the absolute offset of the byte it wants to see next.
 */
weft_status weft_onnx_parser_feed(weft_onnx_parser *parser, const uint8_t *bytes, size_t length,
                                  uint64_t *next, weft_error *error);
/* Bytes of all tensors seen so far, in the file or outside. */
uint64_t weft_onnx_parser_weight_bytes(const weft_onnx_parser *parser);
/* Structure is checked by now; lowers to `out` (released by weft_graph_release(&out->graph)),
 * infers and verifies. WEFT_PENDING: external data is wanted; feed it and call again, with the same
 * `out`. */
weft_status weft_onnx_parser_finish(weft_onnx_parser *parser, weft_file *out, weft_error *error);
/* As weft_loader_wanted and weft_loader_feed_external. */
bool weft_onnx_parser_wanted(const weft_onnx_parser *parser, weft_wanted *out);
weft_status weft_onnx_parser_feed_external(weft_onnx_parser *parser, uint32_t file, uint64_t offset,
                                           const uint8_t *bytes, size_t length, weft_error *error);
/* How many bytes have been fed, of how many that are to be. */
void weft_onnx_parser_fed(const weft_onnx_parser *parser, uint64_t *done, uint64_t *total);
void weft_onnx_parser_close(weft_onnx_parser **parser);

#endif
