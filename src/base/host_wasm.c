/* host_wasm.c - the wasm host: a heap over memory.grow, the clock, an import, and threads, which
 * the page starts. The counterpart of host_native.c.
 *
 * The heap is made for few, large, long-lived blocks: weights, arenas. Every block is a multiple of
 * 64 bytes, so that all user memory has the alignment of a cache line. A block starts with a header
 * of 16 bytes that knows its own size and its lower neighbour's, so that a released block merges
 * with free neighbours at once. Free blocks hang in lists by size class, eight classes to a power
 * of two.
 *
 *   region:  [48 bytes] header user... | header user... | header (end mark, used, size 0)
 *
 * Regions: memory.grow usually extends the last one; when someone else has grown the memory in
 * between, a new one begins. */
#include "base/host.h"

#include "base/checked.h"
#include "base/heap.h"
#include "base/memory.h"
#include "base/pool.h"

enum {
  UNIT = 64,
  HEADER = 16,
  PAGE = 64 << 10,
  GROW_LEAST = 4 * PAGE,
  CLASSES = 256,
  FIRST_FIT_LIMIT = 64, /* blocks looked at in the class of the wanted size */
};

/* Sizes count units. `below` is 0 for the first block of a region. */
typedef struct block {
  uint32_t size, below;
  bool free;
  /* Free blocks only; these lie in the user's bytes. */
  _Alignas(16) struct block *next;
  struct block *previous;
} block;

_Static_assert(offsetof(block, next) == HEADER, "user memory begins behind the header");

extern unsigned char __heap_base; /* set by wasm-ld: where stack and data end */

/* The one heap of the module's one linear memory. */
static struct {
  block *end; /* the end mark of the newest region; NULL before the first use */
  block *classes[CLASSES];
  uint64_t occupied[CLASSES / 64]; /* bit set: the class has a block */
  atomic_bool locked;
} heap;

/* Held for some hundred instructions; a page's main thread could not sleep anyway. */
static void lock(void) {
  while (atomic_exchange(&heap.locked, true)) weft_host_relax();
}
static void unlock(void) {
  atomic_store(&heap.locked, false);
}

static block *above(block *at) {
  return (block *)((char *)at + (size_t)at->size * UNIT);
}
static block *beneath(block *at) {
  return (block *)((char *)at - (size_t)at->below * UNIT);
}

/* 1 to 7 units have a class each; above, three bits behind the leading one choose. */
static uint32_t class_of(uint32_t units) {
  if (units < 8) return units;
  uint32_t log = 31u - (uint32_t)__builtin_clz(units);
  return (log - 2) * 8 + (units >> (log - 3) & 7);
}

static void link_free(block *at) {
  uint32_t class = class_of(at->size);
  at->free = true;
  at->previous = NULL;
  at->next = heap.classes[class];
  if (at->next != NULL) at->next->previous = at;
  heap.classes[class] = at;
  heap.occupied[class / 64] |= 1ull << class % 64;
}

static void unlink_free(block *at) {
  uint32_t class = class_of(at->size);
  at->free = false;
  if (at->next != NULL) at->next->previous = at->previous;
  if (at->previous != NULL)
    at->previous->next = at->next;
  else
    heap.classes[class] = at->next;
  if (heap.classes[class] == NULL) heap.occupied[class / 64] &= ~(1ull << class % 64);
}

static void resize(block *at, uint32_t units) {
  at->size = units;
  above(at)->below = units;
}

/* Makes the used block `at` free, as one with its free neighbours. */
static void merge_free(block *at) {
  block *upper = above(at);
  if (upper->free) {
    unlink_free(upper);
    resize(at, at->size + upper->size);
  }
  if (at->below != 0 && beneath(at)->free) {
    block *lower = beneath(at);
    unlink_free(lower);
    resize(lower, lower->size + at->size);
    at = lower;
  }
  link_free(at);
}

/* The smallest class from `class` on that has a block; any of them fits. */
static block *first_from(uint32_t class) {
  for (uint32_t word = class / 64; word < CLASSES / 64; word++) {
    uint64_t bits = heap.occupied[word];
    if (word == class / 64) bits &= ~0ull << class % 64;
    if (bits != 0) return heap.classes[word * 64 + (uint32_t)__builtin_ctzll(bits)];
  }
  return NULL;
}

static block *find(uint32_t units) {
  uint32_t class = class_of(units);
  block *at = heap.classes[class];
  for (int i = 0; at != NULL && i < FIRST_FIT_LIMIT; i++, at = at->next)
    if (at->size >= units) return at;
  return first_from(class + 1);
}

/* Asks the host for `bytes`, a multiple of PAGE; 0 when it refuses. */
static uintptr_t grow_memory(uint64_t bytes) {
  size_t before = __builtin_wasm_memory_grow(0, (size_t)(bytes / PAGE));
  return before == SIZE_MAX ? 0 : (uintptr_t)before * PAGE;
}

/* The memory [start, end) becomes free: behind the newest region, or as a new one. Both are
 * multiples of UNIT. */
static void add_memory(uintptr_t start, uintptr_t end) {
  block *first = heap.end;
  if (first == NULL || (uintptr_t)first + HEADER != start) {
    first = (block *)(start + UNIT - HEADER);
    first->below = 0;
  }
  block *mark = (block *)(end - HEADER);
  first->free = mark->free = false;
  mark->size = 0;
  resize(first, (uint32_t)(((uintptr_t)mark - (uintptr_t)first) / UNIT));
  heap.end = mark;
  merge_free(first);
}

static uint64_t memory_end(void) {
  return (uint64_t)__builtin_wasm_memory_size(0) * PAGE;
}

