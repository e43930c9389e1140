/* Tests of shape inference: one line per case. `expected` is the output, or "!" and a part of the
 * message. Cases whose inputs are all fixed run at load and at bind, with the same result. */
#include "tests/unit/graph_build.h"

typedef struct infer_case {
  weft_op op;
  const char *inputs[5];
  const char *expected;
  weft_attributes attributes;
} infer_case;

#define VIEW(name, ...)                                                                            \
  {                                                                                                \
    .view = {.kind = WEFT_VIEW_##name, ##__VA_ARGS__ }                                             \
  }
#define NONE      {.axis = {0}}
#define AXES(...) .axes = {sizeof((int8_t[]){__VA_ARGS__}), {__VA_ARGS__}}

static uint32_t count_inputs(const infer_case *c) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < COUNT_OF(c->inputs); i++) {
    if (c->inputs[i]) count = i + 1;
  }
  return count;
}

/* Facts at bind, filled with the inputs' own. */
static weft_inference open_bind(fixture *f, int64_t *symbols) {
  uint32_t count = f->graph.value_count;
  weft_arena *arena = &f->graph.arena;
  weft_inference at = {.graph = &f->graph,
                       .arena = arena,
                       .shapes = WEFT_ARENA_ARRAY(arena, weft_shape, count),
                       .elements = WEFT_ARENA_ARRAY(arena, weft_dim *, count),
                       .dtypes = WEFT_ARENA_ARRAY(arena, weft_dtype, count),
                       .fixed = true,
                       .symbols = symbols};
  for (uint32_t i = 0; i < count; i++) {
    at.shapes[i] = f->graph.values[i].shape;
    at.dtypes[i] = f->graph.values[i].dtype;
    at.elements[i] = f->graph.values[i].elements;
  }
  return at;
}

static void check_outcome(const infer_case *c, const weft_inference *at, weft_status status,
                          const fixture *f, weft_value_id output) {
  char actual[600];
  if (status == WEFT_OK) {
    describe(at, output, actual, sizeof actual);
    CHECK_TEXT(actual, c->expected);
    return;
  }
  CHECK_INT(f->error.status, status);
  CHECK(contains(f->error.message, "node 'n' (Op): "));
  bool good = CHECK(c->expected[0] == '!' && contains(f->error.message, c->expected + 1));
  if (!good) check_print("  %s\n  expected %s\n", f->error.message, c->expected);
}

static bool run_case(const infer_case *c, bool fixed) {
  fixture f;
  fixture_open(&f);
  weft_value_id inputs[5];
  uint32_t count = count_inputs(c);
  bool all_fixed = true;
  for (uint32_t i = 0; i < count; i++) {
    inputs[i] = tensor(&f, c->inputs[i]);
    if (inputs[i] == WEFT_VALUE_NONE) continue;
    const weft_value *value = &f.graph.values[inputs[i]];
    all_fixed &= weft_shape_is_fixed(&value->shape) &&
                 (!value->elements || weft_elements_are_fixed(&value->shape, value->elements));
  }
  if (!fixed || all_fixed) {
    weft_value_id output = add_node(&f, 0, c->op, inputs, count, &c->attributes)->outputs[0];
    weft_inference at = weft_inference_at_load(&f.graph);
    if (fixed) at = open_bind(&f, NULL);
    weft_status status = weft_infer_node(&at, 0, &f.error);
    check_outcome(c, &at, status, &f, output);
    if (status != WEFT_OK) {
      bool by_arguments = status == WEFT_INVALID_ARGUMENT || status == WEFT_UNSUPPORTED;
      CHECK(status == WEFT_INVALID_MODEL || status == WEFT_LIMIT_EXCEEDED ||
            (fixed && by_arguments));
    }
  }
  fixture_close(&f);
  return all_fixed;
}

static void run_cases(const infer_case *cases, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    unsigned before = check_failures;
    bool all_fixed = run_case(&cases[i], false);
    /* What a run has to tell is a symbol at load and an error at bind. */
    bool open = contains(cases[i].expected, "?") || contains(cases[i].expected, "...");
    if (all_fixed && !open) run_case(&cases[i], true);
    if (check_failures != before) check_print("  in case %u\n", i);
  }
}
#define RUN_CASES(cases) run_cases((cases), COUNT_OF(cases))

/* ---- views ----------------------------------------------------------------------------------- */

static void test_reshape(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[2,3,4]", "i64{6,4}"}, "f32[6,4]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3,4]", "i64{0,-1}"}, "f32[2,12]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3,4]", "i64{-1}"}, "f32[24]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[1]", "i64[0]"}, "f32[]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[]", "i64{1,1}"}, "f32[1,1]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[0,4]", "i64{-1,4}"}, "f32[0,4]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,0]", "i64{0,0,5}"}, "f32[2,0,5]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[0,2]", "i64{3,0}"}, "f32[3,0]", VIEW(RESHAPE, .allow_zero = true)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{0,0,12,32}"}, "f32[b,s,12,32]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{b,s,12,32}"}, "f32[b,s,12,32]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{0,0,12,-1}"}, "f32[b,s,12,32]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{b,-1,384}"}, "f32[b,s,384]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{b,?,384}"}, "f32[b,s,384]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,384]", "i64{-1,384}"}, "f32[b*s,384]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s,12,32]", "i64{0,0,-1}"}, "f32[b,s,384]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,12,s,32]", "i64{-1,s,32}"}, "f32[b*12,s,32]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b*12,s,32]", "i64{b*12,-1}"}, "f32[b*12,s*32]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,s]", "i64{s,-1}"}, "f32[s,b]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,4]", "i64{c,-1}"}, "f32[c,?2]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,4]", "i64{?,?}"}, "f32[?1,?2]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,4]", "i64{?,?}"}, "f32[?0,?1]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,4]", "i64[3]"}, "f32[?0,?1,?2]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,4]", "i64[1]"}, "f32[8]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,4]", "i64[n]"}, "f32[...]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[...]", "i64{0,-1,3}"}, "f32[?0,?1,3]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,5]", "i64{-1,3}"}, "f32[?1,3]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3]", "i64{7}"}, "!cannot reshape [2,3] to [7]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3]", "i64{4,-1}"}, "!cannot reshape [2,3]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[b,3]", "i64{b,4}"}, "!cannot reshape [b,3] to [b,4]", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3]", "i64{-1,-1}"}, "!more than one -1", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,3]", "i64{-2,3}"}, "!dimension of -2", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,0]", "i64{0,-1,0}"}, "!no dimension to copy", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{1,1,1,1,1,1,1,1,1}"}, "!rank 9", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[1]", "i64[1,1]"}, "!a list is needed", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[1]", "f32[1]"}, "!i32 or i64 is needed", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2]"}, "!has 1 inputs", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[4]", "i64{4611686018427387904,-1}"}, "!cannot reshape", VIEW(RESHAPE)},
      {WEFT_OP_VIEW,
       {"f32[0]", "i64{4611686018427387904,0}"},
       "!more than 1099511627776 elements",
       VIEW(RESHAPE, .allow_zero = true)},
  };
  RUN_CASES(cases);
}

