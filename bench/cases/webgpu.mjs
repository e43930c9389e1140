// webgpu.mjs - Weft against onnxruntime-web's `webgpu` provider in one Chromium, on one adapter:
// SwiftShader, which is the CPU, where there is no GPU.
import { fileURLToPath } from "node:url";
import { launch, swiftshader, withPage } from "../../tests/web/browser/chromium.mjs";
import { median, ms, perSecond } from "../measure.mjs";
import { LAYERS, decoderInputs } from "./decoder.mjs";
import { encoderInputs } from "./encoder.mjs";

const GOAL = 3;
const STARTS = 5;
const PROMPT = 16; // onnxruntime-web takes minutes for 256 tokens on SwiftShader
const root = fileURLToPath(new URL("../../", import.meta.url));
const place = {
  path: "/tests/web/browser/blank.html",
  isolate: true,
  csp: "", // onnxruntime-web makes modules of blobs
  folders: {
    "/bench/": `${root}bench/`,
    "/onnxruntime-web/": `${root}node_modules/onnxruntime-web/dist/`,
    "/models/": `${root}build/models/`,
  },
};

const presents = Array.from({ length: LAYERS }, (_, layer) =>
  ["key", "value"].map((part) => `present.${layer}.${part}`),
).flat();

const encoder = {
  name: "MiniLM-L6 f32",
  path: "/models/minilm.onnx",
  onGpu: [],
  bound: 1e-3,
  works: [
    ["1x16", { inputs: encoderInputs(1, 16) }, ms],
    ["1x128", { inputs: encoderInputs(1, 128) }, ms],
    ["4x128", { inputs: encoderInputs(4, 128) }, ms],
  ],
};

const decoder = {
  name: "decoder int4",
  path: "/models/decoder_int4.onnx",
  onGpu: presents,
  bound: 1e-2,
  works: [
    [`prefill ${PROMPT}`, { inputs: decoderInputs(PROMPT, 0) }, perSecond(PROMPT, "tok/s")],
    ["decode", { inputs: decoderInputs(1, PROMPT), decode: 2 }, perSecond(1, "tok/s")],
  ],
};

/** Calls a function of webgpu_page.mjs in a page of its own. */
function inPage(browser, call, ...given) {
  return withPage(browser, place, (page) =>
    page.evaluate(
      async ([call, given]) => (await import("/bench/webgpu_page.mjs"))[call](...given),
      [call, given],
    ),
  );
}

/** Of so many calls, the median of each of their numbers. */
async function medians(count, call) {
  const answers = [];
  for (let i = 0; i < count; i++) answers.push(await call());
  const names = Object.keys(answers[0]);
  return Object.fromEntries(names.map((name) => [name, median(answers.map((a) => a[name]))]));
}

async function measure(options, rows, { name, path, onGpu, bound, works }) {
  const browser = await launch(swiftshader);
  try {
    await inPage(browser, "warmUp");
    const { inputs } = works[0][1];
    const begin = (who) => inPage(browser, "start", who, path, { inputs, onGpu });
    const start = { weft: await medians(STARTS, () => begin("weft")) };
    start["ort-web"] = await begin("ort-web"); // once: it takes up to a minute
    addStart(rows, name, start.weft, start["ort-web"]);
    const plain = works.map(([, work]) => work);
    const given = { onGpu, seconds: options.seconds, bound };
    const { results, adapter } = await inPage(browser, "compare", path, plain, given);
    for (const [i, [work, , show]] of works.entries()) {
      const { runs } = results[i];
      rows.compare(`GPU: ${name} ${work}`, runs.weft, runs["ort-web"], show, GOAL);
    }
    return { start, results, adapter };
  } finally {
    await browser.close();
  }
}

function addStart(rows, name, own, peer) {
  const text = (value) => `${value.toFixed(0)} ms`;
  const add = (what, goal) =>
    rows.add(
      `GPU: ${name}, ${what}`,
      text(own[what]),
      text(peer[what]),
      peer[what] / own[what],
      goal,
    );
  add("creation", GOAL);
  add("first run");
  const most = { most: 1.2 };
  const over = own["first run"] / own.warm;
  rows.add(`GPU: ${name}, first run over warm`, text(own["first run"]), text(own.warm), over, most);
}

export const webgpuEncoder = (options, rows) => measure(options, rows, encoder);
export const webgpuDecoder = (options, rows) => measure(options, rows, decoder);
