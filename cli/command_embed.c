/* command_embed.c - `weft embed`: texts -> vectors by a BERT-like encoder, or texts ranked by
 * meaning for questions. What is printed: embed_print.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "embed.h"
#include "model_file.h"
#include "npy.h"
#include "weft/weft_llm.h"

typedef struct embedder {
  const loaded_model *loaded;
  const embed_options *options;
  weft_tokenizer *tokenizer;
  const char *output; /* the model's first */
} embedder;

/* ---- tokens --------------------------------------------------------------------------------- */

/* What encode fills: ids, mask and types of [count, tokens]. */
typedef struct token_arrays {
  int64_t *ids, *mask, *types;
  size_t count, tokens;
} token_arrays;

static bool encode(const embedder *e, const weft_encode_input *texts, size_t count,
                   token_arrays *out) {
  weft_error error = {.message = "out of memory"};
  weft_encode_options options = weft_encode_options_default();
  weft_encoding encoding = {.dtype = WEFT_I64};
  options.max_length = e->options->max_length;
  bool ok = weft_tokenizer_encode(e->tokenizer, texts, count, &options, &encoding, &error) == 0;
  if (ok) {
    size_t size = encoding.capacity = count * encoding.length;
    *out = (token_arrays){.count = count, .tokens = encoding.length};
    encoding.ids = out->ids = calloc(size + 1, sizeof *out->ids);
    encoding.attention_mask = out->mask = calloc(size + 1, sizeof *out->mask);
    encoding.type_ids = out->types = calloc(size + 1, sizeof *out->types);
    ok = out->ids && out->mask && out->types &&
         weft_tokenizer_encode(e->tokenizer, texts, count, &options, &encoding, &error) == 0;
  }
  if (!ok) complain("%s", error.message);
  return ok;
}

static void token_arrays_free(token_arrays *arrays) {
  free(arrays->ids);
  free(arrays->mask);
  free(arrays->types);
}

/* ---- a run ---------------------------------------------------------------------------------- */

enum { INPUTS_MAX = 3 };

/* The index among ids, mask and types of the model's input; INPUTS_MAX if it is none of them. */
static size_t find_input(const char *name) {
  static const char *const names[INPUTS_MAX] = {"input_ids", "attention_mask", "token_type_ids"};
  size_t i = 0;
  while (i < INPUTS_MAX && strcmp(names[i], name) != 0) i++;
  return i;
}

/* Binds what the model asks for. */
static bool bind(const embedder *e, const token_arrays *arrays, weft_binding *inputs,
                 size_t *bound) {
  weft_error error;
  weft_value_info info;
  int64_t dims[] = {(int64_t)arrays->count, (int64_t)arrays->tokens};
  int64_t *data[INPUTS_MAX] = {arrays->ids, arrays->mask, arrays->types};
  size_t count = weft_model_input_count(e->loaded->model);
  for (*bound = 0; *bound < count; (*bound)++) {
    weft_model_input(e->loaded->model, *bound, &info);
    size_t found = find_input(info.name);
    if (found == INPUTS_MAX || *bound == INPUTS_MAX) {
      complain("input '%s' is not that of a text encoder (input_ids, attention_mask, "
               "token_type_ids)",
               info.name);
      return false;
    }
    inputs[*bound].name = info.name;
    if (weft_tensor_wrap(e->loaded->runtime, WEFT_I64, dims, 2, data[found],
                         arrays->count * arrays->tokens * sizeof(int64_t), &inputs[*bound].tensor,
                         &error) != WEFT_OK) {
      complain("%s", error.message);
      return false;
    }
  }
  return true;
}

/* Hidden states [tokens, width] -> their sum over the tokens that the mask keeps. */
static void sum_tokens(const float *hidden, const int64_t *mask, size_t tokens, size_t width,
                       float *out) {
  memset(out, 0, width * sizeof *out);
  for (size_t t = 0; t < tokens; t++) {
    for (size_t i = 0; mask[t] && i < width; i++) out[i] += hidden[t * width + i];
  }
}

/* To length 1, so that a sum is as good as a mean. */
static void normalize(float *vector, size_t width) {
  double sum = 0;
  for (size_t i = 0; i < width; i++) sum += (double)vector[i] * vector[i];
  for (size_t i = 0; i < width && sum > 0; i++) vector[i] = (float)(vector[i] / sqrt(sum));
}

/* Width of the vectors in an output [count, tokens, width] or, pooled by the model, [count, width];
 * 0 for any other. */
