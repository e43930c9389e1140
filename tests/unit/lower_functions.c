/* Tests of the lowering of local functions: inlining, attributes, and what is refused. */
#include "tests/unit/lower_build.h"

/* A function of the domain "local", in opset 17. The pointer holds until the next one. */
static weft_onnx_function *function(const char *name, const char *inputs, const char *outputs) {
  weft_onnx_function *f =
      WEFT_ARENA_PUSH(&built.arena, built.model.functions, built.model.function_count);
  f->name = weft_str_of(name);
  f->domain = WEFT_STR("local");
  f->inputs = words(inputs, &f->input_count);
  f->outputs = words(outputs, &f->output_count);
  import(&f->opsets, &f->opset_count, "", 17);
  return f;
}

static weft_onnx_node *body(weft_onnx_function *f, const char *op, const char *inputs,
                            const char *outputs) {
  return add_node(&f->nodes, &f->node_count, op, inputs, outputs);
}

static weft_onnx_node *call_to(const char *name, const char *inputs, const char *outputs) {
  weft_onnx_node *node = add(name, inputs, outputs);
  node->domain = WEFT_STR("local");
  return node;
}

static void begin(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
}

static void test_inlined(void) {
  begin();
  weft_onnx_function *f = function("Twice", "in", "out");
  body(f, "Exp", "in", "middle")->name = WEFT_STR("inner");
  body(f, "Add", "middle,middle", "out");
  call_to("Twice", "x", "a")->name = WEFT_STR("call");
  call_to("Twice", "a", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {exp(x0)}  # call/inner (Exp)\n"
              "%2 f32[2] = map(%1, %1) {add(x0, x1)}  # call/Add_1 (Add)\n"
              "%3 f32[2] = map(%2) {exp(x0)}  # Twice_1/inner (Exp)\n"
              "%4 f32[2] = map(%3, %3) {add(x0, x1)}  # Twice_1/Add_1 (Add)\n"
              "output %4\n");
}

static void test_value_names(void) {
  begin();
  weft_onnx_function *f = function("Twice", "in", "out");
  body(f, "Exp", "in", "middle");
  body(f, "Neg", "middle", "out");
  call_to("Twice", "x", "y")->name = WEFT_STR("call");
  output_of(&built.graph, "y");
  lowered made;
  lower_model(&made);
  CHECK_OK(made.status, &made.error);
  CHECK_TEXT(made.file.graph.values[1].name.data, "call/middle");
  CHECK_TEXT(made.file.graph.values[2].name.data, "y");
  weft_graph_release(&made.file.graph);
  build_end();
}

/* A body that hands inputs through, and one value out twice. */
static void test_passed_through(void) {
  begin();
  weft_onnx_function *f = function("Pass", "in", "in,out,out");
  body(f, "Abs", "in", "out");
  call_to("Pass", "x", "a,b,c");
  output_of(&built.graph, "a");
  output_of(&built.graph, "b");
  output_of(&built.graph, "c");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {abs(x0)}  # Pass_0/Abs_0 (Abs)\n"
              "%2 f32[2] = map(%0)  # Pass_0 (Identity)\n"
              "%3 f32[2] = map(%1)  # Pass_0 (Identity)\n"
              "output %2, %1, %3\n");
}

static void test_left_out(void) {
  begin();
  weft_onnx_function *f = function("Limit", "in,low,high", "out");
  body(f, "Clip", "in,low,high", "out");
  call_to("Limit", "x,,x", "y");
  call_to("Limit", "x", "z");
  output_of(&built.graph, "y");
  output_of(&built.graph, "z");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0, %0) {min(x0, x1)}  # Limit_0/Clip_0 (Clip)\n"
              "%2 f32[2] = map(%0)  # Limit_1/Clip_0 (Identity)\n"
              "output %1, %2\n");
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Scaled(in; alpha, axis = 0): a LeakyRelu and a Softmax that refer to both. */
static void add_scaled(void) {
  weft_onnx_function *f = function("Scaled", "in", "out");
  f->attributes = words("alpha", &f->attribute_count);
  weft_onnx_attribute *axis =
      WEFT_ARENA_PUSH(&built.arena, f->attribute_defaults, f->attribute_default_count);
  *axis = (weft_onnx_attribute){.name = WEFT_STR("axis"), .type = INT, .i = 0};
  attribute(body(f, "LeakyRelu", "in", "m"), WEFT_STR("alpha"), FLOAT)->reference =
      WEFT_STR("alpha");
  attribute(body(f, "Softmax", "m", "out"), WEFT_STR("axis"), INT)->reference = WEFT_STR("axis");
}

