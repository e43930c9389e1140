/* Tests of rotary embedding on the GPU against the CPU's reference kernels: both orders of pairs, a
 * part of the head, positions of either shape or none, strides, types; positions past the table. */
#include "tests/gpu/gpu_step.h"

/* Two products and a sum, which may or may not be fused. */
static const gpu_tolerance close_enough = {1e-6, 1e-6};

enum { X, COSINES, SINES, POSITIONS, INPUTS };
enum { TABLE = 50 };

static const weft_array *random_positions(bench *b, int64_t batches, int64_t tokens) {
  int64_t dims[2] = {bench_below(b, 2) ? batches : 1, tokens};
  weft_array *positions = bench_array(b, WEFT_I64, 2, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < positions->elements; i++)
    bench_set_int(b, positions, i, (int64_t)bench_below(b, TABLE));
  return positions;
}

static void test_random(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int i = 0; i < 24; i++) {
    int64_t dims[4] = {1 + (int64_t)bench_below(b, 3), 1 + (int64_t)bench_below(b, 4),
                       1 + (int64_t)bench_below(b, 70), (int64_t[]){2, 7, 32, 64}[i % 4]};
    int64_t half = 1 + (int64_t)bench_below(b, (uint64_t)dims[3] / 2);
    if (bench_below(b, 2)) half = dims[3] / 2;
    bool by_position = bench_below(b, 2);
    int64_t table[2] = {TABLE, half}, all[3] = {bench_below(b, 2) ? dims[0] : 1, dims[2], half};
    int32_t rank = by_position ? 2 : 3;
    weft_dtype dtype = bench_below(b, 2) ? WEFT_F32 : WEFT_F16;
    const weft_array *inputs[INPUTS] = {
        bench_random(b, dtype, 4, dims, (bench_strides)bench_below(b, 3)),
        bench_random(b, dtype, rank, by_position ? table : all, BENCH_DENSE),
        bench_random(b, dtype, rank, by_position ? table : all, BENCH_DENSE)};
    if (by_position) inputs[POSITIONS] = random_positions(b, dims[0], dims[2]);
    weft_attributes attributes = {.rotary = {.interleaved = bench_below(b, 2)}};
    gpu_check(g, WEFT_OP_ROTARY, &attributes, inputs, INPUTS,
              bench_array(b, dtype, 4, dims, BENCH_DENSE), close_enough);
    bench_clear(b);
  }
}

/* The host would refuse these; here they read nothing outside of the table. */
static void test_wrong_positions(gpu_bench *g) {
  bench *b = &g->cpu;
  int64_t dims[4] = {1, 1, 2, 2}, table[2] = {3, 1}, rows[2] = {1, 2};
  weft_array *positions = bench_array(b, WEFT_I64, 2, rows, BENCH_DENSE);
  const weft_array *inputs[INPUTS] = {bench_random(b, WEFT_F32, 4, dims, BENCH_DENSE),
                                      bench_random(b, WEFT_F32, 2, table, BENCH_DENSE),
                                      bench_random(b, WEFT_F32, 2, table, BENCH_DENSE), positions};
  weft_attributes attributes = {.rotary = {.interleaved = false}};
  const weft_array *output = bench_array(b, WEFT_F32, 4, dims, BENCH_DENSE);
  weft_node node = {.op = WEFT_OP_ROTARY, .name = WEFT_STR("tested"), .attributes = attributes};
  bench_set_int(b, positions, 0, 0);
  bench_set_int(b, positions, 1, 2);
  CHECK_OK(gpu_expect(g, &node, inputs, INPUTS, &output, 1), &b->error);
  bench_set_int(b, positions, 0, -5);
  bench_set_int(b, positions, 1, 3);
  CHECK_OK(gpu_run_step(g, &node, inputs, INPUTS, &output, 1, close_enough), &b->error);
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_random), GPU_TEST(test_wrong_positions)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
