/* onnx_data.c - gathers the elements of one tensor at a time. Payloads stay where they are where
 * the mode allows it; what comes element by element (or is small) is collected in a buffer that
 * doubles, and at the tensor's end converted to the element type. */
#include "format/onnx_data.h"

#include "base/checked.h"

/* Payloads up to this size are read at once: shape arithmetic needs them, and a read of its own for
 * each would cost more. */
enum { SMALL_PAYLOAD = 4096 };
/* What a length alone may allocate where nothing tells whether the file is that long. */
enum { TRUSTED_PAYLOAD = 16 << 20 };
enum { FIRST_CAPACITY = 64 };

static weft_status data_fail(const weft_onnx_tensor *tensor, weft_status status, const char *what,
                             const char *detail, weft_error *error) {
  return weft_fail(error, status, "tensor '%.*s': %s%s", WEFT_STR_ARGS(tensor->name), what, detail);
}

static weft_status keep(weft_onnx_data *data, weft_onnx_tensor *tensor, weft_buffer *buffer,
                        weft_error *error) {
  weft_buffer **slot =
      buffer ? WEFT_ARENA_PUSH(data->arena, data->buffers, data->buffer_count) : NULL;
  if (slot) {
    *slot = tensor->data = buffer;
    return WEFT_OK;
  }
  weft_buffer_release(&buffer);
  return weft_heap_fail(data->heap, 0, "a tensor", error);
}

/* Moves the elements that have come to memory of `capacity` bytes. */
static weft_status move(weft_onnx_data *data, weft_onnx_tensor *tensor, uint64_t capacity,
                        weft_error *error) {
  weft_buffer *buffer = weft_buffer_new(data->heap, capacity);
  if (!buffer) return weft_heap_fail(data->heap, capacity, "a tensor", error);
  if (!tensor->data) return keep(data, tensor, buffer, error);
  weft_status status = weft_buffer_read(tensor->data, 0, data->filled, buffer->data, error);
  if (status != WEFT_OK) {
    weft_buffer_release(&buffer);
    return status;
  }
  weft_buffer **latest = &data->buffers[data->buffer_count - 1];
  weft_buffer_release(latest);
  *latest = tensor->data = buffer;
  return WEFT_OK;
}

/* Makes room for `more` bytes, doubling up to data->most. */
static weft_status reserve(weft_onnx_data *data, weft_onnx_tensor *tensor, uint64_t more,
                           weft_error *error) {
  uint64_t needed = data->filled + more;
  uint64_t capacity = tensor->data && tensor->data->owned ? tensor->data->bytes : 0;
  if (tensor->data && needed <= capacity) return WEFT_OK;
  uint64_t grown = capacity < FIRST_CAPACITY ? FIRST_CAPACITY : capacity * 2;
  if (grown > data->most) grown = data->most;
  return move(data, tensor, grown < needed ? needed : grown, error);
}

/* Elements come from one field, and once. */
static weft_status enter_field(weft_onnx_data *data, weft_onnx_tensor *tensor,
                               const weft_wire_field *field, weft_error *error) {
  if (data->field == field && !tensor->has_raw_data) return WEFT_OK;
  if (data->field || tensor->data)
    return data_fail(tensor, WEFT_INVALID_MODEL, "its data is given twice, the second time in ",
                     field->name, error);
  data->field = field;
  data->filled = 0;
  tensor->has_raw_data = field->kind == WEFT_WIRE_RAW;
  return WEFT_OK;
}

static weft_status leave_in_place(weft_onnx_data *data, weft_onnx_tensor *tensor, uint64_t offset,
                                  uint64_t length, weft_error *error) {
  const uint8_t *bytes = data->source.bytes;
  weft_buffer *buffer = data->mode == WEFT_PAYLOAD_BORROW
                            ? weft_buffer_borrow(data->heap, bytes + offset, length)
                            : weft_buffer_defer(data->heap, &data->source, offset, length);
  data->filled = length;
  return keep(data, tensor, buffer, error);
}

static weft_status on_payload(void *user, void *object, const weft_wire_field *field,
                              uint64_t offset, uint64_t length, bool *skip, weft_error *error) {
  weft_onnx_data *data = user;
  weft_onnx_tensor *tensor = object;
  WEFT_TRY(enter_field(data, tensor, field, error));
  bool in_place = data->mode == WEFT_PAYLOAD_BORROW ||
                  (data->mode == WEFT_PAYLOAD_DEFER && length > SMALL_PAYLOAD);
  if (in_place && !tensor->data) {
    *skip = true;
    return leave_in_place(data, tensor, offset, length, error);
  }
  data->most = data->filled + length; /* cannot wrap: both lie inside of the file */
  if (!data->size_known && length > TRUSTED_PAYLOAD) length = TRUSTED_PAYLOAD;
  return reserve(data, tensor, length, error);
}

