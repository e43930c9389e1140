// The bench page on SwiftShader, as a user drives it. Leaves pictures of it in build/web; that of
// docs/images was taken with WEFT_BENCH_SIZE=small.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, swiftshader, withPage } from "./chromium.mjs";

const build = fileURLToPath(new URL("../../../build/", import.meta.url));
const MINUTE = 60_000;
const size = process.env.WEFT_BENCH_SIZE ?? "tiny";
const place = { path: `/bench/?size=${size}` };

let browser;
before(async () => {
  mkdirSync(`${build}web`, { recursive: true });
  browser = await launch(swiftshader);
});
after(() => browser.close());

const state = (page, name) =>
  page
    .locator(`body[data-state="${name}"]`)
    .waitFor({ timeout: (size === "tiny" ? 5 : 15) * MINUTE });
const button = (page, name) => page.getByRole("button", { name, exact: true });

async function saved(page) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    button(page, "Save as JSON").click(),
  ]);
  assert.match(download.suggestedFilename(), /^weft-bench-\d{4}-\d\d-\d\d\.json$/);
  return JSON.parse(await readFile(await download.path(), "utf8"));
}

/** Every row has a figure, or what it is about is not there. */
function checkRows({ id, rows }, rounds) {
  for (const row of rows) {
    const what = `${id}: ${JSON.stringify(row)}`;
    if (row.state === "missing") {
      assert.match(row.why, /adapter has no/, what);
      continue;
    }
    assert.equal(row.state, "measured", what);
    assert.ok(row.value > 0 && Number.isFinite(row.value), what);
    assert.ok(row.ms.length === rounds && row.ms.every((ms) => ms > 0), what);
  }
}

test("all charts are measured and saved", async () => {
  const options = { colorScheme: "light", viewport: { width: 1200, height: 900 } };
  await withPage(browser, { ...place, options }, async (page, complaints) => {
    await state(page, "idle");
    assert.match(await page.locator("#adapter").innerText(), /swiftshader/i);
    assert.ok(await page.getByText("the CPU plays GPU").isVisible());
    assert.ok(await button(page, "Save as JSON").isDisabled());
    await button(page, "Measure").press("Enter");
    await state(page, "done");
    assert.equal(await page.getByRole("status").innerText(), "All charts are measured.");

    const record = await saved(page);
    assert.equal(record.format, "weft-bench 1");
    assert.equal(record.finished, true);
    assert.equal(record.size, size);
    assert.match(record.weft, /^\d+\.\d+\.\d+$/);
    assert.match(record.browser, /Chrom/);
    assert.ok(Math.abs(Date.parse(record.date) - Date.now()) < 10 * MINUTE);
    const { adapter, charts } = record;
    assert.equal(adapter.software, true);
    assert.equal(adapter.features["shader-f16"], false);
    assert.ok(adapter.limits.maxBufferSize >= 2 ** 28);
    const ids = ["matrix", "vector", "prefill", "decode", "encoder"];
    assert.deepEqual(
      charts.map(({ id }) => id),
      ids,
    );
    for (const chart of charts) checkRows(chart, record.sizes.rounds);
    const f16 = charts[0].rows.find(({ name }) => name === "f16");
    assert.equal(f16.state, "missing");

    for (const [i, { title, rows }] of charts.entries()) {
      const section = page.locator(`#${ids[i]}`);
      await section.getByRole("img", { name: `Chart: ${title}` }).waitFor();
      await section.getByText("Figures", { exact: true }).click();
      const cells = await section.locator("tr td:nth-of-type(1)").allInnerTexts();
      assert.equal(cells.length, rows.length);
      for (const [j, cell] of cells.entries())
        assert.match(cell, rows[j].value ? /^[\d.,]+$/ : /^not on this adapter$/);
    }
    await page.screenshot({ path: `${build}web/bench-light.png`, fullPage: true });
    assert.deepEqual(complaints, []);
  });
});

test("cancelled on a phone, in the dark, and begun again", async () => {
  const viewport = { width: 390, height: 844 };
  const options = { colorScheme: "dark", viewport, deviceScaleFactor: 2 };
  await withPage(browser, { ...place, options }, async (page, complaints) => {
    await state(page, "idle");
    for (const _ of [1, 2]) {
      await button(page, "Measure").click();
      await page.getByRole("img", { name: "Chart: Matrix by matrix" }).waitFor();
      await button(page, "Cancel").click();
      await state(page, "cancelled");
    }
    const record = await saved(page);
    assert.equal(record.finished, false);
    assert.equal(record.charts[0].id, "matrix");
    const overflow = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth - clientWidth;
    });
    assert.equal(overflow, 0);
    await page.screenshot({ path: `${build}web/bench-phone.png`, fullPage: true });
    assert.deepEqual(complaints, []);
  });
});

test("a page without WebGPU says so", async () => {
  const bare = await launch();
  try {
    await withPage(bare, place, async (page) => {
      await page.getByRole("alert").waitFor();
      assert.match(await page.getByRole("alert").innerText(), /no adapter|no navigator\.gpu/);
      assert.ok(await button(page, "Measure").isDisabled());
    });
  } finally {
    await bare.close();
  }
});
