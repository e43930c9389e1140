// External data that comes from afar: what is asked of a server, servers of several kinds and their
// failures, giving up, and the tier that follows from its size.
import assert from "node:assert/strict";
import { test } from "node:test";
import { model } from "./onnx.mjs";
import { InferenceSession, Tensor, inFreshProcess, messageOf, serving } from "./weft.mjs";

const ROWS = 96 << 10;
/** A small tensor at the end of the file, which the graph needs, and a large one before it. */
const tableBytes = ROWS * 4 * 4;
const shapeAt = 512 + tableBytes + (1 << 20);
const fileBytes = shapeAt + 16;

/** y[2,2] = reshape(table[row]); `op` in place of Reshape. */
function tableModel(op = "Reshape") {
  return model({
    inputs: [["row", "int64", [1]]],
    outputs: [["y", "float32", [2, 2]]],
    nodes: [
      ["Gather", ["table", "row"], ["picked"]],
      [op, ["picked", "shape"], ["y"]],
    ],
    weights: [
      ["table", "float32", [ROWS, 4], { location: "data", offset: 512, length: tableBytes }],
      ["shape", "int64", [2], { location: "data", offset: shapeAt, length: 16 }],
    ],
  });
}
function dataFile() {
  const bytes = new Uint8Array(fileBytes);
  new Float32Array(bytes.buffer, 512, ROWS * 4).forEach((_, i, table) => (table[i] = i));
  new BigInt64Array(bytes.buffer, shapeAt, 2).fill(2n);
  return bytes;
}
const data = dataFile();

const rangeOf = (request) => {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range);
  return [Number(first), Number(last) + 1];
};
/** Serves ranges, and notes them. */
const ranged = (seen, headers) => (response, request) => {
  const [from, to] = rangeOf(request);
  seen.push([from, to]);
  response.writeHead(206, {
    "content-length": to - from,
    "content-range": `bytes ${from}-${to - 1}/${fileBytes}`,
    ...headers?.(seen.length),
  });
  response.end(data.subarray(from, to));
};

const create = (given, options) =>
  InferenceSession.create(tableModel(), {
    ...options,
    externalData: [{ path: "data", data: given }],
  });
async function assertTable(session) {
  for (const row of [0, 1234, ROWS - 1]) {
    const { y } = await session.run({ row: new Tensor("int64", [BigInt(row)]) });
    assert.deepEqual([...y.data], [4 * row, 4 * row + 1, 4 * row + 2, 4 * row + 3]);
  }
  await session.release();
}

test("only what the model needs is asked for: first what the graph needs", async () => {
  const seen = [];
  await serving({ "/data": ranged(seen) }, async (base) => {
    const steps = [];
    const onProgress = (step) => void steps.push(step);
    await assertTable(await create(`${base}/data`, { onProgress }));
    const whole = [
      [shapeAt, shapeAt + 16],
      [512, 512 + tableBytes],
    ];
    assert.deepEqual(seen, whole);
    const read = steps.filter(({ stage }) => stage === "read");
    assert.ok(read.every(({ done }, i) => i === 0 || done >= read[i - 1].done));
    const total = tableModel().length + tableBytes + 16;
    assert.deepEqual(read.at(-1), { stage: "read", done: total, total });
  });
});

test("servers that know no ranges, and Blobs", async () => {
  await serving({ "/data": data }, async (base) => {
    await assertTable(await create(`${base}/data`));
    await assertTable(await create(new Blob([data])));
  });
});

test("what breaks off goes on where it ended", async () => {
  const seen = [];
  const good = ranged(seen);
  let calls = 0;
  const shaky = (response, request) => {
    if (++calls % 2 === 0) return good(response, request);
    const [from, to] = rangeOf(request);
    if (to - from < 1000) return response.writeHead(503).end();
    response.writeHead(206, { "content-length": to - from });
    return response.write(data.subarray(from, from + 300_000), () => response.destroy());
  };
  await serving({ "/data": shaky }, async (base) => assertTable(await create(`${base}/data`)));
  assert.equal(seen.at(-1)[1], 512 + tableBytes);
  assert.ok(seen.at(-1)[0] > 512, "not from the start again");
});

