/* model.c - the public model and loader objects: brings a file's bytes to the parser, from memory,
 * from a reader, or as they arrive; and answers what the model is. */
#include "format/model.h"

enum { CHUNK_FIRST = 4 << 10, CHUNK_LAST = 256 << 10 };

weft_model_options weft_model_options_default(void) {
  return (weft_model_options){0};
}

/* ---- life of a model ---------------------------------------------------------------------------
 */

static weft_status new_model(weft_runtime *runtime, uint64_t memory_limit, weft_model **out,
                             weft_error *error) {
  weft_model *model = *out = weft_heap_allocate_zeroed(&runtime->heap, sizeof *model);
  if (!model) return weft_heap_fail(&runtime->heap, sizeof *model, "a model", error);
  model->runtime = runtime;
  weft_heap_init(&model->heap, NULL, &runtime->heap, memory_limit);
  atomic_init(&model->references, 1);
  return WEFT_OK;
}

weft_model *weft_model_retain(weft_model *model) {
  atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
  return model;
}

void weft_model_release(weft_model *model) {
  if (!model || atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) > 1) return;
  weft_graph_release(&model->file.graph);
  weft_heap_release(&model->runtime->heap, model, sizeof *model);
}

void weft_model_drop_weights(weft_model *model) {
  weft_graph *graph = &model->file.graph;
  for (uint32_t i = 0; i < graph->value_count; i++) weft_buffer_release(&graph->values[i].data);
  model->consumed = true;
}

void weft_model_close(weft_model **model) {
  if (!model || !*model) return;
  weft_model_drop_weights(*model); /* sessions may hold the object for long */
  weft_model_release(*model);
  *model = NULL;
}

/* ---- loading -----------------------------------------------------------------------------------
 */

struct weft_loader {
  weft_heap *heap; /* of this struct: the runtime's */
  weft_model *model;
  weft_onnx_parser *parser;
  weft_model_options options;
  uint64_t size, next; /* next: the byte that the parser wants */
  bool failed;
};

static weft_status start(weft_runtime *runtime, weft_payload_mode mode, const weft_source *source,
                         const weft_model_options *options, weft_loader *out, weft_error *error) {
  *out = (weft_loader){.heap = &runtime->heap,
                       .options = options ? *options : weft_model_options_default(),
                       .size = source->size};
  WEFT_TRY(new_model(runtime, out->options.memory_limit, &out->model, error));
  return weft_onnx_parser_open(&out->model->heap, mode, source, &out->options, &out->parser, error);
}

static void abandon(weft_loader *loader) {
  weft_onnx_parser_close(&loader->parser);
  weft_model_release(loader->model);
  loader->model = NULL;
}

static weft_status report(const weft_loader *loader, uint64_t done, uint64_t total,
                          weft_error *error) {
  const weft_model_options *options = &loader->options;
  if (!options->progress || options->progress(options->progress_user, done, total)) return WEFT_OK;
  return weft_fail(error, WEFT_CANCELLED, "loading was cancelled by the progress callback");
}

/* Parses a piece that starts at loader->next. */
static weft_status feed(weft_loader *loader, const void *bytes, size_t length, weft_error *error) {
  WEFT_TRY(weft_onnx_parser_feed(loader->parser, bytes, length, &loader->next, error));
  return report(loader, loader->next, loader->size, error);
}

/* Hands the model over; the parser's own memory goes first. */
static weft_status finish(weft_loader *loader, weft_model **out, weft_error *error) {
  WEFT_TRY(weft_onnx_parser_finish(loader->parser, &loader->model->file, error));
  weft_onnx_parser_close(&loader->parser);
  *out = loader->model;
  loader->model = NULL;
  return WEFT_OK;
}

static weft_status read_chunk(const weft_source *source, uint64_t offset, size_t length,
                              uint8_t *chunk, weft_error *error) {
  weft_status status = source->read(source->user, offset, length, chunk);
  if (status == WEFT_OK) return WEFT_OK;
  return weft_fail(error, status < 0 ? status : WEFT_IO_ERROR,
                   "the reader failed on bytes %llu to %llu: %s", (unsigned long long)offset,
                   (unsigned long long)(offset + length), weft_status_name(status));
}

/* Reads what the parser asks for. Chunks start small after each weight that was passed over, since
 * often only the next one's name and shape stand between. */