static void test_transpose(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[b,2,3]"}, "f32[3,2,b]", VIEW(TRANSPOSE)},
      {WEFT_OP_VIEW, {"f32[b,2,3]"}, "f32[2,b,3]", VIEW(TRANSPOSE, AXES(1, 0, 2))},
      {WEFT_OP_VIEW, {"f32[b,2,3]"}, "f32[2,3,b]", VIEW(TRANSPOSE, AXES(1, -1, 0))},
      {WEFT_OP_VIEW, {"f32[]"}, "f32[]", VIEW(TRANSPOSE)},
      {WEFT_OP_VIEW, {"f32[...]"}, "f32[?0,?1]", VIEW(TRANSPOSE, AXES(1, 0))},
      {WEFT_OP_VIEW, {"f32[2,3]"}, "!no permutation", VIEW(TRANSPOSE, AXES(0, 0))},
      {WEFT_OP_VIEW, {"f32[2,3]"}, "!no permutation", VIEW(TRANSPOSE, AXES(1))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!no permutation", VIEW(TRANSPOSE, AXES(0, 0))},
      {WEFT_OP_VIEW,
       {"f32[2,3]"},
       "!axis 2 is out of range for rank 2",
       VIEW(TRANSPOSE, AXES(2, 0))},
  };
  RUN_CASES(cases);
}

static void test_slice(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[10]", "i64{2}", "i64{5}"}, "f32[3]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[10]", "i32{-3}", "i32{100}"}, "f32[3]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[10]", "i64{0}", "i64{-1}"}, "f32[9]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[10]", "i64{8}", "i64{2}"}, "f32[0]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[10]", "i64{0}", "i64{10}", "i64{0}", "i64{3}"}, "f32[4]", VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[10]", "i64{-1}", "i64{-11}", "i64{0}", "i64{-1}"},
       "f32[10]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[10]", "i64{9}", "i64{-9223372036854775808}", "i64{0}", "i64{-2}"},
       "f32[5]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[10]", "i64{0}", "i64{9223372036854775807}", "i64{0}", "i64{9223372036854775807}"},
       "f32[1]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[10]", "i64{9223372036854775807}", "i64{-9223372036854775808}", "i64{0}",
        "i64{-9223372036854775808}"},
       "f32[1]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[0]", "i64{-1}", "i64{-5}", "i64{0}", "i64{-1}"}, "f32[0]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[2,8]", "i64{1}", "i64{3}", "i64{-1}"}, "f32[2,2]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8,8]", "i64{1,2}", "i64{3,7}"}, "f32[2,5]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", "i64 2", "i64 3", "i64 0"}, "f32[1]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8,8]", "i64{1}", "i64{3}", NULL, "i64{2}"}, "f32[1,8]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[1,512]", "i64{0}", "i64{s}", "i64{1}"}, "f32[1,s]", VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[b,s]", "i64{0}", "i64{9223372036854775807}", "i64{1}"},
       "f32[b,s]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[b,s]", "i64{-1}", "i64{2147483647}", "i64{1}"}, "f32[b,1]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[b,s]", "i64{0}", "i64{1}", "i64{1}"}, "f32[b,1]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[b,s]", "i64{0}", "i64{100}", "i64{1}"}, "f32[b,?2]", VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[s]", "i64{-1}", "i64{-9223372036854775807}", "i64{0}", "i64{-1}"},
       "f32[s]",
       VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[2,8]", "i64[1]", "i64[1]", "i64{1}"}, "f32[2,?0]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[2,8]", "i64[1]", "i64[1]", "i64[1]"}, "f32[?0,?1]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[...]", "i64{0}", "i64{1}"}, "f32[...]", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", "i64{0}", "i64{1}", "i64{0}", "i64{0}"}, "!step of 0", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", "i64{0,0}", "i64{1,1}"}, "!slices 2 axes of rank 1", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", "i64{0}", "i64{1,1}"}, "!lists of 1 and 2", VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[8]", "i64{0}", "i64{1}", "i64{1}"},
       "!axis 1 is out of range",
       VIEW(SLICE)},
      {WEFT_OP_VIEW,
       {"f32[8,8]", "i64{0,0}", "i64{1,1}", "i64{1,-1}"},
       "!axis 1 twice",
       VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", "i64{0}"}, "!has 2 inputs", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[8]", NULL, "i64{0}"}, "!lacks an input", VIEW(SLICE)},
  };
  RUN_CASES(cases);
}

static void test_expand(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[3,1]", "i64{3,4}"}, "f32[3,4]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[3,1]", "i64{2,1,4}"}, "f32[2,3,4]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[3,4]", "i64{1}"}, "f32[3,4]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[]", "i64{2}"}, "f32[2]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{0}"}, "f32[0]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1,s]", "i64{b,s}"}, "f32[b,s]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1,512]", "i64{b,?}"}, "f32[b,512]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1,1]", "i64[2]"}, "f32[?0,?1]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[2,5]", "i64[2]"}, "f32[2,5]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[2]", "i64[n]"}, "f32[...]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[3]", "i64{4}"}, "!cannot broadcast [3] with [4]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[3]", "i64{-1}"}, "!dimension of -1", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{1152921504606846976}"}, "!more than", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{1048576,1048576,2}"}, "!more than", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{1048576,1048576}"}, "f32[1048576,1048576]", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{0,1048576,1048576,1048576}"}, "!more than", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[s]", "i64{1048576,1048576,2,1}"}, "!more than", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[1]", "i64{1,1,1,1,1,1,1,1,1}"}, "!rank 9", VIEW(EXPAND)},
  };
  RUN_CASES(cases);
}

