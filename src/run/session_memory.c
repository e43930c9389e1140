/* session_memory.c - the memory of a run: activations, and where each input is read and each output
 * written, on the host's side (bases) or the device's (memories). */
#include "base/memory.h"
#include "run/session.h"

/* ---- activations ----------------------------------------------------------------------------- */

static weft_status ensure_arena(weft_session *session, uint64_t bytes, weft_error *error) {
  if (session->arena && bytes <= session->arena_bytes) return WEFT_OK;
  weft_heap_release(&session->heap, session->arena, session->arena_bytes);
  session->arena = weft_heap_allocate(&session->heap, bytes);
  session->arena_bytes = session->arena ? bytes : 0;
  return session->arena ? WEFT_OK : weft_heap_fail(&session->heap, bytes, "the activations", error);
}

/* Room in the lists for the pieces of a plan. */
static weft_status ensure_lists(weft_session *session, uint32_t first, uint32_t pieces,
                                weft_error *error) {
  weft_arena *lists = &session->lists;
  if (first + pieces > session->memory_slots) {
    uint32_t slots = first + 2 * pieces;
    weft_memory *memories = WEFT_ARENA_ARRAY(lists, weft_memory, slots);
    if (!memories) return weft_arena_fail(lists, "a session", error);
    memcpy(memories, session->memories, session->memory_slots * sizeof *memories);
    session->memories = memories;
    session->memory_slots = slots;
  }
  if (pieces > session->pool_room) {
    weft_pool_piece *pool = WEFT_ARENA_ARRAY(lists, weft_pool_piece, 2 * (uint64_t)pieces);
    if (!pool) return weft_arena_fail(lists, "a session", error);
    if (session->pool_count) memcpy(pool, session->pool, session->pool_count * sizeof *pool);
    session->pool = pool;
    session->pool_room = 2 * pieces;
  }
  if (pieces > session->pool_count) session->pool_count = pieces;
  return WEFT_OK;
}

weft_status weft_session_ensure_pool(weft_session *session, const weft_plan *plan,
                                     weft_error *error) {
  uint32_t first = 1 + plan->input_count + plan->output_count;
  const weft_device *device = session->device;
  WEFT_TRY(ensure_lists(session, first, plan->pool_count, error));
  for (uint32_t p = 0; p < plan->pool_count; p++) {
    weft_pool_piece *piece = &session->pool[p];
    if (!piece->memory || piece->bytes < plan->pool_bytes[p]) {
      if (piece->memory) device->memory_close(device, piece->memory);
      *piece = (weft_pool_piece){0};
      WEFT_TRY(device->memory_open(device, plan->pool_bytes[p], &piece->memory, error));
      piece->bytes = plan->pool_bytes[p];
    }
    session->memories[first + p] = piece->memory;
  }
  return WEFT_OK;
}

void weft_session_release_pool(weft_session *session) {
  for (uint32_t p = 0; p < session->pool_count; p++)
    if (session->pool[p].memory)
      session->device->memory_close(session->device, session->pool[p].memory);
  session->pool_count = 0;
}

