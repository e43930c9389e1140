// Sessions on WebGPU, in Node: the same outputs as on the CPU, tensors on the GPU, what fails.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { cache, linear, wide } from "../onnx.mjs";
import { InferenceSession, Tensor, env, messageOf, warningsOf } from "../weft.mjs";
import { bufferOf, readBuffer, withGpu } from "./gpu.mjs";

const webgpu = { executionProviders: ["webgpu"] };
const onGpu = { ...webgpu, preferredOutputLocation: "gpu-buffer" };
const ramp = (length, phase = 0) => Float32Array.from({ length }, (_, i) => Math.cos(i + phase));
const rowsOf3 = (rows, phase) => new Tensor(ramp(3 * rows, phase), [rows, 3]);

function assertNear(actual, expected) {
  assert.equal(actual.length, expected.length);
  const wrong = expected.findIndex((value, i) => !(Math.abs(actual[i] - value) <= 1e-5));
  assert.equal(wrong, -1, `[${wrong}]: ${actual[wrong]} and not ${expected[wrong]}`);
}
/** What the model `linear` makes of rows. */
function linearOf(x) {
  const y = new Float32Array((x.length / 3) * 2);
  for (let i = 0; i < y.length; i++) {
    const [row, column] = [Math.floor(i / 2), i % 2];
    y[i] = column === 0 ? 0.5 : -0.5;
    for (let k = 0; k < 3; k++) y[i] += x[3 * row + k] * (1 + 2 * k + column);
  }
  return y;
}

after(async () => (await env.webgpu.device).destroy());

test("a session says on what it runs, and the outputs are the CPU's", async () => {
  const here = await InferenceSession.create(wide());
  const there = await InferenceSession.create(wide(), webgpu);
  assert.equal(here.runtime.gpu, undefined);
  assert.match(there.runtime.gpu, /llvmpipe|SwiftShader/);
  const [{ name, shape }] = here.inputMetadata;
  for (const rows of [1, 5, 40]) {
    const dims = shape.map((dim) => (typeof dim === "number" ? dim : rows));
    const x = new Tensor(ramp(dims.reduce((a, b) => a * b)), dims);
    const [expected, actual] = [await here.run({ [name]: x }), await there.run({ [name]: x })];
    for (const output of here.outputNames) {
      assert.deepEqual(actual[output].dims, expected[output].dims);
      assert.equal(actual[output].location, "cpu");
      assertNear(actual[output].data, expected[output].data);
    }
  }
  assert.match(there.dump("plan"), /^ +device /m);
  await Promise.all([here.release(), there.release()]);
});

test("profiles have the GPU's time of each step; its memory is counted", async () => {
  const session = await InferenceSession.create(linear(), { ...onGpu, enableProfiling: true });
  const x = rowsOf3(60_000);
  const held = session.runtime.gpuBytes;
  const start = performance.now();
  const results = [await session.run({ x }), await session.run({ x })];
  const most = 1e6 * (performance.now() - start);
  for (const { y } of results) assertNear(await y.getData(), linearOf(x.data));
  const steps = session.profile();
  for (const { calls, ns } of steps) assert.ok(calls === 2 && ns >= 0 && ns < most);
  assert.ok(steps.find(({ op }) => op === "matmul").ns > 0);
  assert.ok(session.runtime.gpuBytes >= held + 2 * 480_000);
  await session.release();
  assert.equal(session.runtime.gpuBytes, 0);
});

