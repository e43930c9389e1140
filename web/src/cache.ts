// cache.ts - KV caches as tensors: outputs that stay in the core and are fed back by handle. Their
// data is copied out only when somebody reads it; then the tensor is one like any other.

import { Tensor } from "onnxruntime-common";
import type { Core } from "./core.js";
import { arrayFromBytes } from "./data.js";

/** A handle (weft_tensor_share), let go when its tensor is read, disposed of or lost. */
export class Share {
  readonly core: Core;
  readonly dims: readonly number[];
  #handle: number;

  constructor(core: Core, handle: number, dims: readonly number[]) {
    this.core = core;
    this.dims = [...dims];
    this.#handle = handle;
  }
  /** The handle to feed for a tensor of these extents; 0 where it is no such one of this core. */
  fits(core: Core, dims: readonly number[]): number {
    if (this.core !== core || dims.length !== this.dims.length) return 0;
    return dims.every((dim, i) => dim === this.dims[i]) ? this.handle : 0;
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
  read(type: Tensor.Type): Tensor.DataType {
    const { core, handle } = this;
    if (!handle) throw new Error("weft: the cache is gone with the wasm module that held it");
    const bytes = core.call.web_tensor_bytes(handle);
    const at = core.call.web_tensor_data(handle);
    if (!at) throw new Error(`weft: out of memory (${bytes} bytes)`);
    const data = arrayFromBytes(type, core.bytes(at, bytes))!;
    return new Tensor(type, data, this.dims).data; // float16 may have an array of its own
  }
}

/** The shares of tensors that nobody disposed of. */
export const forgotten = new FinalizationRegistry<Share>((share) => share.release());

/** The types of which onnxruntime-common makes a tensor without data. */
export function canStay(type: Tensor.Type): boolean {
  return !["uint16", "int16", "float64", "string"].includes(type);
}

/** What onnxruntime-common's types hide of its class. */
export const Base = Tensor as unknown as new (parameters: object) => Tensor;

/**
 * A tensor over a handle, which it takes over. It says that it lies on the CPU, as it can be read
 * at once; its class looks for the data in the property `cpuData`.
 */
export class CacheTensor extends Base {
  #share: Share | undefined;
  #data: unknown;

  constructor(core: Core, handle: number, type: Tensor.Type, dims: number[]) {
    super({ location: "ml-tensor", type, dims });
    Object.assign(this, { dataLocation: "cpu" });
    this.#share = new Share(core, handle, dims);
    forgotten.register(this, this.#share, this.#share);
  }
  get cpuData(): unknown {
    if (!(#share in this)) return undefined; // Base's constructor looks
    if (this.#share) this.cpuData = this.#share.read(this.type);
    return this.#data;
  }
  set cpuData(data: unknown) {
    this.#share?.release();
    this.#share = undefined;
    this.#data = data;
  }

  /** The handle to feed for a tensor that is still a cache of this core, as it came out; else 0. */
  static handle(core: Core, tensor: object): number {
    return #share in tensor ? (tensor.#share?.fits(core, tensor.dims) ?? 0) : 0;
  }
}
