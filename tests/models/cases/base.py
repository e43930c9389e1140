"""What the case modules share: the Case record, the tolerances, and a quick way to make a case."""
import collections
import zlib

import numpy as np

from onnx_build import Graph

# name; onnx ModelProto; feeds: list of {input: array}, one per run; tolerance: key of TOLERANCES;
# external: {location: bytes} of external data.
Case = collections.namedtuple("Case", "name model feeds tolerance external", defaults=[None])

# Largest allowed |weft - reference|, relative to the largest finite |reference| of the output (at
# least 1e-3).
TOLERANCES = {
    "exact": 0.0,   # data movement, integers, comparisons, correctly rounded arithmetic
    "f32": 1e-5,    # one op deep, or sums of a few hundred terms
    "deep": 1e-4,   # whole networks
    "8-bit rows": 2e-2,  # activations that may be rounded to 8 bits, in blocks
}
# In place of a tolerance: Weft answers WEFT_UNSUPPORTED, at open or run, in every variant.
REFUSED = "refused"

NUMPY = {"f32": np.float32, "f16": np.float16, "f64": np.float64, "i64": np.int64, "i32": np.int32,
         "i16": np.int16, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64, "i8": np.int8,
         "u8": np.uint8, "bool": np.bool_}
ELEMENT_OF = {np.dtype(t): name for name, t in NUMPY.items()}


def rng_for(name):
    """A generator that depends on the case's name alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def random(rng, shape, element="f32", low=-3, high=3):
    """Floats: normal; integers and bools: uniform in [low, high)."""
    dtype = np.dtype(NUMPY[element])
    if element == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else low, high, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def case(name, build, *feeds, tolerance="f32", opset=17, dims=None):
    """A case from `build(g, *inputs)`, which answers an output's name, (name, element type), or a
    list of these.

    feeds: lists of arrays for the inputs x0, x1, ...; the inputs' declared dims are symbolic
    wherever the feeds differ, or as `dims` says ([per input])."""
    g = Graph(name.split("/")[-1], opset)
    names = [f"x{i}" for i in range(len(feeds[0]))]
    arrays = [[np.asarray(array) for array in feed] for feed in feeds]
    for i, value in enumerate(names):
        declared = dims[i] if dims else common_dims([feed[i].shape for feed in arrays], value)
        g.input(value, ELEMENT_OF[arrays[0][i].dtype], declared)
    outputs = build(g, *names)
    for value in outputs if isinstance(outputs, list) else [outputs]:
        g.output(*value) if isinstance(value, tuple) else g.output(value)
    return Case(name, g.model(), [dict(zip(names, feed)) for feed in arrays], tolerance)


def common_dims(shapes, name):
    """A dim where all feeds agree is a number, elsewhere a symbol of its own."""
    return [sizes[0] if len(set(sizes)) == 1 else f"{name}_{axis}"
            for axis, sizes in enumerate(zip(*shapes))]