static void test_squeeze(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[1,3,1]"}, "f32[3]", VIEW(SQUEEZE)},
      {WEFT_OP_VIEW, {"f32[1,3,1]"}, "f32[3,1]", VIEW(SQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[1,3,1]", "i64{-1,0}"}, "f32[3]", VIEW(SQUEEZE)},
      {WEFT_OP_VIEW, {"f32[b,1,s]"}, "f32[b,s]", VIEW(SQUEEZE, AXES(1))},
      {WEFT_OP_VIEW, {"f32[b,1,s]"}, "f32[1,s]", VIEW(SQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[b,1,s]"}, "f32[...]", VIEW(SQUEEZE)},
      {WEFT_OP_VIEW, {"f32[2,1]", "i64[1]"}, "f32[...]", VIEW(SQUEEZE)},
      {WEFT_OP_VIEW, {"f32[...]"}, "f32[...]", VIEW(SQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[2,1]"}, "!cannot squeeze", VIEW(SQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[2,1]"}, "!axis 2", VIEW(SQUEEZE, AXES(2))},
      {WEFT_OP_VIEW, {"f32[b]"}, "f32[1,b]", VIEW(UNSQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[b]", "i64{-1,0}"}, "f32[1,b,1]", VIEW(UNSQUEEZE)},
      {WEFT_OP_VIEW, {"f32[2]", "i64 1"}, "f32[2,1]", VIEW(UNSQUEEZE)},
      {WEFT_OP_VIEW, {"f32[b]", "i64[2]"}, "f32[?1,?2,?3]", VIEW(UNSQUEEZE)},
      {WEFT_OP_VIEW, {"f32[...]"}, "f32[...]", VIEW(UNSQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!axis 3", VIEW(UNSQUEEZE, AXES(3, 0))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!named twice", VIEW(UNSQUEEZE, AXES(1, -2))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!needs axes", VIEW(UNSQUEEZE)},
      {WEFT_OP_VIEW, {"f32[1,1,1,1,1,1,1,1]"}, "!rank 9", VIEW(UNSQUEEZE, AXES(0))},
      {WEFT_OP_VIEW, {"f32[b,2,3]"}, "f32[b,6]", VIEW(FLATTEN, AXES(1))},
      {WEFT_OP_VIEW, {"f32[b,2,3]"}, "f32[1,b*6]", VIEW(FLATTEN, AXES(0))},
      {WEFT_OP_VIEW, {"f32[2,2,3]"}, "f32[12,1]", VIEW(FLATTEN, AXES(3))},
      {WEFT_OP_VIEW, {"f32[2,2,3]"}, "f32[4,3]", VIEW(FLATTEN, AXES(-1))},
      {WEFT_OP_VIEW, {"f32[]"}, "f32[1,1]", VIEW(FLATTEN, AXES(0))},
      {WEFT_OP_VIEW, {"f32[...]"}, "f32[?0,?1]", VIEW(FLATTEN, AXES(0))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!axis 2", VIEW(FLATTEN, AXES(2))},
      {WEFT_OP_VIEW, {"f32[2]"}, "!needs one axis", VIEW(FLATTEN)},
  };
  RUN_CASES(cases);
}

static void test_split(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[2,6]"}, "f32[2,3]", VIEW(SPLIT, AXES(1), .index = 1, .count = 2)},
      {WEFT_OP_VIEW, {"f32[7]"}, "f32[3]", VIEW(SPLIT, AXES(0), .index = 0, .count = 3)},
      {WEFT_OP_VIEW, {"f32[7]"}, "f32[1]", VIEW(SPLIT, AXES(0), .index = 2, .count = 3)},
      {WEFT_OP_VIEW, {"f32[2]"}, "f32[0]", VIEW(SPLIT, AXES(0), .index = 3, .count = 4)},
      {WEFT_OP_VIEW,
       {"f32[2,6]", "i64{2,4}"},
       "f32[2,4]",
       VIEW(SPLIT, AXES(-1), .index = 1, .count = 2)},
      {WEFT_OP_VIEW,
       {"f32[s]", "i64{2,4}"},
       "f32[4]",
       VIEW(SPLIT, AXES(0), .index = 1, .count = 2)},
      {WEFT_OP_VIEW,
       {"f32[s]", "i64{2,s}"},
       "f32[s]",
       VIEW(SPLIT, AXES(0), .index = 1, .count = 2)},
      {WEFT_OP_VIEW, {"f32[s]"}, "f32[?1]", VIEW(SPLIT, AXES(0), .index = 1, .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]", "i64[2]"}, "f32[?0]", VIEW(SPLIT, AXES(0), .index = 1, .count = 2)},
      {WEFT_OP_VIEW,
       {"f32[6]", "i64{2,5}"},
       "!parts of 7 together",
       VIEW(SPLIT, AXES(0), .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]", "i64{7,-1}"}, "!length -1", VIEW(SPLIT, AXES(0), .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]", "i64{6}"}, "!1 lengths for 2", VIEW(SPLIT, AXES(0), .count = 2)},
      {WEFT_OP_VIEW,
       {"f32[6]", "i64{9223372036854775807,1}"},
       "!overflows",
       VIEW(SPLIT, AXES(0), .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]"}, "!axis 1", VIEW(SPLIT, AXES(1), .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]"}, "!fewer parts", VIEW(SPLIT, AXES(0), .index = 2, .count = 2)},
      {WEFT_OP_VIEW, {"f32[6]"}, "!fewer parts", VIEW(SPLIT, AXES(0))},
      {WEFT_OP_VIEW, {"f32[6]"}, "!too many parts", VIEW(SPLIT, AXES(0), .count = UINT32_MAX)},
      {WEFT_OP_VIEW, {"f32[6]"}, "!no known kind", {.view = {.kind = (weft_view_kind)99}}},
  };
  RUN_CASES(cases);
}

/* ---- computing ops --------------------------------------------------------------------------- */

static void test_matmul(void) {
  static const infer_case cases[] = {
      {WEFT_OP_MATMUL, {"f32[2,3]", "f32[3,4]"}, "f32[2,4]", NONE},
      {WEFT_OP_MATMUL, {"f32[b,s,384]", "f32[384,1536]"}, "f32[b,s,1536]", NONE},
      {WEFT_OP_MATMUL, {"f32[b,12,s,32]", "f32[b,12,32,s]"}, "f32[b,12,s,s]", NONE},
      {WEFT_OP_MATMUL, {"f32[3]", "f32[3,4]"}, "f32[4]", NONE},
      {WEFT_OP_MATMUL, {"f32[5,2,3]", "f32[3]"}, "f32[5,2]", NONE},
      {WEFT_OP_MATMUL, {"f32[3]", "f32[3]"}, "f32[]", NONE},
      {WEFT_OP_MATMUL, {"f32[3]", "f32[7,3,2]"}, "f32[7,2]", NONE},
      {WEFT_OP_MATMUL, {"f32[1,2,3]", "f32[6,3,1]"}, "f32[6,2,1]", NONE},
      {WEFT_OP_MATMUL, {"f32[2,k]", "f32[j,3]"}, "f32[2,3]", NONE},
      {WEFT_OP_MATMUL, {"f32[...]", "f32[3,4]"}, "f32[...]", NONE},
      {WEFT_OP_MATMUL, {"f32[2,0]", "f32[0,4]"}, "f32[2,4]", NONE},
      {WEFT_OP_MATMUL, {"f32[2,3]", "f32[4,3]"}, "!cannot multiply [2,3] with [4,3]", NONE},
      {WEFT_OP_MATMUL, {"f32[2,2,3]", "f32[3,3,4]"}, "!cannot broadcast [2] with [3]", NONE},
      {WEFT_OP_MATMUL, {"f32[]", "f32[3,4]"}, "!a scalar", NONE},
      {WEFT_OP_MATMUL, {"f32[2,3]", "f16[3,4]"}, "!input 1 is f16, but f32 is needed", NONE},
      {WEFT_OP_MATMUL, {"bool[2,3]", "bool[3,4]"}, "!a number is needed", NONE},
      {WEFT_OP_MATMUL, {"f32[2,3]"}, "!has 1 inputs", NONE},
  };
  RUN_CASES(cases);
}

static void test_attention(void) {
  static const char *const q = "f32[b,12,s,32]", *const k = "f32[b,12,t,32]";
  const infer_case cases[] = {
      {WEFT_OP_ATTENTION, {q, k, "f32[b,12,t,64]"}, "f32[b,12,s,64]", NONE},
      {WEFT_OP_ATTENTION, {q, k, k, "f32[b,1,1,t]"}, "f32[b,12,s,32]", NONE},
      {WEFT_OP_ATTENTION,
       {q, k, k, "f32[t]"},
       "f32[b,s,12,32]",
       {.attention = {.heads_last = true}}},
      {WEFT_OP_ATTENTION, {"f32[2,4,5,8]", "f32[2,4,6,8]", "f32[2,4,6,7]"}, "f32[2,4,5,7]", NONE},
      {WEFT_OP_ATTENTION, {q, "f32[...]", k}, "f32[...]", NONE},
      {WEFT_OP_ATTENTION, {q, "f32[b,3,t,32]", k}, "!do not fit together", NONE},
      {WEFT_OP_ATTENTION, {q, "f32[b,12,t,16]", k}, "!do not fit together", NONE},
      {WEFT_OP_ATTENTION, {"f32[2,3,4]", k, k}, "!do not fit together", NONE},
      {WEFT_OP_ATTENTION, {q, k, k, "f32[b,3,s,t]"}, "!input 3 is [b,3,s,t]", NONE},
      {WEFT_OP_ATTENTION, {q, k, k, "f32[1,b,1,1,t]"}, "!cannot be broadcast", NONE},
      {WEFT_OP_ATTENTION, {q, k, k, "bool[t]"}, "!input 3 is bool, but f32 is needed", NONE},
      {WEFT_OP_ATTENTION,
       {q, k, k},
       "!attribute out of range",
       {.attention = {.scale = 1.f / 0.f}}},
  };
  RUN_CASES(cases);
}

static void test_norm(void) {
  static const infer_case cases[] = {
      {WEFT_OP_NORM, {"f32[b,s,8]", "f32[8]", "f32[8]"}, "f32[b,s,8]", {.norm = {.axis = -1}}},
      {WEFT_OP_NORM, {"f32[b,4,8]", "f32[4,8]"}, "f32[b,4,8]", {.norm = {.axis = 1}}},
      {WEFT_OP_NORM, {"f32[b,4,8]", "f32[1,8]", "f32[]"}, "f32[b,4,8]", {.norm = {.axis = 1}}},
      {WEFT_OP_NORM, {"f32[...]", "f32[8]"}, "f32[...]", {.norm = {.axis = -1}}},
      {WEFT_OP_NORM, {"f32[2,8]", "f32[4]"}, "!input 1 is [4]", {.norm = {.axis = -1}}},
      {WEFT_OP_NORM,
       {"f32[2,8]", "f32[8]", "f32[2,8]"},
       "!input 2 is [2,8]",
       {.norm = {.axis = -1}}},
      {WEFT_OP_NORM, {"f32[2,8]", "f32[8]"}, "!axis 2", {.norm = {.axis = 2}}},
      {WEFT_OP_NORM, {"i32[2,8]", "i32[8]"}, "!a float is needed", {.norm = {.axis = 1}}},
      {WEFT_OP_NORM, {"f32[2,8]", "f32[8]"}, "!attribute", {.norm = {.kind = (weft_norm_kind)7}}},
      {WEFT_OP_SOFTMAX, {"f32[b,8]"}, "f32[b,8]", {.softmax = {.axis = -1}}},
      {WEFT_OP_SOFTMAX, {"f32[b,8]"}, "!axis -3", {.softmax = {.axis = -3}}},
      {WEFT_OP_SOFTMAX, {"f32[]"}, "!axis 0", {.softmax = {.axis = 0}}},
      {WEFT_OP_TRIANGLE, {"f32[b,s,s]", "i64 1"}, "f32[b,s,s]", NONE},
      {WEFT_OP_TRIANGLE, {"bool[2,2]"}, "bool[2,2]", NONE},
      {WEFT_OP_TRIANGLE, {"f32[4]"}, "!needs a matrix", NONE},
      {WEFT_OP_CUMSUM, {"f32[b,4]", "i64 1"}, "f32[b,4]", NONE},
      {WEFT_OP_CUMSUM, {"f32[b,4]", "i64[]"}, "f32[b,4]", NONE},
      {WEFT_OP_CUMSUM, {"f32[b,4]", "i32 2"}, "!axis 2", NONE},
      {WEFT_OP_CUMSUM, {"f32[b,4]", "i32{0,1}"}, "!one axis", NONE},
  };
  RUN_CASES(cases);
}

static void test_reduce(void) {
#define REDUCE(...)                                                                                \
  {                                                                                                \
    .reduce = {.kind = WEFT_REDUCE_MEAN, ##__VA_ARGS__ }                                           \
  }
  static const infer_case cases[] = {
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[1,1,1]", REDUCE(.keep_dims = true)},
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[b,s,1]", REDUCE(AXES(-1), .keep_dims = true)},
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[s]", REDUCE(AXES(0, 2))},
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[b,8]", REDUCE(AXES(1, -2))},
      {WEFT_OP_REDUCE, {"f32[b,s,8]", "i64{1}"}, "f32[b,8]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[b,s,8]", "i64[0]"}, "f32[]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[b,s,8]"}, "f32[b,s,8]", REDUCE(.none_means_none = true)},
      {WEFT_OP_REDUCE, {"f32[b,s,8]", "i64[1]"}, "f32[?2,?3]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[b,s]", "i64[n]"}, "f32[...]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[b,s]", "i64[n]"}, "f32[?3,?4]", REDUCE(.keep_dims = true)},
      {WEFT_OP_REDUCE, {"f32[]"}, "f32[]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[...]"}, "f32[...]", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[2]"}, "!axis 1", REDUCE(AXES(1))},
      {WEFT_OP_REDUCE, {"f32[2]", "i64{-2}"}, "!axis -2", REDUCE()},
      {WEFT_OP_REDUCE, {"bool[2]"}, "!a number", REDUCE()},
      {WEFT_OP_REDUCE, {"f32[2]"}, "!attribute", {.reduce = {.kind = (weft_reduce_kind)77}}},
      {WEFT_OP_ARG_REDUCE, {"f32[b,8]"}, "i64[b]", {.arg_reduce = {.axis = 1}}},
      {WEFT_OP_ARG_REDUCE,
       {"f32[b,8]"},
       "i64[1,8]",
       {.arg_reduce = {.axis = 0, .keep_dims = true}}},
      {WEFT_OP_ARG_REDUCE, {"f32[b,0]"}, "!axis 1 is empty", {.arg_reduce = {.axis = -1}}},
      {WEFT_OP_ARG_REDUCE, {"f32[b,8]"}, "!axis 2", {.arg_reduce = {.axis = 2}}},
  };
  RUN_CASES(cases);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void test_gather(void) {
  static const infer_case cases[] = {
      {WEFT_OP_GATHER, {"f32[30522,384]", "i64[b,s]"}, "f32[b,s,384]", NONE},
      {WEFT_OP_GATHER, {"f32[b,s,384]", "i64 0"}, "f32[b,384]", {.axis = {1}}},
      {WEFT_OP_GATHER, {"f32[2,3]", "i32[4,5]"}, "f32[2,4,5]", {.axis = {-1}}},
      {WEFT_OP_GATHER, {"f32[...]", "i32[4]"}, "f32[...]", NONE},
      {WEFT_OP_GATHER, {"f32[]", "i32[4]"}, "!axis 0 is out of range", NONE},
      {WEFT_OP_GATHER, {"f32[2,2,2,2,2]", "i32[1,1,1,1,1]"}, "!rank 9", NONE},
      {WEFT_OP_GATHER, {"f32[2]", "f32[1]"}, "!i32 or i64", NONE},
      {WEFT_OP_GATHER_ELEMENTS, {"f32[b,5]", "i64[b,3]"}, "f32[b,3]", {.axis = {1}}},
      {WEFT_OP_GATHER_ELEMENTS, {"f32[4,5]", "i64[2,9]"}, "f32[2,9]", {.axis = {1}}},
      {WEFT_OP_GATHER_ELEMENTS, {"f32[4,5]", "i64[5,9]"}, "!do not fit", {.axis = {1}}},
      {WEFT_OP_GATHER_ELEMENTS, {"f32[4,5]", "i64[5]"}, "!do not fit", {.axis = {1}}},
  };
  RUN_CASES(cases);
}

static void test_concat(void) {
  static const infer_case cases[] = {
      {WEFT_OP_CONCAT, {"f32[2,3]", "f32[2,4]"}, "f32[2,7]", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[b,p,8]", "f32[b,s,8]"}, "f32[b,p+s,8]", {.axis = {-2}}},
      {WEFT_OP_CONCAT, {"f32[b,s]", "f32[b,1]"}, "f32[b,s+1]", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[b,s]", "f32[2,s]"}, "f32[2,s+s]", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[0]", "f32[s]"}, "f32[s]", NONE},
      {WEFT_OP_CONCAT, {"f32[3]"}, "f32[3]", NONE},
      {WEFT_OP_CONCAT, {"f32[3]", "f32[...]"}, "f32[...]", NONE},
      {WEFT_OP_CONCAT, {"f32[2,3]", "f32[3,3]"}, "!cannot concatenate [2,3]", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[2,3]", "f32[3]"}, "!cannot concatenate [2,3]", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[2]", "f16[2]"}, "!input 1 is f16", NONE},
      {WEFT_OP_CONCAT, {"f32[2]", NULL, "f32[2]"}, "!input 1 is missing", NONE},
      {WEFT_OP_CONCAT, {"f32[2]"}, "!axis 1", {.axis = {1}}},
      {WEFT_OP_CONCAT, {"f32[]"}, "!axis 0", NONE},
  };
  RUN_CASES(cases);
}

static void test_pad(void) {
#define PAD(mode_)                                                                                 \
  {                                                                                                \
    .pad = {.mode = WEFT_PAD_##mode_ }                                                             \
  }
  static const infer_case cases[] = {
      {WEFT_OP_PAD, {"f32[2,3]", "i64{0,1,2,3}"}, "f32[4,7]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2,3]", "i64{0,-1,0,-1}"}, "f32[2,1]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[b,3]", "i64{0,1,0,3}", "f32=0"}, "f32[b,7]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[b,s]", "i64{0,1,0,3}"}, "f32[b,s+4]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[b,s]", "i64{0,-1,0,0}"}, "f32[b,?2]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2,3]", "i64{1,2}", NULL, "i64{-1}"}, "f32[2,6]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2,3]", "i64[4]"}, "f32[?0,?1]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2,3]", "i64[2]", NULL, "i64[1]"}, "f32[?0,?1]", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[4]", "i64{3,3}"}, "f32[10]", PAD(REFLECT)},
      {WEFT_OP_PAD, {"f32[4]", "i64{4,0}"}, "!cannot pad", PAD(REFLECT)},
      {WEFT_OP_PAD, {"f32[4]", "i64{9,0}"}, "f32[13]", PAD(EDGE)},
      {WEFT_OP_PAD, {"f32[0]", "i64{1,0}"}, "!cannot pad", PAD(WRAP)},
      {WEFT_OP_PAD,
       {"f32[2]", "i64{-2,-1}"},
       "!cannot pad a dimension of 2 by -2 and -1",
       PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2]", "i64{1}"}, "!1 pads for 1 axes", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2]", "i64{9223372036854775807,1}"}, "!overflows", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2]", "i64{9223372036854775807,0}"}, "!cannot pad", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2,2]", "i64{1,1,1,1}", NULL, "i64{0,-2}"}, "!twice", PAD(CONSTANT)},
      {WEFT_OP_PAD, {"f32[2]", "i64{1,1}", "f16[]"}, "!input 2 is f16", PAD(CONSTANT)},
  };
  RUN_CASES(cases);
}

