// data.ts - element types: their numbers in the core, which are those of ONNX, and their arrays.

import type { Tensor } from "onnxruntime-common";

type Constructor = new (buffer: ArrayBuffer) => Tensor.DataType;

/** float16 goes as bits; Tensor makes a Float16Array of it where the engine has one. */
const types: Partial<Record<Tensor.Type, { code: number; array: unknown }>> = {
  float32: { code: 1, array: Float32Array },
  uint8: { code: 2, array: Uint8Array },
  int8: { code: 3, array: Int8Array },
  uint16: { code: 4, array: Uint16Array },
  int16: { code: 5, array: Int16Array },
  int32: { code: 6, array: Int32Array },
  int64: { code: 7, array: BigInt64Array },
  bool: { code: 9, array: Uint8Array },
  float16: { code: 10, array: Uint16Array },
  float64: { code: 11, array: Float64Array },
  uint32: { code: 12, array: Uint32Array },
  uint64: { code: 13, array: BigUint64Array },
};
const names = new Map<number, string>([
  ...Object.entries(types).map(([name, { code }]) => [code, name] as const),
  [8, "string"],
  [16, "bfloat16"],
]);

export function typeCode(type: Tensor.Type): number | undefined {
  return types[type]?.code;
}

/** The name of a type by its number. */
export function typeName(code: number): Tensor.Type {
  return (names.get(code) ?? "undefined") as Tensor.Type;
}

/** A copy of `bytes` as the array of `type`; undefined for types that have none. */
export function arrayFromBytes(type: Tensor.Type, bytes: Uint8Array): Tensor.DataType | undefined {
  const array = types[type]?.array as Constructor | undefined;
  return array && new array(new Uint8Array(bytes).buffer);
}
