// bench.mjs - the speed figures: Weft in wasm (tiers A and B) against onnxruntime-web, on one
// thread. `./dev bench` builds what it needs and calls it; it prints a table and writes
// build/bench.json, from which readme_table.mjs makes the table of README.md.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import * as ort from "onnxruntime-web/wasm";
import * as weft from "../web/dist/wasm.js";
import { median, speedup, summary, takeTurns } from "./measure.mjs";
import { formatTable } from "./readme_table.mjs";

const { values: options } = parseArgs({
  options: {
    minilm: { type: "string", default: "build/models/minilm.onnx" },
    matmul: { type: "string", default: "build/models/matmul.onnx" },
    chain: { type: "string", default: "build/models/chain.onnx" },
    peak: { type: "string", default: "build/fma_peak" },
    "host-cost": { type: "string", default: "build/host_cost" },
    weft: { type: "string", default: "build/native/weft" },
    python: { type: "string", default: "build/venv/bin/python" },
    output: { type: "string", default: "build/bench.json" },
    seconds: { type: "string", default: "6" }, // for each contender of a case
    rounds: { type: "string", default: "5" }, // of what needs a process of its own
  },
});
const SECONDS = Number(options.seconds);
const ROUNDS = Number(options.rounds);
const SHAPES = ["1x16", "1x128", "8x128", "1x512"];
const MATMUL = { rows: 384, depth: 384, columns: 1536 };
const MATMUL_FLOPS = 2 * MATMUL.rows * MATMUL.depth * MATMUL.columns;

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const run = (program, ...parameters) =>
  execFileSync(program, parameters, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const runJson = (program, ...parameters) => JSON.parse(run(program, ...parameters));

// ---- rows ---------------------------------------------------------------------------------------

const rows = [];
/** A line of the table. `goal`: the ratio to reach, or { most: ratio }. */
function row(work, weftFigure, peerFigure, ratio, goal = null) {
  const met = goal === null ? null : goal.most ? ratio <= goal.most : ratio >= goal;
  rows.push({ work, weft: weftFigure, peer: peerFigure, ratio, goal: goal?.most ?? goal, met });
  console.error(`${work}: ${weftFigure}, ${peerFigure}, ${ratio.toFixed(2)}`);
}
const ms = (figure) => `${figure.median_ms.toFixed(figure.median_ms < 100 ? 2 : 0)} ms`;
const gflops = (figure) => `${(MATMUL_FLOPS / figure.median_ms / 1e6).toFixed(1)} GFLOP/s`;
const kilobytes = (bytes) => `${(bytes / 1e3).toFixed(0)} kB`;
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

// ---- sessions -----------------------------------------------------------------------------------

async function weftSession(tier, model, extra = {}) {
  weft.env.wasm.simd = tier === "a" ? "fixed" : true;
  const session = await weft.InferenceSession.create(model, extra);
  if (session.runtime.tier !== tier)
    throw new Error(`tier ${session.runtime.tier} instead of ${tier}`);
  return session;
}

/** Each with the Tensor class that goes with it. */
async function contenders(model, extra = {}) {
  const peer = { executionProviders: ["wasm"], ...extra };
  return {
    "weft-b": [await weftSession("b", model, extra), weft.Tensor],
    "weft-a": [await weftSession("a", model, extra), weft.Tensor],
    "ort-web": [await ort.InferenceSession.create(model, peer), ort.Tensor],
  };
}

async function release(sessions) {
  for (const [session] of Object.values(sessions)) await session.release();
}

/** `burst`: runs in one turn, for works that are over before the caches are warm again. */
async function runCase(sessions, makeFeeds, burst = 1) {
  const works = {};
  for (const [name, [session, Tensor]] of Object.entries(sessions)) {
    const feeds = makeFeeds(Tensor);
    works[name] = async () => {
      for (let i = 0; i < burst; i++) await session.run(feeds);
    };
  }
  return takeTurns(works, SECONDS, burst);
}

/** The largest difference between answers: a speed without it would be worth nothing. */
async function difference(sessions, makeFeeds) {
  const answers = [];
  for (const [session, Tensor] of Object.values(sessions)) {
    const outputs = await session.run(makeFeeds(Tensor));
    answers.push(Object.values(outputs)[0].data);
  }
  let largest = 0;
  for (const answer of answers) {
    for (let i = 0; i < answer.length; i++)
      largest = Math.max(largest, Math.abs(answer[i] - answers[0][i]));
  }
  if (!(largest < 1e-3)) throw new Error(`the contenders' answers differ by ${largest}`);
  return largest;
}

// ---- one matrix product -------------------------------------------------------------------------

const matmulFeeds = (Tensor) => ({
  x: new Tensor(
    "float32",
    Float32Array.from({ length: MATMUL.rows * MATMUL.depth }, (_, i) => Math.sin(i)),
    [MATMUL.rows, MATMUL.depth],
  ),
});

/** ms of the product alone, packing of A included, as the runtime times its steps: the best. */
async function productMs(session, feeds) {
  const total = () => session.profile().find((step) => step.op === "matmul").ns;
  let best = Infinity;
  for (let i = 0; i < 20; i++) {
    const before = total();
    await session.run(feeds);
    best = Math.min(best, (total() - before) / 1e6);
  }
  return best;
}

/** The best product against the best of the peak, measured right before and right after. */
async function peakShares(model) {
  const shares = { a: [], b: [] };
  const peaks = [];
  for (const tier of ["b", "a"]) {
    const session = await weftSession(tier, model, { enableProfiling: true });
    const feeds = matmulFeeds(weft.Tensor);
    for (let i = 0; i < 50; i++) await session.run(feeds); // until the engine has optimised
    for (let round = 0; round < ROUNDS + 2; round++) {
      const before = Number(run(options.peak));
      const flops = MATMUL_FLOPS / (await productMs(session, feeds)) / 1e6;
      const peak = Math.max(before, Number(run(options.peak)));
      shares[tier].push(flops / peak);
      peaks.push(peak);
    }
    await session.release();
  }
  return { shares, peak_gflops: median(peaks) };
}

async function benchMatmul() {
  const model = readFileSync(options.matmul);
  const sessions = await contenders(model);
  const result = { difference: await difference(sessions, matmulFeeds) };
  result.runs = await runCase(sessions, matmulFeeds);
  await release(sessions);
  Object.assign(result, await peakShares(model));
  const { "weft-b": b, "weft-a": a, "ort-web": peer } = result.runs;
  row("f32 matmul 384x384x1536, tier B", gflops(b), gflops(peer), speedup(b, peer));
  row("f32 matmul 384x384x1536, tier A", gflops(a), gflops(peer), speedup(a, peer));
  for (const tier of ["b", "a"]) {
    const share = median(result.shares[tier]);
    row(
      `the product alone, of the 128-bit FMA peak, tier ${tier.toUpperCase()}`,
      `${(share * result.peak_gflops).toFixed(1)} GFLOP/s`,
      `${result.peak_gflops.toFixed(1)} GFLOP/s`,
      share,
      tier === "b" ? 0.95 : null,
    );
  }
  return result;
}

// ---- an encoder ---------------------------------------------------------------------------------

const encoderFeeds = (Tensor, batch, tokens) => {
  const ids = (of) =>
    new Tensor(
      "int64",
      BigInt64Array.from({ length: batch * tokens }, (_, i) => of(BigInt(i))),
      [batch, tokens],
    );
  return {
    input_ids: ids((i) => (i % 20000n) + 1000n),
    attention_mask: ids(() => 1n),
    token_type_ids: ids(() => 0n),
  };
};

async function benchEncoder() {
  const sessions = await contenders(readFileSync(options.minilm));
  const result = {};
  for (const shape of SHAPES) {
    const [batch, tokens] = shape.split("x").map(Number);
    const feeds = (Tensor) => encoderFeeds(Tensor, batch, tokens);
    const runs = await runCase(sessions, feeds);
    result[shape] = { difference: await difference(sessions, feeds), runs };
    for (const tier of ["b", "a"]) {
      const own = runs[`weft-${tier}`];
      const goal = tier === "a" ? null : shape === "1x16" ? 2 : 1.85;
      const work = `MiniLM-L6 f32, batch x tokens ${shape}, tier ${tier.toUpperCase()}`;
      row(work, ms(own), ms(runs["ort-web"]), speedup(own, runs["ort-web"]), goal);
    }
  }
  await release(sessions);
  result.native = runJson(options.python, "bench/native_ort.py", "run", options.minilm, ...SHAPES);
  return result;
}

// ---- the runtime's own cost ---------------------------------------------------------------------

async function benchHostCost() {
  const feeds = (Tensor) => ({ x: new Tensor("float32", [1, 2, 3, 4], [4]) });
  const extra = { graphOptimizationLevel: "disabled" }; // else the chain becomes a few nodes
  const sessions = await contenders(readFileSync(options.chain), extra);
  const result = { difference: await difference(sessions, feeds) };
  result.runs = await runCase(sessions, feeds, 20);
  await release(sessions);
  result.native = runJson(options["host-cost"], options.chain);
  const { "weft-b": b, "ort-web": peer } = result.runs;
  const us = (figure) => `${(figure.min_ms * 1e3).toFixed(0)} us`;
  row("1,000 tiny nodes, warm run, tier B", us(b), us(peer), speedup(b, peer));
  const native = { min_ms: result.native.warm_run_us * 1e-3 };
  row("the same against the limit, tier B", us(b), "60 us", b.min_ms / 0.06, { most: 1 });
  row("the same against the limit, native", us(native), "60 us", native.min_ms / 0.06, {
    most: 1,
  });
  return result;
}

// ---- creating a session -------------------------------------------------------------------------

/** Each in a process of its own, taking turns. */
function benchCreation() {
  const create = (runtime) =>
    runJson(process.execPath, "bench/create_session.mjs", runtime, options.minilm);
  const native = () => runJson(options.python, "bench/native_ort.py", "create", options.minilm);
  const bench = ["bench", options.minilm, "--runs", "1", "--warmup", "0", "--json"];
  const times = { weft: [], peer: [], native: [], weft_native: [] };
  let memory, version;
  for (let round = 0; round < ROUNDS; round++) {
    memory = create("weft");
    times.weft.push(memory.ms);
    times.peer.push(create("ort-web").ms);
    const far = native();
    version = far.version;
    times.native.push(far.create_ms);
    const own = runJson(options.weft, ...bench);
    times.weft_native.push(own.model_ms + own.session_ms);
  }
  const runs = Object.fromEntries(Object.entries(times).map(([k, list]) => [k, summary(list)]));
  const { weft: own, peer, native: far, weft_native: ownNative } = runs;
  row("create a session, MiniLM (90 MB), tier B", ms(own), ms(peer), speedup(own, peer));
  row("the same against native onnxruntime", ms(own), ms(far), speedup(own, far), 1);
  row("native Weft against native onnxruntime", ms(ownNative), ms(far), speedup(ownNative, far), 1);
  const { peak_bytes: peak, model_bytes: size } = memory;
  row("peak memory at load, of the model's size", mebibytes(peak), mebibytes(size), peak / size, {
    most: 1.15,
  });
  return { runs, memory, version };
}

// ---- sizes --------------------------------------------------------------------------------------

function sizes() {
  const measure = (url) => {
    const bytes = readFileSync(url);
    return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
  };
  const own = new URL("../web/dist/", import.meta.url);
  const peer = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url);
  const result = {};
  for (const tier of ["a", "b", "c"]) {
    const name = `weft-${tier}.wasm`;
    const { raw, gzip } = (result[name] = measure(new URL(name, own)));
    row(`${name}, gzip -9`, `${kilobytes(gzip)} (raw ${kilobytes(raw)})`, "300 kB", gzip / 300e3, {
      most: 1,
    });
  }
  /* What `import "weft-web"` loads: every file but the tokenizer's entry. */
  const scripts = readdirSync(own).filter((name) => /\.js$/.test(name) && name !== "tokenizer.js");
  const script = scripts.map((name) => measure(new URL(name, own)).gzip).reduce((a, b) => a + b);
  result.javascript = { files: scripts, gzip: script };
  row("JavaScript, gzip -9", kilobytes(script), "40 kB", script / 40e3, { most: 1 });
  for (const name of ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm"])
    result[name] = measure(new URL(name, peer));
  const [ours, theirs] = ["weft-b.wasm", "ort-wasm-simd-threaded.wasm"].map((n) => result[n].gzip);
  row("wasm, against ort-web's for the CPU", kilobytes(ours), kilobytes(theirs), theirs / ours);
  return result;
}

// ---- all of it ----------------------------------------------------------------------------------

const figures = {
  matmul: await benchMatmul(),
  encoder: await benchEncoder(),
  host_cost: await benchHostCost(),
  creation: benchCreation(),
  sizes: sizes(),
};
const about = {
  cpu: cpus()[0].model.trim(),
  cores: cpus().length,
  node: process.version,
  v8: process.versions.v8,
  "onnxruntime-web": ort.env.versions.web ?? ort.env.versions.common,
  onnxruntime: figures.creation.version,
};
const report = { about, rows, ...figures };
console.log(formatTable(report));
writeFileSync(
  options.output,
  JSON.stringify(report, (key, value) => (key === "times" ? undefined : value), 2),
);
