// threads.ts - the threads of a core: how many, and the workers behind them, which thread.ts turns
// into threads. They start while the core and the model load, and nobody waits for them for long:
// until they come, a core does all the work by itself.

import type { Core } from "./core.js";
import { env } from "./env.js";
import { isNode, nodeModule } from "./source.js";

/** As many as onnxruntime-web takes by itself: more mostly heat the device. */
const DEFAULT_MOST = 4;
/** As in src/wasm/threads.c. */
const MOST = 64;

const MEASUREMENTS = 3;
const MEASUREMENT_PAUSE_MS = 1000;

/** Does not keep a process of Node's alive. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms) as { unref?(): void };
    timer.unref?.();
  });
}

/** A Worker of the web or of Node. */
interface Handle {
  postMessage(message: unknown): void;
  terminate(): unknown;
}
interface NodeWorker extends Handle {
  on(event: string, listener: (value: unknown) => void): void;
  unref(): void;
}
type NodeWorkerClass = new (script: URL, options: object) => NodeWorker;

function processors(): number {
  const os = nodeModule<{ availableParallelism(): number }>("node:os");
  return os ? os.availableParallelism() : (navigator.hardwareConcurrency ?? 1);
}

/** Can workers have the memory of a core? In a page only when it is cross-origin isolated. */
function canShare(): boolean {
  return isNode() || (globalThis.crossOriginIsolated === true && typeof Worker === "function");
}

/** How many threads a core should have, and whether somebody asked for just so many. */
export function wantedThreads(): { count: number; asked: boolean } {
  const asked = Math.min(Math.floor(env.wasm.numThreads ?? 0), MOST);
  if (canShare()) {
    if (asked > 0) return { count: asked, asked: true };
    return { count: Math.min(DEFAULT_MOST, processors()), asked: false };
  }
  if (asked > 1)
    console.warn(
      `weft: env.wasm.numThreads is ${asked}, but there will be one thread: the page is not ` +
        "cross-origin isolated (see https://web.dev/articles/cross-origin-isolation-guide)",
    );
  return { count: 1, asked: true };
}

/** A worker; `on` hears "begun", and `fail` why it cannot be. */
type Opener = (on: (message: unknown) => void, fail: (reason: unknown) => void) => Handle;

/** Takes workers' script from where env.wasm.wasmPaths says, then from beside this module. */
function openers(): Opener[] {
  const folder = env.wasm.wasmPaths;
  const Node = nodeModule<{ Worker: NodeWorkerClass }>("node:worker_threads")?.Worker;
  if (Node) {
    return [
      (on, fail) => {
        const script = new URL("./weft-thread.js", import.meta.url);
        // None of the process's own options: they may be about its main program.
        const worker = new Node(script, { execArgv: [], name: "weft" });
        worker.on("message", on);
        worker.on("error", fail);
        worker.on("exit", () => fail("it has ended"));
        worker.unref(); // the process may end
        return worker;
      },
    ];
  }
  const open =
    (make: () => Worker): Opener =>
    (on, fail) => {
      const worker = make();
      worker.onmessage = ({ data }) => on(data);
      worker.onerror = (event) => {
        event.preventDefault(); // it is reported in one line
        fail(event.message ?? "its script cannot be loaded");
      };
      return worker;
    };
  const own = open(
    () =>
      // Written out so that bundlers find the file.
      new Worker(new URL("./weft-thread.js", import.meta.url), { type: "module", name: "weft" }),
  );
  if (typeof folder !== "string") return [own];
  const script = `${folder}weft-thread.js`;
  return [open(() => new Worker(script, { type: "module", name: "weft" })), own];
}

export class Threads {
  readonly #core: Promise<Core>;
  readonly #asked: boolean;
  readonly #workers: Handle[] = [];
  readonly #started: Promise<void>;
  #ended = false;

  /** Starts all but the calling thread. */
  constructor({ count, asked }: { count: number; asked: boolean }, core: Promise<Core>) {
    this.#core = core;
    this.#asked = asked;
    const starts = Array.from({ length: count - 1 }, () => this.#start());
    this.#started = this.#settle(starts);
  }

  /** That work now, the calling one included. */
  get count(): number {
    return 1 + this.#workers.length;
  }

  /** Waits until all threads have begun or failed, but at most `ms`. */
  async begun(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([this.#started, late]);
    clearTimeout(timer!);
  }

  /** For a core that will not be used again: there must be no call under way. */
  end(): void {
    this.#ended = true;
    this.#keep(1);
  }

  /** One thread, by the first script that works. */
  async #start(): Promise<void> {
    let problem: unknown;
    for (const open of openers()) {
      try {
        return await this.#startBy(open);
      } catch (error) {
        problem = error;
      }
    }
    throw problem;
  }

  async #startBy(open: Opener): Promise<void> {
    let worker: Handle | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        worker = open(() => resolve(), reject);
        const post = (core: Core) => worker!.postMessage(core.threadStart());
        this.#core.then(post).catch(reject);
      });
      if (this.#ended) throw new Error("it is no longer needed");
      this.#workers.push(worker!);
    } catch (error) {
      worker?.terminate();
      throw error;
    }
  }

  async #settle(starts: Promise<void>[]): Promise<void> {
    const failures = (await Promise.allSettled(starts)).filter((start) => "reason" in start);
    const core = await this.#core.catch(() => undefined);
    if (!core || core.trap || this.#ended) return this.end();
    if (failures.length > 0) {
      const [{ reason }] = failures as [PromiseRejectedResult];
      const what = `${failures.length} of ${starts.length} workers cannot start`;
      const rest = this.count === 1 ? "is one thread" : `are ${this.count} threads`;
      console.warn(`weft: ${what} (${String(reason)}); there ${rest}`);
    }
    if (!this.#asked) void this.#measure(core).catch(() => undefined); // the core has trapped
  }

  /**
   * Ends those that bring nothing: a processor may be claimed that is not there, or half of one. As
   * a page that loads is busy with other things too, a bad result is not believed at once.
   */
  async #measure(core: Core): Promise<void> {
    let worth = 1;
    for (let i = 0; i < MEASUREMENTS && worth < this.count; i++) {
      if (i > 0) await pause(MEASUREMENT_PAUSE_MS);
      worth = Math.max(worth, core.call.web_threads_worth(core.context, this.count));
    }
    this.#keep(worth);
  }

  /** No call into the core is under way: workers sleep, and can be ended. */
  #keep(count: number): void {
    for (const worker of this.#workers.splice(count - 1)) worker.terminate();
  }
}
