/* runtime.h - the runtime object's inside: hooks with the built-ins filled in. */
#ifndef WEFT_BASE_RUNTIME_H
#define WEFT_BASE_RUNTIME_H

#include "base/heap.h"
#include "base/host.h"

struct weft_runtime {
  weft_heap heap;
  weft_logger logger;
  weft_clock clock;
  weft_threads threads;        /* count 1 and parallel_for NULL: inline */
  struct weft_host_pool *pool; /* ours, or NULL */
};

/* Calls task(arg, i) for i in [0, tasks), on the runtime's threads where there are several and
 * tasks > 1. */
void weft_parallel(const weft_runtime *runtime, size_t tasks, void (*task)(void *arg, size_t i),
                   void *arg);
static inline uint64_t weft_now_ns(const weft_runtime *runtime) {
  return runtime->clock.now_ns(runtime->clock.user);
}
/* Logs when the level is on. */
__attribute__((format(printf, 3, 4))) void weft_log(const weft_runtime *runtime,
                                                    weft_log_level level, const char *format, ...);

#endif
