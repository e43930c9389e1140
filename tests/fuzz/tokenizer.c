/* tokenizer.c - fuzz target: the first bytes choose the settings and where the file ends that is
 * opened; what is behind is encoded, alone and as a pair of itself, and decoded. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft_llm.h"

enum { HEAD = 4, CAPACITY = 1 << 15 };

static int64_t ids[CAPACITY];
static weft_token_span spans[CAPACITY];

/* What must hold for any row of any text. */
static void check_row(const weft_tokenizer *tokenizer, const weft_encoding *out, size_t bytes,
                      size_t specials) {
  weft_tokenizer_info info;
  weft_tokenizer_describe(tokenizer, &info);
  if (out->length > bytes + specials && out->length > info.pad_length + info.pad_multiple) abort();
  for (size_t i = 0; i < out->length; i++)
    if (spans[i].start > spans[i].end || spans[i].end > bytes) abort();
}

static void encode(const weft_tokenizer *tokenizer, const uint8_t *text, size_t length,
                   uint8_t choice) {
  weft_encode_options options = {.add_special_tokens = choice & 1,
                                 .max_length = choice & 2 ? choice : WEFT_NO_TRUNCATION,
                                 .padding = choice & 4 ? WEFT_PAD_FILE : WEFT_PAD_LONGEST};
  if (choice & 8) options.max_length = 0;
  const char *bytes = (const char *)text;
  weft_encode_input inputs[2] = {{bytes, length, choice & 16 ? bytes : NULL, length},
                                 {bytes, length / 2, NULL, 0}};
  weft_encoding out = {.dtype = WEFT_I64, .capacity = CAPACITY, .ids = ids, .spans = spans};
  if (weft_tokenizer_encode(tokenizer, inputs, 1 + (choice >> 5 & 1), &options, &out, NULL)) return;
  check_row(tokenizer, &out, 2 * length, 64);
  static char decoded[1 << 16];
  size_t decoded_length;
  weft_tokenizer_decode(tokenizer, ids, out.length, choice & 64, decoded, sizeof decoded,
                        &decoded_length, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < HEAD) return 0;
  size_t length = data[0] | (size_t)data[1] << 8;
  if (length > size - HEAD) length = size - HEAD;
  weft_tokenizer_options options = {.format = data[2] & 3,
                                    .lowercase = data[2] & 4,
                                    .strip_accents = (data[2] >> 3 & 3) - 1,
                                    .clean_text = data[2] & 32,
                                    .split_chinese = data[2] & 64};
  weft_runtime *runtime;
  weft_tokenizer *tokenizer;
  if (weft_runtime_open(NULL, &runtime, NULL)) return 0;
  uint64_t before = weft_runtime_memory(runtime).bytes;
  uint8_t *file = malloc(length + 1); /* a block of its own, freed before the tokenizer is used */
  memcpy(file, data + HEAD, length);
  weft_status status = weft_tokenizer_open(runtime, file, length, &options, &tokenizer, NULL);
  free(file);
  if (status == WEFT_OK) encode(tokenizer, data + HEAD + length, size - HEAD - length, data[3]);
  weft_tokenizer_close(&tokenizer);
  if (weft_runtime_memory(runtime).bytes != before) abort();
  weft_runtime_close(&runtime);
  return 0;
}
