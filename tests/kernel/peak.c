/* peak.c - what the processor can do at most: multiply-adds, or dot products of bytes, on registers
 * only, in the instructions of one target (compiled per target, as the kernels are). bench.c and
 * bench_codes.c state matrix products as a share. */
#include "kernels/target.h"
#include "kernels/vec_dot.h"

float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands);
int32_t WEFT_KERNEL_NAME(dot_peak)(size_t steps, const uint32_t *operands);

/* 26 WEFT_LANES floating-point operations per step, none of which can be moved out of the loop. */
float WEFT_KERNEL_NAME(peak)(size_t steps, const float *operands) {
  f32v acc[13], a = f32v_load_splat(operands), b = f32v_load_splat(operands + 1);
  VEC_FOR(i, 13) acc[i] = f32v_splat((float)i);
  VEC_LOOP for (; steps > 0; steps--) VEC_FOR(i, 13) acc[i] = f32v_fma(acc[i], a, b);
  VEC_FOR(i, 12) acc[0] += acc[i + 1];
  return f32v_sum(acc[0]);
}

/* acc + four products a lane, which depend on acc so that they stay where they are */
VEC_INLINE i32v dot_of(i32v acc, i8v a, i8v b) {
  if (WEFT_DOT_FORM == DOT_WHOLE) return i32v_dot_i8(acc, a, b);
  if (WEFT_DOT_FORM == DOT_PAIRS) return (i32v)((i16v)acc + i16v_dot_i8(a, (i8v)acc));
  acc = i32v_dot_i16(acc, (i16v)acc, (i16v)a);
  return i32v_dot_i16(acc, (i16v)acc, (i16v)b);
}

/* 96 WEFT_LANES operations, multiplications and additions, per step. */
int32_t WEFT_KERNEL_NAME(dot_peak)(size_t steps, const uint32_t *operands) {
  i8v a = i8v_load_splat(operands), b = i8v_load_splat(operands + 1);
  i32v acc[12];
  VEC_FOR(i, 12) acc[i] = i32v_splat(i);
  VEC_LOOP for (; steps > 0; steps--) VEC_FOR(i, 12) acc[i] = dot_of(acc[i], a, b);
  VEC_FOR(i, 11) acc[0] += acc[i + 1];
  return acc[0][0];
}
