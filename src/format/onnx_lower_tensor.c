/* onnx_lower_tensor.c - ONNX tensors become constants: initializers, dense and sparse, and values
 * of attributes; and declared shapes become shapes with symbols. */
#include "base/checked.h"
#include "format/onnx_lower_internal.h"

weft_status weft_lowering_shape(weft_lowering *l, const weft_onnx_value_info *info,
                                weft_shape *out) {
  *out = (weft_shape){.rank = -1};
  if (!info->has_shape) return WEFT_OK;
  if (info->dim_count > WEFT_RANK_MAX)
    return weft_fail(l->error, WEFT_UNSUPPORTED,
                     "value '%.*s' has rank %u; at most %d is supported", WEFT_STR_ARGS(info->name),
                     info->dim_count, WEFT_RANK_MAX);
  out->rank = (int32_t)info->dim_count;
  for (uint32_t i = 0; i < info->dim_count; ++i) {
    const weft_onnx_dimension *dim = &info->dims[i];
    out->dims[i] = dim->value;
    /* -1 instead of a missing dimension is what some exporters write. */
    if (!dim->has_value || dim->value < 0)
      WEFT_TRY(weft_graph_symbol(l->graph, dim->has_value ? (weft_str){0} : dim->parameter,
                                 &out->dims[i], l->error));
  }
  return WEFT_OK;
}

/* Dimensions from a file, and the bytes that elements of `size` take in them. */
static weft_status tensor_shape(weft_lowering *l, weft_str name, const int64_t *dims,
                                uint32_t dim_count, uint64_t size, weft_shape *out,
                                uint64_t *bytes) {
  if (dim_count > WEFT_RANK_MAX)
    return weft_fail(l->error, WEFT_UNSUPPORTED,
                     "tensor '%.*s' has rank %u; at most %d is supported", WEFT_STR_ARGS(name),
                     dim_count, WEFT_RANK_MAX);
  *out = (weft_shape){.rank = (int32_t)dim_count};
  uint64_t elements = 1;
  bool fits = true;
  for (uint32_t i = 0; i < dim_count; ++i) {
    if (dims[i] < 0)
      return weft_fail(l->error, WEFT_INVALID_MODEL, "tensor '%.*s': dimension %u is %lld",
                       WEFT_STR_ARGS(name), i, (long long)dims[i]);
    out->dims[i] = dims[i];
    fits = fits && (uint64_t)dims[i] <= WEFT_MAX_ELEMENTS &&
           weft_mul_u64(elements, (uint64_t)dims[i], &elements) && elements <= WEFT_MAX_ELEMENTS;
  }
  if (!fits)
    return weft_fail(l->error, WEFT_LIMIT_EXCEEDED, "tensor '%.*s' has more than %llu elements",
                     WEFT_STR_ARGS(name), (unsigned long long)WEFT_MAX_ELEMENTS);
  *bytes = elements * size;
  return WEFT_OK;
}

static bool name_unknown_type(weft_lowering *l, weft_str name, int32_t type, weft_str *reason) {
  if (weft_dtype_size((weft_dtype)type) > 0) return false;
  *reason = weft_arena_format(&l->scratch, "tensor '%.*s' has elements of ONNX type %d",
                              WEFT_STR_ARGS(name), type);
  return true;
}

/* ---- 4-bit integers -------------------------------------------------------------------------- */

enum { TYPE_U4 = 21, TYPE_I4 = 22 }; /* TensorProto.DataType */

const weft_nibbles *weft_lowering_nibbles(const weft_lowering *l, weft_value_id value) {
  uint32_t low = 0, high = l->nibble_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (l->nibbles[middle].value < value)
      low = middle + 1;
    else
      high = middle;
  }
  return low < l->nibble_count && l->nibbles[low].value == value ? &l->nibbles[low] : NULL;
}

