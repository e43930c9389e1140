// webgpu_page.mjs - the part of the WebGPU benchmarks that runs in a page: Weft and
// onnxruntime-web's `webgpu` provider in one browser, on one adapter. cases/webgpu.mjs drives it.
import * as ort from "/onnxruntime-web/ort.webgpu.bundle.min.mjs";
import * as weft from "/weft-web/webgpu.js";
import { median, takeTurns } from "/bench/measure.mjs";
import { WebSession } from "/bench/web_session.mjs";

ort.env.wasm.wasmPaths = "/onnxruntime-web/";
for (const { env } of [ort, weft]) {
  env.wasm.numThreads = 1;
  env.logLevel = "error";
}

const contenders = { weft, "ort-web": ort };

async function download(path) {
  return new Uint8Array(await (await fetch(path)).arrayBuffer());
}

/** `onGpu`: outputs that stay there. Creation takes in the wasm, the device and the kernels. */
async function open(name, bytes, onGpu) {
  const { InferenceSession, Tensor } = contenders[name];
  const session = await InferenceSession.create(bytes, {
    executionProviders: ["webgpu"],
    preferredOutputLocation: Object.fromEntries(onGpu.map((output) => [output, "gpu-buffer"])),
  });
  return new WebSession(session, Tensor);
}

/** Milliseconds of creation and of the first runs, in a page that has done nothing before. */
export async function start(name, path, { inputs, onGpu }) {
  const bytes = await download(path);
  const before = performance.now();
  const session = await open(name, bytes, onGpu);
  const times = [performance.now() - before];
  session.feed(inputs);
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    await session.run();
    times.push(performance.now() - start);
  }
  const [creation, first, ...warm] = times;
  return { creation, "first run": first, warm: median(warm) };
}

/** Starts the browser's GPU process, which nobody's creation shall pay for. */
export async function warmUp() {
  const adapter = await navigator.gpu.requestAdapter();
  (await adapter.requestDevice()).destroy();
}

/** First outputs of onnxruntime-web on the CPU for all works. */
async function referencesOf(bytes, works) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const reference = new WebSession(session, ort.Tensor);
  const answers = [];
  for (const { inputs } of works) {
    reference.feed(inputs);
    answers.push(await reference.answer());
  }
  await reference.release();
  return answers;
}

/** Both in turn on each of the works { inputs, decode }, after a look how right they are. */
export async function compare(path, works, { onGpu, seconds, bound }) {
  const bytes = await download(path);
  const references = await referencesOf(bytes, works);
  const sessions = {};
  for (const name of Object.keys(contenders)) sessions[name] = await open(name, bytes, onGpu);
  const results = [];
  for (const [i, { inputs, decode }] of works.entries()) {
    for (const session of Object.values(sessions)) session.feed(inputs);
    const differences = {};
    for (const [name, session] of Object.entries(sessions))
      differences[name] = largestDifference(await session.answer(), references[i]);
    if (!(differences.weft <= bound)) throw new Error(`wrong by ${differences.weft}`);
    const act = (session) => (decode ? session.decode(decode) : session.run());
    const turns = Object.entries(sessions).map(([name, session]) => [name, () => act(session)]);
    const runs = await takeTurns(Object.fromEntries(turns), seconds, {
      burst: decode ?? 1,
      warmUp: 1,
    });
    results.push({ differences, runs });
  }
  return { results, adapter: sessions.weft.session.runtime.gpu };
}

/** Relative to the largest number. */
function largestDifference(actual, expected) {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
  return worst / largest;
}
