/* libFuzzer target: an ONNX file from a stranger. It is opened twice, from memory and in pieces,
 * with its external data fed, which must end alike; then a session is opened on one of the two
 * models, and run once on zeros.
 *
 *   fuzz_onnx -timeout=10 -max_len=8192 SCRATCH tests/fuzz/corpus/onnx */
#include <stdlib.h>

#include "base/memory.h"
#include "base/status.h"
#include "tests/attempt.h"
#include "tests/fuzz/proto_mutator.h"

enum { MODEL_MEMORY = 16 << 20 };

static const uint8_t external_data[64];

static weft_status resolve(void *user, const char *location, weft_source *out) {
  (void)user;
  (void)location;
  *out = (weft_source){.size = sizeof external_data, .bytes = external_data};
  return WEFT_OK;
}
static weft_status resolve_fed(void *user, const char *location, weft_source *out) {
  (void)user;
  (void)location;
  out->size = sizeof external_data;
  return WEFT_PENDING;
}

static const weft_model_options whole_options = {.resolve = resolve, .memory_limit = MODEL_MEMORY};
static const weft_model_options pieces_options = {.resolve = resolve_fed,
                                                  .memory_limit = MODEL_MEMORY};

static weft_status feed_pieces(weft_loader **loader, const uint8_t *bytes, size_t size,
                               weft_model **out, weft_error *error) {
  size_t piece = 1 + size % 97;
  for (size_t at = 0; at < size; at += piece) {
    size_t length = piece < size - at ? piece : size - at;
    WEFT_TRY(weft_loader_feed(*loader, bytes + at, length, error));
  }
  weft_status status;
  while ((status = weft_loader_finish(loader, out, error)) == WEFT_PENDING) {
    weft_wanted wanted;
    while (weft_loader_wanted(*loader, &wanted)) {
      size_t length = wanted.length < piece ? (size_t)wanted.length : piece;
      WEFT_TRY(weft_loader_feed_external(*loader, wanted.file, wanted.offset,
                                         external_data + wanted.offset, length, error));
    }
  }
  return status;
}

static weft_status open_pieces(weft_runtime *runtime, const uint8_t *bytes, size_t size,
                               weft_model **out, weft_error *error) {
  weft_loader *loader;
  *out = NULL;
  WEFT_TRY(weft_loader_open(runtime, size, &pieces_options, &loader, error));
  weft_status status = feed_pieces(&loader, bytes, size, out, error);
  weft_loader_close(&loader);
  return status;
}

/* Only memory may make a difference: borrowed weights count nowhere. */
static bool alike(weft_status a, weft_status b) {
  bool memory = a == WEFT_OUT_OF_MEMORY || b == WEFT_OUT_OF_MEMORY || a == WEFT_LIMIT_EXCEEDED ||
                b == WEFT_LIMIT_EXCEEDED;
  return a == b || memory;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  weft_runtime *runtime;
  weft_error error;
  if (weft_runtime_open(NULL, &runtime, &error) != WEFT_OK) return 0;
  uint64_t held = weft_runtime_memory(runtime).bytes;
  weft_source source = {.size = size, .bytes = bytes ? bytes : (const uint8_t *)""};
  weft_model *whole, *pieces;
  weft_status status = weft_model_open(runtime, &source, &whole_options, &whole, &error);
  if (!alike(status, open_pieces(runtime, source.bytes, size, &pieces, &error))) abort();
  weft_model *tried = size % 2 ? whole : pieces;
  if (tried && attempt(runtime, tried, &error) == WEFT_INTERNAL) abort();
  weft_model_close(&whole);
  weft_model_close(&pieces);
  if (weft_runtime_memory(runtime).bytes != held) abort();
  weft_runtime_close(&runtime);
  return 0;
}