/* Two elements lie in a byte, the first one low. A list may end in half a byte; rows may not. */
static weft_status lower_nibbles(weft_lowering *l, const weft_onnx_tensor *tensor, weft_str name,
                                 weft_value_id *out, weft_str *reason) {
  weft_shape shape;
  uint64_t elements, held = tensor->data ? tensor->data->bytes : 0;
  WEFT_TRY(tensor_shape(l, name, tensor->dims, tensor->dim_count, 1, &shape, &elements));
  weft_dim *last = shape.rank > 0 ? &shape.dims[shape.rank - 1] : NULL;
  bool whole = shape.rank <= 1 || *last % 2 == 0;
  if (!whole || held == 0 || held != (elements + 1) / 2) {
    *reason = weft_arena_format(&l->scratch, "tensor '%.*s' has 4-bit elements that %s",
                                WEFT_STR_ARGS(name),
                                whole ? "do not lie two in a byte" : "fill no whole rows of bytes");
    return WEFT_OK;
  }
  if (last) *last = (*last + 1) / 2;
  WEFT_TRY(weft_graph_add_constant(l->graph, name, WEFT_U8, &shape,
                                   weft_buffer_retain(tensor->data), out, l->error));
  weft_nibbles *nibbles = WEFT_ARENA_PUSH(&l->scratch, l->nibbles, l->nibble_count);
  if (!nibbles) return weft_lowering_no_memory(l);
  *nibbles = (weft_nibbles){*out, tensor->data_type == TYPE_I4};
  return WEFT_OK;
}

/* ---- dense tensors --------------------------------------------------------------------------- */

weft_status weft_lowering_tensor(weft_lowering *l, const weft_onnx_tensor *tensor, weft_str name,
                                 weft_value_id *out, weft_str *reason) {
  *out = WEFT_VALUE_NONE;
  *reason = (weft_str){0};
  if (tensor->data_type == TYPE_U4 || tensor->data_type == TYPE_I4)
    return lower_nibbles(l, tensor, name, out, reason);
  if (name_unknown_type(l, name, tensor->data_type, reason)) return WEFT_OK;
  weft_dtype dtype = (weft_dtype)tensor->data_type;
  weft_shape shape;
  uint64_t bytes, held = tensor->data ? tensor->data->bytes : 0;
  WEFT_TRY(tensor_shape(l, name, tensor->dims, tensor->dim_count, weft_dtype_size(dtype), &shape,
                        &bytes));
  if (held != bytes)
    return weft_fail(l->error, WEFT_INVALID_MODEL,
                     "tensor '%.*s': its shape and type take %llu bytes, its data has %llu",
                     WEFT_STR_ARGS(name), (unsigned long long)bytes, (unsigned long long)held);
  weft_buffer *data = tensor->data ? weft_buffer_retain(tensor->data) : weft_buffer_new(l->heap, 0);
  if (!data) return weft_heap_fail(l->heap, 0, "a constant", l->error);
  return weft_graph_add_constant(l->graph, name, dtype, &shape, data, out, l->error);
}

/* ---- sparse tensors -------------------------------------------------------------------------- */

typedef struct sparse {
  weft_lowering *l;
  const weft_onnx_sparse_tensor *tensor;
  weft_str name;
  weft_shape shape;
  uint64_t dense_bytes, count; /* count: of the values that are given */
  uint64_t size;               /* of an element */
  uint32_t index_columns;      /* 1: flat indices; else one per dimension */
} sparse;

static weft_status sparse_fail(const sparse *s, const char *what) {
  return weft_fail(s->l->error, WEFT_INVALID_MODEL, "sparse tensor '%.*s': %s",
                   WEFT_STR_ARGS(s->name), what);
}

static weft_status check_sparse(sparse *s) {
  const weft_onnx_tensor *values = s->tensor->values, *indices = s->tensor->indices;
  WEFT_TRY(tensor_shape(s->l, s->name, s->tensor->dims, s->tensor->dim_count, s->size, &s->shape,
                        &s->dense_bytes));
  if (s->dense_bytes > WEFT_MAX_INLINE_BYTES)
    return weft_fail(s->l->error, WEFT_LIMIT_EXCEEDED,
                     "sparse tensor '%.*s' takes %llu bytes when dense; at most %u are allowed",
                     WEFT_STR_ARGS(s->name), (unsigned long long)s->dense_bytes,
                     WEFT_MAX_INLINE_BYTES);
  if (values->dim_count != 1 || values->dims[0] < 0) return sparse_fail(s, "values must be 1-D");
  s->count = (uint64_t)values->dims[0];
  if (!indices) return s->count == 0 ? WEFT_OK : sparse_fail(s, "there are no indices");
  if (indices->data_type != WEFT_I64) return sparse_fail(s, "indices must be i64");
  if (indices->dim_count < 1 || indices->dim_count > 2 || indices->dims[0] != values->dims[0] ||
      (indices->dim_count == 2 && indices->dims[1] != (int64_t)s->tensor->dim_count))
    return sparse_fail(s, "the shape of the indices fits neither [values] nor [values,rank]");
  s->index_columns = indices->dim_count == 2 ? s->tensor->dim_count : 1;
  uint64_t held = values->data ? values->data->bytes : 0;
  if (s->count > WEFT_MAX_INLINE_BYTES || held != s->count * s->size)
    return sparse_fail(s, "the values have another number of bytes than their shape says");
  uint64_t index_bytes = indices->data ? indices->data->bytes : 0;
  if (index_bytes != s->count * s->index_columns * 8)
    return sparse_fail(s, "the indices have another number of bytes than their shape says");
  return WEFT_OK;
}

