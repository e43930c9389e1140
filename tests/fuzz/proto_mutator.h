/* proto_mutator.h - a libFuzzer mutator that knows protobuf: it changes, doubles or drops one field
 * at any depth and writes the lengths around it anew, so that what it makes gets past the decoder.
 * Include it in one target. */
#ifndef WEFT_TESTS_FUZZ_PROTO_MUTATOR_H
#define WEFT_TESTS_FUZZ_PROTO_MUTATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

enum { MUTATOR_DEPTH = 24, MUTATOR_ROOM = 1 << 16 };

/* A field: its key from `begin`, its value from `value` to `end`; a length before the value from
 * `length` (== value where there is none). */
typedef struct mutator_field {
  size_t begin, length, value, end;
} mutator_field;

static bool mutator_varint(const uint8_t *data, size_t end, size_t *at, uint64_t *out) {
  *out = 0;
  for (unsigned bits = 0; *at < end && bits < 64; bits += 7) {
    uint8_t byte = data[(*at)++];
    *out |= (uint64_t)(byte & 0x7F) << bits;
    if (byte < 0x80) return true;
  }
  return false;
}

static bool mutator_read(const uint8_t *data, size_t at, size_t end, mutator_field *out) {
  uint64_t key, length = 0, skipped;
  out->begin = at;
  if (!mutator_varint(data, end, &at, &key)) return false;
  out->length = out->value = at;
  if ((key & 7) == 0) {
    if (!mutator_varint(data, end, &at, &skipped)) return false;
  } else if ((key & 7) == 2) {
    if (!mutator_varint(data, end, &at, &length)) return false;
    out->value = at;
  } else if ((key & 7) == 1 || (key & 7) == 5) {
    length = (key & 7) == 1 ? 8 : 4;
  } else {
    return false;
  }
  if (length > end - at) return false;
  out->end = at + (size_t)length;
  return true;
}

static uint32_t mutator_random(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* One of the fields in [begin, end), each as likely as the others; false where that is no message.
 */
static bool mutator_choose(const uint8_t *data, size_t begin, size_t end, unsigned *seed,
                           mutator_field *out) {
  mutator_field field;
  uint32_t count = 0;
  for (size_t at = begin; at < end; at = field.end) {
    if (!mutator_read(data, at, end, &field)) return false;
    if (mutator_random(seed) % ++count == 0) *out = field;
  }
  return count > 0;
}

static uint8_t mutator_buffers[2][MUTATOR_ROOM];

/* Writes the innermost field of the path anew; answers its size. */
static size_t mutator_change(const uint8_t *data, const mutator_field *field, unsigned *seed,
                             uint8_t *to) {
  size_t whole = field->end - field->begin, size = field->end - field->value;
  uint32_t kind = mutator_random(seed) % 8;
  if (kind == 0) return 0;
  memcpy(to, data + field->begin, whole);
  if (kind == 1) memcpy(to + whole, data + field->begin, whole);
  if (kind == 1) return 2 * whole;
  uint8_t *value = mutator_buffers[1];
  memcpy(value, data + field->value, size);
  bool sized = field->length != field->value;
  size = LLVMFuzzerMutate(value, size, sized ? size + 64 : size);
  size_t at = field->length - field->begin;
  for (size_t left = size; sized; left >>= 7) {
    to[at++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    if (left <= 0x7F) break;
  }
  memcpy(to + at, value, size);
  return at + size;
}

/* Puts the changed child of `size` bytes in buffer 0 into its parent; answers the parent's size. */
static size_t mutator_wrap(const uint8_t *data, const mutator_field *parent,
                           const mutator_field *child, size_t size) {
  uint8_t *inner = mutator_buffers[0], *to = mutator_buffers[1];
  size_t before = child->begin - parent->value, after = parent->end - child->end;
  size_t at = parent->length - parent->begin, length = before + size + after;
  memcpy(to, data + parent->begin, at);
  for (size_t left = length; parent->length != parent->value; left >>= 7) {
    to[at++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    if (left <= 0x7F) break;
  }
  memcpy(to + at, data + parent->value, before);
  memcpy(to + at + before, inner, size);
  memcpy(to + at + before + size, data + child->end, after);
  memcpy(inner, to, at + length);
  return at + length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  mutator_field path[MUTATOR_DEPTH] = {{0, 0, 0, size}}; /* the file itself: no key, no length */
  size_t depth = 0;
  bool fits = size > 0 && size < MUTATOR_ROOM / 4 && mutator_random(&seed) % 16 > 0;
  while (fits && depth + 1 < MUTATOR_DEPTH) {
    const mutator_field *at = &path[depth];
    if (depth > 0 && (at->length == at->value || mutator_random(&seed) % 8 == 0)) break;
    if (!mutator_choose(data, at->value, at->end, &seed, &path[depth + 1])) break;
    depth++;
  }
  if (depth == 0) return LLVMFuzzerMutate(data, size, most);
  size_t made = mutator_change(data, &path[depth], &seed, mutator_buffers[0]);
  for (; depth > 0; depth--) made = mutator_wrap(data, &path[depth - 1], &path[depth], made);
  if (made > most) return LLVMFuzzerMutate(data, size, most);
  memcpy(data, mutator_buffers[0], made);
  return made;
}

#endif
