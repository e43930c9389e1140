/* Tests of the public model and loader objects on a small model: the ways to open it, what it tells
 * about itself, progress, cancelling, limits, and lack of memory. */
#include "tests/check.h"

#include "base/host.h"
#include "base/status.h"
#include "format/model.h"
#include "tests/proto.h"

enum { WEIGHT_ROWS = 3, WEIGHT_COLUMNS = 100000 }; /* more than several reads */
enum { WEIGHT_BYTES = WEIGHT_ROWS * WEIGHT_COLUMNS * 4 };

static void add_value(proto *graph, uint32_t field, const char *name, int64_t columns) {
  proto dim = {0}, shape = {0}, tensor = {0}, type = {0}, info = {0};
  proto_text(&dim, 2, "batch");
  proto_add(&shape, 1, &dim);
  proto_varint(&dim, 1, columns);
  proto_add(&shape, 1, &dim);
  proto_varint(&tensor, 1, WEFT_F32);
  proto_add(&tensor, 2, &shape);
  proto_add(&type, 1, &tensor);
  proto_text(&info, 1, name);
  proto_add(&info, 2, &type);
  proto_add(graph, field, &info);
}

/* y[batch,100000] = x[batch,3] w */
static proto small_model(void) {
  static float weight[WEIGHT_ROWS * WEIGHT_COLUMNS];
  for (int i = 0; i < WEIGHT_ROWS * WEIGHT_COLUMNS; i++) weight[i] = (float)i;
  proto node = {0}, tensor = {0}, graph = {0}, opset = {0}, model = {0};
  proto_text(&node, 1, "x");
  proto_text(&node, 1, "w");
  proto_text(&node, 2, "y");
  proto_text(&node, 4, "MatMul");
  proto_add(&graph, 1, &node);
  proto_text(&graph, 2, "the graph");
  proto_varint(&tensor, 1, WEIGHT_ROWS);
  proto_varint(&tensor, 1, WEIGHT_COLUMNS);
  proto_varint(&tensor, 2, WEFT_F32);
  proto_text(&tensor, 8, "w");
  proto_bytes(&tensor, 9, weight, sizeof weight);
  proto_add(&graph, 5, &tensor);
  add_value(&graph, 11, "x", WEIGHT_ROWS);
  add_value(&graph, 12, "y", WEIGHT_COLUMNS);
  proto_varint(&model, 1, 9);
  proto_text(&model, 2, "a test");
  proto_text(&model, 6, "what it is for");
  proto_add(&model, 7, &graph);
  proto_varint(&opset, 2, 18);
  proto_add(&model, 8, &opset);
  proto_add_entry(&model, 14, "licence", "none");
  return model;
}

static weft_runtime *open_runtime(const weft_allocator *allocator) {
  weft_runtime_options options = weft_runtime_options_default();
  if (allocator) options.allocator = *allocator;
  weft_runtime *runtime;
  return weft_runtime_open(&options, &runtime, NULL) == WEFT_OK ? runtime : NULL;
}

/* A reader that counts, and may fail. */
typedef struct counting_reader {
  const proto *file;
  uint64_t bytes;
  weft_status answer;
} counting_reader;

static weft_status read_counted(void *user, uint64_t offset, size_t length, void *to) {
  counting_reader *r = user;
  CHECK(offset + length <= r->file->length);
  memcpy(to, r->file->bytes + offset, length);
  r->bytes += length;
  return r->answer;
}

enum { SPAN, READER, LOADER, WAYS };
enum { PIECE = 100000 };

static weft_status load(weft_runtime *runtime, const proto *file, const weft_model_options *options,
                        uint64_t size, weft_model **out, weft_error *error) {
  weft_loader *loader;
  *out = NULL;
  WEFT_TRY(weft_loader_open(runtime, size, options, &loader, error));
  weft_status status = WEFT_OK;
  for (size_t at = 0; at < file->length && status == WEFT_OK; at += PIECE) {
    size_t left = file->length - at;
    status = weft_loader_feed(loader, file->bytes + at, left < PIECE ? left : PIECE, error);
  }
  if (status == WEFT_OK) status = weft_loader_finish(&loader, out, error);
  CHECK((status == WEFT_OK) == (loader == NULL));
  weft_loader_close(&loader);
  return status;
}

