// tuning.ts - what was measured about a GPU, kept from visit to visit. It is a text, whose first
// line names the adapter, its features and limits, and the kernels. IndexedDB has one by each such
// line; env.webgpu.tuning has those that a page brings along. A text for another GPU or other
// kernels, or a malformed one, is passed over; so is a database that cannot be had.

import type { Core, CoreGpu } from "./core.js";
import { env } from "./env.js";

/** By their numbers in the core (weft_tune). */
export const tuneModes = ["auto", "off", "fast", "full"] as const;
export type TuneMode = (typeof tuneModes)[number];

const [DATABASE, STORE] = ["weft-tuning", "texts"];
/** Texts of kernels and browsers that are no more go when there are so many. */
const TEXTS_MOST = 16;
/** A database that does not answer (some browsers' never do) is none. */
const DATABASE_MS = 500;

const headOf = (text: string) => text.slice(0, text.indexOf("\n"));

function answerOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error as Error);
  });
}

/** Calls `work` with the texts by their first lines; undefined where there is no database. */
async function withTexts<T>(
  mode: IDBTransactionMode,
  work: (texts: IDBObjectStore) => Promise<T>,
): Promise<T | undefined> {
  let database: IDBDatabase | undefined;
  try {
    const opening = indexedDB.open(DATABASE, 1); // undefined in Node, which throws
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    database = await answerOf(opening);
    return await work(database.transaction(STORE, mode).objectStore(STORE));
  } catch {
    return undefined;
  } finally {
    database?.close();
  }
}

async function keptText(head: string): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, DATABASE_MS)));
  const kept = withTexts("readonly", (texts) => answerOf<unknown>(texts.get(head)));
  const text = await Promise.race([kept, late]);
  clearTimeout(timer);
  return typeof text === "string" ? text : undefined;
}

async function keepText(text: string): Promise<void> {
  await withTexts("readwrite", async (texts) => {
    if ((await answerOf(texts.count())) >= TEXTS_MOST) texts.clear();
    await answerOf(texts.put(text, headOf(text)));
  });
}

/** What was measured on the GPU so far; "" when it was lost. */
export function tuningOf(core: Core, gpu: CoreGpu): string {
  if (gpu.lost) return "";
  return core.text(core.check(core.call.web_gpu_tuning(core.context, gpu.at)));
}

function read(core: Core, gpu: CoreGpu, text: string): void {
  if (gpu.lost) return;
  core.withText(text, (at) => core.call.web_gpu_read_tuning(core.context, gpu.at, at));
}

async function restore(core: Core, gpu: CoreGpu): Promise<void> {
  const { tuning = [] } = env.webgpu;
  const kept = await keptText(headOf(tuningOf(core, gpu)));
  if (core.trap) return;
  for (const text of [tuning, kept ?? []].flat()) read(core, gpu, text);
}

const restored = new WeakMap<CoreGpu, Promise<void>>();

/** Brings back what is known about the GPU, before its first session opens. */
export function restoreTuning(core: Core, gpu: CoreGpu): Promise<void> {
  let restoring = restored.get(gpu);
  if (!restoring) restored.set(gpu, (restoring = restore(core, gpu)));
  return restoring;
}

/** Calls `prepare`, which may measure, and keeps what it found. */
export async function keepingTuning(
  core: Core,
  gpu: CoreGpu,
  prepare: () => Promise<void>,
): Promise<void> {
  const before = tuningOf(core, gpu);
  await prepare();
  const after = tuningOf(core, gpu);
  if (after && after !== before) await keepText(after);
}
