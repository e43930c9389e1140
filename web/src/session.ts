// session.ts - InferenceSession of onnxruntime-common on the core.

import type { Core, Source } from "./core.js";
import { env } from "./env.js";
import { loadCore } from "./runtime.js";
import {
  type Bytes,
  asBytes,
  bytesSource,
  download,
  downloadWhole,
  fileSource,
  isFile,
} from "./source.js";
import { Tensor, type TensorType, arrayFromBytes, sizeOf, typeCode, typeName } from "./tensor.js";
import { chooseTier } from "./tiers.js";

export interface ValueMetadata {
  readonly name: string;
  readonly isTensor: true;
  readonly type: TensorType;
  /** Extents; symbolic dimensions by name. */
  readonly shape: readonly (number | string)[];
}

export type FeedsType = Readonly<Record<string, Tensor>>;
export type FetchesType = readonly string[] | Readonly<Record<string, Tensor | null>>;
export type OutputsType = Record<string, Tensor>;

export interface ExternalData {
  path: string;
  data: string | Blob | Bytes;
}

/** Options of onnxruntime-common (those that mean something here) and Weft's own. */
export interface SessionOptions {
  executionProviders?: readonly (string | { name: string })[];
  externalData?: readonly (string | ExternalData)[];
  graphOptimizationLevel?: "disabled" | "basic" | "extended" | "layout" | "all";
  enableProfiling?: boolean;
  logSeverityLevel?: 0 | 1 | 2 | 3 | 4;
  extra?: Record<string, unknown>;
  /** Weft: bytes read or packed so far, of a total (0: not known). Answer false to give up. */
  onProgress?: (progress: {
    stage: "read" | "pack";
    done: number;
    total: number;
  }) => boolean | void;
  /** Weft: gives up loading. */
  signal?: AbortSignal;
  /** Weft: names of rewrites to leave out, separated by commas. */
  disabledPasses?: string;
  /** Weft: bytes that the session may hold; 0 or nothing: no limit. */
  memoryLimit?: number;
  [name: string]: unknown;
}

export interface RunOptions {
  terminate?: boolean;
  tag?: string;
  [name: string]: unknown;
}

interface Description {
  inputs: { name: string; type: number; dims: (number | string)[] | null }[];
  outputs: Description["inputs"];
  metadata: [string, string][];
}

function toMetadata(values: Description["inputs"]): ValueMetadata[] {
  return values.map(({ name, type, dims }) => ({
    name,
    isTensor: true,
    type: typeName(type) ?? "float32",
    shape: dims ?? [],
  }));
}

/** Memory in the core that one input is copied to. It grows, and stays for the next run. */
interface Staging {
  name: number;
  data: number;
  bytes: number;
  dims: number;
  /** The core's tensor over it, for the type and dims in `key`. */
  tensor: number;
  key: string;
}

const DIMS_BYTES = 64; // eight dimensions of eight bytes