static void test_range(void) {
  static const infer_case cases[] = {
      {WEFT_OP_RANGE, {"i64 0", "i64 4", "i64 1"}, "i64[4] {0,1,2,3}", NONE},
      {WEFT_OP_RANGE, {"i64 5", "i64 0", "i64 -2"}, "i64[3] {5,3,1}", NONE},
      {WEFT_OP_RANGE, {"i64 5", "i64 0", "i64 1"}, "i64[0] {}", NONE},
      {WEFT_OP_RANGE, {"i64{0}", "i64{2}", "i64{1}"}, "i64[2] {0,1}", NONE},
      {WEFT_OP_RANGE, {"i64 0", "i64 s", "i64 1"}, "i64[s]", NONE},
      {WEFT_OP_RANGE, {"i64 p", "i64 t", "i64 1"}, "i64[t-p]", NONE},
      {WEFT_OP_RANGE, {"i64 p", "i64 p+s", "i64 1"}, "i64[s]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 p+s", "i64 1"}, "i64[p]", NONE},
      {WEFT_OP_RANGE, {"i64 p*q", "i64 s+(p*q)", "i64 1"}, "i64[s]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 s+(p*q)", "i64 1"}, "i64[p*q]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 s+4", "i64 1"}, "i64[(s+4)-s]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 p+ss", "i64 1"}, "i64[(p+ss)-s]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 ss+p", "i64 1"}, "i64[(ss+p)-s]", NONE},
      {WEFT_OP_RANGE, {"i64 s", "i64 s+p+q", "i64 1"}, "i64[(s+p+q)-s]", NONE},
      {WEFT_OP_RANGE, {"i64 0", "i64 s", "i64 2"}, "i64[?1]", NONE},
      {WEFT_OP_RANGE, {"i64[]", "i64 3", "i64 1"}, "i64[?0]", NONE},
      {WEFT_OP_RANGE, {"f32=0", "f32=1", "f32=0.25"}, "f32[4]", NONE},
      {WEFT_OP_RANGE, {"f32=0", "f32=1", "f32=0.3"}, "f32[4]", NONE},
      {WEFT_OP_RANGE, {"f32=1", "f32=0", "f32=0.3"}, "f32[0]", NONE},
      {WEFT_OP_RANGE, {"f32[]", "f32=0", "f32=0.3"}, "f32[?0]", NONE},
      {WEFT_OP_RANGE, {"i64 0", "i64 4", "i64 0"}, "!step of 0", NONE},
      {WEFT_OP_RANGE, {"f32=0", "f32=1", "f32=0"}, "!a range from 0 to 1 by 0", NONE},
      {WEFT_OP_RANGE, {"f32=nan", "f32=1", "f32=1"}, "!a range", NONE},
      {WEFT_OP_RANGE, {"f32=0", "f32=inf", "f32=1"}, "!a range", NONE},
      {WEFT_OP_RANGE, {"f32=0", "f32=1", "f32=nan"}, "!a range", NONE},
      {WEFT_OP_RANGE,
       {"i64 -9223372036854775808", "i64 9223372036854775807", "i64 1"},
       "!more than",
       NONE},
      {WEFT_OP_RANGE, {"i64{0,1}", "i64 4", "i64 1"}, "!no scalar", NONE},
      {WEFT_OP_RANGE, {"i64 0", "i32 4", "i64 1"}, "!input 1 is i32", NONE},
  };
  RUN_CASES(cases);
}

