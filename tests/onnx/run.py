#!/usr/bin/env python3
"""ONNX backend conformance: runs Weft on the tests that the pinned `onnx` package generates and
ships.

    tests/onnx/run.py                  compare with expected.txt; exit status 1 on any difference
    tests/onnx/run.py --update         rewrite expected.txt from what happened (failures stay
                                       failures); then tools/ops_table.py rewrites docs/OPS.md
    tests/onnx/run.py PATTERN -v       only tests whose name contains PATTERN, with messages

expected.txt says for each test `pass` or `unsupported` with the reason. A test is unsupported only
when Weft answers WEFT_UNSUPPORTED: a wrong result, another error, a crash or a hang is a failure in
any case.
"""
import argparse
import collections
import pathlib
import re
import sys
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from onnx.backend.test.loader import DATA_DIR, load_model_tests  # noqa: E402
from onnx.backend.test.runner import Runner  # noqa: E402

import isolated  # noqa: E402
import weft  # noqa: E402

EXPECTED = pathlib.Path(__file__).resolve().parent / "expected.txt"
SHIPPED_KINDS = ["simple", "pytorch-operator", "pytorch-converted"]
PASS, UNSUPPORTED, FAIL = "pass", "unsupported", "fail"
# Tests that need a wider tolerance than the package's, relative; with the reason.
WIDER = {
    # The expected values are NumPy's with each step rounded to f16, up to 5e-4 from the exact ones;
    # Weft rounds the same steps, but sums products in f32, and is up to 2e-4 from it.
    "node/test_attention_4d_causal_fp16_expanded": 2e-3,
}
Test = collections.namedtuple("Test", "name op model data_sets rtol atol")


def op_of(name, model, ops):
    """The operator that a test is about: for one expanded to a function body, that of the
    original."""
    original = name.split("_expanded")[0]
    if original in ops:
        return ops[original]
    return model.graph.node[0].op_type if model.graph.node else "(empty graph)"


def generated_tests():
    """The node tests, which the package makes in memory."""
    ops = {}
    for case in sorted(load_model_tests(kind="node"), key=lambda case: case.name):
        op = op_of(case.name, case.model, ops)
        ops[case.name] = op
        yield Test("node/" + case.name, op, case.model, case.data_sets, case.rtol, case.atol)


def read_tensor(path, type_proto):
    """An input or output file of a shipped test. Sequences are returned as lists."""
    data = path.read_bytes()
    if type_proto.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def shipped_tests():
    """The small whole models, which lie as files in the package."""
    for kind in SHIPPED_KINDS:
        for case in sorted(load_model_tests(DATA_DIR, kind), key=lambda case: case.name):
            folder = pathlib.Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            data_sets = []
            for data in sorted(folder.glob("test_data_set_*")):
                files = {side: [read_tensor(data / f"{side}_{i}.pb", value.type)
                                for i, value in enumerate(getattr(model.graph, side))
                                if (data / f"{side}_{i}.pb").exists()]
                         for side in ("input", "output")}
                data_sets.append((files["input"], files["output"]))
            yield Test(f"{kind}/{case.name}", "(models)", model, data_sets, case.rtol, case.atol)


def all_tests():
    yield from generated_tests()
    yield from shipped_tests()


