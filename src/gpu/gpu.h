/* gpu.h - the GPU as a weft_device. A weft_gpu is one adapter's device; sessions share it, and the
 * kernels compiled for it. */
#ifndef WEFT_GPU_GPU_H
#define WEFT_GPU_GPU_H

#include "gpu/driver.h"
#include "plan/device.h"

typedef struct weft_gpu weft_gpu;

/* Takes over the driver, also on failure. One reference is the caller's. */
weft_status weft_gpu_open_driver(weft_heap *heap, weft_gpu_driver *driver, weft_gpu **out,
                                 weft_error *error);
weft_gpu *weft_gpu_retain(weft_gpu *gpu);
void weft_gpu_release(weft_gpu **gpu);
const weft_gpu_facts *weft_gpu_facts_of(const weft_gpu *gpu);

/* The device of one session. `host` runs what the GPU does not; closed with it, also on failure. */
weft_status weft_gpu_device_open(weft_gpu *gpu, weft_device *host,
                                 const weft_session_options *options, weft_heap *heap,
                                 weft_device **out, weft_error *error);

#endif
