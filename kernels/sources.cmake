# What has to be compiled how. Each target's sources are compiled once more for that target, with
# its definition (and flags) on top of WEFT_KERNEL_FLAGS; dispatch.c once.
set(WEFT_KERNEL_FLAGS -O3 -ffp-contract=off -fno-math-errno)
set(WEFT_KERNEL_COMMON_SOURCES kernels/dispatch.c)
set(WEFT_KERNEL_REFERENCE_SOURCES kernels/table.c kernels/reference/codes.c
    kernels/reference/convert.c kernels/reference/double_math.c kernels/reference/elementwise.c
    kernels/reference/matrix.c kernels/reference/rows.c)
set(WEFT_KERNEL_SOURCES kernels/table.c kernels/attention.c kernels/attention_few.c
    kernels/codes.c kernels/codes_pack.c kernels/convert.c kernels/elementwise.c kernels/gemm.c
    kernels/rows.c)
# Without instructions for dot products the reference is as good, and compilers are done sooner.
set(WEFT_KERNEL_SOURCES_portable ${WEFT_KERNEL_SOURCES} kernels/reference/codes.c)
list(REMOVE_ITEM WEFT_KERNEL_SOURCES_portable kernels/codes.c kernels/codes_pack.c)
# What a derived target (target.h) has of its own.
set(WEFT_KERNEL_DERIVED_SOURCES kernels/table.c kernels/codes.c kernels/codes_pack.c)

# Targets by the architecture that is built for; WEFT_KERNEL_FLAGS_<target> is added per target and
# WEFT_TARGET_<TARGET> defined. "reference" takes WEFT_KERNEL_REFERENCE_SOURCES, those of
# WEFT_KERNEL_DERIVED what derived targets take, "portable" its own list, all others
# WEFT_KERNEL_SOURCES.
set(WEFT_KERNEL_DERIVED avx2_vnni neon_dot relaxed_dot)
set(WEFT_KERNEL_TARGETS_x86_64 reference portable avx2 avx2_vnni)
set(WEFT_KERNEL_TARGETS_aarch64 reference portable neon neon_dot)
set(WEFT_KERNEL_TARGETS_other reference portable)
set(WEFT_KERNEL_TARGETS_wasm_a simd128)
set(WEFT_KERNEL_TARGETS_wasm_b relaxed relaxed_dot)
set(WEFT_KERNEL_TARGETS_wasm_c relaxed relaxed_dot)
set(WEFT_KERNEL_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(WEFT_KERNEL_FLAGS_avx2_vnni -mavx2 -mfma -mf16c -mavxvnni)
set(WEFT_KERNEL_FLAGS_neon_dot -march=armv8.2-a+dotprod)
# clang's default order for wasm takes a tile's loads first and spills its accumulators.
set(WEFT_KERNEL_FLAGS_simd128 "SHELL:-mllvm -pre-RA-sched=linearize")
set(WEFT_KERNEL_FLAGS_relaxed "SHELL:-mllvm -pre-RA-sched=linearize")
set(WEFT_KERNEL_FLAGS_relaxed_dot "SHELL:-mllvm -pre-RA-sched=linearize")