static void test_shape_and_fill(void) {
  static const infer_case cases[] = {
      {WEFT_OP_SHAPE, {"f32[b,s,8]"}, "i64[3] {b,s,8}", NONE},
      {WEFT_OP_SHAPE, {"f32[b,s,8]"}, "i64[2] {s,8}", {.shape = {.start = 1}}},
      {WEFT_OP_SHAPE, {"f32[b,s,8]"}, "i64[1] {s}", {.shape = {-2, -1, true}}},
      {WEFT_OP_SHAPE, {"f32[b,s,8]"}, "i64[0] {}", {.shape = {2, 1, true}}},
      {WEFT_OP_SHAPE, {"f32[b,s,8]"}, "i64[3] {b,s,8}", {.shape = {-99, 99, true}}},
      {WEFT_OP_SHAPE, {"f32[]"}, "i64[0] {}", NONE},
      {WEFT_OP_SHAPE, {"f32[...]"}, "i64[?0]", NONE},
      {WEFT_OP_FILL, {"i64{b,2}"}, "f32[b,2]", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_FILL, {"i64{2}"}, "i64[2] {7,7}", {.fill = {WEFT_I64, {7}}}},
      {WEFT_OP_FILL, {"i64[0]"}, "i32[] {-1}", {.fill = {WEFT_I32, {255, 255, 255, 255}}}},
      {WEFT_OP_FILL, {"i64[2]"}, "bool[?0,?1]", {.fill = {WEFT_BOOL, {1}}}},
      {WEFT_OP_FILL, {"i64[n]"}, "f32[...]", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_FILL, {"i64{-1}"}, "!dimension of -1", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_FILL, {"i64{1099511627777}"}, "!more than", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_FILL, {"i64[9]"}, "!rank 9", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_FILL, {"i64{1}"}, "!attribute", {.fill = {.dtype = WEFT_STRING}}},
  };
  RUN_CASES(cases);
}

