"""What can differ in the file itself: encodings of weights, Constant's spellings, functions,
external data, old opsets."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_build import ELEMENT, Graph

from .base import Case, NUMPY, case, random, rng_for

# Element type: (field of TensorProto that holds it when not raw).
FIELDS = {"f32": "float_data", "f64": "double_data", "i64": "int64_data", "u64": "uint64_data",
          "u32": "uint64_data", "i32": "int32_data", "i16": "int32_data", "u16": "int32_data",
          "i8": "int32_data", "u8": "int32_data", "bool": "int32_data", "f16": "int32_data"}


def typed_tensor(name, array, element):
    """A TensorProto whose data stands in the typed field."""
    tensor = TensorProto(name=name, dims=array.shape, data_type=ELEMENT[element])
    bits = {"f16": np.uint16, "bool": np.uint8}.get(element)
    values = array.view(bits) if bits else array
    getattr(tensor, FIELDS[element]).extend(values.flatten().tolist())
    return tensor


def encodings():
    for element in FIELDS:
        for form in ("typed", "raw", "constant"):
            for shape in ([], [3], [2, 5], [0, 4]):
                name = f"encoding/{element}_{form}_{'x'.join(map(str, shape)) or 'scalar'}"
                array = np.asarray(random(rng_for(name), shape, element))
                tensor = typed_tensor("w", array, element) if form == "typed" else \
                    numpy_helper.from_array(array, "w")

                def build(g, x):
                    w = g.Constant(value=tensor) if form == "constant" else g.initializer(tensor)
                    return [(g.Identity(w), element), g.Add(x, g.Cast(w, to=1))]

                yield case(name, build, [np.float32([1])], tolerance="exact")


def negative_small_integers():
    """int32_data holds negative numbers as ten-byte varints."""
    array = np.array([-128, -1, 0, 1, 127], np.int8)
    yield case("encoding/negative_i8",
               lambda g, x: g.Add(x, g.Cast(g.initializer(typed_tensor("w", array, "i8")), to=1)),
               [np.float32([0.5])], tolerance="exact")


def constants():
    rng = rng_for("constants")
    x = [[random(rng, [3])]]
    forms = {"value_float": 2.5, "value_floats": [1.0, -2.0, 3.0], "value_int": 3,
             "value_ints": [4, -5, 6]}
    for form, value in forms.items():
        yield case(f"constant/{form}",
                   lambda g, v: g.Add(v, g.Cast(g.Constant(**{form: value}), to=1)), *x,
                   tolerance="exact")


def old_opsets():
    """The same small network with each opset, spelled as that opset wants it."""
    rng = rng_for("old_opsets")
    w, bias = random(rng, [6, 4]), random(rng, [4])
    for opset in range(7, 24):
        def build(g, x):
            y = g.Gemm(x, g.weight(w), g.weight(bias))
            y = g.BatchNormalization(y, *[g.weight(np.abs(random(rng, [4]))) for _ in range(4)]) \
                if opset == 9 else y
            y = g.Relu(g.Reshape(y, g.constant([-1, 2, 2], np.int64)))
            y = g.Dropout(g.Concat(y, g.Transpose(y, perm=[0, 2, 1]), axis=-1))
            total = g.ReduceSum(y, g.constant([1], np.int64)) if opset >= 13 else \
                g.ReduceSum(y, axes=[1])
            return g.Add(y, total)

        if opset != 9:
            yield case(f"opset/{opset}", build, *[[random(rng, [n, 6])] for n in (1, 4)],
                       opset=opset)


def function(name, inputs, outputs, nodes, attributes=(), opset=17, others=()):
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in others]
    return helper.make_function("local", name, list(inputs), list(outputs), nodes, opsets,
                                list(attributes))


def referring(op, inputs, outputs, attribute, kind, source):
    """A node whose attribute is taken from the function's attribute `source`."""
    node = helper.make_node(op, inputs, outputs)
    node.attribute.append(onnx.AttributeProto(name=attribute, type=kind, ref_attr_name=source))
    return node


