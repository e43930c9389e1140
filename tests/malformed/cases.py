"""The malformed files and what each must be answered with. The texts are exact: who changes a message changes it here too."""

from proto import *

CASES = []


def case(name, data, answer="?"):
    """`answer`: "status: message" of the first failure while the file is opened, made a session and run once on zeros."""
    CASES.append((name, data, answer))


def wire():
    """The protobuf encoding itself."""
    case("varint_of_11_bytes", b"\x08" + b"\x80" * 10 + b"\x01")
    case("varint_beyond_64_bits", b"\x08" + b"\xff" * 9 + b"\x02")
    case("varint_cut", GOOD + b"\x08\x80")
    case("key_cut", GOOD + b"\x80")
    case("key_beyond_64_bits", b"\xff" * 10 + b"\x00")
    case("field_number_0", b"\x00\x01")
    case("field_number_2_29", varint(1 << 32) + b"\x00")
    case("group_start", b"\x0b\x0c")
    case("group_end", b"\x0c")
    case("wire_type_6", b"\x0e")
    case("wire_type_7", b"\x0f")
    case("length_past_the_file", field(1, 8) + b"\x3a\x7f\x0a")
    case("length_2_63", b"\x3a" + varint(1 << 63))
    case("length_2_64_less_1", b"\x3a" + varint(-1))
    case("length_past_the_parent", field(7, b"\x0a\x05\x0a\x01x") + b"ABCDEF")
    case("length_cut", b"\x3a\x80")
    case("unknown_length_past_the_parent", field(7, varint(99 << 3 | 2) + b"\x09") + b"A" * 20)
    case("fixed32_cut", varint(99 << 3 | 5) + b"\x00\x00")
    case("fixed64_cut", varint(99 << 3 | 1) + b"\x00\x00\x00")
    case("fixed32_past_the_parent", model(graph([node("Relu", ["x"], ["y"], more=field(5, b"\x15\x00\x00"))], [X], [Y])))
    case("packed_past_the_run", model(graph([node("Relu", ["x"], ["y"], more=field(5, b"\x42\x01\x80\x01\x42\x01"))], [X], [Y])))
    case("packed_floats_of_7_bytes", weight_on(tensor("w", [2], more=field(4, b"\0" * 7))))
    case("packed_doubles_of_12_bytes", weight_on(tensor("w", [2], 11, more=field(10, b"\0" * 12))))
    case("graph_as_a_number", field(1, 8) + field(7, 5))
    case("version_as_text", field(1, "eight"))
    case("name_as_a_number", model(graph([field(1, "x") + field(3, 7)], [X], [Y])))
    case("text_packed_as_fixed32", model(graph([b"\x1d\0\0\0\0"], [X], [Y])))
    case("invalid_utf8", model(graph([node("Relu", [b"\xff"], ["y"])], [X], [Y])))
    case("surrogate_in_a_name", model(graph([node("Relu", [b"\xed\xa0\x80"], ["y"])], [X], [Y])))
    case("overlong_utf8", model(graph([node("Relu", [b"\xc0\xaf"], ["y"])], [X], [Y])))
    case("nul_in_a_name", model(graph([node("Relu", ["x\0y"], ["y"])], [X], [Y])))
    case("name_of_4097_bytes", model(graph([node("Relu", ["x"], ["y"], "n" * 4097)], [X], [Y])))
    deep = b""
    for _ in range(1000):
        deep = field(5, field(6, field(1, deep)))
    case("depth_1000", model(graph([deep])))
    case("attributes_257", model(graph([node("Relu", ["x"], ["y"], more=field(5, [b""] * 257))], [X], [Y])))
    case("inputs_4097", model(graph([node("Sum", ["x"] * 4097, ["y"])], [X], [Y])))
    case("dims_65", weight_on(tensor("w", [1] * 65, raw=floats(1))))
    case("opsets_257", model(graph([RELU], [X], [Y]), ((17, ""),) * 257))
    case("external_entries_17", weight_on(tensor("w", [1], more=field(14, 1) + field(13, [b""] * 17))))
    case("metadata_65537", GOOD + field(14, [b""] * 65537))
    case("unknown_fields_100000", GOOD + field(2000, [1] * 100000), "ok")
    case("merged_graph", field(1, 8) + field(8, opset(17)) + field(7, field(1, RELU)) + field(7, graph([], [X], [Y])), "ok")


