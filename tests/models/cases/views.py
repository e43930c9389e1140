"""Data movement: views (reshape, transpose, slice, expand), gathers, concat, split, pad, tile."""
import itertools

import numpy as np

from .base import REFUSED, case, random, rng_for


def i64(g, *values):
    return g.constant(list(values), np.int64)


def transposes():
    for rank in (1, 2, 3, 4):
        rng = rng_for(f"transpose/{rank}")
        x = [random(rng, [2, 3, 5, 7][:rank])]
        yield case(f"transpose/rank{rank}",
                   lambda g, v: [g.Transpose(v, perm=list(perm))
                                 for perm in itertools.permutations(range(rank))],
                   x, tolerance="exact")
    yield case("transpose/default", lambda g, v: g.Transpose(v),
               [random(rng_for("transpose"), [2, 3, 4])], tolerance="exact")
    for element in ("i64", "u8", "bool", "f16", "f64"):
        yield case(f"transpose/{element}", lambda g, v: (g.Transpose(v, perm=[1, 0]), element),
                   [random(rng_for(element), [5, 9], element)], tolerance="exact")


def reshapes():
    rng = rng_for("reshapes")
    targets = {"copy": [0, 0, 0], "merge": [0, -1], "flat": [-1], "split": [0, 2, 2, -1],
               "ones": [1, -1, 1], "same": [6, 4, 5], "other": [5, 4, 6]}
    for name, target in targets.items():
        yield case(f"reshape/{name}", lambda g, v: g.Reshape(v, i64(g, *target)),
                   [random(rng, [6, 4, 5])], tolerance="exact")
        yield case(f"reshape/{name}_transposed",
                   lambda g, v: g.Reshape(g.Transpose(v, perm=[2, 1, 0]), i64(g, *target)),
                   [random(rng, [5, 4, 6])], tolerance="exact")
    yield case("reshape/run_time", lambda g, v, s: g.Reshape(v, s),
               [random(rng, [4, 6]), np.array([3, 8])], [random(rng, [4, 6]), np.array([-1, 2])],
               tolerance=REFUSED)
    yield case("reshape/allowzero", lambda g, v: g.Reshape(v, i64(g, 0, 7), allowzero=1),
               [np.zeros([7, 0], np.float32)], tolerance="exact")
    for axis in (0, 1, 2, -1, 3):
        yield case(f"flatten/{axis}", lambda g, v: g.Flatten(v, axis=axis),
                   [random(rng, [2, 3, 4])], tolerance="exact")
    yield case("squeeze/axes", lambda g, v: g.Squeeze(v, i64(g, 0, -2)),
               [random(rng, [1, 3, 1, 2])], tolerance="exact")
    yield case("squeeze/all", lambda g, v: g.Squeeze(v), [random(rng, [1, 3, 1, 2])],
               tolerance="exact", dims=[[1, 3, 1, 2]])
    yield case("squeeze/attribute", lambda g, v: g.Unsqueeze(g.Squeeze(v, axes=[1]), axes=[0, 3]),
               [random(rng, [3, 1, 2])], tolerance="exact", opset=12)


SLICES = {"head": ([0], [3], [0], None), "tail": ([-2], [1000], [1], None),
          "middle": ([1, 2], [4, -1], [0, 2], None), "step": ([0, 1], [9, 9], [0, 2], [2, 3]),
          "reverse": ([-1], [-1000], [1], [-1]), "reverse_step": ([5], [0], [2], [-2]),
          "empty": ([3], [2], [0], None), "one": ([2], [3], [1], None),
          "default_axes": ([0, 1, 2], [2, 3, 4], None, None),
          "all_reversed": ([-1, -1, -1], [-99, -99, -99], [0, 1, 2], [-1, -1, -1]),
          "outside": ([-100], [100], [1], None)}


def slices():
    rng = rng_for("slices")
    for name, parts in SLICES.items():
        def build(g, v):
            inputs = [i64(g, *part) if part is not None else "" for part in parts]
            while inputs[-1] == "":
                inputs.pop()
            return g.Slice(v, *inputs)

        yield case(f"slice/{name}", build, [random(rng, [5, 4, 7])], tolerance="exact")
        yield case(f"slice/{name}_then_add", lambda g, v: g.Add(build(g, v), g.constant(1)),
                   [random(rng, [5, 4, 7])], tolerance="exact")
    yield case("slice/of_slice", lambda g, v: g.Slice(
        g.Slice(v, i64(g, 1), i64(g, 8), i64(g, 0), i64(g, 2)), i64(g, 1), i64(g, 3), i64(g, 0)),
        [random(rng, [10, 3])], tolerance="exact")
    yield case("slice/run_time", lambda g, v, a, b: g.Slice(v, a, b, i64(g, 0)),
               [random(rng, [9, 3]), np.array([2]), np.array([5])],
               [random(rng, [9, 3]), np.array([-3]), np.array([99])], tolerance=REFUSED)
    yield case("slice/attributes", lambda g, v: g.Slice(v, starts=[1], ends=[-1], axes=[1]),
               [random(rng, [3, 6])], tolerance="exact", opset=9)


