// The GPU's process of Chromium crashes under a session on WebGPU.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, swiftshader, withPage } from "./chromium.mjs";

let browser;
before(async () => (browser = await launch(swiftshader)));
after(() => browser.close());

/** Leaves runs one after the other under way, until one fails; tells when. */
async function start() {
  const { InferenceSession, Tensor } = await import("/weft-web/webgpu.js");
  const { linear } = await import("/tests/web/onnx.mjs");
  const session = await InferenceSession.create(linear(), { executionProviders: ["webgpu"] });
  const x = new Tensor(
    Float32Array.from({ length: 30000 }, (_, i) => Math.sin(i)),
    [10000, 3],
  );
  const { y } = await session.run({ x });
  const expected = Array.from(y.data);
  let runs = 0;
  const failed = (async () => {
    for (;;) {
      await session.run({ x });
      runs++;
    }
  })().catch(({ message }) => ({ message, at: Date.now() }));
  globalThis.crash = { session, x, expected, failed, runs: () => runs };
}
async function goOn() {
  const { session, x, expected, failed } = globalThis.crash;
  const { message, at } = await failed;
  const { y } = await session.run({ x });
  return { message, at, gpu: session.runtime.gpu, same: String(expected) === String(y.data) };
}

test("the GPU's process crashes: the run fails within a second, the next one goes on", async () => {
  const place = { path: "/tests/web/browser/blank.html", isolate: true };
  await withPage(browser, place, async (page) => {
    await page.evaluate(start);
    const protocol = await browser.newBrowserCDPSession();
    await page.waitForFunction(() => globalThis.crash.runs() > 0);
    const crashed = Date.now();
    await protocol.send("Browser.crashGpuProcess").catch(() => undefined);
    const { message, at, gpu, same } = await page.evaluate(goOn);
    assert.match(message, /lost/);
    assert.ok(at - crashed < 1000, `${at - crashed} ms`);
    assert.match(gpu, /swiftshader/i);
    assert.ok(same);
  });
});
