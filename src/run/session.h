/* session.h - the session object's inside: session.c opens and closes it, session_run.c runs it. */
#ifndef WEFT_RUN_SESSION_H
#define WEFT_RUN_SESSION_H

#include "format/model.h"
#include "plan/device.h"
#include "run/tensor.h"

/* A plan that the session keeps, with what belongs to runs of it. */
typedef struct weft_bound_plan {
  weft_plan plan;
  weft_tensor *
      *outputs; /* by graph output: the session's own tensors; NULL until one is asked for */
  weft_step_profile *profile; /* by step; NULL: off */
  uint64_t last_use;          /* the least recent one goes first */
  bool live;
} weft_bound_plan;

struct weft_session {
  weft_runtime *runtime;
  weft_model *model; /* a reference: its file owns names, its sources may be borrowed */
  weft_heap heap;    /* counts under the runtime's */
  weft_graph graph;
  weft_device *device;
  bool profile;

  weft_bound_plan plans[WEFT_MAX_PLANS];
  weft_bound_plan *current; /* of the latest run; NULL: none yet */
  uint64_t uses;
  uint8_t *arena; /* activations of whichever plan runs */
  uint64_t arena_bytes;

  /* Sized once by the graph's inputs and outputs, so that a run allocates nothing. */
  uint8_t **bases;         /* by slot */
  const int64_t **dims;    /* by input */
  uint32_t *ranks;         /* by input */
  const weft_tensor **fed; /* by input */
  bool *wanted;            /* by output */
  weft_tensor **given;     /* by output: the caller's tensor, or NULL */
  weft_arena lists;        /* of these */

  weft_execution execution;
  bool running; /* a run answered WEFT_PENDING */
  _Atomic bool cancel;
};

void weft_session_release_plan(weft_session *session, weft_bound_plan *bound);

#endif
