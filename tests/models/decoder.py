#!/usr/bin/env python3
"""Small language models (tools/decoder_model.py) from Weft against onnxruntime: 64 greedy steps
with a KV cache.

    decoder.py [PATTERN]          small models of every flavour and spelling
    decoder.py --bench [PATTERN]  the size of the speed goals

With activations as f32, the tokens must be onnxruntime's and the logits as near as TOLERANCES say;
with the caches handed back as the session's own tensors, copied, and with the prompt in two parts;
with rewrites off and on the reference kernels; on one thread and on two, to the last bit. With
activations of 8 bits, logits are compared on the reference's tokens, and the error is bounded by
INT8_BOUNDS.

The reference takes activations as f32 too: MatMulNBits by its accuracy_level 1, and the standard
spelling without onnxruntime's rewrites, which would make MatMulNBits of 8-bit activations of it. A
greedy token is well defined only where it leads the second by more than both sides err: prompts are
tried until all of the reference's do.
"""
import argparse
import dataclasses
import pathlib
import sys
import time
import warnings

import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
warnings.filterwarnings("ignore")

import isolated  # noqa: E402
import weft  # noqa: E402
from decoder_model import decoder  # noqa: E402
from decoder_weights import BENCH, FLAVOURS, GEMMA, Config  # noqa: E402

STEPS = 64
PROMPT = 24
PROMPTS_TRIED = 200
DISTINCT_MIN = 8  # tokens among them: a model that repeats itself tests little

# Largest |weft - reference| of the logits, relative to the largest |reference|. At f16, onnxruntime
# rounds between operators: that alone moves its logits by up to 2e-3, by 3e-4 in the mean.
TOLERANCES = {"f32": 1e-4, "int4": 1e-4, "int8": 1e-4, "f16": 5e-3, "q4f16": 5e-3}
# Of the best token, likewise.
LEADS = {"f32": 2e-4, "int4": 2e-4, "int8": 2e-4, "f16": 2e-3, "q4f16": 2e-3}

# Activations of 8 bits, on the reference's tokens: the largest error of a logit and the root of the
# mean square, both relative to the standard deviation of the logits, and the least share of steps
# whose best token stays the same. Twelve layers come near the bounds, two stay at half of them.
INT8_BOUNDS = {"largest": 0.35, "mean": 0.05, "same": 0.85}
# And the mean is no more than so many times onnxruntime's own error with such activations.
INT8_OVER_ORT = 1.2


@dataclasses.dataclass
class Case:
    name: str
    flavour: str
    spelling: str = "genai"
    sizes: dict = dataclasses.field(default_factory=dict)  # of Config
    options: dict = dataclasses.field(default_factory=dict)  # of the spelling
    reference: dict = dataclasses.field(default_factory=dict)  # other options for onnxruntime

    def model(self, **extra):
        return decoder(Config(**self.sizes), self.flavour, self.spelling,
                       **self.options | extra).SerializeToString()

    @property
    def blocks(self):
        """Has MatMulNBits, which says how exact activations are to be."""
        return self.spelling == "genai" and FLAVOURS[self.flavour][0] > 0

    @property
    def half(self):
        """Activations and caches are f16."""
        return FLAVOURS[self.flavour][1]


def small_cases():
    gemma = GEMMA | {"softcap": 5.0}  # a cap that small scores meet, too
    for flavour in FLAVOURS:
        for spelling in ("genai", "standard"):
            yield Case(f"{flavour} {spelling}", flavour, spelling)
        yield Case(f"{flavour} tied", flavour, sizes={"tied": True})
    for flavour in ("int4", "int8"):
        for spelling in ("genai", "standard"):
            yield Case(f"{flavour} {spelling} zero points", flavour, spelling,
                       options={"zero_points": True})
    yield Case("int4 separate q, k, v", "int4", options={"fused_qkv": False})
    yield Case("int4 odd sizes", "int4", sizes={"layers": 3, "width": 96, "heads": 6, "kv_heads": 3,
                                                "inner": 160, "vocabulary": 131})
    yield Case("int4 one KV head", "int4", sizes={"kv_heads": 1, "head_size": 32})
    for flavour in ("f32", "int4"):
        for spelling in ("genai", "standard"):
            name = f"{flavour} {spelling}"
            yield Case(f"{name} biases", flavour, spelling, {"bias": True})
            yield Case(f"{name} QK norm", flavour, spelling, {"qk_norm": True})
            yield Case(f"{name} Gemma", flavour, spelling, gemma)
    # onnxruntime's CPU has no norms inside GroupQueryAttention.
    yield Case("q4f16 fused QK norm", "q4f16", sizes={"qk_norm": True},
               reference={"fused_qk_norm": False})


def bench_cases():
    for flavour in FLAVOURS:
        yield Case(f"{flavour} bench", flavour, sizes=BENCH)
    yield Case("f32 standard bench", "f32", "standard", BENCH)
    yield Case("int4 standard bench", "int4", "standard", BENCH)


