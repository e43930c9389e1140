"""A decoder of decoder_weights.py in standard operators only, in the decomposed form in which
torch.onnx and Optimum export LlamaForCausalLM: RMS norm as Pow .. Mul, rotary embedding by Slice,
Neg, Concat, a causal mask by Where, repeated keys and values by Expand, caches by Concat, shapes by
Shape -> Gather -> Unsqueeze -> Concat. Quantised weights come through DequantizeLinear in blocks.

Inputs and outputs are those of decoder_model.py, and position_ids [batch_size, sequence_length].
"""
import math

import numpy as np
from onnx import helper

import block_codes
from decoder_weights import FLAVOURS, LAYER, Weights
from onnx_build import ELEMENT, Graph

BLOCK = 32
TO_THE_END = np.iinfo(np.int64).max


class Standard:
    """Adds a decoder's nodes to a Graph."""

    def __init__(self, config, flavour="f32", zero_points=False):
        self.config = config
        self.weights = Weights(config)
        self.bits, self.half = FLAVOURS[flavour]
        self.zero_points = zero_points
        self.g = Graph("main_graph", opset=21 if self.bits else 17)

    # ---- pieces

    @property
    def element(self):
        return "f16" if self.half else "f32"

    @property
    def dtype(self):
        return np.float16 if self.half else np.float32

    def number(self, value):
        return self.g.constant(value, self.dtype)

    def ints(self, values):
        return self.g.constant(values, np.int64)

    def scalar_dim(self, x, axis):
        return self.g.Gather(self.g.Shape(x), self.ints(axis), axis=0)

    def shape(self, *parts):
        """i64 [rank] from numbers and scalars."""
        g = self.g
        return g.Concat(*[self.ints([part]) if isinstance(part, int) else
                          g.Unsqueeze(part, self.ints([0])) for part in parts], axis=0)

    def expand(self, x, shape, rank):
        """torch's expand: -1 in the shape leaves an axis as it is."""
        g = self.g
        kept = g.Equal(shape, self.ints([-1] * rank))
        return g.Expand(x, g.Where(kept, self.ints([1] * rank), shape))

    def to_f32(self, x):
        return self.g.Cast(x, to=ELEMENT["f32"]) if self.half else x

    def from_f32(self, x):
        return self.g.Cast(x, to=ELEMENT["f16"]) if self.half else x

    def norm(self, x, scale):
        """The mean of squares is taken in f32."""
        g = self.g
        x = self.to_f32(x)
        square = g.Pow(x, g.constant(2))
        if self.g.opset < 18:
            mean = g.ReduceMean(square, axes=[-1])
        else:
            mean = g.ReduceMean(square, self.ints([-1]))
        root = g.Sqrt(g.Add(mean, g.constant(self.config.epsilon)))
        x = self.from_f32(g.Mul(x, g.Div(g.constant(1), root)))
        return g.Mul(g.weight(scale.astype(self.dtype), "norm.weight"), x)

    def layer_norm(self, x, name):
        return self.norm(x, self.weights.layer_norm(name))

    def linear(self, x, weight, out=None):
        """x [.., K] by the transposed weight [N, K]."""
        g = self.g
        right = self.dequantized(weight) if self.bits else \
            g.weight(weight.T.astype(self.dtype), "onnx::MatMul")
        return g.MatMul(x, right, out=out)

    def dequantized(self, weight):
        """[K, N] from codes of the same shape, in blocks along K: u4 or u8 with zero points, i4 or
        i8 without."""
        g, bits = self.g, self.bits
        codes, scales, zeros = block_codes.quantize(weight, bits, BLOCK, not self.zero_points)
        if not self.zero_points:
            codes = codes ^ 2**(bits - 1) if bits == 8 else (codes + 8) % 16
        codes = codes.reshape(len(weight), -1).T
        element = ("u" if self.zero_points else "i") + str(bits)
        tensors = [self.codes(codes, element), g.weight(scales.T.astype(self.dtype), "scales")]
        if self.zero_points:
            tensors.append(self.codes(zeros.T, element))
        return g.DequantizeLinear(*tensors, axis=0, block_size=BLOCK)

    def codes(self, array, element):
        """In memory order, two of 4 bits to a byte."""
        data = block_codes.pack(np.ascontiguousarray(array).reshape(-1), self.bits).tobytes()
        name = self.g.unique("codes")
        return self.g.initializer(helper.make_tensor(name, ELEMENT[element], array.shape, data,
                                                     raw=True))

    # ---- the decoder

    def mask(self, attention_mask, ids, past, window):
        """[batch, 1, sequence, total] of 0, and of the least number where a query must not look: at
        what comes later, at padding, at what lies before its window."""
        g = self.g
        least = self.number(np.finfo(self.dtype).min)
        before, count = self.scalar_dim(past, 2), self.scalar_dim(ids, 1)
        total = g.Add(before, count)
        keys = g.Unsqueeze(g.Range(self.ints(0), total, self.ints(1)), self.ints([0]))
        queries = g.Unsqueeze(g.Range(before, total, self.ints(1)), self.ints([1]))
        hidden = g.Greater(keys, queries)
        if window > 0:
            hidden = g.Or(hidden, g.LessOrEqual(keys, g.Sub(queries, self.ints(window))))
        filled = g.ConstantOfShape(self.shape(count, total),
                                   value=helper.make_tensor("", ELEMENT[self.element], [1], [0]))
        causal = g.Unsqueeze(g.Where(hidden, least, filled), self.ints([0, 1]))
        shape = self.shape(self.scalar_dim(ids, 0), 1, -1, -1)
        causal = self.expand(causal, shape, 4)
        padding = g.Equal(g.Unsqueeze(attention_mask, self.ints([1, 2])), self.ints(0))
        return g.Where(padding, least, causal)

    def rotary(self, positions):
        """Cosines and sines, each [batch, 1, sequence, head_size]."""
        g = self.g
        frequencies = self.weights.frequencies().astype(np.float32).reshape(1, -1, 1)
        shape = self.shape(self.scalar_dim(positions, 0), -1, 1)
        frequencies = self.expand(g.constant(frequencies), shape, 3)
        row = g.Cast(g.Unsqueeze(positions, self.ints([1])), to=ELEMENT["f32"])
        angles = g.Transpose(g.MatMul(frequencies, row), perm=[0, 2, 1])
        angles = g.Concat(angles, angles, axis=-1)
        tables = [g.Mul(wave, g.constant(1)) for wave in (g.Cos(angles), g.Sin(angles))]
        return [g.Unsqueeze(self.from_f32(table), self.ints([1])) for table in tables]

    def rotate(self, x, tables):
        """x cos + (-second half, first half) sin"""
        g, (cosines, sines) = self.g, tables
        middle = g.Unsqueeze(g.Div(self.scalar_dim(x, 3), self.ints(2)), self.ints([0]))
        axis, step = self.ints([3]), self.ints([1])
        first = g.Slice(x, self.ints([0]), middle, axis, step)
        second = g.Slice(x, middle, self.ints([TO_THE_END]), axis, step)
        turned = g.Concat(g.Neg(second), first, axis=-1)
        return g.Add(g.Mul(x, cosines), g.Mul(turned, sines))

    def heads(self, x, count, bias=None):
        """[batch, sequence, count * size] to [batch, sequence, count, size]."""
        g = self.g
        if bias is not None:
            x = g.Add(g.weight(bias.astype(self.dtype), "bias"), x)
        shape = self.shape(self.scalar_dim(x, 0), self.scalar_dim(x, 1), count,
                           self.config.head_size)
        return g.Reshape(x, shape)

    def repeated(self, x):
        """[batch, kv_heads, total, size] to [batch, heads, total, size]."""
        g, c = self.g, self.config
        batch, total = self.scalar_dim(x, 0), self.scalar_dim(x, 2)
        shape = self.shape(batch, c.kv_heads, c.heads // c.kv_heads, total, c.head_size)
        x = self.expand(g.Unsqueeze(x, self.ints([2])), shape, 5)
        return g.Reshape(x, self.shape(batch, c.heads, total, c.head_size))

    def cached(self, x, layer, part):
        """What came before, then x: an output of the model, too."""
        return self.g.Concat(f"past_key_values.{layer}.{part}", x, axis=-2,
                             out=f"present.{layer}.{part}")

    def queries_keys_values(self, x, tables, layer):
        """[batch, heads, sequence or total, size] each."""
        g, c, w = self.g, self.config, self.weights
        biases = w.biases(layer) if c.bias else [None] * 3
        matrices = [w.query(layer), w.key(layer), w.value(layer)]
        q, k, v = [self.heads(self.linear(x, matrix), len(matrix) // c.head_size, bias)
                   for matrix, bias in zip(matrices, biases)]
        if c.qk_norm:
            q, k = self.norm(q, w.query_norm(layer)), self.norm(k, w.key_norm(layer))
        q, k, v = [g.Transpose(part, perm=[0, 2, 1, 3]) for part in (q, k, v)]
        q, k = self.rotate(q, tables), self.rotate(k, tables)
        return (q, self.repeated(self.cached(k, layer, "key")),
                self.repeated(self.cached(v, layer, "value")))

    def attention(self, x, mask, tables, layer):
        g, c = self.g, self.config
        q, k, v = self.queries_keys_values(x, tables, layer)
        scores = g.Mul(g.MatMul(q, g.Transpose(k, perm=[0, 1, 3, 2])),
                       self.number(1 / math.sqrt(c.head_size)))
        scores = g.Add(self.capped(scores, c.softcap), mask)
        shares = self.from_f32(g.Softmax(self.to_f32(scores), axis=-1))
        context = g.Transpose(g.MatMul(shares, v), perm=[0, 2, 1, 3])
        shape = self.shape(self.scalar_dim(x, 0), self.scalar_dim(x, 1), -1)
        return self.linear(g.Reshape(context, shape), self.weights.output(layer))

    def capped(self, x, cap, out=None):
        if not cap:
            return x
        cap = self.number(cap)
        return self.g.Mul(self.g.Tanh(self.g.Div(x, cap)), cap, out=out)

    def gelu(self, x):
        """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))"""
        g = self.g
        cube = g.Mul(g.Pow(x, self.number(3)), self.number(0.044715))
        inner = g.Mul(g.Add(x, cube), self.number(math.sqrt(2 / math.pi)))
        return g.Mul(g.Mul(x, self.number(0.5)), g.Add(g.Tanh(inner), self.number(1)))

    def feed_forward(self, x, layer):
        g, w = self.g, self.weights
        gate, up = self.linear(x, w.gate(layer)), self.linear(x, w.up(layer))
        active = self.gelu(gate) if self.config.gemma else g.Mul(gate, g.Sigmoid(gate))
        return self.linear(g.Mul(active, up), w.down(layer))

    def layer(self, x, masks, tables, index):
        g, gemma, path = self.g, self.config.gemma, LAYER.format(index)
        with g.scope("model"), g.scope(f"layers.{index}"):
            mask = masks[self.config.window_of(index) > 0]
            y = self.attention(self.layer_norm(x, path + "input"), mask, tables, index)
            if gemma:
                y = self.layer_norm(y, path + "post_attention")
            x = g.Add(x, y)
            between = "pre_feedforward" if gemma else "post_attention"
            y = self.feed_forward(self.layer_norm(x, path + between), index)
            if gemma:
                y = self.layer_norm(y, path + "post_feedforward")
            return g.Add(x, y)

    def embed(self, ids):
        g, c = self.g, self.config
        table = g.weight(self.weights.embedding().astype(self.dtype), "model.embed_tokens.weight")
        x = g.Gather(table, ids)
        return g.Mul(x, self.number(math.sqrt(c.width))) if c.gemma else x

    def model(self):
        c, g = self.config, self.g
        ids, mask, positions = [
            g.input(name, "i64", ["batch_size", f"{length}_length"]) for name, length in
            (("input_ids", "sequence"), ("attention_mask", "total_sequence"),
             ("position_ids", "sequence"))]
        dims = [["batch_size", c.kv_heads, f"{length}_length", c.head_size]
                for length in ("past_sequence", "total_sequence")]
        caches = [f"{layer}.{part}" for layer in range(c.layers) for part in ("key", "value")]
        for name in caches:
            g.input(f"past_key_values.{name}", self.element, dims[0])
        x = self.embed(ids)
        first = "past_key_values.0.key"
        masks = {False: self.mask(mask, ids, first, -1)}
        if c.window:
            masks[True] = self.mask(mask, ids, first, c.window)
        tables = self.rotary(positions)
        for layer in range(c.layers):
            x = self.layer(x, masks, tables, layer)
        x = self.layer_norm(x, LAYER.format(c.layers) + "final_norm")
        x = self.linear(x, self.weights.head(), None if c.final_softcap else "logits")
        g.output(self.capped(x, c.final_softcap, "logits"), self.element,
                 ["batch_size", "sequence_length", c.vocabulary])
        for name in caches:
            g.output(f"present.{name}", self.element, dims[1])
        return g.model("weft decoder_model", ir_version=10 if self.bits else None)
