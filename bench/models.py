"""Writes the small models of the benchmarks: `models.py KIND FILE [NUMBER]`.

    matmul    x [384,384] times a constant [384,1536], in f32
    dynamic   the same product in 8 bits, as quantize_dynamic writes it
    nbits     x [rows,2048] times a constant [2048,2048] of 4 bits in blocks of 32
    chain     so many additions on four numbers each, where all the time is the runtime's own
"""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import block_codes  # noqa: E402
from onnx_build import ELEMENT, Graph  # noqa: E402


def weight(rows, columns):
    return np.random.default_rng(1).standard_normal((rows, columns), np.float32)


def matmul():
    g = Graph("matmul")
    x = g.input("x", "f32", [384, 384])
    g.output(g.MatMul(x, g.weight(weight(384, 1536), "w")), "f32", [384, 1536])
    return g


def dynamic():
    g = Graph("dynamic")
    x = g.input("x", "f32", [384, 384])
    w = weight(384, 1536)
    scale = np.float32(np.abs(w).max() / 127)
    codes = g.weight(np.rint(w / scale).astype(np.int8), "w_quantized")
    zero, scale = g.weight(np.int8(0), "w_zero_point"), g.weight(scale, "w_scale")
    x, x_scale, x_zero = g.DynamicQuantizeLinear(x, outputs=3)
    product = g.Cast(g.MatMulInteger(x, codes, x_zero, zero), to=ELEMENT["f32"])
    g.output(g.Mul(product, g.Mul(x_scale, scale)), "f32", [384, 1536])
    return g


def nbits():
    g = Graph("nbits")
    g.domains["com.microsoft"] = 1
    x = g.input("x", "f32", ["rows", 2048])
    codes, scales, _ = block_codes.quantize(weight(2048, 2048), 4)
    tensors = g.weight(block_codes.pack(codes, 4), "w"), g.weight(scales, "w_scales")
    g.output(g.MatMulNBits(x, *tensors, domain="com.microsoft", K=2048, N=2048, bits=4,
                           block_size=32, accuracy_level=4), "f32", ["rows", 2048])
    return g


def chain(nodes):
    g = Graph("chain")
    x = g.input("x", "f32", [4])
    y = x
    for _ in range(int(nodes)):
        y = g.Add(y, x)
    g.output(y, "f32", [4])
    return g


def main():
    kind, path, *arguments = sys.argv[1:]
    kinds = {"matmul": matmul, "dynamic": dynamic, "nbits": nbits, "chain": chain}
    pathlib.Path(path).write_bytes(kinds[kind](*arguments).model().SerializeToString())


main()
