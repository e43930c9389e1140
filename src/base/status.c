/* status.c - names of statuses and element types, and the making of error messages (text.c). */
#include "base/status.h"

#include "base/text.h"

const char *weft_status_name(weft_status status) {
  switch (status) {
  case WEFT_OK:
    return "ok";
  case WEFT_PENDING:
    return "pending";
  case WEFT_INVALID_ARGUMENT:
    return "invalid argument";
  case WEFT_INVALID_MODEL:
    return "invalid model";
  case WEFT_UNSUPPORTED:
    return "unsupported";
  case WEFT_OUT_OF_MEMORY:
    return "out of memory";
  case WEFT_LIMIT_EXCEEDED:
    return "limit exceeded";
  case WEFT_INVALID_DATA:
    return "invalid data";
  case WEFT_CANCELLED:
    return "cancelled";
  case WEFT_TIMED_OUT:
    return "timed out";
  case WEFT_IO_ERROR:
    return "input/output error";
  case WEFT_DEVICE_LOST:
    return "device lost";
  case WEFT_INTERNAL:
    return "internal error";
  }
  return "unknown status";
}

/* Indexed by weft_dtype; holes have no name. */
static const struct {
  const char *name;
  uint8_t size;
} dtypes[] = {
    [WEFT_F32] = {"f32", 4},       [WEFT_U8] = {"u8", 1},     [WEFT_I8] = {"i8", 1},
    [WEFT_U16] = {"u16", 2},       [WEFT_I16] = {"i16", 2},   [WEFT_I32] = {"i32", 4},
    [WEFT_I64] = {"i64", 8},       [WEFT_BOOL] = {"bool", 1}, [WEFT_F16] = {"f16", 2},
    [WEFT_STRING] = {"string", 0}, [WEFT_F64] = {"f64", 8},   [WEFT_U32] = {"u32", 4},
    [WEFT_U64] = {"u64", 8},       [WEFT_BF16] = {"bf16", 2},
};

static bool is_dtype(weft_dtype dtype) {
  return (size_t)dtype < sizeof dtypes / sizeof *dtypes && dtypes[dtype].name != NULL;
}

size_t weft_dtype_size(weft_dtype dtype) {
  return is_dtype(dtype) ? dtypes[dtype].size : 0;
}
const char *weft_dtype_name(weft_dtype dtype) {
  return is_dtype(dtype) ? dtypes[dtype].name : "?";
}

weft_status weft_fail(weft_error *error, weft_status status, const char *format, ...) {
  if (error == NULL) return status;
  error->status = status;
  weft_text text = {.buffer = error->message, .size = sizeof error->message};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
  return status;
}
