// worker.js - a dedicated worker that runs the small model.
import { runSmallModel } from "./small.js";

postMessage(await runSmallModel());
