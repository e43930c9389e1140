"""Writes ONNX graphs in few lines: g.MatMul(x, w) adds a node and answers its output's name.

Used by minilm_to_onnx.py and by the tests' model generators.
"""
import contextlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ELEMENT = {
    "f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "f64": TensorProto.DOUBLE,
    "bf16": TensorProto.BFLOAT16, "i8": TensorProto.INT8, "u8": TensorProto.UINT8,
    "i16": TensorProto.INT16, "u16": TensorProto.UINT16, "i32": TensorProto.INT32,
    "u32": TensorProto.UINT32, "i64": TensorProto.INT64, "u64": TensorProto.UINT64,
    "bool": TensorProto.BOOL, "i4": TensorProto.INT4, "u4": TensorProto.UINT4,
}
IR_VERSION = 8  # the last one that every peer of the last years reads


class Graph:
    """A graph under construction. Values are names; node names carry the scope, as exporters write
    them."""

    def __init__(self, name="graph", opset=17):
        self.name = name
        self.opset = opset
        self.domains = {}
        self.functions = []
        self.inputs, self.outputs, self.nodes, self.initializers = [], [], [], []
        self._scope = ""
        self._used = {}

    @contextlib.contextmanager
    def scope(self, name):
        """Names of nodes made inside begin with the scope's."""
        outer, self._scope = self._scope, f"{self._scope}/{name}"
        yield
        self._scope = outer

    def unique(self, name):
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        return f"{name}_{count}" if count else name

    def input(self, name, element, dims):
        """Dims: numbers, names of symbolic dimensions, or None."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT[element], dims))
        return name

    def output(self, value, element="f32", dims=None):
        self.outputs.append(helper.make_tensor_value_info(value, ELEMENT[element], dims))

    def weight(self, array, name="weight"):
        name = self.unique(name)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def initializer(self, tensor):
        """A TensorProto as it is."""
        self.initializers.append(tensor)
        return tensor.name

    def constant(self, value, dtype=np.float32):
        return self.node("Constant", value=numpy_helper.from_array(np.asarray(value, dtype)))

    def node(self, op, *inputs, outputs=1, out=None, name=None, domain="", **attributes):
        """Adds a node. Answers the output's name, or a list of them when there are several. `out`,
        `name`: the names to use instead of made-up ones; `out` may be a list."""
        name = name or self.unique(f"{self._scope}/{op}")
        names = out or [f"{name}_output_{i}" for i in range(outputs)]
        names = [names] if isinstance(names, str) else names
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain,
                                           **attributes))
        return names if len(names) > 1 else names[0]

    def __getattr__(self, op):
        if not op[0].isupper():
            raise AttributeError(op)
        return lambda *inputs, **keywords: self.node(op, *inputs, **keywords)

    def graph(self):
        return helper.make_graph(self.nodes, self.name, self.inputs, self.outputs,
                                 self.initializers)

    def model(self, producer="weft-tests", ir_version=None):
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        return helper.make_model(self.graph(), opset_imports=opsets, functions=self.functions,
                                 ir_version=ir_version or (9 if self.opset > 20 else IR_VERSION),
                                 producer_name=producer)


def save(model, path, external=False):
    """Writes a model; with `external`, its weights go to a second file beside it."""
    keywords = {"save_as_external_data": True, "location": path.name + ".data",
                "size_threshold": 256} if external else {}
    if external:  # onnx appends to a data file that is there already
        path.with_name(path.name + ".data").unlink(missing_ok=True)
    onnx.save(model, path, **keywords)
