"""Shape arithmetic that stays on the host: Shape, Gather, Concat, Range, ConstantOfShape and what
is made of them."""
import numpy as np
from onnx import helper, numpy_helper

from .base import REFUSED, case, random, rng_for


def i64(g, *values):
    return g.constant(list(values), np.int64)


def dim(g, x, index):
    """A dimension as a scalar."""
    return g.Gather(g.Shape(x), g.constant(index, np.int64), axis=0)


def up(g, scalar):
    return g.Unsqueeze(scalar, i64(g, 0))


FEEDS = [(1, 2), (3, 4), (5, 8), (3, 4)]


def feeds(name, inner=6):
    rng = rng_for(name)
    return [[random(rng, [batch, sequence, inner])] for batch, sequence in FEEDS]


def reshape_chains():
    def merge(g, x):
        rows = g.Mul(dim(g, x, 0), dim(g, x, 1))
        return g.Reshape(x, g.Concat(up(g, rows), i64(g, 6), axis=0))

    def halve(g, x):
        half = g.Div(dim(g, x, 1), g.constant(2, np.int64))
        shape = g.Concat(up(g, dim(g, x, 0)), up(g, half), i64(g, 2, 6), axis=0)
        return g.Transpose(g.Reshape(x, shape), perm=[0, 2, 1, 3])

    def slice_shape(g, x):
        lead = g.Slice(g.Shape(x), i64(g, 0), i64(g, 2), i64(g, 0))
        return g.Reshape(x, g.Concat(lead, i64(g, 2, 3), axis=0))

    def shape_attributes(g, x):
        return g.Reshape(x, g.Concat(g.Shape(x, start=1), g.Shape(x, start=0, end=-2), axis=0))

    def size(g, x):
        return g.Reshape(x, up(g, g.Size(x)))

    def subtract(g, x):
        rest = g.Sub(g.Add(dim(g, x, 1), g.constant(3, np.int64)), g.constant(3, np.int64))
        return g.Reshape(x, g.Concat(i64(g, -1), up(g, rest), axis=0))

    for build in (merge, halve, slice_shape, shape_attributes, size, subtract):
        name = f"shape/{build.__name__}"
        yield case(name, build, *feeds(name), tolerance="exact", opset=17)


def shape_values_out():
    """Shape arithmetic whose result is an output of the model."""
    name = "shape/values_out"
    yield case(name, lambda g, x: [(g.Shape(x), "i64"), (g.Size(x), "i64"),
                                   (g.Mul(dim(g, x, 0), dim(g, x, 1)), "i64"),
                                   g.Cast(g.Shape(x), to=1)], *feeds(name), tolerance="exact")


def fills():
    ones = numpy_helper.from_array(np.array([1.5], np.float32))

    def constant_of_shape(g, x):
        return g.Add(x, g.ConstantOfShape(g.Shape(x), value=ones))

    def zeros(g, x):
        return g.ConstantOfShape(g.Slice(g.Shape(x), i64(g, 0), i64(g, 2), i64(g, 0)))

    def positions(g, x):
        """Range over the sequence, then a gather from a table."""
        ids = g.Range(g.constant(0, np.int64), dim(g, x, 1), g.constant(1, np.int64))
        table = g.weight(random(rng_for("positions"), [16, 6]))
        return g.Add(x, g.Gather(table, ids))

    def float_range(g, x):
        steps = g.Cast(dim(g, x, 1), to=1)
        return g.Range(g.constant(0.5), steps, g.constant(0.25))

    def causal(g, x):
        """A triangle by comparing two ranges."""
        ids = g.Range(g.constant(0, np.int64), dim(g, x, 1), g.constant(1, np.int64))
        rows, columns = g.Unsqueeze(ids, i64(g, 1)), g.Unsqueeze(ids, i64(g, 0))
        return g.Where(g.LessOrEqual(columns, rows), g.constant(0.0), g.constant(-1e9))

    name = "fill/float_range"  # shape arithmetic is followed in integers only
    yield case(name, float_range, *feeds(name), tolerance=REFUSED)
    for build in (constant_of_shape, zeros, positions, causal):
        name = f"fill/{build.__name__}"
        yield case(name, build, *feeds(name), tolerance="exact")


