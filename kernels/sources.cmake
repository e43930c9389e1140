# What has to be compiled how. Each target's sources are compiled once more for that target, with
# its definition (and flags) on top of WEFT_KERNEL_FLAGS; dispatch.c once.
set(WEFT_KERNEL_FLAGS -O3 -ffp-contract=off -fno-math-errno)
set(WEFT_KERNEL_COMMON_SOURCES kernels/dispatch.c)
set(WEFT_KERNEL_REFERENCE_SOURCES kernels/table.c kernels/reference/codes.c
    kernels/reference/convert.c kernels/reference/double_math.c kernels/reference/elementwise.c
    kernels/reference/matrix.c kernels/reference/rows.c)
set(WEFT_KERNEL_SOURCES kernels/table.c kernels/attention.c kernels/attention_few.c
    kernels/reference/codes.c kernels/convert.c kernels/elementwise.c kernels/gemm.c kernels/rows.c)

# Targets by the architecture that is built for; WEFT_KERNEL_FLAGS_<target> is added per target and
# WEFT_TARGET_<TARGET> defined. "reference" takes WEFT_KERNEL_REFERENCE_SOURCES, all others
# WEFT_KERNEL_SOURCES.
set(WEFT_KERNEL_TARGETS_x86_64 reference portable avx2)
set(WEFT_KERNEL_TARGETS_aarch64 reference portable neon)
set(WEFT_KERNEL_TARGETS_other reference portable)
set(WEFT_KERNEL_TARGETS_wasm_a simd128)
set(WEFT_KERNEL_TARGETS_wasm_b relaxed)
set(WEFT_KERNEL_TARGETS_wasm_c relaxed)
set(WEFT_KERNEL_FLAGS_avx2 -mavx2 -mfma -mf16c)
# clang's default order for wasm takes a tile's loads first and spills its accumulators.
set(WEFT_KERNEL_FLAGS_simd128 "SHELL:-mllvm -pre-RA-sched=linearize")
set(WEFT_KERNEL_FLAGS_relaxed "SHELL:-mllvm -pre-RA-sched=linearize")