test("outputs stay on the GPU, are fed to other sessions, read and disposed of", async () => {
  const [first, second] = [
    await InferenceSession.create(linear(), onGpu),
    await InferenceSession.create(linear(), {
      ...webgpu,
      preferredOutputLocation: { y: "gpu-buffer" },
    }),
  ];
  const x = rowsOf3(600);
  const { y } = await first.run({ x });
  assert.equal(y.location, "gpu-buffer");
  assert.deepEqual([y.type, y.dims, y.size], ["float32", [600, 2], 1200]);
  assert.throws(() => y.data, /not on CPU/);
  const device = await env.webgpu.device;
  const bytes = await readBuffer(device, y.gpuBuffer, 4800);
  assertNear(new Float32Array(bytes), linearOf(x.data));

  // With other extents: the buffer itself.
  const pairs = linearOf(x.data);
  y.dims = [400, 3];
  const again = await second.run({ x: y });
  assert.equal(again.y.location, "gpu-buffer");
  assertNear(await again.y.getData(), linearOf(pairs));
  assert.equal(again.y.location, "cpu");
  assertNear(again.y.data, linearOf(pairs));

  y.dims = [600, 2];
  assertNear(await y.getData(true), pairs);
  again.y.dispose();
  assert.equal(again.y.location, "none");
  await Promise.all([first.release(), second.release()]);
});

test("tensors outlive the next run, and the session", async () => {
  const session = await InferenceSession.create(linear(), onGpu);
  const inputs = [0, 1, 2].map((phase) => rowsOf3(50, phase));
  const results = [];
  for (const x of inputs) results.push(await session.run({ x }));
  await session.release();
  for (const [i, { y }] of results.entries())
    assertNear(await y.getData(), linearOf(inputs[i].data));
});

test("a user's buffers as inputs and outputs", async () => {
  const session = await InferenceSession.create(linear(), webgpu);
  const device = await env.webgpu.device;
  const data = ramp(300);
  const from = bufferOf(device, data);
  const to = bufferOf(device, new Float32Array(200));
  const x = Tensor.fromGpuBuffer(from, { dataType: "float32", dims: [100, 3] });
  const y = Tensor.fromGpuBuffer(to, { dataType: "float32", dims: [100, 2] });
  assertNear((await session.run({ x })).y.data, linearOf(data));
  const results = await session.run({ x }, { y });
  assert.equal(results.y, y);
  assertNear(new Float32Array(await readBuffer(device, to, 800)), linearOf(data));
  // The same number for another buffer: nothing of the first one is bound.
  const other = bufferOf(device, ramp(300, 1));
  const next = Tensor.fromGpuBuffer(other, { dataType: "float32", dims: [100, 3] });
  await session.run({ x: next }, { y });
  assertNear(new Float32Array(await readBuffer(device, to, 800)), linearOf(ramp(300, 1)));
  assertNear(
    (await session.run({ x: rowsOf3(9) }, { y: new Tensor(new Float32Array(18), [9, 2]) })).y.data,
    linearOf(ramp(27)),
  );

  const uniform = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM });
  const cases = [
    [
      { x: Tensor.fromGpuBuffer(from, { dataType: "float32", dims: [200, 3] }) },
      {},
      "input 'x': its GPUBuffer has 1200 bytes, but [200,3] needs 2400",
    ],
    [
      { x: Tensor.fromGpuBuffer(uniform, { dataType: "float32", dims: [1, 3] }) },
      {},
      "input 'x': its GPUBuffer is not made for GPUBufferUsage.STORAGE",
    ],
    [{ x: rowsOf3(3) }, { y }, /output 'y'/],
  ];
  for (const [feeds, fetches, expected] of cases)
    assert.match(
      await messageOf(() => session.run(feeds, fetches)),
      expected.test ? expected : new RegExp(expected.replace(/[[\]]/g, "\\$&")),
    );
  const onCpu = await InferenceSession.create(linear());
  assert.equal(
    await messageOf(() => onCpu.run({ x })),
    "input 'x': a tensor on the GPU needs a session on WebGPU",
  );
  assertNear((await session.run({ x: rowsOf3(2) })).y.data, linearOf(ramp(6)));
  await session.release();
  for (const buffer of [from, to, other, uniform]) buffer.destroy();
});

