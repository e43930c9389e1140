/* copy.c - copy steps: a strided array made dense. Elements are moved as unsigned integers. */
#include "gpu/map.h"

weft_status weft_gpu_prepare_copy(const weft_gpu_device *gpu, weft_step *step, weft_arena *arena,
                                  weft_error *error) {
  static const weft_expr as_it_is = {.input_count = 1, .input_dtypes = {WEFT_U32}};
  const weft_array *input = step->inputs[0];
  uint32_t parts;
  weft_gpu_operand x = weft_gpu_operand_as_words(input, &parts);
  weft_gpu_operand y = weft_gpu_operand_as_words(step->outputs[0], &parts);
  weft_nest nest;
  weft_nest_init(&nest, input->rank, input->dims);
  weft_nest_add(&nest, input->rank, input->dims, input->strides);
  weft_nest_collapse(&nest);
  WEFT_TRY(weft_gpu_nest_of_words(&nest, parts, error));
  weft_nest_collapse(&nest);
  return weft_gpu_add_map(gpu, step, arena, &as_it_is, &nest, &x, &y, error);
}