def whole_model():
    """ModelProto: versions, operator sets, functions."""
    case("empty_file", b"")
    case("no_graph", field(1, 8) + field(8, opset(17)))
    case("text_file", b"version https://git-lfs.github.com/spec/v1\n")
    case("web_page", b"<!DOCTYPE html><html><body>404</body></html>")
    case("zip_archive", b"PK\x03\x04\x14\x00\x00\x00\x08\x00")
    case("gguf_file", b"GGUF\x03\x00\x00\x00")
    case("ir_version_0", model(graph([RELU], [X], [Y]), ir=0))
    case("ir_version_2", model(graph([RELU], [X], [Y]), ir=2))
    case("ir_version_negative", model(graph([RELU], [X], [Y]), ir=-1))
    case("ir_version_2_62", model(graph([RELU], [X], [Y]), ir=1 << 62))
    case("no_opset", model(graph([RELU], [X], [Y]), ()))
    case("opset_0", model(graph([RELU], [X], [Y]), ((0, ""),)))
    case("opset_6", model(graph([RELU], [X], [Y]), ((6, ""),)))
    case("opset_999", model(graph([RELU], [X], [Y]), ((999, ""),)))
    case("opset_negative", model(graph([RELU], [X], [Y]), ((-5, ""),)))
    case("opset_twice", model(graph([RELU], [X], [Y]), ((17, ""), (18, ""))))
    case("opset_of_another_domain", model(graph([RELU], [X], [Y]), ((1, "com.example"),)))
    call = node("F", ["x"], ["y"], domain="f")
    inner = lambda op, domain="": node(op, ["a"], ["b"], "inner", domain)
    function = lambda body, name="F": field(1, name) + field(4, "a") + field(5, "b") + field(7, body) + field(9, opset(17)) + field(9, opset(1, "f")) + field(10, "f")
    both = ((17, ""), (1, "f"))
    case("function_calls_itself", model(graph([call], [X], [Y]), both, more=field(25, function(inner("F", "f")))))
    case("functions_call_each_other", model(graph([call], [X], [Y]), both, more=field(25, [function(inner("G", "f")), function(inner("F", "f"), "G")])))
    case("function_twice", model(graph([call], [X], [Y]), both, more=field(25, [function(inner("Relu"))] * 2)))
    case("function_without_output", model(graph([call], [X], [Y]), both, more=field(25, field(1, "F") + field(4, "a") + field(9, opset(17)) + field(10, "f"))))
    case("function_output_unknown", model(graph([call], [X], [Y]), both, more=field(25, function(node("Relu", ["a"], ["c"])))))
    case("function_input_unknown", model(graph([call], [X], [Y]), both, more=field(25, function(node("Relu", ["x"], ["b"])))))
    case("function_with_too_many_inputs", model(graph([node("F", ["x", "x"], ["y"], domain="f")], [X], [Y]), both, more=field(25, function(inner("Relu")))))
    case("function_attribute_missing", model(graph([call], [X], [Y]), both, more=field(25, function(node("LeakyRelu", ["a"], ["b"], "inner", more=field(5, field(1, "alpha") + field(21, "slope") + field(20, 1)))) + field(6, "slope"))))


