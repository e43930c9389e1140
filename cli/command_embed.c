/* command_embed.c - `weft embed`: texts -> vectors by a BERT-like encoder, or texts ranked by
 * meaning for questions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "model_file.h"
#include "npy.h"
#include "weft/weft_llm.h"

typedef struct embed_options {
  common_options common;
  const char *tokenizer, *texts, *output;
  option_list text, queries;
  uint64_t batch, top, max_length;
} embed_options;

/* Vectors of `width` floats, one per text, of length 1. */
typedef struct vectors {
  float *data;
  size_t count, width;
} vectors;

typedef struct embedder {
  const loaded_model *loaded;
  const embed_options *options;
  weft_tokenizer *tokenizer;
  double ms; /* in encode and run */
} embedder;

/* The last hidden state [1, tokens, width] of one batch -> mean over the tokens that the mask
 * keeps, scaled to length 1. */
static void pool(const float *hidden, const int64_t *mask, size_t tokens, size_t width,
                 float *out) {
  double norm = 0;
  memset(out, 0, width * sizeof *out);
  for (size_t t = 0; t < tokens; t++) {
    for (size_t i = 0; mask[t] && i < width; i++) out[i] += hidden[t * width + i];
  }
  for (size_t i = 0; i < width; i++) norm += (double)out[i] * out[i];
  for (size_t i = 0; i < width && norm > 0; i++) out[i] = (float)(out[i] / sqrt(norm));
}

/* The arrays that encode fills: ids, mask and types of [count, tokens]. */
typedef struct token_arrays {
  int64_t *ids, *mask, *types;
  size_t tokens;
} token_arrays;

static bool encode(const embedder *e, const char *const *texts, size_t count, token_arrays *out) {
  weft_error error;
  weft_encode_options options = weft_encode_options_default();
  weft_encode_input *inputs = calloc(count, sizeof *inputs);
  weft_encoding encoding = {.dtype = WEFT_I64};
  options.max_length = e->options->max_length;
  for (size_t i = 0; i < count && inputs; i++)
    inputs[i] = (weft_encode_input){texts[i], strlen(texts[i]), NULL, 0};
  bool ok = inputs && weft_tokenizer_encode(e->tokenizer, inputs, count, &options, &encoding,
                                            &error) == WEFT_OK;
  if (ok) {
    encoding.capacity = count * encoding.length;
    out->tokens = encoding.length;
    encoding.ids = out->ids = calloc(encoding.capacity + 1, sizeof *out->ids);
    encoding.attention_mask = out->mask = calloc(encoding.capacity + 1, sizeof *out->mask);
    encoding.type_ids = out->types = calloc(encoding.capacity + 1, sizeof *out->types);
    ok = weft_tokenizer_encode(e->tokenizer, inputs, count, &options, &encoding, &error) == WEFT_OK;
  }
  if (!ok && inputs) fail(&error);
  free(inputs);
  return ok;
}

static void *array_for(const token_arrays *arrays, const char *input) {
  if (strcmp(input, "input_ids") == 0) return arrays->ids;
  if (strcmp(input, "attention_mask") == 0) return arrays->mask;
  if (strcmp(input, "token_type_ids") == 0) return arrays->types;
  return NULL;
}

enum { INPUTS_MAX = 3 };

/* Binds what the model asks for. */
static bool bind(const embedder *e, const token_arrays *arrays, size_t count, weft_binding *inputs,
                 size_t *bound) {
  weft_error error;
  int64_t dims[] = {(int64_t)count, (int64_t)arrays->tokens};
  for (*bound = 0; *bound < weft_model_input_count(e->loaded->model); (*bound)++) {
    weft_value_info info;
    weft_model_input(e->loaded->model, *bound, &info);
    void *data = array_for(arrays, info.name);
    if (!data || *bound == INPUTS_MAX) {
      fprintf(stderr,
              "weft: input '%s': not that of a text encoder (input_ids, attention_mask, "
              "token_type_ids)\n",
              info.name);
      return false;
    }
    inputs[*bound].name = info.name;
    if (weft_tensor_wrap(e->loaded->runtime, WEFT_I64, dims, 2, data,
                         count * arrays->tokens * sizeof(int64_t), &inputs[*bound].tensor,
                         &error) != WEFT_OK) {
      fail(&error);
      return false;
    }
  }
  return true;
}