class Decoder:
    """One sequence per row, from the first token on. Subclasses run the model."""

    def __init__(self, config, half, inputs):
        self.config = config
        self.cache_type = np.float16 if half else np.float32
        self.inputs = inputs
        self.past = None

    def restart(self, batch):
        c = self.config
        empty = np.zeros((batch, c.kv_heads, 0, c.head_size), self.cache_type)
        self.past = {name: empty for name in self.inputs if name.startswith("past")}
        self.length = 0

    def step(self, ids):
        """Logits f32 [batch, sequence, vocabulary] of ids [batch, sequence]."""
        batch, count = ids.shape
        positions = np.arange(self.length, self.length + count)
        self.length += count
        feed = {"input_ids": ids, "attention_mask": np.ones((batch, self.length), np.int64),
                "position_ids": np.tile(positions, (batch, 1))}
        outputs = self.run({k: v for k, v in feed.items() if k in self.inputs} | self.past)
        self.past = {name: outputs[name.replace("past_key_values", "present")]
                     for name in self.past}
        return np.asarray(outputs["logits"], np.float32)


class Reference(Decoder):
    def __init__(self, config, half, model, rewrites):
        options = onnxruntime.SessionOptions()
        if not rewrites:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 2
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(model, options)
        self.outputs = [output.name for output in self.session.get_outputs()]
        super().__init__(config, half, [value.name for value in self.session.get_inputs()])

    def run(self, feed):
        return dict(zip(self.outputs, self.session.run(None, feed)))


class Weft(Decoder):
    """`copied`: caches go out and in as arrays."""

    def __init__(self, config, half, session, copied=False):
        super().__init__(config, half, [name for name, _, _ in session.model.inputs()])
        self.session = session
        self.keep = () if copied else [name for name in session.output_names if name != "logits"]

    def run(self, feed):
        return self.session.run(feed, self.keep)


def greedy(model, prompts, steps=STEPS, first_part=0):
    """Tokens [batch, steps] and logits [batch, prompt + steps - 1, vocabulary]. The prompt goes in
    one piece, or in two."""
    model.restart(len(prompts))
    parts = [prompts[:, :first_part], prompts[:, first_part:]] if first_part else [prompts]
    logits = [model.step(part) for part in parts]
    tokens = [logits[-1][:, -1].argmax(-1)]
    for _ in range(steps - 1):
        logits.append(model.step(tokens[-1][:, None]))
        tokens.append(logits[-1][:, -1].argmax(-1))
    return np.stack(tokens, 1), np.concatenate(logits, 1)


def forced(model, prompts, tokens):
    """Logits, as of greedy, on given tokens."""
    model.restart(len(prompts))
    logits = [model.step(prompts)]
    logits += [model.step(tokens[:, at:at + 1]) for at in range(tokens.shape[1] - 1)]
    return np.concatenate(logits, 1)


@dataclasses.dataclass
class Expected:
    prompts: np.ndarray  # [1, PROMPT]
    tokens: np.ndarray
    logits: np.ndarray


def is_clear(logits, lead):
    """Whether the best token of the last position leads by enough, relative to the largest."""
    second, best = np.partition(logits[0, -1], -2)[-2:]
    return best - second > lead * np.abs(logits).max()


def clear_greedy(model, prompts, lead, steps=STEPS):
    """Tokens and logits as of greedy; None as soon as a token is not clear, or if they repeat."""
    model.restart(1)
    logits, tokens = [model.step(prompts)], []
    while is_clear(logits[-1], lead):
        tokens.append(logits[-1][:, -1].argmax(-1))
        if len(tokens) == steps:
            varied = len(set(np.concatenate(tokens))) >= DISTINCT_MIN
            return (np.stack(tokens, 1), np.concatenate(logits, 1)) if varied else None
        logits.append(model.step(tokens[-1][:, None]))
    return None


def find_expected(model, config, lead, steps=STEPS):
    rng = np.random.default_rng(5)
    for _ in range(PROMPTS_TRIED):
        prompts = rng.integers(0, config.vocabulary, (1, PROMPT))
        if found := clear_greedy(model, prompts, lead, steps):
            return Expected(prompts, *found)
    raise ValueError("no prompt has clear greedy tokens")


def differences(expected, tokens, logits, tolerance):
    """Yields what is wrong with a greedy run."""
    error = np.abs(logits - expected.logits).max() / np.abs(expected.logits).max()
    if not error <= tolerance:
        yield f"logits differ by {error:.2e} of the largest"
    if not np.array_equal(tokens, expected.tokens):
        step = int(np.argmax(tokens != expected.tokens))
        yield f"token {step} is {tokens[0, step]}, not {expected.tokens[0, step]}"


