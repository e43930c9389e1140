// onnx.mjs - small models for the tests beside it: model({inputs, outputs, nodes, ...}).
import { model, types } from "../../web/examples/bench/onnx.js";

export { model, types };

/** y = x @ w + b, with x of [rows, 3] and y of [rows, 2]. */
export function linear(metadata) {
  return model({
    inputs: [["x", "float32", ["rows", 3]]],
    outputs: [["y", "float32", ["rows", 2]]],
    nodes: [
      ["MatMul", ["x", "w"], ["xw"]],
      ["Add", ["xw", "b"], ["y"]],
    ],
    weights: [
      ["w", "float32", [3, 2], new Float32Array([1, 2, 3, 4, 5, 6])],
      ["b", "float32", [2], new Float32Array([0.5, -0.5])],
    ],
    metadata,
  });
}

/** y = x + b, with b of [4] in the external file. */
export function withExternalData(location) {
  return model({
    inputs: [["x", "float32", [4]]],
    outputs: [["y", "float32", [4]]],
    nodes: [["Add", ["x", "b"], ["y"]]],
    weights: [["b", "float32", [4], { location, offset: 16, length: 16 }]],
  });
}
/** The file's bytes: b is [1, 2, 3, 4]. */
export const externalData = () => new Uint8Array(new Float32Array([9, 9, 9, 9, 1, 2, 3, 4]).buffer);

/** y = x, of one type and any shape of rank 2. */
export function identity(type) {
  return model({
    inputs: [["x", type, ["a", "b"]]],
    outputs: [["y", type, ["a", "b"]]],
    nodes: [["Identity", ["x"], ["y"]]],
  });
}

/** A cache of rows: present = past and k behind it, sum = the sum over its rows. */
export function cache(type = "float32") {
  return model({
    inputs: [
      ["past", type, ["batch", 2, "past", 3]],
      ["k", type, ["batch", 2, "step", 3]],
    ],
    outputs: [
      ["present", type, ["batch", 2, "total", 3]],
      ["sum", type, ["batch", 2, 3]],
    ],
    nodes: [
      ["Concat", ["past", "k"], ["present"], { axis: 2 }],
      ["ReduceSum", ["present", "rows"], ["sum"], { keepdims: 0 }],
    ],
    weights: [["rows", "int64", [1], new BigInt64Array([2n])]],
  });
}

/** y = softmax(gelu(x @ w) @ v) over rows of 256, large enough for threads to share each step. */
export function wide() {
  const weight = (name, dims, seed) => [
    name,
    "float32",
    dims,
    Float32Array.from({ length: dims[0] * dims[1] }, (_, i) => Math.sin(i * seed) / 8),
  ];
  return model({
    inputs: [["x", "float32", ["rows", 256]]],
    outputs: [["y", "float32", ["rows", 256]]],
    nodes: [
      ["MatMul", ["x", "w"], ["up"]],
      ["Erf", ["up"], ["erf"]],
      ["Mul", ["up", "erf"], ["gated"]],
      ["MatMul", ["gated", "v"], ["down"]],
      ["Softmax", ["down"], ["y"], { axis: -1 }],
    ],
    weights: [weight("w", [256, 600], 0.7), weight("v", [600, 256], 1.3)],
  });
}

/** y = softmax((a @ b) / 8) + c: sums, a product in between, and negative axes. */
export function mixed() {
  return model({
    inputs: [
      ["a", "float32", ["batch", "m", 5]],
      ["b", "float32", [5, 4]],
      ["ids", "int64", ["m"]],
    ],
    outputs: [
      ["y", "float32", ["batch", "m", 4]],
      ["rows", "float32", ["m", 4]],
      ["shape", "int64", [3]],
    ],
    nodes: [
      ["MatMul", ["a", "b"], ["ab"]],
      ["Div", ["ab", "eight"], ["scaled"]],
      ["Softmax", ["scaled"], ["probabilities"], { axis: -1 }],
      ["Gather", ["table", "ids"], ["rows"]],
      ["Add", ["probabilities", "rows"], ["y"]],
      ["Shape", ["y"], ["shape"]],
    ],
    weights: [
      ["eight", "float32", [], new Float32Array([8])],
      ["table", "float32", [6, 4], Float32Array.from({ length: 24 }, (_, i) => Math.sin(i))],
    ],
  });
}
