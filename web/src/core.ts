// core.ts - the wasm module: its memory, and its exports (src/wasm/exports.c) as typed functions.
// Pointers are numbers here on every tier; on memory64 they become BigInts at the border. What is
// built on it: handler.ts (sessions), load.ts (models), tokenizer.ts.

import { GpuGlue } from "./gpu.js";
import type { PageGpu } from "./gpu_page.js";
import type { ThreadStart } from "./thread.js";
import type { Threads } from "./threads.js";
import { type Tier } from "./tiers.js";

/** "p" is a pointer or size, "n" a number; after ":" comes the result ("v": none). */
const signatures = {
  web_open: "nn:p",
  web_error: "p:p",
  web_allocate: "pp:p",
  web_release: "ppp:v",
  web_memory: "pn:n",
  web_model_describe: "pp:p",
  web_loader_open: "pn:p",
  web_loader_open_source: "pnn:p",
  web_loader_feed: "pppp:n",
  web_loader_weight_bytes: "p:n",
  web_loader_wanted: "pp:p",
  web_loader_feed_external: "ppnnpp:n",
  web_loader_finish: "pp:p",
  web_loader_close: "p:v",
  web_model_close: "p:v",
  web_gpu_open: "pn:p",
  web_gpu_lose: "p:v",
  web_gpu_describe: "p:p",
  web_gpu_forget: "pn:v",
  web_gpu_tuning: "pp:p",
  web_gpu_read_tuning: "ppp:n",
  web_session_open: "ppppnnnnn:p",
  web_chooser_open: "ppppnn:p",
  web_chooser_run: "p:n",
  web_chooser_on_gpu: "p:n",
  web_chooser_why: "p:p",
  web_chooser_close: "pp:v",
  web_session_prepare: "pp:n",
  web_session_close: "p:v",
  web_session_memory: "p:n",
  web_session_dump: "ppn:p",
  web_session_profile: "pp:p",
  web_session_run: "pppppppn:n",
  web_session_resume: "pp:n",
  web_outputs: "ppppp:n",
  web_tensor_size: ":p",
  web_tensor_wrap: "ppnpppp:n",
  web_tensor_fetch: "pp:n",
  web_tensor_wrap_memory: "ppnppn:p",
  web_tensor_close: "p:v",
  web_tensor_data: "p:p",
  web_tensor_bytes: "p:p",
  web_thread_stack: "p:p",
  web_threads_worth: "pn:n",
  web_tokenizer_open: "ppp:p",
  web_tokenizer_close: "p:v",
  web_tokenizer_encode: "ppppppppp:n",
  web_tokenizer_decode: "ppppn:p",
} as const;

export type Exports = {
  -readonly [name in keyof typeof signatures]: (...values: number[]) => number;
};

/** Bytes that JavaScript holds and the core reads by range. */
export interface Source {
  readonly size: number;
  /** Copies [offset, offset + into.length) to `into`; throws when it cannot. */
  read(offset: number, into: Uint8Array): void;
  close?(): void;
}

/** What the core asks while a model is opened. */
export interface Host {
  /** Finds external data. What is no source will be fed; its size is 0 where not known. */
  resolve(location: string): Source | { readonly size: number } | undefined;
  /** Bytes done, of a total (0: not known). Answers false to give up. */
  progress(done: number, total: number): boolean;
}

const nobody: Host = { resolve: () => undefined, progress: () => true };

export interface MemoryUse {
  /** Held by all models, sessions and tokenizers on this core, and the most ever held. */
  bytes: number;
  peakBytes: number;
  /** Allocations so far. */
  calls: number;
  /** Size of the wasm memory; it never shrinks. */
  wasmBytes: number;
}

/** A GPU as the core has it. */
export interface CoreGpu {
  /** weft_gpu. */
  at: number;
  device: GPUDevice;
  description: string;
  /** The device is gone, and everything on it. */
  lost: boolean;
  /**
   * Calls until the answer is another one than "pending", and checks that. What a call asks of the
   * GPU is submitted at its end.
   */
  finish(call: () => number): Promise<void>;
  /** A number for a buffer that JavaScript has made, until web_gpu_forget; 0: another device's. */
  adopt(buffer: GPUBuffer): number;
  buffer(number: number): GPUBuffer;
}

/** weft_status. */
export const PENDING = 1;

const INITIAL_PAGES = 64;

