/* encode_lines.c - the C side of wordpiece_test.py: encodes records of stdin to stdout.
 *
 *   encode_lines FILE [words|time] [option=value ...]
 *
 * A record of stdin is a length (u32) and that many bytes. Each row of output is a count (u32),
 * then as many ids, type ids and mask values (i32) and spans (two u32), then the decoded text
 * without and with special tokens, each with its length (u32). `words` writes the normalized words
 * instead: a count, then each with its length. `time` encodes everything several times and prints
 * MB/s.
 *
 * Options: pair=1 (two records make a row), special=0, max=N, batch=N, pad=1 (as the file says),
 * lower=0, strip=0|1, clean=0, chinese=0 (for vocab.txt), format=N. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/utf8.h"
#include "llm/tokenizer.h"
#include "llm/unicode.h"

typedef struct {
  uint8_t *data;
  size_t length;
} bytes;

typedef struct {
  size_t pair, special, max, batch, pad, lower, strip, clean, chinese, format;
} settings;

static void stop(const char *message) {
  fprintf(stderr, "encode_lines: %s\n", message);
  exit(1);
}

static bytes read_stream(FILE *file) {
  bytes all = {0};
  size_t capacity = 0, got = 1;
  while (got > 0) {
    if (all.length == capacity) {
      capacity = capacity == 0 ? 1 << 16 : capacity * 2;
      all.data = realloc(all.data, capacity);
      if (all.data == NULL) stop("out of memory");
    }
    got = fread(all.data + all.length, 1, capacity - all.length, file);
    all.length += got;
  }
  return all;
}

static bool next_record(const bytes *all, size_t *at, bytes *out) {
  uint32_t length;
  if (*at == all->length) return false;
  if (all->length - *at < sizeof length) stop("a record is cut short");
  memcpy(&length, all->data + *at, sizeof length);
  *at += sizeof length;
  if (all->length - *at < length) stop("a record is cut short");
  *out = (bytes){all->data + *at, length};
  *at += length;
  return true;
}

static void write_u32(uint32_t value) {
  fwrite(&value, sizeof value, 1, stdout);
}

/* ---- words ---------------------------------------------------------------------------------- */

typedef struct {
  uint8_t text[1 << 16]; /* of all words so far, each behind its length */
  size_t length, word;   /* where the current word's length stands */
  uint32_t count;
} word_list;

static void end_word(word_list *words) {
  uint32_t length = (uint32_t)(words->length - words->word - sizeof length);
  if (length == 0) return;
  memcpy(words->text + words->word, &length, sizeof length);
  words->word = words->length;
  words->length += sizeof length;
  words->count++;
}

static bool put_word(void *user, weft_char c) {
  word_list *words = user;
  bool alone = c.properties & WEFT_CHAR_PUNCTUATION;
  if (alone || (c.properties & WEFT_CHAR_SPACE)) end_word(words);
  if (c.properties & WEFT_CHAR_SPACE) return true;
  if (sizeof words->text - words->length < 8) stop("a line is too long for `words`");
  words->length += weft_utf8_encode(c.code, words->text + words->length);
  if (alone) end_word(words);
  return true;
}

static void write_words(weft_tokenizer *tokenizer, const bytes *input) {
  static word_list words;
  bytes line;
  for (size_t at = 0; next_record(input, &at, &line);) {
    weft_status status = WEFT_OK;
    words.length = sizeof(uint32_t);
    words.word = words.count = 0;
    weft_normalize(&tokenizer->normalizer, &tokenizer->heap, line.data, 0, line.length,
                   (weft_char_sink){put_word, &words}, &status);
    end_word(&words);
    write_u32(words.count);
    fwrite(words.text, 1, words.word, stdout);
  }
}

/* ---- ids ------------------------------------------------------------------------------------ */

static void write_decoded(const weft_tokenizer *tokenizer, const int32_t *ids, size_t count) {
  int64_t *wide = malloc((count + 1) * sizeof *wide);
  for (size_t i = 0; i < count; i++) wide[i] = ids[i];
  for (int skip = 1; skip >= 0; skip--) {
    size_t length;
    weft_error error;
    weft_tokenizer_decode(tokenizer, wide, count, skip, NULL, 0, &length, NULL);
    char *text = malloc(length + 1);
    if (weft_tokenizer_decode(tokenizer, wide, count, skip, text, length + 1, &length, &error))
      stop(error.message);
    write_u32((uint32_t)length);
    fwrite(text, 1, length, stdout);
    free(text);
  }
  free(wide);
}

static void encode_batch(const weft_tokenizer *tokenizer, const settings *set,
                         const weft_encode_input *inputs, size_t count) {
  weft_error error;
  weft_encode_options options = weft_encode_options_default();
  options.add_special_tokens = set->special;
  options.max_length = set->max;
  options.padding = set->pad ? WEFT_PAD_FILE : WEFT_PAD_LONGEST;
  weft_encoding out = {.dtype = WEFT_I32};
  if (weft_tokenizer_encode(tokenizer, inputs, count, &options, &out, &error)) stop(error.message);
  size_t total = out.length * count;
  out.capacity = total;
  int32_t *ids = out.ids = malloc(total * 4 + 1);
  int32_t *types = out.type_ids = malloc(total * 4 + 1), *mask = malloc(total * 4 + 1);
  out.attention_mask = mask;
  out.spans = malloc(total * sizeof *out.spans + 1);
  if (weft_tokenizer_encode(tokenizer, inputs, count, &options, &out, &error)) stop(error.message);
  for (size_t row = 0; row < count; row++) {
    size_t at = row * out.length;
    write_u32((uint32_t)out.length);
    fwrite(ids + at, 4, out.length, stdout);
    fwrite(types + at, 4, out.length, stdout);
    fwrite(mask + at, 4, out.length, stdout);
    fwrite(out.spans + at, sizeof *out.spans, out.length, stdout);
    write_decoded(tokenizer, ids + at, out.length);
  }
  free(ids);
  free(types);
  free(mask);
  free(out.spans);
}

