#!/usr/bin/env python3
"""MiniLM's hidden states from Weft against onnxruntime, on 500 texts of 1 to 512 tokens in padded
batches.

    embeddings.py reference     writes the inputs and onnxruntime's outputs to build/embeddings
    embeddings.py weft          runs the native library on these and compares
    embeddings.py               both
    embeddings.py transformers  compares with PyTorch's model instead, on the same inputs
    embeddings.py q8            the models with 8-bit products (tools/quantize_minilm.py): their
                                embeddings against those in f32, and against onnxruntime's

embeddings.mjs reads the same files for Node and browsers. The model is build/models/minilm.onnx
with tokenizer.json in build/models/minilm (tools/fetch_minilm.py, tools/minilm_to_onnx.py).

The files: index.json says for each batch its sizes and the byte offsets, in data.bin, of input_ids,
attention_mask and token_type_ids (i64 [batch, sequence]) and of last_hidden_state (f32 [batch,
sequence, width]); little-endian.
"""
import argparse
import hashlib
import json
import pathlib
import re
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
OUTPUT = "last_hidden_state"
TEXTS = 500
TOKENS_MAX = 512
BATCH_SIZES = [1, 2, 3, 5, 8, 13]
BATCH_TOKENS_MAX = 2048  # padding included
WINDOW = 32  # texts sorted by length before they are batched: padding is about a third
ABS_MAX = 1e-4
# Padding positions are read by nobody and badly conditioned: there, onnxruntime and PyTorch in f32
# are up to 2e-4 apart, and each as far from PyTorch in f64; on tokens 4e-6.
ABS_MAX_PADDING = 1e-3
COSINE_MIN = 0.99999
FORMAT = 2  # of the files; part of their key

# 8-bit products: bounds of the cosine of embeddings to those in f32, the least and the mean of all
# texts. Activations are rounded as the session likes; "f32" leaves them as they are, so that only
# the weights' rounding is seen. Weights have a scale for each column, and in _q8 7 bits, in
# _q8_wide all 8. On 500 texts the least were 0.975 and 0.981 (_q8), on 198 of them 0.988 and 0.994
# (_q8_wide); onnxruntime itself, with one scale for all activations of a product, has 0.963 and a
# mean of 0.988. In _qdq activations have fixed scales, which lose most: Weft may not lose more than
# onnxruntime.
Q8_BOUNDS = {"auto": (0.965, 0.99), "f32": (0.975, 0.995)}
Q8_WIDE_BOUNDS = {"auto": (0.98, 0.994), "f32": (0.99, 0.997)}
Q8_PEER_LEAST = 0.98  # of _q8 without rewrites, thus with the same roundings as onnxruntime
QDQ_MEAN_LOST = 0.02


def words():
    """The project's own text, as words in order."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "include/weft/weft.h"]
    return [word for path in sorted(paths) for word in re.findall(r"\S+", path.read_text())]


def invented_word(rng):
    """Letters of several scripts, digits, marks: a word that no vocabulary holds."""
    alphabet = "abcdefghijklmnopqrstuvwxyzäöüßéñçøαβγδабвгд中文字日本語한국어🙂0123456789-'.,"
    return "".join(rng.choice(list(alphabet), rng.integers(1, 12)))


def text_of(rng, source, count):
    """About `count` words: a stretch of the documents, with some words invented."""
    start = rng.integers(len(source))
    stretch = [source[(start + i) % len(source)] for i in range(count)]
    return " ".join(invented_word(rng) if rng.random() < 0.1 else word for word in stretch)


def tokenize(tokenizer, text, length):
    """Exactly `length` ids where the text has enough: [CLS] ids.. [SEP], or [CLS] alone."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids[:max(length - 2, 0)]
    first, last = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    return [first, *ids, last][:length]


def sequences(tokenizer, rng):
    """TEXTS lists of ids; lengths spread evenly over the logarithm, both ends included."""
    source = words()
    lengths = np.exp(rng.uniform(0, np.log(TOKENS_MAX + 1), TEXTS)).astype(int)
    lengths[:4] = [1, 2, TOKENS_MAX - 1, TOKENS_MAX]
    made = [tokenize(tokenizer, text_of(rng, source, n + 1), n)
            for n in rng.permutation(np.clip(lengths, 1, TOKENS_MAX))]
    return [ids for i in range(0, TEXTS, WINDOW) for ids in sorted(made[i:i + WINDOW], key=len)]


