// The wasm module: where it comes from, what it holds, and what happens when it fails.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { identity, linear, mixed } from "./onnx.mjs";
import { InferenceSession, Tensor, dist, inFreshProcess, messageOf } from "./weft.mjs";

const ones = (rows) => ({ x: new Tensor(new Float32Array(3 * rows).fill(1), [rows, 3]) });

test("1,000 cycles of load, run and release in flat memory", async () => {
  const bytes = mixed();
  const feeds = {
    a: new Tensor(new Float32Array(30), [2, 3, 5]),
    b: new Tensor(new Float32Array(20), [5, 4]),
    ids: new Tensor("int64", [1, 2, 3]),
  };
  let settled;
  for (let i = 0; i < 1000; i++) {
    const session = await InferenceSession.create(bytes);
    await session.run(feeds);
    await session.release();
    const { bytes: held, wasmBytes } = session.runtime;
    if (i === 9) settled = { held, wasmBytes };
    if (i > 9) assert.deepEqual({ held, wasmBytes }, settled);
  }
});

test("loads that fail leak nothing", async () => {
  const bytes = mixed();
  const session = await InferenceSession.create(bytes);
  const { bytes: before } = session.runtime;
  for (let length = 1; length < bytes.length; length += 5) {
    await messageOf(async () => {
      const other = await InferenceSession.create(bytes.slice(0, length));
      await other.release();
    });
  }
  const { bytes: after } = session.runtime;
  assert.ok(after - before < 4096, `${after - before} bytes`); // the buffer of messages may grow
});

test("warm runs allocate nothing, on several shapes in turn", async () => {
  const session = await InferenceSession.create(linear());
  const shapes = [1, 5, 2, 40].map(ones);
  for (const feeds of shapes) await session.run(feeds);
  for (const feeds of shapes) await session.run(feeds); // the largest buffers are there now
  const { calls } = session.runtime;
  for (let i = 0; i < 100; i++) await session.run(shapes[i % shapes.length]);
  assert.equal(session.runtime.calls, calls);
});

test("memory that grows under way", async () => {
  const session = await InferenceSession.create(identity("float32"));
  for (const rows of [1, 100_000, 10, 1_000_000]) {
    const data = Float32Array.from({ length: rows * 8 }, (_, i) => i);
    const { y } = await session.run({ x: new Tensor(data, [rows, 8]) });
    assert.deepEqual(y.dims, [rows, 8]);
    assert.ok(y.data.every((value, i) => value === data[i]));
  }
});

test("a limit of the session's memory", async () => {
  const limited = () => InferenceSession.create(mixed(), { memoryLimit: 1000 });
  assert.match(await messageOf(limited), /limit|memory/);
});

/** Code for a fresh process: sets env, makes a session, prints what it computed. */
const compute = (setUp) => `
  import { readFileSync } from "node:fs";
  import { linear } from "./onnx.mjs";
  const { InferenceSession, Tensor, env } = await import("../../web/dist/index.js");
  ${setUp}
  const session = await InferenceSession.create(linear());
  const { y } = await session.run({ x: new Tensor(new Float32Array([1, 1, 1]), [1, 3]) });
  console.log(session.runtime.tier, y.data.join());
`;
const folder = JSON.stringify(dist.href);

test("the wasm file that env.wasm names", () => {
  const bytes = `readFileSync(new URL("weft-a.wasm", ${folder}))`;
  for (const setUp of [
    `env.wasm.simd = "fixed";`,
    `env.wasm.wasmPaths = ${folder}; env.wasm.simd = "fixed";`,
    `env.wasm.wasmPaths = { wasm: ${folder} + "weft-a.wasm" };`,
    `env.wasm.wasmPaths = { wasm: new URL("weft-a.wasm", ${folder}) };`,
    `env.wasm.wasmBinary = ${bytes};`,
    `env.wasm.wasmBinary = new Uint8Array(${bytes}).buffer;`,
  ])
    assert.deepEqual(inFreshProcess(compute(setUp)), { stdout: "a 9.5,11.5\n", stderr: "" });
});

