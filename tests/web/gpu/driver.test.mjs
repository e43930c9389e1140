// The driver by JavaScript beside what the C tests see of it (tests/gpu/driver.c): engines that
// refuse shared memory or leave things out.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { GpuGlue } from "../../../web/src/gpu.ts";
import { describeDevice, openDevice } from "../../../web/src/gpu_device.ts";
import { gpu } from "./gpu.mjs";

const { device, adapter } = await openDevice(gpu);
after(() => device.destroy());

const [OK, PENDING, INTERNAL] = [0, 1, -11];

/** `object` with some of its properties replaced. */
function replaced(object, properties) {
  return new Proxy(object, {
    get(target, name) {
      if (name in properties) return properties[name];
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** A driver on `its` device, over shared memory of a page of wasm. */
async function openDriver(its) {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  const glue = new GpuGlue(() => memory);
  const handle = glue.open(its, await describeDevice(its, gpu.wgslLanguageFeatures, adapter));
  const call = (name, ...values) => glue.imports[name](handle, ...values);
  const wait = async (name, ...values) => {
    for (;;) {
      const status = call(name, ...values);
      if (status !== PENDING) return status;
      await glue.settled(handle);
    }
  };
  const message = () => {
    call("message", 0, 500);
    const bytes = new Uint8Array(memory.buffer, 0, 500).slice();
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  };
  return { memory, call, wait, message };
}

test("where writeBuffer refuses shared memory, bytes are copied first", async () => {
  let refused = 0;
  const queue = replaced(device.queue, {
    writeBuffer: (buffer, offset, data, ...rest) => {
      if (data.buffer instanceof SharedArrayBuffer && ++refused)
        throw new TypeError("The provided ArrayBufferView value must not be shared.");
      device.queue.writeBuffer(buffer, offset, data, ...rest);
    },
  });
  const { memory, call, wait } = await openDriver(replaced(device, { queue }));
  const length = 2 ** 20 + 12; // more than one copy
  const [from, to] = [2 ** 10, 2 ** 21];
  const words = new Uint32Array(memory.buffer, from, length / 4);
  words.forEach((_, i) => (words[i] = i * 2654435761));
  const buffer = call("buffer_open", length + 4);
  for (let i = 0; i < 3; i++) assert.equal(call("write", buffer, 4, from, length), OK);
  assert.equal(refused, 1); // and is not asked again
  const read = call("read", buffer, 4, length, to);
  assert.equal(await wait("read_state", read), OK);
  assert.deepEqual(new Uint32Array(memory.buffer, to, length / 4), words);
  call("close");
});

test("a dropped read writes nothing, and closing takes along what is under way", async () => {
  const { memory, call, wait } = await openDriver(device);
  const bytes = new Uint8Array(memory.buffer);
  const buffer = call("buffer_open", 64);
  bytes.fill(7, 0, 64);
  call("write", buffer, 0, 0, 64);
  call("read_drop", call("read", buffer, 0, 64, 1024));
  assert.equal(await wait("read_state", call("read", buffer, 0, 64, 2048)), OK);
  assert.deepEqual([bytes[1024], bytes[2048]], [0, 7]);
  call("read", buffer, 0, 64, 1024);
  call("close");
  await device.queue.onSubmittedWorkDone();
  assert.equal(bytes[1024], 0);
  assert.equal(call("read_state", 1), INTERNAL);
});

test("a call that fails fails the reads under way, and the next call says why", async () => {
  const { call, wait, message } = await openDriver(device);
  const buffer = call("buffer_open", 64);
  const reads = [call("read", buffer, 0, 64, 1024), call("read", buffer, 32, 64, 1024)];
  assert.equal(await wait("read_state", reads[1]), INTERNAL);
  assert.match(message(), /CopyBufferToBuffer|copy range|does not fit/i);
  assert.match(String(await wait("read_state", reads[0])), /^(0|-11)$/); // done before, or not
  assert.equal(call("poll", 0), OK);
  call("close");
});

test("an engine that leaves things out has no optional feature", async () => {
  const bare = replaced(device, { adapterInfo: undefined, features: new Set() });
  const { numbers, texts, timestamps } = await describeDevice(bare);
  assert.deepEqual(numbers.slice(0, 10), [0, 0, 0, 0, 0, 0, 0, 4, 128, 0]);
  assert.ok(numbers.slice(10, 19).every((limit) => limit > 0));
  assert.deepEqual(numbers.slice(19), [1, 1, 1, 0]);
  assert.deepEqual([texts, timestamps], [["", "", "", ""], false]);
});
