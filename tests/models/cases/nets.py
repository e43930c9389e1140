"""Whole networks: MLPs with every activation's spelling, BERT encoders, convnext-like and mixer
blocks without conv."""
import math

import numpy as np

from minilm_to_onnx import Bert, random_weights, small_config

from .base import Case, case, random, rng_for


def gelu_erf_div(g, x):
    erf = g.Erf(g.Div(x, g.constant(math.sqrt(2))))
    return g.Mul(g.Mul(x, g.Add(erf, g.constant(1))), g.constant(0.5))


def gelu_erf_mul(g, x):
    erf = g.Erf(g.Mul(x, g.constant(math.sqrt(0.5))))
    return g.Mul(g.Mul(g.constant(0.5), x), g.Add(g.constant(1), erf))


def gelu_tanh_pow(g, x):
    cube = g.Mul(g.constant(0.044715), g.Pow(x, g.constant(3)))
    tanh = g.Tanh(g.Mul(g.constant(math.sqrt(2 / math.pi)), g.Add(x, cube)))
    return g.Mul(g.Mul(g.constant(0.5), x), g.Add(g.constant(1), tanh))


def gelu_tanh_mul(g, x):
    cube = g.Mul(g.Mul(g.Mul(x, x), x), g.constant(0.044715))
    tanh = g.Tanh(g.Mul(g.Add(cube, x), g.constant(math.sqrt(2 / math.pi))))
    return g.Mul(x, g.Mul(g.Add(tanh, g.constant(1)), g.constant(0.5)))


def quick_gelu(g, x):
    return g.Mul(x, g.Sigmoid(g.Mul(x, g.constant(1.702))))


def silu(g, x):
    return g.Mul(x, g.Sigmoid(x))


def mish(g, x):
    return g.Mul(x, g.Tanh(g.Softplus(x)))


def hard_swish(g, x):
    return g.Mul(x, g.HardSigmoid(x, alpha=1 / 6, beta=0.5))


ACTIVATIONS = {
    "relu": lambda g, x: g.Relu(x), "tanh": lambda g, x: g.Tanh(x),
    "sigmoid": lambda g, x: g.Sigmoid(x), "leaky": lambda g, x: g.LeakyRelu(x, alpha=0.1),
    "clip": lambda g, x: g.Clip(x, g.constant(-0.5), g.constant(0.75)),
    "gelu_erf_div": gelu_erf_div, "gelu_erf_mul": gelu_erf_mul, "gelu_tanh_pow": gelu_tanh_pow,
    "gelu_tanh_mul": gelu_tanh_mul, "quick_gelu": quick_gelu, "silu": silu, "mish": mish,
    "hard_swish": hard_swish,
}


def dense(g, rng, x, rows, columns, gemm=False):
    weight = g.weight(random(rng, [rows, columns]) / np.float32(math.sqrt(rows)))
    bias = g.weight(random(rng, [columns]))
    return g.Gemm(x, weight, bias) if gemm else g.Add(g.MatMul(x, weight), bias)


def mlps():
    for name, activation in ACTIVATIONS.items():
        rng = rng_for("mlp/" + name)

        def build(g, x):
            hidden = activation(g, dense(g, rng, x, 12, 40, gemm=True))
            hidden = activation(g, dense(g, rng, hidden, 40, 33))
            return dense(g, rng, hidden, 33, 5)

        yield case("mlp/" + name, build, *[[random(rng, [n, 12])] for n in (1, 3, 17)],
                   tolerance="deep")


def residual_mlp():
    """Every layer's input is added to its output, so intermediate values live long."""
    rng = rng_for("residual_mlp")

    def build(g, x):
        first = x
        for _ in range(6):
            x = g.Add(x, g.Relu(dense(g, rng, x, 24, 24)))
        return g.Add(x, first)

    yield case("mlp/residual", build, *[[random(rng, [2, n, 24])] for n in (1, 7, 64)],
               tolerance="deep")