def plain(value):
    """Test data as arrays: some tests hold TensorProto."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def execute(test):
    """Runs one test; answers (verdict, message)."""
    try:
        with weft.Runtime() as runtime, \
                weft.Model(runtime, test.model.SerializeToString()) as model, \
                weft.Session(model) as session:
            names = [value.name for value in test.model.graph.input]
            for inputs, expected in test.data_sets:
                outputs = session.run(dict(zip(names, map(plain, inputs))))
                Runner.assert_similar_outputs(list(map(plain, expected)), list(outputs.values()),
                                              WIDER.get(test.name, test.rtol), test.atol)
        return PASS, ""
    except weft.WeftError as error:
        unsupported = error.status == weft.UNSUPPORTED
        return UNSUPPORTED if unsupported else FAIL, str(error)
    except (AssertionError, TypeError, ValueError, AttributeError, KeyError) as error:
        return FAIL, f"{type(error).__name__}: {error}"


def reason(message):
    """The message of an unsupported test without what names this one node, for expected.txt."""
    return re.sub(r"\s+", " ", message.removeprefix("unsupported: "))


def read_expected():
    """{name: (verdict, reason)}"""
    lines = EXPECTED.read_text().splitlines() if EXPECTED.exists() else []
    fields = [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]
    return {name: (verdict, " ".join(rest)) for verdict, name, *rest in fields}


def write_expected(results):
    lines = ["# Written by tests/onnx/run.py --update. Verdict, test, reason."]
    for name, (verdict, message) in sorted(results.items()):
        if verdict == PASS:
            lines.append(f"pass {name}")
        elif verdict == UNSUPPORTED:
            lines.append(f"unsupported {name} {reason(message)}")
    EXPECTED.write_text("\n".join(lines) + "\n")


def judge(name, verdict, message, expected):
    """A complaint about one result, or None."""
    listed, _ = expected.get(name, ("not listed", ""))
    if verdict == FAIL:
        return f"FAIL {name}: {message}"
    if verdict == listed:
        return None
    if verdict == UNSUPPORTED:
        return f"LOST {name}: {listed} in expected.txt, now {message}"
    return f"NEW  {name}: passes now; it is {listed} in expected.txt (run with --update)"


def run_all(tests, processes):
    """{name: (verdict, message)}"""
    results = {}
    for index, result in isolated.run(lambda i: execute(tests[i]), len(tests), processes):
        verdict = (FAIL, f"CRASH: {result}") if isinstance(result, isolated.Died) else result
        results[tests[index].name] = verdict
    return results


def count_by_op(tests, results):
    """{op: {verdict: count}}"""
    counts = collections.defaultdict(lambda: {PASS: 0, UNSUPPORTED: 0, FAIL: 0})
    for test in tests:
        counts[test.op][results[test.name][0]] += 1
    return dict(sorted(counts.items()))


def print_counts(counts):
    print(f"{'operator':32}{'pass':>6}{'unsup.':>8}{'fail':>6}")
    for op, count in counts.items():
        print(f"{op:32}{count[PASS]:6}{count[UNSUPPORTED]:8}{count[FAIL]:6}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="part of the tests' names")
    parser.add_argument("--update", action="store_true", help="rewrite expected.txt")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("-v", "--verbose", action="store_true", help="print every test's result")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    weft.pass_names()  # fails early where there is no library
    start = time.monotonic()
    np.seterr(all="ignore")
    tests = [test for test in all_tests() if arguments.pattern in test.name]
    results = run_all(tests, arguments.processes)
    counts = count_by_op(tests, results)
    print_counts(counts)
    if arguments.verbose:
        for name, (verdict, message) in results.items():
            print(f"{verdict:12}{name} {message}")
    expected = read_expected()
    if arguments.update:
        write_expected((expected if arguments.pattern else {}) | results)
        expected = read_expected()
    complaints = [text for name, (verdict, message) in sorted(results.items())
                  if (text := judge(name, verdict, message, expected))]
    if not arguments.pattern:
        complaints += [f"GONE {name}: listed in expected.txt, but there is no such test"
                       for name in sorted(expected.keys() - results.keys())]
    print(*complaints, sep="\n")
    totals = {v: sum(count[v] for count in counts.values()) for v in (PASS, UNSUPPORTED, FAIL)}
    print(f"{len(tests)} tests in {time.monotonic() - start:.0f} s: {totals[PASS]} pass, "
          f"{totals[UNSUPPORTED]} unsupported, {totals[FAIL]} fail")
    print(f"{len(tests) - len(complaints)} passed, {len(complaints)} failed")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
