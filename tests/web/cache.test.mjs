// KV caches: tensors that stay in the core between runs, as Transformers.js uses them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cache } from "./onnx.mjs";
import { InferenceSession, Tensor, inFreshProcess, messageOf } from "./weft.mjs";

const HEADS = 2;
const SIZE = 3;
const number = (head, row, i) => 100 * head + row + i / 8;

/** Rows [first, first + count) as they are fed: [1, HEADS, count, SIZE]. */
function rows(first, count, shift = 0) {
  const at = (j) => [Math.floor(j / (count * SIZE)), Math.floor(j / SIZE) % count, j % SIZE];
  const data = Float32Array.from({ length: HEADS * count * SIZE }, (_, j) => {
    const [head, row, i] = at(j);
    return number(head, first + row, i) + shift;
  });
  return new Tensor("float32", data, [1, HEADS, count, SIZE]);
}
const empty = () => rows(0, 0);

function assertSum(sum, count) {
  for (let j = 0; j < HEADS * SIZE; j++) {
    let expected = 0;
    for (let row = 0; row < count; row++) expected += number(Math.floor(j / SIZE), row, j % SIZE);
    assert.ok(Math.abs(sum.data[j] - expected) < 1e-5 * expected + 1e-4, `${sum.data[j]}`);
  }
}

test("500 steps: each adds a row in place, and lets go of the tensor before", async () => {
  const session = await InferenceSession.create(cache());
  let { present } = await session.run({ past: empty(), k: rows(0, 5) });
  const held = [];
  for (let length = 5; length < 500; length++) {
    const results = await session.run({ past: present, k: rows(length, 1) });
    assertSum(results.sum, length + 1);
    present.dispose();
    present = results.present;
    assert.deepEqual(present.dims, [1, HEADS, length + 1, SIZE]);
    assert.equal(present.location, "cpu");
    assert.equal(present.size, HEADS * (length + 1) * SIZE);
    held.push(session.runtime.bytes);
  }
  assert.match(session.dump("plan"), /output 0 'present': f32\[1,2,500,3\] strided/);
  // From one length to the next the memory is the same, but where buffers grow: six times here.
  const changes = held.filter((bytes, i) => i > 3 && bytes !== held[i - 1]).length;
  assert.ok(changes <= 3 * 6, `${changes} changes`);
  assert.deepEqual(present.data, rows(0, 500).data);
  await session.release();
});

test("data is that of the moment, and earlier tensors keep theirs", async () => {
  const session = await InferenceSession.create(cache());
  const tensors = [(await session.run({ past: empty(), k: rows(0, 2) })).present];
  for (let length = 2; length < 100; length++) {
    const { present } = await session.run({ past: tensors.at(-1), k: rows(length, 1) });
    tensors.push(present);
  }
  await session.release();
  for (const [i, tensor] of tensors.entries())
    assert.deepEqual(await tensor.getData(), rows(0, 2 + i).data);
});

test("two runs from one tensor", async () => {
  const session = await InferenceSession.create(cache());
  const { present: stem } = await session.run({ past: empty(), k: rows(0, 4) });
  const { present: left } = await session.run({ past: stem, k: rows(4, 1) });
  const { present: right } = await session.run({ past: stem, k: rows(9, 2) });
  assert.deepEqual(left.data, rows(0, 5).data);
  assert.equal(right.data[4 * SIZE], number(0, 9, 0));
  assert.deepEqual(stem.data, rows(0, 4).data);
  await session.release();
});

test("what is written to data is fed", async () => {
  const session = await InferenceSession.create(cache());
  const { present } = await session.run({ past: empty(), k: rows(0, 2) });
  present.data[0] = 1000;
  const results = await session.run({ past: present, k: rows(2, 1) });
  assert.equal(results.sum.data[0], 1000 + number(0, 1, 0) + number(0, 2, 0));
  assert.equal(results.present.data[0], 1000);
  await session.release();
});