def batches(tokenizer):
    """Yields {input: i64 [batch, sequence]}; every fourth batch has two kinds of token types."""
    rng = np.random.default_rng(7)
    rest = sequences(tokenizer, rng)
    number = 0
    while rest:
        size = BATCH_SIZES[number % len(BATCH_SIZES)]
        while size > 1 and size * max(map(len, rest[:size])) > BATCH_TOKENS_MAX:
            size -= 1
        rows, rest = rest[:size], rest[size:]
        ids = np.zeros([len(rows), max(map(len, rows))], np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, values in enumerate(rows):
            ids[row, :len(values)] = values
            mask[row, :len(values)] = 1
            types[row, len(values) // 2:len(values)] = number % 4 == 3
        yield dict(zip(INPUTS, (ids, mask, types)))
        number += 1


def write_reference(model, tokenizer_path, folder):
    """Writes index.json and data.bin, unless those of the same model and texts are there."""
    import onnxruntime
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = list(batches(tokenizer))
    key = key_of(model, made)
    index_path = folder / "index.json"
    if index_path.exists() and json.loads(index_path.read_text())["key"] == key:
        return
    folder.mkdir(parents=True, exist_ok=True)
    index_path.unlink(missing_ok=True)
    session = onnxruntime.InferenceSession(str(model))
    entries = []
    with open(folder / "data.bin", "wb") as data:
        for feed in made:
            (hidden,) = session.run([OUTPUT], feed)
            entries.append(write_batch(data, feed, hidden))
    index = {"key": key, "model": str(model), "inputs": INPUTS, "output": OUTPUT,
             "width": hidden.shape[2], "abs_max": ABS_MAX,
             "abs_max_padding": ABS_MAX_PADDING, "cosine_min": COSINE_MIN,
             "batches": entries}
    index_path.write_text(json.dumps(index))


def key_of(model, made):
    digest = hashlib.sha256(str(FORMAT).encode() + model.read_bytes())
    for feed in made:
        digest.update(repr(feed["input_ids"].shape).encode())
        for name in INPUTS:
            digest.update(feed[name].tobytes())
    return digest.hexdigest()


def write_batch(data, feed, hidden):
    """The index's entry. Sizes are multiples of 8 bytes, so that every array is aligned."""
    batch, sequence, _ = hidden.shape
    entry = {"batch": batch, "sequence": sequence}
    for name, array in [*feed.items(), (OUTPUT, hidden)]:
        entry[name] = data.tell()
        data.write(array.tobytes())
    return entry


def read_batch(data, index, entry):
    shape = (entry["batch"], entry["sequence"])
    feed = {name: np.frombuffer(data, np.int64, shape[0] * shape[1], entry[name]).reshape(shape)
            for name in index["inputs"]}
    count = shape[0] * shape[1] * index["width"]
    hidden = np.frombuffer(data, np.float32, count, entry[index["output"]])
    return feed, hidden.reshape(*shape, index["width"])


def pool(hidden, mask):
    """Mean over the tokens that are not padding: [batch, width]."""
    weights = mask[..., None].astype(np.float64)
    return (hidden * weights).sum(1) / weights.sum(1)


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def differences(a, b, mask):
    """The largest |a - b| on tokens and on padding."""
    by_row = np.abs(a - b).max(axis=2)
    return by_row[mask == 1].max(), by_row[mask == 0].max(initial=0)


def compare(folder, run, reference=None):
    """Runs every batch through run(feed) -> hidden and compares with reference(feed), or with the
    file's outputs; prints the largest differences; answers 0 or 1."""
    index = json.loads((folder / "index.json").read_text())
    data = np.memmap(folder / "data.bin", np.uint8, "r")
    worst, least, failed, seconds = 0.0, 1.0, 0, 0.0
    for number, entry in enumerate(index["batches"]):
        feed, expected = read_batch(data, index, entry)
        start = time.monotonic()
        hidden = run(feed)
        seconds += time.monotonic() - start
        if reference:
            expected = reference(feed)
        mask = feed["attention_mask"]
        difference, padding = differences(hidden, expected, mask)
        similar = cosine(pool(hidden, mask), pool(expected, mask)).min()
        if not (difference <= index["abs_max"] and padding <= index["abs_max_padding"]
                and similar >= index["cosine_min"]):
            failed += 1
            print(f"FAIL batch {number} {list(expected.shape)}: largest difference "
                  f"{difference:.2e}, on padding {padding:.2e}, cosine {similar:.7f}")
        worst, least = max(worst, difference), min(least, similar)
    texts = sum(entry["batch"] for entry in index["batches"])
    print(f"{texts} texts in {len(index['batches'])} batches, {seconds:.1f} s: largest difference "
          f"{worst:.2e} (limit {index['abs_max']:g}), least cosine {least:.8f} "
          f"(limit {index['cosine_min']:g})")
    print(f"{len(index['batches']) - failed} passed, {failed} failed")
    return 1 if failed else 0


def run_weft(model_path, folder, threads, reference=None):
    import weft
    with weft.Runtime(threads) as runtime, \
            weft.Model(runtime, model_path.read_bytes()) as model, weft.Session(model) as session:
        return compare(folder, lambda feed: session.run(feed)[OUTPUT], reference)


def run_session(path, feeds, **options):
    """[hidden] of Weft for each feed."""
    import weft
    with weft.Runtime(2) as runtime, weft.Model(runtime, path.read_bytes()) as model, \
            weft.Session(model, **options) as session:
        return [session.run(feed)[OUTPUT] for feed in feeds]


def run_reference(path, feeds):
    """[hidden] of onnxruntime, without rewrites."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    return [session.run([OUTPUT], feed)[0] for feed in feeds]


def cosines(feeds, some, others):
    """Least and mean over all texts."""
    masks = [feed["attention_mask"] for feed in feeds]
    all_texts = np.concatenate([cosine(pool(a, mask), pool(b, mask))
                                for a, b, mask in zip(some, others, masks)])
    return all_texts.min(), all_texts.mean()


def check_bounds(path, feeds, exact, bounds):
    """Yields (what, cosines, whether they are good)."""
    for activations, (least, mean) in bounds.items():
        hidden = run_session(path, feeds, activations=activations)
        found = cosines(feeds, hidden, exact)
        yield f"activations {activations}, to f32", found, found[0] >= least and found[1] >= mean


def check_q8_wide(path, feeds, exact):
    yield from check_bounds(path, feeds, exact, Q8_WIDE_BOUNDS)


def check_q8(path, feeds, exact):
    yield from check_bounds(path, feeds, exact, Q8_BOUNDS)
    some = feeds[::8]
    hidden = run_session(path, some, disabled_passes="all")
    found = cosines(some, hidden, run_reference(path, some))
    yield "without rewrites, to onnxruntime", found, found[0] >= Q8_PEER_LEAST


def check_qdq(path, feeds, exact):
    some, exact = feeds[::8], exact[::8]
    peer = cosines(some, run_reference(path, some), exact)
    yield "onnxruntime, to f32", peer, True
    for passes in (None, "all"):
        hidden = run_session(path, some, disabled_passes=passes)
        found = cosines(some, hidden, exact)
        yield f"rewrites off: {passes}, to f32", found, found[1] >= peer[1] - QDQ_MEAN_LOST


def compare_q8(models, folder, every):
    index = json.loads((folder / "index.json").read_text())
    data = np.memmap(folder / "data.bin", np.uint8, "r")
    batches_read = [read_batch(data, index, entry) for entry in index["batches"][::every]]
    feeds, exact = map(list, zip(*batches_read))
    failed = 0
    for name, check in (("minilm_q8", check_q8), ("minilm_q8_wide", check_q8_wide),
                        ("minilm_qdq", check_qdq)):
        for what, (least, mean), good in check(models / f"{name}.onnx", feeds, exact):
            failed += not good
            print(f"{'ok  ' if good else 'FAIL'} {name}, {what}: least {least:.4f}, "
                  f"mean {mean:.5f}", flush=True)
    print(f"{sum(map(len, exact))} texts; {failed} failed")
    return 1 if failed else 0


def transformers_model(folder):
    """PyTorch's BertModel from the safetensors, as feed -> hidden."""
    import torch
    from transformers import BertModel
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()

    def run(feed):
        with torch.no_grad():
            tensors = {name: torch.from_numpy(array.copy()) for name, array in feed.items()}
            return model(**tensors).last_hidden_state.numpy()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", default="both",
                        choices=["reference", "weft", "both", "transformers", "q8"])
    models = ROOT / "build/models"
    parser.add_argument("--model", type=pathlib.Path, default=models / "minilm.onnx")
    parser.add_argument("--tokenizer", type=pathlib.Path, default=models / "minilm/tokenizer.json")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/embeddings")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="of the batches, for q8")
    arguments = parser.parse_args()
    if arguments.what != "weft":
        write_reference(arguments.model, arguments.tokenizer, arguments.folder)
    if arguments.what == "reference":
        return 0
    if arguments.what == "q8":
        return compare_q8(models, arguments.folder, arguments.every)
    reference = transformers_model(arguments.tokenizer.parent) \
        if arguments.what == "transformers" else None
    return run_weft(arguments.model, arguments.folder, arguments.threads, reference)


if __name__ == "__main__":
    sys.exit(main())
