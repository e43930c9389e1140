/* Tests of external data that is fed (weft_loader_wanted, weft_loader_feed_external): what is asked
 * for and in which order, bytes in any pieces, and everything that can go wrong. */
#include "tests/check.h"

#include <stdlib.h>

#include "base/host.h"
#include "base/status.h"
#include "tests/model_build.h"

/* y[2,256] = reshape(x[1,64] w + b * c). File "far" has w at WEIGHT_AT, and b, which is c too,
 * behind a gap; file "near" has the shape. */
enum { K = 64, N = 512, WEIGHT_AT = 4096, WEIGHT_BYTES = K * N * 4, GAP = 200000 };
enum { BIAS_AT = WEIGHT_AT + WEIGHT_BYTES + GAP, FAR_BYTES = BIAS_AT + N * 4, NEAR_BYTES = 24 };

static uint8_t far_file[FAR_BYTES], near_file[NEAR_BYTES];

static void fill_files(void) {
  int64_t shape[] = {2, 256};
  float values[K * N];
  for (int i = 0; i < K * N; i++) values[i] = (float)(i % 61 - 30);
  memset(far_file, 0x55, sizeof far_file);
  memset(near_file, 0x55, sizeof near_file);
  memcpy(far_file + WEIGHT_AT, values, sizeof values);
  memcpy(far_file + BIAS_AT, values, N * sizeof *values);
  memcpy(near_file + 8, shape, sizeof shape);
}

static float expected(int column) {
  float sum = (float)(column % 61 - 30) * (float)(column % 61 - 30);
  for (int k = 0; k < K; k++) sum += (float)(k + 1) * (float)((k * N + column) % 61 - 30);
  return sum;
}

static void add_external(proto *graph, const char *name, weft_dtype dtype, size_t rank,
                         const int64_t *dims, const char *location, long long offset) {
  proto tensor = {0};
  char number[24];
  snprintf(number, sizeof number, "%lld", offset);
  for (size_t i = 0; i < rank; i++) proto_varint(&tensor, 1, dims[i]);
  proto_varint(&tensor, 2, (int64_t)dtype);
  proto_text(&tensor, 8, name);
  proto_add_entry(&tensor, 13, "location", location);
  proto_add_entry(&tensor, 13, "offset", number);
  proto_varint(&tensor, 14, 1);
  proto_add(graph, 5, &tensor);
}

static proto linear_model(const char *last_op) {
  static const int64_t weight[] = {K, N}, vector[] = {N}, pair[] = {2}, none[] = {0};
  proto graph = {0};
  add_external(&graph, "b", WEFT_F32, 1, vector, "far", BIAS_AT);
  add_external(&graph, "w", WEFT_F32, 2, weight, "far", WEIGHT_AT);
  add_external(&graph, "s", WEFT_I64, 1, pair, "near", 8);
  add_external(&graph, "c", WEFT_F32, 1, vector, "far", BIAS_AT);
  add_external(&graph, "nothing", WEFT_F32, 1, none, "far", 7);
  build_node(&graph, "MatMul", "x w", "p", NULL);
  build_node(&graph, "Mul", "b c", "bc", NULL);
  build_node(&graph, "Add", "p bc", "sum", NULL);
  build_node(&graph, last_op, "sum s", "y", NULL);
  build_value(&graph, 11, "x", "rows,64");
  build_value(&graph, 12, "y", "a,256");
  return build_model(&graph);
}

