/* evaluate.c - runs one node on constants, by the same device code as a plan's steps.
 * opt/fold_constants calls it. */
#include "run/evaluate.h"

#include "graph/views.h"

typedef struct evaluation {
  const weft_device *device;
  const weft_graph *graph;
  const weft_node *node;
  weft_heap *heap;
  weft_arena arena; /* arrays, step state */
  weft_error *error;
} evaluation;

static weft_array *new_array(evaluation *ev, weft_dtype dtype, const weft_shape *shape) {
  weft_array *array = WEFT_ARENA_NEW(&ev->arena, weft_array);
  if (!array) return NULL;
  *array = (weft_array){.dtype = dtype, .rank = shape->rank, .elements = 1};
  for (int32_t i = 0; i < shape->rank; i++) {
    array->dims[i] = shape->dims[i];
    array->elements *= (uint64_t)shape->dims[i];
  }
  weft_array_set_dense(array);
  return array;
}

/* The bytes of an input: a constant's, loaded if they lie in their source, or those of its known
 * elements. */
static weft_status input_array(evaluation *ev, weft_value_id id, weft_array **out) {
  const weft_value *value = &ev->graph->values[id];
  weft_array *array = new_array(ev, value->dtype, &value->shape);
  if (!array) return weft_arena_fail(&ev->arena, "a constant", ev->error);
  *out = array;
  size_t size = weft_dtype_size(value->dtype);
  bool in_place =
      value->data && value->data->data && (uintptr_t)value->data->data % (size ? size : 1) == 0;
  if (in_place) {
    array->constant = value->data->data;
    return WEFT_OK;
  }
  uint8_t *bytes = weft_arena_array(&ev->arena, array->elements + 1, size);
  if (!bytes) return weft_arena_fail(&ev->arena, "a constant", ev->error);
  array->constant = bytes;
  if (value->data)
    return weft_buffer_read(value->data, 0, array->elements * size, bytes, ev->error);
  for (uint64_t i = 0; i < array->elements; i++)
    memcpy(bytes + i * size, &value->elements[i], size);
  return WEFT_OK;
}

/* A dense copy of `from`, as a step. */
static weft_step copy_step(const evaluation *ev, const weft_array **from, const weft_array **to) {
  return (weft_step){.node = ev->node,
                     .is_copy = true,
                     .input_count = 1,
                     .output_count = 1,
                     .inputs = from,
                     .outputs = to};
}

/* Prepares and runs a step whose output is at bases[1]. */
static weft_status run_step(evaluation *ev, weft_step *step, weft_buffer **outputs) {
  WEFT_TRY(ev->device->prepare(ev->device, step, &ev->arena, ev->error));
  uint8_t *scratch = weft_heap_allocate(ev->heap, step->scratch_bytes);
  uint8_t **bases = WEFT_ARENA_ARRAY(&ev->arena, uint8_t *, 1 + step->output_count);
  weft_status status = WEFT_OK;
  if (!scratch || !bases) {
    status = weft_heap_fail(ev->heap, step->scratch_bytes, "a constant", ev->error);
  } else {
    bases[WEFT_SLOT_ARENA] = scratch;
    for (uint32_t i = 0; i < step->output_count; i++) bases[1 + i] = outputs[i]->data;
    weft_execution execution = {.runtime = ev->device->runtime, .bases = bases};
    status = step->run(step, &execution, ev->error);
  }
  weft_heap_release(ev->heap, scratch, step->scratch_bytes);
  return status;
}

/* Dense arrays for all inputs, and new buffers for all outputs. */
static weft_status gather_arrays(evaluation *ev, const weft_array **inputs,
                                 const weft_array **outputs, weft_buffer **buffers) {
  for (uint32_t i = 0; i < ev->node->input_count; i++) {
    if (ev->node->inputs[i] == WEFT_VALUE_NONE) continue;
    weft_array *array;
    WEFT_TRY(input_array(ev, ev->node->inputs[i], &array));
    inputs[i] = array;
  }
  for (uint32_t i = 0; i < ev->node->output_count; i++) {
    const weft_value *value = &ev->graph->values[ev->node->outputs[i]];
    weft_array *array = new_array(ev, value->dtype, &value->shape);
    if (!array) return weft_arena_fail(&ev->arena, "a constant", ev->error);
    array->slot = 1 + i;
    outputs[i] = array;
    uint64_t bytes = array->elements * weft_dtype_size(array->dtype);
    buffers[i] = weft_buffer_new(ev->heap, bytes);
    if (!buffers[i]) return weft_heap_fail(ev->heap, bytes, "a constant", ev->error);
  }
  return WEFT_OK;
}

/* A view of a constant: its strides, copied dense. */
static weft_status evaluate_view(evaluation *ev, const weft_array **inputs,
                                 const weft_array **outputs, weft_buffer **buffers) {
  weft_inference facts =
      weft_inference_at_load((weft_graph *)(uintptr_t)ev->graph); /* only read here */
  weft_view_layout layout;
  WEFT_TRY(weft_view_resolve(&facts, ev->node, inputs[0]->strides, &layout, ev->error));
  weft_array from = *outputs[0];
  memcpy(from.strides, layout.strides, sizeof from.strides);
  from.constant = inputs[0]->constant + layout.offset * (int64_t)weft_dtype_size(from.dtype);
  const weft_array *source = &from;
  weft_step step = copy_step(ev, &source, outputs);
  return run_step(ev, &step, buffers);
}

static weft_status evaluate(evaluation *ev, weft_buffer **buffers) {
  const weft_node *node = ev->node;
  const weft_array **inputs =
      WEFT_ARENA_ARRAY(&ev->arena, const weft_array *, node->input_count + 1);
  const weft_array **outputs =
      WEFT_ARENA_ARRAY(&ev->arena, const weft_array *, node->output_count + 1);
  if (!inputs || !outputs) return weft_arena_fail(&ev->arena, "a constant", ev->error);
  WEFT_TRY(gather_arrays(ev, inputs, outputs, buffers));
  if (node->op == WEFT_OP_VIEW) return evaluate_view(ev, inputs, outputs, buffers);
  weft_step step = {.node = node,
                    .input_count = node->input_count,
                    .output_count = node->output_count,
                    .inputs = inputs,
                    .outputs = outputs};
  return run_step(ev, &step, buffers);
}

weft_status weft_evaluate_node(const weft_device *device, const weft_graph *graph,
                               weft_node_id node, weft_heap *heap, weft_buffer **outputs,
                               weft_error *error) {
  evaluation ev = {
      .device = device, .graph = graph, .node = &graph->nodes[node], .heap = heap, .error = error};
  weft_arena_init(&ev.arena, heap);
  for (uint32_t i = 0; i < ev.node->output_count; i++) outputs[i] = NULL;
  weft_status status = evaluate(&ev, outputs);
  for (uint32_t i = 0; i < ev.node->output_count && status != WEFT_OK; i++)
    weft_buffer_release(&outputs[i]);
  weft_arena_release(&ev.arena);
  return status;
}