static bool next_input(const bytes *input, size_t *at, bool pair, weft_encode_input *out) {
  bytes text, second = {0};
  if (!next_record(input, at, &text)) return false;
  if (pair && !next_record(input, at, &second)) stop("a pair is cut short");
  *out = (weft_encode_input){(const char *)text.data, text.length,
                             pair ? (const char *)second.data : NULL, second.length};
  return true;
}

static void write_ids(const weft_tokenizer *tokenizer, const settings *set, const bytes *input) {
  weft_encode_input *inputs = malloc(set->batch * sizeof *inputs);
  size_t count = 0, at = 0;
  while (next_input(input, &at, set->pair, &inputs[count]))
    if (++count == set->batch) {
      encode_batch(tokenizer, set, inputs, count);
      count = 0;
    }
  if (count > 0) encode_batch(tokenizer, set, inputs, count);
  free(inputs);
}

/* ---- time ----------------------------------------------------------------------------------- */

static double seconds(void) {
  struct timespec now;
  timespec_get(&now, TIME_UTC);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void time_all(const weft_tokenizer *tokenizer, const bytes *input) {
  enum { ROUNDS = 7 };
  double best = 1e9, total_bytes = 0;
  weft_encode_options options = weft_encode_options_default();
  options.max_length = WEFT_NO_TRUNCATION;
  weft_encoding out = {.dtype = WEFT_I64, .capacity = input->length + 8};
  out.ids = malloc(out.capacity * 8);
  size_t tokens = 0;
  for (int round = 0; round < ROUNDS; round++) {
    weft_encode_input line;
    weft_error error;
    double start = seconds();
    tokens = 0;
    total_bytes = 0;
    for (size_t at = 0; next_input(input, &at, false, &line);) {
      if (weft_tokenizer_encode(tokenizer, &line, 1, &options, &out, &error)) stop(error.message);
      tokens += out.length;
      total_bytes += (double)line.length;
    }
    double took = seconds() - start;
    if (took < best) best = took;
  }
  printf("%.1f MB/s, %.1f million tokens/s, %zu tokens\n", total_bytes / best * 1e-6,
         (double)tokens / best * 1e-6, tokens);
  free(out.ids);
}

/* ---- main ----------------------------------------------------------------------------------- */

static void set_option(settings *set, const char *text) {
  const struct {
    const char *name;
    size_t *to;
  } options[] = {{"pair", &set->pair},    {"special", &set->special}, {"max", &set->max},
                 {"batch", &set->batch},  {"pad", &set->pad},         {"lower", &set->lower},
                 {"strip", &set->strip},  {"clean", &set->clean},     {"chinese", &set->chinese},
                 {"format", &set->format}};
  const char *value = strchr(text, '=');
  for (size_t i = 0; value != NULL && i < sizeof options / sizeof *options; i++)
    if (strncmp(text, options[i].name, (size_t)(value - text)) == 0 &&
        options[i].name[value - text] == 0) {
      *options[i].to = strtoull(value + 1, NULL, 10);
      return;
    }
  stop("unknown option");
}

int main(int count, char **arguments) {
  enum { FOLLOWS = 2 };
  settings set = {.special = 1, .batch = 1, .lower = 1, .strip = FOLLOWS, .clean = 1, .chinese = 1};
  const char *mode = count > 2 && strchr(arguments[2], '=') == NULL ? arguments[2] : "ids";
  if (count < 2) stop("usage: encode_lines FILE [words|time] [option=value ...]");
  for (int i = strcmp(mode, "ids") == 0 ? 2 : 3; i < count; i++) set_option(&set, arguments[i]);
  FILE *file = fopen(arguments[1], "rb");
  if (file == NULL) stop("cannot open the tokenizer's file");
  bytes definition = read_stream(file), input = read_stream(stdin);
  fclose(file);

  weft_error error;
  weft_runtime *runtime;
  weft_tokenizer *tokenizer;
  weft_tokenizer_options options = {.format = (weft_tokenizer_format)set.format,
                                    .lowercase = set.lower,
                                    .strip_accents = set.strip == FOLLOWS ? -1 : (int)set.strip,
                                    .clean_text = set.clean,
                                    .split_chinese = set.chinese};
  if (weft_runtime_open(NULL, &runtime, &error)) stop(error.message);
  if (weft_tokenizer_open(runtime, definition.data, definition.length, &options, &tokenizer,
                          &error)) {
    fprintf(stderr, "%s: ", weft_status_name(error.status));
    stop(error.message);
  }
  free(definition.data);
  if (strcmp(mode, "words") == 0)
    write_words(tokenizer, &input);
  else if (strcmp(mode, "time") == 0)
    time_all(tokenizer, &input);
  else
    write_ids(tokenizer, &set, &input);
  weft_tokenizer_close(&tokenizer);
  weft_runtime_close(&runtime);
  free(input.data);
  return 0;
}
