// Runs the GPU's C tests (tests/gpu), built as wasm, on WebGPU in Node (the package webgpu, Dawn):
//
//     node run-wasm.mjs program.wasm...
//
// C code that waits for the GPU is suspended meanwhile (JSPI), so the tests are those of the native
// drivers. tools/lavapipe.sh makes a Node that finds a GPU everywhere.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { argv, env, exit, stdout } from "node:process";
import { setTimeout } from "node:timers/promises";
import { create } from "webgpu";
import { GpuGlue } from "../../web/src/gpu.ts";
import { describeDevice, openDevice } from "../../web/src/gpu_device.ts";

/** The longest wait at once, as in the native driver: nothing may be pending at all. */
const WAIT_MS = 1000;

const gpu = create(["enable-dawn-features=allow_unsafe_apis"]);
/** The device of all drivers, until a test destroys it. */
let device, facts;
async function open() {
  const opened = await openDevice(gpu);
  device = opened.device;
  facts = await describeDevice(device, gpu.wgslLanguageFeatures, opened.adapter);
}
await open();
console.log(`on ${facts.texts.filter(Boolean).join(", ")}: ${[...device.features].join()}`);

const decoder = new TextDecoder();
const encoder = new TextEncoder();

async function run(file) {
  let memory;
  const textAt = (at, length) =>
    decoder.decode(new Uint8Array(memory.buffer, Number(at), Number(length)).slice());
  const glue = new GpuGlue(() => memory);
  const poll = async (handle, wait) => {
    if (wait) await Promise.race([glue.settled(Number(handle)), setTimeout(WAIT_MS)]);
    return glue.imports.poll(handle, 0);
  };
  const openGpu = async () => {
    if (!device) await open();
    return glue.open(device, facts);
  };
  const loseGpu = () => {
    device.destroy();
    device = undefined;
  };
  const { instance } = await WebAssembly.instantiate(readFileSync(file), {
    weft: { now_ms: () => performance.now(), may_sleep: () => 1 },
    weft_gpu: { ...glue.imports, poll: new WebAssembly.Suspending(poll) },
    test: {
      print: (at, length) => stdout.write(textAt(at, length)),
      open_gpu: new WebAssembly.Suspending(openGpu),
      lose_gpu: loseGpu,
      getenv: (name, length, to, size) => {
        const value = encoder.encode(`${env[textAt(name, length)] ?? ""}\0`);
        if (value.length < 2 || value.length > Number(size)) return 0;
        new Uint8Array(memory.buffer, Number(to), value.length).set(value);
        return 1;
      },
    },
  });
  ({ memory } = instance.exports);
  return WebAssembly.promising(instance.exports.run)();
}

let failed = 0;
for (const file of argv.slice(2)) {
  console.log(`-- ${basename(file, ".wasm")}`);
  failed += (await run(file)) !== 0;
}
exit(failed ? 1 : 0);
