/* session_prepare.c - what a session on a GPU can do before its first run: plans for likely shapes,
 * so that their kernels are compiled while nobody waits for a result; the first of them before the
 * weights are there. */
#include "base/memory.h"
#include "opt/opt.h"
#include "run/session.h"

/* By symbol. Caches are empty, and of the heads and sizes that are appended to them, whatever the
 * model calls these; what stands first in a shape is a batch of one. */
static void guess_extents(const weft_session *session, int64_t extent, int64_t *guess) {
  const weft_graph *graph = &session->graph;
  const weft_region *region = &graph->regions[0];
  for (uint32_t s = 0; s < graph->symbol_count; s++) guess[s] = extent;
  for (uint32_t i = 0; i < region->input_count; i++) {
    const weft_shape *shape = &graph->values[region->inputs[i]].shape;
    if (shape->rank > 0 && WEFT_DIM_IS_SYMBOL(shape->dims[0]))
      guess[WEFT_DIM_SYMBOL_INDEX(shape->dims[0])] = 1;
  }
  for (uint32_t c = 0; c < session->cache_count; c++) {
    const weft_shape *past = &graph->values[region->inputs[session->caches[c].input]].shape;
    const weft_shape *present = &graph->values[region->outputs[session->caches[c].output]].shape;
    for (int32_t k = 1; k < 4 && past->rank == 4 && present->rank == 4; k++) {
      if (!WEFT_DIM_IS_SYMBOL(past->dims[k])) continue;
      int64_t *of = &guess[WEFT_DIM_SYMBOL_INDEX(past->dims[k])];
      if (k == 2)
        *of = 0;
      else if (!WEFT_DIM_IS_SYMBOL(present->dims[k]))
        *of = present->dims[k];
    }
  }
}

/* Input shapes by the guess; false: one is not even known in rank. */
static bool guess_inputs(weft_session *session, const int64_t *guess, int64_t *dims) {
  const weft_graph *graph = &session->graph;
  const weft_region *region = &graph->regions[0];
  for (uint32_t i = 0; i < region->input_count; i++, dims += WEFT_RANK_MAX) {
    const weft_shape *shape = &graph->values[region->inputs[i]].shape;
    if (shape->rank < 0) return false;
    for (int32_t k = 0; k < shape->rank; k++)
      dims[k] = WEFT_DIM_IS_SYMBOL(shape->dims[k]) ? guess[WEFT_DIM_SYMBOL_INDEX(shape->dims[k])]
                                                   : shape->dims[k];
    session->dims[i] = dims;
    session->ranks[i] = (uint32_t)shape->rank;
    session->inputs_on_device[i] = false;
  }
  return true;
}

static void want_all(weft_session *session) {
  for (uint32_t o = 0; o < session->graph.regions[0].output_count; o++) {
    session->wanted[o] = true;
    session->outputs_on_device[o] = false;
  }
  for (uint32_t c = 0; c < session->cache_count; c++) {
    const weft_cache *cache = &session->caches[c];
    session->cache_rows[cache->output] = 0;
    session->outputs_on_device[cache->output] = cache->on_device;
  }
}

bool weft_session_guess(weft_session *session, int64_t extent, weft_arena *scratch) {
  const weft_graph *graph = &session->graph;
  int64_t *guess = WEFT_ARENA_ARRAY(scratch, int64_t, graph->symbol_count);
  int64_t *dims = WEFT_ARENA_ARRAY(scratch, int64_t,
                                   ((uint64_t)graph->regions[0].input_count + 1) * WEFT_RANK_MAX);
  if (!guess || !dims) return false;
  guess_extents(session, extent, guess);
  return guess_inputs(session, guess, dims);
}

/* The plan for a guess, which may well not fit the model; or NULL. */
static weft_bound_plan *plan_guess(weft_session *session, int64_t extent, weft_arena *scratch) {
  const weft_graph *graph = &session->graph;
  if (!weft_session_guess(session, extent, scratch)) return NULL;
  want_all(session);
  weft_plan_request request = weft_session_request(session);
  weft_bound_plan *bound = weft_heap_allocate_zeroed(&session->heap, sizeof *bound);
  if (bound && weft_plan_build(graph, session->device, &request, &session->heap, &bound->plan,
                               NULL) == WEFT_OK)
    return bound;
  weft_heap_release(&session->heap, bound, sizeof *bound);
  return NULL;
}

void weft_session_end_rehearsal(weft_session *session) {
  weft_bound_plan *bound = session->rehearsal;
  if (!bound) return;
  if (session->device->tune) session->device->tune(session->device, NULL, NULL);
  weft_plan_release(&bound->plan);
  weft_heap_release(&session->heap, bound, sizeof *bound);
  session->rehearsal = NULL;
}

/* Inputs, outputs and caches have no memory yet: the tuner lends them some. */
static weft_status measure(weft_session *session, weft_error *error) {
  const weft_plan *plan = &session->rehearsal->plan;
  uint32_t tensors = plan->input_count + plan->output_count;
  WEFT_TRY(weft_session_ensure_pool(session, plan, error));
  memset(session->memories + 1, 0, tensors * sizeof *session->memories);
  weft_execution execution = {.runtime = session->runtime,
                              .plan = plan,
                              .bases = session->bases,
                              .memories = session->memories};
  return session->device->tune(session->device, &execution, error);
}

