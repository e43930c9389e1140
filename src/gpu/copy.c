/* copy.c - copy steps: a strided array made dense. */
#include "gpu/internal.h"

weft_status weft_gpu_prepare_copy(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  (void)gpu, (void)step, (void)arena;
  return weft_fail(error, WEFT_UNSUPPORTED, "strided copies on the GPU");
}
