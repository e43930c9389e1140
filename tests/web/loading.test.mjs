// Models from bytes, files and URLs; external data; progress and giving up; what goes wrong on the
// way; loads and runs that overlap.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { externalData, linear, model, withExternalData } from "./onnx.mjs";
import { InferenceSession, Tensor, messageOf, serving } from "./weft.mjs";

const ones = () => ({ x: new Tensor(new Float32Array([1, 1, 1]), [1, 3]) });
const linearOfOnes = [9.5, 11.5];
async function assertLinear(session) {
  assert.deepEqual([...(await session.run(ones())).y.data], linearOfOnes);
}
async function assertExternal(session) {
  const { y } = await session.run({ x: new Tensor(new Float32Array(4), [4]) });
  assert.deepEqual([...y.data], [1, 2, 3, 4]);
}

/** Megabytes of weights, so that a download has many pieces. */
function large() {
  const weight = new Float32Array(1 << 19).fill(0.5);
  return model({
    inputs: [["x", "float32", [1 << 19]]],
    outputs: [["y", "float32", [1 << 19]]],
    nodes: [["Add", ["x", "w"], ["y"]]],
    weights: [["w", "float32", [1 << 19], weight]],
  });
}

/** Answers in pieces, without saying how long it will be. */
const inPieces = (bytes, size) => async (response) => {
  for (let at = 0; at < bytes.length; at += size) {
    response.write(bytes.subarray(at, at + size));
    await new Promise(setImmediate);
  }
  response.end();
};

test("a URL, as text and as an object, in any pieces", async () => {
  const bytes = linear();
  await serving({ "/whole": bytes, "/pieces": inPieces(bytes, 7) }, async (base) => {
    for (const url of [`${base}/whole`, new URL(`${base}/whole`), `${base}/pieces`])
      await assertLinear(await InferenceSession.create(url));
  });
});

test("a path and a file: URL", async () => {
  const folder = mkdtempSync(join(tmpdir(), "weft-"));
  const path = join(folder, "a model.onnx");
  writeFileSync(path, linear());
  for (const location of [path, pathToFileURL(path), pathToFileURL(path).href])
    await assertLinear(await InferenceSession.create(location));
  rmSync(folder, { recursive: true });
});

test("progress: read, then pack, to the end", async () => {
  const bytes = large();
  await serving({ "/large": bytes, "/pieces": inPieces(bytes, 1 << 18) }, async (base) => {
    for (const [location, total] of [
      [bytes, bytes.length],
      [`${base}/large`, bytes.length],
      [`${base}/pieces`, 0],
    ]) {
      const seen = [];
      const onProgress = (progress) => void seen.push(progress);
      await InferenceSession.create(location, { onProgress });
      const read = seen.filter(({ stage }) => stage === "read");
      assert.equal(read.at(-1).done, bytes.length);
      assert.ok(read.every((progress) => progress.total === total));
      assert.ok(read.every(({ done }, i) => i === 0 || done >= read[i - 1].done));
      assert.deepEqual(seen.slice(0, read.length), read);
    }
  });
});

test("giving up, by signal, by answer and by exception", async () => {
  const bytes = large();
  const controller = () => new AbortController();
  await serving({ "/large": bytes }, async (base) => {
    for (const location of [bytes, `${base}/large`]) {
      const aborted = controller();
      aborted.abort(new Error("not wanted"));
      const late = controller();
      const cases = [
        [{ signal: aborted.signal }, /not wanted/],
        [{ signal: late.signal, onProgress: () => late.abort(new Error("enough")) }, /enough/],
        [{ onProgress: () => false }, /cancelled/],
        [
          {
            onProgress: () => {
              throw new Error("my bug");
            },
          },
          /my bug/,
        ],
      ];
      const session = await InferenceSession.create(linear());
      await assertLinear(session);
      const { bytes: before } = session.runtime;
      for (const [options, expected] of cases)
        assert.match(await messageOf(() => InferenceSession.create(location, options)), expected);
      assert.equal(session.runtime.bytes, before);
      await assertLinear(session);
    }
  });
});

test("places where no model is", async () => {
  await serving({ "/page": new TextEncoder().encode("<!doctype html>") }, async (base) => {
    const cases = [
      [`${base}/nothing`, /cannot fetch .*\/nothing: 404 Not Found/],
      [`${base}/page`, /ONNX|protobuf|field|byte|wire/],
      ["/no/such/file.onnx", /ENOENT.*file\.onnx/],
      ["http://127.0.0.1:1/closed", /fetch failed/],
    ];
    for (const [location, expected] of cases)
      assert.match(await messageOf(() => InferenceSession.create(location)), expected);
  });
});

