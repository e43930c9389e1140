"""The native peer: onnxruntime from PyPI on one thread, as JSON. `native_ort.py create MODEL`: ms
to create a session; `native_ort.py run MODEL 1x16 ...`: ms per run of the encoder for each
shape."""
import json
import sys
import time

import numpy as np
import onnxruntime as ort


def create(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options)


def median_ms(work, rounds):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[len(times) // 2]


def feeds(batch, tokens):
    return {
        "input_ids": (np.arange(batch * tokens, dtype=np.int64) % 20000 + 1000).reshape(batch, -1),
        "attention_mask": np.ones((batch, tokens), np.int64),
        "token_type_ids": np.zeros((batch, tokens), np.int64),
    }


def run(model, shapes):
    session = create(model)
    result = {}
    for shape in shapes:
        batch, tokens = map(int, shape.split("x"))
        inputs = feeds(batch, tokens)
        session.run(None, inputs)
        rounds = max(5, 4000 // (batch * tokens))
        result[shape] = median_ms(lambda: session.run(None, inputs), rounds)
    return result


def main():
    kind, model, *shapes = sys.argv[1:]
    figures = {"version": ort.__version__}
    if kind == "create":
        figures["create_ms"] = median_ms(lambda: create(model), 1)
    else:
        figures["run_ms"] = run(model, shapes)
    print(json.dumps(figures))


main()
