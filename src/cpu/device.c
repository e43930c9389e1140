/* device.c - the CPU as a weft_device: finds each op's implementation, and runs plans step by step.
 */
#include "cpu/cpu.h"

#include "base/host.h"
#include "cpu/internal.h"

static const weft_cpu *cpu_of(const weft_device *device) {
  return (const weft_cpu *)(const void *)device;
}

static const char *const op_names[] = {
#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes) #name,
#include "graph/ops.inc"
#undef WEFT_OP
};

static weft_cpu_prepare_fn *const prepare_fns[] = {
#define WEFT_OP(id, name, inputs_min, inputs_max, outputs_max, attributes) weft_cpu_prepare_##name,
#include "graph/ops.inc"
#undef WEFT_OP
};

static bool takes_any(const weft_node *node, uint32_t input, const weft_array *array) {
  (void)node, (void)input, (void)array;
  return true;
}

static weft_cpu_takes_fn *const takes_fns[WEFT_OP_COUNT] = {
    [WEFT_OP_MAP] = takes_any,
    [WEFT_OP_MATMUL] = weft_cpu_takes_matmul,
    [WEFT_OP_ATTENTION] = weft_cpu_takes_attention,
    [WEFT_OP_ROTARY] = weft_cpu_takes_rotary,
    [WEFT_OP_APPEND] = weft_cpu_takes_append,
    [WEFT_OP_NORM] = weft_cpu_takes_norm,
    [WEFT_OP_CONCAT] = takes_any,
    [WEFT_OP_PAD] = takes_any,
    [WEFT_OP_SHAPE] = takes_any,
};

static bool cpu_takes(const weft_device *device, const weft_node *node, uint32_t input,
                      const weft_array *array) {
  (void)device;
  if (array->layout != WEFT_LAYOUT_DENSE || weft_array_is_dense(array)) return true;
  return takes_fns[node->op] != NULL && takes_fns[node->op](node, input, array);
}

weft_status weft_cpu_prepare_view(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_INTERNAL, "a view must not become a step");
}

weft_status weft_cpu_prepare_if(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED,
                   "the condition is known only at run time; only conditions that follow from "
                   "shapes and constants are supported");
}

weft_status weft_cpu_prepare_cached_attention(const weft_cpu *cpu, weft_step *step,
                                              weft_arena *arena, weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_INTERNAL, "made for a device that has this op");
}

/* Puts the step's name before the cause, here alone. */
static weft_status blame(const weft_step *step, weft_status status, weft_error *error) {
  if (error == NULL) return status;
  weft_error cause = *error;
  if (step->node == NULL) /* an input of the graph that is an output too */
    return weft_fail(error, status, "copy of an output: %s", cause.message);
  return weft_fail(error, status, "node '%.*s' (%s): %s", WEFT_STR_ARGS(step->node->name),
                   step->is_copy ? "copy" : op_names[step->node->op], cause.message);
}

static bool writes_nothing(const weft_step *step) {
  for (uint32_t i = 0; i < step->output_count; i++)
    if (step->outputs[i]->elements > 0) return false;
  return true;
}

static weft_status run_nothing(const weft_step *step, const weft_execution *execution,
                               weft_error *error) {
  (void)step, (void)execution, (void)error;
  return WEFT_OK;
}

static weft_status cpu_prepare(const weft_device *device, weft_step *step, weft_arena *arena,
                               weft_error *error) {
  step->scratch_bytes = 0;
  step->flops = step->bytes = 0;
  if (writes_nothing(step)) {
    step->run = run_nothing;
    step->kernel = "nothing";
    return WEFT_OK;
  }
  weft_cpu_prepare_fn *prepare =
      step->is_copy ? weft_cpu_prepare_copy : prepare_fns[step->node->op];
  weft_status status = prepare(cpu_of(device), step, arena, error);
  return status == WEFT_OK ? status : blame(step, status, error);
}

static weft_status interrupted(const weft_execution *execution, weft_error *error) {
  if (execution->cancel != NULL && atomic_load_explicit(execution->cancel, memory_order_relaxed))
    return weft_fail(error, WEFT_CANCELLED, "the run was cancelled");
  if (execution->deadline_ns != 0 && weft_now_ns(execution->runtime) >= execution->deadline_ns)
    return weft_fail(error, WEFT_TIMED_OUT, "the run's time limit has passed");
  return WEFT_OK;
}

static weft_status run_step(const weft_execution *execution, uint32_t index, weft_error *error) {
  const weft_step *step = &execution->plan->steps[index];
  weft_status status = interrupted(execution, error);
  if (status != WEFT_OK) return blame(step, status, error);
  uint64_t started = execution->profile != NULL ? weft_now_ns(execution->runtime) : 0;
  status = step->run(step, execution, error);
  if (execution->profile != NULL) {
    execution->profile[index].calls++;
    execution->profile[index].total_ns += weft_now_ns(execution->runtime) - started;
  }
  return status == WEFT_OK ? status : blame(step, status, error);
}

static weft_status cpu_execute(const weft_device *device, weft_execution *execution,
                               weft_error *error) {
  (void)device;
  for (; execution->next_step < execution->plan->step_count; execution->next_step++)
    WEFT_TRY(run_step(execution, execution->next_step, error));
  return WEFT_OK;
}

static void cpu_close(weft_device *device) {
  weft_cpu *cpu = (weft_cpu *)(void *)device;
  weft_heap_release(cpu->heap, cpu, sizeof *cpu);
}

weft_status weft_cpu_open(const weft_runtime *runtime, const weft_session_options *options,
                          weft_heap *heap, weft_device **out, weft_error *error) {
  *out = NULL;
  const char *kernels = options->kernels;
  const weft_kernels *found = weft_kernels_find(kernels, weft_host_cpu_features());
  if (found == NULL)
    return weft_fail(
        error, WEFT_INVALID_ARGUMENT,
        "there are no kernels '%s' in this build, or the processor lacks what they need",
        kernels != NULL ? kernels : "");
  weft_cpu *cpu = weft_heap_allocate_zeroed(heap, sizeof *cpu);
  if (cpu == NULL) return weft_heap_fail(heap, sizeof *cpu, "the CPU device", error);
  uint32_t threads = runtime->threads.count > 0 ? runtime->threads.count : 1;
  if (options->thread_count != 0 && options->thread_count < threads)
    threads = options->thread_count;
  *cpu = (weft_cpu){.device = {.name = "cpu",
                               .runtime = runtime,
                               .takes = cpu_takes,
                               .prepare = cpu_prepare,
                               .pack = weft_cpu_pack,
                               .execute = cpu_execute,
                               .close = cpu_close},
                    .kernels = found,
                    .activations = options->activations,
                    .heap = heap,
                    .threads = threads};
  *out = &cpu->device;
  return WEFT_OK;
}
