/* operand.h - inputs and outputs in the form that an op computes with: held as a class (convert.h),
 * dense, broadcast to given dimensions. Where they are so already they are used in place; else they
 * are staged in the step's scratch. */
#ifndef WEFT_CPU_OPERAND_H
#define WEFT_CPU_OPERAND_H

#include "cpu/convert.h"
#include "cpu/internal.h"
#include "cpu/nest.h"

typedef struct weft_operand {
  const weft_array *array;
  weft_class held;
  bool staged;
  uint64_t elements, scratch; /* as broadcast; offset in the step's scratch */
  weft_convert_fn *load;
  weft_nest nest;
} weft_operand;

/* `dims` NULL: the array's own. Bool counts as u8. WEFT_UNSUPPORTED for strings. */
weft_status weft_operand_prepare(weft_operand *operand, const weft_cpu *cpu, weft_step *step,
                                 const weft_array *array, int32_t rank, const int64_t *dims,
                                 weft_error *error);
/* Its elements, staged first if need be. */
const void *weft_operand_data(const weft_operand *operand, const weft_step *step,
                              const weft_execution *execution);

/* The same for an output: computed in a class, stored in its type. */
typedef struct weft_result {
  const weft_array *array;
  weft_class held;
  uint64_t scratch;
  weft_convert_fn *store; /* NULL: in place */
} weft_result;

weft_status weft_result_prepare(weft_result *result, const weft_cpu *cpu, weft_step *step,
                                weft_error *error);
/* Where to compute it, and what to call when that is done. */
void *weft_result_data(const weft_result *result, const weft_step *step,
                       const weft_execution *execution);
void weft_result_finish(const weft_result *result, const weft_step *step,
                        const weft_execution *execution);

/* WEFT_UNSUPPORTED unless `held` is f32: for ops that have f32 kernels only. */
weft_status weft_operand_require_f32(const weft_operand *operand, weft_error *error);

#endif
