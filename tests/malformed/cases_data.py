"""Malformed files: tensors and external data."""

from case import *


def tensors():
    """TensorProto: shape, type and data."""
    bad = lambda *args, **more: weight_on(tensor(*args, **more))
    case("dim_negative", bad("w", [-1], raw=b""), "invalid model: tensor 'w': dimension 0 is -1")
    case(
        "dim_int64_min",
        bad("w", [-1 << 63, 2], raw=b""),
        "invalid model: tensor 'w': dimension 0 is -9223372036854775808",
    )
    case(
        "dims_2_62",
        bad("w", [1 << 62], raw=floats(1)),
        "limit exceeded: tensor 'w' has more than 1099511627776 elements",
    )
    case(
        "dims_product_wraps_to_0",
        bad("w", [1 << 32, 1 << 32], raw=b""),
        "limit exceeded: tensor 'w' has more than 1099511627776 elements",
    )
    case(
        "dims_product_wraps_to_6",
        bad("w", [6, (1 << 62) + 1, 4], raw=floats(1, 2, 3, 4, 5, 6)),
        "limit exceeded: tensor 'w' has more than 1099511627776 elements",
    )
    case(
        "bytes_wrap",
        bad("w", [(1 << 62) + 1], raw=floats(1)),
        "limit exceeded: tensor 'w' has more than 1099511627776 elements",
    )
    case(
        "dims_2_40_of_f32",
        bad("w", [1 << 40], raw=floats(1)),
        "invalid model: tensor 'w': its shape and type take 4398046511104 bytes, its data has 4",
    )
    case(
        "rank_9",
        bad("w", [1] * 9, raw=floats(1)),
        "unsupported: tensor 'w' has rank 9; at most 8 is supported",
    )
    case(
        "raw_too_short",
        bad("w", [2, 3], raw=floats(1, 2, 3, 4, 5)),
        "invalid model: tensor 'w': its shape and type take 24 bytes, its data has 20",
    )
    case(
        "raw_too_long",
        bad("w", [2, 3], raw=floats(1, 2, 3, 4, 5, 6, 7)),
        "invalid model: tensor 'w': its shape and type take 24 bytes, its data has 28",
    )
    case(
        "raw_of_an_odd_size",
        bad("w", [1], raw=b"\0\0\0"),
        "invalid model: tensor 'w': its shape and type take 4 bytes, its data has 3",
    )
    case(
        "raw_missing",
        bad("w", [2, 3]),
        "invalid model: tensor 'w': its shape and type take 24 bytes, its data has 0",
    )
    case(
        "raw_for_dim_0",
        bad("w", [0], raw=floats(1)),
        "invalid model: tensor 'w': its shape and type take 0 bytes, its data has 4",
    )
    case(
        "raw_twice",
        bad("w", [1], raw=floats(1), more=field(9, floats(1))),
        "invalid model: tensor 'w': its data is given twice, the second time in raw_data",
    )
    case(
        "raw_and_typed",
        bad("w", [1], raw=floats(1), more=field(4, floats(1))),
        "invalid model: tensor 'w': its data is given twice, the second time in float_data",
    )
    case(
        "two_typed_fields",
        bad("w", [1], more=field(4, floats(1)) + field(7, 1)),
        "invalid model: tensor 'w': its data is given twice, the second time in int64_data",
    )
    case(
        "floats_in_int64_data",
        bad("w", [1], more=field(7, 1)),
        "invalid model: tensor 'w': elements of its type do not belong in int64_data",
    )
    case(
        "floats_in_int32_data",
        bad("w", [1], more=field(5, 1)),
        "invalid model: tensor 'w': elements of its type do not belong in int32_data",
    )
    case(
        "floats_in_double_data",
        bad("w", [1], more=field(10, b"\0" * 8)),
        "invalid model: tensor 'w': elements of its type do not belong in double_data",
    )
    case(
        "int64_in_float_data",
        bad("w", [1], INT64, more=field(4, floats(1))),
        "invalid model: tensor 'w': elements of its type do not belong in float_data",
    )
    case(
        "float_data_too_short",
        bad("w", [3], more=field(4, floats(1, 2))),
        "invalid model: tensor 'w': its shape and type take 12 bytes, its data has 8",
    )
    case(
        "float_data_unpacked_too_short",
        bad("w", [3], more=field(4, 1.0)),
        "invalid model: tensor 'w': its shape and type take 12 bytes, its data has 4",
    )
    case(
        "int8_of_300",
        bad("w", [1], INT8, more=field(5, 300)),
        "invalid model: tensor 'w': an element is out of the range of its type in int32_data",
    )
    case(
        "float16_of_70000",
        bad("w", [1], FLOAT16, more=field(5, 70000)),
        "invalid model: tensor 'w': an element is out of the range of its type in int32_data",
    )
    case(
        "uint8_negative",
        bad("w", [1], UINT8, more=field(5, -129)),
        "invalid model: tensor 'w': an element is out of the range of its type in int32_data",
    )
    case(
        "type_0",
        bad("w", [1], 0, raw=floats(1)),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type 0",
    )
    case(
        "type_99",
        bad("w", [1], 99, raw=floats(1)),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type 99",
    )
    case(
        "type_negative",
        bad("w", [1], -1, raw=floats(1)),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type -1",
    )
    case(
        "type_complex64",
        bad("w", [1], 14, raw=b"\0" * 8),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type 14",
    )
    case(
        "type_float8",
        bad("w", [4], 17, raw=b"\0" * 4),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type 17",
    )
    case(
        "type_int4",
        bad("w", [4], 22, raw=b"\0" * 2),
        "unsupported: node 'n' (Add): input 'w' has elements of 4 bits",
    )
    case(
        "type_string",
        bad("w", [1], STRING, more=field(6, "text")),
        "unsupported: node 'n' (Add): input 'w' is not supported: tensor 'w' has elements of ONNX type 8",
    )
    case(
        "add_of_two_types",
        bad("w", [1], INT64, raw=int64s(1)),
        "invalid model: node 'n' (Add): its operands are of different types, f32 and i64",
    )
    sparse = lambda values, indices, dims: model(
        graph(
            [node("Add", ["x", "w"], ["y"])],
            [X],
            [value("y", None)],
            more=field(15, field(1, values) + field(2, indices) + field(3, dims)),
        )
    )
    two = tensor("w", [2], raw=floats(1, 2))
    case(
        "sparse_index_too_large",
        sparse(two, tensor("", [2], INT64, int64s(0, 6)), [2, 3]),
        "invalid model: sparse tensor 'w': an index lies outside of the shape",
    )
    case(
        "sparse_index_negative",
        sparse(two, tensor("", [2], INT64, int64s(0, -1)), [2, 3]),
        "invalid model: sparse tensor 'w': an index lies outside of the shape",
    )
    case(
        "sparse_row_too_large",
        sparse(two, tensor("", [2, 2], INT64, int64s(0, 0, 2, 0)), [2, 3]),
        "invalid model: sparse tensor 'w': an index lies outside of the shape",
    )
    case(
        "sparse_indices_of_int32",
        sparse(two, tensor("", [2], INT32, b"\0" * 8), [2, 3]),
        "invalid model: sparse tensor 'w': indices must be i64",
    )
    case(
        "sparse_indices_too_few",
        sparse(two, tensor("", [1], INT64, int64s(0)), [2, 3]),
        "invalid model: sparse tensor 'w': the shape of the indices fits neither [values] nor [values,rank]",
    )
    case(
        "sparse_indices_of_rank_3",
        sparse(two, tensor("", [2, 1, 1], INT64, int64s(0, 1)), [2, 3]),
        "invalid model: sparse tensor 'w': the shape of the indices fits neither [values] nor [values,rank]",
    )
    case(
        "sparse_values_short",
        sparse(tensor("w", [2], raw=floats(1)), tensor("", [2], INT64, int64s(0, 1)), [2, 3]),
        "invalid model: sparse tensor 'w': the values have another number of bytes than their shape says",
    )
    case(
        "sparse_dense_size_2_40",
        sparse(two, tensor("", [2], INT64, int64s(0, 1)), [1 << 20, 1 << 20]),
        "limit exceeded: sparse tensor 'w' takes 4398046511104 bytes when dense; at most 67108864 are allowed",
    )
    case(
        "sparse_dims_negative",
        sparse(two, tensor("", [2], INT64, int64s(0, 1)), [-2, 3]),
        "invalid model: tensor 'w': dimension 0 is -2",
    )
    case(
        "sparse_without_values",
        model(graph([RELU], [X], [Y], more=field(15, field(3, [2])))),
        "invalid model: sparse initializer 0 has no name",
    )


