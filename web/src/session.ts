// session.ts - InferenceSession as users see it: that of onnxruntime-common, with a few additions.

import {
  InferenceSession as CommonSession,
  type InferenceSessionFactory,
  type InferenceSessionHandler,
  registerBackend,
} from "onnxruntime-common";
import type { MemoryUse } from "./core.js";
import { CoreSession, type ProfileEntry } from "./handler.js";
import { type SessionOptions, backend as loader } from "./load.js";
import { RecoveringSession, recovering } from "./recover.js";
import { tuningOf } from "./tuning.js";

const backend = recovering(loader);
// All names that onnxruntime-web knows, so that no page fails for asking; load.ts warns.
for (const name of ["wasm", "cpu"]) registerBackend(name, backend, 10);
for (const name of ["webgpu", "webnn"]) registerBackend(name, backend, 5);
for (const name of ["webgl", "auto"]) registerBackend(name, backend, -10); // only if named

/** What the interface hides of the class. */
const Base = CommonSession as unknown as InferenceSessionFactory & {
  new (handler: InferenceSessionHandler): CommonSession;
};

interface RuntimeInfo extends MemoryUse {
  tier: string;
  threads: number;
  gpu?: string;
  gpuBytes?: number;
  why?: string;
}

export class InferenceSession extends Base {
  readonly #handler: InferenceSessionHandler;

  private constructor(handler: InferenceSessionHandler) {
    super(handler);
    this.#handler = handler;
  }

  /** A model from a URL, a path (in Node) or bytes. */
  static override create(
    location: string | URL,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static override create(
    bytes: ArrayBufferLike | Uint8Array,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static override create(
    bytes: ArrayBufferLike,
    byteOffset: number,
    byteLength?: number,
    options?: SessionOptions,
  ): Promise<InferenceSession>;
  static override async create(model: unknown, ...rest: unknown[]): Promise<InferenceSession> {
    const location = (model instanceof URL ? model.href : model) as string;
    const session: unknown = await super.create(location, ...(rest as [SessionOptions?]));
    return new InferenceSession((session as { handler: InferenceSessionHandler }).handler);
  }

  get #core(): CoreSession {
    const handler = this.#handler;
    if (handler instanceof CoreSession) return handler;
    if (handler instanceof RecoveringSession) return handler.current;
    throw new Error("weft: another backend runs this session");
  }
  /**
   * Weft: the wasm file in use, the threads that work, the GPU and what this session holds in its
   * memory, why the provider "auto" has chosen as it did, and the memory of everything on the wasm
   * file.
   */
  get runtime(): RuntimeInfo {
    const { core, gpu, gpuBytes, why } = this.#core;
    const threads = core.threads?.count ?? 1;
    return {
      tier: core.tier,
      threads,
      ...(gpu && { gpu: gpu.description, gpuBytes }),
      ...(why && { why }),
      ...core.memoryUse(),
    };
  }
  /** Weft: metadata_props of the model. */
  get modelMetadata(): Readonly<Record<string, string>> {
    return this.#core.modelMetadata;
  }
  /**
   * Weft: what was measured on the session's GPU, a text that env.webgpu.tuning takes; "" without
   * a GPU.
   */
  get tuning(): string {
    const { core, gpu } = this.#core;
    return gpu ? tuningOf(core, gpu) : "";
  }
  /** Weft: times of the latest plan's steps; empty without `enableProfiling`. */
  profile(): ProfileEntry[] {
    return this.#core.profile();
  }
  /** Weft: the optimised graph, or the plan of the latest run, as text. */
  dump(what: "graph" | "plan"): string {
    return this.#core.dump(what);
  }
}

/** The names of types that stand beside the class in onnxruntime-common. */
export declare namespace InferenceSession {
  type OnnxValueMapType = CommonSession.OnnxValueMapType;
  type NullableOnnxValueMapType = CommonSession.NullableOnnxValueMapType;
  type FeedsType = CommonSession.FeedsType;
  type FetchesType = CommonSession.FetchesType;
  type ReturnType = CommonSession.ReturnType;
  type RunOptions = CommonSession.RunOptions;
  type ExecutionProviderConfig = CommonSession.ExecutionProviderConfig;
  type ExecutionProviderName = CommonSession.ExecutionProviderName;
  type ExecutionProviderOption = CommonSession.ExecutionProviderOption;
  type ExecutionProviderOptionMap = CommonSession.ExecutionProviderOptionMap;
  type WebGpuExecutionProviderOption = CommonSession.WebGpuExecutionProviderOption;
  type WebNNExecutionProviderOption = CommonSession.WebNNExecutionProviderOption;
  type WebAssemblyExecutionProviderOption = CommonSession.WebAssemblyExecutionProviderOption;
  type ValueMetadata = CommonSession.ValueMetadata;
  type TensorValueMetadata = CommonSession.TensorValueMetadata;
  type NonTensorValueMetadata = CommonSession.NonTensorValueMetadata;
  type SessionOptions = import("./load.js").SessionOptions;
}
