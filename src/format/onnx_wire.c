/* onnx_wire.c - the protobuf decoder: a state machine over bytes with an explicit stack of open
 * messages. onnx_proto.c has its tables, onnx_parser.c drives it. */
#include "format/onnx_wire.h"

#include "base/text.h"
#include "base/utf8.h"

/* https://protobuf.dev/programming-guides/encoding: a key is field number * 8 + wire type. */
enum { TYPE_VARINT = 0, TYPE_FIXED64 = 1, TYPE_LENGTH = 2, TYPE_FIXED32 = 5 };
enum { FIELD_NUMBER_MAX = (1 << 29) - 1 };

static const struct {
  uint8_t wire_type, size; /* size: of a number */
} kinds[] = {
    [WEFT_WIRE_I32] = {TYPE_VARINT, 4},     [WEFT_WIRE_I64] = {TYPE_VARINT, 8},
    [WEFT_WIRE_F32] = {TYPE_FIXED32, 4},    [WEFT_WIRE_F64] = {TYPE_FIXED64, 8},
    [WEFT_WIRE_TEXT] = {TYPE_LENGTH, 0},    [WEFT_WIRE_BLOB] = {TYPE_LENGTH, 0},
    [WEFT_WIRE_MESSAGE] = {TYPE_LENGTH, 0}, [WEFT_WIRE_INLINE] = {TYPE_LENGTH, 0},
    [WEFT_WIRE_RAW] = {TYPE_LENGTH, 0},
};

static weft_wire_frame *top(weft_wire *w) {
  return &w->stack[w->depth - 1];
}

/* Fails with "byte 12, NodeProto.attribute: ...". */
__attribute__((format(printf, 3, 4))) static weft_status wire_fail(weft_wire *w, weft_status status,
                                                                   const char *format, ...) {
  char cause[160];
  weft_text text = {.buffer = cause, .size = sizeof cause};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
  return weft_fail(w->error, status, "byte %llu, %s%s%s: %s", (unsigned long long)w->field_offset,
                   top(w)->message->name, w->field ? "." : "", w->field ? w->field->name : "",
                   cause);
}

static weft_status no_memory(weft_wire *w) {
  return weft_arena_fail(w->arena, "the model's structure", w->error);
}

/* ---- numbers -----------------------------------------------------------------------------------
 */

static weft_status read_varint(weft_wire *w, uint64_t end, bool *done) {
  while (w->at < w->stop && !*done) {
    if (w->offset == end)
      return wire_fail(w, WEFT_INVALID_MODEL, "a varint runs past the end at byte %llu",
                       (unsigned long long)end);
    uint8_t byte = *w->at++;
    w->offset++;
    if (w->bits == 63 && byte > 1)
      return wire_fail(w, WEFT_INVALID_MODEL, "a varint has more than 64 bits");
    w->value |= (uint64_t)(byte & 0x7F) << w->bits;
    w->bits += 7;
    *done = byte < 0x80;
  }
  return WEFT_OK;
}

static weft_status read_fixed(weft_wire *w, uint64_t end, bool *done) {
  uint32_t bits = w->wire_type == TYPE_FIXED32 ? 32 : 64;
  while (w->at < w->stop && !*done) {
    if (w->offset == end)
      return wire_fail(w, WEFT_INVALID_MODEL, "a number of %u bits runs past the end at byte %llu",
                       bits, (unsigned long long)end);
    w->value |= (uint64_t)*w->at++ << w->bits;
    w->offset++;
    w->bits += 8;
    *done = w->bits == bits;
  }
  return WEFT_OK;
}

static uint64_t take_number(weft_wire *w) {
  uint64_t value = w->value;
  w->value = 0;
  w->bits = 0;
  return value;
}

/* ---- places in the structs ---------------------------------------------------------------------
 */

