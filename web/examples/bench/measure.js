// measure.js - what the page measures, and how. It knows no page: worker.js runs it there, a test
// in Node. `weft` is the module weft-web/webgpu.
//
// All rows of a chart are prepared first and then take turns, round after round, so that a GPU that
// changes its clock changes it for all; the median of the rounds counts. A round of products is
// many runs, one asked for after the other, and then the GPU has to be done with all of them; their
// inputs and outputs stay on it.
import { decoder, encoder, productChain, randomNumbers, toHalves } from "./models.js";

/** What is taken from a row that does not use it (`without` in weft-web). */
const removable = ["shader-f16", "subgroups", "packed-dot", "subgroup-matrix", "swizzle"];

const llama = { headSize: 64, kvHeads: 4, positions: 1024 };
const minilm = { layers: 6, width: 384, heads: 12, inner: 1536, vocabulary: 3000, positions: 512 };

/**
 * `budget`: milliseconds of a round, about. matrix: [rows, width] by `layers` weights [width,
 * width]; vector: the same with one row. `prompt`, `tokens`: of the decoder; `tokens`: of a text.
 */
export const sizes = {
  /** For tests: everything once, with few kernels to compile. */
  tiny: {
    budget: 1,
    rounds: 1,
    matrix: { rows: 8, width: 64, layers: 1 },
    vector: { rows: 1, width: 64, layers: 1 },
    decoder: {
      ...{ layers: 1, width: 64, heads: 4, inner: 128, vocabulary: 128 },
      ...{ kvHeads: 2, headSize: 16, positions: 64, prompt: 1, tokens: 4 },
    },
    encoder: {
      ...{ layers: 1, width: 64, heads: 4, inner: 128, vocabulary: 100, positions: 32 },
      ...{ tokens: 1, batches: [1, 2] },
    },
  },
  small: {
    budget: 100,
    rounds: 3,
    matrix: { rows: 256, width: 256, layers: 1 },
    vector: { rows: 1, width: 1024, layers: 1 },
    decoder: {
      ...{ ...llama, layers: 2, width: 256, heads: 4, inner: 768, vocabulary: 2048 },
      ...{ prompt: 64, tokens: 16 },
    },
    encoder: { ...minilm, tokens: 32, batches: [1, 2, 4] },
  },
  usual: {
    budget: 150,
    rounds: 5,
    matrix: { rows: 1024, width: 1024, layers: 4 },
    vector: { rows: 1, width: 2048, layers: 4 },
    decoder: {
      ...{ ...llama, layers: 6, width: 768, heads: 12, inner: 2048, vocabulary: 8000 },
      ...{ prompt: 256, tokens: 32 },
    },
    encoder: { ...minilm, tokens: 128, batches: [1, 2, 4, 8, 16] },
  },
  large: {
    budget: 300,
    rounds: 7,
    matrix: { rows: 2048, width: 4096, layers: 1 },
    vector: { rows: 1, width: 4096, layers: 2 },
    decoder: {
      ...{ ...llama, layers: 12, width: 768, heads: 12, inner: 2048, vocabulary: 32000 },
      ...{ prompt: 512, tokens: 64 },
    },
    encoder: { ...minilm, tokens: 128, batches: [1, 2, 4, 8, 16, 32, 64] },
  },
};

const MATRICES = ["subgroups", "subgroup-matrix"];
/**
 * Rows of the charts of products, each against the first. `weights`: as productChain has them.
 * `kernel`: the one that a row is about; where Weft takes another one, the row is not measured.
 */
