/* Tests of the lowering of ONNX graphs: names, order, scopes, branches, constants, and what is
 * refused. Operators are tested in lower_ops.c, functions in lower_functions.c. */
#include "tests/unit/lower_build.h"

/* ---- names and order ------------------------------------------------------------------------- */

static void test_chain(void) {
  build_begin(17);
  input("x", WEFT_F32, "batch,3");
  add("Relu", "x", "a")->name = WEFT_STR("first");
  add("Add", "a,x", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[batch,3] x\n"
              "%1 f32[batch,3] = map(%0) {relu(x0)}  # first (Relu)\n"
              "%2 f32[batch,3] = map(%1, %0) {add(x0, x1)}  # Add_1 (Add)\n"
              "output %2\n");
}

static void test_value_names(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Exp", "x", "a");
  output_of(&built.graph, "a");
  lowered made;
  lower_model(&made);
  CHECK_OK(made.status, &made.error);
  const weft_graph *graph = &made.file.graph;
  CHECK_TEXT(graph->values[graph->regions[0].inputs[0]].name.data, "x");
  CHECK_TEXT(graph->values[graph->regions[0].outputs[0]].name.data, "a");
  CHECK_TEXT(made.file.graph_name.data, "main");
  CHECK_INT(made.file.opset, 17);
  CHECK_INT(made.file.node_count, 1);
  weft_graph_release(&made.file.graph);
  build_end();
}

static void test_sort(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Abs", "x", "a");
  add("Add", "c,b", "y"); /* needs the two below */
  add("Neg", "a", "b");
  add("Exp", "b", "c");
  add("Log", "x", "z");
  output_of(&built.graph, "y");
  output_of(&built.graph, "z");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {abs(x0)}  # Abs_0 (Abs)\n"
              "%2 f32[2] = map(%1) {neg(x0)}  # Neg_2 (Neg)\n"
              "%3 f32[2] = map(%2) {exp(x0)}  # Exp_3 (Exp)\n"
              "%4 f32[2] = map(%3, %2) {add(x0, x1)}  # Add_1 (Add)\n"
              "%5 f32[2] = map(%0) {log(x0)}  # Log_4 (Log)\n"
              "output %4, %5\n");
}

static void test_cycle(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Abs", "x", "a");
  add("Add", "a,c", "b")->name = WEFT_STR("loop");
  add("Neg", "b", "c");
  output_of(&built.graph, "c");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'loop' (Add, node 1 of its graph) depends on its own output");
}

static void test_unknown_input(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Add", "x,nowhere", "y");
  output_of(&built.graph, "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Add_0' (Add): nothing defines 'nowhere'");
}

static void test_unknown_output(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  output_of(&built.graph, "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "nothing defines output 'y' of graph 'main'");
}

static void test_defined_twice(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Abs", "x", "a");
  add("Neg", "x", "a");
  output_of(&built.graph, "a");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "value 'a' is defined more than once");
}

/* Outputs that are another value under a second name are computed as such. */
static void test_aliases(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Identity", "x", "a");
  add("Identity", "a", "b");
  output_of(&built.graph, "b");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0)  # Identity_0 (Identity)\n"
              "%2 f32[2] = map(%1)  # Identity_1 (Identity)\n"
              "output %2\n");
}

/* An optional input in the middle, left out. */
static void test_left_out(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  input("most", WEFT_F32, "");
  add("Clip", "x,,most", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "input %1 f32[] most\n"
              "%2 f32[2] = map(%0, %1) {min(x0, x1)}  # Clip_0 (Clip)\n"
              "output %2\n");
}

/* ---- constants ------------------------------------------------------------------------------- */

static void test_initializers(void) {
  build_begin(17);
  input("x", WEFT_F32, "2,3");
  input("shape", WEFT_I64, "1"); /* an input with a default value is a constant */
  initializer(&built.graph, INTEGERS("shape", "1", -1));
  add("Reshape", "x,shape", "y");
  output_of(&built.graph, "y");
  CHECK_GRAPH("const %0 i64[1] {-1} shape\n"
              "input %1 f32[2,3] x\n"
              "%2 f32[6] = view.reshape(%1, %0)  # Reshape_0 (Reshape)\n"
              "output %2\n");
}

