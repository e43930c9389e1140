// feed.ts - external data from the network, or from a Blob, to its place in the core's memory. The
// core says which range it wants next (weft_loader_wanted); the bytes go to it as they arrive, so
// that JavaScript never holds more than a piece.

import type { Core } from "./core.js";
import type { Loading } from "./load.js";
import { type Incoming, Interruption, type Remote } from "./source.js";

/** What web_loader_wanted says. */
interface Wanted {
  location: string;
  file: number;
  offset: number;
  length: number;
}

/** A request that breaks off costs no more than this; one in so many bytes costs little time. */
const REQUEST_BYTES = 64 * 2 ** 20;
/** What is copied at once: some sources answer with everything in one chunk. */
const PIECE_BYTES = 2 ** 20;
/** How often a range is asked for in vain, and the wait before the second time; it doubles. */
const ATTEMPTS = 4;
const WAIT_MS = 200;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class Feeding {
  readonly #core: Core;
  readonly #loader: number;
  readonly #loading: Loading;

  constructor(core: Core, loader: number, loading: Loading) {
    this.#core = core;
    this.#loader = loader;
    this.#loading = loading;
  }

  wanted(): Wanted | undefined {
    const { call, context } = this.#core;
    const text = call.web_loader_wanted(context, this.#loader);
    return text ? (JSON.parse(this.#core.text(text)) as Wanted) : undefined;
  }

  #feed(file: number, offset: number, bytes: Uint8Array): void {
    const core = this.#core;
    core.during(this.#loading, () =>
      core.withBytes(bytes, (at, length) =>
        core.checkStatus(
          core.call.web_loader_feed_external(
            ...[core.context, this.#loader, file, offset, at, length],
          ),
        ),
      ),
    );
  }

  /** Feeds what arrives, to the end of the range or of the whole file; answers where it ended. */
  async #feedIncoming({ at, whole, chunks }: Incoming, { file, offset, length }: Wanted) {
    try {
      while (whole || at < offset + length) {
        const { done, value } = await chunks.read().catch((error: unknown) => {
          throw new Interruption(String(error));
        });
        if (done) break;
        for (let from = 0; from < value.length; from += PIECE_BYTES)
          this.#feed(file, at + from, value.subarray(from, from + PIECE_BYTES));
        at += value.length;
      }
      return at;
    } finally {
      void chunks.cancel().catch(() => undefined);
    }
  }

  /** Why the range, or the rest of it, did not come; undefined where it may just go on. */
  async #feedRange(remote: Remote, wanted: Wanted): Promise<Error | undefined> {
    const { signal } = this.#loading.options;
    const { location, offset } = wanted;
    const length = Math.min(wanted.length, REQUEST_BYTES);
    try {
      const incoming = await remote.open(offset, length, signal);
      const end = await this.#feedIncoming(incoming, { ...wanted, length });
      if (end > offset) return undefined;
      const needed = `the model's external data '${location}' is needed to byte ${offset + length}`;
      throw new Error(`weft: ${remote.name} ends at byte ${end}, but ${needed}`);
    } catch (error) {
      if (error instanceof Interruption && !signal?.aborted) return error;
      throw signal?.aborted ? signal.reason : error;
    }
  }

  /** Feeds all that is wanted. A range that breaks off is asked for again from where it ended. */
  async run(): Promise<void> {
    let failures = 0;
    for (let wanted = this.wanted(); wanted;) {
      const remote = this.#loading.remote(wanted.location);
      const problem = await this.#feedRange(remote, wanted);
      const next = this.wanted();
      const stuck = next?.file === wanted.file && next.offset === wanted.offset;
      if (stuck && !problem) throw new Error(`weft: ${remote.name} answers with other bytes`);
      failures = stuck ? failures + 1 : 0;
      if (failures === ATTEMPTS) throw problem;
      if (problem) await wait(WAIT_MS * 2 ** failures);
      wanted = next;
    }
  }
}

/** Feeds all external data that the loader wants; false: it wants none. */
export async function feedExternal(core: Core, loader: number, loading: Loading): Promise<boolean> {
  const feeding = new Feeding(core, loader, loading);
  if (!feeding.wanted()) return false;
  await feeding.run();
  return true;
}
