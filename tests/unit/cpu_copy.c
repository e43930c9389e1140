/* Tests of copy steps: arrays of any strides made dense, against a loop over coordinates. */
#include "tests/unit/cpu_step.h"

static bool same(const bench *b, const weft_array *from, const weft_array *to) {
  size_t size = weft_dtype_size(from->dtype);
  for (uint64_t i = 0; i < from->elements; i++)
    if (memcmp(bench_at(b, from, i), bench_at(b, to, i), size) != 0) return false;
  return true;
}

static void copy(bench *b, const weft_array *from, const char *kernel) {
  weft_node node = {.op = WEFT_OP_MAP, .name = WEFT_STR("needs a copy")};
  const weft_array *to = bench_dense_copy(b, &node, from);
  CHECK(same(b, from, to));
  if (kernel != NULL) CHECK_TEXT(b->kernel, kernel);
}

static const weft_dtype sizes[] = {WEFT_U8, WEFT_F16, WEFT_F32, WEFT_F64};

static void fill(bench *b, const weft_array *array) {
  for (uint64_t i = 0; i < array->elements; i++) {
    uint64_t bits = check_random(&b->random);
    memcpy(bench_at(b, array, i), &bits, weft_dtype_size(array->dtype));
  }
}

static void test_random_strides(void) {
  bench b;
  bench_open(&b, NULL, 1);
  for (int round = 0; round < 600; round++) {
    int64_t dims[WEFT_RANK_MAX];
    int32_t rank = (int32_t)bench_below(&b, 7);
    for (int32_t i = 0; i < rank; i++) dims[i] = (int64_t)bench_below(&b, rank > 4 ? 4 : 9);
    weft_array *from = bench_array(&b, sizes[round % 4], rank, dims, BENCH_RANDOM);
    fill(&b, from);
    for (int32_t i = 0; i < rank; i++)
      if (bench_below(&b, 6) == 0) from->strides[i] = 0; /* expanded */
    copy(&b, from, NULL);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Large enough for several blocks, items and threads. */
static void test_transposes(void) {
  bench b;
  bench_open(&b, NULL, 3);
  for (int round = 0; round < 40; round++) {
    int64_t dims[3] = {1 + (int64_t)bench_below(&b, 3), 4 + (int64_t)bench_below(&b, 300),
                       4 + (int64_t)bench_below(&b, 90)};
    weft_array *from = bench_array(&b, sizes[round % 4], 3, dims, BENCH_DENSE);
    fill(&b, from);
    from->strides[1] = 1;
    from->strides[2] = dims[1];
    copy(&b, from, "transpose");
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_heads(void) {
  bench b;
  bench_open(&b, NULL, 2);
  int64_t dims[4] = {2, 12, 128, 32}; /* [batch, heads, positions, size] seen in [B,S,H,D] */
  weft_array *from = bench_array(&b, WEFT_F32, 4, dims, BENCH_DENSE);
  fill(&b, from);
  from->strides[1] = 32;
  from->strides[2] = 12 * 32;
  copy(&b, from, "copy-strided");
  bench_close(&b);
}

static void test_strings_are_refused(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array text = {.dtype = WEFT_STRING, .rank = 1, .dims = {2}, .strides = {1}, .elements = 2};
  const weft_array *arrays[] = {&text};
  weft_node node = {.op = WEFT_OP_MAP, .name = WEFT_STR("words")};
  weft_step step = {.node = &node,
                    .is_copy = true,
                    .input_count = 1,
                    .output_count = 1,
                    .inputs = arrays,
                    .outputs = arrays};
  CHECK_INT(b.device->prepare(b.device, &step, &b.arena, &b.error), WEFT_UNSUPPORTED);
  CHECK_TEXT(b.error.message, "node 'words' (copy): elements of type string cannot be copied");
  step.node = NULL; /* an input of the graph that is an output too */
  CHECK_INT(b.device->prepare(b.device, &step, &b.arena, &b.error), WEFT_UNSUPPORTED);
  CHECK_TEXT(b.error.message, "copy of an output: elements of type string cannot be copied");
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_random_strides);
  CHECK_RUN(test_transposes);
  CHECK_RUN(test_heads);
  CHECK_RUN(test_strings_are_refused);
  return check_result();
}