test("runs of one session queue up; sessions run side by side", async () => {
  const sessions = await Promise.all(
    [0, 1, 2].map(() => InferenceSession.create(linear(), webgpu)),
  );
  const runs = Array.from({ length: 12 }, (_, i) => {
    const x = rowsOf3(700 + i, i);
    return sessions[i % 3].run({ x }).then(({ y }) => assertNear(y.data, linearOf(x.data)));
  });
  const released = sessions[0].release();
  await Promise.all(runs);
  await released;
  assert.match(await messageOf(() => sessions[0].run({ x: rowsOf3(1) })), /released/);
  await Promise.all(sessions.map((session) => session.release()));
});

test("KV caches grow on the GPU, and are fed back by handle", async () => {
  const session = await InferenceSession.create(cache(), {
    ...webgpu,
    preferredOutputLocation: { present: "gpu-buffer" },
  });
  const rows = (first, count) =>
    new Tensor(
      Float32Array.from({ length: 6 * count }, (_, j) => first + (j % 7)),
      [1, 2, count, 3],
    );
  const fed = [rows(0, 4)];
  let { present } = await session.run({ past: rows(0, 0), k: fed[0] });
  for (let step = 1; step < 30; step++) {
    fed.push(rows(step, 1));
    const results = await session.run({ past: present, k: fed[step] });
    assert.equal(results.present.location, "gpu-buffer");
    assert.deepEqual(results.present.dims, [1, 2, 4 + step, 3]);
    present.dispose();
    present = results.present;
  }
  const expected = [0, 1].flatMap((head) =>
    fed.flatMap(({ data, dims }) =>
      Array.from(data.slice(head * 3 * dims[2], (head + 1) * 3 * dims[2])),
    ),
  );
  assert.deepEqual(Array.from(await present.getData()), expected);
  // Where no place is asked for, it comes to the CPU.
  const onCpu = await InferenceSession.create(cache(), webgpu);
  const result = await onCpu.run({ past: rows(0, 0), k: fed[0] });
  assert.deepEqual(Array.from(result.present.data), Array.from(fed[0].data));
  await Promise.all([session.release(), onCpu.release()]);
});

test("a device of the user's, for one session or for all", async () => {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter.requestDevice();
  const session = await InferenceSession.create(linear(), {
    executionProviders: [{ name: "webgpu", device }],
  });
  assert.doesNotMatch(session.runtime.gpu, /f16|subgroup/);
  const x = rowsOf3(500);
  assertNear((await session.run({ x })).y.data, linearOf(x.data));
  await session.release();
  env.webgpu.device = device;
  assert.equal(await env.webgpu.device, device);
  const another = await InferenceSession.create(linear(), onGpu);
  const { y } = await another.run({ x });
  assertNear(new Float32Array(await readBuffer(device, y.gpuBuffer, 4000)), linearOf(x.data));
  await another.release();
  device.destroy();
  await device.lost;
  assert.notEqual(await env.webgpu.device, device);
});

test("providers that are not there: the next one, and the reason", async () => {
  const create = (...executionProviders) =>
    warningsOf(() => InferenceSession.create(linear(), { executionProviders }));
  const prefix =
    'removing requested execution provider "webgpu" from session options because it is not available: ';
  (await env.webgpu.device).destroy();
  await (
    await env.webgpu.device
  ).lost;
  await withGpu(undefined, async () => {
    assert.deepEqual(await create("webgpu", "wasm"), [
      `${prefix}there is no navigator.gpu: this browser has no WebGPU, or not here`,
    ]);
  });
  await withGpu({ requestAdapter: async () => null }, async () => {
    assert.deepEqual(await create("webgpu"), [
      `${prefix}WebGPU finds no adapter (GPU) on this machine`,
    ]);
    assert.match(await messageOf(() => env.webgpu.device), /no adapter/);
  });
  assert.deepEqual(await create({ name: "webgpu", device: 1 }, "wasm"), [
    `${prefix}the option 'device' is no GPUDevice`,
  ]);
  assert.throws(() => (env.webgpu.device = 1), /a GPUDevice is expected/);
  assert.deepEqual(await create("wasm", "webgpu"), []);
  assert.deepEqual(await create("webgpu"), []);
});