test("failures of servers are sentences, and leave nothing behind", async () => {
  const answer = (status) => (response) => void response.writeHead(status).end();
  const short = (bytes) => (response) => response.end(bytes);
  const seen = [];
  const files = {
    "/404": answer(404),
    "/416": answer(416),
    "/503": answer(503),
    "/short": short(data.subarray(0, 1000)),
    "/nearly": short(data.subarray(0, fileBytes - 1)),
    "/changes": ranged(seen, (count) => ({ etag: `"${count}"` })),
    "/other": (response, request) => {
      const [from, to] = rangeOf(request);
      response.writeHead(206, { "content-range": `bytes ${from + 100}-${to + 99}/${fileBytes}` });
      response.end(new Uint8Array(to - from));
    },
  };
  const cases = {
    "/404": /^weft: cannot fetch .*\/404: 404 Not Found$/,
    "/416": /^weft: .*\/416 has no bytes \d+ to \d+$/,
    "/503": /^weft: cannot fetch .*\/503: 503 /,
    "/short": /^weft: .*\/short ends at byte 1000, but the model's external data 'data' is needed/,
    "/nearly": /^weft: .*\/nearly ends at byte \d+, but the model's external data 'data' is needed/,
    "/changes": /^weft: .*\/changes changed while it was read$/,
    "/other": /^weft: .*\/other answers with other bytes$/,
  };
  const session = await InferenceSession.create(tableModel(), {
    externalData: [{ path: "data", data }],
  });
  const { bytes: before } = session.runtime;
  await serving(files, async (base) => {
    for (const [path, expected] of Object.entries(cases))
      assert.match(await messageOf(() => create(base + path)), expected);
  });
  const { bytes: after } = session.runtime;
  assert.ok(after - before < 4096, `${after - before} bytes`); // the buffer of texts may grow
});

test("giving up on the way", async () => {
  await serving({ "/data": ranged([]) }, async (base) => {
    const controller = new AbortController();
    const abort = ({ done }) => {
      if (done > tableBytes / 2) controller.abort(new Error("enough"));
    };
    const options = { onProgress: abort, signal: controller.signal };
    assert.match(await messageOf(() => create(`${base}/data`, options)), /enough/);
    const stop = ({ done }) => done < tableBytes / 2;
    assert.match(await messageOf(() => create(`${base}/data`, { onProgress: stop })), /cancelled/);
  });
});

test("a graph that cannot be is refused before the large part is fetched", async () => {
  const seen = [];
  await serving({ "/data": ranged(seen) }, async (base) => {
    const externalData = [{ path: "data", data: `${base}/data` }];
    const load = () => InferenceSession.create(tableModel("NoSuchThing"), { externalData });
    assert.match(await messageOf(load), /NoSuchThing/);
    assert.equal(seen.length, 1);
  });
});

/** Code for a fresh process: loads a model with 5 GB of weights, gives up at the first bytes. */
const loadFiveGigabytes = (setUp) => `
  import { model } from "./onnx.mjs";
  const { Memory, validate } = WebAssembly;
  const widths = [];
  WebAssembly.Memory = class extends Memory {
    constructor(limits) {
      super(limits);
      widths.push(limits.address ?? "i32");
    }
  };
  const bytes = model({
    inputs: [["row", "int64", [1]]],
    outputs: [["y", "float32", [1, 36000]]],
    nodes: [["Gather", ["w", "row"], ["y"]]],
    weights: [["w", "float32", [35000, 36000], { location: "w", offset: 0, length: 5.04e9 }]],
  });
  let data = "data:application/octet-stream,abcdefgh";
  const onProgress = ({ done }) => done <= bytes.length;
  ${setUp}
  const { InferenceSession } = await import("../../web/dist/index.js");
  const externalData = [{ path: "w", data }];
  await InferenceSession.create(bytes, { externalData, onProgress }).catch(({ message }) =>
    console.log(widths.join(), message),
  );
`;
const memory64 = WebAssembly.validate(
  new Uint8Array([...[0, 97, 115, 109, 1, 0, 0, 0], ...[5, 3, 1, 4, 1]]),
);

test("weights of more than 4 GiB get a 64-bit memory, and only they", { skip: !memory64 }, () => {
  const gaveUp = "loading was cancelled by the progress callback\n";
  assert.equal(inFreshProcess(loadFiveGigabytes("")).stdout, `i32,i64 ${gaveUp}`);
  const known = `
    data = new Blob([new Uint8Array(8)]);
    Object.defineProperty(data, "size", { value: 5.04e9 });
  `;
  assert.equal(inFreshProcess(loadFiveGigabytes(known)).stdout, `i64 ${gaveUp}`);
});

test("an engine without 64-bit memory says so", () => {
  const { stdout } = inFreshProcess(
    loadFiveGigabytes(`
      const code = (bytes) => bytes[18] === 5; // a section of memories behind types and functions
      WebAssembly.validate = (bytes) => !code(bytes) && validate(bytes);
    `),
  );
  assert.match(stdout, /the model's weights take 5\.0 GB, which needs 64-bit wasm memory/);
});
