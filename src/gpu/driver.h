/* driver.h - what the GPU device needs of WebGPU, and nothing more: buffers, pipelines, bind
 * groups, one call that takes a flat table of commands, and asynchronous copies to the host. Three
 * drivers implement it: driver_web.c (imports, for web/src/gpu.ts), driver_native.c (webgpu.h) and
 * driver_null.c (records and checks; fails on demand).
 *
 * Objects go by number; 0 is none. Nothing here blocks but `poll` with `wait`, and that only in
 * drivers that can. An error that WebGPU reports later (validation, memory, a lost device) is kept
 * and returned by the next call that has a status: WEFT_DEVICE_LOST, WEFT_OUT_OF_MEMORY, or
 * WEFT_INTERNAL with WebGPU's message. After WEFT_DEVICE_LOST only closing is left to do.
 *
 * Terms: https://www.w3.org/TR/webgpu/. */
#ifndef WEFT_GPU_DRIVER_H
#define WEFT_GPU_DRIVER_H

#include "base/heap.h"

/* Storage buffers that a kernel may bind: WebGPU grants 8 everywhere. */
#define WEFT_GPU_BINDINGS_MAX 8u
/* 32-bit words of parameters that a dispatch may have. */
#define WEFT_GPU_PARAMS_MAX 64u

typedef uint32_t weft_gpu_id;

/* One shape of matrices that a subgroup multiplies; types as in WGSL. */
typedef struct weft_gpu_matrix {
  weft_dtype component, result; /* f16, f32, i8, u8; f16, f32, i32, u32 */
  uint32_t m, n, k;
} weft_gpu_matrix;

typedef enum weft_gpu_matrix_syntax {
  WEFT_GPU_MATRIX_NONE,
  WEFT_GPU_MATRIX_OLD, /* subgroupMatrixLoad<T>(&a, offset, col_major, stride), in components */
  WEFT_GPU_MATRIX_NEW, /* subgroupMatrixLoad<T, row_major>(&a, offset, stride), in elements of a */
} weft_gpu_matrix_syntax;

/* What the device that was opened has; features that were not granted count as absent. */
typedef struct weft_gpu_facts {
  char vendor[32], architecture[32], device[64], description[128]; /* of the adapter; may be "" */
  bool is_software;                                                /* a fallback adapter: a CPU */
  bool f16;                                                        /* enable f16 */
  bool subgroups;                                                  /* enable subgroups */
  bool subgroups_implied; /* ... but the compiler wants no `enable` line (naga) */
  bool subgroup_size;     /* enable subgroup_size_control */
  bool dot8;              /* dot4I8Packed, dot4U8Packed */
  bool timestamps;        /* timestamp-query */
  /* For comparisons. Products whose tiles lie swizzled in workgroup memory are left out; those
   * whose tiles do not, where there is one whose do; tiles of both kinds, where subgroups can hand
   * elements round instead. */
  bool no_swizzle, no_linear, no_tiles;
  weft_gpu_matrix_syntax matrix_syntax;
  weft_gpu_matrix matrices[8];
  uint32_t matrix_count;
  uint32_t subgroup_min, subgroup_max; /* lanes; 4 and 128 where nobody says */
  uint32_t immediate_bytes;            /* 0: parameters come as uniforms */
  uint32_t workgroup_storage;          /* bytes */
  uint32_t workgroup_invocations, workgroup_size[3], workgroups; /* per dimension */
  uint32_t storage_buffers;                                      /* of a stage */
  uint64_t buffer_bytes, binding_bytes;                          /* of one */
} weft_gpu_facts;

/* A compute pipeline. Its one bind group has storage buffers at 0 ... binding_count - 1, whole, and
 * where parameters are not immediates a uniform buffer with a dynamic offset after them. Entry
 * point: main. */
typedef struct weft_gpu_pipeline {
  const char *label;
  const char *wgsl; /* copied */
  size_t wgsl_length;
  uint32_t binding_count;
  uint32_t writes;      /* bit i: binding i is read_write, else read */
  uint32_t param_words; /* <= WEFT_GPU_PARAMS_MAX; 0: none */
  bool immediates;      /* parameters are immediates: 4 * param_words <= facts.immediate_bytes */
} weft_gpu_pipeline;

/* Commands: word 0 is opcode | words << 8, where words counts them all. 64-bit numbers: low word
 * first. Copies: multiples of 4 bytes, in the order of the table with the dispatches. */
typedef enum weft_gpu_command {
  WEFT_GPU_DISPATCH = 1, /* pipeline, group, x, y, z workgroups, param_words parameters */
  WEFT_GPU_COPY = 2,     /* from, offset (2), to, offset (2), bytes (2) */
  WEFT_GPU_TIME = 3, /* n: writes the time now as timestamp n < WEFT_GPU_TIMES; facts.timestamps */
} weft_gpu_command;
#define WEFT_GPU_TIMES 64u