def functions():
    leaky = function("Leaky", ["x"], ["y"],
                     [referring("LeakyRelu", ["x"], ["y"], "alpha", onnx.AttributeProto.FLOAT,
                                "slope")], ["slope"])
    dense = function("Dense", ["x", "w", "b"], ["y"],
                     [helper.make_node("MatMul", ["x", "w"], ["t"]),
                      helper.make_node("Add", ["t", "b"], ["y"])])
    block = function("Block", ["x", "w", "b"], ["y", "t"],
                     [helper.make_node("Dense", ["x", "w", "b"], ["t"], domain="local"),
                      helper.make_node("Leaky", ["t"], ["y"], domain="local", slope=0.25)],
                     others=["local"])

    def build(g, x):
        g.domains["local"] = 1
        g.functions = [leaky, dense, block]
        rng = rng_for("functions")
        w, b = g.weight(random(rng, [5, 5])), g.weight(random(rng, [5]))
        y, t = g.node("Block", x, w, b, domain="local", outputs=2)
        z, _ = g.node("Block", g.Add(y, t), w, b, domain="local", outputs=2)
        return [g.node("Leaky", z, domain="local", slope=0.5), t]

    rng = rng_for("functions/feeds")
    yield case("function/nested", build, *[[random(rng, [n, 5])] for n in (1, 6)],
               tolerance="deep")


def unused_parts():
    """Nodes, weights and inputs that nothing needs."""
    rng = rng_for("unused")

    def build(g, x, unused):
        g.weight(random(rng, [50]), "unused_weight")
        g.Exp(g.Add(x, g.constant(3)))
        return g.Neg(x)

    yield case("file/unused", build, [random(rng, [4]), random(rng, [2])], tolerance="exact")


def initializer_as_input():
    """Up to IR version 3, each initializer is also listed as an input with a default value."""
    name = "file/initializer_as_input"
    rng = rng_for(name)
    g = Graph("graph", 8)
    g.input("x", "f32", [3])
    g.weight(random(rng, [3]), "w")
    g.input("w", "f32", [3])
    g.output(g.Add("x", "w"), dims=[3])
    model = g.model()
    model.ir_version = 3
    yield Case(name, model, [{"x": random(rng, [3])}], "exact")


def unsorted_names():
    """Names with unusual characters, and no node names at all."""
    name = "file/odd_names"
    rng = rng_for(name)
    g = Graph("", 17)
    g.input("Eingabe: größe/1", "f32", ["Anzahl Sätze", 3])
    g.nodes.append(helper.make_node("Exp", ["Eingabe: größe/1"], ["%42 "]))
    g.nodes.append(helper.make_node("Neg", ["%42 "], ["出力"]))
    g.output("出力", dims=["Anzahl Sätze", 3])
    yield Case(name, g.model(), [{"Eingabe: größe/1": random(rng, [n, 3])} for n in (1, 2)], "f32")


def external_data():
    """Weights in other files, at offsets, two of them sharing a file."""
    name = "file/external"
    rng = rng_for(name)
    arrays = {"w": random(rng, [4, 6]), "b": random(rng, [6]), "table": random(rng, [9, 4])}
    places = {"w": ("one.bin", 4096), "b": ("one.bin", 0), "table": ("two.bin", 64)}
    files = {"one.bin": bytearray(8192), "two.bin": bytearray(64 + 9 * 4 * 4)}
    g = Graph("graph", 17)
    ids = g.input("ids", "i64", ["n"])
    for key, array in arrays.items():
        location, offset = places[key]
        files[location][offset:offset + array.nbytes] = array.tobytes()
        tensor = TensorProto(name=key, dims=array.shape, data_type=ELEMENT["f32"],
                             data_location=TensorProto.EXTERNAL)
        entries = {"location": location, "offset": offset, "length": array.nbytes}
        for entry, value in entries.items():
            tensor.external_data.add(key=entry, value=str(value))
        g.initializer(tensor)
    g.output(g.Add(g.MatMul(g.Gather("table", ids), "w"), "b"))
    yield Case(name, g.model(), [{"ids": np.array(ids)} for ids in ([1], [0, 8, 3])], "f32",
               {location: bytes(data) for location, data in files.items()})


def f16_weights():
    """Weights kept as f16 and cast up, the common form of half-size models."""
    rng = rng_for("f16_weights")

    def build(g, x):
        w = g.Cast(g.weight(random(rng, [12, 20]).astype(np.float16)), to=1)
        return g.MatMul(x, w)

    yield case("file/f16_weights", build, *[[random(rng, [n, 12])] for n in (1, 5)])


assert set(FIELDS) == set(NUMPY)
CASES = [encodings, negative_small_integers, constants, old_opsets, functions, unused_parts,
         initializer_as_input, unsorted_names, external_data, f16_weights]
