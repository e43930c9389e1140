// gpu_device.ts - opens the adapter's device with all that the shaders can use, and finds out what
// a device has (weft_gpu_facts). It imports nothing, so that tests run it as it is.

export interface GpuFacts {
  /** As src/gpu/driver_web.c numbers them; 5 more for each shape of subgroup matrices. */
  numbers: number[];
  /** Vendor, architecture, device, description: "" where the browser keeps it to itself. */
  texts: string[];
  timestamps: boolean;
}

/** What a session can be told to do without, and the facts that are 0 then, by their place. */
const removable = {
  "shader-f16": [1],
  subgroups: [2, 3, 6, 22],
  "subgroup-size-control": [3],
  "packed-dot": [4],
  "subgroup-matrix": [6, 22],
  immediates: [9],
  /** Layouts of products' tiles in workgroup memory; the tiles. */
  swizzle: [19],
  linear: [20],
  tiles: [21],
};
export type GpuFeature = keyof typeof removable;

/** The facts of a device that lacks some features. */
export function withoutFeatures(facts: GpuFacts, features: readonly GpuFeature[]): GpuFacts {
  const numbers = [...facts.numbers];
  for (const feature of features) {
    const places = removable[feature];
    if (!places) throw new Error(`without: there is no feature '${feature}'`);
    for (const place of places) numbers[place] = 0;
  }
  return { ...facts, numbers };
}

export interface DeviceWish {
  adapter?: GPUAdapter | undefined;
  powerPreference?: GPUPowerPreference | undefined;
  forceFallbackAdapter?: boolean | undefined;
}

/** What is newer than TypeScript's library, or only in some browsers. */
interface MatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}
type AdapterInfo = Partial<GPUAdapterInfo> & {
  subgroupMatrixConfigs?: readonly MatrixConfig[];
};
type Limits = GPUSupportedLimits & { maxImmediateSize?: number };

const MATRIX = "chromium-experimental-subgroup-matrix";
const wantedFeatures = [
  "shader-f16",
  "subgroups",
  "subgroup-size-control",
  "timestamp-query",
  MATRIX,
];
const wantedLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxImmediateSize",
];

/** Buffers are multiples of 16 bytes. */
const inSixteens = (bytes: number) => bytes - (bytes % 16);

const MATRICES_MOST = 8;
/** weft_dtype. */
const dtypes: Record<string, number> = { f32: 1, u8: 2, i8: 3, i32: 6, f16: 10, u32: 12 };

/** A device of the wished adapter, with its limits and those of its features that are of use. */
export async function openDevice(
  gpu: GPU | undefined,
  wish: DeviceWish = {},
): Promise<{ device: GPUDevice; adapter: GPUAdapter }> {
  if (!gpu) throw new Error("there is no navigator.gpu: this browser has no WebGPU, or not here");
  const adapter = wish.adapter ?? (await requestAdapter(gpu, wish));
  const features = wantedFeatures.filter((name) => adapter.features.has(name));
  const limits = adapter.limits as unknown as Record<string, number | undefined>;
  const requiredLimits: Record<string, number> = {};
  for (const name of wantedLimits)
    if (limits[name] !== undefined) requiredLimits[name] = limits[name];
  const requiredFeatures = features as GPUFeatureName[];
  const device = await adapter.requestDevice({ label: "weft", requiredFeatures, requiredLimits });
  return { device, adapter };
}

async function requestAdapter(gpu: GPU, wish: DeviceWish): Promise<GPUAdapter> {
  const options: GPURequestAdapterOptions = {};
  if (wish.powerPreference) options.powerPreference = wish.powerPreference;
  if (wish.forceFallbackAdapter) options.forceFallbackAdapter = true;
  const adapter = await gpu.requestAdapter(options);
  if (!adapter) throw new Error("WebGPU finds no adapter (GPU) on this machine");
  return adapter;
}

