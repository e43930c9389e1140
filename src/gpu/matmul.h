/* matmul.h - matrix products on the GPU: how weights lie (pack.c makes them), which variants of the
 * kernels there are (matmul_variants.c), the steps (matmul.c).
 *
 * A weight [k][n] lies as words of 32 bits: a word holds 32 / bits numbers of one column that
 * follow each other along k. Four columns side by side are a quad, one vec4<u32> that a lane loads
 * at once; WEFT_GPU_PANEL quads are a panel, [k words][quads], so that adjacent lanes read adjacent
 * 16 bytes, and what a workgroup reads of a panel is one stretch of memory. In a word the lowest
 * bits of each byte come first: byte j holds codes j, 4 + j, 8 + j, ..., so that a shift and a mask
 * give four codes that follow each other, as bytes. 16-bit floats: the first is the low half.
 *
 * Behind the codes of all panels come the scales, [panel][block][column of the panel], and the
 * zeros, likewise: weight = (code - zero) * scale. Signed codes are shifted to count from 0. */
#ifndef WEFT_GPU_MATMUL_H
#define WEFT_GPU_MATMUL_H

#include "gpu/internal.h"
#include "opt/weight.h"

#define WEFT_GPU_PANEL         8u /* quads */
#define WEFT_GPU_PANEL_COLUMNS (4 * WEFT_GPU_PANEL)

/* ---- weights --------------------------------------------------------------------------------- */

/* Plain numbers: they are a part of the layout. */
typedef struct weft_gpu_format {
  uint32_t bits;    /* of a number: 2, 4, 8 are codes; 16, 32 floats */
  bool bfloat;      /* 16 bits: bf16 */
  bool f16_scales;  /* else f32 */
  bool float_zeros; /* f32, one for each scale */
  bool byte_zeros;  /* u8, one for each scale */
  uint32_t zero;    /* of all, where there are none of these */
  uint32_t block;   /* of k that shares a scale; 0: all of k */
} weft_gpu_format;

/* Where things lie in a weight's memory. */
typedef struct weft_gpu_places {
  uint64_t words, panels, blocks;        /* words along k; panels along n; scales along k */
  uint64_t matrix, scales, zeros, bytes; /* of a matrix; starts of the sections; of all */
} weft_gpu_places;

static inline uint32_t weft_gpu_per_word(const weft_gpu_format *format) {
  return 32 / format->bits;
}
weft_layout weft_gpu_layout(const weft_gpu_format *format);
weft_gpu_format weft_gpu_format_of(weft_layout layout);
weft_gpu_places weft_gpu_places_of(const weft_gpu_format *format, uint64_t matrices, uint64_t k,
                                   uint64_t n);

/* Whether matmul `node` has a right side that will be packed, or is; and the most bytes that it
 * may take. */
bool weft_gpu_packs(const weft_graph *graph, const weft_node *node, uint64_t *bytes);

/* ---- variants -------------------------------------------------------------------------------- */

typedef enum weft_matmul_kind {
  WEFT_MATMUL_TILES,  /* matmul.wgsl */
  WEFT_MATMUL_VECTOR, /* gemv.wgsl: few rows, packed B */
  WEFT_MATMUL_LANES,  /* matmul_lanes.wgsl: wy is 1 */
  WEFT_MATMUL_MATRIX, /* matmul_matrix.wgsl: wx, wy subgroups of rows x quads matrices */
} weft_matmul_kind;

/* Parameters of a kernel; the files say what they mean. */
typedef struct weft_matmul_variant {
  weft_matmul_kind kind;
  uint16_t wx, wy; /* of a workgroup; VECTOR: wy lanes share out k */
  uint16_t rows, quads, tile_k, strip;
  uint16_t splits; /* of k; 1: none */
  bool swizzle;    /* of workgroup memory */
  bool f16;        /* in workgroup memory */
  bool subgroups;
  uint8_t matrix; /* MATRIX: number of the GPU's shape of matrices */
} weft_matmul_variant;

/* What the choice may depend on. */
typedef struct weft_matmul_shape {
  uint64_t m, n, k, batches;
  uint32_t bits; /* of a packed B; 0: computed */
  uint32_t block;
  bool f16;     /* all 16-bit floats */
  bool rounded; /* A's rows are codes too */
  /* VECTOR: what else it does. The row's norm; a second product of it; and bytes of workgroup
   * memory for rows that it normalises or rounds itself. */
  bool norm, paired;
  uint32_t row_bytes;
} weft_matmul_shape;

#define WEFT_MATMUL_VARIANTS_MAX 48u

/* The variants that run on the GPU for such a product, the most promising first. At least one. */
uint32_t weft_matmul_variants(const weft_gpu_facts *facts, const weft_matmul_shape *shape,
                              weft_matmul_variant out[WEFT_MATMUL_VARIANTS_MAX]);
/* At most so many rows are for VECTOR, with a packed B; on a CPU, for LANES. */
#define WEFT_MATMUL_FEW_ROWS 4u
/* Positions of k that a lane of VECTOR takes at a time. */
uint32_t weft_matmul_unit(uint32_t bits, uint32_t block);

/* ---- steps ----------------------------------------------------------------------------------- */

/* How A's rows become codes of 8 bits. */
typedef struct weft_rounding {
  uint32_t block, blocks; /* of k that shares a scale, and how many; 0: they stay floats */
  uint32_t row_bytes;     /* of workgroup memory, where VECTOR does it itself; 0: a kernel before */
} weft_rounding;
weft_rounding weft_matmul_rounding(const weft_gpu_device *gpu, const weft_node *node,
                                   const weft_gpu_format *format, uint64_t m, uint64_t k);
/* Bindings of a product with `extras` inputs of its expression. */
uint32_t weft_matmul_bindings(const weft_gpu_format *format, uint32_t extras, bool norm,
                              bool paired);

#endif
