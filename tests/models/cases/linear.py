"""MatMul and Gemm: batches, vectors, transposes, biases, epilogues."""
import itertools

from .base import case, random, rng_for


def gemms():
    """All transposes, alpha and beta, and every shape that C may have; M is dynamic."""
    m, k, n = 7, 5, 11
    c_shapes = {"none": None, "scalar": [], "n": [n], "1n": [1, n], "m1": [m, 1], "mn": [m, n]}
    for trans_a, trans_b in itertools.product((0, 1), repeat=2):
        for label, c_shape in c_shapes.items():
            for weights in (False, True):
                name = f"gemm/{trans_a}{trans_b}_{label}{'_weights' * weights}"
                rng = rng_for(name)
                alpha, beta = (1.0, 1.0) if weights else (0.5, 2.0)
                b = random(rng, [n, k] if trans_b else [k, n])
                c = None if c_shape is None else random(rng, c_shape)

                def build(g, a, *rest):
                    if weights:
                        rest = [g.weight(array) for array in (b, c) if array is not None]
                    return g.Gemm(a, *rest, transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)

                rows = [m] if label in ("m1", "mn") else [1, m, 50]
                feeds = [[random(rng, [k, r] if trans_a else [r, k])] for r in rows]
                if not weights:
                    feeds = [feed + [x for x in (b, c) if x is not None] for feed in feeds]
                yield case(name, build, *feeds)


MATMUL_SHAPES = [([4, 6], [6, 5]), ([6], [6, 5]), ([4, 6], [6]), ([6], [6]), ([2, 4, 6], [6, 5]),
                 ([2, 4, 6], [2, 6, 5]), ([2, 1, 4, 6], [3, 6, 5]), ([4, 6], [2, 6, 5]),
                 ([6], [2, 3, 6, 5]), ([2, 3, 4, 6], [6]), ([1, 1], [1, 1]), ([0, 6], [6, 5]),
                 ([3, 0], [0, 4]), ([2, 5, 1], [1, 7]), ([3, 1, 1, 8], [8, 1]),
                 ([1, 300], [300, 1]), ([70, 3], [3, 70]), ([5, 2, 9, 17], [5, 2, 17, 33])]


def matmuls():
    for a, b in MATMUL_SHAPES:
        for weight in ("", "b", "a"):
            name = f"matmul/{'x'.join(map(str, a))}_{'x'.join(map(str, b))}{weight}"
            rng = rng_for(name)
            left, right = random(rng, a), random(rng, b)
            if weight == "b":
                yield case(name, lambda g, x: g.MatMul(x, g.weight(right)), [left])
            elif weight == "a":
                yield case(name, lambda g, x: g.MatMul(g.weight(left), x), [right])
            else:
                yield case(name, lambda g, x, y: g.MatMul(x, y), [left, right])


def transposed_operands():
    """The transposes may become strides of the operands."""
    perms = {"last": [0, 1, 3, 2], "heads": [0, 2, 1, 3], "key": [0, 2, 3, 1],
             "front": [1, 0, 2, 3]}
    for (left, perm_a), (right, perm_b) in itertools.product(perms.items(), repeat=2):
        name = f"matmul/transposed_{left}_{right}"
        rng = rng_for(name)
        a, b = [2, 3, 4, 6], [2, 3, 6, 5]  # after the transposes
        feeds = [random(rng, [shape[perm.index(i)] for i in range(4)])
                 for shape, perm in ((a, perm_a), (b, perm_b))]
        yield case(name, lambda g, x, y: g.MatMul(g.Transpose(x, perm=perm_a),
                                                  g.Transpose(y, perm=perm_b)), feeds)


def epilogues():
    """What may be fused behind a matmul, and what looks like it but must not be."""
    rng = rng_for("epilogues")
    w, bias = random(rng, [10, 12]), random(rng, [12])
    x = [[random(rng, [2, n, 10])] for n in (1, 3, 20)]
    residual = [feed + [random(rng, [2, feed[0].shape[1], 12])] for feed in x]

    def product(g, value):
        return g.MatMul(value, g.weight(w))

    builds = {
        "bias_first": lambda g, v: g.Add(g.weight(bias), product(g, v)),
        "bias_relu": lambda g, v: g.Relu(g.Add(product(g, v), g.weight(bias))),
        "two_biases": lambda g, v: g.Add(g.Add(product(g, v), g.weight(bias)), g.weight(bias * 2)),
        "scale": lambda g, v: g.Mul(product(g, v), g.constant(0.125)),
        "row_bias": lambda g, v: g.Add(product(g, v), g.weight(random(rng, [2, 1, 1]))),
        "wide_bias": lambda g, v: g.Add(product(g, v), g.weight(random(rng, [3, 2, 1, 12]))),
        "product_out": lambda g, v: _both(g, product(g, v), g.weight(bias)),
        "self": lambda g, v: _square(g, product(g, v)),
    }
    for name, build in builds.items():
        yield case(f"epilogue/{name}", build, *x)
    yield case("epilogue/residual",
               lambda g, v, r: g.Add(g.Add(product(g, v), g.weight(bias)), r), *residual)
    yield case("epilogue/residual_first",
               lambda g, v, r: g.Add(r, g.Relu(g.Add(g.weight(bias), product(g, v)))), *residual)


def _both(g, product, bias):
    return [product, g.Add(product, bias)]


def _square(g, product):
    return g.Mul(product, product)


def shared_weight():
    """One weight for three matmuls, once transposed (tied embeddings), once gathered from."""
    rng = rng_for("shared_weight")

    def build(g, x, ids):
        w = g.weight(random(rng, [8, 8]))
        y = g.MatMul(g.MatMul(x, w), g.Transpose(w, perm=[1, 0]))
        return g.MatMul(g.Add(y, g.Gather(w, ids)), w)

    feeds = [[random(rng, [n, 8]), rng.integers(0, 8, [n])] for n in (1, 9)]
    yield case("matmul/shared_weight", build, *feeds)


def three_projections():
    """Query, key and value from one input: candidates for one wider matmul."""
    rng = rng_for("three_projections")

    def build(g, x):
        q, k, v = (g.Add(g.MatMul(x, g.weight(random(rng, [16, 16]))), g.weight(random(rng, [16])))
                   for _ in range(3))
        return [g.Mul(g.Add(q, k), v), q]

    yield case("matmul/three_projections", build,
               *[[random(rng, [2, n, 16])] for n in (1, 5, 30)])


CASES = [gemms, matmuls, transposed_operands, epilogues, shared_weight, three_projections]
