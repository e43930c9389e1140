"""Reductions, softmax, normalisations, ArgMax and friends over all axes."""
import numpy as np

from .base import REFUSED, case, random, rng_for

REDUCTIONS = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
              "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"]
AXES = [[0], [1], [2], [-1], [0, 1], [1, 2], [0, 2], [-3, -1], [0, 1, 2]]


def reduce_node(g, op, x, axes, **attributes):
    """Axes are an input from opset 18 on, for ReduceSum from 13 on."""
    if g.opset >= 18 or (op == "ReduceSum" and g.opset >= 13):
        inputs = [x] if axes is None else [x, g.constant(axes, np.int64)]
        return g.node(op, *inputs, **attributes)
    return g.node(op, x, **attributes) if axes is None else g.node(op, x, axes=axes, **attributes)


def reductions():
    for op in REDUCTIONS:
        for opset in (13, 18):
            for keep in (0, 1):
                name = f"reduce/{op}_{opset}_keep{keep}"
                rng = rng_for(name)
                feeds = [[np.abs(random(rng, shape)) + np.float32(0.1)]
                         for shape in ([1, 1, 1], [2, 3, 4], [3, 17, 35])]

                def build(g, x):
                    return [reduce_node(g, op, x, axes, keepdims=keep) for axes in [*AXES, None]]

                yield case(name, build, *feeds, opset=opset)


def integer_reductions():
    for op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
        for element in ("i64", "i32"):
            name = f"reduce/{op}_{element}"
            rng = rng_for(name)
            yield case(name, lambda g, x: [(reduce_node(g, op, x, axes), element)
                                           for axes in ([0], [1], [0, 1])],
                       [random(rng, [3, 5], element, 1, 4)], tolerance="exact")


def reduce_corners():
    rng = rng_for("reduce_corners")
    x = [random(rng, [3, 4])]
    yield case("reduce/noop", lambda g, v: g.ReduceSum(v, noop_with_empty_axes=1), x,
               tolerance="exact")
    yield case("reduce/empty_axes_input",
               lambda g, v: g.ReduceSum(v, g.constant([], np.int64), keepdims=0), x)
    yield case("reduce/run_time_axes", lambda g, v, a: g.ReduceSum(v, a, keepdims=1),
               [x[0], np.array([1])], [x[0], np.array([0])], tolerance=REFUSED)
    yield case("reduce/zero_elements", lambda g, v: g.ReduceSum(v, g.constant([1], np.int64)),
               [np.zeros([3, 0, 2], np.float32)], tolerance="exact")
    view = [random(rng, [5, 6, 7])]
    yield case("reduce/of_transposed",
               lambda g, v: reduce_node(g, "ReduceSum", g.Transpose(v, perm=[2, 0, 1]), [1]), view)
    yield case("reduce/of_expression",
               lambda g, v: reduce_node(g, "ReduceSum", g.Mul(g.Exp(v), v), [-1]), view)


def softmaxes():
    for op in ("Softmax", "LogSoftmax"):
        for opset in (11, 13):
            for axis in (0, 1, 2, 3, -1, -2):
                name = f"softmax/{op}_{opset}_{axis}"
                rng = rng_for(name)
                feeds = [[random(rng, shape) * np.float32(4)]
                         for shape in ([1, 1, 1, 1], [2, 3, 4, 5], [2, 2, 3, 67])]
                yield case(name, lambda g, x: g.node(op, x, axis=axis), *feeds, opset=opset)
    yield case("softmax/extreme", lambda g, x: g.Softmax(x, axis=-1),
               [np.array([[1e4, -1e4, 0], [-np.inf, 0, 1], [3e38, 3e38, 3e38]], np.float32)])


def decomposed_softmax():
    rng = rng_for("decomposed_softmax")

    def build(g, x):
        e = g.Exp(g.Sub(x, g.ReduceMax(x, axes=[-1])))
        return g.Div(e, reduce_node(g, "ReduceSum", e, [-1]))

    yield case("softmax/decomposed", build, *[[random(rng, [n, 21])] for n in (1, 8)])


def layer_norms():
    for axis in (-1, -2, 1, 0, 2):
        for bias in (False, True):
            name = f"layer_norm/axis{axis}{'_bias' * bias}"
            rng = rng_for(name)
            shape = [3, 5, 33]
            inner = shape[axis:] if axis else shape

            def build(g, x):
                extra = [g.weight(random(rng, inner))] if bias else []
                return g.LayerNormalization(x, g.weight(random(rng, inner)), *extra, axis=axis,
                                            epsilon=1e-3)

            yield case(name, build, [random(rng, shape) + np.float32(2)])


