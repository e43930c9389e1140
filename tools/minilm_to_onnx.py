#!/usr/bin/env python3
"""Writes a BERT encoder (MiniLM-L6) as ONNX from its safetensors, with numpy and onnx alone.

    tools/minilm_to_onnx.py MODEL_FOLDER OUT.onnx      from config.json and model.safetensors
    tools/minilm_to_onnx.py --random OUT.onnx          a small one with random weights, for tests

The graph is in the decomposed form that PyTorch's exporter writes at opset 14: LayerNorm as
ReduceMean ... Div, GELU as Div, Erf, Add, Mul, Mul, shapes computed by Shape -> Gather -> Unsqueeze
-> Concat -> Reshape. With --fused it has LayerNormalization and Gelu (opset 20) instead.

Inputs: input_ids, attention_mask, token_type_ids, int64 [batch, sequence].
Output: last_hidden_state, f32 [batch, sequence, hidden_size].
"""
import argparse
import json
import math
import pathlib
import struct

import numpy as np

from onnx_build import ELEMENT, Graph, save

MASKED = np.float32(np.finfo(np.float32).min)  # added to the scores of masked positions
SAFETENSORS_TYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


def read_safetensors(path):
    """{name: array} over a memory map. Format: u64 size of the header, JSON header, data."""
    data = np.memmap(path, np.uint8, "r")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8:8 + length].tobytes())
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        dtype = SAFETENSORS_TYPES[entry["dtype"]]
        arrays[name] = data[begin:end].view(dtype).reshape(entry["shape"])
    return arrays


def small_config(layers=2, width=32, heads=4, vocabulary=64, inner=None, positions=512):
    """The members of a BERT config.json that matter here."""
    return {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
            "intermediate_size": inner or 4 * width, "vocab_size": vocabulary,
            "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": 1e-12}


