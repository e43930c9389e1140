// The provider "auto": what it chooses, and what it says. A GPU that does nothing is faster than
// any CPU.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { NullGpu } from "../../../bench/null_gpu.mjs";
import { linear } from "../onnx.mjs";
import { model } from "../../../web/examples/bench/onnx.js";
import { InferenceSession, Tensor, env, warningsOf } from "../weft.mjs";
import "./gpu.mjs";

const WIDTH = 512;
const weight = (name) => [
  name,
  "float32",
  [WIDTH, WIDTH],
  new Float32Array(WIDTH ** 2).fill(1 / 8),
];
const products = () =>
  model({
    inputs: [["x", "float32", ["batch", "rows", WIDTH]]],
    outputs: [["y", "float32", ["batch", "rows", WIDTH]]],
    nodes: [
      ["MatMul", ["x", "a"], ["xa"]],
      ["MatMul", ["xa", "b"], ["y"]],
    ],
    weights: [weight("a"), weight("b")],
  });

after(async () => (await env.webgpu.device).destroy());

async function works(session) {
  const x = new Tensor(new Float32Array(3 * WIDTH).fill(1), [1, 3, WIDTH]);
  const { y } = await session.run({ x });
  return y.data.every((value) => Math.abs(value - (WIDTH / 8) ** 2) < 1e-2);
}

test("the GPU, where it is faster", async () => {
  const adapter = await new NullGpu().requestAdapter();
  const device = await adapter.requestDevice();
  const session = await InferenceSession.create(products(), {
    executionProviders: [{ name: "auto", device }],
  });
  const { gpu, why } = session.runtime;
  assert.match(gpu, /^null, no GPU at all/);
  assert.match(why, /^GPU: [\d.]+ ms against [\d.]+ ms on the CPU at a length of 128$/);
  await session.release();
});

test("the CPU, where the adapter is one", async () => {
  const session = await InferenceSession.create(products(), { executionProviders: ["auto"] });
  const { gpu, why } = session.runtime;
  assert.equal(gpu, undefined);
  assert.match(why, /^CPU: the GPU is one, too: .*(llvmpipe|SwiftShader)/);
  assert.ok(await works(session));
  await session.release();
});

test("the CPU, where there is no GPU, or it fails", async () => {
  const broken = await (await new NullGpu().requestAdapter()).requestDevice();
  broken.createComputePipelineAsync = () => Promise.reject(new Error("it is broken"));
  const create = (device) =>
    InferenceSession.create(products(), { executionProviders: [{ name: "auto", device }, "wasm"] });
  const warnings = await warningsOf(async () => {
    const none = await create({});
    assert.equal(none.runtime.why, "CPU: the option 'device' is no GPUDevice");
    const session = await create(broken);
    assert.match(session.runtime.why, /^CPU: the GPU fails: .*it is broken/);
    assert.equal(session.runtime.gpu, undefined);
    assert.ok(await works(session));
    await Promise.all([none.release(), session.release()]);
  });
  assert.deepEqual(warnings, []);
});

test("nobody else is told why", async () => {
  const session = await InferenceSession.create(linear(), { executionProviders: ["wasm"] });
  assert.equal("why" in session.runtime, false);
  await session.release();
});