def concats():
    rng = rng_for("concats")
    for axis in (0, 1, 2, -1):
        shapes = [[2, 3, 4] for _ in range(3)]
        for i, shape in enumerate(shapes):
            shape[axis] = i + 1
        yield case(f"concat/axis{axis}", lambda g, *v: g.Concat(*v, axis=axis),
                   [random(rng, shape) for shape in shapes], tolerance="exact")
    yield case("concat/one", lambda g, v: g.Concat(v, axis=0), [random(rng, [2, 3])],
               tolerance="exact")
    yield case("concat/same", lambda g, v: g.Concat(v, v, g.Neg(v), axis=1), [random(rng, [2, 3])],
               tolerance="exact")
    yield case("concat/empty", lambda g, a, b: g.Concat(a, b, axis=1),
               [np.zeros([2, 0], np.float32), random(rng, [2, 3])],
               [random(rng, [2, 4]), np.zeros([2, 0], np.float32)], tolerance="exact")
    yield case("concat/views", lambda g, a, b: g.Concat(
        g.Transpose(a, perm=[1, 0]), g.Slice(b, i64(g, 1), i64(g, 3), i64(g, 0)), axis=0),
        [random(rng, [4, 3]), random(rng, [5, 4])], tolerance="exact")
    yield case("concat/of_concat", lambda g, a, b: _nested_concat(g, a, b),
               *[[random(rng, [n, 3]), random(rng, [n, 2])] for n in (1, 6)], tolerance="f32")
    yield case("concat/i64", lambda g, a, b: (g.Concat(a, b, axis=0), "i64"),
               [random(rng, [3], "i64"), random(rng, [2], "i64")], tolerance="exact")


def _nested_concat(g, a, b):
    inner = g.Concat(g.Exp(a), b, axis=1)
    return [g.Concat(inner, g.Tanh(inner), axis=0), inner]


def splits():
    rng = rng_for("splits")
    x = random(rng, [3, 12, 2])
    sizes = [5, 1, 6]
    yield case("split/sizes", lambda g, v: g.Split(v, i64(g, *sizes), axis=1, outputs=3), [x],
               tolerance="exact")
    yield case("split/equal", lambda g, v: g.Split(v, axis=1, outputs=4), [x], tolerance="exact")
    yield case("split/num_outputs",
               lambda g, v: g.Split(v, axis=0, outputs=2, num_outputs=2), [x], tolerance="exact",
               opset=18)
    yield case("split/attribute", lambda g, v: g.Split(v, axis=-2, split=sizes, outputs=3), [x],
               tolerance="exact", opset=11)
    yield case("split/zero", lambda g, v: g.Split(v, i64(g, 0, 12), axis=1, outputs=2), [x],
               tolerance="exact")
    yield case("split/join",
               lambda g, v: g.Concat(*reversed(g.Split(v, axis=1, outputs=3)), axis=0), [x],
               tolerance="exact")
    yield case("split/glu", lambda g, v: _glu(g, v), *[[random(rng, [n, 20])] for n in (1, 7)])


def _glu(g, v):
    value, gate = g.Split(v, axis=-1, outputs=2)
    return g.Mul(value, g.Sigmoid(gate))


def expands():
    rng = rng_for("expands")
    for name, shape, target in [("rows", [1, 4], [3, 4]), ("rank", [4], [2, 3, 4]),
                                ("both", [3, 1], [2, 1, 5]), ("scalar", [], [2, 2]),
                                ("ones", [2, 3], [1, 1])]:
        x = [random(rng, shape)]
        yield case(f"expand/{name}", lambda g, v: g.Expand(v, i64(g, *target)), x,
                   tolerance="exact")
        yield case(f"expand/{name}_used", lambda g, v: g.MatMul(
            g.Reshape(g.Expand(v, i64(g, *target)), i64(g, -1, 1)), g.constant([[2.0, 3.0]])), x)
    yield case("tile", lambda g, v: g.Tile(v, i64(g, 2, 1, 3)), [random(rng, [2, 3, 4])],
               tolerance="exact")


