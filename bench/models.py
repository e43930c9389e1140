"""Writes the models that the benchmarks run beside the encoder: `models.py matmul FILE` one matrix
product, x [384,384] times a constant [384,1536]; `models.py chain FILE NODES` so many additions on
four numbers each, where all the time is the runtime's own."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from onnx_build import Graph  # noqa: E402


def matmul():
    g = Graph("matmul")
    x = g.input("x", "f32", [384, 384])
    w = g.weight(np.random.default_rng(1).standard_normal((384, 1536), np.float32), "w")
    g.output(g.MatMul(x, w), "f32", [384, 1536])
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
    graph = {"matmul": matmul, "chain": chain}[kind](*arguments)
    pathlib.Path(path).write_bytes(graph.model().SerializeToString())


main()
