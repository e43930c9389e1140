/* peak.c - what the processor can do at most: multiply-adds on registers only, in the instructions
 * of one target (compiled per target, as the kernels are). bench.c states matrix products as a
 * share. */
#include "kernels/target.h"
#include "kernels/vec.h"

float WEFT_KERNEL_NAME(peak)(size_t steps);

/* 24 WEFT_LANES floating-point operations per step */
float WEFT_KERNEL_NAME(peak)(size_t steps) {
  f32v acc[12], half = f32v_splat(0.5f), one = f32v_splat(1);
  VEC_FOR(i, 12) acc[i] = f32v_splat((float)i);
  for (; steps > 0; steps--) VEC_FOR(i, 12) acc[i] = f32v_fma(acc[i], half, one);
  VEC_FOR(i, 11) acc[0] += acc[i + 1];
  return f32v_sum(acc[0]);
}
