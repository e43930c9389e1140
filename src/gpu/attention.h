/* attention.h - what attention and cached_attention have in common (attention.c). */
#ifndef WEFT_GPU_ATTENTION_H
#define WEFT_GPU_ATTENTION_H

#include "gpu/internal.h"

/* What both ops and both forms go by. */
typedef struct weft_attention_problem {
  const weft_gpu_device *gpu;
  const weft_gpu_facts *facts;
  weft_step *step; /* the first six inputs and the first output are attention's */
  weft_arena *arena;
  const weft_array *k, *v;                        /* what is attended to */
  const weft_array *mask, *lengths, *sink;        /* NULL: none */
  uint32_t batches, groups, heads, queries, keys; /* heads: of a group */
  uint32_t rows;                                  /* of a group: heads x queries */
  uint32_t d, e, d4, e4;                          /* sizes of q and v, also in fours */
  bool aligned;                                   /* all that is said in fours is whole */
  bool native;                                    /* f16 arrays on a GPU that has f16 */
  /* Of cached_attention: k and v are caches, to which inputs 1 and 2 are added. */
  bool cached;
  const weft_array *cosines, *sines, *positions; /* NULL: nothing is turned; by token */
  uint32_t past_rows;
  bool joint; /* q and what is added lie in the same memory */
  /* Of a dispatch: it adds the rows; it does nothing else. */
  bool appends, rows_only;
} weft_attention_problem;

weft_attention_problem weft_attention_problem_of(const weft_gpu_device *gpu, weft_step *step,
                                                 weft_arena *arena, const weft_array *k,
                                                 const weft_array *v);
/* Describes the dispatches: rows that are added, where the form does not do it itself, and the
 * form for so many rows. */
weft_status weft_attention_prepare(weft_attention_problem *problem, weft_error *error);

/* Arrays that a dispatch may bind. */
static inline uint32_t weft_attention_bindings(const weft_gpu_facts *facts) {
  return facts->storage_buffers < WEFT_GPU_BINDINGS_MAX ? facts->storage_buffers
                                                        : WEFT_GPU_BINDINGS_MAX;
}

#endif
