/* Tests of src/base: text, heap, arena, map, buffers, runtime. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/map.h"
#include "base/runtime.h"
#include "base/text.h"
#include "tests/check.h"

/* ---- text ------------------------------------------------------------------------------------ */

#define CHECK_FORMAT(...)                                                                          \
  do {                                                                                             \
    char expected_[200], actual_[200];                                                             \
    snprintf(expected_, sizeof expected_, __VA_ARGS__);                                            \
    weft_text text_ = {.buffer = actual_, .size = sizeof actual_};                                 \
    weft_text_add(&text_, __VA_ARGS__);                                                            \
    CHECK_TEXT(actual_, expected_);                                                                \
    CHECK_INT(text_.length, strlen(expected_));                                                    \
  } while (0)

static void test_text_integers(void) {
  CHECK_FORMAT("%d %i %u %x", -7, INT32_MIN, UINT32_MAX, 0xbeefu);
  CHECK_FORMAT("%ld %lu %lx", -7l, 8ul, 0xfful);
  CHECK_FORMAT("%lld %llu %llx", (long long)INT64_MIN, (unsigned long long)UINT64_MAX, 1ull << 63);
  CHECK_FORMAT("%zu %zd", SIZE_MAX, (ptrdiff_t)-1);
  CHECK_FORMAT("%d%%", 0);
}

static void test_text_strings(void) {
  CHECK_FORMAT("[%s] [%.*s] [%.*s] [%c]", "word", 2, "word", 9, "word", 'x');
  CHECK_FORMAT("%s", "");
  char null[8];
  weft_text text = {.buffer = null, .size = sizeof null};
  const char *volatile nothing = NULL; /* volatile: the compiler warns of what it can see */
  weft_text_add(&text, "%s", nothing);
  CHECK_TEXT(null, "(null)");
}

static void test_text_floats(void) {
  static const double values[] = {0,        -0.0,      1,       -1,      0.1,    100,   1e5,
                                  123456,   1234567,   1e6,     1e-4,    1e-5,   1e300, -1e-300,
                                  999999.5, 9.9999995, 0.00025, 3.14159, 2.5e-3, 1e21,  1.0 / 3};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    CHECK_FORMAT("%g", values[i]);
    CHECK_FORMAT("%.3g %.9g", values[i], values[i]);
  }
  CHECK_FORMAT("%g %g %g", (double)__builtin_inf(), -(double)__builtin_inf(),
               (double)__builtin_nan(""));
}

/* Nine digits of a float name it exactly, so a dump that is read back is the same number. */
static void test_text_floats_read_back(void) {
  uint64_t state = 1;
  for (int i = 0; i < 20000; i++) {
    uint32_t bits = (uint32_t)(check_random(&state) >> 32);
    float value;
    memcpy(&value, &bits, sizeof value);
    if (value != value) continue;
    char buffer[40];
    weft_text text = {.buffer = buffer, .size = sizeof buffer};
    weft_text_add(&text, "%.9g", (double)value);
    if (!CHECK(strtof(buffer, NULL) == value)) check_print("  %s\n", buffer);
  }
}

static void test_text_is_cut(void) {
  char buffer[6];
  weft_text text = {.buffer = buffer, .size = sizeof buffer};
  weft_text_add(&text, "%s%d", "abc", 12345);
  CHECK_TEXT(buffer, "abc12");
  weft_text_add(&text, "more");
  CHECK_TEXT(buffer, "abc12");
  CHECK_INT(text.length, 5);
}

static void collect(void *user, const char *bytes, size_t length) {
  weft_text_add(user, "%.*s", (int)length, bytes);
}

