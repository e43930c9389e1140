// cache.ts - KV caches as tensors: outputs that stay in the core and are fed back by handle. Their
// data is copied out only when somebody reads it; then the tensor is one like any other.

import { Tensor } from "onnxruntime-common";
import type { Core } from "./core.js";
import { arrayFromBytes } from "./data.js";

/** A share of a cache (weft_tensor_share), let go when the tensor on it is read, disposed, lost. */
class Share {
  readonly core: Core;
  readonly type: Tensor.Type;
  readonly dims: readonly number[];
  #handle: number;

  constructor(core: Core, handle: number, type: Tensor.Type, dims: readonly number[]) {
    this.core = core;
    this.type = type;
    this.dims = [...dims];
    this.#handle = handle;
  }
  /** 0 once it is let go. */
  get handle(): number {
    return this.core.trap ? 0 : this.#handle;
  }
  release(): void {
    if (this.handle) this.core.call.web_tensor_close(this.#handle);
    this.#handle = 0;
    forgotten.unregister(this);
  }
  /** The elements as they are now. */
  read(): Tensor.DataType {
    const { core, handle } = this;
    if (!handle) throw new Error("weft: the cache is gone with the wasm module that held it");
    const bytes = core.call.web_tensor_bytes(handle);
    const at = core.call.web_tensor_data(handle);
    if (!at) throw new Error(`weft: out of memory (${bytes} bytes)`);
    const data = arrayFromBytes(this.type, core.bytes(at, bytes))!;
    return new Tensor(this.type, data, this.dims).data; // float16 may have an array of its own
  }
}

const shares = new WeakMap<object, Share>();
/** Tensors that nobody disposed of. */
const forgotten = new FinalizationRegistry<Share>((share) => share.release());

/** The types of which onnxruntime-common makes a tensor without data. */
export function canStay(type: Tensor.Type): boolean {
  return !["uint16", "int16", "float64", "string"].includes(type);
}

/**
 * A tensor over a handle, which it takes over. It says that it lies on the CPU, as it can be read
 * at once; its class looks for the data in the property `cpuData`.
 */
export function cacheTensor(core: Core, handle: number, type: Tensor.Type, dims: number[]): Tensor {
  const share = new Share(core, handle, type, dims);
  const options = { dataType: type as Tensor.MLTensorDataTypes, dims };
  const tensor = Tensor.fromMLTensor(undefined as never, options);
  const own = (value: unknown) => {
    share.release();
    const plain = { value, writable: true, enumerable: true, configurable: true };
    Object.defineProperty(tensor, "cpuData", plain);
    return value;
  };
  Object.defineProperty(tensor, "cpuData", {
    get: () => own(share.read()),
    set: own,
    enumerable: false, // so that nobody copies it out by looking
    configurable: true,
  });
  Object.defineProperty(tensor, "dataLocation", { value: "cpu", writable: true });
  shares.set(tensor, share);
  forgotten.register(tensor, share, share);
  return tensor;
}

/** The handle to feed for a tensor that is still a cache of this core, as it came out; else 0. */
export function cacheHandle(core: Core, tensor: Tensor): number {
  const share = shares.get(tensor);
  if (!share || share.core !== core) return 0;
  return tensor.dims.join() === share.dims.join() ? share.handle : 0;
}
