"""Malformed files: operators of decoders and of quantised models with sizes that do not fit."""

from case import *

MICROSOFT = "com.microsoft"


def typed(spec):
    """"f2,3": the element type (f, h, u, c, i, l: f32, f16, u8, i8, i32, i64) and the extents."""
    kinds = {"f": FLOAT, "h": FLOAT16, "u": UINT8, "c": INT8, "i": INT32, "l": INT64}
    return kinds[spec[0]], [int(n) for n in spec[1:].split(",") if n]


def fed(op, inputs, outputs=1, domain=MICROSOFT, version=21, **attributes):
    """A model of one node `n` whose inputs x0, x1, ... are fed: a spec for each, "-" where one is
    left out."""
    specs = inputs.split()
    names = ["" if spec == "-" else f"x{i}" for i, spec in enumerate(specs)]
    values = [
        value(name, dims, kind)
        for name, (kind, dims) in ((n, typed(s)) for n, s in zip(names, specs) if n)
    ]
    results = [f"y{i}" for i in range(outputs)]
    the_node = node(op, names, results, domain=domain, **attributes)
    opsets = ((version, ""), (1, MICROSOFT))
    return model(graph([the_node], values, [value(r, None) for r in results]), opsets)



def answer_of(op, answer):
    """The whole sentence: `answer` is its end, of an invalid model unless it says otherwise."""
    if answer == "ok" or ": node 'n'" in answer:
        return answer
    unsupported = answer.startswith("unsupported: ")
    status = "unsupported" if unsupported else "invalid model"
    return f"{status}: node 'n' ({op}): {answer.removeprefix('unsupported: ')}"


def check(name, op, answer, inputs, outputs=1, **keywords):
    case(name, fed(op, inputs, outputs, **keywords), answer_of(op, answer))


def nbits():
    def nbits_case(name, answer, inputs="f2,64 u6,2,16 f6,2", **attributes):
        sizes = {"K": 64, "N": 6, "bits": 4, "block_size": 32, **attributes}
        check(f"nbits_{name}", "MatMulNBits", answer, inputs, **sizes)

    nbits_case("good", "ok")
    nbits_case("k_0", "attribute 'K' is 0, no size", K=0)
    nbits_case("n_negative", "attribute 'N' is -6, no size", N=-6)
    nbits_case("k_2_62", "attribute 'K' is 4611686018427387904, no size", K=1 << 62)
    nbits_case("block_0", "attribute 'block_size' is 0, no size", block_size=0)
    nbits_case("block_3", "a block of 3 codes does not fill bytes", block_size=3)
    nbits_case("bits_3", "unsupported: codes of 3 bits are not supported", bits=3)
    nbits_case("bits_0", "unsupported: codes of 0 bits are not supported", bits=0)
    nbits_case("other_k", "its codes are [6,2,16], but [6,48] is needed", K=96)
    nbits_case("other_n", "its codes are [6,2,16], but [7,32] is needed", N=7)
    nbits_case(
        "largest",
        "its codes are [6,2,16], but [2147483647,2147483640] is needed",
        K=(1 << 31) - 1, N=(1 << 31) - 1, block_size=(1 << 31) - 8,
    )
    nbits_case("few_codes", "its codes are [6,1,16], but [6,32] is needed", "f2,64 u6,1,16 f6,2")
    nbits_case("few_scales", "its scales are [11], but [6,2] is needed", "f2,64 u6,2,16 f11")
    nbits_case(
        "many_zeros",
        "its zero points are [6,2], but [6,1] is needed",
        "f2,64 u6,2,16 f6,2 u6,2",
    )
    nbits_case(
        "scales_of_integers",
        "its scales are i32, but a float is needed",
        "f2,64 u6,2,16 i6,2",
    )
    nbits_case(
        "codes_of_floats",
        "input 0 is f32, but u8, i8 or i32 is needed",
        "f2,64 f6,2,16 f6,2",
    )
    nbits_case(
        "zeros_of_another_type",
        "input 2 is i8, but u8 is needed",
        "f2,64 u6,2,16 f6,2 c6,1",
    )
    nbits_case("a_too_narrow", "cannot multiply [2,63] with [64,6]", "f2,63 u6,2,16 f6,2")
    nbits_case("a_of_integers", "its rows are i32, but a float is needed", "i2,64 u6,2,16 f6,2")
    nbits_case("bias_too_long", "cannot broadcast [2,6] with [7]", "f2,64 u6,2,16 f6,2 - - f7")
    nbits_case("without_scales", "it has 2 inputs; 3 to 6 are allowed", "f2,64 u6,2,16")


