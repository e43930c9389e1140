// onnx.js - writes ONNX files: model({inputs, outputs, nodes, weights}). A file is put together of
// pieces, arrays of bytes, and large weights are copied once. The project's tests use it too.

const encoder = new TextEncoder();

function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

const lengthOf = (pieces) => pieces.reduce((sum, { length }) => sum + length, 0);

/** A field with an integer; or with a string, bytes, or a message, which is a list of pieces. */
function field(number, value) {
  if (typeof value === "number" || typeof value === "bigint")
    return [[...varint(number * 8), ...varint(value)]];
  const text = typeof value === "string";
  const pieces = text ? [encoder.encode(value)] : value;
  return [[...varint(number * 8 + 2), ...varint(lengthOf(pieces))], ...pieces];
}
const fields = (number, values) => values.flatMap((value) => field(number, value));
const floatField = (number, value) => [
  [...varint(number * 8 + 5), ...new Uint8Array(new Float32Array([value]).buffer)],
];

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

/** AttributeProto of integers, an integer, or a number that is none. */
function attribute([name, value]) {
  if (Array.isArray(value)) return [...field(1, name), ...fields(8, value), ...field(20, 7)];
  if (Number.isInteger(value)) return [...field(1, name), ...field(3, value), ...field(20, 2)];
  return [...field(1, name), ...floatField(2, value), ...field(20, 1)];
}

/** A domain and an operator: com.microsoft.MatMulNBits. */
function splitName(op) {
  const dot = op.lastIndexOf(".");
  return { domain: op.slice(0, Math.max(dot, 0)), type: op.slice(dot + 1) };
}

/** Inputs and outputs that are left out have the name "". */
function node([op, inputs, outputs, attributes = {}]) {
  const { domain, type } = splitName(op);
  return [
    ...fields(1, inputs),
    ...fields(2, outputs),
    ...field(4, type),
    ...fields(5, Object.entries(attributes).map(attribute)),
    ...(domain ? field(7, domain) : []),
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
      : field(9, [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)])),
  ];
}

/** OperatorSetIdProto of each domain. */
function operatorSets(nodes) {
  const domains = new Set(nodes.map(([op]) => splitName(op).domain).filter(Boolean));
  return [field(2, 17), ...[...domains].map((domain) => [...field(1, domain), ...field(2, 1)])];
}

function join(pieces) {
  const bytes = new Uint8Array(lengthOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * A ModelProto's bytes. inputs, outputs: [name, type, dims]; nodes: [operator, inputs, outputs,
 * attributes]; weights: [name, type, dims, data].
 */
export function model({ inputs, outputs, nodes, weights = [], metadata = {} }) {
  const graph = [
    ...fields(1, nodes.map(node)),
    ...field(2, "graph"),
    ...fields(5, weights.map(tensor)),
    ...fields(11, inputs.map(valueInfo)),
    ...fields(12, outputs.map(valueInfo)),
  ];
  return join([
    ...field(1, 8), // IR version
    ...field(7, graph),
    ...fields(8, operatorSets(nodes)),
    ...fields(14, Object.entries(metadata).map(entry)),
  ]);
}
