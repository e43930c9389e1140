// Sessions on WebGPU in Chromium, on SwiftShader: in a page, isolated (the core's memory is shared
// then, and other threads are there) or not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chosen, folder } from "../gpu/flavours.mjs";
import { launch, swiftshader, withPage } from "./chromium.mjs";

let browser;
before(async () => (browser = await launch(swiftshader)));
after(() => browser.close());

async function work() {
  const { InferenceSession, Tensor, env } = await import("/weft-web/webgpu.js");
  const { cache, linear } = await import("/tests/web/onnx.mjs");
  const options = { executionProviders: ["webgpu"], preferredOutputLocation: "gpu-buffer" };
  const data = Float32Array.from({ length: 3000 }, (_, i) => Math.sin(i));
  const x = new Tensor(data, [1000, 3]);
  const [here, there] = [
    await InferenceSession.create(linear()),
    await InferenceSession.create(linear(), options),
  ];
  const [expected, actual] = [await here.run({ x }), await there.run({ x })];
  const { location } = actual.y;
  const values = await actual.y.getData();
  const errors = Array.from(expected.y.data, (value, i) => Math.abs(value - values[i]));

  const caching = await InferenceSession.create(cache(), options);
  const rows = (count) => new Tensor(new Float32Array(6 * count).fill(count), [1, 2, count, 3]);
  let { present } = await caching.run({ past: rows(0), k: rows(5) });
  ({ present } = await caching.run({ past: present, k: rows(1) }));
  const kept = Array.from(await present.getData());

  const device = await env.webgpu.device;
  const reading = await InferenceSession.create(linear(), { executionProviders: ["webgpu"] });
  const running = reading.run({ x }).catch(({ message }) => message);
  device.destroy();
  const { gpu } = there.runtime;
  const lost = String(await running);
  const again = (await reading.run({ x })).y.data;
  const same = values.every((value, i) => value === again[i]);
  return { gpu, location, error: Math.max(...errors), kept, lost, same };
}

for (const isolate of [false, true]) {
  test(`a page, ${isolate ? "" : "not "}isolated`, async () => {
    const place = { path: "/tests/web/browser/blank.html", isolate };
    await withPage(browser, place, async (page, complaints) => {
      const { gpu, location, error, kept, lost, same } = await page.evaluate(work);
      assert.match(gpu, /swiftshader/i);
      assert.equal(location, "gpu-buffer");
      assert.ok(error < 1e-6, `${error}`);
      const head = [...Array(15).fill(5), 1, 1, 1];
      assert.deepEqual(kept, [...head, ...head]);
      assert.match(lost, /lost/);
      assert.ok(same);
      assert.deepEqual(complaints, []);
    });
  });
}

/** Answers what tests/models/gpu.mjs does. */
async function compare(entry) {
  const weft = await import("/weft-web/webgpu.js");
  const { check } = await import("/tests/models/gpu.mjs");
  return check(weft, entry, async (file) => (await fetch(`/flavours/${file}`)).arrayBuffer());
}

for (const entry of chosen()) {
  test(entry.name, async (t) => {
    const place = { path: "/tests/web/browser/blank.html", folders: { "/flavours/": folder } };
    await withPage(browser, place, async (page) => {
      const { error, wrong } = await page.evaluate(compare, entry);
      t.diagnostic(`largest error ${error.toExponential(1)}`);
      assert.deepEqual(wrong, []);
    });
  });
}
