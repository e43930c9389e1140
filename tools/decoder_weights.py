"""Sizes and random weights of small language models of the Llama kind, for tests and benchmarks.

Each weight depends on its name and the seed alone, so that all spellings and all ways of storing
the same decoder hold the same numbers.
"""
import dataclasses
import math
import zlib

import numpy as np


# Bits of the codes of matrices (0: none), whether all other numbers are f16.
FLAVOURS = {"f32": (0, False), "f16": (0, True), "int4": (4, False), "int8": (8, False),
            "q4f16": (4, True)}


@dataclasses.dataclass
class Config:
    layers: int = 2
    width: int = 64
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 16
    inner: int = 128
    vocabulary: int = 96
    positions: int = 512  # rows of the tables of cosines and sines
    epsilon: float = 1e-6
    rope_theta: float = 10000.0
    bias: bool = False  # of q, k and v (Qwen 2)
    qk_norm: bool = False  # RMS norm of each head of q and k (Qwen 3, Gemma 3)
    tied: bool = False  # the embedding is the transposed last matrix
    gemma: bool = False  # norms after the blocks too, GELU, scaled embeddings
    window: int = 0  # of every other layer, the first included; 0: none
    softcap: float = 0.0  # of attention scores; 0: none
    final_softcap: float = 0.0  # of logits
    seed: int = 1

    @property
    def query_width(self):
        return self.heads * self.head_size

    @property
    def kv_width(self):
        return self.kv_heads * self.head_size

    def window_of(self, layer):
        """-1: none."""
        return self.window if self.window and layer % 2 == 0 else -1


# The size of the speed goals: 12 layers of width 768, 32,000 tokens.
BENCH = {"layers": 12, "width": 768, "heads": 12, "kv_heads": 4, "head_size": 64, "inner": 2048,
         "vocabulary": 32000, "positions": 8192}
GEMMA = {"gemma": True, "tied": True, "window": 8, "softcap": 50.0, "final_softcap": 30.0}

# Spread of the logits, and of attention scores: as in trained models, whose attention has its
# favourites. With scores near 0, every token would see the same mean of all the others.
LOGITS = 3.0
SCORES = 2.0

LAYER = "/model/layers.{}/"  # how names of norms begin, for every spelling


class Weights:
    """Matrices are [N, K] as in checkpoints, of a scale that keeps activations near 1. Norms count
    from 0, or as written in the file, from 1."""

    def __init__(self, config):
        self.config = config

    def _random(self, name, *shape):
        rng = np.random.default_rng([self.config.seed, zlib.crc32(name.encode())])
        return rng.standard_normal(shape, np.float32)

    def matrix(self, name, rows, columns, scale=1.0):
        return self._random(name, rows, columns) * np.float32(scale / math.sqrt(columns))

    def norm(self, name, size=None):
        return self._random(name, size or self.config.width) * np.float32(0.1) + np.float32(1)

    def layer_norm(self, name):
        """By its whole name, less "_layernorm". Those that close a block of Gemma are large. Its
        last matrix is its embedding, and a token's own embedding, times the root of the width,
        stands in the residual stream and says "this token again": what the 2 `layers` blocks add
        has to drown it, or one token repeats for ever."""
        c = self.config
        closing = c.gemma and name.endswith(("post_attention", "post_feedforward"))
        size = LOGITS * math.sqrt(c.width / (2 * c.layers)) if closing else 1
        return self.norm(name) * np.float32(size)

    def query(self, layer):
        c = self.config
        return self.matrix(f"{layer}.q", c.query_width, c.width, 1 if c.qk_norm else SCORES)

    def key(self, layer):
        return self.matrix(f"{layer}.k", self.config.kv_width, self.config.width)

    def value(self, layer):
        return self.matrix(f"{layer}.v", self.config.kv_width, self.config.width)

    def query_norm(self, layer):
        return self.norm(f"{layer}.q_norm", self.config.head_size) * np.float32(SCORES)

    def key_norm(self, layer):
        return self.norm(f"{layer}.k_norm", self.config.head_size)

    def biases(self, layer):
        """Of q, k and v."""
        c = self.config
        return [self._random(f"{layer}.{name}.bias", size) * np.float32(0.3)
                for name, size in (("q", c.query_width), ("k", c.kv_width), ("v", c.kv_width))]

    def output(self, layer):
        """Means of values are smaller than values: about so much."""
        return self.matrix(f"{layer}.o", self.config.width, self.config.query_width, 2)

    def gate(self, layer):
        return self.matrix(f"{layer}.gate", self.config.inner, self.config.width)

    def up(self, layer):
        return self.matrix(f"{layer}.up", self.config.inner, self.config.width)

    def down(self, layer):
        """silu(x) y has a spread of about 0.6."""
        return self.matrix(f"{layer}.down", self.config.width, self.config.inner, 1.7)

    def head(self):
        return self.matrix("head", self.config.vocabulary, self.config.width, LOGITS)

    def embedding(self):
        """[V, W] of spread 1, or the last matrix itself."""
        c = self.config
        return self.head() if c.tied else self._random("embedding", c.vocabulary, c.width)

    def rotary_tables(self):
        """Cosines and sines, each [positions, head_size / 2]."""
        c = self.config
        angles = np.arange(c.positions, dtype=np.float64)[:, None] * self.frequencies()
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def frequencies(self):
        c = self.config
        return c.rope_theta ** (-np.arange(0, c.head_size, 2, dtype=np.float64) / c.head_size)