/* The output must be hidden states [count, tokens, width]; its vectors are added to `out`. */
static bool collect(const weft_tensor *hidden, const token_arrays *arrays, size_t count,
                    vectors *out) {
  const int64_t *dims = weft_tensor_dims(hidden);
  if (weft_tensor_dtype(hidden) != WEFT_F32 || weft_tensor_rank(hidden) != 3 ||
      dims[0] != (int64_t)count || dims[1] != (int64_t)arrays->tokens) {
    fprintf(stderr, "weft: the model's first output is not [texts, tokens, width] in f32\n");
    return false;
  }
  out->width = (size_t)dims[2];
  float *grown = realloc(out->data, (out->count + count) * out->width * sizeof *grown);
  if (!grown) return false;
  out->data = grown;
  const float *data = weft_tensor_data(hidden);
  for (size_t i = 0; i < count; i++) {
    pool(data + i * arrays->tokens * out->width, arrays->mask + i * arrays->tokens, arrays->tokens,
         out->width, out->data + (out->count + i) * out->width);
  }
  out->count += count;
  return true;
}

static bool embed_batch(embedder *e, const char *const *texts, size_t count, vectors *out) {
  token_arrays arrays = {0};
  weft_binding inputs[INPUTS_MAX + 1] = {0}, output = {0};
  weft_value_info info;
  weft_error error;
  size_t bound = 0;
  double start = now_ms();
  weft_model_output(e->loaded->model, 0, &info);
  output.name = info.name;
  bool ok = encode(e, texts, count, &arrays) && bind(e, &arrays, count, inputs, &bound);
  if (ok &&
      weft_session_run(e->loaded->session, NULL, inputs, bound, &output, 1, &error) != WEFT_OK) {
    fail(&error);
    ok = false;
  }
  ok = ok && collect(output.tensor, &arrays, count, out);
  e->ms += now_ms() - start;
  for (size_t i = 0; i <= INPUTS_MAX; i++) weft_tensor_close(&inputs[i].tensor);
  free(arrays.ids);
  free(arrays.mask);
  free(arrays.types);
  return ok;
}

static bool embed_texts(embedder *e, const option_list *texts, vectors *out) {
  size_t batch = e->options->batch ? e->options->batch : 1;
  for (size_t i = 0; i < texts->count; i += batch) {
    size_t count = texts->count - i < batch ? texts->count - i : batch;
    if (!embed_batch(e, texts->items + i, count, out)) return false;
  }
  return true;
}

/* ---- what is printed ------------------------------------------------------------------------ */

static void print_vectors(const vectors *v, bool json) {
  for (size_t i = 0; i < v->count; i++) {
    printf(json ? (i ? ",[" : "[[") : "");
    for (size_t k = 0; k < v->width; k++)
      printf(json && k ? ",%.7g" : json ? "%.7g" : "%.7g ", (double)v->data[i * v->width + k]);
    printf(json ? "]" : "\n");
  }
  if (json) printf(v->count ? "]" : "[]");
}

static double score(const vectors *texts, size_t text, const vectors *queries, size_t query) {
  double sum = 0;
  for (size_t k = 0; k < texts->width; k++) {
    sum += (double)texts->data[text * texts->width + k] *
           (double)queries->data[query * texts->width + k];
  }
  return sum;
}

/* The best text for the query that is not marked yet. */
static size_t best_text(const vectors *texts, const vectors *queries, size_t query,
                        const bool *marked) {
  size_t best = SIZE_MAX;
  for (size_t i = 0; i < texts->count; i++) {
    if (marked[i]) continue;
    if (best == SIZE_MAX || score(texts, i, queries, query) > score(texts, best, queries, query))
      best = i;
  }
  return best;
}

static void print_hit(size_t text, double value, const char *words, size_t rank, bool json) {
  if (!json) {
    printf("  %.4f  %.100s%s\n", value, words, strlen(words) > 100 ? "..." : "");
    return;
  }
  printf("%s{\"text\":%zu,\"score\":%.6f}", rank ? "," : "", text, value);
}

static bool print_ranking(const embed_options *options, const option_list *words,
                          const vectors *texts, const vectors *queries) {
  bool json = options->common.json, *marked = calloc(texts->count + 1, sizeof *marked);
  if (!marked) return false;
  for (size_t q = 0; q < queries->count; q++) {
    memset(marked, 0, texts->count * sizeof *marked);
    if (json) {
      printf("%s{\"query\":", q ? "," : "[");
      json_text(stdout, options->queries.items[q]);
      printf(",\"hits\":[");
    } else {
      printf("%s\n", options->queries.items[q]);
    }
    for (size_t rank = 0; rank < options->top && rank < texts->count; rank++) {
      size_t best = best_text(texts, queries, q, marked);
      marked[best] = true;
      print_hit(best, score(texts, best, queries, q), words->items[best], rank, json);
    }
    if (json) printf("]}");
  }
  if (json) printf("]");
  free(marked);
  return true;
}