static weft_status feed_chunks(weft_loader *loader, const weft_source *source, uint8_t *chunk,
                               weft_error *error) {
  size_t length = CHUNK_LAST;
  while (loader->next < loader->size) {
    uint64_t offset = loader->next, left = loader->size - offset;
    if (left < length) length = (size_t)left;
    WEFT_TRY(read_chunk(source, offset, length, chunk, error));
    WEFT_TRY(feed(loader, chunk, length, error));
    bool jumped = loader->next > offset + length;
    length = jumped ? CHUNK_FIRST : length < CHUNK_LAST ? length * 2 : CHUNK_LAST;
  }
  return WEFT_OK;
}

static weft_status feed_source(weft_loader *loader, const weft_source *source, weft_error *error) {
  if (source->bytes) return feed(loader, source->bytes, (size_t)source->size, error);
  uint8_t *chunk = weft_heap_allocate(&loader->model->heap, CHUNK_LAST);
  if (!chunk) return weft_heap_fail(&loader->model->heap, CHUNK_LAST, "reading the model", error);
  weft_status status = feed_chunks(loader, source, chunk, error);
  weft_heap_release(&loader->model->heap, chunk, CHUNK_LAST);
  return status;
}

static weft_status check_source(const weft_source *source, weft_error *error) {
  if (!source || (!source->bytes && !source->read))
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the model's source has neither bytes nor read");
  if (source->bytes && source->size > PTRDIFF_MAX)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "a span of %llu bytes does not fit in memory",
                     (unsigned long long)source->size);
  return WEFT_OK;
}

weft_status weft_model_open(weft_runtime *runtime, const weft_source *source,
                            const weft_model_options *options, weft_model **out,
                            weft_error *error) {
  weft_loader *loader;
  *out = NULL;
  WEFT_TRY(weft_loader_open_source(runtime, source, options, &loader, error));
  weft_status status = weft_loader_finish(&loader, out, error);
  weft_loader_close(&loader);
  if (status != WEFT_PENDING) return status;
  return weft_fail(error, WEFT_INVALID_ARGUMENT,
                   "the resolver wants to feed external data, which takes a loader");
}

static weft_status open_loader(weft_runtime *runtime, weft_payload_mode mode,
                               const weft_source *source, const weft_model_options *options,
                               weft_loader **out, weft_error *error) {
  weft_loader *loader = *out = weft_heap_allocate(&runtime->heap, sizeof *loader);
  if (!loader) return weft_heap_fail(&runtime->heap, sizeof *loader, "a loader", error);
  weft_status status = start(runtime, mode, source, options, loader, error);
  if (status == WEFT_OK && mode != WEFT_PAYLOAD_COPY) status = feed_source(loader, source, error);
  if (status != WEFT_OK) weft_loader_close(out);
  return status;
}

weft_status weft_loader_open(weft_runtime *runtime, uint64_t size,
                             const weft_model_options *options, weft_loader **out,
                             weft_error *error) {
  weft_source source = {.size = size};
  return open_loader(runtime, WEFT_PAYLOAD_COPY, &source, options, out, error);
}

weft_status weft_loader_open_source(weft_runtime *runtime, const weft_source *source,
                                    const weft_model_options *options, weft_loader **out,
                                    weft_error *error) {
  *out = NULL;
  WEFT_TRY(check_source(source, error));
  weft_payload_mode mode = source->bytes ? WEFT_PAYLOAD_BORROW : WEFT_PAYLOAD_DEFER;
  return open_loader(runtime, mode, source, options, out, error);
}

static weft_status check_alive(const weft_loader *loader, weft_error *error) {
  if (!loader->failed) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_ARGUMENT, "the loader has failed before");
}

static weft_status feed_piece(weft_loader *loader, const void *bytes, size_t length,
                              weft_error *error) {
  WEFT_TRY(check_alive(loader, error));
  if (loader->size > 0 && length > loader->size - loader->next)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "more than the %llu bytes that were announced",
                     (unsigned long long)loader->size);
  return length > 0 ? feed(loader, bytes, length, error) : WEFT_OK;
}

weft_status weft_loader_feed(weft_loader *loader, const void *bytes, size_t length,
                             weft_error *error) {
  weft_status status = feed_piece(loader, bytes, length, error);
  loader->failed = status != WEFT_OK;
  return status;
}

uint64_t weft_loader_weight_bytes(const weft_loader *loader) {
  return weft_onnx_parser_weight_bytes(loader->parser);
}

