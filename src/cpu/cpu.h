/* cpu.h - the CPU device: core ops on the kernels of kernels/. Implements plan/device.h. */
#ifndef WEFT_CPU_CPU_H
#define WEFT_CPU_CPU_H

#include "plan/device.h"

/* Of the options: kernels, activations and thread_count. WEFT_INVALID_ARGUMENT when there are no
 * kernels of that name. */
weft_status weft_cpu_open(const weft_runtime *runtime, const weft_session_options *options,
                          weft_heap *heap, weft_device **out, weft_error *error);

#endif
