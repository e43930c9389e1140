// recover.ts - sessions on a GPU that outlive it. When the device is lost (a reset, a crash of the
// browser's GPU process, destroy()), the running run fails; the next one loads the model again from
// where it came, on a new device.

import type { Backend, InferenceSession, InferenceSessionHandler } from "onnxruntime-common";
import type { CoreSession, Feeds, Fetches, Results } from "./handler.js";
import type { SessionOptions } from "./load.js";

type Model = string | Uint8Array;
type Create = (model: Model, options?: SessionOptions) => Promise<CoreSession>;

/** The same backend, but for sessions on a GPU. */
export function recovering(backend: Backend): Backend {
  const create: Create = (model, options) =>
    backend.createInferenceSessionHandler(model, options) as Promise<CoreSession>;
  return {
    init: (name) => backend.init(name),
    async createInferenceSessionHandler(model, options = {}) {
      const { length } = model;
      const session = await create(model, options);
      if (!session.gpu) return session;
      const { device } = session.gpu;
      const again = () => createAgain(create, model, options, device, length);
      return new RecoveringSession(session, again);
    },
  };
}

/** From the model's place or the user's own bytes, of which nobody makes a copy. */
async function createAgain(
  create: Create,
  model: Model,
  { signal: _, ...options }: SessionOptions,
  device: GPUDevice,
  length: number,
): Promise<CoreSession> {
  const why = "weft: the GPU device of this session was lost";
  const isGiven = (entry: unknown) => (entry as { device?: unknown }).device === device;
  if (options.executionProviders?.some(isGiven))
    throw new Error(`${why}, which was given to it: create another session`);
  if (model.length !== length)
    throw new Error(`${why}, and the model's bytes are gone: create another session`);
  return create(model, options);
}

export class RecoveringSession implements InferenceSessionHandler {
  #session: CoreSession;
  /** Under way for all runs that wait for it. */
  #rebuilding: Promise<CoreSession> | undefined;
  #released = false;
  /** Makes a session as the first one was made; rejects where that cannot be. */
  readonly #make: () => Promise<CoreSession>;

  constructor(session: CoreSession, make: () => Promise<CoreSession>) {
    this.#session = session;
    this.#make = make;
  }

  /** The latest. */
  get current(): CoreSession {
    return this.#session;
  }
  get inputNames(): readonly string[] {
    return this.#session.inputNames;
  }
  get outputNames(): readonly string[] {
    return this.#session.outputNames;
  }
  get inputMetadata(): readonly InferenceSession.ValueMetadata[] {
    return this.#session.inputMetadata;
  }
  get outputMetadata(): readonly InferenceSession.ValueMetadata[] {
    return this.#session.outputMetadata;
  }

  /** Runs queue up here, so that those behind a run that fails find the new session. */
  async run(feeds: Feeds, fetches: Fetches): Promise<Results> {
    for (;;) {
      const lost = !this.#released && this.#session.gpu?.lost;
      const session = lost ? await this.#rebuild() : this.#session;
      if (!session.running) return session.run(feeds, fetches);
      await session.running;
    }
  }

  #rebuild(): Promise<CoreSession> {
    this.#rebuilding ??= this.#makeAnew().finally(() => (this.#rebuilding = undefined));
    return this.#rebuilding;
  }
  async #makeAnew(): Promise<CoreSession> {
    await this.#session.dispose(); // two models may be more than there is memory for
    const session = await this.#make();
    this.#session = session;
    if (this.#released) await session.dispose();
    return session;
  }

  async dispose(): Promise<void> {
    this.#released = true;
    await this.#rebuilding?.catch(() => undefined);
    await this.#session.dispose();
  }

  startProfiling(): void {
    this.#session.startProfiling();
  }
  endProfiling(): void {
    this.#session.endProfiling();
  }
}
