/* Ops that move elements on the GPU: gather, gather_elements, concat; against the CPU's reference.
 */
#include "gpu/internal.h"
#include "tests/gpu/gpu_step.h"

static const weft_dtype types[] = {WEFT_F32, WEFT_F16, WEFT_I64, WEFT_I32, WEFT_U8, WEFT_BOOL};
static const gpu_tolerance exact = {0, 0};

/* ---- gather ---------------------------------------------------------------------------------- */

static weft_array *random_indices(bench *b, weft_dtype dtype, int32_t rank, const int64_t *dims,
                                  int64_t extent) {
  weft_array *indices = bench_array(b, dtype, rank, dims, BENCH_DENSE);
  for (uint64_t i = 0; i < indices->elements; i++)
    bench_set_int(b, indices, i, (int64_t)bench_below(b, 2 * (uint64_t)extent) - extent);
  return indices;
}

static void test_gather(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 40; round++) {
    int64_t dims[3], counts[2], out[4];
    for (int i = 0; i < 3; i++) dims[i] = 1 + (int64_t)bench_below(b, 7);
    if (round % 3 == 0) dims[2] = 4 * (1 + (int64_t)bench_below(b, 20));
    int32_t axis = (int32_t)bench_below(b, 3), rank = 0, index_rank = (int32_t)bench_below(b, 3);
    for (int i = 0; i < 2; i++) counts[i] = 1 + (int64_t)bench_below(b, 9);
    for (int32_t i = 0; i < 3; i++) {
      if (i != axis) out[rank++] = dims[i];
      for (int32_t k = 0; i == axis && k < index_rank; k++) out[rank++] = counts[k];
    }
    weft_dtype dtype = types[round % 6];
    const weft_array *inputs[] = {
        bench_random(b, dtype, 3, dims, (bench_strides)(round % 3)),
        random_indices(b, round % 2 ? WEFT_I64 : WEFT_I32, index_rank, counts, dims[axis])};
    weft_attributes attributes = {.axis.axis = axis - (round % 5 ? 0 : 3)};
    gpu_check(g, WEFT_OP_GATHER, &attributes, inputs, 2,
              bench_array(b, dtype, rank, out, BENCH_DENSE), exact);
    bench_clear(b);
  }
}

static void test_gather_elements(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 30; round++) {
    int64_t dims[3], out[3];
    for (int i = 0; i < 3; i++) dims[i] = 1 + (int64_t)bench_below(b, 7);
    int32_t axis = (int32_t)bench_below(b, 3);
    for (int32_t i = 0; i < 3; i++)
      out[i] = i == axis ? 1 + (int64_t)bench_below(b, 9)
                         : 1 + (int64_t)bench_below(b, (uint64_t)dims[i]);
    weft_dtype dtype = types[round % 6];
    const weft_array *inputs[] = {
        bench_random(b, dtype, 3, dims, BENCH_DENSE),
        random_indices(b, round % 2 ? WEFT_I64 : WEFT_I32, 3, out, dims[axis])};
    weft_attributes attributes = {.axis.axis = axis};
    gpu_check(g, WEFT_OP_GATHER_ELEMENTS, &attributes, inputs, 2,
              bench_array(b, dtype, 3, out, BENCH_DENSE), exact);
    bench_clear(b);
  }
}

/* Indices outside: the first or last row, and nothing else of the memory. */
static void test_gather_outside(gpu_bench *g) {
  bench *b = &g->cpu;
  const int64_t dims[2] = {5, 4}, count[1] = {4}, out[2] = {4, 4};
  weft_array *data = bench_random(b, WEFT_F32, 2, dims, BENCH_DENSE);
  weft_array *indices = bench_array(b, WEFT_I64, 1, count, BENCH_DENSE);
  weft_array *y = bench_array(b, WEFT_F32, 2, out, BENCH_DENSE);
  static const int64_t given[] = {5, -6, 2000000000, -2000000000}, read[] = {4, 0, 4, 0};
  for (uint64_t i = 0; i < 16; i++)
    bench_set_f32(b, y, i, bench_f32(b, data, (uint64_t)read[i / 4] * 4 + i % 4));
  for (uint64_t i = 0; i < 4; i++) bench_set_int(b, indices, i, given[i]);
  weft_node node = {.op = WEFT_OP_GATHER, .name = WEFT_STR("tested")};
  const weft_array *inputs[] = {data, indices}, *outputs[] = {y};
  CHECK_OK(gpu_run_step(g, &node, inputs, 2, outputs, 1, exact), &b->error);
}

/* ---- concat ---------------------------------------------------------------------------------- */

static void test_concat(gpu_bench *g) {
  bench *b = &g->cpu;
  for (int round = 0; round < 40; round++) {
    int64_t dims[4];
    int32_t rank = 1 + (int32_t)bench_below(b, 4), axis = (int32_t)bench_below(b, (uint64_t)rank);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(b, 6);
    if (round % 4 == 0) dims[rank - 1] *= 4;
    uint32_t count = 1 + (uint32_t)bench_below(b, round % 5 ? 4 : 18);
    weft_dtype dtype = types[round % 6];
    const weft_array *inputs[BENCH_ARRAYS];
    int64_t total = 0;
    for (uint32_t k = 0; k < count; k++) {
      dims[axis] = (int64_t)bench_below(b, 6) + (k == 0);
      total += dims[axis];
      /* Copies of strided inputs would not fit the bench where there are many. */
      bench_strides form = count > 4 ? BENCH_DENSE : (bench_strides)bench_below(b, 3);
      inputs[k] = bench_random(b, dtype, rank, dims, form);
    }
    dims[axis] = total;
    weft_attributes attributes = {.axis.axis = axis - (round % 3 ? 0 : rank)};
    gpu_check(g, WEFT_OP_CONCAT, &attributes, inputs, count,
              bench_array(b, dtype, rank, dims, BENCH_DENSE), exact);
    bench_clear(b);
  }
  weft_node node = {.op = WEFT_OP_CONCAT, .input_count = 29};
  CHECK_TEXT(weft_gpu_runs_concat(NULL, NULL, &node), "more than 28 inputs");
}

int main(int argc, char **argv) {
  static const gpu_test tests[] = {GPU_TEST(test_gather), GPU_TEST(test_gather_elements),
                                   GPU_TEST(test_gather_outside), GPU_TEST(test_concat)};
  return gpu_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
