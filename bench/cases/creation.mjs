// creation.mjs - creating a session, the first run, and peak memory. Each in a process of its own,
// taking turns.
import { execFileSync } from "node:child_process";
import { ms, summary } from "../measure.mjs";

const ROUNDS = 5;

const runJson = (program, ...parameters) =>
  JSON.parse(
    execFileSync(program, parameters, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }),
  );
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function memoryRow(rows, work, { peak_bytes: peak, model_bytes: size }) {
  rows.add(work, mebibytes(peak), mebibytes(size), peak / size, { most: 1.15 });
}

export function creation(options, rows) {
  const create = (runtime, model) =>
    runJson(process.execPath, "bench/create_session.mjs", runtime, model);
  const bench = ["bench", options.minilm, "--runs", "1", "--warmup", "0", "--json"];
  const times = { weft: [], "ort-web": [], "ort-native": [], "weft-native": [] };
  const memory = {};
  const starts = { first: [], warm: [] };
  let version;
  for (let round = 0; round < ROUNDS; round++) {
    memory.minilm = create("weft", options.minilm);
    times.weft.push(memory.minilm.ms);
    starts.first.push(memory.minilm.first_ms);
    starts.warm.push(memory.minilm.warm_ms);
    times["ort-web"].push(create("ort-web", options.minilm).ms);
    const far = runJson(options.python, "bench/native.py", "create", options.minilm);
    version = far.version;
    times["ort-native"].push(far.create_ms);
    const own = runJson(options.weft, ...bench);
    times["weft-native"].push(own.model_ms + own.session_ms);
  }
  const runs = Object.fromEntries(
    Object.entries(times).map(([name, list]) => [name, summary(list)]),
  );
  rows.compare("create a session, MiniLM (90 MB)", runs.weft, runs["ort-web"], ms);
  rows.compare("the same against native onnxruntime", runs.weft, runs["ort-native"], ms, 1);
  rows.compare("native Weft, onnxruntime", runs["weft-native"], runs["ort-native"], ms, 1);
  const [first, warm] = [summary(starts.first), summary(starts.warm)];
  const slower = first.median_ms / warm.median_ms;
  rows.add("first run over a warm one, MiniLM 1x16", ms(first), ms(warm), slower);
  memoryRow(rows, "peak memory at load, of the model's size, MiniLM f32", memory.minilm);
  for (const [name, model] of [
    ["MiniLM q8", options["minilm-q8"]],
    ["decoder int4", options.decoder],
  ]) {
    memory[name] = create("weft", model);
    memoryRow(rows, `peak memory at load, of the model's size, ${name}`, memory[name]);
  }
  return { runs, memory, first, warm, version };
}
