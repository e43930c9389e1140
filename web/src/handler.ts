// handler.ts - a session of the core behind onnxruntime-common's interface of backends: feeds are
// copied in, outputs out, but for KV caches (cache.ts) and what stays on the GPU (gpu_tensor.ts).
// load.ts makes it, session.ts shows it to users.

import { Tensor, type InferenceSession, type InferenceSessionHandler } from "onnxruntime-common";
import { CacheTensor, canStay } from "./cache.js";
import { type Core, type CoreGpu, PENDING } from "./core.js";
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

export type Feeds = Record<string, unknown>;
export type Fetches = Record<string, unknown>;
export type Results = Record<string, Tensor>;

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
  /** What web_outputs makes a share of: 1: where it lies on the GPU, 2: where it is a cache. */
  keep: number;
}

/** The numbers of web_outputs for an output. */
const [TENSOR, KEPT, ON_DEVICE, DTYPE, BYTES, MEMORY, RANK, DIMS] = [0, 1, 2, 3, 4, 5, 6, 7];
const OUTPUT_NUMBERS = DIMS + RANK_MAX;

/** An output of a run as the core has it. */
interface Outcome {
  /** A handle: a share, which is whose it is given to, where it is kept; else the core's own. */
  tensor: number;
  kept: boolean;
  onDevice: boolean;
  type: Tensor.Type;
  bytes: number;
  /** The driver's number of its buffer; 0: none of its own. */
  memory: number;
  dims: number[];
}

function toMetadata({ name, type, dims }: ValueInfo): InferenceSession.TensorValueMetadata {
  return { name, isTensor: true, type: typeName(type), shape: dims ?? [] };
}

/** Tensors of another copy of onnxruntime-common, or of the user's own making, are taken too. */
function isTensorLike(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && "type" in value && "dims" in value;
}

