// Threads in Node: the same bits on any number of them, their start, their end, their failures.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { inFreshProcess } from "./weft.mjs";

/** What a process prints as JSON that runs the model on so many threads, after `setUp`. */
function runFresh(count, setUp = "", options = {}) {
  const { stdout, stderr } = inFreshProcess(`
    import { runOnThreads } from "./threads.mjs";
    const workers = process.getBuiltinModule("node:worker_threads");
    ${setUp}
    const weft = await import("./weft.mjs");
    const seen = await runOnThreads(weft, ${count}, ${JSON.stringify(options)});
    console.log(JSON.stringify(seen));
  `);
  return { ...JSON.parse(stdout), stderr };
}

const alone = runFresh(1);

for (const count of [2, 3, 8]) {
  test(`${count} threads compute the bits of one, and let the process end`, () => {
    assert.deepEqual(runFresh(count), { ...alone, threads: count });
  });
}

test("by default at most four threads, as many as help", () => {
  const { threads, ...rest } = runFresh(0);
  assert.ok(threads >= 1 && threads <= 4);
  assert.deepEqual({ ...rest, threads: 1 }, alone);
});

const onOneProcessor = ["taskset", "-c", "0"];
const skip = spawnSync(onOneProcessor[0], [...onOneProcessor.slice(1), "true"]).status !== 0;

test("by default, no threads for processors that are claimed but not there", { skip }, () => {
  const { stdout } = inFreshProcess(
    `
    process.getBuiltinModule("node:os").availableParallelism = () => 4;
    import { linear } from "./onnx.mjs";
    const { InferenceSession } = await import("./weft.mjs");
    const session = await InferenceSession.create(linear());
    const seen = [];
    for (let i = 0; i < 300 && seen.at(-1) !== 1; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { threads } = session.runtime;
      if (threads !== 1 || seen.includes(4)) seen.push(threads);
    }
    console.log(seen.includes(4), seen.at(-1));
  `,
    onOneProcessor,
  );
  assert.equal(stdout, "true 1\n");
});

test("one thread starts no worker", () => {
  const setUp = `workers.Worker = class { constructor() { throw new Error("a worker"); } };`;
  assert.deepEqual(runFresh(1, setUp), alone);
});

test("a session may take fewer threads than there are", () => {
  assert.deepEqual(runFresh(3, "", { intraOpNumThreads: 1 }), { ...alone, threads: 3 });
  assert.deepEqual(runFresh(3, "", { intraOpNumThreads: 2 }), { ...alone, threads: 3 });
});

test("workers that cannot start: a warning, and fewer threads", () => {
  const scripts = {
    none: `workers.Worker = class { constructor() { throw new Error("no worker"); } };`,
    broken: `const { Worker } = workers;
      workers.Worker = class extends Worker {
        constructor() { super("throw new Error('no worker')", { eval: true }); }
      };`,
    gone: `const { Worker } = workers;
      workers.Worker = class extends Worker {
        constructor() { super("process.exit()", { eval: true }); }
      };`,
  };
  for (const setUp of Object.values(scripts)) {
    const { stderr, ...rest } = runFresh(4, setUp);
    assert.match(stderr, /^weft: 3 of 3 workers cannot start \(.+\); there is one thread\n$/);
    assert.deepEqual({ ...rest, stderr: "" }, alone);
  }
  const { stderr, threads, hash } = runFresh(
    4,
    `const { Worker } = workers;
     let made = 0;
     workers.Worker = class extends Worker {
       constructor(...values) { if (made++) throw new Error("no more"); super(...values); }
     };`,
  );
  assert.match(stderr, /2 of 3 workers cannot start \(Error: no more\); there are 2 threads\n$/);
  assert.deepEqual({ threads, hash }, { threads: 2, hash: alone.hash });
});

/** Code that makes `exports`, `module` and `memory` of the core known, and wraps its runs. */
const takeCore = `
  const { instantiate } = WebAssembly;
  const core = {};
  WebAssembly.instantiate = async (module, imports) => {
    const { exports } = await instantiate(module, imports);
    Object.assign(core, { module, memory: imports.env.memory });
    const open = (...values) => (core.context = exports.web_open(...values));
    const wrap = { ...exports, web_open: open };
    wrap.web_session_run = (...values) => core.run(exports.web_session_run, values);
    core.stack = () => exports.web_thread_stack(core.context);
    return { exports: wrap };
  };
  core.run = (run, values) => run(...values);
`;
/** An instance of the core in a worker of the test's. */
const otherInstance = `
  const { workerData } = process.getBuiltinModule("node:worker_threads");
  const { module, memory, stack, context, shared } = workerData;
  const weft = Object.fromEntries(
    WebAssembly.Module.imports(module).map(({ name }) => [name, () => 0]),
  );
  const imports = { env: { memory }, weft, weft_gpu: weft };
  const { exports } = new WebAssembly.Instance(module, imports);
  exports.__stack_pointer.value = stack;
  const state = new Int32Array(shared);
`;

