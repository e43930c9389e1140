/* device_run.h - plans for the fake device, made and run. */
#ifndef WEFT_TESTS_DEVICE_RUN_H
#define WEFT_TESTS_DEVICE_RUN_H

#include "tests/unit/opt_build.h"

#include "tests/unit/device_fake.h"

/* A machine whose device is fake, around the CPU device that it had. */
static inline fake *machine_fake(machine *m) {
  fake *f = fake_open(m->device);
  m->device = &f->device;
  return f;
}

/* Puts half of the constants in the device's memory too, and some there alone. */
static inline void fake_spread_constants(fake *f, weft_graph *graph, weft_heap *heap) {
  for (uint32_t i = 0; i < graph->value_count; i++) {
    weft_value *value = &graph->values[i];
    uint64_t choice = fake_hash(f, 1000000 + i) % 4;
    if (value->kind != WEFT_VALUE_CONSTANT || value->elements || !value->data || choice < 2)
      continue;
    weft_buffer *buffer = NULL;
    CHECK_OK(fake_upload(&f->device, value, heap, &buffer, NULL), NULL);
    if (choice == 3) { /* both */
      buffer->data = weft_heap_allocate(heap, buffer->bytes);
      memcpy(buffer->data, value->data->data, buffer->bytes);
      buffer->owned = true;
    }
    weft_buffer_release(&value->data);
    value->data = buffer;
  }
}

/* The memory of one run, by slot. */
typedef struct fake_slots {
  uint8_t *bases[FAKE_SLOTS];
  weft_memory memories[FAKE_SLOTS];
} fake_slots;

static inline void fake_fill_input(machine *m, const weft_array *array, uint32_t number,
                                   fake_slots *s) {
  uint64_t elements = array ? array->elements : 0;
  uint64_t bytes = array ? elements * weft_dtype_size(array->dtype) : 0;
  s->bases[1 + number] = malloc(bytes + 1);
  if (!array) return;
  fill_random(s->bases[1 + number], array->dtype, elements, number);
  if (!array->on_device) return;
  m->device->memory_open(m->device, bytes, &s->memories[1 + number], NULL);
  m->device->memory_write(m->device, s->memories[1 + number], 0, s->bases[1 + number], bytes, NULL);
  free(s->bases[1 + number]);
  s->bases[1 + number] = NULL;
}

/* As run_plan, on a fake device. What outputs hold in its memory is read from there. */
static inline weft_status run_fake_plan(machine *m, const weft_plan *plan, run_result *out) {
  static fake_slots s;
  fake *f = fake_of(m->device);
  uint32_t outputs = 1 + plan->input_count, pieces = outputs + plan->output_count;
  memset(&s, 0, sizeof s);
  s.bases[0] = aligned_alloc(64, (size_t)weft_align_up(plan->arena_bytes + 1, 64));
  for (uint32_t i = 0; i < plan->input_count; i++) fake_fill_input(m, plan->inputs[i], i, &s);
  out->count = plan->output_count;
  for (uint32_t i = 0; i < plan->output_count; i++) {
    const weft_array *array = plan->outputs[i];
    out->bytes[i] = array ? array->elements * weft_dtype_size(array->dtype) : 0;
    out->dtypes[i] = array ? array->dtype : WEFT_F32;
    out->data[i] = malloc(out->bytes[i] ? out->bytes[i] : 1);
    s.bases[outputs + i] = out->data[i];
    if (array && array->on_device)
      m->device->memory_open(m->device, out->bytes[i], &s.memories[outputs + i], NULL);
  }
  for (uint32_t p = 0; p < plan->pool_count; p++)
    m->device->memory_open(m->device, plan->pool_bytes[p], &s.memories[pieces + p], NULL);
  weft_execution execution = {
      .runtime = m->runtime, .plan = plan, .bases = s.bases, .memories = s.memories};
  weft_status status;
  while ((status = m->device->execute(m->device, &execution, &m->error)) == WEFT_PENDING) continue;
  for (uint32_t i = 0; i < plan->output_count; i++)
    if (s.memories[outputs + i])
      memcpy(out->data[i], f->store->memories[s.memories[outputs + i]].data, out->bytes[i]);
  for (uint32_t i = 0; i < outputs; i++) free(s.bases[i]);
  for (uint32_t i = 0; i < pieces + plan->pool_count; i++)
    m->device->memory_close(m->device, s.memories[i]);
  return status;
}

#endif
