// choose.ts - for the provider "auto": whether the GPU or the CPU runs a model faster.

import type { Core, CoreGpu } from "./core.js";

export interface Choice {
  onGpu: boolean;
  /** "GPU: 3.1 ms against 8.4 ms on the CPU at a length of 128" */
  why: string;
}

/** As for the session: rewrites to leave out, threads, how activations are rounded. */
export interface ChoiceOptions {
  passes: string;
  threads: number;
  rounding: number;
}

/** Runs a model, which stays as it is, on both. */
export async function choose(
  core: Core,
  model: number,
  gpu: CoreGpu,
  { passes, threads, rounding }: ChoiceOptions,
): Promise<Choice> {
  const { call, context } = core;
  const text = new TextEncoder().encode(`${passes}\0`);
  const at = core.allocate(text.length); // to the end of the choice
  core.bytes(at, text.length).set(text);
  let chooser = 0;
  try {
    chooser = core.check(call.web_chooser_open(context, model, gpu.at, at, threads, rounding));
    await gpu.finish(() => call.web_chooser_run(chooser));
    return {
      onGpu: call.web_chooser_on_gpu(chooser) !== 0,
      why: core.text(call.web_chooser_why(chooser)),
    };
  } finally {
    if (chooser && !core.trap) call.web_chooser_close(context, chooser);
    core.release(at, text.length);
  }
}
