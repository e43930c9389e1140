/* Tests of view strides: random views of random layouts against a map of element numbers that is
 * computed the slow way, by what each kind of view means. */
#include "graph/views.h"
#include "tests/unit/graph_build.h"

enum { ELEMENTS_MAX = 4096 };

/* A fixture with one view of an f32 input, inferred at load (all is fixed). */
typedef struct view_case {
  fixture f;
  weft_inference at;
  weft_node *node;
  weft_shape in, out;
  int64_t strides[WEFT_RANK_MAX];
} view_case;

static weft_value_id integers(fixture *f, const int64_t *values, int32_t count) {
  weft_value_id id = WEFT_VALUE_NONE;
  CHECK_OK(weft_graph_add_integers(&f->graph, WEFT_STR("i"), values, count, &id, &f->error),
           &f->error);
  return id;
}

static void open_case(view_case *c, const weft_shape *in, const weft_attributes *attributes,
                      const int64_t (*lists)[WEFT_RANK_MAX], uint32_t list_count, int32_t length) {
  fixture_open(&c->f);
  c->in = *in;
  weft_value_id inputs[5];
  CHECK_OK(weft_graph_add_value(&c->f.graph, WEFT_STR("x"), WEFT_VALUE_INPUT, WEFT_F32, in,
                                &inputs[0], &c->f.error),
           &c->f.error);
  for (uint32_t i = 0; i < list_count; i++) inputs[1 + i] = integers(&c->f, lists[i], length);
  c->node = add_node(&c->f, 0, WEFT_OP_VIEW, inputs, 1 + list_count, attributes);
  c->at = weft_inference_at_load(&c->f.graph);
  CHECK_OK(weft_infer_node(&c->at, 0, &c->f.error), &c->f.error);
  c->out = c->f.graph.values[c->node->outputs[0]].shape;
}

static int64_t count_of(const weft_shape *shape) {
  int64_t count = 1;
  for (int32_t i = 0; i < shape->rank; i++) count *= shape->dims[i];
  return count;
}

/* Where element number `index` (row-major) of a strided array lies. */
static int64_t place(const weft_shape *shape, const int64_t *strides, int64_t index) {
  int64_t at = 0;
  for (int32_t i = shape->rank - 1; i >= 0; i--) {
    at += index % shape->dims[i] * strides[i];
    index /= shape->dims[i];
  }
  return at;
}

/* Compares the resolved strides with `expected`: which element (row-major) of the input each
 * element of the output is. */
static void check_layout(view_case *c, const int64_t *expected, bool copy_needed) {
  weft_view_layout layout;
  CHECK_OK(weft_view_resolve(&c->at, c->node, c->strides, &layout, &c->f.error), &c->f.error);
  CHECK_INT(layout.copy_needed, copy_needed);
  int64_t wrong = 0, count = count_of(&c->out);
  for (int64_t i = 0; i < count && !layout.copy_needed; i++) {
    wrong +=
        layout.offset + place(&c->out, layout.strides, i) != place(&c->in, c->strides, expected[i]);
  }
  CHECK_INT(wrong, 0);
}

/* ---- random layouts -------------------------------------------------------------------------- */

static uint64_t state = 1;

static int64_t pick(int64_t below) {
  return (int64_t)(check_random(&state) % (uint64_t)below);
}

static weft_shape random_shape(int32_t rank_max, int64_t extent_max) {
  weft_shape shape = {.rank = (int32_t)pick(rank_max + 1)};
  for (int32_t i = 0; i < shape.rank; i++) shape.dims[i] = 1 + pick(extent_max);
  return shape;
}

/* A permutation of dense strides, some gaps, some backwards: each element in a place of its own. */
static void random_strides(const weft_shape *shape, int64_t *strides) {
  int32_t order[WEFT_RANK_MAX];
  for (int32_t i = 0; i < shape->rank; i++) order[i] = i;
  for (int32_t i = shape->rank - 1; i > 0 && pick(2); i--) {
    int32_t k = (int32_t)pick(i + 1), swapped = order[i];
    order[i] = order[k], order[k] = swapped;
  }
  int64_t stride = 1;
  for (int32_t i = shape->rank - 1; i >= 0; i--) {
    if (pick(4) == 0) stride += pick(3);
    strides[order[i]] = pick(8) == 0 ? -stride : stride;
    stride *= shape->dims[order[i]];
  }
}

