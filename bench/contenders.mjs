// contenders.mjs - who runs a model: Weft in wasm, onnxruntime-web, and behind native.py native
// onnxruntime and native Weft. All take inputs from one description (web_session.mjs), so that they
// run the same.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import * as ort from "onnxruntime-web"; // in Node its entry /wasm has one thread only
import * as weft from "../web/dist/wasm.js";
import { WebSession } from "./web_session.mjs";

/** ort.env and weft.env are of one kind each: a process works with one number of threads. */
export function useThreads(threads) {
  for (const { env } of [ort, weft]) {
    env.wasm.numThreads = threads;
    env.logLevel = "error";
  }
}

export async function openWeft(model, { tier = "b", ...extra } = {}) {
  weft.env.wasm.simd = tier === "a" ? "fixed" : true;
  const session = await weft.InferenceSession.create(model, extra);
  if (session.runtime.tier !== tier)
    throw new Error(`tier ${session.runtime.tier} instead of ${tier}`);
  return new WebSession(session, weft.Tensor);
}

export async function openPeer(model, extra = {}) {
  const options = { executionProviders: ["wasm"], ...extra };
  return new WebSession(
    await ort.InferenceSession.create(readFileSync(model), options),
    ort.Tensor,
  );
}

/** A session in a Python process, which answers one line of JSON for each line. */
class Native {
  constructor(python, runtime, threads) {
    this.process = spawn(python, ["bench/native.py", runtime, String(threads)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.process.stdin.on("error", () => {}); // its end is seen as a missing answer
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async ask(question) {
    this.process.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error("the native process ended");
    const answer = JSON.parse(value);
    if (answer.error) throw new Error(answer.error);
    return answer;
  }

  async run(times = 1) {
    return (await this.ask({ run: times })).ms;
  }

  async decode(tokens) {
    return (await this.ask({ decode: tokens })).ms;
  }

  feed(inputs) {
    return this.ask({ feed: inputs });
  }

  release() {
    this.process.stdin.end();
  }
}

export async function openNative(options, runtime, model, threads) {
  const native = new Native(options.python, runtime, threads);
  try {
    Object.assign(native, await native.ask({ open: model }));
    return native;
  } catch (error) {
    native.release();
    throw error;
  }
}

const OPENERS = {
  weft: (model) => openWeft(model),
  "weft-a": (model) => openWeft(model, { tier: "a" }),
  "weft-1": (model) => openWeft(model, { intraOpNumThreads: 1 }),
  "ort-web": (model) => openPeer(model),
  "weft-native": (model, options, threads) => openNative(options, "weft", model, threads),
  "ort-native": (model, options, threads) => openNative(options, "ort", model, threads),
};

/** The named contenders on a model. One that cannot be opened becomes a { error }. */
export async function openAll(names, model, options) {
  const opened = {};
  for (const name of names) {
    opened[name] = await OPENERS[name](model, options, options.threads).catch((error) => ({
      error: String(error?.message ?? error).slice(0, 300),
    }));
  }
  return opened;
}

/** Those that every case compares: the peers, and on two threads Weft on one as well. */
export const usual = (threads) =>
  threads === 1
    ? ["weft", "ort-web", "ort-native", "weft-native"]
    : ["weft", "weft-1", "ort-web", "ort-native", "weft-native"];

/** Works for takeTurns: `act` on each contender; those that are { error } fail. */
export function worksOf(contenders, act) {
  return Object.fromEntries(
    Object.entries(contenders).map(([name, contender]) => [
      name,
      () => {
        if (contender.error) throw new Error(contender.error);
        return act(contender);
      },
    ]),
  );
}

/** Gives all the same inputs. A contender that refuses them becomes a { error }. */
export async function feedAll(contenders, inputs) {
  for (const [name, contender] of Object.entries(contenders)) {
    if (contender.error) continue;
    try {
      await contender.feed(inputs);
    } catch (error) {
      contenders[name] = { error: String(error.message).slice(0, 300) };
    }
  }
}

/**
 * The largest difference of Weft's first output from onnxruntime-web's, relative to the largest
 * number of it: a speed without it would be worth nothing.
 */
export async function difference({ weft: own, "ort-web": peer }, bound) {
  if (own.error || peer.error) return null;
  const [a, b] = [await own.answer(), await peer.answer()];
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  let worst = 0;
  for (let i = 0; i < b.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]));
  if (!(worst <= bound * largest))
    throw new Error(`the answers differ by ${worst}, the largest being ${largest}`);
  return worst / largest;
}

export async function releaseAll(contenders) {
  for (const contender of Object.values(contenders)) await contender.release?.();
}
