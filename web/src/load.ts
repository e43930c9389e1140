// load.ts - from a model's bytes, file or URL to a session. Also the options that Weft adds to
// those of onnxruntime-common.

import type { Backend, InferenceSession } from "onnxruntime-common";
import { choose } from "./choose.js";
import type { Core, Host, Source } from "./core.js";
import { env } from "./env.js";
import { CoreSession, type Description } from "./handler.js";
import { feedExternal } from "./feed.js";
import type { GpuFeature } from "./gpu_device.js";
import { type PageGpu, findGpu } from "./gpu_page.js";
import { loadCore } from "./runtime.js";
import {
  type Bytes,
  type Remote,
  blobRemote,
  bytesSource,
  download,
  fileSource,
  isFile,
  throwIfAborted,
  urlRemote,
} from "./source.js";
import { pause } from "./threads.js";
import { type Tier, chooseTier } from "./tiers.js";
import { type TuneMode, keepingTuning, restoreTuning, tuneModes } from "./tuning.js";

/** Bytes read or packed so far, of a total (0: not known). */
export interface LoadProgress {
  stage: "read" | "pack";
  done: number;
  total: number;
}

export interface WeftOptions {
  /** Called while a model is loaded; answers false to give up. */
  onProgress?: (progress: LoadProgress) => boolean | void;
  /** Gives up loading. */
  signal?: AbortSignal;
  /** Names of rewrites to leave out, separated by commas. */
  disabledPasses?: string;
  /** Bytes that the session may hold; 0 or nothing: no limit. */
  memoryLimit?: number;
  /**
   * Whether products with quantised weights round their other operand to 8 bits: always, never, or
   * ("auto") where the model allows it.
   */
  activations?: (typeof activations)[number];
  /**
   * Whether kernels are timed on the user's own GPU when the session is made: not at all, some (for
   * about a second), all of them; "auto" is "fast", but "off" where the adapter is a CPU. What was
   * found is kept for the next visit.
   */
  tune?: TuneMode;
}

/** By their numbers in the core (weft_activations). */
const activations = ["auto", "f32", "int8"] as const;

/** The entry for WebGPU among executionProviders. */
export interface WebGpuProvider extends InferenceSession.WebGpuExecutionProviderOption {
  /** Features of the GPU that are not to be used: for comparisons, or where one is broken. */
  without?: readonly GpuFeature[];
}

type CommonOptions = InferenceSession.SessionOptions;
export type SessionOptions = Omit<CommonOptions, "executionProviders"> &
  WeftOptions & {
    executionProviders?: readonly (InferenceSession.ExecutionProviderConfig | WebGpuProvider)[];
  };

