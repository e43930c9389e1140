// tiers.ts - which of the wasm files this engine takes. An unknown opcode fails a whole module, so
// there is one file per tier, and each probe is a module of one function that the engine validates
// or not.

export type Tier = "a" | "b" | "c";

/** A module of one function () -> () with the given body (without its end). */
function probe(memory: number[], body: number[]): boolean {
  const code = [0x00, ...body, 0x0b];
  return WebAssembly.validate(
    new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00], // type: () -> ()
      ...[0x03, 0x02, 0x01, 0x00],
      ...memory,
      ...[0x0a, code.length + 2, 0x01, code.length, ...code],
    ]),
  );
}

const v128Zero = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];

/** f32x4.relaxed_madd */
export function hasRelaxedSimd(): boolean {
  return probe([], [...v128Zero, ...v128Zero, ...v128Zero, 0xfd, 0x85, 0x02, 0x1a]);
}

/** A shared 64-bit memory of 1 to 1 pages. */
export function hasMemory64(): boolean {
  return hasRelaxedSimd() && probe([0x05, 0x04, 0x01, 0x07, 0x01, 0x01], []);
}

/** What 32-bit pointers reach. */
const WASM32_BYTES = 2 ** 32;

/**
 * What a session takes: the weights, an eighth of them for what packing adds (panels are padded,
 * and the weight that is being packed is there twice), and something for activations.
 */
function sessionBytes(weightBytes: number): number {
  return weightBytes * 1.125 + 2 ** 28;
}

/**
 * The tier for a model with `weightBytes` (0: not known). `simd` is env.wasm.simd: "fixed" asks for
 * plain 128-bit SIMD. Tier C only where the model needs it: 64-bit addresses cost time.
 */
export function chooseTier(weightBytes: number, simd: boolean | string | undefined): Tier {
  if (sessionBytes(weightBytes) > WASM32_BYTES && hasMemory64()) return "c";
  if (weightBytes >= WASM32_BYTES)
    throw new Error(
      `weft: the model's weights take ${(weightBytes / 1e9).toFixed(1)} GB, which needs 64-bit ` +
        "wasm memory (memory64); this engine does not have it",
    );
  return simd !== "fixed" && hasRelaxedSimd() ? "b" : "a";
}
