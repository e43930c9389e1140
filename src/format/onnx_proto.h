/* onnx_proto.h - onnx.proto3 as plain C structs: what the wire decoder (onnx_wire.c, driven by the
 * field tables in onnx_proto.c) fills and the lowering (onnx_lower*.c) reads. Everything lies in
 * the parser's arena; text ends with NUL. Fields that the runtime has no use for (doc strings of
 * nodes, training info, device configurations) are skipped on the wire. */
#ifndef WEFT_FORMAT_ONNX_PROTO_H
#define WEFT_FORMAT_ONNX_PROTO_H

#include "base/buffer.h"
#include "base/str.h"

typedef struct weft_onnx_entry {
  weft_str key, value;
} weft_onnx_entry;

typedef struct weft_onnx_operator_set {
  weft_str domain;
  int64_t version;
} weft_onnx_operator_set;

/* A tensor's elements end up in `data`, row-major little-endian in the element type, whichever
 * field carried them; or at an external location. `strings` for STRING tensors. */
typedef struct weft_onnx_tensor {
  weft_str name;
  int64_t *dims;
  uint32_t dim_count;
  int32_t data_type;
  weft_buffer *data; /* raw_data, or decoded typed fields; NULL when none was present */
  bool has_raw_data;
  uint64_t typed_count; /* elements seen in a typed field */
  weft_str *strings;
  uint32_t string_count;
  int32_t data_location;     /* 1: external */
  weft_onnx_entry *external; /* location, offset, length, ... */
  uint32_t external_count;
} weft_onnx_tensor;

typedef struct weft_onnx_sparse_tensor {
  weft_onnx_tensor *values, *indices;
  int64_t *dims;
  uint32_t dim_count;
} weft_onnx_sparse_tensor;

/* One dimension of a declared shape. */
typedef struct weft_onnx_dimension {
  int64_t value;
  weft_str parameter;
  bool has_value;
} weft_onnx_dimension;

/* ValueInfoProto with its TypeProto.Tensor flattened in. */
typedef struct weft_onnx_value_info {
  weft_str name;
  int32_t element_type;
  bool is_tensor, has_shape, is_other; /* is_other: a sequence, map, optional or sparse type */
  weft_onnx_dimension *dims;
  uint32_t dim_count;
} weft_onnx_value_info;

struct weft_onnx_graph;

typedef struct weft_onnx_attribute {
  weft_str name, reference; /* reference: ref_attr_name, inside functions */
  int32_t type;             /* AttributeProto.AttributeType */
  float f;
  int64_t i;
  weft_str s;
  weft_onnx_tensor *t;
  struct weft_onnx_graph *g;
  float *floats;
  int64_t *ints;
  weft_str *strings;
  uint32_t float_count, int_count, string_count;
  bool
      has_other; /* tensors, graphs, sparse tensors, types: not used by any operator that we know */
} weft_onnx_attribute;

typedef struct weft_onnx_node {
  weft_str name, op_type, domain, overload;
  weft_str *inputs, *outputs;
  weft_onnx_attribute *attributes;
  uint32_t input_count, output_count, attribute_count;
  uint64_t offset; /* of the node in the file, for messages about nodes without a name */
} weft_onnx_node;

typedef struct weft_onnx_graph {
  weft_str name;
  weft_onnx_node *nodes;
  weft_onnx_tensor *initializers;
  weft_onnx_sparse_tensor *sparse_initializers;
  weft_onnx_value_info *inputs, *outputs, *value_infos;
  uint32_t node_count, initializer_count, sparse_initializer_count, input_count, output_count,
      value_info_count;
} weft_onnx_graph;

typedef struct weft_onnx_function {
  weft_str name, domain, overload;
  weft_str *inputs, *outputs, *attributes; /* attributes: names without default */
  weft_onnx_attribute *attribute_defaults;
  weft_onnx_node *nodes;
  weft_onnx_operator_set *opsets;
  uint32_t input_count, output_count, attribute_count, attribute_default_count, node_count,
      opset_count;
} weft_onnx_function;

typedef struct weft_onnx_model {
  int64_t ir_version, model_version;
  weft_str producer_name, producer_version, domain, doc_string;
  weft_onnx_graph *graph;
  weft_onnx_operator_set *opsets;
  weft_onnx_entry *metadata;
  weft_onnx_function *functions;
  uint32_t opset_count, metadata_count, function_count;
} weft_onnx_model;

/* The decoder's tables (onnx_wire.h): a file, and the message whose end onnx_data.c waits for. */
extern const struct weft_wire_message weft_onnx_model_message, weft_onnx_tensor_message;

#endif
