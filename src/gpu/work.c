/* work.c - describes a step as dispatches. */
#include "gpu/internal.h"

weft_status weft_gpu_build_start(weft_gpu_build *build, const weft_gpu_device *gpu, weft_step *step,
                                 weft_arena *arena, const char *file, weft_error *error) {
  if (!step->state) {
    step->state = WEFT_ARENA_NEW(arena, weft_gpu_work);
    if (!step->state) return weft_arena_fail(arena, "a step on the GPU", error);
  }
  *build = (weft_gpu_build){.gpu = gpu, .step = step, .work = step->state};
  build->shader.file = file;
  if (step->node) build->shader.asker = step->node->name;
  return WEFT_OK;
}

void weft_gpu_bind(weft_gpu_build *build, const char *name, const weft_array *array,
                   weft_shader_raw raw, bool writes) {
  build->dispatch.bindings[build->dispatch.binding_count++] = array;
  weft_shader_bind(&build->shader, name, array ? array->dtype : WEFT_U32, raw, writes);
}

void weft_gpu_param(weft_gpu_build *build, uint32_t value) {
  build->dispatch.params[build->dispatch.param_words++] = value;
}

void weft_gpu_param_float(weft_gpu_build *build, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  weft_gpu_param(build, bits);
}

weft_status weft_gpu_build_finish(weft_gpu_build *build, uint64_t x, uint64_t y, uint64_t z,
                                  weft_error *error) {
  weft_gpu_work *work = build->work;
  const uint64_t groups[3] = {x, y, z};
  for (int i = 0; i < 3; i++) {
    if (groups[i] > build->gpu->gpu->facts->workgroups)
      return weft_fail(error, WEFT_LIMIT_EXCEEDED,
                       "%llu workgroups, where the GPU takes %u in a dimension",
                       (unsigned long long)groups[i], build->gpu->gpu->facts->workgroups);
    build->dispatch.groups[i] = (uint32_t)groups[i];
  }
  if (work->count == WEFT_GPU_DISPATCHES_MAX)
    return weft_fail(error, WEFT_INTERNAL, "too many dispatches for a step");
  build->shader.param_words = build->dispatch.param_words;
  WEFT_TRY(
      weft_kernel_find(build->gpu->gpu->kernels, &build->shader, &build->dispatch.kernel, error));
  if (work->count == 0) build->step->kernel = build->shader.file;
  work->dispatches[work->count++] = build->dispatch;
  return WEFT_OK;
}

void weft_gpu_spread(const weft_gpu_device *gpu, uint64_t items, uint64_t *x, uint64_t *y) {
  uint64_t limit = gpu->gpu->facts->workgroups;
  *y = items ? (items + limit - 1) / limit : 1;
  *x = (items + *y - 1) / *y;
}

uint32_t weft_gpu_scratch(weft_step *step, uint64_t bytes) {
  uint64_t offset = step->scratch_bytes;
  step->scratch_bytes = weft_align_up(offset + bytes, 256);
  return (uint32_t)(offset / sizeof(uint32_t));
}

#define LANES 32 /* where the GPU can be told */

uint32_t weft_gpu_lanes(const weft_gpu_facts *facts) {
  if (facts->subgroup_min == facts->subgroup_max) return facts->subgroup_max;
  bool told = facts->subgroup_size && facts->subgroup_min <= LANES && facts->subgroup_max >= LANES;
  return told ? LANES : 0;
}

uint32_t weft_gpu_cpu_lanes(const weft_gpu_facts *facts) {
  return facts->is_software && facts->subgroups ? weft_gpu_lanes(facts) : 0;
}

void weft_gpu_fix_lanes(weft_shader *shader, const weft_gpu_facts *facts) {
  shader->subgroups = true;
  if (facts->subgroup_min != facts->subgroup_max) shader->subgroup_size = weft_gpu_lanes(facts);
}