def spelled(g, x, spelling, epsilon):
    """LayerNorm without scale and bias, in the ways that exporters and authors write it."""
    axes = g.constant([-1], np.int64)

    def mean(value):
        return g.ReduceMean(value, axes) if g.opset >= 18 else g.ReduceMean(value, axes=[-1])

    centred = g.Sub(x, mean(x))
    square = {"pow": lambda: g.Pow(centred, g.constant(2)), "mul": lambda: g.Mul(centred, centred),
              "twice": lambda: g.Pow(g.Sub(x, mean(x)), g.constant(2)),
              "cast": lambda: g.Pow(g.Cast(centred, to=1), g.constant(2)),
              "reciprocal": lambda: g.Pow(centred, g.constant(2))}[spelling]()
    deviation = g.Sqrt(g.Add(mean(square), g.constant(epsilon)))
    if spelling == "reciprocal":
        return g.Mul(centred, g.Reciprocal(deviation))
    return g.Div(centred, deviation)


def decomposed_norms():
    for opset in (14, 18):
        for spelling in ("pow", "mul", "twice", "cast", "reciprocal"):
            name = f"layer_norm/decomposed_{spelling}_{opset}"
            rng = rng_for(name)
            scale, bias = random(rng, [24]), random(rng, [24])

            def build(g, x):
                return g.Add(g.Mul(spelled(g, x, spelling, 1e-5), g.weight(scale)), g.weight(bias))

            feeds = [[random(rng, [2, n, 24]) + np.float32(1)] for n in (1, 6, 40)]
            yield case(name, build, *feeds, opset=opset)
    rng = rng_for("layer_norm/bare")
    yield case("layer_norm/decomposed_bare", lambda g, x: spelled(g, x, "pow", 1e-12),
               [random(rng, [4, 50])], opset=14)


def rms_norms():
    rng = rng_for("rms")
    scale = random(rng, [24])

    def build(g, x):
        mean = g.ReduceMean(g.Pow(x, g.constant(2)), axes=[-1])
        inverse = g.Reciprocal(g.Sqrt(g.Add(mean, g.constant(1e-6))))
        return g.Mul(g.weight(scale), g.Mul(x, inverse))

    yield case("rms_norm/decomposed", build, *[[random(rng, [2, n, 24])] for n in (1, 9)])


def skip_norm():
    """Residual before the norm, and the sum is used again behind it."""
    rng = rng_for("skip_norm")

    def build(g, x, y):
        total = g.Add(x, y)
        scale, bias = g.weight(random(rng, [16])), g.weight(random(rng, [16]))
        normed = g.LayerNormalization(total, scale, bias)
        return g.Add(total, g.MatMul(normed, g.weight(random(rng, [16, 16]))))

    yield case("layer_norm/skip", build, *[[random(rng, [n, 16]), random(rng, [n, 16])]
                                           for n in (1, 12)], tolerance="deep")


def arg_reductions():
    for op in ("ArgMax", "ArgMin"):
        for axis in (0, 1, -1):
            for keep, last in ((0, 0), (1, 1)):
                name = f"arg/{op}_{axis}_{keep}{last}"
                rng = rng_for(name)
                feeds = [[random(rng, shape, "i64", -3, 3).astype(np.float32)]
                         for shape in ([1, 1, 1], [3, 4, 20])]
                yield case(name, lambda g, x: (g.node(op, x, axis=axis, keepdims=keep,
                                                      select_last_index=last), "i64"),
                           *feeds, tolerance="exact")


def cumulative():
    rng = rng_for("cumulative")
    for exclusive in (0, 1):
        for reverse in (0, 1):
            yield case(f"cumsum/{exclusive}{reverse}",
                       lambda g, x: [g.CumSum(x, g.constant(axis, np.int64), exclusive=exclusive,
                                              reverse=reverse) for axis in (0, 1, -1)],
                       [random(rng, [3, 4, 5])])


CASES = [reductions, integer_reductions, reduce_corners, softmaxes, decomposed_softmax, layer_norms,
         decomposed_norms, rms_norms, skip_norm, arg_reductions, cumulative]