def structure():
    """GraphProto: names, order, subgraphs."""
    one_node = lambda n, more=(): model(graph([n, *more], [X], [Y]))
    case("no_op_type", one_node(node("", ["x"], ["y"])))
    case("unknown_operator", one_node(node("Frobnicate", ["x"], ["y"])))
    case("unknown_domain", one_node(node("Relu", ["x"], ["y"], domain="com.example")))
    case("node_without_outputs", one_node(node("Relu", ["x"], []), [RELU]))
    case("too_many_outputs", one_node(node("Relu", ["x"], ["y", "z"])))
    case("too_few_inputs", one_node(node("Add", ["x"], ["y"])))
    case("too_many_inputs", one_node(node("Relu", ["x", "x"], ["y"])))
    case("required_input_left_out", one_node(node("Add", ["x", ""], ["y"])))
    case("input_unknown", one_node(node("Relu", ["nothing"], ["y"])))
    case("output_unknown", model(graph([RELU], [X], [value("z")])))
    case("output_twice_in_one_node", model(graph([node("Split", ["x"], ["y", "y"], axis=0)], [X], [Y], ), ((13, ""),)))
    case("output_of_two_nodes", one_node(RELU, [node("Abs", ["x"], ["y"])]))
    case("output_is_an_input", one_node(node("Relu", ["x"], ["x"]), [RELU]))
    case("output_is_an_initializer", model(graph([node("Relu", ["x"], ["w"]), RELU], [X], [Y], [tensor("w", [1], raw=floats(1))])))
    case("input_twice", model(graph([RELU], [X, X], [Y])))
    case("graph_output_twice", model(graph([RELU], [X], [Y, Y])))
    case("input_without_a_name", model(graph([RELU], [value(""), X], [Y])))
    case("output_without_a_name", model(graph([RELU], [X], [value("")])))
    case("initializer_twice", model(graph([RELU], [X], [Y], [tensor("w", [1], raw=floats(1))] * 2)))
    case("initializer_without_a_name", model(graph([RELU], [X], [Y], [tensor("", [1], raw=floats(1))])))
    case("cycle_of_one", one_node(node("Add", ["x", "y"], ["y"])))
    case("cycle_of_two", one_node(node("Add", ["x", "b"], ["a"], "n1"), [node("Relu", ["a"], ["b"], "n2"), node("Relu", ["a"], ["y"], "n3")]))
    case("no_outputs", model(graph([RELU], [X], [])))
    case("input_of_no_type", model(graph([RELU], [field(1, "x")], [Y])))
    case("input_of_type_0", model(graph([RELU], [value("x", dtype=0)], [Y])))
    case("input_of_type_99", model(graph([RELU], [value("x", dtype=99)], [Y])))
    case("input_of_strings", model(graph([RELU], [value("x", dtype=STRING)], [Y])))
    case("input_of_rank_9", model(graph([RELU], [value("x", [1] * 9)], [Y])))
    case("input_is_a_sequence", model(graph([RELU], [field(1, "x") + field(2, field(4, field(1, b"")))], [Y])))
    case("output_type_lies", model(graph([RELU], [X], [value("y", dtype=INT64)])))
    case("output_shape_lies", model(graph([RELU], [X], [value("y", [4, 5])])))
    case("output_rank_lies", model(graph([RELU], [X], [value("y", [2, 3, 1])])))
    case("input_dims_2_62", model(graph([RELU], [value("x", [1 << 62, 1 << 62])], [value("y", None)])))
    deep = graph([node("Relu", ["x"], ["z"])], [], [value("z", None)])
    leaf = field(6, deep) + field(20, 5)
    for level in range(8):
        deep = graph([node("If", ["c"], ["z"], "if", then_branch=field(6, deep) + field(20, 5), else_branch=leaf)], [], [value("z", None)])
    top = lambda branch: model(graph([node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=leaf)], [X, value("c", (), BOOL)], [value("y", None)]))
    case("subgraphs_9", top(field(6, deep) + field(20, 5)))
    case("if_without_else", model(graph([node("If", ["c"], ["y"], then_branch=leaf)], [X, value("c", (), BOOL)], [value("y", None)])))
    case("if_branch_with_inputs", top(field(6, graph([node("Relu", ["a"], ["z"])], [value("a")], [value("z", None)])) + field(20, 5)))
    case("if_branch_with_two_outputs", top(field(6, graph([node("Relu", ["x"], ["z"])], [], [value("z", None), value("x", None)])) + field(20, 5)))
    case("if_branch_of_another_type", top(field(6, graph([node("Cast", ["x"], ["z"], to=INT64)], [], [value("z", None)])) + field(20, 5)))
    case("if_condition_is_a_float", model(graph([node("If", ["x"], ["y"], "if", then_branch=leaf, else_branch=leaf)], [X], [value("y", None)])))
    case("branch_name_seen_from_outside", model(graph([node("If", ["c"], ["y"], "if", then_branch=leaf, else_branch=leaf), node("Relu", ["z"], ["q"])], [X, value("c", (), BOOL)], [value("q", None)])))
    case("branch_hides_an_outer_name", top(field(6, graph([node("Relu", ["x"], ["x"])], [], [value("x", None)])) + field(20, 5)))


