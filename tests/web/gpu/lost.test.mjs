// Lost devices under sessions on WebGPU, in Node: the running run fails at once, the next one loads
// the model again on a new device, and what lay on the old one is gone. Many times in a row.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { cache, linear } from "../onnx.mjs";
import { InferenceSession, Tensor, env, messageOf, serving } from "../weft.mjs";
import { bufferOf } from "./gpu.mjs";

env.wasm.numThreads = 1; // others start later, and take memory
const webgpu = { executionProviders: ["webgpu"] };
const onGpu = { ...webgpu, preferredOutputLocation: "gpu-buffer" };
/** It compiles slowly, and keeps memory for that. */
const isSwiftShader = process.env.VK_ICD_FILENAMES?.includes("swiftshader");
const losses = process.env.WEFT_GPU_FULL ? 100 : isSwiftShader ? 2 : 5;
const warmUp = Math.floor(losses / 5);

after(async () => (await env.webgpu.device).destroy());

async function lose() {
  const device = await env.webgpu.device;
  device.destroy();
  await device.lost;
}
function rows(session, count) {
  const [{ name, shape }] = session.inputMetadata;
  const dims = shape.map((dim) => (typeof dim === "number" ? dim : count));
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.cos(i));
  return { [name]: new Tensor(data, dims) };
}

test("the running run fails within a second, the next one comes out the same", async () => {
  const session = await InferenceSession.create(linear(), webgpu);
  const feeds = rows(session, 600);
  const expected = await session.run(feeds);
  assert.match(session.dump("plan"), /^ +device /m);
  const device = await env.webgpu.device;
  device.destroy(); // nobody has heard of it yet
  const start = performance.now();
  const running = session.run(feeds);
  const queued = session.run(feeds);
  assert.match(await messageOf(() => running), /the GPU device is lost/);
  assert.ok(performance.now() - start < 1000);
  assert.deepEqual(await queued, expected);
  assert.notEqual(await env.webgpu.device, device);

  const late = session.run(feeds).catch(({ message }) => message);
  (await env.webgpu.device).destroy(); // the run is under way, or done by then
  const outcome = await late;
  if (typeof outcome === "string") assert.match(outcome, /the GPU device is lost/);
  else assert.deepEqual(outcome, expected);
  assert.deepEqual(await session.run(feeds), expected);
  assert.match(session.dump("plan"), /^ +device /m);
  await session.release();
  await lose();
  assert.match(await messageOf(() => session.run(feeds)), /released/);
});

test("models from URLs and files are loaded again, once for all runs that wait", async () => {
  let served = 0;
  const bytes = linear();
  const answer = (response) => {
    served++;
    response.writeHead(200, { "content-length": bytes.length });
    response.end(bytes);
  };
  const path = join(tmpdir(), `weft-lost-${process.pid}.onnx`);
  writeFileSync(path, bytes);
  await serving({ "/linear.onnx": answer }, async (base) => {
    let told = 0;
    const abort = new AbortController();
    const options = { ...webgpu, signal: abort.signal, onProgress: () => void told++ };
    const remote = await InferenceSession.create(`${base}/linear.onnx`, options);
    const local = await InferenceSession.create(path, webgpu);
    abort.abort(); // too late to give up
    const feeds = rows(remote, 600);
    const expected = await remote.run(feeds);
    await lose();
    told = 0;
    const again = [1, 2, 3].map(() => [remote.run(feeds), local.run(feeds)]).flat();
    for (const results of await Promise.all(again)) assert.deepEqual(results, expected);
    assert.equal(served, 2);
    assert.ok(told > 0);

    await lose();
    const failing = remote.run(feeds);
    const released = remote.release();
    assert.match(String(await messageOf(() => failing)), /released|undefined/);
    await Promise.all([released, local.release()]);
  });
});

test("a model that cannot be loaded again says so, and is tried again", async () => {
  let there = true;
  const bytes = linear();
  const answer = (response) => {
    response.writeHead(there ? 200 : 404);
    response.end(there ? bytes : "");
  };
  await serving({ "/linear.onnx": answer }, async (base) => {
    const session = await InferenceSession.create(`${base}/linear.onnx`, webgpu);
    const feeds = rows(session, 600);
    const expected = await session.run(feeds);
    await lose();
    there = false;
    assert.match(await messageOf(() => session.run(feeds)), /cannot fetch .*404/);
    there = true;
    assert.deepEqual(await session.run(feeds), expected);
    await session.release();
  });
  const own = linear();
  const session = await InferenceSession.create(own, webgpu);
  structuredClone(own.buffer, { transfer: [own.buffer] });
  await lose();
  assert.match(
    await messageOf(() => session.run(rows(session, 5))),
    /^weft: the GPU device of this session was lost, and the model's bytes are gone: /,
  );
  await session.release();
});

