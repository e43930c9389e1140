/* onnx_data.h - the elements of tensors, on their way from the wire to weft_buffers: the hooks that
 * the decoder (onnx_wire.c) calls for TensorProto. External data is remembered here and found by
 * onnx_external.c when the file has ended. */
#ifndef WEFT_FORMAT_ONNX_DATA_H
#define WEFT_FORMAT_ONNX_DATA_H

#include "format/format.h"
#include "format/onnx_proto.h"
#include "format/onnx_wire.h"

/* A tensor whose elements lie in another file. `buffer` is the tensor's data, which gets its source
 * later; or, where the caller feeds that file, its bytes. */
typedef struct weft_onnx_external {
  weft_str tensor, location;
  uint64_t offset;
  weft_buffer *buffer;
  uint32_t file;   /* the first tensor with this location */
  bool fed;        /* the resolver answered WEFT_PENDING */
  uint8_t *bytes;  /* fed: what has come, until the buffer takes it */
  uint64_t filled; /* how much has come */
} weft_onnx_external;

/* The fed tensors, by file and offset. */
typedef struct weft_onnx_feed {
  uint32_t *order, count;
  uint32_t first;       /* those before it are complete */
  uint64_t done, total; /* bytes that have come, of how many */
} weft_onnx_feed;

typedef struct weft_onnx_data {
  weft_heap *heap;
  weft_arena *arena;
  weft_payload_mode mode;
  weft_source source;
  bool size_known;
  weft_buffer **buffers; /* every tensor's, one reference held here */
  uint32_t buffer_count;
  weft_onnx_external *externals;
  uint32_t external_count;
  weft_onnx_feed feed;
  /* The tensor that is being read: which field its elements come from, how many bytes have come,
   * and how many may. Its buffer's size is the capacity. */
  const weft_wire_field *field;
  uint64_t filled, most;
} weft_onnx_data;

weft_wire_hooks weft_onnx_data_hooks(weft_onnx_data *data);
void weft_onnx_data_release(weft_onnx_data *data);

/* onnx_external.c */
/* Remembers where a tensor's external data lies, and gives the tensor an empty buffer. */
weft_status weft_onnx_external_add(weft_onnx_data *data, weft_onnx_tensor *tensor,
                                   weft_error *error);
/* Finds the source of each location, once, and fills the buffers in. */
weft_status weft_onnx_external_resolve(weft_onnx_data *data, const weft_model_options *options,
                                       weft_error *error);

/* onnx_feed.c */
/* Lists what is to be fed. */
weft_status weft_onnx_feed_start(weft_onnx_data *data, weft_error *error);
/* The next range that tensors of at most `most` bytes lack; false: they have all. */
bool weft_onnx_feed_wanted(const weft_onnx_data *data, uint64_t most, weft_wanted *out);
/* Bytes of a file; what no tensor lacks is passed over. */
weft_status weft_onnx_feed_bytes(weft_onnx_data *data, uint32_t file, uint64_t offset,
                                 const uint8_t *bytes, uint64_t length, weft_error *error);
void weft_onnx_feed_release(weft_onnx_data *data);

#endif