def attributes():
    """AttributeProto: what its type says against what it holds."""
    lie = lambda content: model(graph([node("Softmax", ["x"], ["y"], more=field(5, content))], [X], [Y]))
    case("attribute_float_for_int", lie(attribute("axis", 1.0)))
    case("attribute_ints_for_int", lie(attribute("axis", [1, 2])))
    case("attribute_type_0", lie(field(1, "axis") + field(3, 1)))
    case("attribute_type_99", lie(field(1, "axis") + field(3, 1) + field(20, 99)))
    case("attribute_type_says_float", lie(field(1, "axis") + field(3, 1) + field(20, 1)))
    case("attribute_type_says_graph", lie(field(1, "axis") + field(3, 1) + field(20, 5)))
    case("attribute_without_a_name", lie(field(3, 1) + field(20, 2)))
    case("attribute_twice", model(graph([node("Softmax", ["x"], ["y"], more=field(5, [attribute("axis", 0), attribute("axis", 1)]))], [X], [Y])))
    case("attribute_unknown", lie(attribute("colour", 1)))
    case("attribute_reference_outside_of_a_function", lie(field(1, "axis") + field(21, "outer") + field(20, 2)))
    case("axis_2", one("Softmax", axis=2))
    case("axis_minus_3", one("Softmax", axis=-3))
    case("axis_2_62", one("Softmax", axis=1 << 62))
    case("axis_int64_min", one("Softmax", axis=-1 << 63))
    case("required_attribute_missing", one("Cast"))
    case("constant_without_a_value", model(graph([node("Constant", [], ["y"])], [], [value("y", None)])))
    case("constant_tensor_missing", model(graph([node("Constant", [], ["y"], more=field(5, field(1, "value") + field(20, 4)))], [], [value("y", None)])))
    case("constant_with_a_sparse_value", model(graph([node("Constant", [], ["y"], more=field(5, field(1, "sparse_value") + field(22, b"") + field(20, 11)))], [], [value("y", None)])))
    case("graph_attribute_missing", model(graph([node("If", ["c"], ["y"], more=field(5, [field(1, "then_branch") + field(20, 5), field(1, "else_branch") + field(20, 5)]))], [value("c", (), BOOL)], [value("y", None)])))


