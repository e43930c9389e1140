/* Maps and copies on the GPU: broadcasting, strides, types, chains; against the CPU's reference. */
#include "gpu/internal.h"
#include "tests/gpu/gpu_step.h"

/* x0 + x1 times x2 plus x3 ... of `count` inputs. */
static weft_expr sum_of(weft_instruction *code, uint32_t count, weft_dtype dtype) {
  weft_expr expr = {.input_count = (uint8_t)count, .code = code};
  for (uint32_t i = 0; i < count; i++) expr.input_dtypes[i] = (uint8_t)dtype;
  for (uint32_t i = 1; i < count; i++) {
    uint8_t last = (uint8_t)(i == 1 ? 0 : count + i - 2);
    code[expr.code_count++] = (weft_instruction){.op = i % 2 ? WEFT_EXPR_ADD : WEFT_EXPR_MUL,
                                                 .dtype = (uint8_t)dtype,
                                                 .operands = {last, (uint8_t)i}};
  }
  return expr;
}

static weft_array *random_input(bench *b, weft_dtype dtype, int32_t rank, const int64_t *dims) {
  int64_t own[WEFT_RANK_MAX];
  int32_t dropped = bench_below(b, 3) == 0 ? (int32_t)bench_below(b, (uint64_t)rank + 1) : 0;
  for (int32_t i = 0; i < rank; i++) own[i] = bench_below(b, 3) == 0 ? 1 : dims[i];
  return bench_random(b, dtype, rank - dropped, own + dropped, (bench_strides)bench_below(b, 3));
}

static void test_broadcast(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F16, WEFT_I32, WEFT_U32};
  bench *b = &g->cpu;
  for (int round = 0; round < 120; round++) {
    int64_t dims[WEFT_RANK_MAX];
    int32_t rank = 1 + (int32_t)bench_below(b, 5);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(b, 9);
    if (round % 3 == 0) dims[rank - 1] *= 4;
    uint32_t count = 1 + (uint32_t)bench_below(b, 5);
    weft_dtype dtype = types[round % 4];
    const weft_array *inputs[7];
    for (uint32_t i = 0; i < count; i++) inputs[i] = random_input(b, dtype, rank, dims);
    weft_instruction code[8];
    weft_attributes attributes = {.map.expr = sum_of(code, count, dtype)};
    gpu_check(g, WEFT_OP_MAP, &attributes, inputs, count,
              bench_array(b, dtype, rank, dims, BENCH_DENSE), (gpu_tolerance){1e-6, 1e-6});
    bench_clear(b);
  }
}

static void test_many_inputs(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[3] = {3, 5, 16}, row[1] = {16}, column[2] = {5, 1};
  const weft_array *inputs[7];
  for (int i = 0; i < 7; i++)
    inputs[i] = i % 3 == 0   ? bench_random(b, WEFT_F32, 3, dims, BENCH_DENSE)
                : i % 3 == 1 ? bench_random(b, WEFT_F32, 1, row, BENCH_DENSE)
                             : bench_random(b, WEFT_F32, 2, column, BENCH_DENSE);
  weft_instruction code[8];
  weft_attributes attributes = {.map.expr = sum_of(code, 7, WEFT_F32)};
  gpu_check(g, WEFT_OP_MAP, &attributes, inputs, 7, bench_array(b, WEFT_F32, 3, dims, BENCH_DENSE),
            (gpu_tolerance){1e-5, 1e-5});
  /* One more than there are bindings. */
  weft_node node = {.op = WEFT_OP_MAP, .attributes.map.expr = {.input_count = 8}};
  CHECK_TEXT(weft_gpu_runs_map(NULL, NULL, &node), "more than 7 inputs");
}

/* More workgroups than fit one dimension of a dispatch. */
static void test_large(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[1] = {4 * 128 * 65535 + 4 * 128 * 3 + 5}, one[1] = {1};
  weft_array *x = bench_random(b, WEFT_BOOL, 1, dims, BENCH_DENSE);
  weft_array *y = bench_random(b, WEFT_BOOL, 1, one, BENCH_DENSE);
  const weft_array *inputs[] = {x, y};
  weft_instruction code = {.op = WEFT_EXPR_XOR, .dtype = WEFT_BOOL, .operands = {0, 1}};
  weft_attributes attributes = {.map.expr = {.input_count = 2,
                                             .code_count = 1,
                                             .input_dtypes = {WEFT_BOOL, WEFT_BOOL},
                                             .code = &code}};
  gpu_check(g, WEFT_OP_MAP, &attributes, inputs, 2, bench_array(b, WEFT_BOOL, 1, dims, BENCH_DENSE),
            (gpu_tolerance){0, 0});
}

static void check_copy(gpu_bench *g, const weft_array *x) {
  const weft_array *y = bench_array(&g->cpu, x->dtype, x->rank, x->dims, BENCH_DENSE);
  if (CHECK_OK(gpu_expect(g, NULL, &x, 1, &y, 1), &g->cpu.error))
    CHECK_OK(gpu_run_step(g, NULL, &x, 1, &y, 1, (gpu_tolerance){0, 0}), &g->cpu.error);
}

static void test_copy(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_U8, WEFT_I16, WEFT_F32, WEFT_I64, WEFT_F16, WEFT_BOOL};
  bench *b = &g->cpu;
  for (int round = 0; round < 120; round++) {
    int64_t dims[WEFT_RANK_MAX];
    int32_t rank = 1 + (int32_t)bench_below(b, 5);
    for (int32_t i = 0; i < rank; i++)
      dims[i] = 1 + (int64_t)bench_below(b, round % 2 ? 12 : 70) / rank;
    weft_array *x = bench_random(b, types[round % 6], rank, dims, BENCH_RANDOM);
    if (round % 5 == 0) x->strides[0] = 0; /* repeats */
    check_copy(g, x);
    bench_clear(b);
  }
}

/* Transposes, the last two of which have sides that are no multiples of a tile. */
static void test_transpose(gpu_bench *g) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_F16, WEFT_U8, WEFT_I64};
  static const int64_t shapes[][3] = {{1, 64, 96}, {3, 33, 70}, {2, 129, 5}};
  static const int order[2][3] = {{0, 2, 1}, {2, 1, 0}};
  bench *b = &g->cpu;
  for (int k = 0; k < 24; k++) {
    const int64_t *dims = shapes[k % 3];
    weft_array *x = bench_random(b, types[k / 3 % 4], 3, dims, BENCH_DENSE), turned = *x;
    for (int i = 0; i < 3; i++) {
      turned.dims[i] = x->dims[order[k / 12][i]];
      turned.strides[i] = x->strides[order[k / 12][i]];
    }
    check_copy(g, &turned);
    bench_clear(b);
  }
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_broadcast), GPU_TEST(test_many_inputs),
                                   GPU_TEST(test_large), GPU_TEST(test_copy),
                                   GPU_TEST(test_transpose)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
