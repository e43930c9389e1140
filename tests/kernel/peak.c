/* peak.c - what the processor can do at most: multiply-adds on registers only, in the instructions
 * of one target (compiled per target, as the kernels are). bench.c states matrix products as a
 * share. */
#include "kernels/target.h"
#include "kernels/vec.h"

float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands);

/* 26 WEFT_LANES floating-point operations per step, none of which can be moved out of the loop. */
float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands) {
  f32v acc[13], a = f32v_load_splat(operands), b = f32v_load_splat(operands + 1);
  VEC_FOR(i, 13) acc[i] = f32v_splat((float)i);
  VEC_LOOP for (; steps > 0; steps--) VEC_FOR(i, 13) acc[i] = f32v_fma(acc[i], a, b);
  VEC_FOR(i, 12) acc[0] += acc[i + 1];
  return f32v_sum(acc[0]);
}