def tensors():
    """TensorProto: shape, type and data."""
    bad = lambda *args, **more: weight_on(tensor(*args, **more))
    case("dim_negative", bad("w", [-1], raw=b""))
    case("dim_int64_min", bad("w", [-1 << 63, 2], raw=b""))
    case("dims_2_62", bad("w", [1 << 62], raw=floats(1)))
    case("dims_product_wraps_to_0", bad("w", [1 << 32, 1 << 32], raw=b""))
    case("dims_product_wraps_to_6", bad("w", [6, (1 << 62) + 1, 4], raw=floats(1, 2, 3, 4, 5, 6)))
    case("bytes_wrap", bad("w", [(1 << 62) + 1], raw=floats(1)))
    case("dims_2_40_of_f32", bad("w", [1 << 40], raw=floats(1)))
    case("rank_9", bad("w", [1] * 9, raw=floats(1)))
    case("raw_too_short", bad("w", [2, 3], raw=floats(1, 2, 3, 4, 5)))
    case("raw_too_long", bad("w", [2, 3], raw=floats(1, 2, 3, 4, 5, 6, 7)))
    case("raw_of_an_odd_size", bad("w", [1], raw=b"\0\0\0"))
    case("raw_missing", bad("w", [2, 3]))
    case("raw_for_dim_0", bad("w", [0], raw=floats(1)))
    case("raw_twice", bad("w", [1], raw=floats(1), more=field(9, floats(1))))
    case("raw_and_typed", bad("w", [1], raw=floats(1), more=field(4, floats(1))))
    case("two_typed_fields", bad("w", [1], more=field(4, floats(1)) + field(7, 1)))
    case("floats_in_int64_data", bad("w", [1], more=field(7, 1)))
    case("floats_in_int32_data", bad("w", [1], more=field(5, 1)))
    case("floats_in_double_data", bad("w", [1], more=field(10, b"\0" * 8)))
    case("int64_in_float_data", bad("w", [1], INT64, more=field(4, floats(1))))
    case("float_data_too_short", bad("w", [3], more=field(4, floats(1, 2))))
    case("float_data_unpacked_too_short", bad("w", [3], more=field(4, 1.0)))
    case("int8_of_300", bad("w", [1], INT8, more=field(5, 300)))
    case("float16_of_70000", bad("w", [1], FLOAT16, more=field(5, 70000)))
    case("uint8_negative", bad("w", [1], UINT8, more=field(5, -129)))
    case("type_0", bad("w", [1], 0, raw=floats(1)))
    case("type_99", bad("w", [1], 99, raw=floats(1)))
    case("type_negative", bad("w", [1], -1, raw=floats(1)))
    case("type_complex64", bad("w", [1], 14, raw=b"\0" * 8))
    case("type_float8", bad("w", [4], 17, raw=b"\0" * 4))
    case("type_int4", bad("w", [4], 22, raw=b"\0" * 2))
    case("type_string", bad("w", [1], STRING, more=field(6, "text")))
    case("add_of_two_types", bad("w", [1], INT64, raw=int64s(1)))
    sparse = lambda values, indices, dims: model(graph([node("Add", ["x", "w"], ["y"])], [X], [value("y", None)], more=field(15, field(1, values) + field(2, indices) + field(3, dims))))
    two = tensor("w", [2], raw=floats(1, 2))
    case("sparse_index_too_large", sparse(two, tensor("", [2], INT64, int64s(0, 6)), [2, 3]))
    case("sparse_index_negative", sparse(two, tensor("", [2], INT64, int64s(0, -1)), [2, 3]))
    case("sparse_row_too_large", sparse(two, tensor("", [2, 2], INT64, int64s(0, 0, 2, 0)), [2, 3]))
    case("sparse_indices_of_int32", sparse(two, tensor("", [2], INT32, b"\0" * 8), [2, 3]))
    case("sparse_indices_too_few", sparse(two, tensor("", [1], INT64, int64s(0)), [2, 3]))
    case("sparse_indices_of_rank_3", sparse(two, tensor("", [2, 1, 1], INT64, int64s(0, 1)), [2, 3]))
    case("sparse_values_short", sparse(tensor("w", [2], raw=floats(1)), tensor("", [2], INT64, int64s(0, 1)), [2, 3]))
    case("sparse_dense_size_2_40", sparse(two, tensor("", [2], INT64, int64s(0, 1)), [1 << 20, 1 << 20]))
    case("sparse_dims_negative", sparse(two, tensor("", [2], INT64, int64s(0, 1)), [-2, 3]))
    case("sparse_without_values", model(graph([RELU], [X], [Y], more=field(15, field(3, [2])))))


