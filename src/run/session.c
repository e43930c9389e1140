/* session.c - opens a session: copies the model's graph, rewrites it for the device, brings the
 * weights that are left into memory. Running is in session_run.c. */
#include "run/session.h"

#include "base/text.h"
#include "cpu/cpu.h"
#include "opt/opt.h"
#include "run/evaluate.h"

weft_session_options weft_session_options_default(void) {
  return (weft_session_options){0};
}

/* What the rewrites call back with. */
typedef struct open_context {
  weft_session *session;
  const weft_session_options *options;
} open_context;

static weft_status evaluate(void *user, const weft_graph *graph, weft_node_id node,
                            weft_buffer **outputs, weft_error *error) {
  weft_session *session = ((open_context *)user)->session;
  return weft_evaluate_node(session->device, graph, node, &session->heap, outputs, error);
}

static weft_status pack(void *user, const weft_graph *graph, const weft_node *node, uint32_t input,
                        weft_buffer **out, weft_layout *layout, weft_error *error) {
  weft_session *session = ((open_context *)user)->session;
  return session->device->pack(session->device, graph, node, input, &session->heap, out, layout,
                               error);
}

static bool progress(void *user, uint64_t done, uint64_t total) {
  const weft_session_options *options = ((open_context *)user)->options;
  return !options->progress || options->progress(options->progress_user, done, total);
}

/* The graph is a copy that shares the weights' bytes. A consumed model lets go of its share, so
 * that each weight dies as soon as it is packed. */
static weft_status take_graph(weft_session *session, bool consume, weft_error *error) {
  weft_model *model = session->model;
  if (model->consumed) {
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "the model's weights were taken by a session that consumed them");
  }
  WEFT_TRY(weft_graph_copy(&model->file.graph, &session->heap, &session->graph, error));
  if (consume) weft_model_drop_weights(model);
  return WEFT_OK;
}

/* Only ops that move bytes may meet a weight at an odd address (borrowed from the middle of a
 * file); indices are read as numbers. */
static bool moves_bytes(const weft_node *node, uint32_t input) {
  bool gathers = node->op == WEFT_OP_GATHER || node->op == WEFT_OP_GATHER_ELEMENTS;
  return node->op == WEFT_OP_CONCAT || (gathers && input == 0);
}

static weft_status load_constant(weft_session *session, weft_value *value, bool align,
                                 weft_error *error) {
  weft_buffer *buffer = value->data;
  if (!buffer->data && buffer->bytes) return weft_buffer_load(buffer, error);
  size_t size = weft_dtype_size(value->dtype);
  if (!align || size == 0 || (uintptr_t)buffer->data % size == 0) return WEFT_OK;
  weft_buffer *aligned = weft_buffer_new(&session->heap, buffer->bytes);
  if (!aligned) return weft_heap_fail(&session->heap, buffer->bytes, "a weight", error);
  memcpy(aligned->data, buffer->data, (size_t)buffer->bytes);
  weft_buffer_release(&value->data);
  value->data = aligned;
  return WEFT_OK;
}

/* Marks a constant that some node or output still uses: 1, or 2 where its address matters too. */
static void mark_use(const weft_graph *graph, uint8_t *uses, weft_value_id value, bool aligned) {
  if (value == WEFT_VALUE_NONE || graph->values[value].kind != WEFT_VALUE_CONSTANT) return;
  uint8_t use = aligned ? 2 : 1;
  if (uses[value] < use) uses[value] = use;
}

static void mark_uses(const weft_graph *graph, uint8_t *uses) {
  for (uint32_t n = 0; n < graph->node_count; n++) {
    const weft_node *node = &graph->nodes[n];
    for (uint32_t i = 0; i < node->input_count && !node->removed; i++) {
      mark_use(graph, uses, node->inputs[i], !moves_bytes(node, i));
    }
  }
  for (uint32_t r = 0; r < graph->region_count; r++) {
    const weft_region *region = &graph->regions[r];
    for (uint32_t i = 0; i < region->output_count; i++)
      mark_use(graph, uses, region->outputs[i], false);
  }
}

/* Brings the constants that are still used into memory and lets go of the others. */
static weft_status load_constants(weft_session *session, weft_error *error) {
  weft_graph *graph = &session->graph;
  weft_arena scratch;
  weft_arena_init(&scratch, &session->heap);
  uint8_t *uses = WEFT_ARENA_ARRAY(&scratch, uint8_t, graph->value_count + 1);
  weft_status status = uses ? WEFT_OK : weft_arena_fail(&scratch, "a session", error);
  if (uses) mark_uses(graph, uses);
  for (uint32_t i = 0; i < graph->value_count && status == WEFT_OK; i++) {
    weft_value *value = &graph->values[i];
    if (value->kind != WEFT_VALUE_CONSTANT || !value->data) continue;
    if (uses[i])
      status = load_constant(session, value, uses[i] == 2, error);
    else
      weft_buffer_release(&value->data);
  }
  weft_arena_release(&scratch);
  return status;
}

