// webgpu.ts - the entry `weft-web/webgpu`. Sessions run on the CPU until the WebGPU device is
// there, and say so.
export * from "./index.js";
export { default } from "./index.js";
