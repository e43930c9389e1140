// chromium.mjs - a browser for the tests beside it, and a server with what they load.
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { pageRoots } from "../../../tools/demo.mjs";
import { serve } from "../../../tools/serve.mjs";

const root = fileURLToPath(new URL("../../../", import.meta.url));

const roots = {
  ...pageRoots,
  "/tests/web/": `${root}tests/web/`,
  "/web/examples/": `${root}web/examples/`,
  "/tests/models/": `${root}tests/models/`,
  "/embeddings/": `${root}build/embeddings/`,
};

/** As strict as a page with wasm can be. */
export const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
].join("; ");

/** WebGPU on SwiftShader, a GPU that is the CPU. */
export const swiftshader = [
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-webgpu-adapter=swiftshader",
];

export function launch(gpu = ["--disable-gpu"]) {
  return chromium.launch({
    executablePath: process.env.WEFT_CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      ...gpu,
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * Calls work(page, complaints) with a page at `path`, under the strict policy, cross-origin
 * isolated or not. `csp`: another policy. `folders`: more to serve, by path. `complaints` is what
 * the console had to say.
 */
export async function withPage(browser, settings, work) {
  const { path, isolate, options, folders, csp = policy } = settings;
  const { url, close } = await serve({ roots: { ...roots, ...folders }, isolate, csp });
  const context = await browser.newContext(options);
  const complaints = [];
  try {
    const page = await context.newPage();
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(url + path);
    return await work(page, complaints);
  } finally {
    await context.close();
    close();
  }
}
