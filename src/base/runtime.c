/* runtime.c - the root object: hooks of the caller, or the built-in ones of the host. */
#include "base/runtime.h"

#include "base/memory.h"
#include "base/text.h"

weft_runtime_options weft_runtime_options_default(void) {
  return (weft_runtime_options){.thread_count = 1};
}

static weft_status open_threads(weft_runtime *runtime, const weft_runtime_options *options,
                                weft_error *error) {
  runtime->threads = (weft_threads){.count = 1};
  if (options->threads.parallel_for != NULL) {
    runtime->threads = options->threads;
  } else if (options->thread_count > 1) {
    runtime->pool =
        weft_host_pool_open(options->thread_count, &runtime->heap.allocator, &runtime->threads);
    if (runtime->pool == NULL)
      return weft_fail(error, WEFT_UNSUPPORTED, "cannot start a pool of %u threads",
                       options->thread_count);
  }
  return WEFT_OK;
}

weft_status weft_runtime_open(const weft_runtime_options *options, weft_runtime **out,
                              weft_error *error) {
  *out = NULL;
  weft_runtime_options chosen = options != NULL ? *options : weft_runtime_options_default();
  if ((chosen.allocator.allocate == NULL) != (chosen.allocator.release == NULL))
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "an allocator needs both allocate and release, or neither");
  if (chosen.allocator.allocate == NULL) chosen.allocator = weft_host_allocator();
  if (chosen.clock.now_ns == NULL) chosen.clock = weft_host_clock();

  weft_heap heap; /* on the stack until there is a runtime to hold it */
  weft_heap_init(&heap, &chosen.allocator, NULL, 0);
  weft_runtime *runtime = weft_heap_allocate_zeroed(&heap, sizeof *runtime);
  if (runtime == NULL) return weft_heap_fail(&heap, sizeof *runtime, "the runtime", error);
  runtime->heap = heap;
  runtime->logger = chosen.logger;
  runtime->clock = chosen.clock;
  weft_status status = open_threads(runtime, &chosen, error);
  if (status != WEFT_OK) {
    weft_runtime_close(&runtime);
    return status;
  }
  *out = runtime;
  return WEFT_OK;
}

void weft_runtime_close(weft_runtime **runtime) {
  weft_runtime *closing = *runtime;
  *runtime = NULL;
  if (closing == NULL) return;
  weft_host_pool_close(closing->pool);
  weft_heap heap = closing->heap;
  weft_heap_release(&heap, closing, sizeof *closing);
}

weft_memory_use weft_runtime_memory(const weft_runtime *runtime) {
  return weft_heap_use(&runtime->heap);
}

void weft_parallel(const weft_runtime *runtime, size_t tasks, void (*task)(void *arg, size_t i),
                   void *arg) {
  const weft_threads *threads = &runtime->threads;
  if (tasks > 1 && threads->count > 1) {
    threads->parallel_for(threads->user, tasks, task, arg);
    return;
  }
  for (size_t i = 0; i < tasks; i++) task(arg, i);
}

void weft_log(const weft_runtime *runtime, weft_log_level level, const char *format, ...) {
  if (runtime->logger.write == NULL || level < runtime->logger.level) return;
  char message[500];
  weft_text text = {.buffer = message, .size = sizeof message};
  va_list list;
  va_start(list, format);
  weft_text_add_list(&text, format, list);
  va_end(list);
  runtime->logger.write(runtime->logger.user, level, message);
}
