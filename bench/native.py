"""The native runtimes: `native.py ort|weft THREADS` answers each line of JSON on its input by one.

    {"open": MODEL}     opens a session                        {"create_ms": .., "version": ..}
    {"feed": INPUTS}    as contenders.mjs describes them       {}
    {"run": N}          runs N times on these                  {"ms": of all}
    {"decode": N}       N tokens one after the other: caches
                        that come out go in again              {"ms": of all}

Whatever fails is answered by {"error": TEXT}. `native.py create MODEL`: only the time to create a
session of onnxruntime on one thread, and the version.
"""
import json
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))


class OnnxRuntime:
    """Values stay onnxruntime's own from output to input."""

    def __init__(self, model, threads):
        import onnxruntime as ort
        self.make = ort.OrtValue.ortvalue_from_numpy
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options)
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.version = ort.__version__

    def run(self, feed):
        return dict(zip(self.outputs, self.session.run_with_ort_values(self.outputs, feed)))


class Weft:
    """Through the C interface; caches stay the session's own tensors."""

    def __init__(self, model, threads):
        import weft
        self.make = np.asarray
        self.data = pathlib.Path(model).read_bytes()
        self.runtime = weft.Runtime(threads)
        self.model = weft.Model(self.runtime, self.data)
        self.session = weft.Session(self.model)
        self.keep = [name for name in self.session.output_names if name.startswith("present")]
        self.version = "0.1"

    def run(self, feed):
        return self.session.run(feed, self.keep)


def fill(kind, dims, how):
    """The same numbers as makeTensor() of contenders.mjs."""
    count = int(np.prod(dims))
    index = np.arange(count)
    if kind == "i64":
        values = 1000 + index * 7919 % 20000 if how == "ids" else np.full(count, how)
        return values.astype(np.int64).reshape(dims)
    values = np.sin(index.astype(np.float64)) if how == "wave" else np.full(count, how)
    return values.astype(np.float32).reshape(dims)


class Server:
    def __init__(self, runtime, threads):
        self.kind = {"ort": OnnxRuntime, "weft": Weft}[runtime]
        self.threads = threads

    def open(self, model):
        start = time.perf_counter()
        self.runtime = self.kind(model, self.threads)
        return {"create_ms": (time.perf_counter() - start) * 1e3, "version": self.runtime.version}

    def feed(self, inputs):
        self.arrays = {name: fill(*value) for name, value in inputs.items()}
        self.feeds = {name: self.runtime.make(array) for name, array in self.arrays.items()}
        return {}

    def run(self, times):
        start = time.perf_counter()
        for _ in range(times):
            self.runtime.run(self.feeds)
        return {"ms": (time.perf_counter() - start) * 1e3}

    def decode(self, tokens):
        start = time.perf_counter()
        for _ in range(tokens):
            outputs = self.runtime.run(self.feeds)
            for name, value in outputs.items():
                if name.startswith("present"):
                    self.feeds[name.replace("present", "past_key_values")] = value
            mask = np.ones((1, self.arrays["attention_mask"].shape[1] + 1), np.int64)
            self.arrays["attention_mask"] = mask
            self.feeds["attention_mask"] = self.runtime.make(mask)
        return {"ms": (time.perf_counter() - start) * 1e3}


def serve(runtime, threads):
    server = Server(runtime, threads)
    for line in sys.stdin:
        ((verb, argument),) = json.loads(line).items()
        try:
            answer = getattr(server, verb)(argument)
        except Exception as error:
            answer = {"error": str(error) or repr(error)}
        print(json.dumps(answer), flush=True)


def main():
    first, second = sys.argv[1:]
    if first == "create":
        print(json.dumps(Server("ort", 1).open(second)))
    else:
        serve(first, int(second))


main()
