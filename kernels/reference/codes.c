/* codes.c (reference) - matrix product with weights of few bits, straight from its definition: a
 * byte per code, sums in double. */
#include "base/memory.h"
#include "kernels/target.h"

enum { COLUMNS = WEFT_GEMM_COLUMNS };

static size_t blocks_of(weft_code_format format, size_t k) {
  return (k + format.block - 1) / format.block;
}

/* ---- weights --------------------------------------------------------------------------------- */

/* A block of a panel: codes [block][COLUMNS], scales, offsets. */
typedef struct columns {
  uint8_t *codes;
  float *scales, *offsets;
} columns;

static size_t columns_bytes(weft_code_format format) {
  return COLUMNS * (format.block + 2 * sizeof(float));
}

static columns columns_at(weft_code_format format, const void *panel, size_t block) {
  uint8_t *codes = (uint8_t *)(uintptr_t)panel + block * columns_bytes(format);
  float *scales = (float *)(void *)(codes + (size_t)format.block * COLUMNS);
  return (columns){codes, scales, scales + COLUMNS};
}

size_t WEFT_KERNEL_NAME(codes_panel_bytes)(weft_code_format format, size_t k) {
  return blocks_of(format, k) * columns_bytes(format);
}

void WEFT_KERNEL_NAME(pack_codes)(const weft_pack_codes_args *args) {
  weft_code_format format = args->format;
  memset(args->to, 0, WEFT_KERNEL_NAME(codes_panel_bytes)(format, args->k));
  for (size_t j = 0; j < args->columns; j++)
    for (size_t i = 0; i < args->k; i++) {
      size_t block = i / format.block, at = j * args->scales_stride + block;
      columns to = columns_at(format, args->to, block);
      to.codes[i % format.block * COLUMNS + j] = args->codes[j * args->codes_stride + i];
      to.scales[j] = args->scales[at];
      if (args->offsets) to.offsets[j] = args->offsets[at];
    }
}

void WEFT_KERNEL_NAME(unpack_codes)(const weft_unpack_codes_args *args) {
  weft_code_format format = args->format;
  for (size_t i = 0; i < args->count; i++)
    for (size_t j = 0; j < COLUMNS; j++) {
      size_t row = args->first + i;
      columns from = columns_at(format, args->panel, row / format.block);
      double code = (double)from.codes[row % format.block * COLUMNS + j] - format.zero;
      args->to[i * COLUMNS + j] = (float)(from.scales[j] * code + (double)from.offsets[j]);
    }
}

/* ---- activations ----------------------------------------------------------------------------- */

/* A block of a row: the scale, then `block` codes. */
static size_t row_block_bytes(weft_code_format format) {
  return sizeof(float) + format.block;
}

size_t WEFT_KERNEL_NAME(codes_row_bytes)(weft_code_format format, size_t k) {
  return (blocks_of(format, k) * row_block_bytes(format) + 15) / 16 * 16;
}

static void quantize_block(size_t n, size_t block, const float *x, void *to) {
  float *scale = to, largest = 0;
  int8_t *codes = (int8_t *)(scale + 1);
  memset(codes, 0, block);
  *scale = 0;
  for (size_t i = 0; i < n; i++) {
    float size = __builtin_fabsf(x[i]);
    if (!(size <= 0x1.fffffep127f)) {
      *scale = __builtin_nanf("");
      return;
    }
    if (size > largest) largest = size;
  }
  if (largest < WEFT_CODES_LEAST) return;
  *scale = largest / 127;
  for (size_t i = 0; i < n; i++) {
    float exact = x[i] * (127 / largest), whole = exact + 0x1.8p23f - 0x1.8p23f;
    codes[i] = (int8_t)whole;
  }
}

void WEFT_KERNEL_NAME(quantize_rows)(const weft_quantize_rows_args *args) {
  size_t block = args->format.block;
  for (size_t row = 0; row < args->m; row++) {
    char *to = (char *)args->to + row * WEFT_KERNEL_NAME(codes_row_bytes)(args->format, args->k);
    for (size_t k = 0; k < args->k; k += block, to += row_block_bytes(args->format))
      quantize_block(args->k - k < block ? args->k - k : block, block,
                     args->x + row * args->ldx + k, to);
  }
}

/* ---- product --------------------------------------------------------------------------------- */

/* What a block adds to one element of C. `a` and `b`: the block's part of a row and of a panel. */
static double block_product(weft_code_format format, const char *a, columns b, size_t column) {
  double dot = 0, sum = 0;
  float scale;
  memcpy(&scale, a, sizeof scale);
  for (size_t i = 0; i < format.block; i++) {
    int code = (int8_t)a[sizeof scale + i];
    dot += code * ((int)b.codes[i * COLUMNS + column] - (int)format.zero);
    sum += code;
  }
  return scale * (b.scales[column] * dot + b.offsets[column] * sum);
}

void WEFT_KERNEL_NAME(gemm_codes)(const weft_gemm_codes_args *args) {
  weft_code_format format = args->format;
  size_t row_bytes = WEFT_KERNEL_NAME(codes_row_bytes)(format, args->k);
  for (size_t i = 0; i < args->m; i++)
    for (size_t j = 0; j < args->n; j++) {
      const char *a = (const char *)args->a + i * row_bytes;
      const char *panel = (const char *)args->b + j / COLUMNS * args->b_panel;
      float *c = &args->c[i * args->ldc + j];
      double sum = args->accumulate ? (double)*c : 0;
      for (size_t b = 0; b < blocks_of(format, args->k); b++)
        sum += block_product(format, a + b * row_block_bytes(format), columns_at(format, panel, b),
                             j % COLUMNS);
      *c = (float)sum;
    }
}
