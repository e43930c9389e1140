"""Quantised weights and activations: the operators of onnxruntime's own domain and the standard
ones, in every option that Weft runs."""
import numpy as np

from onnx_build import Graph

from .base import Case, case, random, rng_for

MICROSOFT = "com.microsoft"


def ms(g, op, *inputs, **attributes):
    g.domains[MICROSOFT] = 1
    return g.node(op, *inputs, domain=MICROSOFT, **attributes)


# ---- blocks of few bits --------------------------------------------------------------------------

def pack(codes, bits):
    """Codes along the last axis into bytes, the lowest bits first."""
    each = 8 // bits
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % each)])
    codes = codes.reshape(*codes.shape[:-1], -1, each).astype(np.uint32)
    return (codes << (bits * np.arange(each))).sum(-1).astype(np.uint8)


def nbits_weight(g, rng, k, n, bits, block, zeros, element):
    """[codes, scales, zero points]: names of the inputs of MatMulNBits."""
    blocks = -(-k // block)
    codes = rng.integers(0, 2**bits, (n, blocks, block))
    scales = random(rng, [n, blocks], element) / np.float32(2**bits)
    inputs = [g.weight(pack(codes, bits)), g.weight(scales.astype(scales.dtype))]
    if zeros == "codes":
        inputs.append(g.weight(pack(rng.integers(0, 2**bits, (n, blocks)), bits)))
    if zeros == "floats":
        middle = rng.integers(0, 2**bits, (n, blocks)) + 0.25
        inputs.append(g.weight(middle.astype(scales.dtype)))
    return inputs


def nbits_case(name, k, n, bits, block, zeros=None, bias=False, level=1, shapes=None,
               element="f32", tolerance="f32"):
    rng = rng_for(name)
    g = Graph(name.split("/")[-1])
    rank = len(shapes[0])
    x = g.input("x", element, [f"d{i}" for i in range(rank - 1)] + [k])
    inputs = nbits_weight(g, rng, k, n, bits, block, zeros, element)
    if bias:
        inputs += [""] * (4 - len(inputs)) + [g.weight(random(rng, [n], element))]
    g.output(ms(g, "MatMulNBits", x, *inputs, K=k, N=n, bits=bits, block_size=block,
                accuracy_level=level), element)
    feeds = [{"x": random(rng, shape, element)} for shape in shapes]
    return Case(name, g.model(), feeds, tolerance)


def matmul_nbits():
    """Every width, block and kind of zero points; K that fills its last block and not."""
    for bits in (2, 4, 8):
        for block in (16, 32, 128):
            for zeros in (None, "codes") + (("floats",) if bits == 4 else ()):
                k = block * 2
                name = f"quantized/nbits{bits}_block{block}_{zeros or 'symmetric'}"
                yield nbits_case(name, k, 24, bits, block, zeros, shapes=[[1, k], [5, k]])
    for bits, k, n in [(4, 40, 7), (4, 96, 1), (8, 40, 7), (8, 17, 33), (2, 72, 9)]:
        yield nbits_case(f"quantized/nbits{bits}_odd_{k}x{n}", k, n, bits, 32, "codes",
                         shapes=[[2, 3, k], [1, 1, k]])
    yield nbits_case("quantized/nbits4_bias", 64, 40, 4, 32, "codes", bias=True,
                     shapes=[[2, 3, 64]])
    yield nbits_case("quantized/nbits8_bias_symmetric", 64, 40, 8, 32, bias=True,
                     shapes=[[2, 3, 64]])


def matmul_nbits_of_8_bit_rows():
    """Levels at which rows may be rounded to 8 bits."""
    for level in (0, 4):
        for bits in (4, 8):
            yield nbits_case(f"quantized/nbits{bits}_level{level}", 256, 64, bits, 32, "codes",
                             level=level, shapes=[[1, 256], [9, 256]], tolerance="8-bit rows")


def gather_block_quantized():
    for bits in (4, 8):
        for zeros in (False, True):
            name = f"quantized/gather{bits}{'_zeros' if zeros else ''}"
            rng = rng_for(name)
            rows, width, block = 50, 96, 32
            codes = rng.integers(0, 2**bits, (rows, width))
            scales = random(rng, [rows, width // block])
            points = rng.integers(0, 2**bits, (rows, width // block))

            def build(g, indices):
                inputs = [g.weight(pack(codes, bits)), indices, g.weight(scales)]
                if zeros:
                    inputs.append(g.weight(pack(points, bits)))
                return ms(g, "GatherBlockQuantized", *inputs, bits=bits, block_size=block,
                          gather_axis=0, quantize_axis=1)

            yield case(name, build, *[[rng.integers(-rows, rows, shape)]
                                      for shape in ([1, 1], [2, 7])], tolerance="exact")


# ---- standard operators --------------------------------------------------------------------------

CODES = {"u8": (0, 256), "i8": (-128, 128), "u16": (0, 65536), "i16": (-32768, 32768)}


def some_codes(rng, shape, element):
    from .base import NUMPY
    return rng.integers(*CODES[element], shape).astype(NUMPY[element])


def weight_codes(rng, shape, element):
    """Signed ones of 7 bits: onnxruntime's product of u8 and i8 saturates pairs at 16 bits where
    the processor has no better instruction."""
    codes = some_codes(rng, shape, element)
    return codes // 2 if element == "i8" else codes


# how scales lie along x [4,6,5]: shape of the scales, attributes
GRIDS = {"all": ([], {}), "one": ([1], {}), "axis1": ([6], {"axis": 1}),
         "axis0": ([4], {"axis": 0}), "last": ([5], {"axis": -1}),
         "blocks": ([4, 3, 5], {"axis": 1, "block_size": 2}),
         "odd_blocks": ([4, 2, 5], {"axis": 1, "block_size": 4}),
         "last_blocks": ([4, 6, 1], {"axis": -1, "block_size": 5})}


def scales_of(rng, shape):
    return (np.abs(random(rng, shape)) + np.float32(0.1)).astype(np.float32)


def quantize_linear():
    for label, (shape, attributes) in GRIDS.items():
        for element in ("u8", "i8", "u16", "i16"):
            for zeros in (False, True) if element == "u8" else (True,):
                name = f"quantized/quantize_{label}_{element}{'' if zeros else '_no_zero'}"
                rng = rng_for(name)
                scales, points = scales_of(rng, shape), some_codes(rng, shape, element)

                def build(g, x):
                    inputs = [x, g.weight(scales)] + ([g.weight(points)] if zeros else [])
                    return g.QuantizeLinear(*inputs, **attributes), element

                x = random(rng, [4, 6, 5]) * np.float32(40)
                x.flat[:2] = [1e6, -1e6]  # beyond every code
                yield case(name, build, [x], tolerance="exact", opset=21)


def halves():
    """Ties go to the even code."""
    x = (np.arange(-40, 40) / 2).astype(np.float32)
    yield case("quantized/quantize_ties", lambda g, x: (
        g.QuantizeLinear(x, g.constant(1), g.constant(3, np.int8)), "i8"), [x], tolerance="exact",
        opset=13)


def dequantize_linear():
    for label, (shape, attributes) in GRIDS.items():
        for element in ("u8", "i8", "u16", "i16"):
            for zeros in (False, True):
                name = f"quantized/dequantize_{label}_{element}{'' if zeros else '_no_zero'}"
                rng = rng_for(name)
                scales, points = scales_of(rng, shape), some_codes(rng, shape, element)

                def build(g, x):
                    inputs = [x, g.weight(scales)] + ([g.weight(points)] if zeros else [])
                    return g.DequantizeLinear(*inputs, **attributes)

                yield case(name, build, [some_codes(rng, [4, 6, 5], element)], tolerance="exact",
                           opset=21)
    rng = rng_for("quantized/dequantize_i32")
    yield case("quantized/dequantize_i32", lambda g, x: g.DequantizeLinear(x, g.constant(0.01)),
               [rng.integers(-10**5, 10**5, (3, 4)).astype(np.int32)], tolerance="exact", opset=13)


def four_bits(rng, shape, signed, name):
    """A TensorProto of 4-bit integers, two in a byte."""
    from onnx import TensorProto
    codes = rng.integers(0, 16, int(np.prod(shape)))
    return TensorProto(name=name, dims=shape, raw_data=pack(codes, 4).tobytes(),
                       data_type=TensorProto.INT4 if signed else TensorProto.UINT4)


def dequantize_4_bits():
    """Constants of 4-bit integers [6,8], as weights in the form of QDQ."""
    grids = {"all": ([], {}), "axis0": ([6], {"axis": 0}), "axis1": ([8], {"axis": 1}),
             "blocks0": ([2, 8], {"axis": 0, "block_size": 3}),
             "blocks1": ([6, 2], {"axis": 1, "block_size": 4})}
    for label, (shape, attributes) in grids.items():
        for signed in (False, True):
            for zeros in (False, True):
                name = (f"quantized/dequantize_{'i4' if signed else 'u4'}_{label}"
                        f"{'' if zeros else '_no_zero'}")
                rng = rng_for(name)
                scales = scales_of(rng, shape)
                codes = four_bits(rng, [6, 8], signed, "codes")
                points = four_bits(rng, shape, signed, "points")

                def build(g, x):
                    inputs = [g.initializer(codes), g.weight(scales)]
                    inputs += [g.initializer(points)] if zeros else []
                    return g.MatMul(x, g.DequantizeLinear(*inputs, **attributes))

                yield case(name, build, [random(rng, [3, 6])], opset=21)


def dynamic_quantize():
    rng = rng_for("quantized/dynamic")
    feeds = [random(rng, [3, 7]), np.abs(random(rng, [2, 5])), -np.abs(random(rng, [4, 2])),
             np.zeros((1, 3), np.float32)]
    yield case("quantized/dynamic", lambda g, x: list(zip(
        g.DynamicQuantizeLinear(x, outputs=3), ["u8", "f32", "u8"])), *[[x] for x in feeds],
        tolerance="exact")


def matmul_integer():
    """Zero points of every form and type."""
    for a in ("u8", "i8"):
        for b in ("u8", "i8"):
            for zeros in ("none", "a", "both", "columns"):
                if a == "i8" and b == "u8":
                    continue  # onnxruntime does not have it
                name = f"quantized/matmul_integer_{a}_{b}_{zeros}"
                rng = rng_for(name)
                weight = weight_codes(rng, [9, 5], b)

                def build(g, x):
                    inputs = [x, g.weight(weight)]
                    if zeros != "none":
                        inputs.append(g.weight(some_codes(rng, [], a)))
                    if zeros in ("both", "columns"):
                        shape = [5] if zeros == "columns" else []
                        inputs.append(g.weight(some_codes(rng, shape, b)))
                    return g.MatMulInteger(*inputs), "i32"

                yield case(name, build, *[[some_codes(rng, shape, a)]
                                          for shape in ([1, 9], [7, 9])], tolerance="exact")


def dynamic_linear():
    """A linear layer of a model quantised dynamically, as the exporter writes it and as onnxruntime
    joins it."""
    for b in ("u8", "i8"):
        for columns in (False, True):
            for joined in (False, True):
                name = (f"quantized/linear_{b}{'_columns' if columns else ''}"
                        f"{'_joined' if joined else ''}")
                rng = rng_for(name)
                shape = [6] if columns else []
                weight, point = weight_codes(rng, [12, 6], b), some_codes(rng, shape, b)
                scale, bias = scales_of(rng, shape), random(rng, [6])

                def build(g, x):
                    w, s, z, c = (g.weight(array) for array in (weight, scale, point, bias))
                    if joined:
                        return ms(g, "DynamicQuantizeMatMul", x, w, s, z, c)
                    codes, x_scale, x_point = g.DynamicQuantizeLinear(x, outputs=3)
                    product = g.Cast(g.MatMulInteger(codes, w, x_point, z), to=1)
                    return g.Add(g.Mul(product, g.Mul(x_scale, s)), c)

                feeds = [[random(rng, shape)] for shape in ([1, 1, 12], [2, 3, 12])]
                yield case(name, build, *feeds, tolerance="8-bit rows")


def matmul_integer_to_float():
    for bias in (False, True):
        name = f"quantized/integer_to_float{'_bias' if bias else ''}"
        rng = rng_for(name)
        weight, offset = some_codes(rng, [12, 6], "u8"), random(rng, [6])

        def build(g, x):
            inputs = [x, g.weight(weight), g.constant(0.02), g.constant(0.3),
                      g.constant(120, np.uint8), g.constant(130, np.uint8)]
            return ms(g, "MatMulIntegerToFloat", *inputs, *([g.weight(offset)] if bias else []))

        yield case(name, build, [some_codes(rng, [4, 12], "u8")])


def qlinear_matmul():
    for label, columns in (("all", False), ("columns", True)):
        name = f"quantized/qlinear_{label}"
        rng = rng_for(name)
        shape = [5] if columns else []
        weight, point = weight_codes(rng, [9, 5], "i8"), np.zeros(shape, np.int8)
        scale = scales_of(rng, shape) / np.float32(100)

        def build(g, x):
            a = [g.constant(0.05), g.constant(110, np.uint8)]
            b = [g.weight(weight), g.weight(scale), g.weight(point)]
            return g.QLinearMatMul(x, *a, *b, g.constant(0.7), g.constant(100, np.uint8)), "u8"

        yield case(name, build, [some_codes(rng, [7, 9], "u8")], tolerance="exact")


CASES = [matmul_nbits, matmul_nbits_of_8_bit_rows, gather_block_quantized, quantize_linear, halves,
         dequantize_linear, dequantize_4_bits, dynamic_quantize, matmul_integer, dynamic_linear,
         matmul_integer_to_float, qlinear_matmul]
