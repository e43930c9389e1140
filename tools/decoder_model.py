#!/usr/bin/env python3
"""Writes a small language model of the Llama kind with random weights as ONNX, with numpy and onnx
alone, for tests and benchmarks.

    tools/decoder_model.py OUT.onnx --flavour int4                 small, for tests
    tools/decoder_model.py OUT.onnx --flavour int4 --bench         the size of the speed goals
    tools/decoder_model.py OUT.onnx --flavour f32 --spelling standard

Spelling `genai`: node for node what the model builder of the PyPI package onnxruntime-genai 0.18
writes (MatMulNBits, GroupQueryAttention, SkipSimplifiedLayerNormalization, ...), for its provider
"cpu", or "webgpu" at flavours f16 and q4f16. Spelling `standard`: decoder_standard.py.

Inputs: input_ids [batch_size, sequence_length], attention_mask [batch_size, total_sequence_length],
past_key_values.{layer}.key and .value [batch_size, kv_heads, past_sequence_length, head_size].
Outputs: logits [batch_size, sequence_length, vocabulary], present.{layer}.key and .value.
"""
import argparse
import dataclasses
import math
import pathlib

import numpy as np
from onnx import helper

import block_codes
from decoder_standard import Standard
from decoder_weights import BENCH, FLAVOURS, GEMMA, Config, Weights
from onnx_build import ELEMENT, Graph, save

CONTRIB = "com.microsoft"
BLOCK = 32
OPTIONAL = ""  # an input or output left out


def dotted(path, name):
    """/model/layers.0/mlp to model.layers.0.mlp.name"""
    return f"{path.strip('/').replace('/', '.')}.{name}"