/* Takes what the module's first memory has behind stack and data. */
static void start(void) {
  uintptr_t from = (uintptr_t)weft_align_up((uintptr_t)&__heap_base, UNIT);
  uintptr_t to = (uintptr_t)memory_end();
  if (to > from && to - from >= 2 * UNIT) add_memory(from, to);
}

/* Makes room for a block of `units`; a free block at the end counts when the memory grows behind
 * it. */
static bool extend(uint32_t units) {
  uint64_t needed = ((uint64_t)units + 1) * UNIT; /* + 1: header and end mark of a new region */
  if (heap.end != NULL && (uintptr_t)heap.end + HEADER == memory_end() && heap.end->below != 0) {
    const block *last = beneath(heap.end);
    if (last->free) needed -= (uint64_t)(last->size < units ? last->size : units) * UNIT;
  }
  needed = weft_align_up(needed, PAGE);
  uint64_t bytes = needed < GROW_LEAST ? GROW_LEAST : needed;
  uintptr_t from = grow_memory(bytes);
  if (from == 0 && bytes > needed) from = grow_memory(bytes = needed);
  if (from == 0) return false;
  /* The last unit of the address space stays unused, so that no pointer wraps. */
  uint64_t to = (uint64_t)from + bytes;
  add_memory(from, (uintptr_t)(to > UINTPTR_MAX ? to - UNIT : to));
  return true;
}

/* A free block of at least `units`, off its list; NULL when the host has no more memory. */
static block *take(uint32_t units) {
  if (heap.end == NULL) start();
  block *at = find(units);
  if (at == NULL && extend(units)) at = find(units);
  if (at != NULL) unlink_free(at);
  return at;
}

/* Cuts the used block `at` to `units`; the rest becomes free. */
static void trim(block *at, uint32_t units) {
  uint32_t rest = at->size - units;
  if (rest == 0) return;
  resize(at, units);
  block *cut = above(at);
  cut->free = false;
  resize(cut, rest);
  merge_free(cut);
}

static void *allocate(void *user, size_t bytes, size_t alignment) {
  (void)user;
  (void)alignment; /* every block has the largest */
  if (bytes > SIZE_MAX - HEADER - UNIT) return NULL;
  uint64_t units = ((uint64_t)bytes + HEADER + UNIT - 1) / UNIT;
  if (units >= UINT32_MAX) return NULL;
  lock();
  block *at = take((uint32_t)units);
  if (at != NULL) trim(at, (uint32_t)units);
  unlock();
  return at != NULL ? (char *)at + HEADER : NULL;
}

static void release(void *user, void *memory, size_t bytes) {
  (void)user;
  (void)bytes;
  lock();
  merge_free((block *)((char *)memory - HEADER));
  unlock();
}

weft_allocator weft_host_allocator(void) {
  return (weft_allocator){.allocate = allocate, .release = release};
}

__attribute__((import_module("weft"), import_name("now_ms"))) double weft_host_now_ms(void);

static uint64_t now_ns(void *user) {
  (void)user;
  return (uint64_t)(weft_host_now_ms() * 1e6);
}

weft_clock weft_host_clock(void) {
  return (weft_clock){.now_ns = now_ns};
}

/* What a tier has is known when it is compiled. */
uint32_t weft_host_cpu_features(void) {
  return 0;
}

/* ---- thread pool ----------------------------------------------------------------------------- */

/* May the calling thread sleep? Browsers forbid it to a page's main thread. */
__attribute__((import_module("weft"), import_name("may_sleep"))) int weft_host_may_sleep(void);

/* Set in `unfinished` for a worker that has failed: the job will never be finished. */
#define BROKEN (WEFT_POOL_TASKS_MAX + 1)

struct weft_host_pool {
  weft_pool pool; /* first: the two are cast into one another */
  bool owner_may_sleep;
  weft_allocator allocator;
};

void weft_host_sleep(weft_pool *pool, const _Atomic uint32_t *word, uint32_t value) {
  const struct weft_host_pool *host = (struct weft_host_pool *)(void *)pool;
  bool owner = word == &pool->unfinished;
  if (owner && (value & BROKEN) != 0) __builtin_trap(); /* JavaScript makes an error of it */
  if (owner && !host->owner_may_sleep)
    weft_host_relax();
  else
    __builtin_wasm_memory_atomic_wait32((int *)(uintptr_t)word, (int)value, -1);
}

void weft_host_wake(weft_pool *pool, const _Atomic uint32_t *word, uint32_t count) {
  (void)pool;
  __builtin_wasm_memory_atomic_notify((int *)(uintptr_t)word, count);
}

void weft_host_pool_work(struct weft_host_pool *host) {
  weft_pool_work(&host->pool);
}

void weft_host_pool_break(struct weft_host_pool *host) {
  atomic_fetch_or(&host->pool.unfinished, BROKEN);
  weft_host_wake(&host->pool, &host->pool.unfinished, 1);
}

void weft_host_pool_close(struct weft_host_pool *host) {
  if (host != NULL) host->allocator.release(host->allocator.user, host, sizeof *host);
}

struct weft_host_pool *weft_host_pool_open(uint32_t count, const weft_allocator *allocator,
                                           weft_threads *out) {
  struct weft_host_pool *host = allocator->allocate(allocator->user, sizeof *host, WEFT_ALIGNMENT);
  if (host == NULL) return NULL;
  memset(host, 0, sizeof *host);
  host->allocator = *allocator;
  host->owner_may_sleep = weft_host_may_sleep() != 0;
  *out = (weft_threads){.parallel_for = weft_pool_run, .user = &host->pool, .count = count};
  return host;
}
