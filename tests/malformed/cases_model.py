"""Malformed files: the model, its graphs, nodes and attributes. "ok" are contradictions that do no harm."""

from case import *


def whole_model():
    """ModelProto: versions, operator sets, functions."""
    case("empty_file", b"", "invalid model: the file is empty")
    case("no_graph", field(1, 8) + field(8, opset(17)), "invalid model: the model has no graph")
    case(
        "text_file",
        b"version https://git-lfs.github.com/spec/v1\n",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 14 has wire type 6, which ONNX does not use",
    )
    case(
        "web_page",
        b"<!DOCTYPE html><html><body>404</body></html>",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 7 has wire type 4, which ONNX does not use",
    )
    case(
        "zip_archive",
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        "invalid model: this is not an ONNX file: byte 2, ModelProto: 0 is not a field number",
    )
    case(
        "gguf_file",
        b"GGUF\x03\x00\x00\x00",
        "invalid model: this is not an ONNX file: byte 0, ModelProto: field 8 has wire type 7, which ONNX does not use",
    )
    case(
        "ir_version_0",
        model(graph([RELU], [X], [Y]), ir=0),
        "unsupported: the model has IR version 0; supported are 3 and newer",
    )
    case(
        "ir_version_2",
        model(graph([RELU], [X], [Y]), ir=2),
        "unsupported: the model has IR version 2; supported are 3 and newer",
    )
    case(
        "ir_version_negative",
        model(graph([RELU], [X], [Y]), ir=-1),
        "unsupported: the model has IR version -1; supported are 3 and newer",
    )
    case("ir_version_2_62", model(graph([RELU], [X], [Y]), ir=1 << 62), "ok")
    case(
        "no_opset",
        model(graph([RELU], [X], [Y]), ()),
        "invalid model: the model imports no operator set",
    )
    case(
        "opset_0",
        model(graph([RELU], [X], [Y]), ((0, ""),)),
        "unsupported: the model uses opset 0 of ONNX; supported are 7 to 28",
    )
    case(
        "opset_6",
        model(graph([RELU], [X], [Y]), ((6, ""),)),
        "unsupported: the model uses opset 6 of ONNX; supported are 7 to 28",
    )
    case(
        "opset_999",
        model(graph([RELU], [X], [Y]), ((999, ""),)),
        "unsupported: the model uses opset 999 of ONNX; supported are 7 to 28",
    )
    case(
        "opset_negative",
        model(graph([RELU], [X], [Y]), ((-5, ""),)),
        "unsupported: the model uses opset -5 of ONNX; supported are 7 to 28",
    )
    case("opset_twice", model(graph([RELU], [X], [Y]), ((17, ""), (18, ""))), "ok")
    case(
        "opset_of_another_domain",
        model(graph([RELU], [X], [Y]), ((1, "com.example"),)),
        "invalid model: node 'n' (Relu): its operator set 'ai.onnx' is not imported",
    )
    call = node("F", ["x"], ["y"], domain="f")
    inner = lambda op, domain="": node(op, ["a"], ["b"], "inner", domain)
    function = (
        lambda body, name="F": field(1, name)
        + field(4, "a")
        + field(5, "b")
        + field(7, body)
        + field(9, opset(17))
        + field(9, opset(1, "f"))
        + field(10, "f")
    )
    both = ((17, ""), (1, "f"))
    case(
        "function_calls_itself",
        model(graph([call], [X], [Y]), both, more=field(25, function(inner("F", "f")))),
        "invalid model: node 'n/inner' (F): the function calls itself",
    )
    case(
        "functions_call_each_other",
        model(
            graph([call], [X], [Y]),
            both,
            more=field(25, [function(inner("G", "f")), function(inner("F", "f"), "G")]),
        ),
        "invalid model: node 'n/inner/inner' (F): the function calls itself",
    )
    case(
        "function_twice",
        model(graph([call], [X], [Y]), both, more=field(25, [function(inner("Relu"))] * 2)),
        "invalid model: function 'F' is defined more than once",
    )
    case(
        "function_without_output",
        model(
            graph([call], [X], [Y]),
            both,
            more=field(25, field(1, "F") + field(4, "a") + field(9, opset(17)) + field(10, "f")),
        ),
        "invalid model: node 'n' (F): the call has 1 inputs and 1 outputs, the function 1 and 0",
    )
    case(
        "function_output_unknown",
        model(graph([call], [X], [Y]), both, more=field(25, function(node("Relu", ["a"], ["c"])))),
        "invalid model: nothing defines output 'b' of function 'F'",
    )
    case(
        "function_input_unknown",
        model(graph([call], [X], [Y]), both, more=field(25, function(node("Relu", ["x"], ["b"])))),
        "invalid model: node 'n/n' (Relu): nothing defines 'x'",
    )
    case(
        "function_with_too_many_inputs",
        model(
            graph([node("F", ["x", "x"], ["y"], domain="f")], [X], [Y]),
            both,
            more=field(25, function(inner("Relu"))),
        ),
        "invalid model: node 'n' (F): the call has 2 inputs and 1 outputs, the function 1 and 1",
    )
    case(
        "function_attribute_missing",
        model(
            graph([call], [X], [Y]),
            both,
            more=field(
                25,
                function(
                    node(
                        "LeakyRelu",
                        ["a"],
                        ["b"],
                        "inner",
                        more=field(5, field(1, "alpha") + field(21, "slope") + field(20, 1)),
                    )
                )
                + field(6, "slope"),
            ),
        ),
        "ok",
    )


