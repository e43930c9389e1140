/* rotary.c - the op `rotary`. */
#include "cpu/internal.h"

weft_status weft_cpu_prepare_rotary(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "rotary is not there yet");
}
