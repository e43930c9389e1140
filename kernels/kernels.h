/* kernels.h - leaf functions: raw pointers in, no allocation, no errors. kernels.inc lists them;
 * vec.h is what they are written over; one table of pointers per target (a set of instructions) is
 * what the CPU device calls.
 *
 * Unless a family says otherwise: n >= 0, any alignment that the element type allows, y may be the
 * same array as an input but not overlap it otherwise, nothing is read or written outside the n
 * elements. Results below the normal floats may be flushed to zero. */
#ifndef WEFT_KERNELS_H
#define WEFT_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- families -------------------------------------------------------------------------------- */

typedef void weft_unary_f32_fn(size_t n, const float *x, float *y);
typedef void weft_binary_f32_fn(size_t n, const float *a, const float *b, float *y);
typedef void weft_compare_f32_fn(size_t n, const float *a, const float *b, uint8_t *y);
typedef void weft_select_f32_fn(size_t n, const uint8_t *c, const float *a, const float *b,
                                float *y);
typedef float weft_reduce_f32_fn(size_t n, const float *x);
typedef void weft_convert_fn(size_t n, const void *x, void *y);
typedef void weft_row_f32_fn(size_t n, const float *x, float *y);
/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias over one row; rms: y = x /
 * sqrt(mean(x^2) + epsilon) * scale + bias. scale and bias have n elements; bias may be NULL. */
typedef void weft_norm_f32_fn(size_t n, const float *x, const float *scale, const float *bias,
                              float epsilon, float *y);

/* Turns n pairs of numbers, each by an angle of its own: (a, b) becomes (a cos - b sin, a sin + b
 * cos). The pairs of halves are (x[i], x[n + i]), interleaved ones (x[2i], x[2i + 1]). */
typedef void weft_rotary_f32_fn(size_t n, const float *x, const float *cosines, const float *sines,
                                float *y);

/* A strip of C = A x B: c[m][n] (+)= sum over k of a[m][k] * b[k][n].
 * a: m rows of k floats, lda apart. b: packed panels (below), b_panel floats apart, of each k rows
 * of gemm_columns floats, padded with zeros, 32-byte aligned. c: m rows, ldc apart, of which the
 * first n columns are written. 1 <= m <= gemm_rows, n >= 1, k >= 1. A row's bits depend neither on
 * m and n nor on how k is cut by accumulating. Call it with as many panels as make a cache line of
 * c, so that they stay in the cache while rows pass; for one or two rows give it all panels at
 * once: it takes several together, which hides the latency of the additions. */
typedef struct weft_gemm_f32_args {
  size_t m, n, k;
  const float *a;
  size_t lda;
  const float *b;
  size_t b_panel;
  float *c;
  size_t ldc;
  bool accumulate; /* add to c instead of overwriting it */
} weft_gemm_f32_args;
typedef void weft_gemm_f32_fn(const weft_gemm_f32_args *args);

/* Packs B [k][n] (element strides row_stride, column_stride) into ceil(n / gemm_columns) panels,
 * one after the other, each k x gemm_columns floats; columns past n are zeros. `to` is 64-byte
 * aligned. */
typedef void weft_gemm_pack_f32_fn(size_t k, size_t n, const float *b, ptrdiff_t row_stride,
                                   ptrdiff_t column_stride, float *to);

/* Attention of a block of queries of heads that share keys and values, without a queries x keys
 * matrix (online softmax). A row is a query of a head: row = head * queries + query.
 * out[row][:] = sum over t of softmax_t(cap(scale * q[row] . k[t]) + mask[row][t]) * v[t][:], where
 * cap(x) = softcap tanh(x / softcap). Query i sees keys t <= position + i when causal, and
 * t > position + i - window when window > 0. Rows that see nothing, or whose every weight is -inf,
 * give zeros. Strides count elements; elements in a row are dense. heads * queries is from 1 to
 * attention_rows. */
typedef struct weft_attention_f32_args {
  size_t heads, queries, keys;
  size_t head_size;  /* columns of q and k */
  size_t value_size; /* columns of v and out */
  const float *q, *k, *v;
  size_t q_head_stride, q_stride, k_stride, v_stride;
  const float *mask; /* added to the scores; NULL: none */
  size_t mask_head_stride, mask_stride;
  bool causal;
  size_t window;        /* 0: none */
  ptrdiff_t position;   /* of query 0 among the keys; may be negative */
  float scale, softcap; /* softcap 0: none */
  const float *sink;    /* [heads]: one more score, without a value; NULL: none */
  float *out;
  size_t out_head_stride, out_stride;
  float *log_sum; /* [rows]: log of the sum of e^score; NULL: not wanted. Results over several
                   * ranges of keys are joined by the softmax of their log_sum. */
  float *scratch; /* attention_scratch(args) floats, 64-byte aligned */
} weft_attention_f32_args;
typedef void weft_attention_f32_fn(const weft_attention_f32_args *args);

/* ---- weights of few bits --------------------------------------------------------------------- */

/* What codes mean: w[k][n] = scale[k / block][n] * (code[k][n] - zero) + offset[k / block][n],
 * codes unsigned. Formats differ in these numbers alone: MatMulNBits, DynamicQuantizeLinear, Q4_0
 * ... */
