// Runs a C test program (tests/check.h) that was built as wasm: node run.mjs program.wasm
import { readFileSync } from "node:fs";
import { argv, exit, stdout } from "node:process";

const decoder = new TextDecoder();
const { instance } = await WebAssembly.instantiate(readFileSync(argv[2]), {
  weft: { now_ms: () => performance.now(), may_sleep: () => 1 },
  test: {
    print: (at, length) => {
      const { buffer } = instance.exports.memory;
      stdout.write(decoder.decode(new Uint8Array(buffer, Number(at), Number(length)).slice()));
    },
  },
});
exit(instance.exports.run());
