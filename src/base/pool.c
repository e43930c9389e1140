/* pool.c - tasks by ticket: threads take them without a lock, look for more for a while, then
 * sleep. */
#include "base/pool.h"

/* How often a thread looks for work, or for the end of it, before it sleeps: some 50 microseconds,
 * so that the ops of one run find the pool awake. */
enum { SPINS = 2000 };

static void finish_task(weft_pool *pool) {
  if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->owner_sleeps))
    weft_host_wake(pool, &pool->unfinished, 1);
}

/* Takes and does tasks until none is left to take. */
static void work(weft_pool *pool) {
  uint64_t ticket = atomic_load(&pool->ticket);
  while ((uint32_t)ticket != 0) {
    if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket - 1)) continue;
    pool->task(pool->arg, pool->tasks - (uint32_t)ticket);
    finish_task(pool);
    ticket = atomic_load(&pool->ticket);
  }
}

static bool has_work(weft_pool *pool) {
  return (uint32_t)atomic_load(&pool->ticket) != 0 || atomic_load(&pool->stop);
}

/* Who changes `job` looks at `sleepers` afterwards; here it is the other way round. So either the
 * change is seen here, or the sleeper there. */
static void wait_for_work(weft_pool *pool) {
  for (int i = 0; i < SPINS && !has_work(pool); i++) weft_host_relax();
  if (has_work(pool)) return;
  atomic_fetch_add(&pool->sleepers, 1);
  for (;;) {
    uint32_t job = atomic_load(&pool->job);
    if (has_work(pool)) break;
    weft_host_sleep(pool, &pool->job, job);
  }
  atomic_fetch_sub(&pool->sleepers, 1);
}

void weft_pool_work(weft_pool *pool) {
  while (!atomic_load(&pool->stop)) {
    wait_for_work(pool);
    work(pool);
  }
}

static void wait_until_finished(weft_pool *pool) {
  for (int i = 0; i < SPINS && atomic_load(&pool->unfinished) != 0; i++) weft_host_relax();
  if (atomic_load(&pool->unfinished) == 0) return;
  atomic_store(&pool->owner_sleeps, true);
  uint32_t left;
  while ((left = atomic_load(&pool->unfinished)) != 0)
    weft_host_sleep(pool, &pool->unfinished, left);
  atomic_store(&pool->owner_sleeps, false);
}

/* Makes a job's tasks known to the workers, and sees to it that at least `wanted` are awake. */
static void publish(weft_pool *pool, uint32_t tasks, uint32_t wanted) {
  uint32_t job = atomic_load(&pool->job) + 1;
  atomic_store(&pool->ticket, (uint64_t)job << 32 | tasks);
  atomic_store(&pool->job, job);
  uint32_t sleepers = atomic_load(&pool->sleepers);
  if (sleepers > 0) weft_host_wake(pool, &pool->job, wanted < sleepers ? wanted : sleepers);
}

/* Task 0 is the owner's: the same thread meets the same part of the data in each job. */
void weft_pool_run(void *user, size_t tasks, void (*task)(void *arg, size_t i), void *arg) {
  weft_pool *pool = user;
  /* While another session's job, or the job that this call is a part of, has the pool: alone. */
  if (tasks < 2 || tasks > WEFT_POOL_TASKS_MAX || atomic_exchange(&pool->busy, true)) {
    for (size_t i = 0; i < tasks; i++) task(arg, i);
    return;
  }
  pool->task = task;
  pool->arg = arg;
  pool->tasks = (uint32_t)tasks;
  atomic_store(&pool->unfinished, pool->tasks - 1);
  publish(pool, pool->tasks - 1, pool->tasks - 1);
  task(arg, 0);
  work(pool);
  wait_until_finished(pool);
  atomic_store(&pool->busy, false);
}

void weft_pool_stop(weft_pool *pool) {
  atomic_store(&pool->stop, true);
  publish(pool, 0, UINT32_MAX);
}
