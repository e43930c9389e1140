// run-wasm.mjs - runs the kernel test that was built for wasm:
//   node run-wasm.mjs kernel-test.wasm [--bench] [--errors] [part of a kernel's name]
import { readFileSync, writeSync } from "node:fs";

const [file, ...options] = process.argv.slice(2);
const only = options.find((option) => !option.startsWith("--")) ?? "";

// Addresses and lengths are BigInts when the module has a memory of 64 bits.
const bytes = (at, length) =>
  new Uint8Array(instance.exports.memory.buffer, Number(at), Number(length));
const env = {
  write: (at, length) => writeSync(1, bytes(at, length).slice()),
  seconds: () => performance.now() / 1000,
};

const { instance } = await WebAssembly.instantiate(readFileSync(file), { env });
bytes(instance.exports.only(), 63).set(new TextEncoder().encode(only));
const failed = instance.exports.run(options.includes("--bench"), options.includes("--errors"));
process.exitCode = failed ? 1 : 0;
