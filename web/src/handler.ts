// handler.ts - a session of the core behind onnxruntime-common's interface of backends: feeds are
// copied in, outputs out, but for KV caches (cache.ts). load.ts makes it, session.ts shows it to
// users.

import { Tensor, type InferenceSession, type InferenceSessionHandler } from "onnxruntime-common";
import { CacheTensor, canStay } from "./cache.js";
import type { Core, CoreGpu } from "./core.js";
import { arrayFromBytes, typeCode, typeName } from "./data.js";
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

/** weft_status. */
const PENDING = 1;

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
  readonly #gpu: CoreGpu | undefined;
  /** The run that waits for the GPU; it does not reject. */
  #running: Promise<unknown> | undefined;
  readonly #blocks: Blocks;
  readonly #inputs: Input[] = [];
  readonly #outputs: Output[] = [];
  /** weft_binding of all inputs, then of the wanted outputs: pairs of pointers. */
  readonly #bindings: number;

  /** Takes the session; on failure its owner is still the caller. */
  constructor(core: Core, session: number, gpu: CoreGpu | undefined, description: Description) {
    this.core = core;
    this.#gpu = gpu;
    this.inputMetadata = description.inputs.map(toMetadata);
    this.outputMetadata = description.outputs.map(toMetadata);
    this.inputNames = description.inputs.map(({ name }) => name);
    this.outputNames = description.outputs.map(({ name }) => name);
    this.modelMetadata = Object.fromEntries(description.metadata);
    this.#blocks = new Blocks(core);
    try {
      const count = this.inputNames.length + this.outputNames.length;
      this.#bindings = this.#blocks.add(count * 2 * core.pointerSize);
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

  /**
   * Runs of one session follow one another. onnxruntime-common has checked that every input is fed
   * and every fetch is an output.
   */
  async run(feeds: Feeds, fetches: Fetches): Promise<Results> {
    while (this.#running) await this.#running;
    const run = this.#run(feeds, fetches);
    const running = run.then(
      () => (this.#running = undefined),
      () => (this.#running = undefined),
    );
    this.#running = running;
    return run;
  }
  async #run(feeds: Feeds, fetches: Fetches): Promise<Results> {
    const session = this.#open();
    const { core } = this;
    const fed = this.#inputs.map((input) => this.#stage(input, feeds[input.name]));
    const wanted = this.#outputs.filter(({ name }) => name in fetches);
    const pairs = [
      ...this.#inputs.map(({ nameAt }, i) => [nameAt, fed[i]!]),
      ...wanted.map(({ nameAt }) => [nameAt, 0]),
    ];
    core.writePointers(this.#bindings, pairs.flat());
    const outputs = this.#bindings + this.#inputs.length * 2 * core.pointerSize;
    const [inputCount, outputCount] = [this.#inputs.length, wanted.length];
    let status = core.call.web_session_run(
      ...[core.context, session, this.#bindings, inputCount, outputs, outputCount, 0],
    );
    while (status === PENDING) {
      await this.#gpu?.settled();
      status = core.call.web_session_resume(core.context, session);
    }
    core.checkStatus(status);
    const results: Results = {};
    wanted.forEach(({ name }, i) => {
      const tensor = core.readPointer(outputs + (2 * i + 1) * core.pointerSize);
      results[name] = this.#takeOutput(name, tensor, fetches[name]);
    });
    return results;
  }

  /** Copies an input into the core, unless it lies there; answers the core's tensor. */
  #stage(input: Input, tensor: unknown): number {
    const fail = (what: string): never => {
      throw new Error(`input '${input.name}': ${what}`);
    };
    if (!isTensorLike(tensor)) return fail("a tensor is expected");
    const cache = CacheTensor.handle(this.core, tensor);
    if (cache) return cache;
    const { type, data, dims } = tensor;
    const code = typeCode(type);
    if (code === undefined || !ArrayBuffer.isView(data))
      return fail(`${type} tensors are not supported`);
    if (dims.length > RANK_MAX) return fail(`rank ${dims.length} is above ${RANK_MAX}`);
    const bytes = asBytes(data);
    const { core } = this;
    if (bytes.length > input.bytes) this.#growInput(input, bytes.length);
    const dimsView = core.view(input.dims, RANK_MAX * DIM_BYTES);
    dims.forEach((dim, i) => dimsView.setBigInt64(i * DIM_BYTES, BigInt(dim), true));
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
    const rank = call.web_tensor_rank(tensor);
    const view = core.view(call.web_tensor_dims(tensor), rank * DIM_BYTES);
    const dims = Array.from({ length: rank }, (_, i) =>
      Number(view.getBigInt64(i * DIM_BYTES, true)),
    );
    if (!isTensorLike(given) && canStay(type) && call.web_tensor_is_view(tensor)) {
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
