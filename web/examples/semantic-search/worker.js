// worker.js - the model's side of the page: loads it, indexes the paragraphs, answers questions.
// Messages come from and go to main.js.
import { InferenceSession } from "./weft-web/wasm.js";
import { Tokenizer } from "./weft-web/tokenizer.js";
import { TextEncoderModel, rank } from "./search.js";

const TOP = 5;
let model;
let paragraphs;
let vectors;

const absolute = (path) => new URL(path, self.location.href);

async function load() {
  const start = performance.now();
  const response = await fetch(absolute("paragraphs.json"));
  paragraphs = await response.json();
  const tokenizer = await Tokenizer.create(absolute("models/minilm/tokenizer.json"));
  const session = await InferenceSession.create(absolute("models/minilm.onnx"), {
    onProgress: (progress) => postMessage({ type: "loading", ...progress }),
  });
  model = new TextEncoderModel(session, tokenizer);
  return performance.now() - start;
}

async function index() {
  const start = performance.now();
  vectors = [];
  for (const { text } of paragraphs) {
    vectors.push(await model.embed(text));
    postMessage({ type: "indexing", done: vectors.length, total: paragraphs.length });
  }
  return performance.now() - start;
}

async function answer({ id, question }) {
  const start = performance.now();
  const hits = rank(vectors, await model.embed(question), TOP);
  const results = hits.map(({ text, score }) => ({ score, ...paragraphs[text] }));
  postMessage({ type: "answer", id, question, results, ms: performance.now() - start });
}

const fail = (error) => postMessage({ type: "failure", message: String(error?.message ?? error) });

try {
  const loadMs = await load();
  const indexMs = await index();
  const { tier, wasmBytes } = model.runtime;
  const { crossOriginIsolated } = self;
  const facts = { tier, wasmBytes, crossOriginIsolated, loadMs, indexMs };
  postMessage({ type: "ready", texts: paragraphs.length, ...facts });
  self.onmessage = ({ data }) => void answer(data).catch(fail);
} catch (error) {
  fail(error);
}