/* ---- map ------------------------------------------------------------------------------------- */

/* add of two inputs, or of the product and an input in a matmul. */
static weft_status infer_add(fixture *f, weft_op op, const weft_value_id *inputs, uint32_t count,
                             weft_value_id *out) {
  weft_attributes attributes = {0};
  weft_dtype dtypes[] = {f->graph.values[inputs[0]].dtype, f->graph.values[inputs[0]].dtype};
  CHECK_OK(weft_graph_simple_expr(&f->graph, WEFT_EXPR_ADD, dtypes, 2, dtypes[0],
                                  &attributes.map.expr, &f->error),
           &f->error);
  if (op == WEFT_OP_MATMUL) attributes.matmul.expr = attributes.map.expr;
  *out = add_node(f, 0, op, inputs, count, &attributes)->outputs[0];
  weft_inference at = weft_inference_at_load(&f->graph);
  return weft_infer_node(&at, f->graph.node_count - 1, &f->error);
}

static void check_broadcast(const char *a, const char *b, const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id output;
  weft_status status = infer_add(&f, WEFT_OP_MAP, IDS(tensor(&f, a), tensor(&f, b)), &output);
  if (expected[0] == '!') {
    CHECK_INT(status, WEFT_INVALID_MODEL);
    CHECK(contains(f.error.message, expected + 1));
  } else {
    char actual[200];
    weft_inference at = weft_inference_at_load(&f.graph);
    CHECK_OK(status, &f.error);
    CHECK_TEXT(describe(&at, output, actual, sizeof actual), expected);
  }
  fixture_close(&f);
}

static void test_broadcast(void) {
  check_broadcast("f32[2,3]", "f32[3]", "f32[2,3]");
  check_broadcast("f32[2,1]", "f32[1,3]", "f32[2,3]");
  check_broadcast("f32[b,s,8]", "f32[8]", "f32[b,s,8]");
  check_broadcast("f32[b,1,1,t]", "f32[b,12,s,t]", "f32[b,12,s,t]");
  check_broadcast("f32[s]", "f32[5]", "f32[5]");
  check_broadcast("f32[5]", "f32[s]", "f32[5]");
  check_broadcast("f32[s]", "f32[0]", "f32[0]");
  check_broadcast("f32[s]", "f32[t]", "f32[s|t]");
  check_broadcast("f32[?]", "f32[?]", "f32[?0|?1]");
  check_broadcast("f32[]", "f32[]", "f32[]");
  check_broadcast("f32[...]", "f32[2]", "f32[...]");
  check_broadcast("f32[2]", "f32[3]", "!cannot broadcast [2] with [3]");
  check_broadcast("f32[0]", "f32[3]", "!cannot broadcast");
  check_broadcast("f32[2]", "i64[2]", "!input 1 is i64, but f32 is needed");
  check_broadcast("bool[2]", "bool[2]", "!instruction 0 (add) does not take bool");
}

