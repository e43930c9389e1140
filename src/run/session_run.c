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

/* ---- plans ----------------------------------------------------------------------------------- */

static weft_plan_request request_of(const weft_session *session) {
  return (weft_plan_request){session->dims, session->ranks, session->wanted};
}

static bool has_signature(const weft_session *session, const weft_plan *plan) {
  const int64_t *signature = plan->signature;
  for (uint32_t i = 0; i < plan->input_count; i++) {
    if (*signature++ != session->ranks[i]) return false;
    for (uint32_t d = 0; d < session->ranks[i]; d++) {
      if (*signature++ != session->dims[i][d]) return false;
    }
  }
  for (uint32_t i = 0; i < plan->output_count; i++) {
    if (*signature++ != session->wanted[i]) return false;
  }
  return true;
}

/* An empty place for a plan, or that of the one used longest ago. */
static weft_bound_plan *place_for_plan(weft_session *session) {
  weft_bound_plan *oldest = &session->plans[0];
  for (uint32_t i = 0; i < WEFT_MAX_PLANS; i++) {
    weft_bound_plan *bound = &session->plans[i];
    if (!bound->live) return bound;
    if (bound->last_use < oldest->last_use) oldest = bound;
  }
  weft_session_release_plan(session, oldest);
  return oldest;
}

static weft_status make_plan(weft_session *session, weft_bound_plan **out, weft_error *error) {
  weft_bound_plan *bound = place_for_plan(session);
  weft_plan_request request = request_of(session);
  WEFT_TRY(weft_plan_build(&session->graph, session->device, &request, &session->heap, &bound->plan,
                           error));
  weft_plan *plan = &bound->plan;
  bound->outputs = WEFT_ARENA_ARRAY(&plan->arena, weft_tensor *, plan->output_count + 1);
  if (session->profile)
    bound->profile = WEFT_ARENA_ARRAY(&plan->arena, weft_step_profile, plan->step_count + 1);
  if (!bound->outputs || (session->profile && !bound->profile)) {
    weft_status status = weft_arena_fail(&plan->arena, "a plan", error);
    weft_plan_release(plan);
    return status;
  }
  bound->live = true;
  *out = bound;
  return WEFT_OK;
}

static weft_status find_plan(weft_session *session, weft_error *error) {
  weft_bound_plan *bound = session->current;
  if (!bound || !has_signature(session, &bound->plan)) {
    bound = NULL;
    for (uint32_t i = 0; i < WEFT_MAX_PLANS && !bound; i++) {
      weft_bound_plan *candidate = &session->plans[i];
      if (candidate->live && has_signature(session, &candidate->plan)) bound = candidate;
    }
  }
  if (!bound) WEFT_TRY(make_plan(session, &bound, error));
  bound->last_use = ++session->uses;
  session->current = bound;
  return WEFT_OK;
}

static weft_status ensure_arena(weft_session *session, uint64_t bytes, weft_error *error) {
  if (session->arena && bytes <= session->arena_bytes) return WEFT_OK;
  weft_heap_release(&session->heap, session->arena, session->arena_bytes);
  session->arena = weft_heap_allocate(&session->heap, bytes);
  session->arena_bytes = session->arena ? bytes : 0;
  return session->arena ? WEFT_OK : weft_heap_fail(&session->heap, bytes, "the activations", error);
}

/* ---- outputs --------------------------------------------------------------------------------- */

static weft_status check_given(const char *name, const weft_tensor *given, const weft_array *array,
                               weft_error *error) {
  bool fits = given->dtype == array->dtype && given->rank == (uint32_t)array->rank &&
              memcmp(given->dims, array->dims, given->rank * sizeof given->dims[0]) == 0;
  if (fits) return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_ARGUMENT,
                   "output '%s': the tensor given does not have its type (%s) or shape", name,
                   weft_dtype_name(array->dtype));
}

/* Where each wanted output is written: the caller's tensor, or one of the session's, made at the
 * first use of the plan. */
static weft_status place_outputs(weft_session *session, weft_error *error) {
  weft_bound_plan *bound = session->current;
  for (uint32_t i = 0; i < bound->plan.output_count; i++) {
    const weft_array *array = bound->plan.outputs[i];
    if (!array) continue;
    weft_tensor *given = session->given[i];
    if (given) {
      WEFT_TRY(
          check_given(value_name(session, named_region(session)->outputs[i]), given, array, error));
    } else if (!bound->outputs[i]) {
      WEFT_TRY(weft_tensor_create(&session->heap, array->dtype, array->dims, (size_t)array->rank,
                                  &bound->outputs[i], error));
    }
    session->bases[1 + bound->plan.input_count + i] = (given ? given : bound->outputs[i])->data;
  }
  return WEFT_OK;
}

static void hand_out(const weft_session *session, weft_binding *outputs, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t index;
    if (outputs[i].tensor || !find_output(session, outputs[i].name, i, &index)) {
      continue;
    }
    outputs[i].tensor = session->current->outputs[index];
  }
}

/* ---- the run --------------------------------------------------------------------------------- */

static weft_status start(weft_session *session, const weft_run_options *options,
                         weft_error *error) {
  WEFT_TRY(find_plan(session, error));
  const weft_plan *plan = &session->current->plan;
  WEFT_TRY(ensure_arena(session, plan->arena_bytes, error));
  WEFT_TRY(place_outputs(session, error));
  session->bases[WEFT_SLOT_ARENA] = session->arena;
  for (uint32_t i = 0; i < plan->input_count; i++) session->bases[1 + i] = session->fed[i]->data;
  uint64_t limit = options ? options->time_limit_ns : 0;
  session->execution = (weft_execution){
      .runtime = session->runtime,
      .plan = plan,
      .bases = session->bases,
      .cancel = &session->cancel,
      .deadline_ns = limit ? weft_now_ns(session->runtime) + limit : 0,
      .profile = session->current->profile,
  };
  return WEFT_OK;
}

weft_status weft_session_resume(weft_session *session, weft_error *error) {
  if (!session->running) return weft_fail(error, WEFT_INVALID_ARGUMENT, "no run is pending");
  weft_status status = session->device->execute(session->device, &session->execution, error);
  if (status == WEFT_PENDING) return status;
  session->running = false;
  atomic_store(&session->cancel, false);
  return status;
}

weft_status weft_session_run(weft_session *session, const weft_run_options *options,
                             const weft_binding *inputs, size_t input_count, weft_binding *outputs,
                             size_t output_count, weft_error *error) {
  if (session->running)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "the session's previous run is not finished");
  WEFT_TRY(bind_inputs(session, inputs, input_count, error));
  WEFT_TRY(want_outputs(session, outputs, output_count, error));
  WEFT_TRY(start(session, options, error));
  session->running = true;
  hand_out(session, outputs, output_count);
  return weft_session_resume(session, error);
}

void weft_session_cancel(weft_session *session) {
  atomic_store(&session->cancel, true);
}
