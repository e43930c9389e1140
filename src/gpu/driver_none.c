/* driver_none.c - stands for driver_native.c in a build without WebGPU. */
#include "gpu/driver.h"

weft_status weft_gpu_native_open(weft_heap *heap, const char *adapter, weft_gpu_driver **out,
                                 weft_error *error) {
  (void)heap, (void)adapter;
  *out = NULL;
  return weft_fail(
      error, WEFT_UNSUPPORTED,
      "this build of Weft has no WebGPU: configure it with -DWEFT_WEBGPU=FOLDER, which "
      "holds webgpu.h and the library of wgpu-native or Dawn");
}

void weft_gpu_native_lose(weft_gpu_driver *driver) {
  (void)driver; /* there is none */
}