static void test_attributes(void) {
  begin();
  add_scaled();
  attributes(call_to("Scaled", "x", "a"), "alpha=0.5 axis=-1");
  call_to("Scaled", "a", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {select(less(x0, 0), mul(0.5, x0), x0)}  # Scaled_0/LeakyRelu_0 "
              "(LeakyRelu)\n"
              "%2 f32[2] = softmax(%1) axis=-1  # Scaled_0/Softmax_1 (Softmax)\n"
              "%3 f32[2] = map(%2) {select(less(x0, 0), mul(0.00999999978, x0), x0)}  "
              "# Scaled_1/LeakyRelu_0 (LeakyRelu)\n"
              "%4 f32[2] = softmax(%3) axis=0  # Scaled_1/Softmax_1 (Softmax)\n"
              "output %4\n");
}

/* A reference to an attribute that was itself handed in by reference. */
static void test_attribute_handed_on(void) {
  begin();
  add_scaled();
  weft_onnx_function *outer = function("Outer", "in", "out");
  outer->attributes = words("k", &outer->attribute_count);
  weft_onnx_node *inner = body(outer, "Scaled", "in", "out");
  inner->domain = WEFT_STR("local");
  attribute(inner, WEFT_STR("axis"), INT)->reference = WEFT_STR("k");
  attributes(call_to("Outer", "x", "y"), "k=-1");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {select(less(x0, 0), mul(0.00999999978, x0), x0)}  "
              "# Outer_0/Scaled_0/LeakyRelu_0 (LeakyRelu)\n"
              "%2 f32[2] = softmax(%1) axis=-1  # Outer_0/Scaled_0/Softmax_1 (Softmax)\n"
              "output %2\n");
}

static void test_attribute_unknown(void) {
  begin();
  add_scaled();
  attributes(call_to("Scaled", "x", "y"), "beta=1");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'Scaled_0' (Scaled): the function has no attribute 'beta'");
}

/* A branch inside a function sees the function's names and attributes. */
static void test_branch_inside(void) {
  static weft_onnx_graph yes, no;
  begin();
  yes = no = (weft_onnx_graph){0};
  input("c", WEFT_BOOL, "");
  weft_onnx_node *soft = add_to(&yes, "Softmax", "in", "t");
  attribute(soft, WEFT_STR("axis"), INT)->reference = WEFT_STR("axis");
  output_of(&yes, "t");
  add_to(&no, "Neg", "in", "t");
  output_of(&no, "t");
  weft_onnx_function *f = function("Choose", "in,cond", "out");
  f->attributes = words("axis", &f->attribute_count);
  weft_onnx_node *node = body(f, "If", "cond", "out");
  attribute_graph(node, "then_branch", &yes);
  attribute_graph(node, "else_branch", &no);
  attributes(call_to("Choose", "x,c", "y"), "axis=0");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "input %1 bool[] c\n"
              "%4 f32[2] = if(%1) then=1 else=2  # Choose_0/If_0 (If)\n"
              "output %4\n"
              "region 1 in 0\n"
              "%2 f32[2] = softmax(%0) axis=0  # Choose_0/Softmax_0 (Softmax)\n"
              "output %2\n"
              "region 2 in 0\n"
              "%3 f32[2] = map(%0) {neg(x0)}  # Choose_0/Neg_0 (Neg)\n"
              "output %3\n");
}

/* ---- refused --------------------------------------------------------------------------------- */

static void test_own_scope(void) {
  begin();
  weft_onnx_function *f = function("Peek", "in", "out");
  body(f, "Add", "in,x", "out"); /* x is the caller's */
  call_to("Peek", "x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Peek_0/Add_0' (Add): nothing defines 'x'");
}

static void test_recursion(void) {
  begin();
  weft_onnx_function *f = function("A", "in", "out");
  body(f, "B", "in", "out")->domain = WEFT_STR("local");
  f = function("B", "in", "out");
  body(f, "A", "in", "out")->domain = WEFT_STR("local");
  call_to("A", "x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'A_0/B_0/A_0' (A): the function calls itself");
}

