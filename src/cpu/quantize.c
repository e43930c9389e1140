/* quantize.c - codes to numbers and back, and products of codes. */
#include "cpu/internal.h"

weft_status weft_cpu_prepare_dequantize(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                        weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "dequantize is not there yet");
}

weft_status weft_cpu_prepare_quantize_dynamic(const weft_cpu *cpu, weft_step *step,
                                              weft_arena *arena, weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "quantize_dynamic is not there yet");
}

weft_status weft_cpu_prepare_matmul_integer(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                            weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "matmul_integer is not there yet");
}
