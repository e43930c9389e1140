// The API's contract: what onnxruntime-web 1.30 answers, weft-web answers too, errors included.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as ort from "onnxruntime-web/wasm";
import { identity, linear, mixed, model, types } from "./onnx.mjs";
import {
  InferenceSession,
  Tensor,
  env,
  messageOf,
  plain,
  tier,
  warningsOf,
  weft,
} from "./weft.mjs";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "fatal";
const packages = [ort, weft];

/** The answers of onnxruntime-web and of weft-web. */
async function both(work) {
  const answers = [];
  for (const api of packages) answers.push(await work(api));
  return answers;
}
async function assertSame(work) {
  const [expected, actual] = await both(work);
  assert.deepEqual(actual, expected);
}

function assertClose(actual, expected, tolerance) {
  assert.deepEqual(Object.keys(actual), Object.keys(expected));
  for (const [name, { type, dims, data }] of Object.entries(expected)) {
    assert.equal(actual[name].type, type);
    assert.deepEqual(actual[name].dims, dims);
    data.forEach((value, i) =>
      assert.ok(Math.abs(actual[name].data[i] - value) <= tolerance, `${name}[${i}]`),
    );
  }
}

const ramp = (length) => Float32Array.from({ length }, (_, i) => Math.cos(i));

test("the entries export what onnxruntime-web exports", async () => {
  for (const name of ["index", "wasm", "webgpu"]) {
    const entry = await import(`../../web/dist/${name}.js`);
    for (const exported of Object.keys(ort)) assert.ok(exported in entry, exported);
    for (const exported of Object.keys(ort.default)) assert.ok(exported in entry.default, exported);
    assert.equal(entry.Tensor, Tensor);
    assert.equal(entry.InferenceSession, InferenceSession);
  }
});

test("env has parts of its own that stay, and no version that sends others to fetch wasm", () => {
  const spread = { ...env };
  assert.equal(spread.wasm, env.wasm);
  assert.equal(spread.webgpu, env.webgpu);
  assert.equal(env.versions.web, undefined);
  assert.equal(env.wasm.wasmPaths, undefined);
  assert.throws(() => (env.logLevel = "loud"), /Unsupported logging level: loud/);
  env.logLevel = "error";
  assert.equal(env.logLevel, "error");
});

test("the tier that was asked for runs", async () => {
  const session = await InferenceSession.create(linear());
  assert.match(session.runtime.tier, tier ? new RegExp(tier) : /a|b/);
});

test("outputs and metadata are those of onnxruntime-web", async () => {
  const feeds = [
    { rows: 1, batch: 1, m: 1 },
    { rows: 7, batch: 2, m: 3 },
    { rows: 40, batch: 3, m: 17 },
  ];
  for (const { rows, batch, m } of feeds) {
    const cases = [
      [linear(), (T) => ({ x: new T(ramp(rows * 3), [rows, 3]) })],
      [
        mixed(),
        (T) => ({
          a: new T(ramp(batch * m * 5), [batch, m, 5]),
          b: new T(ramp(20), [5, 4]),
          ids: new T(
            "int64",
            Array.from({ length: m }, (_, i) => i % 6),
          ),
        }),
      ],
    ];
    for (const [bytes, makeFeeds] of cases) {
      const [expected, actual] = await both(async (api) => {
        const session = await api.InferenceSession.create(bytes);
        const { inputNames, outputNames, inputMetadata } = session;
        const outputs = plain(await session.run(makeFeeds(api.Tensor)));
        return { names: { inputNames, outputNames, inputMetadata }, outputs };
      });
      assert.deepEqual(actual.names, expected.names);
      assertClose(actual.outputs, expected.outputs, 1e-6);
    }
  }
});

test("every element type goes in and comes out", async () => {
  for (const type of Object.keys(types)) {
    const values = type === "bool" ? [1, 0, 1, 1, 0, 1] : [0, 1, 2, 3, 100, 127];
    const half = new Uint16Array([0x0000, 0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00]);
    await assertSame(async ({ InferenceSession, Tensor }) => {
      const session = await InferenceSession.create(identity(type));
      const x = new Tensor(type, type === "float16" ? half : values, [2, 3]);
      const { y } = await session.run({ x });
      return [y.type, y.dims, y.data.constructor.name, Array.from(y.data, String), y.location];
    });
  }
});

