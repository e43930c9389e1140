"""Attention with caches as decoders spell it: onnxruntime's own operators in every option, and the
standard operators that exporters write in their place."""
import numpy as np

from onnx_build import Graph

from .base import Case, random, rng_for
from .quantized import ms

HEAD = 16
POSITIONS = 64


def rotary_tables(half=HEAD // 2):
    angles = np.outer(np.arange(POSITIONS), 10.0**(-np.arange(half) / half))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


class Step:
    """Lengths of one run: `new` tokens behind lengths[b] - new old ones in sequence b (right-padded
    where `new` is more than a prompt's length); `room`: of the cache, that of the past if None."""

    def __init__(self, new, lengths, past=None, room=None):
        self.new, self.lengths = new, lengths
        self.total = max(max(lengths), new)
        self.past = max(0, self.total - new) if past is None else past
        self.room = room or self.past


PROMPT, DECODE, CHUNK = Step(6, [6]), Step(1, [10]), Step(3, [9])
PADDED, PADDED_DECODE = Step(6, [6, 4]), Step(1, [7, 5])
STATIC, STATIC_PROMPT = Step(1, [9], room=16), Step(6, [6], room=16)
ALL = [PROMPT, DECODE, CHUNK, PADDED, PADDED_DECODE, STATIC, STATIC_PROMPT]


def past_of(rng, step, groups):
    """What lies behind a sequence's end in a cache is nothing: 0, as onnxruntime leaves it."""
    past = random(rng, [len(step.lengths), groups, step.room, HEAD])
    for b, length in enumerate(step.lengths):
        past[b, :, max(0, length - step.new):] = 0
    return past


def gqa_feed(rng, step, heads, groups, packed, bias_dims=None, positions=False):
    batch = len(step.lengths)
    widths = {"q": heads + 2 * groups} if packed else {"q": heads, "k": groups, "v": groups}
    feed = {name: random(rng, [batch, step.new, width * HEAD]) for name, width in widths.items()}
    feed["past_k"], feed["past_v"] = (past_of(rng, step, groups) for _ in range(2))
    feed["last"] = np.array(step.lengths, np.int32) - 1
    feed["total"] = np.array(step.total, np.int32)
    if bias_dims:
        b, h = bias_dims(batch, heads)
        feed["bias"] = random(rng, [b, h, step.new, step.total])
    if positions:
        offset = np.maximum(np.array(step.lengths) - step.new, 0)[:, None]
        feed["ids"] = offset + np.arange(step.new)[None]
    return feed


def declare(g, feeds):
    """An input for each array; dims where the runs differ are symbols."""
    names = {np.dtype(np.float32): "f32", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64",
             np.dtype(np.float16): "f16"}
    for name, array in feeds[0].items():
        sizes = list(zip(*[feed[name].shape for feed in feeds]))
        dims = [n[0] if len(set(n)) == 1 and axis > 2 else f"{name}_{axis}"
                for axis, n in enumerate(sizes)]
        if array.ndim == 3 and len(set(sizes[2])) == 1:
            dims[2] = array.shape[2]
        if array.ndim == 4:
            dims[1] = array.shape[1]
        g.input(name, names[array.dtype], dims)


def gqa(label, steps=ALL, heads=4, groups=2, packed=False, bias=None, sink=False, rotary=None,
        positions=False, **attributes):
    """total has to be known when shapes are, so it comes from the shape of a mask, as in models."""
    name = f"decoder/gqa_{label}"
    rng = rng_for(name)
    feeds = [gqa_feed(rng, step, heads, groups, packed, bias, positions) for step in steps]
    g = Graph(label)
    declare(g, [{k: v for k, v in feed.items() if k != "total"} for feed in feeds])
    mask = g.input("mask", "i64", ["b", "t"])
    total = g.Cast(g.Gather(g.Shape(mask), g.constant(1, np.int64)), to=6)
    has = feeds[0].keys()
    inputs = ["q", *(("", "") if packed else ("k", "v")), "past_k", "past_v", "last", total]
    tables = [g.weight(table) for table in rotary_tables(rotary)] if rotary else ["", ""]
    inputs += [*tables, "ids" if "ids" in has else "", "bias" if "bias" in has else "",
               g.weight(random(rng, [heads])) if sink else ""]
    while inputs[-1] == "":
        inputs.pop()
    outputs = g.node("GroupQueryAttention", *inputs, outputs=3, domain="com.microsoft",
                     num_heads=heads, kv_num_heads=groups, do_rotary=int(bool(rotary)),
                     **attributes)
    g.domains["com.microsoft"] = 1
    for value in outputs:
        g.output(value)
    for feed in feeds:
        feed["mask"] = np.ones((len(feed["last"]), feed.pop("total")), np.int64)
    return Case(name, g.model(), feeds, "f32")


def group_query():
    yield gqa("plain")
    yield gqa("packed", packed=True)
    yield gqa("one_group", groups=1)
    yield gqa("no_groups", groups=4)
    yield gqa("scale", scale=0.5)
    yield gqa("window", local_window_size=3)
    yield gqa("window_1", local_window_size=1)
    yield gqa("softcap", softcap=0.7)
    yield gqa("smooth", smooth_softmax=1)
    yield gqa("sink", sink=True)
    yield gqa("bias", bias=lambda b, h: (b, h))
    yield gqa("bias_shared", bias=lambda b, h: (1, 1))
    yield gqa("both_ways", steps=[PROMPT, DECODE, PADDED_DECODE], causal=0)
    yield gqa("rotary", rotary=8)
    yield gqa("rotary_packed", rotary=8, packed=True)
    yield gqa("rotary_interleaved", rotary=8, rotary_interleaved=1)
    yield gqa("rotary_positions", rotary=8, positions=True)
    # without a padded prompt: onnxruntime adds the bias where it has no scores, in rows of padding
    yield gqa("everything", [step for step in ALL if step is not PADDED], rotary=8,
              packed=True, local_window_size=4, softcap=1.5, sink=True, scale=0.3,
              bias=lambda b, h: (1, h))


def without_past():
    """A prompt through an operator that has no cache."""
    rng = rng_for("decoder/gqa_without_past")
    g = Graph("without_past")
    steps = [PROMPT, PADDED]
    feeds = [gqa_feed(rng, step, 4, 2, False) for step in steps]
    for feed in feeds:
        del feed["past_k"], feed["past_v"]
    declare(g, feeds)
    outputs = g.node("GroupQueryAttention", "q", "k", "v", "", "", "last", "total", outputs=3,
                     domain="com.microsoft", num_heads=4, kv_num_heads=2)
    g.domains["com.microsoft"] = 1
    for value in outputs:
        g.output(value)
    yield Case("decoder/gqa_without_past", g.model(), feeds, "f32")


# ---- MultiHeadAttention, RotaryEmbedding ---------------------------------------------------------

def mha(label, make, **attributes):
    """make(rng, batch, queries, past): {input: array}, in the operator's order with the names q, k,
    v, bias, padding, scores, past_k, past_v."""
    name = f"decoder/mha_{label}"
    rng = rng_for(name)
    feeds = [make(rng, *size) for size in ((1, 5, 0), (2, 3, 4))]
    feeds = [{k: v for k, v in feed.items() if v is not None} for feed in feeds]
    g = Graph(label)
    declare(g, feeds)
    order = ["q", "k", "v", "bias", "padding", "scores", "past_k", "past_v"]
    inputs = [name if name in feeds[0] else "" for name in order]
    while inputs[-1] == "":
        inputs.pop()
    past = "past_k" in feeds[0]
    outputs = g.node("MultiHeadAttention", *inputs, outputs=3 if past else 1,
                     domain="com.microsoft", num_heads=2, **attributes)
    g.domains["com.microsoft"] = 1
    for value in outputs if past else [outputs]:
        g.output(value)
    return Case(name, g.model(), feeds, "f32")


def qkv(rng, b, s, past, keys=None, value=HEAD):
    keys = keys or s
    return {"q": random(rng, [b, s, 2 * HEAD]), "k": random(rng, [b, keys, 2 * HEAD]),
            "v": random(rng, [b, keys, 2 * value])}


def with_past(rng, b, s, past):
    return {**qkv(rng, b, s, past), "past_k": random(rng, [b, 2, past, HEAD]),
            "past_v": random(rng, [b, 2, past, HEAD])}


def padding(rng, *shape):
    mask = (rng.random(shape) < 0.7).astype(np.int32)
    mask[..., 0] = 1
    return mask


def multi_head():
    yield mha("plain", qkv)
    yield mha("cross", lambda r, b, s, p: qkv(r, b, s, p, keys=s + 2))
    yield mha("value_size", lambda r, b, s, p: qkv(r, b, s, p, value=8))
    yield mha("scale", qkv, scale=0.2)
    yield mha("causal", qkv, unidirectional=1)
    yield mha("bias", lambda r, b, s, p: {**qkv(r, b, s, p), "bias": random(r, [6 * HEAD])})
    yield mha("padding", lambda r, b, s, p: {**qkv(r, b, s, p), "padding": padding(r, b, s)})
    yield mha("padding_3", lambda r, b, s, p: {**qkv(r, b, s, p), "padding": padding(r, b, s, s)})
    yield mha("lengths", lambda r, b, s, p: {
        **qkv(r, b, s, p), "padding": np.arange(2, 2 + b).astype(np.int32)})
    yield mha("scores", lambda r, b, s, p: {
        **qkv(r, b, s, p), "scores": random(r, [1, 2, s, s]), "padding": padding(r, b, s)})
    yield mha("past", with_past)
    yield mha("past_causal", with_past, unidirectional=1)
    yield mha("cached_keys", lambda r, b, s, p: {
        "q": random(r, [b, s, 2 * HEAD]), "k": random(r, [b, 2, s + 1, HEAD]),
        "v": random(r, [b, 2, s + 1, HEAD])})


def rotary_embedding():
    for interleaved in (0, 1):
        for label, rank, half in (("3d", 3, 8), ("4d", 4, 8), ("part", 4, 4), ("part_3d", 3, 4)):
            for ids in ("one", "each"):
                name = f"decoder/rotary_{label}_{ids}{'_interleaved' * interleaved}"
                rng = rng_for(name)
                g = Graph("rotary")
                feeds = []
                for b, s in ((1, 1), (2, 5)):
                    x = random(rng, [b, s, 3 * HEAD] if rank == 3 else [b, 3, s, HEAD])
                    where = np.array([4]) if ids == "one" else rng.integers(0, POSITIONS, (b, s))
                    feeds.append({"x": x, "ids": where})
                declare(g, feeds)
                part = {"num_heads": 3, "rotary_embedding_dim": 2 * half} if half < 8 else {}
                tables = [g.weight(table) for table in rotary_tables(half)]
                g.output(ms(g, "RotaryEmbedding", "x", "ids", *tables, interleaved=interleaved,
                            **part))
                yield Case(name, g.model(), feeds, "f32")


# ---- in standard operators -----------------------------------------------------------------------

def rotate_half(g, x, cosines, sines):
    two = g.constant([HEAD // 2], np.int64)
    last, zero = g.constant([-1], np.int64), g.constant([0], np.int64)
    end = g.constant([2**63 - 1], np.int64)
    turned = g.Concat(g.Neg(g.Slice(x, two, end, last)), g.Slice(x, zero, two, last), axis=-1)
    return g.Add(g.Mul(x, cosines), g.Mul(turned, sines))


def repeat(g, x, groups, times):
    shape = g.Shape(x)
    batch, length = (g.Gather(shape, g.constant([i], np.int64)) for i in (0, 2))
    sizes = {n: g.constant([n], np.int64) for n in (groups, times, groups * times, HEAD)}
    x = g.Unsqueeze(x, g.constant([2], np.int64))
    x = g.Expand(x, g.Concat(batch, sizes[groups], sizes[times], length, sizes[HEAD], axis=0))
    return g.Reshape(x, g.Concat(batch, sizes[groups * times], length, sizes[HEAD], axis=0))


def standard_layer(g, q, k, v, past_k, past_v, mask, ids, where):
    """q [b,4,s,d], k and v [b,2,s,d], pasts [b,2,p,d], mask bool [b,1,s,t], ids i64 [b,s]."""
    frequency = g.constant(10.0**(-np.arange(HEAD // 2) / (HEAD // 2)))
    angles = g.Mul(g.Cast(g.Unsqueeze(ids, g.constant([2], np.int64)), to=1), frequency)
    angles = g.Concat(angles, angles, axis=-1)
    heads = g.constant([1], np.int64)
    cosines, sines = (g.Unsqueeze(t, heads) for t in (g.Cos(angles), g.Sin(angles)))
    q, k = (rotate_half(g, x, cosines, sines) for x in (q, k))
    k, v = g.Concat(past_k, k, axis=2), g.Concat(past_v, v, axis=-2)
    scores = g.MatMul(q, g.Transpose(repeat(g, k, 2, 2), perm=[0, 1, 3, 2]))
    scores = g.Mul(scores, g.constant(0.25))
    lowest = g.constant(np.finfo(np.float32).min)
    if where:
        scores = g.Where(mask, scores, lowest)
    else:
        scores = g.Add(scores, g.Where(mask, g.constant(0), lowest))
    return g.MatMul(g.Softmax(scores, axis=-1), repeat(g, v, 2, 2)), k, v


def standard():
    for where in (False, True):
        name = f"decoder/standard_{'where' if where else 'added'}"
        rng = rng_for(name)
        g = Graph("standard")
        names = ["q", "k", "v", "past_k", "past_v"]
        dims = [["b", 4, "s", HEAD], *[["b", 2, "s", HEAD]] * 2, *[["b", 2, "p", HEAD]] * 2]
        for value, declared in zip(names, dims):
            g.input(value, "f32", declared)
        g.input("mask", "bool", ["b", 1, "s", "t"])
        g.input("ids", "i64", ["b", "s"])
        for value in standard_layer(g, *names, "mask", "ids", where):
            g.output(value)
        feeds = []
        for b, s, p in ((1, 5, 0), (2, 1, 7), (2, 3, 4)):
            sizes = [[b, 4, s, HEAD], *[[b, 2, s, HEAD]] * 2, *[[b, 2, p, HEAD]] * 2]
            feed = {value: random(rng, shape) for value, shape in zip(names, sizes)}
            feed["mask"] = np.broadcast_to(np.tri(s, s + p, p, bool), (b, 1, s, s + p)).copy()
            feed["ids"] = np.broadcast_to(p + np.arange(s), (b, s)).copy()
            feeds.append(feed)
        yield Case(name, g.model(), feeds, "deep")


CASES = [group_query, without_past, multi_head, rotary_embedding, standard]
