// service-worker.js - a service worker that runs the small model when asked. No top-level await and
// no dynamic import are allowed here.
import { runSmallModel } from "./small.js";

self.addEventListener("message", (event) => {
  event.waitUntil(runSmallModel().then((seen) => event.source.postMessage(seen)));
});
