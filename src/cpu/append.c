/* append.c - the op `append`. */
#include "cpu/internal.h"

weft_status weft_cpu_prepare_append(const weft_cpu *cpu, weft_step *step, weft_arena *arena,
                                    weft_error *error) {
  (void)cpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "append is not there yet");
}
