// core.ts - the wasm module: loading it, and its exports (src/wasm/exports.c) as typed functions.
// The only file that knows pointers. Pointers are numbers here on every tier; on memory64 they
// become BigInts at the border.

import { type Tier } from "./tiers.js";

/**
 * "p" is a pointer or size, "n" a number; what stands before ":" goes in, after it comes out ("v":
 * nothing).
 */
const signatures = {
  web_open: "n:p",
  web_error: "p:p",
  web_allocate: "pp:p",
  web_release: "ppp:v",
  web_memory: "pn:n",
  web_model_describe: "pp:p",
  web_loader_open: "pn:p",
  web_loader_feed: "pppp:n",
  web_loader_finish: "pp:p",
  web_loader_close: "p:v",
  web_model_open: "pnn:p",
  web_model_close: "p:v",
  web_session_open: "pppnn:p",
  web_session_close: "p:v",
  web_session_memory: "pn:n",
  web_session_dump: "ppn:p",
  web_session_profile: "pp:p",
  web_session_run: "ppppppn:n",
  web_tensor_wrap: "pnpppp:p",
  web_tensor_close: "p:v",
  web_tensor_dtype: "p:n",
  web_tensor_rank: "p:p",
  web_tensor_dims: "p:p",
  web_tensor_data: "p:p",
  web_tensor_bytes: "p:p",
  web_tokenizer_open: "ppp:p",
  web_tokenizer_close: "p:v",
  web_tokenizer_encode: "ppppppppp:n",
  web_tokenizer_decode: "ppppn:p",
} as const;

type Exports = { [name in keyof typeof signatures]: (...values: number[]) => number };

/** Bytes that JavaScript holds and the core reads by range. */
export interface Source {
  readonly size: number;
  /** Copies [offset, offset + into.length) to `into`; throws when it cannot. */
  read(offset: number, into: Uint8Array): void;
}

const INITIAL_PAGES = 64;

