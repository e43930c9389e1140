/* lower_decoder.c: what the operators of language models and of quantised models are lowered to. */
#include "tests/unit/lower_cases.h"

static void test_nbits(void) {
  static const operator_case cases[] = {
      {1, "MatMulNBits", "f32[b,s,40] u8[6,2,16] f32[6,2] u8[6,1]",
       "K=40 N=6 bits=4 block_size=32 accuracy_level=1", 1,
       "%5 u8[6,32] = view.reshape(%1, %4)\n"
       "%6 f32[6,40] = dequantize(%5, %2, %3) bits=4 axis=1 block=32 extent=40 zero=8\n"
       "%7 f32[40,6] = view.transpose(%6) axes=1,0\n"
       "%8 f32[b,s,6] = matmul(%0, %7)\n"},
      {1, "MatMulNBits", "f16[b,64] u8[6,1,16] f16[6] f16[6]", "K=64 N=6 bits=2 block_size=64", 1,
       "%5 u8[6,16] = view.reshape(%1, %4)\n"
       "%7 f16[6,1] = view.reshape(%2, %6)\n"
       "%9 f16[6,1] = view.reshape(%3, %8)\n"
       "%10 f16[6,64] = dequantize(%5, %7, %9) bits=2 axis=1 block=64 extent=64 zero=2\n"
       "%11 f16[64,6] = view.transpose(%10) axes=1,0\n"
       "%12 f16[b,6] = matmul(%0, %11) int8_rows\n"},
      {1, "MatMulNBits", "f32[b,40] u8[6,3,16] f32[18] u8[6,3]",
       "K=40 N=6 bits=8 block_size=16 accuracy_level=4", 1,
       "%5 u8[6,48] = view.reshape(%1, %4)\n"
       "%10 u8[6,40] = view.slice(%5, %6, %7, %8, %9)\n"
       "%12 f32[6,3] = view.reshape(%2, %11)\n"
       "%13 f32[6,40] = dequantize(%10, %12, %3) bits=8 axis=1 block=16 extent=40 zero=128\n"
       "%14 f32[40,6] = view.transpose(%13) axes=1,0\n"
       "%15 f32[b,6] = matmul(%0, %14) int8_rows\n"},
      {1, "GatherBlockQuantized", "u8[100,32] i64[b,s] f16[100,2] u8[100,1]",
       "bits=4 block_size=32 gather_axis=0 quantize_axis=1", 1,
       "%4 u8[b,s,32] = gather(%0, %1) axis=0\n"
       "%5 f16[b,s,2] = gather(%2, %1) axis=0\n"
       "%6 u8[b,s,1] = gather(%3, %1) axis=0\n"
       "%7 f16[b,s,64] = dequantize(%4, %5, %6) bits=4 axis=-1 block=32 extent=64 zero=8\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

static void test_group_query(void) {
  static const operator_case cases[] = {
      {1, "GroupQueryAttention",
       "f32[b,s,32] f32[b,s,16] f32[b,s,16] f32[b,2,p,8] f32[b,2,p,8] i32[b] i32[] f32[9,4] "
       "f32[9,4]",
       "num_heads=4 kv_num_heads=2 do_rotary=1 rotary_interleaved=1 scale=0.5", 3,
       "%10 f32[b,s,4,8] = view.reshape(%0, %9)\n"
       "%11 f32[b,4,s,8] = view.transpose(%10) axes=0,2,1,3\n"
       "%13 f32[b,s,2,8] = view.reshape(%1, %12)\n"
       "%14 f32[b,2,s,8] = view.transpose(%13) axes=0,2,1,3\n"
       "%16 f32[b,s,2,8] = view.reshape(%2, %15)\n"
       "%17 f32[b,2,s,8] = view.transpose(%16) axes=0,2,1,3\n"
       "%18 i64[b] = map(%5) {add(i64(x0), 1)}\n"
       "%19 i64[1] {s} = shape(%11) start=2 end=3\n"
       "%20 i64[] {s} = view.squeeze(%19) axes=0\n"
       "%23 i64[s] = range(%21, %20, %22)\n"
       "%24 i64[b,1] = view.unsqueeze(%18) axes=1\n"
       "%25 i64[b,s] = map(%23, %24, %20) {add(x0, max(sub(x1, x2), 0))}\n"
       "%26 f32[b,4,s,8] = rotary(%11, %7, %8, %25) interleaved\n"
       "%27 f32[b,2,s,8] = rotary(%14, %7, %8, %25) interleaved\n"
       "%28 f32[b,2,?3,8] = append(%3, %27, %6, %18)\n"
       "%30 i32[1] = view.reshape(%6, %29)\n"
       "%33 f32[b,2,?4,8] = view.slice(%28, %31, %30, %32)\n"
       "%34 f32[b,2,?5,8] = append(%4, %17, %6, %18)\n"
       "%36 i32[1] = view.reshape(%6, %35)\n"
       "%39 f32[b,2,?6,8] = view.slice(%34, %37, %36, %38)\n"
       "%40 f32[b,s,4,8] = attention(%26, %33, %39, none, %18) scale=0.5 causal heads_last\n"
       "%42 f32[b,s,32] = view.reshape(%40, %41)\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

static void test_group_query_options(void) {
  static const operator_case cases[] = {
      {1, "GroupQueryAttention", "f16[2,3,64] - - - - i32[2] i32[] - - - f16[1,4,3,3] f16[4]",
       "num_heads=4 kv_num_heads=2 local_window_size=7 softcap=2.5 smooth_softmax=1", 3,
       "%6 f16[2,3,8,8] = view.reshape(%0, %5)\n"
       "%7 f16[2,8,3,8] = view.transpose(%6) axes=0,2,1,3\n"
       "%9 f16[2,4,3,8] = view.split(%7, %8) axes=1 part=0/3\n"
       "%11 f16[2,2,3,8] = view.split(%7, %10) axes=1 part=1/3\n"
       "%13 f16[2,2,3,8] = view.split(%7, %12) axes=1 part=2/3\n"
       "%14 i64[2] = map(%1) {add(i64(x0), 1)}\n"
       "%15 f16[2,3,4,8] = attention(%9, %11, %13, %3, %14, %4) scale=0.353553385 softcap=2.5 "
       "window=7 causal heads_last\n"
       "%17 f16[2,3,32] = view.reshape(%15, %16)\n"},
      {1, "GroupQueryAttention",
       "f32[1,1,32] f32[1,1,16] f32[1,1,16] - - i32[1] i32[1] f32[9,4] f32[9,4] i64[1,1]",
       "num_heads=4 kv_num_heads=2 do_rotary=1 smooth_softmax=1 causal=0", 1,
       "%9 f32[1,1,4,8] = view.reshape(%0, %8)\n"
       "%10 f32[1,4,1,8] = view.transpose(%9) axes=0,2,1,3\n"
       "%12 f32[1,1,2,8] = view.reshape(%1, %11)\n"
       "%13 f32[1,2,1,8] = view.transpose(%12) axes=0,2,1,3\n"
       "%15 f32[1,1,2,8] = view.reshape(%2, %14)\n"
       "%16 f32[1,2,1,8] = view.transpose(%15) axes=0,2,1,3\n"
       "%17 i64[1] = map(%3) {add(i64(x0), 1)}\n"
       "%18 f32[1,4,1,8] = rotary(%10, %5, %6, %7)\n"
       "%19 f32[1,2,1,8] = rotary(%13, %5, %6, %7)\n"
       "%22 f32[4] = view.expand(%20, %21)\n"
       "%23 f32[1,1,4,8] = attention(%18, %19, %16, none, %17, %22) scale=0.353553385 heads_last\n"
       "%25 f32[1,1,32] = view.reshape(%23, %24)\n"},
      {1, "GroupQueryAttention",
       "f32[1,1,16] f32[1,1,8] f32[1,1,8] - - i32[1] i32[] - - - - - - - f32[8] f32[8]",
       "num_heads=2 kv_num_heads=1 qk_norm_epsilon=0.5", 1,
       "%8 f32[1,1,2,8] = view.reshape(%0, %7)\n"
       "%9 f32[1,2,1,8] = view.transpose(%8) axes=0,2,1,3\n"
       "%11 f32[1,1,1,8] = view.reshape(%1, %10)\n"
       "%12 f32[1,1,1,8] = view.transpose(%11) axes=0,2,1,3\n"
       "%14 f32[1,1,1,8] = view.reshape(%2, %13)\n"
       "%15 f32[1,1,1,8] = view.transpose(%14) axes=0,2,1,3\n"
       "%16 i64[1] = map(%3) {add(i64(x0), 1)}\n"
       "%17 f32[1,2,1,8] = norm.rms(%9, %5) axis=-1 epsilon=0.5\n"
       "%18 f32[1,1,1,8] = norm.rms(%12, %6) axis=-1 epsilon=0.5\n"
       "%19 f32[1,1,2,8] = attention(%17, %18, %15, none, %16) scale=0.353553385 causal "
       "heads_last\n"
       "%21 f32[1,1,16] = view.reshape(%19, %20)\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

static void test_multi_head(void) {
  static const operator_case cases[] = {
      {1, "MultiHeadAttention",
       "f32[b,s,32] f32[b,s,32] f32[b,s,16] f32[80] i32[b,t] f32[1,1,s,t] f32[b,4,p,8] "
       "f32[b,4,p,4]",
       "num_heads=4 unidirectional=1", 3,
       "%12 f32[32] = view.slice(%3, %8, %9, %10, %11)\n"
       "%13 f32[b,s,32] = map(%0, %12) {add(x0, x1)}\n"
       "%15 f32[b,s,4,8] = view.reshape(%13, %14)\n"
       "%16 f32[b,4,s,8] = view.transpose(%15) axes=0,2,1,3\n"
       "%21 f32[32] = view.slice(%3, %17, %18, %19, %20)\n"
       "%22 f32[b,s,32] = map(%1, %21) {add(x0, x1)}\n"
       "%24 f32[b,s,4,8] = view.reshape(%22, %23)\n"
       "%25 f32[b,4,s,8] = view.transpose(%24) axes=0,2,1,3\n"
       "%30 f32[16] = view.slice(%3, %26, %27, %28, %29)\n"
       "%31 f32[b,s,16] = map(%2, %30) {add(x0, x1)}\n"
       "%33 f32[b,s,4,4] = view.reshape(%31, %32)\n"
       "%34 f32[b,4,s,4] = view.transpose(%33) axes=0,2,1,3\n"
       "%35 i32[b,1,1,t] = view.unsqueeze(%4) axes=1,2\n"
       "%36 f32[b,1,1,t] = map(%35) {select(less(0, x0), 0, -10000)}\n"
       "%37 f32[b,1,s,t] = map(%5, %36) {add(x0, x1)}\n"
       "%38 f32[b,4,s+p,8] = append(%6, %25)\n"
       "%39 f32[b,4,s+p,4] = append(%7, %34)\n"
       "%40 f32[b,s,4,4] = attention(%16, %38, %39, %37) scale=0.353553385 causal heads_last\n"
       "%42 f32[b,s,16] = view.reshape(%40, %41)\n"},
      {1, "MultiHeadAttention", "f32[b,s,4,3,8] - - - i32[b]", "num_heads=4", 1,
       "%2 f32[b,s,4,1,8] = view.split(%0) axes=3 part=0/3\n"
       "%4 f32[b,s,32] = view.reshape(%2, %3)\n"
       "%5 f32[b,s,4,1,8] = view.split(%0) axes=3 part=1/3\n"
       "%7 f32[b,s,32] = view.reshape(%5, %6)\n"
       "%8 f32[b,s,4,1,8] = view.split(%0) axes=3 part=2/3\n"
       "%10 f32[b,s,32] = view.reshape(%8, %9)\n"
       "%12 f32[b,s,4,8] = view.reshape(%4, %11)\n"
       "%13 f32[b,4,s,8] = view.transpose(%12) axes=0,2,1,3\n"
       "%15 f32[b,s,4,8] = view.reshape(%7, %14)\n"
       "%16 f32[b,4,s,8] = view.transpose(%15) axes=0,2,1,3\n"
       "%18 f32[b,s,4,8] = view.reshape(%10, %17)\n"
       "%19 f32[b,4,s,8] = view.transpose(%18) axes=0,2,1,3\n"
       "%20 f32[b,s,4,8] = attention(%13, %16, %19, none, %1) scale=0.353553385 heads_last\n"
       "%22 f32[b,s,32] = view.reshape(%20, %21)\n"},
      {1, "MultiHeadAttention", "f32[b,s,32] f32[b,4,t,8] f32[b,4,t,8]", "num_heads=4", 1,
       "%4 f32[b,s,4,8] = view.reshape(%0, %3)\n"
       "%5 f32[b,4,s,8] = view.transpose(%4) axes=0,2,1,3\n"
       "%6 f32[b,s,4,8] = attention(%5, %1, %2) scale=0.353553385 heads_last\n"
       "%8 f32[b,s,32] = view.reshape(%6, %7)\n"},
      {1, "MultiHeadAttention", "f32[b,s,32] f32[b,t,4,2,8]", "num_heads=4 scale=0.5", 1,
       "%2 f32[b,t,4,1,8] = view.split(%1) axes=3 part=0/2\n"
       "%4 f32[b,t,32] = view.reshape(%2, %3)\n"
       "%5 f32[b,t,4,1,8] = view.split(%1) axes=3 part=1/2\n"
       "%7 f32[b,t,32] = view.reshape(%5, %6)\n"
       "%9 f32[b,s,4,8] = view.reshape(%0, %8)\n"
       "%10 f32[b,4,s,8] = view.transpose(%9) axes=0,2,1,3\n"
       "%12 f32[b,t,4,8] = view.reshape(%4, %11)\n"
       "%13 f32[b,4,t,8] = view.transpose(%12) axes=0,2,1,3\n"
       "%15 f32[b,t,4,8] = view.reshape(%7, %14)\n"
       "%16 f32[b,4,t,8] = view.transpose(%15) axes=0,2,1,3\n"
       "%17 f32[b,s,4,8] = attention(%10, %13, %16) scale=0.5 heads_last\n"
       "%19 f32[b,s,32] = view.reshape(%17, %18)\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

static void test_rotary(void) {
  static const operator_case cases[] = {
      {1, "RotaryEmbedding", "f32[b,s,32] i64[1] f32[9,4] f32[9,4]", "", 1,
       "%4 i64[1] {s} = shape(%0) start=1 end=2\n"
       "%5 i64[] {s} = view.squeeze(%4) axes=0\n"
       "%8 i64[s] = range(%6, %5, %7)\n"
       "%9 i64[s] = map(%8, %1) {add(x0, x1)}\n"
       "%10 i64[1,s] = view.unsqueeze(%9) axes=0\n"
       "%12 f32[b,s,4,8] = view.reshape(%0, %11)\n"
       "%13 f32[b,4,s,8] = view.transpose(%12) axes=0,2,1,3\n"
       "%14 f32[b,4,s,8] = rotary(%13, %2, %3, %10)\n"
       "%15 f32[b,s,4,8] = view.transpose(%14) axes=0,2,1,3\n"
       "%17 f32[b,s,32] = view.reshape(%15, %16)\n"},
      {1, "RotaryEmbedding", "f32[b,4,s,8] i64[b,s] f32[9,2] f32[9,2]",
       "num_heads=4 rotary_embedding_dim=4 interleaved=1", 1,
       "%4 f32[b,4,s,8] = rotary(%0, %2, %3, %1) interleaved\n"},
  };
  CHECK_CASES(cases, "com.microsoft");
}

static void test_linear(void) {
  static const operator_case cases[] = {
      {10, "QuantizeLinear", "f32[2,3] f32[]", "", 1,
       "%2 u8[2,3] = map(%0, %1) {u8(min(max(round(div(x0, x1)), 0), 255))}\n"},
      {13, "QuantizeLinear", "f32[2,3] f32[2] i8[2]", "axis=0", 1,
       "%3 f32[2,1] = view.unsqueeze(%1) axes=1\n"
       "%4 i8[2,1] = view.unsqueeze(%2) axes=1\n"
       "%5 i8[2,3] = map(%0, %3, %4) {i8(min(max(add(round(div(x0, x1)), f32(x2)), -128), "
       "127))}\n"},
      {21, "QuantizeLinear", "f16[2,5] f16[2,3] u16[2,3]", "axis=-1 block_size=2", 1,
       "%3 f16[2,3,1] = view.unsqueeze(%1) axes=2\n"
       "%5 f16[2,3,2] = view.expand(%3, %4)\n"
       "%7 i64[0] {} = shape(%1) start=2 end=2\n"
       "%8 i64[2] {0,-1} = concat(%6, %7) axis=0\n"
       "%9 f16[2,6] = view.reshape(%5, %8)\n"
       "%10 i64[1] {5} = shape(%0) start=1 end=2\n"
       "%13 f16[2,5] = view.slice(%9, %11, %10, %12)\n"
       "%14 u16[2,3,1] = view.unsqueeze(%2) axes=2\n"
       "%16 u16[2,3,2] = view.expand(%14, %15)\n"
       "%18 i64[0] {} = shape(%2) start=2 end=2\n"
       "%19 i64[2] {0,-1} = concat(%17, %18) axis=0\n"
       "%20 u16[2,6] = view.reshape(%16, %19)\n"
       "%21 i64[1] {5} = shape(%0) start=1 end=2\n"
       "%24 u16[2,5] = view.slice(%20, %22, %21, %23)\n"
       "%25 u16[2,5] = map(%0, %13, %24) {u16(min(max(add(round(f32(div(x0, x1))), f32(x2)), 0), "
       "65535))}\n"},
      {23, "QuantizeLinear", "i32[2] f32[]", "output_dtype=5 precision=1", 1,
       "%2 f32[2] = map(%0) {f32(x0)}\n"
       "%3 i16[2] = map(%2, %1) {i16(min(max(round(div(x0, x1)), -32768), 32767))}\n"},
      {10, "DequantizeLinear", "u8[2,3] f32[] u8[]", "", 1,
       "%3 f32[2,3] = dequantize(%0, %1, %2) bits=8 axis=0\n"},
      {13, "DequantizeLinear", "i8[2,3] f32[3] i8[3]", "", 1,
       "%3 f32[2,3] = dequantize(%0, %1, %2) bits=8 axis=1\n"},
      {21, "DequantizeLinear", "i8[2,6] f16[2,3]", "block_size=2", 1,
       "%2 f16[2,6] = dequantize(%0, %1) bits=8 axis=1 block=2\n"},
      {13, "DequantizeLinear", "i32[2] f32[]", "axis=0", 1,
       "%2 f32[2] = dequantize(%0, %1) bits=8 axis=0\n"},
      {21, "DequantizeLinear", "u16[2,3] f32[3] u16[3]", "", 1,
       "%3 f32[2,3] = map(%0, %1, %2) {mul(f32(sub(f32(x0), f32(x2))), x1)}\n"},
      {23, "DequantizeLinear", "u8[2,3] f32[]", "output_dtype=10", 1,
       "%2 f32[2,3] = dequantize(%0, %1) bits=8 axis=0\n"
       "%3 f16[2,3] = map(%2) {f16(x0)}\n"},
  };
  CHECK_CASES(cases, "");
}

static void test_integer_products(void) {
  static const operator_case cases[] = {
      {11, "DynamicQuantizeLinear", "f32[2,3]", "", 3,
       "%1 u8[2,3], %2 f32[], %3 u8[] = quantize_dynamic(%0)\n"},
      {10, "MatMulInteger", "u8[2,3] i8[3,4] u8[] i8[4]", "", 1,
       "%4 i32[2,4] = matmul_integer(%0, %1, %2, %3)\n"},
      {10, "QLinearMatMul", "u8[2,3] f32[2] u8[2] i8[3,4] f32[4] i8[4] f32[] i8[]", "", 1,
       "%8 f32[2,3] = dequantize(%0, %1, %2) bits=8 axis=0\n"
       "%9 f32[3,4] = dequantize(%3, %4, %5) bits=8 axis=1\n"
       "%10 f32[2,4] = matmul(%8, %9)\n"
       "%11 i8[2,4] = map(%10, %6, %7) {i8(min(max(add(round(div(x0, x1)), f32(x2)), -128), "
       "127))}\n"},
  };
  static const operator_case others[] = {
      {1, "DynamicQuantizeMatMul", "f32[b,3] i8[3,4] f32[4] i8[4] f32[4]", "", 1,
       "%5 u8[b,3], %6 f32[], %7 u8[] = quantize_dynamic(%0)\n"
       "%8 i32[b,4] = matmul_integer(%5, %1, %7, %3)\n"
       "%9 f32[4] = map(%6, %2) {mul(x0, x1)}\n"
       "%10 f32[b,4] = map(%8) {f32(x0)}\n"
       "%11 f32[b,4] = map(%10, %9) {mul(x0, x1)}\n"
       "%12 f32[b,4] = map(%11, %4) {add(x0, x1)}\n"},
      {1, "MatMulIntegerToFloat", "u8[b,3] u8[3,4] f32[] f32[] u8[] u8[]", "", 1,
       "%6 i32[b,4] = matmul_integer(%0, %1, %4, %5)\n"
       "%7 f32[] = map(%2, %3) {mul(x0, x1)}\n"
       "%8 f32[b,4] = map(%6) {f32(x0)}\n"
       "%9 f32[b,4] = map(%8, %7) {mul(x0, x1)}\n"},
      {1, "DequantizeLinear", "u8[2,3] f32[3] u8[3]", "axis=1", 1,
       "%3 f32[2,3] = dequantize(%0, %1, %2) bits=8 axis=1\n"},
  };
  CHECK_CASES(cases, "");
  CHECK_CASES(others, "com.microsoft");
}

int main(void) {
  CHECK_RUN(test_nbits);
  CHECK_RUN(test_group_query);
  CHECK_RUN(test_group_query_options);
  CHECK_RUN(test_multi_head);
  CHECK_RUN(test_rotary);
  CHECK_RUN(test_linear);
  CHECK_RUN(test_integer_products);
  return check_result();
}
