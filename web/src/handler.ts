// handler.ts - a session of the core behind onnxruntime-common's interface of backends: feeds are
// copied in, outputs out, but for KV caches (cache.ts) and what stays on the GPU (gpu_tensor.ts).
// load.ts makes it, session.ts shows it to users.

import { Tensor, type InferenceSession, type InferenceSessionHandler } from "onnxruntime-common";
import { CacheTensor, canStay } from "./cache.js";
import type { Core, CoreGpu } from "./core.js";
import { arrayFromBytes, typeCode, typeName } from "./data.js";
import { GpuTensor, canStayOnGpu } from "./gpu_tensor.js";
import { asBytes } from "./source.js";

interface ValueInfo {
  name: string;
  type: number;
  dims: (number | string)[] | null;
}
/** What web_model_describe says. */
export interface Description {
  inputs: ValueInfo[];
  outputs: ValueInfo[];
  metadata: [string, string][];
}

/** Times of one step of a plan, summed over its runs. */
export interface ProfileEntry {
  op: string;
  node: string;
  kernel: string;
  calls: number;
  ns: number;
  flops: number;
}

type Feeds = Record<string, unknown>;
type Fetches = Record<string, unknown>;
type Results = Record<string, Tensor>;

const RANK_MAX = 8;
const DIM_BYTES = 8;

/** One block of the core's memory for each name: the C string, and for inputs what they need. */
class Blocks {
  readonly #blocks: { at: number; size: number }[] = [];
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }
  add(size: number): number {
    const at = this.#core.allocate(size);
    this.#blocks.push({ at, size });
    return at;
  }
  addText(text: string): number {
    const bytes = new TextEncoder().encode(`${text}\0`);
    const at = this.add(bytes.length);
    this.#core.bytes(at, bytes.length).set(bytes);
    return at;
  }
  release(): void {
    for (const { at, size } of this.#blocks.splice(0)) this.#core.release(at, size);
  }
}

/** Where an input is copied to. The data's memory grows, and stays for the next run. */
interface Input {
  name: string;
  nameAt: number;
  dims: number;
  tensor: number;
  data: number;
  bytes: number;
}
interface Output {
  name: string;
  nameAt: number;
}

function toMetadata({ name, type, dims }: ValueInfo): InferenceSession.TensorValueMetadata {
  return { name, isTensor: true, type: typeName(type), shape: dims ?? [] };
}

/** Tensors of another copy of onnxruntime-common, or of the user's own making, are taken too. */
function isTensorLike(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "type" in value && "dims" in value;
}

/** Where outputs shall be: of all, or by name. */
type Location = InferenceSession.SessionOptions["preferredOutputLocation"];

/** A tensor of the user's on the GPU, as the core has it for one run. */
interface Lent {
  tensor: number;
  buffer: number;
}
/** GPUBufferUsage.STORAGE */
const STORAGE = 128;
/** Kernels may touch whole groups of elements. */
const GROUP_BYTES = 16;

export class CoreSession implements InferenceSessionHandler {
  readonly core: Core;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[];
  /** metadata_props of the model. */
  readonly modelMetadata: Readonly<Record<string, string>>;

  #session: number;
  /** Undefined: all on the CPU. */
  readonly gpu: CoreGpu | undefined;
  readonly #location: Location;
  /** The run that waits for the GPU; it does not reject. */
  #running: Promise<unknown> | undefined;
  readonly #blocks: Blocks;
  readonly #inputs: Input[] = [];
  readonly #outputs: Output[] = [];
  /** weft_binding of all inputs, then of the wanted outputs: pairs of pointers. */
  readonly #bindings: number;
  /** By wanted output: 1 where it stays on the GPU. */
  readonly #onDevice: number;
  /** Extents of a tensor that is lent. */
  readonly #dims: number;