test("a download that ends early", async () => {
  const bytes = large();
  const cut = (response) => {
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 100_000), () => response.destroy());
  };
  const short = inPieces(bytes.subarray(0, 100_000), 10_000);
  await serving({ "/cut": cut, "/short": short }, async (base) => {
    assert.equal(typeof (await messageOf(() => InferenceSession.create(`${base}/cut`))), "string");
    assert.match(await messageOf(() => InferenceSession.create(`${base}/short`)), /end|cut|byte/);
  });
  await assertLinear(await InferenceSession.create(linear()));
});

test("external data: every way to give it", async () => {
  const bytes = withExternalData("data.bin");
  const data = externalData();
  const folder = mkdtempSync(join(tmpdir(), "weft-"));
  const [modelPath, dataPath] = ["model.onnx", "data.bin"].map((name) => join(folder, name));
  writeFileSync(modelPath, bytes);
  writeFileSync(dataPath, data);
  await serving({ "/model": bytes, "/data": data }, async (base) => {
    for (const given of [data, data.buffer, new Blob([data]), `${base}/data`, dataPath])
      for (const path of ["data.bin", "./data.bin"])
        for (const location of [bytes, `${base}/model`])
          await assertExternal(
            await InferenceSession.create(location, { externalData: [{ path, data: given }] }),
          );
  });
  await assertExternal(await InferenceSession.create(modelPath));
  rmSync(folder, { recursive: true });
});

test("external data that is missing or too short", async () => {
  const bytes = withExternalData("data.bin");
  assert.match(await messageOf(() => InferenceSession.create(bytes)), /'b'.*data\.bin/);
  const externalData = [{ path: "data.bin", data: new Uint8Array(20) }];
  assert.match(await messageOf(() => InferenceSession.create(bytes, { externalData })), /'b'/);
});

test("downloads that overlap keep their data and their progress apart", async () => {
  const count = 8;
  const files = {};
  for (let i = 0; i < count; i++) {
    files[`/model${i}`] = inPieces(withExternalData(`data${i}.bin`), 11);
    files[`/data${i}`] = inPieces(new Uint8Array(new Float32Array(8).fill(i).buffer), 5);
  }
  await serving(files, async (base) => {
    const sessions = Array.from({ length: count }, async (_, i) => {
      const seen = [];
      const session = await InferenceSession.create(`${base}/model${i}`, {
        externalData: [{ path: `data${i}.bin`, data: `${base}/data${i}` }],
        onProgress: ({ stage, done }) => void seen.push(stage === "read" ? done : Infinity),
      });
      assert.ok(seen.every((done, k) => k === 0 || done >= seen[k - 1]));
      const { y } = await session.run({ x: new Tensor(new Float32Array(4), [4]) });
      assert.deepEqual([...y.data], [i, i, i, i]);
    });
    await Promise.all(sessions);
  });
});

test("failures among calls that overlap stay alone", async () => {
  const broken = linear().fill(255, 40, 60);
  const session = await InferenceSession.create(linear());
  const calls = Array.from({ length: 30 }, (_, i) => {
    if (i % 3 === 0) return InferenceSession.create(i % 2 ? linear() : broken);
    return session.run(i % 2 ? ones() : {});
  });
  const results = await Promise.allSettled(calls);
  results.forEach(({ status }, i) => assert.equal(status, i % 2 ? "fulfilled" : "rejected"));
  await assertLinear(session);
});

test("a run while another model is loaded, from its progress callback", async () => {
  const session = await InferenceSession.create(linear());
  const runs = [];
  const onProgress = () => void runs.push(assertLinear(session));
  const other = await InferenceSession.create(linear(), { onProgress });
  assert.ok(runs.length > 0);
  await Promise.all(runs);
  await assertLinear(other);
});

test("malformed models: an error each, and the next one loads", async () => {
  const good = linear();
  for (let length = 0; length < good.length; length += 3) {
    const message = await messageOf(() => InferenceSession.create(good.slice(0, length)));
    assert.ok(message === undefined || message.length > 10, message);
    await assertLinear(await InferenceSession.create(good));
  }
  assert.match(await messageOf(() => InferenceSession.create(new Uint8Array())), /empty|no graph/);
});