/* Prepares for a guess: what stays of its plan are kernels, and the knowledge which are fast. */
static weft_status rehearse(weft_session *session, int64_t extent, weft_error *error) {
  if (!session->rehearsal) {
    weft_arena scratch;
    weft_arena_init(&scratch, &session->heap);
    session->rehearsal = plan_guess(session, extent, &scratch);
    weft_arena_release(&scratch);
  }
  if (!session->rehearsal || !session->device->tune) return WEFT_OK;
  return measure(session, error);
}

/* A model with caches sees a prompt first: kernels for single tokens are asked for when those for
 * texts are there, and compiled during the first run. Single tokens are of no interest to others.
 */
weft_status weft_session_prepare(weft_session *session, weft_error *error) {
  static const int64_t extents[] = {WEFT_LONG_EXTENT, 1};
  const weft_device *device = session->device;
  if (!device->ready) return WEFT_OK;
  if (weft_session_is_lost(session)) return weft_session_fail_lost(error);
  uint32_t guesses = session->cache_count > 0 ? 2 : 1;
  while (!session->running && session->guesses < guesses) {
    if (session->guesses > 0) WEFT_TRY(device->ready(device, error));
    weft_status status = rehearse(session, extents[session->guesses], error);
    if (status == WEFT_PENDING) return status;
    weft_session_end_rehearsal(session);
    session->guesses++;
    WEFT_TRY(status);
  }
  return guesses > 1 ? WEFT_OK : device->ready(device, error);
}

/* ---- before the weights ---------------------------------------------------------------------- */

/* Constants up to this size are read for plans on the host. */
#define HOST_BYTES_MAX 65536u

static void close_nothing(void *user, weft_memory memory) {
  (void)user, (void)memory;
}

/* A weight of which only the layout counts: on the device, at no address of it. */
static weft_buffer *stand_in(weft_session *session, uint64_t bytes) {
  return weft_buffer_on_device(&session->heap, bytes, 1, close_nothing, NULL);
}

static weft_status pack_nothing(void *user, const weft_graph *graph, const weft_node *node,
                                uint32_t input, weft_buffer **out, weft_layout *layout,
                                weft_error *error) {
  weft_session *session = user;
  const weft_device *device = session->device;
  *out = NULL;
  if (!weft_device_runs(device, graph, node)) return WEFT_OK;
  WEFT_TRY(device->layout(device, graph, node, input, &session->heap, layout, error));
  if (*layout != WEFT_LAYOUT_DENSE) *out = stand_in(session, 1);
  bool failed = *layout != WEFT_LAYOUT_DENSE && !*out;
  return failed ? weft_heap_fail(&session->heap, sizeof **out, "a weight", error) : WEFT_OK;
}

static bool runs_on_device(void *user, const weft_graph *graph, const weft_node *node) {
  return weft_device_runs(((weft_session *)user)->device, graph, node);
}

/* What the host reads is read, and shared with the session's own graph. false: it is too much. */
static bool pretend_constant(weft_session *session, weft_value *value, uint8_t sides) {
  weft_buffer *data = value->data, *there;
  if (data->memory || !sides) return true;
  if (sides & WEFT_READ_ON_HOST && !data->data && data->bytes &&
      (data->bytes > HOST_BYTES_MAX || weft_buffer_load(data, NULL) != WEFT_OK))
    return false;
  if (!(sides & WEFT_READ_ON_DEVICE)) return true;
  if ((there = stand_in(session, data->bytes)) == NULL) return false;
  if (sides & WEFT_READ_ON_HOST) there->data = data->data;
  weft_buffer_release(&value->data);
  value->data = there;
  return true;
}

/* As if all weights of session->graph were in their places. */
static bool pretend(weft_session *session, const char *disabled_passes, weft_arena *scratch) {
  weft_graph *graph = &session->graph;
  weft_opt_context opt = {.heap = &session->heap,
                          .pack = pack_nothing,
                          .runs_on_device = runs_on_device,
                          .user = session};
  uint8_t *sides;
  if (weft_opt_pack(graph, &opt, disabled_passes, NULL) != WEFT_OK ||
      weft_plan_constant_sides(graph, session->device, scratch, &sides, NULL) != WEFT_OK)
    return false;
  for (uint32_t i = 0; i < graph->value_count; i++) {
    weft_value *value = &graph->values[i];
    if (value->kind == WEFT_VALUE_CONSTANT && value->data &&
        !pretend_constant(session, value, sides[i]))
      return false;
  }
  return true;
}

void weft_session_foresee(weft_session *session, const char *disabled_passes) {
  weft_graph own = session->graph, copy;
  if (!session->device->compiles_aside ||
      weft_graph_copy(&own, &session->heap, &copy, NULL) != WEFT_OK)
    return;
  weft_arena scratch;
  weft_arena_init(&scratch, &session->heap);
  session->graph = copy;
  weft_bound_plan *bound = NULL;
  if (pretend(session, disabled_passes, &scratch))
    bound = plan_guess(session, WEFT_LONG_EXTENT, &scratch);
  if (bound) weft_plan_release(&bound->plan);
  weft_heap_release(&session->heap, bound, sizeof *bound);
  weft_graph_release(&session->graph);
  session->graph = own;
  weft_arena_release(&scratch);
}