def structure():
    """GraphProto: names, order, subgraphs."""
    one_node = lambda n, more=(): model(graph([n, *more], [X], [Y]))
    case(
        "no_op_type",
        one_node(node("", ["x"], ["y"])),
        "unsupported: node 'n': operator ai.onnx:: (opset 17) is not supported",
    )
    case(
        "unknown_operator",
        one_node(node("Frobnicate", ["x"], ["y"])),
        "unsupported: node 'n': operator ai.onnx::Frobnicate (opset 17) is not supported",
    )
    case(
        "unknown_domain",
        one_node(node("Relu", ["x"], ["y"], domain="com.example")),
        "invalid model: node 'n' (Relu): its operator set 'com.example' is not imported",
    )
    case(
        "node_without_outputs",
        one_node(node("Relu", ["x"], []), [RELU]),
        "invalid model: node 'n' (Relu): it has no outputs",
    )
    case("too_many_outputs", one_node(node("Relu", ["x"], ["y", "z"])), "ok")
    case(
        "too_few_inputs",
        one_node(node("Add", ["x"], ["y"])),
        "invalid model: node 'n' (Add): it has 1 inputs; 2 to 2 are allowed",
    )
    case(
        "too_many_inputs",
        one_node(node("Relu", ["x", "x"], ["y"])),
        "invalid model: node 'n' (Relu): it has 2 inputs; 1 to 1 are allowed",
    )
    case(
        "required_input_left_out",
        one_node(node("Add", ["x", ""], ["y"])),
        "invalid model: node 'n' (Add): it has 1 inputs; 2 to 2 are allowed",
    )
    case(
        "input_unknown",
        one_node(node("Relu", ["nothing"], ["y"])),
        "invalid model: node 'n' (Relu): nothing defines 'nothing'",
    )
    case(
        "output_unknown",
        model(graph([RELU], [X], [value("z")])),
        "invalid model: nothing defines output 'z' of graph 'g'",
    )
    case(
        "output_twice_in_one_node",
        model(
            graph(
                [node("Split", ["x"], ["y", "y"], axis=0)],
                [X],
                [Y],
            ),
            ((13, ""),),
        ),
        "invalid model: value 'y' is defined more than once",
    )
    case(
        "output_of_two_nodes",
        one_node(RELU, [node("Abs", ["x"], ["y"])]),
        "invalid model: value 'y' is defined more than once",
    )
    case(
        "output_is_an_input",
        one_node(node("Relu", ["x"], ["x"]), [RELU]),
        "invalid model: value 'x' is defined more than once",
    )
    case(
        "output_is_an_initializer",
        model(
            graph([node("Relu", ["x"], ["w"]), RELU], [X], [Y], [tensor("w", [1], raw=floats(1))])
        ),
        "invalid model: value 'w' is defined more than once",
    )
    case(
        "input_twice",
        model(graph([RELU], [X, X], [Y])),
        "invalid model: value 'x' is defined more than once",
    )
    case("graph_output_twice", model(graph([RELU], [X], [Y, Y])), "ok")
    case(
        "input_without_a_name",
        model(graph([RELU], [value(""), X], [Y])),
        "invalid model: input 0 has no name",
    )
    case(
        "output_without_a_name",
        model(graph([RELU], [X], [value("")])),
        "invalid model: nothing defines output '' of graph 'g'",
    )
    case(
        "initializer_twice",
        model(graph([RELU], [X], [Y], [tensor("w", [1], raw=floats(1))] * 2)),
        "invalid model: value 'w' is defined more than once",
    )
    case(
        "initializer_without_a_name",
        model(graph([RELU], [X], [Y], [tensor("", [1], raw=floats(1))])),
        "invalid model: initializer 0 has no name",
    )
    case(
        "cycle_of_one",
        one_node(node("Add", ["x", "y"], ["y"])),
        "invalid model: node 'n' (Add, node 0 of its graph) depends on its own output",
    )
    case(
        "cycle_of_two",
        one_node(
            node("Add", ["x", "b"], ["a"], "n1"),
            [node("Relu", ["a"], ["b"], "n2"), node("Relu", ["a"], ["y"], "n3")],
        ),
        "invalid model: node 'n1' (Add, node 0 of its graph) depends on its own output",
    )
    case("no_outputs", model(graph([RELU], [X], [])), "ok")
    case(
        "input_of_no_type",
        model(graph([RELU], [field(1, "x")], [Y])),
        "unsupported: input 'x' is not a tensor (element type 0)",
    )
    case(
        "input_of_type_0",
        model(graph([RELU], [value("x", dtype=0)], [Y])),
        "unsupported: input 'x' has elements of ONNX type 0",
    )
    case(
        "input_of_type_99",
        model(graph([RELU], [value("x", dtype=99)], [Y])),
        "unsupported: input 'x' has elements of ONNX type 99",
    )
    case(
        "input_of_strings",
        model(graph([RELU], [value("x", dtype=STRING)], [Y])),
        "unsupported: input 'x' has elements of ONNX type 8",
    )
    case(
        "input_of_rank_9",
        model(graph([RELU], [value("x", [1] * 9)], [Y])),
        "unsupported: value 'x' has rank 9; at most 8 is supported",
    )
    case(
        "input_is_a_sequence",
        model(graph([RELU], [field(1, "x") + field(2, field(4, field(1, b"")))], [Y])),
        "unsupported: input 'x' is not a tensor (element type 0)",
    )
    case(
        "output_type_lies",
        model(graph([RELU], [X], [value("y", dtype=INT64)])),
        "invalid model: output 'y' is declared as ONNX type 7, but has elements of type f32",
    )
    case("output_shape_lies", model(graph([RELU], [X], [value("y", [4, 5])])), "ok")
    case("output_rank_lies", model(graph([RELU], [X], [value("y", [2, 3, 1])])), "ok")
    case(
        "input_dims_2_62",
        model(graph([RELU], [value("x", [1 << 62, 1 << 62])], [value("y", None)])),
        "limit exceeded: node 'n' (Relu): its output [4611686018427387904,4611686018427387904] is a tensor of more than 1099511627776 elements",
    )
    deep = graph([node("Relu", ["x"], ["z"])], [], [value("z", None)])
    leaf = field(6, deep) + field(20, 5)
    for level in range(8):
        deep = graph(
            [
                node(
                    "If",
                    ["c"],
                    ["z"],
                    "if",
                    then_branch=field(6, deep) + field(20, 5),
                    else_branch=leaf,
                )
            ],
            [],
            [value("z", None)],
        )
    yes = tensor("c", [], BOOL, b"\1")
    top = lambda branch: model(
        graph(
            [node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=leaf)],
            [X],
            [value("y", None)],
            [yes],
        )
    )
    case(
        "subgraphs_9",
        top(field(6, deep) + field(20, 5)),
        "limit exceeded: node 'if': subgraphs are nested more than 8 deep",
    )
    case(
        "if_without_else",
        model(graph([node("If", ["c"], ["y"], then_branch=leaf)], [X], [value("y", None)], [yes])),
        "invalid model: node 'n' (If): attribute 'else_branch' is missing",
    )
    case(
        "if_branch_with_inputs",
        top(
            field(6, graph([node("Relu", ["a"], ["z"])], [value("a")], [value("z", None)]))
            + field(20, 5)
        ),
        "invalid model: node 'if' (If): a branch has inputs",
    )
    case(
        "if_branch_with_two_outputs",
        top(
            field(6, graph([node("Relu", ["x"], ["z"])], [], [value("z", None), value("x", None)]))
            + field(20, 5)
        ),
        "ok",
    )
    case(
        "if_branch_of_another_type",
        top(
            field(6, graph([node("Cast", ["x"], ["z"], to=INT64)], [], [value("z", None)]))
            + field(20, 5)
        ),
        "ok",
    )
    case(
        "if_condition_is_a_float",
        model(
            graph(
                [node("If", ["x"], ["y"], "if", then_branch=leaf, else_branch=leaf)],
                [X],
                [value("y", None)],
            )
        ),
        "invalid model: node 'if' (If): input 0 is f32, but bool is needed",
    )
    case(
        "branch_name_seen_from_outside",
        model(
            graph(
                [
                    node("If", ["c"], ["y"], "if", then_branch=leaf, else_branch=leaf),
                    node("Relu", ["z"], ["q"]),
                ],
                [X],
                [value("q", None)],
                [yes],
            )
        ),
        "invalid model: node 'n' (Relu): nothing defines 'z'",
    )
    case(
        "branch_hides_an_outer_name",
        top(field(6, graph([node("Relu", ["x"], ["x"])], [], [value("x", None)])) + field(20, 5)),
        "ok",
    )


