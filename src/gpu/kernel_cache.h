/* kernel_cache.h - opens and closes the cache that shader.h declares. */
#ifndef WEFT_GPU_KERNEL_CACHE_H
#define WEFT_GPU_KERNEL_CACHE_H

#include "gpu/shader.h"

weft_status weft_kernel_cache_open(weft_heap *heap, weft_gpu_driver *driver,
                                   weft_kernel_cache **out, weft_error *error);
void weft_kernel_cache_close(weft_kernel_cache *cache);

#endif
