/* lower_ops.c: what each family of ONNX operators is lowered to, one line per node. Tests of the
 * driver are in lower_graph.c and lower_functions.c. */
#include "tests/unit/lower_cases.h"

static void test_arithmetic(void) {
  static const operator_case cases[] = {
      {17, "Add", "f32[2,3] f32[3]", "", 1, "%2 f32[2,3] = map(%0, %1) {add(x0, x1)}\n"},
      {17, "Greater", "i64[2] i64[2]", "", 1, "%2 bool[2] = map(%1, %0) {less(x0, x1)}\n"},
      {17, "GreaterOrEqual", "f32[2] f32[2]", "", 1,
       "%2 bool[2] = map(%1, %0) {less_equal(x0, x1)}\n"},
      {13, "Mod", "i64[2] i64[2]", "", 1, "%2 i64[2] = map(%0, %1) {mod(x0, x1)}\n"},
      {13, "Mod", "f32[2] f32[2]", "fmod=1", 1, "%2 f32[2] = map(%0, %1) {fmod(x0, x1)}\n"},
      {15, "Pow", "f32[2] i64[2]", "", 1, "%2 f32[2] = map(%0, %1) {pow(x0, f32(x1))}\n"},
      {15, "Pow", "i32[2] f32[2]", "", 1, "%2 i32[2] = map(%0, %1) {i32(pow(f32(x0), x1))}\n"},
      {17, "Sum", "f32[2] f32[2] f32[1]", "", 1,
       "%3 f32[2] = map(%0, %1) {add(x0, x1)}\n"
       "%4 f32[2] = map(%3, %2) {add(x0, x1)}\n"},
      {17, "Max", "i32[2]", "", 1, "%1 i32[2] = map(%0)\n"},
      {17, "Mean", "f32[2] f32[2] f32[1]", "", 1,
       "%3 f32[2] = map(%0, %1) {add(x0, x1)}\n"
       "%4 f32[2] = map(%3, %2) {add(x0, x1)}\n"
       "%5 f32[2] = map(%4) {div(x0, 3)}\n"},
      {11, "BitShift", "u8[2] u8[2]", "direction=LEFT", 1,
       "%2 u8[2] = map(%0, %1) {shift_left(x0, x1)}\n"},
      {28, "BitShift", "i32[2] i32[2]", "direction=RIGHT", 1,
       "%2 i32[2] = map(%0, %1) {shift_right(x0, x1)}\n"},
      {18, "BitwiseNot", "u8[2]", "", 1, "%1 u8[2] = map(%0) {not(x0)}\n"},
      {17, "Where", "bool[2] f32[2] f32[]", "", 1,
       "%3 f32[2] = map(%0, %1, %2) {select(x0, x1, x2)}\n"},
      {10, "IsInf", "f32[2]", "", 1, "%1 bool[2] = map(%0) {is_inf(x0)}\n"},
      {10, "IsInf", "f32[2]", "detect_negative=0", 1, "%1 bool[2] = map(%0) {equal(x0, inf)}\n"},
      {10, "IsInf", "f32[2]", "detect_negative=0 detect_positive=0", 1,
       "%1 bool[2] {0,0} = map(%0) {0}\n"},
      {13, "Cast", "f32[2]", "to=7", 1, "%1 i64[2] = map(%0) {i64(x0)}\n"},
      {19, "Cast", "f32[2]", "to=1 saturate=1", 1, "%1 f32[2] = map(%0)\n"},
      {19, "CastLike", "f32[2] f16[]", "", 1, "%2 f16[2] = map(%0) {f16(x0)}\n"},
      {7, "Clip", "f32[2]", "max=6.0 min=0.0", 1, "%1 f32[2] = map(%0) {min(max(x0, 0), 6)}\n"},
      {13, "Clip", "f32[2] f32[] f32[]", "", 1,
       "%3 f32[2] = map(%0, %1) {max(x0, x1)}\n"
       "%4 f32[2] = map(%3, %2) {min(x0, x1)}\n"},
      {10, "Dropout", "f32[2]", "ratio=0.5", 2,
       "%1 bool[2] {1,1} = map(%0) {1}\n"
       "%2 f32[2] = map(%0)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_activations(void) {
  static const operator_case cases[] = {
      {17, "LeakyRelu", "f32[2]", "alpha=0.5", 1,
       "%1 f32[2] = map(%0) {select(less(x0, 0), mul(0.5, x0), x0)}\n"},
      {17, "PRelu", "f32[2,3] f32[3]", "", 1,
       "%2 f32[2,3] = map(%0, %1) {select(less(x0, 0), mul(x1, x0), x0)}\n"},
      {17, "ThresholdedRelu", "f32[2]", "alpha=2.0", 1,
       "%1 f32[2] = map(%0) {select(less(2, x0), x0, 0)}\n"},
      {17, "Elu", "f32[2]", "alpha=2.0", 1,
       "%1 f32[2] = map(%0) {select(less(x0, 0), mul(2, sub(exp(x0), 1)), x0)}\n"},
      {17, "Selu", "f32[2]", "alpha=2.0 gamma=3.0", 1,
       "%1 f32[2] = map(%0) {mul(3, select(less(0, x0), x0, mul(2, sub(exp(x0), 1))))}\n"},
      {17, "Celu", "f32[2]", "alpha=2.0", 1,
       "%1 f32[2] = map(%0) {add(max(0, x0), min(0, mul(2, sub(exp(div(x0, 2)), 1))))}\n"},
      {17, "HardSigmoid", "f32[2]", "alpha=0.5 beta=0.5", 1,
       "%1 f32[2] = map(%0) {max(min(add(mul(0.5, x0), 0.5), 1), 0)}\n"},
      {17, "HardSwish", "f32[2]", "", 1,
       "%1 f32[2] = map(%0) {mul(x0, max(min(add(mul(x0, 0.166666672), 0.5), 1), 0))}\n"},
      {17, "Softsign", "f32[2]", "", 1, "%1 f32[2] = map(%0) {div(x0, add(1, abs(x0)))}\n"},
      {18, "Mish", "f32[2]", "", 1, "%1 f32[2] = map(%0) {mul(x0, tanh(softplus(x0)))}\n"},
      {17, "Shrink", "f32[2]", "lambd=1.5 bias=0.5", 1,
       "%1 f32[2] = map(%0) {select(less(x0, -1.5), add(x0, 0.5), select(less(1.5, x0), sub(x0, "
       "0.5), 0))}\n"},
      {17, "Shrink", "i8[2]", "lambd=1.5 bias=0.5", 1,
       "%1 i8[2] = map(%0) {t0 = f32(x0); i8(select(less(t0, -1.5), add(t0, 0.5), select(less(1.5, "
       "t0), sub(t0, 0.5), 0)))}\n"},
      {20, "Gelu", "f32[2]", "", 1, "%1 f32[2] = map(%0) {gelu_erf(x0)}\n"},
      {20, "Gelu", "f32[2]", "approximate=tanh", 1, "%1 f32[2] = map(%0) {gelu_tanh(x0)}\n"},
      {24, "Swish", "f32[2]", "", 1, "%1 f32[2] = map(%0) {silu(x0)}\n"},
      {24, "Swish", "f32[2]", "alpha=0.5", 1,
       "%1 f32[2] = map(%0) {mul(x0, sigmoid(mul(x0, 0.5)))}\n"},
      {28, "SwiGLU", "f32[2] f32[2]", "", 1, "%2 f32[2] = map(%0, %1) {mul(silu(x0), x1)}\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_products(void) {
  static const operator_case cases[] = {
      {17, "MatMul", "f32[b,2,3] f32[3,4]", "", 1, "%2 f32[b,2,4] = matmul(%0, %1)\n"},
      {17, "Gemm", "f32[2,3] f32[3,4]", "", 1, "%2 f32[2,4] = matmul(%0, %1)\n"},
      {17, "Gemm", "f32[3,2] f32[4,3] f32[4]", "alpha=0.5 beta=2.0 transA=1 transB=1", 1,
       "%3 f32[2,3] = view.transpose(%0) axes=1,0\n"
       "%4 f32[3,4] = view.transpose(%1) axes=1,0\n"
       "%5 f32[2,4] = matmul(%3, %4)\n"
       "%6 f32[2,4] = map(%5) {mul(x0, 0.5)}\n"
       "%7 f32[4] = map(%2) {mul(x0, 2)}\n"
       "%8 f32[2,4] = map(%6, %7) {add(x0, x1)}\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_reductions(void) {
  static const operator_case cases[] = {
      {17, "ReduceSum", "f32[2,3] i64[1]", "keepdims=0", 1, "%2 f32[?0] = reduce.sum(%0, %1)\n"},
      {17, "ReduceMean", "f32[2,3]", "axes=[-1]", 1,
       "%1 f32[2,1] = reduce.mean(%0) axes=-1 keep_dims\n"},
      {18, "ReduceMax", "bool[2,3]", "", 1,
       "%1 u8[2,3] = map(%0) {u8(x0)}\n"
       "%2 u8[1,1] = reduce.max(%1) keep_dims\n"
       "%3 bool[1,1] = map(%2) {bool(x0)}\n"},
      {18, "ReduceL2", "f32[2,3]", "noop_with_empty_axes=1", 1,
       "%1 f32[2,3] = reduce.l2(%0) keep_dims none_means_none\n"},
      {17, "ArgMax", "f32[2,3]", "axis=1 select_last_index=1", 1,
       "%1 i64[2,1] = arg_reduce.max(%0) axis=1 keep_dims select_last\n"},
      {17, "ArgMin", "f32[2,3]", "keepdims=0", 1, "%1 i64[3] = arg_reduce.min(%0) axis=0\n"},
      {17, "GlobalAveragePool", "f32[n,3,4,5]", "", 1,
       "%1 f32[n,3,1,1] = reduce.mean(%0) axes=2,3 keep_dims\n"},
      {17, "GlobalLpPool", "f32[n,3,4,5]", "p=1", 1,
       "%1 f32[n,3,1,1] = reduce.l1(%0) axes=2,3 keep_dims\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_softmax(void) {
  static const operator_case cases[] = {
      {12, "Softmax", "f32[2,3,4]", "", 1, "%1 f32[2,3,4] = softmax(%0) axis=1 to_end\n"},
      {13, "Softmax", "f32[2,3,4]", "", 1, "%1 f32[2,3,4] = softmax(%0) axis=-1\n"},
      {13, "LogSoftmax", "f32[2,3]", "axis=0", 1, "%1 f32[2,3] = softmax(%0) axis=0 log\n"},
      {13, "Hardmax", "f32[n,3,4]", "axis=1", 1,
       "%1 i64[n,1,4] = arg_reduce.max(%0) axis=1 keep_dims\n"
       "%2 i64[1] {3} = shape(%0) start=1 end=2\n"
       "%3 i64[] {3} = view.squeeze(%2) axes=0\n"
       "%6 i64[3] {0,1,2} = range(%4, %3, %5)\n"
       "%7 i64[3,1] = view.unsqueeze(%6) axes=1\n"
       "%8 f32[n,3,4] = map(%7, %1) {f32(equal(x0, x1))}\n"},
      {11, "Hardmax", "f32[n,3,4]", "", 1,
       "%1 f32[n,12] = view.flatten(%0) axes=1\n"
       "%2 i64[n,1] = arg_reduce.max(%1) axis=1 keep_dims\n"
       "%3 i64[1] {12} = shape(%1) start=1 end=2\n"
       "%4 i64[] {12} = view.squeeze(%3) axes=0\n"
       "%7 i64[12] {0,1,2,3,4,5,6,7,8,9,10,11} = range(%5, %4, %6)\n"
       "%8 f32[n,12] = map(%7, %2) {f32(equal(x0, x1))}\n"
       "%9 i64[3] {n,3,4} = shape(%0) end=3\n"
       "%10 f32[n,3,4] = view.reshape(%8, %9)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_normalisation(void) {
  static const operator_case cases[] = {
      {17, "LayerNormalization", "f32[n,4] f32[4] f32[4]", "epsilon=0.5", 1,
       "%3 f32[n,4] = norm.layer(%0, %1, %2) axis=-1 epsilon=0.5\n"},
      {17, "LayerNormalization", "f32[n,4] f32[4]", "", 3,
       "%2 f32[n,4] = norm.layer(%0, %1) axis=-1 epsilon=9.99999975e-06\n"
       "%3 f32[n,1] = reduce.mean(%0) axes=1 keep_dims\n"
       "%4 f32[n,4] = map(%0, %3) {sub(x0, x1)}\n"
       "%5 f32[n,4] = map(%4, %4) {mul(x0, x1)}\n"
       "%6 f32[n,1] = reduce.mean(%5) axes=1 keep_dims\n"
       "%7 f32[n,1] = map(%6) {rsqrt(add(x0, 9.99999975e-06))}\n"
       "%8 f32[n,4] = map(%4, %7) {mul(x0, x1)}\n"},
      {23, "RMSNormalization", "f32[n,4] f32[4]", "axis=1", 1,
       "%2 f32[n,4] = norm.rms(%0, %1) axis=1 epsilon=9.99999975e-06\n"},
      {15, "BatchNormalization", "f32[n,3,4] f32[3] f32[3] f32[3] f32[3]",
       "epsilon=0.5 momentum=0.9", 1,
       "%5 f32[3] = map(%1, %4) {div(x0, sqrt(add(x1, 0.5)))}\n"
       "%6 f32[3] = map(%2, %3, %5) {sub(x0, mul(x1, x2))}\n"
       "%7 f32[3,1] = view.unsqueeze(%5) axes=1\n"
       "%8 f32[3,1] = view.unsqueeze(%6) axes=1\n"
       "%9 f32[n,3,4] = map(%0, %7, %8) {add(mul(x0, x1), x2)}\n"},
      {17, "InstanceNormalization", "f32[n,3,4] f32[3] f32[3]", "epsilon=0.5", 1,
       "%3 f32[n,3,1] = reduce.mean(%0) axes=2 keep_dims\n"
       "%4 f32[n,3,4] = map(%0, %3) {sub(x0, x1)}\n"
       "%5 f32[n,3,4] = map(%4, %4) {mul(x0, x1)}\n"
       "%6 f32[n,3,1] = reduce.mean(%5) axes=2 keep_dims\n"
       "%7 f32[n,3,1] = map(%6) {rsqrt(add(x0, 0.5))}\n"
       "%8 f32[n,3,4] = map(%4, %7) {mul(x0, x1)}\n"
       "%9 f32[3,1] = view.unsqueeze(%1) axes=1\n"
       "%10 f32[3,1] = view.unsqueeze(%2) axes=1\n"
       "%11 f32[n,3,4] = map(%8, %9, %10) {add(mul(x0, x1), x2)}\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_group_normalisation(void) {
  static const operator_case cases[] = {
      {18, "GroupNormalization", "f32[n,4,5] f32[2] f32[2]", "num_groups=2 epsilon=0.5", 1,
       "%4 f32[n,2,10] = view.reshape(%0, %3)\n"
       "%5 f32[n,2,1] = reduce.mean(%4) axes=2 keep_dims\n"
       "%6 f32[n,2,10] = map(%4, %5) {sub(x0, x1)}\n"
       "%7 f32[n,2,10] = map(%6, %6) {mul(x0, x1)}\n"
       "%8 f32[n,2,1] = reduce.mean(%7) axes=2 keep_dims\n"
       "%9 f32[n,2,1] = map(%8) {rsqrt(add(x0, 0.5))}\n"
       "%10 f32[n,2,10] = map(%6, %9) {mul(x0, x1)}\n"
       "%11 f32[2,1] = view.unsqueeze(%1) axes=1\n"
       "%12 f32[2,1] = view.unsqueeze(%2) axes=1\n"
       "%13 f32[n,2,10] = map(%10, %11, %12) {add(mul(x0, x1), x2)}\n"
       "%14 i64[3] {n,4,5} = shape(%0) end=3\n"
       "%15 f32[n,4,5] = view.reshape(%13, %14)\n"},
      {21, "GroupNormalization", "f32[n,4,5] f32[4] f32[4]", "num_groups=2 epsilon=0.5", 1,
       "%4 f32[n,2,10] = view.reshape(%0, %3)\n"
       "%5 f32[n,2,1] = reduce.mean(%4) axes=2 keep_dims\n"
       "%6 f32[n,2,10] = map(%4, %5) {sub(x0, x1)}\n"
       "%7 f32[n,2,10] = map(%6, %6) {mul(x0, x1)}\n"
       "%8 f32[n,2,1] = reduce.mean(%7) axes=2 keep_dims\n"
       "%9 f32[n,2,1] = map(%8) {rsqrt(add(x0, 0.5))}\n"
       "%10 f32[n,2,10] = map(%6, %9) {mul(x0, x1)}\n"
       "%11 i64[3] {n,4,5} = shape(%0) end=3\n"
       "%12 f32[n,4,5] = view.reshape(%10, %11)\n"
       "%13 f32[4,1] = view.unsqueeze(%1) axes=1\n"
       "%14 f32[4,1] = view.unsqueeze(%2) axes=1\n"
       "%15 f32[n,4,5] = map(%12, %13, %14) {add(mul(x0, x1), x2)}\n"},
      {13, "MeanVarianceNormalization", "f32[n,4,5,6]", "", 1,
       "%1 f32[1,4,1,1] = reduce.mean(%0) axes=0,2,3 keep_dims\n"
       "%2 f32[n,4,5,6] = map(%0, %1) {sub(x0, x1)}\n"
       "%3 f32[n,4,5,6] = map(%2, %2) {mul(x0, x1)}\n"
       "%4 f32[1,4,1,1] = reduce.mean(%3) axes=0,2,3 keep_dims\n"
       "%5 f32[n,4,5,6] = map(%2, %4) {div(x0, add(sqrt(x1), 1e-09))}\n"},
      {17, "LpNormalization", "f32[n,4]", "p=1", 1,
       "%1 f32[n,1] = reduce.l1(%0) axes=-1 keep_dims\n"
       "%2 f32[n,4] = map(%0, %1) {div(x0, select(equal(x1, 0), 1, x1))}\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_views(void) {
  static const operator_case cases[] = {
      {14, "Reshape", "f32[2,3] i64[2]", "allowzero=1", 1,
       "%2 f32[?0,?1] = view.reshape(%0, %1) allow_zero\n"},
      {13, "Flatten", "f32[2,3,4]", "axis=2", 1, "%1 f32[6,4] = view.flatten(%0) axes=2\n"},
      {13, "Transpose", "f32[2,n]", "", 1, "%1 f32[n,2] = view.transpose(%0)\n"},
      {13, "Transpose", "f32[2,3,n]", "perm=[0,2,1]", 1,
       "%1 f32[2,n,3] = view.transpose(%0) axes=0,2,1\n"},
      {11, "Squeeze", "f32[1,3]", "axes=[0]", 1, "%1 f32[3] = view.squeeze(%0) axes=0\n"},
      {13, "Squeeze", "f32[1,n]", "", 1, "%1 f32[...] = view.squeeze(%0)\n"},
      {11, "Unsqueeze", "f32[3]", "axes=[0,-1]", 1,
       "%1 f32[1,3,1] = view.unsqueeze(%0) axes=0,-1\n"},
      {9, "Slice", "f32[4,5]", "starts=[1] ends=[9] axes=[1]", 1,
       "%4 f32[4,4] = view.slice(%0, %1, %2, %3)\n"},
      {11, "Split", "f32[4,5]", "axis=1 split=[2,3]", 2,
       "%2 f32[4,2] = view.split(%0, %1) axes=1 part=0/2\n"
       "%3 f32[4,3] = view.split(%0, %1) axes=1 part=1/2\n"},
      {18, "Split", "f32[5]", "num_outputs=2", 2,
       "%1 f32[3] = view.split(%0) axes=0 part=0/2\n"
       "%2 f32[2] = view.split(%0) axes=0 part=1/2\n"},
      {13, "Tile", "f32[n,3] i64[2]", "", 1,
       "%3 i64[3] {?,?,1} = concat(%1, %2) axis=0\n"
       "%5 i64[4] {?,1,?,1} = gather(%3, %4) axis=0\n"
       "%6 f32[1,n,1,3] = view.unsqueeze(%0) axes=0,2\n"
       "%7 i64[2] {n,3} = shape(%0) end=2\n"
       "%8 i64[2] = map(%7, %1) {mul(x0, x1)}\n"
       "%9 f32[?1,n,?2,3] = view.expand(%6, %5)\n"
       "%10 f32[?3,?4] = view.reshape(%9, %8)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_rearrangement(void) {
  static const operator_case cases[] = {
      {13, "Concat", "f32[2,n] f32[2,m]", "axis=-1", 1, "%2 f32[2,n+m] = concat(%0, %1) axis=-1\n"},
      {13, "Gather", "f32[4,5] i64[n]", "axis=1", 1, "%2 f32[4,n] = gather(%0, %1) axis=1\n"},
      {13, "GatherElements", "f32[4,5] i64[4,2]", "axis=1", 1,
       "%2 f32[4,2] = gather_elements(%0, %1) axis=1\n"},
      {10, "Pad", "f32[4]", "pads=[1,2] value=0.5 mode=constant", 1,
       "%3 f32[7] = pad.constant(%0, %1, %2)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_depth_and_space(void) {
  static const operator_case cases[] = {
      {13, "DepthToSpace", "f32[n,8,h,w]", "blocksize=2", 1,
       "%2 i64[1] {n} = shape(%0) end=1\n"
       "%3 i64[2] {h,w} = shape(%0) start=2 end=4\n"
       "%4 i64[1] {8} = shape(%0) start=1 end=2\n"
       "%6 i64[1] {2} = map(%4, %5) {div(x0, x1)}\n"
       "%7 i64[6] {n,2,2,2,h,w} = concat(%2, %1, %6, %3) axis=0\n"
       "%8 f32[n,2,2,2,h,w] = view.reshape(%0, %7)\n"
       "%9 f32[n,2,h,2,w,2] = view.transpose(%8) axes=0,3,4,1,5,2\n"
       "%11 i64[2] {h*2,w*2} = map(%3, %10) {mul(x0, x1)}\n"
       "%12 i64[4] {n,2,h*2,w*2} = concat(%2, %6, %11) axis=0\n"
       "%13 f32[n,2,h*2,w*2] = view.reshape(%9, %12)\n"},
      {13, "DepthToSpace", "f32[n,8,2,3]", "blocksize=2 mode=CRD", 1,
       "%2 i64[1] {n} = shape(%0) end=1\n"
       "%3 i64[2] {2,3} = shape(%0) start=2 end=4\n"
       "%4 i64[1] {8} = shape(%0) start=1 end=2\n"
       "%6 i64[1] {2} = map(%4, %5) {div(x0, x1)}\n"
       "%7 i64[6] {n,2,2,2,2,3} = concat(%2, %6, %1, %3) axis=0\n"
       "%8 f32[n,2,2,2,2,3] = view.reshape(%0, %7)\n"
       "%9 f32[n,2,2,2,3,2] = view.transpose(%8) axes=0,1,4,2,5,3\n"
       "%11 i64[2] {4,6} = map(%3, %10) {mul(x0, x1)}\n"
       "%12 i64[4] {n,2,4,6} = concat(%2, %6, %11) axis=0\n"
       "%13 f32[n,2,4,6] = view.reshape(%9, %12)\n"},
      {13, "SpaceToDepth", "f32[n,2,4,6]", "blocksize=2", 1,
       "%2 i64[1] {n} = shape(%0) end=1\n"
       "%3 i64[1] {2} = shape(%0) start=1 end=2\n"
       "%4 i64[1] {4} = shape(%0) start=2 end=3\n"
       "%6 i64[1] {2} = map(%4, %5) {div(x0, x1)}\n"
       "%7 i64[1] {6} = shape(%0) start=3 end=4\n"
       "%9 i64[1] {3} = map(%7, %8) {div(x0, x1)}\n"
       "%10 i64[6] {n,2,2,2,3,2} = concat(%2, %3, %6, %1, %9, %1) axis=0\n"
       "%11 f32[n,2,2,2,3,2] = view.reshape(%0, %10)\n"
       "%12 f32[n,2,2,2,2,3] = view.transpose(%11) axes=0,3,5,1,2,4\n"
       "%14 i64[1] {8} = map(%3, %13) {mul(x0, x1)}\n"
       "%15 i64[4] {n,8,2,3} = concat(%2, %14, %6, %9) axis=0\n"
       "%16 f32[n,8,2,3] = view.reshape(%12, %15)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_making(void) {
  static const operator_case cases[] = {
      {13, "Shape", "f32[2,n,3]", "", 1, "%1 i64[3] {2,n,3} = shape(%0)\n"},
      {15, "Shape", "f32[2,n,3]", "start=-2 end=99", 1,
       "%1 i64[2] {n,3} = shape(%0) start=-2 end=16\n"},
      {13, "Size", "f32[2,n,3]", "", 1,
       "%1 i64[3] {2,n,3} = shape(%0)\n"
       "%2 i64[] {(n*2)*3} = reduce.prod(%1) axes=0\n"},
      {11, "Range", "i64[] i64[] i64[]", "", 1, "%3 i64[?0] = range(%0, %1, %2)\n"},
      {13, "EyeLike", "f32[n,3]", "k=1 dtype=6", 1,
       "%1 i64[1] {n} = shape(%0) end=1\n"
       "%2 i64[] {n} = view.squeeze(%1) axes=0\n"
       "%5 i64[n] = range(%3, %2, %4)\n"
       "%6 i64[1] {3} = shape(%0) start=1 end=2\n"
       "%7 i64[] {3} = view.squeeze(%6) axes=0\n"
       "%10 i64[3] {0,1,2} = range(%8, %7, %9)\n"
       "%11 i64[n,1] = view.unsqueeze(%5) axes=1\n"
       "%12 i32[n,3] = map(%11, %10) {i32(equal(add(x0, 1), x1))}\n"},
      {11, "OneHot", "i32[2] i64[] f32[2]", "axis=0", 1,
       "%4 i64[] = view.reshape(%1, %3)\n"
       "%7 i64[?0] = range(%5, %4, %6)\n"
       "%8 i64[?0,1] = view.unsqueeze(%7) axes=1\n"
       "%9 i32[1,2] = view.unsqueeze(%0) axes=0\n"
       "%11 f32[] = gather(%2, %10) axis=0\n"
       "%13 f32[] = gather(%2, %12) axis=0\n"
       "%14 f32[?0,2] = map(%9, %8, %4, %13, %11) {t0 = i64(x0); select(equal(select(less(t0, 0), "
       "add(t0, x2), t0), x1), x3, x4)}\n"},
      {14, "Trilu", "f32[3,3]", "upper=0", 1, "%1 f32[3,3] = triangle.lower(%0)\n"},
      {14, "CumSum", "f32[3] i64[]", "exclusive=1 reverse=1", 1,
       "%2 f32[3] = cumsum(%0, %1) exclusive reverse\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_attention(void) {
  static const operator_case cases[] = {
      {23, "Attention", "f32[b,4,s,8] f32[b,4,s,8] f32[b,4,s,8]", "is_causal=1", 1,
       "%3 f32[b,4,s,8] = attention(%0, %1, %2) scale=0.353553385 causal\n"},
      {23, "Attention", "f32[2,3,32] f32[2,5,16] f32[2,5,16] bool[3,5]",
       "q_num_heads=4 kv_num_heads=2 scale=0.5", 1,
       "%5 f32[2,3,4,8] = view.reshape(%0, %4)\n"
       "%6 f32[2,4,3,8] = view.transpose(%5) axes=0,2,1,3\n"
       "%8 f32[2,5,2,8] = view.reshape(%1, %7)\n"
       "%9 f32[2,2,5,8] = view.transpose(%8) axes=0,2,1,3\n"
       "%11 f32[2,5,2,8] = view.reshape(%2, %10)\n"
       "%12 f32[2,2,5,8] = view.transpose(%11) axes=0,2,1,3\n"
       "%13 f32[3,5] = map(%3) {select(x0, 0, -inf)}\n"
       "%14 f32[2,3,4,8] = attention(%6, %9, %12, %13) scale=0.5 heads_last\n"
       "%16 f32[2,3,32] = view.reshape(%14, %15)\n"},
      {23, "Attention", "f32[1,1,3,8] f32[1,1,5,8] f32[1,1,5,8]", "is_causal=1 scale=0.5", 1,
       "%3 i64[1] {3} = shape(%0) start=2 end=3\n"
       "%4 i64[] {3} = view.squeeze(%3) axes=0\n"
       "%7 i64[3] {0,1,2} = range(%5, %4, %6)\n"
       "%8 i64[3,1] = view.unsqueeze(%7) axes=1\n"
       "%9 i64[1] {5} = shape(%1) start=2 end=3\n"
       "%10 i64[] {5} = view.squeeze(%9) axes=0\n"
       "%13 i64[5] {0,1,2,3,4} = range(%11, %10, %12)\n"
       "%14 f32[3,5] = map(%8, %13) {select(less_equal(x1, x0), 0, -inf)}\n"
       "%15 f32[1,1,3,8] = attention(%0, %1, %2, %14) scale=0.5\n"},
      {24, "Attention", "f32[1,1,3,8] f32[1,1,3,8] f32[1,1,3,8]",
       "softcap=2.0 scale=0.5 qk_matmul_output_mode=1", 4,
       "%3 f32[1,1,8,3] = view.transpose(%1) axes=0,1,3,2\n"
       "%4 f32[1,1,3,3] = matmul(%0, %3)\n"
       "%5 f32[1,1,3,3] = map(%4) {mul(x0, 0.5)}\n"
       "%6 f32[1,1,3,3] = map(%5) {mul(2, tanh(div(x0, 2)))}\n"
       "%7 f32[1,1,3,3] = softmax(%6) axis=-1\n"
       "%8 f32[1,1,3,8] = matmul(%7, %2)\n"
       "%9 f32[1,1,3,8] = map(%1)\n"
       "%10 f32[1,1,3,8] = map(%2)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_rotary(void) {
  static const operator_case cases[] = {
      {23, "RotaryEmbedding", "f32[b,2,s,8] f32[9,4] f32[9,4] i64[b,s]", "", 1,
       "%4 f32[b,2,s,8] = rotary(%0, %1, %2, %3)\n"},
      {23, "RotaryEmbedding", "f32[b,s,16] f32[b,s,2] f32[b,s,2]",
       "num_heads=2 rotary_embedding_dim=4 interleaved=1", 1,
       "%4 f32[b,s,2,8] = view.reshape(%0, %3)\n"
       "%5 f32[b,2,s,8] = view.transpose(%4) axes=0,2,1,3\n"
       "%6 f32[b,2,s,8] = rotary(%5, %1, %2) interleaved\n"
       "%7 f32[b,s,2,8] = view.transpose(%6) axes=0,2,1,3\n"
       "%9 f32[b,s,16] = view.reshape(%7, %8)\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_einsum(void) {
  static const operator_case cases[] = {
      {12, "Einsum", "f32[b,h,q,8] f32[b,h,k,8]", "equation=bhqd,bhkd->bhqk", 1,
       "%2 f32[b,h,8,k] = view.transpose(%1) axes=0,1,3,2\n"
       "%3 f32[b,h,q,k] = matmul(%0, %2)\n"},
      {12, "Einsum", "f32[b,q,2,8] f32[b,k,2,8]", "equation=bqhd,bkhd->bhqk", 1,
       "%2 f32[b,2,q,8] = view.transpose(%0) axes=0,2,1,3\n"
       "%3 f32[b,2,8,k] = view.transpose(%1) axes=0,2,3,1\n"
       "%4 f32[b,2,q,k] = matmul(%2, %3)\n"},
      {12, "Einsum", "f32[a,3,4] f32[3,4,5]", "equation=abc,bcd->ad", 1,
       "%2 i64[1] {a} = shape(%0) end=1\n"
       "%3 i64[2] {3,4} = shape(%0) start=1 end=3\n"
       "%4 i64[1] {12} = reduce.prod(%3) axes=0 keep_dims\n"
       "%5 i64[2] {a,12} = concat(%2, %4) axis=0\n"
       "%6 f32[a,12] = view.reshape(%0, %5)\n"
       "%7 i64[2] {3,4} = shape(%1) end=2\n"
       "%8 i64[1] {12} = reduce.prod(%7) axes=0 keep_dims\n"
       "%9 i64[1] {5} = shape(%1) start=2 end=3\n"
       "%10 i64[2] {12,5} = concat(%8, %9) axis=0\n"
       "%11 f32[12,5] = view.reshape(%1, %10)\n"
       "%12 f32[a,5] = matmul(%6, %11)\n"},
      {12, "Einsum", "f32[2,2] f32[3]", "equation=ii,j->ji", 1,
       "%2 i64[1] {2} = shape(%0) end=1\n"
       "%3 i64[] {2} = view.squeeze(%2) axes=0\n"
       "%6 i64[2] {0,1} = range(%4, %3, %5)\n"
       "%7 i64[2,1] = view.unsqueeze(%6) axes=1\n"
       "%8 i64[1] {2} = shape(%0) start=1 end=2\n"
       "%9 i64[] {2} = view.squeeze(%8) axes=0\n"
       "%12 i64[2] {0,1} = range(%10, %9, %11)\n"
       "%13 f32[2,2] = map(%0, %7, %12) {select(equal(x1, x2), x0, 0)}\n"
       "%14 f32[2] = reduce.sum(%13) axes=1\n"
       "%15 f32[2,1] = view.unsqueeze(%14) axes=1\n"
       "%16 f32[2,3] = map(%15, %1) {mul(x0, x1)}\n"
       "%17 f32[3,2] = view.transpose(%16) axes=1,0\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_microsoft(void) {
  static const operator_case cases[] = {
      {1, "FastGelu", "f32[2,3] f32[3]", "", 1,
       "%2 f32[2,3] = map(%0, %1) {add(x0, x1)}\n"
       "%3 f32[2,3] = map(%2) {gelu_tanh(x0)}\n"},
      {1, "QuickGelu", "f32[2]", "", 1,
       "%1 f32[2] = map(%0) {mul(x0, sigmoid(mul(x0, 1.70200002)))}\n"},
      {1, "FusedMatMul", "f32[b,2,3] f32[b,4,3]", "transB=1 alpha=0.5", 1,
       "%2 f32[b,3,4] = view.transpose(%1) axes=0,2,1\n"
       "%3 f32[b,2,4] = matmul(%0, %2)\n"
       "%4 f32[b,2,4] = map(%3) {mul(x0, 0.5)}\n"},
      {1, "SkipLayerNormalization", "f32[2,4] f32[2,4] f32[4] f32[4] f32[4]", "epsilon=0.5", 4,
       "%5 f32[2,4] = map(%0, %1) {add(x0, x1)}\n"
       "%6 f32[2,4] = map(%5, %4) {add(x0, x1)}\n"
       "%7 f32[2,4] = norm.layer(%6, %2, %3) axis=-1 epsilon=0.5\n"
       "%8 f32[2,1] = reduce.mean(%6) axes=1 keep_dims\n"
       "%9 f32[2,4] = map(%6, %8) {sub(x0, x1)}\n"
       "%10 f32[2,4] = map(%9, %9) {mul(x0, x1)}\n"
       "%11 f32[2,1] = reduce.mean(%10) axes=1 keep_dims\n"
       "%12 f32[2,1] = map(%11) {rsqrt(add(x0, 0.5))}\n"
       "%13 f32[2,4] = map(%9, %12) {mul(x0, x1)}\n"},
      {1, "SkipSimplifiedLayerNormalization", "f32[2,4] f32[2,4] f32[4]", "epsilon=0.5", 1,
       "%3 f32[2,4] = map(%0, %1) {add(x0, x1)}\n"
       "%4 f32[2,4] = norm.rms(%3, %2) axis=-1 epsilon=0.5\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

int main(void) {
  CHECK_RUN(test_arithmetic);
  CHECK_RUN(test_activations);
  CHECK_RUN(test_products);
  CHECK_RUN(test_reductions);
  CHECK_RUN(test_softmax);
  CHECK_RUN(test_normalisation);
  CHECK_RUN(test_group_normalisation);
  CHECK_RUN(test_views);
  CHECK_RUN(test_rearrangement);
  CHECK_RUN(test_depth_and_space);
  CHECK_RUN(test_making);
  CHECK_RUN(test_attention);
  CHECK_RUN(test_rotary);
  CHECK_RUN(test_einsum);
  CHECK_RUN(test_microsoft);
  return check_result();
}
