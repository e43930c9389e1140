/* ops.c - the core ops that run on the GPU. What is not here runs on the host. */
#include "gpu/internal.h"

const weft_gpu_op weft_gpu_ops[WEFT_OP_COUNT] = {
    [WEFT_OP_ATTENTION] = {weft_gpu_prepare_attention, NULL, weft_gpu_takes_attention, 0},
    [WEFT_OP_ROTARY] = {weft_gpu_prepare_rotary, NULL, weft_gpu_takes_rotary, 0},
    /* The total is known while planning, lengths in a run. */
    [WEFT_OP_APPEND] = {weft_gpu_prepare_append, weft_gpu_runs_append, weft_gpu_takes_append,
                        1u << 2 | 1u << 3},
    [WEFT_OP_MATMUL] = {weft_gpu_prepare_matmul, weft_gpu_runs_matmul, weft_gpu_takes_matmul, 0},
    [WEFT_OP_VIEW] = {NULL, NULL, NULL, 0}, /* strides: never a step */
};
