// Compares models on WebGPU with what gpu.py wrote in build/flavours, for any place where the
// package runs: Node or a page.

/** The largest |a - b|, relative to the largest |b|; NaN where there is one, or another length. */
function distance(a, b) {
  let [error, largest] = [a.length === b.length ? 0 : NaN, 0];
  for (let i = 0; i < b.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    error = difference <= error ? error : difference;
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return error / largest;
}

const best = (row) => row.reduce((at, value, i) => (value > row[at] ? i : at), 0);
const integers = ({ Tensor }, values, dims) =>
  new Tensor("int64", BigInt64Array.from(values, BigInt), dims);

async function encode(weft, session, { feed }) {
  const feeds = Object.entries(feed).map(([name, { data, dims }]) => [
    name,
    integers(weft, data, dims),
  ]);
  const { last_hidden_state } = await session.run(Object.fromEntries(feeds));
  return { values: await last_hidden_state.getData(), tokens: undefined };
}

/** Greedy tokens, and the logits of all positions. The caches stay on the GPU. */
async function decode(weft, session, { prompt, tokens: { length }, cache }) {
  const { Tensor } = weft;
  const tensors = session.inputMetadata.filter(({ name }) => name.startsWith("past"));
  let past = Object.fromEntries(
    tensors.map(({ name, type }) => [
      name,
      new Tensor(type, type === "float16" ? new Uint16Array() : new Float32Array(), cache),
    ]),
  );
  const [values, tokens] = [[], []];
  for (let [ids, total] = [prompt, prompt.length]; tokens.length < length; total++) {
    const feeds = {
      input_ids: integers(weft, ids, [1, ids.length]),
      attention_mask: integers(weft, Array(total).fill(1), [1, total]),
    };
    if (session.inputNames.includes("position_ids")) {
      const positions = ids.map((_, i) => total - ids.length + i);
      feeds.position_ids = integers(weft, positions, [1, ids.length]);
    }
    const results = await session.run({ ...feeds, ...past });
    const logits = Array.from(await results.logits.getData(true), Number);
    for (const logit of logits) values.push(logit); // too many for arguments
    tokens.push(best(logits.slice(-logits.length / ids.length)));
    for (const tensor of Object.values(past)) tensor.dispose();
    past = Object.fromEntries(
      tensors.map(({ name }) => [name, results[name.replace("past_key_values", "present")]]),
    );
    ids = tokens.slice(-1);
  }
  for (const tensor of Object.values(past)) tensor.dispose();
  return { values, tokens };
}

/**
 * Runs one entry of index.json; `read(file)` answers an ArrayBuffer. Answers what is wrong, and the
 * largest error.
 */
export async function check(weft, entry, read) {
  const expected = new Float32Array(await read(entry.values));
  const model = new Uint8Array(await read(entry.model));
  const session = await weft.InferenceSession.create(model, {
    executionProviders: ["webgpu"],
    preferredOutputLocation: "gpu-buffer",
  });
  const { values, tokens } = await (entry.tokens ? decode : encode)(weft, session, entry);
  const { gpu } = session.runtime;
  await session.release();
  const error = distance(values, expected);
  const wrong = [];
  if (!gpu) wrong.push("it ran on the CPU");
  if (!(error <= entry.tolerance)) wrong.push(`differs by ${error} of the largest`);
  if (String(tokens) !== String(entry.tokens)) wrong.push(`tokens ${tokens}, not ${entry.tokens}`);
  return { error, wrong: wrong.map((text) => `${entry.name}: ${text}`) };
}
