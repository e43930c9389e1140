// MiniLM and decoders in each flavour on WebGPU, in Node: as on the CPU, by tests/models/gpu.py.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { check } from "../../models/gpu.mjs";
import { env, weft } from "../weft.mjs";
import { chosen, read } from "./flavours.mjs";
import "./gpu.mjs";

after(async () => (await env.webgpu.device).destroy());

for (const entry of chosen()) {
  test(entry.name, async (t) => {
    const { error, wrong } = await check(weft, entry, read);
    t.diagnostic(`largest error ${error.toExponential(1)}`);
    assert.deepEqual(wrong, []);
  });
}