static weft_status allocate_lists(weft_session *session, weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  weft_arena *arena = &session->lists;
  uint64_t inputs = region->input_count + 1, outputs = region->output_count + 1;
  session->bases = WEFT_ARENA_ARRAY(arena, uint8_t *, 1 + inputs + outputs);
  session->dims = WEFT_ARENA_ARRAY(arena, const int64_t *, inputs);
  session->ranks = WEFT_ARENA_ARRAY(arena, uint32_t, inputs);
  session->fed = WEFT_ARENA_ARRAY(arena, const weft_tensor *, inputs);
  session->staged = WEFT_ARENA_ARRAY(arena, weft_storage *, inputs);
  session->wanted = WEFT_ARENA_ARRAY(arena, bool, outputs);
  session->given = WEFT_ARENA_ARRAY(arena, weft_tensor *, outputs);
  bool all = session->bases && session->dims && session->ranks && session->fed && session->staged &&
             session->wanted && session->given;
  return all ? weft_caches_find(session, error) : weft_arena_fail(arena, "a session", error);
}

static weft_status prepare(weft_session *session, const weft_session_options *options,
                           weft_error *error) {
  if ((uint32_t)options->activations > WEFT_ACTIVATIONS_INT8)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "activations %d are none of weft_activations",
                     (int)options->activations);
  WEFT_TRY(weft_cpu_open(session->runtime, options, &session->heap, &session->device, error));
  WEFT_TRY(take_graph(session, options->consume_model, error));
  open_context context = {session, options};
  weft_opt_context opt = {&session->heap, evaluate, pack, progress, &context};
  WEFT_TRY(weft_opt_run(&session->graph, &opt, options->disabled_passes, error));
  WEFT_TRY(load_constants(session, error));
  return allocate_lists(session, error);
}

weft_status weft_session_open(weft_model *model, const weft_session_options *options,
                              weft_session **out, weft_error *error) {
  *out = NULL;
  weft_session_options defaults = weft_session_options_default();
  if (!options) options = &defaults;
  weft_heap *heap = &model->runtime->heap;
  weft_session *session = weft_heap_allocate_zeroed(heap, sizeof *session);
  if (!session) return weft_heap_fail(heap, sizeof *session, "a session", error);
  atomic_init(&session->holders, 1);
  session->runtime = model->runtime;
  session->model = weft_model_retain(model);
  session->profile = options->profile;
  weft_heap_init(&session->heap, NULL, heap, options->memory_limit);
  weft_arena_init(&session->lists, &session->heap);
  weft_status status = prepare(session, options, error);
  if (status != WEFT_OK) weft_session_close(&session);
  *out = session;
  return status;
}

void weft_session_release_plan(weft_session *session, weft_bound_plan *bound) {
  if (!bound->live) return;
  for (uint32_t i = 0; i < bound->plan.output_count; i++) weft_tensor_close(&bound->outputs[i]);
  weft_plan_release(&bound->plan);
  *bound = (weft_bound_plan){0};
  if (session->current == bound) session->current = NULL;
}

void weft_session_hold(weft_session *session) {
  atomic_fetch_add_explicit(&session->holders, 1, memory_order_relaxed);
}

void weft_session_let_go(weft_session *session) {
  if (atomic_fetch_sub_explicit(&session->holders, 1, memory_order_acq_rel) > 1) return;
  weft_heap *heap = session->heap.parent;
  weft_heap_release(heap, session, sizeof *session);
}

void weft_session_close(weft_session **out) {
  if (!out || !*out) return;
  weft_session *session = *out;
  for (uint32_t i = 0; i < WEFT_MAX_PLANS; i++)
    weft_session_release_plan(session, &session->plans[i]);
  weft_caches_release(session);
  weft_heap_release(&session->heap, session->arena, session->arena_bytes);
  weft_arena_release(&session->lists);
  weft_graph_release(&session->graph);
  if (session->device) session->device->close(session->device);
  weft_model_release(session->model);
  weft_session_let_go(session);
  *out = NULL;
}

weft_memory_use weft_session_memory(const weft_session *session) {
  return weft_heap_use(&session->heap);
}

weft_status weft_session_dump(const weft_session *session, weft_dump what, weft_write_fn write,
                              void *user, weft_error *error) {
  weft_text text = {.write = write, .user = user};
  if (what == WEFT_DUMP_GRAPH) {
    weft_graph_dump(&session->graph, &text);
    return WEFT_OK;
  }
  if (!session->current)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no plan before the first run");
  weft_plan_dump(&session->graph, &session->current->plan, &text);
  return WEFT_OK;
}

size_t weft_session_profile_count(const weft_session *session) {
  return session->current && session->current->profile ? session->current->plan.step_count : 0;
}

weft_status weft_session_profile_entry(const weft_session *session, size_t index,
                                       weft_profile_entry *out) {
  if (index >= weft_session_profile_count(session)) return WEFT_INVALID_ARGUMENT;
  const weft_step *step = &session->current->plan.steps[index];
  const weft_step_profile *profile = &session->current->profile[index];
  *out = (weft_profile_entry){
      .op = step->is_copy ? "copy" : weft_op_facts_of(step->node->op)->name,
      .node = step->node ? step->node->name.data : "output",
      .kernel = step->kernel,
      .calls = profile->calls,
      .total_ns = profile->total_ns,
      .flops = step->flops,
      .bytes = step->bytes,
  };
  return WEFT_OK;
}
