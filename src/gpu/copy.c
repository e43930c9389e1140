/* copy.c - copy steps: a strided array made dense. Elements are moved as unsigned integers; those
 * of 8 bytes as two words. */
#include "gpu/map.h"

weft_status weft_gpu_prepare_copy(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  static const weft_expr as_it_is = {.input_count = 1, .input_dtypes = {WEFT_U32}};
  const weft_array *input = step->inputs[0];
  uint64_t size = weft_dtype_size(input->dtype), word = size < 4 ? size : 4;
  weft_dtype dtype = size == 1 ? WEFT_U8 : size == 2 ? WEFT_U16 : WEFT_U32;
  weft_nest nest;
  weft_nest_init(&nest, input->rank, input->dims);
  weft_nest_add(&nest, input->rank, input->dims, input->strides);
  weft_nest_collapse(&nest);
  if (size == 8) {
    if (nest.rank == WEFT_RANK_MAX)
      return weft_fail(error, WEFT_UNSUPPORTED, "8-byte elements strided in %d dimensions",
                       nest.rank);
    for (int32_t i = 0; i < nest.rank; i++) nest.strides[0][i] *= 2;
    nest.dims[nest.rank] = 2;
    nest.strides[0][nest.rank++] = 1;
    weft_nest_collapse(&nest);
  }
  weft_gpu_operand x = {input, dtype, (uint32_t)(input->offset / word)};
  weft_gpu_operand y = {step->outputs[0], dtype, (uint32_t)(step->outputs[0]->offset / word)};
  return weft_gpu_add_map(gpu, step, arena, &as_it_is, &nest, &x, &y, error);
}