def attributes():
    """AttributeProto: what its type says against what it holds."""
    lie = lambda content: model(
        graph([node("Softmax", ["x"], ["y"], more=field(5, content))], [X], [Y])
    )
    case(
        "attribute_float_for_int",
        lie(attribute("axis", 1.0)),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not a float",
    )
    case(
        "attribute_ints_for_int",
        lie(attribute("axis", [1, 2])),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not ints",
    )
    case(
        "attribute_type_0",
        lie(field(1, "axis") + field(3, 1)),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not undefined",
    )
    case(
        "attribute_type_99",
        lie(field(1, "axis") + field(3, 1) + field(20, 99)),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not of another type",
    )
    case(
        "attribute_type_says_float",
        lie(field(1, "axis") + field(3, 1) + field(20, 1)),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not a float",
    )
    case(
        "attribute_type_says_graph",
        lie(field(1, "axis") + field(3, 1) + field(20, 5)),
        "invalid model: node 'n' (Softmax): attribute 'axis' must be an int, not a graph",
    )
    case(
        "attribute_without_a_name",
        lie(field(3, 1) + field(20, 2)),
        "unsupported: node 'n' (Softmax): attribute '' is not supported in opset 17",
    )
    case(
        "attribute_twice",
        model(
            graph(
                [
                    node(
                        "Softmax",
                        ["x"],
                        ["y"],
                        more=field(5, [attribute("axis", 0), attribute("axis", 1)]),
                    )
                ],
                [X],
                [Y],
            )
        ),
        "invalid model: node 'n' (Softmax): attribute 'axis' is given twice",
    )
    case(
        "attribute_unknown",
        lie(attribute("colour", 1)),
        "unsupported: node 'n' (Softmax): attribute 'colour' is not supported in opset 17",
    )
    case(
        "attribute_reference_outside_of_a_function",
        lie(field(1, "axis") + field(21, "outer") + field(20, 2)),
        "ok",
    )
    case(
        "axis_2",
        one("Softmax", axis=2),
        "invalid model: node 'n' (Softmax): axis 2 is out of range for rank 2",
    )
    case(
        "axis_minus_3",
        one("Softmax", axis=-3),
        "invalid model: node 'n' (Softmax): axis -3 is out of range for rank 2",
    )
    case(
        "axis_2_62",
        one("Softmax", axis=1 << 62),
        "invalid model: node 'n' (Softmax): attribute 'axis' is 4611686018427387904, no axis of a tensor",
    )
    case(
        "axis_int64_min",
        one("Softmax", axis=-1 << 63),
        "invalid model: node 'n' (Softmax): attribute 'axis' is -9223372036854775808, no axis of a tensor",
    )
    case(
        "required_attribute_missing",
        one("Cast"),
        "unsupported: node 'n' (Cast): attribute 'to': ONNX type 0 is not supported",
    )
    case(
        "constant_without_a_value",
        model(graph([node("Constant", [], ["y"])], [], [value("y", None)])),
        "invalid model: node 'n' (Constant): it has no value",
    )
    case(
        "constant_tensor_missing",
        model(
            graph(
                [node("Constant", [], ["y"], more=field(5, field(1, "value") + field(20, 4)))],
                [],
                [value("y", None)],
            )
        ),
        "unsupported: output 'y' is not supported: output 0 of node 'n' (Constant)",
    )
    case(
        "constant_with_a_sparse_value",
        model(
            graph(
                [
                    node(
                        "Constant",
                        [],
                        ["y"],
                        more=field(5, field(1, "sparse_value") + field(22, b"") + field(20, 11)),
                    )
                ],
                [],
                [value("y", None)],
            )
        ),
        "unsupported: node 'n' (Constant): attribute 'sparse_value' is not supported in opset 17",
    )
    case(
        "graph_attribute_missing",
        model(
            graph(
                [
                    node(
                        "If",
                        ["c"],
                        ["y"],
                        more=field(
                            5,
                            [
                                field(1, "then_branch") + field(20, 5),
                                field(1, "else_branch") + field(20, 5),
                            ],
                        ),
                    )
                ],
                [value("c", (), BOOL)],
                [value("y", None)],
            )
        ),
        "invalid model: node 'n' (If): attribute 'then_branch' is missing",
    )
