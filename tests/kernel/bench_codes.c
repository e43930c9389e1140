/* bench_codes.c - the speed of products with weights of few bits, as an int8 runtime counts it: two
 * operations per weight and row. */
#include "base/memory.h"
#include "tests/kernel/bench.h"

enum { CODES, PANELS, X, ROWS, C }; /* slots */

static weft_code_format format; /* of what is being timed */

/* A line, without its end: `work` per second in units of 1e9. The reference is left out: slow. */
static void print_speed(const weft_kernels *t, const char *kernel, const char *shape, double work,
                        const char *unit, double seconds) {
  print_padded(t->target, 12), print_padded(kernel, 16), print_padded(shape, 20);
  print_number(work / seconds * 1e-9, 8, 2), print_text(" "), print_padded(unit, 8);
}

static size_t panel_bytes(const call *c) {
  return c->target->codes_panel_bytes(format, c->k);
}

static void run_pack_codes(const call *c) {
  size_t blocks = (c->k + format.block - 1) / format.block;
  for (size_t j = 0; j < c->n; j += c->target->gemm_columns)
    c->target->pack_codes(&(weft_pack_codes_args){
        .format = format,
        .k = c->k,
        .columns = c->target->gemm_columns,
        .codes = host_slot(CODES) + j * c->k,
        .codes_stride = c->k,
        .scales = bench_memory(C) + j * blocks,
        .offsets = format.has_offsets ? bench_memory(C) + j * blocks : NULL,
        .scales_stride = blocks,
        .to = host_slot(PANELS) + j / c->target->gemm_columns * panel_bytes(c)});
}

static void run_unpack(const call *c) {
  for (size_t j = 0; j < c->n; j += c->target->gemm_columns)
    c->target->unpack_codes(&(weft_unpack_codes_args){
        .format = format,
        .count = c->k,
        .panel = host_slot(PANELS) + j / c->target->gemm_columns * panel_bytes(c),
        .to = bench_memory(C)});
}

static void run_quantize(const call *c) {
  c->target->quantize_rows(&(weft_quantize_rows_args){.format = format,
                                                      .m = c->m,
                                                      .k = c->k,
                                                      .x = bench_memory(X),
                                                      .ldx = c->k,
                                                      .to = host_slot(ROWS)});
}

/* One row takes all panels in one call; else a cache line of columns, of narrow codes four panels,
 * stays near while the rows pass in blocks. */
static void run_gemm_codes(const call *c) {
  const weft_kernels *t = c->target;
  size_t few = format.narrow ? 4 * t->gemm_columns : 16;
  size_t columns = c->m == 1 ? c->n : few, row_bytes = t->codes_row_bytes(format, c->k);
  for (size_t j = 0; j < c->n; j += columns)
    for (size_t i = 0; i < c->m; i += t->codes_rows)
      t->gemm_codes(
          &(weft_gemm_codes_args){.format = format,
                                  .m = c->m - i < t->codes_rows ? c->m - i : t->codes_rows,
                                  .n = columns,
                                  .k = c->k,
                                  .a = host_slot(ROWS) + i * row_bytes,
                                  .b = host_slot(PANELS) + j / t->gemm_columns * panel_bytes(c),
                                  .b_panel = panel_bytes(c),
                                  .c = bench_memory(C) + i * c->n + j,
                                  .ldc = c->n});
}

#define WEFT_TARGET_ENTRY(name, features)                                                          \
  int32_t weft_dot_peak_##name(size_t steps, const uint32_t *operands);
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY

static int32_t (*dot_peak)(size_t steps, const uint32_t *operands); /* of the target */

static void run_peak(const call *c) {
  static const uint32_t operands[] = {0x01020304, 0x04030201};
  static volatile int32_t sink;
  sink = dot_peak(c->n, operands);
  (void)sink;
}

