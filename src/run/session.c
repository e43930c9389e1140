/* session.c - opens a session: copies the model's graph, rewrites it for the device, brings the
 * weights that are left into memory (session_weights.c). Running is in session_run.c. */
#include "run/session.h"

#include "base/text.h"
#include "cpu/cpu.h"
#include "gpu/gpu.h"
#include "opt/opt.h"
#include "opt/weight.h"
#include "run/evaluate.h"

weft_session_options weft_session_options_default(void) {
  return (weft_session_options){0};
}

/* A packed weight, and what those are like for which it may stand. */
typedef struct sample {
  weft_dtype dtype, stored; /* as which it is read, and of its codes */
  uint64_t k, n, block;
  weft_buffer *packed;
  weft_layout layout;
  uint32_t uses;
} sample;

enum { SAMPLES_MAX = 256 };

/* What the rewrites call back with. */
typedef struct open_context {
  weft_session *session;
  const weft_session_options *options;
  sample *samples; /* NULL: every weight is packed */
  uint32_t sample_count;
  uint64_t sample_bytes; /* that may still be packed */
} open_context;

static weft_status evaluate(void *user, const weft_graph *graph, weft_node_id node,
                            weft_buffer **outputs, weft_error *error) {
  weft_session *session = ((open_context *)user)->session;
  const weft_device *host = session->device->host ? session->device->host : session->device;
  return weft_evaluate_node(host, graph, node, &session->heap, outputs, error);
}

static bool runs_on_device(void *user, const weft_graph *graph, const weft_node *node) {
  return weft_device_runs(((open_context *)user)->session->device, graph, node);
}

static sample sample_of(const weft_graph *graph, weft_value_id weight) {
  const weft_value *value = &graph->values[weight];
  weft_weight_list list;
  sample s = {.dtype = value->dtype, .stored = value->dtype, .uses = 1};
  if (weft_weight_find(graph, weight, &list)) {
    s.stored = list.parts[0].data->dtype;
    s.block = list.parts[0].block;
  }
  if (value->shape.rank != 2) return s;
  s.k = (uint64_t)value->shape.dims[0];
  s.n = (uint64_t)value->shape.dims[1];
  return s;
}

/* One that is like it, the least used of them; NULL: there is none. */
static sample *find_alike(const open_context *context, const sample *like) {
  sample *found = NULL;
  for (uint32_t i = 0; i < context->sample_count && like->k > 0; i++) {
    sample *s = &context->samples[i];
    if (s->dtype == like->dtype && s->stored == like->stored && s->k == like->k &&
        s->n == like->n && s->block == like->block && (!found || s->uses < found->uses))
      found = s;
  }
  return found;
}

static void keep_sample(open_context *context, sample s, weft_buffer *packed, weft_layout layout) {
  if (!context->samples || !packed || context->sample_count == SAMPLES_MAX) return;
  s.packed = weft_buffer_retain(packed);
  s.layout = layout;
  context->samples[context->sample_count++] = s;
  uint64_t left = context->sample_bytes;
  context->sample_bytes = packed->bytes < left ? left - packed->bytes : 0;
}