/* y[20000] = x + t, with t sparse: its indices, 80 KB, lie outside. */
enum { SPARSE = 20000, SET = 10000 };
static proto sparse_model(void) {
  static float values[SET];
  static const int64_t set[] = {SET};
  proto graph = {0}, sparse = {0}, tensor = {0}, indices = {0};
  for (int i = 0; i < SET; i++) values[i] = (float)i;
  build_initializer(&tensor, "t", WEFT_F32, 1, set, values, sizeof values);
  proto_raw(&sparse, tensor.bytes, tensor.length); /* field 5 */
  sparse.bytes[0] = 1 << 3 | 2;                    /* values: field 1 */
  proto_free(&tensor);
  add_external(&indices, "i", WEFT_I64, 1, set, "far", 0);
  indices.bytes[0] = 2 << 3 | 2;
  proto_raw(&sparse, indices.bytes, indices.length);
  proto_free(&indices);
  proto_varint(&sparse, 3, SPARSE);
  proto_add(&graph, 15, &sparse);
  build_node(&graph, "Add", "x t", "y", NULL);
  build_value(&graph, 11, "x", "20000");
  build_value(&graph, 12, "y", "20000");
  return build_model(&graph);
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

static weft_runtime *open_runtime(budget *memory) {
  weft_runtime_options options = weft_runtime_options_default();
  if (memory) options.allocator = (weft_allocator){limited_allocate, limited_release, memory};
  weft_runtime *runtime = NULL;
  weft_runtime_open(&options, &runtime, NULL);
  return runtime;
}

/* Sizes that the resolver gives; 0: unknown. */
typedef struct sizes {
  uint64_t far, near;
  unsigned calls;
} sizes;

static weft_status resolve(void *user, const char *location, weft_source *out) {
  sizes *s = user;
  s->calls++;
  out->size = strcmp(location, "far") == 0 ? s->far : s->near;
  return WEFT_PENDING;
}

/* A loader that has seen all of the model's own bytes. */
static weft_status open_loader(weft_runtime *runtime, const proto *file,
                               const weft_model_options *options, bool pieces, weft_loader **out,
                               weft_error *error) {
  weft_source source = {.size = file->length, .bytes = file->bytes};
  if (!pieces) return weft_loader_open_source(runtime, &source, options, out, error);
  WEFT_TRY(weft_loader_open(runtime, 0, options, out, error));
  return weft_loader_feed(*out, file->bytes, file->length, error);
}

static weft_status feed_range(weft_loader *loader, const weft_wanted *wanted, size_t piece,
                              weft_error *error) {
  const uint8_t *bytes = strcmp(wanted->location, "far") == 0 ? far_file : near_file;
  for (uint64_t at = 0; at < wanted->length; at += piece) {
    size_t length = piece < wanted->length - at ? piece : (size_t)(wanted->length - at);
    WEFT_TRY(weft_loader_feed_external(loader, wanted->file, wanted->offset + at,
                                       bytes + wanted->offset + at, length, error));
  }
  return WEFT_OK;
}

/* Feeds whatever is wanted, in pieces, until the model is there. */
static weft_status finish(weft_loader **loader, size_t piece, weft_model **out, weft_error *error) {
  weft_status status;
  while ((status = weft_loader_finish(loader, out, error)) == WEFT_PENDING) {
    weft_wanted wanted;
    CHECK(weft_loader_wanted(*loader, &wanted));
    while (weft_loader_wanted(*loader, &wanted))
      WEFT_TRY(feed_range(*loader, &wanted, piece, error));
  }
  return status;
}

static weft_status open_model(weft_runtime *runtime, const proto *file, sizes *s, bool pieces,
                              size_t piece, weft_model **out, weft_error *error) {
  weft_model_options options = {.resolve = resolve, .resolve_user = s};
  weft_loader *loader = NULL;
  *out = NULL;
  weft_status status = open_loader(runtime, file, &options, pieces, &loader, error);
  if (status == WEFT_OK) status = finish(&loader, piece, out, error);
  weft_loader_close(&loader);
  return status;
}

static weft_status run(weft_runtime *runtime, weft_model *model, int64_t columns, weft_tensor **x,
                       weft_session **session, const float **y, weft_error *error) {
  int64_t dims[] = {1, columns};
  weft_session_options options = weft_session_options_default();
  options.consume_model = true;
  WEFT_TRY(weft_session_open(model, &options, session, error));
  const int64_t *shape = columns == SPARSE ? &dims[1] : dims;
  WEFT_TRY(weft_tensor_open(runtime, WEFT_F32, shape, columns == SPARSE ? 1 : 2, x, error));
  for (int64_t i = 0; i < columns; i++) ((float *)weft_tensor_data(*x))[i] = (float)(i + 1);
  weft_binding input = {"x", *x}, output = {"y", NULL};
  WEFT_TRY(weft_session_run(*session, NULL, &input, 1, &output, 1, error));
  *y = weft_tensor_data(output.tensor);
  return WEFT_OK;
}

static void check_linear(weft_runtime *runtime, weft_model *model) {
  weft_session *session = NULL;
  weft_tensor *x = NULL;
  const float *y;
  weft_error error;
  if (CHECK_OK(run(runtime, model, K, &x, &session, &y, &error), &error))
    for (int i = 0; i < N; i++) CHECK(y[i] == expected(i));
  weft_tensor_close(&x);
  weft_session_close(&session);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void test_any_pieces(void) {
  static const size_t sizes_of_pieces[] = {1 << 20, 65536, 1000, 7};
  proto file = linear_model("Reshape");
  weft_runtime *runtime = open_runtime(NULL);
  uint64_t held = weft_runtime_memory(runtime).bytes;
  for (size_t i = 0; i < 8; i++) {
    sizes s = {.far = i % 4 ? 0 : FAR_BYTES};
    weft_model *model;
    weft_error error;
    size_t piece = sizes_of_pieces[i / 2];
    if (!CHECK_OK(open_model(runtime, &file, &s, i % 2, piece, &model, &error), &error)) continue;
    CHECK_INT(s.calls, 2); /* once for each location */
    check_linear(runtime, model);
    weft_model_close(&model);
    CHECK_INT(weft_runtime_memory(runtime).bytes, held);
  }
  weft_runtime_close(&runtime);
  proto_free(&file);
}

static void check_wanted(const weft_loader *loader, const char *location, uint64_t offset,
                         uint64_t length) {
  weft_wanted wanted;
  if (!CHECK(weft_loader_wanted(loader, &wanted))) return;
  CHECK_TEXT(wanted.location, location);
  CHECK_INT(wanted.offset, offset);
  CHECK_INT(wanted.length, length);
}

/* Small tensors first, then the graph, then the large ones; a range goes on where it stopped. */
static void test_order(void) {
  proto file = linear_model("Reshape");
  weft_runtime *runtime = open_runtime(NULL);
  sizes s = {0};
  weft_model_options options = {.resolve = resolve, .resolve_user = &s};
  weft_loader *loader;
  weft_model *model;
  weft_wanted wanted;
  weft_error error;
  CHECK_OK(open_loader(runtime, &file, &options, false, &loader, &error), &error);
  CHECK_INT(weft_loader_weight_bytes(loader), WEIGHT_BYTES + 2 * N * 4 + 16);
  CHECK(!weft_loader_wanted(loader, &wanted));
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING);
  check_wanted(loader, "far", BIAS_AT, N * 4);
  CHECK(weft_loader_wanted(loader, &wanted));
  uint32_t far_number = wanted.file;
  CHECK_OK(weft_loader_feed_external(loader, far_number, BIAS_AT, far_file + BIAS_AT, 100, &error),
           &error);
  check_wanted(loader, "far", BIAS_AT + 100, N * 4 - 100);
  /* what lies elsewhere is passed over */
  CHECK_OK(weft_loader_feed_external(loader, far_number, BIAS_AT + 200, far_file, 300, &error),
           &error);
  CHECK_OK(weft_loader_feed_external(loader, far_number, 0, far_file, 1000, &error), &error);
  CHECK_OK(weft_loader_feed_external(loader, 77, BIAS_AT + 100, far_file, 300, &error), &error);
  check_wanted(loader, "far", BIAS_AT + 100, N * 4 - 100);
  CHECK(weft_loader_wanted(loader, &wanted));
  CHECK_OK(feed_range(loader, &wanted, 1 << 20, &error), &error);
  check_wanted(loader, "near", 8, 16);
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING); /* too soon: no harm */
  CHECK(weft_loader_wanted(loader, &wanted));
  CHECK_OK(feed_range(loader, &wanted, 3, &error), &error);
  CHECK(!weft_loader_wanted(loader, &wanted));
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING);
  check_wanted(loader, "far", WEIGHT_AT, WEIGHT_BYTES);
  CHECK(weft_loader_wanted(loader, &wanted));
  CHECK_OK(feed_range(loader, &wanted, 5000, &error), &error);
  CHECK_OK(weft_loader_finish(&loader, &model, &error), &error);
  CHECK(loader == NULL);
  check_linear(runtime, model);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

