"""The small model that the runner cuts and whose bytes it changes; also a seed for the fuzzer."""

from proto import *


def seed():
    """A bit of everything."""
    weight = tensor("w", [3, 4], raw=floats(*(i / 8 for i in range(12))))
    scale = tensor("scale", [4], more=field(4, floats(1, 1, 1, 1)))
    bias = tensor("bias", [4], more=field(4, [0.5, 0.25, 0.125, 0.0]))
    index = tensor("index", [2], INT64, more=field(7, [1, 0]))
    sparse = (
        field(1, tensor("s", [1], raw=floats(2)))
        + field(2, tensor("", [1], INT64, int64s(3)))
        + field(3, [4])
    )
    branch = lambda op: field(6, graph([node(op, ["sum"], ["z"])], [], [value("z", None)])) + field(
        20, 5
    )
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
    twice = (
        field(1, "Twice")
        + field(4, "a")
        + field(5, "b")
        + field(7, body)
        + field(9, opset(17))
        + field(10, "f")
    )
    yes = tensor("c", [], BOOL, b"\1")
    the_graph = graph(
        nodes,
        [value("x", ["batch", 3])],
        [value("y", ["batch", 4])],
        [weight, scale, bias, index, yes],
        field(15, sparse),
    )
    return model(
        the_graph,
        ((17, ""), (1, "f")),
        more=field(14, field(1, "key") + field(2, "value")) + field(25, twice),
    )