static void test_initializer_size(void) {
  static const float three[3] = {1, 2, 3};
  build_begin(17);
  initializer(&built.graph, tensor("w", WEFT_F32, "2,2", three, sizeof three));
  output_of(&built.graph, "w");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "tensor 'w': its shape and type take 16 bytes, its data has 12");
}

static void test_initializer_dims(void) {
  build_begin(17);
  initializer(&built.graph, tensor("w", WEFT_F32, "-2", "", 0));
  CHECK_REFUSED(WEFT_INVALID_MODEL, "tensor 'w': dimension 0 is -2");
  build_begin(17);
  initializer(&built.graph, tensor("w", WEFT_F32, "4294967296,4294967296", "", 0));
  CHECK_REFUSED(WEFT_LIMIT_EXCEEDED, "tensor 'w' has more than 1099511627776 elements");
  build_begin(17);
  initializer(&built.graph, tensor("w", WEFT_F32, "1,1,1,1,1,1,1,1,1", "", 0));
  CHECK_REFUSED(WEFT_UNSUPPORTED, "tensor 'w' has rank 9; at most 8 is supported");
}

/* Tensors of types that Weft does not have are refused only when used. */
static void add_strings(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  initializer(&built.graph, tensor("words", WEFT_STRING, "2", "", 0));
  add("Abs", "x", "y");
  output_of(&built.graph, "y");
}

static void test_missing_types(void) {
  add_strings();
  CHECK_GRAPH("input %0 f32[2] x\n"
              "%1 f32[2] = map(%0) {abs(x0)}  # Abs_0 (Abs)\n"
              "output %1\n");
  add_strings();
  add("Identity", "words", "z");
  CHECK_REFUSED(WEFT_UNSUPPORTED, "node 'Identity_1' (Identity): input 'words' is not supported: "
                                  "tensor 'words' has elements of ONNX type 8");
}

static weft_onnx_tensor sparse_values, sparse_indices;
static int64_t sparse_dims[2] = {2, 3};

static void add_sparse(weft_onnx_tensor values, weft_onnx_tensor indices) {
  sparse_values = values;
  sparse_indices = indices;
  *WEFT_ARENA_PUSH(&built.arena, built.graph.sparse_initializers,
                   built.graph.sparse_initializer_count) =
      (weft_onnx_sparse_tensor){&sparse_values, &sparse_indices, sparse_dims, 2};
}

static void check_dense(void) {
  lowered made;
  output_of(&built.graph, "s");
  lower_model(&made);
  CHECK_OK(made.status, &made.error);
  static const int64_t dense[6] = {0, 7, 0, 0, 0, 9};
  const weft_graph *graph = &made.file.graph;
  if (made.status == WEFT_OK)
    CHECK(memcmp(graph->values[graph->regions[0].outputs[0]].data->data, dense, 48) == 0);
  weft_graph_release(&made.file.graph);
  build_end();
}

static void test_sparse(void) {
  build_begin(17);
  add_sparse(INTEGERS("s", "2", 7, 9), INTEGERS("", "2", 1, 5));
  check_dense();
  build_begin(17);
  add_sparse(INTEGERS("s", "2", 7, 9), INTEGERS("", "2,2", 0, 1, 1, 2));
  check_dense();
}

static void test_sparse_refused(void) {
  build_begin(17);
  add_sparse(INTEGERS("s", "1", 7), INTEGERS("", "1", 6));
  CHECK_REFUSED(WEFT_INVALID_MODEL, "sparse tensor 's': an index lies outside of the shape");
  build_begin(17);
  add_sparse(INTEGERS("s", "1", 7), INTEGERS("", "1,3", 0, 0, 0));
  CHECK_REFUSED(WEFT_INVALID_MODEL, "sparse tensor 's': the shape of the indices fits neither "
                                    "[values] nor [values,rank]");
  build_begin(17);
  add_sparse(INTEGERS("s", "2", 7), INTEGERS("", "2", 0, 1));
  CHECK_REFUSED(WEFT_INVALID_MODEL, "sparse tensor 's': the values have another number of bytes "
                                    "than their shape says");
}

