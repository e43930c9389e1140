// What the bench page measures gives the right numbers: every row's kernel, forced by taking the
// features of the others away, against products in plain JavaScript. Compiling takes long where the
// GPU is a CPU: all but one run in test-full.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as bench from "../../../web/examples/bench/measure.js";
import { productChain, toHalves } from "../../../web/examples/bench/models.js";
import { products } from "../bench_products.mjs";
import { InferenceSession, Tensor, env, warningsOf } from "../weft.mjs";
import "./gpu.mjs";

const full = Boolean(process.env.WEFT_GPU_FULL);
const { features } = await bench.describeAdapter({ env });

after(async () => (await env.webgpu.device).destroy());

for (const [chart, rows] of Object.entries(bench.products))
  for (const { name, weights, uses, kernel } of rows) {
    const has = uses.every((feature) => features[feature]);
    const later = !full && (chart === "matrix" || name !== "f32");
    const skip = !has ? "not on this adapter" : later && "test-full";
    test(`${chart}: ${name}`, { skip }, async () => {
      const { widths, x, expected } = products;
      const count = chart === "vector" ? 1 : products.rows;
      const session = await InferenceSession.create(
        productChain(weights, count, widths),
        bench.onGpu({ uses, kernel }),
      );
      const type = weights === "f16" ? "float16" : "float32";
      const some = x.slice(0, count * widths[0]);
      const data = weights === "f16" ? toHalves(some) : some;
      const { y } = await session.run({ x: new Tensor(type, data, [count, widths[0]]) });
      const plan = session.dump("plan");
      // Its shapes of matrices may be others than this row's.
      if (kernel !== "matmul_matrix" && kernel) assert.match(plan, new RegExp(` ${kernel}:`));
      if (!uses.includes("packed-dot")) assert.doesNotMatch(plan, / matmul_rows:/);
      if (!uses.includes("subgroup-matrix")) assert.doesNotMatch(plan, / matmul_matrix:/);
      const numbers = bench.numbersOf(y);
      const difference = bench.differenceOf(numbers, expected.slice(0, numbers.length));
      assert.ok(difference <= bench.tolerances[weights], `${difference}`);
      await session.release();
    });
  }

test("sessions without features: what they say of the GPU, and unknown ones", async () => {
  const [bytes, all] = [productChain("f32", 1, [32, 32]), ["subgroups", "packed-dot"]];
  const provider = (without) => ({ executionProviders: [{ name: "webgpu", without }] });
  const whole = await InferenceSession.create(bytes, provider([]));
  const less = await InferenceSession.create(bytes, provider(all));
  const again = await InferenceSession.create(bytes, provider(all.toReversed()));
  assert.match(whole.runtime.gpu, /subgroups of .*packed dot/);
  assert.doesNotMatch(less.runtime.gpu, /subgroup|packed/);
  assert.equal(again.runtime.gpu, less.runtime.gpu);
  const [line] = await warningsOf(async () => {
    const { runtime } = await InferenceSession.create(bytes, provider(["wings"]));
    assert.equal(runtime.gpu, undefined);
  });
  assert.match(line, /there is no feature 'wings'/);
});
