#!/usr/bin/env python3
"""MiniLM and small language models in each flavour, on a GPU against the CPU and onnxruntime.

    gpu.py [PATTERN]             natively, with small models of random weights
    gpu.py --full [PATTERN]      also MiniLM-L6 itself (build/models), more decoders, and
                                 activations as f32 where they are rounded to 8 bits else
    gpu.py --write [PATTERN]     runs nothing on a GPU
    gpu.py --adapter NAME        a part of the GPU's name

Without a PATTERN they write build/flavours/ for gpu.mjs, which does the same in Node and browsers:
index.json with prompts, tokens, inputs and tolerances, the models, and what the CPU makes of them
(.bin, f32).

Nothing may be read back from the GPU but outputs, and the host may do bookkeeping only. Decoders
take a prompt, then tokens one at a time, with the caches handed back: the tokens must be the CPU's,
and the logits as near as TOLERANCES say. Tokens are well defined only where they lead the second by
more than both sides err: prompts are tried until all of the CPU's do.
"""
import argparse
import dataclasses
import functools
import json
import logging
import pathlib
import re
import sys
import time

import numpy as np
import onnx

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import decoder  # noqa: E402
import isolated  # noqa: E402
import weft  # noqa: E402
from decoder import forced, greedy  # noqa: E402
from decoder_weights import BENCH, FLAVOURS, Config  # noqa: E402

FOLDER = ROOT / "build/flavours"
MODELS = ROOT / "build/models"
STEPS = 16

# Largest |GPU - CPU| relative to the largest |CPU|. Where rows are rounded to 8 bits, or numbers to
# f16, sums in another order may land on the other side: one step of a code, or of the 11 bits. That
# alone is 1e-2 in two layers of width 768; 2.5e-2 where the CPU rounds and the GPU does not.
TOLERANCES = {"f32": 1e-4, "f16": 5e-3, "q8": 4e-2, "int4": 4e-2, "int8": 4e-2, "q4f16": 4e-2}
# Six layers with rounded rows: the CPU's own targets, AVX2 and the reference, are 2.4e-2 apart.
MINILM_Q8_TOLERANCE = 5e-2
EXACT_TOLERANCES = decoder.TOLERANCES | {"q8": 1e-4}  # activations as f32
LEADS = {"f32": 2e-4, "f16": 5e-3, "int4": 1e-2, "int8": 1e-2, "q4f16": 1e-2}  # of the best token
# To onnxruntime, which rounds an encoder at f16 between all operators.
ORT_TOLERANCES = {"f32": 1e-4, "f16": 2e-2}

# Steps on the GPU, the most that a text or a token may take: rewrites treat all flavours alike.
STEPS_ON_GPU = {"small MiniLM": 20, "MiniLM": 50, "decoder": 19, "decoder bench": 19,
                "decoder standard": 19}

# Of which gpu.mjs makes do where time is short: it has the most kinds of kernels.
QUICK = ("decoder q4f16",)

# What the host may make: a little (src/gpu/device.c), and counts of any size.
SMALL_BYTES = 4096
COUNTS = ("i64", "i32", "bool")


@dataclasses.dataclass
class Case:
    name: str
    flavour: str
    data: object  # () -> bytes of the model
    sizes: dict = None  # decoders: of Config
    vocabulary: int = 0  # encoders
    full: bool = False

    @property
    def tolerance(self):
        return MINILM_Q8_TOLERANCE if self.name == "MiniLM q8" else TOLERANCES[self.flavour]

    def run(self, session, expected=None):
        """Expected, on the inputs of another one or on new ones."""
        if self.sizes is None:
            feed = expected.feed if expected else token_feed(self.vocabulary)
            return Expected(feed, values=session.run(feed)["last_hidden_state"].astype(np.float32))
        model = self.decoder(session)
        if not expected:
            found = decoder.find_expected(model, model.config, LEADS[self.flavour], STEPS)
            return Expected(found.prompts, found.tokens, found.logits)
        return Expected(expected.feed, *greedy(model, expected.feed, STEPS))

    def decoder(self, session):
        return decoder.Weft(Config(**self.sizes), FLAVOURS[self.flavour][1], session)

    @property
    def steps_on_gpu(self):
        return STEPS_ON_GPU.get(self.name.replace(f" {self.flavour}", ""))

    @property
    def rounds(self):
        """To 8 bits, if the session may."""
        return self.flavour not in ("f32", "f16")


