/* columns.c - see columns.h. */
#include "cpu/columns.h"

#include "base/checked.h"
#include "cpu/convert.h"
#include "cpu/internal.h"
#include "cpu/nest.h"

#define PIECE_BYTES (4u << 20)
#define PIECE_STEP  64 /* columns: whole bytes of any codes */

static void field_init(weft_field *f, const weft_graph *graph, const weft_weight *part,
                       uint32_t input) {
  const weft_node *node = part->dequantize;
  *f = (weft_field){0};
  if (input >= node->input_count || node->inputs[input] == WEFT_VALUE_NONE) return;
  f->value = &graph->values[node->inputs[input]];
  bool codes = !weft_dtype_is_float(f->value->dtype);
  f->bits = codes ? node->attributes.dequantize.bits : weft_dtype_bits(f->value->dtype);
  f->single = input != WEFT_FIELD_CODES && weft_weight_is_single(graph, part, input);
  f->repeats = f->single || (input != WEFT_FIELD_CODES && part->block == 0);
  f->by_columns = part->transposed && f->value->shape.rank == 2;
  f->rows = f->value->shape.rank == 2 ? (uint64_t)f->value->shape.dims[0] : 1;
  f->row_bytes = f->value->data->bytes / f->rows;
}

/* Bytes of a piece of `count` columns. */
static uint64_t piece_size(const weft_field *f, uint64_t count) {
  if (f->value == NULL || f->value->data->data != NULL) return 0;
  if (f->single) return f->row_bytes;
  if (f->by_columns) return count * f->row_bytes;
  return f->rows * weft_min_u64(f->row_bytes, (count * f->bits + 7) / 8);
}

/* Makes columns [first, first + count) readable; `first` is a multiple of PIECE_STEP. */
static weft_status field_load(weft_field *f, uint64_t first, uint64_t count, weft_error *error) {
  if (f->value == NULL) return WEFT_OK;
  const weft_buffer *from = f->value->data;
  f->first = 0;
  f->stride = f->row_bytes;
  f->data = from->data != NULL ? from->data : f->piece;
  if (from->data != NULL) return WEFT_OK;
  if (f->single) return weft_buffer_read(from, 0, f->row_bytes, f->piece, error);
  f->first = first;
  if (f->by_columns)
    return weft_buffer_read(from, first * f->row_bytes, count * f->row_bytes, f->piece, error);
  uint64_t start = first * f->bits / 8;
  f->stride = weft_min_u64(f->row_bytes - start, (count * f->bits + 7) / 8);
  if (f->stride == f->row_bytes)
    return weft_buffer_read(from, 0, f->rows * f->row_bytes, f->piece, error);
  for (uint64_t row = 0; row < f->rows; row++)
    WEFT_TRY(weft_buffer_read(from, row * f->row_bytes + start, f->stride,
                              f->piece + row * f->stride, error));
  return WEFT_OK;
}

/* Codes of less than a byte. */
static void unpack_bits(uint32_t bits, const uint8_t *from, uint64_t count, uint8_t *to) {
  uint32_t mask = (1u << bits) - 1;
  if (bits == 4) {
    for (uint64_t i = 0; i + 1 < count; i += 2) {
      to[i] = from[i / 2] & 15;
      to[i + 1] = from[i / 2] >> 4;
    }
    if (count % 2 != 0) to[count - 1] = from[count / 2] & 15;
    return;
  }
  for (uint64_t i = 0; i < count; i++)
    to[i] = (uint8_t)(from[i * bits / 8] >> (i * bits % 8) & mask);
}

/* Elements [0, count) of a column as they are stored; codes as bytes. */
void weft_field_column(const weft_field *f, uint64_t column, uint64_t count, uint8_t *to) {
  size_t size = f->bits < 8 ? 1 : f->bits / 8;
  uint64_t at = f->single ? 0 : column - f->first;
  if (f->bits == 8 * size) {
    const uint8_t *from = f->data + (f->by_columns && !f->single ? at * f->stride : at * size);
    int64_t step = f->by_columns ? 1 : (int64_t)(f->stride / size);
    weft_copy_strided(size, from, f->repeats ? 0 : step, (size_t)count, to);
  } else if (f->by_columns && !f->single) {
    unpack_bits(f->bits, f->data + at * f->stride, count, to);
  } else {
    uint32_t mask = (1u << f->bits) - 1, shift = (uint32_t)(at * f->bits % 8);
    const uint8_t *from = f->data + at * f->bits / 8;
    for (uint64_t i = 0; i < count; i++)
      to[i] = (uint8_t)(from[f->repeats ? 0 : i * f->stride] >> shift & mask);
  }
}

/* A part's columns, in pieces of its fields from number `wanted` on. */
static weft_status each_column(weft_columns *columns, uint32_t wanted,
                               void (*then)(void *user, uint64_t column), void *user,
                               weft_error *error) {
  weft_field *fields = columns->fields;
  uint64_t n = columns->part->n, step = n;
  uint64_t column_bytes = columns->part->k * fields[WEFT_FIELD_CODES].bits / 8 + 1;
  uint64_t fits = PIECE_BYTES / column_bytes / PIECE_STEP * PIECE_STEP;
  if (fields[WEFT_FIELD_CODES].value->data->data == NULL)
    step = weft_min_u64(n, fits > PIECE_STEP ? fits : PIECE_STEP);
  weft_status status = WEFT_OK;
  for (uint32_t i = wanted; i < WEFT_FIELDS && status == WEFT_OK; i++) {
    weft_field *f = &fields[i];
    f->piece_bytes = piece_size(f, step);
    if (f->piece_bytes == 0) continue;
    f->piece = weft_heap_allocate(columns->heap, f->piece_bytes);
    if (f->piece == NULL)
      status = weft_heap_fail(columns->heap, f->piece_bytes, "packing a weight", error);
  }
  for (uint64_t first = 0, count; first < n && status == WEFT_OK; first += count) {
    count = weft_min_u64(step, n - first);
    for (uint32_t i = wanted; i < WEFT_FIELDS && status == WEFT_OK; i++)
      status = field_load(&fields[i], first, count, error);
    for (uint64_t j = 0; j < count && status == WEFT_OK; j++) then(user, first + j);
  }
  for (uint32_t i = 0; i < WEFT_FIELDS; i++) {
    if (fields[i].piece != NULL)
      weft_heap_release(columns->heap, fields[i].piece, fields[i].piece_bytes);
    fields[i].piece = NULL;
  }
  return status;
}

weft_status weft_columns_each(weft_columns *columns, const weft_weight_list *weight,
                              uint32_t wanted, void (*then)(void *user, uint64_t column),
                              void *user, weft_error *error) {
  for (uint32_t i = 0; i < weight->count; i++) {
    columns->part = &weight->parts[i];
    for (uint32_t k = 0; k < WEFT_FIELDS; k++)
      field_init(&columns->fields[k], columns->graph, columns->part, k);
    WEFT_TRY(each_column(columns, wanted, then, user, error));
  }
  return WEFT_OK;
}