def wide_mlp():
    """Sizes around the edges of matmul tiles."""
    for rows, inner, columns in [(1, 1, 1), (5, 7, 9), (6, 16, 8), (13, 65, 31), (48, 257, 130)]:
        name = f"mlp/{rows}x{inner}x{columns}"
        rng = rng_for(name)
        yield case(name, lambda g, x: g.Relu(dense(g, rng, x, inner, columns)),
                   [random(rng, [rows, inner])], tolerance="f32")


def bert_feed(rng, batch, sequence, vocabulary, mask):
    """Ids with padding at the end of each row but the first."""
    feed = {"input_ids": rng.integers(0, vocabulary, [batch, sequence]),
            "token_type_ids": rng.integers(0, 2, [batch, sequence])}
    if mask:
        lengths = np.maximum(1, rng.integers(0, sequence + 1, [batch, 1]))
        lengths[0] = sequence
        feed["attention_mask"] = (np.arange(sequence)[None] < lengths).astype(np.int64)
    return feed


def berts():
    for layers, width, heads in [(1, 16, 2), (2, 48, 4), (2, 96, 3)]:
        for fused in (False, True):
            for mask in (False, True):
                name = f"bert/{layers}x{width}x{heads}{'_fused' * fused}{'_mask' * mask}"
                rng = rng_for(name)
                config = small_config(layers, width, heads, positions=80)
                model = Bert(config, random_weights(config), fused, mask).model()
                feeds = [bert_feed(rng, batch, sequence, config["vocab_size"], mask)
                         for batch, sequence in [(1, 1), (2, 5), (3, 17), (1, 66), (2, 5)]]
                yield Case(name, model, feeds, "deep")


def bert_all_masked():
    """A row in which nothing may be attended to: the scores are equal, so the weights are too."""
    config = small_config(1, 32, 4, positions=16)
    model = Bert(config, random_weights(config)).model()
    feed = bert_feed(rng_for("bert/all_masked"), 3, 9, config["vocab_size"], True)
    feed["attention_mask"][1] = 0
    yield Case("bert/all_masked", model, [feed], "deep")


def pooling_head():
    """Mean pooling over a mask, then L2 normalisation, as sentence embedders append it."""
    rng = rng_for("pooling")

    def build(g, x, mask):
        weights = g.Cast(g.Expand(g.Unsqueeze(mask, g.constant([-1], np.int64)), g.Shape(x)), to=1)
        total = g.ReduceSum(g.Mul(x, weights), g.constant([1], np.int64), keepdims=0)
        count = g.ReduceSum(weights, g.constant([1], np.int64), keepdims=0)
        mean = g.Div(total, g.Clip(count, g.constant(1e-9)))
        norm = g.ReduceL2(mean, axes=[1], keepdims=1)
        floor = g.Max(norm, g.constant(1e-12))
        return g.Div(mean, g.Expand(floor, g.Shape(mean)))

    feeds = []
    for batch, sequence in [(1, 1), (2, 9), (4, 30)]:
        mask = (rng.random([batch, sequence]) < 0.7).astype(np.int64)
        mask[:, 0] = 1
        feeds.append([random(rng, [batch, sequence, 20]), mask])
    yield case("pooling/mean_l2", build, *feeds)


def mixer():
    """MLP-mixer block: matmuls along both axes through transposes."""
    rng = rng_for("mixer")

    def build(g, x):
        y = g.Transpose(x, perm=[0, 2, 1])
        y = gelu_erf_div(g, dense(g, rng, y, 10, 26))
        y = g.Transpose(dense(g, rng, y, 26, 10), perm=[0, 2, 1])
        x = g.Add(x, y)
        return g.Add(x, dense(g, rng, gelu_tanh_mul(g, dense(g, rng, x, 18, 40)), 40, 18))

    yield case("mixer", build, *[[random(rng, [n, 10, 18])] for n in (1, 4)], tolerance="deep")


CASES = [mlps, residual_mlp, wide_mlp, berts, bert_all_masked, pooling_head, mixer]