typedef struct weft_gpu_driver weft_gpu_driver;
struct weft_gpu_driver {
  weft_gpu_facts facts;
  bool compiles_aside; /* pipelines are compiled while the caller goes on */

  /* A buffer for storage and copies both ways, zeroed; a multiple of 16 bytes. WEFT_OUT_OF_MEMORY
   * may also come later. */
  weft_status (*buffer_open)(weft_gpu_driver *driver, uint64_t bytes, weft_gpu_id *out,
                             weft_error *error);
  /* Answers how many they were. */
  uint64_t (*buffer_close)(weft_gpu_driver *driver, weft_gpu_id buffer);
  /* Before any later submit. Offset and length: multiples of 4. The bytes are the caller's again
   * when it returns. */
  weft_status (*write)(weft_gpu_driver *driver, weft_gpu_id buffer, uint64_t offset,
                       const void *bytes, uint64_t length, weft_error *error);
  /* Starts a copy of a range (multiples of 4) to host memory that stays until read_state answers
   * anything but WEFT_PENDING, or read_drop. */
  weft_status (*read)(weft_gpu_driver *driver, weft_gpu_id buffer, uint64_t offset, uint64_t length,
                      void *to, weft_gpu_id *out, weft_error *error);
  /* WEFT_OK: the bytes are there, and the number is free again; so it is after a failure. */
  weft_status (*read_state)(weft_gpu_driver *driver, weft_gpu_id read, weft_error *error);
  void (*read_drop)(weft_gpu_driver *driver, weft_gpu_id read);

  /* Starts to compile. */
  weft_status (*pipeline_open)(weft_gpu_driver *driver, const weft_gpu_pipeline *pipeline,
                               weft_gpu_id *out, weft_error *error);
  /* WEFT_PENDING; WEFT_OK; or the compiler's message. */
  weft_status (*pipeline_state)(weft_gpu_driver *driver, weft_gpu_id pipeline, weft_error *error);
  void (*pipeline_close)(weft_gpu_driver *driver, weft_gpu_id pipeline);

  /* Binds whole buffers to a compiled pipeline's bindings. */
  weft_status (*group_open)(weft_gpu_driver *driver, weft_gpu_id pipeline,
                            const weft_gpu_id *buffers, uint32_t count, weft_gpu_id *out,
                            weft_error *error);
  void (*group_close)(weft_gpu_driver *driver, weft_gpu_id group);

  /* Encodes all commands in one loop and submits them. */
  weft_status (*submit)(weft_gpu_driver *driver, const uint32_t *table, uint64_t words,
                        weft_error *error);
  /* The nanoseconds of timestamps [0, count), written by the latest submits: as `read`. */
  weft_status (*read_times)(weft_gpu_driver *driver, uint32_t count, uint64_t *to, weft_gpu_id *out,
                            weft_error *error);

  /* Lets callbacks run. With `wait` it blocks until something that was PENDING may not be any more;
   * a driver that cannot block answers WEFT_PENDING. */
  weft_status (*poll)(weft_gpu_driver *driver, bool wait, weft_error *error);
  /* Everything that was opened goes with it. */
  void (*close)(weft_gpu_driver *driver);
};

/* Open drivers. The heap must outlive them; WEFT_UNSUPPORTED where the build or machine has none.
 */
weft_status weft_gpu_native_open(weft_heap *heap, const char *adapter, weft_gpu_driver **out,
                                 weft_error *error);
/* For tests: the device is lost, as by a reset. */
void weft_gpu_native_lose(weft_gpu_driver *driver);
/* `handle`: the number of a device that JavaScript has opened. */
weft_status weft_gpu_web_open(weft_heap *heap, uint32_t handle, weft_gpu_driver **out,
                              weft_error *error);

/* The null driver executes nothing: buffers keep what is written and copied, dispatches change
 * nothing. It checks what WebGPU would: sizes, alignment, limits, lifetimes, that no buffer is
 * written and read or written twice in one dispatch. `facts` NULL: those of a plain adapter. */
typedef struct weft_gpu_null_counts {
  uint64_t calls, buffers, pipelines, groups, reads; /* calls so far; objects open now */
  uint64_t buffer_bytes;
  uint64_t submits, dispatches, copies, bytes_written, bytes_read;
  uint64_t fail_call;      /* set by the test: this call (counted from 1) fails; 0: none */
  weft_status fail_status; /* ... with this status; WEFT_DEVICE_LOST loses the device */
  uint32_t pending;        /* how often each read and pipeline answers WEFT_PENDING first */
} weft_gpu_null_counts;
weft_status weft_gpu_null_open(weft_heap *heap, const weft_gpu_facts *facts,
                               weft_gpu_null_counts *counts, weft_gpu_driver **out,
                               weft_error *error);

#endif
