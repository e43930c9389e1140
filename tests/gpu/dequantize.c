/* The op `dequantize` on the GPU against the CPU's reference: codes of every width and type, scales
 * and zeros of every form and along every axis. */
#include "tests/gpu/gpu_step.h"

typedef enum form { SINGLE, VECTOR, BLOCKS } form;

static weft_array *random_bytes(bench *b, weft_dtype dtype, int32_t rank, const int64_t *dims,
                                uint32_t bits) {
  int64_t packed[3] = {1, 1, 1};
  for (int32_t i = 0; i < rank; i++) packed[i] = dims[i];
  if (rank > 0) packed[rank - 1] = (packed[rank - 1] * bits + 7) / 8;
  weft_array *array = bench_array(b, dtype, rank, packed, BENCH_DENSE);
  for (uint64_t i = 0; i < array->elements; i++)
    bench_set_int(b, array, i, (int64_t)bench_below(b, dtype == WEFT_I32 ? 1u << 20 : 256));
  return array;
}

static void check_random_case(gpu_bench *g, uint32_t round) {
  static const weft_dtype types[] = {WEFT_U8, WEFT_I8, WEFT_I32};
  bench *b = &g->cpu;
  uint32_t bits = 2u << bench_below(b, 3), zeros_kind = (uint32_t)bench_below(b, 3);
  int64_t dims[3] = {1 + (int64_t)bench_below(b, 4), 2 + (int64_t)bench_below(b, 9),
                     3 + (int64_t)bench_below(b, round % 10 ? 30 : 1200)};
  int32_t axis = (int32_t)bench_below(b, 3), rank = 3;
  int64_t block = 1 + (int64_t)bench_below(b, 3), table[3] = {dims[0], dims[1], dims[2]};
  form how = (form)(round % 3);
  table[axis] = (dims[axis] + block - 1) / block;
  if (how != BLOCKS) rank = how == VECTOR, table[0] = dims[axis];
  weft_dtype dtype = bits == 8 ? types[bench_below(b, 3)] : WEFT_U8;
  weft_dtype half = round % 4 == 3 ? WEFT_F16 : WEFT_F32;
  const weft_array *inputs[3] = {random_bytes(b, dtype, 3, dims, bits),
                                 bench_random(b, half, rank, table, BENCH_DENSE)};
  if (zeros_kind == 1) inputs[2] = random_bytes(b, dtype, rank, table, bits);
  if (zeros_kind == 2) inputs[2] = bench_random(b, half, rank, table, BENCH_DENSE);
  weft_attributes attributes = {.dequantize = {.dtype = half,
                                               .bits = bits,
                                               .axis = axis - 3 * (int32_t)bench_below(b, 2),
                                               .zero = 3,
                                               .block = how == BLOCKS ? block : 0,
                                               .extent = dims[2]}};
  const weft_array *y = bench_array(b, half, 3, dims, BENCH_DENSE);
  gpu_check(g, WEFT_OP_DEQUANTIZE, &attributes, inputs, zeros_kind ? 3 : 2, y,
            (gpu_tolerance){0, 1e-6});
  bench_clear(b);
}

static void test_forms(gpu_bench *g) {
  for (uint32_t round = 0; round < 30; round++) check_random_case(g, round);
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_forms)};
  return gpu_main(argc, argv, tests, 1);
}
