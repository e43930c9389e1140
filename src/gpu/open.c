/* open.c - the public interface to a GPU: chooses the driver, and says what was found. */
#include "base/runtime.h"
#include "base/text.h"
#include "gpu/tuner.h"

static void add_name(weft_text *text, const char *separator, const char *name) {
  if (*name) weft_text_add(text, "%s%s", text->length ? separator : "", name);
}

static void add_features(weft_text *text, const weft_gpu_facts *facts) {
  if (facts->f16) weft_text_add(text, ", f16");
  if (facts->subgroups)
    weft_text_add(text, ", subgroups of %u to %u", facts->subgroup_min, facts->subgroup_max);
  if (facts->subgroup_size) weft_text_add(text, " as wanted");
  if (facts->matrix_count) weft_text_add(text, ", subgroup matrices");
  if (facts->dot8) weft_text_add(text, ", packed dot products");
  if (facts->immediate_bytes)
    weft_text_add(text, ", %u bytes of immediates", facts->immediate_bytes);
  if (facts->timestamps) weft_text_add(text, ", timestamps");
  if (facts->no_swizzle) weft_text_add(text, ", nothing swizzled");
  if (facts->no_linear) weft_text_add(text, ", all swizzled");
  if (facts->no_tiles) weft_text_add(text, ", no tiles");
}

void weft_gpu_describe(weft_gpu *gpu) {
  const weft_gpu_facts *facts = gpu->facts;
  weft_text text = {.buffer = gpu->description, .size = sizeof gpu->description};
  add_name(&text, " ", facts->vendor);
  add_name(&text, " ", facts->architecture);
  add_name(&text, " ", facts->device);
  add_name(&text, ", ", facts->description);
  if (facts->is_software) weft_text_add(&text, " (software)");
  add_features(&text, facts);
}

weft_status weft_gpu_open(weft_runtime *runtime, const weft_gpu_options *options, weft_gpu **out,
                          weft_error *error) {
  *out = NULL;
  const char *adapter = options ? options->adapter : NULL;
  weft_gpu_driver *driver;
  if (adapter && strcmp(adapter, "null") == 0)
    WEFT_TRY(weft_gpu_null_open(&runtime->heap, NULL, NULL, &driver, error));
  else
    WEFT_TRY(weft_gpu_native_open(&runtime->heap, adapter, &driver, error));
  return weft_gpu_open_driver(&runtime->heap, driver, out, error);
}

void weft_gpu_close(weft_gpu **gpu) {
  if (gpu) weft_gpu_release(gpu);
}

void weft_gpu_write_tuning(const weft_gpu *gpu, weft_write_fn write, void *user) {
  weft_text text = {.write = write, .user = user};
  weft_tuner_write(gpu, &text);
}

weft_status weft_gpu_read_tuning(weft_gpu *gpu, const char *text, size_t length,
                                 weft_error *error) {
  return weft_tuner_read(gpu, text, length, error);
}

const char *weft_gpu_description(const weft_gpu *gpu) {
  return gpu->description;
}
