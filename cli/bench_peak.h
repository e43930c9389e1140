/* bench_peak.h - what the machine does at most, as a measure for what a model does. */
#ifndef WEFT_CLI_BENCH_PEAK_H
#define WEFT_CLI_BENCH_PEAK_H

#include <stdint.h>

typedef struct machine_peak {
  double gflops;   /* fused multiply-adds in f32, on registers alone */
  double gb_per_s; /* reading memory that no cache holds */
} machine_peak;

/* All threads at once, for some 50 ms. Members that could not be measured are 0. */
machine_peak machine_peak_measure(uint64_t threads);

#endif