/* A server that knows no ranges sends each file as a whole; early or late makes no difference. */
static void test_whole_files(void) {
  proto file = linear_model("Reshape");
  weft_runtime *runtime = open_runtime(NULL);
  sizes s = {0};
  weft_model_options options = {.resolve = resolve, .resolve_user = &s};
  weft_loader *loader;
  weft_model *model;
  weft_wanted wanted;
  weft_error error;
  CHECK_OK(open_loader(runtime, &file, &options, true, &loader, &error), &error);
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING);
  while (weft_loader_wanted(loader, &wanted)) {
    wanted.length += wanted.offset;
    wanted.offset = 0;
    CHECK_OK(feed_range(loader, &wanted, 9999, &error), &error);
  }
  CHECK_OK(weft_loader_finish(&loader, &model, &error), &error);
  check_linear(runtime, model);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

static void test_sparse(void) {
  proto file = sparse_model();
  int64_t indices[SET];
  for (int64_t i = 0; i < SET; i++) indices[i] = 2 * i;
  memcpy(far_file, indices, sizeof indices);
  weft_runtime *runtime = open_runtime(NULL);
  sizes s = {0};
  weft_model *model;
  weft_session *session = NULL;
  weft_tensor *x = NULL;
  const float *y;
  weft_error error;
  if (CHECK_OK(open_model(runtime, &file, &s, true, 1000, &model, &error), &error) &&
      CHECK_OK(run(runtime, model, SPARSE, &x, &session, &y, &error), &error))
    for (int i = 0; i < SPARSE; i++) CHECK(y[i] == (float)(i + 1 + (i % 2 ? 0 : i / 2)));
  weft_tensor_close(&x);
  weft_session_close(&session);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  proto_free(&file);
  fill_files();
}