static void test_text_writes_through(void) {
  char buffer[40];
  weft_text target = {.buffer = buffer, .size = sizeof buffer};
  weft_text text = {.write = collect, .user = &target};
  weft_text_add(&text, "%s=%d", "answer", 42);
  CHECK_TEXT(buffer, "answer=42");
  CHECK_INT(text.length, 9);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_names(void) {
  CHECK_TEXT(weft_status_name(WEFT_OK), "ok");
  CHECK_TEXT(weft_status_name(WEFT_LIMIT_EXCEEDED), "limit exceeded");
  CHECK_TEXT(weft_status_name((weft_status)-99), "unknown status");
  CHECK_TEXT(weft_dtype_name(WEFT_BF16), "bf16");
  CHECK_TEXT(weft_dtype_name((weft_dtype)14), "?");
  CHECK_TEXT(weft_dtype_name((weft_dtype)-1), "?");
  CHECK_INT(weft_dtype_size(WEFT_F64), 8);
  CHECK_INT(weft_dtype_size(WEFT_STRING), 0);
  CHECK_INT(weft_dtype_size((weft_dtype)1000), 0);
}

static void test_fail_fills_the_error(void) {
  weft_error error;
  CHECK_INT(weft_fail(&error, WEFT_INVALID_MODEL, "node %u: %s", 3u, "bad"), WEFT_INVALID_MODEL);
  CHECK_INT(error.status, WEFT_INVALID_MODEL);
  CHECK_TEXT(error.message, "node 3: bad");
  CHECK_INT(weft_fail(NULL, WEFT_INTERNAL, "nobody reads this"), WEFT_INTERNAL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_heap_counts_and_limits(void) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap parent, heap;
  weft_heap_init(&parent, &allocator, NULL, 0);
  weft_heap_init(&heap, NULL, &parent, 1000);

  char *first = weft_heap_allocate_zeroed(&heap, 600);
  CHECK_INT((uintptr_t)first % WEFT_ALIGNMENT, 0);
  CHECK_INT(first[0] + first[599], 0);
  CHECK(weft_heap_allocate(&heap, 401) == NULL);
  weft_error error;
  CHECK_INT(weft_heap_fail(&heap, 401, "a test", &error), WEFT_LIMIT_EXCEEDED);
  CHECK_TEXT(error.message,
             "a test needs 401 bytes, but 600 of the memory limit of 1000 bytes are in use");
  void *second = weft_heap_allocate(&heap, 400);
  CHECK(second != NULL);
  void *empty = weft_heap_allocate(&heap, 0);
  CHECK(empty != NULL);

  weft_memory_use use = weft_heap_use(&parent);
  CHECK_INT(use.bytes, 1000);
  weft_heap_release(&heap, first, 600);
  weft_heap_release(&heap, empty, 0);
  weft_heap_release(&heap, second, 400);
  weft_heap_release(&heap, NULL, 1);
  use = weft_heap_use(&parent);
  CHECK_INT(use.bytes, 0);
  CHECK_INT(use.bytes_peak, 1000);
  CHECK_INT(use.calls, 3); /* the refused one never came this far */
  CHECK_INT(weft_heap_use(&heap).calls, 4);
}

static void test_heap_refuses_the_impossible(void) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap heap;
  weft_heap_init(&heap, &allocator, NULL, 0);
  CHECK(weft_heap_allocate(&heap, UINT64_MAX) == NULL);
  CHECK(weft_heap_allocate(&heap, 1ull << 62) == NULL);
  CHECK_INT(weft_heap_use(&heap).bytes, 0);
  weft_error error;
  CHECK_INT(weft_heap_fail(&heap, 1ull << 62, "x", &error), WEFT_OUT_OF_MEMORY);
}

static void test_checked_arithmetic(void) {
  uint64_t u;
  int64_t i;
  CHECK(weft_mul_u64(1ull << 31, 1ull << 32, &u) && u == 1ull << 63);
  CHECK(!weft_mul_u64(1ull << 32, 1ull << 32, &u));
  CHECK(!weft_add_u64(UINT64_MAX, 1, &u));
  CHECK(!weft_add_i64(INT64_MAX, 1, &i));
  CHECK(!weft_sub_i64(INT64_MIN, 1, &i));
  CHECK(!weft_mul_i64(INT64_MIN, -1, &i));
  CHECK_INT(weft_align_up(65, 64), 128);
  CHECK_INT(weft_align_up(64, 64), 64);
}

typedef struct {
  weft_heap heap;
  weft_arena arena;
} arena_fixture;

static void open_arena(arena_fixture *fixture, uint64_t limit) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap_init(&fixture->heap, &allocator, NULL, limit);
  weft_arena_init(&fixture->arena, &fixture->heap);
}

static void close_arena(arena_fixture *fixture) {
  weft_arena_release(&fixture->arena);
  CHECK_INT(weft_heap_use(&fixture->heap).bytes, 0);
}

static void test_arena(void) {
  arena_fixture on;
  open_arena(&on, 0);
  uint64_t state = 7;
  for (int i = 0; i < 1000; i++) {
    uint64_t bytes = check_random(&state) % 5000;
    unsigned char *memory = weft_arena_allocate(&on.arena, bytes);
    CHECK_INT((uintptr_t)memory % 16, 0);
    uint64_t sum = 0;
    for (uint64_t at = 0; at < bytes; at++) sum += memory[at];
    CHECK_INT(sum, 0);
    memset(memory, 0xff, bytes);
  }
  CHECK(weft_arena_array(&on.arena, 1ull << 33, 1ull << 33) == NULL);
  CHECK(weft_arena_allocate(&on.arena, UINT64_MAX) == NULL);
  weft_str copy = weft_arena_copy(&on.arena, (weft_str){"warp and weft", 4});
  CHECK_TEXT(copy.data, "warp");
  weft_str formatted = weft_arena_format(&on.arena, "%s/%d", "layer", 12);
  CHECK_TEXT(formatted.data, "layer/12");
  CHECK_INT(formatted.length, 8);
  close_arena(&on);
}