def gathers():
    rng = rng_for("gathers")
    x = random(rng, [4, 5, 6])
    for axis in (0, 1, 2, -1):
        for label, shape in [("scalar", []), ("vector", [3]), ("matrix", [2, 4]), ("none", [0])]:
            indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
            yield case(f"gather/axis{axis}_{label}", lambda g, v, i: g.Gather(v, i, axis=axis),
                       [x, indices], tolerance="exact")
    yield case("gather/constant", lambda g, v: [g.Gather(v, g.constant(-2, np.int64), axis=1),
                                                g.Gather(v, i64(g, 3, 0, 3), axis=0)], [x],
               tolerance="exact")
    yield case("gather/i32_indices", lambda g, v, i: g.Gather(v, i, axis=1),
               [x, np.array([[1, -1], [0, 4]], np.int32)], tolerance="exact")
    yield case("gather/transposed",
               lambda g, v, i: g.Gather(g.Transpose(v, perm=[2, 0, 1]), i, axis=0),
               [x, np.array([5, 0, 2])], tolerance="exact")
    for axis in (0, 1, -1):
        indices = rng.integers(-3, 3, [3, 2, 4])
        yield case(f"gather_elements/{axis}", lambda g, v, i: g.GatherElements(v, i, axis=axis),
                   [random(rng, [3, 3, 4] if axis else [3, 2, 4]), indices], tolerance="exact")


def pads():
    rng = rng_for("pads")
    x = [random(rng, [2, 4, 5])]
    for mode in ("constant", "edge", "reflect"):
        yield case(f"pad/{mode}", lambda g, v: g.Pad(v, i64(g, 0, 1, 2, 0, 3, 1), mode=mode), x,
                   tolerance="exact")
    yield case("pad/value", lambda g, v: g.Pad(v, i64(g, 1, 0, 0, 0, 2, 0), g.constant(7.5)), x,
               tolerance="exact")
    yield case("pad/crop", lambda g, v: g.Pad(v, i64(g, 0, -1, 1, 0, 0, -2)), x, tolerance="exact")
    yield case("pad/axes", lambda g, v: g.Pad(v, i64(g, 1, 2), "", i64(g, -1)), x,
               tolerance="exact", opset=18)


def trilus():
    rng = rng_for("trilus")
    for upper in (0, 1):
        for k in (None, 0, 1, -2, 9, -9):
            def build(g, v):
                extra = [] if k is None else [g.constant(k, np.int64)]
                return g.Trilu(v, *extra, upper=upper)

            yield case(f"trilu/{upper}_{k}", build, [random(rng, [2, 4, 6])],
                       [random(rng, [1, 5, 3])], tolerance="exact")


def passing_through():
    """Outputs that are inputs, views of inputs, or weights."""
    rng = rng_for("through")
    yield case("through/identity", lambda g, v: g.Identity(v), [random(rng, [3])],
               tolerance="exact")
    yield case("through/reshape", lambda g, v: [g.Reshape(v, i64(g, -1)), g.Transpose(v)],
               [random(rng, [3, 4])], tolerance="exact")
    yield case("through/weight", lambda g, v: [g.Identity(g.weight(random(rng, [2, 2]))),
                                               g.Add(v, v)], [random(rng, [2])], tolerance="exact")
    yield case("through/twice", lambda g, v: [g.Identity(v), g.Identity(v), g.Neg(v)],
               [random(rng, [5])], tolerance="exact")
    yield case("through/computed_view", lambda g, v: _computed_views(g, v),
               *[[random(rng, [n, 6])] for n in (1, 4)])
    yield case("through/dropout", lambda g, v: g.Dropout(v), [random(rng, [5])], tolerance="exact")
    for element in ("i64", "bool", "u8", "f16", "f64", "i8"):
        yield case(f"through/{element}", lambda g, v: (g.Identity(v), element),
                   [random(rng, [5], element)], tolerance="exact")


def _computed_views(g, v):
    value = g.Exp(v)
    return [g.Transpose(value, perm=[1, 0]), value, g.Slice(value, i64(g, 1), i64(g, 3), i64(g, 1))]


def rotary():
    """Rotary position embedding: split, negate, concat, multiply."""
    rng = rng_for("rotary")

    def build(g, x, cos, sin):
        half = g.constant([4], np.int64)
        left = g.Slice(x, i64(g, 0), half, i64(g, 3))
        right = g.Slice(x, half, i64(g, 2**62), i64(g, 3))
        return g.Add(g.Mul(x, cos), g.Mul(g.Concat(g.Neg(right), left, axis=-1), sin))

    yield case("rotary", build, *[[random(rng, [1, 2, n, 8]), random(rng, [n, 8]),
                                   random(rng, [n, 8])] for n in (1, 13)])


CASES = [transposes, reshapes, slices, concats, splits, expands, gathers, pads, trilus,
         passing_through, rotary]