/** A shared memory as large as the engine lets it become: phones may refuse to reserve 4 GiB. */
function createMemory(tier: Tier): WebAssembly.Memory {
  const wide = tier === "c";
  const maxima = wide ? [2 ** 18, 2 ** 17, 2 ** 16] : [2 ** 16, 2 ** 15, 2 ** 14, 2 ** 13];
  let failure: unknown;
  for (const maximum of maxima) {
    const limits = wide
      ? { initial: BigInt(INITIAL_PAGES), maximum: BigInt(maximum), address: "i64" }
      : { initial: INITIAL_PAGES, maximum };
    try {
      return new WebAssembly.Memory({ ...limits, shared: true } as WebAssembly.MemoryDescriptor);
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`weft: the engine gives no memory for the wasm module: ${String(failure)}`);
}

/** As in exports.c: the answer to `resolve` for data that will be fed. */
const FED = -2;

const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();

export class Core {
  readonly tier: Tier;
  readonly call: Exports;
  /** The core's own handle, the first parameter of most calls. */
  context = 0;
  /** Set for good when wasm trapped: its memory is in no known state then. */
  trap: Error | undefined;
  /** Those that work with the calling one; undefined where there is but one. */
  threads: Threads | undefined;
  /** Nothing where they have begun. */
  startThreads: () => unknown = () => undefined;
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #glue = new GpuGlue(() => this.#memory);
  readonly #gpus = new Map<PageGpu, CoreGpu>();
  readonly #sources = new Map<number, { source: Source; host: Host }>();
  #nextSource = 1;
  #host = nobody;
  /** What a callback threw; wasm frames lie between it and the caller. */
  #thrown: unknown;

  private constructor(tier: Tier, module: WebAssembly.Module, memory: WebAssembly.Memory) {
    this.tier = tier;
    this.#module = module;
    this.#memory = memory;
    this.call = {} as Exports;
  }

  /** `threads`: the most that will work on it. */
  static async create(
    tier: Tier,
    module: WebAssembly.Module,
    logLevel: number,
    threads: number,
  ): Promise<Core> {
    const core = new Core(tier, module, createMemory(tier));
    const instance = await WebAssembly.instantiate(module, core.#imports());
    core.#wrapExports(instance.exports);
    core.context = core.call.web_open(logLevel, threads);
    if (!core.context) throw new Error("weft: there is no memory for the runtime");
    return core;
  }

  #imports(): WebAssembly.Imports {
    const guarded = (fallback: number, work: () => number): number => {
      try {
        return work();
      } catch (error) {
        this.#thrown = error;
        return fallback;
      }
    };
    type Pointer = number | bigint;
    return {
      env: { memory: this.#memory },
      weft_gpu: this.#glue.imports,
      weft: {
        now_ms: () => performance.now(),
        may_sleep: () => (this.#maySleep() ? 1 : 0),
        read: (source: number, offset: number, length: Pointer, to: Pointer) =>
          guarded(0, () => {
            const into = this.bytes(Number(to), Number(length));
            this.#sources.get(source)!.source.read(offset, into);
            return 1;
          }),
        resolve: (location: Pointer, length: Pointer, size: Pointer) =>
          guarded(-1, () => {
            const found = this.#host.resolve(this.text(Number(location), Number(length)));
            if (!found) return -1;
            this.view(Number(size), 8).setFloat64(0, found.size, true);
            return "read" in found ? this.addSource(found, this.#host) : FED;
          }),
        progress: (done: number, total: number) =>
          guarded(0, () => (this.#host.progress(done, total) ? 1 : 0)),
        log: (level: number, message: Pointer, length: Pointer) => {
          const print = [console.debug, console.info, console.warn, console.error][level];
          (print ?? console.log)(`weft: ${this.text(Number(message), Number(length))}`);
        },
      },
    };
  }

  /** Fills `call`. */
  #wrapExports(exports: WebAssembly.Exports): void {
    for (const [name, signature] of Object.entries(signatures)) {
      const raw = exports[name] as (...values: (number | bigint)[]) => number | bigint | undefined;
      const [parameters, result] = signature.split(":") as [string, string];
      const convert = (value: number, i: number) => (parameters[i] === "p" ? BigInt(value) : value);
      const call = this.tier === "c" ? (...values: number[]) => raw(...values.map(convert)) : raw;
      this.call[name as keyof Exports] = (...values) => {
        if (this.trap) throw this.trap;
        try {
          const answer = Number(call(...values) ?? 0);
          // 32-bit pointers at and above 2 GiB come out negative.
          return result === "p" && answer < 0 ? answer + 2 ** 32 : answer;
        } catch (error) {
          this.trap = new Error(`weft: the wasm module failed in ${name}: ${String(error)}`);
          this.threads?.end();
          throw this.trap;
        }
      };
    }
  }

  // ---- threads ----------------------------------------------------------------------------------

  /** Engines ask that before they compare. */
  #maySleep(): boolean {
    try {
      Atomics.wait(new Int32Array(this.#memory.buffer, 0, 1), 0, 0, 0);
      return true;
    } catch {
      return false;
    }
  }

  /** What one more thread needs, a stack of its own included. */
  threadStart(): ThreadStart {
    const pointer = (at: number) => (this.tier === "c" ? BigInt(at) : at);
    const stack = this.call.web_thread_stack(this.context);
    if (!stack) throw new Error("weft: there is no memory for a stack");
    return {
      module: this.#module,
      memory: this.#memory,
      context: pointer(this.context),
      stack: pointer(stack),
      timeOrigin: performance.timeOrigin,
    };
  }

  // ---- GPUs -------------------------------------------------------------------------------------

  /** The core's own view of a device, until that is lost; sessions on it keep it longer. */
  gpu(page: PageGpu): CoreGpu {
    const known = this.#gpus.get(page);
    if (known) return known;
    const { device, facts } = page;
    const handle = this.#glue.open(device, facts);
    const at = this.check(this.call.web_gpu_open(this.context, handle));
    const gpu: CoreGpu = {
      at,
      device,
      lost: false,
      description: this.text(this.call.web_gpu_describe(at)),
      finish: async (call) => {
        let status = this.#glue.together(handle, call);
        while (status === PENDING) {
          await this.#glue.settled(handle);
          status = this.#glue.together(handle, call);
        }
        this.checkStatus(status);
      },
      adopt: (buffer) => this.#glue.adopt(handle, buffer),
      buffer: (number) => this.#glue.buffer(handle, number),
    };
    this.#gpus.set(page, gpu);
    void device.lost.then(() => {
      gpu.lost = true;
      this.#gpus.delete(page);
      if (!this.trap) this.call.web_gpu_lose(at);
    });
    return gpu;
  }

  // ---- memory -----------------------------------------------------------------------------------

  /** A view that holds until memory grows: use it at once. */
  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, at, length);
  }
  doubles(at: number, length: number): Float64Array {
    return new Float64Array(this.#memory.buffer, at, length);
  }
  view(at: number, length: number): DataView {
    return new DataView(this.#memory.buffer, at, length);
  }

  allocate(bytes: number): number {
    const fits = bytes < 2 ** 32 || this.tier === "c";
    const at = fits && this.call.web_allocate(this.context, bytes);
    if (!at) throw new Error(`weft: out of memory (${bytes} bytes)`);
    return at;
  }
  release(at: number, bytes: number): void {
    if (at && !this.trap) this.call.web_release(this.context, at, bytes);
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
  /** Calls `work` with a copy of `bytes`. */
  withBytes<T>(bytes: Uint8Array, work: (at: number, length: number) => T): T {
    return this.withMemory(bytes.length, (at) => {
      this.bytes(at, bytes.length).set(bytes);
      return work(at, bytes.length);
    });
  }
  /** Calls `work` with a C string. */
  withText<T>(text: string, work: (at: number) => T): T {
    return this.withBytes(textEncoder.encode(`${text}\0`), work);
  }

  get pointerSize(): number {
    return this.tier === "c" ? 8 : 4;
  }
  writePointers(at: number, pointers: readonly number[]): void {
    const { buffer } = this.#memory;
    if (this.tier === "c")
      new BigUint64Array(buffer, at, pointers.length).set(pointers.map(BigInt));
    else new Uint32Array(buffer, at, pointers.length).set(pointers);
  }
  readPointer(at: number): number {
    const view = this.view(at, this.pointerSize);
    return this.tier === "c" ? Number(view.getBigUint64(0, true)) : view.getUint32(0, true);
  }

  /**
   * UTF-8 at `at`; to the final NUL where no length is given. TextDecoder refuses shared memory,
   * so a copy is decoded.
   */
  text(at: number, length?: number): string {
    length ??= this.#textLength(at);
    return textDecoder.decode(this.bytes(at, length).slice());
  }

  /** No view of all the memory: engines refuse those of more than some gigabytes. */
  #textLength(at: number): number {
    const window = 4096;
    for (let from = at; ; from += window) {
      const size = Math.min(window, this.#memory.buffer.byteLength - from);
      const end = this.bytes(from, size).indexOf(0);
      if (end >= 0) return from + end - at;
    }
  }

  memoryUse(): MemoryUse {
    const use = (what: number) => this.call.web_memory(this.context, what);
    const wasmBytes = this.#memory.buffer.byteLength;
    return { bytes: use(0), peakBytes: use(1), calls: use(2), wasmBytes };
  }

  // ---- errors and callbacks ---------------------------------------------------------------------

  /** The error of the call that just failed: what a callback threw, or the core's message. */
  failure(): Error {
    const thrown = this.#thrown;
    this.#thrown = undefined;
    return thrown instanceof Error
      ? thrown
      : new Error(this.text(this.call.web_error(this.context)));
  }
  /** Handles that are 0 stand for a failure. */
  check(handle: number): number {
    if (!handle) throw this.failure();
    return handle;
  }
  /** So do statuses that are not 0. */
  checkStatus(status: number): void {
    if (status !== 0) throw this.failure();
  }

  /** The number by which the core reads a source, until the sources of `host` are dropped. */
  addSource(source: Source, host: Host): number {
    this.#sources.set(this.#nextSource, { source, host });
    return this.#nextSource++;
  }
  dropSources(host: Host): void {
    for (const [number, entry] of this.#sources)
      if (entry.host === host) this.#sources.delete(number);
  }

  /** Calls `work`, which is synchronous, with `host` for the core's questions. */
  during<T>(host: Host, work: () => T): T {
    const before = this.#host;
    this.#host = host;
    this.#thrown = undefined;
    try {
      return work();
    } finally {
      this.#host = before;
    }
  }
}