def external():
    """External data. The runner's resolver knows one file, 'data', of 64 bytes."""

    def bad(location, offset=None, length=None, dims=(4,), more=b""):
        entries = [("location", location), ("offset", offset), ("length", length)]
        where = [field(1, k) + field(2, v) for k, v in entries if v is not None]
        return weight_on(tensor("w", dims, more=field(14, 1) + field(13, where) + more))

    case("external_found", bad("data", "0", "4", (1,)), "ok")
    case("external_without_length", bad("data", "0", None, (1,)), "ok")
    case("external_no_location", bad(None))
    case("external_location_empty", bad(""))
    case("external_location_absolute", bad("/etc/passwd"))
    case("external_location_up", bad("../data"))
    case("external_location_up_inside", bad("a/../../data"))
    case("external_location_backslash", bad("..\\data"))
    case("external_location_drive", bad("C:data"))
    case("external_location_scheme", bad("http://example.org/data"))
    case("external_location_nul", bad("data\0x"))
    case("external_location_unknown", bad("other"))
    case("external_location_twice", bad("data", more=field(13, field(1, "location") + field(2, "other"))))
    case("external_offset_negative", bad("data", "-4"))
    case("external_offset_beyond_64_bits", bad("data", "99999999999999999999"))
    case("external_offset_behind_the_end", bad("data", "65", "0", (0,)))
    case("external_offset_and_length_wrap", bad("data", "18446744073709551615", "16"))
    case("external_length_too_long", bad("data", "0", "65", (16,)))
    case("external_length_lies", bad("data", "0", "8"))
    case("external_length_not_a_number", bad("data", "0", "16 bytes"))
    case("external_shape_beyond_the_end", bad("data", "52"))
    case("external_dims_2_62", bad("data", None, None, (1 << 62, 4)))
    case("external_and_raw", bad("data", more=field(9, floats(1, 2, 3, 4))))


