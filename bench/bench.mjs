// bench.mjs - the speed figures: Weft in wasm (tiers A and B) against onnxruntime-web, in one
// process, taking turns, so that a machine that changes its speed changes it for all. `./dev bench`
// calls it; it prints a table and writes build/bench.json.
import { execFileSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import * as ort from "onnxruntime-web/wasm";
import * as weft from "../web/dist/wasm.js";

const { values: options } = parseArgs({
  options: {
    minilm: { type: "string", default: "build/models/minilm.onnx" },
    matmul: { type: "string", default: "build/models/matmul.onnx" },
    peak: { type: "string", default: "build/fma_peak" },
    weft: { type: "string", default: "build/native/weft" },
    python: { type: "string", default: "build/venv/bin/python" },
    output: { type: "string", default: "build/bench.json" },
    seconds: { type: "string", default: "6" }, // for each contender of a case
  },
});
const SHAPES = ["1x16", "1x128", "8x128", "1x512"];

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

// ---- measuring ----------------------------------------------------------------------------------

const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** Times each of the works in turn, after a warm-up, until the time is used up. */
async function takeTurns(works, seconds) {
  const names = Object.keys(works);
  const times = Object.fromEntries(names.map((name) => [name, []]));
  const end = performance.now() + seconds * 1000 * names.length;
  for (let round = -3; round < 5 || performance.now() < end; round++) {
    for (const name of names) {
      const start = performance.now();
      await works[name]();
      if (round >= 0) times[name].push(performance.now() - start);
    }
  }
  return Object.fromEntries(
    names.map((name) => [
      name,
      {
        median_ms: median(times[name]),
        min_ms: Math.min(...times[name]),
        rounds: times[name].length,
        times: times[name],
      },
    ]),
  );
}

/** How many times faster `a` is than `b`: the median of the ratios round by round. */
const speedup = (a, b) => median(a.times.map((time, i) => b.times[i] / time));

async function weftSession(tier, model) {
  weft.env.wasm.simd = tier === "a" ? "fixed" : true;
  const session = await weft.InferenceSession.create(model, { enableProfiling: true });
  if (session.runtime.tier !== tier)
    throw new Error(`tier ${session.runtime.tier} instead of ${tier}`);
  return session;
}

async function contenders(model) {
  return {
    "weft-b": [await weftSession("b", model), weft.Tensor],
    "weft-a": [await weftSession("a", model), weft.Tensor],
    "ort-web": [
      await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }),
      ort.Tensor,
    ],
  };
}

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
const matmulFeeds = (Tensor) => ({
  x: new Tensor(
    "float32",
    Float32Array.from({ length: 384 * 384 }, (_, i) => Math.sin(i)),
    [384, 384],
  ),
});

async function runCase(sessions, makeFeeds) {
  const works = {};
  for (const [name, [session, Tensor]] of Object.entries(sessions)) {
    const feeds = makeFeeds(Tensor);
    works[name] = () => session.run(feeds);
  }
  return takeTurns(works, Number(options.seconds));
}

/**
 * The largest difference between what two contenders answer: a speed without it would be worth
 * nothing.
 */
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
  return largest;
}

const peakGflops = () => Number(execFileSync(options.peak, { encoding: "utf8" }));

// ---- the rows -----------------------------------------------------------------------------------

const rows = [];
function row(work, weftFigure, peerFigure, ratio, goal, good) {
  rows.push({ work, weft: weftFigure, peer: peerFigure, ratio, goal, met: good });
}
const ms = (figure) => `${figure.median_ms.toFixed(figure.median_ms < 100 ? 2 : 0)} ms`;

async function benchMatmul() {
  const sessions = await contenders(readFileSync(options.matmul));
  const flops = 2 * 384 * 384 * 1536;
  const result = { difference: await difference(sessions, matmulFeeds), shares: [] };
  result.runs = await runCase(sessions, matmulFeeds);
  // The product alone, as the runtime times its steps, against the peak measured right before and
  // after.
  for (let i = 0; i < 7; i++) {
    const peak = peakGflops();
    for (const tier of ["b", "a"]) {
      const [session, Tensor] = sessions[`weft-${tier}`];
      const feeds = matmulFeeds(Tensor);
      const share = [];
      for (let k = 0; k < 20; k++) {
        const before = session.profile().find((step) => step.op === "matmul");
        await session.run(feeds);
        const after = session.profile().find((step) => step.op === "matmul");
        share.push(flops / (after.ns - before.ns) / peak);
      }
      result.shares.push({ tier, share: median(share), peak_gflops: peak });
    }
  }
  const gflops = (run) => (flops / run.median_ms / 1e6).toFixed(1) + " GFLOP/s";
  const { "weft-b": b, "weft-a": a, "ort-web": peer } = result.runs;
  row("matmul 384x384x1536, tier B", gflops(b), gflops(peer), speedup(b, peer), null, null);
  row("matmul 384x384x1536, tier A", gflops(a), gflops(peer), speedup(a, peer), null, null);
  const share = (tier) =>
    Math.max(...result.shares.filter((s) => s.tier === tier).map((s) => s.share));
  const peak = `${Math.max(...result.shares.map((s) => s.peak_gflops)).toFixed(1)} GFLOP/s`;
  row(
    "the product's share of the 128-bit FMA peak, tier B",
    `${(share("b") * 100).toFixed(0)} %`,
    peak,
    share("b"),
    0.95,
    share("b") >= 0.95,
  );
  row(
    "the product's share of the 128-bit FMA peak, tier A",
    `${(share("a") * 100).toFixed(0)} %`,
    peak,
    share("a"),
    null,
    null,
  );
  return result;
}

