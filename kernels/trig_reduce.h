/* trig_reduce.h - x modulo pi/2 for any float, exactly, in integers: for the reference always, for
 * the vector kernels in the rare lanes that are too large for the short way. */
#ifndef WEFT_KERNELS_TRIG_REDUCE_H
#define WEFT_KERNELS_TRIG_REDUCE_H

#include <stdint.h>

/* x = (quadrant + 4 j) * pi/2 + r with |r| <= pi/4: returns r, correct to 1e-18 absolute; 1/4 <=
 * |x| < infinity. With |x| = m 2^e and m of 24 bits, bits of 2/pi worth 2^(2-e) and more contribute
 * multiples of 4 to |x| 2/pi and are skipped; of the rest 96 bits suffice. */
static inline double weft_reduce_half_pi(float x, unsigned *quadrant) {
  /* 2/pi in binary, after 32 zero bits */
  static const uint32_t two_over_pi[] = {0,          0xA2F9836E, 0x4E441529, 0xFC2757D1,
                                         0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB};
  union {
    float f;
    uint32_t u;
  } bits = {.f = x};
  int e = (int)(bits.u >> 23 & 0xFF) - 150;
  uint64_t m = (bits.u & 0x7FFFFF) | 0x800000;
  unsigned from = (unsigned)(e - 2 + 32), word = from / 32, shift = from % 32;
  uint32_t w[3];
  for (unsigned i = 0; i < 3; i++) {
    uint64_t pair = (uint64_t)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
    w[i] = (uint32_t)(pair << shift >> 32);
  }
  /* the product modulo 2^96, without its lowest 32 bits; its unit is 2^-62 quarter turns */
  uint64_t product = (m * w[0] << 32) + m * w[1] + (m * w[2] >> 32);
  uint64_t turns = (product + (1ull << 61)) >> 62;
  double r =
      (double)(int64_t)(product - (turns << 62)) * (1.5707963267948966 / 4611686018427387904.0);
  *quadrant = (unsigned)(x < 0 ? 4 - turns : turns) & 3;
  return x < 0 ? -r : r;
}

#endif
