/* What becomes of a whole encoder: the dumps of its optimised graph and of its plan, against
 * tests/golden. After a change on purpose, run this program with WEFT_UPDATE_GOLDEN=1 and look at
 * the difference in git. The reference kernels make the plan the same on every machine. */
#include "tests/check.h"

#include "tests/model_build.h"

typedef struct dump {
  char text[32768];
  size_t length;
} dump;

static void append(void *user, const char *text, size_t length) {
  dump *d = user;
  if (!CHECK(d->length + length < sizeof d->text)) return;
  memcpy(d->text + d->length, text, length);
  d->length += length;
  d->text[d->length] = 0;
}

static bool read_golden(const char *path, dump *out) {
  FILE *file = fopen(path, "rb");
  out->length = file ? fread(out->text, 1, sizeof out->text - 1, file) : 0;
  out->text[out->length] = 0;
  if (file) fclose(file);
  return file != NULL;
}

static void write_golden(const char *path, const dump *d) {
  FILE *file = fopen(path, "wb");
  if (!CHECK(file != NULL)) return;
  CHECK_INT(fwrite(d->text, 1, d->length, file), d->length);
  fclose(file);
}

/* Prints the first line that differs. */
static void show_difference(const char *actual, const char *expected) {
  while (*actual && *actual == *expected) {
    const char *line = strchr(actual, '\n');
    size_t length = line ? (size_t)(line - actual) + 1 : strlen(actual);
    if (strncmp(actual, expected, length) != 0) break;
    actual += length;
    expected += length;
  }
  check_print("  expected: %.*s\n  it is:    %.*s\n", (int)strcspn(expected, "\n"), expected,
              (int)strcspn(actual, "\n"), actual);
}

static void compare(const char *path, const dump *actual) {
  static dump golden;
  if (getenv("WEFT_UPDATE_GOLDEN")) write_golden(path, actual);
  CHECK(read_golden(path, &golden));
  if (!CHECK(strcmp(actual->text, golden.text) == 0)) {
    check_print("  %s:\n", path);
    show_difference(actual->text, golden.text);
  }
}

typedef struct fixture {
  weft_runtime *runtime;
  weft_model *model;
  weft_session *session;
  weft_error error;
  proto file;
} fixture;

static void open_encoder(fixture *f, const char *disabled) {
  f->file = build_encoder();
  weft_source source = {.size = f->file.length, .bytes = f->file.bytes};
  weft_session_options options = {.kernels = "reference", .disabled_passes = disabled};
  CHECK_OK(weft_runtime_open(NULL, &f->runtime, &f->error), &f->error);
  CHECK_OK(weft_model_open(f->runtime, &source, NULL, &f->model, &f->error), &f->error);
  CHECK_OK(weft_session_open(f->model, &options, &f->session, &f->error), &f->error);
}

static void run(fixture *f, int64_t batch, int64_t tokens) {
  weft_tensor *x;
  int64_t dims[] = {batch, tokens, 8};
  CHECK_OK(weft_tensor_open(f->runtime, WEFT_F32, dims, 3, &x, &f->error), &f->error);
  weft_binding in = {"x", x}, out[] = {{"y", NULL}, {"hidden", NULL}};
  CHECK_OK(weft_session_run(f->session, NULL, &in, 1, out, 2, &f->error), &f->error);
  weft_tensor_close(&x);
}

static void close_encoder(fixture *f) {
  weft_session_close(&f->session);
  weft_model_close(&f->model);
  weft_runtime_close(&f->runtime);
  proto_free(&f->file);
}

static void compare_dump(fixture *f, weft_dump what, const char *path) {
  static dump text;
  text.length = 0;
  CHECK_OK(weft_session_dump(f->session, what, append, &text, &f->error), &f->error);
  compare(path, &text);
}

static void test_graph(void) {
  fixture f;
  open_encoder(&f, "all");
  compare_dump(&f, WEFT_DUMP_GRAPH, "tests/golden/encoder-graph-plain.txt");
  close_encoder(&f);
  open_encoder(&f, NULL);
  compare_dump(&f, WEFT_DUMP_GRAPH, "tests/golden/encoder-graph.txt");
  close_encoder(&f);
}

static void test_plan(void) {
  fixture f;
  open_encoder(&f, NULL);
  run(&f, 2, 5);
  compare_dump(&f, WEFT_DUMP_PLAN, "tests/golden/encoder-plan.txt");
  close_encoder(&f);
}

int main(void) {
  CHECK_RUN(test_graph);
  CHECK_RUN(test_plan);
  return check_result();
}
