// source.ts - where model bytes come from: bytes that the caller holds, a file in Node, a download,
// ranges of a URL or a Blob.

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

export function isNode(): boolean {
  return (globalThis as { process?: NodeProcess }).process?.versions?.node !== undefined;
}

/** A module of Node's, without an import that bundlers for the web would follow; undefined
 * elsewhere. */
export function nodeModule<T>(name: string): T | undefined {
  const { process } = globalThis as { process?: NodeProcess };
  return isNode() ? (process?.getBuiltinModule?.(name) as T | undefined) : undefined;
}

export function nodeFs(): NodeFs | undefined {
  return nodeModule<NodeFs>("node:fs");
}

/** In Node, a path or file: URL; http(s), data and blob URLs are fetched everywhere. */
export function isFile(location: string): boolean {
  return nodeFs() !== undefined && !/^(https?|data|blob):/i.test(location);
}

function filePath(location: string): string | URL {
  return location.startsWith("file:") ? new URL(location) : location;
}

/** Node refuses reads from 2 GiB on. */
const READ_MOST = 2 ** 30;

/** A file that is read by range. */
export function fileSource(location: string): Source {
  const fs = nodeFs()!;
  const file = fs.openSync(filePath(location), "r");
  return {
    size: fs.fstatSync(file).size,
    read(offset, into) {
      for (let done = 0; done < into.length;) {
        const length = Math.min(into.length - done, READ_MOST);
        const count = fs.readSync(file, into, done, length, offset + done);
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

function notGood(location: string | URL, { status, statusText }: Response): string {
  return `weft: cannot fetch ${String(location)}: ${status} ${statusText}`;
}

async function fetchGood(location: string | URL, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(location, signal ? { signal } : {});
  if (response.ok) return response;
  throw new Error(notGood(location, response));
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
  return { size: Number.isSafeInteger(length) ? length : 0, chunks: readerOf(body) };
}

function readerOf(
  body: ReadableStream<Uint8Array> | null,
): ReadableStreamDefaultReader<Uint8Array> {
  return (body ?? new Blob([]).stream()).getReader();
}

/** Bytes on their way. */
export interface Incoming {
  /** Where in the file they begin. */
  at: number;
  /** They are the whole file, whatever was asked for. */
  whole: boolean;
  chunks: ReadableStreamDefaultReader<Uint8Array>;
}

/** Bytes that take time to come, range by range. */
export interface Remote {
  readonly name: string;
  /** 0 where not known. */
  readonly size: number;
  open(offset: number, length: number, signal?: AbortSignal): Promise<Incoming>;
}

export function blobRemote(blob: Blob, name: string): Remote {
  return {
    name,
    size: blob.size,
    async open(offset, length) {
      const chunks = blob
        .slice(offset, offset + length)
        .stream()
        .getReader();
      return { at: offset, whole: false, chunks };
    },
  };
}

/** A failure that may pass: another attempt is worth it. */
export class Interruption extends Error {}

export function urlRemote(location: string): Remote {
  let etag: string | null = null;
  return {
    name: location,
    size: 0,
    async open(offset, length, signal) {
      const headers = { range: `bytes=${offset}-${offset + length - 1}` };
      const response = await fetch(location, { headers, signal: signal ?? null }).catch((error) => {
        throwIfAborted(signal);
        throw new Interruption(`weft: cannot fetch ${location}: ${String(error)}`);
      });
      const { status, body, headers: answered } = response;
      if (status === 416)
        throw new Error(`weft: ${location} has no bytes ${offset} to ${offset + length}`);
      if (!response.ok) {
        const Kind = status >= 500 || status === 429 ? Interruption : Error;
        throw new Kind(notGood(location, response));
      }
      // Other origins may hide these headers.
      const tag = answered.get("etag");
      if (etag && tag && tag !== etag)
        throw new Error(`weft: ${location} changed while it was read`);
      etag ??= tag;
      const start = /^bytes (\d+)-/.exec(answered.get("content-range") ?? "")?.[1];
      const whole = status !== 206;
      return { at: whole ? 0 : Number(start ?? offset), whole, chunks: readerOf(body) };
    },
  };
}

export async function downloadWhole(
  location: string | URL,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const response = await fetchGood(location, signal);
  return new Uint8Array(await response.arrayBuffer());
}
