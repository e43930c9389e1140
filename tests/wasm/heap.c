/* Tests of the wasm heap (src/base/host_wasm.c), run by tests/wasm/run.mjs. */
#include "base/host.h"
#include "base/runtime.h"
#include "tests/check.h"

enum { SLOTS = 200, PAGE = 64 << 10 };

typedef struct {
  unsigned char *memory;
  size_t bytes;
  unsigned char mark;
} slot;

static slot slots[SLOTS];
static weft_allocator heap;

static size_t memory_pages(void) {
  return __builtin_wasm_memory_size(0);
}

static void fill(slot *at, size_t bytes, unsigned char mark) {
  at->memory = heap.allocate(heap.user, bytes, 64);
  if (!CHECK(at->memory != NULL)) return;
  CHECK_INT((uintptr_t)at->memory % 64, 0);
  at->bytes = bytes;
  at->mark = mark;
  memset(at->memory, mark, bytes);
}

/* Releases a block after a look at whether somebody else wrote into it. */
static void drop(slot *at) {
  if (at->memory == NULL) return;
  size_t wrong = 0;
  for (size_t i = 0; i < at->bytes; i++) wrong += at->memory[i] != at->mark;
  CHECK_INT(wrong, 0);
  heap.release(heap.user, at->memory, at->bytes);
  at->memory = NULL;
}

static size_t random_size(uint64_t *state) {
  uint64_t bits = check_random(state) % 18;
  return (size_t)(check_random(state) % (1ull << bits)) + 1;
}

static void churn(uint64_t seed, int steps) {
  uint64_t state = seed;
  for (int step = 0; step < steps; step++) {
    slot *at = &slots[check_random(&state) % SLOTS];
    drop(at);
    fill(at, random_size(&state), (unsigned char)step);
  }
  for (int i = 0; i < SLOTS; i++) drop(&slots[i]);
}

static void test_blocks_do_not_overlap(void) {
  churn(1, 20000);
}

/* The same work again and again needs no more memory than the first time. */
static void test_cycles_stay_flat(void) {
  churn(2, 3000);
  size_t pages = memory_pages();
  for (int cycle = 0; cycle < 15; cycle++) churn(2, 3000);
  CHECK_INT(memory_pages(), pages);
}

/* After all is released, the memory is one block again: all of it can be had at once. */
static void test_neighbours_merge(void) {
  churn(3, 5000);
  size_t bytes = memory_pages() * PAGE - 2 * 1024 * 1024; /* less stack, data, headers */
  size_t pages = memory_pages();
  fill(&slots[0], bytes, 1);
  CHECK_INT(memory_pages(), pages);
  drop(&slots[0]);
}

static void test_large_blocks_are_reused(void) {
  fill(&slots[0], 90 << 20, 1);
  fill(&slots[1], 100, 2);
  size_t pages = memory_pages();
  for (int i = 0; i < 8; i++) {
    drop(&slots[0]);
    fill(&slots[0], 90 << 20, 1);
  }
  CHECK_INT(memory_pages(), pages);
  drop(&slots[0]);
  drop(&slots[1]);
}

/* Somebody else grows the memory: the heap leaves those pages alone. */
static void test_foreign_growth(void) {
  size_t before = memory_pages();
  CHECK_INT(__builtin_wasm_memory_grow(0, 1), before);
  unsigned char *foreign = (unsigned char *)(before * PAGE);
  memset(foreign, 0x5a, PAGE);
  fill(&slots[0], before * PAGE, 3);
  fill(&slots[1], 5 * PAGE, 4);
  drop(&slots[0]);
  drop(&slots[1]);
  churn(4, 2000);
  size_t wrong = 0;
  for (size_t i = 0; i < PAGE; i++) wrong += foreign[i] != 0x5a;
  CHECK_INT(wrong, 0);
}

#if defined(__wasm64__)
#define GIB         (1ull << 30)
#define MEMORY_MOST (8 * GIB) /* tests/CMakeLists.txt */

/* A block of `bytes` with marks at both ends and beside each address that 32 bits cannot tell from
 * a lower one. */
static unsigned char *mark(size_t bytes, unsigned char value) {
  unsigned char *memory = heap.allocate(heap.user, bytes, 64);
  if (!CHECK(memory != NULL)) return NULL;
  CHECK_INT((uintptr_t)memory % 64, 0);
  memory[0] = memory[bytes - 1] = value;
  for (size_t at = GIB; at < bytes; at += GIB) memory[at] = value;
  return memory;
}
static bool is_marked(const unsigned char *memory, size_t bytes, unsigned char value) {
  bool good = memory[0] == value && memory[bytes - 1] == value;
  for (size_t at = GIB; at < bytes; at += GIB) good = good && memory[at] == value;
  return good;
}

static void test_beyond_4_gib(void) {
  unsigned char *low = mark(3 * GIB - 5, 1), *high = mark(4 * GIB + 100, 2);
  if (!low || !high) return;
  CHECK(high > low && (uintptr_t)high + 4 * GIB > 7 * GIB);
  churn(5, 2000);
  CHECK(is_marked(low, 3 * GIB - 5, 1));
  CHECK(is_marked(high, 4 * GIB + 100, 2));
  size_t pages = memory_pages();
  heap.release(heap.user, low, 3 * GIB - 5);
  churn(6, 2000);
  CHECK(is_marked(high, 4 * GIB + 100, 2));
  heap.release(heap.user, high, 4 * GIB + 100);
  unsigned char *both = mark(7 * GIB, 3); /* their memory is one block again */
  if (both) heap.release(heap.user, both, 7 * GIB);
  CHECK_INT(memory_pages(), pages);
}
#else
#define MEMORY_MOST (2ull << 30)
#endif

static void test_refuses_what_the_host_refuses(void) {
  CHECK(heap.allocate(heap.user, SIZE_MAX, 64) == NULL);
  CHECK(heap.allocate(heap.user, SIZE_MAX - 128, 64) == NULL);
  CHECK(heap.allocate(heap.user, MEMORY_MOST, 64) == NULL);
  fill(&slots[0], 1000, 7);
  drop(&slots[0]);
}

static void count_task(void *arg, size_t i) {
  ((int *)arg)[i]++;
}

/* The page starts threads when it likes: until then the caller does it all. */
static void test_pool_without_workers(void) {
  weft_runtime_options options = weft_runtime_options_default();
  options.thread_count = 4;
  weft_runtime *runtime;
  weft_error error;
  if (!CHECK_OK(weft_runtime_open(&options, &runtime, &error), &error)) return;
  uint64_t before = weft_now_ns(runtime);
  CHECK(before > 0 && weft_now_ns(runtime) >= before);
  CHECK_INT(runtime->threads.count, 4);
  int counts[10] = {0};
  for (size_t tasks = 0; tasks <= 10; tasks++) weft_parallel(runtime, tasks, count_task, counts);
  for (int i = 0; i < 10; i++) CHECK_INT(counts[i], 10 - i);
  weft_runtime_close(&runtime);
}

__attribute__((export_name("run"))) int run(void);

int run(void) {
  heap = weft_host_allocator();
  CHECK_RUN(test_blocks_do_not_overlap);
  CHECK_RUN(test_cycles_stay_flat);
  CHECK_RUN(test_neighbours_merge);
  CHECK_RUN(test_large_blocks_are_reused);
  CHECK_RUN(test_foreign_growth);
#if defined(__wasm64__)
  CHECK_RUN(test_beyond_4_gib);
#endif
  CHECK_RUN(test_refuses_what_the_host_refuses);
  CHECK_RUN(test_pool_without_workers);
  return check_result();
}
