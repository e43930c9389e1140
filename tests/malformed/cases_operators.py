"""Malformed files: shapes and values that operators cannot take."""

from case import *


def operators():
    """Shapes and values that operators cannot take."""
    ints = lambda *v: tensor("s", [len(v)], INT64, int64s(*v))
    with_ints = lambda op, *v, **kw: one(op, ("x", "s"), initializers=[ints(*v)], **kw)
    case(
        "reshape_two_unknown",
        with_ints("Reshape", -1, -1),
        "invalid model: node 'n' (Reshape): the shape has more than one -1",
    )
    case(
        "reshape_minus_2",
        with_ints("Reshape", -2, 3),
        "invalid model: node 'n' (Reshape): the shape has a dimension of -2",
    )
    case(
        "reshape_other_size",
        with_ints("Reshape", 7),
        "invalid model: node 'n' (Reshape): cannot reshape [2,3] to [7]",
    )
    case(
        "reshape_not_divisible",
        with_ints("Reshape", -1, 4),
        "invalid model: node 'n' (Reshape): cannot reshape [2,3] to [?,4]",
    )
    case(
        "reshape_2_62",
        with_ints("Reshape", 1 << 62, 1 << 62),
        "invalid model: node 'n' (Reshape): a dimension overflows",
    )
    case(
        "reshape_copy_past_the_rank",
        with_ints("Reshape", 2, 3, 0),
        "invalid model: node 'n' (Reshape): the shape's 0 at 2 has no dimension to copy",
    )
    case(
        "reshape_rank_9",
        with_ints("Reshape", *[1] * 7, 2, 3),
        "invalid model: node 'n' (Reshape): its output would have rank 9, more than 8",
    )
    case(
        "reshape_shape_of_floats",
        one("Reshape", ("x", "s"), initializers=[tensor("s", [1], raw=floats(6))]),
        "invalid model: node 'n' (Reshape): input 1 is f32, but i32 or i64 is needed",
    )
    case(
        "reshape_shape_of_rank_2",
        one("Reshape", ("x", "s"), initializers=[tensor("s", [1, 1], INT64, int64s(6))]),
        "invalid model: node 'n' (Reshape): input 1 is [1,1], but a list is needed",
    )
    case(
        "expand_2_60",
        with_ints("Expand", 1 << 60, 2, 3),
        "limit exceeded: node 'n' (Expand): its output [1152921504606846976,2,3] is a tensor of more than 1099511627776 elements",
    )
    case(
        "expand_2_20_to_the_4",
        with_ints("Expand", 1 << 20, 1 << 20, 2, 3),
        "limit exceeded: node 'n' (Expand): its output [1048576,1048576,2,3] is a tensor of more than 1099511627776 elements",
    )
    case(
        "expand_2_33_bytes",
        with_ints("Expand", 1 << 30, 2, 3),
        "limit exceeded: a tensor needs 25769803776 bytes, but ...",
    )
    case(
        "expand_negative",
        with_ints("Expand", -1, 3),
        "invalid model: node 'n' (Expand): the shape has a dimension of -1",
    )
    case(
        "expand_mismatch",
        with_ints("Expand", 5, 3),
        "invalid model: node 'n' (Expand): cannot broadcast [2,3] with [5,3]",
    )
    case(
        "constant_of_shape_2_60",
        model(
            graph([node("ConstantOfShape", ["s"], ["y"])], [], [value("y", None)], [ints(1 << 60)])
        ),
        "limit exceeded: node 'n' (ConstantOfShape): its output [1152921504606846976] is a tensor of more than 1099511627776 elements",
    )
    case(
        "constant_of_shape_negative",
        model(graph([node("ConstantOfShape", ["s"], ["y"])], [], [value("y", None)], [ints(-1)])),
        "invalid model: node 'n' (ConstantOfShape): the shape has a dimension of -1",
    )
    case(
        "slice_step_0",
        one(
            "Slice",
            ("x", "a", "b", "c", "d"),
            initializers=[tensor(n, [1], INT64, int64s(v)) for n, v in zip("abcd", (0, 1, 0, 0))],
        ),
        "invalid model: node 'n' (Slice): a slice step of 0",
    )
    case(
        "slice_axis_5",
        one(
            "Slice",
            ("x", "a", "b", "c"),
            initializers=[tensor(n, [1], INT64, int64s(v)) for n, v in zip("abc", (0, 1, 5))],
        ),
        "invalid model: node 'n' (Slice): axis 5 is out of range for rank 2",
    )
    case(
        "slice_axis_twice",
        one(
            "Slice",
            ("x", "a", "b", "c"),
            initializers=[tensor(n, [2], INT64, int64s(0, 0)) for n in "abc"],
        ),
        "invalid model: node 'n' (Slice): slices axis 0 twice",
    )
    case(
        "slice_lengths_differ",
        one(
            "Slice",
            ("x", "a", "b"),
            initializers=[
                tensor("a", [2], INT64, int64s(0, 0)),
                tensor("b", [1], INT64, int64s(1)),
            ],
        ),
        "invalid model: node 'n' (Slice): lists of 2 and 1 in one slice",
    )
    case(
        "split_sum",
        one("Split", ("x", "s"), ("y", "z"), [ints(1, 1)], axis=1),
        "invalid model: node 'n' (Split): parts of 2 together, but the dimension is 3",
    )
    case(
        "split_negative",
        one("Split", ("x", "s"), ("y", "z"), [ints(4, -1)], axis=1),
        "invalid model: node 'n' (Split): a part of length -1",
    )
    case(
        "split_count",
        one("Split", ("x", "s"), ("y", "z"), [ints(1, 1, 1)], axis=1),
        "invalid model: node 'n' (Split): 3 lengths for 2 outputs",
    )
    case(
        "split_sum_wraps",
        one("Split", ("x", "s"), ("y", "z"), [ints(1 << 63, (1 << 63) + 3)], axis=1),
        "invalid model: node 'n' (Split): a part of length -9223372036854775808",
    )
    case(
        "transpose_perm_short",
        one("Transpose", perm=[0]),
        "invalid model: node 'n' (Transpose): its axes are no permutation of rank 2",
    )
    case(
        "transpose_perm_twice",
        one("Transpose", perm=[0, 0]),
        "invalid model: node 'n' (Transpose): its axes are no permutation of rank 2",
    )
    case(
        "transpose_perm_out",
        one("Transpose", perm=[0, 2]),
        "invalid model: node 'n' (Transpose): axis 2 is out of range for rank 2",
    )
    case(
        "squeeze_dim_3",
        with_ints("Squeeze", 1),
        "invalid model: node 'n' (Squeeze): cannot squeeze a dimension other than 1 of [2,3]",
    )
    case(
        "squeeze_axis_out",
        with_ints("Squeeze", 7),
        "invalid model: node 'n' (Squeeze): axis 7 is out of range for rank 2",
    )
    case(
        "unsqueeze_twice",
        with_ints("Unsqueeze", 0, 0),
        "invalid model: node 'n' (Unsqueeze): an axis is named twice",
    )
    case(
        "unsqueeze_axis_out",
        with_ints("Unsqueeze", 9),
        "invalid model: node 'n' (Unsqueeze): axis 9 is out of range for rank 3",
    )
    case(
        "unsqueeze_to_rank_9",
        with_ints("Unsqueeze", *range(7)),
        "invalid model: node 'n' (Unsqueeze): its output would have rank 9, more than 8",
    )
    case(
        "concat_ranks",
        one("Concat", ("x", "w"), initializers=[tensor("w", [1], raw=floats(1))], axis=0),
        "invalid model: node 'n' (Concat): cannot concatenate [2,3] and input 1 [1] at axis 0",
    )
    case(
        "concat_dims",
        one("Concat", ("x", "w"), initializers=[tensor("w", [1, 2], raw=floats(1, 2))], axis=0),
        "invalid model: node 'n' (Concat): cannot concatenate [2,3] and input 1 [1,2] at axis 0",
    )
    case(
        "concat_types",
        one(
            "Concat", ("x", "w"), initializers=[tensor("w", [1, 3], INT64, int64s(1, 2, 3))], axis=0
        ),
        "invalid model: node 'n' (Concat): input 1 is i64, but f32 is needed",
    )
    case(
        "concat_axis_out",
        one("Concat", ("x", "x"), axis=2),
        "invalid model: node 'n' (Concat): axis 2 is out of range for rank 2",
    )
    case(
        "add_shapes",
        weight_on(tensor("w", [5], raw=floats(1, 2, 3, 4, 5))),
        "invalid model: node 'n' (Add): cannot broadcast [2,3] with [5]",
    )
    case(
        "matmul_shapes",
        one("MatMul", ("x", "w"), initializers=[tensor("w", [4, 1], raw=floats(1, 2, 3, 4))]),
        "invalid model: node 'n' (MatMul): cannot multiply [2,3] with [4,1]",
    )
    case(
        "matmul_scalar",
        one("MatMul", ("x", "w"), initializers=[tensor("w", [], raw=floats(1))]),
        "invalid model: node 'n' (MatMul): multiplies a scalar as a matrix",
    )
    case(
        "matmul_int_by_float",
        one("MatMul", ("x", "w"), initializers=[tensor("w", [3], INT64, int64s(1, 2, 3))]),
        "invalid model: node 'n' (MatMul): input 1 is i64, but f32 is needed",
    )
    case(
        "gemm_rank_3",
        one("Gemm", ("x", "x"), shape=(1, 2, 3)),
        "invalid model: node 'n' (Gemm): input 0 must be a matrix",
    )
    case(
        "gemm_c_shape",
        one(
            "Gemm",
            ("x", "x", "w"),
            initializers=[tensor("w", [5], raw=floats(1, 2, 3, 4, 5))],
            transB=1,
        ),
        "invalid model: node 'n' (Gemm): cannot broadcast [2,2] with [5]",
    )
    case(
        "gather_axis_out",
        with_ints("Gather", 0, axis=2),
        "invalid model: node 'n' (Gather): axis 2 is out of range for rank 2",
    )
    case(
        "gather_index_out",
        with_ints("Gather", 2),
        "invalid data: node 'n' (gather): index 2 (element 0 of the indices) is outside of an axis of extent 2",
    )
    case(
        "gather_index_negative_out",
        with_ints("Gather", -3),
        "invalid data: node 'n' (gather): index -3 (element 0 of the indices) is outside of an axis of extent 2",
    )
    case(
        "gather_indices_of_floats",
        one("Gather", ("x", "w"), initializers=[tensor("w", [1], raw=floats(0))]),
        "invalid model: node 'n' (Gather): input 1 is f32, but i32 or i64 is needed",
    )
    case(
        "layer_norm_scale_shape",
        one("LayerNormalization", ("x", "w"), initializers=[tensor("w", [2], raw=floats(1, 2))]),
        "invalid model: node 'n' (LayerNormalization): input 1 is [2], which cannot be broadcast to [3]",
    )
    case(
        "layer_norm_axis_out",
        one("LayerNormalization", ("x", "x"), axis=3),
        "invalid model: node 'n' (LayerNormalization): axis 3 is out of range for rank 2",
    )
    case(
        "cast_to_0",
        one("Cast", to=0),
        "unsupported: node 'n' (Cast): attribute 'to': ONNX type 0 is not supported",
    )
    case(
        "cast_to_99",
        one("Cast", to=99),
        "unsupported: node 'n' (Cast): attribute 'to': ONNX type 99 is not supported",
    )
    case(
        "cast_to_string",
        one("Cast", to=STRING),
        "unsupported: node 'n' (Cast): attribute 'to': ONNX type 8 is not supported",
    )
    case(
        "where_condition_of_floats",
        one("Where", ("x", "x", "x")),
        "invalid model: node 'n' (Where): instruction 0 (select) does not take f32",
    )
    case(
        "relu_of_bool",
        one("Relu", dtype=BOOL),
        "invalid model: node 'n' (Relu): instruction 0 (relu) does not take bool",
    )
    case(
        "erf_of_int64",
        one("Erf", dtype=INT64),
        "invalid model: node 'n' (Erf): instruction 0 (erf) does not take i64",
    )
    case(
        "reduce_axis_out",
        one("ReduceMean", axes=[5]),
        "invalid model: node 'n' (ReduceMean): axis 5 is out of range for rank 2",
    )
    case("reduce_axis_twice", one("ReduceMean", axes=[0, 0]), "ok")
    case(
        "reduce_axes_of_floats",
        one("ReduceSum", ("x", "w"), initializers=[tensor("w", [1], raw=floats(0))]),
        "invalid model: node 'n' (ReduceSum): input 1 is f32, but i32 or i64 is needed",
    )
    case(
        "range_step_0",
        model(
            graph(
                [node("Range", ["a", "a", "a"], ["y"])],
                [],
                [value("y", None)],
                [tensor("a", [], INT64, int64s(0))],
            )
        ),
        "invalid model: node 'n' (Range): a range with a step of 0",
    )
    case(
        "range_2_60",
        model(
            graph(
                [node("Range", ["a", "b", "c"], ["y"])],
                [],
                [value("y", None)],
                [tensor(n, [], INT64, int64s(v)) for n, v in zip("abc", (0, 1 << 60, 1))],
            )
        ),
        "limit exceeded: node 'n' (Range): its output [1152921504606846976] is a tensor of more than 1099511627776 elements",
    )
    case(
        "integer_division_by_0",
        one("Div", ("x", "s"), initializers=[ints(0)], dtype=INT64),
        "invalid data: node 'n' (map): integer division by zero",
    )
    case(
        "integer_division_overflows",
        one(
            "Div",
            ("s", "t"),
            initializers=[ints(-1 << 63), tensor("t", [1], INT64, int64s(-1))],
            dtype=INT64,
        ),
        "ok",
    )
    case(
        "cast_of_nan_to_int",
        one(
            "Cast",
            ("w",),
            initializers=[tensor("w", [3], raw=floats(float("nan"), float("inf"), -float("inf")))],
            to=INT64,
        ),
        "ok",
    )
    # Weights are used where they lie in the file, so often at odd addresses.
    case(
        "concat_at_an_odd_address",
        one(
            "Concat", ("x", "w"), initializers=[tensor("w", [1], raw=floats(1))], shape=(2,), axis=0
        ),
        "ok",
    )
    case(
        "einsum_without_its_equation",
        one("Einsum", more=field(5, attribute("equation", b"", 3))),
        "invalid model: node 'n' (Einsum): attribute 'equation' does not fit its inputs",
    )
    case(
        "reduce_axes_given_twice",
        one("ReduceMax", ("x", "x"), dtype=INT32, axes=[0]),
        "invalid model: node 'n' (ReduceMax): its axes are given twice, as an attribute and as an input",
    )
