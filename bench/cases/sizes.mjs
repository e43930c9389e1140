// sizes.mjs - what a page downloads.
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const kilobytes = (bytes) => `${(bytes / 1e3).toFixed(0)} kB`;

function measure(url) {
  const bytes = readFileSync(url);
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}

export function sizes(options, rows) {
  const own = new URL("../../web/dist/", import.meta.url);
  const peer = new URL("../../node_modules/onnxruntime-web/dist/", import.meta.url);
  const result = {};
  for (const tier of ["a", "b", "c"]) {
    const name = `weft-${tier}.wasm`;
    const { raw, gzip } = (result[name] = measure(new URL(name, own)));
    const text = `${kilobytes(gzip)} (raw ${kilobytes(raw)})`;
    rows.add(`${name}, gzip -9`, text, "300 kB", gzip / 300e3, { most: 1 });
  }
  /* What `import "weft-web"` loads: every file but the tokenizer's entry. */
  const scripts = readdirSync(own).filter((name) => /\.js$/.test(name) && name !== "tokenizer.js");
  const script = scripts.map((name) => measure(new URL(name, own)).gzip).reduce((a, b) => a + b);
  result.javascript = { files: scripts, gzip: script };
  rows.add("JavaScript, gzip -9", kilobytes(script), "40 kB", script / 40e3, { most: 1 });
  for (const name of ["ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm"])
    result[name] = measure(new URL(name, peer));
  const [ours, theirs] = ["weft-b.wasm", "ort-wasm-simd-threaded.wasm"].map((n) => result[n].gzip);
  rows.add(
    "wasm, against ort-web's for the CPU",
    kilobytes(ours),
    kilobytes(theirs),
    theirs / ours,
  );
  return result;
}
