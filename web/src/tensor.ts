// tensor.ts - the Tensor of onnxruntime-common: a typed array with dimensions. Data lives in
// JavaScript; runs copy it in and out.

export type TensorType =
  | "float32"
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "int32"
  | "int64"
  | "string"
  | "bool"
  | "float16"
  | "float64"
  | "uint32"
  | "uint64";

export type TensorLocation = "none" | "cpu" | "cpu-pinned" | "texture" | "gpu-buffer" | "ml-tensor";

type NumberArray =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;
export type TensorData = NumberArray | string[];

interface ArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): NumberArray;
  new (buffer: ArrayBufferLike, offset?: number, length?: number): NumberArray;
  from(values: ArrayLike<number> | ArrayLike<bigint>): NumberArray;
}

/** float16 is a Float16Array where the engine has one, else the bits as a Uint16Array. */
const float16Array = (globalThis as { Float16Array?: ArrayConstructor }).Float16Array;

/**
 * By type: the number of ONNX TensorProto.DataType, which the core uses too, and the array that
 * holds it.
 */
const types: Record<TensorType, { code: number; array?: ArrayConstructor }> = {
  float32: { code: 1, array: Float32Array as unknown as ArrayConstructor },
  uint8: { code: 2, array: Uint8Array as unknown as ArrayConstructor },
  int8: { code: 3, array: Int8Array as unknown as ArrayConstructor },
  uint16: { code: 4, array: Uint16Array as unknown as ArrayConstructor },
  int16: { code: 5, array: Int16Array as unknown as ArrayConstructor },
  int32: { code: 6, array: Int32Array as unknown as ArrayConstructor },
  int64: { code: 7, array: BigInt64Array as unknown as ArrayConstructor },
  string: { code: 8 },
  bool: { code: 9, array: Uint8Array as unknown as ArrayConstructor },
  float16: { code: 10, array: float16Array ?? (Uint16Array as unknown as ArrayConstructor) },
  float64: { code: 11, array: Float64Array as unknown as ArrayConstructor },
  uint32: { code: 12, array: Uint32Array as unknown as ArrayConstructor },
  uint64: { code: 13, array: BigUint64Array as unknown as ArrayConstructor },
};
const names = new Map(Object.entries(types).map(([name, { code }]) => [code, name as TensorType]));

/** The name of a type by its number; undefined for types that JavaScript has no array for. */
export function typeName(code: number): TensorType | undefined {
  return names.get(code);
}
export function typeCode(type: string): number | undefined {
  return types[type as TensorType]?.code;
}

/** A copy of `bytes` as the array of `type`. */
export function arrayFromBytes(type: TensorType, bytes: Uint8Array): NumberArray {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return new types[type].array!(copy.buffer);
}

function typeOfData(data: unknown): TensorType {
  if (Array.isArray(data)) {
    if (data.length === 0)
      throw new TypeError("Tensor type cannot be inferred from an empty array.");
    if (typeof data[0] === "string") return "string";
    if (typeof data[0] === "boolean") return "bool";
    throw new TypeError(`Invalid element type of data array: ${typeof data[0]}.`);
  }
  if (data instanceof Uint8ClampedArray) return "uint8";
  for (const [name, { array }] of Object.entries(types)) {
    // bool shares Uint8Array with uint8, which comes first.
    if (array && data instanceof array) return name as TensorType;
  }
  throw new TypeError(`Unsupported type for tensor data: ${Object.prototype.toString.call(data)}.`);
}

function makeData(type: TensorType, data: unknown): TensorData {
  if (type === "string") {
    if (!Array.isArray(data)) throw new TypeError("A string tensor's data must be a string array.");
    return data as string[];
  }
  const array = types[type]?.array;
  if (!array) throw new TypeError(`Unsupported tensor type: ${String(type)}.`);
  if (Array.isArray(data)) {
    if (type === "float16" && array === (Uint16Array as unknown)) {
      throw new TypeError(
        "Creating a float16 tensor from number array is not supported. Please use Uint16Array as data.",
      );
    }
    const big = type === "int64" || type === "uint64";
    return array.from(big ? data.map(BigInt) : (data as number[]));
  }
  if (data instanceof array) return data as NumberArray;
  if (data instanceof Uint8ClampedArray && type === "uint8") return Uint8Array.from(data);
  if (data instanceof Uint16Array && type === "float16") {
    return new array(data.buffer, data.byteOffset, data.length);
  }
  throw new TypeError(
    `A ${type} tensor's data must be type of ${(array as unknown as { name: string }).name}`,
  );
}

