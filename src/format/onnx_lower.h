/* onnx_lower.h - from ONNX's structs to the core graph: names become values, functions are inlined,
 * operators are lowered by the table in onnx_ops.inc. */
#ifndef WEFT_FORMAT_ONNX_LOWER_H
#define WEFT_FORMAT_ONNX_LOWER_H

#include "format/format.h"
#include "format/onnx_proto.h"

/* Fills `out` (graph initialised here, on `heap`). External tensors were resolved before: each
 * tensor with elements has data. Takes the tensors' buffers over by reference. WEFT_INVALID_MODEL
 * or WEFT_UNSUPPORTED name node, operator and cause. */
weft_status weft_onnx_lower(const weft_onnx_model *model, weft_heap *heap, weft_file *out,
                            weft_error *error);

#endif