/* The same broadcast gives the same symbol again. */
static void test_broadcast_again(void) {
  fixture f;
  fixture_open(&f);
  weft_inference at = weft_inference_at_load(&f.graph);
  weft_shape a = parse_shape(&f, "[s,?]"), b = parse_shape(&f, "[t,?]"), x, y;
  CHECK_OK(weft_infer_broadcast(&at, &a, &b, &x, &f.error), &f.error);
  uint32_t symbols = f.graph.symbol_count;
  CHECK_OK(weft_infer_broadcast(&at, &b, &a, &y, &f.error), &f.error);
  CHECK(weft_shape_equal(&x, &y));
  CHECK_INT(f.graph.symbol_count, symbols);
  weft_shape c = parse_shape(&f, "[2]"), d = parse_shape(&f, "[3]");
  CHECK_INT(weft_infer_broadcast(&at, &c, &d, &x, &f.error), WEFT_INVALID_MODEL);
  CHECK_TEXT(f.error.message, "cannot broadcast [2] with [3]");
  fixture_close(&f);
}

static void test_matmul_expression(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id a = tensor(&f, "f32[b,3]"), w = tensor(&f, "f32[3,4]"), output;
  CHECK_OK(infer_add(&f, WEFT_OP_MATMUL, IDS(a, w, tensor(&f, "f32[4]")), &output), &f.error);
  CHECK(weft_shape_equal(&f.graph.values[output].shape, &(weft_shape){2, {WEFT_DIM_SYMBOL(0), 4}}));
  CHECK_INT(infer_add(&f, WEFT_OP_MATMUL, IDS(a, w, tensor(&f, "f32[3]")), &output),
            WEFT_INVALID_MODEL);
  CHECK(contains(f.error.message, "input 2 is [3], which cannot be broadcast to [b,4]"));
  CHECK_INT(infer_add(&f, WEFT_OP_MATMUL, IDS(a, w, tensor(&f, "f32[1,1,4]")), &output),
            WEFT_INVALID_MODEL);
  CHECK_INT(infer_add(&f, WEFT_OP_MATMUL, IDS(a, w), &output), WEFT_INVALID_MODEL);
  CHECK(contains(f.error.message, "takes 2 inputs, the node gives 1"));
  fixture_close(&f);
}

/* ---- merging --------------------------------------------------------------------------------- */

/* Infers an expand of a scalar to `wanted` into an output that the model declares as `declared`. */
static void check_merge(const char *wanted, const char *declared, const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_attributes attributes = VIEW(EXPAND);
  weft_value_id inputs[] = {tensor(&f, "f32[]"), tensor(&f, wanted)};
  weft_value_id output = add_node(&f, 0, WEFT_OP_VIEW, inputs, 2, &attributes)->outputs[0];
  const char *at = declared;
  f.graph.values[output].dtype = parse_dtype(&at);
  f.graph.values[output].shape = parse_shape(&f, at);
  weft_status status = weft_infer_graph(&f.graph, &f.error);
  if (expected[0] == '!') {
    CHECK_INT(status, WEFT_INVALID_MODEL);
    CHECK(contains(f.error.message, expected + 1));
  } else {
    char actual[200];
    weft_inference facts = weft_inference_at_load(&f.graph);
    CHECK_OK(status, &f.error);
    CHECK_TEXT(describe(&facts, output, actual, sizeof actual), expected);
  }
  fixture_close(&f);
}

static void test_merge(void) {
  check_merge("i64{2,3}", "f32[2,3]", "f32[2,3]");
  check_merge("i64{2,3}", "f32[a,3]", "f32[2,3]");
  check_merge("i64{b,3}", "f32[a,3]", "f32[b,3]");
  check_merge("i64{b,3}", "f32[7,3]", "f32[b,3]");
  check_merge("i64{?,3}", "f32[7,3]", "f32[7,3]");
  check_merge("i64{?,3}", "f32[a,3]", "f32[a,3]");
  check_merge("i64{?,3}", "f32[?,3]", "f32[?0,3]");
  check_merge("i64{2,3}", "f32[...]", "f32[2,3]");
  check_merge("i64[n]", "f32[a,3]", "f32[a,3]");
  check_merge("i64{2,3}", "f32[2,4]", "!'value_2' is [2,3], but [2,4] is expected");
  check_merge("i64{2,3}", "f32[3]", "!is [2,3], but [3] is expected");
  check_merge("i64{2,3}", "f16[2,3]", "!output 0 is f32, but f16 is expected");
}

/* A second inference changes nothing and makes no new symbols. */
static void test_infer_again(void) {
  fixture f;
  fixture_open(&f);
  weft_attributes attributes = VIEW(RESHAPE);
  weft_value_id inputs[] = {tensor(&f, "f32[b,4]"), tensor(&f, "i64[2]")};
  weft_value_id output = add_node(&f, 0, WEFT_OP_VIEW, inputs, 2, &attributes)->outputs[0];
  CHECK_OK(weft_infer_graph(&f.graph, &f.error), &f.error);
  weft_shape first = f.graph.values[output].shape;
  uint32_t symbols = f.graph.symbol_count;
  CHECK_OK(weft_infer_graph(&f.graph, &f.error), &f.error);
  CHECK(weft_shape_equal(&first, &f.graph.values[output].shape));
  CHECK_INT(f.graph.symbol_count, symbols);
  fixture_close(&f);
}

/* ---- bind ------------------------------------------------------------------------------------ */