/** The product of dimensions, each of which must be a size. */
export function sizeOf(dims: readonly number[]): number {
  let size = 1;
  dims.forEach((dim, i) => {
    if (!Number.isSafeInteger(dim))
      throw new TypeError(`dims[${i}] must be an integer, got: ${dim}`);
    if (dim < 0) throw new RangeError(`dims[${i}] must be a non-negative integer, got: ${dim}`);
    size *= dim;
  });
  return size;
}

/** Resources of a GPU or an NPU, which this version does not take. */
function refuse(what: string): never {
  throw new Error(`weft: ${what} is not supported by this version; tensors are on the CPU`);
}

export class Tensor {
  readonly type: TensorType;
  dims: readonly number[];
  private values: TensorData | undefined;

  constructor(
    type: TensorType,
    data: TensorData | readonly (number | bigint | boolean | string)[],
    dims?: readonly number[],
  );
  constructor(data: TensorData | Uint8ClampedArray | readonly boolean[], dims?: readonly number[]);
  constructor(first: unknown, second?: unknown, third?: unknown) {
    if (typeof first === "object" && first !== null && "location" in first) {
      const { location } = first as { location: string };
      if (location !== "cpu-pinned") refuse(`a tensor at '${location}'`);
      const { type, data, dims } = first as unknown as {
        type: TensorType;
        data: TensorData;
        dims: readonly number[];
      };
      [first, second, third] = [type, data, dims];
    }
    const typed = typeof first === "string";
    const type = typed ? (first as TensorType) : typeOfData(first);
    const dims = (typed ? third : second) as readonly number[] | undefined;
    let data = typed ? second : first;
    if (type === "bool" && Array.isArray(data)) data = Uint8Array.from(data, Number);
    this.type = type;
    this.values = makeData(type, data);
    if (dims !== undefined && !Array.isArray(dims))
      throw new TypeError("A tensor's dims must be a number array");
    this.dims = dims ? [...dims] : [this.values.length];
    const size = sizeOf(this.dims);
    if (size !== this.values.length) {
      throw new Error(`Tensor's size(${size}) does not match data length(${this.values.length}).`);
    }
  }

  get data(): TensorData {
    if (!this.values) throw new Error("The tensor is disposed.");
    return this.values;
  }
  get location(): TensorLocation {
    return this.values ? "cpu" : "none";
  }
  get size(): number {
    return sizeOf(this.dims);
  }
  get texture(): never {
    return refuse("a texture");
  }
  get gpuBuffer(): never {
    return refuse("a GPU buffer");
  }
  get mlTensor(): never {
    return refuse("an MLTensor");
  }

  async getData(releaseData?: boolean): Promise<TensorData> {
    void releaseData; // of a GPU copy, of which there is none
    return this.data;
  }
  dispose(): void {
    this.values = undefined;
  }
  reshape(dims: readonly number[]): Tensor {
    return new Tensor(this.type, this.data, dims);
  }

  toDataURL(): never {
    return refuse("toDataURL");
  }
  toImageData(): never {
    return refuse("toImageData");
  }
  static async fromImage(): Promise<never> {
    return refuse("fromImage");
  }
  static fromTexture(): never {
    return refuse("fromTexture");
  }
  static fromGpuBuffer(): never {
    return refuse("fromGpuBuffer");
  }
  static fromMLTensor(): never {
    return refuse("fromMLTensor");
  }
  static fromPinnedBuffer(type: TensorType, buffer: TensorData, dims?: readonly number[]): Tensor {
    return new Tensor(type, buffer, dims ?? [buffer.length]);
  }
}
