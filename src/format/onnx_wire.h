/* onnx_wire.h - a decoder of the protobuf wire format, driven by tables and fed in pieces of any
 * size: it stops at any byte and goes on with the next piece. It fills C structs in an arena. Which
 * structs is for the tables to say (onnx_proto.c); what becomes of tensor data, for the hooks
 * (onnx_data.c).
 *
 * Strict where protobuf is lenient: a known field with another wire type, groups, text that is not
 * UTF-8 or holds NUL, and varints beyond 64 bits are errors. */
#ifndef WEFT_FORMAT_ONNX_WIRE_H
#define WEFT_FORMAT_ONNX_WIRE_H

#include "base/arena.h"
#include "base/limits.h"

typedef enum weft_wire_kind {
  WEFT_WIRE_MARK,    /* not read; only the flag is set */
  WEFT_WIRE_I32,     /* varint -> 4 bytes */
  WEFT_WIRE_I64,     /* varint -> 8 bytes */
  WEFT_WIRE_F32,     /* fixed32 */
  WEFT_WIRE_F64,     /* fixed64 */
  WEFT_WIRE_TEXT,    /* string -> weft_str, UTF-8 */
  WEFT_WIRE_BLOB,    /* bytes -> weft_str */
  WEFT_WIRE_MESSAGE, /* a struct behind a pointer, or in an array */
  WEFT_WIRE_INLINE,  /* a message whose fields lie in the struct of the parent */
  WEFT_WIRE_RAW,     /* bytes for the hooks */
} weft_wire_kind;

typedef struct weft_wire_field {
  const char *name;
  uint32_t number;
  weft_wire_kind kind;
  uint16_t offset, count;               /* in the struct: the value or array, and its count */
  uint16_t flag;                        /* a bool set when the field is seen; 0: none */
  bool data;                            /* numbers for the hooks */
  uint32_t max_count;                   /* 0: not repeated */
  uint32_t max_bytes;                   /* of TEXT and BLOB */
  const struct weft_wire_message *type; /* of MESSAGE and INLINE */
} weft_wire_field;

typedef struct weft_wire_message {
  const char *name;
  const weft_wire_field *fields;
  uint16_t field_count;
  uint16_t size;   /* of the struct; 0 for INLINE */
  uint16_t offset; /* where the struct keeps its place in the file (u64); 0: it does not */
} weft_wire_message;

/* What the decoder calls back with; `object` is the struct that the field belongs to. */
typedef struct weft_wire_hooks {
  /* `length` bytes at `offset` of the file are next: a RAW field, or a packed run of F32 or F64.
   * With *skip set they are passed over, else they come by `bytes`, in pieces. */
  weft_status (*payload)(void *user, void *object, const weft_wire_field *field, uint64_t offset,
                         uint64_t length, bool *skip, weft_error *error);
  weft_status (*bytes)(void *user, void *object, const uint8_t *bytes, size_t length,
                       weft_error *error);
  /* One number of a data field: `length` bytes, little-endian. */
  weft_status (*number)(void *user, void *object, const weft_wire_field *field, const void *bytes,
                        size_t length, weft_error *error);
  /* A message is complete. */
  weft_status (*end)(void *user, void *object, const weft_wire_message *message, weft_error *error);
  void *user;
} weft_wire_hooks;

typedef struct weft_wire_frame {
  const weft_wire_message *message;
  uint8_t *object;
  uint64_t end; /* offset in the file */
} weft_wire_frame;

typedef enum weft_wire_state {
  WEFT_WIRE_KEY,     /* at a field's key */
  WEFT_WIRE_NUMBER,  /* in a varint, fixed32 or fixed64 */
  WEFT_WIRE_LENGTH,  /* in the length of what follows */
  WEFT_WIRE_BYTES,   /* in text */
  WEFT_WIRE_PAYLOAD, /* in bytes for the hooks */
  WEFT_WIRE_SKIP,    /* in bytes that nobody wants */
} weft_wire_state;

typedef struct weft_wire {
  weft_arena *arena;
  weft_wire_hooks hooks;
  weft_error *error;
  const uint8_t *at, *stop; /* what is left of the piece being fed */
  uint64_t offset;          /* of *at in the file */
  uint64_t field_offset;    /* of the current field, for messages */
  weft_wire_state state;
  const weft_wire_field *field; /* the current one; NULL: not in the table */
  uint32_t wire_type;           /* of the current field, or of the numbers in a packed run */
  uint64_t value;               /* of the number being read ... */
  uint32_t bits;                /* ... so far */
  uint64_t run_end;             /* of the packed run; 0: none */
  uint64_t left;                /* bytes of text, payload or skipped stretch still to come */
  weft_str text;                /* being read */
  weft_wire_frame stack[WEFT_MAX_MESSAGE_DEPTH];
  uint32_t depth;
} weft_wire;

/* Starts reading a `message` into `object`, its struct. `size`: of the file, UINT64_MAX where
 * unknown. */
void weft_wire_start(weft_wire *wire, weft_arena *arena, const weft_wire_hooks *hooks,
                     const weft_wire_message *message, void *object, uint64_t size);
weft_status weft_wire_feed(weft_wire *wire, const uint8_t *bytes, size_t length, weft_error *error);
/* Leaves out the rest of what is being skipped: the next piece starts at wire->offset. */
weft_status weft_wire_jump(weft_wire *wire, weft_error *error);
/* Checks that the file may end here. */
weft_status weft_wire_finish(const weft_wire *wire, weft_error *error);

#endif
