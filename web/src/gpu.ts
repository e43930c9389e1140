// gpu.ts - the driver of src/gpu/driver.h in JavaScript: what src/gpu/driver_web.c imports. It
// keeps WebGPU's objects by number, encodes a table of commands in one loop, and remembers what
// WebGPU reports later until the core asks again. It imports nothing, so that tests run it as it
// is. gpu_device.ts opens devices.

import type { GpuFacts } from "./gpu_device.js";

/** weft_status. */
const OK = 0;
const PENDING = 1;
const OUT_OF_MEMORY = -4;
const DEVICE_LOST = -10;
const INTERNAL = -11;

/** weft_gpu_command. */
const DISPATCH = 1;
const COPY = 2;
const TIME = 3;
const TIMES = 64;

// As WebGPU numbers them; not every host has the constants by name.
const MAP_READ = 1;
const COPY_SRC = 4;
const COPY_DST = 8;
const UNIFORM = 64;
const STORAGE = 128;
const QUERY_RESOLVE = 512;
const COMPUTE = 4;

/** Parameters that are no immediates: this many bytes of them at once. */
const ARENA_BYTES = 2 ** 18;
/** Copies of shared memory, where writeBuffer refuses it. */
const COPY_BYTES = 2 ** 20;
/** Staging buffers that are kept for later reads. */
const STAGING_KEPT = 8;

type Pointer = number | bigint;
/** 32-bit pointers at and above 2 GiB come negative. */
const toNumber = (value: Pointer) => (value < 0 ? Number(value) + 2 ** 32 : Number(value));

/** What is newer than TypeScript's library. */
interface Immediates {
  setImmediates(offset: number, data: Uint32Array, dataOffset: number, size: number): void;
}

/** Objects by number, from 1 on. */
class Numbered<T> {
  readonly items: (T | undefined)[] = [undefined];
  readonly #free: number[] = [];

  add(item: T): number {
    const number = this.#free.pop() ?? this.items.length;
    this.items[number] = item;
    return number;
  }
  get(number: number): T {
    const item = this.items[number];
    if (item === undefined) throw new Error(`there is no object ${number}`);
    return item;
  }
  remove(number: number): T | undefined {
    const item = this.items[number];
    if (item !== undefined) this.#free.push(number);
    this.items[number] = undefined;
    return item;
  }
}

interface Buffer {
  gpu: GPUBuffer;
  /** Somebody else's is not destroyed. */
  ours: boolean;
}

interface Pipeline {
  /** In what WebGPU says of it and of its bind groups. */
  label: string;
  gpu: GPUComputePipeline | undefined;
  /** The compiler's, or the device's. */
  failure: string | undefined;
  layout: GPUBindGroupLayout;
  /** Words of parameters, and the bytes of the arena that they take; 0: they are immediates. */
  paramWords: number;
  arenaBytes: number;
}

interface Read {
  staging: GPUBuffer;
  length: number;
  to: number;
  state: "copying" | "mapped" | "failed" | "dropped";
}

interface Failure {
  status: number;
  message: string;
}

type Four = [number, number, number, number];

const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();
const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** The devices of users' buffers, as far as they were seen. */
const owners = new WeakMap<GPUBuffer, GPUDevice>();

/** One of the core's drivers: a device, and the objects that the core made on it. */
class Driver {
  readonly facts: GpuFacts;
  readonly #device: GPUDevice;
  readonly #memory: () => ArrayBufferLike;
  readonly #buffers = new Numbered<Buffer>();
  readonly #pipelines = new Numbered<Pipeline>();
  readonly #groups = new Numbered<GPUBindGroup>();
  readonly #reads = new Numbered<Read>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #staging: GPUBuffer[] = [];
  /** What the next call answers; for good once the device is lost. */
  #failure: Failure | undefined;
  /** The message of the latest call that failed. */
  message = "";
  /** When the errors of all calls so far are known. */
  #checked: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];
  #closed = false;