export const products = {
  matrix: [
    { name: "f32", weights: "f32", uses: [] },
    { name: "f32, swizzled", weights: "f32", uses: ["swizzle"] },
    { name: "f32, subgroups", weights: "f32", uses: ["subgroups"], kernel: "matmul_lanes" },
    { name: "f32, subgroup matrix", weights: "f32", uses: MATRICES, kernel: "matmul_matrix" },
    { name: "f16", weights: "f16", uses: ["shader-f16"] },
    { name: "f16, swizzled", weights: "f16", uses: ["shader-f16", "swizzle"] },
    { name: "f16, subgroups", weights: "f16", uses: ["subgroups"], kernel: "matmul_lanes" },
    {
      name: "f16, subgroup matrix",
      weights: "f16",
      uses: ["shader-f16", ...MATRICES],
      kernel: "matmul_matrix",
    },
    { name: "int8", weights: "int8", uses: [] },
    { name: "int8, subgroups", weights: "int8", uses: ["subgroups"], kernel: "matmul_lanes" },
    { name: "int8, packed dot", weights: "int8", uses: ["packed-dot"], kernel: "matmul_rows" },
  ],
  vector: [
    { name: "f32", weights: "f32", uses: [] },
    { name: "f32, subgroups", weights: "f32", uses: ["subgroups"] },
    { name: "f16", weights: "f16", uses: [] },
    { name: "f16, subgroups", weights: "f16", uses: ["subgroups"] },
    { name: "int8", weights: "int8", uses: [] },
    { name: "int8, packed dot", weights: "int8", uses: ["packed-dot"] },
    { name: "int8, packed dot, subgroups", weights: "int8", uses: ["packed-dot", "subgroups"] },
  ],
};

/** Largest difference from the first row's results, of their largest, that rounding explains. */
export const tolerances = { f32: 1e-4, f16: 0.02, int8: 0.05 };

// ---- the adapter --------------------------------------------------------------------------------

const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
];
const softwareNames = /swiftshader|llvmpipe|lavapipe|basic render/i;

/** What there is to know about the GPU. Rejects where there is none, with the reason. */
export async function describeAdapter({ env }) {
  const device = await env.webgpu.device;
  const info = env.webgpu.adapter?.info ?? device.adapterInfo ?? {};
  const { vendor = "", architecture = "", device: name = "", description = "" } = info;
  const language = navigator.gpu.wgslLanguageFeatures ?? new Set();
  return {
    ...{ vendor, architecture, device: name, description },
    software:
      Boolean(info.isFallbackAdapter) ||
      softwareNames.test([vendor, architecture, name, description].join(" ")),
    features: {
      "shader-f16": device.features.has("shader-f16"),
      subgroups: device.features.has("subgroups"),
      "packed-dot": language.has("packed_4x8_integer_dot_product"),
      "subgroup-matrix": device.features.has("chromium-experimental-subgroup-matrix"),
      swizzle: true,
    },
    subgroupSizes: [info.subgroupMinSize, info.subgroupMaxSize].filter(Boolean),
    subgroupMatrices: [...(info.subgroupMatrixConfigs ?? [])].map(
      ({ M, N, K, componentType, resultComponentType }) =>
        `${M}x${N}x${K} ${componentType} to ${resultComponentType}`,
    ),
    limits: Object.fromEntries(limitNames.map((limit) => [limit, device.limits[limit]])),
  };
}

// ---- taking turns -------------------------------------------------------------------------------

/** What a row is about is not there. */
class Missing extends Error {}

export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];
const textOf = (error) => String(error?.message ?? error);

/** Opens an entry's runner, or says why there is none. */
async function open({ adapter }, { row, open }) {
  const lacking = row.uses.filter((feature) => !adapter.features[feature]);
  if (lacking.length > 0) {
    Object.assign(row, { state: "missing", why: `The adapter has no ${lacking.join(", ")}.` });
    return undefined;
  }
  try {
    return await open(row);
  } catch (error) {
    const state = error instanceof Missing ? "missing" : "failed";
    Object.assign(row, { state, why: textOf(error) });
    return undefined;
  }
}

/** One more figure of a row: work in a millisecond. */
async function measureOnce(row, { work, measure }) {
  try {
    row.ms.push(await measure());
    Object.assign(row, { state: "measured", value: work / median(row.ms) });
  } catch (error) {
    Object.assign(row, { state: "failed", why: textOf(error) });
  }
}

/**
 * Measures the rows of a chart, `entries` of {row, open}: open(row) answers {work, measure, close},
 * where measure() resolves to milliseconds.
 */
async function race(context, chart, entries) {
  const { rounds, report, step } = context;
  for (const { row } of entries) Object.assign(row, { state: "waiting", ms: [] });
  chart.rows = entries.map(({ row }) => row);
  report({ type: "chart", chart });
  const runners = [];
  try {
    for (const entry of entries) {
      step(`${chart.title}: preparing ${entry.row.name}`);
      const runner = await open(context, entry);
      if (runner) runners.push({ row: entry.row, runner });
      else context.skip(rounds);
    }
    for (let round = 1; round <= rounds; round++)
      for (const { row, runner } of runners) {
        step(`${chart.title}: ${row.name}, round ${round} of ${rounds}`);
        if (row.state !== "failed") await measureOnce(row, runner);
        report({ type: "chart", chart });
      }
  } finally {
    for (const { runner } of runners) await runner.close();
    report({ type: "chart", chart });
  }
}