static void test_arena_array_grows(void) {
  arena_fixture on;
  open_arena(&on, 0);
  int *items = NULL;
  uint32_t count = 0;
  for (int i = 0; i < 1000; i++) {
    int *item = WEFT_ARENA_PUSH(&on.arena, items, count);
    if (!CHECK(item != NULL)) break;
    CHECK_INT(*item, 0);
    *item = i;
  }
  CHECK_INT(count, 1000);
  for (int i = 0; i < 1000; i++) CHECK_INT(items[i], i);
  close_arena(&on);
}

static void test_arena_without_memory(void) {
  arena_fixture on;
  open_arena(&on, 100);
  CHECK(weft_arena_allocate(&on.arena, 1) == NULL);
  CHECK_TEXT(weft_arena_format(&on.arena, "%d", 1).data, "");
  CHECK(weft_arena_copy(&on.arena, WEFT_STR("x")).data == NULL);
  int *items = NULL;
  uint32_t count = 0;
  CHECK(WEFT_ARENA_PUSH(&on.arena, items, count) == NULL);
  CHECK_INT(count, 0);
  weft_error error;
  CHECK_INT(weft_arena_fail(&on.arena, "the graph", &error), WEFT_LIMIT_EXCEEDED);
  close_arena(&on);
}

static void test_map(void) {
  arena_fixture on;
  open_arena(&on, 0);
  weft_map map;
  weft_map_init(&map, &on.arena);
  CHECK_INT(weft_map_find(&map, WEFT_STR("nothing")), WEFT_MAP_NONE);
  for (uint32_t i = 0; i < 5000; i++)
    CHECK(weft_map_set(&map, weft_arena_format(&on.arena, "value_%u", i), i));
  CHECK_INT(map.count, 5000);
  for (uint32_t i = 0; i < 6000; i++) {
    weft_str key = weft_arena_format(&on.arena, "value_%u", i);
    CHECK_INT(weft_map_find(&map, key), i < 5000 ? i : WEFT_MAP_NONE);
  }
  CHECK(weft_map_set(&map, WEFT_STR("value_17"), 99));
  CHECK(weft_map_set(&map, WEFT_STR(""), 5));
  CHECK_INT(weft_map_find(&map, WEFT_STR("value_17")), 99);
  CHECK_INT(weft_map_find(&map, WEFT_STR("")), 5);
  CHECK_INT(map.count, 5001);
  close_arena(&on);
}

/* ---- buffers --------------------------------------------------------------------------------- */

static const char file[] = "0123456789";

static weft_status read_file(void *user, uint64_t offset, size_t length, void *destination) {
  if (*(bool *)user) return WEFT_IO_ERROR;
  memcpy(destination, file + offset, length);
  return WEFT_OK;
}

static void test_buffer_deferred(void) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap heap;
  weft_heap_init(&heap, &allocator, NULL, 0);
  bool broken = false;
  weft_source source = {.size = 10, .read = read_file, .user = &broken};
  weft_buffer *buffer = weft_buffer_defer(&heap, &source, 2, 5);
  weft_error error;
  char bytes[6] = {0};
  CHECK_OK(weft_buffer_read(buffer, 1, 3, bytes, &error), &error);
  CHECK_TEXT(bytes, "345");
  CHECK_INT(weft_buffer_read(buffer, 3, 3, bytes, &error), WEFT_INTERNAL);
  broken = true;
  CHECK_INT(weft_buffer_load(buffer, &error), WEFT_IO_ERROR);
  CHECK_TEXT(error.message, "the reader failed on bytes 2 to 7: input/output error");
  broken = false;
  CHECK_OK(weft_buffer_load(buffer, &error), &error);
  CHECK(memcmp(buffer->data, "23456", 5) == 0);

  weft_buffer *second = weft_buffer_retain(buffer);
  weft_buffer_release(&buffer);
  CHECK(buffer == NULL && second->data[0] == '2');
  weft_buffer_release(&second);
  weft_buffer_release(&second);
  CHECK_INT(weft_heap_use(&heap).bytes, 0);
}