typedef struct weft_code_format {
  uint32_t bits;    /* 2, 4 or 8 */
  uint32_t zero;    /* below 2^bits */
  uint32_t block;   /* values of k that share a scale, a multiple of 16, at most 32768 */
  bool has_offsets; /* else they are 0 */
  bool narrow;      /* 8 bits of which little is used: WEFT_NARROW_CODE */
} weft_code_format;

/* In a narrow format no code is larger, and in each 8 codes of a column, from multiples of 8 on,
 * |code - zero| of the codes 0, 1, 4, 5 adds up to no more than twice that, as it does of 2, 3, 6,
 * 7: sums of products with A's codes, which are at most 127, fit 16 bits. Weights of 7 bits do. */
#define WEFT_NARROW_CODE 129

/* A panel: gemm_columns columns of codes with their scales (and offsets), block of k by block, in
 * the order in which gemm_codes reads them: one stream. The layout is the target's own. `k` is
 * rounded up to whole blocks; what is beyond it does not count, since A's codes there are 0. */

/* Packs `columns` <= gemm_columns columns into one panel (codes_panel_bytes(format, k) bytes,
 * 64-byte aligned). Column j: codes at codes + j * codes_stride, one byte each (unsigned, 0 ..
 * 2^bits - 1), k of them; scales[j * scales_stride + b] and offsets likewise (NULL: none) for block
 * b. */
typedef struct weft_pack_codes_args {
  weft_code_format format;
  size_t k, columns;
  const uint8_t *codes;
  size_t codes_stride;
  const float *scales, *offsets;
  size_t scales_stride;
  void *to;
} weft_pack_codes_args;
typedef void weft_pack_codes_fn(const weft_pack_codes_args *args);

/* Rows [first, first + count) of k of a panel as floats, as gemm_f32 reads a panel: to[count]
 * [gemm_columns]. `first` is a multiple of the block. Exact up to one rounding of each value. */
typedef struct weft_unpack_codes_args {
  weft_code_format format;
  size_t first, count;
  const void *panel;
  float *to;
} weft_unpack_codes_args;
typedef void weft_unpack_codes_fn(const weft_unpack_codes_args *args);

/* Rounds m rows of k floats to 8 bits, each block by itself: scale = max|x| / 127, code = x * (127
 * / max|x|) rounded half to even; a block of zeros, or of numbers below 2^-119, has scale 0, one
 * that is not finite has scale NaN. The layout of a row (codes_row_bytes(format, k) bytes, 16-byte
 * aligned; codes, scales, sums of codes) is the target's own. */
typedef struct weft_quantize_rows_args {
  weft_code_format format;
  size_t m, k;
  const float *x;
  size_t ldx; /* floats between rows */
  void *to;
} weft_quantize_rows_args;
typedef void weft_quantize_rows_fn(const weft_quantize_rows_args *args);

/* c[m][n] (+)= sum over blocks b of a_scale[i][b] * (scale[b][j] * (dot of codes - zero * sum of
 * A's codes) + offset[b][j] * sum of A's codes). The dot products are exact integers; a row's bits
 * depend neither on m and n nor on which rows are around it. a: quantised rows, one after the
 * other. b: panels, b_panel bytes apart. 1 <= m <= codes_rows, n >= 1. For one row give it all
 * panels at once (GEMV); else as many as make a cache line of c, of a narrow format four. */
typedef struct weft_gemm_codes_args {
  weft_code_format format;
  size_t m, n, k;
  const void *a;
  const void *b;
  size_t b_panel;
  float *c;
  size_t ldc;
  bool accumulate;
} weft_gemm_codes_args;
typedef void weft_gemm_codes_fn(const weft_gemm_codes_args *args);

/* ---- targets --------------------------------------------------------------------------------- */

/* Bits of `features`: what a target needs of the processor (targets.inc). */
#define WEFT_CPU_AVX2_FMA 1u /* AVX2, FMA3, F16C */
#define WEFT_CPU_DOT      2u /* dot products of bytes: AVX-VNNI, NEON's dotprod */

typedef struct weft_kernels {
  const char *target; /* "reference", "portable", "simd128", "relaxed", "relaxed_dot", "avx2" ... */
  size_t gemm_rows, gemm_columns; /* the tile of gemm_f32 */
  size_t attention_rows; /* the most rows in a call of attention_f32, and the best number */
  size_t (*attention_scratch)(const weft_attention_f32_args *args);
  size_t codes_rows; /* rows of A per call of gemm_codes */
  size_t (*codes_panel_bytes)(weft_code_format format, size_t k);
  size_t (*codes_row_bytes)(weft_code_format format, size_t k);
#define WEFT_KERNEL(family, name, tolerance) weft_##family##_fn *name;
#include "kernels/kernels.inc"
#undef WEFT_KERNEL
} weft_kernels;

/* The tables that this build carries and `features` (WEFT_CPU_* bits) allow, by index, best first,
 * the reference last; NULL past the end. */
const weft_kernels *weft_kernels_at(size_t index, uint32_t features);
/* By target name; NULL when this build or processor lacks it. A NULL name gives the best. */
const weft_kernels *weft_kernels_find(const char *name, uint32_t features);

#endif
