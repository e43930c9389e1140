// gpu_page.ts - the page's GPU device, which all sessions share: the one that env.webgpu names, or
// the adapter's own. env.webgpu.device is a promise of it, as in onnxruntime-web.

import { env } from "./env.js";
import {
  type GpuFacts,
  type GpuFeature,
  describeDevice,
  openDevice,
  withoutFeatures,
} from "./gpu_device.js";

export interface PageGpu {
  device: GPUDevice;
  facts: GpuFacts;
}

/** The one that sessions get; it is looked for again after a failure, and once it is lost. */
let current: Promise<PageGpu> | undefined;
/** An adapter gives one device. */
const used = new WeakSet<object>();
const described = new WeakMap<GPUDevice, Promise<PageGpu>>();
/** By the names of the features that it does without. */
const reduced = new WeakMap<PageGpu, Map<string, PageGpu>>();

const pageGpu = (): GPU | undefined => (globalThis.navigator as Navigator | undefined)?.gpu;

function describe(device: GPUDevice, adapter?: GPUAdapter): Promise<PageGpu> {
  let gpu = described.get(device);
  if (!gpu) {
    gpu = describeDevice(device, pageGpu()?.wgslLanguageFeatures, adapter).then((facts) => ({
      device,
      facts,
    }));
    described.set(device, gpu);
  }
  return gpu;
}

function isDevice(value: unknown): value is GPUDevice {
  return typeof (value as GPUDevice | null)?.createComputePipelineAsync === "function";
}

async function open(): Promise<PageGpu> {
  const { powerPreference, forceFallbackAdapter } = env.webgpu;
  const named = env.webgpu.adapter as GPUAdapter | undefined;
  const { device, adapter } = await openDevice(pageGpu(), {
    powerPreference,
    forceFallbackAdapter,
    adapter: named && !used.has(named) ? named : undefined,
  });
  used.add(adapter);
  env.webgpu.adapter = adapter as typeof env.webgpu.adapter;
  return describe(device, adapter);
}

function use(opening: Promise<PageGpu>): Promise<PageGpu> {
  const forget = () => {
    if (current === opening) current = undefined;
  };
  opening.then(({ device }) => void device.lost.then(forget), forget);
  current = opening;
  return opening;
}

/** The same device, with the same facts each time. */
function reduce(gpu: PageGpu, without: readonly GpuFeature[]): PageGpu {
  if (without.length === 0) return gpu;
  const key = [...without].sort().join();
  const known = reduced.get(gpu) ?? new Map<string, PageGpu>();
  reduced.set(gpu, known);
  const found = known.get(key) ?? { ...gpu, facts: withoutFeatures(gpu.facts, without) };
  known.set(key, found);
  return found;
}

function findDevice(device?: unknown): Promise<PageGpu> {
  if (device === undefined) return current ?? use(open());
  if (isDevice(device)) return describe(device);
  return Promise.reject(new Error("the option 'device' is no GPUDevice"));
}

/** `device`: the user's own, for one session. `without`: features that it is not to use. */
export async function findGpu(
  device?: unknown,
  without: readonly GpuFeature[] = [],
): Promise<PageGpu> {
  return reduce(await findDevice(device), without);
}

Object.defineProperty(env.webgpu, "device", {
  enumerable: false, // who copies env asks for no device
  get: () => findDevice().then(({ device }) => device),
  set(device: unknown) {
    if (!isDevice(device)) throw new Error("env.webgpu.device: a GPUDevice is expected");
    use(describe(device));
  },
});