def int8_error(expected, logits):
    """The members of INT8_BOUNDS."""
    spread = expected.logits.std()
    error = (logits - expected.logits) / spread
    same = logits[:, PROMPT - 1:].argmax(-1) == expected.logits[:, PROMPT - 1:].argmax(-1)
    return {"largest": float(np.abs(error).max()), "mean": float(np.sqrt(np.mean(error**2))),
            "same": float(same.mean())}


def check_f32(config, case, data, expected, variants, report):
    """Greedy runs with activations as f32. Yields complaints."""
    tolerance = TOLERANCES[case.flavour]
    for label, threads, options, copied, first_part in variants:
        with weft.Runtime(threads) as runtime, weft.Model(runtime, data) as model, \
                weft.Session(model, activations="f32", **options) as session:
            run = greedy(Weft(config, case.half, session, copied), expected.prompts,
                         first_part=first_part)
        yield from (f"{label}: {text}" for text in differences(expected, *run, tolerance))
        error = np.abs(run[1] - expected.logits).max() / np.abs(expected.logits).max()
        report["f32"] = max(report.get("f32", 0), float(error))
        if label == "one thread":
            first = run
        if label == "two threads" and not np.array_equal(run[1], first[1]):
            yield "two threads give other logits than one"


SMALL_VARIANTS = [
    # label, threads, options of the session, caches copied, first part of the prompt
    ("one thread", 1, {}, False, 0),
    ("two threads", 2, {}, False, 0),
    ("caches copied", 1, {}, True, 0),
    ("prompt in two parts", 1, {}, False, 7),
    ("without passes", 1, {"disabled_passes": "all"}, False, 0),
    ("reference kernels", 1, {"kernels": "reference"}, False, 0),
]
BENCH_VARIANTS = SMALL_VARIANTS[:2]


def check_int8(config, case, data, expected, report):
    """Activations of 8 bits, asked for and, as accuracy_level 4 allows them, by default."""
    peer = Reference(config, case.half, case.model(**case.reference), True)
    report["ort"] = int8_error(expected, forced(peer, expected.prompts, expected.tokens))
    with weft.Runtime(2) as runtime, weft.Model(runtime, data) as model:
        for activations in ("int8", "auto"):
            with weft.Session(model, activations=activations) as session:
                logits = forced(Weft(config, case.half, session), expected.prompts, expected.tokens)
            error = int8_error(expected, logits)
            report[activations] = error
            if not (error["largest"] <= INT8_BOUNDS["largest"]
                    and error["mean"] <= INT8_BOUNDS["mean"]
                    and error["mean"] <= INT8_OVER_ORT * report["ort"]["mean"]
                    and error["same"] >= INT8_BOUNDS["same"]):
                yield (f"activations {activations}: {error}, bounds {INT8_BOUNDS}, onnxruntime's "
                       f"own {report['ort']}")
            if np.array_equal(logits, expected.logits):
                yield f"activations {activations}: nothing was rounded"


def check(case, variants):
    """(complaints, what was measured)"""
    config, report = Config(**case.sizes), {}
    exact = {"accuracy_level": 1} if case.blocks else {}
    reference = Reference(config, case.half, case.model(**exact | case.reference),
                          case.spelling == "genai")
    expected = find_expected(reference, config, LEADS[case.flavour])
    data = case.model()
    complaints = []
    try:
        complaints += check_f32(config, case, data, expected, variants, report)
        if case.blocks:
            complaints += check_int8(config, case, data, expected, report)
    except weft.WeftError as error:
        complaints.append(str(error))
    return complaints, report


def describe(report):
    texts = [f"f32 {report['f32']:.1e}"] if "f32" in report else []
    texts += [f"{name} {report[name]['largest']:.3f} {report[name]['mean']:.4f} "
              f"{report[name]['same']:.3f}" for name in ("int8", "auto", "ort") if name in report]
    return "; ".join(texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="", help="part of the models' names")
    parser.add_argument("--bench", action="store_true", help="the size of the speed goals")
    arguments = parser.parse_args()
    start = time.monotonic()
    cases = [case for case in (bench_cases() if arguments.bench else small_cases())
             if arguments.pattern in case.name]
    variants = BENCH_VARIANTS if arguments.bench else SMALL_VARIANTS
    failed = 0
    processes, seconds = (1, 600) if arguments.bench else (2, 120)
    for index, result in isolated.run(lambda i: check(cases[i], variants), len(cases), processes,
                                      seconds):
        died = isinstance(result, isolated.Died)
        complaints, report = ([f"CRASH: {result}"], {}) if died else result
        failed += bool(complaints)
        print(f"{'FAIL' if complaints else 'ok  '} {cases[index].name:34} {describe(report)}")
        print(*[f"    {text}" for text in complaints[:8]], sep="\n", end="\n" * bool(complaints))
    print(f"decoders: {len(cases)} in {time.monotonic() - start:.0f} s")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
