// weft-web/tokenizer on a small vocabulary. (Token by token against the Python package:
// tests/llm/wordpiece_test.py.)
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Tokenizer } from "../../web/dist/tokenizer.js";
import { InferenceSession, Tensor, messageOf, serving } from "./weft.mjs";
import { identity } from "./onnx.mjs";

const vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "un", "##able"];
const file = new TextEncoder().encode([...vocabulary, "!", "ete"].join("\n"));
const plain = ({ input_ids, attention_mask, token_type_ids }) =>
  [input_ids, attention_mask, token_type_ids].map(({ dims, data }) => [dims, data.join()]);

test("texts become rows, padded to the longest", async () => {
  const tokenizer = await Tokenizer.create(file);
  const encoding = tokenizer.encode(["Hello, world!", "été", "unable 🙂", ""]);
  assert.deepEqual(plain(encoding), [
    [[4, 6], "2,5,1,6,9,3,2,10,3,0,0,0,2,7,8,1,3,0,2,3,0,0,0,0"],
    [[4, 6], "1,1,1,1,1,1,1,1,1,0,0,0,1,1,1,1,1,0,1,1,0,0,0,0"],
    [[4, 6], new Array(24).fill(0).join()],
  ]);
  assert.ok(encoding.input_ids instanceof Tensor);
  assert.equal(encoding.input_ids.type, "int64");
  tokenizer.release();
});

test("rows are cut at maxLength", async () => {
  const tokenizer = await Tokenizer.create(file);
  const { input_ids } = tokenizer.encode(["hello world hello world"], { maxLength: 4 });
  assert.equal(input_ids.data.join(), "2,5,6,3");
  assert.match(await messageOf(() => tokenizer.encode([])), /nothing to encode/);
  tokenizer.release();
});

test("ids become text", async () => {
  const tokenizer = await Tokenizer.create(file);
  assert.equal(tokenizer.decode([2, 7, 8, 6, 9, 3]), "unable world!");
  assert.equal(tokenizer.decode([2n, 5n], { skipSpecialTokens: false }), "[CLS] hello");
  tokenizer.release();
});

test("long texts, much text, and no leak", async () => {
  const session = await InferenceSession.create(identity("float32")); // for its meter
  const tokenizer = await Tokenizer.create(file);
  const texts = Array.from({ length: 300 }, (_, i) => "hello world ".repeat(i));
  tokenizer.encode(texts.slice(-1));
  const { bytes } = session.runtime;
  const { input_ids } = tokenizer.encode(texts, { maxLength: 2000 });
  assert.deepEqual(input_ids.dims, [300, 600]);
  assert.equal(session.runtime.bytes, bytes);
  tokenizer.release();
});

test("from a URL and from a path", async () => {
  const folder = mkdtempSync(join(tmpdir(), "weft-"));
  const path = join(folder, "vocab.txt");
  writeFileSync(path, file);
  await serving({ "/vocab.txt": file }, async (base) => {
    for (const place of [path, `${base}/vocab.txt`, new URL(`${base}/vocab.txt`)]) {
      const tokenizer = await Tokenizer.create(place);
      assert.equal(tokenizer.encode(["world"]).input_ids.data.join(), "2,6,3");
      tokenizer.release();
    }
    assert.match(await messageOf(() => Tokenizer.create(`${base}/nothing`)), /404/);
  });
  rmSync(folder, { recursive: true });
});

test("files that are no tokenizers, and released ones", async () => {
  const bytes = new TextEncoder().encode('{"model": {"type": "Strange"}}');
  assert.match(await messageOf(() => Tokenizer.create(bytes)), /Strange|model/);
  const tokenizer = await Tokenizer.create(file);
  tokenizer.release();
  tokenizer.release();
  assert.equal(await messageOf(() => tokenizer.encode(["a"])), "The tokenizer is released.");
});
