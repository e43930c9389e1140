/* driver_native.h - what the two files of the native driver share. driver_native.c opens and closes
 * devices, keeps errors and waits; driver_native_work.c is everything between. */
#ifndef WEFT_GPU_DRIVER_NATIVE_H
#define WEFT_GPU_DRIVER_NATIVE_H

#include <webgpu.h>
#if __has_include(<wgpu.h>)
#include <wgpu.h>
#endif

#include "base/memory.h"
#include "gpu/driver.h"
#include "gpu/slots.h"

/* Bytes of parameters that one submit to the queue may have; a table with more takes several. */
#define WEFT_NATIVE_ARENA (256u << 10)

typedef struct native_buffer {
  weft_slot slot;
  WGPUBuffer buffer;
  uint64_t bytes;
} native_buffer;

typedef struct native_pipeline {
  weft_slot slot;
  WGPUComputePipeline pipeline;
  WGPUBindGroupLayout layout;
  uint32_t binding_count, param_words;
  bool immediates;
  char label[128];
  bool done;           /* the compiler has answered */
  weft_error *failure; /* what it said; NULL: it has succeeded */
} native_pipeline;

typedef struct native_group {
  weft_slot slot;
  WGPUBindGroup group;
} native_group;

typedef enum read_state { READ_PENDING, READ_MAPPED, READ_FAILED } read_state;

typedef struct native_read {
  weft_slot slot;
  WGPUBuffer staging;
  uint64_t staging_bytes, bytes;
  void *to;
  bool is_times;
  read_state state;
} native_read;

typedef struct native_driver {
  weft_gpu_driver driver; /* first: the two are cast into one another */
  weft_heap *heap;
  WGPUInstance instance;
  WGPUAdapter adapter;
  WGPUDevice device;
  WGPUQueue queue;
  weft_slots buffers, pipelines, groups, reads;
  WGPUBuffer spare; /* a staging buffer that no read uses */
  uint64_t spare_bytes;
  WGPUQuerySet times;
  WGPUBuffer times_buffer;
  WGPUBuffer arena; /* parameters as uniforms: made for the first pipeline that has some */
  unsigned char *arena_bytes;
  uint32_t arena_alignment;
  float period; /* nanoseconds of one tick of a timestamp */
  uint64_t written;
  uint64_t events;  /* callbacks so far */
  uint32_t waiting; /* reads and pipelines that wait for a callback */
  bool lost;
  weft_error kept; /* for the next call that has a status; status WEFT_OK: none */
} native_driver;

static inline native_driver *native_of(weft_gpu_driver *driver) {
  return (native_driver *)(void *)driver;
}

/* What is called by way of weft_gpu_driver; all but `close` and `poll`. */
extern const weft_gpu_driver weft_native_work;
/* Frees everything that was opened by it. */
void weft_native_drop_work(native_driver *gpu);
WGPUBuffer weft_native_buffer(const native_driver *gpu, uint64_t bytes, WGPUBufferUsage usage);
void weft_native_drop_buffer(WGPUBuffer *buffer);

/* The failure that was kept, once; a lost device's always. */
weft_status weft_native_kept(native_driver *gpu, weft_error *error);
/* Keeps what a callback was told, if nothing is kept yet. A lost device is recognised. */
void weft_native_keep(native_driver *gpu, weft_status status, const char *what,
                      WGPUStringView message);
/* wgpu says no more than this of calls on a device that is gone. */
bool weft_native_says_lost(WGPUStringView message);
weft_status weft_native_fail(weft_error *error, weft_status status, const char *what,
                             WGPUStringView message);

#endif
