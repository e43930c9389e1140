/* session_run.c - one run: bindings -> plan (found by signature or made) -> the device. On known
 * shapes nothing is allocated. */
#include "base/memory.h"
#include "run/session.h"

/* Names are the model's: rewrites may have put other values in the places of outputs. */
static const char *value_name(const weft_session *session, weft_value_id id) {
  return session->model->file.graph.values[id].name.data;
}
static const weft_region *named_region(const weft_session *session) {
  return &session->model->file.graph.regions[0];
}

/* The index of a name among inputs or outputs; callers mostly bind in order, so the hint is tried
 * first. */
static bool find_name(const weft_session *session, const weft_value_id *ids, uint32_t count,
                      const char *name, size_t hint, uint32_t *out) {
  for (uint32_t tried = 0; tried < count; tried++) {
    uint32_t i = (uint32_t)((hint + tried) % count);
    if (strcmp(value_name(session, ids[i]), name) != 0) continue;
    *out = i;
    return true;
  }
  return false;
}

static bool find_output(const weft_session *session, const char *name, size_t hint, uint32_t *out) {
  const weft_region *region = named_region(session);
  return find_name(session, region->outputs, region->output_count, name, hint, out);
}

static weft_status check_binding(const weft_binding *binding, const char *what, weft_error *error) {
  if (binding->name) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: a binding has no name", what);
}

static weft_status bind_input(weft_session *session, const weft_binding *binding, size_t hint,
                              weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  uint32_t index;
  WEFT_TRY(check_binding(binding, "input", error));
  if (!find_name(session, region->inputs, region->input_count, binding->name, hint, &index)) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the model has no input '%s'", binding->name);
  }
  const weft_tensor *tensor = binding->tensor;
  weft_dtype dtype = session->graph.values[region->inputs[index]].dtype;
  if (!tensor)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "input '%s': no tensor given", binding->name);
  if (tensor->dtype != dtype) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "input '%s': type is %s, but %s is expected",
                     binding->name, weft_dtype_name(tensor->dtype), weft_dtype_name(dtype));
  }
  session->fed[index] = tensor;
  session->dims[index] = tensor->dims;
  session->ranks[index] = tensor->rank;
  return WEFT_OK;
}

static weft_status bind_inputs(weft_session *session, const weft_binding *inputs, size_t count,
                               weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) session->fed[i] = NULL;
  for (size_t i = 0; i < count; i++) WEFT_TRY(bind_input(session, &inputs[i], i, error));
  for (uint32_t i = 0; i < region->input_count; i++) {
    if (session->fed[i]) continue;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "input '%s' is missing",
                     value_name(session, region->inputs[i]));
  }
  return WEFT_OK;
}

static weft_status want_outputs(weft_session *session, const weft_binding *outputs, size_t count,
                                weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  for (uint32_t i = 0; i < region->output_count; i++) {
    session->wanted[i] = false;
    session->given[i] = NULL;
  }
  for (size_t i = 0; i < count; i++) {
    uint32_t index;
    WEFT_TRY(check_binding(&outputs[i], "output", error));
    if (!find_output(session, outputs[i].name, i, &index)) {
      return weft_fail(error, WEFT_INVALID_ARGUMENT, "the model has no output '%s'",
                       outputs[i].name);
    }
    if (session->wanted[index]) {
      return weft_fail(error, WEFT_INVALID_ARGUMENT, "output '%s' is asked for twice",
                       outputs[i].name);
    }
    session->wanted[index] = true;
    session->given[index] = outputs[i].tensor;
  }
  return WEFT_OK;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static weft_status ensure_arena(weft_session *session, uint64_t bytes, weft_error *error) {
  if (session->arena && bytes <= session->arena_bytes) return WEFT_OK;
  weft_heap_release(&session->heap, session->arena, session->arena_bytes);
  session->arena = weft_heap_allocate(&session->heap, bytes);
  session->arena_bytes = session->arena ? bytes : 0;
  return session->arena ? WEFT_OK : weft_heap_fail(&session->heap, bytes, "the activations", error);
}

/* A view that is not appended to in place is read as a dense copy. */
static weft_status place_inputs(weft_session *session, weft_error *error) {
  for (uint32_t i = 0; i < session->current->plan.input_count; i++) {
    const weft_tensor *fed = session->fed[i];
    uint8_t **base = &session->bases[1 + i];
    if (!fed->is_view) *base = fed->data;
    if (!fed->is_view || *base) continue;
    weft_storage *copy = weft_storage_new(&session->heap, session, fed->bytes);
    if (!copy) return weft_heap_fail(&session->heap, fed->bytes, "an input", error);
    weft_storage_read_rows(fed->storage, weft_tensor_heads(fed), fed->dims[2],
                           weft_tensor_row_bytes(fed), copy->data);
    session->staged[i] = copy;
    *base = copy->data;
  }
  return WEFT_OK;
}

/* ---- outputs --------------------------------------------------------------------------------- */

static weft_status check_given(const char *name, const weft_tensor *given, const weft_array *array,
                               weft_error *error) {
  bool fits = given->dtype == array->dtype && given->rank == (uint32_t)array->rank &&
              memcmp(given->dims, array->dims, given->rank * sizeof given->dims[0]) == 0;
  if (fits && given->is_view)
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "output '%s': the tensor given is a cache of a session", name);
  if (fits) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_ARGUMENT,
                   "output '%s': the tensor given does not have its type (%s) or shape", name,
                   weft_dtype_name(array->dtype));
}

