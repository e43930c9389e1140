"""Elementwise operators: each alone with special values, broadcasting, integer types, casts,
chains."""
import numpy as np

from .base import NUMPY, case, random, rng_for

SPECIAL = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 1e-30, -1e-30, 88, -88, 100, -100,
                    1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)
BOOL, I64, F32 = "bool", "i64", "f32"

# Operators with exact results, then those with an approximated function behind them.
UNARY_EXACT = ["Abs", "Neg", "Sign", "Relu", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal",
               "Identity"]
UNARY = ["Exp", "Log", "Erf", "Tanh", "Sigmoid", "Softplus", "Softsign", "Elu", "Selu", "Celu",
         "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Mish", "Sin", "Cos", "Tan",
         "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"]
# Where the function is defined or where references agree on more than the sign of infinity.
RANGES = {"Asin": (-1, 1), "Acos": (-1, 1), "Atanh": (-0.99, 0.99), "Acosh": (1, 50),
          "Log": (0, 1e30), "Sin": (-20, 20), "Cos": (-20, 20), "Tan": (-1.4, 1.4),
          "Sinh": (-10, 10), "Cosh": (-10, 10), "Exp": (-88, 80), "Asinh": (-1e4, 1e4)}


def unary_input(rng, op):
    values = np.concatenate([SPECIAL, random(rng, [77]) * np.float32(3)])
    low, high = RANGES.get(op, (-np.inf, np.inf))
    return np.clip(values, low, high)  # keeps NaN


def unary():
    for op in UNARY_EXACT + UNARY:
        name = f"unary/{op}"
        tolerance = "exact" if op in UNARY_EXACT else "f32"
        values = unary_input(rng_for(name), op)
        yield case(name, lambda g, x: g.node(op, x), [values], [values[:1]], [values[5:60]],
                   tolerance=tolerance, opset=18)
    for op in ("IsNaN", "IsInf", "Not"):
        values = SPECIAL > 0 if op == "Not" else SPECIAL
        yield case(f"unary/{op}", lambda g, x: (g.node(op, x), BOOL), [values], tolerance="exact")


def gelu_nodes():
    for approximate in ("none", "tanh"):
        values = unary_input(rng_for("gelu"), "Gelu")
        finite = values[np.isfinite(values)]
        yield case(f"unary/Gelu_{approximate}",
                   lambda g, x: g.Gelu(x, approximate=approximate), [finite], opset=20)


SHAPES = [([3, 4], [3, 4]), ([3, 4], [4]), ([3, 4], [3, 1]), ([3, 4], []), ([1], [5]),
          ([2, 3, 4, 5], [4, 1]), ([2, 1, 4, 1], [3, 1, 5]), ([1, 1], [1]), ([7, 1, 9], [8, 1]),
          ([0, 3], [3]), ([2, 3, 1, 2, 1], [1, 4, 1, 3]), ([1, 65], [33, 1]), ([64, 64], [64])]


def broadcasting():
    """The same two inputs' shapes are symbolic, so that one model runs all shapes of a rank
    pair."""
    ranks = {}
    for a, b in SHAPES + [(b, a) for a, b in SHAPES]:
        ranks.setdefault((len(a), len(b)), []).append((a, b))
    for op in ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu"):
        for (rank_a, rank_b), shapes in ranks.items():
            if op == "PRelu" and any(not unidirectional(*pair) for pair in shapes):
                continue
            name = f"broadcast/{op}_{rank_a}_{rank_b}"
            rng = rng_for(name)
            feeds = [[random(rng, a), random(rng, b)] for a, b in shapes]
            if op == "Pow":
                feeds = [[np.abs(a), b] for a, b in feeds]
            dims = [[f"a{i}" for i in range(rank_a)], [f"b{i}" for i in range(rank_b)]]
            yield case(name, lambda g, a, b: g.node(op, a, b), *feeds, dims=dims,
                       tolerance="f32" if op == "Pow" else "exact")


def unidirectional(a, b):
    """Whether b broadcasts to a's shape."""
    padded = [1] * (len(a) - len(b)) + list(b)
    return len(b) <= len(a) and all(y in (1, x) for x, y in zip(a, padded))


def compare_and_logic():
    rng = rng_for("compare")
    for element in ("f32", "i64", "i32"):
        a, b = random(rng, [5, 7], element), random(rng, [7], element)
        b[:3] = a[0, :3]
        for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
            yield case(f"compare/{op}_{element}", lambda g, x, y: (g.node(op, x, y), BOOL), [a, b],
                       tolerance="exact")
    for op in ("And", "Or", "Xor", "Equal"):
        yield case(f"compare/{op}_bool", lambda g, x, y: (g.node(op, x, y), BOOL),
                   [random(rng, [4, 6], BOOL), random(rng, [4, 1], BOOL)], tolerance="exact")


