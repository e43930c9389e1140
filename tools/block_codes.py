"""Rounds weights to 4 or 8 bits in blocks, exactly as onnxruntime's quantiser does (the one that
the model builder of onnxruntime-genai calls), and lays them out as MatMulNBits and as
DequantizeLinear want them.
"""
import numpy as np


def quantize(weight, bits, block=32, symmetric=True):
    """f32 [N, K], K a multiple of the block, to codes u8 [N, blocks, block], scales f32 [N, blocks]
    and zero points u8 [N, blocks]; weight ~ (code - zero point) * scale.

    Symmetric: the zero point is 2^(bits-1), and the element of largest magnitude becomes code 0, so
    that scales may be negative."""
    rows, depth = weight.shape
    blocks = weight.reshape(rows, depth // block, block)
    largest = 2**bits - 1
    if symmetric:
        at = np.abs(blocks).argmax(-1, keepdims=True)
        scales = np.take_along_axis(blocks, at, -1)[..., 0] / np.float32(-(2**(bits - 1)))
        zeros = np.full(scales.shape, 2**(bits - 1), np.float32)
    else:
        low = np.minimum(blocks.min(-1), 0)
        scales = (np.maximum(blocks.max(-1), 0) - low) / np.float32(largest)
        zeros = np.clip(np.rint(-low / _no_zero(scales)), 0, largest)
    codes = np.rint(blocks / _no_zero(scales)[..., None]) + zeros[..., None]
    codes = np.clip(codes, 0, largest).astype(np.uint8)
    return codes, scales, zeros.astype(np.uint8)


def _no_zero(scales):
    return np.where(scales == 0, np.float32(1), scales)


def dequantize(codes, scales, zeros):
    """f32 [N, K]."""
    values = (codes.astype(np.float32) - zeros[..., None].astype(np.float32)) * scales[..., None]
    return values.reshape(codes.shape[0], -1)


def pack(codes, bits):
    """Codes along the last axis to bytes: at 4 bits two a byte, the first in the low half; a row of
    odd length is filled up with 0."""
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], -1)
    return codes[..., 0::2] | codes[..., 1::2] << 4