static void test_dense(void) {
  int64_t strides[WEFT_RANK_MAX];
  weft_dense_strides(&(weft_shape){3, {2, 3, 4}}, strides);
  CHECK(strides[0] == 12 && strides[1] == 4 && strides[2] == 1);
  weft_dense_strides(&(weft_shape){3, {2, 0, 4}}, strides);
  CHECK(strides[0] == 4 && strides[1] == 4 && strides[2] == 1);
}

static void test_transpose(void) {
  for (int round = 0; round < 200; round++) {
    weft_shape in = random_shape(5, 4);
    weft_attributes a = {.view = {.kind = WEFT_VIEW_TRANSPOSE, .axes = {(uint8_t)in.rank, {0}}}};
    for (int32_t i = 0; i < in.rank; i++) a.view.axes.axes[i] = (int8_t)i;
    for (int32_t i = in.rank - 1; i > 0; i--) {
      int32_t k = (int32_t)pick(i + 1);
      int8_t swapped = a.view.axes.axes[i];
      a.view.axes.axes[i] = a.view.axes.axes[k], a.view.axes.axes[k] = swapped;
    }
    view_case c;
    open_case(&c, &in, &a, NULL, 0, 0);
    random_strides(&in, c.strides);
    int64_t expected[ELEMENTS_MAX], dense[WEFT_RANK_MAX], by_output[WEFT_RANK_MAX];
    weft_dense_strides(&in, dense);
    for (int32_t i = 0; i < in.rank; i++) by_output[i] = dense[a.view.axes.axes[i]];
    for (int64_t i = 0; i < count_of(&c.out); i++) expected[i] = place(&c.out, by_output, i);
    check_layout(&c, expected, false);
    fixture_close(&c.f);
  }
}

/* Output element by element, as the definition of slicing says: start, start + step, ... */
static void test_slice(void) {
  for (int round = 0; round < 300; round++) {
    weft_shape in = random_shape(4, 6);
    if (in.rank == 0) continue;
    int64_t lists[4][WEFT_RANK_MAX];
    int64_t picked[WEFT_RANK_MAX][8];
    weft_shape out = {.rank = in.rank};
    for (int32_t i = 0; i < in.rank; i++) {
      int64_t extent = in.dims[i], step = pick(5) - 2;
      if (step == 0) step = 1;
      lists[0][i] = pick(2 * extent + 3) - extent - 1;
      lists[1][i] = pick(2 * extent + 3) - extent - 1;
      lists[2][i] = i - (pick(2) ? in.rank : 0);
      lists[3][i] = step;
      int64_t start = lists[0][i] < 0 ? lists[0][i] + extent : lists[0][i];
      int64_t end = lists[1][i] < 0 ? lists[1][i] + extent : lists[1][i];
      if (start < 0) start = 0;
      if (step < 0 && start > extent - 1) start = extent - 1;
      for (int64_t x = start; step > 0 ? x < end && x < extent : x > end && x >= 0; x += step) {
        picked[i][out.dims[i]++] = x;
      }
    }
    weft_attributes a = {.view = {.kind = WEFT_VIEW_SLICE}};
    view_case c;
    open_case(&c, &in, &a, (const int64_t(*)[WEFT_RANK_MAX])lists, 4, in.rank);
    CHECK(weft_shape_equal(&c.out, &out));
    random_strides(&in, c.strides);
    int64_t expected[ELEMENTS_MAX], dense[WEFT_RANK_MAX];
    weft_dense_strides(&in, dense);
    for (int64_t i = 0; i < count_of(&out); i++) {
      int64_t rest = i;
      expected[i] = 0;
      for (int32_t k = in.rank - 1; k >= 0; k--) {
        expected[i] += picked[k][rest % out.dims[k]] * dense[k];
        rest /= out.dims[k];
      }
    }
    check_layout(&c, expected, false);
    fixture_close(&c.f);
  }
}