def gather_blocks():
    def gather_case(name, answer, inputs="u9,32 l2 f9,2", **attributes):
        sizes = {"bits": 4, "block_size": 32, "quantize_axis": 1, **attributes}
        check(f"gather_blocks_{name}", "GatherBlockQuantized", answer, inputs, **sizes)

    gather_case("good", "ok")
    gather_case("axis_5", "there is no axis 5 in a tensor of rank 2", quantize_axis=5)
    gather_case(
        "along_rows",
        "unsupported: only rows, quantized along the last axis, are gathered",
        quantize_axis=0,
    )
    gather_case(
        "columns",
        "unsupported: only rows, quantized along the last axis, are gathered",
        gather_axis=1,
    )
    gather_case("few_scales", "input 1 is [2,1], but [2,2] is needed", "u9,32 l2 f9,1")
    gather_case("fewer_rows_of_scales", "ok", "u9,32 l2 f8,2")
    gather_case(
        "few_zeros",
        "input 2 is [2,1], but [2,2] is needed",
        "u9,32 l2 f9,4 u9,1", block_size=16,
    )
    gather_case("indices_of_floats", "input 1 is f32, but i32 or i64 is needed", "u9,32 f2 f9,2")
    gather_case("scalar", "there is no axis 0 in a tensor of rank 0", "u l2 f")
    gather_case("block_0", "attribute 'block_size' is 0, no size", block_size=0)


