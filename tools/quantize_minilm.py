#!/usr/bin/env python3
"""Writes a model with fewer bits, by onnxruntime's own tools: its products with 8-bit weights, or
all of it as f16.

    tools/quantize_minilm.py MODEL.onnx OUT.onnx                  dynamic: DynamicQuantizeLinear,
                                                                  MatMulInteger, Cast, Mul
    tools/quantize_minilm.py MODEL.onnx OUT.onnx --per-channel    with a scale for each column
    tools/quantize_minilm.py MODEL.onnx OUT.onnx --reduce-range   weights of 7 bits, with which
                                                                  onnxruntime never saturates
    tools/quantize_minilm.py MODEL.onnx OUT.onnx --qdq tokenizer.json
        QuantizeLinear and DequantizeLinear around each product, with scales of activations from the
        project's own text
    tools/quantize_minilm.py MODEL.onnx OUT.onnx --f16            all but inputs and outputs
"""
import argparse
import logging
import pathlib

import numpy as np
import onnx
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                      quantize_dynamic, quantize_static)
from onnxruntime.transformers.float16 import convert_float_to_float16

ROOT = pathlib.Path(__file__).resolve().parent.parent
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


class Texts(CalibrationDataReader):
    """The paragraphs of README.md, one at a time."""

    def __init__(self, tokenizer_path):
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(tokenizer_path))
        tokenizer.enable_truncation(128)
        tokenizer.no_padding()
        paragraphs = (ROOT / "README.md").read_text().split("\n\n")
        self.encoded = iter(tokenizer.encode_batch([text for text in paragraphs if text.strip()]))

    def get_next(self):
        encoded = next(self.encoded, None)
        if encoded is None:
            return None
        columns = encoded.ids, encoded.attention_mask, encoded.type_ids
        return {name: np.array([column]) for name, column in zip(INPUTS, columns)}


def products_of_activations(path):
    """Names of the MatMul nodes without a weight."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [node.name for node in graph.node
            if node.op_type == "MatMul" and node.input[1] not in weights]


def to_f16(model):
    """As Transformers.js and Optimum publish models."""
    return convert_float_to_float16(model, keep_io_types=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL.onnx")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT.onnx")
    parser.add_argument("--per-channel", action="store_true", help="a scale for each column")
    parser.add_argument("--reduce-range", action="store_true", help="weights of 7 bits")
    parser.add_argument("--f16", action="store_true", help="no 8-bit products, all as f16")
    parser.add_argument("--qdq", type=pathlib.Path, metavar="TOKENIZER")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # it recommends shape inference, which is of no use here
    common = {"per_channel": arguments.per_channel, "reduce_range": arguments.reduce_range,
              "weight_type": QuantType.QInt8}
    if arguments.f16:
        onnx.save(to_f16(onnx.load(arguments.model)), arguments.out)
    elif arguments.qdq:
        quantize_static(arguments.model, arguments.out, Texts(arguments.qdq),
                        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
                        op_types_to_quantize=["MatMul"],
                        nodes_to_exclude=products_of_activations(arguments.model), **common)
    else:
        quantize_dynamic(arguments.model, arguments.out, **common)


if __name__ == "__main__":
    main()