static const char *const chain[] = {"F0", "F1",  "F2",  "F3",  "F4",  "F5",  "F6",  "F7", "F8",
                                    "F9", "F10", "F11", "F12", "F13", "F14", "F15", "F16"};

/* F0 calls F1 `calls` times, and so on. */
static void add_chain(uint32_t length, uint32_t calls) {
  for (uint32_t i = 0; i < length; ++i) {
    weft_onnx_function *f = function(chain[i], "in", "out");
    bool last = i + 1 == length;
    for (uint32_t c = 0; c < calls; ++c) {
      weft_onnx_node *node = body(f, last ? "Abs" : chain[i + 1], "in", c == 0 ? "out" : "ignored");
      if (c > 0) node->outputs[0] = (weft_str){0};
      if (!last) node->domain = WEFT_STR("local");
    }
  }
  call_to("F0", "x", "y");
}

static void test_depth(void) {
  begin();
  add_chain(WEFT_MAX_FUNCTION_DEPTH, 1);
  output_of(&built.graph, "y");
  lowered made;
  lower_model(&made);
  CHECK_OK(made.status, &made.error);
  weft_graph_release(&made.file.graph);
  build_end();
  begin();
  add_chain(WEFT_MAX_FUNCTION_DEPTH + 1, 1);
  CHECK_REFUSED(WEFT_LIMIT_EXCEEDED,
                "node 'F0_0/F1_0/F2_0/F3_0/F4_0/F5_0/F6_0/F7_0/F8_0/F9_0/F10_0/F11_0/F12_0/F13_0/"
                "F14_0/F15_0/F16_0' (F16): function calls are nested more than 16 deep");
}

/* A small file must not grow without bound. */
static void test_growth(void) {
  begin();
  add_chain(12, 4);
  lowered made;
  lower_model(&made);
  CHECK_INT(made.status, WEFT_LIMIT_EXCEEDED);
  CHECK_TEXT(made.error.message,
             "the model has more than 131072 nodes, those of called functions included");
  build_end();
}

static void test_call_counts(void) {
  begin();
  weft_onnx_function *f = function("One", "in", "out");
  body(f, "Abs", "in", "out");
  call_to("One", "x,x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'One_0' (One): the call has 2 inputs and 1 outputs, the "
                                    "function 1 and 1");
}

static void test_output_undefined(void) {
  begin();
  weft_onnx_function *f = function("None", "in", "out");
  body(f, "Abs", "in", "other");
  call_to("None", "x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "nothing defines output 'out' of function 'None'");
}

static void test_defined_twice(void) {
  begin();
  function("One", "in", "in");
  function("One", "in", "in");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "function 'One' is defined more than once");
  begin();
  function("One", "in", "in")->overload = WEFT_STR("other");
  body(function("One", "in", "out"), "Abs", "in", "out");
  call_to("One", "x", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {abs(x0)}  # One_0/Abs_0 (Abs)\n"
              "output %1\n");
}

static void test_opset(void) {
  begin();
  weft_onnx_function *f = function("Old", "in", "out");
  f->opsets[0].version = 5;
  body(f, "Abs", "in", "out");
  call_to("Old", "x", "y");
  CHECK_REFUSED(WEFT_UNSUPPORTED, "the model uses opset 5 of ONNX; supported are 7 to 28");
}

int main(void) {
  CHECK_RUN(test_inlined);
  CHECK_RUN(test_value_names);
  CHECK_RUN(test_passed_through);
  CHECK_RUN(test_left_out);
  CHECK_RUN(test_attributes);
  CHECK_RUN(test_attribute_handed_on);
  CHECK_RUN(test_attribute_unknown);
  CHECK_RUN(test_branch_inside);
  CHECK_RUN(test_own_scope);
  CHECK_RUN(test_recursion);
  CHECK_RUN(test_depth);
  CHECK_RUN(test_growth);
  CHECK_RUN(test_call_counts);
  CHECK_RUN(test_output_undefined);
  CHECK_RUN(test_defined_twice);
  CHECK_RUN(test_opset);
  return check_result();
}
