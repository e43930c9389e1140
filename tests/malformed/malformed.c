/* Malformed models: each of cases.py must be answered with its exact error, however its bytes come;
 * and a small model with any of its bytes changed, or cut anywhere, with an error or none, but
 * never with a crash, a hang or a leak (run it under sanitizers).
 *
 *   malformed FOLDER     as generate.py wrote it */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "tests/attempt.h"
#include "tests/check.h"

static weft_runtime *runtime;

typedef struct bytes {
  uint8_t *data;
  size_t length;
} bytes;

static const char *folder;

static bytes read_file(const char *name, const char *suffix) {
  char path[1000];
  snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(2);
  }
  fseek(file, 0, SEEK_END);
  bytes out = {.length = (size_t)ftell(file)};
  rewind(file);
  out.data = malloc(out.length + 1); /* a NUL behind the text of `cases` */
  if (fread(out.data, 1, out.length, file) != out.length) exit(2);
  out.data[out.length] = 0;
  fclose(file);
  return out;
}

/* ---- the ways in which a file comes ------------------------------------------------------------
 */

static weft_status resolve(void *user, const char *location, weft_source *out) {
  static const uint8_t data[64];
  (void)user;
  if (strcmp(location, "data") != 0) return WEFT_IO_ERROR;
  *out = (weft_source){.size = sizeof data, .bytes = data};
  return WEFT_OK;
}

static weft_status read_range(void *user, uint64_t offset, size_t length, void *to) {
  memcpy(to, ((const bytes *)user)->data + offset, length);
  return WEFT_OK;
}

static weft_status feed_loader(weft_loader **loader, const bytes *file, size_t piece,
                               weft_model **out, weft_error *error) {
  for (size_t at = 0; at < file->length; at += piece) {
    size_t length = piece < file->length - at ? piece : file->length - at;
    WEFT_TRY(weft_loader_feed(*loader, file->data + at, length, error));
  }
  return weft_loader_finish(loader, out, error);
}

typedef enum way { SPAN, READER, PIECES, WAYS } way;

static weft_status open_model(way by, bytes *file, weft_model **out, weft_error *error) {
  weft_model_options options = {.resolve = resolve, .memory_limit = ATTEMPT_MEMORY};
  *out = NULL;
  weft_source source = {.size = file->length};
  if (by == SPAN) source.bytes = file->data;
  if (by == READER) {
    source.read = read_range;
    source.user = file;
  }
  if (by != PIECES) return weft_model_open(runtime, &source, &options, out, error);
  weft_loader *loader;
  weft_status status = weft_loader_open(runtime, file->length, &options, &loader, error);
  if (status == WEFT_OK) status = feed_loader(&loader, file, 5, out, error);
  weft_loader_close(&loader);
  return status;
}

/* Opens, opens a session, runs; on an exact copy of the bytes, so that a sanitizer sees their end.
 */
static weft_status try_file(way by, const bytes *file, weft_error *error) {
  bytes copy = {malloc(file->length ? file->length : 1), file->length};
  if (file->length) memcpy(copy.data, file->data, file->length);
  weft_model *model;
  weft_status status = open_model(by, &copy, &model, error);
  if (status == WEFT_OK) status = attempt(runtime, model, error);
  weft_model_close(&model);
  free(copy.data);
  return status;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

/* An answer that ends with "..." leaves the rest open: numbers that depend on the build. */
static bool is_answer(const char *got, const char *answer) {
  size_t length = strlen(answer);
  bool open = length > 3 && strcmp(answer + length - 3, "...") == 0;
  return open ? strncmp(got, answer, length - 3) == 0 : strcmp(got, answer) == 0;
}

static void check_case(const char *name, const char *answer) {
  bytes file = read_file(name, ".onnx");
  for (way by = 0; by < WAYS; by++) {
    weft_error error = {0};
    weft_status status = try_file(by, &file, &error);
    char got[600];
    snprintf(got, sizeof got, "%s%s%s", weft_status_name(status), status ? ": " : "",
             status ? error.message : "");
    check_count++;
    if (is_answer(got, answer)) continue;
    check_failures++;
    check_print("%s (way %d)\n  expected %s\n  got      %s\n", name, (int)by, answer, got);
  }
  free(file.data);
}

static void test_cases(void) {
  bytes list = read_file("cases", "");
  for (char *line = strtok((char *)list.data, "\n"); line; line = strtok(NULL, "\n")) {
    char *tab = strchr(line, '\t');
    *tab = 0;
    check_case(line, tab + 1);
  }
  free(list.data);
}

static uint64_t held_at_start;

static void check_survived(weft_status status) {
  CHECK(status <= WEFT_OK && status != WEFT_INTERNAL);
  CHECK(weft_runtime_memory(runtime).bytes == held_at_start);
}

static void test_seed(void) {
  bytes seed = read_file("seed", ".onnx");
  weft_error error;
  for (way by = 0; by < WAYS; by++) CHECK_OK(try_file(by, &seed, &error), &error);
  free(seed.data);
}

static void test_truncation(void) {
  bytes seed = read_file("seed", ".onnx");
  weft_error error;
  for (size_t length = 0; length < seed.length; length++) {
    bytes cut = {seed.data, length};
    for (way by = 0; by < WAYS; by++) check_survived(try_file(by, &cut, &error));
  }
  free(seed.data);
}

static void test_flips(void) {
  enum { FLIPS = 10000 };
  bytes seed = read_file("seed", ".onnx");
  uint64_t random = 20261120;
  weft_error error;
  for (int i = 0; i < FLIPS; i++) {
    uint8_t *byte = &seed.data[check_random(&random) % seed.length];
    uint8_t before = *byte;
    *byte ^= (uint8_t)(1 + check_random(&random) % 255);
    check_survived(try_file((way)(i % WAYS), &seed, &error));
    *byte = before;
  }
  free(seed.data);
}

int main(int count, char **arguments) {
  if (count != 2) return 2;
  folder = arguments[1];
  weft_error error;
  if (!CHECK_OK(weft_runtime_open(NULL, &runtime, &error), &error)) return 1;
  held_at_start = weft_runtime_memory(runtime).bytes;
  CHECK_RUN(test_cases);
  CHECK_RUN(test_seed);
  CHECK_RUN(test_truncation);
  CHECK_RUN(test_flips);
  CHECK(weft_runtime_memory(runtime).bytes == held_at_start);
  weft_runtime_close(&runtime);
  return check_result();
}
