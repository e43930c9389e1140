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

/* A model's bytes, a runtime, and what its loader may need. */
typedef struct feeding {
  proto file;
  weft_runtime *runtime;
  sizes s;
  weft_model_options options;
  weft_loader *loader;
  weft_model *model;
  weft_error error;
} feeding;

static void feeding_open(feeding *f, proto file) {
  *f = (feeding){.file = file, .runtime = open_runtime(NULL)};
  f->options = (weft_model_options){.resolve = resolve, .resolve_user = &f->s};
}

/* With a loader that has seen all of the model's own bytes, and waits for others. */
static void feeding_start(feeding *f, proto file, bool pieces) {
  feeding_open(f, file);
  CHECK_OK(open_loader(f->runtime, &f->file, &f->options, pieces, &f->loader, &f->error),
           &f->error);
}

static void check_pending(feeding *f) {
  CHECK_INT(weft_loader_finish(&f->loader, &f->model, &f->error), WEFT_PENDING);
}

static void feeding_close(feeding *f) {
  weft_model_close(&f->model);
  weft_loader_close(&f->loader);
  weft_runtime_close(&f->runtime);
  proto_free(&f->file);
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
  feeding f;
  feeding_open(&f, linear_model("Reshape"));
  uint64_t held = weft_runtime_memory(f.runtime).bytes;
  for (size_t i = 0; i < 8; i++) {
    f.s = (sizes){.far = i % 4 ? 0 : FAR_BYTES};
    weft_status status =
        open_model(f.runtime, &f.file, &f.s, i % 2, sizes_of_pieces[i / 2], &f.model, &f.error);
    if (!CHECK_OK(status, &f.error)) continue;
    CHECK_INT(f.s.calls, 2); /* once for each location */
    check_linear(f.runtime, f.model);
    weft_model_close(&f.model);
    CHECK_INT(weft_runtime_memory(f.runtime).bytes, held);
  }
  feeding_close(&f);
}

static void check_wanted(const weft_loader *loader, const char *location, uint64_t offset,
                         uint64_t length) {
  weft_wanted wanted;
  if (!CHECK(weft_loader_wanted(loader, &wanted))) return;
  CHECK_TEXT(wanted.location, location);
  CHECK_INT(wanted.offset, offset);
  CHECK_INT(wanted.length, length);
}

static weft_status feed_far(feeding *f, uint32_t file, uint64_t offset, const uint8_t *bytes,
                            size_t length) {
  return weft_loader_feed_external(f->loader, file, offset, bytes, length, &f->error);
}

static void feed_wanted(feeding *f, size_t piece) {
  weft_wanted wanted;
  CHECK(weft_loader_wanted(f->loader, &wanted));
  CHECK_OK(feed_range(f->loader, &wanted, piece, &f->error), &f->error);
}

/* Small tensors first, then the graph, then the large ones; a range goes on where it stopped. */
static void test_order(void) {
  feeding f;
  weft_wanted wanted;
  feeding_start(&f, linear_model("Reshape"), false);
  CHECK_INT(weft_loader_weight_bytes(f.loader), WEIGHT_BYTES + 2 * N * 4 + 16);
  CHECK(!weft_loader_wanted(f.loader, &wanted));
  check_pending(&f);
  check_wanted(f.loader, "far", BIAS_AT, N * 4);
  CHECK(weft_loader_wanted(f.loader, &wanted));
  CHECK_OK(feed_far(&f, wanted.file, BIAS_AT, far_file + BIAS_AT, 100), &f.error);
  check_wanted(f.loader, "far", BIAS_AT + 100, N * 4 - 100);
  /* what lies elsewhere is passed over */
  CHECK_OK(feed_far(&f, wanted.file, BIAS_AT + 200, far_file, 300), &f.error);
  CHECK_OK(feed_far(&f, wanted.file, 0, far_file, 1000), &f.error);
  CHECK_OK(feed_far(&f, 77, BIAS_AT + 100, far_file, 300), &f.error);
  check_wanted(f.loader, "far", BIAS_AT + 100, N * 4 - 100);
  feed_wanted(&f, 1 << 20);
  check_wanted(f.loader, "near", 8, 16);
  check_pending(&f); /* too soon: no harm */
  feed_wanted(&f, 3);
  CHECK(!weft_loader_wanted(f.loader, &wanted));
  check_pending(&f);
  check_wanted(f.loader, "far", WEIGHT_AT, WEIGHT_BYTES);
  feed_wanted(&f, 5000);
  CHECK_OK(weft_loader_finish(&f.loader, &f.model, &f.error), &f.error);
  CHECK(f.loader == NULL);
  check_linear(f.runtime, f.model);
  feeding_close(&f);
}