def random_weights(config, seed=1):
    """Weights with the names of BERT's checkpoint, of a size that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    width, inner = config["hidden_size"], config["intermediate_size"]
    weights = {}

    def tensor(name, *shape, scale=1.0, offset=0.0):
        values = rng.standard_normal(shape, dtype=np.float32)
        weights[name] = values * np.float32(scale) + np.float32(offset)

    def linear(name, rows, columns):
        tensor(name + ".weight", rows, columns, scale=1 / math.sqrt(columns))
        tensor(name + ".bias", rows, scale=0.1)

    def norm(name):
        tensor(name + ".weight", width, scale=0.1, offset=1.0)
        tensor(name + ".bias", width, scale=0.1)

    for name, rows in [("word", "vocab_size"), ("position", "max_position_embeddings"),
                       ("token_type", "type_vocab_size")]:
        tensor(f"embeddings.{name}_embeddings.weight", config[rows], width)
    norm("embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value",
                     "attention.output.dense"):
            linear(layer + name, width, width)
        linear(layer + "intermediate.dense", inner, width)
        linear(layer + "output.dense", width, inner)
        norm(layer + "attention.output.LayerNorm")
        norm(layer + "output.LayerNorm")
    return weights


class Bert:
    """Adds the nodes of a BERT encoder to a Graph, in an exporter's order."""

    def __init__(self, config, weights, fused=False, mask=True):
        self.config = config
        self.weights = weights
        self.fused = fused
        self.mask = mask
        self.heads = config["num_attention_heads"]
        self.width = config["hidden_size"]
        self.head_size = self.width // self.heads
        self.g = Graph("main_graph", opset=20 if fused else 14)

    def dimension(self, x, index):
        """One dimension of x as a tensor of shape [1]."""
        g = self.g
        size = g.Gather(g.Shape(x), g.constant(index, np.int64), axis=0)
        return g.Unsqueeze(size, g.constant([0], np.int64))

    def layer_norm(self, x, name):
        g = self.g
        scale = g.weight(self.weights[name + ".weight"], name + ".weight")
        bias = g.weight(self.weights[name + ".bias"], name + ".bias")
        epsilon = self.config["layer_norm_eps"]
        if self.fused:
            return g.LayerNormalization(x, scale, bias, axis=-1, epsilon=epsilon)
        centred = g.Sub(x, g.ReduceMean(x, axes=[-1]))
        variance = g.ReduceMean(g.Pow(centred, g.constant(2)), axes=[-1])
        deviation = g.Sqrt(g.Add(variance, g.constant(epsilon)))
        return g.Add(g.Mul(g.Div(centred, deviation), scale), bias)

    def gelu(self, x):
        g = self.g
        if self.fused:
            return g.Gelu(x)
        erf = g.Erf(g.Div(x, g.constant(math.sqrt(2))))
        return g.Mul(g.Mul(x, g.Add(erf, g.constant(1))), g.constant(0.5))

    def linear(self, x, name):
        """x [.., K] by the transposed weight [K, N], plus the bias [N]."""
        g = self.g
        weight = g.weight(self.weights[name + ".weight"].T, "onnx::MatMul_0")
        bias = g.weight(self.weights[name + ".bias"], name + ".bias")
        return g.Add(bias, g.MatMul(x, weight))

    def split_heads(self, x, order):
        """[batch, sequence, width] to [batch, sequence, heads, head_size], then transposed."""
        g = self.g
        shape = g.Concat(self.dimension(x, 0), self.dimension(x, 1),
                         g.constant([self.heads], np.int64),
                         g.constant([self.head_size], np.int64), axis=0)
        return g.Transpose(g.Reshape(x, shape), perm=order)

    def join_heads(self, x):
        """[batch, heads, sequence, head_size] back to [batch, sequence, width]."""
        g = self.g
        x = g.Transpose(x, perm=[0, 2, 1, 3])
        shape = g.Concat(self.dimension(x, 0), self.dimension(x, 1),
                         g.constant([self.width], np.int64), axis=0)
        return g.Reshape(x, shape)

    def attention(self, x, mask, layer):
        g = self.g
        query = self.linear(x, layer + "attention.self.query")
        key = self.linear(x, layer + "attention.self.key")
        key = self.split_heads(key, [0, 2, 3, 1])
        value = self.split_heads(self.linear(x, layer + "attention.self.value"), [0, 2, 1, 3])
        query = self.split_heads(query, [0, 2, 1, 3])
        scores = g.Div(g.MatMul(query, key), g.constant(math.sqrt(self.head_size)))
        if mask:
            scores = g.Add(scores, mask)
        context = g.MatMul(g.Softmax(scores, axis=-1), value)
        return self.linear(self.join_heads(context), layer + "attention.output.dense")

    def layer(self, x, mask, index):
        g, layer = self.g, f"encoder.layer.{index}."
        with g.scope("encoder"), g.scope(f"layer.{index}"):
            x = self.layer_norm(g.Add(self.attention(x, mask, layer), x),
                                layer + "attention.output.LayerNorm")
            inner = self.gelu(self.linear(x, layer + "intermediate.dense"))
            return self.layer_norm(g.Add(self.linear(inner, layer + "output.dense"), x),
                                   layer + "output.LayerNorm")

    def embedding(self, name, ids):
        name = f"embeddings.{name}_embeddings.weight"
        return self.g.Gather(self.g.weight(self.weights[name], name), ids)

    def embeddings(self, ids, types):
        g = self.g
        with g.scope("embeddings"):
            buffer = np.arange(self.config["max_position_embeddings"])[None]
            positions = g.Slice(g.constant(buffer, np.int64), g.constant([0], np.int64),
                                self.dimension(ids, 1), g.constant([1], np.int64),
                                g.constant([1], np.int64))
            x = g.Add(self.embedding("word", ids), self.embedding("token_type", types))
            return self.layer_norm(g.Add(x, self.embedding("position", positions)),
                                   "embeddings.LayerNorm")

    def score_mask(self, attention_mask):
        """[batch, sequence] of 0 and 1 to [batch, 1, 1, sequence] of 'minus infinity' and 0."""
        g = self.g
        x = g.Unsqueeze(attention_mask, g.constant([1], np.int64))
        x = g.Unsqueeze(x, g.constant([2], np.int64))
        x = g.Sub(g.constant(1), g.Cast(x, to=ELEMENT["f32"]))
        return g.Mul(x, g.constant(MASKED))

    def model(self):
        g, dims = self.g, ["batch", "sequence"]
        ids = g.input("input_ids", "i64", dims)
        mask = self.score_mask(g.input("attention_mask", "i64", dims)) if self.mask else None
        x = self.embeddings(ids, g.input("token_type_ids", "i64", dims))
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, mask, index)
        g.nodes[-1].output[0] = "last_hidden_state"
        g.output("last_hidden_state", "f32", dims + [self.width])
        return g.model("weft minilm_to_onnx")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=pathlib.Path, metavar="MODEL_FOLDER")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT.onnx")
    parser.add_argument("--fused", action="store_true", help="LayerNormalization and Gelu nodes")
    parser.add_argument("--no-mask", action="store_true", help="leave the attention mask out")
    parser.add_argument("--external-data", action="store_true", help="weights in OUT.onnx.data")
    parser.add_argument("--random", action="store_true", help="random weights, sizes as follow")
    for name, size in [("layers", 2), ("width", 32), ("heads", 4), ("vocabulary", 64)]:
        parser.add_argument("--" + name, type=int, default=size)
    arguments = parser.parse_args()
    if arguments.random == bool(arguments.source):
        parser.error("give either MODEL_FOLDER or --random")
    return arguments


def main():
    arguments = parse_arguments()
    if arguments.random:
        config = small_config(arguments.layers, arguments.width, arguments.heads,
                              arguments.vocabulary)
        weights = random_weights(config)
    else:
        config = json.loads((arguments.source / "config.json").read_text())
        weights = read_safetensors(arguments.source / "model.safetensors")
    model = Bert(config, weights, arguments.fused, not arguments.no_mask).model()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save(model, arguments.out, arguments.external_data)


if __name__ == "__main__":
    main()