static void test_expand(void) {
  for (int round = 0; round < 200; round++) {
    weft_shape in = random_shape(3, 3);
    int32_t added = (int32_t)pick(3);
    int64_t lists[1][WEFT_RANK_MAX];
    for (int32_t i = 0; i < added + in.rank; i++) {
      bool fits = i < added || in.dims[i - added] == 1;
      lists[0][i] = fits ? 1 + pick(3) : pick(2) ? in.dims[i - added] : 1;
    }
    weft_attributes a = {.view = {.kind = WEFT_VIEW_EXPAND}};
    view_case c;
    open_case(&c, &in, &a, (const int64_t(*)[WEFT_RANK_MAX])lists, 1, added + in.rank);
    random_strides(&in, c.strides);
    int64_t expected[ELEMENTS_MAX], dense[WEFT_RANK_MAX], by_output[WEFT_RANK_MAX] = {0};
    weft_dense_strides(&in, dense);
    for (int32_t i = 0; i < in.rank; i++) by_output[added + i] = in.dims[i] == 1 ? 0 : dense[i];
    for (int64_t i = 0; i < count_of(&c.out); i++) expected[i] = place(&c.out, by_output, i);
    check_layout(&c, expected, false);
    fixture_close(&c.f);
  }
}

/* ---- reshape --------------------------------------------------------------------------------- */

/* A random factorisation of `count`. */
static weft_shape random_factors(int64_t count) {
  weft_shape shape = {0};
  for (int64_t factor = 2; count > 1 && shape.rank < 6; factor++) {
    while (count % factor == 0 && shape.rank < 6) {
      if (shape.rank && pick(2)) {
        shape.dims[shape.rank - 1] *= factor;
      } else {
        shape.dims[shape.rank++] = factor;
      }
      count /= factor;
    }
  }
  if (count > 1) shape.dims[shape.rank++] = count;
  for (int32_t i = shape.rank - 1; i > 0; i--) {
    int32_t k = (int32_t)pick(i + 1);
    int64_t swapped = shape.dims[i];
    shape.dims[i] = shape.dims[k], shape.dims[k] = swapped;
  }
  if (pick(2)) shape.dims[shape.rank++] = 1;
  return shape;
}

/* Whether any strides at all give these places in order: those of the elements one step along each
 * dimension, if they explain the rest. */
static bool strides_exist(const weft_shape *in, const int64_t *strides, const weft_shape *out) {
  int64_t found[WEFT_RANK_MAX], dense[WEFT_RANK_MAX];
  weft_dense_strides(out, dense);
  for (int32_t i = 0; i < out->rank; i++) {
    found[i] = out->dims[i] > 1 ? place(in, strides, dense[i]) : 0;
  }
  for (int64_t i = 0; i < count_of(out); i++) {
    if (place(in, strides, i) != place(out, found, i)) return false;
  }
  return true;
}

static void test_reshape(void) {
  int copies = 0, kept = 0;
  for (int round = 0; round < 1500; round++) {
    static const int64_t counts[] = {1, 6, 8, 12, 24, 36, 48, 60, 64};
    int64_t count = counts[pick(COUNT_OF(counts))];
    weft_shape in = random_factors(count), wanted = random_factors(count);
    int64_t lists[1][WEFT_RANK_MAX];
    for (int32_t i = 0; i < wanted.rank; i++) lists[0][i] = wanted.dims[i];
    weft_attributes a = {.view = {.kind = WEFT_VIEW_RESHAPE}};
    view_case c;
    open_case(&c, &in, &a, (const int64_t(*)[WEFT_RANK_MAX])lists, 1, wanted.rank);
    random_strides(&in, c.strides);
    bool exist = strides_exist(&in, c.strides, &wanted);
    copies += !exist;
    kept += exist;
    int64_t expected[ELEMENTS_MAX];
    for (int64_t i = 0; i < count; i++) expected[i] = i;
    check_layout(&c, expected, !exist);
    fixture_close(&c.f);
  }
  CHECK(copies > 200 && kept > 200);
}

static void test_reshape_kinds(void) {
  weft_shape in = {3, {1, 6, 4}};
  static const weft_attributes kinds[] = {
      {.view = {.kind = WEFT_VIEW_SQUEEZE}},
      {.view = {.kind = WEFT_VIEW_UNSQUEEZE, .axes = {2, {0, 2}}}},
      {.view = {.kind = WEFT_VIEW_FLATTEN, .axes = {1, {2}}}},
  };
  int64_t expected[24];
  for (int64_t i = 0; i < 24; i++) expected[i] = i;
  for (uint32_t i = 0; i < COUNT_OF(kinds); i++) {
    view_case c;
    open_case(&c, &in, &kinds[i], NULL, 0, 0);
    c.strides[0] = 99, c.strides[1] = 2, c.strides[2] = 12;
    check_layout(&c, expected, false);
    fixture_close(&c.f);
  }
  view_case c;
  open_case(&c, &in, &(weft_attributes){.view = {.kind = WEFT_VIEW_FLATTEN, .axes = {1, {0}}}},
            NULL, 0, 0);
  c.strides[0] = 99, c.strides[1] = 1, c.strides[2] = 6;
  check_layout(&c, expected, true);
  fixture_close(&c.f);
}

