/* dispatch.c - hands out the tables of kernels (table.c) that this build carries (targets.inc) and
 * the processor can run. */
#include "base/memory.h"
#include "kernels/kernels.h"
#if defined(__wasm_relaxed_simd__)
#include "kernels/vec_dot.h"
#endif

#define WEFT_TARGET_ENTRY(name, features) extern const weft_kernels weft_kernels_##name;
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY

static const struct {
  const weft_kernels *kernels;
  uint32_t needs;
} targets[] = {
#define WEFT_TARGET_ENTRY(name, features) {&weft_kernels_##name, features},
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY
};

/* In wasm all targets of a tier run, but the engine decides whether a relaxed dot product is one
 * instruction: what it does with 8 bits tells. */
static uint32_t engine_features(void) {
#if defined(__wasm_relaxed_simd__)
  return vec_dot_probe() == DOT_SEVEN_BITS ? 0 : WEFT_CPU_DOT;
#else
  return 0;
#endif
}

const weft_kernels *weft_kernels_at(size_t index, uint32_t features) {
  features |= engine_features();
  for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
    if ((targets[i].needs & ~features) == 0 && index-- == 0) return targets[i].kernels;
  return NULL;
}

const weft_kernels *weft_kernels_find(const char *name, uint32_t features) {
  const weft_kernels *kernels;
#if defined(__wasm__)
  if (name != NULL) features |= WEFT_CPU_DOT; /* a preference here */
#endif
  for (size_t i = 0; (kernels = weft_kernels_at(i, features)) != NULL; i++)
    if (name == NULL || strcmp(kernels->target, name) == 0) return kernels;
  return NULL;
}