/* ---- what the model says about itself -------------------------------------------------------- */

static void test_versions(void) {
  build_begin(6);
  CHECK_REFUSED(WEFT_UNSUPPORTED, "the model uses opset 6 of ONNX; supported are 7 to 28");
  build_begin(29);
  CHECK_REFUSED(WEFT_UNSUPPORTED, "the model uses opset 29 of ONNX; supported are 7 to 28");
  build_begin(17);
  built.model.ir_version = 2;
  CHECK_REFUSED(WEFT_UNSUPPORTED, "the model has IR version 2; supported are 3 and newer");
  build_begin(17);
  built.model.opset_count = 0;
  CHECK_REFUSED(WEFT_INVALID_MODEL, "the model imports no operator set");
  build_begin(17);
  built.model.graph = NULL;
  CHECK_REFUSED(WEFT_INVALID_MODEL, "the model has no graph");
}

static void test_inputs_refused(void) {
  build_begin(17);
  input("x", WEFT_STRING, "2");
  CHECK_REFUSED(WEFT_UNSUPPORTED, "input 'x' has elements of ONNX type 8");
  build_begin(17);
  input("x", WEFT_F32, "1,1,1,1,1,1,1,1,1");
  CHECK_REFUSED(WEFT_UNSUPPORTED, "value 'x' has rank 9; at most 8 is supported");
  build_begin(17);
  input("x", WEFT_F32, "2");
  built.graph.inputs[0].is_tensor = false;
  built.graph.inputs[0].element_type = 0;
  CHECK_REFUSED(WEFT_UNSUPPORTED, "input 'x' is not a tensor (element type 0)");
  build_begin(17);
  input("x", WEFT_F32, "2");
  input("x", WEFT_F32, "2");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "value 'x' is defined more than once");
}

static void test_declared_output(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Abs", "x", "y");
  output_of(&built.graph, "y");
  built.graph.outputs[0] = info("y", WEFT_I64, NULL);
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "output 'y' is declared as ONNX type 7, but has elements of type f32");
}

/* Where only a run can tell the rank, the declared one is taken. */
static void test_rank_hint(void) {
  build_begin(17);
  input("x", WEFT_F32, "2,3");
  input("shape", WEFT_I64, "n");
  add("Reshape", "x,shape", "a");
  add("Transpose", "a", "y");
  *WEFT_ARENA_PUSH(&built.arena, built.graph.value_infos, built.graph.value_info_count) =
      info("a", WEFT_F32, "1,6");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2,3] x\n"
              "input %1 i64[n] shape\n"
              "%2 f32[?1,?2] = view.reshape(%0, %1)  # Reshape_0 (Reshape)\n"
              "%3 f32[?2,?1] = view.transpose(%2)  # Transpose_1 (Transpose)\n"
              "output %3\n");
}

/* ---- operators that cannot be lowered -------------------------------------------------------- */

static void test_operators_refused(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Frobnicate", "x", "y")->name = WEFT_STR("odd");
  CHECK_REFUSED(WEFT_UNSUPPORTED,
                "node 'odd': operator ai.onnx::Frobnicate (opset 17) is not supported");
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Gelu", "x", "y"); /* since opset 20 */
  CHECK_REFUSED(WEFT_UNSUPPORTED,
                "node 'Gelu_0': operator ai.onnx::Gelu (opset 17) is not supported");
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Gelu", "x", "y")->domain = WEFT_STR("com.microsoft");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'Gelu_0' (Gelu): its operator set 'com.microsoft' is not imported");
}

