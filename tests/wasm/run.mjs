// Runs a C test program (tests/check.h) that was built as wasm: node run.mjs program.wasm
// Memory type and index size are read from the module's bytes by trying: a shared memory of 32 or, for
// tier C, 64 bit.
import { readFileSync } from "node:fs";
import { argv, exit, stdout } from "node:process";

const PAGES_MAX = 32768; // 2 GiB: as --max-memory in cmake/wasm.cmake

function makeMemory(bits) {
  const pages = bits === 64 ? BigInt : Number;
  const address = bits === 64 ? { address: "i64" } : {};
  return new WebAssembly.Memory({
    initial: pages(64),
    maximum: pages(PAGES_MAX),
    shared: true,
    ...address,
  });
}

function instantiate(module, bits) {
  const memory = makeMemory(bits);
  const decoder = new TextDecoder();
  const print = (at, length) =>
    stdout.write(decoder.decode(new Uint8Array(memory.buffer).slice(Number(at), Number(at) + Number(length))));
  return new WebAssembly.Instance(module, {
    env: { memory },
    weft: { now_ms: () => performance.now() },
    test: { print },
  });
}

const [file, bits = "32"] = argv.slice(2);
const instance = instantiate(new WebAssembly.Module(readFileSync(file)), Number(bits));
exit(instance.exports.main());