bool weft_loader_wanted(const weft_loader *loader, weft_wanted *out) {
  return !loader->failed && weft_onnx_parser_wanted(loader->parser, out);
}

static weft_status feed_external(weft_loader *loader, uint32_t file, uint64_t offset,
                                 const void *bytes, size_t length, weft_error *error) {
  uint64_t done, total;
  WEFT_TRY(check_alive(loader, error));
  WEFT_TRY(weft_onnx_parser_feed_external(loader->parser, file, offset, bytes, length, error));
  weft_onnx_parser_fed(loader->parser, &done, &total);
  return report(loader, loader->next + done, loader->next + total, error);
}

weft_status weft_loader_feed_external(weft_loader *loader, uint32_t file, uint64_t offset,
                                      const void *bytes, size_t length, weft_error *error) {
  weft_status status = feed_external(loader, file, offset, bytes, length, error);
  loader->failed = status != WEFT_OK;
  return status;
}

weft_status weft_loader_finish(weft_loader **loader, weft_model **out, weft_error *error) {
  *out = NULL;
  WEFT_TRY(check_alive(*loader, error));
  weft_status status = finish(*loader, out, error);
  (*loader)->failed = status < 0;
  if (status == WEFT_OK) weft_loader_close(loader);
  return status;
}

void weft_loader_close(weft_loader **loader) {
  if (!loader || !*loader) return;
  abandon(*loader);
  weft_heap_release((*loader)->heap, *loader, sizeof **loader);
  *loader = NULL;
}

/* ---- what the model is -------------------------------------------------------------------------
 */

static const weft_region *main_region(const weft_model *model) {
  return &model->file.graph.regions[0];
}

static const char *dim_name(const weft_graph *graph, weft_dim dim) {
  if (!WEFT_DIM_IS_SYMBOL(dim)) return NULL;
  uint32_t index = WEFT_DIM_SYMBOL_INDEX(dim);
  bool named = index < graph->symbol_count && graph->symbols[index].length > 0;
  return named ? graph->symbols[index].data : NULL;
}

static weft_status describe(const weft_model *model, const weft_value_id *ids, size_t count,
                            size_t index, weft_value_info *out) {
  if (index >= count) return WEFT_INVALID_ARGUMENT;
  const weft_graph *graph = &model->file.graph;
  const weft_value *value = &graph->values[ids[index]];
  *out =
      (weft_value_info){.name = value->name.data, .dtype = value->dtype, .rank = value->shape.rank};
  for (int32_t i = 0; i < value->shape.rank; i++) {
    weft_dim dim = value->shape.dims[i];
    out->dims[i] = dim < 0 ? -1 : dim;
    out->dim_names[i] = dim_name(graph, dim);
  }
  return WEFT_OK;
}

size_t weft_model_input_count(const weft_model *model) {
  return main_region(model)->input_count;
}

size_t weft_model_output_count(const weft_model *model) {
  return main_region(model)->output_count;
}

weft_status weft_model_input(const weft_model *model, size_t index, weft_value_info *out) {
  const weft_region *region = main_region(model);
  return describe(model, region->inputs, region->input_count, index, out);
}

weft_status weft_model_output(const weft_model *model, size_t index, weft_value_info *out) {
  const weft_region *region = main_region(model);
  return describe(model, region->outputs, region->output_count, index, out);
}

static const char *text_or_empty(weft_str text) {
  return text.data ? text.data : "";
}

void weft_model_describe(const weft_model *model, weft_model_info *out) {
  const weft_file *file = &model->file;
  *out = (weft_model_info){
      .producer = text_or_empty(file->producer),
      .producer_version = text_or_empty(file->producer_version),
      .domain = text_or_empty(file->domain),
      .graph_name = text_or_empty(file->graph_name),
      .description = text_or_empty(file->description),
      .ir_version = file->ir_version,
      .model_version = file->model_version,
      .opset = file->opset,
      .metadata_count = file->metadata_count,
      .weight_bytes = file->weight_bytes,
      .node_count = file->node_count,
  };
}

weft_status weft_model_metadata(const weft_model *model, size_t index, const char **key,
                                const char **value) {
  if (index >= model->file.metadata_count) return WEFT_INVALID_ARGUMENT;
  const weft_metadata_entry *entry = &model->file.metadata[index];
  *key = text_or_empty(entry->key);
  *value = text_or_empty(entry->value);
  return WEFT_OK;
}
