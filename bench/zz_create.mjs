import { readFileSync } from "node:fs";
import { NullGpu } from "./null_gpu.mjs";
Object.defineProperty(globalThis, "navigator", { value: { gpu: new NullGpu(), hardwareConcurrency: 1 }, configurable: true });
const lib = await import("../web/dist/index.js");
lib.env.wasm.numThreads = 1;
const bytes = new Uint8Array(readFileSync(process.argv[2]));
for (let i = 0; i < 6; i++) {
  const t = performance.now();
  const s = await lib.InferenceSession.create(bytes, { executionProviders: ["webgpu"] });
  console.log("create", (performance.now() - t).toFixed(0), s.handler?.gpu ? "gpu" : "");
  await s.release();
}
