// types.ts - written for onnxruntime-web; package.test.mjs compiles it with weft-web in its place.
import * as ort from "onnxruntime-web";
import { InferenceSession, Tensor, type TypedTensor, env } from "onnxruntime-web/webgpu";

env.wasm.numThreads = 1;
env.wasm.wasmPaths = { wasm: "/weft-b.wasm" };
env.logLevel = "error";

const options: ort.InferenceSession.SessionOptions = {
  executionProviders: ["wasm", { name: "webgpu", preferredLayout: "NHWC" }],
  graphOptimizationLevel: "all",
  externalData: [{ path: "x", data: new Uint8Array(1) }],
};

export async function main(bytes: Uint8Array): Promise<Float32Array> {
  const session: ort.InferenceSession = await InferenceSession.create(bytes, options);
  const feeds: InferenceSession.FeedsType = {
    ids: new Tensor("int64", [1n, 2n], [1, 2]),
    mask: new ort.Tensor(new Float32Array(2)),
  };
  const outputs: InferenceSession.OnnxValueMapType = await session.run(feeds, ["y"], { tag: "t" });
  const metadata: readonly InferenceSession.ValueMetadata[] = session.inputMetadata;
  const typed = outputs.y as TypedTensor<"float32">;
  if (metadata[0]?.isTensor) console.log(metadata[0].shape);
  await session.release();
  return typed.data;
}

/** What Weft adds. */
export async function additions(url: URL, signal: AbortSignal): Promise<string> {
  const session = await InferenceSession.create(url, {
    executionProviders: [{ name: "webgpu", without: ["subgroups"] }],
    signal,
    onProgress: ({ stage, done, total }) => console.log(stage, done / total),
  });
  env.webgpu.tuning = [session.tuning];
  return `${session.runtime.tier} ${session.runtime.peakBytes} ${session.dump("plan")}`;
}