/* Operations per second of dot products on registers only. */
static double peak_of(const weft_kernels *t) {
#define WEFT_TARGET_ENTRY(name, features)                                                          \
  if (strcmp(t->target, #name) == 0) dot_peak = weft_dot_peak_##name;
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY
  call c = {.run = run_peak, .n = 2000};
  return 96.0 * (double)(t->gemm_columns / 2 * c.n) / best_seconds(&c);
}

static call prepare(const weft_kernels *t, size_t m, size_t k, size_t n) {
  call c = {.target = t, .m = m, .k = k, .n = n};
  for (size_t i = 0; i < n * k; i++)
    host_slot(CODES)[i] = (uint8_t)(random_u32() & ((1u << (format.narrow ? 7 : format.bits)) - 1));
  fill_floats(FILL_SMALL, n * ((k + format.block - 1) / format.block), bench_memory(C));
  fill_floats(FILL_SMALL, m * k, bench_memory(X));
  run_pack_codes(&c), run_quantize(&c);
  return c;
}

void bench_gemm_codes(const weft_kernels *t, const char *kernel, weft_gemm_codes_fn *f,
                      weft_gemm_codes_fn *reference) {
  if (f == reference) return;
  static const struct {
    weft_code_format format;
    size_t m, k, n;
    const char *shape;
  } cases[] = {{{4, 8, 32, false, false}, 1, 2048, 2048, "1x2048x2048 4b32"},
               {{4, 8, 32, false, false}, 2, 2048, 2048, "2x2048x2048 4b32"},
               {{4, 8, 32, false, false}, 4, 512, 16, "4x512x16 4b32"},
               {{4, 8, 32, false, false}, 128, 2048, 2048, "128x2048x2048 4b32"},
               {{4, 8, 32, true, false}, 128, 2048, 2048, "128x2048x2048 4b32+"},
               {{4, 8, 128, false, false}, 1, 2048, 2048, "1x2048x2048 4b128"},
               {{4, 8, 128, false, false}, 128, 2048, 2048, "128x2048x2048 4b128"},
               {{4, 8, 16, false, false}, 128, 2048, 2048, "128x2048x2048 4b16"},
               {{2, 2, 64, false, false}, 1, 2048, 2048, "1x2048x2048 2b64"},
               {{2, 2, 64, false, false}, 128, 2048, 2048, "128x2048x2048 2b64"},
               {{8, 128, 32, false, false}, 128, 2048, 1024, "128x2048x1024 8b32"},
               {{8, 128, 2048, false, false}, 1, 2048, 1024, "1x2048x1024 8bK"},
               {{8, 128, 2048, false, false}, 128, 2048, 1024, "128x2048x1024 8bK"},
               {{8, 64, 2048, false, true}, 1, 2048, 1024, "1x2048x1024 7bK"},
               {{8, 64, 192, false, true}, 128, 384, 1152, "128x384x1152 7b192"},
               {{8, 64, 2048, false, true}, 128, 2048, 1024, "128x2048x1024 7bK"}};
  double peak = peak_of(t);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    format = cases[i].format;
    call c = prepare(t, cases[i].m, cases[i].k, cases[i].n);
    c.run = run_gemm_codes;
    double seconds = best_seconds(&c);
    double work = 2.0 * (double)(c.m * c.k * c.n);
    print_speed(t, kernel, cases[i].shape, work, "GOP/s", seconds);
    print_number(work / seconds / peak * 100, 6, 1), print_text(" % of peak");
    print_number((double)(panel_bytes(&c) * c.n / t->gemm_columns) / seconds * 1e-9, 6, 1);
    print_text(" GB/s of weights\n");
  }
}

/* The others on a matrix of 2048 x 256, as GB/s of floats. */
static void bench_floats(const weft_kernels *t, const char *kernel, void (*run)(const call *c)) {
  format = (weft_code_format){4, 8, 32, false, false};
  call c = prepare(t, 16, 2048, 256);
  c.run = run;
  double values = (double)(run == run_quantize ? c.m * c.k : c.n * c.k);
  print_speed(t, kernel, "4b32", values * sizeof(float), "GB/s", best_seconds(&c));
  print_text("\n");
}

void bench_pack_codes(const weft_kernels *t, const char *kernel, weft_pack_codes_fn *f,
                      weft_pack_codes_fn *reference) {
  if (f != reference) bench_floats(t, kernel, run_pack_codes);
}
void bench_unpack_codes(const weft_kernels *t, const char *kernel, weft_unpack_codes_fn *f,
                        weft_unpack_codes_fn *reference) {
  if (f != reference) bench_floats(t, kernel, run_unpack);
}
void bench_quantize_rows(const weft_kernels *t, const char *kernel, weft_quantize_rows_fn *f,
                         weft_quantize_rows_fn *reference) {
  if (f != reference) bench_floats(t, kernel, run_quantize);
}
