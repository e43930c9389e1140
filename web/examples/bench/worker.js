// worker.js - measures, so that the page stays responsive; ended when a user cancels. Messages come
// from and go to main.js.
import * as weft from "../weft-web/webgpu.js";
import { describeAdapter, measure } from "./measure.js";

const fail = (error) => postMessage({ type: "failure", message: String(error?.message ?? error) });
const report = (message) => postMessage(message);

self.onmessage = ({ data: { size, model } }) =>
  measure(weft, { size, model, report }).then(() => postMessage({ type: "done" }), fail);

try {
  const adapter = await describeAdapter(weft);
  postMessage({ type: "ready", adapter, weft: weft.env.versions.weft });
} catch (error) {
  fail(error);
}
