// runtime.ts - one core per tier and page, loaded on first need from this package's files or from
// where env.wasm says. Calls into a core are synchronous, so that they never overlap.

import { Core } from "./core.js";
import { coreLogLevel, env } from "./env.js";
import { asBytes, downloadWhole, isFile, readWholeFile } from "./source.js";
import { Threads, wantedThreads } from "./threads.js";
import type { Tier } from "./tiers.js";

const cores = new Map<Tier, Promise<Core>>();

/** Beside this module; written out so that bundlers find the files. */
const files: Record<Tier, () => URL> = {
  a: () => new URL("./weft-a.wasm", import.meta.url),
  b: () => new URL("./weft-b.wasm", import.meta.url),
  c: () => new URL("./weft-c.wasm", import.meta.url),
};

async function compileFrom(location: string): Promise<WebAssembly.Module> {
  if (isFile(location)) return WebAssembly.compile((await readWholeFile(location)) as BufferSource);
  try {
    return await WebAssembly.compileStreaming(fetch(location));
  } catch {
    // A server that does not say application/wasm; or the fetch failed, and this says why.
    return WebAssembly.compile((await downloadWhole(location)) as BufferSource);
  }
}

/** What env.wasm names; undefined where it names nothing. */
async function compileConfigured(tier: Tier): Promise<WebAssembly.Module | undefined> {
  const { wasmBinary, wasmPaths } = env.wasm;
  if (wasmBinary) return WebAssembly.compile(asBytes(wasmBinary) as BufferSource);
  if (typeof wasmPaths === "string") return compileFrom(`${wasmPaths}weft-${tier}.wasm`);
  return wasmPaths?.wasm ? compileFrom(String(wasmPaths.wasm)) : undefined;
}

/** The tier for which a module was built; undefined for other packages' modules. */
function tierOf(module: WebAssembly.Module): Tier | undefined {
  const tiers: readonly Tier[] = ["a", "b", "c"];
  const names = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  return tiers.find((tier) => names.has(`web_tier_${tier}`));
}

/**
 * Pages that moved here from onnxruntime-web may still name its wasm file or folder. That is no
 * reason to fail: they get a warning, and this package's own file.
 */
async function open(tier: Tier, threads: number): Promise<Core> {
  let problem: unknown;
  try {
    const module = await compileConfigured(tier);
    const found = module && tierOf(module);
    const wideEnough = tier !== "c" || found === "c";
    if (found && wideEnough) return await Core.create(found, module, coreLogLevel(), threads);
    problem = module && "it is the wasm file of another package";
    if (found) problem = "the model needs the one with 64-bit memory";
  } catch (error) {
    problem = error;
  }
  if (problem)
    console.warn(`weft: what env.wasm names cannot be used (${String(problem)}); using own file`);
  return Core.create(tier, await compileFrom(files[tier]().href), coreLogLevel(), threads);
}

/** Workers that are wanted now start while the module is fetched and compiled. */
async function load(tier: Tier, threaded: boolean): Promise<Core> {
  const wanted = wantedThreads();
  const opening = open(tier, wanted.count);
  const start = () => (wanted.count > 1 ? new Threads(wanted, opening) : undefined);
  const threads = threaded ? start() : undefined;
  const core = await opening;
  core.threads = threads;
  core.startThreads = () => (core.threads ??= start());
  return core;
}

/**
 * The core of a tier, with its threads begun where they are wanted. One that failed is not kept:
 * the next call tries again.
 */
export async function loadCore(tier: Tier, threaded: boolean): Promise<Core> {
  let loading = cores.get(tier);
  if (!loading || (await loading.catch(() => undefined))?.trap) {
    // Another caller may have replaced it meanwhile.
    if (cores.get(tier) === loading) {
      const fresh = load(tier, threaded);
      fresh.catch(() => cores.delete(tier));
      cores.set(tier, fresh);
    }
    loading = cores.get(tier)!;
  }
  const core = await loading;
  if (threaded) core.startThreads();
  return core;
}
