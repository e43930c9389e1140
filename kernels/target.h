/* target.h - which target a kernel source is being compiled for, the suffix that its functions get
 * and the sizes of its tiles. A source is compiled once per target with one WEFT_TARGET_<X> defined
 * (sources.cmake), and defines its functions as WEFT_KERNEL_NAME(exp_f32). */
#ifndef WEFT_KERNELS_TARGET_H
#define WEFT_KERNELS_TARGET_H

#include "kernels/kernels.h"

/* A derived target exchanges the kernels on codes alone, and has all others of its base. */
#if defined(WEFT_TARGET_AVX2_VNNI)
#define WEFT_TARGET avx2_vnni
#define WEFT_BASE   avx2
#define WEFT_TARGET_AVX2
#elif defined(WEFT_TARGET_NEON_DOT)
#define WEFT_TARGET neon_dot
#define WEFT_BASE   neon
#define WEFT_TARGET_NEON
#elif defined(WEFT_TARGET_RELAXED_DOT)
#define WEFT_TARGET relaxed_dot
#define WEFT_BASE   relaxed
#define WEFT_TARGET_RELAXED
#elif defined(WEFT_TARGET_REFERENCE)
#define WEFT_TARGET reference
#elif defined(WEFT_TARGET_PORTABLE)
#define WEFT_TARGET portable
#elif defined(WEFT_TARGET_AVX2)
#define WEFT_TARGET avx2
#elif defined(WEFT_TARGET_NEON)
#define WEFT_TARGET neon
#elif defined(WEFT_TARGET_SIMD128)
#define WEFT_TARGET simd128
#elif defined(WEFT_TARGET_RELAXED)
#define WEFT_TARGET relaxed
#else
#error "define WEFT_TARGET_<X>: kernels/sources.cmake lists them"
#endif

#ifndef WEFT_BASE
#define WEFT_BASE WEFT_TARGET
#endif

#define WEFT_KERNEL_JOIN_(name, target) weft_##name##_##target
#define WEFT_KERNEL_JOIN(name, target)  WEFT_KERNEL_JOIN_(name, target)
#define WEFT_KERNEL_NAME(name)          WEFT_KERNEL_JOIN(name, WEFT_TARGET)
#define WEFT_KERNEL_OF_BASE(name)       WEFT_KERNEL_JOIN(name, WEFT_BASE)
#define WEFT_KERNEL_STRING_(target)     #target
#define WEFT_KERNEL_STRING(target)      WEFT_KERNEL_STRING_(target)

/* The tile of gemm_f32, and the query rows per call of attention_f32. Registers decide: 6 rows x 2
 * vectors of accumulators, 2 vectors of B and one element of A are 15 of the 16 that x86 has. */
#define WEFT_GEMM_ROWS 6
#ifdef WEFT_TARGET_AVX2
#define WEFT_GEMM_COLUMNS 16
#else
#define WEFT_GEMM_COLUMNS 8
#endif
#define WEFT_ATTENTION_ROWS 64
/* Rows per call of gemm_codes. A block whose largest number is below WEFT_CODES_LEAST counts as
 * zeros: 127 / largest would be infinite. */
#define WEFT_CODES_ROWS  4
#define WEFT_CODES_LEAST 0x1p-119f

#define WEFT_KERNEL(family, name, tolerance)       weft_##family##_fn WEFT_KERNEL_OF_BASE(name);
#define WEFT_KERNEL_CODES(family, name, tolerance) weft_##family##_fn WEFT_KERNEL_NAME(name);
#include "kernels/kernels.inc"
#undef WEFT_KERNEL
#undef WEFT_KERNEL_CODES
size_t WEFT_KERNEL_OF_BASE(attention_scratch)(const weft_attention_f32_args *args);
size_t WEFT_KERNEL_NAME(codes_panel_bytes)(weft_code_format format, size_t k);
size_t WEFT_KERNEL_NAME(codes_row_bytes)(weft_code_format format, size_t k);

#endif