export class InferenceSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly ValueMetadata[];
  readonly outputMetadata: readonly ValueMetadata[];
  /** metadata_props of the model. */
  readonly modelMetadata: Readonly<Record<string, string>>;

  readonly #core: Core;
  #session: number;
  readonly #staging = new Map<string, Staging>();
  readonly #outputNames = new Map<string, number>();
  #bindings: { at: number; size: number };
  /** Runs and release wait for each other. */
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(core: Core, session: number, description: Description) {
    this.#core = core;
    this.#session = session;
    this.inputMetadata = toMetadata(description.inputs);
    this.outputMetadata = toMetadata(description.outputs);
    this.inputNames = description.inputs.map(({ name }) => name);
    this.outputNames = description.outputs.map(({ name }) => name);
    this.modelMetadata = Object.fromEntries(description.metadata);
    const size = (this.inputNames.length + this.outputNames.length) * 2 * core.pointerSize;
    this.#bindings = { at: core.allocate(size), size };
    for (const name of this.outputNames) this.#outputNames.set(name, core.newText(name).at);
  }

  /** A model from a URL, a path (in Node) or bytes. */
  static create(location: string | URL, options?: SessionOptions): Promise<InferenceSession>;
  static create(bytes: ArrayBufferLike, options?: SessionOptions): Promise<InferenceSession>;
  static create(bytes: Uint8Array, options?: SessionOptions): Promise<InferenceSession>;
  static create(
    bytes: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static async create(
    model: string | URL | Bytes,
    second?: SessionOptions | number,
    third?: SessionOptions | number,
    fourth?: SessionOptions,
  ): Promise<InferenceSession> {
    let options =
      (typeof second === "object" ? second : typeof third === "object" ? third : fourth) ?? {};
    checkProviders(options);
    if (typeof model === "string" || model instanceof URL)
      return createFromLocation(String(model), options);
    let bytes = asBytes(model);
    if (typeof second === "number") {
      const length = typeof third === "number" ? third : bytes.length - second;
      if (second < 0 || length < 0 || second + length > bytes.length) {
        throw new RangeError(
          `'byteOffset' and 'byteLength' are out of range [0, ${bytes.length}].`,
        );
      }
      bytes = bytes.subarray(second, second + length);
    }
    const source = bytesSource(bytes);
    return open(source.size, options, (core) => core.openModel(source), "");
  }

  /** For this file's create functions. */
  static fromCore(core: Core, session: number, description: string): InferenceSession {
    return new InferenceSession(core, session, JSON.parse(description) as Description);
  }

  /** Runs the model: outputs by name. Runs of one session queue. */
  run(feeds: FeedsType, options?: RunOptions): Promise<OutputsType>;
  run(feeds: FeedsType, fetches: FetchesType, options?: RunOptions): Promise<OutputsType>;
  run(feeds: FeedsType, second?: FetchesType | RunOptions): Promise<OutputsType> {
    const fetches = this.#fetches(second);
    return this.#enqueue(() => this.#run(feeds, fetches));
  }

  async release(): Promise<void> {
    await this.#enqueue(() => this.#release());
  }

  startProfiling(): void {
    // Profiles are kept from the start where `enableProfiling` asked for them.
  }
  endProfiling(): void {
    if (this.#session) console.log(this.profile());
  }
  /** Weft: times of the latest plan's steps; empty without `enableProfiling`. */
  profile(): {
    op: string;
    node: string;
    kernel: string;
    calls: number;
    ns: number;
    flops: number;
  }[] {
    return JSON.parse(this.#core.profile(this.#open())) as ReturnType<InferenceSession["profile"]>;
  }
  /** Weft: the optimised graph, or the plan of the latest run, as text. */
  dump(what: "graph" | "plan"): string {
    return this.#core.dump(this.#open(), what);
  }
  /** Weft: the wasm file in use, and memory of all sessions on it. */
  get runtime(): { tier: string } & ReturnType<Core["memoryUse"]> {
    return { tier: this.#core.tier, ...this.#core.memoryUse() };
  }

  #open(): number {
    if (!this.#session) throw new Error("The session is released.");
    return this.#session;
  }

  #enqueue<T>(work: () => T): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Names of the outputs wanted, and tensors to fill. */
  #fetches(value: FetchesType | RunOptions | undefined): Map<string, Tensor | null> {
    const all = new Map<string, Tensor | null>(this.outputNames.map((name) => [name, null]));
    if (value === undefined || value === null) return all;
    if (Array.isArray(value)) {
      if (value.length === 0) throw new TypeError("'fetches' cannot be an empty array.");
      for (const name of value as string[]) {
        if (!all.has(name))
          throw new RangeError(`'fetches' contains invalid output name: ${String(name)}.`);
      }
      return new Map((value as string[]).map((name) => [name, null]));
    }
    const named = Object.entries(value as Record<string, unknown>).filter(([name]) =>
      all.has(name),
    );
    const tensors = named.filter(([, tensor]) => tensor === null || isTensorLike(tensor));
    return tensors.length ? new Map(tensors as [string, Tensor | null][]) : all;
  }

  #run(feeds: FeedsType, fetches: Map<string, Tensor | null>): OutputsType {
    const session = this.#open();
    const core = this.#core;
    const pointers: number[] = [];
    for (const name of this.inputNames) {
      const tensor = feeds[name];
      if (tensor === undefined) throw new Error(`input '${name}' is missing in 'feeds'.`);
      const staging = this.#stage(name, tensor);
      pointers.push(staging.name, staging.tensor);
    }
    const outputsAt = this.#bindings.at + pointers.length * core.pointerSize;
    for (const name of fetches.keys()) pointers.push(this.#outputNames.get(name)!, 0);
    core.writePointers(this.#bindings.at, pointers);
    core.run(session, this.#bindings.at, this.inputNames.length, outputsAt, fetches.size);
    const outputs: OutputsType = {};
    let at = outputsAt + core.pointerSize;
    for (const [name, given] of fetches) {
      outputs[name] = this.#takeOutput(name, core.readPointer(at), given);
      at += 2 * core.pointerSize;
    }
    return outputs;
  }

  /** Copies an input into the core. */
  #stage(name: string, tensor: Tensor): Staging {
    if (!isTensorLike(tensor))
      throw new TypeError(`'feeds' must contain a tensor for input '${name}'.`);
    const code = typeCode(tensor.type);
    const { data, dims } = tensor;
    if (code === undefined || !ArrayBuffer.isView(data)) {
      throw new Error(`weft: input '${name}': ${tensor.type} tensors are not supported`);
    }
    const bytes = asBytes(data);
    if (sizeOf(dims) * ((data as unknown as Uint8Array).BYTES_PER_ELEMENT ?? 1) !== bytes.length) {
      throw new Error(
        `input '${name}': ${dims.join("x")} does not match ${bytes.length} bytes of data.`,
      );
    }
    const core = this.#core;
    const staging = this.#staging.get(name) ?? this.#newStaging(name);
    const key = `${code}:${dims.join()}`;
    if (bytes.length > staging.bytes || key !== staging.key) {
      if (staging.tensor) core.call.web_tensor_close(staging.tensor);
      staging.tensor = 0;
      if (bytes.length > staging.bytes) {
        if (staging.data) core.release(staging.data, staging.bytes);
        staging.data = staging.bytes = 0;
        staging.data = core.allocate(bytes.length);
        staging.bytes = bytes.length;
      }
      const view = new DataView(
        core.bytes(staging.dims, DIMS_BYTES).buffer,
        staging.dims,
        DIMS_BYTES,
      );
      if (dims.length > 8) throw new Error(`input '${name}': rank ${dims.length} is above 8.`);
      dims.forEach((dim, i) => view.setBigInt64(i * 8, BigInt(dim), true));
      staging.tensor = core.wrapTensor(code, staging.dims, dims.length, staging.data, bytes.length);
      staging.key = key;
    }
    core.bytes(staging.data, bytes.length).set(bytes);
    return staging;
  }

  #newStaging(name: string): Staging {
    const core = this.#core;
    const staging = {
      name: core.newText(name).at,
      data: core.allocate(1),
      bytes: 1,
      dims: 0,
      tensor: 0,
      key: "",
    };
    staging.dims = core.allocate(DIMS_BYTES);
    this.#staging.set(name, staging);
    return staging;
  }

  /** Copies an output out of the core: to a new tensor, or into the one given. */
  #takeOutput(name: string, tensor: number, given: Tensor | null): Tensor {
    const { call } = this.#core;
    const type = typeName(call.web_tensor_dtype(tensor));
    if (!type)
      throw new Error(`weft: output '${name}' has a type that JavaScript has no array for`);
    const rank = call.web_tensor_rank(tensor);
    const dimsAt = call.web_tensor_dims(tensor);
    const view = new DataView(this.#core.bytes(dimsAt, rank * 8).buffer, dimsAt, rank * 8);
    const dims = Array.from({ length: rank }, (_, i) => Number(view.getBigInt64(i * 8, true)));
    const bytes = this.#core.bytes(call.web_tensor_data(tensor), call.web_tensor_bytes(tensor));
    if (!given) return new Tensor(type, arrayFromBytes(type, bytes), dims);
    if (given.type !== type || given.dims.join() !== dims.join()) {
      throw new Error(
        `output '${name}': a ${type} tensor of [${dims.join()}] is expected in 'fetches'.`,
      );
    }
    asBytes(given.data as ArrayBufferView).set(bytes);
    return given;
  }

  #release(): void {
    if (!this.#session) return;
    const core = this.#core;
    core.call.web_session_close(this.#session);
    this.#session = 0;
    for (const [name, staging] of this.#staging) {
      if (staging.tensor) core.call.web_tensor_close(staging.tensor);
      core.release(staging.data, staging.bytes);
      core.release(staging.dims, DIMS_BYTES);
      core.release(staging.name, textBytes(name));
    }
    for (const [name, at] of this.#outputNames) core.release(at, textBytes(name));
    core.release(this.#bindings.at, this.#bindings.size);
    this.#staging.clear();
    this.#outputNames.clear();
  }
}

function textBytes(text: string): number {
  return new TextEncoder().encode(text).length + 1;
}

/** Tensors of another copy of the package are taken too. */
function isTensorLike(value: unknown): value is Tensor {
  return (
    typeof value === "object" &&
    value !== null &&
    "type" in value &&
    "dims" in value &&
    "data" in value
  );
}

/**
 * The CPU does all work for now; a page that asks for something else is told, once per session,
 * and served.
 */
function checkProviders(options: SessionOptions): void {
  const names = (options.executionProviders ?? []).map((entry) =>
    typeof entry === "string" ? entry : entry.name,
  );
  const others = names.filter((name) => name !== "wasm" && name !== "cpu");
  for (const name of others) {
    console.warn(
      `removing requested execution provider "${name}" from session options because it is not available: ` +
        "this version of weft-web runs on the CPU",
    );
  }
}

/** External data that was given in the options, by path. */
async function externalSources(
  options: SessionOptions,
  base: string,
): Promise<Map<string, Source>> {
  const sources = new Map<string, Source>();
  for (const entry of options.externalData ?? []) {
    const { path, data } = typeof entry === "string" ? { path: entry, data: entry } : entry;
    const name = path.replace(/^\.\//, "");
    if (typeof data === "string") {
      const location = isFile(data) || !base || isFile(base) ? data : new URL(data, base).href;
      sources.set(
        name,
        isFile(location)
          ? fileSource(location)
          : bytesSource(await downloadWhole(location, options.signal)),
      );
    } else if (typeof Blob !== "undefined" && data instanceof Blob) {
      sources.set(name, bytesSource(await data.arrayBuffer()));
    } else {
      sources.set(name, bytesSource(data as Bytes));
    }
  }
  return sources;
}

/** In Node, external data that was not given is looked for beside the model. */
function besideModel(base: string, location: string): Source | undefined {
  if (!base || !isFile(base)) return undefined;
  return fileSource(base.replace(/[^/\\]*$/, "") + location);
}

async function open(
  size: number,
  options: SessionOptions,
  openModel: (core: Core) => number,
  base: string,
): Promise<InferenceSession> {
  options.signal?.throwIfAborted();
  const core = await loadCore(chooseTier(size, env.wasm.simd));
  const given = await externalSources(options, base);
  const opened: Source[] = [];
  let stage: "read" | "pack" = "read";
  let last = 0;
  try {
    const { session, description } = core.openSession(openModel, {
      resolve: (location) => {
        const source = given.get(location.replace(/^\.\//, "")) ?? besideModel(base, location);
        if (source) opened.push(source);
        return source;
      },
      progress: (done, total) => {
        if (done < last) stage = "pack";
        last = done;
        return options.onProgress?.({ stage, done, total }) !== false && !options.signal?.aborted;
      },
      disabledPasses:
        options.disabledPasses ?? (options.graphOptimizationLevel === "disabled" ? "all" : ""),
      memoryLimit: options.memoryLimit ?? 0,
      profile: options.enableProfiling ?? false,
    });
    return InferenceSession.fromCore(core, session, description);
  } finally {
    for (const source of opened) (source as Partial<{ close(): void }>).close?.();
  }
}

async function createFromLocation(
  location: string,
  options: SessionOptions,
): Promise<InferenceSession> {
  if (isFile(location)) {
    const source = fileSource(location);
    try {
      return await open(source.size, options, (core) => core.openModel(source), location);
    } finally {
      source.close();
    }
  }
  return createFromDownload(location, options);
}

/** Bytes go to the core as they arrive; each weight is copied once, to memory of its own. */
async function createFromDownload(
  location: string,
  options: SessionOptions,
): Promise<InferenceSession> {
  const base = new URL(location, globalThis.location?.href ?? "file:///").href;
  const { size, chunks } = await download(location, options.signal);
  const core = await loadCore(chooseTier(size, env.wasm.simd));
  const loader = core.openLoader(size);
  let done = 0;
  try {
    for (;;) {
      const { value, done: ended } = await chunks.read();
      if (ended) break;
      loader.feed(value);
      done += value.length;
      if (options.onProgress?.({ stage: "read", done, total: size }) === false) {
        throw new Error("weft: loading was given up");
      }
    }
    return await open(size, options, () => loader.finish(), base);
  } catch (error) {
    void chunks.cancel().catch(() => undefined);
    throw error;
  } finally {
    loader.close();
  }
}