/* A server that knows no ranges sends each file as a whole; early or late makes no difference. */
static void test_whole_files(void) {
  feeding f;
  weft_wanted wanted;
  feeding_start(&f, linear_model("Reshape"), true);
  check_pending(&f);
  while (weft_loader_wanted(f.loader, &wanted)) {
    wanted.length += wanted.offset;
    wanted.offset = 0;
    CHECK_OK(feed_range(f.loader, &wanted, 9999, &f.error), &f.error);
  }
  CHECK_OK(weft_loader_finish(&f.loader, &f.model, &f.error), &f.error);
  check_linear(f.runtime, f.model);
  feeding_close(&f);
}

static void test_sparse(void) {
  feeding f;
  int64_t indices[SET];
  for (int64_t i = 0; i < SET; i++) indices[i] = 2 * i;
  memcpy(far_file, indices, sizeof indices);
  weft_session *session = NULL;
  weft_tensor *x = NULL;
  const float *y;
  feeding_open(&f, sparse_model());
  weft_error *error = &f.error;
  if (CHECK_OK(open_model(f.runtime, &f.file, &f.s, true, 1000, &f.model, error), error) &&
      CHECK_OK(run(f.runtime, f.model, SPARSE, &x, &session, &y, error), error))
    for (int i = 0; i < SPARSE; i++) CHECK(y[i] == (float)(i + 1 + (i % 2 ? 0 : i / 2)));
  weft_tensor_close(&x);
  weft_session_close(&session);
  feeding_close(&f);
  fill_files();
}

/* The graph is judged before the large tensors are asked for. */
static void test_bad_graph(void) {
  feeding f;
  weft_wanted wanted;
  feeding_start(&f, linear_model("NoSuchOperator"), false);
  check_pending(&f);
  while (weft_loader_wanted(f.loader, &wanted)) {
    CHECK(wanted.length < WEIGHT_BYTES);
    feed_wanted(&f, 1 << 20);
  }
  CHECK_INT(weft_loader_finish(&f.loader, &f.model, &f.error), WEFT_UNSUPPORTED);
  CHECK(strstr(f.error.message, "NoSuchOperator"));
  CHECK(!weft_loader_wanted(f.loader, &wanted));
  CHECK_INT(weft_loader_finish(&f.loader, &f.model, &f.error), WEFT_INVALID_ARGUMENT);
  CHECK_INT(feed_far(&f, 0, 0, far_file, 10), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "the loader has failed before");
  feeding_close(&f);
}

static void test_refused(void) {
  feeding f;
  feeding_open(&f, linear_model("Reshape"));
  weft_source source = {.size = f.file.length, .bytes = f.file.bytes};
  f.s.far = FAR_BYTES - 1;
  CHECK_INT(open_model(f.runtime, &f.file, &f.s, true, 1, &f.model, &f.error), WEFT_INVALID_MODEL);
  CHECK_TEXT(f.error.message,
             "tensor 'b': external data: 2048 bytes at 335168 lie outside of 'far', "
             "which has 337215 bytes");
  f.s.far = 0;
  CHECK_INT(weft_model_open(f.runtime, &source, &f.options, &f.model, &f.error),
            WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "the resolver wants to feed external data, which takes a loader");
  feeding_close(&f);
  feeding_start(&f, linear_model("Reshape"), true);
  check_pending(&f);
  CHECK_INT(feed_far(&f, 0, UINT64_MAX, far_file, 2), WEFT_INVALID_ARGUMENT);
  CHECK_TEXT(f.error.message, "external data: the offset 18446744073709551615 is too large");
  feeding_close(&f);
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
  feeding f;
  feeding_open(&f, linear_model("Reshape"));
  uint64_t held = weft_runtime_memory(f.runtime).bytes;
  uint64_t total = f.file.length + WEIGHT_BYTES + 2 * N * 4 + 16;
  for (uint64_t cancel_at = 0; cancel_at < 4; cancel_at++) {
    progress_log log = {.cancel_at = cancel_at};
    f.options = (weft_model_options){resolve, &log, note_progress, &log, 0};
    weft_status status = open_loader(f.runtime, &f.file, &f.options, true, &f.loader, &f.error);
    if (status == WEFT_OK) status = finish(&f.loader, 10000, &f.model, &f.error);
    CHECK_INT(status, cancel_at ? WEFT_CANCELLED : WEFT_OK);
    if (!cancel_at) CHECK_INT(log.done, total);
    if (!cancel_at) CHECK_INT(log.total, total);
    weft_model_close(&f.model);
    weft_loader_close(&f.loader);
    CHECK_INT(weft_runtime_memory(f.runtime).bytes, held);
  }
  feeding_close(&f);
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
