/* bench.c - the speed of every kernel: the best of many short runs, as GB/s of what is read and
 * written or as GFLOP/s, next to the reference's, and for matrix products next to the peak of the
 * target's multiply-add (peak.c). */
#include "base/memory.h"
#include "tests/kernel/check.h"

/* ---- timing
 * -------------------------------------------------------------------------------------- */

/* A kernel with its arguments. */
typedef struct call {
  void (*run)(const struct call *call);
  union {
    weft_unary_f32_fn *unary; /* row_f32 too */
    weft_binary_f32_fn *binary;
    weft_compare_f32_fn *compare;
    weft_select_f32_fn *select;
    weft_reduce_f32_fn *reduce;
    weft_convert_fn *convert;
    weft_norm_f32_fn *norm;
    weft_gemm_pack_f32_fn *pack;
    weft_gemm_f32_fn *gemm;
    weft_attention_f32_fn *attention;
    float (*peak)(size_t steps, const float *operands);
  } f;
  size_t m, n, k;
  size_t gemm_rows, gemm_columns; /* of the target */
  weft_attention_f32_args attention;
} call;

static float *bench_memory(unsigned slot) {
  return (float *)(void *)host_slot(slot);
}
static volatile float sink;

/* Seconds of one run: the least over a tenth of a second of batches of 1 ms. */
static double best_seconds(const call *c) {
  double start = host_seconds(), now = start, best = 1e30;
  size_t batch = 1;
  while (now - start < 0.1) {
    double from = host_seconds();
    for (size_t i = 0; i < batch; i++) c->run(c);
    now = host_seconds();
    if (now - from < 0.001)
      batch *= 2;
    else if ((now - from) / (double)batch < best)
      best = (now - from) / (double)batch;
  }
  return best;
}

static void report(const weft_kernels *t, const char *kernel, const char *shape, double work,
                   const char *unit, double seconds, double reference_seconds) {
  print_padded(t->target, 10), print_padded(kernel, 18), print_padded(shape, 20);
  print_number(work / seconds * 1e-9, 8, 2), print_text(" "), print_padded(unit, 8);
  print_number(reference_seconds / seconds, 8, 1), print_text(" x reference");
}

/* Times the target's and the reference's call, and prints GB/s of `bytes`. */
static void bench_bytes(const weft_kernels *t, const char *kernel, const call *c, const call *r,
                        size_t bytes) {
  report(t, kernel, "1024", (double)bytes, "GB/s", best_seconds(c), best_seconds(r));
  print_text("\n");
}

/* ---- elementwise, rows, conversions
 * -------------------------------------------------------------- */

enum { N = 1024 };

static void run_unary(const call *c) {
  c->f.unary(N, bench_memory(0), bench_memory(1));
}
static void run_binary(const call *c) {
  c->f.binary(N, bench_memory(0), bench_memory(2), bench_memory(1));
}
static void run_compare(const call *c) {
  c->f.compare(N, bench_memory(0), bench_memory(2), host_slot(1));
}
static void run_select(const call *c) {
  c->f.select(N, host_slot(3), bench_memory(0), bench_memory(2), bench_memory(1));
}
static void run_reduce(const call *c) {
  sink = c->f.reduce(N, bench_memory(0));
}
static void run_convert(const call *c) {
  c->f.convert(N, host_slot(0), host_slot(1));
}
static void run_norm(const call *c) {
  c->f.norm(N, bench_memory(0), bench_memory(2), bench_memory(2), 1e-5f, bench_memory(1));
}

static void fill_inputs(void) {
  fill_floats(FILL_SMALL, N, bench_memory(0));
  fill_floats(FILL_SMALL, N, bench_memory(2));
}

