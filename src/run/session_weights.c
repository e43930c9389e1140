/* session_weights.c - brings the constants that are still used after the rewrites into the memory
 * in which they will be read, one at a time, and lets go of the others. */
#include "base/memory.h"
#include "run/session.h"

/* Only ops that move bytes may meet a weight at an odd address (borrowed from the middle of a
 * file); indices are read as numbers. */
static bool moves_bytes(const weft_node *node, uint32_t input) {
  bool gathers = node->op == WEFT_OP_GATHER || node->op == WEFT_OP_GATHER_ELEMENTS;
  return node->op == WEFT_OP_CONCAT || (gathers && input == 0);
}

/* Into the host's memory. */
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

/* The bytes that the host keeps beside those of the device. */
static weft_status keep_on_host(weft_session *session, const weft_buffer *from, weft_buffer *to,
                                weft_error *error) {
  to->data = from->data;
  if (!from->owned) return WEFT_OK; /* borrowed from the caller, for as long as it takes */
  to->data = weft_heap_allocate(&session->heap, from->bytes);
  if (!to->data) return weft_heap_fail(&session->heap, from->bytes, "a weight", error);
  to->owned = true;
  memcpy(to->data, from->data, (size_t)from->bytes);
  return WEFT_OK;
}

/* Into the device's memory, and where the host reads it too (`sides`) into both. What the device
 * has packed is there already. */
static weft_status upload_constant(weft_session *session, weft_value *value, uint8_t sides,
                                   weft_error *error) {
  const weft_device *device = session->device;
  weft_buffer *there;
  if (value->data->memory || value->layout != WEFT_LAYOUT_DENSE) return WEFT_OK;
  WEFT_TRY(device->upload(device, value, &session->heap, &there, error));
  weft_status status =
      sides & WEFT_READ_ON_HOST ? keep_on_host(session, value->data, there, error) : WEFT_OK;
  weft_buffer_release(&value->data);
  value->data = there;
  return status;
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

static weft_status place_constant(weft_session *session, weft_value *value, uint8_t use,
                                  uint8_t sides, weft_error *error) {
  if (use == 0) {
    weft_buffer_release(&value->data);
    return WEFT_OK;
  }
  bool on_host = sides & WEFT_READ_ON_HOST || value->layout != WEFT_LAYOUT_DENSE;
  if (on_host && !value->data->memory) WEFT_TRY(load_constant(session, value, use == 2, error));
  return sides & WEFT_READ_ON_DEVICE ? upload_constant(session, value, sides, error) : WEFT_OK;
}

static weft_status place_constants(weft_session *session, weft_arena *scratch, weft_error *error) {
  weft_graph *graph = &session->graph;
  uint8_t *uses = WEFT_ARENA_ARRAY(scratch, uint8_t, graph->value_count + 1), *sides = NULL;
  if (!uses) return weft_arena_fail(scratch, "a session", error);
  mark_uses(graph, uses);
  if (session->device->host)
    WEFT_TRY(weft_plan_constant_sides(graph, session->device, scratch, &sides, error));
  for (uint32_t i = 0; i < graph->value_count; i++) {
    weft_value *value = &graph->values[i];
    if (value->kind == WEFT_VALUE_CONSTANT && value->data)
      WEFT_TRY(
          place_constant(session, value, uses[i], sides ? sides[i] : WEFT_READ_ON_HOST, error));
  }
  return WEFT_OK;
}

weft_status weft_session_load_weights(weft_session *session, weft_error *error) {
  weft_arena scratch;
  weft_arena_init(&scratch, &session->heap);
  weft_status status = place_constants(session, &scratch, error);
  weft_arena_release(&scratch);
  return status;
}