static weft_status on_bytes(void *user, void *object, const uint8_t *bytes, size_t length,
                            weft_error *error) {
  weft_onnx_data *data = user;
  weft_onnx_tensor *tensor = object;
  WEFT_TRY(reserve(data, tensor, length, error));
  memcpy(tensor->data->data + data->filled, bytes, length);
  data->filled += length;
  return WEFT_OK;
}

static weft_status on_number(void *user, void *object, const weft_wire_field *field,
                             const void *bytes, size_t length, weft_error *error) {
  weft_onnx_data *data = user;
  WEFT_TRY(enter_field(data, object, field, error));
  data->most = WEFT_MAX_INLINE_BYTES;
  if (data->filled + length > data->most)
    return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                     "tensor '%.*s': more than %u bytes given element by element in %s",
                     WEFT_STR_ARGS(((weft_onnx_tensor *)object)->name), WEFT_MAX_INLINE_BYTES,
                     field->name);
  return on_bytes(user, object, bytes, length, error);
}

/* ---- the end of a tensor -----------------------------------------------------------------------
 */

/* Which element types each field carries (onnx.proto, TensorProto). */
static bool field_fits(const weft_wire_field *field, weft_dtype dtype) {
  static const struct {
    uint32_t number, dtypes; /* dtypes: bits */
  } fields[] = {
      {4, 1u << WEFT_F32}, /* float_data */
      {5, 1u << WEFT_I32 | 1u << WEFT_I16 | 1u << WEFT_I8 | 1u << WEFT_U16 | 1u << WEFT_U8 |
              1u << WEFT_BOOL | 1u << WEFT_F16 | 1u << WEFT_BF16}, /* int32_data */
      {7, 1u << WEFT_I64},                                         /* int64_data */
      {10, 1u << WEFT_F64},                                        /* double_data */
      {11, 1u << WEFT_U64 | 1u << WEFT_U32},                       /* uint64_data */
  };
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (fields[i].number == field->number) return fields[i].dtypes >> dtype & 1;
  return false;
}

/* Narrows `count` integers of `from` bytes to `to` bytes, in place; false when one does not fit. */
static bool narrow(uint8_t *bytes, uint64_t count, size_t from, size_t to) {
  int64_t low = -((int64_t)1 << (8 * to - 1)), high = ((int64_t)1 << 8 * to) - 1;
  for (uint64_t i = 0; i < count; i++) {
    int32_t small = 0;
    int64_t value = 0;
    memcpy(from == 4 ? (void *)&small : (void *)&value, bytes + i * from, from);
    if (from == 4) value = small;
    if (value < low || value > high) return false;
    memcpy(bytes + i * to, &value, to);
  }
  return true;
}

static void normalise_bools(uint8_t *bytes, uint64_t count) {
  for (uint64_t i = 0; i < count; i++) bytes[i] = bytes[i] != 0;
}

static weft_status convert(weft_onnx_data *data, weft_onnx_tensor *tensor, weft_error *error) {
  weft_dtype dtype = (weft_dtype)tensor->data_type;
  size_t size = weft_dtype_size(dtype);
  if (size == 0) return WEFT_OK; /* the lowering refuses such a tensor when it is used */
  if (!field_fits(data->field, dtype))
    return data_fail(tensor, WEFT_INVALID_MODEL, "elements of its type do not belong in ",
                     data->field->name, error);
  size_t wide = data->field->kind == WEFT_WIRE_I32 || data->field->kind == WEFT_WIRE_F32 ? 4 : 8;
  tensor->typed_count = data->filled / wide;
  if (size == wide || tensor->typed_count == 0) return WEFT_OK;
  if (!narrow(tensor->data->data, tensor->typed_count, wide, size))
    return data_fail(tensor, WEFT_INVALID_MODEL, "an element is out of the range of its type in ",
                     data->field->name, error);
  if (dtype == WEFT_BOOL) normalise_bools(tensor->data->data, tensor->typed_count);
  data->filled = tensor->typed_count * size;
  return WEFT_OK;
}

static weft_status end_tensor(weft_onnx_data *data, weft_onnx_tensor *tensor, weft_error *error) {
  if (data->field && !tensor->has_raw_data) WEFT_TRY(convert(data, tensor, error));
  if (data->field && tensor->data && tensor->data->bytes != data->filled)
    WEFT_TRY(move(data, tensor, data->filled, error));
  data->field = NULL;
  data->filled = data->most = 0;
  enum { EXTERNAL = 1 };
  return tensor->data_location == EXTERNAL ? weft_onnx_external_add(data, tensor, error) : WEFT_OK;
}

static weft_status on_end(void *user, void *object, const weft_wire_message *message,
                          weft_error *error) {
  return message == &weft_onnx_tensor_message ? end_tensor(user, object, error) : WEFT_OK;
}

weft_wire_hooks weft_onnx_data_hooks(weft_onnx_data *data) {
  return (weft_wire_hooks){on_payload, on_bytes, on_number, on_end, data};
}

void weft_onnx_data_release(weft_onnx_data *data) {
  weft_onnx_feed_release(data);
  for (uint32_t i = 0; i < data->buffer_count; i++) weft_buffer_release(&data->buffers[i]);
}