static void test_attributes_refused(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  attributes(add("Relu", "x", "y"), "slope=1");
  CHECK_REFUSED(WEFT_UNSUPPORTED,
                "node 'Relu_0' (Relu): attribute 'slope' is not supported in opset 17");
  build_begin(17);
  input("x", WEFT_F32, "2");
  attributes(add("Softmax", "x", "y"), "axis=0.5");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'Softmax_0' (Softmax): attribute 'axis' must be an int, not a float");
  build_begin(17);
  input("x", WEFT_F32, "2");
  attributes(add("Softmax", "x", "y"), "axis=1 axis=1");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Softmax_0' (Softmax): attribute 'axis' is given twice");
  build_begin(17);
  input("x", WEFT_F32, "2");
  attributes(add("Softmax", "x", "y"), "axis=99");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'Softmax_0' (Softmax): attribute 'axis' is 99, no axis of a tensor");
}

static void test_inputs_counted(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Add", "x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Add_0' (Add): it has 1 inputs; 2 to 2 are allowed");
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Add", ",x", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Add_0' (Add): input 0 is missing");
  build_begin(17);
  input("x", WEFT_F32, "2");
  add("Relu", "x", "");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Relu_0' (Relu): it has no outputs");
}

static void test_types_differ(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  input("n", WEFT_I64, "2");
  add("Add", "x,n", "y");
  CHECK_REFUSED(WEFT_INVALID_MODEL,
                "node 'Add_0' (Add): its operands are of different types, f32 and i64");
}

/* An output that the lowering does not compute is refused where it is used. */
static void test_output_not_computed(void) {
  build_begin(13);
  input("x", WEFT_F32, "2,3");
  input("v", WEFT_F32, "3");
  add("BatchNormalization", "x,v,v,v,v", "y,mean");
  add("Abs", "mean", "z");
  output_of(&built.graph, "y");
  CHECK_REFUSED(WEFT_UNSUPPORTED, "node 'Abs_1' (Abs): input 'mean' is not supported: "
                                  "output 1 of node 'BatchNormalization_0' (BatchNormalization)");
}

/* ---- branches -------------------------------------------------------------------------------- */

static weft_onnx_graph yes, no;

static void add_branches(const char *yes_op, const char *no_op) {
  yes = no = (weft_onnx_graph){0};
  add_to(&yes, yes_op, "a", "t");
  output_of(&yes, "t");
  add_to(&no, no_op, "a", "t");
  output_of(&no, "t");
}

static void add_if(const char *condition) {
  weft_onnx_node *node = add("If", condition, "y");
  attribute_graph(node, "then_branch", &yes);
  attribute_graph(node, "else_branch", &no);
}

static void test_if(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  input("c", WEFT_BOOL, "");
  add("Abs", "x", "a");
  add_branches("Exp", "Neg");
  add_if("c");
  output_of(&built.graph, "y");
  CHECK_GRAPH("input %0 f32[2] x\n"
              "input %1 bool[] c\n"
              "%2 f32[2] = map(%0) {abs(x0)}  # Abs_0 (Abs)\n"
              "%5 f32[2] = if(%1) then=1 else=2  # If_1 (If)\n"
              "output %5\n"
              "region 1 in 0\n"
              "%3 f32[2] = map(%2) {exp(x0)}  # Exp_0 (Exp)\n"
              "output %3\n"
              "region 2 in 0\n"
              "%4 f32[2] = map(%2) {neg(x0)}  # Neg_0 (Neg)\n"
              "output %4\n");
}

/* What a branch captures counts when nodes are sorted. */
static void test_if_sorted(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  initializer(&built.graph, tensor("c", WEFT_BOOL, "", "\1", 1));
  add_branches("Exp", "Neg");
  add_if("c");
  add("Abs", "x", "a");
  output_of(&built.graph, "y");
  CHECK_GRAPH("const %0 bool[] {1} c\n"
              "input %1 f32[2] x\n"
              "%2 f32[2] = map(%1) {abs(x0)}  # Abs_1 (Abs)\n"
              "%3 f32[2] = map(%2) {exp(x0)}  # Exp_0 (Exp)\n"
              "output %3\n");
}

