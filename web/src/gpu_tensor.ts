// gpu_tensor.ts - tensors in the GPU's memory: outputs that stay there, and buffers of the user's.

import type { Tensor } from "onnxruntime-common";
import { Base, Share, forgotten } from "./cache.js";
import type { Core, CoreGpu } from "./core.js";

/** The types of which onnxruntime-common makes a tensor on a GPU. */
export function canStayOnGpu(type: Tensor.Type): boolean {
  return ["float32", "float16", "int32", "int64", "uint32", "uint8", "bool"].includes(type);
}

/**
 * An output that stayed there, over a handle, which it takes over. `gpuBuffer` has its elements,
 * but for a KV cache, which lies in a buffer with room to grow: that one has only `getData`.
 */
export class GpuTensor extends Base {
  readonly #share: Share;

  /** `memory`: the number of its buffer; 0: a KV cache. */
  constructor(
    core: Core,
    gpu: CoreGpu,
    handle: number,
    type: Tensor.Type,
    dims: number[],
    memory: number,
  ) {
    const share = new Share(core, handle, dims);
    super({
      location: "gpu-buffer",
      type,
      dims,
      gpuBuffer: memory ? gpu.buffer(memory) : undefined,
      download: async () => {
        await gpu.finish(() => core.call.web_tensor_fetch(core.context, share.handle));
        return share.read(type);
      },
      dispose: () => share.release(),
    });
    this.#share = share;
    forgotten.register(this, share, share);
  }

  /** The handle to feed for a tensor as it came out; else 0. */
  static handle(core: Core, tensor: object): number {
    if (!(#share in tensor) || tensor.location !== "gpu-buffer") return 0;
    return tensor.#share.fits(core, tensor.dims);
  }
}
