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

/* The bits of 1. */
static uint64_t one_of(weft_dtype dtype) {
  return dtype == WEFT_F16 ? 0x3c00 : dtype == WEFT_BF16 ? 0x3f80 : 1;
}

/* f32 and f64 in [-1, 1), other types 0 or 1: valid as ids and masks of any model. */
static void fill_random(weft_tensor *tensor, uint64_t *seed) {
  weft_dtype dtype = weft_tensor_dtype(tensor);
  size_t size = weft_dtype_size(dtype), count = weft_tensor_bytes(tensor) / size;
  char *data = weft_tensor_data(tensor);
  for (size_t i = 0; i < count; i++) {
    uint64_t bits = next_random(seed) >> 40;
    if (dtype == WEFT_F32) {
      ((float *)(void *)data)[i] = (float)bits / (float)(1 << 23) - 1;
    } else if (dtype == WEFT_F64) {
      ((double *)(void *)data)[i] = (double)bits / (1 << 23) - 1;
    } else {
      uint64_t value = bits & 1 ? one_of(dtype) : 0;
      memcpy(data + i * size, &value, size); /* little-endian */
    }
  }
}

/* Reads "1,128,...", which options.c has checked. */
static bool read_dims(const char *text, int64_t *dims, size_t *rank) {
  for (*rank = 0; *text; text += *text == ',') {
    char *end;
    if (*rank == WEFT_RANK_MAX) return false;
    dims[(*rank)++] = strtoll(text, &end, 10);
    text = end;
  }
  return true;
}

/* An input's extents from --shape, or its declaration and --dim. */
static bool input_dims(const weft_value_info *info, const input_options *options, int64_t *dims,
                       size_t *rank) {
  const char *shape = option_list_find(&options->shapes, info->name);
  if (shape && read_dims(shape, dims, rank)) return true;
  if (shape || info->rank < 0) {
    complain(shape ? "--shape: input '%s' has more than %d dimensions"
                   : "input '%s' has no declared shape: give one by --shape (of at most %d "
                     "dimensions)",
             info->name, WEFT_RANK_MAX);
    return false;
  }
  *rank = (size_t)info->rank;
  for (size_t i = 0; i < *rank; i++) {
    const char *name = info->dim_names[i],
               *extent = name ? option_list_find(&options->dims, name) : NULL;
    dims[i] = info->dims[i] >= 0 ? info->dims[i] : extent ? strtoll(extent, NULL, 10) : 1;
  }
  return true;
}

static weft_tensor *random_input(const loaded_model *loaded, const weft_value_info *info,
                                 input_options *options) {
  int64_t dims[WEFT_RANK_MAX];
  size_t rank;
  weft_tensor *tensor;
  weft_error error;
  if (!input_dims(info, options, dims, &rank)) return NULL;
  if (weft_tensor_open(loaded->runtime, info->dtype, dims, rank, &tensor, &error) != WEFT_OK) {
    complain("input '%s': %s", info->name, error.message);
    return NULL;
  }
  fill_random(tensor, &options->seed);
  return tensor;
}

static weft_tensor *make_input(const loaded_model *loaded, const weft_value_info *info,
                               input_options *options, npz_file *archive) {
  const char *path = option_list_find(&options->files, info->name);
  if (path) return npy_read(loaded->runtime, path);
  if (archive && !option_list_find(&options->shapes, info->name))
    return npz_read(archive, loaded->runtime, info->name);
  return random_input(loaded, info, options);
}

/* ---- names that options may have ------------------------------------------------------------ */

static const char *input_name(const void *model, size_t index) {
  weft_value_info info;
  return weft_model_input(model, index, &info) == WEFT_OK ? info.name : NULL;
}

static const char *output_name(const void *model, size_t index) {
  weft_value_info info;
  return weft_model_output(model, index, &info) == WEFT_OK ? info.name : NULL;
}

/* The symbolic dimension at index % WEFT_RANK_MAX of an input. */
static const char *place_name(const weft_model *model, size_t index) {
  weft_value_info info;
  size_t axis = index % WEFT_RANK_MAX;
  if (weft_model_input(model, index / WEFT_RANK_MAX, &info) != WEFT_OK) return NULL;
  return (int32_t)axis < info.rank && info.dim_names[axis] ? info.dim_names[axis] : "";
}

/* The same; a name that an earlier place has is "". */
static const char *dim_name(const void *model, size_t index) {
  const char *name = place_name(model, index);
  for (size_t i = 0; name && *name && i < index; i++) {
    if (strcmp(place_name(model, i), name) == 0) return "";
  }
  return name;
}

static bool check_names(const char *what, const option_list *pairs, name_at *names,
                        const weft_model *model) {
  for (size_t i = 0; i < pairs->count; i++) {
    if (!check_name(what, pairs->items[i], names, model)) return false;
  }
  return true;
}

bool check_output_names(const weft_model *model, const option_list *pairs) {
  return check_names("output", pairs, output_name, model);
}

static bool check_input_names(const weft_model *model, const input_options *options) {
  return check_names("input", &options->files, input_name, model) &&
         check_names("input", &options->shapes, input_name, model) &&
         check_names("dimension", &options->dims, dim_name, model);
}

/* ---- bindings ------------------------------------------------------------------------------- */

bool bindings_open(const loaded_model *loaded, input_options *options, bindings *out) {
  if (!check_input_names(loaded->model, options)) return false;
  out->input_count = weft_model_input_count(loaded->model);
  out->output_count = weft_model_output_count(loaded->model);
  out->inputs = calloc(out->input_count + 1, sizeof *out->inputs);
  out->outputs = calloc(out->output_count + 1, sizeof *out->outputs);
  if (!options->seed) options->seed = 1; /* from 0 the generator does not move */
  npz_file *archive = options->archive ? npz_open(options->archive) : NULL;
  bool ok = out->inputs && out->outputs && (archive || !options->archive);
  weft_value_info info;
  for (size_t i = 0; i < out->input_count && ok; i++) {
    weft_model_input(loaded->model, i, &info);
    out->inputs[i].name = info.name;
    out->inputs[i].tensor = make_input(loaded, &info, options, archive);
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
  for (size_t i = 0; i < b->output_count; i++) b->outputs[i].tensor = NULL;
  return session_run(loaded, time_limit_ms, b->inputs, b->input_count, b->outputs, b->output_count);
}
