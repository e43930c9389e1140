/* ops.c - the core ops that run on the GPU. What is not here runs on the host. */
#include "gpu/internal.h"

const weft_gpu_op weft_gpu_ops[WEFT_OP_COUNT] = {
    [WEFT_OP_MAP] = {weft_gpu_prepare_map, weft_gpu_runs_map, weft_gpu_takes_map, 0},
    [WEFT_OP_MATMUL] = {weft_gpu_prepare_matmul, weft_gpu_runs_matmul, weft_gpu_takes_matmul, 0},
    [WEFT_OP_DEQUANTIZE] = {weft_gpu_prepare_dequantize, weft_gpu_runs_dequantize, NULL, 0},
    [WEFT_OP_ATTENTION] = {weft_gpu_prepare_attention, NULL, weft_gpu_takes_attention, 0},
    [WEFT_OP_ROTARY] = {weft_gpu_prepare_rotary, NULL, weft_gpu_takes_rotary, 0},
    /* The total is known while planning, lengths in a run. */
    [WEFT_OP_APPEND] = {weft_gpu_prepare_append, weft_gpu_runs_append, weft_gpu_takes_append,
                        1u << 2 | 1u << 3},
    [WEFT_OP_CACHED_ATTENTION] = {weft_gpu_prepare_cached_attention, weft_gpu_runs_cached_attention,
                                  weft_gpu_takes_cached_attention,
                                  1u << WEFT_CACHED_TOTAL | 1u << WEFT_CACHED_ENDS},
    [WEFT_OP_NORM] = {weft_gpu_prepare_norm, weft_gpu_runs_rows, weft_gpu_takes_norm, 0},
    [WEFT_OP_SOFTMAX] = {weft_gpu_prepare_softmax, weft_gpu_runs_rows, NULL, 0},
    [WEFT_OP_REDUCE] = {weft_gpu_prepare_reduce, weft_gpu_runs_reduce, weft_gpu_takes_reduce,
                        1u << 1},
    [WEFT_OP_ARG_REDUCE] = {weft_gpu_prepare_arg_reduce, weft_gpu_runs_arg_reduce, NULL, 0},
    [WEFT_OP_GATHER] = {weft_gpu_prepare_gather, weft_gpu_runs_gather, NULL, 0},
    [WEFT_OP_GATHER_ELEMENTS] = {weft_gpu_prepare_gather_elements, weft_gpu_runs_gather, NULL, 0},
    [WEFT_OP_CONCAT] = {weft_gpu_prepare_concat, weft_gpu_runs_concat, weft_gpu_takes_concat, 0},
    [WEFT_OP_VIEW] = {NULL, NULL, NULL, 0}, /* strides: never a step */
};
