/* Lack of memory at every allocation of load, session, run and close: the n-th one fails, once or
 * from then on, for every n until all succeeds. Each must end in WEFT_OUT_OF_MEMORY with nothing
 * held, and the next try must be as good as ever.
 *
 *   test_fault_memory [MODEL.onnx]     by default on a small encoder */
#include "tests/check.h"

#include <stdio.h>

#include "tests/attempt.h"
#include "tests/model_build.h"

typedef struct faulty {
  int64_t fails_at; /* the number of the call that fails; -1: none */
  bool forever;
  int64_t calls, blocks;
} faulty;

static void *faulty_allocate(void *user, size_t bytes, size_t alignment) {
  faulty *f = user;
  int64_t call = f->calls++;
  if (f->fails_at >= 0 && (call == f->fails_at || (f->forever && call > f->fails_at))) return NULL;
  f->blocks++;
  return aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
}
static void faulty_release(void *user, void *memory, size_t bytes) {
  (void)bytes;
  ((faulty *)user)->blocks--;
  free(memory);
}

static proto file;

/* In pieces, so that the loader's own buffers are in the sweep. */
static weft_status load(weft_runtime *runtime, weft_model **out, weft_error *error) {
  weft_loader *loader;
  weft_status status = weft_loader_open(runtime, file.length, NULL, &loader, error);
  for (size_t at = 0; at < file.length && status == WEFT_OK; at += 1000) {
    size_t length = file.length - at < 1000 ? file.length - at : 1000;
    status = weft_loader_feed(loader, file.bytes + at, length, error);
  }
  if (status == WEFT_OK) status = weft_loader_finish(&loader, out, error);
  weft_loader_close(&loader);
  return status;
}

/* Everything once: the first failure, if any. Attempts are made twice on a session, the second
 * after a failure too. */
static weft_status try_all(faulty *memory, weft_error *error) {
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator = (weft_allocator){faulty_allocate, faulty_release, memory};
  weft_runtime *runtime = NULL;
  weft_model *model = NULL;
  weft_status status = weft_runtime_open(&options, &runtime, error);
  if (status == WEFT_OK) status = load(runtime, &model, error);
  if (status == WEFT_OK) status = attempt(runtime, model, error);
  weft_model_close(&model);
  weft_runtime_close(&runtime);
  return status;
}

static int64_t sweep(bool forever) {
  for (int64_t n = 0;; n++) {
    faulty memory = {.fails_at = n, .forever = forever};
    weft_error error = {0};
    weft_status status = try_all(&memory, &error);
    if (!CHECK_INT(memory.blocks, 0))
      check_print("  held after a failure at allocation %lld\n", (long long)n);
    if (memory.calls <= n) {
      CHECK_OK(status, &error);
      return n;
    }
    /* Where an optional gain lacks memory, going on without it is right too. */
    if (status == WEFT_OK) continue;
    if (!CHECK_INT(status, WEFT_OUT_OF_MEMORY)) {
      check_print("  at allocation %lld: %s\n", (long long)n, error.message);
    }
  }
}

static void test_every_allocation_fails_once(void) {
  check_print("%lld allocations failed in turn\n", (long long)sweep(false));
}
static void test_memory_ends_at_every_allocation(void) {
  sweep(true);
}

static void read_model(const char *path) {
  FILE *from = fopen(path, "rb");
  uint8_t bytes[4096];
  size_t count;
  if (!from) {
    perror(path);
    exit(2);
  }
  while ((count = fread(bytes, 1, sizeof bytes, from)) > 0) proto_raw(&file, bytes, count);
  fclose(from);
}

int main(int argc, char **argv) {
  if (argc > 1)
    read_model(argv[1]);
  else
    file = build_encoder();
  CHECK_RUN(test_every_allocation_fails_once);
  CHECK_RUN(test_memory_ends_at_every_allocation);
  proto_free(&file);
  return check_result();
}
