// small.js - runs a small model; for pages and workers alike. Answers what it saw.
import { InferenceSession, Tensor } from "/weft-web/index.js";
import { linear } from "/tests/web/onnx.mjs";

export async function runSmallModel() {
  const session = await InferenceSession.create(linear());
  const { y } = await session.run({ x: new Tensor(new Float32Array([1, 1, 1]), [1, 3]) });
  const { tier } = session.runtime;
  await session.release();
  return { tier, y: [...y.data], isolated: self.crossOriginIsolated };
}
