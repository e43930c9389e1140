/* codes_pack.c - weights of few bits into panels and back, rows of A into 8 bits: all that
 * gemm_codes (codes.c) reads. codes.h has the layout. memcpy of constant sizes is the compiler's
 * own: in a freestanding build the plain one is a call. */
#include "base/memory.h"
#include "kernels/codes.h"

static size_t round_up(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

size_t WEFT_KERNEL_NAME(codes_panel_bytes)(weft_code_format format, size_t k) {
  return round_up(codes_blocks(format, k) * codes_panel_block(format), 64);
}

size_t WEFT_KERNEL_NAME(codes_row_bytes)(weft_code_format format, size_t k) {
  return round_up(codes_blocks(format, k) * codes_row_block(format), 16);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* Four codes of a column are a 32-bit word here, the first in its low byte. */
static uint32_t load_word(const uint8_t *codes, size_t n) {
  uint32_t word = 0;
  if (n >= 4)
    __builtin_memcpy(&word, codes, 4);
  else
    memcpy(&word, codes, n);
  return word;
}

/* A step of one column, of whose codes n <= 16 are there, to byte vectors at `to`. */
static void pack_step(uint32_t bits, uint32_t flip, const uint8_t *codes, size_t n, char *to) {
  uint32_t planes = 8 / bits, word = 0;
  for (uint32_t group = 0; group < 4; group++) {
    size_t at = group * 4;
    uint32_t four = at < n ? load_word(codes + at, n - at) : 0;
    word |= four << group % planes * bits;
    if ((group + 1) % planes > 0) continue;
    word ^= flip * 0x01010101u;
    __builtin_memcpy(to, &word, sizeof word);
    to += CODES_VECTOR;
    word = 0;
  }
}

/* One column of a block, of whose codes n are there: a step of it lies at to + vectors' bytes. */
static void pack_column(weft_code_format format, const uint8_t *codes, size_t n, size_t column,
                        char *to) {
  size_t vectors = format.bits / 2, half = column / WEFT_LANES;
  uint32_t flip = codes_flip(format);
  to += half * vectors * CODES_VECTOR + column % WEFT_LANES * 4;
  for (size_t at = 0; at < format.block; at += CODES_STEP, to += 2 * vectors * CODES_VECTOR) {
    size_t left = at < n ? n - at : 0;
    pack_step(format.bits, flip, codes + (left ? at : 0), left < CODES_STEP ? left : CODES_STEP,
              to);
  }
}

/* Whether 16 bits hold the sums of whole steps, that is of codes 0 and 1 of four groups, and of 2
 * and 3: in all of a block. */
static bool sums_fit(weft_code_format format, const char *block) {
  const i16v zero = (i16v)i32v_splat((int32_t)(format.zero * 0x00010001u));
  i16v larger = {0};
  for (size_t i = 0; i < format.block / 8; i++, block += 4 * CODES_VECTOR) {
    i16v sums = {0};
    VEC_FOR(group, 4) {
      u16v codes = (u16v)i8v_load(block + group * CODES_VECTOR);
      i16v even = (i16v)(codes & 0xFF) - zero, odd = (i16v)(codes >> 8) - zero;
      sums += (even ^ even >> 15) - (even >> 15) + (odd ^ odd >> 15) - (odd >> 15);
    }
    larger |= sums > 2 * WEFT_NARROW_CODE;
  }
  bool fit = true;
  VEC_FOR(i, WEFT_LANES * 2) fit &= larger[i] == 0;
  return fit;
}

void WEFT_KERNEL_NAME(pack_codes)(const weft_pack_codes_args *args) {
  weft_code_format format = args->format;
  char *to = args->to;
  memset(to, 0, WEFT_KERNEL_NAME(codes_panel_bytes)(format, args->k));
  for (size_t b = 0, k = 0; k < args->k; b++, k += format.block, to += codes_panel_block(format)) {
    float *scales = (float *)(void *)(to + codes_panel_codes(format));
    for (size_t j = 0; j < args->columns; j++) {
      size_t at = j * args->scales_stride + b;
      size_t n = args->k - k < format.block ? args->k - k : format.block;
      pack_column(format, args->codes + j * args->codes_stride + k, n, j, to);
      scales[j] = args->scales[at];
      if (format.has_offsets && args->offsets) scales[CODES_COLUMNS + j] = args->offsets[at];
    }
    if (codes_form(format) == DOT_SHORT)
      to[codes_panel_block(format) - CODES_VECTOR] = sums_fit(format, to);
  }
}

/* Row `row` of a block: its codes are byte row % 4 of a lane, in one of the planes. */
VEC_INLINE f32v row_codes(weft_code_format format, const char *block, size_t row, size_t half) {
  uint32_t planes = 8 / format.bits, group = (uint32_t)(row / 4 % 4);
  size_t vector = (row / CODES_STEP * 2 + half) * (format.bits / 2) + group / planes;
  uint32_t shift = (uint32_t)(row % 4) * 8 + group % planes * format.bits;
  u32v word = (u32v)i8v_load(block + vector * CODES_VECTOR);
  word = (word >> shift & ((1u << format.bits) - 1)) ^ codes_flip(format);
  return f32v_from_i32((i32v)word - (int32_t)format.zero);
}

void WEFT_KERNEL_NAME(unpack_codes)(const weft_unpack_codes_args *args) {
  weft_code_format format = args->format;
  size_t in_block = 0, bytes = codes_panel_block(format);
  const char *block = (const char *)args->panel + args->first / format.block * bytes;
  float *to = args->to;
  for (size_t i = 0; i < args->count; i++, to += CODES_COLUMNS) {
    const float *scales = (const float *)(const void *)(block + codes_panel_codes(format));
    VEC_FOR(half, 2) {
      const float *at = scales + half * WEFT_LANES;
      f32v code = row_codes(format, block, in_block, (size_t)half);
      f32v offset = format.has_offsets ? f32v_load(at + CODES_COLUMNS) : f32v_splat(0);
      f32v_store(to + half * WEFT_LANES, f32v_fma(f32v_load(at), code, offset));
    }
    if (++in_block < format.block) continue;
    in_block = 0, block += bytes;
  }
}

/* ---- activations ----------------------------------------------------------------------------- */

enum { VECTORS = CODES_STEP / WEFT_LANES }; /* of floats in a step */

/* A step of a row of which n numbers are left; what is not there is 0. */
VEC_INLINE void load_step(size_t n, const float *x, f32v v[VECTORS]) {
  VEC_FOR(i, VECTORS) {
    size_t at = (size_t)i * WEFT_LANES;
    v[i] = n >= CODES_STEP ? f32v_load(x + at)
           : at < n        ? f32v_load_upto(x + at, n - at)
                           : f32v_splat(0);
  }
}

/* The bits of the largest |x|: numbers that are not finite have the largest. */
static int32_t largest_bits(size_t n, const float *x) {
  i32v most = i32v_splat(0);
  for (size_t i = 0; i < n; i += CODES_STEP) {
    f32v v[VECTORS];
    load_step(n - i, x + i, v);
    VEC_FOR(j, VECTORS) most = i32v_max(most, (i32v)f32v_abs(v[j]));
  }
  int32_t result = 0;
  VEC_FOR(i, WEFT_LANES) result = most[i] > result ? most[i] : result;
  return result;
}

/* The starts of a step and of its halves. Of each product 16 bits count. */
VEC_INLINE void store_starts(int32_t zero, const i32v v[VECTORS], char *to) {
  typedef int32_t four __attribute__((vector_size(16)));
  typedef int16_t eight __attribute__((vector_size(16)));
  typedef int16_t starts __attribute__((vector_size(2 * CODES_START)));
#if WEFT_LANES == 8
  four first = __builtin_shufflevector(v[0], v[0], 0, 1, 2, 3) +
               __builtin_shufflevector(v[0], v[0], 4, 5, 6, 7);
  four second = __builtin_shufflevector(v[1], v[1], 0, 1, 2, 3) +
                __builtin_shufflevector(v[1], v[1], 4, 5, 6, 7);
#else
  four first = v[0] + v[1], second = v[2] + v[3];
#endif
  four sums = __builtin_shufflevector(first, second, 0, 2, 4, 6) +
              __builtin_shufflevector(first, second, 1, 3, 5, 7);
  eight products = (eight)(sums * -zero);
  starts halves = __builtin_shufflevector(products, products, 0, 2, 4, 6);
  starts whole = halves + __builtin_shufflevector(halves, halves, 2, 3, 0, 1);
  __builtin_memcpy(to, &whole, CODES_START);
  __builtin_memcpy(to + CODES_START, &halves, sizeof halves);
}

/* Writes a step's codes, which fit a byte. */
VEC_INLINE void store_codes(bool words, const i32v v[VECTORS], char *to) {
  VEC_FOR(i, VECTORS / 2) {
    i16v pair = i16v_narrow(words ? i32v_swap_middle(v[2 * i]) : v[2 * i],
                            words ? i32v_swap_middle(v[2 * i + 1]) : v[2 * i + 1]);
    if (words) {
      __builtin_memcpy(to + (size_t)i * sizeof pair, &pair, sizeof pair);
    } else {
      i16v_store_bytes(pair, to + (size_t)i * sizeof pair / 2);
    }
  }
}

/* Rounds n numbers to codes, by steps; sums[0] gets the sum of codes 0 and 1 of the groups, sums[1]
 * of 2 and 3. Adding 1.5 x 2^23 rounds to a whole number, which is then the difference of the bits.
 */
VEC_INLINE char *round_codes(dot_form form, int32_t zero, size_t n, const float *x, float scale,
                             char *to, int32_t sums[2]) {
  const f32v magic = F32V_CONST(0x1.8p23f), factor = f32v_splat(scale);
  const size_t step = codes_row_step(form);
  i32v sum = i32v_splat(0);
  for (size_t i = 0; i < n; i += CODES_STEP, to += step) {
    f32v v[VECTORS];
    i32v codes[VECTORS];
    load_step(n - i, x + i, v);
    VEC_FOR(j, VECTORS) {
      codes[j] = (i32v)(v[j] * factor + magic) - (i32v)magic;
      sum += codes[j];
    }
    if (form == DOT_SHORT) store_starts(zero, codes, to);
    store_codes(form == DOT_WORDS, codes, to + (form == DOT_SHORT ? CODES_STARTS : 0));
  }
  VEC_FOR(i, WEFT_LANES) sums[i / 2 % 2] += sum[i];
  return to;
}

/* What the sums of a block start from (codes.h). */
static int32_t start_of(weft_code_format format, int32_t zero, const int32_t sums[2]) {
  dot_form form = codes_form(format);
  if (form != DOT_PAIRS || format.block / CODES_STEP > codes_steps_at_once(form, format.bits))
    return -zero * (sums[0] + sums[1]);
  return (int32_t)((uint32_t)(-zero * sums[1]) << 16 | ((uint32_t)(-zero * sums[0]) & 0xFFFF));
}

/* A block of a row, of which n numbers are there. */
VEC_INLINE void quantize_block(dot_form form, weft_code_format format, size_t n, const float *x,
                               char *to) {
  char *codes = to + codes_row_start(form), *end = to + codes_row_block(format) - CODES_END;
  int32_t zero = (int32_t)(format.zero - codes_flip(format));
  int32_t sums[2] = {0}, bits = largest_bits(n, x);
  float largest, ends[2];
  __builtin_memcpy(&largest, &bits, sizeof largest);
  ends[0] = largest / 127;
  if (largest >= WEFT_CODES_LEAST && largest - largest == 0)
    codes = round_codes(form, zero, n, x, 127 / largest, codes, sums);
  else
    ends[0] = largest - largest; /* 0, or NaN */
  if (codes < end) memset(codes, 0, (size_t)(end - codes));
  int32_t start = start_of(format, zero, sums);
  ends[1] = ends[0] * (float)(sums[0] + sums[1]);
  if (form != DOT_SHORT) __builtin_memcpy(to, &start, sizeof start);
  __builtin_memcpy(end, ends, sizeof ends);
}

VEC_INLINE void quantize_rows(dot_form form, const weft_quantize_rows_args *args) {
  size_t block = args->format.block, bytes = codes_row_block(args->format);
  for (size_t row = 0; row < args->m; row++) {
    char *to = (char *)args->to + row * WEFT_KERNEL_NAME(codes_row_bytes)(args->format, args->k);
    for (size_t k = 0; k < args->k; k += block, to += bytes)
      quantize_block(form, args->format, args->k - k < block ? args->k - k : block,
                     args->x + row * args->ldx + k, to);
  }
}

void WEFT_KERNEL_NAME(quantize_rows)(const weft_quantize_rows_args *args) {
  dot_form form = codes_form(args->format);
  if (form == DOT_SHORT)
    quantize_rows(DOT_SHORT, args);
  else if (form == DOT_WORDS)
    quantize_rows(DOT_WORDS, args);
  else
    quantize_rows(WEFT_DOT_FORM, args);
}
