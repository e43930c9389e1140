/* fma_peak.c - the limit of f32 arithmetic on 128-bit vectors, as wasm has them: fused
 * multiply-adds on registers alone, on one thread. Prints GFLOP/s, the best of several short runs.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <time.h>

typedef float f32x4 __attribute__((vector_size(16)));

/* Enough independent sums to hide the latency of 4 to 5 cycles at two fused multiply-adds a cycle.
 */
enum { SUMS = 12, STEPS = 2000000 };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* With -ffp-contract=fast, a * b + c on vectors is one instruction. */
static float multiply_add(f32x4 a, f32x4 b) {
  f32x4 sum[SUMS];
  for (int i = 0; i < SUMS; i++) sum[i] = a + (float)i;
  for (int s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++) sum[i] = sum[i] * a + b;
  }
  f32x4 total = sum[0];
  for (int i = 1; i < SUMS; i++) total += sum[i];
  return total[0] + total[1] + total[2] + total[3];
}

int main(void) {
  double best = 0;
  volatile float input = 0.999f, output = 0;
  for (int run = 0; run < 15; run++) {
    f32x4 a = {input, input, input, input};
    double start = seconds();
    output = output + multiply_add(a, a);
    double gflops = 2.0 * 4 * SUMS * STEPS / (seconds() - start) * 1e-9;
    if (gflops > best) best = gflops;
  }
  printf("%.2f\n", best);
  return 0;
}