def expand_trick():
    """torch's expand(-1, n): Where(Equal(shape, -1), ones, shape) before Expand."""
    def build(g, x):
        wanted = g.Concat(i64(g, -1), up(g, dim(g, x, 1)), i64(g, -1), axis=0)
        ones = g.ConstantOfShape(i64(g, 3), value=numpy_helper.from_array(np.array([1])))
        shape = g.Where(g.Equal(wanted, g.Mul(ones, i64(g, -1))), ones, wanted)
        return g.Add(x, g.Expand(g.weight(random(rng_for("trick"), [1, 1, 6])), shape))

    yield case("shape/expand_trick", build, *feeds("shape/expand_trick"), tolerance="exact")


def dynamic_slices():
    def first_half(g, x):
        half = g.Div(dim(g, x, 1), g.constant(2, np.int64))
        return g.Slice(x, i64(g, 0), up(g, half), i64(g, 1))

    def last_row(g, x):
        last = g.Sub(dim(g, x, 1), g.constant(1, np.int64))
        return g.Gather(x, last, axis=1)

    def drop_first(g, x):
        return g.Slice(x, i64(g, 1), up(g, dim(g, x, 1)), i64(g, 1))

    def pad_to_even(g, x):
        odd = up(g, g.Mod(dim(g, x, 1), g.constant(2, np.int64)))
        zero = i64(g, 0)
        return g.Pad(x, g.Concat(zero, zero, zero, zero, odd, zero, axis=0))

    def tile_batch(g, x):
        one = i64(g, 1)
        return g.Tile(x, g.Concat(up(g, dim(g, x, 0)), one, one, axis=0))

    def split_point(g, x):
        return g.Split(x, g.Concat(i64(g, 1), up(g, g.Sub(dim(g, x, 1), g.constant(1, np.int64))),
                                   axis=0), axis=1, outputs=2)

    for build in (first_half, last_row, drop_first, pad_to_even, tile_batch, split_point):
        name = f"shape/{build.__name__}"
        yield case(name, build, *feeds(name), tolerance="exact")


def scalars_from_shapes():
    """A dimension becomes a float factor, as in attention scaling by the traced size."""
    def build(g, x):
        root = g.Sqrt(g.Cast(dim(g, x, 2), to=1))
        mean = g.Div(g.ReduceSum(x, i64(g, 1)), g.Cast(dim(g, x, 1), to=1))
        return g.Div(mean, root)

    yield case("shape/float_factor", build, *feeds("shape/float_factor"))


def unknown_rank_free():
    """Two inputs that share the symbols batch and sequence."""
    rng = rng_for("shared_symbols")
    dims = [["batch", "sequence", 6], ["batch", "sequence"]]
    yield case("shape/shared_symbols",
               lambda g, x, m: g.Mul(x, g.Unsqueeze(m, i64(g, 2))),
               *[[random(rng, [b, s, 6]), random(rng, [b, s])] for b, s in FEEDS],
               tolerance="exact", dims=dims)


def branches():
    """If with values captured from outside, chosen at run time and by a shape."""
    def branch(name, op, inputs, constant=None):
        nodes = [helper.make_node(op, inputs, [name + "_out"])]
        if constant is not None:
            value = numpy_helper.from_array(np.float32(constant), inputs[1])
            nodes.insert(0, helper.make_node("Constant", [], [inputs[1]], value=value))
        output = helper.make_tensor_value_info(name + "_out", 1, None)
        return helper.make_graph(nodes, name, [], [output])

    def chosen(g, x, flag):
        y = g.Exp(x)
        return g.Add(g.If(flag, then_branch=branch("yes", "Mul", [y, "two"], 2),
                          else_branch=branch("no", "Sub", [y, x])), x)

    def by_shape(g, x):
        flag = g.Greater(dim(g, x, 1), g.constant(3, np.int64))
        return g.If(flag, then_branch=branch("big", "Neg", [x]),
                    else_branch=branch("small", "Abs", [x]))

    rng = rng_for("branches")
    x = random(rng, [4, 5])
    yield case("if/chosen", chosen, [x, np.array(True)], [x, np.array(False)],
               tolerance=REFUSED)
    yield case("if/by_shape", by_shape, *feeds("if/by_shape"), tolerance="exact")


CASES = [reshape_chains, shape_values_out, fills, expand_trick, dynamic_slices,
         scalars_from_shapes, unknown_rank_free, branches]
