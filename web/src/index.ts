// index.ts - the entry `weft-web`: the names that `onnxruntime-web` exports.

import { env } from "./env.js";
import { InferenceSession } from "./session.js";
import { Tensor } from "./tensor.js";

export { env, InferenceSession, Tensor };
export type { Env, LogLevel, WasmFlags } from "./env.js";
export type {
  ExternalData,
  FeedsType,
  FetchesType,
  OutputsType,
  RunOptions,
  SessionOptions,
  ValueMetadata,
} from "./session.js";
export type { TensorData, TensorLocation, TensorType } from "./tensor.js";

/** Other backends cannot be plugged in: there is one, and it is always there. */
export function registerBackend(name: string, backend: unknown, priority: number): void {
  void [name, backend, priority];
}

/** Marks on the browser's timeline, while env.trace is on. */
export function TRACE(deviceType: string, label: string): void {
  if (env.trace) console.timeStamp(`${deviceType}::ORT::${label}`);
}
function traceFunction(event: string, label?: string): void {
  TRACE("CPU", label ? `${event}::${label}` : event);
}
export const TRACE_FUNC_BEGIN = (label?: string): void => traceFunction("FUNC_BEGIN", label);
export const TRACE_FUNC_END = (label?: string): void => traceFunction("FUNC_END", label);
export const TRACE_EVENT_BEGIN = (label?: string): void => traceFunction("BEGIN", label);
export const TRACE_EVENT_END = (label?: string): void => traceFunction("END", label);

export default { env, InferenceSession, Tensor, registerBackend };