function pathKey(path: string): string {
  return path.replace(/^\.\//, "");
}

/** Answers the core while one model is loaded. */
export class Loading implements Host {
  stage: LoadProgress["stage"] = "read";
  /** Where the session will run; undefined: on the CPU alone. */
  gpu: PageGpu | undefined;
  /** Whether that is still to be chosen, and what was. */
  auto = false;
  why: string | undefined;
  tune: TuneMode = "auto";
  readonly options: SessionOptions;
  readonly #location: string;
  /** External data in the options, by the path that the model names. */
  readonly #external = new Map<string, Source | Remote>();
  readonly #files: Source[] = [];

  /** `location` is empty for bytes. */
  constructor(options: SessionOptions, location: string) {
    this.options = options;
    this.#location = location;
  }

  /** Whether the CPU does the work, or may come to do it. */
  get threaded(): boolean {
    return this.auto || !this.gpu;
  }

  file(location: string): Source {
    const source = fileSource(location);
    this.#files.push(source);
    return source;
  }
  close(): void {
    for (const source of this.#files) source.close?.();
  }

  /** Takes what the options give or name. */
  addExternal(): void {
    for (const entry of this.options.externalData ?? []) {
      const { path, data } = typeof entry === "string" ? { path: entry, data: entry } : entry;
      this.#external.set(pathKey(path), this.#externalData(path, data));
    }
  }
  #externalData(path: string, data: string | Blob | Bytes): Source | Remote {
    if (data instanceof Blob) return blobRemote(data, path);
    if (typeof data !== "string") return bytesSource(data);
    return isFile(data) ? this.file(data) : urlRemote(data);
  }
  /** As far as it is known. */
  get externalBytes(): number {
    return [...this.#external.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** In Node, data that was not given is looked for beside the model. */
  resolve(path: string): Source | Remote | undefined {
    const given = this.#external.get(pathKey(path));
    if (given || !this.#location || !isFile(this.#location)) return given;
    return this.file(this.#location.replace(/[^/\\]*$/, "") + path);
  }

  /** External data that resolve() has promised to feed. */
  remote(path: string): Remote {
    return this.#external.get(pathKey(path)) as Remote;
  }

  progress(done: number, total: number): boolean {
    const answer = this.options.onProgress?.({ stage: this.stage, done, total });
    throwIfAborted(this.options.signal);
    return answer !== false;
  }
}

/** A model -> a session that takes its weights. */
function openSession(core: Core, loading: Loading, model: number): CoreSession {
  const { call, context } = core;
  const { options } = loading;
  const gpu = loading.gpu && core.gpu(loading.gpu);
  const passes = options.graphOptimizationLevel === "disabled" ? "all" : "";
  return core.during(loading, () => {
    let session = 0;
    try {
      const description = core.text(core.check(call.web_model_describe(context, model)));
      loading.stage = "pack";
      session = core.withText(options.disabledPasses ?? passes, (text) => {
        const profile = options.enableProfiling ? 1 : 0;
        const limit = options.memoryLimit ?? 0;
        const threads = options.intraOpNumThreads ?? 0;
        const rounding = activations.indexOf(options.activations ?? "auto");
        if (rounding < 0) throw new Error(`activations: there is no '${options.activations}'`);
        const tune = tuneModes.indexOf(loading.tune);
        if (tune < 0) throw new Error(`tune: there is no '${loading.tune}'`);
        return core.check(
          call.web_session_open(
            ...[context, model, gpu?.at ?? 0, text, limit, profile, threads, rounding, tune],
          ),
        );
      });
      const { preferredOutputLocation } = options;
      const described = JSON.parse(description) as Description;
      const opened = new CoreSession(core, session, described, gpu, preferredOutputLocation);
      opened.why = loading.why;
      return opened;
    } catch (error) {
      if (session && !core.trap) call.web_session_close(session);
      throw error;
    } finally {
      if (!core.trap) call.web_model_close(model);
    }
  });
}

/** For the provider "auto": gives up the GPU where the CPU is faster, and the model on failure. */
async function chooseDevice(core: Core, loading: Loading, model: number): Promise<void> {
  if (!loading.auto || !loading.gpu) return;
  const { disabledPasses, graphOptimizationLevel, intraOpNumThreads } = loading.options;
  try {
    await core.threads?.begun(THREADS_MS);
    const { onGpu, why } = await choose(core, model, core.gpu(loading.gpu), {
      passes: disabledPasses ?? (graphOptimizationLevel === "disabled" ? "all" : ""),
      threads: intraOpNumThreads ?? 0,
      rounding: Math.max(0, activations.indexOf(loading.options.activations ?? "auto")),
    });
    loading.why = why;
    if (!onGpu) loading.gpu = undefined;
  } catch (error) {
    if (!core.trap) core.call.web_model_close(model);
    throw error;
  }
}

/** Makes a loader of the core, and gives it all of the model's own bytes. */
type Reader = (core: Core) => Promise<number>;

/** A loader that has read the model -> the model, with the external data that has to be fed. */
async function finishModel(core: Core, loading: Loading, loader: number): Promise<number> {
  for (;;) {
    const { call, context } = core;
    const model = core.during(loading, () => call.web_loader_finish(context, loader));
    if (model) return model;
    if (!(await feedExternal(core, loader, loading))) throw core.failure();
  }
}

/**
 * Sessions on models from this size on wait for the threads, which have had time to begin while the
 * model was loaded: pages that run a model again and again without a pause would let none begin.
 */
const THREADS_FROM_BYTES = 2 ** 20;
const THREADS_MS = 1000;

/** On a GPU there is little for them to do, and the first run comes first. */
async function startThreadsLater(core: Core): Promise<void> {
  await pause(THREADS_MS);
  if (!core.trap) core.startThreads();
}

async function prepare(core: Core, session: CoreSession): Promise<void> {
  if (session.gpu) await keepingTuning(core, session.gpu, () => session.prepare());
}

/** How large the model is turns out when it has been read: then it may have to start over. */
async function createOn(tier: Tier, loading: Loading, read: Reader): Promise<CoreSession> {
  const core = await loadCore(tier, loading.threaded);
  throwIfAborted(loading.options.signal);
  // The database answers while the model arrives; who needs it sees a failure.
  if (loading.gpu) restoreTuning(core, core.gpu(loading.gpu)).catch(() => undefined);
  let loader = 0;
  try {
    loader = await read(core);
    const weightBytes = core.call.web_loader_weight_bytes(loader);
    if (tier === "c" || chooseTier(weightBytes, env.wasm.simd) !== "c") {
      // Sessions ask for kernels while they open.
      if (loading.gpu) await restoreTuning(core, core.gpu(loading.gpu));
      const model = await finishModel(core, loading, loader);
      loader = 0;
      await chooseDevice(core, loading, model);
      const session = openSession(core, loading, model);
      await prepare(core, session).catch(async (error: unknown) => {
        await session.dispose();
        throw error;
      });
      if (session.gpu) void startThreadsLater(core);
      else if (weightBytes >= THREADS_FROM_BYTES) await core.threads?.begun(THREADS_MS);
      return session;
    }
  } finally {
    if (loader && !core.trap) core.call.web_loader_close(loader);
    core.dropSources(loading);
  }
  return createOn("c", loading, read);
}

/** A source that the core reads by range, once: weights go from it to their places. */
async function openSource(source: Source, loading: Loading): Promise<CoreSession> {
  const tier = chooseTier(source.size + loading.externalBytes, env.wasm.simd);
  return createOn(tier, loading, async (core) => {
    const { call, context } = core;
    const number = core.addSource(source, loading);
    return core.during(loading, () =>
      core.check(call.web_loader_open_source(context, number, source.size)),
    );
  });
}

type Download = Awaited<ReturnType<typeof download>>;

/** Pieces go to the core as they arrive; each weight is copied once, to memory of its own. */
async function feedDownload(core: Core, loading: Loading, { size, chunks }: Download) {
  const { call, context } = core;
  let loader = 0;
  try {
    loader = core.check(core.during(loading, () => call.web_loader_open(context, size)));
    for (let piece = await chunks.read(); !piece.done; piece = await chunks.read()) {
      const { value } = piece;
      core.during(loading, () =>
        core.withBytes(value, (at, length) =>
          core.checkStatus(call.web_loader_feed(context, loader, at, length)),
        ),
      );
    }
    throwIfAborted(loading.options.signal);
    return loader;
  } catch (error) {
    if (loader && !core.trap) call.web_loader_close(loader);
    throw error;
  } finally {
    void chunks.cancel().catch(() => undefined);
  }
}

async function openDownload(location: string, loading: Loading): Promise<CoreSession> {
  const { signal } = loading.options;
  // Most likely the right one; it comes while the server thinks. Who needs it sees its failure.
  loadCore(chooseTier(loading.externalBytes, env.wasm.simd), loading.threaded).catch(
    () => undefined,
  );
  let first: Download | undefined = await download(location, signal);
  const tier = chooseTier(first.size + loading.externalBytes, env.wasm.simd);
  return createOn(tier, loading, async (core) => {
    const incoming = first ?? (await download(location, signal));
    first = undefined;
    return feedDownload(core, loading, incoming);
  });
}

/**
 * The first provider that is there: a GPU, or undefined for the CPU, which does the work also where
 * there is none of them. Who asked for something else is told.
 */
async function chooseProvider(loading: Loading): Promise<PageGpu | undefined> {
  for (const entry of loading.options.executionProviders ?? []) {
    const { name, device, without, tune } = (
      typeof entry === "string" ? { name: entry } : entry
    ) as {
      name: string;
      device?: unknown;
      without?: readonly GpuFeature[];
      tune?: TuneMode;
    };
    if (name === "wasm" || name === "cpu") return undefined;
    loading.tune = tune ?? loading.options.tune ?? "auto";
    let reason: unknown = "weft-web runs on the CPU and by WebGPU";
    try {
      loading.auto = name === "auto";
      if (name === "webgpu" || loading.auto) return await findGpu(device, without);
    } catch (error) {
      reason = error instanceof Error ? error.message : error;
    }
    if (name === "auto") {
      loading.why = `CPU: ${String(reason)}`;
      return undefined;
    }
    console.warn(
      `removing requested execution provider "${name}" from session options because it is not ` +
        `available: ${String(reason)}`,
    );
  }
  return undefined;
}

export const backend: Backend = {
  // Upstream, a failed init is never tried again; so everything is done later.
  async init() {},

  async createInferenceSessionHandler(model: string | Uint8Array, options: SessionOptions = {}) {
    throwIfAborted(options.signal);
    const loading = new Loading(options, typeof model === "string" ? model : "");
    try {
      loading.gpu = await chooseProvider(loading);
      loading.addExternal();
      if (typeof model !== "string") return await openSource(bytesSource(model), loading);
      if (isFile(model)) return await openSource(loading.file(model), loading);
      return await openDownload(model, loading);
    } finally {
      loading.close();
    }
  },
};