static weft_status pack(void *user, const weft_graph *graph, const weft_node *node, uint32_t input,
                        weft_buffer **out, weft_layout *layout, weft_error *error) {
  open_context *context = user;
  const weft_device *device = context->session->device;
  sample s = {0}, *alike = NULL;
  if (context->samples) s = sample_of(graph, node->inputs[input]);
  if (context->samples && context->sample_bytes == 0) alike = find_alike(context, &s);
  if (alike) {
    alike->uses++;
    *out = weft_buffer_retain(alike->packed);
    *layout = alike->layout;
    return WEFT_OK;
  }
  WEFT_TRY(device->pack(device, graph, node, input, &context->session->heap, out, layout, error));
  keep_sample(context, s, *out, *layout);
  return WEFT_OK;
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

static weft_status allocate_lists(weft_session *session, weft_error *error) {
  const weft_region *region = &session->graph.regions[0];
  weft_arena *arena = &session->lists;
  uint64_t inputs = region->input_count + 1, outputs = region->output_count + 1;
  session->bases = WEFT_ARENA_ARRAY(arena, uint8_t *, 1 + inputs + outputs);
  session->memory_slots = (uint32_t)(1 + inputs + outputs);
  session->memories = WEFT_ARENA_ARRAY(arena, weft_memory, session->memory_slots);
  session->inputs_on_device = WEFT_ARENA_ARRAY(arena, bool, inputs);
  session->outputs_on_device = WEFT_ARENA_ARRAY(arena, bool, outputs);
  session->used = WEFT_ARENA_ARRAY(arena, weft_storage *, inputs + outputs);
  session->dims = WEFT_ARENA_ARRAY(arena, const int64_t *, inputs);
  session->ranks = WEFT_ARENA_ARRAY(arena, uint32_t, inputs);
  session->fed = WEFT_ARENA_ARRAY(arena, const weft_tensor *, inputs);
  session->staged = WEFT_ARENA_ARRAY(arena, weft_storage *, inputs);
  session->wanted = WEFT_ARENA_ARRAY(arena, bool, outputs);
  session->given = WEFT_ARENA_ARRAY(arena, weft_tensor *, outputs);
  bool all = session->bases && session->dims && session->ranks && session->fed && session->staged &&
             session->wanted && session->given && session->memories && session->inputs_on_device &&
             session->outputs_on_device && session->used;
  return all ? weft_caches_find(session, error) : weft_arena_fail(arena, "a session", error);
}

/* The CPU, or a device around it. */
static weft_status open_device(weft_session *session, const weft_session_options *options,
                               weft_device_open_fn *open, void *user, weft_error *error) {
  weft_device *cpu;
  WEFT_TRY(weft_cpu_open(session->runtime, options, &session->heap, &cpu, error));
  if (open) return open(user, cpu, options, &session->heap, &session->device, error);
  session->device = cpu;
  return WEFT_OK;
}

/* All rewrites; between the others and packing, kernels are asked for. */
static weft_status rewrite(open_context *context, weft_error *error) {
  weft_session *session = context->session;
  const char *disabled = context->options->disabled_passes;
  weft_opt_context opt = {.heap = &session->heap,
                          .evaluate = evaluate,
                          .runs_on_device = runs_on_device,
                          .progress = progress,
                          .user = context};
  WEFT_TRY(weft_opt_run(&session->graph, &opt, disabled, error));
  WEFT_TRY(allocate_lists(session, error));
  weft_session_foresee(session, disabled);
  opt.pack = pack;
  return weft_opt_pack(&session->graph, &opt, disabled, error);
}

static weft_status rewrite_sampling(weft_session *session, const weft_session_options *options,
                                    uint64_t sample_bytes, weft_error *error) {
  open_context context = {.session = session, .options = options, .sample_bytes = sample_bytes};
  if (sample_bytes > 0) {
    context.samples = WEFT_ARENA_ARRAY(&session->lists, sample, SAMPLES_MAX);
    if (!context.samples) return weft_arena_fail(&session->lists, "a session", error);
  }
  weft_status status = rewrite(&context, error);
  for (uint32_t i = 0; i < context.sample_count; i++)
    weft_buffer_release(&context.samples[i].packed);
  return status;
}

static weft_status prepare(weft_session *session, const weft_session_options *options,
                           weft_device_open_fn *open, void *user, uint64_t sample_bytes,
                           weft_error *error) {
  if ((uint32_t)options->activations > WEFT_ACTIVATIONS_INT8)
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "activations %d are none of weft_activations",
                     (int)options->activations);
  WEFT_TRY(open_device(session, options, open, user, error));
  WEFT_TRY(take_graph(session, options->consume_model, error));
  WEFT_TRY(rewrite_sampling(session, options, sample_bytes, error));
  return weft_session_load_weights(session, error);
}

static weft_status open_session(weft_model *model, const weft_session_options *options,
                                weft_device_open_fn *open, void *user, uint64_t sample_bytes,
                                weft_session **out, weft_error *error) {
  *out = NULL;
  weft_heap *heap = &model->runtime->heap;
  weft_session *session = weft_heap_allocate_zeroed(heap, sizeof *session);
  if (!session) return weft_heap_fail(heap, sizeof *session, "a session", error);
  atomic_init(&session->holders, 1);
  session->runtime = model->runtime;
  session->model = weft_model_retain(model);
  session->profile = options->profile;
  weft_heap_init(&session->heap, NULL, heap, options->memory_limit);
  weft_arena_init(&session->lists, &session->heap);
  weft_status status = prepare(session, options, open, user, sample_bytes, error);
  if (status != WEFT_OK) weft_session_close(&session);
  *out = session;
  return status;
}

weft_status weft_session_open_device(weft_model *model, const weft_session_options *options,
                                     weft_device_open_fn *open, void *user, weft_session **out,
                                     weft_error *error) {
  return open_session(model, options, open, user, 0, out, error);
}

static weft_status open_gpu(void *user, weft_device *host, const weft_session_options *options,
                            weft_heap *heap, weft_device **out, weft_error *error) {
  return weft_gpu_device_open(user, host, options, heap, out, error);
}

weft_status weft_session_open_sample(weft_model *model, const weft_session_options *options,
                                     uint64_t bytes, weft_session **out, weft_error *error) {
  return open_session(model, options, options->gpu ? open_gpu : NULL, options->gpu, bytes, out,
                      error);
}

weft_status weft_session_open(weft_model *model, const weft_session_options *options,
                              weft_session **out, weft_error *error) {
  weft_session_options defaults = weft_session_options_default();
  return weft_session_open_sample(model, options ? options : &defaults, 0, out, error);
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
  if (session->device) session->device->close(session->device);
  weft_heap_release(heap, session, sizeof *session);
}

void weft_session_close(weft_session **out) {
  if (!out || !*out) return;
  weft_session *session = *out;
  weft_session_stop(session);
  weft_session_end_rehearsal(session);
  for (uint32_t i = 0; i < WEFT_MAX_PLANS; i++)
    weft_session_release_plan(session, &session->plans[i]);
  weft_caches_release(session);
  weft_session_release_pool(session);
  weft_heap_release(&session->heap, session->arena, session->arena_bytes);
  weft_arena_release(&session->lists);
  weft_graph_release(&session->graph);
  weft_model_release(session->model);
  weft_session_let_go(session);
  *out = NULL;
}

weft_memory_use weft_session_memory(const weft_session *session) {
  weft_memory_use use = weft_heap_use(&session->heap);
  use.device_bytes = session->device->memory_bytes;
  use.device_bytes_peak = session->device->memory_bytes_peak;
  return use;
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
