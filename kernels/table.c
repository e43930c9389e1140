/* table.c - the table of one target's kernels (compiled once per target, as the kernels are), which
 * dispatch.c hands out. */
#include "kernels/target.h"

extern const weft_kernels WEFT_KERNEL_NAME(kernels);

const weft_kernels WEFT_KERNEL_NAME(kernels) = {
    .target = WEFT_KERNEL_STRING(WEFT_TARGET),
    .gemm_rows = WEFT_GEMM_ROWS,
    .gemm_columns = WEFT_GEMM_COLUMNS,
    .attention_rows = WEFT_ATTENTION_ROWS,
    .attention_scratch = WEFT_KERNEL_OF_BASE(attention_scratch),
    .codes_rows = WEFT_CODES_ROWS,
    .codes_panel_bytes = WEFT_KERNEL_NAME(codes_panel_bytes),
    .codes_row_bytes = WEFT_KERNEL_NAME(codes_row_bytes),
#define WEFT_KERNEL(family, name, tolerance)       .name = WEFT_KERNEL_OF_BASE(name),
#define WEFT_KERNEL_CODES(family, name, tolerance) .name = WEFT_KERNEL_NAME(name),
#include "kernels/kernels.inc"
#undef WEFT_KERNEL
#undef WEFT_KERNEL_CODES
};