class Genai:
    """Adds a decoder's nodes to a Graph, in the builder's order and under its names: a node
    /model/layers.0/x/Op has the output /model/layers.0/x/output_0 or .../Op/output_0."""

    def __init__(self, config, flavour="f32", zero_points=False, accuracy_level=4, fused_qkv=True,
                 fused_qk_norm=None):
        self.config = config
        self.weights = Weights(config)
        self.bits, self.half = FLAVOURS[flavour]
        self.zero_points = zero_points
        self.accuracy_level = accuracy_level
        self.fused_qkv = fused_qkv
        # For WebGPU the builder leaves the norms of q and k to GroupQueryAttention.
        self.fused_qk_norm = self.half if fused_qk_norm is None else fused_qk_norm
        self.g = Graph("main_graph", opset=22)
        self.g.domains[CONTRIB] = 1
        self.constants, self.blocks = {}, {}

    # ---- pieces

    @property
    def element(self):
        return "f16" if self.half else "f32"

    @property
    def dtype(self):
        return np.float16 if self.half else np.float32

    def node(self, op, path, *inputs, outputs=1, domain="", **attributes):
        names = [f"{path}/output_{i}" for i in range(outputs)]
        return self.g.node(op, *inputs, name=path, out=names, domain=domain, **attributes)

    def float_weight(self, array, name):
        return self.g.weight(array.astype(self.dtype), name)

    def constant(self, value, dtype=np.int64):
        """One Constant node for each value."""
        kind = {np.int64: "INT64", np.float32: "FLOAT", np.float16: "FLOAT16"}[dtype]
        key = f"{kind}/{value}"
        if key not in self.constants:
            tensor = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            array = np.asarray(value, dtype)
            self.constants[key] = self.g.node(
                "Constant", name=f"/model/constant_nodes/{key}", out=f"/model/constants/{key}",
                value=helper.make_tensor("", tensor, array.shape, array.tobytes(), raw=True))
        return self.constants[key]

    def linear(self, x, weight, path, out=None):
        """x [.., K] by the transposed weight [N, K]. `path`: /model/layers.0/mlp/gate_proj."""
        out = out or f"{path}/MatMul/output_0"
        if not self.bits:
            right = self.float_weight(weight.T, dotted(path, "MatMul.weight"))
            return self.g.node("MatMul", x, right, name=f"{path}/MatMul", out=out)
        tensors = self.block_weight(weight, path)
        attributes = {"K": weight.shape[1], "N": weight.shape[0], "bits": self.bits,
                      "block_size": BLOCK}
        if self.accuracy_level:
            attributes["accuracy_level"] = self.accuracy_level
        return self.g.node("MatMulNBits", x, *tensors, name=f"{path}/MatMul_Q{self.bits}", out=out,
                           domain=CONTRIB, **attributes)

    def block_weight(self, weight, path):
        """Names of the codes u8 [N, blocks, bytes], the scales [N, blocks] and, if wanted, the zero
        points u8 [N, bytes]. A tied matrix is asked for twice."""
        if path in self.blocks:
            return self.blocks[path]
        name = dotted(path, "MatMul.weight")
        codes, scales, zeros = block_codes.quantize(weight, self.bits, BLOCK, not self.zero_points)
        tensors = [self.g.weight(block_codes.pack(codes, self.bits), f"{name}_Q{self.bits}"),
                   self.float_weight(scales, f"{name}_scales")]
        if self.zero_points:
            packed = block_codes.pack(zeros, self.bits)
            tensors.append(self.g.weight(packed, f"{name}_zero_points"))
        self.blocks[path] = tensors
        return tensors

    def norm(self, x, scale, path, op="LayerNorm", out=None):
        return self.g.node("SimplifiedLayerNormalization", x, scale, name=f"{path}/{op}",
                           out=out or f"{path}/output_0", axis=-1, stash_type=1,
                           epsilon=self.config.epsilon)

    def layer_norm_weight(self, path):
        array = self.weights.layer_norm(path.removesuffix("_layernorm"))
        return self.float_weight(array, dotted(path, "weight"))

    def layer_norm(self, x, path):
        return self.norm(x, self.layer_norm_weight(path), path)

    def skip_norm(self, residual, x, path, last=False):
        """(norm of the sum, sum)"""
        outputs = [f"{path}/output_0"]
        if not last:
            outputs += [OPTIONAL, OPTIONAL, f"{path}/output_3"]
        self.g.node("SkipSimplifiedLayerNormalization", residual, x, self.layer_norm_weight(path),
                    domain=CONTRIB, name=f"{path}/SkipLayerNorm", out=outputs,
                    epsilon=self.config.epsilon)
        return outputs[0], outputs[-1]

    # ---- the decoder

    def lengths(self, mask):
        """From the mask [batch, total]: i32 [batch] of tokens less one, i32 scalar total."""
        path = "/model/attn_mask_reformat/attn_mask_subgraph"
        one = self.constant([1])
        count = self.node("ReduceSum", f"{path}/ReduceSum", mask, one, keepdims=0)
        count = self.node("Sub", f"{path}/Sub", count, one)
        count = self.node("Cast", f"{path}/Sub/Cast", count, to=ELEMENT["i32"])
        total = self.node("Shape", f"{path}/Shape", mask)
        total = self.node("Gather", f"{path}/Gather", total, self.constant(1), axis=0)
        return count, self.node("Cast", f"{path}/Gather/Cast", total, to=ELEMENT["i32"])

    def embed(self, ids):
        """[batch, sequence, width]. Tied weights are looked up in the last matrix: as f32 in its
        transpose, at 4 bits in its codes; at 8 bits the builder keeps an embedding of its own."""
        c, path = self.config, "/model/embed_tokens"
        if c.tied and self.bits == 4:
            tensors = self.block_weight(self.weights.head(), "/lm_head")
            shape = self.constant([c.vocabulary, c.width // 2])
            codes = self.node("Reshape", f"{path}/Reshape", tensors[0], shape)
            x = self.node("GatherBlockQuantized", f"{path}/GatherBlockQuantized", codes, ids,
                          *tensors[1:], domain=CONTRIB, bits=4, block_size=BLOCK, gather_axis=0,
                          quantize_axis=1)
        elif c.tied and not self.bits:
            table = self.node("Transpose", f"{path}/Transpose", "lm_head.MatMul.weight",
                              perm=[1, 0])
            x = self.node("Gather", f"{path}/Gather", table, ids)
        else:
            table = self.float_weight(self.weights.embedding(), "model.embed_tokens.weight")
            x = self.node("Gather", f"{path}/Gather", table, ids)
        if not c.gemma:
            return x
        return self.node("Mul", f"{path}/Mul", x, self.constant(math.sqrt(c.width), self.dtype))

    def head_norm(self, x, scale, width, path):
        """RMS norm of each head of x [batch, sequence, width]."""
        size = self.config.head_size
        rows = self.node("Reshape", f"{path}/Reshape_1", x, self.constant([0, -1, size]))
        op = "SimplifiedLayerNormalization"
        scale = self.float_weight(scale, dotted(path, "layernorm.weight"))
        rows = self.norm(rows, scale, path, op, f"{path}/{op}/output_0")
        return self.node("Reshape", f"{path}/Reshape_2", rows, self.constant([0, -1, width]))

    def projections(self, x, layer, path):
        """q, k and v; or all in the first, the others left out."""
        c, w = self.config, self.weights
        matrices = {"q": w.query(layer), "k": w.key(layer), "v": w.value(layer)}
        biases = dict(zip("qkv", w.biases(layer))) if c.bias else {}
        if self.fused_qkv:
            matrices = {"qkv": np.concatenate(list(matrices.values()))}
            biases = {"qkv": np.concatenate(list(biases.values()))} if c.bias else {}
        parts = [self.linear(x, matrix, f"{path}/{name}_proj") for name, matrix in matrices.items()]
        for i, (name, bias) in enumerate(biases.items()):
            add = f"{path}/{name}_proj/Add"
            bias = self.float_weight(bias, dotted(add, "bias"))
            parts[i] = self.node("Add", add, parts[i], bias)
        if self.fused_qkv and c.qk_norm:
            sizes = self.constant([c.query_width, c.kv_width, c.kv_width])
            parts = self.node("Split", f"{path}/qkv_proj/Split", parts[0], sizes, outputs=3,
                              axis=-1)
        return (parts + [OPTIONAL, OPTIONAL])[:3]

    def attention(self, x, lengths, tables, layer):
        c, w, path = self.config, self.weights, f"/model/layers.{layer}/attn"
        q, k, v = self.projections(x, layer, path)
        norms, attributes = [], {}
        if c.qk_norm and self.fused_qk_norm:
            names = [dotted(path, f"{name}_norm.layernorm.weight") for name in "qk"]
            norms = [OPTIONAL, OPTIONAL, self.float_weight(w.query_norm(layer), names[0]),
                     self.float_weight(w.key_norm(layer), names[1])]
            attributes["qk_norm_epsilon"] = c.epsilon
        elif c.qk_norm:
            q = self.head_norm(q, w.query_norm(layer), c.query_width, f"{path}/q_norm")
            k = self.head_norm(k, w.key_norm(layer), c.kv_width, f"{path}/k_norm")
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        name = f"{path}/GroupQueryAttention"
        x, *_ = self.g.node(
            "GroupQueryAttention", q, k, v, *past, *lengths, *tables, OPTIONAL, OPTIONAL, OPTIONAL,
            *norms, name=name, out=[f"{name}/output_0", *present], domain=CONTRIB,
            num_heads=c.heads, kv_num_heads=c.kv_heads, scale=1 / math.sqrt(c.head_size),
            local_window_size=c.window_of(layer), softcap=c.softcap, do_rotary=1,
            rotary_interleaved=0, **attributes)
        return self.linear(x, w.output(layer), f"{path}/o_proj")

    def feed_forward(self, x, layer):
        w, path = self.weights, f"/model/layers.{layer}/mlp"
        gate = self.linear(x, w.gate(layer), f"{path}/gate_proj")
        up = self.linear(x, w.up(layer), f"{path}/up_proj")
        if self.config.gemma:
            active = self.node("Gelu", f"{path}/act_fn/FastGelu", gate, approximate="tanh")
        else:
            sigmoid = self.node("Sigmoid", f"{path}/act_fn/Sigmoid", gate)
            active = self.node("Mul", f"{path}/act_fn/Mul", gate, sigmoid)
        return self.linear(self.node("Mul", f"{path}/Mul", active, up), w.down(layer),
                           f"{path}/down_proj")

    def layer(self, normed, residual, lengths, tables, index):
        """(norm of the next layer's input, residual)"""
        c, path = self.config, f"/model/layers.{index}"
        x = self.attention(normed, lengths, tables, index)
        if c.gemma:
            x = self.layer_norm(x, f"{path}/post_attention_layernorm")
        between = "pre_feedforward_layernorm" if c.gemma else "post_attention_layernorm"
        x, residual = self.skip_norm(residual, x, f"{path}/{between}")
        x = self.feed_forward(x, index)
        if c.gemma:
            x = self.layer_norm(x, f"{path}/post_feedforward_layernorm")
        last = index + 1 == c.layers
        after = "final_norm_layernorm" if last else "input_layernorm"
        return self.skip_norm(residual, x, f"/model/layers.{index + 1}/{after}", last)

    def head(self, x):
        c = self.config
        if not c.final_softcap:
            return self.linear(x, self.weights.head(), "/lm_head", "logits")
        x = self.linear(x, self.weights.head(), "/lm_head")
        cap = self.constant(c.final_softcap, self.dtype)
        x = self.node("Div", "/lm_head/softcap/Div", x, cap)
        x = self.node("Tanh", "/lm_head/softcap/Tanh", x)
        return self.g.node("Mul", x, cap, name="/lm_head/softcap/Mul", out="logits")

    def caches(self, stem, length, add):
        for part in ("key", "value"):
            for layer in range(self.config.layers):
                add(f"{stem}.{layer}.{part}", self.element,
                    ["batch_size", self.config.kv_heads, length, "kv_cache_dim"])

    def model(self):
        c, g = self.config, self.g
        ids = g.input("input_ids", "i64", ["batch_size", "sequence_length"])
        mask = g.input("attention_mask", "i64", ["batch_size", "total_sequence_length"])
        self.caches("past_key_values", "past_sequence_length", g.input)
        lengths = self.lengths(mask)
        residual = self.embed(ids)
        x = self.layer_norm(residual, "/model/layers.0/input_layernorm")
        tables = [self.float_weight(table, name) for table, name in
                  zip(self.weights.rotary_tables(), ("cos_cache", "sin_cache"))]
        for layer in range(c.layers):
            x, residual = self.layer(x, residual, lengths, tables, layer)
        g.output(self.head(x), self.element, ["batch_size", "sequence_length", c.vocabulary])
        self.caches("present", "total_sequence_length", g.output)
        return g.model("onnxruntime-genai", ir_version=10)


def decoder(config, flavour="f32", spelling="genai", **options):
    """The ModelProto. Options: those of the spelling's class."""
    if config.gemma and FLAVOURS[flavour][1]:
        raise ValueError("Gemma's layout at f16 is not written: the builder casts around its norms")
    kind = {"genai": Genai, "standard": Standard}[spelling]
    return kind(config, flavour, **options).model()


def add_sizes(parser):
    for field in dataclasses.fields(Config):
        name = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(name, action="store_true", default=None)
        else:
            parser.add_argument(name, type=field.type)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT.onnx")
    parser.add_argument("--flavour", choices=FLAVOURS, default="f32")
    parser.add_argument("--spelling", choices=["genai", "standard"], default="genai")
    parser.add_argument("--zero-points", action="store_true", help="codes of 0 to 15 or 255")
    parser.add_argument("--accuracy-level", type=int, default=4)
    parser.add_argument("--separate-qkv", action="store_true", help="three products, not one")
    parser.add_argument("--bench", action="store_true", help="the size of the speed goals")
    parser.add_argument("--external-data", action="store_true", help="weights in OUT.onnx.data")
    add_sizes(parser)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    given = {field.name: value for field in dataclasses.fields(Config)
             if (value := getattr(arguments, field.name)) is not None}
    sizes = (BENCH if arguments.bench else {}) | (GEMMA if arguments.gemma else {}) | given
    options = {"zero_points": arguments.zero_points}
    if arguments.spelling == "genai":
        options |= {"accuracy_level": arguments.accuracy_level,
                    "fused_qkv": not arguments.separate_qkv}
    model = decoder(Config(**sizes), arguments.flavour, arguments.spelling, **options)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save(model, arguments.out, arguments.external_data)


if __name__ == "__main__":
    main()
