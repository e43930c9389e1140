"""Attention as exporters spell it: where the scale stands, what the mask is, which axes are
swapped."""
import math

import numpy as np

from .base import case, random, rng_for

HEAD = 8


def scaled(g, q, k, how):
    """Scores of q [b, h, s, d] and k already transposed [b, h, d, t]."""
    scale = 1 / math.sqrt(HEAD)
    if how == "div":
        return g.Div(g.MatMul(q, k), g.constant(math.sqrt(HEAD)))
    if how == "mul":
        return g.Mul(g.MatMul(q, k), g.constant(scale))
    if how == "q":
        return g.MatMul(g.Mul(q, g.constant(scale)), k)
    if how == "both":  # torch's scaled_dot_product_attention
        root = g.constant(math.sqrt(scale))
        return g.MatMul(g.Mul(q, root), g.Mul(k, root))
    return g.MatMul(q, k)


def attend(g, q, k, v, how="div", mask=None, last_axis=-1):
    scores = scaled(g, q, g.Transpose(k, perm=[0, 1, 3, 2]), how)
    if mask:
        scores = g.Add(scores, mask)
    return g.MatMul(g.Softmax(scores, axis=last_axis), v)


def qkv(rng, batch, heads, queries, keys, value_size=HEAD):
    return [random(rng, [batch, heads, queries, HEAD]), random(rng, [batch, heads, keys, HEAD]),
            random(rng, [batch, heads, keys, value_size])]


SIZES = [(1, 1, 1, 1), (2, 3, 5, 5), (1, 2, 19, 19), (2, 2, 4, 33)]


def scales():
    for how in ("div", "mul", "q", "both", "none"):
        for axis in (-1, 3):
            name = f"attention/scale_{how}_axis{axis}"
            rng = rng_for(name)
            yield case(name, lambda g, q, k, v: attend(g, q, k, v, how, last_axis=axis),
                       *[qkv(rng, *size) for size in SIZES])


def masks():
    """The additive mask's shape, [b, 1, 1, t] to [b, h, s, t]."""
    shapes = {"b11t": lambda b, h, s, t: (b, 1, 1, t), "b1st": lambda b, h, s, t: (b, 1, s, t),
              "bhst": lambda b, h, s, t: (b, h, s, t), "st": lambda b, h, s, t: (s, t),
              "t": lambda b, h, s, t: (t,), "11st": lambda b, h, s, t: (1, 1, s, t),
              "scalar": lambda b, h, s, t: (), "b1s1": lambda b, h, s, t: (b, 1, s, 1)}
    for label, shape in shapes.items():
        name = f"attention/mask_{label}"
        rng = rng_for(name)
        feeds = []
        for size in SIZES:
            mask = np.where(rng.random(shape(*size)) < 0.3, -1e4, 0).astype(np.float32)
            feeds.append([*qkv(rng, *size), mask])
        yield case(name, lambda g, q, k, v, m: attend(g, q, k, v, "div", m), *feeds)


def causal_where():
    """Where(triangle, scores, lowest) as decoders write it, the triangle from Trilu of ones."""
    rng = rng_for("attention/causal")

    def build(g, q, k, v):
        scores = scaled(g, q, g.Transpose(k, perm=[0, 1, 3, 2]), "mul")
        length = g.Gather(g.Shape(q), g.constant([2], np.int64), axis=0)
        square = g.Concat(length, length, axis=0)
        ones = g.ConstantOfShape(square, value=_tensor(np.ones(1, np.float32)))
        allowed = g.Cast(g.Trilu(ones, upper=0), to=9)
        scores = g.Where(allowed, scores, g.constant(np.finfo(np.float32).min))
        return g.MatMul(g.Softmax(scores, axis=-1), v)

    yield case("attention/causal_where", build, *[qkv(rng, 2, 2, n, n) for n in (1, 6, 35)])


def _tensor(array):
    from onnx import numpy_helper
    return numpy_helper.from_array(array)