/* Where the current field's next value of `size` bytes goes; NULL with *status set on failure. */
static void *slot(weft_wire *w, size_t size, weft_status *status) {
  const weft_wire_field *field = w->field;
  uint8_t *object = top(w)->object;
  if (field->flag) object[field->flag] = true;
  *status = WEFT_OK;
  if (field->max_count == 0) return object + field->offset;

  uint32_t count;
  memcpy(&count, object + field->count, sizeof count);
  if (count >= field->max_count) {
    *status = wire_fail(w, WEFT_LIMIT_EXCEEDED, "more than %u entries", field->max_count);
    return NULL;
  }
  void **items = (void **)(void *)(object + field->offset);
  if (!weft_arena_grow(w->arena, items, count, size)) {
    *status = no_memory(w);
    return NULL;
  }
  uint8_t *base;
  memcpy(&base, items, sizeof base);
  uint32_t grown = count + 1;
  memcpy(object + field->count, &grown, sizeof grown);
  return base + count * size;
}

static weft_status store_number(weft_wire *w, uint64_t value) {
  if (!w->field || w->field->kind == WEFT_WIRE_MARK) return WEFT_OK;
  size_t size = kinds[w->field->kind].size;
  if (w->field->data)
    return w->hooks.number(w->hooks.user, top(w)->object, w->field, &value, size, w->error);
  weft_status status;
  void *to = slot(w, size, &status);
  if (to) memcpy(to, &value, size); /* little-endian: the low bytes come first */
  return status;
}

/* ---- what a length stands before ---------------------------------------------------------------
 */

static weft_status begin_text(weft_wire *w, uint64_t length) {
  if (length > w->field->max_bytes)
    return wire_fail(w, WEFT_LIMIT_EXCEEDED, "%llu bytes of text; at most %u are allowed",
                     (unsigned long long)length, w->field->max_bytes);
  char *data = weft_arena_allocate(w->arena, length + 1);
  if (!data) return no_memory(w);
  weft_status status;
  weft_str *to = slot(w, sizeof *to, &status);
  if (!to) return status;
  w->text = *to = (weft_str){data, (uint32_t)length};
  w->state = WEFT_WIRE_BYTES;
  return WEFT_OK;
}

/* The struct that the current field's message fills; NULL with *status set on failure. */
static uint8_t *message_object(weft_wire *w, weft_status *status) {
  const weft_wire_message *type = w->field->type;
  if (w->field->max_count > 0) return slot(w, type->size, status);
  void *place = slot(w, sizeof(void *), status);
  if (w->field->kind == WEFT_WIRE_INLINE) return top(w)->object;
  uint8_t *object;
  memcpy(&object, place, sizeof object);
  if (object) return object; /* given again: merged */
  object = weft_arena_allocate(w->arena, type->size);
  if (!object) *status = no_memory(w);
  memcpy(place, &object, sizeof object);
  return object;
}

static weft_status begin_message(weft_wire *w, uint64_t length) {
  if (w->depth == WEFT_MAX_MESSAGE_DEPTH)
    return wire_fail(w, WEFT_LIMIT_EXCEEDED, "messages are nested more than %u deep",
                     WEFT_MAX_MESSAGE_DEPTH);
  weft_status status;
  const weft_wire_message *type = w->field->type;
  uint8_t *object = message_object(w, &status);
  if (!object) return status;
  if (type->offset) memcpy(object + type->offset, &w->field_offset, sizeof w->field_offset);
  w->stack[w->depth++] = (weft_wire_frame){type, object, w->offset + length};
  w->field = NULL;
  w->state = WEFT_WIRE_KEY;
  return WEFT_OK;
}

static weft_status begin_payload(weft_wire *w, uint64_t length) {
  size_t size = kinds[w->field->kind].size;
  if (size > 0 && length % size != 0)
    return wire_fail(w, WEFT_INVALID_MODEL, "%llu bytes are not a number of %zu-byte values",
                     (unsigned long long)length, size);
  bool skip = false;
  w->left = length;
  WEFT_TRY(w->hooks.payload(w->hooks.user, top(w)->object, w->field, w->offset, length, &skip,
                            w->error));
  w->state = skip ? WEFT_WIRE_SKIP : WEFT_WIRE_PAYLOAD;
  return WEFT_OK;
}

static weft_status begin_run(weft_wire *w, uint64_t length) {
  w->run_end = w->offset + length;
  w->wire_type = kinds[w->field->kind].wire_type;
  w->state = length > 0 ? WEFT_WIRE_NUMBER : WEFT_WIRE_KEY;
  if (length == 0) w->run_end = 0;
  return WEFT_OK;
}

