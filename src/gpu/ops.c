/* ops.c - the core ops that run on the GPU. What is not here runs on the host. */
#include "gpu/internal.h"

const weft_gpu_op weft_gpu_ops[WEFT_OP_COUNT] = {
    [WEFT_OP_VIEW] = {NULL, NULL, NULL, 0}, /* strides: never a step */
};
