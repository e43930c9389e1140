// runtime.ts - one core per tier and page, loaded on first need. Calls into a core do not overlap:
// work on it queues.

import { Core } from "./core.js";
import { coreLogLevel, env } from "./env.js";
import { asBytes, downloadWhole, isFile, readWholeFile } from "./source.js";
import type { Tier } from "./tiers.js";

const cores = new Map<Tier, Promise<Core>>();

/** Beside this module; written out so that bundlers find the files. */
const files: Record<Tier, () => URL> = {
  a: () => new URL("./weft-a.wasm", import.meta.url),
  b: () => new URL("./weft-b.wasm", import.meta.url),
  c: () => new URL("./weft-c.wasm", import.meta.url),
};

/** The wasm file of a tier, or where env.wasm.wasmPaths says that it is. */
function wasmLocation(tier: Tier): string {
  const { wasmPaths } = env.wasm;
  if (typeof wasmPaths === "string") return `${wasmPaths}weft-${tier}.wasm`;
  if (wasmPaths?.wasm) return String(wasmPaths.wasm);
  return files[tier]().href;
}

async function compile(tier: Tier): Promise<WebAssembly.Module> {
  const { wasmBinary } = env.wasm;
  if (wasmBinary) return WebAssembly.compile(asBytes(wasmBinary) as BufferSource);
  const location = wasmLocation(tier);
  if (isFile(location)) return WebAssembly.compile((await readWholeFile(location)) as BufferSource);
  try {
    return await WebAssembly.compileStreaming(fetch(location));
  } catch {
    // A server that does not say application/wasm; or the fetch failed, and this fails with the
    // reason.
    return WebAssembly.compile((await downloadWhole(location)) as BufferSource);
  }
}

/** The core of a tier. A failed load is not kept: the next call tries again. */
export function loadCore(tier: Tier): Promise<Core> {
  let core = cores.get(tier);
  if (!core) {
    core = compile(tier).then((module) => Core.create(tier, module, coreLogLevel()));
    core.catch(() => cores.delete(tier));
    cores.set(tier, core);
  }
  return core;
}