async function benchEncoder(native) {
  const sessions = await contenders(readFileSync(options.minilm));
  const result = {};
  for (const shape of SHAPES) {
    const [batch, tokens] = shape.split("x").map(Number);
    const feeds = (Tensor) => encoderFeeds(Tensor, batch, tokens);
    const runs = await runCase(sessions, feeds);
    result[shape] = {
      difference: await difference(sessions, feeds),
      runs,
      native_ms: native.run_ms[shape],
    };
    const goal = shape === "1x16" ? 2 : 1.85;
    for (const tier of ["b", "a"]) {
      const ratio = speedup(runs[`weft-${tier}`], runs["ort-web"]);
      row(
        `MiniLM ${shape}, tier ${tier.toUpperCase()}`,
        ms(runs[`weft-${tier}`]),
        ms(runs["ort-web"]),
        ratio,
        tier === "b" ? goal : null,
        tier === "b" ? ratio >= goal : null,
      );
    }
  }
  return result;
}

async function benchCreation(native) {
  const bytes = readFileSync(options.minilm);
  const works = {
    "weft-b": async () => (await weftSession("b", bytes)).release(),
    "ort-web": async () =>
      (await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] })).release(),
  };
  const runs = await takeTurns(works, 3);
  const nativeWeft = JSON.parse(
    execFileSync(
      options.weft,
      ["bench", options.minilm, "--runs", "1", "--warmup", "0", "--json"],
      { encoding: "utf8" },
    ),
  );
  const session = await weftSession("b", bytes);
  const use = session.runtime;
  const weights = statSync(options.minilm).size;
  const { "weft-b": b, "ort-web": peer } = runs;
  row(
    "create a session (MiniLM, 90 MB), tier B against ort-web",
    ms(b),
    ms(peer),
    speedup(b, peer),
    null,
    null,
  );
  row(
    "the same against native onnxruntime",
    ms(b),
    `${native.create_ms.toFixed(0)} ms`,
    native.create_ms / b.median_ms,
    1,
    b.median_ms <= native.create_ms,
  );
  const nativeMs = nativeWeft.model_ms + nativeWeft.session_ms;
  row(
    "native Weft against native onnxruntime",
    `${nativeMs.toFixed(0)} ms`,
    `${native.create_ms.toFixed(0)} ms`,
    native.create_ms / nativeMs,
    1,
    nativeMs <= native.create_ms,
  );
  const memory = use.peakBytes / weights;
  row(
    "peak memory at load over the model's size, tier B",
    `${(use.peakBytes / 2 ** 20).toFixed(1)} MiB`,
    `${(weights / 2 ** 20).toFixed(1)} MiB`,
    memory,
    1.15,
    memory <= 1.15,
  );
  await session.release();
  return { runs, native: native.create_ms, native_weft_ms: nativeMs, memory: use, weights };
}

function sizes() {
  const folder = new URL("../web/dist/", import.meta.url);
  const result = {};
  const measure = (name, bytes) =>
    (result[name] = { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length });
  for (const tier of ["a", "b", "c"]) {
    const { raw, gzip } = measure(
      `weft-${tier}.wasm`,
      readFileSync(new URL(`weft-${tier}.wasm`, folder)),
    );
    row(
      `weft-${tier}.wasm, gzip -9`,
      `${(gzip / 1e3).toFixed(0)} kB (raw ${(raw / 1e3).toFixed(0)})`,
      "",
      gzip / 1e3,
      300,
      gzip <= 300e3,
    );
  }
  const peer = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url);
  for (const name of ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm"]) {
    measure(name, readFileSync(new URL(name, peer)));
  }
  const cpu = result["ort-wasm-simd-threaded.wasm"].gzip;
  const b = result["weft-b.wasm"].gzip;
  row(
    "download of the wasm against ort-web's CPU build",
    `${(b / 1e3).toFixed(0)} kB`,
    `${(cpu / 1e3).toFixed(0)} kB`,
    cpu / b,
    null,
    null,
  );
  return result;
}

// ---- output -------------------------------------------------------------------------------------

function table() {
  const head = ["work", "Weft", "peer or limit", "ratio", "goal", ""];
  const body = rows.map((r) => [
    r.work,
    r.weft,
    r.peer,
    r.ratio.toFixed(2),
    r.goal === null ? "" : String(r.goal),
    r.met === null ? "" : r.met ? "met" : "missed",
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...body].map((cells) => cells[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  return [
    line(head),
    `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`,
    ...body.map(line),
  ].join("\n");
}

const native = JSON.parse(
  execFileSync(options.python, ["bench/native_ort.py", options.minilm, ...SHAPES], {
    encoding: "utf8",
  }),
);
const figures = {
  machine: {
    cpu: cpus()[0].model,
    cores: cpus().length,
    node: process.version,
    v8: process.versions.v8,
  },
  peers: {
    "onnxruntime-web": ort.env.versions.web ?? ort.env.versions.common,
    onnxruntime: native.version,
  },
  sizes: sizes(),
  matmul: await benchMatmul(),
  encoder: await benchEncoder(native),
  creation: await benchCreation(native),
  rows,
};
console.log(table());
writeFileSync(
  options.output,
  JSON.stringify(figures, (key, value) => (key === "times" ? undefined : value), 2),
);