def operators():
    """Shapes and values that operators cannot take."""
    ints = lambda *v: tensor("s", [len(v)], INT64, int64s(*v))
    with_ints = lambda op, *v, **kw: one(op, ("x", "s"), initializers=[ints(*v)], **kw)
    case("reshape_two_unknown", with_ints("Reshape", -1, -1))
    case("reshape_minus_2", with_ints("Reshape", -2, 3))
    case("reshape_other_size", with_ints("Reshape", 7))
    case("reshape_not_divisible", with_ints("Reshape", -1, 4))
    case("reshape_2_62", with_ints("Reshape", 1 << 62, 1 << 62))
    case("reshape_copy_past_the_rank", with_ints("Reshape", 2, 3, 0))
    case("reshape_rank_9", with_ints("Reshape", *[1] * 7, 2, 3))
    case("reshape_shape_of_floats", one("Reshape", ("x", "s"), initializers=[tensor("s", [1], raw=floats(6))]))
    case("reshape_shape_of_rank_2", one("Reshape", ("x", "s"), initializers=[tensor("s", [1, 1], INT64, int64s(6))]))
    case("expand_2_60", with_ints("Expand", 1 << 60, 2, 3))
    case("expand_2_20_to_the_4", with_ints("Expand", 1 << 20, 1 << 20, 2, 3))
    case("expand_2_33_bytes", with_ints("Expand", 1 << 30, 2, 3))
    case("expand_negative", with_ints("Expand", -1, 3))
    case("expand_mismatch", with_ints("Expand", 5, 3))
    case("constant_of_shape_2_60", model(graph([node("ConstantOfShape", ["s"], ["y"])], [], [value("y", None)], [ints(1 << 60)])))
    case("constant_of_shape_negative", model(graph([node("ConstantOfShape", ["s"], ["y"])], [], [value("y", None)], [ints(-1)])))
    case("slice_step_0", one("Slice", ("x", "a", "b", "c", "d"), initializers=[tensor(n, [1], INT64, int64s(v)) for n, v in zip("abcd", (0, 1, 0, 0))]))
    case("slice_axis_5", one("Slice", ("x", "a", "b", "c"), initializers=[tensor(n, [1], INT64, int64s(v)) for n, v in zip("abc", (0, 1, 5))]))
    case("slice_axis_twice", one("Slice", ("x", "a", "b", "c"), initializers=[tensor(n, [2], INT64, int64s(0, 0)) for n in "abc"]))
    case("slice_lengths_differ", one("Slice", ("x", "a", "b"), initializers=[tensor("a", [2], INT64, int64s(0, 0)), tensor("b", [1], INT64, int64s(1))]))
    case("split_sum", one("Split", ("x", "s"), ("y", "z"), [ints(1, 1)], axis=1))
    case("split_negative", one("Split", ("x", "s"), ("y", "z"), [ints(4, -1)], axis=1))
    case("split_count", one("Split", ("x", "s"), ("y", "z"), [ints(1, 1, 1)], axis=1))
    case("split_sum_wraps", one("Split", ("x", "s"), ("y", "z"), [ints(1 << 63, (1 << 63) + 3)], axis=1))
    case("transpose_perm_short", one("Transpose", perm=[0]))
    case("transpose_perm_twice", one("Transpose", perm=[0, 0]))
    case("transpose_perm_out", one("Transpose", perm=[0, 2]))
    case("squeeze_dim_3", with_ints("Squeeze", 1))
    case("squeeze_axis_out", with_ints("Squeeze", 7))
    case("unsqueeze_twice", with_ints("Unsqueeze", 0, 0))
    case("unsqueeze_axis_out", with_ints("Unsqueeze", 9))
    case("unsqueeze_to_rank_9", with_ints("Unsqueeze", *range(7)))
    case("concat_ranks", one("Concat", ("x", "w"), initializers=[tensor("w", [1], raw=floats(1))], axis=0))
    case("concat_dims", one("Concat", ("x", "w"), initializers=[tensor("w", [1, 2], raw=floats(1, 2))], axis=0))
    case("concat_types", one("Concat", ("x", "w"), initializers=[tensor("w", [1, 3], INT64, int64s(1, 2, 3))], axis=0))
    case("concat_axis_out", one("Concat", ("x", "x"), axis=2))
    case("add_shapes", weight_on(tensor("w", [5], raw=floats(1, 2, 3, 4, 5))))
    case("matmul_shapes", one("MatMul", ("x", "w"), initializers=[tensor("w", [4, 1], raw=floats(1, 2, 3, 4))]))
    case("matmul_scalar", one("MatMul", ("x", "w"), initializers=[tensor("w", [], raw=floats(1))]))
    case("matmul_int_by_float", one("MatMul", ("x", "w"), initializers=[tensor("w", [3], INT64, int64s(1, 2, 3))]))
    case("gemm_rank_3", one("Gemm", ("x", "x"), shape=(1, 2, 3)))
    case("gemm_c_shape", one("Gemm", ("x", "x", "w"), initializers=[tensor("w", [5], raw=floats(1, 2, 3, 4, 5))], transB=1))
    case("gather_axis_out", with_ints("Gather", 0, axis=2))
    case("gather_index_out", with_ints("Gather", 2))
    case("gather_index_negative_out", with_ints("Gather", -3))
    case("gather_indices_of_floats", one("Gather", ("x", "w"), initializers=[tensor("w", [1], raw=floats(0))]))
    case("layer_norm_scale_shape", one("LayerNormalization", ("x", "w"), initializers=[tensor("w", [2], raw=floats(1, 2))]))
    case("layer_norm_axis_out", one("LayerNormalization", ("x", "x"), axis=3))
    case("cast_to_0", one("Cast", to=0))
    case("cast_to_99", one("Cast", to=99))
    case("cast_to_string", one("Cast", to=STRING))
    case("where_condition_of_floats", one("Where", ("x", "x", "x")))
    case("relu_of_bool", one("Relu", dtype=BOOL))
    case("erf_of_int64", one("Erf", dtype=INT64))
    case("reduce_axis_out", one("ReduceMean", axes=[5]))
    case("reduce_axis_twice", one("ReduceMean", axes=[0, 0]))
    case("reduce_axes_of_floats", one("ReduceSum", ("x", "w"), initializers=[tensor("w", [1], raw=floats(0))]))
    case("range_step_0", model(graph([node("Range", ["a", "a", "a"], ["y"])], [], [value("y", None)], [tensor("a", [], INT64, int64s(0))])))
    case("range_2_60", model(graph([node("Range", ["a", "b", "c"], ["y"])], [], [value("y", None)], [tensor(n, [], INT64, int64s(v)) for n, v in zip("abc", (0, 1 << 60, 1))])))
    case("integer_division_by_0", one("Div", ("x", "s"), initializers=[ints(0)], dtype=INT64))
    case("integer_division_overflows", one("Div", ("s", "t"), initializers=[ints(-1 << 63), tensor("t", [1], INT64, int64s(-1))], dtype=INT64), "ok")
    case("cast_of_nan_to_int", one("Cast", ("w",), initializers=[tensor("w", [3], raw=floats(float("nan"), float("inf"), -float("inf")))], to=INT64), "ok")


