// load.ts - from a model's bytes, file or URL to a session. Also the options that Weft adds to
// those of onnxruntime-common.

import type { Backend, InferenceSession } from "onnxruntime-common";
import type { Core, Host, Source } from "./core.js";
import { env } from "./env.js";
import { CoreSession, type Description } from "./handler.js";
import { loadCore } from "./runtime.js";
import {
  type Bytes,
  bytesSource,
  download,
  downloadWhole,
  fileSource,
  isFile,
  throwIfAborted,
} from "./source.js";
import { chooseTier } from "./tiers.js";

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
}

export type SessionOptions = InferenceSession.SessionOptions & WeftOptions;

function pathKey(path: string): string {
  return path.replace(/^\.\//, "");
}

/** Answers the core while one model is loaded. */
class Loading implements Host {
  stage: LoadProgress["stage"] = "read";
  readonly options: SessionOptions;
  readonly #location: string;
  /** External data in the options, by the path that the model names. */
  readonly #external = new Map<string, Source>();
  readonly #files: Source[] = [];

  /** `location` is empty for bytes. */
  constructor(options: SessionOptions, location: string) {
    this.options = options;
    this.#location = location;
  }

  file(location: string): Source {
    const source = fileSource(location);
    this.#files.push(source);
    return source;
  }
  close(): void {
    for (const source of this.#files) source.close?.();
  }

  /** Gets what the options give or name. */
  async fetchExternal(): Promise<void> {
    for (const entry of this.options.externalData ?? []) {
      const { path, data } = typeof entry === "string" ? { path: entry, data: entry } : entry;
      this.#external.set(pathKey(path), await this.#externalSource(data));
    }
  }
  async #externalSource(data: string | Blob | Bytes): Promise<Source> {
    if (data instanceof Blob) return bytesSource(await data.arrayBuffer());
    if (typeof data !== "string") return bytesSource(data);
    if (isFile(data)) return this.file(data);
    return bytesSource(await downloadWhole(data, this.options.signal));
  }

  /** In Node, data that was not given is looked for beside the model. */
  resolve(path: string): Source | undefined {
    const given = this.#external.get(pathKey(path));
    if (given || !this.#location || !isFile(this.#location)) return given;
    return this.file(this.#location.replace(/[^/\\]*$/, "") + path);
  }

  progress(done: number, total: number): boolean {
    const answer = this.options.onProgress?.({ stage: this.stage, done, total });
    throwIfAborted(this.options.signal);
    return answer !== false;
  }
}

/** A model -> a session that takes its weights. */
function openSession(core: Core, loading: Loading, openModel: () => number): CoreSession {
  const { call, context } = core;
  const { options } = loading;
  const passes = options.graphOptimizationLevel === "disabled" ? "all" : "";
  return core.during(loading, () => {
    const model = core.check(openModel());
    let session = 0;
    try {
      const description = core.text(core.check(call.web_model_describe(context, model)));
      loading.stage = "pack";
      session = core.withText(options.disabledPasses ?? passes, (text) => {
        const profile = options.enableProfiling ? 1 : 0;
        const limit = options.memoryLimit ?? 0;
        return core.check(call.web_session_open(context, model, text, limit, profile));
      });
      return new CoreSession(core, session, JSON.parse(description) as Description);
    } catch (error) {
      if (session && !core.trap) call.web_session_close(session);
      throw error;
    } finally {
      if (!core.trap) call.web_model_close(model);
    }
  });
}

/** A source that the core reads by range, once: weights go from it to their places. */
async function openSource(source: Source, loading: Loading): Promise<CoreSession> {
  await loading.fetchExternal();
  const core = await loadCore(chooseTier(source.size, env.wasm.simd));
  throwIfAborted(loading.options.signal);
  return openSession(core, loading, () =>
    core.call.web_model_open(core.context, core.addSource(source), source.size),
  );
}

/** Pieces go to the core as they arrive; each weight is copied once, to memory of its own. */
async function openDownload(location: string, loading: Loading): Promise<CoreSession> {
  const { signal } = loading.options;
  const { size, chunks } = await download(location, signal);
  const core = await loadCore(chooseTier(size, env.wasm.simd));
  const { call, context } = core;
  let loader = core.check(core.during(loading, () => call.web_loader_open(context, size)));
  try {
    for (let piece = await chunks.read(); !piece.done; piece = await chunks.read()) {
      const { value } = piece;
      core.during(loading, () =>
        core.withBytes(value, (at, length) =>
          core.checkStatus(call.web_loader_feed(context, loader, at, length)),
        ),
      );
    }
    await loading.fetchExternal();
    throwIfAborted(signal);
    return openSession(core, loading, () => {
      const finished = loader;
      loader = 0;
      return call.web_loader_finish(context, finished);
    });
  } finally {
    if (loader && !core.trap) call.web_loader_close(loader);
    void chunks.cancel().catch(() => undefined);
  }
}

/** The CPU does all the work for now; who asks for something else is told, and served. */
function warnOfProviders(options: SessionOptions): void {
  for (const entry of options.executionProviders ?? []) {
    const name = typeof entry === "string" ? entry : entry.name;
    if (name === "wasm" || name === "cpu") continue;
    console.warn(
      `removing requested execution provider "${name}" from session options because it is not ` +
        "available: this version of weft-web runs on the CPU",
    );
  }
}

export const backend: Backend = {
  // Upstream, a failed init is never tried again; so everything is done later.
  async init() {},

  async createInferenceSessionHandler(model: string | Uint8Array, options: SessionOptions = {}) {
    warnOfProviders(options);
    throwIfAborted(options.signal);
    const loading = new Loading(options, typeof model === "string" ? model : "");
    try {
      if (typeof model !== "string") return await openSource(bytesSource(model), loading);
      if (isFile(model)) return await openSource(loading.file(model), loading);
      return await openDownload(model, loading);
    } finally {
      loading.close();
    }
  },
};
