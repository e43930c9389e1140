/* Tests of src/gpu/tuner_table: choices, and their text. Measuring is tested in tests/gpu. */
#include <stdio.h>
#include <string.h>

#include "base/runtime.h"
#include "cpu/cpu.h"
#include "gpu/tuner.h"
#include "tests/check.h"

typedef struct bench {
  weft_runtime *runtime;
  weft_gpu_null_counts counts;
  weft_gpu *gpu;
  weft_device *device;
  uint64_t bytes; /* before anything was opened */
  weft_error error;
} bench;

static void open_bench(bench *b) {
  memset(b, 0, sizeof *b);
  CHECK_OK(weft_runtime_open(NULL, &b->runtime, &b->error), &b->error);
  b->bytes = weft_runtime_memory(b->runtime).bytes;
  weft_heap *heap = &b->runtime->heap;
  weft_gpu_driver *driver = NULL;
  weft_device *host = NULL;
  weft_session_options options = weft_session_options_default();
  CHECK_OK(weft_gpu_null_open(heap, NULL, &b->counts, &driver, &b->error), &b->error);
  CHECK_OK(weft_gpu_open_driver(heap, driver, &b->gpu, &b->error), &b->error);
  CHECK_OK(weft_cpu_open(b->runtime, &options, heap, &host, &b->error), &b->error);
  CHECK_OK(weft_gpu_device_open(b->gpu, host, &options, heap, &b->device, &b->error), &b->error);
}

static void close_bench(bench *b) {
  b->device->close(b->device);
  weft_gpu_release(&b->gpu);
  CHECK_INT(weft_runtime_memory(b->runtime).bytes, b->bytes);
  weft_runtime_close(&b->runtime);
}

static uint32_t choose(const bench *b, const char *family, uint32_t word, uint32_t candidates,
                       uint32_t prior) {
  weft_tune_key key = {.family = family, .words = {word}};
  return weft_tune_choice((const weft_gpu_device *)(const void *)b->device, &key, candidates,
                          prior);
}

static size_t write_table(const bench *b, char *to, size_t size) {
  weft_text text = {.buffer = to, .size = size};
  weft_tuner_write(b->gpu, &text);
  return text.length;
}

static void test_guesses(void) {
  bench b;
  open_bench(&b);
  CHECK_INT(choose(&b, "matmul", 1, 5, 2), 2);
  CHECK_INT(choose(&b, "matmul", 1, 5, 3), 3); /* a guess is no choice yet */
  char text[1024];
  write_table(&b, text, sizeof text);
  CHECK(strchr(text, '\n')[1] == 0); /* nothing was measured */
  close_bench(&b);
}

static void test_text(void) {
  bench b;
  open_bench(&b);
  char head[1024], text[2048], again[2048];
  write_table(&b, head, sizeof head);
  snprintf(text, sizeof text,
           "%smatmul 7 0 0 0 0 0 0 0 5 4 1234\nattention 1 2 3 4 5 6 7 8 2 0 9\n", head);
  CHECK_OK(weft_tuner_read(b.gpu, text, strlen(text), &b.error), &b.error);
  CHECK_INT(choose(&b, "matmul", 7, 5, 1), 4);
  CHECK_INT(choose(&b, "matmul", 8, 5, 1), 1);
  write_table(&b, again, sizeof again);
  CHECK_TEXT(again, text);
  CHECK_INT(choose(&b, "matmul", 7, 6, 1), 1); /* other candidates: it says nothing any more */
  close_bench(&b);
}

static void check_refused(bench *b, const char *head, const char *line, const char *message) {
  char text[2048];
  snprintf(text, sizeof text, "%smatmul 7 0 0 0 0 0 0 0 5 4 1234\n%s\n", head, line);
  CHECK_INT(weft_tuner_read(b->gpu, text, strlen(text), &b->error), WEFT_INVALID_DATA);
  CHECK_TEXT(b->error.message, message);
  CHECK_INT(choose(b, "matmul", 7, 5, 1), 1); /* not even the good line was taken */
}

static void test_bad_text(void) {
  static const char *const lines[] = {
      "matmul",
      "matmul 1 2 3",
      "matmul 1 2 3 4 5 6 7 8 2 2 9",   /* no such candidate */
      "matmul 1 2 3 4 5 6 7 8 2 1 9 9", /* a number too many */
      "matmul 1 2 3 4 5 6 7 8 2 1 x",
      "matmul 1 2 3 4 5 6 7 4294967296 2 1 9", /* beyond 32 bits */
      "matmul 1 2 3 4 5 6 7 8 2 1 99999999999999999999999",
      "a-family-with-a-very-long-name 1 2 3 4 5 6 7 8 2 1 9",
  };
  bench b;
  open_bench(&b);
  char head[1024];
  write_table(&b, head, sizeof head);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    check_refused(&b, head, lines[i], "tuning: line 3 is malformed");
  check_refused(&b, "weft-tuning 1 another|GPU\n", "",
                "tuning: it was measured on another GPU, or for other kernels");
  CHECK_INT(weft_tuner_read(b.gpu, "", 0, &b.error), WEFT_INVALID_DATA);
  close_bench(&b);
}

int main(void) {
  CHECK_RUN(test_guesses);
  CHECK_RUN(test_text);
  CHECK_RUN(test_bad_text);
  return check_result();
}
