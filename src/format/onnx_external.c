/* onnx_external.c - external data: elements of tensors in other files. The library opens none; the
 * caller's resolver does, and gets the location only if it is a plain relative one. */
#include "base/checked.h"
#include "base/map.h"
#include "format/onnx_data.h"

enum { SMALL_READ = 4096 }; /* as for payloads (onnx_data.c): loaded at once */

static weft_status external_fail(weft_str tensor, weft_status status, const char *cause,
                                 weft_str detail, weft_error *error) {
  return weft_fail(error, status, "tensor '%.*s': external data: %s%.*s", WEFT_STR_ARGS(tensor),
                   cause, WEFT_STR_ARGS(detail));
}

/* ---- where it lies -----------------------------------------------------------------------------
 */

static bool parse_u64(weft_str text, uint64_t *out) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < text.length; i++) {
    if (text.data[i] < '0' || text.data[i] > '9') return false;
    if (!weft_mul_u64(value, 10, &value) ||
        !weft_add_u64(value, (uint64_t)(text.data[i] - '0'), &value))
      return false;
  }
  *out = value;
  return text.length > 0;
}

static bool has_dotdot(weft_str path) {
  for (uint32_t i = 0; i + 1 < path.length; i++) {
    bool starts = i == 0 || path.data[i - 1] == '/';
    bool ends = i + 2 == path.length || path.data[i + 2] == '/';
    if (starts && ends && path.data[i] == '.' && path.data[i + 1] == '.') return true;
  }
  return false;
}

/* Why a location is refused, or NULL. NUL was refused on the wire. */
static const char *location_fault(weft_str location) {
  if (location.length == 0) return "there is no location";
  if (location.length > WEFT_MAX_NAME_BYTES) return "the location is too long";
  if (location.data[0] == '/') return "the location is absolute: ";
  if (has_dotdot(location)) return "the location leaves its folder: ";
  for (uint32_t i = 0; i < location.length; i++) {
    if (location.data[i] == '\\') return "the location has a backslash: ";
    if (location.data[i] == ':') return "the location has a scheme or drive: ";
  }
  return NULL;
}

typedef struct data_place {
  weft_str location, offset, length; /* .data NULL: not given */
} data_place;

static weft_status read_entries(const weft_onnx_tensor *tensor, data_place *out,
                                weft_error *error) {
  for (uint32_t i = 0; i < tensor->external_count; i++) {
    const weft_onnx_entry *entry = &tensor->external[i];
    weft_str *to = weft_str_is(entry->key, "location") ? &out->location
                   : weft_str_is(entry->key, "offset") ? &out->offset
                   : weft_str_is(entry->key, "length") ? &out->length
                                                       : NULL;
    if (!to) continue; /* "checksum" and what else exporters note */
    if (to->data)
      return external_fail(tensor->name, WEFT_INVALID_MODEL, "given twice: ", entry->key, error);
    *to = entry->value.data ? entry->value : WEFT_STR("");
  }
  return WEFT_OK;
}

/* Bytes of the tensor by its shape; 0 where that is wrong, which the lowering says. */
static uint64_t shape_bytes(const weft_onnx_tensor *tensor) {
  uint64_t bytes = weft_dtype_size((weft_dtype)tensor->data_type);
  for (uint32_t i = 0; i < tensor->dim_count; i++)
    if (tensor->dims[i] < 0 || !weft_mul_u64(bytes, (uint64_t)tensor->dims[i], &bytes)) return 0;
  return bytes;
}

static weft_status read_place(const weft_onnx_tensor *tensor, const data_place *place,
                              uint64_t *offset, uint64_t *length, weft_error *error) {
  const char *fault = location_fault(place->location);
  if (fault) return external_fail(tensor->name, WEFT_INVALID_MODEL, fault, place->location, error);
  *offset = 0;
  *length = shape_bytes(tensor);
  if (place->offset.data && !parse_u64(place->offset, offset))
    return external_fail(tensor->name, WEFT_INVALID_MODEL, "not an offset: ", place->offset, error);
  if (place->length.data && !parse_u64(place->length, length))
    return external_fail(tensor->name, WEFT_INVALID_MODEL, "not a length: ", place->length, error);
  return WEFT_OK;
}