/** Milliseconds of `run`: `count` of them, and what they have asked of the GPU. */
async function timeRuns(device, run, count) {
  const start = performance.now();
  for (let i = 0; i < count; i++) await run();
  await device.queue.onSubmittedWorkDone();
  return (performance.now() - start) / count;
}
/** How many runs take about so many milliseconds. */
async function countFor(device, run, budget) {
  for (let count = 1; ; count *= 2) {
    const ms = await timeRuns(device, run, count);
    if (ms * count >= budget / 4) return Math.max(1, Math.round(budget / ms));
  }
}

/** Session options for what a row uses. */
export const onGpu = (row) => ({
  executionProviders: [{ name: "webgpu", without: without(row) }],
  activations: row.uses.includes("packed-dot") ? "int8" : "auto",
});
/**
 * Where a row is about swizzled tiles, those of the other layout are what it does without; where it
 * is about subgroups, all tiles.
 */
function without({ uses, kernel }) {
  const removed = removable.filter((feature) => !uses.includes(feature));
  if (uses.includes("swizzle")) removed.push("linear");
  if (kernel === "matmul_lanes") removed.push("tiles");
  return removed;
}

// ---- products -----------------------------------------------------------------------------------

/** The numbers of a tensor, of f16 too. */
export function numbersOf({ type, data }) {
  if (type !== "float16" || !(data instanceof Uint16Array)) return Float32Array.from(data);
  const words = Uint32Array.from(data, (half) => ((half & 0x8000) << 16) | ((half & 0x7fff) << 13));
  return new Float32Array(words.buffer).map((number) => number * 2 ** 112);
}

function bufferOf(device, data) {
  const size = Math.ceil(data.byteLength / 16) * 16;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
  const buffer = device.createBuffer({ size, usage });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
}

/** The largest difference, of the largest number. */
export function differenceOf(numbers, expected) {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const here = Math.abs(numbers[i] - expected[i]);
    if (!(here <= difference)) difference = here; // NaN, too
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return difference / largest;
}

/** One product of `x`, on the host; throws Missing where another kernel does it. */
async function tryOut(session, row, kernel, x) {
  const { y } = await session.run({ x });
  row.kernel = / matmul '[^']*' (\w+):/.exec(session.dump("plan"))?.[1];
  if (kernel && row.kernel !== kernel)
    throw new Missing("The adapter has none that fits these matrices.");
  return numbersOf(y);
}

