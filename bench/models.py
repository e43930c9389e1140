"""Writes the model of one matrix product that the benchmarks run: x [384,384] times a constant [384,1536]."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from onnx_build import Graph  # noqa: E402


def main():
    path = pathlib.Path(sys.argv[1])
    g = Graph("matmul")
    x = g.input("x", "f32", [384, 384])
    w = g.weight(np.random.default_rng(1).standard_normal((384, 1536), np.float32), "w")
    g.output(g.MatMul(x, w), "f32", [384, 1536])
    path.write_bytes(g.model().SerializeToString())


main()
