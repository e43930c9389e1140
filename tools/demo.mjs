// demo.mjs - semantic search over the project's own documents: three questions, answered by the
// native program and by wasm in Node; the answers must be the same.
//
//   node tools/demo.mjs [--serve [--port N] [--isolate]]
//
// wants what `./dev demo` builds: build/native/weft, web/dist, build/models/minilm.onnx. --serve
// serves the pages of web/examples afterwards.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { writeParagraphs } from "./paragraphs.mjs";
import { serve } from "./serve.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const folder = `${root}build/demo`;
const model = `${root}build/models/minilm.onnx`;
const tokenizerFile = `${root}build/models/minilm/tokenizer.json`;
const TOP = 3;
const questions = [
  "What can a malicious model file do?",
  "How do I add a new operator?",
  "How does one download run on browsers with different instruction sets?",
];

/** What the pages need, by URL path. */
export const pageRoots = {
  "/": `${root}web/examples/semantic-search/`,
  "/bench/": `${root}web/examples/bench/`,
  "/chart.js/": `${root}node_modules/chart.js/dist/`,
  "/weft-web/": `${root}web/dist/`,
  "/models/": `${root}build/models/`,
  "/paragraphs.json": `${folder}/paragraphs.json`,
};

/** Runs a program that answers in JSON; what it says on stderr goes to ours. */
function runForJson(program, options) {
  const { status, stdout, error } = spawnSync(program, options, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ended with status ${status}`);
  return JSON.parse(stdout);
}

/** {name, ms, memory (MiB), hits: for each question [{text, score}]}; one text at a time. */
function searchNatively() {
  const files = ["--tokenizer", tokenizerFile, "--texts", `${folder}/paragraphs.txt`];
  const asked = questions.flatMap((question) => ["--query", question]);
  const options = ["--batch", "1", "--threads", "1", "--top", String(TOP), "--json"];
  const result = runForJson(`${root}build/native/weft`, [
    ...["embed", model, ...files, ...asked, ...options],
  ]);
  return {
    name: "native",
    ms: result.ms_per_text,
    memory: result.peak_memory_mib,
    hits: result.queries.map(({ hits }) => hits),
  };
}

/** The same in wasm, in a process of its own, so that its memory can be told. */
function searchInWasm() {
  return runForJson(process.execPath, [fileURLToPath(import.meta.url), "--wasm"]);
}

async function searchHere() {
  const { InferenceSession } = await import("../web/dist/wasm.js");
  const { Tokenizer } = await import("../web/dist/tokenizer.js");
  const { TextEncoderModel, rank } = await import("../web/examples/semantic-search/search.js");
  const tokenizer = await Tokenizer.create(tokenizerFile);
  const encoder = new TextEncoderModel(await InferenceSession.create(model), tokenizer);
  const lines = readFileSync(`${folder}/paragraphs.txt`, "utf8").trimEnd().split("\n");
  const embedAll = async (texts) => {
    const vectors = [];
    for (const text of texts) vectors.push(await encoder.embed(text));
    return vectors;
  };
  const start = performance.now();
  const vectors = await embedAll(lines);
  const asked = await embedAll(questions);
  const ms = (performance.now() - start) / (lines.length + questions.length);
  const { tier, wasmBytes } = encoder.runtime;
  return {
    name: `wasm, tier ${tier.toUpperCase()}`,
    ms,
    memory: process.resourceUsage().maxRSS / 1024,
    wasmMemory: wasmBytes / 2 ** 20,
    hits: asked.map((question) => rank(vectors, question, TOP)),
  };
}

function shorten(text, length) {
  return text.length <= length ? text : `${text.slice(0, length - 3)}...`;
}

/** The answers side by side; true if they are the same ones in the same order. */
function compare(paragraphs, [native, wasm]) {
  let same = true;
  questions.forEach((question, q) => {
    console.log(`\n${question}\n   native    wasm`);
    for (let i = 0; i < TOP; i++) {
      const [a, b] = [native.hits[q][i], wasm.hits[q][i]];
      const agree = a.text === b.text;
      const { file, text } = paragraphs[a.text];
      console.log(
        `   ${a.score.toFixed(4)}  ${b.score.toFixed(4)}  ${shorten(text, 72)}  (${file})`,
      );
      if (!agree) console.log(`           wasm says: ${shorten(paragraphs[b.text].text, 72)}`);
      same &&= agree;
    }
  });
  return same;
}

function printCosts(results) {
  console.log("");
  for (const { name, ms, memory, wasmMemory } of results) {
    const inWasm = wasmMemory ? `, ${wasmMemory.toFixed(0)} MiB of it in wasm` : "";
    console.log(
      `${name.padEnd(14)} ${ms.toFixed(2)} ms per text on one thread, ` +
        `peak memory ${memory.toFixed(0)} MiB${inWasm}`,
    );
  }
}

async function servePage({ port, isolate }) {
  const { url } = await serve({ roots: pageRoots, port: Number(port), isolate });
  console.log(`\nThe page is at ${url}/ (Ctrl-C ends the server).`);
  console.log(`How fast Weft is on your GPU: ${url}/bench/`);
}

async function main() {
  const { values } = parseArgs({
    options: {
      wasm: { type: "boolean" },
      serve: { type: "boolean", default: false },
      port: { type: "string", default: "8080" },
      isolate: { type: "boolean", default: false },
    },
  });
  if (values.wasm) return console.log(JSON.stringify(await searchHere()));
  const paragraphs = writeParagraphs(folder);
  console.log(`${paragraphs.length} paragraphs of this project's documents, by MiniLM-L6 in f32.`);
  const results = [searchNatively(), searchInWasm()];
  const same = compare(paragraphs, results);
  printCosts(results);
  if (!same) {
    console.log("\nThe two rankings differ.");
    process.exitCode = 1;
    return;
  }
  console.log("\nThe two rankings are the same.");
  if (values.serve) return servePage(values);
  console.log("The same in a page: ./dev demo --serve, then open http://127.0.0.1:8080/");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
