/* exports.c - the wasm module's face to JavaScript: the public API (weft.h) flattened to calls with
 * numbers. web/src/core.ts is the other side, and the only one.
 *
 * Handles are pointers. A call that fails answers 0 (handles) or a negative weft_status, and leaves
 * its message in the context, where web_error finds it. Strings come as pointers to UTF-8 with a
 * final NUL. Sizes of files are doubles: exact to 2^53, and free of BigInts. */
#include "base/memory.h"
#include "base/text.h"
#include "gpu/commands.h"
#include "gpu/internal.h"
#include "run/tensor.h"
#include "wasm/context.h"
#include "weft/weft_llm.h"

#define IMPORT(name) __attribute__((import_module("weft"), import_name(#name)))

/* ---- imports ------------------------------------------------------------------------------- */

/* Copies bytes of a source that JavaScript holds into memory; 0 when it cannot. */
IMPORT(read) int web_import_read(uint32_t source, double offset, size_t length, void *destination);
/* The source (its number, and its size in *size) for a location of external data; -1: unknown; FED:
 * JavaScript will feed its bytes. */
enum { FED = -2 };
IMPORT(resolve) int32_t web_import_resolve(const char *location, size_t length, double *size);
/* Progress in bytes; 0 cancels. */
IMPORT(progress) int web_import_progress(double done, double total);
IMPORT(log) void web_import_log(int level, const char *message, size_t length);

static weft_status read_source(void *user, uint64_t offset, size_t length, void *destination) {
  uint32_t source = (uint32_t)(uintptr_t)user;
  return web_import_read(source, (double)offset, length, destination) ? WEFT_OK : WEFT_IO_ERROR;
}

static weft_status resolve(void *user, const char *location, weft_source *out) {
  (void)user;
  double size = 0;
  int32_t source = web_import_resolve(location, strlen(location), &size);
  *out = (weft_source){.size = (uint64_t)size};
  if (source < 0) return source == FED ? WEFT_PENDING : WEFT_IO_ERROR;
  *out =
      (weft_source){.size = (uint64_t)size, .read = read_source, .user = (void *)(uintptr_t)source};
  return WEFT_OK;
}

static bool progress(void *user, uint64_t done, uint64_t total) {
  (void)user;
  return web_import_progress((double)done, (double)total) != 0;
}

static void write_log(void *user, weft_log_level level, const char *message) {
  (void)user;
  web_import_log((int)level, message, strlen(message));
}

/* ---- the tier ------------------------------------------------------------------------------ */

/* By this name JavaScript tells whether a file is this module, and what it was compiled for. */
#if defined(__wasm64__)
EXPORT(web_tier_c) void web_tier(void) {}
#elif defined(__wasm_relaxed_simd__)
EXPORT(web_tier_b) void web_tier(void) {}
#else
EXPORT(web_tier_a) void web_tier(void) {}
#endif

/* ---- the context --------------------------------------------------------------------------- */

/* `threads`: the most that there will be; threads.c has the rest. */
EXPORT(web_open) web_context *web_open(int log_level, uint32_t threads) {
  weft_runtime_options options = weft_runtime_options_default();
  options.thread_count = threads;
  options.logger = (weft_logger){.write = write_log, .level = (weft_log_level)log_level};
  weft_runtime *runtime;
  if (weft_runtime_open(&options, &runtime, NULL) != WEFT_OK) return NULL;
  web_context *context = weft_heap_allocate_zeroed(&runtime->heap, sizeof *context);
  if (!context) {
    weft_runtime_close(&runtime);
    return NULL;
  }
  context->runtime = runtime;
  weft_warm_up(context, NULL);
  return context;
}

EXPORT(web_error) const char *web_error(const web_context *context) {
  return context->error.message;
}
EXPORT(web_allocate) void *web_allocate(web_context *context, size_t bytes) {
  return weft_heap_allocate(&context->runtime->heap, bytes);
}
EXPORT(web_release) void web_release(web_context *context, void *memory, size_t bytes) {
  weft_heap_release(&context->runtime->heap, memory, bytes);
}
/* Bytes held now, the most ever held, and the calls of the allocator so far, for tests and meters.
 */
