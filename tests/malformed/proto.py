"""Protobuf and ONNX messages by hand: every message is bytes, so that a test can write what no
library would.

A message is the concatenation of fields: field(number, value). An int becomes a varint, a float a
fixed32, text and bytes a length-delimited field, a list a field for each of its items.
"""

import struct

FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16 = 1, 2, 3, 6, 7, 8, 9, 10


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, list):
        return b"".join(field(number, item) for item in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def int64s(*values):
    return b"".join(struct.pack("<Q", value & (1 << 64) - 1) for value in values)


def tensor(name, dims, dtype=FLOAT, raw=None, more=b""):
    """TensorProto; `raw` None: no raw_data."""
    out = field(1, list(dims)) + field(2, dtype) + field(8, name)
    return out + (b"" if raw is None else field(9, raw)) + more


def shape(dims):
    """TensorShapeProto of ints and names."""
    return b"".join(field(1, field(1 if isinstance(d, int) else 2, d)) for d in dims)


def value(name, dims=(2, 3), dtype=FLOAT):
    """ValueInfoProto; `dims` None: only the name."""
    if dims is None:
        return field(1, name)
    return field(1, name) + field(2, field(1, field(1, dtype) + field(2, shape(dims))))


def attribute(name, content, kind=None):
    """AttributeProto by the Python type of `content`; bytes are fields already written, of AttributeType `kind`."""
    if isinstance(content, bytes):
        return field(1, name) + content + (b"" if kind is None else field(20, kind))
    if isinstance(content, int):
        return field(1, name) + field(3, content) + field(20, 2)
    if isinstance(content, float):
        return field(1, name) + field(2, content) + field(20, 1)
    if isinstance(content, str):
        return field(1, name) + field(4, content) + field(20, 3)
    number, kind = (7, 6) if content and isinstance(content[0], float) else (8, 7)
    return field(1, name) + field(number, content) + field(20, kind)


def node(op, inputs, outputs, name="n", domain="", more=b"", **attributes):
    out = (
        field(1, list(inputs))
        + field(2, list(outputs))
        + field(3, name)
        + field(4, op)
        + field(7, domain)
    )
    return out + field(5, [attribute(k, v) for k, v in attributes.items()]) + more


def graph(nodes=(), inputs=(), outputs=(), initializers=(), more=b"", name="g"):
    out = field(1, list(nodes)) + field(2, name) + field(5, list(initializers))
    return out + field(11, list(inputs)) + field(12, list(outputs)) + more


def opset(version, domain=""):
    return field(1, domain) + field(2, version)


def model(the_graph, opsets=((17, ""),), ir=8, more=b""):
    return field(1, ir) + field(7, the_graph) + field(8, [opset(*o) for o in opsets]) + more


def one(
    op,
    inputs=("x",),
    outputs=("y",),
    initializers=(),
    shape=(2, 3),
    dtype=FLOAT,
    version=17,
    **attributes,
):
    """A model of one node `n` on the input x."""
    return model(
        graph(
            [node(op, inputs, outputs, **attributes)],
            [value("x", shape, dtype)],
            [value(o, None) for o in outputs if o],
            initializers,
        ),
        ((version, ""),),
    )
