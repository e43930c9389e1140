/* host_native.c - the kernel test on Linux: slots end at a page that faults, and the reference is
 * checked against libm, which nothing else may use. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/host.h"
#include "tests/kernel/check.h"

void host_write(const char *text, size_t bytes) {
  fwrite(text, 1, bytes, stdout);
}

double host_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint32_t host_features(void) {
  return weft_host_cpu_features();
}

unsigned char *host_slot(unsigned index) {
  static unsigned char *slots[SLOTS];
  if (slots[index] == NULL) {
    size_t page = 65536;
    slots[index] =
        mmap(NULL, SLOT_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(slots[index] + SLOT_BYTES, page, PROT_NONE);
  }
  return slots[index];
}

/* ---- the reference against libm
 * ------------------------------------------------------------------ */

static double rsqrt(double x) {
  return 1 / sqrt(x);
}
static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}
static double silu(double x) {
  return x / (1 + exp(-x));
}
static double softplus(double x) {
  return isnan(x) ? x : fmax(x, 0) + log1p(exp(-fabs(x)));
}
static double gelu_erf(double x) {
  return x * erfc(x * -0.70710678118654752440) * 0.5;
}
static double gelu_tanh(double x) {
  return x * sigmoid(1.59576912160573071176 * (x + 0.044715 * x * x * x));
}

static void against_libm(const char *name, weft_unary_f32_fn *f, double (*g)(double)) {
  float x[256], y[256];
  double worst = 0, at = 0;
  for (int round = 0; round < 400; round++) {
    fill_floats((fill)(round % FILL_KINDS), 256, x);
    f(256, x, y);
    for (int i = 0; i < 256; i++) {
      float want = (float)g((double)x[i]);
      double error = error_ulp(y[i], want, 0);
      if (error > worst) worst = error, at = (double)x[i];
    }
  }
  expect(worst <= 1, "reference", name, "against libm, ulp and x:", worst, at);
}

/* pow over pairs of everything special and random */
static void pow_against_libm(weft_binary_f32_fn *f) {
  double worst = 0, at = 0;
  float x[256], y[256], z[256];
  for (int round = 0; round < 400; round++) {
    fill_floats((fill)(round % FILL_KINDS), 256, x);
    fill_floats((fill)(round / FILL_KINDS % FILL_KINDS), 256, y);
    f(256, x, y, z);
    for (int i = 0; i < 256; i++) {
      double error = error_ulp(z[i], (float)pow((double)x[i], (double)y[i]), 0);
      if (error > worst) worst = error, at = (double)x[i];
    }
  }
  expect(worst <= 1, "reference", "pow_f32", "against libm, ulp and x:", worst, at);
}

void host_tests(void) {
  const weft_kernels *k = weft_kernels_find("reference", 0);
  const struct {
    const char *name;
    weft_unary_f32_fn *f;
    double (*g)(double);
  } table[] = {
#define AGAINST(name, g) {#name "_f32", k->name##_f32, g}
      AGAINST(abs, fabs),          AGAINST(sqrt, sqrt),
      AGAINST(rsqrt, rsqrt),       AGAINST(floor, floor),
      AGAINST(ceil, ceil),         AGAINST(round, rint),
      AGAINST(trunc, trunc),       AGAINST(exp, exp),
      AGAINST(log, log),           AGAINST(erf, erf),
      AGAINST(tanh, tanh),         AGAINST(sigmoid, sigmoid),
      AGAINST(silu, silu),         AGAINST(softplus, softplus),
      AGAINST(gelu_erf, gelu_erf), AGAINST(gelu_tanh, gelu_tanh),
      AGAINST(sin, sin),           AGAINST(cos, cos),
      AGAINST(tan, tan),           AGAINST(asin, asin),
      AGAINST(acos, acos),         AGAINST(atan, atan),
      AGAINST(sinh, sinh),         AGAINST(cosh, cosh),
      AGAINST(asinh, asinh),       AGAINST(acosh, acosh),
      AGAINST(atanh, atanh)};
#undef AGAINST
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    against_libm(table[i].name, table[i].f, table[i].g);
  pow_against_libm(k->pow_f32);
}

int main(int count, char **arguments) {
  bool bench = false, errors = false;
  const char *only = NULL;
  for (int i = 1; i < count; i++) {
    if (strcmp(arguments[i], "--bench") == 0)
      bench = true;
    else if (strcmp(arguments[i], "--errors") == 0)
      errors = true;
    else
      only = arguments[i];
  }
  return run_tests(bench, errors, only);
}