/**
 * `languageFeatures`: those of `navigator.gpu`, which older browsers do not have. A device's own
 * `adapterInfo` may lack what its adapter's `info` has.
 */
export async function describeDevice(
  device: GPUDevice,
  languageFeatures: ReadonlySet<string> = new Set(),
  adapter?: GPUAdapter,
): Promise<GpuFacts> {
  const info = (adapter?.info ?? device.adapterInfo ?? {}) as AdapterInfo;
  const limits = device.limits as Limits;
  const has = (feature: string) => device.features.has(feature as GPUFeatureName);
  const configs = has(MATRIX) ? (info.subgroupMatrixConfigs ?? []) : [];
  const matrices = [...configs].slice(0, MATRICES_MOST);
  const timestamps = has("timestamp-query");
  const immediates = languageFeatures.has("immediate_address_space");
  const facts = [
    info.isFallbackAdapter,
    has("shader-f16"),
    has("subgroups"),
    has("subgroup-size-control"),
    languageFeatures.has("packed_4x8_integer_dot_product"),
    timestamps,
    matrices[0] && (await matrixSyntax(device, matrices[0], info.subgroupMaxSize ?? 128)),
    info.subgroupMinSize ?? 4,
    info.subgroupMaxSize ?? 128,
    immediates && limits.maxImmediateSize,
    limits.maxComputeWorkgroupStorageSize,
    limits.maxComputeInvocationsPerWorkgroup,
    limits.maxComputeWorkgroupSizeX,
    limits.maxComputeWorkgroupSizeY,
    limits.maxComputeWorkgroupSizeZ,
    limits.maxComputeWorkgroupsPerDimension,
    limits.maxStorageBuffersPerShaderStage,
    inSixteens(limits.maxBufferSize),
    inSixteens(limits.maxStorageBufferBindingSize),
    ...[true, true, true], // both layouts of tiles, and tiles
    matrices.length,
  ];
  for (const { componentType, resultComponentType, M, N, K } of matrices)
    facts.push(dtypes[componentType], dtypes[resultComponentType], M, N, K);
  return {
    numbers: facts.map((fact) => Number(fact ?? 0)),
    texts: [info.vendor, info.architecture, info.device, info.description].map(
      (text) => text ?? "",
    ),
    timestamps,
  };
}

/** weft_gpu_matrix_syntax: what the compiler takes; the new one where it takes both. */
async function matrixSyntax(
  device: GPUDevice,
  config: MatrixConfig,
  subgroupSize: number,
): Promise<number> {
  const [none, old, current] = [0, 1, 2];
  if (await compiles(device, matrixProbe(config, subgroupSize, "row_major", ""))) return current;
  if (await compiles(device, matrixProbe(config, subgroupSize, "", "false, "))) return old;
  return none;
}
function matrixProbe(
  { componentType, M, K }: MatrixConfig,
  subgroupSize: number,
  parameter: string,
  argument: string,
): string {
  const element = { i8: "i32", u8: "u32" }[componentType] ?? componentType;
  const load = [`subgroup_matrix_left<${componentType}, ${K}, ${M}>`, parameter].filter(Boolean);
  const store = parameter && `<${parameter}>`;
  return `${componentType === "f16" ? "enable f16;" : ""}
    enable chromium_experimental_subgroup_matrix;
    @group(0) @binding(0) var<storage, read_write> a: array<${element}>;
    @compute @workgroup_size(${subgroupSize}) fn main() {
      let m = subgroupMatrixLoad<${load.join()}>(&a, 0, ${argument}${K});
      subgroupMatrixStore${store}(&a, ${M * K}, m, ${argument}${K});
    }`;
}
async function compiles(device: GPUDevice, code: string): Promise<boolean> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const compiling = device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const scope = device.popErrorScope();
  try {
    return (await Promise.all([compiling, scope]))[1] === null;
  } catch {
    return false;
  }
}
