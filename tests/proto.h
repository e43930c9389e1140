/* proto.h - writes protobuf bytes, for tests that need files which no library would write. Messages
 * are written inside out: fill a child, then proto_add it to its parent. */
#ifndef WEFT_TESTS_PROTO_H
#define WEFT_TESTS_PROTO_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct proto {
  uint8_t *bytes;
  size_t length, capacity;
} proto;

static inline void proto_raw(proto *p, const void *bytes, size_t length) {
  while (p->length + length > p->capacity) {
    p->capacity = p->capacity ? p->capacity * 2 : 64;
    uint8_t *grown = realloc(p->bytes, p->capacity);
    if (!grown) abort();
    p->bytes = grown;
  }
  if (length > 0) memcpy(p->bytes + p->length, bytes, length);
  p->length += length;
}

static inline void proto_number(proto *p, uint64_t value) {
  do {
    uint8_t byte = (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
    proto_raw(p, &byte, 1);
    value >>= 7;
  } while (value);
}

static inline void proto_varint(proto *p, uint32_t field, int64_t value) {
  proto_number(p, field << 3);
  proto_number(p, (uint64_t)value);
}

static inline void proto_fixed32(proto *p, uint32_t field, const void *value) {
  proto_number(p, field << 3 | 5);
  proto_raw(p, value, 4);
}

static inline void proto_fixed64(proto *p, uint32_t field, const void *value) {
  proto_number(p, field << 3 | 1);
  proto_raw(p, value, 8);
}

static inline void proto_bytes(proto *p, uint32_t field, const void *bytes, size_t length) {
  proto_number(p, field << 3 | 2);
  proto_number(p, length);
  proto_raw(p, bytes, length);
}

static inline void proto_text(proto *p, uint32_t field, const char *text) {
  proto_bytes(p, field, text, strlen(text));
}

/* Appends `child` as a message, packed run or bytes, and frees it. */
static inline void proto_add(proto *p, uint32_t field, proto *child) {
  proto_bytes(p, field, child->bytes, child->length);
  free(child->bytes);
  *child = (proto){0};
}

static inline void proto_free(proto *p) {
  free(p->bytes);
  *p = (proto){0};
}

/* A message of two texts, as key 1 and value 2. */
static inline void proto_add_entry(proto *p, uint32_t field, const char *key, const char *value) {
  proto entry = {0};
  proto_text(&entry, 1, key);
  proto_text(&entry, 2, value);
  proto_add(p, field, &entry);
}

#endif