  readonly #arena: GPUBuffer;
  readonly #arenaWords = new Uint32Array(ARENA_BYTES / 4);
  readonly #arenaOffset = new Uint32Array(1);
  /** Bytes, by the dispatches that are encoded but not submitted. */
  #arenaUsed = 0;
  readonly #alignment: number;
  /** What is encoded but not yet submitted. */
  #encoder: GPUCommandEncoder | undefined;
  /** Reads that are encoded: they are mapped once they are submitted. */
  readonly #started: Read[] = [];
  readonly #closing: GPUBuffer[] = [];
  /** Whether a call of `together` is under way, and whether it has opened error scopes. */
  #together = false;
  #scopes = false;
  #times: GPUQuerySet | undefined;
  #timeResults: GPUBuffer | undefined;
  #table = new Uint32Array(1024);
  /** Where writeBuffer refuses shared memory. */
  #copy: Uint8Array<ArrayBuffer> | undefined;

  constructor(device: GPUDevice, facts: GpuFacts, memory: () => ArrayBufferLike) {
    this.facts = facts;
    this.#device = device;
    this.#memory = memory;
    this.#alignment = device.limits.minUniformBufferOffsetAlignment;
    this.#arena = device.createBuffer({ size: ARENA_BYTES, usage: UNIFORM | COPY_DST });
    if (facts.timestamps) {
      this.#times = device.createQuerySet({ type: "timestamp", count: TIMES });
      this.#timeResults = device.createBuffer({
        size: 8 * TIMES,
        usage: QUERY_RESOLVE | COPY_SRC,
      });
    }
    void device.lost.then(({ message, reason }) => {
      const why = message || reason || "the browser does not say why";
      this.#keep({ status: DEVICE_LOST, message: `the GPU device is lost: ${why}` });
    });
  }

  // ---- failures -------------------------------------------------------------------------------

  /** For the next call, and for all reads under way: what they bring may be wrong. */
  #keep(failure: Failure): void {
    if (this.#closed) return;
    if (this.#failure?.status !== DEVICE_LOST) this.#failure = failure;
    for (const read of this.#reads.items) if (read?.state === "copying") read.state = "failed";
    this.#wake();
  }
  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }
  /**
   * Resolves when a pipeline or read that was pending may not be any more. Ask in the same task as
   * the call that answered so.
   */
  settled(): Promise<void> {
    if (this.#failure || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The status of what was kept. */
  take(): number {
    const failure = this.#failure;
    if (!failure) return OK;
    if (failure.status !== DEVICE_LOST) this.#failure = undefined;
    return this.fail(failure.status, failure.message);
  }
  fail(status: number, message: string): number {
    this.message = message;
    return status;
  }

  /** What `work` encodes is submitted at once at its end, and its errors are asked for once. */
  together<T>(work: () => T): T {
    if (this.#together) return work();
    this.#together = true;
    try {
      return work();
    } finally {
      this.#flush();
      if (this.#scopes) this.#closeScopes();
      this.#together = false;
      for (const read of this.#started) void this.#map(read);
      this.#started.length = 0;
    }
  }
  /** Scopes and not the device's event, as the device may be the user's, and so may its errors. */
  #scoped<T>(work: () => T): T {
    return this.together(() => {
      if (!this.#scopes) {
        this.#device.pushErrorScope("out-of-memory");
        this.#device.pushErrorScope("validation");
        this.#scopes = true;
      }
      return work();
    });
  }
  #closeScopes(): void {
    this.#scopes = false;
    this.#watch(this.#device.popErrorScope(), INTERNAL);
    this.#watch(this.#device.popErrorScope(), OUT_OF_MEMORY);
  }
  /** `what` failed is known later than the call that it belongs to. */
  #watch(scope: Promise<GPUError | null>, status: number, what = ""): void {
    const before = this.#checked;
    this.#checked = scope.then(
      (error) => {
        const said = error?.message.replace(/\s+/g, " ");
        if (error) this.#keep({ status, message: `an earlier call failed: ${what}${said}` });
        return before;
      },
      () => before, // the device is lost, which is reported apart
    );
  }
  #encode(): GPUCommandEncoder {
    return (this.#encoder ??= this.#device.createCommandEncoder());
  }
  #flush(): void {
    const [encoder, used] = [this.#encoder, this.#arenaUsed];
    this.#encoder = undefined;
    this.#arenaUsed = 0;
    if (!encoder) return;
    const { queue } = this.#device;
    if (used) queue.writeBuffer(this.#arena, 0, this.#arenaWords, 0, used / 4);
    queue.submit([encoder.finish()]);
    for (const buffer of this.#closing.splice(0)) buffer.destroy();
  }

  // ---- buffers --------------------------------------------------------------------------------

  openBuffer(bytes: number): number {
    const usage = STORAGE | COPY_SRC | COPY_DST;
    const device = this.#device;
    const gpu = this.#scoped(() => {
      device.pushErrorScope("out-of-memory"); // of its own: the message says how much was wanted
      const buffer = device.createBuffer({ size: bytes, usage });
      this.#watch(device.popErrorScope(), OUT_OF_MEMORY, `a buffer of ${bytes} bytes: `);
      return buffer;
    });
    return this.#buffers.add({ gpu, ours: true });
  }
  /**
   * The number of a buffer that is not the core's own; closeBuffer only forgets it. 0: it was used
   * with another device before.
   */
  adopt(gpu: GPUBuffer): number {
    const owner = owners.get(gpu);
    if (owner && owner !== this.#device) return 0;
    owners.set(gpu, this.#device);
    return this.#buffers.add({ gpu, ours: false });
  }
  buffer(number: number): GPUBuffer {
    return this.#buffers.get(number).gpu;
  }
  /** Commands that are not submitted yet may still use it. Answers its bytes, where it is ours. */
  closeBuffer(number: number): number {
    const buffer = this.#buffers.remove(number);
    if (!buffer?.ours) return 0;
    if (this.#encoder) this.#closing.push(buffer.gpu);
    else buffer.gpu.destroy();
    return buffer.gpu.size;
  }

  write(number: number, offset: number, from: number, length: number): number {
    const buffer = this.buffer(number);
    this.#flush();
    this.#scoped(() => {
      if (!this.#copy && !this.#writeShared(buffer, offset, from, length))
        this.#copy = new Uint8Array(COPY_BYTES);
      if (this.#copy) this.#writeCopies(this.#copy, buffer, offset, from, length);
    });
    return OK;
  }
  /** Some engines throw. */
  #writeShared(buffer: GPUBuffer, offset: number, from: number, length: number): boolean {
    try {
      const bytes = new Uint8Array(this.#memory(), from, length);
      this.#device.queue.writeBuffer(buffer, offset, bytes);
      return true;
    } catch (error) {
      if (error instanceof TypeError) return false;
      throw error;
    }
  }
  #writeCopies(
    copy: Uint8Array<ArrayBuffer>,
    buffer: GPUBuffer,
    offset: number,
    from: number,
    length: number,
  ): void {
    for (let done = 0; done < length; done += copy.length) {
      const bytes = Math.min(copy.length, length - done);
      copy.set(new Uint8Array(this.#memory(), from + done, bytes));
      this.#device.queue.writeBuffer(buffer, offset + done, copy, 0, bytes);
    }
  }

  // ---- reads ----------------------------------------------------------------------------------

  read(number: number, offset: number, length: number, to: number): number {
    const buffer = this.buffer(number);
    return this.#startRead(length, to, (encoder, staging) =>
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, length),
    );
  }
  readTimes(count: number, to: number): number {
    const [times, results] = [this.#times, this.#timeResults];
    if (!times || !results) return this.fail(INTERNAL, "the GPU device has no timestamps");
    return this.#startRead(8 * count, to, (encoder, staging) => {
      encoder.resolveQuerySet(times, 0, count, results, 0);
      encoder.copyBufferToBuffer(results, 0, staging, 0, 8 * count);
    });
  }
  #startRead(
    length: number,
    to: number,
    encode: (encoder: GPUCommandEncoder, staging: GPUBuffer) => void,
  ): number {
    return this.#scoped(() => {
      const read: Read = { staging: this.#takeStaging(length), length, to, state: "copying" };
      encode(this.#encode(), read.staging);
      this.#started.push(read);
      return this.#reads.add(read);
    });
  }
  /** The bytes are good when they are there and every call so far is known to be. */
  async #map(read: Read): Promise<void> {
    try {
      await Promise.all([read.staging.mapAsync(1, 0, read.length), this.#checked]);
      if (read.state === "copying") read.state = "mapped";
      else if (read.state === "dropped") this.#giveStaging(read.staging);
      else read.staging.destroy();
      this.#wake();
    } catch (error) {
      read.staging.destroy();
      await this.#loss();
      if (read.state === "copying") this.#keep({ status: INTERNAL, message: textOf(error) });
    }
  }
  /** A lost device says so a little later than what it ends. */
  async #loss(): Promise<void> {
    const enough = new Promise((resolve) => setTimeout(resolve, 50));
    await Promise.race([this.#device.lost, enough]);
  }
  /** Answers OK once: then the bytes are in memory. */
  readState(number: number): number {
    const read = this.#reads.get(number);
    if (read.state === "copying") return PENDING;
    this.#reads.remove(number);
    if (read.state !== "mapped")
      return this.take() || this.fail(INTERNAL, "the GPU device failed before a copy was done");
    const bytes = new Uint8Array(read.staging.getMappedRange(0, read.length));
    new Uint8Array(this.#memory(), read.to, read.length).set(bytes);
    read.staging.unmap();
    this.#giveStaging(read.staging);
    return OK;
  }
  dropRead(number: number): number {
    const read = this.#reads.remove(number);
    if (read?.state === "mapped") this.#giveStaging(read.staging);
    else if (read?.state === "copying") read.state = "dropped";
    return OK;
  }

  #takeStaging(length: number): GPUBuffer {
    const fits = this.#staging.findIndex(({ size }) => size >= length);
    if (fits >= 0) return this.#staging.splice(fits, 1)[0]!;
    const size = Math.max(4096, 2 ** Math.ceil(Math.log2(length)));
    return this.#scoped(() => this.#device.createBuffer({ size, usage: MAP_READ | COPY_DST }));
  }
  /** The smallest come first; the largest go. */
  #giveStaging(staging: GPUBuffer): void {
    if (staging.mapState === "mapped") staging.unmap();
    if (this.#closed) return staging.destroy();
    this.#staging.push(staging);
    this.#staging.sort((a, b) => a.size - b.size);
    if (this.#staging.length > STAGING_KEPT) this.#staging.pop()!.destroy();
  }

  // ---- pipelines and groups -------------------------------------------------------------------

  openPipeline(
    label: string,
    code: string,
    bindings: number,
    writes: number,
    paramWords: number,
    immediates: number,
  ): number {
    const bytes = 4 * paramWords;
    const uniformBytes = immediates ? 0 : bytes;
    const layout = this.#layout(bindings, writes, uniformBytes);
    const pipeline: Pipeline = {
      label,
      gpu: undefined,
      failure: undefined,
      layout,
      paramWords,
      arenaBytes: Math.ceil(uniformBytes / this.#alignment) * this.#alignment,
    };
    const device = this.#device;
    const immediateSize = immediates ? bytes : 0;
    const layouts = { bindGroupLayouts: [layout], immediateSize };
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label, code });
    const compiling = device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout(layouts),
      compute: { module, entryPoint: "main" },
    });
    const scope = device.popErrorScope();
    void this.#compile(pipeline, label, module, compiling, scope);
    return this.#pipelines.add(pipeline);
  }
  async #compile(
    pipeline: Pipeline,
    label: string,
    module: GPUShaderModule,
    compiling: Promise<GPUComputePipeline>,
    scope: Promise<GPUError | null>,
  ): Promise<void> {
    const refused = scope.catch(() => null);
    try {
      const gpu = await compiling;
      const error = await refused;
      if (error) throw new Error(error.message);
      pipeline.gpu = gpu;
    } catch (error) {
      const said = await compilerError(module);
      await this.#loss(); // which the compiler would be blamed for
      pipeline.failure = `the GPU's compiler refuses ${label}: ${said || textOf(error)}`;
    }
    this.#wake();
  }
  #layout(bindings: number, writes: number, uniformBytes: number): GPUBindGroupLayout {
    const key = `${bindings} ${writes} ${uniformBytes}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const entries: GPUBindGroupLayoutEntry[] = Array.from({ length: bindings }, (_, binding) => ({
      binding,
      visibility: COMPUTE,
      buffer: { type: (writes >> binding) & 1 ? "storage" : "read-only-storage" },
    }));
    const buffer = {
      type: "uniform",
      hasDynamicOffset: true,
      minBindingSize: uniformBytes,
    } as const;
    if (uniformBytes) entries.push({ binding: bindings, visibility: COMPUTE, buffer });
    const layout = this.#scoped(() => this.#device.createBindGroupLayout({ entries }));
    this.#layouts.set(key, layout);
    return layout;
  }
  pipelineState(number: number): number {
    const { gpu, failure } = this.#pipelines.get(number);
    if (failure) return this.fail(INTERNAL, failure);
    return gpu ? OK : PENDING;
  }
  closePipeline(number: number): number {
    this.#pipelines.remove(number);
    return OK;
  }

  openGroup(number: number, buffers: number, count: number): number {
    const { gpu, failure, label, layout, paramWords, arenaBytes } = this.#pipelines.get(number);
    if (!gpu) return this.fail(INTERNAL, failure ?? `${label} is not compiled yet`);
    const numbers = new Uint32Array(this.#memory(), buffers, count);
    const entries: GPUBindGroupEntry[] = Array.from(numbers, (buffer, binding) => ({
      binding,
      resource: { buffer: this.buffer(buffer) },
    }));
    const resource = { buffer: this.#arena, size: 4 * paramWords };
    if (arenaBytes) entries.push({ binding: count, resource });
    const group = this.#scoped(() => this.#device.createBindGroup({ label, layout, entries }));
    return this.#groups.add(group);
  }
  closeGroup(number: number): number {
    this.#groups.remove(number);
    return OK;
  }

  // ---- commands -------------------------------------------------------------------------------

  submit(at: number, words: number): number {
    if (this.#table.length < words) this.#table = new Uint32Array(2 * words);
    this.#table.set(new Uint32Array(this.#memory(), at, words));
    this.#scoped(() => {
      for (let from = 0; from < words;) {
        from = this.#encodeTable(from, words);
        if (from < words) this.#flush();
      }
    });
    return OK;
  }

  /**
   * Encodes commands from word `at` on, until the end or until no more parameters fit; answers
   * where it stopped. Nothing is allocated for a dispatch.
   */
  #encodeTable(at: number, words: number): number {
    const table = this.#table;
    const encoder = this.#encode();
    const pipelines = this.#pipelines.items;
    let pass: GPUComputePassEncoder | undefined;
    let bound = 0;
    /** A timestamp for the beginning of the next pass; -1: none. */
    let time = -1;
    for (let size = 0; at < words; at += size) {
      size = table[at]! >>> 8;
      const command = table[at]! & 255;
      if (command < DISPATCH || command > TIME || !size || at + size > words)
        throw new Error(`word ${at} of the table begins no command`);
      if (command === DISPATCH) {
        const pipeline = pipelines[table[at + 1]!]!;
        if (this.#arenaUsed + pipeline.arenaBytes > ARENA_BYTES) break;
        if (!pass) {
          pass = this.#beginPass(encoder, time, this.#timeAfter(at, words));
          bound = 0;
          time = -1;
        }
        if (bound !== table[at + 1]) pass.setPipeline(pipeline.gpu!);
        bound = table[at + 1]!;
        this.#dispatch(pass, pipeline, at, size);
        continue;
      }
      // Each time is the end of a pass, or else the beginning of the next one.
      if (time >= 0) this.#beginPass(encoder, time, -1).end();
      time = command === TIME && !pass ? table[at + 1]! : -1;
      pass?.end();
      pass = undefined;
      if (command === COPY) this.#encodeCopy(encoder, at);
    }
    pass?.end();
    if (time >= 0) this.#beginPass(encoder, time, -1).end();
    return at;
  }
  #dispatch(pass: GPUComputePassEncoder, pipeline: Pipeline, at: number, size: number): void {
    const table = this.#table;
    if (size !== 6 + pipeline.paramWords)
      throw new Error(`a dispatch has ${size - 6} parameters and not ${pipeline.paramWords}`);
    const group = this.#groups.items[table[at + 2]!]!;
    if (pipeline.arenaBytes) {
      const to = this.#arenaUsed / 4 - 6;
      for (let i = 6; i < size; i++) this.#arenaWords[to + i] = table[at + i]!;
      this.#arenaOffset[0] = this.#arenaUsed;
      this.#arenaUsed += pipeline.arenaBytes;
      pass.setBindGroup(0, group, this.#arenaOffset, 0, 1);
    } else {
      pass.setBindGroup(0, group);
      if (size > 6) (pass as unknown as Immediates).setImmediates(0, table, at + 6, size - 6);
    }
    pass.dispatchWorkgroups(table[at + 3]!, table[at + 4]!, table[at + 5]!);
  }
  /** The timestamp that ends the pass which begins at word `at`; -1: none does. */
  #timeAfter(at: number, words: number): number {
    if (!this.#times) return -1;
    const table = this.#table;
    while (at < words && (table[at]! & 255) === DISPATCH) at += Math.max(table[at]! >>> 8, 1);
    return at < words && (table[at]! & 255) === TIME ? table[at + 1]! : -1;
  }
  #beginPass(encoder: GPUCommandEncoder, first: number, last: number): GPUComputePassEncoder {
    if (!this.#times || (first < 0 && last < 0)) return encoder.beginComputePass();
    const timestampWrites: GPUComputePassTimestampWrites = { querySet: this.#times };
    if (first >= 0) timestampWrites.beginningOfPassWriteIndex = first;
    if (last >= 0) timestampWrites.endOfPassWriteIndex = last;
    return encoder.beginComputePass({ timestampWrites });
  }
  #encodeCopy(encoder: GPUCommandEncoder, at: number): void {
    const table = this.#table;
    const long = (i: number) => table[at + i]! + table[at + i + 1]! * 2 ** 32;
    const [from, to] = [this.buffer(table[at + 1]!), this.buffer(table[at + 4]!)];
    encoder.copyBufferToBuffer(from, long(2), to, long(5), long(7));
  }

  close(): number {
    this.#closed = true;
    for (const buffer of this.#buffers.items) if (buffer?.ours) buffer.gpu.destroy();
    for (const read of this.#reads.items) read?.staging.destroy();
    for (const staging of this.#staging) staging.destroy();
    this.#arena.destroy();
    this.#times?.destroy();
    this.#timeResults?.destroy();
    this.#wake();
    return OK;
  }
}

/** "line 3, column 7: unresolved value 'x'", the first of the compiler's errors; or nothing. */
async function compilerError(module: GPUShaderModule): Promise<string> {
  const info = await module.getCompilationInfo?.().catch(() => undefined);
  const first = info?.messages.find(({ type }) => type === "error");
  return first ? `line ${first.lineNum}, column ${first.linePos}: ${first.message}` : "";
}

/** The imports of one wasm module (one memory), and its drivers by number. */
export class GpuGlue {
  /** Those of the module "weft_gpu". */
  readonly imports: Record<string, (...values: Pointer[]) => number>;
  readonly #memory: () => ArrayBufferLike;
  readonly #drivers = new Numbered<Driver>();

  constructor(memory: () => WebAssembly.Memory) {
    this.#memory = () => memory().buffer;
    this.imports = this.#makeImports();
  }

  /** The number for weft_gpu_web_open; it stands until that driver is closed. */
  open(device: GPUDevice, facts: GpuFacts): number {
    return this.#drivers.add(new Driver(device, facts, this.#memory));
  }
  /** See Driver. */
  settled(handle: number): Promise<void> {
    return this.#drivers.items[handle]?.settled() ?? Promise.resolve();
  }
  together(handle: number, work: () => number): number {
    return this.#drivers.items[handle]?.together(work) ?? work();
  }
  /** Numbers for buffers of the user's. */
  adopt(handle: number, buffer: GPUBuffer): number {
    return this.#drivers.get(handle).adopt(buffer);
  }
  buffer(handle: number, number: number): GPUBuffer {
    return this.#drivers.get(handle).buffer(number);
  }

  #makeImports(): GpuGlue["imports"] {
    type Work = (driver: Driver, ...values: number[]) => number;
    const guarded =
      (work: Work) =>
      (handle: Pointer, ...values: Pointer[]) => {
        const driver = this.#drivers.items[Number(handle)];
        if (!driver) return INTERNAL;
        try {
          return work(driver, ...values.map(toNumber));
        } catch (error) {
          return driver.fail(INTERNAL, textOf(error));
        }
      };
    /** These answer a failure that was kept instead. */
    const asking = (work: Work) =>
      guarded((driver, ...values) => driver.take() || work(driver, ...values));
    return {
      facts: guarded(({ facts }, to, count) => {
        new Float64Array(this.#memory(), to, count).set(facts.numbers.slice(0, count));
        return OK;
      }),
      text: guarded(({ facts }, which, to, room) =>
        this.#writeText(facts.texts[which] ?? "", to, room),
      ),
      message: guarded(({ message }, to, room) => this.#writeText(message, to, room)),
      buffer_open: asking((driver, bytes) => driver.openBuffer(bytes)),
      buffer_close: guarded((driver, buffer) => driver.closeBuffer(buffer)),
      write: asking((driver, ...values) => driver.write(...(values as Four))),
      read: asking((driver, ...values) => driver.read(...(values as Four))),
      read_times: asking((driver, count, to) => driver.readTimes(count, to)),
      read_state: guarded((driver, read) => driver.readState(read)),
      read_drop: guarded((driver, read) => driver.dropRead(read)),
      pipeline_open: asking((driver, label, labelLength, code, codeLength, ...counts) => {
        const texts = [this.#text(label, labelLength), this.#text(code, codeLength)] as const;
        return driver.openPipeline(...texts, ...(counts as Four));
      }),
      pipeline_state: asking((driver, pipeline) => driver.pipelineState(pipeline)),
      pipeline_close: guarded((driver, pipeline) => driver.closePipeline(pipeline)),
      group_open: asking((driver, pipeline, buffers, count) =>
        driver.openGroup(pipeline, buffers, count),
      ),
      group_close: guarded((driver, group) => driver.closeGroup(group)),
      submit: asking((driver, table, words) => driver.submit(table, words)),
      // JavaScript does not block; tests/gpu/run-wasm.mjs has an import in place of this one.
      poll: asking((_, wait) => (wait ? PENDING : OK)),
      close: (handle) => this.#drivers.remove(Number(handle))?.close() ?? OK,
    };
  }

  /** TextDecoder refuses shared memory, so a copy is decoded. */
  #text(at: number, length: number): string {
    return textDecoder.decode(new Uint8Array(this.#memory(), at, length).slice());
  }
  /** As a C string in `room` bytes, cut between characters. */
  #writeText(text: string, to: number, room: number): number {
    const bytes = new Uint8Array(room);
    const { written } = textEncoder.encodeInto(text, bytes.subarray(0, room - 1));
    new Uint8Array(this.#memory(), to, written + 1).set(bytes.subarray(0, written + 1));
    return OK;
  }
}
