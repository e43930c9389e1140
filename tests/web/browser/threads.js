// threads.js - runs the model of threads.mjs; for pages and workers alike.
import * as weft from "/weft-web/index.js";
import { runOnThreads } from "/tests/web/threads.mjs";

export async function runHere({ count, wasmPaths }) {
  if (wasmPaths) weft.env.wasm.wasmPaths = wasmPaths;
  const seen = await runOnThreads(weft, count);
  return { ...seen, isolated: self.crossOriginIsolated };
}

// As a worker's script.
if (typeof WorkerGlobalScope === "function")
  self.onmessage = async ({ data }) => self.postMessage(await runHere(data));