EXPORT(web_memory) double web_memory(const web_context *context, int what) {
  weft_memory_use use = weft_runtime_memory(context->runtime);
  return (double)(what == 0 ? use.bytes : what == 1 ? use.bytes_peak : use.calls);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* Room for `length` more bytes and a NUL. */
static bool reserve_text(web_context *context, size_t length) {
  weft_heap *heap = &context->runtime->heap;
  if (context->text_length + length + 1 <= context->text_size) return true;
  size_t size = 2 * (context->text_length + length) + 256;
  char *grown = weft_heap_allocate(heap, size);
  if (!grown) return weft_heap_fail(heap, size, "a text", &context->error) == WEFT_OK;
  if (context->text) memcpy(grown, context->text, context->text_length);
  weft_heap_release(heap, context->text, context->text_size);
  context->text = grown;
  context->text_size = size;
  return true;
}

/* Without memory the text ends early; JSON then does not parse, which JavaScript reports. */
static void add_text(void *user, const char *text, size_t length) {
  web_context *context = user;
  if (!reserve_text(context, length)) return;
  memcpy(context->text + context->text_length, text, length);
  context->text_length += length;
  context->text[context->text_length] = 0;
}

static weft_text start_text(web_context *context) {
  context->text_length = 0;
  return (weft_text){.write = add_text, .user = context};
}

static void add_json_string(weft_text *text, const char *string) {
  weft_text_add(text, "\"");
  for (const char *c = string ? string : ""; *c; c++) {
    unsigned char byte = (unsigned char)*c;
    if (byte == '"' || byte == '\\')
      weft_text_add(text, "\\%c", byte);
    else if (byte < 16)
      weft_text_add(text, "\\u000%x", byte);
    else if (byte < 32)
      weft_text_add(text, "\\u00%x", byte);
    else
      weft_text_add(text, "%c", byte);
  }
  weft_text_add(text, "\"");
}

/* {"name":"x","type":1,"dims":["batch",-1,384]}; dims is null where the rank is not known. */
static void add_value(weft_text *text, const weft_value_info *info) {
  weft_text_add(text, "{\"name\":");
  add_json_string(text, info->name);
  weft_text_add(text, ",\"type\":%d,\"dims\":%s", (int)info->dtype, info->rank < 0 ? "null}" : "[");
  for (int32_t i = 0; i < info->rank; i++) {
    if (i) weft_text_add(text, ",");
    if (info->dims[i] < 0 && info->dim_names[i])
      add_json_string(text, info->dim_names[i]);
    else
      weft_text_add(text, "%lld", (long long)info->dims[i]);
  }
  if (info->rank >= 0) weft_text_add(text, "]}");
}

/* The model's inputs, outputs and metadata as JSON. */
EXPORT(web_model_describe)
const char *web_model_describe(web_context *context, const weft_model *model) {
  weft_text text = start_text(context);
  weft_value_info value;
  weft_text_add(&text, "{\"inputs\":[");
  for (size_t i = 0; weft_model_input(model, i, &value) == WEFT_OK; i++) {
    if (i) weft_text_add(&text, ",");
    add_value(&text, &value);
  }
  weft_text_add(&text, "],\"outputs\":[");
  for (size_t i = 0; weft_model_output(model, i, &value) == WEFT_OK; i++) {
    if (i) weft_text_add(&text, ",");
    add_value(&text, &value);
  }
  weft_text_add(&text, "],\"metadata\":[");
  const char *key, *data;
  for (size_t i = 0; weft_model_metadata(model, i, &key, &data) == WEFT_OK; i++) {
    weft_text_add(&text, i ? ",[" : "[");
    add_json_string(&text, key);
    weft_text_add(&text, ",");
    add_json_string(&text, data);
    weft_text_add(&text, "]");
  }
  weft_text_add(&text, "]}");
  return context->text;
}

/* ---- models -------------------------------------------------------------------------------- */

static weft_model_options model_options(void) {
  weft_model_options options = weft_model_options_default();
  options.resolve = resolve;
  options.progress = progress;
  return options;
}

EXPORT(web_loader_open) weft_loader *web_loader_open(web_context *context, double size) {
  weft_loader *loader = NULL;
  weft_model_options options = model_options();
  weft_loader_open(context->runtime, (uint64_t)size, &options, &loader, &context->error);
  return loader;
}
EXPORT(web_loader_feed)
int web_loader_feed(web_context *context, weft_loader *loader, const void *bytes, size_t length) {
  return weft_loader_feed(loader, bytes, length, &context->error);
}
/* A loader whose file is read by range from a source of JavaScript's. */
EXPORT(web_loader_open_source)
weft_loader *web_loader_open_source(web_context *context, uint32_t source, double size) {
  weft_loader *loader = NULL;
  weft_model_options options = model_options();
  weft_source bytes = {
      .size = (uint64_t)size, .read = read_source, .user = (void *)(uintptr_t)source};
  weft_loader_open_source(context->runtime, &bytes, &options, &loader, &context->error);
  return loader;
}
EXPORT(web_loader_weight_bytes) double web_loader_weight_bytes(const weft_loader *loader) {
  return (double)weft_loader_weight_bytes(loader);
}
/* The range of external data to feed next, as JSON; NULL: none. */
EXPORT(web_loader_wanted)
const char *web_loader_wanted(web_context *context, const weft_loader *loader) {
  weft_wanted wanted;
  if (!weft_loader_wanted(loader, &wanted)) return NULL;
  weft_text text = start_text(context);
  weft_text_add(&text, "{\"location\":");
  add_json_string(&text, wanted.location);
  weft_text_add(&text, ",\"file\":%u,\"offset\":%llu,\"length\":%llu}", wanted.file,
                (unsigned long long)wanted.offset, (unsigned long long)wanted.length);
  return context->text;
}
EXPORT(web_loader_feed_external)
int web_loader_feed_external(web_context *context, weft_loader *loader, uint32_t file,
                             double offset, const void *bytes, size_t length) {
  return weft_loader_feed_external(loader, file, (uint64_t)offset, bytes, length, &context->error);
}
/* The model, and the loader is closed; or NULL: external data is wanted, or it failed. */
EXPORT(web_loader_finish) weft_model *web_loader_finish(web_context *context, weft_loader *loader) {
  weft_model *model = NULL;
  weft_loader_finish(&loader, &model, &context->error);
  return model;
}
EXPORT(web_loader_close) void web_loader_close(weft_loader *loader) {
  weft_loader_close(&loader);
}
EXPORT(web_model_close) void web_model_close(weft_model *model) {
  weft_model_close(&model);
}

/* ---- GPUs ---------------------------------------------------------------------------------- */

/* `handle`: JavaScript's number of an open device. */
EXPORT(web_gpu_open) weft_gpu *web_gpu_open(web_context *context, uint32_t handle) {
  weft_heap *heap = &context->runtime->heap;
  weft_gpu_driver *driver;
  weft_gpu *gpu = NULL;
  if (weft_gpu_web_open(heap, handle, &driver, &context->error) == WEFT_OK)
    weft_gpu_open_driver(heap, driver, &gpu, &context->error);
  return gpu;
}
/* Its device is lost. Sessions on it, and tensors, keep the rest until they are closed. */
EXPORT(web_gpu_lose) void web_gpu_lose(weft_gpu *gpu) {
  gpu->lost = true;
  weft_gpu_release(&gpu);
}
EXPORT(web_gpu_describe) const char *web_gpu_describe(const weft_gpu *gpu) {
  return weft_gpu_description(gpu);
}
/* Forgets a buffer of JavaScript's own, which it had given a number. */
EXPORT(web_gpu_forget) void web_gpu_forget(weft_gpu *gpu, uint32_t buffer) {
  weft_group_forget(gpu->groups, buffer);
  gpu->driver->buffer_close(gpu->driver, buffer);
}

/* What was measured on the GPU so far. */
EXPORT(web_gpu_tuning) const char *web_gpu_tuning(web_context *context, const weft_gpu *gpu) {
  start_text(context);
  weft_gpu_write_tuning(gpu, add_text, context);
  return context->text;
}
EXPORT(web_gpu_read_tuning)
int web_gpu_read_tuning(web_context *context, weft_gpu *gpu, const char *text) {
  return weft_gpu_read_tuning(gpu, text, strlen(text), &context->error);
}

/* ---- sessions ------------------------------------------------------------------------------ */

/* A session that takes the model's weights. `gpu`: NULL for the CPU alone. `disabled`: names of
 * rewrites to leave out, or NULL. */
EXPORT(web_session_open)
weft_session *web_session_open(web_context *context, weft_model *model, weft_gpu *gpu,
                               const char *disabled, double memory_limit, int profile,
                               uint32_t threads, int activations, int tune) {
  weft_session *session = NULL;
  weft_session_options options = weft_session_options_default();
  options.gpu = gpu;
  options.thread_count = threads;
  options.disabled_passes = disabled;
  options.memory_limit = (uint64_t)memory_limit;
  options.profile = profile != 0;
  options.activations = (weft_activations)activations;
  options.tune = (weft_tune)tune;
  options.consume_model = true;
  options.progress = progress;
  weft_warm_up(context, model);
  weft_session_open(model, &options, &session, &context->error);
  return session;
}
/* WEFT_PENDING until the GPU's kernels are compiled. */
EXPORT(web_session_prepare)
int web_session_prepare(web_context *context, weft_session *session) {
  return weft_session_prepare(session, &context->error);
}
EXPORT(web_session_close) void web_session_close(weft_session *session) {
  weft_session_close(&session);
}
/* In the GPU's memory. */
EXPORT(web_session_memory) double web_session_memory(const weft_session *session) {
  return (double)weft_session_memory(session).device_bytes;
}
EXPORT(web_session_dump)
const char *web_session_dump(web_context *context, const weft_session *session, int what) {
  start_text(context);
  weft_status status =
      weft_session_dump(session, (weft_dump)what, add_text, context, &context->error);
  return status == WEFT_OK ? context->text : NULL;
}

/* The profile as JSON: [{"op":..,"node":..,"kernel":..,"calls":..,"ns":..,"flops":..}, ...]. */
EXPORT(web_session_profile)
const char *web_session_profile(web_context *context, const weft_session *session) {
  weft_text text = start_text(context);
  weft_profile_entry entry;
  weft_text_add(&text, "[");
  for (size_t i = 0; weft_session_profile_entry(session, i, &entry) == WEFT_OK; i++) {
    weft_text_add(&text, "%s{\"op\":\"%s\",\"node\":", i ? "," : "", entry.op);
    add_json_string(&text, entry.node);
    weft_text_add(&text, ",\"kernel\":\"%s\",\"calls\":%llu,\"ns\":%llu,\"flops\":%llu}",
                  entry.kernel, (unsigned long long)entry.calls, (unsigned long long)entry.total_ns,
                  (unsigned long long)entry.flops);
  }
  weft_text_add(&text, "]");
  return context->text;
}

/* ---- runs ---------------------------------------------------------------------------------- */

/* Bytes of a tensor object, which JavaScript keeps for each input. */
EXPORT(web_tensor_size) size_t web_tensor_size(void) {
  return sizeof(weft_tensor);
}
EXPORT(web_tensor_wrap)
int web_tensor_wrap(web_context *context, weft_tensor *tensor, int dtype, const int64_t *dims,
                    size_t rank, void *data, size_t bytes) {
  return weft_tensor_point(tensor, (weft_dtype)dtype, dims, rank, data, bytes, &context->error);
}
EXPORT(web_tensor_data) void *web_tensor_data(const weft_tensor *tensor) {
  return weft_tensor_data(tensor);
}
EXPORT(web_tensor_bytes) size_t web_tensor_bytes(const weft_tensor *tensor) {
  return weft_tensor_bytes(tensor);
}

EXPORT(web_tensor_close) void web_tensor_close(weft_tensor *tensor) {
  weft_tensor_close(&tensor);
}

/* WEFT_PENDING until web_tensor_data finds the elements. */
EXPORT(web_tensor_fetch) int web_tensor_fetch(web_context *context, weft_tensor *tensor) {
  return weft_tensor_fetch(tensor, &context->error);
}
EXPORT(web_tensor_wrap_memory)
weft_tensor *web_tensor_wrap_memory(web_context *context, weft_session *session, int dtype,
                                    const int64_t *dims, size_t rank, uint32_t memory) {
  weft_tensor *tensor = NULL;
  weft_tensor_wrap_memory(session, (weft_dtype)dtype, dims, rank, memory, &tensor, &context->error);
  return tensor;
}

/* The bindings are pairs of pointers (name, tensor) that JavaScript writes; outputs' tensors are
 * written back. `on_device`: by output, whether it stays in the GPU's memory. */
EXPORT(web_session_run)
int web_session_run(web_context *context, weft_session *session, const weft_binding *inputs,
                    size_t input_count, weft_binding *outputs, size_t output_count,
                    const bool *on_device, double time_limit_ms) {
  weft_run_options options = {.time_limit_ns = (uint64_t)(time_limit_ms * 1e6),
                              .outputs_on_device = on_device};
  return weft_session_run(session, &options, inputs, input_count, outputs, output_count,
                          &context->error);
}

/* After web_session_run has answered WEFT_PENDING, until the answer is another one. */
EXPORT(web_session_resume)
int web_session_resume(web_context *context, weft_session *session) {
  return weft_session_resume(session, &context->error);
}

/* A share of each output that stays where it is: those that JavaScript wants to keep, bit 0 of
 * `keep` where it lies in the GPU's memory, bit 1 where it is a cache in the host's. */
enum { KEEP_ON_DEVICE = 1, KEEP_CACHE = 2 };
static bool is_kept(const weft_tensor *tensor, uint8_t keep) {
  if (weft_tensor_on_device(tensor)) return (keep & KEEP_ON_DEVICE) && tensor->bytes > 0;
  return (keep & KEEP_CACHE) && tensor->is_view;
}

/* In the order of web/src/handler.ts. */
enum {
  OUTPUT_TENSOR,
  OUTPUT_KEPT,
  OUTPUT_ON_DEVICE,
  OUTPUT_DTYPE,
  OUTPUT_BYTES,
  OUTPUT_MEMORY,
  OUTPUT_RANK,
  OUTPUT_DIMS,
  OUTPUT_NUMBERS = OUTPUT_DIMS + WEFT_RANK_MAX
};

static void write_output(const weft_tensor *tensor, double *to) {
  to[OUTPUT_ON_DEVICE] = weft_tensor_on_device(tensor);
  to[OUTPUT_DTYPE] = (double)tensor->dtype;
  to[OUTPUT_BYTES] = (double)tensor->bytes;
  to[OUTPUT_MEMORY] = tensor->is_view ? 0 : (double)weft_tensor_memory(tensor);
  to[OUTPUT_RANK] = (double)tensor->rank;
  for (uint32_t i = 0; i < tensor->rank; i++) to[OUTPUT_DIMS + i] = (double)tensor->dims[i];
}

static void drop_shares(const double *outputs, size_t count) {
  for (size_t i = 0; i < count; i++, outputs += OUTPUT_NUMBERS) {
    weft_tensor *tensor = (weft_tensor *)(uintptr_t)outputs[OUTPUT_TENSOR];
    if (outputs[OUTPUT_KEPT] != 0) weft_tensor_close(&tensor);
  }
}

/* What a run has brought, all in one call: OUTPUT_NUMBERS for each. */
EXPORT(web_outputs)
int web_outputs(web_context *context, const weft_binding *outputs, size_t count,
                const uint8_t *keep, double *to) {
  double *first = to;
  for (size_t i = 0; i < count; i++, to += OUTPUT_NUMBERS) {
    weft_tensor *tensor = outputs[i].tensor, *share = NULL;
    bool kept = is_kept(tensor, keep[i]);
    if (kept && weft_tensor_share(tensor, &share, &context->error) != WEFT_OK) {
      drop_shares(first, i);
      return WEFT_OUT_OF_MEMORY;
    }
    to[OUTPUT_TENSOR] = (double)(uintptr_t)(kept ? share : tensor);
    to[OUTPUT_KEPT] = kept;
    write_output(tensor, to);
  }
  return WEFT_OK;
}

/* ---- tokenizers ---------------------------------------------------------------------------- */

EXPORT(web_tokenizer_open)
weft_tokenizer *web_tokenizer_open(web_context *context, const void *bytes, size_t length) {
  weft_tokenizer *tokenizer = NULL;
  weft_tokenizer_open(context->runtime, bytes, length, NULL, &tokenizer, &context->error);
  return tokenizer;
}
EXPORT(web_tokenizer_close) void web_tokenizer_close(weft_tokenizer *tokenizer) {
  weft_tokenizer_close(&tokenizer);
}

/* Encodes `count` texts, given as weft_encode_input, as rows of the same length, which is the
 * answer: 64-bit ids, masks and type ids, one array of capacity / count tokens a row after the
 * other. With NULL arrays only the length is found. Below 0: a status. */
EXPORT(web_tokenizer_encode)
int web_tokenizer_encode(web_context *context, const weft_tokenizer *tokenizer,
                         const weft_encode_input *inputs, size_t count, size_t max_length,
                         size_t capacity, int64_t *ids, int64_t *mask, int64_t *type_ids) {
  weft_encode_options options = weft_encode_options_default();
  options.max_length = max_length;
  weft_encoding encoding = {.dtype = WEFT_I64,
                            .capacity = capacity,
                            .ids = ids,
                            .type_ids = type_ids,
                            .attention_mask = mask};
  weft_status status =
      weft_tokenizer_encode(tokenizer, inputs, count, &options, &encoding, &context->error);
  return status == WEFT_OK ? (int)encoding.length : (int)status;
}

EXPORT(web_tokenizer_decode)
const char *web_tokenizer_decode(web_context *context, const weft_tokenizer *tokenizer,
                                 const int64_t *ids, size_t count, int skip_special) {
  size_t length = 0;
  weft_status status = weft_tokenizer_decode(tokenizer, ids, count, skip_special != 0, NULL, 0,
                                             &length, &context->error);
  if (status != WEFT_OK) return NULL;
  start_text(context);
  if (!reserve_text(context, length)) return NULL;
  status = weft_tokenizer_decode(tokenizer, ids, count, skip_special != 0, context->text,
                                 length + 1, &length, &context->error);
  return status == WEFT_OK ? context->text : NULL;
}
