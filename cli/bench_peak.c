/* bench_peak.c - see bench_peak.h. */
#include "bench_peak.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Each of several threads works until the time is over and counts; rates add up. */
enum { ROUNDS = 4 };
static const double round_ms = 5;

/* ---- multiply-adds --------------------------------------------------------------------------- */

/* Enough independent sums to hide a latency of 4 to 5 cycles at two multiply-adds a cycle. */
enum { SUMS = 12, STEPS = 20000 };

#if defined __x86_64__
#include <immintrin.h>

__attribute__((target("avx2,fma"))) static float multiply_add_avx2(float factor) {
  __m256 sums[SUMS], a = _mm256_set1_ps(factor);
  for (int i = 0; i < SUMS; i++) sums[i] = _mm256_set1_ps((float)i);
  for (int s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++) sums[i] = _mm256_fmadd_ps(sums[i], a, a);
  }
  for (int i = 1; i < SUMS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  return _mm256_cvtss_f32(sums[0]);
}
#endif

typedef float f32x4 __attribute__((vector_size(16)));

/* One instruction each where the target has it at 128 bits (NEON); elsewhere two. */
static float multiply_add_vec(float factor) {
  f32x4 sums[SUMS], a = {factor, factor, factor, factor};
  for (int i = 0; i < SUMS; i++) sums[i] = a + (float)i;
  for (int s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * a + a;
  }
  for (int i = 1; i < SUMS; i++) sums[0] += sums[i];
  return sums[0][0];
}

/* Does STEPS * SUMS multiply-adds on `lanes` numbers. */
typedef struct multiplier {
  float (*run)(float factor);
  double lanes;
} multiplier;

static multiplier best_multiplier(void) {
#if defined __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return (multiplier){multiply_add_avx2, 8};
#endif
  return (multiplier){multiply_add_vec, 4};
}

/* Floating-point operations per ns. */
static double multiply_rate(const void *unused, size_t bytes) {
  (void)unused, (void)bytes;
  volatile float factor = 0.999f, kept; /* so that the work is neither known nor useless */
  multiplier work = best_multiplier();
  double start = now_ms(), ms, done = 0;
  do {
    kept = work.run(factor);
    (void)kept;
    done += 2 * (double)(STEPS * SUMS) * work.lanes;
    ms = now_ms() - start;
  } while (ms < round_ms);
  return done / ms * 1e-6;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Beyond the caches of large servers' processors, as far as a few ms allow. */
static const size_t memory_bytes = (size_t)128 << 20;

typedef uint64_t u64x2 __attribute__((vector_size(16)));

/* Bytes read per ns, each once. */
static double read_rate(const void *memory, size_t bytes) {
  const u64x2 *at = memory, *end = at + bytes / sizeof *at / 8 * 8;
  u64x2 sums[8] = {{0}};
  double start = now_ms();
  for (; at < end; at += 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sums[i] ^= at[i];
  }
  double ms = now_ms() - start;
  for (int i = 1; i < 8; i++) sums[0] ^= sums[i];
  volatile uint64_t kept = sums[0][0];
  (void)kept;
  return (double)bytes / ms * 1e-6;
}

/* ---- all threads at once --------------------------------------------------------------------- */

typedef struct share {
  pthread_t thread;
  double (*measure)(const void *memory, size_t bytes);
  const char *memory;
  size_t bytes;
  double rate;
} share;

static void *work_share(void *arg) {
  share *s = arg;
  s->rate = s->measure(s->memory, s->bytes);
  return NULL;
}

/* The sum of the threads' rates, once; each gets its part of the memory. */
static double measure_once(share *shares, uint64_t threads) {
  uint64_t started = 1;
  while (started < threads &&
         pthread_create(&shares[started].thread, NULL, work_share, &shares[started]) == 0)
    started++;
  work_share(&shares[0]);
  double sum = shares[0].rate;
  for (uint64_t i = 1; i < started; i++) {
    pthread_join(shares[i].thread, NULL);
    sum += shares[i].rate;
  }
  return sum;
}

static double measure(double (*rate)(const void *, size_t), const char *memory, size_t bytes,
                      uint64_t threads) {
  share *shares = calloc(threads, sizeof *shares);
  double best = 0;
  if (!shares) return 0;
  size_t part = bytes / threads / 64 * 64;
  for (uint64_t i = 0; i < threads; i++)
    shares[i] =
        (share){.measure = rate, .memory = memory ? memory + i * part : NULL, .bytes = part};
  for (int round = 0; round < ROUNDS; round++) {
    double sum = measure_once(shares, threads);
    if (sum > best) best = sum;
  }
  free(shares);
  return best;
}

machine_peak machine_peak_measure(uint64_t threads) {
  machine_peak peak = {.gflops = measure(multiply_rate, NULL, 0, threads)};
  char *memory = malloc(memory_bytes);
  if (!memory) return peak;
  memset(memory, 1, memory_bytes); /* else every page is the same page of zeros */
  peak.gb_per_s = measure(read_rate, memory, memory_bytes, threads);
  free(memory);
  return peak;
}
