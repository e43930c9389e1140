// What is measured about a GPU's kernels: modes, export, texts that a page brings along. On a GPU
// that does nothing; in browsers: tests/web/browser/tuning.test.mjs.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { NullGpu } from "../../bench/null_gpu.mjs";
import { wide } from "./onnx.mjs";
import { InferenceSession, env, messageOf, warningsOf } from "./weft.mjs";

const gpu = new NullGpu();
Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
afterEach(() => delete env.webgpu.tuning);

/** A session's text, on a device of its own. */
async function tuningOf(provider, options = {}) {
  const device = await (await gpu.requestAdapter()).requestDevice();
  const executionProviders = [{ name: "webgpu", device, ...provider }];
  const session = await InferenceSession.create(wide(), { ...options, executionProviders });
  const { tuning } = session;
  await session.release();
  return tuning;
}
const nothing = await tuningOf({ tune: "off" });
const measured = await tuningOf({ tune: "fast" });

test("modes: by the provider's entry or the session's options", async () => {
  assert.match(nothing, /^weft-tuning 1 null\|[^\n]+\n$/);
  assert.ok(measured.startsWith(nothing));
  assert.match(measured.slice(nothing.length), /^(matmul( \d+){11}\n)+$/);
  assert.equal(await tuningOf({}, { tune: "off" }), nothing);
  assert.notEqual(await tuningOf({}, { tune: "full" }), nothing);
  assert.notEqual(await tuningOf({}), nothing); // "auto": the adapter does not say that it is a CPU
  assert.equal(await tuningOf({ tune: "off" }, { tune: "full" }), nothing);
  assert.equal(await messageOf(() => tuningOf({ tune: "slow" })), "tune: there is no 'slow'");
  const session = await InferenceSession.create(wide(), { tune: "full" });
  assert.equal(session.tuning, "");
});

test("what a page brings along is known, and what does not fit is passed over", async () => {
  env.webgpu.tuning = measured;
  assert.equal(await tuningOf({ tune: "off" }), measured);
  assert.equal(await tuningOf({ tune: "full" }), measured); // there is nothing left to measure
  const foreign = measured.replace("null", "other");
  const malformed = [`${nothing}matmul 1\n`, "weft-tuning", "", "\0"];
  env.webgpu.tuning = [foreign, measured, ...malformed];
  assert.equal(await tuningOf({ tune: "off" }), measured);
  env.webgpu.tuning = [foreign, ...malformed];
  const warnings = await warningsOf(async () =>
    assert.equal(await tuningOf({ tune: "off" }), nothing),
  );
  assert.deepEqual(warnings, []);
});
