"""Malformed files: the protobuf encoding."""

from case import *


def wire():
    """The protobuf encoding itself."""
    case(
        "varint_of_11_bytes",
        b"\x08" + b"\x80" * 10 + b"\x01",
        "invalid model: byte 0, ModelProto.ir_version: a varint has more than 64 bits",
    )
    case(
        "varint_beyond_64_bits",
        b"\x08" + b"\xff" * 9 + b"\x02",
        "invalid model: byte 0, ModelProto.ir_version: a varint has more than 64 bits",
    )
    case(
        "varint_cut",
        GOOD + b"\x08\x80",
        "invalid model: the file ends at byte 76, inside of ModelProto",
    )
    case("key_cut", GOOD + b"\x80", "invalid model: the file ends at byte 75, inside of ModelProto")
    case(
        "key_beyond_64_bits",
        b"\xff" * 10 + b"\x00",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: a varint has more than 64 bits",
    )
    case(
        "field_number_0",
        b"\x00\x01",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: 0 is not a field number",
    )
    case(
        "field_number_2_29",
        varint(1 << 32) + b"\x00",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: 536870912 is not a field number",
    )
    case(
        "group_start",
        b"\x0b\x0c",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 1 has wire type 3, which ONNX does not use",
    )
    case(
        "group_end",
        b"\x0c",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 1 has wire type 4, which ONNX does not use",
    )
    case(
        "wire_type_6",
        b"\x0e",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 1 has wire type 6, which ONNX does not use",
    )
    case(
        "wire_type_7",
        b"\x0f",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 1 has wire type 7, which ONNX does not use",
    )
    case(
        "length_past_the_file",
        field(1, 8) + b"\x3a\x7f\x0a",
        "invalid model: byte 2, ModelProto.graph: 127 bytes do not fit before the end at byte 5",
    )
    case(
        "length_2_63",
        b"\x3a" + varint(1 << 63),
        "invalid model: byte 0, ModelProto.graph: 9223372036854775808 bytes do not fit before the end at byte 11",
    )
    case(
        "length_2_64_less_1",
        b"\x3a" + varint(-1),
        "invalid model: byte 0, ModelProto.graph: 18446744073709551615 bytes do not fit before the end at byte 11",
    )
    case(
        "length_past_the_parent",
        field(7, b"\x0a\x05\x0a\x01x") + b"ABCDEF",
        "invalid model: byte 2, GraphProto.node: 5 bytes do not fit before the end at byte 7",
    )
    case("length_cut", b"\x3a\x80", "invalid model: the file ends at byte 2, inside of ModelProto")
    case(
        "unknown_length_past_the_parent",
        field(7, varint(99 << 3 | 2) + b"\x09") + b"A" * 20,
        "invalid model: byte 2, GraphProto: 9 bytes do not fit before the end at byte 5",
    )
    case(
        "fixed32_cut",
        varint(99 << 3 | 5) + b"\x00\x00",
        "invalid model: the file ends at byte 4, inside of ModelProto",
    )
    case(
        "fixed64_cut",
        varint(99 << 3 | 1) + b"\x00\x00\x00",
        "invalid model: the file ends at byte 5, inside of ModelProto",
    )
    case(
        "fixed32_past_the_parent",
        model(graph([node("Relu", ["x"], ["y"], more=field(5, b"\x15\x00\x00"))], [X], [Y])),
        "invalid model: byte 25, AttributeProto.f: a number of 32 bits runs past the end at byte 28",
    )
    case(
        "packed_past_the_run",
        model(
            graph(
                [node("Relu", ["x"], ["y"], more=field(5, b"\x42\x01\x80\x01\x42\x01"))], [X], [Y]
            )
        ),
        "invalid model: byte 25, AttributeProto.ints: a varint runs past the end at byte 28",
    )
    case(
        "packed_floats_of_7_bytes",
        weight_on(tensor("w", [2], more=field(4, b"\0" * 7))),
        "invalid model: byte 37, TensorProto.float_data: 7 bytes are not a number of 4-byte values",
    )
    case(
        "packed_doubles_of_12_bytes",
        weight_on(tensor("w", [2], 11, more=field(10, b"\0" * 12))),
        "invalid model: byte 37, TensorProto.double_data: 12 bytes are not a number of 8-byte values",
    )
    case(
        "graph_as_a_number",
        field(1, 8) + field(7, 5),
        "invalid model: byte 2, ModelProto.graph: wire type 0 instead of 2",
    )
    case(
        "version_as_text",
        field(1, "eight"),
        "invalid model: byte 0, ModelProto.ir_version: wire type 2 instead of 0",
    )
    case(
        "name_as_a_number",
        model(graph([field(1, "x") + field(3, 7)], [X], [Y])),
        "invalid model: byte 9, NodeProto.name: wire type 0 instead of 2",
    )
    case(
        "text_packed_as_fixed32",
        model(graph([b"\x1d\0\0\0\0"], [X], [Y])),
        "invalid model: byte 6, NodeProto.name: wire type 5 instead of 2",
    )
    case(
        "invalid_utf8",
        model(graph([node("Relu", [b"\xff"], ["y"])], [X], [Y])),
        "invalid model: byte 6, NodeProto.input: the text is not UTF-8",
    )
    case(
        "surrogate_in_a_name",
        model(graph([node("Relu", [b"\xed\xa0\x80"], ["y"])], [X], [Y])),
        "invalid model: byte 6, NodeProto.input: the text is not UTF-8",
    )
    case(
        "overlong_utf8",
        model(graph([node("Relu", [b"\xc0\xaf"], ["y"])], [X], [Y])),
        "invalid model: byte 6, NodeProto.input: the text is not UTF-8",
    )
    case(
        "nul_in_a_name",
        model(graph([node("Relu", ["x\0y"], ["y"])], [X], [Y])),
        "invalid model: byte 6, NodeProto.input: the text contains NUL",
    )
    case(
        "name_of_4097_bytes",
        model(graph([node("Relu", ["x"], ["y"], "n" * 4097)], [X], [Y])),
        "limit exceeded: byte 14, NodeProto.name: 4097 bytes of text; at most 4096 are allowed",
    )
    deep = b""
    for _ in range(1000):
        deep = field(5, field(6, field(1, deep)))
    case(
        "depth_1000",
        model(graph([deep])),
        "limit exceeded: byte 191, AttributeProto.g: messages are nested more than 64 deep",
    )
    case(
        "attributes_257",
        model(graph([node("Relu", ["x"], ["y"], more=field(5, [b""] * 257))], [X], [Y])),
        "limit exceeded: byte 537, NodeProto.attribute: more than 256 entries",
    )
    case(
        "inputs_4097",
        model(graph([node("Sum", ["x"] * 4097, ["y"])], [X], [Y])),
        "limit exceeded: byte 12296, NodeProto.input: more than 4096 entries",
    )
    case(
        "dims_65",
        weight_on(tensor("w", [1] * 65, raw=floats(1))),
        "limit exceeded: byte 160, TensorProto.dims: more than 64 entries",
    )
    case(
        "opsets_257",
        model(graph([RELU], [X], [Y]), ((17, ""),) * 257),
        "limit exceeded: byte 1604, ModelProto.opset_import: more than 256 entries",
    )
    case(
        "external_entries_17",
        weight_on(tensor("w", [1], more=field(14, 1) + field(13, [b""] * 17))),
        "limit exceeded: byte 71, TensorProto.external_data: more than 16 entries",
    )
    case(
        "nodes_131073",
        model(graph([b""] * 131073)),
        "limit exceeded: byte 262150, GraphProto.node: more than 131072 entries",
    )
    case(
        "metadata_65537",
        GOOD + field(14, [b""] * 65537),
        "limit exceeded: byte 131146, ModelProto.metadata_props: more than 65536 entries",
    )
    case("unknown_fields_100000", GOOD + field(2000, [1] * 100000), "ok")
    case(
        "merged_graph",
        field(1, 8)
        + field(8, opset(17))
        + field(7, field(1, RELU))
        + field(7, graph([], [X], [Y])),
        "ok",
    )