static size_t width_of(const weft_tensor *output, const token_arrays *arrays) {
  const int64_t *dims = weft_tensor_dims(output);
  size_t rank = weft_tensor_rank(output);
  bool ok = weft_tensor_dtype(output) == WEFT_F32 && (rank == 2 || rank == 3) &&
            dims[0] == (int64_t)arrays->count && (rank == 2 || dims[1] == (int64_t)arrays->tokens);
  return ok ? (size_t)dims[rank - 1] : 0;
}

/* Row i of the output becomes vector order[i]. */
static bool collect(const embedder *e, const weft_tensor *output, const token_arrays *arrays,
                    const size_t *order, vectors *out) {
  size_t width = width_of(output, arrays), tokens = arrays->tokens;
  if (width && out->width && width != out->width) {
    complain("the model's vectors are of %zu numbers for some texts and %zu for others", out->width,
             width);
    return false;
  }
  if (width == 0) {
    complain("the model's output '%s' is not [texts, tokens, width] or [texts, width] in f32",
             e->output);
    return false;
  }
  out->width = width;
  if (!out->data) out->data = calloc(out->count * width, sizeof *out->data);
  if (!out->data) {
    complain("out of memory");
    return false;
  }
  const float *data = weft_tensor_data(output);
  for (size_t i = 0; i < arrays->count; i++) {
    float *vector = out->data + order[i] * width;
    if (weft_tensor_rank(output) == 3)
      sum_tokens(data + i * tokens * width, arrays->mask + i * tokens, tokens, width, vector);
    else
      memcpy(vector, data + i * width, width * sizeof *vector);
    normalize(vector, width);
  }
  return true;
}

static bool embed_batch(const embedder *e, const weft_encode_input *texts, const size_t *order,
                        size_t count, vectors *out) {
  token_arrays arrays = {0};
  weft_binding inputs[INPUTS_MAX] = {0}, output = {.name = e->output};
  size_t bound = 0;
  bool ok = encode(e, texts, count, &arrays) && bind(e, &arrays, inputs, &bound) &&
            session_run(e->loaded, 0, inputs, bound, &output, 1) &&
            collect(e, output.tensor, &arrays, order, out);
  for (size_t i = 0; i < INPUTS_MAX; i++) weft_tensor_close(&inputs[i].tensor);
  token_arrays_free(&arrays);
  return ok;
}

/* ---- all texts ------------------------------------------------------------------------------ */

/* A text and its place. */
typedef struct place {
  weft_encode_input text;
  size_t index;
} place;

/* Longest first; equal ones as they were given. */
static int by_length(const void *a, const void *b) {
  const place *x = a, *y = b;
  if (x->text.length != y->text.length) return x->text.length < y->text.length ? 1 : -1;
  return (x->index > y->index) - (x->index < y->index);
}

/* Batches of about equal length need little padding. Bytes are a good enough measure of tokens. */
static bool embed_texts(const embedder *e, const option_list *texts, vectors *out) {
  enum { BATCH_MAX = 1024 };
  size_t batch = e->options->batch < BATCH_MAX ? e->options->batch : BATCH_MAX;
  weft_encode_input rows[BATCH_MAX];
  size_t order[BATCH_MAX];
  place *places = calloc(texts->count + 1, sizeof *places);
  bool ok = places != NULL;
  out->count = texts->count;
  for (size_t i = 0; i < texts->count && ok; i++) {
    places[i].text = (weft_encode_input){texts->items[i], strlen(texts->items[i]), NULL, 0};
    places[i].index = i;
  }
  if (ok) qsort(places, texts->count, sizeof *places, by_length);
  for (size_t at = 0, count; at < texts->count && ok; at += count) {
    count = texts->count - at < batch ? texts->count - at : batch;
    for (size_t i = 0; i < count; i++) {
      rows[i] = places[at + i].text;
      order[i] = places[at + i].index;
    }
    ok = embed_batch(e, rows, order, count, out);
    if (ok) progress_show("embedding", at + count, texts->count);
  }
  free(places);
  return ok;
}

/* Adds the lines of a text in place; empty ones are left out. */
static bool split_lines(char *text, option_list *out) {
  for (char *line = text, *next; line; line = next) {
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    size_t length = strlen(line);
    if (length && line[length - 1] == '\r') line[length - 1] = 0;
    if (*line && !option_list_add(out, line)) return false;
  }
  return true;
}