static weft_status begin_skip(weft_wire *w) {
  if (w->field && w->field->flag) top(w)->object[w->field->flag] = true;
  w->state = WEFT_WIRE_SKIP;
  return WEFT_OK;
}

static weft_status begin_length(weft_wire *w, uint64_t length) {
  uint64_t end = top(w)->end;
  if (length > end - w->offset)
    return wire_fail(w, WEFT_INVALID_MODEL, "%llu bytes do not fit before the end at byte %llu",
                     (unsigned long long)length, (unsigned long long)end);
  w->left = length;
  if (!w->field || w->field->kind == WEFT_WIRE_MARK) return begin_skip(w);
  switch (w->field->kind) {
  case WEFT_WIRE_TEXT:
  case WEFT_WIRE_BLOB:
    return begin_text(w, length);
  case WEFT_WIRE_MESSAGE:
  case WEFT_WIRE_INLINE:
    return begin_message(w, length);
  case WEFT_WIRE_RAW:
    return begin_payload(w, length);
  default: /* fixed-width data is its own bytes; other numbers are taken one by one */
    return w->field->data && kinds[w->field->kind].wire_type != TYPE_VARINT
               ? begin_payload(w, length)
               : begin_run(w, length);
  }
}

/* ---- the state machine -------------------------------------------------------------------------
 */

static const weft_wire_field *find_field(const weft_wire_message *message, uint64_t number) {
  for (uint32_t i = 0; i < message->field_count; i++)
    if (message->fields[i].number == number) return &message->fields[i];
  return NULL;
}

/* Repeated numbers come one by one or packed. */
static bool type_fits(const weft_wire_field *field, uint32_t type) {
  if (!field || field->kind == WEFT_WIRE_MARK) return true;
  bool packable = (field->max_count > 0 || field->data) && kinds[field->kind].size > 0;
  return type == kinds[field->kind].wire_type || (packable && type == TYPE_LENGTH);
}

static weft_status step_key(weft_wire *w) {
  if (w->bits == 0) w->field_offset = w->offset;
  w->field = NULL;
  bool done = false;
  WEFT_TRY(read_varint(w, top(w)->end, &done));
  if (!done) return WEFT_OK;
  uint64_t key = take_number(w), number = key >> 3;
  if (number == 0 || number > FIELD_NUMBER_MAX)
    return wire_fail(w, WEFT_INVALID_MODEL, "%llu is not a field number",
                     (unsigned long long)number);
  w->wire_type = key & 7;
  if (w->wire_type > TYPE_FIXED32 || w->wire_type == 3 || w->wire_type == 4)
    return wire_fail(w, WEFT_INVALID_MODEL, "field %llu has wire type %u, which ONNX does not use",
                     (unsigned long long)number, w->wire_type);
  w->field = find_field(top(w)->message, number);
  if (!type_fits(w->field, w->wire_type))
    return wire_fail(w, WEFT_INVALID_MODEL, "wire type %u instead of %u", w->wire_type,
                     kinds[w->field->kind].wire_type);
  w->state = w->wire_type == TYPE_LENGTH ? WEFT_WIRE_LENGTH : WEFT_WIRE_NUMBER;
  return WEFT_OK;
}

static weft_status step_number(weft_wire *w) {
  uint64_t end = w->run_end ? w->run_end : top(w)->end;
  bool done = false;
  WEFT_TRY(w->wire_type == TYPE_VARINT ? read_varint(w, end, &done) : read_fixed(w, end, &done));
  if (!done) return WEFT_OK;
  WEFT_TRY(store_number(w, take_number(w)));
  if (w->offset < w->run_end) return WEFT_OK;
  w->run_end = 0;
  w->state = WEFT_WIRE_KEY;
  return WEFT_OK;
}

static weft_status step_length(weft_wire *w) {
  bool done = false;
  WEFT_TRY(read_varint(w, top(w)->end, &done));
  return done ? begin_length(w, take_number(w)) : WEFT_OK;
}