def group_query():
    good = "f2,3,32 f2,3,16 f2,3,16 f2,2,4,8 f2,2,4,8 i2 i"

    def gqa_case(name, answer, inputs=good, **attributes):
        counts = {"num_heads": 4, "kv_num_heads": 2, **attributes}
        check(f"gqa_{name}", "GroupQueryAttention", answer, inputs, 3, **counts)

    gqa_case(
        "total_only_at_run_time",
        "unsupported: its shape depends on values computed at run time, which is not supported",
    )
    gqa_case("heads_0", "attribute 'num_heads' is 0, no number of heads", num_heads=0)
    gqa_case(
        "groups_negative",
        "attribute 'kv_num_heads' is -2, no number of heads",
        kv_num_heads=-2,
    )
    gqa_case(
        "groups_do_not_divide",
        "q [2,4,3,8], k [2,3,3,8] and v [2,3,3,8] do not fit together",
        "f2,3,32 f2,3,24 f2,3,24 - - i2 i", kv_num_heads=3,
    )
    gqa_case("heads_do_not_divide_the_width", "a width of 32 is not that of 5 heads", num_heads=5)
    gqa_case("huge_heads", "a width of 32 is not that of 2147483647 heads", num_heads=(1 << 31) - 1)
    gqa_case(
        "other_width_of_keys",
        "q [2,4,3,8], k [2,2,3,10] and v [2,2,3,8] do not fit together",
        "f2,3,32 f2,3,20 f2,3,16 - - i2 i",
    )
    gqa_case(
        "other_depth_of_keys",
        "q [2,4,3,8], k [2,2,3,16] and v [2,2,3,16] do not fit together",
        "f2,3,32 f2,3,32 f2,3,32 - - i2 i",
    )
    gqa_case(
        "other_batch_of_keys",
        "q [2,4,3,8], k [1,2,3,8] and v [2,2,3,8] do not fit together",
        "f2,3,32 f1,3,16 f2,3,16 - - i2 i",
    )
    gqa_case("key_without_value", "of key and value one is missing", "f2,3,32 f2,3,16 - - - i2 i")
    gqa_case("packed_width", "a width of 33 is not that of 8 heads", "f2,3,33 - - - - i2 i")
    gqa_case("query_of_rank_2", "its query has rank 2, not 3", "f2,32 - - - - i2 i")
    gqa_case(
        "past_of_keys_alone",
        "of key and value one is missing",
        "f2,3,32 f2,3,16 f2,3,16 f2,2,4,8 - i2 i",
    )
    gqa_case(
        "past_of_other_heads",
        "cannot append [2,2,3,8] to a cache [2,4,4,8]",
        good.replace("f2,2,4,8", "f2,4,4,8"),
    )
    gqa_case(
        "past_of_rank_3",
        "cannot append [2,2,3,8] to a cache [2,2,32]",
        good.replace("f2,2,4,8", "f2,2,32"),
    )
    gqa_case("two_totals", "needs one total length", good[:-1] + "i2")
    gqa_case(
        "too_many_lengths",
        "input 4 is [3], which cannot be broadcast to [2]",
        "f2,3,32 f2,3,16 f2,3,16 - - i3 i",
    )
    gqa_case(
        "lengths_of_floats",
        "the lengths of its sequences are no integers",
        "f2,3,32 f2,3,16 f2,3,16 - - f2 i",
    )
    gqa_case(
        "without_lengths",
        "the lengths of its sequences are missing",
        "f2,3,32 f2,3,16 f2,3,16",
    )
    tables = "f2,3,32 f2,3,16 f2,3,16 - - i2 i "
    gqa_case("without_cosines", "its cosines or sines are missing", do_rotary=1)
    gqa_case(
        "wide_cosines",
        "cosines [9,5] and sines [9,5] do not fit [2,4,3,8]",
        tables + "f9,5 f9,5", do_rotary=1,
    )
    gqa_case(
        "other_sines",
        "cosines [9,4] and sines [9,3] do not fit [2,4,3,8]",
        tables + "f9,4 f9,3", do_rotary=1,
    )
    gqa_case(
        "positions_of_another_batch",
        "input 3 is [3,3], which cannot be broadcast to [2,3]",
        tables + "f9,4 f9,4 l3,3", do_rotary=1,
    )
    gqa_case(
        "bias_of_other_heads",
        "input 3 is [2,3,3,3], which cannot be broadcast to [2,4,3,3]",
        tables + "- - - f2,3,3,3",
    )
    gqa_case(
        "sinks_of_other_heads",
        "input 5 is [3], which cannot be broadcast to [4]",
        tables + "- - - - f3",
    )
    gqa_case("softcap_negative", "has an attribute out of range", tables, softcap=-1.0)
    gqa_case("scale_infinite", "has an attribute out of range", tables, scale=float("inf"))
    gqa_case("window_2_62", "ok", tables, local_window_size=1 << 62)
    gqa_case(
        "cache_in_codes",
        "unsupported: a quantised cache is not supported",
        tables, k_quant_type="PER_TENSOR",
    )
    gqa_case(
        "position_beyond_the_table",
        "invalid data: node 'n' (rotary): position 2 of token 2 in sequence 0: there are angles for 2",
        tables + "f2,4 f2,4", do_rotary=1,
    )