void weft_session_bind_storage(weft_session *session, uint32_t slot, const weft_storage *storage) {
  session->bases[slot] = storage->data;
  session->memories[slot] = storage->memory;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

bool weft_session_reaches(const weft_session *session, const weft_tensor *tensor) {
  const weft_device *of = weft_tensor_device(tensor), *device = session->device;
  return of && (of == device || (of->space && of->space == device->space));
}

/* A view that is not appended to in place is read as a dense copy. */
static weft_status stage(weft_session *session, uint32_t index, const weft_tensor *view,
                         weft_error *error) {
  weft_storage **copy = &session->staged[index];
  uint64_t heads = weft_tensor_heads(view), row = weft_tensor_row_bytes(view);
  if (view->storage->device) {
    WEFT_TRY(weft_storage_on_device(session, view->bytes, 0, copy, error));
    return weft_storage_copy_rows(view->storage, heads, view->dims[2], row, *copy, error);
  }
  *copy = weft_storage_new(&session->heap, session, view->bytes);
  if (!*copy) return weft_heap_fail(&session->heap, view->bytes, "an input", error);
  weft_storage_read_rows(view->storage, heads, view->dims[2], row, (*copy)->data);
  return WEFT_OK;
}

static weft_status place_input(weft_session *session, uint32_t index, weft_error *error) {
  const weft_tensor *fed = session->fed[index];
  uint32_t slot = 1 + index;
  if (session->bases[slot] || session->memories[slot]) return WEFT_OK; /* a cache, in place */
  bool fetched = weft_tensor_device(fed) && !session->inputs_on_device[index];
  if (fed->is_view && !fetched) {
    WEFT_TRY(stage(session, index, fed, error));
    weft_session_bind_storage(session, slot, session->staged[index]);
  } else if (session->inputs_on_device[index]) {
    session->memories[slot] = fed->storage->memory;
  } else {
    session->bases[slot] = weft_tensor_data(fed);
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
  size_t rank = (size_t)array->rank;
  if (*own) return weft_tensor_renew(*own, array->dims, error);
  return array->on_device
             ? weft_tensor_create_there(session, array->dtype, array->dims, rank, own, error)
             : weft_tensor_create(&session->heap, session, array->dtype, array->dims, rank, own,
                                  error);
}

/* Where a wanted output is written: the caller's tensor, or one of the session's. */
static weft_status place_output(weft_session *session, uint32_t index, weft_error *error) {
  weft_bound_plan *bound = session->current;
  weft_tensor *given = session->given[index];
  const char *name = weft_session_output_name(session, index);
  if (!given) WEFT_TRY(own_output(session, index, error));
  if (given) {
    WEFT_TRY(check_given(name, given, bound->plan.outputs[index], error));
    weft_tensor_forget(given);
  }
  const weft_tensor *tensor = given ? given : bound->outputs[index];
  uint32_t slot = 1 + bound->plan.input_count + index;
  session->bases[slot] = tensor->data;
  session->memories[slot] = tensor->data ? 0 : tensor->storage->memory;
  return WEFT_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void hold(weft_storage **place, weft_storage *storage) {
  *place = storage ? weft_storage_retain(storage) : NULL;
}

/* What tensors lie on stays until the run ends, whoever closes them meanwhile. */
static void hold_all(weft_session *session) {
  const weft_plan *plan = &session->current->plan;
  for (uint32_t i = 0; i < plan->input_count; i++)
    hold(&session->used[i], session->fed[i]->storage);
  for (uint32_t o = 0; o < plan->output_count; o++)
    if (session->given[o]) hold(&session->used[plan->input_count + o], session->given[o]->storage);
}

weft_status weft_session_place(weft_session *session, weft_error *error) {
  const weft_plan *plan = &session->current->plan;
  WEFT_TRY(ensure_arena(session, plan->arena_bytes, error));
  WEFT_TRY(weft_session_ensure_pool(session, plan, error));
  WEFT_TRY(weft_caches_place(session, error));
  for (uint32_t i = 0; i < plan->input_count; i++) WEFT_TRY(place_input(session, i, error));
  for (uint32_t o = 0; o < plan->output_count; o++) {
    bool is_cache = session->cache_rows && session->cache_rows[o] != WEFT_NO_CACHE;
    if (plan->outputs[o] && !is_cache) WEFT_TRY(place_output(session, o, error));
  }
  session->bases[WEFT_SLOT_ARENA] = session->arena;
  if (session->device->host) hold_all(session);
  return WEFT_OK;
}

void weft_session_unplace(weft_session *session) {
  const weft_region *region = &session->graph.regions[0];
  for (uint32_t i = 0; i < region->input_count; i++) weft_storage_release(&session->staged[i]);
  for (uint32_t i = 0; i < region->input_count + region->output_count; i++)
    weft_storage_release(&session->used[i]);
}
