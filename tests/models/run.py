#!/usr/bin/env python3
"""Compares Weft with onnxruntime on the small models in cases/.

    tests/models/run.py [PATTERN] [-v]

Each model runs on each of its inputs with all passes on, each pass off in turn, all off, and on the
reference kernels; and its file is handed over in memory, at an odd address, by a reading callback,
and in pieces. Prints each difference beyond the tolerance (cases/base.py), then `N passed, N
failed`, where one is a model.
"""
import argparse
import pathlib
import sys
import tempfile
import time
import warnings

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tools")]
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

import isolated  # noqa: E402
import weft  # noqa: E402
from cases import all_cases  # noqa: E402
from cases.base import REFUSED, TOLERANCES  # noqa: E402

SCALE_MIN = 1e-3
REPORTED = 12  # complaints printed for one model


def reference_session(case):
    """onnxruntime as plain as it goes: no rewrites, one thread."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not case.external:
        return onnxruntime.InferenceSession(case.model.SerializeToString(), options)
    with tempfile.TemporaryDirectory() as folder:
        for location, data in case.external.items():
            pathlib.Path(folder, location).write_bytes(data)
        path = pathlib.Path(folder, "model.onnx")
        path.write_bytes(case.model.SerializeToString())
        return onnxruntime.InferenceSession(path, options)


def reference(case):
    """[{output: array}] for each feed."""
    session = reference_session(case)
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, feed))) for feed in case.feeds]


def difference(actual, expected, tolerance):
    """What is wrong with an output, or None."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"is {actual.dtype}{list(actual.shape)}, not {expected.dtype}{list(expected.shape)}"
    if np.array_equal(actual, expected, equal_nan=expected.dtype.kind == "f"):
        return None
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    wrong = ~finite & ~((actual == expected) | (np.isnan(actual) & np.isnan(expected)))
    scale = max(SCALE_MIN, np.max(np.abs(expected[finite]), initial=0))
    with np.errstate(invalid="ignore"):
        wrong |= finite & ~(np.abs(actual - expected) <= tolerance * scale)
    if not wrong.any():
        return None
    at = tuple(map(int, np.argwhere(wrong)[0]))
    worst = np.nanmax(np.abs(actual - expected)[finite], initial=0) / scale
    return (f"{wrong.sum()} of {wrong.size} elements differ, first {list(at)}: {actual[at]:.9g}, "
            f"expected {expected[at]:.9g}; largest {worst:.2e} of scale {scale:.3g}")


def variants():
    """(label, options of the session, how the file is handed over)"""
    yield "all passes", {}, "bytes"
    for name in weft.pass_names():
        yield f"without {name}", {"disabled_passes": name}, "bytes"
    yield "without passes", {"disabled_passes": "all"}, "bytes"
    yield "reference kernels", {"kernels": "reference"}, "bytes"
    yield "at an odd address", {}, "odd"
    yield "from a reader", {}, "read"
    yield "fed in pieces", {}, "feed"


def compare(case, expected, runtime, options, how):
    """Yields complaints about one variant. Each feed runs; the first runs again at the end, on a
    known plan."""
    data = case.model.SerializeToString()
    tolerance = TOLERANCES.get(case.tolerance, 0)
    with weft.Model(runtime, data, case.external, how) as model, \
            weft.Session(model, **options) as session:
        for index in [*range(len(case.feeds)), 0]:
            outputs = session.run(case.feeds[index])
            for name, array in expected[index].items():
                if text := difference(outputs[name], array, tolerance):
                    yield f"inputs {index}, output {name}: {text}"


def attempt(case, expected, runtime, options, how):
    """Complaints about one variant, failing included."""
    refused = case.tolerance == REFUSED
    try:
        complaints = list(compare(case, expected, runtime, options, how))
        return ["runs now; it was to be refused"] if refused else complaints
    except weft.WeftError as error:
        return [] if refused and error.status == weft.UNSUPPORTED else [str(error)]


def check(case):
    """Complaints about one model."""
    complaints = []
    expected = reference(case)
    for label, options, how in variants():
        with weft.Runtime() as runtime:
            before = runtime.memory()["bytes"]
            complaints += [f"{label}: {text}"
                           for text in attempt(case, expected, runtime, options, how)]
            if leaked := runtime.memory()["bytes"] - before:
                complaints.append(f"{label}: {leaked} bytes are held after everything was closed")
    return complaints


def report(case, complaints, verbose):
    if complaints:
        print(f"FAIL {case.name}")
        print(*[f"    {text}" for text in complaints[:REPORTED]], sep="\n")
    elif verbose:
        print(f"ok   {case.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="part of the models' names")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="name each model")
    arguments = parser.parse_args()
    start = time.monotonic()
    cases = [case for case in all_cases() if arguments.pattern in case.name]
    assert len({case.name for case in cases}) == len(cases), "names must differ"
    failed = 0
    for index, result in isolated.run(lambda i: check(cases[i]), len(cases), arguments.processes):
        complaints = [f"CRASH: {result}"] if isinstance(result, isolated.Died) else result
        failed += bool(complaints)
        report(cases[index], complaints, arguments.verbose)
    print(f"models: {len(cases)} in {time.monotonic() - start:.0f} s")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