test("tensors without elements and without dimensions", async () => {
  await assertSame(async ({ InferenceSession, Tensor }) => {
    const session = await InferenceSession.create(identity("float32"));
    const { y } = await session.run({ x: new Tensor("float32", [], [0, 5]) });
    return plain({ y });
  });
  const scalar = model({
    inputs: [["x", "int64", []]],
    outputs: [["y", "int64", []]],
    nodes: [["Add", ["x", "x"], ["y"]]],
  });
  await assertSame(async ({ InferenceSession, Tensor }) => {
    const session = await InferenceSession.create(scalar);
    return plain(await session.run({ x: new Tensor("int64", [21n], []) }));
  });
});

test("feeds of another copy of the package, and of none", async () => {
  const session = await InferenceSession.create(linear());
  const data = ramp(6);
  const expected = plain(await session.run({ x: new Tensor(data, [2, 3]) }));
  const { y } = await session.run({ x: new ort.Tensor(data, [2, 3]) });
  assert.deepEqual(plain({ y }), expected);
  assert.ok(y instanceof Tensor);
  const duck = { type: "float32", dims: [2, 3], data, location: "cpu" };
  assert.deepEqual(plain(await session.run({ x: duck, unused: 3 })), expected);
});

test("the dims of a tensor and the session's own properties can be set", async () => {
  const session = await InferenceSession.create(linear());
  const x = new Tensor(ramp(6), [6]);
  x.dims = [2, 3];
  assert.deepEqual((await session.run({ x })).y.dims, [2, 2]);
  session.config = { model_type: "bert" };
  assert.equal(session.config.model_type, "bert");
});

test("outputs by name, and into a tensor that is given", async () => {
  const feeds = ({ Tensor }) => ({
    a: new Tensor(ramp(10), [1, 2, 5]),
    b: new Tensor(ramp(20), [5, 4]),
    ids: new Tensor("int64", [1, 2]),
  });
  await assertSame(async (api) => {
    const session = await api.InferenceSession.create(mixed());
    return Object.keys(await session.run(feeds(api), ["shape", "y"])).sort();
  });
  const session = await InferenceSession.create(mixed());
  const rows = new Tensor(new Float32Array(8), [2, 4]);
  const outputs = await session.run(feeds(weft), { rows, shape: null });
  assert.equal(outputs.rows, rows);
  assert.deepEqual(Object.keys(outputs).sort(), ["rows", "shape"]);
  assert.ok(Math.abs(rows.data[0] - Math.sin(4)) < 1e-6);
  const small = new Tensor(new Float32Array(4), [1, 4]);
  const expected = "output 'rows': a float32 tensor of [2,4] is expected";
  assert.equal(await messageOf(() => session.run(feeds(weft), { rows: small })), expected);
});

test("mistakes are told in the words of onnxruntime-web", async () => {
  const x = ({ Tensor }) => ({ x: new Tensor(ramp(3), [1, 3]) });
  const open = ({ InferenceSession }) => InferenceSession.create(linear());
  const mistakes = [
    ({ InferenceSession }) => InferenceSession.create(),
    ({ InferenceSession }) => InferenceSession.create(5),
    ({ InferenceSession }) => InferenceSession.create(linear(), 5),
    ({ InferenceSession }) => InferenceSession.create(linear().buffer, 5000),
    ({ InferenceSession }) => InferenceSession.create(linear().buffer, 0, 5000),
    ({ InferenceSession }) =>
      InferenceSession.create(linear(), { executionProviders: ["none", { name: "other" }] }),
    async (api) => (await open(api)).run({}),
    async (api) => (await open(api)).run(null),
    async (api) => (await open(api)).run(x(api), []),
    async (api) => (await open(api)).run(x(api), ["z"]),
    async (api) => (await open(api)).run(x(api), null),
    async (api) => (await open(api)).run(x(api), 5),
    async (api) => (await open(api)).run(x(api), ["y"], 5),
    ({ Tensor }) => new Tensor("float32", [1, 2, 3], [2, 2]),
    ({ Tensor }) => new Tensor("float32", new Float64Array(4), [2, 2]),
    ({ Tensor }) => new Tensor("float99", [1]),
    ({ Tensor }) => new Tensor([]),
    ({ Tensor }) => new Tensor("float32", [1], 1),
    ({ Tensor }) => new Tensor("float32", [1], [-1]),
    ({ Tensor }) => new Tensor("float32", [1], [0.5]),
    ({ Tensor }) => new Tensor("float32", [1], [1]).gpuBuffer,
    ({ Tensor }) => {
      const tensor = new Tensor("float32", [1], [1]);
      tensor.dispose();
      return tensor.data;
    },
  ];
  for (const mistake of mistakes) {
    const [expected, actual] = await both((api) => messageOf(async () => mistake(api)));
    assert.equal(typeof expected, "string");
    assert.equal(actual, expected);
  }
});

