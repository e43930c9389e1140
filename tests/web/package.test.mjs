// What is published: sizes, self-containedness, types, and use by a bundler.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { dist } from "./weft.mjs";

const read = (name) => readFileSync(new URL(name, dist));
const scripts = readdirSync(dist).filter((name) => name.endsWith(".js"));

test("each wasm file is at most 300 KB after gzip, the scripts 30 KB", () => {
  for (const tier of ["a", "b", "c"])
    assert.ok(gzipSync(read(`weft-${tier}.wasm`)).length <= 300_000, tier);
  const all = scripts.reduce((sum, name) => sum + gzipSync(read(name)).length, 0);
  assert.ok(all <= 30_000, `${all} bytes`);
});

test("every file that package.json names is there", () => {
  const { exports, main, types } = JSON.parse(read("../package.json"));
  const names = [main, types, ...Object.values(exports).flatMap((entry) => Object.values(entry))];
  const paths = Object.values(exports).filter((entry) => typeof entry === "string");
  for (const name of [...names, ...paths].filter((name) => name.length > 1))
    assert.ok(read(`../${name}`).length > 0, name);
});

test("scripts import each other alone, statically, and evaluate no text", () => {
  for (const name of scripts) {
    const text = read(name).toString();
    for (const [, from] of text.matchAll(/\bfrom\s*"([^"]+)"/g))
      assert.match(from, /^\.\/[\w-]+\.js$/);
    // For service workers and strict policies.
    assert.doesNotMatch(text, /\bimport\(|\brequire\(|\beval\(|new Function/);
  }
});

test("a bundler keeps the references to the wasm files and the threads' script", async () => {
  const entry = 'import { InferenceSession } from "./index.js"; console.log(InferenceSession);';
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: fileURLToPath(dist) },
    bundle: true,
    format: "esm",
    minify: true,
    write: false,
  });
  const [{ text }] = outputFiles;
  for (const tier of ["a", "b", "c"])
    assert.match(text, new RegExp(`new URL\\("\\./weft-${tier}\\.wasm",import\\.meta\\.url\\)`));
  // In one expression, by which bundlers know a worker.
  assert.ok(text.includes('new Worker(new URL("./weft-thread.js",import.meta.url),{type:"module"'));
});

test("a program written for onnxruntime-web's types compiles with ours", () => {
  const tsc = fileURLToPath(new URL("../../node_modules/typescript/bin/tsc", import.meta.url));
  execFileSync(process.execPath, [tsc, "-p", fileURLToPath(new URL(".", import.meta.url))], {
    stdio: "inherit",
  });
});
