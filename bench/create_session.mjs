// create_session.mjs - one session in a process of its own: `create_session.mjs weft|ort-web MODEL`
// prints how long it took from the file to the session, wasm and all, and what memory it took.
import { readFileSync, statSync } from "node:fs";

const [runtime, model] = process.argv.slice(2);

async function createWeft() {
  const weft = await import("../web/dist/wasm.js");
  const start = performance.now();
  const session = await weft.InferenceSession.create(model);
  const ms = performance.now() - start;
  const { tier, peakBytes } = session.runtime;
  return { ms, tier, peak_bytes: peakBytes, model_bytes: statSync(model).size };
}

async function createPeer() {
  const ort = await import("onnxruntime-web/wasm");
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const start = performance.now();
  await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
  return { ms: performance.now() - start };
}

console.log(JSON.stringify(await (runtime === "weft" ? createWeft() : createPeer())));
process.exit();
