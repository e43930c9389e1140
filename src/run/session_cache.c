/* session_cache.c - KV caches: outputs that are the result of an `append` to an input. Between runs
 * their rows stay in a buffer with room for more; what callers get and feed are views on it.
 *
 * A run may append in place when the past that is fed ends where the buffer's rows end, so that no
 * view sees what is written; or when nobody but the feeder looks at the buffer, which is then cut
 * back. Otherwise the past is copied into a buffer of its own. */
#include "base/checked.h"
#include "base/memory.h"
#include "run/session.h"

/* ---- which outputs are caches ---------------------------------------------------------------- */

/* Nothing may read the past's rows but the one append: they may be written over in place. */
static bool only_appended_to(const weft_graph *graph, const weft_users *users, weft_value_id past,
                             weft_node_id append) {
  uint32_t appends = 0;
  for (uint32_t u = users->first[past]; u < users->first[past + 1]; u++) {
    weft_node_id user = users->nodes[u];
    if (user == append)
      appends++;
    else if (user == WEFT_NODE_NONE || graph->nodes[user].op != WEFT_OP_SHAPE)
      return false;
  }
  return appends == 1;
}

static bool is_cache(const weft_graph *graph, const weft_users *users, uint32_t output,
                     uint32_t *input) {
  const weft_region *region = &graph->regions[0];
  weft_value_id present = region->outputs[output];
  weft_value_id past = weft_cache_past(graph, present);
  weft_node_id append = graph->values[present].producer;
  if (past == WEFT_VALUE_NONE || graph->nodes[append].region != 0) return false;
  uint32_t as_output = 0;
  for (uint32_t o = 0; o < region->output_count; o++) as_output += region->outputs[o] == present;
  for (*input = 0; *input < region->input_count; ++*input)
    if (region->inputs[*input] == past) break;
  return as_output == 1 && *input < region->input_count &&
         only_appended_to(graph, users, past, append);
}

/* Buffers are in the memory of the device that appends, where rows are whole words, so that heads
 * can be moved one by one. */
static bool lies_on_device(const weft_session *session, weft_value_id present) {
  const weft_device *device = session->device;
  const weft_value *value = &session->graph.values[present];
  if (value->shape.rank != 4 || WEFT_DIM_IS_SYMBOL(value->shape.dims[3])) return false;
  uint64_t row = (uint64_t)value->shape.dims[3] * weft_dtype_size(value->dtype);
  return row % 4 == 0 &&
         weft_device_runs(device, &session->graph, &session->graph.nodes[value->producer]);
}

static weft_status list_caches(weft_session *session, const weft_users *users, weft_error *error) {
  const weft_graph *graph = &session->graph;
  uint32_t outputs = graph->regions[0].output_count, input;
  for (uint32_t o = 0; o < outputs; o++) {
    if (!is_cache(graph, users, o, &input)) continue;
    weft_cache *cache = WEFT_ARENA_PUSH(&session->lists, session->caches, session->cache_count);
    if (!cache) return weft_arena_fail(&session->lists, "a session", error);
    *cache = (weft_cache){.input = input,
                          .output = o,
                          .on_device = lies_on_device(session, graph->regions[0].outputs[o])};
  }
  if (session->cache_count == 0) return WEFT_OK;
  session->cache_rows = WEFT_ARENA_ARRAY(&session->lists, int64_t, outputs);
  if (!session->cache_rows) return weft_arena_fail(&session->lists, "a session", error);
  for (uint32_t o = 0; o < outputs; o++) session->cache_rows[o] = WEFT_NO_CACHE;
  return WEFT_OK;
}

weft_status weft_caches_find(weft_session *session, weft_error *error) {
  weft_arena scratch;
  weft_arena_init(&scratch, &session->heap);
  weft_users users;
  weft_status status = weft_graph_users(&session->graph, &scratch, &users, error);
  if (status == WEFT_OK) status = list_caches(session, &users, error);
  weft_arena_release(&scratch);
  return status;
}

weft_cache *weft_caches_of_output(const weft_session *session, uint32_t output) {
  for (uint32_t c = 0; c < session->cache_count; c++)
    if (session->caches[c].output == output) return &session->caches[c];
  return NULL;
}

/* ---- before the plan ------------------------------------------------------------------------- */

static uint32_t references(const weft_storage *storage) {
  return atomic_load_explicit(&storage->references, memory_order_acquire);
}

static bool is_fed(const weft_session *session, const weft_tensor *tensor) {
  for (uint32_t i = 0; i < session->graph.regions[0].input_count; i++)
    if (session->fed[i] == tensor) return true;
  return false;
}

/* What the latest run handed out ends with this one, unless it is fed to it. */
static void expire(weft_session *session, weft_cache *cache) {
  weft_tensor *view = &cache->views[cache->latest];
  if (!view->storage || is_fed(session, view)) return;
  if (references(view->storage) == 1) {
    weft_storage_release(&cache->spare);
    cache->spare = weft_storage_retain(view->storage);
  }
  weft_tensor_clear(view);
}

static void claim(weft_session *session, weft_cache *cache) {
  const weft_tensor *past = session->fed[cache->input];
  weft_storage *storage = past->storage;
  if (!past->is_view || storage->session != session || storage->claimed ||
      (storage->device != NULL) != cache->on_device)
    return;
  bool alone = references(storage) == 1;
  if (!alone && past->dims[2] != storage->rows) return;
  storage->claimed = true;
  cache->appends_to = storage;
  cache->past_rows = past->dims[2];
  cache->may_rewrite = alone && !past->heap; /* the session's own, which ends with this run */
  session->cache_rows[cache->output] = storage->capacity;
}

