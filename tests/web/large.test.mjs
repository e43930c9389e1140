// Models of more than 4 GiB (with WEFT_LARGE; else the same on a small scale): by ranges from a
// server and from a file, with a peak of memory near the size of the weights. Alone on the machine:
// it takes 6 GB.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { serve } from "../../tools/serve.mjs";
import { even, expected, isLarge, wide, write } from "./large.mjs";
import { tier } from "./weft.mjs";

/** What Node with its workers, and the plan take besides. */
const PROCESS_BYTES = 300e6;
const WASM_BYTES = 12e6;

async function runClient(options) {
  const client = fileURLToPath(new URL("large_client.mjs", import.meta.url));
  const stdio = ["ignore", "pipe", "inherit"];
  const process_ = spawn(process.execPath, [client, JSON.stringify(options)], { stdio });
  let text = "";
  for await (const piece of process_.stdout) text += piece;
  return JSON.parse(text);
}

function check(t, sizes, weightBytes, factor, seen) {
  const { y, ...rest } = seen;
  t.diagnostic(`${(weightBytes / 1e9).toFixed(3)} GB of weights: ${JSON.stringify(rest)}`);
  assert.deepEqual(y, expected(sizes));
  assert.equal(seen.tier, isLarge ? "c" : (tier ?? "b"));
  assert.ok(seen.peakBytes <= factor * weightBytes + WASM_BYTES);
  assert.ok(seen.wasmBytes <= factor * weightBytes + WASM_BYTES);
  assert.ok(seen.rssBytes <= factor * weightBytes + PROCESS_BYTES);
}

for (const [name, sizes, factor] of [
  ["by ranges", even, 1.15],
  ["from a file, with a weight of more than 2 GiB", wide, 1.01],
])
  test(`a large model ${name}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "weft-"));
    const weightBytes = write(folder, sizes);
    const { url, close } = await serve({ roots: { "/": `${folder}/` } });
    const rows = sizes.width;
    const fromFile = { location: `${folder}/model.onnx`, rows };
    const byRanges = { location: `${url}/model.onnx`, data: `${url}/weights.bin`, rows };
    try {
      const seen = await runClient(sizes === even ? byRanges : fromFile);
      check(t, sizes, weightBytes, factor, seen);
    } finally {
      close();
      rmSync(folder, { recursive: true });
    }
  });