test("a device of the user's is the user's to replace", async () => {
  const device = await (await navigator.gpu.requestAdapter()).requestDevice();
  const session = await InferenceSession.create(linear(), {
    executionProviders: [{ name: "webgpu", device }],
  });
  await session.run(rows(session, 5));
  device.destroy();
  await device.lost;
  assert.match(
    await messageOf(() => session.run(rows(session, 5))),
    /^weft: the GPU device of this session was lost, which was given to it: create another session/,
  );
  await session.release();
});

test("what lay on the lost GPU is gone; the rest can be fed", async () => {
  const session = await InferenceSession.create(cache(), onGpu);
  const step = (count) => new Tensor(new Float32Array(6 * count).fill(count), [1, 2, count, 3]);
  const { present, sum } = await session.run({ past: step(0), k: step(4) });
  const kept = await (await session.run({ past: present, k: step(1) })).present.getData();
  const device = await env.webgpu.device;
  const buffer = bufferOf(device, new Float32Array(24));
  const lent = Tensor.fromGpuBuffer(buffer, { dataType: "float32", dims: [1, 2, 4, 3] });
  await session.run({ past: lent, k: step(1) });
  await lose();
  const gone = /^input 'past': the tensor's contents are gone with the GPU that was lost$/;
  assert.match(await messageOf(() => session.run({ past: present, k: step(1) })), gone);
  assert.match(
    await messageOf(() => session.run({ past: lent, k: step(1) })),
    /^input 'past': its GPUBuffer belongs to another GPU device; if that is lost, /,
  );
  assert.match(await messageOf(() => present.getData()), /lost/);
  assert.match(await messageOf(() => sum.getData()), /lost/);
  for (const tensor of [present, sum]) tensor.dispose();
  const fresh = await session.run({ past: new Tensor(kept, [1, 2, 5, 3]), k: step(2) });
  const head = [4, 4, 4, 4, 1, 2, 2].flatMap((value) => [value, value, value]);
  assert.deepEqual(Array.from(await fresh.present.getData()), [...head, ...head]);
  await session.release();
});

test(`${losses} losses in a row: the same results, and nothing piles up`, async (t) => {
  const sessions = [
    await InferenceSession.create(linear(), webgpu),
    await InferenceSession.create(cache(), onGpu),
  ];
  const feeds = rows(sessions[0], 600);
  const step = (count) => new Tensor(new Float32Array(6 * count).fill(count), [1, 2, count, 3]);
  const runAll = async () => {
    const { y } = await sessions[0].run(feeds);
    const { present, sum } = await sessions[1].run({ past: step(0), k: step(3) });
    const values = [Array.from(y.data), Array.from(await present.getData())];
    for (const tensor of [present, sum]) tensor.dispose();
    return values;
  };
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc");
  const memory = () => {
    collect();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    const { bytes, wasmBytes } = sessions[0].runtime;
    return { rss: rss / 2 ** 20, scripts: (heapUsed + arrayBuffers) / 2 ** 20, bytes, wasmBytes };
  };
  const expected = await runAll();
  let before;
  for (let i = 0; i < losses; i++) {
    const device = await env.webgpu.device;
    const running = i % 2 ? sessions[0].run(feeds) : undefined;
    device.destroy();
    await Promise.all([device.lost, running?.catch(() => undefined)]);
    assert.deepEqual(await runAll(), expected);
    if (i === warmUp) before = memory();
  }
  // What the process has more is the GPU's driver's own; its first devices take the most.
  const { rss, scripts, bytes, wasmBytes } = memory();
  t.diagnostic(`MiB more: ${(scripts - before.scripts).toFixed(1)}, ${(rss - before.rss) | 0}`);
  assert.ok(bytes <= before.bytes && wasmBytes === before.wasmBytes); // tests before left garbage
  assert.ok(scripts - before.scripts < 2);
  assert.ok(isSwiftShader || rss - before.rss < 100);
  await Promise.all(sessions.map((session) => session.release()));
});