#define BENCH(family, member, bytes)                                                               \
  void bench_##family(const weft_kernels *t, const char *kernel, weft_##family##_fn *f,            \
                      weft_##family##_fn *reference) {                                             \
    fill_inputs();                                                                                 \
    call c = {.run = run_##member, .f.member = f},                                                 \
         r = {.run = run_##member, .f.member = reference};                                         \
    bench_bytes(t, kernel, &c, &r, bytes);                                                         \
  }
BENCH(unary_f32, unary, N * 8)
BENCH(row_f32, unary, N * 8)
BENCH(binary_f32, binary, N * 12)
BENCH(compare_f32, compare, N * 9)
BENCH(select_f32, select, N * 13)
BENCH(reduce_f32, reduce, N * 4)
BENCH(convert, convert, N * 6)
BENCH(norm_f32, norm, N * 16)

/* ---- matrix products
 * ----------------------------------------------------------------------------- */

#define WEFT_TARGET_ENTRY(name, features)                                                          \
  float weft_peak_##name(size_t steps, const float *operands);
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY

static void run_peak(const call *c) {
  sink = c->f.peak(c->n, bench_memory(0));
}

/* FLOP/s */
static double peak_of(const weft_kernels *t) {
  static const struct {
    const char *name;
    float (*peak)(size_t steps, const float *operands);
  } peaks[] = {
#define WEFT_TARGET_ENTRY(name, features) {#name, weft_peak_##name},
#include "kernels/targets.inc"
#undef WEFT_TARGET_ENTRY
  };
  size_t lanes = t->gemm_columns / 2, steps = 2000;
  for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++)
    if (strcmp(peaks[i].name, t->target) == 0)
      return 26.0 * (double)(lanes * steps) /
             best_seconds(&(call){.run = run_peak, .f.peak = peaks[i].peak, .n = steps});
  return 0;
}

static void report_flops(const weft_kernels *t, const char *kernel, const char *shape, double flops,
                         double seconds, double reference_seconds) {
  report(t, kernel, shape, flops, "GFLOP/s", seconds, reference_seconds);
  print_number(flops / seconds / peak_of(t) * 100, 6, 1), print_text(" % of peak\n");
}

static void run_pack(const call *c) {
  c->f.pack(c->k, c->n, bench_memory(0), (ptrdiff_t)c->n, 1, bench_memory(1));
}

void bench_gemm_pack_f32(const weft_kernels *t, const char *kernel, weft_gemm_pack_f32_fn *f,
                         weft_gemm_pack_f32_fn *reference) {
  fill_floats(FILL_SMALL, 384 * 384, bench_memory(0));
  call c = {.run = run_pack, .f.pack = f, .n = 384, .k = 384}, r = c;
  r.f.pack = reference;
  report(t, kernel, "384x384", 384 * 384 * 8, "GB/s", best_seconds(&c), best_seconds(&r));
  print_text("\n");
}

/* C [m][n] = A [m][k] x B: panel by panel, which stays in the cache, the rows in blocks of nearly
 * equal height; few rows take all panels in one call. */
static void run_gemm(const call *c) {
  size_t blocks = (c->m + c->gemm_rows - 1) / c->gemm_rows;
  size_t columns = c->m <= 2 ? c->n : c->gemm_columns;
  for (size_t column = 0; column < c->n; column += columns)
    for (size_t i = 0, row = 0, next; i < blocks; i++, row = next) {
      next = c->m * (i + 1) / blocks;
      c->f.gemm(&(weft_gemm_f32_args){.m = next - row,
                                      .n = columns,
                                      .k = c->k,
                                      .a = bench_memory(0) + row * c->k,
                                      .lda = c->k,
                                      .b = bench_memory(1) + column * c->k,
                                      .b_panel = c->k * c->gemm_columns,
                                      .c = bench_memory(2) + row * c->n + column,
                                      .ldc = c->n});
    }
}

static void bench_product(const weft_kernels *t, const char *kernel, weft_gemm_f32_fn *f,
                          const call *r, const char *shape) {
  call c = *r;
  c.f.gemm = f, c.gemm_rows = t->gemm_rows, c.gemm_columns = t->gemm_columns;
  report_flops(t, kernel, shape, 2.0 * (double)(c.m * c.n * c.k), best_seconds(&c),
               best_seconds(r));
}

