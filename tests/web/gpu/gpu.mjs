// gpu.mjs - WebGPU for Node: navigator.gpu by the package webgpu (Dawn), as pages have it.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
export const gpu = create(["enable-dawn-features=allow_unsafe_apis"]);
Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });

/** With another `navigator.gpu` while `work` runs. */
export async function withGpu(other, work) {
  Object.defineProperty(navigator, "gpu", { value: other, configurable: true });
  try {
    return await work();
  } finally {
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  }
}

/** A user's buffer with `data` in it. */
export function bufferOf(device, data) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const buffer = device.createBuffer({ size: Math.ceil(bytes.length / 16) * 16, usage });
  device.queue.writeBuffer(buffer, 0, bytes);
  return buffer;
}

export async function readBuffer(device, buffer, bytes) {
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  const staging = device.createBuffer({ size: bytes, usage });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  return staging.getMappedRange().slice(0);
}
