/* session.h - the session object's inside: session.c opens and closes it, session_weights.c loads
 * its weights, session_run.c runs it, session_memory.c has the memory of a run, session_plan.c
 * finds plans, session_cache.c keeps KV caches. */
#ifndef WEFT_RUN_SESSION_H
#define WEFT_RUN_SESSION_H

#include "format/model.h"
#include "plan/device.h"
#include "run/tensor.h"

typedef struct weft_pool_piece {
  weft_memory memory;
  uint64_t bytes;
} weft_pool_piece;

/* A plan that the session keeps, with what belongs to runs of it. */
typedef struct weft_bound_plan {
  weft_plan plan;
  weft_tensor *
      *outputs; /* by graph output: the session's own tensors; NULL until one is asked for */
  weft_step_profile *profile; /* by step; NULL: off */
  uint64_t last_use;          /* the least recent one goes first */
  bool live;
} weft_bound_plan;

/* An output that is the result of an `append` to an input: between runs its rows stay in a buffer
 * that grows. */
typedef struct weft_cache {
  uint32_t input, output;
  bool on_device;       /* its buffers are in the device's memory */
  weft_tensor views[2]; /* what the latest run handed out, and what the running one will */
  uint32_t latest;
  weft_storage *spare; /* a buffer that nobody looks at any more */

  /* Of the running run. */
  bool active;              /* the session keeps this output */
  weft_storage *appends_to; /* the buffer in which the past lies in place; NULL: in none */
  int64_t past_rows;
  bool may_rewrite; /* nobody looks at the past's own rows either */
} weft_cache;

struct weft_session {
  _Atomic uint32_t holders; /* itself, and memory of tensors that may outlive it */
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
  weft_pool_piece *pool; /* the same in the device's memory */
  uint32_t pool_count, pool_room;

  /* Sized once by the graph's inputs and outputs, so that a run allocates nothing. */
  uint8_t **bases;         /* by slot, but for the pool's pieces */
  weft_memory *memories;   /* by slot; moved when a plan has more of them */
  uint32_t memory_slots;   /* that there is room for */
  const int64_t **dims;    /* by input */
  uint32_t *ranks;         /* by input */
  const weft_tensor **fed; /* by input */
  weft_storage **staged;   /* by input: a dense copy of a view, for this run; or NULL */
  bool *wanted;            /* by output */
  weft_tensor **given;     /* by output: the caller's tensor, or NULL */
  bool *inputs_on_device, *outputs_on_device; /* of the running run */
  weft_storage **used; /* by input and output: held while a device works on them; or NULL */
  int64_t *cache_rows; /* by output: see weft_plan_request; NULL: the graph has no caches */
  weft_cache *caches;
  uint32_t cache_count;
  weft_arena lists; /* of these */

  weft_execution execution;
  weft_binding *outputs; /* the caller's, to hand out tensors in */
  size_t output_count;
  bool running; /* a run answered WEFT_PENDING */
  bool lost;
  uint32_t guesses;           /* of likely shapes that were prepared for */
  weft_bound_plan *rehearsal; /* the plan for the next one, while it is measured; or NULL */
  _Atomic bool cancel;
};

/* Wraps a device around the CPU's, which it takes over also on failure. */
typedef weft_status weft_device_open_fn(void *user, weft_device *host,
                                        const weft_session_options *options, weft_heap *heap,
                                        weft_device **out, weft_error *error);
/* As weft_session_open, on a device that `open` makes. NULL: on the CPU. */
weft_status weft_session_open_device(weft_model *model, const weft_session_options *options,
                                     weft_device_open_fn *open, void *user, weft_session **out,
                                     weft_error *error);
/* As weft_session_open, for rehearsals: once so many bytes of weights are packed (0: all are),
 * those that are alike take turns in the others' place. The results are wrong then, the time is
 * right. */
weft_status weft_session_open_sample(weft_model *model, const weft_session_options *options,
                                     uint64_t bytes, weft_session **out, weft_error *error);
/* How long sequences are guessed to be, where nobody says. */
#define WEFT_LONG_EXTENT 128
/* Likely shapes of the inputs as session->dims, which lie in the arena: caches empty, a batch of
 * one, other free extents as given. false: an input is not even known in rank. */
bool weft_session_guess(weft_session *session, int64_t extent, weft_arena *arena);
weft_status weft_session_load_weights(weft_session *session, weft_error *error);
/* For a session that is being opened, before weights are packed: has the device compile, while they
 * are, what weft_session_prepare will ask for. Leaves out what it cannot find out. */
void weft_session_foresee(weft_session *session, const char *disabled_passes);

/* Ends a run that is pending. */
void weft_session_stop(weft_session *session);
/* Whether what it has in its device's memory is gone; nothing is left to do then but to close it.
 */
bool weft_session_is_lost(const weft_session *session);
weft_status weft_session_fail_lost(weft_error *error);

/* The memory of a run (session_memory.c): of the plan's own, then of inputs and outputs. Runs with
 * a device's memory hold what they use until they end. */
weft_status weft_session_place(weft_session *session, weft_error *error);
void weft_session_unplace(weft_session *session);
/* Only the pool of the device's memory. */
weft_status weft_session_ensure_pool(weft_session *session, const weft_plan *plan,
                                     weft_error *error);
/* Ends what weft_session_prepare has under way: its memory is that of runs. */
void weft_session_end_rehearsal(weft_session *session);
void weft_session_bind_storage(weft_session *session, uint32_t slot, const weft_storage *storage);
void weft_session_release_pool(weft_session *session);
/* Whether the session's device finds the tensor in its memory. */
bool weft_session_reaches(const weft_session *session, const weft_tensor *tensor);
/* The model's name of an output. */
const char *weft_session_output_name(const weft_session *session, uint32_t output);

void weft_session_release_plan(weft_session *session, weft_bound_plan *bound);
/* The struct, and with it the heap, stays while somebody holds it. */
void weft_session_hold(weft_session *session);
void weft_session_let_go(weft_session *session);

weft_plan_request weft_session_request(const weft_session *session);
/* The plan for the inputs and outputs that are bound, as session->current. */
weft_status weft_session_find_plan(weft_session *session, weft_error *error);

/* Which outputs are caches: once, when the session opens. */
weft_status weft_caches_find(weft_session *session, weft_error *error);
/* A run: claim before the plan is looked for, place after that, and at the end settle. */
void weft_caches_claim(weft_session *session);
weft_status weft_caches_place(weft_session *session, weft_error *error);
void weft_caches_settle(weft_session *session, bool done);
weft_cache *weft_caches_of_output(const weft_session *session, uint32_t output);
weft_status weft_cache_detach(void *session, uint32_t slot, weft_error *error);
void weft_caches_release(weft_session *session);

#endif
