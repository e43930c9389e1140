"""The native peer: onnxruntime from PyPI on one thread. Prints JSON: ms to create a session on each
model, and ms per run for each shape of the encoder."""
import json
import sys
import time

import numpy as np
import onnxruntime as ort


def options():
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    o.inter_op_num_threads = 1
    return o


def best_ms(work, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


def main():
    model, shapes = sys.argv[1], sys.argv[2:]
    create = best_ms(lambda: ort.InferenceSession(model, options()), 5)
    session = ort.InferenceSession(model, options())
    runs = {}
    for shape in shapes:
        batch, tokens = map(int, shape.split("x"))
        feeds = {
            "input_ids": np.arange(batch * tokens, dtype=np.int64).reshape(batch, tokens)
            % 20000 + 1000,
            "attention_mask": np.ones((batch, tokens), np.int64),
            "token_type_ids": np.zeros((batch, tokens), np.int64),
        }
        session.run(None, feeds)
        runs[shape] = best_ms(lambda: session.run(None, feeds), max(3, 2000 // (batch * tokens)))
    print(json.dumps({"version": ort.__version__, "create_ms": create, "run_ms": runs}))


main()
