/* heap.c - counts and limits around the allocator hook. Counters are atomic, since sessions on one
 * runtime work at the same time. */
#include "base/heap.h"

#include "base/memory.h"

void weft_heap_init(weft_heap *heap, const weft_allocator *allocator, weft_heap *parent,
                    uint64_t limit) {
  memset(heap, 0, sizeof *heap);
  heap->allocator = parent != NULL ? parent->allocator : *allocator;
  heap->parent = parent;
  heap->limit = limit;
}

static void raise_to(_Atomic uint64_t *peak, uint64_t value) {
  uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);
  while (seen < value && !atomic_compare_exchange_weak_explicit(
                             peak, &seen, value, memory_order_relaxed, memory_order_relaxed)) {
  }
}

/* Gives back what the heaps from `heap` up to, but not including, `end` have counted. */
static void uncount(weft_heap *heap, const weft_heap *end, uint64_t bytes) {
  for (; heap != end; heap = heap->parent)
    atomic_fetch_sub_explicit(&heap->bytes, bytes, memory_order_relaxed);
}

static bool count(weft_heap *heap, uint64_t bytes) {
  for (weft_heap *each = heap; each != NULL; each = each->parent) {
    uint64_t before = atomic_fetch_add_explicit(&each->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&each->calls, 1, memory_order_relaxed);
    if (each->limit != 0 && (before > each->limit || bytes > each->limit - before)) {
      uncount(heap, each->parent, bytes);
      return false;
    }
    raise_to(&each->bytes_peak, before + bytes);
  }
  return true;
}

void *weft_heap_allocate(weft_heap *heap, uint64_t bytes) {
  if (bytes > PTRDIFF_MAX || !count(heap, bytes)) return NULL;
  void *memory = heap->allocator.allocate(heap->allocator.user, bytes == 0 ? 1 : (size_t)bytes,
                                          WEFT_ALIGNMENT);
  if (memory == NULL) uncount(heap, NULL, bytes);
  return memory;
}

void *weft_heap_allocate_zeroed(weft_heap *heap, uint64_t bytes) {
  void *memory = weft_heap_allocate(heap, bytes);
  if (memory != NULL) memset(memory, 0, (size_t)bytes);
  return memory;
}

void weft_heap_release(weft_heap *heap, void *memory, uint64_t bytes) {
  if (memory == NULL) return;
  heap->allocator.release(heap->allocator.user, memory, bytes == 0 ? 1 : (size_t)bytes);
  uncount(heap, NULL, bytes);
}

weft_memory_use weft_heap_use(const weft_heap *heap) {
  return (weft_memory_use){
      .bytes = atomic_load_explicit(&heap->bytes, memory_order_relaxed),
      .bytes_peak = atomic_load_explicit(&heap->bytes_peak, memory_order_relaxed),
      .calls = atomic_load_explicit(&heap->calls, memory_order_relaxed),
  };
}

weft_status weft_heap_fail(const weft_heap *heap, uint64_t bytes, const char *what,
                           weft_error *error) {
  for (const weft_heap *each = heap; each != NULL; each = each->parent) {
    uint64_t held = atomic_load_explicit(&each->bytes, memory_order_relaxed);
    if (each->limit != 0 && (held > each->limit || bytes > each->limit - held))
      return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                       "%s needs %llu bytes, but %llu of the memory limit of %llu bytes are in use",
                       what, (unsigned long long)bytes, (unsigned long long)held,
                       (unsigned long long)each->limit);
  }
  return weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory: %s needs %llu bytes", what,
                   (unsigned long long)bytes);
}