void weft_caches_claim(weft_session *session) {
  for (uint32_t c = 0; c < session->cache_count; c++) expire(session, &session->caches[c]);
  for (uint32_t c = 0; c < session->cache_count; c++) {
    weft_cache *cache = &session->caches[c];
    cache->active = session->wanted[cache->output] && !session->given[cache->output];
    cache->appends_to = NULL;
    session->cache_rows[cache->output] = cache->active ? 0 : WEFT_NO_CACHE;
    if (cache->active) {
      session->outputs_on_device[cache->output] = cache->on_device;
      claim(session, cache);
    } else {
      weft_storage_release(&cache->spare);
    }
  }
}

/* ---- after the plan -------------------------------------------------------------------------- */

static weft_tensor *next_view(weft_cache *cache) {
  return &cache->views[1 - cache->latest];
}

/* An unused buffer for the view: the spare one where it is large enough, or a new one. */
static weft_status new_buffer(weft_session *session, weft_cache *cache, const weft_tensor *view,
                              int64_t capacity, weft_storage **out, weft_error *error) {
  uint64_t bytes;
  if (!weft_mul_u64((uint64_t)capacity, weft_tensor_row_bytes(view), &bytes) ||
      !weft_mul_u64(bytes, weft_tensor_heads(view), &bytes)) {
    return weft_fail(error, WEFT_LIMIT_EXCEEDED, "a cache of %lld rows is too large",
                     (long long)capacity);
  }
  if (cache->spare && bytes <= cache->spare->bytes) {
    *out = cache->spare;
    cache->spare = NULL;
  } else {
    weft_storage_release(&cache->spare);
    if (cache->on_device)
      WEFT_TRY(weft_storage_on_device(session, bytes, 0, out, error));
    else
      *out = weft_storage_new(&session->heap, session, bytes);
    if (!*out) return weft_heap_fail(&session->heap, bytes, "a cache", error);
  }
  (*out)->capacity = capacity;
  return WEFT_OK;
}

static weft_status place(weft_session *session, weft_cache *cache, weft_error *error) {
  const weft_array *array = session->current->plan.outputs[cache->output];
  weft_tensor view = {.dtype = array->dtype,
                      .dims = {array->dims[0], array->dims[1], 0, array->dims[3]}};
  int64_t at_hand = cache->appends_to ? cache->appends_to->capacity : 0, rows = array->dims[2];
  int64_t capacity = weft_cache_capacity(at_hand, rows);
  weft_storage *storage = cache->appends_to;
  if (!storage)
    WEFT_TRY(new_buffer(session, cache, &view, capacity, &storage, error));
  else if (capacity > at_hand)
    WEFT_TRY(weft_storage_grow(storage, weft_tensor_heads(&view), cache->past_rows,
                               weft_tensor_row_bytes(&view), capacity, error));
  storage->rows = rows;
  if (cache->appends_to) weft_storage_retain(storage);
  weft_tensor_view(next_view(cache), array->dtype, array->dims, storage);
  weft_session_bind_storage(session, 1 + session->current->plan.input_count + cache->output,
                            storage);
  if (cache->appends_to) weft_session_bind_storage(session, 1 + cache->input, storage);
  return WEFT_OK;
}

weft_status weft_caches_place(weft_session *session, weft_error *error) {
  for (uint32_t c = 0; c < session->cache_count; c++)
    if (session->caches[c].active) WEFT_TRY(place(session, &session->caches[c], error));
  return WEFT_OK;
}

/* ---- while it runs, and at the end ----------------------------------------------------------- */

weft_status weft_cache_detach(void *user, uint32_t slot, weft_error *error) {
  weft_session *session = user;
  weft_cache *cache = weft_caches_of_output(session, slot - 1 - session->current->plan.input_count);
  if (!cache || !cache->active || !cache->appends_to || cache->may_rewrite) return WEFT_OK;
  weft_tensor *view = next_view(cache);
  weft_storage *storage;
  WEFT_TRY(new_buffer(session, cache, view, cache->appends_to->capacity, &storage, error));
  storage->rows = view->dims[2];
  cache->appends_to->rows = cache->past_rows;
  weft_storage_release(&view->storage);
  view->storage = storage;
  weft_session_bind_storage(session, slot, storage);
  return WEFT_OK;
}

static void settle(weft_cache *cache, bool done) {
  weft_storage *storage = cache->appends_to;
  weft_tensor *next = next_view(cache);
  if (storage) {
    storage->claimed = false;
    if (!done) storage->rows = cache->past_rows;
  }
  if (done) {
    weft_tensor_clear(&cache->views[cache->latest]);
    cache->latest = 1 - cache->latest;
  } else {
    weft_tensor_clear(next);
  }
  cache->active = false;
  weft_storage_release(&cache->spare);
}

void weft_caches_settle(weft_session *session, bool done) {
  for (uint32_t c = 0; c < session->cache_count; c++)
    if (session->caches[c].active) settle(&session->caches[c], done);
}

void weft_caches_release(weft_session *session) {
  for (uint32_t c = 0; c < session->cache_count; c++) {
    weft_tensor_clear(&session->caches[c].views[0]);
    weft_tensor_clear(&session->caches[c].views[1]);
    weft_storage_release(&session->caches[c].spare);
  }
}