weft_status weft_onnx_external_add(weft_onnx_data *data, weft_onnx_tensor *tensor,
                                   weft_error *error) {
  data_place place = {0};
  if (tensor->data)
    return external_fail(tensor->name, WEFT_INVALID_MODEL, "given besides data in the model",
                         WEFT_STR(""), error);
  WEFT_TRY(read_entries(tensor, &place, error));
  weft_onnx_external *external =
      WEFT_ARENA_PUSH(data->arena, data->externals, data->external_count);
  weft_buffer **slot = WEFT_ARENA_PUSH(data->arena, data->buffers, data->buffer_count);
  if (!external || !slot) return weft_arena_fail(data->arena, "the model's structure", error);
  uint64_t length = 0;
  *external = (weft_onnx_external){.tensor = tensor->name, .location = place.location};
  WEFT_TRY(read_place(tensor, &place, &external->offset, &length, error));
  weft_source nowhere = {0};
  *slot = weft_buffer_defer(data->heap, &nowhere, external->offset, length);
  if (!*slot) return weft_heap_fail(data->heap, sizeof **slot, "a tensor", error);
  external->buffer = tensor->data = *slot;
  return WEFT_OK;
}

/* ---- finding it --------------------------------------------------------------------------------
 */

static weft_status call_resolver(const weft_onnx_external *external,
                                 const weft_model_options *options, weft_source *out,
                                 weft_error *error) {
  if (!options->resolve)
    return external_fail(external->tensor, WEFT_INVALID_ARGUMENT, "no resolver was given to find ",
                         external->location, error);
  *out = (weft_source){0};
  weft_status status = options->resolve(options->resolve_user, external->location.data, out);
  if (status == WEFT_PENDING || (status == WEFT_OK && (out->bytes || out->read))) return status;
  return external_fail(external->tensor, status < 0 ? status : WEFT_IO_ERROR,
                       "the resolver did not find ", external->location, error);
}

/* Points the buffer at its bytes. */
static weft_status connect(weft_onnx_external *external, const weft_source *source,
                           weft_error *error) {
  weft_buffer *buffer = external->buffer;
  external->fed = !source->bytes && !source->read;
  bool size_known = !external->fed || source->size > 0;
  uint64_t end;
  if (!weft_add_u64(external->offset, buffer->bytes, &end) || (size_known && end > source->size))
    return weft_fail(error, WEFT_INVALID_MODEL,
                     "tensor '%.*s': external data: %llu bytes at %llu lie outside of '%.*s', "
                     "which has %llu bytes",
                     WEFT_STR_ARGS(external->tensor), (unsigned long long)buffer->bytes,
                     (unsigned long long)external->offset, WEFT_STR_ARGS(external->location),
                     (unsigned long long)source->size);
  if (external->fed) return WEFT_OK;
  buffer->source = *source;
  if (source->bytes) {
    buffer->data = (uint8_t *)(uintptr_t)source->bytes + external->offset;
    return WEFT_OK;
  }
  return buffer->bytes <= SMALL_READ ? weft_buffer_load(buffer, error) : WEFT_OK;
}

weft_status weft_onnx_external_resolve(weft_onnx_data *data, const weft_model_options *options,
                                       weft_error *error) {
  weft_map index;
  weft_map_init(&index, data->arena);
  weft_source *sources = WEFT_ARENA_ARRAY(data->arena, weft_source, data->external_count);
  if (!sources) return weft_arena_fail(data->arena, "external data", error);
  for (uint32_t i = 0; i < data->external_count; i++) {
    weft_onnx_external *external = &data->externals[i];
    uint32_t at = weft_map_find(&index, external->location);
    if (at == WEFT_MAP_NONE) {
      at = i;
      weft_status status = call_resolver(external, options, &sources[i], error);
      if (status < 0) return status;
      if (!weft_map_set(&index, external->location, i))
        return weft_arena_fail(data->arena, "external data", error);
    }
    external->file = at;
    WEFT_TRY(connect(external, &sources[at], error));
  }
  return weft_onnx_feed_start(data, error);
}
