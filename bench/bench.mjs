// bench.mjs - the speed figures: Weft against onnxruntime-web and native onnxruntime, on one thread
// and on two. `./dev bench` builds what it needs and calls it; it prints a table and writes
// build/bench.json, from which readme_table.mjs makes the table of README.md.
//
// Each group of cases runs in a process of its own (group.mjs), so that one that fails is a row of
// the table and no more. --only NAME runs one group.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { formatTable } from "./readme_table.mjs";

const text = (fallback) => ({ type: "string", default: fallback });
const { values: options } = parseArgs({
  options: {
    minilm: text("build/models/minilm.onnx"),
    "minilm-q8": text("build/models/minilm_q8.onnx"),
    decoder: text("build/models/decoder_int4.onnx"),
    layers: text("build/models/decoder_layers.onnx"),
    matmul: text("build/models/matmul.onnx"),
    dynamic: text("build/models/dynamic.onnx"),
    nbits: text("build/models/nbits.onnx"),
    chain: text("build/models/chain.onnx"),
    peak: text("build/fma_peak"),
    "host-cost": text("build/host_cost"),
    weft: text("build/native/weft"),
    python: text("build/venv/bin/python"),
    output: text("build/bench.json"),
    seconds: text(""), // for each contender of a case
    threads: text("1,2"),
    only: { type: "string" },
  },
});

const MINUTES_MAX = 10; // for a group: a contender that hangs must not hold up the others

// Name, seconds for each contender of a case, and whether the number of threads matters.
const GROUPS = [
  ["matmul", 2, true],
  ["dynamic", 2, true],
  ["nbits", 1.5, true],
  ["minilm", 2, true],
  ["minilm-q8", 1.5, true],
  ["decoder", 3, true],
  ["webgpu-minilm", 2, false],
  ["webgpu-decoder", 2, false],
  ["host", 3, false],
  ["creation", 0, false],
  ["sizes", 0, false],
];

function runGroup(name, threads, seconds) {
  const given = { ...options, threads, seconds: Number(options.seconds || seconds) };
  const parameters = ["bench/group.mjs", name, JSON.stringify(given)];
  const { stdout, status, signal } = spawnSync(process.execPath, parameters, {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: MINUTES_MAX * 60e3,
    maxBuffer: 1 << 26,
  });
  const lines = stdout
    .toString()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const { figures, error } = lines.find((line) => !line.row) ?? {
    error: `the process ended with ${signal ?? status}`,
  };
  return { rows: lines.filter(({ row }) => row).map(({ row }) => row), figures, error };
}

const rows = [];
const figures = {};
const start = performance.now();
for (const [name, seconds, threaded] of GROUPS) {
  if (options.only && options.only !== name) continue;
  for (const threads of threaded ? options.threads.split(",").map(Number) : [1]) {
    const key = threaded ? `${name} T${threads}` : name;
    console.error(`---- ${key}, after ${((performance.now() - start) / 1e3).toFixed(0)} s`);
    const group = runGroup(name, threads, seconds);
    rows.push(...group.rows);
    if (group.error)
      rows.push({ work: key, weft: "fails", peer: "", ratio: null, goal: null, met: false });
    figures[key] = group.error ? { error: group.error, ...group.figures } : group.figures;
  }
}
if (rows.length === 0) throw new Error(`there is no group '${options.only}'`);

const version = (name) =>
  JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const about = {
  cpu: cpus()[0].model.trim(),
  cores: cpus().length,
  node: process.version,
  v8: process.versions.v8,
  "onnxruntime-web": version("onnxruntime-web"),
  onnxruntime: figures.creation?.version,
  seconds: Math.round((performance.now() - start) / 1e3),
};
const report = { about, rows, figures };
console.log(formatTable(report));
writeFileSync(options.output, JSON.stringify(report, null, 2));