static weft_status check_text(weft_wire *w) {
  const uint8_t *at = (const uint8_t *)w->text.data, *end = at + w->text.length;
  while (at < end) {
    weft_utf8_char next = weft_utf8_decode(at, end);
    if (!next.valid) return wire_fail(w, WEFT_INVALID_MODEL, "the text is not UTF-8");
    if (next.code == 0) return wire_fail(w, WEFT_INVALID_MODEL, "the text contains NUL");
    at += next.length;
  }
  return WEFT_OK;
}

/* As many of the bytes that are left as this piece has. */
static size_t take_bytes(weft_wire *w, const uint8_t **bytes) {
  size_t length = (size_t)(w->stop - w->at);
  if (w->left < length) length = (size_t)w->left;
  *bytes = w->at;
  w->at += length;
  w->offset += length;
  w->left -= length;
  if (w->left == 0) w->state = WEFT_WIRE_KEY;
  return length;
}

static weft_status step_bytes(weft_wire *w) {
  const uint8_t *bytes;
  char *to = (char *)(uintptr_t)w->text.data + (w->text.length - w->left);
  size_t length = take_bytes(w, &bytes);
  if (length > 0) memcpy(to, bytes, length);
  return w->left == 0 && w->field->kind == WEFT_WIRE_TEXT ? check_text(w) : WEFT_OK;
}

static weft_status step_payload(weft_wire *w) {
  const uint8_t *bytes;
  size_t length = take_bytes(w, &bytes);
  if (length == 0) return WEFT_OK;
  return w->hooks.bytes(w->hooks.user, top(w)->object, bytes, length, w->error);
}

static weft_status step_skip(weft_wire *w) {
  const uint8_t *bytes;
  take_bytes(w, &bytes);
  return WEFT_OK;
}

static weft_status (*const steps[])(weft_wire *w) = {
    [WEFT_WIRE_KEY] = step_key,         [WEFT_WIRE_NUMBER] = step_number,
    [WEFT_WIRE_LENGTH] = step_length,   [WEFT_WIRE_BYTES] = step_bytes,
    [WEFT_WIRE_PAYLOAD] = step_payload, [WEFT_WIRE_SKIP] = step_skip,
};

static bool between_fields(const weft_wire *w) {
  return w->state == WEFT_WIRE_KEY && w->bits == 0;
}

/* Ends what ends at this byte: text, payloads and skipped stretches of no length, then messages. */
static weft_status settle(weft_wire *w) {
  if (w->state >= WEFT_WIRE_BYTES && w->left == 0) WEFT_TRY(steps[w->state](w));
  while (between_fields(w) && w->depth > 1 && top(w)->end == w->offset) {
    const weft_wire_frame *frame = top(w);
    WEFT_TRY(w->hooks.end(w->hooks.user, frame->object, frame->message, w->error));
    w->depth--;
  }
  return WEFT_OK;
}

void weft_wire_start(weft_wire *wire, weft_arena *arena, const weft_wire_hooks *hooks,
                     const weft_wire_message *message, void *object, uint64_t size) {
  *wire = (weft_wire){.arena = arena, .hooks = *hooks, .depth = 1};
  wire->stack[0] = (weft_wire_frame){message, object, size};
}

weft_status weft_wire_feed(weft_wire *wire, const uint8_t *bytes, size_t length,
                           weft_error *error) {
  wire->at = bytes;
  wire->stop = bytes + length;
  wire->error = error;
  while (wire->at < wire->stop) {
    WEFT_TRY(steps[wire->state](wire));
    WEFT_TRY(settle(wire));
  }
  return WEFT_OK;
}

weft_status weft_wire_jump(weft_wire *wire, weft_error *error) {
  if (wire->state != WEFT_WIRE_SKIP) return WEFT_OK;
  wire->error = error;
  wire->offset += wire->left;
  wire->left = 0;
  return settle(wire);
}

weft_status weft_wire_finish(const weft_wire *wire, weft_error *error) {
  const weft_wire_frame *frame = &wire->stack[wire->depth - 1];
  bool whole = wire->depth == 1 && between_fields(wire);
  if (whole && (frame->end == UINT64_MAX || frame->end == wire->offset)) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_MODEL, "the file ends at byte %llu, inside of %s",
                   (unsigned long long)wire->offset, frame->message->name);
}