/** A shared memory as large as the engine lets it become: phones may refuse to reserve 4 GiB. */
function createMemory(tier: Tier): WebAssembly.Memory {
  const limits = tier === "c" ? [2 ** 18, 2 ** 17, 2 ** 16] : [2 ** 16, 2 ** 15, 2 ** 14, 2 ** 13];
  let failure: unknown;
  for (const pages of limits) {
    try {
      return new WebAssembly.Memory(
        (tier === "c"
          ? { initial: BigInt(INITIAL_PAGES), maximum: BigInt(pages), shared: true, address: "i64" }
          : {
              initial: INITIAL_PAGES,
              maximum: pages,
              shared: true,
            }) as WebAssembly.MemoryDescriptor,
      );
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();

export class Core {
  readonly tier: Tier;
  readonly call: Exports;
  private readonly memory: WebAssembly.Memory;
  private readonly context: number;
  private readonly sources = new Map<number, Source>();
  private nextSource = 1;
  /**
   * Set while a model is opened: locations of external data, progress. Calls into the core do not
   * nest.
   */
  private resolve: (location: string) => Source | undefined = () => undefined;
  private progress: (done: number, total: number) => boolean = () => true;
  /** What a callback threw; wasm frames lie between it and the caller. */
  private thrown: unknown;

  private constructor(
    tier: Tier,
    memory: WebAssembly.Memory,
    module: WebAssembly.Module,
    logLevel: number,
  ) {
    this.tier = tier;
    this.memory = memory;
    const instance = new WebAssembly.Instance(module, this.imports());
    this.call = wrapExports(instance.exports, tier === "c");
    this.context = this.call.web_open(logLevel);
    if (!this.context) throw new Error("weft: there is no memory for the runtime");
  }

  static async create(tier: Tier, module: WebAssembly.Module, logLevel: number): Promise<Core> {
    return new Core(tier, createMemory(tier), module, logLevel);
  }

  private imports(): WebAssembly.Imports {
    const guarded = <T>(fallback: T, work: () => T): T => {
      try {
        return work();
      } catch (error) {
        this.thrown = error;
        return fallback;
      }
    };
    return {
      env: { memory: this.memory },
      weft: {
        now_ms: () => performance.now(),
        read: (source: number, offset: number, length: number | bigint, to: number | bigint) =>
          guarded(0, () => {
            this.sources.get(source)!.read(offset, this.bytes(Number(to), Number(length)));
            return 1;
          }),
        resolve: (location: number | bigint, length: number | bigint, size: number | bigint) =>
          guarded(-1, () => {
            const source = this.resolve(this.text(Number(location), Number(length)));
            if (!source) return -1;
            new DataView(this.memory.buffer).setFloat64(Number(size), source.size, true);
            return this.addSource(source);
          }),
        progress: (done: number, total: number) =>
          guarded(0, () => (this.progress(done, total) ? 1 : 0)),
        log: (level: number, message: number | bigint, length: number | bigint) => {
          const print =
            [console.debug, console.info, console.warn, console.error][level] ?? console.log;
          print(`weft: ${this.text(Number(message), Number(length))}`);
        },
      },
    };
  }

  // ---- memory -----------------------------------------------------------------------------------

  /** A view that holds until memory grows: use it at once. */
  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, length);
  }

  allocate(bytes: number): number {
    const at = this.call.web_allocate(this.context, bytes);
    if (!at) throw new Error(`weft: out of memory (${bytes} bytes)`);
    return at;
  }
  release(at: number, bytes: number): void {
    this.call.web_release(this.context, at, bytes);
  }
  /** Calls `work` with memory that is released afterwards. */
  withMemory<T>(bytes: number, work: (at: number) => T): T {
    const at = this.allocate(bytes);
    try {
      return work(at);
    } finally {
      this.release(at, bytes);
    }
  }

  get pointerSize(): number {
    return this.tier === "c" ? 8 : 4;
  }
  writePointers(at: number, pointers: readonly number[]): void {
    if (this.tier === "c")
      new BigUint64Array(this.memory.buffer, at, pointers.length).set(pointers.map(BigInt));
    else new Uint32Array(this.memory.buffer, at, pointers.length).set(pointers);
  }
  readPointer(at: number): number {
    const view = new DataView(this.memory.buffer);
    return this.tier === "c" ? Number(view.getBigUint64(at, true)) : view.getUint32(at, true);
  }

  /**
   * UTF-8 at `at`; to the final NUL where no length is given. TextDecoder refuses shared memory,
   * so a copy is decoded.
   */
  text(at: number, length?: number): string {
    if (length === undefined) {
      const all = new Uint8Array(this.memory.buffer);
      length = all.indexOf(0, at) - at;
    }
    return textDecoder.decode(this.bytes(at, length).slice());
  }
  /** A C string that the caller releases: its address and size. */
  newText(text: string): { at: number; size: number } {
    const bytes = textEncoder.encode(text + "\0");
    const at = this.allocate(bytes.length);
    this.bytes(at, bytes.length).set(bytes);
    return { at, size: bytes.length };
  }

  memoryUse(): { bytes: number; peakBytes: number; calls: number; wasmBytes: number } {
    const use = (what: number) => this.call.web_memory(this.context, what);
    return {
      bytes: use(0),
      peakBytes: use(1),
      calls: use(2),
      wasmBytes: this.memory.buffer.byteLength,
    };
  }

  /** The error of the call that just failed: what a callback threw, or the core's message. */
  failure(): Error {
    const thrown = this.thrown;
    this.thrown = undefined;
    return thrown instanceof Error
      ? thrown
      : new Error(this.text(this.call.web_error(this.context)));
  }
  private check(handle: number): number {
    if (!handle) throw this.failure();
    return handle;
  }

  // ---- models and sessions --------------------------------------------------------------------

  private addSource(source: Source): number {
    this.sources.set(this.nextSource, source);
    return this.nextSource++;
  }

  /**
   * Opens a model and a session on it. Sources are read until the session is open, and not after.
   */
  openSession(
    open: (core: Core) => number,
    options: OpenOptions,
  ): { session: number; description: string } {
    this.resolve = options.resolve;
    this.progress = options.progress;
    let model = 0;
    try {
      model = this.check(open(this));
      const description = this.text(this.check(this.call.web_model_describe(this.context, model)));
      const disabled = options.disabledPasses
        ? this.newText(options.disabledPasses)
        : { at: 0, size: 0 };
      const session = this.call.web_session_open(
        this.context,
        model,
        disabled.at,
        options.memoryLimit,
        options.profile ? 1 : 0,
      );
      if (disabled.at) this.release(disabled.at, disabled.size);
      return { session: this.check(session), description };
    } finally {
      if (model) this.call.web_model_close(model);
      this.sources.clear();
      this.resolve = () => undefined;
      this.progress = () => true;
    }
  }

  openModel(source: Source): number {
    return this.call.web_model_open(this.context, this.addSource(source), source.size);
  }

  /** A model that is fed in pieces as they arrive. `finish` answers the model, or 0. */
  openLoader(size: number): Loader {
    const loader = this.check(this.call.web_loader_open(this.context, size));
    let open = true;
    return {
      feed: (bytes) => {
        this.withMemory(bytes.length, (at) => {
          this.bytes(at, bytes.length).set(bytes);
          if (this.call.web_loader_feed(this.context, loader, at, bytes.length) !== 0)
            throw this.failure();
        });
      },
      finish: () => {
        open = false;
        return this.call.web_loader_finish(this.context, loader);
      },
      close: () => {
        if (open) this.call.web_loader_close(loader);
        open = false;
      },
    };
  }

  wrapTensor(dtype: number, dimsAt: number, rank: number, data: number, bytes: number): number {
    return this.check(this.call.web_tensor_wrap(this.context, dtype, dimsAt, rank, data, bytes));
  }
  run(
    session: number,
    inputs: number,
    inputCount: number,
    outputs: number,
    outputCount: number,
  ): void {
    const status = this.call.web_session_run(
      this.context,
      session,
      inputs,
      inputCount,
      outputs,
      outputCount,
      0,
    );
    if (status !== 0) throw this.failure();
  }
  profile(session: number): string {
    return this.text(this.check(this.call.web_session_profile(this.context, session)));
  }
  dump(session: number, what: "graph" | "plan"): string {
    return this.text(
      this.check(this.call.web_session_dump(this.context, session, what === "graph" ? 0 : 1)),
    );
  }

  // ---- tokenizers ---------------------------------------------------------------------------

  openTokenizer(file: Uint8Array): number {
    return this.withMemory(file.length, (at) => {
      this.bytes(at, file.length).set(file);
      return this.check(this.call.web_tokenizer_open(this.context, at, file.length));
    });
  }

  /** Rows of `length` tokens, one after the other, for each text. */
  encode(tokenizer: number, texts: readonly string[], maxLength: number): TokenRows {
    const encoded = texts.map((text) => textEncoder.encode(text));
    const inputBytes = 4 * this.pointerSize; // text, its length, no second text
    const textBytes = encoded.reduce((sum, { length }) => sum + length, 0);
    return this.withMemory(texts.length * inputBytes + textBytes, (inputs) => {
      let at = inputs + texts.length * inputBytes;
      const pointers: number[] = [];
      for (const bytes of encoded) {
        this.bytes(at, bytes.length).set(bytes);
        pointers.push(at, bytes.length, 0, 0);
        at += bytes.length;
      }
      this.writePointers(inputs, pointers);
      const encode = (capacity: number, arrays: number) => {
        const [ids, mask, types] = [0, 1, 2].map((i) => (arrays ? arrays + i * capacity * 8 : 0));
        const { context, call } = this;
        const count = texts.length;
        const length = call.web_tokenizer_encode(
          context,
          tokenizer,
          inputs,
          count,
          maxLength,
          capacity,
          ids!,
          mask!,
          types!,
        );
        if (length < 0) throw this.failure();
        return length;
      };
      const length = encode(0, 0);
      const capacity = texts.length * length;
      return this.withMemory(3 * capacity * 8, (arrays) => {
        encode(capacity, arrays);
        const take = (i: number) =>
          new BigInt64Array(this.memory.buffer, arrays + i * capacity * 8, capacity).slice();
        return { ids: take(0), mask: take(1), types: take(2), length };
      });
    });
  }

  decode(tokenizer: number, ids: BigInt64Array, skipSpecial: boolean): string {
    return this.withMemory(ids.byteLength, (at) => {
      new BigInt64Array(this.memory.buffer, at, ids.length).set(ids);
      return this.text(
        this.check(
          this.call.web_tokenizer_decode(
            this.context,
            tokenizer,
            at,
            ids.length,
            skipSpecial ? 1 : 0,
          ),
        ),
      );
    });
  }
}

export interface TokenRows {
  ids: BigInt64Array;
  mask: BigInt64Array;
  types: BigInt64Array;
  length: number;
}

export interface OpenOptions {
  resolve: (location: string) => Source | undefined;
  progress: (done: number, total: number) => boolean;
  disabledPasses?: string;
  memoryLimit: number;
  profile: boolean;
}

export interface Loader {
  feed(bytes: Uint8Array): void;
  finish(): number;
  close(): void;
}

/** Exports with numbers for pointers. */
function wrapExports(exports: WebAssembly.Exports, wide: boolean): Exports {
  const wrapped: Record<string, unknown> = {};
  for (const [name, signature] of Object.entries(signatures)) {
    const raw = exports[name] as (...values: (number | bigint)[]) => number | bigint | undefined;
    const [parameters, result] = signature.split(":") as [string, string];
    if (!wide) {
      // Pointers at and above 2 GiB come out negative.
      wrapped[name] =
        result === "p" ? (...values: number[]) => (raw(...values) as number) >>> 0 : raw;
    } else {
      const kinds = [...parameters];
      wrapped[name] = (...values: number[]) =>
        Number(raw(...values.map((value, i) => (kinds[i] === "p" ? BigInt(value) : value))) ?? 0);
    }
  }
  return wrapped as Exports;
}
