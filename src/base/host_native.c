/* host_native.c - the operating system's heap, clock and threads, and what the processor can do.
 * The only file of the native core that uses them; host_wasm.c is its counterpart. */
#define _POSIX_C_SOURCE 200809L
#include "base/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
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
#endif
  return features;
}

/* ---- thread pool ----------------------------------------------------------------------------- */

/* How often a thread looks for work, or for the end of it, before it sleeps: some 50 microseconds,
 * so that the ops of one run find the pool awake. */
enum { SPINS = 2000 };

struct weft_host_pool {
  /* Which job, and how many of its tasks are not yet taken: job << 32 | tasks. A thread takes a
   * task by lowering it; only then may it read `task`, `arg` and `tasks`, which stay as they are
   * until `unfinished` is 0. The job's number makes a late compare-exchange on an older job fail.
   */
  _Atomic uint64_t ticket;
  _Atomic size_t unfinished;
  void (*task)(void *arg, size_t i);
  void *arg;
  uint32_t tasks;

  atomic_flag busy; /* one job at a time */
  atomic_bool stop;
  _Atomic uint32_t sleepers; /* workers in, or about to enter, a wait on `wake` */
  atomic_bool owner_sleeps;  /* the same for the job's owner on `idle` */
  pthread_mutex_t mutex;
  pthread_cond_t wake, idle;

  weft_allocator allocator;
  size_t bytes;
  uint32_t workers;
  pthread_t threads[];
};

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void finish_task(struct weft_host_pool *pool) {
  if (atomic_fetch_sub(&pool->unfinished, 1) != 1 || !atomic_load(&pool->owner_sleeps)) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->idle);
  pthread_mutex_unlock(&pool->mutex);
}

/* Takes and does tasks until none is left to take. */
static void work(struct weft_host_pool *pool) {
  uint64_t ticket = atomic_load(&pool->ticket);
  while ((uint32_t)ticket != 0) {
    if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket - 1)) continue;
    pool->task(pool->arg, pool->tasks - (uint32_t)ticket);
    finish_task(pool);
    ticket = atomic_load(&pool->ticket);
  }
}

static bool has_work(struct weft_host_pool *pool) {
  return (uint32_t)atomic_load(&pool->ticket) != 0 || atomic_load(&pool->stop);
}

static void *worker(void *user) {
  struct weft_host_pool *pool = user;
  while (!atomic_load(&pool->stop)) {
    for (int i = 0; i < SPINS && !has_work(pool); i++) relax();
    if (!has_work(pool)) {
      pthread_mutex_lock(&pool->mutex);
      atomic_fetch_add(&pool->sleepers, 1);
      while (!has_work(pool)) pthread_cond_wait(&pool->wake, &pool->mutex);
      atomic_fetch_sub(&pool->sleepers, 1);
      pthread_mutex_unlock(&pool->mutex);
    }
    work(pool);
  }
  return NULL;
}

static void wake_workers(struct weft_host_pool *pool) {
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

static void wait_until_finished(struct weft_host_pool *pool) {
  for (int i = 0; i < SPINS && atomic_load(&pool->unfinished) != 0; i++) relax();
  if (atomic_load(&pool->unfinished) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->owner_sleeps, true);
  while (atomic_load(&pool->unfinished) != 0) pthread_cond_wait(&pool->idle, &pool->mutex);
  atomic_store(&pool->owner_sleeps, false);
  pthread_mutex_unlock(&pool->mutex);
}

static void parallel_for(void *user, size_t tasks, void (*task)(void *arg, size_t i), void *arg) {
  struct weft_host_pool *pool = user;
  /* While another session's job, or the job that this call is a part of, has the pool: alone. */
  if (tasks > UINT32_MAX || atomic_flag_test_and_set(&pool->busy)) {
    for (size_t i = 0; i < tasks; i++) task(arg, i);
    return;
  }
  pool->task = task;
  pool->arg = arg;
  pool->tasks = (uint32_t)tasks;
  atomic_store(&pool->unfinished, tasks);
  uint64_t job = (atomic_load(&pool->ticket) >> 32) + 1;
  atomic_store(&pool->ticket, job << 32 | tasks);
  wake_workers(pool);
  work(pool);
  wait_until_finished(pool);
  atomic_flag_clear(&pool->busy);
}

void weft_host_pool_close(struct weft_host_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->stop, true);
  wake_workers(pool);
  for (uint32_t i = 0; i < pool->workers; i++) pthread_join(pool->threads[i], NULL);
  pthread_cond_destroy(&pool->idle);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  pool->allocator.release(pool->allocator.user, pool, pool->bytes);
}

struct weft_host_pool *weft_host_pool_open(uint32_t count, const weft_allocator *allocator,
                                           weft_threads *out) {
  size_t bytes = sizeof(struct weft_host_pool) + (count - 1) * sizeof(pthread_t);
  struct weft_host_pool *pool = allocator->allocate(allocator->user, bytes, 64);
  if (pool == NULL) return NULL;
  memset(pool, 0, bytes);
  pool->allocator = *allocator;
  pool->bytes = bytes;
  atomic_flag_clear(&pool->busy);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->idle, NULL);
  for (; pool->workers < count - 1; pool->workers++) {
    if (pthread_create(&pool->threads[pool->workers], NULL, worker, pool) != 0) {
      weft_host_pool_close(pool);
      return NULL;
    }
  }
  *out = (weft_threads){.parallel_for = parallel_for, .user = pool, .count = count};
  return pool;
}
