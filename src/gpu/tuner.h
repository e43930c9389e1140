/* tuner.h - which variant of a kernel is fastest on this very GPU, by measurement.
 *
 * A prepare function that has several variants for a step asks weft_tune_choice, with what the
 * answer may depend on. Unless something was measured it gets its own guess back. weft_tuner_run
 * prepares the steps of a plan again and again, with one variant after the other, times each on the
 * plan's own memory, and keeps the best. What was found belongs to the GPU, can be written as text
 * and read back: it holds for this adapter and these kernels. */
#ifndef WEFT_GPU_TUNER_H
#define WEFT_GPU_TUNER_H

#include "gpu/internal.h"

#define WEFT_TUNE_WORDS 8u

/* One class of shapes: steps with equal keys share a choice. Plain data. */
typedef struct weft_tune_key {
  const char *family; /* static: "matmul" */
  uint32_t words[WEFT_TUNE_WORDS];
} weft_tune_key;

/* Which of `candidates` variants to take, the most promising first; `prior` unless measured. At
 * most one key per step. */
uint32_t weft_tune_choice(const weft_gpu_device *gpu, const weft_tune_key *key, uint32_t candidates,
                          uint32_t prior);
/* An extent's class: 1, 2, 3 and 4, then a power of two rounded up. */
static inline uint32_t weft_tune_class(uint64_t extent) {
  if (extent <= 4) return (uint32_t)extent;
  return 64u - (uint32_t)__builtin_clzll(extent - 1);
}

typedef struct weft_tuner weft_tuner;
weft_status weft_tuner_open(weft_heap *heap, weft_tuner **out, weft_error *error);
void weft_tuner_close(weft_tuner *tuner);

/* Budgets are a session's: what its earlier calls took counts. 0: none. */
typedef struct weft_tune_options {
  uint64_t gpu_ns;     /* of measuring */
  uint64_t wall_ns;    /* of the clock on the wall, compiling included */
  uint32_t candidates; /* of each class at most so many; 0: all */
  uint32_t rounds;     /* the first of which warms up */
} weft_tune_options;
/* `full`: all variants, for as long as it takes. Else it ends after about a second of the GPU's
 * time. */
weft_tune_options weft_tuner_options(const weft_gpu_facts *facts, bool full);

/* Measures every class of the plan that has no choice yet. WEFT_PENDING: call again, with the same
 * execution, whose memories the steps write. What is not done within the budget keeps its guess.
 * Its choices hold for plans that are prepared afterwards. */
weft_status weft_tuner_run(weft_gpu_device *gpu, const weft_execution *execution,
                           const weft_tune_options *options, weft_error *error);
/* Ends a run of it that is pending. */
void weft_tuner_stop(weft_gpu_device *gpu);
/* The same when the session ends. */
void weft_tuner_leave(weft_gpu_device *gpu);

/* The choices as lines "family words... candidates choice nanoseconds", after a first line that
 * names the adapter, its features and the kernels; and back: WEFT_INVALID_DATA where that line is
 * for another GPU or other kernels, or a line is malformed; nothing is taken then. */
struct weft_text;
void weft_tuner_write(const weft_gpu *gpu, struct weft_text *text);
weft_status weft_tuner_read(weft_gpu *gpu, const char *lines, size_t length, weft_error *error);

#endif
