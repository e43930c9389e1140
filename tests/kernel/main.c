/* main.c - runs every kernel of kernels.inc in every target that this build and processor have:
 * checks it against the reference, or times it. */
#include "base/memory.h"
#include "tests/kernel/check.h"

static bool contains(const char *text, const char *part) {
  if (part == NULL) return true;
  for (size_t n = strlen(part); strlen(text) >= n; text++)
    if (memcmp(text, part, n) == 0) return true;
  return false;
}

static void check_target(const weft_kernels *target, const weft_kernels *reference, bool errors,
                         const char *only) {
#define WEFT_KERNEL(family, name, tolerance)                                                       \
  if (contains(#name, only)) {                                                                     \
    largest_error = 0;                                                                             \
    check_##family(target, #name, target->name, reference->name, tolerance);                       \
    if (errors) {                                                                                  \
      print_padded(target->target, 10), print_padded(#name, 18);                                   \
      print_number(largest_error, 8, 2), print_text(" of " #tolerance " ulp\n");                   \
    }                                                                                              \
  }
#include "kernels/kernels.inc"
#undef WEFT_KERNEL
}

static void bench_target(const weft_kernels *target, const weft_kernels *reference,
                         const char *only) {
#define WEFT_KERNEL(family, name, tolerance)                                                       \
  if (contains(#name, only)) bench_##family(target, #name, target->name, reference->name);
#include "kernels/kernels.inc"
#undef WEFT_KERNEL
}

int run_tests(bool bench, bool errors, const char *only) {
  const weft_kernels *reference = weft_kernels_find("reference", 0), *target;
  for (size_t i = 0; (target = weft_kernels_at(i, host_features())) != NULL; i++) {
    if (bench)
      bench_target(target, reference, only);
    else if (target != reference)
      check_target(target, reference, errors, only);
  }
  if (bench) return 0;
  host_tests();
  print_number(passed, 0, 0), print_text(" passed, ");
  print_number(failed, 0, 0), print_text(" failed\n");
  return failed > 0 || passed == 0;
}
