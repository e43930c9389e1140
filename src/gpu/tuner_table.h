/* tuner_table.h - the choices of one GPU: shared by tuner_table.c, which keeps them, and tuner.c,
 * which measures. */
#ifndef WEFT_GPU_TUNER_TABLE_H
#define WEFT_GPU_TUNER_TABLE_H

#include "gpu/tuner.h"

enum { WEFT_TUNE_FAMILY_MAX = 24 };

typedef struct weft_tune_entry {
  char family[WEFT_TUNE_FAMILY_MAX];
  uint32_t words[WEFT_TUNE_WORDS];
  uint32_t candidates, prior, choice;
  bool measured;
  uint64_t ns; /* of the choice, as measured */
} weft_tune_entry;

struct weft_tuner {
  weft_heap *heap;
  weft_tune_entry *entries;
  uint32_t count, room;
  /* While variants are tried. Numbers of entries; NONE: none. */
  uint32_t asked;  /* the latest that was asked for */
  uint32_t trying; /* gets the answer `trial` */
  uint32_t trial;
  struct weft_tuner_job *job; /* NULL: none runs */
  /* The session that measured last; what its measuring took so far. */
  const weft_gpu_device *spender;
  uint64_t gpu_ns, wall_ns;
};

#define WEFT_TUNE_NONE UINT32_MAX

#endif
