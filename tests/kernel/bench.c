/* bench.c - the speed of every kernel: the best of many short runs, as GB/s of what is read and
 * written or as GFLOP/s, next to the reference's, and for matrix products next to the peak of the
 * target's multiply-add (peak.c). */
#include "tests/kernel/bench.h"

#include "base/memory.h"

/* ---- timing
 * -------------------------------------------------------------------------------------- */

float *bench_memory(unsigned slot) {
  return (float *)(void *)host_slot(slot);
}
static volatile float sink;

double best_seconds(const call *c) {
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

static void run_rotary(const call *c) {
  c->f.rotary(N / 2, bench_memory(0), bench_memory(2), bench_memory(2) + N / 2, bench_memory(1));
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
BENCH(rotary_f32, rotary, N * 12)

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

/* Heads of queries by groups of keys and values, tokens of both. */
typedef struct heads_shape {
  size_t heads, groups, queries, keys, size;
  bool masked, causal;
  const char *text;
} heads_shape;

/* Queries [queries][heads][size] in blocks of rows, keys and values [groups][keys][2][size]. */
static void run_attention(const call *c) {
  weft_attention_f32_args args = c->attention;
  size_t shared = c->m / c->n, most = args.queries, tokens = c->k;
  args.heads = most * shared <= 64 ? shared : 1;
  for (size_t head = 0; head < c->m; head += args.heads)
    for (size_t row = 0; row < tokens; row += most) {
      args.q = bench_memory(0) + row * args.q_stride + head * args.head_size;
      args.k = bench_memory(1) + head / shared * args.keys * args.k_stride;
      args.v = args.k + args.head_size;
      args.out = bench_memory(2) + row * args.out_stride + head * args.head_size;
      args.queries = tokens - row < most ? tokens - row : most;
      args.position = (ptrdiff_t)(args.keys - tokens + row);
      c->f.attention(&args);
    }
}

static void bench_heads(const weft_kernels *t, const char *kernel, weft_attention_f32_fn *f,
                        weft_attention_f32_fn *reference, const heads_shape *s) {
  size_t width = s->heads * s->size;
  call c = {.run = run_attention, .f.attention = f, .m = s->heads, .n = s->groups, .k = s->queries};
  c.attention = (weft_attention_f32_args){.queries = s->queries < 64 ? s->queries : 64,
                                          .keys = s->keys,
                                          .head_size = s->size,
                                          .value_size = s->size,
                                          .q_head_stride = s->size,
                                          .q_stride = width,
                                          .k_stride = 2 * s->size,
                                          .v_stride = 2 * s->size,
                                          .causal = s->causal,
                                          .scale = 0.17f,
                                          .out_head_stride = s->size,
                                          .out_stride = width,
                                          .mask = s->masked ? bench_memory(3) : NULL,
                                          .scratch = bench_memory(4)};
  memset(bench_memory(3), 0, s->keys * sizeof(float));
  fill_floats(FILL_SMALL, s->queries * width, bench_memory(0));
  fill_floats(FILL_SMALL, s->groups * s->keys * 2 * s->size, bench_memory(1));
  call r = c;
  r.f.attention = reference;
  double pairs = (double)(s->queries * s->keys), seconds = best_seconds(&c);
  if (s->causal) pairs -= (double)(s->queries * (s->queries - 1)) / 2;
  report_flops(t, kernel, s->text, 4.0 * pairs * (double)width, seconds, best_seconds(&r));
  if (s->queries > 1) return;
  print_padded("", 50);
  print_number((double)(s->groups * s->keys * 8 * s->size) / seconds * 1e-9, 8, 2);
  print_text(" GB/s of keys and values\n");
}

void bench_attention_f32(const weft_kernels *t, const char *kernel, weft_attention_f32_fn *f,
                         weft_attention_f32_fn *reference) {
  static const heads_shape shapes[] = {
      {12, 12, 16, 16, 32, true, false, "16 x 12 x 32 mask"},
      {12, 12, 128, 128, 32, true, false, "128 x 12 x 32 mask"},
      {12, 12, 512, 512, 32, true, false, "512 x 12 x 32 mask"},
      {12, 12, 512, 512, 32, false, false, "512 x 12 x 32"},
      {12, 12, 256, 256, 64, false, false, "256 x 12 x 64"},
      {12, 12, 512, 512, 64, false, true, "512 x 12 x 64 causal"},
      {32, 8, 512, 512, 64, false, true, "512 x 32/8 x 64 c."},
      {12, 12, 1, 256, 64, false, true, "1: 256 x 12 x 64"},
      {9, 3, 1, 256, 64, false, true, "1: 256 x 9/3 x 64"},
      {32, 4, 1, 256, 64, false, true, "1: 256 x 32/4 x 64"},
      {4, 4, 1, 4096, 64, false, true, "1: 4096 x 4 x 64"},
      {8, 4, 1, 4096, 64, false, true, "1: 4096 x 8/4 x 64"},
      {16, 4, 1, 4096, 64, false, true, "1: 4096 x 16/4 x 64"},
      {32, 4, 1, 4096, 64, false, true, "1: 4096 x 32/4 x 64"},
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    bench_heads(t, kernel, f, reference, &shapes[i]);
}