test("mistakes in feeds name the input", async () => {
  const session = await InferenceSession.create(linear());
  const cases = [
    [{ x: "x" }, "input 'x': a tensor is expected"],
    [{ x: new Tensor(["a"]) }, "input 'x': string tensors are not supported"],
    [
      { x: { type: "float32", dims: [2, 3], data: ramp(5) } },
      "input 'x': tensor: 20 bytes given, 24 needed",
    ],
    [
      { x: { type: "float32", dims: [2, 3], data: ramp(7) } },
      "input 'x': 28 bytes of data are more than [2,3] needs",
    ],
    [{ x: new Tensor(ramp(1), [1, 1, 1, 1, 1, 1, 1, 1, 1]) }, "input 'x': rank 9 is above 8"],
    [{ x: new Tensor("int32", [1, 2, 3], [1, 3]) }, "input 'x': type is i32, but f32 is expected"],
  ];
  for (const [feeds, expected] of cases)
    assert.equal(await messageOf(() => session.run(feeds)), expected);
  assert.match(
    await messageOf(() => session.run({ x: new Tensor(ramp(4), [1, 4]) })),
    /'x'.*(3|4)/,
  );
  assert.deepEqual((await session.run({ x: new Tensor(ramp(3), [1, 3]) })).y.dims, [1, 2]);
});

test("providers that are not there yet: a warning, and the CPU", async () => {
  const warnings = await warningsOf(async () => {
    const options = { executionProviders: ["webgpu", { name: "webnn", deviceType: "gpu" }] };
    const session = await InferenceSession.create(linear(), options);
    await session.run({ x: new Tensor(ramp(3), [1, 3]) });
  });
  assert.equal(warnings.length, 2);
  assert.match(warnings[0], /^removing requested execution provider "webgpu" from session options/);
});

test("options of onnxruntime-web are taken", async () => {
  const session = await InferenceSession.create(linear(), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "disabled",
    freeDimensionOverrides: { rows: 2 },
    enableProfiling: true,
    preferredOutputLocation: { y: "gpu-buffer" },
    logSeverityLevel: 2,
    extra: {},
  });
  const { y } = await session.run({ x: new Tensor(ramp(6), [2, 3]) }, { tag: "t" });
  assert.equal(y.location, "cpu");
  assert.ok(session.profile().some(({ op, calls }) => op === "matmul" && calls === 1));
  assert.match(session.dump("graph"), /matmul/);
  assert.match(session.dump("plan"), /matmul/);
});

test("metadata of the model", async () => {
  const session = await InferenceSession.create(linear({ author: 'me "too"\n' }));
  assert.deepEqual(session.modelMetadata, { author: 'me "too"\n' });
});

test("a released session", async () => {
  const session = await InferenceSession.create(linear());
  await session.release();
  await session.release();
  const x = new Tensor(ramp(3), [1, 3]);
  assert.equal(await messageOf(() => session.run({ x })), "The session is released.");
  assert.equal(await messageOf(() => session.dump("graph")), "The session is released.");
});

test("parts of buffers", async () => {
  const bytes = linear();
  const buffer = new ArrayBuffer(bytes.length + 8);
  new Uint8Array(buffer, 3).set(bytes);
  for (const session of [
    await InferenceSession.create(buffer, 3, bytes.length),
    await InferenceSession.create(buffer, 3, bytes.length, {}),
    await InferenceSession.create(new Uint8Array(buffer, 3, bytes.length)),
  ])
    assert.deepEqual(session.inputNames, ["x"]);
});
