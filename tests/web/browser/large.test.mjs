// A model of more than 4 GiB in Chromium (with WEFT_LARGE; else the same on a small scale), loaded
// by ranges. Alone on the machine: it takes 6 GB.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { even, expected, isLarge, write } from "../large.mjs";
import { launch, withPage } from "./chromium.mjs";

/** What a page takes besides. */
const PAGE_BYTES = 400e6;
const WASM_BYTES = 12e6;

/** The most memory that a process of the browser has held; undefined where Linux does not tell. */
async function peakOf(browser) {
  if (!existsSync("/proc/self/status")) return undefined;
  const { processInfo } = await (
    await browser.newBrowserCDPSession()
  ).send("SystemInfo.getProcessInfo");
  const peaks = processInfo.map(({ id }) => {
    const [, kib] = /VmHWM:\s*(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, "utf8"));
    return Number(kib) * 1024;
  });
  return Math.max(...peaks);
}

test("a large model by ranges", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "weft-"));
  const browser = await launch();
  try {
    const weightBytes = write(folder, even);
    const place = { path: "/tests/web/browser/blank.html", folders: { "/large/": `${folder}/` } };
    const seen = await withPage(browser, place, async (page, complaints) => {
      const work = async ({ rows, force }) => {
        const weft = await import("/weft-web/index.js");
        const { loadAndRun } = await import("/tests/web/large_run.mjs");
        if (force) weft.env.wasm.wasmPaths = { wasm: "/weft-web/weft-c.wasm" };
        const data = new URL("/large/weights.bin", location.href).href;
        return loadAndRun(weft, { location: "/large/model.onnx", data, rows });
      };
      const answer = await page.evaluate(work, { rows: even.width, force: !isLarge });
      assert.deepEqual(complaints, []);
      return { ...answer, rssBytes: await peakOf(browser) };
    });
    const { y, ...rest } = seen;
    t.diagnostic(`${(weightBytes / 1e9).toFixed(3)} GB of weights: ${JSON.stringify(rest)}`);
    assert.deepEqual(y, expected(even));
    assert.equal(seen.tier, "c");
    assert.ok(seen.wasmBytes <= 1.15 * weightBytes + WASM_BYTES);
    assert.ok((seen.rssBytes ?? 0) <= 1.15 * weightBytes + PAGE_BYTES);
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true });
  }
});