  /** Takes the session; on failure its owner is still the caller. */
  constructor(
    core: Core,
    session: number,
    description: Description,
    gpu?: CoreGpu,
    location?: Location,
  ) {
    this.core = core;
    this.gpu = gpu;
    this.#location = location;
    this.inputMetadata = description.inputs.map(toMetadata);
    this.outputMetadata = description.outputs.map(toMetadata);
    this.inputNames = description.inputs.map(({ name }) => name);
    this.outputNames = description.outputs.map(({ name }) => name);
    this.modelMetadata = Object.fromEntries(description.metadata);
    this.#blocks = new Blocks(core);
    try {
      const count = this.inputNames.length + this.outputNames.length;
      this.#bindings = this.#blocks.add(count * 2 * core.pointerSize);
      this.#onDevice = this.#blocks.add(count);
      this.#dims = this.#blocks.add(RANK_MAX * DIM_BYTES);
      for (const name of this.inputNames) this.#inputs.push(this.#newInput(name));
      for (const name of this.outputNames)
        this.#outputs.push({ name, nameAt: this.#blocks.addText(name) });
    } catch (error) {
      this.#blocks.release();
      throw error;
    }
    this.#session = session;
  }

  #newInput(name: string): Input {
    const blocks = this.#blocks;
    const dims = blocks.add(RANK_MAX * DIM_BYTES);
    const tensor = blocks.add(this.core.call.web_tensor_size());
    return { name, nameAt: blocks.addText(name), dims, tensor, data: 0, bytes: 0 };
  }

  /** The core answers WEFT_PENDING while it waits for the GPU. */
  async #finish(call: () => number): Promise<void> {
    if (this.gpu) await this.gpu.finish(call);
    else this.core.checkStatus(call());
  }
  /** Compiles the GPU's kernels. */
  async prepare(): Promise<void> {
    const { core } = this;
    await this.#finish(() => core.call.web_session_prepare(core.context, this.#open()));
  }

  /**
   * Runs of one session follow one another. onnxruntime-common has checked that every input is fed
   * and every fetch is an output.
   */
  async run(feeds: Feeds, fetches: Fetches): Promise<Results> {
    while (this.#running) await this.#running;
    const lent: Lent[] = [];
    const run = this.#run(feeds, fetches, lent);
    const end = () => {
      this.#running = undefined;
      for (const each of lent) this.#takeBack(each);
    };
    this.#running = run.then(end, end).catch(() => undefined);
    return run;
  }
  async #run(feeds: Feeds, fetches: Fetches, lent: Lent[]): Promise<Results> {
    const session = this.#open();
    const { core } = this;
    const fed = this.#inputs.map((input) => this.#stage(input, feeds[input.name], lent));
    const wanted = this.#outputs.filter(({ name }) => name in fetches);
    const pairs = [
      ...this.#inputs.map(({ nameAt }, i) => [nameAt, fed[i]!]),
      ...wanted.map(({ name, nameAt }) => [nameAt, this.#given(name, fetches[name], lent)]),
    ];
    core.writePointers(this.#bindings, pairs.flat());
    core.bytes(this.#onDevice, wanted.length).set(wanted.map(({ name }) => +this.#stays(name)));
    const outputs = this.#bindings + this.#inputs.length * 2 * core.pointerSize;
    const [inputCount, outputCount] = [this.#inputs.length, wanted.length];
    let started = false;
    await this.#finish(() => {
      if (started) return core.call.web_session_resume(core.context, session);
      started = true;
      return core.call.web_session_run(
        ...[core.context, session, this.#bindings, inputCount, outputs, outputCount],
        ...[this.#onDevice, 0],
      );
    });
    const results: Results = {};
    for (const [i, { name }] of wanted.entries()) {
      const tensor = core.readPointer(outputs + (2 * i + 1) * core.pointerSize);
      if (this.gpu && core.call.web_tensor_on_device(tensor))
        results[name] = await this.#takeFromGpu(name, tensor, fetches[name]);
      else results[name] = this.#takeOutput(name, tensor, fetches[name]);
    }
    return results;
  }

  // ---- the GPU's tensors ------------------------------------------------------------------------

  #stays(name: string): boolean {
    const location =
      typeof this.#location === "object" ? this.#location[name as never] : this.#location;
    return location === "gpu-buffer";
  }
  /** A tensor of the user's on the GPU as one of the core's; `fail` throws. */
  #lend(tensor: Tensor, lent: Lent[], fail: (what: string) => never): number {
    const { core, gpu } = this;
    const { type, dims, gpuBuffer } = tensor as { gpuBuffer: unknown } & Tensor;
    const buffer = gpuBuffer as GPUBuffer;
    const code = typeCode(type);
    if (!gpu) return fail("a tensor on the GPU needs a session on WebGPU");
    if (code === undefined) return fail(`${type} tensors are not supported`);
    if (dims.length > RANK_MAX) return fail(`rank ${dims.length} is above ${RANK_MAX}`);
    if (!(buffer.usage & STORAGE))
      return fail("its GPUBuffer is not made for GPUBufferUsage.STORAGE");
    this.#writeDims(this.#dims, dims);
    const number = gpu.adopt(buffer);
    const values = [core.context, this.#open(), code, this.#dims, dims.length, number];
    const handle = core.call.web_tensor_wrap_memory(...values);
    lent.push({ tensor: handle, buffer: number });
    if (!handle) return fail(core.failure().message);
    const bytes = core.call.web_tensor_bytes(handle);
    const needed = Math.ceil(bytes / GROUP_BYTES) * GROUP_BYTES;
    if (buffer.size < needed)
      return fail(`its GPUBuffer has ${buffer.size} bytes, but [${dims.join()}] needs ${needed}`);
    return handle;
  }
  #takeBack({ tensor, buffer }: Lent): void {
    const { core, gpu } = this;
    if (core.trap) return;
    if (tensor) core.call.web_tensor_close(tensor);
    core.call.web_gpu_forget(gpu!.at, buffer);
  }
  /** The core's tensor for an output that the user gives on the GPU; else 0. */
  #given(name: string, given: unknown, lent: Lent[]): number {
    if (!isTensorLike(given) || given.location !== "gpu-buffer") return 0;
    return this.#lend(given, lent, (what) => {
      throw new Error(`output '${name}': ${what}`);
    });
  }
  async #takeFromGpu(name: string, tensor: number, given: unknown): Promise<Tensor> {
    if (isTensorLike(given) && given.location === "gpu-buffer") return given;
    const { core } = this;
    const { call } = core;
    const type = typeName(call.web_tensor_dtype(tensor));
    const dims = this.#readDims(tensor);
    if (!given && this.#stays(name) && canStayOnGpu(type) && !dims.includes(0)) {
      const share = core.check(call.web_tensor_share(core.context, tensor));
      return new GpuTensor(core, this.gpu!, share, type, dims);
    }
    await this.#finish(() => call.web_tensor_fetch(core.context, tensor));
    return this.#takeOutput(name, tensor, given);
  }

  // ---- the host's tensors -----------------------------------------------------------------------

  #writeDims(at: number, dims: readonly number[]): void {
    const view = this.core.view(at, RANK_MAX * DIM_BYTES);
    dims.forEach((dim, i) => view.setBigInt64(i * DIM_BYTES, BigInt(dim), true));
  }
  #readDims(tensor: number): number[] {
    const { call } = this.core;
    const rank = call.web_tensor_rank(tensor);
    const view = this.core.view(call.web_tensor_dims(tensor), rank * DIM_BYTES);
    return Array.from({ length: rank }, (_, i) => Number(view.getBigInt64(i * DIM_BYTES, true)));
  }

  /** Copies an input into the core, unless it lies there; answers the core's tensor. */
  #stage(input: Input, tensor: unknown, lent: Lent[]): number {
    const fail = (what: string): never => {
      throw new Error(`input '${input.name}': ${what}`);
    };
    if (!isTensorLike(tensor)) return fail("a tensor is expected");
    const handle = CacheTensor.handle(this.core, tensor) || GpuTensor.handle(this.core, tensor);
    if (handle) return handle;
    if (tensor.location === "gpu-buffer") return this.#lend(tensor, lent, fail);
    const { type, data, dims } = tensor;
    const code = typeCode(type);
    if (code === undefined || !ArrayBuffer.isView(data))
      return fail(`${type} tensors are not supported`);
    if (dims.length > RANK_MAX) return fail(`rank ${dims.length} is above ${RANK_MAX}`);
    const bytes = asBytes(data);
    const { core } = this;
    if (bytes.length > input.bytes) this.#growInput(input, bytes.length);
    this.#writeDims(input.dims, dims);
    const status = core.call.web_tensor_wrap(
      ...[core.context, input.tensor, code, input.dims, dims.length, input.data, bytes.length],
    );
    if (status !== 0) fail(core.failure().message);
    if (core.call.web_tensor_bytes(input.tensor) !== bytes.length)
      fail(`${bytes.length} bytes of data are more than [${dims.join()}] needs`);
    core.bytes(input.data, bytes.length).set(bytes);
    return input.tensor;
  }

  #growInput(input: Input, bytes: number): void {
    this.core.release(input.data, input.bytes);
    input.data = input.bytes = 0;
    input.data = this.core.allocate(bytes);
    input.bytes = bytes;
  }

  /** Copies an output out of the core: to a new tensor, or into the one given. A cache stays. */
  #takeOutput(name: string, tensor: number, given: unknown): Tensor {
    const { core } = this;
    const { call } = core;
    const type = typeName(call.web_tensor_dtype(tensor));
    const dims = this.#readDims(tensor);
    const isCache = call.web_tensor_is_view(tensor) && !call.web_tensor_on_device(tensor);
    if (!isTensorLike(given) && canStay(type) && isCache) {
      const share = core.check(call.web_tensor_share(core.context, tensor));
      return new CacheTensor(core, share, type, dims);
    }
    const size = call.web_tensor_bytes(tensor);
    const at = call.web_tensor_data(tensor);
    if (!at) throw new Error(`output '${name}': out of memory (${size} bytes)`);
    if (!isTensorLike(given)) {
      const bytes = core.bytes(at, size);
      const data = arrayFromBytes(type, bytes);
      if (!data) throw new Error(`output '${name}': JavaScript has no array for ${type}`);
      return new Tensor(type, data, dims);
    }
    if (given.type !== type || given.dims.join() !== dims.join())
      throw new Error(`output '${name}': a ${type} tensor of [${dims.join()}] is expected`);
    const to = asBytes(given.data as ArrayBufferView); // which may take memory in the core
    to.set(core.bytes(at, size));
    return given;
  }

  async dispose(): Promise<void> {
    while (this.#running) await this.#running;
    if (!this.#session) return;
    if (!this.core.trap) this.core.call.web_session_close(this.#session);
    this.#session = 0;
    for (const { data, bytes } of this.#inputs) this.core.release(data, bytes);
    this.#blocks.release();
  }

  startProfiling(): void {
    // Times are kept from the start where `enableProfiling` asked for them.
  }
  endProfiling(): void {
    console.table(this.profile());
  }
  /** Empty without `enableProfiling`. */
  profile(): ProfileEntry[] {
    const { core } = this;
    const text = core.check(core.call.web_session_profile(core.context, this.#open()));
    return JSON.parse(core.text(text)) as ProfileEntry[];
  }
  /** The optimised graph, or the plan of the latest run, as text. */
  dump(what: "graph" | "plan"): string {
    const { core } = this;
    const kind = what === "graph" ? 0 : 1;
    return core.text(core.check(core.call.web_session_dump(core.context, this.#open(), kind)));
  }

  #open(): number {
    if (!this.#session) throw new Error("The session is released.");
    return this.#session;
  }
}
