/* Tests of the op rotary against its definition in double: both pairings, a part of the head,
 * positions of each sequence or shared, strided x, half floats, positions out of range. */
#include "kernels/kernels.h"
#include "tests/unit/cpu_step.h"

typedef struct rotation {
  const weft_array *x, *cosines, *sines, *positions; /* positions NULL: angles by token */
  bool interleaved;
} rotation;

/* Which row of the angles [rows, R/2] a token takes. */
static uint64_t row_of(const bench *b, const rotation *r, int64_t batch, int64_t token) {
  const weft_array *by = r->positions != NULL ? r->positions : r->cosines;
  uint64_t at = (uint64_t)((by->dims[0] == 1 ? 0 : batch * r->x->dims[2]) + token);
  return r->positions != NULL ? (uint64_t)bench_int(b, r->positions, at) : at;
}

static uint64_t count_wrong(const bench *b, const rotation *r, const weft_array *out,
                            double tolerance) {
  const int64_t *d = r->x->dims;
  uint64_t half = (uint64_t)r->cosines->dims[r->cosines->rank - 1], wrong = 0;
  for (uint64_t i = 0; i < r->x->elements; i++) {
    uint64_t e = i % (uint64_t)d[3], token = i / (uint64_t)d[3] % (uint64_t)d[2];
    uint64_t batch = i / (uint64_t)(d[3] * d[2] * d[1]);
    double want = (double)bench_f32(b, r->x, i);
    if (e < 2 * half) {
      uint64_t pair = r->interleaved ? e / 2 : e % half;
      bool second = r->interleaved ? e % 2 : e >= half;
      uint64_t distance = r->interleaved ? 1 : half;
      double other = (double)bench_f32(b, r->x, second ? i - distance : i + distance);
      uint64_t at = row_of(b, r, (int64_t)batch, (int64_t)token) * half + pair;
      double c = (double)bench_f32(b, r->cosines, at), s = (double)bench_f32(b, r->sines, at);
      want = second ? other * s + want * c : want * c - other * s;
    }
    wrong += !bench_close_to(bench_f32(b, out, i), want, tolerance);
  }
  return wrong;
}

static void place_angles(bench *b, rotation *r, int64_t half, int64_t rows) {
  const int64_t *d = r->x->dims;
  bool shared = bench_below(b, 2), by_position = bench_below(b, 2);
  int64_t dims[3] = {shared ? 1 : d[0], d[2], half};
  if (by_position) dims[0] = rows, dims[1] = half;
  r->cosines = bench_random(b, WEFT_F32, by_position ? 2 : 3, dims, BENCH_DENSE);
  r->sines = bench_random(b, WEFT_F32, by_position ? 2 : 3, dims, BENCH_DENSE);
  if (!by_position) return;
  weft_array *positions =
      bench_array(b, WEFT_I64, 2, (int64_t[]){shared ? 1 : d[0], d[2]}, BENCH_RANDOM);
  for (uint64_t i = 0; i < positions->elements; i++)
    bench_set_int(b, positions, i, (int64_t)bench_below(b, (uint64_t)rows));
  r->positions = positions;
}

static weft_status run(bench *b, const rotation *r, const weft_array *out) {
  weft_attributes attributes = {.rotary = {.interleaved = r->interleaved}};
  const weft_array *inputs[] = {r->x, r->cosines, r->sines, r->positions};
  return bench_run(b, WEFT_OP_ROTARY, &attributes, inputs, r->positions != NULL ? 4 : 3, out);
}