test("a thread that traps makes the run fail, not hang, and the next session is well", () => {
  const breaker = `${otherInstance}
    Atomics.wait(state, 0, 0);
    while (Atomics.load(state, 0) === 1) exports.web_thread_break(context);
  `;
  const { stdout } = inFreshProcess(`
    import { runOnThreads } from "./threads.mjs";
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    ${takeCore}
    const weft = await import("./weft.mjs");
    const before = await runOnThreads(weft, 3);
    const shared = new SharedArrayBuffer(4);
    const state = new Int32Array(shared);
    const workerData = { ...core, run: 0, stack: core.stack(), shared };
    const breaker = new Worker(${JSON.stringify(breaker)}, { eval: true, workerData });
    await new Promise((resolve) => breaker.on("online", resolve));
    Atomics.store(state, 0, 1);
    Atomics.notify(state, 0);
    let failure;
    for (let i = 0; i < 1000 && !failure; i++)
      await runOnThreads(weft, 3).catch(({ message }) => (failure = message));
    Atomics.store(state, 0, 2);
    console.log(failure);
    const after = await runOnThreads(weft, 3);
    console.log(JSON.stringify(before) === JSON.stringify(after));
  `);
  assert.match(
    stdout,
    /^weft: the wasm module failed in web_session_run: RuntimeError: .*\ntrue\n$/,
  );
});

test("10,000 runs on random threads, cancelled or out of time at random: no hang, no leak", () => {
  const canceller = `${otherInstance}
    const pointer = typeof context === "bigint" ? BigInt : Number;
    for (let i = 0; Atomics.wait(state, 1, 0, (i % 7) / 10) === "timed-out"; i++)
      exports.web_session_cancel(pointer(Atomics.load(state, 0)));
  `;
  const { stdout } = inFreshProcess(`
    import { wide } from "./onnx.mjs";
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    ${takeCore}
    const { InferenceSession, Tensor, env } = await import("./weft.mjs");
    env.wasm.numThreads = 5;
    const options = [1, 2, 3, 4, 5].map((intraOpNumThreads) => ({ intraOpNumThreads }));
    const sessions = [];
    for (const each of options) sessions.push(await InferenceSession.create(wide(), each));
    const feeds = [1, 9, 40].map((rows) => ({
      x: new Tensor(Float32Array.from({ length: rows * 256 }, (_, i) => Math.cos(i)), [rows, 256]),
    }));
    const expected = [];
    for (const each of feeds) expected.push((await sessions[0].run(each)).y.data);
    for (const session of sessions) for (const each of feeds) await session.run(each);

    const shared = new SharedArrayBuffer(8);
    const state = new Int32Array(shared);
    let seed = 5;
    const random = (below) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
      return ((seed >>> 8) * below) >>> 24;
    };
    core.run = (run, values) => {
      Atomics.store(state, 0, Number(values[1]));
      const milliseconds = random(4) ? 0 : (1 + random(100)) / 100;
      return run(...values.slice(0, 7), milliseconds);
    };
    const workerData = { ...core, run: 0, stack: core.stack(), shared };
    const seen = { same: 0, cancelled: 0, late: 0 };
    const once = async () => {
      const i = random(feeds.length);
      const { y } = await sessions[random(sessions.length)].run(feeds[i]);
      if (!y.data.every((value, at) => Object.is(value, expected[i][at]))) throw new Error("bits");
    };
    await once().catch(() => undefined); // so that there is something to cancel
    const thread = new Worker(${JSON.stringify(canceller)}, { eval: true, workerData });
    await new Promise((resolve) => thread.on("online", resolve));
    const { bytes, calls, wasmBytes } = sessions[0].runtime;
    for (let run = 0; run < 10000; run++) {
      await once().then(
        () => seen.same++,
        ({ message }) => {
          if (message.endsWith("the run was cancelled")) seen.cancelled++;
          else if (message.endsWith("the run's time limit has passed")) seen.late++;
          else throw new Error(message);
        },
      );
    }
    Atomics.store(state, 1, 1);
    Atomics.notify(state, 1);
    const after = sessions[0].runtime;
    console.log(JSON.stringify({
      ...seen,
      leak: [after.bytes - bytes, after.calls - calls, after.wasmBytes - wasmBytes],
    }));
  `);
  const { same, cancelled, late, leak } = JSON.parse(stdout);
  assert.equal(same + cancelled + late, 10000);
  assert.ok(same > 0 && cancelled > 0 && late > 0, stdout);
  assert.deepEqual(leak, [0, 0, 0]);
});
