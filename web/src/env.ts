// env.ts - the `env` of onnxruntime-common, and what is read from it. `versions.web` stays
// undefined: Transformers.js takes it for the version of a package of which to fetch 27 MB of wasm,
// unless wasmPaths is set; and where both are unset, it leaves loading to this package.

import { env } from "onnxruntime-common";

export { env };

declare module "onnxruntime-common" {
  namespace Env {
    interface WebGpuFlags {
      /** Weft: texts of `session.tuning`, each for one kind of GPU; those for others do no harm. */
      tuning?: string | readonly string[];
    }
  }
}

export const version = "0.1.0";
Object.defineProperty(env.versions, "weft", { value: version, enumerable: true });

/** As the core counts: debug 0, info 1, warning 2, error 3. */
export function coreLogLevel(): number {
  const levels = ["verbose", "info", "warning", "error", "fatal"];
  return Math.min(levels.indexOf(env.logLevel ?? "warning"), 3);
}
