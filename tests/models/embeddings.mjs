// Compares hidden states with the reference that embeddings.py wrote (index.json and data.bin), for
// any runtime that JavaScript can call: Node with one of the wasm tiers, or a page.
//
//   node tests/models/embeddings.mjs [--wasm FILE] [--every N] PACKAGE
//
// PACKAGE is a module with onnxruntime's API (InferenceSession, Tensor, env); FILE is a wasm file
// to use in place of the one that the package picks (env.wasm.wasmBinary); with N only each N-th
// batch is compared, and those of the longest and shortest texts. The files are in
// build/embeddings. The exit status is 1 if a batch differs too much.

/** Mean of the rows whose mask is set: [batch] of Float64Array(width). */
function pool(hidden, mask, batch, sequence, width) {
  return Array.from({ length: batch }, (_, b) => {
    const sum = new Float64Array(width);
    for (let s = 0; s < sequence; s++) {
      const row = b * sequence + s;
      if (!mask[row]) continue;
      for (let i = 0; i < width; i++) sum[i] += hidden[row * width + i];
    }
    return sum; // the cosine does not care for the divisor
  });
}

function cosine(a, b) {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / Math.sqrt(aa * bb);
}

/** The larger one; NaN when either is. */
const larger = (a, b) => (a >= b || Number.isNaN(a) ? a : b);

/** The largest |a - b| on [padding, tokens], by the rows' mask. */
function differences(a, b, mask, width) {
  const largest = [0, 0];
  if (a.length !== b.length) return [NaN, NaN];
  for (let i = 0; i < a.length; i++) {
    const kind = Number(mask[Math.floor(i / width)]);
    largest[kind] = larger(largest[kind], Math.abs(a[i] - b[i]));
  }
  return largest;
}

async function compareBatch(index, entry, read, run) {
  const { batch, sequence } = entry;
  const size = batch * sequence;
  const feeds = {};
  for (const name of index.inputs) {
    const data = new BigInt64Array(await read(entry[name], 8 * size));
    feeds[name] = { data, dims: [batch, sequence] };
  }
  const bytes = await read(entry[index.output], 4 * size * index.width);
  const expected = new Float32Array(bytes);
  const actual = await run(feeds);
  const mask = feeds.attention_mask.data;
  const [a, b] = [actual, expected].map((x) => pool(x, mask, batch, sequence, index.width));
  const [padding, difference] = differences(actual, expected, mask, index.width);
  return {
    padding,
    difference,
    cosine: Math.min(...a.map((vector, i) => cosine(vector, b[i]))),
  };
}

/** Each N-th batch, and those of the longest and shortest texts. */
function choose(batches, every) {
  const lengths = batches.map(({ sequence }) => sequence);
  const ends = [Math.min(...lengths), Math.max(...lengths)];
  return batches.filter(({ sequence }, i) => i % every === 0 || ends.includes(sequence));
}

/**
 * Runs the batches. `read(offset, length)` answers an ArrayBuffer of data.bin;
 * `run({name: {data, dims}})` answers last_hidden_state as Float32Array. Answers
 * {texts, batches, failed, difference, cosine}.
 */
export async function compare(index, read, run, every = 1) {
  const total = { texts: 0, batches: 0, failed: 0, difference: 0, cosine: 1 };
  for (const entry of choose(index.batches, every)) {
    const { padding, difference, cosine } = await compareBatch(index, entry, read, run);
    const good =
      difference <= index.abs_max && padding <= index.abs_max_padding && cosine >= index.cosine_min;
    if (!good) total.failed++;
    total.texts += entry.batch;
    total.batches++;
    total.difference = larger(total.difference, difference);
    total.cosine = Math.min(total.cosine, cosine);
  }
  return total;
}

/** `run` for compare(), over a session of onnxruntime's API. */
export function runnerFor({ Tensor }, session) {
  return async (feeds) => {
    const tensors = Object.entries(feeds).map(([name, { data, dims }]) => [
      name,
      new Tensor("int64", data, dims),
    ]);
    const outputs = await session.run(Object.fromEntries(tensors));
    return outputs.last_hidden_state.data;
  };
}

/** A line for people. */
export function describe(index, total, seconds) {
  return (
    `${total.texts} texts in ${total.batches} batches, ${seconds.toFixed(1)} s: ` +
    `largest difference ${total.difference.toExponential(2)} (limit ${index.abs_max}), ` +
    `least cosine ${total.cosine.toFixed(8)} (limit ${index.cosine_min})`
  );
}

async function main() {
  const { open, readFile } = await import("node:fs/promises");
  const { pathToFileURL } = await import("node:url");
  const { parseArgs } = await import("node:util");
  const { values, positionals } = parseArgs({
    options: { wasm: { type: "string" }, every: { type: "string", default: "1" } },
    allowPositionals: true,
  });
  const folder = "build/embeddings";
  const index = JSON.parse(await readFile(`${folder}/index.json`, "utf8"));
  const file = await open(`${folder}/data.bin`);
  const read = async (position, length) => {
    const bytes = new Uint8Array(length);
    await file.read({ buffer: bytes, position });
    return bytes.buffer;
  };
  const runtime = await import(pathToFileURL(positionals[0]).href);
  if (values.wasm) runtime.env.wasm.wasmBinary = await readFile(values.wasm);
  const session = await runtime.InferenceSession.create(await readFile(index.model));
  const start = performance.now();
  const total = await compare(index, read, runnerFor(runtime, session), Number(values.every));
  console.log(describe(index, total, (performance.now() - start) / 1000));
  console.log(`${total.batches - total.failed} passed, ${total.failed} failed`);
  await file.close();
  process.exitCode = total.failed ? 1 : 0;
}

if (globalThis.process?.argv[1]?.endsWith("embeddings.mjs")) await main();