static void test_rotary(void) {
  bench b;
  bench_open(&b, NULL, 3);
  for (int round = 0; round < 300; round++) {
    int64_t half = 1 + (int64_t)bench_below(&b, 40);
    int64_t size = 2 * half + (int64_t)(bench_below(&b, 2) ? bench_below(&b, 20) : 0);
    int64_t dims[4] = {1 + (int64_t)bench_below(&b, 3), 1 + (int64_t)bench_below(&b, 5),
                       1 + (int64_t)bench_below(&b, 9), size};
    rotation r = {.interleaved = bench_below(&b, 2)};
    r.x = bench_random(&b, WEFT_F32, 4, dims, (bench_strides)bench_below(&b, 3));
    place_angles(&b, &r, half, 30);
    weft_array *out = bench_array(&b, WEFT_F32, 4, dims, BENCH_DENSE);
    CHECK_OK(run(&b, &r, out), &b.error);
    if (!CHECK_INT(count_wrong(&b, &r, out, 1e-6), 0))
      check_print("  round %d: D %lld R %lld\n", round, (long long)size, (long long)(2 * half));
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Heads of a product for queries, keys and values together are read where they lie. */
static void test_no_copy(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F32, 4, (int64_t[]){2, 3, 4, 8}, BENCH_DENSE);
  const int64_t strides[] = {4 * 40, 8, 40, 1};
  memcpy(x->strides, strides, sizeof strides);
  weft_node node = {.op = WEFT_OP_ROTARY};
  CHECK(b.device->takes(b.device, &node, 0, x));
  x->strides[3] = 2;
  CHECK(!b.device->takes(b.device, &node, 0, x));
  bench_close(&b);
}

static void test_out_of_range(void) {
  bench b;
  bench_open(&b, NULL, 2);
  const int64_t bad[] = {5, -1, INT64_MIN, INT64_MAX};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    rotation r = {.x = bench_random(&b, WEFT_F32, 4, (int64_t[]){2, 1, 3, 4}, BENCH_DENSE)};
    r.cosines = bench_random(&b, WEFT_F32, 2, (int64_t[]){5, 2}, BENCH_DENSE);
    r.sines = bench_random(&b, WEFT_F32, 2, (int64_t[]){5, 2}, BENCH_DENSE);
    weft_array *positions = bench_array(&b, WEFT_I64, 2, (int64_t[]){2, 3}, BENCH_DENSE);
    for (uint64_t k = 0; k < 6; k++) bench_set_int(&b, positions, k, k == 4 ? bad[i] : 4);
    r.positions = positions;
    weft_array *out = bench_array(&b, WEFT_F32, 4, r.x->dims, BENCH_DENSE);
    CHECK_INT(run(&b, &r, out), WEFT_INVALID_DATA);
    char expected[160];
    weft_text text = {.buffer = expected, .size = sizeof expected};
    weft_text_add(&text,
                  "node 'tested' (rotary): position %lld of token 1 in sequence 1: there are "
                  "angles for 5",
                  (long long)bad[i]);
    CHECK_TEXT(b.error.message, expected);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Halves: computed in f32, rounded at the end. */
static void test_half_floats(void) {
  bench b;
  bench_open(&b, NULL, 1);
  const weft_kernels *kernels = weft_kernels_find("reference", 0);
  int64_t dims[4] = {1, 2, 3, 16};
  weft_array *halves[4];
  for (int i = 0; i < 4; i++)
    halves[i] = bench_array(&b, WEFT_F16, i == 1 || i == 2 ? 3 : 4,
                            i == 1 || i == 2 ? (int64_t[]){1, 3, 8} : dims, BENCH_DENSE);
  weft_array *singles[4];
  for (int i = 0; i < 4; i++) {
    singles[i] = bench_random(&b, WEFT_F32, halves[i]->rank, halves[i]->dims, BENCH_DENSE);
    float *values = (float *)(void *)b.bases[singles[i]->slot];
    kernels->f32_to_f16(singles[i]->elements, values, b.bases[halves[i]->slot]);
    kernels->f16_to_f32(singles[i]->elements, b.bases[halves[i]->slot], values);
  }
  rotation r = {.x = halves[0], .cosines = halves[1], .sines = halves[2]};
  CHECK_OK(run(&b, &r, halves[3]), &b.error);
  kernels->f16_to_f32(halves[3]->elements, b.bases[halves[3]->slot], b.bases[singles[3]->slot]);
  rotation same = {.x = singles[0], .cosines = singles[1], .sines = singles[2]};
  CHECK_INT(count_wrong(&b, &same, singles[3], 4e-3), 0);
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_rotary);
  CHECK_RUN(test_no_copy);
  CHECK_RUN(test_out_of_range);
  CHECK_RUN(test_half_floats);
  return check_result();
}