void bench_gemm_f32(const weft_kernels *t, const char *kernel, weft_gemm_f32_fn *f,
                    weft_gemm_f32_fn *reference) {
  static const struct {
    size_t m, k, n;
    const char *shape;
  } shapes[] = {{12, 384, 16, "12x384x16"}, /* in the first-level cache */
                {1, 384, 1536, "1x384x1536"},     {2, 384, 1536, "2x384x1536"},
                {16, 384, 384, "16x384x384"},     {16, 384, 1536, "16x384x1536"},
                {16, 1536, 384, "16x1536x384"},   {128, 384, 1536, "128x384x1536"},
                {128, 1536, 384, "128x1536x384"}, {384, 384, 1536, "384x384x1536"}};
  fill_floats(FILL_SMALL, 384 * 1536, bench_memory(0));
  fill_floats(FILL_SMALL, 384 * 1536, bench_memory(1));
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    call r = {.run = run_gemm,
              .f.gemm = reference,
              .gemm_rows = 6,
              .gemm_columns = 8,
              .m = shapes[i].m,
              .n = shapes[i].n,
              .k = shapes[i].k};
    bench_product(t, kernel, f, &r, shapes[i].shape);
  }
}

/* ---- attention
 * ----------------------------------------------------------------------------------- */

/* 12 heads of a [tokens][3][12][head] tensor, in blocks of query rows, as an encoder does. */
static void run_attention(const call *c) {
  weft_attention_f32_args args = c->attention;
  size_t tokens = args.keys, width = 12 * args.head_size;
  for (size_t head = 0; head < 12; head++)
    for (size_t row = 0; row < tokens; row += args.rows) {
      args.q = bench_memory(0) + row * 3 * width + head * args.head_size;
      args.k = bench_memory(0) + width + head * args.head_size;
      args.v = bench_memory(0) + 2 * width + head * args.head_size;
      args.out = bench_memory(1) + row * width + head * args.head_size;
      args.rows = tokens - row < c->attention.rows ? tokens - row : c->attention.rows;
      c->f.attention(&args);
    }
}

static void bench_heads(const weft_kernels *t, const char *kernel, weft_attention_f32_fn *f,
                        weft_attention_f32_fn *reference, size_t tokens, size_t head, bool masked,
                        const char *shape) {
  size_t width = 12 * head;
  call c = {.run = run_attention, .f.attention = f};
  c.attention = (weft_attention_f32_args){.rows = t->attention_rows,
                                          .keys = tokens,
                                          .head_size = head,
                                          .value_size = head,
                                          .q_stride = 3 * width,
                                          .k_stride = 3 * width,
                                          .v_stride = 3 * width,
                                          .out_stride = width,
                                          .scale = 0.17f,
                                          .mask = masked ? bench_memory(3) : NULL,
                                          .scratch = bench_memory(4)};
  memset(bench_memory(3), 0, tokens * sizeof(float));
  fill_floats(FILL_SMALL, tokens * 3 * width, bench_memory(0));
  call r = c;
  r.f.attention = reference;
  double flops = 4.0 * (double)(tokens * tokens * width);
  report_flops(t, kernel, shape, flops, best_seconds(&c), best_seconds(&r));
}

void bench_attention_f32(const weft_kernels *t, const char *kernel, weft_attention_f32_fn *f,
                         weft_attention_f32_fn *reference) {
  bench_heads(t, kernel, f, reference, 16, 32, true, "16 x 12 x 32 mask");
  bench_heads(t, kernel, f, reference, 128, 32, true, "128 x 12 x 32 mask");
  bench_heads(t, kernel, f, reference, 512, 32, true, "512 x 12 x 32 mask");
  bench_heads(t, kernel, f, reference, 512, 32, false, "512 x 12 x 32");
  bench_heads(t, kernel, f, reference, 256, 64, false, "256 x 12 x 64");
}
