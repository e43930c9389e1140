// Runs a C test program (tests/check.h) that was built as wasm: node run.mjs program.wasm 32|64
import { readFileSync } from "node:fs";
import { argv, exit, stdout } from "node:process";

const [file, bits] = argv.slice(2);
// What the module's memory counts in: numbers, or with 64-bit addresses BigInts.
const index = bits === "64" ? BigInt : Number;

const memory = new WebAssembly.Memory({
  initial: index(64),
  maximum: index(32768), // 2 GiB
  shared: true,
  address: bits === "64" ? "i64" : "i32",
});

const decoder = new TextDecoder();
const print = (at, length) =>
  stdout.write(decoder.decode(new Uint8Array(memory.buffer, Number(at), Number(length)).slice()));

const instance = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), {
  env: { memory },
  weft: { now_ms: () => performance.now() },
  test: { print },
});
exit(instance.exports.main(0, index(0))); // clang gives every main the two parameters