/* The flat position of value number `i`. */
static weft_status sparse_position(const sparse *s, uint64_t i, uint64_t *out) {
  int64_t index[WEFT_RANK_MAX];
  uint64_t row = (uint64_t)s->index_columns * 8;
  WEFT_TRY(weft_buffer_read(s->tensor->indices->data, i * row, row, index, s->l->error));
  bool flat = s->tensor->indices->dim_count == 1;
  *out = 0;
  for (uint32_t c = 0; c < s->index_columns; ++c) {
    uint64_t extent = flat ? s->dense_bytes / s->size : (uint64_t)s->shape.dims[c];
    if (index[c] < 0 || (uint64_t)index[c] >= extent)
      return sparse_fail(s, "an index lies outside of the shape");
    *out = *out * extent + (uint64_t)index[c];
  }
  return WEFT_OK;
}

static weft_status fill_dense(const sparse *s, uint8_t *dense) {
  memset(dense, 0, (size_t)s->dense_bytes);
  for (uint64_t i = 0; i < s->count; ++i) {
    uint64_t position;
    WEFT_TRY(sparse_position(s, i, &position));
    WEFT_TRY(weft_buffer_read(s->tensor->values->data, i * s->size, s->size,
                              dense + position * s->size, s->l->error));
  }
  return WEFT_OK;
}

static weft_status lower_sparse(weft_lowering *l, const weft_onnx_sparse_tensor *tensor,
                                weft_str name, weft_value_id *out, weft_str *reason) {
  *out = WEFT_VALUE_NONE;
  *reason = (weft_str){0};
  if (name_unknown_type(l, name, tensor->values->data_type, reason)) return WEFT_OK;
  weft_dtype dtype = (weft_dtype)tensor->values->data_type;
  sparse s = {.l = l, .tensor = tensor, .name = name, .size = weft_dtype_size(dtype)};
  WEFT_TRY(check_sparse(&s));
  weft_buffer *data = weft_buffer_new(l->heap, s.dense_bytes);
  if (!data) return weft_heap_fail(l->heap, s.dense_bytes, "a sparse tensor", l->error);
  weft_status status = fill_dense(&s, data->data);
  if (status != WEFT_OK) {
    weft_buffer_release(&data);
    return status;
  }
  return weft_graph_add_constant(l->graph, name, dtype, &s.shape, data, out, l->error);
}

/* ---- initializers ---------------------------------------------------------------------------- */

static weft_status define_constant(weft_lowering *l, weft_frame *frame, weft_str name,
                                   weft_value_id value, weft_str reason) {
  if (value == WEFT_VALUE_NONE) return weft_lowering_define_missing(l, frame->scope, name, reason);
  l->file->weight_bytes += l->graph->values[value].data->bytes;
  return weft_lowering_define(l, frame->scope, name, value);
}

weft_status weft_lowering_initializers(weft_lowering *l, const weft_onnx_graph *graph,
                                       weft_frame *frame) {
  weft_value_id value;
  weft_str reason;
  for (uint32_t i = 0; i < graph->initializer_count; ++i) {
    const weft_onnx_tensor *tensor = &graph->initializers[i];
    if (tensor->name.length == 0)
      return weft_fail(l->error, WEFT_INVALID_MODEL, "initializer %u has no name", i);
    weft_str name = weft_lowering_name(l, frame, tensor->name);
    WEFT_TRY(weft_lowering_tensor(l, tensor, name, &value, &reason));
    WEFT_TRY(define_constant(l, frame, tensor->name, value, reason));
  }
  for (uint32_t i = 0; i < graph->sparse_initializer_count; ++i) {
    const weft_onnx_sparse_tensor *tensor = &graph->sparse_initializers[i];
    if (!tensor->values || tensor->values->name.length == 0)
      return weft_fail(l->error, WEFT_INVALID_MODEL, "sparse initializer %u has no name", i);
    weft_str name = weft_lowering_name(l, frame, tensor->values->name);
    WEFT_TRY(lower_sparse(l, tensor, name, &value, &reason));
    WEFT_TRY(define_constant(l, frame, tensor->values->name, value, reason));
  }
  return WEFT_OK;
}