/* A branch that is taken for sure stands in place of the If; the other one is not looked at. */
static void test_if_known(void) {
  build_begin(17);
  input("x", WEFT_F32, "2");
  initializer(&built.graph, tensor("c", WEFT_BOOL, "", "\0", 1));
  add("Abs", "x", "a");
  add_branches("Frobnicate", "Identity");
  add_if("c");
  output_of(&built.graph, "y");
  CHECK_GRAPH("const %0 bool[] {0} c\n"
              "input %1 f32[2] x\n"
              "%2 f32[2] = map(%1) {abs(x0)}  # Abs_0 (Abs)\n"
              "%3 f32[2] = map(%2)  # Identity_0 (Identity)\n"
              "output %3\n");
}

static void test_if_refused(void) {
  build_begin(17);
  input("a", WEFT_F32, "2");
  input("c", WEFT_BOOL, "");
  add_branches("Exp", "Neg");
  attribute_graph(add("If", "c", "y"), "then_branch", &yes);
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'If_0' (If): attribute 'else_branch' is missing");
  build_begin(17);
  input("a", WEFT_F32, "2");
  input("c", WEFT_BOOL, "");
  add_branches("Exp", "Neg");
  *WEFT_ARENA_PUSH(&built.arena, no.inputs, no.input_count) = info("i", WEFT_F32, NULL);
  add_if("c");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'If_0' (If): a branch has inputs");
}

/* A name in a branch hides the one outside. */
static void test_if_scope(void) {
  build_begin(17);
  input("a", WEFT_F32, "2");
  input("c", WEFT_BOOL, "");
  add_branches("Exp", "Neg");
  add_if("c");
  add("Abs", "t", "z");
  output_of(&built.graph, "z");
  CHECK_REFUSED(WEFT_INVALID_MODEL, "node 'Abs_1' (Abs): nothing defines 't'");
}

static void test_if_depth(void) {
  build_begin(17);
  input("a", WEFT_F32, "2");
  input("c", WEFT_BOOL, "");
  add_branches("Exp", "Neg");
  weft_onnx_graph *inner = &yes;
  for (uint32_t i = 0; i < WEFT_MAX_SUBGRAPH_DEPTH; ++i) {
    weft_onnx_graph *outer = WEFT_ARENA_NEW(&built.arena, weft_onnx_graph);
    weft_onnx_node *node = add_to(outer, "If", "c", "t");
    attribute_graph(node, "then_branch", inner);
    attribute_graph(node, "else_branch", &no);
    output_of(outer, "t");
    inner = outer;
  }
  weft_onnx_node *node = add("If", "c", "y");
  attribute_graph(node, "then_branch", inner);
  attribute_graph(node, "else_branch", &no);
  CHECK_REFUSED(WEFT_LIMIT_EXCEEDED, "node '': subgraphs are nested more than 8 deep");
}

int main(void) {
  CHECK_RUN(test_chain);
  CHECK_RUN(test_value_names);
  CHECK_RUN(test_sort);
  CHECK_RUN(test_cycle);
  CHECK_RUN(test_unknown_input);
  CHECK_RUN(test_unknown_output);
  CHECK_RUN(test_defined_twice);
  CHECK_RUN(test_aliases);
  CHECK_RUN(test_left_out);
  CHECK_RUN(test_initializers);
  CHECK_RUN(test_initializer_size);
  CHECK_RUN(test_initializer_dims);
  CHECK_RUN(test_missing_types);
  CHECK_RUN(test_sparse);
  CHECK_RUN(test_sparse_refused);
  CHECK_RUN(test_versions);
  CHECK_RUN(test_inputs_refused);
  CHECK_RUN(test_declared_output);
  CHECK_RUN(test_rank_hint);
  CHECK_RUN(test_operators_refused);
  CHECK_RUN(test_attributes_refused);
  CHECK_RUN(test_inputs_counted);
  CHECK_RUN(test_types_differ);
  CHECK_RUN(test_output_not_computed);
  CHECK_RUN(test_if);
  CHECK_RUN(test_if_sorted);
  CHECK_RUN(test_if_known);
  CHECK_RUN(test_if_refused);
  CHECK_RUN(test_if_scope);
  CHECK_RUN(test_if_depth);
  return check_result();
}
