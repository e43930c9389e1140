// The package in Chromium: in a page, a worker and a service worker, isolated or not, under a
// strict policy; a large model by URL. WEFT_EVERY=N: each N-th batch of the embeddings.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, withPage } from "./chromium.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const path = "/tests/web/browser/blank.html";
const inPage = async () => {
  const { runSmallModel } = await import("/tests/web/browser/small.js");
  return runSmallModel();
};
const inWorker = () =>
  new Promise((resolve, reject) => {
    const worker = new Worker("/tests/web/browser/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
const inServiceWorker = async () => {
  const { serviceWorker } = navigator;
  const script = "/tests/web/browser/service-worker.js";
  const registration = await serviceWorker.register(script, { type: "module" });
  const worker = registration.installing ?? registration.active;
  return new Promise((resolve) => {
    serviceWorker.onmessage = ({ data }) => resolve(data);
    serviceWorker.startMessages();
    worker.postMessage("run");
  });
};

for (const isolate of [false, true]) {
  for (const [place, work] of Object.entries({ inPage, inWorker, inServiceWorker })) {
    test(`${place}, ${isolate ? "" : "not "}isolated`, async () => {
      await withPage(browser, { path, isolate }, async (page, complaints) => {
        const seen = await page.evaluate(work);
        assert.deepEqual(seen, { tier: "b", y: [9.5, 11.5], isolated: isolate });
        assert.deepEqual(complaints, []);
      });
    });
  }
}

test("a model by URL streams with progress, and takes little more than its weights", async () => {
  await withPage(browser, { path }, async (page) => {
    const { seen, size, peakBytes } = await page.evaluate(async () => {
      const { InferenceSession } = await import("/weft-web/index.js");
      const seen = [];
      const session = await InferenceSession.create("/models/minilm.onnx", {
        onProgress: (progress) => void seen.push(progress),
      });
      const { headers } = await fetch("/models/minilm.onnx", { method: "HEAD" });
      const size = Number(headers.get("content-length"));
      return { seen, size, peakBytes: session.runtime.peakBytes };
    });
    const read = seen.filter(({ stage }) => stage === "read");
    assert.ok(read.length > 20, "it came in pieces");
    assert.equal(read.at(-1).done, size);
    assert.ok(read.every(({ total }) => total === size));
    assert.ok(seen.some(({ stage }) => stage === "pack"));
    assert.ok(peakBytes <= 1.15 * size, `${peakBytes} bytes for ${size}`);
  });
});

test("embeddings agree with onnxruntime", async (t) => {
  const every = Number(process.env.WEFT_EVERY ?? 5);
  await withPage(browser, { path }, async (page) => {
    const { total, line } = await page.evaluate(async (every) => {
      const weft = await import("/weft-web/index.js");
      const { compare, describe, runnerFor } = await import("/tests/models/embeddings.mjs");
      const index = await (await fetch("/embeddings/index.json")).json();
      const read = async (offset, length) => {
        const headers = { range: `bytes=${offset}-${offset + length - 1}` };
        return (await fetch("/embeddings/data.bin", { headers })).arrayBuffer();
      };
      const session = await weft.InferenceSession.create("/models/minilm.onnx");
      const start = performance.now();
      const total = await compare(index, read, runnerFor(weft, session), every);
      return { total, line: describe(index, total, (performance.now() - start) / 1000) };
    }, every);
    t.diagnostic(line);
    assert.ok(total.texts >= 50);
    assert.equal(total.failed, 0);
  });
});
