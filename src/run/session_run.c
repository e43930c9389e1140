/* session_run.c - one run: bindings -> plan (found by signature or made) -> memory -> the device.
 * On known shapes nothing is allocated. */
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

/* A tensor that the session's device does not find in its memory. */
static weft_status check_fetched(const weft_binding *binding, weft_error *error) {
  const weft_tensor *tensor = binding->tensor;
  if (!weft_tensor_on_device(tensor) || weft_tensor_data(tensor)) return WEFT_OK;
  if (weft_session_is_lost(tensor->storage->session))
    return weft_fail(error, WEFT_DEVICE_LOST,
                     "input '%s': the tensor's contents are gone with the GPU that was lost",
                     binding->name);
  return weft_fail(error, WEFT_INVALID_ARGUMENT,
                   "input '%s': the tensor lies in the memory of a GPU that this session does not "
                   "use, and was not fetched",
                   binding->name);
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
  session->inputs_on_device[index] = weft_session_reaches(session, tensor);
  if (!session->inputs_on_device[index]) WEFT_TRY(check_fetched(binding, error));
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

/* Where an output goes: to the caller's tensor, or to the side that the options say. */
static weft_status want_output(weft_session *session, const weft_run_options *options,
                               const weft_binding *binding, size_t place, uint32_t index,
                               weft_error *error) {
  bool there = options && options->outputs_on_device && options->outputs_on_device[place];
  session->wanted[index] = true;
  session->given[index] = binding->tensor;
  session->outputs_on_device[index] = binding->tensor
                                          ? weft_session_reaches(session, binding->tensor)
                                          : there && session->device->host;
  if (!binding->tensor || session->outputs_on_device[index] ||
      !weft_tensor_on_device(binding->tensor))
    return WEFT_OK;
  return weft_fail(error, WEFT_INVALID_ARGUMENT,
                   "output '%s': the tensor given lies in the memory of a GPU that this session "
                   "does not use",
                   binding->name);
}

static weft_status want_outputs(weft_session *session, const weft_run_options *options,
                                const weft_binding *outputs, size_t count, weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  for (uint32_t i = 0; i < region->output_count; i++) {
    session->wanted[i] = false;
    session->given[i] = NULL;
    session->outputs_on_device[i] = false;
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
    WEFT_TRY(want_output(session, options, &outputs[i], i, index, error));
  }
  return WEFT_OK;
}

const char *weft_session_output_name(const weft_session *session, uint32_t output) {
  return value_name(session, named_region(session)->outputs[output]);
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
  for (uint32_t i = 0; i < region->input_count; i++) {
    session->bases[1 + i] = NULL;
    session->memories[1 + i] = 0;
  }
  weft_session_end_rehearsal(session);
  weft_caches_claim(session);
  WEFT_TRY(weft_session_find_plan(session, error));
  WEFT_TRY(weft_session_place(session, error));
  uint64_t limit = options ? options->time_limit_ns : 0;
  session->execution = (weft_execution){
      .runtime = session->runtime,
      .plan = &session->current->plan,
      .bases = session->bases,
      .memories = session->memories,
      .cancel = &session->cancel,
      .deadline_ns = limit ? weft_now_ns(session->runtime) + limit : 0,
      .profile = options && options->unprofiled ? NULL : session->current->profile,
      .detach = weft_cache_detach,
      .detach_user = session,
  };
  return WEFT_OK;
}

static weft_status finish(weft_session *session, weft_status status) {
  weft_caches_settle(session, status == WEFT_OK);
  weft_session_unplace(session);
  session->lost |= status == WEFT_DEVICE_LOST;
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
  if (weft_session_is_lost(session)) return weft_session_fail_lost(error);
  WEFT_TRY(bind_inputs(session, inputs, input_count, error));
  WEFT_TRY(want_outputs(session, options, outputs, output_count, error));
  session->outputs = outputs;
  session->output_count = output_count;
  weft_status status = start(session, options, error);
  if (status != WEFT_OK) return finish(session, status);
  session->running = true;
  return weft_session_resume(session, error);
}

void weft_session_stop(weft_session *session) {
  if (!session->running) return;
  weft_session_cancel(session);
  weft_session_resume(session, NULL);
}

bool weft_session_is_lost(const weft_session *session) {
  const weft_device *device = session->device;
  return session->lost || (device->is_lost && device->is_lost(device));
}

weft_status weft_session_fail_lost(weft_error *error) {
  return weft_fail(error, WEFT_DEVICE_LOST,
                   "the GPU was lost, and with it the session's weights: open both anew");
}

weft_status weft_session_poll(weft_session *session, bool wait, weft_error *error) {
  const weft_device *device = session->device;
  weft_status status = device->poll ? device->poll(device, wait, error) : WEFT_OK;
  if (status < 0) weft_session_stop(session);
  session->lost |= status == WEFT_DEVICE_LOST;
  return status;
}

void weft_session_cancel(weft_session *session) {
  atomic_store(&session->cancel, true);
}
