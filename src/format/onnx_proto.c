/* onnx_proto.c - which field of onnx.proto goes where in the structs of onnx_proto.h. Fields
 * without a line are skipped. Source: onnx/onnx.proto of onnx 1.23. */
#include "format/onnx_proto.h"

#include <stddef.h>

#include "format/onnx_wire.h"

/* Each table defines T, the struct it fills. */
#define ONE(number_, name_, kind_, member_, ...)                                                   \
  {.number = number_,                                                                              \
   .name = name_,                                                                                  \
   .kind = WEFT_WIRE_##kind_,                                                                      \
   .offset = offsetof(T, member_),                                                                 \
   __VA_ARGS__}
#define MANY(number_, name_, kind_, items_, count_, max_, ...)                                     \
  {.number = number_,                                                                              \
   .name = name_,                                                                                  \
   .kind = WEFT_WIRE_##kind_,                                                                      \
   .offset = offsetof(T, items_),                                                                  \
   .count = offsetof(T, count_),                                                                   \
   .max_count = max_,                                                                              \
   __VA_ARGS__}
/* Tensor elements, for the hooks. */
#define DATA(number_, name_, kind_)                                                                \
  {.number = number_, .name = name_, .kind = WEFT_WIRE_##kind_, .data = true}
#define MARK(number_, name_, flag_)                                                                \
  {.number = number_, .name = name_, .kind = WEFT_WIRE_MARK, .flag = offsetof(T, flag_)}
#define FLAG(flag_)     .flag = offsetof(T, flag_)
#define OF(type_)       .type = &type_##_message
#define NAME            .max_bytes = WEFT_MAX_NAME_BYTES
#define LONG            .max_bytes = WEFT_MAX_STRING_BYTES
#define TABLE(fields_)  .fields = fields_, .field_count = sizeof fields_ / sizeof *fields_
#define MESSAGE(fields) TABLE(fields), .size = sizeof(T)

#define T weft_onnx_entry
static const weft_wire_field entry_fields[] = {
    ONE(1, "key", TEXT, key, NAME),
    ONE(2, "value", TEXT, value, LONG),
};
static const weft_wire_message entry_message = {"StringStringEntryProto", MESSAGE(entry_fields)};
#undef T

#define T weft_onnx_operator_set
static const weft_wire_field opset_fields[] = {
    ONE(1, "domain", TEXT, domain, NAME),
    ONE(2, "version", I64, version),
};
static const weft_wire_message opset_message = {"OperatorSetIdProto", MESSAGE(opset_fields)};
#undef T

#define T weft_onnx_tensor
static const weft_wire_field tensor_fields[] = {
    MANY(1, "dims", I64, dims, dim_count, WEFT_MAX_DIMS),
    ONE(2, "data_type", I32, data_type),
    DATA(4, "float_data", F32),
    DATA(5, "int32_data", I32),
    MANY(6, "string_data", BLOB, strings, string_count, WEFT_MAX_ATTRIBUTE_ELEMENTS, LONG),
    DATA(7, "int64_data", I64),
    ONE(8, "name", TEXT, name, NAME),
    ONE(9, "raw_data", RAW, data),
    DATA(10, "double_data", F64),
    DATA(11, "uint64_data", I64),
    MANY(13, "external_data", MESSAGE, external, external_count, WEFT_MAX_EXTERNAL_ENTRIES,
         OF(entry)),
    ONE(14, "data_location", I32, data_location),
};
const weft_wire_message weft_onnx_tensor_message = {"TensorProto", MESSAGE(tensor_fields)};
#define tensor_message weft_onnx_tensor_message
#undef T

#define T weft_onnx_sparse_tensor
static const weft_wire_field sparse_tensor_fields[] = {
    ONE(1, "values", MESSAGE, values, OF(tensor)),
    ONE(2, "indices", MESSAGE, indices, OF(tensor)),
    MANY(3, "dims", I64, dims, dim_count, WEFT_MAX_DIMS),
};
static const weft_wire_message sparse_tensor_message = {"SparseTensorProto",
                                                        MESSAGE(sparse_tensor_fields)};
#undef T

#define T weft_onnx_dimension
static const weft_wire_field dimension_fields[] = {
    ONE(1, "dim_value", I64, value, FLAG(has_value)),
    ONE(2, "dim_param", TEXT, parameter, NAME),
};
static const weft_wire_message dimension_message = {"TensorShapeProto.Dimension",
                                                    MESSAGE(dimension_fields)};
#undef T

/* ValueInfoProto takes its TypeProto, that one's Tensor and the TensorShapeProto into one struct.
 */
#define T weft_onnx_value_info
static const weft_wire_field shape_fields[] = {
    MANY(1, "dim", MESSAGE, dims, dim_count, WEFT_MAX_DIMS, OF(dimension)),
};
static const weft_wire_message shape_message = {"TensorShapeProto", TABLE(shape_fields)};
static const weft_wire_field tensor_type_fields[] = {
    ONE(1, "elem_type", I32, element_type),
    ONE(2, "shape", INLINE, dims, OF(shape), FLAG(has_shape)),
};
static const weft_wire_message tensor_type_message = {"TypeProto.Tensor",
                                                      TABLE(tensor_type_fields)};
static const weft_wire_field type_fields[] = {
    ONE(1, "tensor_type", INLINE, dims, OF(tensor_type), FLAG(is_tensor)),
    MARK(4, "sequence_type", is_other),
    MARK(5, "map_type", is_other),
    MARK(7, "opaque_type", is_other),
    MARK(8, "sparse_tensor_type", is_other),
    MARK(9, "optional_type", is_other),
};
static const weft_wire_message type_message = {"TypeProto", TABLE(type_fields)};
static const weft_wire_field value_info_fields[] = {
    ONE(1, "name", TEXT, name, NAME),
    ONE(2, "type", INLINE, dims, OF(type)),
};
static const weft_wire_message value_info_message = {"ValueInfoProto", MESSAGE(value_info_fields)};
#undef T

static const weft_wire_message graph_message; /* attributes hold graphs */

#define T   weft_onnx_attribute
#define MAX WEFT_MAX_ATTRIBUTE_ELEMENTS
static const weft_wire_field attribute_fields[] = {
    ONE(1, "name", TEXT, name, NAME),
    ONE(2, "f", F32, f),
    ONE(3, "i", I64, i),
    ONE(4, "s", BLOB, s, LONG),
    ONE(5, "t", MESSAGE, t, OF(tensor)),
    ONE(6, "g", MESSAGE, g, OF(graph)),
    MANY(7, "floats", F32, floats, float_count, MAX),
    MANY(8, "ints", I64, ints, int_count, MAX),
    MANY(9, "strings", BLOB, strings, string_count, MAX, LONG),
    MARK(10, "tensors", has_other),
    MARK(11, "graphs", has_other),
    MARK(14, "tp", has_other),
    MARK(15, "type_protos", has_other),
    ONE(20, "type", I32, type),
    ONE(21, "ref_attr_name", TEXT, reference, NAME),
    MARK(22, "sparse_tensor", has_other),
    MARK(23, "sparse_tensors", has_other),
};
static const weft_wire_message attribute_message = {"AttributeProto", MESSAGE(attribute_fields)};
#undef MAX
#undef T

#define T weft_onnx_node
static const weft_wire_field node_fields[] = {
    MANY(1, "input", TEXT, inputs, input_count, WEFT_MAX_NODE_INPUTS, NAME),
    MANY(2, "output", TEXT, outputs, output_count, WEFT_MAX_NODE_INPUTS, NAME),
    ONE(3, "name", TEXT, name, NAME),
    ONE(4, "op_type", TEXT, op_type, NAME),
    MANY(5, "attribute", MESSAGE, attributes, attribute_count, WEFT_MAX_ATTRIBUTES, OF(attribute)),
    ONE(7, "domain", TEXT, domain, NAME),
    ONE(8, "overload", TEXT, overload, NAME),
};
static const weft_wire_message node_message = {"NodeProto", MESSAGE(node_fields),
                                               .offset = offsetof(T, offset)};
#undef T

#define T weft_onnx_graph
static const weft_wire_field graph_fields[] = {
    MANY(1, "node", MESSAGE, nodes, node_count, WEFT_MAX_NODES, OF(node)),
    ONE(2, "name", TEXT, name, NAME),
    MANY(5, "initializer", MESSAGE, initializers, initializer_count, WEFT_MAX_INITIALIZERS,
         OF(tensor)),
    MANY(11, "input", MESSAGE, inputs, input_count, WEFT_MAX_VALUES, OF(value_info)),
    MANY(12, "output", MESSAGE, outputs, output_count, WEFT_MAX_NODE_INPUTS, OF(value_info)),
    MANY(13, "value_info", MESSAGE, value_infos, value_info_count, WEFT_MAX_VALUES, OF(value_info)),
    MANY(15, "sparse_initializer", MESSAGE, sparse_initializers, sparse_initializer_count,
         WEFT_MAX_INITIALIZERS, OF(sparse_tensor)),
};
static const weft_wire_message graph_message = {"GraphProto", MESSAGE(graph_fields)};
#undef T

#define T weft_onnx_function
static const weft_wire_field function_fields[] = {
    ONE(1, "name", TEXT, name, NAME),
    MANY(4, "input", TEXT, inputs, input_count, WEFT_MAX_NODE_INPUTS, NAME),
    MANY(5, "output", TEXT, outputs, output_count, WEFT_MAX_NODE_INPUTS, NAME),
    MANY(6, "attribute", TEXT, attributes, attribute_count, WEFT_MAX_ATTRIBUTES, NAME),
    MANY(7, "node", MESSAGE, nodes, node_count, WEFT_MAX_NODES, OF(node)),
    MANY(9, "opset_import", MESSAGE, opsets, opset_count, WEFT_MAX_OPSETS, OF(opset)),
    ONE(10, "domain", TEXT, domain, NAME),
    MANY(11, "attribute_proto", MESSAGE, attribute_defaults, attribute_default_count,
         WEFT_MAX_ATTRIBUTES, OF(attribute)),
    ONE(13, "overload", TEXT, overload, NAME),
};
static const weft_wire_message function_message = {"FunctionProto", MESSAGE(function_fields)};
#undef T

#define T weft_onnx_model
static const weft_wire_field model_fields[] = {
    ONE(1, "ir_version", I64, ir_version),
    ONE(2, "producer_name", TEXT, producer_name, NAME),
    ONE(3, "producer_version", TEXT, producer_version, NAME),
    ONE(4, "domain", TEXT, domain, NAME),
    ONE(5, "model_version", I64, model_version),
    ONE(6, "doc_string", TEXT, doc_string, LONG),
    ONE(7, "graph", MESSAGE, graph, OF(graph)),
    MANY(8, "opset_import", MESSAGE, opsets, opset_count, WEFT_MAX_OPSETS, OF(opset)),
    MANY(14, "metadata_props", MESSAGE, metadata, metadata_count, WEFT_MAX_METADATA, OF(entry)),
    MANY(25, "functions", MESSAGE, functions, function_count, WEFT_MAX_FUNCTIONS, OF(function)),
};
const weft_wire_message weft_onnx_model_message = {"ModelProto", MESSAGE(model_fields)};
#undef T