test("wasm files of onnxruntime-web, and none: a warning, and the package's own", () => {
  const foreign = new URL("../../node_modules/onnxruntime-web/dist/", import.meta.url).href;
  for (const setUp of [
    `env.wasm.wasmPaths = "${foreign}";`,
    `env.wasm.wasmPaths = { wasm: "${foreign}ort-wasm-simd-threaded.wasm", mjs: "x.mjs" };`,
    `env.wasm.wasmPaths = "http://127.0.0.1:1/";`,
    `env.wasm.wasmBinary = new Uint8Array(100);`,
  ]) {
    const { stdout, stderr } = inFreshProcess(compute(setUp));
    assert.match(stdout, /^[ab] 9.5,11.5\n$/);
    assert.match(stderr, /what env.wasm names cannot be used/);
  }
});

test("after a trap, sessions on the module fail, and the next load gets a new one", () => {
  const { stdout } = inFreshProcess(`
    import { linear } from "./onnx.mjs";
    const { instantiate } = WebAssembly;
    let armed = true;
    WebAssembly.instantiate = async (...values) => {
      const { exports } = await instantiate.apply(WebAssembly, values);
      const web_session_run = (...numbers) => {
        if (!armed) return exports.web_session_run(...numbers);
        armed = false;
        throw new WebAssembly.RuntimeError("unreachable");
      };
      return { exports: { ...exports, web_session_run } };
    };
    const { InferenceSession, Tensor } = await import("../../web/dist/index.js");
    const x = new Tensor(new Float32Array([1, 1, 1]), [1, 3]);
    const first = await InferenceSession.create(linear());
    for (let i = 0; i < 2; i++) await first.run({ x }).catch(({ message }) => console.log(message));
    await first.release();
    const second = await InferenceSession.create(linear());
    console.log((await second.run({ x })).y.data.join());
  `);
  const failed = "weft: the wasm module failed in web_session_run: RuntimeError: unreachable\n";
  assert.equal(stdout, `${failed}${failed}9.5,11.5\n`);
});

test("a load of the module that failed is tried again", () => {
  const { stdout } = inFreshProcess(`
    import { linear } from "./onnx.mjs";
    const { compile } = WebAssembly;
    const { InferenceSession } = await import("../../web/dist/index.js");
    WebAssembly.compile = async () => { throw new Error("no memory"); };
    await InferenceSession.create(linear()).catch(({ message }) => console.log(message));
    WebAssembly.compile = compile;
    console.log((await InferenceSession.create(linear())).inputNames.join());
  `);
  assert.equal(stdout, "no memory\nx\n");
});

test("the module exports what core.ts calls, and imports what it gives", () => {
  const source = readFileSync(new URL("../../web/src/core.ts", import.meta.url), "utf8");
  const called = [...source.matchAll(/^ {2}(web_\w+): "/gm)].map(([, name]) => name);
  const gpu = readFileSync(new URL("../../web/src/gpu.ts", import.meta.url), "utf8");
  const driver = [...gpu.matchAll(/^ {6}(\w+): (?:asking|guarded)?\(/gm)].map(([, name]) => name);
  for (const tier of ["a", "b"]) {
    const bytes = readFileSync(new URL(`weft-${tier}.wasm`, dist));
    if (!WebAssembly.validate(bytes)) continue; // an older engine
    const module = new WebAssembly.Module(bytes);
    const names = WebAssembly.Module.exports(module).map(({ name }) => name);
    // What thread.ts and other workers on the memory call.
    const threads = [
      "__stack_pointer",
      "web_thread_work",
      "web_thread_break",
      "web_session_cancel",
    ];
    assert.deepEqual(names.sort(), [...called, ...threads, `web_tier_${tier}`].sort());
    const imports = WebAssembly.Module.imports(module);
    const imported = imports.map(({ module, name }) => `${module}.${name}`).sort();
    assert.deepEqual(imported, [
      ...["env.memory", "weft.log", "weft.may_sleep", "weft.now_ms"],
      ...["weft.progress", "weft.read", "weft.resolve"],
      ...driver.sort().map((name) => `weft_gpu.${name}`),
    ]);
  }
});
