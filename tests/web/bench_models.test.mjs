// The models of the bench page (web/examples/bench), on the CPU: right numbers, and a decoder that
// is one.
import assert from "node:assert/strict";
import { test } from "node:test";
import { differenceOf, numbersOf, tolerances } from "../../web/examples/bench/measure.js";
import { decoder, encoder, productChain } from "../../web/examples/bench/models.js";
import { randomNumbers, toHalves } from "../../web/examples/bench/models.js";
import { products } from "./bench_products.mjs";
import { InferenceSession, Tensor } from "./weft.mjs";

const llama = { layers: 2, width: 64, heads: 4, kvHeads: 2, headSize: 16, inner: 96 };
const sizes = { ...llama, vocabulary: 50, positions: 32 };
const ints = (numbers, dims) => new Tensor("int64", BigInt64Array.from(numbers, BigInt), dims);

test("halves are rounded to the nearest", () => {
  const numbers = [0, 1, -2, 0.1, 65504, 2 ** -14, 2 ** -24, 1 + 2 ** -11, 1 + 3 * 2 ** -11];
  const words = [0, 0x3c00, 0xc000, 0x2e66, 0x7bff, 0x0400, 1, 0x3c00, 0x3c02];
  assert.deepEqual([...toHalves(Float32Array.from(numbers))], words);
  const back = numbersOf({ type: "float16", data: Uint16Array.from(words) });
  assert.ok(differenceOf(back.slice(1), numbers.slice(1)) < 2 ** -11);
});

for (const weights of ["f32", "f16", "int8"])
  test(`products of ${weights}`, async () => {
    const { rows, widths, x, expected } = products;
    const session = await InferenceSession.create(productChain(weights, rows, widths));
    const type = weights === "f16" ? "float16" : "float32";
    const data = weights === "f16" ? toHalves(x) : x;
    const { y } = await session.run({ x: new Tensor(type, data, [rows, widths[0]]) });
    const difference = differenceOf(numbersOf(y), expected);
    assert.ok(difference <= tolerances[weights], `${difference}`);
    if (weights !== "f32") assert.ok(difference > 0);
  });

/** The logits after a text, read in two parts. */
async function read(type, text, first) {
  let caches = {};
  for (let layer = 0; layer < sizes.layers; layer++)
    for (const part of ["key", "value"]) {
      const data = type === "float16" ? new Uint16Array() : new Float32Array();
      const dims = [1, sizes.kvHeads, 0, sizes.headSize];
      caches[`past_key_values.${layer}.${part}`] = new Tensor(type, data, dims);
    }
  let [last, end] = [undefined, 0];
  for (const part of [text.slice(0, first), text.slice(first)].filter(({ length }) => length)) {
    const session = await InferenceSession.create(decoder(type, sizes, part.length));
    end += part.length;
    const feeds = {
      input_ids: ints(part, [1, part.length]),
      attention_mask: ints(new Array(end).fill(1), [1, end]),
    };
    const { logits, ...present } = await session.run({ ...feeds, ...caches });
    const named = ([name, tensor]) => [name.replace("present", "past_key_values"), tensor];
    caches = Object.fromEntries(Object.entries(present).map(named));
    last = numbersOf(logits).slice(-sizes.vocabulary);
  }
  return last;
}

test("a decoder reads a text at once or in parts, in f32 and f16", async () => {
  const text = [3, 1, 4, 1, 5, 9];
  const whole = await read("float32", text, text.length);
  assert.ok(differenceOf(await read("float32", text, 5), whole) < 1e-5);
  assert.ok(differenceOf(await read("float32", [2, ...text.slice(1)], 6), whole) > 1e-2);
  const half = differenceOf(await read("float16", text, 5), whole);
  assert.ok(half > 0 && half < 0.02, `${half}`);
});

test("texts of an encoder's batch do not see each other", async () => {
  const bert = { layers: 2, width: 32, heads: 4, inner: 64, vocabulary: 40, positions: 8 };
  const session = await InferenceSession.create(encoder({ ...bert, tokens: 5 }));
  const run = async (ids) => {
    const dims = [ids.length / 5, 5];
    const filled = (value) => ints(new Array(ids.length).fill(value), dims);
    const feeds = { attention_mask: filled(1), token_type_ids: filled(0) };
    return numbersOf(
      (await session.run({ input_ids: ints(ids, dims), ...feeds })).last_hidden_state,
    );
  };
  const [one, other] = [randomNumbers(5, 1), randomNumbers(5, 2)].map((numbers) =>
    Array.from(numbers, (number) => Math.floor(20 + 20 * number)),
  );
  const both = await run([...one, ...other]);
  assert.ok(differenceOf(both.slice(0, 160), await run(one)) < 1e-5);
  assert.ok(differenceOf(both.slice(160), await run(other)) < 1e-5);
  assert.ok(differenceOf(both.slice(160), await run(one)) > 0.1);
});
