// env.ts - the `env` of onnxruntime-common. Its parts are own, enumerable objects that stay the
// same for good: users (and Transformers.js) spread it and then write into the parts.

export type LogLevel = "verbose" | "info" | "warning" | "error" | "fatal";
const levels: readonly LogLevel[] = ["verbose", "info", "warning", "error", "fatal"];

export interface WasmFlags {
  numThreads?: number;
  simd?: boolean | "fixed" | "relaxed";
  trace?: boolean;
  initTimeout?: number;
  /** A folder, or the places of single files. */
  wasmPaths?: string | { wasm?: string | URL; mjs?: string | URL };
  /** The bytes of the wasm file to use instead of fetching one. */
  wasmBinary?: ArrayBufferLike | Uint8Array;
  proxy?: boolean;
}

export interface Env {
  logLevel: LogLevel;
  debug: boolean;
  trace: boolean;
  readonly versions: { readonly common: string; readonly web?: string; readonly weft: string };
  readonly wasm: WasmFlags;
  readonly webgl: Record<string, unknown>;
  readonly webgpu: Record<string, unknown>;
  [name: string]: unknown;
}

let logLevel: LogLevel = "warning";

/** As the core counts: debug 0, info 1, warning 2, error 3. */
export function coreLogLevel(): number {
  return Math.min(levels.indexOf(logLevel), 3);
}

// versions.web stays undefined: Transformers.js would take it for the version of a package to
// download 27 MB of.
export const env: Env = {
  debug: false,
  trace: false,
  versions: { common: "1.30.0", weft: "0.1.0" },
  wasm: {},
  webgl: {},
  webgpu: {},
  get logLevel() {
    return logLevel;
  },
  set logLevel(value: LogLevel) {
    if (!levels.includes(value)) throw new Error(`Unsupported logging level: ${String(value)}`);
    logLevel = value;
  },
};