/* The session's own tensor for an output that is no cache: made at the first use of the plan. */
static weft_status own_output(weft_session *session, uint32_t index, weft_error *error) {
  weft_tensor **own = &session->current->outputs[index];
  const weft_array *array = session->current->plan.outputs[index];
  if (*own) return weft_tensor_renew(*own, array->dims, error);
  return weft_tensor_create(&session->heap, session, array->dtype, array->dims, (size_t)array->rank,
                            own, error);
}

/* Where each wanted output is written: the caller's tensor, or one of the session's. */
static weft_status place_outputs(weft_session *session, weft_error *error) {
  weft_bound_plan *bound = session->current;
  for (uint32_t i = 0; i < bound->plan.output_count; i++) {
    const weft_array *array = bound->plan.outputs[i];
    weft_tensor *given = session->given[i];
    if (!array || (session->cache_rows && session->cache_rows[i] != WEFT_NO_CACHE)) continue;
    if (given)
      WEFT_TRY(
          check_given(value_name(session, named_region(session)->outputs[i]), given, array, error));
    else
      WEFT_TRY(own_output(session, i, error));
    session->bases[1 + bound->plan.input_count + i] = (given ? given : bound->outputs[i])->data;
  }
  return WEFT_OK;
}

static void hand_out(const weft_session *session) {
  for (size_t i = 0; i < session->output_count; i++) {
    weft_binding *binding = &session->outputs[i];
    uint32_t index;
    if (binding->tensor || !find_output(session, binding->name, i, &index)) continue;
    weft_cache *cache = weft_caches_of_output(session, index);
    binding->tensor = cache ? &cache->views[cache->latest] : session->current->outputs[index];
  }
}

/* ---- the run --------------------------------------------------------------------------------- */

static weft_status start(weft_session *session, const weft_run_options *options,
                         weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) session->bases[1 + i] = NULL;
  weft_caches_claim(session);
  WEFT_TRY(weft_session_find_plan(session, error));
  const weft_plan *plan = &session->current->plan;
  WEFT_TRY(ensure_arena(session, plan->arena_bytes, error));
  WEFT_TRY(weft_caches_place(session, error));
  WEFT_TRY(place_inputs(session, error));
  WEFT_TRY(place_outputs(session, error));
  session->bases[WEFT_SLOT_ARENA] = session->arena;
  uint64_t limit = options ? options->time_limit_ns : 0;
  session->execution = (weft_execution){
      .runtime = session->runtime,
      .plan = plan,
      .bases = session->bases,
      .cancel = &session->cancel,
      .deadline_ns = limit ? weft_now_ns(session->runtime) + limit : 0,
      .profile = session->current->profile,
      .detach = weft_cache_detach,
      .detach_user = session,
  };
  return WEFT_OK;
}

static weft_status finish(weft_session *session, weft_status status) {
  weft_caches_settle(session, status == WEFT_OK);
  for (uint32_t i = 0; i < session->graph.regions[0].input_count; i++)
    weft_storage_release(&session->staged[i]);
  if (status == WEFT_OK) hand_out(session);
  session->running = false;
  return status;
}

weft_status weft_session_resume(weft_session *session, weft_error *error) {
  if (!session->running) return weft_fail(error, WEFT_INVALID_ARGUMENT, "no run is pending");
  weft_status status = session->device->execute(session->device, &session->execution, error);
  if (status == WEFT_PENDING) return status;
  atomic_store(&session->cancel, false);
  return finish(session, status);
}

weft_status weft_session_run(weft_session *session, const weft_run_options *options,
                             const weft_binding *inputs, size_t input_count, weft_binding *outputs,
                             size_t output_count, weft_error *error) {
  if (session->running)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session's previous run is not finished");
  WEFT_TRY(bind_inputs(session, inputs, input_count, error));
  WEFT_TRY(want_outputs(session, outputs, output_count, error));
  session->outputs = outputs;
  session->output_count = output_count;
  weft_status status = start(session, options, error);
  if (status != WEFT_OK) return finish(session, status);
  session->running = true;
  return weft_session_resume(session, error);
}

void weft_session_cancel(weft_session *session) {
  atomic_store(&session->cancel, true);
}
