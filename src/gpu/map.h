/* map.h - elementwise dispatches: the op `map`, copies, and what other ops put behind their own. */
#ifndef WEFT_GPU_MAP_H
#define WEFT_GPU_MAP_H

#include "cpu/nest.h"
#include "gpu/internal.h"

/* The most inputs that a map may have here: with the output, they are the bindings. */
#define WEFT_GPU_MAP_INPUTS (WEFT_GPU_BINDINGS_MAX - 1)

/* An array as a dispatch reads or writes it: perhaps as another type of the same bytes. */
typedef struct weft_gpu_operand {
  const weft_array *array; /* NULL: the step's scratch */
  weft_dtype dtype;
  uint32_t first; /* element 0, in elements of dtype */
} weft_gpu_operand;
static inline weft_gpu_operand weft_gpu_operand_of(const weft_array *array) {
  return (weft_gpu_operand){array, array->dtype, weft_gpu_offset(array)};
}

/* Elements to be moved, not computed with: as u8, u16 or u32; those of 8 bytes are two words, which
 * *parts says. */
weft_gpu_operand weft_gpu_operand_as_words(const weft_array *array, uint32_t *parts);
/* From elements to such words, where parts is 2. */
weft_status weft_gpu_nest_of_words(weft_nest *nest, uint32_t parts, weft_error *error);

/* As weft_gpu_bind. `quads`: the kernel uses x4 and x4_store only, so that they may be wide. */
void weft_gpu_bind_operand(weft_gpu_build *build, const char *name, const weft_gpu_operand *operand,
                           bool quads, bool writes);

/* Adds y = expr(x[0], ...), where nest holds y's dimensions and the strides of each x, collapsed.
 */
weft_status weft_gpu_add_map(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                             const weft_expr *expr, const weft_nest *nest,
                             const weft_gpu_operand *x, const weft_gpu_operand *y,
                             weft_error *error);

/* Kernels that write single elements can do so in words alone. An output of a smaller type goes
 * through scratch: *out is where the kernel writes, f32, i32 or u32; weft_gpu_finish_result adds
 * the conversion, if one is needed. */
void weft_gpu_start_result(weft_step *step, const weft_array *y, weft_gpu_operand *out);
weft_status weft_gpu_finish_result(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                   const weft_array *y, const weft_gpu_operand *from,
                                   weft_error *error);

#endif
