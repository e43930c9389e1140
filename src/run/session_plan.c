/* session_plan.c - the plans that a session keeps: found by what is bound, brought up to date, or
 * made. */
#include "run/session.h"

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

/* Takes over the plan. */
static weft_status keep_plan(weft_session *session, weft_plan *plan, weft_bound_plan **out,
                             weft_error *error) {
  weft_tensor **outputs = WEFT_ARENA_ARRAY(&plan->arena, weft_tensor *, plan->output_count + 1);
  weft_step_profile *profile =
      session->profile ? WEFT_ARENA_ARRAY(&plan->arena, weft_step_profile, plan->step_count + 1)
                       : NULL;
  if (!outputs || (session->profile && !profile)) {
    weft_status status = weft_arena_fail(&plan->arena, "a plan", error);
    weft_plan_release(plan);
    return status;
  }
  weft_bound_plan *bound = place_for_plan(session);
  *bound = (weft_bound_plan){.plan = *plan, .outputs = outputs, .profile = profile, .live = true};
  *out = bound;
  return WEFT_OK;
}

/* `near`: a plan that could be for this request if its extents could grow; or NULL. */
static weft_status make_plan(weft_session *session, const weft_plan_request *request,
                             weft_bound_plan *near, weft_bound_plan **out, weft_error *error) {
  weft_plan plan;
  bool try = near && !near->plan.inelastic;
  if (try && weft_plan_build_elastic(&session->graph, session->device, request, &near->plan,
                                     &session->heap, &plan, NULL) == WEFT_OK) {
    weft_session_release_plan(session, near);
    return keep_plan(session, &plan, out, error);
  }
  bool inelastic = near != NULL;
  place_for_plan(session); /* before the new one takes memory */
  WEFT_TRY(
      weft_plan_build(&session->graph, session->device, request, &session->heap, &plan, error));
  plan.inelastic = inelastic;
  return keep_plan(session, &plan, out, error);
}

static bool serves(weft_bound_plan *bound, const weft_plan_request *request,
                   weft_bound_plan **near) {
  switch (weft_plan_compare(&bound->plan, request)) {
  case WEFT_PLAN_SAME:
    return true;
  case WEFT_PLAN_NEARLY:
    return weft_plan_refresh(&bound->plan, request) == WEFT_OK;
  case WEFT_PLAN_MOVED:
    if (!*near || bound->last_use > (*near)->last_use) *near = bound;
    return false;
  case WEFT_PLAN_DIFFERS:
    return false;
  }
  return false;
}

weft_plan_request weft_session_request(const weft_session *session) {
  return (weft_plan_request){.dims = session->dims,
                             .ranks = session->ranks,
                             .wanted = session->wanted,
                             .inputs_on_device = session->inputs_on_device,
                             .outputs_on_device = session->outputs_on_device,
                             .cache_rows = session->cache_rows};
}

weft_status weft_session_find_plan(weft_session *session, weft_error *error) {
  weft_plan_request request = weft_session_request(session);
  weft_bound_plan *bound = session->current, *near = NULL;
  if (!bound || !serves(bound, &request, &near)) {
    weft_bound_plan *tried = bound;
    bound = NULL;
    for (uint32_t i = 0; i < WEFT_MAX_PLANS && !bound; i++) {
      weft_bound_plan *candidate = &session->plans[i];
      if (candidate->live && candidate != tried && serves(candidate, &request, &near))
        bound = candidate;
    }
  }
  if (!bound) WEFT_TRY(make_plan(session, &request, near, &bound, error));
  bound->last_use = ++session->uses;
  session->current = bound;
  return WEFT_OK;
}
