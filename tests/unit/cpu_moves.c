/* Tests of the ops that move or make data: gather, gather_elements, concat, pad, cumsum, triangle,
 * shape, range, fill. */
#include "tests/unit/cpu_step.h"

static bool same_element(const bench *b, const weft_array *x, uint64_t at, const weft_array *y,
                         uint64_t to) {
  return memcmp(bench_at(b, x, at), bench_at(b, y, to), weft_dtype_size(x->dtype)) == 0;
}

/* ---- gather
 * -------------------------------------------------------------------------------------- */

static const weft_dtype sizes[] = {WEFT_F32, WEFT_U8, WEFT_I64, WEFT_I16};

static void test_gather(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 300; round++) {
    int64_t dims[4], picks[2], out_dims[6];
    int32_t rank = 1 + (int32_t)bench_below(&b, 4), pick_rank = (int32_t)bench_below(&b, 3), to = 0;
    int32_t axis = (int32_t)bench_below(&b, (uint64_t)rank);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(&b, 8);
    for (int32_t i = 0; i < pick_rank; i++) picks[i] = (int64_t)bench_below(&b, 6);
    for (int32_t i = 0; i < axis; i++) out_dims[to++] = dims[i];
    for (int32_t i = 0; i < pick_rank; i++) out_dims[to++] = picks[i];
    for (int32_t i = axis + 1; i < rank; i++) out_dims[to++] = dims[i];
    weft_array *x = bench_random(&b, sizes[round % 4], rank, dims, BENCH_RANDOM);
    weft_array *indices =
        bench_array(&b, round % 3 ? WEFT_I64 : WEFT_I32, pick_rank, picks, BENCH_RANDOM);
    for (uint64_t i = 0; i < indices->elements; i++)
      bench_set_int(&b, indices, i,
                    (int64_t)bench_below(&b, 2 * (uint64_t)dims[axis]) - dims[axis]);
    weft_array *out = bench_array(&b, x->dtype, to, out_dims, BENCH_DENSE);
    weft_attributes attributes = {.axis.axis = round % 2 ? axis : axis - rank};
    const weft_array *inputs[] = {x, indices};
    CHECK_OK(bench_run(&b, WEFT_OP_GATHER, &attributes, inputs, 2, out), &b.error);
    uint64_t inner = 1, n = indices->elements, extent = (uint64_t)dims[axis], wrong = 0;
    for (int32_t i = axis + 1; i < rank; i++) inner *= (uint64_t)dims[i];
    for (uint64_t at = 0; at < out->elements; at++) {
      int64_t index = bench_int(&b, indices, at / inner % n);
      uint64_t row = at / inner / n * extent + (uint64_t)(index < 0 ? index + dims[axis] : index);
      wrong += !same_element(&b, out, at, x, row * inner + at % inner);
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_gather_out_of_range(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_random(&b, WEFT_F32, 2, (int64_t[]){5, 3}, BENCH_DENSE);
  weft_array *indices = bench_array(&b, WEFT_I64, 1, (int64_t[]){4}, BENCH_DENSE);
  weft_array *out = bench_array(&b, WEFT_F32, 2, (int64_t[]){4, 3}, BENCH_DENSE);
  weft_attributes attributes = {.axis.axis = 0};
  const weft_array *inputs[] = {x, indices};
  static const int64_t bad[] = {5, -6, INT64_MAX, INT64_MIN};
  static const char *const messages[] = {"5", "-6", "9223372036854775807", "-9223372036854775808"};
  for (size_t i = 0; i < 4; i++) {
    for (uint64_t k = 0; k < 4; k++) bench_set_int(&b, indices, k, k == 2 ? bad[i] : -5);
    CHECK_INT(bench_run(&b, WEFT_OP_GATHER, &attributes, inputs, 2, out), WEFT_INVALID_DATA);
    char expected[200];
    weft_text text = {.buffer = expected, .size = sizeof expected};
    weft_text_add(&text,
                  "node 'tested' (gather): index %s (element 2 of the indices) is outside of an "
                  "axis of extent 5",
                  messages[i]);
    CHECK_TEXT(b.error.message, expected);
  }
  bench_close(&b);
}

static void test_gather_elements(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 300; round++) {
    int64_t dims[4], out_dims[4];
    int32_t rank = 1 + (int32_t)bench_below(&b, 4), axis = (int32_t)bench_below(&b, (uint64_t)rank);
    for (int32_t i = 0; i < rank; i++) {
      dims[i] = 1 + (int64_t)bench_below(&b, 8);
      out_dims[i] = i == axis ? (int64_t)bench_below(&b, 10)
                              : 1 + (int64_t)bench_below(&b, (uint64_t)dims[i]);
    }
    weft_array *x = bench_random(&b, sizes[round % 4], rank, dims, BENCH_RANDOM);
    weft_array *indices =
        bench_array(&b, round % 3 ? WEFT_I64 : WEFT_I32, rank, out_dims, BENCH_RANDOM);
    for (uint64_t i = 0; i < indices->elements; i++)
      bench_set_int(&b, indices, i,
                    (int64_t)bench_below(&b, 2 * (uint64_t)dims[axis]) - dims[axis]);
    weft_array *out = bench_array(&b, x->dtype, rank, out_dims, BENCH_DENSE);
    weft_attributes attributes = {.axis.axis = axis - rank};
    const weft_array *inputs[] = {x, indices};
    CHECK_OK(bench_run(&b, WEFT_OP_GATHER_ELEMENTS, &attributes, inputs, 2, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t at = 0; at < out->elements; at++) {
      uint64_t rest = at, from = 0, step = 1;
      int64_t index = bench_int(&b, indices, at);
      for (int32_t i = rank - 1; i >= 0; i--) {
        uint64_t place = rest % (uint64_t)out_dims[i];
        rest /= (uint64_t)out_dims[i];
        if (i == axis) place = (uint64_t)(index < 0 ? index + dims[axis] : index);
        from += place * step;
        step *= (uint64_t)dims[i];
      }
      wrong += !same_element(&b, out, at, x, from);
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- concat and pad
 * ------------------------------------------------------------------------------ */

static void test_concat(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 200; round++) {
    int64_t dims[4], total = 0;
    int32_t rank = 1 + (int32_t)bench_below(&b, 4), axis = (int32_t)bench_below(&b, (uint64_t)rank);
    uint32_t count = 1 + (uint32_t)bench_below(&b, 5);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(&b, 6);
    const weft_array *inputs[5];
    for (uint32_t i = 0; i < count; i++) {
      dims[axis] = (int64_t)bench_below(&b, 5);
      total += dims[axis];
      inputs[i] = bench_random(&b, sizes[round % 4], rank, dims, BENCH_RANDOM);
    }
    dims[axis] = total;
    weft_array *out = bench_array(&b, sizes[round % 4], rank, dims, BENCH_DENSE);
    weft_attributes attributes = {.axis.axis = round % 2 ? axis : axis - rank};
    CHECK_OK(bench_run(&b, WEFT_OP_CONCAT, &attributes, inputs, count, out), &b.error);
    uint64_t inner = 1, wrong = 0;
    for (int32_t i = axis + 1; i < rank; i++) inner *= (uint64_t)dims[i];
    for (uint64_t at = 0; at < out->elements; at++) {
      uint64_t place = at / inner % (uint64_t)total, outer = at / inner / (uint64_t)total;
      uint32_t k = 0;
      while (place >= (uint64_t)inputs[k]->dims[axis]) place -= (uint64_t)inputs[k++]->dims[axis];
      uint64_t from = (outer * (uint64_t)inputs[k]->dims[axis] + place) * inner + at % inner;
      wrong += !same_element(&b, out, at, inputs[k], from);
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* Where a coordinate of the output comes from, walking a step at a time; -1: padding. */
static int64_t walk(weft_pad_mode mode, int64_t at, int64_t extent) {
  if (at >= 0 && at < extent) return at;
  if (mode == WEFT_PAD_CONSTANT) return -1;
  if (mode == WEFT_PAD_EDGE) return at < 0 ? 0 : extent - 1;
  while (at < 0 || at >= extent) {
    if (mode == WEFT_PAD_WRAP) at += at < 0 ? extent : -extent;
    if (mode == WEFT_PAD_REFLECT) at = at < 0 ? -at : 2 * (extent - 1) - at;
  }
  return at;
}

static void test_pad(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 600; round++) {
    weft_pad_mode mode = (weft_pad_mode)bench_below(&b, 4);
    int64_t dims[4], out_dims[4], pads[8], axes[4];
    int32_t rank = 1 + (int32_t)bench_below(&b, 4);
    bool some = bench_below(&b, 3) == 0 && rank > 1; /* only the last axis */
    int32_t first = some ? rank - 1 : 0, count = rank - first;
    for (int32_t i = 0; i < rank; i++) out_dims[i] = dims[i] = 2 + (int64_t)bench_below(&b, 6);
    for (int32_t i = first; i < rank; i++) {
      int64_t low = mode == WEFT_PAD_CONSTANT ? -dims[i] : -1;
      int64_t before = low + (int64_t)bench_below(&b, (uint64_t)(9 - low));
      int64_t after = -1 + (int64_t)bench_below(&b, 9);
      if (dims[i] + before + after < 0) after = -dims[i] - before;
      pads[i - first] = before;
      pads[i - first + count] = after;
      out_dims[i] = dims[i] + before + after;
      axes[i - first] = i - rank;
    }
    weft_array *x = bench_random(&b, sizes[round % 4], rank, dims, BENCH_RANDOM);
    weft_array *value = bench_random(&b, sizes[round % 4], 0, NULL, BENCH_DENSE);
    weft_array *out = bench_array(&b, sizes[round % 4], rank, out_dims, BENCH_DENSE);
    const weft_array *inputs[] = {x, bench_host(&b, pads, 2 * count), value,
                                  some ? bench_host(&b, axes, count) : NULL};
    weft_attributes attributes = {.pad.mode = mode};
    CHECK_OK(bench_run(&b, WEFT_OP_PAD, &attributes, inputs, 4, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t at = 0; at < out->elements; at++) {
      uint64_t rest = at, from = 0, step = 1;
      bool outside = false;
      for (int32_t i = rank - 1; i >= 0; i--) {
        int64_t before = i >= first ? pads[i - first] : 0;
        int64_t place = walk(mode, (int64_t)(rest % (uint64_t)out_dims[i]) - before, dims[i]);
        rest /= (uint64_t)out_dims[i];
        outside = outside || place < 0;
        from += (uint64_t)place * step;
        step *= (uint64_t)dims[i];
      }
      wrong += !same_element(&b, out, at, outside ? value : x, outside ? 0 : from);
    }
    if (!CHECK_INT(wrong, 0)) check_print("  mode %d rank %d\n", (int)mode, rank);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- cumsum and triangle
 * ------------------------------------------------------------------------- */

static void test_cumsum(void) {
  static const weft_dtype types[] = {WEFT_F32, WEFT_I32, WEFT_I64, WEFT_U8};
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 300; round++) {
    int64_t dims[3];
    int32_t rank = 1 + (int32_t)bench_below(&b, 3), axis = (int32_t)bench_below(&b, (uint64_t)rank);
    for (int32_t i = 0; i < rank; i++) dims[i] = 1 + (int64_t)bench_below(&b, 9);
    bool exclusive = bench_below(&b, 2), reverse = bench_below(&b, 2);
    weft_array *x = bench_random(&b, types[round % 4], rank, dims, BENCH_RANDOM);
    weft_array *out = bench_array(&b, types[round % 4], rank, dims, BENCH_DENSE);
    weft_attributes attributes = {.cumsum = {.exclusive = exclusive, .reverse = reverse}};
    const int64_t host[1] = {round % 2 ? axis : axis - rank};
    const weft_array *inputs[] = {x, bench_host(&b, host, -1)};
    CHECK_OK(bench_run(&b, WEFT_OP_CUMSUM, &attributes, inputs, 2, out), &b.error);
    uint64_t n = (uint64_t)dims[axis], inner = 1, wrong = 0;
    for (int32_t i = axis + 1; i < rank; i++) inner *= (uint64_t)dims[i];
    for (uint64_t at = 0; at < x->elements; at++) {
      uint64_t place = at / inner % n, first = at - place * inner;
      double sum = 0;
      for (uint64_t i = 0; i < n; i++) {
        bool counts = reverse ? i > place : i < place;
        if (!counts && !(i == place && !exclusive)) continue;
        uint64_t from = first + i * inner;
        sum +=
            x->dtype == WEFT_F32 ? (double)bench_f32(&b, x, from) : (double)bench_int(&b, x, from);
      }
      wrong += x->dtype == WEFT_F32
                   ? !bench_close_to(bench_f32(&b, out, at), sum, 1e-5)
                   : bench_int(&b, out, at) != ((int64_t)sum & (x->dtype == WEFT_U8 ? 255 : -1));
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_triangle(void) {
  bench b;
  bench_open(&b, NULL, 2);
  for (int round = 0; round < 200; round++) {
    int64_t dims[3] = {1 + (int64_t)bench_below(&b, 3), 1 + (int64_t)bench_below(&b, 9),
                       1 + (int64_t)bench_below(&b, 9)};
    bool upper = bench_below(&b, 2);
    int64_t k = (int64_t)bench_below(&b, 21) - 10;
    if (round % 20 == 0) k = round % 40 ? INT64_MAX : INT64_MIN;
    weft_array *x = bench_random(&b, sizes[round % 4], 3, dims, BENCH_RANDOM);
    weft_array *out = bench_array(&b, sizes[round % 4], 3, dims, BENCH_DENSE);
    weft_attributes attributes = {.triangle.upper = upper};
    const weft_array *inputs[] = {x, bench_host(&b, &k, -1)};
    CHECK_OK(bench_run(&b, WEFT_OP_TRIANGLE, &attributes, inputs, 2, out), &b.error);
    uint64_t wrong = 0;
    static const uint8_t zeros[8];
    for (uint64_t at = 0; at < x->elements; at++) {
      int64_t column = (int64_t)at % dims[2], row = (int64_t)at / dims[2] % dims[1];
      bool keeps = upper ? column - row >= k : column - row <= k;
      wrong += memcmp(bench_at(&b, out, at), keeps ? bench_at(&b, x, at) : zeros,
                      weft_dtype_size(x->dtype)) != 0;
    }
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

/* ---- shape, range, fill
 * -------------------------------------------------------------------------- */

static void test_shape(void) {
  bench b;
  bench_open(&b, NULL, 1);
  weft_array *x = bench_array(&b, WEFT_F32, 3, (int64_t[]){4, 5, 6}, BENCH_RANDOM);
  weft_array *out = bench_array(&b, WEFT_I64, 1, (int64_t[]){2}, BENCH_DENSE);
  weft_attributes attributes = {.shape = {.start = -3, .end = -1, .has_end = true}};
  const weft_array *inputs[] = {x};
  CHECK_OK(bench_run(&b, WEFT_OP_SHAPE, &attributes, inputs, 1, out), &b.error);
  CHECK_INT(bench_int(&b, out, 0), 4);
  CHECK_INT(bench_int(&b, out, 1), 5);
  bench_close(&b);
}

static void test_range(void) {
  static const weft_dtype types[] = {WEFT_I64, WEFT_I32, WEFT_I16, WEFT_F32};
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t t = 0; t < 4; t++) {
    weft_array *inputs[3], *out = bench_array(&b, types[t], 1, (int64_t[]){5}, BENCH_DENSE);
    static const int64_t arguments[3] = {10, 0, -2};
    for (size_t i = 0; i < 3; i++) {
      inputs[i] = bench_array(&b, types[t], 0, NULL, BENCH_DENSE);
      if (types[t] == WEFT_F32)
        bench_set_f32(&b, inputs[i], 0, (float)arguments[i]);
      else
        bench_set_int(&b, inputs[i], 0, arguments[i]);
    }
    const weft_array *given[] = {inputs[0], inputs[1], inputs[2]};
    const weft_attributes none = {0};
    CHECK_OK(bench_run(&b, WEFT_OP_RANGE, &none, given, 3, out), &b.error);
    for (uint64_t i = 0; i < 5; i++)
      CHECK_INT(types[t] == WEFT_F32 ? (int64_t)bench_f32(&b, out, i) : bench_int(&b, out, i),
                10 - 2 * (int64_t)i);
    bench_clear(&b);
  }
  bench_close(&b);
}

static void test_fill(void) {
  bench b;
  bench_open(&b, NULL, 1);
  for (size_t t = 0; t < 4; t++) {
    weft_attributes attributes = {.fill = {.dtype = sizes[t], .value = {1, 2, 3, 4, 5, 6, 7, 8}}};
    const int64_t dims[2] = {3, 700};
    weft_array *out = bench_array(&b, sizes[t], 2, dims, BENCH_DENSE);
    const weft_array *inputs[] = {bench_host(&b, dims, 2)};
    CHECK_OK(bench_run(&b, WEFT_OP_FILL, &attributes, inputs, 1, out), &b.error);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < out->elements; i++)
      wrong += memcmp(bench_at(&b, out, i), attributes.fill.value, weft_dtype_size(sizes[t])) != 0;
    CHECK_INT(wrong, 0);
    bench_clear(&b);
  }
  bench_close(&b);
}

int main(void) {
  CHECK_RUN(test_gather);
  CHECK_RUN(test_gather_out_of_range);
  CHECK_RUN(test_gather_elements);
  CHECK_RUN(test_concat);
  CHECK_RUN(test_pad);
  CHECK_RUN(test_cumsum);
  CHECK_RUN(test_triangle);
  CHECK_RUN(test_shape);
  CHECK_RUN(test_range);
  CHECK_RUN(test_fill);
  return check_result();
}
