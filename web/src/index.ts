// index.ts - the entry `weft-web`: the names that `onnxruntime-web` exports. What is not a model's
// work comes from onnxruntime-common, bundled: Tensor, env, the checks of arguments, tracing.

import * as common from "onnxruntime-common";
import "./env.js";
import { InferenceSession } from "./session.js";

export * from "onnxruntime-common";
export { InferenceSession };
export type { MemoryUse } from "./core.js";
export type { ProfileEntry } from "./handler.js";
export type { LoadProgress, WeftOptions } from "./load.js";

export default { ...common, InferenceSession };
