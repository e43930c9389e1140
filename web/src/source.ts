// source.ts - where model bytes come from: bytes that the caller holds, a file in Node, a download.

import type { Source } from "./core.js";

export type Bytes = ArrayBufferLike | ArrayBufferView;

export function asBytes(data: Bytes): Uint8Array {
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

/** Bytes in JavaScript's memory, read in place. */
export function bytesSource(data: Bytes): Source {
  const bytes = asBytes(data);
  return {
    size: bytes.length,
    read: (offset, into) => into.set(bytes.subarray(offset, offset + into.length)),
  };
}

interface NodeProcess {
  versions?: { node?: string };
  getBuiltinModule?: (name: string) => unknown;
}
interface NodeFs {
  openSync(path: string | URL, flags: string): number;
  closeSync(file: number): void;
  fstatSync(file: number): { size: number };
  readSync(file: number, into: Uint8Array, at: number, length: number, position: number): number;
  readFileSync(path: string | URL): Uint8Array;
}

/** Node's fs, without an import that bundlers for the web would follow; undefined elsewhere. */
export function nodeFs(): NodeFs | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  return process?.versions?.node
    ? (process.getBuiltinModule?.("node:fs") as NodeFs | undefined)
    : undefined;
}

/** In Node, a path or file: URL; http(s), data and blob URLs are fetched everywhere. */
export function isFile(location: string): boolean {
  return nodeFs() !== undefined && !/^(https?|data|blob):/i.test(location);
}

function filePath(location: string): string | URL {
  return location.startsWith("file:") ? new URL(location) : location;
}

/** A file that is read by range. */
export function fileSource(location: string): Source {
  const fs = nodeFs()!;
  const file = fs.openSync(filePath(location), "r");
  return {
    size: fs.fstatSync(file).size,
    read(offset, into) {
      for (let done = 0; done < into.length;) {
        const count = fs.readSync(file, into, done, into.length - done, offset + done);
        if (count === 0) throw new Error(`weft: ${location} ends early`);
        done += count;
      }
    },
    close: () => fs.closeSync(file),
  };
}

export async function readWholeFile(location: string): Promise<Uint8Array> {
  return nodeFs()!.readFileSync(filePath(location));
}

/** AbortSignal.throwIfAborted, also for engines without it. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason ?? new DOMException("Aborted", "AbortError");
}

async function fetchGood(location: string | URL, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(location, signal ? { signal } : {});
  if (response.ok) return response;
  const { status, statusText } = response;
  throw new Error(`weft: cannot fetch ${String(location)}: ${status} ${statusText}`);
}

/** Starts a download; its size is 0 where the server does not say. */
export async function download(
  location: string | URL,
  signal?: AbortSignal,
): Promise<{ size: number; chunks: ReadableStreamDefaultReader<Uint8Array> }> {
  const { headers, body } = await fetchGood(location, signal);
  // With a content encoding the length is that of the compressed bytes.
  const encoded = headers.get("content-encoding");
  const length = encoded ? 0 : Number(headers.get("content-length") ?? 0);
  const chunks = (body ?? new Blob([]).stream()).getReader();
  return { size: Number.isSafeInteger(length) ? length : 0, chunks };
}

export async function downloadWhole(
  location: string | URL,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const response = await fetchGood(location, signal);
  return new Uint8Array(await response.arrayBuffer());
}
