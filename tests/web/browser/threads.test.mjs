// Threads in Chromium: the same bits on any number of them, in isolated pages, their workers and
// pages that are not isolated; workers that cannot start. That a page's main thread never sleeps is
// seen by its not failing: Chromium throws where it would.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, policy, withPage } from "./chromium.mjs";

let browser, alone;
before(async () => {
  browser = await launch();
  alone = await runIn("page", { count: 1 });
});
after(() => browser.close());

const path = "/tests/web/browser/blank.html";
const places = {
  page: async (options) => {
    const { runHere } = await import("/tests/web/browser/threads.js");
    return runHere(options);
  },
  worker: (options) =>
    new Promise((resolve, reject) => {
      const worker = new Worker("/tests/web/browser/threads.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(options);
    }),
};

/** Runs the model in a page of its own; answers what it saw and the console's complaints. */
const runIn = (place, options, page = {}) =>
  withPage(browser, { path, isolate: true, ...page }, async (tab, complaints) => {
    const seen = await tab.evaluate(places[place], options);
    return { ...seen, complaints };
  });

for (const place of Object.keys(places)) {
  test(`an isolated ${place}: the same bits on 1, 2, 3 and 8 threads`, async () => {
    for (const count of [1, 2, 3, 8])
      assert.deepEqual(await runIn(place, { count }), { ...alone, threads: count });
  });

  test(`an isolated ${place}: by default as many threads as help`, async () => {
    const { threads, ...rest } = await runIn(place, { count: 0 });
    assert.ok(threads >= 1 && threads <= 4);
    assert.deepEqual({ ...rest, threads: 1 }, alone);
  });

  test(`a ${place} that is not isolated: one thread, and a warning for who wants more`, async () => {
    const single = { ...alone, isolated: false };
    assert.deepEqual(await runIn(place, { count: 0 }, { isolate: false }), single);
    const { complaints, ...rest } = await runIn(place, { count: 4 }, { isolate: false });
    assert.deepEqual({ ...rest, complaints: [] }, single);
    assert.equal(complaints.length, 1);
    assert.match(complaints[0], /^weft: env.wasm.numThreads is 4, but there will be one thread/);
  });
}

test("a policy without workers: a warning, and one thread", async () => {
  const csp = policy.replace("worker-src 'self'", "worker-src 'none'");
  const { complaints, ...rest } = await runIn("page", { count: 3 }, { csp });
  assert.deepEqual({ ...rest, complaints: [] }, alone);
  const ours = complaints.filter((line) => line.startsWith("weft: "));
  assert.equal(ours.length, 1);
  assert.match(ours[0], /2 of 2 workers cannot start \(.+\); there is one thread/);
});

test("the thread's script from the folder that env.wasm.wasmPaths names, or the package's own", async () => {
  const elsewhere = { "/elsewhere/": new URL("../../../web/dist/", import.meta.url).pathname };
  const there = { count: 3, wasmPaths: "/elsewhere/" };
  assert.deepEqual(await runIn("page", there, { folders: elsewhere }), { ...alone, threads: 3 });
  const { complaints, ...rest } = await runIn("page", { count: 3, wasmPaths: "/nowhere/" });
  assert.deepEqual({ ...rest, complaints: [] }, { ...alone, threads: 3 });
  assert.ok(complaints.some((line) => line.includes("what env.wasm names cannot be used")));
});
