"""Random graphs from fixed seeds: elementwise DAGs with shared values, chains of views, and both
around matmuls."""
import numpy as np

from .base import case, random, rng_for

UNARY = ["Tanh", "Sigmoid", "Abs", "Neg", "Relu", "Erf", "Softplus"]
BINARY = ["Add", "Sub", "Mul", "Min", "Max"]


def i64(g, values):
    return g.constant(list(map(int, values)), np.int64)


def random_elementwise(rng, g, values, count):
    """`count` nodes over what is there; recent values are preferred."""
    values = list(values)
    for _ in range(count):
        pick = [values[-1 - min(int(rng.exponential(3)), len(values) - 1)] for _ in range(2)]
        if rng.random() < 0.5:
            values.append(g.node(str(rng.choice(UNARY)), pick[0]))
        else:
            values.append(g.node(str(rng.choice(BINARY)), *pick))
    return values


def elementwise_graphs():
    for seed in range(20):
        name = f"random/elementwise_{seed}"
        rng = rng_for(name)
        shapes = [[1, 1, 5], [4, 1], [3, 4, 5], [5]]

        def build(g, *inputs):
            made = random_elementwise(rng, g, inputs, 25)[len(inputs):]
            picked = sorted(set(rng.choice(len(made), 3)) | {len(made) - 1})
            return [made[i] for i in picked]

        yield case(name, build, [random(rng, shape) for shape in shapes], tolerance="deep")


def random_view(rng, g, value, shape):
    """One view node; answers the new value and shape."""
    kind = rng.choice(["transpose", "merge", "split", "slice", "expand", "unsqueeze"])
    if kind == "transpose":
        perm = rng.permutation(len(shape))
        return g.Transpose(value, perm=list(map(int, perm))), [shape[i] for i in perm]
    if kind == "merge" and len(shape) > 1:
        at = rng.integers(len(shape) - 1)
        shape = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2:]]
        return g.Reshape(value, i64(g, shape)), shape
    even = [i for i, size in enumerate(shape) if size % 2 == 0 and size]
    if kind == "split" and even and len(shape) < 6:
        at = int(rng.choice(even))
        shape = [*shape[:at], 2, shape[at] // 2, *shape[at + 1:]]
        return g.Reshape(value, i64(g, shape)), shape
    if kind == "slice":
        return random_slice(rng, g, value, shape)
    if kind == "expand" and 1 in shape:
        at = shape.index(1)
        shape = [*shape[:at], 3, *shape[at + 1:]]
        return g.Expand(value, i64(g, shape)), shape
    if kind == "unsqueeze" and len(shape) < 6:
        at = int(rng.integers(len(shape) + 1))
        return g.Unsqueeze(value, i64(g, [at])), [*shape[:at], 1, *shape[at:]]
    return value, shape


def random_slice(rng, g, value, shape):
    axis = int(rng.integers(len(shape)))
    size = shape[axis]
    if size < 2:
        return value, shape
    step = int(rng.choice([1, 1, 2, -1, -2]))
    start, end = (0, size - 1) if step > 0 else (size - 1, -(size + 1))
    kept = len(range(size)[start:end if step > 0 else None:step])
    value = g.Slice(value, i64(g, [start]), i64(g, [end]), i64(g, [axis]), i64(g, [step]))
    return value, [*shape[:axis], kept, *shape[axis + 1:]]


def view_chains():
    """Views of views, with an elementwise op now and then so that some are read with strides."""
    for seed in range(30):
        name = f"random/views_{seed}"
        rng = rng_for(name)

        def build(g, x):
            value, shape, outputs = x, [4, 6, 1, 5], []
            for step in range(10):
                value, shape = random_view(rng, g, value, shape)
                if step % 4 == 3:
                    value = g.Add(g.Neg(value), g.constant(step))
                    outputs.append(value)
            return [*outputs, g.Identity(value)]

        yield case(name, build, [random(rng, [4, 6, 1, 5])], tolerance="exact")


def view_matmuls():
    """A chain of views in front of either operand of a matmul, a reduction and a softmax."""
    for seed in range(20):
        name = f"random/view_consumers_{seed}"
        rng = rng_for(name)

        def build(g, x):
            value, shape = x, [4, 6, 5]
            for _ in range(4):
                value, shape = random_view(rng, g, value, shape)
            inner = shape[-1]
            right = g.MatMul(value, g.weight(random(rng, [inner, 7])))
            rest = list(range(len(shape) - 2)) + [len(shape) - 1, len(shape) - 2]
            outputs = [right, g.Softmax(value, axis=-1), g.ReduceMax(value, axes=[0])]
            if len(shape) > 1:
                outputs.append(g.MatMul(value, g.Transpose(value, perm=rest)))
            return outputs

        yield case(name, build, [random(rng, [4, 6, 5])], tolerance="f32")


def mixed_nets():
    """Blocks picked at random: dense, norm, softmax, elementwise tangles, residuals, concat and
    split."""
    for seed in range(20):
        name = f"random/net_{seed}"
        rng = rng_for(name)

        def build(g, x):
            width, earlier = 8, x
            for _ in range(8):
                before = x
                x = random_block(rng, g, x, width)
                if rng.random() < 0.4:
                    x = g.Add(x, before)
                if rng.random() < 0.2:
                    x = g.Add(earlier, x)
                    earlier = before
            return x

        feeds = [[random(rng, [2, n, 8])] for n in (1, 4, 21)]
        yield case(name, build, *feeds, tolerance="deep")


def random_block(rng, g, x, width):
    """x [.., width] to the same shape, through one block."""
    def dense(value, rows, columns):
        w = g.weight(random(rng, [rows, columns]) / np.float32(np.sqrt(rows)))
        return g.Add(g.MatMul(value, w), g.weight(random(rng, [columns])))

    kind = rng.integers(6)
    if kind == 0:
        return dense(g.Relu(dense(x, width, 19)), 19, width)
    if kind == 1:
        return g.LayerNormalization(x, g.weight(random(rng, [width])), epsilon=1e-3)
    if kind == 2:
        return g.Softmax(x, axis=int(rng.choice([-1, -2])))
    if kind == 3:
        return random_elementwise(rng, g, [x, dense(x, width, width)], 6)[-1]
    if kind == 4:
        left, right = g.Split(x, axis=-1, outputs=2)
        return g.Concat(g.Mul(left, g.Sigmoid(right)), g.Tanh(left), axis=-1)
    scores = g.MatMul(x, g.Transpose(x, perm=[0, 2, 1]))
    return g.MatMul(g.Softmax(g.Mul(scores, g.constant(0.3)), axis=-1), x)


CASES = [elementwise_graphs, view_chains, view_matmuls, mixed_nets]
