// create_session.mjs - one session in a process of its own: `create_session.mjs weft|ort-web MODEL`
// prints how long it took from the file to the session, wasm and all, what memory it took, and for
// Weft how long the first run of an encoder and a warm one took, on 1x16 tokens.
import { readFileSync, statSync } from "node:fs";
import { median } from "./measure.mjs";

const [runtime, model] = process.argv.slice(2);

const TOKENS = 16;
const RUNS = 40;

/** The first run, and the median of the later half. */
async function timeRuns({ Tensor }, session) {
  const ones = new Tensor("int64", new BigInt64Array(TOKENS).fill(1n), [1, TOKENS]);
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, ones]));
  const times = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    await session.run(feeds);
    times.push(performance.now() - start);
  }
  return { first_ms: times[0], warm_ms: median(times.slice(RUNS / 2)) };
}

async function createWeft() {
  const weft = await import("../web/dist/wasm.js");
  const start = performance.now();
  const session = await weft.InferenceSession.create(model);
  const ms = performance.now() - start;
  const { tier, peakBytes } = session.runtime;
  const times = session.inputNames.includes("token_type_ids") && (await timeRuns(weft, session));
  return { ms, tier, peak_bytes: peakBytes, model_bytes: statSync(model).size, ...times };
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
