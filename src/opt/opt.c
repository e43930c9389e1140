/* opt.c - runs the passes of passes.inc in order and answers which there are. */
#include "opt/opt.h"

typedef struct pass {
  const char *name, *description;
  bool optional;
  weft_pass_fn *run;
} pass;

static const pass passes[] = {
#define WEFT_PASS(name, optional, description) {#name, description, optional, weft_pass_##name},
#include "opt/passes.inc"
#undef WEFT_PASS
};
enum { pass_count = sizeof passes / sizeof passes[0] };

/* The index-th optional pass. */
static const pass *optional_pass(size_t index) {
  for (size_t i = 0; i < pass_count; i++) {
    if (passes[i].optional && index-- == 0) return &passes[i];
  }
  return NULL;
}

const char *weft_pass_name(size_t index) {
  const pass *found = optional_pass(index);
  return found ? found->name : NULL;
}

const char *weft_pass_description(size_t index) {
  const pass *found = optional_pass(index);
  return found ? found->description : NULL;
}

/* Cuts the next name off a list separated by commas. */
static weft_str next_name(const char **list) {
  const char *start = *list;
  while (**list && **list != ',') (*list)++;
  weft_str name = {start, (uint32_t)(*list - start)};
  if (**list == ',') (*list)++;
  return name;
}

static bool is_listed(const char *list, const char *name) {
  while (list && *list) {
    weft_str listed = next_name(&list);
    if (weft_str_is(listed, name) || weft_str_is(listed, "all")) return true;
  }
  return false;
}

static weft_status check_list(const char *list, weft_error *error) {
  while (list && *list) {
    weft_str listed = next_name(&list);
    bool known = weft_str_is(listed, "all");
    for (size_t i = 0; i < pass_count; i++) {
      known |= passes[i].optional && weft_str_is(listed, passes[i].name);
    }
    if (!known) {
      return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no rewrite '%.*s' to switch off",
                       WEFT_STR_ARGS(listed));
    }
  }
  return WEFT_OK;
}

static weft_status run_pass(const pass *entry, weft_graph *graph, const weft_opt_context *context,
                            weft_error *error) {
  WEFT_TRY(entry->run(graph, context, error));
#ifdef WEFT_VERIFY_PASSES /* debug and test builds */
  weft_error broken;
  weft_status status = weft_graph_verify(graph, &broken);
  if (status != WEFT_OK) {
    if (status == WEFT_INVALID_MODEL)
      status = WEFT_INTERNAL; /* the rewrite's fault, not the file's */
    return weft_fail(error, status, "after rewrite %s: %s", entry->name, broken.message);
  }
#endif
  return WEFT_OK;
}

/* A rewrite leaves the nodes that it made useless; they would count as users in the next one. */
static weft_status run_enabled(const pass *entry, weft_graph *graph,
                               const weft_opt_context *context, const char *disabled,
                               weft_error *error) {
  static const pass remove_dead = {"remove_dead", NULL, true, weft_pass_remove_dead};
  if (entry->optional && is_listed(disabled, entry->name)) return WEFT_OK;
  WEFT_TRY(run_pass(entry, graph, context, error));
  if (is_listed(disabled, remove_dead.name)) return WEFT_OK;
  return run_pass(&remove_dead, graph, context, error);
}

weft_status weft_opt_run(weft_graph *graph, const weft_opt_context *context, const char *disabled,
                         weft_error *error) {
  WEFT_TRY(check_list(disabled, error));
  for (size_t i = 0; i < pass_count; i++)
    WEFT_TRY(run_enabled(&passes[i], graph, context, disabled, error));
  return WEFT_OK;
}

weft_status weft_opt_pack(weft_graph *graph, const weft_opt_context *context, const char *disabled,
                          weft_error *error) {
  return run_enabled(&passes[pass_count - 1], graph, context, disabled, error);
}