static weft_tokenizer *open_tokenizer(const loaded_model *loaded, const char *path) {
  weft_error error;
  weft_tokenizer *tokenizer = NULL;
  size_t length;
  char *bytes = read_file(path, &length);
  if (bytes &&
      weft_tokenizer_open(loaded->runtime, bytes, length, NULL, &tokenizer, &error) != WEFT_OK)
    complain("%s: %s", path, error.message);
  free(bytes);
  return tokenizer;
}

/* ---- the command ---------------------------------------------------------------------------- */

static bool save_vectors(const loaded_model *loaded, const char *path, const vectors *v) {
  int64_t dims[] = {(int64_t)v->count, (int64_t)v->width};
  weft_tensor *tensor;
  weft_error error;
  if (weft_tensor_wrap(loaded->runtime, WEFT_F32, dims, 2, v->data,
                       v->count * v->width * sizeof(float), &tensor, &error) != WEFT_OK) {
    complain("%s", error.message);
    return false;
  }
  bool ok = npy_write(path, tensor);
  weft_tensor_close(&tensor);
  return ok;
}

static bool embed(loaded_model *loaded, void *user) {
  embed_options *options = user;
  weft_value_info first = {0};
  weft_model_output(loaded->model, 0, &first);
  embedder e = {loaded, options, open_tokenizer(loaded, options->tokenizer), first.name};
  vectors texts = {0}, queries = {0};
  size_t length;
  char *file = options->texts ? read_file(options->texts, &length) : NULL;
  bool ok =
      e.tokenizer && (file || !options->texts) && (!file || split_lines(file, &options->text));
  if (ok && options->text.count == 0) {
    complain("%s: there is no text in it", options->texts);
    ok = false;
  }
  double start = now_ms();
  ok = ok && embed_texts(&e, &options->text, &texts);
  queries.width = texts.width; /* collect() sees to it that theirs is the same */
  ok = ok && embed_texts(&e, &options->queries, &queries);
  double ms = (now_ms() - start) / (double)(options->text.count + options->queries.count + !ok);
  ok = ok && (!options->output || save_vectors(loaded, options->output, &texts)) &&
       embed_print(options, &texts, &queries, ms);
  free(file);
  free(texts.data);
  free(queries.data);
  weft_tokenizer_close(&e.tokenizer);
  return ok;
}

static bool check(const void *user) {
  const embed_options *options = user;
  if (!options->tokenizer) complain("which tokenizer? --tokenizer FILE");
  if (!options->texts && options->text.count == 0)
    complain("which texts? --text TEXT, --texts FILE");
  return options->tokenizer && (options->texts || options->text.count > 0);
}

int command_embed(int argc, char **argv) {
  embed_options options = {.batch = 8, .top = 3};
  const option table[] = {
      {"tokenizer", "FILE", "tokenizer.json or vocab.txt of the model", OPTION_TEXT,
       &options.tokenizer},
      {"text", "TEXT", "a text", OPTION_LIST, &options.text},
      {"texts", "FILE", "more texts, one in a line; empty lines do not count", OPTION_TEXT,
       &options.texts},
      {"query", "TEXT", "rank the texts for this one instead of printing vectors", OPTION_LIST,
       &options.queries},
      {"top", "N", "texts to show for each query (default 3)", OPTION_COUNT, &options.top},
      {"output", "FILE", "write the vectors of the texts to a .npy file", OPTION_TEXT,
       &options.output},
      {"batch", "N", "texts to run at once (default 8, at most 1024)", OPTION_COUNT,
       &options.batch},
      {"max-length", "N", "cut texts at this many tokens (default: as the tokenizer's file says)",
       OPTION_COUNT, &options.max_length},
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {
      .name = "embed",
      .usage = "MODEL --tokenizer FILE [OPTIONS]",
      .help =
          "Turns texts into vectors of length 1: the mean of the model's first output over the\n"
          "tokens, or that output itself where the model pools.",
      .examples =
          "  weft embed minilm.onnx --tokenizer tokenizer.json --texts lines.txt --output v.npy\n"
          "  weft embed minilm.onnx --tokenizer vocab.txt --texts lines.txt --query \"what is "
          "it?\"\n"
          "  weft embed minilm.onnx --tokenizer tokenizer.json --text \"a text\" --json\n",
      .table = table,
      .common = &options.common,
      .check = check,
      .session = true,
      .work = embed,
      .options = &options,
  };
  return with_model(&command, argc, argv);
}