static void test_buffer_outside_its_source(void) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap heap;
  weft_heap_init(&heap, &allocator, NULL, 0);
  weft_source source = {.size = 10, .bytes = file};
  weft_buffer *buffer = weft_buffer_defer(&heap, &source, 8, 5);
  weft_error error;
  CHECK_INT(weft_buffer_load(buffer, &error), WEFT_INVALID_MODEL);
  CHECK_TEXT(error.message, "bytes 8 to 13 lie outside a source of 10 bytes");
  weft_buffer_release(&buffer);
  CHECK_INT(weft_heap_use(&heap).bytes, 0);
}

static void test_buffer_in_memory(void) {
  weft_allocator allocator = weft_host_allocator();
  weft_heap heap;
  weft_heap_init(&heap, &allocator, NULL, 0);
  weft_buffer *borrowed = weft_buffer_borrow(&heap, file, 10);
  CHECK(borrowed->data == (const uint8_t *)file);
  weft_buffer *own = weft_buffer_new(&heap, 0);
  CHECK(own->data != NULL);
  weft_buffer_release(&borrowed);
  weft_buffer_release(&own);
  CHECK_INT(weft_heap_use(&heap).bytes, 0);
}

/* ---- runtime --------------------------------------------------------------------------------- */

static void test_runtime(void) {
  weft_runtime *runtime;
  weft_error error;
  if (!CHECK_OK(weft_runtime_open(NULL, &runtime, &error), &error)) return;
  CHECK(weft_runtime_memory(runtime).bytes > 0);
  uint64_t before = weft_now_ns(runtime);
  CHECK(weft_now_ns(runtime) >= before);
  weft_runtime_close(&runtime);
  CHECK(runtime == NULL);
  weft_runtime_close(&runtime);
}

static void *allocate_nothing(void *user, size_t bytes, size_t alignment) {
  (void)user;
  (void)bytes;
  (void)alignment;
  return NULL;
}

static void release_nothing(void *user, void *memory, size_t bytes) {
  (void)user;
  (void)memory;
  (void)bytes;
}

static void test_runtime_without_memory(void) {
  weft_runtime_options options = weft_runtime_options_default();
  options.allocator.allocate = allocate_nothing;
  weft_runtime *runtime;
  weft_error error;
  CHECK_INT(weft_runtime_open(&options, &runtime, &error), WEFT_INVALID_ARGUMENT);
  options.allocator.release = release_nothing;
  CHECK_INT(weft_runtime_open(&options, &runtime, &error), WEFT_OUT_OF_MEMORY);
  CHECK(runtime == NULL);
}

typedef struct {
  char text[100];
  int messages;
} log_fixture;

static void write_log(void *user, weft_log_level level, const char *message) {
  log_fixture *log = user;
  weft_text text = {.buffer = log->text, .size = sizeof log->text};
  weft_text_add(&text, "%d %s", (int)level, message);
  log->messages++;
}

static void test_log_levels(void) {
  log_fixture log = {.messages = 0};
  weft_runtime_options options = weft_runtime_options_default();
  options.logger = (weft_logger){.write = write_log, .user = &log, .level = WEFT_LOG_WARNING};
  weft_runtime *runtime;
  weft_error error;
  if (!CHECK_OK(weft_runtime_open(&options, &runtime, &error), &error)) return;
  weft_log(runtime, WEFT_LOG_INFO, "not made");
  CHECK_INT(log.messages, 0);
  weft_log(runtime, WEFT_LOG_ERROR, "%s %g", "loss", 0.5);
  CHECK_TEXT(log.text, "3 loss 0.5");
  weft_runtime_close(&runtime);
}

int main(void) {
  CHECK_RUN(test_text_integers);
  CHECK_RUN(test_text_strings);
  CHECK_RUN(test_text_floats);
  CHECK_RUN(test_text_floats_read_back);
  CHECK_RUN(test_text_is_cut);
  CHECK_RUN(test_text_writes_through);
  CHECK_RUN(test_names);
  CHECK_RUN(test_fail_fills_the_error);
  CHECK_RUN(test_heap_counts_and_limits);
  CHECK_RUN(test_heap_refuses_the_impossible);
  CHECK_RUN(test_checked_arithmetic);
  CHECK_RUN(test_arena);
  CHECK_RUN(test_arena_array_grows);
  CHECK_RUN(test_arena_without_memory);
  CHECK_RUN(test_map);
  CHECK_RUN(test_buffer_deferred);
  CHECK_RUN(test_buffer_outside_its_source);
  CHECK_RUN(test_buffer_in_memory);
  CHECK_RUN(test_runtime);
  CHECK_RUN(test_runtime_without_memory);
  CHECK_RUN(test_log_levels);
  return check_result();
}