/** Opens a row of products; `first` keeps what the first one computes. */
async function openProduct(context, row, kernel, first) {
  const { weft, device, budget } = context;
  const { InferenceSession, Tensor } = weft;
  const { rows, width, layers } = first.shape;
  const dims = [rows, width];
  const type = row.weights === "f16" ? "float16" : "float32";
  const bytes = productChain(row.weights, rows, new Array(layers + 1).fill(width));
  const session = await InferenceSession.create(bytes, onGpu(row));
  const numbers = randomNumbers(rows * width, 1000);
  const data = type === "float16" ? toHalves(numbers) : numbers;
  const buffers = [bufferOf(device, data), bufferOf(device, data)];
  const close = async () => {
    for (const buffer of buffers) buffer.destroy();
    await session.release();
  };
  try {
    const result = await tryOut(session, row, kernel, new Tensor(type, data, dims));
    first.result ??= result;
    row.error = differenceOf(result, first.result);
    if (!(row.error <= tolerances[row.weights]))
      throw new Error(`Its results differ from those of f32 by ${row.error.toPrecision(2)}.`);
    const [x, y] = buffers.map((buffer) => Tensor.fromGpuBuffer(buffer, { dataType: type, dims }));
    const run = () => session.run({ x }, { y });
    const count = await countFor(device, run, budget);
    const work = (2 * rows * width * width * layers) / 1e6;
    return { work, measure: () => timeRuns(device, run, count), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function measureProducts(context, id, title) {
  const shape = context[id];
  const chart = { id, title, unit: "GFLOP/s", shape };
  const first = { shape };
  const entries = products[id].map(({ kernel, ...row }) => ({
    row: { ...row },
    open: (row) => openProduct(context, row, kernel, first),
  }));
  await race(context, chart, entries);
  return chart;
}

// ---- the decoder --------------------------------------------------------------------------------

const ints = (Tensor, numbers, dims) =>
  new Tensor("int64", BigInt64Array.from(numbers, BigInt), dims);
const zeros = (length) => new Array(length).fill(0);
const ones = (length) => new Array(length).fill(1);

/** A language model with one text, whose caches stay on the GPU. */
class Decoder {
  #session;
  #Tensor;
  #type;
  #sizes;
  #caches = {};
  #length = 0;

  /** `sequence`: tokens that it reads at once. */
  static async open({ InferenceSession, Tensor }, row, sizes, sequence) {
    const made = new Decoder();
    made.#Tensor = Tensor;
    made.#type = row.weights === "f16" ? "float16" : "float32";
    made.#sizes = sizes;
    const options = { ...onGpu(row), preferredOutputLocation: "gpu-buffer" };
    const bytes = decoder(made.#type, sizes, sequence);
    made.#session = await InferenceSession.create(bytes, options);
    return made;
  }
  /** Forgets the text, for one of `length` tokens that say nothing. */
  clear(length) {
    const { layers, kvHeads, headSize } = this.#sizes;
    const dims = [1, kvHeads, length, headSize];
    const Numbers = this.#type === "float16" ? Uint16Array : Float32Array;
    const data = new Numbers(kvHeads * length * headSize);
    this.#drop();
    for (let layer = 0; layer < layers; layer++)
      for (const part of ["key", "value"])
        this.#caches[`past_key_values.${layer}.${part}`] = new this.#Tensor(this.#type, data, dims);
    this.#length = length;
  }
  /** Reads tokens; the logits [1, tokens, vocabulary] of what may follow each, on the GPU. */
  async read(tokens) {
    const length = this.#length + tokens.length;
    const { logits, ...present } = await this.#session.run({
      input_ids: ints(this.#Tensor, tokens, [1, tokens.length]),
      attention_mask: ints(this.#Tensor, ones(length), [1, length]),
      ...this.#caches,
    });
    this.#drop();
    for (const [name, tensor] of Object.entries(present))
      this.#caches[name.replace("present", "past_key_values")] = tensor;
    this.#length = length;
    return logits;
  }
  /** Writes tokens, each the likeliest one. */
  async write(count) {
    for (let token = 1; count > 0; count--) {
      const logits = await this.read([token]);
      const { type } = logits;
      token = largestOf(numbersOf({ type, data: await logits.getData(true) }));
    }
  }
  #drop() {
    for (const tensor of Object.values(this.#caches)) tensor.dispose();
    this.#caches = {};
  }
  async close() {
    this.#drop();
    await this.#session.release();
  }
}

function largestOf(numbers) {
  let best = 0;
  for (let i = 1; i < numbers.length; i++) if (numbers[i] > numbers[best]) best = i;
  return best;
}

/** Measures `work` after `before`, once for good measure when it is opened. */
async function decoderRunner(model, amount, before, work) {
  const measure = async () => {
    await before();
    const start = performance.now();
    await work();
    return performance.now() - start;
  };
  try {
    await measure();
  } catch (error) {
    await model.close();
    throw error;
  }
  return { work: 1000 * amount, measure, close: () => model.close() };
}

async function openPrefill({ weft, device }, row, sizes) {
  const { prompt, vocabulary } = sizes;
  const model = await Decoder.open(weft, row, sizes, prompt);
  const text = Array.from({ length: prompt }, (_, i) => (7 * i) % vocabulary);
  const read = async () => {
    (await model.read(text)).dispose();
    await device.queue.onSubmittedWorkDone();
  };
  return decoderRunner(model, prompt, () => model.clear(0), read);
}

async function openDecode({ weft }, row, sizes) {
  const { prompt, tokens } = sizes;
  const model = await Decoder.open(weft, row, sizes, 1);
  const begin = async () => {
    model.clear(prompt);
    await model.write(1); // takes the caches over
  };
  return decoderRunner(model, tokens, begin, () => model.write(tokens));
}

/** What the adapter has; which layout of workgroup memory is Weft's own choice. */
const available = ({ adapter: { features } }) =>
  removable.filter((feature) => features[feature] && feature !== "swizzle");

async function measureDecoder(context, id, title) {
  const sizes = context.decoder;
  const chart = { id, title, unit: "tokens/s", shape: sizes };
  const all = available(context);
  const rows = [
    { name: "f32, no optional feature", weights: "f32", uses: [] },
    { name: "f32", weights: "f32", uses: all },
    { name: "f16", weights: "f16", uses: [...new Set(["shader-f16", ...all])] },
  ];
  const open = { prefill: openPrefill, decode: openDecode }[id];
  const entries = rows.map((row) => ({ row, open: (row) => open(context, row, sizes) }));
  await race(context, chart, entries);
  return chart;
}

// ---- the encoder --------------------------------------------------------------------------------

/** Texts a second by batch size, on the GPU and on the CPU; the vectors come back to JavaScript. */
async function measureEncoder(context, id, title) {
  const { weft, encoder: sizes, budget, model } = context;
  const { InferenceSession, Tensor } = weft;
  const { tokens, batches, vocabulary } = sizes;
  const chart = { id, title, unit: "texts/s", shape: sizes, model: model ?? null };
  const sessions = {};
  const sessionOf = (place, uses) => {
    const options = place === "GPU" ? onGpu({ uses }) : { executionProviders: ["wasm"] };
    sessions[place] ??= InferenceSession.create(model ?? encoder(sizes), options);
    return sessions[place];
  };
  const feedsOf = (batch) => {
    const [count, dims] = [batch * tokens, [batch, tokens]];
    return {
      input_ids: ints(
        Tensor,
        Array.from({ length: count }, (_, i) => (13 * i) % vocabulary),
        dims,
      ),
      attention_mask: ints(Tensor, ones(count), dims),
      token_type_ids: ints(Tensor, zeros(count), dims),
    };
  };
  const entries = ["GPU", "CPU"].flatMap((place) =>
    batches.map((batch) => ({
      row: {
        name: `${place}, batch of ${batch}`,
        ...{ place, batch, uses: place === "GPU" ? available(context) : [] },
      },
      async open(row) {
        const session = await sessionOf(place, row.uses);
        const feeds = feedsOf(batch);
        const run = () => session.run(feeds);
        await run();
        const count = await countFor(context.device, run, budget);
        const measure = async () => {
          if (place === "CPU") row.threads = session.runtime.threads;
          return timeRuns(context.device, run, count);
        };
        return { work: 1000 * batch, measure, close: () => undefined };
      },
    })),
  );
  try {
    await race(context, chart, entries);
  } finally {
    for (const session of Object.values(sessions)) await (await session).release();
  }
  return chart;
}

// ---- all ----------------------------------------------------------------------------------------

/** In order: the chart's id, its title, and what measures it. */
const charts = [
  ["matrix", "Matrix by matrix", measureProducts],
  ["vector", "One row by matrix", measureProducts],
  ["prefill", "Language model: reading the prompt", measureDecoder],
  ["decode", "Language model: writing", measureDecoder],
  ["encoder", "Text encoder: GPU against CPU", measureEncoder],
];

const encoderRows = ({ encoder: { batches } }) => 2 * batches.length;

/** Steps that will be reported, those of missing rows included. */
function stepsOf(context) {
  const rows = products.matrix.length + products.vector.length + 3 + 3 + encoderRows(context);
  return rows * (1 + context.rounds);
}

/**
 * Measures all charts. `size`: one of sizes. `model`: a URL of MiniLM in ONNX, in place of the one
 * that is made. `only`: ids of charts, by default all. report(message): {type: "progress", label,
 * done, total}, or {type: "chart", chart} whenever one has changed.
 */
export async function measure(weft, { size, model, only, report = () => undefined }) {
  const device = await weft.env.webgpu.device;
  const adapter = await describeAdapter(weft);
  const context = { ...sizes[size], weft, device, adapter, model, report };
  const total = stepsOf(context);
  let done = 0;
  context.step = (label) => report({ type: "progress", label, done: done++, total });
  context.skip = (steps) => (done += steps);
  const results = [];
  for (const [id, title, work] of charts)
    if (!only || only.includes(id)) results.push(await work(context, id, title));
  return { adapter, size, sizes: sizes[size], charts: results };
}