RELU = node("Relu", ["x"], ["y"])
X, Y = value("x"), value("y")
GOOD = model(graph([RELU], [X], [Y]))


def weight_on(weight):
    """x + w, where w is a TensorProto."""
    return model(graph([node("Add", ["x", "w"], ["y"])], [X], [value("y", None)], [weight]))


def seed():
    """A small model that uses a bit of everything; the runner cuts it and flips its bytes."""
    weight = tensor("w", [3, 4], raw=floats(*(i / 8 for i in range(12))))
    scale = tensor("scale", [4], more=field(4, floats(1, 1, 1, 1)))
    bias = tensor("bias", [4], more=field(4, [0.5, 0.25, 0.125, 0.0]))
    index = tensor("index", [2], INT64, more=field(7, [1, 0]))
    sparse = field(1, tensor("s", [1], raw=floats(2))) + field(2, tensor("", [1], INT64, int64s(3))) + field(3, [4])
    branch = lambda op: field(6, graph([node(op, ["sum"], ["z"])], [], [value("z", None)])) + field(20, 5)
    nodes = [
        node("MatMul", ["x", "w"], ["product"], "product"),
        node("Add", ["product", "bias"], ["sum"], "sum"),
        node("If", ["c"], ["chosen"], "if", then_branch=branch("Relu"), else_branch=branch("Tanh")),
        node("LayerNormalization", ["chosen", "scale"], ["norm"], "norm", axis=-1, epsilon=1e-5),
        node("Shape", ["norm"], ["shape"], "shape"),
        node("Gather", ["shape", "index"], ["turned"], "turned"),
        node("Reshape", ["norm", "turned"], ["r"], "reshape"),
        node("Transpose", ["r"], ["t"], "transpose", perm=[1, 0]),
        node("Twice", ["t"], ["double"], "call", "f"),
        node("Mul", ["double", "s"], ["y"], "scaled"),
    ]
    body = node("Add", ["a", "a"], ["b"])
    twice = field(1, "Twice") + field(4, "a") + field(5, "b") + field(7, body) + field(9, opset(17)) + field(10, "f")
    inputs = [value("x", ["batch", 3]), value("c", (), BOOL)]
    the_graph = graph(nodes, inputs, [value("y", ["batch", 4])], [weight, scale, bias, index], field(15, sparse))
    return model(the_graph, ((17, ""), (1, "f")), more=field(14, field(1, "key") + field(2, "value")) + field(25, twice))


for group in (wire, whole_model, structure, attributes, tensors, external, operators):
    group()