test("other dims, other sessions, tensors given for outputs", async () => {
  const session = await InferenceSession.create(cache());
  const other = await InferenceSession.create(cache());
  const { present } = await session.run({ past: empty(), k: rows(0, 2) });
  const elsewhere = await other.run({ past: present, k: rows(2, 1) });
  assertSum(elsewhere.sum, 3);
  const given = new Tensor("float32", new Float32Array(HEADS * 3 * SIZE), [1, HEADS, 3, SIZE]);
  const fetches = { present: given };
  const results = await session.run({ past: present, k: rows(2, 1) }, fetches);
  assert.equal(results.present, given);
  assert.deepEqual(given.data, rows(0, 3).data);
  present.dims = [1, HEADS * 2, 1, SIZE]; // as Transformers.js sets them
  assert.match(
    await messageOf(() => session.run({ past: present, k: rows(2, 1) })),
    /^input 'past': dimension 1 is 4, but 2 is expected/,
  );
  assert.deepEqual(present.data, rows(0, 2).data);
  await session.release();
  await other.release();
});

test("a disposed tensor", async () => {
  const session = await InferenceSession.create(cache());
  const { present } = await session.run({ past: empty(), k: rows(0, 2) });
  present.dispose();
  present.dispose();
  assert.equal(present.location, "none");
  assert.match(await messageOf(() => present.data), /disposed/);
  assert.match(await messageOf(() => session.run({ past: present, k: rows(2, 1) })), /disposed/);
  await session.release();
});

test("runs that fail leave the tensors that were fed", async () => {
  const session = await InferenceSession.create(cache());
  let { present } = await session.run({ past: empty(), k: rows(0, 2) });
  for (let length = 2; length < 70; length++) {
    const wrong = new Tensor("float32", new Float32Array(HEADS * 4), [1, HEADS, 1, 4]);
    assert.ok(await messageOf(() => session.run({ past: present, k: wrong })));
    ({ present } = await session.run({ past: present, k: rows(length, 1) }));
  }
  assert.deepEqual(present.data, rows(0, 70).data);
  await session.release();
});

test("float16 stays, and types without a tensor of its kind are copied", async () => {
  for (const [type, array] of [
    ["float16", globalThis.Float16Array ?? Uint16Array],
    ["int32", Int32Array],
    ["int16", Int16Array],
  ]) {
    const session = await InferenceSession.create(cache(type), { disabledPasses: "" });
    const feed = (count) =>
      new Tensor(type, new array(HEADS * count * SIZE).fill(1), [1, HEADS, count, SIZE]);
    let past = feed(0);
    for (let step = 0; step < 4; step++)
      ({ present: past } = await session.run({ past, k: feed(1) }, ["present"]));
    assert.deepEqual(past.data, feed(4).data);
    await session.release();
  }
});

test("tensors that nobody disposes of are found by the garbage collector", () => {
  const { stdout } = inFreshProcess(`
    import { setFlagsFromString } from "node:v8";
    import { runInNewContext } from "node:vm";
    import { cache } from "./onnx.mjs";
    import { InferenceSession, Tensor } from "./weft.mjs";
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc");
    const session = await InferenceSession.create(cache());
    const tensor = (rows) => new Tensor("float32", new Float32Array(6 * rows), [1, 2, rows, 3]);
    async function decode() {
      for (let chat = 0; chat < 50; chat++) {
        let past = tensor(0);
        for (let i = 0; i < 20; i++) past = (await session.run({ past, k: tensor(1) })).present;
      }
    }
    await decode();
    const before = session.runtime.bytes;
    for (let i = 0; i < 10; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const after = session.runtime.bytes;
    console.log(JSON.stringify({ before, after }));
  `);
  const { before, after } = JSON.parse(stdout);
  // 50 buffers of 64 rows, and 1,000 handles
  assert.ok(before - after > 49 * HEADS * 64 * SIZE * 4, stdout);
});

test("the option `activations`", async () => {
  for (const activations of ["auto", "f32", "int8"])
    await (await InferenceSession.create(cache(), { activations })).release();
  assert.equal(
    await messageOf(() => InferenceSession.create(cache(), { activations: "f64" })),
    "activations: there is no 'f64'",
  );
});