def external():
    """External data. The runner's resolver knows one file, 'data', of 64 bytes."""

    def bad(location, offset=None, length=None, dims=(4,), more=b""):
        entries = [("location", location), ("offset", offset), ("length", length)]
        where = [field(1, k) + field(2, v) for k, v in entries if v is not None]
        return weight_on(tensor("w", dims, more=field(14, 1) + field(13, where) + more))

    case("external_found", bad("data", "0", "4", (1,)), "ok")
    case("external_without_length", bad("data", "0", None, (1,)), "ok")
    case(
        "external_no_location",
        bad(None),
        "invalid model: tensor 'w': external data: there is no location",
    )
    case(
        "external_location_empty",
        bad(""),
        "invalid model: tensor 'w': external data: there is no location",
    )
    case(
        "external_location_absolute",
        bad("/etc/passwd"),
        "invalid model: tensor 'w': external data: the location is absolute: /etc/passwd",
    )
    case(
        "external_location_up",
        bad("../data"),
        "invalid model: tensor 'w': external data: the location leaves its folder: ../data",
    )
    case(
        "external_location_up_inside",
        bad("a/../../data"),
        "invalid model: tensor 'w': external data: the location leaves its folder: a/../../data",
    )
    case(
        "external_location_backslash",
        bad("..\\data"),
        "invalid model: tensor 'w': external data: the location has a backslash: ..\\data",
    )
    case(
        "external_location_drive",
        bad("C:data"),
        "invalid model: tensor 'w': external data: the location has a scheme or drive: C:data",
    )
    case(
        "external_location_scheme",
        bad("http://example.org/data"),
        "invalid model: tensor 'w': external data: the location has a scheme or drive: http://example.org/data",
    )
    case(
        "external_location_nul",
        bad("data\0x"),
        "invalid model: byte 51, StringStringEntryProto.value: the text contains NUL",
    )
    case(
        "external_location_unknown",
        bad("other"),
        "input/output error: tensor 'w': external data: the resolver did not find other",
    )
    case(
        "external_location_twice",
        bad("data", more=field(13, field(1, "location") + field(2, "other"))),
        "invalid model: tensor 'w': external data: given twice: location",
    )
    case(
        "external_offset_negative",
        bad("data", "-4"),
        "invalid model: tensor 'w': external data: not an offset: -4",
    )
    case(
        "external_offset_beyond_64_bits",
        bad("data", "99999999999999999999"),
        "invalid model: tensor 'w': external data: not an offset: 99999999999999999999",
    )
    case(
        "external_offset_behind_the_end",
        bad("data", "65", "0", (0,)),
        "invalid model: tensor 'w': external data: 0 bytes at 65 lie outside of 'data', which has 64 bytes",
    )
    case(
        "external_offset_and_length_wrap",
        bad("data", "18446744073709551615", "16"),
        "invalid model: tensor 'w': external data: 16 bytes at 18446744073709551615 lie outside of 'data', which has 64 bytes",
    )
    case(
        "external_length_too_long",
        bad("data", "0", "65", (16,)),
        "invalid model: tensor 'w': external data: 65 bytes at 0 lie outside of 'data', which has 64 bytes",
    )
    case(
        "external_length_lies",
        bad("data", "0", "8"),
        "invalid model: tensor 'w': its shape and type take 16 bytes, its data has 8",
    )
    case(
        "external_length_not_a_number",
        bad("data", "0", "16 bytes"),
        "invalid model: tensor 'w': external data: not a length: 16 bytes",
    )
    case(
        "external_shape_beyond_the_end",
        bad("data", "52"),
        "invalid model: tensor 'w': external data: 16 bytes at 52 lie outside of 'data', which has 64 bytes",
    )
    case(
        "external_dims_2_62",
        bad("data", None, None, (1 << 62, 4)),
        "limit exceeded: tensor 'w' has more than 1099511627776 elements",
    )
    case(
        "external_and_raw",
        bad("data", more=field(9, floats(1, 2, 3, 4))),
        "invalid model: tensor 'w': external data: given besides data in the model",
    )