function isOnGpu(value: unknown): value is Tensor {
  return isTensorLike(value) && value.location === "gpu-buffer";
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
  /** Why there or here, where the provider "auto" has chosen. */
  why: string | undefined;
  readonly #location: Location;
  /** The run that waits for the GPU; it does not reject. */
  #running: Promise<unknown> | undefined;
  readonly #blocks: Blocks;
  readonly #inputs: Input[] = [];
  readonly #outputs: Output[] = [];
  /** weft_binding of all inputs, then of the wanted outputs: pairs of pointers. */
  readonly #bindings: number;
  /** By wanted output: 1 where it stays on the GPU; its `keep`; what web_outputs says. */
  readonly #onDevice: number;
  readonly #keep: number;
  readonly #outcomes: number;
  /** What is written to `#bindings`. */
  readonly #pointers: number[] = [];
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
      this.#keep = this.#blocks.add(count);
      this.#outcomes = this.#blocks.add(count * OUTPUT_NUMBERS * 8);
      this.#dims = this.#blocks.add(RANK_MAX * DIM_BYTES);
      for (const name of this.inputNames) this.#inputs.push(this.#newInput(name));
      for (const { name, type } of description.outputs) {
        const keep =
          (this.#stays(name) && canStayOnGpu(typeName(type)) ? 1 : 0) |
          (canStay(typeName(type)) ? 2 : 0);
        this.#outputs.push({ name, nameAt: this.#blocks.addText(name), keep });
      }
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
  get running(): Promise<unknown> | undefined {
    return this.#running;
  }
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
    const wanted = this.#outputs.filter(({ name }) => name in fetches);
    this.#bind(feeds, fetches, wanted, lent);
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
    const taken = [core.context, outputs, outputCount, this.#keep, this.#outcomes];
    core.checkStatus(core.call.web_outputs(...taken));
    const outcomes = this.#readOutcomes(outputCount);
    const kept = outcomes.map((outcome) => this.#takeShare(outcome)); // before anything fails
    await this.#fetch(outcomes, wanted, fetches);
    const results: Results = {};
    for (const [i, { name }] of wanted.entries())
      results[name] = kept[i] ?? this.#takeOutput(name, outcomes[i]!, fetches[name]);
    return results;
  }
  /** Writes the bindings and what goes with them. */
  #bind(feeds: Feeds, fetches: Fetches, wanted: Output[], lent: Lent[]): void {
    const { core } = this;
    let at = 0;
    for (const input of this.#inputs) {
      this.#pointers[at++] = input.nameAt;
      this.#pointers[at++] = this.#stage(input, feeds[input.name], lent);
    }
    for (const { name, nameAt } of wanted) {
      this.#pointers[at++] = nameAt;
      this.#pointers[at++] = this.#given(name, fetches[name], lent);
    }
    this.#pointers.length = at;
    core.writePointers(this.#bindings, this.#pointers);
    const onDevice = core.bytes(this.#onDevice, wanted.length);
    const kept = core.bytes(this.#keep, wanted.length);
    for (const [i, { name, keep }] of wanted.entries()) {
      kept[i] = fetches[name] ? 0 : keep;
      onDevice[i] = kept[i]! & 1;
    }
  }
  #readOutcomes(count: number): Outcome[] {
    const numbers = this.core.doubles(this.#outcomes, count * OUTPUT_NUMBERS);
    const outcomes: Outcome[] = [];
    for (let at = 0; at < numbers.length; at += OUTPUT_NUMBERS) {
      const dims: number[] = [];
      for (let i = 0; i < numbers[at + RANK]!; i++) dims.push(numbers[at + DIMS + i]!);
      outcomes.push({
        tensor: numbers[at + TENSOR]!,
        kept: numbers[at + KEPT] !== 0,
        onDevice: numbers[at + ON_DEVICE] !== 0,
        type: typeName(numbers[at + DTYPE]!),
        bytes: numbers[at + BYTES]!,
        memory: numbers[at + MEMORY]!,
        dims,
      });
    }
    return outcomes;
  }
  /** Brings from the GPU what is wanted here, all at once. */
  async #fetch(outcomes: Outcome[], wanted: Output[], fetches: Fetches): Promise<void> {
    const { core } = this;
    const isHere = ({ onDevice, kept }: Outcome, i: number) =>
      !onDevice || kept || isOnGpu(fetches[wanted[i]!.name]);
    let coming = outcomes.filter((outcome, i) => !isHere(outcome, i));
    if (coming.length === 0) return;
    await this.#finish(() => {
      const still = [];
      for (const outcome of coming) {
        const status = core.call.web_tensor_fetch(core.context, outcome.tensor);
        if (status < 0) return status;
        if (status === PENDING) still.push(outcome);
      }
      coming = still;
      return still.length > 0 ? PENDING : 0;
    });
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
    if (!number)
      return fail(
        "its GPUBuffer belongs to another GPU device; if that is lost, so is what it held",
      );
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
    if (!isOnGpu(given)) return 0;
    return this.#lend(given, lent, (what) => {
      throw new Error(`output '${name}': ${what}`);
    });
  }

  // ---- the host's tensors -----------------------------------------------------------------------

  #writeDims(at: number, dims: readonly number[]): void {
    const view = this.core.view(at, RANK_MAX * DIM_BYTES);
    dims.forEach((dim, i) => view.setBigInt64(i * DIM_BYTES, BigInt(dim), true));
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

  /** One that grows, as masks do by each token, is likely to do so again. */
  #growInput(input: Input, bytes: number): void {
    if (input.bytes) bytes = Math.ceil((1.5 * bytes) / GROUP_BYTES) * GROUP_BYTES;
    this.core.release(input.data, input.bytes);
    input.data = input.bytes = 0;
    input.data = this.core.allocate(bytes);
    input.bytes = bytes;
  }

  /** A tensor over what is kept where it lies. */
  #takeShare({ kept, onDevice, tensor, type, dims, memory }: Outcome): Tensor | undefined {
    if (!kept) return undefined;
    if (!onDevice) return new CacheTensor(this.core, tensor, type, dims);
    return new GpuTensor(this.core, this.gpu!, tensor, type, dims, memory);
  }
  /** Copies an output out of the core: to a new tensor, or into the one given. */
  #takeOutput(name: string, { tensor, type, dims, bytes: size }: Outcome, given: unknown): Tensor {
    const { core } = this;
    if (isOnGpu(given)) return given;
    const at = core.call.web_tensor_data(tensor);
    if (!at && size > 0) throw new Error(`output '${name}': out of memory (${size} bytes)`);
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
  /** Held in the GPU's memory. */
  get gpuBytes(): number {
    return this.#session && this.core.call.web_session_memory(this.#session);
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