static void test_bind_unknown(void) {
  static const infer_case cases[] = {
      {WEFT_OP_VIEW, {"f32[2,4]", "i64[3]"}, "!depends on values computed", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[2,4]", "i64{?,?}"}, "!depends on values computed", VIEW(RESHAPE)},
      {WEFT_OP_VIEW, {"f32[1,1]", "i64[2]"}, "!depends on values computed", VIEW(EXPAND)},
      {WEFT_OP_VIEW, {"f32[8]", "i64[1]", "i64{3}"}, "!depends on values computed", VIEW(SLICE)},
      {WEFT_OP_VIEW, {"f32[1,2]", "i64[1]"}, "!depends on values computed", VIEW(SQUEEZE)},
      {WEFT_OP_RANGE, {"i64[]", "i64 3", "i64 1"}, "!depends on values computed", NONE},
      {WEFT_OP_RANGE, {"f32[]", "f32=3", "f32=1"}, "!depends on values computed", NONE},
      {WEFT_OP_FILL, {"i64[2]"}, "!depends on values computed", {.fill = {.dtype = WEFT_F32}}},
      {WEFT_OP_PAD, {"f32[2]", "i64[2]"}, "!depends on values computed", NONE},
      {WEFT_OP_REDUCE,
       {"f32[2]", "i64[1]"},
       "!depends on values computed",
       {.reduce = {.keep_dims = true}}},
  };
  for (uint32_t i = 0; i < COUNT_OF(cases); i++) run_case(&cases[i], true);
}

/* [1,512] cut at s, then added to [b,s,8]: what load takes for granted is checked at bind. */
static void bind_positions(int64_t s, const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id x = tensor(&f, "f32[b,s,8]"), table = tensor(&f, "f32[1,512,8]"), sum;
  weft_attributes shape = {.shape = {1, 2, true}}, slice = VIEW(SLICE);
  weft_value_id zero, one;
  CHECK_OK(weft_graph_add_integers(&f.graph, WEFT_STR("0"), (int64_t[]){0}, 1, &zero, &f.error),
           &f.error);
  CHECK_OK(weft_graph_add_integers(&f.graph, WEFT_STR("1"), (int64_t[]){1}, 1, &one, &f.error),
           &f.error);
  weft_value_id length = add_node(&f, 0, WEFT_OP_SHAPE, IDS(x), &shape)->outputs[0];
  weft_value_id cut =
      add_node(&f, 0, WEFT_OP_VIEW, IDS(table, zero, length, one), &slice)->outputs[0];
  CHECK_OK(weft_infer_graph(&f.graph, &f.error), &f.error);
  CHECK_OK(infer_add(&f, WEFT_OP_MAP, IDS(x, cut), &sum), &f.error);
  char actual[600];
  weft_inference load = weft_inference_at_load(&f.graph);
  CHECK_TEXT(describe(&load, sum, actual, sizeof actual), "f32[b,s,8]");

  int64_t symbols[] = {3, s};
  weft_inference at = open_bind(&f, symbols);
  at.shapes[x] = (weft_shape){3, {3, s, 8}};
  weft_status status = WEFT_OK;
  for (weft_node_id i = 0; i < 3 && status == WEFT_OK; i++) {
    status = weft_infer_node(&at, i, &f.error);
  }
  if (status == WEFT_OK) describe(&at, sum, f.error.message, sizeof f.error.message);
  CHECK_TEXT(f.error.message, expected);
  CHECK_INT(status == WEFT_OK || status == WEFT_INVALID_ARGUMENT, 1);
  fixture_close(&f);
}

static void test_bind_checks_load(void) {
  bind_positions(100, "f32[3,100,8]");
  bind_positions(512, "f32[3,512,8]");
  bind_positions(600, "node 'n' (Op): its output 'value_5' is [1,512,8], but [1,s,8] is expected, "
                      "with s = 600");
}

/* ---- if -------------------------------------------------------------------------------------- */

/* if (condition) expand(x, then_shape) else expand(x, else_shape), with the shapes as constants. */
static weft_value_id build_if(fixture *f, const char *condition, const char *then_shape,
                              const char *else_shape) {
  weft_value_id x = tensor(f, "f32[]"), c = tensor(f, condition);
  weft_value_id shapes[] = {tensor(f, then_shape), tensor(f, else_shape)};
  weft_node *node = add_node(f, 0, WEFT_OP_IF, &c, 1, NULL);
  weft_value_id output = node->outputs[0];
  uint32_t regions[2];
  for (int i = 0; i < 2; i++) {
    weft_attributes attributes = VIEW(EXPAND);
    CHECK_OK(weft_graph_add_region(&f->graph, 0, &regions[i], &f->error), &f->error);
    mark_output(f, regions[i],
                add_node(f, regions[i], WEFT_OP_VIEW, IDS(x, shapes[i]), &attributes)->outputs[0]);
  }
  f->graph.nodes[0].attributes.branches.then_region = regions[0];
  f->graph.nodes[0].attributes.branches.else_region = regions[1];
  mark_output(f, 0, output);
  return output;
}

static void check_if(const char *condition, const char *then_shape, const char *else_shape,
                     const char *expected) {
  fixture f;
  fixture_open(&f);
  weft_value_id output = build_if(&f, condition, then_shape, else_shape);
  weft_status status = weft_infer_graph(&f.graph, &f.error);
  char actual[600];
  weft_inference at = weft_inference_at_load(&f.graph);
  if (expected[0] == '!') {
    CHECK(status != WEFT_OK && contains(f.error.message, expected + 1));
  } else if (CHECK_OK(status, &f.error)) {
    CHECK_TEXT(describe(&at, output, actual, sizeof actual), expected);
    CHECK_OK(weft_graph_verify(&f.graph, &f.error), &f.error);
  }
  fixture_close(&f);
}

static void test_if(void) {
  check_if("bool[]", "i64{2,3}", "i64{2,3}", "f32[2,3]");
  check_if("bool[]", "i64{2,3}", "i64{2,4}", "f32[2,?0]");
  check_if("bool[]", "i64{2,3}", "i64{2}", "f32[...]");
  check_if("bool 1", "i64{2,3}", "i64{2}", "f32[2,3]");
  check_if("bool 0", "i64{2,3}", "i64{2}", "f32[2]");
  check_if("bool 0", "i64{-1}", "i64{2}", "f32[2]");
  check_if("bool[]", "i64{-1}", "i64{2}", "!dimension of -1");
  check_if("i64[]", "i64{2}", "i64{2}", "!input 0 is i64, but bool is needed");
}

static void test_if_too_deep(void) {
  fixture f;
  fixture_open(&f);
  weft_value_id c = tensor(&f, "bool[]");
  uint32_t region = 0;
  for (uint32_t depth = 0; depth <= WEFT_MAX_SUBGRAPH_DEPTH; depth++) {
    uint32_t branches[2];
    weft_value_id output = add_node(&f, region, WEFT_OP_IF, &c, 1, NULL)->outputs[0];
    if (region) mark_output(&f, region, output);
    for (int i = 0; i < 2; i++) {
      CHECK_OK(weft_graph_add_region(&f.graph, region, &branches[i], &f.error), &f.error);
    }
    f.graph.nodes[f.graph.node_count - 1].attributes.branches.then_region = branches[0];
    f.graph.nodes[f.graph.node_count - 1].attributes.branches.else_region = branches[1];
    mark_output(&f, branches[1], c);
    region = branches[0];
  }
  mark_output(&f, region, c);
  CHECK_INT(weft_infer_graph(&f.graph, &f.error), WEFT_LIMIT_EXCEEDED);
  CHECK(contains(f.error.message, "nested deeper than 8"));
  fixture_close(&f);
}

int main(void) {
  CHECK_RUN(test_reshape);
  CHECK_RUN(test_transpose);
  CHECK_RUN(test_slice);
  CHECK_RUN(test_expand);
  CHECK_RUN(test_squeeze);
  CHECK_RUN(test_split);
  CHECK_RUN(test_matmul);
  CHECK_RUN(test_attention);
  CHECK_RUN(test_norm);
  CHECK_RUN(test_reduce);
  CHECK_RUN(test_gather);
  CHECK_RUN(test_concat);
  CHECK_RUN(test_pad);
  CHECK_RUN(test_range);
  CHECK_RUN(test_shape_and_fill);
  CHECK_RUN(test_broadcast);
  CHECK_RUN(test_broadcast_again);
  CHECK_RUN(test_matmul_expression);
  CHECK_RUN(test_merge);
  CHECK_RUN(test_infer_again);
  CHECK_RUN(test_bind_unknown);
  CHECK_RUN(test_bind_checks_load);
  CHECK_RUN(test_if);
  CHECK_RUN(test_if_too_deep);
  return check_result();
}
