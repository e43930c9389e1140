// What was measured about a GPU's kernels is kept in IndexedDB for the next visit. On a GPU that
// does nothing.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, withPage } from "./chromium.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/** The text of a session of a first or later visit; how long the database took. */
async function tuningOf(tune) {
  let asked;
  const { open } = IDBFactory.prototype;
  const { close } = IDBDatabase.prototype;
  IDBFactory.prototype.open = function (...names) {
    asked ??= performance.now();
    return open.apply(this, names);
  };
  const took = new Promise((resolve) => {
    IDBDatabase.prototype.close = function () {
      resolve(performance.now() - asked);
      return close.call(this);
    };
  });
  const { NullGpu } = await import("/bench/null_gpu.mjs");
  Object.defineProperty(navigator, "gpu", { value: new NullGpu(), configurable: true });
  const { InferenceSession } = await import("/weft-web/index.js");
  const { wide } = await import("/tests/web/onnx.mjs");
  const executionProviders = [{ name: "webgpu", tune }];
  const { tuning } = await InferenceSession.create(wide(), { executionProviders });
  return { tuning, ms: await took };
}
/** Spoils the kept texts; answers them. */
async function spoil() {
  const answer = (request) =>
    new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const database = await answer(indexedDB.open("weft-tuning"));
  const texts = database.transaction("texts", "readwrite").objectStore("texts");
  const [keys, kept] = [await answer(texts.getAllKeys()), await answer(texts.getAll())];
  for (const key of keys) await answer(texts.put(`${key}\nmatmul 1\n`, key));
  database.close();
  return kept;
}

const bench = fileURLToPath(new URL("../../../bench/", import.meta.url));
const place = { path: "/tests/web/browser/blank.html", folders: { "/bench/": bench } };

test("a later visit knows what the first one has measured", async (t) => {
  await withPage(browser, place, async (page, complaints) => {
    const visit = async (mode) => {
      await page.reload();
      return page.evaluate(tuningOf, mode);
    };
    const { tuning: nothing } = await visit("off");
    const { tuning: measured } = await visit("fast");
    assert.match(measured.slice(nothing.length), /^(matmul( \d+){11}\n)+$/);
    const later = await visit("off");
    assert.equal(later.tuning, measured);
    t.diagnostic(`the database answers in ${later.ms.toFixed(1)} ms`);
    assert.deepEqual(await page.evaluate(spoil), [measured]);
    assert.equal((await visit("off")).tuning, nothing);
    assert.deepEqual(complaints, []);
  });
});
