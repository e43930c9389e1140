/* onnx_data.h - the elements of tensors, on their way from the wire to weft_buffers: the hooks that
 * the decoder (onnx_wire.c) calls for TensorProto. External data is remembered here and found by
 * onnx_external.c when the file has ended. */
#ifndef WEFT_FORMAT_ONNX_DATA_H
#define WEFT_FORMAT_ONNX_DATA_H

#include "format/format.h"
#include "format/onnx_proto.h"
#include "format/onnx_wire.h"

/* A tensor whose elements lie in another file. `buffer` is the tensor's data, which gets its source
 * later. */
typedef struct weft_onnx_external {
  weft_str tensor, location;
  uint64_t offset;
  weft_buffer *buffer;
} weft_onnx_external;

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

#endif
