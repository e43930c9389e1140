/* check.h - what the parts of the kernel test share: the host below it, buffers that notice
 * strangers, numbers to feed in, the comparison. main.c runs families.c (correctness) or bench.c
 * (speed). */
#ifndef WEFT_TESTS_KERNEL_CHECK_H
#define WEFT_TESTS_KERNEL_CHECK_H

#include "kernels/kernels.h"

/* ---- the host: host_native.c or host_wasm.c
 * ------------------------------------------------------ */

void host_write(const char *text, size_t bytes);
double host_seconds(void); /* of the processor's time where the host can tell */
uint32_t host_features(void);
/* Memory whose end faults when it is passed, if the host can; for slot `index` < SLOTS. */
enum { SLOTS = 8, SLOT_BYTES = 8 << 20 };
unsigned char *host_slot(unsigned index);
/* The tests that only the host can do (the reference against libm). */
void host_tests(void);

/* ---- output
 * -------------------------------------------------------------------------------------- */

void print_text(const char *text);
void print_padded(const char *text, unsigned width);
void print_number(double x, unsigned width, unsigned decimals);

/* ---- counts
 * -------------------------------------------------------------------------------------- */

extern unsigned passed, failed;
/* Counts one check, and reports a failed one as "target kernel: detail a b", a and b numbers that
 * say which case. */
void expect(bool ok, const char *target, const char *kernel, const char *detail, double a,
            double b);

/* ---- buffers
 * ------------------------------------------------------------------------------------- */

/* `bytes` bytes that end where the slot ends, as far as `alignment` allows, between guard bytes. */
void *slot_place(unsigned slot, size_t bytes, size_t alignment);
/* Whether no guard byte of the slot has changed since. */
bool slot_intact(unsigned slot);

/* ---- inputs
 * -------------------------------------------------------------------------------------- */

uint32_t random_u32(void);
float random_range(float low, float high);
typedef enum fill { FILL_SMALL, FILL_WIDE, FILL_BITS, FILL_SPECIAL, FILL_KINDS } fill;
/* numbers in [-1, 1]; in [-20, 20]; any bits; NaN, infinities, zeros, denormals, halves ... in turn
 */
void fill_floats(fill kind, size_t n, float *x);

/* ---- comparison
 * ---------------------------------------------------------------------------------- */

/* |got - want| in units of the last place of max(|want|, magnitude); NaN equals NaN, an infinity
 * counts as 2^128, and results below the normal floats may be any of those. */
double error_ulp(float got, float want, double magnitude);
bool same_bits(float a, float b); /* NaN equals NaN */

/* ---- the parts
 * ----------------------------------------------------------------------------------- */

#define WEFT_KERNEL(family, name, tolerance)                                                       \
  void check_##family(const weft_kernels *target, const char *kernel, weft_##family##_fn *f,       \
                      weft_##family##_fn *reference, double tolerance_ulp);                        \
  void bench_##family(const weft_kernels *target, const char *kernel, weft_##family##_fn *f,       \
                      weft_##family##_fn *reference);
#include "kernels/kernels.inc"
#undef WEFT_KERNEL

/* The largest error that each kernel has shown, for --errors. */
extern double largest_error;
/* Runs everything; options: bench, errors, only kernels whose name contains `only` (NULL: all). */
int run_tests(bool bench, bool errors, const char *only);

#endif
