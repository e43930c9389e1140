/* codes.h - how weights of few bits, and the rows of A that they are multiplied by, lie in memory:
 * what codes_pack.c writes and codes.c reads.
 *
 * k goes in steps of 16, a step in groups of 4. A byte vector has the codes of a group for
 * WEFT_LANES columns, four bytes to each; with fewer than 8 bits, those of several groups, one
 * above the other in each byte ("planes"). A step of a vector of columns is bits / 2 byte vectors.
 *
 *   panel, per block:  per step [2 vectors of columns][bits / 2] byte vectors
 *                      scales [WEFT_GEMM_COLUMNS], offsets if the format has them
 *   row, per block:    int32 start = -zero x the sum of the codes, codes [block], float scale,
 *                      float scale x the sum of the codes. For DOT_PAIRS, where 16 bits hold the
 *                      sums, start is two int16: of codes 0 and 1 of the groups, of 2 and 3.
 *   row, DOT_SHORT:    per step three such starts, of all of it and of its halves, and the codes;
 *                      then the floats
 *   panel, DOT_SHORT:  behind the scales of a block a vector of bytes, not 0 if 16 bits hold the
 *                      sums of whole steps
 *
 * In rows, codes are bytes, or for DOT_WORDS 16-bit numbers, each group in the order 0, 2, 1, 3 in
 * which weights come out of 16-bit lanes: low bytes, then high bytes. */
#ifndef WEFT_KERNELS_CODES_H
#define WEFT_KERNELS_CODES_H

#include "kernels/target.h"
#include "kernels/vec_dot.h"

enum {
  CODES_STEP = 16,
  CODES_VECTOR = WEFT_LANES * 4, /* bytes */
  CODES_COLUMNS = WEFT_GEMM_COLUMNS,
  CODES_START = sizeof(int32_t),  /* bytes of a row's block before its codes */
  CODES_STARTS = 3 * CODES_START, /* or of a step, in short form */
  CODES_END = 2 * sizeof(float)   /* and behind them */
};
_Static_assert(CODES_COLUMNS == 2 * WEFT_LANES, "a panel is two vectors wide");

VEC_INLINE dot_form codes_form(weft_code_format format) {
  if (format.bits < 8) return WEFT_DOT_FORM;
  if (WEFT_DOT_FORM == DOT_PAIRS) return format.narrow && vec_pairs_probe() ? DOT_SHORT : DOT_WORDS;
  return vec_dot_probe() == DOT_SEVEN_BITS ? DOT_WORDS : WEFT_DOT_FORM;
}

/* What 8-bit codes are XORed with so that they are what i32v_dot_i8 takes: signed ones are 128 less
 * than the codes, and so is their zero. */
VEC_INLINE uint32_t codes_flip(weft_code_format format) {
  bool flip = format.bits == 8 && codes_form(format) == DOT_WHOLE && vec_dot_probe() == DOT_SIGNED;
  return flip ? 0x80 : 0;
}

/* Steps whose sums 16 bits hold: 2 x 127 x 15 x 8 groups, 2 x 127 x 3 x 32 groups. A block of no
 * more starts its sums there. */
VEC_INLINE size_t codes_steps_at_once(dot_form form, uint32_t bits) {
  return form != DOT_PAIRS ? SIZE_MAX : bits == 4 ? 2 : 8;
}

VEC_INLINE size_t codes_blocks(weft_code_format format, size_t k) {
  return (k + format.block - 1) / format.block;
}
/* the codes of a block of a panel */
VEC_INLINE size_t codes_panel_codes(weft_code_format format) {
  return (size_t)format.block * format.bits / 8 * CODES_COLUMNS;
}
/* and what is behind them */
VEC_INLINE size_t codes_panel_end(dot_form form, bool has_offsets) {
  return (has_offsets ? 2u : 1u) * CODES_COLUMNS * sizeof(float) +
         (form == DOT_SHORT ? CODES_VECTOR : 0);
}
VEC_INLINE size_t codes_panel_block(weft_code_format format) {
  return codes_panel_codes(format) + codes_panel_end(codes_form(format), format.has_offsets);
}
/* a step of a row */
VEC_INLINE size_t codes_row_step(dot_form form) {
  return form == DOT_WORDS ? 2 * CODES_STEP : CODES_STEP + (form == DOT_SHORT ? CODES_STARTS : 0);
}
/* what a row's block has before its steps */
VEC_INLINE size_t codes_row_start(dot_form form) {
  return form == DOT_SHORT ? 0 : CODES_START;
}
VEC_INLINE size_t codes_row_block(weft_code_format format) {
  dot_form form = codes_form(format);
  return codes_row_start(form) + format.block / CODES_STEP * codes_row_step(form) + CODES_END;
}

#endif
