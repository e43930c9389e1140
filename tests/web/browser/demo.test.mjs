// The page of semantic search, as a user drives it. Leaves pictures of it in build/web.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { writeParagraphs } from "../../../tools/paragraphs.mjs";
import { launch, withPage } from "./chromium.mjs";

const build = fileURLToPath(new URL("../../../build/", import.meta.url));
const SECOND = 1000;

let browser;
before(async () => {
  mkdirSync(`${build}web`, { recursive: true });
  writeParagraphs(`${build}demo`);
  browser = await launch();
});
after(() => browser.close());

const picture = (name) => ({ path: `${build}web/${name}.png`, fullPage: true });

/** Waits until the documents are indexed. */
const ready = (page) => page.locator("body[data-state]").waitFor({ timeout: 120 * SECOND });

for (const isolate of [false, true]) {
  test(`questions and answers, ${isolate ? "" : "not "}isolated`, async () => {
    const options = { colorScheme: isolate ? "dark" : "light" };
    await withPage(browser, { path: "/", isolate, options }, async (page, complaints) => {
      const question = page.getByRole("searchbox", { name: "Your question" });
      assert.ok(await question.isDisabled());
      await page.getByRole("progressbar", { name: /^(Starting|Reading|Preparing)/ }).waitFor();
      await page.waitForFunction(() => document.querySelector("progress").value > 0);
      await page.screenshot(picture(`demo-loading-${options.colorScheme}`));
      await ready(page);
      await question.fill("What can a malicious model file do?");
      await question.press("Enter");
      const results = page.getByRole("list", { name: "Answers" }).getByRole("listitem");
      await results.first().waitFor();
      assert.equal(await results.count(), 5);
      assert.match(await results.first().innerText(), /hostile|stranger|malformed/);
      const scores = (await page.locator(".score").allInnerTexts()).map(Number);
      assert.deepEqual(
        scores,
        scores.toSorted((a, b) => b - a),
      );
      assert.ok(scores[0] > 0.4 && scores[0] <= 1, String(scores));
      assert.match(await page.getByRole("status").innerText(), /5 paragraphs for “What can .* ms/);
      assert.match(await page.locator("#tier").innerText(), /^B/);
      assert.equal(await page.locator("#isolated").innerText(), isolate ? "yes" : "no");
      await page.screenshot(picture(`demo-${options.colorScheme}`));
      assert.deepEqual(complaints, []);
    });
  });
}

test("an example by a click, on a phone", async () => {
  const options = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 };
  await withPage(browser, { path: "/", options }, async (page) => {
    await ready(page);
    await page.getByRole("button", { name: "How do I add a new operator?" }).click();
    await page.getByRole("listitem").first().waitFor();
    assert.match(await page.getByRole("listitem").first().innerText(), /operator/);
    const overflow = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth - clientWidth;
    });
    assert.equal(overflow, 0);
    await page.screenshot(picture("demo-phone"));
  });
});

test("a model that is not there: the page says so", async () => {
  await withPage(browser, { path: "/tests/web/browser/blank.html" }, async (page) => {
    await page.route("**/models/minilm.onnx", (route) => route.fulfill({ status: 404 }));
    await page.goto(new URL("/", page.url()).href);
    await page.getByRole("alert").waitFor();
    assert.match(await page.getByRole("alert").innerText(), /cannot fetch .*minilm\.onnx: 404/);
  });
});