def multi_head():
    def mha_case(name, answer, inputs, **attributes):
        counts = {"num_heads": 4, **attributes}
        check(f"mha_{name}", "MultiHeadAttention", answer, inputs, **counts)

    mha_case("heads_0", "attribute 'num_heads' is 0, no number of heads", "f2,3,32", num_heads=0)
    mha_case("query_alone", "its key or value is missing", "f2,3,32")
    mha_case("key_alone", "its key or value is missing", "f2,3,32 f2,3,32")
    mha_case("packed_in_four", "its packed heads are not 4 in 3 parts", "f2,3,4,4,8")
    mha_case("bias_too_short", "cannot broadcast [2,3,32] with [31]", "f2,3,32 f2,3,32 f2,3,32 f95")
    mha_case(
        "padding_of_rank_4",
        "its padding mask has rank 4",
        "f2,3,32 f2,3,32 f2,3,32 - i2,1,3,3",
    )
    mha_case(
        "padding_too_long",
        "input 3 is [2,1,1,5], which cannot be broadcast to [2,4,3,3]",
        "f2,3,32 f2,3,32 f2,3,32 - i2,5",
    )
    mha_case(
        "rows_of_starts_and_ends",
        "input 4 is [8], which cannot be broadcast to [2]",
        "f2,3,32 f2,3,32 f2,3,32 - i8",
    )
    mha_case(
        "past_of_other_depth",
        "cannot append [2,4,3,8] to a cache [2,4,5,9]",
        "f2,3,32 f2,3,32 f2,3,32 - - - f2,4,5,9 f2,4,5,8",
    )


def rotary():
    def rotary_case(name, answer, inputs, **attributes):
        check(f"rotary_{name}", "RotaryEmbedding", answer, inputs, **attributes)

    rotary_case(
        "no_heads",
        "cannot reshape [2,3,30] to [2,3,7,?]",
        "f2,3,30 l2,3 f9,8 f9,8", num_heads=7,
    )
    rotary_case("empty_cosines", "attribute 'num_heads' is missing", "f2,3,32 l2,3 f9,0 f9,0")
    rotary_case(
        "wide_cosines",
        "cosines [9,5] and sines [9,5] do not fit [2,4,3,8]",
        "f2,4,3,8 l2,3 f9,5 f9,5",
    )
    rotary_case(
        "another_part",
        "attribute 'rotary_embedding_dim' is 6, but the cosines are for 8",
        "f2,4,3,8 l2,3 f9,4 f9,4", rotary_embedding_dim=6,
    )
    rotary_case(
        "x_of_rank_2",
        "cosines [9,4] and sines [9,4] do not fit [2,32]",
        "f2,32 l2,3 f9,4 f9,4",
    )
    rotary_case(
        "positions_of_rank_3",
        "input 3 is [2,3,1], which cannot be broadcast to [2,3]",
        "f2,4,3,8 l2,3,1 f9,4 f9,4",
    )
    rotary_case(
        "positions_of_floats",
        "input 3 is f32, but i32 or i64 is needed",
        "f2,4,3,8 f2,3 f9,4 f9,4",
    )
    rotary_case(
        "empty_table",
        "invalid data: node 'n' (rotary): position 0 of token 0 in sequence 0: there are angles for 0",
        "f2,4,3,8 l2,3 f0,4 f0,4",
    )


