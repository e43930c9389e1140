// webgpu.mjs - Weft against onnxruntime-web's `webgpu` provider in one Chromium, on one adapter:
// SwiftShader, which is the CPU, where there is no GPU.
import { fileURLToPath } from "node:url";
import { launch, swiftshader, withPage } from "../../tests/web/browser/chromium.mjs";
import { ms, perSecond } from "../measure.mjs";
import { LAYERS, decoderInputs } from "./decoder.mjs";
import { encoderInputs } from "./encoder.mjs";

const GOAL = 3;
const PROMPT = 32; // onnxruntime-web takes minutes for 256 tokens on SwiftShader
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

const models = [
  {
    name: "MiniLM-L6 f32",
    path: "/models/minilm.onnx",
    onGpu: [],
    bound: 1e-3,
    works: [
      ["1x16", { inputs: encoderInputs(1, 16) }, ms],
      ["1x128", { inputs: encoderInputs(1, 128) }, ms],
      ["4x128", { inputs: encoderInputs(4, 128) }, ms],
    ],
  },
  {
    name: "decoder int4",
    path: "/models/decoder_int4.onnx",
    onGpu: presents,
    bound: 1e-2,
    works: [
      [`prefill ${PROMPT}`, { inputs: decoderInputs(PROMPT, 0) }, perSecond(PROMPT, "tok/s")],
      ["decode", { inputs: decoderInputs(1, PROMPT), decode: 2 }, perSecond(1, "tok/s")],
    ],
  },
];

/** Calls a function of webgpu_page.mjs in a page of its own. */
function inPage(browser, call, ...given) {
  return withPage(browser, place, (page) =>
    page.evaluate(
      async ([call, given]) => (await import("/bench/webgpu_page.mjs"))[call](...given),
      [call, given],
    ),
  );
}

export async function webgpu(options, rows) {
  const browser = await launch(swiftshader);
  const result = {};
  try {
    await inPage(browser, "warmUp");
    for (const { name, path, onGpu, bound, works } of models) {
      const given = { onGpu, seconds: options.seconds, bound };
      const inputs = works[0][1].inputs;
      const start = {};
      for (const who of ["weft", "ort-web"])
        start[who] = await inPage(browser, "start", who, path, { inputs, onGpu });
      const { weft, "ort-web": peer } = start;
      const text = (value) => `${value.toFixed(0)} ms`;
      const add = (what, of, goal) =>
        rows.add(
          `GPU: ${name}, ${what}`,
          text(of(weft)),
          text(of(peer)),
          of(peer) / of(weft),
          goal,
        );
      add("creation", ({ create }) => create, GOAL);
      add("first run", ({ first }) => first);
      const over = weft.first / weft.warm;
      rows.add(`GPU: ${name}, first over warm`, text(weft.first), text(weft.warm), over, {
        most: 1.2,
      });
      const plain = works.map(([, work]) => work);
      const { results, adapter } = await inPage(browser, "compare", path, plain, given);
      for (const [i, [work, , show]] of works.entries()) {
        const { runs } = results[i];
        rows.compare(`GPU: ${name} ${work}`, runs.weft, runs["ort-web"], show, GOAL);
      }
      result[name] = { start, results, adapter };
    }
  } finally {
    await browser.close();
  }
  return result;
}
