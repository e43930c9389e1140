/* pool.h - threads that share the tasks of one job at a time: what the hosts have in common.
 * host_native.c and host_wasm.c start the threads and let them sleep. */
#ifndef WEFT_BASE_POOL_H
#define WEFT_BASE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed, it is ready. */
typedef struct weft_pool {
  /* Which job, and how many of its tasks are not yet taken: job << 32 | tasks. A thread takes a
   * task by lowering it; only then may it read `task`, `arg` and `tasks`, which stay as they are
   * until `unfinished` is 0. The job's number makes a late compare-exchange on an older job fail.
   */
  _Atomic uint64_t ticket;
  _Atomic uint32_t job;        /* the newest job's number; workers sleep on it */
  _Atomic uint32_t unfinished; /* tasks of the workers'; the job's owner sleeps on it */
  void (*task)(void *arg, size_t i);
  void *arg;
  uint32_t tasks;

  _Atomic uint32_t sleepers; /* workers that sleep, or are about to */
  atomic_bool owner_sleeps;
  atomic_bool busy; /* one job at a time */
  atomic_bool stop;
} weft_pool;

/* The most tasks of a job; larger ones are done by their owner. */
#define WEFT_POOL_TASKS_MAX 0x7fffffffu

/* A worker's life: does tasks until weft_pool_stop. */
void weft_pool_work(weft_pool *pool);
/* Makes all workers return. */
void weft_pool_stop(weft_pool *pool);
/* weft_threads.parallel_for, on a pool with any number of workers, also none. */
void weft_pool_run(void *pool, size_t tasks, void (*task)(void *arg, size_t i), void *arg);

/* ---- what a host supplies -------------------------------------------------------------------- */

/* Sleeps while *word is `value`; may return early, and at once where the thread must not sleep. */
void weft_host_sleep(weft_pool *pool, const _Atomic uint32_t *word, uint32_t value);
/* Wakes at least `count` of those who sleep on `word`, which has just changed. */
void weft_host_wake(weft_pool *pool, const _Atomic uint32_t *word, uint32_t count);

/* Some 25 nanoseconds that leave the processor to a thread beside this one. */
static inline void weft_host_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#elif defined(__wasm__)
  /* No such instruction there; a chain of square roots is long and of few instructions. */
  volatile float x = 2;
  x = __builtin_sqrtf(__builtin_sqrtf(__builtin_sqrtf(__builtin_sqrtf(x))));
#endif
}

#endif