static void print_results(const embed_options *options, const option_list *words, const embedder *e,
                          const vectors *texts, const vectors *queries) {
  double per_text =
      e->ms / (double)(texts->count + queries->count ? texts->count + queries->count : 1);
  if (options->common.json)
    printf("{\"ms_per_text\":%.3f,\"peak_memory_mib\":%.1f,\"%s\":", per_text, peak_memory_mib(),
           queries->count ? "queries" : "vectors");
  if (queries->count)
    print_ranking(options, words, texts, queries);
  else
    print_vectors(texts, options->common.json);
  if (options->common.json)
    printf("}\n");
  else
    fprintf(stderr, "%zu texts, %.2f ms per text, peak memory %.1f MiB\n",
            texts->count + queries->count, per_text, peak_memory_mib());
}

static bool save_vectors(const loaded_model *loaded, const char *path, const vectors *v) {
  int64_t dims[] = {(int64_t)v->count, (int64_t)v->width};
  weft_tensor *tensor;
  weft_error error;
  if (weft_tensor_wrap(loaded->runtime, WEFT_F32, dims, 2, v->data,
                       v->count * v->width * sizeof(float), &tensor, &error) != WEFT_OK) {
    fail(&error);
    return false;
  }
  bool ok = npy_write(path, tensor);
  weft_tensor_close(&tensor);
  return ok;
}

/* ---- the command ---------------------------------------------------------------------------- */

/* Adds the lines of a text in place; empty ones are left out. */
static bool split_lines(char *text, option_list *out) {
  for (char *line = text, *next; line; line = next) {
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    size_t length = strlen(line);
    if (length && line[length - 1] == '\r') line[length - 1] = 0;
    if (!*line) continue;
    const char **items = realloc(out->items, (out->count + 1) * sizeof *items);
    if (!items) return false;
    out->items = items;
    items[out->count++] = line;
  }
  return true;
}

static weft_tokenizer *open_tokenizer(const loaded_model *loaded, const char *path) {
  weft_error error;
  weft_tokenizer *tokenizer = NULL;
  size_t length;
  if (!path) {
    fprintf(stderr, "weft: --tokenizer is needed: a tokenizer.json or vocab.txt\n");
    return NULL;
  }
  char *bytes = read_file(path, &length);
  if (bytes &&
      weft_tokenizer_open(loaded->runtime, bytes, length, NULL, &tokenizer, &error) != WEFT_OK)
    fail(&error);
  free(bytes);
  return tokenizer;
}

static int embed(loaded_model *loaded, void *user) {
  embed_options *options = user;
  embedder e = {loaded, options, open_tokenizer(loaded, options->tokenizer), 0};
  vectors texts = {0}, queries = {0};
  size_t length;
  char *file = options->texts ? read_file(options->texts, &length) : NULL;
  bool ok = e.tokenizer && (file || !options->texts) &&
            (!file || split_lines(file, &options->text)) &&
            embed_texts(&e, &options->text, &texts) && embed_texts(&e, &options->queries, &queries);
  if (ok && options->output)
    ok = save_vectors(loaded, options->output, &texts);
  else if (ok)
    print_results(options, &options->text, &e, &texts, &queries);
  free(file);
  free(texts.data);
  free(queries.data);
  weft_tokenizer_close(&e.tokenizer);
  return ok ? EXIT_OK : EXIT_FAILED;
}

int command_embed(int argc, char **argv) {
  embed_options options = {.batch = 8, .top = 3};
  const option table[] = {
      {"tokenizer", "FILE", "tokenizer.json or vocab.txt of the model", OPTION_TEXT,
       &options.tokenizer},
      {"text", "TEXT", "a text", OPTION_LIST, &options.text},
      {"texts", "FILE", "more texts, one in a line", OPTION_TEXT, &options.texts},
      {"query", "TEXT", "rank the texts for this one instead of printing vectors", OPTION_LIST,
       &options.queries},
      {"top", "N", "texts to show for each query (default 3)", OPTION_NUMBER, &options.top},
      {"output", "FILE", "write the vectors to a .npy file", OPTION_TEXT, &options.output},
      {"batch", "N", "texts to run at once (default 8)", OPTION_NUMBER, &options.batch},
      {"max-length", "N", "cut texts at this many tokens (default: as the tokenizer's file says)",
       OPTION_NUMBER, &options.max_length},
      COMMON_OPTIONS(&options.common),
      {0},
  };
  const model_command command = {
      "embed MODEL --tokenizer FILE [OPTIONS]",
      "Embeds texts: the mean of the last hidden states, scaled to length 1.",
      table,
      &options.common,
      true,
      false,
      embed,
      &options};
  return with_model(&command, argc, argv);
}
