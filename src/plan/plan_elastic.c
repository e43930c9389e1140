/* plan_elastic.c - which plan serves which request: the same extents, or extents that have grown
 * together within the capacity that a plan was laid out for. The lengths of caches and whatever
 * goes with them (an attention mask) are found by watching: they are what differs, by one amount,
 * between two runs. */
#include "plan/planner.h"

/* 64, 96, 128, 192, 256, 384, ...: steps of a half and a third. At most a third of a buffer is
 * empty, a row is moved about twice in its life, and the usual limits of contexts are steps. */
int64_t weft_cache_capacity(int64_t at_hand, int64_t rows) {
  int64_t capacity = 64;
  if (at_hand > 0 && at_hand >= rows) return at_hand;
  while (capacity < rows)
    capacity += (capacity & (capacity - 1)) == 0 ? capacity / 2 : capacity / 3;
  return capacity;
}

/* How a request differs from a plan. */
typedef struct difference {
  int64_t by;     /* the same for all extents that differ; 0: none does */
  int64_t most;   /* the largest of these extents, before or after */
  bool caches;    /* a cache's length is among them */
  bool scattered; /* other things differ, or by other amounts, or not all that move together */
} difference;

static void compare_extent(const weft_plan *plan, difference *d, uint32_t input, uint32_t axis,
                           uint32_t place, int64_t extent) {
  int64_t before = plan->signature[place], by = extent - before;
  if (by == 0) return;
  if (d->by == 0) d->by = by;
  bool is_past = plan->planner && plan->planner->refresh->is_past[input];
  d->scattered |= by != d->by || (is_past && axis != 2) || (plan->moving && !plan->moving[place]);
  d->caches |= is_past;
  if (extent > d->most) d->most = extent;
  if (before > d->most) d->most = before;
}

static difference compare(const weft_plan *plan, const weft_plan_request *request) {
  difference d = {0};
  uint32_t place = 0;
  for (uint32_t i = 0; i < plan->input_count; i++) {
    if (plan->signature[place++] != weft_plan_input_kind(request, i))
      return (difference){.scattered = true};
    for (uint32_t k = 0; k < request->ranks[i]; k++)
      compare_extent(plan, &d, i, k, place++, request->dims[i][k]);
  }
  for (uint32_t o = 0; o < plan->output_count; o++)
    d.scattered |= plan->signature[place++] != weft_plan_output_kind(request, o);
  if (d.by == 0 || !plan->moving) return d;
  place = 0;
  for (uint32_t i = 0; i < plan->input_count; i++) {
    place++;
    for (uint32_t k = 0; k < request->ranks[i]; k++, place++)
      d.scattered |= plan->moving[place] && plan->signature[place] == request->dims[i][k];
  }
  return d;
}

int64_t weft_plan_shift(const weft_plan *plan, const weft_plan_request *request) {
  return compare(plan, request).by;
}

weft_plan_match weft_plan_compare(const weft_plan *plan, const weft_plan_request *request) {
  difference d = compare(plan, request);
  if (d.scattered) return WEFT_PLAN_DIFFERS;
  if (!plan->planner) return d.by == 0 ? WEFT_PLAN_SAME : WEFT_PLAN_DIFFERS;
  if (d.by == 0) {
    const weft_refresh *r = plan->planner->refresh;
    bool same = !r->stale && memcmp(r->cache_rows, request->cache_rows,
                                    plan->output_count * sizeof *r->cache_rows) == 0;
    return same ? WEFT_PLAN_SAME : WEFT_PLAN_NEARLY;
  }
  if (plan->moving && d.by <= plan->room) return WEFT_PLAN_NEARLY;
  return d.caches ? WEFT_PLAN_MOVED : WEFT_PLAN_DIFFERS;
}

/* ---- building -------------------------------------------------------------------------------- */

/* The request at full capacity: all that moves is `shift` longer. Marks what moves. */
static void stretch(const weft_plan_request *request, const weft_plan *other, int64_t shift,
                    bool *moving, int64_t *dims) {
  uint32_t place = 0;
  for (uint32_t i = 0; i < other->input_count; i++) {
    place++;
    for (uint32_t k = 0; k < request->ranks[i]; k++, place++) {
      moving[place] = other->signature[place] != request->dims[i][k];
      *dims++ = request->dims[i][k] + (moving[place] ? shift : 0);
    }
  }
}

static weft_status build_stretched(const weft_graph *graph, const weft_device *device,
                                   const weft_plan_request *request, const weft_plan *other,
                                   weft_arena *scratch, weft_plan *out, weft_error *error) {
  uint32_t inputs = other->input_count, length = other->signature_length;
  bool *moving = WEFT_ARENA_ARRAY(scratch, bool, length);
  int64_t *dims = WEFT_ARENA_ARRAY(scratch, int64_t, length);
  const int64_t **lists = WEFT_ARENA_ARRAY(scratch, const int64_t *, inputs);
  if (!moving || !dims || !lists) return weft_arena_fail(scratch, "a plan", error);
  /* Longer than either run, so that plans of two lengths have shown that symbols agree. */
  difference d = compare(other, request);
  int64_t longest = d.by > 0 ? d.most : d.most + d.by; /* of the request */
  stretch(request, other, weft_cache_capacity(0, d.most + 1) - longest, moving, dims);
  for (uint32_t i = 0; i < inputs; dims += request->ranks[i++]) lists[i] = dims;
  weft_plan_request stretched = *request;
  stretched.dims = lists;
  WEFT_TRY(weft_plan_build(graph, device, &stretched, scratch->heap, out, error));
  out->moving = WEFT_ARENA_ARRAY(&out->arena, bool, length);
  if (!out->moving) return weft_arena_fail(&out->arena, "a plan", error);
  memcpy(out->moving, moving, length);
  WEFT_TRY(weft_plan_refresh(out, request));
  return weft_plan_refresh(out, request); /* from here on without taking memory */
}

weft_status weft_plan_build_elastic(const weft_graph *graph, const weft_device *device,
                                    const weft_plan_request *request, const weft_plan *other,
                                    weft_heap *heap, weft_plan *out, weft_error *error) {
  *out = (weft_plan){0};
  weft_arena scratch;
  weft_arena_init(&scratch, heap);
  weft_status status = build_stretched(graph, device, request, other, &scratch, out, error);
  weft_arena_release(&scratch);
  if (status != WEFT_OK) weft_plan_release(out);
  return status;
}
