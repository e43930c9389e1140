/* peak.c - what the processor can do at most: multiply-adds on registers only, in the instructions
 * of one target (compiled per target, as the kernels are). bench.c states matrix products as a
 * share. */
#include "kernels/target.h"
#include "kernels/vec.h"

float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands);

/* 24 WEFT_LANES floating-point operations per step. The accumulator is the addend, as in a product;
 * the factors are read, lest the compiler multiplies them once and only adds. */
float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands) {
  f32v acc[12], a = f32v_load_splat(operands), b = f32v_load_splat(operands + 1);
  VEC_FOR(i, 12) acc[i] = f32v_splat((float)i);
  VEC_LOOP for (; steps > 0; steps--) VEC_FOR(i, 12) acc[i] = f32v_fma(a, b, acc[i]);
  VEC_FOR(i, 11) acc[0] += acc[i + 1];
  return f32v_sum(acc[0]);
}
