/* attempt.h - what tests of hostile files do with a model that opens: a session, and one run on
 * zeros, within tight limits. */
#ifndef WEFT_TESTS_ATTEMPT_H
#define WEFT_TESTS_ATTEMPT_H

#include "weft/weft.h"

enum { ATTEMPT_MEMORY = 64 << 20, ATTEMPT_INPUTS = 16, ATTEMPT_ELEMENTS = 1 << 16 };
enum { ATTEMPT_SYMBOL = 2 }; /* the extent of every dimension that is not fixed */
#define ATTEMPT_NANOSECONDS 500000000ull

/* A tensor of zeros for an input; NULL where it would be too large. */
static inline weft_tensor *attempt_input(weft_runtime *runtime, const weft_value_info *info) {
  int64_t dims[WEFT_RANK_MAX];
  uint64_t elements = 1;
  size_t rank = info->rank < 0 ? 1 : (size_t)info->rank;
  for (size_t i = 0; i < rank; i++) {
    dims[i] = info->rank < 0 || info->dims[i] < 0 ? ATTEMPT_SYMBOL : info->dims[i];
    if (dims[i] > ATTEMPT_ELEMENTS || (elements *= (uint64_t)dims[i]) > ATTEMPT_ELEMENTS)
      return NULL;
  }
  weft_tensor *tensor = NULL;
  weft_tensor_open(runtime, info->dtype, dims, rank, &tensor, NULL);
  return tensor;
}

/* WEFT_OK also where the inputs are too many or too large to try. */
static inline weft_status attempt_run(weft_runtime *runtime, const weft_model *model,
                                      weft_session *session, weft_error *error) {
  weft_binding inputs[ATTEMPT_INPUTS], outputs[ATTEMPT_INPUTS];
  size_t input_count = weft_model_input_count(model), output_count = weft_model_output_count(model);
  if (input_count > ATTEMPT_INPUTS || output_count > ATTEMPT_INPUTS) return WEFT_OK;
  weft_value_info info;
  for (size_t i = 0; i < output_count; i++) {
    weft_model_output(model, i, &info);
    outputs[i] = (weft_binding){info.name, NULL};
  }
  bool ready = true;
  for (size_t i = 0; i < input_count; i++) {
    weft_model_input(model, i, &info);
    inputs[i] = (weft_binding){info.name, attempt_input(runtime, &info)};
    ready = ready && inputs[i].tensor;
  }
  weft_run_options options = {.time_limit_ns = ATTEMPT_NANOSECONDS};
  weft_status status = WEFT_OK;
  if (ready)
    status = weft_session_run(session, &options, inputs, input_count, outputs, output_count, error);
  for (size_t i = 0; i < input_count; i++) weft_tensor_close(&inputs[i].tensor);
  return status;
}

/* The first failure of session and run. */
static inline weft_status attempt(weft_runtime *runtime, weft_model *model, weft_error *error) {
  weft_session_options options = weft_session_options_default();
  options.memory_limit = ATTEMPT_MEMORY;
  weft_session *session;
  weft_status status = weft_session_open(model, &options, &session, error);
  if (status == WEFT_OK) status = attempt_run(runtime, model, session, error);
  weft_session_close(&session);
  return status;
}

#endif