static void test_reshape_empty(void) {
  weft_shape in = {3, {2, 0, 4}};
  int64_t lists[1][WEFT_RANK_MAX] = {{4, 0}};
  view_case c;
  open_case(&c, &in, &(weft_attributes){.view = {.kind = WEFT_VIEW_RESHAPE, .allow_zero = true}},
            (const int64_t(*)[WEFT_RANK_MAX])lists, 1, 2);
  c.strides[0] = 1, c.strides[1] = 7, c.strides[2] = 3;
  check_layout(&c, NULL, false);
  fixture_close(&c.f);
}

static void test_split(void) {
  weft_shape in = {2, {3, 7}};
  for (uint32_t part = 0; part < 3; part++) {
    weft_attributes a = {
        .view = {.kind = WEFT_VIEW_SPLIT, .axes = {1, {-1}}, .index = part, .count = 3}};
    view_case c;
    open_case(&c, &in, &a, NULL, 0, 0);
    c.strides[0] = 20, c.strides[1] = 2;
    int64_t expected[9], length = part == 2 ? 1 : 3;
    CHECK_INT(c.out.dims[1], length);
    for (int64_t i = 0; i < 3 * length; i++) expected[i] = i / length * 7 + part * 3 + i % length;
    check_layout(&c, expected, false);
    fixture_close(&c.f);
  }
}

/* ---- axes ------------------------------------------------------------------------------------ */

static void check_axes(weft_op op, weft_attributes attributes, const char *input, const char *list,
                       const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id inputs[] = {tensor(&f, input), tensor(&f, list)};
  weft_node *node = add_node(&f, 0, op, inputs, list ? 2 : 1, &attributes);
  weft_inference at = weft_inference_at_load(&f.graph);
  CHECK_OK(weft_infer_node(&at, 0, &f.error), &f.error);
  weft_axes axes;
  weft_status status = weft_node_axes(&at, node, &axes, &f.error);
  char actual[100] = "";
  weft_text text = {.buffer = actual, .size = sizeof actual};
  if (status != WEFT_OK) {
    weft_text_add(&text, "%s", weft_status_name(status));
  } else {
    for (uint32_t i = 0; i < axes.count; i++) weft_text_add(&text, "%d ", axes.axes[i]);
  }
  CHECK_TEXT(actual, expected);
  fixture_close(&f);
}

static void test_axes(void) {
#define REDUCE(...)     ((weft_attributes){.reduce = {__VA_ARGS__}})
#define VIEW(name, ...) ((weft_attributes){.view = {.kind = WEFT_VIEW_##name, ##__VA_ARGS__}})
  check_axes(WEFT_OP_REDUCE, REDUCE(.axes = {2, {-1, 0}}), "f32[2,3,4]", NULL, "0 2 ");
  check_axes(WEFT_OP_REDUCE, REDUCE(0), "f32[2,3,4]", NULL, "0 1 2 ");
  check_axes(WEFT_OP_REDUCE, REDUCE(.none_means_none = true), "f32[2,3,4]", NULL, "");
  check_axes(WEFT_OP_REDUCE, REDUCE(0), "f32[b,3]", "i64{-2}", "0 ");
  check_axes(WEFT_OP_REDUCE, REDUCE(.keep_dims = true), "f32[2,3]", "i64[1]", "unsupported");
  check_axes(WEFT_OP_VIEW, VIEW(SQUEEZE), "f32[1,3,1]", NULL, "0 2 ");
  check_axes(WEFT_OP_VIEW, VIEW(SQUEEZE, .axes = {1, {-1}}), "f32[1,3,1]", NULL, "2 ");
  check_axes(WEFT_OP_VIEW, VIEW(UNSQUEEZE), "f32[2,3]", "i64{-1,0}", "0 3 ");
}

int main(void) {
  CHECK_RUN(test_dense);
  CHECK_RUN(test_transpose);
  CHECK_RUN(test_slice);
  CHECK_RUN(test_expand);
  CHECK_RUN(test_reshape);
  CHECK_RUN(test_reshape_kinds);
  CHECK_RUN(test_reshape_empty);
  CHECK_RUN(test_split);
  CHECK_RUN(test_axes);
  return check_result();
}