def linear():
    def linear_case(name, answer, op, inputs, outputs=1, domain="", **attributes):
        check(name, op, answer, inputs, outputs, domain=domain, **attributes)

    linear_case(
        "dequantize_axis_2",
        "there is no axis 2 in a tensor of rank 2",
        "DequantizeLinear", "u2,3 f3", axis=2,
    )
    linear_case(
        "dequantize_few_scales",
        "input 1 is [2], but [3] is needed",
        "DequantizeLinear", "u2,3 f2",
    )
    linear_case(
        "dequantize_scales_of_rank_2",
        "input 1 is [2,3], but [3] is needed",
        "DequantizeLinear", "u2,3 f2,3",
    )
    linear_case(
        "dequantize_blocks_of_0",
        "attribute 'block_size' is -1, no size",
        "DequantizeLinear", "u2,3 f2,3", block_size=-1,
    )
    linear_case(
        "dequantize_few_blocks",
        "input 1 is [2,2], but [2,3] is needed",
        "DequantizeLinear", "u2,6 f2,2", block_size=2,
    )
    linear_case(
        "dequantize_other_zeros",
        "input 2 is i8, but u8 is needed",
        "DequantizeLinear", "u2,3 f c",
    )
    linear_case(
        "dequantize_floats",
        "unsupported: codes of type f32 are not supported",
        "DequantizeLinear", "f2,3 f",
    )
    linear_case(
        "quantize_few_scales",
        "cannot broadcast [2,3] with [2]",
        "QuantizeLinear", "f2,3 f2",
    )
    linear_case(
        "quantize_to_floats",
        "unsupported: codes of type f32 are not supported",
        "QuantizeLinear", "f2,3 f", output_dtype=1,
    )
    linear_case(
        "quantize_huge_blocks",
        "ok",
        "QuantizeLinear", "f2,3 f2,1", block_size=(1 << 31) - 1,
    )
    linear_case(
        "quantize_dynamic_integers",
        "input 0 is i32, but f32 is needed",
        "DynamicQuantizeLinear", "i2,3", 3,
    )
    linear_case(
        "matmul_integer_inner",
        "cannot multiply [2,3] with [4,5]",
        "MatMulInteger", "u2,3 u4,5",
    )
    linear_case(
        "matmul_integer_of_floats",
        "input 0 is f32, but u8 or i8 is needed",
        "MatMulInteger", "f2,3 u3,5",
    )
    linear_case(
        "matmul_integer_zero_of_another_type",
        "input 2 is i8, but u8 is needed",
        "MatMulInteger", "u2,3 u3,5 c",
    )
    linear_case(
        "matmul_integer_zeros_of_rows",
        "zero points [3] do not fit [2,3]",
        "MatMulInteger", "u2,3 u3,5 u3",
    )
    linear_case(
        "matmul_integer_zeros_of_columns",
        "zero points [4] do not fit [3,5]",
        "MatMulInteger", "u2,3 u3,5 u u4",
    )
    linear_case(
        "qlinear_scales_of_a_grid",
        "unsupported: scales of more than one axis are not supported",
        "QLinearMatMul", "u2,3 f2,1 u2,1 u3,5 f u f u",
    )
    linear_case(
        "integer_to_float_without_scale",
        "it has 3 inputs; 4 to 7 are allowed",
        "MatMulIntegerToFloat", "u2,3 u3,5 f", domain=MICROSOFT,
    )


def four_bits():
    """Constants of 4-bit integers, ONNX types 21 and 22."""

    def constant(name, dims, kind, size):
        return tensor(name, dims, kind, b"\x12" * size)

    def dequantized(name, answer, codes, *zeros, op="DequantizeLinear", **attributes):
        names = ["w", "x", *(["z"] if zeros else [])]
        data = one(op, names, initializers=[codes, *zeros], shape=(), version=21, **attributes)
        case(f"four_bits_{name}", data, answer_of(op, answer))

    missing = "unsupported: input 'w' is not supported: tensor 'w' has 4-bit elements that "
    dequantized("good", "ok", constant("w", [2, 4], 22, 4))
    dequantized("odd_rows", missing + "fill no whole rows of bytes", constant("w", [4, 3], 22, 6))
    dequantized("few_bytes", missing + "do not lie two in a byte", constant("w", [2, 4], 22, 3))
    dequantized("none", missing + "do not lie two in a byte", constant("w", [0, 4], 22, 0))
    dequantized("list", "unsupported: codes of 4 bits of rank 1 are not supported",
                constant("w", [3], 21, 2))
    dequantized("zeros_with_a_sign", "its codes and zero points are of different types",
                constant("w", [2, 4], 21, 4), constant("z", [], 22, 1))
    dequantized("zeros_of_bytes", "its codes and zero points are of different types",
                constant("w", [2, 4], 21, 4), constant("z", [], UINT8, 1))
    dequantized("of_bytes", "input 2 is u8, but i8 is needed", constant("w", [2, 4], INT8, 8),
                constant("z", [], UINT8, 1))
    dequantized("added", "unsupported: input 'w' has elements of 4 bits",
                constant("w", [2, 4], 22, 4), op="Add")
    output = model(graph([], [X], [value("w", None)], [constant("w", [2, 4], 22, 4)]))
    case("four_bits_as_an_output", output, "unsupported: output 'w' has elements of 4 bits")


def decoder():
    four_bits()
    nbits()
    gather_blocks()
    group_query()
    multi_head()
    rotary()
    linear()
