/* host_wasm.c - the kernel test in a wasm engine: run-wasm.mjs gives it a way to print and a clock.
 */
#include "tests/kernel/check.h"

__attribute__((import_module("env"), import_name("write"))) void import_write(const char *text,
                                                                              size_t bytes);
__attribute__((import_module("env"), import_name("seconds"))) double import_seconds(void);

void host_write(const char *text, size_t bytes) {
  import_write(text, bytes);
}
double host_seconds(void) {
  return import_seconds();
}
uint32_t host_features(void) {
  return WEFT_CPU_DOT; /* whatever the engine does best, all that it can do */
}
void host_tests(void) {}

unsigned char *host_slot(unsigned index) {
  static _Alignas(64) unsigned char slots[SLOTS][SLOT_BYTES];
  return slots[index];
}

/* 64 bytes for the name of the kernels to be run, which the caller fills before run() */
static char only[64];
__attribute__((export_name("only"))) char *only_address(void) {
  return only;
}
__attribute__((export_name("run"))) int run(int bench, int errors) {
  return run_tests(bench != 0, errors != 0, only[0] ? only : NULL);
}
