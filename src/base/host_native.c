/* host_native.c - the operating system's heap, clock and threads, and what the processor can do.
 * The only file of the native core that uses them; host_wasm.c is its counterpart. */
#define _POSIX_C_SOURCE 200809L
#include "base/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/heap.h"
#include "base/memory.h"
#include "base/pool.h"
#include "kernels/kernels.h"

static void *allocate(void *user, size_t bytes, size_t alignment) {
  (void)user;
  void *memory;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

static void release(void *user, void *memory, size_t bytes) {
  (void)user;
  (void)bytes;
  free(memory);
}

weft_allocator weft_host_allocator(void) {
  return (weft_allocator){.allocate = allocate, .release = release};
}

static uint64_t now_ns(void *user) {
  (void)user;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

weft_clock weft_host_clock(void) {
  return (weft_clock){.now_ns = now_ns};
}

uint32_t weft_host_cpu_features(void) {
  uint32_t features = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c"))
    features |= WEFT_CPU_AVX2_FMA;
  if (__builtin_cpu_supports("avxvnni")) features |= WEFT_CPU_DOT;
#elif defined(__aarch64__) && defined(__linux__)
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) features |= WEFT_CPU_DOT;
#elif defined(__aarch64__) && defined(__APPLE__)
  features |= WEFT_CPU_DOT;
#endif
  return features;
}

/* ---- thread pool ----------------------------------------------------------------------------- */

struct weft_host_pool {
  weft_pool pool; /* first: the two are cast into one another */
  pthread_mutex_t mutex;
  pthread_cond_t wake, idle; /* workers; owner */
  weft_allocator allocator;
  size_t bytes;
  uint32_t workers;
  pthread_t threads[];
};

static struct weft_host_pool *host_of(weft_pool *pool) {
  return (struct weft_host_pool *)(void *)pool;
}

static pthread_cond_t *condition_of(weft_pool *pool, const _Atomic uint32_t *word) {
  return word == &pool->job ? &host_of(pool)->wake : &host_of(pool)->idle;
}

void weft_host_sleep(weft_pool *pool, const _Atomic uint32_t *word, uint32_t value) {
  struct weft_host_pool *host = host_of(pool);
  pthread_mutex_lock(&host->mutex);
  while (atomic_load(word) == value) pthread_cond_wait(condition_of(pool, word), &host->mutex);
  pthread_mutex_unlock(&host->mutex);
}

void weft_host_wake(weft_pool *pool, const _Atomic uint32_t *word, uint32_t count) {
  struct weft_host_pool *host = host_of(pool);
  pthread_mutex_lock(&host->mutex);
  for (uint32_t i = 0; i < count; i++) pthread_cond_signal(condition_of(pool, word));
  pthread_mutex_unlock(&host->mutex);
}

static void *worker(void *user) {
  weft_pool_work(user);
  return NULL;
}

void weft_host_pool_close(struct weft_host_pool *host) {
  if (host == NULL) return;
  weft_pool_stop(&host->pool);
  for (uint32_t i = 0; i < host->workers; i++) pthread_join(host->threads[i], NULL);
  pthread_cond_destroy(&host->idle);
  pthread_cond_destroy(&host->wake);
  pthread_mutex_destroy(&host->mutex);
  host->allocator.release(host->allocator.user, host, host->bytes);
}

struct weft_host_pool *weft_host_pool_open(uint32_t count, const weft_allocator *allocator,
                                           weft_threads *out) {
  size_t bytes = sizeof(struct weft_host_pool) + (count - 1) * sizeof(pthread_t);
  struct weft_host_pool *host = allocator->allocate(allocator->user, bytes, WEFT_ALIGNMENT);
  if (host == NULL) return NULL;
  memset(host, 0, bytes);
  host->allocator = *allocator;
  host->bytes = bytes;
  pthread_mutex_init(&host->mutex, NULL);
  pthread_cond_init(&host->wake, NULL);
  pthread_cond_init(&host->idle, NULL);
  for (; host->workers < count - 1; host->workers++) {
    if (pthread_create(&host->threads[host->workers], NULL, worker, &host->pool) != 0) {
      weft_host_pool_close(host);
      return NULL;
    }
  }
  *out = (weft_threads){.parallel_for = weft_pool_run, .user = &host->pool, .count = count};
  return host;
}
