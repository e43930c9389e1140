/* onnx_feed.c - external data that the caller feeds, because it comes from afar and takes time. The
 * tensors are walked in the order of their files and offsets, so that each file is asked for from
 * its begin to its end; each tensor's bytes go straight to memory of their own. */
#include "base/checked.h"
#include "base/sort.h"
#include "format/onnx_data.h"

/* Bytes between two tensors that are asked for along with them: cheaper than another request. */
enum { GAP_MOST = 64 << 10 };

static bool is_complete(const weft_onnx_external *external) {
  return external->filled == external->buffer->bytes;
}

static bool comes_before(const void *user, uint32_t a, uint32_t b) {
  const weft_onnx_external *externals = user, *left = &externals[a], *right = &externals[b];
  return left->file != right->file ? left->file < right->file : left->offset < right->offset;
}

weft_status weft_onnx_feed_start(weft_onnx_data *data, weft_error *error) {
  uint32_t count = data->external_count;
  weft_onnx_feed *feed = &data->feed;
  uint32_t *order = WEFT_ARENA_ARRAY(data->arena, uint32_t, count);
  uint32_t *scratch = WEFT_ARENA_ARRAY(data->arena, uint32_t, count);
  if (!order || !scratch) return weft_arena_fail(data->arena, "external data", error);
  weft_sort_indices(order, scratch, count, comes_before, data->externals);
  for (uint32_t i = 0; i < count; i++) {
    const weft_onnx_external *external = &data->externals[order[i]];
    if (!external->fed || is_complete(external)) continue;
    order[feed->count++] = order[i];
    if (!weft_add_u64(feed->total, external->buffer->bytes, &feed->total))
      return weft_fail(error, WEFT_INVALID_MODEL, "external data has more than 2^64 bytes");
  }
  feed->order = order;
  return WEFT_OK;
}

static weft_onnx_external *ordered(const weft_onnx_data *data, uint32_t i) {
  return &data->externals[data->feed.order[i]];
}

bool weft_onnx_feed_wanted(const weft_onnx_data *data, uint64_t most, weft_wanted *out) {
  uint64_t end = 0; /* of the range so far */
  *out = (weft_wanted){0};
  for (uint32_t i = data->feed.first; i < data->feed.count; i++) {
    const weft_onnx_external *external = ordered(data, i);
    if (is_complete(external) || external->buffer->bytes > most) continue;
    uint64_t from = external->offset + external->filled;
    uint64_t to = external->offset + external->buffer->bytes; /* weft_onnx_external_resolve: fits */
    if (!out->location)
      *out = (weft_wanted){external->location.data, external->file, from, 0};
    else if (external->file != out->file || (from > end && from - end > GAP_MOST))
      break;
    if (to > end) end = to;
  }
  out->length = end - out->offset;
  return out->location != NULL;
}

/* Takes what [offset, offset + length) has of the tensor's next bytes. */
static weft_status take(weft_onnx_data *data, weft_onnx_external *external, uint64_t offset,
                        const uint8_t *bytes, uint64_t length, weft_error *error) {
  weft_buffer *buffer = external->buffer;
  uint64_t next = external->offset + external->filled, left = buffer->bytes - external->filled;
  if (left == 0 || next < offset || next - offset >= length) return WEFT_OK;
  if (!external->bytes) external->bytes = weft_heap_allocate(buffer->heap, buffer->bytes);
  if (!external->bytes) return weft_heap_fail(buffer->heap, buffer->bytes, "a tensor", error);
  uint64_t count = length - (next - offset);
  if (count > left) count = left;
  memcpy(external->bytes + external->filled, bytes + (next - offset), (size_t)count);
  external->filled += count;
  data->feed.done += count;
  if (count < left) return WEFT_OK;
  buffer->data = external->bytes; /* not before it is complete, so that nobody reads too early */
  buffer->owned = true;
  external->bytes = NULL;
  return WEFT_OK;
}

weft_status weft_onnx_feed_bytes(weft_onnx_data *data, uint32_t file, uint64_t offset,
                                 const uint8_t *bytes, uint64_t length, weft_error *error) {
  weft_onnx_feed *feed = &data->feed;
  uint64_t end;
  if (!weft_add_u64(offset, length, &end))
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "external data: the offset %llu is too large",
                     (unsigned long long)offset);
  while (feed->first < feed->count && is_complete(ordered(data, feed->first))) feed->first++;
  for (uint32_t i = feed->first; i < feed->count; i++) {
    weft_onnx_external *external = ordered(data, i);
    if (external->file > file || (external->file == file && external->offset >= end)) break;
    if (external->file == file) WEFT_TRY(take(data, external, offset, bytes, length, error));
  }
  return WEFT_OK;
}

void weft_onnx_feed_release(weft_onnx_data *data) {
  for (uint32_t i = 0; i < data->feed.count; i++) {
    weft_onnx_external *external = ordered(data, i);
    weft_heap_release(external->buffer->heap, external->bytes, external->buffer->bytes);
  }
}