def integers():
    rng = rng_for("integers")
    for element in ("i64", "i32"):
        a = random(rng, [6, 9], element, -50, 50)
        b = np.where(random(rng, [9], element, -5, 5) == 0, 3, random(rng, [9], element, 1, 9))
        b = (b * np.where(rng.random(9) < 0.5, -1, 1)).astype(NUMPY[element])
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max"):
            yield case(f"integer/{op}_{element}", lambda g, x, y: (g.node(op, x, y), element),
                       [a, b], tolerance="exact")
        for fmod in (0, 1):
            yield case(f"integer/Mod{fmod}_{element}",
                       lambda g, x, y: (g.Mod(x, y, fmod=fmod), element), [a, b],
                       tolerance="exact")
        yield case(f"integer/Pow_{element}", lambda g, x, y: (g.Pow(x, y), element),
                   [a, np.abs(b) % 4], tolerance="exact")
    values = random(rng, [40])
    yield case("integer/fmod_f32", lambda g, x, y: g.Mod(x, y, fmod=1),
               [values * 5, np.abs(values[::-1]) + 1], tolerance="f32")


def casts():
    rng = rng_for("casts")
    from onnx_build import ELEMENT
    kinds = ("f32", "f16", "f64", "i64", "i32", "i8", "u8", "bool")
    for source in kinds:
        for target in kinds:
            if source == target:
                continue
            values = random(rng, [50], "f32") * 30
            if target == "u8":
                values = np.abs(values)
            array = (values > 0) if source == "bool" else values.astype(NUMPY[source])
            if source == "u8":
                array = np.abs(values).astype(np.uint8)
            if target == "i8":
                array = np.clip(array, 0, 100) if source != "bool" else array
            yield case(f"cast/{source}_{target}",
                       lambda g, x: (g.Cast(x, to=ELEMENT[target]), target), [array],
                       tolerance="exact")


WHERE_SHAPES = [([3, 1], [4], [3, 4]), ([1, 1], [1], [2, 5]), ([6, 2], [2], [6, 1])]


def where():
    rng = rng_for("where")
    for element in ("f32", "i64", "u8"):
        feeds = [[random(rng, c, BOOL), random(rng, a, element), random(rng, b, element)]
                 for c, a, b in WHERE_SHAPES]
        yield case(f"where/{element}", lambda g, c, a, b: (g.Where(c, a, b), element), *feeds,
                   tolerance="exact")


def variadic():
    rng = rng_for("variadic")
    for op in ("Sum", "Mean", "Min", "Max"):
        for count in (1, 2, 3, 6):
            yield case(f"variadic/{op}_{count}", lambda g, *x: g.node(op, *x),
                       [random(rng, [3, 5] if i % 2 == 0 else [5]) for i in range(count)])


def clips():
    rng = rng_for("clips")
    x = [random(rng, [9, 9])]
    yield case("clip/both", lambda g, v: g.Clip(v, g.constant(-0.2), g.constant(0.3)), x,
               tolerance="exact")
    yield case("clip/low", lambda g, v: g.Clip(v, g.constant(-0.2)), x, tolerance="exact")
    yield case("clip/high", lambda g, v: g.Clip(v, "", g.constant(0.3)), x, tolerance="exact")
    yield case("clip/attributes", lambda g, v: g.Clip(v, min=-0.2, max=0.3), x, tolerance="exact",
               opset=10)
    yield case("clip/run_time", lambda g, v, a, b: g.Clip(v, a, b),
               [x[0], np.float32(-1), np.float32(0.5)], tolerance="exact")


def long_chain():
    """More instructions than one fused expression can hold, and a value used again at the end."""
    rng = rng_for("long_chain")

    def build(g, x, y):
        first = value = g.Add(x, y)
        for i in range(60):
            value = g.node(["Tanh", "Sigmoid", "Abs", "Neg"][i % 4],
                           g.Add(g.Mul(value, g.constant(0.9 + i / 100)), g.constant(0.1)))
        return [g.Add(value, first), value]

    yield case("chain/long", build, *[[random(rng, [n, 31]), random(rng, [31])] for n in (1, 40)],
               tolerance="deep")


def many_inputs():
    """A chain over more broadcast inputs than one fused expression can hold."""
    rng = rng_for("many_inputs")

    def build(g, *inputs):
        value = inputs[0]
        for other in inputs[1:]:
            value = g.Add(g.Mul(value, g.constant(0.5)), other)
        return value

    shapes = [[4, 1, 6], [6], [5, 1], [4, 5, 6], [1], [5, 6]]
    yield case("chain/many_inputs", build, [random(rng, shapes[i % 6]) for i in range(25)])


def shared_middle():
    """Both an intermediate value and what is computed from it are outputs."""
    rng = rng_for("shared_middle")

    def build(g, x):
        a = g.Exp(x)
        b = g.Mul(a, g.constant(2))
        c = g.Add(b, a)
        return [c, a, g.Sub(c, b)]

    yield case("chain/shared", build, *[[random(rng, [n])] for n in (1, 100, 5000)])


CASES = [unary, gelu_nodes, broadcasting, compare_and_logic, integers, casts, where, variadic,
         clips, long_chain, many_inputs, shared_middle]