@dataclasses.dataclass
class Expected:
    feed: object  # decoders: the prompt [1, length]; encoders: {input: i64 [batch, sequence]}
    tokens: np.ndarray = None  # [1, STEPS]
    values: np.ndarray = None  # f32: logits [1, prompt + STEPS - 1, vocabulary], or hidden states


def token_feed(vocabulary):
    """Two texts of 24 tokens, of which the second is padded."""
    rng = np.random.default_rng(3)
    ids = rng.integers(vocabulary // 2, vocabulary, (2, 24))
    mask = np.ones_like(ids)
    mask[1, 17:] = 0
    return {"input_ids": ids * mask, "attention_mask": mask,
            "token_type_ids": mask * (np.arange(24) > 11)}


# ---- models --------------------------------------------------------------------------------------

@functools.cache
def small_minilm():
    from minilm_to_onnx import Bert, random_weights, small_config
    config = small_config()
    return Bert(config, random_weights(config)).model()


def minilm(flavour):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from quantize_minilm import to_f16
    model = small_minilm()
    if flavour == "f16":
        model = to_f16(model)
    if flavour == "q8":
        logging.disable(logging.WARNING)  # it recommends shape inference
        path = FOLDER / "quantised.onnx"
        quantize_dynamic(model, path, per_channel=True, weight_type=QuantType.QInt8)
        model = onnx.load(path)
        path.unlink()
    return model.SerializeToString()


def decoder_case(name, flavour, sizes=None, full=False, **options):
    case = decoder.Case(name, flavour, sizes=sizes or {}, **options)
    return Case(name, flavour, case.model, case.sizes, full=full)


def cases():
    for flavour, file in (("f32", "minilm"), ("f16", "minilm_f16"), ("q8", "minilm_q8_wide")):
        yield Case(f"small MiniLM {flavour}", flavour, functools.partial(minilm, flavour),
                   vocabulary=64)
        yield Case(f"MiniLM {flavour}", flavour, (MODELS / f"{file}.onnx").read_bytes,
                   vocabulary=30522, full=True)
    odd = {"layers": 3, "width": 96, "heads": 16, "kv_heads": 8, "head_size": 10, "inner": 160,
           "vocabulary": 132}
    for flavour in FLAVOURS:
        yield decoder_case(f"decoder {flavour}", flavour)
        yield decoder_case(f"decoder {flavour} standard", flavour, full=True, spelling="standard")
        yield decoder_case(f"decoder {flavour} odd sizes", flavour, odd, True, spelling="standard")
        yield decoder_case(f"decoder {flavour} bench", flavour, BENCH | {"layers": 2}, True)


# ---- checks --------------------------------------------------------------------------------------

def misplaced(plan):
    """Yields the steps that should be elsewhere, by the text of a plan."""
    for line in plan.splitlines():
        side, _, rest = line.strip().partition(" ")
        result = rest.split(" (")[0].rpartition("-> ")[2]
        if side == "download" and "@output" not in result:
            yield f"is read back: {line.strip()}"
        if side != "host":
            continue
        dtype, dims = re.match(r"(\w+)\[([\d,]*)\]", result).groups()
        elements = np.prod([int(dim) for dim in dims.split(",") if dim])
        bytes_each = 1 if dtype in ("u8", "i8") else 2 if dtype == "f16" else 4
        if dtype not in COUNTS and bytes_each * elements > SMALL_BYTES:
            yield f"is on the host: {line.strip()}"


def surplus(case, plan):
    """Yields how many steps are too many."""
    count = len(re.findall("^ *device", plan, re.MULTILINE))
    if case.steps_on_gpu and count > case.steps_on_gpu:
        yield f"{count} steps on the GPU, not {case.steps_on_gpu}"


def distance(actual, expected):
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def compare(case, actual, expected, tolerance):
    """(complaints, the largest error)"""
    error = distance(actual.values, expected.values)
    complaints = [] if error <= tolerance else [f"differs by {error:.1e} of the largest"]
    if not np.array_equal(actual.tokens, expected.tokens):
        complaints.append(f"tokens {actual.tokens}, not {expected.tokens}")
    return complaints, error


def ort_values(case, data, expected):
    """onnxruntime's values on the same inputs and tokens."""
    if case.sizes is None:
        import onnxruntime
        return onnxruntime.InferenceSession(data).run(["last_hidden_state"], expected.feed)[0]
    reference = decoder.Reference(Config(**case.sizes), FLAVOURS[case.flavour][1], data,
                                  "standard" not in case.name)
    return forced(reference, expected.feed, expected.tokens)


def check_gpu(case, data, model, gpu, expected, exact):
    """(complaints, {what: error})"""
    report, complaints = {}, []
    for activations in ["auto"] + ["f32"] * (case.rounds and exact):
        like = expected
        if activations == "f32":
            with weft.Session(model, activations="f32") as session:
                like = case.run(session, expected)
                like.tokens = None  # whose lead is not known
        with weft.Session(model, activations=activations, gpu=gpu) as session:
            actual = case.run(session, expected)
            plan = session.dump("plan")
            complaints += misplaced(plan)
            complaints += surplus(case, plan)
        if activations == "f32":
            actual.tokens = None
        tolerance = EXACT_TOLERANCES[case.flavour] if activations == "f32" else case.tolerance
        more, report[activations] = compare(case, actual, like, tolerance)
        complaints += more
    if case.flavour in ORT_TOLERANCES:
        report["ort"] = distance(actual.values, ort_values(case, data, expected))
        if not report["ort"] <= ORT_TOLERANCES[case.flavour]:
            complaints.append(f"differs by {report['ort']:.1e} from onnxruntime")
    return complaints, report


def write(case, data, expected):
    """The index's entry for gpu.mjs."""
    stem = case.name.replace(" ", "-")
    (FOLDER / f"{stem}.onnx").write_bytes(data)
    (FOLDER / f"{stem}.bin").write_bytes(expected.values.tobytes())
    entry = {"name": case.name, "model": f"{stem}.onnx", "values": f"{stem}.bin",
             "quick": case.name in QUICK, "tolerance": case.tolerance}
    if case.sizes is None:
        feed = {name: {"dims": array.shape, "data": array.ravel().tolist()}
                for name, array in expected.feed.items()}
        return entry | {"feed": feed}
    config = Config(**case.sizes)
    return entry | {"prompt": expected.feed[0].tolist(), "tokens": expected.tokens[0].tolist(),
                    "cache": [1, config.kv_heads, 0, config.head_size]}


def check(case, arguments):
    """(complaints, errors, the index's entry)"""
    data = case.data()
    with weft.Runtime(2) as runtime, weft.Model(runtime, data) as model:
        with weft.Session(model) as session:
            expected = case.run(session)
        entry = write(case, data, expected)
        if arguments.write:
            return [], {}, entry
        with weft.Gpu(runtime, arguments.adapter) as gpu:
            complaints, report = check_gpu(case, data, model, gpu, expected, arguments.full)
            return complaints, report, entry


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="part of the models' names")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--adapter", default="")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    chosen = [case for case in cases()
              if arguments.pattern in case.name and case.full <= arguments.full]
    start, failed, entries = time.monotonic(), 0, {}
    for index, result in isolated.run(lambda i: check(chosen[i], arguments), len(chosen), 2, 600):
        died = isinstance(result, isolated.Died)
        complaints, report, entry = ([f"CRASH: {result}"], {}, None) if died else result
        entries[index] = entry
        failed += bool(complaints)
        errors = ", ".join(f"{name} {error:.1e}" for name, error in report.items())
        print(f"{'FAIL' if complaints else 'ok  '} {chosen[index].name:28} {errors}", flush=True)
        print(*[f"    {text}" for text in complaints[:8]], sep="\n", end="\n" * bool(complaints))
    made = [entry for _, entry in sorted(entries.items()) if entry]
    if not arguments.pattern:
        (FOLDER / "index.json").write_text(json.dumps(made))
    print(f"flavours: {len(chosen)} in {time.monotonic() - start:.0f} s")
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