/* The graph is judged before the large tensors are asked for. */
static void test_bad_graph(void) {
  proto file = linear_model("NoSuchOperator");
  weft_runtime *runtime = open_runtime(NULL);
  sizes s = {0};
  weft_model_options options = {.resolve = resolve, .resolve_user = &s};
  weft_loader *loader;
  weft_model *model;
  weft_wanted wanted;
  weft_error error;
  CHECK_OK(open_loader(runtime, &file, &options, false, &loader, &error), &error);
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING);
  while (weft_loader_wanted(loader, &wanted)) {
    CHECK(wanted.length < WEIGHT_BYTES);
    CHECK_OK(feed_range(loader, &wanted, 1 << 20, &error), &error);
  }
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_UNSUPPORTED);
  CHECK(strstr(error.message, "NoSuchOperator"));
  CHECK(!weft_loader_wanted(loader, &wanted));
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK_INT(weft_loader_feed_external(loader, 0, 0, far_file, 10, &error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(error.message, "the loader has failed before");
  weft_loader_close(&loader);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

static void test_refused(void) {
  proto file = linear_model("Reshape");
  weft_runtime *runtime = open_runtime(NULL);
  sizes s = {.far = FAR_BYTES - 1};
  weft_model_options options = {.resolve = resolve, .resolve_user = &s};
  weft_source source = {.size = file.length, .bytes = file.bytes};
  weft_model *model;
  weft_loader *loader;
  weft_error error;
  CHECK_INT(open_model(runtime, &file, &s, true, 1, &model, &error), WEFT_INVALID_MODEL);
  CHECK_TEXT(error.message, "tensor 'b': external data: 2048 bytes at 335168 lie outside of 'far', "
                            "which has 337215 bytes");
  s.far = 0;
  CHECK_INT(weft_model_open(runtime, &source, &options, &model, &error), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(error.message, "the resolver wants to feed external data, which takes a loader");
  CHECK_OK(open_loader(runtime, &file, &options, true, &loader, &error), &error);
  CHECK_INT(weft_loader_finish(&loader, &model, &error), WEFT_PENDING);
  CHECK_INT(weft_loader_feed_external(loader, 0, UINT64_MAX, far_file, 2, &error),
            WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(error.message, "external data: the offset 18446744073709551615 is too large");
  weft_loader_close(&loader);
  weft_runtime_close(&runtime);
  proto_free(&file);
}

typedef struct progress_log {
  sizes sizes; /* first: the resolver's */
  uint64_t calls, done, total, cancel_at;
} progress_log;

static bool note_progress(void *user, uint64_t done, uint64_t total) {
  progress_log *log = user;
  CHECK(done >= log->done && (total == 0 || done <= total));
  log->done = done;
  log->total = total;
  return ++log->calls != log->cancel_at;
}

static void test_progress(void) {
  proto file = linear_model("Reshape");
  weft_runtime *runtime = open_runtime(NULL);
  uint64_t held = weft_runtime_memory(runtime).bytes;
  uint64_t total = file.length + WEIGHT_BYTES + 2 * N * 4 + 16;
  for (uint64_t cancel_at = 0; cancel_at < 4; cancel_at++) {
    progress_log log = {.cancel_at = cancel_at};
    weft_model_options options = {resolve, &log, note_progress, &log, 0};
    weft_loader *loader = NULL;
    weft_model *model = NULL;
    weft_error error;
    weft_status status = open_loader(runtime, &file, &options, true, &loader, &error);
    if (status == WEFT_OK) status = finish(&loader, 10000, &model, &error);
    CHECK_INT(status, cancel_at ? WEFT_CANCELLED : WEFT_OK);
    if (!cancel_at) CHECK_INT(log.done, total);
    if (!cancel_at) CHECK_INT(log.total, total);
    weft_model_close(&model);
    weft_loader_close(&loader);
    CHECK_INT(weft_runtime_memory(runtime).bytes, held);
  }
  weft_runtime_close(&runtime);
  proto_free(&file);
}

/* The allocator refuses from the n-th call on, for each n. */
static void test_no_memory(void) {
  proto file = linear_model("Reshape");
  for (int pieces = 0; pieces < 2; pieces++) {
    weft_status status = WEFT_OUT_OF_MEMORY;
    int64_t calls = 0;
    for (; status != WEFT_OK && calls < 1000; calls++) {
      budget b = {weft_host_allocator(), calls, 0};
      weft_runtime *runtime = open_runtime(&b);
      if (!runtime) continue;
      sizes s = {0};
      weft_model *model;
      weft_error error;
      status = open_model(runtime, &file, &s, pieces, 10000, &model, &error);
      CHECK(status == WEFT_OK || status == WEFT_OUT_OF_MEMORY);
      weft_model_close(&model);
      weft_runtime_close(&runtime);
      CHECK_INT(b.held, 0);
    }
    CHECK(calls > 10 && calls < 1000);
  }
  proto_free(&file);
}

int main(void) {
  fill_files();
  CHECK_RUN(test_any_pieces);
  CHECK_RUN(test_order);
  CHECK_RUN(test_whole_files);
  CHECK_RUN(test_sparse);
  CHECK_RUN(test_bad_graph);
  CHECK_RUN(test_refused);
  CHECK_RUN(test_progress);
  CHECK_RUN(test_no_memory);
  return check_result();
}
