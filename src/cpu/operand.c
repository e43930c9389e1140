/* operand.c - see operand.h. */
#include "cpu/operand.h"

/* Bools are bytes of 0 and 1: u8 arithmetic on them gives what ONNX wants of them (min, max,
 * comparison). */
static weft_dtype computed_dtype(const weft_array *array) {
  return array->dtype == WEFT_BOOL ? WEFT_U8 : array->dtype;
}

static weft_status unsupported(const weft_array *array, weft_error *error) {
  return weft_fail(error, WEFT_UNSUPPORTED, "elements of type %s are not supported",
                   weft_dtype_name(array->dtype));
}

weft_status weft_operand_prepare(weft_operand *operand, const weft_cpu *cpu, weft_step *step,
                                 const weft_array *array, int32_t rank, const int64_t *dims,
                                 weft_error *error) {
  weft_dtype dtype = computed_dtype(array);
  operand->array = array;
  operand->held = weft_class_of(dtype);
  if (operand->held == WEFT_CLASS_NONE) return unsupported(array, error);
  operand->load = weft_class_loader(cpu->kernels, dtype);
  if (dims == NULL) rank = array->rank, dims = array->dims;
  operand->elements = weft_extent(dims, 0, rank);
  operand->staged =
      operand->load != NULL || operand->elements != array->elements || !weft_array_is_dense(array);
  if (!operand->staged) return WEFT_OK;
  weft_nest_init(&operand->nest, rank, dims);
  weft_nest_add(&operand->nest, array->rank, array->dims, array->strides);
  weft_nest_collapse(&operand->nest);
  operand->scratch = weft_cpu_scratch(step, operand->elements * weft_class_size(operand->held));
  return WEFT_OK;
}

const void *weft_operand_data(const weft_operand *operand, const weft_step *step,
                              const weft_execution *execution) {
  const uint8_t *from = weft_array_data(execution, operand->array);
  if (!operand->staged) return from;
  uint8_t *to = weft_step_scratch(execution, step) + operand->scratch;
  size_t size = weft_dtype_size(operand->array->dtype), held = weft_class_size(operand->held);
  if (operand->load == NULL) {
    weft_nest_gather(&operand->nest, 0, size, from, 0, operand->elements, to);
    return to;
  }
  uint64_t tile[64]; /* strided elements, before they are converted */
  for (uint64_t done = 0, n; done < operand->elements; done += n) {
    n = weft_min_u64(operand->elements - done, sizeof tile / 8);
    weft_nest_gather(&operand->nest, 0, size, from, done, n, (uint8_t *)tile);
    operand->load((size_t)n, tile, to + done * held);
  }
  return to;
}

weft_status weft_operand_require_f32(const weft_operand *operand, weft_error *error) {
  return operand->held == WEFT_CLASS_F32 ? WEFT_OK : unsupported(operand->array, error);
}

weft_status weft_result_prepare(weft_result *result, const weft_cpu *cpu, weft_step *step,
                                weft_error *error) {
  result->array = step->outputs[0];
  weft_dtype dtype = computed_dtype(result->array);
  result->held = weft_class_of(dtype);
  if (result->held == WEFT_CLASS_NONE) return unsupported(result->array, error);
  result->store = weft_class_storer(cpu->kernels, dtype);
  if (result->store != NULL)
    result->scratch =
        weft_cpu_scratch(step, result->array->elements * weft_class_size(result->held));
  return WEFT_OK;
}

void *weft_result_data(const weft_result *result, const weft_step *step,
                       const weft_execution *execution) {
  if (result->store == NULL) return weft_array_data(execution, result->array);
  return weft_step_scratch(execution, step) + result->scratch;
}

void weft_result_finish(const weft_result *result, const weft_step *step,
                        const weft_execution *execution) {
  if (result->store == NULL) return;
  result->store((size_t)result->array->elements,
                weft_step_scratch(execution, step) + result->scratch,
                weft_array_data(execution, result->array));
}
