// onnx.mjs - small ONNX files, written byte by byte: model({inputs, outputs, nodes, ...}).

const encoder = new TextEncoder();

function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
/** A field with an integer, or with bytes, a string or a message. */
function field(number, value) {
  if (typeof value === "number" || typeof value === "bigint")
    return [...varint(number * 8), ...varint(value)];
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
}
const fields = (number, values) => values.flatMap((value) => field(number, value));

/** Numbers of TensorProto.DataType. */
export const types = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
};

/** ValueInfoProto; dims are numbers or names. */
function valueInfo([name, type, dims]) {
  const shape = dims.flatMap((dim) => field(1, field(typeof dim === "string" ? 2 : 1, dim)));
  const tensorType = [...field(1, types[type]), ...field(2, shape)];
  return [...field(1, name), ...field(2, field(1, tensorType))];
}

/** AttributeProto of an integer or integers. */
function attribute([name, value]) {
  return Array.isArray(value)
    ? [...field(1, name), ...fields(8, value), ...field(20, 7)]
    : [...field(1, name), ...field(3, value), ...field(20, 2)];
}

function node([op, inputs, outputs, attributes = {}]) {
  return [
    ...fields(1, inputs),
    ...fields(2, outputs),
    ...field(4, op),
    ...fields(5, Object.entries(attributes).map(attribute)),
  ];
}

const entry = ([key, value]) => [...field(1, key), ...field(2, String(value))];

/** TensorProto; data is a typed array, or {location, offset, length} of external data. */
function tensor([name, type, dims, data]) {
  const external = ArrayBuffer.isView(data) ? undefined : Object.entries(data).map(entry);
  return [
    ...fields(1, dims),
    ...field(2, types[type]),
    ...field(8, name),
    ...(external
      ? [...fields(13, external), ...field(14, 1)]
      : field(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))),
  ];
}

export function model({ inputs, outputs, nodes, weights = [], metadata = {} }) {
  const graph = [
    ...fields(1, nodes.map(node)),
    ...field(2, "graph"),
    ...fields(5, weights.map(tensor)),
    ...fields(11, inputs.map(valueInfo)),
    ...fields(12, outputs.map(valueInfo)),
  ];
  return new Uint8Array([
    ...field(1, 8), // IR version
    ...field(7, graph),
    ...field(8, field(2, 17)), // opset
    ...fields(14, Object.entries(metadata).map(entry)),
  ]);
}

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