static weft_status open_model(int way, weft_runtime *runtime, const proto *file,
                              const weft_model_options *options, weft_model **out,
                              weft_error *error) {
  static counting_reader reader;
  reader = (counting_reader){.file = file};
  weft_source source = {.size = file->length};
  if (way == SPAN) source.bytes = file->bytes;
  if (way == READER) {
    source.read = read_counted;
    source.user = &reader;
  }
  return way == LOADER ? load(runtime, file, options, file->length, out, error)
                       : weft_model_open(runtime, &source, options, out, error);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void check_model(const weft_model *model) {
  weft_model_info info;
  weft_model_describe(model, &info);
  CHECK_TEXT(info.producer, "a test");
  CHECK_TEXT(info.producer_version, "");
  CHECK_TEXT(info.graph_name, "the graph");
  CHECK_TEXT(info.description, "what it is for");
  CHECK_INT(info.ir_version, 9);
  CHECK_INT(info.opset, 18);
  CHECK_INT(info.weight_bytes, WEIGHT_BYTES);
  CHECK_INT(info.node_count, 1);
  CHECK_INT(info.metadata_count, 1);
  const char *key, *text;
  CHECK_INT(weft_model_metadata(model, 0, &key, &text), WEFT_OK);
  CHECK_TEXT(key, "licence");
  CHECK_TEXT(text, "none");
  CHECK_INT(weft_model_metadata(model, 1, &key, &text), WEFT_INVALID_ARGUMENT);

  weft_value_info value;
  CHECK_INT(weft_model_input_count(model), 1);
  CHECK_INT(weft_model_output_count(model), 1);
  CHECK_INT(weft_model_input(model, 1, &value), WEFT_INVALID_ARGUMENT);
  CHECK_INT(weft_model_input(model, 0, &value), WEFT_OK);
  CHECK_TEXT(value.name, "x");
  CHECK_INT(value.dtype, WEFT_F32);
  CHECK_INT(value.rank, 2);
  CHECK_INT(value.dims[0], -1);
  CHECK_TEXT(value.dim_names[0], "batch");
  CHECK_INT(value.dims[1], WEIGHT_ROWS);
  CHECK(value.dim_names[1] == NULL);
  CHECK_INT(weft_model_output(model, 0, &value), WEFT_OK);
  CHECK_TEXT(value.name, "y");
  CHECK_INT(value.dims[1], WEIGHT_COLUMNS);
}

static void test_ways(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  uint64_t held = weft_runtime_memory(runtime).bytes;
  weft_error error;
  for (int way = 0; way < WAYS; way++) {
    weft_model *model;
    if (!CHECK_OK(open_model(way, runtime, &file, NULL, &model, &error), &error)) continue;
    check_model(model);
    uint64_t weights = way == LOADER ? WEIGHT_BYTES : 0;
    CHECK(weft_runtime_memory(runtime).bytes - held >= weights);
    CHECK(weft_runtime_memory(runtime).bytes - held < weights + WEIGHT_BYTES / 2);
    weft_model_close(&model);
    CHECK(model == NULL);
    CHECK_INT(weft_runtime_memory(runtime).bytes, held);
  }
  weft_runtime_close(&runtime);
  proto_free(&file);
}

/* A weight that is passed over is not read. */
static void test_reader(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  counting_reader reader = {.file = &file};
  weft_source source = {.size = file.length, .read = read_counted, .user = &reader};
  weft_model *model;
  weft_error error;
  CHECK_OK(weft_model_open(runtime, &source, NULL, &model, &error), &error);
  CHECK(reader.bytes < WEIGHT_BYTES / 2);
  weft_model_close(&model);

  reader.answer = WEFT_IO_ERROR;
  CHECK_INT(weft_model_open(runtime, &source, NULL, &model, &error), WEFT_IO_ERROR);
  CHECK(model == NULL);
  CHECK(strstr(error.message, "the reader failed on bytes 0 to "));
  weft_runtime_close(&runtime);
  proto_free(&file);
}

static void test_bad_calls(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  weft_source nothing = {.size = 5};
  weft_model *model;
  weft_error error;
  CHECK_INT(weft_model_open(runtime, NULL, NULL, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK_INT(weft_model_open(runtime, &nothing, NULL, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(error.message, "the model's source has neither bytes nor read");
  CHECK_INT(load(runtime, &file, NULL, file.length - 1, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK(strstr(error.message, "bytes that were announced"));
  CHECK_INT(load(runtime, &file, NULL, file.length + 1, &model, &error), WEFT_INVALID_MODEL);
  CHECK(strstr(error.message, "the file ends at byte "));
  CHECK_OK(load(runtime, &file, NULL, 0, &model, &error), &error); /* not known */
  weft_model_close(&model);
  weft_model_close(&model);
  weft_loader_close(NULL);

  weft_loader *loader;
  CHECK_OK(weft_loader_open(runtime, 0, NULL, &loader, &error), &error);
  CHECK_INT(weft_loader_feed(loader, "\0", 1, &error), WEFT_INVALID_MODEL);
  CHECK_INT(weft_loader_feed(loader, "\0", 1, &error), WEFT_INVALID_ARGUMENT);
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(error.message, "the loader has failed before");
  weft_loader_close(&loader);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

typedef struct progress_log {
  uint64_t calls, done, total, cancel_at;
} progress_log;

static bool note_progress(void *user, uint64_t done, uint64_t total) {
  progress_log *log = user;
  log->calls++;
  CHECK(done > log->done && done <= total);
  log->done = done;
  log->total = total;
  return log->calls != log->cancel_at;
}

static void test_progress(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  weft_error error;
  for (int way = 0; way < WAYS; way++) {
    progress_log log = {0};
    weft_model_options options = {.progress = note_progress, .progress_user = &log};
    weft_model *model;
    CHECK_OK(open_model(way, runtime, &file, &options, &model, &error), &error);
    CHECK_INT(log.done, file.length);
    CHECK_INT(log.total, file.length);
    weft_model_close(&model);
    log = (progress_log){.cancel_at = 1};
    CHECK_INT(open_model(way, runtime, &file, &options, &model, &error), WEFT_CANCELLED);
    CHECK(model == NULL);
    CHECK_INT(log.calls, 1);
  }
  weft_runtime_close(&runtime);
  proto_free(&file);
}

static void test_memory_limit(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  weft_model_options options = {.memory_limit = WEIGHT_BYTES};
  weft_model *model;
  weft_error error;
  CHECK_INT(open_model(LOADER, runtime, &file, &options, &model, &error), WEFT_LIMIT_EXCEEDED);
  CHECK(strstr(error.message, "a tensor needs 1200000 bytes, but "));
  CHECK_OK(open_model(SPAN, runtime, &file, &options, &model, &error), &error);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

/* A session's reference keeps names, but no weights, behind the caller's close. */
static void test_references(void) {
  proto file = small_model();
  weft_runtime *runtime = open_runtime(NULL);
  uint64_t held = weft_runtime_memory(runtime).bytes;
  weft_model *model;
  weft_error error;
  CHECK_OK(open_model(LOADER, runtime, &file, NULL, &model, &error), &error);
  weft_model *kept = weft_model_retain(model);
  weft_model_close(&model);
  CHECK(kept->consumed);
  CHECK(weft_runtime_memory(runtime).bytes - held < WEIGHT_BYTES);
  weft_value_info value;
  CHECK_INT(weft_model_input(kept, 0, &value), WEFT_OK);
  CHECK_TEXT(value.name, "x");
  weft_model_release(kept);
  CHECK_INT(weft_runtime_memory(runtime).bytes, held);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

typedef struct budget {
  weft_allocator host;
  int64_t left, held;
} budget;

static void *limited_allocate(void *user, size_t bytes, size_t alignment) {
  budget *b = user;
  void *memory = b->left-- > 0 ? b->host.allocate(b->host.user, bytes, alignment) : NULL;
  b->held += memory != NULL;
  return memory;
}

static void limited_release(void *user, void *memory, size_t bytes) {
  budget *b = user;
  b->held--;
  b->host.release(b->host.user, memory, bytes);
}

/* The allocator refuses from the n-th call on, for each n. */
static void test_no_memory(void) {
  proto file = small_model();
  for (int way = 0; way < WAYS; way++) {
    weft_status status = WEFT_OUT_OF_MEMORY;
    int64_t calls = 0;
    for (; status != WEFT_OK && calls < 1000; calls++) {
      budget b = {weft_host_allocator(), calls, 0};
      weft_allocator allocator = {limited_allocate, limited_release, &b};
      weft_runtime *runtime = open_runtime(&allocator);
      if (!runtime) continue;
      weft_model *model;
      weft_error error;
      status = open_model(way, runtime, &file, NULL, &model, &error);
      CHECK(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
      weft_model_close(&model);
      weft_runtime_close(&runtime);
      CHECK_INT(b.held, 0);
    }
    CHECK(calls > 5 && calls < 1000);
  }
  proto_free(&file);
}

int main(void) {
  CHECK_RUN(test_ways);
  CHECK_RUN(test_reader);
  CHECK_RUN(test_bad_calls);
  CHECK_RUN(test_progress);
  CHECK_RUN(test_memory_limit);
  CHECK_RUN(test_references);
  CHECK_RUN(test_no_memory);
  return check_result();
}
