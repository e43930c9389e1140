/* cpu.h - the CPU device: core ops on the kernels of kernels/. Implements plan/device.h. */
#ifndef WEFT_CPU_CPU_H
#define WEFT_CPU_CPU_H

#include "plan/device.h"

/* `kernels`: a target's name ("avx2"), NULL for the best here. WEFT_INVALID_ARGUMENT when there is
 * none of that name. */
weft_status weft_cpu_open(const weft_runtime *runtime, const char *kernels,
                          weft_activations activations, weft_heap *heap, weft_device **out,
                          weft_error *error);

#endif
