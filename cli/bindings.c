/* bindings.c - see bindings.h. */
#include "bindings.h"

#include <stdlib.h>
#include <string.h>

#include "npy.h"

/* xorshift64* (Vigna 2016). */
static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed >> 12;
  *seed ^= *seed << 25;
  *seed ^= *seed >> 27;
  return *seed * 0x2545F4914F6CDD1Dull;
}

/* Floats in [-1, 1), other types 0 or 1: valid as ids and masks of any model. */
static void fill_random(weft_tensor *tensor, uint64_t *seed) {
  size_t size = weft_dtype_size(weft_tensor_dtype(tensor)),
         count = weft_tensor_bytes(tensor) / size;
  char *data = weft_tensor_data(tensor);
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = next_random(seed) >> 40;
    if (weft_tensor_dtype(tensor) == WEFT_F32) {
      ((float *)(void *)data)[i] = (float)bits / (float)(1 << 23) - 1;
    } else if (weft_tensor_dtype(tensor) == WEFT_F64) {
      ((double *)(void *)data)[i] = (double)bits / (1 << 23) - 1;
    } else {
      data[i * size] = (char)(bits & 1);
    }
  }
}

/* Reads "1,128,..." */
static bool read_dims(const char *text, int64_t *dims, size_t *rank) {
  *rank = 0;
  while (*text) {
    char *end;
    long long extent = strtoll(text, &end, 10);
    if (end == text || extent < 0 || *rank == WEFT_RANK_MAX || (*end && *end != ',')) return false;
    dims[(*rank)++] = extent;
    text = *end ? end + 1 : end;
  }
  return true;
}

/* The extent given for a symbolic dimension, 1 by default. */
static int64_t dim_of(const char *name, const option_list *dims) {
  for (size_t i = dims->count; name && i-- > 0;) {
    const char *value = option_value_of(dims->items[i], name);
    if (value) return strtoll(value, NULL, 10);
  }
  return 1;
}

/* An input's extents from --shape, or its declaration and --dim. */
static bool input_dims(const weft_value_info *info, const common_options *common,
                       const option_list *shapes, int64_t *dims, size_t *rank) {
  for (size_t i = 0; i < shapes->count; i++) {
    const char *value = option_value_of(shapes->items[i], info->name);
    if (!value) continue;
    if (read_dims(value, dims, rank)) return true;
    fprintf(stderr, "weft: --shape %s: extents separated by commas are needed\n", shapes->items[i]);
    return false;
  }
  if (info->rank < 0) {
    fprintf(stderr, "weft: the rank of input '%s' is not known: give --shape %s=...\n", info->name,
            info->name);
    return false;
  }
  *rank = (size_t)info->rank;
  for (size_t i = 0; i < *rank; i++) {
    dims[i] = info->dims[i] >= 0 ? info->dims[i] : dim_of(info->dim_names[i], &common->dims);
  }
  return true;
}

static weft_tensor *random_input(const loaded_model *loaded, const weft_value_info *info,
                                 const common_options *common, input_options *options) {
  int64_t dims[WEFT_RANK_MAX];
  size_t rank;
  weft_tensor *tensor;
  weft_error error;
  if (!input_dims(info, common, &options->shapes, dims, &rank)) return NULL;
  if (weft_tensor_open(loaded->runtime, info->dtype, dims, rank, &tensor, &error) != WEFT_OK) {
    fprintf(stderr, "weft: input '%s': %s\n", info->name, error.message);
    return NULL;
  }
  fill_random(tensor, &options->seed);
  return tensor;
}

/* From --input, from --inputs, or random. */
static weft_tensor *make_input(const loaded_model *loaded, const weft_value_info *info,
                               const common_options *common, input_options *options,
                               npz_file *archive) {
  for (size_t i = 0; i < options->files.count; i++) {
    const char *path = option_value_of(options->files.items[i], info->name);
    if (path) return npy_read(loaded->runtime, path);
  }
  bool failed = false;
  weft_tensor *tensor = archive ? npz_read(archive, loaded->runtime, info->name, &failed) : NULL;
  return tensor || failed ? tensor : random_input(loaded, info, common, options);
}

bool bindings_open(const loaded_model *loaded, const common_options *common, input_options *options,
                   bindings *out) {
  out->input_count = weft_model_input_count(loaded->model);
  out->output_count = weft_model_output_count(loaded->model);
  out->inputs = calloc(out->input_count + 1, sizeof *out->inputs);
  out->outputs = calloc(out->output_count + 1, sizeof *out->outputs);
  if (!options->seed) options->seed = 1;
  npz_file *archive = options->archive ? npz_open(options->archive) : NULL;
  bool ok = out->inputs && out->outputs && (archive || !options->archive);
  weft_value_info info;
  for (size_t i = 0; i < out->input_count && ok; i++) {
    weft_model_input(loaded->model, i, &info);
    out->inputs[i].name = info.name;
    out->inputs[i].tensor = make_input(loaded, &info, common, options, archive);
    ok = out->inputs[i].tensor != NULL;
  }
  for (size_t i = 0; i < out->output_count && ok; i++) {
    weft_model_output(loaded->model, i, &info);
    out->outputs[i].name = info.name;
  }
  npz_close(archive);
  return ok;
}

void bindings_close(bindings *b) {
  for (size_t i = 0; b->inputs && i < b->input_count; i++) weft_tensor_close(&b->inputs[i].tensor);
  free(b->inputs);
  free(b->outputs);
}

bool bindings_run(const loaded_model *loaded, bindings *b, uint64_t time_limit_ms) {
  weft_error error;
  weft_run_options options = {.time_limit_ns = time_limit_ms * 1000000};
  for (size_t i = 0; i < b->output_count; i++) b->outputs[i].tensor = NULL;
  weft_status status = weft_session_run(loaded->session, &options, b->inputs, b->input_count,
                                        b->outputs, b->output_count, &error);
  if (status != WEFT_OK) fail(&error);
  return status == WEFT_OK;
}