def masked_with_infinity():
    """-inf for some keys, never for a whole row."""
    rng = rng_for("attention/infinity")
    feeds = []
    for size in SIZES:
        batch, _, _, keys = size
        mask = np.where(rng.random((batch, 1, 1, keys)) < 0.4, -np.inf, 0).astype(np.float32)
        mask[..., 0] = 0
        feeds.append([*qkv(rng, *size), mask])
    yield case("attention/infinity", lambda g, q, k, v, m: attend(g, q, k, v, "div", m), *feeds)


def value_sizes():
    for size in (1, 3, 16):
        name = f"attention/value_size_{size}"
        rng = rng_for(name)
        yield case(name, attend, *[qkv(rng, 2, 2, n, n + 3, size) for n in (1, 10)])


def grouped():
    """Two key heads for six query heads, repeated by Unsqueeze, Expand and Reshape."""
    rng = rng_for("attention/grouped")

    def repeat(g, x):
        shape = g.Shape(x)
        batch, length = (g.Gather(shape, g.constant([i], np.int64)) for i in (0, 2))
        x = g.Unsqueeze(x, g.constant([2], np.int64))
        two, three, head = (g.constant([n], np.int64) for n in (2, 3, HEAD))
        x = g.Expand(x, g.Concat(batch, two, three, length, head, axis=0))
        return g.Reshape(x, g.Concat(batch, g.constant([6], np.int64), length, head, axis=0))

    def build(g, q, k, v):
        return attend(g, q, repeat(g, k), repeat(g, v), "mul")

    feeds = [[random(rng, [b, 6, s, HEAD]), random(rng, [b, 2, t, HEAD]),
              random(rng, [b, 2, t, HEAD])] for b, s, t in [(1, 1, 9), (2, 5, 5)]]
    yield case("attention/grouped", build, *feeds)


def packed_qkv():
    """One projection split in three, as GPT-2 and many vision transformers do."""
    for split in ("split", "slice", "gather"):
        name = f"attention/packed_{split}"
        rng = rng_for(name)
        width, heads = 24, 3
        weight = random(rng, [width, 3 * width]) / np.float32(5)
        bias = random(rng, [3 * width])

        def parts(g, x):
            if split == "split":
                return g.Split(x, axis=2, outputs=3) if g.opset < 18 else \
                    g.Split(x, axis=2, outputs=3, num_outputs=3)
            if split == "slice":
                bounds = [g.constant([width * i], np.int64) for i in range(4)]
                axis = g.constant([2], np.int64)
                return [g.Slice(x, bounds[i], bounds[i + 1], axis) for i in range(3)]
            x = g.Reshape(x, g.constant([0, 0, 3, width], np.int64))
            x = g.Transpose(x, perm=[2, 0, 1, 3])
            return [g.Gather(x, g.constant(i, np.int64), axis=0) for i in range(3)]

        def build(g, x):
            x = g.Add(g.MatMul(x, g.weight(weight)), g.weight(bias))
            shape = g.constant([0, 0, heads, width // heads], np.int64)
            q, k, v = (g.Transpose(g.Reshape(part, shape), perm=[0, 2, 1, 3])
                       for part in parts(g, x))
            y = g.Transpose(attend(g, q, k, v), perm=[0, 2, 1, 3])
            return g.Reshape(y, g.constant([0, 0, width], np.int64))

        yield case(name, build, *[[random(rng, [b, s, width])] for b, s in [(1, 1), (2, 7)]],
                   tolerance="deep", opset=18 if split == "split" else 17)


def softmax_before_dropout():
    """Dropout in inference between softmax and the second matmul, and the weights as a second
    output."""
    rng = rng_for("attention/weights_out")

    def build(g, q, k, v):
        scores = scaled(g, q, g.Transpose(k, perm=[0, 1, 3, 2]), "div")
        weights = g.Dropout(g.Softmax(scores, axis=-1))
        return [g.MatMul(weights, v), weights]

    yield case("attention/weights_out", build, *[qkv(rng, *size) for size in SIZES])


CASES = [scales, masks, causal_where, masked_with_infinity, value_sizes, grouped, packed_qkv,
         softmax_before_dropout]
