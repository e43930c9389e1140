// weft.mjs - the package under test, on the tier in $WEFT_TIER (by default its own choice), and
// helpers of the tests beside it.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import * as weft from "../../web/dist/index.js";

export const dist = new URL("../../web/dist/", import.meta.url);
export const tier = process.env.WEFT_TIER;
if (tier) weft.env.wasm.wasmBinary = readFileSync(new URL(`weft-${tier}.wasm`, dist));
export { weft };
export const { InferenceSession, Tensor, env } = weft;

/** The message of the error that `work` throws or rejects with. */
export async function messageOf(work) {
  try {
    await work();
  } catch (error) {
    return error.message;
  }
  return undefined;
}

/** What `work` writes by console.warn. */
export async function warningsOf(work) {
  const [warn, lines] = [console.warn, []];
  console.warn = (...words) => lines.push(words.join(" "));
  try {
    await work();
  } finally {
    console.warn = warn;
  }
  return lines;
}

/**
 * Runs code in a process of its own, where nothing is loaded yet; answers what it prints. `before`:
 * a program that starts Node, with its arguments.
 */
export function inFreshProcess(code, before = []) {
  const [program, ...values] = [...before, process.execPath, "--input-type=module", "-e", code];
  const { stdout, stderr, status } = spawnSync(program, values, {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
    timeout: 120_000,
  });
  if (status !== 0) throw new Error(stderr);
  return { stdout, stderr };
}

/** Serves `files` (path -> bytes or a handler) while `work(base)` runs. */
export async function serving(files, work) {
  const server = createServer(async (request, response) => {
    const file = files[request.url];
    if (typeof file === "function") return file(response, request);
    response.writeHead(file ? 200 : 404, file ? { "content-length": file.length } : {});
    response.end(file);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** {name: {type, dims, data}} of {name: Tensor}, which compares well. */
export function plain(outputs) {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { type, dims, data }]) => [
      name,
      { type, dims: [...dims], data: Array.from(data, Number) },
    ]),
  );
}
